"""Windows of a map as columns of a matrix, and columns put together to a map: im2col and col2im."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pooling import geometry
from pooling.geometry import Axis

from .. import receptive_field
from ..receptive_field import CHANNELS, AxisLayout, Factor, UnfollowedError, View
from . import places
from .common import in_place, lost
from .nodes import NodeCall, OperatorError, Outcome, Rule, Shape
from .registry import operator

__all__ = ["columns_of", "into_columns", "put_together"]


def into_columns(shapes: Sequence[Shape], axes: Sequence[Axis]) -> Rule:
    """Return the rule of im2col: of a map ``(N, C, H, W)``, the windows as ``(N, C * kernel, windows)``."""
    return lambda call: Outcome("reshape", shapes, columns_of(call.view, call.shape(0), axes))


def columns_of(view: View | None, shape: Shape, axes: Sequence[Axis]) -> View | None:
    """Return the view of the windows of a map as columns: one axis of channels and taps, one of windows."""
    where = tuple(range(len(shape) - len(axes), len(shape)))
    found = in_place(view, shape, where)
    if found is None or not found.paths:
        return found and replace(found, axes=())
    try:
        for place, axis in zip(where, axes, strict=True):
            size, count = axis.kernel_size, axis.output_size
            found = places.unfolded(
                found, shape, place, size, axis.stride, first=-axis.pad_begin, count=count, dilation=axis.dilation
            )
            if found is None:
                return None
            shape = (*shape[:place], count, *shape[place + 1 :], size)
    except UnfollowedError as error:
        return lost(found and replace(found, axes=()), str(error))
    layout, channels = places.layout_of(found, shape), shape[where[0] - 1]
    taps = _of_all(layout[where[-1] + 1 :])
    inner = AxisLayout((Factor(CHANNELS, channels), *taps) if channels > 1 else taps)
    outer = AxisLayout(_of_all(layout[place] for place in where))
    return places.settled(found, [*layout[: where[0] - 1], inner, outer], found.sizes(shape))


def _of_all(layout: Iterable[AxisLayout]) -> tuple[Factor, ...]:
    return tuple(factor for each in layout for factor in each.factors)


def put_together(view: View | None, shape: Shape, axes: Sequence[Axis]) -> View | None:
    """Return the view of the map that is the sum of windows, which are columns of shape ``(N, C * kernel, windows)``.

    Each cell depends on all windows that it lies in.
    """
    where = tuple(range(len(shape) - 1, len(shape) - 1 + len(axes)))
    try:
        return _put_together(view, shape, axes, where)
    except UnfollowedError as error:
        return lost(replace(view, axes=where) if view is not None else View(where, None), str(error))


def _put_together(view: View | None, shape: Shape, axes: Sequence[Axis], where: Shape) -> View | None:
    if view is None:
        return None
    if not view.paths:
        return lost(replace(view, axes=where), "it puts blocks together")
    layout, numbers = places.layout_of(view, shape), range(len(axes))
    taps = [Factor(number, axes[number].kernel_size) for number in numbers if axes[number].kernel_size > 1]
    windows = [Factor(number, axes[number].output_size, axes[number].kernel_size) for number in numbers]
    held = [factor for factor in layout[-2].factors if factor.axis != CHANNELS and factor.size > 1]
    if any(each.factors for each in layout[:-2]):
        raise UnfollowedError("it puts blocks together that are not the windows of a map")
    if held and held == taps and list(layout[-1].factors) == windows:
        # Every cell of a window goes back to where it came from.
        paths = tuple(receptive_field.folded(each, axes[number]) for number, each in enumerate(view.paths))
        return replace(view, axes=where, paths=paths, layout=(), grid=())
    if held:  # taps that are neighbouring places count as one
        found, _ = places.coarsened(view, shape, [len(shape) - 2])
        if found is None:
            return None
        view, layout = found, places.layout_of(found, (*shape[:-2], 1, shape[-1]))
    if list(layout[-1].factors) != [Factor(number, axes[number].output_size) for number in numbers]:
        raise UnfollowedError("it puts blocks together that are not the windows of a map")
    assert view.paths is not None
    paths = tuple(receptive_field.transposed(each, axes[number]) for number, each in enumerate(view.paths))
    return replace(view, axes=where, paths=paths, layout=(), grid=())


@operator("Col2Im")
def _col2im(call: NodeCall) -> Outcome:
    shape, image, block = call.shape(0), call.value(1), call.value(2)
    fits = bool(image) and bool(block) and len(shape) == 3 and not shape[1] % math.prod(block or [1])
    axes: tuple[Axis, ...] = ()
    if fits and image and block:
        count = len(block)
        pads = call.attribute("pads") or [0] * 2 * count
        axes = geometry.pool_axes(
            image,
            tuple(block),
            tuple(call.attribute("strides") or [1] * count),
            tuple(zip(pads[:count], pads[count:], strict=True)),
            tuple(call.attribute("dilations") or [1] * count),
            function="Col2Im",
        )
        fits = math.prod(axis.output_size for axis in axes) == shape[2]
    if not fits or not image or not block:
        raise OperatorError(f"its input {shape} cannot be put together from blocks of {block} to an image of {image}")
    output = (shape[0], shape[1] // math.prod(block), *image)
    return Outcome("reshape", [output], put_together(call.view, shape, axes))
