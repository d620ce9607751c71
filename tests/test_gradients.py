"""Every gradient against the reference, numerical differentiation and torch, and indices that are not believed."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import pooling
from pooling import reference
from tests.conftest import (
    AVERAGED,
    CORE,
    FLOATS,
    LAYOUTS,
    LYING,
    PATHS,
    UNIT,
    Array,
    array_shapes,
    assert_same_bytes,
    assert_within,
    channels_last,
    dtype_of,
    positive_array,
    random_array,
    rounding_error,
    special_arrays,
    window_arguments,
)

NAN, INF = math.nan, math.inf
CALLS = [
    pytest.param(name, function, operator.gradient_dtypes, id=function)
    for name, operator in CORE.items()
    for function in operator.functions
]


@st.composite
def calls(draw: st.DrawFn, name: str, dimensions: int) -> dict[str, Any]:
    """Draw the arguments that a gradient shares with its forward call."""
    windows = CORE[name].windows
    if windows == "global":
        return {}
    if windows == "adaptive":
        one = st.none() | st.integers(1, 9)
        return {"output_size": draw(one | st.tuples(*[one] * dimensions))}
    optional: dict[str, st.SearchStrategy[Any]] = {"nan": st.sampled_from(["propagate", "ignore"])}
    if name == "avg_pool":
        optional = {"count_include_pad": st.booleans(), "divisor_override": st.sampled_from([1, -3, 0.5, 0.1])}
    return draw(window_arguments(dimensions)) | draw(st.fixed_dictionaries({}, optional=optional))


def allowed_error(dtype: str, windows: int, magnitudes: Array, exact: Array) -> Array:
    """Bound the error of a gradient: additions of so many windows' shares, each of them divided or multiplied."""
    return rounding_error(dtype, windows + 1, magnitudes, exact)


@pytest.mark.parametrize(("name", "function", "dtypes"), CALLS)
@settings(max_examples=60)
@given(data=st.data())
def test_any_gradient_is_that_of_the_reference(
    name: str, function: str, dtypes: tuple[str, ...], data: st.DataObject
) -> None:
    one_for_all = not CORE[name].dimensions
    dtype = data.draw(st.sampled_from(dtypes), label="dtype")
    layout = data.draw(st.sampled_from(LAYOUTS), label="layout")
    dimensions = data.draw(st.integers(1, 3), label="dimensions") if one_for_all else int(function[-2])
    arguments = data.draw(calls(name, dimensions), label="arguments") | {"layout": layout}
    shape = data.draw(array_shapes(dimensions, layout, batched=True if one_for_all else None), label="shape")
    x = data.draw(special_arrays(dtype, shape), label="input")
    try:
        output = getattr(reference, function)(x, **arguments)
    except ValueError:
        with pytest.raises(ValueError):
            getattr(pooling, f"{function}_backward")(np.zeros((1,), x.dtype), x, **arguments)
        return
    grad = data.draw(special_arrays(dtype, output.shape, summed=True), label="grad_output")
    lying = LYING[data.draw(st.sampled_from(sorted(LYING)), label="lying")]
    x, grad = lying(x), lying(grad)
    before = x.tobytes(), grad.tobytes()
    with np.errstate(all="ignore"):
        result = getattr(pooling, f"{function}_backward")(grad, x, **arguments)
    assert (x.tobytes(), grad.tobytes()) == before, "an argument was modified"
    assert result.dtype == dtype_of(dtype)
    twin = getattr(reference, f"{function}_backward")
    exact = twin(grad.astype(np.float64), x.astype(np.float64), **arguments)
    if "divisor_override" in arguments:
        arguments |= {"divisor_override": abs(arguments["divisor_override"])}
    magnitudes = np.where(np.isfinite(grad), np.abs(grad.astype(np.float64)), 0)
    with np.errstate(all="ignore"):
        magnitudes = twin(magnitudes, x.astype(np.float64), **arguments)
    # No element is in more windows than there are.
    assert_within(result, exact, allowed_error(dtype, max(grad.size, 1), magnitudes, exact))


