"""Networks from ONNX models. Needs onnx; no weight is read, and nothing is run."""

from __future__ import annotations

import math
from ast import literal_eval
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.errors import without
from pooling.layer import Layer
from pooling.onnx_models import POOLING_OPERATORS, layer_from_node
from pooling.onnx_models.constants import evaluator
from pooling.onnx_models.functions import inlined, opset_of
from pooling.onnx_models.graph import is_default, subgraphs
from pooling.onnx_models.load import check_element_type, check_order, read_model
from pooling.onnx_models.making import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    array_of,
    dtype_of,
    infer_node,
    known_schema,
    newest_opset,
    onnx_version,
)
from pooling.onnx_models.nodes import node_attributes
from pooling.onnx_models.shapes import known_size
from pooling.open_sizes import hinted_sizes
from pooling.reporting.formats import joined
from pooling.signs import first_line

from ...operators import SMALL
from ...operators.nodes import Branch, Node, Shape, Tensor
from ..graph import Graph
from ..network import NetworkError

__all__ = ["from_onnx"]

Declared = tuple[int | str, ...]
DType = np.dtype[Any] | None
TRAINED = ("float16", "bfloat16", "float32", "float64", "int8", "uint8")
"""Types of weights; integers of other types are sizes and places."""
LARGEST_OPSET = 2**31 - 1
"""The newest that onnx can be asked for."""


def from_onnx(source: Any, rank: int | None = None) -> Graph:
    """Read an ONNX model: a path, its bytes, or an ``onnx.ModelProto``, which stays as it is.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
    rank : int, optional
        Of the input that is meant, where a model has several.

    Raises
    ------
    NetworkError
        If it cannot be read or breaks a rule of ONNX.
    TypeError
        If `source` is no model.
    """
    try:
        model, folder = read_model("read", source)
        name = str(model.graph.name) if folder is None else str(source)
        name = name if name.isprintable() else repr(name)
        if not model.ir_version or not model.HasField("graph"):
            raise NetworkError(f"{name} is not an ONNX model (it has no graph); export it again")
        hints = hinted_sizes({each.key: each.value for each in model.metadata_props})
        model = inlined("read", model)
        return _Reader(name or "model", model, rank, hints).graph()
    except NetworkError:
        raise
    except ValueError as error:
        raise NetworkError(without(error, "read")) from error


def _declared(info: ValueInfoProto) -> Declared | None:
    """Return what a model says of the shape of a tensor; sizes that it leaves open have a name or ``?``."""
    kind = info.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return tuple(known_size(size) or size.dim_param or "?" for size in kind.shape.dim)


def _whole(declared: Declared | None) -> Shape | None:
    """Return a shape of which no size is open."""
    sizes = tuple(size for size in declared or () if isinstance(size, int))
    return sizes if declared is not None and len(sizes) == len(declared) else None


