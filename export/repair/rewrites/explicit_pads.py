"""Windows as explicit pads that every runtime accepts: ceil_mode, auto_pad, large pads, counted padding, dilations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from pooling.errors import Place
from pooling.onnx_models.graph import Names, Scope
from pooling.onnx_models.nodes import WINDOWED
from pooling.onnx_models.shapes import TensorType

from ...deployed import form_of_average, is_right, wrong_in
from .building import lowered_mean, pad_node, zeros_around
from .rewrite import FUNCTION, Arrays, Rewrite, SkippedError, copied, outputs_of, reference_of, title
from .windows import Sides, WindowAttributes

if TYPE_CHECKING:
    from ..records import RuleName

__all__ = ["divides_rightly", "resolve_windows"]


CEIL_SOURCES = "pytorch/pytorch#131272, onnx/onnx#5711, openvinotoolkit/openvino#22930"
COUNT_SOURCES = "pytorch/pytorch#183528, microsoft/onnxruntime#16203, openvinotoolkit/openvino#20553"
SAME_SOURCES = "microsoft/onnxruntime#20582, apache/tvm#20404"
EMPTY_SOURCES = "microsoft/onnxruntime#15446"
PADS_SOURCES = "microsoft/onnxruntime#801"
VALID_SOURCES = "microsoft/onnxruntime#10083"


def resolve_windows(
    scope: Scope, node: onnx.NodeProto, x: TensorType, names: Names, counts: dict[str, int]
) -> Rewrite | None:
    """Write windows as explicit pads that every runtime accepts."""
    if node.op_type not in WINDOWED:
        return None
    opset = scope.opset or 1
    where = Place(FUNCTION, f"{node.op_type} node {title(node)!r}")
    windows = WindowAttributes.of(node, opset)
    refused = any(max(pads) >= size for pads, size in zip(windows.pads, windows.kernel, strict=True))
    padding_only = node.op_type == "MaxPool" and windows.padding_only(x.shape, where)
    known = x.shape is not None and None not in x.shape[2:]
    explicit = windows.auto_pad == "NOTSET" and not windows.ceil_mode
    declared = [begin for begin, _ in windows.pads] + [end for _, end in windows.pads]
    misdivided = explicit and not divides_rightly(node, declared, windows, windows.counted, opset)
    if not (not explicit or windows.new or refused or (padding_only and known) or misdivided):
        return None
    if padding_only and len(windows.kernel) != 2:
        raise SkippedError(
            "some of its windows may hold padding alone, of which ONNX says nothing, and onnxruntime makes -3.4e38 of "
            "-inf alone unless there are two spatial axes"
        )
    reasons: list[str] = []
    sources: list[str] = []
    broken: list[RuleName] = []

    def because(name: RuleName, reason: str, source: str = "") -> None:
        broken.append(name)
        reasons.append(reason)
        if source and source not in sources:
            sources.append(source)

    checked_against_spec = False
    if misdivided:
        form = form_of_average(declared, counted=windows.counted, dilated=windows.dilated)
        because("count_include_pad", f"{wrong_in(form, opset)} divides such means by other numbers in opset {opset}.")
        checked_against_spec = True
    if windows.auto_pad != "NOTSET":
        checked_against_spec = windows.misread
        if windows.auto_pad.startswith("SAME") and windows.dilated:
            because("auto_pad", "onnxruntime leaves dilations out when it sizes the pads of SAME.", SAME_SOURCES)
        elif windows.misread:
            because("auto_pad", "onnxruntime pads by less than nothing where strides are larger than kernel_shape.")
        elif windows.auto_pad == "VALID" and windows.ceil_mode:
            because("auto_pad", "Some runtimes ignore ceil_mode where auto_pad is VALID.", VALID_SOURCES)
        else:
            because("auto_pad", "Runtimes do not agree on which side auto_pad puts the odd cell.", "onnx/onnx#4958")
    reference: Callable[..., Arrays]
    if windows.large:
        sides, reference = _large_sides(windows, node)
        checked_against_spec = True
    else:
        sides = windows.sides(x.shape, where, node.input[0])
        reference = reference_of(node)
    if windows.ceil_mode:
        because(
            "ceil_mode",
            "Runtimes and shape inference do not agree on ceil_mode: a window that starts behind the input counts "
            "below opset 22 by the text, and nowhere in onnxruntime; it is dropped, as opset 22 has it.",
            CEIL_SOURCES,
        )
    if windows.counted and windows.ceil_mode and any(side.overhang for side in sides):
        because("ceil_mode", "Of what ceil_mode touches, only declared padding counts as elements.", COUNT_SOURCES)
    if windows.new:
        because(windows.new[-1], f"{node.op_type} has no {' and no '.join(windows.new)} in opset {opset}.")
        checked_against_spec = True
    count = len(windows.kernel)
    zeros = [0] * count
    begin, end = [side.begin for side in sides], [side.end for side in sides]
    over = [side.overhang for side in sides]
    all_end = [side.end + side.overhang for side in sides]
    late = any(pad >= size for pad, size in zip([*begin, *all_end], windows.kernel * 2, strict=True))
    gathers = windows.dilated and "dilations" in windows.new
    if gathers and node.op_type != "AveragePool":
        raise SkippedError(f"{node.op_type} has no dilations in opset {opset}; convert the model to a newer opset")
    wide = any(pad >= size for pad, size in zip(over, windows.kernel, strict=True))
    gathers = gathers or (node.op_type == "AveragePool" and late and (wide or not windows.counted))
    pad_first = ((late or padding_only) and not gathers) or (windows.counted and any(over) and any([*begin, *end]))
    average = node.op_type == "AveragePool"
    counted = windows.counted and not any(over)
    # What is right in every released runtime, where the node alone is not.
    lowered = gathers or (
        average
        and known
        and not late
        and (pad_first or not divides_rightly(node, [*begin, *all_end], windows, counted, opset))
    )
    pad_first = pad_first or not divides_rightly(node, [*begin, *all_end], windows, counted, opset)
    if late:
        because("pads", "onnxruntime refuses pads that are not smaller than kernel_shape.", PADS_SOURCES)
        checked_against_spec = True
    elif padding_only:
        because("pads", "Of a window of padding alone onnxruntime makes -3.4e38, and others -inf.", EMPTY_SOURCES)
        checked_against_spec = True
    dropped = ["auto_pad", "ceil_mode", *windows.new]
    padded: tuple[int, ...] = ()
    if gathers and windows.large:
        raise SkippedError("its pads are not smaller than its windows, which are dilated; convert it to opset 19")
    if lowered:
        nodes = lowered_mean(node, x, opset, names)
    elif pad_first:
        if node.op_type == "MaxPool" and outputs_of(node) > 1:
            raise SkippedError("its pads must become a node of their own, where its Indices would count otherwise")
        pooled = [*zeros, *over]
        first = [*begin, *end]
        if wide or padding_only:
            pooled, first = [*zeros, *zeros], [*begin, *all_end]
        attributes: dict[str, Any] = {"pads": pooled}
        if windows.counted:
            attributes["count_include_pad"] = 0
        around = zeros_around if average else pad_node
        pad, tensor = around(node, node.input[0], first, x, opset, names)
        last = copied(node, dropped, **attributes)
        last.input[0] = tensor
        nodes = (*pad, last)
        padded = tuple(low + high for low, high in zip(first[:count], first[count:], strict=True))
    else:
        attributes = {"pads": [*begin, *all_end]}
        if windows.counted and any(over):
            attributes["count_include_pad"] = 0
        elif not any(attributes["pads"]) and "pads" not in {each.name for each in node.attribute}:
            attributes, dropped = {}, [*dropped, "pads"]
        nodes = (copied(node, dropped, **attributes),)
    exact = node.op_type == "MaxPool"
    return Rewrite(
        broken[0],
        " ".join(reasons),
        ", ".join(sources),
        nodes,
        reference,
        exact,
        checked_against_spec,
        input=node.input[0],
        padded=padded,
    )


def _large_sides(windows: WindowAttributes, node: onnx.NodeProto) -> tuple[tuple[Sides, ...], Callable[..., Arrays]]:
    """Take pads as declared; the padded input is what the windows lie on."""
    if windows.ceil_mode:
        raise SkippedError("it has ceil_mode, and pads that are not smaller than its windows")
    if node.op_type == "AveragePool" and not windows.counted:
        raise SkippedError("ONNX does not say what the mean of a window without any element is")
    inner = copied(node, ("pads",))
    answer = reference_of(inner)

    def reference(array: NDArray[Any]) -> Arrays:
        fill: Any = 0
        if node.op_type == "MaxPool":
            fill = -np.inf if array.dtype.kind not in "iu" else np.iinfo(array.dtype).min
        return answer(np.pad(array, [(0, 0), (0, 0), *windows.pads], constant_values=fill))

    return tuple(Sides(begin, end, 0) for begin, end in windows.pads), reference


def divides_rightly(
    node: onnx.NodeProto, pads: Sequence[int], windows: WindowAttributes, counted: bool, opset: int
) -> bool:
    """Whether every released onnxruntime divides a mean with these explicit pads by the right numbers."""
    return node.op_type != "AveragePool" or is_right(
        form_of_average(pads, counted=counted, dilated=windows.dilated), opset
    )
