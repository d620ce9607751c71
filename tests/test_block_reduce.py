"""Block reductions are what their twin says, at any strides, thread count and level; bad input is refused in words."""

from __future__ import annotations

import hashlib
import json
import math
import tracemalloc
import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pooling
from pooling import dispatch, reference
from pooling.operators import BLOCK_REDUCTIONS, BOOL, FLOATS, INTEGERS
from tests.conftest import (
    LYING,
    TINY,
    UNIT,
    Array,
    assert_same,
    assert_same_bytes,
    assert_within,
    dtype_of,
    random_array,
)

DTYPES = FLOATS + INTEGERS + BOOL
FUNCS = tuple(BLOCK_REDUCTIONS)
WEIGHTED = tuple(name for name, row in BLOCK_REDUCTIONS.items() if row.weighted)


def numbers(shape: tuple[int, ...], dtype: str, seed: int = 0, *, few: bool = False) -> Array:
    """Numbers of all of a dtype, or a few of it, so that there are ties."""
    random, kind = np.random.default_rng(seed), dtype_of(dtype)
    if dtype == "bool":
        return random.random(shape) < 0.5
    if few:
        low = 0 if kind.kind == "u" else -2
        return random.integers(low, 4, shape).astype(kind)
    if dtype in FLOATS:
        return (random.standard_normal(shape) * 10).astype(kind)
    info = np.iinfo(kind)
    return random.integers(info.min, info.max, shape, kind, endpoint=True)


def assert_as_twin(array: Array, size: Any, func: str, **arguments: Any) -> None:
    """Compare with the twin: to the bit, but for sums and means of floats and what is a square root."""
    try:
        expected, share = reference.block_reduce(array, size, func, return_valid=True, **arguments)
    except ValueError:
        with pytest.raises(ValueError, match="block_reduce"):
            pooling.block_reduce(array, size, func, **arguments)
        return
    result, valid = pooling.block_reduce(array, size, func, return_valid=True, **arguments)
    assert valid.tolist() == share.tolist()
    if isinstance(result, np.ma.MaskedArray):
        hidden = (share < arguments.get("min_valid", 0)) | (share == 0) if func != "count" else share < 0
        np.testing.assert_array_equal(np.ma.getmaskarray(result), hidden)
        result = result.data
    assert result.dtype == expected.dtype
    dtype = result.dtype.name
    exact = func not in ("mean", "sum", "rms", "std", "var") or (
        dtype not in FLOATS and arguments.get("weights") is None
    )
    if exact:
        assert_same(result, expected)
        return
    elements = np.ma.getdata(array)
    weights = arguments.get("weights")
    with np.errstate(all="ignore"):
        wide = np.abs(elements.astype(np.float64)) * (1 if weights is None else weights)
        largest = float(np.nanmax(np.where(np.isfinite(wide), wide, 0), initial=0))
    if func == "var":
        largest = largest**2
    taps = elements.size if func == "sum" else 8
    if dtype in FLOATS:
        # Sums are double; then there is one division, and the rounding to the result.
        allowed = 2 * UNIT[dtype] * np.abs(expected.astype(np.float64)) + TINY[dtype]
        allowed = allowed + taps * 16 * UNIT["float64"] * largest
        allowed = np.where(np.isfinite(allowed), allowed, np.inf)
        assert_within(result, expected.astype(np.float64), np.broadcast_to(allowed, result.shape))
    else:
        # A weighted mean that is next to a tie; of elements beyond 2**53, of sums in float64.
        greatest = max(map(abs, elements.ravel().tolist()), default=0)
        off = 1 + (elements.size + 4) * UNIT["float64"] * greatest
        assert all(abs(x - y) <= off for x, y in zip(result.ravel().tolist(), expected.ravel().tolist(), strict=True))


# --- what results are ---------------------------------------------------------------------------------------------


