"""What a pooling node has to give, rule by rule, and which of the rules a wrong answer breaks."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from pooling.geometry import pool_axes
from pooling.onnx_models.nodes import has_late_window

from .answers import Answer
from .evidence import Cell, Evidence, Numbers, Setting
from .verdicts import Kind, Verdict

if TYPE_CHECKING:
    from .cases import Case

__all__ = ["RULES", "Rule", "broken_rule", "rules_at_stake"]

ONNX = "https://onnx.ai/onnx/operators/onnx__{}.html"
TORCH = "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.{}.html"
WINDOWED = frozenset({"MaxPool", "AveragePool", "LpPool"})
MAXIMA = frozenset({"MaxPool", "GlobalMaxPool"})
MEANS = frozenset({"AveragePool", "GlobalAveragePool"})
NORMS = frozenset({"LpPool", "GlobalLpPool"})
LARGE = 2**31 - 1
"""Arguments from here on are not meant: they try what a runtime does with them."""
LEAST_BFLOAT16 = -3.3895313892515355e38
MANY = 2**12
"""Elements of a window from which the order of a sum matters."""


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
        "ONNX shape inference; the formula in the text leaves the last, partial window out, " + ONNX.format("MaxPool"),
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
        "-inf and not the least finite number, and the index of a window of the least integers is that of its first.",
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
        "NaN and infinities in means and norms",
        "A mean or a norm is one of all its elements: NaN makes it NaN, an infinity infinite, and the mean of "
        "infinities of both signs is NaN.",
        f"{_of_text('AveragePool', 22)}; IEEE 754",
    ),
    Rule(
        "accurate-sums",
        "means of many elements",
        "The mean of float32 elements of one sign is right within 4 steps of the last place, however large the window; "
        "means of float16 are accumulated in float32 and rounded once.",
        f"{OWN}: docs/accuracy.md",
        lambda it: it.operator in MEANS and it.tap_count >= MANY,
    ),
    Rule(
        "lp-of-absolute-values",
        "a norm is one of absolute values",
        "A window's norm is (sum |x|^p)^(1/p): signs do not matter, whatever p is, and it is a sum and no mean.",
        _of_text("LpPool", 22),
    ),
    Rule(
        "lp-without-overflow",
        "a norm that fits does not overflow",
        "A norm that the dtype can hold is given, where powers of single elements would overflow or vanish.",
        OWN,
    ),
    Rule(
        "denormals-are-numbers",
        "numbers below the smallest normal one stay",
        "A result that is no zero is none, even below the smallest normal number of the dtype: nothing is flushed.",
        "IEEE 754-2019, section 3.4",
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
        "An operator takes every dtype that its opset lists, computes no less exactly, and gives the same back.",
        f"{_of_text('MaxPool', 22)}, type constraints",
    ),
    Rule(
        "every-operator",
        "every pooling operator",
        "The pooling operators of the default domain, GlobalLpPool and MaxUnpool among them, are part of every opset "
        "that has them.",
        _of_text("GlobalLpPool", 22),
        lambda it: it.operator in {"GlobalLpPool", "MaxUnpool"},
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


# ---------------------------------------------------------------------------------------------------------------------
# Which rule a wrong answer breaks


def broken_rule(case: Case, expected: Answer, verdict: Verdict, actual: Answer | None = None) -> str | None:
    """Attribute a difference to one rule, by evidence: the kind of difference, the numbers, and their windows.

    What a rule is blamed for has to look as its breach would: a shape with the windows that should have been dropped,
    an index that names the same element in another convention, NaN in every window that differs, a mean by another
    divisor. Numbers that differ cell by cell are blamed on the rule that explains most of them, and on none if there
    is one that none explains.

    Parameters
    ----------
    case : Case
        What was asked.
    expected : Answer
        The oracle's.
    verdict : Verdict
        How the answer differs from it.
    actual : Answer, optional
        The answer. Without it only the first element that differs is evidence.

    Returns
    -------
    str or None
        A key of `RULES`; None where nothing differs, or no rule explains it.

    Examples
    --------
    >>> import numpy as np
    >>> from pooling.validation.cases import make_case
    >>> from pooling.validation.verdicts import judge
    >>> case = make_case("MaxPool", np.array([[[np.nan, 2.0]]], np.float32), kernel_shape=[2])
    >>> right, wrong = (Answer(outputs=(np.array([[[number]]], np.float32),)) for number in (np.nan, 2.0))
    >>> broken_rule(case, right, judge(case, right, wrong), wrong)
    'nan-propagates'
    """
    if verdict.kind is Kind.AGREES:
        return None
    evidence = Evidence.of(case, expected, verdict, actual)
    if verdict.kind in (Kind.REFUSES, Kind.CRASHES) or expected.refusal is not None:
        return next((key for key, shows in _OF_NO_ANSWER.items() if shows(evidence)), None)
    whole = next((key for key, shows in _OF_WHOLE_ANSWERS.items() if shows(evidence)), None)
    if whole is not None or not evidence.cells or not evidence.axes:
        return whole
    blamed = Counter(
        next((key for key, explains in _OF_CELLS.items() if explains(evidence, *cell)), None) for cell in evidence.cells
    )
    return None if None in blamed else blamed.most_common(1)[0][0]


def _says(evidence: Evidence, pattern: str) -> bool:
    return re.search(pattern, evidence.verdict.sentence, re.IGNORECASE) is not None


_MISSING = (
    r"not[ _]?implemented|unimplemented|no registered implementation|could not find an implementation|"
    r"has no [a-z]*pool|'handleNode'"
)
"""How runtimes say that they have no such operator."""

_OF_NO_ANSWER: Mapping[str, Callable[[Evidence], bool]] = {
    "overflow-is-refused": lambda it: RULES["overflow-is-refused"].at_stake(it),
    "no-window-is-refused": lambda it: it.expected.refusal is not None and RULES["no-window-is-refused"].at_stake(it),
    "empty-batch": lambda it: 0 in it.shape[:2],
    "unpool-indices": lambda it: it.operator == "MaxUnpool" and _says(it, "index|output_shape|inputs"),
    "every-dtype": lambda it: it.dtype != np.float32,
    "every-operator": lambda it: _says(it, _MISSING) or RULES["every-operator"].at_stake(it),
    "any-rank": lambda it: it.dimensions != 2 and _says(it, "IndexError|spatial ax|rank|2d|dimension"),
    "nan-propagates": lambda it: (
        it.operator in MAXIMA and bool(np.isnan(it.case.array).any()) and _says(it, "zero-size array to reduction")
    ),
    "same-output-size": lambda it: it.auto_pad.startswith("SAME") and _says(it, "negative"),
    "valid-with-ceil": lambda it: it.auto_pad == "VALID" and it.ceil and _says(it, "ceil_mode"),
    "asymmetric-pads": lambda it: (
        any(axis.pad_begin != axis.pad_end for axis in it.axes) and _says(it, "asymmetric|alike|both sides")
    ),
    "pads-up-to-effective-kernel": lambda it: (
        RULES["pads-up-to-effective-kernel"].at_stake(it) and _says(it, r"\bpads?\b|padding|pool_attributes")
    ),
    "dilation-in-average": lambda it: RULES["dilation-in-average"].at_stake(it) and _says(it, "dilation"),
}
"""What a refusal, a crash, or an answer where there is none to give shows."""


def _sizes(it: Evidence) -> tuple[int, ...]:
    return tuple(axis.output_size for axis in it.axes)


def _keeps_late_windows(it: Evidence) -> bool:
    if not it.late or it.found_shape is None or len(it.found_shape) != len(it.shape):
        return False
    kept = [has_late_window(axis) for axis in it.axes]
    more = [found - axis.output_size for found, axis in zip(it.found_shape[2:], it.axes, strict=True)]
    return any(more) and all(extra in (0, int(late)) for extra, late in zip(more, kept, strict=True))


def _ignores_dilation(it: Evidence) -> bool:
    """Whether the answer, as far as there is one, is that of the padding that undilated windows would need."""
    if not (it.auto_pad.startswith("SAME") and it.dilated) or it.verdict.output != 0:
        return False
    bare = pool_axes(
        it.shape[2:],
        kernel_size=it.per_axis("kernel_shape", 1),
        stride=it.per_axis("strides", 1),
        padding=it.auto_pad.lower(),
    )
    pads = [axis.pad_begin for axis in bare] + [axis.pad_end for axis in bare]
    changes: dict[str, Any] = {"auto_pad": None, "pads": pads, "ceil_mode": None}
    other = it.answer(**changes)
    if other is None or it.found is None or it.found.ndim != other.ndim:
        return it.verdict.kind is Kind.SHAPE and other is not None and it.found_shape == other.shape
    shared = tuple(slice(min(sizes)) for sizes in zip(other.shape, it.found.shape, strict=True))
    magnitude = it.magnitude(**changes)
    return it.alike(other[shared], it.found[shared], magnitude[shared] if magnitude.ndim else magnitude)


def _apart(it: Evidence) -> bool:
    """Whether windows lie apart, so that SAME needs fewer cells than there are."""
    return it.auto_pad.startswith("SAME") and any(axis.stride > axis.effective_kernel_size for axis in it.axes)


def _other_pads(it: Evidence) -> bool:
    if not RULES["asymmetric-pads"].at_stake(it):
        return False
    begins, ends = [axis.pad_begin for axis in it.axes], [axis.pad_end for axis in it.axes]
    return any(it.explained_by(pads=pads) for pads in (begins + begins, ends + ends, ends + begins)) or (
        it.verdict.kind is Kind.VALUE and it.operator in WINDOWED and it.windows_elsewhere
    )


def _same_elements(it: Evidence) -> bool:
    """Whether unpooling put the elements elsewhere, and gave no others."""
    if it.operator != "MaxUnpool":
        return False
    if it.found is None:
        return True
    return bool(np.isin(it.found[it.found != 0], it.case.array).all())


_OF_WHOLE_ANSWERS: Mapping[str, Callable[[Evidence], bool]] = {
    "every-dtype": lambda it: it.verdict.kind is Kind.DTYPE,
    "empty-batch": lambda it: 0 in it.shape[:2],
    "empty-window": lambda it: it.operator in WINDOWED and it.every(lambda *cell: _of_nothing(it, *cell)),
    "column-major-indices": lambda it: (
        it.verdict.output == 1
        and bool(it.attributes.get("storage_order"))
        and (it.verdict.kind is Kind.SHAPE or _same_elements_counted_otherwise(it))
    ),
    "any-rank": lambda it: it.operator.startswith("Global") and it.dimensions != 2 and it.verdict.kind is Kind.SHAPE,
    "ceil-last-window": lambda it: it.verdict.kind is Kind.SHAPE and _keeps_late_windows(it),
    "valid-with-ceil": lambda it: (
        it.verdict.kind is Kind.SHAPE
        and it.auto_pad == "VALID"
        and it.ceil
        and (floor := it.answer(ceil_mode=None)) is not None
        and it.found_shape == floor.shape
    ),
    "same-uses-effective-kernel": _ignores_dilation,
    "same-lower-pads-begin": lambda it: it.auto_pad == "SAME_LOWER" and it.explained_by(auto_pad="SAME_UPPER"),
    "same-output-size": lambda it: (
        it.auto_pad.startswith("SAME")
        and it.verdict.output == 0
        and (it.verdict.kind is Kind.SHAPE or (_apart(it) and it.windows_elsewhere))
    ),
    "asymmetric-pads": _other_pads,
    "dilation": lambda it: it.dilated and it.explained_by(dilations=None),
    "unpool-indices": _same_elements,
}
"""What the answer as a whole shows, shapes and all, in the order in which it is asked."""


def _has_nan(it: Evidence, cell: Cell) -> bool:
    return it.dtype.kind not in "iub" and bool(np.isnan(it.window(cell)).any())


def _least(it: Evidence) -> set[float]:
    """Return the least finite numbers from which somebody may start, that of the input's dtype among them."""
    if it.dtype.kind in "iu":
        return {int(np.iinfo(it.dtype).min)}
    return {float(np.finfo(name).min) for name in ("float16", "float32", "float64")} | {LEAST_BFLOAT16}


