"""Sliding filters beside scipy.ndimage and OpenCV: ``python -m benchmarks.filters [--page] [case ...]``.

Each library runs in an interpreter of its own, a case at a time, in rounds that take turns; the fastest call counts.
Names that are given choose the cases that begin with them; ``--page`` writes docs/filters.md. Libraries that are not
installed are left out. OpenCV rounds means of integers once, where scipy cuts them off after each axis.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import pooling
from pooling import filters

from .processes import Call, Race, Target, main

SECONDS = 0.4
"""Of each library and case in a round, at least one call."""

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


def prepare(library: str, case: str, threads: int) -> Call | None:
    """Return the call of a library; None where it does not do this."""
    name, size, dtype = CASES[case]
    x = np.random.default_rng(0).integers(0, 256, (2048, 2048)).astype(dtype)
    return LIBRARIES[library](x, name, size, threads)


TARGETS = tuple(
    Target(name, peer, least, threads)
    for name in ("uniform_filter", "maximum_filter", "grey_opening")
    for peer, least, threads in (("scipy", 5.0, (1,)), ("OpenCV", 1.0, (1, 2)))
)
RACE = Race(
    "benchmarks.filters",
    tuple(LIBRARIES),
    tuple(CASES),
    prepare,
    SECONDS,
    Path(__file__).parents[1] / "docs" / "filters.md",
    TARGETS,
)

if __name__ == "__main__":
    main(RACE)
