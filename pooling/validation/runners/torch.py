"""torch, which reads no ONNX: each node becomes the call of torch.nn.functional that says the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import onnx

import pooling
from pooling.onnx_models import layer_from_node

from .base import Array, Runtime, Unsupported, only_node, present
from .expressed import attribute, symmetric, torch_indices, windows

__all__ = ["Torch"]


class Torch(Runtime):
    """``torch.nn.functional``, on the CPU.

    ``auto_pad`` becomes the padding that it means, and indices, which count in the plane there, become ONNX's.
    """

    name = "torch"
    module = "torch"

    def load(self, threads: int) -> None:
        """Import torch, and use so many threads."""
        torch: Any = import_module("torch")
        torch.set_num_threads(threads)

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Call the function that one node stands for."""
        torch: Any = import_module("torch")
        node, opset = only_node(model)
        arrays = [inputs[name] for name in node.input if name]
        tensors = [_tensor(torch, array) for array in arrays]
        shape = arrays[0].shape
        if len(shape) not in (3, 4, 5):
            raise Unsupported(f"torch pools one to three spatial axes, and not {len(shape) - 2}")
        with torch.no_grad():
            result = _called(torch.nn.functional, node, opset, shape, arrays, tensors)
        results = result if isinstance(result, tuple) else (result,)
        outputs = [_array(torch, each, arrays[0].dtype) for each in results]
        if len(outputs) > 1:
            outputs[1] = torch_indices(node, outputs[1], shape)
        return present(node, outputs)


def _tensor(torch: Any, array: Array) -> Any:
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array, order="C", copy=True))


def _array(torch: Any, tensor: Any, dtype: np.dtype[Any]) -> Array:
    if tensor.dtype == torch.bfloat16:
        narrow: Array = tensor.view(torch.int16).numpy().view(dtype)
        return narrow
    array: Array = tensor.numpy()
    return array


def _called(
    functional: Any,
    node: onnx.NodeProto,
    opset: int,
    shape: tuple[int, ...],
    arrays: Sequence[Array],
    tensors: Sequence[Any],
) -> Any:
    dimensions = len(shape) - 2
    x = tensors[0]

    def function(name: str) -> Any:
        return getattr(functional, f"{name}{dimensions}d")

    match node.op_type:
        case "GlobalMaxPool":
            return function("adaptive_max_pool")(x, 1)
        case "GlobalAveragePool":
            return function("adaptive_avg_pool")(x, 1)
        case "GlobalLpPool":
            return function("lp_pool")(x, float(attribute(node, "p", 2)), shape[2] if dimensions == 1 else shape[2:])
        case "MaxUnpool":
            return _unpooled(function, node, opset, shape, arrays, x)
        case "MaxRoiPool" | "RoiAlign":
            raise Unsupported(f"torch has no {node.op_type}, which is in torchvision")
    axes = windows(node, opset, shape)
    kernel, stride, dilation = (
        tuple(getattr(axis, name) for axis in axes) for name in ("kernel_size", "stride", "dilation")
    )
    padding = symmetric(((axis.pad_begin, axis.pad_end) for axis in axes), "torch")
    ceil_mode = bool(attribute(node, "ceil_mode", 0))
    if node.op_type == "MaxPool":
        indices = len(node.output) > 1
        return function("max_pool")(x, kernel, stride, padding, dilation, ceil_mode, indices)
    if max(dilation) > 1:
        raise Unsupported(f"torch has no dilation in {node.op_type}")
    if node.op_type == "AveragePool":
        return function("avg_pool")(
            x, kernel, stride, padding, ceil_mode, bool(attribute(node, "count_include_pad", 0))
        )
    if any(padding):
        raise Unsupported("torch has no padding in lp_pool")
    # lp_pool1d multiplies by its kernel size, which has to be a number.
    size, step = (kernel[0], stride[0]) if dimensions == 1 else (kernel, stride)
    return function("lp_pool")(x, float(attribute(node, "p", 2)), size, step, ceil_mode)


def _unpooled(
    function: Any, node: onnx.NodeProto, opset: int, shape: tuple[int, ...], arrays: Sequence[Array], x: Any
) -> Any:
    torch: Any = import_module("torch")
    kernel = tuple(attribute(node, "kernel_shape", ()))
    stride = tuple(attribute(node, "strides", (1,) * len(kernel)))
    pads = tuple(attribute(node, "pads", (0,) * 2 * len(kernel)))
    padding = symmetric(zip(pads[: len(kernel)], pads[len(kernel) :], strict=True), "torch")
    restored = tuple(arrays[2].tolist()) if len(arrays) > 2 else layer_from_node(node, opset, shape).output_shape(shape)
    indices = pooling.convert_indices(arrays[1], restored, source="onnx", target="torch")
    return function("max_unpool")(x, torch.from_numpy(indices), kernel, stride, padding, restored)
