"""Examples that textbooks, lectures and manuals work out: everybody who knows pooling expects these numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pooling

MAP = np.array([[[[1, 3, 2, 1], [5, 6, 7, 8], [4, 2, 1, 3], [10, 14, 12, 16]]]], np.float32)


def plane(*rows: list[float]) -> np.ndarray[Any, Any]:
    """One map of one channel."""
    return np.array([[rows]], np.float32)


def test_maximum_of_quarters() -> None:
    values, indices = pooling.max_pool2d(MAP, 2, return_indices=True)
    np.testing.assert_array_equal(values, plane([6, 8], [14, 16]))
    assert indices.tolist() == [[[[5, 7], [13, 15]]]]
    np.testing.assert_array_equal(pooling.MaxPool2d(2, stride=2)(MAP), values)


def test_average_of_quarters() -> None:
    np.testing.assert_array_equal(pooling.avg_pool2d(MAP, 2, 2), plane([3.75, 4.5], [7.5, 8]))


def test_maximum_and_average_of_the_whole() -> None:
    assert pooling.global_max_pool(MAP).tolist() == [[[[16]]]]
    assert pooling.global_avg_pool(MAP).tolist() == [[[[5.9375]]]]


def test_the_gradient_of_a_maximum_goes_back_to_where_it_was() -> None:
    grad = plane([10, 20], [30, 40])
    result = pooling.max_pool2d_backward(grad, MAP, 2)
    np.testing.assert_array_equal(result, plane([0, 0, 0, 0], [0, 10, 0, 20], [0, 0, 0, 0], [0, 30, 0, 40]))


def test_the_gradient_of_an_average_is_shared_out() -> None:
    grad = plane([4, 8], [12, 16])
    result = pooling.avg_pool2d_backward(grad, MAP, 2)
    np.testing.assert_array_equal(result, plane([1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]))


@pytest.mark.parametrize(
    ("size", "arguments", "expected"),
    [
        (7, {"kernel_size": 2, "stride": 2, "padding": 0}, 3),
        (7, {"kernel_size": 2, "stride": 2, "padding": 0, "ceil_mode": True}, 4),
        (7, {"kernel_size": 3, "stride": 2, "padding": 1}, 4),
        (4, {"kernel_size": 2}, 2),
        (5, {"kernel_size": 3, "stride": 1}, 3),
        (5, {"kernel_size": 3, "stride": 1, "padding": "same"}, 5),
        (32, {"kernel_size": 2, "stride": 2}, 16),
        (50, {"kernel_size": 3, "stride": 2}, 24),
    ],
)
def test_output_size(size: int, arguments: dict[str, Any], expected: int) -> None:
    assert pooling.output_shape((1, 1, size), **arguments) == (1, 1, expected)
    assert pooling.max_pool1d(np.zeros((1, 1, size), np.float32), **arguments).shape == (1, 1, expected)


def test_global_average_and_flatten_in_front_of_a_classifier() -> None:
    x = np.random.default_rng(0).random((32, 512, 7, 7), np.float32)
    features = pooling.GlobalAvgPool2d()(x).reshape(32, -1)
    assert features.shape == (32, 512)
    np.testing.assert_allclose(features, x.mean(axis=(2, 3), dtype=np.float64), rtol=2.0**-21)


@pytest.mark.parametrize(
    ("network", "size", "layers", "expected"),
    [
        ("LeNet-5", 28, [pooling.AvgPool2d(2)], [14]),
        ("AlexNet", 55, [pooling.MaxPool2d(3, 2)], [27]),
        ("AlexNet", 13, [pooling.MaxPool2d(3, 2)], [6]),
        ("VGG-16", 224, [pooling.MaxPool2d(2, 2)] * 5, [112, 56, 28, 14, 7]),
        ("GoogLeNet", 112, [pooling.MaxPool2d(3, 2, ceil_mode=True)], [56]),
        ("GoogLeNet", 14, [pooling.MaxPool2d(3, 2, ceil_mode=True), pooling.AvgPool2d(7, 1)], [7, 1]),
        ("ResNet-50", 112, [pooling.MaxPool2d(3, 2, 1)], [56]),
        ("DenseNet-121", 56, [pooling.AvgPool2d(2, 2)], [28]),
        ("YOLO's pyramid", 20, [pooling.MaxPool2d(5, 1, 2)] * 3, [20, 20, 20]),
    ],
)
def test_the_stages_of_networks(network: str, size: int, layers: list[pooling.Layer], expected: list[int]) -> None:
    shape: tuple[int, ...] = (1, 3, size, size)
    for layer, side in zip(layers, expected, strict=True):
        shape = layer.output_shape(shape)
        assert shape == (1, 3, side, side), network
    assert pooling.Sequential(*layers).output_shape((1, 3, size, size)) == shape


def test_three_poolings_of_five_see_what_one_of_thirteen_sees() -> None:
    """Spatial pyramid pooling, as YOLO makes it faster."""
    x = np.random.default_rng(0).standard_normal((1, 4, 20, 20)).astype(np.float32)
    small = pooling.MaxPool2d(5, 1, 2)
    np.testing.assert_array_equal(pooling.Sequential(small, small, small)(x), pooling.max_pool2d(x, 13, 1, 6))


def test_moving_average() -> None:
    result = pooling.avg_pool1d(np.array([[[1, 2, 3, 4, 5, 6, 7]]], np.float32), 3, stride=2)
    np.testing.assert_array_equal(result, [[[2, 4, 6]]])


def test_same_padding_keeps_the_size() -> None:
    x = plane([1, 2, 3], [4, 5, 6], [7, 8, 9])
    np.testing.assert_array_equal(pooling.max_pool2d(x, 2, 1), plane([5, 6], [8, 9]))
    np.testing.assert_array_equal(pooling.max_pool2d(x, 2, 1, "same"), plane([5, 6, 6], [8, 9, 9], [8, 9, 9]))
    np.testing.assert_array_equal(pooling.max_pool2d(x, 2, 1, "same_lower"), plane([1, 2, 3], [4, 5, 6], [7, 8, 9]))


def test_windows_over_the_border_shrink_to_the_map() -> None:
    x = plane(*np.arange(1, 26).reshape(5, 5).tolist())
    highest = pooling.max_pool2d(x, 5, 1, 2)
    row = np.array([13, 14, 15, 15, 15])
    np.testing.assert_array_equal(highest, plane(*(row + down for down in (0, 5, 10, 10, 10))))
    means = pooling.avg_pool2d(x, 5, 1, 2, count_include_pad=False)
    np.testing.assert_array_equal(means[0, 0, 0], [7, 7.5, 8, 8.5, 9])


def test_a_channel_is_pooled_by_itself() -> None:
    x = np.stack([MAP[0, 0], -MAP[0, 0]])[None]
    result = pooling.max_pool2d(x, 2)
    np.testing.assert_array_equal(result[0, 0], [[6, 8], [14, 16]])
    np.testing.assert_array_equal(result[0, 1], [[-1, -1], [-2, -1]])


def test_a_shift_by_one_window_shifts_the_result_by_one_cell() -> None:
    x = np.random.default_rng(0).standard_normal((1, 1, 12, 12)).astype(np.float32)
    for pool in (pooling.max_pool2d, pooling.avg_pool2d):
        np.testing.assert_array_equal(pool(x, 3)[:, :, 1:, 1:], pool(x[:, :, 3:, 3:], 3))
