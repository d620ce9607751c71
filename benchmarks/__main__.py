"""Race pooling against the libraries that are installed, turn by turn, each in a process of its own.

A run that was stopped goes on where it was: what is in the file of --json is not measured again, as long as build,
machine and libraries are the same.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import measurements, resuming
from benchmarks.layers import LAYERS, RACED
from benchmarks.layers import ROUNDS as LAYER_ROUNDS
from benchmarks.layers import summary as layers_summary
from benchmarks.targets import findings
from pooling.benchmark.cases import CASES, SIZES, BenchmarkCase
from pooling.benchmark.race import QUIET, available_memory
from pooling.benchmark.results import Results
from pooling.benchmark.table import times_table
from pooling.benchmark.worker import LIBRARIES, SERIAL

__all__ = ["main", "parser"]

MEASUREMENTS = ("import time", "first result", "quota", "tiny calls", "first calls", "memory beyond input and output")
SECONDS_OF_MEASUREMENTS = {
    "import time": 4,
    "first result": 4,
    "quota": 1,
    "tiny calls": 5,
    "first calls": 150,
    "memory beyond input and output": 120,
}
"""Roughly what each takes, for each number of threads."""


def targets_table(results: Results, threads: int) -> Table:
    """Lay the targets out beside the figures."""
    table = Table(title=f"Targets, {threads} thread{'s' * (threads > 1)}", title_justify="left", show_lines=True)
    for column in ("what", "target", "figure", "met", "a copy of the bytes"):
        table.add_column(column)
    for finding in findings(results, threads):
        met = "" if finding.met is None else "[green]yes" if finding.met else "[red]no"
        table.add_row(finding.target.what, finding.bound, finding.figure, met, finding.copy)
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
    result.add_argument("--json", type=Path, metavar="FILE", help="write what was found, and go on with what is there")
    result.add_argument("--fresh", action="store_true", help="measure everything again, whatever FILE holds")
    result.add_argument("--pages", action="store_true", help="write README.md and docs/benchmarks.md at the end")
    return result


Part = tuple[Sequence[BenchmarkCase], Sequence[str], int]
"""Cases, the libraries that race them, and rounds."""


def _parts(cases: Sequence[BenchmarkCase], chosen: Sequence[str], rounds: int, threads: int) -> list[Part]:
    """Divide cases by who races them."""
    installed = [name for name in chosen if LIBRARIES[name].installed and (name != SERIAL or threads > 1)]
    # Beside arrays of gigabytes there is no room for all the others.
    ours = [name for name in installed if name in ("pooling", "copy")]
    layers = [name for name in installed if name in RACED]
    names = {case.name for case in LAYERS}
    return [
        ([case for case in cases if case.group != "size" and case.name not in names], installed, rounds),
        ([case for case in cases if case.group == "size"], ours, rounds),
        ([case for case in cases if case.name in names], layers, min(rounds, LAYER_ROUNDS)),
    ]


def _measure(
    document: dict[str, Any], wanted: Callable[[str], bool], threads: int, room: int, keep: Callable[[], None]
) -> None:
    """Measure in fresh processes what the document does not hold yet; `keep` is called after each."""
    single: dict[str, tuple[str, Callable[[], Any]]] = {
        "import time": ("import_seconds", measurements.import_seconds),
        "first result": ("first_result", measurements.first_result_seconds),
        "quota": ("quota", measurements.quota),
    }
    for name, (key, measure) in single.items():
        if wanted(name) and key not in document:
            document[key] = measure()
            keep()
    if wanted("tiny calls"):
        document.setdefault("tiny", {}).setdefault(str(threads), measurements.tiny_seconds(threads))
    repeated: dict[str, tuple[str, Sequence[BenchmarkCase], Callable[[BenchmarkCase, int], Any]]] = {
        "first calls": ("first_calls", measurements.FIRST_CALLS, measurements.first_calls),
        "memory beyond input and output": ("memory", measurements.MEMORY_CASES, measurements.memory),
    }
    for name, (key, cases, each) in repeated.items():
        if wanted(name):
            found = document.setdefault(key, {}).setdefault(str(threads), {})
            for case in cases:
                if case.name not in found and sum(case.moved) <= room:
                    found[case.name] = each(case, threads)
                    keep()


def main(command_line: Sequence[str] | None = None) -> int:
    """Parse arguments, race, measure, print, and write JSON if asked to."""
    arguments_parser = parser()
    arguments = arguments_parser.parse_args(command_line)

    def wanted(name: str) -> bool:
        return arguments.only.lower() in name.lower()

    # A call holds input and result, and the race up to two processes' worth of what the system has not taken back.
    room = available_memory() // 4
    cases = [case for case in (*CASES, *SIZES, *LAYERS) if wanted(case.name)]
    cases = [case for case in cases if case.group != "size" or sum(case.moved) <= room]
    if not (cases or any(map(wanted, MEASUREMENTS))):
        names = [case.name for case in (*CASES, *SIZES)] + list(MEASUREMENTS)
        arguments_parser.error(f"nothing's name holds {arguments.only!r}; there are: {'; '.join(names)}")
    if arguments.rounds < 1 or min(arguments.threads or [1]) < 1:
        arguments_parser.error("--rounds and --threads must be at least 1")
    chosen = [name for name in LIBRARIES if name in (arguments.library or LIBRARIES)]
    counts = arguments.threads or sorted({1, os.cpu_count() or 1})
    file = None if arguments.fresh else arguments.json
    try:
        document = resuming.opened(file, cases, chosen, arguments.rounds)
    except resuming.Other as difference:
        arguments_parser.error(f"{arguments.json} cannot be gone on with: {difference}; --fresh starts anew")
    results = Results(document)
    console = Console(width=None if sys.stdout.isatty() else 240)
    parts = {threads: _parts(cases, chosen, arguments.rounds, threads) for threads in counts}
    turns = sum(
        resuming.turns_left(document, part, libraries, threads, rounds)
        for threads in counts
        for part, libraries, rounds in parts[threads]
    )
    others = len(counts) * sum(seconds for name, seconds in SECONDS_OF_MEASUREMENTS.items() if wanted(name))
    minutes = (turns * document["seconds_a_turn"] + others) / 60
    console.print(f"{turns:,} turns and measurements in fresh processes: about {minutes:.0f} minutes", highlight=False)

    def keep() -> None:
        resuming.save(document, arguments.json)

    for threads in counts:
        for part, libraries, rounds in parts[threads]:
            resuming.carry_on(document, part, libraries, threads, rounds, keep)
        _measure(document, wanted, threads, room, keep)
        keep()
        _print(console, results, threads)
    if max(document["disturbed"].values(), default=0.0) > QUIET:
        console.print(
            "Other processes kept the machine busy: these times are no good. Libraries that spin suffer most."
        )
    if document["absent"]:
        console.print(f"not installed: {', '.join(document['absent'])}")
    if arguments.pages:
        from benchmarks import report

        report.write(results)
    return 0


def _print(console: Console, results: Results, threads: int) -> None:
    document, key = results.document, str(threads)
    if document["seconds"].get(key):
        console.print(times_table(results, threads))
        if text := layers_summary(results, threads):
            console.print(f"layers of networks\n{text}", highlight=False)
    console.print(targets_table(results, threads))
    for library, most in document["busy"].get(key, {}).items():
        if most > threads + 0.3:
            console.print(f"{library} kept {most} processors busy where it was to use {threads}")
    for library, names in document["unsteady"].get(key, {}).items():
        console.print(f"turns of {library} lie far apart: {'; '.join(names)}")


if __name__ == "__main__":
    sys.exit(main())
