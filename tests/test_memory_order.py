"""Arrays whose axes lie in another order in memory are pooled as they lie where that gives the same results."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import reference
from pooling.maps import in_memory_order
from tests.conftest import LAYOUTS, Array, assert_same_bytes, random_array

SHAPES = ((2, 3, 6, 7), (1, 3, 6, 7), (2, 1, 7, 6), (3, 6, 7), (2, 3, 1, 7), (2, 2, 4, 5, 6), (1, 1, 5, 4, 6))
CALLS: dict[str, dict[int, dict[str, Any]]] = {
    "max_pool": {
        2: {"kernel_size": (2, 3), "stride": (1, 2), "padding": ((0, 1), (2, 0)), "ceil_mode": True},
        3: {"kernel_size": (1, 2, 3), "stride": (2, 1, 2), "padding": ((0, 0), (1, 0), (0, 2))},
    },
    "min_pool": {
        2: {"kernel_size": [1, 3], "dilation": (1, 2), "stride": 1, "padding": "same_upper"},
        3: {"kernel_size": [1, 2, 2], "dilation": (1, 1, 2), "stride": (1, 2, 1), "padding": (0, 1, 1)},
    },
    "avg_pool": {
        2: {"kernel_size": (2, 3), "stride": (2, 1), "padding": ((0, 1), (1, 0)), "count_include_pad": False},
        3: {"kernel_size": (1, 2, 3), "stride": (1, 2, 1), "padding": ((0, 0), (1, 0), (0, 1))},
    },
    "adaptive_max_pool": {2: {"output_size": (1, 3)}, 3: {"output_size": (2, None, 3)}},
}


def lying(array: Array, order: tuple[int, ...]) -> Array:
    """The array with its axes in this order in memory."""
    return np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("shape", SHAPES)
def test_results_do_not_depend_on_the_order_in_memory(shape: tuple[int, ...], name: str, layout: str) -> None:
    dimensions = 3 if len(shape) == 5 else 2
    function, arguments = f"{name}{dimensions}d", CALLS[name][dimensions]
    dtype = "uint8" if name == "avg_pool" else "float32"
    x = random_array(shape, dtype)
    try:
        expected = np.asarray(getattr(reference, function)(x, **arguments, layout=layout), dtype)
    except ValueError:
        pytest.skip("windows do not fit there")
    for order in itertools.permutations(range(len(shape))):
        view = lying(x, order)
        for _ in range(2):  # the second call remembers the way
            made = getattr(pooling, function)(view, **arguments, layout=layout)
            assert_same_bytes(np.ascontiguousarray(made), expected)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_global_maxima_do_not_depend_on_it(dimensions: int) -> None:
    x = random_array((2, 3, 4, 5, 6)[: 2 + dimensions], np.float32)
    for order in itertools.permutations(range(x.ndim)):
        made = pooling.global_max_pool(lying(x, order), dimensions=dimensions)
        assert_same_bytes(np.ascontiguousarray(made), x.max(axis=tuple(range(2, x.ndim)), keepdims=True))


def test_orders_are_told_apart() -> None:
    """One call pools arrays of any strides, more of them than it remembers."""
    x = random_array((2, 3, 8, 8), np.float32)
    for step in range(1, 40):
        wide = np.zeros((8, 8, 3, 2 * step), np.float32)
        view = wide[..., ::step].transpose(3, 2, 1, 0)
        view[...] = x
        assert_same_bytes(np.ascontiguousarray(pooling.max_pool2d(view, 3, 2, 1)), pooling.max_pool2d(x, 3, 2, 1))


def test_sums_that_are_rounded_are_made_in_the_order_of_the_axes() -> None:
    x = random_array((2, 3, 33, 35), np.float32)
    for order in ((0, 1, 3, 2), (3, 2, 1, 0)):
        assert_same_bytes(
            np.ascontiguousarray(pooling.avg_pool2d(lying(x, order), 3, 1, 1)), pooling.avg_pool2d(x, 3, 1, 1)
        )


def test_indices_are_those_of_the_axes() -> None:
    x = np.zeros((1, 2, 4, 6), np.float32)
    for order in itertools.permutations(range(4)):
        _, indices = pooling.max_pool2d(lying(x, order), 2, return_indices=True)
        assert indices[0, 1].tolist() == [[0, 2, 4], [12, 14, 16]]


@pytest.mark.parametrize("order", [(3, 2, 1, 0), (0, 1, 3, 2), (1, 0, 3, 2), (1, 3, 2, 0)])
def test_nothing_is_copied(order: tuple[int, ...]) -> None:
    view = lying(np.zeros((4, 32, 80, 96), np.float32), order)
    result = pooling.max_pool2d(view, 3, 2, 1)
    tracemalloc.start()
    try:
        pooling.max_pool2d(view, 3, 2, 1)
        assert tracemalloc.get_traced_memory()[1] < result.nbytes + (1 << 14)
    finally:
        tracemalloc.stop()


def test_only_arrays_without_gaps_have_such_an_order() -> None:
    x = np.zeros((2, 3, 8, 10), np.float32)
    spatial = slice(2, 4)
    found = in_memory_order(np.asfortranarray(x), spatial)
    assert found is not None
    assert (found.maps.shape, found.maps.spatial, found.spatial) == ((10, 8, 3, 2), slice(0, 2), (1, 0))
    turned = in_memory_order(lying(x, (1, 0, 3, 2)), spatial)
    assert turned is not None
    assert (turned.maps.shape, turned.maps.spatial, turned.spatial) == ((3, 2, 10, 8), slice(2, 4), (1, 0))
    for view in (
        np.asfortranarray(x)[:, :, 1:],
        np.asfortranarray(x)[:, :, ::-1],
        np.broadcast_to(x[:, :, :1], x.shape),
        lying(x, (2, 1, 3, 0)),  # channels lie between rows and columns
    ):
        assert in_memory_order(view, spatial) is None
