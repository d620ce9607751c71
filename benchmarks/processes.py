"""Race libraries that each need an interpreter of their own, and print a table."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["Call", "Prepare", "main"]

Call = Callable[[], Any]
Prepare = Callable[[str, str, int], "Call | None"]
"""Takes a library, a case and a number of threads; returns the call, or None where the library does not do this."""
ROUNDS = 3


def main(module: str, libraries: Iterable[str], cases: Iterable[str], prepare: Prepare, seconds: float) -> None:
    """Race, or time one library for a race.

    Parameters
    ----------
    module : str
        That is run as ``python -m``, and calls this function.
    libraries, cases : iterable of str
    prepare : callable
    seconds : float
        Of each library and case in a round, at least one call.
    """
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(_fastest(prepare, sys.argv[2], sys.argv[3], int(sys.argv[4]), seconds)))
    else:
        _race(module, list(libraries), cases, sys.argv[1:])


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


def _race(module: str, libraries: list[str], cases: Iterable[str], wanted: list[str]) -> None:
    print("| case | threads | " + " | ".join(f"{name}, ms" for name in libraries) + " |")
    print("|---|---|" + "---|" * len(libraries))
    for case in cases:
        if wanted and not any(case.startswith(each) for each in wanted):
            continue
        for threads in (1, 2):
            found: dict[str, list[float]] = {}
            for number in range(ROUNDS):
                for library in libraries:
                    if number and library not in found:
                        continue
                    command = [sys.executable, "-m", module, "--one", library, case, str(threads)]
                    done = subprocess.run(command, check=True, capture_output=True, text=True)
                    milliseconds = json.loads(done.stdout)
                    if milliseconds is not None:
                        found.setdefault(library, []).append(milliseconds)
            cells = [f"{min(found[name]):.2f}" if name in found else "" for name in libraries]
            print(f"| {case} | {threads} | {' | '.join(cells)} |", flush=True)
