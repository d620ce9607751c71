"""A mean over all spatial axes becomes the global average pooling that it is."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import helper

from pooling.onnx_models.constants import constant
from pooling.onnx_models.graph import Names, Scope, attribute
from pooling.onnx_models.shapes import TensorType

from ...lowering.means import MANY_TAPS
from .rewrite import Rewrite

__all__ = ["name_global_mean"]


def name_global_mean(
    scope: Scope, node: onnx.NodeProto, x: TensorType, names: Names, counts: dict[str, int]
) -> Rewrite | None:
    """Write a mean of whole planes as the pooling that it is."""
    if node.op_type != "ReduceMean" or any(each.ref_attr_name for each in node.attribute):
        return None
    if x.shape is None or not 3 <= len(x.shape) <= 5 or x.dtype != np.float32 or not attribute(node, "keepdims", 1):
        return None
    axes = attribute(node, "axes")
    if len(node.input) > 1 and node.input[1]:
        axes = constant(scope, node.input[1])
    if axes is None or {int(axis) % len(x.shape) for axis in axes} != set(range(2, len(x.shape))):
        return None
    cells = [size for size in x.shape[2:] if size is not None]
    if len(cells) < len(x.shape) - 2 or math.prod(cells) > MANY_TAPS:
        return None  # of large planes, runtimes round the two differently
    pooled = helper.make_node("GlobalAveragePool", node.input[:1], node.output, node.name, node.doc_string)
    spatial = tuple(range(2, len(x.shape)))
    return Rewrite(
        "mean",
        "A mean over all spatial axes that are kept is global average pooling, which exporters take apart.",
        "",
        (pooled,),
        lambda array: (array.mean(spatial, np.float64, keepdims=True).astype(array.dtype),),
        exact=False,
        input=node.input[0],
        optional=True,
    )
