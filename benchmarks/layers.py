"""Race geometries of the layers of a hundred real networks: ``python -m benchmarks.layers``.

benchmarks/layers.json has them, drawn by `benchmarks.make_layers`: shapes, windows, types, layouts and batches that
nobody tuned a kernel for. The rows that are behind a peer come first.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pooling.benchmark.cases import BenchmarkCase
from pooling.benchmark.race import MEASURED, QUIET, new_document, race
from pooling.benchmark.results import Results, geometric_mean
from pooling.benchmark.table import times_table
from pooling.benchmark.worker import LIBRARIES
from pooling.cli.shared import progress_bar
from pooling.files import write_whole

__all__ = ["LAYERS", "main"]

FILE = Path(__file__).with_name("layers.json")
RACED = ("pooling", "floor", "onnxruntime", "openvino", "torch", "torch channels_last")
LAYERS = tuple(map(BenchmarkCase.from_json, json.loads(FILE.read_text(encoding="utf-8"))["cases"]))
"""The geometries."""


def summary(results: Results, threads: int) -> str:
    """Say how many rows are behind which peer, and how far ours is from the floor."""
    names = list(results.document["seconds"][str(threads)])
    lines = []
    for peer in (name for name in results.libraries if LIBRARIES[name].peer):
        leads = [lead for name in names if (lead := results.ratio(threads, name, peer, "pooling"))]
        if leads:
            behind = sum(lead < 1 for lead in leads)
            lines.append(f"{peer}: behind in {behind} of {len(leads)} rows, mean {geometric_mean(leads):.2f}x")
    floors = [ratio for name in names if (ratio := results.ratio(threads, name, "pooling", "floor"))]
    if floors:
        lines.append(f"by the floor: geometric mean {geometric_mean(floors):.2f}, worst {max(floors):.1f}")
    return "\n".join(lines)


def main(command_line: Sequence[str] | None = None) -> int:
    """Parse arguments, race, and print the rows in the order of our lead."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layers", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name holds TEXT")
    parser.add_argument("--threads", type=int, action="append", help="number of threads; may be given several times")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each library in each case (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found and describe the machine")
    arguments = parser.parse_args(command_line)
    cases = [case for case in LAYERS if arguments.only in case.name]
    if not cases:
        parser.error(f"no case's name holds {arguments.only!r}")
    document = new_document(cases, RACED, arguments.rounds)
    results = Results(document)
    console = Console(width=None if sys.stdout.isatty() else 240)
    libraries = [name for name in RACED if LIBRARIES[name].installed]
    for threads in arguments.threads or sorted({1, os.cpu_count() or 1}):
        with progress_bar() as progress:
            found = race(cases, libraries, threads, arguments.rounds, progress)
        order = sorted(found["seconds"], key=lambda name: _lead(found["seconds"][name]))
        found["seconds"] = {name: found["seconds"][name] for name in order}
        for name in MEASURED:
            document[name][str(threads)] = found[name]
        console.print(times_table(results, threads))
        console.print(summary(results, threads), highlight=False)
        if arguments.json:
            write_whole(arguments.json, json.dumps(document, indent=2) + "\n")
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
