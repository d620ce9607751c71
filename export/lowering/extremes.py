"""Greatest and smallest elements of windows, and where they stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.operators import FLOATS

from .. import deployed
from ..dynamic_sizes import in_graph, product
from ..graph_builder import GraphBuilder, Value
from ..layer_calls import LayerCall
from .indices import in_plane, remove_pad_offset, to_onnx_indices
from .special import NanAwareMax
from .windows import (
    attributes,
    cells_of_taps,
    emptiness,
    first_cells,
    gathered,
    greatest,
    has_dynamic_padding,
    padded,
    single,
    tap_axes,
    why_not_one_node,
)

__all__ = ["HIGHEST", "Keys", "global_max_pool", "greatest_of_taps", "max_pool", "min_pool", "ranked_maxima"]

HALF_RANGE = 2**32
"""What an uint64 is divided by, to be worked on in two parts that int64 holds."""


class Keys:
    """Numbers that stand for the elements of a tensor and are ordered like them, of a type that onnxruntime pools.

    Parameters
    ----------
    graph : GraphBuilder
        Where nodes go.
    x : str
        The tensor.
    smallest : bool
        Whether the order is the other way round.
    node : str
        What pools the keys, if that is one node; see `pooling.export.deployed`. Where every runtime pools elements of
        this type by it, they are their own keys.

    Attributes
    ----------
    tensor : str
        The keys.
    may_be_nan : bool
        Whether there may be NaN, or windows of -inf, among them.
    """

    def __init__(self, graph: GraphBuilder, x: str, *, smallest: bool = False, node: str = "") -> None:
        self.graph = graph
        self.dtype = graph.dtypes[x]
        self.smallest = smallest
        self.may_be_nan = self.dtype.name in FLOATS and not graph.finite
        if node and not smallest and not self.may_be_nan and _pools(graph, node, self.dtype):
            self.tensor = x
        elif self.dtype == np.uint64:
            self.tensor = self._from_uint64(x)
        elif self.dtype in (np.int64, np.float64):
            self.tensor = x
        else:
            wide = self.dtype in (np.int32, np.uint32)
            why = f"Exact; onnxruntime does not pool {self.dtype.name} in every opset."
            self.tensor = graph.cast(x, np.float64 if wide else np.float32, why=why)
        if smallest:
            why = "The smallest is the greatest the other way round."
            self.tensor = self._turned(self.tensor, why)

    def rule(self, nan: str) -> str | None:
        """Return what becomes of NaN, or None where there is none."""
        return nan if self.may_be_nan else None

    @property
    def least(self) -> NDArray[Any]:
        """The least finite key of its type."""
        dtype = self.graph.dtypes[self.tensor]
        return np.array(np.finfo(dtype).min, dtype)

    @property
    def lose_their_place(self) -> bool:
        """Whether some onnxruntime does not say where the least key stands, and elements may be as little."""
        dtype = self.graph.dtypes[self.tensor]
        form = f"MaxPool with Indices of {dtype}"
        return self.dtype in (np.float32, np.float64) and not deployed.is_right(form, self.graph.opset)

    def elements(self, keys: str) -> str:
        """Turn keys back into elements."""
        if self.smallest:
            keys = self._turned(keys)
        return self._to_uint64(keys) if self.dtype == np.uint64 else self.graph.cast(keys, self.dtype)

    def of(self, element: Any) -> NDArray[Any]:
        """Return the key of one element."""
        key = element
        if self.dtype == np.uint64:
            key = int(element) - 2**63
        if self.smallest:
            key = -1 - int(key) if self.graph.dtypes[self.tensor] == np.int64 else -key
        return np.array(key, self.graph.dtypes[self.tensor])

    @property
    def nothing(self) -> NDArray[Any]:
        """The key of what loses against everything: the result of an empty window."""
        if self.dtype.name in FLOATS:
            return self.of(np.inf if self.smallest else -np.inf)
        if self.dtype == np.bool_:
            return self.of(float(self.smallest))
        limits = np.iinfo(self.dtype)
        return self.of(limits.max if self.smallest else limits.min)

    def _turned(self, keys: str, why: str = "") -> str:
        if self.graph.dtypes[keys] == np.int64:  # -x of the least integer is none
            return self.graph("Sub", np.int64(-1), keys, why=why)
        return self.graph("Neg", keys, why=why)

    def _from_uint64(self, x: str) -> str:
        graph = self.graph
        high = graph.cast(graph("Div", x, np.uint64(HALF_RANGE)), np.int64)
        low = graph.cast(graph("Mod", x, np.uint64(HALF_RANGE)), np.int64)
        shifted = graph("Mul", graph("Sub", high, np.int64(HALF_RANGE // 2)), np.int64(HALF_RANGE))
        return graph("Add", shifted, low, why="As int64, less 2**63: onnxruntime has no maximum of uint64.")

    def _to_uint64(self, keys: str) -> str:
        graph = self.graph
        low = graph("Mod", keys, np.int64(HALF_RANGE))
        high = graph("Add", graph("Div", graph("Sub", keys, low), np.int64(HALF_RANGE)), np.int64(HALF_RANGE // 2))
        shifted = graph("Mul", graph.cast(high, np.uint64), np.uint64(HALF_RANGE))
        return graph("Add", shifted, graph.cast(low, np.uint64))


def max_pool(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower max pooling, sliding or adaptive."""
    return _extreme(graph, call, inputs[0], smallest=False)


