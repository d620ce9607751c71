"""Maxima and minima with indices of long windows, and their gradients: the first of equals is the argmax."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import pooling
from pooling import reference
from pooling.dispatch import kernels
from tests.conftest import (
    FLOATS,
    INTEGERS,
    LAYOUTS,
    PATHS,
    Array,
    assert_same,
    assert_same_bytes,
    channels_last,
    dtype_of,
    random_array,
    resolved_call,
)

LONG = "argmax_long"
LARGEST = {1: 90, 2: 14, 3: 7}
"""Largest kernel_size that is drawn, by dimensions: the reference takes a step for each tap."""


def method(function: str, x: Array, windows: dict[str, Any], layout: str = "channels_first") -> str:
    """Name the strategy by which a call finds its argmaxes."""
    call = resolved_call(function, x, **windows, layout=layout)
    name: str
    name, _ = kernels.strategy_of(call.index_plan, "indices", call.reducer, call.kind)
    return name


@pytest.mark.parametrize("path", [path for path in PATHS if path.startswith(("long_windows", "strips"))])
def test_geometries_named_after_long_windows_take_their_path(path: str) -> None:
    geometry = PATHS[path]
    x = random_array(geometry.shape, np.float32)
    assert method(geometry.function("max_pool"), x, geometry.windows) == LONG
    assert method(geometry.function("max_pool"), channels_last(x), geometry.windows, "channels_last") == LONG


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("kernel_size", [1, 2, 3])
def test_short_windows_do_not(kernel_size: int, dtype: str) -> None:
    x = np.zeros((1, 2, 96, 96), dtype)
    assert method("max_pool2d", x, {"kernel_size": kernel_size, "stride": 1}) != LONG


@pytest.mark.parametrize("kernel_size", [15, 63, 255])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_long_ones_do_whatever_their_step(kernel_size: int, stride: int, dilation: int) -> None:
    x = np.zeros((1, 1, 1024, 1024), np.float32)
    windows = {"kernel_size": kernel_size, "stride": stride, "dilation": dilation}
    assert method("max_pool2d", x, windows) == LONG
    assert method("max_pool2d", np.zeros((1, 1024, 1024, 3), np.float32), windows, "channels_last") == LONG


@pytest.mark.parametrize("kernel_size", [64, 480, 4800, 48_000])
def test_long_rows_do(kernel_size: int) -> None:
    assert method("max_pool1d", np.zeros((1, 1, 480_000), np.uint8), {"kernel_size": kernel_size, "stride": 1}) == LONG


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, Array, dict[str, Any]]:
    """Draw calls with long windows, over arrays of few distinct values."""
    dimensions = draw(st.integers(1, 3))
    sizes, kernel, stride, dilation, padding = [], [], [], [], []
    for _ in range(dimensions):
        taps = draw(st.integers(1, LARGEST[dimensions]))
        apart = draw(st.sampled_from([1, 1, 1, 2, 3]))
        span = (taps - 1) * apart + 1
        kernel.append(taps)
        dilation.append(apart)
        stride.append(draw(st.sampled_from([1, 1, 1, 2, 3, 9])))
        padding.append((draw(st.integers(0, span)), draw(st.integers(0, span))))
        sizes.append(draw(st.integers(1, 2 * LARGEST[dimensions])))
    windows = {
        "kernel_size": tuple(kernel),
        "stride": tuple(stride),
        "dilation": tuple(dilation),
        "padding": tuple(padding),
        "ceil_mode": draw(st.booleans()),
    }
    layout = draw(st.sampled_from(LAYOUTS))
    dtype = dtype_of(draw(st.sampled_from((*FLOATS, *INTEGERS, "bool"))))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *sizes)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = random.integers(0, draw(st.sampled_from([1, 2, 3, 100])), shape, endpoint=True).astype(dtype)
    if dtype.name in FLOATS:
        x = np.where(random.random(shape) < 0.5, x, -x).astype(dtype)
        for value in (np.nan, np.inf, -np.inf):
            x[random.random(shape) < draw(st.sampled_from([0, 0, 0.02, 0.9]))] = value
    function = f"{draw(st.sampled_from(['max_pool', 'min_pool']))}{dimensions}d"
    if layout == "channels_last":
        x = channels_last(x)
    keywords = {**windows, "layout": layout}
    if dtype.name in FLOATS:
        keywords["nan"] = draw(st.sampled_from(["propagate", "ignore"]))
    try:
        found = method(function, x, windows, layout)
    except ValueError:
        found = ""  # no window fits
    assume(found == LONG)
    return function, x, keywords


@given(calls())
def test_against_the_reference(call: tuple[str, Array, dict[str, Any]]) -> None:
    function, x, keywords = call
    expected, found = getattr(reference, function)(x, **keywords, return_indices=True)
    values, indices = getattr(pooling, function)(x, **keywords, return_indices=True)
    np.testing.assert_array_equal(indices, found)
    assert_same(values, expected)
    assert_same(getattr(pooling, function)(x, **keywords), values)


@given(calls())
def test_the_gradient_goes_to_the_argmaxes_in_the_order_of_the_outputs(call: tuple[str, Array, dict[str, Any]]) -> None:
    function, x, keywords = call
    if x.dtype.name not in FLOATS:
        x = x.astype(np.float32)
    values, indices = getattr(pooling, function)(x, **keywords, return_indices=True)
    grad = random_array(values.shape, x.dtype)
    backward = getattr(pooling, f"{function}_backward")
    assert_same_bytes(backward(grad, x, **keywords), backward(grad, x, **keywords, indices=indices))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.usefixtures("always_parallel")
def test_tiles_and_strips_by_any_number_of_threads(dtype: str, layout: str) -> None:
    """Planes of several tiles each way; against the method for short windows, one plane of rows at a time."""
    shape, kernel = (2, 3, 300, 340), (40, 33)
    x = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    lay = np.copy if layout == "channels_first" else channels_last
    with pooling.threads(1):
        values, indices = pooling.max_pool2d(lay(x), kernel, 1, layout=layout, return_indices=True)
    # The first maximum of each row of a window, and the first of these.
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, (2, 3))[:, :, ::13, ::17]
    flat = windows.reshape(*windows.shape[:4], -1)
    first = flat.argmax(-1)
    rows, columns = np.indices(windows.shape[2:4])
    place = (13 * rows + first // kernel[1]) * shape[3] + 17 * columns + first % kernel[1]
    back = (lambda a: a) if layout == "channels_first" else (lambda a: np.moveaxis(a, -1, 1))
    np.testing.assert_array_equal(back(indices)[:, :, ::13, ::17], place)
    np.testing.assert_array_equal(back(values)[:, :, ::13, ::17], flat.max(-1))
    gradient = None
    for count in (1, 2, 3, 7):
        with pooling.threads(count):
            again = pooling.max_pool2d(lay(x), kernel, 1, layout=layout, return_indices=True)
            assert_same_bytes(again[0], values)
            assert_same_bytes(again[1], indices)
            if dtype != "uint8":
                grad = random_array(values.shape, dtype)
                result = pooling.max_pool2d_backward(grad, lay(x), kernel, 1, layout=layout)
                gradient = result if gradient is None else gradient
                assert_same_bytes(result, gradient)
    if gradient is not None:
        assert_same_bytes(
            gradient, pooling.max_pool2d_backward(grad, lay(x), kernel, 1, layout=layout, indices=indices)
        )


@pytest.mark.parametrize("value", [-np.inf, np.nan])
def test_padding_never_wins_over_elements_as_good(value: float) -> None:
    """The identity stands where rows have no cells; a window of nothing else has the first element as its argmax."""
    x = np.full((1, 1, 700), value, np.float32)
    values, indices = pooling.max_pool1d(x, 90, 1, 45, return_indices=True)
    np.testing.assert_array_equal(values, value)
    np.testing.assert_array_equal(indices[0, 0], np.maximum(np.arange(701) - 45, 0))
    values, indices = pooling.max_pool1d(x, 90, 1, 45, nan="ignore", return_indices=True)
    np.testing.assert_array_equal(values, value)
    np.testing.assert_array_equal(indices[0, 0], np.maximum(np.arange(701) - 45, 0))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("function", ["max_pool2d", "min_pool2d"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "bool"])
def test_keys_of_small_integers_hold_every_value_and_place(dtype: str, function: str, layout: str) -> None:
    """Their least and greatest values, in windows that reach into the padding on all sides."""
    random = np.random.default_rng(0)
    limits = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    windows = {"kernel_size": (9, 40), "stride": (1, 3), "padding": ((4, 3), (20, 19))}
    for low, high in ((limits[0], limits[1]), (limits[0], limits[0]), (limits[1], limits[1])):
        x = random.integers(low, high, (2, 2, 30, 120), endpoint=True).astype(dtype)
        lay = np.ascontiguousarray(x) if layout == "channels_first" else channels_last(x)
        assert method(function, lay, windows, layout) == LONG
        expected, found = getattr(reference, function)(lay, **windows, layout=layout, return_indices=True)
        values, indices = getattr(pooling, function)(lay, **windows, layout=layout, return_indices=True)
        np.testing.assert_array_equal(indices, found)
        assert_same(values, expected)


@pytest.mark.parametrize("nan", ["propagate", "ignore"])
@pytest.mark.parametrize("function", ["max_pool2d", "min_pool2d"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float32", "float64"])
@pytest.mark.parametrize(
    "windows",
    [
        {"kernel_size": (2, 128), "stride": (2, 128)},
        {"kernel_size": (3, 200), "stride": (1, 100), "padding": ((1, 2), (60, 100)), "dilation": (2, 1)},
        {"kernel_size": (1, 131), "stride": (1, 131), "ceil_mode": True},
        {"kernel_size": (2, 300), "stride": (3, 300), "padding": (1, 150)},
    ],
)
def test_wide_windows_that_lie_apart(windows: dict[str, Any], dtype: str, function: str, nan: str) -> None:
    random = np.random.default_rng(0)
    for values, share in ((1, 0.0), (100, 0.02), (0, 0.97)):
        x = random.integers(0, values, (1, 2, 8, 600), endpoint=True).astype(dtype)
        keywords: dict[str, Any] = dict(windows)
        if dtype in FLOATS:
            keywords["nan"] = nan
            x[random.random(x.shape) < share] = np.nan
        assert method(function, x, windows) in ("argmax_apart", "argmax_search")
        expected, found = getattr(reference, function)(x, **keywords, return_indices=True)
        best, indices = getattr(pooling, function)(x, **keywords, return_indices=True)
        np.testing.assert_array_equal(indices, found)
        assert_same(best, expected)
        if dtype in FLOATS:
            grad = random_array(best.shape, x.dtype)
            backward = getattr(pooling, f"{function}_backward")
            assert_same_bytes(backward(grad, x, **keywords), backward(grad, x, **keywords, indices=indices))


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
@pytest.mark.parametrize("output_size", [1, 2, 5])
def test_wide_adaptive_windows(output_size: int, dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 50, (2, 2, 7, 700)).astype(dtype)
    expected, found = reference.adaptive_max_pool2d(x, output_size, return_indices=True)
    best, indices = pooling.adaptive_max_pool2d(x, output_size, return_indices=True)
    np.testing.assert_array_equal(indices, found)
    assert_same(best, expected)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
@pytest.mark.parametrize("padding", [0, (100, 300), (4500, 4500)])
@pytest.mark.parametrize("place", [0, -1])
def test_ends_of_rows_whose_windows_are_too_wide_for_runs(place: int, padding: Any, dtype: str) -> None:
    windows: dict[str, Any] = {"kernel_size": 9001, "stride": 150, "padding": (padding,) if padding else 0}
    x = np.random.default_rng(0).integers(0, 50, (1, 1, 20_000)).astype(dtype)
    x[..., place] = 100
    assert method("max_pool1d", x, windows) == LONG
    expected, found = reference.max_pool1d(x, **windows, return_indices=True)
    best, indices = pooling.max_pool1d(x, **windows, return_indices=True)
    np.testing.assert_array_equal(indices, found)
    assert_same(best, expected)
