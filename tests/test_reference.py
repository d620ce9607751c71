"""The oracle against numbers worked by hand, numerical differentiation, torch where torch is right, and more.

`reference.py` is loaded by its path: it needs nothing of the package, so it runs before anything is built. Where
there is no checkout, it is that of the installed package.
"""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import json
import math
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[1] / "pooling" / "reference.py"
if not PATH.exists():
    PATH = Path(next(iter(importlib.util.find_spec("pooling").submodule_search_locations)), "reference.py")
SPEC = importlib.util.spec_from_file_location("pooling_reference", PATH)
assert SPEC is not None
assert SPEC.loader is not None
ref = importlib.util.module_from_spec(SPEC)
sys.modules["pooling_reference"] = ref
SPEC.loader.exec_module(ref)

NAN, INF = math.nan, math.inf
FLOATS = ["float16", "float32", "float64"]
INTEGERS = sorted(ref.INTEGERS)
RANKS = {1: (9,), 2: (6, 7), 3: (5, 4, 6)}


def bfloat16():
    return pytest.importorskip("ml_dtypes").bfloat16


def line(*values, dtype=float):
    """One 1-D map of one channel, without a batch axis."""
    return np.array([values], dtype)


def distinct(shape, dtype=np.float64):
    """Values of both signs, no two alike and none near zero, so that nothing has a kink nearby."""
    size = math.prod(shape)
    values = np.random.default_rng(size).permutation(size) - size // 2 + 0.5
    return (values / 4).reshape(shape).astype(dtype)


def equal(result, *values):
    """The result is the line of these values; the dtype is checked elsewhere."""
    np.testing.assert_array_equal(np.asarray(result, np.result_type(result, np.float64))[0], values)


# --- numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
def test_nearest_rounds_as_numpy_does_from_float64(dtype):
    random = np.random.default_rng(0)
    values = random.standard_normal(2000) * 2.0 ** random.integers(-160, 140, 2000)
    with np.errstate(over="ignore"):
        expected = values.astype(dtype)
    np.testing.assert_array_equal([ref.nearest(float(v), np.dtype(dtype)) for v in values], expected)


def test_nearest_rounds_once_where_going_through_float64_rounds_twice():
    value = 1 + Fraction(1, 2**24) + Fraction(1, 2**80)  # just above the middle of two float32 numbers
    assert np.float32(float(value)) == 1
    assert ref.nearest(value, np.dtype("float32")) == 1 + 2.0**-23


@pytest.mark.parametrize("dtype", FLOATS)
def test_nearest_at_both_ends_of_the_range(dtype):
    info = np.finfo(dtype)
    largest, tiniest = Fraction(float(info.max)), Fraction(float(info.smallest_subnormal))
    half = (largest - Fraction(float(np.nextafter(info.max, info.dtype.type(0))))) / 2
    assert ref.nearest(largest + half - Fraction(1, 10**400), info.dtype) == largest
    assert ref.nearest(-(largest + half), info.dtype) == -INF
    assert ref.nearest(tiniest / 2, info.dtype) == 0
    assert ref.nearest(tiniest / 2 + Fraction(1, 10**400), info.dtype) == tiniest


def test_nearest_knows_bfloat16():
    dtype = np.dtype(bfloat16())
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    np.testing.assert_array_equal([ref.nearest(float(v), dtype) for v in values], values.astype(dtype).astype(float))


def test_sums_are_exact():
    assert ref.exact_sum([1e308, 1e308, -1e308, 1.0, 1e-300, -1e308]) == 1 + Fraction(1e-300)
    assert ref.exact_sum([]) == 0
    assert math.isnan(ref.exact_sum([INF, 1.0, -INF]))
    assert ref.exact_sum([INF, 1.0]) == INF


# --- geometry -----------------------------------------------------------------------------------------------


def shape(sizes, *args, **kwargs):
    return tuple(len(axis.windows) for axis in ref.sliding(sizes, *args, **kwargs))


def test_output_size_of_the_textbook():
    assert shape((7,), 2, 2) == (3,)
    assert ref.global_avg_pool(np.ones((2, 5, 7, 7))).reshape(2, -1).shape == (2, 5)


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_output_size_counts_the_positions_one_by_one(ceil_mode):
    cases = itertools.product(range(1, 12), range(1, 5), range(1, 6), range(3), range(3), range(1, 4))
    for size, kernel, stride, begin, end, dilation in cases:
        effective = dilation * (kernel - 1) + 1
        if max(begin, end) >= effective:
            continue
        last = size + end - 1  # of the padded positions
        # A whole window ends there at the latest; the ceiling lets it end beyond that by less than a stride,
        # but it must not start in the padding at the end.
        late = stride - 1 if ceil_mode else 0
        expected = [s for s in range(-begin, size, stride) if s + effective - 1 <= last + late]
        if not expected:
            with pytest.raises(ValueError, match="kernel_size"):
                ref.sliding((size,), kernel, stride, ((begin, end),), dilation, ceil_mode)
            continue
        axes = ref.sliding((size,), kernel, stride, ((begin, end),), dilation, ceil_mode)
        offsets = range(0, effective, dilation)
        assert [list(window) for window in axes[0].windows] == [
            [start + offset for offset in offsets if start + offset <= last] for start in expected
        ]


def test_ceil_mode_drops_the_window_that_would_start_in_the_padding():
    assert shape((5, 5), 3, 3, 1, ceil_mode=True) == (2, 2)
    assert shape((9,), 2, 5, ceil_mode=True) == (2,)
    assert shape((5,), 2, 2, ceil_mode=True) == (3,)
    assert shape((6,), 3, 2, "valid", ceil_mode=True) == (3,)


def test_output_size_below_one_names_the_axis_and_the_smallest_input():
    with pytest.raises(ValueError, match=r"on axis W of size 2; it needs an input of at least 3"):
        shape((5, 2), 3, 1)
    with pytest.raises(ValueError, match="at least 1"):
        shape((0,), 2, 1, 1)
    with pytest.raises(ValueError, match="at least 5"):
        shape((4,), 7, 3, ceil_mode=True)
    assert shape((5,), 7, 3, ceil_mode=True) == (1,)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"dilation": 2**62, "kernel_size": 5}, "dilation"),
        ({"dilation": 2**62, "kernel_size": 3}, "dilation"),
        ({"dilation": 2**31 - 1, "kernel_size": 3}, "kernel_size"),
        ({"kernel_size": 2**63 - 1}, "kernel_size"),
        ({"kernel_size": 2**63}, "kernel_size"),
        ({"kernel_size": 2**32 + 2}, "kernel_size"),
        ({"kernel_size": 2**32 - 10}, "kernel_size"),
        ({"kernel_size": 2**62 + 1, "padding": 2**62}, "padding"),
        ({"kernel_size": 2, "stride": 2**64}, "stride"),
    ],
)
def test_overflow_names_the_argument(arguments, name):
    with pytest.raises(ValueError, match=name):
        ref.max_pool1d(np.ones((1, 1, 4)), **arguments)


def test_huge_stride_is_no_overflow():
    equal(ref.max_pool1d(line(1, 2, 3), 2, 2**62), 2)
    equal(ref.max_pool1d(line(1, 2, 3), 2, 2**62, ceil_mode=True), 2)
    equal(ref.max_pool1d(line(1, 2, 3), 2**62, ceil_mode=True), 3)


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (1, [(1, 1), (1, 1)]),
        ((1, 0), [(1, 1), (0, 0)]),
        ([(0, 1), (2, 0)], [(0, 1), (2, 0)]),
        ("valid", [(0, 0), (0, 0)]),
        ("same", [(0, 1), (1, 1)]),
        ("same_upper", [(0, 1), (1, 1)]),
        ("same_lower", [(1, 0), (1, 1)]),
    ],
)
def test_every_form_of_padding(padding, expected):
    axes = ref.sliding((6, 7), 3, 2, padding)
    assert [(axis.begin, axis.end) for axis in axes] == expected


def test_padding_must_be_smaller_than_the_effective_kernel():
    assert shape((4,), 3, 1, 4, dilation=2) == (8,)
    with pytest.raises(
        ValueError, match=r"padding=\(2, 2\) must be smaller than the effective kernel size 2 on axis H"
    ):
        shape((4, 4), 2, 1, (2, 2))
    with pytest.raises(ValueError, match="padding <= 4"):
        shape((4,), 3, 1, 5, dilation=2)
    with pytest.raises(ValueError, match="axis L"):
        shape((4,), 2, 1, ((0, 2),))


