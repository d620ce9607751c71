"""Poolings as ONNX: layers exported as models, and layers read from the nodes of models. Needs onnx."""

from pooling.extras import explained

try:
    from .backward import to_onnx_backward
    from .files import save
    from .model import to_onnx
    from .nodes import POOLING_OPERATORS, function_from_node, layer_from_node
    from .repair import Change, Left, Repaired, make_portable
    from .verification import VerificationError
except ModuleNotFoundError as error:
    raise explained(error, "pooling.export", "onnx") from error

__all__ = [
    "POOLING_OPERATORS",
    "Change",
    "Left",
    "Repaired",
    "VerificationError",
    "function_from_node",
    "layer_from_node",
    "make_portable",
    "save",
    "to_onnx",
    "to_onnx_backward",
]
