"""What a network is made of before it has a size, and what the record of an operator gives for one step of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.geometry import Axis
from pooling.layer import Layer

from ..receptive_field import View

__all__ = [
    "ARGUMENTS",
    "Branch",
    "Culprit",
    "Node",
    "NodeCall",
    "OperatorError",
    "Outcome",
    "Rule",
    "Shape",
    "Tensor",
    "UnknownShapeError",
]

Shape = tuple[int, ...]
FLOAT = np.dtype(np.float32)
ARGUMENTS = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
"""What can be changed of a stage."""


class OperatorError(ValueError):
    """Why a stage does not work, in a sentence that does not name it."""


@dataclass(frozen=True)
class Culprit:
    """The operator behind which something is not known.

    Attributes
    ----------
    name, operator : str
        As the stage has them; of a node that works on sizes alone those of the node, which is no stage.
    why : str
        The reason, as a clause.
    """

    name: str
    operator: str
    why: str


@dataclass(frozen=True, eq=False)
class Tensor:
    """What is known of a tensor at one input size.

    Attributes
    ----------
    shape : tuple of int or None
        None where it is not known.
    dtype : numpy.dtype or None
        None where NumPy has no such type, or where it is not known.
    view : View, optional
        What it shows of the input, where it has spatial axes.
    source : str
        The stage that it comes from, or the network's input; empty for what no data is in: weights and sizes.
    value : array, optional
        Of small tensors that no data is in.
    weights : mapping
        By name, how many parameters it is made of.
    padded : tuple of pairs
        Of what a Pad gives, the cells that it added before and behind each axis; empty for all else.
    culprit : Culprit or None
        The first operator on the way behind which its shape, its fields or its value are not known.
    ended : bool
        Whether it is no map any more: it was pooled, flattened or multiplied, or does not depend on the input.
    scattered : Culprit or None
        Of what has ended, the operator that put the places of a map into an order that is not followed.
    """

    shape: Shape | None
    dtype: np.dtype[Any] | None = FLOAT
    view: View | None = None
    source: str = ""
    value: NDArray[Any] | None = None
    weights: Mapping[str, int] = field(default_factory=dict)
    padded: tuple[tuple[int, int], ...] = ()
    culprit: Culprit | None = None
    ended: bool = False
    scattered: Culprit | None = None

    @property
    def is_lost(self) -> bool:
        """Whether data are in it of which it is not known what they show of the input."""
        return bool(self.source) and not self.ended and not (self.view is not None and self.view.paths)

    @property
    def sizes(self) -> Shape:
        """The spatial sizes."""
        return () if self.view is None or self.shape is None else self.view.sizes(self.shape)


@dataclass(frozen=True, eq=False)
class Node:
    """One step of a network, at any size.

    Attributes
    ----------
    name, operator : str
        As the stage has them.
    inputs, outputs : tuple of str
        Names of tensors; an empty name is an input that is left out.
    attributes : mapping
        By their names in ONNX.
    opset : int
        Version of the operator.
    layer : callable, optional
        Gives the layer of a pooling node for the shape of its input.
    infer : callable, optional
        Gives the shape and type of each output, for operators without a rule of ours.
    changes : mapping
        Arguments that take the place of others.
    known : bool
        Whether the operator exists in this version.
    evaluate : callable, optional
        Gives the results for inputs whose values are known, for operators without a rule of ours for that; None where
        it cannot.
    branches : mapping
        Of control flow, by the name of an attribute, the nodes of a graph inside, and names of what goes in and out.
    rule : callable, optional
        Takes the place of the operator's record.
    source_line : str
        File and line of the code that called the operator, where that is known.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 0
    layer: Callable[[Shape], Layer] | None = None
    infer: Callable[[Sequence[Tensor | None]], Sequence[tuple[Shape | None, np.dtype[Any] | None]]] | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    known: bool = True
    evaluate: Callable[[Sequence[NDArray[Any] | None]], Sequence[NDArray[Any]] | None] | None = None
    branches: Mapping[str, Branch] = field(default_factory=dict)
    rule: Callable[[NodeCall], Outcome] | None = None
    source_line: str = ""


@dataclass(frozen=True, eq=False)
class Branch:
    """A graph inside of a node; attributes as those of a node."""

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class NodeCall:
    """A node at one input size: what a rule is given."""

    node: Node
    tensors: tuple[Tensor | None, ...]

    @property
    def operator(self) -> str:
        """The operator."""
        return self.node.operator

    @property
    def from_text(self) -> bool:
        """Whether the node is of a list of layers, so that its weight follows from its input."""
        return self.attribute("out_channels") is not None

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return the value of an attribute."""
        return self.node.attributes.get(name, default)

    def tensor(self, number: int) -> Tensor | None:
        """Return an input, None where it is left out."""
        return self.tensors[number] if number < len(self.tensors) else None

    def shape(self, number: int) -> Shape:
        """Return the shape of an input, which must be known."""
        tensor = self.tensor(number)
        if tensor is None:
            raise OperatorError(f"it has no input {number}; {self.operator} needs one")
        if tensor.shape is None:
            raise UnknownShapeError(self.node.inputs[number])
        return tensor.shape

    def value(self, number: int, name: str = "") -> list[int] | None:
        """Return integers that are an input, or in early opsets an attribute; None where there are none."""
        tensor = self.tensor(number)
        if tensor is None:
            given = self.attribute(name) if name else None
            return None if given is None else list(given)
        if tensor.value is None:
            raise UnknownShapeError(self.node.inputs[number])
        if tensor.value.dtype.kind not in "iu":
            raise OperatorError(
                f"its input {self.node.inputs[number]!r} must hold integers, not {tensor.value.dtype.name}"
            )
        return [int(each) for each in tensor.value.ravel()]

    def axis(self, axis: int, rank: int) -> int:
        """Return the number of an axis of a tensor, counted from the front."""
        if not -rank <= axis < rank:
            raise OperatorError(f"axis={axis} does not exist in a tensor of {rank} axes; use {-rank} to {rank - 1}")
        return axis % rank

    def axes(self, given: Iterable[int], rank: int) -> list[int]:
        """Return the numbers of axes, counted from the front."""
        return [self.axis(axis, rank) for axis in given]

    @property
    def view(self) -> View | None:
        """What the first input shows of the network's input."""
        tensor = self.tensor(0)
        return None if tensor is None else tensor.view


class UnknownShapeError(Exception):
    """A tensor whose shape or value a rule needs is not known."""

    def __init__(self, tensor: str) -> None:
        super().__init__(tensor)
        self.tensor = tensor


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a rule makes of a call; attributes as those of a stage."""

    kind: str
    shapes: Sequence[Shape | None]
    view: View | None = None
    axes: tuple[Axis, ...] = ()
    layer: Layer | None = None
    macs: int = 0
    free_parameters: int = 0
    """Parameters of a node whose weights follow from the size of its input."""
    dtypes: Sequence[np.dtype[Any] | None] = ()
    values: Sequence[NDArray[Any] | None] = ()
    note: str = ""
    views: Sequence[View | None] = ()
    """Of each result, where they differ."""
    padded: tuple[tuple[int, int], ...] = ()
    """As that of a tensor."""


Rule = Callable[[NodeCall], Outcome]
"""Gives what comes out of a node, for one input size."""
