"""What a model makes of nothing: constants, worked out where they are small, and refused where they are too large.

A few bytes of ConstantOfShape, Expand, Tile, Range or OneHot stand for any amount of memory. Everything here goes by
sizes, which are known before anything is expanded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.reference
import onnx.shape_inference
from numpy.typing import NDArray
from onnx import helper

from pooling.errors import value_error

from .graph import Container, Scope, is_default, scopes_of
from .limits import many
from .making import dtype_of, infer_node, newest_opset

__all__ = [
    "MOST_ELEMENTS",
    "MOST_MADE",
    "SMALL_TENSOR",
    "check_made",
    "constant",
    "evaluator",
    "infer_shapes",
    "tensors_of",
    "too_large",
    "with_one_domain",
]

Array = NDArray[Any]

MOST_MADE = 2**32
"""Bytes that all tensors together may have which a model makes of nothing, and any one that it enlarges."""
MOST_ELEMENTS = 2**22
"""Elements that any tensor may have on the way to a constant."""
MOST_NODES = 40
"""Nodes that one constant may be made of."""
SMALL_TENSOR = 1024
"""Elements up to which a tensor may be sizes."""
FOLDED = frozenset(
    [
        *("Abs", "Add", "Cast", "Ceil", "Concat", "Constant", "ConstantOfShape", "Div", "Expand", "Floor"),
        *("Gather", "Identity", "Max", "Min", "Mod", "Mul", "Neg", "Pow", "ReduceMax", "ReduceMin"),
        *("ReduceProd", "ReduceSum", "Reshape", "Round", "Shape", "Size", "Slice", "Sqrt", "Squeeze", "Sub"),
        *("Sum", "Transpose", "Unsqueeze", "Where"),
    ]
)
"""Operators that exporters make constants with, such as the pads of Pad, or that sizes are counted with."""
DRAWN = frozenset(
    ["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"]
)
"""Operators whose result is another in every run."""
ENLARGING = {
    "ConstantOfShape": (0, ""),
    "Expand": (1, ""),
    "OneHot": (1, ""),
    "Pad": (1, "pads"),
    "RandomNormal": (-1, "shape"),
    "RandomUniform": (-1, "shape"),
    "Range": (0, ""),
    "Resize": (3, ""),
    "Tile": (1, ""),
    "Upsample": (1, "scales"),
}
"""By operator that gives more than it takes, the input and the attribute that say how much."""
STORED = ("raw_data", "float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
"""Where a tensor of a file may hold its values."""
MOST_AXES = 64
"""Axes of a tensor, of which onnx knows no limit, but runtimes do."""
ALIAS = "ai.onnx"
"""What runtimes call the domain of ONNX's own operators as well."""
LONGEST_ROW = 2**18
"""Elements of a row that onnx may write down one by one while it infers shapes."""
RANGE = "pooling: the Range "
"""Marks nodes that stand for a Range while shapes are inferred."""


# ---------------------------------------------------------------------------------------------------------------------
# Values


def constant(scope: Scope, tensor: str) -> Array | None:
    """Return a tensor whose value is the same in every run, or None; large ones and those in other files count not."""
    return _value(scope.as_it_is_now(), tensor)


