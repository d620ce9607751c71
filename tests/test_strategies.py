"""Which strategy of the kernels a call takes: geometries that are named after one take it, and each is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pooling
from pooling.dispatch import available_levels, kernels, load
from tests.conftest import LAYOUTS, PATHS, Geometry, resolved_call

FORWARD = {
    "narrow_planes": "stacks",
    "narrow_planes_asymmetric": "flat",
    "narrow_planes_of_64_columns": "flat",
    "narrow_planes_larger_than_a_stack": "bands",
    "rows_of_one_length": "flat",
    "bands": "bands",
    "wide_rows": "bands",
    "wide_rows_kernel_1_stride_2": "singles",
    "kernel_of": "bands",
    "runs": "bands",
    "ladder": "bands",
    "ladder_in_narrow_planes": "stacks",
    "strips": "strips",
    "adaptive_many_planes": "stacks",
    "adaptive_wide_rows": "bands",
}
"""By the beginnings of names, of which the longest counts; the geometry `ladder` itself is one of narrow planes."""
INDICES = {
    "narrow_planes": "argmax_stacks",
    "bands": "argmax_stacks",
    "long_windows": "argmax_long",
    "strips": "argmax_long",
    "row_read_as_it_lies": "argmax_rows",
    "runs_longer_than_a_block": "argmax_search",
    "adaptive_windows_longer_than_a_block": "argmax_search",
}
GRADIENTS = {
    "narrow_planes": "scatter_stacks",
    "long_windows": "scatter_long",
    "strips": "scatter_long",
    "row_read_as_it_lies": "scatter_planes",
}
MEAN_GRADIENTS = {
    "many_planes": "spread_planes",
    "narrow_planes_as_they_lie": "spread_tiles",
    "wide_rows_stride": "spread_rows",
    "windows_of_whole_planes": "spread_tiles",
}
OTHERS = {
    "windows larger than a thread may work in": Geometry((1, 1, 2**20), {"kernel_size": 2**19, "stride": 2**12}),
    "rows of tiles longer than a piece": Geometry((1, 1, 2**15), {"kernel_size": 2}),
}
"""Whatever no short test of every path takes; tests of long windows and of memory run such calls."""
BYTES = {
    "bytes": ("max_pool", Geometry((1, 1, 40, 90), {"kernel_size": 5, "stride": 1, "padding": 2})),
    "byte_means": ("avg_pool", Geometry((1, 1, 40, 90), {"kernel_size": 3, "stride": 1, "padding": 1})),
    "byte_lines": ("avg_pool", Geometry((1, 1, 400), {"kernel_size": 5, "stride": 1, "padding": 2})),
    "halves": ("avg_pool", Geometry((1, 1, 40, 90), {"kernel_size": 2, "stride": 2})),
}
"""Calls in uint8 by the strategy that they take."""
APART = Geometry((1, 1, 10, 600), {"kernel_size": (3, 150), "stride": (1, 75)})
"""Windows that overlap from row to row, and hardly along a row."""


def resolved(geometry: Geometry, family: str, layout: str, dtype: str = "float32") -> Any:
    batch, channels, *spatial = geometry.shape
    shape = geometry.shape if layout == "channels_first" else (batch, *spatial, channels)
    array = np.broadcast_to(np.dtype(dtype).type(0), shape)
    return resolved_call(geometry.function(family), array, **geometry.windows, layout=layout)


def strategies(geometry: Geometry, layout: str) -> dict[str, set[str]]:
    """Return the names for each kind of call; those of gradients of means only where they are spread."""
    found: dict[str, set[str]] = {name: set() for name in kernels.STRATEGIES}
    for family in ("max_pool", "avg_pool"):
        call = resolved(geometry, family, layout)
        found["forward"].add(kernels.strategy_of(call.plan, "forward", call.reducer, call.kind)[0])
        if family == "max_pool":
            for name in ("indices", "gradient"):
                found[name].add(kernels.strategy_of(call.index_plan, name, call.reducer, call.kind)[0])
            continue
        for gradient in call.gradients:
            if not gradient.gathers:
                name = kernels.strategy_of(gradient.plan, "mean_gradient", call.reducer, call.kind)[0]
                found["mean_gradient"].add(name)
    return found


def expected(names: dict[str, str], path: str) -> str | None:
    """Return what the longest beginning of a name says."""
    return names[max(begun, key=len)] if (begun := [name for name in names if path.startswith(name)]) else None


@pytest.mark.parametrize("path", PATHS)
def test_geometries_take_the_strategy_that_they_are_named_after(path: str) -> None:
    found = strategies(PATHS[path], "channels_first")
    for kind, names in (
        ("forward", FORWARD),
        ("indices", INDICES),
        ("gradient", GRADIENTS),
        ("mean_gradient", MEAN_GRADIENTS),
    ):
        name = "stacks" if (kind, path) == ("forward", "ladder") else expected(names, path)
        if name is not None:
            assert found[kind] == {name}, kind


def test_every_strategy_is_taken() -> None:
    taken: dict[str, set[str]] = {name: set() for name in kernels.STRATEGIES}
    for geometry in (*PATHS.values(), *OTHERS.values(), APART):
        for layout in LAYOUTS:
            for kind, names in strategies(geometry, layout).items():
                taken[kind] |= names
    # Long windows of integers, which have no gradients.
    call = resolved(PATHS["strips"], "avg_pool", "channels_first", "uint8")
    taken["forward"].add(kernels.strategy_of(call.plan, "forward", call.reducer, call.kind)[0])
    for name, (family, geometry) in BYTES.items():
        call = resolved(geometry, family, "channels_first", "uint8")
        found = kernels.strategy_of(call.plan, "forward", call.reducer, call.kind)[0]
        # Means have loops of their own only where vectors of x86 are.
        assert found == name or (name in ("byte_lines", "byte_means", "halves") and not kernels.LEVEL.startswith("x86"))
        taken["forward"].add(name)
    assert taken == {kind: set(names) for kind, names in kernels.STRATEGIES.items()}


@pytest.mark.parametrize("name", OTHERS)
def test_calls_of_other_strategies_are_right(name: str) -> None:
    geometry = OTHERS[name]
    kernel, stride = (int(geometry.windows.get(key, 2)) for key in ("kernel_size", "stride"))
    x = np.random.default_rng(1).integers(-8, 8, geometry.shape).astype(np.float64)
    y = pooling.avg_pool1d(x, **geometry.windows)
    starts = np.arange(0, x.shape[-1] - kernel + 1, stride)
    # Sums of so few small integers, and quotients by powers of two, are exact.
    sums = np.concatenate([[0.0], np.cumsum(x[0, 0])])
    np.testing.assert_array_equal(y[0, 0], (sums[starts + kernel] - sums[starts]) / kernel)
    given = np.ones_like(y)
    covering = np.zeros(x.shape[-1])
    for start in starts:
        covering[start : start + kernel] += 1 / kernel
    np.testing.assert_array_equal(pooling.avg_pool1d_backward(given, x, **geometry.windows)[0, 0], covering)


@pytest.mark.parametrize("level", available_levels())
def test_levels_take_the_same_strategies(level: str) -> None:
    assert load(level).STRATEGIES == kernels.STRATEGIES


@pytest.mark.parametrize("arguments", [("sideways", 0, 0), ("indices", 99, 0), ("mean_gradient", 0, 0)])
def test_strategy_of_what_does_not_exist(arguments: tuple[Any, ...]) -> None:
    call = resolved(OTHERS["rows of tiles longer than a piece"], "max_pool", "channels_first")
    with pytest.raises(ValueError):
        kernels.strategy_of(call.plan, *arguments)
