"""Means of integers: the exact sum by the exact divisor, rounded once as asked and saturated."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pooling
from pooling import reference
from tests.conftest import FLOATS, INTEGERS, LAYOUTS, Array, assert_same_bytes, channels_last, dtype_of, random_array

ROUNDINGS = ("half_even", "half_up", "floor", "trunc")
# Whole numbers, few places, 53 places at every size, more places than 128 bits have, subnormal and huge ones.
DIVISORS = [1, 3, -7, 2.0**40, 2.0**53, 2.0**53 + 2, -(2.0**63), 2.5, 0.5, -0.125, 2.0**-20, 3 * 2.0**-41, 0.1, 0.3]
DIVISORS += [-0.7, 1.1, 9.99, 1e-3, 1 / 3, -5e-5, 1e-13, 1e-30, -1e-300, 5e-324, -(2.0**-1060), 2.0**-126, 2.0**-127]
DIVISORS += [1e17 / 3, 1e30, -1e300, math.nextafter(math.inf, 0), 2.0**1023, 3 * 2.0**119, 2.0**120]
GEOMETRIES: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "one cell": ("avg_pool1d", (1, 1, 6), {"kernel_size": 1}),
    "rows": ("avg_pool1d", (2, 2, 40), {"kernel_size": 3, "stride": 2}),
    "planes": ("avg_pool2d", (2, 3, 6, 7), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "flat planes": ("avg_pool2d", (2, 3, 8, 8), {"kernel_size": 3, "stride": 1, "padding": 1}),
    "bands": ("avg_pool2d", (1, 1, 9, 200), {"kernel_size": (3, 5), "stride": (1, 4), "count_include_pad": False}),
    "strips": ("avg_pool2d", (1, 1, 40, 66), {"kernel_size": 20, "stride": 1}),
    "ceil": ("avg_pool3d", (1, 2, 3, 4, 5), {"kernel_size": 2, "padding": 1, "ceil_mode": True, "dilation": 2}),
    "long windows": ("avg_pool1d", (1, 2, 300), {"kernel_size": 129, "stride": 1}),
}


def exact(total: int, divisor: float, rounding: str, dtype: str) -> int:
    quotient = Fraction(total) / Fraction(divisor)
    floor = math.floor(quotient)
    half = quotient - floor - Fraction(1, 2)
    up = half > 0 or (half == 0 and (rounding == "half_up" or floor % 2 == 1))
    result = {"floor": floor, "trunc": math.trunc(quotient)}.get(rounding, floor + up)
    limits = np.iinfo(dtype)
    return min(max(result, int(limits.min)), int(limits.max))


def spread(shape: tuple[int, ...], dtype: str) -> Array:
    """Integers of every size, the extremes among them."""
    x = random_array(shape, dtype)
    few = np.random.default_rng(1).random(shape)
    x[few < 0.3] >>= np.iinfo(dtype).bits // 2
    x[few > 0.8] = np.iinfo(dtype).max
    x[few > 0.9] = np.iinfo(dtype).min
    x[(few > 0.4) & (few < 0.5)] = 1
    return x


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_one_element_by_any_divisor(dtype: str, rounding: str) -> None:
    limits = np.iinfo(dtype)
    values = {0, 1, 2, 3, 5, 7, int(limits.max), int(limits.max) // 3, int(limits.max) - 1, int(limits.min), 10}
    values |= {-value for value in values if limits.min} | {2**k for k in range(limits.bits - 1)}
    column = sorted(value for value in values if limits.min <= value <= limits.max)
    x = np.array(column, dtype).reshape(1, 1, -1)
    for divisor in DIVISORS:
        result = pooling.avg_pool1d(x, 1, divisor_override=divisor, rounding=rounding).ravel().tolist()
        assert result == [exact(value, divisor, rounding, dtype) for value in column], divisor


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", sorted(GEOMETRIES))
@pytest.mark.parametrize("dtype", INTEGERS)
def test_every_path_divides_as_the_reference(dtype: str, geometry: str, layout: str) -> None:
    function, shape, windows = GEOMETRIES[geometry]
    x = spread(shape, dtype)
    x = x if layout == "channels_first" else channels_last(x)
    divisors = [0.1, -2.5, 1e-30] if geometry in ("strips", "long windows") else [0.3, 7, -1.1, 3 * 2.0**-41, 5e-324]
    for rounding, divisor in zip(ROUNDINGS * 2, divisors, strict=False):
        arguments = windows | {"divisor_override": divisor, "rounding": rounding, "layout": layout}
        result = getattr(pooling, function)(x, **arguments)
        assert_same_bytes(result, getattr(reference, function)(x, **arguments))


@given(
    dtype=st.sampled_from(INTEGERS),
    rounding=st.sampled_from(ROUNDINGS),
    divisor=st.floats(allow_nan=False, allow_infinity=False).filter(bool)
    | st.builds(lambda odd, places: odd * 2.0**-places, st.integers(-(2**53), 2**53).filter(bool), st.integers(0, 140)),
    taps=st.integers(1, 5),
    data=st.data(),
)
def test_any_divisor(dtype: str, rounding: str, divisor: float, taps: int, data: st.DataObject) -> None:
    limits = np.iinfo(dtype)
    whole = st.integers(int(limits.min), int(limits.max)) | st.integers(0, 20)
    values = data.draw(st.lists(whole, min_size=taps, max_size=taps))
    x = np.array(values, dtype).reshape(1, 1, taps)
    result = pooling.avg_pool1d(x, taps, divisor_override=divisor, rounding=rounding).item()
    assert result == exact(sum(values), divisor, rounding, dtype)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_ties_of_a_divisor_with_places_are_decided_as_asked(dtype: str, rounding: str) -> None:
    """A divisor that is 2, or a half, in all but its last places makes no ties."""
    x = np.arange(1, 60, 2, dtype=dtype).reshape(1, 1, -1)
    for divisor in (2.0, 0.5, 2 + 2.0**-50, 2 - 2.0**-50, 2 + 2.0**-30, 2.0**-1 + 2.0**-53):
        result = pooling.avg_pool1d(x, 1, divisor_override=divisor, rounding=rounding).ravel().tolist()
        assert result == [exact(int(value), divisor, rounding, dtype) for value in x.ravel()]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("divisor", [0.1, 1e-50, 1e-300, 5e-324, -1e300, 1e39, 3])
def test_floats_are_divided_by_the_divisor_itself(dtype: str, divisor: float) -> None:
    """And not by what float32 makes of it, which may be 0 or infinite."""
    x = np.array([0, -1, 3, 2.0**-14, 2.0**15], dtype_of(dtype)).reshape(1, 1, -1)
    with np.errstate(all="ignore"):
        result = pooling.avg_pool1d(x, 1, divisor_override=divisor)
        gradient = pooling.avg_pool1d_backward(x, x, 1, divisor_override=divisor)
        expected = reference.avg_pool1d(x, 1, divisor_override=divisor)
    for found in (result, gradient):
        np.testing.assert_array_equal(found.astype(np.float64), expected.astype(np.float64))
