"""Control flow that the size of the input does not decide; `pooling.doctor.network.control` follows what it does."""

from __future__ import annotations

from ..receptive_field import View
from .nodes import NodeCall, Outcome
from .registry import operator

WHY = {
    "If": "which of its branches runs depends on the data",
    "Loop": "how often it runs depends on the data, or is too often to follow",
    "Scan": "its rounds are not followed",
}


@operator("If", "Loop", "Scan")
def _control(call: NodeCall) -> Outcome:
    found = call.node.infer(call.tensors) if call.node.infer is not None else []
    shapes = [shape for shape, _ in found] or [None for _ in call.node.outputs]
    known = bool(shapes) and shapes[0] is not None
    why = WHY[call.operator]
    told = "its shape is known, fields and cost are not" if known else "its shape is not known"
    view = View((), None, lost=f"receptive field not followed: {why}")
    return Outcome("unknown", shapes, view, dtypes=[dtype for _, dtype in found], note=f"passed over: {why}; {told}")
