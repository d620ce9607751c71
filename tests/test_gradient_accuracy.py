"""Gradients are sums, too: within the bound of means however many terms they have, in both layouts and all dtypes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pooling
from tests.conftest import LAYOUTS, TINY, UNIT, Array, assert_same_bytes, channels_last, dtype_of

NARROW = ("float32", "float16", "bfloat16")


def allowed(dtype: str, exact: Array, magnitudes: Array) -> Array:
    """4 units of 2**-23 of the sum of magnitudes; in half precision one rounding, and a sixteenth of one."""
    if dtype == "float32":
        return 4 * 2.0**-23 * magnitudes + TINY[dtype]
    return UNIT[dtype] * (np.abs(exact) + magnitudes / 16) + TINY[dtype]


def gradients(shape: tuple[int, ...], dtype: str, signs: str) -> Array:
    random = np.random.default_rng(0)
    g = random.random(shape) / 4
    if signs == "mixed":
        g *= random.choice([-1, 1], shape)
    return g.astype(dtype_of(dtype))


def check(backward: Callable[[Array], Array], g: Array) -> None:
    """The gradient in the dtype of g against that in float64, which rounds 2**29 times less."""
    result = backward(g)
    assert result.dtype == g.dtype
    wide = g.astype(np.float64)
    exact, magnitudes = backward(wide), backward(np.abs(wide))
    assert (magnitudes > 0).any()
    error = np.abs(result.astype(np.float64) - exact)
    bound = allowed(g.dtype.name, exact, magnitudes)
    worst = (error / bound).max()
    assert worst <= 1, worst


MEANS: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("adaptive_avg_pool1d", (1, 1, 2), {"output_size": 31}),
    ("adaptive_avg_pool1d", (1, 1, 3), {"output_size": 100_003}),
    ("adaptive_avg_pool1d", (1, 2, 1), {"output_size": 300_001}),
    ("adaptive_avg_pool2d", (1, 1, 3, 3), {"output_size": (300, 1003)}),
    ("adaptive_avg_pool3d", (1, 1, 2, 3, 1), {"output_size": (30, 31, 60)}),
    ("avg_pool1d", (1, 1, 4000), {"kernel_size": 2000, "stride": 1}),
    ("avg_pool1d", (1, 1, 4000), {"kernel_size": 999, "stride": 2, "padding": 400, "count_include_pad": False}),
    ("avg_pool1d", (2, 3, 500), {"kernel_size": 40, "stride": 3, "dilation": 5}),
    ("avg_pool2d", (1, 1, 60, 61), {"kernel_size": 30, "stride": 1}),
    ("avg_pool2d", (1, 1, 60, 61), {"kernel_size": 31, "stride": 2, "padding": 10}),
    ("avg_pool2d", (20, 3, 24, 24), {"kernel_size": 12, "stride": 2}),
    ("avg_pool2d", (1, 2, 40, 40), {"kernel_size": 7, "stride": 2, "divisor_override": 0.3}),
    ("avg_pool3d", (1, 1, 12, 13, 14), {"kernel_size": 6, "stride": 2, "padding": 2, "count_include_pad": False}),
]


@pytest.mark.parametrize("signs", ["positive", "mixed"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize(("name", "shape", "arguments"), MEANS)
def test_means(
    name: str, shape: tuple[int, ...], arguments: dict[str, Any], dtype: str, layout: str, signs: str
) -> None:
    x = np.zeros(shape)
    x = x if layout == "channels_first" else channels_last(x)
    g = gradients(getattr(pooling, name)(x, **arguments, layout=layout).shape, dtype, signs)
    backward = getattr(pooling, f"{name}_backward")
    check(lambda g: backward(g, x.astype(g.dtype), **arguments, layout=layout), g)


MAXIMA: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("max_pool1d", (1, 1, 9001), {"kernel_size": 4501, "stride": 1}),
    ("max_pool1d", (1, 2, 200_001), {"kernel_size": 100, "stride": 3}),
    ("max_pool2d", (1, 1, 101, 101), {"kernel_size": 51, "stride": 1}),
    ("max_pool2d", (1, 1, 700, 701), {"kernel_size": 5, "stride": 1, "padding": 2}),
    ("max_pool2d", (40, 1, 31, 31), {"kernel_size": 9, "stride": 2}),
    ("max_pool3d", (1, 1, 9, 90, 300), {"kernel_size": 5, "stride": 1, "dilation": 2}),
    ("min_pool2d", (2, 2, 41, 41), {"kernel_size": 21, "stride": 1}),
    ("adaptive_max_pool1d", (1, 1, 3), {"output_size": 100_003}),
    ("adaptive_max_pool2d", (1, 1, 30, 3), {"output_size": (300, 1003)}),
]


@pytest.mark.parametrize("given", ["found", "given"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize(("name", "shape", "arguments"), MAXIMA)
def test_maxima(
    name: str, shape: tuple[int, ...], arguments: dict[str, Any], dtype: str, layout: str, given: str
) -> None:
    x = np.zeros(shape, np.float32)
    # One peak that many windows hold, among ties.
    x[tuple(size // 2 for size in shape)] = -1 if name.startswith("min") else 1
    x = x if layout == "channels_first" else channels_last(x)
    y, indices = getattr(pooling, name)(x, **arguments, layout=layout, return_indices=True)
    more = {"indices": indices} if given == "given" else {}
    g = gradients(y.shape, dtype, "positive")
    backward = getattr(pooling, f"{name}_backward")
    check(lambda g: backward(g, x.astype(g.dtype), **arguments, layout=layout, **more), g)


@pytest.mark.parametrize("dtype", NARROW)
def test_indices_that_lie_anywhere_are_found_in_every_part_of_a_plane(dtype: str) -> None:
    """Wide sums are made in parts, each of which reads the indices of near windows only where that is enough."""
    random = np.random.default_rng(0)
    for shape, kernel in (((1, 2, 600, 601), 5), ((1, 1, 400_001), 20), ((2, 1, 8, 200, 201), 3)):
        dimensions = len(shape) - 2
        name = f"max_pool{dimensions}d"
        x = random.standard_normal(shape).astype(dtype_of(dtype))
        y, indices = getattr(pooling, name)(x, kernel, 2, return_indices=True)
        g = gradients(y.shape, dtype, "positive")
        cells = math.prod(shape[2:])
        flat = indices.reshape(*shape[:2], -1)
        elsewhere = flat.copy()
        elsewhere[..., ::7] = random.integers(0, cells, elsewhere[..., ::7].shape)
        for named in (flat, elsewhere):
            expected = np.zeros((*shape[:2], cells))
            places = (np.arange(shape[0])[:, None, None], np.arange(shape[1])[None, :, None], named)
            np.add.at(expected, places, g.reshape(named.shape).astype(np.float64))
            result = getattr(pooling, f"{name}_backward")(g, x, kernel, 2, indices=named.reshape(indices.shape))
            error = np.abs(result.reshape(expected.shape).astype(np.float64) - expected)
            assert (error <= allowed(dtype, expected, expected)).all()
        elsewhere[..., -1] = cells
        with pytest.raises(ValueError, match="elements; give the indices"):
            getattr(pooling, f"{name}_backward")(g, x, kernel, 2, indices=elsewhere.reshape(indices.shape))


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_regions(dtype: str, mode: str) -> None:
    regions = 5000
    x = np.random.default_rng(1).standard_normal((1, 2, 4, 5)).astype(np.float16)
    rois = np.tile(np.array([[1.0, 1, 3.5, 3]], np.float32), (regions, 1))
    maps = np.zeros(regions, np.int64)
    g = gradients((regions, 2, 2, 3), dtype, "positive")
    check(lambda g: pooling.roi_align_backward(g, x.astype(g.dtype), rois, maps, (2, 3), mode=mode), g)
    boxes = np.column_stack([maps, rois]).astype(np.float32)
    x = np.round(x)
    check(lambda g: pooling.max_roi_pool_backward(g, x.astype(g.dtype), boxes, (2, 3)), g)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_means_of_many_samples_are_rounded_once(dtype: str) -> None:
    x = np.random.default_rng(0).random((1, 1, 300, 300)).astype(dtype_of(dtype))
    arguments = (np.array([[0.0, 0, 299, 299]]), np.zeros(1, np.int64), 1)
    exact = pooling.roi_align(x.astype(np.float64), *arguments)
    assert_same_bytes(pooling.roi_align(x, *arguments), exact.astype(x.dtype))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", NARROW)
def test_fractional_windows(dtype: str, layout: str) -> None:
    x = np.zeros((1, 1, 60, 60), np.float16)
    x[0, 0, 30, 30] = 1
    x = x if layout == "channels_first" else channels_last(x)
    samples = np.full((1, 1, 2), 0.4)
    arguments: dict[str, Any] = {"kernel_size": 30, "output_size": 29, "layout": layout, "_random_samples": samples}
    g = gradients(pooling.fractional_max_pool2d(x, **arguments).shape, dtype, "positive")
    check(lambda g: pooling.fractional_max_pool2d_backward(g, x.astype(g.dtype), **arguments), g)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", NARROW)
def test_norms_and_blur(dtype: str, layout: str) -> None:
    # Numbers that every dtype holds.
    x = np.round(128 * np.random.default_rng(0).random((1, 1, 40, 40))) / 128
    x = x if layout == "channels_first" else channels_last(x)
    named = {"layout": layout}
    y = pooling.lp_pool2d(x, 3, 20, 1, **named)
    g = gradients(y.shape, dtype, "positive")
    check(lambda g: pooling.lp_pool2d_backward(g, x.astype(g.dtype), 3, 20, 1, **named), g)
    g = gradients(pooling.blur_pool2d(x, 21, 1, **named).shape, dtype, "positive")
    check(lambda g: pooling.blur_pool2d_backward(g, x.astype(g.dtype), 21, 1, **named), g)
    y = pooling.max_blur_pool2d(x, 11, 1, blur_kernel_size=7, **named)
    g = gradients(y.shape, dtype, "positive")
    check(lambda g: pooling.max_blur_pool2d_backward(g, x.astype(g.dtype), 11, 1, blur_kernel_size=7, **named), g)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("cells", [1000, 300_000])
def test_means_of_very_many_rows(dtype: str, layout: str, cells: int) -> None:
    """Forward, too: float would be rounded once for every four rows."""
    x = gradients((1, 3, cells), dtype, "positive")
    x = x if layout == "channels_first" else channels_last(x)
    exact = x.astype(np.float64).mean(1 if layout == "channels_last" else 2)
    result = pooling.global_avg_pool(x, dimensions=1, layout=layout).reshape(exact.shape).astype(np.float64)
    assert (np.abs(result - exact) <= allowed(dtype, exact, exact)).all()
