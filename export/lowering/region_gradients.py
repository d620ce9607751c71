"""The gradients of pooling of regions, which lie where they like: what they give is added where it is scattered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pooling.arguments import per_axis

from ..graph_builder import GraphBuilder
from ..layer_calls import LayerCall
from .extremes import Keys, greatest_of_taps
from .regions import BinSamples, as_column, between_pixels, cut_to_map, on_axis, pixels_of, places_of
from .special import is_nan

__all__ = ["max_roi_pool_backward", "roi_align_backward"]


def max_roi_pool_backward(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower the gradient of max pooling of regions: to the first of the greatest pixels of each window."""
    grad, x, rois = inputs
    dtype = graph.dtypes[grad]
    rows, columns = (cut_to_map(graph, call, rois, axis, bins) for axis, bins in enumerate(_bins(call)))
    maps = graph.cast(as_column(graph, rois, 0), np.int64)
    keys = Keys(graph, x)
    place = places_of(graph, maps, [pixels_of(graph, windows) for windows in (rows, columns)], call)
    taps = graph("Gather", _by_channel(graph, keys.tensor), place, axis=1)
    index = _first_greatest(graph, call, taps, place)
    share = _of_channels(graph, grad)
    none = graph("Or", graph("Unsqueeze", rows.none, axes=[2]), graph("Unsqueeze", columns.none, axes=[1]))
    share = graph("Where", none, np.zeros((), graph.dtypes[share]), share, why="A window off the map has no pixel.")
    return (graph.cast(_added(graph, call, x, [(index, share)]), dtype),)


def roi_align_backward(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower the gradient of RoiAlign: to the pixels around samples, by their weights."""
    grad, x, rois, maps = inputs
    arguments, dtype = call.arguments, graph.dtypes[grad]
    half_pixel = arguments["coordinate_transformation_mode"] == "half_pixel"
    working = np.dtype(np.float32 if dtype.itemsize == 2 else np.float64)
    why = f"Sums of {dtype.name} are made in {working}; one rounding at the end."
    axes = [BinSamples(graph, call, rois, axis, bins, half_pixel=half_pixel) for axis, bins in enumerate(_bins(call))]
    share = graph("Unsqueeze", _of_channels(graph, graph.cast(grad, working, why=why)), axes=[4, 5])
    off, taken, count = (
        [on_axis(graph, getattr(each, name), number) for number, each in enumerate(axes)]
        for name in ("off", "taken", "count")
    )
    gets = graph("And", graph("And", *taken), graph("Not", graph("Or", *off)))
    if arguments["mode"] == "avg":
        share = graph("Div", share, graph.cast(graph("Mul", *count), working), why=call.title)
    else:
        wide = graph.cast(x, working, why=why)
        samples = between_pixels(graph, call, wide, maps, axes, lost=np.array(-np.inf, working))
        shape = graph("Shape", samples)
        along = [
            graph("Range", np.int64(0), graph("Gather", shape, np.int64(axis), axis=0), np.int64(1)) for axis in (4, 5)
        ]
        most = graph("Gather", shape, np.int64(5), axis=0)
        number = graph("Add", graph("Mul", graph("Unsqueeze", along[0], axes=[1]), most), along[1])
        first = _first_greatest(graph, call, samples, number)
        is_argmax = graph("Equal", graph("Unsqueeze", first, axes=[4, 5]), number)
        gets = graph("And", gets, is_argmax, why="The first of the greatest samples, if it lies on the map.")
    zero = np.zeros((), working)
    share = graph("Where", gets, share, zero)
    maps = graph("Unsqueeze", maps, axes=[1])
    corners = []
    for row_cell, row_weight in _neighbours(graph, axes[0], 0, working):
        for cell, weight in _neighbours(graph, axes[1], 1, working):
            both = graph("Mul", row_weight, weight)
            part = graph("Where", graph("Greater", both, zero), graph("Mul", both, share), zero)
            corners.append((places_of(graph, maps, [row_cell, cell], call), part))
    return (graph.cast(_added(graph, call, x, corners), dtype),)


def _bins(call: LayerCall) -> tuple[int, ...]:
    return per_axis(type(call.layer).__name__, "output_size", call.arguments["output_size"], 2)


def _first_greatest(graph: GraphBuilder, call: LayerCall, taps: str, numbers: str) -> str:
    """Return the least number of the greatest taps of each window, or of NaN, (C, R, bins, bins)."""
    (best,) = greatest_of_taps(graph, call, taps, [4, 5], "propagate")
    wins = graph("Or", graph("Equal", taps, graph("Unsqueeze", best, axes=[4, 5])), is_nan(graph, taps))
    candidates = graph("Where", wins, numbers, np.int64(2**62), why="No number of a tap.")
    return graph("ReduceMin", candidates, axes=[4, 5], keepdims=0, why="The first of equal elements.")


def _neighbours(graph: GraphBuilder, samples: BinSamples, axis: int, dtype: np.dtype[Any]) -> list[tuple[str, str]]:
    """Pair the pixels before and behind each sample with their weights."""
    part = on_axis(graph, graph.cast(samples.part, dtype), axis)
    rest = graph("Sub", np.ones((), dtype), part)
    return [(samples.cell, rest), (samples.next, part)]


def _by_channel(graph: GraphBuilder, x: str) -> str:
    """Put the pixels of all maps into one row for each channel."""
    return graph("Reshape", graph("Transpose", x, perm=[1, 0, 2, 3]), np.array([0, -1]))


def _of_channels(graph: GraphBuilder, grad: str) -> str:
    """Put channels first: (C, R, bins, bins); half types as float32."""
    dtype = graph.dtypes[grad]
    wide = graph.cast(grad, np.float32, why="Sums are made in float32.") if dtype.itemsize == 2 else grad
    return graph("Transpose", wide, perm=[1, 0, 2, 3])


def _added(graph: GraphBuilder, call: LayerCall, x: str, parts: Sequence[tuple[str, str]]) -> str:
    """Add up gradients, (C, R, ...), where indices into the rows of channels say."""
    dtype = graph.dtypes[parts[0][1]]
    planes = graph("Transpose", graph("Expand", np.zeros((), dtype), graph("Shape", x)), perm=[1, 0, 2, 3])
    total = graph("Reshape", planes, np.array([0, -1]), why="A row of zeros for each channel.")
    for index, part in parts:
        spread = graph("Expand", index, graph("Shape", part))
        flat = (graph("Reshape", each, np.array([0, -1])) for each in (spread, part))
        total = graph("ScatterElements", total, *flat, axis=1, reduction="add", why=call.title)
    return graph("Transpose", graph("Reshape", total, graph("Shape", planes)), perm=[1, 0, 2, 3])
