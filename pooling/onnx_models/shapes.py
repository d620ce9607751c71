"""Shapes in a model: what it says of its tensors, and what follows from its nodes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from pooling.signs import first_line

from .constants import SMALL_TENSOR, infer_shapes
from .functions import inlined
from .graph import default_opset, is_default, scopes_of, subgraphs

__all__ = ["Tensor", "inferred", "known_size", "open_below_one", "pooled_tensors", "strip_weights", "tensors_of"]

MARK = "pooling.repair:"
"""How the doc strings begin that let a node be found again where its function was put in line."""


def known_size(dim: onnx.TensorShapeProto.Dimension) -> int | None:
    """Return a size that a model states, None for one that it leaves open; what is below 1 is no size."""
    return int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None


def open_below_one(graph: onnx.GraphProto) -> None:
    """Open sizes below 1, with which some exporters say that they are open; shape inference would count with them."""
    for each in (*graph.input, *graph.output, *graph.value_info):
        if each.type.HasField("tensor_type"):
            for dim in each.type.tensor_type.shape.dim:
                if dim.HasField("dim_value") and dim.dim_value < 1:
                    dim.ClearField("dim_value")


@dataclass(frozen=True)
class Tensor:
    """What is known of a tensor.

    Attributes
    ----------
    dtype : numpy.dtype or None
        Its type, where NumPy knows it.
    shape : tuple of int or None
        None for sizes that are not known; None alone where not even the rank is.
    """

    dtype: np.dtype[Any] | None
    shape: tuple[int | None, ...] | None

    @classmethod
    def of(cls, info: onnx.ValueInfoProto) -> Tensor:
        """Read what a model says of a tensor."""
        kind = info.type.tensor_type
        try:
            dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
        except (KeyError, ValueError):
            dtype = None
        if not kind.HasField("shape"):
            return cls(dtype, None)
        return cls(dtype, tuple(map(known_size, kind.shape.dim)))


UNKNOWN = Tensor(None, None)


def tensors_of(graph: onnx.GraphProto) -> dict[str, Tensor]:
    """Return what a graph says of its tensors."""
    found = {each.name: Tensor.of(each) for each in (*graph.input, *graph.value_info, *graph.output)}
    for each in graph.initializer:
        kind = Tensor.of(helper.make_tensor_value_info(each.name, each.data_type, None))
        found[each.name] = Tensor(kind.dtype, tuple(each.dims))
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Shapes


def strip_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a model without its large weights, of which the shapes are kept, and without the shapes that follow.

    What is recorded of tensors that nodes write may be wrong; shape inference finds it again, unless it does not know
    the operator.
    """
    light = onnx.ModelProto()
    light.ir_version = model.ir_version
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph = light.graph
    graph.name = model.graph.name
    graph.input.extend(model.graph.input)
    graph.node.extend(model.graph.node)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    graph.sparse_initializer.extend(model.graph.sparse_initializer)
    inputs = {each.name for each in graph.input}
    for each in model.graph.initializer:
        if math.prod(each.dims) <= SMALL_TENSOR and each.data_location != onnx.TensorProto.EXTERNAL:
            graph.initializer.append(each)
        elif each.name not in inputs:
            graph.input.append(helper.make_tensor_value_info(each.name, each.data_type, each.dims))
    for scope in scopes_of(light):
        if isinstance(scope.container, onnx.GraphProto):
            open_below_one(scope.container)
            foreign = {name for node in scope.container.node if not is_default(node.domain) for name in node.output}
            kept = [each for each in scope.container.value_info if each.name in foreign]
            del scope.container.value_info[:]
            scope.container.value_info.extend(kept)
            for output in scope.container.output:
                if output.type.HasField("tensor_type") and scope.producer(output.name) is not None:
                    output.type.tensor_type.ClearField("shape")
    return light


def inferred(function: str, model: onnx.ModelProto) -> onnx.ModelProto:
    """Infer the shapes of a model."""
    try:
        return infer_shapes(model)
    except Exception as error:
        raise ValueError(f"{function}: the shapes of the model cannot be inferred ({first_line(error)})") from error


