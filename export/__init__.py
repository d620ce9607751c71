"""Poolings as ONNX: layers exported as models, and layers read from the nodes of models. Needs onnx."""

from .model import to_onnx
from .nodes import POOLING_OPERATORS, function_from_node, layer_from_node

__all__ = ["POOLING_OPERATORS", "function_from_node", "layer_from_node", "to_onnx"]
