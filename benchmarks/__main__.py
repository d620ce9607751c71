"""Race pooling against the libraries that are installed, turn by turn, each in a process of its own."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import measurements
from benchmarks.cases import CASES, SIZES, Case
from benchmarks.results import Results, geometric_mean
from benchmarks.targets import findings
from benchmarks.worker import LIBRARIES, version

__all__ = ["Worker", "main", "parser", "race"]

REST = 0.03
"""Seconds between two turns, in which the threads of the last one go to sleep."""
PATIENCE = 0.5
"""A call that takes longer has one turn only."""
UNSTEADY = 3.0
"""Turns of one library in one case whose slowest takes so many times as long as their fastest are reported."""
IMPORT_TIME, MEMORY = "import time", "memory beyond input and output"


class Worker:
    """A library in a process of its own; it is started again if a call ends it.

    `python` and `folder` are the interpreter and the checkout whose `benchmarks.worker` runs, if not the present ones.
    """

    def __init__(self, library: str, threads: int, python: str = sys.executable, folder: Path | None = None) -> None:
        self.command = [python, "-m", "benchmarks.worker", library, str(threads)]
        self.folder = folder
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=self.folder,
        )

    def ask(self, case: Case) -> dict[str, Any]:
        """Send a case and wait for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(case.to_json()), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self.close()
        reason = f"the process ended with code {self.process.returncode}"
        self.process = self._start()
        return {"cannot": reason}

    def close(self) -> None:
        """Let the process end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def race(cases: Sequence[Case], libraries: Sequence[str], threads: int, rounds: int) -> dict[str, Any]:
    """Let the libraries take turns.

    Returns
    -------
    dict
        ``seconds``: the median of each library in each case, None where it cannot; ``cannot``: why, by library and
        case; ``busy``: the most processors that each library kept busy; ``disturbed``: the most that others did;
        ``unsteady``: cases whose turns lie far apart, by library.
    """
    # Before the workers start, which keeps processors busy for a while.
    disturbed = measurements.load() if cases else 0.0
    workers = {library: Worker(library, threads) for library in libraries if cases}
    turns: dict[tuple[str, str], list[float]] = {}
    cannot: dict[str, dict[str, str]] = {}
    busy: dict[str, float] = {}
    with Progress(console=Console(stderr=True), disable=not workers) as progress:
        task = progress.add_task("", total=rounds * len(cases) * len(libraries))
        for round_ in range(rounds if workers else 0):
            disturbed = max(disturbed, measurements.load() if round_ else 0.0)
            for case in cases:
                progress.update(task, description=f"{threads} threads, round {round_ + 1}: {case.name}")
                for library, worker in workers.items():
                    progress.advance(task)
                    times = turns.setdefault((case.name, library), [])
                    if case.name in cannot.get(library, {}) or (times and times[0] > PATIENCE):
                        continue
                    answer = worker.ask(case)
                    if "cannot" in answer:
                        cannot.setdefault(library, {})[case.name] = answer["cannot"]
                        continue
                    times.append(answer["seconds"])
                    busy[library] = max(busy.get(library, 0.0), answer["busy"])
                    time.sleep(REST)
    for worker in workers.values():
        worker.close()
    seconds: dict[str, dict[str, float | None]] = {}
    unsteady: dict[str, list[str]] = {}
    for (case_name, library), times in turns.items():
        able = times and case_name not in cannot.get(library, {})
        seconds.setdefault(case_name, {})[library] = median(times) if able else None
        if times and max(times) > UNSTEADY * min(times):
            unsteady.setdefault(library, []).append(case_name)
    return {"seconds": seconds, "cannot": cannot, "busy": busy, "disturbed": disturbed, "unsteady": unsteady}


def times_table(results: Results, threads: int) -> Table:
    """Lay the times out: microseconds, our lead over the fastest peer, and how far we are from the floor."""
    libraries = results.libraries
    title = f"{threads} thread{'s' * (threads > 1)}, microseconds a call"
    table = Table(title=title, title_justify="left")
    table.add_column("case")
    for library in libraries:
        table.add_column(library, justify="right")
    table.add_column("fastest peer / pooling", justify="right")
    table.add_column("pooling / floor", justify="right")
    leads = []
    group = None
    for name, row in results.document["seconds"][str(threads)].items():
        if group not in (None, results.cases[name].group):
            table.add_section()
        group = results.cases[name].group
        lead, floor = results.lead(threads, name), results.ratio(threads, name, "pooling", "floor")
        leads += [lead] if lead else []
        cells = [
            f"{seconds * 1e6:,.1f}" if (seconds := row.get(library)) else "cannot" if library in row else ""
            for library in libraries
        ]
        table.add_row(name, *cells, f"{lead:.2f}" if lead else "", f"{floor:.2f}" if floor else "")
    if leads:
        table.add_section()
        table.add_row("geometric mean", *[""] * len(libraries), f"{geometric_mean(leads):.2f}", "")
    return table


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
    room = measurements.available_memory() // 4
    cases = [case for case in CASES if wanted(case.name)]
    sizes = [case for case in SIZES if wanted(case.name) and sum(case.moved) <= room]
    if not (cases or sizes or wanted(IMPORT_TIME) or wanted(MEMORY)):
        names = [case.name for case in (*CASES, *SIZES)] + [IMPORT_TIME, MEMORY]
        arguments_parser.error(f"nothing's name holds {arguments.only!r}; there are: {'; '.join(names)}")
    if arguments.rounds < 1 or min(arguments.threads or [1]) < 1:
        arguments_parser.error("--rounds and --threads must be at least 1")
    chosen = [name for name in LIBRARIES if name in (arguments.library or LIBRARIES)]
    libraries = [name for name in chosen if LIBRARIES[name].installed]
    document: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": measurements.machine(),
        "versions": {package: version(package) for name in libraries if (package := LIBRARIES[name].package)},
        "absent": [name for name in chosen if name not in libraries],
        "rounds": arguments.rounds,
        "cases": {case.name: case.to_json() for case in (*cases, *sizes)},
        "seconds": {},
        "cannot": {},
        "busy": {},
        "disturbed": {},
        "unsteady": {},
        "memory": {},
    }
    results = Results(document)
    console = Console(width=None if sys.stdout.isatty() else 240)
    if wanted(IMPORT_TIME):
        document["import_seconds"] = measurements.import_seconds()
    for threads in arguments.threads or sorted({1, os.cpu_count() or 1}):
        found = race(cases, libraries, threads, arguments.rounds)
        ours = [name for name in ("pooling", "floor") if name in libraries]
        sized = race(sizes, ours, threads, arguments.rounds)
        document["seconds"][str(threads)] = found["seconds"] | sized["seconds"]
        document["cannot"][str(threads)] = found["cannot"]
        document["busy"][str(threads)] = found["busy"]
        document["unsteady"][str(threads)] = found["unsteady"]
        document["disturbed"][str(threads)] = max(found["disturbed"], sized["disturbed"])
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
    if max(document["disturbed"].values()) > measurements.QUIET:
        console.print(
            "Other processes kept the machine busy: these times are no good. Libraries that spin suffer most."
        )
    if document["absent"]:
        console.print(f"not installed: {', '.join(document['absent'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
