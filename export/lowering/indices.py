"""How indices count elements: the conventions of `pooling.convert_indices` as graphs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..dynamic_sizes import Number, in_graph, product
from ..graph_builder import GraphBuilder
from ..layer_calls import LayerCall
from .windows import Axes, has_dynamic_padding

__all__ = ["in_plane", "indices_to_coordinates", "remove_pad_offset", "to_onnx_indices"]


def to_onnx_indices(graph: GraphBuilder, call: LayerCall, index: str, x: str, *, whole: bool) -> str:
    """Count as the call's convention does what is an index into the plane, or into the whole tensor.

    Parameters
    ----------
    graph, call
        Where nodes go, and the pooling.
    index : str
        Of shape ``(N, C, *O)``.
    x : str
        What was pooled.
    whole : bool
        Whether `index` counts over the whole tensor, as that of MaxPool does.
    """
    if whole and call.indices == "onnx":
        return index
    cell = in_plane(graph, call, index) if whole else index
    if call.indices == "torch":
        return cell
    if call.indices == "tensorflow":
        count = _channel_count(graph, call, x)
        channels = _channels(graph, call, count)
        return graph("Add", graph("Mul", cell, count), channels, why="Counted in each image, channels last.")
    if whole:
        first = graph("Sub", index, cell)
    else:
        first = graph("Mul", _planes(graph, call, x), in_graph(graph, product(call.plane)))
    if call.indices == "onnx_column_major":
        cell = _transposed(graph, cell, call.plane)
    return graph("Add", cell, first, why="Counted over the whole tensor.")


def in_plane(graph: GraphBuilder, call: LayerCall, index: str) -> str:
    """Count in the plane what MaxPool counts over the whole tensor."""
    cells = in_graph(graph, product(call.plane))
    return graph("Mod", index, cells, why="ONNX counts over the whole tensor, the layer in each plane.")


def remove_pad_offset(graph: GraphBuilder, axes: Axes, index: str) -> str:
    """Count in the plane what MaxPool counts over a whole tensor, one that `padded` has padded."""
    sizes = [axis.input_size for axis in axes]
    outer = [
        axis.pad_begin + axis.input_size + axis.pad_end if has_dynamic_padding(axis) else axis.input_size
        for axis in axes
    ]
    result = ""
    for number, axis in enumerate(axes):
        below, step = product(outer[number + 1 :]), product(sizes[number + 1 :])
        along = graph("Div", index, in_graph(graph, below)) if below != 1 else index
        along = graph("Mod", along, in_graph(graph, outer[number]))
        if has_dynamic_padding(axis):
            along = graph("Sub", along, in_graph(graph, axis.pad_begin))
        part = graph("Mul", along, in_graph(graph, step)) if step != 1 else along
        result = graph("Add", result, part, why="Where in the plane, without the padding.") if result else part
    return result


def indices_to_coordinates(graph: GraphBuilder, call: LayerCall, index: str, x: str) -> str:
    """Turn indices of the call's convention into indices into the plane that the call gives."""
    if call.indices == "torch":
        return index
    if call.indices == "tensorflow":
        cell = graph("Div", index, _channel_count(graph, call, x), why="Counted in each image, channels last.")
    else:
        cell = graph("Mod", index, np.int64(math.prod(call.sizes)), why="Counted over the whole tensor.")
    if call.indices == "onnx_column_major":
        cell = _transposed(graph, cell, call.sizes[::-1])
    return graph("Where", graph("Less", index, np.int64(0)), index, cell, why="A negative index names no cell.")


def _transposed(graph: GraphBuilder, cell: str, sizes: Sequence[Number]) -> str:
    """Count row by row what is counted column by column in a plane of these sizes, or the other way round."""
    result = ""
    for number, size in enumerate(sizes):
        below, step = product(sizes[number + 1 :]), product(sizes[:number])
        along = graph("Div", cell, in_graph(graph, below)) if below != 1 else cell
        along = graph("Mod", along, in_graph(graph, size)) if number else along
        part = graph("Mul", along, in_graph(graph, step)) if step != 1 else along
        result = graph("Add", result, part, why="The first spatial axis runs fastest.") if result else part
    return result


def _planes(graph: GraphBuilder, call: LayerCall, x: str) -> str:
    """Give planes their numbers, in a tensor of shape (N, C, 1, ...)."""
    ones = [1] * len(call.plane)
    batch, channels = call.shape[:2]
    if isinstance(batch, int) and isinstance(channels, int):
        graph.planes_are_fixed = True
        planes = np.arange(batch * channels, dtype=np.int64).reshape(batch, channels, *ones)
        return graph("Identity", planes, why="The number of each plane.")
    sizes = graph("Gather", graph("Shape", x), np.array([0, 1]), axis=0)
    count = graph("ReduceProd", sizes, axes=[0], keepdims=0)
    planes_in_a_row = graph("Range", np.int64(0), count, np.int64(1), why="The number of each plane.")
    return graph("Reshape", planes_in_a_row, graph("Concat", sizes, np.array(ones), axis=0))


def _channel_count(graph: GraphBuilder, call: LayerCall, x: str) -> str | np.int64:
    channels = call.shape[1]
    if isinstance(channels, int):
        graph.planes_are_fixed = True
        return np.int64(channels)
    return graph("Gather", graph("Shape", x), np.int64(1), axis=0)


def _channels(graph: GraphBuilder, call: LayerCall, count: str | np.int64) -> str:
    """Give channels their numbers, in a tensor of shape (C, 1, ...)."""
    ones = [1] * len(call.plane)
    if isinstance(count, str):
        in_a_row = graph("Range", np.int64(0), count, np.int64(1), why="The number of each channel.")
        return graph("Reshape", in_a_row, np.array([-1, *ones]))
    numbers = np.arange(count, dtype=np.int64).reshape(-1, *ones)
    return graph("Identity", numbers, why="The number of each channel.")
