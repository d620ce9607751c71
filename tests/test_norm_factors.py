"""Gradients of norms of narrow types: long rows in segments, planes in parts, every way to spread, and sums of maps."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import pooling
from pooling.arrays import rounded
from tests.conftest import LAYOUTS, UNIT, Array, assert_same_bytes, channels_last, dtype_of, random_array

NARROW = ["float32", "float16", "bfloat16"]
EXPONENTS = [1.0, 2.0, 3.0, 4.0, 2.5]

# Shapes of spatial axes and windows: rows of several segments, planes of several parts, windows that share cells, that
# touch, and that leave cells out.
WINDOWS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "3 s2, long row": ((9001,), {"kernel_size": 3, "stride": 2}),
    "5 s1, long row": ((9000,), {"kernel_size": 5, "stride": 1, "padding": 2}),
    "7 s3 d2, long row": ((8500,), {"kernel_size": 7, "stride": 3, "dilation": 2, "padding": 3}),
    "2 s3, cells between windows": ((5, 8200), {"kernel_size": 2, "stride": 3}),
    "2x2 s2, parts": ((257, 33), {"kernel_size": 2, "stride": 2}),
    "3x3 s2, parts": ((257, 33), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "3x3 s1, parts": ((130, 17), {"kernel_size": 3, "stride": 1, "padding": 1}),
    "6x2 s2, rows in fours": ((64, 19), {"kernel_size": (6, 2), "stride": 2}),
    "3x3 d3": ((61, 23), {"kernel_size": 3, "stride": 2, "dilation": 3, "padding": 1}),
    "2x2x2 s2": ((70, 6, 7), {"kernel_size": 2, "stride": 2}),
    "3x3x3 s2": ((70, 6, 7), {"kernel_size": 3, "stride": 2, "padding": 1}),
}


def each(value: Any, axes: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple) else (value,) * axes


def gradient_of(x: Array, grad: Array, p: float, windows: dict[str, Any]) -> Array:
    """The gradient of norms in float64, tap by tap."""
    axes = x.ndim - 2
    kernel, stride, dilation, padding = (
        each(windows.get(name, default), axes)
        for name, default in (("kernel_size", 1), ("stride", 1), ("dilation", 1), ("padding", 0))
    )
    padded = np.pad(np.abs(x), [(0, 0), (0, 0), *((n, n + 9) for n in padding)])
    taps: list[tuple[Any, ...]] = [
        (
            ...,
            *(
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, n, s, d in zip(tap, grad.shape[2:], stride, dilation, strict=True)
            ),
        )
        for tap in itertools.product(*map(range, kernel))
    ]
    norm = sum(padded[tap] ** p for tap in taps) ** (1 / p)
    spread = np.zeros_like(padded)
    for tap in taps:
        spread[tap] += grad * np.where(norm == 0, 0, (padded[tap] / np.where(norm == 0, 1, norm)) ** (p - 1))
    inside = tuple(slice(n, n + size) for n, size in zip(padding, x.shape[2:], strict=True))
    return np.asarray(spread[(slice(None), slice(None), *inside)] * np.sign(x))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("name", WINDOWS)
def test_gradients_of_norms(name: str, dtype: str, layout: str) -> None:
    cells, windows = WINDOWS[name]
    forward = getattr(pooling, f"lp_pool{len(cells)}d")
    backward = getattr(pooling, f"lp_pool{len(cells)}d_backward")
    x = random_array((1, 3, *cells), dtype_of(dtype))
    x[..., :2] = 0
    for p in EXPONENTS:
        grad = random_array(forward(x, p, **windows).shape, dtype_of(dtype), 1)
        exact = gradient_of(x.astype(np.float64), grad.astype(np.float64), p, windows)
        expected = rounded(exact, np.empty(exact.shape, dtype_of(dtype))).astype(np.float64)
        if layout == "channels_last":
            found = backward(channels_last(grad), channels_last(x), p, **windows, layout=layout)
            found = np.moveaxis(found, -1, 1)
        else:
            found = backward(grad, x, p, **windows)
        # Of windows whose gradients cancel, some roundings of double are left.
        np.testing.assert_allclose(found.astype(np.float64), expected, rtol=2 * UNIT[dtype], atol=1e-13)


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_no_window_holds_has_no_gradient(value: float, dtype: str) -> None:
    x = np.ones((2, 1, 8, 8), dtype_of(dtype))
    x[:, :, 2, :] = value
    x[:, :, :, 5] = value
    for p in EXPONENTS:
        y = pooling.lp_pool2d(x, p, 2, 3)
        gradient = pooling.lp_pool2d_backward(np.ones_like(y), x, p, 2, 3).astype(np.float64)
        assert not gradient[:, :, 2, :].any()
        assert not gradient[:, :, :, 5].any()
        np.testing.assert_allclose(gradient[0, 0, 0, 0], 4 ** (1 / p - 1), rtol=UNIT[dtype] + 1e-13)


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("name", WINDOWS)
def test_gradients_are_the_same_for_any_number_of_threads(name: str, dtype: str, always_parallel: None) -> None:
    cells, windows = WINDOWS[name]
    x = random_array((2, 3, *cells), dtype_of(dtype))
    for p in (2.0, 2.5):
        y = getattr(pooling, f"lp_pool{len(cells)}d")(x, p, **windows)
        found = []
        for count in (1, 2, 5):
            with pooling.threads(count):
                found.append(getattr(pooling, f"lp_pool{len(cells)}d_backward")(y, x, p, **windows))
        assert_same_bytes(found[1], found[0])
        assert_same_bytes(found[2], found[0])


@pytest.mark.parametrize("eps", [0.0, 0.3])
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("maps", [1, 3, 4, 5, 11])
def test_a_map_has_the_same_norm_among_others(maps: int, dtype: str, eps: float) -> None:
    for cells, p in itertools.product([1, 2, 3, 4, 7, 15, 16, 49, 4096, 5000], [1.0, 2.0, 3.0, 4.0]):
        x = random_array((1, maps, 1, cells), dtype_of(dtype), cells)
        found = pooling.gem_pool2d(x, p, eps) if eps else pooling.global_lp_pool(x, p)
        for i in range(maps):
            alone = x[:, i : i + 1]
            one = pooling.gem_pool2d(alone, p, eps) if eps else pooling.global_lp_pool(alone, p)
            assert_same_bytes(np.ascontiguousarray(found[:, i : i + 1]), one)
            values = np.maximum(alone.astype(np.float64), eps) if eps else np.abs(alone.astype(np.float64))
            exact = (math.fsum((values**p).ravel().tolist()) / (cells if eps else 1)) ** (1 / p)
            np.testing.assert_allclose(one.astype(np.float64).item(), exact, rtol=UNIT[dtype] + 1e-14)