@pytest.mark.parametrize("mode", ["same", "same_upper", "same_lower"])
def test_same_gives_the_ceiling_of_size_over_stride_with_the_effective_kernel(mode):
    for size, kernel, stride, dilation in itertools.product(range(1, 9), range(1, 4), range(1, 5), range(1, 4)):
        assert shape((size,), kernel, stride, mode, dilation) == (-(-size // stride),)
        assert shape((size,), kernel, stride, mode, dilation, True) == (-(-size // stride),)


def test_same_lower_puts_the_odd_cell_first():
    equal(ref.max_pool1d(line(1, 2, 3, 4, 5, 6), 3, 2, "same_lower"), 2, 4, 6)
    equal(ref.max_pool1d(line(1, 2, 3, 4, 5, 6), 3, 2, "same_upper"), 3, 5, 6)


def test_adaptive_windows_use_integers_only():
    (axis,) = ref.adaptive((10,), 3)
    assert axis.windows == [range(0, 4), range(3, 7), range(6, 10)]
    (axis,) = ref.adaptive((4,), 6)
    assert axis.windows == [range(0, 1), range(0, 2), range(1, 2), range(2, 3), range(2, 4), range(3, 4)]
    (axis,) = ref.adaptive((5,), None)
    assert axis.windows == [range(i, i + 1) for i in range(5)]


# --- max and min --------------------------------------------------------------------------------------------

BOOK = np.array([[1, 3, 2, 1], [5, 6, 7, 8], [4, 2, 1, 3], [10, 14, 12, 16]], float)


def test_max_pool_of_the_textbook():
    output, indices = ref.max_pool2d(BOOK[None, None], 2, 2, return_indices=True)
    np.testing.assert_array_equal(output[0, 0], [[6, 8], [14, 16]])
    np.testing.assert_array_equal(indices[0, 0], [[5, 7], [13, 15]])
    assert indices.dtype == np.int64


def test_min_pool_of_the_textbook():
    output, indices = ref.min_pool2d(BOOK[None, None], 2, 2, return_indices=True)
    np.testing.assert_array_equal(output[0, 0], [[1, 1], [2, 1]])
    np.testing.assert_array_equal(indices[0, 0], [[0, 3], [9, 10]])


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("pool", ["max_pool2d", "min_pool2d", "adaptive_max_pool2d"])
def test_nan_propagates_wherever_it_stands(pool, position):
    x = np.array([5.0, 2, 3, 4])
    x[position] = NAN
    size = 1 if "adaptive" in pool else 2
    output, indices = getattr(ref, pool)(x.reshape(1, 2, 2), size, return_indices=True)
    assert np.isnan(output).all()
    assert indices.item() == position


def test_nan_index_is_the_first_nan():
    output, indices = ref.max_pool1d(line(1, NAN, 9, NAN), 4, return_indices=True)
    equal(output, NAN)
    equal(indices, 1)


def test_nan_ignore_skips_nan_but_a_window_of_nan_only_is_nan():
    output, indices = ref.max_pool1d(line(NAN, 2, NAN, 1, NAN, NAN), 2, return_indices=True, nan="ignore")
    equal(output, 2, 1, NAN)
    equal(indices, 1, 3, 4)
    equal(ref.min_pool1d(line(NAN, 2, 1, NAN), 4, nan="ignore"), 1)


def test_a_window_of_minus_infinity_is_minus_infinity():
    output, indices = ref.max_pool1d(line(-INF, -INF, -INF), 2, 1, 1, return_indices=True)
    equal(output, *[-INF] * 4)
    equal(indices, 0, 0, 1, 2)


def test_ties_go_to_the_first_in_row_major_order():
    indices = ref.max_pool2d(np.array([[[0.0, 7, 7], [7, 1, 1]]]), 2, 1, return_indices=True)[1]
    np.testing.assert_array_equal(indices[0], [[1, 1]])
    assert ref.max_pool1d(line(0.0, -0.0), 2, return_indices=True)[1].item() == 0
    assert ref.max_pool1d(line(-0.0, 0.0), 2, return_indices=True)[1].item() == 0


@pytest.mark.parametrize(
    ("dtype", "largest", "smallest"),
    [
        ("float32", INF, -INF),
        ("float16", INF, -INF),
        ("int8", 127, -128),
        ("uint16", 65535, 0),
        ("int64", 2**63 - 1, -(2**63)),
        ("bool", True, False),
    ],
)
def test_a_window_without_any_element(dtype, largest, smallest):
    x = np.ones((1, 1), dtype)  # dilation 4 and padding 2 leave the taps at -2 and 2 beside a single element
    for pool, value in ((ref.max_pool1d, smallest), (ref.min_pool1d, largest)):
        output, indices = pool(x, 2, 1, 2, 4, return_indices=True)
        assert output.dtype == dtype
        assert output.item() == value
        assert indices.item() == -1
    if dtype == "float32":
        grad = ref.max_pool1d_backward(np.ones((1, 1), dtype), x, 2, 1, 2, 4)
        np.testing.assert_array_equal(grad, [[0]])
        grad = ref.max_pool1d_backward(np.ones((1, 1), dtype), x, 2, 1, 2, 4, indices=np.array([[-1]]))
        np.testing.assert_array_equal(grad, [[0]])


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, "bool"])
def test_max_and_min_keep_every_dtype(dtype):
    x = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 100, (2, 3, 5, 6)).astype(dtype)
    blocks = x[:, :, :4].reshape(2, 3, 2, 2, 3, 2)
    assert ref.max_pool2d(x, 2).dtype == dtype
    np.testing.assert_array_equal(ref.max_pool2d(x, 2), blocks.max((3, 5)))
    np.testing.assert_array_equal(ref.min_pool2d(x, 2), blocks.min((3, 5)))
    np.testing.assert_array_equal(ref.global_max_pool(x), x.max((2, 3), keepdims=True))


def test_max_of_bool_is_or_and_min_is_and():
    x = line(False, False, False, True, True, True, dtype=bool)
    equal(ref.max_pool1d(x, 2), False, True, True)
    equal(ref.min_pool1d(x, 2), False, False, True)


def test_max_takes_bfloat16_and_other_byte_orders():
    x = np.arange(8.0).reshape(1, 8)
    for dtype in (bfloat16(), ">f4", ">i8"):
        output = ref.max_pool1d(x.astype(dtype), 2)
        assert output.dtype == np.dtype(dtype).newbyteorder("=")
        equal(output.astype(float), 1, 3, 5, 7)


def test_int64_is_compared_as_integers():
    equal(ref.max_pool1d(line(2**53, 2**53 + 1, dtype=np.int64), 2) - 2**53, 1)


def test_max_gradient_goes_to_the_named_element_nan_and_ties_included():
    grad = np.array([[1.0, 10.0, 100.0]])
    equal(ref.max_pool1d_backward(grad, line(2, 2, 1, NAN, NAN, 5), 2), 1, 0, 0, 10, 100, 0)
    equal(ref.max_pool1d_backward(grad, line(0, 9, 9, 0, 0, 0), 4, 1), 0, 11, 100, 0, 0, 0)
    equal(
        ref.min_pool1d_backward(grad, line(2, 2, 1, NAN, NAN, 5), 2, nan="ignore"),
        1,
        0,
        10,
        0,
        0,
        100,
    )


def test_given_indices_are_believed():
    grad = ref.max_pool1d_backward(line(1.0, 10.0), line(4, 3, 2, 1), 2, indices=line(3, 3, dtype=np.int64))
    equal(grad, 0, 0, 0, 11)


@pytest.mark.parametrize("index", [4, -2, 10**7, 10**12, -(10**12)])
def test_an_index_out_of_range_is_refused(index):
    with pytest.raises(ValueError, match="indices has"):
        ref.max_pool1d_backward(line(1.0, 1.0), line(4, 3, 2, 1), 2, indices=line(0, index, dtype=np.int64))


# --- average ------------------------------------------------------------------------------------------------


def test_count_include_pad_counts_declared_padding_but_nothing_beyond():
    x = np.arange(1.0, 17.0).reshape(1, 1, 4, 4)
    expected = [[14 / 9, 30 / 9, 12 / 6], [57 / 9, 99 / 9, 36 / 6], [27 / 6, 45 / 6, 16 / 4]]
    output = ref.avg_pool2d(x, 3, 2, 1, ceil_mode=True)
    np.testing.assert_allclose(output[0, 0], expected, rtol=1e-15)
    equal(ref.avg_pool1d(line(1, 2, 3, 4, 5), 3, 2, ((0, 1),), True), 2, 4, 2.5)


def test_count_exclude_pad():
    equal(ref.avg_pool1d(line(1, 2, 3, 4, 5), 3, 2, 1, count_include_pad=False), 1.5, 3, 4.5)
    equal(ref.avg_pool1d(line(1, 2, 3, 4, 5), 3, 2, 1), 1, 3, 3)


def test_dilated_average_counts_only_taps_in_input_and_padding():
    equal(ref.avg_pool1d(line(*range(1, 11)), 3, 3, 1, True, dilation=2), 2, 5, 8, 4.5)


def test_divisor_override_divides_every_window():
    equal(ref.avg_pool1d(line(1, 2, 3, 4, 5), 3, 2, 1, True, divisor_override=2), 1.5, 4.5, 4.5)
    equal(ref.avg_pool1d(line(1, 2, 3, 4), 2, divisor_override=-0.5), -6, -14)
    equal(ref.avg_pool1d(line(1, 2), 2, 1, 2, dilation=4, count_include_pad=False, divisor_override=2), 0, 0)


@pytest.mark.parametrize(
    ("divisor", "error"),
    [
        (0, ValueError),
        (NAN, ValueError),
        (INF, ValueError),
        ("2", TypeError),
        (True, TypeError),
        (1j, TypeError),
    ],
)
def test_divisor_override_must_be_finite_and_not_zero(divisor, error):
    with pytest.raises(error, match="divisor_override"):
        ref.avg_pool2d(np.ones((1, 1, 4, 4)), 2, divisor_override=divisor)


def test_a_window_without_a_counted_element_is_nan_or_refused():
    arguments = {"kernel_size": 2, "stride": 1, "padding": 2, "dilation": 4, "count_include_pad": False}
    equal(ref.avg_pool1d(line(1), **arguments), NAN)
    equal(ref.avg_pool1d_backward(line(1.0), line(1.0), **arguments), 0)
    with pytest.raises(ValueError, match="nothing to count"):
        ref.avg_pool1d(line(1, dtype=np.int32), **arguments)
    with pytest.raises(ValueError, match="nothing to count"):
        ref.avg_pool1d(np.zeros((0, 1, 1), np.int32), **arguments)


@pytest.mark.parametrize("dtype", FLOATS)
def test_average_is_correctly_rounded(dtype):
    x = np.random.default_rng(0).standard_normal((1, 1, 64, 64)).astype(dtype)
    exact = sum(Fraction(float(v)) for v in x.ravel()) / x.size
    result = ref.global_avg_pool(x).item()
    below, above = np.nextafter(np.dtype(dtype).type(result), [-INF, INF], dtype=dtype)
    assert abs(Fraction(result) - exact) <= min(abs(Fraction(float(v)) - exact) for v in (below, above))


@pytest.mark.parametrize("dtype", FLOATS)
def test_average_of_ones_is_one_and_of_the_largest_number_does_not_overflow(dtype):
    assert ref.global_avg_pool(np.ones((1, 1, 300, 300), dtype)).item() == 1
    largest = np.finfo(dtype).max
    assert ref.global_avg_pool(np.full((1, 1, 8), largest, dtype), dimensions=1).item() == largest


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        ("half_even", [0, 2, 2, 1, 0, -2]),
        ("half_up", [1, 2, 3, 1, 0, -1]),
        ("floor", [0, 1, 2, 0, -1, -2]),
        ("trunc", [0, 1, 2, 0, 0, -1]),
    ],
)
def test_integer_average_rounds_as_asked(rounding, expected):
    for mean, value in zip((0.5, 1.5, 2.5, 0.75, -0.5, -1.5), expected, strict=True):
        x = line(*[math.floor(mean)] * 3, round(4 * mean) - 3 * math.floor(mean), dtype=np.int8)
        output = ref.avg_pool1d(x, 4, rounding=rounding)
        assert output.dtype == np.int8
        equal(output, value)
    equal(ref.avg_pool1d(line(1, 0, 1, 2, dtype=np.uint8), 2), 0, 2)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_average_cannot_overflow(dtype):
    info = np.iinfo(dtype)
    assert ref.global_avg_pool(np.full((1, 1, 9), info.max, dtype), dimensions=1).item() == info.max
    assert ref.avg_pool1d(np.full((1, 4), info.min, dtype), 4).item() == info.min


