"""Windows of convolutions and poolings on a map that stands in parts, such as inside of each window of attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pooling.geometry import Axis

from .. import receptive_field
from ..receptive_field import CHANNELS, AxisLayout, Factor, UnfollowedError, View
from .common import followed
from .nodes import Shape
from .places import coarsened, is_map, layout_of, settled

__all__ = ["in_parts"]

CHANNEL_AXIS = 1
"""Behind the batch."""


def in_parts(view: View | None, shape: Shape, axes: Sequence[Axis], *, mixes_channels: bool) -> View | None:
    """Return the view of a stage whose windows move over spatial axes behind batch and channels, which hold parts.

    Parameters
    ----------
    view : View or None
        Of the input.
    shape : tuple of int
        Of the input.
    axes : sequence of Axis
        The windows; those on an axis that is not spatial join channels only.
    mixes_channels : bool
        Whether all channels of a window become one.

    Returns
    -------
    View or None
        None where the spatial axes stand alone there, or where the tensor is no map: no matter of parts.
    """
    places = tuple(range(len(shape) - len(axes), len(shape)))
    if view is None or not is_map(view) or view.axes == places:
        return None
    found = followed(view, lambda view: _in_parts(view, shape, axes, places, mixes_channels=mixes_channels))
    return found if found is not None and found.paths else None


def _in_parts(view: View, shape: Shape, axes: Sequence[Axis], places: Shape, *, mixes_channels: bool) -> View:
    if mixes_channels and layout_of(view, shape)[CHANNEL_AXIS].factors:
        # Channels that hold neighbouring places: those become one.
        joined, _ = coarsened(view, shape, [CHANNEL_AXIS])
        if joined is None:
            raise UnfollowedError("its channels hold all places")
        view, shape = joined, (*shape[:CHANNEL_AXIS], 1, *shape[CHANNEL_AXIS + 1 :])
    assert view.paths is not None
    layout, grid, paths = list(layout_of(view, shape)), list(view.sizes(shape)), list(view.paths)
    taken: set[int] = set()
    for place, axis in zip(places, axes, strict=True):
        held = layout[place]
        if not held.factors:
            continue
        (factor, *more) = held.factors
        number = factor.axis
        if more or held.before or held.after or number == CHANNELS or number in taken:
            raise UnfollowedError("its windows move over a list of places")
        taken.add(number)
        whole = factor.size * factor.step
        paths[number] = receptive_field.windows_in_parts(paths[number], axis, factor.step, grid[number] > whole)
        layout = [_with_parts_of(each, factor, axis.output_size) for each in layout]
        layout[place] = AxisLayout((replace(factor, size=axis.output_size),))
        grid[number] = grid[number] // factor.size * axis.output_size
    found = settled(replace(view, paths=tuple(paths)), layout, tuple(grid))
    if found is None:
        raise UnfollowedError("axes have changed places")
    return found


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
