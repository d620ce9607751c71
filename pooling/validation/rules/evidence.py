"""What there is to see of a wrong answer: its node, its windows, and the cells that differ."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pooling.geometry import Axis
from pooling.numerics.compare import differing
from pooling.onnx_models import layer_from_node
from pooling.onnx_models.graph import attributes_of
from pooling.onnx_models.making import NodeProto, make_node
from pooling.onnx_models.nodes import has_window_starting_in_end_padding

from ..comparison import permitted_errors

if TYPE_CHECKING:
    from ..inputs.case import Case
    from ..runners.results import Result
    from ..verdicts import Verdict

__all__ = ["MAXIMA", "MEANS", "NORMS", "Cell", "Evidence", "Setting"]

Numbers = NDArray[Any]
Cell = tuple[int, ...]
WITHOUT_WINDOWS = frozenset({"MaxUnpool", "MaxRoiPool", "RoiAlign"})
"""Operators whose results are not pooled from windows that attributes place."""
MAXIMA = frozenset({"MaxPool", "GlobalMaxPool"})
MEANS = frozenset({"AveragePool", "GlobalAveragePool"})
NORMS = frozenset({"LpPool", "GlobalLpPool"})
LEAST_BFLOAT16 = -3.3895313892515355e38
LARGE_AXIS = 2**20
"""Windows of an axis that are looked at one by one."""
LOOKED_AT = 64
"""Differing cells that are looked at, evenly over all of them."""
SHIFTS = 4
"""Cells by which windows are tried elsewhere."""
ALIKE = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5, "float64": 1e-10}
"""Relative difference of numbers that come from the same formula."""


@dataclass(frozen=True, eq=False)
class Setting:
    """A pooling node on an input of some shape, without the numbers."""

    node: NodeProto
    """The node."""
    opset: int
    """Version of the default operator set."""
    shape: tuple[int, ...]
    """Of its first input, ``(N, C, *S)``."""

    @property
    def operator(self) -> str:
        """The ONNX operator."""
        return str(self.node.op_type)

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """The attributes that the node names."""
        found = attributes_of(self.node)
        return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}

    @property
    def dimensions(self) -> int:
        """Spatial axes."""
        return len(self.shape) - 2

    def per_axis(self, name: str, default: int) -> list[int]:
        """Return an attribute with one integer for each spatial axis; pads have two."""
        return list(self.attributes.get(name, [default] * self.dimensions * (2 if name == "pads" else 1)))

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The windows on each spatial axis; none where they do not fit, or the operator pools no windows."""
        if self.operator in WITHOUT_WINDOWS:
            return ()
        try:
            return tuple(layer_from_node(self.node, self.opset, self.shape).axes(self.shape))
        except (TypeError, ValueError):
            return ()

    @property
    def ceil(self) -> bool:
        """Whether the number of windows is rounded up."""
        return bool(self.attributes.get("ceil_mode"))

    @property
    def auto_pad(self) -> str:
        """How padding follows from the sizes; NOTSET where it is given."""
        return str(self.attributes.get("auto_pad", "NOTSET"))

    @property
    def same(self) -> bool:
        """Whether padding is what SAME_UPPER or SAME_LOWER makes it."""
        return self.auto_pad.startswith("SAME")

    @property
    def column_major(self) -> bool:
        """Whether indices count columns first."""
        return bool(self.attributes.get("storage_order"))

    @property
    def uneven(self) -> bool:
        """Whether any axis has more padding at one side than at the other."""
        return any(axis.pad_begin != axis.pad_end for axis in self.axes)

    @property
    def dilated(self) -> bool:
        """Whether taps of a window lie apart."""
        return any(axis.dilation > 1 and axis.kernel_size > 1 for axis in self.axes)

    @property
    def padded(self) -> bool:
        """Whether any axis has padding."""
        return any(axis.pad_begin or axis.pad_end for axis in self.axes)

    @property
    def late(self) -> bool:
        """Whether rounding up gives a window that starts behind the input, which is no window."""
        return self.ceil and any(has_window_starting_in_end_padding(axis) for axis in self.axes)

    @property
    def tap_count(self) -> int:
        """Elements of a window that lies inside the input."""
        count = 1
        for axis in self.axes:
            count *= axis.kernel_size
        return count

    @property
    def indices(self) -> bool:
        """Whether the node asks for indices."""
        return self.operator == "MaxPool" and len(self.node.output) > 1 and bool(self.node.output[1])

    @property
    def has_empty_window(self) -> bool:
        """Whether some window holds no element, which padding and dilation make together."""
        return any(
            axis.dilation > 1
            and axis.output_size < LARGE_AXIS
            and bool((axis.windows(np.arange(axis.output_size)).count == 0).any())
            for axis in self.axes
        )


