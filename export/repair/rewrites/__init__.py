"""What is rewritten, into what, and why: each rule takes one node and gives the nodes that take its place.

::

    rewrite         what a rewrite is, and the errors with which a rule leaves a node as it is
    windows         the attributes of windows, and the pads that they come to
    building        nodes built as `to_onnx` builds them
    explicit_pads   ceil_mode, auto_pad, large pads, counted padding and dilations as explicit pads
    storage_order   indices counted row by row
    fold_pad        a Pad in front of a pooling
    global_mean     ReduceMean over all spatial axes
    global_norm     GlobalLpPool
    special_values  NaN and -inf in maxima
"""

from __future__ import annotations

import onnx

from pooling.onnx_models.graph import Names, Scope, is_default
from pooling.onnx_models.nodes import checked_attributes
from pooling.onnx_models.shapes import TensorType

from .explicit_pads import resolve_windows
from .fold_pad import fold_pad
from .global_mean import name_global_mean
from .global_norm import reduce_global_norm
from .rewrite import FUNCTION, Rewrite, RewriteRule, ShapeDependentError, SkippedError
from .special_values import settle_special
from .storage_order import count_row_by_row
from .windows import is_misread

__all__ = [
    "FUNCTION",
    "REWRITES",
    "Rewrite",
    "ShapeDependentError",
    "SkippedError",
    "is_misread",
    "settle_special",
]


def check(scope: Scope, node: onnx.NodeProto, x: TensorType, names: Names, counts: dict[str, int]) -> Rewrite | None:
    """Check the other poolings, which mean the same everywhere."""
    if is_default(node.domain) and node.op_type in (
        "GlobalMaxPool",
        "GlobalAveragePool",
        "MaxUnpool",
        "MaxRoiPool",
        "RoiAlign",
    ):
        checked_attributes(FUNCTION, node, scope.opset or 1)
    return None


REWRITES: tuple[RewriteRule, ...] = (
    check,
    resolve_windows,
    count_row_by_row,
    fold_pad,
    name_global_mean,
    reduce_global_norm,
)
"""In the order in which they are tried, on what the one before has made of a node."""
