"""Layers as ONNX models, and models of others made portable. Needs onnx."""

from pooling.extras import explained

try:
    from .backward import to_onnx_backward
    from .files import save
    from .model import to_onnx
    from .repair import Change, Repaired, Skipped, make_portable
    from .verification import VerificationError
except ModuleNotFoundError as error:
    raise explained(error, "pooling.export", "onnx") from error

__all__ = [
    "Change",
    "Repaired",
    "Skipped",
    "VerificationError",
    "make_portable",
    "save",
    "to_onnx",
    "to_onnx_backward",
]
