"""Windows of a map as columns of a matrix, and columns put together to a map: im2col and col2im."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from pooling import geometry
from pooling.geometry import Axis

from .. import receptive_field
from ..receptive_field import CHANNELS, AxisLayout, Factor, Paths, UnfollowedError, View
from . import places
from .common import in_place, lost
from .nodes import NodeCall, OperatorError, Outcome, Rule, Shape
from .registry import operator

__all__ = ["columns_of", "gathered", "into_columns", "put_together"]


def into_columns(shapes: Sequence[Shape], axes: Sequence[Axis]) -> Rule:
    """Return the rule of im2col: of a map ``(N, C, H, W)``, the windows as ``(N, C * kernel, windows)``."""
    return lambda call: Outcome("reshape", shapes, columns_of(call.view, call.shape(0), axes))


def columns_of(view: View | None, shape: Shape, axes: Sequence[Axis]) -> View | None:
    """Return the view of the windows of a map as columns: one axis of channels and taps, one of windows.

    A column has the place of its window. Windows that neither overlap nor leave cells out keep every cell; of others,
    each element counts as if it depended on all of its window, as channels of a convolution do.
    """
    where = tuple(range(len(shape) - len(axes), len(shape)))
    found = in_place(view, shape, where)
    if found is None or not found.paths:
        return found and replace(found, axes=())
    before = [AxisLayout()] * (len(shape) - len(axes) - 1)
    numbers = range(len(axes))
    grid = tuple(axis.output_size for axis in axes)
    if all(map(_tiles, axes)):
        channels = Factor(CHANNELS, shape[where[0] - 1])
        taps = tuple(Factor(number, axes[number].kernel_size) for number in numbers)
        windows = tuple(Factor(number, grid[number], axes[number].kernel_size) for number in numbers)
        inner = AxisLayout((channels, *taps) if channels.size > 1 else taps)
        return places.settled(found, [*before, inner, AxisLayout(windows)], found.sizes(shape))
    try:
        paths = tuple(receptive_field.windows(each, axes[number]) for number, each in enumerate(found.paths))
    except UnfollowedError as error:
        return lost(replace(found, axes=()), str(error))
    windows = tuple(Factor(number, grid[number]) for number in numbers)
    return places.settled(replace(found, paths=paths), [*before, AxisLayout(), AxisLayout(windows)], grid)


def _tiles(axis: Axis) -> bool:
    """Whether every cell is in one window, as the patches of a transformer are."""
    whole = axis.kernel_size * axis.output_size == axis.input_size
    return whole and axis.stride == axis.kernel_size and axis.dilation == 1 and axis.pad_begin == axis.pad_end == 0


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
    grid = view.sizes(shape)
    layout = places.layout_of(view, shape)
    numbers = range(len(axes))
    taps = [Factor(number, axes[number].kernel_size) for number in numbers]
    held = [factor for factor in layout[-2].factors if factor.axis != CHANNELS]
    cut = [Factor(number, axes[number].output_size, axes[number].kernel_size) for number in numbers]
    if all(map(_tiles, axes)) and held == taps and list(layout[-1].factors) == cut:
        return replace(view, axes=where, layout=(), grid=())
    if held:  # taps that are neighbouring places count as one
        found, _ = places.coarsened(view, shape, [len(shape) - 2])
        if found is None:
            return None
        view, layout, grid = found, places.layout_of(found, (*shape[:-2], 1, shape[-1])), found.grid or grid
    whole = AxisLayout(tuple(Factor(number, axes[number].output_size) for number in numbers))
    if layout[-1] != whole or any(each.factors for each in layout[:-1]):
        raise UnfollowedError("it puts blocks together that are not the windows of a map")
    assert view.paths is not None
    paths = tuple(receptive_field.transposed(each, axes[number]) for number, each in enumerate(view.paths))
    return replace(view, axes=where, paths=paths, layout=(), grid=())


def gathered(view: View, shape: Shape, axis: int, places_of: Sequence[Sequence[int]]) -> View | None:
    """Return the view of rows that are gathered as windows: ``places_of[tap][window]``, or the other way round.

    Two axes take the place of one, as where an exporter writes im2col. None where the places are no windows.
    """
    first = places_of[0][0]
    steps = [places_of[1][0] - first if len(places_of) > 1 else 0, places_of[0][1] - first if len(places_of[0]) > 1 else 0]
    sizes = [len(places_of), len(places_of[0])]
    even = all(
        place == first + row * steps[0] + column * steps[1]
        for row, each in enumerate(places_of)
        for column, place in enumerate(each)
    )
    if not even or min(steps) < 0 or first < 0:
        return None
    (held,) = places.layout_of(view, shape)[axis].factors
    number, before = held.axis, places.layout_of(view, shape)
    # The taps of a window lie closer together than windows do, or are fewer.
    tap, window = sorted((0, 1), key=lambda each: (steps[each], sizes[each]))
    grid = list(view.sizes(shape))
    new: list[AxisLayout] = [AxisLayout(), AxisLayout()]
    paths: list[Paths] = list(view.paths or ())
    if first == 0 and steps[tap] == 1 and steps[window] == sizes[tap] and sizes[0] * sizes[1] == grid[number]:
        new[tap] = AxisLayout((Factor(number, sizes[tap]),))
        new[window] = AxisLayout((Factor(number, sizes[window], sizes[tap]),))
    else:
        stride, dilation = max(1, steps[window]), max(1, steps[tap])
        paths[number] = receptive_field.shifted(paths[number], sizes[tap], stride, dilation, -first)
        new[window] = AxisLayout((Factor(number, sizes[window]),))
        grid[number] = sizes[window]
    return places.settled(replace(view, paths=tuple(paths)), [*before[:axis], *new, *before[axis + 1 :]], tuple(grid))


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
