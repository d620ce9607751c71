"""Maxima of numbers among which there may be NaN and -inf, of which runtimes make what they like."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph_builder import GraphBuilder

__all__ = ["NanAwareMax", "is_nan"]


def is_nan(graph: GraphBuilder, x: str) -> str:
    """Tell which elements are NaN."""
    if graph.opset >= 9:
        return graph("IsNaN", x)
    one = np.ones((), graph.dtypes[x])
    less, greater = graph("Less", x, one), graph("Greater", x, -one)
    return graph("Not", graph("Or", less, greater), why="NaN is neither less than 1 nor greater than -1.")


class NanAwareMax:
    """The elements of a tensor for a maximum, and their ranks: a window is what its elements of the highest rank are.

    Where NaN propagates, -inf has rank 0, other numbers have rank 1 and NaN has rank 2. Where NaN is ignored, NaN has
    rank 0, -inf rank 1, other numbers have rank 2.

    Parameters
    ----------
    graph : GraphBuilder
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

    def __init__(self, graph: GraphBuilder, x: str, rule: str) -> None:
        self._graph = graph
        least = np.array(-np.inf, graph.dtypes[x])
        is_not_number = is_nan(graph, x)
        nan = graph.cast(is_not_number, np.float32)
        # openvino finds some NaN greater than anything, so ranks must not depend on what NaN compares to.
        if rule == "ignore":
            self.elements = graph("Where", is_not_number, least, x, why="NaN is ignored.")
            above = graph("Add", graph.cast(graph("Greater", self.elements, least), np.float32), np.float32(1))
            self.rank = graph("Sub", above, nan, why="0 for NaN, 1 for -inf, 2 for other numbers.")
            self._meaning = [np.nan, -np.inf, 0.0]
        else:
            self.elements = x
            number = graph.cast(graph("Greater", x, least), np.float32)
            twice = graph("Add", nan, nan)
            self.rank = graph("Max", number, twice, why="0 for -inf, 1 for other numbers, 2 for NaN.")
            self._meaning = [-np.inf, 0.0, np.nan]

    def restore_specials(self, greatest: str, max_rank: str) -> str:
        """Correct the greatest numbers of windows by their highest ranks."""
        graph = self._graph
        meaning: NDArray[Any] = np.array(self._meaning, graph.dtypes[greatest])
        why = "NaN and -inf where they belong; other numbers stay as they are."
        if graph.opset < 9:  # without Where; -0.0 is what changes no number when it is added, nor the sign of a zero
            change = graph("Gather", np.where(meaning == 0, -meaning, meaning), graph.cast(max_rank, np.int64), axis=0)
            return graph("Add", greatest, change, why=why)
        value, number = greatest, self._meaning.index(0.0)
        # Outwards from the rank of numbers, each comparison tells what is left of one side.
        for rank in sorted(set(range(3)) - {number}, key=lambda rank: abs(rank - number)):
            if rank < number:
                found = graph("Less", max_rank, np.float32(rank + 0.5))
            else:
                found = graph("Greater", max_rank, np.float32(rank - 0.5))
            value = graph("Where", found, meaning[rank], value, why=why)
        return value

    def ordinary(self, max_rank: str) -> str:
        """Tell which windows take after a number, by their highest ranks."""
        kind = self._graph.cast(max_rank, np.int64)
        return self._graph("Equal", kind, np.int64(self._meaning.index(0.0)))