SHAPES = [((7,), 3), ((5, 9), (2, 3)), ((6, 8), 2), ((4, 5, 6), (2, 2, 2)), ((5, 7, 3), (2, 3, 1)), ((9, 9), 4)]
SHAPES += [((3, 2, 4, 5), (1, 2, 2, 1)), ((2, 3, 2, 2, 3, 3), (1, 2, 1, 2, 2, 2)), ((3, 70), (2, 2)), ((12, 13), 20)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("func", FUNCS)
def test_every_function_and_dtype_is_that_of_the_twin(func: str, dtype: str) -> None:
    for seed, (shape, size) in enumerate(SHAPES):
        for few in (False, True):
            x = numbers(shape, dtype, seed, few=few)
            if func in ("sum", "range") and dtype in ("int64", "uint64"):
                x = x // 64
            assert_as_twin(x, size, func)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("func", FUNCS)
def test_what_is_left_out_is_that_of_the_twin(func: str, dtype: str) -> None:
    for seed, (shape, size) in enumerate(SHAPES):
        x = numbers(shape, dtype, seed, few=True)
        assert_as_twin(x, size, func, nodata=1)
        assert_as_twin(x, size, func, nodata=1, min_valid=0.75)
        masked = np.ma.MaskedArray(x, np.random.default_rng(seed).random(shape) < 0.5)
        assert_as_twin(masked, size, func)
        assert_as_twin(masked, size, func, nodata=0, min_valid=0.5)
        if dtype in FLOATS:
            x[np.random.default_rng(seed + 1).random(shape) < 0.4] = np.nan
            assert_as_twin(x, size, func)
            assert_as_twin(x, size, func, nodata=1)
            assert_as_twin(x, size, func, nodata=np.nan)
        if func in WEIGHTED:
            weights = np.random.default_rng(seed).integers(0, 3, shape) / 2.0
            assert_as_twin(numbers(shape, dtype, seed, few=True), size, func, weights=weights, nodata=0)
            if dtype in FLOATS:
                assert_as_twin(x, size, func, weights=weights)


@st.composite
def calls(draw: st.DrawFn) -> tuple[Array, Any, str, dict[str, Any]]:
    """Any call of small arrays."""
    dtype = draw(st.sampled_from(DTYPES))
    axes = draw(st.integers(1, 4))
    shape = tuple(draw(st.integers(1, 7)) for _ in range(axes))
    size = tuple(draw(st.integers(1, 5)) for _ in range(axes))
    func = draw(st.sampled_from(FUNCS))
    x = numbers(shape, dtype, draw(st.integers(0, 1000)), few=draw(st.booleans()))
    arguments: dict[str, Any] = {"rounding": draw(st.sampled_from(("half_even", "half_up", "floor", "trunc")))}
    edge = draw(st.sampled_from(("partial", "trim", "error")))
    if edge != "trim" or all(n >= b for n, b in zip(shape, size, strict=True)):
        arguments["edge"] = edge
    if draw(st.booleans()):
        arguments["nodata"] = draw(st.sampled_from((0, 1)))
        arguments["min_valid"] = draw(st.sampled_from((0.0, 0.3, 0.5, 1.0)))
    if dtype in FLOATS and draw(st.booleans()):
        random = np.random.default_rng(draw(st.integers(0, 9)))
        for value in (np.nan, np.inf, -np.inf, 0.0, -0.0):
            x[random.random(shape) < 0.1] = value
        arguments["nodata"] = draw(st.sampled_from((None, np.nan, 0.0, np.inf)))
    if func in WEIGHTED and draw(st.booleans()):
        arguments["weights"] = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 4, shape) / 4.0
    if BLOCK_REDUCTIONS[func].result in ("mean", "real") and dtype not in FLOATS and draw(st.booleans()):
        arguments["dtype"] = draw(st.sampled_from((np.float32, np.float64)))
    if draw(st.integers(0, 3)) == 0:
        x = np.ma.MaskedArray(x, np.random.default_rng(draw(st.integers(0, 9))).random(shape) < 0.4)
    return x, size, func, arguments


@settings(max_examples=400)
@given(calls())
def test_any_call_is_that_of_the_twin(call: tuple[Array, Any, str, dict[str, Any]]) -> None:
    x, size, func, arguments = call
    assert_as_twin(x, size, func, **arguments)


def test_weighted_means_of_large_integers_are_float64() -> None:
    x = np.array([9441442522235856127, 17532960557476522086], np.uint64)
    # The exact quotient is 14835787879062966766.3; float64 has every 2048th integer there.
    result = pooling.block_reduce(x, 2, "mean", weights=np.array([0.25, 0.5]))
    assert result.tolist() == [14835787879062968320]
    assert_as_twin(x, 2, "mean", weights=np.array([0.25, 0.5]))


@pytest.mark.parametrize("func", FUNCS)
@pytest.mark.parametrize("dtype", ["uint8", "int64", "uint64", "float16", "float32", "float64", "bool"])
def test_results_do_not_depend_on_how_the_array_lies(func: str, dtype: str) -> None:
    x = numbers((5, 6, 4, 3), dtype)
    x = x // 1024 if dtype in ("int64", "uint64") else x
    for size in (2, (2, 3, 1, 1), (1, 2, 2, 1), (3, 1, 1, 1)):
        for lay in LYING.values():
            lying = lay(x)
            plain = np.ascontiguousarray(lying.astype(x.dtype))
            for extra in ({}, {"nodata": x.flat[0]}):
                result = pooling.block_reduce(lying, size, func, **extra)
                assert_same_bytes(result, pooling.block_reduce(plain, size, func, **extra))


def test_a_channel_axis_may_be_merged_or_not_and_sums_of_floats_are_the_same() -> None:
    x = random_array((6, 10, 3), np.float64)
    wide = random_array((6, 10, 40), np.float64)
    wide[..., :3] = x
    # Of three channels rows are whole; of forty each axis is on its own.
    for size in ((2, 5, 1), (4, 4, 1), (3, 10, 1)):
        narrow = pooling.block_reduce(x, size, "sum")
        assert_same_bytes(np.ascontiguousarray(pooling.block_reduce(wide, size, "sum")[..., :3]), narrow)
        assert_same_bytes(pooling.block_reduce(wide[..., :3], size, "sum"), narrow)


@pytest.mark.parametrize("func", FUNCS)
def test_results_are_the_same_at_any_thread_count(func: str, always_parallel: None) -> None:
    for dtype in ("uint8", "int64", "float32", "float64"):
        x = numbers((37, 50, 6), dtype) // 8 if dtype == "int64" else numbers((37, 50, 6), dtype)
        for extra in ({}, {"nodata": x.flat[3]}):
            with pooling.threads(1):
                one = pooling.block_reduce(x, (2, 3, 2), func, **extra)
            for threads in (2, 5):
                with pooling.threads(threads):
                    assert_same_bytes(pooling.block_reduce(x, (2, 3, 2), func, **extra), one)


