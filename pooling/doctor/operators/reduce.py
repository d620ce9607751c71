"""One number of all along some axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import pooling
from pooling import geometry

from .. import receptive_field
from ..receptive_field import UnfollowedError
from .common import along, lost, moved
from .nodes import NodeCall, Outcome, Shape
from .places import coarsened
from .registry import Array, Fold, operator
from .reshape import fold_axes


def _reduce(call: NodeCall) -> Outcome:
    shape, view = call.shape(0), call.view
    given = call.value(1, "axes")
    if given is None or (not given and not call.attribute("noop_with_empty_axes", 0)):
        given = list(range(len(shape)))
    axes = set(call.axes(given, len(shape)))
    if call.attribute("keepdims", 1):
        output = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
        places: list[int | None] = list(range(len(shape)))
    else:
        kept = [axis for axis in range(len(shape)) if axis not in axes]
        output = tuple(shape[axis] for axis in kept)
        places = [kept.index(axis) if axis in kept else None for axis in range(len(shape))]
    if view is None or not view.paths or axes.isdisjoint(view.axes):
        return _reduced(call, shape, output, axes, places)
    if axes != set(view.axes) and not set(view.axes).issubset(axes):
        return _profile(call, shape, output, axes, places)
    windows = geometry.global_axes([shape[axis] for axis in view.axes], function=call.operator)
    known = {"ReduceMean": "GlobalAvgPool", "ReduceMax": "GlobalMaxPool"}.get(call.operator)
    layer = None
    if known is not None and len(view.axes) == len(shape) - 2:
        layouts = {tuple(range(2, len(shape))): "channels_first", tuple(range(1, len(shape) - 1)): "channels_last"}
        if view.axes in layouts:
            layer = getattr(pooling, f"{known}{len(view.axes)}d")(layout=layouts[view.axes])
    seen = along(view, lambda paths, i: receptive_field.windows(paths, windows[i]))
    return Outcome("global", [output], moved(seen, places, shape, len(output)), windows, layer)


def _reduced(call: NodeCall, shape: Shape, output: Shape, axes: set[int], places: list[int | None]) -> Outcome:
    """Return what becomes of a tensor whose spatial axes do not stand alone, or are not reduced."""
    view = call.view
    if view is None or not view.paths:
        return Outcome("elementwise", [output], moved(view, places, shape))
    if not view.layout or not any(view.layout[axis].factors for axis in axes):
        return Outcome("elementwise", [output], moved(view, places, shape, len(output)))
    try:
        found, taken = coarsened(view, shape, axes)
    except UnfollowedError as error:
        return Outcome("reshape", [output], lost(replace(view, axes=()), str(error)))
    if found is None:
        return Outcome("global", [output], None, geometry.global_axes(list(view.grid), function=call.operator))
    rest = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    windows = geometry.pool_axes(list(view.grid), taken, taken, function=call.operator)
    return Outcome("pooling", [output], moved(found, places, rest, len(output)), windows)


def _profile(call: NodeCall, shape: Shape, output: Shape, axes: set[int], places: list[int | None]) -> Outcome:
    """Return what becomes of a map of which some of the spatial axes become one cell, as in coordinate attention."""
    view = call.view
    assert view is not None
    if len(output) < len(shape):
        return Outcome("reshape", [output], lost(replace(view, axes=()), "it reduces some of the spatial axes"))
    windows = geometry.global_axes([shape[axis] for axis in view.axes], function=call.operator)
    seen = along(view, lambda paths, i: receptive_field.windows(paths, windows[i]) if view.axes[i] in axes else paths)
    return Outcome("reshape", [output], seen)


def _folded(function: Callable[..., Any]) -> Fold:
    def fold(call: NodeCall, values: list[Array]) -> Array:
        keepdims = bool(call.attribute("keepdims", 1))
        axes = fold_axes(call, values)
        if not axes:
            if call.attribute("noop_with_empty_axes", 0):
                return values[0]
            axes = None
        result = np.asarray(function(values[0], axis=axes, keepdims=keepdims))
        return result.astype(values[0].dtype)

    return fold


for _name in ("L1", "L2", "LogSum", "LogSumExp", "SumSquare"):
    operator(f"Reduce{_name}")(_reduce)


def _mean(array: Array, **arguments: Any) -> Any:
    total = np.sum(array, **arguments)
    count = array.size // max(1, np.size(total))
    return total / count if array.dtype.kind == "f" else total // count


OF_SIZES: dict[str, Callable[..., Any]] = {"Max": np.max, "Mean": _mean, "Min": np.min, "Prod": np.prod, "Sum": np.sum}
for _name, _function in OF_SIZES.items():
    operator(f"Reduce{_name}", fold=_folded(_function))(_reduce)


@operator("ArgMax", "ArgMin")
def _arg(call: NodeCall) -> Outcome:
    shape = call.shape(0)
    axis = call.axis(int(call.attribute("axis", 0)), len(shape))
    kept = [1] if call.attribute("keepdims", 1) else []
    view = call.view
    places: list[int | None] = [place - (place > axis and not kept) for place in range(len(shape))]
    output = (*shape[:axis], *kept, *shape[axis + 1 :])
    if not kept:
        places[axis] = None
    view = None if view is not None and axis in view.axes else moved(view, places, shape, len(output))
    return Outcome("elementwise", [output], view, dtypes=[np.dtype(np.int64)])