class _Reader:
    """A model while it is read."""

    def __init__(self, name: str, model: ModelProto, rank: int | None, hints: Sequence[tuple[int, ...]]) -> None:
        self.name = name
        self.model = model
        self.rank = rank
        self.hints = hints
        opset = opset_of("read", model)
        if not 1 <= opset <= LARGEST_OPSET:
            raise NetworkError(f"{name} imports opset {opset}; it must be from 1 to {LARGEST_OPSET}")
        self.opset = opset
        self.recorded = {
            info.name: _declared(info) for info in (*model.graph.value_info, *model.graph.output, *model.graph.input)
        }
        self.constants: dict[str, Tensor] = {}

    def graph(self) -> Graph:
        """Return the whole as a graph."""
        graph = self.model.graph
        for tensor in graph.initializer:
            self.constants[tensor.name] = _constant(tensor, tensor.name)
        for sparse in graph.sparse_initializer:
            check_element_type(f"initializer {sparse.values.name!r}", sparse.values.data_type)
            self.constants[sparse.values.name] = Tensor(
                tuple(sparse.dims),
                dtype_of(sparse.values.data_type),
                weights={sparse.values.name: len(sparse.values.dims)},
            )
        inputs = [info for info in graph.input if info.name not in self.constants]
        for info in inputs:
            if info.type.tensor_type.elem_type:  # none at all is float32
                check_element_type(f"input {info.name!r}", info.type.tensor_type.elem_type)
        main = self._main(inputs)
        others = {
            info.name: (_declared(info), dtype_of(info.type.tensor_type.elem_type))
            for info in inputs
            if info is not main
        }
        known = {*self.constants, *(info.name for info in inputs)}
        taken = {main.name}
        nodes = []
        for node in graph.node:
            check_order("read", node, known)
            read = self._node(node, taken)
            if read is not None:
                nodes.append(read)
                taken.add(read.name)
        notes = []
        if others:
            notes.append(f"shapes and fields are those of {main.name!r}; other inputs are {', '.join(others)}")
        newest = newest_opset()
        if self.opset > newest:
            notes.append(f"opset {self.opset} is newer than {newest}, the newest that onnx {onnx_version()} knows")
        spatial = _channels_last(main.name, graph.node)
        if not spatial:
            spatial, is_batch = _without_batch(main, graph.node, self.constants)
            if spatial:
                axes = joined([str(each) for each in spatial])
                notes.append(
                    f"the input {main.name!r} has {len(spatial) + 1} axes and the first windows that it meets have "
                    f"{len(spatial)}: its spatial axes are {axes}, and axis 0 is "
                    + ("the batch; it has no channels" if is_batch else "its channels; it has no batch")
                )
        return Graph(
            self.name,
            main.name,
            tuple(nodes),
            self.constants,
            tuple(info.name for info in graph.output),
            _declared(main),
            dtype_of(main.type.tensor_type.elem_type),
            spatial,
            self.opset,
            tuple(notes),
            others,
            hints=self.hints,
        )

    def _main(self, inputs: Sequence[ValueInfoProto]) -> ValueInfoProto:
        """Choose the input that the stages are about: the first that can be an image."""
        tensors = [info for info in inputs if info.type.HasField("tensor_type")]
        if not tensors:
            kinds = sorted({str(info.type.WhichOneof("value")).removesuffix("_type") for info in inputs})
            raise NetworkError(
                f"{self.name} has no input that is a tensor; it takes {' and '.join(kinds) or 'nothing'}"
            )

        def order(info: ValueInfoProto) -> int:
            shape = _declared(info)
            rank = -1 if shape is None else len(shape)
            wanted = (self.rank,) if self.rank is not None else ()
            ranks = [*wanted, 4, 5, 3]
            return ranks.index(rank) if rank in ranks else len(ranks)

        return min(tensors, key=order)

    def _node(self, node: NodeProto, taken: set[str]) -> Node | None:
        """Read a node; constants are kept aside."""
        results = [name for name in node.output if name]
        wish = _module_name(node) or node.name or next(iter(results), node.op_type)
        known = (wish,) if wish != node.name and node.name else (wish, *results)
        name = next((each for each in known if each not in taken), "")
        number = 2
        while not name or name in taken:
            name, number = f"{wish}_{number}", number + 1
        schema = None
        attributes: dict[str, Any] = {}
        if is_default(node.domain):
            schema = known_schema(node.op_type, self.opset)
        if schema is not None:
            attributes = self._attributes(name, node, schema)
        if node.op_type == "Constant" and schema is not None:
            self.constants[results[0]] = _literal(results[0], attributes, node)
            return None
        layer = None
        if node.op_type in POOLING_OPERATORS and schema is not None:
            layer = self._layer(node)
        captured = [each for _, inner in subgraphs(node) for each in _captured(inner)]
        branches = {key: self._branch(inner, name) for key, inner in subgraphs(node)} if schema is not None else {}
        return Node(
            name,
            node.op_type if is_default(node.domain) else f"{node.domain}.{node.op_type}",
            (*node.input, *dict.fromkeys(captured)),
            tuple(node.output),
            attributes,
            self.opset,
            layer,
            self._inference(node, schema),
            known=schema is not None,
            evaluate=None if schema is None else evaluator(self.model, node, self.opset),
            branches=branches,
        )

    def _branch(self, graph: GraphProto, name: str) -> Branch:
        """Read a graph inside of a node, whose stages are named after it."""
        for tensor in graph.initializer:
            self.constants[tensor.name] = _constant(tensor, tensor.name)
        taken: set[str] = set()
        nodes = []
        for node in graph.node:
            read = self._node(node, taken)
            if read is not None:
                taken.add(read.name)
                nodes.append(replace(read, name=f"{name}/{read.name}"))
        inputs = tuple(info.name for info in graph.input)
        return Branch(tuple(nodes), inputs, tuple(info.name for info in graph.output))

    def _attributes(self, name: str, node: NodeProto, schema: Any) -> dict[str, Any]:
        where = f"stage {name!r} ({node.op_type})"
        found = node_attributes(where, node, self.opset, schema)
        for each, rule in schema.attributes.items():
            if rule.required and each not in found:
                raise NetworkError(f"{where}: {each} is missing; {node.op_type} needs it", name)
        for each, value in list(found.items()):
            if isinstance(value, TensorProto):
                found[each] = _array(f"{where}: {each}", value)
        if "to" in found:
            check_element_type(f"{where}: to", found["to"])
            found["dtype"] = dtype_of(found["to"])
        return found

    def _layer(self, node: NodeProto) -> Callable[[Shape], Layer]:
        opset = self.opset
        return lambda shape: layer_from_node(node, opset, shape)

    def _inference(self, node: NodeProto, schema: Any) -> Callable[..., list[tuple[Shape | None, DType]]]:
        """Return what finds the shapes of an operator without a record: shape inference, or what the model records."""

        def infer(tensors: Sequence[Tensor | None]) -> list[tuple[Shape | None, DType]]:
            given = {name: tensor for name, tensor in zip(node.input, tensors, strict=False) if name and tensor}
            found = {}
            if schema is not None:
                inputs = {name: (tensor.shape, tensor.dtype, tensor.value) for name, tensor in given.items()}
                found = infer_node(self.model, node, self.opset, inputs)
            as_recorded = all(self._is_recorded(name, tensor) for name, tensor in given.items())
            result: list[tuple[Shape | None, DType]] = []
            for name in node.output:
                info = found.get(name)
                shape = None if info is None else _whole(_declared(info))
                if shape is None and as_recorded:
                    shape = _whole(self.recorded.get(name))
                dtype = None if info is None else dtype_of(info.type.tensor_type.elem_type)
                result.append((shape, dtype or np.dtype(np.float32)))
            return result

        return infer

    def _is_recorded(self, name: str, tensor: Tensor) -> bool:
        return not tensor.source or (tensor.shape is not None and self.recorded.get(name) == tensor.shape)


