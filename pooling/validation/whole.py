"""Poolings among their neighbours, with which runtimes fuse them, and may compute something else then.

A pooling node is cut out of its network together with the nodes that a runtime may fuse it with: what it reads from, a
convolution, a DequantizeLinear, a Pad, and what reads it, a QuantizeLinear, a Transpose. Runtimes run the piece as a
model, with their optimiser on. What is expected is put together: what stands before and behind by onnxruntime with its
optimiser off, and the pooling in between by the kernels of this library. Whether the node alone comes out as the oracle
has it was seen before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.numerics.compare import differing
from pooling.onnx_models import POOLING_OPERATORS
from pooling.onnx_models.graph import is_default, subgraphs
from pooling.onnx_models.making import (
    GraphProto,
    ModelProto,
    NodeProto,
    OperatorSetIdProto,
    TensorProto,
    ValueInfoProto,
    array_of,
    dtype_of,
    small_model,
    tensor_info,
)

from .pooling_nodes import PoolingModel, PoolingNode, graphs_of, known_tensor
from .rules.evidence import ALIKE
from .verdicts import Kind, of_another_form, told

__all__ = ["Neighbourhood", "difference", "neighbourhood"]

Numbers = NDArray[Any]
BEFORE = frozenset(
    {
        *("Add", "BatchNormalization", "Cast", "Clip", "Concat", "Conv", "DequantizeLinear", "Identity", "LeakyRelu"),
        *("Mul", "Pad", "QLinearConv", "QuantizeLinear", "Relu", "Reshape", "Squeeze", "Transpose", "Unsqueeze"),
    }
)
BEHIND = frozenset(
    {
        *("Add", "Cast", "Clip", "DequantizeLinear", "Flatten", "Identity", "LeakyRelu", "Mul", "QuantizeLinear"),
        *("Relu", "Reshape", "Squeeze", "Transpose"),
    }
)
"""Operators that runtimes fuse with a pooling, or whose layout it takes over."""
STEPS = 2
"""Nodes before a pooling, one behind the other."""
MOST_BEHIND = 4
SMALL_CONSTANT = 1024
"""Elements of a constant that is taken as it is; the numbers of larger ones do not matter to a fusion."""
LARGEST = 2**25
"""Elements of all inputs of a piece that is asked about."""


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """A pooling node, and the nodes before and behind it, in order."""

    before: tuple[NodeProto, ...]
    node: NodeProto
    """The pooling."""
    behind: tuple[NodeProto, ...]
    inputs: dict[str, Numbers]
    """What goes into all of it."""
    constants: dict[str, Numbers]
    """What the nodes read besides."""
    outputs: tuple[str, ...]
    """What comes out of all of it."""
    opset: int
    """Version of the default operator set."""
    imports: tuple[OperatorSetIdProto, ...] = field(repr=False, default=())
    """Of the network."""
    types: Mapping[str, ValueInfoProto] = field(repr=False, default_factory=dict)
    """What is known of the network's tensors."""

    @property
    def model(self) -> ModelProto:
        """All of it."""
        return self._model((*self.before, self.node, *self.behind), self.inputs, self.outputs)

    @property
    def first(self) -> ModelProto:
        """What stands before the pooling; gives what that reads, and what else comes out."""
        own = {name for node in self.before for name in node.output}
        wanted = dict.fromkeys([self.node.input[0], *(name for name in self.outputs if name in own)])
        return self._model(self.before, self.inputs, tuple(wanted))

    def last(self, found: Mapping[str, Numbers]) -> ModelProto:
        """Return what stands behind the pooling, which takes tensors that are known."""
        own = {name for node in self.behind for name in node.output}
        return self._model(self.behind, self.fed(found), tuple(name for name in self.outputs if name in own))

    def fed(self, found: Mapping[str, Numbers]) -> dict[str, Numbers]:
        """Return what of known tensors the nodes behind the pooling read."""
        read = {name for node in self.behind for name in node.input}
        return {name: array for name, array in found.items() if name in read and name not in self.constants}

    @property
    def around(self) -> str:
        """The operators around it."""
        return ", ".join(dict.fromkeys(node.op_type for node in (*self.before, *self.behind)))

    @property
    def key(self) -> bytes:
        """What two pieces have in common that need to be asked about once: everything but names and places."""
        names: dict[str, str] = {"": ""}
        parts = []
        for node in (*self.before, self.node, *self.behind):
            plain = NodeProto()
            plain.CopyFrom(node)
            plain.ClearField("name")
            plain.ClearField("doc_string")
            for tensors in (plain.input, plain.output):
                for place, name in enumerate(tensors):
                    tensors[place] = names.setdefault(name, f"t{len(names)}")
            parts.append(plain.SerializeToString(deterministic=True))
        held = (
            (names.get(name), array.dtype.str, array.shape, array.tobytes() if array.size <= SMALL_CONSTANT else b"")
            for name, array in self.constants.items()
        )
        shapes = ((names.get(name), array.dtype.str, array.shape) for name, array in self.inputs.items())
        outputs = [names.get(name) for name in self.outputs]
        return repr((parts, sorted(map(repr, held)), sorted(map(repr, shapes)), outputs, self.opset)).encode()

    def _model(self, nodes: Sequence[NodeProto], inputs: Mapping[str, Numbers], outputs: Iterable[str]) -> ModelProto:
        read = {name for node in nodes for name in node.input}
        domains = {node.domain for node in nodes}
        return small_model(
            nodes,
            [tensor_info(name, array.dtype, array.shape) for name, array in inputs.items()],
            [self.types.get(name, ValueInfoProto(name=name)) for name in outputs],
            [each for each in self.imports if is_default(each.domain) or each.domain in domains],
            {name: array for name, array in self.constants.items() if name in read},
        )


