"""Differences that are known: who breaks which rule, in which versions it was seen, and the case that shows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .inputs.case import Case, make_case
from .rules import broken_rule
from .runners import installed
from .runners.processes import Limits, run_cases
from .runners.results import Answer
from .verdicts import Kind, Verdict, judge

__all__ = ["KNOWN", "Known", "Seen", "address", "known_differences", "look_again"]

Numbers = NDArray[Any]
SOON = Limits(seconds=20)
"""What a case this small may take."""
REPOSITORIES = {
    "onnx": "onnx/onnx",
    "onnxruntime": "microsoft/onnxruntime",
    "openvino": "openvinotoolkit/openvino",
    "pytorch": "pytorch/pytorch",
    "webnn": "webmachinelearning/webnn",
}


@dataclass(frozen=True)
class Known:
    """A difference that was seen.

    Attributes
    ----------
    rule : str
        The key of the rule that is broken, of `pooling.validation.rules.RULES`.
    runtime : str
        Who breaks it, a key of `pooling.validation.runners.RUNTIMES`.
    kind : Kind
        How: `Kind.REFUSES` for what it does not take, `Kind.CRASHES` where it ends the process.
    finding : str
        What was measured.
    case : callable
        Makes the `Case` that shows it.
    versions : tuple of str
        In which it was seen with this case.
    upstream : tuple of str
        Where it is reported, such as ``"openvino#35935"``; `address` makes links of them.
    """

    rule: str
    runtime: str
    kind: Kind
    finding: str
    case: Callable[[], Case]
    versions: tuple[str, ...]
    upstream: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What became of a known difference in the installed version of its runtime.

    Attributes
    ----------
    known : Known
        The difference.
    version : str
        Installed.
    verdict : Verdict
        On its case, today.
    rule : str or None
        The rule that is broken today, if any.
    """

    known: Known
    version: str
    verdict: Verdict
    rule: str | None

    @property
    def vanished(self) -> bool:
        """Whether the runtime gives the right answer now."""
        return self.verdict.kind is Kind.AGREES

    @property
    def shown(self) -> bool:
        """Whether the difference is there, and the same as ever."""
        return self.verdict.kind is self.known.kind and self.rule == self.known.rule

    @property
    def sentence(self) -> str:
        """What became of it, in a sentence."""
        name = f"{self.known.runtime} {self.version}"
        if self.vanished:
            last = self.known.versions[-1]
            return f"{name} keeps {self.known.rule}; the difference seen in {last} has vanished"
        verb = {Kind.REFUSES: "refuses what", Kind.CRASHES: "crashes on what"}.get(self.verdict.kind)
        broken = self.rule or "no rule that is known"
        what = f"{verb} {broken} asks for" if verb else f"breaks {broken}"
        return f"{name} {what}: {self.verdict.sentence}"


def address(reference: str) -> str:
    """Return where an upstream reference leads.

    Examples
    --------
    >>> address("openvino#35935")
    'https://github.com/openvinotoolkit/openvino/issues/35935'
    """
    project, _, number = reference.partition("#")
    return f"https://github.com/{REPOSITORIES[project]}/issues/{number}"


def known_differences(rule: str | None, runtime: str, case: Case | None = None) -> tuple[Known, ...]:
    """Return what is known of a runtime and a rule, those on the same operator first.

    Parameters
    ----------
    rule : str or None
        A key of `pooling.validation.rules.RULES`; nothing is known about None.
    runtime : str
        A key of `pooling.validation.runners.RUNTIMES`.
    case : Case, optional
        What was asked.
    """
    found = [known for known in KNOWN if (known.rule, known.runtime) == (rule, runtime)]
    operator = None if case is None else case.node.op_type
    return tuple(sorted(found, key=lambda known: known.case().node.op_type != operator))


