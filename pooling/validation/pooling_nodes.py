"""The pooling nodes of an ONNX model, each at the shape it has in the network."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
from numpy.typing import NDArray

from pooling.errors import refusal_of, without
from pooling.layer import Layer
from pooling.onnx_models import POOLING_OPERATORS, layer_from_node
from pooling.onnx_models.constants import SMALL_TENSOR, infer_shapes
from pooling.onnx_models.contrib import is_contrib, layer_of_contrib
from pooling.onnx_models.functions import inlined, opset_of
from pooling.onnx_models.graph import default_opset, is_default, subgraphs
from pooling.onnx_models.load import check_external, check_scopes, check_size
from pooling.onnx_models.making import dtype_of
from pooling.onnx_models.missing import remedy_for_missing
from pooling.onnx_models.shapes import infer_model, known_size, strip_weights
from pooling.open_sizes import filled, hinted_sizes, spread
from pooling.signs import first_line

__all__ = [
    "CannotRunError",
    "PoolingModel",
    "PoolingNode",
    "SideInput",
    "graphs_of",
    "known_tensor",
    "load_model",
    "read_pooling_nodes",
]

Dimension = int | str
Shape = tuple[Dimension, ...]
INVENTED = "unk__"
"""How names begin that shape inference gives to dimensions without one."""


class CannotRunError(Exception):
    """Why a model or one of its nodes could not be compared, in one sentence."""


@dataclass(frozen=True, eq=False)
class SideInput:
    """An input of a node beside the one that it pools: regions, indices, sizes."""

    name: str
    """The tensor."""
    shape: Shape | None
    """As that of a `PoolingNode`."""
    dtype: np.dtype[np.generic] | None
    """Where known."""
    value: NDArray[Any] | None = None
    """What it is, where the model says so itself."""


@dataclass(frozen=True)
class PoolingNode:
    """One pooling node where it stands in its network."""

    name: str
    """The node's name, or its output's where it has none."""
    proto: onnx.NodeProto
    """The node as the model has it."""
    opset: int
    """Version of the default operator set."""
    shape: Shape | None
    """Of its input; a str names a dimension that is not known, None means that not even the rank is."""
    dtype: np.dtype[np.generic] | None
    """Of its input, where known."""
    hint: str
    """What to say when the shape is not known."""
    sides: tuple[SideInput, ...] = ()
    """Its other inputs."""

    @property
    def operator(self) -> str:
        """The ONNX operator."""
        return str(self.proto.op_type)

    @property
    def input_name(self) -> str:
        """The tensor that it pools."""
        return str(self.proto.input[0]) if self.proto.input else ""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of the input, every size known.

        Raises
        ------
        CannotRunError
            If it is not.
        """
        if self.shape is None:
            raise CannotRunError(f"the shape of its input {self.input_name!r} is not known; {self.hint}")
        sizes = tuple(size for size in self.shape if isinstance(size, int))
        if len(sizes) < len(self.shape):
            raise CannotRunError(
                f"the shape {_written(self.shape)} of its input {self.input_name!r} is not known in full; {self.hint}"
            )
        return sizes

    def layer(self) -> Layer:
        """Return the layer that computes what the node asks for.

        Raises
        ------
        CannotRunError
            If the shape is not known, or the node breaks a rule of ONNX.
        """
        try:
            if is_contrib(self.proto):
                return layer_of_contrib(self.proto, self.input_shape)
            return layer_from_node(self.proto, self.opset, self.input_shape)
        except ValueError as error:
            # The report names the node already.
            refusal = refusal_of(error)
            named = refusal.function == "layer_from_node"
            raise CannotRunError(refusal.reason if named else str(error)) from error


