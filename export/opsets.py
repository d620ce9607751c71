"""The opset that a graph is written in where none is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import onnx

from . import deployed
from .graph_builder import GraphBuilder

__all__ = ["LOWEST_DEFAULT", "lower_plainly"]

T = TypeVar("T")

LOWEST_DEFAULT = 13
"""Below this opset runtimes lack bfloat16 and more; every deployed runtime reads it."""


def lower_plainly(opset: int | None, lower: Callable[[GraphBuilder], T], *, finite: bool) -> tuple[GraphBuilder, T]:
    """Lower into the opset that is given or else the lowest from 13 on that needs no detour.

    Where every opset that all deployed runtimes read needs one, it is the lowest that says the pooling at all.

    Parameters
    ----------
    opset : int, optional
        The opset that was given.
    lower : callable
        Adds the nodes to an empty graph. Raises ValueError where the opset lacks something.
    finite : bool
        For the graph.

    Returns
    -------
    graph : GraphBuilder
        With the nodes.
    found
        What `lower` returned.
    """
    if opset is not None:
        graph = GraphBuilder(opset, finite=finite)
        return graph, lower(graph)
    common = deployed.newest_common_opset("onnxruntime")
    oldest: tuple[GraphBuilder, T] | None = None
    refusal: ValueError | None = None
    for version in range(LOWEST_DEFAULT, onnx.defs.onnx_opset_version() + 1):
        if version > common and oldest is not None:
            break
        graph = GraphBuilder(version, finite=finite)
        try:
            found = lower(graph)
        except ValueError as error:
            refusal = error
            continue
        if not graph.detours:
            return graph, found
        oldest = oldest or (graph, found)
    if oldest is None:
        assert refusal is not None
        raise refusal
    return oldest
