"""The smallest input that shows a difference, and its picture; runtimes are functions here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("onnx")

from pooling.onnx_models import function_from_node
from pooling.validation.inputs.case import Case, make_case
from pooling.validation.reduce import Ask, Smallest, smallest
from pooling.validation.report.grids import Grid, Picture, Place, draw, number, sketch
from pooling.validation.runners.results import Result
from pooling.validation.verdicts import Kind, Verdict, judge

Array = NDArray[Any]
Runtime = Callable[[Case], Sequence[Array]]
NEWEST = 22


def right(case: Case) -> Result:
    try:
        return Result(function_from_node(case.node, max(case.opset, NEWEST))(*case.arrays))
    except ValueError as error:
        return Result(unsupported=str(error))


def wrong_by(change: Callable[[Case, Array], Array], output: int = 0) -> Callable[[Case], Result]:
    """Make a runtime that is right but for what `change` does to one of its outputs."""

    def answer(case: Case) -> Result:
        given = right(case)
        if not given.given:
            return given
        outputs = list(given.outputs)
        outputs[output] = change(case, outputs[output])
        return Result(outputs)

    return answer


def asking(runtime: Callable[[Case], Result], count: list[int] | None = None) -> Ask:
    def ask(cases: Sequence[Case]) -> list[tuple[Result, Result]]:
        assert len({case.name for case in cases}) == len(cases)
        for case in cases:
            assert [size.dim_value for size in case.model.graph.input[0].type.tensor_type.shape.dim] == [
                *case.array.shape
            ]
        if count is not None:
            count.append(len(cases))
        return [(right(case), runtime(case)) for case in cases]

    return ask


def found(case: Case, runtime: Callable[[Case], Result], **arguments: Any) -> Smallest:
    result = smallest(case, asking(runtime), **arguments)
    assert result is not None
    return result


def nan_lost(case: Case, value: Array) -> Array:
    return np.where(np.isnan(value), np.finfo(value.dtype).min, value).astype(value.dtype)


def late_window(case: Case, value: Array) -> Array:
    """Keep a window that starts behind the input, on the last axis."""
    return np.pad(value, [(0, 0)] * (value.ndim - 1) + [(0, 1)], constant_values=np.finfo(value.dtype).min)


def by_whole_kernel(case: Case, value: Array) -> Array:
    """Divide the last mean by one more than there is."""
    changed = value.copy()
    changed[..., -1] *= 0.5
    return changed


def normal(shape: Sequence[int], dtype: str = "float32") -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


# ---------------------------------------------------------------------------------------------------------------------
# What is found


def test_a_nan_that_is_lost_is_shown_by_one_cell() -> None:
    x = normal((2, 3, 20, 20))
    x[1, 2, 7, 6] = np.nan
    case = make_case("MaxPool", x, name="nan", kernel_shape=[2, 2], strides=[2, 2])
    result = found(case, wrong_by(nan_lost))
    assert result.case.name == "nan-smallest"
    assert result.case.array.shape == (1, 1, 2, 2)
    # What does not matter is plain: the other cells are counted.
    numbers = result.case.array.ravel()
    assert np.isnan(numbers).sum() == 1
    np.testing.assert_array_equal(numbers[~np.isnan(numbers)], np.flatnonzero(~np.isnan(numbers)) + 1)
    assert result.verdict.kind is Kind.NAN
    assert math.isnan(result.verdict.expected)


def test_a_window_too_many_is_shown_by_few_cells() -> None:
    case = make_case("MaxPool", normal((4, 8, 20, 20)), kernel_shape=[3, 3], strides=[3, 3])
    result = found(case, wrong_by(late_window))
    np.testing.assert_array_equal(result.case.array, np.arange(1, 10).reshape(1, 1, 3, 3))
    assert result.verdict.sentence == "shape (1, 1, 1, 2) instead of (1, 1, 1, 1)"


def test_a_wrong_mean_is_shown_by_plain_numbers() -> None:
    case = make_case("AveragePool", normal((1, 2, 9)), kernel_shape=[2], strides=[1])
    result = found(case, wrong_by(by_whole_kernel))
    np.testing.assert_array_equal(result.case.array, [[[1, 2]]])
    assert (result.verdict.expected, result.verdict.actual) == (1.5, 0.75)


def test_a_difference_that_depends_on_size_keeps_as_much_as_it_needs() -> None:
    def drifts(case: Case, value: Array) -> Array:
        return value * 2 if case.array.size >= 5 else value

    result = found(make_case("GlobalAveragePool", normal((2, 2, 8, 8))), wrong_by(drifts))
    # No row, column or half can be left out of six cells without falling below five.
    assert 5 <= result.case.array.size <= 6


def test_indices_that_are_wrong_behind_the_first_plane_only_keep_two_planes() -> None:
    def per_plane(case: Case, index: Array) -> Array:
        return index % math.prod(case.array.shape[2:])

    case = make_case("MaxPool", normal((2, 4, 8, 8)), outputs=2, kernel_shape=[2, 2], strides=[2, 2])
    result = found(case, wrong_by(per_plane, output=1))
    assert sorted(result.case.array.shape) == [1, 2, 2, 2]
    assert result.verdict.kind is Kind.INDEX


def test_an_empty_batch_stays_empty_and_loses_all_else() -> None:
    def one(case: Case, value: Array) -> Array:
        return np.zeros((1, *value.shape[1:]), value.dtype)

    result = found(make_case("MaxPool", normal((0, 3, 8, 8)), kernel_shape=[2, 2]), wrong_by(one))
    assert result.case.array.shape == (0, 1, 2, 2)


def test_integers_stay_in_their_dtype() -> None:
    x = np.random.default_rng(0).integers(-128, 127, (1, 2, 30, 30), np.int8, endpoint=True)

    def clipped(case: Case, value: Array) -> Array:
        return np.minimum(value, 100).astype(value.dtype)

    result = found(make_case("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), wrong_by(clipped))
    assert result.case.array.dtype == np.int8
    assert result.case.array.shape == (1, 1, 2, 2)
    assert result.case.array.max() > 100


def test_a_crash_is_cut_down_too() -> None:
    def crashes(case: Case) -> Result:
        return Result(crash="was killed by SIGFPE") if (case.array > 2).any() else right(case)

    result = found(make_case("MaxPool", normal((1, 4, 16, 16)) + 1, kernel_shape=[2, 2]), crashes)
    assert (result.verdict.kind, result.verdict.sentence) == (Kind.CRASHES, "was killed by SIGFPE")
    assert result.case.array.shape == (1, 1, 2, 2)
    assert result.actual.crash == "was killed by SIGFPE"


def test_what_exceeds_a_limit_is_asked_once() -> None:
    def hangs(case: Case) -> Result:
        return Result(crash="exceeded 10 s", exceeded=True)

    case = make_case("MaxPool", normal((1, 4, 16, 16)), kernel_shape=[2, 2])
    count: list[int] = []
    result = smallest(case, asking(hangs, count))
    assert result is not None
    assert (result.case, result.runs, count) == (case, 1, [1])


def test_the_rule_that_is_broken_stays_the_same() -> None:
    """Without a rule, a lost NaN in padding would be taken for one inside."""
    x = normal((1, 1, 8, 8))
    x[0, 0, 3, 3] = x[0, 0, 0, 0] = np.nan
    case = make_case("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])

    def rule_of(case: Case, expected: Result, verdict: Verdict, actual: Result) -> str | None:
        return "far" if case.array.shape[-1] > 3 else "near"

    assert found(case, wrong_by(nan_lost)).case.array.shape[-1] < 4
    assert found(case, wrong_by(nan_lost), rule_of=rule_of).case.array.shape[-1] == 4


def test_nothing_is_found_where_the_two_agree() -> None:
    assert smallest(make_case("MaxPool", normal((1, 1, 4, 4)), kernel_shape=[2, 2]), asking(right)) is None


def test_a_case_that_cannot_be_smaller_is_returned_itself() -> None:
    case = make_case("MaxPool", np.array([[[np.nan]]], np.float32), name="one", kernel_shape=[1])
    result = found(case, wrong_by(nan_lost))
    assert result.case is case


def test_an_oracle_that_dies_on_a_smaller_case_does_not_count() -> None:
    case = make_case("AveragePool", normal((1, 2, 9)), kernel_shape=[2], strides=[1])

    def ask(cases: Sequence[Case]) -> list[tuple[Result, Result]]:
        wrong = wrong_by(by_whole_kernel)
        return [(right(each) if each is case else Result(crash="exceeded 60 s"), wrong(each)) for each in cases]

    result = smallest(case, ask)
    assert result is not None
    assert result.case is case


@pytest.mark.parametrize("most_runs", [1, 2, 7, 40])
def test_runs_are_bounded(most_runs: int) -> None:
    count: list[int] = []
    case = make_case("MaxPool", normal((4, 8, 20, 20)), kernel_shape=[3, 3], strides=[3, 3])
    result = smallest(case, asking(wrong_by(late_window), count), most_runs=most_runs)
    assert result is not None
    assert sum(count) == result.runs <= most_runs
    assert result.verdict.kind is Kind.SHAPE


def test_no_run_at_all_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        smallest(make_case("MaxPool", normal((1, 1, 4)), kernel_shape=[2]), asking(right), most_runs=0)
    assert str(error.value) == "smallest: most_runs=0 must be at least 1"


DEFECTS: dict[str, Runtime] = {
    "loses nan": nan_lost,
    "loses negatives": lambda case, value: np.maximum(value, 0).astype(value.dtype),
    "late window": late_window,
    "last is halved": by_whole_kernel,
    "no batch": lambda case, value: value[:1],
    "odd sizes": lambda case, value: value + case.array.shape[-1] % 2,
    "many cells": lambda case, value: value + (case.array.size > 11),
    "every third number": lambda case, value: value + (case.array.sum() % 3 == 0),
}  # type: ignore[assignment]


@settings(max_examples=60, deadline=None)
@given(
    defect=st.sampled_from(sorted(DEFECTS)),
    operator=st.sampled_from(["MaxPool", "AveragePool", "LpPool"]),
    dtype=st.sampled_from(["float32", "float64"]),
    shape=st.tuples(*[st.integers(1, 3)] * 2, *[st.integers(3, 9)] * 2),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    pad=st.integers(0, 1),
    ceil=st.booleans(),
    seed=st.integers(0, 2**16),
    most_runs=st.integers(1, 120),
)
def test_what_is_found_differs_in_the_same_way_and_is_no_larger(
    defect: str,
    operator: str,
    dtype: str,
    shape: tuple[int, ...],
    kernel: int,
    stride: int,
    pad: int,
    ceil: bool,
    seed: int,
    most_runs: int,
) -> None:
    rng = np.random.default_rng(seed)
    x = np.where(rng.random(shape) < 0.1, np.nan, rng.standard_normal(shape)).astype(dtype)
    pads = [min(pad, kernel - 1)] * 4
    case = make_case(operator, x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads, ceil_mode=int(ceil))
    runtime = wrong_by(DEFECTS[defect])  # type: ignore[arg-type]
    count: list[int] = []
    before = judge(case, right(case), runtime(case))
    result = smallest(case, asking(runtime, count), most_runs=most_runs)
    assert sum(count) <= most_runs
    if before.kind is Kind.AGREES:
        assert result is None
        return
    assert result is not None
    again = judge(result.case, right(result.case), runtime(result.case))
    assert (again.kind, again.sentence) == (result.verdict.kind, result.verdict.sentence)
    assert again.kind is before.kind
    assert result.case.array.size <= x.size
    assert result.case.array.dtype == x.dtype
    assert list(result.case.node.attribute) == list(case.node.attribute)
    draw(result.case, result.expected, result.actual, result.verdict)


# ---------------------------------------------------------------------------------------------------------------------
# What is drawn


def texts(grid: Grid) -> list[list[str]]:
    signs = {Place.INSIDE: "", Place.PADDING: ".", Place.BEYOND: "~"}
    return [
        [(cell.text or signs[cell.place]) + "*" * cell.read + "!" * cell.differs for cell in row] for row in grid.cells
    ]


def drawn(case: Case, runtime: Callable[[Case], Result]) -> Picture:
    expected, actual = right(case), runtime(case)
    return draw(case, expected, actual, judge(case, expected, actual))


def test_a_window_in_padding_is_marked_there() -> None:
    x = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
    case = make_case(
        "AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 0, 0], ceil_mode=1, count_include_pad=1
    )
    picture = drawn(case, wrong_by(by_whole_kernel))
    (grid,) = picture.input
    assert (grid.title, grid.rows, grid.columns) == ("x", range(-1, 3), range(-1, 3))
    assert texts(grid) == [
        [".", ".", ".*", ".*"],
        [".", "1", "2*", "3*"],
        [".", "4", "5", "6"],
        [".", "7", "8", "9"],
    ]
    (expected,), (actual,) = picture.expected, picture.actual
    assert texts(expected) == [["0.25", "1.25*!"], ["2.75", "7"]]
    assert texts(actual) == [["0.25", "0.625*!"], ["2.75", "3.5"]]
    assert picture.window == (
        "Element (0, 0, 0, 1) is computed from rows -1 to 0 (the input has rows 0 to 2) and columns 1 to 2."
    )


def test_a_window_that_is_none_is_marked_behind_the_input() -> None:
    x = np.arange(1, 6, dtype=np.float32).reshape(1, 1, 5)
    case = make_case("MaxPool", x, kernel_shape=[3], strides=[3], pads=[1, 1], ceil_mode=1)
    picture = drawn(case, wrong_by(late_window))
    (grid,) = picture.input
    assert texts(grid) == [[".", "1", "2", "3", "4", "5", ".*", "~*", "~*"]]
    assert [texts(each) for each in (*picture.expected, *picture.actual)] == [
        [["2", "5"]],
        [["2", "5", "-3.4e+38*!"]],
    ]
    assert picture.actual[0].cells[0][2].exact == "-3.4028235e+38"
    assert picture.window == "Element (0, 0, 2) is computed from cells 5 to 7 (the input has cells 0 to 4)."


def test_a_window_that_is_missing_is_marked_in_what_was_expected() -> None:
    case = make_case("MaxPool", normal((1, 1, 4, 4)), kernel_shape=[2, 2], strides=[2, 2])
    picture = drawn(case, wrong_by(lambda case, value: value[:, :, :1]))
    assert [[cell.differs for cell in row] for row in picture.expected[0].cells] == [[False] * 2, [True] * 2]
    assert not any(cell.differs for row in picture.actual[0].cells for cell in row)
    assert [[cell.read for cell in row] for row in picture.input[0].cells] == [[False] * 4] * 2 + [
        [True, True, False, False]
    ] * 2


def test_taps_of_a_dilated_window_lie_apart() -> None:
    case = make_case("MaxPool", normal((1, 1, 6)), kernel_shape=[2], dilations=[3])
    picture = drawn(case, wrong_by(by_whole_kernel))
    assert [cell.read for cell in picture.input[0].cells[0]] == [False, False, True, False, False, True]
    assert "cells 2 to 5 in steps of 3." in picture.window


def test_indices_name_cells_of_the_input() -> None:
    x = np.array([[[[1, 2], [4, 3]], [[5, 6], [7, 8]]]], np.float32)
    case = make_case("MaxPool", x, outputs=2, kernel_shape=[2, 2])
    picture = drawn(case, wrong_by(lambda case, index: index - 1, output=1))
    (grid,) = picture.input
    assert grid.title == "x, plane (0, 0) of (1, 2)"
    assert [[cell.named for cell in row] for row in grid.cells] == [["", "actual"], ["expected", ""]]
    assert [texts(each) for each in (*picture.expected, *picture.actual)] == [[["2*!"]], [["1*!"]]]
    column_major = make_case("MaxPool", x, outputs=2, kernel_shape=[2, 2], storage_order=1)
    (grid,) = drawn(column_major, wrong_by(lambda case, index: index + 1, output=1)).input
    assert [[cell.named for cell in row] for row in grid.cells] == [["", "actual"], ["expected", ""]]


def test_of_large_maps_the_part_around_the_window_is_drawn() -> None:
    x = normal((1, 1, 40, 100))
    x[0, 0, 30, 80] = np.nan
    case = make_case("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    picture = drawn(case, wrong_by(nan_lost))
    (grid,) = picture.input
    assert 30 in grid.rows
    assert 80 in grid.columns
    assert (len(grid.rows), len(grid.columns)) == (12, 12)
    rows, columns = grid.rows, grid.columns
    assert grid.title == f"x, rows {rows[0]} to {rows[-1]} of 40, columns {columns[0]} to {columns[-1]} of 100"
    assert grid.cells[30 - grid.rows[0]][80 - grid.columns[0]].text == "nan"
    assert sum(cell.read for row in grid.cells for cell in row) == 4


def test_slices_of_a_volume_are_drawn_side_by_side() -> None:
    case = make_case("MaxPool", normal((1, 1, 4, 4, 4)), kernel_shape=[2, 2, 2], strides=[2, 2, 2])
    picture = drawn(case, wrong_by(by_whole_kernel))
    assert [grid.title for grid in picture.expected] == ["expected, depth 0", "expected, depth 1"]
    reads = [sum(cell.read for row in grid.cells for cell in row) for grid in picture.input]
    assert reads[:2] == [4, 4]


def test_what_has_no_windows_is_drawn_without() -> None:
    x = np.ones((1, 1, 2, 2), np.float32)
    indices = np.array([[[[0, 1], [2, 3]]]])
    case = make_case("MaxUnpool", [x, indices], kernel_shape=[2, 2], strides=[2, 2])
    picture = drawn(case, wrong_by(lambda case, value: value + 1))
    assert picture.window == ""
    assert not any(cell.read for row in picture.input[0].cells for cell in row)
    assert len(picture.input[0].rows) == 2


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        *itertools.product(
            (Result((np.zeros((1, 1, 2), np.float32),)), Result(unsupported="no"), Result(())),
            (Result((np.zeros(3),)), Result((np.zeros((1, 0, 2)),)), Result(crash="was killed by SIGSEGV"), Result(())),
        )
    ],
)
def test_any_answers_can_be_drawn(expected: Result, actual: Result) -> None:
    case = make_case("MaxPool", normal((1, 1, 4)), kernel_shape=[2], strides=[2])
    picture = draw(case, expected, actual, Verdict(Kind.SHAPE))
    assert len(picture.input) == 1
    assert len(picture.expected) <= 1


def test_a_picture_can_be_told_in_text() -> None:
    x = np.arange(1, 6, dtype=np.float32).reshape(1, 1, 5)
    case = make_case("MaxPool", x, kernel_shape=[3], strides=[3], pads=[1, 1], ceil_mode=1)
    assert sketch(drawn(case, wrong_by(late_window))).splitlines() == [
        "input                                 expected   actual",
        " .   1   2   3   4   5  [.] [~] [~]    2   5      2   5  (-3.4e+38)",
    ]
    x = np.array([[[[1, 2, 3], [4, 5, 6]], [[6, 5, 4], [3, 2, 1]]]], np.float32)
    case = make_case("AveragePool", x, kernel_shape=[2, 2])
    assert sketch(drawn(case, wrong_by(by_whole_kernel))).splitlines() == [
        "input, plane (0, 0) of (1, 2)   expected, plane (0, 0) of (1, 2)   actual, plane (0, 0) of (1, 2)",
        " 1  [2] [3]                      3  (4)                             3  (2)",
        " 4  [5] [6]",
    ]


def test_windows_far_away_are_drawn() -> None:
    case = make_case("MaxPool", normal((1, 1, 5)), kernel_shape=[2], strides=[2**62], ceil_mode=1)
    picture = drawn(case, wrong_by(late_window))
    assert len(picture.input[0].columns) == 12
    assert picture.input[0].columns[-1] == 2**62 + 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(4), "4"),
        (np.float32(0.1), "0.1"),
        (np.float32("nan"), "nan"),
        (np.float32("-inf"), "-inf"),
        (np.float32(-0.0), "-0"),
        (np.finfo(np.float32).min, "-3.4028235e+38"),
        (np.float16(65504), "65504"),
        (np.int8(-128), "-128"),
    ],
)
def test_numbers_are_written_in_full_without_noise(value: Any, text: str) -> None:
    assert number(value) == text


def test_bfloat16_is_written_as_a_number() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert number(np.asarray(1.5, ml_dtypes.bfloat16)[()]) == "1.5"