def look_again(
    known: Iterable[Known] | None = None,
    *,
    limits: Limits | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Seen]:
    """Ask the installed runtimes again for what is known of them.

    Parameters
    ----------
    known : iterable of Known, optional
        All of `KNOWN` when not given; those of runtimes that are not installed are left out.
    limits : Limits, optional
        For each case; `SOON` when not given.
    progress : callable, optional
        Called as ``progress(done, total, name)`` before each case.

    Returns
    -------
    list of Seen
        In the order of `known`.
    """
    versions = installed()
    chosen = [each for each in (KNOWN if known is None else known) if each.runtime in versions]
    cases = [each.case() for each in chosen]
    total, done = 2 * len(cases), 0

    def answers(runtime: str, asked: Sequence[Case]) -> list[Answer]:
        nonlocal done
        before = done
        done += len(asked)
        return run_cases(
            runtime,
            asked,
            limits or SOON,
            progress and (lambda number, _, name: progress(before + number, total, name)),
        )

    expected = answers("oracle", cases)
    actual: dict[int, Answer] = {}
    for runtime in dict.fromkeys(each.runtime for each in chosen):
        places = [place for place, each in enumerate(chosen) if each.runtime == runtime]
        actual.update(zip(places, answers(runtime, [cases[place] for place in places]), strict=True))
    seen = []
    for place, (each, case, right) in enumerate(zip(chosen, cases, expected, strict=True)):
        verdict = judge(case, right, actual[place])
        seen.append(Seen(each, versions[each.runtime], verdict, broken_rule(case, right, verdict, actual[place])))
    return seen


# ---------------------------------------------------------------------------------------------------------------------
# Cases


def _ramp(*shape: int, start: int = 1, dtype: str = "float32") -> Numbers:
    return np.arange(start, start + int(np.prod(shape)), dtype=dtype).reshape(shape)


def _holding(number: float, tap: int, dtype: str = "float32") -> Numbers:
    """Return 1, 2, 3, 4 as a square, one of them replaced."""
    numbers = np.arange(1, 5, dtype=dtype)
    numbers[tap] = number
    return numbers.reshape(1, 1, 2, 2)


def _case(
    rule: str, operator: str, array: Numbers | Sequence[Numbers], opset: int = 22, **others: Any
) -> Callable[[], Case]:
    name = re.sub(r"[^a-z0-9]+", "-", f"known-{rule}-{operator}".lower())
    return lambda: make_case(operator, array, opset, name=name, rules=(rule,), **others)


def _known(
    rule: str,
    runtime: str,
    kind: Kind,
    finding: str,
    operator: str,
    array: Numbers | Sequence[Numbers],
    opset: int = 22,
    *,
    seen: Sequence[str] | None = None,
    upstream: Sequence[str] = (),
    **others: Any,
) -> Known:
    versions = MEASURED[runtime] if seen is None else tuple(seen)
    return Known(rule, runtime, kind, finding, _case(rule, operator, array, opset, **others), versions, tuple(upstream))


def _flushed(runtime: str) -> Known:
    array = _ramp(1, 1, 2, 2, 2) * np.float32(2.0**-140)
    finding = "means of numbers around 2**-138 are 0"
    return _known("denormals-are-numbers", runtime, Kind.VALUE, finding, "AveragePool", array, kernel_shape=[2] * 3)


MEASURED: Mapping[str, tuple[str, ...]] = {
    "onnxruntime": ("1.22.1", "1.32.0"),
    "onnx.reference": ("1.23.2",),
    "openvino": ("2026.4.1",),
    "torch": ("2.13.0+cpu",),
    "tract": ("0.23.9",),
    "opencv": ("5.0.0.93",),
    "jax": ("0.10.2",),
}
"""The versions with which all entries were measured."""
NAN, INF = float("nan"), float("inf")
FIVE = _ramp(1, 1, 5, 5)
LATE: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1}
PARTIAL: dict[str, Any] = {
    "kernel_shape": [3, 3],
    "strides": [2, 2],
    "pads": [1, 1, 1, 1],
    "ceil_mode": 1,
    "count_include_pad": 1,
}
SQUARE: dict[str, Any] = {"kernel_shape": [2, 2]}
DILATED: dict[str, Any] = {"kernel_shape": [3], "dilations": [2], "auto_pad": "SAME_UPPER"}
NOTHING: dict[str, Any] = {"kernel_shape": [2], "dilations": [5], "pads": [1, 1]}
VALID_PARTIAL: dict[str, Any] = {"kernel_shape": [3], "strides": [2], "auto_pad": "VALID", "ceil_mode": 1}
MADE_UP = (
    "LpPool, 6 elements, kernel 3, stride 2, VALID, ceil_mode: the last window, of two elements, is made up to a "
    "whole kernel, 9.566 instead of 7.810"
)
HUGE_STRIDE: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2**62, 2**62], "ceil_mode": 1}
ONES = np.ones((1, 1, 4, 4), np.float32)
TENTHS = np.full((1, 1, 65536), 0.1, np.float32)
NORMS = np.array([[[-1, -2, -3, 1, 2, 3]]], np.float32)
LARGE = np.full((1, 1, 2), 1e20, np.float32)
EMPTY = np.zeros((0, 3, 4, 4), np.float32)
CHANNELLESS = np.zeros((2, 0, 4, 4), np.float32)

