"""Run the conformance suite: a table of which runtime follows which rule of pooling.

Run a suite of cases, each of which tests one rule of pooling, in every installed runtime, and print a table of rules
and runtimes.

Examples: pooling conformance; pooling conformance --runtimes onnxruntime,openvino --html table.html. Exit code: 0 all
is well, 1 this library itself breaks a rule, 2 the suite could not be run.
"""

from __future__ import annotations

import argparse
from typing import Any

from .shared import (
    add_command,
    add_files,
    add_force,
    add_runners,
    check_files,
    need_libraries,
    progress_bar,
    refused,
    runner_settings,
    write_and_print,
)
from .validate import save_json

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the command to those that there are."""
    conformance = add_command(commands, "conformance", __doc__, _run)
    add_runners(conformance)
    add_files(
        conformance,
        json="write everything that was found to FILE",
        html="write the table with the smallest example of each difference",
    )
    add_force(conformance)


def _run(options: argparse.Namespace) -> int:
    check_files(options, ["json", "html"])
    need_libraries(options)
    from pooling.validation.conformance.run import run_conformance
    from pooling.validation.reduce_findings import smallest_of_rules
    from pooling.validation.report.conformance_markdown import print_conformance
    from pooling.validation.report.conformance_page import write_conformance

    with refused():
        given = runner_settings(options)
        if options.limit_seconds is None and options.limit_memory is None:
            del given["limits"]  # cases of the suite are small, and have limits of their own
        with progress_bar() as progress:
            report = run_conformance(progress=progress, **given)
            examples = {} if options.html is None else smallest_of_rules(report, progress=progress)
    writers = {
        "json": lambda path: save_json(report, path),
        "html": lambda path: write_conformance(report, path, examples),
    }
    return write_and_print(options, writers, report.exit_code, lambda console: print_conformance(report, console))
