"""What released runtimes are asked: every form of a mean, and every layer as it is exported, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx

import pooling
from pooling.layers import Layer, Sequential

from ..backward import backward_model
from ..builder import Graph
from ..lowering.means import Form, forms_of_average
from ..lowering.windows import attributes, why_not_one_node
from ..model import declare_inputs, forward_model, resolved
from ..stages import Stage
from ..verification import Placed, Verification, verify_model

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
SIZES = (6, 7, 9)


@dataclass(frozen=True)
class Probe:
    """One question: a form, and what makes a model of it in an opset.

    Attributes
    ----------
    form : str
        What the answer is entered under.
    make : callable
        Makes the model in an opset, and what verifies it in a runtime; raises ValueError where the opset lacks it.
    """

    form: str
    make: Callable[[int], tuple[onnx.ModelProto, Verification]]


# ----------------------------------------------------------------------------------------------------------
# Forms of means


def averages() -> Iterator[tuple[Layer, tuple[int | str, ...]]]:
    """List layers whose means need one form or another, and shapes."""
    for kernel, stride, padding in WINDOWS:
        for counted in (True, False):
            for ceil in (False, True) if not isinstance(padding, str) else (False,):
                layer = pooling.AvgPool2d(kernel, stride, padding, ceil_mode=ceil, count_include_pad=counted)
                for size in SIZES:
                    yield layer, (*FIXED, size, size)
                yield layer, OPEN
        yield pooling.AvgPool2d(kernel, stride, padding, divisor_override=3), (*FIXED, 7, 8)
    for padding in (0, 1, [(0, 2)] * 2, [(1, 0)] * 2):
        for counted in (True, False):
            for ceil in (False, True):
                layer = pooling.AvgPool2d(3, 2, padding, dilation=2, ceil_mode=ceil, count_include_pad=counted)
                yield layer, (*FIXED, 9, 10)
    for counted in (True, False):
        yield pooling.AvgPool1d(3, 2, [(0, 1)], count_include_pad=counted), (2, 3, 9)
        yield pooling.AvgPool3d(2, 2, [(0, 1)] * 3, count_include_pad=counted), (1, 3, 5, 6, 7)


def form_probes() -> Iterator[Probe]:
    """List the forms in which a mean can be written, each on every layer that has it."""
    for layer, shape in averages():
        (stage,) = resolved(layer, shape, np.dtype(np.float32), "torch", None)
        graph = Graph(onnx.defs.onnx_opset_version(), finite=True)
        for form in [] if why_not_one_node(graph, "AveragePool", stage.windows) else _forms(graph, stage):
            yield Probe(form.name, partial(_model_of_form, form.name, stage))


def _forms(graph: Graph, stage: Stage) -> list[Form]:
    include, divisor = stage.arguments["count_include_pad"], stage.arguments["divisor_override"]
    forms = forms_of_average(graph, stage, include, divisor)
    if include and divisor is None and not stage.free:
        forms += [
            Form("Pad, AveragePool", partial(_behind_zeros, graph, stage, by="Pad")),
            Form("Concat of zeros, AveragePool", partial(_behind_zeros, graph, stage, by="Concat")),
            Form("Conv with a group for each channel", partial(_convolved, graph, stage)),
        ]
    return [_named_for_overhang(form, stage) for form in forms]


def _named_for_overhang(form: Form, stage: Stage) -> Form:
    """Tell apart what goes on to pool with padding that does not count."""
    overhangs = any(axis.ceil_overhang for axis in stage.windows)
    if overhangs and form.name in ("Pad, AveragePool", "Concat of zeros, AveragePool"):
        return Form(f"{form.name}, uncounted asymmetric pads", form.write)
    return form


def _behind_zeros(graph: Graph, stage: Stage, x: str, *, by: str) -> str:
    """Put the padding that counts into the tensor, and leave to the node what ceil_mode touches."""
    axes = stage.axes
    sides = [(axis.pad_begin, axis.pad_end) for axis in axes]
    if by == "Pad":
        x = graph("Pad", x, pads=[0, 0, *(b for b, _ in sides), 0, 0, *(e for _, e in sides)])
    else:
        graph.planes_are_fixed = True
        shape = [int(size) for size in stage.shape]
        for number, (begin, end) in enumerate(sides, start=2):
            blocks = [np.zeros((*shape[:number], pad, *shape[number + 1 :]), np.float32) for pad in (begin, end)]
            x = graph("Concat", blocks[0], x, blocks[1], axis=number)
            shape[number] += begin + end
    words = attributes(axes) | {"pads": [0] * len(axes) + [axis.ceil_overhang for axis in axes]}
    return graph("AveragePool", x, **words, count_include_pad=0)


def _convolved(graph: Graph, stage: Stage, x: str) -> str:
    """Add up by a convolution, and divide by what counts."""
    from ..lowering.means import window_counts

    words = attributes(stage.axes)
    kernel = words.pop("kernel_shape")
    graph.planes_are_fixed = True
    channels = int(stage.shape[1])
    total = graph("Conv", x, np.ones((channels, 1, *kernel), np.float32), group=channels, **words)
    return graph("Div", total, window_counts(graph, stage.axes, True, np.dtype(np.float32)))


def _model_of_form(name: str, stage: Stage, opset: int) -> tuple[onnx.ModelProto, Verification]:
    graph = Graph(opset, finite=True)
    graph.scope = stage.name
    (taken,) = declare_inputs(graph, [stage], np.dtype(np.float32), stage.shape)
    form = next(form for form in _forms(graph, stage) if form.name == name)
    given = form.write(taken)
    model = graph.model({"output": (given, stage.result)}, name)
    return model, partial(verify_model, model, graph, [Placed(stage, (taken,), (given,))])


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
    (pooling.LPPool2d(2, 3, 2, 1), PLANE),
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
        for special in ("finite", "exact"):
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
    model: Callable[..., tuple[onnx.ModelProto, Verification]],
    layer: Layer,
    shape: tuple[int | str, ...],
    dtype: str,
    special: str,
    opset: int,
) -> tuple[onnx.ModelProto, Verification]:
    return model(layer, shape, dtype=dtype, special_values=special, opset=opset)