def _finfo(it: Evidence) -> Any:
    """Return the limits of the input's dtype; those of float32 for bfloat16, which has as large and small numbers."""
    return np.finfo(np.float32 if it.dtype.name == "bfloat16" else it.dtype)


def _starts_from_the_least(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    """Whether a maximum of nothing greater than the number that the search started from was not found."""
    window = it.window(cell)
    own = np.iinfo(it.dtype).min if it.dtype.kind in "iu" else -math.inf
    if it.verdict.output == 1:
        # Nothing was found, and the index is that of nothing.
        return actual == 0 and bool(np.isin(window, [own, *_least(it)]).all())
    return bool((window == own).all()) and actual in _least(it)


def _of_nothing(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    """Whether a window has no element, and the answer is what somebody might start from."""
    if it.window(cell).size:
        return False
    return it.verdict.output == 1 or not math.isfinite(actual) or actual in _least(it) | {0}


def _ignores_some(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    """Whether a mean or a norm of numbers that are not all finite leaves out those."""
    window = it.window(cell)
    rest = window[np.isfinite(window)]
    if it.operator not in MEANS | NORMS or rest.size == window.size or math.isfinite(expected):
        return False
    if not math.isfinite(actual) or rest.size == 0:
        return not math.isfinite(actual) or actual == 0
    p = 1 if it.operator in MEANS else it.attributes.get("p", 2)
    total = float((rest if it.operator in MEANS else np.abs(rest) ** p).sum())
    scales = [1, window.size / rest.size, it.tap_count / rest.size]
    if it.operator in MEANS:
        scales = [1 / count for count in range(1, it.tap_count + 1)]
    size = float(np.abs(rest).sum()) if it.operator in MEANS else 0.0
    return any(it.alike((total * scale) ** (1 / p), actual, size * scale) for scale in scales)


def _overlooks_nan(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    if it.operator not in MAXIMA or not _has_nan(it, cell):
        return False
    window = it.window(cell)
    rest = window[~np.isnan(window)]
    return it.verdict.output == 1 or actual in rest or actual in _least(it) | {-math.inf} or math.isnan(actual)


def _is_tie(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    """Whether the index names an equal of the right element, in the same window."""
    if it.verdict.output != 1 or _has_nan(it, cell):
        return False
    if it.attributes.get("storage_order"):
        return False
    cells, window = it.inside(cell), it.window(cell)
    place = int(actual) - _plane(it, cell) * math.prod(it.shape[2:])
    return place in cells and bool(window[cells.index(place)] == window.max())


def _plane(it: Evidence, cell: Cell) -> int:
    return cell[0] * it.shape[1] + cell[1]


def _orders(it: Evidence) -> list[Numbers]:
    """Return, for each order in which the cells of a plane might be counted, the row-major place of each number.

    Axes in any order, and the mistake of reading such a number once more.
    """
    spatial = it.shape[2:]
    places = np.arange(math.prod(spatial)).reshape(spatial)
    orders = [places.transpose(axes).ravel() for axes in itertools.permutations(range(len(spatial)))]
    return [*orders, *(np.argsort(order) for order in orders)]


def _same_elements_counted_otherwise(it: Evidence) -> bool:
    """Whether indices name the right elements, all together, if cells are counted in some other order."""
    if it.found is None or it.found.size != it.wanted.size:
        return False
    size = math.prod(it.shape[2:])
    wanted, found = (numbers.reshape(math.prod(it.shape[:2]), -1) for numbers in (it.wanted, it.found))
    planes = np.arange(len(wanted))[:, np.newaxis] * size
    wanted, found = wanted - planes, found - planes
    if not ((found >= 0) & (found < size)).all():
        return False
    right = np.sort(np.arange(size).reshape(it.shape[2:]).T.ravel()[wanted], axis=1)
    return any(np.array_equal(right, np.sort(order[found], axis=1)) for order in _orders(it))


def _names_another(it: Evidence, cell: Cell, expected: int, actual: int) -> bool:
    """Whether the index, counted as the node asks for, names no element of the window."""
    if it.verdict.output != 1 or _has_nan(it, cell):
        return False
    size = math.prod(it.shape[2:])
    place = actual - _plane(it, cell) * size
    if not 0 <= place < size:
        return True
    if it.attributes.get("storage_order"):
        place = int(np.arange(size).reshape(it.shape[2:]).T.ravel()[place])
    return place not in it.inside(cell)


def _other_divisor(it: Evidence, cell: Cell, expected: float, actual: float, *, declared: bool) -> bool:
    """Whether a mean is the right sum over another count, that of a window which does or does not overhang."""
    if it.operator != "AveragePool" or it.overhangs(cell) != declared:
        return False
    if not (math.isfinite(actual) and math.isfinite(expected)):
        return False
    window = it.window(cell)
    total, magnitude = math.fsum(window), math.fsum(np.abs(window))
    means = [(total / count, magnitude / count) for count in it.counts(cell)]
    return any(it.alike(mean, actual, size) and not it.alike(mean, expected, size) for mean, size in means)


def _signed_norm(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    """Whether a norm took powers of numbers with their signs, or their mean."""
    window, p = it.window(cell), it.attributes.get("p", 2)
    if it.operator not in NORMS or not bool(np.isfinite(window).all()):
        return False
    if window.size > 1 and it.alike(expected, actual * window.size ** (1 / p)):
        return True
    if not bool((window < 0).any()):
        return False
    total = float((window**p).sum())
    if total < 0 and p != 1:
        return math.isnan(actual) or actual == 0 or it.alike(-((-total) ** (1 / p)), actual)
    if p == 1:
        return it.alike(total, actual, float(np.abs(window).sum()))
    return it.alike(total ** (1 / p), actual)


def _overflowed_norm(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    window, p = np.abs(it.window(cell)), it.attributes.get("p", 2)
    if it.operator not in NORMS or not window.size or not math.isfinite(expected):
        return False
    info = _finfo(it)
    with np.errstate(all="ignore"):
        powers = window**p
    if actual == math.inf:
        return bool(powers.sum() > float(info.max))
    return bool(powers.max() < float(info.tiny) / float(info.eps)) and 0 <= actual <= 2 * expected


def _rounded_sum(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    """Whether adding one number after the other explains a mean."""
    window = it.window(cell)
    if it.operator not in MEANS or not bool(np.isfinite(window).all()) or window.size < MANY:
        return False
    unit = float(_finfo(it).eps) / 2
    return abs(actual - expected) <= window.size * unit * float(np.abs(window).mean())


def _is_flushed(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    return it.verdict.output == 0 and it.dtype.kind in "fV" and actual == 0 < abs(expected) < float(_finfo(it).tiny)


def _takes_padding(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    if it.operator == "MaxPool":
        return it.verdict.output == 0 and actual == 0 > expected and it.window(cell).size < it.tap_count
    return _other_divisor(it, cell, expected, actual, declared=False)


def _made_up(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    """Whether the norm of a window that reaches behind the end is scaled up to a whole kernel."""
    if it.operator != "LpPool" or not it.overhangs(cell):
        return False
    p = it.attributes.get("p", 2)
    return any(it.alike(expected * (it.tap_count / count) ** (1 / p), actual) for count in it.counts(cell))


def _in_float32(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    """Whether a float64 is as exact as float32 would have it."""
    if it.dtype != np.float64 or it.operator in MAXIMA:
        return False
    return abs(actual - expected) <= it.window(cell).size * 2.0**-23 * abs(expected)


_OF_CELLS: Mapping[str, Callable[[Evidence, Cell, Any, Any], bool]] = {
    "empty-window": lambda it, *cell: it.operator in WINDOWED and _of_nothing(it, *cell),
    "nan-propagates": _overlooks_nan,
    "minus-infinity-start": lambda it, *cell: it.operator in MAXIMA and _starts_from_the_least(it, *cell),
    "average-ignores-nothing": _ignores_some,
    "first-of-ties": _is_tie,
    "column-major-indices": lambda it, *cell: bool(it.attributes.get("storage_order")) and _names_another(it, *cell),
    "index-convention": lambda it, *cell: not it.attributes.get("storage_order") and _names_another(it, *cell),
    "denormals-are-numbers": _is_flushed,
    "divisor-counts-declared-padding": lambda it, *cell: _other_divisor(it, *cell, declared=True),
    "padding-is-no-element": _takes_padding,
    "lp-of-absolute-values": _signed_norm,
    "lp-without-overflow": _overflowed_norm,
    "accurate-sums": _rounded_sum,
    "dilation-in-average": lambda it, *cell: RULES["dilation-in-average"].at_stake(it) and it.windows_elsewhere,
    "dilation": lambda it, *cell: it.operator in WINDOWED and it.dilated and it.windows_elsewhere,
    "ceil-partial-window": lambda it, *cell: (
        it.operator in WINDOWED and it.ceil and (_made_up(it, *cell) or it.windows_elsewhere)
    ),
    "every-dtype": _in_float32,
}
"""What a cell that differs shows, in the order in which it is asked."""
