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
from tests.conftest import (
    AVERAGED,
    CORE,
    FLOATS,
    HALVES,
    INTEGERS,
    LAYOUTS,
    LYING,
    PATHS,
    Array,
    Geometry,
    array_shapes,
    assert_same,
    assert_same_bytes,
    assert_within,
    channels_last,
    dtype_of,
    positive_array,
    random_array,
    rounding_error,
    small_array,
    special_arrays,
    window_arguments,
)

NAN, INF = math.nan, math.inf
SUMS = [name for name, operator in CORE.items() if operator.reducer == "total"]
CHOICES = [name for name in CORE if name not in SUMS]
# Dtypes whose calls are drawn together.
GROUPS = {"float32": ("float32",), "float64": ("float64",), "halves": HALVES, "integers": INTEGERS, "bool": ("bool",)}
CALLS = [
    pytest.param(name, function, dtypes, id=f"{function}-{group}")
    for name, operator in CORE.items()
    for function in operator.functions
    for group, names in GROUPS.items()
    if (dtypes := [dtype for dtype in operator.dtypes if dtype in names])
]


# --- arguments that each operator understands ------------------------------------------------------------------


def sliding(dimensions: int, **extras: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    more = st.fixed_dictionaries({}, optional=extras)
    return st.builds(lambda windows, rest: windows | rest, window_arguments(dimensions), more)


def extreme_arguments(dimensions: int) -> st.SearchStrategy[dict[str, Any]]:
    return sliding(dimensions, nan=st.sampled_from(["propagate", "ignore"]))


def average_arguments(dimensions: int) -> st.SearchStrategy[dict[str, Any]]:
    return sliding(
        dimensions,
        count_include_pad=st.booleans(),
        divisor_override=st.sampled_from([1, 3, -4, 0.5, 0.1, np.float32(7), np.int64(9)]),
        rounding=st.sampled_from(["half_even", "half_up", "floor", "trunc"]),
    )


def adaptive_arguments(dimensions: int) -> st.SearchStrategy[dict[str, Any]]:
    one = st.none() | st.integers(1, 9)
    return st.fixed_dictionaries({"output_size": st.integers(0, 9) | st.none() | st.tuples(*[one] * dimensions)})


def rank_alone(dimensions: int) -> st.SearchStrategy[dict[str, Any]]:
    return st.just({"dimensions": dimensions})


ARGUMENTS: dict[str, Callable[[int], st.SearchStrategy[dict[str, Any]]]] = {
    "max_pool": extreme_arguments,
    "min_pool": extreme_arguments,
    "avg_pool": average_arguments,
    "adaptive_max_pool": adaptive_arguments,
    "adaptive_avg_pool": adaptive_arguments,
    "global_max_pool": rank_alone,
    "global_avg_pool": rank_alone,
}


def test_every_operator_and_every_dtype_is_tested_here() -> None:
    assert ARGUMENTS.keys() == CORE.keys()
    known = {dtype for dtypes in GROUPS.values() for dtype in dtypes}
    for operator in CORE.values():
        assert known.issuperset(operator.dtypes)


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a call returns, or the kind of error that it raises."""
    try:
        return function(*args, **kwargs)
    except (TypeError, ValueError) as error:
        return type(error)


def allowed_error(name: str, function: str, x: Array, arguments: dict[str, Any], exact: Array) -> Array:
    """Bound the error of an average: so many roundings, relative to the average of the magnitudes.

    n numbers can be added in any order with n - 1 roundings on the way of each, and the division is one more, or two
    as a product with a rounded reciprocal. In float32 at most 8 are made, which is 4 units of 2**-23; beyond that sums
    are float64.
    """
    magnitudes = np.where(np.isfinite(x), np.abs(x.astype(np.float64)), 0)
    if "divisor_override" in arguments:
        arguments = arguments | {"divisor_override": abs(float(arguments["divisor_override"]))}
    with np.errstate(all="ignore"):
        mean = np.nan_to_num(getattr(reference, function)(magnitudes, **arguments))
    if name == "avg_pool":
        kernel = arguments["kernel_size"]
        taps = math.prod(kernel if isinstance(kernel, tuple) else (kernel,) * (x.ndim - 1))
    else:
        taps = math.prod(x.shape)
    return rounding_error(x.dtype.name, 8 if x.dtype.name == "float32" else taps + 1, mean, exact)


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
        assert_within(result, exact, allowed_error(name, function, x, arguments, exact))
    if CORE[name].indices:
        values, indices = call(x, **arguments, return_indices=True)
        _, expected_indices = twin(x, **arguments, return_indices=True)
        assert_same(values, expected)
        assert_same(indices, expected_indices)


@pytest.mark.parametrize(("name", "function", "dtypes"), CALLS)
@given(data=st.data())
def test_any_call_answers_as_the_reference(name: str, function: str, dtypes: list[str], data: st.DataObject) -> None:
    one_for_all = not CORE[name].dimensions
    dtype = data.draw(st.sampled_from(dtypes), label="dtype")
    layout = data.draw(st.sampled_from(LAYOUTS), label="layout")
    dimensions = data.draw(st.integers(1, 3), label="dimensions") if one_for_all else int(function[-2])
    arguments = data.draw(ARGUMENTS[name](dimensions), label="arguments") | {"layout": layout}
    shape = data.draw(array_shapes(dimensions, layout, batched=True if one_for_all else None), label="shape")
    values = data.draw(special_arrays(dtype, shape, summed=name in SUMS), label="values")
    lying = data.draw(st.sampled_from(sorted(LYING)), label="lying")
    assert_answers_as_the_reference(name, function, LYING[lying](values), arguments)


# --- every way through the kernels --------------------------------------------------------------------------------


def patterned(shape: tuple[int, ...]) -> Array:
    """Numbers that every float dtype can hold, of which many tie; a few of them NaN or infinite."""
    random = np.random.default_rng(0)
    x = random.integers(-64, 65, shape) / 4
    for value in (NAN, INF, -INF):
        x[random.random(x.shape) < 0.01] = value
    return x


def flags(shape: tuple[int, ...]) -> Array:
    return (np.random.default_rng(0).random(shape) < 0.1).astype(np.float64)


def maxima(path: str, x: Array, **keywords: Any) -> tuple[Array, Array]:
    geometry = PATHS[path]
    twin = getattr(reference, geometry.function("max_pool"))
    result: tuple[Array, Array] = twin(x, **geometry.windows, return_indices=True, **keywords)
    return result


def assert_best(family: str, path: str, dtype: str, x: Array, values: Array, found: Array, **keywords: Any) -> None:
    """Hold one family against known values and indices, in both layouts, with and without indices."""
    geometry = PATHS[path]
    call = functools.partial(getattr(pooling, geometry.function(family)), **geometry.windows, **keywords)
    for layout, lay in (("channels_first", np.copy), ("channels_last", channels_last)):
        array, expected = lay(x).astype(dtype_of(dtype)), lay(values).astype(dtype_of(dtype))
        assert_same(call(array, layout=layout), expected)
        result, indices = call(array, layout=layout, return_indices=True)
        assert_same(result, expected)
        assert_same(indices, lay(found))


@pytest.mark.parametrize("nan", ["propagate", "ignore"])
@pytest.mark.parametrize("path", PATHS)
def test_maximum_and_minimum_by_every_path(path: str, nan: str) -> None:
    geometry = PATHS[path]
    x, for_all = geometry.make(patterned)
    if geometry.adaptive and nan == "ignore":
        # The reference has this rule for sliding windows only; without NaN there is nothing to ignore.
        x = np.where(np.isnan(x), 3, x)
        values, found = maxima(path, x)
    else:
        values, found = maxima(path, x, **({} if geometry.adaptive else {"nan": nan}))
    x, values, found = map(for_all, (x, values, found))
    for dtype in FLOATS:
        assert_best("max_pool", path, dtype, x, values, found, nan=nan)
        if not geometry.adaptive:
            assert_best("min_pool", path, dtype, -x, -values, found, nan=nan)


@pytest.mark.parametrize("path", [path for path, geometry in PATHS.items() if "padding" in geometry.windows])
def test_padding_never_wins_over_elements_as_good(path: str) -> None:
    """In a window of nothing but the least value, the first element wins."""
    for least, dtypes in ((-INF, ("float16", "float32")), (0.0, ("uint8", "bool"))):
        x, for_all = PATHS[path].make(np.full, least)
        values, found = maxima(path, x)
        values[found < 0] = least
        x, values, found = map(for_all, (x, values, found))
        for dtype in dtypes:
            assert_best("max_pool", path, dtype, x, values, found)


@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
@pytest.mark.parametrize("width", [64, 65, 66, 129, 257])
def test_every_column_of_long_windows_counts(width: int, dtype: str) -> None:
    """Among random numbers the largest of a long window is seldom in its last column, and here it always is."""
    x = np.broadcast_to(np.arange(width), (1, 1, 40, width)).astype(dtype)
    highest = np.minimum(np.arange(width + 18 - 19) + 10, width - 1)
    result = pooling.max_pool2d(x, (33, 20), 1, (16, 9))
    assert_same(result, np.broadcast_to(highest, result.shape).astype(dtype))
    assert_same(pooling.min_pool2d(-x, (33, 20), 1, (16, 9)), -result)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
@pytest.mark.parametrize("kernel_size", [31, 4095, 4096, 4097, 5000, 8192])
def test_long_runs_end_where_they_should(kernel_size: int, dtype: str) -> None:
    x = np.arange(11000).astype(dtype).reshape(1, 1, -1)
    for values, sign in ((x, 1), (-x, -1)):
        pool = pooling.max_pool1d if sign > 0 else pooling.min_pool1d
        expected = sign * (np.arange(0, 11001 - kernel_size, 2999) + kernel_size - 1)
        np.testing.assert_array_equal(pool(values, kernel_size, 2999)[0, 0], expected)


@pytest.mark.parametrize("path", PATHS)
def test_maximum_and_minimum_of_integers_and_bool_by_every_path(path: str) -> None:
    """A window without an element is the smallest number for a maximum, the largest for a minimum."""
    geometry = PATHS[path]
    x, for_all = geometry.make(small_array)
    values, found = maxima(path, x)
    x, values, found = map(for_all, (x, values, found))
    values[found < 0] = 0
    for dtype in INTEGERS:
        # float64 does not hold the limits, so they come in afterwards.
        best = np.where(found < 0, np.iinfo(dtype).min, values.astype(dtype))
        assert_best("max_pool", path, dtype, x, best, found)
        if not geometry.adaptive:
            best = np.where(found < 0, np.iinfo(dtype).max, (100 - values).astype(dtype))
            assert_best("min_pool", path, dtype, 100 - x, best, found)
    x, for_all = geometry.make(flags)
    x, values, found = map(for_all, (x, *maxima(path, x)))
    assert_best("max_pool", path, "bool", x, values > 0, found)
    if not geometry.adaptive:
        assert_best("min_pool", path, "bool", 1 - x, values <= 0, found)


@pytest.mark.parametrize(("path", "count_include_pad"), AVERAGED)
def test_the_average_by_every_path(path: str, count_include_pad: bool) -> None:
    geometry = PATHS[path]
    keywords = geometry.windows if count_include_pad else {**geometry.windows, "count_include_pad": False}
    call = functools.partial(getattr(pooling, geometry.function("avg_pool")), **keywords)
    twin = functools.partial(getattr(reference, geometry.function("avg_pool")), **keywords)
    mixed, for_all = geometry.make(random_array)
    small, _ = geometry.make(small_array)
    mixed, exact, small, small_exact = map(for_all, (mixed, twin(mixed), small, twin(small)))
    # No mean of magnitudes is larger than the largest of them, and that of positive numbers is their mean.
    largest = np.full(exact.shape, np.abs(mixed).max())
    for layout, lay in (("channels_first", np.copy), ("channels_last", channels_last)):
        for dtype in ("float32", "float64"):
            roundings = 8 if dtype == "float32" else geometry.taps + 1
            allowed = rounding_error(dtype, roundings, largest, exact)
            assert_within(call(lay(mixed).astype(dtype), layout=layout), lay(exact), lay(allowed))
        for dtype in FLOATS:
            result = call(lay(small).astype(dtype_of(dtype)), layout=layout)
            assert result.dtype == dtype_of(dtype)
            assert_within(result, lay(small_exact), lay(rounding_error(dtype, 8, small_exact, small_exact)))
        for dtype in INTEGERS:
            array = lay(small).astype(dtype)
            if np.isnan(small_exact).any():
                with pytest.raises(ValueError):
                    call(array, layout=layout)
            else:
                assert_same(call(array, layout=layout), lay(np.rint(small_exact)).astype(dtype))


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
    assert pooling.global_avg_pool(constant, dimensions=1).item() == np.float32(0.1)
    assert pooling.avg_pool1d(constant, 2**22).item() == np.float32(0.1)


@pytest.mark.parametrize("size", [1, 3, 4, 49, 196, 3136, 12544])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_global_average_of_positive_float32_is_within_4_units(layout: str, size: int) -> None:
    x = positive_array((2, 3, size), np.float32)
    given = x if layout == "channels_first" else channels_last(x)
    result = pooling.global_avg_pool(given, dimensions=1, layout=layout)
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
        assert np.isnan(pooling.global_max_pool(x, dimensions=1)).all(), place
        assert np.isnan(pooling.avg_pool1d(x, size)).all(), place


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ignored_nan_leaves_the_others_and_only_nan_leaves_nan(layout: str) -> None:
    x = line(NAN, 1, -INF, NAN, NAN, NAN)
    x = x if layout == "channels_first" else channels_last(x)
    values, indices = pooling.max_pool1d(x, 2, nan="ignore", return_indices=True, layout=layout)
    np.testing.assert_array_equal(values.ravel(), [1, -INF, NAN])
    np.testing.assert_array_equal(indices.ravel(), [1, 2, 4])
    np.testing.assert_array_equal(pooling.max_pool1d(x, 2, nan="ignore", layout=layout), values)
    assert pooling.global_max_pool(x, dimensions=1, nan="ignore", layout=layout).item() == 1


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


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("taps", [2, 9, 100, 5000])
def test_an_average_of_the_largest_numbers_is_that_number_or_infinite_where_the_sum_overflows(
    dtype: str, taps: int
) -> None:
    largest = dtype_of(dtype).type(2.0**127 * (2 - 2.0**-7) if dtype == "bfloat16" else np.finfo(dtype).max)
    result = pooling.avg_pool1d(np.full((1, 1, taps), largest), taps).item()
    # It is held in float32; that of bfloat16, too, but its largest numbers are as large.
    fits = dtype == "float16"
    assert float(result) == (float(largest) if fits else math.inf)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("taps", [2, 9, 100, 5000])
def test_an_average_of_the_largest_integers_is_that_integer(dtype: str, taps: int) -> None:
    for extreme in (np.iinfo(dtype).max, np.iinfo(dtype).min):
        x = np.full((1, 1, taps), extreme, dtype)
        assert pooling.avg_pool1d(x, taps).item() == extreme
        assert pooling.global_avg_pool(x, dimensions=1).item() == extreme
        assert pooling.adaptive_avg_pool1d(x, 1).item() == extreme


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        # The means are 0.5, 1.5, 2.5, 0.75, -0.5, -1.5, -0.75 and 3.
        ("half_even", [0, 2, 2, 1, 0, -2, -1, 3]),
        ("half_up", [1, 2, 3, 1, 0, -1, -1, 3]),
        ("floor", [0, 1, 2, 0, -1, -2, -1, 3]),
        ("trunc", [0, 1, 2, 0, 0, -1, 0, 3]),
    ],
)
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
def test_integer_averages_are_rounded_as_asked(rounding: str, expected: list[int], dtype: str) -> None:
    sums = np.array([2, 6, 10, 3, -2, -6, -3, 12])
    x = np.zeros((1, 1, 4 * sums.size), dtype)
    x[0, 0, ::4] = sums
    assert pooling.avg_pool1d(x, 4, rounding=rounding).ravel().tolist() == expected
    if rounding == "half_even":
        assert pooling.avg_pool1d(x, 4).ravel().tolist() == expected
        assert pooling.adaptive_avg_pool1d(x, sums.size).ravel().tolist() == expected
    shares = x.reshape(1, sums.size, 4)
    assert pooling.global_avg_pool(shares, dimensions=1, rounding=rounding).ravel().tolist() == expected


def quotients(sums: Array, divisor: int, rounding: str) -> Array:
    """Divide whole numbers in integers alone."""
    floor, rest = np.divmod(sums, divisor)
    if rounding == "floor":
        return floor
    if rounding == "trunc":
        return floor + ((sums < 0) & (rest > 0))
    return floor + ((2 * rest > divisor) | ((2 * rest == divisor) & ((rounding == "half_up") | (floor % 2 == 1))))


@pytest.mark.parametrize("rounding", ["half_even", "half_up", "floor", "trunc"])
@pytest.mark.parametrize(("dtype", "taps"), [("uint8", 128), ("int8", 128), ("uint16", 1), ("int16", 1)])
def test_every_sum_of_small_integers_is_divided_exactly(dtype: str, taps: int, rounding: str) -> None:
    limits = np.iinfo(dtype)
    sums = np.arange(taps * int(limits.min), taps * int(limits.max) + 1)
    x = (sums[:, None] + np.arange(taps)) // taps
    assert (x.sum(1) == sums).all()
    windows = x.astype(dtype)[None]
    # The last one is no float.
    for divisor in (1, 2, 3, 4, 6, 7, 9, 49, 100, 128, 129, 256, 1000, 32768, 65535, 2**24 + 1, 2**53 - 1):
        expected = np.clip(quotients(sums, divisor, rounding), limits.min, limits.max)
        arguments: dict[str, Any] = {"divisor_override": divisor, "rounding": rounding}
        np.testing.assert_array_equal(pooling.avg_pool1d(windows, taps, 1, **arguments)[0, :, 0], expected)
        columns = np.ascontiguousarray(windows.transpose(0, 2, 1))
        np.testing.assert_array_equal(
            pooling.avg_pool1d(columns, taps, 1, **arguments, layout="channels_last")[0, 0], expected
        )


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("taps", [127, 128, 129, 255, 256, 257, 2**15 - 1, 2**15, 2**15 + 1])
def test_sums_of_integers_do_not_overflow(dtype: str, taps: int) -> None:
    limits = np.iinfo(dtype)
    for extreme in (int(limits.min), int(limits.max)):
        x = np.full((1, 2, taps), extreme, dtype)
        x[0, 1, 0] = extreme + 1 if extreme <= 0 else extreme - 1
        for function, array in ((pooling.avg_pool1d, x), (pooling.avg_pool2d, np.repeat(x[:, :, None], 2, 2))):
            window = taps if array.ndim == 3 else (1, taps)
            mean = function(array, window, 1, rounding="floor").reshape(2, -1)
            assert (mean[0] == extreme).all()
            assert (mean[1] == (extreme if extreme <= 0 else extreme - 1)).any()


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
@pytest.mark.parametrize("rows", [1, 2])
def test_every_element_of_a_run_counts_once(dtype: str, rows: int) -> None:
    # Runs are cut into lanes, halves of those and single elements: each length is cut otherwise.
    for length in range(1, 130):
        x = np.zeros((1, length, rows, length), dtype_of(dtype))
        x[0, np.arange(length), 0, np.arange(length)] = 1
        taken = pooling.avg_pool2d(x, (rows, length), divisor_override=1)
        np.testing.assert_array_equal(taken.ravel().astype(np.float64), 1, str(length))


@pytest.mark.parametrize("dtype", HALVES)
def test_every_half_is_read_and_every_sum_of_two_is_rounded_as_numpy_does(dtype: str) -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(dtype_of(dtype))
    for apart in (0, 1, 100, 5000, 30000):
        pairs = np.stack([halves, np.roll(halves, apart)], -1)
        with np.errstate(all="ignore"):
            sums = pairs.astype(np.float32).sum(-1)
            for divisor in (1.0, 2.0, 3.0, 2.0**-7, 2.0**12):
                expected = (sums / np.float32(divisor)).astype(halves.dtype)
                for width in (2, 14, 2**16):
                    rows = pairs.ravel()[: pairs.size // width * width].reshape(1, -1, width)
                    result = pooling.avg_pool1d(rows, 2, divisor_override=divisor).ravel()
                    assert_same(result, expected[: result.size])


@pytest.mark.parametrize("function", [name for operator in CORE.values() for name in operator.functions])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("empty", ["batch", "channels"])
def test_an_empty_batch_or_no_channels_make_an_empty_result(function: str, layout: str, empty: str) -> None:
    dimensions = int(function[-2]) if function.endswith("d") else 2
    batch, channels = (0, 3) if empty == "batch" else (2, 0)
    spatial = (4,) * dimensions
    first = layout == "channels_first"
    shape = (batch, channels, *spatial) if first else (batch, *spatial, channels)
    arguments = () if function.startswith("global") else (2,)
    result = getattr(pooling, function)(np.zeros(shape, np.float32), *arguments, layout=layout)
    pooled = (2,) * dimensions if arguments else (1,) * dimensions
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


@pytest.mark.parametrize("path", [path for path in PATHS if PATHS[path].dimensions < 3])
def test_fewer_dimensions_are_more_dimensions_with_axes_of_one(path: str) -> None:
    shape, windows = PATHS[path]
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
        flat = getattr(pooling, PATHS[path].function(family))(x, **windows)
        deep = getattr(pooling, Geometry(deeper.shape, windows).function(family))(deeper, **higher)
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
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_no_kernel_reads_or_writes_beyond_narrow_planes(
    guarded: Callable[..., Array], dtype: str, planes: int, at_end: bool
) -> None:
    for width in range(1, 41):
        x = guarded((1, planes, 5, width), dtype, at_end=at_end)
        x[...] = small_array(x.shape, width)
        for kernel, stride, padding in [((3, 3), 2, 1), ((2, 2), 2, 0), ((3, 3), 1, 1), ((1, 1), 1, 0), ((2, 1), 3, 0)]:
            if width < kernel[1] - 2 * padding:
                continue
            highest = windowed(x, kernel, stride, padding, 0).max(axis=(-1, -2))
            out = guarded(highest.shape, dtype, at_end=at_end)
            np.testing.assert_array_equal(pooling.max_pool2d(x, kernel, stride, padding, out=out), highest)
            means = windowed(x.astype(np.float64), kernel, stride, padding, 0).mean(axis=(-1, -2))
            pooling.avg_pool2d(x, kernel, stride, padding, out=out)
            np.testing.assert_allclose(out, np.rint(means) if dtype == "uint8" else means, rtol=2.0**-10)


@pytest.mark.parametrize("at_end", [True, False], ids=["at_the_end", "at_the_beginning"])
@pytest.mark.parametrize("path", PATHS)
def test_no_kernel_reads_or_writes_beyond_its_arrays(guarded: Callable[..., Array], path: str, at_end: bool) -> None:
    geometry = PATHS[path]
    for layout in LAYOUTS:
        values = random_array(geometry.shape, np.float32)
        values = values if layout == "channels_first" else channels_last(values)
        x = guarded(values.shape, np.float32, at_end=at_end)
        x[...] = values
        for family in ("max_pool", "avg_pool"):
            call = functools.partial(getattr(pooling, geometry.function(family)), **geometry.windows, layout=layout)
            expected = call(values)
            out = guarded(expected.shape, np.float32, at_end=at_end)
            assert_same_bytes(call(x, out=out), expected)
            back = functools.partial(
                getattr(pooling, f"{geometry.function(family)}_backward"), **geometry.windows, layout=layout
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


@pytest.mark.parametrize("at_end", [True, False], ids=["at_the_end", "at_the_beginning"])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_argmaxes_among_pixels_of_few_channels_are_those_of_planes(
    guarded: Callable[..., Array], dtype: str, at_end: bool
) -> None:
    for channels in (1, 2, 3, 4, 5, 7, 8, 9, 17, 31, 32, 33):
        planes = small_array((2, channels, 5, 11), channels).astype(dtype)
        x = guarded((2, 5, 11, channels), dtype, at_end=at_end)
        x[...] = channels_last(planes)
        for arguments in ((2, 2), (3, 2, 1), (2, (1, 3), 1), ((1, 4), (2, 5)), (3, (3, 2), 1, 2), (1, 2)):
            expected, named = pooling.max_pool2d(planes, *arguments, ceil_mode=True, return_indices=True)
            made, found = pooling.max_pool2d(x, *arguments, ceil_mode=True, layout="channels_last", return_indices=True)
            np.testing.assert_array_equal(made, channels_last(expected))
            np.testing.assert_array_equal(found, channels_last(named))


def test_the_guard_is_no_ordinary_memory(guarded: Callable[..., Array]) -> None:
    """The arrays of these tests really do touch the end of a page."""
    x = guarded((3,), np.float32)
    assert (x.ctypes.data + x.nbytes) % mmap.PAGESIZE == 0
    assert guarded((3,), np.float32, at_end=False).ctypes.data % mmap.PAGESIZE == 0
