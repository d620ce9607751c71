"""What a model may grow to: counted before its functions are put in line, and before its constants are worked out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress

import onnx
import onnx.numpy_helper
import onnx.shape_inference

__all__ = ["DEEPEST_CALL", "MOST_BYTES", "MOST_ELEMENTS", "MOST_NODES", "check_growth", "too_large"]

MOST_NODES = 200_000
"""Nodes that a model may have when its functions are in line; large language models have some 20,000."""
MOST_BYTES = 2**30
"""Bytes that these nodes may have, constants in them included."""
DEEPEST_CALL = 100
"""Functions that may call each other in a row, which is the limit of onnx's own inliner."""

MOST_ELEMENTS = 2**22
"""Elements that any tensor may have on the way to a constant."""

Key = tuple[str, str, str]
Size = tuple[int, int, int]
"""Nodes, bytes, and calls in a row."""


def check_growth(function: str, model: onnx.ModelProto) -> None:
    """Refuse a model whose functions would be too much when they are in line.

    A function that calls the one before it twice, and so on, doubles with each: twenty-one of them are two million
    nodes in 1.5 KB. Here each is counted once.

    Parameters
    ----------
    function : str
        Named in error sentences.
    model : onnx.ModelProto
        Any model; nothing is expanded.

    Raises
    ------
    ValueError
        If it would have more than `MOST_NODES` nodes or `MOST_BYTES` bytes, or functions call each other more than
        `DEEPEST_CALL` deep, or in a circle; or if a Range of constants has more than `MOST_ELEMENTS` elements, which
        onnx writes down one by one when it infers shapes.
    """
    _check_ranges(
        function, [*_nodes(model.graph.node), *(n for each in model.functions for n in _nodes(each.node))], model
    )
    if not model.functions:
        return
    bodies = {(_domain(each.domain), each.name, _overload(each)): each for each in model.functions}
    # Calls of functions that are not there are operators.
    calls = {
        key: [called for node in _nodes(body.node) if (called := _called(node)) in bodies]
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
                raise ValueError(f"{function}: the function {name} of the model calls itself; ONNX knows no recursion")
            else:
                waiting[missing] = iter(calls[missing])
    outside = [called for node in _nodes(model.graph.node) if (called := _called(node)) in bodies]
    nodes, size, depth = _size(model.graph.node, 0, outside, sizes)
    where = f"{function}: with its functions in line the model would have"
    if nodes > MOST_NODES:
        raise ValueError(f"{where} {_many(nodes)} nodes; at most {MOST_NODES} are read")
    if size > MOST_BYTES:
        raise ValueError(f"{where} {_many(size)} bytes of nodes; at most {MOST_BYTES} are read")
    if depth > DEEPEST_CALL:
        raise ValueError(
            f"{function}: the functions of the model call each other {depth} deep; at most {DEEPEST_CALL} are read"
        )


def _check_ranges(function: str, nodes: Iterable[onnx.NodeProto], model: onnx.ModelProto) -> None:
    nodes = list(nodes)
    ranges = [node for node in nodes if node.op_type == "Range" and not _domain(node.domain) and len(node.input) == 3]
    if not ranges:
        return
    values: dict[str, float] = {}
    graphs = [model.graph, *(a.g for node in nodes for a in node.attribute if a.HasField("g"))]
    held = [(tensor.name, tensor) for graph in graphs for tensor in graph.initializer]
    for node in nodes:
        if node.op_type == "Constant" and node.output:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    held.append((node.output[0], attribute.t))
                elif attribute.HasField("i") or attribute.HasField("f"):
                    values[node.output[0]] = attribute.i or attribute.f
    for name, tensor in held:
        if math.prod(tensor.dims) == 1 and tensor.data_location != tensor.EXTERNAL:
            with suppress(Exception):  # broken data is the business of whoever needs it
                values[name] = onnx.numpy_helper.to_array(tensor).item()
    for node in ranges:
        start, stop, step = (values.get(name) for name in node.input)
        if stop is not None and step and abs(stop - (start or 0)) / abs(step) > MOST_ELEMENTS:
            raise ValueError(
                f"{function}: the Range {node.output[0]!r} has more than {MOST_ELEMENTS} elements, which no pooling "
                "needs to know one by one; leave it out, or make it an input"
            )


def too_large(model: onnx.ModelProto) -> bool:
    """Whether working out a model that has no inputs may take much memory or time.

    So it may where a tensor on the way has more than `MOST_ELEMENTS` elements, or a number of them that onnx does not
    infer, and where a graph in a node may be run any number of times: a few bytes of ConstantOfShape, Expand, Tile,
    Range, OneHot, Pad, Resize or Loop are enough.
    """
    held = [(tensor.dims, tensor.name) for tensor in model.graph.initializer]
    held += [(tensor.dims, tensor.values.name) for tensor in model.graph.sparse_initializer]
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs or attribute.sparse_tensors:
                return True
            if attribute.HasField("sparse_tensor"):
                held.append((attribute.sparse_tensor.dims, ""))
    if any(math.prod(dims) > MOST_ELEMENTS for dims, _ in held):
        return True
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # whatever onnx raises of a wrong model
        return True
    known = {
        info.name: info.type.tensor_type.shape
        for info in (*inferred.graph.value_info, *inferred.graph.output)
        if info.type.tensor_type.HasField("shape")
    }
    for node in model.graph.node:
        for name in filter(None, node.output):
            if name not in known or not all(size.HasField("dim_value") for size in known[name].dim):
                return True
            if math.prod(size.dim_value for size in known[name].dim) > MOST_ELEMENTS:
                return True
    return False


def _size(nodes: Iterable[onnx.NodeProto], size: int, calls: Iterable[Key], sizes: dict[Key, Size]) -> Size:
    count, depth = sum(1 for _ in _nodes(nodes)), 0
    for called in calls:
        more, larger, deeper = sizes[called]
        count, size, depth = count + more - 1, size + larger, max(depth, deeper + 1)
    return count, size, depth


def _many(number: int) -> str:
    """Write a number that may have thousands of digits."""
    return str(number) if number < 10**9 else f"about 2**{number.bit_length() - 1}"


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _overload(message: onnx.FunctionProto | onnx.NodeProto) -> str:
    return str(getattr(message, "overload", ""))  # onnx before 1.16 has none


def _called(node: onnx.NodeProto) -> Key:
    return _domain(node.domain), node.op_type, _overload(node)


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield nodes, and those of graphs inside of them; a stack, since how deep they lie is up to the file."""
    left = [iter(nodes)]
    while left:
        node = next(left[-1], None)
        if node is None:
            left.pop()
            continue
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                left.append(iter(attribute.g.node))
            left.extend(iter(graph.node) for graph in attribute.graphs)
