"""Levels of a pyramid are block reductions of the original, to the bit, whatever they are made of."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pooling
from pooling.families import blocks, pyramids
from pooling.operators import BLOCK_REDUCTIONS, FLOATS
from tests.conftest import Array, assert_same_bytes, random_array
from tests.test_block_reduce import DTYPES, FUNCS, numbers

EXACT = [name for name in FUNCS if name not in ("mode", "median")]


def cumulated(factors: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Multiply the factors of each level by those before."""
    return [tuple(map(math.prod, zip(*factors[: i + 1], strict=True))) for i in range(len(factors))]


def assert_levels(x: Array, factors: list[tuple[int, ...]], func: str, **arguments: Any) -> None:
    """Compare each level with the reduction of the original."""
    levels = pooling.pyramid(x, factors, func=func, exact=func in ("mode", "median"), **arguments)
    assert len(levels) == len(factors)
    for level, block in zip(levels, cumulated(factors), strict=True):
        expected = pooling.block_reduce(x, block, func, **arguments)
        if isinstance(expected, np.ma.MaskedArray):
            assert isinstance(level, np.ma.MaskedArray)
            np.testing.assert_array_equal(level.mask, expected.mask)
            level, expected = level.filled(0), expected.filled(0)
        assert_same_bytes(np.ascontiguousarray(level), expected)


@pytest.mark.parametrize("func", FUNCS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_levels_are_reductions_of_the_original(func: str, dtype: str) -> None:
    x = numbers((37, 50, 3), dtype)
    if dtype in ("int64", "uint64") and func in ("sum", "range"):
        x = x // 4096
    for factors in ([(2, 2, 1)] * 4, [(1, 2, 2), (2, 2, 1), (3, 1, 1)], [(3, 3, 2), (2, 2, 2)]):
        assert_levels(x, factors, func)
        assert_levels(x, factors[:2], func, nodata=x.flat[1].item(), min_valid=0.3)


@st.composite
def pyramids_of(draw: st.DrawFn) -> tuple[Array, list[tuple[int, ...]], str, dict[str, Any]]:
    """Any pyramid of a small array."""
    dtype, func = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(FUNCS))
    axes = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, 25)) for _ in range(axes))
    factors = [tuple(draw(st.integers(1, 4)) for _ in range(axes)) for _ in range(draw(st.integers(1, 4)))]
    x = numbers(shape, dtype, draw(st.integers(0, 99)), few=draw(st.booleans()))
    arguments: dict[str, Any] = {"rounding": draw(st.sampled_from(("half_even", "half_up")))}
    if dtype in ("int64", "uint64"):
        x = x // 65536
    if draw(st.booleans()):
        arguments["nodata"] = draw(st.sampled_from((0, 1, 2)))
        arguments["min_valid"] = draw(st.sampled_from((0.0, 0.4)))
        if dtype == "bool":
            arguments["nodata"] = 0
    if dtype in FLOATS and draw(st.booleans()):
        x[np.random.default_rng(draw(st.integers(0, 9))).random(shape) < 0.3] = np.nan
        arguments["nodata"] = np.nan
    if draw(st.integers(0, 3)) == 0:
        x = np.ma.MaskedArray(x, np.random.default_rng(draw(st.integers(0, 9))).random(shape) < 0.4)
    whole = cumulated(factors)[-1]
    if all(n >= b for n, b in zip(shape, whole, strict=True)) and draw(st.booleans()):
        arguments["edge"] = "trim"
    return x, factors, func, arguments


@settings(max_examples=250)
@given(pyramids_of())
def test_any_pyramid_has_levels_of_the_original(call: tuple[Array, list[tuple[int, ...]], str, dict[str, Any]]) -> None:
    x, factors, func, arguments = call
    assert_levels(x, factors, func, **arguments)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64", "float32", "float64"])
def test_levels_of_larger_arrays_are_carried_through_several_calls(dtype: str, always_parallel: None) -> None:
    x = numbers((517, 1030), dtype)
    if dtype == "int64":
        x = x // 2**20
    for func in ("mean", "sum"):
        levels = pooling.pyramid(x, 2, func=func)
        assert levels[-1].shape == (1, 1)
        for n, level in enumerate(levels, 1):
            assert_same_bytes(level, pooling.block_reduce(x, 2**n, func))


def test_integer_pyramids_have_no_wrong_pixel() -> None:
    x = numbers((1024, 1536), "uint8", 5)
    wrong = 0
    for n, level in enumerate(pooling.pyramid(x, 2, 9), 1):
        sums = x.reshape(1024 >> n, 1 << n, 1536 >> n, 1 << n).astype(np.int64).sum((1, 3))
        quotient, rest = np.divmod(sums, 4**n)
        up = (2 * rest > 4**n) | ((2 * rest == 4**n) & (quotient % 2 == 1))
        wrong += np.count_nonzero(level != quotient + up)
    assert wrong == 0
    cascaded = x
    for _ in range(5):
        cascaded = pooling.block_reduce(cascaded, 2)
    # What levels of levels would have been.
    assert np.count_nonzero(cascaded != pooling.pyramid(x, 2, 5)[4]) > 0


