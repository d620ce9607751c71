"""The pooling stages of an ONNX model, each at the shape it has in the network."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx.shape_inference
from numpy.typing import NDArray

from pooling.export import POOLING_OPERATORS, layer_from_node
from pooling.export.limits import check_growth
from pooling.layers import Layer

__all__ = ["CannotRunError", "Network", "Side", "Stage", "graphs_of", "load_model", "read_network"]

Dimension = int | str
Shape = tuple[Dimension, ...]
SMALL_TENSOR = 1024
"""Elements up to which the values of an initializer may matter to shapes: nobody reshapes to more axes than that."""
WEIGHT = "a weight of this model"
"""Marks what is an input in the draft only."""
INVENTED = "unk__"
"""How names begin that shape inference gives to dimensions without one."""
CEIL_MODE_CLEAR = 22
"""The opset since which shape inference drops the windows of ceil_mode that start in the padding."""


class CannotRunError(Exception):
    """Why a model or one of its stages could not be compared, in one sentence."""


@dataclass(frozen=True, eq=False)
class Side:
    """An input of a node beside the one that it pools: regions, indices, sizes.

    Attributes
    ----------
    name : str
        The tensor.
    shape : tuple of int or str, or None
        As that of a `Stage`.
    dtype : numpy.dtype or None
        Where known.
    value : ndarray or None
        What it is, where the model says so itself.
    """

    name: str
    shape: Shape | None
    dtype: np.dtype[np.generic] | None
    value: NDArray[Any] | None = None


@dataclass(frozen=True)
class Stage:
    """One pooling node where it stands in its network.

    Attributes
    ----------
    name : str
        The node's name, or its output's where it has none.
    node : onnx.NodeProto
        The node as the model has it.
    opset : int
        Version of the default operator set.
    shape : tuple of int or str, or None
        Of its input; a str names a dimension that is not known, None means that not even the rank is.
    dtype : numpy.dtype or None
        Of its input, where known.
    hint : str
        What to say when the shape is not known.
    sides : tuple of Side
        Its other inputs.
    """

    name: str
    node: onnx.NodeProto
    opset: int
    shape: Shape | None
    dtype: np.dtype[np.generic] | None
    hint: str
    sides: tuple[Side, ...] = ()

    @property
    def operator(self) -> str:
        """The ONNX operator."""
        return str(self.node.op_type)

    @property
    def input_name(self) -> str:
        """The tensor that it pools."""
        return str(self.node.input[0]) if self.node.input else ""

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
            return layer_from_node(self.node, self.opset, self.input_shape)
        except ValueError as error:
            # The report names the node already.
            sentence = str(error).removeprefix("layer_from_node: ")
            for title in (f"{self.operator} node", f"{self.operator} node with output"):
                sentence = sentence.removeprefix(f"{title} {self.name!r}: ")
            raise CannotRunError(sentence) from error


@dataclass(frozen=True)
class Network:
    """The pooling stages of a model.

    Attributes
    ----------
    stages : tuple of Stage
        In the order of the nodes; empty for a model that pools nothing.
    declared : frozenset of str
        Tensors whose shape was given from outside.
    unknown : tuple of str
        Tensors of the main graph that stages pool, and whose shape inference does not find.
    inputs : dict of str to (shape, dtype)
        What the model takes; None for what is not known of it.
    """

    stages: tuple[Stage, ...]
    declared: frozenset[str]
    unknown: tuple[str, ...] = ()
    inputs: dict[str, tuple[Shape | None, np.dtype[np.generic] | None]] = field(default_factory=dict)


def read_network(
    path: str | os.PathLike[str],
    shapes: Mapping[str, Sequence[int]] | None = None,
    dtypes: Mapping[str, np.dtype[Any]] | None = None,
) -> Network:
    """Find every pooling node of a model, in its subgraphs and functions too.

    Parameters
    ----------
    path : path
        An ONNX file. Tensors stored outside of it are not read.
    shapes : mapping of str to sequence of int, optional
        Shapes of tensors that the model leaves open. Names that the model does not have are ignored.
    dtypes : mapping of str to dtype, optional
        Of those tensors, where the model does not say so; float32 else.

    Returns
    -------
    Network

    Raises
    ------
    CannotRunError
        If the file is no ONNX model, or `shapes` contradict it.
    """
    model = _lightened(load_model(path, weights=False))
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    declared = frozenset(
        name for name, shape in (shapes or {}).items() if _declare(model.graph, name, shape, (dtypes or {}).get(name))
    )
    tensors = _inferred(model, opset)
    values = _constants(model.graph)
    inputs = {
        tensor.name: (_shape(tensor), _dtype(tensor))
        for tensor in model.graph.input
        if tensor.name not in values and not tensor.doc_string.startswith(WEIGHT)
    }
    hints = [
        f"{name}={_written(shape)}"
        for name, (shape, _) in inputs.items()
        if shape is not None and any(isinstance(size, str) for size in shape)
    ]
    stages = []
    for node in _poolings(model.graph):
        shape, dtype = _known(tensors, node.input[0] if node.input else "")
        example = hints[0] if hints else f"{node.input[0] if node.input else ''}={_written(shape)}"
        stages.append(
            Stage(
                node.name or (node.output[0] if node.output else ""),
                node,
                opset,
                shape,
                dtype,
                f"give it with --shape {example}, a number for each name (in Python: shapes=)",
                tuple(Side(name, *_known(tensors, name), values.get(name)) for name in node.input[1:] if name),
            )
        )
    own = {name for node in model.graph.node for name in node.output}
    asked = [(name, *_known(tensors, name)) for stage in stages for name in stage.node.input if name]
    unknown = [name for name, shape, dtype in asked if name in own and (dtype is None or not _is_known(shape))]
    return Network(tuple(stages), declared, tuple(dict.fromkeys(unknown)), inputs)


def _known(tensors: Mapping[str, onnx.ValueInfoProto], name: str) -> tuple[Shape | None, np.dtype[np.generic] | None]:
    tensor = tensors.get(name)
    return (None, None) if tensor is None else (_shape(tensor), _dtype(tensor))


def _is_known(shape: Shape | None) -> bool:
    return shape is not None and all(isinstance(size, int) for size in shape)


def load_model(path: str | os.PathLike[str], *, weights: bool) -> onnx.ModelProto:
    """Read a model and put its functions in line.

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
    try:
        model = onnx.load(path, load_external_data=weights)
    except OSError as error:
        raise CannotRunError(f"it cannot be read ({error.strerror or error})") from error
    except Exception as error:  # whatever the parsers of ONNX's formats raise
        raise CannotRunError(f"it is not an ONNX model ({_first_line(error)})") from error
    if not model.ir_version or not model.HasField("graph"):
        raise CannotRunError("it is not an ONNX model (it has no graph)")
    if not any(entry.domain in ("", "ai.onnx") for entry in model.opset_import):
        raise CannotRunError("it imports no version of the default operator set; its opset_import must name one")
    try:
        check_growth("validate", model)
    except ValueError as error:
        raise CannotRunError(str(error).removeprefix("validate: ")) from error
    if model.functions:
        try:
            model = onnx.inliner.inline_local_functions(model)
        except Exception as error:
            raise CannotRunError(f"its functions cannot be put in line ({_first_line(error)})") from error
    return model