def pooled_tensors(
    function: str,
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    declared: Mapping[str, Sequence[int | None]],
    explicit: Any,
) -> list[tuple[Tensor, onnx.NodeProto | None]]:
    """Find out what is known of the first input of nodes, wherever in a model they are.

    Parameters
    ----------
    function : str
        Named in error sentences.
    model : onnx.ModelProto
        The model.
    nodes : sequence of onnx.NodeProto
        Nodes that are part of `model`.
    declared : mapping
        Shapes of tensors that the caller knows.
    explicit : callable
        Takes a node, the opset and the shape of its input, and returns a node with the shape that runtimes give it, for
        which shape inference is right; or None.

    Returns
    -------
    list
        For each node, what is known of its input wherever it runs, and the node with the attributes that it has there;
        None where these differ, or where the node is in a function that nothing calls.
    """
    texts = [node.doc_string if node.HasField("doc_string") else None for node in nodes]
    for number, node in enumerate(nodes):
        node.doc_string = f"{MARK}{number}"
    draft = strip_weights(model)
    for node, text in zip(nodes, texts, strict=True):
        if text is None:
            node.ClearField("doc_string")
        else:
            node.doc_string = text
    draft = inlined(function, draft)
    opset = default_opset(draft.opset_import)
    for name, shape in declared.items():
        _declare(draft.graph, name, shape)
    original = []
    for _, node in _marked(draft.graph):
        original.append(onnx.NodeProto())
        original[-1].CopyFrom(node)
    settled = 0
    while True:
        known = _known(inferred(function, draft))
        marked = [node for _, node in _marked(draft.graph)]
        changed = False
        while settled < len(marked) and not changed:
            node = marked[settled]
            replacement = explicit(node, opset, known[settled][0].shape)
            if replacement is not None:
                replacement.doc_string = node.doc_string
                changed = True
                node.CopyFrom(replacement)
            settled += 1
        # What is behind a node that was replaced has another shape now.
        if not changed:
            break
    places: dict[str, list[tuple[Tensor, onnx.NodeProto]]] = {}
    for tensor, node in zip((tensor for tensor, _ in known), original, strict=True):
        places.setdefault(node.doc_string, []).append((tensor, node))
    return [_agreed(places.get(f"{MARK}{number}", [])) for number in range(len(nodes))]


def _declare(graph: onnx.GraphProto, name: str, shape: Sequence[int | None]) -> None:
    held = next((each for each in (*graph.input, *graph.output) if each.name == name), None)
    if held is None:
        held = onnx.ValueInfoProto(name=name)
        graph.value_info.append(held)
        held = graph.value_info[-1]
    elem_type = held.type.tensor_type.elem_type or onnx.TensorProto.FLOAT
    held.CopyFrom(helper.make_tensor_value_info(name, elem_type, list(shape)))


def _marked(
    graph: onnx.GraphProto, outer: Mapping[str, Tensor] | None = None
) -> Iterator[tuple[Mapping[str, Tensor], onnx.NodeProto]]:
    """Yield the marked nodes of a graph in their order, with the tensors that they can read."""
    tensors = {**(outer or {}), **tensors_of(graph)}
    for node in graph.node:
        if node.doc_string.startswith(MARK):
            yield tensors, node
        for _, inner in subgraphs(node):
            yield from _marked(inner, tensors)


def _known(model: onnx.ModelProto) -> list[tuple[Tensor, onnx.NodeProto]]:
    """Return what is known of the inputs of the marked nodes, and the nodes."""
    return [(tensors.get(next(iter(node.input), ""), UNKNOWN), node) for tensors, node in _marked(model.graph)]


def _agreed(found: Sequence[tuple[Tensor, onnx.NodeProto]]) -> tuple[Tensor, onnx.NodeProto | None]:
    """Keep what holds in all places."""
    if not found:
        return UNKNOWN, None
    tensors = [tensor for tensor, _ in found]
    dtypes = {tensor.dtype for tensor in tensors}
    shapes = {tensor.shape for tensor in tensors}
    shape = None
    if None not in shapes and len({len(each) for each in shapes if each is not None}) == 1:
        columns = zip(*(each for each in shapes if each is not None), strict=True)
        shape = tuple(column[0] if len(set(column)) == 1 else None for column in columns)
    first = found[0][1]
    alike = all(list(node.attribute) == list(first.attribute) for _, node in found)
    return Tensor(dtypes.pop() if len(dtypes) == 1 else None, shape), first if alike else None
