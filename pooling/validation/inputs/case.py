"""Cases: one pooling node, the numbers that it pools, and the rules that it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.onnx_models.making import ModelProto, NodeProto, make_node, small_model, tensor_info

__all__ = ["GRADIENT", "Case", "make_case", "single_node"]

Numbers = NDArray[Any]
GRADIENT = "gradient of the result"
"""The input with which a case asks for the gradient of what is pooled, and not for the result."""


@dataclass(frozen=True, eq=False)
class Case:
    """One node on some numbers.

    Attributes
    ----------
    name : str
        Unique among the cases of a run, and fit for a file.
    model : ModelProto
        One node; every input has its shape.
    inputs : mapping of str to ndarray
        By the names that the model gives them, in its order.
    data : str
        What the numbers are, in a few words.
    rules : tuple of str
        Keys of `pooling.validation.rules.RULES` that the case is made to test, the most important first; none for one
        that only has to be right.

    Examples
    --------
    >>> import numpy as np
    >>> import onnx.parser
    >>> from pooling.validation import Case
    >>> model = onnx.parser.parse_model(
    ...     '<ir_version: 8, opset_import: ["": 18]> g (float[1, 1, 4] x) => (float[1, 1, 2] y)'
    ...     "{ y = MaxPool <kernel_shape = [2], strides = [2]> (x) }"
    ... )
    >>> case = Case("pairs", model, {"x": np.array([[[1, 3, 2, 0]]], np.float32)})
    >>> case.name, case.model.graph.node[0].op_type, case.inputs["x"].shape
    ('pairs', 'MaxPool', (1, 1, 4))
    """

    name: str
    model: ModelProto
    inputs: Mapping[str, Numbers]
    data: str = ""
    rules: tuple[str, ...] = ()

    @property
    def node(self) -> NodeProto:
        """The node."""
        node: NodeProto = self.model.graph.node[0]
        return node

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return int(self.model.opset_import[0].version)

    @property
    def arrays(self) -> tuple[Numbers, ...]:
        """The inputs, in the order of the node."""
        return tuple(self.inputs[name] for name in self.node.input if name)

    @property
    def array(self) -> Numbers:
        """What is pooled."""
        return self.arrays[0]

    @property
    def gradient(self) -> Numbers | None:
        """The gradient of the first result, where the case asks for that of what is pooled; else None."""
        return self.inputs.get(GRADIENT)


def single_node(node: NodeProto, opset: int, inputs: Mapping[str, Numbers]) -> ModelProto:
    """Make a model of one pooling node and the shapes of its inputs.

    The node keeps its name and attributes; sizes of the results are left to whoever runs it.
    """
    arrays = [inputs[name] for name in node.input if name]
    kinds = [arrays[0].dtype, np.dtype(np.int64)]
    rank = [None] * arrays[0].ndim
    taken = [tensor_info(name, inputs[name].dtype, inputs[name].shape) for name in node.input if name]
    given = [tensor_info(name, kind, rank) for name, kind in zip(node.output, kinds, strict=False) if name]
    return small_model([node], taken, given, {"": opset})


def make_case(
    operator: str,
    inputs: Numbers | Sequence[Numbers],
    opset: int = 22,
    *,
    name: str = "",
    data: str = "",
    rules: Sequence[str] = (),
    outputs: int = 1,
    gradient: Numbers | None = None,
    **attributes: Any,
) -> Case:
    """Make a case of an operator, its attributes and its numbers.

    Parameters
    ----------
    operator : str
        Of the default domain.
    inputs : ndarray or sequence of ndarray
        What the node pools, and what else it takes.
    opset : int
        Version of the default operator set.
    name, data, rules
        As in `Case`.
    outputs : int
        2 for the indices of a maximum.
    gradient : ndarray, optional
        Gradient of the result, to ask for that of what is pooled.
    **attributes
        Of the node.

    Returns
    -------
    Case

    Examples
    --------
    >>> import numpy as np
    >>> case = make_case("MaxPool", np.zeros((1, 1, 5), np.float32), kernel_shape=[3], strides=[2], ceil_mode=1)
    >>> case.node.op_type, case.opset, case.array.shape
    ('MaxPool', 22, (1, 1, 5))
    """
    arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
    names = ["x", "indices", "output_shape"][: len(arrays)] if operator == "MaxUnpool" else ["x"]
    results = ["y", "i"][:outputs]
    node = make_node(operator, names, results, name=operator.lower(), **attributes)
    model = single_node(node, opset, dict(zip(names, arrays, strict=True)))
    asked = {} if gradient is None else {GRADIENT: gradient}
    given = {**dict(zip(names, arrays, strict=True)), **asked}
    return Case(name or operator.lower(), model, given, data, tuple(rules))
