"""Windows as attributes of MaxPool and AveragePool, and as tables of the cells that they read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from pooling.geometry import Axis

from ..builder import Graph

__all__ = [
    "Axes",
    "attributes",
    "cells_of_taps",
    "dilated",
    "empty",
    "gathered",
    "greatest",
    "regular",
    "summed",
    "tap_axes",
    "taps_of",
    "why_not_one_node",
    "zero_behind",
]

Axes = Sequence[Axis]
Table = NDArray[np.int64]


def _pads(axes: Axes) -> list[int]:
    """Pad so that the floor formula of ONNX gives the output size: at the end, all that ceil_mode touches."""
    return [axis.pad_begin for axis in axes] + [axis.pad_end + axis.ceil_overhang for axis in axes]


def attributes(axes: Axes) -> dict[str, list[int]]:
    """Say windows in the words of MaxPool and AveragePool; the oldest opsets lack the word dilations.

    Larger than the padded input are only the stride of a single window and the dilation of a single tap, and there one
    number is as good as another: openvino keeps 32 bits of them, and dies of 0.
    """
    padded = [axis.pad_begin + axis.input_size + axis.pad_end + axis.ceil_overhang for axis in axes]
    words = {
        "kernel_shape": [axis.kernel_size for axis in axes],
        "strides": [min(axis.stride, size) for axis, size in zip(axes, padded, strict=True)],
        "pads": _pads(axes),
    }
    if dilated(axes):
        words["dilations"] = [min(axis.dilation, size) for axis, size in zip(axes, padded, strict=True)]
    return words


def dilated(axes: Axes) -> bool:
    """Whether the taps of a window lie apart."""
    return any(axis.dilation > 1 for axis in axes)


def regular(axes: Axes) -> bool:
    """Whether all windows of each axis are alike."""
    return not any(axis.adaptive for axis in axes)


def taps_of(axes: Axes) -> int:
    """Taps of a window, those outside the input too."""
    return math.prod(axis.kernel_size for axis in axes)


def _counts(axis: Axis) -> Table:
    return axis.windows(np.arange(axis.output_size, dtype=np.int64)).count


def empty(axes: Axes) -> NDArray[np.bool_]:
    """Tell which windows have no tap in the input, as dilation makes them."""
    found: NDArray[np.bool_] = reduce(np.logical_or.outer, [_counts(axis) == 0 for axis in axes])
    return found


def why_not_one_node(graph: Graph, name: str, axes: Axes) -> str:
    """Say why one node of MaxPool or AveragePool cannot pool these windows, or nothing."""
    if not regular(axes):
        return f"{name} has windows of one size only."
    kernel_sizes = [axis.kernel_size for axis in axes] * 2
    if any(pad >= size for pad, size in zip(_pads(axes), kernel_sizes, strict=True)):
        return "onnxruntime refuses pads that are not smaller than kernel_shape."
    if dilated(axes) and not graph.has(name, "dilations"):
        return f"{name} has no dilations in opset {graph.opset}."
    if any(_counts(axis).min() == 0 for axis in axes):
        return "ONNX does not say what a window without any element gives."
    return ""


# ----------------------------------------------------------------------------------------------------------
# Gathered taps: (N, C, O1, K1, O2, K2, ...)


def tap_axes(axes: Axes) -> list[int]:
    """Where the taps stand among the axes of gathered taps."""
    return [3 + 2 * number for number in range(len(axes))]


def gathered(graph: Graph, x: str, axes: Axes, why: str) -> str:
    """Gather the taps of every window; one outside the input reads the first cell of its window that is inside.

    What an empty window reads has no meaning.
    """
    for number, table in enumerate(_inside(axes)):
        x = graph("Gather", x, table, axis=2 + 2 * number, why=why)
    return x


def greatest(graph: Graph, x: str, axes: Axes, why: str) -> str:
    """Gather the taps axis by axis, and keep the greatest, which needs least memory."""
    for number, table in enumerate(_inside(axes), start=2):
        taps = graph("Gather", x, table, axis=number, why=why)
        x = graph("ReduceMax", taps, axes=[number + 1], keepdims=0)
    return x


def _inside(axes: Axes) -> list[Table]:
    """List the cells that `gathered` reads."""
    tables = []
    for axis in axes:
        taps = axis.taps()
        first = np.where(taps < 0, axis.input_size, taps).min(1, keepdims=True)
        tables.append(np.where(taps < 0, np.minimum(first, axis.input_size - 1), taps))
    return tables


def cells_of_taps(graph: Graph, axes: Axes) -> str:
    """Add up where in the plane the taps lie that `gathered` reads; made at run time, since it is large."""
    cells = ""
    for number, table in enumerate(_inside(axes)):
        below = math.prod(axis.input_size for axis in axes[number + 1 :])
        part = (table * below).reshape(*table.shape, *[1] * (2 * (len(axes) - number - 1)))
        cells = graph("Add", cells, part) if cells else graph("Identity", part, why="Where in the plane each tap lies.")
    return cells


def zero_behind(graph: Graph, x: str, axes: Axes) -> tuple[str, list[Table]]:
    """Put a zero behind each axis that has taps outside the input, and list what taps read then."""
    tables = [np.where(axis.taps() < 0, axis.input_size, axis.taps()) for axis in axes]
    outside = [int(table.max() == axis.input_size) for table, axis in zip(tables, axes, strict=True)]
    if any(outside):
        pads = [0] * (len(axes) + 4)
        x = graph("Pad", x, pads=[*pads, *outside], why="A zero to read in place of all padding.")
    return x, tables


def summed(graph: Graph, x: str, axes: Axes, why: str) -> str:
    """Gather and add the taps axis by axis, which needs least memory and rounds least; padding is zero."""
    x, tables = zero_behind(graph, x, axes)
    for number, table in enumerate(tables, start=2):
        taps = graph("Gather", x, table, axis=number, why=why)
        x = graph("ReduceSum", taps, axes=[number + 1], keepdims=0)
    return x
