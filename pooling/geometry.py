"""Where every window lies: the one place that turns arguments into windows and output shapes.

Kernels, exporter, validator and doctor all read the `Axis` objects made here; none of them computes an output size.
Sizes are Python integers and therefore never overflow; whatever would not fit the 64-bit arithmetic of the kernels is
refused here, before any array is allocated.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .signs import counted, short_repr

__all__ = [
    "Axis",
    "Padding",
    "Sizes",
    "Slab",
    "adaptive_axes",
    "axis_names",
    "fractional_sizes",
    "global_axes",
    "output_shape",
    "pool_axes",
    "transposed_axes",
    "unpool_size",
    "window_count",
]

INT64_MAX = 2**63 - 1
LONG_WINDOW = 2**24
"""A longer window must find a quarter of itself in the input, because memory is laid out for whole windows."""

LONGEST_WORD = 40
"""Signs of a misspelled word that are looked at."""

Sizes = int | Sequence[int]
Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]
"""What the public functions take as `kernel_size`, `stride`, `dilation`, and as `padding`."""


def axis_names(dimensions: int) -> str:
    """Name the spatial axes as the field does: ``"L"``, ``"HW"`` or ``"DHW"``."""
    return {1: "L", 2: "HW", 3: "DHW"}[dimensions]


@dataclass(frozen=True)
class Windows:
    """Some windows of one axis, cut to the input: output positions, first valid input cell, valid taps, divisor."""

    output: NDArray[np.int64]
    first: NDArray[np.int64]
    count: NDArray[np.int64]
    divisor: NDArray[np.int64]


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
        border = np.concatenate((np.arange(begin), np.arange(end, self.output_size))).astype(np.int64)
        return self.windows(border, count_include_pad=count_include_pad)

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


# ---------------------------------------------------------------------------------------------------------------------
# Arguments


def sequence(value: Any) -> list[Any] | None:
    """Read a sequence; None for what is none, or cannot be read."""
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0):
        with suppress(Exception):  # of somebody's own kind of list
            return list(value)
    return None


def whole(value: Any) -> int | None:
    """Return what counts as an integer as an int, and None for everything else; a bool is no integer here."""
    if not isinstance(value, (bool, np.bool_)):
        with suppress(Exception):  # TypeError of what is no integer, and anything of somebody's own kind of one
            return operator.index(value)
    return None


def integer(function: str, name: str, value: Any, argument: object) -> int:
    """Return one entry of an argument as an int."""
    number = whole(value)
    if number is None:
        raise TypeError(
            f"{function}: {name}={short_repr(argument)} must be an integer or one integer per spatial axis, "
            f"not {type(value).__name__}; write it with whole numbers"
        )
    return number


OTHER_WORDS = {
    **dict.fromkeys(("first", "ncl", "ncw", "nchw", "ncdhw", "chw", "contiguous_format"), "channels_first"),
    **dict.fromkeys(("last", "nlc", "nwc", "nhwc", "ndhwc", "hwc"), "channels_last"),
}
"""What other libraries call the layouts, in small letters."""


def nearest_word(value: str, words: Iterable[str]) -> str:
    """Find the word that was meant, by its spelling or as other libraries call it; empty if there is none."""
    known = {word.lower(): word for word in words}
    spelled = value[:LONGEST_WORD].strip().lower().replace("-", "_").replace(" ", "_")
    spelled = OTHER_WORDS.get(spelled, spelled)
    return next((known[each] for each in get_close_matches(spelled, known, 1, 0.8)), "")


def word(function: str, name: str, value: Any, words: Sequence[str], rule: str = "") -> str:
    """Return an argument that is one of some words.

    Raises
    ------
    TypeError
        For what is no string.
    ValueError
        For any other string, with the word that was meant; `rule` takes the place of the list of words.
    """
    quoted = list(map(repr, words))
    listed = " or ".join(quoted) if len(quoted) < 3 else f"one of {', '.join(quoted)}"
    if not isinstance(value, str):
        raise TypeError(
            f"{function}: {name}={short_repr(value)} must be a string, not {type(value).__name__}; use {listed}"
        )
    plain_word = str.__str__(value)
    if plain_word not in words:
        nearest = nearest_word(plain_word, words)
        meant = f"; for {short_repr(value)} write {nearest!r}" if nearest else ""
        raise ValueError(f"{function}: {name}={short_repr(value)} {rule or f'must be {listed}'}{meant}")
    return plain_word


def _entries(function: str, name: str, value: Any, dimensions: int, noun: str) -> list[Any]:
    """Return one entry for each axis: all of a sequence, or its only one, or the value itself, as often."""
    several = sequence(value)
    entries = [value] if several is None else several
    if len(entries) not in (1, dimensions):
        raise ValueError(
            f"{function}: {name}={short_repr(value)} must have one entry per spatial axis, {dimensions} and not "
            f"{len(entries)}; give one {noun} for all axes or {dimensions} of them"
        )
    return entries * dimensions if len(entries) == 1 else entries


def _strides(function: str, stride: Any, kernel_size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the stride on each axis: by default, which is None or an empty sequence as in torch, the kernel size."""
    if stride is None or sequence(stride) == []:
        return kernel_size
    return per_axis(function, "stride", stride, len(kernel_size))


