"""The walk of `Graph.infer` for many input sizes: what was worked out at one size is not worked out again.

Behind some strides neighbouring input sizes give maps of one size, and behind a global pooling all of them do. So the
result of a node is kept by the tensors that it reads: equal tensors have one number, and a node that meets the same
numbers again costs one look into a table. Receptive fields are not followed.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from pooling.geometry import Axis

from ..operators import OPERATORS
from ..operators.nodes import Node, Tensor
from .control import reads
from .graph import Graph, step_of
from .network import NetworkError, Stage

__all__ = ["SizeWalk", "cut_axes", "plain"]

FIELDS = tuple(each.name for each in fields(Tensor))
MOST_KEPT = 2**18
"""Results that are kept; then the table starts anew."""
ABSENT = 0
"""The number of a tensor that is not there."""

Cuts = frozenset[int]
Result = tuple[tuple[int, ...], Cuts]
"""The numbers of the tensors that a node gives, and where its windows leave cells out."""
Planned = tuple[int, Node, tuple[int, ...], tuple[int, ...]]
"""The number of a node, which those share that do the same, the node, and the places that it reads and writes."""
OWN = frozenset(["name", "inputs", "outputs", "source_line", "infer", "evaluate"])
"""Fields of a node that do not tell what it does, where its operator is known."""


def cut_axes(stage: Stage, dimensions: int) -> Cuts:
    """Return the spatial axes, counted from 0, on which the windows of a stage leave out cells at the end."""
    if stage.kind not in ("convolution", "pooling") or len(stage.axes) != dimensions:
        return frozenset()
    return _cut(stage.axes)


def _cut(axes: Sequence[Axis]) -> Cuts:
    return frozenset(number for number, axis in enumerate(axes) if axis.cut)


class SizeWalk:
    """A graph that is walked at many input sizes.

    Examples
    --------
    >>> from pooling.doctor import read_graph
    >>> walk = SizeWalk(read_graph("conv3 pool2 conv3 pool2"))
    >>> [sorted(walk.at((1, 3, size, 8))) for size in (8, 9, 10)]
    [[], [0], [0]]
    >>> walk.at((1, 3, 3, 3)).stage
    'pool2'
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._forget()

    def at(self, shape: Sequence[int], changes: Mapping[str, Mapping[str, Any]] | None = None) -> Cuts | NetworkError:
        """Return the axes on which some window leaves cells out at an input shape, or why the network fails there.

        Parameters
        ----------
        shape : sequence of int
            Of the input.
        changes : mapping, optional
            Other arguments of some stages, as `Graph.edited` takes them.
        """
        if not self.graph.is_open:
            return self._inferred(tuple(shape), changes)
        if len(self._results) > MOST_KEPT:
            self._forget()
        try:
            given, nodes, spatial = self.graph.started(tuple(shape), follow=False)
        except NetworkError as error:
            return error
        plan = self._planned(given, nodes)
        slots = list(self._fixed)
        for name, place in self._inputs.items():
            slots[place] = self._number(given[name])
        found: Cuts = frozenset()
        results = self._results
        for number, node, inputs, writes in plan:
            if changes and node.name in changes:
                number, node = self._edited(number, node, changes[node.name])
            key = (number, *[slots[place] for place in inputs])
            result = results.get(key)
            if result is None:
                new = self._worked_out(node, key[1:], len(spatial))
                if isinstance(new, NetworkError):
                    return NetworkError(str(new), new.stage, tuple(shape))
                result = results[key] = new
            outputs, cuts = result
            if cuts:
                found = found | cuts
            for place, output in zip(writes, outputs, strict=True):
                slots[place] = output
        return found

    def quickly(self, shape: Sequence[int]) -> Cuts | NetworkError:
        """Return what `at` does; the error need not tell why the network fails."""
        windows = None if self.graph.is_open else self.graph.windows(tuple(shape))
        if windows is None:
            return self.at(shape)
        if isinstance(windows, NetworkError):
            return windows
        count = len(self._spatial(tuple(shape)))
        return frozenset().union(*(_cut(each) for each in windows if len(each) == count))

    def _spatial(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.graph.spatial or (tuple(range(2, len(shape))) if 3 <= len(shape) <= 5 else ())

    def _inferred(self, shape: tuple[int, ...], changes: Mapping[str, Mapping[str, Any]] | None) -> Cuts | NetworkError:
        try:
            network = (self.graph.edited(changes) if changes else self.graph).infer(shape)
        except NetworkError as error:
            return error
        cuts = [cut_axes(stage, len(network.spatial)) for stage in network.stages]
        return frozenset().union(*cuts)

    def _forget(self) -> None:
        self._tensors: list[Tensor | None] = [None]
        self._numbers: dict[Hashable, int] = {}
        self._results: dict[tuple[int, ...], Result] = {}
        self._plan: list[Planned] = []
        self._fixed: list[int] = []
        self._inputs: dict[str, int] = {}
        self._edits: dict[Hashable, tuple[int, Node]] = {}

    def _edited(self, number: int, node: Node, arguments: Mapping[str, Any]) -> tuple[int, Node]:
        """Return a node with other arguments, and a number that tells it from the one without."""
        key = (number, repr(sorted(arguments.items())))
        if key not in self._edits:
            changed = replace(node, changes={**node.changes, **arguments})
            self._edits[key] = (len(self._plan) + len(self._edits), changed)
        return self._edits[key]

    def _planned(self, given: Mapping[str, Tensor], nodes: Sequence[Node]) -> list[Planned]:
        """Give every tensor a place in one list; return the places that each node reads and writes."""
        if self._plan or not nodes:
            return self._plan
        settled, _ = self.graph.settled
        places = {"": 0}  # an input or output that is left out
        self._fixed = [ABSENT]

        def place(name: str) -> int:
            if name not in places:
                places[name] = len(places)
                self._fixed.append(self._number(settled[name]) if name in settled else ABSENT)
            return places[name]

        self._inputs = {name: place(name) for name in given if name not in settled}
        numbers: dict[Hashable, int] = {}
        self._plan = [
            (number, node, tuple(map(place, reads(node))), tuple(map(place, node.outputs)))
            for node in nodes
            for number in [numbers.setdefault(_what(node), len(numbers))]
        ]
        return self._plan

    def _number(self, tensor: Tensor) -> int:
        """Return the number of a tensor; equal ones share it, whichever stage they come from."""
        if tensor.source or tensor.weights:
            tensor = replace(tensor, source=tensor.source and "data", weights={})
        key = tuple(plain(getattr(tensor, name)) for name in FIELDS)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._tensors)
            self._tensors.append(tensor)
        return number

    def _worked_out(self, node: Node, numbers: Sequence[int], dimensions: int) -> Result | NetworkError:
        found = {
            name: tensor
            for name, number in zip(reads(node), numbers, strict=True)
            if name and (tensor := self._tensors[number]) is not None
        }
        try:
            cuts = [cut_axes(stage, dimensions) for stage in step_of(node, found)]
        except NetworkError as error:
            return error
        outputs = tuple(self._number(found[name]) if name in found else ABSENT for name in node.outputs)
        return outputs, frozenset().union(*cuts)


def _what(node: Node) -> Hashable:
    """Return what is equal for nodes that do the same with the same tensors."""
    if node.branches or node.operator not in OPERATORS:
        return id(node)
    empty = tuple(map(bool, node.inputs)), tuple(map(bool, node.outputs))
    key = (empty, *(plain(getattr(node, each.name)) for each in fields(Node) if each.name not in OWN))
    try:
        hash(key)
    except TypeError:  # of attributes of ONNX that are lists or graphs
        return id(node)
    return key


def plain(value: Any) -> Hashable:
    """Return what is equal for equal values, arrays and mappings among them."""
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, Mapping):
        return tuple((name, plain(each)) for name, each in value.items())
    if isinstance(value, list):
        return tuple(map(plain, value))
    return value  # type: ignore[no-any-return]
