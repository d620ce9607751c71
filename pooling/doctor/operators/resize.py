"""Other resolutions."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from pooling import geometry
from pooling.arguments import per_axis

from .. import receptive_field
from ..receptive_field import Paths, UnfollowedError
from .common import along, behind_channels, lost
from .nodes import NodeCall, OperatorError, Outcome, Shape, UnknownShapeError
from .registry import operator


@operator("DepthToSpace")
def _depth_to_space(call: NodeCall) -> Outcome:
    shape, block = _block(call)
    if shape[1] % block**2:
        raise OperatorError(f"its {shape[1]} channels cannot be divided into blocks of {block} x {block}")
    output = (shape[0], shape[1] // block**2, shape[2] * block, shape[3] * block)
    view = behind_channels(call, shape)
    nearest = along(view, lambda paths, _: receptive_field.resized(paths, Fraction(1, block), Fraction(), _floor))
    return Outcome("resize", [output], nearest)


@operator("SpaceToDepth")
def _space_to_depth(call: NodeCall) -> Outcome:
    shape, block = _block(call)
    if shape[2] % block or shape[3] % block:
        raise OperatorError(
            f"its input {shape} cannot be divided into blocks of {block} x {block}; use multiples of {block}"
        )
    axes = geometry.pool_axes(shape[2:], block, block, function=call.operator)
    output = (shape[0], shape[1] * block**2, *(axis.output_size for axis in axes))
    view = along(behind_channels(call, shape), lambda paths, i: receptive_field.windows(paths, axes[i]))
    return Outcome("resize", [output], view)


def _block(call: NodeCall) -> tuple[Shape, int]:
    shape, block = call.shape(0), int(call.attribute("blocksize", 0))
    if len(shape) != 4 or block < 1:
        raise OperatorError(f"its input {shape} must have 4 axes, and blocksize={block} must be at least 1")
    return shape, block


def _floor(place: Fraction) -> range:
    return range(math.floor(place), math.floor(place) + 1)


@operator("Resize", "Upsample")
def _resize(call: NodeCall) -> Outcome:
    shape = call.shape(0)
    scales, sizes, axes = _target(call, shape)
    if sizes is not None:
        output = list(shape)
        for axis, size in zip(axes, sizes, strict=True):
            output[axis] = size
        ratios = {axis: Fraction(output[axis], shape[axis]) for axis in axes}
        policy = call.attribute("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            chosen = (min if policy == "not_larger" else max)(ratios.values())
            for axis in axes:
                ratios[axis] = chosen
                output[axis] = math.floor(chosen * shape[axis] + Fraction(1, 2))
    else:
        output, ratios = list(shape), {}
        for axis, scale in zip(axes, scales or [], strict=True):
            # In single precision, as the text of the operator and the runtimes have it.
            with np.errstate(over="ignore"):
                scaled = float(np.float32(shape[axis]) * scale)
            if not math.isfinite(scaled):
                raise OperatorError(f"its input {shape} would become infinite by scale {float(scale)} on axis {axis}")
            output[axis] = math.floor(scaled)
            ratios[axis] = Fraction(float(scale)).limit_denominator(LARGEST_RATIO)
    if min(output, default=1) < 1:
        raise OperatorError(f"its input {shape} would become {tuple(output)}; use a larger input")
    mode = call.attribute("mode", "nearest")
    place = call.attribute("coordinate_transformation_mode", "half_pixel")
    if call.operator == "Upsample" or call.node.opset == 10:
        place = "asymmetric"
    view = call.view

    def through(paths: Paths, number: int) -> Paths:
        assert view is not None
        axis = view.axes[number]
        ratio = ratios.get(axis, Fraction(1))
        if output[axis] == shape[axis] and ratio == 1:
            return paths
        step, start = _coordinates(place, ratio, shape[axis], output[axis])
        return receptive_field.resized(paths, step, start, _taps(call, mode, ratio), output[axis])

    if view is not None and view.axes and max(view.sizes(shape)) == 1 < max(view.sizes(output)):
        # One cell for all places, such as the pooled branch of ASPP.
        return Outcome("resize", [tuple(output)])
    if view is not None and view.layout:
        grown = any(each.factors and output[axis] != shape[axis] for axis, each in enumerate(view.layout))
        return Outcome("resize", [tuple(output)], lost(view, "it resizes a list of places") if grown else view)
    return Outcome("resize", [tuple(output)], along(view, through))


LARGEST_RATIO = 1024
"""Denominators of scales, which models write in single precision."""


def _target(call: NodeCall, shape: Shape) -> tuple[list[np.float32] | None, list[int] | None, list[int]]:
    """Return the scales or the sizes that a resize has, and the axes that they are for."""
    axes = list(range(len(shape)))
    if call.attribute("factor") is not None:
        axes = axes[2:]
        factors = per_axis("", "factor", call.attribute("factor"), len(axes))
        return [np.float32(factor) for factor in factors], None, axes
    if call.attribute("axes") is not None:
        axes = call.axes(call.attribute("axes"), len(shape))
    number = 2 if call.operator == "Resize" and call.node.opset >= 11 else 1
    given = call.attribute("scales")
    if call.operator == "Upsample" and call.node.opset == 1:
        given = [1.0, 1.0, call.attribute("height_scale", 1.0), call.attribute("width_scale", 1.0)]
    if given is None:
        tensor = call.tensor(number)
        if tensor is not None and tensor.shape == (0,):
            tensor = None
        if tensor is not None and tensor.value is None:
            raise UnknownShapeError(call.node.inputs[number])
        given = None if tensor is None or tensor.value is None else tensor.value.ravel()
    if given is not None and len(given):
        scales = [np.float32(scale) for scale in given]
        if len(scales) != len(axes) or not all(np.isfinite(scale) and scale > 0 for scale in scales):
            raise OperatorError(f"scales={[float(each) for each in scales]} must be {len(axes)} positive numbers")
        return scales, None, axes
    sizes = call.value(3) if number == 2 else None
    if sizes is None or len(sizes) != len(axes) or min(sizes) < 1:
        raise OperatorError(f"it must have scales or sizes, one for each of {len(axes)} axes")
    return None, sizes, axes


def _coordinates(place: str, ratio: Fraction, size: int, output: int) -> tuple[Fraction, Fraction]:
    """Return the step between input coordinates of neighbouring cells, and the coordinate of cell 0."""
    step = 1 / ratio
    half = Fraction(1, 2)
    match place:
        case "asymmetric":
            return step, Fraction()
        case "align_corners":
            step = Fraction(size - 1, output - 1) if output > 1 and size > 1 else step
            return step, Fraction()
        case "half_pixel" | "pytorch_half_pixel":
            return step, Fraction() if place != "half_pixel" and output == 1 else half * step - half
        case "half_pixel_symmetric":
            adjustment = Fraction(output) / (ratio * size)
            return step, Fraction(size, 2) * (1 - adjustment) + half * step - half
        case "tf_half_pixel_for_nn":
            return step, half * step
    raise UnfollowedError(f"coordinate_transformation_mode is {place}")


def _taps(call: NodeCall, mode: str, ratio: Fraction) -> Callable[[Fraction], range]:
    """Return what gives the cells that are read for an input coordinate."""
    half = Fraction(1, 2)
    if mode == "nearest":
        old = call.operator == "Upsample" or call.node.opset == 10
        match "floor" if old else call.attribute("nearest_mode", "round_prefer_floor"):
            case "floor":
                return _floor
            case "ceil":
                return lambda place: _floor(Fraction(math.ceil(place)))
            case "round_prefer_ceil":
                return lambda place: _floor(place + half)
        return lambda place: _floor(Fraction(math.ceil(place - half)))
    reach = Fraction(2 if mode == "cubic" else 1)
    shrinks = call.attribute("antialias", 0) and ratio < 1

    def between(place: Fraction) -> range:
        # What lies exactly `reach` away has weight 0; so have the neighbours of a cell that is met.
        if place.denominator == 1 and not shrinks:
            return range(int(place), int(place) + 1)
        far = reach / ratio if shrinks else reach
        return range(math.floor(place - far) + 1, math.ceil(place + far))

    return between
