"""Nodes as the calls of libraries that read no ONNX: what cannot be said there is refused, with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx

import pooling
from pooling.geometry import Axis
from pooling.onnx_models import layer_from_node

from .base import Array, Unsupported

__all__ = ["attribute", "symmetric", "torch_indices", "windows"]


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return an attribute of a node."""
    found = next((entry for entry in node.attribute if entry.name == name), None)
    return default if found is None else onnx.helper.get_attribute_value(found)


def windows(node: onnx.NodeProto, opset: int, shape: tuple[int, ...]) -> tuple[Axis, ...]:
    """Return the windows of a node on each spatial axis; ``auto_pad`` is resolved to pads."""
    return layer_from_node(node, opset, shape).axes(shape)


def symmetric(sides: Iterable[tuple[int, int]], library: str) -> tuple[int, ...]:
    """Return the padding of each axis.

    Raises
    ------
    Unsupported
        If the two sides of an axis differ.
    """
    padding = []
    for begin, end in sides:
        if begin != end:
            raise Unsupported(f"{library} pads both sides alike, and not {begin} and {end}")
        padding.append(begin)
    return tuple(padding)


def torch_indices(node: onnx.NodeProto, indices: Array, shape: tuple[int, ...]) -> Array:
    """Turn indices into a plane into those that the node is to give."""
    target: Any = "onnx_column_major" if attribute(node, "storage_order", 0) else "onnx"
    return pooling.convert_indices(indices, shape, source="torch", target=target)