def test_an_integer_that_does_not_fit_saturates():
    equal(ref.avg_pool1d(line(-128, dtype=np.int8), 1, divisor_override=-1), 127)
    equal(ref.avg_pool1d(line(3, dtype=np.uint8), 1, divisor_override=-1), 0)


def test_nan_and_infinity_in_an_average():
    equal(ref.avg_pool1d(line(NAN, 1, INF, 1, INF, -INF), 2), NAN, INF, NAN)


def test_infinite_gradients_take_the_sign_of_the_divisor():
    grad = ref.avg_pool1d_backward(line(INF, NAN), line(0.0, 0.0, 0.0, 0.0), 2, divisor_override=-1e-320)
    equal(grad, -INF, -INF, NAN, NAN)


def test_half_gradients_are_rounded_once():
    x, grad = np.zeros((1, 80)), np.ones((1, 48))
    result = ref.avg_pool1d_backward(grad.astype("float16"), x.astype("float16"), 33, 1)
    assert result[0, 40] == 1
    dtype = bfloat16()
    result = ref.avg_pool1d_backward(grad.astype(dtype), x.astype(dtype), 33, 1)
    assert result.dtype == dtype
    assert result[0, 40] == 1


# --- unpooling and indices ----------------------------------------------------------------------------------


def test_unpool_inverts_the_textbook_pool():
    output, indices = ref.max_pool2d(BOOK[None], 2, return_indices=True)
    expected = np.where(np.isin(BOOK, [6, 8, 14, 16]) & (BOOK != 6) | (BOOK == 6), BOOK, 0)
    np.testing.assert_array_equal(ref.max_unpool2d(output, indices, 2)[0], expected)


def test_unpool_output_size_is_any_that_holds_the_indices():
    x, indices = line(1, 2), line(0, 3, dtype=np.int64)
    equal(ref.max_unpool1d(x, indices, 2), 1, 0, 0, 2)
    equal(ref.max_unpool1d(x, indices, 2, output_size=[5]), 1, 0, 0, 2, 0)
    equal(ref.max_unpool1d(x, indices, 3, 2, ((1, 0),)), 1, 0, 0, 2)
    batch = ref.max_unpool1d(x[None], indices[None], 2, output_size=(1, 1, 5))
    assert batch.shape == (1, 1, 5)
    last = ref.max_unpool1d(
        x[None].swapaxes(1, 2), indices[None].swapaxes(1, 2), 2, output_size=(1, 5, 1), layout="channels_last"
    )
    assert last.shape == (1, 5, 1)
    equal(ref.max_unpool1d(x, indices, 2, output_size=7), 1, 0, 0, 2, 0, 0, 0)
    equal(ref.max_unpool1d(x, indices, 2, output_size=[1, 7]), 1, 0, 0, 2, 0, 0, 0)
    with pytest.raises(ValueError, match="indices has 3"):
        ref.max_unpool1d(x, indices, 2, output_size=2)
    for size in (0, -1, [4, 4, 4, 4], 2**63):
        with pytest.raises(ValueError, match="output_size"):
            ref.max_unpool1d(x, indices, 2, output_size=size)
    with pytest.raises(ValueError, match="cannot become"):
        ref.max_unpool1d(line(1, 2, 3), line(0, 1, 2, dtype=np.int64), 2, 2**62)
    with pytest.raises(ValueError, match="padding"):
        ref.max_unpool1d(x, indices, 2, padding="same")
    with pytest.raises(ValueError, match="size 0"):
        ref.max_unpool1d(np.zeros((1, 0)), np.zeros((1, 0), np.int64), 2)


def test_an_index_written_twice_keeps_the_last_value_and_its_gradient_only():
    x, indices = line(1.0, 2, 3), line(4, 4, 0, dtype=np.int64)
    equal(ref.max_unpool1d(x, indices, 2), 3, 0, 0, 0, 2, 0)
    equal(ref.max_unpool1d_backward(line(1.0, 2, 3, 4, 5, 6), x, indices, 2), 0, 5, 1)


@pytest.mark.parametrize("index", [-1, 4, 10**7, 10**12, -(10**12)])
def test_unpool_refuses_an_index_outside_the_plane(index):
    x, indices = line(1.0, 2.0), line(0, index, dtype=np.int64)
    with pytest.raises(ValueError, match="indices has"):
        ref.max_unpool1d(x, indices, 2)
    with pytest.raises(ValueError, match="indices has"):
        ref.max_unpool1d_backward(np.zeros((1, 4)), x, indices, 2)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_unpool_keeps_integers(dtype):
    output = ref.max_unpool1d(line(7, 9, dtype=dtype), line(1, 2, dtype=np.int64), 2)
    assert output.dtype == dtype
    equal(output, 0, 7, 9, 0)


@pytest.mark.parametrize("n", RANKS)
def test_unpool_equals_torch_and_takes_both_layouts(n):
    torch = pytest.importorskip("torch")
    x = distinct((2, 3, *RANKS[n]))
    pooled, indices = getattr(ref, f"max_pool{n}d")(x, 2, return_indices=True)
    unpool, backward = getattr(ref, f"max_unpool{n}d"), getattr(ref, f"max_unpool{n}d_backward")
    tensor = torch.tensor(pooled, requires_grad=True)
    expected = getattr(torch.nn.functional, f"max_unpool{n}d")(tensor, torch.tensor(indices), 2, output_size=RANKS[n])
    output = unpool(pooled, indices, 2, output_size=RANKS[n])
    np.testing.assert_array_equal(output, expected.detach().numpy())
    grad = distinct(output.shape)
    expected.backward(torch.tensor(grad))
    result = backward(grad, pooled, indices, 2, output_size=RANKS[n])
    np.testing.assert_array_equal(result, tensor.grad.numpy())

    def last(array):
        return np.moveaxis(array, 1, -1)

    keywords = {"output_size": RANKS[n], "layout": "channels_last"}
    np.testing.assert_array_equal(unpool(last(pooled), last(indices), 2, **keywords), last(output))
    np.testing.assert_array_equal(backward(last(grad), last(pooled), last(indices), 2, **keywords), last(result))


def test_index_conventions():
    x = distinct((2, 2, 4, 4))
    x[..., 1, 1] = 100
    indices = ref.max_pool2d(x, 2, return_indices=True)[1]
    onnx = ref.convert_indices(indices, x.shape, source="torch", target="onnx")
    assert (indices[1, 1, 0, 0], onnx[1, 1, 0, 0]) == (5, 53)
    tensorflow = ref.convert_indices(indices, x.shape, source="torch", target="tensorflow")
    assert tensorflow[1, 1, 0, 0] == (1 * 4 + 1) * 2 + 1
    all_of_them = np.arange(6).reshape(1, 1, 2, 3)
    column_major = ref.convert_indices(all_of_them, (1, 1, 2, 3), source="torch", target="onnx_column_major")
    np.testing.assert_array_equal(column_major.ravel(), [0, 2, 4, 1, 3, 5])


