"""Unpooling and its gradient by the windows that indices come from, and where they come from others, against a loop."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import pooling
from tests.conftest import Array, assert_same_bytes, dtype_of, random_array

GEOMETRIES: list[tuple[tuple[int, ...], Any, Any, Any]] = [
    # Sizes of the map, kernel, stride and padding.
    ((32,), 2, 2, 0),
    ((35,), 3, 4, 1),
    ((9,), 4, 4, 2),
    ((12, 14), 2, 2, 0),
    ((13, 15), 2, 3, 1),
    ((11, 10), (3, 2), (3, 2), (1, 0)),
    ((9, 9), 3, 3, 1),
    ((10, 9), 3, 2, 1),
    ((8, 20), (1, 4), (1, 4), 0),
    ((6, 8, 10), 2, 2, 0),
    ((7, 7, 9), 3, 3, 1),
    ((8, 6, 8), (4, 3, 2), (4, 3, 2), 0),
    # Pairs of cells, whose rows are made in vectors and have some left over.
    ((40,), 2, 2, 0),
    ((67,), 2, 2, 1),
    ((5, 38), (1, 2), (1, 2), 0),
    ((8, 38), 2, 2, 0),
    ((8, 39), 2, 2, 1),
    ((4, 6, 36), 2, 2, 0),
    ((5, 7, 37), 2, 2, 1),
    ((7, 3, 34), (3, 1, 2), (3, 2, 2), 0),
    ((6, 4, 34), (2, 1, 2), (2, 1, 2), 0),
]
LAYOUTS = ("channels_first", "channels_last")


@pytest.fixture(autouse=True)
def _any_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have indices checked by windows of as many lines as kernels know."""
    monkeypatch.setattr("pooling.families.unpooling.CHECKED_LINES", 9)


def expected_gradient(grad: Array, indices: Array, dimensions: int) -> Array:
    """Give each element what lies where it went, unless another went there after it. Channels first."""
    pooled = math.prod(indices.shape[-dimensions:])
    cells = math.prod(grad.shape[-dimensions:])
    planes = indices.reshape(-1, pooled)
    gradients = grad.reshape(-1, cells)
    made = np.zeros(planes.shape, grad.dtype)
    for plane, (named, values) in enumerate(zip(planes, gradients, strict=True)):
        last = {int(cell): place for place, cell in enumerate(named)}
        for cell, place in last.items():
            made[plane, place] = values[cell]
    return made.reshape(indices.shape)


def expected_map(values: Array, indices: Array, size: tuple[int, ...]) -> Array:
    """Put each element where its index says, in order, among zeros. Channels first."""
    made = np.zeros((math.prod(values.shape[:2]), math.prod(size)), values.dtype)
    planes = values.reshape(len(made), -1), indices.reshape(len(made), -1)
    for plane, elements, named in zip(made, *planes, strict=True):
        for element, cell in zip(elements, named, strict=True):
            plane[cell] = element
    return made.reshape(*values.shape[:2], *size)


def gradient(grad: Array, indices: Array, geometry: Any, layout: str, threads: int) -> Array:
    size, kernel, stride, padding = geometry
    dimensions = len(size)
    values = np.zeros(indices.shape, grad.dtype)
    backward = getattr(pooling, f"max_unpool{dimensions}d_backward")
    if layout == "channels_last":
        grad, indices, values = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (grad, indices, values))
    with pooling.threads(threads):
        made = backward(grad, values, indices, kernel, stride, padding, output_size=size, layout=layout)
    return np.ascontiguousarray(np.moveaxis(made, -1, 1)) if layout == "channels_last" else made


