"""Sliding filters against scipy.ndimage, and against windows taken out of the array one by one."""

import itertools
import math
import subprocess
import sys
import tracemalloc
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pooling
from pooling import filters

try:
    from scipy import ndimage
except ImportError:
    ndimage = None
beside_scipy = pytest.mark.skipif(ndimage is None, reason="scipy is not installed")

FILTERS = ("uniform_filter", "maximum_filter", "minimum_filter")
MORPHOLOGY = ("grey_erosion", "grey_dilation", "grey_opening", "grey_closing")
DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")


def beyond(cell, length, mode):
    """Which cell an index means: inside, or what lies there beyond the border; None is the constant."""
    if 0 <= cell < length:
        return cell
    if mode in ("constant", "grid-constant"):
        return None
    if mode == "nearest":
        return 0 if cell < 0 else length - 1
    if mode in ("wrap", "grid-wrap"):
        return cell % length
    while not 0 <= cell < length:
        if mode == "mirror":
            if length == 1:
                return 0
            cell = -cell if cell < 0 else 2 * (length - 1) - cell
        else:
            cell = -1 - cell if cell < 0 else 2 * length - 1 - cell
    return cell


def windows(array, size, mode, cval, origin):
    """Yield the place of each element with the list of what is in its window."""
    for place in np.ndindex(array.shape):
        ranges = [
            range(at - length // 2 - shift, at - length // 2 - shift + length)
            for at, length, shift in zip(place, size, origin, strict=True)
        ]
        values = []
        for cells in itertools.product(*ranges):
            inside = tuple(beyond(*each) for each in zip(cells, array.shape, mode, strict=True))
            values.append(cval if None in inside else array[inside].item())
        yield place, values


def literal(kind, array, size, mode, cval, origin):
    """The result of a filter, window by window; means in exact fractions."""
    result = np.empty(array.shape, array.dtype)
    for place, values in windows(array, size, mode, cval, origin):
        if any(value != value for value in values):
            result[place] = np.nan
        elif kind == "maximum_filter":
            result[place] = max(values)
        elif kind == "minimum_filter":
            result[place] = min(values)
        elif any(abs(value) == np.inf for value in values):
            with np.errstate(invalid="ignore"):
                result[place] = np.sum(np.array(values)) / len(values)
        else:
            result[place] = float(sum(map(Fraction, values)) / len(values))
    return result


def assert_equal(kind, one, other):
    assert one.dtype == other.dtype
    assert one.shape == other.shape
    if kind.startswith("uniform") and one.dtype.kind == "f":
        np.testing.assert_allclose(one, other, rtol=2e-6 if one.dtype == np.float32 else 1e-12, atol=1e-5)
    else:
        np.testing.assert_array_equal(one, other)


@st.composite
def calls(draw, most_axes=4):
    dimensions = draw(st.integers(1, most_axes))
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 5, 9, 14]), min_size=dimensions, max_size=dimensions)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    array = random.integers(0 if dtype.kind == "u" else -100, 120, shape).astype(dtype)
    axes = tuple(draw(st.permutations(range(dimensions))))[: draw(st.integers(1, dimensions))]
    size = [draw(st.sampled_from([1, 2, 3, 4, 5, 7, 12])) for _ in axes]
    origin = [draw(st.integers(-(length // 2), (length - 1) // 2)) for length in size]
    mode = [draw(st.sampled_from(sorted(filters.MODES))) for _ in axes]
    return array, {
        "size": size,
        "origin": origin if draw(st.booleans()) else 0,
        "mode": mode,
        "cval": draw(st.sampled_from([0, 1, 7, 100, 2.5])),
        "axes": axes,
    }


@beside_scipy
@settings(max_examples=150, deadline=None)
@given(calls(), st.sampled_from(FILTERS), st.sampled_from([None, np.float32, np.float64, np.int32]))
def test_filters_equal_those_of_scipy(call, name, output):
    array, arguments = call
    assert_equal(
        name,
        getattr(filters, name)(array, output=output, **arguments),
        getattr(ndimage, name)(array, output=output, **arguments),
    )


@beside_scipy
@settings(max_examples=80, deadline=None)
@given(calls(most_axes=3), st.sampled_from(MORPHOLOGY))
def test_morphology_equals_that_of_scipy(call, name):
    array, arguments = call
    # scipy takes one mode for all axes there, and axes that are named in order.
    arguments |= {"mode": arguments["mode"][0], "axes": None, "cval": 7}
    rest = array.ndim - len(arguments["size"])
    arguments["size"] = (*arguments["size"], *[1] * rest)
    if arguments["origin"] != 0:
        arguments["origin"] = [*arguments["origin"], *[0] * rest]
    assert_equal(name, getattr(filters, name)(array, **arguments), getattr(ndimage, name)(array, **arguments))


@settings(max_examples=60, deadline=None)
@given(calls(most_axes=2), st.sampled_from(FILTERS), st.floats(0, 0.3), st.integers(0, 2**32))
def test_special_values_stay_in_the_windows_that_hold_them(call, name, share, seed):
    array, arguments = call
    random = np.random.default_rng(seed)
    array = array.astype(np.float64)
    array[random.random(array.shape) < share] = np.nan
    array[random.random(array.shape) < share] = np.inf
    size, mode, origin = [1] * array.ndim, ["reflect"] * array.ndim, [0] * array.ndim
    for place, axis in enumerate(arguments["axes"]):
        size[axis], mode[axis] = arguments["size"][place], arguments["mode"][place]
        origin[axis] = 0 if arguments["origin"] == 0 else arguments["origin"][place]
    expected = literal(name, array, size, mode, arguments["cval"], origin)
    assert_equal(name, getattr(filters, name)(array, **arguments), expected)


@beside_scipy
@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("size", [3, 31, 101])
@pytest.mark.parametrize("mode", sorted(filters.MODES))
def test_pictures_equal_those_of_scipy(name, size, mode):
    random = np.random.default_rng(size)
    for array in (
        random.standard_normal((240, 330)).astype(np.float32),
        random.integers(0, 256, (240, 330), np.uint8),
        random.integers(0, 65536, (130, 240, 3), np.uint16),
    ):
        arguments = {"size": size, "mode": mode, "cval": 40, "axes": (0, 1)}
        expected = getattr(ndimage, name)(array, **arguments)
        if array.dtype == np.float32 and name == "uniform_filter":
            expected = getattr(ndimage, name)(array.astype(np.float64), **arguments).astype(np.float32)
            of_magnitudes = ndimage.uniform_filter(np.abs(array).astype(np.float64), **arguments)
            # A short axis is a pass of its own; the last term is the rounding of what is expected.
            passes = sum(8 * (size - 1) > length for length in array.shape) or 1
            allowed = 4 * passes * 2.0**-23 * of_magnitudes + 2.0**-24 * np.abs(expected)
            assert (np.abs(getattr(filters, name)(array, **arguments) - expected) <= allowed).all()
        else:
            np.testing.assert_array_equal(getattr(filters, name)(array, **arguments), expected)


@pytest.mark.thread_unsafe(reason="sets what the module holds")
@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([(60, 7), (97, 5, 3), (41, 1, 4, 2)]),
    st.sampled_from(["uint8", "int16", "int64"]),
    st.lists(st.integers(1, 5), min_size=4, max_size=4),
    st.lists(st.integers(-2, 1), min_size=4, max_size=4),
    st.sampled_from(sorted(filters.MODES)),
    st.randoms(use_true_random=False),
)
def test_means_of_a_part_of_the_array_at_a_time(shape, dtype, size, origin, mode, random):
    """Large arrays of integers are filtered on all axes a part at a time; here small ones are."""
    array = np.random.default_rng(random.getrandbits(32)).integers(0, 120, shape).astype(dtype)
    axes = random.sample(range(len(shape)), random.randint(1, len(shape)))
    arguments = {
        "size": [size[axis] for axis in axes],
        "origin": [max(-(size[axis] // 2), min(origin[axis], (size[axis] - 1) // 2)) for axis in axes],
        "mode": mode,
        "cval": 3,
        "axes": tuple(axes),
    }
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(filters, "BAND_BYTES", 1 << 40)
        expected = filters.uniform_filter(array, **arguments)
        patched.setattr(filters, "BAND_BYTES", array.nbytes // 8)
        np.testing.assert_array_equal(filters.uniform_filter(array, **arguments), expected)


@pytest.mark.thread_unsafe(reason="counts the memory of all threads")
def test_windows_longer_than_the_first_axis_need_no_more_memory():
    """The part of an array that is filtered on all axes is small, or the array is filtered an axis at a time."""
    array = np.ones((3, 1000, 1000), np.uint8)
    tracemalloc.start()
    try:
        made = filters.uniform_filter(array, (301, 3, 3))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (made == 1).all()
    assert most < 30 * array.nbytes  # 301 + 2 planes would be 100 times as large


@pytest.mark.parametrize("mode", ["wrap", "mirror", "reflect"])
def test_borders_that_come_back_often_are_copied_at_once(mode, monkeypatch):
    """A loop over each time that a border comes back took minutes."""
    monkeypatch.setattr(filters, "_straight_runs", None)
    array = np.random.default_rng(0).integers(0, 99, (2, 10)).astype(np.uint8)
    for name in FILTERS:
        made = getattr(filters, name)(array, (101, 1), mode=mode)
        small = getattr(filters, name)(array, (101, 1), mode=mode, axes=(0, 1), output=np.int64)
        np.testing.assert_array_equal(made, small)


@beside_scipy
def test_one_nan_reaches_no_farther_than_its_windows():
    array = np.ones((9, 9), np.float32)
    array[4, 4] = np.nan
    for name in FILTERS:
        expected = np.zeros((9, 9), bool)
        expected[3:6, 3:6] = True
        np.testing.assert_array_equal(np.isnan(getattr(filters, name)(array, 3)), expected)
    # What scipy makes of it, which is why the rule is worth a sentence.
    assert np.isnan(ndimage.uniform_filter(array, 3)).sum() > 9


def test_a_mean_does_not_drift_along_a_line():
    array = np.zeros(200_000, np.float32)
    array[:100] = 1e8
    array[100:] = 1.0
    assert (filters.uniform_filter1d(array, 5)[200:] == 1).all()


# ---------------------------------------------------------------------------------------------------------------------
# Cases of scipy's own tests, as numbers

GRID = [[3, 2, 5, 1, 4], [7, 6, 9, 3, 5], [5, 8, 3, 7, 1]]
PUBLISHED = [
    ("uniform_filter1d", [2, 4, 6], {"size": 2, "origin": -1}, [3, 5, 6]),
    ("uniform_filter", [1, 2, 3], {"size": [1]}, [1, 2, 3]),
    ("uniform_filter", [2, 4, 6], {"size": [2]}, [2, 3, 5]),
    ("uniform_filter", [[4, 8, 12], [16, 20, 24]], {"size": [2, 2]}, [[4, 6, 10], [10, 12, 16]]),
    ("minimum_filter", [1, 2, 3, 4, 5], {"size": [2]}, [1, 1, 2, 3, 4]),
    ("minimum_filter", [1, 2, 3, 4, 5], {"size": [3]}, [1, 1, 2, 3, 4]),
    ("minimum_filter", [3, 2, 5, 1, 4], {"size": [2]}, [3, 2, 2, 1, 1]),
    ("minimum_filter", [3, 2, 5, 1, 4], {"size": [3]}, [2, 2, 1, 1, 1]),
    ("minimum_filter", GRID, {"size": [2, 3]}, [[2, 2, 1, 1, 1], [2, 2, 1, 1, 1], [5, 3, 3, 1, 1]]),
    (
        "minimum_filter",
        GRID,
        {"footprint": [[1, 1, 1], [1, 1, 1]]},
        [[2, 2, 1, 1, 1], [2, 2, 1, 1, 1], [5, 3, 3, 1, 1]],
    ),
    ("maximum_filter", [1, 2, 3, 4, 5], {"size": [2]}, [1, 2, 3, 4, 5]),
    ("maximum_filter", [1, 2, 3, 4, 5], {"size": [3]}, [2, 3, 4, 5, 5]),
    ("maximum_filter", [3, 2, 5, 1, 4], {"size": [2]}, [3, 3, 5, 5, 4]),
    ("maximum_filter", [3, 2, 5, 1, 4], {"size": [3]}, [3, 5, 5, 5, 4]),
    ("maximum_filter", GRID, {"size": [2, 3]}, [[3, 5, 5, 5, 4], [7, 9, 9, 9, 5], [8, 9, 9, 9, 7]]),
    (
        "maximum_filter",
        GRID,
        {"footprint": [[1, 1, 1], [1, 1, 1]]},
        [[3, 5, 5, 5, 4], [7, 9, 9, 9, 5], [8, 9, 9, 9, 7]],
    ),
    *(
        (f"{kind}_filter1d", list(range(10)), {"size": 5} | arguments, expected)
        for kind, arguments, expected in (
            ("minimum", {"mode": "reflect"}, [0, 0, 0, 1, 2, 3, 4, 5, 6, 7]),
            ("maximum", {"mode": "reflect"}, [2, 3, 4, 5, 6, 7, 8, 9, 9, 9]),
            ("minimum", {"mode": "constant", "cval": -1}, [-1, -1, 0, 1, 2, 3, 4, 5, -1, -1]),
            ("maximum", {"mode": "constant", "cval": 10}, [10, 10, 4, 5, 6, 7, 8, 9, 10, 10]),
            ("minimum", {"mode": "nearest"}, [0, 0, 0, 1, 2, 3, 4, 5, 6, 7]),
            ("maximum", {"mode": "nearest"}, [2, 3, 4, 5, 6, 7, 8, 9, 9, 9]),
            ("minimum", {"mode": "wrap"}, [0, 0, 0, 1, 2, 3, 4, 5, 0, 0]),
            ("maximum", {"mode": "wrap"}, [9, 9, 4, 5, 6, 7, 8, 9, 9, 9]),
        )
    ),
]


@pytest.mark.parametrize(("name", "array", "arguments", "expected"), PUBLISHED)
@pytest.mark.parametrize("dtype", DTYPES)
def test_published_numbers(name, array, arguments, expected, dtype):
    if arguments.get("cval") == -1 and np.dtype(dtype).kind == "u":
        dtype = "int64"
    result = getattr(filters, name)(np.array(array, dtype), **arguments)
    np.testing.assert_array_equal(result, np.array(expected, dtype))


EXTENDED = {
    "nearest": ([1, 1, 2], [3, 3, 3, 3, 3]),
    "wrap": ([3, 1, 2], [3, 1, 2, 3, 1]),
    "reflect": ([1, 1, 2], [3, 3, 2, 1, 1]),
    "mirror": ([2, 1, 2], [3, 2, 1, 2, 3]),
    "constant": ([0, 1, 2], [3, 0, 0, 0, 0]),
}


@pytest.mark.parametrize("mode", EXTENDED)
def test_what_lies_beyond_borders(mode):
    """A window of one cell beside its element, by a footprint: what scipy's tests read by correlate1d."""
    before, after = EXTENDED[mode]
    array = np.array([1, 2, 3])
    np.testing.assert_array_equal(filters.maximum_filter(array, footprint=[1, 0, 0], mode=mode), before)
    far = filters.maximum_filter(array, footprint=[0] * 8 + [1], origin=0, mode=mode)
    np.testing.assert_array_equal(far, [beyond_value(array, at + 4, mode) for at in range(3)])
    row = [beyond_value(array, 2 + step, mode) for step in range(5)]
    np.testing.assert_array_equal(row, after)


def beyond_value(array, cell, mode):
    place = beyond(cell, len(array), mode)
    return 0 if place is None else array[place]


# ---------------------------------------------------------------------------------------------------------------------
# Arguments


@pytest.mark.parametrize("name", [*FILTERS, *MORPHOLOGY])
def test_arrays_of_any_kind(name):
    function = getattr(filters, name)
    array = np.arange(35, dtype=np.float32).reshape(5, 7) % 11
    expected = function(array, 3)
    np.testing.assert_allclose(function(array.tolist(), 3, output=np.float32), expected, rtol=1e-6)
    np.testing.assert_array_equal(function(np.asfortranarray(array), 3), expected)
    np.testing.assert_array_equal(function(array.astype(">f4"), 3), expected)
    np.testing.assert_allclose(function(array[::-1, ::-1], 3), expected[::-1, ::-1], rtol=1e-6)
    for threads in (1, 2):
        with pooling.threads(threads):
            np.testing.assert_array_equal(function(array, 3), expected)
    assert function(np.zeros((0, 3)), 3).shape == (0, 3)
    assert function(np.array(3.0), 3) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a narrow picture is no picture with colours
        function(np.zeros((64, 64, 3), np.float32), 2)


@pytest.mark.parametrize("name", FILTERS)
def test_output(name):
    function = getattr(filters, name)
    array = np.random.default_rng(0).integers(0, 99, (12, 15)).astype(np.float32)
    expected = function(array, 3)
    out = np.empty_like(array)
    assert function(array, 3, output=out) is out
    np.testing.assert_array_equal(out, expected)
    strided = np.zeros((12, 30), np.float64)[:, ::2]
    assert function(array, 3, output=strided) is strided
    np.testing.assert_allclose(strided, expected, rtol=1e-6)
    for dtype in ("float64", np.float64, np.dtype(np.float64)):
        assert function(array, 3, output=dtype).dtype == np.float64
    inside = array.copy()
    assert function(inside, 3, output=inside) is inside
    np.testing.assert_array_equal(inside, expected)


@beside_scipy
def test_bool():
    array = np.array([[True, True, False, True, True]])
    np.testing.assert_array_equal(filters.maximum_filter(array, (1, 3)), [[True] * 5])
    np.testing.assert_array_equal(filters.minimum_filter(array, (1, 3)), [[True, False, False, False, True]])
    np.testing.assert_array_equal(filters.uniform_filter(array, (1, 3)), ndimage.uniform_filter(array, (1, 3)))
    means = filters.uniform_filter(array, (1, 3), output=np.float64)
    np.testing.assert_allclose(means, ndimage.uniform_filter(array, (1, 3), output=np.float64))


@pytest.mark.parametrize("shape", [(20, 23), (200, 230), (6, 9), (60, 5)])
@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_integer_means_are_rounded_once_where_asked(shape, dtype):
    array = np.random.default_rng(1).integers(0 if dtype == "uint8" else -99, 120, shape).astype(dtype)
    extended = np.pad(array.astype(np.int64), 2, mode="symmetric")
    exact = np.lib.stride_tricks.sliding_window_view(extended, (5, 5)).sum((2, 3))
    for rounding, expected in (
        ("floor", exact // 25),
        ("trunc", np.sign(exact) * (abs(exact) // 25)),
        ("half_up", (2 * exact + 25) // 50),
        ("half_even", np.rint(exact / 25)),
    ):
        np.testing.assert_array_equal(filters.uniform_filter(array, 5, rounding=rounding), expected)


ROUNDED = {
    "floor": math.floor,
    "trunc": math.trunc,
    "half_up": lambda value: math.floor(value + Fraction(1, 2)),
    "half_even": round,
}


@st.composite
def rounded_calls(draw):
    """Of axes that are pooled one after another, with numbers whose sums are beyond 64 bits, and with constants."""
    dimensions = draw(st.integers(2, 4))
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=dimensions, max_size=dimensions)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES[:-2])))
    least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    numbers = [least, least + 1, most, most - 1, 0, 1, 5]
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    array = np.array([numbers[at] for at in random.integers(0, len(numbers), math.prod(shape))], dtype).reshape(shape)
    if draw(st.booleans()):
        array = random.integers(0, 9, shape).astype(dtype)
    size = draw(st.lists(st.integers(1, 4), min_size=dimensions, max_size=dimensions))
    origin = [draw(st.integers(-(length // 2), (length - 1) // 2)) for length in size]
    mode = draw(st.lists(st.sampled_from(sorted(filters.MODES)), min_size=dimensions, max_size=dimensions))
    return array, size, mode, draw(st.sampled_from(numbers)), origin


@settings(max_examples=150, deadline=None)
@given(rounded_calls(), st.sampled_from(sorted(ROUNDED)))
def test_means_that_are_rounded_once_are_exact(call, rounding):
    array, size, mode, cval, origin = call
    expected = np.empty(array.shape, array.dtype)
    for place, values in windows(array, size, mode, cval, origin):
        expected[place] = ROUNDED[rounding](Fraction(sum(values), len(values)))
    made = filters.uniform_filter(array, size, mode=mode, cval=cval, origin=origin, rounding=rounding)
    np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize("cval", [0, 3, 2**62 + 1])
@pytest.mark.parametrize("rounding", sorted(ROUNDED))
def test_windows_of_many_more_elements_than_the_array(rounding, cval):
    """So many that a sum of 64 bits would hold none of them."""
    random = np.random.default_rng(0)
    array = random.integers(2**62, 2**63, (2, 3, 2))
    size = (2**16, 2**17, 2**3)
    inside = sum(map(int, array.ravel()))
    cells = math.prod(size)
    expected = ROUNDED[rounding](Fraction(inside + (cells - array.size) * cval, cells))
    made = filters.uniform_filter(array, size, mode="constant", cval=cval, rounding=rounding)
    np.testing.assert_array_equal(made, np.full(array.shape, expected))


def test_constants_of_64_bits_are_what_they_are():
    for cval in (2**63 - 1, 2**53 + 1):
        for name in ("uniform_filter", "maximum_filter"):
            made = getattr(filters, name)(np.full(3, cval), 3, mode="constant", cval=cval)
            np.testing.assert_array_equal(made, np.full(3, cval))
    made = filters.minimum_filter(np.full(3, 2**64 - 1, np.uint64), 3, mode="constant", cval=2**64 - 1)
    np.testing.assert_array_equal(made, np.full(3, 2**64 - 1, np.uint64))


def test_half_precision():
    array = np.random.default_rng(1).standard_normal((20, 23)).astype(np.float16)
    wide = array.astype(np.float32)
    np.testing.assert_array_equal(filters.maximum_filter(array, 5), filters.maximum_filter(wide, 5))
    np.testing.assert_allclose(filters.uniform_filter(array, 5), filters.uniform_filter(wide, 5), atol=2e-3)


@beside_scipy
def test_windows_much_longer_than_their_axis():
    array = np.random.default_rng(1).integers(0, 99, (3, 4)).astype(np.float64)
    for mode, name in itertools.product(filters.MODES, FILTERS):
        arguments = {"size": (41, 1001), "mode": mode, "cval": 50}
        expected = getattr(ndimage, name)(array, **arguments)
        np.testing.assert_allclose(getattr(filters, name)(array, **arguments), expected, rtol=1e-12)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("mode", ["reflect", "wrap", "constant"])
@pytest.mark.thread_unsafe(reason="counts the memory of all threads")
def test_memory(name, mode):
    """A result, and slabs of a window and a half at each border."""
    array = np.zeros((1500, 1500), np.float32)
    function = getattr(filters, name)
    function(array[:200, :200], 31, mode=mode, cval=3)
    tracemalloc.start()
    try:
        result = function(array, 31, mode=mode, cval=3)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    slabs = 4 * 45 * 1530 * array.itemsize
    assert peak < result.nbytes + 2 * slabs


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        (
            "maximum_filter",
            {"size": 0},
            "maximum_filter: size=0 must be at least 1 on axis 0, not 0; use 1 for an axis that stays as it is",
        ),
        (
            "uniform_filter",
            {"size": (3, -2)},
            "uniform_filter: size=(3, -2) must be at least 1 on axis 1, not -2; use 1 for an axis that stays as it is",
        ),
        (
            "minimum_filter",
            {"size": True},
            "minimum_filter: size=True must be an integer or one for each axis, not bool",
        ),
        (
            "uniform_filter",
            {"size": 2.5},
            "uniform_filter: size=2.5 must be an integer or one for each axis, not float",
        ),
        (
            "uniform_filter",
            {"size": (3, 3, 3)},
            "uniform_filter: size=(3, 3, 3) must have one entry per axis that is filtered, 2 and not 3; give one "
            "entry for all axes or one for each",
        ),
        (
            "maximum_filter",
            {},
            "maximum_filter: neither size nor footprint says how large windows are; give size",
        ),
        (
            "maximum_filter",
            {"size": 3, "mode": "grid_wrap"},
            "maximum_filter: mode='grid_wrap' must be one of 'reflect', 'constant', 'nearest', 'mirror', 'wrap', "
            "'grid-mirror', 'grid-constant', 'grid-wrap'",
        ),
        (
            "maximum_filter",
            {"size": 3, "origin": 2},
            "maximum_filter: origin=2 must be between -1 and 1 for a window of 3 on axis 0, not 2; use 0 for a "
            "window around its element",
        ),
        (
            "maximum_filter",
            {"size": 3, "axes": 2},
            "maximum_filter: axes=2 names axis 2 of an array of 2 axes",
        ),
        (
            "maximum_filter",
            {"size": 3, "axes": (0, -2)},
            "maximum_filter: axes=(0, -2) names an axis twice; name each axis once",
        ),
        (
            "maximum_filter",
            {"footprint": [[0, 1, 0], [1, 1, 1], [0, 1, 0]]},
            "maximum_filter: footprint of shape (3, 3) covers 5 cells that are no rectangle; give size for a "
            "rectangle, or use scipy.ndimage for other forms",
        ),
        (
            "maximum_filter",
            {"footprint": [[0, 0]]},
            "maximum_filter: footprint covers no cell; cover one at least",
        ),
        (
            "maximum_filter",
            {"footprint": [1, 1]},
            "maximum_filter: footprint has 1 axis, and 2 of the input are filtered; give it one axis for each of these",
        ),
        (
            "grey_opening",
            {"structure": [[0, 1]]},
            "grey_opening: structure of shape (1, 2) is not flat: it holds other heights than 0; give size or "
            "footprint for a flat one, or use scipy.ndimage",
        ),
        (
            "minimum_filter",
            {"size": 3, "mode": "constant", "cval": -1},
            "minimum_filter: cval=-1 must be between 0 and 255, the numbers of uint8; give the array another dtype",
        ),
        (
            "maximum_filter",
            {"size": 3, "mode": "constant", "cval": np.nan},
            "maximum_filter: cval=nan must be a number, since uint8 has no NaN",
        ),
        (
            "uniform_filter",
            {"size": 3, "mode": "constant", "cval": np.inf},
            "uniform_filter: cval=inf must be finite, since uint8 has no inf",
        ),
        (
            "uniform_filter1d",
            {"size": 3, "mode": "constant", "cval": np.nan},
            "uniform_filter1d: cval=nan must be finite, since uint8 has no nan",
        ),
        (
            "maximum_filter",
            {"size": 3, "output": np.zeros((2, 2))},
            "maximum_filter: output has shape (2, 2), the input (5, 6)",
        ),
        (
            "maximum_filter",
            {"size": 3, "output": "float17"},
            "maximum_filter: output='float17' must be a dtype, an array or None, not str",
        ),
        (
            "uniform_filter",
            {"size": 3, "rounding": "up"},
            "uniform_filter: rounding='up' must be one of 'half_even', 'half_up', 'floor', 'trunc'",
        ),
        (
            "uniform_filter",
            {"size": 3, "rounding": "floor", "mode": "constant", "cval": 300},
            "uniform_filter: cval=300 must be between 0 and 255, the numbers of uint8; give the array another dtype",
        ),
        (
            "uniform_filter",
            {"size": 2**28 - 9, "rounding": "floor"},
            "uniform_filter: windows of 72057589206089809 elements are too large for sums of 64 bits, and "
            "36028797018963968 are the most",
        ),
        (
            "uniform_filter",
            {"size": 2**40},
            "uniform_filter: the window of 1099511627776 on axis 0 makes lines of 1099511627781 elements with "
            "their borders, and 268435456 are the most; use a smaller window",
        ),
    ],
)
def test_sentences(name, arguments, sentence):
    with pytest.raises((ValueError, TypeError)) as caught:
        getattr(filters, name)(np.zeros((5, 6), np.uint8), **arguments)
    assert str(caught.value).startswith(sentence)


def test_what_is_no_array_of_numbers_is_refused():
    for array, sentence in (
        (np.zeros(3, complex), "maximum_filter: input has dtype complex128, which is not accepted"),
        (np.array(["a"]), "maximum_filter: input has dtype str"),
        (
            np.ma.masked_array([1.0], [True]),
            "maximum_filter: input is a masked array, whose mask would be ignored; fill its masked elements, as by "
            "input.filled(0), or for a maximum by the smallest number",
        ),
        (None, "maximum_filter: input is None; give an array of numbers"),
    ):
        with pytest.raises(TypeError) as caught:
            filters.maximum_filter(array, 3)
        assert str(caught.value).startswith(sentence)
    out = np.zeros(3)
    out.flags.writeable = False
    with pytest.raises(ValueError) as caught:
        filters.maximum_filter([1.0, 2.0, 3.0], 3, output=out)
    assert str(caught.value) == "maximum_filter: output is read-only; give an array that can be written to"


@pytest.mark.parametrize(
    "name", ["maximum_filter", "minimum_filter", "grey_erosion", "grey_dilation", "grey_opening", "grey_closing"]
)
def test_a_footprint_goes_before_size(name):
    with pytest.warns(UserWarning, match="ignoring size because footprint is set") as warned:
        result = getattr(filters, name)([1, 5, 2], 3, footprint=[1])
    np.testing.assert_array_equal(result, [1, 5, 2])
    assert [each.filename for each in warned] == [__file__]  # where the call is, not where the warning is made


@pytest.mark.parametrize("name", ["dask", "xarray", "zarr"])
def test_modules_of_the_extra_say_what_to_install(name):
    code = (
        f"import sys; sys.modules['{name}'] = None\n"
        f"try:\n    import pooling.{name}\nexcept ModuleNotFoundError as error:\n    print(error)\n"
        "import pooling.filters"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ended.stdout == (
        f'pooling.{name} needs {name}, which is not installed; run pip install "ndpooling[images]"\n'
    )


@pytest.mark.parametrize("name", ["uniform_filter1d", "maximum_filter1d", "minimum_filter1d"])
def test_filters_of_one_axis_name_their_argument(name):
    with pytest.raises(ValueError, match=f"{name}: axis=5 names axis 5 of an array of 2 axes"):
        getattr(filters, name)(np.ones((2, 2)), 3, axis=5)


def test_an_output_that_raises_is_refused():
    class Raising:
        def __getattr__(self, name):
            raise RuntimeError(name)

    for name in FILTERS:
        with pytest.raises(TypeError, match=rf"^{name}: output=.* must be a dtype, an array or None, not Raising"):
            getattr(filters, name)(np.ones((4, 4)), 3, output=Raising())
    for name in ("grey_erosion", "grey_dilation", "grey_opening", "grey_closing"):
        for argument in ("footprint", "structure"):
            for value in (Raising(), np.array([["a"]]), [[1], [1, 2]]):
                with pytest.raises((TypeError, ValueError), match=rf"^{name}: {argument} "):
                    getattr(filters, name)(np.ones((4, 4)), **{argument: value})
    with pytest.raises(TypeError, match=r"^block_reduce: dtype=.* must be a dtype"):
        pooling.block_reduce(np.ones((4, 4)), 2, dtype=Raising())