@pytest.mark.parametrize("n", RANKS)
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_index_conventions_there_and_back(n, layout):
    x = distinct((2, 3, *RANKS[n]))
    x = np.moveaxis(x, 1, -1) if layout == "channels_last" else x
    indices = getattr(ref, f"max_pool{n}d")(x, 3, 2, 1, return_indices=True, layout=layout)[1]
    indices[0] = -1
    seen = indices
    for one, other in itertools.pairwise(
        ["torch", *itertools.chain(*itertools.permutations(ref.CONVENTIONS, 2)), "torch"]
    ):
        seen = ref.convert_indices(seen, x.shape, source=one, target=other, layout=layout)
    np.testing.assert_array_equal(seen, indices)


def test_an_index_of_another_convention_is_refused():
    x = distinct((2, 2, 4, 4))
    indices = ref.max_pool2d(x, 2, return_indices=True)[1]
    with pytest.raises(ValueError, match="outside map"):
        ref.convert_indices(indices, x.shape, source="onnx", target="torch")
    with pytest.raises(ValueError, match="outside map"):
        ref.convert_indices(np.full((1, 1, 2), 9), (1, 1, 9), source="torch", target="onnx")
    with pytest.raises(ValueError, match="source"):
        ref.convert_indices(indices, x.shape, source="keras", target="torch")
    with pytest.raises(TypeError, match="dtype"):
        ref.convert_indices(indices.astype(np.float32), x.shape, source="torch", target="onnx")
    with pytest.raises(ValueError, match="outside map"):
        ref.convert_indices(np.full((1, 1, 2), 2**64 - 1, np.uint64), (1, 1, 9), source="torch", target="onnx")
    for shape in ((2, 4, 4), (2, 3, 4, 4), (4, 4)):
        with pytest.raises(ValueError, match=r"indices of shape|must have"):
            ref.convert_indices(indices, shape, source="torch", target="onnx")


# --- fractional ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_fractional_windows_are_those_of_torch(n, dtype):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(n)
    numpy_dtype = bfloat16() if dtype == "bfloat16" else dtype
    pool, backward = (
        getattr(ref, f"fractional_max_pool{n}d"),
        getattr(ref, f"fractional_max_pool{n}d_backward"),
    )
    for sizes, kernel, outputs in [((13, 17, 11), 2, (5, 6, 7)), ((9, 8, 7), (3, 2, 1), (2, 6, 1))]:
        sizes, outputs = sizes[:n], outputs[:n]
        kernel = kernel if isinstance(kernel, int) else kernel[:n]
        x = random.permutation(6 * math.prod(sizes)).reshape(2, 3, *sizes).astype(numpy_dtype)
        samples = (random.random((2, 3, n)) * 0.99).astype(numpy_dtype)
        tensor = torch.tensor(x.astype(float), dtype=getattr(torch, dtype))
        expected, named = getattr(torch.nn.functional, f"fractional_max_pool{n}d")(
            tensor,
            kernel,
            output_size=outputs,
            return_indices=True,
            _random_samples=torch.tensor(samples.astype(float), dtype=getattr(torch, dtype)),
        )
        output, indices = pool(x, kernel, outputs, None, True, samples)
        np.testing.assert_array_equal(output.astype(float), expected.double().numpy())
        if dtype == "float64":  # in narrower dtypes elements are equal, and torch does not take the first of them
            np.testing.assert_array_equal(indices, named.numpy())
            grad = distinct(output.shape)
            by_samples = backward(grad, x, kernel, outputs, None, samples)
            np.testing.assert_array_equal(by_samples, backward(grad, x, kernel, outputs, indices=indices))
            assert by_samples.sum() == grad.sum()


def test_fractional_by_ratio_and_by_generator():
    x = distinct((2, 3, 10, 8))
    generator = np.random.default_rng(5)
    output = ref.fractional_max_pool2d(x, 2, output_ratio=(0.5, 0.7), rng=np.random.default_rng(5))
    assert output.shape == (2, 3, 5, 5)
    samples = generator.random((2, 3, 2))
    np.testing.assert_array_equal(output, ref.fractional_max_pool2d(x, 2, (5, 5), _random_samples=samples))
    one = ref.fractional_max_pool2d(x[0], 2, 5, _random_samples=samples[:1])
    np.testing.assert_array_equal(one, output[0])
    last = ref.fractional_max_pool2d(np.moveaxis(x, 1, -1), 2, 5, _random_samples=samples, layout="channels_last")
    np.testing.assert_array_equal(last, np.moveaxis(output, 1, -1))
    assert ref.fractional_max_pool2d(x[:0], 2, 5).shape == (0, 3, 5, 5)
    assert ref.fractional_max_pool2d(x, 2, 1).shape == (2, 3, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, ValueError),
        ({"output_size": 3, "output_ratio": 0.5}, ValueError),
        ({"output_size": 8}, ValueError),
        ({"output_size": 0}, ValueError),
        ({"output_ratio": 1.0}, ValueError),
        ({"output_ratio": 0.01}, ValueError),
        ({"output_ratio": NAN}, ValueError),
        ({"output_ratio": (0.5, 0.5, 0.5)}, ValueError),
        ({"output_ratio": ()}, ValueError),
        ({"output_ratio": "half"}, TypeError),
        ({"output_size": 3, "_random_samples": np.full((1, 1, 2), NAN)}, ValueError),
        ({"output_size": 3, "_random_samples": np.full((1, 1, 2), 1.0)}, ValueError),
        ({"output_size": 3, "_random_samples": np.full((1, 1, 2), -1e9)}, ValueError),
        ({"output_size": 3, "_random_samples": np.zeros((1, 1, 3))}, ValueError),
        ({"output_size": 3, "_random_samples": np.zeros((1, 1, 2), int)}, TypeError),
    ],
)
def test_bad_fractional_arguments(arguments, error):
    with pytest.raises(error, match=r"output_size|output_ratio|_random_samples|windows of size"):
        ref.fractional_max_pool2d(np.ones((1, 1, 8, 8)), 2, **arguments)
    with pytest.raises(ValueError, match="indices=None"):
        ref.fractional_max_pool2d_backward(np.ones((1, 1, 3, 3)), np.ones((1, 1, 8, 8)), 2, 3)


# --- Lp and generalised mean --------------------------------------------------------------------------------


def test_lp_takes_the_absolute_value():
    equal(ref.lp_pool1d(line(-1, -2), 1, 2), 3)
    np.testing.assert_allclose(ref.lp_pool1d(line(-1, -2), 3, 2), [[9 ** (1 / 3)]], rtol=1e-15)
    equal(ref.lp_pool1d(line(-3, 4, 0, 5), 2, 2), 5, 5)
    equal(ref.lp_pool1d(line(-3, 2, 0, 5), INF, 2), 3, 5)
    np.testing.assert_allclose(ref.lp_pool1d(line(4, 9), 0.5, 2), [[25]], rtol=1e-15)


@pytest.mark.parametrize("dtype", FLOATS)
def test_lp_is_scaled_so_that_nothing_overflows(dtype):
    info = np.finfo(dtype)
    for value in (info.max / 2, info.tiny * 2):
        result = ref.lp_pool1d(np.full((1, 2), value, dtype), 2, 2).item()
        np.testing.assert_allclose(result, float(value) * 2**0.5, rtol=info.eps)
    equal(ref.lp_pool1d(np.full((1, 3), info.max, dtype), 3, 3), INF)
    np.testing.assert_allclose(ref.lp_pool1d(line(1e20, 1e20, dtype=np.float32), 2, 2), [[2**0.5 * 1e20]], rtol=1e-7)


def test_lp_padding_counts_as_zero():
    equal(ref.lp_pool1d(line(3, 4, 5), 2, 2, 2, True, padding=1), 3, 41**0.5)
    equal(ref.lp_pool1d(line(7), 2, 2, 1, padding=2, dilation=4), 0)
    equal(ref.lp_pool1d_backward(line(1.0), line(7.0), 2, 2, 1, padding=2, dilation=4), 0)


def test_lp_gradient_is_zero_where_the_window_is_and_where_the_element_is():
    for p in (0.5, 1, 2, 3, INF):
        equal(ref.lp_pool1d_backward(line(1.0), line(0.0, 0.0), p, 2), 0, 0)
        equal(ref.lp_pool1d_backward(line(1.0), line(0.0, -2.0), p, 2), 0, -1)
    equal(ref.lp_pool1d_backward(line(1.0), line(2.0, -2.0, 1.0), INF, 3), 1, 0, 0)


def test_lp_propagates_nan_and_infinity():
    equal(ref.lp_pool1d(line(NAN, 1, INF, 1, -INF, NAN), 2, 2), NAN, INF, NAN)


@pytest.mark.parametrize(
    ("p", "error"),
    [(0, ValueError), (-1, ValueError), (NAN, ValueError), (10**400, ValueError), ("2", TypeError)],
)
def test_bad_exponents(p, error):
    with pytest.raises(error, match="norm_type"):
        ref.lp_pool2d(np.ones((1, 1, 4, 4)), p, 2)
    with pytest.raises(error, match="p="):
        ref.global_lp_pool(np.ones((1, 1, 4, 4)), p)
    with pytest.raises(error, match="p="):
        ref.gem_pool2d(np.ones((1, 1, 4, 4)), p)


