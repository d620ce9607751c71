"""From the nodes of an ONNX model to layers, and to functions of arrays that answer as ONNX has it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray

import pooling
from pooling import geometry
from pooling.arguments import per_axis_shape
from pooling.arrays import as_array, dtype_name
from pooling.errors import Place, recast, type_error, value_error
from pooling.geometry import Axis
from pooling.layer import Layer
from pooling.signs import short_repr

from .graph import is_default

__all__ = ["POOLING_OPERATORS", "function_from_node", "layer_from_node"]

AnyArray = NDArray[Any]

LARGEST_OPSET = 2**31 - 1
"""What onnx looks up; files hold larger numbers."""

# By operator, the layer for each number of spatial axes.
LAYERS: dict[str, dict[int, type[Layer]]] = {
    "MaxPool": {1: pooling.MaxPool1d, 2: pooling.MaxPool2d, 3: pooling.MaxPool3d},
    "AveragePool": {1: pooling.AvgPool1d, 2: pooling.AvgPool2d, 3: pooling.AvgPool3d},
    "LpPool": {1: pooling.LPPool1d, 2: pooling.LPPool2d, 3: pooling.LPPool3d},
    "GlobalMaxPool": {1: pooling.GlobalMaxPool1d, 2: pooling.GlobalMaxPool2d, 3: pooling.GlobalMaxPool3d},
    "GlobalAveragePool": {1: pooling.GlobalAvgPool1d, 2: pooling.GlobalAvgPool2d, 3: pooling.GlobalAvgPool3d},
    "GlobalLpPool": {1: pooling.GlobalLPPool1d, 2: pooling.GlobalLPPool2d, 3: pooling.GlobalLPPool3d},
    "MaxUnpool": {1: pooling.MaxUnpool1d, 2: pooling.MaxUnpool2d, 3: pooling.MaxUnpool3d},
    "MaxRoiPool": {2: pooling.MaxRoIPool},
    "RoiAlign": {2: pooling.RoIAlign},
}

POOLING_OPERATORS: frozenset[str] = frozenset(LAYERS)
"""The ONNX operators that `layer_from_node` and `function_from_node` read."""

WINDOWED = ("MaxPool", "AveragePool", "LpPool")
"""The operators with windows that slide."""
AUTO_PAD = {"SAME_UPPER": geometry.SAME_UPPER, "SAME_LOWER": geometry.SAME_LOWER, "VALID": geometry.VALID}
REMEMBERED = 64
"""Shapes for which a node keeps its layer."""
HALF_PIXEL = 16
"""The opset since which RoiAlign moves its boxes by half a pixel unless told otherwise."""


"""Operators that changed their meaning from one version to another, and no attribute: since opset 13."""
CEIL_MODE_CLEAR = 22
"""The opset since which windows of ceil_mode that start behind the input are no windows."""


def layer_from_node(node: onnx.NodeProto, opset: int, input_shape: Sequence[int]) -> Layer:
    """Return the layer that computes what a pooling node of an ONNX model computes.

    Parameters
    ----------
    node : onnx.NodeProto
        A node of the default domain whose ``op_type`` is one of `POOLING_OPERATORS`.
    opset : int
        The version of the default operator set that the model imports; it decides which attributes exist.
    input_shape : sequence of int
        Shape of the node's first input, ``(N, C, *S)`` with one to three spatial axes.

    Returns
    -------
    Layer
        With ``return_indices=True`` where the node names its second output. The layer's indices count in the
        spatial plane; ONNX's count over the whole tensor, and where the node has ``storage_order=1``, in
        column-major order. Layers of MaxUnpool, MaxRoiPool and RoiAlign are called with as many arrays as the node
        has inputs.

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
    - Beside ``auto_pad``, ``pads`` mean nothing, as in onnxruntime; the text forbids the two together, but its checker
      does not.
    - LpPool of opset 1 may leave out ``kernel_shape``, which then has no meaning; it is refused.

    Examples
    --------
    >>> import onnx
    >>> from pooling.onnx_models import layer_from_node
    >>> node = onnx.helper.make_node(
    ...     "MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]
    ... )
    >>> layer_from_node(node, 9, (1, 64, 112, 112))
    MaxPool2d(kernel_size=3, stride=2, padding=((0, 1), (0, 1)))
    """
    shape = per_axis_shape("layer_from_node", input_shape)
    return _read("layer_from_node", node, opset).layer(shape)


def function_from_node(
    node: onnx.NodeProto, opset: int, *, function: str = "function_from_node"
) -> Callable[..., tuple[AnyArray, ...]]:
    """Return a function of arrays that answers a pooling node as the text of its opset has it.

    Parameters
    ----------
    node : onnx.NodeProto
        A node of the default domain whose ``op_type`` is one of `POOLING_OPERATORS`.
    opset : int
        The version of the default operator set that the model imports.
    function : str
        Named in error sentences.

    Returns
    -------
    callable
        Takes one array for each input of the node, None for one that is left out, and returns a tuple of one array
        for each output.

    Raises
    ------
    TypeError
        If `node` is no node or `opset` no integer; the function itself, for an array of a dtype that the operator
        does not take in this opset.
    ValueError
        If the operator is not one of `POOLING_OPERATORS` or the node breaks a rule of ONNX; the function itself, for
        an array on which the windows do not fit, and for bad regions and indices.

    Notes
    -----
    It differs from the layer of `layer_from_node` in two things:

    - Indices are ONNX's, in both directions: over the whole tensor, and in column-major order with
      ``storage_order=1``. Where the ``output_shape`` of a MaxUnpool is not the one that its attributes give, indices
      count in ``output_shape``, unless only in the other shape each names a cell of its own window.
    - Below opset 22 ``ceil_mode=1`` keeps a window that starts behind the input, as text and shape inference have it:
      its maximum is that of no element (-inf or the dtype's minimum, with the index -1), its norm 0, and its mean 0
      where padding counts, else NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import onnx
    >>> from pooling.onnx_models import function_from_node
    >>> node = onnx.helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2], strides=[2])
    >>> x = np.arange(8, dtype=np.float32).reshape(1, 2, 4)
    >>> value, index = function_from_node(node, 12)(x)
    >>> index.ravel()
    array([1, 3, 5, 7])
    """
    reading = _read(function, node, opset)
    newest = onnx.defs.onnx_opset_version()
    if opset > newest:
        raise value_error(
            reading.where,
            f"must be at most {newest}, the newest that onnx {onnx.__version__} knows",
            "install a newer onnx",
            argument=("opset", opset),
        )
    return reading


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
        raise value_error(
            where,
            f"inputs={list(node.input)} must be {tensors}",
            f"name {'exactly one' if most == 1 else 'no more and no fewer'}",
        )
    if not 1 <= len(node.output) <= schema.max_output:
        most = "one" if schema.max_output == 1 else f"1 to {schema.max_output}"
        raise value_error(
            where, f"outputs={list(node.output)} must be {most} in opset {opset}", "name no more and no fewer"
        )
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        known: Any = schema.attributes.get(attribute.name)
        if known is None:
            raise value_error(
                where,
                f"attribute {attribute.name!r} does not exist in opset {opset}",
                f"known are {', '.join(sorted(schema.attributes)) or 'none'}",
            )
        if attribute.ref_attr_name:
            raise value_error(
                where,
                f"{attribute.name} refers to the function attribute {attribute.ref_attr_name!r}, which has no value "
                "here",
                "inline the function first",
            )
        wanted = known.type.name
        given = onnx.AttributeProto.AttributeType.Name(attribute.type)
        if given != wanted:
            raise value_error(where, f"{attribute.name} has type {given}", f"it must be {wanted}")
        if attribute.name in found:
            raise value_error(where, f"attribute {attribute.name!r} is given twice", "keep one of them")
        value = onnx.helper.get_attribute_value(attribute)
        found[attribute.name] = value.decode(errors="replace") if isinstance(value, bytes) else value
    return found


def checked_attributes(function: str, node: onnx.NodeProto, opset: int) -> dict[str, Any]:
    """Return the attributes of a pooling node by name, after checking them; errors as of `function_from_node`."""
    return _read(function, node, opset).attributes


def why_not_dtype(node: onnx.NodeProto, opset: int, dtype: np.dtype[Any]) -> str:
    """Say that ONNX has no such node for a first input of this dtype, or nothing; other operators take any."""
    if node.op_type not in POOLING_OPERATORS:
        return ""
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return ""
    return _refused_dtype(schema.inputs[0], dtype, opset)


def _refused_dtype(parameter: Any, dtype: np.dtype[Any], opset: int) -> str:
    name = dtype_name(dtype)
    if f"tensor({ONNX_NAMES.get(name, name)})" in parameter.types:
        return ""
    known = sorted(str(each).removeprefix("tensor(").rstrip(")") for each in parameter.types)
    return f"{parameter.name} has dtype {dtype.name}, which is not accepted in opset {opset}; use {', '.join(known)}"


@dataclass(frozen=True, eq=False)
class _Node:
    """A node that keeps the rules of its operator, whatever arrays may come."""

    where: Place
    operator: str
    opset: int
    schema: Any
    attributes: dict[str, Any]
    indices: bool

    @cached_property
    def layer(self) -> Callable[[tuple[int, ...]], Layer]:
        """The layer for an input of a shape; remembered, since translating takes longer than pooling a small map."""
        return lru_cache(maxsize=REMEMBERED)(self._layer)

    def _layer(self, shape: tuple[int, ...]) -> Layer:
        known = LAYERS[self.operator]
        if len(shape) - 2 not in known:
            wanted = "3 to 5: batch, channels and one to three spatial axes"
            if len(known) == 1:
                wanted = "4: batch, channels, height and width"
            raise value_error(
                self.where, f"has {len(shape)} axes", f"it must have {wanted}", argument=("input_shape", shape)
            )
        arguments = self._arguments(shape[2:])
        return known[len(shape) - 2](**{name: _brief(value) for name, value in arguments.items()})

    def _arguments(self, sizes: tuple[int, ...]) -> dict[str, Any]:
        """Translate the attributes to arguments of the layer, after checking its windows against the input."""
        attributes = self.attributes
        match self.operator:
            case "GlobalMaxPool" | "GlobalAveragePool" | "GlobalLpPool":
                geometry.global_axes(sizes, function=self.where)
                return {"p": attributes.get("p", 2)} if self.operator == "GlobalLpPool" else {}
            case "MaxRoiPool":
                output_size = _per_axis(self.where, attributes, "pooled_shape", 2, ())
                return {"output_size": output_size, "spatial_scale": attributes.get("spatial_scale", 1.0)}
            case "RoiAlign":
                moved = "half_pixel" if self.opset >= HALF_PIXEL else "output_half_pixel"
                return {
                    "output_size": (attributes.get("output_height", 1), attributes.get("output_width", 1)),
                    "spatial_scale": attributes.get("spatial_scale", 1.0),
                    "sampling_ratio": attributes.get("sampling_ratio", 0),
                    "mode": attributes.get("mode", "avg"),
                    "coordinate_transformation_mode": attributes.get("coordinate_transformation_mode", moved),
                }
        arguments = _windows(self.where, attributes, sizes)
        if self.operator == "MaxUnpool":
            return {name: arguments[name] for name in ("kernel_size", "stride", "padding")}
        geometry.pool_axes(sizes, **arguments, function=self.where)
        if self.operator == "MaxPool":
            arguments["return_indices"] = self.indices
        elif self.operator == "AveragePool":
            arguments["count_include_pad"] = bool(attributes.get("count_include_pad", 0))
        else:
            arguments["norm_type"] = attributes.get("p", 2)
        return arguments

    def __call__(self, *inputs: ArrayLike | None) -> tuple[AnyArray, ...]:
        """Answer the node."""
        arrays = self._checked(inputs)
        layer = self.layer(arrays[0].shape)
        try:
            if self.operator == "MaxUnpool":
                return (self._unpooled(layer, *arrays),)
            result = layer(*arrays)
        except (TypeError, ValueError) as error:
            raise recast(type(error), error, self.where) from error
        values = result if isinstance(result, tuple) else (result,)
        if self.indices:
            target = "onnx_column_major" if self.attributes.get("storage_order") else "onnx"
            indices = pooling.convert_indices(values[1], arrays[0].shape, source="torch", target=target)  # type: ignore[arg-type]
            values = (values[0], indices)
        return self._with_late_windows(layer, arrays[0].shape, values)

    def _checked(self, inputs: tuple[ArrayLike | None, ...]) -> list[AnyArray]:
        """Check number and dtypes of the inputs; what is left out at the end is dropped."""
        given = list(inputs)
        while given and given[-1] is None:
            given.pop()
        if not self.schema.min_input <= len(given) <= self.schema.max_input:
            raise value_error(self.where, f"{len(given)} arrays are given", f"{count_of(self.schema, 'input')} needed")
        arrays = []
        for parameter, value in zip(self.schema.inputs, given, strict=False):
            if value is None:
                raise value_error(self.where, f"the input {parameter.name} is missing", "only the last may be left out")
            array = as_array(self.where, parameter.name, value)
            refusal = _refused_dtype(parameter, array.dtype, self.opset)
            if refusal:
                raise type_error(self.where, refusal)
            arrays.append(array)
        return arrays

    def _with_late_windows(
        self, layer: Layer, shape: tuple[int, ...], values: tuple[AnyArray, ...]
    ) -> tuple[AnyArray, ...]:
        """Add the windows of ceil_mode that start behind the input, which layers never keep."""
        same = self.attributes.get("auto_pad", "").startswith("SAME")
        if self.opset >= CEIL_MODE_CLEAR or same or not self.attributes.get("ceil_mode"):
            return values
        late = [
            (number, axis)
            for number, axis in enumerate(layer.axes(shape), start=2)
            if has_window_starting_in_end_padding(axis)
        ]
        return tuple(self._extended(value, late, index) for index, value in enumerate(values))

    def _extended(self, value: AnyArray, late: list[tuple[int, Axis]], output: int) -> AnyArray:
        fills = [(self._of_nothing(value.dtype, axis, output), number) for number, axis in late]
        # A window is without any counted cell if it is so on one axis: NaN has the last word.
        for fill, number in sorted(fills, key=lambda pair: math.isnan(pair[0])):
            behind = [(0, int(other == number)) for other in range(value.ndim)]
            value = np.pad(value, behind, constant_values=np.asarray(fill).astype(value.dtype))
        return value

    def _of_nothing(self, dtype: np.dtype[Any], axis: Axis, output: int) -> float:
        """Return what a window behind the input gives as its value, or as its index."""
        if output == 1:
            return -1
        if self.operator == "MaxPool":
            return int(np.iinfo(dtype).min) if dtype.kind in "iu" else -math.inf
        if self.operator == "LpPool":
            return 0
        start = axis.output_size * axis.stride - axis.pad_begin
        counts = self.attributes.get("count_include_pad") and start < axis.input_size + axis.pad_end
        return 0 if counts else math.nan

    def _unpooled(self, layer: Layer, x: AnyArray, indices: AnyArray, output_shape: AnyArray | None = None) -> AnyArray:
        """Put elements to where ONNX's indices say."""
        if indices.shape != x.shape:
            raise ValueError(f"I has shape {indices.shape}, X {x.shape}; give each element one index")
        if output_shape is None:
            shape = layer.output_shape(x.shape)
        else:
            shape = self._given_shape(output_shape, x.shape)
            if not self._in_windows(indices, x.shape, shape):
                usual = layer.output_shape(x.shape)
                if self._in_windows(indices, x.shape, usual) and all(map(int.__le__, usual, shape)):
                    cells = np.unravel_index(indices, usual)
                    indices = np.ravel_multi_index(cells, shape).astype(np.int64)
        # Indices alone say where elements go. These windows lead to any shape, the layer's own only to some.
        kernel_size = tuple(size - pooled + 1 for size, pooled in zip(shape[2:], x.shape[2:], strict=True))
        unpool = type(layer)(kernel_size=kernel_size, stride=1)  # type: ignore[call-arg]
        places = pooling.convert_indices(indices, shape, source="onnx", target="torch")
        result: AnyArray = unpool(x, places)  # type: ignore[call-arg]
        return result

    def _given_shape(self, output_shape: AnyArray, pooled: tuple[int, ...]) -> tuple[int, ...]:
        shape = tuple(int(size) for size in output_shape.ravel())
        if output_shape.ndim != 1 or len(shape) != len(pooled) or shape[:2] != pooled[:2]:
            raise ValueError(
                f"output_shape is {list(shape)}; it must be one row of {len(pooled)} sizes that begins with the "
                f"batch and channels of X, {list(pooled[:2])}"
            )
        if any(size < least for size, least in zip(shape[2:], pooled[2:], strict=True)):
            raise ValueError(
                f"output_shape is {list(shape)}, which is smaller than X, {list(pooled)}; give the shape of the tensor "
                "that was pooled"
            )
        return shape

    def _in_windows(self, indices: AnyArray, pooled: tuple[int, ...], shape: tuple[int, ...]) -> bool:
        """Whether each index, counted in this shape, names a cell of the window that its element came from."""
        if indices.size == 0 or indices.min() < 0 or indices.max() >= math.prod(shape):
            return False
        arguments = _windows(self.where, self.attributes, pooled[2:])
        kernel = (1, 1, *arguments["kernel_size"])
        stride = (1, 1, *arguments["stride"])
        begins = (0, 0, *(begin for begin, _ in arguments["padding"]))
        for cell, own, taps, step, begin in zip(
            np.unravel_index(indices, shape), np.indices(pooled, sparse=True), kernel, stride, begins, strict=True
        ):
            offset = cell - (own * step - begin)
            if not ((offset >= 0) & (offset < taps)).all():
                return False
        return True


