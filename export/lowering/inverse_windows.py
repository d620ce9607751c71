"""The windows that hold each cell, as tables: from there gradients are gathered, in any opset."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from pooling.geometry import Axis

from ..graph_builder import GraphBuilder

__all__ = [
    "covering_windows",
    "covering_windows_and_taps",
    "gather_sum",
    "gathered",
    "missing",
    "slot_axes",
    "weighted_gather_sum",
    "with_padding_index",
]

Table = NDArray[np.int64]


def covering_windows(axis: Axis) -> Table:
    """List the windows that hold each cell, in their order, (input_size, most of them); -1 behind the last."""
    return covering_windows_and_taps(axis.taps(), axis.input_size)[0]


def covering_windows_and_taps(cells: Table, size: int) -> tuple[Table, Table]:
    """List the windows that read each cell, and by which of their taps; -1 behind the last.

    Parameters
    ----------
    cells : ndarray
        The cell under each tap, (windows, taps); -1 where none is.
    size : int
        Cells of the axis.
    """
    window, tap = np.nonzero(cells >= 0)
    cell = cells[window, tap]
    order = np.argsort(cell, kind="stable")
    cell = cell[order]
    slot = np.arange(len(cell)) - np.searchsorted(cell, cell)
    lists = []
    for each in (window, tap):
        table = np.full((size, int(slot.max(initial=0)) + 1), -1, np.int64)
        table[cell, slot] = each[order]
        lists.append(table)
    return lists[0], lists[1]


def with_padding_index(table: Table) -> Table:
    """Let empty slots name a window that does not hold the cell, and whose index is never that of the cell.

    There is one: a cell with an empty slot is held by fewer windows than there are.
    """
    other = (table != np.arange(table.shape[-1])).argmax(-1)
    return np.where(table < 0, other[..., np.newaxis], table)


# ----------------------------------------------------------------------------------------------------------
# Slots: (N, C, I1, H1, I2, H2, ...), one for each window that may hold a cell


def slot_axes(tables: Sequence[Table]) -> list[int]:
    """Where the slots stand among the axes of gathered windows."""
    return [3 + 2 * number for number in range(len(tables))]


def gathered(graph: GraphBuilder, x: str, tables: Sequence[Table], why: str) -> str:
    """Gather for each cell what `x` says of the windows that hold it; what empty slots read has no meaning."""
    for number, table in enumerate(tables):
        x = graph("Gather", x, np.maximum(table, 0), axis=2 + 2 * number, why=why)
    return x


def missing(graph: GraphBuilder, tables: Sequence[Table]) -> str:
    """Tell which slots are empty, if any are."""
    parts = [
        (table < 0).reshape(*table.shape, *[1] * (2 * (len(tables) - number - 1)))
        for number, table in enumerate(tables)
        if (table < 0).any()
    ]
    if not parts:
        return ""
    first = graph("Identity", parts[0], why="The slots that no window fills.")
    return reduce(lambda left, right: graph("Or", left, right), parts[1:], first)


# ----------------------------------------------------------------------------------------------------------
# Sums over the windows that hold a cell, axis by axis, which needs least memory and rounds least


def gather_sum(graph: GraphBuilder, x: str, axes: Sequence[Axis], why: str) -> str:
    """Add up for each cell what `x`, (N, C, *O), says of the windows that hold it."""
    return weighted_gather_sum(
        graph, x, [(covering_windows(axis), None) for axis in axes], [axis.output_size for axis in axes], why
    )


def weighted_gather_sum(
    graph: GraphBuilder,
    x: str,
    tables: Sequence[tuple[Table, NDArray[np.float64] | None]],
    sizes: Sequence[int],
    why: str,
) -> str:
    """Add up for each cell what windows say, times weights.

    Parameters
    ----------
    graph : GraphBuilder
        Where nodes go.
    x : str
        Of shape ``(N, C, *sizes)``.
    tables : sequence of pairs
        For each axis the windows of each cell, (cells, slots), and their weights, or None.
    sizes : sequence of int
        Windows of each axis.
    why : str
        Doc string of the nodes.
    """
    empty = [int((table < 0).any()) for table, _ in tables]
    if any(empty):
        pads = [0] * (len(sizes) + 4)
        x = graph("Pad", x, pads=[*pads, *empty], why="A zero to read in place of a window.")
    # The last axis first, while there are few numbers: the others are gathered in whole rows.
    for number, ((table, weights), size) in reversed([*enumerate(zip(tables, sizes, strict=True))]):
        read = np.where(table < 0, size, table)
        if weights is None and read.shape[1] == 1:
            if len(read) != size + empty[number] or (read[:, 0] != np.arange(len(read))).any():
                x = graph("Gather", x, read[:, 0], axis=2 + number, why=why)
            continue
        x = graph("Gather", x, read, axis=2 + number, why=why)
        if weights is not None:
            column = weights.reshape(*weights.shape, *[1] * (len(sizes) - number - 1))
            x = graph("Mul", x, column.astype(graph.dtypes[x]), why="Times the weight of the tap.")
        x = graph("ReduceSum", x, axes=[3 + number], keepdims=0)
    return x