@pytest.mark.parametrize("n", RANKS)
@pytest.mark.parametrize("p", [1, 2, 3.5])
def test_lp_equals_torch_on_positive_numbers(n, p):
    torch = pytest.importorskip("torch")
    x = np.abs(distinct((2, 2, *RANKS[n])))
    tensor = torch.tensor(x, requires_grad=True)
    expected = getattr(torch.nn.functional, f"lp_pool{n}d")(tensor, p, 2, ceil_mode=n == 2)
    output = getattr(ref, f"lp_pool{n}d")(x, p, 2, ceil_mode=n == 2)
    # A window that ceil_mode cuts off torch averages and then multiplies by its full size: left out here.
    whole = tuple(slice(size // 2) for size in RANKS[n])
    np.testing.assert_allclose(output[(..., *whole)], expected.detach().numpy()[(..., *whole)], rtol=1e-13)
    grad = np.zeros(output.shape)
    grad[(..., *whole)] = distinct(grad[(..., *whole)].shape)
    expected.backward(torch.tensor(grad))
    result = getattr(ref, f"lp_pool{n}d_backward")(grad, x, p, 2, ceil_mode=n == 2)
    np.testing.assert_allclose(result, tensor.grad.numpy(), rtol=1e-12, atol=1e-12)


def test_generalised_mean():
    x = np.abs(distinct((2, 3, 4, 5)))
    np.testing.assert_allclose(ref.gem_pool2d(x, 1), x.mean((2, 3), keepdims=True), rtol=1e-14)
    np.testing.assert_allclose(ref.gem_pool2d(x), (x**3).mean((2, 3), keepdims=True) ** (1 / 3), rtol=1e-14)
    np.testing.assert_allclose(ref.gem_pool2d(x, 2000), x.max((2, 3), keepdims=True), rtol=2e-3)
    np.testing.assert_array_equal(ref.gem_pool2d(x[0]), ref.gem_pool2d(x)[0])
    last = ref.gem_pool2d(np.moveaxis(x, 1, -1), layout="channels_last")
    np.testing.assert_array_equal(last, np.moveaxis(ref.gem_pool2d(x), 1, -1))
    np.testing.assert_allclose(ref.gem_pool2d(-x, eps=0.25), np.full((2, 3, 1, 1), 0.25), rtol=1e-15)
    assert np.isnan(ref.gem_pool2d(np.array([[[1.0, NAN]]]))).all()
    huge = np.full((1, 1, 2, 2), 1e200)
    np.testing.assert_allclose(ref.gem_pool2d(huge), huge[..., :1, :1], rtol=1e-15)


@pytest.mark.parametrize("p", [0.7, 1.0, 3.0])
def test_generalised_mean_gradients(p):
    x = distinct((2, 2, 3, 4)) + 1.5
    grad = distinct((2, 2, 1, 1))
    for_x, for_p = ref.gem_pool2d_backward(grad, x, p, 0.3)
    np.testing.assert_allclose(for_x, numerical(lambda moved: ref.gem_pool2d(moved, p, 0.3), x, grad), atol=1e-8)
    assert (for_x[x < 0.3] == 0).all()
    moved = numerical(lambda exponent: ref.gem_pool2d(x, exponent.item(), 0.3), np.array([p]), grad)
    np.testing.assert_allclose(for_p, moved.item(), rtol=1e-8)


@pytest.mark.parametrize("eps", [0, -1.0, NAN, INF])
def test_bad_eps(eps):
    with pytest.raises(ValueError, match="eps"):
        ref.gem_pool2d(np.ones((1, 1, 4, 4)), eps=eps)
    with pytest.raises(ValueError, match="p="):
        ref.gem_pool2d(np.ones((1, 1, 4, 4)), INF)


# --- blur ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, (3, 4)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("mode", ["reflect", "replicate", "zeros"])
def test_blur_is_a_padded_binomial_convolution(kernel, stride, mode):
    x = distinct((2, 3, 7, 8))
    kernels = (kernel, kernel) if isinstance(kernel, int) else kernel
    rows = [np.array([math.comb(k - 1, i) for i in range(k)]) / 2 ** (k - 1) for k in kernels]
    around = [((k - 1) // 2, k // 2) for k in kernels]
    how = {"reflect": "reflect", "replicate": "edge", "zeros": "constant"}[mode]
    padded = np.pad(x, [(0, 0), (0, 0), *around], how)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernels, (2, 3))[:, :, ::stride, ::stride]
    expected = np.einsum("ncyxij,i,j->ncyx", windows, *rows)
    output = ref.blur_pool2d(x, kernel, stride, padding_mode=mode)
    assert output.shape == (2, 3, -(-7 // stride), -(-8 // stride))
    np.testing.assert_allclose(output, expected, rtol=1e-14, atol=1e-14)
    last = ref.blur_pool2d(np.moveaxis(x, 1, -1), kernel, stride, padding_mode=mode, layout="channels_last")
    np.testing.assert_array_equal(last, np.moveaxis(output, 1, -1))


def test_blur_keeps_a_constant_and_zeros_darken_the_border():
    x = np.full((1, 5, 5), 0.1, np.float32)
    assert (ref.blur_pool2d(x, 5) == x[0, 0, 0]).all()
    assert ref.blur_pool2d(x, padding_mode="zeros")[0, 0, 0] < x[0, 0, 0]
    np.testing.assert_array_equal(ref.blur_pool2d(x, padding="valid"), x[:, :2, :2])


def test_bad_blurs():
    with pytest.raises(ValueError, match="mirrored"):
        ref.blur_pool2d(np.ones((1, 1, 1, 5)))
    with pytest.raises(ValueError, match="padding_mode"):
        ref.blur_pool2d(np.ones((1, 1, 5, 5)), padding_mode="wrap")
    with pytest.raises(ValueError, match="smaller than the effective kernel"):
        ref.blur_pool2d(np.ones((1, 1, 5, 5)), padding=3)
    for name in ("blur_pool2d", "max_blur_pool2d"):
        with pytest.raises(TypeError, match="dtype"):
            getattr(ref, name)(np.ones((1, 1, 5, 5), int))


def test_max_blur_is_a_max_at_stride_one_and_then_a_blur():
    x = distinct((2, 3, 7, 8))
    both = ref.blur_pool2d(ref.max_pool2d(x, 3, 1, 1), 4, 2, padding_mode="replicate")
    np.testing.assert_array_equal(ref.max_blur_pool2d(x, 3, 2, 1, blur_kernel_size=4, padding_mode="replicate"), both)
    assert ref.max_blur_pool2d(x).shape == (2, 3, 3, 4)
    assert ref.max_blur_pool2d(x[0]).shape == (3, 3, 4)
    x[0, 0, 0, 0] = NAN
    assert np.isnan(ref.max_blur_pool2d(x)[0, 0, 0, 0])
    assert np.isfinite(ref.max_blur_pool2d(x, nan="ignore")).all()


# --- regions of interest ------------------------------------------------------------------------------------

RAMP = np.arange(16.0).reshape(1, 1, 4, 4)


def test_max_roi_pool_by_hand():
    rois = np.array([[0, 0, 0, 3, 3], [0, 1, 1, 0, 0], [0, 2.5, 0.5, 9, 9], [0, -5, -5, 1, 1]])
    output = ref.max_roi_pool(RAMP, rois, 2)
    assert output.shape == (4, 1, 2, 2)
    np.testing.assert_array_equal(output[0, 0], [[5, 7], [13, 15]])
    np.testing.assert_array_equal(output[1, 0], [[5, 5], [5, 5]])  # ends before it starts: one pixel
    np.testing.assert_array_equal(output[2, 0], [[15, 0], [0, 0]])  # 2.5 is 3: columns 3 to 9, cut at 3
    np.testing.assert_array_equal(output[3, 0], [[0, 0], [0, 5]])


def test_roi_align_by_hand():
    whole = np.array([[0.0, 0, 4, 4]])
    here = np.array([0])
    for mode in ("avg", "max"):
        np.testing.assert_array_equal(ref.roi_align(RAMP, whole, here, 4, 1.0, 1, mode), RAMP)
    np.testing.assert_array_equal(ref.roi_align(RAMP, whole, here, 1).ravel(), [7.5])
    np.testing.assert_array_equal(ref.roi_align(RAMP, whole, here, 1, mode="max").ravel(), [15])
    np.testing.assert_array_equal(ref.roi_align(RAMP, whole / 2, here, 4, 2.0, 1), RAMP)
    shifted = ref.roi_align(RAMP, whole - 0.5, here, 4, 1.0, 1, coordinate_transformation_mode="output_half_pixel")
    np.testing.assert_array_equal(shifted, RAMP)
    # Interpolation comes before the maximum: amid four pixels it is their mean, not a quarter of one.
    middle = np.array([[1.0, 1, 2, 2]])
    halves = {"coordinate_transformation_mode": "output_half_pixel", "sampling_ratio": 1}
    assert ref.roi_align(RAMP, middle, here, 1, mode="max", **halves).item() == (5 + 6 + 9 + 10) / 4


def test_roi_align_at_the_border_of_the_map():
    here = np.array([0])
    # Two samples on each axis; of those at x = -1.75 and -0.25 one is too far out, the other moves to 0.
    box = np.array([[-2.0, 1.5, 1.0, 1.5]])
    assert ref.roi_align(RAMP, box, here, 1, 1.0, 2).item() == 4 / 2
    # A box without extent has no samples of its own, and one of a given number all the same.
    point = np.array([[1.5, 1.5, 1.5, 1.5]])
    assert ref.roi_align(RAMP, point, here, 1).item() == 0
    assert ref.roi_align(RAMP, point, here, 1, sampling_ratio=2).item() == 5
    wide = ref.roi_align(RAMP, point, here, 1, coordinate_transformation_mode="output_half_pixel")
    assert wide.item() == 10  # at least 1 x 1: the sample is at (2, 2)


def test_coordinates_keep_the_precision_in_which_they_come():
    # A bin a little longer than one pixel has two samples on each axis, unless it is one pixel in float32.
    x = RAMP**2
    box = np.array([[0.0, 0, 4 + 1e-9, 4]])
    once = ref.roi_align(x, box.astype(np.float32), np.array([0]), 4)
    np.testing.assert_array_equal(once, x)
    assert (ref.roi_align(x, box, np.array([0]), 4)[0, 0, :, 1] > x[0, 0, :, 1]).all()


def test_a_pixel_of_weight_zero_is_not_looked_at():
    x = np.array([[[[1.0, INF], [NAN, 2.0]]]])
    assert ref.roi_align(x, np.array([[0.0, 0, 1, 1]]), np.array([0]), 1).item() == 1


def test_regions_share_maps_forward_and_backward():
    x = distinct((2, 1, 4, 5))
    rois = np.array([[1, 0, 0, 3, 3], [0, 1, 1, 4, 4], [1, 2, 1, 5, 3]], float)
    grad = distinct((3, 1, 2, 2))
    expected = numerical(lambda moved: ref.max_roi_pool(moved, rois, 2), x, grad)
    np.testing.assert_allclose(ref.max_roi_pool_backward(grad, x, rois, 2), expected, atol=1e-8)
    batch = rois[:, 0].astype(np.int64)
    for mode, ratio, how in itertools.product(("avg", "max"), (0, 2), ("half_pixel", "output_half_pixel")):
        arguments = (rois[:, 1:], batch, 2, 0.9, ratio, mode, how)
        expected = numerical(lambda moved, arguments=arguments: ref.roi_align(moved, *arguments), x, grad)
        np.testing.assert_allclose(ref.roi_align_backward(grad, x, *arguments), expected, atol=1e-8)


@pytest.mark.parametrize("dtype", [*FLOATS, "bfloat16"])
def test_regions_in_every_dtype(dtype):
    dtype = np.dtype(bfloat16()) if dtype == "bfloat16" else np.dtype(dtype)
    boxes = np.array([[0, 0, 4, 4]])
    output = ref.roi_align(RAMP.astype(dtype), boxes.astype(dtype), np.array([0]), 2)
    assert output.dtype == dtype
    np.testing.assert_array_equal(output.astype(float)[0, 0], [[2.5, 4.5], [10.5, 12.5]])
    rois = np.array([[0, 0, 0, 3, 3]]).astype(dtype)
    assert ref.max_roi_pool(RAMP.astype(dtype), rois, 1).astype(float).item() == 15


def test_no_regions_and_no_channels():
    assert ref.max_roi_pool(RAMP, np.zeros((0, 5)), 2).shape == (0, 1, 2, 2)
    assert ref.roi_align(RAMP, np.zeros((0, 4)), np.zeros(0, np.int64), (1, 2)).shape == (0, 1, 1, 2)
    assert (
        ref.roi_align_backward(np.zeros((0, 1, 2, 2)), RAMP, np.zeros((0, 4)), np.zeros(0, np.int64), 2).shape
        == RAMP.shape
    )
    assert ref.roi_align(RAMP[:, :0], np.ones((1, 4)), np.array([0]), 1).shape == (1, 0, 1, 1)


@pytest.mark.parametrize(
    ("box", "error"),
    [
        ([5, 5, 9, 9], ValueError),
        ([-9, -9, -3, -3], ValueError),
        ([0, 0, NAN, 1], ValueError),
        ([0, 0, INF, 1], ValueError),
        ([-1e308, 0, 1.7e308, 1], ValueError),
        ([0, 0, 1], ValueError),
        (["0", "0", "1", "1"], TypeError),
        ([0, 0, 1, 1], TypeError),
    ],
)
def test_bad_regions(box, error):
    boxes = np.array([box], float if error is ValueError else None)
    with pytest.raises(error, match="rois"):
        ref.roi_align(RAMP, boxes, np.array([0]), 2)
    with pytest.raises(error, match="rois"):
        ref.max_roi_pool(RAMP, np.concatenate([np.zeros((1, 1), boxes.dtype), boxes], 1), 2)


def test_bad_region_arguments():
    box, here = np.array([[0.0, 0, 1, 1]]), np.array([0])
    for n in (1, -1, 2**40):
        with pytest.raises(ValueError, match="lies on map"):
            ref.roi_align(RAMP, box, np.array([n]), 2)
    for n in (1, -1, 0.5):
        with pytest.raises(ValueError, match="lies on map"):
            ref.max_roi_pool(RAMP, np.array([[n, 0, 0, 1, 1]], float), 2)
    for scale in (0, -1.0, NAN, INF):
        with pytest.raises(ValueError, match="spatial_scale"):
            ref.roi_align(RAMP, box, here, 2, scale)
    for arguments, name in [
        ({"mode": "min"}, "mode"),
        ({"sampling_ratio": -1}, "sampling_ratio"),
        ({"coordinate_transformation_mode": "asymmetric"}, "coordinate_transformation_mode"),
    ]:
        with pytest.raises(ValueError, match=name):
            ref.roi_align(RAMP, box, here, 2, **arguments)
    with pytest.raises(TypeError, match="batch_indices"):
        ref.roi_align(RAMP, box, here.astype(float), 2)
    with pytest.raises(ValueError, match="batch_indices"):
        ref.roi_align(RAMP, box, np.array([0, 0]), 2)
    with pytest.raises(ValueError, match="input"):
        ref.roi_align(RAMP[0], box, here, 2)
    with pytest.raises(ValueError, match="input"):
        ref.max_roi_pool(RAMP[:, :, :0], np.zeros((1, 5)), 2)


def in_onnxruntime(op, opset, inputs, **attributes):
    """The only output of a model of one node."""
    helper = pytest.importorskip("onnx.helper")
    runtime = pytest.importorskip("onnxruntime")
    infos = [
        helper.make_tensor_value_info(f"x{i}", helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for i, array in enumerate(inputs)
    ]
    node = helper.make_node(op, [info.name for info in infos], ["y"], **attributes)
    result = helper.make_tensor_value_info("y", infos[0].type.tensor_type.elem_type, None)
    model = helper.make_model(
        helper.make_graph([node], "one", infos, [result]),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {info.name: array for info, array in zip(infos, inputs, strict=True)})[0]


@pytest.mark.parametrize("how", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("ratio", [0, 1, 3])
def test_roi_align_average_equals_onnxruntime(how, ratio):
    random = np.random.default_rng(ratio)
    x = random.standard_normal((2, 3, 9, 7)).astype(np.float32)
    corners = np.sort(random.uniform(-2, 11, (20, 2, 2)), axis=1).reshape(20, 4).astype(np.float32)
    corners[:, 2:] = np.maximum(corners[:, 2:], 0)
    corners[:, :2] = np.minimum(corners[:, :2], 6)
    batch = random.integers(0, 2, 20)
    expected = in_onnxruntime(
        "RoiAlign",
        16,
        [x, corners, batch],
        output_height=3,
        output_width=2,
        spatial_scale=0.75,
        sampling_ratio=ratio,
        coordinate_transformation_mode=how,
    )
    output = ref.roi_align(x, corners, batch, (3, 2), 0.75, ratio, "avg", how)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)


def test_max_roi_pool_equals_onnxruntime():
    random = np.random.default_rng(1)
    x = random.standard_normal((2, 3, 9, 7)).astype(np.float32)
    corners = np.sort(random.uniform(-2, 11, (30, 2, 2)), axis=1).reshape(30, 4)
    corners[:, 2:] = np.maximum(corners[:, 2:], 0)
    corners[:, :2] = np.minimum(corners[:, :2], 6)
    rois = np.concatenate([random.integers(0, 2, (30, 1)), corners], 1).astype(np.float32)
    expected = in_onnxruntime("MaxRoiPool", 7, [x, rois], pooled_shape=[3, 2], spatial_scale=0.75)
    np.testing.assert_array_equal(ref.max_roi_pool(x, rois, (3, 2), 0.75), expected)


# --- arrays -------------------------------------------------------------------------------------------------

CASES = [  # every operator of one input and any rank
    ("max_pool", (3, 2, 1)),
    ("min_pool", (3, 2, 1)),
    ("avg_pool", (3, 2, 1)),
    ("adaptive_max_pool", (3,)),
    ("adaptive_avg_pool", (3,)),
    ("lp_pool", (3, 2, 1)),
]


def with_ranks(cases):
    return [pytest.param(f"{name}{n}d", args, n, id=f"{name}{n}d") for name, args in cases for n in RANKS]


@pytest.mark.parametrize(("name", "args", "n"), with_ranks(CASES))
def test_layouts_and_missing_batch_axis(name, args, n):
    pool, backward = getattr(ref, name), getattr(ref, f"{name}_backward")
    x = distinct((2, 3, *RANKS[n]))
    y = pool(x, *args)
    grad = distinct(y.shape)
    dx = backward(grad, x, *args)
    assert dx.shape == x.shape
    for batch in range(2):
        np.testing.assert_array_equal(pool(x[batch], *args), y[batch])
        np.testing.assert_array_equal(backward(grad[batch], x[batch], *args), dx[batch])

    def last(array):
        return np.moveaxis(array, 1, -1)

    np.testing.assert_array_equal(pool(last(x), *args, layout="channels_last"), last(y))
    np.testing.assert_array_equal(backward(last(grad), last(x), *args, layout="channels_last"), last(dx))
    np.testing.assert_array_equal(pool(last(x)[0], *args, layout="channels_last"), last(y)[0])


@pytest.mark.parametrize(("name", "args", "n"), with_ranks(CASES))
@pytest.mark.parametrize("empty", [(0, 3), (2, 0)])
def test_empty_batch_or_channels(name, args, n, empty):
    x = np.zeros((*empty, *RANKS[n]))
    y = getattr(ref, name)(x, *args)
    assert y.shape == (*empty, *getattr(ref, name)(np.zeros((1, 1, *RANKS[n])), *args).shape[2:])
    assert getattr(ref, f"{name}_backward")(y, x, *args).shape == x.shape


@pytest.mark.parametrize("name", ["global_max_pool", "global_avg_pool", "global_lp_pool"])
@pytest.mark.parametrize("n", RANKS)
def test_global_pools(name, n):
    x = distinct((2, 3, *RANKS[n]))
    pool, backward = getattr(ref, name), getattr(ref, f"{name}_backward")
    y = pool(x, dimensions=n)
    assert y.shape == (2, 3) + (1,) * n
    axes = tuple(range(2, n + 2))
    whole = {"max": x.max, "avg": x.mean}.get(name.split("_")[1], lambda axes, keepdims: None)(axes, keepdims=True)
    if whole is None:
        whole = np.sqrt((x**2).sum(axes, keepdims=True))
    np.testing.assert_allclose(y, whole, rtol=1e-14)
    assert pool(np.moveaxis(x, 1, -1), dimensions=n, layout="channels_last").shape == (2,) + (1,) * n + (3,)
    assert backward(y, x, dimensions=n).shape == x.shape
    for wrong in (x[0, 0, ..., 0] if n == 1 else np.zeros(3), np.zeros((2,) * 6)):
        with pytest.raises(ValueError, match="axes"):
            pool(wrong)
        with pytest.raises(ValueError, match="axes"):
            pool(wrong, dimensions=n)


@pytest.mark.parametrize(("name", "args", "n"), with_ranks(CASES))
def test_a_spatial_axis_of_size_zero_is_refused(name, args, n):
    with pytest.raises(ValueError, match="size 0"):
        getattr(ref, name)(np.zeros((1, 1, *RANKS[n][:-1], 0)), *args)


def test_the_input_is_left_alone():
    x = distinct((2, 3, 6, 7))
    x.flags.writeable = False
    keep = x.copy()
    ref.max_pool2d(x, 3, 1, 1)
    ref.avg_pool2d(x[:, ::-1, :, ::2], 2)
    np.testing.assert_array_equal(x, keep)


# --- bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argument", ["kernel_size", "stride", "dilation"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        ((2, 0), ValueError),
        ((2, 2, 2), ValueError),
        (2**63, ValueError),
        (2.0, TypeError),
        (True, TypeError),
        (np.bool_(True), TypeError),
        ("2", TypeError),
        ((2, 2.0), TypeError),
    ],
)
@pytest.mark.parametrize("pool", ["max_pool2d", "avg_pool2d"])
def test_bad_sizes(pool, argument, value, error):
    with pytest.raises(error, match=argument):
        getattr(ref, pool)(np.ones((1, 1, 8, 8)), **({"kernel_size": 2} | {argument: value}))


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("max_pool2d", {"kernel_size": ()}),
        ("avg_pool2d", {"kernel_size": []}),
        ("max_pool2d", {"kernel_size": 2, "dilation": ()}),
        ("adaptive_max_pool2d", {"output_size": ()}),
    ],
)
def test_empty_sizes(function, arguments):
    with pytest.raises(ValueError, match=list(arguments)[-1]):
        getattr(ref, function)(np.ones((1, 1, 8, 8)), **arguments)


@pytest.mark.parametrize("kind", [tuple, list])
def test_one_entry_holds_for_all_axes_and_an_empty_stride_is_the_default(kind):
    x = np.random.default_rng(0).standard_normal((1, 2, 8, 9))
    for pool in (ref.max_pool2d, ref.avg_pool2d):
        np.testing.assert_array_equal(
            pool(x, kind([3]), kind([2]), kind([1]), dilation=kind([2])), pool(x, (3, 3), (2, 2), (1, 1), dilation=2)
        )
        np.testing.assert_array_equal(pool(x, 2, kind([])), pool(x, 2, 2))
        np.testing.assert_array_equal(pool(x, 3, 1, kind([(2, 1)])), pool(x, 3, 1, ((2, 1), (2, 1))))
    np.testing.assert_array_equal(ref.adaptive_max_pool2d(x, kind([3])), ref.adaptive_max_pool2d(x, (3, 3)))
    samples = np.full((1, 2, 2), 0.3)
    np.testing.assert_array_equal(
        ref.fractional_max_pool2d(x, kind([2]), output_ratio=kind([0.5]), _random_samples=samples),
        ref.fractional_max_pool2d(x, 2, output_ratio=(0.5, 0.5), _random_samples=samples),
    )


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1, ValueError),
        ((), ValueError),
        (((0, 0), (0,)), ValueError),
        (((0, -1), (0, 0)), ValueError),
        ((0, 0, 0), ValueError),
        ("SAME", ValueError),
        (1.0, TypeError),
        (False, TypeError),
        (None, TypeError),
    ],
)
def test_bad_padding(value, error):
    with pytest.raises(error, match="padding"):
        ref.max_pool2d(np.ones((1, 1, 8, 8)), 3, padding=value)