def _captured(graph: GraphProto) -> Iterator[str]:
    """Yield the tensors that a graph inside of a node reads from outside."""
    own = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
    own |= {tensor.values.name for tensor in graph.sparse_initializer}
    for node in graph.node:
        inner = [name for _, part in subgraphs(node) for name in _captured(part)]
        yield from (name for name in (*node.input, *inner) if name and name not in own)
        own.update(node.output)
    yield from (info.name for info in graph.output if info.name not in own)


def _module_name(node: NodeProto) -> str:
    """Name a node by the module that it was exported from, as torch's newer exporter records it; "" without.

    ``layer1.0.conv1/Conv`` in the place of ``node_Conv_388``.
    """
    properties = {each.key: each.value for each in node.metadata_props}
    scopes = properties.get(SCOPES)
    if scopes is None:
        return ""
    try:
        path = literal_eval(scopes)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ""
    # The last is the call itself, such as ``conv2d``.
    modules = [each for each in path[:-1] if isinstance(each, str) and each] if isinstance(path, (list, tuple)) else []
    module = modules[-1] if modules else ""
    return f"{module}/{node.op_type}" if module and module.isprintable() else node.op_type if path else ""


SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch.onnx.export writes the modules that a node belongs to, the outermost first."""


def _without_batch(
    info: ValueInfoProto, nodes: Sequence[NodeProto], constants: Mapping[str, Tensor]
) -> tuple[Shape, bool]:
    """Return where the spatial axes of an input stand that has as many as windows have, and one more.

    Such an input is an image without a batch, ``(C, H, W)``, or one without channels, ``(N, H, W)``. What counts is the
    first node with windows that is reached, and the axes that are added and moved before it; empty for anything else.
    The second result says whether the axis that is not spatial is the batch.
    """
    declared = _declared(info)
    if declared is None or not 2 <= len(declared) <= 4:
        return (), False
    axes: dict[str, list[int | None] | None] = {info.name: list(range(len(declared)))}
    for node in nodes:
        source = next((name for name in node.input if name in axes), None)
        if source is None:
            continue
        windows = _windows(node, constants)
        if windows is not None and node.input[0] in axes:
            found = axes[node.input[0]]
            if windows != len(declared) - 1:
                return (), False
            last = None if found is None else found[-windows:]
            if last is None or None in last:
                if windows == 1:
                    return (), False  # features, of which something has made a signal
                last = list(range(1, len(declared)))
            return tuple(each for each in last if each is not None), found is not None and found[0] == 0
        axes.update(dict.fromkeys(node.output, _axes_behind(node, axes[source], constants)))
    return (), False


def _windows(node: NodeProto, constants: Mapping[str, Tensor]) -> int | None:
    """Return the number of axes that the windows of a node have, None for nodes without."""
    if node.op_type in ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv") and is_default(node.domain):
        number = 3 if node.op_type == "QLinearConv" else 1
        weight = constants.get(node.input[number]) if len(node.input) > number else None
        return None if weight is None or weight.shape is None else len(weight.shape) - 2
    if node.op_type in ("MaxPool", "AveragePool", "LpPool") and is_default(node.domain):
        return next((len(each.ints) for each in node.attribute if each.name == "kernel_shape"), None)
    return None


def _axes_behind(
    node: NodeProto, axes: list[int | None] | None, constants: Mapping[str, Tensor]
) -> list[int | None] | None:
    """Follow the axes of an input through a node; None where they are not known any more."""
    if axes is None or node.op_type in ("Reshape", "Flatten", "Einsum", "MatMul", "Gemm", "Shape", "Size"):
        return None
    attributes = {each.name: list(each.ints) or [each.i] for each in node.attribute}
    given = attributes.get("axes")
    if given is None and node.op_type in ("Unsqueeze", "Squeeze") and len(node.input) > 1:
        value = getattr(constants.get(node.input[1]), "value", None)
        given = None if value is None else [int(each) for each in value.ravel()]
    if node.op_type == "Transpose":
        order = attributes.get("perm", list(reversed(range(len(axes)))))
        return [axes[each] for each in order] if sorted(order) == list(range(len(axes))) else None
    if node.op_type == "Unsqueeze":
        if given is None:
            return None
        rank = len(axes) + len(given)
        added = {each % rank for each in given}
        waiting = iter(axes)
        return [None if place in added else next(waiting, None) for place in range(rank)]
    if node.op_type == "Squeeze":
        return (
            None
            if given is None
            else [each for place, each in enumerate(axes) if place not in {a % len(axes) for a in given}]
        )
    if node.op_type == "Gather":
        index = constants.get(node.input[1])
        axis = attributes.get("axis", [0])[0] % len(axes)
        single = index is not None and index.shape == ()
        return [each for place, each in enumerate(axes) if place != axis] if single else None
    return axes


def _channels_last(name: str, nodes: Sequence[NodeProto]) -> Shape:
    """Return where the spatial axes of the input stand if the first thing that happens is that channels go in front."""
    for node in nodes:
        if name in node.input:
            perm = next((list(each.ints) for each in node.attribute if each.name == "perm"), [])
            rank = len(perm)
            turned = node.op_type == "Transpose" and perm == [0, rank - 1, *range(1, rank - 1)]
            return tuple(range(1, rank - 1)) if turned and 3 <= rank <= 5 else ()
    return ()


def _constant(tensor: TensorProto, name: str) -> Tensor:
    where = f"initializer {name!r}"
    value = _array(where, tensor)
    return _weight(name, tuple(tensor.dims), dtype_of(tensor.data_type), value)


def _weight(name: str, shape: Shape, dtype: DType, value: NDArray[Any] | None) -> Tensor:
    trained = dtype is not None and dtype.name in TRAINED and len(shape) > 0
    weights: Mapping[str, int] = {name: math.prod(shape)} if trained else {}
    return Tensor(shape, dtype, value=value, weights=weights)


def _array(where: str, tensor: TensorProto) -> NDArray[Any] | None:
    """Return the values of a small tensor, None for a large one or one in another file."""
    check_element_type(where, tensor.data_type)
    if min(tensor.dims, default=0) < 0:
        raise NetworkError(f"{where} has shape {list(tensor.dims)}; sizes must not be negative")
    if tensor.data_location == TensorProto.EXTERNAL or math.prod(tensor.dims) > SMALL:
        return None
    if not tensor.HasField("raw_data") and not any(len(getattr(tensor, each)) for each in STORED):
        return np.zeros(0, dtype_of(tensor.data_type)) if list(tensor.dims) == [0] else None
    try:
        return array_of(tensor)
    except Exception as error:  # whatever NumPy makes of too few bytes
        raise NetworkError(f"{where} cannot be read ({first_line(error)})") from error


STORED = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
"""Where a tensor may hold its values, beside raw_data."""


def _literal(name: str, attributes: Mapping[str, Any], node: NodeProto) -> Tensor:
    """Return what a Constant node holds; of a large one what an initializer would say as well."""
    for each in node.attribute:
        if each.name == "value" and attributes.get("value") is None and each.HasField("t"):
            return _weight(name, tuple(each.t.dims), dtype_of(each.t.data_type), None)
        if each.name == "sparse_value" and each.HasField("sparse_tensor"):
            sparse = each.sparse_tensor
            shape, dtype = tuple(sparse.dims), dtype_of(sparse.values.data_type)
            return Tensor(shape, dtype, weights={name: math.prod(sparse.values.dims)})
    for key in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if key in attributes:
            kind = np.float32 if "float" in key else np.int64
            given = attributes[key]
            value: NDArray[Any] = given if key == "value" else np.asarray(given, kind)
            return _weight(name, value.shape, value.dtype, value)
    return Tensor(None, None)
