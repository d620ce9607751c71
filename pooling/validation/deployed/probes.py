"""What released runtimes are asked: every form of a mean, and every layer as it is exported, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import onnx

import pooling
from pooling.export.arguments import Request
from pooling.export.backward import backward_model
from pooling.export.deployed import form_behind_zeros, form_of_average
from pooling.export.graph_builder import GraphBuilder
from pooling.export.layer_calls import LayerCall
from pooling.export.lowering.means import Form, forms_of_average
from pooling.export.lowering.windows import attributes, dilated, why_not_one_node
from pooling.export.model import declare_inputs, forward_model, resolved
from pooling.export.verification import (
    KINDS,
    BoundLayer,
    Opened,
    Verification,
    compare_placed,
    drawn_inputs,
    verify_model,
)
from pooling.layer import Layer, Sequential

__all__ = ["Probe", "form_probes", "layer_probes"]

FIXED = (1, 4)
OPEN = ("N", "C", "H", "W")
WINDOWS: tuple[tuple[int, int, Any], ...] = (
    (2, 2, 0),
    (3, 2, 1),
    (3, 3, 1),
    (4, 3, 2),
    (2, 1, [(0, 1)] * 2),
    (3, 1, [(1, 0)] * 2),
    (3, 2, "same"),
    (4, 2, "same_lower"),
)
"""Kernels, strides and padding of means."""
OWN_PADDING: tuple[tuple[int | list[tuple[int, int]], bool], ...] = (
    (0, False),
    (1, True),
    (1, False),
    ([(0, 1), (1, 0)], True),
    ([(0, 1), (1, 0)], False),
)
"""Padding of a mean behind zeros, and whether it counts."""
ZEROS = {False: ([(1, 1), (1, 1)], [(0, 1), (1, 0)]), True: ([(3, 3), (3, 3)], [(0, 5), (2, 3)])}
"""Zeros around what windows of three lie on, and whether they are wider, with which no AveragePool has such padding."""
ZEROS_BY = {"Pad": "Pad", "Concat": "Concat of zeros"}
"""What puts zeros around a tensor, and what it is called in the names of forms."""
BLOCKS = 16
"""Channels that onnxruntime puts together, so that pooling behind a convolution has kernels of its own."""
FEW = 5
"""Layers that a form is asked about, of all that have it."""
SIZES = (7, 8)


@dataclass(frozen=True)
class Probe:
    """One question: a form, and what makes a model of it in an opset."""

    form: str
    """What the answer is entered under."""
    make: Callable[[int], tuple[onnx.ModelProto, Verification]]
    """Makes the model in an opset, and what verifies it in a runtime; raises ValueError where the opset lacks it."""


# ----------------------------------------------------------------------------------------------------------
# Forms of means


def averages() -> Iterator[tuple[Layer, tuple[int | str, ...]]]:
    """List layers whose means need one form or another, and shapes."""
    for kernel, stride, padding in WINDOWS:
        # Open sizes are verified at a dozen of them.
        for counted in (True, False):
            for ceil in (False, True) if not isinstance(padding, str) else (False,):
                layer = pooling.AvgPool2d(kernel, stride, padding, ceil_mode=ceil, count_include_pad=counted)
                yield layer, (*FIXED, *SIZES)
                yield layer, (1, BLOCKS, 7, 7)
                yield layer, OPEN
        yield pooling.AvgPool2d(kernel, stride, padding, divisor_override=3), (*FIXED, 7, 8)
        yield pooling.AvgPool2d(kernel, stride, padding, divisor_override=3), OPEN
    for padding in (0, 1, [(0, 2)] * 2, [(1, 0)] * 2):
        yield pooling.AvgPool2d(3, 2, padding, dilation=2, divisor_override=3), (*FIXED, 9, 10)
        for counted in (True, False):
            for ceil in (False, True):
                layer = pooling.AvgPool2d(3, 2, padding, dilation=2, ceil_mode=ceil, count_include_pad=counted)
                yield layer, (*FIXED, 9, 10)
    for counted in (True, False):
        yield pooling.AvgPool1d(3, 2, [(0, 1)], count_include_pad=counted), (2, 3, 9)
        yield pooling.AvgPool3d(2, 2, [(0, 1)] * 3, count_include_pad=counted), (1, 3, 5, 6, 7)


def form_probes() -> Iterator[Probe]:
    """List the forms in which means and maxima can be written, each on some of the layers that have it."""
    by_form: dict[str, list[Probe]] = {}
    for probe in _all_form_probes():
        by_form.setdefault(probe.form, []).append(probe)
    for probes in by_form.values():
        yield from (probes[place * len(probes) // FEW] for place in range(FEW)) if len(probes) > FEW else probes


def _all_form_probes() -> Iterator[Probe]:
    for layer, shape in averages():
        (call,) = resolved(layer, shape, np.dtype(np.float32), "torch", None)
        graph = GraphBuilder(onnx.defs.onnx_opset_version(), finite=True)
        if why_not_one_node(graph, "AveragePool", call.windows):
            continue
        for number, form in enumerate(_forms(graph, call)):
            yield Probe(form.name, partial(_model_of_form, number, call, False))
            if shape[1] == BLOCKS:
                yield Probe(f"{form.name}, behind a convolution", partial(_model_of_form, number, call, True))
    yield from means_behind_zeros()
    yield from maxima()


def means_behind_zeros() -> Iterator[Probe]:
    """List means of what has zeros around it, which optimisers make one node of, with or without padding of their own.

    No layer has so much padding, so the mean is compared with its layer on an array that has the zeros already.
    """
    for (wider, wholes), (padding, counted), dilation in product(ZEROS.items(), OWN_PADDING, (1, 2)):
        layer = pooling.AvgPool2d(3, 2, padding, dilation=dilation, count_include_pad=counted)
        for sides in wholes:
            shape = (*FIXED, *(size + begin + end for size, (begin, end) in zip(SIZES, sides, strict=True)))
            (call,) = resolved(layer, shape, np.dtype(np.float32), "torch", None)
            name = form_of_average(attributes(call.axes)["pads"], counted=counted, dilated=dilation > 1)
            for by, what in ZEROS_BY.items():
                make = partial(_model_behind_zeros, call, sides, counted, by)
                yield Probe(form_behind_zeros(name, by=what, wider=wider), make)


def _forms(graph: GraphBuilder, call: LayerCall) -> list[Form]:
    include, divisor = call.arguments["count_include_pad"], call.arguments["divisor_override"]
    forms = forms_of_average(graph, call, include, divisor)
    if include and divisor is None and not call.free:
        pads = [0] * len(call.axes) + [axis.ceil_overhang for axis in call.axes]
        name = form_of_average(pads, counted=False, dilated=dilated(call.axes))
        forms += [
            Form("Conv with a group for each channel", partial(_convolved, graph, call)),
            *(
                Form(form_behind_zeros(name, by=what), partial(_behind_zeros, graph, call, by=by))
                for by, what in ZEROS_BY.items()
            ),
        ]
    return forms


TYPES_OF_MAXIMA = ("float16", "float32", "float64", "int8", "uint8", "int32", "uint32", "int64", "uint64")


def maxima() -> Iterator[Probe]:
    """List maxima of every type as the node itself."""
    for dtype in TYPES_OF_MAXIMA:
        for layer in (
            pooling.MaxPool2d(3, 2, 1),
            pooling.MaxPool2d(3, 2, [(0, 1), (2, 1)]),
            pooling.MaxPool2d(2, 1, dilation=3),
            pooling.MaxPool1d(3, 2, 1),
            pooling.GlobalMaxPool2d(),
        ):
            shape = (2, 3, 9, 8)[: layer.dimensions + 2]
            (call,) = resolved(layer, shape, np.dtype(dtype), "torch", None)
            node = "GlobalMaxPool" if layer.operator == "global_max_pool" else "MaxPool"
            yield Probe(f"{node} of {dtype}", partial(_model_of_maximum, node, call, np.dtype(dtype)))
            if node == "MaxPool":
                name = f"MaxPool with Indices of {dtype}"
                indexed = replace(
                    call, layer=type(layer)(**{**layer.arguments, "return_indices": True}), indices="onnx"
                )
                yield Probe(name, partial(_model_of_maximum, node, indexed, np.dtype(dtype)))


def _model_of_maximum(
    node: str, call: LayerCall, dtype: np.dtype[Any], opset: int
) -> tuple[onnx.ModelProto, Verification]:
    graph = GraphBuilder(opset, finite=True)
    graph.scope = call.name
    taken = declare_inputs(graph, [call], dtype, call.shape)
    words = attributes(call.axes) if node == "MaxPool" else {}
    indexed = call.arguments.get("return_indices", False)
    given = graph.outputs(2 if indexed else 1, node, *taken, **words)
    results = {name: (value, call.result) for name, value in zip(("output", "indices"), given, strict=False)}
    model = graph.model(results, node)
    return model, partial(verify_model, model, graph, [BoundLayer(call, taken, given)])


def _behind_zeros(graph: GraphBuilder, call: LayerCall, x: str, *, by: str) -> str:
    """Put the padding that counts into the tensor, and leave to the node what ceil_mode touches."""
    axes = call.axes
    x = _with_zeros(graph, x, call.shape, [(axis.pad_begin, axis.pad_end) for axis in axes], by)
    words = attributes(axes) | {"pads": [0] * len(axes) + [axis.ceil_overhang for axis in axes]}
    return graph("AveragePool", x, **words, count_include_pad=0)


def _with_zeros(
    graph: GraphBuilder, x: str, sizes: Sequence[int | str], sides: Sequence[tuple[int, int]], by: str
) -> str:
    if by == "Pad":
        x = graph("Pad", x, pads=[0, 0, *(b for b, _ in sides), 0, 0, *(e for _, e in sides)])
    else:
        graph.planes_are_fixed = True
        shape = [int(size) for size in sizes]
        for number, (begin, end) in enumerate(sides, start=2):
            blocks = [np.zeros((*shape[:number], pad, *shape[number + 1 :]), np.float32) for pad in (begin, end)]
            x = graph("Concat", blocks[0], x, blocks[1], axis=number)
            shape[number] += begin + end
    return x


def _model_behind_zeros(
    call: LayerCall, sides: Sequence[tuple[int, int]], counted: bool, by: str, opset: int
) -> tuple[onnx.ModelProto, Verification]:
    graph = GraphBuilder(opset, finite=True)
    graph.scope = call.name
    shape = (*FIXED, *SIZES)
    (taken,) = declare_inputs(graph, [call], np.dtype(np.float32), shape)
    x = _with_zeros(graph, taken, shape, sides, by)
    given = graph("AveragePool", x, **attributes(call.axes), count_include_pad=int(counted))
    model = graph.model({"output": (given, call.result)}, "zeros and a mean")
    return model, partial(_verify_behind_zeros, model, graph, BoundLayer(call, (taken,), (given,)), sides)


def _verify_behind_zeros(
    model: onnx.ModelProto, graph: GraphBuilder, placed: BoundLayer, sides: Sequence[tuple[int, int]], runtime: Opened
) -> None:
    run = runtime(model)
    for number, kind in enumerate(KINDS):
        shape, rng = (*FIXED, *SIZES), np.random.default_rng(number)
        (x,) = drawn_inputs(placed.call, shape, np.dtype(np.float32), kind, rng, finite=True)
        compare_placed(placed, [np.pad(x, [(0, 0), (0, 0), *sides])], run({"input": x}), graph)


def _convolved(graph: GraphBuilder, call: LayerCall, x: str) -> str:
    """Add up by a convolution, and divide by what counts."""
    from pooling.export.lowering.means import window_counts

    words = attributes(call.axes)
    kernel = words.pop("kernel_shape")
    graph.planes_are_fixed = True
    channels = int(call.shape[1])
    total = graph("Conv", x, np.ones((channels, 1, *kernel), np.float32), group=channels, **words)
    return graph("Div", total, window_counts(graph, call.axes, True, np.dtype(np.float32)))


def _model_of_form(number: int, call: LayerCall, convolved: bool, opset: int) -> tuple[onnx.ModelProto, Verification]:
    graph = GraphBuilder(opset, finite=True)
    graph.scope = call.name
    (taken,) = declare_inputs(graph, [call], np.dtype(np.float32), call.shape)
    if convolved:  # where onnxruntime changes the layout, and has other kernels
        graph.planes_are_fixed = True
        taken = graph("Conv", taken, np.eye(int(call.shape[1]), dtype=np.float32)[..., np.newaxis, np.newaxis])
    form = _forms(graph, call)[number]
    given = form.write(taken)
    model = graph.model({"output": (given, call.result)}, form.name)
    return model, partial(verify_model, model, graph, [BoundLayer(call, (taken,), (given,))])


# ----------------------------------------------------------------------------------------------------------
# Layers


PLANE = (2, 4, 9, 8)
SAMPLES = np.linspace(0, 0.99, 16).reshape(2, 4, 2)
LAYERS: tuple[tuple[Layer | Sequential, tuple[int | str, ...]], ...] = (
    (pooling.MaxPool2d(2), PLANE),
    (pooling.MaxPool2d(3, 2, 1), PLANE),
    (pooling.MaxPool2d(3, 2, 1, ceil_mode=True), PLANE),
    (pooling.MaxPool2d(3, 2, [(0, 1), (1, 2)]), PLANE),
    (pooling.MaxPool2d(3, 2, "same"), PLANE),
    (pooling.MaxPool2d(3, 2, "same_lower", dilation=2), PLANE),
    (pooling.MaxPool2d(3, dilation=2), PLANE),
    (pooling.MaxPool2d(2, 1, 3, dilation=6), PLANE),
    (pooling.MaxPool2d(3, 2, 1, return_indices=True), PLANE),
    (pooling.MaxPool2d(3, 2, 2, dilation=2, ceil_mode=True, return_indices=True), PLANE),
    (pooling.MaxPool2d(3, 2, 1, nan="ignore"), PLANE),
    (pooling.MaxPool1d(3, 2, 1), (2, 4, 11)),
    (pooling.MaxPool3d(2, 2, 1, return_indices=True), (1, 3, 5, 6, 7)),
    (pooling.MaxPool2d(3, 2, 1, layout="channels_last"), (2, 9, 8, 4)),
    (pooling.MaxPool2d(3, 2, 1, ceil_mode=True, return_indices=True), OPEN),
    (pooling.MaxPool2d(3, 2, "same"), OPEN),
    (pooling.MinPool2d(3, 2, 1), PLANE),
    (pooling.MinPool2d(3, 2, 1, return_indices=True), PLANE),
    (pooling.AvgPool2d(2), PLANE),
    (pooling.AvgPool2d(3, 2, 1), PLANE),
    (pooling.AvgPool2d(3, 2, 1, count_include_pad=False), PLANE),
    (pooling.AvgPool2d(3, 2, 1, ceil_mode=True), PLANE),
    (pooling.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), PLANE),
    (pooling.AvgPool2d(3, 2, "same"), PLANE),
    (pooling.AvgPool2d(2, 1, [(0, 1), (0, 1)]), PLANE),
    (pooling.AvgPool2d(3, 2, [(0, 2), (1, 0)], dilation=2), PLANE),
    (pooling.AvgPool2d(3, dilation=2), PLANE),
    (pooling.AvgPool2d(3, 2, 2, dilation=2, ceil_mode=True), PLANE),
    (pooling.AvgPool2d(3, 2, 1, divisor_override=5), PLANE),
    (pooling.AvgPool2d(3, 2, 1, ceil_mode=True, divisor_override=5), PLANE),
    (pooling.AvgPool2d(2, 1, 3, dilation=6), PLANE),
    (pooling.AvgPool2d(40, 1, 16), PLANE),
    (pooling.AvgPool1d(3, 2, 1, ceil_mode=True), (2, 4, 11)),
    (pooling.AvgPool3d(2, 2, 1, ceil_mode=True), (1, 3, 5, 6, 7)),
    (pooling.AvgPool2d(3, 2, 1, ceil_mode=True), OPEN),
    (pooling.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), OPEN),
    (pooling.AvgPool2d(3, 2, [(0, 1), (1, 0)]), OPEN),
    (pooling.AvgPool2d(3, 2, "same"), OPEN),
    (pooling.AvgPool2d(3, 2, "same", count_include_pad=False), OPEN),
    (pooling.GlobalMaxPool2d(), PLANE),
    (pooling.GlobalAvgPool2d(), PLANE),
    (pooling.GlobalAvgPool2d(), (2, 4, 40, 40)),
    (pooling.GlobalAvgPool2d(), OPEN),
    (pooling.AdaptiveMaxPool2d((3, 4)), PLANE),
    (pooling.AdaptiveMaxPool2d(5, return_indices=True), PLANE),
    (pooling.AdaptiveMaxPool2d(5, return_indices=True), OPEN),
    (pooling.AdaptiveAvgPool2d((3, 4)), PLANE),
    (pooling.AdaptiveAvgPool2d(5), PLANE),
    (pooling.AdaptiveAvgPool2d(5), OPEN),
    (pooling.LPPool2d(2, 3, 2, ceil_mode=True), PLANE),
    (pooling.LPPool2d(1, 2), PLANE),
    (pooling.LPPool2d(float("inf"), 2), PLANE),
    (pooling.LPPool2d(9.5, 2), PLANE),
    (pooling.LPPool2d(2, 3, ceil_mode=True), OPEN),
    (pooling.GlobalLPPool2d(3), PLANE),
    (pooling.GeMPool2d(), PLANE),
    (pooling.BlurPool2d(), PLANE),
    (pooling.BlurPool2d(padding_mode="zeros"), PLANE),
    (pooling.BlurPool2d(), OPEN),
    (pooling.MaxBlurPool2d(), PLANE),
    (pooling.MaxRoIPool(3), PLANE),
    (pooling.RoIAlign(3, sampling_ratio=2), PLANE),
    (pooling.RoIAlign(3, coordinate_transformation_mode="output_half_pixel"), PLANE),
    (pooling.RoIAlign(3, sampling_ratio=2, mode="max"), PLANE),
    (pooling.FractionalMaxPool2d(2, output_ratio=0.5, _random_samples=SAMPLES), PLANE),
    (pooling.MaxUnpool2d(2), PLANE),
    (pooling.Sequential(pooling.AvgPool2d(3, 2, 1, ceil_mode=True), pooling.MaxPool2d(2)), PLANE),
)
"""Layers whose graphs differ, and shapes."""
DTYPES = ("float16", "bfloat16", "float64", "int8", "uint8", "int32", "uint32", "int64", "uint64", "bool")
TYPED: tuple[Layer, ...] = (
    pooling.MaxPool2d(3, 2, 1),
    pooling.MaxPool2d(3, 2, 1, return_indices=True),
    pooling.MinPool2d(3, 2, 1),
    pooling.AvgPool2d(3, 2, 1, ceil_mode=True),
    pooling.AvgPool2d(3, 2, 1),
    pooling.GlobalMaxPool2d(),
    pooling.GlobalAvgPool2d(),
    pooling.AdaptiveAvgPool2d(5),
)
"""Layers that are asked about in every type."""


def layer_probes() -> Iterator[Probe]:
    """List the layers as they are exported, forward and backward."""
    for layer, shape in LAYERS:
        where = f" of {shape}" if shape != PLANE else ""
        for special in ("finite", "exact") if _is_exact_longer(layer, shape) else ("finite",):
            words = "" if special == "finite" else ", exact"
            make = partial(_exported, forward_model, layer, shape, "float32", special)
            yield Probe(f"{_title(layer)}{where}{words}", make)
            if isinstance(layer, Layer) and not any(isinstance(size, str) for size in shape[-layer.dimensions :]):
                make = partial(_exported, backward_model, layer, shape, "float32", special)
                yield Probe(f"Gradient of {_title(layer)}{where}{words}", make)
    for layer in TYPED:
        for dtype in DTYPES:
            if dtype not in layer_dtypes(layer):
                continue
            yield Probe(f"{_title(layer)}, {dtype}", partial(_exported, forward_model, layer, PLANE, dtype, "finite"))
            if dtype in ("float16", "bfloat16", "float64"):
                make = partial(_exported, backward_model, layer, PLANE, dtype, "finite")
                yield Probe(f"Gradient of {_title(layer)}, {dtype}", make)


def _is_exact_longer(layer: Layer | Sequential, shape: tuple[int | str, ...]) -> bool:
    """Whether NaN and infinities take another graph."""
    requests = (Request.of(layer, shape, special_values=words) for words in ("finite", "exact"))
    finite, exact = (forward_model(request)[0] for request in requests)
    return len(finite.graph.node) != len(exact.graph.node)


def layer_dtypes(layer: Layer) -> tuple[str, ...]:
    """Return the types that a layer takes."""
    from pooling.operators import OPERATORS

    return tuple(OPERATORS[layer.operator].dtypes)


def _title(layer: Layer | Sequential) -> str:
    if isinstance(layer, Sequential):
        return f"Sequential({', '.join(map(_title, layer))})"
    if layer.operator == "fractional_max_pool":
        return "FractionalMaxPool2d(kernel_size=2, output_ratio=0.5)"
    return repr(layer)


def _exported(
    model: Callable[[Request], tuple[onnx.ModelProto, Verification]],
    layer: Layer | Sequential,
    shape: tuple[int | str, ...],
    dtype: str,
    special: str,
    opset: int,
) -> tuple[onnx.ModelProto, Verification]:
    return model(Request.of(layer, shape, dtype, opset, special_values=special))
