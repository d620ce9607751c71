"""Norms and generalised means of whole maps: small ones of any size, large ones in parts, and their gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import reference
from pooling.arrays import rounded
from pooling.dispatch import kernels
from tests.conftest import FLOATS, LAYOUTS, UNIT, Array, assert_same_bytes, channels_last, dtype_of, laid, random_array

# Cut into parts of 65536 elements, of which the last is shorter.
CUT = [(1, 2, 301, 517), (2, 3, 97, 1400), (1, 40, 61, 83)]


@pytest.mark.parametrize("eps", [0.0, 0.3])
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, 4.0, 2.5])
@pytest.mark.parametrize("dtype", FLOATS)
def test_maps_of_any_number_of_cells(dtype: str, p: float, eps: float) -> None:
    for cells in [*range(1, 40), 63, 64, 65, 255, 257]:
        x = random_array((2, 3, 1, cells), dtype_of(dtype), cells)
        lifted = np.maximum(x.astype(np.float64), eps) if eps else np.abs(x.astype(np.float64))
        sums = [math.fsum(v) for v in (lifted**p).reshape(6, cells).tolist()]
        exact = (np.array(sums) / (cells if eps else 1)) ** (1 / p)
        for layout in LAYOUTS:
            lying = laid(x, layout)
            result = (
                pooling.gem_pool2d(lying, p, eps, layout=layout)
                if eps
                else pooling.global_lp_pool(lying, p, layout=layout)
            )
            unit = 1e-14 if dtype == "float64" else UNIT[dtype] + 1e-14
            np.testing.assert_allclose(result.astype(np.float64).ravel(), exact, rtol=unit)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", CUT)
def test_maps_in_parts(shape: tuple[int, ...], dtype: str, layout: str) -> None:
    x = laid(random_array(shape, dtype_of(dtype)), layout)
    wide = x.astype(np.float64)
    axes = (2, 3) if layout == "channels_first" else (1, 2)
    unit = 1e-12 if dtype == "float64" else UNIT[dtype] + 1e-12
    for p in (2.0, 2.5):
        y = np.sum(np.abs(wide) ** p, axes, keepdims=True) ** (1 / p)
        np.testing.assert_allclose(pooling.global_lp_pool(x, p, layout=layout).astype(np.float64), y, rtol=unit)
        g = random_array(y.shape, dtype_of(dtype), 1)
        found = pooling.global_lp_pool_backward(g, x, p, layout=layout)
        exact = g.astype(np.float64) * np.sign(wide) * (np.abs(wide) / y) ** (p - 1)
        expected = rounded(exact, np.empty(exact.shape, dtype_of(dtype))).astype(np.float64)
        np.testing.assert_allclose(found.astype(np.float64), expected, rtol=2 * unit, atol=1e-7 * UNIT[dtype])
    for p in (3.0, 2.5):
        lifted = np.maximum(wide, 0.1)
        y = np.mean(lifted**p, axes, keepdims=True) ** (1 / p)
        np.testing.assert_allclose(pooling.gem_pool2d(x, p, 0.1, layout=layout).astype(np.float64), y, rtol=unit)
        found, slope = pooling.gem_pool2d_backward(g, x, p, 0.1, layout=layout)
        exact = np.where(wide < 0.1, 0, g.astype(np.float64) * (lifted / y) ** (p - 1) / (x.size / y.size))
        expected = rounded(exact, np.empty(exact.shape, dtype_of(dtype))).astype(np.float64)
        np.testing.assert_allclose(found.astype(np.float64), expected, rtol=2 * unit, atol=1e-7 * UNIT[dtype])
        slopes = y / p * np.mean((lifted / y) ** p * np.log(lifted / y), axes, keepdims=True)
        assert slope == pytest.approx(float((slopes * g.astype(np.float64)).sum()), rel=1e-10, abs=1e-11)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_parts_are_the_same_for_any_number_of_threads(dtype: str, layout: str, always_parallel: None) -> None:
    for shape in CUT:
        x = laid(random_array(shape, dtype_of(dtype)), layout)
        found: list[list[bytes]] = []
        for count in (1, 2, 5):
            with pooling.threads(count):
                y = pooling.gem_pool2d(x, 2.5, layout=layout)
                gradient, slope = pooling.gem_pool2d_backward(y, x, 2.5, layout=layout)
                norm = pooling.global_lp_pool(x, 3, layout=layout)
                spread = pooling.global_lp_pool_backward(norm, x, 3, layout=layout)
                found.append([a.tobytes() for a in (y, gradient, np.array(slope), norm, spread)])
        assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("shape", [(1, 3, 5, 7), (1, 2, 400, 500)])
@pytest.mark.parametrize("value", [-2.0, 0.7, 3e30])
@pytest.mark.parametrize("p", [1.0, 3.0, 2.5])
def test_equal_elements_leave_no_slope(value: float, p: float, shape: tuple[int, ...]) -> None:
    x = np.full(shape, value, np.float32)
    g = np.ones((*shape[:2], 1, 1), np.float32)
    for layout in LAYOUTS:
        gradient, slope = pooling.gem_pool2d_backward(laid(g, layout), laid(x, layout), p, layout=layout)
        assert slope == 0
        expected = 0 if value < 0 else 1 / (shape[2] * shape[3])
        np.testing.assert_allclose(gradient, np.float32(expected), rtol=2e-7)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("p", [1.0, 3.0, 2.5])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_stays_in_its_map(bad: float, p: float, layout: str) -> None:
    x = random_array((1, 3, 9, 8), np.float32)
    x[0, 1, 4, 4] = bad
    g = laid(np.ones((1, 3, 1, 1), np.float32), layout)
    x = laid(x, layout)
    arguments: dict[str, Any] = {"layout": layout}
    for function, exponents in (("gem_pool2d", (p, 1e-3)), ("global_lp_pool", (p,))):
        backward = f"{function}_backward"
        found = getattr(pooling, backward)(g, x, *exponents, **arguments)
        with np.errstate(all="ignore"):
            expected = getattr(reference, backward)(g, x, *exponents, **arguments)
        if function == "gem_pool2d":
            assert math.isnan(found[1])
            assert math.isnan(expected[1])
            found, expected = found[0], expected[0]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        forward = getattr(pooling, function)(x, *exponents, **arguments).ravel()
        np.testing.assert_array_equal(np.isfinite(forward), [True, False, True])


def test_logarithms_and_powers_for_results_that_become_floats() -> None:
    random = np.random.default_rng(0)
    x = np.exp(random.uniform(-100, 88, 5000)).astype(np.float32).astype(np.float64)
    x = np.concatenate([x, 1 + random.standard_normal(1000) * 2.0**-20, [2.0**-149, 3.4e38, 1.0]])
    found = np.empty_like(x)
    kernels.near_logarithms(x, found)
    np.testing.assert_allclose(found, np.log(x.astype(np.longdouble)).astype(np.float64), rtol=4e-16)
    for p in (2.5, 0.5, 5.9, -0.5, 1.001, 6.0):
        kernels.near_powers(x, found, p)
        exact = np.power(x.astype(np.longdouble), np.longdouble(p)).astype(np.float64)
        np.testing.assert_allclose(found, exact, rtol=(2 + 2.5 * abs(p)) * 2.0**-53)
    ends = np.array([0.0, math.inf, math.nan])
    for p, expected in ((2.5, ends), (-0.5, np.array([math.inf, 0.0, math.nan]))):
        found = np.empty_like(ends)
        kernels.near_powers(ends, found, p)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("p", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_windows_of_two_by_two(dtype: str, p: int) -> None:
    """Sums of pairs in vectors, and of what is left of a row; small halves, whose roots halves hold with fewer bits."""
    for width in (2, 4, 7, 8, 10, 19, 64):
        for scale in (1.0, 1e-6, 2.0**-128):
            x = (random_array((2, 3, 6, width)) * scale).astype(dtype_of(dtype))
            taps = np.abs(x[..., : width // 2 * 2].astype(np.float64)) ** p
            columns = taps[:, :, ::2] + taps[:, :, 1::2]
            exact = (columns[..., ::2] + columns[..., 1::2]) ** (1 / p)
            if p in (1, 2):
                root = exact if p == 1 else np.sqrt(columns[..., ::2] + columns[..., 1::2])
                expected = rounded(root, np.empty(exact.shape, dtype_of(dtype)))
                assert_same_bytes(pooling.lp_pool2d(x, p, 2), expected)
            unit = UNIT[dtype]
            tiny = {"float32": 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-133}[dtype]
            for result in (pooling.lp_pool2d(x, p, 2), channels_last_back(x, p)):
                np.testing.assert_allclose(
                    result.astype(np.float64), exact, rtol=unit * (1 + 1e-6), atol=tiny / 2 * (1 + 1e-6)
                )


def channels_last_back(x: Array, p: float) -> Array:
    """Pool in the other layout, and return the result in the first."""
    return np.moveaxis(pooling.lp_pool2d(channels_last(x), p, 2, layout="channels_last"), -1, 1)
