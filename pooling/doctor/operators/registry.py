"""The table of operators: one record for each, by its name in ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..receptive_field import View
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
    known = _known(call)
    if known is not None:
        found = _worked_out(call, record, known)
        if found is not None:
            return Outcome("size", [value.shape for value in found], values=found)
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


def _known(call: NodeCall) -> list[Array] | None:
    """Return the values of all inputs; None where one has none, or where there is data in one."""
    given = [tensor for tensor in call.tensors if tensor is not None]
    values = [tensor.value for tensor in given if tensor.value is not None and not tensor.source]
    return values if len(values) == len(given) and call.operator not in NOT_FOLDED else None


NOT_FOLDED = frozenset(["Shape", "Size", "ConstantOfShape"])
"""Operators whose own rules are enough."""


def _worked_out(call: NodeCall, record: OnnxOperator | None, known: list[Array]) -> Sequence[Array] | None:
    """Work out a node whose inputs have values, by the rule of its operator or by whoever read it."""
    if record is not None and record.fold is not None and known:
        try:
            with np.errstate(all="ignore"):
                result = record.fold(call, known)
        except Exception:  # whatever NumPy makes of a wrong model: then the value stays unknown
            return None
        return [result] if result.size <= SMALL else None
    if call.node.evaluate is None:
        return None
    return call.node.evaluate([None if tensor is None else tensor.value for tensor in call.tensors])


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
    view = View((), None, lost=f"receptive field not followed: {call.operator} was passed over")
    return Outcome("unknown", shapes, view, dtypes=[dtype for _, dtype in found], note=note)
