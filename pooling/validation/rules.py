"""What a pooling node has to give, rule by rule, and which of the rules a wrong answer breaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import onnx

from pooling.export import layer_from_node
from pooling.export.nodes import has_late_window
from pooling.geometry import Axis

if TYPE_CHECKING:
    pass

__all__ = ["RULES", "Rule", "Setting", "rules_at_stake"]

ONNX = "https://onnx.ai/onnx/operators/onnx__{}.html"
TORCH = "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.{}.html"
WINDOWED = frozenset({"MaxPool", "AveragePool", "LpPool"})
MAXIMA = frozenset({"MaxPool", "GlobalMaxPool"})
MEANS = frozenset({"AveragePool", "GlobalAveragePool"})
NORMS = frozenset({"LpPool", "GlobalLpPool"})
LARGE = 2**31
"""Arguments from here on are not meant: they try what a runtime does with them."""
MANY = 2**12
"""Elements of a window from which the order of a sum matters."""


@dataclass(frozen=True)
class Setting:
    """A pooling node on an input of some shape, without the numbers.

    Attributes
    ----------
    node : onnx.NodeProto
        The node.
    opset : int
        Version of the default operator set.
    shape : tuple of int
        Of its first input, ``(N, C, *S)``.
    """

    node: onnx.NodeProto
    opset: int
    shape: tuple[int, ...]

    @property
    def operator(self) -> str:
        """The ONNX operator."""
        return str(self.node.op_type)

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """The attributes that the node names."""
        found = {entry.name: onnx.helper.get_attribute_value(entry) for entry in self.node.attribute}
        return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}

    @property
    def dimensions(self) -> int:
        """Spatial axes."""
        return len(self.shape) - 2

    def per_axis(self, name: str, default: int) -> list[int]:
        """Return an attribute with one integer for each spatial axis; pads have two."""
        return list(self.attributes.get(name, [default] * self.dimensions * (2 if name == "pads" else 1)))

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The windows on each spatial axis; none where they find no place."""
        try:
            return tuple(layer_from_node(self.node, self.opset, self.shape).axes(self.shape))
        except (TypeError, ValueError):
            return ()

    @property
    def ceil(self) -> bool:
        """Whether the number of windows is rounded up."""
        return bool(self.attributes.get("ceil_mode"))

    @property
    def auto_pad(self) -> str:
        """How padding follows from the sizes; NOTSET where it is given."""
        return str(self.attributes.get("auto_pad", "NOTSET"))

    @property
    def dilated(self) -> bool:
        """Whether taps of a window lie apart."""
        return any(axis.dilation > 1 and axis.kernel_size > 1 for axis in self.axes)

    @property
    def padded(self) -> bool:
        """Whether any axis has padding."""
        return any(axis.pad_begin or axis.pad_end for axis in self.axes)

    @property
    def late(self) -> bool:
        """Whether rounding up gives a window that starts behind the input, which is no window."""
        return self.ceil and any(has_late_window(axis) for axis in self.axes)

    @property
    def taps(self) -> int:
        """Elements of a window that lies inside the input."""
        count = 1
        for axis in self.axes:
            count *= axis.kernel_size
        return count

    @property
    def indices(self) -> bool:
        """Whether the node asks for indices."""
        return self.operator == "MaxPool" and len(self.node.output) > 1 and bool(self.node.output[1])

    @property
    def has_empty_window(self) -> bool:
        """Whether some window holds no element."""
        return any(bool((axis.taps() < 0).all(axis=1).any()) for axis in self.axes if axis.output_size <= LARGE)


def _never(setting: Setting) -> bool:
    return False


