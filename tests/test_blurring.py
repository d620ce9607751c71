"""Anti-aliased pooling against the reference, torch, small steps, and its own rules."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import pooling
from pooling import reference
from tests.conftest import (
    FLOATS,
    LAYOUTS,
    LYING,
    TINY,
    UNIT,
    Array,
    array_shapes,
    assert_same_bytes,
    assert_within,
    channels_last,
    dtype_of,
    random_array,
    special_arrays,
    window_arguments,
)

NAN, INF = math.nan, math.inf
FUNCTIONS = ["blur_pool2d", "max_blur_pool2d"]


def special(dtype: str, shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    """Draw numbers that break things; bfloat16 has no ``finfo`` and takes those of float32."""
    narrow = dtype == "bfloat16"
    found = special_arrays(np.float32 if narrow else dtype, shape, summed=True)
    return found.map(lambda values: values.astype(dtype_of(dtype)))


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a call returns, or the kind of error that it raises."""
    try:
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)
    except (TypeError, ValueError) as error:
        return type(error)


@st.composite
def calls(draw: st.DrawFn, function: str, layout: str) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Draw the shape of an input and the arguments of a call."""
    windows = draw(window_arguments(2))
    arguments = {name: windows[name] for name in ("kernel_size", "stride", "padding") if name in windows}
    if "dilation" in windows and "padding" in windows and not isinstance(windows["padding"], str):
        # Padding was drawn for an effective kernel that these functions do not have.
        arguments.pop("padding")
    sizes = st.integers(1, 7)
    modes = st.sampled_from(["reflect", "replicate", "zeros"])
    optional: dict[str, st.SearchStrategy[Any]] = {"padding_mode": modes}
    if function == "max_blur_pool2d":
        optional["blur_kernel_size"] = sizes | st.tuples(sizes, sizes)
        optional["nan"] = st.sampled_from(["propagate", "ignore"])
    arguments |= draw(st.fixed_dictionaries({"layout": st.just(layout)}, optional=optional))
    return draw(array_shapes(2, layout)), arguments


ROUNDINGS = 40
"""Of a float64 sum: two for each tap of at most seven along each axis, and a few for the weights and the reference."""


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("function", FUNCTIONS)
@given(data=st.data())
def test_any_call_answers_as_the_reference(function: str, dtype: str, layout: str, data: st.DataObject) -> None:
    shape, arguments = data.draw(calls(function, layout), label="call")
    values = data.draw(special(dtype, shape), label="values")
    x = LYING[data.draw(st.sampled_from(sorted(LYING)), label="lying")](values)
    before = x.tobytes()
    call, twin = getattr(pooling, function), getattr(reference, function)
    result, expected = outcome(call, x, **arguments), outcome(twin, x, **arguments)
    assert x.tobytes() == before, "the input was modified"
    if isinstance(expected, type) or isinstance(result, type):
        assert result is expected
        return
    assert result.dtype == x.dtype.newbyteorder("=")
    wide = x.astype(np.float64)
    exact = twin(wide, **arguments)
    # Blurred magnitudes; for maxima, those of the largest magnitude that a window can have.
    largest = np.where(np.isfinite(wide), np.abs(wide), 0)
    bound = np.nan_to_num(twin(largest, **arguments))
    rounding = 0 if dtype == "float64" else UNIT[dtype]
    allowed = ROUNDINGS * UNIT["float64"] * bound + rounding * np.abs(np.nan_to_num(exact, posinf=0, neginf=0))
    assert_within(result.astype(np.float64), exact, allowed + TINY[dtype] + 64 * TINY["float64"])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("function", FUNCTIONS)
@given(data=st.data())
def test_any_gradient_is_that_of_the_reference(function: str, dtype: str, layout: str, data: st.DataObject) -> None:
    shape, arguments = data.draw(calls(function, layout), label="call")
    x = data.draw(special(dtype, shape), label="values")
    output = outcome(getattr(reference, function), x, **arguments)
    backward, twin = getattr(pooling, f"{function}_backward"), getattr(reference, f"{function}_backward")
    if isinstance(output, type):
        assert outcome(backward, np.zeros(1, x.dtype), x, **arguments) is output
        return
    lying = LYING[data.draw(st.sampled_from(sorted(LYING)), label="lying")]
    x, grad = lying(x), lying(data.draw(special(dtype, output.shape), label="grad_output"))
    result = backward(grad, x, **arguments)
    assert result.dtype == x.dtype.newbyteorder("=")
    wide, wide_grad = x.astype(np.float64), grad.astype(np.float64)
    exact = twin(wide_grad, wide, **arguments)
    bound = twin(np.where(np.isfinite(wide_grad), np.abs(wide_grad), 0), wide, **arguments)
    # So many windows may hold a cell, and their shares are added one by one.
    roundings = ROUNDINGS + 2 * grad.size
    rounding = 0 if dtype == "float64" else UNIT[dtype]
    allowed = roundings * UNIT["float64"] * bound + rounding * np.abs(np.nan_to_num(exact, posinf=0, neginf=0))
    assert_within(result.astype(np.float64), exact, allowed + TINY[dtype] + 64 * grad.size * TINY["float64"])


# --- rules that each deserve their own test -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 7, (1, 5)])
@pytest.mark.parametrize("padding_mode", ["reflect", "replicate"])
def test_a_constant_map_stays_what_it_is(dtype: str, kernel: Any, padding_mode: Any) -> None:
    x = np.full((1, 2, 9, 8), 3, dtype_of(dtype))
    result = pooling.blur_pool2d(x, kernel, padding_mode=padding_mode)
    assert result.shape == (1, 2, 5, 4)
    assert (result == 3).all()
    assert (pooling.max_blur_pool2d(x, blur_kernel_size=kernel, padding_mode=padding_mode) == 3).all()


def test_one_pixel_becomes_the_filter() -> None:
    x = np.zeros((1, 1, 7, 7))
    x[0, 0, 3, 3] = 256
    result = pooling.blur_pool2d(x, 5, 1)
    np.testing.assert_array_equal(result[0, 0, 1:6, 1:6], np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]))
    assert result.sum() == 256


def test_the_longest_filter_is_exact_about_its_weights() -> None:
    x = np.zeros((1, 1, 1, 3))
    x[..., 1] = 1
    result = pooling.blur_pool2d(x, (1, 1024), 1, padding=((0, 0), (1023, 1022)), padding_mode="zeros")
    weights = [math.comb(1023, tap) / 2**1023 for tap in range(1024)]
    np.testing.assert_array_equal(result.ravel()[1:], weights[::-1])


def test_nan_and_infinities_spread_over_their_windows_only() -> None:
    x = np.zeros((1, 1, 1, 9))
    x[..., 4] = NAN
    assert np.isnan(pooling.blur_pool2d(x, (1, 3), 1)).ravel().tolist() == [False] * 3 + [True] * 3 + [False] * 3
    x[..., 4] = INF
    assert np.isinf(pooling.blur_pool2d(x, (1, 3), 1)).ravel().tolist() == [False] * 3 + [True] * 3 + [False] * 3
    x[..., 5] = -INF
    assert np.isnan(pooling.blur_pool2d(x, (1, 3), 1)).ravel().tolist() == [False] * 4 + [True] * 2 + [False] * 3


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_nan_is_the_same_one(function: str, dtype: str, layout: str) -> None:
    """Whatever its sign, forward and backward: which of two NaN an addition keeps is up to the compiler."""
    x = random_array((2, 3, 8, 9), dtype)
    call, backward = getattr(pooling, function), getattr(pooling, f"{function}_backward")

    def with_nan(array: Array, sign: float) -> Array:
        array = array.copy()
        array[0, 0, 0, 0] = array[-1, -1, -1] = dtype_of(dtype).type(math.copysign(NAN, sign))
        return array

    assert with_nan(x, 1).tobytes() != with_nan(x, -1).tobytes()
    positive, negative = (call(with_nan(x, sign), layout=layout) for sign in (1, -1))
    assert np.isnan(positive.astype(np.float64)).any()
    assert_same_bytes(negative, positive)
    grad = random_array(positive.shape, dtype, 1)
    positive, negative = (backward(with_nan(grad, sign), x, layout=layout) for sign in (1, -1))
    assert np.isnan(positive.astype(np.float64)).any()
    assert_same_bytes(negative, positive)


def test_ignored_nan_leaves_the_others() -> None:
    x = np.array([[[[NAN, 1.0, 2.0, NAN]]]])
    windows: dict[str, Any] = {"kernel_size": (1, 2), "stride": 1, "blur_kernel_size": 1}
    assert pooling.max_blur_pool2d(x, **windows, nan="ignore").ravel().tolist() == [1, 2, 2]
    assert np.isnan(pooling.max_blur_pool2d(x, **windows)).ravel().tolist() == [True, False, True]


def test_the_gradient_of_a_tie_goes_to_the_first() -> None:
    x = np.zeros((1, 1, 1, 4), np.float32)
    grad = np.ones((1, 1, 1, 2), np.float32)
    result = pooling.max_blur_pool2d_backward(grad, x, (1, 3), 1, blur_kernel_size=1)
    assert result.ravel().tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("blur_pool2d", {}),
        ("blur_pool2d", {"kernel_size": (4, 5), "stride": (1, 3), "padding_mode": "zeros"}),
        ("blur_pool2d", {"kernel_size": 5, "stride": None, "padding": ((0, 4), (2, 1)), "padding_mode": "replicate"}),
        ("max_blur_pool2d", {}),
        ("max_blur_pool2d", {"kernel_size": 3, "padding": 1, "blur_kernel_size": 4, "padding_mode": "zeros"}),
    ],
)
def test_gradients_are_what_a_small_step_makes(function: str, arguments: dict[str, Any], layout: str) -> None:
    x = np.random.default_rng(0).permutation(2 * 2 * 7 * 6).reshape(2, 2, 7, 6) / 4.0
    x = x if layout == "channels_first" else channels_last(x)
    call = functools.partial(getattr(pooling, function), **arguments, layout=layout)
    grad = random_array(call(x).shape, seed=1)
    result = getattr(pooling, f"{function}_backward")(grad, x, **arguments, layout=layout)
    step = 1 / 16  # exact, and everything is linear between the kinks
    expected = np.zeros_like(x)
    for cell in np.ndindex(x.shape):
        there, back = x.copy(), x.copy()
        there[cell] += step
        back[cell] -= step
        expected[cell] = (grad * (call(there) - call(back))).sum() / (2 * step)
    np.testing.assert_allclose(result, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("padding_mode", "name"), [("reflect", "reflect"), ("replicate", "replicate"), ("zeros", "constant")]
)
@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
def test_values_and_gradients_are_those_of_a_convolution_in_torch(kernel: int, padding_mode: Any, name: str) -> None:
    torch = pytest.importorskip("torch")
    x = random_array((2, 3, 9, 8))
    row = np.array([math.comb(kernel - 1, tap) for tap in range(kernel)], np.float64)
    weight = torch.tensor(np.outer(row, row) / row.sum() ** 2).repeat(3, 1, 1, 1)
    before, after = (kernel - 1) // 2, kernel // 2
    for maximum in (False, True):
        tensor = torch.tensor(x, requires_grad=True)
        mapped = torch.nn.functional.max_pool2d(tensor, 2, 1) if maximum else tensor
        padded = torch.nn.functional.pad(mapped, (before, after, before, after), mode=name)
        expected = torch.nn.functional.conv2d(padded, weight, stride=2, groups=3)
        keywords = {"blur_kernel_size" if maximum else "kernel_size": kernel, "padding_mode": padding_mode}
        function = "max_blur_pool2d" if maximum else "blur_pool2d"
        result = getattr(pooling, function)(x, **keywords)
        np.testing.assert_allclose(result, expected.detach().numpy(), rtol=1e-12, atol=1e-14)
        grad = random_array(result.shape, seed=1)
        expected.backward(torch.tensor(grad))
        gradient = getattr(pooling, f"{function}_backward")(grad, x, **keywords)
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", FLOATS)
def test_there_is_one_rounding(dtype: str) -> None:
    x = random_array((1, 1, 40, 41), dtype_of(dtype))
    if dtype != "float64":
        np.testing.assert_array_equal(pooling.blur_pool2d(x), reference.blur_pool2d(x))
        grad = random_array((1, 1, 20, 21), dtype_of(dtype), 1)
        np.testing.assert_array_equal(
            pooling.max_blur_pool2d_backward(grad[..., :20], x), reference.max_blur_pool2d_backward(grad[..., :20], x)
        )


@pytest.mark.parametrize("mode", ["reflect", "replicate", "zeros"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("taps", [3, 5])
def test_long_rows_of_floats_are_blurred_with_one_rounding(taps: int, stride: int, mode: Any) -> None:
    """Filters that have loops of their own: rows of one segment, of several, and of a last one of a few results."""
    for height, width in ((taps, taps), (4 * stride + 1, taps + 4), (4 * stride, 31), (3, 262 * stride)):
        x = random_array((1, 1, height, width), np.float32, width)
        result = pooling.blur_pool2d(x, taps, stride, padding_mode=mode)
        np.testing.assert_array_equal(result, reference.blur_pool2d(x, taps, stride, padding_mode=mode))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "zeros"])
@pytest.mark.parametrize("stride", [1, 2, (1, 2), 3])
@pytest.mark.parametrize("taps", [3, 5, (3, 5)])
def test_planes_and_pixels_have_the_same_bits(taps: Any, stride: Any, mode: Any) -> None:
    """Whatever loops make them, of numbers of any size, of zeros of both signs, infinities and NaN."""
    random = np.random.default_rng(0)
    for shape in ((2, 3, 9, 11), (1, 2, 13, 40), (1, 1, 5, 600), (2, 1, 22, 533), (1, 2, 7, 1100), (1, 1, 6, 8)):
        for padding in (None, 1, ((0, 2), (1, 0)), 2):
            x = random_array(shape, np.float32)
            x *= np.float32(10) ** random.integers(-30, 30, shape).astype(np.float32)
            x.ravel()[::7] = -0.0
            x.ravel()[random.integers(x.size, size=3)] = [NAN, -INF, INF]
            made = outcome(pooling.blur_pool2d, x, taps, stride, padding, padding_mode=mode)
            # A second channel, so that they are pixels.
            pixels = np.concatenate([channels_last(x)] * 2, axis=-1)
            expected = outcome(
                pooling.blur_pool2d, pixels, taps, stride, padding, padding_mode=mode, layout="channels_last"
            )
            if isinstance(made, type):
                assert expected is made
                continue
            assert_same_bytes(channels_last(made), np.ascontiguousarray(expected[..., : shape[1]]))


@pytest.mark.parametrize("at_end", [True, False])
def test_no_byte_outside_the_arrays_is_touched(guarded: Callable[..., Array], at_end: bool) -> None:
    for width in range(20, 29):
        for taps, stride in ((3, 1), (3, 2), (5, 1), (5, 2)):
            x = guarded((1, 1, 9, width), np.float32, at_end=at_end)
            x[...] = random_array(x.shape, np.float32)
            expected = pooling.blur_pool2d(np.pad(x, ((0, 1), (0, 0), (0, 0), (0, 0))), taps, stride)[:1]
            out = guarded(expected.shape, np.float32, at_end=at_end)
            np.testing.assert_array_equal(pooling.blur_pool2d(x, taps, stride, out=out), expected)


def numbers_of_any_size(shape: tuple[int, ...], seed: int) -> Array:
    """Numbers of all magnitudes, subnormal ones among them, of both signs; every seventh is a negative zero."""
    random = np.random.default_rng(seed)
    x = random_array(shape, np.float32, seed) * np.float32(10) ** random.integers(-42, 30, shape).astype(np.float32)
    x.ravel()[::7] = -0.0
    return x


WIDE_SHAPES = ((2, 3, 9, 21), (1, 2, 13, 40), (1, 1, 5, 600), (2, 1, 70, 33), (1, 1, 3, 37), (1, 1, 34, 20))
"""Of one row of vectors and of several, of one group of rows and of several."""


@pytest.mark.parametrize("numbers", ["plain", "of any size", "odd"])
@pytest.mark.parametrize("mode", ["reflect", "replicate", "zeros"])
@pytest.mark.parametrize("padding", [None, 0, 1, 2, ((0, 2), (1, 0)), ((2, 1), (2, 2)), ((1, 0), (0, 1))])
def test_gradients_of_planes_and_pixels_have_the_same_bits(padding: Any, mode: Any, numbers: str) -> None:
    """Whatever loops make them; where all is finite they are those of the reference, with one rounding."""
    for shape in (*WIDE_SHAPES, (1, 2, 6, 8)):
        x = np.zeros(shape, np.float32)
        output = outcome(pooling.blur_pool2d, x, 3, 2, padding, padding_mode=mode)
        assert not isinstance(output, type)
        grad = random_array(output.shape, np.float32) if numbers == "plain" else numbers_of_any_size(output.shape, 1)
        if numbers == "odd":
            grad.ravel()[np.random.default_rng(2).integers(grad.size, size=3)] = [NAN, -INF, INF]
        made = pooling.blur_pool2d_backward(grad, x, 3, 2, padding, padding_mode=mode)
        # A second channel, so that they are pixels.
        pixels, grads = (np.concatenate([channels_last(array)] * 2, axis=-1) for array in (x, grad))
        expected = pooling.blur_pool2d_backward(grads, pixels, 3, 2, padding, padding_mode=mode, layout="channels_last")
        assert_same_bytes(channels_last(made), np.ascontiguousarray(expected[..., : shape[1]]))
        if numbers == "plain":
            twin = reference.blur_pool2d_backward(grad, x, 3, 2, padding, padding_mode=mode)
            np.testing.assert_array_equal(made, twin)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "zeros"])
@pytest.mark.parametrize("numbers", ["plain", "ties", "of any size", "odd input", "odd gradient"])
def test_gradients_of_blurred_maxima_are_rounded_once(numbers: str, mode: Any) -> None:
    """Those of float64, by other loops, rounded: also in the only maps of a batch in which something is NaN."""
    for shape in (*WIDE_SHAPES, (1, 2, 6, 8), (1, 2, 66, 22), (1, 1, 65, 23), (1, 1, 130, 24), (1, 1, 2, 25)):
        random = np.random.default_rng(shape[-1])
        x = random_array(shape, np.float32)
        if numbers == "ties":
            # Among them zeros of both signs, which are equal.
            x = (random.integers(-1, 2, shape) * random.choice([-0.5, 0.5], shape)).astype(np.float32)
        elif numbers != "plain":
            x = numbers_of_any_size(shape, 3)
            x.ravel()[random.integers(x.size, size=2)] = [-INF, INF]
        output = pooling.max_blur_pool2d(x, padding_mode="replicate").shape
        grad = random_array(output, np.float32, 1) if numbers in ("plain", "ties") else numbers_of_any_size(output, 4)
        if numbers == "odd input":
            x.ravel()[random.integers(x.size)] = NAN
        elif numbers == "odd gradient":
            grad.ravel()[random.integers(grad.size, size=2)] = [random.choice([NAN, INF]), -INF]
        for nan in ("propagate", "ignore"):
            keywords: dict[str, Any] = {"padding_mode": mode, "nan": nan}
            made = outcome(pooling.max_blur_pool2d_backward, grad, x, **keywords)
            wide = outcome(pooling.max_blur_pool2d_backward, grad.astype(np.float64), x.astype(np.float64), **keywords)
            if isinstance(wide, type):
                assert made is wide
                continue
            np.testing.assert_array_equal(made, wide.astype(np.float32))
            assert not np.signbit(made[made == 0]).any()
            if numbers in ("plain", "ties"):
                np.testing.assert_array_equal(made, reference.max_blur_pool2d_backward(grad, x, **keywords))


@pytest.mark.parametrize("at_end", [True, False])
def test_gradients_touch_no_byte_outside_the_arrays(guarded: Callable[..., Array], at_end: bool) -> None:
    for height, width in ((9, 20), (8, 21), (7, 22), (66, 23), (9, 24), (8, 37), (9, 40)):
        for name in FUNCTIONS:
            call, backward = getattr(pooling, name), getattr(pooling, f"{name}_backward")
            x = guarded((1, 1, height, width), np.float32, at_end=at_end)
            x[...] = random_array(x.shape, np.float32)
            output = call(x)
            grad = guarded(output.shape, np.float32, at_end=at_end)
            grad[...] = random_array(grad.shape, np.float32, 1)
            out = guarded(x.shape, np.float32, at_end=at_end)
            out[...] = NAN
            expected = backward(grad.astype(np.float64), x.astype(np.float64)).astype(np.float32)
            np.testing.assert_array_equal(backward(grad, x, out=out), expected)


# --- arrays, threads and bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_any_number_of_threads_makes_the_same_bytes(dtype: str, layout: str, always_parallel: None) -> None:
    x = random_array((3, 5, 9, 11), dtype)
    # Of more than one group of rows.
    wide = random_array((2, 130, 25, 3), dtype) if layout == "channels_last" else random_array((2, 3, 130, 25), dtype)

    def everything() -> list[Array]:
        blurred = pooling.blur_pool2d(x, 5, layout=layout)
        maxima = pooling.max_blur_pool2d(x, 3, 2, 1, layout=layout)
        grad = pooling.max_blur_pool2d(wide, layout=layout)
        return [
            blurred,
            maxima,
            pooling.blur_pool2d_backward(pooling.blur_pool2d(wide, layout=layout), wide, layout=layout),
            pooling.max_blur_pool2d_backward(grad, wide, layout=layout),
            pooling.blur_pool2d_backward(blurred, x, 5, layout=layout),
            pooling.max_blur_pool2d_backward(maxima, x, 3, 2, 1, layout=layout),
        ]

    with pooling.threads(1):
        expected = everything()
    for count in (2, 3, 7):
        with pooling.threads(count):
            for result, alone in zip(everything(), expected, strict=True):
                assert_same_bytes(result, alone)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("empty", [0, 1])
def test_an_empty_batch_or_no_channels(empty: int, layout: str, function: str) -> None:
    shape = [2, 3, 6, 6]
    shape[empty] = 0
    x = np.zeros(shape, np.float32)
    x = x if layout == "channels_first" else channels_last(x)
    y = getattr(pooling, function)(x, layout=layout)
    assert y.shape == getattr(reference, function)(x, layout=layout).shape
    assert getattr(pooling, f"{function}_backward")(y, x, layout=layout).shape == x.shape


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_out_is_filled_and_returned(dtype: str, function: str) -> None:
    x = random_array((2, 3, 6, 6), dtype_of(dtype))
    forward, backward = getattr(pooling, function), getattr(pooling, f"{function}_backward")
    expected = forward(x)
    out = np.empty_like(expected)
    assert forward(x, out=out) is out
    assert_same_bytes(out, expected)
    gradient = np.empty_like(x)
    assert backward(expected, x, out=gradient) is gradient
    assert_same_bytes(gradient, backward(expected, x))
    with pytest.raises(ValueError) as error:
        forward(x, out=out[:1])
    assert str(error.value) == (
        f"{function}: out has shape {out[:1].shape}, the result {expected.shape}; give out that shape"
    )
    with pytest.raises(ValueError) as error:
        backward(expected, x, out=x)
    assert str(error.value) == f"{function}_backward: out overlaps an input in memory; give out memory of its own"


@pytest.mark.parametrize(
    ("keywords", "kind", "sentence"),
    [
        (
            {"padding_mode": "mirror"},
            ValueError,
            "padding_mode='mirror' must be one of 'reflect', 'replicate', 'zeros'",
        ),
        (
            {"padding_mode": 0},
            TypeError,
            "padding_mode=0 must be a string, not int; use one of 'reflect', 'replicate', 'zeros'",
        ),
        (
            {"kernel_size": 1025},
            ValueError,
            "kernel_size=1025 must be at most 1024 on axis H, not 1025; "
            "the outermost weights of a longer filter are too small for float64",
        ),
        (
            {"kernel_size": (3, 2**62)},
            ValueError,
            f"kernel_size=(3, {2**62}) must be at most 1024 on axis W, not {2**62}; "
            "the outermost weights of a longer filter are too small for float64",
        ),
        ({"kernel_size": 0}, ValueError, "kernel_size=0 must be at least 1 on axis H, not 0"),
        (
            {"kernel_size": 9},
            ValueError,
            "padding of 4 cells cannot be mirrored on axis H of size 4; use padding <= 3 or padding_mode='replicate'",
        ),
        (
            {"padding": 3},
            ValueError,
            "padding=3 must be smaller than the effective kernel size 3 on axis H; use padding <= 2",
        ),
        ({"stride": 0}, ValueError, "stride=0 must be at least 1 on axis H, not 0"),
        (
            {"layout": "NCHW"},
            ValueError,
            "layout='NCHW' must be 'channels_first' or 'channels_last'; for 'NCHW' write 'channels_first'",
        ),
    ],
)
def test_bad_arguments(keywords: dict[str, Any], kind: type[Exception], sentence: str) -> None:
    x = np.ones((1, 1, 4, 4))
    with pytest.raises(kind) as error:
        pooling.blur_pool2d(x, **keywords)
    assert str(error.value) == f"blur_pool2d: {sentence}"
    with pytest.raises(kind) as error:
        pooling.blur_pool2d_backward(np.ones((1, 1, 2, 2)), x, **keywords)
    assert str(error.value) == f"blur_pool2d_backward: {sentence}"


@pytest.mark.parametrize("value", [0, -1, 2**31, 2**62, 2**63 - 1, True, 1.5, (1, 2, 3), "3"])
@pytest.mark.parametrize("name", ["kernel_size", "stride", "padding", "blur_kernel_size"])
def test_anything_else_is_refused_or_answered_as_by_the_reference(name: str, value: Any) -> None:
    x = np.ones((1, 1, 4, 4))
    for function in FUNCTIONS:
        if name == "blur_kernel_size" and function == "blur_pool2d":
            continue
        # A filter that is too long to be mirrored, or for the reference to finish.
        result = outcome(getattr(pooling, function), x, **{name: value})
        if isinstance(value, int) and value >= 2**31:
            assert result is ValueError or (name == "stride" and result.shape == (1, 1, 1, 1))
        else:
            expected = outcome(getattr(reference, function), x, **{name: value})
            np.testing.assert_array_equal(result, expected)


def test_bad_gradients() -> None:
    x = np.ones((1, 1, 4, 4))
    for function in FUNCTIONS:
        backward = getattr(pooling, f"{function}_backward")
        with pytest.raises(ValueError) as error:
            backward(np.ones((1, 1, 2, 3)), x)
        assert str(error.value) == (
            f"{function}_backward: grad_output has shape (1, 1, 2, 3), but the forward call returns (1, 1, 2, 2) "
            "for input (1, 1, 4, 4)"
        )
        with pytest.raises(TypeError) as kind:
            backward(np.ones((1, 1, 2, 2), np.float32), x)
        assert str(kind.value) == (
            f"{function}_backward: grad_output has dtype float32, the input float64; give both the same"
        )


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "complex64", "object"])
def test_other_dtypes_are_refused(function: str, dtype: str) -> None:
    x = np.zeros((1, 1, 4, 4), dtype)
    with pytest.raises(TypeError) as error:
        getattr(pooling, function)(x)
    expected = f"{function}: input has dtype {dtype}, which is not accepted; use float16, bfloat16, float32, float64"
    assert str(error.value) == expected


# --- layers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batched", [True, False])
@given(data=st.data())
def test_layers_do_what_their_functions_do(batched: bool, layout: str, data: st.DataObject) -> None:
    for function, kind in (("blur_pool2d", pooling.BlurPool2d), ("max_blur_pool2d", pooling.MaxBlurPool2d)):
        _, arguments = data.draw(calls(function, layout))
        shape = data.draw(array_shapes(2, layout, batched=batched))
        x = random_array(shape)
        expected = outcome(getattr(pooling, function), x, **arguments)
        assume(not isinstance(expected, type))
        layer = kind(**arguments)
        np.testing.assert_array_equal(layer(x), expected)
        assert layer.output_shape(x.shape) == expected.shape
        out = np.empty_like(x)
        assert layer.backward(expected, x, out=out) is out
        np.testing.assert_array_equal(out, getattr(pooling, f"{function}_backward")(expected, x, **arguments))


def test_layers_show_themselves_and_tell_their_windows() -> None:
    assert repr(pooling.BlurPool2d()) == "BlurPool2d(kernel_size=3)"
    assert repr(pooling.BlurPool2d(5, None, 1)) == "BlurPool2d(kernel_size=5, stride=None, padding=1)"
    layer = pooling.MaxBlurPool2d(3, padding=1, blur_kernel_size=5, padding_mode="zeros")
    assert repr(layer) == "MaxBlurPool2d(kernel_size=3, padding=1, blur_kernel_size=5, padding_mode='zeros')"
    axis = layer.axes((1, 1, 16, 16))[0]
    assert (axis.kernel_size, axis.stride, axis.pad_begin, axis.pad_end, axis.output_size) == (7, 2, 3, 3, 8)
