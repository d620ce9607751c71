"""Which rules a node brings into play, and which rule a wrong answer is diagnosed on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pooling.numerics.inputs import draw
from pooling.validation.conformance.suite import conformance_suite
from pooling.validation.inputs.case import Case, make_case
from pooling.validation.rules import RULES, applicable_rules, broken_rule
from pooling.validation.runners import RUNTIMES
from pooling.validation.runners.results import Result
from pooling.validation.verdicts import Kind, judge
from tests.conftest import Array

NAN, INF = float("nan"), float("inf")
LEAST = float(np.finfo(np.float32).min)


def ramp(*shape: int, start: int = 1, dtype: str = "float32") -> Array:
    return np.arange(start, start + int(np.prod(shape)), dtype=dtype).reshape(shape)


def oracle(case: Case) -> Result:
    return Result(tuple(RUNTIMES["oracle"].run(case.model.SerializeToString(), case.inputs)))


def applicable(case: Case) -> tuple[str, ...]:
    return applicable_rules(case.node, case.opset, case.array.shape)


def diagnosed(case: Case, *outputs: Any) -> str | None:
    """Return the rule that an answer is said to break, which has to be a wrong one."""
    expected = oracle(case)
    dtypes = [output.dtype for output in expected.outputs]
    actual = Result(tuple(np.asarray(output).astype(dtype) for output, dtype in zip(outputs, dtypes, strict=True)))
    verdict = judge(case, expected, actual)
    assert verdict.kind.differs, verdict
    return broken_rule(case, expected, verdict, actual)


# ---------------------------------------------------------------------------------------------------------------------
# Applicable rules


def test_every_rule_says_what_and_where() -> None:
    assert list(RULES) == [rule.key for rule in RULES.values()]
    for rule in RULES.values():
        assert rule.title
        assert rule.text.endswith(".")
        assert rule.remedy
        assert all(RULES[key].confounder for key in rule.implies)
        assert "https://" in rule.source or "this library" in rule.source or "IEEE" in rule.source


WINDOW_3: dict[str, Any] = {"kernel_shape": [3], "strides": [2]}


@pytest.mark.parametrize(
    ("rule", "operator", "shape", "opset", "with_it", "without_it"),
    [
        ("ceil-last-window", "MaxPool", (1, 1, 5), 22, {"strides": [3], "pads": [1, 1]}, {"strides": [2]}),
        ("ceil-last-window", "MaxPool", (1, 1, 5), 12, {"strides": [3], "pads": [1, 1]}, {"strides": [2]}),
        ("ceil-partial-window", "LpPool", (1, 1, 6), 18, {"strides": [2]}, {"strides": [3]}),
        ("divisor-counts-declared-padding", "AveragePool", (1, 1, 6), 11, {"count_include_pad": 1, "strides": [2]}, {}),
    ],
)
def test_rules_of_ceil_mode(
    rule: str, operator: str, shape: tuple[int, ...], opset: int, with_it: dict[str, Any], without_it: dict[str, Any]
) -> None:
    def applies(**attributes: Any) -> bool:
        return rule in applicable(
            make_case(operator, np.ones(shape, np.float32), opset, kernel_shape=[3], **attributes)
        )

    assert applies(ceil_mode=1, **with_it)
    assert not applies(**with_it)
    assert not applies(ceil_mode=1, **without_it)


@pytest.mark.parametrize(
    ("rule", "attributes"),
    [
        ("valid-with-ceil", {"auto_pad": "VALID", "ceil_mode": 1, "strides": [2]}),
        ("same-output-size", {"auto_pad": "SAME_UPPER"}),
        ("same-uses-effective-kernel", {"auto_pad": "SAME_UPPER", "dilations": [2]}),
        ("same-lower-pads-begin", {"auto_pad": "SAME_LOWER", "strides": [2]}),
        ("asymmetric-pads", {"pads": [1, 0]}),
        ("pads-up-to-effective-kernel", {"pads": [2, 2]}),
        ("padding-excluded", {"pads": [1, 1]}),
        ("empty-window", {"kernel_shape": [2], "dilations": [7], "pads": [1, 1]}),
        ("dilation", {"dilations": [2]}),
        ("any-rank", {}),
        ("defaults", {}),
        ("no-window-is-rejected", {"kernel_shape": [9]}),
        ("overflow-is-rejected", {"dilations": [2**62]}),
    ],
)
def test_rules_of_geometry(rule: str, attributes: dict[str, Any]) -> None:
    case = make_case("MaxPool", ramp(1, 1, 6), **{"kernel_shape": [3], **attributes})
    assert rule in applicable(case)
    plain = make_case("MaxPool", ramp(1, 1, 6, 6), kernel_shape=[3, 3], strides=[1, 1])
    assert applicable(plain) == ("window-count",)


def test_rules_of_indices_means_and_batches() -> None:
    def rules(operator: str, array: Array, **others: Any) -> tuple[str, ...]:
        return applicable(make_case(operator, array, **others))

    square = ramp(1, 1, 4, 4)
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    assert "index-convention" in rules("MaxPool", square, outputs=2, **window)
    assert "column-major-indices" in rules("MaxPool", square, outputs=2, storage_order=1, **window)
    assert "index-convention" not in rules("MaxPool", square, **window)
    assert "dilation-in-average" in rules("AveragePool", square, dilations=[2, 2], **window)
    assert "accurate-sums" in rules("GlobalAveragePool", np.ones((1, 1, 64, 64), np.float32))
    assert "empty-batch" in rules("MaxPool", np.ones((0, 1, 4, 4), np.float32), **window)
    assert rules("GlobalMaxPool", square) == ()


# ---------------------------------------------------------------------------------------------------------------------
# Answers altered as known bugs alter them

LATE: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1}


@pytest.mark.parametrize("opset", [12, 22])
def test_late_windows_that_are_kept(opset: int) -> None:
    case = make_case("MaxPool", ramp(1, 1, 5, 5), opset, **LATE)
    kept = np.pad([[7.0, 10.0], [22.0, 25.0]], ((0, 1), (0, 1)), constant_values=LEAST)
    assert diagnosed(case, kept[None, None]) == "ceil-last-window"
    assert diagnosed(case, kept[None, None, :2]) == "ceil-last-window"  # on one axis only
    assert diagnosed(case, np.zeros((1, 1, 4, 4))) is None  # two windows more are no late window
    assert diagnosed(case, np.zeros((1, 1, 1, 1))) is None


def test_valid_that_rounds_down() -> None:
    case = make_case("MaxPool", ramp(1, 1, 6), auto_pad="VALID", ceil_mode=1, **WINDOW_3)
    assert diagnosed(case, [[[3, 5]]]) == "valid-with-ceil"
    assert diagnosed(case, [[[3]]]) is None


@pytest.mark.parametrize(
    ("operator", "answer"),
    [
        ("MaxPool", [4, 5, 6, 7, 8, 7]),
        ("AveragePool", [3, 3, 4, 5, 6, 6]),
        ("AveragePool", [3, 3, 4, 5, 6, 6, 0, 0]),
    ],
)
def test_padding_for_the_undilated_kernel(operator: str, answer: list[float]) -> None:
    case = make_case(operator, ramp(1, 1, 8), kernel_shape=[3], dilations=[2], auto_pad="SAME_UPPER")
    assert diagnosed(case, [[answer]]) == "same-uses-effective-kernel"
    # The right number of windows and the wrong numbers: the padding had nothing to do with it.
    assert diagnosed(case, oracle(case).outputs[0] + np.float32(0.37)) is None


def test_lower_that_is_upper() -> None:
    case = make_case("MaxPool", ramp(1, 1, 6), auto_pad="SAME_LOWER", **WINDOW_3)
    assert diagnosed(case, [[[3, 5, 6]]]) == "same-lower-pads-begin"
    assert diagnosed(case, [[[3, 5]]]) == "same-output-size"
    assert diagnosed(case, [[[2, 4, 9]]]) is None


def test_windows_that_lie_apart() -> None:
    case = make_case("MaxPool", ramp(1, 1, 8), kernel_shape=[2], strides=[5], auto_pad="SAME_UPPER")
    assert diagnosed(case, [[[3, 8]]]) == "same-output-size"


def test_pads_taken_for_symmetric() -> None:
    case = make_case("AveragePool", ramp(1, 1, 6), kernel_shape=[3], strides=[2], pads=[1, 0])
    assert diagnosed(case, [[[2, 4, 5.5]]]) == "asymmetric-pads"  # at the other side
    assert diagnosed(case, [[[1.5, 3, 7.77]]]) is None


def test_divisor_of_the_whole_kernel() -> None:
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    case = make_case("AveragePool", ramp(1, 1, 4, 4, start=0), 11, ceil_mode=1, count_include_pad=1, **window)
    whole = np.array([[10, 24, 10], [51, 90, 33], [25, 42, 15]]) / 9
    assert diagnosed(case, whole[None, None]) == "divisor-counts-declared-padding"
    whole[1, 1] = 0.123
    assert diagnosed(case, whole[None, None]) is None


@pytest.mark.parametrize(("counted", "answer"), [(0, [1, 2, 5 / 3]), (1, [1.5, 2, 2.5])])
def test_divisor_that_takes_padding_the_other_way(counted: int, answer: list[float]) -> None:
    case = make_case("AveragePool", ramp(1, 1, 3), kernel_shape=[3], pads=[1, 1], count_include_pad=counted)
    assert diagnosed(case, [[answer]]) == "padding-excluded"


def test_maximum_that_is_the_padding() -> None:
    case = make_case("MaxPool", -ramp(1, 1, 4), kernel_shape=[3], pads=[1, 1])
    assert diagnosed(case, [[[0, -1, -2, 0]]]) == "padding-excluded"
    assert diagnosed(case, [[[-1, 0, -2, -3]]]) is None  # no padding is in that window


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_denormals_that_are_flushed(operator: str) -> None:
    array = -ramp(1, 1, 4) * np.float32(2.0**-140)
    case = make_case(operator, array, kernel_shape=[2], pads=[1, 1])
    assert diagnosed(case, np.zeros((1, 1, 5), np.float32)) == "no-flush-to-zero"
    case = make_case(operator, -ramp(1, 1, 4), kernel_shape=[2])
    assert diagnosed(case, np.zeros((1, 1, 3), np.float32)) is None


@pytest.mark.parametrize("tap", range(4))
@pytest.mark.parametrize("operator", ["MaxPool", "GlobalMaxPool"])
def test_nan_that_is_lost(tap: int, operator: str) -> None:
    array = ramp(1, 1, 2, 2)
    array.flat[tap] = NAN
    window = {"kernel_shape": [2, 2]} if operator == "MaxPool" else {}
    case = make_case(operator, array, **window)
    assert diagnosed(case, [[[[np.nanmax(array)]]]]) == "nan-propagates"
    assert diagnosed(case, [[[[LEAST]]]]) == "nan-propagates"
    assert diagnosed(case, [[[[17.0]]]]) is None  # no element of the window


def test_index_of_another_nan() -> None:
    case = make_case("MaxPool", np.array([[[[1, NAN], [NAN, 2]]]], np.float32), outputs=2, kernel_shape=[2, 2])
    assert diagnosed(case, [[[[NAN]]]], [[[[2]]]]) == "nan-propagates"


@pytest.mark.parametrize(("dtype", "other"), [("int8", "uint8"), ("uint8", "int8")])
def test_integers_that_are_compared_as_of_the_other_sign(dtype: str, other: str) -> None:
    array = np.array([[[1, 200, 3, 100, 255, 7, 128, 127]]], np.uint8).view(dtype)
    case = make_case("MaxPool", array, kernel_shape=[2], strides=[2])
    wrong = array.view(other).reshape(1, 1, 4, 2).max(axis=-1).view(dtype)
    assert diagnosed(case, wrong) == "extreme-integers"
    assert diagnosed(case, np.where(wrong == wrong[..., :1], 50, wrong)) is None


def test_search_that_starts_from_the_least_number() -> None:
    case = make_case("MaxPool", np.full((1, 1, 4), -INF, np.float32), kernel_shape=[2], strides=[2])
    assert diagnosed(case, [[[LEAST, LEAST]]]) == "max-identity-is-neg-inf"
    assert diagnosed(case, [[[-1, -1]]]) is None
    integers = make_case("MaxPool", np.full((1, 1, 4), -128, np.int8), outputs=2, kernel_shape=[2], strides=[2])
    assert diagnosed(integers, [[[-128, -128]]], [[[0, 0]]]) == "max-identity-is-neg-inf"


@pytest.mark.parametrize(("operator", "answer"), [("MaxPool", NAN), ("MaxPool", LEAST), ("AveragePool", 0)])
def test_window_without_an_element(operator: str, answer: float) -> None:
    case = make_case(operator, ramp(1, 1, 4), kernel_shape=[2], dilations=[5], pads=[1, 1])
    assert diagnosed(case, [[[answer]]]) == "empty-window"
    assert diagnosed(case, [[[3.25]]]) is None


def test_indices_in_other_conventions() -> None:
    array = ramp(2, 2, 4, 4)
    case = make_case("MaxPool", array, outputs=2, kernel_shape=[2, 2], strides=[2, 2])
    values, indices = oracle(case).outputs
    assert diagnosed(case, values, indices % 16) == "index-convention"  # in the plane
    assert diagnosed(case, values, np.where(indices == 5, 99, indices)) == "index-convention"
    assert (
        diagnosed(case, values, indices - 1) is None
    )  # an element of the window, but neither the greatest nor an equal


def test_index_of_a_later_tie() -> None:
    case = make_case("MaxPool", np.ones((1, 1, 4, 4), np.float32), outputs=2, kernel_shape=[2, 2], strides=[2, 2])
    values, indices = oracle(case).outputs
    assert diagnosed(case, values, indices + 5) == "first-of-ties"


def test_indices_in_other_orders() -> None:
    case = make_case("MaxPool", ramp(1, 1, 2, 3), outputs=2, kernel_shape=[1, 1], storage_order=1)
    values, _ = oracle(case).outputs
    assert diagnosed(case, values, [[[[0, 1, 2], [3, 4, 5]]]]) == "column-major-indices"
    assert diagnosed(case, values, [[[[0, 3, 1], [4, 2, 5]]]]) == "column-major-indices"
    assert diagnosed(case, values, [[[[0, 3], [1, 4], [2, 5]]]]) == "column-major-indices"


@pytest.mark.parametrize(("operator", "answer"), [("AveragePool", 1), ("AveragePool", 0.5), ("LpPool", 1)])
def test_nan_that_a_sum_leaves_out(operator: str, answer: float) -> None:
    case = make_case(operator, np.array([[[NAN, 1]]], np.float32), kernel_shape=[2])
    assert diagnosed(case, [[[answer]]]) == "average-propagates-nan-inf"
    assert diagnosed(case, [[[0.875]]]) is None


@pytest.mark.parametrize("p", [1, 3])
def test_powers_with_signs(p: int) -> None:
    array = np.array([[[-1, -2, -3, 1, 2, 3]]], np.float32)
    case = make_case("LpPool", array, kernel_shape=[2], strides=[2], p=p)
    answer = {1: [-3, -2, 5], 3: [NAN, NAN, 35 ** (1 / 3)]}[p]
    assert diagnosed(case, [[answer]]) == "lp-of-absolute-values"
    assert diagnosed(case, np.array([[[4.4, 4.4, 4.4]]])) is None


def test_norm_that_is_a_mean() -> None:
    case = make_case("GlobalLpPool", ramp(1, 1, 6), p=2)
    assert diagnosed(case, [[[(91 / 6) ** 0.5]]]) == "lp-of-absolute-values"


def test_norm_made_up_to_a_whole_kernel() -> None:
    case = make_case("LpPool", ramp(1, 1, 6), auto_pad="VALID", ceil_mode=1, **WINDOW_3)
    right = oracle(case).outputs[0].copy()
    right[0, 0, 2] *= (3 / 2) ** 0.5
    assert diagnosed(case, right) == "ceil-partial-window"


@pytest.mark.parametrize(("number", "answer"), [(1e20, INF), (1e-30, 0.0)])
def test_norm_that_overflows(number: float, answer: float) -> None:
    case = make_case("LpPool", np.full((1, 1, 2), number, np.float32), kernel_shape=[2])
    assert diagnosed(case, [[[answer]]]) == "lp-without-overflow"


def test_sum_that_is_rounded_each_time() -> None:
    array = np.full((1, 1, 65536), 0.1, np.float32)
    case = make_case("AveragePool", array, rules=["accurate-sums"], kernel_shape=[65536])
    running = np.cumsum(array, dtype=np.float32).ravel()[-1] / np.float32(65536)
    assert diagnosed(case, [[[running]]]) == "accurate-sums"
    assert diagnosed(case, [[[0.2]]]) is None


def test_dilated_windows_that_begin_elsewhere() -> None:
    window = {"kernel_shape": [3], "strides": [3], "dilations": [2], "pads": [1, 1]}
    case = make_case("AveragePool", ramp(1, 1, 10), ceil_mode=1, **window)
    assert diagnosed(case, [[[2, 4, 7, 9]]]) == "dilation-in-average"
    maxima = make_case("MaxPool", ramp(1, 1, 10), kernel_shape=[3], dilations=[2])
    assert diagnosed(maxima, oracle(maxima).outputs[0] - 1) == "dilation"  # one cell early
    # The answer of a node without dilation has other sizes; whose it is cannot be said.
    assert diagnosed(maxima, np.arange(3, 11)[None, None]) == "dilation"


def test_ranks_dtypes_and_batches() -> None:
    line = make_case("GlobalMaxPool", ramp(2, 3, 4))
    assert diagnosed(line, np.zeros((2, 1))) == "any-rank"
    halves = make_case("MaxPool", ramp(1, 1, 4, dtype="float64"), kernel_shape=[2])
    expected = oracle(halves)
    narrow = Result((expected.outputs[0].astype(np.float32),))
    verdict = judge(halves, expected, narrow)
    assert (verdict.kind, broken_rule(halves, expected, verdict, narrow)) == (Kind.DTYPE, "every-dtype")
    empty = make_case("MaxPool", np.ones((0, 2, 4), np.float32), kernel_shape=[2])
    assert diagnosed(empty, np.zeros((1, 2, 3))) == "empty-batch"


def test_elements_put_elsewhere() -> None:
    inputs = [ramp(2, 1, 2), np.array([[[1, 3]], [[5, 6]]])]
    case = make_case("MaxUnpool", inputs, kernel_shape=[2], strides=[2])
    right = oracle(case).outputs[0]
    assert diagnosed(case, right[..., ::-1]) == "unpool-indices"
    assert diagnosed(case, right * 2.5) is None


# ---------------------------------------------------------------------------------------------------------------------
# Refusals, crashes, and answers where there is none to give


@pytest.mark.parametrize(
    ("rule", "case", "sentence"),
    [
        (
            "every-dtype",
            lambda: make_case("AveragePool", ramp(1, 1, 4, dtype="float64"), kernel_shape=[2]),
            "no kernel",
        ),
        ("every-operator", lambda: make_case("GlobalLpPool", ramp(1, 1, 4)), "NOT_IMPLEMENTED"),
        ("every-operator", lambda: make_case("AveragePool", ramp(1, 1, 4, 4), 1, kernel_shape=[2, 2]), "unimplemented"),
        (
            "pads-up-to-effective-kernel",
            lambda: make_case("MaxPool", ramp(1, 1, 8), kernel_shape=[3], dilations=[2], pads=[2, 2]),
            "padding should be at most half of kernel size",
        ),
        (
            "asymmetric-pads",
            lambda: make_case("MaxPool", ramp(1, 1, 8), kernel_shape=[3], pads=[1, 0]),
            "pads both sides alike, and not 1 and 0",
        ),
        ("empty-batch", lambda: make_case("MaxPool", np.ones((2, 0, 4), np.float32), kernel_shape=[2]), "channels"),
        (None, lambda: make_case("MaxPool", ramp(1, 1, 4, 4), kernel_shape=[2, 2]), "out of luck"),
    ],
)
def test_refusals(rule: str | None, case: Callable[[], Case], sentence: str) -> None:
    asked = case()
    expected, actual = oracle(asked), Result(unsupported=sentence)
    verdict = judge(asked, expected, actual)
    assert verdict.kind is Kind.REFUSES
    assert broken_rule(asked, expected, verdict, actual) == rule


def test_crashes_and_answers_where_there_is_none() -> None:
    huge = make_case("MaxPool", ramp(1, 1, 4, 4), kernel_shape=[2, 2], strides=[2**62] * 2, ceil_mode=1)
    dead = Result(crash="was killed by SIGFPE")
    expected = oracle(huge)
    assert broken_rule(huge, expected, judge(huge, expected, dead), dead) == "overflow-is-rejected"
    none = make_case("MaxPool", np.ones((1, 1, 1), np.float32), kernel_shape=[3], strides=[5])
    refusal, given = Result(unsupported="finds no window"), Result((np.ones((1, 1, 1), np.float32),))
    assert broken_rule(none, refusal, judge(none, refusal, given), given) == "no-window-is-rejected"


def test_right_answers_break_nothing() -> None:
    case = make_case("MaxPool", ramp(1, 1, 5, 5), **LATE)
    expected = oracle(case)
    assert broken_rule(case, expected, judge(case, expected, expected), expected) is None


# ---------------------------------------------------------------------------------------------------------------------
# Alterations that have nothing to do with any rule

UNRELATED = [
    "window-count",
    "ceil-partial-window",
    "ceil-last-window",
    "valid-with-ceil",
    "same-lower-pads-begin",
    "same-uses-effective-kernel",
    "asymmetric-pads",
    "padding-excluded",
    "dilation-in-average",
    "divisor-counts-declared-padding",
    "nan-propagates",
    "max-identity-is-neg-inf",
    "average-propagates-nan-inf",
    "lp-of-absolute-values",
    "accurate-sums",
]


@pytest.mark.parametrize("rule", UNRELATED)
def test_numbers_out_of_the_blue_are_diagnosed_on_no_rule(rule: str) -> None:
    rng = np.random.default_rng(1)
    cases = [case for case in conformance_suite(3, [rule]) if case.array.size <= 512 or rule == "accurate-sums"]
    seen = 0
    for case in cases[:: max(1, len(cases) // 8)]:
        expected = oracle(case)
        outputs = [output.copy() for output in expected.outputs]
        if outputs[0].dtype.name == "bfloat16" or not outputs[0].size:
            continue
        cell = tuple(int(rng.integers(size)) for size in outputs[0].shape)
        outputs[0][cell] = 4321.0625 + 100 * rng.random()
        actual = Result(tuple(outputs))
        verdict = judge(case, expected, actual)
        assert verdict.kind.differs
        assert broken_rule(case, expected, verdict, actual) is None, (case.name, verdict.sentence)
        seen += 1
    assert seen >= 3


@pytest.mark.parametrize("seed", range(6))
def test_the_rule_does_not_depend_on_the_numbers(seed: int) -> None:
    """Windows without dilation, which numbers that cancel must not hide."""
    attributes: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2], "dilations": [2, 2]}
    array = draw((1, 3, 9, 9), np.dtype(np.float32), seed, kinds=("wide", "ties", "normal"), infinities=False)
    case = make_case("AveragePool", array, 19, auto_pad="SAME_UPPER", **attributes)
    padded = {**attributes, "pads": [1, 1, 1, 1]}  # as undilated windows need them
    (answer,) = oracle(make_case("AveragePool", array, 19, **padded)).outputs
    (magnitude,) = oracle(make_case("AveragePool", np.abs(array), 19, **padded)).outputs
    # Another order of additions: each result is off by what rounding its elements may cause.
    assert diagnosed(case, answer + magnitude * 4e-7) == "same-uses-effective-kernel"
