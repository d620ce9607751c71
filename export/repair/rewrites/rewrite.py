"""What a rewrite is: what takes the place of a node, why, and what the node computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnx
from numpy.typing import NDArray
from onnx import helper

from pooling.errors import without
from pooling.onnx_models import function_from_node
from pooling.onnx_models.graph import Names, Scope
from pooling.onnx_models.shapes import TensorType

if TYPE_CHECKING:
    from ..records import RuleName

__all__ = [
    "FUNCTION",
    "NEWEST",
    "Arrays",
    "Rewrite",
    "RewriteRule",
    "ShapeDependentError",
    "SkippedError",
    "copied",
    "outputs_of",
    "reason_of",
    "reference_of",
    "title",
]


FUNCTION = "make_portable"
"""The operators with windows that slide."""
NEWEST = 22
"""The opset whose text says what is kept: windows of ceil_mode that start behind the input are none."""
Arrays = tuple[NDArray[Any], ...]


class SkippedError(Exception):
    """Why a node stays as it is, in one sentence."""


class ShapeDependentError(SkippedError):
    """A node stays as it is because what takes its place depends on a shape or a type that is not known."""


@dataclass(frozen=True)
class Rewrite:
    """What a rule makes of a node."""

    rule: RuleName
    """Its name."""
    reason: str
    """What was wrong with the node."""
    source: str
    """Where that is discussed."""
    nodes: tuple[onnx.NodeProto, ...]
    """What takes the place of the node, in order."""
    reference: Callable[[NDArray[Any]], Arrays]
    """What the node computes by the text of ONNX: takes an array, returns one for each output."""
    exact: bool
    """Whether no number is rounded otherwise than before."""
    checked_against_spec: bool = False
    """Whether onnxruntime is known to answer the original node otherwise than the text."""
    absorbed: tuple[onnx.NodeProto, ...] = ()
    """Other nodes whose work is done now."""
    input: str = ""
    """The tensor that `reference` and `nodes` take."""
    grown: tuple[int, ...] = ()
    """By how many cells the first input of the node is larger than that tensor, for each spatial axis."""
    not_negative: bool = False
    """Whether the tensor holds no negative numbers."""
    padded: tuple[int, ...] = ()
    """By how many cells what the new pooling takes is larger than that tensor."""
    optional: bool = False
    """Whether the node is right as it stands, so that the rewrite can be left out."""
    special: bool = False
    """Whether the nodes are right for NaN and infinities as well."""


RewriteRule = Callable[[Scope, onnx.NodeProto, TensorType, Names, dict[str, int]], Rewrite | None]


def copied(node: onnx.NodeProto, dropped: Sequence[str] = (), **attributes: Any) -> onnx.NodeProto:
    """Copy a node, without some attributes and with others."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    kept = [each for each in node.attribute if each.name not in dropped and each.name not in attributes]
    del copy.attribute[:]
    copy.attribute.extend(kept)
    copy.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    return copy


def title(node: onnx.NodeProto) -> str:
    """Name a node as its model does."""
    return str(node.name or next(iter(node.output), node.op_type))


def outputs_of(node: onnx.NodeProto) -> int:
    """Count the outputs up to the last that has a name."""
    return len(node.output) if node.output[-1] else len(node.output) - 1


def reference_of(node: onnx.NodeProto) -> Callable[..., Arrays]:
    """Answer a node as the newest text has it."""
    return function_from_node(node, NEWEST, function=FUNCTION)


def reason_of(error: Exception) -> str:
    """Return the reason of an error, without the function that raised it."""
    return without(error, "to_onnx", "layer_from_node")