def per_axis(
    function: str, name: str, value: Any, dimensions: int, *, minimum: int = 1, allow_none: bool = False
) -> tuple[Any, ...]:
    """Spread an argument over the axes: an int holds for all of them, a sequence gives one int per axis.

    A sequence of one entry holds for all axes too, as in torch.

    Raises
    ------
    TypeError
        For anything but integers and sequences of them; a bool is no integer here.
    ValueError
        For a sequence of another length, or an integer below `minimum` or beyond 64 bits.
    """
    entries = _entries(function, name, value, dimensions, "integer")
    numbers = [None if entry is None and allow_none else integer(function, name, entry, value) for entry in entries]
    for number, axis in zip(numbers, axis_names(dimensions), strict=True):
        if number is not None and not minimum <= number <= INT64_MAX:
            bound = f"at least {minimum}" if number < minimum else "at most 2**63 - 1"
            raise ValueError(
                f"{function}: {name}={short_repr(value)} must be {bound} on axis {axis}, not {short_repr(number)}"
            )
    return tuple(numbers)


def plain(value: Any, depth: int = 2) -> Any:
    """Read an argument once, into values that do not change: what is checked is then what is remembered and used.

    Whatever counts as an integer becomes an int, and words, floats, bools and sequences become the plain ones. What is
    no argument at all comes back as it is, to be refused where the argument is checked.
    """
    if value is None or type(value) in (int, str, bool, float):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (float, np.floating)):
        return _float(value, value)
    entries = sequence(value)
    if entries is not None:
        return tuple([plain(entry, depth - 1) for entry in entries]) if depth else value
    number = whole(value)
    return value if number is None else number


def _float(value: Any, otherwise: Any) -> Any:
    """Return a number as a float, and something else where it does not let itself be read."""
    try:
        return float(value)
    except OverflowError:
        return math.nan
    except Exception:  # of somebody's own kind of number
        return otherwise


def real(function: str, name: str, value: Any, kinds: str = "a number", argument: Any = None) -> float:
    """Return a real argument, refusing bool; NaN for an integer beyond all floats, which callers refuse as a value.

    `argument` is the whole that `value` is a part of.
    """
    number = None
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        number = _float(value, None)
    if number is None:
        shown = short_repr(value if argument is None else argument)
        raise TypeError(f"{function}: {name}={shown} must be {kinds}, not {type(value).__name__}")
    return float(number)