def quarters(shape: tuple[int, ...], seed: int = 0) -> Array:
    """Numbers that every float dtype can hold, of which many tie."""
    return np.random.default_rng(seed).integers(-64, 65, shape) / 4


def exact_gradients(path: str, family: str, **keywords: Any) -> tuple[Array, Array, Array, Array]:
    """Make an input and a gradient; the exact gradient of the input, and the sum of the magnitudes in it."""
    geometry = PATHS[path]
    x, for_all = geometry.make(quarters)
    grad = quarters(getattr(pooling, geometry.function("max_pool"))(x, **geometry.windows).shape, 1)
    twin = functools.partial(
        getattr(reference, f"{geometry.function(family)}_backward"), **geometry.windows, **keywords
    )
    return for_all(x), for_all(grad), for_all(twin(grad, x)), for_all(twin(np.abs(grad), x))


def assert_gradient_by_path(family: str, path: str, **keywords: Any) -> None:
    geometry = PATHS[path]
    x, grad, exact, magnitudes = exact_gradients(path, family, **keywords)
    back = functools.partial(getattr(pooling, f"{geometry.function(family)}_backward"), **geometry.windows, **keywords)
    windows = max(1, min(geometry.taps, grad.size))
    for name in FLOATS:
        dtype = dtype_of(name)
        allowed = allowed_error(name, windows, magnitudes, exact)
        result = back(grad.astype(dtype), x.astype(dtype))
        assert result.dtype == dtype
        assert_within(result, exact, allowed)
        result = back(channels_last(grad).astype(dtype), channels_last(x).astype(dtype), layout="channels_last")
        assert_within(result, channels_last(exact), channels_last(allowed))


@pytest.mark.parametrize("path", PATHS)
def test_the_gradient_of_a_maximum_by_every_path(path: str) -> None:
    assert_gradient_by_path("max_pool", path)


@pytest.mark.parametrize(("path", "count_include_pad"), AVERAGED)
def test_the_gradient_of_an_average_by_every_path(path: str, count_include_pad: bool) -> None:
    assert_gradient_by_path("avg_pool", path, **({} if count_include_pad else {"count_include_pad": False}))


@pytest.mark.parametrize("path", [path for path, geometry in PATHS.items() if not geometry.adaptive])
def test_the_gradient_of_a_minimum_is_that_of_the_maximum_of_negated_numbers(path: str) -> None:
    geometry = PATHS[path]
    x = random_array(geometry.shape, np.float32)
    forward, backward = (getattr(pooling, geometry.function("max_pool") + end) for end in ("", "_backward"))
    grad = random_array(forward(x, **geometry.windows).shape, np.float32, 1)
    result = getattr(pooling, f"{geometry.function('min_pool')}_backward")(grad, -x, **geometry.windows)
    assert_same_bytes(result, backward(grad, x, **geometry.windows))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("kernel", [7, 13, 33, 64])