_ONNXRUNTIME = (
    _known(
        "nan-propagates",
        "onnxruntime",
        Kind.NAN,
        "the maximum of [nan, 2, 3, 4] is 4; only a NaN at the last of the four places survives",
        "MaxPool",
        _holding(NAN, 0),
        **SQUARE,
    ),
    _known(
        "nan-propagates",
        "onnxruntime",
        Kind.NAN,
        "with indices, the maximum of [1, nan, 3, 4] is 4 at index 3; only a NaN at the first place survives",
        "MaxPool",
        _holding(NAN, 1),
        outputs=2,
        **SQUARE,
    ),
    _known(
        "nan-propagates",
        "onnxruntime",
        Kind.NAN,
        "in float64 the maximum of [1, 2, 3, nan] is 3; only a NaN at the first place survives",
        "MaxPool",
        _holding(NAN, 3, "float64"),
        **SQUARE,
    ),
    _known(
        "nan-propagates",
        "onnxruntime",
        Kind.NAN,
        "the global maximum of [nan, 2, 3, 4] is 4; only a NaN at the last place survives",
        "GlobalMaxPool",
        _holding(NAN, 0),
    ),
    _known(
        "nan-propagates",
        "onnxruntime",
        Kind.NAN,
        "two NaN on one axis have the maximum -3.4e38",
        "MaxPool",
        np.full((1, 1, 2), NAN, np.float32),
        kernel_shape=[2],
    ),
    _known(
        "minus-infinity-start",
        "onnxruntime",
        Kind.VALUE,
        "a window of -inf has the maximum -3.4028235e+38, with padding and without",
        "MaxPool",
        np.full((1, 1, 2, 2), -INF, np.float32),
        **SQUARE,
    ),
    _known(
        "empty-window",
        "onnxruntime",
        Kind.VALUE,
        "a window with both taps in the padding has the maximum -3.4028235e+38",
        "MaxPool",
        _ramp(1, 1, 4),
        **NOTHING,
    ),
    _known(
        "empty-window",
        "onnxruntime",
        Kind.NAN,
        "a window with both taps in the padding has the mean 0",
        "AveragePool",
        _ramp(1, 1, 4),
        **NOTHING,
    ),
    *(
        _known(
            "same-uses-effective-kernel",
            "onnxruntime",
            Kind.SHAPE,
            "8 elements, kernel 3, dilation 2, SAME_UPPER: 6 results instead of 8",
            operator,
            _ramp(1, 1, 8),
            upstream=["onnxruntime#20582"],
            **DILATED,
        )
        for operator in ("MaxPool", "AveragePool", "LpPool")
    ),
    _known(
        "same-output-size",
        "onnxruntime",
        Kind.REFUSES,
        "SAME with stride 5 and kernel 2: padding values must be non-negative",
        "MaxPool",
        _ramp(1, 1, 8),
        kernel_shape=[2],
        strides=[5],
        auto_pad="SAME_UPPER",
        seen=["1.32.0"],
    ),
    _known(
        "pads-up-to-effective-kernel",
        "onnxruntime",
        Kind.REFUSES,
        "pads as large as the undilated kernel are refused when the model is loaded",
        "MaxPool",
        _ramp(1, 1, 8),
        kernel_shape=[2],
        dilations=[3],
        pads=[2, 2],
        upstream=["onnxruntime#801"],
    ),
    _known(
        "no-window-is-refused",
        "onnxruntime",
        Kind.VALUE,
        "one element, kernel 3, stride 5: one result, where the formula gives none",
        "MaxPool",
        np.ones((1, 1, 1), np.float32),
        kernel_shape=[3],
        strides=[5],
        upstream=["onnxruntime#25234"],
    ),
    *(
        _known(
            "every-dtype",
            "onnxruntime",
            Kind.REFUSES,
            f"{operator} has no implementation for float64",
            operator,
            _ramp(1, 1, 2, 2, dtype="float64"),
            **attributes,
        )
        for operator, attributes in (("AveragePool", SQUARE), ("LpPool", SQUARE), ("GlobalAveragePool", {}))
    ),
    _known(
        "every-operator",
        "onnxruntime",
        Kind.REFUSES,
        "GlobalLpPool has no implementation in opset 22",
        "GlobalLpPool",
        _ramp(1, 1, 2, 2),
    ),
    _known(
        "empty-batch",
        "onnxruntime",
        Kind.REFUSES,
        "no channels: invalid channel count",
        "MaxPool",
        CHANNELLESS,
        strides=[2, 2],
        **SQUARE,
    ),
    _known(
        "accurate-sums",
        "onnxruntime",
        Kind.VALUE,
        "the mean of 65536 times 0.1 is 0.10006, that of one running sum",
        "AveragePool",
        TENTHS,
        kernel_shape=[65536],
        upstream=["onnxruntime#12043"],
    ),
    _known(
        "lp-without-overflow",
        "onnxruntime",
        Kind.VALUE,
        "the norm of [1e20, 1e20] is inf and not 1.414e20",
        "LpPool",
        LARGE,
        kernel_shape=[2],
    ),
    _known(
        "every-operator",
        "onnxruntime",
        Kind.REFUSES,
        "AveragePool has no implementation in opset 1",
        "AveragePool",
        _ramp(1, 1, 2, 2),
        1,
        **SQUARE,
    ),
    Known(
        "divisor-counts-declared-padding",
        "onnxruntime",
        Kind.VALUE,
        "below opset 19 the divisor was the whole kernel: 1.111 instead of 1.667 at the right border of 0 to 15",
        _case("divisor-counts-declared-padding", "AveragePool", _ramp(1, 1, 4, 4, start=0), 11, **PARTIAL),
        ("1.22.1",),
        ("onnxruntime#16203", "onnxruntime#29629"),
    ),
)