@pytest.mark.parametrize("size", [0, -1, (), (2, 0), (2, 2, 2), 2**31, 2**63])
def test_bad_output_size(size):
    with pytest.raises(ValueError, match="output_size"):
        ref.adaptive_avg_pool2d(np.ones((1, 1, 8, 8)), size)
    with pytest.raises(TypeError, match="output_size"):
        ref.adaptive_max_pool2d(np.ones((1, 1, 8, 8)), 2.0)


@pytest.mark.parametrize(
    ("keyword", "error"),
    [
        ({"layout": "NCHW"}, ValueError),
        ({"layout": None}, TypeError),
        ({"nan": "raise"}, ValueError),
        ({"ceil_mode": 7}, TypeError),
        ({"return_indices": 1}, TypeError),
    ],
)
def test_bad_words_and_flags(keyword, error):
    with pytest.raises(error, match=next(iter(keyword))):
        ref.max_pool2d(np.ones((1, 1, 8, 8)), 3, **keyword)


def test_bad_words_and_flags_of_the_average():
    with pytest.raises(ValueError, match="rounding"):
        ref.avg_pool1d(np.ones((1, 1, 8)), 3, rounding="up")
    with pytest.raises(TypeError, match="count_include_pad"):
        ref.avg_pool1d(np.ones((1, 1, 8)), 3, count_include_pad=1)