def _value(part: Scope, tensor: str) -> Array | None:
    """Return a tensor whose value is the same in every run, or None; large ones and those in other files count not."""
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, onnx.TensorProto] = {}
    if not _collect(part, tensor, nodes, weights):
        return None
    if not nodes:
        return onnx.numpy_helper.to_array(weights[tensor])
    result = [onnx.ValueInfoProto(name=tensor)]
    graph = helper.make_graph(nodes, "constant", [], result, initializer=list(weights.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", part.opset or 1)])
    if too_large(model):
        return None
    try:
        (value,) = onnx.reference.ReferenceEvaluator(model).run(None, {})
    except Exception:  # whatever the evaluator raises: then the value stays unknown
        return None
    return np.asarray(value)


def _collect(part: Scope, tensor: str, nodes: list[onnx.NodeProto], weights: dict[str, onnx.TensorProto]) -> bool:
    """Collect what a constant is made of, each node behind those that it reads from; tell whether that can be."""
    home = part.home(tensor)
    if home is None or tensor in home.taken:
        return False
    node = home.producers.get(tensor)
    if node is None:
        held = home.weights[tensor]
        if held.data_location == onnx.TensorProto.EXTERNAL or math.prod(held.dims) > SMALL_TENSOR:
            return False
        weights[tensor] = held
        return True
    if any(tensor in each.output for each in nodes):
        return True
    refers = any(each.ref_attr_name for each in node.attribute)
    node = _by_shape(home, node)
    if node.op_type not in FOLDED or not is_default(node.domain) or refers or len(nodes) >= MOST_NODES:
        return False
    if not all(_collect(home, name, nodes, weights) for name in node.input if name):
        return False
    nodes.append(node)
    return len(nodes) <= MOST_NODES


def _by_shape(part: Scope, node: onnx.NodeProto) -> onnx.NodeProto:
    """Return what gives the sizes of a tensor that is made of its shape, so that nobody makes it for that."""
    if node.op_type not in ("Shape", "Size") or node.attribute or len(node.input) != 1:
        return node
    home = part.home(node.input[0])
    made = None if home is None else home.producers.get(node.input[0])
    if made is None or home is not part or made.op_type != "ConstantOfShape" or len(made.input) != 1:
        return node
    if node.op_type == "Shape":
        return helper.make_node("Identity", made.input, node.output)
    return helper.make_node("ReduceProd", made.input, node.output, keepdims=0)


def evaluator(
    model: onnx.ModelProto, node: onnx.NodeProto, opset: int
) -> Callable[[Sequence[Array | None]], list[Array] | None] | None:
    """Return what works out a node of a model for small inputs that are known.

    Parameters
    ----------
    model : onnx.ModelProto
        Whose node it is.
    node : onnx.NodeProto
    opset : int
        Version of the default operator set.

    Returns
    -------
    callable or None
        Gives the results for the inputs of the node, as many as it has, None for those that are left out; or None where
        it cannot be done, or where a result may have more than `SMALL_TENSOR` elements. None in the place of a function
        is of operators whose results are not the same in every run, and of those with graphs inside.
    """
    if node.op_type in (*DRAWN, "Dropout") or not is_default(node.domain):
        return None
    if any(each.HasField("g") or each.graphs or each.ref_attr_name for each in node.attribute):
        return None
    names = [f"input {number}" if name else "" for number, name in enumerate(node.input)]
    results = [f"output {number}" if name else "" for number, name in enumerate(node.output)]
    remembered: dict[tuple[Any, ...], list[Array] | None] = {}
    evaluators: list[onnx.reference.ReferenceEvaluator] = []

    def reference() -> onnx.reference.ReferenceEvaluator:
        if not evaluators:
            inner = onnx.NodeProto()
            inner.CopyFrom(node)
            del inner.input[:], inner.output[:]
            inner.input.extend(names)
            inner.output.extend(results)
            graph = helper.make_graph(
                [inner],
                "node",
                [onnx.ValueInfoProto(name=name) for name in names if name],
                [onnx.ValueInfoProto(name=name) for name in results if name],
            )
            imports = [helper.make_opsetid("", min(opset, newest_opset()))]
            evaluators.append(onnx.reference.ReferenceEvaluator(helper.make_model(graph, opset_imports=imports)))
        return evaluators[0]

    def evaluate(values: Sequence[Array | None]) -> list[Array] | None:
        given = {name: value for name, value in zip(names, values, strict=False) if name and value is not None}
        if any(value.dtype.kind not in "iufb" or value.size > SMALL_TENSOR for value in given.values()):
            return None
        key = tuple((name, value.dtype.str, value.shape, value.tobytes()) for name, value in given.items())
        if key not in remembered:
            if len(remembered) >= REMEMBERED:
                remembered.clear()
            remembered[key] = worked_out(given)
        return remembered[key]

    def worked_out(given: Mapping[str, Array]) -> list[Array] | None:
        if node.op_type not in BOUNDED and not _stays_small(
            model, node, opset, dict(zip(node.input, names, strict=True)), given
        ):
            return None
        try:
            with np.errstate(all="ignore"):
                found = [np.asarray(each) for each in reference().run(None, dict(given))]
        except Exception:  # whatever the evaluator raises: then the value stays unknown
            return None
        if any(each.size > SMALL_TENSOR or each.dtype.kind not in "iufb" for each in found):
            return None
        waiting = iter(found)
        return [next(waiting) if name else np.zeros(0) for name in results]

    return evaluate


REMEMBERED = 64
"""Values for which a node keeps its results."""
BOUNDED = frozenset(["Compress", "NonZero", "TopK", "Unique", "GatherND", "ScatterND", "ScatterElements", "Trilu"])
"""Operators that give little more than they take, though shape inference may not say how much."""


def _stays_small(
    model: onnx.ModelProto, node: onnx.NodeProto, opset: int, names: Mapping[str, str], given: Mapping[str, Array]
) -> bool:
    """Whether no result of a node has many elements, by the shapes that onnx infers."""
    inputs = {
        name: (given[mine].shape, given[mine].dtype, given[mine]) for name, mine in names.items() if mine in given
    }
    found = infer_node(model, node, opset, inputs)
    for name in filter(None, node.output):
        kind = found[name].type.tensor_type if name in found else None
        if kind is None or not kind.HasField("shape"):
            return False
        sizes = kind.shape.dim
        if not all(size.HasField("dim_value") for size in sizes):
            return False
        if math.prod(size.dim_value for size in sizes) > SMALL_TENSOR:
            return False
    return True


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
        inferred = infer_shapes(model)
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


# ---------------------------------------------------------------------------------------------------------------------
# Shapes


def infer_shapes(model: onnx.ModelProto, *, strict: bool = False) -> onnx.ModelProto:
    """Infer the shapes of a model as onnx does, its data propagated, but write no long rows down for that.

    Where onnx finds the limits of a Range in other tensors, it writes down all of its elements, and those of every
    Concat, some 100 bytes for each. What it learns of such a Range is its rank alone, which is all that it says here;
    where rows become longer than `LONGEST_ROW`, no data is propagated.
    """
    model = with_one_domain(model)
    propagated = _longest_row(model) <= LONGEST_ROW
    ranges = [node for node in _all_nodes(model) if _is_range(node)]
    if not ranges:
        return onnx.shape_inference.infer_shapes(model, strict_mode=strict, data_prop=propagated)
    draft = onnx.ModelProto()
    draft.CopyFrom(model)
    literal = {
        name
        for node in _all_nodes(draft)
        if node.op_type == "Constant" and is_default(node.domain)
        for name in node.output
    } | {each.name for graph in _graphs(draft) for each in graph.initializer}
    hidden: dict[str, onnx.NodeProto] = {}
    for node in _all_nodes(draft):
        if _is_range(node) and not literal.issuperset(node.input):
            mark = f"{RANGE}{len(hidden)}"
            hidden[mark] = onnx.NodeProto()
            hidden[mark].CopyFrom(node)
            # It gives a row of elements of the type of what it takes, and nobody knows how many.
            node.op_type, node.doc_string = "Unique", mark
            del node.input[1:]
    inferred = onnx.shape_inference.infer_shapes(draft, strict_mode=strict, data_prop=propagated)
    for node in _all_nodes(inferred):
        if node.doc_string in hidden:
            node.CopyFrom(hidden[node.doc_string])
    return inferred


def with_one_domain(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write the domain of ONNX's own operators as onnx knows it, which to runtimes has two names."""
    imports = [each for part in (model, *model.functions) for each in part.opset_import]
    if not any(each.domain == ALIAS for each in (*imports, *_all_nodes(model))):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for each in (*(each for part in (copy, *copy.functions) for each in part.opset_import), *_all_nodes(copy)):
        if each.domain == ALIAS:
            each.domain = ""
    return copy


def _longest_row(model: onnx.ModelProto) -> int:
    """Bound the elements that onnx may propagate of one tensor."""
    longest = 0
    lengths: dict[str, int] = {}
    for part in scopes_of(model):
        for node in part.container.node:
            taken = [lengths.get(name) or _row(part, name) for name in node.input if name]
            length = sum(taken) if node.op_type == "Concat" else max(taken, default=0)
            longest = max(longest, length)
            lengths.update(dict.fromkeys(node.output, length))
    return longest


def _row(part: Scope, name: str) -> int:
    """Return the elements that a tensor of the file has as a row; of others, which may be a shape, the most axes."""
    home = part.home(name)
    held = None if home is None else home.weights.get(name)
    node = None if home is None else home.producers.get(name)
    if node is not None and node.op_type == "Constant":
        for each in node.attribute:
            held = each.t if each.HasField("t") else held
            if each.ints or each.floats:
                return len(each.ints) + len(each.floats)
    return MOST_AXES if held is None else int(held.dims[0]) if len(held.dims) == 1 else 1


def check_made(function: str, model: onnx.ModelProto) -> None:
    """Refuse a model that makes tensors of nothing which are too large, before anybody makes one.

    Counted are tensors that follow from no input, as far as onnx infers their sizes; sparse tensors, as if they were
    dense; tensors of the file that claim a size and hold no data; and what nodes enlarge to sizes that are constants.
    Nothing is expanded.

    Raises
    ------
    ValueError
        If one of them, or all together, would have more than `MOST_MADE` bytes, or if a Range of constants has more
        than `MOST_ELEMENTS` elements, which onnx writes down one by one when it infers shapes.
    """
    total = _Total(function)
    for part in scopes_of(model):
        for tensor in part.container.initializer if isinstance(part.container, onnx.GraphProto) else ():
            if tensor.data_location != tensor.EXTERNAL and not any(len(getattr(tensor, each)) for each in STORED):
                total.add(f"the initializer {tensor.name!r}", tensor.dims, tensor.data_type)
        for sparse, name in _sparse(part.container):
            total.add(f"the sparse tensor {name!r}", sparse.dims, sparse.values.data_type)
        for node in part.container.node:
            if node.op_type in ENLARGING and is_default(node.domain):
                _check_enlarged(total, part, node)
        _add_inferred(total, part)


@dataclass
class _Total:
    """What a model makes of nothing, in bytes."""

    function: str
    size: int = 0

    def check(self, what: str, elements: int, elem_type: int) -> int:
        """Refuse a tensor that is too large by itself; return its bytes."""
        size = elements * _item_size(elem_type)
        if size > MOST_MADE:
            raise value_error(
                self.function,
                f"{what} would have {many(elements)} elements, {many(size)} bytes",
                f"what a model makes itself may have {MOST_MADE}",
            )
        return size

    def add(self, what: str, dims: Iterable[int], elem_type: int) -> None:
        """Add a tensor that the model makes of nothing."""
        self.size += self.check(what, math.prod(max(size, 0) for size in dims), elem_type)
        if self.size > MOST_MADE:
            raise value_error(
                self.function,
                f"what the model makes of nothing would have {many(self.size)} bytes with {what}",
                f"at most {MOST_MADE} are read",
            )


def _check_enlarged(total: _Total, part: Scope, node: onnx.NodeProto) -> None:
    """Check what a node gives by the sizes that it is told, if these are constants."""
    what = f"{node.op_type} node {node.name or next(iter(node.output), '')!r}"
    if node.op_type == "Range":
        limits = [_value(part, name) for name in node.input]
        if len(limits) == 3 and _count(*limits) > MOST_ELEMENTS:
            raise value_error(
                total.function,
                f"the Range {next(iter(node.output), '')!r} has more than {MOST_ELEMENTS} elements, which no pooling "
                "needs to know one by one",
                "leave it out, or make it an input",
            )
        return
    place, name = ENLARGING[node.op_type]
    given: Any = next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), None)
    if given is None and 0 <= place < len(node.input) and node.input[place]:
        given = _value(part, node.input[place])
    try:
        numbers = [] if given is None else [int(each) for each in np.asarray(given).ravel()[:SMALL_TENSOR].tolist()]
    except (ArithmeticError, TypeError, ValueError):
        return
    if node.op_type == "Pad":
        numbers = [max(numbers, default=0)]
    if numbers and min(numbers) > 0:
        total.check(f"what the {what} gives", math.prod(numbers), 0)


def _count(start: Array | None, stop: Array | None, step: Array | None) -> float:
    """Count the elements of a Range, as far as its limits are known."""
    if stop is None or step is None or stop.size != 1 or step.size != 1:
        return 0
    try:
        begin = start.item() if start is not None and start.size == 1 else 0
        return float((stop.item() - begin) / step.item())
    except (ArithmeticError, TypeError, ValueError):
        return 0


def _add_inferred(total: _Total, part: Scope) -> None:
    """Count what follows from no input, by the shapes that onnx infers."""
    own = [node for node in part.container.node if _follows(part, node)]
    part.made.update(name for node in own for name in node.output if name)
    names = [name for node in own if node.op_type != "Constant" for name in node.output if name]
    if not names:
        return
    nodes, weights = _behind(part, own)
    inputs = [
        helper.make_tensor_value_info(each.name, each.data_type, each.dims)
        for each in weights
        if math.prod(each.dims) > SMALL_TENSOR or each.data_location == onnx.TensorProto.EXTERNAL
    ]
    held = {each.name for each in inputs}
    small = [each for each in weights if each.name not in held]
    graph = helper.make_graph(nodes, "made", inputs, [onnx.ValueInfoProto(name=name) for name in names], small)
    try:
        inferred = infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", part.opset or 1)]))
    except Exception:  # whatever onnx raises of a wrong model, which is the business of others
        return
    for info in inferred.graph.output:
        kind = info.type.tensor_type
        if kind.HasField("shape") and all(size.HasField("dim_value") for size in kind.shape.dim):
            total.add(f"the constant {info.name!r}", [size.dim_value for size in kind.shape.dim], kind.elem_type)


def _follows(part: Scope, node: onnx.NodeProto) -> bool:
    """Whether what a node gives follows from no input of the model, as far as the nodes before it are known."""
    if not is_default(node.domain) or node.op_type in DRAWN:
        return False
    if any(each.HasField("g") or each.graphs or each.ref_attr_name for each in node.attribute):
        return False
    homes = [(name, part.home(name)) for name in node.input if name]
    follows = all(
        home is not None and name not in home.taken and (name in home.made or name in home.weights)
        for name, home in homes
    )
    if follows:
        part.made.update(name for name in node.output if name)
    return follows


def _behind(part: Scope, own: Sequence[onnx.NodeProto]) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Return nodes with all that they follow from, in order: those of the graphs around them, and weights."""
    nodes, weights = [*own], dict[str, onnx.TensorProto]()
    found = {id(node) for node in own}
    waiting = [(part, name) for node in own for name in node.input if name]
    while waiting:
        where, name = waiting.pop()
        home = where.home(name)
        if home is None:
            continue
        node = home.producers.get(name)
        if name in home.weights:  # also where a node of a wrong model gives the same name
            weights[name] = home.weights[name]
        elif node is not None and id(node) not in found:
            found.add(id(node))
            nodes.append(node)
            waiting += [(home, each) for each in node.input if each]
    around, places = part, dict[int, tuple[int, int]]()
    depth = 0
    while around is not None:
        for number, node in enumerate(around.container.node):
            places[id(node)] = (-depth, number)
        around, depth = around.outer, depth + 1  # type: ignore[assignment]
    return sorted(nodes, key=lambda node: places[id(node)]), [*weights.values()]


def _graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    for part in scopes_of(model):
        if isinstance(part.container, onnx.GraphProto):
            yield part.container


def _all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for part in scopes_of(model):
        yield from part.container.node


def tensors_of(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Yield all tensors that a model holds, wherever that is, with words for each."""
    for part in scopes_of(model):
        if isinstance(part.container, onnx.GraphProto):
            yield from ((f"initializer {each.name!r}", each) for each in part.container.initializer)
        for sparse, name in _sparse(part.container):
            yield from ((f"the sparse tensor {name!r}", each) for each in (sparse.values, sparse.indices))
        for node in part.container.node:
            for attribute in node.attribute:
                title = f"{attribute.name} of {node.op_type} node {node.name or next(iter(node.output), '')!r}"
                held = [attribute.t] if attribute.HasField("t") else []
                yield from ((title, each) for each in (*held, *attribute.tensors))


def _sparse(container: Container) -> Iterator[tuple[onnx.SparseTensorProto, str]]:
    """Yield the sparse tensors of a graph or a function, with names."""
    if isinstance(container, onnx.GraphProto):
        yield from ((each, each.values.name) for each in container.sparse_initializer)
    for node in container.node:
        for attribute in node.attribute:
            title = node.name or next(iter(node.output), node.op_type)
            held = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
            yield from ((each, title) for each in (*held, *attribute.sparse_tensors))


def _is_range(node: onnx.NodeProto) -> bool:
    return node.op_type == "Range" and is_default(node.domain) and len(node.input) == 3


def _item_size(elem_type: int) -> int:
    dtype = dtype_of(elem_type)
    return 4 if dtype is None else dtype.itemsize