def flag(function: str, name: str, value: object) -> bool:
    """Return a yes-or-no argument, refusing everything but bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{function}: {name}={short_repr(value)} must be True or False, not {type(value).__name__}")
    return bool(value)


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


def _padding_pairs(
    function: str,
    padding: Any,
    input_size: Sequence[int],
    effective: Sequence[int],
    stride: Sequence[int],
    *,
    largest: int | None = None,
) -> list[tuple[int, int]]:
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
            total = 0 if name == VALID else max((-(-size // step) - 1) * step + reach - size, 0)
            smaller, larger = total // 2, total - total // 2
            pairs.append((larger, smaller) if name == SAME_LOWER else (smaller, larger))
        return pairs
    several = sequence(padding)
    nested = [] if several is None else [entry for entry in map(sequence, several) if entry is not None]
    if several and len(nested) == len(several):
        if len(nested) not in (1, dimensions) or any(len(entry) != 2 for entry in nested):
            raise ValueError(
                f"{function}: padding={short_repr(padding)} must have one (begin, end) pair per spatial axis, "
                f"{dimensions} in all; give an integer, one per axis or one pair per axis"
            )
        pairs = [
            (integer(function, "padding", begin, padding), integer(function, "padding", end, padding))
            for begin, end in nested
        ]
        pairs = pairs * dimensions if len(pairs) == 1 else pairs
    elif several is not None and len(several) == 2 * dimensions and None not in (flat := list(map(whole, several))):
        raise ValueError(
            f"{function}: padding={short_repr(padding)} must have one entry per spatial axis, {dimensions} and not "
            f"{len(several)}; {_paired(flat)}"
        )
    else:
        pairs = [(each, each) for each in per_axis(function, "padding", padding, dimensions, minimum=0)]
    for pair, reach, axis in zip(pairs, effective, axis_names(dimensions), strict=True):
        if min(pair) < 0:
            raise ValueError(
                f"{function}: padding={short_repr(padding)} must be at least 0 on axis {axis}, not {min(pair)}"
            )
        if largest is not None and max(pair) > largest:
            raise ValueError(
                f"{function}: padding={short_repr(padding)} must be at most {largest} on axis {axis}, not {max(pair)}"
            )
        if largest is None and max(pair) >= reach:
            raise ValueError(
                f"{function}: padding={short_repr(padding)} must be smaller than the effective kernel size {reach} "
                "on axis "
                f"{axis}; use padding <= {reach - 1}"
            )
    return pairs


# ---------------------------------------------------------------------------------------------------------------------
# From arguments to axes


def window_count(cells: Any, effective: int, stride: int) -> Any:
    """Count the windows that fit into so many cells: a number of them, or an expression of a graph."""
    return (cells + (stride - effective)) // stride


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
    strides = _strides(function, stride, kernels)
    dilations = per_axis(function, "dilation", dilation, dimensions)
    round_up = flag(function, "ceil_mode", ceil_mode)
    names = axis_names(dimensions)
    effective = [step * (taps - 1) + 1 for taps, step in zip(kernels, dilations, strict=True)]
    for i, axis in enumerate(names):
        if effective[i] > max(LONG_WINDOW, 4 * input_size[i]):
            blame = f"kernel_size={short_repr(kernel_size)}" + (
                f" with dilation={short_repr(dilation)}" if dilations[i] > 1 else ""
            )
            raise ValueError(
                f"{function}: {blame} makes the effective kernel size {effective[i]} on axis {axis}, whose input has "
                f"{counted(input_size[i], 'cell')}; use at most {max(LONG_WINDOW, 4 * input_size[i])}"
            )
    largest = INT64_MAX if empty_windows else None
    pairs = _padding_pairs(function, padding, input_size, effective, strides, largest=largest)
    axes = []
    for i, name in enumerate(names):
        size, (begin, end) = input_size[i], pairs[i]
        padded = begin + size + end
        output = window_count(padded + (strides[i] - 1 if round_up else 0), effective[i], strides[i])
        if round_up and (output - 1) * strides[i] >= size + begin:
            output -= 1
        if output < 1 or size < 1:
            dilated = f" with dilation={short_repr(dilation)}" if dilations[i] > 1 else ""
            smallest = effective[i] - begin - end - (strides[i] - 1 if round_up else 0)
            raise ValueError(
                f"{function}: kernel_size={short_repr(kernel_size)}{dilated} finds no window on axis {name}: the "
                "effective "
                f"kernel size is {effective[i]} and the padded input {begin} + {size} + {end} = {padded}; "
                f"the smallest input that works is {max(1, smallest)}"
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
            raise ValueError(f"{function}: axis {name} of the input has size 0; adaptive pooling needs at least 1 cell")
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
            raise ValueError(
                f"{function}: spatial axis {number} of the input has size 0; global pooling needs at least 1 cell"
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
        pairs = _padding_pairs(function, padding, input_size, effective, strides, largest=INT64_MAX)
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
            raise ValueError(
                f"{function}: kernel_size={short_repr(kernel_size)}, stride={short_repr(stride)} and "
                f"padding={short_repr(padding)} give the output "
                f"size {sizes[i]} on axis {name}; it must be at least 1 and fit 64 bits"
            )
        axes.append(Axis(sizes[i], input_size[i], kernels[i], strides[i], dilations[i], *pairs[i], name=name))
    return tuple(axes)


def fractional_sizes(
    function: str, spatial: tuple[int, ...], kernel_size: Any, output_size: Any, output_ratio: Any
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the sizes of windows and output of fractional pooling, one for each axis."""
    dimensions = len(spatial)
    names = axis_names(dimensions)
    kernel = per_axis(function, "kernel_size", kernel_size, dimensions)
    if (output_size is None) == (output_ratio is None):
        raise ValueError(
            f"{function}: output_size={short_repr(output_size)} and output_ratio={short_repr(output_ratio)} must not "
            "both be "
            f"{'missing' if output_size is None else 'there'}; give one of them"
        )
    if output_ratio is not None:
        ratios = _ratios(function, output_ratio, dimensions)
        sizes = tuple(int(size * ratio) for size, ratio in zip(spatial, ratios, strict=True))
        shown = f"output_ratio={short_repr(output_ratio)}"
    else:
        sizes = per_axis(function, "output_size", output_size, dimensions)
        shown = f"output_size={short_repr(output_size)}"
    for size, taps, count, name in zip(spatial, kernel, sizes, names, strict=True):
        if count < 1:
            raise ValueError(
                f"{function}: {shown} leaves no window on axis {name} of size {size}; use a larger ratio or input"
            )
        if count + taps - 1 > size:
            raise ValueError(
                f"{function}: {shown} asks for {counted(count, 'window')} of size {taps} on axis {name} of size "
                f"{size}; "
                f"that needs an input of at least {count + taps - 1}"
            )
    return kernel, sizes


