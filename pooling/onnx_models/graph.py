"""The graphs of a model, its own, those inside of its nodes, and its functions: nodes, attributes, names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import onnx
from onnx import helper

__all__ = [
    "Container",
    "Names",
    "Scope",
    "all_nodes",
    "attribute",
    "attributes_of",
    "default_opset",
    "imported_versions",
    "is_default",
    "scopes_of",
    "subgraphs",
    "uses",
]

Container = onnx.GraphProto | onnx.FunctionProto


def is_default(domain: str) -> bool:
    """Whether a domain is that of ONNX's own operators."""
    return domain in ("", "ai.onnx")


def default_opset(imports: Sequence[onnx.OperatorSetIdProto]) -> int | None:
    """Return the version of the default operator set, or None; of several entries the last, as onnxruntime does."""
    return imported_versions(imports).get("")


def imported_versions(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Return the versions that are imported, by domain; of several entries the last."""
    return {"" if is_default(each.domain) else str(each.domain): int(each.version) for each in imports}


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


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Return the value of an attribute."""
    found = next((each for each in node.attribute if each.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


@dataclass(frozen=True, eq=False)
class Scope:
    """A graph or a function of a model."""

    container: Container
    """Its nodes."""
    path: str
    """Where in the model it is."""
    opset: int | None
    """Version of the default operator set of its nodes; None where no version is imported."""
    outer: Scope | None = field(default=None, repr=False)
    """The graph around it, whose tensors its nodes may read."""

    @property
    def inputs(self) -> list[str]:
        """Names of what comes from outside or with the model."""
        if isinstance(self.container, onnx.FunctionProto):
            return list(self.container.input)
        brought = [*self.container.initializer, *(each.values for each in self.container.sparse_initializer)]
        return list(dict.fromkeys(each.name for each in (*self.container.input, *brought)))

    @property
    def outputs(self) -> list[str]:
        """Names of what goes outside."""
        if isinstance(self.container, onnx.FunctionProto):
            return list(self.container.output)
        return [each.name for each in self.container.output]

    def producer(self, tensor: str) -> onnx.NodeProto | None:
        """Return the node of this very scope that writes a tensor."""
        return next((node for node in self.container.node if tensor in node.output), None)

    def as_it_is_now(self) -> Scope:
        """Copy it without what it remembers of its tensors, which is as it was when somebody asked first."""
        return replace(self, outer=None if self.outer is None else self.outer.as_it_is_now())

    @cached_property
    def producers(self) -> dict[str, onnx.NodeProto]:
        """The nodes of this very scope, by the tensors that they write."""
        return {name: node for node in self.container.node for name in node.output if name}

    @cached_property
    def weights(self) -> dict[str, onnx.TensorProto]:
        """The initializers of this very scope, by name."""
        container = self.container
        return {each.name: each for each in container.initializer} if isinstance(container, onnx.GraphProto) else {}

    @cached_property
    def taken(self) -> frozenset[str]:
        """Names of what is given to it."""
        container = self.container
        named = [each.name for each in container.input] if isinstance(container, onnx.GraphProto) else container.input
        return frozenset(named)

    @cached_property
    def made(self) -> set[str]:
        """Tensors of which it is known that they follow from no input."""
        return set()

    def home(self, tensor: str) -> Scope | None:
        """Return where a tensor comes from: this scope or one around it."""
        scope: Scope | None = self
        while scope and not (tensor in scope.taken or tensor in scope.producers or tensor in scope.weights):
            scope = scope.outer
        return scope


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes of a node by name, as they stand."""
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def scopes_of(model: onnx.ModelProto) -> Iterator[Scope]:
    """Yield the graph of a model and those inside of it, each behind the one around it, then its functions."""

    def within(scope: Scope) -> Iterator[Scope]:
        yield scope
        for node in scope.container.node:
            for name, graph in subgraphs(node):
                title = node.name or next(iter(node.output), node.op_type)
                yield from within(Scope(graph, f"{scope.path}/{title}.{name}", scope.opset, scope))

    yield from within(Scope(model.graph, "graph", default_opset(model.opset_import)))
    for function in model.functions:
        yield from within(Scope(function, f"{function.domain}::{function.name}", default_opset(function.opset_import)))


def uses(container: Container) -> dict[str, int]:
    """Count how often each tensor is read by nodes, inside of their graphs too, or given back."""
    counts: dict[str, int] = {}

    def count(part: Container) -> None:
        results = part.output if isinstance(part, onnx.FunctionProto) else [each.name for each in part.output]
        for name in (*results, *(name for node in part.node for name in node.input)):
            counts[name] = counts.get(name, 0) + 1
        for node in part.node:
            for _, graph in subgraphs(node):
                count(graph)

    count(container)
    return counts


class Names:
    """The names that a model uses for tensors and nodes."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._used: set[str] = set()
        for scope in scopes_of(model):
            self._used.update(scope.inputs)
            for node in scope.container.node:
                self._used.update((node.name, *node.input, *node.output))

    def new(self, wish: str) -> str:
        """Return a name that is not in use, like the one that is wished for."""
        number, name = 1, wish
        while name in self._used:
            number += 1
            name = f"{wish}_{number}"
        self._used.add(name)
        return name