def exact_means(x: Array, sizes: tuple[int, ...], rounding: str) -> Array:
    """Divide the sums of blocks in integers; the blocks at the end may be partial."""
    sums, counts = x.astype(np.int64), np.ones(x.shape, np.int64)
    for axis, size in enumerate(sizes):
        starts = np.arange(0, x.shape[axis], size)
        sums, counts = (np.add.reduceat(each, starts, axis) for each in (sums, counts))
    quotient, rest = np.divmod(sums, counts)
    if rounding == "half_even":
        quotient += (2 * rest > counts) | ((2 * rest == counts) & (quotient % 2 == 1))
    elif rounding == "half_up":
        quotient += 2 * rest >= counts
    elif rounding == "trunc":
        quotient += (rest > 0) & (quotient < 0)
    return quotient.astype(x.dtype)


@pytest.mark.parametrize("rounding", ["half_even", "half_up", "floor", "trunc"])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_two_levels_of_bytes_at_once_are_exact(dtype: str, rounding: Any) -> None:
    for channels in (1, 2, 3, 4):
        factors = (2, 2) if channels == 1 else (2, 2, 1)
        for height, width in ((4, 64), (8, 16), (12, 68), (9, 72), (10, 84), (16, 100), (8, 101), (7, 132), (20, 1024)):
            shape = (height, width) if channels == 1 else (height, width, channels)
            x = numbers((*shape[:1], shape[1] + 5, *shape[2:]), dtype, width)[:, 2 : width + 2]
            # Sums of four and of sixteen that are ties come more often where neighbours are alike.
            for each in (x, x & np.array(3, dtype), np.ascontiguousarray(x) | np.array(-4, np.int8).view(dtype)):
                for n, level in enumerate(pooling.pyramid(each, factors, 4, rounding=rounding), 1):
                    sizes = tuple(factor**n for factor in factors)
                    assert_same_bytes(np.ascontiguousarray(level), exact_means(each, sizes, rounding))


@pytest.mark.parametrize("factors", [(1, 2, 2), (2, 1, 2), (2, 2, 2), (2, 2, 1)])
def test_levels_of_stacks_and_volumes_of_bytes_are_exact(factors: tuple[int, ...]) -> None:
    for rounding in ("half_even", "half_up", "floor"):
        for shape in ((8, 12, 64), (5, 8, 72), (4, 9, 130), (6, 6, 131), (4, 4, 200)):
            x = numbers(shape, "uint8", shape[2])
            for each in (x, x & 3, x[::-1], x[:, ::-1]):
                assert_same_bytes(
                    pooling.block_reduce(each, factors, rounding=rounding), exact_means(each, factors, rounding)
                )
                for n, level in enumerate(pooling.pyramid(each, factors, 3, rounding=rounding), 1):
                    sizes = tuple(factor**n for factor in factors)
                    assert_same_bytes(level, exact_means(each, sizes, rounding))
        trimmed = pooling.pyramid(x[:, :3, :135], (1, 2, 2), 1, edge="trim", rounding=rounding)
        assert_same_bytes(trimmed[0], exact_means(x[:, :2, :134], (1, 2, 2), rounding))


def test_modes_and_medians_are_of_the_level_before_unless_asked() -> None:
    x = np.random.default_rng(0).integers(0, 9, (64, 64), dtype=np.uint8)
    for func in ("mode", "median"):
        levels = pooling.pyramid(x, 2, 3, func)
        before = x
        for level in levels:
            before = pooling.block_reduce(before, 2, func)
            assert_same_bytes(level, before)
        exact = pooling.pyramid(x, 2, 3, func, exact=True)
        assert_same_bytes(exact[2], pooling.block_reduce(x, 8, func))
        assert exact[2].tolist() != levels[2].tolist()


def test_factors_may_differ_by_axis_and_level() -> None:
    x = numbers((9, 33, 20), "uint16")
    assert [level.shape for level in pooling.pyramid(x, (1, 2, 2), 2)] == [(9, 17, 10), (9, 9, 5)]
    assert [level.shape for level in pooling.pyramid(x, [(1, 2, 2), (2, 2, 2)])] == [(9, 17, 10), (5, 9, 5)]
    assert [level.shape for level in pooling.pyramid(x, 2, 2, axes=(1, 2))] == [(9, 17, 10), (9, 9, 5)]
    assert [level.shape for level in pooling.pyramid(x, [2, 3], 2, axes=(-1, 0))] == [(3, 33, 10), (1, 33, 5)]
    assert len(pooling.pyramid(x)) == 6
    assert pooling.pyramid(x)[-1].shape == (1, 1, 1)
    assert [level.shape for level in pooling.pyramid(x, edge="trim")] == [(4, 16, 10), (2, 8, 5), (1, 4, 2)]
    assert pooling.pyramid(x, levels=0) == []


