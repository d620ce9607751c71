"""Poolings, and what undoes them: all that a layer of this package says."""

from __future__ import annotations

from dataclasses import replace

from pooling.layer import Layer
from pooling.maps import spatial_slice

from .. import receptive_field
from .common import along, behind_channels, in_place, lost, spatial_shape, with_padding
from .nodes import ARGUMENTS, NodeCall, OperatorError, Outcome, Shape
from .parts import through_windows
from .registry import LAYER, operator


@operator(
    "MaxPool",
    "AveragePool",
    "LpPool",
    "GlobalMaxPool",
    "GlobalAveragePool",
    "GlobalLpPool",
    LAYER,
    settable=True,
)
def _pooled(call: NodeCall) -> Outcome:
    shape = call.shape(0)
    layer = _layer(call, shape)
    output = layer.output_shape(shape)
    spatial = spatial_slice(len(shape), layer.dimensions, layer.layout, function=call.operator)
    places = tuple(range(len(shape))[spatial])
    if layer.operator == "fractional_max_pool":
        why = "the windows of fractional pooling are drawn for each map"
        return Outcome("pooling", [output, output], lost(in_place(call.view, shape, places), why), layer=layer)
    axes = layer.axes(shape)
    is_global = layer.operator.startswith("global_") or (
        all(axis.is_global for axis in axes) and (layer.operator.startswith(("adaptive_", "gem_")))
    )
    view = through_windows(call.view, shape, axes, places, mixes_channels=False)
    if not is_global and not any(axis.adaptive for axis in axes):
        axes = with_padding(call, axes, places)
    return Outcome("global" if is_global else "pooling", [output, output], view, axes, layer)


def _layer(call: NodeCall, shape: Shape) -> Layer:
    assert call.node.layer is not None
    layer = call.node.layer(shape)
    for name in call.node.changes:
        if name not in layer.arguments:
            known = ", ".join(each for each in layer.arguments if each in ARGUMENTS)
            raise OperatorError(f"{call.operator} has no {name}; it has {known or 'nothing that can be set'}")
    if not call.node.changes:
        return layer
    arguments = {**layer.arguments, **call.node.changes}
    if arguments.get("stride", 1) is None and "stride" not in call.node.changes:
        arguments["stride"] = layer.arguments["kernel_size"]  # what it is does not change with the kernel
    return type(layer)(**arguments)


@operator("MaxUnpool", settable=True)
def _unpooled(call: NodeCall) -> Outcome:
    shape, _ = spatial_shape(call)
    layer = _layer(call, shape)
    axes = layer.axes(shape)
    output = layer.output_shape(shape)
    wanted = call.value(2)
    if wanted is not None:
        if len(wanted) != len(shape) or min(wanted) < 1:
            raise OperatorError(f"its output_shape is {wanted}; it must have {len(shape)} sizes of at least 1")
        output = tuple(wanted)
        axes = tuple(replace(axis, input_size=size) for axis, size in zip(axes, output[2:], strict=True))
    view = behind_channels(call, shape)
    return Outcome(
        "transposed", [output], along(view, lambda paths, i: receptive_field.transposed(paths, axes[i])), axes, layer
    )


@operator("MaxRoiPool", "RoiAlign")
def _regions(call: NodeCall) -> Outcome:
    shape, regions = call.shape(0), call.shape(1)
    layer = _layer(call, shape)
    output = layer.output_shape(shape, regions=regions[0])  # type: ignore[call-arg]
    return Outcome("pooling", [output], lost(behind_channels(call, shape), "its regions are data"), layer=layer)
