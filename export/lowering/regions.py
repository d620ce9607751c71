"""Pooling of regions of interest, whose windows are cut when the model runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.arguments import per_axis

from ..graph_builder import GraphBuilder
from ..layer_calls import LayerCall
from .extremes import Keys, greatest_of_taps
from .special import NanAwareMax

__all__ = [
    "BinSamples",
    "as_column",
    "between_pixels",
    "cut_to_map",
    "max_roi_pool",
    "on_axis",
    "pixels_of",
    "places_of",
    "roi_align",
]

NO_REGIONS = 22
"""The opset from which onnxruntime has neither MaxRoiPool nor RoiAlign; MaxRoiPool of float64 it never has."""


def as_column(graph: GraphBuilder, table: str, number: int) -> str:
    """Take one column of a table, (R, 1)."""
    return graph("Gather", table, np.array([number]), axis=1)


# ----------------------------------------------------------------------------------------------------------
# The greatest element of whole pixels


@dataclass(frozen=True)
class _BinPixels:
    """The windows of one axis, each of shape (R, bins): first pixel, last pixel, and whether there is none."""

    first: str
    last: str
    none: str


def max_roi_pool(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower max pooling of regions.

    Windows are cut in whole numbers by the graph, since MaxRoiPool cuts them in float32, which may move an edge by a
    pixel. It gets each window as a region of its own; where onnxruntime does not have it, the pixels of all windows
    are gathered.
    """
    x, rois = inputs
    bins = per_axis(type(call.layer).__name__, "output_size", call.arguments["output_size"], 2)
    maps = as_column(graph, rois, 0)
    rows, columns = (cut_to_map(graph, call, rois, axis, bins[axis]) for axis in (0, 1))
    none = graph("Or", graph("Unsqueeze", rows.none, axes=[2]), graph("Unsqueeze", columns.none, axes=[1]))
    keys = Keys(graph, x)
    if graph.dtypes[keys.tensor] == np.float32 and graph.opset < NO_REGIONS:
        value = _greatest_by_node(graph, keys.tensor, _as_regions(graph, maps, rows, columns, none), call, bins)
    else:
        value = _greatest_of_gathered(graph, keys.tensor, graph.cast(maps, np.int64), rows, columns, call)
    none = graph("Unsqueeze", none, axes=[1])
    value = graph("Where", none, np.zeros((), graph.dtypes[value]), value, why="A window off the map is 0.")
    return (keys.elements(value),)


def cut_to_map(graph: GraphBuilder, call: LayerCall, rois: str, axis: int, bins: int) -> _BinPixels:
    """Cut boxes into windows as adaptive pooling does, and clip these to the map."""
    size = call.spatial[axis]
    scale = np.array(call.arguments["spatial_scale"], graph.dtypes[rois])
    ends = []
    for column in (2 - axis, 4 - axis):
        scaled = graph.cast(graph("Mul", as_column(graph, rois, column), scale), np.float64)
        nearest = graph("Floor", graph("Add", graph("Abs", scaled), np.float64(0.5)))
        pixel = graph("Mul", nearest, graph("Sign", scaled), why="Rounded, half away from zero.")
        ends.append(graph.cast(pixel, np.int64))
    first, last = ends
    span = graph("Add", graph("Sub", last, first), np.int64(1))
    length = graph("Where", graph("Less", span, np.int64(1)), np.int64(1), span, why="A region has one pixel at least.")
    bin = np.arange(bins, dtype=np.int64).reshape(1, -1)
    # Both are whole numbers above 0, whose quotient Div rounds down.
    low = graph("Add", first, graph("Div", graph("Mul", length, bin), np.int64(bins)))
    upper = graph("Add", graph("Mul", length, bin + 1), np.int64(bins - 1))
    high = graph("Add", first, graph("Div", upper, np.int64(bins)))
    start, stop = (_clipped(graph, edge, size) for edge in (low, high))
    return _BinPixels(start, graph("Sub", stop, np.int64(1)), graph("Not", graph("Less", start, stop)))


