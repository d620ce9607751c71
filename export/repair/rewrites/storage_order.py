"""MaxPool without storage_order."""

from __future__ import annotations

import numpy as np
import onnx

from pooling.onnx_models import layer_from_node
from pooling.onnx_models.graph import Names, Scope, attribute
from pooling.onnx_models.nodes import checked_attributes
from pooling.onnx_models.shapes import TensorType

from ...graph_builder import GraphBuilder
from ...layer_calls import LayerCall, Order
from ...lowering.indices import to_onnx_indices
from .building import free_standing, sized
from .rewrite import FUNCTION, NEWEST, Rewrite, SkippedError, copied, reason_of, reference_of, title

__all__ = ["count_row_by_row"]


def count_row_by_row(
    scope: Scope, node: onnx.NodeProto, x: TensorType, names: Names, counts: dict[str, int]
) -> Rewrite | None:
    """Write MaxPool without storage_order; indices that someone reads are counted anew."""
    if node.op_type != "MaxPool" or "storage_order" not in {each.name for each in node.attribute}:
        return None
    if not attribute(node, "storage_order"):
        return None
    opset = scope.opset or 1
    checked_attributes(FUNCTION, node, opset)
    reason = "Runtimes count in three different ways where storage_order is 1."
    plain = copied(node, ("storage_order",))
    indexed = len(node.output) > 1 and node.output[1]
    reference = reference_of(node)
    if not indexed:
        return Rewrite(
            "storage_order",
            f"{reason} Nobody reads the indices.",
            "onnx/onnx#2398",
            (plain,),
            reference,
            exact=True,
            input=node.input[0],
        )
    dtype, shape, sizes = sized(node, x)
    graph = GraphBuilder(opset)
    graph.scope = title(node)
    plain.output[1] = names.new(f"{title(node)}/Indices")
    graph.input(node.input[0], dtype, shape)
    graph.input(plain.output[1], np.dtype(np.int64), shape)
    try:
        layer, order = layer_from_node(node, NEWEST, sizes), Order("channels_first", len(sizes) - 2, True)
        call = LayerCall(title(node), layer, order, sizes, (), sizes, "onnx_column_major", None)
        result = to_onnx_indices(graph, call, plain.output[1], node.input[0], whole=True)
    except ValueError as error:
        raise SkippedError(reason_of(error)) from None
    nodes, _ = free_standing(graph, node, names, {result: node.output[1]})
    reason += " The indices are counted row by row, and then column by column as the text of ONNX has it."
    # openvino and others count otherwise; onnxruntime follows the text.
    return Rewrite(
        "storage_order", reason, "onnx/onnx#2398", (plain, *nodes), reference, exact=True, input=node.input[0]
    )
