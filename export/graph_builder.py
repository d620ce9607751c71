"""A graph under construction, so that building one reads as the expression that it computes.

It stands on `onnx.helper` alone: the schemas that tell what an opset lacks are onnx's own, and nothing else has to be
installed. onnxscript writes functions for one opset at a time, and these graphs exist in every opset.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import helper, numpy_helper

from pooling._version import __version__
from pooling.errors import Refusal

__all__ = ["Dims", "GraphBuilder", "OpsetError", "Value"]

Dims = tuple[int | str, ...]
"""A shape: sizes, and names for sizes that are known at run time only."""

Value = str | NDArray[Any] | np.generic
"""What a node takes: the name of a tensor, or an array that becomes a constant of the model."""


class OpsetError(ValueError):
    """An opset lacks something that a pooling needs.

    Parameters
    ----------
    opset : int
        The opset.
    lacks : str
        What it lacks.
    needs_opset : int or None
        The first that has it; None where none has.
    """

    def __init__(self, opset: int, lacks: str, needs_opset: int | None) -> None:
        remedy = f"use opset >= {needs_opset}" if needs_opset else "no opset has it"
        self.refusal = Refusal("to_onnx", f"lacks {lacks}, which this pooling needs", remedy, "opset", str(opset))
        super().__init__(str(self.refusal))
        self.opset = opset
        self.lacks = lacks
        self.needs_opset = needs_opset


class GraphBuilder:
    """Nodes of one operator set, added by calling the graph with an operator and its inputs.

    ``graph("Mul", graph("AveragePool", x, kernel_shape=[2]), scale)`` adds two nodes and returns the name of the
    product. Nodes and constants get names that say where they belong: ``MaxPool2d/Mod``, ``MaxPool2d/Mod/B``. The type
    of every tensor is known, so that an operator which the operator set does not have for a type is refused.

    Parameters
    ----------
    opset : int
        Version of the default operator set; it decides which attributes, inputs and types an operator has.
    finite : bool
        Whether nobody puts NaN or an infinity into the model.

    Attributes
    ----------
    scope : str
        First part of the names of the nodes that follow.
    inputs : dict
        Inputs of the model with their shapes, in their order.
    dtypes : dict
        The type of each tensor, by its name.
    planes_are_fixed : bool
        Whether the nodes fit one number of maps and channels only, where these have no names.
    known : dict
        Tensors that are made once, by what they hold.
    detours : list of str
        Why nodes say more than the pooling does: what this operator set, or a runtime that reads it, lacks.
    """

    def __init__(self, opset: int, *, finite: bool = False) -> None:
        self.opset = opset
        self.finite = finite
        self.scope = ""
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: dict[str, Dims] = {}
        self.dtypes: dict[str, np.dtype[Any]] = {}
        self.planes_are_fixed = False
        self.known: dict[Hashable, str] = {}
        self.detours: list[str] = []
        self._final: dict[str, str] = {}

    def input(self, name: str, dtype: np.dtype[Any], shape: Dims) -> str:
        """Add an input of the model and return its name."""
        self.inputs[name] = shape
        self.dtypes[name] = dtype
        return name

    def __call__(self, operator: str, *inputs: Value, why: str = "", **keywords: Any) -> str:
        """Add a node and return the name of its first output; see `outputs`."""
        return self.outputs(1, operator, *inputs, why=why, **keywords)[0]

    def cast(self, x: str, dtype: DTypeLike, why: str = "") -> str:
        """Convert a tensor to a type, unless it has it."""
        wanted = np.dtype(dtype)
        if self.dtypes[x] == wanted:
            return x
        return self("Cast", x, to=helper.np_dtype_to_tensor_dtype(wanted), why=why)

    def outputs(self, count: int, operator: str, *inputs: Value, why: str = "", **keywords: Any) -> tuple[str, ...]:
        """Add a node and return the names of its first `count` outputs.

        Parameters
        ----------
        count : int
            Outputs to name.
        operator : str
            An operator of the default domain.
        *inputs : str or ndarray
            Names of tensors, and constants.
        why : str
            Becomes the node's doc string.
        **keywords
            Attributes by name. One that this opset has as an input instead, as ``axes`` of the reductions, is
            given as a constant.

        Raises
        ------
        ValueError
            If the operator, a keyword, an output or the type of an input does not exist in this opset.
        """
        try:
            schema = onnx.defs.get_schema(operator, self.opset, "")
        except onnx.defs.SchemaError:
            raise self._too_old(operator, operator, lambda _: True) from None
        if count > len(schema.outputs):
            raise self._too_old(f"a second output of {operator}", operator, lambda s: count <= len(s.outputs))
        given: list[Value] = list(inputs)
        attributes: dict[str, Any] = {}
        input_names = [formal.name for formal in schema.inputs]
        for name, value in keywords.items():
            if name in schema.attributes:
                attributes[name] = value
            elif len(given) < len(input_names) and input_names[len(given)] == name:
                given.append(np.array(value, np.int64))
            else:
                raise self._too_old(f"{name} of {operator}", operator, _with_attribute(name))
        types = self._types(schema, given)
        node = self._unused(f"{self.scope}/{operator}")
        names = tuple(node if i == 0 else f"{node}/{schema.outputs[i].name}" for i in range(count))
        self.nodes.append(
            helper.make_node(
                operator,
                [
                    value if isinstance(value, str) else self._constant(f"{node}/{_formal_name(schema, i)}", value)
                    for i, value in enumerate(given)
                ],
                names,
                name=node,
                doc_string=why or None,
                **attributes,
            )
        )
        for name, formal in zip(names, schema.outputs, strict=False):
            self.dtypes[name] = self._output_type(formal, types, attributes)
        return names

    def _types(self, schema: onnx.defs.OpSchema, given: Sequence[Value]) -> dict[str, np.dtype[Any]]:
        """Find what each type variable of an operator stands for, refusing types that this opset lacks."""
        types: dict[str, np.dtype[Any]] = {}
        for i, value in enumerate(given):
            position = min(i, len(schema.inputs) - 1)
            formal = schema.inputs[position]
            dtype = self.dtypes[value] if isinstance(value, str) else np.asarray(value).dtype
            types[formal.type_str] = dtype
            if _type_name(dtype) not in formal.types:
                has = _with_type(position, _type_name(dtype))
                raise self._too_old(f"{schema.name} of {dtype.name}", schema.name, has)
        return types

    def _output_type(self, formal: Any, types: Mapping[str, Any], attributes: Mapping[str, Any]) -> np.dtype[Any]:
        if formal.type_str in types:
            known: np.dtype[Any] = types[formal.type_str]
            return known
        if "to" in attributes:
            return helper.tensor_dtype_to_np_dtype(attributes["to"])
        if "value" in attributes:
            return helper.tensor_dtype_to_np_dtype(attributes["value"].data_type)
        (only,) = formal.types
        return np.dtype(np.bool_) if only == "tensor(bool)" else np.dtype(np.int64)

    def detour(self, why: str) -> str:
        """Record why nodes say more than the pooling does, and return it."""
        self.detours.append(why)
        return why

    def has(self, operator: str, attribute: str) -> bool:
        """Whether this opset has the operator with the attribute."""
        try:
            return attribute in onnx.defs.get_schema(operator, self.opset, "").attributes
        except onnx.defs.SchemaError:
            return False

    def final(self, tensor: str) -> str:
        """Return the name that a tensor has in the finished model."""
        return self._final.get(tensor, tensor)

    def model(self, results: Mapping[str, tuple[str, Dims]], description: str) -> onnx.ModelProto:
        """Return the finished model.

        Parameters
        ----------
        results : mapping
            From the name that a result shall have to the tensor that holds it, and its shape.
        description : str
            Begins the doc string of the graph, which also says why types are converted.
        """
        casts = dict.fromkeys(node.doc_string for node in self.nodes if node.op_type == "Cast" and node.doc_string)
        self._final = {tensor: name for name, (tensor, _) in results.items()}
        for node in self.nodes:
            for tensors in (node.input, node.output):
                tensors[:] = [self.final(tensor) for tensor in tensors]
        graph = helper.make_graph(
            self.nodes,
            "pooling",
            [_described(name, self.dtypes[name], shape) for name, shape in self.inputs.items()],
            [_described(name, self.dtypes[tensor], shape) for name, (tensor, shape) in results.items()],
            initializer=self.constants,
            doc_string="\n".join([description, *casts]),
        )
        imports = [helper.make_opsetid("", self.opset)]
        return helper.make_model(
            graph,
            opset_imports=imports,
            # Below version 4 of the format, constants would have to be inputs as well.
            ir_version=max(4, helper.find_min_ir_version_for(imports)),
            producer_name="pooling",
            producer_version=__version__,
        )

    def _constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _unused(self, name: str) -> str:
        used = {node.name for node in self.nodes}
        numbered = (f"{name}_{number}" for number in range(2, len(used) + 3))
        return next(each for each in (name, *numbered) if each not in used)

    def _too_old(self, what: str, operator: str, has: Callable[[onnx.defs.OpSchema], bool]) -> OpsetError:
        """Say since which opset something exists."""
        since = [
            schema.since_version
            for schema in onnx.defs.get_all_schemas_with_history()
            if schema.name == operator and schema.domain == "" and has(schema)
        ]
        return OpsetError(self.opset, what, min(since, default=None))


def _with_attribute(name: str) -> Callable[[onnx.defs.OpSchema], bool]:
    return lambda schema: name in schema.attributes


def _with_type(position: int, name: str) -> Callable[[onnx.defs.OpSchema], bool]:
    return lambda schema: position < len(schema.inputs) and name in schema.inputs[position].types


def _formal_name(schema: onnx.defs.OpSchema, position: int) -> str:
    """Name an input; operators like Concat have one name for any number of them."""
    last = len(schema.inputs) - 1
    behind = position - last
    return f"{schema.inputs[min(position, last)].name}{behind + 1 if behind > 0 else ''}"


def _type_name(dtype: np.dtype[Any]) -> str:
    """Name a type as schemas do."""
    name = {"float32": "float", "float64": "double"}.get(dtype.name, dtype.name)
    return f"tensor({name})"


def _described(name: str, dtype: Any, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
