"""Sizes as numbers: what a model works out from the shapes of tensors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .nodes import NodeCall, OperatorError, Outcome, UnknownShapeError
from .registry import OPERATORS, SMALL, Array, OnnxOperator, operator


@operator("Shape", "Size")
def _sizes(call: NodeCall) -> Outcome:
    shape = call.shape(0)
    if call.operator == "Size":
        value: NDArray[Any] = np.asarray(math.prod(shape), np.int64)
    else:
        value = np.asarray(shape[slice(call.attribute("start", 0), call.attribute("end"))], np.int64)
    return Outcome("size", [value.shape], values=[value])


@operator("ConstantOfShape")
def _constant_of_shape(call: NodeCall) -> Outcome:
    wanted = call.value(0)
    fill = call.attribute("value")
    filled = np.zeros(1, np.float32) if fill is None else np.asarray(fill).ravel()[:1]
    shape = tuple(wanted or ())
    if min(shape, default=0) < 0:
        raise OperatorError(f"it makes a tensor of shape {shape}; sizes must not be negative")
    small = math.prod(shape) <= SMALL and filled.dtype.kind in "iub"
    values = [np.full(shape, filled[0])] if small else []
    return Outcome("size", [shape], dtypes=[filled.dtype], values=values)


def _ranged(call: NodeCall, values: list[Array]) -> Array:
    start, stop, step = (value.item() for value in values)
    if step == 0 or math.ceil((stop - start) / step) > SMALL:
        raise ValueError
    return np.arange(start, stop, step).astype(values[0].dtype)


def _range(call: NodeCall) -> Outcome:
    given = [tensor for tensor in call.tensors if tensor is not None]
    if any(tensor.source for tensor in given):
        why = "how many elements Range gives depends on the data, not on the size of the input"
        return Outcome("unknown", [None], note=f"passed over: {why}; its shape is not known")
    values = [tensor.value for tensor in given if tensor.value is not None]
    if len(values) < 3:
        raise UnknownShapeError(
            next(name for name, each in zip(call.node.inputs, given, strict=True) if each.value is None)
        )
    start, stop, step = (value.item() for value in values)
    if step == 0:
        raise OperatorError("its delta is 0; it must be another number")
    return Outcome("size", [(max(0, math.ceil((stop - start) / step)),)], dtypes=[values[0].dtype])


OPERATORS["Range"] = OnnxOperator("Range", _range, _ranged)
