"""Where every window lies: the one place that turns arguments into windows and output shapes.

Kernels, exporter, validator and doctor all read the `Axis` objects made here; none of them computes an output size.
Sizes are Python integers and therefore never overflow; whatever would not fit the 64-bit arithmetic of the kernels is
refused here, before any array is allocated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .arguments import INT64_MAX, axis_names, flag, integer, per_axis, sequence, whole, word
from .errors import value_error
from .signs import counted, short_repr

__all__ = [
    "Axis",
    "Slab",
    "adaptive_axes",
    "block_count",
    "count_windows",
    "global_axes",
    "padding_pairs",
    "pool_axes",
    "strides_of",
    "transposed_axes",
    "window_count",
]

LONG_WINDOW = 2**24
"""A longer window must find a quarter of itself in the input, because memory is laid out for whole windows."""


@dataclass(frozen=True)
class Windows:
    """Some windows of one axis, cut to the input: output positions, first valid input cell, valid taps, divisor."""

    output: NDArray[np.int64]
    first: NDArray[np.int64]
    count: NDArray[np.int64]
    divisor: NDArray[np.int64]


NO_WINDOWS = Windows(*np.empty((4, 0), np.int64))
FEW_WINDOWS = 16
"""Windows at the ends of an axis up to which each is cut on its own."""


@dataclass(frozen=True)
class Axis:
    """The windows of one spatial axis.

    Window ``o`` of a regular axis begins at input cell ``o * stride - pad_begin`` and has ``kernel_size`` taps that lie
    ``dilation`` cells apart. Window ``o`` of an adaptive axis runs from ``floor(o * I / O)`` to
    ``ceil((o + 1) * I / O)``.

    Attributes
    ----------
    input_size, output_size : int
        Cells before and after pooling.
    kernel_size, stride, dilation : int
        Of a regular axis; an adaptive axis has its largest window as ``kernel_size``.
    pad_begin, pad_end : int
        The declared padding. Cells beyond it that ``ceil_mode`` touches are `ceil_overhang`.
    adaptive : bool
        True when the windows follow from the output size.
    placed : pair of arrays, optional
        First cells and numbers of cells of the windows of an adaptive axis that lie elsewhere.
    """

    input_size: int
    output_size: int
    kernel_size: int
    stride: int = 1
    dilation: int = 1
    pad_begin: int = 0
    pad_end: int = 0
    adaptive: bool = False
    name: str = field(default="", compare=False)
    placed: tuple[NDArray[np.int64], NDArray[np.int64]] | None = field(default=None, compare=False)

    @property
    def effective_kernel_size(self) -> int:
        """Cells from the first to the last tap of a window, both included."""
        return self.dilation * (self.kernel_size - 1) + 1

    @property
    def is_identity(self) -> bool:
        """Whether every output is the input cell of the same number."""
        return self.output_size == self.input_size and self.kernel_size == self.stride == 1 and not self.pad_begin

    @property
    def is_global(self) -> bool:
        """Whether one window holds exactly the whole axis."""
        return (
            self.output_size == 1
            and self.kernel_size == self.input_size
            and not self.pad_begin
            and (self.dilation == 1 or self.kernel_size == 1)
        )

    def padding_of(self, kernel_size: int) -> tuple[int, int]:
        """Return the padding with which as many windows of another size have the same centres."""
        begin = self.pad_begin - (self.effective_kernel_size - kernel_size) // 2
        span = (self.output_size - 1) * self.stride + kernel_size
        return begin, max(0, span - self.input_size - begin)

    @property
    def divisible_kernel_size(self) -> int:
        """The smallest kernel that is not smaller and that the stride divides."""
        return -(-self.kernel_size // self.stride) * self.stride

    @property
    def most_taps(self) -> int:
        """How many windows hold one cell at most, where all of them exist."""
        return -(-self.kernel_size // (self.stride // math.gcd(self.stride, self.dilation)))

    @property
    def ceil_overhang(self) -> int:
        """Cells beyond input and declared padding that the last window touches (``ceil_mode`` only)."""
        if self.adaptive:
            return 0
        span = (self.output_size - 1) * self.stride + self.effective_kernel_size
        return max(0, span - self.pad_begin - self.input_size - self.pad_end)

    @property
    def dropped(self) -> int:
        """Input cells behind the last window, which floor division leaves out of every window."""
        if self.adaptive:
            return 0
        reach = (self.output_size - 1) * self.stride + self.effective_kernel_size - self.pad_begin
        return max(0, self.input_size - reach)

    @property
    def cut(self) -> int:
        """Cells of `dropped` that a smaller input would not have: without those that lie between any two windows."""
        return max(0, self.dropped - max(0, self.stride - self.effective_kernel_size))

    @property
    def unread_share(self) -> float:
        """The share of the cells between windows that none of them reads, whatever the size of the input."""
        if self.adaptive or self.output_size == 1:
            return 0.0
        # From window to window taps stand on the same cells again after so many taps.
        different = self.stride // math.gcd(self.stride, self.dilation)
        return 1 - min(self.kernel_size, different) / self.stride

    @property
    def padding_share(self) -> float:
        """The largest share of its taps that a window has outside of the input."""
        if self.adaptive:
            return 0.0
        border = self.border_windows()
        return float(1 - border.count.min() / self.kernel_size) if border.count.size else 0.0

    @property
    def formula(self) -> str:
        """How the output size follows from the numbers of this axis, as one would write it down.

        Examples
        --------
        >>> pool_axes([7], 2, 2)[0].formula
        'floor((7 - 2 + 0) / 2) + 1 = 3'
        >>> pool_axes([7], 3, 2, 1, dilation=2)[0].formula
        'floor((7 - 5 + 2) / 2) + 1 = 3'
        >>> adaptive_axes([7], 3)[0].formula
        '3 windows, each from floor(i * 7 / 3) to ceil((i + 1) * 7 / 3)'
        """
        if self.adaptive:
            count, size = self.output_size, self.input_size
            return f"{count} windows, each from floor(i * {size} / {count}) to ceil((i + 1) * {size} / {count})"
        taps, padding = self.effective_kernel_size, self.pad_begin + self.pad_end
        # Where ceil_mode rounds up to a window that would start behind the input, that window is dropped again.
        rounded = "floor" if self.output_size == window_count(self.input_size + padding, taps, self.stride) else "ceil"
        return f"{rounded}(({self.input_size} - {taps} + {padding}) / {self.stride}) + 1 = {self.output_size}"

    @cached_property
    def transposed(self) -> Axis:
        """The axis whose windows hold the outputs that an input cell belongs to."""
        if self.adaptive or self.stride > 1:
            covering = self.covering()
            return Axis(self.output_size, self.input_size, int(covering[1].max()), adaptive=True, placed=covering)
        pad_begin = self.effective_kernel_size - 1 - self.pad_begin
        pad_end = max(0, self.input_size + self.pad_begin - self.output_size)
        return Axis(self.output_size, self.input_size, self.kernel_size, 1, self.dilation, pad_begin, pad_end)

    @cached_property
    def interior(self) -> tuple[int, int]:
        """The half-open range of outputs whose window lies whole inside the input; empty for an adaptive axis."""
        if self.adaptive:
            return (0, 0)
        begin = min(-(-self.pad_begin // self.stride), self.output_size)
        last_start = self.input_size - self.effective_kernel_size + self.pad_begin
        end = min(last_start // self.stride + 1, self.output_size) if last_start >= 0 else 0
        return (begin, end) if end > begin else (0, 0)

    def windows(self, output: NDArray[np.int64], *, count_include_pad: bool = False) -> Windows:
        """Cut the windows of the given outputs to the input.

        The divisor counts the taps in the input, and with `count_include_pad` those in the declared padding, but never
        those in `ceil_overhang`.
        """
        if self.placed is not None:
            first, count = (numbers[output] for numbers in self.placed)
            return Windows(output, first, count, count)
        if self.adaptive:
            # (o * I) // O overflows int64 only for axes that no machine holds; Python integers keep even those right.
            exact = output.astype(object) if self.input_size * (self.output_size + 1) > INT64_MAX else output
            first = (exact * self.input_size // self.output_size).astype(np.int64)
            stop = (-(-((exact + 1) * self.input_size) // self.output_size)).astype(np.int64)
            return Windows(output, first, stop - first, stop - first)
        start = output * self.stride - self.pad_begin
        skipped = np.maximum(-(start // self.dilation), 0)
        reached = np.minimum(-((start - self.input_size) // self.dilation), self.kernel_size)
        count = np.maximum(reached - skipped, 0)
        divisor = count
        if count_include_pad:
            padded_end = self.input_size + self.pad_end
            divisor = np.minimum(-((start - padded_end) // self.dilation), self.kernel_size)
        return Windows(output, start + skipped * self.dilation, count, divisor)

    def taps(self) -> NDArray[np.int64]:
        """List the input cell under each tap of each window, of shape (output_size, kernel_size); -1 where none is."""
        outputs = np.arange(self.output_size, dtype=np.int64)
        tap = np.arange(self.kernel_size, dtype=np.int64)
        if self.adaptive:
            windows = self.windows(outputs)
            return np.where(tap < windows.count[:, np.newaxis], windows.first[:, np.newaxis] + tap, -1)
        cells = (outputs * self.stride - self.pad_begin)[:, np.newaxis] + tap * self.dilation
        return np.where((cells >= 0) & (cells < self.input_size), cells, -1)

    def window(self, output: int) -> range:
        """List the cells under the taps of one window, those before and behind the input too."""
        if self.adaptive:
            cut = self.windows(np.array([output], dtype=np.int64))
            return range(int(cut.first[0]), int(cut.first[0] + cut.count[0]))
        begin = output * self.stride - self.pad_begin
        return range(begin, begin + self.effective_kernel_size, self.dilation)

    def windows_at(self, cell: int) -> range:
        """Return the windows of a regular axis that have a tap on a cell, as if the map had no end."""
        place, common = cell + self.pad_begin, math.gcd(self.stride, self.dilation)
        if place % common:
            return range(0)
        # The taps that meet a cell lie so far apart.
        apart = self.stride // common
        tap = place // common * pow(self.dilation // common, -1, apart) % apart
        window = (place - tap * self.dilation) // self.stride
        count = max(0, (self.kernel_size - 1 - tap) // apart + 1)
        return range(window, window - count * (self.dilation // common), -(self.dilation // common))

    def border_windows(self, *, count_include_pad: bool = False) -> Windows:
        """Cut the windows outside `interior`, in the order of their outputs."""
        begin, end = self.interior
        count = self.output_size - (end - begin)
        if count == 0:
            return NO_WINDOWS
        if count <= FEW_WINDOWS and not self.adaptive:
            found = self._few.get(count_include_pad)
            if found is None:
                few = [*range(begin), *range(end, self.output_size)]
                found = self._few[count_include_pad] = self._few_windows(few, count_include_pad)
            return found
        border = np.concatenate((np.arange(begin), np.arange(end, self.output_size))).astype(np.int64)
        return self.windows(border, count_include_pad=count_include_pad)

    @cached_property
    def _few(self) -> dict[bool, Windows]:
        """Those windows where they are few, by whether their divisors count padding."""
        return {}

    def _few_windows(self, output: list[int], count_include_pad: bool) -> Windows:
        """Cut windows as `windows` does, without the microsecond that each step takes in arrays."""
        rows = []
        for number in output:
            start = number * self.stride - self.pad_begin
            skipped = max(-(start // self.dilation), 0)
            count = max(min(-((start - self.input_size) // self.dilation), self.kernel_size) - skipped, 0)
            divisor = count
            if count_include_pad:
                divisor = min(-((start - self.input_size - self.pad_end) // self.dilation), self.kernel_size)
            rows.append((number, start + skipped * self.dilation, count, divisor))
        return Windows(*np.array(rows, np.int64).T.copy())

    def slabs(self, cells: int) -> Iterator[Slab]:
        """Cut the axis where windows begin into slabs of so many cells; the outer ones may have fewer.

        `cells` is a multiple of the stride and no shorter than a window.
        """
        first, count = self.covering() if self.adaptive else (None, None)
        for place in range(-self.pad_begin, self.input_size, cells):
            begin, end = max(place, 0), min(place + cells, self.input_size)
            if first is not None and count is not None:
                outputs = slice(int(first[begin]), int(first[end - 1] + count[end - 1]))
                windows = self.windows(np.arange(outputs.start, outputs.stop, dtype=np.int64))
                read = slice(int(windows.first[0]), int(windows.first[-1] + windows.count[-1]))
                yield Slab(
                    slice(begin, end),
                    outputs,
                    read,
                    self._placed(read, windows.first, windows.count),
                    self._placed(slice(begin, end), windows.first, windows.count),
                )
                continue
            span = self.effective_kernel_size
            start = max(-(-(begin + self.pad_begin - span + 1) // self.stride), 0)
            stop = max(min((end - 1 + self.pad_begin) // self.stride + 1, self.output_size), start)
            outputs = slice(start, stop)
            at = start * self.stride - self.pad_begin
            read = slice(max(at, 0), max(min(at + (stop - start - 1) * self.stride + span, self.input_size), at, 0))
            yield Slab(
                slice(begin, end),
                outputs,
                read,
                replace(self, input_size=read.stop - read.start, output_size=stop - start, pad_begin=read.start - at),
                replace(self, input_size=end - begin, output_size=stop - start, pad_begin=begin - at, pad_end=0),
            )

    def _placed(self, cells: slice, first: NDArray[np.int64], count: NDArray[np.int64]) -> Axis:
        """Adaptive windows as they lie over some cells, cut to them."""
        begin = np.maximum(first, cells.start)
        counts = np.minimum(first + count, cells.stop) - begin
        return Axis(
            cells.stop - cells.start, len(first), int(counts.max()), adaptive=True, placed=(begin - cells.start, counts)
        )

    def covering(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each input cell: the first window that holds it, and how many do; of an axis without dilation."""
        assert self.dilation == 1
        windows = self.windows(np.arange(self.output_size, dtype=np.int64))
        cells = np.arange(self.input_size, dtype=np.int64)
        first = np.searchsorted(windows.first + windows.count, cells, side="right")
        last = np.searchsorted(windows.first, cells, side="right")
        return first.astype(np.int64), (last - first).astype(np.int64)


