"""GlobalLpPool becomes a reduction, which runtimes have."""

from __future__ import annotations

import onnx

from pooling.onnx_models.graph import Names, Scope
from pooling.onnx_models.nodes import checked_attributes
from pooling.onnx_models.shapes import TensorType

from ...graph_builder import GraphBuilder
from .building import free_standing
from .rewrite import FUNCTION, Rewrite, ShapeDependentError, SkippedError, reference_of, title

__all__ = ["reduce_global_norm"]


def reduce_global_norm(
    scope: Scope, node: onnx.NodeProto, x: TensorType, names: Names, counts: dict[str, int]
) -> Rewrite | None:
    """Write the norm of whole planes as a reduction, which runtimes have."""
    if node.op_type != "GlobalLpPool":
        return None
    opset = scope.opset or 1
    p = checked_attributes(FUNCTION, node, opset).get("p", 2)
    if p not in (1, 2):
        raise SkippedError(f"onnxruntime has no GlobalLpPool, and p={p} is no reduction of ONNX")
    if x.shape is None:
        raise ShapeDependentError(f"the rank of {node.input[0]!r} is not known")
    if x.dtype is None:
        raise ShapeDependentError(f"the type of {node.input[0]!r} is not known")
    graph = GraphBuilder(opset)
    graph.scope = title(node)
    graph.input(node.input[0], x.dtype, ())
    result = graph(f"ReduceL{p}", node.input[0], axes=list(range(2, len(x.shape))), keepdims=1)
    nodes, _ = free_standing(graph, node, names, {result: node.output[0]})
    reason = "onnxruntime and the reference implementation have no GlobalLpPool."
    return Rewrite(
        "global_norm",
        reason,
        "onnx/onnx#5459",
        nodes,
        reference_of(node),
        exact=False,
        checked_against_spec=True,
        input=node.input[0],
    )
