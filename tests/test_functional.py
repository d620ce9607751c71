"""Every function of the operator table against the reference, for every way through the kernels."""

from __future__ import annotations

import functools
import math
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pooling
from pooling import reference
from pooling.operators import OPERATORS
from tests.conftest import (
    AVERAGED,
    FLOATS,
    GEOMETRIES,
    LAYOUTS,
    LYING,
    TINY,
    UNIT,
    Array,
    Geometry,
    array_shapes,
    assert_same,
    assert_same_bytes,
    assert_within,
    channels_last,
    positive_array,
    random_array,
    special_arrays,
    window_arguments,
)

NAN, INF = math.nan, math.inf
SUMS = [name for name, operator in OPERATORS.items() if operator.reducer == "total"]
CHOICES = [name for name in OPERATORS if name not in SUMS]
CALLS = [
    pytest.param(name, function, dtype, id=f"{function}-{dtype}")
    for name, operator in OPERATORS.items()
    for function in operator.functions
    for dtype in operator.dtypes
]


def dtype_of(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    return np.dtype(name)


# --- arguments that each operator understands ------------------------------------------------------------------


def max_pool_arguments(dimensions: int) -> st.SearchStrategy[dict[str, Any]]:
    extras = st.fixed_dictionaries({}, optional={"nan": st.sampled_from(["propagate", "ignore"])})
    return st.builds(lambda windows, more: windows | more, window_arguments(dimensions), extras)


def avg_pool_arguments(dimensions: int) -> st.SearchStrategy[dict[str, Any]]:
    extras = st.fixed_dictionaries(
        {},
        optional={
            "count_include_pad": st.booleans(),
            "divisor_override": st.sampled_from([1, 3, -4, 0.5, 0.1, np.float32(7), np.int64(9)]),
        },
    )
    return st.builds(lambda windows, more: windows | more, window_arguments(dimensions), extras)


ARGUMENTS: dict[str, Callable[[int], st.SearchStrategy[dict[str, Any]]]] = {
    "max_pool": max_pool_arguments,
    "avg_pool": avg_pool_arguments,
    "global_max_pool": lambda dimensions: st.just({}),
    "global_avg_pool": lambda dimensions: st.just({}),
}


def test_every_operator_is_tested_here() -> None:
    assert ARGUMENTS.keys() == OPERATORS.keys()


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a call returns, or the kind of error that it raises."""
    try:
        return function(*args, **kwargs)
    except (TypeError, ValueError) as error:
        return type(error)


def allowed_error(name: str, function: str, x: Array, arguments: dict[str, Any]) -> Array:
    """Bound the error of an average: so many roundings, relative to the average of the magnitudes.

    n numbers can be added in any order with n - 1 roundings on the way of each, and the division is one more, or two
    as a product with a rounded reciprocal. In float32 at most 8 are made, which is 4 units of 2**-23; beyond that sums
    are float64. Half types accumulate in float32 and round once more at the end. Each rounding of a denormal can be
    wrong by half the smallest number.
    """
    magnitudes = np.where(np.isfinite(x), np.abs(x.astype(np.float64)), 0)
    if "divisor_override" in arguments:
        arguments = arguments | {"divisor_override": abs(float(arguments["divisor_override"]))}
    with np.errstate(all="ignore"):
        mean = np.nan_to_num(getattr(reference, function)(magnitudes, **arguments))
    kernel = arguments.get("kernel_size", 1)
    taps = math.prod(kernel if isinstance(kernel, tuple) else (kernel,) * (x.ndim - 1))
    taps = math.prod(x.shape) if name.startswith("global") else taps
    dtype = x.dtype.name
    roundings = {"float32": 8, "float64": taps + 1}.get(dtype)
    if roundings is None:  # half types
        return (taps * UNIT["float32"] + UNIT[dtype]) * mean + TINY[dtype]
    return roundings * UNIT[dtype] * (1 + 16 * UNIT[dtype]) * mean + TINY[dtype]


def assert_answers_as_the_reference(name: str, function: str, x: Array, arguments: dict[str, Any]) -> None:
    before = x.tobytes()
    call, twin = getattr(pooling, function), getattr(reference, function)
    with np.errstate(all="ignore"):
        result = outcome(call, x, **arguments)
    expected = outcome(twin, x, **arguments)
    assert x.tobytes() == before, "the input was modified"
    if isinstance(expected, type) or isinstance(result, type):
        assert result == expected
        return
    assert result.dtype == x.dtype.newbyteorder("=")
    if name in CHOICES or x.dtype.name not in FLOATS:
        assert_same(result, expected)
    else:
        exact = twin(x.astype(np.float64), **arguments)
        assert_within(result, exact, allowed_error(name, function, x, arguments))
    if OPERATORS[name].indices:
        values, indices = call(x, **arguments, return_indices=True)
        _, expected_indices = twin(x, **arguments, return_indices=True)
        assert_same(values, expected)
        assert_same(indices, expected_indices)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("name", "function", "dtype"), CALLS)
@given(data=st.data())
def test_any_call_answers_as_the_reference(
    name: str, function: str, dtype: str, layout: str, data: st.DataObject
) -> None:
    one_for_all = not OPERATORS[name].dimensions
    dimensions = data.draw(st.integers(1, 3), label="dimensions") if one_for_all else int(function[-2])
    arguments = data.draw(ARGUMENTS[name](dimensions), label="arguments") | {"layout": layout}
    shape = data.draw(array_shapes(dimensions, layout, batched=True if one_for_all else None), label="shape")
    values = data.draw(special_arrays(dtype_of(dtype), shape, summed=name in SUMS), label="values")
    lying = data.draw(st.sampled_from(sorted(LYING)), label="lying")
    assert_answers_as_the_reference(name, function, LYING[lying](values), arguments)


# --- every way through the kernels --------------------------------------------------------------------------------


def patterned(geometry: Geometry, seed: int = 0) -> Array:
    """Numbers that tie in places, exact in float32, with NaN and infinities in a few of them."""
    x = random_array(geometry.shape, np.float64, seed)
    random = np.random.default_rng(seed + 1)
    x[random.random(x.shape) < 0.3] = 1.5
    for value in (NAN, INF, -INF):
        x[random.random(x.shape) < 0.01] = value
    return x


@functools.cache
def chosen(path: str, name: str, nan: str) -> tuple[Array, Array]:
    geometry = GEOMETRIES[path]
    twin = getattr(reference, f"{name}{geometry.dimensions}d")
    result: tuple[Array, Array] = twin(patterned(geometry), **geometry.windows, return_indices=True, nan=nan)
    return result


def averaged(path: str, count_include_pad: bool) -> tuple[Array, Array, Array, Array]:
    """Numbers of both signs and positive ones, each with its averages; float64, rounded once."""
    geometry = GEOMETRIES[path]
    twin = getattr(reference, f"avg_pool{geometry.dimensions}d")
    mixed = random_array(geometry.shape)
    magnitudes = np.abs(mixed)
    keywords = {**geometry.windows, "count_include_pad": count_include_pad}
    return mixed, magnitudes, twin(mixed, **keywords), twin(magnitudes, **keywords)


@pytest.mark.parametrize("nan", ["propagate", "ignore"])
@pytest.mark.parametrize("path", GEOMETRIES)
@pytest.mark.parametrize("name", [name for name in CHOICES if OPERATORS[name].dimensions])
def test_the_best_element_by_every_path(name: str, path: str, nan: str) -> None:
    geometry = GEOMETRIES[path]
    call = getattr(pooling, f"{name}{geometry.dimensions}d")
    expected, expected_indices = chosen(path, name, nan)
    for dtype in {"float32", "float64"}.intersection(OPERATORS[name].dtypes):
        x = patterned(geometry).astype(dtype)
        assert_same(call(x, **geometry.windows, nan=nan), expected.astype(dtype))
        values, indices = call(x, **geometry.windows, nan=nan, return_indices=True)
        assert_same(values, expected.astype(dtype))
        assert_same(indices, expected_indices)
        last = {"layout": "channels_last", "nan": nan}
        assert_same(call(channels_last(x), **geometry.windows, **last), channels_last(expected).astype(dtype))
        values, indices = call(channels_last(x), **geometry.windows, **last, return_indices=True)
        assert_same(values, channels_last(expected).astype(dtype))
        assert_same(indices, channels_last(expected_indices))


@pytest.mark.parametrize(("path", "count_include_pad"), AVERAGED)
def test_the_average_by_every_path(path: str, count_include_pad: bool) -> None:
    geometry = GEOMETRIES[path]
    call = getattr(pooling, f"avg_pool{geometry.dimensions}d")
    mixed, magnitudes, of_mixed, of_magnitudes = averaged(path, count_include_pad)
    keywords = {**geometry.windows, "count_include_pad": count_include_pad}
    kernel = geometry.windows["kernel_size"]
    taps = math.prod(kernel) if isinstance(kernel, tuple) else kernel**geometry.dimensions
    for dtype, roundings in (("float32", 8), ("float64", taps + 1)):
        allowed = np.nan_to_num((roundings * UNIT[dtype] * (1 + 16 * UNIT[dtype])) * of_magnitudes + TINY[dtype])
        for x, exact in ((mixed, of_mixed), (magnitudes, of_magnitudes)):
            x = x.astype(dtype)
            assert_within(call(x, **keywords), exact, allowed)
            result = call(channels_last(x), **keywords, layout="channels_last")
            assert_within(result, channels_last(exact), channels_last(allowed))


def test_float32_averages_of_positive_numbers_are_within_4_units_for_any_window() -> None:
    """The bound is over the whole range of window sizes, where each size has a summation tree of its own."""
    x = positive_array((1, 1, 6000), np.float32)
    for taps in [*range(1, 70), 100, 127, 128, 129, 255, 256, 1000, 4095, 4096, 4097, 5000, 6000]:
        result = pooling.avg_pool1d(x, taps, stride=1 + taps // 3)[0, 0]
        exact = [math.fsum(x[0, 0, at : at + taps].tolist()) / taps for at in range(0, 6001 - taps, 1 + taps // 3)]
        np.testing.assert_array_less(np.abs(result - exact) / exact, 4 * 2.0**-23 * (1 + 2.0**-20))


@pytest.mark.parametrize("kernel", [(3, 3), (7, 7), (8, 8), (11, 11), (16, 16), (31, 31), (1, 40), (40, 1), (200, 150)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_float32_averages_over_planes_are_within_4_units(layout: str, kernel: tuple[int, int]) -> None:
    x = positive_array((1, 1, 200, 150), np.float32)
    keywords = {"kernel_size": kernel, "stride": (19, 17)}
    result = pooling.avg_pool2d(x if layout == "channels_first" else channels_last(x), **keywords, layout=layout)
    windows = np.lib.stride_tricks.sliding_window_view(x[0, 0], kernel)[::19, ::17]
    exact = np.array([[math.fsum(window.ravel().tolist()) / window.size for window in row] for row in windows])
    error = np.abs(result.reshape(exact.shape) - exact) / exact
    np.testing.assert_array_less(error, 4 * 2.0**-23 * (1 + 2.0**-20))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ones_over_a_large_window_average_to_exactly_one(layout: str) -> None:
    ones = np.ones((1, 1, 2500, 2500) if layout == "channels_first" else (1, 2500, 2500, 1), np.float32)
    assert pooling.avg_pool2d(ones, 2500, layout=layout).item() == 1.0
    assert pooling.global_avg_pool(ones, layout=layout).item() == 1.0


def test_a_constant_averages_to_itself_over_four_million_elements() -> None:
    constant = np.full((1, 1, 2**22), 0.1, np.float32)
    assert pooling.global_avg_pool(constant).item() == np.float32(0.1)
    assert pooling.avg_pool1d(constant, 2**22).item() == np.float32(0.1)


@pytest.mark.parametrize("size", [1, 3, 4, 49, 196, 3136, 12544])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_global_average_of_positive_float32_is_within_4_units(layout: str, size: int) -> None:
    x = positive_array((2, 3, size), np.float32)
    result = pooling.global_avg_pool(x if layout == "channels_first" else channels_last(x), layout=layout)
    exact = np.array([[math.fsum(channel.tolist()) / size for channel in image] for image in x])
    error = np.abs(result.reshape(exact.shape) - exact) / exact
    np.testing.assert_array_less(error, 4 * 2.0**-23 * (1 + 2.0**-20))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("number", [1, 3])
def test_equal_numbers_average_to_exactly_that_number(dtype: str, number: int) -> None:
    """All their sums are exact here, so a mean that is not exact was divided in more than one step."""
    for taps in range(1, 300):
        assert pooling.avg_pool1d(np.full((1, 1, taps), number, dtype), taps).item() == number, taps
        assert (pooling.avg_pool2d(np.full((1, 1, 5, taps), number, dtype), (3, taps)) == number).all(), taps


# --- rules that each deserve their own test -----------------------------------------------------------------------


def line(*values: float, dtype: Any = np.float32) -> Array:
    """One map of one channel."""
    return np.array([[values]], dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [4, 16, 64, 100])
def test_nan_propagates_from_every_place_in_a_window_and_its_index_is_the_first(dtype: str, size: int) -> None:
    for place in range(size):
        x = np.zeros((1, 1, size), dtype)
        x[0, 0, place:] = NAN
        values, indices = pooling.max_pool1d(x, size, return_indices=True)
        assert np.isnan(values).all()
        assert indices.item() == place
        x[0, 0, place + 1 :] = INF
        assert np.isnan(pooling.max_pool1d(x, size)).all(), place
        assert np.isnan(pooling.global_max_pool(x)).all(), place
        assert np.isnan(pooling.avg_pool1d(x, size)).all(), place


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ignored_nan_leaves_the_others_and_only_nan_leaves_nan(layout: str) -> None:
    x = line(NAN, 1, -INF, NAN, NAN, NAN)
    x = x if layout == "channels_first" else channels_last(x)
    values, indices = pooling.max_pool1d(x, 2, nan="ignore", return_indices=True, layout=layout)
    np.testing.assert_array_equal(values.ravel(), [1, -INF, NAN])
    np.testing.assert_array_equal(indices.ravel(), [1, 2, 4])
    np.testing.assert_array_equal(pooling.max_pool1d(x, 2, nan="ignore", layout=layout), values)
    assert pooling.global_max_pool(x, nan="ignore", layout=layout).item() == 1


@pytest.mark.parametrize("padding", [0, 1])
def test_a_window_of_minus_infinity_is_minus_infinity(padding: int) -> None:
    x = np.full((1, 2, 4, 4), -INF, np.float32)
    assert (pooling.max_pool2d(x, 2, padding=padding) == -INF).all()
    assert (pooling.global_max_pool(x) == -INF).all()


def test_the_index_of_a_tie_is_the_first_in_row_major_order() -> None:
    x = np.zeros((1, 1, 4, 4), np.float32)
    _, indices = pooling.max_pool2d(x, 3, stride=1, return_indices=True)
    assert indices.ravel().tolist() == [0, 1, 4, 5]
    _, indices = pooling.max_pool1d(line(-0.0, 0.0, 0.0, -0.0), 2, return_indices=True)
    assert indices.ravel().tolist() == [0, 2]


def test_a_window_without_an_element_is_minus_infinity_of_index_minus_one_and_nan_on_average() -> None:
    x = line(1, 2, 3)
    keywords: dict[str, Any] = {"kernel_size": 2, "stride": 1, "padding": 3, "dilation": 4}
    values, indices = pooling.max_pool1d(x, **keywords, return_indices=True)
    np.testing.assert_array_equal(values.ravel(), [2, 3, -INF, 1, 2][: values.size])
    np.testing.assert_array_equal(indices.ravel(), [1, 2, -1, 0, 1][: values.size])
    np.testing.assert_array_equal(pooling.max_pool1d(x, **keywords), values)
    means = pooling.avg_pool1d(x, **keywords, count_include_pad=False)
    np.testing.assert_array_equal(means.ravel(), [2, 3, NAN, 1, 2][: values.size])


def test_count_include_pad_counts_declared_padding_but_nothing_that_only_ceil_mode_reaches() -> None:
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    result = pooling.avg_pool2d(x, 3, stride=2, padding=1, ceil_mode=True)
    assert result.shape == (1, 1, 3, 3)
    for cell, counted in np.ndenumerate(np.outer([3, 3, 2], [3, 3, 2])):
        rows, columns = (range(max(2 * o - 1, 0), min(2 * o + 2, 4)) for o in cell)
        total = sum(float(x[0, 0, h, w]) for h in rows for w in columns)
        np.testing.assert_allclose(result[0, 0][cell], total / counted, rtol=2.0**-22)


def test_divisor_override_divides_every_window_at_the_border_too() -> None:
    x = np.ones((1, 1, 4, 4), np.float32)
    result = pooling.avg_pool2d(x, 3, stride=2, padding=1, divisor_override=2, count_include_pad=False)
    np.testing.assert_array_equal(result[0, 0], [[2, 3], [3, 4.5]])
    np.testing.assert_array_equal(pooling.avg_pool1d(line(1, 2), 2, divisor_override=-0.5), line(-6))


def test_dilated_average_counts_only_taps_in_input_and_padding() -> None:
    x = line(*range(1, 11))
    result = pooling.avg_pool1d(x, 3, 3, padding=1, dilation=2, ceil_mode=True)
    np.testing.assert_array_equal(result, line(6 / 3, 15 / 3, 24 / 3, 9 / 2))


def test_sums_of_mixed_signs_do_not_drift_along_a_row() -> None:
    """A running sum that subtracts what leaves the window would carry 1e30 with it for ever."""
    x = np.ones((1, 1, 3000), np.float32)
    x[0, 0, 5] = 1e30
    for kernel in (4, 50, 200):
        assert (pooling.avg_pool1d(x, kernel, 1)[0, 0, 6:] == 1).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_denormals_are_not_flushed(dtype: str) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([[[tiny, 2 * tiny, -tiny, -3 * tiny]]], dtype)
    np.testing.assert_array_equal(pooling.max_pool1d(x, 2), np.array([[[2 * tiny, -tiny]]], dtype))
    np.testing.assert_array_equal(pooling.avg_pool1d(x, 2)[0, 0, 1], -2 * tiny)


@pytest.mark.parametrize("function", [name for operator in OPERATORS.values() for name in operator.functions])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("empty", ["batch", "channels"])
def test_an_empty_batch_or_no_channels_make_an_empty_result(function: str, layout: str, empty: str) -> None:
    dimensions = int(function[-2]) if function.endswith("d") else 2
    batch, channels = (0, 3) if empty == "batch" else (2, 0)
    spatial = (6,) * dimensions
    first = layout == "channels_first"
    shape = (batch, channels, *spatial) if first else (batch, *spatial, channels)
    arguments = () if function.startswith("global") else (2,)
    result = getattr(pooling, function)(np.zeros(shape, np.float32), *arguments, layout=layout)
    pooled = (3,) * dimensions if arguments else (1,) * dimensions
    assert result.shape == ((batch, channels, *pooled) if first else (batch, *pooled, channels))
    assert result.dtype == np.float32


def test_padding_words_are_the_numbers_they_stand_for() -> None:
    x = random_array((1, 2, 7, 8), np.float32)
    # Axis H: ceil(7 / 2) = 4 windows of 4 cells span 10, so 3 of padding; axis W: ceil(8 / 3) = 3 span 9, so 1.
    keywords: dict[str, Any] = {"kernel_size": (4, 3), "stride": (2, 3)}
    for word, pairs in {
        "valid": ((0, 0), (0, 0)),
        "same": ((1, 2), (0, 1)),
        "same_upper": ((1, 2), (0, 1)),
        "same_lower": ((2, 1), (1, 0)),
    }.items():
        for function in (pooling.max_pool2d, pooling.avg_pool2d):
            assert_same_bytes(function(x, **keywords, padding=word), function(x, **keywords, padding=pairs))


def test_every_form_of_an_argument_means_the_same() -> None:
    x = random_array((1, 2, 7, 8), np.float32)
    expected = pooling.max_pool2d(x, 3, 2, 1)
    forms: list[dict[str, Any]] = [
        {"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 1)},
        {"kernel_size": [3, 3], "stride": [2, 2], "padding": [1, 1]},
        {"kernel_size": np.array([3, 3]), "stride": np.int64(2), "padding": np.array([[1, 1], [1, 1]])},
        {"kernel_size": np.uint8(3), "stride": (np.int8(2), 2), "padding": [(1, 1), [1, 1]]},
    ]
    for form in forms:
        assert_same_bytes(pooling.max_pool2d(x, **form), expected)


def test_positional_order_is_that_of_torch() -> None:
    x = random_array((1, 2, 9, 9), np.float32)
    values, indices = pooling.max_pool2d(x, 3, 2, 1, 1, True, True)
    keywords = {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 1, "ceil_mode": True}
    assert_same_bytes(values, pooling.max_pool2d(x, **keywords))
    assert indices.dtype == np.int64
    means = pooling.avg_pool2d(x, 3, 2, 1, True, False, 5)
    keywords = {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}
    assert_same_bytes(means, pooling.avg_pool2d(x, **keywords, divisor_override=5))


@pytest.mark.parametrize("path", [path for path in GEOMETRIES if GEOMETRIES[path].dimensions < 3])
def test_fewer_dimensions_are_more_dimensions_with_axes_of_one(path: str) -> None:
    shape, windows = GEOMETRIES[path]
    dimensions = len(shape) - 2

    def lifted(value: Any, one: Any) -> Any:
        if isinstance(value, str | bool):
            return value
        return (one, *(value if isinstance(value, tuple) else (value,) * dimensions))

    higher: dict[str, Any] = {name: lifted(value, 0 if name == "padding" else 1) for name, value in windows.items()}
    if isinstance(windows.get("padding"), tuple) and isinstance(windows["padding"][0], tuple):
        higher["padding"] = ((0, 0), *windows["padding"])
    x = random_array(shape, np.float32)
    deeper = x.reshape(*shape[:2], 1, *shape[2:])
    for family in ("max_pool", "avg_pool"):
        flat = getattr(pooling, f"{family}{dimensions}d")(x, **windows)
        deep = getattr(pooling, f"{family}{dimensions + 1}d")(deeper, **higher)
        assert_same(deep.reshape(flat.shape), flat) if family == "max_pool" else np.testing.assert_allclose(
            deep.reshape(flat.shape), flat, rtol=1e-5, atol=1e-6
        )


# --- the ends of arrays --------------------------------------------------------------------------------------------


def windowed(x: Array, kernel: tuple[int, int], stride: int, padding: int, fill: float) -> Array:
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))
    return windows[:, :, ::stride, ::stride]


@pytest.mark.parametrize("at_end", [True, False], ids=["at_the_end", "at_the_beginning"])
@pytest.mark.parametrize("planes", [1, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_kernel_reads_or_writes_beyond_narrow_planes(
    guarded: Callable[..., Array], dtype: str, planes: int, at_end: bool
) -> None:
    for width in range(1, 41):
        x = guarded((1, planes, 5, width), dtype, at_end=at_end)
        x[...] = random_array(x.shape, dtype, width)
        for kernel, stride, padding in [
            ((3, 3), 2, 1),
            ((2, 2), 2, 0),
            ((3, 3), 1, 1),
            ((1, 1), 1, 0),
            ((2, 1), 3, 0),
        ]:
            if width < kernel[1] - 2 * padding:
                continue
            windows = windowed(x, kernel, stride, padding, -INF).max(axis=(-1, -2))
            out = guarded(windows.shape, dtype, at_end=at_end)
            np.testing.assert_array_equal(pooling.max_pool2d(x, kernel, stride, padding, out=out), windows)
            means = windowed(x.astype(np.float64), kernel, stride, padding, 0).mean(axis=(-1, -2))
            pooling.avg_pool2d(x, kernel, stride, padding, out=out)
            np.testing.assert_allclose(out, means, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("at_end", [True, False], ids=["at_the_end", "at_the_beginning"])
@pytest.mark.parametrize("path", GEOMETRIES)
def test_no_kernel_reads_or_writes_beyond_its_arrays(guarded: Callable[..., Array], path: str, at_end: bool) -> None:
    geometry = GEOMETRIES[path]
    for layout in LAYOUTS:
        values = random_array(geometry.shape, np.float32)
        values = values if layout == "channels_first" else channels_last(values)
        x = guarded(values.shape, np.float32, at_end=at_end)
        x[...] = values
        for family in ("max_pool", "avg_pool"):
            call = functools.partial(
                getattr(pooling, f"{family}{geometry.dimensions}d"), **geometry.windows, layout=layout
            )
            expected = call(values)
            out = guarded(expected.shape, np.float32, at_end=at_end)
            assert_same_bytes(call(x, out=out), expected)
            back = functools.partial(
                getattr(pooling, f"{family}{geometry.dimensions}d_backward"),
                **geometry.windows,
                layout=layout,
            )
            gradient = guarded(expected.shape, np.float32, at_end=at_end)
            gradient[...] = random_array(expected.shape, np.float32, 1)
            target = guarded(x.shape, np.float32, at_end=at_end)
            assert_same_bytes(back(gradient, x, out=target), back(gradient.copy(), values))
            if family == "max_pool":
                _, found = call(x, return_indices=True)
                indices = guarded(found.shape, np.int64, at_end=at_end)
                indices[...] = found
                assert_same_bytes(back(gradient, x, indices=indices, out=target), back(gradient.copy(), values))


def test_the_guard_is_no_ordinary_memory(guarded: Callable[..., Array]) -> None:
    """The arrays of these tests really do touch the end of a page."""
    x = guarded((3,), np.float32)
    assert (x.ctypes.data + x.nbytes) % mmap.PAGESIZE == 0
    assert guarded((3,), np.float32, at_end=False).ctypes.data % mmap.PAGESIZE == 0
