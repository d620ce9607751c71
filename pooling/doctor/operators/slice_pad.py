"""Parts of a map, more than a map, and maps side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .. import receptive_field
from ..receptive_field import Paths, UnfollowedError, View
from .common import along, lost, moved, of_parts, spread
from .nodes import NodeCall, OperatorError, Outcome, Shape, Tensor
from .places import is_map, layout_of, reordered, unfolded, without
from .registry import Array, operator


def _sliced(call: NodeCall, values: list[Array]) -> Array:
    return values[0][tuple(_slices(call, values[0].shape))]


@operator("Slice", fold=_sliced)
def _slice(call: NodeCall) -> Outcome:
    shape = call.shape(0)
    parts = _slices(call, shape)
    output = tuple(len(range(*part.indices(size))) for part, size in zip(parts, shape, strict=True))
    if 0 in output:
        raise OperatorError(f"nothing is left of its input {shape}: the result would be {output}; use a larger input")
    return Outcome("slice", [output], cropped(call.view, shape, parts))


def cropped(view: View | None, shape: Shape, parts: Sequence[slice]) -> View | None:
    """Return the view of a part of a tensor."""
    if view is None or not view.paths:
        return view
    if view.layout:
        return _cropped_list(view, shape, parts)
    if any(parts[axis].step < 0 for axis in view.axes):
        return lost(view, "it turns the map around")

    def taken(paths: Paths, number: int) -> Paths:
        assert view is not None
        axis = view.axes[number]
        start, _, step = parts[axis].indices(shape[axis])
        return receptive_field.shifted(paths, 1, step, 1, -start)

    return along(view, taken)


def _cropped_list(view: View, shape: Shape, parts: Sequence[slice]) -> View | None:
    """Return the view of a part of a tensor whose axes are lists of places: all of them, or what stands beside them."""
    found: View | None = view
    for axis, (part, size) in enumerate(zip(parts, shape, strict=True)):
        chosen = range(*part.indices(size))
        held = view.layout[axis]
        if chosen == range(size) or not held.factors:
            continue
        cells = range(held.before, size - held.after)
        if chosen.step == 1 and chosen.start <= cells.start and chosen.stop >= cells.stop:
            found = found and without(found, shape, axis, cells.start - chosen.start, chosen.stop - cells.stop)
        elif not set(chosen).intersection(cells):
            return None  # a class token, which has no place
        else:
            found = found and _cells_taken(found, shape, axis, chosen)
            if found is None or not found.paths:
                return found
    return found


def _cells_taken(view: View, shape: Shape, axis: int, chosen: range) -> View | None:
    """Return the view of some cells of blocks, perhaps turned around."""
    try:
        return reordered(view, shape, axis, chosen, len(chosen))[0]
    except UnfollowedError:
        return lost(view, "it takes a part of a list of places")


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
    mode = call.attribute("mode", "constant")
    output = tuple(begin + size + end for begin, size, end in zip(begins, shape, ends, strict=True))
    for axis, (begin, size, end) in enumerate(zip(begins, shape, ends, strict=True)):
        if mode == "reflect" and max(begin, end) >= size:
            raise OperatorError(
                f"mode=reflect pads axis {axis} of its input {shape} by {begin} and {end}, and a map of {size} has "
                f"{size - 1} cells to reflect; use a larger input, or pad less"
            )
    if min(output, default=1) < 1:
        raise OperatorError(f"nothing is left of its input {shape}: the result would be {output}; use a larger input")
    view = call.view
    if view is not None and view.layout:
        return Outcome("pad", [output], _padded_list(view, shape, begins, ends, mode))
    placed = along(view, lambda paths, i: receptive_field.shifted(paths, 1, 1, 1, begins[view.axes[i]] if view else 0))
    whole = min((*begins, *ends), default=0) >= 0
    return Outcome("pad", [output], placed, padded=tuple(zip(begins, ends, strict=True)) if whole else ())


def _padded_list(view: View, shape: Shape, begins: Sequence[int], ends: Sequence[int], mode: str) -> View | None:
    """Return the view of a tensor with lists of places that is padded: what is added is no cell, as a class token."""
    found: View | None = view
    for axis, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        held = view.layout[axis]
        if not held.factors or not (begin or end):
            continue
        if mode != "constant" or held.before + begin < 0 or held.after + end < 0:
            return lost(view, "it pads a list of places with places, or takes some away")
        found = found and without(found, shape, axis, held.before + begin, held.after + end)
    return found


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
    views = []
    for number, size in enumerate(sizes):
        parts = [slice(0, each, 1) for each in shape]
        parts[axis] = slice(sum(sizes[:number]), sum(sizes[:number]) + size, 1)
        views.append(cropped(call.view, shape, parts))
    shapes = [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]
    return Outcome("slice", shapes, views[0], views=views)


def _taken(call: NodeCall, values: list[Array]) -> Array:
    return np.take(values[0], values[1], call.attribute("axis", 0))


@operator("Gather", fold=_taken)
def _gather(call: NodeCall) -> Outcome:
    shape, indices = call.shape(0), call.shape(1)
    axis = call.axis(int(call.attribute("axis", 0)), len(shape))
    output = (*shape[:axis], *indices, *shape[axis + 1 :])
    return Outcome("slice", [output], gathered(call.view, call.tensor(1), shape, axis, indices))


def gathered(view: View | None, index: Tensor | None, shape: Shape, axis: int, indices: Shape) -> View | None:
    """Return the view of elements that are chosen along an axis by their numbers.

    Parameters
    ----------
    view : View or None
    index : Tensor or None
        The numbers.
    shape : tuple of int
        Before.
    axis : int
    indices : tuple of int
        The shape of the numbers, which takes the place of the axis.
    """
    added, rank = len(indices) - 1, len(shape) + len(indices) - 1
    places = [None if place == axis else place + added * (place > axis) for place in range(len(shape))]
    if view is None or not is_map(view):
        return moved(view, places, shape, rank)
    held = layout_of(view, shape)[axis]
    if not indices:
        if held.factors and index is not None and index.value is not None:
            # One element: of a list of places and tokens it may be a token.
            at = int(index.value) % shape[axis]
            if not held.before <= at < shape[axis] - held.after:
                return None
        return moved(view, places, shape, rank)
    if not held.factors:
        return moved(view, places, shape, rank)
    if len(indices) == 1 and axis in view.axes:
        return _picked(view, index, axis)
    windows = _gathered_windows(view, index, shape, axis) if len(indices) == 2 else None
    if windows is not None:
        return windows
    try:
        return _reordered(view, index, shape, axis, indices, places)
    except UnfollowedError as error:
        return lost(replace(view, axes=()), str(error))


def _reordered(
    view: View,
    index: Tensor | None,
    shape: Shape,
    axis: int,
    indices: Shape,
    places: Sequence[int | None],
) -> View | None:
    """Return the view of cells of blocks that are chosen by their numbers."""
    if index is not None and index.source:
        raise UnfollowedError("it takes places whose numbers are data")
    numbers = None if index is None or index.value is None else [int(each) for each in index.value.ravel()]
    # Where an axis becomes several, the cells of a block are told apart no longer.
    count = indices[0] if len(indices) == 1 else 0
    found, stays = reordered(view, shape, axis, numbers, count)
    if stays:
        return found
    rest = tuple(1 if place == axis else size for place, size in enumerate(shape))
    return moved(found, places, rest, len(shape) + len(indices) - 1)


def _gathered_windows(view: View, index: Tensor | None, shape: Shape, axis: int) -> View | None:
    """Return the view of windows along an axis whose cells are chosen by number; None of anything else.

    Two axes take the place of one: windows and their cells, or the other way round, as where an exporter writes im2col.
    """
    numbers = None if index is None else index.value
    if numbers is None or not numbers.size or numbers.min() < 0:
        return None
    counts, first = numbers.shape, int(numbers[0, 0])
    steps = [int(numbers[1, 0]) - first if counts[0] > 1 else 0, int(numbers[0, 1]) - first if counts[1] > 1 else 0]
    rows, columns = np.indices(counts)
    if min(steps) < 0 or (numbers != first + rows * steps[0] + columns * steps[1]).any():
        return None
    # The cells of a window lie closer together than windows do, or are fewer.
    cell, window = sorted((0, 1), key=lambda each: (steps[each], counts[each]))
    if any(counts[each] > 1 and not steps[each] for each in (cell, window)):
        return None
    size, count = counts[cell], counts[window]
    stride, dilation = steps[window] or size, steps[cell] or 1
    try:
        found = unfolded(view, shape, axis, size, stride, first=first, count=count, dilation=dilation)
    except UnfollowedError:
        return None
    rank = len(shape)
    whole = (*shape[:axis], count, *shape[axis + 1 :], size)
    behind = [place + (place > axis) for place in range(rank)]
    behind[axis] = axis + window
    return moved(found, [*behind, axis + cell], whole, rank + 1)


def _picked(view: View, index: Tensor | None, axis: int) -> View | None:
    """Return the view of some rows of a map, chosen by number."""
    chosen = None if index is None or index.value is None else [int(each) for each in index.value.ravel()]
    if chosen is None:
        return lost(view, "it takes rows whose numbers are not known")
    step = chosen[1] - chosen[0] if len(chosen) > 1 else 1
    if step < 1 or min(chosen) < 0 or chosen != list(range(chosen[0], chosen[0] + step * len(chosen), step)):
        return lost(view, "it takes rows in another order")
    return along(
        view, lambda paths, i: receptive_field.shifted(paths, 1, step, 1, -chosen[0]) if view.axes[i] == axis else paths
    )


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
    kind = "merge" if len(parts) > 1 else "elementwise"
    padded: list[tuple[int, int]] = []
    if any(axis_is_spatial(tensor, axis) for tensor in parts):
        view = _in_a_row([tensor for _, tensor in given], axis, output)
        if len(parts) == 1 and view is not None and not view.layout:
            place = next(place for place, (_, tensor) in enumerate(given) if tensor.source)
            before, after = (sum(shape[axis] for shape in part) for part in (shapes[:place], shapes[place + 1 :]))
            padded = [(before, after) if each == axis else (0, 0) for each in range(len(output))]
        return Outcome(kind, [output], view, padded=tuple(padded))
    same = [
        replace(tensor, shape=(*(tensor.shape or ())[:axis], 1, *(tensor.shape or ())[axis + 1 :])) for tensor in parts
    ]
    return Outcome(kind, [output], of_parts(same, (*output[:axis], 1, *output[axis + 1 :])))


def axis_is_spatial(tensor: Tensor, axis: int) -> bool:
    """Whether an axis of a tensor holds places."""
    view = tensor.view
    return view is not None and bool(view.paths) and bool(layout_of(view, tensor.shape or ())[axis].factors)


def _in_a_row(parts: Sequence[Tensor], axis: int, output: Shape) -> View | None:
    """Return the view of tensors that follow each other along an axis that holds places of at least one of them."""
    views = [part.view for part in parts if part.source]
    unknown = next((view for view in views if view is not None and view.paths is None), None)
    if unknown is not None:
        return lost(unknown, "")
    maps = [number for number, part in enumerate(parts) if part.source and axis_is_spatial(part, axis)]
    if len(maps) == 1:
        (number,) = maps
        part = parts[number]
        view, shape = part.view, part.shape
        assert view is not None
        assert shape is not None
        before = sum((each.shape or ())[axis] for each in parts[:number])
        after = sum((each.shape or ())[axis] for each in parts[number + 1 :])
        context = any(each.source and not (each.view and each.view.paths == ()) for each in parts if each is not part)
        axes = view.axes
        if axis in axes and not any(each.source for each in parts if each is not part):
            return along(
                view, lambda paths, i: receptive_field.shifted(paths, 1, 1, 1, before if axes[i] == axis else 0)
            )
        held = layout_of(view, shape)[axis]
        view = without(
            replace(view, context=view.context or context), shape, axis, held.before + before, held.after + after
        )
        return view
    if all(view is None or view.layout or not view.paths for view in views):
        return None  # lists of several maps in one, as the heads of detectors end
    rolled = _rolled([part for part in parts if part.source], axis, output) if len(parts) == 2 else None
    return rolled or View((), None, lost="receptive field not followed: it concatenates along a spatial axis")


def _rolled(parts: Sequence[Tensor], axis: int, output: Shape) -> View | None:
    """Return the view of a map whose end has become its beginning, as windows are shifted; None of anything else.

    The fields are those of the larger part, as if the map had no borders.
    """
    if len(parts) != 2:
        return None
    first, second = (part.view for part in parts)
    if first is None or second is None or first.axes != second.axes or axis not in first.axes:
        return None
    if not first.paths or not second.paths:
        return None
    cut = (parts[0].shape or ())[axis]
    number = first.axes.index(axis)
    paths = []
    for place, (mine, its) in enumerate(zip(first.paths, second.paths, strict=True)):
        if place != number:
            if mine != its:
                return None
            paths.append(mine)
            continue
        # Where the other part would go on is one turn of the whole away from where it does.
        onward = receptive_field.shifted(its, 1, 1, 1, cut)
        turn = receptive_field.shifted(mine, 1, 1, 1, output[axis])
        back = receptive_field.shifted(mine, 1, 1, 1, -output[axis])
        if onward not in (mine, turn, back):
            return None
        paths.append(onward if output[axis] > 2 * cut else mine)
    return replace(first, paths=tuple(paths), context=first.context or second.context)