_REFERENCE = (
    _known(
        "same-output-size",
        "onnx.reference",
        Kind.SHAPE,
        "7 elements, kernel 1, stride 3, SAME_LOWER: 2 results instead of 3",
        "MaxPool",
        _ramp(1, 1, 7),
        kernel_shape=[1],
        strides=[3],
        auto_pad="SAME_LOWER",
    ),
    _known(
        "index-convention",
        "onnx.reference",
        Kind.INDEX,
        "the only window of a 3 x 3 input has its maximum at index 24, in a tensor of 9 elements",
        "MaxPool",
        _ramp(1, 1, 3, 3),
        outputs=2,
        kernel_shape=[3, 3],
    ),
    _known(
        "same-lower-pads-begin",
        "onnx.reference",
        Kind.VALUE,
        "SAME_LOWER gives the answer of SAME_UPPER: [3, 5, 6] instead of [2, 4, 6]",
        "MaxPool",
        _ramp(1, 1, 6),
        kernel_shape=[3],
        strides=[2],
        auto_pad="SAME_LOWER",
    ),
    _known(
        "valid-with-ceil",
        "onnx.reference",
        Kind.SHAPE,
        "VALID rounds down although ceil_mode is 1: [3, 5] instead of [3, 5, 6]",
        "MaxPool",
        _ramp(1, 1, 6),
        kernel_shape=[3],
        strides=[2],
        auto_pad="VALID",
        ceil_mode=1,
        upstream=["onnxruntime#10083"],
    ),
    _known(
        "valid-with-ceil",
        "onnx.reference",
        Kind.REFUSES,
        "AveragePool and LpPool: ceil_mode is not supported with auto_pad",
        "AveragePool",
        _ramp(1, 1, 6),
        kernel_shape=[3],
        strides=[2],
        auto_pad="VALID",
        ceil_mode=1,
    ),
    _known(
        "dilation-in-average",
        "onnx.reference",
        Kind.VALUE,
        "10 elements, kernel 3, dilation 2, stride 3, pads 1, ceil_mode: windows begin one cell early, "
        "[2, 4, 7, 9] instead of [3, 5, 8, 9]",
        "AveragePool",
        _ramp(1, 1, 10),
        kernel_shape=[3],
        strides=[3],
        dilations=[2],
        pads=[1, 1],
        ceil_mode=1,
        upstream=["onnx#8174"],
    ),
    *(
        _known(
            "same-uses-effective-kernel",
            "onnx.reference",
            Kind.VALUE,
            "8 elements, kernel 3, dilation 2, SAME_UPPER: padded for the undilated kernel, and zeros at the end",
            operator,
            _ramp(1, 1, 8),
            upstream=["onnx#8174"],
            **DILATED,
        )
        for operator in ("AveragePool", "LpPool")
    ),
    _known(
        "average-ignores-nothing",
        "onnx.reference",
        Kind.NAN,
        "the mean of [nan, 1] is 1",
        "AveragePool",
        np.array([[[NAN, 1]]], np.float32),
        kernel_shape=[2],
    ),
    _known(
        "average-ignores-nothing",
        "onnx.reference",
        Kind.NAN,
        "the norm of [nan, 1] is 1.414, as that of [1, 1]",
        "LpPool",
        np.array([[[NAN, 1]]], np.float32),
        kernel_shape=[2],
    ),
    _known(
        "nan-propagates",
        "onnx.reference",
        Kind.NAN,
        "the maximum of [nan, 2, 3, 4] is 4",
        "MaxPool",
        _holding(NAN, 0),
        **SQUARE,
    ),
    _known(
        "nan-propagates",
        "onnx.reference",
        Kind.REFUSES,
        "a window of NaN only: zero-size array to reduction operation maximum which has no identity",
        "MaxPool",
        np.full((1, 1, 2, 2), NAN, np.float32),
        **SQUARE,
    ),
    *(
        _known(
            "any-rank",
            "onnx.reference",
            Kind.SHAPE,
            f"the global maximum of an input with {axes} spatial ax{'i' if axes == 1 else 'e'}s has shape {shape}",
            "GlobalMaxPool",
            _ramp(2, 3, *[4] * axes),
        )
        for axes, shape in ((1, "(2, 1)"), (3, "(2, 3, 4, 1, 1, 1)"))
    ),
    _known(
        "every-operator",
        "onnx.reference",
        Kind.REFUSES,
        "GlobalLpPool: no registered implementation",
        "GlobalLpPool",
        _ramp(1, 1, 2, 2),
    ),
    _known(
        "column-major-indices",
        "onnx.reference",
        Kind.INDEX,
        "windows of one cell of a 2 x 3 plane have the row-major indices [0, 1, 2, 3, 4, 5]",
        "MaxPool",
        _ramp(1, 1, 2, 3),
        outputs=2,
        kernel_shape=[1, 1],
        storage_order=1,
    ),
    _known(
        "empty-window",
        "onnx.reference",
        Kind.NAN,
        "a window with both taps in the padding has the maximum nan",
        "MaxPool",
        _ramp(1, 1, 4),
        **NOTHING,
    ),
    _known(
        "unpool-indices",
        "onnx.reference",
        Kind.REFUSES,
        "an output_shape larger than the one that the attributes give: index out of bounds",
        "MaxUnpool",
        [_ramp(1, 1, 2, 2), np.array([[[[6, 8], [16, 18]]]]), np.array([1, 1, 5, 5])],
        kernel_shape=[2, 2],
        strides=[2, 2],
        upstream=["onnx#2398"],
    ),
    _known(
        "empty-batch",
        "onnx.reference",
        Kind.REFUSES,
        "GlobalAveragePool of no batch: division by zero",
        "GlobalAveragePool",
        EMPTY,
    ),
    _known(
        "no-window-is-refused",
        "onnx.reference",
        Kind.VALUE,
        "one element, kernel 3, stride 5: an empty result instead of an error",
        "MaxPool",
        np.ones((1, 1, 1), np.float32),
        kernel_shape=[3],
        strides=[5],
    ),
    _known(
        "lp-without-overflow",
        "onnx.reference",
        Kind.VALUE,
        "the norm of [1e20, 1e20] is inf and not 1.414e20",
        "LpPool",
        LARGE,
        kernel_shape=[2],
    ),
    _known(
        "padding-is-no-element",
        "onnx.reference",
        Kind.VALUE,
        "in opset 1, which has no count_include_pad, padding counts: 0.667 instead of 1 at the border of ones",
        "AveragePool",
        np.ones((1, 1, 3), np.float32),
        1,
        kernel_shape=[3],
        pads=[1, 1],
    ),
)

