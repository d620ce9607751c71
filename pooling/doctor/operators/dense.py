"""Products of matrices."""

from __future__ import annotations

import math

from .common import broadcast
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
    return Outcome("dense", [(rows, columns)], macs=rows * columns * inner)


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
    view = call.view
    weight = call.tensor(1)
    if view is not None and (len(a) - 1 in view.axes or len(output) != len(a) or weight is None or weight.source):
        view = None
    return Outcome("dense", [output], view, macs=math.prod(whole) * left[-1])
