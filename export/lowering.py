"""Each pooling as the graph of standard operators that computes it, on tensors of shape ``(N, C, *S)``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.geometry import Axis, Windows
from pooling.layers import Layer

from .builder import Graph, Value

__all__ = ["LOWERINGS"]

Axes = Sequence[Axis]
Table = NDArray[np.int64]

NO_FLOAT64 = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool"})
"""Operators that onnxruntime cannot run in float64, although the standard has them."""


# --------------------------------------------------------------------------------------------------------
# Windows as attributes, and as tables of the cells that they read


def _pads(axes: Axes) -> list[int]:
    """Pad so that the floor formula of ONNX gives the output size: at the end, all that ceil_mode touches."""
    return [axis.pad_begin for axis in axes] + [axis.pad_end + axis.ceil_overhang for axis in axes]


def _attributes(axes: Axes) -> dict[str, list[int]]:
    """Say windows in the words of MaxPool and AveragePool; the oldest opsets lack the word dilations."""
    attributes = {
        "kernel_shape": [axis.kernel_size for axis in axes],
        "strides": [axis.stride for axis in axes],
        "pads": _pads(axes),
    }
    if _dilated(axes):
        attributes["dilations"] = [axis.dilation for axis in axes]
    return attributes


def _dilated(axes: Axes) -> bool:
    return any(axis.dilation > 1 for axis in axes)


def _windows(axis: Axis, *, count_include_pad: bool = False) -> Windows:
    every = np.arange(axis.output_size, dtype=np.int64)
    return axis.windows(every, count_include_pad=count_include_pad)


def _taps(axis: Axis) -> Table:
    """List the cell under each tap of each window, ``(output, kernel)``; some lie outside the input."""
    start = np.arange(axis.output_size, dtype=np.int64) * axis.stride - axis.pad_begin
    return start[:, np.newaxis] + np.arange(axis.kernel_size, dtype=np.int64) * axis.dilation


def _why_not_one_node(graph: Graph, name: str, axes: Axes) -> str:
    """Say why one node of MaxPool or AveragePool cannot pool these windows, or nothing."""
    if _lacks(graph, name):
        return f"onnxruntime has no {name} in {graph.dtype}."
    kernel_sizes = [axis.kernel_size for axis in axes] * 2
    if any(pad >= size for pad, size in zip(_pads(axes), kernel_sizes, strict=True)):
        return "onnxruntime refuses pads that are not smaller than kernel_shape."
    if _dilated(axes) and not graph.has(name, "dilations"):
        return f"{name} has no dilations in opset {graph.opset}."
    if any(_windows(axis).count.min() == 0 for axis in axes):
        return "ONNX does not say what a window without any element gives."
    return ""


def _lacks(graph: Graph, name: str) -> bool:
    return graph.dtype == np.float64 and name in NO_FLOAT64


# --------------------------------------------------------------------------------------------------------
# Operators


def _max_pool(graph: Graph, x: str, layer: Layer, axes: Axes) -> tuple[str, ...]:
    outputs = 2 if layer.arguments["return_indices"] else 1
    why = _why_not_one_node(graph, "MaxPool", axes)
    if why:
        return _max_of_gathered(graph, x, layer, axes, outputs, why)
    value, *flat = graph.outputs(outputs, "MaxPool", x, **_attributes(axes), why=repr(layer))
    plane = math.prod(axis.input_size for axis in axes)
    why = "ONNX counts over the whole tensor, the layer in each plane."
    return value, *(graph("Mod", each, np.int64(plane), why=why) for each in flat)


def _max_of_gathered(graph: Graph, x: str, layer: Layer, axes: Axes, outputs: int, why: str) -> tuple[str, ...]:
    """Gather the taps of all windows side by side; then no window overlaps another or leaves the input.

    A tap outside the input reads the nearest tap of its window that is inside. It ties with that tap, and as
    its neighbour changes neither the maximum nor which cell has it first.
    """
    tables = []
    for axis in axes:
        windows = _windows(axis)
        first = np.minimum(windows.first, axis.input_size - 1)
        last = first + np.maximum(windows.count - 1, 0) * axis.dilation
        tables.append(np.clip(_taps(axis), first[:, np.newaxis], last[:, np.newaxis]))
    for number, table in enumerate(tables, start=2):
        x = graph("Gather", x, table.ravel(), axis=number, why=why)
    sizes = [axis.kernel_size for axis in axes]
    value, *flat = graph.outputs(
        outputs, "MaxPool", x, kernel_shape=sizes, strides=sizes, pads=[0, 0] * len(axes), why=repr(layer)
    )
    results = [value, *(_cell_of_gathered(graph, each, tables, axes) for each in flat)]
    empty: NDArray[np.bool_] = reduce(np.logical_or.outer, [_windows(axis).count == 0 for axis in axes])
    if empty.any():
        nothing: tuple[Value, ...] = (np.array(-np.inf, graph.dtype), np.int64(-1))
        results = [
            graph("Where", empty, constant, each, why="Windows without any element.")
            for each, constant in zip(results, nothing, strict=False)
        ]
    return tuple(results)


def _cell_of_gathered(graph: Graph, flat: str, tables: Sequence[Table], axes: Axes) -> str:
    """Turn positions among the gathered taps into positions in the input's plane."""
    cell = ""
    for number, table in enumerate(tables):
        below = math.prod(table.size for table in tables[number + 1 :])
        along = graph("Mod", graph("Div", flat, np.int64(below)) if below > 1 else flat, np.int64(table.size))
        steps = table.ravel() * math.prod(axis.input_size for axis in axes[number + 1 :])
        part = graph("Gather", steps, along, axis=0)
        cell = graph("Add", cell, part) if cell else part
    return cell


