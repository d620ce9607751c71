"""Models that others wrote, read with care: what is wrong with one is said in a sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnx.checker

from pooling.errors import type_error, value_error
from pooling.signs import first_line

from .constants import check_made, tensors_of, with_one_domain
from .functions import aligned
from .graph import Scope, is_default, scopes_of, subgraphs
from .limits import check_growth
from .missing import remedy_for_missing
from .nodes import POOLING_OPERATORS

__all__ = [
    "LARGEST_FILE",
    "check_element_type",
    "check_external",
    "check_model",
    "check_order",
    "check_scopes",
    "check_size",
    "data_files",
    "external_location",
    "read_model",
]

LARGEST_FILE = 2**31 - 1
"""Bytes that protobuf holds in one message."""


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
        If it cannot be read, is none, is larger than 2 GB, has data outside of its folder or behind the end of a file,
        or would be too large: with its functions inlined, or by what it makes of nothing.
    """
    if isinstance(model, onnx.ModelProto):
        check_size(function, model)
        return model, None
    if isinstance(model, bytes):
        return _parsed(function, model, "the model"), None
    if not isinstance(model, (str, os.PathLike)):
        raise type_error(function, f"model must be an onnx.ModelProto, bytes or a path, not {type(model).__name__}")
    path = Path(model)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise value_error(
                function,
                f"{path.name} is larger than 2 GB, the most that a protobuf file can hold",
                "keep its tensors in files of their own (external data)",
            )
        content = path.read_bytes()
    except OSError as error:
        remedy = remedy_for_missing(os.fspath(model))
        raise value_error(function, f"{path} cannot be read ({error.strerror or error})", remedy) from error
    result = _parsed(function, content, path.name)
    check_external(function, result, path.parent)
    return result, path.parent


def _parsed(function: str, content: bytes, name: str) -> onnx.ModelProto:
    if len(content) > LARGEST_FILE:
        raise value_error(function, f"{name} is larger than 2 GB, the most that a protobuf message can hold")
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # whatever the parser raises
        raise value_error(
            function,
            f"{name} is not an ONNX model, or only a part of one ({first_line(error)})",
            "copy it again, or export it again",
        ) from error
    check_size(function, model)
    return model


def check_size(function: str, model: onnx.ModelProto) -> None:
    """Refuse a model that would become too large: by its functions, or by what it makes of nothing.

    Raises
    ------
    ValueError
        As `limits.check_growth` and `constants.check_made` do; if a name of it is no text; or if a function of it has
        the name of a pooling operator.
    """
    _check_names(function, model)
    check_growth(function, model)
    check_made(function, model)
    names = [each.name for each in model.functions if is_default(each.domain)]
    hidden = next((name for name in names if name in POOLING_OPERATORS), "")
    if hidden:
        raise value_error(
            function,
            f"the model has a function {hidden} in the domain of ONNX's own operators, and runtimes do not agree "
            f"which of the two a node {hidden} is",
            "give the function another name",
        )


def _check_names(function: str, model: onnx.ModelProto) -> None:
    """Refuse names that are no text, of which protobuf gives the bytes."""

    def check(what: str, *names: Any) -> None:
        for name in names:
            if not isinstance(name, str):
                raise value_error(function, f"{what} of the model is not text ({name!r})", "names must be UTF-8")

    check("the name", model.graph.name)
    check("an entry", *(text for each in model.metadata_props for text in (each.key, each.value)))
    for each in model.functions:
        check("a function", each.domain, each.name, *each.input, *each.output, *each.attribute)
    for entry in (*model.opset_import, *(entry for each in model.functions for entry in each.opset_import)):
        check("a domain", entry.domain)
    # Not by calls: how deep graphs lie inside of each other is checked later.
    nodes, graphs = [*model.graph.node, *(node for each in model.functions for node in each.node)], [model.graph]
    for node in nodes:
        for _, inner in subgraphs(node):
            graphs.append(inner)
            nodes += inner.node
    for graph in graphs:
        check("an initializer", *(tensor.name for tensor in graph.initializer))
        check("an initializer", *(tensor.values.name for tensor in graph.sparse_initializer))
        for info in (*graph.input, *graph.output, *graph.value_info):
            check("a tensor", info.name)
            check("a size", *(size.dim_param for size in info.type.tensor_type.shape.dim))
    for node in nodes:
        check("an op_type", node.op_type)
        check("a domain", node.domain)
        check("a name", node.name)
        check("an output", *node.output)
        check("an input", *node.input)
        check("an attribute", *(name for each in node.attribute for name in (each.name, each.ref_attr_name)))


