"""A maximum that gives NaN and -inf as the text has them in every runtime, as `to_onnx` writes it."""

from __future__ import annotations

import onnx
from onnx import helper

from pooling.onnx_models import layer_from_node
from pooling.onnx_models.graph import Names, Scope, attribute
from pooling.onnx_models.shapes import TensorType

from ...graph_builder import GraphBuilder
from ...lowering.extremes import HIGHEST, Keys, global_max_pool, ranked_maxima
from ...lowering.special import NanAwareMax
from .building import free_standing, layer_call_of
from .rewrite import NEWEST, Rewrite, ShapeDependentError, SkippedError, outputs_of, reason_of, reference_of, title

__all__ = ["settle_special"]


SPECIAL = (
    "Of NaN, and of windows of -inf, runtimes make what they like; a second pooling, of ranks, says where they belong."
)
SPECIAL_SOURCES = "microsoft/onnxruntime#15446"


def settle_special(
    scope: Scope, node: onnx.NodeProto, x: TensorType, names: Names, counts: dict[str, int]
) -> Rewrite | None:
    """Write a maximum so that NaN and -inf come out as the text has them in every runtime, as `to_onnx` does."""
    regions = node.op_type == "MaxRoiPool" or (node.op_type == "RoiAlign" and attribute(node, "mode", b"avg") == b"max")
    if regions:
        raise SkippedError(
            "what becomes of NaN in its regions is up to the runtime; export it by to_onnx with special_values='exact'"
        )
    if node.op_type not in ("MaxPool", "GlobalMaxPool") or {SPECIAL, HIGHEST} & {*node.doc_string.splitlines()}:
        return None
    opset = scope.opset or 1
    if x.dtype is None:
        raise ShapeDependentError(f"the type of {node.input[0]!r} is not known")
    if x.dtype.kind in "iub":
        return None
    if x.shape is None:
        raise ShapeDependentError(f"the rank of {node.input[0]!r} is not known")
    graph = GraphBuilder(opset)
    graph.scope = title(node)
    graph.input(node.input[0], x.dtype, ())
    outputs = outputs_of(node)
    words = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    try:
        if node.op_type == "GlobalMaxPool":
            sizes = (1,) * len(x.shape)
            call = layer_call_of(node, layer_from_node(node, NEWEST, sizes), sizes, "onnx")
            found = global_max_pool(graph, call, (node.input[0],))
        else:
            keys = Keys(graph, node.input[0])

            def pooled(tensor: str, why: str = "") -> tuple[str, ...]:
                return graph.outputs(outputs, "MaxPool", tensor, **words, why=why)

            best, *index = ranked_maxima(graph, keys, NanAwareMax(graph, keys.tensor, "propagate"), pooled)
            found = (keys.elements(best), *index)
    except ValueError as error:
        raise SkippedError(reason_of(error)) from None
    return Rewrite(
        "special_values",
        SPECIAL,
        SPECIAL_SOURCES,
        free_standing(graph, node, names, dict(zip(found, node.output, strict=False)))[0],
        reference_of(node),
        exact=True,
        input=node.input[0],
        special=True,
    )
