"""Fractional max pooling against the reference, torch and numerical differentiation; and what it refuses."""

from __future__ import annotations

import math
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
)

OPERATOR = OPERATORS["fractional_max_pool"]
FUNCTIONS = [(n, f"fractional_max_pool{n}d") for n in OPERATOR.dimensions]


def drawn(dtype: np.dtype[Any], shape: tuple[int, ...], *, summed: bool = False) -> st.SearchStrategy[Array]:
    """Draw special values; NumPy knows nothing of the limits of bfloat16, which are those of float32 but for digits."""
    if dtype.name == "bfloat16":
        return special_arrays(np.float32, shape, summed=summed).map(lambda array: array.astype(dtype))
    return special_arrays(dtype, shape, summed=summed)


@st.composite
def calls(draw: st.DrawFn, dimensions: int, layout: str, dtype: str) -> tuple[Array, dict[str, Any]]:
    """Draw an input and arguments; now and then too many windows."""
    shape = draw(array_shapes(dimensions, layout))
    spatial = shape[-dimensions:] if layout == "channels_first" else shape[-1 - dimensions : -1]
    kernel = tuple(draw(st.integers(1, min(size, 4))) for size in spatial)
    arguments: dict[str, Any] = {"kernel_size": kernel, "layout": layout}
    if draw(st.integers(0, 3)):
        excess = draw(st.integers(0, 20)) == 20
        arguments["output_size"] = tuple(
            draw(st.integers(1, size - k + 1 + excess)) for size, k in zip(spatial, kernel, strict=True)
        )
    else:
        arguments["output_ratio"] = draw(st.floats(0.01, 0.99) | st.tuples(*[st.floats(0.1, 0.9)] * dimensions))
    channels = shape[-1] if layout == "channels_last" else shape[-1 - dimensions]
    batch = shape[0] if len(shape) == dimensions + 2 else 1
    phases = np.random.default_rng(draw(st.integers(0, 99))).random((batch, channels, dimensions))
    if draw(st.booleans()):
        phases = draw(st.sampled_from([0.0, 0.5, 0.999])) + 0 * phases
    kind = dtype_of(draw(st.sampled_from(["float64", "float32", "float16", "bfloat16"])))
    samples = phases.astype(kind)
    arguments["_random_samples"] = np.where(samples < 1, samples, 0).astype(kind)
    return draw(drawn(dtype_of(dtype), shape)), arguments


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", OPERATOR.dtypes)
@pytest.mark.parametrize(("dimensions", "function"), FUNCTIONS)
@given(data=st.data())
def test_any_call_and_gradient_answer_as_the_reference(
    dimensions: int, function: str, dtype: str, layout: str, data: st.DataObject
) -> None:
    x, arguments = data.draw(calls(dimensions, layout, dtype), label="call")
    x = LYING[data.draw(st.sampled_from(sorted(LYING)), label="lying")](x)
    before = x.tobytes()
    try:
        expected, expected_indices = getattr(reference, function)(x, return_indices=True, **arguments)
    except ValueError:
        with pytest.raises(ValueError):
            getattr(pooling, function)(x, **arguments)
        return
    result, indices = getattr(pooling, function)(x, return_indices=True, **arguments)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result.astype(np.float64), expected.astype(np.float64))
    assert_same_bytes(indices, expected_indices)
    assert_same_bytes(getattr(pooling, function)(x, **arguments), result)

    back, twin = getattr(pooling, f"{function}_backward"), getattr(reference, f"{function}_backward")
    grad = data.draw(drawn(dtype_of(dtype), expected.shape, summed=True), label="grad_output")
    with np.errstate(all="ignore"):
        gradient = back(grad, x, **arguments)
    assert_same_bytes(back(grad, x, **arguments, indices=indices, return_indices=True), gradient)
    exact = twin(grad.astype(np.float64), x.astype(np.float64), **arguments)
    magnitudes = np.where(np.isfinite(grad), np.abs(grad.astype(np.float64)), 0)
    magnitudes = twin(magnitudes, x.astype(np.float64), **arguments)
    windows = min(max(grad.size, 1), math.prod(k + 1 for k in arguments["kernel_size"]))
    half = dtype in ("float16", "bfloat16")
    unit = windows * UNIT["float32" if half else dtype] + half * UNIT[dtype]
    assert gradient.dtype == dtype
    assert_within(gradient.astype(np.float64), exact, unit * (1 + 2.0**-7) * magnitudes + windows * TINY[dtype])
    assert x.tobytes() == before, "the input was modified"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dimensions", "function"), FUNCTIONS)