def changed(indices: Array, cells: int) -> list[Array]:
    """Indices of which some lie in other windows, or in the same as others do."""
    swapped, doubled, beside, behind = (indices.copy() for _ in range(4))
    swapped[1, 2].flat[[0, -1]] = swapped[1, 2].flat[[-1, 0]]
    doubled[0, 1].flat[0] = doubled[0, 1].flat[-1]
    beside[1, 0] = np.maximum(beside[1, 0] - 1, 0)
    behind[0, 2].flat[::3] = np.minimum(behind[0, 2].flat[::3] + 1, cells - 1)
    return [indices, swapped, doubled, beside, behind, np.zeros_like(indices)]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_elements_go_where_indices_say(dtype: str, geometry: Any) -> None:
    size, kernel, stride, padding = geometry
    x = random_array((2, 3, *size), dtype)
    pool, unpool = (getattr(pooling, f"max_{name}{len(size)}d") for name in ("pool", "unpool"))
    _, indices = pool(x, kernel, stride, padding, return_indices=True)
    values = random_array(indices.shape, dtype, seed=2)
    for named, threads in itertools.product(changed(indices, math.prod(size)), (1, 3)):
        with pooling.threads(threads):
            made = unpool(values, named, kernel, stride, padding, output_size=size)
        assert_same_bytes(made, expected_map(values, named, size))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_gradients_reach_the_elements_that_were_not_overwritten(dtype: str, geometry: Any, layout: str) -> None:
    size, kernel, stride, padding = geometry
    dimensions = len(size)
    x = random_array((2, 3, *size), dtype)
    pool = getattr(pooling, f"max_pool{dimensions}d")
    _, indices = pool(x, kernel, stride, padding, return_indices=True)
    grad = random_array(x.shape, dtype, seed=1)
    for named, threads in itertools.product(changed(indices, math.prod(size)), (1, 3)):
        assert_same_bytes(
            gradient(grad, named, geometry, layout, threads), expected_gradient(grad, named, dimensions)
        )  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_indices_outside_the_map_are_refused(geometry: Any, layout: str) -> None:
    size, kernel, stride, padding = geometry
    dimensions = len(size)
    x = random_array((2, 3, *size), "float32")
    _, indices = getattr(pooling, f"max_pool{dimensions}d")(x, kernel, stride, padding, return_indices=True)
    cells = math.prod(size)
    for place, cell in itertools.product((0, 1, -1), (-1, cells, cells + 2**32, 2**32, 2**31, -(2**32), 2**62)):
        wrong = indices.copy()
        wrong[1, 1].flat[place] = cell
        with pytest.raises(ValueError, match=f"is {cell}, but a plane"):
            gradient(x, wrong, geometry, layout, 1)
        if layout == "channels_first":
            with pytest.raises(ValueError, match=f"is {cell}, but a plane"):
                getattr(pooling, f"max_unpool{dimensions}d")(
                    indices.astype(np.float32), wrong, kernel, stride, padding, output_size=size
                )


def test_the_last_of_two_windows_at_a_border_keeps_a_cell() -> None:
    """A window over the end of a row holds no cell of the next row, though its index is one more."""
    grad = np.arange(1.0, 17.0, dtype=np.float32).reshape(1, 1, 4, 4)
    indices = np.array([[[[4, 4], [12, 15]]]])
    made = pooling.max_unpool2d_backward(grad, np.zeros((1, 1, 2, 2), np.float32), indices, 2, 3, output_size=(4, 4))
    assert made.ravel().tolist() == [0, 5, 13, 16]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_kernels_check_windows_against_sizes(dtype: str) -> None:
    from pooling.dispatch import kernels

    x = np.arange(42).astype(dtype_of(dtype))
    indices = np.array([0, 2, 4, 14, 16, 18])
    made = np.zeros(6, x.dtype)
    flat, rows, columns = (1, 1, 1, 1, 0), (2, 6, 2, 2, 0), (3, 7, 2, 2, 0)
    run = (x, indices, made, 1, 6, 42, 1, x.itemsize, True, 1)
    assert kernels.unpool(*run, (flat, rows, columns)) == -1
    assert made.tolist() == indices.tolist()
    for wrong in ((flat, rows, (4, 7, 2, 2, 0)), (flat, (2, 7, 2, 2, 0), columns), (flat, rows, (3, -7, 2, 2, 0))):
        with pytest.raises(ValueError):
            kernels.unpool(*run, wrong)
    for taps, step, begin in ((0, 0, 0), (-1, 2, 0), (2**62, 2**62, 0), (2, 2, -(2**62)), (2, 2, 2**62)):
        made[:] = 0
        assert kernels.unpool(*run, (flat, rows, (3, 7, taps, step, begin))) == -1
        assert made.tolist() == indices.tolist()
