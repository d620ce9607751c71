"""The gradient of each pooling as the graph that computes it, on tensors of shape ``(N, C, *S)``.

Every lowering takes the gradient of the result, the input and what else the layer takes, and gives the gradient of the
input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import numpy_helper

from pooling import geometry
from pooling.families import extremes
from pooling.families.blurs import Blur, blur_of
from pooling.layer import Layer

from ..graph_builder import GraphBuilder, Value
from ..layer_calls import LayerCall
from .extremes import max_pool, min_pool
from .fractional import fractional_max_pool
from .indices import indices_to_coordinates
from .inverse_windows import (
    covering_windows,
    covering_windows_and_taps,
    gather_sum,
    gathered,
    missing,
    slot_axes,
    weighted_gather_sum,
    with_padding_index,
)
from .means import window_counts, working_dtype
from .norms import power_of, root_of
from .region_gradients import max_roi_pool_backward, roi_align_backward
from .special import is_nan
from .unpooling import refused_indices, says_which_stays, shape_of_planes
from .windows import empty, tap_axes, zero_behind

__all__ = ["BACKWARD_LOWERINGS"]

Lowering = Callable[[GraphBuilder, LayerCall, tuple[str, ...]], tuple[str, ...]]


def _wide(graph: GraphBuilder, grad: str) -> str:
    """Convert gradients of half types to float32, in which they are added up."""
    dtype = graph.dtypes[grad]
    why = f"Sums of {dtype.name} are made in float32 and rounded once."
    return graph.cast(grad, np.float32, why=why) if dtype.itemsize == 2 else grad


# ----------------------------------------------------------------------------------------------------------
# To the element that an index names


def max_pool_backward(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower the gradient of max pooling, sliding or adaptive."""
    return (_to_argmax(graph, call, inputs, max_pool),)


