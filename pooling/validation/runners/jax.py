"""jax, which reads no ONNX: maxima and means of its own windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from .base import Array, Runtime, Unsupported, only_node
from .expressed import attribute, windows

__all__ = ["Jax"]


class Jax(Runtime):
    """``jax.lax.reduce_window``, on the CPU, as the pooling layers of flax use it."""

    name = "jax"
    module = "jax"

    def load(self, threads: int) -> None:
        """Import jax, which is to keep to the CPU, and to float64 where that is requested."""
        jax: Any = import_module("jax")
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", True)

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Reduce the windows that one node stands for."""
        lax: Any = import_module("jax.lax")
        node, opset = only_node(model)
        if node.op_type not in {"MaxPool", "AveragePool"}:
            raise Unsupported(f"jax has no {node.op_type}; it reduces windows")
        if len(node.output) > 1:
            raise Unsupported("jax has no indices of maxima")
        array = inputs[node.input[0]]
        axes = windows(node, opset, array.shape)
        extents = [(1, 1, *(getattr(axis, name) for axis in axes)) for name in ("kernel_size", "stride", "dilation")]
        kernel, stride, dilation = extents
        padding = [(0, 0), (0, 0), *((axis.pad_begin, axis.pad_end + axis.ceil_overhang) for axis in axes)]

        def reduced(numbers: Array, start: Any, operation: Any) -> Array:
            return np.asarray(
                lax.reduce_window(numbers, start, operation, kernel, stride, padding, window_dilation=dilation)
            )

        if node.op_type == "MaxPool":
            integral = array.dtype.kind in "iu"
            lowest: Any = np.iinfo(array.dtype).min if integral else -np.inf
            return [reduced(array, np.asarray(lowest, array.dtype), lax.max)]
        if attribute(node, "count_include_pad", 0):
            raise Unsupported("jax counts all cells of a window or those of the input, and not the declared padding")
        zero = np.asarray(0, array.dtype)
        with np.errstate(all="ignore"):
            mean: Array = reduced(array, zero, lax.add) / reduced(np.ones_like(array), zero, lax.add)
        return [mean.astype(array.dtype)]
