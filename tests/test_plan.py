"""Plans, read as the kernels read them, against the windows of the axes that they were made of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooling import geometry, plan
from pooling.geometry import Axis
from pooling.plan import lay_out

IDENTITY, WHOLE, HALVES = Axis(5, 5, 1), Axis(4, 1, 4, 4), Axis(6, 3, 2, 2)


class Laid(NamedTuple):
    """What `lay_out` hands to the kernels."""

    outer: int
    inner: int
    tables: list[tuple[Any, ...]]
    average: bool
    divisor: float
    number_divisor: float

    @property
    def sizes(self) -> list[tuple[int, int, int]]:
        """Cells before and after pooling, and taps of a window, on each axis."""
        return [table[:3] for table in self.tables]


def laid(axes: Sequence[Axis], outer: int, inner: int, **keywords: Any) -> Laid:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "Plan", Laid)
        made: Any = lay_out(axes, outer, inner, **keywords)
    assert len(made.tables) == 3
    return made


# --- an independent reading -----------------------------------------------------------------------------------------

Windows = list[tuple[list[int], int]]
"""Of each window of an axis, the cells in the input, and what divides their sum."""


def windows_of_table(table: tuple[Any, ...]) -> Windows:
    """Read a table: windows of the interior follow from the numbers, the others are listed."""
    _, outputs, kernel, stride, dilation, pad, begin, end, first, count, divisor, adaptive = table
    assert not adaptive or begin == end
    listed: Iterator[tuple[int, int, int]] = zip(first.tolist(), count.tolist(), divisor.tolist(), strict=True)
    found = []
    for output in range(outputs):
        if begin <= output < end:
            start = output * stride - pad
            found.append(([start + tap * dilation for tap in range(kernel)], kernel))
        else:
            start, taps, divided = next(listed)
            found.append(([start + tap * dilation for tap in range(taps)], divided))
    assert next(listed, None) is None
    return found


def windows_of_axis(axis: Axis, *, padded: bool) -> Windows:
    """List the same from the definition of the axis."""
    found = []
    for output in range(axis.output_size):
        taps = axis.window(output)
        inside = [cell for cell in taps if 0 <= cell < axis.input_size]
        declared = [cell for cell in taps if -axis.pad_begin <= cell < axis.input_size + axis.pad_end]
        found.append((inside, len(declared if padded else inside)))
    return found


def pooled(outer: int, inner: int, sizes: list[int], windows: list[Windows]) -> list[tuple[list[int], int]]:
    """Of each element of the result, in order, the elements that it is made of, and the divisor."""
    every = [[([number], 1) for number in range(outer)], *windows, [([number], 1) for number in range(inner)]]
    shape = (outer, *sizes, inner)
    return [
        (
            [int(np.ravel_multi_index(cell, shape)) for cell in product(*(cells for cells, _ in window))],
            math.prod(divisor for _, divisor in window),
        )
        for window in product(*every)
    ]


# --- random axes ----------------------------------------------------------------------------------------------------


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    size = draw(st.integers(1, 5))
    form = draw(st.sampled_from(["sliding", "adaptive", "global", "identity", "padded whole", "one tap"]))
    if form == "adaptive":
        return geometry.adaptive_axes([size], draw(st.integers(1, 6)))[0]
    if form == "global":
        return geometry.global_axes([size])[0]
    if form == "identity":
        return Axis(size, size, 1)
    if form == "padded whole":
        begin, end = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        return geometry.pool_axes([size], size + begin + end, None, [(begin, end)])[0]
    if form == "one tap":  # in the middle of an axis, with padding at both ends
        return geometry.pool_axes([3], 3, 4, 2, 2)[0]
    kernel, dilation = draw(st.integers(1, min(size, 3))), draw(st.integers(1, 2))
    pad = draw(st.integers(0, dilation * (kernel - 1)))
    if size + 2 * pad < dilation * (kernel - 1) + 1:
        dilation, pad = 1, 0
    return geometry.pool_axes([size], kernel, draw(st.integers(1, 3)), pad, dilation, draw(st.booleans()))[0]


@given(st.lists(axes(), min_size=1, max_size=3), *[st.integers(1, 3)] * 2, *[st.booleans()] * 3)
def test_a_plan_pools_the_same_elements_by_the_same_divisors(
    drawn: list[Axis], outer: int, inner: int, keep: bool, average: bool, padded: bool
) -> None:
    made = laid(drawn, outer, inner, keep_axes=keep, average=average, count_include_pad=padded)
    assert made.average is average
    assert math.isnan(made.number_divisor)
    expected = pooled(
        outer, inner, [axis.input_size for axis in drawn], [windows_of_axis(axis, padded=padded) for axis in drawn]
    )
    found = pooled(
        made.outer, made.inner, [table[0] for table in made.tables], [windows_of_table(table) for table in made.tables]
    )
    assert [cells for cells, _ in found] == [cells for cells, _ in expected]
    if average:
        divisors = [divisor if math.isnan(made.divisor) else made.divisor for _, divisor in found]
        assert divisors == [divisor for _, divisor in expected]
    else:
        assert math.isnan(made.divisor)
    if keep:
        assert (made.outer, made.inner) == (outer, inner)


# --- which loops a plan leads to ------------------------------------------------------------------------------------


def test_axes_that_are_not_pooled_join_their_neighbours() -> None:
    one = (1, 1, 1)
    assert laid([HALVES] * 3, 7, 2).sizes == [(6, 3, 2)] * 3
    assert laid([HALVES] * 2, 7, 2)[:2] == (7, 2)
    assert laid([HALVES] * 2, 7, 2).sizes == [one, (6, 3, 2), (6, 3, 2)]
    # Outer elements are rows of a single axis.
    assert (laid([HALVES], 7, 2)[:2], laid([HALVES], 7, 2).sizes) == ((1, 2), [one, (7, 7, 1), (6, 3, 2)])
    made = laid([IDENTITY, HALVES, HALVES], 7, 2)
    assert (made[:2], made.sizes) == ((35, 2), [one, (6, 3, 2), (6, 3, 2)])
    made = laid([HALVES, HALVES, IDENTITY], 7, 2)
    assert (made[:2], made.sizes) == ((7, 10), [one, (6, 3, 2), (6, 3, 2)])
    made = laid([IDENTITY, IDENTITY, HALVES], 7, 1)
    assert (made[:2], made.sizes) == ((1, 1), [one, (175, 175, 1), (6, 3, 2)])
    made = laid([IDENTITY] * 2, 7, 2)
    assert (made[:2], made.sizes) == ((1, 1), [one, (175, 175, 1), (2, 2, 1)])
    made = laid([IDENTITY], 7, 1)
    assert (made[:2], made.sizes) == ((35, 1), [one, one, one])


def test_axes_stay_where_an_index_counts_their_cells() -> None:
    made = laid([IDENTITY, HALVES, IDENTITY], 7, 2, keep_axes=True)
    assert (made[:2], made.sizes) == ((7, 2), [(5, 5, 1), (6, 3, 2), (5, 5, 1)])
    made = laid([HALVES], 7, 4096, keep_axes=True)
    assert (made[:2], made.sizes) == ((7, 4096), [(1, 1, 1), (1, 1, 1), (6, 3, 2)])
    # A window that holds everything with padding is no global one there.
    (padded,) = geometry.pool_axes([4], 6, None, 1)
    assert laid([padded], 7, 1, keep_axes=True).sizes[2] == (4, 1, 6)


def test_windows_of_whole_axes_are_one_run() -> None:
    made = laid([WHOLE, WHOLE, WHOLE], 7, 1)
    assert (made[:2], made.sizes) == ((1, 1), [(1, 1, 1), (7, 7, 1), (64, 1, 64)])
    assert laid([WHOLE, WHOLE, WHOLE], 7, 1, keep_axes=True).sizes == [(1, 1, 1), (1, 1, 1), (64, 1, 64)]
    made = laid([WHOLE, HALVES, WHOLE], 7, 1)
    assert (made[:2], made.sizes) == ((7, 1), [(4, 1, 4), (6, 3, 2), (4, 1, 4)])
    made = laid([HALVES, WHOLE, WHOLE], 7, 1)
    assert (made[:2], made.sizes) == ((7, 1), [(1, 1, 1), (6, 3, 2), (16, 1, 16)])
    padded = geometry.pool_axes([4, 4], 6, None, 1)
    assert laid(padded, 7, 1).sizes == [(1, 1, 1), (7, 7, 1), (16, 1, 16)]
    # One that leaves cells out is none.
    assert laid(geometry.pool_axes([5, 5], 3, 3), 7, 1).sizes == [(1, 1, 1), (5, 1, 3), (5, 1, 3)]
    assert laid([*geometry.pool_axes([5], 3, 3), WHOLE], 7, 1).sizes == [(1, 1, 1), (5, 1, 3), (4, 1, 4)]
    cut = geometry.pool_axes([5, 5], 4, 4, [(1, 0)])
    assert laid(cut, 7, 1).sizes == [(1, 1, 1), (5, 1, 4), (5, 1, 4)]
    # Nor are two that both hold everything.
    assert laid(geometry.pool_axes([2, 2], 3, 1, 1), 7, 1).sizes == [(1, 1, 1), (2, 2, 3), (2, 2, 3)]


@pytest.mark.parametrize(("padded", "divisor"), [(True, 36.0), (False, 16.0)])
def test_the_divisor_of_one_window_with_padding(padded: bool, divisor: float) -> None:
    drawn = geometry.pool_axes([4, 4], 6, None, 1)
    assert laid(drawn, 7, 1, average=True, count_include_pad=padded).divisor == divisor
    assert laid(drawn, 7, 1, average=True, count_include_pad=padded, divisor_override=5.0).divisor == 5.0
    assert math.isnan(laid(drawn, 7, 1, count_include_pad=padded).divisor)
    assert laid(drawn, 7, 1, average=True).divisor == 16.0
    assert laid([WHOLE, WHOLE], 7, 1, average=True, count_include_pad=padded).divisor == 16.0
    assert laid(drawn, 7, 1, number_divisor=3.0).number_divisor == 3.0


def test_inner_elements_are_a_row_under_single_windows_and_where_they_are_many() -> None:
    one = (1, 1, 1)
    # Under a single window, however few they are.
    made = laid([WHOLE], 7, 2)
    assert (made[:2], made.sizes) == ((7, 1), [one, (4, 1, 4), (2, 2, 1)])
    assert laid([WHOLE], 7, 1).sizes == [one, (7, 7, 1), (4, 1, 4)]
    assert laid([WHOLE], 7, 0)[:2] == (1, 0)
    # Else from 4096 on, and where there is an axis left.
    for inner, row in ((4095, False), (4096, True), (4097, True)):
        made = laid([HALVES, HALVES], 7, inner)
        assert made.inner == (1 if row else inner)
        assert made.sizes == ([(6, 3, 2), (6, 3, 2), (inner, inner, 1)] if row else [one, (6, 3, 2), (6, 3, 2)])
    assert laid([HALVES] * 3, 7, 4096).inner == 4096
    made = laid([WHOLE, HALVES, WHOLE], 7, 2)
    assert made.inner == 2


def test_every_number_of_a_table() -> None:
    (axis,) = geometry.pool_axes([9], 3, 2, 1, 1, True)
    table = laid([axis] * 3, 2, 1, count_include_pad=True).tables[1]
    assert table[:8] == (9, 5, 3, 2, 1, 1, 1, 4)
    assert [column.tolist() for column in table[8:11]] == [[0, 7], [2, 2], [3, 3]]
    assert table[11] is False
    (adaptive,) = geometry.adaptive_axes([5], 3)
    assert laid([adaptive] * 3, 2, 1).tables[0][11] is True
    assert adaptive.output_size == 3


def test_flags_are_passed_by_name() -> None:
    with pytest.raises(TypeError, match="positional argument"):
        lay_out([WHOLE], 1, 1, False)  # type: ignore[misc]
