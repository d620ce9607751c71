"""Means of bytes along one axis, held against sums of Python's integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pooling
from pooling.dispatch import available_levels, load
from tests.conftest import resolved_call

ROUNDINGS = ("half_even", "half_up", "floor", "trunc")


def exact(x: np.ndarray[Any, Any], taps: int, pads: tuple[int, int], rounding: str) -> np.ndarray[Any, Any]:
    """Return means along the second axis of ``(N, L, C)``; padding counts as zeros."""
    wide = np.pad(x.astype(np.int64), ((0, 0), pads, (0, 0)))
    sums = np.cumsum(np.pad(wide, ((0, 0), (1, 0), (0, 0))), axis=1)
    sums = sums[:, taps:] - sums[:, :-taps]
    whole, rest = np.divmod(sums, taps)
    up = {
        "half_even": (2 * rest > taps) | ((2 * rest == taps) & (whole % 2 == 1)),
        "half_up": 2 * rest >= taps,
        "floor": np.zeros(rest.shape, bool),
        "trunc": (sums < 0) & (rest > 0),
    }[rounding]
    return (whole + up).astype(x.dtype)


def numbers(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray[Any, Any]:
    """Draw bytes; a third of the arrays has extremes only."""
    random = np.random.default_rng(seed)
    limits = np.iinfo(dtype)
    if seed % 3 == 0:
        return random.choice(np.array([limits.min, limits.max], dtype), shape)
    return random.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


CASES = [
    # Lengths beside those of vectors and of tiles, and windows beside those of other loops.
    (shape, taps, pads)
    for shape in ((1, 400, 1), (3, 2048, 1), (2, 2175, 3), (1, 4113, 2), (2, 130, 64), (1, 75, 600), (1, 300, 1087))
    for taps, pads in (
        (2, (0, 0)), (3, (1, 1)), (5, (4, 0)), (12, (0, 11)), (13, (6, 6)), (16, (8, 7)), (31, (15, 15)), (64, (0, 0)),
        (65, (64, 64)),
    )
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_means_are_those_of_whole_numbers(dtype: str, rounding: Any) -> None:
    for seed, (shape, taps, pads) in enumerate(CASES):
        x = numbers(dtype, shape, seed)
        expected = exact(x, taps, pads, rounding)
        for threads in (1, 3):
            with pooling.threads(threads):
                made = pooling.avg_pool1d(x, taps, 1, [pads], layout="channels_last", rounding=rounding)
            np.testing.assert_array_equal(made, expected, err_msg=f"{shape}, {taps}, {pads}, {threads} threads")


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_channels_first_and_windows_of_one_axis_of_two(dtype: str) -> None:
    x = numbers(dtype, (2, 3, 40, 300), 1)
    lines = x.reshape(240, 300, 1)
    expected = exact(lines, 9, (4, 4), "half_even").reshape(x.shape)
    np.testing.assert_array_equal(pooling.avg_pool1d(x.reshape(240, 1, 300), 9, 1, 4).reshape(x.shape), expected)
    np.testing.assert_array_equal(pooling.avg_pool2d(x, (1, 9), 1, (0, 4)), expected)
    # Every second row, which windows of one row at a stride of two leave.
    np.testing.assert_array_equal(pooling.avg_pool2d(x, (1, 9), (2, 1), (0, 4)), expected[:, :, ::2])
    np.testing.assert_array_equal(pooling.avg_pool2d(x[..., ::-1], (1, 9), 1, (0, 4)), expected[..., ::-1])


@pytest.mark.parametrize("level", available_levels())
def test_calls_that_are_made_so(level: str) -> None:
    """Divisors that differ from window to window, and strides, are for other loops."""
    kernels = load(level)

    def strategy(**arguments: Any) -> str:
        x = np.zeros((1, 1, 400), np.uint8)
        call = resolved_call("avg_pool1d", x, **{"kernel_size": 5, "stride": 1, "padding": 2} | arguments)
        name: str = kernels.strategy_of(call.plan, "forward", call.reducer, call.kind)[0]
        return name

    assert (strategy() == "byte_lines") == level.startswith("x86")
    for other in ({"count_include_pad": False}, {"stride": 2}, {"dilation": 2}, {"divisor_override": 3}):
        assert strategy(**other) != "byte_lines"
