"""Models that others wrote, read with care: what is wrong with one is said in a sentence.

Everybody who reads a model, the validator, the doctor, the repair and the backend, asks here which version of ONNX's
own operators its nodes are of (`opset_of`), and for its functions put in line (`inlined`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx.checker
import onnx.inliner

from .constants import check_made, tensors_of, with_one_domain
from .files import LARGEST
from .limits import check_growth

__all__ = [
    "all_nodes",
    "check_element_type",
    "check_external",
    "check_model",
    "check_order",
    "check_size",
    "count_of",
    "default_opset",
    "external_location",
    "first_line",
    "inlined",
    "is_default",
    "node_attributes",
    "opset_of",
    "read_model",
    "subgraphs",
]

FunctionName = tuple[str, str, str]
"""Domain, name and overload."""
OTHERWISE = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
"""Operators that changed their meaning from one version to another, and no attribute: since opset 13."""
CEIL_MODE_CLEAR = 22
"""The opset since which windows of ceil_mode that start behind the input are no windows."""


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
        or would be too large: with its functions in line, or by what it makes of nothing.
    """
    if isinstance(model, onnx.ModelProto):
        check_size(function, model)
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
    result = _parsed(function, content, path.name)
    check_external(function, result, path.parent)
    return result, path.parent


def _parsed(function: str, content: bytes, name: str) -> onnx.ModelProto:
    if len(content) > LARGEST:
        raise ValueError(f"{function}: {name} is larger than 2 GB, the most that a protobuf message can hold")
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # whatever the parser raises
        raise ValueError(
            f"{function}: {name} is not an ONNX model, or only a part of one ({first_line(error)})"
        ) from error
    check_size(function, model)
    return model


def check_size(function: str, model: onnx.ModelProto) -> None:
    """Refuse a model that would become too large: by its functions, or by what it makes of nothing.

    Raises
    ------
    ValueError
        As `pooling.export.limits.check_growth` and `pooling.export.constants.check_made` do; or if a function of it has
        the name of a pooling operator.
    """
    check_growth(function, model)
    check_made(function, model)
    from .nodes import POOLING_OPERATORS  # which reads models by what is here

    names = [each.name for each in model.functions if is_default(each.domain)]
    hidden = next((name for name in names if name in POOLING_OPERATORS), "")
    if hidden:
        raise ValueError(
            f"{function}: the model has a function {hidden} in the domain of ONNX's own operators, and runtimes do not "
            f"agree which of the two a node {hidden} is; give the function another name"
        )


def is_default(domain: str) -> bool:
    """Whether a domain is that of ONNX's own operators."""
    return domain in ("", "ai.onnx")


def default_opset(imports: Sequence[onnx.OperatorSetIdProto]) -> int | None:
    """Return the version of the default operator set, or None; of several entries the last, as onnxruntime does."""
    return _versions(imports).get("")


