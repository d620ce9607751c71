"""What is rewritten, into what, and why: each rule takes one node and gives the nodes that take its place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from pooling import geometry
from pooling.arguments import axis_names
from pooling.geometry import Axis
from pooling.onnx_models import function_from_node, layer_from_node
from pooling.onnx_models.constants import constant
from pooling.onnx_models.graph import Names, Scope, attribute, is_default
from pooling.onnx_models.nodes import AUTO_PAD, checked_attributes
from pooling.onnx_models.shapes import Tensor

from ..builder import Graph
from ..deployed import form_behind_zeros, form_of_average, is_right, wrong_in
from ..lowering.extremes import HIGHEST, Keys, global_max_pool, ranked_maxima
from ..lowering.indices import numbered
from ..lowering.means import MANY_TAPS, avg_pool
from ..lowering.special import Ranked
from ..stages import Order, Stage

if TYPE_CHECKING:
    from .records import RuleName

__all__ = ["REWRITES", "WINDOWED", "Rewrite", "UnsettledError", "explicit_windows", "is_misread", "settle_special"]

FUNCTION = "make_portable"
WINDOWED = ("MaxPool", "AveragePool", "LpPool")
"""The operators with windows that slide."""
NEWEST = 22
"""The opset whose text says what is kept: windows of ceil_mode that start behind the input are none."""
NOT_NEGATIVE = frozenset(["Relu", "Sigmoid", "HardSigmoid", "Softmax", "Softplus", "Abs", "Exp", "Sqrt"])
"""Operators that give neither a negative number nor -inf, whatever they are given."""
Arrays = tuple[NDArray[Any], ...]

CEIL_SOURCES = "pytorch/pytorch#131272, onnx/onnx#5711, openvinotoolkit/openvino#22930"
COUNT_SOURCES = "pytorch/pytorch#183528, microsoft/onnxruntime#16203, openvinotoolkit/openvino#20553"
SAME_SOURCES = "microsoft/onnxruntime#20582, apache/tvm#20404"
HOLLOW_SOURCES = "microsoft/onnxruntime#15446"
PADS_SOURCES = "microsoft/onnxruntime#801"
PAD_SOURCES = "pytorch/pytorch#71362"
VALID_SOURCES = "microsoft/onnxruntime#10083"


class UnsettledError(Exception):
    """Why a node stays as it is, in one sentence."""


@dataclass(frozen=True)
class Rewrite:
    """What a rule makes of a node.

    Attributes
    ----------
    rule : str
        Its name.
    reason : str
        What was wrong with the node.
    source : str
        Where that is discussed.
    nodes : tuple of onnx.NodeProto
        What takes the place of the node, in order.
    reference : callable
        What the node computes by the text of ONNX: takes an array, returns one for each output.
    exact : bool
        Whether no number is rounded otherwise than before.
    by_text : bool
        Whether onnxruntime is known to answer the original node otherwise than the text.
    absorbed : tuple of onnx.NodeProto
        Other nodes whose work is done now.
    input : str
        The tensor that `reference` and `nodes` take.
    grown : tuple of int
        By how many cells the first input of the node is larger than that tensor, for each spatial axis.
    not_negative : bool
        Whether the tensor holds no negative numbers.
    padded : tuple of int
        By how many cells what the new pooling takes is larger than that tensor.
    optional : bool
        Whether the node is right as it stands, so that the rewrite can be left out.
    special : bool
        Whether the nodes are right for NaN and infinities as well.
    """

    rule: RuleName
    reason: str
    source: str
    nodes: tuple[onnx.NodeProto, ...]
    reference: Callable[[NDArray[Any]], Arrays]
    exact: bool
    by_text: bool = False
    absorbed: tuple[onnx.NodeProto, ...] = ()
    input: str = ""
    grown: tuple[int, ...] = ()
    not_negative: bool = False
    padded: tuple[int, ...] = ()
    optional: bool = False
    special: bool = False


Rule = Callable[[Scope, onnx.NodeProto, Tensor, Names, dict[str, int]], Rewrite | None]


def _copied(node: onnx.NodeProto, dropped: Sequence[str] = (), **attributes: Any) -> onnx.NodeProto:
    """Copy a node, without some attributes and with others."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    kept = [each for each in node.attribute if each.name not in dropped and each.name not in attributes]
    del copy.attribute[:]
    copy.attribute.extend(kept)
    copy.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    return copy


