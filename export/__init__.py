"""Poolings as ONNX: layers read from the nodes of a model. Needs the ``onnx`` package."""

from .nodes import POOLING_OPERATORS, layer_from_node

__all__ = ["POOLING_OPERATORS", "layer_from_node"]
