"""Sliding filters with the names, arguments, defaults and borders of scipy.ndimage, for arrays of any number of axes.

A filter is a pooling of stride 1 that has as many results as the array has elements: one call pools the array as it
lies, without what is beyond its borders, and the windows that reach over a border are pooled again, from a thin slab to
which the border is added. Windows that are long for their axis are pooled from whole lines, a block at a time.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .annotations import AnyArray, Rounding
from .arguments import dtype_of, names_checked, real, sequence, whole, word
from .arrays import as_array, dtype_name, in_default_mode, is_masked, native
from .errors import type_error, value_error
from .families.extremes import max_pool1d, max_pool2d, max_pool3d, min_pool1d, min_pool2d, min_pool3d
from .families.means import avg_pool1d, avg_pool2d, avg_pool3d
from .operators import OPERATORS
from .signs import counted, short_repr

__all__ = [
    "grey_closing",
    "grey_dilation",
    "grey_erosion",
    "grey_opening",
    "maximum_filter",
    "maximum_filter1d",
    "minimum_filter",
    "minimum_filter1d",
    "uniform_filter",
    "uniform_filter1d",
]

Mode = Literal["reflect", "grid-mirror", "constant", "grid-constant", "nearest", "mirror", "wrap", "grid-wrap"]
Modes = Mode | Sequence[Mode]
Counts = int | Sequence[int]
Output = AnyArray | DTypeLike | None

MODES = {
    "reflect": "reflect",
    "constant": "constant",
    "nearest": "nearest",
    "mirror": "mirror",
    "wrap": "wrap",
    "grid-mirror": "reflect",
    "grid-constant": "constant",
    "grid-wrap": "wrap",
}
"""What is beyond a border, by scipy's words; those of grids mean the same in filters."""
ROUNDINGS = ("half_even", "half_up", "floor", "trunc")
DTYPES = OPERATORS["max_pool"].dtypes
AXES_AT_A_TIME = 3
"""Spatial axes that one call of a pooling may have."""
LONG_AXIS = 8
"""An axis of so many windows is pooled as it lies and mended at its borders, a shorter one by lines with borders."""
BLOCK_BYTES = 1 << 23
"""Bytes of the lines, with their borders, that are pooled at a time where windows are long for their axis."""
BAND_BYTES = 1 << 20
"""Bytes of an array whose means are taken on all axes before those of the next part, so that a cache holds them."""
FEWEST_OF_RUN = 8
"""Cells, on average, that are copied run by run; where fewer lie side by side, each is taken by its number."""
MOST_CELLS = 1 << 55
"""Elements of a window whose sums are taken one axis after another, so that a digit of a sum has 7 bits at least."""
LONGEST_LINE = 1 << 28
"""Elements of a line with its borders; windows that need more are refused."""


@dataclass(frozen=True)
class _Window:
    """A window on one axis: the cells that it covers `before` and `after` its centre, or less than none of them."""

    axis: int
    before: int
    after: int
    mode: str

    @property
    def size(self) -> int:
        return self.before + self.after + 1

    @property
    def alone(self) -> bool:
        """Whether it covers its centre alone."""
        return self.before == self.after == 0

    def edges(self, shape: tuple[int, ...]) -> Iterator[list[slice]]:
        """Yield the places, in an array of results, of those whose windows reach over a border of the axis."""
        length = shape[self.axis]
        for start, stop in ((0, self.before), (length - self.after, length)):
            if start < stop:
                place = [slice(None)] * len(shape)
                place[self.axis] = slice(start, stop)
                yield place

    def cells(self, length: int, start: int, stop: int) -> NDArray[np.intp]:
        """Name the cells that the windows of some centres cover; -1 is the constant."""
        cells = np.arange(start - self.before, stop + self.after)
        if self.mode == "constant":
            return np.where((cells >= 0) & (cells < length), cells, -1)
        if self.mode == "nearest" or (self.mode == "mirror" and length == 1):
            return cells.clip(0, length - 1)
        if self.mode == "wrap":
            return cells % length
        # To and fro; "reflect" comes to its first and last cell twice.
        repeats = int(self.mode == "reflect")
        cells %= 2 * (length - 1 + repeats)
        return np.minimum(cells, 2 * (length - 1) + repeats - cells)


# ---------------------------------------------------------------------------------------------------------------------
# Arguments


def _input(function: str, input: ArrayLike) -> AnyArray:
    if is_masked(input):
        raise type_error(
            function,
            "input is a masked array, whose mask would be ignored",
            "fill its masked elements, as by input.filled(0), or for a maximum by the smallest number",
        )
    return native(as_array(function, "input", input, DTYPES))


def _axes(function: str, axes: Any, dimensions: int) -> tuple[int, ...]:
    """Return the axes to be filtered, each between 0 and the number of all."""
    if axes is None:
        return tuple(range(dimensions))
    written = ("axis", axes[0]) if function.endswith("1d") else ("axes", axes)
    several = sequence(axes)
    found = []
    for entry in [axes] if several is None else several:
        axis = whole(entry)
        if axis is None:
            raise type_error(
                function, f"must be an axis, several or None, not {type(entry).__name__}", argument=written
            )
        if not -dimensions <= axis < dimensions:
            raise value_error(
                function,
                f"names axis {short_repr(axis)} of an array of {counted(dimensions, 'axis', 'axes')}",
                argument=written,
            )
        found.append(axis % dimensions)
    if len(set(found)) < len(found):
        raise value_error(function, "names an axis twice", "name each axis once", argument=written)
    return tuple(found)


def _entries(function: str, name: str, value: Any, axes: Sequence[int]) -> list[Any]:
    """Return one entry for each axis to be filtered."""
    several = None if isinstance(value, str) else sequence(value)
    if several is None:
        return [value] * len(axes)
    if len(several) != len(axes):
        raise value_error(
            function,
            f"must have one entry per axis that is filtered, {len(axes)} and not {len(several)}",
            "give one entry for all axes or one for each",
            argument=(name, value),
        )
    return several


def _whole(function: str, name: str, entry: Any, value: Any) -> int:
    number = whole(entry)
    if number is None:
        raise type_error(
            function, f"must be an integer or one for each axis, not {type(entry).__name__}", argument=(name, value)
        )
    return number


