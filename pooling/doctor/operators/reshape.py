"""The same elements in another shape."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..receptive_field import UnfollowedError, View
from .common import broadcast, lost, moved, of_parts
from .nodes import NodeCall, OperatorError, Outcome, Shape
from .places import layout_of, reshaped
from .registry import SMALL, Array, operator


def fold_axes(call: NodeCall, values: list[Array]) -> tuple[int, ...] | None:
    """Return the axes of a node whose inputs have values: the second input, or in early opsets an attribute."""
    if len(values) > 1:
        return tuple(int(each) for each in values[1].ravel())
    given = call.attribute("axes")
    return None if given is None else tuple(given)


def _reshaped(call: NodeCall, values: list[Array]) -> Array:
    wanted = values[1] if len(values) > 1 else call.attribute("shape")
    sizes = [int(size) for size in np.asarray(wanted).ravel()]
    if not call.attribute("allowzero", 0):
        sizes = [values[0].shape[place] if size == 0 else size for place, size in enumerate(sizes)]
    return values[0].reshape(sizes)


@operator("Reshape", fold=_reshaped)
def _reshape(call: NodeCall) -> Outcome:
    shape, wanted = call.shape(0), call.value(1, "shape")
    if wanted is None:
        raise OperatorError("it has no shape to reshape to")
    output = list(wanted)
    if not call.attribute("allowzero", 0):
        for place, size in enumerate(output):
            if size == 0:
                if place >= len(shape):
                    raise OperatorError(f"shape={wanted} keeps axis {place}, which its input {shape} does not have")
                output[place] = shape[place]
    total, known = math.prod(shape), math.prod(size for size in output if size != -1)
    if output.count(-1) > 1 or min(output, default=0) < -1:
        raise OperatorError(f"shape={wanted} must have at most one -1 and no other negative size")
    if -1 in output and known:
        output[output.index(-1)] = total // known
    if math.prod(output) != total:
        asked = f"a multiple of {known}" if -1 in wanted else str(math.prod(output))
        raise OperatorError(
            f"its input {shape} has {total} elements, but shape={wanted} asks for {asked}; a shape that is written "
            "into the model holds for one input size only"
        )
    return Outcome("reshape", [tuple(output)], _reshaped_view(call.view, shape, tuple(output)))


def _reshaped_view(view: View | None, shape: Shape, output: Shape) -> View | None:
    try:
        return reshaped(view, shape, output)
    except UnfollowedError as error:
        return lost(view and replace(view, axes=()), str(error))


@operator("Flatten")
def _flatten(call: NodeCall) -> Outcome:
    shape = call.shape(0)
    axis = int(call.attribute("axis", 1))
    if not -len(shape) <= axis <= len(shape):
        raise OperatorError(f"axis={axis} does not exist in a tensor of {len(shape)} axes")
    axis = axis + len(shape) if axis < 0 else axis
    output = (math.prod(shape[:axis]), math.prod(shape[axis:]))
    view = _reshaped_view(call.view, shape, output)
    if view is not None and view.paths and layout_of(view, output)[1].factors:
        view = None  # channels and places in one list, for a dense layer
    return Outcome("reshape", [output], view)


@operator("Squeeze", fold=lambda call, values: np.squeeze(values[0], fold_axes(call, values)))
def _squeeze(call: NodeCall) -> Outcome:
    shape, given = call.shape(0), call.value(1, "axes")
    if given is None:
        given = [axis for axis, size in enumerate(shape) if size == 1]
    axes = call.axes(given, len(shape))
    for axis in axes:
        if shape[axis] != 1:
            raise OperatorError(f"axes={given} asks to drop axis {axis} of its input {shape}, whose size is not 1")
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    places = [kept.index(axis) if axis in kept else None for axis in range(len(shape))]
    output = tuple(shape[axis] for axis in kept)
    return Outcome("reshape", [output], moved(call.view, places, shape, len(output)))


@operator("Unsqueeze", fold=lambda call, values: np.expand_dims(values[0], fold_axes(call, values) or ()))
def _unsqueeze(call: NodeCall) -> Outcome:
    shape, given = call.shape(0), call.value(1, "axes")
    if not given:
        raise OperatorError("it has no axes to add")
    rank = len(shape) + len(given)
    added = set(call.axes(given, rank))
    if len(added) < len(given):
        raise OperatorError(f"axes={given} names an axis twice")
    places = [place for place in range(rank) if place not in added]
    output = [1] * rank
    for place, size in zip(places, shape, strict=True):
        output[place] = size
    return Outcome("reshape", [tuple(output)], moved(call.view, places, shape, rank))


@operator("Transpose", fold=lambda call, values: np.transpose(values[0], call.attribute("perm")))
def _transpose(call: NodeCall) -> Outcome:
    shape = call.shape(0)
    order = list(call.attribute("perm") or reversed(range(len(shape))))
    if sorted(order) != list(range(len(shape))):
        raise OperatorError(f"perm={order} must name each axis of its input {shape} once")
    places = [order.index(axis) for axis in range(len(shape))]
    return Outcome("reshape", [tuple(shape[axis] for axis in order)], moved(call.view, places, shape, len(shape)))


def _expanded(call: NodeCall, values: list[Array]) -> Array:
    shape = np.broadcast_shapes(values[0].shape, tuple(int(size) for size in values[1].ravel()))
    if math.prod(shape) > SMALL:
        raise ValueError
    return np.broadcast_to(values[0], shape)


@operator("Expand", fold=_expanded)
def _expand(call: NodeCall) -> Outcome:
    shape, wanted = call.shape(0), call.value(1)
    output = broadcast(call, [shape, tuple(wanted or ())])
    tensor = call.tensor(0)
    if tensor is not None and tensor.view is not None and tensor.view.paths and max(tensor.sizes) == 1:
        before = len(output) - len(shape)
        held = layout_of(tensor.view, shape)
        if any(each.factors and output[before + axis] != shape[axis] for axis, each in enumerate(held)):
            return Outcome("reshape", [output])  # one cell for all places, such as a mean over the map
    return Outcome("reshape", [output], of_parts([tensor] if tensor is not None else [], output))


def _tiled(call: NodeCall, values: list[Array]) -> Array:
    times = [int(each) for each in values[1].ravel()]
    if values[0].size * math.prod(times) > SMALL:
        raise ValueError
    return np.tile(values[0], times)


@operator("Tile", fold=_tiled)
def _tile(call: NodeCall) -> Outcome:
    shape, times = call.shape(0), call.value(1)
    if times is None or len(times) != len(shape) or min(times, default=0) < 0:
        raise OperatorError(f"its repeats {times} must be one number for each axis of its input {shape}")
    view = call.view
    if (
        view is not None
        and view.paths
        and any(each.factors and number != 1 for each, number in zip(layout_of(view, shape), times, strict=True))
    ):
        view = lost(view, "it repeats the map")
    return Outcome("reshape", [tuple(size * each for size, each in zip(shape, times, strict=True))], view)
