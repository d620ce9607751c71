"""Three runtimes of our own: kernels, an oracle, and exported graphs."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import onnx

import pooling
from pooling import reference
from pooling._version import __version__
from pooling.export import to_onnx
from pooling.layer import Layer
from pooling.onnx_models import function_from_node, layer_from_node

from .base import Array, Runtime, Unsupported, only_node, opset_of, present
from .onnxruntime import OnnxRuntimeRuntime

__all__ = ["Kernels", "Oracle", "Portable", "portable_model"]

Convention = Literal["onnx", "onnx_column_major"]
PER_PLANE = frozenset({"MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"})
"""Operators that pool each plane by itself."""


def _convention(node: onnx.NodeProto) -> Convention:
    column_major = any(entry.name == "storage_order" and entry.i for entry in node.attribute)
    return "onnx_column_major" if column_major else "onnx"


def _answer(node: onnx.NodeProto, shape: tuple[int, ...], result: Any) -> tuple[Array, ...]:
    """Return the outputs of a node, whose indices count as ONNX has it."""
    if not isinstance(result, tuple):
        return present(node, (result,))
    values, indices = result
    return present(node, (values, pooling.convert_indices(indices, shape, source="torch", target=_convention(node))))


def _read(model: bytes, inputs: Mapping[str, Array]) -> tuple[onnx.NodeProto, int, list[Array]]:
    node, opset = only_node(model)
    return node, opset, [inputs[name] for name in node.input if name]


class _Own(Runtime):
    def version(self) -> str | None:
        return __version__


class Kernels(_Own):
    """The compiled kernels of this library."""

    name = "pooling"
    differentiates = True

    def load(self, threads: int) -> None:
        """Use so many threads."""
        pooling.set_num_threads(threads)

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Pool the inputs of one node."""
        node, opset, arrays = _read(model, inputs)
        if node.op_type == "MaxUnpool":
            return function_from_node(node, opset)(*arrays)
        layer: Any = layer_from_node(node, opset, arrays[0].shape)
        return _answer(node, arrays[0].shape, layer(*arrays))

    def gradient(self, model: bytes, inputs: Mapping[str, Array], grad_output: Array) -> Array:
        """Return the gradient of what one node pools."""
        node, opset, arrays = _read(model, inputs)
        found: Array = layer_from_node(node, opset, arrays[0].shape).backward(grad_output, arrays[0])
        return found


class Oracle(_Own):
    """The definitions of this library, one window after another: slow, literal, exact but for one rounding.

    Planes that are equal are worked out once.
    """

    name = "oracle"
    slow = True
    differentiates = True

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Work out what one node has to give."""
        node, opset, arrays = _read(model, inputs)
        shape = arrays[0].shape
        layer = layer_from_node(node, opset, shape)
        with np.errstate(all="ignore"):
            if node.op_type == "MaxUnpool":
                return (_unpooled(layer, node, opset, arrays),)
            define = getattr(reference, layer.function)
            if layer.function.startswith("global_"):
                define = partial(define, dimensions=layer.dimensions)
            if node.op_type in PER_PLANE:
                return _answer(node, shape, _of_planes(define, layer, arrays[0]))
            return _answer(node, shape, define(*arrays, **layer.arguments))

    def gradient(self, model: bytes, inputs: Mapping[str, Array], grad_output: Array) -> Array:
        """Work out the gradient of what one node pools."""
        node, opset, (array, *_) = _read(model, inputs)
        layer = layer_from_node(node, opset, array.shape)
        define: Any = getattr(reference, f"{layer.function}_backward")
        # Some arguments matter for the result alone.
        known = inspect.signature(define).parameters
        arguments: dict[str, Any] = {name: value for name, value in layer.arguments.items() if name in known}
        if layer.function.startswith("global_"):
            arguments["dimensions"] = layer.dimensions
        with np.errstate(all="ignore"):
            found: Array = define(grad_output, array, **arguments)
        return found


def _of_planes(define: Any, layer: Layer, array: Array) -> Any:
    """Pool each plane that there is once, and put the results to where the plane is."""
    planes = array.reshape(1, math.prod(array.shape[:2]), *array.shape[2:])
    places: dict[bytes, int] = {}
    turn = [places.setdefault(plane.tobytes(), len(places)) for plane in planes[0]]
    distinct = [turn.index(number) for number in range(len(places))]
    # Nodes know no other rule for NaN than the one that is the default.
    arguments = {name: value for name, value in layer.arguments.items() if name != "nan"}
    result = define(np.ascontiguousarray(planes[:, distinct]), **arguments)

    def everywhere(part: Array) -> Array:
        return part[:, turn].reshape(*array.shape[:2], *part.shape[2:])

    return tuple(map(everywhere, result)) if isinstance(result, tuple) else everywhere(result)


def _unpooled(layer: Layer, node: onnx.NodeProto, opset: int, arrays: list[Array]) -> Array:
    """Put elements back one by one."""
    values, indices, *given = arrays
    shape = layer.output_shape(values.shape)
    if given and tuple(given[0].tolist()) != shape:
        # Which tensor the indices count in is not one question but several; there is one answer to them.
        result: Array = function_from_node(node, opset)(*arrays)[0]
        return result
    if indices.size and not (indices.min() >= 0 and indices.max() < int(np.prod(shape))):
        raise Unsupported(f"an index is not in the result of shape {shape}")
    flat = np.zeros(int(np.prod(shape)), values.dtype)
    for index, value in zip(indices.ravel().tolist(), values.ravel(), strict=True):
        flat[index] = value
    return flat.reshape(shape)


def portable_model(model: onnx.ModelProto, shape: Sequence[int], dtype: np.dtype[Any]) -> onnx.ModelProto:
    """Export what the only node of a model computes: a graph that leaves runtimes nothing to understand differently.

    Parameters
    ----------
    model : onnx.ModelProto
        Of one node.
    shape, dtype
        Of its first input.

    Returns
    -------
    onnx.ModelProto
        Takes inputs of other names, in the same order.

    Raises
    ------
    ValueError, TypeError
        If the pooling is none that can be exported.
    """
    node = model.graph.node[0]
    layer = layer_from_node(node, opset_of(model), shape)
    indices = _convention(node)
    return to_onnx(layer, tuple(shape), dtype=dtype, indices=indices, special_values="exact", verify=False)


class Portable(OnnxRuntimeRuntime):
    """The graph that this library exports for a node, in onnxruntime."""

    name = "portable"

    def version(self) -> str | None:
        """Return the versions of both."""
        installed = super().version()
        return installed and f"{__version__} in onnxruntime {installed}"

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Export one node, and run the result."""
        node, _, arrays = _read(model, inputs)
        exported = portable_model(onnx.load_model_from_string(model), arrays[0].shape, arrays[0].dtype)
        names = [tensor.name for tensor in exported.graph.input]
        if len(names) != len(arrays):
            raise Unsupported(f"the exported graph takes {', '.join(names)}; the node has {len(arrays)} inputs")
        outputs = super().run(exported.SerializeToString(), dict(zip(names, arrays, strict=True)))
        return present(node, outputs)
