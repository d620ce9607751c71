"""Maxima of numbers among which there may be NaN and -inf, of which runtimes make what they like."""

from __future__ import annotations

import numpy as np

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
            self._number = np.int64(2)
            self._corrections = [("Less", 1.5, -np.inf), ("Less", 0.5, np.nan)]
        else:
            self.elements = x
            number = graph.cast(graph("Greater", x, least), np.float32)
            twice = graph("Add", nan, nan)
            self.rank = graph("Max", number, twice, why="0 for -inf, 1 for other numbers, 2 for NaN.")
            self._number = np.int64(1)
            self._corrections = [("Less", 0.5, -np.inf), ("Greater", 1.5, np.nan)]

    def restore_specials(self, greatest: str, max_rank: str) -> str:
        """Correct the greatest numbers of windows by their highest ranks."""
        graph = self._graph
        dtype = graph.dtypes[greatest]
        why = "NaN and -inf where they belong; other numbers stay as they are."
        if graph.opset < 9:  # without Where, which NaN is ignored by: adding -0.0 changes nothing, nor a zero's sign
            change = graph("Gather", np.array([-np.inf, -0.0, np.nan], dtype), graph.cast(max_rank, np.int64), axis=0)
            return graph("Add", greatest, change, why=why)
        value = greatest
        for operator, bound, special in self._corrections:
            found = graph(operator, max_rank, np.float32(bound))
            value = graph("Where", found, np.array(special, dtype), value, why=why)
        return value

    def ordinary(self, max_rank: str) -> str:
        """Tell which windows take after a number, by their highest ranks."""
        kind = self._graph.cast(max_rank, np.int64)
        return self._graph("Equal", kind, self._number)
