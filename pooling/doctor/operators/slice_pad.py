"""Parts of a map, more than a map, and maps side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import receptive_field
from ..receptive_field import Paths, View
from .common import along, followed, lost, moved, spread
from .nodes import NodeCall, OperatorError, Outcome, Shape
from .registry import operator


@operator("Slice", fold=lambda call, values: values[0][tuple(_slices(call, values[0].shape))])
def _slice(call: NodeCall) -> Outcome:
    shape = call.shape(0)
    parts = _slices(call, shape)
    output = tuple(len(range(*part.indices(size))) for part, size in zip(parts, shape, strict=True))
    if 0 in output:
        raise OperatorError(f"nothing is left of its input {shape}: the result would be {output}; use a larger input")
    view = call.view
    if view is not None and any(parts[axis].step < 0 for axis in view.axes):
        view = lost(view, "it turns the map around")

    def cropped(paths: Paths, number: int) -> Paths:
        assert view is not None
        axis = view.axes[number]
        start, _, step = parts[axis].indices(shape[axis])
        return receptive_field.shifted(paths, 1, step, 1, -start)

    return Outcome("slice", [output], along(view, cropped))


def _slices(call: NodeCall, shape: Shape) -> list[slice]:
    """Return what a Slice keeps of each axis."""
    starts, ends = call.value(1, "starts"), call.value(2, "ends")
    if starts is None or ends is None:
        raise OperatorError("it has no starts or no ends")
    axes = call.value(3, "axes")
    axes = list(range(len(starts))) if axes is None else axes
    steps = call.value(4)
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise OperatorError(f"starts={starts}, ends={ends}, axes={axes} and steps={steps} must be equally long")
    parts = [slice(0, size, 1) for size in shape]
    for start, end, axis, step in zip(starts, ends, call.axes(axes, len(shape)), steps, strict=True):
        if step == 0:
            raise OperatorError(f"steps={steps} must not have a 0")
        parts[axis] = slice(start, end, step)
    return parts


@operator("Pad")
def _pad(call: NodeCall) -> Outcome:
    shape = call.shape(0)
    if call.attribute("padding") is not None:
        count = len(shape) - 2
        pairs = call.attribute("padding")
        pairs = spread(pairs if isinstance(pairs, tuple) else ((pairs, pairs),), count)
        pairs = [pair if isinstance(pair, tuple) else (pair, pair) for pair in pairs]
        if len(pairs) != count:
            raise OperatorError(f"it pads {len(pairs)} axes, but its input {shape} has {count} spatial ones")
        return _padded(call, shape, [0, 0, *(pair[0] for pair in pairs)], [0, 0, *(pair[1] for pair in pairs)])
    pads = call.value(1, "pads" if call.attribute("paddings") is None else "paddings")
    axes = call.value(3)
    places = list(range(len(shape))) if axes is None else call.axes(axes, len(shape))
    if pads is None or len(pads) != 2 * len(places):
        raise OperatorError(f"pads={pads} must be two numbers for each of {len(places)} axes")
    begins, ends = [0] * len(shape), [0] * len(shape)
    for place, begin, end in zip(places, pads[: len(places)], pads[len(places) :], strict=True):
        begins[place], ends[place] = begin, end
    return _padded(call, shape, begins, ends)


def _padded(call: NodeCall, shape: Shape, begins: Sequence[int], ends: Sequence[int]) -> Outcome:
    output = tuple(begin + size + end for begin, size, end in zip(begins, shape, ends, strict=True))
    if min(output, default=1) < 1:
        raise OperatorError(f"nothing is left of its input {shape}: the result would be {output}; use a larger input")
    view = call.view
    placed = along(view, lambda paths, i: receptive_field.shifted(paths, 1, 1, 1, begins[view.axes[i]] if view else 0))
    return Outcome("pad", [output], placed)


@operator("Split")
def _split(call: NodeCall) -> Outcome:
    shape = call.shape(0)
    axis = call.axis(int(call.attribute("axis", 0)), len(shape))
    count = len(call.node.outputs)
    sizes = call.value(1, "split")
    if sizes is None:
        each = -(-shape[axis] // count)
        sizes = [each] * (count - 1) + [shape[axis] - each * (count - 1)]
    if len(sizes) != count or sum(sizes) != shape[axis] or min(sizes) < 0:
        raise OperatorError(
            f"split={sizes} must be {count} sizes that add up to {shape[axis]}, the size of axis {axis}"
        )
    view = call.view
    if view is not None and axis in view.axes:
        view = lost(view, "it splits the map")
    return Outcome("slice", [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes], view)


@operator("Gather", fold=lambda call, values: np.take(values[0], values[1], call.attribute("axis", 0)))
def _gather(call: NodeCall) -> Outcome:
    shape, indices = call.shape(0), call.shape(1)
    axis = call.axis(int(call.attribute("axis", 0)), len(shape))
    output = (*shape[:axis], *indices, *shape[axis + 1 :])
    added = len(indices) - 1
    places = [None if place == axis else place + added * (place > axis) for place in range(len(shape))]
    return Outcome("slice", [output], moved(call.view, places))


@operator("Concat", fold=lambda call, values: np.concatenate(values, call.attribute("axis", 1)))
def _concatenated(call: NodeCall) -> Outcome:
    given = [(number, tensor) for number, tensor in enumerate(call.tensors) if tensor is not None]
    if not given:
        raise OperatorError("it has no inputs")
    shapes = [call.shape(number) for number, _ in given]
    axis = call.axis(int(call.attribute("axis", 1)), len(shapes[0]))
    for shape in shapes[1:]:
        differ = [place for place, (a, b) in enumerate(zip(shapes[0], shape, strict=False)) if place != axis and a != b]
        if len(shape) != len(shapes[0]) or differ:
            where = (
                f"sizes {shapes[0][differ[0]]} and {shape[differ[0]]} meet on axis {differ[0]}"
                if differ
                else "their ranks differ"
            )
            raise OperatorError(
                f"its inputs have shapes {shapes[0]} and {shape}, which do not fit together along axis {axis}: "
                f"{where}; make the branches equally large"
            )
    output = (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])
    parts = [tensor for _, tensor in given if tensor.source]
    view = next((part.view for part in parts if part.view is not None), None)
    if view is not None and axis in view.axes:
        view = lost(view, "it concatenates along a spatial axis") if len(given) > 1 else view
    elif view is not None:
        views = [
            part.view or View(view.axes, None, lost="receptive field not followed: one input has other axes")
            for part in parts
        ]
        views = [
            each if each.axes == view.axes else View(view.axes, None, lost="receptive field not followed: axes differ")
            for each in views
        ]
        view = followed(view, lambda _: receptive_field.merged(views))
    return Outcome("merge" if len(parts) > 1 else "elementwise", [output], view)