def neighbourhood(network: PoolingModel, node: PoolingNode, seed: int) -> Neighbourhood | None:
    """Cut a pooling out of its network with what stands around it; None where there is nothing to fuse it with."""
    model = network.model
    if model is None or len(node.proto.input) != 1 or node.proto.op_type not in POOLING_OPERATORS:
        return None
    parts = [each for each in graphs_of(model.graph) if any(proto.output == node.proto.output for proto in each.node)]
    if len(parts) != 1:
        return None  # branches with equal names
    (part,) = parts
    return _Cut(network, part, node, np.random.default_rng(seed)).made()


class _Cut:
    def __init__(self, network: PoolingModel, part: GraphProto, node: PoolingNode, random: np.random.Generator) -> None:
        self.network = network
        self.part = part
        self.node = node
        self.random = random
        self.producers = {name: proto for proto in part.node for name in proto.output if name}
        self.held = {tensor.name: tensor for tensor in part.initializer}
        self.constants: dict[str, Numbers] = {}
        self.inputs: dict[str, Numbers] = {}

    def made(self) -> Neighbourhood | None:
        node = self.node.proto
        before: list[NodeProto] = []
        name = node.input[0]
        for _ in range(STEPS):
            producer = self.producers.get(name)
            if producer is None or not self._usable(producer, BEFORE, {name}):
                break
            before.insert(0, producer)
            name = producer.input[0]
        if not self._taken(before, {node.input[0]}):
            return None
        if not before and not self._input(node.input[0]):
            return None
        inside = {name for each in (*before, node) for name in each.output}
        readers = [each for each in self.part.node if node.output[0] in each.input]
        behind: list[NodeProto] = []
        if len(readers) <= MOST_BEHIND and all(self._usable(each, BEHIND, inside) for each in readers):
            behind = readers
            if not self._taken(behind, inside):
                return None
        if not before and not behind:
            return None
        if sum(array.size for array in self.inputs.values()) > LARGEST:
            return None
        nodes = [*before, node, *behind]
        outputs = [name for each in nodes for name in each.output if name and self._leaves(name, nodes)]
        # An index or a tensor that nobody reads comes out, too, as long as something does.
        outputs = outputs or [name for name in nodes[-1].output[:1] if name]
        return Neighbourhood(
            tuple(before),
            node,
            tuple(behind),
            self.inputs,
            self.constants,
            tuple(dict.fromkeys(outputs)),
            self.node.opset,
            tuple(self.network.model.opset_import),  # type: ignore[union-attr]
            self.network.tensors,
        )

    def _leaves(self, name: str, nodes: Sequence[NodeProto]) -> bool:
        """Whether something else reads a tensor, so that no fusion can do without it."""
        if any(each.name == name for each in self.part.output):
            return True
        inside = {tuple(node.output) for node in nodes}
        return any(name in each.input for each in self.part.node if tuple(each.output) not in inside)

    def _usable(self, node: NodeProto, operators: frozenset[str], inside: set[str]) -> bool:
        if node.op_type not in operators or any(True for _ in subgraphs(node)) or not node.input:
            return False
        if not (is_default(node.domain) or node.domain == "com.microsoft"):
            return False
        return all(name in inside or self._known(name) for name in node.input if name)

    def _known(self, name: str) -> bool:
        """Whether numbers can be drawn for a tensor, or are there."""
        if name in self.held or self._constant(name) is not None:
            return True
        shape, dtype = known_tensor(self.network, name)
        return shape is not None and dtype is not None and dtype.kind in "fiuV" and dtype.itemsize != 8

    def _constant(self, name: str) -> Numbers | None:
        producer = self.producers.get(name)
        if producer is None or producer.op_type != "Constant" or not is_default(producer.domain):
            return None
        held = next((each.t for each in producer.attribute if each.name == "value"), None)
        return None if held is None else array_of(held)

    def _taken(self, nodes: Sequence[NodeProto], inside: set[str]) -> bool:
        """Give every tensor that the nodes read a value; tell whether that could be done."""
        own = inside | {name for each in nodes for name in each.output}
        for node in nodes:
            for place, name in enumerate(node.input):
                if not name or name in own or name in self.constants or name in self.inputs:
                    continue
                constant = self._constant(name)
                held = self.held.get(name)
                if constant is not None:
                    self.constants[name] = constant
                elif held is not None:
                    array = self._weight(held, drawn=node.op_type == "Conv" and place > 0)
                    if array is None:
                        return False
                    self.constants[name] = array
                elif not self._input(name):
                    return False
        return True

    def _weight(self, held: TensorProto, *, drawn: bool) -> Numbers | None:
        """Return a constant, or whole numbers in its place: sums of such are the same in any order."""
        dtype = dtype_of(held.data_type)
        if dtype is None:
            return None
        external = held.data_location == TensorProto.EXTERNAL
        if not drawn and not external and math.prod(held.dims) <= SMALL_CONSTANT:
            try:
                return array_of(held)
            except Exception:  # broken data is the business of whoever needs it
                return None
        if dtype.kind not in "fiuV" or dtype.itemsize == 8:
            return None
        return self.random.integers(0 if dtype.kind == "u" else -1, 2, tuple(held.dims)).astype(dtype)

    def _input(self, name: str) -> bool:
        """Draw whole numbers for an input, all that there are for bytes."""
        shape, dtype = known_tensor(self.network, name)
        if shape is None or dtype is None or dtype.kind not in "fiuV":
            return False
        if math.prod(shape) > LARGEST:
            return False
        if dtype.kind in "iu" and dtype.itemsize == 1:
            info = np.iinfo(np.int8 if dtype.kind == "i" else np.uint8)
            array = self.random.integers(info.min, int(info.max) + 1, shape)
        else:
            array = self.random.integers(-4, 5, shape)
        self.inputs[name] = array.astype(dtype)
        return True


