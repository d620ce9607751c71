"""Windows as attributes of MaxPool and AveragePool, and as tables of the cells that they read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.geometry import Axis

from ..dynamic_sizes import FreeAxis, Number, folded, in_graph, product
from ..graph_builder import GraphBuilder, Value

__all__ = [
    "Axes",
    "attributes",
    "cells_of_taps",
    "dilated",
    "emptiness",
    "empty",
    "first_cells",
    "gathered",
    "greatest",
    "has_dynamic_padding",
    "padded",
    "regular",
    "single",
    "summed",
    "tap_axes",
    "taps_of",
    "why_not_one_node",
    "zero_behind",
]

Axes = Sequence[Axis | FreeAxis]
Table = NDArray[np.int64]

MANY = 2**31
"""Taps of a window whose size is known at run time: as many as can be."""


def has_dynamic_padding(axis: Axis | FreeAxis) -> bool:
    """Whether the padding follows the size of the input; see `padded`."""
    return isinstance(axis, FreeAxis) and axis.has_dynamic_padding


def _pads(axes: Axes) -> list[int]:
    """Pad so that the floor formula of ONNX gives the output size: at the end, all that ceil_mode touches."""
    pads = [axis.pad_begin for axis in axes] + [axis.pad_end + axis.ceil_overhang for axis in axes]
    return [pad if isinstance(pad, int) else 0 for pad in pads]


def padded(graph: GraphBuilder, x: str, axes: Axes, value: float) -> str:
    """Pad where the padding follows the size of the input, which no attribute can say."""
    if not any(map(has_dynamic_padding, axes)):
        return x
    key = ("pads", tuple(axes))
    if key not in graph.known:
        sides = [[side if has_dynamic_padding(axis) else 0 for side in (axis.pad_begin, axis.pad_end)] for axis in axes]
        numbers: list[Number] = [0, 0, *(begin for begin, _ in sides), 0, 0, *(end for _, end in sides)]
        columns = [folded(graph, "Reshape", in_graph(graph, number), np.array([1])) for number in numbers]
        graph.known[key] = graph("Concat", *columns, axis=0, why="The padding that follows the size.")
    filling = np.array(value, graph.dtypes[x])
    return graph("Pad", x, graph.known[key], filling, why="Pads that are known at run time.")


def _most(axis: Axis | FreeAxis) -> int:
    """Cells of the padded input; where its size is not known, as many as openvino can count."""
    if isinstance(axis, FreeAxis):
        return 2**31 - 1
    return axis.pad_begin + axis.input_size + axis.pad_end + axis.ceil_overhang


def attributes(axes: Axes) -> dict[str, Any]:
    """Say windows in the words of MaxPool and AveragePool; the oldest opsets lack the word dilations.

    Larger than the padded input are only the stride of a single window and the dilation of a single tap, and there one
    number is as good as another: openvino keeps 32 bits of them, and dies of 0.
    """
    words = {
        "kernel_shape": [axis.kernel_size for axis in axes],
        "strides": [min(axis.stride, _most(axis)) for axis in axes],
        "pads": _pads(axes),
    }
    if dilated(axes):
        words["dilations"] = [min(axis.dilation, _most(axis)) for axis in axes]
    return words


def dilated(axes: Axes) -> bool:
    """Whether the taps of a window lie apart."""
    return any(axis.dilation > 1 for axis in axes)


def regular(axes: Axes) -> bool:
    """Whether all windows of each axis are alike."""
    return not any(axis.adaptive for axis in axes)


def single(axes: Axes) -> bool:
    """Whether one window holds the whole plane, whose size is not known."""
    return all(axis.is_global for axis in axes) and any(isinstance(axis, FreeAxis) for axis in axes)


def taps_of(axes: Axes) -> int:
    """Taps of a window, those outside the input too."""
    return math.prod(axis.kernel_size if isinstance(axis.kernel_size, int) else MANY for axis in axes)


def _counts(axis: Axis) -> Table:
    return axis.windows(np.arange(axis.output_size, dtype=np.int64)).count


def _may_be_empty(axis: Axis | FreeAxis) -> bool:
    return axis.may_be_empty if isinstance(axis, FreeAxis) else bool(_counts(axis).min() == 0)


def emptiness(graph: GraphBuilder, axes: Axes) -> Value | None:
    """Tell which windows have no tap in the input, or None where all have some."""
    if not any(_may_be_empty(axis) for axis in axes):
        return None
    columns = []
    for number, axis in enumerate(axes, start=1):
        last = folded(graph, "ReduceMax", _taps(graph, axis), axes=[1], keepdims=0)
        none = folded(graph, "Less", last, np.int64(0))
        columns.append(_unsqueezed(graph, none, range(1, 1 + len(axes) - number)))
    return reduce(lambda left, right: folded(graph, "Or", left, right), columns)


def _unsqueezed(graph: GraphBuilder, x: Value, axes: Sequence[int]) -> Value:
    return folded(graph, "Unsqueeze", x, axes=list(axes)) if axes else x


def empty(axes: Sequence[Axis]) -> NDArray[np.bool_]:
    """Tell which windows of known sizes have no tap in the input, as dilation makes them."""
    found: NDArray[np.bool_] = reduce(np.logical_or.outer, [_counts(axis) == 0 for axis in axes])
    return found


def why_not_one_node(graph: GraphBuilder, name: str, axes: Axes) -> str:
    """Say why one node of MaxPool or AveragePool cannot pool these windows, or nothing."""
    if not regular(axes):
        return f"{name} has windows of one size only."
    if any(map(has_dynamic_padding, axes)) and graph.opset < 11:
        return graph.detour(f"The pads of Pad are known beforehand in opset {graph.opset}.")
    kernel_sizes = [axis.kernel_size for axis in axes if isinstance(axis.kernel_size, int)] * 2
    if any(pad >= size for pad, size in zip(_pads(axes), kernel_sizes, strict=True)):
        return "onnxruntime refuses pads that are not smaller than kernel_shape."
    if dilated(axes) and not graph.has(name, "dilations"):
        return graph.detour(f"{name} has no dilations in opset {graph.opset}.")
    if any(_may_be_empty(axis) for axis in axes):
        return "ONNX does not say what a window without any element gives."
    return ""


# ----------------------------------------------------------------------------------------------------------
# Gathered taps: (N, C, O1, K1, O2, K2, ...)


def tap_axes(axes: Axes) -> list[int]:
    """Where the taps stand among the axes of gathered taps."""
    return [3 + 2 * number for number in range(len(axes))]


def gathered(graph: GraphBuilder, x: str, axes: Axes, why: str) -> str:
    """Gather the taps of every window; one outside the input reads the first cell of its window that is inside.

    What an empty window reads has no meaning.
    """
    for number, axis in enumerate(axes):
        x = graph("Gather", x, _inside(graph, axis), axis=2 + 2 * number, why=why)
    return x


def greatest(graph: GraphBuilder, x: str, axes: Axes, why: str) -> str:
    """Gather the taps axis by axis, and keep the greatest, which needs least memory."""
    for number, axis in enumerate(axes, start=2):
        taps = graph("Gather", x, _inside(graph, axis), axis=number, why=why)
        x = graph("ReduceMax", taps, axes=[number + 1], keepdims=0)
    return x


def _taps(graph: GraphBuilder, axis: Axis | FreeAxis) -> Value:
    """List the input cell under each tap of each window; -1 where none is."""
    return axis.taps(graph) if isinstance(axis, FreeAxis) else axis.taps()


def _has_out_of_bounds_taps(axis: Axis | FreeAxis) -> bool:
    """Whether taps lie outside the input, or behind the end of an adaptive window."""
    return axis.has_out_of_bounds_taps if isinstance(axis, FreeAxis) else bool((axis.taps() < 0).any())


def _or_else(graph: GraphBuilder, taps: Value, other: Value) -> Value:
    """Put another cell in the place of what lies outside."""
    return folded(graph, "Where", folded(graph, "Less", taps, np.int64(0)), other, taps)


def _inside(graph: GraphBuilder, axis: Axis | FreeAxis) -> Value:
    """List the cells that `gathered` reads."""
    taps = _taps(graph, axis)
    if not _has_out_of_bounds_taps(axis):
        return taps
    size = in_graph(graph, axis.input_size)
    first = folded(graph, "ReduceMin", _or_else(graph, taps, size), axes=[1], keepdims=1)
    if _may_be_empty(axis):
        last = in_graph(graph, axis.input_size - 1)
        first = folded(graph, "Where", folded(graph, "Less", first, last), first, last)
    return _or_else(graph, taps, first)


def cells_of_taps(graph: GraphBuilder, axes: Axes) -> str:
    """Add up where in the plane the taps lie that `gathered` reads; made at run time, since it is large."""
    cells = ""
    for number, axis in enumerate(axes):
        below = product(axis.input_size for axis in axes[number + 1 :])
        part = folded(graph, "Mul", _inside(graph, axis), in_graph(graph, below))
        part = _unsqueezed(graph, part, range(2, 2 * (len(axes) - number)))
        cells = graph("Add", cells, part) if cells else graph("Identity", part, why="Where in the plane each tap lies.")
    return cells


def first_cells(graph: GraphBuilder, axes: Axes) -> Value:
    """Say where in the plane the first tap of each window lies that is in the input."""
    parts = []
    for number, axis in enumerate(axes):
        taps = _taps(graph, axis)
        inside = _or_else(graph, taps, in_graph(graph, axis.input_size)) if _has_out_of_bounds_taps(axis) else taps
        first = folded(graph, "ReduceMin", inside, axes=[1], keepdims=0)
        below = in_graph(graph, product(axis.input_size for axis in axes[number + 1 :]))
        parts.append(_unsqueezed(graph, folded(graph, "Mul", first, below), range(1, len(axes) - number)))
    return reduce(lambda left, right: folded(graph, "Add", left, right), parts)


def zero_behind(graph: GraphBuilder, x: str, axes: Axes) -> tuple[str, list[Value]]:
    """Put a zero behind each axis that has taps outside the input, and list what taps read then."""
    outside = [int(_has_out_of_bounds_taps(axis)) for axis in axes]
    tables = [_taps(graph, axis) for axis in axes]
    tables = [
        _or_else(graph, taps, in_graph(graph, axis.input_size)) if leaves else taps
        for axis, taps, leaves in zip(axes, tables, outside, strict=True)
    ]
    if any(outside):
        pads = [0] * (len(axes) + 4)
        x = graph("Pad", x, pads=[*pads, *outside], why="A zero to read in place of all padding.")
    return x, tables


def summed(graph: GraphBuilder, x: str, axes: Axes, why: str) -> str:
    """Gather and add the taps axis by axis, which needs least memory and rounds least; padding is zero."""
    x, tables = zero_behind(graph, x, axes)
    for number, table in enumerate(tables, start=2):
        taps = graph("Gather", x, table, axis=number, why=why)
        x = graph("ReduceSum", taps, axes=[number + 1], keepdims=0)
    return x
