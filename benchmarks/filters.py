"""Sliding filters beside scipy.ndimage and OpenCV: ``python -m benchmarks.filters [case ...]``.

Each library runs in an interpreter of its own, a case at a time, in rounds that take turns; the fastest call counts.
Names that are given choose the cases that begin with them. Libraries that are not installed are left out. OpenCV rounds
means of integers once, where scipy cuts them off after each axis.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import pooling
from pooling import filters

ROUNDS = 3
SECONDS = 0.4
"""Of each library and case in a round, at least one call."""

Call = Callable[[], Any]

CASES = {
    f"{name} {size} {dtype} 2048 x 2048": (name, size, dtype)
    for name in ("uniform_filter", "maximum_filter", "grey_opening")
    for dtype in ("float32", "uint8")
    for size in (3, 9, 31, 101)
}
"""The filter, the size of its window, and the dtype; borders are reflected."""


def _ours(x: Any, name: str, size: int, threads: int) -> Call:
    function = getattr(filters, name)

    def call() -> Any:
        with pooling.threads(threads):
            return function(x, size)

    return call


def _scipy(x: Any, name: str, size: int, threads: int) -> Call | None:
    from scipy import ndimage

    function = getattr(ndimage, name)
    return (lambda: function(x, size)) if threads == 1 else None


def _opencv(x: Any, name: str, size: int, threads: int) -> Call:
    import cv2

    cv2.setNumThreads(threads)
    if name == "uniform_filter":
        return lambda: cv2.blur(x, (size, size), borderType=cv2.BORDER_REFLECT)
    element = np.ones((size, size), np.uint8)
    if name == "maximum_filter":
        return lambda: cv2.dilate(x, element, borderType=cv2.BORDER_REFLECT)
    return lambda: cv2.morphologyEx(x, cv2.MORPH_OPEN, element, borderType=cv2.BORDER_REFLECT)


LIBRARIES: dict[str, Callable[[Any, str, int, int], Call | None]] = {
    "pooling": _ours,
    "scipy": _scipy,
    "OpenCV": _opencv,
}


def measure(library: str, case: str, threads: int) -> float | None:
    """Return the milliseconds of the fastest call; None where a library does not do this, or is not there."""
    name, size, dtype = CASES[case]
    x = np.random.default_rng(0).integers(0, 256, (2048, 2048)).astype(dtype)
    try:
        call = LIBRARIES[library](x, name, size, threads)
    except ImportError:
        return None
    if call is None:
        return None
    call()
    best, end = float("inf"), time.perf_counter() + SECONDS
    while True:
        begin = time.perf_counter()
        call()
        now = time.perf_counter()
        best = min(best, now - begin)
        if now > end:
            return best * 1e3


def main(wanted: list[str]) -> None:
    """Race, and print a table."""
    print("| case | threads | " + " | ".join(f"{name}, ms" for name in LIBRARIES) + " |")
    print("|---|---|" + "---|" * len(LIBRARIES))
    for case in CASES:
        if wanted and not any(case.startswith(each) for each in wanted):
            continue
        for threads in (1, 2):
            found: dict[str, list[float]] = {}
            for number in range(ROUNDS):
                for library in LIBRARIES:
                    if number and library not in found:
                        continue
                    command = [sys.executable, "-m", "benchmarks.filters", "--one", library, case, str(threads)]
                    done = subprocess.run(command, check=True, capture_output=True, text=True)
                    time_taken = json.loads(done.stdout)
                    if time_taken is not None:
                        found.setdefault(library, []).append(time_taken)
            cells = [f"{min(found[name]):.2f}" if name in found else "" for name in LIBRARIES]
            print(f"| {case} | {threads} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2], sys.argv[3], int(sys.argv[4]))))
    else:
        main(sys.argv[1:])