@dataclass(frozen=True)
class PoolingModel:
    """The pooling nodes of a model."""

    nodes: tuple[PoolingNode, ...]
    """In the order of the nodes, those of com.microsoft behind the others; empty for a model that pools nothing."""
    declared: frozenset[str]
    """Tensors whose shape was given from outside."""
    unknown: tuple[str, ...] = ()
    """Tensors of the main graph that nodes pool, and whose shape inference does not find."""
    inputs: dict[str, tuple[Shape | None, np.dtype[np.generic] | None]] = field(default_factory=dict)
    """What the model takes; None for what is not known of it."""
    notes: tuple[str, ...] = ()
    """What was taken for sizes that the model leaves open, and which global poolings are no pooling nodes."""
    foreign: tuple[str, ...] = ()
    """Nodes that pool by their name, and are of no operator set that is known here: ``"gap (NhwcMaxPool of
    com.microsoft)"``."""
    model: onnx.ModelProto | None = field(default=None, repr=False)
    """The model with its functions inlined."""
    tensors: Mapping[str, onnx.ValueInfoProto] = field(default_factory=dict, repr=False)
    """What is known of its tensors, by name."""


def read_pooling_nodes(
    path: str | os.PathLike[str],
    shapes: Mapping[str, Sequence[int]] | None = None,
    dtypes: Mapping[str, np.dtype[Any]] | None = None,
    *,
    recorded: bool = False,
    sources: Mapping[str, str] | None = None,
) -> PoolingModel:
    """Find every pooling node of a model, in its subgraphs and functions too.

    Sizes that inputs leave open are chosen (`pooling.open_sizes`): the first with which the model works.

    Parameters
    ----------
    path : path
        An ONNX file. Tensors stored outside of it are not read.
    shapes : mapping of str to sequence of int, optional
        Shapes of tensors that the model leaves open. Names that the model does not have are ignored.
    dtypes : mapping of str to dtype, optional
        Of those tensors, where the model does not say so; float32 else.
    recorded : bool
        Whether to believe what the model records of tensors that its nodes give, where inference does not find it.
    sources : mapping of str to str, optional
        By the names of tensors, who gives their shape, for error sentences; ``--shape`` when not told.

    Returns
    -------
    PoolingModel

    Raises
    ------
    CannotRunError
        If the file is no ONNX model, or `shapes` contradict it.
    """
    whole = load_model(path, weights=False)
    model = strip_weights(whole)
    opset = default_opset(model.opset_import) or 0
    values = _constants(model.graph)
    weights = {tensor.name for tensor in whole.graph.initializer}
    inputs = [tensor for tensor in model.graph.input if tensor.name not in weights]
    declared = frozenset(
        name
        for name, shape in (shapes or {}).items()
        if _declare(model.graph, name, shape, (dtypes or {}).get(name), (sources or {}).get(name))
    )
    hints = hinted_sizes({each.key: each.value for each in whole.metadata_props})
    poolings = [*_poolings(model.graph)]
    contrib = [proto for part in graphs_of(model.graph) for proto in part.node if is_contrib(proto)]
    tensors, notes = _closed(model, inputs, opset, hints) if poolings or contrib else ({}, ())
    if recorded:
        for part in graphs_of(whole.graph):
            for tensor in (*part.value_info, *part.output):
                if not _is_known(_known(tensors, tensor.name)[0]) and _is_known(_shape(tensor)):
                    tensors[tensor.name] = tensor
    flags = [
        f"{tensor.name}={_written(shape)}"
        for tensor in inputs
        if (shape := _shape(tensor)) is not None and any(isinstance(size, str) for size in shape)
    ]
    nodes = []
    for proto in (*poolings, *contrib):
        shape, dtype = _known(tensors, proto.input[0] if proto.input else "")
        example = flags[0] if flags else f"{proto.input[0] if proto.input else ''}={_written(shape)}"
        nodes.append(
            PoolingNode(
                proto.name or (proto.output[0] if proto.output else ""),
                proto,
                opset,
                shape,
                dtype,
                f"give it with --shape {example}, a number for each name (in Python: shapes=)",
                tuple(SideInput(name, *_known(tensors, name), values.get(name)) for name in proto.input[1:] if name),
            )
        )
    own = {name for proto in model.graph.node for name in proto.output}
    asked = [(name, *_known(tensors, name)) for node in nodes for name in node.proto.input if name]
    unknown = [name for name, shape, dtype in asked if name in own and (dtype is None or not _is_known(shape))]
    return PoolingModel(
        tuple(nodes),
        declared,
        tuple(dict.fromkeys(unknown)),
        {tensor.name: (_shape(tensor), _dtype(tensor)) for tensor in inputs},
        (*notes, *_of_reductions(model.graph, tensors, values)),
        tuple(_foreign(model.graph)),
        whole,
        tensors,
    )