class Slab(NamedTuple):
    """Neighbouring cells of an axis, the windows that hold some of them, and the cells that these windows read."""

    cells: slice
    outputs: slice
    read: slice
    counted: Axis
    """These windows over all cells that they read."""
    spread: Axis
    """The same over the cells of the slab alone."""


def strides_of(function: str, stride: Any, kernel_size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the stride on each axis: by default, which is None or an empty sequence as in torch, the kernel size."""
    if stride is None or sequence(stride) == []:
        return kernel_size
    return per_axis(function, "stride", stride, len(kernel_size))


SAME_UPPER, SAME_LOWER, VALID = "same_upper", "same_lower", "valid"


def _paired(flat: list[int | None]) -> str:
    """Say how pads in a row are written as pairs, which ONNX and torch put into the row in different orders."""
    half = len(flat) // 2
    onnx = list(zip(flat[:half], flat[half:], strict=True))
    torch = list(zip(flat[::2], flat[1::2], strict=True))[::-1]
    if half == 1:
        return f"write a (begin, end) pair as padding=[{short_repr(onnx[0])}]"
    written = [short_repr(tuple(pairs)) for pairs in (onnx, torch)]
    if onnx == torch:
        return f"write a (begin, end) pair for each axis, padding={written[0]}"
    return (
        f"write a (begin, end) pair for each axis: padding={written[0]} if the order is that of ONNX, all begins "
        f"before all ends, or {written[1]} if it is that of torch.nn.functional.pad, the last axis first"
    )


def padding_pairs(
    function: str,
    padding: Any,
    input_size: Sequence[int],
    effective: Sequence[int],
    stride: Sequence[int],
    *,
    largest: int | None = None,
) -> list[tuple[int, int]]:
    """Read the padding at the beginning and end of each axis; `largest` is less than an effective kernel by default."""
    dimensions = len(input_size)
    if isinstance(padding, str):
        name = word(
            function,
            "padding",
            padding,
            (VALID, SAME_UPPER, "same", SAME_LOWER),
            "is not a known name; use 'valid', 'same_upper' (or 'same'), 'same_lower', or numbers",
        )
        pairs = []
        for size, reach, step in zip(input_size, effective, stride, strict=True):
            total = 0 if name == VALID else max((size - 1) // step * step + reach - size, 0)
            smaller, larger = total // 2, total - total // 2
            pairs.append((larger, smaller) if name == SAME_LOWER else (smaller, larger))
        return pairs
    several = sequence(padding)
    nested = [] if several is None else [entry for entry in map(sequence, several) if entry is not None]
    if several and len(nested) == len(several):
        if len(nested) not in (1, dimensions) or any(len(entry) != 2 for entry in nested):
            raise value_error(
                function,
                f"must have one (begin, end) pair per spatial axis, {dimensions} in all",
                "give an integer, one per axis or one pair per axis",
                argument=("padding", padding),
            )
        pairs = [
            (integer(function, "padding", begin, padding), integer(function, "padding", end, padding))
            for begin, end in nested
        ]
        pairs = pairs * dimensions if len(pairs) == 1 else pairs
    elif several is not None and len(several) == 2 * dimensions and None not in (flat := list(map(whole, several))):
        raise value_error(
            function,
            f"must have one entry per spatial axis, {dimensions} and not {len(several)}",
            f"{_paired(flat)}",
            argument=("padding", padding),
        )
    else:
        pairs = [(each, each) for each in per_axis(function, "padding", padding, dimensions, minimum=0)]
    for pair, reach, axis in zip(pairs, effective, axis_names(dimensions), strict=True):
        if min(pair) < 0:
            raise value_error(
                function, f"must be at least 0 on axis {axis}, not {min(pair)}", argument=("padding", padding)
            )
        if largest is not None and max(pair) > largest:
            raise value_error(
                function, f"must be at most {largest} on axis {axis}, not {max(pair)}", argument=("padding", padding)
            )
        if largest is None and max(pair) >= reach:
            raise value_error(
                function,
                f"must be smaller than the effective kernel size {reach} on axis {axis}",
                f"use padding <= {reach - 1}",
                argument=("padding", padding),
            )
    return pairs


# ---------------------------------------------------------------------------------------------------------------------
# From arguments to axes


def window_count(cells: Any, effective: int, stride: int) -> Any:
    """Count the windows that fit into so many cells: a number of them, or an expression of a graph."""
    return (cells + (stride - effective)) // stride


def block_count(size: int, block: int, edge: str = "partial") -> int:
    """Count the blocks of an axis, with the partial one at its end unless `edge` is ``"trim"``."""
    return int(window_count(size if edge == "trim" else size + block - 1, block, block))


def count_windows(
    size: Any, effective: int, stride: int, begin: Any, end: Any, *, ceil_mode: bool, least: Callable[..., Any] = min
) -> Any:
    """Count the windows on an axis: a number, or an expression of symbols, of which `least` returns the smaller."""
    if not ceil_mode:
        return window_count(begin + size + end, effective, stride)
    # A window that begins behind the input would hold padding alone.
    return least(window_count(begin + size + end + (stride - 1), effective, stride), (size + begin - 1) // stride + 1)


def pool_axes(
    input_size: Sequence[int],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: Any = False,
    *,
    function: str = "output_shape",
    empty_windows: bool = False,
) -> tuple[Axis, ...]:
    """Lay the windows of a pooling or convolution over spatial axes.

    Parameters
    ----------
    input_size : sequence of int
        The spatial sizes.
    kernel_size, stride, padding, dilation, ceil_mode
        As in `pooling.max_pool2d`.
    function : str
        Named in error sentences.
    empty_windows : bool
        Whether windows may hold padding alone, as those of a convolution may.

    Returns
    -------
    tuple of Axis
        One for each spatial axis.
    """
    dimensions = len(input_size)
    kernels = per_axis(function, "kernel_size", kernel_size, dimensions)
    strides = strides_of(function, stride, kernels)
    dilations = per_axis(function, "dilation", dilation, dimensions)
    round_up = flag(function, "ceil_mode", ceil_mode)
    names = axis_names(dimensions)
    effective = [step * (taps - 1) + 1 for taps, step in zip(kernels, dilations, strict=True)]
    for i, axis in enumerate(names):
        if effective[i] > max(LONG_WINDOW, 4 * input_size[i]):
            blame = f"kernel_size={short_repr(kernel_size)}" + (
                f" with dilation={short_repr(dilation)}" if dilations[i] > 1 else ""
            )
            raise value_error(
                function,
                f"{blame} makes the effective kernel size {effective[i]} on axis {axis}, whose input has "
                f"{counted(input_size[i], 'cell')}",
                f"use at most {max(LONG_WINDOW, 4 * input_size[i])}",
            )
    largest = INT64_MAX if empty_windows else None
    pairs = padding_pairs(function, padding, input_size, effective, strides, largest=largest)
    axes = []
    for i, name in enumerate(names):
        size, (begin, end) = input_size[i], pairs[i]
        padded = begin + size + end
        output = count_windows(size, effective[i], strides[i], begin, end, ceil_mode=round_up)
        if output < 1 or size < 1:
            dilated = f" with dilation={short_repr(dilation)}" if dilations[i] > 1 else ""
            smallest = effective[i] - begin - end - (strides[i] - 1 if round_up else 0)
            raise value_error(
                function,
                f"kernel_size={short_repr(kernel_size)}{dilated} finds no window on axis {name}: the effective "
                f"kernel size is {effective[i]} and the padded input {begin} + {size} + {end} = {padded}",
                f"the smallest input that works is {max(1, smallest)}",
            )
        axes.append(Axis(size, output, kernels[i], strides[i], dilations[i], begin, end, name=name))
    return tuple(axes)


def adaptive_axes(input_size: Sequence[int], output_size: Any, *, function: str = "adaptive_axes") -> tuple[Axis, ...]:
    """Lay the windows of an adaptive pooling: a fixed number of them on each axis; None keeps an axis."""
    dimensions = len(input_size)
    wanted = per_axis(function, "output_size", output_size, dimensions, allow_none=True)
    axes = []
    for size, output, name in zip(input_size, wanted, axis_names(dimensions), strict=True):
        if size < 1:
            raise value_error(
                function, f"axis {name} of the input has size 0", "adaptive pooling needs at least 1 cell"
            )
        output = size if output is None else output
        if size % output == 0:
            step = size // output
            axes.append(Axis(size, output, step, step, name=name))
        else:
            largest = -(-size // output) + 1
            axes.append(Axis(size, output, min(largest, size), adaptive=True, name=name))
    return tuple(axes)


def global_axes(input_size: Sequence[int], *, function: str = "global_axes") -> tuple[Axis, ...]:
    """Lay one window over the whole of every axis."""
    for number, size in enumerate(input_size):
        if size < 1:
            raise value_error(
                function, f"spatial axis {number} of the input has size 0", "global pooling needs at least 1 cell"
            )
    return tuple(Axis(size, 1, size, size) for size in input_size)


def transposed_axes(
    input_size: Sequence[int],
    kernel_size: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    output_padding: Any = 0,
    output_size: Any = None,
    *,
    function: str = "transposed_axes",
) -> tuple[Axis, ...]:
    """Lay the windows that a transposed convolution undoes: they take its output, and there is one for each input cell.

    Parameters
    ----------
    input_size : sequence of int
        The spatial sizes of the input of the transposed convolution.
    kernel_size, stride, padding, dilation
        Of the convolution that is undone. ``"same_upper"`` and ``"same_lower"`` make the output `stride` times
        as large.
    output_padding : int or sequence of int
        Cells that the output has more at its end.
    output_size : sequence of int, optional
        What the output shall have; `padding` then follows, and only its name counts: with ``"same_upper"`` the odd cell
        of padding is at the end, otherwise at the beginning, as in ONNX.
    function : str
        Named in error sentences.

    Returns
    -------
    tuple of Axis
        One for each spatial axis; the output of the transposed convolution is its ``input_size``.

    Examples
    --------
    >>> [axis.input_size for axis in transposed_axes((7, 7), 4, 2, 1)]
    [14, 14]
    """
    dimensions = len(input_size)
    kernels = per_axis(function, "kernel_size", kernel_size, dimensions)
    strides = per_axis(function, "stride", stride, dimensions)
    dilations = per_axis(function, "dilation", dilation, dimensions)
    extras = per_axis(function, "output_padding", output_padding, dimensions, minimum=0)
    effective = [step * (taps - 1) + 1 for taps, step in zip(kernels, dilations, strict=True)]
    whole = [(size - 1) * step + reach for size, step, reach in zip(input_size, strides, effective, strict=True)]
    named = padding if isinstance(padding, str) and padding != VALID else ""
    wanted = None if output_size is None else per_axis(function, "output_size", output_size, dimensions)
    if wanted is None and named:
        wanted = tuple(size * step for size, step in zip(input_size, strides, strict=True))
    if wanted is None:
        pairs = padding_pairs(function, padding, input_size, effective, strides, largest=INT64_MAX)
        sizes = [size - sum(pair) + extra for size, pair, extra in zip(whole, pairs, extras, strict=True)]
    else:
        sizes, pairs = list(wanted), []
        for size, extra, found in zip(whole, extras, sizes, strict=True):
            total = max(size + extra - found, 0)
            smaller, larger = total // 2, total - total // 2
            pairs.append((smaller, larger) if named == SAME_UPPER else (larger, smaller))
    axes = []
    for i, name in enumerate(axis_names(dimensions)):
        if not 1 <= sizes[i] <= INT64_MAX or input_size[i] < 1:
            raise value_error(
                function,
                f"kernel_size={short_repr(kernel_size)}, stride={short_repr(stride)} and "
                f"padding={short_repr(padding)} give the output size {sizes[i]} on axis {name}",
                "it must be at least 1 and fit 64 bits",
            )
        axes.append(Axis(sizes[i], input_size[i], kernels[i], strides[i], dilations[i], *pairs[i], name=name))
    return tuple(axes)