def test_half_gradients_of_overlapping_windows_lose_nothing(dtype: str, kernel: int) -> None:
    """Summed in their own dtype, the shares would fall short of the exact 1: in bfloat16, down to 0.06."""
    size = 2 * kernel + 3
    x = np.zeros((1, 1, size, size), dtype_of(dtype))
    grad = np.ones((1, 1, size + 1 - kernel, size + 1 - kernel), x.dtype)
    middle = pooling.avg_pool2d_backward(grad, x, kernel, 1)[0, 0, kernel + 1, kernel + 1]
    assert abs(float(middle) - 1) <= UNIT[dtype]
    x[0, 0, kernel + 1, kernel + 1] = 1
    assert pooling.max_pool2d_backward(grad, x, kernel, 1)[0, 0, kernel + 1, kernel + 1] == x.dtype.type(kernel**2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_gradients_where_torch_errs(dtype: str) -> None:
    """torch 2.13 sums the 33 x 33 shares of 1/1089 in the dtype itself: 0.25 in bfloat16, 1.055 in float16."""
    torch = pytest.importorskip("torch")
    x = torch.zeros((1, 1, 70, 70), dtype=getattr(torch, dtype), requires_grad=True)
    torch.nn.functional.avg_pool2d(x, 33, 1).sum().backward()
    theirs = x.grad[0, 0, 35, 35].item()
    ours = float(
        pooling.avg_pool2d_backward(
            np.ones((1, 1, 38, 38), dtype_of(dtype)), np.zeros((1, 1, 70, 70), dtype_of(dtype)), 33, 1
        )[0, 0, 35, 35]
    )
    print(f"{dtype}, average of 33 x 33 at stride 1: torch {theirs}, pooling {ours}, exact 1.0")
    assert abs(ours - 1) <= min(UNIT[dtype], abs(theirs - 1))


@pytest.mark.parametrize("kernel", [3, 9, 12, 21, 33])
def test_positive_float32_gradients_of_an_average_are_within_4_units(kernel: int) -> None:
    x = np.zeros((1, 1, 60, 70), np.float32)
    grad = positive_array((1, 1, 61 - kernel, 71 - kernel), np.float32)
    result = pooling.avg_pool2d_backward(grad, x, kernel, 1)
    exact = np.zeros(x.shape)
    for (h, w), value in np.ndenumerate(grad[0, 0].astype(np.float64)):
        exact[0, 0, h : h + kernel, w : w + kernel] += value / kernel**2
    np.testing.assert_array_less(np.abs(result - exact), 4 * 2.0**-23 * (1 + 2.0**-20) * exact)


# --- numerical differentiation ------------------------------------------------------------------------------------


def distinct(shape: tuple[int, ...], seed: int = 0) -> Array:
    """Numbers of both signs that lie at least 1/4 apart, so that a small step changes no maximum."""
    size = math.prod(shape)
    return (np.random.default_rng(seed).permutation(size) / 4.0 - size / 8).reshape(shape)


DIFFERENTIATED: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("max_pool1d", (2, 2, 9), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("max_pool1d", (2, 11), {"kernel_size": 3, "stride": 1, "dilation": 3, "padding": 4}),
    (
        "max_pool2d",
        (1, 2, 6, 7),
        {"kernel_size": 3, "stride": 2, "padding": ((0, 1), (2, 0)), "ceil_mode": True},
    ),
    ("max_pool3d", (1, 2, 4, 5, 3), {"kernel_size": 2, "stride": (1, 2, 1)}),
    ("avg_pool1d", (2, 2, 9), {"kernel_size": 4, "stride": 3, "padding": 2}),
    (
        "avg_pool1d",
        (2, 11),
        {"kernel_size": 3, "dilation": 3, "padding": 4, "stride": 2, "count_include_pad": False},
    ),
    (
        "avg_pool2d",
        (1, 2, 6, 7),
        {"kernel_size": 3, "stride": 2, "padding": ((0, 1), (2, 0)), "ceil_mode": True},
    ),
    ("avg_pool2d", (2, 5, 5), {"kernel_size": (2, 3), "stride": 1, "divisor_override": -5}),
    ("avg_pool3d", (1, 2, 4, 5, 3), {"kernel_size": 2, "stride": (1, 2, 1), "padding": "same"}),
    ("min_pool1d", (2, 2, 9), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("min_pool2d", (1, 2, 6, 7), {"kernel_size": 3, "stride": 2, "dilation": 2, "padding": 1}),
    ("min_pool3d", (1, 2, 4, 5, 3), {"kernel_size": 2, "stride": (1, 2, 1)}),
    ("adaptive_max_pool1d", (2, 2, 9), {"output_size": 4}),
    ("adaptive_max_pool2d", (1, 2, 6, 7), {"output_size": (4, 9)}),
    ("adaptive_max_pool3d", (2, 4, 5, 3), {"output_size": (3, None, 2)}),
    ("adaptive_avg_pool1d", (2, 2, 9), {"output_size": 4}),
    ("adaptive_avg_pool2d", (1, 2, 6, 7), {"output_size": (4, 9)}),
    ("adaptive_avg_pool3d", (2, 4, 5, 3), {"output_size": (3, None, 2)}),
    ("global_max_pool", (2, 3, 4, 5), {}),
    ("global_avg_pool", (2, 3, 4, 5), {}),
    ("global_max_pool", (2, 3, 7), {"dimensions": 1}),
    ("global_avg_pool", (2, 2, 3, 2, 4), {}),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("function", "shape", "arguments"), DIFFERENTIATED)
def test_gradients_are_what_a_small_step_makes(
    function: str, shape: tuple[int, ...], arguments: dict[str, Any], layout: str
) -> None:
    call = functools.partial(getattr(pooling, function), **arguments, layout=layout)
    x = distinct(shape)
    if layout == "channels_last":
        channels = len(shape) - int(function[-2]) - 1 if function.endswith("d") else 1
        x = np.moveaxis(x, channels, -1).copy()
    grad = random_array(call(x).shape, seed=1)
    result = getattr(pooling, f"{function}_backward")(grad, x, **arguments, layout=layout)
    step = 1 / 16  # exact; both kinds of pooling are linear between their kinks
    expected = np.zeros_like(x)
    for cell in np.ndindex(x.shape):
        there, back = x.copy(), x.copy()
        there[cell] += step
        back[cell] -= step
        expected[cell] = (grad * (call(there) - call(back))).sum() / (2 * step)
    np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)


def test_every_gradient_is_differentiated() -> None:
    functions = {function for operator in CORE.values() for function in operator.functions}
    assert {function for function, *_ in DIFFERENTIATED} == functions


# --- torch -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("family", ["max_pool", "avg_pool"])
@given(data=st.data())
def test_values_and_gradients_are_those_of_torch_where_torch_has_the_arguments(
    family: str, dimensions: int, data: st.DataObject
) -> None:
    torch = pytest.importorskip("torch")
    kernel = data.draw(st.tuples(*[st.integers(1, 4)] * dimensions), label="kernel_size")
    arguments: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": data.draw(st.tuples(*[st.integers(1, 3)] * dimensions), label="stride"),
        # torch takes no more than half the undilated kernel.
        "padding": data.draw(st.tuples(*[st.integers(0, k // 2) for k in kernel]), label="padding"),
        "ceil_mode": data.draw(st.booleans(), label="ceil_mode"),
    }
    if family == "max_pool":
        arguments["dilation"] = data.draw(st.tuples(*[st.integers(1, 2)] * dimensions), label="dilation")
    else:
        arguments["count_include_pad"] = data.draw(st.booleans(), label="count_include_pad")
    # Nor does it pool what is smaller than the kernel, however much padding there is.
    shape = (2, 2, *data.draw(st.tuples(*[st.integers(k, 8) for k in kernel]), label="spatial"))
    values = st.integers(-4, 4).map(float)
    x = np.array(data.draw(st.lists(values, min_size=1, max_size=30), label="values"))
    x = np.resize(x, shape)
    try:
        output = getattr(pooling, f"{family}{dimensions}d")(x, **arguments)
    except ValueError:
        assume(False)
    # Where a window has no element, torch sends its gradient to some other one, or beyond the array.
    assume(np.isfinite(output).all())
    tensor = torch.tensor(x, requires_grad=True)
    expected = getattr(torch.nn.functional, f"{family}{dimensions}d")(tensor, **arguments)
    np.testing.assert_allclose(output, expected.detach().numpy(), rtol=1e-15, atol=1e-15)
    grad = np.round(random_array(output.shape) * 8)
    expected.backward(torch.tensor(grad))
    result = getattr(pooling, f"{family}{dimensions}d_backward")(grad, x, **arguments)
    np.testing.assert_allclose(result, tensor.grad.numpy(), rtol=1e-14, atol=1e-14)
    if family == "max_pool":
        _, indices = getattr(pooling, f"max_pool{dimensions}d")(x, **arguments, return_indices=True)
        _, named = getattr(torch.nn.functional, f"max_pool{dimensions}d")(
            torch.tensor(x), **arguments, return_indices=True
        )
        np.testing.assert_array_equal(indices, named.numpy())


# --- where gradients go ------------------------------------------------------------------------------------


def test_the_gradient_of_a_tie_goes_to_the_first_and_that_of_nan_to_the_first_nan() -> None:
    grad = np.full((1, 1, 1), 7.0)
    for values, place in (([2, 2, 2], 0), ([1, 2, 2], 1), ([3, NAN, NAN], 1), ([-INF, -INF, -INF], 0)):
        x = np.array([[values]], np.float64)
        expected = [7.0 if at == place else 0.0 for at in range(3)]
        assert pooling.max_pool1d_backward(grad, x, 3).ravel().tolist() == expected
        assert pooling.global_max_pool_backward(grad, x, dimensions=1).ravel().tolist() == expected


def test_the_gradient_skips_nan_as_the_forward_call_did() -> None:
    x = np.array([[[NAN, 1.0, NAN, NAN]]])
    result = pooling.max_pool1d_backward(np.array([[[5.0, 6.0]]]), x, 2, nan="ignore")
    assert result.ravel().tolist() == [0, 5, 6, 0]
    assert pooling.global_max_pool_backward(
        np.full((1, 1, 1), 5.0), x, dimensions=1, nan="ignore"
    ).ravel().tolist() == [
        0,
        5,
        0,
        0,
    ]


def test_gradients_of_overlapping_windows_add_up_and_cells_that_no_window_holds_get_zero() -> None:
    x = np.array([[[1.0, 9.0, 2.0, 0.0, 0.0]]])
    grad = np.array([[[10.0, 1.0]]])
    three = np.array([[[10.0, 1.0, 4.0]]])
    assert pooling.max_pool1d_backward(three, x[..., :4], 2, 1).ravel().tolist() == [0, 11, 4, 0]
    assert pooling.avg_pool1d_backward(three, x[..., :4], 2, 1).ravel().tolist() == [5, 5.5, 2.5, 2]
    assert pooling.avg_pool1d_backward(grad, x, 2).ravel().tolist() == [5, 5, 0.5, 0.5, 0]
    assert pooling.max_pool1d_backward(grad, x, 1, 3).ravel().tolist() == [10, 0, 0, 1, 0]


def test_a_window_without_an_element_has_no_gradient() -> None:
    x = np.array([[[1.0, 2.0, 3.0]]])
    windows: dict[str, Any] = {"kernel_size": 2, "stride": 1, "padding": 3, "dilation": 4}
    values, indices = pooling.max_pool1d(x, **windows, return_indices=True)
    assert -1 in indices
    grad = 10.0 ** np.arange(values.size).reshape(values.shape)
    expected = np.zeros(3)
    for index, value in zip(indices.ravel(), grad.ravel(), strict=True):
        if index >= 0:
            expected[index] += value
    for given_indices in (None, indices):
        result = pooling.max_pool1d_backward(grad, x, **windows, indices=given_indices)
        np.testing.assert_array_equal(result.ravel(), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("path", PATHS)
def test_indices_of_the_forward_call_give_the_same_gradient_as_finding_them_again(path: str, layout: str) -> None:
    geometry = PATHS[path]
    x = random_array(geometry.shape, np.float32)
    x = x if layout == "channels_first" else channels_last(x)
    arguments = {**geometry.windows, "layout": layout}
    forward = getattr(pooling, geometry.function("max_pool"))
    backward = getattr(pooling, f"{geometry.function('max_pool')}_backward")
    values, indices = forward(x, **arguments, return_indices=True)
    grad = random_array(values.shape, np.float32, 1)
    expected = backward(grad, x, **arguments)
    assert_same_bytes(backward(grad, x, **arguments, indices=indices), expected)
    assert_same_bytes(backward(grad, x, **arguments, return_indices=True, indices=indices), expected)


@pytest.mark.parametrize("lying", LYING)
def test_indices_may_lie_anyhow_and_are_believed(lying: str) -> None:
    x = np.zeros((2, 3, 4, 4), np.float32)
    indices = LYING[lying](np.random.default_rng(0).integers(0, 16, (2, 3, 2, 2)))
    grad = random_array((2, 3, 2, 2), np.float32)
    expected = np.zeros((2, 3, 16), np.float32)
    for (n, c, h, w), index in np.ndenumerate(indices):
        expected[n, c, index] += grad[n, c, h, w]
    result = pooling.max_pool2d_backward(grad, x, 2, indices=indices)
    np.testing.assert_array_equal(result, expected.reshape(x.shape))


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8", "uint64"])
def test_indices_of_every_integer_dtype_are_understood(dtype: str) -> None:
    x = random_array((1, 2, 4, 4), np.float32)
    _, indices = pooling.max_pool2d(x, 2, return_indices=True)
    grad = np.ones((1, 2, 2, 2), np.float32)
    expected = pooling.max_pool2d_backward(grad, x, 2)
    assert_same_bytes(pooling.max_pool2d_backward(grad, x, 2, indices=indices.astype(dtype)), expected)


def test_indices_of_a_global_pooling() -> None:
    x = random_array((2, 3, 4, 5), np.float32)
    indices = x.reshape(2, 3, 20).argmax(-1).reshape(2, 3, 1, 1)
    grad = random_array((2, 3, 1, 1), np.float32, 1)
    expected = pooling.global_max_pool_backward(grad, x)
    assert_same_bytes(pooling.global_max_pool_backward(grad, x, indices=indices), expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("planes", [1, 3, 4, 6, 9])
def test_sums_wider_than_planes_are_made_of_any_number_of_planes(
    planes: int, dtype: str, always_parallel: None
) -> None:
    """Four planes are made in turns, and what is left one by one; each sum is rounded once."""
    x = random_array((planes, 1, 7, 6), dtype)
    indices = pooling.max_pool2d(x, 5, 1, 2, return_indices=True)[1]
    grad = random_array(indices.shape, dtype, 1)
    if dtype != "float32":  # so that no sum of 25 is rounded
        grad = np.random.default_rng(1).integers(-8, 9, grad.shape).astype(grad.dtype)
    exact = np.zeros(x.shape)
    for plane in range(planes):
        np.add.at(exact[plane].reshape(-1), indices[plane].ravel(), grad[plane].astype(np.float64).ravel())
    for threads in (1, 2, 3):
        with pooling.threads(threads):
            result = pooling.max_pool2d_backward(grad, x, 5, 1, 2, indices=indices)
        np.testing.assert_array_equal(result, exact.astype(result.dtype))


# --- indices that no forward call returned ------------------------------------------------------------------


@pytest.mark.parametrize("index", [16, 17, -1, -2, 10**7, 10**12, -(10**12), 2**32 + 3, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("place", [(0, 0, 0, 0), (1, 2, 1, 0), (1, 2, 1, 1)])
def test_an_index_that_names_no_element_is_refused(index: int, layout: str, place: tuple[int, ...]) -> None:
    x = random_array((2, 3, 4, 4), np.float32)
    indices = np.zeros((2, 3, 2, 2), np.int64)
    indices[place] = index
    grad = np.ones((2, 3, 2, 2), np.float32)
    if layout == "channels_last":
        x, indices, grad = map(channels_last, (x, indices, grad))
        place = (place[0], *place[2:], place[1])
    with pytest.raises(ValueError) as error:
        pooling.max_pool2d_backward(grad, x, 2, indices=indices, layout=layout)
    assert str(error.value) == (
        f"max_pool2d_backward: indices{list(place)} is {index}, but a plane of the input has 16 elements; "
        "give the indices that the forward call returned for this input shape"
    )


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_first_bad_index_is_named_whichever_thread_finds_one(threads: int, always_parallel: None) -> None:
    x = random_array((4, 5, 6), np.float32)
    indices = np.zeros((4, 5, 3), np.int64)
    indices[1, 4, 2] = 6
    indices[1, 3, 1] = -7
    indices[3, 0, 0] = 99
    with pooling.threads(threads), pytest.raises(ValueError) as error:
        pooling.max_pool1d_backward(np.ones((4, 5, 3), np.float32), x, 2, indices=indices)
    assert str(error.value).startswith("max_pool1d_backward: indices[1, 3, 1] is -7, but a plane of the input has 6 ")


def test_the_first_bad_index_of_sums_wider_than_planes_is_named() -> None:
    x = random_array((6, 4, 4), np.float32)
    indices = np.zeros((6, 4, 4), np.int64)
    indices[2, 0, 1] = 16
    indices[1, 3, 3] = -5
    with pytest.raises(ValueError, match=re.escape("indices[1, 3, 3] is -5, ")):
        pooling.max_pool2d_backward(np.ones(x.shape, np.float32), x, 3, 1, 1, indices=indices)
    indices[:4] = 0
    indices[5, 1, 2] = 99
    with pytest.raises(ValueError, match=re.escape("indices[5, 1, 2] is 99, ")):
        pooling.max_pool2d_backward(np.ones(x.shape, np.float32), x, 3, 1, 1, indices=indices)


@pytest.mark.parametrize("index", [6, -1, 10**12, -(10**12)])
def test_an_index_that_names_no_element_of_a_global_pooling_is_refused(index: int) -> None:
    with pytest.raises(ValueError) as error:
        pooling.global_max_pool_backward(
            np.ones((1, 1, 1, 1), np.float32),
            np.ones((1, 1, 2, 3), np.float32),
            indices=np.full((1, 1, 1, 1), index),
        )
    assert str(error.value) == (
        f"global_max_pool_backward: indices[0, 0, 0, 0] is {index}, but a plane of the input has 6 elements; "
        "give the indices that the forward call returned for this input shape"
    )


def test_minus_one_is_the_index_of_a_window_without_an_element_only() -> None:
    """Where a geometry has such windows, -1 passes for them and for no other number below 0."""
    x = np.ones((1, 1, 3), np.float32)
    windows: dict[str, Any] = {"kernel_size": 2, "stride": 1, "padding": 3, "dilation": 4}
    values, indices = pooling.max_pool1d(x, **windows, return_indices=True)
    indices[indices == -1] = -2
    with pytest.raises(ValueError):
        pooling.max_pool1d_backward(np.ones_like(values), x, **windows, indices=indices)


@pytest.mark.parametrize("function", [name for operator in CORE.values() for name in operator.functions])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("empty", ["batch", "channels"])
def test_the_gradient_of_an_empty_batch_is_empty(function: str, layout: str, empty: str) -> None:
    dimensions = int(function[-2]) if function.endswith("d") else 2
    batch, channels = (0, 3) if empty == "batch" else (2, 0)
    spatial = (4,) * dimensions
    first = layout == "channels_first"
    shape = (batch, channels, *spatial) if first else (batch, *spatial, channels)
    x = np.zeros(shape, np.float32)
    arguments: tuple[int, ...] = () if function.startswith("global") else (2,)
    grad = np.zeros_like(getattr(pooling, function)(x, *arguments, layout=layout))
    backward: Callable[..., Array] = getattr(pooling, f"{function}_backward")
    assert backward(grad, x, *arguments, layout=layout).shape == shape
