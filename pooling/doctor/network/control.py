"""Control flow: the branch of an If that is taken, and the rounds of a Loop one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pooling.errors import refusal_of

from ..operators import outcome_of
from ..operators.nodes import Branch, Node, NodeCall, OperatorError, Shape, Tensor

__all__ = ["MOST_ROUNDS", "expanded", "reads"]

MOST_ROUNDS = 32
"""Rounds of a Loop that are followed one by one."""
BRANCHES = ("then_branch", "else_branch")

Tensors = Mapping[str, Tensor]


def expanded(node: Node, tensors: Tensors) -> Iterator[Node]:
    """Yield the nodes that run in the place of one: itself, or those inside of it.

    Parameters
    ----------
    node : Node
    tensors : mapping
        What is known of all tensors so far; read as it is when the next node is asked for.
    """
    if node.operator == "If" and set(BRANCHES) <= set(node.branches):
        yield from _chosen(node, tensors)
    elif node.operator == "Loop" and "body" in node.branches:
        yield from _rounds(node, tensors)
    else:
        yield node


def reads(node: Node) -> tuple[str, ...]:
    """Return the tensors that a node reads, those that graphs inside of it read from outside among them."""
    found = dict.fromkeys(node.inputs)
    for branch in node.branches.values():
        own = {*branch.inputs, *(name for inner in branch.nodes for name in inner.outputs)}
        found.update(dict.fromkeys(name for inner in branch.nodes for name in reads(inner) if name not in own))
        found.update(dict.fromkeys(name for name in branch.outputs if name not in own))
    return tuple(found) if node.branches else node.inputs


def _chosen(node: Node, tensors: Tensors) -> Iterator[Node]:
    condition = _value(tensors, node.inputs[0])
    if condition is None:
        yield replace(node, infer=lambda _: _common(node, tensors))
        return
    branch = node.branches[BRANCHES[0] if condition else BRANCHES[1]]
    for each in branch.nodes:
        yield from expanded(each, tensors)
    yield from _handed_on(node, branch.outputs, node.outputs)


def _value(tensors: Tensors, name: str) -> Any:
    """Return what a tensor of one element holds, None where that is not known."""
    tensor = tensors.get(name)
    value = None if tensor is None or tensor.source else tensor.value
    return None if value is None or value.size != 1 else value.item()


def _handed_on(node: Node, names: Sequence[str], outputs: Sequence[str]) -> Iterator[Node]:
    """Yield what gives the results of a graph inside the names that they have outside."""
    for number, (name, output) in enumerate(zip(names, outputs, strict=False)):
        if output:
            title = node.name if not number else f"{node.name}/{number + 1}"
            yield Node(title, "Identity", (name,), (output,), opset=node.opset)


def _common(node: Node, tensors: Tensors) -> list[tuple[Shape | None, np.dtype[Any] | None]]:
    """Return the shapes and types that both branches give, None where they differ."""
    found: list[list[Tensor | None]] = []
    for name in BRANCHES:
        branch = node.branches[name]
        local = dict(tensors)
        for inner in branch.nodes:
            for each in expanded(inner, local):
                _tried(each, local)
        found.append([local.get(each) for each in branch.outputs])
    result: list[tuple[Shape | None, np.dtype[Any] | None]] = []
    for one, other in zip(*found, strict=True):
        same = one is not None and other is not None and one.shape == other.shape
        result.append((one.shape if one is not None and same else None, None if one is None else one.dtype))
    return result


def _tried(node: Node, tensors: dict[str, Tensor]) -> None:
    """Work out the shapes that a node gives, as far as that goes."""
    given = tuple(tensors.get(name, Tensor(None, None)) if name else None for name in node.inputs)
    try:
        outcome = outcome_of(NodeCall(node, given))
    except (OperatorError, ValueError, TypeError, OverflowError) as error:
        refusal_of(error)
        return
    data = any(tensor is not None and tensor.source for tensor in given)
    dtypes = tuple(outcome.dtypes) or (given[0].dtype if given and given[0] is not None else None,)
    for number, name in enumerate(node.outputs):
        if name:
            shape = outcome.shapes[number] if number < len(outcome.shapes) else None
            value = outcome.values[number] if number < len(outcome.values) and not data else None
            dtype = dtypes[min(number, len(dtypes) - 1)] if value is None else value.dtype
            tensors[name] = Tensor(shape, dtype, source=node.name if data else "", value=value)


def _rounds(node: Node, tensors: Tensors) -> Iterator[Node]:
    body = node.branches["body"]
    count = _value(tensors, node.inputs[0]) if node.inputs and node.inputs[0] else None
    go_on = _value(tensors, node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] else True
    carried = len(body.inputs) - 2
    if count is None or not 0 <= count <= MOST_ROUNDS or go_on is None or not _always_goes_on(body, tensors):
        yield node
        return
    count = int(count) if go_on else 0
    scanned: list[list[str]] = [[] for _ in body.outputs[1 + carried :]]
    state = list(node.inputs[2 : 2 + carried])
    if not count and scanned:
        yield node  # results without elements
        return
    for number in range(count):
        known = {
            body.inputs[0]: f"{node.name}[{number}] number",
            body.inputs[1]: node.inputs[1] or f"{node.name}[{number}] goes on",
            **dict(zip(body.inputs[2:], state, strict=True)),
        }
        yield _constant(known[body.inputs[0]], np.asarray(number, np.int64))
        if not node.inputs[1]:
            yield _constant(known[body.inputs[1]], np.asarray(True))
        inner = _renamed(body, f"{node.name}[{number}]", known)
        for each in inner.nodes:
            yield from expanded(each, tensors)
        state = list(inner.outputs[1 : 1 + carried])
        for names, name in zip(scanned, inner.outputs[1 + carried :], strict=True):
            names.append(name)
    yield from _handed_on(node, state, node.outputs[:carried])
    for place, (names, output) in enumerate(zip(scanned, node.outputs[carried:], strict=False)):
        if not output:
            continue
        axes = f"{output} axes"
        yield _constant(axes, np.zeros(1, np.int64))
        for name in names:
            title = f"{name}/Unsqueeze"
            yield Node(title, "Unsqueeze", (name, axes), (title,), opset=node.opset)
        rows = tuple(f"{name}/Unsqueeze" for name in names)
        yield Node(f"{node.name}/Concat {place}", "Concat", rows, (output,), {"axis": 0}, opset=node.opset)


def _constant(name: str, value: Any) -> Node:
    return Node(name, "Constant", (), (name,), evaluate=lambda _: [value])


def _always_goes_on(body: Branch, tensors: Tensors) -> bool:
    """Whether a Loop ends by its count alone."""
    name = body.outputs[0]
    for node in reversed(body.nodes):
        if node.outputs[0] == name and node.operator in ("Identity", "Cast"):
            name = node.inputs[0]
    return name == body.inputs[1] or _value(tensors, name) is True


def _renamed(branch: Branch, prefix: str, known: Mapping[str, str]) -> Branch:
    """Return a graph whose own tensors and nodes have names of their own."""
    own = {name: f"{prefix}/{name}" for node in branch.nodes for name in node.outputs if name}
    own |= known

    def named(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(own.get(name, name) for name in names)

    nodes = tuple(
        replace(
            node,
            name=f"{prefix}/{node.name}",
            inputs=named(node.inputs),
            outputs=named(node.outputs),
            branches={key: _inner(each, own) for key, each in node.branches.items()},
        )
        for node in branch.nodes
    )
    return Branch(nodes, named(branch.inputs), named(branch.outputs))


def _inner(branch: Branch, known: Mapping[str, str]) -> Branch:
    """Return a graph inside of a renamed one, which reads its tensors by their new names."""
    nodes = tuple(
        replace(
            node,
            inputs=tuple(known.get(name, name) for name in node.inputs),
            branches={key: _inner(each, known) for key, each in node.branches.items()},
        )
        for node in branch.nodes
    )
    return Branch(nodes, branch.inputs, tuple(known.get(name, name) for name in branch.outputs))
