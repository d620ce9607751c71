"""Race this checkout against another one, turn by turn: ``python -m benchmarks.against FOLDER``.

FOLDER is a checkout of another commit with its own built package; its interpreter is FOLDER/.venv/bin/python. A ratio
above 1 says that the other one is faster. Each ratio is the median of those of single rounds, in which the two run one
right after the other, so that a machine that is slower for a while slows both.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from pooling.benchmark.cases import CASES, BenchmarkCase
from pooling.benchmark.race import MODULE, PATIENCE, QUIET, REST, Worker, load
from pooling.cli.shared import progress_bar

__all__ = ["compare", "main"]

SLOWER = 1.05
"""Rows above this ratio are counted as slower."""


def compare(
    cases: Sequence[BenchmarkCase], folder: Path, threads: int, rounds: int
) -> dict[str, tuple[float, float, float]]:
    """Return median seconds here, median seconds there, and the median ratio of a round, for each case."""
    here = Worker("pooling", threads)
    # Older checkouts have it beside their package.
    module = "benchmarks.worker" if (folder / "benchmarks/worker.py").exists() else MODULE
    there = Worker("pooling", threads, str(folder / ".venv/bin/python"), module, folder)
    turns: dict[str, list[tuple[float, float]]] = {case.name: [] for case in cases}
    with progress_bar() as progress:
        for round_ in range(rounds):
            for number, case in enumerate(cases):
                done = round_ * len(cases) + number
                progress(done, rounds * len(cases), f"{threads} threads, round {round_ + 1}: {case.name}")
                times = turns[case.name]
                if times and times[0][0] > PATIENCE:
                    continue
                order = (here, there) if round_ % 2 else (there, here)
                answers = {worker: worker.ask(case) for worker in order}
                if refusals := [answer["cannot"] for answer in answers.values() if "cannot" in answer]:
                    raise SystemExit(f"{case.name}: {refusals[0]}")
                times.append((answers[here]["seconds"], answers[there]["seconds"]))
                time.sleep(REST)
    here.close()
    there.close()
    return {
        name: (median(a for a, _ in times), median(b for _, b in times), median(a / b for a, b in times))
        for name, times in turns.items()
    }


def main(command_line: Sequence[str] | None = None) -> int:
    """Parse arguments, race, and print the cases in the order of their ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__)
    parser.add_argument("folder", type=Path, help="a built checkout of another commit")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name holds TEXT")
    parser.add_argument("--threads", type=int, action="append", help="number of threads; may be given several times")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each in each case (%(default)s)")
    arguments = parser.parse_args(command_line)
    folder = arguments.folder.resolve()
    if not (folder / ".venv/bin/python").exists():
        parser.error(f"{folder} has no .venv/bin/python: build that checkout first, for example by `make test` in it")
    cases = [case for case in CASES if arguments.only.lower() in case.name.lower()]
    if not cases:
        parser.error(f"no case's name holds {arguments.only!r}")
    console = Console(width=None if sys.stdout.isatty() else 120)
    for threads in arguments.threads or sorted({1, os.cpu_count() or 1}):
        busy = load()
        found = compare(cases, folder, threads, arguments.rounds)
        table = Table(title=f"{threads} thread{'s' * (threads > 1)}, microseconds a call", title_justify="left")
        for column in ("case", "here", "there", "here / there"):
            table.add_column(column, justify="left" if column == "case" else "right")
        for name, (mine, other, ratio) in sorted(found.items(), key=lambda row: -row[1][2]):
            table.add_row(name, f"{mine * 1e6:,.1f}", f"{other * 1e6:,.1f}", f"{ratio:.2f}")
        console.print(table)
        slower = sum(ratio > SLOWER for _, _, ratio in found.values())
        console.print(f"{slower} of {len(found)} cases are slower by more than 5 % here")
        if max(busy, load()) > QUIET:
            console.print("Other processes kept the machine busy: these times are no good.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
