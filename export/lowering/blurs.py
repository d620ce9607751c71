"""Binomial blurs, worked out in float64 and rounded once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pooling import blurring, geometry
from pooling.layers import MaxPool2d

from ..builder import Graph
from ..stages import Stage
from .extremes import max_pool

__all__ = ["blur_pool", "max_blur_pool"]


def blur_pool(graph: Graph, stage: Stage, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower the blur of maps."""
    names = ("kernel_size", "stride", "padding", "padding_mode")
    arguments = (stage.arguments[name] for name in names)
    blur = blurring._blur(type(stage.layer).__name__, stage.spatial, *arguments)
    return (_blurred(graph, inputs[0], blur, stage.title),)


def max_blur_pool(graph: Graph, stage: Stage, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower a maximum at every pixel, and its blur."""
    name, arguments = type(stage.layer).__name__, stage.arguments
    maxima = geometry.pool_axes(stage.spatial, arguments["kernel_size"], 1, arguments["padding"], function=name)
    first = MaxPool2d(arguments["kernel_size"], 1, arguments["padding"], nan=arguments["nan"])
    (greatest,) = max_pool(graph, replace(stage, layer=first, axes=maxima), inputs)
    sizes = [axis.output_size for axis in maxima]
    kernel, stride, mode = (arguments[key] for key in ("blur_kernel_size", "stride", "padding_mode"))
    blur = blurring._blur(name, sizes, kernel, stride, None, mode, "blur_kernel_size")
    return (_blurred(graph, greatest, blur, stage.title),)


def _blurred(graph: Graph, x: str, blur: blurring.Blur, why: str) -> str:
    """Add up the weighted taps of one axis after the other."""
    dtype = graph.dtypes[x]
    x = graph.cast(x, np.float64, why="Weighted sums are made in float64 and rounded once.")
    outside = [int(cells.min() < 0) for cells in blur.cells]
    if any(outside):
        x = graph("Pad", x, pads=[0] * 6 + outside, why="A zero to read in place of all padding.")
    for number, (axis, cells, weights) in enumerate(zip(blur.axes, blur.cells, blur.weights, strict=True), start=2):
        table = np.where(cells < 0, axis.input_size, cells)
        taps = graph("Gather", x, table, axis=number, why="The pixels under the filter along one axis.")
        column = weights.reshape(-1, *[1] * (3 - number))
        x = graph("ReduceSum", graph("Mul", taps, column, why=why), axes=[number + 1], keepdims=0)
    return graph.cast(x, dtype)