ONNX_NAMES = {"float32": "float", "float64": "double"}
"""dtypes that ONNX calls otherwise."""


def has_window_starting_in_end_padding(axis: Axis) -> bool:
    """Whether the ceiling gives one more window than the axis has: its last one stops short of the padded end."""
    reached = (axis.output_size - 1) * axis.stride + axis.effective_kernel_size
    return reached < axis.pad_begin + axis.input_size + axis.pad_end


def _read(function: str, node: Any, opset: Any) -> _Node:
    """Check a node, and read its attributes."""
    if not isinstance(node, onnx.NodeProto):
        raise type_error(function, f"node must be an onnx.NodeProto, not {type(node).__name__}")
    if isinstance(opset, bool) or not isinstance(opset, int):
        raise type_error(function, f"must be an integer, not {type(opset).__name__}", argument=("opset", opset))
    where = Place(function, _title(node))
    if node.op_type not in POOLING_OPERATORS or not is_default(node.domain):
        domain = f" of domain {node.domain!r}" if node.domain else ""
        raise value_error(
            function,
            f"{where.node}{domain} is not understood",
            f"known are {', '.join(sorted(POOLING_OPERATORS))}",
        )
    if opset < 1:
        raise value_error(
            where, f"opset={short_repr(opset)} must be at least 1", "read it from the model's opset_import"
        )
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, min(opset, LARGEST_OPSET), "")
    except onnx.defs.SchemaError:
        raise value_error(where, f"{node.op_type} does not exist in opset {opset}", "import a newer opset") from None
    attributes = _attributes(where, node, opset, schema)
    return _Node(where, node.op_type, opset, schema, attributes, len(node.output) > 1 and bool(node.output[1]))


