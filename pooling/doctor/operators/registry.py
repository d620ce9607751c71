"""The table of operators: one record for each, by its name in ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .nodes import NodeCall, OperatorError, Outcome, Shape, UnknownShapeError

__all__ = ["LAYER", "OPERATORS", "SMALL", "Array", "OnnxOperator", "operator", "outcome_of"]

Array = NDArray[Any]
Infer = Callable[[NodeCall], Outcome]
Fold = Callable[[NodeCall, list[Array]], Array]

SMALL = 1024
"""Elements up to which values are kept: no tensor has more axes than that."""
LAYER = "layer"
"""The record of layers of this package that no operator of ONNX stands for."""


@dataclass(frozen=True)
class OnnxOperator:
    """All that the doctor knows of an operator.

    Attributes
    ----------
    name : str
        In ONNX.
    infer : callable, optional
        Gives shapes, windows, receptive fields and multiply-adds of a call; None for an operator that works on sizes
        only.
    fold : callable, optional
        Gives the result for inputs whose values are known: the arithmetic by which a model works out sizes.
    settable : bool
        Whether it has windows whose arguments can be changed.
    """

    name: str
    infer: Infer | None = None
    fold: Fold | None = None
    settable: bool = False


OPERATORS: dict[str, OnnxOperator] = {}


def operator(*names: str, fold: Fold | None = None, settable: bool = False) -> Callable[[Infer], Infer]:
    """Enter the records of operators that share a function."""

    def enter(infer: Infer) -> Infer:
        OPERATORS.update({name: OnnxOperator(name, infer, fold, settable) for name in names})
        return infer

    return enter


def outcome_of(call: NodeCall) -> Outcome:
    """Apply the record of a node's operator; without one, or where it lacks a shape, ask whoever read the node."""
    if call.node.rule is not None:
        return call.node.rule(call)
    record = OPERATORS.get(call.operator)
    if record is not None and record.fold is not None:
        values = _folded(record.fold, call)
        if values is not None:
            return Outcome("size", [values.shape], values=[values])
    if record is None and call.node.layer is not None:
        record = OPERATORS[LAYER]
    if record is None or record.infer is None or not call.node.known:
        record = None
    if call.node.changes and (record is None or not record.settable):
        raise OperatorError(f"{call.operator} has no {next(iter(call.node.changes))}; it has nothing that can be set")
    missing = ""
    if record is not None and record.infer is not None:
        try:
            return record.infer(call)
        except UnknownShapeError as error:
            missing = error.tensor
    return _passed_over(call, missing)


def _folded(fold: Fold, call: NodeCall) -> Array | None:
    """Work out a node whose inputs have values; None where they have none, or where it cannot be done."""
    values = [tensor.value for tensor in call.tensors if tensor is not None]
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values) or any(tensor is not None and tensor.source for tensor in call.tensors):
        return None
    try:
        with np.errstate(all="ignore"):
            result = fold(call, known)
    except Exception:  # whatever NumPy makes of a wrong model: then the value stays unknown
        return None
    return result if result.size <= SMALL else None


def _passed_over(call: NodeCall, missing: str) -> Outcome:
    found: Sequence[tuple[Shape | None, np.dtype[Any] | None]] = []
    if call.node.infer is not None:
        found = call.node.infer(call.tensors)
    known = bool(found) and found[0][0] is not None
    why = f"the value or shape of {missing!r} is not known" if missing else f"{call.operator} is not known here"
    note = f"passed over: {why}; " + (
        "its shape is that of ONNX shape inference, fields and cost are not counted" if known else "nor is its shape"
    )
    shapes = [shape for shape, _ in found] or [None for _ in call.node.outputs]
    return Outcome("unknown", shapes, dtypes=[dtype for _, dtype in found], note=note)
