"""Sizes that a model works out by itself: arithmetic on small tensors that no data is in."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .nodes import Call, RuleError, Shape

__all__ = ["FOLDED", "SMALL", "fold", "slices"]

Array = NDArray[Any]
SMALL = 1024
"""Elements up to which values are kept: nobody has more axes than that."""


def _divided(a: Array, b: Array) -> Array:
    if a.dtype.kind not in "iu":
        return np.asarray(a / b)
    return np.asarray(np.sign(a) * np.sign(b) * (abs(a) // abs(b))).astype(a.dtype)  # towards 0, as in C


def _axes(call: Call, values: list[Array]) -> tuple[int, ...] | None:
    if len(values) > 1:
        return tuple(int(each) for each in values[1].ravel())
    given = call.attribute("axes")
    return None if given is None else tuple(given)


def _squeezed(call: Call, values: list[Array]) -> Array:
    return np.squeeze(values[0], _axes(call, values))


def _unsqueezed(call: Call, values: list[Array]) -> Array:
    return np.expand_dims(values[0], _axes(call, values) or ())


def _sliced(call: Call, values: list[Array]) -> Array:
    return values[0][tuple(slices(call, values[0].shape))]


def _reshaped(call: Call, values: list[Array]) -> Array:
    wanted = values[1] if len(values) > 1 else call.attribute("shape")
    sizes = [int(size) for size in np.asarray(wanted).ravel()]
    if not call.attribute("allowzero", 0):
        sizes = [values[0].shape[place] if size == 0 else size for place, size in enumerate(sizes)]
    return values[0].reshape(sizes)


def _reduced(function: Callable[..., Any]) -> Callable[[Call, list[Array]], Array]:
    def reduce(call: Call, values: list[Array]) -> Array:
        axes = _axes(call, values)
        return np.asarray(function(values[0], axis=axes, keepdims=bool(call.attribute("keepdims", 1))))

    return reduce


def _cast(call: Call, values: list[Array]) -> Array:
    return values[0].astype(call.attribute("dtype"))


def _ranged(call: Call, values: list[Array]) -> Array:
    start, stop, step = (value.item() for value in values)
    if step == 0 or math.ceil((stop - start) / step) > SMALL:
        raise ValueError
    return np.arange(start, stop, step).astype(values[0].dtype)


def _expanded(call: Call, values: list[Array]) -> Array:
    shape = np.broadcast_shapes(values[0].shape, tuple(int(size) for size in values[1].ravel()))
    return np.broadcast_to(values[0], shape)


def _each(function: Callable[..., Any]) -> Callable[[Call, list[Array]], Array]:
    def together(call: Call, values: list[Array]) -> Array:
        if math.prod(np.broadcast_shapes(*(value.shape for value in values))) > SMALL:
            raise ValueError
        return np.asarray(function(*values))

    return together


FOLDED: dict[str, Callable[[Call, list[Array]], Array]] = {
    "Abs": _each(np.abs),
    "Add": _each(np.add),
    "And": _each(np.logical_and),
    "Cast": _cast,
    "Ceil": _each(np.ceil),
    "Concat": lambda call, values: np.concatenate(values, call.attribute("axis", 1)),
    "Div": _each(_divided),
    "Equal": _each(np.equal),
    "Expand": _expanded,
    "Floor": _each(np.floor),
    "Gather": lambda call, values: np.take(values[0], values[1], call.attribute("axis", 0)),
    "Greater": _each(np.greater),
    "Identity": _each(np.asarray),
    "Less": _each(np.less),
    "Max": _each(lambda *values: np.max(np.broadcast_arrays(*values), 0)),
    "Min": _each(lambda *values: np.min(np.broadcast_arrays(*values), 0)),
    "Mod": _each(np.mod),
    "Mul": _each(np.multiply),
    "Neg": _each(np.negative),
    "Not": _each(np.logical_not),
    "Or": _each(np.logical_or),
    "Pow": _each(np.power),
    "Range": _ranged,
    "ReduceMax": _reduced(np.max),
    "ReduceMin": _reduced(np.min),
    "ReduceProd": _reduced(np.prod),
    "ReduceSum": _reduced(np.sum),
    "Reshape": _reshaped,
    "Round": _each(np.round),
    "Slice": _sliced,
    "Sqrt": _each(np.sqrt),
    "Squeeze": _squeezed,
    "Sub": _each(np.subtract),
    "Transpose": lambda call, values: np.transpose(values[0], call.attribute("perm")),
    "Unsqueeze": _unsqueezed,
    "Where": _each(np.where),
}
"""By operator, what it makes of values."""


def fold(call: Call) -> list[Array] | None:
    """Work out a node whose inputs have values; None where they have none, or where it cannot be done."""
    values = [tensor.value for tensor in call.tensors if tensor is not None]
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    try:
        with np.errstate(all="ignore"):
            result = FOLDED[call.operator](call, known)
    except Exception:  # whatever NumPy makes of a wrong model: then the value stays unknown
        return None
    return [result] if result.size <= SMALL else None


def slices(call: Call, shape: Shape) -> list[slice]:
    """Return what a Slice keeps of each axis."""
    starts, ends = call.value(1, "starts"), call.value(2, "ends")
    if starts is None or ends is None:
        raise RuleError("it has no starts or no ends")
    axes = call.value(3, "axes")
    axes = list(range(len(starts))) if axes is None else axes
    steps = call.value(4)
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise RuleError(f"starts={starts}, ends={ends}, axes={axes} and steps={steps} must be equally long")
    parts = [slice(0, size, 1) for size in shape]
    for start, end, axis, step in zip(starts, ends, call.axes(axes, len(shape)), steps, strict=True):
        if step == 0:
            raise RuleError(f"steps={steps} must not have a 0")
        parts[axis] = slice(start, end, step)
    return parts