def _ratios(function: str, output_ratio: Any, dimensions: int) -> list[float]:
    ratios = _entries(function, "output_ratio", output_ratio, dimensions, "number")
    for ratio in ratios:
        if not 0 < real(function, "output_ratio", ratio, "a number or one number per spatial axis", output_ratio) < 1:
            raise ValueError(
                f"{function}: output_ratio={short_repr(output_ratio)} must be greater than 0 and less than 1, not "
                f"{short_repr(ratio)}"
            )
    return [float(ratio) for ratio in ratios]


def unpool_size(
    pooled_size: Sequence[int],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
    *,
    function: str = "max_unpool",
) -> tuple[int, ...]:
    """Size of the map that a pooling came from: ``(O - 1) * stride - pad_begin - pad_end + kernel_size``.

    `output_size` names any other: where elements go is for their indices to say.
    """
    dimensions = len(pooled_size)
    kernels = per_axis(function, "kernel_size", kernel_size, dimensions)
    strides = _strides(function, stride, kernels)
    if isinstance(padding, str) and padding != VALID and output_size is None:
        raise ValueError(
            f"{function}: padding={short_repr(padding)} would follow from the size that is looked for; use 'valid' "
            "or numbers, "
            "or say the size as output_size"
        )
    # A dilated pooling may have more padding than its kernel has taps.
    largest = None if output_size is None else INT64_MAX
    pairs = _padding_pairs(function, padding, pooled_size, kernels, strides, largest=largest)
    names = axis_names(dimensions)
    if output_size is None:
        chosen = tuple(
            (size - 1) * step - sum(pair) + taps
            for size, step, pair, taps in zip(pooled_size, strides, pairs, kernels, strict=True)
        )
        blame = (
            f"kernel_size={short_repr(kernel_size)}, stride={short_repr(stride)} and padding={short_repr(padding)} give"
        )
    else:
        chosen = per_axis(function, "output_size", output_size, dimensions)
        blame = f"output_size={short_repr(output_size)} gives"
    for i, name in enumerate(names):
        if pooled_size[i] < 1:
            raise ValueError(f"{function}: the input has size 0 on axis {name}; it must have at least 1 cell")
        if not 1 <= chosen[i] <= INT64_MAX:
            raise ValueError(
                f"{function}: {blame} the output size {chosen[i]} on axis {name}; it must be at least 1 and fit 64 bits"
            )
    return chosen


