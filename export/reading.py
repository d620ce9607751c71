"""Models that others wrote, read with care: what is wrong with one is said in a sentence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnx
import onnx.checker

from .files import LARGEST
from .limits import check_growth

__all__ = [
    "check_model",
    "check_order",
    "count_of",
    "external_location",
    "first_line",
    "node_attributes",
    "read_model",
]


def read_model(function: str, model: Any) -> tuple[onnx.ModelProto, Path | None]:
    """Return a model, and the folder where data outside of it may lie.

    Parameters
    ----------
    function : str
        Named in error sentences.
    model : onnx.ModelProto, bytes or path
        The model; tensors in files of their own are not read.

    Raises
    ------
    TypeError
        If `model` is nothing that could be a model.
    ValueError
        If it cannot be read, is none, is larger than 2 GB, or would be too large with its functions in line.
    """
    if isinstance(model, onnx.ModelProto):
        check_growth(function, model)
        return model, None
    if isinstance(model, bytes):
        return _parsed(function, model, "the model"), None
    if not isinstance(model, (str, os.PathLike)):
        raise TypeError(f"{function}: model must be an onnx.ModelProto, bytes or a path, not {type(model).__name__}")
    path = Path(model)
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(
                f"{function}: {path.name} is larger than 2 GB, the most that a protobuf file can hold; keep its "
                "tensors in files of their own (external data)"
            )
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{function}: {path} cannot be read ({error.strerror or error})") from error
    return _parsed(function, content, path.name), path.parent


def _parsed(function: str, content: bytes, name: str) -> onnx.ModelProto:
    if len(content) > LARGEST:
        raise ValueError(f"{function}: {name} is larger than 2 GB, the most that a protobuf message can hold")
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # whatever the parser raises
        raise ValueError(
            f"{function}: {name} is not an ONNX model, or only a part of one ({first_line(error)})"
        ) from error
    check_growth(function, model)
    return model


def check_order(function: str, node: onnx.NodeProto, known: set[str]) -> None:
    """Check that a node reads what is there, and writes what is not; its outputs are there afterwards."""
    where = f"{function}: {node.op_type} node {node.name or next(iter(node.output), '')!r}"
    for name in filter(None, node.input):
        if name not in known:
            raise ValueError(
                f"{where} reads {name!r}, which no input and no node before it gives; the nodes of a model must stand "
                "in order and never in a cycle"
            )
    for name in filter(None, node.output):
        if name in known:
            raise ValueError(f"{where} writes {name!r}, which is there already; give each tensor one name")
        known.add(name)


def count_of(schema: Any, kind: str) -> str:
    """Say how many inputs or outputs an operator has."""
    least, most = getattr(schema, f"min_{kind}"), getattr(schema, f"max_{kind}")
    return f"{least} to {most} are" if least < most else "one is" if most == 1 else f"{most} are"


def node_attributes(where: str, node: onnx.NodeProto, opset: int, schema: Any) -> dict[str, Any]:
    """Return the attributes of a node by name, after checking it against the schema of its operator.

    Raises
    ------
    ValueError
        If it has too many or too few inputs or outputs, or an attribute that the operator does not have, of another
        type or given twice. Attributes that are missing are not looked for.
    """
    if not schema.min_input <= len(node.input) <= schema.max_input or not all(node.input[: schema.min_input]):
        most = schema.max_input
        tensors = "one tensor" if most == 1 else f"{count_of(schema, 'input').removesuffix(' are')} tensors"
        raise ValueError(
            f"{where}: inputs={list(node.input)} must be {tensors}; name "
            f"{'exactly one' if most == 1 else 'no more and no fewer'}"
        )
    if not 1 <= len(node.output) <= schema.max_output:
        most = "one" if schema.max_output == 1 else f"1 to {schema.max_output}"
        raise ValueError(
            f"{where}: outputs={list(node.output)} must be {most} in opset {opset}; name no more and no fewer"
        )
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        known: Any = schema.attributes.get(attribute.name)
        if known is None:
            raise ValueError(
                f"{where}: attribute {attribute.name!r} does not exist in opset {opset}; known are "
                f"{', '.join(sorted(schema.attributes)) or 'none'}"
            )
        if attribute.ref_attr_name:
            raise ValueError(
                f"{where}: {attribute.name} refers to the function attribute {attribute.ref_attr_name!r}, "
                "which has no value here; inline the function first"
            )
        wanted = known.type.name
        given = onnx.AttributeProto.AttributeType.Name(attribute.type)
        if given != wanted:
            raise ValueError(f"{where}: {attribute.name} has type {given}; it must be {wanted}")
        if attribute.name in found:
            raise ValueError(f"{where}: attribute {attribute.name!r} is given twice; keep one of them")
        value = onnx.helper.get_attribute_value(attribute)
        found[attribute.name] = value.decode(errors="replace") if isinstance(value, bytes) else value
    return found


def external_location(where: str, tensor: onnx.TensorProto, folder: Path) -> str:
    """Return the file that holds the data of a tensor, which must lie in the model's folder."""
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    root = folder.resolve()
    try:
        inside = bool(location) and (root / location).resolve().is_relative_to(root)
    except (OSError, RuntimeError, ValueError):  # a loop of links, or a name that no file can have
        inside = False
    if not inside:
        raise ValueError(
            f"{where} has its data in {location!r}, which is not in the folder of the model; move it there"
        )
    return location


def check_model(function: str, model: onnx.ModelProto) -> None:
    """Ask ONNX's own checker whether a model is valid, whatever the size of its initializers.

    Raises
    ------
    ValueError
        If it is not.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    # The checker would look for the files of some initializers, and has no room for 2 GB.
    inputs = {tensor.name for tensor in bare.graph.input}
    bare.graph.input.extend(
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in bare.graph.initializer
        if tensor.name not in inputs
    )
    del bare.graph.initializer[:]
    try:
        onnx.checker.check_model(bare)
    except Exception as error:
        raise ValueError(f"{function}: the model is not valid ({first_line(error)})") from error


def first_line(error: Exception) -> str:
    """Return what an error says, as a part of a sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