_OPENVINO = (
    _known(
        "ceil-partial-window",
        "openvino",
        Kind.VALUE,
        MADE_UP,
        "LpPool",
        _ramp(1, 1, 6),
        **VALID_PARTIAL,
    ),
    _known(
        "every-dtype",
        "openvino",
        Kind.VALUE,
        "LpPool of float64 is as exact as float32",
        "LpPool",
        _ramp(1, 1, 2, 2, dtype="float64"),
        **SQUARE,
    ),
    _known(
        "empty-batch",
        "openvino",
        Kind.CRASHES,
        "GlobalLpPool of no channels ends the process with SIGFPE",
        "GlobalLpPool",
        CHANNELLESS,
    ),
    *(
        _known(
            "ceil-last-window",
            "openvino",
            Kind.SHAPE,
            "5 x 5, kernel 3, stride 3, pads 1, ceil_mode: 3 x 3 with five times -3.4e38 instead of [7, 10, 22, 25]",
            "MaxPool",
            FIVE,
            opset,
            upstream=["webnn#935", "onnxruntime#15446", "openvino#22930", "openvino#36714"],
            **LATE,
        )
        for opset in (12, 22)
    ),
    *(
        _known(
            "divisor-counts-declared-padding",
            "openvino",
            Kind.VALUE,
            "0 to 15 as 4 x 4, kernel 3, stride 2, pads 1: the divisor is the whole kernel, 1.111 instead of 1.667",
            "AveragePool",
            _ramp(1, 1, 4, 4, start=0),
            opset,
            upstream=["openvino#20553"],
            **PARTIAL,
        )
        for opset in (11, 22)
    ),
    *(
        _known(
            "nan-propagates",
            "openvino",
            Kind.NAN,
            f"the maximum of four numbers with a NaN at place {tap} is the greatest of the others",
            "MaxPool",
            _holding(NAN, tap),
            upstream=["openvino#35935"],
            **SQUARE,
        )
        for tap in (0, 3)
    ),
    _known(
        "nan-propagates",
        "openvino",
        Kind.NAN,
        "a window of NaN only has the maximum -3.4028235e+38",
        "MaxPool",
        np.full((1, 1, 3, 3), NAN, np.float32),
        kernel_shape=[3, 3],
        upstream=["openvino#35935"],
    ),
    _known(
        "nan-propagates",
        "openvino",
        Kind.NAN,
        "the global maximum of [nan, 2, 3, 4] is 4; only a NaN at the last place survives",
        "GlobalMaxPool",
        _holding(NAN, 0),
    ),
    *(
        _known(
            "minus-infinity-start",
            "openvino",
            Kind.VALUE,
            "a window of -inf has the maximum -3.4028235e+38",
            operator,
            np.full((1, 1, 2, 2), -INF, np.float32),
            upstream=["openvino#35935"] if operator == "MaxPool" else [],
            **attributes,
        )
        for operator, attributes in (("MaxPool", SQUARE), ("GlobalMaxPool", {}))
    ),
    _known(
        "minus-infinity-start",
        "openvino",
        Kind.INDEX,
        "the index of the maximum of a window of -128 is 0, whatever the window",
        "MaxPool",
        np.full((1, 1, 2, 2), -128, np.int8),
        outputs=2,
        strides=[2, 2],
        pads=[1, 1, 1, 1],
        **SQUARE,
    ),
    _known(
        "empty-window",
        "openvino",
        Kind.VALUE,
        "a window with both taps in the padding has the maximum -3.4028235e+38",
        "MaxPool",
        _ramp(1, 1, 4),
        **NOTHING,
    ),
    _known(
        "column-major-indices",
        "openvino",
        Kind.SHAPE,
        "indices of a 2 x 3 plane come as 3 x 2, counted as [0, 3, 1, 4, 2, 5] instead of [0, 2, 4, 1, 3, 5]",
        "MaxPool",
        _ramp(1, 1, 2, 3),
        outputs=2,
        kernel_shape=[1, 1],
        storage_order=1,
    ),
    *(
        _known(
            "empty-batch",
            "openvino",
            Kind.REFUSES,
            "a batch of size 0 is refused when the model is compiled",
            operator,
            EMPTY,
            strides=[2, 2],
            **SQUARE,
        )
        for operator in ("MaxPool", "AveragePool", "LpPool")
    ),
    *(
        _known(
            "overflow-is-refused",
            "openvino",
            Kind.CRASHES,
            "stride 2**62 with ceil_mode=1 ends the process with SIGFPE, or hangs it",
            operator,
            ONES,
            **HUGE_STRIDE,
        )
        for operator in ("MaxPool", "AveragePool", "LpPool")
    ),
    _known(
        "every-operator",
        "openvino",
        Kind.REFUSES,
        "MaxUnpool cannot be converted",
        "MaxUnpool",
        [_ramp(1, 1, 2, 2), np.array([[[[5, 7], [13, 15]]]])],
        kernel_shape=[2, 2],
        strides=[2, 2],
    ),
    _known(
        "accurate-sums",
        "openvino",
        Kind.VALUE,
        "the mean of 65536 times 0.1 is 0.10006, that of one running sum",
        "AveragePool",
        TENTHS,
        kernel_shape=[65536],
    ),
    _known(
        "lp-without-overflow",
        "openvino",
        Kind.VALUE,
        "the norm of [1e20, 1e20] is inf and not 1.414e20",
        "LpPool",
        LARGE,
        kernel_shape=[2],
    ),
)

