"""What README promises of float32 means: a bound by the mean of the magnitudes, whatever the signs."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import pooling
from tests.conftest import HALVES, LAYOUTS, Array, assert_same_bytes, channels_last, dtype_of

UNITS = 4 * 2.0**-23


def windows_of(x: Array, k: int, stride: int) -> Array:
    return np.lib.stride_tricks.sliding_window_view(x.ravel(), k)[::stride].astype(np.float64)


def check(x: Array, k: int, stride: int = 1) -> None:
    """Means of windows of a row, in both layouts, against exact sums."""
    windows = windows_of(x, k, stride)
    truth = np.array([math.fsum(window) / k for window in windows])
    magnitudes = np.array([math.fsum(np.abs(window)) / k for window in windows])
    for layout in LAYOUTS:
        row: Any = x.reshape(1, 1, -1)
        row = row if layout == "channels_first" else channels_last(row)
        result = pooling.avg_pool1d(row, k, stride, layout=layout).ravel()
        assert result.dtype == np.float32
        # Half of the smallest denormal where there are no finer ones.
        assert (np.abs(result.astype(np.float64) - truth) <= UNITS * magnitudes + 2.0**-150).all()


@given(
    x=hnp.arrays(
        np.float32,
        st.integers(1, 60),
        elements=st.floats(-(2.0**100), 2.0**100, width=32) | st.sampled_from([1.0, -1.0, 1e8, -1e8, 2.0**-30]),
    ),
    data=st.data(),
)
def test_any_numbers(x: Array, data: st.DataObject) -> None:
    check(x, data.draw(st.integers(1, x.size)), data.draw(st.integers(1, 3)))


@pytest.mark.parametrize("k", [2, 3, 5, 8, 9, 16, 17, 31, 100, 1023, 4097, 20_000])
@pytest.mark.parametrize("kind", ["positive", "normal", "cancelling", "one large"])
def test_windows_of_every_length(kind: str, k: int) -> None:
    random = np.random.default_rng(k)
    x = random.standard_normal(min(3 * k, 25_000) + 40).astype(np.float32)
    if kind == "positive":
        x = np.abs(x)
    elif kind == "cancelling":
        x[1::2] = -x[0 : x.size - x.size % 2 : 2] * np.float32(1 + 2.0**-20)
    elif kind == "one large":
        x[x.size // 2] = 1e9
        x[x.size // 2 + 1] = -1e9
    check(x, k, max(1, k // 50))


@pytest.mark.parametrize("together", [1, 4, 16])
@pytest.mark.parametrize("along", ["rows", "columns"])
def test_roundings_that_all_go_one_way(along: str, together: int) -> None:
    """Beside each large number `together` others make not quite half of its last place, and every addition of them is
    rounded down: what a sum in float32 loses grows with its roundings, and random numbers would not show it."""
    for k in (*range(2, 80), 100, 127, 128, 129, 200, 255, 256, 257, 300, 500):
        for stride in {1, k // 2, k}:
            x = np.full(3 * k, 0.99 * 2.0**-24 / together, np.float32)
            x[:: max(k, 2)] = 1
            if along == "rows":
                check(x, k, stride)
                continue
            windows = windows_of(x, k, stride)
            truth = np.array([math.fsum(window) / k for window in windows])
            for layout in LAYOUTS:
                shape = (1, 1, -1, 1) if layout == "channels_first" else (1, -1, 1, 1)
                result = pooling.avg_pool2d(x.reshape(shape), (k, 1), (stride, 1), layout=layout).ravel()
                assert (np.abs(result.astype(np.float64) - truth) <= UNITS * truth).all(), (k, stride)


def worst_error(mean: Callable[[Array], float], shape: tuple[int, ...]) -> float:
    """Return the error, relative to the mean, of the numbers that are worst for the order in which a mean is made.

    Of one element at a time, the others fall into groups, one for each sum in float32 that it goes into: a large number
    in its place and the same with the other sign in that of another swallow what is added before these two meet, and
    the result tells how much was (Xie et al. 2024, "FPRev: Revealing the Order of Floating-Point Summation"). Where
    each group adds not quite half of the last place of that element, every sum is rounded down.
    """
    x = np.zeros(shape, np.float32)
    worst = 0.0
    for place in {(0,) * len(shape), tuple(size // 2 for size in shape), tuple(size - 1 for size in shape)}:
        groups = defaultdict(list)
        for other in set(np.ndindex(shape)) - {place}:
            x[...] = 1
            x[place], x[other] = 2.0**40, -(2.0**40)
            groups[round(mean(x) * x.size)].append(other)
        x[...] = 0
        x[place] = 1
        for group in groups.values():
            x[tuple(np.transpose(group))] = 0.999 * 2.0**-24 / len(group)
        truth = math.fsum(x.ravel().tolist()) / x.size
        worst = max(worst, abs(mean(x) - truth) / truth)
    return worst


def pooled(kernel_size: tuple[int, ...], stride: int = 1, dilation: int = 1, layout: str = "channels_first") -> float:
    """Return the worst error of the first window of a map that has some more."""
    sizes = [(k - 1) * dilation + 1 + 12 * stride for k in kernel_size]
    maps = np.zeros((1, *sizes, 8) if layout == "channels_last" else (1, 1, *sizes), np.float32)
    first = (0,) * len(kernel_size)
    taps = maps[0, ..., 3] if layout == "channels_last" else maps[0, 0]
    taps = taps[tuple(slice(0, (k - 1) * dilation + 1, dilation) for k in kernel_size)]
    function = getattr(pooling, f"avg_pool{len(kernel_size)}d")
    cell = (0, *first, 3) if layout == "channels_last" else (0, 0, *first)

    def mean(x: Array) -> float:
        taps[...] = x
        return float(function(maps, kernel_size, stride, dilation=dilation, layout=layout)[cell])

    return worst_error(mean, kernel_size)


SQUARES = [(k, k) for k in (*range(2, 14), 16, 17, 20, 21, 31, 33, 47)]
OBLONGS = [(1, 64), (2, 30), (3, 21), (5, 9), (12, 40)]
KERNELS = [*((k,) for k in range(2, 70)), *SQUARES, *OBLONGS, *(sizes[::-1] for sizes in OBLONGS)]
KERNELS += [(2, 2, 2), (3, 3, 3), (4, 4, 4), (5, 5, 5), (7, 2, 3), (3, 5, 4), (7, 7, 2), (6, 7, 1)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (3, 1), (1, 2)])
def test_no_order_of_additions_is_worse_than_the_bound(stride: int, dilation: int, layout: str) -> None:
    worst = {sizes: pooled(sizes, stride, dilation, layout) for sizes in KERNELS}
    assert {sizes: error / UNITS for sizes, error in worst.items() if error > UNITS} == {}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nor_is_one_of_whole_maps(layout: str) -> None:
    for k in (*range(2, 14), 16, 17, 20, 31):
        for name, arguments, size in (("global_avg_pool", (), k), ("adaptive_avg_pool2d", (3,), 3 * k)):
            maps = np.zeros((1, size, size, 8) if layout == "channels_last" else (1, 1, size, size), np.float32)
            function = functools.partial(getattr(pooling, name), maps, *arguments, layout=layout)

            def mean(x: Array, maps: Array = maps, function: Callable[[], Array] = function) -> float:
                first = maps[0, ..., 3] if layout == "channels_last" else maps[0, 0]
                first[: x.shape[0], : x.shape[1]] = x
                return float(function()[0, 0, 0, 3] if layout == "channels_last" else function()[0, 0, 0, 0])

            assert worst_error(mean, (k, k)) <= UNITS, (name, k)


@pytest.mark.parametrize("dilation", [1, 2])
def test_nor_is_one_of_gradients(dilation: int) -> None:
    for k in (*range(2, 14), 16, 17, 20, 31):
        side = (k - 1) * dilation + 1
        grad = np.zeros((1, 1, side + 8, side + 8), np.float32)
        maps = np.zeros((1, 1, 2 * side + 7, 2 * side + 7), np.float32)

        def mean(x: Array, grad: Array = grad, maps: Array = maps, k: int = k, side: int = side) -> float:
            grad[0, 0, :side:dilation, :side:dilation] = x
            return float(pooling.avg_pool2d_backward(grad, maps, k, 1, dilation=dilation)[0, 0, side - 1, side - 1])

        assert worst_error(mean, (k, k)) <= UNITS, k


@pytest.mark.parametrize("shape", [(1, 3, 40, 41), (2, 1, 9, 30, 31)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_planes_and_volumes(shape: tuple[int, ...], layout: str) -> None:
    """In float64 they are summed as well, which rounds 2**29 times less."""
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    x = x if layout == "channels_first" else channels_last(x)
    function = getattr(pooling, f"avg_pool{len(shape) - 2}d")
    for k, stride in ((2, 2), (3, 1), (3, 2), (7, 3), (9, 1)):
        truth, magnitudes = (function(v, k, stride, layout=layout) for v in (x.astype("f8"), np.abs(x.astype("f8"))))
        result = function(x, k, stride, layout=layout)
        assert (np.abs(result - truth) <= UNITS * magnitudes).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", HALVES)
def test_halves_are_rounded_once_and_ties_to_even(dtype: str, layout: str) -> None:
    """The mean of any two neighbours lies in the middle between them."""
    x = np.arange(1 << 16, dtype=np.uint16).view(dtype_of(dtype))
    # The sum of two larger ones would be beyond float32.
    with np.errstate(invalid="ignore"):
        x = x[np.abs(x.astype(np.float64)) < 2.0**127].reshape(2, 1, -1)
    wide = x.astype(np.float64)
    expected = ((wide[..., 1:] + wide[..., :-1]) / 2).astype(dtype_of(dtype))
    result = pooling.avg_pool1d(x if layout == "channels_first" else channels_last(x), 2, 1, layout=layout)
    assert_same_bytes(result if layout == "channels_first" else np.moveaxis(result, -1, 1), expected)


def test_what_cancels_keeps_no_digits() -> None:
    """The promise says so: relative to the result, the error has no bound."""
    x = np.array([1e8, 1, -1e8, 1], np.float32)
    check(x, 4)
    assert pooling.avg_pool1d(x[None, None], 4).item() == 0


def test_readme_pages_and_docstrings_promise_the_same() -> None:
    for function in (pooling.avg_pool1d, pooling.avg_pool2d, pooling.avg_pool3d):
        assert "within 4 units of 2**-23 times the mean of the magnitudes" in " ".join((function.__doc__ or "").split())
