"""Lp pooling and the generalised mean against the reference, torch, small steps, and their own rules."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pooling
from pooling import reference
from pooling.arrays import rounded
from pooling.signs import short_repr
from tests.conftest import (
    FLOATS,
    GEOMETRIES,
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
EXPONENTS = [1, 2, 3, 2.5, 7, 30.0, 0.5, 0.1, INF, np.float32(1.5)]
FUNCTIONS = ["lp_pool1d", "lp_pool2d", "lp_pool3d", "global_lp_pool", "gem_pool2d"]


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a call returns, or the kind of error that it raises."""
    try:
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)
    except (TypeError, ValueError) as error:
        return type(error)


def special(dtype: str, shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    """Draw numbers that break things; bfloat16 has no ``finfo`` and takes those of float32."""
    narrow = dtype == "bfloat16"
    found = special_arrays(np.float32 if narrow else dtype, shape, summed=True)
    return found.map(lambda values: values.astype(dtype_of(dtype)))


@st.composite
def calls(draw: st.DrawFn, function: str, layout: str) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Draw the shape of an input and the arguments of a call."""
    if function == "gem_pool2d":
        shape = draw(array_shapes(2, layout))
        arguments: dict[str, Any] = {"p": draw(st.sampled_from([1, 2, 3.0, 2.5, 60.0, 0.5]))}
        arguments["eps"] = draw(st.sampled_from([1e-6, 0.25]))
    elif function == "global_lp_pool":
        shape = draw(array_shapes(draw(st.integers(1, 3)), layout, batched=True))
        arguments = {"p": draw(st.sampled_from(EXPONENTS))}
    else:
        dimensions = int(function[-2])
        shape = draw(array_shapes(dimensions, layout))
        arguments = {"norm_type": draw(st.sampled_from(EXPONENTS)), **draw(window_arguments(dimensions))}
    return shape, arguments | {"layout": layout}


def taps_of(x: Array, arguments: dict[str, Any]) -> int:
    kernel = arguments.get("kernel_size")
    if kernel is None:
        return x.size
    return math.prod(kernel if isinstance(kernel, tuple) else (kernel,) * (x.ndim - 1))


def relative(taps: int, p: float) -> float:
    """Bound the relative error of a norm in float64, of this library's and the reference's together.

    A power is wrong by p roundings of its base and its own; a sum by one for each tap; the root takes p-th parts of
    that, and makes of the rounding of 1 / p the logarithm of the sum, 45 at most where nothing was scaled.
    """
    rest = 4 if math.isinf(p) else (taps + math.log(taps + 1) + 50) / p
    return 2 * UNIT["float64"] * (6 + rest)


def exponent_of(arguments: dict[str, Any]) -> float:
    return float(arguments["norm_type"] if "norm_type" in arguments else arguments["p"])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("function", FUNCTIONS)
@given(data=st.data())
def test_any_call_answers_as_the_reference(function: str, dtype: str, layout: str, data: st.DataObject) -> None:
    shape, arguments = data.draw(calls(function, layout), label="call")
    values = data.draw(special(dtype, shape), label="values")
    x = LYING[data.draw(st.sampled_from(sorted(LYING)), label="lying")](values)
    before = x.tobytes()
    result = outcome(getattr(pooling, function), x, **arguments)
    expected = outcome(getattr(reference, function), x, **arguments)
    assert x.tobytes() == before, "the input was modified"
    if isinstance(expected, type) or isinstance(result, type):
        assert result is expected
        return
    assert result.dtype == x.dtype.newbyteorder("=")
    exact = getattr(reference, function)(x.astype(np.float64), **arguments)
    magnitudes = np.where(np.isfinite(exact), exact, 0)
    # What is beyond the largest number of the dtype is infinite.
    exact = np.where(np.isinf(expected.astype(np.float64)), np.inf, exact)
    bound = relative(taps_of(x, arguments), exponent_of(arguments)) + (0 if dtype == "float64" else UNIT[dtype])
    assert_within(result.astype(np.float64), exact, bound * magnitudes + TINY[dtype])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("function", FUNCTIONS)
@given(data=st.data())
def test_any_gradient_is_that_of_the_reference(function: str, dtype: str, layout: str, data: st.DataObject) -> None:
    shape, arguments = data.draw(calls(function, layout), label="call")
    p = exponent_of(arguments)
    # Below 1, the gradient has a pole at 0: what is wrong in the last bit of a denormal ratio then is anything.
    if data.draw(st.just(False) if p < 1 else st.booleans(), label="special"):
        x = data.draw(special(dtype, shape), label="values")
    else:
        x = random_array(shape, dtype_of(dtype), data.draw(st.integers(0, 99), label="seed"))
    output = outcome(getattr(reference, function), x, **arguments)
    backward, twin = getattr(pooling, f"{function}_backward"), getattr(reference, f"{function}_backward")
    if isinstance(output, type):
        assert outcome(backward, np.zeros(1, x.dtype), x, **arguments) is output
        return
    lying = LYING[data.draw(st.sampled_from(sorted(LYING)), label="lying")]
    grad = lying(random_array(output.shape, dtype_of(dtype), 1))
    x = lying(x)
    before = x.tobytes(), grad.tobytes()
    result = backward(grad, x, **arguments)
    assert (x.tobytes(), grad.tobytes()) == before, "an argument was modified"
    wide, wide_grad = x.astype(np.float64), grad.astype(np.float64)
    with np.errstate(all="ignore"):
        exact = twin(wide_grad, wide, **arguments)
        magnitudes = twin(np.abs(wide_grad), np.abs(wide) if function != "gem_pool2d" else wide, **arguments)
        expected = twin(grad, x, **arguments)
    taps = taps_of(x, arguments)
    power = 1 if math.isinf(p) else abs(p - 1)
    error = 2 * power * (relative(taps, p) + 4 * UNIT["float64"]) + 2 * (taps + 4) * UNIT["float64"]
    if function == "gem_pool2d":
        (result, exponent), (exact, exact_exponent), (magnitudes, _) = result, exact, magnitudes
        expected = expected[0]
        # Logarithms of either sign cancel: relative to the largest that a map of these numbers can give.
        np.testing.assert_allclose(exponent, exact_exponent, rtol=1e-9, atol=1e-9 * (1 + np.abs(wide_grad).sum() * 20))
    assert result.dtype == x.dtype.newbyteorder("=")
    # What is beyond the largest number of the dtype is infinite.
    exact = np.where(np.isinf(expected.astype(np.float64)), expected.astype(np.float64), exact)
    magnitudes = np.nan_to_num(np.abs(magnitudes), posinf=0)
    allowed = (error + (0 if dtype == "float64" else UNIT[dtype])) * magnitudes + TINY[dtype]
    assert_within(result.astype(np.float64), exact, allowed + 64 * taps * TINY["float64"])


SMALL = [
    name
    for name, geometry in GEOMETRIES.items()
    if math.prod(geometry.shape) < 4000 and "kernel_so_large" not in name and "wider_sums" not in name
]


@pytest.mark.parametrize("p", [2, 3.5])
@pytest.mark.parametrize("path", SMALL)
def test_the_norm_by_every_path(path: str, p: float) -> None:
    geometry = GEOMETRIES[path]
    name = f"lp_pool{geometry.dimensions}d"
    x = random_array(geometry.shape)
    x[np.random.default_rng(0).random(x.shape) < 0.2] = 0
    expected = getattr(reference, name)(x, p, **geometry.windows)
    for dtype in ("float32", "float64"):
        bound = relative(400, p) + (0 if dtype == "float64" else UNIT[dtype])
        result = getattr(pooling, name)(x.astype(dtype), p, **geometry.windows)
        assert_within(result, expected, bound * expected)
        result = getattr(pooling, name)(channels_last(x).astype(dtype), p, **geometry.windows, layout="channels_last")
        assert_within(result, channels_last(expected), bound * channels_last(expected))
    grad = random_array(expected.shape, seed=1)
    exact = getattr(reference, f"{name}_backward")(grad, x, p, **geometry.windows)
    allowed = np.full(exact.shape, 1e-12 * np.abs(grad).max())
    assert_within(getattr(pooling, f"{name}_backward")(grad, x, p, **geometry.windows), exact, allowed)
    result = getattr(pooling, f"{name}_backward")(
        channels_last(grad), channels_last(x), p, **geometry.windows, layout="channels_last"
    )
    assert_within(result, channels_last(exact), channels_last(allowed))


# --- rules that each deserve their own test -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "p", "dtype", "expected"),
    [
        ([1e20, 1e20], 2, "float32", math.sqrt(2) * 1e20),
        ([1e-30, 1e-30], 2, "float32", math.sqrt(2) * 1e-30),
        ([1e200, 1e200], 2, "float64", math.sqrt(2) * 1e200),
        ([1e-200, 1e-200], 2, "float64", math.sqrt(2) * 1e-200),
        ([3e300, 4e300], 2, "float64", 5e300),
        ([1e300, 1e300], 30.5, "float64", 2 ** (1 / 30.5) * 1e300),
        ([1e-300, 1e-300], 30.5, "float64", 2 ** (1 / 30.5) * 1e-300),
        ([300, 400], 2, "float16", 500),
        ([1e-7, 0], 3, "float16", float(np.float16(1e-7))),
        ([7e37, 7e37], 3, "bfloat16", 2 ** (1 / 3) * 7e37),
        ([2.0, 0.0], 1e-300, "float64", 2.0),
        ([-1.0, -2.0], 1, "float32", 3),
        ([-1.0, -2.0], 3, "float32", 9 ** (1 / 3)),
        ([-1.0, -2.0], INF, "float32", 2),
        ([0.0, -0.0], 2, "float32", 0),
        ([0.0, -0.0], 0.5, "float64", 0),
        ([INF, 1.0], 2, "float32", INF),
        ([-INF, INF], 3, "float32", INF),
        ([1e308, 1e308], 1, "float64", INF),
        ([NAN, INF], 2, "float32", NAN),
        ([NAN, 0], INF, "float32", NAN),
    ],
)
def test_the_norm_of_two(values: list[float], p: float, dtype: str, expected: float) -> None:
    x = np.array([[values]], dtype_of(dtype))
    rounding = UNIT[dtype] * (3 if dtype == "bfloat16" else 2)
    for result in (pooling.lp_pool1d(x, p, 2), pooling.global_lp_pool(x, p, dimensions=1)):
        np.testing.assert_allclose(result.astype(np.float64).item(), expected, rtol=rounding + 4e-15)


def test_float32_beyond_its_largest_number_is_infinite() -> None:
    assert pooling.lp_pool1d(np.full((1, 1, 2), 3e38, np.float32), 2, 2).item() == INF
    assert pooling.lp_pool1d(np.full((1, 1, 2), 60000, np.float16), 2, 2).item() == INF


def test_one_huge_or_tiny_window_leaves_its_neighbours_alone() -> None:
    """A window is a matter of its own elements: its bytes are the same beside any other."""
    x = random_array((1, 1, 40))
    alone = pooling.lp_pool1d(x, 3, 4)
    beside = np.concatenate([x, np.full((1, 1, 4), 1e200), np.full((1, 1, 4), 1e-200)], axis=2)
    assert_same_bytes(np.ascontiguousarray(pooling.lp_pool1d(beside, 3, 4)[..., :10]), alone)


def test_a_window_of_zeros_has_no_gradient_and_zeros_have_none() -> None:
    x = np.array([[[0.0, 0.0, 3.0, 0.0, -3.0, -0.0]]])
    for p, large in ((0.5, 1.0), (1, 1.0), (2, 1.0), (3, 1.0), (INF, 1.0)):
        result = pooling.lp_pool1d_backward(np.ones((1, 1, 3)), x, p, 2)
        assert result.ravel().tolist() == [0, 0, large, 0, -large, 0]


def test_the_gradient_for_infinity_goes_to_the_first_of_the_largest() -> None:
    x = np.array([[[-2.0, 2.0, 1.0, 1.0, NAN, NAN]]])
    result = pooling.lp_pool1d_backward(np.full((1, 1, 2), 5.0), x, INF, 3)
    assert np.abs(result).ravel().tolist() == [5, 0, 0, 0, 5, 0]
    assert result[0, 0, 0] == -5


def test_gradients_stay_finite_where_powers_do_not() -> None:
    for scale in (1e-200, 1e200):
        x = np.array([[[3.0, 4.0]]]) * scale
        result = pooling.lp_pool1d_backward(np.ones((1, 1, 1)), x, 2, 2)
        np.testing.assert_allclose(result.ravel(), [0.6, 0.8], rtol=1e-15)


def test_padding_counts_as_nothing() -> None:
    x = random_array((1, 2, 5, 6))
    result = pooling.lp_pool2d(x, 3, 3, 2, padding=1)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    np.testing.assert_array_equal(result, pooling.lp_pool2d(padded, 3, 3, 2))


def test_windows_without_elements_have_the_norm_0_and_no_gradient() -> None:
    x = np.array([[[1.0, 2.0, 3.0]]])
    windows: dict[str, Any] = {"kernel_size": 2, "stride": 1, "padding": 3, "dilation": 4}
    for p in (1, 2, 2.5, INF):
        expected = reference.lp_pool1d(x, p, **windows)
        assert 0 in expected
        np.testing.assert_array_equal(pooling.lp_pool1d(x, p, **windows), expected)
        gradient = pooling.lp_pool1d_backward(np.ones_like(expected), x, p, **windows)
        np.testing.assert_array_equal(gradient, reference.lp_pool1d_backward(np.ones_like(expected), x, p, **windows))


def test_generalised_means_of_extreme_exponents() -> None:
    x = np.array([[[[1e-9, 0.5, 1.0, 0.25]]]])
    assert pooling.gem_pool2d(x, 1).item() == (1e-6 + 0.5 + 1 + 0.25) / 4
    np.testing.assert_allclose(pooling.gem_pool2d(x * 1e-3, 300.0, 1e-12).item(), 1e-3 * 0.25 ** (1 / 300), rtol=1e-14)
    assert pooling.gem_pool2d(-x).item() == pytest.approx(1e-6, rel=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_there_is_one_rounding(dtype: str) -> None:
    """Sums of two that lie anywhere: each is the correctly rounded one."""
    x = np.abs(random_array((1, 1, 20000), np.float32)).astype(dtype_of(dtype))
    result = pooling.lp_pool1d(x, 1, 2)
    pairs = x.astype(np.float64).reshape(-1, 2).sum(1)
    expected = np.array([reference.nearest(float(value), x.dtype) for value in pairs])
    np.testing.assert_array_equal(result.ravel().astype(np.float64), expected)


def test_rounding_to_bfloat16_is_not_done_twice() -> None:
    """These lie just beside the middle of two bfloat16, where float32 would put them."""
    bfloat16 = dtype_of("bfloat16")
    beside = [257 + 2.0**-40, 257 - 2.0**-40, 259 + 2.0**-40, 259 - 2.0**-40, -257 - 2.0**-40, 0.0, NAN, INF, 1e300]
    values = np.array([*beside, 1e-300, 2.0**-134 * (1 + 2.0**-40), 2.0**-134 * (1 - 2.0**-40)])
    expected = [reference.nearest(value, bfloat16) for value in values.tolist()]
    result = rounded(values, np.empty(values.shape, bfloat16))
    np.testing.assert_array_equal(result.astype(np.float64), expected)


# --- small steps and torch ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("function", "shape", "arguments"),
    [
        *[("lp_pool1d", (2, 2, 9), {"norm_type": p, "kernel_size": 3, "stride": 2, "padding": 1}) for p in (1, 3, 0.5)],
        ("lp_pool2d", (1, 2, 6, 5), {"norm_type": 2, "kernel_size": 3, "stride": 2, "dilation": 2}),
        ("lp_pool2d", (1, 2, 6, 5), {"norm_type": 2.5, "kernel_size": (2, 3), "ceil_mode": True}),
        ("lp_pool3d", (1, 2, 4, 3, 3), {"norm_type": 4, "kernel_size": 2, "stride": 1}),
        ("global_lp_pool", (2, 3, 4, 3), {"p": 3}),
        ("global_lp_pool", (2, 3, 7), {"p": INF, "dimensions": 1}),
        ("gem_pool2d", (2, 3, 4, 3), {"p": 3.0, "eps": 0.3}),
        ("gem_pool2d", (1, 2, 3, 3), {"p": 0.7, "eps": 1e-6}),
    ],
)
def test_gradients_are_what_a_small_step_makes(
    function: str, shape: tuple[int, ...], arguments: dict[str, Any], layout: str
) -> None:
    random = np.random.default_rng(0)
    # Away from the kinks at 0 and eps, and with no two that tie for the largest.
    x = random.permutation(np.linspace(0.5, 2, math.prod(shape))).reshape(shape) * random.choice([-1, 1], shape)
    x = x if layout == "channels_first" else channels_last(x)
    call = functools.partial(getattr(pooling, function), **arguments, layout=layout)
    grad = random_array(call(x).shape, seed=1)
    result = getattr(pooling, f"{function}_backward")(grad, x, **arguments, layout=layout)
    step = 2.0**-12
    if function == "gem_pool2d":
        result, exponent = result
        p = arguments["p"]
        change = call(x, p=p + step) - call(x, p=p - step)
        assert exponent == pytest.approx((grad * change).sum() / (2 * step), rel=1e-6, abs=1e-6)
    expected = np.zeros_like(x)
    for cell in np.ndindex(x.shape):
        there, back = x.copy(), x.copy()
        there[cell] += step
        back[cell] -= step
        expected[cell] = (grad * (call(there) - call(back))).sum() / (2 * step)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, 2.5])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_positive_numbers_give_what_torch_gives(dimensions: int, p: float) -> None:
    """Of negative numbers torch takes no magnitude, and pads nothing."""
    torch = pytest.importorskip("torch")
    x = np.abs(random_array((2, 3, *[7] * dimensions))) + 0.01
    tensor = torch.tensor(x, requires_grad=True)
    expected = getattr(torch.nn.functional, f"lp_pool{dimensions}d")(tensor, p, 3, stride=2)
    result = getattr(pooling, f"lp_pool{dimensions}d")(x, p, 3, stride=2)
    np.testing.assert_allclose(result, expected.detach().numpy(), rtol=1e-13)
    grad = random_array(result.shape, seed=1)
    expected.backward(torch.tensor(grad))
    gradient = getattr(pooling, f"lp_pool{dimensions}d_backward")(grad, x, p, 3, stride=2)
    np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-12, atol=1e-13)


def test_odd_exponents_of_negative_numbers_where_torch_errs() -> None:
    torch = pytest.importorskip("torch")
    x = np.array([[[-1.0, -2.0]]])
    assert torch.nn.functional.lp_pool1d(torch.tensor(x), 1, 2).item() == -3
    assert pooling.lp_pool1d(x, 1, 2).item() == 3
    assert math.isnan(torch.nn.functional.lp_pool1d(torch.tensor(x), 3, 2).item())
    assert pooling.lp_pool1d(x, 3, 2).item() == 9 ** (1 / 3)


# --- arrays, threads and bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("p", [1, 2, 3.5, INF])
def test_any_number_of_threads_makes_the_same_bytes(p: float, layout: str, always_parallel: None) -> None:
    x = random_array((3, 5, 9, 11), np.float32)
    x[0, 0] = 0
    windows: dict[str, Any] = {"kernel_size": 3, "stride": 2, "padding": 1, "layout": layout}

    def everything() -> list[Array]:
        y = pooling.lp_pool2d(x, p, **windows)
        found = [y, pooling.lp_pool2d_backward(y, x, p, **windows), pooling.global_lp_pool(x, p, layout=layout)]
        mean = pooling.gem_pool2d(x, min(p, 60.0), layout=layout)
        gradient, exponent = pooling.gem_pool2d_backward(mean, x, min(p, 60.0), layout=layout)
        return [*found, mean, gradient, np.array(exponent)]

    with pooling.threads(1):
        expected = everything()
    for count in (2, 3, 7):
        with pooling.threads(count):
            for result, alone in zip(everything(), expected, strict=True):
                assert_same_bytes(result, alone)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("empty", [0, 1])
def test_an_empty_batch_or_no_channels(empty: int, layout: str) -> None:
    shape = [2, 3, 6, 6]
    shape[empty] = 0
    x = np.zeros(shape, np.float32)
    x = x if layout == "channels_first" else channels_last(x)
    for function, arguments in (("lp_pool2d", (3.0, 2)), ("global_lp_pool", (3,)), ("gem_pool2d", ())):
        y = getattr(pooling, function)(x, *arguments, layout=layout)
        assert y.shape == getattr(reference, function)(x, *arguments, layout=layout).shape
        gradient = getattr(pooling, f"{function}_backward")(y, x, *arguments, layout=layout)
        if function == "gem_pool2d":
            gradient, exponent = gradient
            assert exponent == 0
        assert gradient.shape == x.shape


@pytest.mark.parametrize("dtype", FLOATS)
def test_out_is_filled_and_returned(dtype: str) -> None:
    x = random_array((2, 3, 6, 6), dtype_of(dtype))
    calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (pooling.lp_pool2d, (x, 2, 2)),
        (pooling.lp_pool2d_backward, (x[:, :, ::2, ::2], x, 2, 2)),
        (pooling.global_lp_pool, (x,)),
        (pooling.global_lp_pool_backward, (x[:, :, :1, :1], x)),
        (pooling.gem_pool2d, (x,)),
    ]
    for function, arguments in calls:
        expected = function(*arguments)
        out = np.empty_like(expected)
        assert function(*arguments, out=out) is out
        assert_same_bytes(out, expected)
        with pytest.raises(ValueError) as error:
            function(*arguments, out=out[None])
        assert str(error.value).startswith(f"{function.__name__}: out has shape (1, ")
    out = np.empty_like(x)
    assert pooling.gem_pool2d_backward(x[:, :, :1, :1], x, out=out)[0] is out


@pytest.mark.parametrize(
    ("value", "kind", "ending"),
    [
        (0, ValueError, "must be above 0; use 1, 2 or another power, or math.inf for the maximum"),
        (-2, ValueError, "must be above 0; use 1, 2 or another power, or math.inf for the maximum"),
        (NAN, ValueError, "must be above 0; use 1, 2 or another power, or math.inf for the maximum"),
        (-INF, ValueError, "must be above 0; use 1, 2 or another power, or math.inf for the maximum"),
        (10**400, ValueError, "must be above 0; use 1, 2 or another power, or math.inf for the maximum"),
        (True, TypeError, "must be a real number, not bool"),
        ("2", TypeError, "must be a real number, not str"),
        (None, TypeError, "must be a real number, not NoneType"),
        ((2, 2), TypeError, "must be a real number, not tuple"),
        (2j, TypeError, "must be a real number, not complex"),
    ],
)
def test_bad_exponents(value: Any, kind: type[Exception], ending: str) -> None:
    x = np.ones((1, 1, 4, 4))
    for function, name in (("lp_pool2d", "norm_type"), ("global_lp_pool", "p")):
        keywords = {name: value} | ({"kernel_size": 2} if name == "norm_type" else {})
        y = np.ones((1, 1, 2, 2) if name == "norm_type" else (1, 1, 1, 1))
        for called, arguments in ((function, (x,)), (f"{function}_backward", (y, x))):
            with pytest.raises(kind) as error:
                getattr(pooling, called)(*arguments, **keywords)
            assert str(error.value) == f"{called}: {name}={short_repr(value)} {ending}"


@pytest.mark.parametrize("name", ["p", "eps"])
@pytest.mark.parametrize("value", [0, -1.0, NAN, INF, 10**400, "3", None, False])
def test_bad_arguments_of_a_generalised_mean(name: str, value: Any) -> None:
    x = np.ones((1, 1, 4, 4))
    number = type(value) in (int, float)
    with pytest.raises(ValueError if number else TypeError) as error:
        pooling.gem_pool2d(x, **{name: value})
    kind = type(value).__name__
    rule = f"a finite number above 0; use a float like {name}=3.0" if number else f"a real number, not {kind}"
    assert str(error.value) == f"gem_pool2d: {name}={short_repr(value)} must be {rule}"
    with pytest.raises(ValueError if number else TypeError):
        pooling.gem_pool2d_backward(np.ones((1, 1, 1, 1)), x, **{name: value})


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "complex64", "object", "U3"])
def test_other_dtypes_are_refused(function: str, dtype: str) -> None:
    dimensions = int(function[-2]) if function.startswith("lp") else 2
    x = np.zeros((1, 1, *[4] * dimensions), dtype)
    arguments = (2, 2) if function.startswith("lp") else ()
    with pytest.raises(TypeError) as error:
        getattr(pooling, function)(x, *arguments)
    expected = (
        f"{function}: input has dtype {x.dtype.name}, which is not accepted; use float16, bfloat16, float32, float64"
    )
    assert str(error.value) == expected


def test_bad_gradients_ranks_and_layouts() -> None:
    x = np.ones((1, 1, 4, 4))
    with pytest.raises(ValueError) as error:
        pooling.lp_pool2d_backward(np.ones((1, 1, 2, 3)), x, 2, 2)
    assert str(error.value) == (
        "lp_pool2d_backward: grad_output has shape (1, 1, 2, 3), but the forward call returns (1, 1, 2, 2) "
        "for input (1, 1, 4, 4)"
    )
    with pytest.raises(TypeError) as kind:
        pooling.gem_pool2d_backward(np.ones((1, 1, 1, 1), np.float32), x)
    assert str(kind.value) == (
        "gem_pool2d_backward: grad_output has dtype float32, the input float64; give both the same"
    )
    for call in (
        lambda: pooling.lp_pool2d(np.ones((4, 4)), 2, 2),
        lambda: pooling.lp_pool1d(np.ones((1, 1, 4, 4)), 2, 2),
        lambda: pooling.gem_pool2d(np.ones((1, 1, 1, 4, 4))),
        lambda: pooling.global_lp_pool(np.ones((1, 4))),
        lambda: pooling.lp_pool2d(x, 2, 2, layout="channels"),  # type: ignore[arg-type]
        lambda: pooling.lp_pool2d(x, 2, 5),
        lambda: pooling.lp_pool2d(x, 2, 0),
        lambda: pooling.lp_pool2d(x, 2, 2, padding=2),
        lambda: pooling.lp_pool2d(x, 2, 2, dilation=2**62),
        lambda: pooling.global_lp_pool(np.ones((1, 1, 0)), dimensions=1),
        lambda: pooling.gem_pool2d(np.ones((1, 1, 0, 4))),
    ):
        with pytest.raises(ValueError):
            call()


# --- layers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_layers_do_what_their_functions_do(dimensions: int, batched: bool, layout: str) -> None:
    x = random_array((2, 3, *[6] * dimensions))
    x = x if layout == "channels_first" else channels_last(x)
    one = x if batched else x[0]
    layers: list[pooling.Layer] = [
        getattr(pooling, f"LPPool{dimensions}d")(3, 2, padding=1, layout=layout),  # type: ignore[arg-type]
        getattr(pooling, f"GlobalLPPool{dimensions}d")(3, layout=layout),
    ]
    results = [
        getattr(pooling, f"lp_pool{dimensions}d")(x, 3, 2, padding=1, layout=layout),
        pooling.global_lp_pool(x, 3, dimensions=dimensions, layout=layout),
    ]
    if dimensions == 2:
        layers.append(pooling.GeMPool2d(layout=layout))
        results.append(pooling.gem_pool2d(x, layout=layout))
    for layer, expected in zip(layers, results, strict=True):
        result = layer(one)
        np.testing.assert_array_equal(result, expected if batched else expected[0])
        assert layer.output_shape(one.shape) == result.shape
        out = np.empty_like(one)
        gradient = layer.backward(result, one, out=out)
        whole = layer.backward(expected, x)
        np.testing.assert_array_equal(gradient, whole if batched else whole[0])
        np.testing.assert_array_equal(out, gradient)


def test_layers_show_themselves_and_stand_in_a_sequence() -> None:
    assert repr(pooling.LPPool2d(2, 3, stride=2)) == "LPPool2d(norm_type=2, kernel_size=3, stride=2)"
    assert repr(pooling.GlobalLPPool1d()) == "GlobalLPPool1d(p=2)"
    assert repr(pooling.GeMPool2d(eps=1e-3)) == "GeMPool2d(p=3.0, eps=0.001)"
    assert pooling.LPPool2d(2, 3) == pooling.LPPool2d(2, 3) != pooling.LPPool2d(3, 3)
    stages = pooling.Sequential(pooling.LPPool2d(2, 2), pooling.GeMPool2d())
    x = np.abs(random_array((2, 3, 8, 8)))
    y = stages(x)
    assert y.shape == stages.output_shape(x.shape) == (2, 3, 1, 1)
    assert stages.backward(y, x).shape == x.shape
    layer = pooling.GeMPool2d()
    assert layer.exponent_gradient(y, x) == pooling.gem_pool2d_backward(y, x)[1]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("p", [1.0, 1.0000001, 0.9999999, 2.0, 0.5, 3.0, 60.0])
def test_a_generalised_mean_overflows_only_with_its_elements(dtype: str, p: float) -> None:
    largest = {"float16": 60000.0, "bfloat16": 2.0**127, "float32": 2.0**127, "float64": 1e308}[dtype]
    x = np.full((1, 1, 3, 4), largest, dtype_of(dtype))
    result = pooling.gem_pool2d(x, p=p).astype(np.float64).item()
    assert abs(result / largest - 1) <= 2 * UNIT[dtype] + 1e-15
    gradient, exponent_gradient = pooling.gem_pool2d_backward(np.ones((1, 1, 1, 1), x.dtype), x, p=p)
    np.testing.assert_allclose(gradient.astype(np.float64), 1 / 12, rtol=2 * UNIT[dtype] + 1e-14)
    assert abs(exponent_gradient) <= 1e-14 * largest
    x[0, 0, 0, 0] = 0
    gradient, exponent_gradient = pooling.gem_pool2d_backward(np.ones((1, 1, 1, 1), x.dtype), x, p=p)
    # Of smaller numbers the slope is as much smaller; that of the largest ones overflows in the reference.
    expected, slope = reference.gem_pool2d_backward(
        np.ones((1, 1, 1, 1)), x.astype(np.float64) / 1024, p=p, eps=1e-6 / 1024
    )
    np.testing.assert_allclose(gradient.astype(np.float64), expected, rtol=4 * UNIT[dtype] + 1e-13)
    np.testing.assert_allclose(exponent_gradient / 1024, slope, rtol=1e-12)


@pytest.mark.parametrize("p", [1, 1.5, INF])
def test_norms_of_numbers_whose_sum_overflows(p: float) -> None:
    x = np.array([1e308, -1e308, 1e308, 0]).reshape(1, 1, 4)
    expected = {1: INF, 1.5: INF, INF: 1e308}[p]
    assert pooling.lp_pool1d(x, p, 4).item() == expected
    assert pooling.global_lp_pool(x / 4, p, dimensions=1).item() == pytest.approx(
        {1: 7.5e307, 1.5: 3 ** (1 / 1.5) * 2.5e307}.get(p, 2.5e307)
    )
    gradient = pooling.lp_pool1d_backward(np.ones((1, 1, 1)), x / 4, p, 4).ravel()
    rate = 1 if p == 1 else 3 ** (-1 / 3)
    np.testing.assert_allclose(gradient, [1, 0, 0, 0] if p == INF else [rate, -rate, rate, 0], rtol=1e-14)
