"""Fractional max pooling, whose windows were drawn before the graph is made."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pooling.arguments import axis_names
from pooling.families.fractional import fractional_sizes, window_starts

from ..graph_builder import GraphBuilder
from ..layer_calls import LayerCall
from .extremes import Keys, greatest_of_taps
from .indices import to_onnx_indices

__all__ = ["fractional_max_pool"]


def fractional_max_pool(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower fractional max pooling."""
    (x,) = inputs
    keys = Keys(graph, x)
    dimensions = len(call.spatial)
    starts, kernel = _windows(call)
    planes = starts[0].shape[:2]
    graph.planes_are_fixed = True
    cells = ""
    for number, (start, size) in enumerate(zip(starts, kernel, strict=True)):
        below = math.prod(call.spatial[number + 1 :])
        table = (start[..., np.newaxis] + np.arange(size)) * below
        behind = dimensions - number - 1
        part = table.reshape(*planes, *[1] * number, start.shape[2], *[1] * behind, *[1] * number, size, *[1] * behind)
        cells = graph("Add", cells, part) if cells else graph("Identity", part, why="Where each tap lies: as drawn.")
    flat_cells = graph("Reshape", cells, np.array([0, 0, math.prod(call.sizes) * math.prod(kernel)]))
    plane = graph("Reshape", keys.tensor, np.array([0, 0, call.cells]), why="One row of cells for each plane.")
    taken = graph("GatherElements", plane, flat_cells, axis=2, why=call.title)
    taps_shape = np.array([*planes, *call.sizes, math.prod(kernel)])
    named = graph("Reshape", cells, taps_shape) if call.arguments["return_indices"] else None
    taps = graph("Reshape", taken, taps_shape)
    values, *index = greatest_of_taps(graph, call, taps, [2 + dimensions], keys.rule("propagate"), named)
    return (keys.elements(values), *(to_onnx_indices(graph, call, each, x, whole=False) for each in index))


def _windows(call: LayerCall) -> tuple[list[NDArray[np.int64]], tuple[int, ...]]:
    """Return where windows begin on each axis, (N, C, windows), and their sizes."""
    name, dimensions = type(call.layer).__name__, len(call.spatial)
    arguments = (call.arguments[key] for key in ("kernel_size", "output_size", "output_ratio"))
    kernel, sizes = fractional_sizes(name, call.spatial, *arguments)
    given = np.asarray(call.arguments["_random_samples"])
    samples = given.reshape(-1, dimensions)
    starts = []
    for i, (size, taps, count) in enumerate(zip(call.spatial, kernel, sizes, strict=True)):
        phases = samples[:, 1 - i if dimensions == 2 else i]
        begins = window_starts(name, axis_names(dimensions)[i], size, taps, count, phases)
        starts.append(begins.reshape(*given.shape[:2], count))
    return starts, kernel
