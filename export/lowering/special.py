"""Maxima of numbers among which there may be NaN and -inf, of which runtimes make what they like."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..builder import Graph

__all__ = ["Ranked", "is_nan"]


def is_nan(graph: Graph, x: str) -> str:
    """Tell which elements are NaN."""
    if graph.opset >= 9:
        return graph("IsNaN", x)
    one = np.ones((), graph.dtypes[x])
    less, greater = graph("Less", x, one), graph("Greater", x, -one)
    return graph("Not", graph("Or", less, greater), why="NaN is neither less than 1 nor greater than -1.")


class Ranked:
    """The elements of a tensor for a maximum, and their ranks: a window is what its elements of the highest rank are.

    Where NaN propagates, -inf has rank 0, other numbers have rank 1 and NaN has rank 2. Where NaN is ignored, NaN has
    rank 0, -inf rank 1, other numbers have rank 2.

    Parameters
    ----------
    graph : Graph
        Where nodes go.
    x : str
        A tensor of float32 or float64.
    rule : {"propagate", "ignore"}
        What becomes of NaN.

    Attributes
    ----------
    elements : str
        What to pool for the greatest number. Of NaN, if it stands in a window of numbers, nothing is left.
    rank : str
        What to pool for the highest rank, float32.
    """

    def __init__(self, graph: Graph, x: str, rule: str) -> None:
        self._graph = graph
        dtype = graph.dtypes[x]
        least = np.array(-np.inf, dtype)
        nan = is_nan(graph, x)
        number = graph.cast(graph("Greater", x, least), np.float32)
        if rule == "ignore":
            self.elements = graph("Where", nan, least, x, why="NaN is ignored.")
            above = graph("Add", number, np.float32(1))
            self.rank = graph("Sub", above, graph.cast(nan, np.float32), why="0 for NaN, 1 for -inf, 2 for the rest.")
            self._changes = [np.nan, -np.inf, -0.0]
        else:
            self.elements = x
            twice = graph("Mul", graph.cast(nan, np.float32), np.float32(2))
            self.rank = graph("Add", number, twice, why="0 for -inf, 1 for other numbers, 2 for NaN.")
            self._changes = [-np.inf, -0.0, np.nan]

    def corrected(self, greatest: str, highest: str) -> tuple[str, str]:
        """Correct the greatest numbers of windows by their highest ranks, and tell which windows are of numbers."""
        graph = self._graph
        kind = graph.cast(highest, np.int64)
        # What is added to ordinary numbers is -0.0, which changes none, and no sign of a zero either.
        changes: NDArray[Any] = np.array(self._changes, graph.dtypes[greatest])
        change = graph("Gather", changes, kind, axis=0)
        why = "NaN and -inf where they belong; other numbers stay as they are."
        value = graph("Add", greatest, change, why=why)
        return value, graph("Equal", kind, np.int64(self._changes.index(0.0)))
