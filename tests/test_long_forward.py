"""Long windows: means of small integers, which are made from those of the window before, and of floats; maxima."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pooling
from pooling.dispatch import kernels
from tests.conftest import LAYOUTS, Array, resolved_call

SMALL = ["int8", "uint8", "int16", "uint16"]


def sums(x: Array, kernel_size: tuple[int, int], padding: tuple[int, int]) -> Array:
    """Sum the windows of (rows, columns, channels) in 64 bits, by differences of sums from the first cell on."""
    rows, columns = kernel_size
    down, along = padding
    padded = np.pad(x.astype(np.int64), ((down + 1, down), (along + 1, along), (0, 0)))
    total = padded.cumsum(0).cumsum(1)
    return total[rows:, columns:] - total[:-rows, columns:] - total[rows:, :-columns] + total[:-rows, :-columns]


def means(
    x: Array, kernel_size: tuple[int, int], padding: tuple[int, int], rounding: str, counting: bool, divisor: int | None
) -> Array:
    total = sums(x, kernel_size, padding)
    counts = np.full_like(total, divisor or kernel_size[0] * kernel_size[1])
    if not counting and divisor is None:
        counts = sums(np.ones_like(x), kernel_size, padding)
    quotients, rest = total // counts, total % counts
    more = {
        "half_even": (2 * rest > counts) | ((2 * rest == counts) & (quotients % 2 == 1)),
        "half_up": 2 * rest >= counts,
        "floor": np.zeros_like(rest, bool),
        "trunc": (total < 0) & (rest != 0),
    }[rounding]
    return quotients + more


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    kernel_size = draw(st.tuples(st.sampled_from([1, 2, 11, 12, 20, 33]), st.sampled_from([1, 3, 12, 17, 64])))
    channels = draw(st.sampled_from([1, 1, 2, 3, 4, 5, 17]))
    # Tasks are 16 rows at least, and 4096 cells of a row.
    width = 4200 if channels == 1 and draw(st.integers(0, 9)) == 0 else draw(st.integers(64, 100))
    return {
        "shape": (draw(st.integers(33, 90)), width, channels),
        "kernel_size": kernel_size,
        "padding": tuple(draw(st.integers(0, size // 2)) for size in kernel_size),
        "dtype": draw(st.sampled_from(SMALL)),
        "rounding": draw(st.sampled_from(["half_even", "half_up", "floor", "trunc"])),
        "counting": draw(st.booleans()),
        "divisor": draw(st.none() | st.integers(kernel_size[0] * kernel_size[1], 10**7)),
        "layout": draw(st.sampled_from(LAYOUTS)),
        "seed": draw(st.integers(0, 9)),
    }


@given(case=cases())
def test_means_are_those_of_exact_sums(case: dict[str, Any]) -> None:
    random = np.random.default_rng(case["seed"])
    limits = np.iinfo(case["dtype"])
    x = random.integers(limits.min, limits.max, case["shape"], case["dtype"], endpoint=True)
    if case["seed"] == 9:
        x[:] = random.choice([limits.min, limits.max])
    windows = (case["kernel_size"], case["padding"], case["rounding"], case["counting"], case["divisor"])
    expected = means(x, *windows)
    last = case["layout"] == "channels_last"
    maps = x[None] if last else np.ascontiguousarray(x.transpose(2, 0, 1))[None]
    arguments = {"divisor_override": case["divisor"]} if case["divisor"] else {}
    for threads in (1, 2):
        with pooling.threads(threads):
            result = pooling.avg_pool2d(
                maps,
                case["kernel_size"],
                stride=1,
                padding=case["padding"],
                count_include_pad=case["counting"],
                rounding=case["rounding"],
                layout=case["layout"],
                **arguments,
            )
        result = result[0] if last else result[0].transpose(1, 2, 0)
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", SMALL)
def test_which_windows_are_summed_so(dtype: str, layout: str) -> None:
    def strategy(kernel_size: Any, **windows: Any) -> str:
        shape = (1, 3, 200, 300) if layout == "channels_first" else (1, 200, 300, 3)
        windows = {"stride": 1, "layout": layout, "padding": 0} | windows
        call = resolved_call("avg_pool2d", np.zeros(shape, dtype), kernel_size=kernel_size, **windows)
        name, nbytes = kernels.strategy_of(call.plan, "forward", call.reducer, call.kind)
        assert name != "running" or nbytes < 2**20
        return str(name)

    assert {strategy(size) for size in (12, 31, 101, (1, 200))} == {"running"}
    # Up to 128 bytes along one axis have loops of their own where vectors of x86 are.
    of_lines = "byte_lines" if kernels.LEVEL.startswith("x86") and dtype.endswith("int8") else "running"
    assert {strategy(size) for size in ((1, 40), (40, 1))} == {of_lines}
    assert strategy(20, padding=10, count_include_pad=False) == "running"
    assert "running" not in {strategy(11), strategy(31, stride=2), strategy(31, dilation=2)}


def windows_of(x: Array, kernel_size: tuple[int, int], padding: tuple[int, int]) -> Array:
    padded = np.pad(x, [(size, size) for size in padding])
    return np.lib.stride_tricks.sliding_window_view(padded, kernel_size)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel_size", [(20, 21), (37, 30), (48, 20)])
def test_means_of_floats_are_within_the_bound(kernel_size: tuple[int, int], layout: str) -> None:
    """Of magnitudes of 40 decades, too: what a window does not hold has no part in it."""
    random = np.random.default_rng(0)
    padding = (kernel_size[0] // 2, kernel_size[1] // 2)
    x = random.standard_normal((3, 70, 80)) * 10.0 ** random.uniform(-20, 20, (3, 70, 80))
    x = np.stack([x[0], random.random((70, 80)), np.full((70, 80), 3e38)]).astype(np.float32)
    maps = x[None] if layout == "channels_first" else np.ascontiguousarray(x.transpose(1, 2, 0))[None]
    result = pooling.avg_pool2d(maps, kernel_size, stride=1, padding=padding, layout=layout)[0]
    result = result if layout == "channels_first" else result.transpose(2, 0, 1)
    for plane, means_of_plane in zip(x.astype(np.float64), result, strict=True):
        expected = windows_of(plane, kernel_size, padding).mean((2, 3))
        magnitudes = windows_of(abs(plane), kernel_size, padding).mean((2, 3))
        assert (abs(means_of_plane - expected) <= 4 * 2.0**-23 * magnitudes).all()


def test_nan_and_infinities_stay_inside_their_windows() -> None:
    x = np.ones((80, 90), np.float32)
    x[30, 40], x[60, 10], x[60, 12], x[5, 85] = np.nan, np.inf, -np.inf, np.inf
    result = pooling.avg_pool2d(x[None, None], (24, 20), stride=1, padding=(12, 10))[0, 0]
    with np.errstate(invalid="ignore"):
        expected = windows_of(x.astype(np.float64), (24, 20), (12, 10)).mean((2, 3))
    np.testing.assert_allclose(result, expected, 1e-6)


@pytest.mark.parametrize("function", ["max_pool2d", "min_pool2d"])
def test_bytes_under_windows_too_large_for_bands(function: str) -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (1080, 1920)).astype(np.uint8)
    x[200:900, 300:1500] //= 16
    combine = np.maximum if function == "max_pool2d" else np.minimum
    expected = np.pad(x, 250, constant_values=0 if function == "max_pool2d" else 255)
    for axis in (0, 1):
        span = 1
        while span < 501:
            step = min(span, 501 - span)
            length = expected.shape[axis] - step
            expected = combine(expected.take(range(length), axis), expected.take(range(step, length + step), axis))
            span += step
    windows = {"kernel_size": 501, "stride": 1, "padding": 250}
    call = resolved_call(function, x[None, None], **windows)
    assert kernels.strategy_of(call.plan, "forward", call.reducer, call.kind)[0] == "strips"
    result = getattr(pooling, function)(x[None, None], **windows)
    np.testing.assert_array_equal(result[0, 0], expected)
