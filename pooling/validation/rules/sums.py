"""How exact means of many elements and results near zero are."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..comparison import ACCURATE_SUMS
from ..inputs.case import Case
from .evidence import MEANS, Cell, Evidence
from .rule import OWN, EachCell, Rule, Strength
from .samples import GLOBAL, NEWEST, Samples, positive, window

MANY = 2**12
"""Elements of a window from which the order of a sum matters."""


def _is_running_sum(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    """Whether adding one number after the other explains a mean."""
    elements = it.window(cell)
    if it.operator not in MEANS or not bool(np.isfinite(elements).all()) or elements.size < MANY:
        return False
    unit = float(it.finfo.eps) / 2
    return abs(actual - expected) <= elements.size * unit * float(np.abs(elements).mean())


def _long_sums(draw: Samples) -> Iterator[Case]:
    random = draw.random
    for exponent in (14, 16):
        count = 2**exponent
        tenth, uniform = np.full(count, 0.1), random.uniform(0.5, 1, count)
        for about, numbers in (("0.1 everywhere", tenth), ("between 0.5 and 1", uniform)):
            side = math.isqrt(count)
            line, square = (numbers.astype(np.float32).reshape(shape) for shape in ((1, 1, count), (1, 1, side, side)))
            yield draw.case("AveragePool", line, NEWEST, about, kernel_shape=[count])
            yield draw.case("AveragePool", square, NEWEST, about, kernel_shape=[side, side])
            yield draw.case("GlobalAveragePool", square, NEWEST, about)
            half = square.astype(np.float16)
            yield draw.case("AveragePool", half, NEWEST, about, kernel_shape=[side, side])
            yield draw.case("GlobalAveragePool", half, NEWEST, about)


ACCURATE = Rule(
    ACCURATE_SUMS,
    "means of many elements",
    "The mean of float32 elements of one sign is right within 4 steps of the last place, however large the window; "
    "means of float16 are accumulated in float32 and rounded once.",
    f"{OWN}: docs/accuracy.md",
    samples=_long_sums,
    applies=lambda it: it.operator in MEANS and it.tap_count >= MANY,
    diagnose=(EachCell(_is_running_sum),),
    remedy="pool in two steps, rows and then columns, or in float64",
)


def _is_flushed(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    return it.verdict.output == 0 and it.dtype.kind in "fV" and actual == 0 < abs(expected) < float(it.finfo.tiny)


def _denormals(draw: Samples) -> Iterator[Case]:
    for name in ("float32", "float64"):
        step = float(np.finfo(name).smallest_subnormal)
        array = (positive(draw.random, (1, 2, 6, 6)).astype(float) * 64 * step).astype(name)
        for operator in ("MaxPool", "AveragePool"):
            for opset in (11, NEWEST):
                yield draw.case(operator, array, opset, "denormals", **window(2))
                yield draw.case(operator, -array, opset, "negative denormals", pads=[1, 1, 1, 1], **window(2))
        for operator in GLOBAL[:2]:
            yield draw.case(operator, array, NEWEST, "denormals")


NO_FLUSH_TO_ZERO = Rule(
    "no-flush-to-zero",
    "numbers below the smallest normal one stay",
    "A result that is no zero is none, even below the smallest normal number of the dtype: nothing is flushed.",
    "IEEE 754-2019, section 3.4",
    samples=_denormals,
    diagnose=(EachCell(_is_flushed, Strength.CERTAIN),),
    remedy="scale the input, so that no result is below the smallest normal number",
)