_TORCH = (
    _known(
        "ceil-partial-window",
        "torch",
        Kind.VALUE,
        MADE_UP,
        "LpPool",
        _ramp(1, 1, 6),
        **VALID_PARTIAL,
    ),
    _known(
        "lp-of-absolute-values",
        "torch",
        Kind.VALUE,
        "p = 1 of [-1, -2, -3, 1, 2, 3] is [-3, -2, 5]: powers keep their sign",
        "LpPool",
        NORMS,
        p=1,
        kernel_shape=[2],
        strides=[2],
        upstream=["pytorch#184037"],
    ),
    _known(
        "lp-of-absolute-values",
        "torch",
        Kind.NAN,
        "p = 3 of [-1, -2, -3, 1, 2, 3] is [nan, nan, 3.271]",
        "LpPool",
        NORMS,
        p=3,
        kernel_shape=[2],
        strides=[2],
        upstream=["pytorch#184037"],
    ),
    _known(
        "lp-without-overflow",
        "torch",
        Kind.VALUE,
        "the norm of [1e20, 1e20] is inf and not 1.414e20",
        "LpPool",
        LARGE,
        kernel_shape=[2],
    ),
    _known(
        "pads-up-to-effective-kernel",
        "torch",
        Kind.REFUSES,
        "more padding than half of the undilated kernel is refused, also where the effective kernel is larger",
        "MaxPool",
        _ramp(1, 1, 8),
        kernel_shape=[3],
        dilations=[2],
        pads=[2, 2],
        upstream=["pytorch#7541", "pytorch#3298"],
    ),
    _known(
        "asymmetric-pads",
        "torch",
        Kind.REFUSES,
        "there is no argument for padding that differs at the two sides",
        "AveragePool",
        _ramp(1, 1, 6),
        kernel_shape=[3],
        strides=[2],
        pads=[1, 0],
        upstream=["pytorch#71362"],
    ),
    _known(
        "dilation-in-average",
        "torch",
        Kind.REFUSES,
        "there is no argument for the dilation of a mean",
        "AveragePool",
        _ramp(1, 1, 8),
        kernel_shape=[3],
        dilations=[2],
    ),
    _known(
        "nan-propagates",
        "torch",
        Kind.INDEX,
        "of two NaN the index is that of the last",
        "MaxPool",
        np.array([[[[1, NAN], [NAN, 2]]]], np.float32),
        outputs=2,
        **SQUARE,
    ),
    _known(
        "accurate-sums",
        "torch",
        Kind.VALUE,
        "the mean of 65536 times 0.1 is 0.10006, that of one running sum",
        "AveragePool",
        TENTHS.reshape(1, 1, 256, 256),
        kernel_shape=[256, 256],
    ),
    _known(
        "empty-batch",
        "torch",
        Kind.REFUSES,
        "no channels: expected non-zero size",
        "MaxPool",
        CHANNELLESS,
        strides=[2, 2],
        **SQUARE,
    ),
)