def known_tensor(network: PoolingModel, name: str) -> tuple[tuple[int, ...] | None, np.dtype[np.generic] | None]:
    """Return the shape of a tensor where every size of it is known, and its dtype."""
    shape, dtype = _known(network.tensors, name)
    sizes = tuple(size for size in shape or () if isinstance(size, int))
    return (sizes if shape is not None and len(sizes) == len(shape) else None), dtype


def _closed(
    model: onnx.ModelProto, inputs: Sequence[onnx.ValueInfoProto], opset: int, hints: Sequence[tuple[int, ...]]
) -> tuple[dict[str, onnx.ValueInfoProto], tuple[str, ...]]:
    """Choose sizes for inputs that leave them open, in place; return the types of all tensors, and what was chosen."""
    shapes = {tensor.name: _shape(tensor) for tensor in inputs if tensor.type.HasField("tensor_type")}
    opened = {
        name: shape for name, shape in shapes.items() if shape is not None and any(isinstance(s, str) for s in shape)
    }
    if not opened:
        return _types(_inferred(model)), ()
    # The first that can be an image; the others follow it in what has the same name.
    main = min(opened, key=lambda name: RANKS.index(len(opened[name])) if len(opened[name]) in RANKS else len(RANKS))
    last = len(opened[main]) == 4 and opened[main][3] in (1, 3) and opened[main][1] not in (1, 3)
    best, found = -1, None
    for trial in filled(opened[main], hints, channels_last=last):
        taken = {main: trial}
        for name, shape in opened.items():
            if name != main:
                taken[name] = next(filled(spread(opened[main], trial, shape), hints))
        for tensor in inputs:
            if tensor.name in taken:
                kind = tensor.type.tensor_type.elem_type
                tensor.CopyFrom(onnx.helper.make_tensor_value_info(tensor.name, kind, taken[tensor.name]))
        inferred = _inferred(model)
        tensors = _types(inferred)
        works = _works(inferred, opset, tensors)
        if works > best:
            best, found = works, (taken, tensors)
        if works == WORKS:
            break
        if all(isinstance(size, int) for size in opened[main][1:]):
            break  # but for the batch there is nothing to choose
    assert found is not None
    taken, tensors = found
    for tensor in inputs:
        if tensor.name in taken:
            kind = tensor.type.tensor_type.elem_type
            tensor.CopyFrom(onnx.helper.make_tensor_value_info(tensor.name, kind, taken[tensor.name]))
    return tensors, tuple(_note(name, opened[name], taken[name]) for name in opened)


RANKS = (4, 5, 3, 2)
"""Axes of an input, the likeliest for an image first."""


WORKS = 2


def _works(model: onnx.ModelProto, opset: int, tensors: Mapping[str, onnx.ValueInfoProto]) -> int:
    """Say whether windows find their places in a model with its shapes; better, whether nothing contradicts these."""
    for node in _poolings(model.graph):
        shape, _ = _known(tensors, node.input[0] if node.input else "")
        sizes = tuple(size for size in shape or () if isinstance(size, int))
        if shape is not None and len(sizes) == len(shape):
            try:
                layer_from_node(node, opset, sizes)
            except ValueError:
                return 0
    try:
        infer_shapes(model, strict=True)
    except onnx.shape_inference.InferenceError:
        return 1
    return WORKS


def _note(name: str, shape: Shape, taken: Sequence[int]) -> str:
    """Say what was taken for the open sizes of an input."""
    if all(isinstance(size, int) for size in shape[1:]):
        return f"the batch of {name!r} is open and taken as 1"
    return (
        f"the input {name!r} leaves sizes open ({_written(shape)}) and is taken as {_written(tuple(taken))}; give "
        f"another with --shape {name}={_written(tuple(taken))} (in Python: shapes=)"
    )


def _foreign(graph: onnx.GraphProto) -> Iterator[str]:
    """Name the nodes of other operator sets that pool, by what their operators are called."""
    for part in graphs_of(graph):
        for node in part.node:
            if not is_default(node.domain) and not is_contrib(node) and POOLS.search(node.op_type):
                name = node.name or next(iter(node.output), "")
                yield f"{name} ({node.op_type} of {node.domain})"


