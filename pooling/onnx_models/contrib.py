"""Poolings of the operator set com.microsoft, which onnxruntime's tools write into models and no one else has."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from pooling.layer import Layer

from .nodes import layer_from_node

__all__ = [
    "DOMAIN",
    "OPSET",
    "QUANTISED",
    "channels_first",
    "has_channels_last",
    "is_contrib",
    "layer_of_contrib",
    "standard_node",
]

DOMAIN = "com.microsoft"
QUANTISED = {"QLinearAveragePool": "AveragePool", "QLinearGlobalAveragePool": "GlobalAveragePool"}
STANDARD = {**QUANTISED, "NhwcMaxPool": "MaxPool"}
"""Operators of ONNX that do the same to numbers; `NhwcMaxPool` and `channels_last` only store them otherwise."""
OPSET = 22
"""Its windows are those of onnxruntime."""


def is_contrib(node: onnx.NodeProto) -> bool:
    """Whether a node is a pooling of com.microsoft that has a standard operator for its numbers."""
    return node.domain == DOMAIN and node.op_type in STANDARD


def layer_of_contrib(node: onnx.NodeProto, shape: Sequence[int]) -> Layer:
    """Return the layer that pools as a node of com.microsoft does.

    Raises
    ------
    ValueError
        If the node breaks a rule.
    """
    last = has_channels_last(node)
    layer = layer_from_node(standard_node(node), OPSET, channels_first(shape) if last else tuple(shape))
    return type(layer)(**{**layer.arguments, "layout": "channels_last"}) if last else layer


def has_channels_last(node: onnx.NodeProto) -> bool:
    """Whether a node's input has its channels last."""
    return node.op_type == "NhwcMaxPool" or any(each.name == "channels_last" and each.i for each in node.attribute)


def channels_first(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of an array with channels last, once they are first."""
    return (shape[0], shape[-1], *shape[1:-1])


def standard_node(node: onnx.NodeProto) -> onnx.NodeProto:
    """Return the node of ONNX that does the same to numbers, channels first, from ``x`` to ``y``."""
    made = onnx.helper.make_node(STANDARD[node.op_type], ["x"], ["y"], node.name)
    made.attribute.extend(each for each in node.attribute if each.name != "channels_last")
    return made