def check_order(function: str, node: onnx.NodeProto, known: set[str]) -> None:
    """Check that a node reads what is there, and writes what is not; its outputs are there afterwards."""
    what = f"{node.op_type} node {node.name or next(iter(node.output), '')!r}"
    for name in filter(None, node.input):
        if name not in known:
            raise value_error(
                function,
                f"{what} reads {name!r}, which no input and no node before it gives",
                "the nodes of a model must stand in order and never in a cycle",
            )
    for name in filter(None, node.output):
        if name in known:
            raise value_error(function, f"{what} writes {name!r}, which is there already", "give each tensor one name")
        known.add(name)


def check_scopes(function: str, model: onnx.ModelProto) -> None:
    """Check that all nodes of a model, its subgraphs and functions stand in order, and that results come from nodes.

    Raises
    ------
    ValueError
        If a node reads what is not there, or writes what is there already; or if an output comes from no node.
    """
    for scope in scopes_of(model):
        known: set[str] = set()
        around: Scope | None = scope
        while around is not None:
            known.update(around.inputs)
            if around is not scope:
                known.update(name for node in around.container.node for name in node.output)
            around = around.outer
        own = known - set(scope.inputs)
        for node in scope.container.node:
            known -= {name for name in node.output if name in own}
            check_order(function, node, known)
        for name in scope.outputs:
            if name and name not in known:
                raise value_error(function, f"the output {name!r} of {scope.path} comes from no node")


def check_element_type(what: str, elem_type: int) -> None:
    """Refuse numbers that stand for no element type, before they turn up where somebody expects its name."""
    if elem_type == onnx.TensorProto.UNDEFINED:
        raise ValueError(f"{what} has no element type; give it one")
    if elem_type not in onnx.TensorProto.DataType.values():
        raise ValueError(f"{what} has the element type {elem_type}, which onnx {onnx.__version__} does not know")


def external_location(function: str, what: str, tensor: onnx.TensorProto, folder: Path) -> str:
    """Return the file that holds the data of a tensor, which must lie in the model's folder and hold all of it.

    Raises
    ------
    ValueError
        If it lies elsewhere, or is shorter than what the tensor says of it. A file that is missing is none of the
        business of those who need no data.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = str(entries.get("location", ""))
    root = folder.resolve()
    try:
        inside = bool(location) and (root / location).resolve().is_relative_to(root)
        held = (root / location).stat().st_size if inside and (root / location).is_file() else None
    except (OSError, RuntimeError, ValueError):  # a loop of links, or a name that no file can have
        inside = False
    shown = repr(location if len(location) <= LONGEST_NAME else f"{location[:LONGEST_NAME]}...")
    if not inside:
        raise value_error(
            function, f"{what} has its data in {shown}, which is not in the folder of the model", "move it there"
        )
    begin, length = (
        _whole_number(function, f"{what}: {key} of its data in {shown}", entries.get(key)) for key in SPANS
    )
    if held is not None and begin + length > held:
        raise value_error(
            function,
            f"{what} has its data in {shown} up to byte {begin + length}, but the file has {held}",
            "get the whole file",
        )
    return location


LONGEST_NAME = 200
"""Signs of a file's name that a sentence shows."""
SPANS = ("offset", "length")
"""What else a tensor says of where its data lies."""


def _whole_number(function: str, what: str, text: str | None) -> int:
    if text is not None and not (text.isascii() and text.isdigit() and len(text) < 20):
        raise value_error(function, f"{what} is {text[:LONGEST_NAME]!r}", "it must be a number of bytes")
    return int(text or 0)


def data_files(path: Path) -> Iterator[Path]:
    """Yield the files beside a model where its tensors are, whether they are there or not."""
    for _, tensor in tensors_of(onnx.load(path, load_external_data=False)):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield from (path.parent / entry.value for entry in tensor.external_data if entry.key == "location")


def check_external(function: str, model: onnx.ModelProto, folder: Path) -> None:
    """Check where all data of a model lies that it keeps in files of its own; see `external_location`."""
    for what, tensor in tensors_of(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            external_location(function, what, tensor, folder)


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
    bare = with_one_domain(bare)
    if bare.functions:
        # The checker refuses functions of another version even where their nodes mean the same.
        check_growth(function, bare)
        light = aligned(function, bare)
        for name in ("functions", "opset_import"):
            bare.ClearField(name)
            getattr(bare, name).extend(getattr(light, name))
    try:
        onnx.checker.check_model(bare)
    except Exception as error:
        raise value_error(function, f"the model is not valid ({first_line(error)})") from error