def _lightened(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put large constants aside: inference copies a model several times, and of weights it needs the shapes only."""
    inputs = {tensor.name for tensor in model.graph.input}
    small = []
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= SMALL_TENSOR:
            small.append(tensor)
        elif tensor.name not in inputs:
            model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
            model.graph.input[-1].doc_string = WEIGHT
    large = {tensor.name for tensor in model.graph.initializer} - {tensor.name for tensor in small}
    for info in model.graph.input:
        if info.name in large:
            info.doc_string = WEIGHT
    del model.graph.initializer[:]
    model.graph.initializer.extend(small)
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


def _inferred(model: onnx.ModelProto, opset: int) -> dict[str, onnx.ValueInfoProto]:
    """Infer the type of every tensor.

    Shape inference keeps windows of ceil_mode that start in the padding, below opset 22; no runtime that matters does.
    So each such node is given the pads that make plain division come to the right size, first node first, since what
    is behind it has a wrong shape until then.
    """
    draft = onnx.ModelProto()
    draft.CopyFrom(model)
    while True:
        try:
            inferred = onnx.shape_inference.infer_shapes(draft, data_prop=True)
        except Exception as error:
            raise CannotRunError(f"its shapes cannot be inferred ({_first_line(error)})") from error
        tensors = {tensor.name: tensor for graph in graphs_of(inferred.graph) for tensor in _tensors(graph)}
        ceil = next((node for node in _poolings(draft.graph) if opset < CEIL_MODE_CLEAR and _ceil(node)), None)
        if ceil is None:
            return tensors
        tensor = tensors.get(ceil.input[0]) if ceil.input else None
        _resolve_ceil_mode(ceil, opset, None if tensor is None else _shape(tensor))


def _ceil(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "ceil_mode" and attribute.i for attribute in node.attribute)


def _resolve_ceil_mode(node: onnx.NodeProto, opset: int, shape: Shape | None) -> None:
    """Replace ceil_mode by pads; where that cannot be, by nothing, since the stage will be refused anyway."""
    pads = None
    sizes = tuple(size for size in shape or () if isinstance(size, int))
    if shape is not None and len(sizes) == len(shape):
        try:
            axes = layer_from_node(node, opset, sizes).axes(sizes)
        except ValueError:
            axes = ()
        pads = [axis.pad_begin for axis in axes] + [axis.pad_end + axis.ceil_overhang for axis in axes]
    dropped = ("ceil_mode", "pads", "auto_pad") if pads else ("ceil_mode",)
    kept = [attribute for attribute in node.attribute if attribute.name not in dropped]
    del node.attribute[:]
    node.attribute.extend(kept)
    if pads:
        node.attribute.append(onnx.helper.make_attribute("pads", pads))


def _declare(graph: onnx.GraphProto, name: str, shape: Sequence[int], dtype: np.dtype[Any] | None = None) -> bool:
    """Fix the shape of a tensor, wherever in the graph or its subgraphs it is; tell whether it is anywhere."""
    for part in graphs_of(graph):
        for tensor in _tensors(part):
            if tensor.name != name:
                continue
            known = _shape(tensor)
            if known is not None and not _fits(shape, known):
                raise CannotRunError(
                    f"--shape {name}={_written(tuple(shape))} contradicts the model, where {name} is {_written(known)}"
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
        for inner in _subgraphs(node):
            yield from graphs_of(inner)


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    yield from graph.input
    yield from graph.value_info
    yield from graph.output
    for constant in graph.initializer:
        yield onnx.helper.make_tensor_value_info(constant.name, constant.data_type, constant.dims)


def _poolings(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the pooling nodes of a graph and its subgraphs, each behind those that it depends on."""
    for node in graph.node:
        if node.op_type in POOLING_OPERATORS and node.domain in ("", "ai.onnx"):
            yield node
        for inner in _subgraphs(node):
            yield from _poolings(inner)


def _shape(tensor: onnx.ValueInfoProto) -> Shape | None:
    kind = tensor.type.tensor_type
    if not kind.HasField("shape"):
        return None
    shape: list[Dimension] = []
    for axis, size in enumerate(kind.shape.dim):
        named = size.dim_param and not size.dim_param.startswith(INVENTED)
        unknown = size.dim_param if named else f"d{axis}"
        shape.append(size.dim_value if size.HasField("dim_value") else unknown)
    return tuple(shape)


def _dtype(tensor: onnx.ValueInfoProto) -> np.dtype[np.generic] | None:
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.type.tensor_type.elem_type))
    except (KeyError, ValueError):
        return None


def _written(shape: Shape | None) -> str:
    """Write a shape as the command line takes it."""
    return "x".join(map(str, ("N", "C", "H", "W") if shape is None else shape))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
