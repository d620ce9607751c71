"""From layers to ONNX models."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike

from pooling.annotations import Sizes
from pooling.arguments import axis_names, flag, names_checked, per_axis
from pooling.calls import called
from pooling.errors import value_error
from pooling.families.fractional import FractionalCall
from pooling.geometry import Axis
from pooling.layer import Layer, Sequential, in_sequence
from pooling.maps import check_total, replace_spatial, spatial_slice
from pooling.operators import OPERATORS

from .arguments import Request, shown
from .dynamic_sizes import FreeAxis, Size, adaptive_axis, free_axis
from .graph_builder import Dims, GraphBuilder
from .layer_calls import LayerCall, Order
from .lowering import LOWERINGS
from .opsets import lower_plainly
from .verification import BoundLayer, Verification, in_this_runtime, verify_model

__all__ = ["declare_inputs", "forward_model", "layer_call_of", "resolved", "to_onnx"]

REGIONS = "regions"
"""Name of the number of regions, which is free at run time."""


@names_checked
def to_onnx(
    pool: Layer | Sequential,
    input_shape: Sequence[int | str],
    *,
    dtype: DTypeLike = np.float32,
    opset: int | None = None,
    layout: str | None = None,
    indices: str = "torch",
    output_size: Sizes | None = None,
    special_values: str = "finite",
    verify: bool = True,
) -> onnx.ModelProto:
    """Return an ONNX model that computes what a layer, or several one after another, compute.

    Parameters
    ----------
    pool : Layer or Sequential
        What to export: any layer of this package.
    input_shape : sequence of int and str
        Shape of the input as `pool` takes it, with or without the batch, in its layout. Sizes that have names, such
        as ``"N"`` and ``"H"``, are free at run time. Regions, unpooling and fractional pooling need integers for
        spatial sizes.
    dtype : dtype
        Of the input and the output: whatever `pool` takes, bfloat16 (ml_dtypes) included.
    opset : int, optional
        Version of the ONNX operator set, from 7 to the newest that the onnx package knows; by default the lowest from
        13 on that says the layers without a detour, so that older runtimes read the model too.
    layout : {"channels_first", "channels_last"}, optional
        The layout of `pool`, which decides; another is refused. For the reader of the call.
    indices : {"torch", "onnx", "onnx_column_major", "tensorflow"}
        How indices count elements, those that a maximum gives and those that unpooling takes; see
        `pooling.convert_indices`.
    output_size : int or sequence of int, optional
        The size that unpooling restores, as in the call of the layer.
    special_values : {"finite", "exact"}
        What the graph is for. ``"finite"``: finite numbers, and one node where ONNX has one. What becomes of NaN and of
        windows of -inf is then up to the runtime: in onnxruntime NaN may be lost in a maximum, depending on where in
        the window it stands, and a window of nothing but -inf gives the least finite number; averages keep NaN.
        ``"exact"``: NaN and infinities come out as `pool` gives them in every runtime, and means of many numbers as
        accurate, by a longer graph that takes many times as long.
    verify : bool
        Whether to run the finished model in onnxruntime and to compare it with `pool`.

    Returns
    -------
    onnx.ModelProto
        Takes ``input`` and gives ``output``, and for a layer with ``return_indices=True`` also ``indices``, int64.
        Unpooling takes ``indices`` as well. Pooling of regions takes ``rois``, in float64 if that is `dtype` and else
        in float32, and RoIAlign also ``batch_indices``; the number of regions is free.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If an argument has a wrong value, a window does not fit into the input, or the opset lacks an operator
        that the pooling needs.
    VerificationError
        If the model does not run in onnxruntime, or does not give what `pool` gives. The sentence shows the first
        element that differs.
    ModuleNotFoundError
        If `verify` is True and onnxruntime is not installed.

    Notes
    -----
    No node has ``ceil_mode`` or ``auto_pad``, whose meaning depends on opset and runtime: all geometry is
    resolved to explicit pads. MaxPool, AveragePool, GlobalMaxPool, GlobalAveragePool, MaxRoiPool and RoiAlign do the
    work where they can; around them or in their place:

    - With ``special_values="exact"`` elements are ranked, a second MaxPool finds the highest rank of every window, and
      what it says is added: NaN, -inf or nothing. `nan` of the layer is kept, and indices are those of the layer.
    - Types that onnxruntime does not pool are converted to one that holds all of their numbers, int64 and uint64 are
      reduced as int64. Means of float16 and bfloat16 are made in float32 and rounded once; those of integers in int64,
      which rounds nothing, and the quotient is rounded as the layer does.
    - Where a released onnxruntime computes a node wrongly, another form is written; `pooling.export.deployed` has the
      table. So ``ceil_mode`` with ``count_include_pad`` becomes an AveragePool that leaves out all padding, and a Mul
      by the share of the taps that count.
    - ``divisor_override`` becomes an AveragePool over all taps, and a Mul by their number over the divisor.
    - Windows that no MaxPool or AveragePool has are read by Gather, and reduced: adaptive ones of several sizes,
      padding of `kernel_size` or more, which onnxruntime refuses, and dilation in opsets that lack the word. So are
      means of more than 65,536 taps, with ``special_values="exact"`` of more than 1024, in float64.
    - Norms, generalised means and blurs are worked out in float64 and rounded once.
    - The windows of fractional pooling are drawn here, unless the layer has samples, and are part of the model.
    - Spatial sizes that have names are read from the input by Shape; what depends on them is worked out when the model
      runs, since opset 11. ``ceil_mode`` needs none of that: with ``stride - 1`` more padding at the end, or as much as
      lets a window begin at the last cell, there are as many windows for every size. ``"same_upper"`` and
      ``"same_lower"`` become a Pad with pads that follow the size, adaptive windows tables of the cells that they hold.
      Means of windows of unknown size, global ones too, are made in float64. Sizes of results are expressions, such as
      ``(H + 1) // 2``.
    - A graph cannot refuse an input that is too small for one window, as the layer does. Where windows are tables,
      there are none, and the result has size 0; MaxPool and AveragePool of onnxruntime raise an error, or return a
      result of size 0 or of one element. A mean of integers in an empty window is 0.
    - Unpooling is ScatterElements; since opset 18 the graph itself says that the last of equal indices stays. A
      negative index is refused by the runtime.
    - Windows of regions that are off the map are 0; the graph cannot refuse a box, as the layer does. Means of RoIAlign
      are those of the operator, which looks at pixels of weight 0: NaN or an infinity there spreads.

    Verification runs the model on ties, negatives, infinities, NaN, zeros of both signs and extreme numbers, at
    several numbers of maps and channels where these have names, and at several spatial sizes where these have: the
    smallest that work, odd and even ones, and larger ones. Where batch and channels have no names, and planes are
    pooled apart, two of each are enough, so that what it costs depends on the size of a plane and not on the size of
    the batch.
    Maxima, indices and integers must be equal. Sums of floats may differ by what rounding allows: n taps of magnitude
    m by ``n u m``, with u the largest error of one rounding.

    Examples
    --------
    >>> import pooling
    >>> from pooling.export import to_onnx
    >>> model = to_onnx(pooling.AvgPool2d(3, stride=2, ceil_mode=True), ("N", 64, 112, 112))
    >>> [node.op_type for node in model.graph.node]
    ['AveragePool']
    >>> print(model.graph.doc_string)
    AvgPool2d(kernel_size=3, stride=2, ceil_mode=True): (N, 64, 112, 112) -> (N, 64, 56, 56)
    >>> print(to_onnx(pooling.MaxPool2d(3, stride=2, ceil_mode=True), ("N", 64, "H", "W")).graph.doc_string)
    MaxPool2d(kernel_size=3, stride=2, ceil_mode=True): (N, 64, H, W) -> (N, 64, H // 2, W // 2)
    """
    verify = flag("to_onnx", "verify", verify)
    arguments = (pool, input_shape, dtype, opset, layout, indices, output_size, special_values)
    model, verified = forward_model(Request.of(*arguments))
    if verify:
        in_this_runtime(verified)
    return model


def forward_model(request: Request) -> tuple[onnx.ModelProto, Verification]:
    """Make the model that `to_onnx` returns, and what verifies it in a runtime."""
    pool, shape, number, version, indices, output_size, finite = request
    calls = resolved(pool, shape, number, indices, output_size)
    lower = partial(_lowered, calls=calls, shape=shape, dtype=number)
    graph, (values, placed) = lower_plainly(version, lower, finite=finite)
    output_shape = calls[-1].order.shape_of_layer(calls[-1].result) if calls else shape
    results = {name: (value, output_shape) for name, value in zip(("output", "indices"), values, strict=False)}
    title = calls[0].title if isinstance(pool, Layer) else f"Sequential({', '.join(call.title for call in calls)})"
    model = graph.model(results, f"{title}: {shown(shape)} -> {shown(output_shape)}")
    onnx.checker.check_model(model, full_check=True)
    return model, partial(verify_model, model, graph, placed)


def _lowered(
    graph: GraphBuilder, calls: Sequence[LayerCall], shape: Dims, dtype: np.dtype[Any]
) -> tuple[tuple[str, ...], list[BoundLayer]]:
    """Add the nodes of layers one after another; name the results, and the tensors of each layer."""
    placed: list[BoundLayer] = []
    values = declare_inputs(graph, calls, dtype, shape)
    for order, run in groupby(calls, lambda call: call.order):
        together = list(run)
        graph.scope = together[0].name
        values = tuple(order.to_channels_first(graph, value) for value in values)
        for call in together:
            graph.scope = call.name
            taken, values = values, LOWERINGS[call.layer.operator](graph, call, values)
            placed.append(BoundLayer(call, taken, values))
        values = tuple(order.from_channels_first(graph, value) for value in values)
    if not calls:
        graph.scope = "Sequential"
        values = (graph("Identity", "input"),)
    return values, placed


# ----------------------------------------------------------------------------------------------------------
# Layers in their places


SAMPLES = (64, 2**12, 2**18)
"""What stands for sizes that are known at run time, where layers are asked what they make of arguments."""

Extents = tuple[int | str | Size, ...]
"""A shape whose names, or what is worked out from them, may stand on spatial axes."""


def resolved(
    pool: Layer | Sequential, shape: Dims, dtype: np.dtype[Any], indices: str, output_size: Any
) -> list[LayerCall]:
    """Put every layer into its place, refusing whatever the layer itself would refuse."""
    rank = len(shape)
    spatial = {
        position
        for layer in ([pool] if isinstance(pool, Layer) else pool)
        if rank - layer.dimensions in (1, 2)
        for position in range(rank)[spatial_slice(rank, layer.dimensions, layer.layout, function=type(layer).__name__)]
    }
    free = [isinstance(size, str) and position in spatial for position, size in enumerate(shape)]
    extents = tuple(Size("", (i,), size) if isinstance(size, str) else size for i, size in enumerate(shape))
    for number in SAMPLES:
        sample = tuple(
            size if isinstance(size, int) else number if is_free else 1
            for size, is_free in zip(shape, free, strict=True)
        )
        try:
            return _chained(pool, extents, sample, dtype, indices, output_size)
        except ValueError:
            if number == SAMPLES[-1] or not any(free):
                raise
    raise AssertionError


def _chained(
    pool: Layer | Sequential,
    extents: Extents,
    sample: tuple[int, ...],
    dtype: np.dtype[Any],
    indices: str,
    output_size: Any,
) -> list[LayerCall]:
    calls: list[LayerCall] = []
    for number, layer in enumerate([pool] if isinstance(pool, Layer) else pool):
        kind = type(layer).__name__
        if layer.operator not in LOWERINGS:
            raise value_error("to_onnx", f"{kind} cannot be exported", f"known are {', '.join(LOWERINGS)}")
        windows = OPERATORS[layer.operator].windows
        if isinstance(pool, Sequential) and windows in ("regions", "named"):
            raise value_error(
                "to_onnx", f"{kind} takes more than one input and cannot be part of a Sequential", "export it alone"
            )
        if output_size is not None and layer.operator != "max_unpool":
            raise value_error(
                "to_onnx", "is for unpooling only", f"leave it out for {kind}", argument=("output_size", output_size)
            )
        name = kind if isinstance(pool, Layer) else f"{number}_{kind}"
        with nullcontext() if isinstance(pool, Layer) else in_sequence(number, layer, "to_onnx"):
            call = layer_call_of(name, layer, extents, dtype, indices, output_size, sample)
        if windows not in ("regions", "named"):  # which nothing follows
            sample = layer.output_shape(sample)
            spatial = spatial_slice(len(extents), layer.dimensions, layer.layout, function=kind)
            pooled = [axis.output_size for axis in call.windows] or call.sizes
            extents = (*extents[: spatial.start], *pooled, *extents[spatial.stop :])
        calls.append(call)
    return calls


def layer_call_of(
    name: str,
    layer: Layer,
    shape: Extents,
    dtype: np.dtype[Any],
    indices: str,
    output_size: Any,
    sample: tuple[int, ...] | None = None,
) -> LayerCall:
    """Put a layer into its place; `sample` has numbers for the names, without which spatial sizes have none."""
    kind, rank, dimensions = type(layer).__name__, len(shape), layer.dimensions
    if rank - dimensions not in (1, 2):
        layer.output_shape(sample or (1,) * rank)  # refuses it
    dims = tuple(size if isinstance(size, int) else str(size) for size in shape)
    spatial = spatial_slice(rank, dimensions, layer.layout, function=kind)
    windows = OPERATORS[layer.operator].windows
    refusal = ""
    if sample is None:
        refusal = "spatial sizes must be integers, since windows become explicit pads"
    elif windows in ("fractional", "named", "regions"):
        refusal = "the graph of this pooling is for one size, so use an integer"
    for size, axis in zip(shape[spatial], axis_names(dimensions), strict=False):
        if rank - dimensions in (1, 2) and not isinstance(size, int):
            _check_free(f"input_shape={dims!r} of {kind}", size, axis, refusal)
    sizes = sample or tuple(size if isinstance(size, int) else 1 for size in shape)
    order = Order(layer.layout, dimensions, batched=rank - dimensions == 2)
    axes: tuple[Axis, ...] = ()
    free: tuple[Axis | FreeAxis, ...] = ()
    check_total("to_onnx", sizes, dtype.itemsize, "the input")
    nothing = np.empty(replace_spatial([0] * rank, spatial, sizes[spatial]), dtype)
    pooled: tuple[int | str, ...]
    # Pooling no elements checks whatever depends on no size.
    if windows == "fractional":
        layer = _with_samples(layer, dims, dtype)
        pooled = layer.output_shape(sizes)[spatial]
    elif windows == "named":
        pooled = layer.output_shape(sizes, output_size=output_size)[spatial]  # type: ignore[call-arg]
        layer(nothing, np.empty(nothing.shape, np.int64), output_size=output_size)  # type: ignore[call-arg]
    elif windows == "regions":
        pooled = layer.output_shape(sizes)[2:]
        regions = [np.empty((0, 5))] if layer.operator == "max_roi_pool" else [np.empty((0, 4)), np.empty(0, np.int64)]
        layer(nothing, *regions)
    else:
        axes = layer.axes(sizes)
        free = _freed(layer, axes, shape[spatial])
        layer(nothing)
        pooled = tuple(
            axis.output_size if isinstance(axis.output_size, int) else str(axis.output_size) for axis in free or axes
        )
    channels_first = order.shape_of_graph(dims)
    batch: Dims = (REGIONS,) if windows == "regions" else channels_first[:1]
    result = (*batch, channels_first[1], *pooled)
    return LayerCall(name, layer, order, channels_first, axes, result, indices, output_size, free)


def _check_free(where: str, size: str | Size, axis: str, refusal: str) -> None:
    """Refuse a spatial size that is known at run time only, if there is a reason to."""
    if not refusal and isinstance(size, Size) and not size.operator and not size.name.isidentifier():
        refusal = "the sizes of results are expressions in it, so use one word such as 'H'"
    if refusal:
        raise value_error("to_onnx", f"{where} has the name {str(size)!r} on axis {axis}", refusal)


def _freed(layer: Layer, sample: Sequence[Axis], sizes: Sequence[int | str | Size]) -> tuple[Axis | FreeAxis, ...]:
    """Lay windows as `sample` has them where some sizes are known at run time only; none if all are known."""
    if not any(isinstance(size, Size) for size in sizes):
        return ()
    name, arguments = type(layer).__name__, layer.arguments
    axes: list[Axis | FreeAxis] = []
    if layer.operator.startswith("adaptive_"):
        counts = per_axis(name, "output_size", arguments["output_size"], len(sizes), allow_none=True)
    for number, (axis, size) in enumerate(zip(sample, sizes, strict=True)):
        if not isinstance(size, Size):
            axes.append(axis)
        elif OPERATORS[layer.operator].windows == "global":
            axes.append(adaptive_axis(size, 1))
        elif layer.operator.startswith("adaptive_"):
            axes.append(adaptive_axis(size, counts[number]))
        else:
            # Padding of the maximum in front of a blur has been added to that of the blur.
            padding = 0 if layer.operator == "max_blur_pool" else arguments["padding"]
            axes.append(free_axis(axis, size, padding, arguments.get("ceil_mode", False)))
    return tuple(axes)


def _with_samples(layer: Layer, shape: Dims, dtype: np.dtype[Any]) -> Layer:
    """Return fractional pooling with samples, drawn as the layer itself would draw them."""
    kind, dimensions = type(layer).__name__, layer.dimensions
    sizes = [size for size in shape if isinstance(size, int)]
    if len(sizes) < len(shape):
        raise value_error(
            "to_onnx",
            f"of {kind} has names",
            "every map has windows of its own, which become part of the model, so batch and channels must be integers",
            argument=("input_shape", shape),
        )
    arguments = dict(layer.arguments)
    array = np.broadcast_to(np.zeros((), dtype), sizes)
    given, rng = arguments["_random_samples"], arguments["rng"]
    names = ("kernel_size", "output_size", "output_ratio", "layout")
    _, call = called(FractionalCall, layer.function, array, *(arguments[name] for name in names))
    flag(layer.function, "return_indices", arguments["return_indices"])
    samples = call.samples(given, rng)
    batch = sizes[0] if len(sizes) == dimensions + 2 else 1
    arguments["_random_samples"] = samples.reshape(batch, len(samples) // max(batch, 1), dimensions)
    arguments["rng"] = None
    return type(layer)(**arguments)


def declare_inputs(
    graph: GraphBuilder, calls: Sequence[LayerCall], dtype: np.dtype[Any], shape: Dims
) -> tuple[str, ...]:
    """Add the inputs of the model."""
    values = [graph.input("input", dtype, shape)]
    operator = calls[0].layer.operator if calls else ""
    coordinates = np.dtype(np.float64 if dtype == np.float64 else np.float32)
    if operator == "max_unpool":
        values.append(graph.input("indices", np.dtype(np.int64), shape))
    elif operator == "max_roi_pool":
        values.append(graph.input("rois", coordinates, (REGIONS, 5)))
    elif operator == "roi_align":
        values.append(graph.input("rois", coordinates, (REGIONS, 4)))
        values.append(graph.input("batch_indices", np.dtype(np.int64), (REGIONS,)))
    return tuple(values)
