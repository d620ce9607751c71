"""Where the cells of a map stand in a tensor: axes that are merged, split, moved and dropped, and what mixes them.

A map ``(N, C, H, W)`` becomes tokens ``(N, H * W, C)`` and windows ``(N * 8 * 8, 7 * 7, C)``, and a map again. As long
as every cell keeps its place in a list of places, its receptive field is known; see `AxisLayout` for the list.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pooling.geometry import window_count

from .. import receptive_field
from ..receptive_field import CHANNELS, AxisLayout, Factor, UnfollowedError, View
from .nodes import Shape

__all__ = [
    "Layout",
    "coarsened",
    "is_map",
    "layout_of",
    "mixed",
    "moved",
    "reordered",
    "reshaped",
    "settled",
    "turned",
    "unfolded",
    "without",
]

Layout = tuple[AxisLayout, ...]
PLAIN = AxisLayout()


def is_map(view: View | None) -> bool:
    """Whether a tensor has cells whose fields are followed."""
    return view is not None and bool(view.paths)


def layout_of(view: View, shape: Shape) -> Layout:
    """Return what stands on each axis of a tensor."""
    if view.layout:
        return view.layout
    layout = [PLAIN] * len(shape)
    for number, axis in enumerate(view.axes):
        layout[axis] = AxisLayout((Factor(number, shape[axis]),))
    return tuple(layout)


def settled(view: View, layout: Sequence[AxisLayout], grid: Shape) -> View | None:
    """Return a view with another layout, in the short form where every spatial axis stands alone and whole.

    None where spatial axes are gone: nothing of the tensor has a place on them any more. Where some of the places are
    left, the fields are not followed.
    """
    held = [factor for each in layout for factor in each.factors if factor.axis != CHANNELS]
    for number, size in enumerate(grid):
        if math.prod(factor.size for factor in held if factor.axis == number) != size or number not in {
            factor.axis for factor in held
        }:
            return _in_part(view) if any(factor.size > 1 for factor in held) else None
    axes: dict[int, int] = {}
    for place, each in enumerate(layout):
        if len(each.factors) == 1 and not each.before and not each.after:
            axes[each.factors[0].axis] = place
    if all(number in axes for number in range(len(grid))) and len(held) == len(grid):
        return replace(view, axes=tuple(axes[number] for number in range(len(grid))), layout=(), grid=())
    return replace(view, axes=(), layout=tuple(layout), grid=tuple(grid))


def _in_part(view: View) -> View:
    """Return the view of a tensor that has lost one spatial axis, or a part of it, and still has another."""
    why = "receptive field not followed: some of the places of the map are gone, others are left"
    return replace(view, axes=(), paths=None, layout=(), grid=(), lost=view.lost or why)


def moved(view: View | None, places: Sequence[int | None], shape: Shape, rank: int | None = None) -> View | None:
    """Return a view whose axes have other places; None where a spatial one is dropped.

    Parameters
    ----------
    view : View or None
    places : sequence of int or None
        Where each axis stands afterwards.
    shape : tuple of int
        Before.
    rank : int, optional
        Of the result; by default that of the axes that are left.
    """
    if view is None:
        return view
    if not view.paths:
        found = [places[axis] for axis in view.axes]
        return replace(view, axes=() if None in found else tuple(each for each in found if each is not None))
    if rank is None:
        rank = max((place + 1 for place in places if place is not None), default=0)
    layout = [PLAIN] * rank
    single: list[Factor] = []
    for each, place in zip(layout_of(view, shape), places, strict=True):
        if place is not None:
            layout[place] = each
        else:
            single += [factor for factor in each.factors if factor.size == 1]
    # A spatial axis of one cell is kept beside the places that are left.
    kept = next((place for place, each in enumerate(layout) if any(factor.axis >= 0 for factor in each.factors)), None)
    if kept is not None and single:
        layout[kept] = replace(layout[kept], factors=(*single, *layout[kept].factors))
    return settled(view, layout, view.sizes(shape))


def without(view: View, shape: Shape, axis: int, before: int, after: int) -> View | None:
    """Return a view whose axis has other elements that are no cells before and behind its cells."""
    layout = list(layout_of(view, shape))
    layout[axis] = replace(layout[axis], before=before, after=after)
    return settled(view, layout, view.sizes(shape))


def _whole_axis(view: View, shape: Shape, axis: int) -> int | None:
    """Return the number of the spatial axis that stands whole and alone on an axis of a tensor; None where none does.

    Raises
    ------
    UnfollowedError
        If it holds parts of spatial axes.
    """
    held = layout_of(view, shape)[axis]
    if not held.factors:
        return None
    (factor, *more) = held.factors
    if more or held.before or held.after or factor.axis == CHANNELS or factor.size != view.sizes(shape)[factor.axis]:
        raise UnfollowedError("it moves cells of a list of places")
    return factor.axis


def turned(view: View | None, shape: Shape, axis: int, shift: int) -> View | None:
    """Return a view whose cells have moved on by `shift` along an axis, those at the end to the beginning.

    The fields are those of a map without borders, as those of padding are.

    Raises
    ------
    UnfollowedError
        If the axis holds parts of spatial axes.
    """
    size = shape[axis]
    shift %= max(1, size)
    number = _whole_axis(view, shape, axis) if view is not None and is_map(view) and shift else None
    if view is None or number is None:
        return view
    assert view.paths is not None
    paths = list(view.paths)
    # Which way round is the shorter one: most cells come from there.
    paths[number] = receptive_field.shifted(paths[number], 1, 1, 1, shift - size if 2 * shift > size else shift)
    return replace(view, paths=tuple(paths))


def unfolded(
    view: View | None,
    shape: Shape,
    axis: int,
    size: int,
    stride: int,
    *,
    first: int = 0,
    count: int | None = None,
    dilation: int = 1,
) -> View | None:
    """Return the view of windows along an axis, whose cells are a new axis at the end.

    Windows may overlap: the grid then is that of all their cells, side by side.

    Parameters
    ----------
    view : View or None
    shape : tuple of int
        Before.
    axis, size, stride : int
    first : int
        Where the first window begins.
    count : int, optional
        How many there are; by default as many as fit.
    dilation : int

    Raises
    ------
    UnfollowedError
        If the axis holds parts of spatial axes.
    """
    if view is None or not is_map(view):
        return view
    layout, grid = [*layout_of(view, shape), PLAIN], list(view.sizes(shape))
    number = _whole_axis(view, shape, axis)
    if number is None:
        return settled(view, layout, tuple(grid))
    assert view.paths is not None
    if count is None:
        count = window_count(shape[axis] - first, (size - 1) * dilation + 1, stride)
    paths = list(view.paths)
    begun = receptive_field.shifted(paths[number], 1, 1, 1, -first)
    paths[number] = receptive_field.unfolded(begun, size, stride, dilation)
    layout[axis], layout[-1] = AxisLayout((Factor(number, count, size),)), AxisLayout((Factor(number, size),))
    grid[number] = count * size
    return settled(replace(view, paths=tuple(paths)), layout, tuple(grid))


# ---------------------------------------------------------------------------------------------------------------------
# Reshape


def reshaped(view: View | None, shape: Shape, output: Shape) -> View | None:
    """Return a view of the same elements in another shape.

    Raises
    ------
    UnfollowedError
        If cells that belong together are torn apart.
    """
    if view is None or not view.paths:
        return view and replace(view, axes=())
    if 0 in shape:
        return None
    waiting = _flattened(layout_of(view, shape), shape)
    layout = [_taken(waiting, size) for size in output]
    if any(math.prod(factor.size for factor in each.factors) > 1 for each, _ in waiting):
        raise UnfollowedError(f"its shape {shape} becomes {output}, which tears the map apart")
    if waiting and layout:  # axes of one cell, at the end
        rest = tuple(factor for each, _ in waiting for factor in each.factors)
        held = layout[-1].factors or ((Factor(CHANNELS, output[-1]),) if output[-1] > 1 else ())
        layout[-1] = replace(layout[-1], factors=(*held, *rest))
    if len(output) < 3 and layout and len(layout[-1].factors) > 1:
        return None  # channels and places in one list, for a dense layer
    return _shuffled(view, layout, view.sizes(shape))


Waiting = list[tuple[AxisLayout, int]]


def _flattened(layout: Layout, shape: Shape) -> Waiting:
    """Return what a tensor holds as one row, as parts with their sizes."""
    parts: Waiting = []
    for each, size in zip(layout, shape, strict=True):
        if each.before or each.after:
            parts.append((each, size))
            continue
        for factor in each.factors or (Factor(CHANNELS, size),):
            last = parts[-1][0] if parts else PLAIN
            if factor.axis == CHANNELS and factor.size == 1:
                continue
            if factor.axis == CHANNELS and _is_channels(last):
                parts[-1] = _channels(last.factors[0].size * factor.size)
            else:
                parts.append((AxisLayout((factor,)), factor.size))
    return parts


def _is_channels(layout: AxisLayout) -> bool:
    return [factor.axis for factor in layout.factors] == [CHANNELS]


def _channels(size: int) -> tuple[AxisLayout, int]:
    return AxisLayout((Factor(CHANNELS, size),)), size


def _taken(waiting: Waiting, size: int) -> AxisLayout:
    """Take from the front what makes an axis of a size."""
    if size == 1:
        # An axis of one cell keeps its name if it is the next.
        return waiting.pop(0)[0] if waiting and waiting[0][1] == 1 else PLAIN
    found: list[Factor] = []
    while size > 1:
        if not waiting:
            raise UnfollowedError("sizes do not fit")
        each, held = waiting[0]
        if size % held == 0:
            waiting.pop(0)
            size //= held
            if each.before or each.after:
                if found or size > 1:
                    raise UnfollowedError("it merges an axis that holds more than places")
                return each
            found += each.factors
        elif held % size == 0 and len(each.factors) == 1 and not each.before and not each.after:
            factor = each.factors[0]
            inner = factor.size // size
            found.append(Factor(factor.axis, size, factor.step * inner))
            rest = Factor(factor.axis, inner, factor.step)
            waiting[0] = (AxisLayout((rest,)), inner)
            size = 1
        else:
            raise UnfollowedError(f"it splits {held} cells into parts of {size}")
    if all(factor.axis == CHANNELS for factor in found):
        return PLAIN
    return AxisLayout(_joined(found))


def _joined(factors: Iterable[Factor]) -> tuple[Factor, ...]:
    """Join neighbours that are parts of one axis, in order."""
    result: list[Factor] = []
    for factor in factors:
        last = result[-1] if result else None
        if last is not None and last.axis == factor.axis != CHANNELS and last.step == factor.size * factor.step:
            result[-1] = Factor(factor.axis, last.size * factor.size, factor.step)
        elif last is not None and last.axis == factor.axis == CHANNELS:
            result[-1] = Factor(CHANNELS, last.size * factor.size)
        else:
            result.append(factor)
    return tuple(result)


def _shuffled(view: View, layout: Sequence[AxisLayout], grid: Shape) -> View | None:
    """Settle a view in which channels may have become cells, as in a pixel shuffle."""
    assert view.paths is not None
    enlarged: dict[int, int] = {}
    layout = list(layout)
    for place, each in enumerate(layout):
        if len(each.factors) == 2 and not each.before and not each.after:
            outer, inner = each.factors
            if inner.axis == CHANNELS != outer.axis and outer.size == grid[outer.axis]:
                enlarged[outer.axis] = inner.size
                layout[place] = AxisLayout((Factor(outer.axis, outer.size * inner.size),))
    if not enlarged:
        return settled(view, layout, grid)
    if len(enlarged) < len(grid):
        raise UnfollowedError("it makes places of channels along some of the spatial axes only")
    paths = tuple(receptive_field.blown_up(each, enlarged[number]) for number, each in enumerate(view.paths))
    larger = tuple(size * enlarged[number] for number, size in enumerate(grid))
    return settled(replace(view, paths=paths), layout, larger)


# ---------------------------------------------------------------------------------------------------------------------
# Mixing: attention, sums and normalisations over some of the places


def mixed(view: View, grid: Shape, factors: Sequence[Factor]) -> View:
    """Return a view in which every cell depends on all cells that differ from it in some factors alone.

    Windows of neighbours are followed exactly; what reaches over the whole of an axis is context.
    """
    assert view.paths is not None
    paths = list(view.paths)
    context = view.context
    for number in range(len(grid)):
        mine = sorted((each for each in factors if each.axis == number and each.size > 1), key=lambda each: each.step)
        if not mine:
            continue
        block = _block(mine)
        if block and block < grid[number]:
            paths[number] = receptive_field.blocks(paths[number], block)
        else:
            context = True
    return replace(view, paths=tuple(paths), context=context)


def _block(factors: Sequence[Factor]) -> int:
    """Return the cells of the block that some factors of one axis are together; 0 where they are none."""
    block = 1
    for factor in factors:
        if factor.step != block:
            return 0
        block *= factor.size
    return block


def _reaches_across(factors: Sequence[Factor], grid: Sequence[int]) -> bool:
    """Whether some factors go from one end of every spatial axis to the other, such as the windows of a map.

    What is left then, the place in a window, is no place on the map: it has been summed over all of the map.
    """
    for number, size in enumerate(grid):
        mine = sorted((each for each in factors if each.axis == number), key=lambda each: -each.step)
        for factor in mine:
            if factor.size * factor.step != size:
                return False
            size = factor.step
        if not mine:
            return False
    return True


def coarsened(view: View, shape: Shape, axes: Iterable[int]) -> tuple[View | None, tuple[int, ...]]:
    """Return a view after the places on some axes of a tensor have become one, and the block that did, by spatial axis.

    The axes stay, with one element each. None where nothing has a place any more.

    Raises
    ------
    UnfollowedError
        If what is left of a spatial axis is no grid.
    """
    assert view.paths is not None
    layout, grid, chosen = list(layout_of(view, shape)), list(view.sizes(shape)), set(axes)
    gone = [factor for axis in chosen for factor in layout[axis].factors if factor.axis != CHANNELS]
    whole = tuple(
        math.prod(factor.size for factor in gone if factor.axis == number) == size
        and any(factor.axis == number for factor in gone)
        for number, size in enumerate(grid)
    )
    taken = tuple(math.prod(factor.size for factor in gone if factor.axis == number) for number in range(len(grid)))
    if all(whole) or _reaches_across(gone, grid):
        return None, taken
    paths = list(view.paths)
    for axis in chosen:
        layout[axis] = PLAIN
    for number in range(len(grid)):
        mine = sorted((each for each in gone if each.axis == number), key=lambda each: each.step)
        if not mine:
            continue
        block = _block(mine)
        if whole[number] or not block:
            raise UnfollowedError("it joins some of the places of the map")
        paths[number] = receptive_field.shifted(paths[number], block, block, 1, 0)
        grid[number] //= block
        for place, each in enumerate(layout):
            layout[place] = replace(
                each,
                factors=tuple(
                    replace(factor, step=factor.step // block) if factor.axis == number else factor
                    for factor in each.factors
                ),
            )
    return settled(replace(view, paths=tuple(paths)), layout, tuple(grid)), taken


def reordered(view: View, shape: Shape, axis: int, numbers: Sequence[int] | None, count: int) -> tuple[View, bool]:
    """Return a view after elements were taken along an axis that holds the cells of blocks, and whether it still does.

    Where all cells of a block have the same field, as behind a transform of blocks, each can take the place of any
    other. Else a block all of whose cells are taken becomes one cell, whose channels they are, in whatever order.

    Parameters
    ----------
    view : View
    shape : tuple of int
        Before.
    axis : int
    numbers : sequence of int, optional
        Which elements are taken; None where that is not known.
    count : int
        How many are.

    Raises
    ------
    UnfollowedError
        If the axis holds anything else, or if another part of a block is taken.
    """
    assert view.paths is not None
    held, grid, size = layout_of(view, shape)[axis], view.sizes(shape), shape[axis]
    spatial = [factor for factor in held.factors if factor.axis != CHANNELS]
    blocks = {
        number: _block(sorted((each for each in spatial if each.axis == number), key=lambda each: each.step))
        for number in {factor.axis for factor in spatial}
    }
    if held.before or held.after or any(not 0 < block < grid[number] for number, block in blocks.items()):
        raise UnfollowedError("it takes places in another order")
    alike = all(receptive_field.blocks(view.paths[n], block) == view.paths[n] for n, block in blocks.items())
    if alike and count == size:
        return view, True
    whole = numbers is not None and sorted(number % size for number in numbers) == list(range(size))
    found = coarsened(view, shape, [axis])[0] if alike or whole else None
    if found is None:
        raise UnfollowedError("it takes places in another order")
    return found, False