def test_the_same_generator_draws_what_the_reference_draws(dimensions: int, function: str, layout: str) -> None:
    shape = (2, 3, *(9, 11, 8)[:dimensions])
    x = random_array(shape)
    x = channels_last(x) if layout == "channels_last" else x
    arguments: dict[str, Any] = {"kernel_size": 2, "output_ratio": 0.6, "return_indices": True, "layout": layout}
    generators = [np.random.default_rng(7) for _ in range(2)]
    for _ in range(2):
        mine = getattr(pooling, function)(x, rng=generators[0], **arguments)
        theirs = getattr(reference, function)(x, rng=generators[1], **arguments)
        assert_same_bytes(mine[0], theirs[0])
        assert_same_bytes(mine[1], theirs[1])
    with pytest.raises(ValueError):
        getattr(pooling, function)(x, rng=generators[0], kernel_size=2, output_size=100, layout=layout)
    assert generators[0].random() == generators[1].random(), "a refused call used the generator"


@pytest.mark.parametrize("seed", [0, np.uint8(7), 2**100, [1, 2], (3,), np.array([4, 5])])
def test_a_seed_stands_for_the_generator_of_numpy(seed: Any) -> None:
    x = random_array((2, 3, 12, 13))
    arguments: dict[str, Any] = {"kernel_size": 2, "output_size": 6, "return_indices": True}
    result, indices = pooling.fractional_max_pool2d(x, rng=np.random.default_rng(seed), **arguments)
    for rng in (seed, seed, np.random.SeedSequence(seed), np.random.PCG64(seed)):
        mine = pooling.fractional_max_pool2d(x, rng=rng, **arguments)
        assert_same_bytes(mine[0], result)
        assert_same_bytes(mine[1], indices)
        assert_same_bytes(reference.fractional_max_pool2d(x, rng=seed, **arguments)[1], indices)
    layer = pooling.FractionalMaxPool2d(**arguments, rng=seed)
    assert_same_bytes(layer(x)[1], layer(x)[1])
    assert_same_bytes(layer(x)[1], indices)


def test_what_goes_on_and_what_begins_anew() -> None:
    x = np.arange(40.0 * 40).reshape(1, 1, 40, 40)
    for goes_on, rng in ((True, np.random.MT19937(0)), (False, np.random.SeedSequence(0))):
        results = {pooling.fractional_max_pool2d(x, 2, 25, rng=rng).tobytes() for _ in range(5)}
        assert (len(results) > 1) == goes_on


def test_layers_whose_numbers_are_drawn_alike_are_equal() -> None:
    for make in (np.random.PCG64, np.random.SeedSequence, np.random.default_rng, int):
        one, same, other = (pooling.FractionalMaxPool2d(2, 3, rng=make(seed)) for seed in (1, 1, 2))
        assert one == same
        assert one != other
    assert pooling.FractionalMaxPool2d(2, 3, rng=np.random.PCG64(1)) != pooling.FractionalMaxPool2d(2, 3, rng=1)
    assert repr(pooling.FractionalMaxPool2d(2, 3, rng=1)) == "FractionalMaxPool2d(kernel_size=2, output_size=3, rng=1)"


def test_importing_the_functions_does_not_import_what_draws(run_python: Callable[..., str]) -> None:
    # From NumPy 2.3 on, which imports it when it is first used.
    code = (
        "import sys, numpy; before = 'numpy.random' in sys.modules; import pooling; pooling.fractional_max_pool2d; "
        "print(before or 'numpy.random' not in sys.modules)"
    )
    assert run_python("-c", code).strip() == "True"


