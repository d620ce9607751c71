"""``pooling bench --torch``: whole networks under PyTorch, before and after `pooling.torch.patch`."""

from __future__ import annotations

import argparse
import json
import os
from importlib.util import find_spec

from .shared import (
    RefusedError,
    check_files,
    print_written,
    progress_bar,
    refused,
    stdout,
    write_files,
)

__all__ = ["run_networks"]


def run_networks(options: argparse.Namespace, path: str, seconds: float) -> int:
    """Measure networks, and print what was found."""
    from pooling.benchmark.networks.listing import NETWORKS, STEPS
    from pooling.benchmark.networks.records import read
    from pooling.benchmark.networks.run import BATCHES, THREADS, run
    from pooling.benchmark.networks.table import summary, without_numbers
    from pooling.benchmark.networks.terminal import networks_table
    from pooling.benchmark.race import QUIET
    from pooling.files import write_whole
    from pooling.workers import MOST_THREADS

    check_files(options, ["json"])
    console = stdout()
    networks = [each for each in NETWORKS if (options.only or "").lower() in each.name.lower()]
    if options.list:
        for each in networks:
            console.print(each.name, markup=False, highlight=False, soft_wrap=True)
        return 0
    if not networks:
        raise RefusedError(f"--only {options.only!r}: no network has that in its name; --torch --list shows the names")
    if options.library:
        raise RefusedError("--library does not go with --torch, which compares pooling with torch")
    for name, least in (("threads", 1), ("rounds", 1), ("batch", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise RefusedError(f"--{name} {value} must be at least {least}")
    if options.threads is not None and options.threads > MOST_THREADS:
        raise RefusedError(f"--threads {options.threads} must be at most {MOST_THREADS}")
    if not 0 <= seconds < float("inf"):
        raise RefusedError(f"--seconds {seconds:g} must be at least 0")
    for library in ("torch", *dict.fromkeys(each.library for each in networks)):
        if find_spec(library) is None:
            raise RefusedError(f"{library} is not installed; install it, or choose other networks with --only")
    batches = BATCHES if options.batch is None else (options.batch,)
    threads = THREADS if options.threads is None else (options.threads,)
    with refused(OSError), progress_bar() as progress:
        read(path)  # what cannot be resumed is told before anything is measured
        records = run(path, networks, batches, threads, seconds=seconds, rounds=options.rounds, progress=progress)
    code = write_files(options, {"json": lambda file: write_whole(file, json.dumps(records, indent=2) + "\n")}, 0)
    console.print(networks_table(records))
    notes = [summary(records, step).replace("`", "") for step in STEPS]
    notes += [
        f"not measured: {name}, batch {batch}, {count} threads, {step}: {reason}"
        for name, batch, count, step, reason in without_numbers(records)
    ]
    notes.append(f"results: {os.fspath(path)}; what it holds is not measured again")
    if any(record["busy"] > QUIET for record in records):
        notes.append("other processes kept the machine busy: repeat this on a quiet machine")
    for note in notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    print_written(options, console)
    return code if any(step in record for record in records for step in STEPS) else 2
