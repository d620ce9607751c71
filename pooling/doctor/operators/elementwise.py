"""One element for each element, of one tensor or of several that are broadcast."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .common import broadcast, followed, mixed_along, of_parts
from .nodes import NodeCall, OperatorError, Outcome
from .registry import SMALL, Array, Fold, operator

OF_THE_WHOLE_MAP = {"GroupNormalization", "InstanceNormalization", "MeanVarianceNormalization"}
OF_AN_AXIS = {"Softmax", "LogSoftmax", "Hardmax", "LpNormalization"}
FROM_AN_AXIS_ON = {"LayerNormalization", "RMSNormalization"}
SINCE_ALONE = 13
"""The opset since which Softmax is about one axis; before, about all from it on."""
INTEGER_RESULT = {"QuantizeLinear": np.uint8, "DynamicQuantizeLinear": np.uint8, "IsNaN": np.bool_, "IsInf": np.bool_}
TRUTHS = {"And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Or", "Xor"}


def _unary(call: NodeCall) -> Outcome:
    shape, view, note = call.shape(0), call.view, ""
    together = _together(call, len(shape))
    if together:
        before, view = view, followed(view, lambda view: mixed_along(view, shape, together) or view)
        if call.operator in OF_THE_WHOLE_MAP and before is not None and before.paths:
            note = "its statistics are those of the whole map"
    dtypes: list[np.dtype[Any] | None] = []
    if call.operator in INTEGER_RESULT:
        dtypes = [np.dtype(INTEGER_RESULT[call.operator])]
    if call.operator == "DequantizeLinear":
        scale = call.tensor(1)
        dtypes = [scale.dtype if scale is not None else None]
    if call.operator == "DynamicQuantizeLinear":
        return Outcome(
            "elementwise", [shape, (), ()], view, dtypes=[np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.uint8)]
        )
    if call.operator == "Cast":
        dtypes = [call.attribute("dtype")]
    from_text = call.operator == "BatchNormalization" and len(call.tensors) == 1
    parameters = 2 * shape[1] if from_text and len(shape) > 1 else 0
    return Outcome("elementwise", [shape, shape], view, free_parameters=parameters, dtypes=dtypes, note=note)


def _together(call: NodeCall, rank: int) -> range | list[int]:
    """Return the axes along which elements have an influence on each other."""
    if call.operator in OF_THE_WHOLE_MAP:
        given = call.attribute("axes") if call.operator == "MeanVarianceNormalization" else None
        return range(2, rank) if given is None else call.axes(given, rank)
    if call.operator not in OF_AN_AXIS | FROM_AN_AXIS_ON or not rank:
        return []
    alone = call.operator in OF_AN_AXIS and (call.node.opset >= SINCE_ALONE or call.operator == "LpNormalization")
    axis = call.axis(int(call.attribute("axis", -1 if alone or call.operator in FROM_AN_AXIS_ON else 1)), rank)
    return [axis] if alone else range(axis, rank)


def _broadcast(call: NodeCall) -> Outcome:
    given = [(number, tensor) for number, tensor in enumerate(call.tensors) if tensor is not None]
    if not given:
        raise OperatorError("it has no inputs")
    shapes = [call.shape(number) for number, _ in given]
    output = broadcast(call, shapes)
    parts = [tensor for _, tensor in given if tensor.source]
    kind = "merge" if len(parts) > 1 else "elementwise"
    dtypes: list[np.dtype[Any] | None] = [given[-1][1].dtype] if call.operator == "Where" else []
    if call.operator in TRUTHS:
        dtypes = [np.dtype(np.bool_)]
    return Outcome(kind, [output], of_parts(parts, output), dtypes=dtypes)


# ---------------------------------------------------------------------------------------------------------------------
# The same of sizes, which NumPy works out


def _folded(function: Callable[..., Any]) -> Fold:
    def fold(call: NodeCall, values: list[Array]) -> Array:
        if math.prod(np.broadcast_shapes(*(value.shape for value in values))) > SMALL:
            raise ValueError
        return np.asarray(function(*values))

    return fold


def _divided(a: Array, b: Array) -> Array:
    if a.dtype.kind not in "iu":
        return np.asarray(a / b)
    return np.asarray(np.sign(a) * np.sign(b) * (abs(a) // abs(b))).astype(a.dtype)  # towards 0, as in C


def _of_all(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *values: function(np.broadcast_arrays(*values), 0)


# ---------------------------------------------------------------------------------------------------------------------
# The records

UNARY = """
    Acos Acosh Asin Asinh Atan Atanh BatchNormalization CastLike Celu Cos Cosh DequantizeLinear Dropout
    DynamicQuantizeLinear Elu Erf Exp Gelu GroupNormalization HardSigmoid HardSwish Hardmax InstanceNormalization IsInf
    IsNaN LRN LayerNormalization LeakyRelu Log LogSoftmax LpNormalization MeanVarianceNormalization Mish QuantizeLinear
    RMSNormalization Reciprocal Relu Selu Shrink Sigmoid Sin Sinh Softmax Softplus Softsign Swish Tan Tanh
    ThresholdedRelu Trilu
"""
BROADCAST = "BitShift BitwiseAnd BitwiseOr BitwiseXor Mean PRelu Sum"

operator(*UNARY.split())(_unary)


def _clipped(call: NodeCall, values: list[Array]) -> Array:
    limits: list[Any] = [call.attribute("min"), call.attribute("max")]
    for number, tensor in enumerate((call.tensor(1), call.tensor(2))):
        if tensor is not None and tensor.value is not None:
            limits[number] = tensor.value.item()
    result = values[0]
    if limits[0] is not None:
        result = np.maximum(result, np.asarray(limits[0], result.dtype))
    if limits[1] is not None:
        result = np.minimum(result, np.asarray(limits[1], result.dtype))
    return result


operator("Clip", fold=_clipped)(_unary)
operator("Cast", fold=lambda call, values: values[0].astype(call.attribute("dtype")))(_unary)
UNARY_OF_SIZES: dict[str, Callable[..., Any]] = {
    "Abs": np.abs,
    "Ceil": np.ceil,
    "Floor": np.floor,
    "Identity": np.asarray,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Round": np.round,
    "Sign": np.sign,
    "Sqrt": np.sqrt,
}
for _name, _function in UNARY_OF_SIZES.items():
    operator(_name, fold=_folded(_function))(_unary)

operator(*BROADCAST.split())(_broadcast)
BROADCAST_OF_SIZES: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "And": np.logical_and,
    "Div": _divided,
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Max": _of_all(np.max),
    "Min": _of_all(np.min),
    "Mul": np.multiply,
    "Or": np.logical_or,
    "Pow": lambda a, b: np.power(a, b).astype(a.dtype),
    "Sub": np.subtract,
    "Where": np.where,
    "Xor": np.logical_xor,
}
for _name, _function in BROADCAST_OF_SIZES.items():
    operator(_name, fold=_folded(_function))(_broadcast)


def _remainder(call: NodeCall, values: list[Array]) -> Array:
    return _folded(np.fmod if call.attribute("fmod", 0) else np.mod)(call, values)


operator("Mod", fold=_remainder)(_broadcast)