def test_without_samples_every_call_draws_anew() -> None:
    x = np.arange(40.0 * 40).reshape(1, 1, 40, 40)
    results = {pooling.fractional_max_pool2d(x, 2, 25).tobytes() for _ in range(5)}
    assert len(results) > 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("dimensions", "function"), FUNCTIONS)
@given(seed=st.integers(0, 999))
def test_windows_indices_and_gradients_are_those_of_torch(
    dimensions: int, function: str, dtype: str, seed: int
) -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(seed)
    spatial = tuple(int(size) for size in random.integers(4, 13, dimensions))
    kernel = tuple(int(random.integers(1, min(size, 4))) for size in spatial)
    # With three axes, torch refuses the largest size that fits.
    most = 2 if dimensions == 2 else 1
    size = tuple(int(random.integers(1, s - k + most)) for s, k in zip(spatial, kernel, strict=True))
    x = random.standard_normal((2, 3, *spatial)).astype(dtype)
    samples = random.random((2, 3, dimensions)).astype(dtype)
    samples = np.where(samples < 1, samples, 0).astype(dtype)
    leaf = torch.tensor(x, requires_grad=True)
    theirs, their_indices = getattr(torch.nn.functional, function)(
        leaf, kernel, size, return_indices=True, _random_samples=torch.tensor(samples)
    )
    mine, indices = getattr(pooling, function)(x, kernel, size, return_indices=True, _random_samples=samples)
    assert_same_bytes(mine, theirs.detach().numpy())
    assert_same_bytes(indices, their_indices.numpy())
    grad = np.round(random.standard_normal(mine.shape) * 8).astype(dtype)
    theirs.backward(torch.tensor(grad))
    # Sums of small whole numbers are exact in any order.
    back = getattr(pooling, f"{function}_backward")(grad, x, kernel, size, _random_samples=samples)
    np.testing.assert_array_equal(back, leaf.grad.numpy())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dimensions", "function"), FUNCTIONS)
def test_gradients_are_those_of_numerical_differentiation(dimensions: int, function: str, layout: str) -> None:
    shape = (2, 2, *(5, 4, 3)[:dimensions])
    # Neighbours differ by 1, so that a step of 1/4 changes no argmax.
    x = np.random.default_rng(0).permutation(math.prod(shape)).reshape(shape).astype(np.float64)
    x = channels_last(x) if layout == "channels_last" else x
    samples = np.random.default_rng(1).random((2, 2, dimensions))
    arguments: dict[str, Any] = {"kernel_size": 2, "output_size": 2, "_random_samples": samples, "layout": layout}
    call = getattr(pooling, function)
    grad = np.round(random_array(call(x, **arguments).shape, seed=2) * 8)
    expected = np.zeros(x.shape)
    for cell in np.ndindex(x.shape):
        there, back = x.copy(), x.copy()
        there[cell] += 0.25
        back[cell] -= 0.25
        expected[cell] = (grad * (call(there, **arguments) - call(back, **arguments))).sum() * 2
    np.testing.assert_array_equal(getattr(pooling, f"{function}_backward")(grad, x, **arguments), expected)


@pytest.mark.usefixtures("always_parallel")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", OPERATOR.dtypes)
@pytest.mark.parametrize(("dimensions", "function"), FUNCTIONS)
def test_any_number_of_threads_makes_the_same_bytes(dimensions: int, function: str, dtype: str, layout: str) -> None:
    x = random_array((3, 7, *(9, 8, 7)[:dimensions]), np.float32).astype(dtype_of(dtype))
    x = channels_last(x) if layout == "channels_last" else x
    samples = np.random.default_rng(0).random((3, 7, dimensions))
    arguments: dict[str, Any] = {"kernel_size": 3, "output_size": 4, "_random_samples": samples, "layout": layout}
    results = []
    for threads in (1, 2, 3, 16):
        with pooling.threads(threads):
            values, indices = getattr(pooling, function)(x, return_indices=True, **arguments)
            results.append((values, indices, getattr(pooling, f"{function}_backward")(values, x, **arguments)))
    for result in results[1:]:
        for mine, first in zip(result, results[0], strict=True):
            assert_same_bytes(mine, first)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dimensions", "function"), FUNCTIONS)
