"""Functions of a model, inlined, and the version of ONNX's own operators that its nodes are of.

Everybody who reads a model, the validator, the doctor, the repair and the backend, asks here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx
import onnx.inliner

from pooling.errors import value_error
from pooling.signs import first_line

from .graph import all_nodes, default_opset, imported_versions, is_default
from .limits import check_growth
from .nodes import CEIL_MODE_CLEAR

__all__ = ["aligned", "inlined", "opset_of"]

FunctionName = tuple[str, str, str]
"""Domain, name and overload."""
OTHERWISE = frozenset({"Softmax", "LogSoftmax", "Hardmax"})


def opset_of(function: str, model: onnx.ModelProto) -> int:
    """Return the version of the default operator set that the nodes of a model are of.

    Raises
    ------
    ValueError
        If the model imports none, or several between which one of its nodes differs.
    """
    versions = list(dict.fromkeys(int(each.version) for each in model.opset_import if is_default(each.domain)))
    if not versions:
        raise value_error(
            function, "the model imports no version of the default operator set", "its opset_import must name one"
        )
    opset = default_opset(model.opset_import)
    assert opset is not None
    for other in versions:
        node = _other_meaning(model.graph.node, other, opset)
        if node is not None:
            raise value_error(
                function,
                f"the model imports the default operator set in versions {other} and {opset}, and {node.op_type} "
                "differs between them",
                "its opset_import must name exactly one",
            )
    return opset


def inlined(function: str, model: onnx.ModelProto) -> onnx.ModelProto:
    """Inline the functions of a model; without functions, return the model itself.

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
        If the model would be too large with its functions inlined (see `pooling.onnx_models.limits`), or a function has
        nodes of a version in which they mean something else.
    """
    check_growth(function, model)
    if not model.functions:
        return model
    if default_opset(model.opset_import) is not None:
        opset_of(function, model)
    light = aligned(function, model)
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
        raise value_error(function, f"the functions of the model cannot be inlined ({first_line(error)})") from error
    left = next((node for node in all_nodes(result.graph.node) if _call(node) in names), None)
    if left is not None:
        raise value_error(
            function,
            f"the function {left.domain}::{left.op_type} of the model cannot be inlined",
            "convert the model to one version of each operator set first",
        )
    del result.functions[:]
    inputs = [each for each in result.graph.input if each.name in own]
    del result.graph.input[:]
    result.graph.input.extend(inputs)
    result.graph.initializer.extend(model.graph.initializer)
    return result


def aligned(function: str, model: onnx.ModelProto) -> onnx.ModelProto:
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
    versions = imported_versions(light.opset_import)
    for called in light.functions:
        own = imported_versions(called.opset_import)
        for domain, version in own.items():
            wanted = versions.setdefault(domain, version)
            node = None
            if not domain:
                node = _other_meaning(called.node, version, wanted)
            elif wanted != version and domain not in {each.domain for each in model.functions}:
                node = next((each for each in all_nodes(called.node) if each.domain == domain), None)
            if node is not None:
                raise value_error(
                    function,
                    f"the function {called.domain}::{called.name} is of version {version} of the operator set "
                    f"{domain or 'ai.onnx'}, the model of version {wanted}, and {node.op_type} differs between them",
                    "convert the model to one version first, with onnx.version_converter for example",
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