def _of_reductions(
    graph: onnx.GraphProto, tensors: Mapping[str, onnx.ValueInfoProto], values: Mapping[str, NDArray[Any]]
) -> list[str]:
    """Say which global poolings are written as reductions, which are no pooling nodes and have no oracle here."""
    found = [
        f"{node.name or next(iter(node.output), '')} ({node.op_type})"
        for part in graphs_of(graph)
        for node in part.node
        if node.op_type in ("ReduceMean", "ReduceMax")
        and is_default(node.domain)
        and _reduces_maps(node, _known(tensors, node.input[0] if node.input else "")[0], values)
    ]
    if not found:
        return []
    more = f" and {len(found) - REDUCTIONS_SHOWN} more" if len(found) > REDUCTIONS_SHOWN else ""
    what = "global pooling is" if len(found) == 1 else "global poolings are"
    return [
        f"{len(found)} {what} written as a reduction, and no runtime was compared on "
        f"{'it' if len(found) == 1 else 'them'}: {', '.join(found[:REDUCTIONS_SHOWN])}{more}"
    ]


REDUCTIONS_SHOWN = 3
"""Reductions that a note names."""


def _reduces_maps(node: onnx.NodeProto, shape: Shape | None, values: Mapping[str, NDArray[Any]]) -> bool:
    """Tell whether a reduction is over all spatial axes of maps or volumes; without a shape, by what axes it names."""
    given: Any = next((list(each.ints) for each in node.attribute if each.name == "axes"), None)
    if given is None and len(node.input) > 1 and node.input[1] in values:
        given = values[node.input[1]].ravel().tolist()
    if not given or (shape is not None and len(shape) not in (4, 5)):
        return False
    ranks = (4, 5) if shape is None else (len(shape),)
    return any({axis % rank for axis in given} == set(range(2, rank)) for rank in ranks)


POOLS = re.compile(r"[Pp]ool|RoiAlign|ROIAlign")
"""What operators that pool have in their names."""


def _known(tensors: Mapping[str, onnx.ValueInfoProto], name: str) -> tuple[Shape | None, np.dtype[np.generic] | None]:
    tensor = tensors.get(name)
    return (None, None) if tensor is None else (_shape(tensor), _dtype(tensor))


def _is_known(shape: Shape | None) -> bool:
    return shape is not None and all(isinstance(size, int) for size in shape)


def load_model(path: str | os.PathLike[str], *, weights: bool) -> onnx.ModelProto:
    """Read a model and inline its functions.

    Parameters
    ----------
    path : path
        An ONNX file.
    weights : bool
        Whether to read tensors that are stored outside of it.

    Raises
    ------
    CannotRunError
        If it is no ONNX model.
    """
    folder = Path(path).parent
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        remedy = remedy_for_missing(os.fspath(path))
        told = f"it cannot be read ({error.strerror or error}){'; ' * bool(remedy)}{remedy}"
        raise CannotRunError(told) from error
    except Exception as error:  # whatever the parsers of ONNX's formats raise
        raise CannotRunError(f"it is not an ONNX model ({first_line(error)})") from error
    if not model.ir_version or not model.HasField("graph"):
        raise CannotRunError("it is not an ONNX model (it has no graph)")
    try:
        check_size("validate", model)
        check_external("validate", model, folder)
        check_scopes("validate", model)
        model = inlined("validate", model)
        opset_of("validate", model)
    except ValueError as error:
        raise CannotRunError(without(error, "validate")) from error
    if weights:
        try:
            onnx.load_external_data_for_model(model, os.fspath(folder.resolve()))
        except Exception as error:  # whatever onnx raises of files that are not there
            raise CannotRunError(f"its data cannot be read ({first_line(error)})") from error
    return model


def _constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """Return the tensors that a model says itself, as far as they are small."""
    held = [(tensor.name, tensor) for part in graphs_of(graph) for tensor in part.initializer]
    for part in graphs_of(graph):
        for node in part.node:
            if node.op_type == "Constant" and node.output:
                held += [(node.output[0], entry.t) for entry in node.attribute if entry.HasField("t")]
    found = {}
    for name, tensor in held:
        if math.prod(tensor.dims) <= SMALL_TENSOR and tensor.data_location != onnx.TensorProto.EXTERNAL:
            try:
                found[name] = onnx.numpy_helper.to_array(tensor)
            except Exception:  # broken data is the business of whoever needs it
                continue
    return found


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return infer_model("validate", model)
    except ValueError as error:
        raise CannotRunError(without(error, "validate")) from error