@pytest.mark.parametrize("empty", ["batch", "channels"])
def test_an_empty_batch_or_no_channels_make_an_empty_result(
    dimensions: int, function: str, layout: str, empty: str
) -> None:
    batch, channels = (0, 3) if empty == "batch" else (2, 0)

    def shape(size: int) -> tuple[int, ...]:
        spatial = (size,) * dimensions
        return (batch, channels, *spatial) if layout == "channels_first" else (batch, *spatial, channels)

    x = np.zeros(shape(6), np.float32)
    samples = np.zeros((batch, channels, dimensions))
    assert getattr(pooling, function)(x, 2, 3, layout=layout).shape == shape(3)
    back = getattr(pooling, f"{function}_backward")
    grad = np.zeros(shape(3), np.float32)
    assert back(grad, x, 2, 3, _random_samples=samples, layout=layout).shape == shape(6)


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_no_byte_outside_the_arrays_is_touched(guarded: Any, dtype: str, layout: str, at_end: bool) -> None:
    shape, small = ((2, 3, 7, 5), (2, 3, 4, 3)) if layout == "channels_first" else ((2, 7, 5, 3), (2, 4, 3, 3))
    x, out = guarded(shape, dtype, at_end=at_end), guarded(small, dtype, at_end=at_end)
    x[...] = random_array(shape, dtype)
    for phase in (0.0, 0.3, 0.9999):
        samples = np.full((2, 3, 2), phase)
        arguments: dict[str, Any] = {"_random_samples": samples, "layout": layout}
        assert pooling.fractional_max_pool2d(x, 2, (4, 3), out=out, **arguments) is out
        assert_same_bytes(out, reference.fractional_max_pool2d(x, 2, (4, 3), **arguments))


# --- what is refused ------------------------------------------------------------------------------------------------