def _sizes(function: str, size: Any, axes: Sequence[int]) -> list[int]:
    sizes = []
    for entry, axis in zip(_entries(function, "size", size, axes), axes, strict=True):
        number = _whole(function, "size", entry, size)
        if number < 1:
            raise value_error(
                function,
                f"must be at least 1 on axis {axis}, not {short_repr(number)}",
                "use 1 for an axis that stays as it is",
                argument=("size", size),
            )
        sizes.append(number)
    return sizes


def _covered(function: str, footprint: Any, dimensions: int) -> list[tuple[int, int, int]]:
    """Return the length of a footprint on each axis, and the first and the last cell that it covers."""
    cells = as_array(function, "footprint", footprint, DTYPES).astype(bool)
    if cells.ndim != dimensions:
        raise value_error(
            function,
            f"footprint has {counted(cells.ndim, 'axis', 'axes')}, and {dimensions} of the input are filtered",
            "give it one axis for each of these",
        )
    if not cells.any():
        raise value_error(function, "footprint covers no cell", "cover one at least")
    found = []
    for axis in range(dimensions):
        covered = np.flatnonzero(cells.any(axis=tuple(other for other in range(dimensions) if other != axis)))
        found.append((cells.shape[axis], int(covered[0]), int(covered[-1])))
    if math.prod(last - first + 1 for _, first, last in found) != np.count_nonzero(cells):
        raise value_error(
            function,
            f"footprint of shape {cells.shape} covers {counted(int(np.count_nonzero(cells)), 'cell')} that are no "
            "rectangle",
            "give size for a rectangle, or use scipy.ndimage for other forms",
        )
    return found


def _windows(
    function: str, dimensions: int, size: Any, footprint: Any, mode: Any, origin: Any, axes: Any
) -> list[_Window]:
    """Lay the windows: on each axis that is filtered, in the order in which these are named."""
    filtered = _axes(function, axes, dimensions)
    modes = [MODES[word(function, "mode", entry, tuple(MODES))] for entry in _entries(function, "mode", mode, filtered)]
    origins = [_whole(function, "origin", entry, origin) for entry in _entries(function, "origin", origin, filtered)]
    if footprint is None:
        covered = [(length, 0, length - 1) for length in _sizes(function, size, filtered)]
    else:
        covered = _covered(function, footprint, len(filtered))
    windows = []
    for axis, (length, first, last), shift, border in zip(filtered, covered, origins, modes, strict=True):
        if length == 1:  # one origin holds for all axes, whatever their windows
            continue
        centre = length // 2 + shift
        if not 0 <= centre < length:
            raise value_error(
                function,
                f"must be between {-(length // 2)} and {length - 1 - length // 2} for a window of {length} on axis "
                f"{axis}, not {short_repr(shift)}",
                "use 0 for a window around its element",
                argument=("origin", origin),
            )
        window = _Window(axis, centre - first, last - centre, border)
        if not window.alone:
            windows.append(window)
    return windows


@dataclass(frozen=True)
class _Destination:
    """Where results go: an array that was given, or a new one."""

    dtype: np.dtype[Any]
    given: AnyArray | None

    @classmethod
    def of(cls, function: str, output: Output, array: AnyArray) -> _Destination:
        """Read the argument `output`."""
        if output is None:
            return cls(array.dtype, None)
        if isinstance(output, np.ndarray):
            if is_masked(output):
                raise type_error(
                    function, "output is a masked array, whose mask would not be written", "give output.data"
                )
            if output.shape != array.shape:
                raise value_error(function, f"output has shape {output.shape}, the input {array.shape}")
            if not output.flags.writeable:
                raise value_error(function, "output is read-only", "give an array that can be written to")
            dtype, given = output.dtype.newbyteorder("="), output
        else:
            meant = dtype_of(output)
            if meant is None:
                raise type_error(
                    function,
                    f"must be a dtype, an array or None, not {type(output).__name__}",
                    argument=("output", output),
                )
            dtype, given = meant, None
        if dtype_name(dtype) not in DTYPES or (dtype == np.bool_) > (array.dtype == np.bool_):
            raise type_error(
                function,
                f"output has dtype {dtype.name}, which results of {array.dtype.name} cannot have",
                f"use {', '.join(name for name in DTYPES if name != 'bool')}",
            )
        return cls(dtype, given)

    def room(self, array: AnyArray, dtype: np.dtype[Any]) -> AnyArray:
        """Return an array in which kernels can write the last results: the one that was given where it will do."""
        given = self.given
        if (
            given is not None
            and given.dtype == dtype
            and given.flags.c_contiguous
            and given.flags.aligned
            and not np.may_share_memory(given, array)
        ):
            return np.ndarray.view(given, np.ndarray)
        return np.empty(array.shape, dtype)

    def deliver(self, result: AnyArray) -> AnyArray:
        """Hand the result over."""
        given = self.given
        with np.errstate(all="ignore"):
            if given is None:
                return result.astype(self.dtype, copy=False)
            if not np.may_share_memory(given, result):
                given[...] = result.astype(self.dtype, copy=False)
        return given


# ---------------------------------------------------------------------------------------------------------------------
# Pooling with borders

Pool = Callable[[AnyArray, tuple[int, ...], list[tuple[int, int]], AnyArray | None], AnyArray]
"""Pools ``(N, *S, C)`` with a kernel and padding, into an array where one is given."""