LEVELS_CODE = """
import hashlib, json, numpy as np, pooling
from pooling.operators import BLOCK_REDUCTIONS
found = {}
for dtype in ("uint8", "int16", "uint32", "int64", "float16", "float32", "float64"):
    random = np.random.default_rng(1)
    x = random.standard_normal((70, 90, 3)) * 50
    x = (np.abs(x) if dtype.startswith("u") else x).astype(dtype)
    for func in BLOCK_REDUCTIONS:
        for size in ((2, 2, 1), (4, 4, 1), (3, 5, 2), (7, 9, 3)):
            for nodata in (None, 3):
                made = pooling.block_reduce(x, size, func, nodata=nodata)
                found[f"{dtype} {func} {size} {nodata}"] = hashlib.sha256(made.tobytes()).hexdigest()
    for func in ("mean", "mode"):
        levels = pooling.pyramid(x, (2, 2, 1), 4, func)
        found[f"{dtype} {func} pyramid"] = hashlib.sha256(b"".join(map(bytes, levels))).hexdigest()
print(json.dumps(found))
"""


def test_results_are_the_same_at_every_level(run_python: Callable[..., str]) -> None:
    levels = dispatch.available_levels()
    found = [json.loads(run_python("-c", LEVELS_CODE, POOLING_MAX_ISA=level)) for level in levels]
    for other in found[1:]:
        assert other == found[0]
    assert len(found[0]) == 7 * (len(FUNCS) * 8 + 2)
    assert len(set(found[0].values())) > 100
    assert hashlib.sha256  # used in the other interpreter


def test_long_rows_and_large_blocks() -> None:
    x = numbers((300_001,), "int32")
    found = pooling.block_reduce(x, 100_000, "sum")
    assert found.tolist() == [int(x[i : i + 100_000].sum(dtype=np.int64)) for i in range(0, 300_001, 100_000)]
    y = random_array((300_001,), np.float64)
    found = pooling.block_reduce(y, 131_072, "sum")
    parts = [y[i : i + 131_072] for i in range(0, 300_001, 131_072)]
    for sum_, part in zip(found, parts, strict=True):
        assert abs(sum_ - math.fsum(part)) <= 40 * 2.0**-53 * math.fsum(np.abs(part))
    assert pooling.block_reduce(y, 100_000, "max").tolist() == [
        y[i : i + 100_000].max() for i in range(0, 300_001, 100_000)
    ]
    assert pooling.block_reduce(y, 299_999, "median").tolist() == [np.median(y[:299_999]), np.median(y[299_999:])]
    assert pooling.block_reduce(y, 250_000, "std")[0] == pytest.approx(np.std(y[:250_000]), rel=1e-13)
    z = numbers((40, 9000), "uint8", few=True)
    assert pooling.block_reduce(z, (40, 9000), "mode").tolist() == [[int(np.bincount(z.ravel()).argmax())]]
    assert pooling.block_reduce(z, (7, 9000), "mean", dtype=np.float64)[0, 0] == z[:7].mean()


def test_rows_of_many_segments_are_put_together() -> None:
    x = numbers((4, 40_002), "uint16")
    expected = x[:, :40_002].reshape(2, 2, 20_001, 2).astype(np.int64).sum((1, 3))
    assert pooling.block_reduce(x, 2, "sum").tolist() == expected.tolist()
    y = numbers((3, 33_333), "float32")
    assert_same(pooling.block_reduce(y, (3, 7), "max"), reference_max(y, 3, 7))
    modes = pooling.block_reduce(numbers((2, 20_000), "int16", few=True), 2, "mode")
    assert_same(modes, reference.block_reduce(numbers((2, 20_000), "int16", few=True), 2, "mode"))


def reference_max(x: Array, rows: int, columns: int) -> Array:
    """Take maxima with NumPy."""
    cuts = range(0, x.shape[1], columns)
    return np.array([[x[i : i + rows, j : j + columns].max() for j in cuts] for i in range(0, x.shape[0], rows)])


def test_sums_of_64_bits_are_exact_or_refused() -> None:
    most = np.iinfo(np.int64).max
    assert pooling.block_reduce(np.array([most - 1, 1]), 2, "sum").tolist() == [most]
    with pytest.raises(ValueError, match=r"block_reduce: the sum of the block \(1,\) does not fit int64; convert the"):
        pooling.block_reduce(np.array([0, 0, most, 1]), 2, "sum")
    assert pooling.block_reduce(np.array([most, most]), 2, "mean").tolist() == [most]
    unsigned = np.array([2**64 - 1, 2**64 - 2], np.uint64)
    assert pooling.block_reduce(unsigned, 2, "mean").tolist() == [2**64 - 2]
    assert pooling.block_reduce(unsigned, 2, "mean", rounding="half_up").tolist() == [2**64 - 1]
    assert pooling.block_reduce(unsigned, 2, "median", rounding="half_up").tolist() == [2**64 - 1]
    with pytest.raises(ValueError, match="does not fit uint64"):
        pooling.block_reduce(unsigned, 2, "sum")
    with pytest.raises(ValueError, match="the range of the block"):
        pooling.block_reduce(np.array([most, -2]), 2, "range")
    assert pooling.block_reduce(np.array([127, -128], np.int8), 2, "range").tolist() == [255]