def _clipped(graph: GraphBuilder, whole: str, largest: int) -> str:
    """Clip to 0 and `largest`; Clip takes no int64 below opset 12."""
    whole = graph("Where", graph("Less", whole, np.int64(0)), np.int64(0), whole)
    return graph("Where", graph("Greater", whole, np.int64(largest)), np.int64(largest), whole, why="On the map.")


def _as_regions(graph: GraphBuilder, maps: str, rows: _BinPixels, columns: _BinPixels, none: str) -> str:
    """Write each window as a row of regions: map, x1, y1, x2, y2."""
    shape = graph("Shape", none)
    wide = [graph.cast(maps, np.float32), *(graph.cast(each, np.float32) for each in (
        columns.first, rows.first, columns.last, rows.last
    ))]  # fmt: skip
    axes = ([1, 2], [1], [2], [1], [2])
    spread = []
    for each, where in zip(wide, axes, strict=True):
        each = graph("Unsqueeze", each, axes=[1] if len(where) == 2 else where)
        spread.append(graph("Unsqueeze", graph("Expand", each, shape), axes=[3]))
    regions = graph("Concat", *spread, axis=3, why="Each window as a region of its own.")
    return graph("Reshape", regions, np.array([-1, 5]))


def _greatest_by_node(graph: GraphBuilder, x: str, regions: str, call: LayerCall, bins: tuple[int, ...]) -> str:
    words: dict[str, Any] = {"pooled_shape": [1, 1], "spatial_scale": 1.0}
    if graph.finite:
        value = graph("MaxRoiPool", x, regions, **words, why=call.title)
    else:
        ranked = NanAwareMax(graph, x, "propagate")
        greatest = graph("MaxRoiPool", ranked.elements, regions, **words, why=call.title)
        max_rank = graph("MaxRoiPool", ranked.rank, regions, **words, why="Windows of NaN, and of -inf.")
        value = ranked.restore_specials(greatest, max_rank)
    value = graph("Squeeze", value, axes=[2, 3])
    channels = graph("Gather", graph("Shape", x), np.array([1]), axis=0)
    shape = graph("Concat", np.array([-1, *bins]), channels, axis=0)
    return graph("Transpose", graph("Reshape", value, shape), perm=[0, 3, 1, 2])


def _greatest_of_gathered(
    graph: GraphBuilder, x: str, maps: str, rows: _BinPixels, columns: _BinPixels, call: LayerCall
) -> str:
    taps = _gathered(graph, x, maps, [pixels_of(graph, windows) for windows in (rows, columns)], call)
    (value,) = greatest_of_taps(graph, call, taps, [4, 5], None if graph.finite else "propagate")
    return graph("Transpose", value, perm=[1, 0, 2, 3])


def pixels_of(graph: GraphBuilder, windows: _BinPixels) -> str:
    """List the pixels of the windows of one axis, (R, bins, pixels)."""
    longest = _at_least_one(graph, graph("Sub", windows.last, windows.first), add=1)
    tap = graph("Range", np.int64(0), longest, np.int64(1))
    first = graph("Unsqueeze", windows.first, axes=[2])
    last = graph("Unsqueeze", windows.last, axes=[2])
    cell = graph("Add", first, tap)
    cell = graph("Where", graph("Greater", cell, last), last, cell, why="Short windows read their last pixel again.")
    return graph("Where", graph("Less", cell, np.int64(0)), np.int64(0), cell)


def _at_least_one(graph: GraphBuilder, counts: str, add: int = 0) -> str:
    """Return the greatest of some whole numbers, as a scalar; 1 if there are none."""
    counts = graph("Reshape", counts, np.array([-1]))
    if add:
        counts = graph("Add", counts, np.int64(add))
    return graph("ReduceMax", graph("Concat", counts, np.array([1]), axis=0), axes=[0], keepdims=0)


def _gathered(graph: GraphBuilder, x: str, maps: str, cells: list[str], call: LayerCall) -> str:
    """Gather pixels of maps by their rows and columns: (C, R, bins, bins, rows, columns)."""
    place = places_of(graph, maps, cells, call)
    planes = graph("Transpose", x, perm=[1, 0, 2, 3])
    return graph("Gather", graph("Reshape", planes, np.array([0, -1])), place, axis=1)


