"""Convolutions and transposed convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pooling import geometry
from pooling.arguments import per_axis
from pooling.signs import counted

from .common import spatial_shape, spread, with_padding
from .nodes import NodeCall, OperatorError, Outcome, Shape
from .parts import through_windows
from .registry import operator

AUTO_PAD = {"SAME_UPPER": geometry.SAME_UPPER, "SAME_LOWER": geometry.SAME_LOWER, "VALID": geometry.VALID}


@operator("Conv", "ConvInteger", "QLinearConv", settable=True)
def _convolution(call: NodeCall) -> Outcome:
    shape, sizes = spatial_shape(call)
    group, channels, kernel = _weight(call, 3 if call.operator == "QLinearConv" else 1, shape)
    arguments = _arguments(call, len(sizes), kernel)
    axes = geometry.pool_axes(sizes, **arguments, function=call.operator, empty_windows=True)
    output = (shape[0], channels, *(axis.output_size for axis in axes))
    used = (channels, shape[1] // group, *arguments["kernel_size"])
    view = through_windows(call.view, shape, axes, tuple(range(2, len(shape))), mixes_channels=True)
    return Outcome(
        "convolution",
        [output],
        view,
        with_padding(call, axes, tuple(range(2, len(shape)))),
        macs=math.prod(output) * math.prod(used[1:]),  # padding included
        free_parameters=math.prod(used) + channels if call.from_text else 0,
        dtypes=[np.dtype(np.int32)] if call.operator == "ConvInteger" else [],
    )


@operator("ConvTranspose", settable=True)
def _transposed(call: NodeCall) -> Outcome:
    shape, sizes = spatial_shape(call)
    group, channels, kernel = _weight(call, 1, shape)
    count = len(sizes)
    arguments = _arguments(call, count, kernel)
    size = call.attribute("output_shape")
    if size is not None and len(size) == count + 2:
        size = size[2:]  # early exporters wrote the whole shape
    axes = geometry.transposed_axes(
        sizes,
        **arguments,
        output_padding=_numbers(call, "output_padding", count, 0),
        output_size=None if call.node.changes else size,
        function=call.operator,
    )
    output = (shape[0], channels, *(axis.input_size for axis in axes))
    used = (shape[1], channels // group, *arguments["kernel_size"])
    return Outcome(
        "transposed",
        [output],
        through_windows(call.view, shape, axes, tuple(range(2, len(shape))), mixes_channels=True, transposed=True),
        axes,
        macs=math.prod(shape) * math.prod(used[1:]),
        free_parameters=math.prod(used) + channels if call.from_text else 0,
    )


def _arguments(call: NodeCall, dimensions: int, kernel: Sequence[int]) -> dict[str, Any]:
    """Return the windows of a convolution as arguments of geometry, changes included."""
    pads = _numbers(call, "pads", 2 * dimensions, 0)
    auto_pad = call.attribute("auto_pad", "NOTSET")
    if auto_pad not in ("NOTSET", "", *AUTO_PAD):
        raise OperatorError(f"auto_pad={auto_pad!r} is not a known name; use NOTSET, {', '.join(AUTO_PAD)}, or pads")
    arguments: dict[str, Any] = {
        "kernel_size": tuple(kernel),
        "stride": _numbers(call, "strides", dimensions, 1),
        "dilation": _numbers(call, "dilations", dimensions, 1),
        "padding": AUTO_PAD.get(auto_pad, tuple(zip(pads[:dimensions], pads[dimensions:], strict=True))),
    }
    for name, value in call.node.changes.items():
        if name not in arguments:
            raise OperatorError(f"{call.operator} has no {name}; it has {', '.join(arguments)}")
        arguments[name] = value
    for name in ("kernel_size", "dilation"):
        arguments[name] = per_axis(call.operator, name, arguments[name], dimensions)
    if call.from_text and call.operator == "Conv" and "padding" not in call.node.changes:
        taps = zip(arguments["kernel_size"], arguments["dilation"], strict=True)
        arguments["padding"] = tuple(dilation * (kernel - 1) // 2 for kernel, dilation in taps)
    arguments["padding"] = spread(arguments["padding"], dimensions)
    return arguments


def _numbers(call: NodeCall, name: str, length: int, default: int) -> tuple[int, ...]:
    given = call.attribute(name)
    if given is None or isinstance(given, int):
        return (default if given is None else given,) * length
    if len(given) != length:
        each = "two integers" if name == "pads" else "one integer"
        raise OperatorError(f"{name}={list(given)} must have {each} per spatial axis, {length} and not {len(given)}")
    return tuple(given)


def _weight(call: NodeCall, number: int, shape: Shape) -> tuple[int, int, Shape]:
    """Return groups, channels of the result, and the kernel of the weight; a list of layers sets the kernel."""
    group = int(call.attribute("group", 1))
    if call.from_text:
        group = group or shape[1]
    if group < 1:
        raise OperatorError(f"group={group} must be at least 1")
    if call.from_text:
        channels, kernel = call.attribute("out_channels") or shape[1], (1,) * (len(shape) - 2)
    else:
        weight = call.shape(number)
        if len(weight) != len(shape):
            raise OperatorError(f"its weight has shape {weight}; it must have {len(shape)} axes, as its input")
        kernel, declared = weight[2:], call.attribute("kernel_shape")
        if declared is not None and tuple(declared) != kernel:
            raise OperatorError(
                f"kernel_shape={list(declared)} contradicts its weight of shape {weight}; leave kernel_shape out"
            )
        transposed = call.operator == "ConvTranspose"
        taken, channels = (weight[0], weight[1] * group) if transposed else (weight[1] * group, weight[0])
        if taken != shape[1]:
            told = "" if transposed else f" with group={group}"
            raise OperatorError(
                f"its input {shape} has {counted(shape[1], 'channel')}, but its weight {weight}{told} is for {taken}"
            )
    if channels % group or shape[1] % group:
        raise OperatorError(f"{shape[1]} channels in and {channels} out cannot be divided into group={group} alike")
    return group, channels, kernel