def test_the_order_of_sums_is_that_of_the_sizes() -> None:
    assert blocks.stages_of((4, 6)) == [(2, 2), (2, 3)]
    assert blocks.stages_of((1, 2, 12)) == [(1, 1, 2), (1, 1, 2), (1, 2, 3)]
    assert blocks.stages_of((1,)) == [(1,)]
    assert blocks.stages_of((2**20,)) == [(2,)] * 16 + [(16,)]
    for size in (2, 97, 360, 65537, 10**6, 2**31 - 1):
        assert math.prod(stage[0] for stage in blocks.stages_of((size,))) == size


def test_an_array_is_read_once_where_sums_can_be_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[tuple[int, bool]] = []
    real = pyramids.run

    def counted(call: Any, levels: Any, start: Any = None, **keywords: Any) -> Any:
        runs.append((len(levels), start is None))
        return real(call, levels, start, **keywords)

    monkeypatch.setattr(pyramids, "run", counted)
    for dtype in ("uint8", "float32"):
        runs.clear()
        pooling.pyramid(numbers((512, 640), dtype), 2)
        assert [begins for _, begins in runs].count(True) == 1
    runs.clear()
    pooling.pyramid(numbers((16, 64, 64), "float32"), [(1, 2, 2), (2, 2, 2)])
    assert [begins for _, begins in runs].count(True) == 1
    runs.clear()
    # Three and then two are other stages than six; of floats this is another pass.
    pooling.pyramid(numbers((64, 64), "float32"), [(3, 3), (2, 2)])
    assert [begins for _, begins in runs].count(True) == 2
    runs.clear()
    pooling.pyramid(numbers((64, 64), "int32"), [(3, 3), (2, 2)])
    assert [begins for _, begins in runs].count(True) == 1


@pytest.mark.thread_unsafe(reason="counts the memory of all threads")
def test_levels_take_no_more_memory_than_half_of_the_output_besides() -> None:
    x = numbers((2048, 2048), "uint8")
    pooling.pyramid(x[:64, :64], 2)
    tracemalloc.start()
    levels = pooling.pyramid(x, 2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= 1.5 * sum(level.nbytes for level in levels) + 50_000


@pytest.mark.parametrize(
    ("sentence", "arguments"),
    [
        ("factors=1 must be at least 2 on some axis", {"factors": 1}),
        ("factors=0 must be at least 1", {"factors": 0}),
        (r"factors=\(2, 2, 2\) must have one entry per", {"factors": (2, 2, 2)}),
        ("levels=-1 must be between 0 and 64", {"levels": -1}),
        (r"levels=3 asks for 3 levels, and factors has 2 entries", {"factors": [(2, 2), (2, 2)], "levels": 3}),
        ("axes=2 must be from -2 to 1", {"axes": 2}),
        (r"axes=\(0, 0\) must name each axis once", {"axes": (0, 0)}),
        (r"exact=True is for modes and medians", {"exact": True}),
        ("edge='error' and axis 0 of 6 elements is not divided by blocks of 4", {"levels": 2, "edge": "error"}),
        ("blocks of level 41 would have", {"levels": 60}),
        ("nodata=nan is no number of uint8", {"nodata": np.nan}),
    ],
)
def test_bad_input_is_refused_in_a_sentence(sentence: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^pyramid: {sentence}"):
        pooling.pyramid(np.zeros((6, 8), np.uint8), **arguments)


def test_bad_kinds_are_refused_too() -> None:
    with pytest.raises(TypeError, match=r"^pyramid: levels='mode' must be an integer; write func='mode' for a red"):
        pooling.pyramid(np.zeros((6, 8), np.uint8), 2, "mode")  # type: ignore[arg-type]  as block_reduce has it
    for arguments in ({"levels": True}, {"factors": 2.5}, {"axes": "0"}, {"exact": 1}, {"func": max}):
        with pytest.raises(TypeError, match=r"^pyramid: "):
            pooling.pyramid(np.zeros((6, 8)), **arguments)


def test_empty_arrays_have_empty_levels() -> None:
    assert [level.shape for level in pooling.pyramid(np.zeros((0, 8)), 2, 2)] == [(0, 4), (0, 2)]


def test_every_row_says_what_its_levels_are_made_of() -> None:
    assert {row.levels for row in BLOCK_REDUCTIONS.values()} == {"sums", "level", "either", "originals"}
    x = random_array((40, 40), np.float64)
    for name in EXACT:
        assert_levels(x, [(2, 2), (2, 2)], name)