def places_of(graph: GraphBuilder, maps: str, cells: list[str], call: LayerCall) -> str:
    """Say where pixels lie in a channel of all maps: (R, bins, bins, rows, columns)."""
    rows = graph("Unsqueeze", graph("Unsqueeze", cells[0], axes=[2]), axes=[4])
    columns = graph("Unsqueeze", graph("Unsqueeze", cells[1], axes=[1]), axes=[3])
    map = graph("Where", graph("Less", maps, np.int64(0)), np.int64(2**31), maps, why="No map is negative.")
    first = graph("Mul", graph("Unsqueeze", map, axes=[2, 3, 4]), np.int64(call.cells))
    place = graph("Add", graph("Mul", rows, np.int64(call.spatial[1])), columns)
    return graph("Add", place, first, why="Where each pixel lies in a channel of all maps.")


# ----------------------------------------------------------------------------------------------------------
# Samples between pixels


def roi_align(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower RoiAlign.

    Means are those of the operator, where onnxruntime has it. For the greatest sample it is not used: runtimes compare
    weighted pixels there, and the text interpolates first.
    """
    x, rois, maps = inputs
    arguments, dtype = call.arguments, graph.dtypes[x]
    bins = per_axis(type(call.layer).__name__, "output_size", arguments["output_size"], 2)
    half_pixel = arguments["coordinate_transformation_mode"] == "half_pixel"
    averaging = arguments["mode"] == "avg"
    # Means are worked on as wide as coordinates are; the greatest sample as the layer does, to have the same ties.
    working = graph.dtypes[rois] if averaging else np.dtype(np.float32 if dtype.itemsize == 2 else np.float64)
    wide = graph.cast(x, working, why=f"Samples of {dtype.name} are made in {working}; one rounding at the end.")
    if not averaging or graph.opset >= NO_REGIONS:
        axes = [BinSamples(graph, call, rois, axis, bins[axis], half_pixel=half_pixel) for axis in (0, 1)]
        return (graph.cast(_reduced_samples(graph, call, wide, maps, axes, averaging=averaging), dtype),)
    words: dict[str, Any] = {
        "mode": "avg",
        "output_height": bins[0],
        "output_width": bins[1],
        "sampling_ratio": int(arguments["sampling_ratio"]),
        "spatial_scale": float(arguments["spatial_scale"]),
    }
    # Before there was a choice, samples lay as output_half_pixel has it.
    if half_pixel or graph.has("RoiAlign", "coordinate_transformation_mode"):
        words["coordinate_transformation_mode"] = arguments["coordinate_transformation_mode"]
    return (graph.cast(graph("RoiAlign", wide, rois, maps, **words, why=call.title), dtype),)


class BinSamples:
    """Where samples lie on one axis: (R, bins, samples), in the arithmetic of the regions' type."""

    def __init__(
        self, graph: GraphBuilder, call: LayerCall, rois: str, axis: int, bins: int, *, half_pixel: bool
    ) -> None:
        number = graph.dtypes[rois].type
        size, ratio = call.spatial[axis], int(call.arguments["sampling_ratio"])
        scale, offset = number(call.arguments["spatial_scale"]), number(0.5 if half_pixel else 0)
        low, high = (
            graph("Sub", graph("Mul", as_column(graph, rois, column), scale), offset) for column in (1 - axis, 3 - axis)
        )
        length = graph("Sub", high, low)
        if not half_pixel:
            short = graph("Less", length, number(1))
            length = graph("Where", short, number(1), length, why="A region has one pixel at least.")
        step = graph("Div", length, number(bins))
        if ratio:
            count = graph("Add", graph("Mul", step, number(0)), number(ratio))
            most = graph("Identity", np.int64(ratio))
        else:
            count = graph("Ceil", step, why="About one sample for each pixel.")
            most = _at_least_one(graph, graph.cast(count, np.int64))
        sample = graph.cast(graph("Range", np.int64(0), most, np.int64(1)), number)
        start = graph("Add", low, graph("Mul", step, np.arange(bins, dtype=number).reshape(1, -1)))
        step, count = (graph("Unsqueeze", each, axes=[2]) for each in (step, count))
        behind = graph("Div", graph("Mul", graph("Add", sample, number(0.5)), step), count)
        at = graph("Add", graph("Unsqueeze", start, axes=[2]), behind)
        self.count = count
        self.taken = graph("Less", sample, count)
        self.off = graph("Or", graph("Less", at, number(-1)), graph("Greater", at, number(size)))
        at = graph("Where", graph("Less", at, number(0)), number(0), at)
        at = graph("Where", graph("Greater", at, number(size - 1)), number(size - 1), at, why="To the nearest border.")
        at = graph("Where", self.taken, at, number(0))
        floor = graph("Floor", at)
        self.part = graph("Sub", at, floor)
        self.cell = graph.cast(floor, np.int64)
        behind_cell = graph("Add", self.cell, np.int64(1))
        last = np.int64(size - 1)
        self.next = graph("Where", graph("Greater", behind_cell, last), last, behind_cell)


def _reduced_samples(
    graph: GraphBuilder, call: LayerCall, x: str, maps: str, axes: list[BinSamples], *, averaging: bool
) -> str:
    """Interpolate the samples of every bin, (C, R, bins, bins, samples, samples), and reduce them."""
    dtype = graph.dtypes[x]
    zero = np.zeros((), dtype)
    sample = between_pixels(graph, call, x, maps, axes, lost=zero if averaging else np.array(-np.inf, dtype))
    if averaging:
        total = graph("ReduceSum", sample, axes=[4, 5], keepdims=0)
        count = [on_axis(graph, each.count, number) for number, each in enumerate(axes)]
        number = graph("Squeeze", graph("Mul", *count), axes=[3, 4])
        value = graph("Div", total, graph.cast(number, dtype), why=call.title)
    else:
        (value,) = greatest_of_taps(graph, call, sample, [4, 5], "propagate")
    # A bin has samples if it has a first one on both axes.
    some = [graph("Gather", each.taken, np.int64(0), axis=2) for each in axes]
    both = graph("And", graph("Unsqueeze", some[0], axes=[2]), graph("Unsqueeze", some[1], axes=[1]))
    value = graph("Where", both, value, zero, why="A bin without samples is 0.")
    return graph("Transpose", value, perm=[1, 0, 2, 3])


def between_pixels(
    graph: GraphBuilder, call: LayerCall, x: str, maps: str, axes: list[BinSamples], *, lost: NDArray[Any]
) -> str:
    """Interpolate the samples of every bin; those that it does not have are `lost`."""
    rows, columns = axes
    dtype = graph.dtypes[x]
    maps = graph("Unsqueeze", maps, axes=[1])
    parts = [on_axis(graph, graph.cast(each.part, dtype), number) for number, each in enumerate(axes)]
    corners = [
        [_gathered(graph, x, maps, [row, column], call) for row in (rows.cell, rows.next)]
        for column in (columns.cell, columns.next)
    ]
    left, right = (_between(graph, upper, lower, parts[0]) for upper, lower in corners)
    sample = _between(graph, left, right, parts[1])
    off, taken = (
        [on_axis(graph, getattr(each, name), number) for number, each in enumerate(axes)] for name in ("off", "taken")
    )
    sample = graph("Where", graph("Or", *off), np.zeros((), dtype), sample, why="A sample off the map is 0.")
    return graph("Where", graph("And", *taken), sample, lost, why="Only as many samples as the bin has.")


def on_axis(graph: GraphBuilder, samples: str, axis: int) -> str:
    """Spread what is known of one axis, (R, bins, samples), over (R, bins, bins, samples, samples)."""
    first, second = ([2], [4]) if axis == 0 else ([1], [3])
    return graph("Unsqueeze", graph("Unsqueeze", samples, axes=first), axes=second)


def _between(graph: GraphBuilder, a: str, b: str, part: str) -> str:
    """Interpolate; equal numbers give that number, and what has no weight is not looked at."""
    one, zero = (np.array(number, graph.dtypes[a]) for number in (1, 0))
    mixed = graph("Add", graph("Mul", graph("Sub", one, part), a), graph("Mul", part, b))
    same = graph("Or", graph("Equal", part, zero), graph("Equal", a, b))
    return graph("Where", same, a, mixed)
