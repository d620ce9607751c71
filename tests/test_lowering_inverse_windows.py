"""The windows that hold each cell, as tables and in graphs, against what the oracle's windows say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pooling import reference
from pooling.geometry import Axis, adaptive_axes, pool_axes
from tests.built_graphs import computing, graph_of, operators
from tests.conftest import Array, assert_same

from pooling.export.lowering import inverse_windows  # isort: skip

LAID: list[tuple[int, Any]] = [
    (5, (2, 1, 0, 1)),
    (6, (2, 2, 0, 1)),
    (6, (3, 2, 1, 1)),
    (5, (3, 1, 1, 2)),
    (7, (2, 3, 0, 1)),
    (3, (1, 1, 0, 1)),
    (4, (4, 1, 0, 1)),
    (2, (2, 1, 2, 4)),
    (1, (3, 1, 1, 1)),
    (5, 2),
    (4, 3),
    (3, 1),
    (2, 5),
]
"""Sizes, and windows on them: kernel, stride, padding and dilation, or the number of adaptive ones."""
PLANES = [
    *[[each] for each in LAID],
    [LAID[0], LAID[3]],
    [LAID[1], LAID[7]],
    [LAID[4], LAID[5]],
    [LAID[9], LAID[2]],
    [LAID[1], LAID[0], LAID[5]],
    [LAID[5], LAID[11], LAID[1]],
    [LAID[6], LAID[9], LAID[4]],
    [LAID[2], LAID[0], LAID[4]],
]


def axis_of(size: int, laid: Any) -> Axis:
    (axis,) = pool_axes([size], *laid) if isinstance(laid, tuple) else adaptive_axes([size], laid)
    return axis


def windows_of(size: int, laid: Any) -> list[list[int]]:
    """List the cells of each window."""
    if not isinstance(laid, tuple):
        return [list(window) for window in reference.adaptive((size,), [laid])[0].windows]
    kernel, stride, padding, dilation = laid
    (axis,) = reference.sliding((size,), [kernel], [stride], padding, [dilation], False)
    begins = [window.start for window in axis.windows]
    every = [[begin + tap * dilation for tap in range(kernel)] for begin in begins]
    return [[cell for cell in window if 0 <= cell < size] for window in every]


def holds(size: int, laid: Any) -> Array:
    """Tell which window holds which cell, (cells, windows)."""
    return np.array([[cell in window for window in windows_of(size, laid)] for cell in range(size)])


def rows_of(table: Array) -> list[list[int]]:
    """List what a table has but for empty slots, all of which stand behind."""
    assert (np.sort(table < 0, axis=1) == (table < 0)).all()
    return [[int(each) for each in row if each >= 0] for row in table]


@pytest.mark.parametrize(("size", "laid"), LAID)
def test_tables_list_the_windows_of_each_cell(size: int, laid: Any) -> None:
    axis, expected = axis_of(size, laid), [np.flatnonzero(row).tolist() for row in holds(size, laid)]
    table = inverse_windows.covering_windows(axis)
    assert table.dtype == np.int64
    assert table.min() >= -1
    assert rows_of(table) == expected
    assert table.shape[1] == max(1, *map(len, expected))
    same, taps = inverse_windows.covering_windows_and_taps(axis.taps(), size)
    assert_same(same, table)
    assert_same(taps < 0, table < 0)
    for cell, (windows, places) in enumerate(zip(rows_of(table), rows_of(taps), strict=True)):
        assert all(axis.taps()[window, tap] == cell for window, tap in zip(windows, places, strict=True))
    read = inverse_windows.with_padding_index(table)
    assert_same(read[table >= 0], table[table >= 0])
    for row, windows in zip(read.tolist(), expected, strict=True):
        others = set(row[len(windows) :])
        assert len(others) <= 1
        assert others <= set(range(len(windows_of(size, laid)))) - set(windows)


def test_a_cell_that_two_taps_of_a_window_read_has_a_slot_for_each() -> None:
    cells = np.array([[1, 0, 1], [2, 1, 2], [-1, 2, -1]])
    windows, taps = inverse_windows.covering_windows_and_taps(cells, 4)
    assert windows.tolist() == [[0, -1, -1], [0, 0, 1], [1, 1, 2], [-1, -1, -1]]
    assert taps.tolist() == [[1, -1, -1], [0, 2, 1], [0, 2, 1], [-1, -1, -1]]


def of_windows(plane: Sequence[tuple[int, Any]]) -> Array:
    sizes = [len(windows_of(*each)) for each in plane]
    return np.random.default_rng(len(plane)).integers(1, 99, (2, 3, *sizes)).astype(np.float32)


def summed(x: Array, tables: Sequence[Array]) -> Array:
    """Add up along each axis what matrices of (cells, windows) say."""
    for number, table in enumerate(tables):
        x = np.moveaxis(np.tensordot(x, table, axes=(2 + number, 1)), -1, 2 + number)
    return x


@pytest.mark.parametrize("plane", PLANES, ids=str)
def test_what_is_gathered_from_the_windows_of_each_cell(plane: list[tuple[int, Any]]) -> None:
    axes, x = [axis_of(*each) for each in plane], of_windows(plane)
    tables = [inverse_windows.covering_windows(axis) for axis in axes]
    graph = graph_of(7, rank=2 + len(plane))
    slots = inverse_windows.slot_axes(tables)
    assert slots == [3, 5, 7][: len(plane)]
    taken = inverse_windows.gathered(graph, "input", tables, "Said here.")
    assert operators(graph) == ["Gather"] * len(plane)
    lacking = inverse_windows.missing(graph, tables)
    some = [(table < 0).any() for table in tables]
    assert bool(lacking) == any(some)
    assert operators(graph)[len(plane) :] == (["Identity"] + ["Or"] * (sum(some) - 1) if any(some) else [])
    total = inverse_windows.gather_sum(graph, "input", axes, "And here.")
    said = [node.doc_string for node in graph.nodes if node.op_type == "Gather"]
    assert said == ["Said here."] * len(plane) + ["And here."] * (len(said) - len(plane))
    values = [taken, total, *([lacking] if lacking else [])]
    found, added, *told = computing(graph, values)(x)
    shape = (*x.shape[:2], *(size for table in tables for size in table.shape))
    assert found.shape == shape
    none = np.broadcast_to(told[0] if told else np.bool_(False), shape[2:])
    expected = x
    empty = np.zeros(shape[2:], bool)
    for number, table in enumerate(tables):
        expected = np.take(expected, np.maximum(table, 0), axis=2 + 2 * number)
        before, behind = [1] * (2 * number), [1] * (2 * (len(tables) - number - 1))
        empty |= (table < 0).reshape(*before, *table.shape, *behind)
    assert_same(none, empty)
    assert_same(found * ~none, expected * ~none)
    sums = summed(x, [holds(*each) for each in plane]).astype(np.float32)
    assert_same(added, sums)
    assert_same((found * ~none).sum(axis=tuple(slots)), sums)


@pytest.mark.parametrize("plane", PLANES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weighted_sums_of_the_windows_of_each_cell(plane: list[tuple[int, Any]], dtype: str) -> None:
    axes, x = [axis_of(*each) for each in plane], of_windows(plane).astype(dtype)
    tables, matrices = [], []
    for number, (axis, each) in enumerate(zip(axes, plane, strict=True)):
        table = inverse_windows.covering_windows(axis)
        weights = np.where(table < 0, 0, np.arange(table.size).reshape(table.shape) % 5 + number + 1).astype(np.float64)
        matrix = holds(*each).astype(np.float64)
        for cell, windows in enumerate(rows_of(table)):
            matrix[cell, windows] = weights[cell, : len(windows)]
        tables.append((table, weights))
        matrices.append(matrix)
    graph = graph_of(7, rank=2 + len(plane), dtype=dtype)
    total = inverse_windows.weighted_gather_sum(graph, "input", tables, x.shape[2:], "Said here.")
    pad = ["Pad"] if any((table < 0).any() for table, _ in tables) else []
    assert operators(graph) == [*pad, *["Gather", "Mul", "ReduceSum"] * len(plane)]
    assert {node.doc_string for node in graph.nodes if node.op_type == "Gather"} == {"Said here."}
    # The last axis first.
    assert [node.attribute[0].i for node in graph.nodes if node.op_type == "Gather"] == [4, 3, 2][3 - len(plane) :]
    (found,) = computing(graph, [total])(x)
    assert_same(found, summed(x, matrices).astype(dtype))


@pytest.mark.parametrize(
    ("plane", "expected"),
    [
        # Of one window on each cell nothing is gathered, nor added up.
        ([(4, (1, 1, 0, 1))], []),
        ([(4, (2, 2, 0, 1))], ["Gather"]),
        ([(5, (2, 2, 0, 1))], ["Pad", "Gather"]),
        ([(3, 1)], ["Gather"]),
        # The zero behind is that of the last cell.
        ([(2, (1, 2, 0, 1))], ["Pad"]),
        ([(4, (1, 2, 0, 1))], ["Pad", "Gather"]),
        ([(2, (1, 2, 0, 1)), (4, (2, 2, 0, 1))], ["Pad", "Gather"]),
        ([(4, (2, 1, 0, 1))], ["Pad", "Gather", "ReduceSum"]),
        ([(4, (2, 1, 0, 1)), (4, (1, 1, 0, 1))], ["Pad", "Gather", "ReduceSum"]),
        ([(4, (2, 1, 0, 1)), (4, (3, 1, 0, 1))], ["Pad", *["Gather", "ReduceSum"] * 2]),
        ([(4, (3, 1, 1, 1)), (4, (1, 1, 0, 1))], ["Pad", "Gather", "ReduceSum"]),
    ],
)
def test_sums_have_no_nodes_that_change_nothing(plane: list[tuple[int, Any]], expected: list[str]) -> None:
    graph = graph_of(7, rank=2 + len(plane))
    total = inverse_windows.gather_sum(graph, "input", [axis_of(*each) for each in plane], "")
    assert operators(graph) == expected
    if expected:
        x = of_windows(plane)
        assert_same(computing(graph, [total])(x)[0], summed(x, [holds(*each) for each in plane]).astype(np.float32))
