"""Nodes, tensors and small models, made; and what their types are in NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto
from onnx.helper import make_node

__all__ = [
    "GraphProto",
    "ModelProto",
    "NodeProto",
    "OperatorSetIdProto",
    "TensorProto",
    "ValueInfoProto",
    "array_of",
    "check_whole",
    "dtype_of",
    "elem_type_of",
    "infer_node",
    "known_schema",
    "make_node",
    "newest_opset",
    "onnx_version",
    "operator_schema",
    "small_model",
    "tensor_info",
    "tensor_of",
]


def onnx_version() -> str:
    """Return the version of the onnx package."""
    return str(onnx.__version__)


def operator_schema(operator: str, opset: int) -> Any:
    """Return the schema of one of ONNX's own operators in an opset."""
    return onnx.defs.get_schema(operator, opset, "")


def newest_opset() -> int:
    """Return the newest opset that the onnx package knows."""
    return int(onnx.defs.onnx_opset_version())


def known_schema(operator: str, opset: int) -> Any | None:
    """Return the schema of one of ONNX's own operators, in a newer opset as the newest known has it; None without."""
    try:
        return operator_schema(operator, min(opset, newest_opset()))
    except onnx.defs.SchemaError:
        return None


def infer_node(
    model: ModelProto,
    node: NodeProto,
    opset: int,
    given: Mapping[str, tuple[Sequence[int] | None, np.dtype[Any] | None, NDArray[Any] | None]],
) -> dict[str, ValueInfoProto]:
    """Infer what a node of a model gives, by the shapes, types and values of its inputs; nothing where ONNX cannot."""
    schema = known_schema(node.op_type, opset)
    if schema is None:
        return {}
    types, values = {}, {}
    for name, (shape, dtype, value) in given.items():
        try:
            elem_type = elem_type_of(np.dtype(np.float32) if dtype is None else dtype)
        except (KeyError, ValueError):
            elem_type = TensorProto.FLOAT
        types[name] = onnx.helper.make_tensor_type_proto(elem_type, shape)
        if value is not None:
            values[name] = tensor_of(value, name)
    try:
        found = onnx.shape_inference.infer_node_outputs(
            schema, node, types, values, opset_imports=list(model.opset_import), ir_version=model.ir_version
        )
    except Exception:  # whatever shape inference raises
        return {}
    return {name: ValueInfoProto(name=name, type=kind) for name, kind in found.items()}


def check_whole(model: ModelProto) -> None:
    """Ask ONNX's checker about a small model.

    Raises
    ------
    ValueError
        If it is not valid.
    """
    try:
        onnx.checker.check_model(model)
    except (TypeError, onnx.checker.ValidationError) as error:
        raise ValueError(str(error)) from error


def dtype_of(elem_type: int) -> np.dtype[Any] | None:
    """Return an element type as NumPy has it, None where it has none."""
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type))
    except (KeyError, TypeError, ValueError):
        return None


def elem_type_of(dtype: np.dtype[Any]) -> int:
    """Return a dtype as ONNX has it."""
    return int(onnx.helper.np_dtype_to_tensor_dtype(dtype))


def array_of(tensor: TensorProto) -> NDArray[Any]:
    """Return the numbers of a tensor, which must be in the model."""
    return onnx.numpy_helper.to_array(tensor)


def tensor_of(array: NDArray[Any], name: str) -> TensorProto:
    """Return an array as a tensor."""
    return onnx.numpy_helper.from_array(np.asarray(array, order="C"), name)


def tensor_info(name: str, dtype: np.dtype[Any], shape: Sequence[int | None]) -> ValueInfoProto:
    """Declare a tensor; sizes of None are open."""
    return onnx.helper.make_tensor_value_info(name, elem_type_of(dtype), list(shape))


def small_model(
    nodes: Iterable[NodeProto],
    inputs: Iterable[ValueInfoProto],
    outputs: Iterable[ValueInfoProto],
    imports: Mapping[str, int] | Sequence[OperatorSetIdProto],
    constants: Mapping[str, NDArray[Any]] | None = None,
) -> ModelProto:
    """Make a model that runtimes old enough for its operator sets read.

    Parameters
    ----------
    nodes : iterable of NodeProto
        In order.
    inputs, outputs : iterable of ValueInfoProto
        What it takes and gives.
    imports : mapping of str to int, or sequence of OperatorSetIdProto
        Versions of the operator sets, by domain.
    constants : mapping of str to ndarray, optional
        Its initializers.
    """
    if isinstance(imports, Mapping):
        imports = [onnx.helper.make_opsetid(*each) for each in imports.items()]
    held = [tensor_of(array, name) for name, array in (constants or {}).items()]
    graph = onnx.helper.make_graph(list(nodes), "pooling", list(inputs), list(outputs), held)
    return onnx.helper.make_model(
        graph,
        opset_imports=imports,
        ir_version=onnx.helper.find_min_ir_version_for(imports, ignore_unknown=True),
        producer_name="pooling",
    )