X = np.ones((1, 1, 5, 5), np.float32)
NAN_SAMPLE = np.array([[[0.5, math.nan]]])
REFUSED: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ((X, 2), {}, ValueError, "output_size=None and output_ratio=None must not both be missing; give one of them"),
    ((X, 2, 3, 0.5), {}, ValueError, "output_size=3 and output_ratio=0.5 must not both be there; give one of them"),
    (
        (X, 2, 5),
        {},
        ValueError,
        "output_size=5 asks for 5 windows of size 2 on axis H of size 5; that needs an input of",
    ),
    ((X, 6, 1), {}, ValueError, "output_size=1 asks for 1 window of size 6 on axis H of size 5"),
    ((X, 2, 2**31), {}, ValueError, "output_size=2147483648 asks for 2147483648 windows of size 2 on axis H of size 5"),
    ((X, 2, 0), {}, ValueError, "output_size=0 must be at least 1 on axis H, not 0"),
    ((X, 2, True), {}, TypeError, "output_size=True must be an integer or one integer per spatial axis, not bool"),
    ((X, 2**63, 2), {}, ValueError, "kernel_size=9223372036854775808 must be at most 2**63 - 1 on axis H"),
    ((X, 2.0, 2), {}, TypeError, "kernel_size=2.0 must be an integer or one integer per spatial axis, not float"),
    ((X, 2, None, 0.1), {}, ValueError, "output_ratio=0.1 leaves no window on axis H of size 5; use a larger ratio"),
    ((X, 2, None, 1.0), {}, ValueError, "output_ratio=1.0 must be greater than 0 and less than 1, not 1.0"),
    ((X, 2, None, math.nan), {}, ValueError, "output_ratio=nan must be greater than 0 and less than 1, not nan"),
    (
        (X, 2, None, "half"),
        {},
        TypeError,
        "output_ratio='half' must be a number or one number per spatial axis, not str",
    ),
    ((X, 2, None, (0.5, 0.5, 0.5)), {}, ValueError, "must have one entry per spatial axis, 2 and not 3"),
    (
        (X, 2, 3),
        {"_random_samples": NAN_SAMPLE},
        ValueError,
        "_random_samples[0, 0, 1] is nan; give numbers of at least",
    ),
    ((X, 2, 3), {"_random_samples": [[[1.0, 0.0]]]}, ValueError, "_random_samples[0, 0, 0] is 1.0; give numbers of at"),
    ((X, 2, 3), {"_random_samples": [[[0.0, -0.1]]]}, ValueError, "_random_samples[0, 0, 1] is -0.1; give numbers of"),
    (
        (X, 2, 3),
        {"_random_samples": [0.5, 0.5]},
        ValueError,
        "_random_samples has shape (2,); it must have (1, 1, 2), one",
    ),
    (
        (X, 2, 3),
        {"_random_samples": [[[0, 0]]]},
        TypeError,
        "_random_samples has dtype int64, which is not accepted; use",
    ),
    (
        (X, 2, 3),
        {"rng": 7.5},
        TypeError,
        "rng=7.5 must be an integer, a sequence of integers, None, or a Generator, BitGenerator or SeedSequence of "
        "numpy.random, not float; use a seed, or numpy.random.default_rng(seed)",
    ),
    ((X, 2, 3), {"rng": "7"}, TypeError, "rng='7' must be an integer, a sequence of integers, None, or a Generator"),
    ((X, 2, 3), {"rng": True}, TypeError, "rng=True must be an integer, a sequence of integers, None, or a Generator"),
    ((X, 2, 3), {"rng": -1}, ValueError, "rng=-1 must not be negative; use an integer of at least 0"),
    ((X, 2, 3), {"rng": [1, -1]}, ValueError, "rng=[1, -1] must not be negative; use an integer of at least 0"),
    ((X, 2, 3), {"rng": ()}, ValueError, "rng=() must not be empty; use an integer of at least 0"),
    ((X, 2, 3), {"return_indices": 1}, TypeError, "return_indices=1 must be True or False, not int"),
    ((X, 2, 3), {"layout": "NHWC"}, ValueError, "layout='NHWC' must be 'channels_first' or 'channels_last'"),
    (
        (X, 2, 3),
        {"out": np.empty((1, 1, 3, 3))},
        TypeError,
        "out has dtype float64, the result float32; give out that dtype",
    ),
    ((X.astype(np.int32), 2, 3), {}, TypeError, "input has dtype int32, which is not accepted; use float16, bfloat16,"),
    ((X[0, 0], 2, 3), {}, ValueError, "input of shape (5, 5) has 2 axes; it must have 4, (N, C, H, W), or 3 without"),
    ((X[..., :0], 2, 3), {}, ValueError, "output_size=3 asks for 3 windows of size 2 on axis W of size 0"),
]


@pytest.mark.parametrize(("arguments", "keywords", "kind", "sentence"), REFUSED)
def test_what_is_refused_is_said(
    arguments: Any, keywords: dict[str, Any], kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind) as error:
        pooling.fractional_max_pool2d(*arguments, **keywords)
    assert str(error.value).startswith("fractional_max_pool2d: ")
    assert sentence in str(error.value)


def test_samples_that_cannot_count_the_cells_are_refused() -> None:
    x = np.zeros((1, 1, 1, 70000), np.float32)
    with pytest.raises(ValueError, match="float16 cannot count the 70000 cells of axis W; use float32 or float64"):
        pooling.fractional_max_pool2d(x, (1, 2), (1, 5), _random_samples=np.zeros((1, 1, 2), np.float16))


def test_a_gradient_without_indices_and_samples_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        pooling.fractional_max_pool2d_backward(np.ones((1, 1, 3, 3), np.float32), X, 2, 3)
    assert str(error.value) == (
        "fractional_max_pool2d_backward: indices=None and _random_samples=None leave the windows of the forward call "
        "unknown; give the indices that it returned, or its samples"
    )


