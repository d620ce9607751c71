"""A graph under construction, so that building one reads as the expression that it computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from pooling._version import __version__

__all__ = ["Dims", "Graph", "Value"]

Dims = tuple[int | str, ...]
"""A shape: sizes, and names for sizes that are known at run time only."""

Value = str | NDArray[Any] | np.generic
"""What a node takes: the name of a tensor, or an array that becomes a constant of the model."""


class Graph:
    """Nodes of one operator set, added by calling the graph with an operator and its inputs.

    ``graph("Mul", graph("AveragePool", x, kernel_shape=[2]), scale)`` adds two nodes and returns the name of the
    product. Nodes and constants get names that say where they belong: ``MaxPool2d/Mod``, ``MaxPool2d/Mod/B``.

    Parameters
    ----------
    opset : int
        Version of the default operator set; it decides which attributes and inputs an operator has.
    dtype : numpy.dtype
        Type of the tensors that are pooled.

    Attributes
    ----------
    scope : str
        First part of the names of the nodes that follow.
    """

    def __init__(self, opset: int, dtype: np.dtype[Any]) -> None:
        self.opset = opset
        self.dtype = dtype
        self.scope = ""
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __call__(self, operator: str, *inputs: Value, why: str = "", **keywords: Any) -> str:
        """Add a node and return the name of its first output; see `outputs`."""
        return self.outputs(1, operator, *inputs, why=why, **keywords)[0]

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
            If the operator, a keyword or an output does not exist in this opset.
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
        node = self._unused(f"{self.scope}/{operator}")
        names = tuple(node if i == 0 else f"{node}/{schema.outputs[i].name}" for i in range(count))
        self.nodes.append(
            helper.make_node(
                operator,
                [
                    value if isinstance(value, str) else self._constant(f"{node}/{name}", value)
                    for value, name in zip(given, input_names, strict=False)
                ],
                names,
                name=node,
                doc_string=why or None,
                **attributes,
            )
        )
        return names

    def has(self, operator: str, attribute: str) -> bool:
        """Whether the operator has the attribute in this opset."""
        return attribute in onnx.defs.get_schema(operator, self.opset, "").attributes

    def model(
        self, input_shape: Dims, results: Mapping[str, str], output_shape: Dims, description: str
    ) -> onnx.ModelProto:
        """Return the finished model.

        Parameters
        ----------
        input_shape, output_shape : tuple of int and str
            Of the tensor ``"input"`` and of every result.
        results : mapping
            From the name that a result shall have to the tensor that holds it; ``"indices"`` are int64.
        description : str
            Doc string of the graph.
        """
        final = {tensor: name for name, tensor in results.items()}
        for node in self.nodes:
            for tensors in (node.input, node.output):
                tensors[:] = [final.get(tensor, tensor) for tensor in tensors]
        graph = helper.make_graph(
            self.nodes,
            "pooling",
            [_described("input", self.dtype, input_shape)],
            [_described(name, np.int64 if name == "indices" else self.dtype, output_shape) for name in results],
            initializer=self.constants,
            doc_string=description,
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

    def _too_old(self, what: str, operator: str, has: Callable[[onnx.defs.OpSchema], bool]) -> ValueError:
        """Say since which opset something exists."""
        first = min(
            schema.since_version
            for schema in onnx.defs.get_all_schemas_with_history()
            if schema.name == operator and schema.domain == "" and has(schema)
        )
        return ValueError(f"to_onnx: opset={self.opset} lacks {what}, which this pooling needs; use opset >= {first}")


def _with_attribute(name: str) -> Callable[[onnx.defs.OpSchema], bool]:
    return lambda schema: name in schema.attributes


def _described(name: str, dtype: Any, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
