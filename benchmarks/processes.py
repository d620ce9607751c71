"""Race libraries that each need an interpreter of their own, and write a table of it, into a page where asked."""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pooling.benchmark.race import QUIET, load, machine
from pooling.files import write_whole

__all__ = ["Call", "Prepare", "Race", "Target", "main", "section", "table", "verdicts"]

Call = Callable[[], Any]
Prepare = Callable[[str, str, int], "Call | None"]
"""Takes a library, a case and a number of threads; returns the call, or None where the library does not do this."""
ROUNDS = 3
THREADS = (1, 2)
BEGIN, END = "<!-- race: begin -->", "<!-- race: end -->"
DISTRIBUTIONS = {"OpenCV": "opencv-python-headless", "pooling": "ndpooling"}
"""Where the name of a library is not that of its distribution."""

Times = Mapping[tuple[str, int], Mapping[str, float]]
"""Milliseconds of the fastest call of each library, by case and number of threads."""


@dataclass(frozen=True)
class Target:
    """How many times as long as this library another one must take."""

    cases: str
    """What the names of the cases begin with."""
    peer: str
    least: float
    threads: tuple[int, ...] = THREADS


@dataclass(frozen=True)
class Race:
    """What is raced, and where the result is written."""

    module: str
    """That is run as ``python -m``, and calls `main`."""
    libraries: Sequence[str]
    """The first one is held against the targets."""
    cases: Sequence[str]
    prepare: Prepare
    seconds: float
    """Of each library and case in a round, at least one call."""
    page: Path
    targets: Sequence[Target] = ()


def main(race: Race) -> None:
    """Race, or time one library for a race."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(_fastest(race.prepare, sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))))
        return
    parser = argparse.ArgumentParser(prog=f"python -m {race.module}")
    parser.add_argument("case", nargs="*", help="cases whose names begin so (default: all)")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=race.seconds, help="of a library and case in a round")
    parser.add_argument("--page", action="store_true", help=f"write the result into docs/{race.page.name}")
    parser.add_argument("--into", type=Path, default=race.page, metavar="FILE", help="the page, if it is another")
    arguments = parser.parse_args()
    chosen = [case for case in race.cases if not arguments.case or case.startswith(tuple(arguments.case))]
    if not chosen:
        parser.error(f"no case begins so; there are {', '.join(race.cases)}")
    if arguments.page and len(chosen) < len(race.cases) and arguments.into == race.page:
        parser.error("--page writes the race of all cases; leave the cases out, or name another file by --into")
    runs = len(chosen) * len(race.libraries) * len(THREADS) * arguments.rounds
    print(f"{runs} runs: at most about {runs * (arguments.seconds + 1.5) / 60:.0f} min", file=sys.stderr)
    # Before the first run: afterwards they would be our own.
    busy = load(1.0)
    times = _times(race, chosen, arguments.rounds, arguments.seconds)
    text = section(race, times, machine(), busy, arguments.rounds)
    print(text)
    if arguments.page:
        renew(arguments.into, text)


def _fastest(prepare: Prepare, library: str, case: str, threads: int, seconds: float) -> float | None:
    """Return the milliseconds of the fastest call; None where a library does not do this, or is not there."""
    try:
        call = prepare(library, case, threads)
    except ImportError:
        return None
    if call is None:
        return None
    call()
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        begin = time.perf_counter()
        call()
        now = time.perf_counter()
        best = min(best, now - begin)
        if now > end:
            return best * 1e3


def _times(race: Race, cases: Iterable[str], rounds: int, seconds: float) -> Times:
    """Run each library in an interpreter of its own, a case at a time, in rounds that take turns."""
    times: dict[tuple[str, int], dict[str, float]] = {}
    for case in cases:
        for threads in THREADS:
            found: dict[str, float] = {}
            for number in range(rounds):
                for library in race.libraries:
                    if number and library not in found:
                        continue
                    command = [sys.executable, "-m", race.module, "--one", library, case, str(threads), str(seconds)]
                    done = subprocess.run(command, check=False, capture_output=True, text=True)
                    if done.returncode:
                        raise SystemExit(f"{library}, {case}: {done.stderr.strip().splitlines()[-1]}")
                    milliseconds = json.loads(done.stdout)
                    if milliseconds is not None:
                        found[library] = min(milliseconds, found.get(library, math.inf))
            print(f"{case}, {threads}: {', '.join(f'{k} {v:.2f}' for k, v in found.items())}", file=sys.stderr)
            times[case, threads] = found
    return times


def table(libraries: Sequence[str], times: Times) -> list[str]:
    """Return the lines of a table, without libraries that were not there."""
    there = [name for name in libraries if any(name in found for found in times.values())]
    lines = [f"| Case | Threads | {' | '.join(there)} |", f"|---|---|{'---:|' * len(there)}"]
    for (case, threads), found in times.items():
        cells = [f"{found[name]:.2f}" if name in found else "" for name in there]
        lines.append(f"| {case} | {threads} | {' | '.join(cells)} |")
    return lines


def verdicts(race: Race, times: Times) -> list[str]:
    """Say for each target in how many cases it is reached, and where not."""
    lines = []
    for target in race.targets:
        ratios = {
            (case, threads): found[target.peer] / found[race.libraries[0]]
            for (case, threads), found in times.items()
            if case.startswith(target.cases) and threads in target.threads
            if target.peer in found and race.libraries[0] in found
        }
        if not ratios:
            continue
        missed = {key: ratio for key, ratio in ratios.items() if ratio < target.least}
        inverse = target.least < 1
        shown = {key: 1 / ratio if inverse else ratio for key, ratio in ratios.items()}
        wanted = f"{target.peer} takes at least {target.least:.3g} times as long"
        if inverse:
            wanted = f"{race.libraries[0]} takes at most {1 / target.least:.3g} times as long as {target.peer}"
        worst = max(shown.values()) if inverse else min(shown.values())
        line = f"- {target.cases}: {wanted}: reached in {len(ratios) - len(missed)} of {len(ratios)} ({worst:.2f})"
        if missed:
            each = (f"{case}, threads {threads} ({shown[case, threads]:.2f})" for case, threads in missed)
            line += f"; not in {'; '.join(each)}"
        lines.append(f"{line}.")
    return lines


def section(race: Race, times: Times, where: Mapping[str, object], busy: float, rounds: int) -> str:
    """Write the part of the page that is made of a race."""
    there = [name for name in race.libraries if any(name in found for found in times.values())]
    versions = [f"{name} {version}" for name in there if (version := _version(name))]
    lines = [
        f"Milliseconds of the fastest call in {rounds} rounds, each library in an interpreter of its own; "
        f"`python -m {race.module} --page` writes this. {where['processor']}, {where['cores']} cores, "
        f"{where['system']}, kernels of {where['kernels']}; {', '.join(versions)}.",
        "",
    ]
    if busy > QUIET:
        lines += [f"**Other processes kept {busy:g} processors busy before this race: the times are no good.**", ""]
    lines += table(race.libraries, times)
    said = verdicts(race, times)
    return "\n".join([*lines, *(["", *said] if said else [])])


def _version(library: str) -> str:
    try:
        return metadata.version(DISTRIBUTIONS.get(library, library))
    except metadata.PackageNotFoundError:
        return ""


def renew(page: Path, text: str) -> None:
    """Write what a race found between the comments of a page."""
    before = page.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}\n", re.DOTALL)
    if len(pattern.findall(before)) != 1:
        raise ValueError(f"renew: {page} must hold one line {BEGIN} and after it one line {END}")
    write_whole(page, pattern.sub(lambda _: f"{BEGIN}\n{text}\n{END}\n", before))
