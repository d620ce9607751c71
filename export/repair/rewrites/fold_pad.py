"""A Pad in front of a pooling becomes the padding of the pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from pooling.onnx_models.constants import constant
from pooling.onnx_models.graph import Names, Scope, attribute, is_default
from pooling.onnx_models.shapes import TensorType

from ...deployed import form_behind_zeros, form_of_average, is_right, wrong_in
from .building import lowered_mean, zeros_around
from .explicit_pads import divides_rightly
from .rewrite import Arrays, Rewrite, copied, outputs_of, reference_of
from .windows import WindowAttributes

__all__ = ["fold_pad"]


NOT_NEGATIVE = frozenset(["Relu", "Sigmoid", "HardSigmoid", "Softmax", "Softplus", "Abs", "Exp", "Sqrt"])
"""Operators that give neither a negative number nor -inf, whatever they are given."""
PAD_SOURCES = "pytorch/pytorch#71362"


def fold_pad(scope: Scope, node: onnx.NodeProto, x: TensorType, names: Names, counts: dict[str, int]) -> Rewrite | None:
    """Let a pooling do itself what a Pad in front of it does."""
    if node.op_type not in ("MaxPool", "AveragePool") or outputs_of(node) > 1:
        return None
    opset = scope.opset or 1
    pad = scope.producer(node.input[0])
    if pad is None or pad.op_type != "Pad" or not is_default(pad.domain) or counts.get(node.input[0], 0) > 1:
        return None
    if opset < 7 or any(each.ref_attr_name for each in (*pad.attribute, *node.attribute)):
        return None
    windows = WindowAttributes.of(node, opset)
    plain = windows.auto_pad == "NOTSET" and not windows.ceil_mode and not windows.new
    found = _padding(scope, pad, len(windows.kernel))
    if not plain or found is None:
        return None
    spatial, value = found
    total = tuple((begin + more[0], end + more[1]) for (begin, end), more in zip(windows.pads, spatial, strict=True))
    if node.op_type == "AveragePool" and value == 0:
        return _fold_zeros(scope, node, pad, x, names, windows, spatial, total)
    if any(max(pads) >= size for pads, size in zip(total, windows.kernel, strict=True)):
        return None
    flat = [begin for begin, _ in total] + [end for _, end in total]
    before = scope.producer(pad.input[0])
    # Of -inf alone onnxruntime makes -3.4e38 where there are pads, so -inf must not come about.
    real = x.dtype is not None and x.dtype.kind == "f"
    if node.op_type != "MaxPool" or value > 0 or windows.dilated:
        return None
    if before is None or not real or not _gives_no_negative(scope, before):
        return None
    reason = (
        f"Its input comes from {before.op_type}, so the {value:g} of the Pad never wins against an element: it is "
        "padding, which the operator has itself."
    )
    folded = copied(node, (), pads=flat)
    folded.input[0] = pad.input[0]
    return Rewrite(
        "pad",
        reason,
        PAD_SOURCES,
        (folded,),
        _behind_pad(node, spatial, value),
        exact=True,
        absorbed=(pad,),
        input=pad.input[0],
        grown=tuple(map(sum, spatial)),
        not_negative=True,
        optional=True,
    )


def _behind_pad(node: onnx.NodeProto, spatial: Sequence[tuple[int, int]], value: float) -> Callable[..., Arrays]:
    """Answer a node behind a Pad as the text has both."""
    pooled = reference_of(node)
    widths = [(0, 0), (0, 0), *spatial]
    return lambda array: pooled(np.pad(array, widths, constant_values=value))


def _fold_zeros(
    scope: Scope,
    node: onnx.NodeProto,
    pad: onnx.NodeProto,
    x: TensorType,
    names: Names,
    windows: WindowAttributes,
    spatial: Sequence[tuple[int, int]],
    total: Sequence[tuple[int, int]],
) -> Rewrite | None:
    """Let a mean count a Pad with zeros as padding; where no node says that rightly everywhere, use another form."""
    opset = scope.opset or 1
    own = any(map(any, windows.pads))
    counts = windows.counted or not own
    held = all(max(pads) < size for pads, size in zip(total, windows.kernel, strict=True))
    fits = counts and held
    flat = [begin for begin, _ in total] + [end for _, end in total]
    declared = [begin for begin, _ in windows.pads] + [end for _, end in windows.pads]
    average = form_of_average(declared, counted=windows.counted, dilated=windows.dilated)
    form = form_behind_zeros(average, wider=not held)
    grown = tuple(map(sum, spatial))
    before = (
        x
        if x.shape is None
        else TensorType(
            x.dtype,
            (
                *x.shape[:2],
                *(None if size is None else size - more for size, more in zip(x.shape[2:], grown, strict=True)),
            ),
        )
    )
    merged = copied(node, (), pads=flat, count_include_pad=1)
    merged.input[0] = pad.input[0]
    nodes: tuple[onnx.NodeProto, ...]
    reason = "A Pad with zeros is padding that counts, which the operator has itself since opset 7."
    if fits and divides_rightly(node, flat, windows, True, opset):
        nodes = (merged,)
    elif is_right(form, opset):
        return None
    else:
        reason = f"{wrong_in(form, opset)} makes one node of a Pad and a mean, and divides wrongly or refuses it."
        if fits and before.shape is not None and None not in before.shape[2:]:
            nodes = lowered_mean(merged, before, opset, names)
        else:
            sides = [begin for begin, _ in spatial] + [end for _, end in spatial]
            zeros, tensor = zeros_around(node, pad.input[0], sides, before, opset, names)
            last = copied(node)
            last.input[0] = tensor
            nodes = (*zeros, last)
    # Padding and pooling are one loop or two, with sums in the same order or not.
    return Rewrite(
        "pad",
        reason,
        PAD_SOURCES,
        nodes,
        _behind_pad(node, spatial, 0.0),
        exact=False,
        absorbed=(pad,),
        input=pad.input[0],
        grown=grown,
        optional=True,
    )


def _gives_no_negative(scope: Scope, node: onnx.NodeProto) -> bool:
    """Whether a node gives neither a negative number nor -inf, whatever it is given."""
    if not is_default(node.domain) or any(each.ref_attr_name for each in node.attribute):
        return False
    if node.op_type == "Clip":
        least: Any = attribute(node, "min")
        if len(node.input) > 1 and node.input[1]:
            least = constant(scope, node.input[1])
        return least is not None and float(least) >= 0
    return node.op_type in NOT_NEGATIVE


def _padding(scope: Scope, pad: onnx.NodeProto, count: int) -> tuple[tuple[tuple[int, int], ...], float] | None:
    """Read pads on the spatial axes and the value of a Pad; None where it is anything else, or not known."""
    if attribute(pad, "mode", b"constant") != b"constant" or (len(pad.input) > 3 and pad.input[3]):
        return None
    given = attribute(pad, "pads", attribute(pad, "paddings"))
    value: Any = attribute(pad, "value", 0.0)
    if len(pad.input) > 1:
        given = constant(scope, pad.input[1])
        if len(pad.input) > 2 and pad.input[2]:
            held = constant(scope, pad.input[2])
            value = None if held is None or held.size != 1 else held.item()
    if given is None or value is None or len(given) != 2 * (count + 2):
        return None
    flat = [int(each) for each in given]
    begins, ends = flat[: count + 2], flat[count + 2 :]
    if min(flat) < 0 or any([*begins[:2], *ends[:2]]) or isinstance(value, (complex, str, bytes)):
        return None
    return tuple(zip(begins[2:], ends[2:], strict=True)), float(value)