def difference(
    expected: Sequence[Numbers], actual: Sequence[Numbers], layers: float = 1.0
) -> tuple[str, tuple[int, ...] | None]:
    """Say how what came differs from what is expected by more than rounding explains, and where; or nothing.

    Floating-point numbers may be off by what the largest of them says that rounding may do, and integers, which are
    quantised, by 1; by `layers` times as much where so many layers stand one behind the other.
    """
    if len(expected) != len(actual):
        return f"{len(actual)} outputs instead of {len(expected)}", None
    for wanted, found in zip(expected, actual, strict=True):
        if (form := of_another_form(wanted, found)) is not None:
            return form.sentence, None
        if not wanted.size:
            continue
        left, right = wanted.astype(np.float64), found.astype(np.float64)
        bound = layers
        if wanted.dtype.kind not in "iub":
            finite = np.abs(left[np.isfinite(left)])
            bound = layers * ALIKE.get(wanted.dtype.name, 1e-5) * float(finite.max(initial=0.0))
        wrong = differing(left, right, bound)
        if wrong.any():
            with np.errstate(invalid="ignore"):
                worst = np.where(wrong, np.nan_to_num(np.abs(left - right), nan=np.inf), -1.0)
            where = tuple(int(each) for each in np.unravel_index(int(np.argmax(worst)), worst.shape))
            count = int(np.count_nonzero(wrong))
            return told(Kind.VALUE, wanted[where], found[where], where, count, wrong.size), where
    return "", None
