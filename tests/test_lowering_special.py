"""Maxima among which there may be NaN and -inf, computed in onnxruntime, against NumPy's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.built_graphs import computing, graph_of
from tests.conftest import assert_same

from pooling.export.lowering.special import NanAwareMax, is_nan  # isort: skip

NUMBERS = [np.nan, -np.inf, np.inf, -0.0, 0.0, 1.0, -1.0, -3.0]
TRIPLES = np.array(list(itertools.product(NUMBERS, repeat=3)))
IS_NAN = ["Less", "Greater", "Or", "Not"]


@pytest.mark.parametrize("opset", [7, 8, 9, 13])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_windows_of_special_values(dtype: str, opset: int) -> None:
    x = TRIPLES.astype(dtype)
    graph = graph_of(opset, rank=2, dtype=dtype)
    found = [is_nan(graph, "input")]
    assert [node.op_type for node in graph.nodes] == (IS_NAN if opset < 9 else ["IsNaN"])
    for rule in ("propagate", "ignore")[: 1 if opset < 9 else 2]:
        begin = len(graph.nodes)
        ranked = NanAwareMax(graph, "input", rule)
        best, max_rank = (graph("ReduceMax", each, axes=[1], keepdims=0) for each in (ranked.elements, ranked.rank))
        found += [ranked.restore_specials(best, max_rank), ranked.ordinary(max_rank)]
        assert ("Where" in [node.op_type for node in graph.nodes[begin:]]) == (opset >= 9)
    told, value, ordinary, *others = computing(graph, found)(x)
    assert_same(told, np.isnan(x))
    highest = np.max(x, axis=1)
    assert_same(value, highest)
    assert_same(ordinary, ~np.isnan(highest) & (highest > -np.inf))
    if others:
        with np.errstate(all="ignore"):
            assert_same(others[0], np.fmax.reduce(x, axis=1))
        assert_same(others[1], (x > -np.inf).any(axis=1))
    # A zero keeps its sign.
    zeros = (x == 0).all(axis=1) & (np.signbit(x).all(axis=1) | ~np.signbit(x).any(axis=1))
    for each in (value, *others[:1]):
        assert (np.signbit(each) == np.signbit(x[:, 0]))[zeros].all()


@pytest.mark.parametrize("opset", [8, 13])
@pytest.mark.parametrize("rule", ["propagate", "ignore"])
def test_what_a_runtime_makes_of_windows_without_a_number_is_corrected(rule: str, opset: int) -> None:
    if rule == "ignore" and opset < 9:
        return  # NaN is not ignored without Where
    graph = graph_of(opset, rank=2)
    # A word that a program put together is that word, too.
    ranked = NanAwareMax(graph, "input", f"{rule} ".strip())
    pooled, max_rank = (graph("Gather", "input", np.int64(column), axis=1) for column in (0, 1))
    compute = computing(graph, [ranked.restore_specials(pooled, max_rank), ranked.ordinary(max_rank)])
    least = np.finfo(np.float32).min
    specials = {"propagate": [-np.inf, None, np.nan], "ignore": [np.nan, -np.inf, None]}[rule]
    for said in (least, 0.0, 7.0):
        x = np.array([[said, rank] for rank in range(3)], np.float32)
        value, ordinary = compute(x)
        assert_same(value, np.array([said if special is None else special for special in specials], np.float32))
        assert_same(ordinary, np.array([special is None for special in specials]))