def _types(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    return {tensor.name: tensor for graph in graphs_of(model.graph) for tensor in _tensors(graph)}


def _made_to_fit(shape: Sequence[int], known: Shape) -> str:
    """Say what makes an array of some shape fit: a batch axis, channels where the model has them, or fewer images."""
    rank = len(known)
    if rank > 2 and len(shape) in (rank, rank - 1):
        batch = "[None]" * (len(shape) < rank)
        whole = [1, *shape] if batch else list(shape)
        first, last = [0, rank - 1, *range(1, rank - 1)], [0, *range(2, rank), 1]
        for order in (list(range(rank)), first, last):
            moved = "" if order == sorted(order) else f".transpose({', '.join(map(str, order))})"
            sizes = [whole[axis] for axis in order]
            if _fits(sizes, known):
                return f"{batch}{moved}"
            one = known[0]
            if isinstance(one, int) and sizes[0] > one and _fits([one, *sizes[1:]], known):
                return f"[:{one}]{moved}"
    return ""


def _declare(
    graph: onnx.GraphProto,
    name: str,
    shape: Sequence[int],
    dtype: np.dtype[Any] | None = None,
    source: str | None = None,
) -> bool:
    """Fix the shape of a tensor, wherever in the graph or its subgraphs it is; tell whether it is anywhere."""
    for part in graphs_of(graph):
        for tensor in _tensors(part):
            if tensor.name != name:
                continue
            known = _shape(tensor)
            if known is not None and not _fits(shape, known):
                given = f"{source} of shape " if source else f"--shape {name}="
                how = _made_to_fit(shape, known) if source else ""
                remedy = f"; give array{how}, saved with numpy.save" if how else ""
                raise CannotRunError(
                    f"{given}{_written(tuple(shape)) or '()'} contradicts the model, where {name} is "
                    f"{_written(known)}{remedy}"
                )
            tensor.CopyFrom(onnx.helper.make_tensor_value_info(name, tensor.type.tensor_type.elem_type, tuple(shape)))
            return True
        if any(name in node.output for node in part.node):
            kind = onnx.helper.np_dtype_to_tensor_dtype(dtype or np.dtype(np.float32))
            part.value_info.append(onnx.helper.make_tensor_value_info(name, kind, tuple(shape)))
            return True
    return False


def _fits(shape: Sequence[int], known: Shape) -> bool:
    return len(shape) == len(known) and all(
        isinstance(old, str) or new == old for new, old in zip(shape, known, strict=True)
    )


def graphs_of(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and everything inside it."""
    yield graph
    for node in graph.node:
        for _, inner in subgraphs(node):
            yield from graphs_of(inner)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    yield from graph.input
    yield from graph.value_info
    yield from graph.output
    for constant in graph.initializer:
        yield onnx.helper.make_tensor_value_info(constant.name, constant.data_type, constant.dims)


def _poolings(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the pooling nodes of a graph and its subgraphs, each behind those that it depends on."""
    for node in graph.node:
        if node.op_type in POOLING_OPERATORS and is_default(node.domain):
            yield node
        for _, inner in subgraphs(node):
            yield from _poolings(inner)


def _shape(tensor: onnx.ValueInfoProto) -> Shape | None:
    kind = tensor.type.tensor_type
    if not kind.HasField("shape"):
        return None
    shape: list[Dimension] = []
    for axis, size in enumerate(kind.shape.dim):
        named = size.dim_param and not size.dim_param.startswith(INVENTED)
        unknown = size.dim_param if named else f"d{axis}"
        shape.append(known_size(size) or unknown)
    return tuple(shape)


def _dtype(tensor: onnx.ValueInfoProto) -> np.dtype[np.generic] | None:
    return dtype_of(tensor.type.tensor_type.elem_type)


def _written(shape: Shape | None) -> str:
    """Write a shape as the command line takes it."""
    return "x".join(map(str, ("N", "C", "H", "W") if shape is None else shape))