@dataclass(frozen=True)
class _Reducer:
    """How the elements of a window are combined, and which borders need no elements beyond them."""

    pool: Pool
    constant: Any
    """The number beyond borders of the mode "constant", in the dtype of the elements."""
    extreme: np.ufunc | None = None
    """What combines two elements of a maximum or minimum; None for means."""

    def is_done(self, window: _Window) -> bool:
        """Whether windows that reach over borders of this kind are right without what is there."""
        if self.extreme is None:
            # Padding counts as zeros in means.
            return window.mode == "constant" and self.constant == 0
        if window.mode == "nearest":
            return True
        # What comes back from the border is in the window already.
        apart = {"reflect": 1, "mirror": 0}.get(window.mode, -1)
        return abs(window.before - window.after) <= apart

    def fits(self, window: _Window, length: int) -> bool:
        """Whether an axis is long enough for what reaches over its borders to be a small part of it."""
        if window.before < 0 or window.after < 0:
            return False
        mends = not (self.is_done(window) or self.takes_constant(window))
        return (LONG_AXIS if mends else 1) * (window.before + window.after) <= length

    def takes_constant(self, window: _Window) -> bool:
        """Whether the results of windows that reach over a border need but the constant that is there."""
        return self.extreme is not None and window.mode == "constant"

    def slide(
        self, array: AnyArray, windows: Sequence[_Window], out: AnyArray | None = None, *, padded: bool
    ) -> AnyArray:
        """Pool an array whose windows lie on at most three axes, one behind another.

        Parameters
        ----------
        array : ndarray
            Contiguous.
        windows : sequence of _Window
            At least one.
        out : ndarray, optional
            Where the results go.
        padded : bool
            Whether to have as many results as elements; else windows stay inside.
        """
        first, last = min(window.axis for window in windows), max(window.axis for window in windows)
        kernel, padding = [1] * (last - first + 1), [(0, 0)] * (last - first + 1)
        for window in windows:
            kernel[window.axis - first] = window.size
            if padded:
                padding[window.axis - first] = (window.before, window.after)
        outer, inner = math.prod(array.shape[:first]), math.prod(array.shape[last + 1 :])
        shape = tuple(
            size + sum(pads) - taps + 1
            for size, taps, pads in zip(array.shape[first : last + 1], kernel, padding, strict=True)
        )
        maps = array.reshape(outer, *array.shape[first : last + 1], inner)
        made = self.pool(maps, tuple(kernel), padding, None if out is None else out.reshape(outer, *shape, inner))
        return made.reshape(*array.shape[:first], *shape, *array.shape[last + 1 :])

    def taken(self, array: AnyArray, window: _Window, start: int, stop: int) -> AnyArray:
        """Copy the cells that the windows of some centres cover."""
        cells = window.cells(array.shape[window.axis], start, stop)
        outer = (slice(None),) * window.axis
        turns = np.flatnonzero(np.diff(cells, 2)) + 1
        if len(cells) < FEWEST_OF_RUN * (len(turns) + 1):
            taken = np.take(array, np.maximum(cells, 0), axis=window.axis)
            np.moveaxis(taken, window.axis, 0)[cells < 0] = self.constant
            return taken
        taken = np.empty((*array.shape[: window.axis], len(cells), *array.shape[window.axis + 1 :]), array.dtype)
        for begin, end in _straight_runs(cells, turns):
            place = (*outer, slice(begin, end))
            first, last = int(cells[begin]), int(cells[end - 1])
            if first < 0:
                taken[place] = self.constant
            elif first <= last:
                taken[place] = array[(*outer, slice(first, last + 1))]
            else:
                taken[place] = array[(*outer, slice(first, last - 1 if last else None, -1))]
        return taken


