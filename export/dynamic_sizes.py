"""Sizes that are known when a model runs: arithmetic on them as text and as nodes, and windows on such axes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.geometry import VALID, Axis, window_count

from .graph_builder import GraphBuilder, Value

__all__ = ["FreeAxis", "Number", "Size", "adaptive_axis", "folded", "free_axis", "in_graph", "product"]


# ----------------------------------------------------------------------------------------------------------
# Whole numbers

_SIGNS = {"Add": ("+", 1), "Sub": ("-", 1), "Mul": ("*", 2), "Div": ("//", 2), "Mod": ("%", 2)}
"""By operator, how Python writes it, and how tightly it binds."""


@dataclass(frozen=True)
class Size:
    """A whole number that is known when the model runs: a size of its input, or what is worked out from such.

    Arithmetic with integers and other sizes gives sizes; as text they are expressions in Python. No quotient is
    rounded but of numbers of at least 0, so that Div of ONNX, which rounds towards 0, is that of Python.

    Examples
    --------
    >>> height = Size("", (2,), "H")
    >>> str((height + 2 - 3) // 2 + 1)
    '(H - 1) // 2 + 1'
    """

    operator: str
    """Of ONNX; empty for a size of the input."""
    operands: tuple[Number, ...]
    """What it takes; for a size of the input, which axis that is."""
    name: str = ""
    """Of a size of the input."""

    def __str__(self) -> str:
        if not self.operator:
            return self.name
        left, right = self.operands
        if self.operator not in _SIGNS:
            return f"{self.operator.lower()}({left}, {right})"
        sign, tightness = _SIGNS[self.operator]
        if self.operator == "Add" and isinstance(right, int) and right < 0:
            sign, right = "-", -right
        return f"{_written(left, tightness)} {sign} {_written(right, tightness + 1)}"

    def __add__(self, other: Number) -> Number:
        if isinstance(other, int) and self.operator == "Add" and isinstance(self.operands[1], int):
            return self.operands[0] + (self.operands[1] + other)
        return self if other == 0 else Size("Add", (self, other))

    __radd__ = __add__

    def __sub__(self, other: Number) -> Number:
        return self + -other if isinstance(other, int) else Size("Sub", (self, other))

    def __rsub__(self, other: int) -> Number:
        return Size("Sub", (other, self))

    def __mul__(self, other: Number) -> Number:
        return self if other == 1 else Size("Mul", (self, other))

    __rmul__ = __mul__

    def __floordiv__(self, other: int) -> Number:
        return self if other == 1 else Size("Div", (self, other))

    def __mod__(self, other: int) -> Number:
        return 0 if other == 1 else Size("Mod", (self, other))


Number = int | Size
"""A size, known or not."""


def _written(number: Number, tightness: int) -> str:
    loose = isinstance(number, Size) and number.operator in _SIGNS and _SIGNS[number.operator][1] < tightness
    return f"({number})" if loose else str(number)


def product(numbers: Iterable[Number]) -> Number:
    """Multiply sizes."""
    result: Number = 1
    for number in numbers:
        result = result * number
    return result


def in_graph(graph: GraphBuilder, number: Number) -> Value:
    """Return a size as a node takes it, adding the nodes that work it out, unless the graph has them already."""
    if isinstance(number, int):
        return np.int64(number)
    if number not in graph.known:
        if number.operator:
            left, right = (in_graph(graph, each) for each in number.operands)
            if number.operator == "Max":  # which takes no int64 below opset 12
                graph.known[number] = graph("Where", graph("Less", left, right), right, left, why=str(number))
            else:
                graph.known[number] = graph(number.operator, left, right, why=str(number))
        else:
            if "shape" not in graph.known:
                graph.known["shape"] = graph("Shape", "input", why="Sizes that are known at run time.")
            (axis,) = number.operands
            graph.known[number] = graph("Gather", graph.known["shape"], in_graph(graph, axis), axis=0, why=str(number))
    return graph.known[number]


# ----------------------------------------------------------------------------------------------------------
# Tables


def _over(reduction: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, axes, keepdims: reduction(x, axis=tuple(axes), keepdims=bool(keepdims))


_NUMPY: dict[str, Callable[..., Any]] = {
    "Abs": np.abs,
    "Add": np.add,
    "Less": np.less,
    "Mul": np.multiply,
    "Or": np.logical_or,
    "Reshape": np.reshape,
    "ReduceMax": _over(np.max),
    "ReduceMin": _over(np.min),
    "ReduceSum": _over(np.sum),
    "Sub": np.subtract,
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes)),
    "Where": np.where,
}


def folded(graph: GraphBuilder, operator: str, *inputs: Value, why: str = "", **keywords: Any) -> Value:
    """Add a node; where all that it takes is known, work out now what it would give."""
    if any(isinstance(value, str) for value in inputs):
        return graph(operator, *inputs, why=why, **keywords)
    result: NDArray[Any] = _NUMPY[operator](*inputs, **keywords)
    return result


# ----------------------------------------------------------------------------------------------------------
# Axes


MANY_SIZES = 64
"""So many sizes are looked at one by one."""
COLUMN = np.array([-1, 1])
"""To Reshape, since onnx takes what comes from Unsqueeze for a shape, of which it wants to know the rank."""


@dataclass(frozen=True)
class FreeAxis:
    """An axis whose size is known when the model runs, with the fields of `pooling.geometry.Axis` and some more."""

    input_size: Size
    output_size: Number
    kernel_size: Number
    stride: int = 1
    dilation: int = 1
    pad_begin: Number = 0
    pad_end: Number = 0
    ceil_overhang: int = 0
    """The most cells beyond the declared padding that the last window touches. With as much more padding, windows are
    as many for every size as with ``ceil_mode``."""
    adaptive: bool = False
    smallest: int = 1
    """The smallest size on which a window finds a place."""
    may_be_empty: bool = False
    """Whether there may be windows without a tap in the input."""

    @property
    def is_global(self) -> bool:
        """Whether one window holds the whole axis."""
        return self.adaptive and self.output_size == 1

    @property
    def has_out_of_bounds_taps(self) -> bool:
        """Whether there may be taps outside the input, or outside an adaptive window."""
        if self.adaptive:
            return not self.is_global
        return self.pad_begin != 0 or self.pad_end != 0 or self.ceil_overhang > 0

    @property
    def has_dynamic_padding(self) -> bool:
        """Whether the padding follows the size, so that no node can say it."""
        return not isinstance(self.pad_begin, int)

    def positions(self, graph: GraphBuilder) -> str:
        """List the cell under each tap of each window, (output_size, kernel_size), wherever that lies."""
        return self._once(graph, "positions", self._positions)

    def taps(self, graph: GraphBuilder) -> str:
        """List the input cell under each tap of each window, (output_size, kernel_size); -1 where none is."""
        return self._once(graph, "taps", self._taps) if self.has_out_of_bounds_taps else self.positions(graph)

    def divisors(self, graph: GraphBuilder, *, count_include_pad: bool) -> Value:
        """Count the taps of each window in the input and in the declared padding; one number where all are alike."""
        if self.is_global:
            return graph("Unsqueeze", in_graph(graph, self.input_size), axes=[0])
        if not self.has_out_of_bounds_taps or (count_include_pad and not self.ceil_overhang):
            assert isinstance(self.kernel_size, int)
            return np.array([self.kernel_size])
        one, zero = np.int64(1), np.int64(0)
        if count_include_pad:
            end = in_graph(graph, self.input_size + self.pad_end)
            counted = graph("Where", graph("Less", self.positions(graph), end), one, zero)
        else:
            counted = graph("Where", graph("Less", self.taps(graph), zero), zero, one)
        return graph("ReduceSum", counted, axes=[1], keepdims=0, why="Elements of each window.")

    def _once(self, graph: GraphBuilder, what: str, make: Callable[[GraphBuilder], str]) -> str:
        if (self, what) not in graph.known:
            graph.known[self, what] = make(graph)
        return graph.known[self, what]

    def _positions(self, graph: GraphBuilder) -> str:
        if self.adaptive:
            assert isinstance(self.output_size, int)
            numbers = np.arange(self.output_size, dtype=np.int64)
            cells = graph("Mul", numbers, in_graph(graph, self.input_size))
            start = graph("Div", cells, np.int64(self.output_size), why="floor(o * I / O)")
        else:
            window = self._range(graph, self.output_size)
            start = graph("Mul", window, np.int64(self.stride)) if self.stride > 1 else window
            if self.pad_begin != 0:
                start = graph("Sub", start, in_graph(graph, self.pad_begin))
        if isinstance(self.kernel_size, int):
            tap: Value = np.arange(self.kernel_size, dtype=np.int64) * self.dilation
        else:
            tap = self._range(graph, self.kernel_size)
        return graph("Add", graph("Reshape", start, COLUMN), tap, why="The cell under each tap of each window.")

    def _taps(self, graph: GraphBuilder) -> str:
        cells, size = self.positions(graph), in_graph(graph, self.input_size)
        if self.adaptive:
            assert isinstance(self.output_size, int)
            later = np.arange(1, self.output_size + 1, dtype=np.int64)
            upper = graph("Add", graph("Mul", later, size), np.int64(self.output_size - 1))
            stop = graph("Div", upper, np.int64(self.output_size), why="ceil((o + 1) * I / O)")
            inside = graph("Less", cells, graph("Reshape", stop, COLUMN))
            return graph("Where", inside, cells, np.int64(-1), why="-1 behind the window.")
        inside = graph("Less", cells, size)
        if self.pad_begin != 0:
            inside = graph("And", inside, graph("Greater", cells, np.int64(-1)))
        return graph("Where", inside, cells, np.int64(-1), why="-1 outside the input.")

    @staticmethod
    def _range(graph: GraphBuilder, count: Number) -> str:
        return graph("Range", np.int64(0), in_graph(graph, count), np.int64(1), why=f"0 to {count - 1}")


def free_axis(sample: Axis, size: Size, padding: Any = 0, ceil_mode: bool = False) -> FreeAxis:
    """Lay the windows of an axis of unknown size: as those of a sample, for whose size the layer chose numbers.

    The formulas are those of `pooling.geometry.pool_axes`, with numerators that do not become negative: an input that
    is too small for one window has none.
    """
    reach, stride, kernel_size, dilation = (
        getattr(sample, name) for name in ("effective_kernel_size", "stride", "kernel_size", "dilation")
    )
    same = isinstance(padding, str) and padding != VALID
    declared = sample.pad_begin + sample.pad_end
    # No window begins behind the input, so that none needs more padding than its other cells.
    overhang = min(stride - 1, reach - 1 - sample.pad_end) if ceil_mode and not same else 0
    smallest = 1 if same else max(1, reach - declared - overhang)

    def placed(size: Number) -> tuple[Number, Number, Number]:
        """Return the size of the output, and pads."""
        if not same:
            return window_count(size + (declared + overhang), reach, stride), sample.pad_begin, sample.pad_end
        output = window_count(size, 1, stride)
        total = _at_least_0(reach - 1 - (size - 1) % stride)
        less, more = total // 2, (total + 1) // 2
        return (output, more, less) if padding == "same_lower" else (output, less, more)

    def has_empty_windows(size: int) -> bool:
        output, begin, end = map(int, placed(size))  # type: ignore[arg-type]
        axis = Axis(size, output, kernel_size, stride, dilation, begin, end)
        return bool((axis.windows(np.arange(output)).count == 0).any())

    # Taps that lie apart step over inputs that are smaller.
    critical = range(smallest, dilation)
    may_be_empty = len(critical) > MANY_SIZES or any(map(has_empty_windows, critical))
    output, begin, end = placed(size)
    return FreeAxis(
        size,
        output,
        kernel_size,
        stride,
        dilation,
        begin,
        end,
        overhang,
        smallest=smallest,
        may_be_empty=may_be_empty,
    )


def _at_least_0(number: Number) -> Number:
    return max(number, 0) if isinstance(number, int) else Size("Max", (number, 0))


def adaptive_axis(size: Size, output_size: int | None) -> FreeAxis:
    """Lay a fixed number of windows over an axis of unknown size; None keeps the axis."""
    if output_size is None:
        return FreeAxis(size, size, 1)
    largest = size if output_size == 1 else (size + (output_size - 1)) // output_size + 1
    return FreeAxis(size, output_size, largest, adaptive=True)
