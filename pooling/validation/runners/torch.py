"""torch, which reads no ONNX: each node becomes the call of torch.nn.functional that says the same."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import onnx

import pooling
from pooling.onnx_models import layer_from_node

from .base import Array, Runtime, Unsupported, only_node, present
from .expressed import attribute, symmetric, torch_indices, windows

__all__ = ["Torch", "TorchCompile"]

Pooling = Callable[[Any], Any]
MOST_NODES = 1 << 20
"""Functions that dynamo may compile, as many as there are."""


class Torch(Runtime):
    """``torch.nn.functional``, on the CPU.

    ``auto_pad`` becomes the padding that it means, and indices, which count in the plane there, become ONNX's.
    """

    name = "torch"
    module = "torch"
    differentiates = True

    def load(self, threads: int) -> None:
        """Import torch, and use so many threads."""
        torch: Any = import_module("torch")
        torch.set_num_threads(threads)

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Call the function that one node stands for."""
        torch: Any = import_module("torch")
        node, _ = only_node(model)
        arrays = [inputs[name] for name in node.input if name]
        shape = arrays[0].shape
        pool = self._pooling(model, arrays)
        with torch.no_grad():
            result = pool(_tensor(torch, arrays[0]))
        results = result if isinstance(result, tuple) else (result,)
        outputs = [_array(torch, each, arrays[0].dtype) for each in results]
        if len(outputs) > 1:
            outputs[1] = torch_indices(node, outputs[1], shape)
        return present(node, outputs)

    def gradient(self, model: bytes, inputs: Mapping[str, Array], grad_output: Array) -> Array:
        """Return the gradient of what one node pools, by autograd."""
        torch: Any = import_module("torch")
        node, _ = only_node(model)
        arrays = [inputs[name] for name in node.input if name]
        pool = self._pooling(model, arrays)
        x = _tensor(torch, arrays[0]).requires_grad_()
        result = pool(x)
        first = result[0] if isinstance(result, tuple) else result
        (found,) = torch.autograd.grad(first, x, _tensor(torch, grad_output))
        return _array(torch, found, arrays[0].dtype)

    def _pooling(self, model: bytes, arrays: Sequence[Array]) -> Pooling:
        """Return what one node stands for, as a function of what is pooled."""
        torch: Any = import_module("torch")
        node, opset = only_node(model)
        shape = arrays[0].shape
        if len(shape) not in (3, 4, 5):
            raise Unsupported(f"torch pools one to three spatial axes, and not {len(shape) - 2}")
        function, *arguments = _call(torch.nn.functional, node, opset, shape, arrays)

        def pool(x: Any) -> Any:
            return function(x, *arguments)

        return pool


class TorchCompile(Torch):
    """``torch.compile`` of the same calls, by Inductor, which makes C++ of them; needs a compiler for that."""

    name = "torch.compile"
    compiles = True

    def __init__(self) -> None:
        self._known: dict[object, Pooling] = {}

    def load(self, threads: int) -> None:
        """Import torch, and have Inductor write into the folder of this process, which is removed with it."""
        compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")  # as Inductor chooses it
        if shutil.which(compiler) is None:
            raise Unsupported(
                f"Inductor needs a C++ compiler, and there is no {compiler} here; install it, or name another in CXX"
            )
        folder = os.path.join(os.path.expanduser("~"), "inductor")
        os.makedirs(folder, exist_ok=True)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        # Precompiled headers go into the temporary folder, wherever the cache is.
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # others would be processes that outlive this one
        super().load(threads)
        dynamo: Any = import_module("torch._dynamo")
        # Each node is a function of its own, and dynamo counts those that look alike together.
        dynamo.config.recompile_limit = dynamo.config.accumulated_recompile_limit = MOST_NODES

    def _pooling(self, model: bytes, arrays: Sequence[Array]) -> Pooling:
        torch: Any = import_module("torch")
        # Indices and sizes, beside what is pooled, are constants of the function.
        beside = tuple(array.tobytes() for array in arrays[1:])
        key = (model, arrays[0].shape, arrays[0].dtype, beside)
        if key not in self._known:
            self._known[key] = torch.compile(super()._pooling(model, arrays), fullgraph=True, dynamic=False)
        return self._known[key]


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


def _call(
    functional: Any, node: onnx.NodeProto, opset: int, shape: tuple[int, ...], arrays: Sequence[Array]
) -> tuple[Any, ...]:
    """Return the function that a node stands for, and its arguments behind the tensor that is pooled."""
    dimensions = len(shape) - 2

    def function(name: str) -> Any:
        return getattr(functional, f"{name}{dimensions}d")

    match node.op_type:
        case "GlobalMaxPool":
            return function("adaptive_max_pool"), 1
        case "GlobalAveragePool":
            return function("adaptive_avg_pool"), 1
        case "GlobalLpPool":
            return function("lp_pool"), float(attribute(node, "p", 2)), shape[2] if dimensions == 1 else shape[2:]
        case "MaxUnpool":
            return _unpooled(function, node, opset, shape, arrays)
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
        return function("max_pool"), kernel, stride, padding, dilation, ceil_mode, indices
    if max(dilation) > 1:
        raise Unsupported(f"torch has no dilation in {node.op_type}")
    if node.op_type == "AveragePool":
        included = bool(attribute(node, "count_include_pad", 0))
        return function("avg_pool"), kernel, stride, padding, ceil_mode, included
    if any(padding):
        raise Unsupported("torch has no padding in lp_pool")
    # lp_pool1d multiplies by its kernel size, which has to be a number.
    size, step = (kernel[0], stride[0]) if dimensions == 1 else (kernel, stride)
    return function("lp_pool"), float(attribute(node, "p", 2)), size, step, ceil_mode


def _unpooled(
    function: Any, node: onnx.NodeProto, opset: int, shape: tuple[int, ...], arrays: Sequence[Array]
) -> tuple[Any, ...]:
    torch: Any = import_module("torch")
    kernel = tuple(attribute(node, "kernel_shape", ()))
    stride = tuple(attribute(node, "strides", (1,) * len(kernel)))
    pads = tuple(attribute(node, "pads", (0,) * 2 * len(kernel)))
    padding = symmetric(zip(pads[: len(kernel)], pads[len(kernel) :], strict=True), "torch")
    restored = tuple(arrays[2].tolist()) if len(arrays) > 2 else layer_from_node(node, opset, shape).output_shape(shape)
    indices = pooling.convert_indices(arrays[1], restored, source="onnx", target="torch")
    return function("max_unpool"), torch.from_numpy(indices), kernel, stride, padding, restored
