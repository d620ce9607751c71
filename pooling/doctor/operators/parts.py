"""Windows of convolutions and poolings on a map that may stand in parts, such as inside of each window of attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pooling.geometry import Axis

from .. import receptive_field
from ..receptive_field import CHANNELS, AxisLayout, Factor, UnfollowedError, View
from .common import along, in_place, lost
from .nodes import Shape
from .places import coarsened, is_map, layout_of, settled

__all__ = ["through_windows"]

CHANNEL_AXIS = 1
"""Behind the batch."""


def through_windows(
    view: View | None,
    shape: Shape,
    axes: Sequence[Axis],
    where: Shape,
    *,
    mixes_channels: bool,
    transposed: bool = False,
) -> View | None:
    """Follow fields through the windows of an operator, or what undoes them.

    Parameters
    ----------
    view : View or None
        Of the input.
    shape : tuple of int
        Of the input.
    axes : sequence of Axis
        The windows; those on an axis that is not spatial join channels only.
    where : tuple of int
        Where the operator has its spatial axes. They may hold the cells of parts of the map, such as the windows of a
        transformer in the batch; then each window ends at the border of its part.
    mixes_channels : bool
        Whether all channels become one.
    transposed : bool
        Whether the windows are undone.
    """
    if view is not None and is_map(view) and view.axes != where:
        try:
            return _in_parts(view, shape, axes, where, mixes_channels=mixes_channels, transposed=transposed)
        except UnfollowedError as error:
            return lost(replace(view, axes=where), str(error))
    each = receptive_field.transposed if transposed else receptive_field.windows
    return along(in_place(view, shape, where), lambda paths, i: each(paths, axes[i]))


def _in_parts(
    view: View, shape: Shape, axes: Sequence[Axis], where: Shape, *, mixes_channels: bool, transposed: bool
) -> View | None:
    if mixes_channels and layout_of(view, shape)[CHANNEL_AXIS].factors:
        # Channels that hold neighbouring places: those become one.
        joined, _ = coarsened(view, shape, [CHANNEL_AXIS])
        if joined is None:
            return None
        view, shape = joined, (*shape[:CHANNEL_AXIS], 1, *shape[CHANNEL_AXIS + 1 :])
    assert view.paths is not None
    layout, grid, paths = list(layout_of(view, shape)), list(view.sizes(shape)), list(view.paths)
    taken: set[int] = set()
    for place, axis in zip(where, axes, strict=True):
        held = layout[place]
        if not held.factors or _is_cell(axis):
            continue
        # Spatial axes of one cell stand beside the others.
        single = tuple(factor for factor in held.factors if factor.size == 1 and grid[factor.axis] == 1)
        rest = tuple(factor for factor in held.factors if factor not in single) or held.factors[-1:]
        single = tuple(factor for factor in single if factor not in rest)
        if len(rest) > 1 and _tiles(axis):
            return None  # Several places of the list become one, whose rows and columns are no grid.
        (factor, *more) = rest
        number = factor.axis
        if more or held.before or held.after or number == CHANNELS or number in taken:
            raise UnfollowedError("its windows move over a list of places")
        taken.add(number)
        size = axis.input_size if transposed else axis.output_size
        is_split = grid[number] > factor.size * factor.step
        paths[number] = receptive_field.windows_in_parts(
            paths[number], axis, factor.step, is_split=is_split, undone=transposed
        )
        layout = [_with_parts_of(each, factor, size) for each in layout]
        grid[number] = grid[number] // factor.size * size
        # A part that has become one cell is the place of the part.
        left = () if size == 1 < grid[number] else (replace(factor, size=size),)
        layout[place] = AxisLayout((*single, *left))
    found = settled(replace(view, paths=tuple(paths)), layout, tuple(grid))
    if found is None:
        raise UnfollowedError("axes have changed places")
    return found


def _is_cell(axis: Axis) -> bool:
    """Whether each window is the cell that it stands on."""
    if axis.adaptive:
        return axis.input_size == axis.output_size
    return axis.kernel_size == axis.stride == 1 and axis.pad_begin == axis.pad_end == 0


def _tiles(axis: Axis) -> bool:
    """Whether every cell is in one window, and there are fewer windows than cells."""
    return not axis.adaptive and axis.stride == axis.kernel_size > 1 == axis.dilation and not axis.pad_begin


def _with_parts_of(layout: AxisLayout, inner: Factor, size: int) -> AxisLayout:
    """Return what stands on another axis after each part of a spatial axis has another size."""
    whole = inner.size * inner.step
    factors = []
    for each in layout.factors:
        if each.axis != inner.axis or each == inner:
            factors.append(each)
        elif each.step % whole == 0:
            factors.append(replace(each, step=each.step // inner.size * size))
        elif each.size * each.step <= inner.step:
            factors.append(each)
        else:
            raise UnfollowedError("its windows move over parts that lie in each other")
    return replace(layout, factors=tuple(factors))