@dataclass(frozen=True)
class Rule:
    """A rule that runtimes break or may break.

    Attributes
    ----------
    key : str
        Its name.
    title : str
        A few words.
    text : str
        The rule in a sentence.
    source : str
        Where it stands, with an address where there is one.
    at_stake : callable
        Whether a node's attributes and shape bring it into play. Rules about numbers alone are never, since every
        node of their operator would be; the cases that have such numbers name them.
    """

    key: str
    title: str
    text: str
    source: str
    at_stake: Callable[[Setting], bool] = field(default=_never, repr=False, compare=False)


def _of_text(operator: str, since: int | None = None) -> str:
    version = "" if since is None else f"-{since}"
    return f"ONNX {operator}{version}, {ONNX.format(operator)}"


OWN = "this library, where ONNX is silent"

_TABLE = (
    Rule(
        "window-count",
        "number of windows",
        "An axis of I cells with padding has floor((I + pads - dilation * (K - 1) - 1) / S) + 1 windows; what is left "
        "over behind the last one is in no window.",
        _of_text("MaxPool", 22),
        lambda it: it.operator in WINDOWED,
    ),
    Rule(
        "ceil-partial-window",
        "ceil_mode keeps a partial window",
        "With ceil_mode=1 the number of windows is rounded up, and the last window holds the elements that it reaches.",
        _of_text("MaxPool", 22),
        lambda it: it.ceil and any(axis.ceil_overhang for axis in it.axes),
    ),
    Rule(
        "ceil-last-window",
        "ceil_mode drops a window behind the input",
        "With ceil_mode=1 a window that would start in the padding at the end, behind all input, is no window.",
        f"{_of_text('MaxPool', 22)}: windows that would start in the right padded region are ignored; before opset 22 "
        "ONNX's text and shape inference keep them, and the runtimes that follow torch do not",
        lambda it: it.late,
    ),
    Rule(
        "valid-with-ceil",
        "VALID leaves ceil_mode in force",
        'auto_pad="VALID" is no padding; ceil_mode=1 rounds the number of windows up as it always does.',
        "ONNX shape inference; the formula in the text leaves the last, partial window out, "
        + ONNX.format("MaxPool"),
        lambda it: it.auto_pad == "VALID" and it.ceil and any(axis.ceil_overhang for axis in it.axes),
    ),
    Rule(
        "same-output-size",
        "SAME has ceil(I / S) windows",
        'With auto_pad="SAME_UPPER" or "SAME_LOWER" an axis has ceil(I / S) windows, and padding as much as they '
        "need, but never less than none.",
        _of_text("MaxPool", 22),
        lambda it: it.auto_pad.startswith("SAME"),
    ),
    Rule(
        "same-uses-effective-kernel",
        "SAME pads for the dilated kernel",
        'With auto_pad="SAME_UPPER" or "SAME_LOWER" padding is counted for the effective kernel '
        "dilation * (K - 1) + 1.",
        f"{_of_text('MaxPool', 22)}: pad_shape has ((kernel - 1) * dilation + 1)",
        lambda it: it.auto_pad.startswith("SAME") and it.dilated,
    ),
    Rule(
        "same-lower-pads-begin",
        "SAME_LOWER puts the odd cell at the beginning",
        'Where SAME needs an odd number of cells, "SAME_LOWER" has one more at the beginning, "SAME_UPPER" at the end.',
        _of_text("MaxPool", 22),
        lambda it: it.auto_pad == "SAME_LOWER" and any(axis.pad_begin != axis.pad_end for axis in it.axes),
    ),
    Rule(
        "asymmetric-pads",
        "pads differ at begin and end",
        "Each axis has its own number of padding cells at its beginning and at its end.",
        _of_text("MaxPool", 22),
        lambda it: it.auto_pad == "NOTSET" and any(axis.pad_begin != axis.pad_end for axis in it.axes),
    ),
    Rule(
        "pads-up-to-effective-kernel",
        "pads as large as the kernel",
        "Padding may have any size that leaves no window in it alone: up to dilation * (K - 1) on each side, more than "
        "half of the kernel included.",
        f"{_of_text('MaxPool', 22)}: pads can take any value greater than or equal to 0",
        lambda it: any(2 * max(axis.pad_begin, axis.pad_end) > axis.kernel_size for axis in it.axes),
    ),
    Rule(
        "padding-is-no-element",
        "padding is no element",
        "A maximum never is the padding, not even of negative elements, and a mean counts it only with "
        "count_include_pad=1, which is not the default.",
        _of_text("AveragePool", 22),
        lambda it: it.padded,
    ),
    Rule(
        "empty-window",
        "a window without an element",
        "A window all of whose taps lie in padding has the maximum -inf, or the least integer, with index -1; its mean "
        "is NaN where padding does not count, and its norm 0.",
        OWN,
        lambda it: it.has_empty_window,
    ),
    Rule(
        "dilation",
        "taps lie apart",
        "Tap t of a window lies t * dilation cells behind its first, in maxima since opset 10, norms since 18 and "
        "means since 19; only taps inside count.",
        f"{_of_text('AveragePool', 19)}, {TORCH.format('max_pool2d')}",
        lambda it: it.dilated,
    ),
    Rule(
        "dilation-in-average",
        "means count dilated taps",
        "The divisor of a dilated window is the number of its taps inside the input, and inside the declared padding "
        "with count_include_pad=1, whether or not it is rounded up.",
        _of_text("AveragePool", 19),
        lambda it: it.operator == "AveragePool" and it.dilated,
    ),
    Rule(
        "divisor-counts-declared-padding",
        "the divisor stops at declared padding",
        "With count_include_pad=1 the divisor counts input and declared padding, and never the cells behind them that "
        "a window of ceil_mode touches.",
        f"torch, {TORCH.format('avg_pool2d')}; ONNX is silent",
        lambda it: (
            it.operator == "AveragePool"
            and bool(it.attributes.get("count_include_pad"))
            and any(axis.ceil_overhang for axis in it.axes)
        ),
    ),
    Rule(
        "nan-propagates",
        "a NaN in a window is its maximum",
        "A window with a NaN anywhere has the maximum NaN, with the index of its first NaN.",
        f"torch, {TORCH.format('max_pool2d')}; its index is that of numpy.argmax; ONNX is silent",
    ),
    Rule(
        "minus-infinity-start",
        "a window of -inf is -inf",
        "A maximum starts from the window's first element: a window of nothing but -inf, with padding or without, is "
        "-inf and not the least finite number.",
        _of_text("MaxPool", 22),
    ),
    Rule(
        "first-of-ties",
        "the index of the first of equals",
        "Among equal elements of a window the index is that of the first in row-major order; zeros of either sign are "
        "equal.",
        f"torch, {TORCH.format('max_pool2d')}; ONNX is silent",
    ),
    Rule(
        "index-convention",
        "indices count over the whole tensor",
        "Indices of MaxPool count the elements of the whole input (N, C, D1, ..., Dn) in row-major order, without "
        "padding.",
        _of_text("MaxPool", 22),
        lambda it: it.indices and not it.attributes.get("storage_order"),
    ),
    Rule(
        "column-major-indices",
        "storage_order=1 counts columns first",
        "With storage_order=1 indices count the cells of a plane in column-major order, h + w * H, behind the planes "
        "before it.",
        _of_text("MaxPool", 22),
        lambda it: it.indices and bool(it.attributes.get("storage_order")),
    ),
    Rule(
        "average-ignores-nothing",
        "NaN and infinities in a mean",
        "A mean is the sum of all its elements: NaN makes it NaN, an infinity infinite, infinities of both signs NaN.",
        f"{_of_text('AveragePool', 22)}; IEEE 754",
    ),
    Rule(
        "accurate-sums",
        "means of many elements",
        "The mean of float32 elements of one sign is right within 4 steps of the last place, however large the window; "
        "means of float16 are accumulated in float32 and rounded once.",
        f"{OWN}: docs/accuracy.md",
        lambda it: it.operator in MEANS and it.taps >= MANY,
    ),
    Rule(
        "lp-of-absolute-values",
        "a norm is one of absolute values",
        "A window's norm is (sum |x|^p)^(1/p): signs do not matter, whatever p is.",
        _of_text("LpPool", 22),
    ),
    Rule(
        "lp-without-overflow",
        "a norm that fits does not overflow",
        "A norm that the dtype can hold is given, where powers of single elements would overflow or vanish.",
        OWN,
    ),
    Rule(
        "extreme-integers",
        "maxima of integers are exact",
        "The maximum of int8 and uint8 is exact over their whole range, and padding is below the least.",
        _of_text("MaxPool", 12),
    ),
    Rule(
        "any-rank",
        "one to three spatial axes",
        "Inputs have any number of spatial axes; a global pooling leaves each of them with size 1.",
        _of_text("GlobalMaxPool", 22),
        lambda it: it.dimensions != 2,
    ),
    Rule(
        "every-dtype",
        "every dtype of the opset",
        "An operator takes every dtype that its opset lists, and gives the same back.",
        f"{_of_text('MaxPool', 22)}, type constraints",
    ),
    Rule(
        "defaults",
        "what is left out",
        "Strides and dilations are 1 where they are left out, padding 0, count_include_pad 0, p 2.",
        _of_text("LpPool", 22),
        lambda it: it.operator in WINDOWED and "strides" not in it.attributes,
    ),
    Rule(
        "empty-batch",
        "nothing in, nothing out",
        "A batch of size 0 gives a result of size 0, and so do no channels.",
        OWN,
        lambda it: 0 in it.shape[:2],
    ),
    Rule(
        "unpool-indices",
        "unpooling reads the indices of max pooling",
        "MaxUnpool reads indices over the whole tensor, as MaxPool writes them, and counts them in output_shape where "
        "it is given.",
        _of_text("MaxUnpool", 22),
        lambda it: it.operator == "MaxUnpool",
    ),
    Rule(
        "no-window-is-refused",
        "an axis without a window",
        "A kernel that finds no place on the padded input is an error that says so; there is no window to give.",
        OWN,
        lambda it: it.operator in WINDOWED and not it.axes and max(_numbers(it), default=0) < LARGE,
    ),
    Rule(
        "overflow-is-refused",
        "absurd sizes are refused",
        "Kernels, strides and dilations beyond any memory are refused or computed, without a crash and without sizes "
        "that wrap around.",
        OWN,
        lambda it: it.operator in WINDOWED and max(_numbers(it), default=0) >= LARGE,
    ),
)
RULES: Mapping[str, Rule] = {rule.key: rule for rule in _TABLE}
"""All rules, by name."""


def _numbers(setting: Setting) -> list[int]:
    return [
        abs(number)
        for name in ("kernel_shape", "strides", "dilations", "pads")
        for number in setting.attributes.get(name, ())
    ]


def rules_at_stake(node: onnx.NodeProto, opset: int, input_shape: Sequence[int]) -> tuple[str, ...]:
    """Return the rules that a node's attributes and shape bring into play.

    Parameters
    ----------
    node : onnx.NodeProto
        A pooling node.
    opset : int
        The version of the default operator set that the model imports.
    input_shape : sequence of int
        Shape of its first input.

    Returns
    -------
    tuple of str
        Keys of `RULES`, in its order.

    Examples
    --------
    >>> import onnx
    >>> node = onnx.helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3], strides=[3], pads=[1, 1], ceil_mode=1)
    >>> rules_at_stake(node, 22, (1, 1, 5))
    ('window-count', 'ceil-last-window', 'padding-is-no-element', 'any-rank')
    """
    setting = Setting(node, opset, tuple(input_shape))
    return tuple(key for key, rule in RULES.items() if rule.at_stake(setting))
