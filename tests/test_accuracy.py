"""What README promises of float32 means: a bound by the mean of the magnitudes, whatever the signs."""

from __future__ import annotations

import math
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


def partners(taps: int) -> list[tuple[int, int]]:
    """Return the runs of taps that are added to the first one by one, where runs of 4, 16, ... taps are shared."""
    runs, power = [], 1
    while 4 * power <= taps:
        runs += [(power, 2 * power), (2 * power, 4 * power)]
        power *= 4
    done = power
    while done < taps:
        count = (taps - done) // power
        if count:
            runs.append((done, done + count * power))
            done += count * power
        power //= 4
    return runs


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_roundings_down_columns_and_along_rows(stride: int, dilation: int) -> None:
    """A large number in a corner loses not quite half of its last place to each sum that is added to it, first down the
    columns, then along the rows."""
    small = 0.999 * 2.0**-24
    for k in (*range(8, 52), 56, 60, 64, 80, 96, 112, 128):
        side = (k - 1) * dilation + 1 + 12 * stride
        x = np.zeros((1, 1, side, side), np.float32)
        window = x[0, 0, : k * dilation : dilation, : k * dilation : dilation]
        for first, stop in partners(k):
            window[first:stop, 0] = window[0, first:stop] = small / (stop - first)
        window[0, 0] = 1
        truth = math.fsum(window.astype(np.float64).ravel()) / k**2
        result = pooling.avg_pool2d(x, k, stride, dilation=dilation)[0, 0, 0, 0]
        assert abs(float(result) - truth) <= UNITS * truth, k


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