def _avg_pool(graph: Graph, x: str, layer: Layer, axes: Axes) -> tuple[str, ...]:
    why = _why_not_one_node(graph, "AveragePool", axes)
    if why:
        return (_mean_of_gathered(graph, x, layer, axes, why),)
    include = layer.arguments["count_include_pad"]
    divisor = layer.arguments["divisor_override"]
    attributes = _attributes(axes)
    if divisor is not None:
        taps = math.prod(axis.kernel_size for axis in axes)
        scale = _rounded(graph, taps / float(divisor), divisor)
        mean = graph("AveragePool", x, **attributes, count_include_pad=1, why="Of all taps, padding too.")
        return (graph("Mul", mean, scale, why=f"{layer!r}: times {taps} taps, by the divisor."),)
    if include and any(axis.ceil_overhang for axis in axes):
        begin, end = [axis.pad_begin for axis in axes], [axis.pad_end for axis in axes]
        x = graph("Pad", x, pads=[0, 0, *begin, 0, 0, *end], why="The padding that counts.")
        attributes["pads"] = [0] * len(axes) + [axis.ceil_overhang for axis in axes]
        why = f"{layer!r}: the pads are what ceil_mode touches beyond the padding; they do not count."
        return (graph("AveragePool", x, **attributes, count_include_pad=0, why=why),)
    return (graph("AveragePool", x, **attributes, count_include_pad=int(include), why=repr(layer)),)


def _mean_of_gathered(graph: Graph, x: str, layer: Layer, axes: Axes, why: str) -> str:
    """Gather and add the taps axis by axis; a zero behind the input stands for every cell outside."""
    tables = []
    for axis in axes:
        taps = _taps(axis)
        tables.append(np.where(taps < 0, axis.input_size, np.minimum(taps, axis.input_size)))
    outside = [int(table.max() == axis.input_size) for table, axis in zip(tables, axes, strict=True)]
    if any(outside):
        pads = [0] * (len(axes) + 4)
        x = graph("Pad", x, pads=[*pads, *outside], why="A zero to read in place of all padding.")
    for number, table in enumerate(tables, start=2):
        taps_apart = graph("Gather", x, table, axis=number, why=why)
        x = graph("ReduceSum", taps_apart, axes=[number + 1], keepdims=0)
    override = layer.arguments["divisor_override"]
    if override is not None:
        return graph("Div", x, _rounded(graph, float(override), override), why=repr(layer))
    include = layer.arguments["count_include_pad"]
    counts = [_windows(axis, count_include_pad=include).divisor for axis in axes]
    divisor: Value = np.array(math.prod(int(count.max()) for count in counts), graph.dtype)
    if any(count.min() < count.max() for count in counts):
        columns: list[Value] = [
            count.astype(graph.dtype).reshape(-1, *[1] * behind)
            for behind, count in zip(reversed(range(len(axes))), counts, strict=True)
        ]
        divisor = reduce(lambda left, right: graph("Mul", left, right), columns)
    return graph("Div", x, divisor, why=repr(layer))


def _rounded(graph: Graph, number: float, divisor: float) -> NDArray[Any]:
    """Return a constant, refusing one that the dtype cannot hold to its full precision."""
    with np.errstate(over="ignore", under="ignore"):
        constant = np.array(number, graph.dtype)
    if not abs(float(constant) - number) <= abs(number) * float(np.finfo(graph.dtype).eps) / 2:
        raise ValueError(
            f"to_onnx: divisor_override={divisor!r} needs the constant {number:g}, which {graph.dtype} "
            "cannot hold; use dtype=numpy.float64 or another divisor"
        )
    return constant


def _global(name: str, reduction: str, graph: Graph, x: str, layer: Layer, axes: Axes) -> tuple[str, ...]:
    if _lacks(graph, name):
        spatial = list(range(2, 2 + len(axes)))
        why = f"{layer!r}: onnxruntime has no {name} in {graph.dtype}."
        return (graph(reduction, x, axes=spatial, keepdims=1, why=why),)
    return (graph(name, x, why=repr(layer)),)


LOWERINGS: dict[str, Callable[[Graph, str, Layer, Axes], tuple[str, ...]]] = {
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "global_max_pool": partial(_global, "GlobalMaxPool", "ReduceMax"),
    "global_avg_pool": partial(_global, "GlobalAveragePool", "ReduceMean"),
}
"""By row of the operator table, what adds the nodes of a layer to a graph and names its results."""
