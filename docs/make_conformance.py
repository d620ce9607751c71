"""Run the conformance suite in every installed runtime and write docs/conformance.md.

``python docs/make_conformance.py [FILE.json]`` takes some minutes, and shows where it is.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from pooling.files import write_whole
from pooling.validation.conformance.run import run_conformance
from pooling.validation.report.conformance_markdown import conformance_page, print_conformance
from pooling.validation.report.json import save_json

PAGE = Path(__file__).with_name("conformance.md")
WIDTH = 200
"""Columns of the table where there is no terminal to ask."""


def main() -> int:
    """Write the page and, if a file is named, everything as JSON."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("conformance", total=None)
        report = run_conformance(progress=lambda done, total, _: bar.update(task, completed=done, total=total))
    print_conformance(report, Console(width=None if sys.stdout.isatty() else WIDTH))
    write_whole(PAGE, conformance_page(report))
    if len(sys.argv) > 1:
        save_json(report, sys.argv[1])
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
