"""What the tests of parts of exported graphs share: a graph under construction, computed in onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tests.conftest import Array

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from pooling.export.graph_builder import GraphBuilder, Value  # noqa: E402


def graph_of(opset: int = 13, *, rank: int = 4, dtype: Any = np.float32, finite: bool = False) -> GraphBuilder:
    """Begin a graph whose input has only sizes that are known at run time."""
    graph = GraphBuilder(opset, finite=finite)
    graph.scope = "test"
    graph.input("input", np.dtype(dtype), tuple(f"size_{axis}" for axis in range(rank)))
    return graph


def operators(graph: GraphBuilder) -> list[str]:
    """List the operators of a graph."""
    return [node.op_type for node in graph.nodes]


def computing(graph: GraphBuilder, values: Sequence[Value]) -> Callable[[Array], list[Array]]:
    """Return what computes tensors of a graph from its input; arrays stand for themselves."""
    names = {value: f"result_{number}" for number, value in enumerate(values) if isinstance(value, str)}
    if not names:
        return lambda x: [np.asarray(value) for value in values]
    flags = [word.i for node in graph.nodes for word in node.attribute if word.name == "keepdims"]
    assert set(flags) <= {0, 1}  # onnxruntime takes any other number, too
    results = {name: (graph("Identity", value), ()) for value, name in names.items()}
    model = graph.model(results, "")
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def compute(x: Array) -> list[Array]:
        found = dict(zip(names.values(), session.run(list(names.values()), {"input": x}), strict=True))
        return [found[names[value]] if isinstance(value, str) else np.asarray(value) for value in values]

    return compute
