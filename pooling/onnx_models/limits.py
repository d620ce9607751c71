"""What a model may grow to: counted before its functions are inlined, and before anything is worked out."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from pooling.errors import value_error

from .graph import all_nodes, is_default, subgraphs

__all__ = ["DEEPEST_CALL", "DEEPEST_GRAPH", "MOST_BYTES", "MOST_NODES", "check_growth", "many"]

MOST_NODES = 200_000
"""Nodes that a model may have when its functions are inlined; large language models have some 20,000."""
MOST_BYTES = 2**30
"""Bytes that these nodes may have, constants in them included."""
DEEPEST_CALL = 100
"""Functions that may call each other in a row, which is the limit of onnx's own inliner."""
DEEPEST_GRAPH = 32
"""Graphs that may lie in nodes of each other; protobuf reads no file with more."""

Key = tuple[str, str, str]
Size = tuple[int, int, int]
"""Nodes, bytes, and calls in a row."""


def check_growth(function: str, model: onnx.ModelProto) -> None:
    """Refuse a model whose functions would be too much when they are inlined.

    A function that calls the one before it twice, and so on, doubles with each: twenty-one of them are two million
    nodes in 1.5 KB. Here each is counted once, and nothing is expanded.

    Raises
    ------
    ValueError
        If it would have more than `MOST_NODES` nodes or `MOST_BYTES` bytes, or functions call each other more than
        `DEEPEST_CALL` deep, or in a circle; or if graphs lie in nodes of each other more than `DEEPEST_GRAPH` deep.
    """
    for nodes in (model.graph.node, *(each.node for each in model.functions)):
        if _deepest(nodes) > DEEPEST_GRAPH:
            raise value_error(
                function,
                f"graphs of the model lie inside of each other more than {DEEPEST_GRAPH} deep, which no file can hold",
            )
    if not model.functions:
        return
    bodies = {(_domain(each.domain), each.name, _overload(each)): each for each in model.functions}
    # Calls of functions that are not there are operators.
    calls = {
        key: [called for node in all_nodes(body.node) if (called := _called(node)) in bodies]
        for key, body in bodies.items()
    }
    sizes: dict[Key, Size] = {}
    for start in bodies:
        if start in sizes:
            continue
        # The functions that wait for others, and what is left of their calls.
        waiting = {start: iter(calls[start])}
        while waiting:
            key, left = next(reversed(waiting.items()))
            missing = next((called for called in left if called not in sizes), None)
            if missing is None:
                sizes[key] = _size(bodies[key].node, bodies[key].ByteSize(), calls[key], sizes)
                del waiting[key]
            elif missing in waiting:
                name = f"{missing[0]}::{missing[1]}"
                raise value_error(function, f"the function {name} of the model calls itself", "ONNX knows no recursion")
            else:
                waiting[missing] = iter(calls[missing])
    outside = [called for node in all_nodes(model.graph.node) if (called := _called(node)) in bodies]
    nodes, size, depth = _size(model.graph.node, 0, outside, sizes)
    whole = "with its functions inlined the model would have"
    if nodes > MOST_NODES:
        raise value_error(function, f"{whole} {many(nodes)} nodes", f"at most {MOST_NODES} are read")
    if size > MOST_BYTES:
        raise value_error(function, f"{whole} {many(size)} bytes of nodes", f"at most {MOST_BYTES} are read")
    if depth > DEEPEST_CALL:
        raise value_error(
            function, f"the functions of the model call each other {depth} deep", f"at most {DEEPEST_CALL} are read"
        )


def _size(nodes: Iterable[onnx.NodeProto], size: int, calls: Iterable[Key], sizes: dict[Key, Size]) -> Size:
    count, depth = sum(1 for _ in all_nodes(nodes)), 0
    for called in calls:
        more, larger, deeper = sizes[called]
        count, size, depth = count + more - 1, size + larger, max(depth, deeper + 1)
    return count, size, depth


def many(number: int) -> str:
    """Write a number that may have thousands of digits."""
    return str(number) if number < 10**9 else f"about 2**{number.bit_length() - 1}"


def _domain(domain: str) -> str:
    return "" if is_default(domain) else domain


def _overload(message: onnx.FunctionProto | onnx.NodeProto) -> str:
    return str(getattr(message, "overload", ""))  # onnx before 1.16 has none


def _called(node: onnx.NodeProto) -> Key:
    return _domain(node.domain), node.op_type, _overload(node)


def _deepest(nodes: Iterable[onnx.NodeProto]) -> int:
    """Count how many graphs lie in nodes of each other, up to one more than there may be."""
    level, depth = [*nodes], 0
    while depth <= DEEPEST_GRAPH:
        level = [node for each in level for _, graph in subgraphs(each) for node in graph.node]
        if not level:
            return depth
        depth += 1
    return depth