def subgraphs(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """Yield the graphs inside of a node, with the names of their attributes."""
    for each in node.attribute:
        if each.HasField("g"):
            yield each.name, each.g
        for number, graph in enumerate(each.graphs):
            yield f"{each.name}[{number}]", graph


def all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield nodes, and those of the graphs inside of them."""
    for node in nodes:
        yield node
        for _, inner in subgraphs(node):
            yield from all_nodes(inner.node)


def opset_of(function: str, model: onnx.ModelProto) -> int:
    """Return the version of the default operator set that the nodes of a model are of.

    Raises
    ------
    ValueError
        If the model imports none, or several between which one of its nodes differs.
    """
    versions = list(dict.fromkeys(int(each.version) for each in model.opset_import if is_default(each.domain)))
    if not versions:
        raise ValueError(
            f"{function}: the model imports no version of the default operator set; its opset_import must name one"
        )
    opset = default_opset(model.opset_import)
    assert opset is not None
    for other in versions:
        node = _other_meaning(model.graph.node, other, opset)
        if node is not None:
            raise ValueError(
                f"{function}: the model imports the default operator set in versions {other} and {opset}, and "
                f"{node.op_type} differs between them; its opset_import must name exactly one"
            )
    return opset


def inlined(function: str, model: onnx.ModelProto) -> onnx.ModelProto:
    """Put the functions of a model in line; without functions, return the model itself.

    A function may import another version of an operator set than the model does. Its nodes are taken over if they mean
    the same in both, as ONNX's checker has it, and also where a version has changed nothing but types.

    Parameters
    ----------
    function : str
        Named in error sentences.
    model : onnx.ModelProto
        The model, which stays as it is; its weights are not copied on the way.

    Raises
    ------
    ValueError
        If the model would be too large with its functions in line (see `pooling.export.limits`), or a function has
        nodes of a version in which they mean something else.
    """
    check_growth(function, model)
    if not model.functions:
        return model
    if default_opset(model.opset_import) is not None:
        opset_of(function, model)
    light = _aligned(function, model)
    own = {each.name for each in light.graph.input}
    light.graph.input.extend(
        onnx.helper.make_tensor_value_info(each.name, each.data_type, each.dims)
        for each in model.graph.initializer
        if each.name not in own
    )
    names = {_name(each) for each in model.functions}
    try:
        result = onnx.inliner.inline_local_functions(light)
    except Exception as error:  # whatever the inliner raises
        raise ValueError(
            f"{function}: the functions of the model cannot be put in line ({first_line(error)})"
        ) from error
    left = next((node for node in all_nodes(result.graph.node) if _call(node) in names), None)
    if left is not None:
        raise ValueError(
            f"{function}: the function {left.domain}::{left.op_type} of the model cannot be put in line; convert the "
            "model to one version of each operator set first"
        )
    del result.functions[:]
    inputs = [each for each in result.graph.input if each.name in own]
    del result.graph.input[:]
    result.graph.input.extend(inputs)
    result.graph.initializer.extend(model.graph.initializer)
    return result


def _aligned(function: str, model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a model but for its weights, with functions that import what the model imports.

    Raises
    ------
    ValueError
        If nodes of a function would mean something else.
    """
    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    for name in ("name", "node", "input", "output", "value_info", "sparse_initializer"):
        value = getattr(model.graph, name)
        if isinstance(value, str):
            light.graph.name = value
        else:
            getattr(light.graph, name).extend(value)
    versions = _versions(light.opset_import)
    for called in light.functions:
        own = _versions(called.opset_import)
        for domain, version in own.items():
            wanted = versions.setdefault(domain, version)
            node = None
            if not domain:
                node = _other_meaning(called.node, version, wanted)
            elif wanted != version and domain not in {each.domain for each in model.functions}:
                node = next((each for each in all_nodes(called.node) if each.domain == domain), None)
            if node is not None:
                raise ValueError(
                    f"{function}: the function {called.domain}::{called.name} is of version {version} of the operator "
                    f"set {domain or 'ai.onnx'}, the model of version {wanted}, and {node.op_type} differs between "
                    "them; convert the model to one version first, with onnx.version_converter for example"
                )
        del called.opset_import[:]
        called.opset_import.extend(onnx.helper.make_opsetid(domain, versions[domain]) for domain in own)
    del light.opset_import[:]
    light.opset_import.extend(onnx.helper.make_opsetid(*each) for each in versions.items())
    _give_defaults(light)
    return light


def _give_defaults(model: onnx.ModelProto) -> None:
    """Write the attributes that functions have by default into the calls that leave them out.

    ONNX's inliner knows nothing of them, and drops what refers to them.
    """
    defaults = {_name(each): list(each.attribute_proto) for each in model.functions if each.attribute_proto}
    if not defaults:
        return
    for nodes in (model.graph.node, *(each.node for each in model.functions)):
        for node in all_nodes(nodes):
            given = {each.name for each in node.attribute}
            node.attribute.extend(each for each in defaults.get(_call(node), ()) if each.name not in given)


def _versions(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Return the versions that are imported, by domain; of several entries the last."""
    return {"" if is_default(each.domain) else str(each.domain): int(each.version) for each in imports}


def _other_meaning(nodes: Iterable[onnx.NodeProto], version: int, other: int) -> onnx.NodeProto | None:
    """Return the first node of the default domain that may mean something else in another version of it."""
    if version == other:
        return None
    for node in all_nodes(nodes):
        if is_default(node.domain) and not _means_the_same(node, version, other):
            return node
    return None


def _means_the_same(node: onnx.NodeProto, version: int, other: int) -> bool:
    try:
        first: Any = onnx.defs.get_schema(node.op_type, version, "")
        second: Any = onnx.defs.get_schema(node.op_type, other, "")
    except (onnx.defs.SchemaError, TypeError):  # the number does not fit where onnx looks it up
        return False
    if first.since_version == second.since_version:
        return True
    ceil = any(each.name == "ceil_mode" and each.i for each in node.attribute)
    if node.op_type in OTHERWISE or (ceil and (version < CEIL_MODE_CLEAR) != (other < CEIL_MODE_CLEAR)):
        return False
    return _signature(first) == _signature(second)


def _signature(schema: Any) -> tuple[object, ...]:
    """Return what a node of an operator may say: attributes, their types and defaults, and numbers of tensors."""
    attributes = {
        name: (each.type.name, each.required, each.default_value.SerializeToString(deterministic=True))
        for name, each in schema.attributes.items()
    }
    return attributes, schema.min_input, schema.max_input, schema.min_output, schema.max_output


def _name(called: onnx.FunctionProto) -> FunctionName:
    return called.domain, called.name, getattr(called, "overload", "")


def _call(node: onnx.NodeProto) -> FunctionName:
    return node.domain, node.op_type, getattr(node, "overload", "")


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


def check_element_type(what: str, elem_type: int) -> None:
    """Refuse numbers that stand for no element type, before they turn up where somebody expects its name."""
    if elem_type == onnx.TensorProto.UNDEFINED:
        raise ValueError(f"{what} has no element type; give it one")
    if elem_type not in onnx.TensorProto.DataType.values():
        raise ValueError(f"{what} has the element type {elem_type}, which onnx {onnx.__version__} does not know")


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
        raise ValueError(f"{where} has its data in {shown}, which is not in the folder of the model; move it there")
    begin, length = (_whole_number(f"{where}: {key} of its data in {shown}", entries.get(key)) for key in SPANS)
    if held is not None and begin + length > held:
        raise ValueError(
            f"{where} has its data in {shown} up to byte {begin + length}, but the file has {held}; get the whole file"
        )
    return location


LONGEST_NAME = 200
"""Signs of a file's name that a sentence shows."""
SPANS = ("offset", "length")
"""What else a tensor says of where its data lies."""


def _whole_number(where: str, text: str | None) -> int:
    if text is not None and not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ValueError(f"{where} is {text[:LONGEST_NAME]!r}; it must be a number of bytes")
    return int(text or 0)


def check_external(function: str, model: onnx.ModelProto, folder: Path) -> None:
    """Check where all data of a model lies that it keeps in files of its own; see `external_location`."""
    for what, tensor in tensors_of(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            external_location(f"{function}: {what}", tensor, folder)


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
        light = _aligned(function, bare)
        for name in ("functions", "opset_import"):
            bare.ClearField(name)
            getattr(bare, name).extend(getattr(light, name))
    try:
        onnx.checker.check_model(bare)
    except Exception as error:
        raise ValueError(f"{function}: the model is not valid ({first_line(error)})") from error


def first_line(error: Exception) -> str:
    """Return what an error says, as a part of a sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