_TRACT = (
    _known(
        "valid-with-ceil",
        "tract",
        Kind.SHAPE,
        "VALID rounds down although ceil_mode is 1: [3, 5] instead of [3, 5, 6]",
        "MaxPool",
        _ramp(1, 1, 6),
        **VALID_PARTIAL,
    ),
    _known(
        "nan-propagates",
        "tract",
        Kind.NAN,
        "the maximum of [nan, 2, 3, 4] is 4",
        "MaxPool",
        _holding(NAN, 0),
        **SQUARE,
    ),
    _known(
        "minus-infinity-start",
        "tract",
        Kind.VALUE,
        "a window of -inf has the maximum -3.4028235e+38",
        "MaxPool",
        np.full((1, 1, 4, 4), -INF, np.float32),
        strides=[2, 2],
        **SQUARE,
    ),
    _known(
        "lp-of-absolute-values",
        "tract",
        Kind.VALUE,
        "GlobalLpPool takes the mean of the powers, and not their sum",
        "GlobalLpPool",
        _ramp(1, 1, 6),
    ),
    _known(
        "no-window-is-refused",
        "tract",
        Kind.VALUE,
        "one element, kernel 3: one result, where there is no window",
        "MaxPool",
        np.ones((1, 1, 1), np.float32),
        kernel_shape=[3],
    ),
)

