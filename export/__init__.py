"""Poolings as ONNX: layers as models, and models of others made portable. Needs onnx."""

from pooling.extras import explained

try:
    from .backward import to_onnx_backward
    from .files import save
    from .model import to_onnx
    from .repair import Change, Left, Repaired, make_portable
    from .verification import VerificationError
except ModuleNotFoundError as error:
    raise explained(error, "pooling.export", "onnx") from error

__all__ = [
    "Change",
    "Left",
    "Repaired",
    "VerificationError",
    "make_portable",
    "save",
    "to_onnx",
    "to_onnx_backward",
]
