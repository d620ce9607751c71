"""Windows of a single element, rows that are pooled as one, and large maps whose rows are fetched ahead."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import _core
from pooling.dispatch import available_levels, kernels, load
from tests.conftest import (
    FLOATS,
    HALVES,
    INTEGERS,
    LAYOUTS,
    Array,
    assert_same_bytes,
    channels_last,
    dtype_of,
    laid,
    on_threads,
    random_array,
    resolved_call,
)


def strategy(function: str, array: Array, **arguments: Any) -> str:
    call = resolved_call(function, array, **arguments)
    name: str = kernels.strategy_of(call.plan, "forward", call.reducer, call.kind)[0]
    return name


# --- windows of a single element --------------------------------------------------------------------------------------

SHAPES = [(2, 3, 21, 21), (3, 20, 14, 14), (1, 4, 9, 83), (2, 5, 7, 1), (1, 3, 1, 64), (1, 2, 5, 2049), (2, 9, 3, 2)]
BITS = {"float16": "uint16", "bfloat16": "uint16", "float32": "uint32", "float64": "uint64"}


def one_nan(array: Array) -> Array:
    """Put the NaN of a division by 1 in the place of every other."""
    with np.errstate(invalid="ignore"):  # of NaN that signal
        array[array != array] = dtype_of(array.dtype).type(np.nan)
    return array


def any_bits(shape: tuple[int, ...], dtype: str) -> Array:
    """Make elements of any bits: infinities, subnormal numbers, zeros of both signs and NaN of all kinds among them."""
    if dtype in INTEGERS:
        return random_array(shape, dtype)
    bits = random_array(shape, BITS[dtype]).ravel()
    width = bits.dtype.itemsize * 8
    mantissa = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}[dtype]
    infinity = (1 << width - 1) - (1 << mantissa)
    special = [0, 1 << width - 1, infinity, infinity | 1 << width - 1, infinity + 1, (1 << width) - 1, infinity - 1, 1]
    special.append(infinity | 1 << mantissa - 1 | 3)
    bits[::3] = np.resize(np.array(special, bits.dtype), bits[::3].shape)
    return bits.view(dtype_of(dtype)).reshape(shape)


@pytest.mark.usefixtures("always_parallel")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_means_of_single_elements_are_these_with_one_nan(dtype: str, layout: str) -> None:
    for shape, stride in itertools.product(SHAPES, (1, 2, 3, (1, 2), (2, 1))):
        x = laid(any_bits(shape, dtype), layout)
        down, right = (stride, stride) if isinstance(stride, int) else stride
        picked = x[:, :, ::down, ::right] if layout == "channels_first" else x[:, ::down, ::right]
        expected = picked.copy() if dtype in INTEGERS else one_nan(picked.copy())
        assert strategy("avg_pool2d", x, kernel_size=1, stride=stride, layout=layout) == "singles"
        assert_same_bytes(on_threads(pooling.avg_pool2d, x, 1, stride, layout=layout), expected)
        out = np.empty_like(expected)
        assert pooling.avg_pool2d(x, 1, stride, layout=layout, out=out) is out
        assert_same_bytes(out, expected)


@pytest.mark.usefixtures("always_parallel")
@pytest.mark.parametrize("dtype", ["float32", "float64", *INTEGERS])
def test_extremes_of_single_elements_are_these(dtype: str) -> None:
    for function, shape in itertools.product(("max_pool2d", "min_pool2d"), SHAPES):
        x = random_array(shape, dtype)
        assert strategy(function, x, kernel_size=1, stride=2) == "singles"
        result = on_threads(getattr(pooling, function), x, 1, 2)
        assert_same_bytes(result, np.ascontiguousarray(x[:, :, ::2, ::2]))


@pytest.mark.usefixtures("always_parallel")
@pytest.mark.parametrize("dtype", FLOATS)
def test_single_elements_of_signals_and_volumes(dtype: str) -> None:
    for shape in ((2, 3, 41), (1, 1, 9001), (2, 3, 5, 6, 17), (1, 2, 4, 4, 70)):
        x = one_nan(any_bits(shape, dtype))
        function = getattr(pooling, f"avg_pool{len(shape) - 2}d")
        every_second = (slice(None), slice(None), *[slice(None, None, 2)] * (len(shape) - 2))
        assert_same_bytes(on_threads(function, x, 1, 2), np.ascontiguousarray(x[every_second]))
        assert_same_bytes(on_threads(function, x, 1, 1), x)


@pytest.mark.usefixtures("always_parallel")
@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
def test_single_elements_of_views(dtype: str) -> None:
    x = random_array((3, 8, 23, 70), dtype)
    views = [x[:, :, 2:21, 3:66], x[:, ::2], x[:, :, :, ::2], x[:, :, ::3], x[::-1], x.transpose(0, 1, 3, 2)]
    views.append(np.moveaxis(channels_last(x), -1, 1))
    views.append(random_array((2, 2, 700, 900), dtype)[:, :, 1:, 1:])
    for view in views:
        for stride in (1, 2):
            found = on_threads(pooling.avg_pool2d, view, 1, stride)
            assert_same_bytes(found, np.ascontiguousarray(view[:, :, ::stride, ::stride]))


def test_what_counts_windows_otherwise_takes_other_ways() -> None:
    x = random_array((1, 2, 8, 8), np.float32)
    for arguments in ({"divisor_override": 2}, {"nan": "ignore"}, {"ceil_mode": True, "kernel_size": 2}):
        assert strategy("avg_pool2d", x, **{"kernel_size": 1, "stride": 2, **arguments}) != "singles"
    np.testing.assert_array_equal(pooling.avg_pool2d(x, 1, 2, divisor_override=2), x[:, :, ::2, ::2] / 2)
    missing = x.copy()
    missing[0, 0, 0, 0] = np.nan
    np.testing.assert_array_equal(pooling.avg_pool2d(missing, 1, 2, nan="ignore"), missing[:, :, ::2, ::2])


@pytest.mark.parametrize("level", available_levels())
@pytest.mark.parametrize("dtype", [*FLOATS, "uint8"])
def test_levels_make_the_same_of_single_elements(dtype: str, level: str) -> None:
    x = any_bits((2, 3, 21, 37), dtype)
    call = resolved_call("avg_pool2d", x, kernel_size=1, stride=2)
    found = np.empty((2, 3, 11, 19), x.dtype)
    bits = np.dtype(f"u{x.itemsize}")
    load(level).forward(call.plan, call.reducer, call.kind, x.view(bits), found.view(bits))
    assert_same_bytes(found, pooling.avg_pool2d(x, 1, 2))


# --- rows that are pooled as one --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("always_parallel")
@pytest.mark.parametrize("dtype", [*FLOATS, "uint8", "int32"])
def test_windows_side_by_side_in_rows_are_those_of_each_row_alone(dtype: str) -> None:
    for taps, width, rows in itertools.product((2, 3, 4, 5, 8, 16, 25), (70, 193), (1, 3, 700)):
        x = random_array((1, rows, 1, taps * -(-width // taps)), dtype)
        for function in ("avg_pool2d", "max_pool2d"):
            pool = getattr(pooling, function)
            found = on_threads(pool, x, (1, taps), (1, taps))
            alone = [pool(x[:, row : row + 1], (1, taps), (1, taps)) for row in range(0, rows, 97)]
            assert_same_bytes(np.ascontiguousarray(found[:, ::97]), np.concatenate(alone, axis=1))
            if function == "max_pool2d":
                np.testing.assert_array_equal(found, x.reshape(1, rows, 1, -1, taps).max(axis=-1))


@pytest.mark.usefixtures("always_parallel")
@pytest.mark.parametrize("dtype", HALVES)
def test_halves_some_steps_apart_are_summed_as_they_are_elsewhere(dtype: str) -> None:
    for taps, stride in itertools.product((2, 3, 4, 6), (3, 4)):
        x = random_array((2, 3, 4, 300), dtype)
        found = on_threads(pooling.avg_pool2d, x, (1, taps), (1, stride))
        # Of two channels beside each other taps lie two elements apart.
        pixels = np.ascontiguousarray(np.stack([x, x], axis=-1).reshape(6, 4, 300, 2))
        other = pooling.avg_pool2d(pixels, (1, taps), (1, stride), layout="channels_last")
        assert_same_bytes(found, np.ascontiguousarray(other[..., 0]).reshape(found.shape))


# --- large maps -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("always_parallel")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_means_of_large_maps_of_pixels_are_those_of_each_alone(dtype: str) -> None:
    cells, channels = 67 * 61, 40
    maps = _core.cache_size() // 2 // (cells * channels * dtype_of(dtype).itemsize) + 2
    few = random_array((3, 67, 61, channels), dtype)
    x = np.ascontiguousarray(few[np.arange(maps) % 3])
    for pool in (pooling.global_avg_pool, pooling.global_max_pool):
        found = on_threads(pool, x, layout="channels_last")
        assert_same_bytes(found, np.ascontiguousarray(pool(few, layout="channels_last")[np.arange(maps) % 3]))


@pytest.mark.usefixtures("always_parallel")
@pytest.mark.parametrize("dtype", FLOATS)
def test_threads_share_the_channels_of_one_map(dtype: str) -> None:
    for channels in (1, 31, 64, 65, 416, 700):
        x = random_array((1, 9, 30, channels), dtype)
        found = on_threads(pooling.global_avg_pool, x, layout="channels_last")
        with pooling.threads(2):
            assert_same_bytes(pooling.global_avg_pool(x, layout="channels_last"), found)
        exact = x.astype(np.float64).mean(axis=(1, 2), keepdims=True)
        np.testing.assert_allclose(found.astype(np.float64), exact, atol=0.01)


@pytest.mark.usefixtures("always_parallel")
@pytest.mark.parametrize(("dtype", "side"), [("float32", 226), ("float64", 226), ("float64", 56)])
def test_windows_side_by_side_in_large_arrays_are_those_of_each_map_alone(dtype: str, side: int) -> None:
    maps = _core.cache_size() // 2 // (side * side * dtype_of(dtype).itemsize) + 3
    few = random_array((1, 3, side, side), dtype)
    x = np.ascontiguousarray(few[:, np.arange(maps) % 3])
    for function in ("avg_pool2d", "max_pool2d"):
        pool = getattr(pooling, function)
        assert_same_bytes(on_threads(pool, x, 2), np.ascontiguousarray(pool(few, 2)[:, np.arange(maps) % 3]))


def test_long_runs_of_comparisons() -> None:
    for size in (4095, 4096, 4097, 8192, 70_001):
        for place in (0, 63, 64, 4000, size - 1):
            x = -np.ones((1, 1, size), np.float32)
            x[0, 0, place] = 1
            assert pooling.global_max_pool(x, dimensions=1) == 1
            assert pooling.max_pool1d(-x, size).item() == 1
