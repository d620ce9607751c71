"""Time the kernels against the libraries that are installed here.

Time the kernels against the libraries that are installed here (onnxruntime, openvino, torch, OpenCV, scikit-image,
SciPy, NumPy), turn by turn, each in a process of its own, on poolings of real networks. A result is checked before it
is timed. With --torch, whole networks of timm and torchvision are measured instead, before and after
pooling.torch.patch: the share of pooling, an inference and a training step. Such a run may be stopped and continued.

Examples: pooling bench; pooling bench --only ResNet --rounds 5; pooling bench --list; pooling bench --torch --only
densenet. Exit code: 0 it ran, 2 it could not. Being slower is no failure.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from .shared import (
    RefusedError,
    add_command,
    add_files,
    add_force,
    check_files,
    names,
    print_written,
    progress_bar,
    stdout,
    write_files,
)

__all__ = ["add"]

USUAL = (
    "ResNet stem, batch 1",
    "ResNet stem, batch 1, channels_last",
    "VGG block 1, batch 1",
    "YOLO SPPF 5x5",
    "PoolFormer average 3x3",
    "DenseNet transition",
    "global average 7x7x2048",
    "audio 1-D",
    "3-D U-Net 2x2x2",
    "ResNet stem, batch 1, uint8",
    "tiny, call overhead",
)
"""The cases that are raced when nobody chooses: a few seconds for each library and number of threads."""

RECORDS = "torch-networks.jsonl"
SECONDS = 4.0
"""Enough for the steps of small networks to be measured some tens of times."""


def add(commands: Any) -> None:
    """Add the command to those that there are."""
    bench = add_command(commands, "bench", __doc__, _run)
    bench.add_argument(
        "--only", metavar="TEXT", help="run the cases whose name contains TEXT, of all that there are (default: a few)"
    )
    bench.add_argument("--list", action="store_true", help="list the names of all cases, and run none")
    bench.add_argument(
        "--library", action="append", default=[], type=names, metavar="A,B", help="compare with these libraries only"
    )
    bench.add_argument(
        "--threads", type=int, metavar="N", help="threads for each library (default: those that pooling uses here)"
    )
    bench.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="rounds, in which each library has one turn (default: 3)"
    )
    bench.add_argument(
        "--torch",
        action="store_true",
        help="measure whole networks under PyTorch, before and after pooling.torch.patch",
    )
    bench.add_argument(
        "--results", metavar="FILE", help=f"with --torch: the file that results are appended to (default: {RECORDS})"
    )
    bench.add_argument(
        "--batch", type=int, metavar="N", help="with --torch: samples of a step (default: 1 and 8, one after the other)"
    )
    bench.add_argument(
        "--seconds", type=float, metavar="S", help=f"with --torch: for the turns of each step (default: {SECONDS:g})"
    )
    add_files(bench, json="write everything that was measured to FILE")
    add_force(bench)


def _run(options: argparse.Namespace) -> int:
    if options.torch:
        from .bench_torch import run_networks

        return run_networks(
            options, options.results or RECORDS, SECONDS if options.seconds is None else options.seconds
        )
    for name in ("results", "batch", "seconds"):
        if getattr(options, name) is not None:
            raise RefusedError(f"--{name} goes with --torch")
    from pooling.benchmark.cases import CASES
    from pooling.benchmark.race import MEASURED, QUIET, new_document, race
    from pooling.benchmark.results import Results
    from pooling.benchmark.table import ratios_table
    from pooling.benchmark.worker import LIBRARIES
    from pooling.files import write_whole
    from pooling.workers import MOST_THREADS, get_num_threads

    check_files(options, ["json"])
    console = stdout()
    if options.list:
        for case in CASES:
            console.print(case.name, markup=False, highlight=False, soft_wrap=True)
        return 0
    if options.only is None:
        cases = [case for case in CASES if case.name in USUAL]
    else:
        cases = [case for case in CASES if options.only.lower() in case.name.lower()]
        if not cases:
            raise RefusedError(f"--only {options.only!r}: no case has that in its name; --list shows the names")
    for name in ("threads", "rounds"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise RefusedError(f"--{name} {getattr(options, name)} must be at least 1")
    if options.threads is not None and options.threads > MOST_THREADS:
        raise RefusedError(f"--threads {options.threads} must be at most {MOST_THREADS}")
    peers = {name.lower(): name for name, library in LIBRARIES.items() if library.peer and not library.out}
    asked = [name for several in options.library for name in several]
    for name in asked:
        if name.lower() not in peers:
            raise RefusedError(f"--library {name!r} is none of {', '.join(peers.values())}")
        if not LIBRARIES[peers[name.lower()]].installed:
            raise RefusedError(f"--library {name!r} is not installed; install it, or leave it out")
    chosen = [peers[name.lower()] for name in asked] or list(peers.values())
    threads = options.threads or get_num_threads()
    libraries = ["pooling", "copy", *chosen]
    document = new_document(cases, libraries, options.rounds)
    with progress_bar() as progress:
        installed = [name for name in libraries if name not in document["absent"]]
        found = race(cases, installed, threads, options.rounds, progress)
    for name in MEASURED:
        document[name][str(threads)] = found[name]
    code = write_files(options, {"json": lambda path: write_whole(path, json.dumps(document, indent=2) + "\n")}, 0)
    results = Results(document)
    console.print(ratios_table(results, threads))
    machine = document["machine"]
    versions = ", ".join(f"{package} {version}" for package, version in document["versions"].items())
    notes = [
        f"{threads} thread{'s' * (threads > 1)}, {options.rounds} round{'s' * (options.rounds > 1)}: the time of a "
        "call of pooling, how many times as long the others take, and pooling by a copy of the bytes that "
        "must be moved; – where a library cannot do the same",
    ]
    notes.append(f"{machine['processor']}, {machine['cores']} processors, kernels of {machine['kernels']}; {versions}")
    if document["absent"]:
        notes.append(f"not installed: {', '.join(document['absent'])}")
    if document["disturbed"][str(threads)] > QUIET:
        notes.append("other processes kept the machine busy: repeat this on a quiet machine")
    for note in notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    print_written(options, console)
    return code
