"""Fractional max pooling, whose windows were drawn before the graph is made."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pooling.arguments import axis_names
from pooling.families.fractional import fractional_sizes, window_starts

from ..graph_builder import Graph
from ..stages import Stage
from .extremes import Keys, greatest_of_taps
from .indices import to_onnx_indices

__all__ = ["fractional_max_pool"]


def fractional_max_pool(graph: Graph, stage: Stage, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower fractional max pooling."""
    (x,) = inputs
    keys = Keys(graph, x)
    dimensions = len(stage.spatial)
    starts, kernel = _windows(stage)
    planes = starts[0].shape[:2]
    graph.planes_are_fixed = True
    cells = ""
    for number, (start, size) in enumerate(zip(starts, kernel, strict=True)):
        below = math.prod(stage.spatial[number + 1 :])
        table = (start[..., np.newaxis] + np.arange(size)) * below
        behind = dimensions - number - 1
        part = table.reshape(*planes, *[1] * number, start.shape[2], *[1] * behind, *[1] * number, size, *[1] * behind)
        cells = graph("Add", cells, part) if cells else graph("Identity", part, why="Where each tap lies: as drawn.")
    flat_cells = graph("Reshape", cells, np.array([0, 0, math.prod(stage.sizes) * math.prod(kernel)]))
    plane = graph("Reshape", keys.tensor, np.array([0, 0, stage.cells]), why="One row of cells for each plane.")
    taken = graph("GatherElements", plane, flat_cells, axis=2, why=stage.title)
    taps_shape = np.array([*planes, *stage.sizes, math.prod(kernel)])
    named = graph("Reshape", cells, taps_shape) if stage.arguments["return_indices"] else None
    taps = graph("Reshape", taken, taps_shape)
    values, *index = greatest_of_taps(graph, stage, taps, [2 + dimensions], keys.rule("propagate"), named)
    return (keys.elements(values), *(to_onnx_indices(graph, stage, each, x, whole=False) for each in index))


def _windows(stage: Stage) -> tuple[list[NDArray[np.int64]], tuple[int, ...]]:
    """Return where windows begin on each axis, (N, C, windows), and their sizes."""
    name, dimensions = type(stage.layer).__name__, len(stage.spatial)
    arguments = (stage.arguments[key] for key in ("kernel_size", "output_size", "output_ratio"))
    kernel, sizes = fractional_sizes(name, stage.spatial, *arguments)
    given = np.asarray(stage.arguments["_random_samples"])
    samples = given.reshape(-1, dimensions)
    starts = []
    for i, (size, taps, count) in enumerate(zip(stage.spatial, kernel, sizes, strict=True)):
        phases = samples[:, 1 - i if dimensions == 2 else i]
        begins = window_starts(name, axis_names(dimensions)[i], size, taps, count, phases)
        starts.append(begins.reshape(*given.shape[:2], count))
    return starts, kernel
