"""Cases that the tests of scikit-image, astropy and tinybrain hold their own block reductions to.

The cases and their numbers are theirs, run through adapters that say where the meaning differs: scikit-image pads what
is left of an axis with zeros, astropy drops it, tinybrain repeats the last element and truncates means of integers.
Where these libraries are installed, random arrays are compared with them as well.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import pooling
from tests.conftest import Array

# --- scikit-image -------------------------------------------------------------------------------------------------


def as_skimage(image: Array, block_size: Any, func: str = "sum") -> Array:
    """Pad with zeros first, and give means and medians of integers as float64."""
    sizes = (block_size,) * image.ndim if np.isscalar(block_size) else tuple(block_size)
    if all(isinstance(size, int) and size > 0 for size in sizes) and len(sizes) == image.ndim:
        image = np.pad(image, [(0, -n % size) for n, size in zip(image.shape, sizes, strict=True)])
    dtype = np.float64 if func in ("mean", "median") and image.dtype.kind in "iu" else None
    return pooling.block_reduce(image, block_size, func, dtype=dtype)


def ramp(*shape: int) -> Array:
    """Count up."""
    return np.arange(np.prod(shape)).reshape(shape)


SKIMAGE = [
    ("sum", ramp(4, 6), (2, 3), [[24, 42], [96, 114]]),
    ("sum", ramp(5, 8), (3, 3), [[81, 108, 87], [174, 192, 138]]),
    ("mean", ramp(4, 6), (2, 3), [[4.0, 7.0], [16.0, 19.0]]),
    ("mean", ramp(5, 8), (4, 5), [[14.0, 10.8], [8.5, 5.7]]),
    ("median", ramp(4, 6), (2, 3), [[4.0, 7.0], [16.0, 19.0]]),
    ("median", ramp(5, 8), (4, 5), [[14.0, 6.5], [0.0, 0.0]]),
    ("median", np.array([[1, 5, 5, 5], [5, 5, 5, 1000]]), (2, 4), [[5.0]]),
    ("min", ramp(4, 6), (2, 3), [[0, 3], [12, 15]]),
    ("min", ramp(5, 8), (4, 5), [[0, 0], [0, 0]]),
    ("max", ramp(4, 6), (2, 3), [[8, 11], [20, 23]]),
    ("max", ramp(5, 8), (4, 5), [[28, 31], [36, 39]]),
    ("min", ramp(4, 6), 2, [[0, 2, 4], [12, 14, 16]]),
]


@pytest.mark.parametrize(("func", "image", "size", "expected"), SKIMAGE)
def test_cases_of_skimage(func: str, image: Array, size: Any, expected: Any) -> None:
    assert as_skimage(image, size, func).tolist() == expected


@pytest.mark.parametrize(("size", "kind"), [([1, 2, 3], ValueError), ([1, 0.5], TypeError)])
def test_block_sizes_that_skimage_refuses(size: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="block_size="):
        as_skimage(ramp(4, 6), size)


def test_the_sum_of_bytes_that_overflows_in_skimage_does_not_here() -> None:
    # Their test of `dtype` expects sums modulo 256 and then a mean of those.
    image = np.array([[97, 123, 173, 227], [217, 241, 221, 214], [211, 11, 170, 53], [214, 205, 101, 57]], np.uint8)
    assert pooling.block_reduce(image, 2).tolist() == [[170, 209], [160, 95]]
    assert (pooling.block_reduce(image, 2, "sum") // 4 % 64 == np.array([[41, 16], [32, 31]])).all()


def test_the_mean_of_doubles_that_skimage_gives_in_half_precision() -> None:
    image = np.array(
        [
            [0.45745366, 0.67479345, 0.20949775, 0.3147348],
            [0.7209286, 0.88915504, 0.66153409, 0.07919526],
            [0.04640037, 0.54008495, 0.34664343, 0.56152301],
            [0.58085003, 0.80144708, 0.87844473, 0.29811511],
        ]
    )
    expected = np.array([[0.6855, 0.3164], [0.4922, 0.521]])
    assert np.allclose(pooling.block_reduce(image, 2), expected, atol=5e-4)


def test_random_arrays_are_those_of_skimage() -> None:
    skimage = pytest.importorskip("skimage.measure")
    random = np.random.default_rng(0)
    functions = {"sum": np.sum, "mean": np.mean, "min": np.min, "max": np.max, "median": np.median}
    for shape, size in (((7, 9), (2, 3)), ((8, 8), (4, 4)), ((5, 6, 7), (2, 2, 3)), ((11,), (4,))):
        for dtype in (np.int32, np.float64):
            image = (random.standard_normal(shape) * 100).astype(dtype)
            for func, function in functions.items():
                theirs = skimage.block_reduce(image, size, function)
                np.testing.assert_allclose(as_skimage(image, size, func), theirs, rtol=1e-13, atol=1e-12)


# --- astropy --------------------------------------------------------------------------------------------------------


def as_astropy(data: Array, block_size: Any, func: str = "sum") -> Array:
    """Trim."""
    dtype = np.float64 if func == "mean" and data.dtype.kind in "iu" else None
    return pooling.block_reduce(data, block_size, func, edge="trim", dtype=dtype)


def test_cases_of_astropy() -> None:
    assert as_astropy(np.arange(4), 2).tolist() == [1, 5]
    assert as_astropy(np.arange(4), 2, "mean").tolist() == (as_astropy(np.arange(4), 2) / 2).tolist()
    assert as_astropy(ramp(2, 2), 2).tolist() == [[6]]
    assert as_astropy(ramp(2, 2), 2, "mean").tolist() == [[1.5]]
    assert as_astropy(ramp(5, 3), 2).tolist() == as_astropy(ramp(5, 3)[:4, :2], 2).tolist()
    assert as_astropy(ramp(4, 4), 2).tolist() == as_astropy(ramp(4, 4), (2, 2)).tolist()
    with pytest.raises(ValueError, match=r"block_size=\(2, 2, 2\) must have one entry per axis"):
        as_astropy(np.ones((2, 2)), (2, 2, 2))
    # Their reshape_as_blocks refuses these.
    with pytest.raises(ValueError, match="is not divided by blocks of 3"):
        pooling.block_reduce(ramp(4, 4), (2, 3), edge="error")
    with pytest.raises(TypeError, match="must be an integer"):
        as_astropy(ramp(4, 4), (2.1, 2))
    with pytest.raises(ValueError, match="must be at least 1"):
        as_astropy(ramp(4, 4), (-1, 0))


# --- tinybrain ------------------------------------------------------------------------------------------------------


def as_tinybrain(image: Array, factor: tuple[int, ...], func: str, *, sparse: bool = False) -> Array:
    """Keep axes behind those of the factor, truncate means of integers, and leave zeros out where it is sparse."""
    size = (*factor, *[1] * (image.ndim - len(factor)))
    return pooling.block_reduce(image, size, func, nodata=0 if sparse else None, rounding="trunc")


TINYBRAIN_MODES = [
    # Where no label is more frequent than another theirs depends on places, and ours is the smallest.
    ([[0, 1], [2, 3]], {0, 3}),
    ([[0, 0], [2, 3]], {0}),
    ([[1, 1], [2, 2]], {1}),
    ([[1, 2], [2, 2]], {2}),
    ([[5, 5], [5, 5]], {5}),
]


@pytest.mark.parametrize(("labels", "allowed"), TINYBRAIN_MODES)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.uint64, np.int64])
def test_modes_of_tinybrain(labels: Any, allowed: set[int], dtype: Any) -> None:
    for shape, factor in (((2, 2, 1, 1), (2, 2, 1)), ((1, 2, 2, 1), (1, 2, 2))):
        for order in "CF":
            case = np.array(labels, dtype).reshape(shape, order=order)  # type: ignore[call-overload]
            result = as_tinybrain(case, factor, "mode")
            assert result.dtype == dtype
            assert result.item() in allowed
            assert result.item() == min(allowed)
    assert as_tinybrain(np.array([[255, 255], [1, 2]], np.uint8), (2, 2), "mode").tolist() == [[255]]


def test_odd_sizes_of_tinybrain() -> None:
    odd = np.array([[[[1]], [[0]]], [[[1]], [[6]]], [[[3]], [[3]]]])
    assert as_tinybrain(odd, (2, 2, 1), "mode").tolist() == [[[[1]]], [[[3]]]]
    assert as_tinybrain(np.ones((1024, 511, 6, 1), int), (2, 2, 1), "mode").shape == (512, 256, 6, 1)
    three = np.array([[[5, 4], [5, 5]], [[2, 4], [5, 5]], [[2, 4], [5, 5]]])
    assert as_tinybrain(three, (2, 2, 2), "mode").tolist() == [[[5]], [[5]]]
    assert as_tinybrain(three[:2].astype(np.float32), (2, 2, 2), "mode").dtype == np.float32


TINYBRAIN_VOLUMES = [
    ([[[1, 1], [1, 1]], [[1, 1], [1, 1]]], 1),
    ([[[1, 2], [3, 4]], [[5, 6], [2, 8]]], 2),
    ([[[3, 3], [1, 2]], [[2, 4], [4, 3]]], 3),
    ([[[4, 4], [1, 2]], [[2, 4], [4, 3]]], 4),
    ([[[5, 4], [5, 5]], [[2, 4], [5, 5]]], 5),
]


@pytest.mark.parametrize(("labels", "expected"), TINYBRAIN_VOLUMES)
def test_modes_of_volumes_of_tinybrain(labels: Any, expected: int) -> None:
    assert as_tinybrain(np.array(labels), (2, 2, 2), "mode").tolist() == [[[expected]]]


TINYBRAIN_SPARSE = [
    ([[[1, 1], [1, 1]], [[1, 1], [1, 1]]], 1, 1),
    ([[[1, 1], [2, 1]], [[1, 1], [1, 1]]], 1, 1),
    ([[[1, 1], [2, 2]], [[2, 2], [1, 0]]], 2, 1),
    ([[[0, 0], [2, 0]], [[0, 0], [0, 0]]], 2, 2),
    ([[[0, 0], [0, 0]], [[0, 0], [0, 0]]], 0, 0),
    ([[[7, 1], [2, 2]], [[2, 2], [1, 1]]], 2, 2),
]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("volume", "mode", "mean"), TINYBRAIN_SPARSE)
def test_zeros_that_tinybrain_leaves_out(volume: Any, mode: int, mean: int, dtype: Any) -> None:
    for order in "CF":
        case = np.array(volume, dtype, order=order)  # type: ignore[call-overload]
        assert as_tinybrain(case, (2, 2, 2), "mode", sparse=True).item() == mode
        assert as_tinybrain(case, (2, 2, 2), "mean", sparse=True).item() == mean
    assert as_tinybrain(
        np.array([[[1, 0, 1], [0, 0, 1]], [[0, 0, 1], [0, 0, 1]]], dtype), (2, 2, 2), "mean", sparse=True
    ).tolist() == [[[1, 1]]]


def test_stippled_labels_of_tinybrain() -> None:
    # All but zeros, of which there is one label more frequent than others, or one at all.
    for labels, expected in (
        ([1, 0, 0, 0], 1),
        ([0, 2, 0, 0], 2),
        ([0, 0, 3, 0], 3),
        ([0, 0, 0, 4], 4),
        ([0, 0, 0, 0], 0),
        ([0, 2, 2, 4], 2),
        ([0, 2, 3, 2], 2),
        ([0, 2, 3, 3], 3),
        ([1, 1, 0, 4], 1),
        ([1, 2, 1, 0], 1),
        ([1, 0, 3, 1], 1),
    ):
        case = np.array(labels).reshape(2, 2, 1, 1)
        assert as_tinybrain(case, (2, 2, 1), "mode", sparse=True).item() == expected
    for case in itertools.product((0, 1, 2, 3), repeat=4):
        result = as_tinybrain(np.array(case).reshape(2, 2), (2, 2), "mode", sparse=True).item()
        assert (result == 0) == (max(case) == 0)


TINYBRAIN_MAXIMA = [
    ([[-1, 0], [0, 0]], 0, [[0, 0]], [[0], [0]]),
    ([[0, 0], [0, 0]], 0, [[0, 0]], [[0], [0]]),
    ([[0, 1], [0, 0]], 1, [[0, 1]], [[1], [0]]),
    ([[0, 1], [1, 0]], 1, [[1, 1]], [[1], [1]]),
    ([[0, 1], [0, 2]], 2, [[0, 2]], [[1], [2]]),
]


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
@pytest.mark.parametrize(("case", "both", "rows", "columns"), TINYBRAIN_MAXIMA)
def test_maxima_of_tinybrain(case: Any, both: int, rows: Any, columns: Any, dtype: Any) -> None:
    image = np.array(case, dtype)
    assert as_tinybrain(image, (1, 1), "max").tolist() == case
    assert as_tinybrain(image, (2, 2), "max").tolist() == [[both]]
    assert as_tinybrain(image, (2, 1), "max").tolist() == rows
    assert as_tinybrain(image, (1, 2), "max").tolist() == columns


def test_maxima_of_volumes_of_tinybrain() -> None:
    volume = np.broadcast_to(np.arange(1, 5).reshape(4, 1, 1, 1), (4, 4, 4, 1))
    assert as_tinybrain(volume, (2, 2, 2), "max")[:, 0, 0, 0].tolist() == [2, 4]
    assert as_tinybrain(volume, (2, 2, 1), "max").shape == (2, 2, 4, 1)
    assert as_tinybrain(volume, (4, 2, 1), "max")[:, 0, 0, 0].tolist() == [4]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_means_of_tinybrain(dtype: Any) -> None:
    # Theirs are compared with NumPy: whole blocks of whole numbers, of one level and, truncated once, of four.
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 6)).astype(dtype)
    sums = image.reshape(32, 2, 48, 2, 6).astype(np.float64).sum((1, 3)) / 4
    wanted = sums if np.dtype(dtype).kind == "f" else np.floor(sums)
    np.testing.assert_array_equal(as_tinybrain(np.asfortranarray(image), (2, 2, 1), "mean"), wanted)
    sums = image.reshape(4, 16, 6, 16, 6).astype(np.float64).sum((1, 3)) / 256
    wanted = sums if np.dtype(dtype).kind == "f" else np.floor(sums)
    levels = pooling.pyramid(image, (2, 2, 1), 4, rounding="trunc")
    np.testing.assert_array_equal(levels[-1], wanted)


def test_random_volumes_are_those_of_tinybrain() -> None:
    tinybrain = pytest.importorskip("tinybrain")
    random = np.random.default_rng(0)
    for dtype in (np.uint8, np.uint16, np.float32):
        volume = np.asfortranarray(random.integers(0, 255, (32, 48, 16)).astype(dtype))
        (theirs,) = tinybrain.downsample_with_averaging(volume, (2, 2, 2), num_mips=1)
        np.testing.assert_array_equal(as_tinybrain(volume, (2, 2, 2), "mean"), theirs)
    for dtype in (np.uint8, np.uint32, np.uint64):
        # Blocks with one most frequent label alone: there theirs and ours must agree.
        labels = np.asfortranarray(random.integers(1, 4, (32, 48, 16)).astype(dtype))
        (theirs,) = tinybrain.downsample_segmentation(labels, (2, 2, 2), num_mips=1)
        ours = as_tinybrain(labels, (2, 2, 2), "mode")
        counts = np.array([pooling.block_reduce((labels == each).astype(np.int64), 2, "sum") for each in (1, 2, 3)])
        alone = (counts == counts.max(0)).sum(0) == 1
        np.testing.assert_array_equal(ours[alone], theirs[alone])
        assert alone.sum() > 500


# --- OpenCV and Pillow ----------------------------------------------------------------------------------------------


def test_opencv_rounds_half_up() -> None:
    cv2 = pytest.importorskip("cv2")
    image = np.random.default_rng(0).integers(0, 256, (64, 96), dtype=np.uint8)
    theirs = cv2.resize(image, (48, 32), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(pooling.block_reduce(image, 2, rounding="half_up"), theirs)
    assert np.count_nonzero(pooling.block_reduce(image, 2) != theirs) > 0


@pytest.mark.parametrize("size", [(2, 2), (2, 1), (4, 4), (8, 2), (3, 3), (5, 3)])
def test_pillow_rounds_half_up(size: tuple[int, int]) -> None:
    image_module = pytest.importorskip("PIL.Image")
    taps = size[0] * size[1]
    for shape in ((60, 90), (60, 90, 3)):
        image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        theirs = np.asarray(image_module.fromarray(image).reduce(size[::-1])).astype(int)
        block = (*size, 1)[: len(shape)]
        ours = pooling.block_reduce(image, block, rounding="half_up").astype(int)
        sums = pooling.block_reduce(image, block, "sum")
        # Pillow multiplies by a reciprocal that is cut off: one too few where what it divides is a multiple.
        cut_off = (sums + taps // 2) % taps == 0 if taps & (taps - 1) else np.zeros(ours.shape, bool)
        whole = np.s_[: shape[0] // size[0], : shape[1] // size[1]]
        np.testing.assert_array_equal((ours - theirs)[whole], cut_off[whole].astype(int))
