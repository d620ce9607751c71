"""Products of matrices."""

from __future__ import annotations

import math

from .common import broadcast, product
from .nodes import NodeCall, OperatorError, Outcome
from .registry import operator


@operator("Gemm")
def _gemm(call: NodeCall) -> Outcome:
    if call.from_text:
        return _dense(call)
    a, b = call.shape(0), call.shape(1)
    if len(a) != 2 and call.node.opset < 7:
        a = (a[0], math.prod(a[1:]))  # early Caffe2 exports
    if len(a) != 2 or len(b) != 2:
        raise OperatorError(f"its inputs have shapes {a} and {b}; both must be matrices")
    rows, inner = reversed(a) if call.attribute("transA", 0) else a
    other, columns = reversed(b) if call.attribute("transB", 0) else b
    if inner != other:
        raise OperatorError(
            f"its input has {inner} features, but its weight is for {other}; the input of the network has another size "
            "than the one that the weight was made for"
        )
    left = ["rows", "inner"]
    parts = [
        (tensor, labels)
        for number, labels in enumerate([left[::-1] if call.attribute("transA", 0) else left, _right(call)])
        if (tensor := call.tensor(number)) is not None and tensor.source and len(tensor.shape or ()) == 2
    ]
    view = product(parts, ["rows", "columns"], {"rows": rows, "columns": columns})
    return Outcome("dense", [(rows, columns)], view, macs=rows * columns * inner)


def _right(call: NodeCall) -> list[str]:
    return ["columns", "inner"] if call.attribute("transB", 0) else ["inner", "columns"]


def _dense(call: NodeCall) -> Outcome:
    """Flatten and multiply, as a list of layers as text has it."""
    shape = call.shape(0)
    inner, columns = math.prod(shape[1:]), int(call.attribute("out_channels"))
    return Outcome(
        "dense",
        [(shape[0], columns)],
        macs=shape[0] * columns * inner,
        free_parameters=(inner + 1) * columns,
    )


@operator("MatMul", "MatMulInteger", "QLinearMatMul")
def _matmul(call: NodeCall) -> Outcome:
    a, b = call.shape(0), call.shape(3 if call.operator == "QLinearMatMul" else 1)
    if not a or not b:
        raise OperatorError(f"its inputs have shapes {a} and {b}; none may be a scalar")
    left = a if len(a) > 1 else (1, *a)
    right = b if len(b) > 1 else (*b, 1)
    if left[-1] != right[-2]:
        raise OperatorError(
            f"its inputs have shapes {a} and {b}: {left[-1]} columns meet {right[-2]} rows; make them equal"
        )
    batch = broadcast(call, [left[:-2], right[:-2]])
    whole = (*batch, left[-2], right[-1])
    output = (*batch, *([left[-2]] if len(a) > 1 else []), *([right[-1]] if len(b) > 1 else []))
    number = 3 if call.operator == "QLinearMatMul" else 1
    common = list(range(-len(batch), 0))
    rows = ["rows"] if len(a) > 1 else []
    columns = ["columns"] if len(b) > 1 else []
    labels = [
        [*common[len(common) - len(a) + 2 :], *rows, "inner"] if len(a) > 1 else ["inner"],
        [*common[len(common) - len(b) + 2 :], "inner", *columns] if len(b) > 1 else ["inner"],
    ]
    parts = [
        (tensor, names)
        for tensor, names in zip((call.tensor(0), call.tensor(number)), labels, strict=True)
        if tensor is not None and tensor.source
    ]
    view = product(parts, [*common, *rows, *columns], {"rows": left[-2], "columns": right[-1]})
    return Outcome("dense", [output], view, macs=math.prod(whole) * left[-1])