@pytest.mark.parametrize("dtype", [object, complex, "U3", "f4,f4", np.longdouble, "datetime64[s]"])
def test_bad_dtypes(dtype):
    with pytest.raises(TypeError, match="dtype"):
        ref.max_pool1d(np.zeros((1, 1, 8), dtype), 2)


@pytest.mark.parametrize("rank", [0, 1, 2, 5, 6])
def test_bad_ranks(rank):
    with pytest.raises(ValueError, match="axes"):
        ref.max_pool2d(np.ones((4,) * rank), 2)


def test_average_of_bool_and_gradients_of_integers_are_refused():
    with pytest.raises(TypeError, match="dtype"):
        ref.avg_pool1d(np.ones((1, 4), bool), 2)
    for name in ("max_pool1d", "min_pool1d", "avg_pool1d", "adaptive_max_pool1d", "adaptive_avg_pool1d"):
        for dtype in (np.int32, bool):
            with pytest.raises(TypeError, match="dtype"):
                getattr(ref, f"{name}_backward")(np.ones((1, 2), dtype), np.ones((1, 4), dtype), 2)


def test_bad_gradients_and_indices():
    x = np.ones((1, 4))
    with pytest.raises(ValueError, match="grad_output has shape"):
        ref.max_pool1d_backward(np.ones((1, 3)), x, 2)
    with pytest.raises(TypeError, match="grad_output has dtype"):
        ref.avg_pool1d_backward(np.ones((1, 2), np.float32), x, 2)
    with pytest.raises(ValueError, match="indices has shape"):
        ref.max_pool1d_backward(np.ones((1, 2)), x, 2, indices=np.zeros((1, 3), np.int64))
    with pytest.raises(ValueError, match="must lie between"):
        ref.max_pool1d_backward(np.ones((1, 2)), x, 2, indices=np.full((1, 2), 2**64 - 1, np.uint64))
    for dtype in (bool, np.float32, float):
        with pytest.raises(TypeError, match="indices has dtype"):
            ref.max_pool1d_backward(np.ones((1, 2)), x, 2, indices=np.zeros((1, 2), dtype))


# --- gradients ----------------------------------------------------------------------------------------------


def numerical(function, x, grad, step=1e-3):
    """Differentiate the sum of grad * function(x) by the five-point rule, element by element."""
    result = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        for move, weight in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            moved = x.copy()
            moved[i] += move * step
            result[i] += weight * np.sum(grad * function(moved)) / (12 * step)
    return result


