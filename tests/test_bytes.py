"""Maxima and minima of windows over bytes, and means of 2 x 2 and 3 x 3, against loops of NumPy, at every level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pooling
from pooling.dispatch import available_levels, load
from tests.conftest import Array, resolved_call

LEVELS = available_levels()
MOST_TAPS = 15
"""Of windows that have loops of their own, in pyx/c/bytes.h."""
TILED = ((3, (15, 15), (7, 7)), (3, (3, 3), (1, 1)), (1, (5, 4), (2, 0)), (20, (2, 9), (1, 4)))
"""Channels, windows and padding."""
ROUNDINGS = ("half_even", "half_up", "floor", "trunc")


def image(dtype: str, *shape: int) -> Array:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape).astype(np.uint8).view(dtype)


def pooled(function: str, x: Array, level: str, threads: int, rounding: str = "half_even", **windows: Any) -> Array:
    """Pool by the kernels of a level, as it would be done there."""
    kernels = load(level)
    call = resolved_call(function, x, **windows)
    # Whatever the kernels write beside the result.
    beside = np.full(call.output_shape[0] * int(np.prod(call.output_shape[1:])) + 128, 77, x.dtype)
    out = beside[64:-64]
    kernels.forward(call.plan, call.reducer, call.kind, x, out, threads, kernels.ROUNDINGS[rounding])
    assert (beside[:64] == 77).all()
    assert (beside[-64:] == 77).all()
    return out.reshape(call.output_shape)


def extremes(x: Array, kernel: tuple[int, int], padding: tuple[int, int], greatest: bool) -> Array:
    """Take the extremes of windows over the second and third axis."""
    limits = np.iinfo(x.dtype)
    pads = [(0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)]
    padded = np.pad(x, pads, constant_values=limits.min if greatest else limits.max)
    for axis, taps in zip((1, 2), kernel, strict=True):
        views = np.lib.stride_tricks.sliding_window_view(padded, taps, axis=axis)
        padded = views.max(-1) if greatest else views.min(-1)
    return padded


def means(x: Array, rounding: str) -> Array:
    """Take the means of 2 x 2 over the second and third axis."""
    n, height, width, channels = x.shape
    whole = x[:, : height // 2 * 2, : width // 2 * 2].astype(np.int64)
    sums = whole.reshape(n, height // 2, 2, width // 2, 2, channels).sum((2, 4))
    rounded: dict[str, Any] = {"half_even": np.rint, "floor": np.floor, "trunc": np.trunc}
    quotients = sums / 4
    result: Array = np.floor(quotients + 0.5) if rounding == "half_up" else rounded[rounding](quotients)
    return result.astype(x.dtype)


def rounded(sums: Array, counts: Array, rounding: str) -> Array:
    """Divide whole numbers in whole numbers."""
    floors, rest = sums // counts, sums % counts
    if rounding == "floor":
        return floors
    if rounding == "trunc":
        return np.where(sums < 0, -(-sums // counts), floors)
    ties = 2 * rest == counts
    up = (2 * rest > counts) | (ties if rounding == "half_up" else ties & (floors % 2 == 1))
    result: Array = floors + up
    return result


def means_of_nine(x: Array, padding: tuple[int, int], counted: bool, rounding: str) -> Array:
    """Take the means of 3 x 3 that slide by one over the second and third axis."""
    pads = [(0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)]

    def windows(cells: Array, **fill: int) -> Array:
        padded = np.pad(cells, pads, **fill)  # type: ignore[call-overload]
        result: Array = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2)).sum((-1, -2))
        return result

    ones = np.ones(x.shape, np.int64)
    counts = windows(ones, constant_values=1 if counted else 0)
    return rounded(windows(x.astype(np.int64)), counts, rounding).astype(x.dtype)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("function", ["max_pool2d", "min_pool2d"])
@pytest.mark.parametrize("taps", range(2, MOST_TAPS + 2))
def test_extremes_of_every_number_of_taps(level: str, dtype: str, function: str, taps: int) -> None:
    # Rows and columns have other numbers of taps, so that each number meets several.
    kernel = (taps, 2 + (taps * 5 + 3) % MOST_TAPS)
    padding = (kernel[0] // 2, kernel[1] // 3)
    for channels in (1, 2, 3, 4, 7):
        x = image(dtype, 2, 37, 150 - 7 * channels, channels)
        y = pooled(function, x, level, 2, kernel_size=kernel, stride=1, padding=padding, layout="channels_last")
        np.testing.assert_array_equal(y, extremes(x, kernel, padding, function == "max_pool2d"), f"{channels} channels")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("width", [64, 65, 95, 96, 97, 128, 700, 1365, 1366, 2049])
@pytest.mark.parametrize("rows", [1, 31, 33, 70])
def test_rows_and_columns_of_every_tile(level: str, width: int, rows: int) -> None:
    for channels, kernel, padding in TILED:
        if rows + 2 * padding[0] < kernel[0]:
            continue
        x = image("uint8", 1, rows, width, channels)
        y = pooled("max_pool2d", x, level, 1, kernel_size=kernel, stride=1, padding=padding, layout="channels_last")
        np.testing.assert_array_equal(y, extremes(x, kernel, padding, True), f"{channels} channels")


def test_planes_of_a_volume() -> None:
    x = image("uint8", 2, 3, 4, 40, 80)
    y = pooling.max_pool3d(x, (1, 5, 5), stride=(2, 1, 1), padding=(0, 2, 2))
    planes = x[:, :, ::2].reshape(-1, 40, 80, 1)
    np.testing.assert_array_equal(y.reshape(-1, 40, 80, 1), extremes(planes, (5, 5), (2, 2), True))


def test_a_view_of_a_large_image_is_that_of_its_copy() -> None:
    x = image("uint8", 1, 1, 900, 1800)[..., 3:1700]
    for y, z in (
        (pooling.max_pool2d(x, 15, 1, 7), pooling.max_pool2d(x.copy(), 15, 1, 7)),
        (pooling.avg_pool2d(x, 2), pooling.avg_pool2d(x.copy(), 2)),
    ):
        np.testing.assert_array_equal(y, z)


def test_a_result_that_is_written_past_the_caches() -> None:
    x = image("uint8", 1, 5000, 7000, 1)
    y = pooling.max_pool2d(x, 3, 1, 1, layout="channels_last")
    padded = np.pad(x[0, ..., 0], 1)
    rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    assert (y[0, ..., 0] == np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])).all()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_means_of_two_by_two(level: str, dtype: str, rounding: str) -> None:
    for channels in (1, 2, 3, 4, 5):
        for width in (*range(60, 140, 7), 256, 257):
            x = image(dtype, 2, 9, width, channels)
            y = pooled("avg_pool2d", x, level, 2, rounding, kernel_size=2, layout="channels_last")
            np.testing.assert_array_equal(y, means(x, rounding), f"{width} pixels of {channels}")


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_every_sum_of_four_bytes_is_rounded_once(dtype: str) -> None:
    sums = np.arange(4 * 255 + 1) + (4 * -128 if dtype == "int8" else 0)
    x = np.stack([(sums + i) // 4 for i in range(4)]).astype(dtype)
    whole = np.stack([x[:2].T.reshape(-1), x[2:].T.reshape(-1)])[np.newaxis, :, :, np.newaxis]
    for rounding in ROUNDINGS:
        y = pooling.avg_pool2d(whole, 2, layout="channels_last", rounding=rounding)  # type: ignore[arg-type]
        np.testing.assert_array_equal(y, means(whole, rounding))


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_blocks_of_an_image(dtype: str, rounding: Any, channels: int) -> None:
    for width in (2, 40, 90, 127, 9000):
        x = image(dtype, 14, width, channels)
        y = pooling.block_reduce(x, 2, layout="HWC", rounding=rounding, edge="trim")
        np.testing.assert_array_equal(y, means(x[np.newaxis], rounding)[0], f"{width} pixels")
        # Rows that lie apart, channels that do not lie side by side, and pixels of less than four.
        apart = image(dtype, 28, width + 1, channels + 1)[::2, :-1, 1:]
        y = pooling.block_reduce(apart, 2, layout="HWC", rounding=rounding, edge="trim")
        np.testing.assert_array_equal(y, means(apart[np.newaxis], rounding)[0], f"{width} pixels")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("counted", [True, False])
def test_means_of_three_by_three(level: str, dtype: str, rounding: str, counted: bool) -> None:
    for channels, width in ((1, 34), (1, 65), (1, 66), (1, 99), (2, 40), (3, 30), (3, 100), (4, 33), (7, 30), (40, 9)):
        for rows, padding in ((9, (1, 1)), (3, (0, 0)), (1, (1, 0)), (2, (1, 1)), (5, (0, 1))):
            x = image(dtype, 2, rows, width, channels)
            y = pooled(
                "avg_pool2d", x, level, 2, rounding, kernel_size=3, stride=1, padding=padding, layout="channels_last",
                count_include_pad=counted,
            )  # fmt: skip
            expected = means_of_nine(x, padding, counted, rounding)
            np.testing.assert_array_equal(y, expected, f"{rows} rows of {width} pixels of {channels}, {padding}")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("width", [2049, 2050, 4097, 4099, 6147])
@pytest.mark.parametrize("rows", [63, 66, 129])
def test_rows_and_columns_of_every_tile_of_means(level: str, width: int, rows: int) -> None:
    for channels, threads in ((1, 1), (3, 2)):
        x = image("uint8", 1, rows, width // channels + 2, channels)
        for counted in (True, False):
            y = pooled(
                "avg_pool2d", x, level, threads, kernel_size=3, stride=1, padding=1, layout="channels_last",
                count_include_pad=counted,
            )  # fmt: skip
            np.testing.assert_array_equal(y, means_of_nine(x, (1, 1), counted, "half_even"), f"{channels} channels")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("padding", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_every_sum_of_nine_bytes_is_rounded_once(level: str, dtype: str, padding: tuple[int, int]) -> None:
    # Every third window of a row is of nine bytes that have one of the sums; where padding is not counted, sums of four
    # and of six bytes are halves too.
    sums = np.arange(9 * 255 + 1) + (9 * -128 if dtype == "int8" else 0)
    cells = np.stack([(sums + i) // 9 for i in range(9)]).reshape(3, 3, -1)
    x = cells.transpose(0, 2, 1).reshape(1, 3, -1, 1).astype(dtype)
    for rounding in ROUNDINGS:
        y = pooled(
            "avg_pool2d", x, level, 1, rounding, kernel_size=3, stride=1, padding=padding, layout="channels_last",
            count_include_pad=False,
        )  # fmt: skip
        np.testing.assert_array_equal(y, means_of_nine(x, padding, False, rounding))


def test_means_of_planes_of_a_volume() -> None:
    x = image("uint8", 2, 3, 4, 40, 80)
    y = pooling.avg_pool3d(x, (1, 3, 3), stride=(2, 1, 1), padding=(0, 1, 1))
    planes = x[:, :, ::2].reshape(-1, 40, 80, 1)
    np.testing.assert_array_equal(y.reshape(-1, 40, 80, 1), means_of_nine(planes, (1, 1), True, "half_even"))


def test_means_of_views() -> None:
    x = image("uint8", 1, 1, 900, 1800)
    for view in (x[..., 3:1700], x[:, :, ::2], x[..., ::-1], x.transpose(0, 1, 3, 2)):
        expected = means_of_nine(view.reshape(*view.shape[1:], 1), (1, 1), True, "half_even")
        np.testing.assert_array_equal(pooling.avg_pool2d(view, 3, 1, 1), expected.reshape(view.shape))


def test_a_divisor_of_ones_own_holds_for_nine_bytes() -> None:
    x = image("uint8", 1, 1, 20, 80)
    sums = np.lib.stride_tricks.sliding_window_view(x.astype(np.int64), (3, 3), axis=(2, 3)).sum((-1, -2))
    y = pooling.avg_pool2d(x, 3, 1, divisor_override=20)
    np.testing.assert_array_equal(y, rounded(sums, np.full(sums.shape, 20), "half_even"))
