"""What only torch has: rules for operators of ATen that no operator of ONNX stands for.

Their shapes are those that torch gives, so that a rule here says what kind of step it is, and what the result shows of
the input. Torch itself is not imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pooling.errors import refusal_of
from pooling.geometry import window_count

from ..receptive_field import UnfollowedError, View
from .common import broadcast, followed, lost, mixed_along, of_parts, written
from .nodes import NodeCall, OperatorError, Outcome, Rule, Shape, UnknownShapeError
from .places import turned, unfolded
from .registry import LAYER, OPERATORS
from .slice_pad import cropped, gathered

__all__ = [
    "as_torch_has_it",
    "dense",
    "flipped",
    "looked_up",
    "overwritten",
    "rearranged",
    "recurrent",
    "rolled",
    "same_cells",
    "side_by_side",
    "unfollowed",
    "unknown",
]

DTypes = Sequence[np.dtype[Any] | None]


def as_torch_has_it(operator: str, rule: Rule | None, shapes: Sequence[Shape], dtypes: DTypes) -> Rule:
    """Return a rule whose shapes and types are those of torch; where it has others, the stage is unknown."""

    def checked(call: NodeCall) -> Outcome:
        used = rule
        record = OPERATORS.get(operator) or (OPERATORS[LAYER] if call.node.layer is not None else None)
        if used is None and record is not None:
            used = record.infer
        if used is None:
            return unknown(f"{operator} is not known here", shapes, dtypes)(call)
        try:
            found = used(call)
        except (OperatorError, UnknownShapeError, ValueError, TypeError) as error:
            return unknown(f"{operator} is not known in this form ({refusal_of(error).reason})", shapes, dtypes)(call)
        if shapes and (not found.shapes or found.shapes[0] != shapes[0]):
            why = f"{operator} is not known in this form (torch gives {shapes[0]})"
            return unknown(why, shapes, dtypes)(call)
        return replace(found, shapes=list(shapes), dtypes=list(dtypes))

    return checked


def unknown(why: str, shapes: Sequence[Shape | None], dtypes: DTypes) -> Rule:
    """Return the rule of what is passed over; of its shapes, those that are known."""

    def passed_over(call: NodeCall) -> Outcome:
        known = bool(shapes) and shapes[0] is not None
        behind = "its shape is that of torch, fields and cost are not counted" if known else "nor is its shape"
        return Outcome("unknown", shapes, dtypes=dtypes, note=f"passed over: {why}; {behind}")

    return passed_over


def _map(call: NodeCall) -> View | None:
    """Return the view of the first input that is a map."""
    views = (tensor.view for tensor in call.tensors if tensor is not None and tensor.source)
    return next((view for view in views if view is not None and view.axes), None)


def _without_map(call: NodeCall, why: str) -> View | None:
    """Return what a result shows where no input is a map: places in lists of them are lost."""
    views = [tensor.view for tensor in call.tensors if tensor is not None and tensor.source]
    listed = next((view for view in views if view is not None and (view.layout or view.paths is None)), None)
    if listed is not None:
        return lost(listed, why)
    return views[0] if views and all(view is not None for view in views) else None


def same_cells(shapes: Sequence[Shape] | None = None, kind: str = "elementwise", *, mixed: Sequence[int] = ()) -> Rule:
    """Return the rule of what works cell by cell; along the `mixed` axes, each cell depends on all.

    Without `shapes`, they are those that the inputs are broadcast to.
    """

    def rule(call: NodeCall) -> Outcome:
        parts = [tensor for tensor in call.tensors if tensor is not None and tensor.source]
        found = shapes
        if found is None:
            found = [
                broadcast(call, [call.shape(place) for place, each in enumerate(call.tensors) if each is not None])
            ]
        view = of_parts([tensor for tensor in parts if tensor.shape is not None], found[0])
        if view is not None and mixed and shapes is not None:
            view = mixed_along(view, shapes[0], mixed)
        return Outcome("merge" if kind == "elementwise" and len(parts) > 1 else kind, found, view)

    return rule


def rearranged(shapes: Sequence[Shape], why: str, touched: Sequence[int] | None = None, kind: str = "reshape") -> Rule:
    """Return the rule of what moves cells; fields are lost if one of the `touched` axes, or any, is spatial."""

    def rule(call: NodeCall) -> Outcome:
        view = _map(call)
        if view is None:
            view = _without_map(call, why)
        else:
            stays = touched is not None and not set(touched).intersection(view.axes)
            fits = max(view.axes) < len(shapes[0])
            same = fits and tuple(shapes[0][axis] for axis in view.axes) == _sizes(call, view)
            # Where the axes are gone, the places of the map are in a list, in an order that nobody follows.
            gone = View((), None, lost=f"receptive field not followed: {why}")
            view = view if stays and same else (lost(view, why) if fits else gone)
        return Outcome(kind, shapes, view)

    return rule


def _sizes(call: NodeCall, view: View) -> Shape:
    tensor = next(each for each in call.tensors if each is not None and each.source and each.view is view)
    return tensor.sizes


def rolled(shifts: Sequence[int], axes: Sequence[int]) -> Rule:
    """Return the rule of a tensor whose cells move along axes, those at the end to the beginning."""

    def rule(call: NodeCall) -> Outcome:
        shape = call.shape(0)

        def follow(view: View) -> View:
            for shift, axis in zip(shifts, axes, strict=True):
                view = turned(view, shape, axis, shift) or view
            return view

        return Outcome("reshape", [shape], followed(call.view, follow))

    return rule


def flipped(axes: Sequence[int]) -> Rule:
    """Return the rule of a tensor whose elements are turned around along axes."""

    def rule(call: NodeCall) -> Outcome:
        shape = call.shape(0)
        parts = [slice(None, None, -1 if axis in axes else 1) for axis in range(len(shape))]
        return Outcome("reshape", [shape], cropped(call.view, shape, parts))

    return rule


def side_by_side(axis: int, size: int, stride: int) -> Rule:
    """Return the rule of windows along an axis, whose cells become a new axis at the end."""

    def rule(call: NodeCall) -> Outcome:
        shape = call.shape(0)
        if shape[axis] < size:
            raise OperatorError(f"size={size} is more than the {shape[axis]} cells of axis {axis} of its input {shape}")
        output = (*shape[:axis], window_count(shape[axis], size, stride), *shape[axis + 1 :], size)
        try:
            view = unfolded(call.view, shape, axis, size, stride)
        except UnfollowedError as error:
            view = lost(call.view and replace(call.view, axes=()), str(error))
        return Outcome("reshape", [output], view)

    return rule


def unfollowed(shapes: Sequence[Shape], why: str, kind: str) -> Rule:
    """Return the rule of a map whose cells read where data says."""

    def rule(call: NodeCall) -> Outcome:
        view = _map(call)
        if view is None:
            return Outcome(kind, shapes, _without_map(call, why))
        return Outcome(kind, shapes, lost(view, why) if max(view.axes) < len(shapes[0]) else None)

    return rule


def looked_up(shapes: Sequence[Shape], removed: int, added: int, kind: str = "slice") -> Rule:
    """Return the rule of entries along one axis, which becomes so many axes."""

    def rule(call: NodeCall) -> Outcome:
        indices = shapes[0][removed : removed + added]
        return Outcome(kind, shapes, gathered(call.view, call.tensor(1), call.shape(0), removed, indices))

    return rule


def dense(shapes: Sequence[Shape], macs: int) -> Rule:
    """Return the rule of products that torch has as one operator."""
    return lambda call: Outcome("dense", shapes, macs=macs)


def recurrent(shapes: Sequence[Shape], sequence: int, macs: int) -> Rule:
    """Return the rule of a recurrent layer, whose cells depend on all before them."""

    def rule(call: NodeCall) -> Outcome:
        view = call.view
        if view is not None and view.paths != ():
            view = mixed_along(view, call.shape(0), [sequence]) if view.axes == (sequence,) else None
        return Outcome("dense", shapes, view, macs=macs)

    return rule


def overwritten(shape: Shape, span: tuple[int, range] | None = None) -> Rule:
    """Return the rule of a tensor of which a part is written anew: what was there, and what is put there.

    Parameters
    ----------
    shape : tuple of int
        Of the tensor.
    span : pair, optional
        The axis, and the elements of it that are written.
    """

    def rule(call: NodeCall) -> Outcome:
        parts = [tensor for tensor in call.tensors if tensor is not None and tensor.source]
        view = _map(call)
        whole = [part for part in parts if part.shape is not None and len(part.shape) == len(shape)]
        aligned = (
            view is not None
            and len(whole) == len(parts)
            and max(view.axes) < len(shape)
            and all(
                part.view is not None
                and part.view.axes == view.axes
                and part.sizes == tuple(shape[axis] for axis in view.axes)
                for part in whole
            )
        )
        if span is not None and not aligned:
            found = written(call.tensor(0), call.tensor(1), dict([span]))
            if found is not None:
                return Outcome("merge", [shape], found)
        if view is None:
            return Outcome("merge", [shape], _without_map(call, "a part of it is written anew"))
        if not aligned:
            gone = max(view.axes) >= len(shape)
            return Outcome("merge", [shape], None if gone else lost(view, "a part of the map is written anew"))
        merged = of_parts([replace(part, shape=_with(part.shape or (), shape, view)) for part in whole], shape)
        return Outcome("merge", [shape], merged)

    return rule


def _with(shape: Shape, whole: Shape, view: View) -> Shape:
    return tuple(size if axis in view.axes else whole[axis] for axis, size in enumerate(shape))
