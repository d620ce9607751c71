"""Nodes that take the place of others, built as `to_onnx` builds them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from pooling.geometry import Axis
from pooling.onnx_models import layer_from_node
from pooling.onnx_models.graph import Names
from pooling.onnx_models.shapes import TensorType

from ...graph_builder import GraphBuilder
from ...layer_calls import LayerCall, Order
from ...lowering.means import MANY_TAPS, avg_pool
from .rewrite import NEWEST, ShapeDependentError, SkippedError, copied, reason_of, title

__all__ = ["free_standing", "layer_call_of", "lowered_mean", "pad_node", "sized", "zeros_around"]


def zeros_around(
    node: onnx.NodeProto, tensor: str, pads: Sequence[int], x: TensorType, opset: int, names: Names
) -> tuple[tuple[onnx.NodeProto, ...], str]:
    """Put zeros around a tensor by Concat, and name the result.

    Of a Pad in front of a mean some releases of onnxruntime make one wrong node when they optimise the model.
    """
    if x.dtype is None:
        raise ShapeDependentError(f"the type of {tensor!r} is not known, which the zeros around it must have")
    dtype = x.dtype
    count = len(pads) // 2
    sizes: list[int | None] = [None] * (count + 2) if x.shape is None else list(x.shape)
    graph = GraphBuilder(opset)
    graph.scope = title(node)
    result = graph.input(tensor, dtype, ())

    def zeros(axis: int, number: int) -> NDArray[Any] | str:
        known = [number if place == axis else size for place, size in enumerate(sizes)]
        block = [size for size in known if size is not None]
        if len(block) == len(known) and math.prod(block) <= MANY_TAPS:
            return np.zeros(block, dtype)
        of_result = graph("Shape", result)
        cut: list[NDArray[Any] | str] = [
            graph("Slice", of_result, starts=[begin], ends=[end], axes=[0])
            for begin, end in ((0, axis), (axis + 1, count + 2))
            if begin < end
        ]
        cut.insert(1, np.array([number], np.int64))
        zero = onnx.numpy_helper.from_array(np.zeros(1, dtype))
        return graph("ConstantOfShape", graph("Concat", *cut, axis=0), value=zero)

    try:
        for axis, (begin, end) in enumerate(zip(pads[:count], pads[count:], strict=True), start=2):
            blocks: list[NDArray[Any] | str] = [result]
            if begin:
                blocks.insert(0, zeros(axis, begin))
            if end:
                blocks.append(zeros(axis, end) if end != begin else blocks[0])
            if len(blocks) > 1:
                result = graph("Concat", *blocks, axis=axis)
                size = sizes[axis]
                sizes[axis] = None if size is None else size + begin + end
    except ValueError as error:
        raise SkippedError(reason_of(error)) from None
    nodes, renamed = free_standing(graph, node, names, {})
    return nodes, renamed[result]


def pad_node(
    node: onnx.NodeProto, tensor: str, pads: Sequence[int], x: TensorType, opset: int, names: Names
) -> tuple[tuple[onnx.NodeProto, ...], str]:
    """Make a Pad with what padding is for a maximum or a norm, and name its result."""
    if x.dtype is None:
        raise ShapeDependentError(f"the type of {tensor!r} is not known, which its padding must have")
    half = len(pads) // 2
    spread = [0, 0, *pads[:half], 0, 0, *pads[half:]]
    graph = GraphBuilder(opset)
    graph.scope = title(node)
    graph.input(tensor, x.dtype, ())
    try:
        if node.op_type != "MaxPool":
            result = graph("Pad", tensor, pads=spread, mode="constant")
        elif opset < 11:
            result = graph("Pad", tensor, pads=spread, mode="constant", value=-math.inf)
        else:
            lowest: float = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -math.inf
            result = graph("Pad", tensor, np.array(spread, np.int64), np.array(lowest, x.dtype), mode="constant")
    except ValueError as error:
        raise SkippedError(reason_of(error)) from None
    nodes, renamed = free_standing(graph, node, names, {})
    return nodes, renamed[result]


def free_standing(
    graph: GraphBuilder, node: onnx.NodeProto, names: Names, final: dict[str, str]
) -> tuple[tuple[onnx.NodeProto, ...], dict[str, str]]:
    """Give built nodes names that the model does not have, and their constants nodes of their own.

    Functions have no initializers, and the weights of a model shall stay as they are.
    """
    renamed = dict(final)
    nodes = []
    for each in graph.constants:
        renamed[each.name] = names.new(each.name)
        tensor = onnx.TensorProto()
        tensor.CopyFrom(each)
        tensor.name = ""
        nodes.append(helper.make_node("Constant", [], [renamed[each.name]], renamed[each.name], value=tensor))
    for each in graph.nodes:
        for output in each.output:
            if output not in renamed:
                renamed[output] = names.new(output)
        copy = copied(each)
        copy.input[:] = [renamed.get(name, name) for name in each.input]
        copy.output[:] = [renamed[name] for name in each.output]
        copy.name = renamed[each.output[0]]
        nodes.append(copy)
    return tuple(nodes), renamed


def layer_call_of(node: onnx.NodeProto, layer: Any, shape: tuple[int, ...], indices: str) -> LayerCall:
    """Return a node as the lowerings of `to_onnx` take it."""
    axes: tuple[Axis, ...] = layer.axes(shape)
    result = (*shape[:2], *(axis.output_size for axis in axes))
    order = Order("channels_first", len(shape) - 2, batched=True)
    return LayerCall(title(node), layer, order, shape, axes, result, indices, None)


def sized(node: onnx.NodeProto, x: TensorType) -> tuple[np.dtype[Any], tuple[int | str, ...], tuple[int, ...]]:
    """Return type and shape of an input whose spatial sizes must be known; other sizes get names, or one."""
    if x.shape is None or None in x.shape[2:]:
        raise ShapeDependentError(
            f"what takes its place depends on the spatial sizes of {node.input[0]!r}, which are not known"
        )
    if x.dtype is None:
        raise ShapeDependentError(f"the type of {node.input[0]!r} is not known")
    named = tuple(name if size is None else size for name, size in zip("NC", x.shape, strict=False))
    spatial = tuple(size for size in x.shape[2:] if size is not None)
    return x.dtype, (*named, *spatial), (1, 1, *spatial)


def lowered_mean(node: onnx.NodeProto, x: TensorType, opset: int, names: Names) -> tuple[onnx.NodeProto, ...]:
    """Write a mean as `to_onnx` does: the shortest form that every released runtime computes rightly."""
    dtype, shape, sizes = sized(node, x)
    graph = GraphBuilder(opset, finite=True)
    graph.scope = title(node)
    graph.input(node.input[0], dtype, shape)
    try:
        call = layer_call_of(node, layer_from_node(node, NEWEST, sizes), sizes, "onnx")
        (result,) = avg_pool(graph, call, (node.input[0],))
    except ValueError as error:
        raise SkippedError(reason_of(error)) from None
    return free_standing(graph, node, names, {result: node.output[0]})[0]