def output_shape(
    input_shape: Sequence[int],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    layout: str = "channels_first",
) -> tuple[int, ...]:
    """Shape that max or average pooling gives to an array of `input_shape`, without pooling anything.

    Parameters
    ----------
    input_shape : sequence of int
        ``(N, C, *S)``, or ``(N, *S, C)`` with ``layout="channels_last"``. A sequence of two or three given as
        `kernel_size` fixes the number of spatial axes, so that an unbatched ``(C, *S)`` is understood as well.
    kernel_size, stride, padding, dilation, ceil_mode, layout
        As in `pooling.max_pool2d`.

    Returns
    -------
    tuple of int

    Raises
    ------
    TypeError, ValueError
        As the pooling itself would.

    Examples
    --------
    >>> import pooling
    >>> pooling.output_shape((1, 64, 112, 112), 3, stride=2, padding=1)
    (1, 64, 56, 56)
    >>> pooling.output_shape((1, 1, 7, 7), 2)
    (1, 1, 3, 3)
    """
    shape = per_axis_shape("output_shape", input_shape)
    dimensions = len(shape) - 2
    entries = sequence(kernel_size)
    if entries is not None and (len(entries) > 1 or len(shape) == 2):
        dimensions = len(entries)
    if not 1 <= dimensions <= 3 or len(shape) - dimensions not in (1, 2):
        raise ValueError(
            f"output_shape: input_shape={short_repr(input_shape)} has {counted(len(shape), 'axis', 'axes')}; with "
            f"kernel_size={short_repr(kernel_size)} it "
            "must have 1 to 3 spatial ones, channels, and a batch unless kernel_size has an entry for each spatial axis"
        )
    spatial = spatial_slice(len(shape), dimensions, layout, function="output_shape")
    axes = pool_axes(shape[spatial], kernel_size, stride, padding, dilation, ceil_mode)
    return replace_spatial(shape, spatial, [axis.output_size for axis in axes])


def per_axis_shape(function: str, shape: Any, name: str = "input_shape") -> tuple[int, ...]:
    """Check a shape given by the user."""
    entries = sequence(shape)
    sizes = []
    for entry in [shape] if entries is None else entries:
        size = None if entries is None else whole(entry)
        if size is None:
            raise TypeError(
                f"{function}: {name}={short_repr(shape)} must be a sequence of integers; "
                f"{short_repr(entry)} is of type {type(entry).__name__}"
            )
        sizes.append(size)
    if min(sizes, default=0) < 0:
        raise ValueError(f"{function}: {name}={short_repr(shape)} must not have negative sizes")
    if max(sizes, default=0) > INT64_MAX:
        raise ValueError(f"{function}: {name}={short_repr(shape)} must not have sizes beyond 2**63 - 1")
    return tuple(sizes)


LAYOUTS = ("channels_first", "channels_last")


def spatial_slice(rank: int, dimensions: int, layout: str, *, function: str) -> slice:
    """Where the spatial axes stand in a shape of `rank` axes."""
    layout = word(function, "layout", layout, LAYOUTS)
    end = rank if layout == "channels_first" else rank - 1
    return slice(end - dimensions, end)


def replace_spatial(shape: Sequence[int], spatial: slice, sizes: Sequence[int]) -> tuple[int, ...]:
    """Put other spatial sizes into a shape."""
    return (*shape[: spatial.start], *sizes, *shape[spatial.stop :])


def check_total(function: str, shape: Sequence[int], itemsize: int) -> None:
    """Refuse a result that no 64-bit address space can hold."""
    # Zero-size axes do not excuse absurd others: NumPy multiplies the sizes that are not zero, and so do we.
    if math.prod(size for size in shape if size) * itemsize > INT64_MAX:
        raise ValueError(
            f"{function}: the result would have shape {tuple(shape)} with {itemsize} bytes an element, more than 64 "
            "bits can address; use smaller sizes"
        )
