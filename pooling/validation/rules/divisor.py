"""What a mean is divided by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import pooling
from pooling.onnx_models import layer_from_node

from ..inputs.case import Case
from .evidence import Evidence
from .rule import EachCell, OfGradient, Rule, torch_text
from .samples import Samples


def _divisors(draw: Samples) -> Iterator[Case]:
    first = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    for opset in (10, 11, 19, 22):
        window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
        yield draw.case("AveragePool", first, opset, "0 to 15", ceil_mode=1, count_include_pad=1, **window)
    counted: dict[str, Any] = {"padded": True, "ceil_mode": 1, "count_include_pad": 1}
    yield from draw.plain_at(
        draw.places(["AveragePool"], needs=["ceil_mode", "count_include_pad"], repeat=2), **counted
    )


def _gradient_divides_by_kernel(it: Evidence) -> bool:
    """Whether the gradient divides by the whole kernel also where a window touches cells behind the padding."""
    gradient, found = it.case.gradient, it.found
    if it.operator != "AveragePool" or gradient is None or found is None or found.shape != it.shape:
        return False
    layer = layer_from_node(it.node, it.opset, it.shape)
    if not any(axis.ceil_overhang for axis in layer.axes(it.shape)):
        return False
    backward: Any = getattr(pooling, f"{layer.function}_backward")
    arguments = {**layer.arguments, "divisor_override": it.tap_count}
    wide, sizes = gradient.astype(np.float64), np.abs(gradient.astype(np.float64))
    other, magnitude = (backward(each, it.array.astype(np.float64), **arguments) for each in (wide, sizes))
    return it.isclose(other, found, magnitude)


DIVISOR_COUNTS_DECLARED_PADDING = Rule(
    "divisor-counts-declared-padding",
    "the divisor stops at declared padding",
    "With count_include_pad=1 the divisor counts input and declared padding, and never the cells behind them that "
    "a window of ceil_mode touches.",
    f"{torch_text('avg_pool2d')}; ONNX is silent",
    samples=_divisors,
    applies=lambda it: (
        it.operator == "AveragePool"
        and bool(it.attributes.get("count_include_pad"))
        and any(axis.ceil_overhang for axis in it.axes)
    ),
    diagnose=(
        EachCell(lambda it, *cell: it.has_other_divisor(*cell, overhanging=True)),
        OfGradient(_gradient_divides_by_kernel),
    ),
    remedy="divide the sum of the windows by the divisors as a constant; `pooling repair` does",
    confounder=True,
    implies=("ceil-partial-window",),
)