@dataclass(frozen=True, eq=False)
class Evidence(Setting):
    """A wrong answer, with all that can be asked about it."""

    case: Case
    """The node and its numbers."""
    expected: Result
    """The oracle's."""
    verdict: Verdict
    """How the answer differs."""
    actual: Result | None
    """The answer; without it, only the cell that the verdict names can be looked at."""

    @classmethod
    def of(cls, case: Case, expected: Result, verdict: Verdict, actual: Result | None) -> Evidence:
        """Collect it."""
        return cls(case.node, case.opset, tuple(case.array.shape), case, expected, verdict, actual)

    @cached_property
    def array(self) -> Numbers:
        """The input."""
        return self.case.array

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Of the input."""
        return self.array.dtype

    @cached_property
    def least(self) -> set[float]:
        """The least finite numbers from which somebody may start, that of the input's dtype among them."""
        if self.dtype.kind in "iu":
            return {int(np.iinfo(self.dtype).min)}
        return {float(np.finfo(name).min) for name in ("float16", "float32", "float64")} | {LEAST_BFLOAT16}

    @cached_property
    def finfo(self) -> Any:
        """The limits of the input's dtype; those of float32 for bfloat16, which has as large and small numbers."""
        return np.finfo(np.float32 if self.dtype.name == "bfloat16" else self.dtype)

    def says(self, pattern: str) -> bool:
        """Whether the runtime's own words match a regular expression."""
        return re.search(pattern, self.verdict.sentence, re.IGNORECASE) is not None

    @cached_property
    def _cells_of_windows(self) -> list[NDArray[np.int64]]:
        return [axis.taps() for axis in self.axes]

    @cached_property
    def wanted(self) -> Numbers:
        """The output that differs, as the oracle has it."""
        return self.expected.outputs[self._place]

    @cached_property
    def found(self) -> Numbers | None:
        """The output that differs, as the runtime has it."""
        if self.actual is None or len(self.actual.outputs) != len(self.expected.outputs):
            return None
        return self.actual.outputs[self._place]

    @property
    def _place(self) -> int:
        """Where the output is among those that have a name."""
        return sum(bool(name) for name in self.node.output[: self.verdict.output])

    @cached_property
    def found_shape(self) -> tuple[int, ...] | None:
        """The shape of that output."""
        if self.found is not None:
            return tuple(self.found.shape)
        given = self.verdict.actual
        return given if isinstance(given, tuple) else None

    @cached_property
    def cells(self) -> tuple[tuple[Cell, Any, Any], ...]:
        """Cells of the output that differ, with the number that is expected there and the one that was found."""
        found, wanted = self.found, self.wanted if self.expected.outputs else None
        if found is None or wanted is None or found.shape != wanted.shape:
            where = self.verdict.where
            return () if where is None else ((where, self.verdict.expected, self.verdict.actual),)
        left, right = (
            array.astype(np.float64) if array.dtype.kind not in "iub" else array for array in (wanted, found)
        )
        bounds = permitted_errors(self.case) if self.verdict.output == 0 else None
        places = np.argwhere(differing(left, right, bounds))
        chosen = places[:: max(1, len(places) // LOOKED_AT)]
        cells = (tuple(int(i) for i in place) for place in chosen)
        return tuple((cell, left[cell].item(), right[cell].item()) for cell in cells)

    def taps(self, cell: Cell) -> list[NDArray[np.int64]]:
        """List, for each axis, the input cells under the taps of an output cell's window; -1 where none is."""
        return [taps[place] for taps, place in zip(self._cells_of_windows, cell[2:], strict=True)]

    def window(self, cell: Cell) -> Numbers:
        """Return the elements of an output cell's window, row by row."""
        within = [taps[taps >= 0] for taps in self.taps(cell)]
        plane = self.array[cell[:2]]
        elements: Numbers = plane[np.ix_(*within)].ravel()
        return elements if self.dtype.kind in "iub" else elements.astype(np.float64)

    def inside(self, cell: Cell) -> list[int]:
        """List the positions of the window's elements in their plane, flat and row by row."""
        within = [taps[taps >= 0] for taps in self.taps(cell)]
        places: list[int] = np.ravel_multi_index(np.ix_(*within), self.shape[2:]).ravel().tolist()
        return places

    def overhangs(self, cell: Cell) -> bool:
        """Whether an output cell's window reaches behind input and declared padding."""
        return any(
            axis.ceil_overhang and place == axis.output_size - 1
            for axis, place in zip(self.axes, cell[2:], strict=True)
        )

    def counts(self, cell: Cell) -> set[int]:
        """Return the divisors that somebody might take: elements, declared taps, all taps."""
        numbers = {self.window(cell).size, self.tap_count}
        for included in (False, True):
            each = [
                int(axis.windows(np.array([place]), count_include_pad=included).divisor[0])
                for axis, place in zip(self.axes, cell[2:], strict=True)
            ]
            numbers.add(math.prod(each))
        return numbers - {0}

    def has_nan(self, cell: Cell) -> bool:
        """Whether an output cell's window has a NaN."""
        return self.dtype.kind not in "iub" and bool(np.isnan(self.window(cell)).any())

    def has_other_divisor(self, cell: Cell, expected: float, actual: float, *, overhanging: bool) -> bool:
        """Whether a mean is the right sum over another count, that of a window which does or does not overhang."""
        if self.operator != "AveragePool" or self.overhangs(cell) != overhanging:
            return False
        if not (math.isfinite(actual) and math.isfinite(expected)):
            return False
        window = self.window(cell)
        total, magnitude = math.fsum(window), math.fsum(np.abs(window))
        means = [(total / count, magnitude / count) for count in self.counts(cell)]
        return any(self.isclose(mean, actual, size) and not self.isclose(mean, expected, size) for mean, size in means)

    def isclose(self, left: Any, right: Any, magnitude: Any = 0.0) -> bool:
        """Whether numbers come from the same formula, but for rounding.

        Rounding is a matter of the numbers that were added, whose `magnitude` may be larger than that of their sum.
        """
        left, right = np.asarray(left, np.float64), np.asarray(right, np.float64)
        tolerance = ALIKE.get(self.dtype.name, 0.0) * np.maximum(np.abs(right), magnitude)
        return not differing(left, right, tolerance).any()

    def explained_by(self, **attributes: Any) -> bool:
        """Whether the answer is that of the node with other attributes, None for those to be left out."""
        if self.found is None or self.verdict.output != 0:
            return False
        other = self.answer(**attributes)
        if other is None or other.shape != self.found.shape:
            return False
        return self.isclose(other, self.found, self.magnitude(**attributes))

    def magnitude(self, **attributes: Any) -> Numbers:
        """Return the mean of the absolute values in each window; of operators whose sums do not cancel, 0."""
        if self.operator not in MEANS:
            return np.zeros(())
        answer = self._pooled(np.abs(self.case.array), attributes)
        return np.zeros(()) if answer is None else np.nan_to_num(answer.astype(np.float64), posinf=0.0)

    def answer(self, **attributes: Any) -> Numbers | None:
        """Pool with other attributes; None where that cannot be."""
        return self._pooled(self.case.array, attributes)

    def _pooled(self, array: Numbers, attributes: Mapping[str, Any]) -> Numbers | None:
        node = make_node(
            self.operator,
            list(self.node.input[:1]),
            list(self.node.output[:1]),
            **{name: value for name, value in {**self.attributes, **attributes}.items() if value is not None},
        )
        try:
            return np.asarray(layer_from_node(node, self.opset, self.shape)(array))
        except (TypeError, ValueError):
            return None

    @cached_property
    def shifted_windows(self) -> bool:
        """Whether each number that differs comes from a window that begins some cells away, all by the same way.

        A single number might by chance.
        """
        if len(self.cells) < 2:
            return False
        reach = range(-SHIFTS, SHIFTS + 1)
        return any(
            all(self._from_window(cell, actual, shift) for cell, _, actual in self.cells)
            for shift in itertools.product(reach, repeat=len(self.axes))
            if any(shift)
        )

    def _from_window(self, cell: Cell, actual: float, shift: Sequence[int]) -> bool:
        within = []
        for axis, place, cells in zip(self.axes, cell[2:], shift, strict=True):
            start = place * axis.stride - axis.pad_begin + cells
            taps = np.arange(start, start + axis.effective_kernel_size, axis.dilation)
            within.append(taps[(taps >= 0) & (taps < axis.input_size)])
        elements = self.case.array[cell[:2]][np.ix_(*within)].astype(np.float64)
        if elements.size == 0:
            return False
        if self.operator == "MaxPool":
            return self.isclose(elements.max(), actual)
        if self.operator == "AveragePool":
            total, magnitude = elements.sum(), np.abs(elements).sum()
            counts = self.counts(cell) | {elements.size}
            return any(self.isclose(total / count, actual, magnitude / count) for count in counts)
        p = self.attributes.get("p", 2)
        return self.isclose((np.abs(elements) ** p).sum() ** (1 / p), actual)

    def every(self, holds: Callable[[Cell, Any, Any], bool]) -> bool:
        """Whether something holds of every cell that differs, of which there is one at least."""
        return bool(self.cells) and all(holds(*cell) for cell in self.cells)
