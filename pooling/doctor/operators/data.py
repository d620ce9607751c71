"""Elements chosen by their number or their value, and results whose size depends on the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..receptive_field import View
from .common import followed, lost, mixed_along, moved, written
from .nodes import NodeCall, OperatorError, Outcome, Shape
from .places import is_map, layout_of
from .registry import SMALL, Array, operator

INT64 = np.dtype(np.int64)


@operator("NonZero", "NonMaxSuppression", "Unique", "Compress", "StringSplit")
def _of_unknown_size(call: NodeCall) -> Outcome:
    """Return nothing but the reason: how many elements come out is known only when the network runs."""
    why = f"how many elements {call.operator} gives depends on the data, not on the size of the input"
    view = View((), None, lost=f"receptive field not followed: {why}")
    return Outcome(
        "unknown", [None for _ in call.node.outputs], view, note=f"passed over: {why}; its shape is not known"
    )


def _has_places(view: View | None, shape: Shape, axis: int) -> bool:
    return view is not None and is_map(view) and bool(layout_of(view, shape)[axis].factors)


@operator("GatherND")
def _gather_nd(call: NodeCall) -> Outcome:
    shape, indices = call.shape(0), call.shape(1)
    batch = int(call.attribute("batch_dims", 0))
    depth = indices[-1] if indices else 0
    if not indices or batch + depth > len(shape) or batch >= len(indices):
        raise OperatorError(
            f"its indices of shape {indices} name {depth} axes behind {batch} of its input {shape}; they must not be "
            f"more than it has"
        )
    output = (*indices[:-1], *shape[batch + depth :])
    view, index = call.view, call.tensor(1)
    if is_map(view) and any(_has_places(view, shape, axis) for axis in range(batch, batch + depth)):
        # Fixed places of the map, as where a resampling is written out: no cell has a place of its own any more.
        fixed = index is not None and not index.source
        return Outcome(
            "slice", [output], None if fixed else lost(view and replace(view, axes=()), "it takes places that are data")
        )
    added = len(indices) - 1 - batch
    places: list[int | None] = [
        axis if axis < batch else None if axis < batch + depth else axis - depth + added for axis in range(len(shape))
    ]
    return Outcome("slice", [output], moved(view, places, shape, len(output)))


@operator("GatherElements")
def _gather_elements(call: NodeCall) -> Outcome:
    shape, indices, view = call.shape(0), call.shape(1), call.view
    axis = call.axis(int(call.attribute("axis", 0)), len(shape))
    if len(indices) != len(shape):
        raise OperatorError(f"its indices {indices} must have as many axes as its input {shape}")
    kept = all(each == mine for place, (each, mine) in enumerate(zip(shape, indices, strict=True)) if place != axis)
    if is_map(view) and (not kept or _has_places(view, shape, axis)):
        view = lost(view, "it takes places by their numbers")
    return Outcome("slice", [indices], view)


@operator("ScatterND", "ScatterElements", "Scatter")
def _scattered(call: NodeCall) -> Outcome:
    shape, view = call.shape(0), call.view
    into, updates = call.tensor(0), call.tensor(2)
    if updates is not None and updates.source:
        same = into is not None and updates.shape == shape and updates.view == view
        spans = _spans(call, shape)
        found = written(into, updates, spans) if spans is not None else None
        if found is not None:
            view = found
        elif not same:
            view = lost(view or View((), None), "it writes data to places by their numbers")
    return Outcome("merge", [shape], view)


def _spans(call: NodeCall, shape: Shape) -> dict[int, range] | None:
    """Return the elements of the first axes that a ScatterND writes; None where it does not write a slice."""
    index, updates = call.tensor(1), call.tensor(2)
    if call.operator != "ScatterND" or call.attribute("reduction", "none") not in ("none", b"none"):
        return None
    if index is None or index.value is None or not index.value.size or updates is None or updates.shape is None:
        return None
    numbers, depth = index.value, index.value.shape[-1]
    if numbers.ndim != depth + 1 or len(updates.shape) != len(shape) or numbers.min() < 0:
        return None
    spans = [
        range(first, first + count)
        for first, count in zip(numbers.reshape(-1, depth)[0].tolist(), numbers.shape, strict=False)
    ]
    grid = np.stack(np.meshgrid(*spans, indexing="ij"), -1)
    return dict(enumerate(spans)) if (numbers == grid).all() else None


@operator("TopK")
def _top(call: NodeCall) -> Outcome:
    shape, view = call.shape(0), call.view
    axis = call.axis(int(call.attribute("axis", -1)), len(shape))
    wanted = call.value(1) if call.node.opset >= 10 else [int(call.attribute("k", 1))]
    if not wanted or not 0 <= wanted[0] <= shape[axis]:
        raise OperatorError(f"k={wanted} must be from 0 to {shape[axis]}, the size of axis {axis} of its input {shape}")
    output = (*shape[:axis], wanted[0], *shape[axis + 1 :])
    view = None if _has_places(view, shape, axis) else view
    tensor = call.tensor(0)
    return Outcome("slice", [output, output], view, dtypes=[tensor.dtype if tensor else None, INT64])


def _one_hot_value(call: NodeCall, values: list[Array]) -> Array:
    indices, depth, (off, on) = values[0], int(values[1].item()), values[2]
    if indices.size * depth > SMALL:
        raise ValueError
    axis = call.axis(int(call.attribute("axis", -1)), indices.ndim + 1)
    numbers = np.arange(depth).reshape([-1 if place == axis else 1 for place in range(indices.ndim + 1)])
    chosen = np.where(indices < 0, indices + depth, indices)
    return np.asarray(np.where(np.expand_dims(chosen, axis) == numbers, on, off))


@operator("OneHot", fold=_one_hot_value)
def _one_hot(call: NodeCall) -> Outcome:
    shape, depth, values = call.shape(0), call.value(1), call.tensor(2)
    axis = call.axis(int(call.attribute("axis", -1)), len(shape) + 1)
    if not depth or depth[0] < 1:
        raise OperatorError(f"depth={depth} must be at least 1")
    places: list[int | None] = [place + (place >= axis) for place in range(len(shape))]
    output = (*shape[:axis], depth[0], *shape[axis:])
    view = moved(call.view, places, shape, len(output))
    return Outcome("elementwise", [output], view, dtypes=[values.dtype if values is not None else None])


@operator("CumSum")
def _summed_up(call: NodeCall) -> Outcome:
    shape, axis = call.shape(0), call.value(1)
    axes = call.axes(axis or [0], len(shape))
    return Outcome("elementwise", [shape], followed(call.view, lambda view: mixed_along(view, shape, axes) or view))


@operator("ReverseSequence")
def _reversed(call: NodeCall) -> Outcome:
    shape, view = call.shape(0), call.view
    axis = call.axis(int(call.attribute("time_axis", 0)), len(shape))
    return Outcome(
        "elementwise", [shape], lost(view, "it turns sequences around") if _has_places(view, shape, axis) else view
    )


@operator("GridSample")
def _grid_sample(call: NodeCall) -> Outcome:
    shape, grid = call.shape(0), call.shape(1)
    if len(grid) != len(shape) or grid[-1] != len(shape) - 2:
        raise OperatorError(
            f"its grid {grid} must hold {len(shape) - 2} coordinates for each cell of {len(shape)} axes"
        )
    view = View((), None, lost="receptive field not followed: it samples the map at places that are data")
    return Outcome("resize", [(*shape[:2], *grid[1:-1])], view)


@operator("AffineGrid")
def _affine_grid(call: NodeCall) -> Outcome:
    size = call.value(1) or []
    return Outcome("elementwise", [(size[0], *size[2:], len(size) - 2)])


@operator("Multinomial")
def _multinomial(call: NodeCall) -> Outcome:
    shape = call.shape(0)
    dtype = np.dtype(np.int64 if call.attribute("dtype", 6) == 7 else np.int32)
    return Outcome("elementwise", [(shape[0], int(call.attribute("sample_size", 1)))], None, dtypes=[dtype])


@operator("Bernoulli", "RandomNormalLike", "RandomUniformLike", "EyeLike")
def _like(call: NodeCall) -> Outcome:
    return Outcome("elementwise", [call.shape(0)], call.view if call.operator == "Bernoulli" else View((), ()))


GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@operator("LSTM", "GRU", "RNN")
def _recurrent(call: NodeCall) -> Outcome:
    shape, weight, recurrence = call.shape(0), call.shape(1), call.shape(2)
    if len(shape) != 3 or len(weight) != 3 or len(recurrence) != 3:
        raise OperatorError(f"its input {shape} and its weights {weight} and {recurrence} must have 3 axes")
    batch_first = bool(call.attribute("layout", 0))
    steps, batch = (shape[1], shape[0]) if batch_first else shape[:2]
    directions, hidden = weight[0], recurrence[2]
    if weight[2] != shape[2]:
        raise OperatorError(f"its input {shape} has {shape[2]} features, but its weight {weight} is for {weight[2]}")
    if batch_first:
        output: Shape = (batch, steps, directions, hidden)
        last: Shape = (batch, directions, hidden)
        places: list[int | None] = [0, 1, None]
    else:
        output, last, places = (steps, directions, batch, hidden), (directions, batch, hidden), [0, 2, None]
    view = moved(call.view, places, shape, 4)
    if view is not None and view.paths:
        view = replace(view, context=True)  # from step to step
    macs = steps * batch * directions * GATES[call.operator] * hidden * (shape[2] + hidden)
    return Outcome("dense", [output, last, last], view, macs=macs, views=[view, None, None])