def _title(node: onnx.NodeProto) -> str:
    """Name a node as a reader of the model can find it; many models name only the tensors."""
    if node.name or not node.output:
        return f"{node.op_type} node {node.name!r}"
    return f"{node.op_type} node with output {node.output[0]!r}"


def _attributes(where: str, node: onnx.NodeProto, opset: int, schema: Any) -> dict[str, Any]:
    """Return the attributes by name, after checking the node against the schema of its operator."""
    found = node_attributes(where, node, opset, schema)
    for name, rule in schema.attributes.items():
        # LpPool of opset 1 may leave it out, without saying what that would mean.
        if name not in found and (rule.required or name == "kernel_shape"):
            raise value_error(where, f"{name} is missing", "give one integer per spatial axis")
    _check_without_input(where, node.op_type, found)
    return found


def _check_without_input(where: str, operator: str, attributes: dict[str, Any]) -> None:
    """Check the attributes that say where windows lie as far as one can before the input is known."""
    if "kernel_shape" in attributes:
        dimensions = len(attributes["kernel_shape"])
        if dimensions not in LAYERS[operator]:
            raise value_error(
                where,
                f"kernel_shape={list(attributes['kernel_shape'])} must have 1 to 3 integers, one per spatial axis, "
                f"not {dimensions}",
            )
        for name, entries in {"strides": 1, "dilations": 1, "pads": 2}.items():
            _per_axis(where, attributes, name, entries * dimensions, (1,) * entries * dimensions)
    for name in ("ceil_mode", "count_include_pad", "storage_order"):
        if attributes.get(name, 0) not in (0, 1):
            raise value_error(where, f"{name}={attributes[name]} must be 0 or 1")
    auto_pad = attributes.get("auto_pad", "NOTSET")
    if auto_pad != "NOTSET" and auto_pad not in AUTO_PAD:
        raise value_error(
            where, f"auto_pad={auto_pad!r} is not a known name", f"use NOTSET, {', '.join(AUTO_PAD)}, or pads"
        )


