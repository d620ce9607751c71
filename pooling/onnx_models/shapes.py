"""Shapes in a model: what it says of its tensors, and what follows from its nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from pooling.errors import value_error
from pooling.signs import first_line

from .constants import SMALL_TENSOR, infer_shapes
from .functions import inlined
from .graph import attribute, default_opset, is_default, scopes_of, subgraphs
from .making import dtype_of
from .nodes import CEIL_MODE_CLEAR, WINDOWED, layer_from_node

__all__ = ["TensorType", "infer_model", "known_size", "open_below_one", "pooled_tensors", "strip_weights", "tensors_of"]

LARGE = 2**20
"""A size on which the windows of any pooling find a place."""
ADDED_LATER = frozenset({"ceil_mode", "dilations"})
"""Attributes that operators did not have from the beginning."""
MARK = "pooling.repair:"
"""How the doc strings begin that let a node be found again where its function was inlined."""


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
class TensorType:
    """What is known of a tensor."""

    dtype: np.dtype[Any] | None
    """Its type, where NumPy knows it."""
    shape: tuple[int | None, ...] | None
    """None for sizes that are not known; None alone where not even the rank is."""

    @classmethod
    def of(cls, info: onnx.ValueInfoProto) -> TensorType:
        """Read what a model says of a tensor."""
        kind = info.type.tensor_type
        dtype = dtype_of(kind.elem_type)
        if not kind.HasField("shape"):
            return cls(dtype, None)
        return cls(dtype, tuple(map(known_size, kind.shape.dim)))


UNKNOWN = TensorType(None, None)


def tensors_of(graph: onnx.GraphProto) -> dict[str, TensorType]:
    """Return what a graph says of its tensors."""
    found = {each.name: TensorType.of(each) for each in (*graph.input, *graph.value_info, *graph.output)}
    for each in graph.initializer:
        kind = TensorType.of(helper.make_tensor_value_info(each.name, each.data_type, None))
        found[each.name] = TensorType(kind.dtype, tuple(each.dims))
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


def infer_model(function: str, model: onnx.ModelProto) -> onnx.ModelProto:
    """Infer the shapes of a model, with poolings of the sizes that runtimes give them.

    Shape inference of onnx keeps windows of ceil_mode that start in the padding at the end, below opset 22, prefers
    pads to auto_pad, and does not know attributes that an operator got in a later opset; no runtime that matters does
    so. Where its sizes differ, the node gets pads that make plain division come to the right ones, first node first,
    since what is behind it has a wrong shape until then.

    Parameters
    ----------
    function : str
        Named in error sentences.
    model : onnx.ModelProto
        The model, with its functions inlined; it stays as it is. What it records of tensors is believed
        (`strip_weights` takes out what may be wrong).

    Raises
    ------
    ValueError
        If onnx does not infer its shapes.
    """
    draft = onnx.ModelProto()
    draft.CopyFrom(model)
    opset = default_opset(draft.opset_import) or 0
    settled = 0
    while True:
        try:
            found = infer_shapes(draft)
        except Exception as error:
            raise value_error(function, f"the shapes of the model cannot be inferred ({first_line(error)})") from error
        places = [*_places(found.graph, _slides)]
        nodes = [node for _, node in _places(draft.graph, _slides)]
        changed = False
        while settled < len(nodes) and not changed:
            changed = _resize(nodes[settled], opset, places[settled][0])
            settled += 1
        if not changed:
            return found


def _slides(node: onnx.NodeProto) -> bool:
    return node.op_type in WINDOWED and is_default(node.domain)


def _resize(node: onnx.NodeProto, opset: int, tensors: Mapping[str, TensorType]) -> bool:
    """Give a node pads with which onnx finds the right sizes, if it does not find them; tell whether it did not."""
    x, y = (tensors.get(next(iter(names), ""), UNKNOWN) for names in (node.input, node.output))
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, opset, "")
    except (onnx.defs.SchemaError, TypeError):
        return False
    given = {each.name for each in node.attribute}
    new = ADDED_LATER & given - set(schema.attributes)
    padded_twice = "pads" in given and attribute(node, "auto_pad", b"NOTSET") != b"NOTSET"
    unknown = y.shape is None and (len(node.output) < 2 or not node.output[1])
    if x.shape is None or not (new or padded_twice or unknown or attribute(node, "ceil_mode")):
        return False
    # Batch and channels do not matter here, nor does it what is taken for a size that is not known.
    sizes = (1, 1, *(LARGE if size is None else size for size in x.shape[2:]))
    try:
        axes = layer_from_node(node, CEIL_MODE_CLEAR if new else opset, sizes).axes(sizes)
    except (TypeError, ValueError):
        return False  # whoever pools with it will say what is wrong
    right = tuple(None if size is None else axis.output_size for size, axis in zip(x.shape[2:], axes, strict=True))
    if y.shape is not None and y.shape[2:] == right:
        return False
    plain = {
        "kernel_shape": [axis.effective_kernel_size for axis in axes],
        "strides": [axis.stride for axis in axes],
        "pads": [axis.pad_begin for axis in axes] + [axis.pad_end + axis.ceil_overhang for axis in axes],
    }
    kept = [each for each in node.attribute if each.name not in (*plain, "ceil_mode", "auto_pad", "dilations")]
    del node.attribute[:]
    if unknown:  # onnx infers nothing of the first LpPool
        node.op_type, kept = "MaxPool", []
    node.attribute.extend([*kept, *(helper.make_attribute(*each) for each in plain.items())])
    return True


def pooled_tensors(
    function: str,
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    declared: Mapping[str, Sequence[int | None]],
) -> list[tuple[TensorType, onnx.NodeProto | None]]:
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
    for name, shape in declared.items():
        _declare(draft.graph, name, shape)
    original = [node for _, node in _places(draft.graph, _is_marked)]
    known = [
        (tensors.get(next(iter(node.input), ""), UNKNOWN), node)
        for tensors, node in _places(infer_model(function, draft).graph, _is_marked)
    ]
    places: dict[str, list[tuple[TensorType, onnx.NodeProto]]] = {}
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


def _is_marked(node: onnx.NodeProto) -> bool:
    return bool(node.doc_string.startswith(MARK))


def _places(
    graph: onnx.GraphProto, wanted: Callable[[onnx.NodeProto], bool], outer: Mapping[str, TensorType] | None = None
) -> Iterator[tuple[Mapping[str, TensorType], onnx.NodeProto]]:
    """Yield the nodes of a graph that are wanted, in their order, with the tensors that they can read."""
    tensors = {**(outer or {}), **tensors_of(graph)}
    for node in graph.node:
        if wanted(node):
            yield tensors, node
        for _, inner in subgraphs(node):
            yield from _places(inner, wanted, tensors)


def _agreed(found: Sequence[tuple[TensorType, onnx.NodeProto]]) -> tuple[TensorType, onnx.NodeProto | None]:
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
    return TensorType(dtypes.pop() if len(dtypes) == 1 else None, shape), first if alike else None
