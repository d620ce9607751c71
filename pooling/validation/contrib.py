"""What is asked about poolings of com.microsoft, the operator set of onnxruntime.

What is expected of them is put together from ONNX's own operators: a quantised average is that of the numbers which the
elements stand for, divided by the scale of the result, rounded half to even and saturated
(https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md). ``MaxpoolWithMask`` is documented as
internal, and stays unasked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.numerics.compare import first_of
from pooling.onnx_models.contrib import DOMAIN, OPSET, QUANTISED, channels_first, has_channels_last, standard_node
from pooling.onnx_models.making import ModelProto, small_model, tensor_info

from .inputs.case import Case, single_node
from .pooling_nodes import PoolingNode
from .runners.results import Result
from .verdicts import Kind, Verdict, of_another_form, told

__all__ = ["Asked", "ask_about"]

Numbers = NDArray[Any]
ALMOST = 1e-3
"""How far, in steps of a quantised result, a sum in float32 may be off before it is rounded."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What is asked about a node of com.microsoft, and of the oracle in its place."""

    case: Case
    """The node, on integers of the whole range."""
    twin: Case
    """The operator of ONNX, on the numbers that they stand for, channels first."""
    scale: float
    zero: int
    """Quantization of the result."""

    @property
    def fed(self) -> dict[str, Numbers]:
        """What the model of `case` takes; it has the scales itself."""
        return {each.name: self.case.inputs[each.name] for each in self.case.model.graph.input}

    def expected(self, answer: Result) -> Numbers:
        """Return what has to come out, before it is rounded, from what the oracle says of `twin`."""
        (pooled,) = answer.outputs
        node = self.case.node
        if has_channels_last(node):
            pooled = np.moveaxis(pooled, 1, -1)
        if node.op_type not in QUANTISED:
            return pooled
        bounds = np.iinfo(self.case.array.dtype)
        return np.clip(pooled / self.scale + self.zero, bounds.min, bounds.max)

    def rounded(self, expected: Numbers) -> Numbers:
        """Return what has to come out, half to even."""
        # As QuantizeLinear has it: rounded before the zero point is added.
        return (np.rint(expected.astype(np.float64) - self.zero) + self.zero).astype(self.case.array.dtype)

    def judged(self, expected: Numbers, answer: Result) -> Verdict:
        """Hold an answer against what has to come out."""
        if answer.crash is not None:
            return Verdict(Kind.CRASHES, answer.crash)
        if answer.unsupported is not None:
            return Verdict(Kind.REFUSES, answer.unsupported)
        wanted, found = self.rounded(expected), answer.outputs[0]
        if (form := of_another_form(wanted, found)) is not None:
            return form
        # Of two neighbours either will do where rounding in float32 may decide between them.
        wrong = (found != wanted) & (np.abs(found.astype(np.float64) - expected) > 0.5 + ALMOST)
        off = float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max(initial=0.0))
        if not wrong.any():
            return Verdict(Kind.AGREES, elements=found.size, ulp=off, absolute=off)
        where, count = first_of(wrong), int(np.count_nonzero(wrong))
        sentence = told(Kind.VALUE, wanted[where], found[where], where, count, found.size)
        pair = wanted[where].item(), found[where].item()
        return Verdict(Kind.VALUE, sentence, where, *pair, count, found.size, off, off)


def ask_about(node: PoolingNode, seed: int, planes: int) -> Asked:
    """Make the question about a node, with so many different planes, which take turns.

    Raises
    ------
    ValueError
        If a scale or a zero point is known only when the model runs.
    """
    proto, shape = node.proto, node.input_shape
    dtype: np.dtype[Any] = np.dtype(node.dtype)
    if dtype.name not in ("int8", "uint8"):
        raise ValueError(f"its input has dtype {dtype.name}; compared are int8, uint8")
    bounds = np.iinfo(dtype)
    last = has_channels_last(proto)
    first = channels_first(shape) if last else shape
    count = math.prod(first[:2])
    drawn = np.random.default_rng(seed).integers(bounds.min, int(bounds.max) + 1, (min(count, planes), *first[2:]))
    array = drawn[np.arange(count) % max(1, len(drawn))].reshape(first).astype(dtype)
    array = np.ascontiguousarray(np.moveaxis(array, 1, -1) if last else array)
    constants: dict[str, Numbers] = {}
    scales = [1.0, 0.0, 1.0, 0.0]
    if proto.op_type in QUANTISED:
        values = {side.name: side.value for side in node.sides}
        for place, name in enumerate(list(proto.input)[1:5]):
            if not name:  # a zero point may be left out
                continue
            value = values.get(name)
            if value is None or value.size != 1:
                raise ValueError(f"its {PARAMETERS[place]} {name!r} is known only when the model runs")
            constants[name] = value
            scales[place] = float(value.reshape(-1)[0])
    numbers = array
    if proto.op_type in QUANTISED:
        numbers = (array.astype(np.float64) - scales[1]) * scales[0]
    if last:
        numbers = np.moveaxis(numbers, -1, 1)
    source = proto.input[0]
    twin = standard_node(proto)
    name = re.sub(r"[^\w.-]+", "-", f"{node.name}-contrib")
    inputs = {source: array, **constants}
    case = Case(name, _alone(node, array, constants), inputs, "integers of the whole range")
    second = Case(case.name, single_node(twin, OPSET, {"x": numbers}), {"x": np.ascontiguousarray(numbers)}, case.data)
    return Asked(case, second, scales[2], int(scales[3]))


PARAMETERS = ("x_scale", "x_zero_point", "y_scale", "y_zero_point")


def _alone(node: PoolingNode, array: Numbers, constants: Mapping[str, Numbers]) -> ModelProto:
    """Make a model of the node alone, with the scales that it has."""
    taken = tensor_info(node.proto.input[0], array.dtype, array.shape)
    given = tensor_info(node.proto.output[0], array.dtype, [None] * array.ndim)
    return small_model([node.proto], [taken], [given], {"": node.opset, DOMAIN: 1}, constants)