_OPENCV = (
    _known(
        "ceil-last-window",
        "opencv",
        Kind.SHAPE,
        "5 x 5, kernel 3, stride 3, pads 1, ceil_mode: 3 x 3 instead of [7, 10, 22, 25]",
        "MaxPool",
        FIVE,
        **LATE,
    ),
    _known(
        "divisor-counts-declared-padding",
        "opencv",
        Kind.VALUE,
        "0 to 15 as 4 x 4, kernel 3, stride 2, pads 1: the divisor is the whole kernel, 1.111 instead of 1.667",
        "AveragePool",
        _ramp(1, 1, 4, 4, start=0),
        **PARTIAL,
    ),
    _known(
        "same-lower-pads-begin",
        "opencv",
        Kind.VALUE,
        "SAME_LOWER gives the answer of SAME_UPPER: [2, 3, 3] instead of [1, 2, 3]",
        "MaxPool",
        _ramp(1, 1, 3),
        kernel_shape=[2],
        auto_pad="SAME_LOWER",
    ),
    _known(
        "same-uses-effective-kernel",
        "opencv",
        Kind.VALUE,
        "8 elements, kernel 3, dilation 2, SAME_UPPER: windows lie as padding for the undilated kernel has them",
        "MaxPool",
        _ramp(1, 1, 8),
        **DILATED,
    ),
    _known(
        "column-major-indices",
        "opencv",
        Kind.INDEX,
        "windows of one cell of a 2 x 3 plane have the row-major indices [0, 1, 2, 3, 4, 5]",
        "MaxPool",
        _ramp(1, 1, 2, 3),
        outputs=2,
        kernel_shape=[1, 1],
        storage_order=1,
    ),
    _flushed("opencv"),
)

_JAX = (_flushed("jax"),)

KNOWN: tuple[Known, ...] = (*_ONNXRUNTIME, *_REFERENCE, *_OPENVINO, *_TORCH, *_TRACT, *_OPENCV, *_JAX)
"""What is known, by runtime."""
