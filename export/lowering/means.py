"""Means of windows."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np

from pooling.geometry import Axis
from pooling.operators import FLOATS

from ..builder import Graph, Value
from ..sizes import FreeAxis, folded
from ..stages import Stage
from .windows import Axes, attributes, moves, padded, single, summed, taps_of, why_not_one_node

__all__ = [
    "MANY_TAPS",
    "avg_pool",
    "global_avg_pool",
    "window_counts",
    "working_dtype",
]

MANY_TAPS = 1024
"""Of more taps than these the mean is made in float64: runtimes add up float32 one number after another."""

HALF_RANGE = 2**32
"""What an int64 is divided by, so that sums of both parts fit int64."""


def avg_pool(graph: Graph, stage: Stage, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower average pooling, sliding or adaptive."""
    (x,) = inputs
    dtype, axes = graph.dtypes[x], stage.windows
    if single(axes):
        return global_avg_pool(graph, stage, inputs)
    include = stage.arguments.get("count_include_pad", False)
    divisor = stage.arguments.get("divisor_override")
    if dtype.name not in FLOATS:
        return (_whole_mean(graph, stage, x, include, divisor),)
    working = working_dtype(dtype, taps_of(axes), divisor)
    why = why_not_one_node(graph, "AveragePool", axes)
    if working == np.float64:
        why = f"onnxruntime has no AveragePool of {working}."
    x = graph.cast(x, working, why=f"Means of {dtype.name} are made in {working} and rounded once.")
    if why:
        mean = _mean_of_gathered(graph, stage, x, include, divisor, why)
    else:
        mean = _mean_by_node(graph, stage, x, include, divisor)
    return (graph.cast(mean, dtype),)


def working_dtype(dtype: np.dtype[Any], taps: int, divisor: float | None = None) -> np.dtype[Any]:
    """Return the type in which a mean of floats is made: float32 unless that is not enough."""
    if dtype == np.float64 or taps > MANY_TAPS:
        return np.dtype(np.float64)
    if divisor is not None:
        with np.errstate(over="ignore", under="ignore"):
            scale = taps / float(divisor)
            held = abs(float(np.float32(scale)) - scale) <= abs(scale) * 2.0**-24
        if not held:
            return np.dtype(np.float64)
    return np.dtype(np.float32)


def _mean_by_node(graph: Graph, stage: Stage, x: str, include: bool, divisor: float | None) -> str:
    axes, words, taps = stage.windows, attributes(stage.windows), taps_of(stage.windows)
    x = padded(graph, x, axes, 0)
    if divisor is not None:
        mean = graph("AveragePool", x, **words, count_include_pad=1, why="Of all taps, padding too.")
        scale = np.array(taps / float(divisor), graph.dtypes[x])
        return graph("Mul", mean, scale, why=f"{stage.title}: times {taps} taps, by the divisor.")
    if any(map(moves, axes)) and not include:
        mean = graph("AveragePool", x, **words, count_include_pad=1, why="Of all taps, padding too.")
        counts = window_counts(graph, axes, include, graph.dtypes[x])
        share = graph("Div", np.array(taps, graph.dtypes[x]), counts)
        return graph("Mul", mean, share, why=f"{stage.title}: times {taps} taps, by those in the input.")
    if include and any(axis.ceil_overhang for axis in axes):
        begin, end = ([getattr(axis, side) for axis in axes] for side in ("pad_begin", "pad_end"))
        x = graph("Pad", x, pads=[0, 0, *begin, 0, 0, *end], why="The padding that counts.")
        words["pads"] = [0] * len(axes) + [axis.ceil_overhang for axis in axes]
        why = f"{stage.title}: the pads are what ceil_mode touches beyond the padding; they do not count."
        return graph("AveragePool", x, **words, count_include_pad=0, why=why)
    return graph("AveragePool", x, **words, count_include_pad=int(include), why=stage.title)


def _mean_of_gathered(graph: Graph, stage: Stage, x: str, include: bool, divisor: float | None, why: str) -> str:
    total = summed(graph, x, stage.windows, why)
    dtype = graph.dtypes[x]
    if divisor is not None:
        return graph("Div", total, np.array(divisor, dtype), why=stage.title)
    return graph("Div", total, window_counts(graph, stage.windows, include, dtype), why=stage.title)


def window_counts(graph: Graph, axes: Axes, include: bool, dtype: np.dtype[Any]) -> Value:
    """Count the elements of each window; where they differ, multiplied at run time from those of each axis."""
    counts = [_divisors(graph, axis, include) for axis in axes]
    if not any(isinstance(count, str) or count.min() != count.max() for count in counts):
        return np.array(math.prod(int(count.max()) for count in counts if not isinstance(count, str)), dtype)
    if dtype == np.int64:  # no whole number is the mean of nothing, which the graph cannot refuse
        counts = [
            graph("Where", graph("Less", count, np.int64(1)), np.int64(1), count)
            if isinstance(axis, FreeAxis) and axis.may_be_empty and isinstance(count, str)
            else count
            for axis, count in zip(axes, counts, strict=True)
        ]
    columns: list[Value] = []
    for behind, count in zip(reversed(range(len(axes))), counts, strict=True):
        made = graph.cast(count, dtype) if isinstance(count, str) else count.astype(dtype)
        columns.append(folded(graph, "Reshape", made, np.array([-1, *[1] * behind])) if behind else made)
    return reduce(lambda left, right: graph("Mul", left, right), columns)


def _divisors(graph: Graph, axis: Axis | FreeAxis, include: bool) -> Value:
    if isinstance(axis, FreeAxis):
        return axis.divisors(graph, count_include_pad=include)
    return axis.windows(np.arange(axis.output_size, dtype=np.int64), count_include_pad=include).divisor


