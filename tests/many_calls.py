"""A call of every family, by every way of memory and threads: for tests that need many different ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import pooling

random = np.random.default_rng(0)
maps = random.standard_normal((8, 32, 28, 28), np.float32)
small = random.standard_normal((64, 32, 7, 7), np.float32)
image = random.integers(0, 255, (512, 512), np.uint8)
half, places = pooling.max_pool2d(maps, 2, return_indices=True)
same = np.ones_like(maps)
each = np.ones((8, 32, 1, 1), np.float32)
rois = random.uniform(0, 14, (40, 4)).astype(np.float32)
rois[:, 2:] += rois[:, :2]
images = random.integers(0, 8, 40)
boxes = np.concatenate([images[:, None], rois], axis=1).astype(np.float32)
samples = random.uniform(size=(8, 32, 2)).astype(np.float32)
aligned = np.ones((40, 32, 3, 3), np.float32)

CALLS: dict[str, Callable[[], Any]] = {
    "max": lambda: pooling.max_pool2d(maps, 3, stride=1, padding=1),
    "max, channels last": lambda: pooling.max_pool2d(maps, 3, stride=1, padding=1, layout="channels_last"),
    "max, a view": lambda: pooling.max_pool2d(maps[:, :, ::2, 3:], 3, stride=2),
    "max, long": lambda: pooling.max_pool2d(maps, 25, stride=1, padding=12),
    "max, indices": lambda: pooling.max_pool2d(maps, 3, stride=2, return_indices=True),
    "max, backward": lambda: pooling.max_pool2d_backward(half, maps, 2),
    "max, overlapping, backward": lambda: pooling.max_pool2d_backward(same, maps, 3, stride=1, padding=1),
    "max, few long windows, backward": lambda: pooling.max_pool2d_backward(maps[:, :, :2, :2], maps, 27, stride=1),
    "max, long, backward": lambda: pooling.max_pool2d_backward(same, maps, 25, stride=1, padding=12),
    "global max, backward": lambda: pooling.global_max_pool_backward(each, maps),
    "mean": lambda: pooling.avg_pool2d(maps, 3, stride=2, padding=1, count_include_pad=False),
    "mean of small maps": lambda: pooling.avg_pool2d(small, 3, stride=1, padding=1, count_include_pad=False),
    "mean, long": lambda: pooling.avg_pool2d(maps, 25, stride=1, padding=12),
    "mean of integers": lambda: pooling.avg_pool2d(image[None, None], 5, stride=1, padding=2),
    "mean, NaN ignored": lambda: pooling.avg_pool2d(maps, 3, nan="ignore"),
    "mean, backward": lambda: pooling.avg_pool2d_backward(half, maps, 2),
    "mean of small maps, backward": lambda: pooling.avg_pool2d_backward(
        np.ones_like(small), small, 3, stride=1, padding=1, count_include_pad=False
    ),
    "global mean": lambda: pooling.global_avg_pool(maps),
    "adaptive mean": lambda: pooling.adaptive_avg_pool2d(maps, 5),
    "norm": lambda: pooling.lp_pool2d(maps, 3.0, 3, stride=1, padding=1),
    "norm, backward": lambda: pooling.lp_pool2d_backward(same, maps, 3.0, 3, stride=1, padding=1),
    "norm, long, backward": lambda: pooling.lp_pool2d_backward(same, maps, 2.5, 25, stride=1, padding=12),
    "global norm": lambda: pooling.global_lp_pool(image[None, None].astype(np.float32), 3.0),
    "global norm, backward": lambda: pooling.global_lp_pool_backward(
        np.ones((1, 1, 1, 1), np.float32), image[None, None].astype(np.float32), 3.0
    ),
    "generalised mean": lambda: pooling.gem_pool2d(abs(maps), 3.0),
    "generalised mean, backward": lambda: pooling.gem_pool2d_backward(each, abs(maps), 3.0),
    "blur": lambda: pooling.blur_pool2d(maps, 3),
    "blur, backward": lambda: pooling.blur_pool2d_backward(pooling.blur_pool2d(maps, 3), maps, 3),
    "blurred max": lambda: pooling.max_blur_pool2d(maps, 2),
    "regions, aligned": lambda: pooling.roi_align(maps, rois, images, 3),
    "regions, aligned, backward": lambda: pooling.roi_align_backward(aligned, maps, rois, images, 3),
    "regions, max": lambda: pooling.max_roi_pool(maps, boxes, 3),
    "regions, max, backward": lambda: pooling.max_roi_pool_backward(aligned, maps, boxes, 3),
    "fractional": lambda: pooling.fractional_max_pool2d(maps, 2, output_size=11, _random_samples=samples),
    "unpooling": lambda: pooling.max_unpool2d(half, places, 2),
    "unpooling, backward": lambda: pooling.max_unpool2d_backward(maps, half, places, 2),
    "blocks, mean": lambda: pooling.block_reduce(image, 8),
    "blocks, median": lambda: pooling.block_reduce(image, 7, "median"),
    "blocks, mode": lambda: pooling.block_reduce(image, 8, "mode", nodata=0),
    "pyramid": lambda: pooling.pyramid(image, 2),
    "filter, long": lambda: pooling.filters.maximum_filter(image, 41),
    "filter of means, long": lambda: pooling.filters.uniform_filter(maps[0, 0], 15),
}


def equal(result: Any, expected: Any) -> bool:
    """Tell whether two results, or lists of results, have the same elements."""
    if isinstance(expected, (tuple, list)):
        return len(result) == len(expected) and all(map(equal, result, expected))
    return bool(np.array_equal(result, expected, equal_nan=True))