def _straight_runs(cells: NDArray[np.intp], turns: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Cut cells into runs that are all the same, or each the next or the one before; `turns` is where steps change."""
    steps = np.diff(cells)
    begin = 0
    while begin < len(cells):
        end = begin + 1
        # The constant, which is -1, is no neighbour of the first cell.
        least = 0 if cells[begin] >= 0 else 1
        if end < len(cells) and abs(steps[begin]) <= 1 - least and cells[end] >= -least:
            at = np.searchsorted(turns, begin, side="right")
            end = int(turns[at]) + 1 if at < len(turns) else len(cells)
        yield begin, end
        begin = end


def _filtered(reducer: _Reducer, array: AnyArray, windows: Sequence[_Window], out: AnyArray) -> None:
    """Filter an array: axes beside one another at a time, those that are short for their windows each alone."""
    runs = list(_runs(reducer, array.shape, windows))
    for position, run in enumerate(runs):
        made = out if position == len(runs) - 1 else np.empty(array.shape, array.dtype)
        if reducer.fits(run[0], array.shape[run[0].axis]):
            reducer.slide(array, run, made, padded=True)
            _mend(reducer, array, run, made)
        else:
            _by_lines(reducer, array, run[0], made)
        array = made
    if not runs:
        out[...] = array


def _runs(reducer: _Reducer, shape: tuple[int, ...], windows: Sequence[_Window]) -> Iterator[list[_Window]]:
    """Gather windows that one call can pool."""
    run: list[_Window] = []
    for window in sorted(windows, key=lambda window: window.axis):
        if not reducer.fits(window, shape[window.axis]):
            yield [window]
        elif run and window.axis - run[0].axis >= AXES_AT_A_TIME:
            yield run
            run = [window]
        else:
            run.append(window)
    if run:
        yield run


def _mend(reducer: _Reducer, array: AnyArray, run: Sequence[_Window], out: AnyArray) -> None:
    """Pool again what reaches over borders, from slabs of the array with the border beyond it."""
    mended: list[_Window] = []
    for window in run:
        if reducer.is_done(window) or reducer.takes_constant(window):
            continue
        for place in window.edges(array.shape):
            start, stop = place[window.axis].start, place[window.axis].stop
            slab = reducer.taken(array, window, start, stop)
            for other in run:
                size = array.shape[other.axis]
                if other in mended:  # what reaches over its borders is right already
                    place[other.axis] = slice(other.before, size - other.after)
                elif other is not window:
                    slab = reducer.taken(slab, other, 0, size)
            out[tuple(place)] = reducer.slide(slab, run, padded=False)
        mended.append(window)
    for window in run:
        if reducer.extreme is not None and reducer.takes_constant(window):
            for place in window.edges(array.shape):
                edge = out[tuple(place)]
                reducer.extreme(edge, reducer.constant, out=edge)


def _by_lines(reducer: _Reducer, array: AnyArray, window: _Window, out: AnyArray) -> None:
    """Filter one axis from whole lines with their borders, a block at a time."""
    length = array.shape[window.axis]
    outer, inner = math.prod(array.shape[: window.axis]), math.prod(array.shape[window.axis + 1 :])
    source, made = array.reshape(outer, length, inner), out.reshape(outer, length, inner)
    on_lines = _Window(1, window.before, window.after, window.mode)
    lines = max(1, BLOCK_BYTES // ((length + max(window.size, 1)) * array.itemsize))
    columns, rows = min(inner, lines), max(1, lines // inner)
    for row in range(0, outer, rows):
        for column in range(0, inner, columns):
            block = np.s_[row : row + rows, :, column : column + columns]
            taken = reducer.taken(source[block], on_lines, 0, length)
            made[block] = reducer.slide(taken, [on_lines], padded=False)


def _checked_lengths(function: str, shape: tuple[int, ...], windows: Iterable[_Window]) -> None:
    for window in windows:
        if shape[window.axis] + window.size > LONGEST_LINE:
            raise value_error(
                function,
                f"the window of {short_repr(window.size)} on axis {window.axis} makes lines of "
                f"{short_repr(shape[window.axis] + window.size)} "
                f"elements with their borders, and {LONGEST_LINE} are the most",
                "use a smaller window",
            )


# ---------------------------------------------------------------------------------------------------------------------
# Maxima and minima

_POOLS: dict[str, dict[int, Callable[..., Any]]] = {
    "maximum": {1: max_pool1d, 2: max_pool2d, 3: max_pool3d},
    "minimum": {1: min_pool1d, 2: min_pool2d, 3: min_pool3d},
    "mean": {1: avg_pool1d, 2: avg_pool2d, 3: avg_pool3d},
}


def _pool(kind: str, **arguments: Any) -> Pool:
    def pool(maps: AnyArray, kernel: tuple[int, ...], padding: list[tuple[int, int]], out: AnyArray | None) -> AnyArray:
        made: AnyArray = _POOLS[kind][len(kernel)](
            maps, kernel, 1, padding, layout="channels_last", out=out, **arguments
        )
        return made

    return pool


@in_default_mode
def _extremes(
    function: str,
    kind: Literal["maximum", "minimum"],
    input: ArrayLike,
    size: Any,
    footprint: Any,
    output: Output,
    mode: Any,
    cval: Any,
    origin: Any,
    axes: Any,
) -> AnyArray:
    """Greatest or smallest elements of windows."""
    array = _input(function, input)
    destination = _Destination.of(function, output, array)
    if footprint is None and size is None:
        raise value_error(function, "neither size nor footprint says how large windows are", "give size")
    windows = _windows(function, array.ndim, size, footprint, mode, origin, axes)
    if destination.dtype.kind not in "biu" and any(window.mode == "constant" for window in windows):
        # A number between two integers may be a result.
        array = array.astype(_float_of(array.dtype, destination.dtype), copy=False)
    constant = _constant(function, kind, cval, array.dtype, windows)
    if array.size == 0:
        return destination.deliver(array.copy())
    _checked_lengths(function, array.shape, windows)
    windows = [_shortened(window, array.shape[window.axis]) for window in windows]
    result = destination.room(array, array.dtype)
    ufunc = np.maximum if kind == "maximum" else np.minimum
    _filtered(_Reducer(_pool(kind), constant, ufunc), array, windows, result)
    return destination.deliver(result)


def _shortened(window: _Window, length: int) -> _Window:
    """Take from a window what is beyond an axis that it covers whole on that side, which adds no other element."""
    most = 2 * length
    if window.before < 0 or window.after < 0:
        return window
    return _Window(window.axis, min(window.before, most), min(window.after, most), window.mode)


def _number(function: str, cval: Any) -> int | float:
    """Read `cval`: an integer as it is, since float64 does not hold all of 64 bits."""
    number = real(function, "cval", cval)
    exact = whole(cval)
    return number if exact is None or math.isnan(number) else exact


def _constant(function: str, kind: str, cval: Any, dtype: np.dtype[Any], windows: Sequence[_Window]) -> Any:
    """Return the number beyond borders in the dtype of the elements, as far as it matters."""
    number = _number(function, cval)
    if not any(window.mode == "constant" for window in windows):
        return dtype.type(0)
    if dtype.kind not in "biu":
        return dtype.type(number)
    if math.isnan(number):
        raise value_error(function, f"must be a number, since {dtype.name} has no NaN", argument=("cval", cval))
    least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    never_wins = (kind == "maximum" and number < least) or (kind == "minimum" and number > most)
    if not (never_wins or least <= number <= most):
        raise value_error(
            function,
            f"must be between {least} and {most}, the numbers of {dtype.name}",
            "give the array another dtype",
            argument=("cval", cval),
        )
    # A number between two integers wins over the lesser ones, and is cut off afterwards.
    return dtype.type(min(max(int(min(max(number, -(2.0**64)), 2.0**64)), least), most))


def _size_of(function: str, size: Any, footprint: Any, structure: Any) -> tuple[Any, Any]:
    """Return size and footprint of grey morphology, of whose structures only flat ones are known."""
    if size is not None and footprint is not None:
        warnings.warn("ignoring size because footprint is set", UserWarning, stacklevel=4)
        size = None
    if structure is None:
        return size, footprint
    heights = as_array(function, "structure", structure, DTYPES)
    if heights.dtype.kind not in "biuf" or np.any(heights != 0):
        raise value_error(
            function,
            f"structure of shape {heights.shape} is not flat: it holds other heights than 0",
            "give size or footprint for a flat one, or use scipy.ndimage",
        )
    if footprint is None:
        return None, np.ones(heights.shape, bool)
    return None, footprint


@names_checked
def maximum_filter(
    input: ArrayLike,
    size: Counts | None = None,
    footprint: ArrayLike | None = None,
    output: Output = None,
    mode: Modes = "reflect",
    cval: float = 0.0,
    origin: Counts = 0,
    *,
    axes: Counts | None = None,
) -> AnyArray:
    """Greatest element of the window around each element.

    Parameters
    ----------
    input : array_like
        An array of any number of axes, of any dtype of `pooling.max_pool2d`.
    size : int or sequence of int
        Length of windows, on all axes or on each; 1 leaves an axis as it is.
    footprint : array_like of bool, optional
        The cells that windows cover, instead of `size`; they must form a rectangle, which need not have its middle in
        that of the footprint.
    output : ndarray or dtype, optional
        An array for the result, of the shape of the input, which it may also be; or the dtype of a new one.
    mode : str or sequence of str
        What is beyond the borders of each axis: "reflect" (d c b a | a b c d | d c b a), "mirror" (d c b | a b c d |
        c b a), "nearest" (a a a | a b c d | d d d), "wrap" (b c d | a b c d | a b c), or "constant", which is `cval`.
        The names "grid-mirror", "grid-wrap" and "grid-constant" mean "reflect", "wrap" and "constant".
    cval : float
        The number beyond borders with ``mode="constant"``.
    origin : int or sequence of int
        How far windows are shifted to lower indices.
    axes : int or sequence of int, optional
        The axes that are filtered, to which `size`, `footprint`, `mode` and `origin` belong; all by default.

    Returns
    -------
    ndarray
        The result, of the shape of the input: a new array, or `output`.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of the above, a window lies wholly beside its element, or `cval` is not in the dtype.

    Notes
    -----
    Equals ``scipy.ndimage.maximum_filter``, whose results for NaN are undefined; here a NaN is the result of the
    windows that hold it, and of no others. The time grows slowly with `size`. Beside input and result, the call needs
    memory for one further array where more axes are filtered than one call pools (three beside one another), and for
    slabs of one and a half windows at borders that need them.

    Examples
    --------
    >>> maximum_filter([0, 3, 1, 0, 2], 3)
    array([3, 3, 3, 2, 2])
    """
    if size is not None and footprint is not None:
        warnings.warn("ignoring size because footprint is set", UserWarning, stacklevel=3)
    return _extremes("maximum_filter", "maximum", input, size, footprint, output, mode, cval, origin, axes)


@names_checked
def minimum_filter(
    input: ArrayLike,
    size: Counts | None = None,
    footprint: ArrayLike | None = None,
    output: Output = None,
    mode: Modes = "reflect",
    cval: float = 0.0,
    origin: Counts = 0,
    *,
    axes: Counts | None = None,
) -> AnyArray:
    """Smallest element of the window around each element; arguments are those of `maximum_filter`.

    Parameters
    ----------
    input, size, footprint, output, mode, cval, origin, axes
        As in `maximum_filter`.

    Returns
    -------
    ndarray
        The result, of the shape of the input: a new array, or `output`.

    Raises
    ------
    TypeError, ValueError
        As `maximum_filter` does.

    Notes
    -----
    Equals ``scipy.ndimage.minimum_filter``, with the rules of `maximum_filter` for NaN.

    Examples
    --------
    >>> minimum_filter([4, 3, 1, 5, 2], 3, mode="constant")
    array([0, 1, 1, 1, 0])
    """
    if size is not None and footprint is not None:
        warnings.warn("ignoring size because footprint is set", UserWarning, stacklevel=3)
    return _extremes("minimum_filter", "minimum", input, size, footprint, output, mode, cval, origin, axes)


@names_checked
def maximum_filter1d(
    input: ArrayLike,
    size: int,
    axis: int = -1,
    output: Output = None,
    mode: Mode = "reflect",
    cval: float = 0.0,
    origin: int = 0,
) -> AnyArray:
    """Greatest element of the window around each element on one axis: `maximum_filter` with one axis.

    Parameters
    ----------
    input, output, mode, cval
        As in `maximum_filter`.
    size : int
        Length of windows.
    axis : int
        The axis that is filtered.
    origin : int
        How far windows are shifted to lower indices.

    Returns
    -------
    ndarray
        The result, of the shape of the input: a new array, or `output`.

    Raises
    ------
    TypeError, ValueError
        As `maximum_filter` does.

    Notes
    -----
    Equals ``scipy.ndimage.maximum_filter1d``, with the rules of `maximum_filter` for NaN.

    Examples
    --------
    >>> maximum_filter1d([2, 8, 0, 4, 1, 9, 9, 0], 3)
    array([8, 8, 8, 4, 9, 9, 9, 9])
    """
    return _extremes("maximum_filter1d", "maximum", input, size, None, output, mode, cval, origin, (axis,))


@names_checked
def minimum_filter1d(
    input: ArrayLike,
    size: int,
    axis: int = -1,
    output: Output = None,
    mode: Mode = "reflect",
    cval: float = 0.0,
    origin: int = 0,
) -> AnyArray:
    """Smallest element of the window around each element on one axis: `minimum_filter` with one axis.

    Parameters
    ----------
    input, output, mode, cval
        As in `maximum_filter`.
    size : int
        Length of windows.
    axis : int
        The axis that is filtered.
    origin : int
        How far windows are shifted to lower indices.

    Returns
    -------
    ndarray
        The result, of the shape of the input: a new array, or `output`.

    Raises
    ------
    TypeError, ValueError
        As `maximum_filter` does.

    Notes
    -----
    Equals ``scipy.ndimage.minimum_filter1d``, with the rules of `maximum_filter` for NaN.

    Examples
    --------
    >>> minimum_filter1d([2, 8, 0, 4, 1, 9, 9, 0], 3)
    array([2, 0, 0, 0, 1, 1, 0, 0])
    """
    return _extremes("minimum_filter1d", "minimum", input, size, None, output, mode, cval, origin, (axis,))


# ---------------------------------------------------------------------------------------------------------------------
# Grey morphology


def _eroded(
    function: str,
    input: ArrayLike,
    size: Any,
    footprint: Any,
    output: Output,
    mode: Any,
    cval: Any,
    origin: Any,
    axes: Any,
) -> AnyArray:
    return _extremes(function, "minimum", input, size, footprint, output, mode, cval, origin, axes)


def _dilated(
    function: str,
    input: ArrayLike,
    size: Any,
    footprint: Any,
    output: Output,
    mode: Any,
    cval: Any,
    origin: Any,
    axes: Any,
) -> AnyArray:
    """Take maxima over the window of an erosion turned around its element."""
    array = _input(function, input)
    filtered = _axes(function, axes, array.ndim)
    if footprint is not None:
        footprint = as_array(function, "footprint", footprint, DTYPES)
        footprint = footprint[(slice(None, None, -1),) * footprint.ndim]
        lengths = [length for length, _, _ in _covered(function, footprint, len(filtered))]
    elif size is None:
        raise value_error(function, "neither size nor footprint says how large windows are", "give size")
    else:
        lengths = _sizes(function, size, filtered)
    turned = [
        -_whole(function, "origin", entry, origin) - (length % 2 == 0)
        for entry, length in zip(_entries(function, "origin", origin, filtered), lengths, strict=True)
    ]
    return _extremes(function, "maximum", array, size, footprint, output, mode, cval, turned, filtered)


@names_checked
def grey_erosion(
    input: ArrayLike,
    size: Counts | None = None,
    footprint: ArrayLike | None = None,
    structure: ArrayLike | None = None,
    output: Output = None,
    mode: Modes = "reflect",
    cval: float = 0.0,
    origin: Counts = 0,
    *,
    axes: Counts | None = None,
) -> AnyArray:
    """Grey erosion by a flat rectangle: `minimum_filter`, with a `structure` that must hold zeros.

    Parameters
    ----------
    input, size, footprint, output, mode, cval, origin, axes
        As in `maximum_filter`.
    structure : array_like, optional
        Zeros alone, of the shape that windows have; a `footprint` goes before it.

    Returns
    -------
    ndarray
        The result, of the shape of the input: a new array, or `output`.

    Raises
    ------
    TypeError, ValueError
        As `maximum_filter` does, and for a `structure` that is not flat.

    Notes
    -----
    Equals ``scipy.ndimage.grey_erosion``.

    Examples
    --------
    >>> grey_erosion([4, 3, 1, 5, 2], 3)
    array([3, 1, 1, 1, 2])
    """
    size, footprint = _size_of("grey_erosion", size, footprint, structure)
    return _eroded("grey_erosion", input, size, footprint, output, mode, cval, origin, axes)


@names_checked
def grey_dilation(
    input: ArrayLike,
    size: Counts | None = None,
    footprint: ArrayLike | None = None,
    structure: ArrayLike | None = None,
    output: Output = None,
    mode: Modes = "reflect",
    cval: float = 0.0,
    origin: Counts = 0,
    *,
    axes: Counts | None = None,
) -> AnyArray:
    """Grey dilation by a flat rectangle: `maximum_filter` over the window of `grey_erosion` turned around its element.

    Parameters
    ----------
    input, size, footprint, output, mode, cval, origin, axes
        As in `maximum_filter`.
    structure : array_like, optional
        Zeros alone, of the shape that windows have; a `footprint` goes before it.

    Returns
    -------
    ndarray
        The result, of the shape of the input: a new array, or `output`.

    Raises
    ------
    TypeError, ValueError
        As `maximum_filter` does, and for a `structure` that is not flat.

    Notes
    -----
    Equals ``scipy.ndimage.grey_dilation``.

    Examples
    --------
    >>> grey_dilation([0, 0, 7, 0, 0, 0], 2)
    array([0, 7, 7, 0, 0, 0])
    """
    size, footprint = _size_of("grey_dilation", size, footprint, structure)
    return _dilated("grey_dilation", input, size, footprint, output, mode, cval, origin, axes)


@names_checked
def grey_opening(
    input: ArrayLike,
    size: Counts | None = None,
    footprint: ArrayLike | None = None,
    structure: ArrayLike | None = None,
    output: Output = None,
    mode: Modes = "reflect",
    cval: float = 0.0,
    origin: Counts = 0,
    *,
    axes: Counts | None = None,
) -> AnyArray:
    """Grey opening by a flat rectangle, which takes off peaks that it does not fit into: erosion, then dilation.

    Parameters
    ----------
    input, size, footprint, output, mode, cval, origin, axes
        As in `maximum_filter`.
    structure : array_like, optional
        Zeros alone, of the shape that windows have; a `footprint` goes before it.

    Returns
    -------
    ndarray
        The result, of the shape of the input: a new array, or `output`.

    Raises
    ------
    TypeError, ValueError
        As `maximum_filter` does, and for a `structure` that is not flat.

    Notes
    -----
    Equals ``scipy.ndimage.grey_opening``. The call needs memory for one further array.

    Examples
    --------
    >>> grey_opening([1, 1, 9, 1, 5, 5, 5, 1], 3)
    array([1, 1, 1, 1, 5, 5, 5, 1])
    """
    function = "grey_opening"
    size, footprint = _size_of(function, size, footprint, structure)
    eroded = _eroded(function, input, size, footprint, None, mode, cval, origin, axes)
    return _dilated(function, eroded, size, footprint, output, mode, cval, origin, axes)


@names_checked
def grey_closing(
    input: ArrayLike,
    size: Counts | None = None,
    footprint: ArrayLike | None = None,
    structure: ArrayLike | None = None,
    output: Output = None,
    mode: Modes = "reflect",
    cval: float = 0.0,
    origin: Counts = 0,
    *,
    axes: Counts | None = None,
) -> AnyArray:
    """Grey closing by a flat rectangle, which fills holes that it does not fit into: dilation, then erosion.

    Parameters
    ----------
    input, size, footprint, output, mode, cval, origin, axes
        As in `maximum_filter`.
    structure : array_like, optional
        Zeros alone, of the shape that windows have; a `footprint` goes before it.

    Returns
    -------
    ndarray
        The result, of the shape of the input: a new array, or `output`.

    Raises
    ------
    TypeError, ValueError
        As `maximum_filter` does, and for a `structure` that is not flat.

    Notes
    -----
    Equals ``scipy.ndimage.grey_closing``. The call needs memory for one further array.

    Examples
    --------
    >>> grey_closing([5, 5, 1, 5, 2, 2, 2, 5], 3)
    array([5, 5, 5, 5, 2, 2, 2, 5])
    """
    function = "grey_closing"
    size, footprint = _size_of(function, size, footprint, structure)
    dilated = _dilated(function, input, size, footprint, None, mode, cval, origin, axes)
    return _eroded(function, dilated, size, footprint, output, mode, cval, origin, axes)


# ---------------------------------------------------------------------------------------------------------------------
# Means


@in_default_mode
def _means(
    function: str,
    input: ArrayLike,
    size: Any,
    output: Output,
    mode: Any,
    cval: Any,
    origin: Any,
    axes: Any,
    rounding: Any,
) -> AnyArray:
    """Means of windows: of floats over all axes at once, of integers one axis after another, as scipy rounds them."""
    array = _input(function, input)
    destination = _Destination.of(function, output, array)
    windows = _windows(function, array.ndim, size, None, mode, origin, axes)
    number = _number(function, cval)
    reads_constant = any(window.mode == "constant" for window in windows)
    if reads_constant and {array.dtype.kind, destination.dtype.kind} <= set("biu") and not math.isfinite(number):
        raise value_error(
            function, f"must be finite, since {destination.dtype.name} has no {number}", argument=("cval", cval)
        )
    if rounding is not None:
        word(function, "rounding", rounding, ROUNDINGS)
    if array.size == 0:
        return destination.deliver(array.copy())
    _checked_lengths(function, array.shape, windows)
    # A mean of bool that is cut off: whether all are true.
    wanted = np.dtype(np.uint8) if destination.dtype == np.bool_ else destination.dtype
    source = array.view(np.uint8) if array.dtype == np.bool_ else array
    if wanted.kind not in "iu":
        wide = _float_of(source.dtype, wanted)
        result = destination.room(array, wide)
        _filtered(_Reducer(_pool("mean"), wide.type(number)), source.astype(wide, copy=False), windows, result)
        return destination.deliver(result)
    if source.dtype.kind in "iu":
        return destination.deliver(_integer_means(function, source, windows, number, rounding, wanted))
    if rounding is not None:
        raise value_error(
            function,
            f"is for means of integers, and the input is {source.dtype.name}",
            "leave it out, and round the result",
            argument=("rounding", rounding),
        )
    for window in windows:
        source = _float_means(source, window, number, wanted)
    return destination.deliver(source)


def _float_of(dtype: np.dtype[Any], wanted: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in which means of one dtype are taken for another, so that it holds both."""
    if dtype.kind in "biu":
        wide = dtype.itemsize > 2 or wanted.itemsize > 4
    elif dtype == wanted:
        return dtype
    else:
        wide = max(dtype.itemsize, wanted.itemsize) > 4
    return np.dtype(np.float64 if wide else np.float32)


def _float_means(array: AnyArray, window: _Window, number: float, dtype: np.dtype[Any]) -> AnyArray:
    """Return the means on one axis in float64, cut off to an integer dtype."""
    means = np.empty(array.shape, np.float64)
    reducer = _Reducer(_pool("mean"), float(number))
    _filtered(reducer, array.astype(np.float64, copy=False), [window], means)
    with np.errstate(all="ignore"):
        return means.astype(dtype)


def _integer_means(
    function: str,
    array: AnyArray,
    windows: Sequence[_Window],
    number: float,
    rounding: Any,
    dtype: np.dtype[Any],
) -> AnyArray:
    """Return means in an integer dtype: one axis after another, each cut off, or rounded once over all axes."""
    if rounding is not None:
        return _rounded_means(function, array, windows, number, rounding).astype(dtype, copy=False)
    held = all(window.mode != "constant" or _holds(array.dtype, number) for window in windows)
    if held and dtype == array.dtype and (rows := _rows_of_band(array, windows)):
        return _means_in_bands(array, windows, number, rows)
    for window in windows:
        if window.mode == "constant" and not _holds(array.dtype, number):
            array = _float_means(array, window, number, dtype)
            continue
        means = np.empty(array.shape, array.dtype)
        _filtered(_cutting_off(array.dtype, window, number), array, [window], means)
        array = means.astype(dtype, copy=False)
    return array if windows else array.astype(dtype)


def _cutting_off(dtype: np.dtype[Any], window: _Window, number: float) -> _Reducer:
    """Return what makes means that are cut off."""
    return _Reducer(_pool("mean", rounding="trunc"), dtype.type(int(number) if window.mode == "constant" else 0))


def _rows_of_band(array: AnyArray, windows: Sequence[_Window]) -> int:
    """Return how much of the first axis is filtered on all axes at a time; 0 where the whole array is.

    That axis must come first, or stay. Parts of it are small, and longer than the windows: borders are read twice.
    """
    if array.nbytes <= 2 * BAND_BYTES or len(windows) < 2 or any(window.axis == 0 for window in windows[1:]):
        return 0
    first = windows[0]
    rows = max(1, BAND_BYTES * len(array) // array.nbytes)
    if first.axis == 0:
        rows = max(rows, 4 * first.size)
    return rows if 2 * rows <= len(array) and array[:rows].nbytes <= 16 * BAND_BYTES else 0


def _means_in_bands(array: AnyArray, windows: Sequence[_Window], number: float, rows: int) -> AnyArray:
    """Return means that are cut off after each axis, all axes of a part of the array before the next part."""
    result = np.empty(array.shape, array.dtype)
    reducers = [_cutting_off(array.dtype, window, number) for window in windows]
    length = len(array)
    for start in range(0, length, rows):
        stop = min(start + rows, length)
        left = list(zip(reducers, windows, strict=True))
        part = array[start:stop]
        if windows[0].axis == 0:
            reducer, window = left.pop(0)
            begin, end = start - window.before, stop + window.after
            inside = 0 <= begin <= start and stop <= end <= length
            part = array[begin:end] if inside else reducer.taken(array, window, start, stop)
            part = reducer.slide(part, [window], padded=False)
        for position, (reducer, window) in enumerate(left):
            made = result[start:stop] if position == len(left) - 1 else np.empty(part.shape, part.dtype)
            _filtered(reducer, part, [window], made)
            part = made
    return result


def _rounded_means(
    function: str, array: AnyArray, windows: Sequence[_Window], number: float, rounding: Any
) -> AnyArray:
    """Return means of integers that are rounded once over all axes."""
    constant = _constant(function, "mean", number, array.dtype, windows)
    has_constant = any(window.mode == "constant" for window in windows)
    if has_constant and constant != number:
        raise value_error(
            function, "must be an integer where means of integers are rounded once", argument=("cval", number)
        )
    reducer = _Reducer(_pool("mean", rounding=rounding), constant)
    if len(list(_runs(reducer, array.shape, windows))) < 2:
        result = np.empty(array.shape, array.dtype)
        _filtered(reducer, array, windows, result)
        return result
    cells = math.prod(window.size for window in windows)
    if cells > MOST_CELLS:
        raise value_error(
            function,
            f"windows of {cells} elements are too large for sums of 64 bits, and {MOST_CELLS} are the most where means "
            "are rounded once over axes that are pooled one after another",
            "leave out rounding, or use smaller windows",
        )
    greatest = max(abs(int(array.min())), abs(int(array.max())), abs(int(constant)) if has_constant else 0)
    if greatest * cells < 2**63:
        wide = np.dtype(np.int64 if array.dtype.kind == "i" else np.uint64)
        sums = _sums(array.astype(wide), windows, int(constant))
        return _divided(sums, cells, rounding).astype(array.dtype)
    return _means_of_digits(array, windows, int(constant), cells, rounding)


def _sums(array: AnyArray, windows: Sequence[_Window], constant: int) -> AnyArray:
    """Sum windows in a dtype of 64 bits that holds the sums, one run of axes after another."""
    pool = _pool("mean", divisor_override=1)
    for run in list(_runs(_Reducer(pool, constant), array.shape, windows)):
        sums = np.empty(array.shape, array.dtype)
        _filtered(_Reducer(pool, array.dtype.type(constant)), array, run, sums)
        array = sums
        # Beyond the borders of the next axes lie sums too, of as many constants.
        constant *= math.prod(window.size for window in run)
    return array


def _divided(sums: AnyArray, cells: int, rounding: Any) -> AnyArray:
    made = np.empty(sums.shape, sums.dtype)
    avg_pool1d(
        sums.reshape(1, 1, sums.size),
        1,
        divisor_override=cells,
        rounding=rounding,
        out=made.reshape(1, 1, sums.size),
    )
    return made


def _means_of_digits(array: AnyArray, windows: Sequence[_Window], constant: int, cells: int, rounding: Any) -> AnyArray:
    """Return rounded means whose sums are beyond 64 bits: of digits of so few bits that their sums are not.

    The sums of the digits are divided as on paper, from the highest digit to the lowest.
    """
    bits = 63 - cells.bit_length()
    shift, wide = np.uint64(bits), np.uint64
    signed = array.dtype.kind == "i"
    # From the least number upwards, so that there are no signs; the mean of as many is taken off again.
    least = 2**63 if signed else 0
    positive = array.astype(np.int64 if signed else wide).view(wide) ^ wide(least)
    quotient: AnyArray = np.zeros(array.shape, wide)
    rest: AnyArray = np.zeros(array.shape, wide)
    for low in reversed(range(0, 64, bits)):
        digit = (positive >> wide(low)) & wide(2**bits - 1)
        sums = _sums(digit, windows, ((constant + least) >> low) & (2**bits - 1))
        sums += rest << shift
        quotient = (quotient << shift) + sums // wide(cells)
        rest = sums % wide(cells)
    floor = (quotient ^ wide(least)).view(np.int64) if signed else quotient
    if rounding == "half_up":
        upwards = rest >= wide(cells) - rest
    elif rounding == "half_even":
        upwards = (rest > wide(cells) - rest) | ((rest == wide(cells) - rest) & (quotient % wide(2) == 1))
    elif rounding == "trunc":
        upwards = (floor < 0) & (rest > 0)
    else:
        return floor.astype(array.dtype)
    return (floor + upwards).astype(array.dtype)


def _holds(dtype: np.dtype[Any], number: float) -> bool:
    """Whether an integer dtype holds a number."""
    return math.isfinite(number) and number == int(number) and np.iinfo(dtype).min <= number <= np.iinfo(dtype).max


@names_checked
def uniform_filter(
    input: ArrayLike,
    size: Counts = 3,
    output: Output = None,
    mode: Modes = "reflect",
    cval: float = 0.0,
    origin: Counts = 0,
    *,
    axes: Counts | None = None,
    rounding: Rounding | None = None,
) -> AnyArray:
    """Mean of the window around each element.

    Parameters
    ----------
    input : array_like
        An array of any number of axes, of any dtype of `pooling.avg_pool2d`, or bool.
    size, output, mode, cval, origin, axes
        As in `maximum_filter`.
    rounding : {"half_even", "half_up", "floor", "trunc"}, optional
        How means of integers are rounded, once over all axes. By default they are cut off after each axis, as scipy
        does it, so that they are up to one too small for each.

    Returns
    -------
    ndarray
        The result, of the shape of the input: a new array, or `output`.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of the above.

    Notes
    -----
    Equals ``scipy.ndimage.uniform_filter`` for finite numbers: integers exactly (but for those beyond 2**53, which
    scipy rounds), floats within 4 units of 2**-23 (float32) times the mean of the magnitudes for each pass, while
    sums stay below the largest number of the dtype. Up to three axes beside one another are one pass where each is at
    least 8 times as long as what its windows reach over its ends; a shorter axis is a pass of its own. scipy adds and
    subtracts what enters and leaves a window, so that its rounding errors grow along a line, and one NaN or infinity
    reaches to the end of it; here both stay in the windows that hold them. The time grows slowly with `size`. Beside
    input and result, the call needs memory for one further array where integers are filtered on several axes or
    `output` has another dtype, for some of 64 bits where `rounding` is given for axes that one call does not pool,
    and for slabs of one and a half windows at borders.

    Examples
    --------
    >>> uniform_filter([2, 8, 0, 4, 1, 9, 9, 0], 3)
    array([4, 3, 4, 1, 4, 6, 6, 3])
    >>> uniform_filter([2, 8, 0, 4, 1, 9, 9, 0], 3, output=float).round(1)
    array([4. , 3.3, 4. , 1.7, 4.7, 6.3, 6. , 3. ])
    """
    return _means("uniform_filter", input, size, output, mode, cval, origin, axes, rounding)


@names_checked
def uniform_filter1d(
    input: ArrayLike,
    size: int,
    axis: int = -1,
    output: Output = None,
    mode: Mode = "reflect",
    cval: float = 0.0,
    origin: int = 0,
) -> AnyArray:
    """Mean of the window around each element on one axis: `uniform_filter` with one axis.

    Parameters
    ----------
    input, output, mode, cval
        As in `uniform_filter`.
    size : int
        Length of windows.
    axis : int
        The axis that is filtered.
    origin : int
        How far windows are shifted to lower indices.

    Returns
    -------
    ndarray
        The result, of the shape of the input: a new array, or `output`.

    Raises
    ------
    TypeError, ValueError
        As `uniform_filter` does.

    Notes
    -----
    Equals ``scipy.ndimage.uniform_filter1d``, but for what `uniform_filter` says of rounding and NaN.

    Examples
    --------
    >>> uniform_filter1d([2, 8, 0, 4, 1, 9, 9, 0], 3)
    array([4, 3, 4, 1, 4, 6, 6, 3])
    """
    return _means("uniform_filter1d", input, size, output, mode, cval, origin, (axis,), None)
