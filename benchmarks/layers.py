"""Race geometries of the layers of a hundred real networks: ``python -m benchmarks.layers``.

benchmarks/layers.json has them, drawn by `benchmarks.make_layers`: shapes, windows, types, layouts and batches that
nobody tuned a kernel for. The cases that are behind a peer come first. They are a part of `python -m benchmarks` too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import resuming
from benchmarks.targets import LAYERS_GROUP
from pooling.benchmark.cases import BenchmarkCase
from pooling.benchmark.race import QUIET
from pooling.benchmark.results import Results, geometric_mean
from pooling.benchmark.table import times_table
from pooling.benchmark.worker import LIBRARIES

__all__ = ["LAYERS", "RACED", "ROUNDS", "main", "summary"]

FILE = Path(__file__).with_name("layers.json")
RACED = ("pooling", "copy", "onnxruntime", "openvino", "torch", "torch channels_last")
ROUNDS = 3
LAYERS = tuple(map(BenchmarkCase.from_json, json.loads(FILE.read_text(encoding="utf-8"))["cases"]))
"""The geometries."""


def summary(results: Results, threads: int) -> str:
    """Say how many cases are behind which peer, and how far ours is from a copy."""
    raced = results.document["seconds"].get(str(threads), {})
    names = [name for name in raced if results.cases[name].group == LAYERS_GROUP]
    lines = []
    for peer in (name for name in results.libraries if LIBRARIES[name].peer):
        leads = [lead for name in names if (lead := results.ratio(threads, name, peer, "pooling"))]
        if leads:
            behind = sum(lead < 1 for lead in leads)
            lines.append(f"{peer}: behind in {behind} of {len(leads)} cases, mean {geometric_mean(leads):.2f}x")
    copies = [ratio for name in names if (ratio := results.ratio(threads, name, "pooling", "copy"))]
    if copies:
        lines.append(f"by a copy: geometric mean {geometric_mean(copies):.2f}, worst {max(copies):.1f}")
    return "\n".join(lines)


def main(command_line: Sequence[str] | None = None) -> int:
    """Parse arguments, race, and print the cases in the order of our lead."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layers", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name holds TEXT")
    parser.add_argument("--threads", type=int, action="append", help="number of threads; may be given several times")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns of each library in each case (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found, and go on with what is there")
    parser.add_argument("--fresh", action="store_true", help="race all cases again, whatever FILE holds")
    arguments = parser.parse_args(command_line)
    cases = [case for case in LAYERS if arguments.only in case.name]
    if not cases:
        parser.error(f"no case's name holds {arguments.only!r}")
    file = None if arguments.fresh else arguments.json
    try:
        document = resuming.opened(file, cases, RACED, arguments.rounds)
    except resuming.Other as difference:
        parser.error(f"{arguments.json} cannot be gone on with: {difference}; --fresh starts anew")
    console = Console(width=None if sys.stdout.isatty() else 240)
    libraries = [name for name in RACED if LIBRARIES[name].installed]
    counts = arguments.threads or sorted({1, os.cpu_count() or 1})
    turns = sum(resuming.turns_left(document, cases, libraries, threads, arguments.rounds) for threads in counts)
    console.print(f"{turns:,} turns: about {turns * document['seconds_a_turn'] / 60:.0f} minutes", highlight=False)
    for threads in counts:
        resuming.carry_on(
            document, cases, libraries, threads, arguments.rounds, lambda: resuming.save(document, arguments.json)
        )
        rows: dict[str, dict[str, float | None]] = document["seconds"][str(threads)]
        order = sorted(rows, key=lambda name: _lead(rows[name]))
        document["seconds"][str(threads)] = {name: rows[name] for name in order}
        results = Results(document)
        console.print(times_table(results, threads))
        console.print(summary(results, threads), highlight=False)
    if max(document["disturbed"].values()) > QUIET:
        console.print("Other processes kept the machine busy: these times are no good.")
    return 0


def _lead(row: dict[str, float | None]) -> float:
    """Time of the fastest peer by ours; infinity where no peer does the case."""
    peers = [seconds for name, seconds in row.items() if LIBRARIES[name].peer and seconds]
    ours = row["pooling"]
    return min(peers) / ours if peers and ours else float("inf")


if __name__ == "__main__":
    sys.exit(main())
