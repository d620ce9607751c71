"""Race pooling against the libraries that are installed, turn by turn, each in a process of its own."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.cases import CASES, Case
from benchmarks.worker import LIBRARIES, version

REST = 0.03
"""Seconds between two turns, in which the threads of the last one go to sleep."""
Times = dict[str, dict[str, float | None]]


def race(cases: list[Case], libraries: list[str], threads: int, rounds: int) -> Times:
    """Return the median seconds of each library in each case, None where it cannot do it."""
    workers = {
        library: subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", library, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for library in libraries
    }
    answers: dict[tuple[str, str], list[float | None]] = {}
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(f"{threads} threads", total=rounds * len(cases) * len(libraries))
        for _ in range(rounds):
            for case in cases:
                for library, worker in workers.items():
                    assert worker.stdin is not None
                    assert worker.stdout is not None
                    print(case.name, file=worker.stdin, flush=True)
                    answers.setdefault((case.name, library), []).append(json.loads(worker.stdout.readline()))
                    time.sleep(REST)
                    progress.advance(task)
    for worker in workers.values():
        assert worker.stdin is not None
        worker.stdin.close()
        worker.wait()
    times: Times = {}
    for (case_name, library), turns in answers.items():
        known = [turn for turn in turns if turn is not None]
        times.setdefault(case_name, {})[library] = statistics.median(known) if known else None
    return times


def shown(times: Times, libraries: list[str], threads: int) -> Table:
    """Lay the times out: microseconds, and our lead over the fastest peer."""
    table = Table(
        title=f"{threads} thread{'s' * (threads > 1)}, microseconds a call, result allocated", title_justify="left"
    )
    table.add_column("case")
    for library in libraries:
        table.add_column(library, justify="right")
    table.add_column("fastest peer / pooling", justify="right")
    leads = []
    for case_name, row in times.items():
        peers = [row[library] for library in libraries if library not in ("pooling", "floor") and row[library]]
        ours = row["pooling"]
        lead = min(peers) / ours if peers and ours else None
        leads += [lead] if lead else []
        cells = [f"{row[library] * 1e6:,.1f}" if row[library] else "cannot" for library in libraries]
        table.add_row(case_name, *cells, f"{lead:.2f}" if lead else "")
    if leads:
        mean = math.exp(statistics.fmean(map(math.log, leads)))
        table.add_section()
        table.add_row("geometric mean", *[""] * len(libraries), f"{mean:.2f}")
    return table


def main() -> int:
    """Parse arguments, race, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name holds TEXT")
    parser.add_argument("--threads", type=int, action="append", help="number of threads; may be given several times")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the times and the machine's description")
    arguments = parser.parse_args()
    cases = [case for case in CASES if arguments.only.lower() in case.name.lower()]
    if not cases:
        parser.error(f"no case's name holds {arguments.only!r}; there are: {', '.join(case.name for case in CASES)}")
    absent = [name for name in LIBRARIES if name != "floor" and importlib.util.find_spec(name) is None]
    libraries = [name for name in LIBRARIES if name not in absent]
    console = Console()
    results = {}
    for threads in arguments.threads or [1, os.cpu_count() or 1]:
        results[threads] = race(cases, libraries, threads, arguments.rounds)
        console.print(shown(results[threads], libraries, threads))
    if absent:
        console.print(f"not installed: {', '.join(absent)}")
    if arguments.json:
        document = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
            "versions": {name: version(name) for name in libraries if name != "floor"},
            "rounds": arguments.rounds,
            "seconds": {str(threads): times for threads, times in results.items()},
        }
        partial = arguments.json.with_suffix(".partial")
        partial.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        partial.replace(arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