def min_pool(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower min pooling."""
    return _extreme(graph, call, inputs[0], smallest=True)


def _extreme(graph: GraphBuilder, call: LayerCall, x: str, *, smallest: bool) -> tuple[str, ...]:
    rule, indexed = call.arguments["nan"], call.arguments["return_indices"]
    why = why_not_one_node(graph, "MaxPool", call.windows)
    whole_plane = single(call.windows) and not indexed
    node = "GlobalMaxPool" if whole_plane else "MaxPool with Indices" if indexed else "MaxPool"
    plain = whole_plane or not (why or any(map(has_dynamic_padding, call.windows)))
    keys = Keys(graph, x, smallest=smallest, node=node if plain else "")
    why = why or _why_no_max_pool(graph, keys.tensor)
    index: list[str] = []
    whole = not why
    if whole_plane:
        best = _pooled(graph, keys, rule, partial(_greatest_of_planes, graph, call), call.title)
    elif why and indexed:
        taps, cells = gathered(graph, keys.tensor, call.windows, why), cells_of_taps(graph, call.windows)
        best, *index = greatest_of_taps(graph, call, taps, tap_axes(call.windows), keys.rule(rule), cells)
    elif why:
        best = _pooled(graph, keys, rule, partial(greatest, graph, axes=call.windows), f"{call.title}: {why}")
    else:
        best, *index = _greatest_by_node(graph, call, keys)
        if any(map(has_dynamic_padding, call.windows)):
            index, whole = [remove_pad_offset(graph, call.windows, each) for each in index], False
    if index and not why and not keys.may_be_nan and keys.lose_their_place:
        index, whole = [_first_of_least(graph, call, keys, best, index[0], whole=whole)], False
    results = [best, *(to_onnx_indices(graph, call, each, x, whole=whole) for each in index)]
    none = emptiness(graph, call.windows)
    if none is not None:
        nothing: tuple[Value, ...] = (keys.nothing, np.int64(-1))
        results = [
            graph("Where", none, constant, each, why="Windows without any element.")
            for each, constant in zip(results, nothing, strict=False)
        ]
    return (keys.elements(results[0]), *results[1:])


def _first_of_least(graph: GraphBuilder, call: LayerCall, keys: Keys, best: str, index: str, *, whole: bool) -> str:
    """Name the first cell of windows of nothing but the least number, where some onnxruntime names another."""
    cell = in_plane(graph, call, index) if whole else index
    some = graph("Greater", best, keys.least)
    why = "Some onnxruntime names no cell of a window of nothing but the least number."
    return graph("Where", some, cell, first_cells(graph, call.windows), why=why)


def _pools(graph: GraphBuilder, node: str, dtype: np.dtype[Any]) -> bool:
    """Whether ONNX has a node for a type, and every released runtime that reads the opset computes it rightly."""
    form = f"{node} of {dtype.name}"
    return form in deployed.table().forms and all(
        deployed.table().rows_of(form, graph.opset, runtime) and deployed.is_right(form, graph.opset, runtime)
        for runtime in ("onnxruntime", "openvino")
    )


def _why_no_max_pool(graph: GraphBuilder, keys: str) -> str:
    dtype = graph.dtypes[keys]
    lacking = dtype == np.int64 or (dtype == np.float64 and graph.opset < 8)
    return f"onnxruntime has no MaxPool of {dtype} in opset {graph.opset}." if lacking else ""


def _greatest_by_node(graph: GraphBuilder, call: LayerCall, keys: Keys) -> tuple[str, ...]:
    """Pool by MaxPool; its indices count over the whole tensor."""
    outputs = 2 if call.arguments["return_indices"] else 1
    words, why = attributes(call.windows), call.title
    lowest = partial(padded, graph, axes=call.windows, value=-np.inf)
    if not keys.may_be_nan:
        return graph.outputs(outputs, "MaxPool", lowest(keys.tensor), **words, why=why)

    def pooled(x: str, why: str) -> tuple[str, ...]:
        return graph.outputs(outputs, "MaxPool", x, **words, why=why)

    def rank(x: str) -> str:
        return padded(graph, x, call.windows, -1)  # less than all ranks, so that no index names padding

    ranked = NanAwareMax(graph, keys.tensor, call.arguments["nan"])
    return ranked_maxima(graph, keys, ranked, partial(pooled, why=why), (lowest, rank))


HIGHEST = "Windows of NaN, and of -inf."
"""Why there is a second pooling."""


def ranked_maxima(
    graph: GraphBuilder,
    keys: Keys,
    ranked: NanAwareMax,
    pooled: Callable[..., tuple[str, ...]],
    prepared: tuple[Callable[[str], str], Callable[[str], str]] = (str, str),
) -> tuple[str, ...]:
    """Pool elements and their ranks by one node each, and correct the one by the other.

    Parameters
    ----------
    graph : GraphBuilder
        Where nodes go.
    keys : Keys
        The elements.
    ranked : NanAwareMax
        The same with their ranks.
    pooled : callable
        Adds the node, which may give indices as well; takes a tensor, and `why` it is pooled.
    prepared : tuple of callable
        What is to be done to elements, and to ranks, before they are pooled.

    Returns
    -------
    tuple of str
        The values and, if the node gives them, the indices.
    """
    lowest, rank = prepared
    best, *at = pooled(lowest(ranked.elements))
    max_rank, *at_max_rank = pooled(rank(ranked.rank), why=HIGHEST)
    value = ranked.restore_specials(best, max_rank)
    if not at:
        return (value,)
    ordinary = ranked.ordinary(max_rank)
    if keys.lose_their_place:  # where all numbers are the least, the first number is the first of them
        ordinary = graph("And", ordinary, graph("Greater", best, keys.least))
    why = "The first NaN, the first -inf or the first of the greatest numbers."
    return value, graph("Where", ordinary, at[0], at_max_rank[0], why=why)


def greatest_of_taps(
    graph: GraphBuilder, call: LayerCall, taps: str, axes: Sequence[int], rule: str | None, cells: Value | None = None
) -> tuple[str, ...]:
    """Find the greatest of the taps of each window and, if it is known where these stand, the first such cell.

    Parameters
    ----------
    graph, call
        Where nodes go, and the pooling.
    taps : str
        Of a type that onnxruntime reduces.
    axes : sequence of int
        The axes of `taps` along which the taps of a window lie.
    rule : {"propagate", "ignore"}, optional
        What becomes of NaN; None for whole numbers, which have none.
    cells : str or ndarray, optional
        Where in the plane the taps stand.

    Returns
    -------
    tuple of str
        The values and, with `cells`, the cells.
    """
    keep = 0 if cells is None else 1
    ranked = NanAwareMax(graph, taps, rule) if rule else None
    elements = ranked.elements if ranked else taps
    best = value = graph("ReduceMax", elements, axes=axes, keepdims=keep, why=call.title)
    max_rank = ""
    if ranked:
        max_rank = graph("ReduceMax", ranked.rank, axes=axes, keepdims=keep, why="Windows of NaN, and of -inf.")
        value = ranked.restore_specials(best, max_rank)
    if cells is None:
        return (value,)
    # Nothing is less than NaN; where there is some, only it has the highest rank.
    loses = graph("Less", elements, value)
    if ranked:
        loses = graph("Or", loses, graph("Less", ranked.rank, max_rank))
    candidates = graph("Where", loses, in_graph(graph, product(call.plane)), cells, why="No cell of the plane.")
    first = graph("ReduceMin", candidates, axes=axes, keepdims=0, why="The first of equal elements.")
    return graph("Squeeze", value, axes=axes), first


def global_max_pool(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower global max pooling."""
    keys = Keys(graph, inputs[0], node="GlobalMaxPool")
    pool = partial(_greatest_of_planes, graph, call)
    return (keys.elements(_pooled(graph, keys, call.arguments["nan"], pool, call.title)),)


def _pooled(graph: GraphBuilder, keys: Keys, nan: str, pool: Callable[..., str], why: str) -> str:
    """Pool keys by something that gives the greatest numbers and is not to be trusted with NaN and -inf."""
    rule = keys.rule(nan)
    if rule is None:
        return pool(keys.tensor, why=why)
    ranked = NanAwareMax(graph, keys.tensor, rule)
    best, max_rank = pool(ranked.elements, why=why), pool(ranked.rank, why="Windows of NaN, and of -inf.")
    return ranked.restore_specials(best, max_rank)


def _greatest_of_planes(graph: GraphBuilder, call: LayerCall, x: str, why: str) -> str:
    if graph.dtypes[x] == np.float32 or _pools(graph, "GlobalMaxPool", graph.dtypes[x]):
        return graph("GlobalMaxPool", x, why=why)
    spatial = list(range(2, len(call.shape)))
    why = f"{why} onnxruntime has no GlobalMaxPool of {graph.dtypes[x]}."
    return graph("ReduceMax", x, axes=spatial, keepdims=1, why=why)