def min_pool_backward(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower the gradient of min pooling."""
    return (_to_argmax(graph, call, inputs, min_pool),)


def global_max_pool_backward(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower the gradient of global max pooling."""
    kind = getattr(extremes, f"AdaptiveMaxPool{len(call.spatial)}d")
    whole = replace(call, layer=kind(1, nan=call.arguments["nan"]))
    return (_to_argmax(graph, whole, inputs, max_pool),)


def fractional_max_pool_backward(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower the gradient of fractional max pooling, whose windows are other ones on each map."""
    grad, x = inputs
    index = _indices(graph, call, x, fractional_max_pool)
    return (graph.cast(_scattered(graph, call, x, _wide(graph, grad), index, call.title), graph.dtypes[grad]),)


def _to_argmax(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...], lowering: Lowering) -> str:
    grad, x = inputs
    index = _indices(graph, call, x, lowering)
    return graph.cast(_sent(graph, call, x, _wide(graph, grad), index), graph.dtypes[grad])


def _indices(graph: GraphBuilder, call: LayerCall, x: str, lowering: Lowering) -> str:
    """Find again which cell of its plane each window took, as the forward graph does; -1 for none."""
    layer: Layer = type(call.layer)(**{**call.arguments, "return_indices": True})
    return lowering(graph, replace(call, layer=layer, indices="torch"), (x,))[1]


def _sent(graph: GraphBuilder, call: LayerCall, x: str, grad: str, index: str) -> str:
    """Give each cell of `x` the gradients of the windows that name it."""
    why = f"{call.title}: to the element that the index names."
    if not graph.has("ScatterElements", "reduction"):
        graph.detour(f"ScatterElements adds nothing up in opset {graph.opset}.")
        return _gathered_from_windows(graph, call, grad, index, why)
    if empty(call.axes).any():
        none = graph("Less", index, np.int64(0))
        grad = graph("Where", none, np.zeros((), graph.dtypes[grad]), grad, why="Windows without any element.")
        index = graph("Where", none, np.int64(0), index)
    return _scattered(graph, call, x, grad, index, why)


def _scattered(graph: GraphBuilder, call: LayerCall, x: str, grad: str, index: str, why: str) -> str:
    """Add gradients to zeros in the shape of `x`, where indices say."""
    windows, cells = (np.array([0, 0, math.prod(sizes)]) for sizes in (call.sizes, call.spatial))
    zeros = graph("Expand", np.zeros((), graph.dtypes[grad]), graph("Shape", x))
    zeros, grad, index = (
        graph("Reshape", each, shape) for each, shape in ((zeros, cells), (grad, windows), (index, windows))
    )
    total = graph("ScatterElements", zeros, index, grad, axis=2, reduction="add", why=why)
    return graph("Reshape", total, np.array([0, 0, *call.spatial]))


def _gathered_from_windows(graph: GraphBuilder, call: LayerCall, grad: str, index: str, why: str) -> str:
    """Gather for each cell the windows that hold it, and add up the gradients of those that name it.

    Before opset 16 nothing adds what is scattered.
    """
    tables = [with_padding_index(covering_windows(axis)) for axis in call.axes]
    # An axis of one slot needs no axis for it.
    ranks = [1 if table.shape[1] == 1 else 2 for table in tables]
    cells, position, slots = "", 2, []
    for number, (axis, table) in enumerate(zip(call.axes, tables, strict=True)):
        # One window on an axis needs no table: it meets every cell by broadcasting.
        if axis.output_size > 1 and not axis.is_identity:
            read = table if ranks[number] == 2 else table[:, 0]
            words: dict[str, Any] = {"axis": position, "why": "For each cell the windows that hold it."}
            grad, index = (graph("Gather", each, read, **words) for each in (grad, index))
        slots += [position + 1] * (ranks[number] - 1)
        position += ranks[number]
        below = math.prod(call.spatial[number + 1 :])
        part = (np.arange(axis.input_size) * below).reshape(-1, *[1] * (sum(ranks[number:]) - 1))
        cells = graph("Add", cells, part) if cells else graph("Identity", part, why="The number of each cell.")
    own = graph("Where", graph("Equal", index, cells), grad, np.zeros((), graph.dtypes[grad]), why=why)
    return graph("ReduceSum", own, axes=slots, keepdims=0, why="Of all windows that hold the cell.") if slots else own


def max_unpool_backward(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower the gradient of max unpooling: of elements with equal indices, only the last was written.

    Before opset 18 the order of writes is up to the runtime, as in the forward graph; onnxruntime's last one stays.
    """
    grad, x, indices = inputs
    dtype = graph.dtypes[grad]
    cells = math.prod(call.sizes)
    flat = np.array([0, 0, call.cells])
    named = graph(
        "Reshape", indices_to_coordinates(graph, call, indices, x), flat, why="One row of indices for each plane."
    )
    named = refused_indices(graph, named, cells)
    gradients = graph("Reshape", _wide(graph, grad), np.array([0, 0, cells]))
    taken = graph("GatherElements", gradients, named, axis=2, why=call.title)
    numbers = graph("Expand", np.arange(call.cells, dtype=np.int64), graph("Shape", named))
    none = graph(
        "ConstantOfShape",
        shape_of_planes(graph, x, cells),
        value=numpy_helper.from_array(np.zeros(1, np.int64)),
    )
    words: dict[str, Any] = {"reduction": "max"} if says_which_stays(graph) else {}
    why = "Which element each cell got: the last of those that name it."
    numbered = graph("ScatterElements", none, named, numbers, axis=2, why=why, **words)
    last = graph("Equal", graph("GatherElements", numbered, named, axis=2), numbers)
    result = graph("Where", last, taken, np.zeros((), graph.dtypes[taken]), why="What was overwritten has no gradient.")
    return (graph.cast(graph("Reshape", result, np.array([0, 0, *call.spatial])), dtype),)


# ----------------------------------------------------------------------------------------------------------
# To all elements of the window


def avg_pool_backward(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower the gradient of average pooling: sliding, adaptive or global."""
    grad, axes = inputs[0], call.axes
    dtype = graph.dtypes[grad]
    include = call.arguments.get("count_include_pad", False)
    divisor = call.arguments.get("divisor_override")
    windows = math.prod(covering_windows(axis).shape[1] for axis in axes)
    working = working_dtype(dtype, windows, finite=graph.finite)
    if divisor is not None and not 2.0**-126 <= abs(divisor) < 2.0**127:
        working = np.dtype(np.float64)
    grad = graph.cast(grad, working, why=f"Sums of {dtype.name} are made in {working} and rounded once.")
    over: Value = np.array(divisor, working) if divisor is not None else window_counts(graph, axes, include, working)
    share = graph("Div", grad, over, why=f"{call.title}: the share of each element.")
    total = gather_sum(graph, share, axes, "For each cell the windows that hold it.")
    return (graph.cast(total, dtype),)


def blur_pool_backward(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower the gradient of the blur of maps."""
    names = ("kernel_size", "stride", "padding", "padding_mode")
    arguments = (call.arguments[name] for name in names)
    blur = blur_of(type(call.layer).__name__, call.spatial, *arguments)
    return (graph.cast(_unblurred(graph, inputs[0], blur, call.title), graph.dtypes[inputs[0]]),)


def max_blur_pool_backward(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower the gradient of blurred maxima, all of it in float64, so that there is one rounding."""
    grad, x = inputs
    name, arguments = type(call.layer).__name__, call.arguments
    maxima = geometry.pool_axes(call.spatial, arguments["kernel_size"], 1, arguments["padding"], function=name)
    first = extremes.MaxPool2d(arguments["kernel_size"], 1, arguments["padding"], nan=arguments["nan"])
    sizes = [axis.output_size for axis in maxima]
    kernel, stride, mode = (arguments[key] for key in ("blur_kernel_size", "stride", "padding_mode"))
    blur = blur_of(name, sizes, kernel, stride, None, mode, "blur_kernel_size")
    of_maxima = _unblurred(graph, grad, blur, call.title)
    pooled = replace(call, layer=first, axes=maxima, result=(*call.result[:2], *sizes))
    index = _indices(graph, pooled, x, max_pool)
    return (graph.cast(_sent(graph, pooled, x, of_maxima, index), graph.dtypes[grad]),)


def _unblurred(graph: GraphBuilder, grad: str, blur: Blur, why: str) -> str:
    grad = graph.cast(grad, np.float64, why="Weighted sums are made in float64 and rounded once.")
    tables = []
    for axis, cells, weights in zip(blur.axes, blur.cells, blur.weights, strict=True):
        table, taps = covering_windows_and_taps(cells, axis.input_size)
        tables.append((table, np.where(taps < 0, 0, weights[taps])))
    return weighted_gather_sum(graph, grad, tables, [axis.output_size for axis in blur.axes], why)


# ----------------------------------------------------------------------------------------------------------
# By powers


def lp_pool_backward(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower the gradient of the norm of windows or planes: of norm n, ``sign(x) (|x| / n)^(p - 1)``; 0 at 0."""
    grad, x = inputs
    dtype, axes = graph.dtypes[grad], call.axes
    p = float(call.arguments["norm_type"] if "norm_type" in call.arguments else call.arguments["p"])
    why = "Powers are made in float64 and rounded once."
    wide, gradients = (graph.cast(each, np.float64, why=why) for each in (x, grad))
    magnitudes = graph("Abs", wide)
    if math.isinf(p):
        kind = getattr(extremes, f"MaxPool{len(call.spatial)}d")
        largest = replace(call, layer=kind(1))  # the windows are those of `axes`
        total = _sent(graph, call, x, gradients, _indices(graph, largest, magnitudes, max_pool))
    elif p == 1:
        total = gather_sum(graph, gradients, axes, "For each cell the windows that hold it.")
    else:
        total = _by_ratios(graph, call, gradients, magnitudes, p)
    total = graph("Where", graph("Less", wide, np.float64(0)), graph("Neg", total), total, why="The sign of x.")
    total = graph("Where", _is_zero(graph, magnitudes), np.float64(0), total, why="|x| has no slope at 0.")
    return (graph.cast(total, dtype),)


def _by_ratios(graph: GraphBuilder, call: LayerCall, grad: str, magnitudes: str, p: float) -> str:
    """Add up ``g (|x| / n)^(p - 1)`` over the windows that hold each cell."""
    axes = call.axes
    tables = [covering_windows(axis) for axis in axes]
    taps, cells = zero_behind(graph, magnitudes, axes)
    for number, table in enumerate(cells):
        taps = graph("Gather", taps, table, axis=2 + 2 * number, why="The taps of each window.")
    scale, root = _norm_in_two(graph, taps, tap_axes(axes), p, "ReduceSum", call.title)
    scale, root = (graph("Squeeze", each, axes=tap_axes(axes)) for each in (scale, root))
    why = "For each cell the windows that hold it."
    scale, root, grad = (gathered(graph, each, tables, why) for each in (scale, root, grad))
    cell = graph("Unsqueeze", magnitudes, axes=slot_axes(tables))
    ratio = graph("Div", graph("Div", cell, scale), root, why="Part of the norm, which might overflow itself.")
    term = graph("Mul", grad, power_of(graph, ratio, p - 1, call.title))
    lacking = missing(graph, tables)
    if lacking:
        term = graph("Where", lacking, np.float64(0), term)
    return graph("ReduceSum", term, axes=slot_axes(tables), keepdims=0, why="Of all windows that hold the cell.")


def gem_pool_backward(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower the gradients of the generalised mean of planes: that of the input, and that of the exponent."""
    grad, x = inputs
    dtype, count = graph.dtypes[grad], np.float64(call.cells)
    p, eps = float(call.arguments["p"]), np.float64(call.arguments["eps"])
    why = "Powers are made in float64 and rounded once."
    wide, gradients = (graph.cast(each, np.float64, why=why) for each in (x, grad))
    low = graph("Less", wide, eps)
    lifted = graph("Where", low, eps, wide, why="max(x, eps), which leaves NaN alone.")
    scale, root = _norm_in_two(graph, lifted, [2, 3], p, "ReduceMean", call.title)
    ratio = graph("Div", graph("Div", lifted, scale), root)
    rate: Value = np.float64(1) if p == 1 else power_of(graph, ratio, p - 1, call.title)
    slope = graph("Mul", gradients, graph("Div", rate, count), why="The share of each element.")
    slope = graph("Where", low, np.float64(0), slope, why="What is below eps has none.")
    entropy = graph("Mul", power_of(graph, ratio, p, "With respect to p."), graph("Log", ratio))
    entropy = graph("Where", _is_zero(graph, ratio), np.float64(0), entropy)
    total = graph("ReduceSum", entropy, axes=[2, 3], keepdims=1)
    mean = graph("Div", graph("Mul", graph("Div", graph("Mul", scale, root), np.float64(p)), total), count)
    exponent = graph("ReduceSum", graph("Mul", gradients, mean), axes=[0, 1, 2, 3], keepdims=0, why="Over all maps.")
    return graph.cast(slope, dtype), exponent


def _norm_in_two(
    graph: GraphBuilder, taps: str, axes: Sequence[int], p: float, combine: str, why: str
) -> tuple[str, str]:
    """Return two factors of the norm, or mean, of taps, both with their axes kept: neither of them overflows."""
    largest = graph("ReduceMax", taps, axes=axes, keepdims=1)
    usual = graph("And", graph("Greater", largest, np.float64(0)), graph("Less", largest, np.float64(np.inf)))
    scale = graph("Where", usual, largest, np.float64(1), why="What is taken out: nothing of 0, infinity and NaN.")
    powers = power_of(graph, graph("Div", taps, scale), p, why)
    return scale, root_of(graph, graph(combine, powers, axes=axes, keepdims=1), p)


def _is_zero(graph: GraphBuilder, magnitudes: str) -> str:
    some = graph("Or", graph("Greater", magnitudes, np.float64(0)), is_nan(graph, magnitudes))
    return graph("Not", some)


BACKWARD_LOWERINGS: dict[str, Lowering] = {
    "max_pool": max_pool_backward,
    "min_pool": min_pool_backward,
    "avg_pool": avg_pool_backward,
    "global_max_pool": global_max_pool_backward,
    "global_avg_pool": avg_pool_backward,
    "adaptive_max_pool": max_pool_backward,
    "adaptive_avg_pool": avg_pool_backward,
    "lp_pool": lp_pool_backward,
    "global_lp_pool": lp_pool_backward,
    "gem_pool": gem_pool_backward,
    "blur_pool": blur_pool_backward,
    "max_blur_pool": max_blur_pool_backward,
    "max_roi_pool": max_roi_pool_backward,
    "roi_align": roi_align_backward,
    "fractional_max_pool": fractional_max_pool_backward,
    "max_unpool": max_unpool_backward,
}
"""By row of the operator table, what adds the nodes of a layer's gradient to a graph and names its results."""
