"""Run the conformance suite in every installed runtime and write docs/conformance.md.

``python docs/make_conformance.py [FILE.json]`` takes one to three minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from pooling.validation.conformance import Conformance, run_conformance
from pooling.validation.conformance_page import conformance_page, print_conformance
from pooling.validation.files import write_whole

PAGE = Path(__file__).with_name("conformance.md")


def with_progress() -> Conformance:
    """Run the suite, with a bar where there is a terminal."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("conformance", total=None)
        return run_conformance(progress=lambda done, total, _: bar.update(task, completed=done, total=total))


if __name__ == "__main__":
    report = with_progress()
    print_conformance(report, Console(width=None if sys.stdout.isatty() else 200))
    write_whole(conformance_page(report), PAGE)
    if len(sys.argv) > 1:
        report.save(sys.argv[1])
    sys.exit(report.exit_code)
