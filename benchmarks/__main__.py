"""Race pooling against the libraries that are installed, turn by turn, each in a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import measurements
from benchmarks.targets import findings
from pooling.benchmark.cases import CASES, SIZES
from pooling.benchmark.race import MEASURED, QUIET, available_memory, new_document, race
from pooling.benchmark.results import Results
from pooling.benchmark.table import times_table
from pooling.benchmark.worker import LIBRARIES
from pooling.cli.shared import progress_bar

__all__ = ["main", "parser"]

IMPORT_TIME, MEMORY = "import time", "memory beyond input and output"


def targets_table(results: Results, threads: int) -> Table:
    """Lay the targets out beside the figures."""
    table = Table(title=f"Targets, {threads} thread{'s' * (threads > 1)}", title_justify="left", show_lines=True)
    for column in ("what", "target", "figure", "met", "a copy of the bytes"):
        table.add_column(column)
    for finding in findings(results, threads):
        met = "" if finding.met is None else "[green]yes" if finding.met else "[red]no"
        table.add_row(finding.target.what, finding.target.bound, finding.figure, met, finding.copy)
    return table


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command's arguments."""
    result = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    result.add_argument("--only", default="", metavar="TEXT", help="cases and measurements whose name holds TEXT")
    result.add_argument("--threads", type=int, action="append", help="number of threads; may be given several times")
    result.add_argument("--rounds", type=int, default=5, help="turns of each library in each case (%(default)s)")
    result.add_argument(
        "--library", action="append", choices=LIBRARIES, help="race these only; may be given several times"
    )
    result.add_argument("--json", type=Path, metavar="FILE", help="write what was found and describe the machine")
    return result


def main(command_line: Sequence[str] | None = None) -> int:
    """Parse arguments, race, measure, print, and write JSON if asked to."""
    arguments_parser = parser()
    arguments = arguments_parser.parse_args(command_line)

    def wanted(name: str) -> bool:
        return arguments.only.lower() in name.lower()

    # A call holds input and result, and the race up to two processes' worth of what the system has not taken back.
    room = available_memory() // 4
    cases = [case for case in CASES if wanted(case.name)]
    sizes = [case for case in SIZES if wanted(case.name) and sum(case.moved) <= room]
    if not (cases or sizes or wanted(IMPORT_TIME) or wanted(MEMORY)):
        names = [case.name for case in (*CASES, *SIZES)] + [IMPORT_TIME, MEMORY]
        arguments_parser.error(f"nothing's name holds {arguments.only!r}; there are: {'; '.join(names)}")
    if arguments.rounds < 1 or min(arguments.threads or [1]) < 1:
        arguments_parser.error("--rounds and --threads must be at least 1")
    chosen = [name for name in LIBRARIES if name in (arguments.library or LIBRARIES)]
    libraries = [name for name in chosen if LIBRARIES[name].installed]
    document = new_document((*cases, *sizes), chosen, arguments.rounds)
    results = Results(document)
    console = Console(width=None if sys.stdout.isatty() else 240)
    if wanted(IMPORT_TIME):
        document["import_seconds"] = measurements.import_seconds()
    for threads in arguments.threads or sorted({1, os.cpu_count() or 1}):
        with progress_bar() as progress:
            found = race(cases, libraries, threads, arguments.rounds, progress)
            ours = [name for name in ("pooling", "floor") if name in libraries]
            sized = race(sizes, ours, threads, arguments.rounds, progress)
        found["seconds"] |= sized["seconds"]
        found["disturbed"] = max(found["disturbed"], sized["disturbed"])
        for name in MEASURED:
            document[name][str(threads)] = found[name]
        if wanted(MEMORY):
            memory_cases = measurements.MEMORY_CASES
            document["memory"][str(threads)] = {
                case.name: measurements.memory(case, threads) for case in memory_cases if sum(case.moved) <= room
            }
        if cases or sizes:
            console.print(times_table(results, threads))
        console.print(targets_table(results, threads))
        if arguments.json:  # already now: another number of threads may take long
            partial = arguments.json.with_suffix(".partial")
            partial.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
            partial.replace(arguments.json)
        for library, most in found["busy"].items():
            if most > threads + 0.3:
                console.print(f"{library} kept {most} processors busy where it was to use {threads}")
        for library, names in found["unsteady"].items():
            console.print(f"turns of {library} lie far apart: {'; '.join(names)}")
    if max(document["disturbed"].values()) > QUIET:
        console.print(
            "Other processes kept the machine busy: these times are no good. Libraries that spin suffer most."
        )
    if document["absent"]:
        console.print(f"not installed: {', '.join(document['absent'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