def differentiates(name, x, *args, **kwargs):
    """The backward function agrees with numerical differentiation of the forward one."""
    function = getattr(ref, name)
    grad = distinct(function(x, *args, **kwargs).shape)
    expected = numerical(lambda moved: function(moved, *args, **kwargs), x, grad)
    result = getattr(ref, f"{name}_backward")(grad, x, *args, **kwargs)
    np.testing.assert_allclose(result, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("max_pool1d", (3, 2, 1), {"ceil_mode": True}),
        ("max_pool2d", (2, 1, ((1, 0), (0, 1)), 2), {}),
        ("max_pool3d", (2, 2, 1), {}),
        ("min_pool2d", (3, 2, "same_lower"), {}),
        ("avg_pool1d", (3, 2, 1, True), {}),
        ("avg_pool1d", (3, 2, 1, True, False), {"dilation": 2}),
        ("avg_pool2d", ((3, 2), (2, 1), 1), {"count_include_pad": False}),
        ("avg_pool2d", (2,), {"divisor_override": -0.3}),
        ("avg_pool3d", (2, 1, "same"), {}),
        ("adaptive_max_pool2d", ((3, 2),), {}),
        ("adaptive_avg_pool1d", (4,), {}),
        ("adaptive_avg_pool2d", ((None, 3),), {}),
        ("adaptive_avg_pool3d", (2,), {}),
        ("global_max_pool", (), {}),
        ("global_avg_pool", (), {}),
        ("lp_pool1d", (1, 3, 2, True), {"padding": 1}),
        ("lp_pool2d", (2, (3, 2), (2, 1)), {"padding": 1, "dilation": (1, 2)}),
        ("lp_pool2d", (3, 2), {"ceil_mode": True}),
        ("lp_pool2d", (0.5, 2), {}),
        ("lp_pool2d", (INF, 2), {}),
        ("lp_pool3d", (1.5, 2), {"padding": "same"}),
        ("global_lp_pool", (3,), {}),
        ("blur_pool2d", (), {}),
        ("blur_pool2d", ((4, 3), (1, 2), 1), {"padding_mode": "replicate"}),
        ("blur_pool2d", (3, 1, ((0, 2), (1, 0))), {"padding_mode": "zeros"}),
        ("max_blur_pool2d", (), {}),
        ("max_blur_pool2d", (3, 2, 1), {"blur_kernel_size": 2}),
        ("fractional_max_pool2d", (2, (2, 3)), {"_random_samples": np.full((1, 2, 2), 0.4)}),
        ("fractional_max_pool3d", (2, 2), {"_random_samples": np.full((1, 1, 3), 0.7)}),
    ],
)
def test_gradients_against_numerical_differentiation(name, args, kwargs, layout):
    n = int(name[-2]) if name.endswith("d") else 2
    shape = {1: (2, 7, 2), 2: (1, 4, 5, 2), 3: (1, 3, 4, 3, 1)}[n]
    differentiates(
        name,
        distinct(shape if layout == "channels_last" else np.moveaxis(np.empty(shape), -1, 1).shape),
        *args,
        **kwargs,
        layout=layout,
    )


# --- torch, where torch is right ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        (f"{family}{n}d", args, kwargs)
        for n in RANKS
        for family, args, kwargs in [
            ("max_pool", (3, 2, 1), {}),
            ("max_pool", (3, 2, 1), {"ceil_mode": True}),
            ("max_pool", (2, 1, 1, 2), {}),
            ("avg_pool", (3, 2, 1), {}),
            ("avg_pool", (3, 2, 1), {"ceil_mode": True}),
            ("avg_pool", (3, 2, 1), {"ceil_mode": True, "count_include_pad": False}),
            ("adaptive_max_pool", (3,), {}),
            ("adaptive_avg_pool", (3,), {}),
            ("adaptive_avg_pool", (7,), {}),
        ]
    ]
    + [("avg_pool2d", (3, 2, 1), {"divisor_override": -5}), ("avg_pool3d", (2,), {"divisor_override": 3})],
)
def test_forward_and_backward_equal_torch(name, args, kwargs):
    torch = pytest.importorskip("torch")
    x = distinct((2, 2, *RANKS[int(name[-2])]))
    tensor = torch.tensor(x, requires_grad=True)
    expected = getattr(torch.nn.functional, name)(tensor, *args, **kwargs)
    output = getattr(ref, name)(x, *args, **kwargs)
    np.testing.assert_allclose(output, expected.detach().numpy(), rtol=1e-14)
    grad = distinct(output.shape)
    expected.backward(torch.tensor(grad))
    result = getattr(ref, f"{name}_backward")(grad, x, *args, **kwargs)
    np.testing.assert_allclose(result, tensor.grad.numpy(), rtol=1e-13, atol=1e-13)
    if "max" in name:
        _, named = getattr(torch.nn.functional, name)(tensor, *args, return_indices=True, **kwargs)
        _, indices = getattr(ref, name)(x, *args, return_indices=True, **kwargs)
        np.testing.assert_array_equal(indices, named.numpy())
        again = getattr(ref, f"{name}_backward")(grad, x, *args, indices=indices, **kwargs)
        np.testing.assert_array_equal(again, result)


# --- the cases of onnxruntime's own tests -------------------------------------------------------------------

CONFORMANCE = json.loads((Path(__file__).parent / "data" / "onnxruntime_pool_cases.json").read_text())
# The ONNX attributes that our functions do not have, or have in another form.
STORAGE_ORDERS = {0: "onnx", 1: "onnx_column_major"}


def tensor(description):
    data = description["data"]
    if isinstance(data, dict):
        data = np.full(description["shape"], data["fill"]) if "fill" in data else CONFORMANCE["arrays"][data["array"]]
    return np.array(data, description["dtype"]).reshape(description["shape"])


def replay(case):
    """Answer an ONNX node by the reference; the attributes' defaults are ONNX's."""
    given, (x, *more) = dict(case["attrs"]), map(tensor, case["inputs"])
    op, family = case["op"], case["op"].removeprefix("Global")
    name = {"MaxPool": "max_pool", "AveragePool": "avg_pool", "LpPool": "lp_pool", "MaxUnpool": "max_unpool"}[family]
    if op != family:
        return [getattr(ref, f"global_{name}")(x, dimensions=x.ndim - 2, **given)]
    kernel = given.pop("kernel_shape")
    function = getattr(ref, f"{name}{len(kernel)}d")
    ends = given.pop("pads", [0] * 2 * len(kernel))
    if len(ends) != 2 * len(kernel):
        # ONNX wants both ends for each axis, where the reference takes one pair for all of them.
        raise ValueError(f"pads={ends} for {len(kernel)} axes")
    half = len(kernel)
    arguments = {
        "kernel_size": kernel,
        "stride": given.pop("strides", [1] * len(kernel)),
        "padding": given.pop("auto_pad", list(zip(ends[:half], ends[half:], strict=True))),
    }
    if isinstance(arguments["padding"], str):
        arguments["padding"] = arguments["padding"].lower()
    if op == "MaxUnpool":
        sizes = more[1].tolist() if len(more) > 1 else None
        return [function(x, more[0], output_size=sizes, **arguments)]
    arguments["dilation"] = given.pop("dilations", [1] * len(kernel))
    arguments["ceil_mode"] = bool(given.pop("ceil_mode", 0))
    if op == "LpPool":
        return [function(x, given.pop("p", 2), **arguments)]
    if op == "AveragePool":
        return [function(x, count_include_pad=bool(given.pop("count_include_pad", 0)), **arguments)]
    order = STORAGE_ORDERS[given.pop("storage_order", 0)]
    output, indices = function(x, return_indices=True, **arguments)
    return [output, ref.convert_indices(indices, x.shape, source="torch", target=order)]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case["id"])
        for case in CONFORMANCE["cases"]
        if case["attrs"].get("storage_order", 0) in STORAGE_ORDERS
    ],
)
def test_cases_of_onnxruntime(case):
    if case["fail"]:
        with pytest.raises((TypeError, ValueError)):
            replay(case)
        return
    for result, expected in zip(replay(case), map(tensor, case["outputs"]), strict=False):
        assert result.dtype == expected.dtype
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, rtol=case["tol"], atol=case["tol"])


# --- the public surface -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        (
            "max_pool2d",
            "(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, "
            "*, layout='channels_first', nan='propagate')",
        ),
        (
            "min_pool3d_backward",
            "(grad_output, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, *, "
            "layout='channels_first', nan='propagate', indices=None)",
        ),
        (
            "avg_pool1d",
            "(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, "
            "divisor_override=None, *, dilation=1, layout='channels_first', nan='propagate', rounding='half_even')",
        ),
        (
            "adaptive_avg_pool2d",
            "(input, output_size, *, layout='channels_first', nan='propagate', rounding='half_even')",
        ),
        (
            "global_avg_pool_backward",
            "(grad_output, input, *, dimensions=None, layout='channels_first', nan='propagate')",
        ),
        (
            "max_unpool2d_backward",
            "(grad_output, input, indices, kernel_size, stride=None, padding=0, output_size=None, *, "
            "layout='channels_first')",
        ),
        (
            "fractional_max_pool3d_backward",
            "(grad_output, input, kernel_size, output_size=None, output_ratio=None, _random_samples=None, *, "
            "layout='channels_first', indices=None)",
        ),
    ],
)
def test_signatures(name, signature):
    function = getattr(ref, name)
    assert function.__name__ == name
    parameters = inspect.signature(function).replace(return_annotation=inspect.Signature.empty).parameters.values()
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    assert str(inspect.Signature(plain)) == signature


def test_every_function_has_a_gradient_and_a_docstring():
    published = {name: f for name, f in vars(ref).items() if "pool" in name and hasattr(f, "__signature__")}
    assert len(published) == 2 * (7 * 3 + 2 + 3 + 1 + 2 + 1)  # ranks 1-3; fractional; global; roi; blur; gem
    for name, function in published.items():
        assert function.__doc__
        assert name.endswith("_backward") or f"{name}_backward" in published
