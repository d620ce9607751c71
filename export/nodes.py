"""From the nodes of an ONNX model to layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx

from pooling import geometry, layers
from pooling.layers import Layer

__all__ = ["POOLING_OPERATORS", "layer_from_node"]

# By operator, the layer for one, two and three spatial axes.
LAYERS: dict[str, tuple[type[Layer], ...]] = {
    "MaxPool": (layers.MaxPool1d, layers.MaxPool2d, layers.MaxPool3d),
    "AveragePool": (layers.AvgPool1d, layers.AvgPool2d, layers.AvgPool3d),
    "GlobalMaxPool": (layers.GlobalMaxPool1d, layers.GlobalMaxPool2d, layers.GlobalMaxPool3d),
    "GlobalAveragePool": (layers.GlobalAvgPool1d, layers.GlobalAvgPool2d, layers.GlobalAvgPool3d),
}

POOLING_OPERATORS: frozenset[str] = frozenset(LAYERS)
"""The ONNX operators that `layer_from_node` reads."""

AUTO_PAD = {"SAME_UPPER": geometry.SAME_UPPER, "SAME_LOWER": geometry.SAME_LOWER, "VALID": geometry.VALID}


def layer_from_node(node: onnx.NodeProto, opset: int, input_shape: Sequence[int]) -> Layer:
    """Return the layer that computes what a pooling node of an ONNX model computes.

    Parameters
    ----------
    node : onnx.NodeProto
        A node of the default domain whose ``op_type`` is one of `POOLING_OPERATORS`.
    opset : int
        The version of the default operator set that the model imports; it decides which attributes exist.
    input_shape : sequence of int
        Shape of the node's input, ``(N, C, *S)`` with one to three spatial axes.

    Returns
    -------
    Layer
        With ``return_indices=True`` where the node names its second output. The layer's indices count in the
        spatial plane; ONNX's count over the whole tensor, and where the node has ``storage_order=1``, in
        column-major order.

    Raises
    ------
    TypeError
        If `node` is no node, or `opset` or `input_shape` holds anything but integers.
    ValueError
        If the operator is not one of `POOLING_OPERATORS`, the node breaks a rule of ONNX, or its windows find
        no place on the input.

    Notes
    -----
    Defaults are those of the ONNX operators: stride 1, ``count_include_pad=0``. Where the standard and its
    implementations differ, this is how the node is understood:

    - ``ceil_mode=1`` never keeps a window that starts behind the input and its beginning padding, in any
      opset; the text says so since opset 22, and most runtimes have always done so.
    - ``auto_pad="VALID"`` leaves ``ceil_mode`` in force, as ONNX shape inference has it.
    - ``auto_pad`` and ``pads`` together are accepted only where they say the same.

    Examples
    --------
    >>> import onnx
    >>> from pooling.export import layer_from_node
    >>> node = onnx.helper.make_node(
    ...     "MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]
    ... )
    >>> layer_from_node(node, 9, (1, 64, 112, 112))
    MaxPool2d(kernel_size=3, stride=2, padding=((0, 1), (0, 1)))
    """
    if not isinstance(node, onnx.NodeProto):
        raise TypeError(f"layer_from_node: node must be an onnx.NodeProto, not {type(node).__name__}")
    if isinstance(opset, bool) or not isinstance(opset, int):
        raise TypeError(f"layer_from_node: opset={opset!r} must be an integer, not {type(opset).__name__}")
    shape = geometry.per_axis_shape("layer_from_node", input_shape)
    where = f"layer_from_node: {_title(node)}"
    if node.op_type not in POOLING_OPERATORS or node.domain not in ("", "ai.onnx"):
        domain = f" of domain {node.domain!r}" if node.domain else ""
        raise ValueError(f"{where}{domain} is not understood; known are {', '.join(sorted(POOLING_OPERATORS))}")
    if opset < 1:
        raise ValueError(f"{where}: opset={opset} must be at least 1; read it from the model's opset_import")
    dimensions = len(shape) - 2
    if not 1 <= dimensions <= 3:
        raise ValueError(
            f"{where}: input_shape={shape} has {len(shape)} axes; it must have 3 to 5: batch, channels and "
            "one to three spatial axes"
        )
    attributes = _attributes(where, node, opset)
    layer = LAYERS[node.op_type][dimensions - 1]
    if node.op_type.startswith("Global"):
        geometry.global_axes(shape[2:], function=where)
        return layer()
    arguments = _windows(where, attributes, shape[2:])
    geometry.pool_axes(shape[2:], **arguments, function=where)
    if node.op_type == "MaxPool":
        _choice(where, attributes, "storage_order")
        arguments["return_indices"] = len(node.output) > 1 and bool(node.output[1])
    else:
        arguments["count_include_pad"] = bool(_choice(where, attributes, "count_include_pad"))
    return layer(**{name: _brief(value) for name, value in arguments.items()})


def _title(node: onnx.NodeProto) -> str:
    """Name a node as a reader of the model can find it; many models name only the tensors."""
    if node.name or not node.output:
        return f"{node.op_type} node {node.name!r}"
    return f"{node.op_type} node with output {node.output[0]!r}"


def _attributes(where: str, node: onnx.NodeProto, opset: int) -> dict[str, Any]:
    """Return the attributes by name, after checking the node against the schema of its operator."""
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    if len(node.input) != 1 or not node.input[0]:
        raise ValueError(f"{where}: inputs={list(node.input)} must be one tensor; name exactly one")
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
    for name, rule in schema.attributes.items():
        if rule.required and name not in found:
            raise ValueError(f"{where}: {name} is missing; give one integer per spatial axis")
    return found


def _windows(where: str, attributes: dict[str, Any], input_size: Sequence[int]) -> dict[str, Any]:
    """Translate the attributes that say where windows lie."""
    dimensions = len(input_size)
    ones = (1,) * dimensions
    arguments: dict[str, Any] = {
        "kernel_size": _per_axis(where, attributes, "kernel_shape", dimensions, ones),
        "stride": _per_axis(where, attributes, "strides", dimensions, ones),
        "dilation": _per_axis(where, attributes, "dilations", dimensions, ones),
        "ceil_mode": bool(_choice(where, attributes, "ceil_mode")),
    }
    pads = _per_axis(where, attributes, "pads", 2 * dimensions, (0,) * 2 * dimensions)
    arguments["padding"] = tuple(zip(pads[:dimensions], pads[dimensions:], strict=True))
    auto_pad = attributes.get("auto_pad", "NOTSET")
    if auto_pad == "NOTSET":
        return arguments
    if auto_pad not in AUTO_PAD:
        raise ValueError(
            f"{where}: auto_pad={auto_pad!r} is not a known name; use NOTSET, {', '.join(AUTO_PAD)}, or pads"
        )
    named = {**arguments, "padding": AUTO_PAD[auto_pad]}
    if "pads" in attributes:
        resolved = geometry.pool_axes(input_size, **named, function=where)
        if arguments["padding"] != tuple((axis.pad_begin, axis.pad_end) for axis in resolved):
            raise ValueError(f"{where}: auto_pad={auto_pad!r} and pads={list(pads)} contradict each other; keep one")
    return named


def _per_axis(
    where: str, attributes: dict[str, Any], name: str, length: int, default: tuple[int, ...]
) -> tuple[int, ...]:
    values = tuple(attributes.get(name, default))
    if len(values) != length:
        each = "two integers" if name == "pads" else "one integer"
        raise ValueError(
            f"{where}: {name}={list(values)} must have {each} per spatial axis, {length} and not {len(values)}"
        )
    return values


def _choice(where: str, attributes: dict[str, Any], name: str) -> int:
    """Return an attribute that is 0 or 1."""
    value = int(attributes.get(name, 0))
    if value not in (0, 1):
        raise ValueError(f"{where}: {name}={value} must be 0 or 1")
    return value


def _brief(value: Any) -> Any:
    """Write an argument as a person would: one number where all axes have the same."""
    if not isinstance(value, tuple):
        return value
    if isinstance(value[0], tuple):
        if any(begin != end for begin, end in value):
            return value
        value = tuple(begin for begin, _ in value)
    return value[0] if len(set(value)) == 1 else value