def global_avg_pool(graph: Graph, stage: Stage, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower global average pooling."""
    (x,) = inputs
    dtype = graph.dtypes[x]
    if dtype.name not in FLOATS:
        return (_whole_mean(graph, stage, x, False, None),)
    working = working_dtype(dtype, taps_of(stage.windows))
    x = graph.cast(x, working, why=f"Means of {dtype.name} are made in {working} and rounded once.")
    if working == np.float32:
        mean = graph("GlobalAveragePool", x, why=stage.title)
    else:
        why = f"{stage.title}: onnxruntime has no GlobalAveragePool of {working}."
        mean = graph("ReduceMean", x, axes=list(range(2, len(stage.shape))), keepdims=1, why=why)
    return (graph.cast(mean, dtype),)


# ----------------------------------------------------------------------------------------------------------
# Whole numbers


def _whole_mean(graph: Graph, stage: Stage, x: str, include: bool, divisor: float | None) -> str:
    """Divide sums in int64, which rounds nothing, and round the quotient as the layer does."""
    dtype = graph.dtypes[x]
    rounding = stage.arguments.get("rounding", "half_even")
    factor, over = 1, window_counts(graph, stage.windows, include, np.dtype(np.int64)) if divisor is None else ""
    if divisor is not None:
        factor, denominator = _exact_factor(stage, dtype, float(divisor))
        over = np.int64(denominator)
    if dtype.itemsize == 8:
        return _mean_in_two_parts(graph, stage, x, factor, over, rounding)
    total = _whole_sum(graph, stage, graph.cast(x, np.int64, why="Sums are exact in int64."))
    if factor != 1:
        total = graph("Mul", total, np.int64(factor))
    quotient, rest = _divided(graph, total, over)
    quotient = _rounded(graph, quotient, rest, over, rounding, quotient)
    if divisor is not None:
        limits = np.iinfo(dtype)
        for operator, limit in (("Max", limits.min), ("Min", limits.max)):
            quotient = graph(operator, quotient, np.int64(limit), why="What does not fit saturates.")
    return graph.cast(quotient, dtype)


def _exact_factor(stage: Stage, dtype: np.dtype[Any], divisor: float) -> tuple[int, int]:
    """Return the fraction by which sums are multiplied, refusing one for which int64 is not enough."""
    above, below = divisor.as_integer_ratio()
    factor, over = (below, above) if above > 0 else (-below, -above)
    taps = taps_of(stage.windows)
    if dtype.itemsize == 8:
        fits = abs(factor) == 1 and taps <= over < 2**29
    else:
        fits = over < 2**60 and int(np.iinfo(dtype).max + 1) * taps * abs(factor) < 2**60
    if not fits:
        raise ValueError(
            f"to_onnx: divisor_override={divisor!r} of {type(stage.layer).__name__} cannot divide sums of {taps} "
            f"elements of {dtype.name} exactly in int64; use a whole number of at least {taps}, or a float dtype"
        )
    return factor, over


def _whole_sum(graph: Graph, stage: Stage, x: str) -> str:
    if stage.layer.operator == "global_avg_pool" or single(stage.windows):
        return graph("ReduceSum", x, axes=list(range(2, len(stage.shape))), keepdims=1, why=stage.title)
    return summed(graph, x, stage.windows, stage.title)


def _divided(graph: Graph, total: str, over: Value) -> tuple[str, str]:
    """Divide rounding down, whatever the sign."""
    rest = graph("Mod", total, over)
    return graph("Div", graph("Sub", total, rest), over), rest


def _rounded(graph: Graph, quotient: str, rest: str, over: Value, rounding: str, signed: str) -> str:
    """Add 1 to a quotient that was rounded down where the rest says so; `signed` has the sign of the whole."""
    if rounding == "floor":
        return quotient
    if rounding == "trunc":
        zero = np.int64(0)
        up = graph("And", graph("Less", signed, zero), graph("Greater", rest, zero), why="Towards zero.")
    else:
        twice = graph("Add", rest, rest)
        odd: Value = graph("Mod", quotient, np.int64(2)) if rounding == "half_even" else np.int64(1)
        up = graph("Greater", graph("Add", twice, odd), over, why=f"Rounded {rounding.replace('_', ' ')}.")
    return graph("Add", quotient, graph.cast(up, np.int64))


def _mean_in_two_parts(graph: Graph, stage: Stage, x: str, factor: int, over: Value, rounding: str) -> str:
    """Divide sums that int64 does not hold: those of the upper and the lower halves of the numbers, apart."""
    dtype = graph.dtypes[x]
    half = dtype.type(HALF_RANGE)
    low = graph("Mod", x, half, why="Sums of the halves of 64 bits are exact in int64.")
    high = graph.cast(graph("Div", graph("Sub", x, low), half), np.int64)
    sums = [_whole_sum(graph, stage, part) for part in (high, graph.cast(low, np.int64))]
    if factor < 0:
        sums = [graph("Neg", part) for part in sums]
    upper, rest = _divided(graph, sums[0], over)
    lower, rest = _divided(graph, graph("Add", graph("Mul", rest, np.int64(HALF_RANGE)), sums[1]), over)
    signed = upper
    if dtype == np.int64 and rounding == "trunc":
        signed = graph("Add", graph("Mul", upper, np.int64(HALF_RANGE)), lower)
    lower = _rounded(graph, lower, rest, over, rounding, signed)
    # The halves together are no larger than the largest element, so uint64 holds what int64 may not.
    return graph("Add", graph("Mul", graph.cast(upper, dtype), half), graph.cast(lower, dtype))
