"""Norms and generalised means of windows, worked out in float64 and rounded once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..graph_builder import GraphBuilder
from ..layer_calls import LayerCall
from .special import is_nan
from .windows import summed, tap_axes, zero_behind

__all__ = [
    "gem_pool",
    "global_lp_pool",
    "lp_pool",
    "power_of",
    "root_of",
]

SAFE_POWERS = (0.125, 6.0)
"""Powers between these of any float32, and sums of them, neither overflow nor vanish in float64."""


def lp_pool(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower the norm of windows."""
    (x,) = inputs
    dtype = graph.dtypes[x]
    p = float(call.arguments["norm_type"])
    magnitudes = _magnitudes(graph, x)
    why = "Padding counts as 0."
    safe = dtype != np.float64 and SAFE_POWERS[0] <= p <= SAFE_POWERS[1]
    if safe or p == 1:
        total = summed(graph, power_of(graph, magnitudes, p, call.title), call.windows, why)
        return (graph.cast(root_of(graph, total, p), dtype),)
    taps, tables = zero_behind(graph, magnitudes, call.windows)
    for number, table in enumerate(tables):
        taps = graph("Gather", taps, table, axis=2 + 2 * number, why=why)
    return (graph.cast(_norm(graph, taps, tap_axes(call.windows), p, call.title, "ReduceSum", keep=0), dtype),)


def global_lp_pool(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower the norm of planes."""
    (x,) = inputs
    p = float(call.arguments["p"])
    spatial = list(range(2, len(call.shape)))
    norm = _norm(graph, _magnitudes(graph, x), spatial, p, call.title, "ReduceSum", keep=1)
    return (graph.cast(norm, graph.dtypes[x]),)


def gem_pool(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower the generalised mean of planes."""
    (x,) = inputs
    eps = np.float64(call.arguments["eps"])
    wide = graph.cast(x, np.float64, why="Powers are made in float64 and rounded once.")
    lifted = graph("Where", graph("Less", wide, eps), eps, wide, why="max(x, eps), which leaves NaN alone.")
    p = float(call.arguments["p"])
    mean = _norm(graph, lifted, [2, 3], p, call.title, "ReduceMean", keep=1)
    return (graph.cast(mean, graph.dtypes[x]),)


def _magnitudes(graph: GraphBuilder, x: str) -> str:
    return graph("Abs", graph.cast(x, np.float64, why="Powers are made in float64 and rounded once."))


def power_of(graph: GraphBuilder, x: str, p: float, why: str) -> str:
    """Raise to a power."""
    if p == 1:
        return x
    return graph("Mul", x, x, why=why) if p == 2 else graph("Pow", x, np.float64(p), why=why)


def root_of(graph: GraphBuilder, x: str, p: float) -> str:
    """Take the p-th root."""
    if p == 1:
        return x
    return graph("Sqrt", x) if p == 2 else graph("Pow", x, np.float64(1 / p))


def _norm(graph: GraphBuilder, taps: str, axes: Sequence[int], p: float, why: str, combine: str, *, keep: int) -> str:
    """Combine powers of magnitudes, with the largest taken out, so that nothing overflows."""
    if math.isinf(p):
        # Padding is 0 and a magnitude not less, so neither -inf nor an empty window can come about.
        largest = graph("ReduceMax", taps, axes=axes, keepdims=keep, why=why)
        if graph.finite:
            return largest
        highest = graph("ReduceMax", graph.cast(is_nan(graph, taps), np.float32), axes=axes, keepdims=keep)
        change = graph("Gather", np.array([-0.0, np.nan]), graph.cast(highest, np.int64), axis=0)
        return graph("Add", largest, change, why="NaN where there is any.")
    if p == 1:
        return graph(combine, taps, axes=axes, keepdims=keep, why=why)
    largest = graph("ReduceMax", taps, axes=axes, keepdims=1)
    usual = graph("And", graph("Greater", largest, np.float64(0)), graph("Less", largest, np.float64(np.inf)))
    scale = graph("Where", usual, largest, np.float64(1), why="What is taken out: nothing of 0, infinity and NaN.")
    powers = power_of(graph, graph("Div", taps, scale), p, why)
    root = root_of(graph, graph(combine, powers, axes=axes, keepdims=keep), p)
    return graph("Mul", root, scale if keep else graph("Squeeze", scale, axes=axes))
