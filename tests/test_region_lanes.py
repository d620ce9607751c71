"""Regions of many channels, which kernels pool eight at a time: the same bits as those of each channel alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import reference
from tests.conftest import FLOATS, Array, assert_same_bytes, dtype_of, on_threads, random_array

MAPS, HEIGHT, WIDTH = 3, 17, 23


def pixels(dtype: str, channels: int, height: int = HEIGHT, width: int = WIDTH) -> Array:
    """Make maps with NaN, infinities and zeros of both signs here and there."""
    x = random_array((MAPS, channels, height, width), dtype)
    random = np.random.default_rng(channels)
    for value in (np.nan, np.inf, -np.inf):
        x[tuple(random.integers(0, size, 7) for size in x.shape)] = value
    for value in (0.0, -0.0):
        x[tuple(random.integers(0, size, 400) for size in x.shape)] = value
    return x


def boxes(count: int, height: int = HEIGHT, width: int = WIDTH) -> tuple[Array, Array]:
    """Make regions of the first map and the last: within it, over its border, of no extent."""
    random = np.random.default_rng(count)
    begin = random.uniform(-4, (width - 1, height - 1), (count, 2))
    end = np.maximum(begin, 0) + random.uniform(0, (width, height), (count, 2)) * random.choice((0, 1), (count, 1))
    maps = random.choice((0, MAPS - 1), count)
    return np.hstack([begin, end]).astype(np.float32), maps.astype(np.int64)


def one_by_one(function: Callable[[Array], Array], x: Array) -> Array:
    """Pool one channel at a time, which kernels do in another way."""
    return np.concatenate([function(np.ascontiguousarray(x[:, c : c + 1])) for c in range(x.shape[1])], axis=1)


@pytest.mark.parametrize("channels", [4, 8, 13, 16])
@pytest.mark.parametrize("dtype", FLOATS)
def test_greatest_elements_are_those_of_each_channel(dtype: str, channels: int) -> None:
    x = pixels(dtype, channels)
    corners, maps = boxes(60)
    rois = np.hstack([maps[:, np.newaxis], corners]).astype(np.float32)
    for size in ((3, 2), (1, 300), (40, 20)):

        def pool(x: Array, size: Any = size) -> Array:
            return pooling.max_roi_pool(x, rois, size)

        result = on_threads(pool, x)
        assert_same_bytes(result, one_by_one(pool, x))
        if size == (3, 2):
            expected = reference.max_roi_pool(x, rois, size)
            np.testing.assert_array_equal(result.astype(np.float64), expected.astype(np.float64))
            assert (result == 0).any()
            assert np.isnan(result.astype(np.float64)).any()


@pytest.mark.parametrize("ratio", [0, 2, 5])
@pytest.mark.parametrize("channels", [4, 8, 13])
@pytest.mark.parametrize("dtype", FLOATS)
def test_means_of_samples_are_those_of_each_channel(dtype: str, channels: int, ratio: int) -> None:
    x = pixels(dtype, channels)
    corners, maps = boxes(90)
    for size in ((3, 2), (40, 20)):

        def pool(x: Array, size: Any = size) -> Array:
            return pooling.roi_align(x, corners, maps, size, 1.0, ratio)

        assert_same_bytes(on_threads(pool, x), one_by_one(pool, x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_means_of_whole_numbers_are_exact(dtype: str) -> None:
    """Whose weights are halves and quarters, so that nothing is rounded."""
    x = np.random.default_rng(1).integers(-99, 99, (2, 11, 9, 10)).astype(dtype_of(dtype))
    corners = np.array([[0, 0, 8, 8], [1, 2, 5, 6], [2, 1, 10, 9], [4, 4, 6, 8]], np.float32)
    maps = np.array([1, 0, 1, 1])
    result = pooling.roi_align(x, corners, maps, 2, 1.0, 2)
    expected = reference.roi_align(x, corners, maps, 2, 1.0, 2)
    np.testing.assert_array_equal(result, expected)


def test_maps_without_regions_are_left_alone() -> None:
    x = np.full((3, 8, 4, 4), np.nan, np.float32)
    x[1] = 1
    rois = np.array([[1, 0, 0, 3, 3]] * 5, np.float32)
    assert (pooling.max_roi_pool(x, rois, 2) == 1).all()
    assert (pooling.roi_align(x, rois[:, 1:], np.ones(5, np.int64), 2) == 1).all()
