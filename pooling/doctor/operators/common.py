"""What operators share: how receptive fields follow a change of shape, spatial sizes, broadcasting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from .. import receptive_field
from ..receptive_field import Paths, UnfollowedError, View
from .nodes import NodeCall, OperatorError, Shape, Tensor

__all__ = ["along", "behind_channels", "broadcast", "followed", "lost", "moved", "of_parts", "spatial_shape", "spread"]


def followed(view: View | None, follow: Callable[[View], View]) -> View | None:
    """Follow fields through a stage, as far as that goes."""
    if view is None or view.paths is None:
        return view
    try:
        return follow(view)
    except UnfollowedError as error:
        return replace(view, paths=None, lost=f"receptive field not followed: {error}")


def along(view: View | None, each: Callable[[Paths, int], Paths]) -> View | None:
    """Follow fields axis by axis; `each` gets the paths of an axis and its number."""

    def follow(view: View) -> View:
        assert view.paths is not None
        return replace(view, paths=tuple(each(paths, number) for number, paths in enumerate(view.paths)))

    return followed(view, follow)


def lost(view: View | None, why: str) -> View | None:
    """Return a view whose fields are followed no further."""
    return view and replace(view, paths=None, lost=view.lost or f"receptive field not followed: {why}")


def behind_channels(call: NodeCall, shape: Shape) -> View | None:
    """Return the view of an input whose spatial axes stand behind batch and channels, as this operator has them."""
    view, axes = call.view, tuple(range(2, len(shape)))
    if view is not None and view.axes != axes:
        return View(axes, None, lost="receptive field not followed: axes have changed places")
    return view


def moved(view: View | None, places: Sequence[int | None]) -> View | None:
    """Return a view whose spatial axes have other places; none where one of them is gone."""
    if view is None:
        return None
    found = [places[axis] for axis in view.axes]
    if None in found:
        return None
    return replace(view, axes=tuple(place for place in found if place is not None))


def spatial_shape(call: NodeCall) -> tuple[Shape, Shape]:
    """Return the shape of the input and its spatial sizes, behind batch and channels."""
    shape = call.shape(0)
    if not 3 <= len(shape) <= 5:
        raise OperatorError(
            f"its input has shape {shape}, {len(shape)} axes; it must have 3 to 5: batch, channels and one to three "
            "spatial axes"
        )
    return shape, shape[2:]


def spread(padding: Any, dimensions: int) -> Any:
    """Take one pair for all axes."""
    one_pair = isinstance(padding, tuple) and len(padding) == 1 and isinstance(padding[0], tuple)
    return padding * dimensions if one_pair else padding


def broadcast(call: NodeCall, shapes: Sequence[Shape]) -> Shape:
    """Return the shape that tensors are broadcast to."""
    legacy = (
        call.node.opset < 7
        and len(shapes) == 2
        and (call.attribute("broadcast", 0) or call.attribute("axis") is not None)
    )
    if legacy:  # a part of the first shape, from `axis` on
        axis = call.attribute("axis", len(shapes[0]) - len(shapes[1]))
        behind = len(shapes[0]) - axis - len(shapes[1]) if axis >= 0 else -1
        if behind >= 0:
            shapes = [shapes[0], (*shapes[1], *(1,) * behind)]
    output: list[int] = []
    for place in range(1, max(map(len, shapes), default=0) + 1):
        sizes = {shape[-place] for shape in shapes if len(shape) >= place}
        larger = sizes - {1}
        if len(larger) > 1:
            told = " and ".join(map(str, dict.fromkeys(shapes)))
            raise OperatorError(
                f"its inputs have shapes {told}, which do not fit together: sizes "
                f"{' and '.join(map(str, sorted(larger)))} meet on axis {max(map(len, shapes)) - place}; make the "
                "branches equally large"
            )
        output.append(larger.pop() if larger else 1)
    return tuple(reversed(output))


def of_parts(parts: Sequence[Tensor], output: Shape) -> View | None:
    """Return the receptive fields of tensors that are broadcast to one shape."""
    placed: list[tuple[tuple[int, ...], Tensor]] = []
    for part in parts:
        if part.view is not None and part.shape is not None:
            added = len(output) - len(part.shape)
            placed.append((tuple(axis + added for axis in part.view.axes), part))
    full = [(axes, part) for axes, part in placed if tuple(output[axis] for axis in axes) == part.sizes]
    if not full:
        return None
    axes = full[0][0]
    views = []
    context = False
    for part in parts:
        mine = next((places for places, other in full if other is part), None)
        if mine is None:
            # Where it is one cell, every cell of the result depends on all that this cell depends on.
            spread = part.shape is not None and all(_size_at(part.shape, output, axis) == 1 for axis in axes)
            context = True
            if not spread and any(output[axis] > 1 for axis in axes):
                views.append(View(axes, None, lost="receptive field not followed: one input has other axes"))
        else:
            assert part.view is not None
            views.append(
                replace(part.view, axes=axes)
                if mine == axes
                else View(axes, None, lost="receptive field not followed: axes differ")
            )
    view = followed(replace(views[0], axes=axes), lambda _: receptive_field.merged(views))
    return view and replace(view, context=view.context or context)


def _size_at(shape: Shape, output: Shape, axis: int) -> int:
    place = axis - (len(output) - len(shape))
    return shape[place] if place >= 0 else 1
