"""Loops for long windows with few outputs: gradients made of runs, argmaxes that are looked for, norms of products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import reference
from pooling.dispatch import available_levels, kernels, load
from pooling.families.fractional import window_starts
from tests.conftest import (
    FLOATS,
    HALVES,
    LAYOUTS,
    TINY,
    UNIT,
    Array,
    assert_same,
    assert_same_bytes,
    assert_within,
    channels_last,
    dtype_of,
    laid,
    on_threads,
    random_array,
    resolved_call,
)

# --- gradients of means over adaptive windows -----------------------------------------------------------------------

RUNS = [
    ((2, 3, 29), 3),
    ((1, 2, 3, 33, 40), (None, 4, 3)),
    ((2, 3, 33, 26), (4, 3)),
    ((2, 3, 33, 24), (4, 3)),
    ((2, 3, 16, 25), (4, 3)),
    ((1, 3, 5, 25), (None, 3)),
    ((1, 3, 25, 5), (3, None)),
    ((1, 1, 17, 17, 17), 2),
    ((1, 2, 17, 8, 17), (2, 1, 2)),
    ((2, 1, 25, 1), (3, 1)),
]


def strategy_of_gradient(function: str, x: Array, layout: str, output_size: Any) -> str:
    call = resolved_call(function, x, output_size=output_size, layout=layout)
    gradient = call.gradients[0]
    assert not gradient.gathers
    name: str = kernels.strategy_of(gradient.plan, "mean_gradient", call.reducer, call.kind)[0]
    return name


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("shape", "output_size"), RUNS)
def test_gradients_of_runs(
    shape: tuple[int, ...], output_size: Any, dtype: str, layout: str, always_parallel: None
) -> None:
    function = f"adaptive_avg_pool{len(shape) - 2}d"
    x = laid(np.zeros(shape, dtype_of(dtype)), layout)
    assert strategy_of_gradient(function, x, layout, output_size) == "spread_runs"
    pooled = getattr(pooling, function)(x, output_size, layout=layout).shape
    grad = random_array(pooled, dtype_of(dtype), 1)
    backward, twin = getattr(pooling, f"{function}_backward"), getattr(reference, f"{function}_backward")
    result = on_threads(backward, grad, x, output_size, layout=layout)
    exact = twin(grad.astype(np.float64), x.astype(np.float64), output_size, layout=layout)
    magnitudes = twin(np.abs(grad).astype(np.float64), x.astype(np.float64), output_size, layout=layout)
    unit = UNIT["float64" if dtype == "float64" else "float32"]
    assert_within(result.astype(np.float64), exact, (12 * unit + UNIT[dtype]) * magnitudes + TINY[dtype])


@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients_of_runs_that_are_no_numbers(dtype: str) -> None:
    x = np.zeros((1, 1, 17, 25), dtype_of(dtype))
    for value in (np.nan, np.inf, -np.inf):
        grad = np.ones((1, 1, 2, 3), dtype_of(dtype))
        grad[0, 0, 1, 1] = value
        expected = reference.adaptive_avg_pool2d_backward(grad, x, (2, 3))
        found = pooling.adaptive_avg_pool2d_backward(grad, x, (2, 3))
        special = ~np.isfinite(expected.astype(np.float64))
        np.testing.assert_array_equal(found[special].astype(np.float64), expected[special].astype(np.float64))
        assert np.isfinite(found[~special].astype(np.float64)).all()
        if np.isnan(value):
            assert len({each.tobytes() for each in found[special]}) == 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("inner", [1, 3])
def test_long_rows_of_runs_in_segments(inner: int, dtype: str, always_parallel: None) -> None:
    """Cut where a segment ends, in the middle of a run or where windows meet."""
    cells, outputs = 3 * 2**16 + 5, 7
    grad = random_array((2, outputs, inner), dtype_of(dtype), 2)
    x = np.zeros((2, cells, inner), dtype_of(dtype))
    result = on_threads(pooling.adaptive_avg_pool1d_backward, grad, x, outputs, layout="channels_last")
    first = [o * cells // outputs for o in range(outputs)]
    stop = [-(-(o + 1) * cells // outputs) for o in range(outputs)]
    sums = np.zeros((2, cells, inner))
    for o in range(outputs):
        sums[:, first[o] : stop[o]] += grad[:, o : o + 1].astype(np.float64) / (stop[o] - first[o])
    allowed = np.full(sums.shape, (4 * UNIT["float32"] + UNIT[dtype]) * 4 * np.abs(sums).max())
    assert_within(result.astype(np.float64), sums, allowed)


def test_levels_make_the_same_gradients_of_runs() -> None:
    x, grad = np.zeros((2, 3, 33, 26), np.float32), random_array((2, 3, 4, 3), np.float32)
    call = resolved_call("adaptive_avg_pool2d", x, output_size=(4, 3))
    made = []
    for level in available_levels():
        made.append(np.empty_like(x))
        load(level).average_backward(call.gradients[0].plan, kernels.KINDS["float32"], grad, made[-1])
    for each in made[1:]:
        assert_same_bytes(made[0], each)


def test_short_adaptive_windows_are_pooled_as_before() -> None:
    call = resolved_call("adaptive_avg_pool2d", np.zeros((1, 1, 13, 13), np.float32), output_size=7)
    assert call.gradients[0].gathers


# --- short rows of adaptive windows ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["max_pool", "avg_pool"])
@pytest.mark.parametrize(
    ("columns", "outputs"), [(13, 7), (15, 8), (16, 6), (16, 7), (7, 5), (8, 3), (13, 5), (9, 8), (17, 7)]
)
def test_windows_that_are_picked_out_of_a_row(columns: int, outputs: int, family: str, always_parallel: None) -> None:
    random = np.random.default_rng(0)
    function = f"adaptive_{family}2d"
    for share in (0.0, 0.05):
        x = random.integers(-9, 10, (3, 11, 10, columns)).astype(np.float32)
        x[random.random(x.shape) < share] = np.nan
        x[random.random(x.shape) < share] = np.inf
        expected = getattr(reference, function)(x, (4, outputs))
        result = on_threads(getattr(pooling, function), x, (4, outputs))
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)


# --- argmaxes that are looked for -----------------------------------------------------------------------------------

SEARCHED: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 32, 30), {"output_size": 7}),
    ((2, 2, 700), {"output_size": 3}),
    ((2, 2, 50, 41), {"output_size": (3, 2)}),
    ((1, 2, 9, 20, 33), {"output_size": 2}),
    ((1, 2, 600), {"kernel_size": 150, "stride": 50, "padding": 75}),
    ((2, 1, 40, 50), {"kernel_size": (12, 20), "stride": (10, 14), "padding": ((3, 6), (10, 4)), "ceil_mode": True}),
    ((1, 1, 60, 50), {"kernel_size": (10, 20), "stride": (20, 12), "dilation": (3, 1)}),
]


def name_of(shape: tuple[int, ...], windows: dict[str, Any], family: str) -> str:
    return f"{'adaptive_' * ('output_size' in windows)}{family}{len(shape) - 2}d"


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize(("shape", "windows"), SEARCHED)
def test_argmaxes_that_are_looked_for(
    shape: tuple[int, ...], windows: dict[str, Any], dtype: str, always_parallel: None
) -> None:
    random = np.random.default_rng(0)
    families = ("max_pool",) if "output_size" in windows else ("max_pool", "min_pool")
    for family in families:
        function = name_of(shape, windows, family)
        for values, missing in ((0, 0.0), (1, 0.0), (100, 0.0), (100, 0.01), (1, 0.98), (0, 1.0)):
            x = random.integers(-values if dtype != "uint8" else 0, values, shape, endpoint=True).astype(
                dtype_of(dtype)
            )
            if dtype in FLOATS:
                x[random.random(shape) < missing] = np.nan
            for nan in ("propagate", "ignore") if dtype in FLOATS and "kernel_size" in windows else ("propagate",):
                keywords = windows | ({"nan": nan} if nan == "ignore" else {})
                call = resolved_call(function, x, **keywords)
                assert kernels.strategy_of(call.index_plan, "indices", call.reducer, call.kind)[0] == "argmax_search"
                expected, found = getattr(reference, function)(x, **keywords, return_indices=True)
                best, indices = on_threads(getattr(pooling, function), x, **keywords, return_indices=True)
                np.testing.assert_array_equal(indices, found)
                assert_same(best, expected)


def test_of_infinities_and_zeros_the_first_wins() -> None:
    x = np.full((1, 1, 300), -np.inf, np.float32)
    values, indices = pooling.adaptive_max_pool1d(x, 2, return_indices=True)
    np.testing.assert_array_equal((values[0, 0], indices[0, 0]), ([-np.inf, -np.inf], [0, 150]))
    x[:] = -1
    x[0, 0, [70, 260]] = -0.0
    x[0, 0, [71, 200]] = 0.0
    values, indices = pooling.adaptive_max_pool1d(x, 2, return_indices=True)
    np.testing.assert_array_equal(indices[0, 0], [70, 200])
    np.testing.assert_array_equal(np.signbit(values[0, 0]), [True, False])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("shape", "windows"), SEARCHED)
def test_gradients_go_to_where_argmaxes_were_found(
    shape: tuple[int, ...], windows: dict[str, Any], dtype: str, always_parallel: None
) -> None:
    function = name_of(shape, windows, "max_pool")
    x = random_array(shape, dtype_of(dtype))
    values, indices = getattr(pooling, function)(x, **windows, return_indices=True)
    grad = random_array(values.shape, dtype_of(dtype), 1)
    backward = getattr(pooling, f"{function}_backward")
    result = on_threads(backward, grad, x, **windows)
    assert_same_bytes(result, on_threads(backward, grad, x, **windows, indices=indices))
    twin = getattr(reference, f"{function}_backward")
    wide = x.astype(np.float64)
    expected, magnitudes = (twin(each.astype(np.float64), wide, **windows) for each in (grad, np.abs(grad)))
    assert_within(result.astype(np.float64), expected, 4 * UNIT[dtype] * magnitudes)


# --- gradients of few outputs in half precision ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", HALVES)
def test_gradients_of_halves_that_meet_are_summed_in_float(dtype: str) -> None:
    """Rounded one after another, 1 and many times a quarter of the distance to the next number would stay 1."""
    x = np.zeros((1, 2, 40, 50), dtype_of(dtype))
    grad = np.full((1, 2, 3, 3), UNIT[dtype] / 2, dtype_of(dtype))
    grad[:, :, 0, 0] = 1
    indices = np.full(grad.shape, 777)
    indices[:, 1] = np.arange(9).reshape(3, 3)
    indices[:, 1, 2] = 0
    result = pooling.adaptive_max_pool2d_backward(grad, x, 3, indices=indices)
    expected = np.zeros(x.shape)
    np.add.at(expected.reshape(2, -1)[0], indices[0, 0].ravel(), grad[0, 0].astype(np.float64).ravel())
    np.add.at(expected.reshape(2, -1)[1], indices[0, 1].ravel(), grad[0, 1].astype(np.float64).ravel())
    assert_same_bytes(result, expected.astype(dtype_of(dtype)))
    assert result[0, 0].ravel()[777] > 1


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("index", [-1, 2000, 2**62, -(2**62)])
def test_an_index_of_no_cell_is_refused_in_half_precision(index: int, dtype: str) -> None:
    x, grad = np.zeros((2, 1, 40, 50), dtype_of(dtype)), np.ones((2, 1, 3, 3), dtype_of(dtype))
    indices = np.zeros(grad.shape, np.int64)
    indices[1, 0, 2, 1] = index
    with pytest.raises(ValueError, match=r"indices\[1, 0, 2, 1\]"):
        pooling.adaptive_max_pool2d_backward(grad, x, 3, indices=indices)


@pytest.mark.parametrize("dtype", HALVES)
def test_few_gradients_of_a_large_map_in_parts(dtype: str, always_parallel: None) -> None:
    x = np.zeros((1, 1, 1500, 1000), dtype_of(dtype))
    places = np.array([5, 300_000, 700_001, 1_499_999])
    x.reshape(-1)[places] = 1
    grad = np.arange(1, 5).reshape(1, 1, 2, 2).astype(dtype_of(dtype))
    for indices in (None, places.reshape(1, 1, 2, 2)):
        result = on_threads(pooling.adaptive_max_pool2d_backward, grad, x, 2, indices=indices)
        if indices is None:
            assert result.astype(np.float64).sum() == 10
        else:
            np.testing.assert_array_equal(result.reshape(-1)[places].astype(np.float64), [1, 2, 3, 4])
            assert np.count_nonzero(result.astype(np.float64)) == 4


# --- norms whose powers are products --------------------------------------------------------------------------------

NORMS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 23), {"kernel_size": 3, "stride": 1, "padding": 1}),
    ((2, 3, 23), {"kernel_size": 5, "stride": 7, "padding": [(2, 1)], "dilation": 2, "ceil_mode": True}),
    ((2, 18, 9, 11), {"kernel_size": 2}),
    ((2, 18, 9, 11), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ((1, 18, 9, 11), {"kernel_size": (2, 3), "stride": (1, 4), "padding": ((1, 1), (0, 2)), "dilation": (2, 1)}),
    ((1, 3, 20, 41), {"kernel_size": (6, 17), "stride": (6, 17)}),
    ((1, 18, 5, 6, 7), {"kernel_size": 2, "padding": 1}),
    ((1, 17, 5, 6, 7), {"kernel_size": (1, 2, 2), "stride": (2, 1, 3)}),
    ((1, 1, 3, 7000), {"kernel_size": (2, 3), "stride": (1, 2)}),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("p", [1, 2, 3, 4])
@pytest.mark.parametrize(("shape", "windows"), NORMS)
def test_norms_of_products(
    shape: tuple[int, ...], windows: dict[str, Any], p: int, dtype: str, layout: str, always_parallel: None
) -> None:
    function = f"lp_pool{len(shape) - 2}d"
    x = random_array(shape, dtype_of(dtype))
    x[np.random.default_rng(0).random(shape) < 0.3] = 0
    wide = np.abs(x.astype(np.float64)) ** p
    # Sums of so few powers are exact enough in any order.
    n = len(shape) - 2
    sums = getattr(pooling, f"avg_pool{n}d")(wide, **windows, divisor_override=1)
    exact = laid(sums ** (1 / p), layout)
    result = on_threads(getattr(pooling, function), laid(x, layout), p, **windows, layout=layout)
    unit = UNIT["float64"]
    assert_within(result.astype(np.float64), exact, ((UNIT[dtype] if dtype != "float64" else 0) + 400 * unit) * exact)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("p", [1, 2, 3, 4])
def test_norms_of_extremes(p: int, dtype: str) -> None:
    """Smallest and largest numbers, zeros, infinities and NaN; nothing overflows or underflows on the way."""
    kind = dtype_of(dtype)
    tiny = TINY[dtype]
    large = float(np.array(65504 if dtype == "float16" else 2.0**127).astype(kind))
    pairs = [(0, 0), (-0.0, 0), (tiny, 0), (tiny, tiny), (-large, 0), (large / 4, large / 4), (np.inf, 1), (np.nan, 1)]
    pairs += [(-np.inf, np.nan), (tiny, 1), (1, -1)]
    x = np.array(pairs).astype(kind).reshape(1, 1, -1)
    result = pooling.lp_pool1d(x, p, 2)[0, 0].astype(np.float64)
    with np.errstate(all="ignore"):
        wide = np.abs(x.astype(np.float64).reshape(-1, 2))
        largest = wide.max(axis=1)
        scaled = np.where(largest > 0, largest, 1)
        exact = ((wide / scaled[:, None]) ** p).sum(axis=1) ** (1 / p) * scaled
        exact = np.where(np.isinf(largest), np.inf, exact)
        exact = np.where(np.isnan(wide).any(axis=1), np.nan, exact)
    finite = np.isfinite(exact)
    np.testing.assert_array_equal(result[~finite], exact[~finite])
    assert_within(result[finite], exact[finite], UNIT[dtype] * 1.0001 * exact[finite] + tiny / 2)


def test_cube_roots_are_right_to_two_units_in_the_last_place() -> None:
    """Norms of one element are roots of its third power, in the double that float64 would round nowhere else."""
    x = np.concatenate([np.random.default_rng(0).uniform(0.9, 8.1, 5000), 2.0 ** np.arange(-20, 21)]).reshape(1, 1, -1)
    result = pooling.lp_pool1d(x, 3, 1)
    assert_within(result, x, 4 * UNIT["float64"] * x)


@pytest.mark.parametrize("p", [1, 2, 3, 4])
def test_generalised_means_with_a_smallest_value_far_from_one(p: int) -> None:
    x = np.zeros((1, 1, 4, 5), np.float32)
    for eps in (1e-300, 1e-40, 1e-6, 1e30, 1e300):
        with np.errstate(over="ignore"):
            expected = np.float32(eps)
        np.testing.assert_allclose(pooling.gem_pool2d(x, p, eps).ravel(), expected, rtol=1e-6, atol=2.0**-149)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("p", [3, 4])
def test_gradients_of_fourth_powers(p: int, dtype: str) -> None:
    x, grad = random_array((2, 3, 12, 9), dtype_of(dtype)), random_array((2, 3, 11, 8), dtype_of(dtype), 1)
    result = pooling.lp_pool2d_backward(grad, x, p, 2, 1).astype(np.float64)
    wide, upper = x.astype(np.float64), grad.astype(np.float64)
    norms = pooling.lp_pool2d(wide, p, 2, 1)
    spread = pooling.avg_pool2d_backward(upper * norms ** (1 - p), wide, 2, 1, divisor_override=1)
    exact = np.sign(wide) * np.abs(wide) ** (p - 1) * spread
    magnitudes = np.abs(wide) ** (p - 1) * pooling.avg_pool2d_backward(
        np.abs(upper) * norms ** (1 - p), wide, 2, 1, divisor_override=1
    )
    assert_within(result, exact, (UNIT[dtype] + 200 * UNIT["float64"]) * magnitudes + TINY[dtype])


# --- blurs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("mode", ["reflect", "zeros", "replicate"])
def test_blurs_and_their_gradients_in_the_middle_of_rows(
    mode: str, taps: int, stride: int, layout: str, always_parallel: None
) -> None:
    """Rows long enough that most of their results, and of their gradients, are made alike."""
    x = random_array((1, 2, 9, 40))
    keywords = {"padding_mode": mode, "layout": layout}
    exact = reference.blur_pool2d(laid(x, layout), taps, stride, **keywords)
    result = on_threads(pooling.blur_pool2d, laid(x, layout), taps, stride, **keywords)
    assert_within(result, exact, np.full(exact.shape, 1e-14))
    grad = random_array(exact.shape, seed=1)
    exact = reference.blur_pool2d_backward(grad, laid(x, layout), taps, stride, **keywords)
    result = on_threads(pooling.blur_pool2d_backward, grad, laid(x, layout), taps, stride, **keywords)
    assert_within(result, exact, np.full(exact.shape, 1e-13))


@pytest.mark.parametrize("mode", ["reflect", "zeros", "replicate"])
def test_blurs_of_rows_that_are_hardly_longer_than_their_windows(mode: str) -> None:
    """Where no results, or one of each way, are made alike; pixels of two channels are made by the tables alone."""
    for width in range(1, 14):
        x = random_array((1, 2, 3, width))
        for taps in range(1, 6):
            for stride in range(1, 6):
                try:
                    y = pooling.blur_pool2d(x, taps, stride, padding_mode=mode)
                except ValueError:  # a reflection that is longer than the row
                    continue
                last = {"padding_mode": mode, "layout": "channels_last"}
                assert_same_bytes(channels_last(y), pooling.blur_pool2d(channels_last(x), taps, stride, **last))
                grad = random_array(y.shape, seed=1)
                result = pooling.blur_pool2d_backward(grad, x, taps, stride, padding_mode=mode)
                expected = pooling.blur_pool2d_backward(channels_last(grad), channels_last(x), taps, stride, **last)
                assert_same_bytes(channels_last(result), expected)


def test_a_nan_of_a_blur_is_the_same_one_everywhere() -> None:
    x = np.full((1, 1, 5, 40), -np.nan, np.float64)
    made = pooling.blur_pool2d(x, 3, 1).view(np.uint64)
    assert len(np.unique(made)) == 1


# --- unpooling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_gradients_of_unpooling_with_and_without_equal_indices(dtype: str, always_parallel: None) -> None:
    """One pair of equal indices among thousands is enough for an element to have no gradient."""
    random = np.random.default_rng(0)
    for planes, pooled, cells in ((3, 5000, 20_000), (2, 64, 64), (1, 9000, 9001), (2, 7, 3)):
        grad = random.integers(0, 100, (1, planes, cells)).astype(dtype)
        x = np.zeros((1, planes, pooled), dtype)
        for equal in (False, True):
            if pooled > cells:
                indices = random.integers(0, cells, (1, planes, pooled))
            else:
                indices = np.stack([random.permutation(cells)[:pooled] for _ in range(planes)])[None]
            if equal:
                indices[0, -1, 0] = indices[0, -1, -1]
            expected = np.zeros_like(x)
            for plane in range(planes):
                last = {int(cell): place for place, cell in enumerate(indices[0, plane])}
                for cell, place in last.items():
                    expected[0, plane, place] = grad[0, plane, cell]
            if np.dtype(dtype).kind == "f":
                found = on_threads(pooling.max_unpool1d_backward, grad, x, indices, 1, output_size=cells)
                assert_same_bytes(found, expected)
            result = np.empty_like(x)
            bad = kernels.unpool(grad, indices, result, planes, pooled, cells, 1, x.itemsize, True, 2)
            assert bad == -1
            assert_same_bytes(result, expected)
    indices[0, 1, 3] = cells
    assert kernels.unpool(grad, indices, result, planes, pooled, cells, 1, x.itemsize, True) == pooled + 3


# --- PyTorch --------------------------------------------------------------------------------------------------------


def test_unpooling_and_fractional_windows_go_the_direct_way() -> None:
    """Where nobody sees an operator, none is called; where somebody does, it is seen, and makes the same."""
    torch = pytest.importorskip("torch")
    from torch.utils._python_dispatch import TorchDispatchMode

    from pooling.torch import functional

    seen: list[str] = []

    class Watching(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    x = torch.rand(2, 3, 8, 9)
    values, indices = torch.nn.functional.max_pool2d(x, 2, return_indices=True)
    samples = torch.rand(2, 3, 2)
    calls = (
        lambda: functional.max_unpool2d(values, indices, 2, output_size=(8, 9)),
        lambda: functional.fractional_max_pool2d(x, 2, 3, _random_samples=samples),
    )
    for call in calls:
        with Watching():
            expected = call()
        assert any("pooling" in name for name in seen)
        seen.clear()
        assert torch.equal(call(), expected)
    wrong = indices.clone()
    wrong[0, 0, 0, 0] = 1000
    with pytest.raises(ValueError, match="1000"):
        functional.max_unpool2d(values, wrong, 2, output_size=(8, 9))
    leaf = values.clone().requires_grad_()
    functional.max_unpool2d(leaf, indices, 2, output_size=(8, 9)).sum().backward()
    assert torch.equal(leaf.grad, torch.ones_like(values))


# --- fractional windows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("size", "kernel", "count"), [(5, 2, 3), (64, 2, 3), (64, 3, 31), (7, 7, 1), (9, 2, 1), (4097, 5, 4000)]
)
def test_kernels_place_fractional_windows_as_the_arithmetic_of_samples_does(
    size: int, kernel: int, count: int, dtype: str
) -> None:
    samples = np.random.default_rng(0).random((50, 3)).astype(dtype)
    samples[0] = 0
    samples[1] = np.nextafter(np.ones(3, dtype), 0, dtype=dtype)
    for axis in range(3):
        shape, windows, outputs = ([1, 1, 1] for _ in range(3))
        shape[axis], windows[axis], outputs[axis] = size, kernel, count
        x = np.broadcast_to(np.arange(size, dtype=np.float32).reshape(1, 1, *shape), (50, 1, *shape))
        _, last = pooling.fractional_max_pool3d(
            x, tuple(windows), output_size=tuple(outputs), _random_samples=samples[:, None], return_indices=True
        )
        expected = window_starts("fractional_max_pool3d", "W", size, kernel, count, samples[:, axis])
        np.testing.assert_array_equal(last.reshape(50, count) - (kernel - 1), expected)


@pytest.mark.parametrize("order", ["C", "F"])
def test_samples_may_lie_in_any_order(order: Any) -> None:
    x, samples = random_array((3, 4, 9, 9)), np.random.default_rng(0).random((3, 4, 2))
    expected = pooling.fractional_max_pool2d(x, 2, 5, _random_samples=samples)
    found = pooling.fractional_max_pool2d(x, 2, 5, _random_samples=np.asarray(samples, order=order))
    assert_same_bytes(found, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("shape", "kernel", "outputs"), [((2, 3, 20, 17), (2, 3), (3, 2)), ((1, 3, 7, 9, 11), 2, 2)])
def test_fractional_windows_that_hold_little_of_a_map(
    shape: tuple[int, ...], kernel: Any, outputs: Any, dtype: str, layout: str, always_parallel: None
) -> None:
    function = f"fractional_max_pool{len(shape) - 2}d"
    samples = np.random.default_rng(1).random((*shape[:2], len(shape) - 2))
    for missing in (0.0, 0.2):
        x = np.random.default_rng(0).integers(-3, 4, shape).astype(dtype_of(dtype))
        x[np.random.default_rng(2).random(shape) < missing] = np.nan
        x = laid(x, layout)
        keywords = {"_random_samples": samples, "layout": layout, "return_indices": True}
        expected, found = getattr(reference, function)(x, kernel, outputs, **keywords)
        best, indices = on_threads(getattr(pooling, function), x, kernel, outputs, **keywords)
        np.testing.assert_array_equal(indices, found)
        assert_same(best, expected)
    assert math.isfinite(samples.sum())