def _windows(where: str, attributes: dict[str, Any], input_size: Sequence[int]) -> dict[str, Any]:
    """Translate the attributes that say where windows lie."""
    dimensions = len(input_size)
    ones = (1,) * dimensions
    arguments: dict[str, Any] = {
        "kernel_size": _per_axis(where, attributes, "kernel_shape", dimensions, ()),
        "stride": _per_axis(where, attributes, "strides", dimensions, ones),
        "dilation": _per_axis(where, attributes, "dilations", dimensions, ones),
        "ceil_mode": bool(attributes.get("ceil_mode", 0)),
    }
    pads = _per_axis(where, attributes, "pads", 2 * dimensions, (0,) * 2 * dimensions)
    arguments["padding"] = tuple(zip(pads[:dimensions], pads[dimensions:], strict=True))
    auto_pad = attributes.get("auto_pad", "NOTSET")
    if auto_pad == "NOTSET":
        return arguments
    # Many exporters write pads of nothing but zeros beside it.
    return {**arguments, "padding": AUTO_PAD[auto_pad]}


def _per_axis(
    where: str, attributes: dict[str, Any], name: str, length: int, default: tuple[int, ...]
) -> tuple[int, ...]:
    values = tuple(attributes.get(name, default))
    if len(values) != length:
        each = "two integers" if name == "pads" else "one integer"
        raise value_error(
            where, f"{name}={list(values)} must have {each} per spatial axis, {length} and not {len(values)}"
        )
    return values


def _brief(value: Any) -> Any:
    """Write an argument as a person would: one number where all axes have the same."""
    if not isinstance(value, tuple):
        return value
    if isinstance(value[0], tuple):
        if any(begin != end for begin, end in value):
            return value
        value = tuple(begin for begin, _ in value)
    return value[0] if len(set(value)) == 1 else value