def test_deviations_are_taken_from_the_mean_in_a_second_pass() -> None:
    x = 1e9 + np.arange(4.0)
    assert pooling.block_reduce(x, 4, "var").tolist() == [1.25]
    for scale in (1e200, 1e-200):
        assert pooling.block_reduce(np.array([1.0, 3.0]) * scale, 2, "std")[0] == pytest.approx(scale, rel=1e-15)
        assert pooling.block_reduce(np.array([3.0, 4.0]) * scale, 2, "rms")[0] == pytest.approx(
            math.sqrt(12.5) * scale, rel=1e-15
        )


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64"])
def test_means_of_integers_round_as_fractions_do(dtype: str) -> None:
    x = numbers((64, 36), dtype, 3)
    exact = {
        "half_even": round,
        "half_up": lambda value: math.floor(value + Fraction(1, 2)),
        "floor": math.floor,
        "trunc": math.trunc,
    }
    for size in ((2, 2), (1, 3), (4, 4), (8, 2), (3, 3), (16, 16), (32, 12)):
        sums = (
            reference.block_reduce(x.astype(object).astype(np.int64) // 1, size, "sum", edge="trim")
            if (dtype != "int64")
            else reference.block_reduce(x // 1024, size, "sum", edge="trim")
        )
        values = x if dtype != "int64" else x // 1024
        for rounding, rule in exact.items():
            result = pooling.block_reduce(values, size, edge="trim", rounding=rounding)
            expected = [rule(Fraction(int(each), math.prod(size))) for each in sums.ravel()]
            assert result.ravel().tolist() == expected


def test_dtype_gives_means_that_are_not_rounded() -> None:
    x = np.array([0, 1, 1, 1], np.uint8)
    assert_same(pooling.block_reduce(x, 4, dtype=np.float32), np.array([0.75], np.float32))
    assert_same(pooling.block_reduce(x, 2, "median", dtype=np.float64), np.array([0.5, 1.0]))
    assert_same(pooling.block_reduce(x > 0, 4), np.array([0.75]))
    assert pooling.block_reduce(x, 4, "std", dtype=np.float32).dtype == np.float32


# --- layouts, results, masks ----------------------------------------------------------------------------------------


def test_layouts_say_which_axes_blocks_are_of() -> None:
    x = numbers((6, 8, 3), "uint8")
    plain = pooling.block_reduce(x, (2, 2, 1))
    for size in (2, (2, 2), [2], (2, 2, 1)):
        assert_same(pooling.block_reduce(x, size, layout="HWC"), plain)
    assert_same(
        pooling.block_reduce(x.transpose(2, 0, 1), 2, layout="chw"), np.ascontiguousarray(plain.transpose(2, 0, 1))
    )
    assert pooling.block_reduce(x[None], 2, layout="NHWC").shape == (1, 3, 4, 3)
    assert pooling.block_reduce(np.zeros((4, 2, 6, 6, 6)), 2, layout="TCZYX").shape == (4, 2, 3, 3, 3)


@pytest.mark.parametrize("rank", [3, 4, 5])
def test_layouts_by_the_words_of_the_pooling_functions(rank: int) -> None:
    x = np.random.default_rng(rank).normal(size=range(3, rank + 3))
    # The first axis is the batch, where there is one.
    batch, spatial = (1,) * (rank > 3), (2,) * (3 if rank == 5 else 2)
    assert_same(pooling.block_reduce(x, 2, layout="channels_first"), pooling.block_reduce(x, (*batch, 1, *spatial)))
    assert_same(pooling.block_reduce(x, 2, layout="channels_last"), pooling.block_reduce(x, (*batch, *spatial, 1)))


def test_results_go_where_they_are_asked_for() -> None:
    x = numbers((6, 8), "float32")
    out = np.empty((3, 4), np.float32)
    assert pooling.block_reduce(x, 2, out=out) is out
    assert_same(out, pooling.block_reduce(x, 2))
    with pytest.raises(TypeError, match="out has dtype float64, the result float32"):
        pooling.block_reduce(x, 2, out=np.empty((3, 4)))
    with pytest.raises(ValueError, match=r"out has shape \(2, 4\)"):
        pooling.block_reduce(x, 2, out=np.empty((2, 4), np.float32))


def test_a_masked_array_gives_a_masked_array() -> None:
    x = np.ma.MaskedArray(np.arange(16.0).reshape(4, 4), False)
    x[:2, :2] = np.ma.masked
    x[0, 2] = np.ma.masked
    result = pooling.block_reduce(x, 2)
    assert isinstance(result, np.ma.MaskedArray)
    assert result.mask.tolist() == [[True, False], [False, False]]
    assert result[0, 1] == pytest.approx((3 + 6 + 7) / 3)
    whole, share = pooling.block_reduce(x, 2, "count", return_valid=True)
    assert whole.tolist() == [[0, 3], [4, 4]]
    assert share.tolist() == [[0.0, 0.75], [1.0, 1.0]]
    assert pooling.block_reduce(x, 2, min_valid=0.8).mask.tolist() == [[True, True], [False, False]]


def test_empty_arrays_stay_empty() -> None:
    for func in FUNCS:
        assert pooling.block_reduce(np.zeros((0, 4), np.float32), 2, func).shape == (0, 2)
        assert pooling.block_reduce(np.zeros((3, 0, 4), np.float32), 2, func, nodata=0).shape == (2, 0, 2)


def test_a_block_larger_than_the_axis_is_one_partial_block() -> None:
    x = np.arange(6.0).reshape(2, 3)
    assert pooling.block_reduce(x, 100).tolist() == [[2.5]]
    assert pooling.block_reduce(x, 2**62, "median").tolist() == [[2.5]]
    assert pooling.block_reduce(x, (1, 2**40), "max").tolist() == [[2.0], [5.0]]


def test_other_arrays_are_read() -> None:
    assert pooling.block_reduce([[1.0, 2.0], [3.0, 4.0]], 2).tolist() == [[2.5]]
    torch = pytest.importorskip("torch")
    assert pooling.block_reduce(torch.arange(4), 2, "sum").tolist() == [1, 5]


# --- bad input ------------------------------------------------------------------------------------------------------


X = np.arange(12.0).reshape(3, 4)
BYTES = np.zeros((4, 4), np.uint8)
REFUSED: list[tuple[Any, ...]] = [
    (ValueError, r"block_size=0 must be at least 1, not 0; 1 keeps an axis as it is", X, (0,), {}),
    (ValueError, r"block_size=\(2, -1\) must be at least 1, not -1", X, ((2, -1),), {}),
    (TypeError, r"block_size=True must be an integer or one integer per axis, not bool", X, (True,), {}),
    (TypeError, r"block_size=\(1, 0.5\) must be an integer or one", X, ((1, 0.5),), {}),
    (TypeError, r"block_size='2' must be an integer", X, ("2",), {}),
    (ValueError, r"block_size=\(2, 2, 2\) must have one entry per axis, 2 and not 3", X, ((2, 2, 2),), {}),
    (ValueError, r"block_size=\(\) must have one entry per axis", X, ((),), {}),
    (ValueError, r"func='avg' must be one of 'mean', 'sum'", X, (2, "avg"), {}),
    (ValueError, r"func='medain' must be one of .*; for 'medain' write 'median'", X, (2, "medain"), {}),
    (TypeError, r"func=.* must be a word, not a function; write func='max'$", X, (2, np.max), {}),
    (
        TypeError,
        r"func=.* must be a word, not a function; write func='mean', of floats with nodata=numpy.nan$",
        X,
        (2, np.nanmean),
        {},
    ),
    (TypeError, r"func=.* must be a word, not a function", X, (2, len), {}),
    (TypeError, r"func=3 must be a string", X, (2, 3), {}),
    (ValueError, r"edge='pad' must be one of 'partial', 'trim', 'error'", X, (2,), {"edge": "pad"}),
    (ValueError, r"edge='error' and axis 0 of 3 elements is not divided by blocks of 2", X, (2,), {"edge": "error"}),
    (ValueError, r"edge='trim' leaves nothing of axis 0: it has 3 elements, a block 5", X, (5,), {"edge": "trim"}),
    (
        ValueError,
        r"nodata=256 is no number of uint8, which holds the integers from 0 to 255",
        BYTES,
        (2,),
        {"nodata": 256},
    ),
    (ValueError, r"nodata=nan is no number of uint8", BYTES, (2,), {"nodata": np.nan}),
    (ValueError, r"nodata=0.5 is no number of uint8", BYTES, (2,), {"nodata": 0.5}),
    (ValueError, r"nodata=1e\+39 is beyond the numbers of float32", X.astype("f4"), (2,), {"nodata": 1e39}),
    (TypeError, r"nodata='0' must be a number or NaN, not str", X, (2,), {"nodata": "0"}),
    (TypeError, r"nodata=True must be a number or NaN, not bool", X, (2,), {"nodata": True}),
    (ValueError, r"weights has shape \(4,\), the array \(3, 4\)", X, (2,), {"weights": np.ones(4)}),
    (
        ValueError,
        r"weights has -1.0, and must have finite numbers of at least 0",
        X,
        (2,),
        {"weights": -np.ones((3, 4))},
    ),
    (ValueError, r"weights has NaN", X, (2,), {"weights": np.full((3, 4), np.nan)}),
    (ValueError, r"weights has infinity", X, (2,), {"weights": np.full((3, 4), np.inf)}),
    (ValueError, r"func='median' takes no weights", X, (2, "median"), {"weights": np.ones((3, 4))}),
    (ValueError, r"min_valid=1.5 must be a share from 0 to 1", X, (2,), {"min_valid": 1.5}),
    (ValueError, r"min_valid=nan must be a share", X, (2,), {"min_valid": np.nan}),
    (ValueError, r"rounding='up' must be one of", X, (2,), {"rounding": "up"}),
    (TypeError, r"return_valid=1 must be True or False", X, (2,), {"return_valid": 1}),
    (ValueError, r"dtype='int16' cannot be had: mean of float64 gives float64", X, (2,), {"dtype": "i2"}),
    (ValueError, r"dtype='int32' cannot be had: mean of uint8 gives uint8, or float32", BYTES, (2,), {"dtype": "i4"}),
    (TypeError, r"dtype='nonsense' must be a dtype", X, (2,), {"dtype": "nonsense"}),
    (ValueError, r"layout='HWC' names 3 axes of an array of 2", X, (2,), {"layout": "HWC"}),
    (
        ValueError,
        r"layout='channels_last' must have one letter per axis.*; use 'HWC', 'NHWC', 'NDHWC'",
        X,
        (2,),
        {"layout": "channels_last"},
    ),
    (ValueError, r"layout='HH' must have one letter per axis, each once", X, (2,), {"layout": "HH"}),
    (TypeError, r"layout=1 must be a word", X, (2,), {"layout": 1}),
    (TypeError, r"array has dtype object", np.array([[None]]), (2,), {}),
    (TypeError, r"array has dtype complex128", X * 1j, (2,), {}),
    (TypeError, r"array is None", None, (2,), {}),
    (ValueError, r"array has 0 axes, and must have 1 to 6", np.float64(3), (2,), {}),
    (ValueError, r"array has 7 axes", np.zeros((1,) * 7), (2,), {}),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[1][:40])
def test_bad_input_is_refused_in_a_sentence(case: tuple[Any, ...]) -> None:
    kind, sentence, array, arguments, keywords = case
    with pytest.raises(kind, match=f"^block_reduce: {sentence}") as caught:
        pooling.block_reduce(array, *arguments, **keywords)
    assert "\n" not in str(caught.value)


def test_a_block_without_valid_elements_is_refused_where_nothing_says_so() -> None:
    weights = np.zeros((4, 4))
    with pytest.raises(
        ValueError, match=r"the block \(0, 0\) has no valid element, and no integer says so; give nodata"
    ):
        pooling.block_reduce(BYTES, 2, weights=weights)
    assert np.isnan(pooling.block_reduce(X, 2, weights=np.zeros((3, 4)))).all()
    assert pooling.block_reduce(BYTES, 2, weights=weights, nodata=9).tolist() == [[9, 9], [9, 9]]


def test_a_block_of_too_many_elements_is_refused() -> None:
    huge = np.broadcast_to(np.uint8(1), (2**16, 2**16))
    with pytest.raises(ValueError, match=r"a block has 4294967296 elements, and may have at most 2\*\*31 - 1"):
        pooling.block_reduce(huge, 2**16)


# --- gradients ------------------------------------------------------------------------------------------------------


GRADIENTS = tuple(name for name, row in BLOCK_REDUCTIONS.items() if row.gradient_dtypes)


def gradient_by_hand(grad: Array, x: Array, size: tuple[int, ...], func: str, there: Array, weights: Array) -> Array:
    """Work out the gradient of each block, one element after another."""
    result = np.zeros(x.shape)
    for cell in np.ndindex(grad.shape):
        block = tuple(slice(o * n, (o + 1) * n) for o, n in zip(cell, size, strict=True))
        v, ok, w = x[block].astype(np.float64), there[block], weights[block] * there[block]
        if not ok.any():
            continue
        g = float(grad[cell])
        if func == "sum":
            result[block] = g * w
        elif func == "mean":
            result[block] = g * w / w.sum()
        elif func == "rms":
            root = math.sqrt((w * np.where(ok, v, 0) ** 2).sum() / w.sum())
            result[block] = g * w * np.where(ok, v, 0) / (w.sum() * root) if root else 0
        else:
            kept = np.where(ok, v, -np.inf if func == "max" else np.inf)
            place = np.argmax(kept) if func == "max" else np.argmin(kept)
            part = np.zeros(v.size)
            part[place] = g
            result[block] = part.reshape(v.shape)
    return result


@pytest.mark.parametrize("func", GRADIENTS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients_are_those_of_each_block(func: str, dtype: str) -> None:
    for seed, (shape, size) in enumerate([((5, 7), (2, 3)), ((9,), (4,)), ((3, 4, 5), (2, 2, 1)), ((4, 6), (2, 2))]):
        x = numbers(shape, dtype, seed, few=True)
        grad = numbers(tuple(-(-n // b) for n, b in zip(shape, size, strict=True)), dtype, seed + 9)
        for nodata in (None, 1):
            there = np.ones(shape, bool) if nodata is None else x != nodata
            expected = gradient_by_hand(grad, x, size, func, there, np.ones(shape))
            result = pooling.block_reduce_backward(grad, x, size, func, nodata=nodata)
            assert result.dtype == x.dtype
            assert_within(result, expected, 4 * UNIT[dtype] * np.abs(expected) + TINY[dtype])
    if BLOCK_REDUCTIONS[func].weighted:
        x, weights = numbers((4, 6), dtype, 1), np.random.default_rng(0).random((4, 6))
        grad = numbers((2, 3), dtype, 2)
        expected = gradient_by_hand(grad, x, (2, 2), func, np.ones((4, 6), bool), weights)
        result = pooling.block_reduce_backward(grad, x, 2, func, weights=weights)
        assert_within(result, expected, 4 * UNIT[dtype] * np.abs(expected) + TINY[dtype])


def test_gradients_of_sliding_pooling_are_the_same() -> None:
    x = random_array((1, 2, 8, 6), np.float64)
    grad = random_array((1, 2, 4, 3), np.float64, 1)
    for func, function in (("max", "max_pool2d"), ("min", "min_pool2d"), ("mean", "avg_pool2d")):
        theirs = getattr(pooling, f"{function}_backward")(grad, x, 2)
        np.testing.assert_allclose(pooling.block_reduce_backward(grad, x, (1, 1, 2, 2), func), theirs, rtol=1e-15)
        np.testing.assert_allclose(
            pooling.block_reduce(x, (1, 1, 2, 2), func), getattr(pooling, function)(x, 2), rtol=1e-15
        )


def test_gradients_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="func='median' has no gradient; use mean, sum, min, max, rms"):
        pooling.block_reduce_backward(np.ones((2, 2)), X, 2, "median")
    with pytest.raises(TypeError, match="array has dtype uint8, which has no gradient"):
        pooling.block_reduce_backward(np.ones((2, 2)), BYTES, 2)
    with pytest.raises(ValueError, match=r"grad_output has shape \(3,\), the result \(2, 2\)"):
        pooling.block_reduce_backward(np.ones(3), X, 2)
    with pytest.raises(TypeError, match="grad_output has dtype float32, the array float64"):
        pooling.block_reduce_backward(np.ones((2, 2), np.float32), X, 2)


def test_elements_that_are_trimmed_have_no_gradient() -> None:
    result = pooling.block_reduce_backward(np.ones((1, 2)), X, 2, edge="trim")
    assert result.tolist() == [[0.25] * 4, [0.25] * 4, [0.0] * 4]


# --- the table ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCS)
def test_every_row_is_known_to_function_twin_and_documentation(name: str) -> None:
    row = BLOCK_REDUCTIONS[name]
    assert row.name == name
    assert name in reference.BLOCK_FUNCS
    assert f'``"{name}"``' in (pooling.block_reduce.__doc__ or "")
    assert row.summary.endswith(".")
    for operator in row.onnx:
        assert pytest.importorskip("onnx").defs.has(operator)


# --- ONNX -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("func", "layer"),
    [
        ("mean", lambda b: pooling.AvgPool2d(b, ceil_mode=True, count_include_pad=False)),
        ("max", lambda b: pooling.MaxPool2d(b, ceil_mode=True)),
        ("min", lambda b: pooling.MinPool2d(b, ceil_mode=True)),
        ("sum", lambda b: pooling.AvgPool2d(b, divisor_override=1)),
    ],
)
@pytest.mark.parametrize("block", [2, 3])
def test_graphs_of_layers_give_the_same(func: str, layer: Callable[[int], Any], block: int) -> None:
    runtime = pytest.importorskip("onnxruntime")
    export = pytest.importorskip("pooling.export")
    shape = (2, 3, 12, 18) if func == "sum" else (2, 3, 13, 17)
    x = random_array(shape, np.float32)
    model = export.to_onnx(layer(block), shape)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {session.get_inputs()[0].name: x})
    ours = pooling.block_reduce(x, block, func, layout="NCHW")
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    if func in ("max", "min"):
        assert_same(ours, theirs)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("size", [(1, 2, 2), (2, 2, 2), (1, 4, 2), (4, 1, 2)])
def test_modes_of_pairs_of_columns_are_those_of_the_twin(dtype: str, size: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    limits = np.iinfo(dtype)
    for count in (1, 2, 3, 4, 9):
        values = np.array([limits.max, limits.min, 0, 1, limits.max - 1, 2, 3, 4, limits.min + 1], dtype)[:count]
        # Also rows that are longer than what is done at once, and blocks that are cut on each axis.
        for shape in ((4, 4, 300), (5, 7, 39)):
            assert_as_twin(values[random.integers(0, count, shape)], size, "mode")


@pytest.mark.parametrize("size", [(1, 2, 2), (2, 2, 2)])
@pytest.mark.parametrize(
    ("dtype", "base"),
    [("uint64", 0), ("uint64", 3 << 61), ("uint64", 2**64 - 2**32), ("int64", -(2**63)), ("int64", -(2**32))],
)
def test_modes_of_labels_whose_upper_halves_are_mostly_equal(dtype: str, base: int, size: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    low = np.array([0, 1, 7, 2**31, 2**32 - 1], dtype)
    for shape in ((4, 4, 300), (2, 3, 129)):
        x = low[random.integers(0, 5, shape)] + np.array(base, dtype)
        assert_as_twin(x, size, "mode")
        for place in ((0, 0, 0), (1, 1, 0), (0, 1, 2), (1, 0, 127), (0, 0, 128), (1, 1, shape[2] - 1)):
            # Others for a few labels in one row, and for one alone.
            for length in (1, 3):
                y = x.copy()
                y[(*place[:2], slice(place[2], place[2] + length))] ^= np.array(1 << 40, dtype)
                assert_as_twin(y, size, "mode")


def test_rows_of_all_lengths_and_places_are_read_to_their_end() -> None:
    for columns in (1, 2, 3, 255, 256, 257, 511, 512, 513, 1030):
        for dtype in ("uint8", "uint16", "float32", "float64"):
            x = numbers((4, columns + 3), dtype, columns)[:, 3:]
            for size in ((2, 2), (4, 2), (1, 2)):
                assert_as_twin(x, size, "mean")
                if dtype == "float32":
                    assert_as_twin(x, size, "mean", nodata=x.flat[0].item())


@pytest.mark.parametrize("func", ["rms", "std", "var"])
def test_a_block_is_added_in_the_same_order_whatever_else_the_array_has(func: str) -> None:
    # A partial block of one column, alone or behind others, has its elements in the same order.
    for shape, size in (((40, 9), (40, 4)), ((9, 40), (4, 40)), ((3, 5, 7), (3, 2, 3))):
        x = random_array(shape, np.float64)
        together = pooling.block_reduce(x, size, func)
        for axis, block in enumerate(size):
            start = (shape[axis] - 1) // block * block
            part = (slice(None),) * axis + (slice(start, None),)
            assert_same_bytes(
                pooling.block_reduce(np.ascontiguousarray(x[part]), size, func),
                together[(*part[:-1], slice(-1, None))],
            )


def test_masked_arrays_need_no_nodata_to_be_masked() -> None:
    x = np.ma.MaskedArray(np.arange(4, dtype=np.uint8), [1, 1, 0, 0])
    result = pooling.block_reduce(x, 2, weights=np.ones(4))
    assert result.tolist() == [None, 2]
    unmasked = np.ma.MaskedArray(np.array([1, 2, 3, 4]))
    assert pooling.block_reduce(unmasked, 2, weights=[0, 0, 1, 1]).tolist() == [None, 4]
    out = np.empty(2, np.uint8)
    into = pooling.block_reduce(x, 2, out=out)
    assert into.tolist() == [None, 2]
    assert np.shares_memory(into.data, out)
    weights = np.ma.MaskedArray(np.ones(4), [0, 1, 0, 0])
    assert pooling.block_reduce(np.array([1.0, 9.0, 2.0, 4.0]), 2, weights=weights).tolist() == [1.0, 3.0]


def test_a_sum_that_does_not_fit_is_no_fault_of_a_block_that_becomes_nodata() -> None:
    most = 2**63 - 1
    x = np.array([most, most, 7, 1, 1, 1, most, 7])
    assert pooling.block_reduce(x, 3, "sum", nodata=7, min_valid=0.9).tolist() == [7, 3, 7]
    masked = np.ma.MaskedArray(x, x == 7)
    assert pooling.block_reduce(masked, 3, "sum", min_valid=0.9).tolist() == [None, 3, None]
    with pytest.raises(ValueError, match=r"the sum of the block \(0,\) does not fit"):
        pooling.block_reduce(x, 3, "sum", nodata=7, min_valid=0.5)
    # The last block, which is partial, has a share of its own.
    with pytest.raises(ValueError, match=r"the sum of the block \(1,\) does not fit"):
        pooling.block_reduce(np.array([1, 1, 1, most, most]), 3, "sum", nodata=7, min_valid=0.9)


@pytest.mark.parametrize("dtype", FLOATS)
def test_first_elements_keep_their_sign_of_zero(dtype: str) -> None:
    x = np.array([-0.0, 1.0, 0.0, -0.0, 9.0, -0.0, np.nan, 1.0]).astype(random_array((1,), dtype).dtype)
    for arguments in ({}, {"nodata": 9.0}):
        result = pooling.block_reduce(x, 2, "first", **arguments).astype(np.float64)
        assert np.signbit(result[:3]).tolist() == [True, False, bool(arguments)]
        assert np.isnan(result[3])
    masked = pooling.block_reduce(np.ma.MaskedArray(x, [1, 0, 1, 0, 1, 0, 1, 0]), 2, "first")
    assert np.signbit(masked.data.astype(np.float64)).tolist() == [False, True, True, False]


def test_sums_of_floats_beyond_float64_are_infinite_and_so_are_their_means() -> None:
    x = np.array([1.5e308, 1.5e308, -1.5e308, -1.5e308])
    assert pooling.block_reduce(x, 2, "sum").tolist() == [np.inf, -np.inf]
    assert pooling.block_reduce(x, 2).tolist() == [np.inf, -np.inf]
    assert pooling.block_reduce(np.full(4, 3e38, np.float32), 4).tolist() == [np.float32(3e38)]
    # Deviations are scaled, and a median divides first.
    assert np.isfinite(pooling.block_reduce(x, 4, "rms")).all()
    assert np.isfinite(pooling.block_reduce(x, 2, "median")).all()


def test_nodata_of_more_than_a_number_is_refused_in_a_sentence() -> None:
    with pytest.raises(TypeError, match="block_reduce: nodata="):
        pooling.block_reduce(np.ones(4, np.float32), 2, nodata=np.array([0.0]))


@pytest.mark.thread_unsafe(reason="counts the memory of all threads")
def test_weights_that_hold_for_all_rows_take_no_memory_of_their_own() -> None:
    x = random_array((2048, 512), np.float32)
    row = np.random.default_rng(0).integers(0, 9, 512).astype(np.uint8)
    expected = pooling.block_reduce(
        x, 4, weights=np.ascontiguousarray(np.broadcast_to(row.astype(np.float64), x.shape))
    )
    tracemalloc.start()
    result = pooling.block_reduce(x, 4, weights=np.broadcast_to(row, x.shape))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert_same_bytes(result, expected)
    # As float64 they would take 8 MiB.
    assert most < 1 << 20


@pytest.mark.parametrize("func", ["mean", "max", "median", "range", "sum"])
def test_masked_results_are_filled_as_their_arrays_are(func):
    array = np.ma.masked_equal(np.array([-1, -1, 3, 5, 7, 9, -1, -1], np.int16), -1)
    for result in (pooling.block_reduce(array, 2, func), *pooling.pyramid(array, 2, 1, func)):
        assert result.fill_value == -1
        assert result.filled()[0] == -1
    plain = np.ma.MaskedArray(np.ones(4, np.float32), [1, 1, 0, 0])
    assert np.float32(pooling.block_reduce(plain, 2, func).fill_value) == np.float32(1e20)  # NumPy's own


def test_a_filling_number_that_no_result_can_be_is_left():
    filled = np.ma.MaskedArray(np.ones(4), [1, 1, 0, 0], fill_value=np.nan)
    assert np.isnan(pooling.block_reduce(filled, 2).filled()[0])
    counts = pooling.block_reduce(filled, 2, "count")
    assert counts.dtype.kind in "iu"
    assert counts.tolist() == [0, 2]


@pytest.mark.parametrize("shape", [(40, 60, 3), (2, 40, 60, 4)])
def test_colours_that_are_reduced_are_warned_of(shape: tuple[int, ...]) -> None:
    picture = np.zeros(shape, np.uint8)
    layout = "HWC" if len(shape) == 3 else "NHWC"
    for size in (2, (2,)):
        with pytest.warns(pooling.LayoutWarning, match=rf'along its last axis too; .*, say layout="{layout}"$'):
            pooling.block_reduce(picture, size)
    with pytest.warns(pooling.LayoutWarning, match="along its last axis too"):
        pooling.pyramid(picture, [2])
    with pytest.warns(
        pooling.LayoutWarning, match=r"along its last axis too; if that has colours, say axes=\("
    ) as caught:
        pooling.pyramid(picture, levels=1)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pooling.block_reduce(picture, 2, layout=layout)
        pooling.block_reduce(picture, (2,) * len(shape))  # said for each axis
        pooling.block_reduce(picture[..., :2], 2)
        pooling.block_reduce(np.zeros((3, 40, 60), np.uint8), 2)
        pooling.pyramid(picture, levels=1, axes=(-3, -2))