@pytest.mark.parametrize("index", [25, -1, 10**12])
def test_an_index_outside_its_plane_is_named(index: int) -> None:
    indices = np.full((1, 1, 3, 3), 24)
    indices[0, 0, 1, 2] = index
    with pytest.raises(ValueError) as error:
        pooling.fractional_max_pool2d_backward(np.ones((1, 1, 3, 3), np.float32), X, 2, 3, indices=indices)
    assert str(error.value).startswith(
        f"fractional_max_pool2d_backward: indices[0, 0, 1, 2] is {index}, but a plane of the input has 25 elements; "
    )


# --- layers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dimensions", "function"), FUNCTIONS)
def test_a_layer_answers_as_its_function(dimensions: int, function: str, layout: str) -> None:
    samples = np.random.default_rng(0).random((2, 3, dimensions))
    make = getattr(pooling, f"FractionalMaxPool{dimensions}d")
    layer = make(2, output_ratio=0.5, _random_samples=samples, layout=layout)
    x = random_array((2, 3, *(9, 8, 7)[:dimensions]))
    x = channels_last(x) if layout == "channels_last" else x
    arguments: dict[str, Any] = {"output_ratio": 0.5, "_random_samples": samples, "layout": layout}
    expected = getattr(pooling, function)(x, 2, **arguments)
    assert_same_bytes(layer(x), expected)
    assert layer.output_shape(x.shape) == expected.shape
    gradient = getattr(pooling, f"{function}_backward")(expected, x, 2, **arguments)
    assert_same_bytes(layer.backward(expected, x), gradient)
    assert layer == make(2, output_ratio=0.5, _random_samples=samples.copy(), layout=layout)
    assert layer != make(2, output_ratio=0.5, layout=layout)
    drawing = make(2, 3, return_indices=True, rng=np.random.default_rng(0), layout=layout)
    values, indices = drawing(x)
    assert drawing.backward(values, x, indices=indices).shape == x.shape
    with pytest.raises(ValueError, match="each map has windows of its own"):
        layer.axes(x.shape)
    assert repr(make(2, output_ratio=0.5)) == f"FractionalMaxPool{dimensions}d(kernel_size=2, output_ratio=0.5)"


@pytest.mark.parametrize(
    ("shape", "kernel_size", "output_size"),
    [
        ((1, 2, 700, 800), (2, 3), (400, 350)),
        ((1, 1, 3, 300_000), (2, 2), (2, 90_000)),
        ((1, 1, 300_000, 2), (3, 1), (100_000, 2)),
        # Windows of more rows than are held.
        ((1, 1, 900, 700), (400, 7), (3, 300)),
        ((1, 1, 70, 80, 90), (2, 3, 2), (40, 30, 50)),
        ((1, 1, 300, 40, 50), (200, 20, 3), (4, 5, 30)),
    ],
)
def test_large_maps_that_are_copied_a_few_rows_at_a_time(
    shape: tuple[int, ...], kernel_size: tuple[int, ...], output_size: tuple[int, ...]
) -> None:
    """Maps of float64 in channels_first are read where they lie."""
    rng = np.random.default_rng(3)
    x = (rng.normal(size=shape) * 3).round()  # with equal elements
    x[rng.random(shape) < 1e-4] = np.nan
    samples = rng.random((1, shape[1], len(kernel_size)))
    function = getattr(pooling, f"fractional_max_pool{len(kernel_size)}d")
    keywords = {"output_size": output_size, "_random_samples": samples, "return_indices": True}
    expected, places = function(x, kernel_size, **keywords)
    for dtype in ("float16", "float32", "float64"):
        for layout in ("channels_first", "channels_last"):
            given = x.astype(dtype)
            if layout == "channels_last":
                given = np.ascontiguousarray(np.moveaxis(given, 1, -1))
            for threads in (1, 2):
                with pooling.threads(threads):
                    made = function(given, kernel_size, layout=layout, **keywords)
                made = [np.moveaxis(part, -1, 1) if layout == "channels_last" else part for part in made]
                np.testing.assert_array_equal(made[0].astype(np.float64), expected)
                np.testing.assert_array_equal(made[1], places)
