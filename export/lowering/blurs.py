"""Binomial blurs, worked out in float64 and rounded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pooling import geometry
from pooling.families.blurs import Blur, blur_of
from pooling.families.extremes import MaxPool2d
from pooling.geometry import Axis

from ..dynamic_sizes import FreeAxis, Number, free_axis, in_graph
from ..graph_builder import GraphBuilder
from ..layer_calls import LayerCall
from .extremes import max_pool
from .windows import Axes, zero_behind

__all__ = ["blur_pool", "max_blur_pool"]


def blur_pool(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower the blur of maps."""
    kernel, stride, padding, mode = (
        call.arguments[name] for name in ("kernel_size", "stride", "padding", "padding_mode")
    )
    sizes = [axis.input_size for axis in call.axes]
    blur = blur_of(type(call.layer).__name__, sizes, kernel, stride, padding, mode)
    return (_blurred(graph, inputs[0], blur, call.windows, mode, call.title),)


def max_blur_pool(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower a maximum at every pixel, and its blur."""
    name, arguments = type(call.layer).__name__, call.arguments
    sizes = [axis.input_size for axis in call.axes]
    known = geometry.pool_axes(sizes, arguments["kernel_size"], 1, arguments["padding"], function=name)
    # Windows one cell apart have pads that do not depend on the size, nor do those that a blur has by itself.
    maxima = _freed(known, call.plane)
    first = MaxPool2d(arguments["kernel_size"], 1, arguments["padding"], nan=arguments["nan"])
    (greatest,) = max_pool(graph, replace(call, layer=first, axes=known, free=maxima if call.free else ()), inputs)
    kernel, stride, mode = (arguments[key] for key in ("blur_kernel_size", "stride", "padding_mode"))
    blur = blur_of(name, [axis.output_size for axis in known], kernel, stride, None, mode, "blur_kernel_size")
    axes = _freed(blur.axes, [axis.output_size for axis in maxima])
    return (_blurred(graph, greatest, blur, axes, mode, call.title),)


def _freed(axes: Sequence[Axis], sizes: Sequence[Number]) -> tuple[Axis | FreeAxis, ...]:
    """Lay windows over axes whose sizes may be known at run time only."""
    return tuple(
        axis if isinstance(size, int) else free_axis(axis, size) for axis, size in zip(axes, sizes, strict=True)
    )


def _blurred(graph: GraphBuilder, x: str, blur: Blur, axes: Axes, mode: str, why: str) -> str:
    """Add up the weighted taps of one axis after the other."""
    dtype = graph.dtypes[x]
    x = graph.cast(x, np.float64, why="Weighted sums are made in float64 and rounded once.")
    if mode == "zeros":
        x, tables = zero_behind(graph, x, axes)
    else:
        tables = [
            _cells(graph, axis, mode) if isinstance(axis, FreeAxis) else cells
            for axis, cells in zip(axes, blur.cells, strict=True)
        ]
    for number, (table, weights) in enumerate(zip(tables, blur.weights, strict=True), start=2):
        taps = graph("Gather", x, table, axis=number, why="The pixels under the filter along one axis.")
        column = weights.reshape(-1, *[1] * (3 - number))
        x = graph("ReduceSum", graph("Mul", taps, column, why=why), axes=[number + 1], keepdims=0)
    return graph.cast(x, dtype)


def _cells(graph: GraphBuilder, axis: FreeAxis, mode: str) -> str:
    """List the cell that each tap stands for, where padding mirrors or repeats the map."""
    cells = axis.positions(graph)
    if not axis.has_out_of_bounds_taps:
        return cells
    last = in_graph(graph, axis.input_size - 1)
    if mode == "reflect":
        behind = graph("Sub", last, graph("Abs", cells), why="Mirrored at the first pixel.")
        return graph("Sub", last, graph("Abs", behind), why="Mirrored at the last pixel.")
    cells = graph("Where", graph("Less", cells, np.int64(0)), np.int64(0), cells)
    return graph("Where", graph("Less", cells, last), cells, last, why="The nearest pixel.")
