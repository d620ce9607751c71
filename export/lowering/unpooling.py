"""Max unpooling by operators that every runtime has."""

from __future__ import annotations

import math

import numpy as np
from onnx import numpy_helper

from ..graph_builder import GraphBuilder
from ..layer_calls import LayerCall
from .indices import indices_to_coordinates

__all__ = [
    "max_unpool",
    "refused_indices",
    "says_which_stays",
    "shape_of_planes",
]


def max_unpool(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower max unpooling.

    Of elements with equal indices the last stays. Since opset 18 that is said by the graph: it scatters the numbers of
    elements, of which the greatest stays, and gathers the elements that they name. Older opsets leave the order of
    writes to the runtime; onnxruntime writes one after the other.
    """
    x, indices = inputs
    dtype = graph.dtypes[x]
    cells = math.prod(call.sizes)
    elements = graph.cast(x, np.float32, why="Exact.") if dtype.name == "bfloat16" else x
    flat = np.array([0, 0, call.cells])
    elements = graph("Reshape", elements, flat, why="One row of elements for each plane.")
    named = indices_to_coordinates(graph, call, graph.cast(indices, np.int64), x)
    named = graph("Reshape", named, flat)
    zeros = shape_of_planes(graph, x, cells)
    if says_which_stays(graph):
        result = _last_written(graph, call, elements, named, zeros, cells)
    else:
        nothing = np.zeros(1, graph.dtypes[elements])
        filled = graph("ConstantOfShape", zeros, value=numpy_helper.from_array(nothing))
        scatter = "ScatterElements" if graph.opset >= 11 else "Scatter"
        result = graph(scatter, filled, refused_indices(graph, named, cells), elements, axis=2, why=call.title)
    return (graph.cast(graph("Reshape", result, np.array([0, 0, *call.sizes])), dtype),)


def says_which_stays(graph: GraphBuilder) -> bool:
    """Whether the opset can say which of several writes to one cell stays."""
    if graph.opset >= 18:
        return True
    graph.detour(f"The order of writes is up to the runtime in opset {graph.opset}.")
    return False


def refused_indices(graph: GraphBuilder, named: str, cells: int) -> str:
    """Name a cell that does not exist in place of a negative index, which runtimes would count from the end."""
    return graph("Where", graph("Less", named, np.int64(0)), np.int64(cells), named, why="No index is negative.")


def _last_written(graph: GraphBuilder, call: LayerCall, elements: str, named: str, zeros: str, cells: int) -> str:
    numbers = np.arange(1, call.cells + 1, dtype=np.int64)
    numbers_of_elements = graph("Expand", numbers, graph("Shape", named), why="The number of each element, from 1.")
    none = graph("ConstantOfShape", zeros, value=numpy_helper.from_array(np.zeros(1, np.int64)))
    last = graph(
        "ScatterElements",
        none,
        refused_indices(graph, named, cells),
        numbers_of_elements,
        axis=2,
        reduction="max",
        why="Which element each cell gets: the last of those that name it, or 0.",
    )
    first = graph("Concat", _one_zero(graph, elements), elements, axis=2, why="Number 0 is the zero of the rest.")
    return graph("GatherElements", first, last, axis=2, why=call.title)


def _one_zero(graph: GraphBuilder, elements: str) -> str:
    zero = numpy_helper.from_array(np.zeros(1, graph.dtypes[elements]))
    return graph("ConstantOfShape", shape_of_planes(graph, elements, 1), value=zero)


def shape_of_planes(graph: GraphBuilder, x: str, cells: int) -> str:
    """Make the shape (N, C, cells) at run time, so that the graph fits any number of maps and channels.

    By Slice, through which onnx infers shapes since opset 13.
    """
    sizes = graph("Slice", graph("Shape", x), starts=[0], ends=[2], axes=[0])
    return graph("Concat", sizes, np.array([cells]), axis=0)