def _title(node: onnx.NodeProto) -> str:
    return str(node.name or next(iter(node.output), node.op_type))


def _outputs(node: onnx.NodeProto) -> int:
    return len(node.output) if node.output[-1] else len(node.output) - 1


def _as_text_has_it(node: onnx.NodeProto) -> Callable[..., Arrays]:
    """Answer a node as the newest text has it."""
    return function_from_node(node, NEWEST, function=FUNCTION)


# ---------------------------------------------------------------------------------------------------------------------
# Windows


ADDED_LATER: tuple[RuleName, ...] = ("ceil_mode", "dilations")
"""Attributes that operators did not have from the beginning."""


@dataclass(frozen=True)
class _Side:
    """Pads of one axis: declared, and what ceil_mode touches beyond them."""

    begin: int
    end: int
    overhang: int


@dataclass(frozen=True)
class _Windows:
    """The attributes of a node with windows, after checking."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    auto_pad: str
    ceil_mode: bool
    counted: bool
    new: tuple[RuleName, ...]
    """Attributes that the operator has in later opsets only."""

    @classmethod
    def of(cls, node: onnx.NodeProto, opset: int) -> _Windows:
        words = {each.name for each in node.attribute}
        schema: Any = onnx.defs.get_schema(node.op_type, opset, "")
        new = tuple(name for name in ADDED_LATER if name in words - set(schema.attributes))
        found = checked_attributes(FUNCTION, node, NEWEST if new else opset)
        count = len(found["kernel_shape"])
        pads = tuple(found.get("pads", (0,) * 2 * count))
        auto_pad = found.get("auto_pad", "NOTSET")
        if auto_pad != "NOTSET":
            pads = (0,) * 2 * count if "pads" not in found or auto_pad == "VALID" else pads
        return cls(
            tuple(found["kernel_shape"]),
            tuple(found.get("strides", (1,) * count)),
            tuple(found.get("dilations", (1,) * count)),
            tuple(zip(pads[:count], pads[count:], strict=True)),
            auto_pad,
            bool(found.get("ceil_mode", 0)),
            bool(found.get("count_include_pad", 0)),
            new,
        )

    @property
    def effective(self) -> tuple[int, ...]:
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def dilated(self) -> bool:
        return max(self.dilation) > 1

    @property
    def large(self) -> bool:
        """Whether some declared pad is not smaller than its window, so that some windows hold padding only."""
        return self.auto_pad == "NOTSET" and any(
            max(pads) >= size for pads, size in zip(self.pads, self.effective, strict=True)
        )

    def axes(self, sizes: Sequence[int | None], where: str) -> tuple[Axis, ...]:
        """Lay the windows over axes; nothing where not all sizes are known."""
        known = tuple(size for size in sizes if size is not None)
        if len(known) < len(sizes):
            return ()
        padding = AUTO_PAD.get(self.auto_pad, self.pads)
        try:
            return geometry.pool_axes(
                known, self.kernel, self.stride, padding, self.dilation, self.ceil_mode, function=where
            )
        except ValueError as error:
            raise _unplaced(where, error) from error

    @property
    def misread(self) -> bool:
        """Whether onnxruntime finds other pads for auto_pad than the text has."""
        steps = zip(self.stride, self.effective, strict=True)
        return self.auto_pad.startswith("SAME") and (self.dilated or any(step > size for step, size in steps))

    def hollow(self, shape: Sequence[int | None] | None, where: str) -> bool:
        """Whether pads or dilation make windows of padding alone; where sizes are not known, whether they may."""
        if self.large:
            return True
        if not self.dilated:
            return False
        count = len(self.kernel)
        axes = self.axes(shape[2:], where) if shape is not None and len(shape) == count + 2 else ()
        if axes:
            return any(bool((axis.taps() < 0).all(1).any()) for axis in axes)
        return self.auto_pad.startswith("SAME") or self.ceil_mode or any(map(any, self.pads))

    def side(self, number: int, size: int | None, where: str) -> _Side:
        """Find the pads of an axis; where its size is not known, those that are right for every size."""
        kernel, stride, dilation = self.kernel[number], self.stride[number], self.dilation[number]
        effective = self.effective[number]
        begin, end = self.pads[number]
        if size is not None:
            padding = AUTO_PAD.get(self.auto_pad, ((begin, end),))
            try:
                (axis,) = geometry.pool_axes(
                    (size,), (kernel,), (stride,), padding, (dilation,), self.ceil_mode, function=where
                )
            except ValueError as error:
                raise _unplaced(where, error) from error
            return _Side(axis.pad_begin, axis.pad_end, axis.ceil_overhang)
        if self.auto_pad.startswith("SAME"):
            if stride > 1 and effective > 1:
                raise UnsettledError(f"how {self.auto_pad} pads depends on the size")
            total = effective - 1
            less, more = total // 2, total - total // 2
            return _Side(less, more, 0) if self.auto_pad == "SAME_UPPER" else _Side(more, less, 0)
        if not self.ceil_mode or stride == 1:
            return _Side(begin, end, 0)
        if end + stride > effective:
            # With less, no window can start behind the input, so that dividing up is adding stride - 1 cells.
            raise UnsettledError("whether ceil_mode adds a window depends on the size")
        return _Side(begin, end, stride - 1)

    def sides(self, shape: Sequence[int | None] | None, where: str, tensor: str) -> tuple[_Side, ...]:
        """Find the pads of all axes."""
        sizes = (None,) * len(self.kernel) if shape is None else tuple(shape[2:])
        if shape is not None and len(sizes) != len(self.kernel):
            remedy = "give one integer per spatial axis"
            if len(self.kernel) == len(shape) - 1:
                remedy = "ONNX pools batches, and it has no batch axis: put an Unsqueeze in front"
            raise ValueError(
                f"{where}: kernel_shape={list(self.kernel)} is for {len(self.kernel)} spatial axes, but its input "
                f"{tensor!r} has {max(len(shape) - 2, 0)}; {remedy}"
            )
        axes = self.axes(sizes, where)
        if axes:
            return tuple(_Side(axis.pad_begin, axis.pad_end, axis.ceil_overhang) for axis in axes)
        found = []
        for number, size in enumerate(sizes):
            try:
                found.append(self.side(number, size, where))
            except UnsettledError as error:
                axis = axis_names(len(self.kernel))[number]
                raise UnsettledError(f"{error} of {tensor!r} on axis {axis}, which is not known") from None
        return tuple(found)


def _unplaced(where: str, error: ValueError) -> UnsettledError:
    """Say that windows find no place in an input, of which runtimes make nothing, something or an error."""
    return UnsettledError(str(error).removeprefix(f"{where}: "))


def explicit_windows(node: onnx.NodeProto, opset: int, shape: Sequence[int | None] | None) -> onnx.NodeProto | None:
    """Return a node that has the shape which a node with windows has, as shape inference of every opset finds it.

    None where shape inference needs no help, or cannot be helped.
    """
    if node.op_type not in WINDOWED:
        return None
    try:
        windows = _Windows.of(node, opset)
        if not windows.ceil_mode and not windows.new:
            return None
        sides = windows.sides(shape, FUNCTION, "")
    except (ValueError, UnsettledError):
        return None
    pads = [side.begin for side in sides] + [side.end + side.overhang for side in sides]
    words: dict[str, Any] = {"kernel_shape": windows.kernel, "strides": windows.stride, "pads": pads}
    if windows.dilated:
        words["dilations"] = windows.dilation
    operator = "MaxPool" if windows.dilated else node.op_type  # it has dilations where others have none
    return helper.make_node(operator, node.input[:1], node.output[:1], node.name, **words)


def is_misread(node: onnx.NodeProto, opset: int) -> bool:
    """Whether onnxruntime is known to answer a node otherwise than the text."""
    if node.op_type not in WINDOWED or any(each.ref_attr_name for each in node.attribute):
        return False
    return _Windows.of(node, opset).misread


def resolve_windows(
    scope: Scope, node: onnx.NodeProto, x: Tensor, names: Names, counts: dict[str, int]
) -> Rewrite | None:
    """Write windows as explicit pads that every runtime accepts."""
    if node.op_type not in WINDOWED:
        return None
    opset = scope.opset or 1
    where = f"{FUNCTION}: {node.op_type} node {_title(node)!r}"
    windows = _Windows.of(node, opset)
    refused = any(max(pads) >= size for pads, size in zip(windows.pads, windows.kernel, strict=True))
    hollow = node.op_type == "MaxPool" and windows.hollow(x.shape, where)
    known = x.shape is not None and None not in x.shape[2:]
    explicit = windows.auto_pad == "NOTSET" and not windows.ceil_mode
    declared = [begin for begin, _ in windows.pads] + [end for _, end in windows.pads]
    misdivided = explicit and not _divides_rightly(node, declared, windows, windows.counted, opset)
    if not (not explicit or windows.new or refused or (hollow and known) or misdivided):
        return None
    if hollow and len(windows.kernel) != 2:
        raise UnsettledError(
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

    by_text = False
    if misdivided:
        form = form_of_average(declared, counted=windows.counted, dilated=windows.dilated)
        because("count_include_pad", f"{wrong_in(form, opset)} divides such means by other numbers in opset {opset}.")
        by_text = True
    if windows.auto_pad != "NOTSET":
        by_text = windows.misread
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
        by_text = True
    else:
        sides = windows.sides(x.shape, where, node.input[0])
        reference = _as_text_has_it(node)
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
        by_text = True
    count = len(windows.kernel)
    zeros = [0] * count
    begin, end = [side.begin for side in sides], [side.end for side in sides]
    over = [side.overhang for side in sides]
    all_end = [side.end + side.overhang for side in sides]
    late = any(pad >= size for pad, size in zip([*begin, *all_end], windows.kernel * 2, strict=True))
    gathers = windows.dilated and "dilations" in windows.new
    if gathers and node.op_type != "AveragePool":
        raise UnsettledError(f"{node.op_type} has no dilations in opset {opset}; convert the model to a newer opset")
    wide = any(pad >= size for pad, size in zip(over, windows.kernel, strict=True))
    gathers = gathers or (node.op_type == "AveragePool" and late and (wide or not windows.counted))
    pad_first = ((late or hollow) and not gathers) or (windows.counted and any(over) and any([*begin, *end]))
    average = node.op_type == "AveragePool"
    counted = windows.counted and not any(over)
    # What is right in every released runtime, where the node alone is not.
    lowered = gathers or (
        average
        and known
        and not late
        and (pad_first or not _divides_rightly(node, [*begin, *all_end], windows, counted, opset))
    )
    pad_first = pad_first or not _divides_rightly(node, [*begin, *all_end], windows, counted, opset)
    if late:
        because("pads", "onnxruntime refuses pads that are not smaller than kernel_shape.", PADS_SOURCES)
        by_text = True
    elif hollow:
        because("pads", "Of a window of padding alone onnxruntime makes -3.4e38, and others -inf.", HOLLOW_SOURCES)
        by_text = True
    dropped = ["auto_pad", "ceil_mode", *windows.new]
    padded: tuple[int, ...] = ()
    if gathers and windows.large:
        raise UnsettledError("its pads are not smaller than its windows, which are dilated; convert it to opset 19")
    if lowered:
        nodes = _lowered_mean(node, x, opset, names)
    elif pad_first:
        if node.op_type == "MaxPool" and _outputs(node) > 1:
            raise UnsettledError("its pads must become a node of their own, where its Indices would count otherwise")
        pooled = [*zeros, *over]
        first = [*begin, *end]
        if wide or hollow:
            pooled, first = [*zeros, *zeros], [*begin, *all_end]
        attributes: dict[str, Any] = {"pads": pooled}
        if windows.counted:
            attributes["count_include_pad"] = 0
        around = _zeros_around if average else _pad_node
        pad, tensor = around(node, node.input[0], first, x, opset, names)
        last = _copied(node, dropped, **attributes)
        last.input[0] = tensor
        nodes = (*pad, last)
        padded = tuple(low + high for low, high in zip(first[:count], first[count:], strict=True))
    else:
        attributes = {"pads": [*begin, *all_end]}
        if windows.counted and any(over):
            attributes["count_include_pad"] = 0
        elif not any(attributes["pads"]) and "pads" not in {each.name for each in node.attribute}:
            attributes, dropped = {}, [*dropped, "pads"]
        nodes = (_copied(node, dropped, **attributes),)
    exact = node.op_type == "MaxPool"
    return Rewrite(
        broken[0],
        " ".join(reasons),
        ", ".join(sources),
        nodes,
        reference,
        exact,
        by_text,
        input=node.input[0],
        padded=padded,
    )


def _large_sides(windows: _Windows, node: onnx.NodeProto) -> tuple[tuple[_Side, ...], Callable[..., Arrays]]:
    """Take pads as declared; the padded input is what the windows lie on."""
    if windows.ceil_mode:
        raise UnsettledError("it has ceil_mode, and pads that are not smaller than its windows")
    if node.op_type == "AveragePool" and not windows.counted:
        raise UnsettledError("ONNX does not say what the mean of a window without any element is")
    inner = _copied(node, ("pads",))
    answer = _as_text_has_it(inner)

    def reference(array: NDArray[Any]) -> Arrays:
        fill: Any = 0
        if node.op_type == "MaxPool":
            fill = -np.inf if array.dtype.kind not in "iu" else np.iinfo(array.dtype).min
        return answer(np.pad(array, [(0, 0), (0, 0), *windows.pads], constant_values=fill))

    return tuple(_Side(begin, end, 0) for begin, end in windows.pads), reference


def _divides_rightly(node: onnx.NodeProto, pads: Sequence[int], windows: _Windows, counted: bool, opset: int) -> bool:
    """Whether every released onnxruntime divides a mean with these explicit pads by the right numbers."""
    return node.op_type != "AveragePool" or is_right(
        form_of_average(pads, counted=counted, dilated=windows.dilated), opset
    )


def _zeros_around(
    node: onnx.NodeProto, tensor: str, pads: Sequence[int], x: Tensor, opset: int, names: Names
) -> tuple[tuple[onnx.NodeProto, ...], str]:
    """Put zeros around a tensor by Concat, and name the result.

    Of a Pad in front of a mean some releases of onnxruntime make one wrong node when they optimise the model.
    """
    if x.dtype is None:
        raise UnsettledError(f"the type of {tensor!r} is not known, which the zeros around it must have")
    dtype = x.dtype
    count = len(pads) // 2
    sizes: list[int | None] = [None] * (count + 2) if x.shape is None else list(x.shape)
    graph = Graph(opset)
    graph.scope = _title(node)
    result = graph.input(tensor, dtype, ())

    def zeros(axis: int, number: int) -> NDArray[Any] | str:
        known = [number if place == axis else size for place, size in enumerate(sizes)]
        block = [size for size in known if size is not None]
        if len(block) == len(known) and math.prod(block) <= MANY_TAPS:
            return np.zeros(block, dtype)
        of_result = graph("Shape", result)
        cut: list[NDArray[Any] | str] = [
            graph("Slice", of_result, starts=[begin], ends=[end], axes=[0])
            for begin, end in ((0, axis), (axis + 1, count + 2))
            if begin < end
        ]
        cut.insert(1, np.array([number], np.int64))
        zero = onnx.numpy_helper.from_array(np.zeros(1, dtype))
        return graph("ConstantOfShape", graph("Concat", *cut, axis=0), value=zero)

    try:
        for axis, (begin, end) in enumerate(zip(pads[:count], pads[count:], strict=True), start=2):
            blocks: list[NDArray[Any] | str] = [result]
            if begin:
                blocks.insert(0, zeros(axis, begin))
            if end:
                blocks.append(zeros(axis, end) if end != begin else blocks[0])
            if len(blocks) > 1:
                result = graph("Concat", *blocks, axis=axis)
                size = sizes[axis]
                sizes[axis] = None if size is None else size + begin + end
    except ValueError as error:
        raise UnsettledError(_why(error)) from None
    nodes, renamed = _free_standing(graph, node, names, {})
    return nodes, renamed[result]


def _pad_node(
    node: onnx.NodeProto, tensor: str, pads: Sequence[int], x: Tensor, opset: int, names: Names
) -> tuple[tuple[onnx.NodeProto, ...], str]:
    """Make a Pad with what padding is for a maximum or a norm, and name its result."""
    if x.dtype is None:
        raise UnsettledError(f"the type of {tensor!r} is not known, which its padding must have")
    half = len(pads) // 2
    spread = [0, 0, *pads[:half], 0, 0, *pads[half:]]
    graph = Graph(opset)
    graph.scope = _title(node)
    graph.input(tensor, x.dtype, ())
    try:
        if node.op_type != "MaxPool":
            result = graph("Pad", tensor, pads=spread, mode="constant")
        elif opset < 11:
            result = graph("Pad", tensor, pads=spread, mode="constant", value=-math.inf)
        else:
            lowest: float = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -math.inf
            result = graph("Pad", tensor, np.array(spread, np.int64), np.array(lowest, x.dtype), mode="constant")
    except ValueError as error:
        raise UnsettledError(_why(error)) from None
    nodes, renamed = _free_standing(graph, node, names, {})
    return nodes, renamed[result]


def _why(error: Exception) -> str:
    return str(error).removeprefix("to_onnx: ").removeprefix("layer_from_node: ")


def _free_standing(
    graph: Graph, node: onnx.NodeProto, names: Names, final: dict[str, str]
) -> tuple[tuple[onnx.NodeProto, ...], dict[str, str]]:
    """Give built nodes names that the model does not have, and their constants nodes of their own.

    Functions have no initializers, and the weights of a model shall stay as they are.
    """
    renamed = dict(final)
    nodes = []
    for each in graph.constants:
        renamed[each.name] = names.new(each.name)
        tensor = onnx.TensorProto()
        tensor.CopyFrom(each)
        tensor.name = ""
        nodes.append(helper.make_node("Constant", [], [renamed[each.name]], renamed[each.name], value=tensor))
    for each in graph.nodes:
        for output in each.output:
            if output not in renamed:
                renamed[output] = names.new(output)
        copy = _copied(each)
        copy.input[:] = [renamed.get(name, name) for name in each.input]
        copy.output[:] = [renamed[name] for name in each.output]
        copy.name = renamed[each.output[0]]
        nodes.append(copy)
    return tuple(nodes), renamed


def _stage(node: onnx.NodeProto, layer: Any, shape: tuple[int, ...], indices: str) -> Stage:
    axes: tuple[Axis, ...] = layer.axes(shape)
    result = (*shape[:2], *(axis.output_size for axis in axes))
    order = Order("channels_first", len(shape) - 2, batched=True)
    return Stage(_title(node), layer, order, shape, axes, result, indices, None)


def _sized(node: onnx.NodeProto, x: Tensor) -> tuple[np.dtype[Any], tuple[int | str, ...], tuple[int, ...]]:
    """Return type and shape of an input whose spatial sizes must be known; other sizes get names, or one."""
    if x.shape is None or None in x.shape[2:]:
        raise UnsettledError(
            f"what takes its place depends on the spatial sizes of {node.input[0]!r}, which are not known"
        )
    if x.dtype is None:
        raise UnsettledError(f"the type of {node.input[0]!r} is not known")
    named = tuple(name if size is None else size for name, size in zip("NC", x.shape, strict=False))
    spatial = tuple(size for size in x.shape[2:] if size is not None)
    return x.dtype, (*named, *spatial), (1, 1, *spatial)


def _lowered_mean(node: onnx.NodeProto, x: Tensor, opset: int, names: Names) -> tuple[onnx.NodeProto, ...]:
    """Write a mean as `to_onnx` does: the shortest form that every released runtime computes rightly."""
    dtype, shape, sizes = _sized(node, x)
    graph = Graph(opset, finite=True)
    graph.scope = _title(node)
    graph.input(node.input[0], dtype, shape)
    try:
        stage = _stage(node, layer_from_node(node, NEWEST, sizes), sizes, "onnx")
        (result,) = avg_pool(graph, stage, (node.input[0],))
    except ValueError as error:
        raise UnsettledError(_why(error)) from None
    return _free_standing(graph, node, names, {result: node.output[0]})[0]


# ---------------------------------------------------------------------------------------------------------------------
# Other rules


def count_row_by_row(
    scope: Scope, node: onnx.NodeProto, x: Tensor, names: Names, counts: dict[str, int]
) -> Rewrite | None:
    """Write MaxPool without storage_order; indices that someone reads are counted anew."""
    if node.op_type != "MaxPool" or "storage_order" not in {each.name for each in node.attribute}:
        return None
    if not attribute(node, "storage_order"):
        return None
    opset = scope.opset or 1
    checked_attributes(FUNCTION, node, opset)
    reason = "Runtimes count in three different ways where storage_order is 1."
    plain = _copied(node, ("storage_order",))
    indexed = len(node.output) > 1 and node.output[1]
    reference = _as_text_has_it(node)
    if not indexed:
        return Rewrite(
            "storage_order",
            f"{reason} Nobody reads the indices.",
            "onnx/onnx#2398",
            (plain,),
            reference,
            exact=True,
            input=node.input[0],
        )
    dtype, shape, sizes = _sized(node, x)
    graph = Graph(opset)
    graph.scope = _title(node)
    plain.output[1] = names.new(f"{_title(node)}/Indices")
    graph.input(node.input[0], dtype, shape)
    graph.input(plain.output[1], np.dtype(np.int64), shape)
    try:
        layer, order = layer_from_node(node, NEWEST, sizes), Order("channels_first", len(sizes) - 2, True)
        stage = Stage(_title(node), layer, order, sizes, (), sizes, "onnx_column_major", None)
        result = numbered(graph, stage, plain.output[1], node.input[0], whole=True)
    except ValueError as error:
        raise UnsettledError(_why(error)) from None
    nodes, _ = _free_standing(graph, node, names, {result: node.output[1]})
    reason += " The indices are counted row by row, and then column by column as the text of ONNX has it."
    # openvino and others count otherwise; onnxruntime follows the text.
    return Rewrite(
        "storage_order", reason, "onnx/onnx#2398", (plain, *nodes), reference, exact=True, input=node.input[0]
    )


def fold_pad(scope: Scope, node: onnx.NodeProto, x: Tensor, names: Names, counts: dict[str, int]) -> Rewrite | None:
    """Let a pooling do itself what a Pad in front of it does."""
    if node.op_type not in ("MaxPool", "AveragePool") or _outputs(node) > 1:
        return None
    opset = scope.opset or 1
    pad = scope.producer(node.input[0])
    if pad is None or pad.op_type != "Pad" or not is_default(pad.domain) or counts.get(node.input[0], 0) > 1:
        return None
    if opset < 7 or any(each.ref_attr_name for each in (*pad.attribute, *node.attribute)):
        return None
    windows = _Windows.of(node, opset)
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
    folded = _copied(node, (), pads=flat)
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
    pooled = _as_text_has_it(node)
    widths = [(0, 0), (0, 0), *spatial]
    return lambda array: pooled(np.pad(array, widths, constant_values=value))


def _fold_zeros(
    scope: Scope,
    node: onnx.NodeProto,
    pad: onnx.NodeProto,
    x: Tensor,
    names: Names,
    windows: _Windows,
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
        else Tensor(
            x.dtype,
            (
                *x.shape[:2],
                *(None if size is None else size - more for size, more in zip(x.shape[2:], grown, strict=True)),
            ),
        )
    )
    merged = _copied(node, (), pads=flat, count_include_pad=1)
    merged.input[0] = pad.input[0]
    nodes: tuple[onnx.NodeProto, ...]
    reason = "A Pad with zeros is padding that counts, which the operator has itself since opset 7."
    if fits and _divides_rightly(node, flat, windows, True, opset):
        nodes = (merged,)
    elif is_right(form, opset):
        return None
    else:
        reason = f"{wrong_in(form, opset)} makes one node of a Pad and a mean, and divides wrongly or refuses it."
        if fits and before.shape is not None and None not in before.shape[2:]:
            nodes = _lowered_mean(merged, before, opset, names)
        else:
            sides = [begin for begin, _ in spatial] + [end for _, end in spatial]
            zeros, tensor = _zeros_around(node, pad.input[0], sides, before, opset, names)
            last = _copied(node)
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


def name_global_mean(
    scope: Scope, node: onnx.NodeProto, x: Tensor, names: Names, counts: dict[str, int]
) -> Rewrite | None:
    """Write a mean of whole planes as the pooling that it is."""
    if node.op_type != "ReduceMean" or any(each.ref_attr_name for each in node.attribute):
        return None
    if x.shape is None or not 3 <= len(x.shape) <= 5 or x.dtype != np.float32 or not attribute(node, "keepdims", 1):
        return None
    axes = attribute(node, "axes")
    if len(node.input) > 1 and node.input[1]:
        axes = constant(scope, node.input[1])
    if axes is None or {int(axis) % len(x.shape) for axis in axes} != set(range(2, len(x.shape))):
        return None
    cells = [size for size in x.shape[2:] if size is not None]
    if len(cells) < len(x.shape) - 2 or math.prod(cells) > MANY_TAPS:
        return None  # of large planes, runtimes round the two differently
    pooled = helper.make_node("GlobalAveragePool", node.input[:1], node.output, node.name, node.doc_string)
    spatial = tuple(range(2, len(x.shape)))
    return Rewrite(
        "mean",
        "A mean over all spatial axes that are kept is global average pooling, which exporters take apart.",
        "",
        (pooled,),
        lambda array: (array.mean(spatial, np.float64, keepdims=True).astype(array.dtype),),
        exact=False,
        input=node.input[0],
        optional=True,
    )


def reduce_global_norm(
    scope: Scope, node: onnx.NodeProto, x: Tensor, names: Names, counts: dict[str, int]
) -> Rewrite | None:
    """Write the norm of whole planes as a reduction, which runtimes have."""
    if node.op_type != "GlobalLpPool":
        return None
    opset = scope.opset or 1
    p = checked_attributes(FUNCTION, node, opset).get("p", 2)
    if p not in (1, 2):
        raise UnsettledError(f"onnxruntime has no GlobalLpPool, and p={p} is no reduction of ONNX")
    if x.shape is None:
        raise UnsettledError(f"the rank of {node.input[0]!r} is not known")
    if x.dtype is None:
        raise UnsettledError(f"the type of {node.input[0]!r} is not known")
    graph = Graph(opset)
    graph.scope = _title(node)
    graph.input(node.input[0], x.dtype, ())
    result = graph(f"ReduceL{p}", node.input[0], axes=list(range(2, len(x.shape))), keepdims=1)
    nodes, _ = _free_standing(graph, node, names, {result: node.output[0]})
    reason = "onnxruntime and the reference implementation have no GlobalLpPool."
    return Rewrite(
        "global_norm",
        reason,
        "onnx/onnx#5459",
        nodes,
        _as_text_has_it(node),
        exact=False,
        by_text=True,
        input=node.input[0],
    )


SPECIAL = (
    "Of NaN, and of windows of -inf, runtimes make what they like; a second pooling, of ranks, says where they belong."
)
SPECIAL_SOURCES = "microsoft/onnxruntime#15446"


def settle_special(
    scope: Scope, node: onnx.NodeProto, x: Tensor, names: Names, counts: dict[str, int]
) -> Rewrite | None:
    """Write a maximum so that NaN and -inf come out as the text has them in every runtime, as `to_onnx` does."""
    regions = node.op_type == "MaxRoiPool" or (node.op_type == "RoiAlign" and attribute(node, "mode", b"avg") == b"max")
    if regions:
        raise UnsettledError(
            "what becomes of NaN in its regions is up to the runtime; export it by to_onnx with special_values='exact'"
        )
    if node.op_type not in ("MaxPool", "GlobalMaxPool") or {SPECIAL, HIGHEST} & {*node.doc_string.splitlines()}:
        return None
    opset = scope.opset or 1
    if x.dtype is None:
        raise UnsettledError(f"the type of {node.input[0]!r} is not known")
    if x.dtype.kind in "iub":
        return None
    if x.shape is None:
        raise UnsettledError(f"the rank of {node.input[0]!r} is not known")
    graph = Graph(opset)
    graph.scope = _title(node)
    graph.input(node.input[0], x.dtype, ())
    outputs = _outputs(node)
    words = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    try:
        if node.op_type == "GlobalMaxPool":
            sizes = (1,) * len(x.shape)
            stage = _stage(node, layer_from_node(node, NEWEST, sizes), sizes, "onnx")
            found = global_max_pool(graph, stage, (node.input[0],))
        else:
            keys = Keys(graph, node.input[0])

            def pooled(tensor: str, why: str = "") -> tuple[str, ...]:
                return graph.outputs(outputs, "MaxPool", tensor, **words, why=why)

            best, *index = ranked_maxima(graph, keys, Ranked(graph, keys.tensor, "propagate"), pooled)
            found = (keys.elements(best), *index)
    except ValueError as error:
        raise UnsettledError(_why(error)) from None
    return Rewrite(
        "special_values",
        SPECIAL,
        SPECIAL_SOURCES,
        _free_standing(graph, node, names, dict(zip(found, node.output, strict=False)))[0],
        _as_text_has_it(node),
        exact=True,
        input=node.input[0],
        special=True,
    )


def check(scope: Scope, node: onnx.NodeProto, x: Tensor, names: Names, counts: dict[str, int]) -> Rewrite | None:
    """Check the other poolings, which mean the same everywhere."""
    if is_default(node.domain) and node.op_type in (
        "GlobalMaxPool",
        "GlobalAveragePool",
        "MaxUnpool",
        "MaxRoiPool",
        "RoiAlign",
    ):
        checked_attributes(FUNCTION, node, scope.opset or 1)
    return None


REWRITES: tuple[Rule, ...] = (
    check,
    resolve_windows,
    count_row_by_row,
    fold_pad,
    name_global_mean,
    reduce_global_norm,
)
"""In the order in which they are tried, on what the one before has made of a node."""
