"""Which pixels of the input each cell of a stage depends on, followed exactly through graphs with branches.

On one axis, and as if maps had no borders, the field of a cell is an interval of input pixels, and the intervals of all
cells repeat: that of cell ``o + P`` is that of cell ``o`` moved by ``T`` pixels. So P intervals and T say everything,
of transposed convolutions and resizes too, in integers. P is 1 for chains of convolutions and poolings, and the rules
are those of Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill, 2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache, partial

from pooling.geometry import Axis

__all__ = [
    "CHANNELS",
    "AxisLayout",
    "Factor",
    "Line",
    "ReceptiveField",
    "View",
    "adaptive",
    "blocks",
    "blown_up",
    "folded",
    "merged",
    "moved_by",
    "pixels",
    "resized",
    "shifted",
    "summary",
    "transposed",
    "unfolded",
    "windows",
    "windows_in_parts",
]

Interval = tuple[int, int]
LONGEST_PERIOD = 2048
"""Cells after which fields must repeat; only resizes by odd ratios need many."""
FARTHEST = 256
"""Cells beyond the border of a map whose fields are kept where fields repeat after more than `LONGEST_PERIOD` cells."""
MOST_PATHS = 16
"""Paths of different stride that are followed apart on one axis."""
REMEMBERED = 4096
"""Steps whose result is kept: a network is inferred at many sizes, and fields are the same at all of them."""


class UnfollowedError(Exception):
    """Why fields are not followed any further, as a part of a sentence."""


@dataclass(frozen=True)
class Line:
    """Fields that repeat: that of cell ``r + q * len(phases)`` is ``phases[r]`` moved by ``q * step`` pixels.

    Attributes
    ----------
    phases : tuple of pairs
        First and last pixel; None for a cell that depends on nothing, as between the taps of some transposed
        convolutions.
    step : int
        Pixels from one period to the next.
    """

    phases: tuple[Interval | None, ...]
    step: int

    @property
    def stride(self) -> Fraction:
        """Pixels from cell to cell."""
        return Fraction(self.step, len(self.phases))

    @property
    def offset(self) -> Fraction:
        """Centre of cell 0, on the line through the centres of all cells."""
        centres = [Fraction(sum(field), 2) - cell * self.stride for cell, field in enumerate(self.phases) if field]
        return sum(centres, Fraction()) / len(centres) if centres else Fraction()

    @property
    def size(self) -> int:
        """Pixels of the largest field."""
        return max((field[1] - field[0] + 1 for field in self.phases if field), default=0)

    def __getitem__(self, cell: int) -> Interval | None:
        turns, phase = divmod(cell, len(self.phases))
        field = self.phases[phase]
        return field and (field[0] + turns * self.step, field[1] + turns * self.step)

    def covered_by(self, cells: Sequence[int]) -> Interval | None:
        """Return the interval that evenly spaced cells depend on together."""
        # Beyond one period, only those at the ends can reach further.
        period = len(self.phases)
        ends = (*cells[:period], *cells[period:][-period:])
        fields = [interval for cell in ends if (interval := self[cell])]
        return (min(first for first, _ in fields), max(last for _, last in fields)) if fields else None

    def through(self, period: int, step: int, cells: Callable[[int], Sequence[int]], size: int | None = None) -> Line:
        """Return the fields one stage further.

        Parameters
        ----------
        period, step : int
            The new cell ``o + period`` reads what the new cell ``o`` reads, `step` cells further.
        cells : callable
            The cells that a new cell reads.
        size : int, optional
            How many new cells there are. Where fields repeat only after very many cells, those of these cells and of
            as many on both sides are kept, as if they repeated.
        """
        turns = len(self.phases) // math.gcd(len(self.phases), step)
        count = period * turns
        if count <= LONGEST_PERIOD:
            fields = tuple(self.covered_by(cells(cell)) for cell in range(count))
            return Line(fields, self.step * step * turns // len(self.phases)).shortest()
        stride = self.stride * step / period
        kept = None if size is None else _finite_period(size, stride)
        if kept is None:
            raise UnfollowedError(f"fields repeat after {count} cells only")
        before, pixels = min(size or 0, FARTHEST), round(kept * stride)
        beyond = [self.covered_by(cells(cell)) for cell in range(-before, 0)]
        found = [self.covered_by(cells(cell)) for cell in range(kept - before)]
        return Line((*found, *(field and (field[0] + pixels, field[1] + pixels) for field in beyond)), pixels)

    def shortest(self) -> Line:
        """Return the same fields with the shortest period."""
        whole = len(self.phases)
        for period in range(1, whole // 2 + 1):
            if whole % period or self.step * period % whole:
                continue
            line = Line(self.phases[:period], self.step * period // whole)
            if all(line[cell] == field for cell, field in enumerate(self.phases)):
                return line
        return self

    def together(self, other: Line) -> Line:
        """Return the fields of cells that two paths of the same stride lead to."""
        period = math.lcm(len(self.phases), len(other.phases))
        if period > LONGEST_PERIOD:
            raise UnfollowedError(f"fields repeat after {period} cells only")
        fields = tuple(
            (min(a[0], b[0]), max(a[1], b[1])) if a and b else a or b
            for a, b in ((self[cell], other[cell]) for cell in range(period))
        )
        return Line(fields, self.step * period // len(self.phases)).shortest()


def _finite_period(size: int, stride: Fraction) -> int | None:
    """Return the cells of a line that holds the fields of a map of a size; None where those are too many."""
    least = size + 2 * min(size, FARTHEST)
    cells = stride.denominator
    whole = cells * -(-least // cells)
    if whole > LONGEST_PERIOD:  # then the stride is rounded
        whole = 1 << (least - 1).bit_length()
    return whole if whole <= LONGEST_PERIOD else None


Paths = tuple[Line, ...]
"""The fields of the cells of one axis: one line, or several where paths of different strides meet."""


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of the cells of a stage: the input pixels that a cell depends on, for each spatial axis.

    Fields are counted as if the input had no borders: what lies in the padding of some stage counts as well.

    Attributes
    ----------
    size : tuple of int
        Input pixels from the first to the last that a cell depends on; of cells that differ, the largest number.
    stride : tuple of Fraction
        Effective stride (jump): input pixels between the fields of neighbouring cells.
    offset : tuple of Fraction
        Centre of the field of output cell 0 in input pixels, where pixel i has its centre at i. Where the fields of
        neighbours are not evenly spaced, as behind a nearest Resize, the line through all of their centres at cell 0.
    aligned : bool
        Whether all paths to the stage share stride and centre.
    uniform : bool
        Whether all cells have fields of the same size, evenly spaced.
    context : bool
        Whether a branch shows every cell the whole input as well, such as the global pooling of squeeze-and-excitation;
        `size` is that of the other branches.

    Examples
    --------
    >>> from pooling.doctor import read
    >>> field = read("conv7x64/2p3@stem pool3/2p1@pool", (1, 3, 64, 64)).stage("pool").receptive_field
    >>> field.size, field.stride
    ((11, 11), (Fraction(4, 1), Fraction(4, 1)))
    """

    size: tuple[int, ...]
    stride: tuple[Fraction, ...]
    offset: tuple[Fraction, ...]
    aligned: bool = True
    uniform: bool = True
    context: bool = False


CHANNELS = -1
"""The number of the axis of a `Factor` that is not spatial."""


@dataclass(frozen=True)
class Factor:
    """A part of a spatial axis that has been split: of 56 rows as 8 windows of 7, the 8 or the 7.

    Attributes
    ----------
    axis : int
        The number of the spatial axis; `CHANNELS` for what is not spatial.
    size : int
    step : int
        Cells of the spatial axis from one to the next: 7 for the windows, 1 for the rows in a window.
    """

    axis: int
    size: int
    step: int = 1


@dataclass(frozen=True)
class AxisLayout:
    """What stands on one axis of a tensor.

    Attributes
    ----------
    factors : tuple of Factor
        The outermost first; empty for an axis that is not spatial.
    before, after : int
        Elements in front of them and behind them that are no cells, such as a class token.
    """

    factors: tuple[Factor, ...] = ()
    before: int = 0
    after: int = 0


@dataclass(frozen=True)
class View:
    """What a tensor shows of the network's input.

    Attributes
    ----------
    axes : tuple of int
        Where the spatial axes stand in the shape of the tensor; empty where they do not stand alone, see `layout`.
    paths : tuple of Paths, or None
        The fields on each spatial axis; None where fields are not followed any more.
    aligned : bool
        Whether all paths share stride and centre.
    context : bool
        Whether a branch shows every cell the whole input as well.
    lost : str
        Why fields are not followed any more.
    layout : tuple of AxisLayout
        What stands on each axis of the tensor where spatial axes are merged or split, such as the tokens of a
        transformer, ``(N, H * W, C)``; empty where `axes` says it.
    grid : tuple of int
        The sizes of the spatial axes where there is a `layout`.
    """

    axes: tuple[int, ...]
    paths: tuple[Paths, ...] | None
    aligned: bool = True
    context: bool = False
    lost: str = ""
    layout: tuple[AxisLayout, ...] = ()
    grid: tuple[int, ...] = ()

    def sizes(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the sizes of the spatial axes in a tensor of a shape."""
        return self.grid or tuple(shape[axis] for axis in self.axes)


def pixels(axes: Sequence[int]) -> View:
    """Return the view of the input itself."""
    return View(tuple(axes), tuple((Line(((0, 0),), 1),) for _ in axes))


def windows(paths: Paths, axis: Axis) -> Paths:
    """Follow fields through the windows of a convolution or pooling."""
    if axis.adaptive:
        return adaptive(paths, axis)
    return shifted(paths, axis.kernel_size, axis.stride, axis.dilation, axis.pad_begin)


@lru_cache(maxsize=REMEMBERED)
def shifted(paths: Paths, kernel_size: int, stride: int, dilation: int, begin: int) -> Paths:
    """Follow fields through windows that begin `begin` cells before the map; a negative number crops."""

    def cells(output: int) -> range:
        start = output * stride - begin
        return range(start, start + kernel_size * dilation, dilation)

    return tuple(line.through(1, stride, cells) for line in paths)


@lru_cache(maxsize=REMEMBERED)
def windows_in_parts(paths: Paths, axis: Axis, step: int, *, is_split: bool, undone: bool = False) -> Paths:
    """Follow fields through windows that move inside of each part of a map, such as a window of attention.

    Parameters
    ----------
    paths : Paths
        Of the whole map.
    axis : Axis
        The windows in one part.
    step : int
        Cells of the map from one cell of a part to the next.
    is_split : bool
        Whether several parts follow each other: then no window reads across the border of its part.
    undone : bool
        Whether a transposed convolution undoes the windows.
    """
    size, count = (axis.output_size, axis.input_size) if undone else (axis.input_size, axis.output_size)
    if is_split:
        turn, cells_of_turn = count, size
    elif axis.adaptive:
        common = math.gcd(size, count)
        turn, cells_of_turn = count // common, size // common
    else:
        turn, cells_of_turn = (axis.stride, 1) if undone else (1, axis.stride)
    taps = axis.windows_at if undone else partial(_taps, axis)

    def cells(output: int) -> Sequence[int]:
        cell, inner = divmod(output, step)
        part, place = divmod(cell, turn)
        found = [tap for tap in taps(place) if 0 <= tap < size or not is_split]
        return [(part * cells_of_turn + tap) * step + inner for tap in found]

    return tuple(line.through(turn * step, cells_of_turn * step, cells) for line in paths)


def _taps(axis: Axis, output: int) -> range:
    """Return the cells that a window reads, as if the map had no end."""
    if axis.adaptive:
        size, count = axis.input_size, axis.output_size
        return range(output * size // count, -(-(output + 1) * size // count))
    begin = output * axis.stride - axis.pad_begin
    return range(begin, begin + axis.effective_kernel_size, axis.dilation)


@lru_cache(maxsize=REMEMBERED)
def unfolded(paths: Paths, size: int, stride: int, dilation: int = 1) -> Paths:
    """Follow fields to windows that are laid side by side: cell ``o`` is cell ``o % size`` of window ``o // size``."""

    def cells(output: int) -> range:
        place = output // size * stride + output % size * dilation
        return range(place, place + 1)

    return tuple(line.through(size, stride, cells) for line in paths)


@lru_cache(maxsize=REMEMBERED)
def folded(paths: Paths, axis: Axis) -> Paths:
    """Follow fields from the windows of `axis`, which lie side by side, to the map that their sum is."""

    def cells(output: int) -> Sequence[int]:
        place = output + axis.pad_begin
        return [
            window * axis.kernel_size + (place - window * axis.stride) // axis.dilation
            for window in axis.windows_at(output)
        ]

    return tuple(line.through(axis.stride, axis.kernel_size, cells) for line in paths)


@lru_cache(maxsize=REMEMBERED)
def blocks(paths: Paths, size: int) -> Paths:
    """Follow fields through attention within blocks: every cell depends on all cells of its block of `size`."""

    def cells(output: int) -> range:
        start = output - output % size
        return range(start, start + size)

    return tuple(line.through(size, size, cells) for line in paths)


@lru_cache(maxsize=REMEMBERED)
def blown_up(paths: Paths, factor: int) -> Paths:
    """Follow fields to `factor` cells in the place of each."""
    return tuple(
        line.through(factor, 1, lambda output: range(output // factor, output // factor + 1)) for line in paths
    )


def moved_by(line: Line, pixels: int) -> Line:
    """Return the same fields moved by so many pixels."""
    return Line(tuple(field and (field[0] + pixels, field[1] + pixels) for field in line.phases), line.step)


def transposed(paths: Paths, axis: Axis) -> Paths:
    """Follow fields through a transposed convolution, which undoes the windows of `axis`."""
    return tuple(line.through(axis.stride, 1, axis.windows_at, axis.input_size) for line in paths)


def adaptive(paths: Paths, axis: Axis) -> Paths:
    """Follow fields through adaptive windows, which fill the map evenly."""
    common = math.gcd(axis.input_size, axis.output_size)
    period, step = axis.output_size // common, axis.input_size // common

    def cells(output: int) -> range:
        return range(output * step // period, -(-(output + 1) * step // period))

    return tuple(line.through(period, step, cells, axis.output_size) for line in paths)


def resized(
    paths: Paths, scale: Fraction, shift: Fraction, taps: Callable[[Fraction], range], size: int | None = None
) -> Paths:
    """Follow fields through a resize.

    Parameters
    ----------
    scale : Fraction
        Input cells for each output cell.
    shift : Fraction
        Input coordinate of output cell 0.
    taps : callable
        The cells that are read for an input coordinate.
    size : int, optional
        The output cells that there are.
    """
    period, step = scale.denominator, scale.numerator
    return tuple(line.through(period, step, lambda output: taps(output * scale + shift), size) for line in paths)


def merged(views: Sequence[View]) -> View:
    """Return the view of a stage that reads from several tensors with the same spatial axes."""
    return _merged(tuple(views))


@lru_cache(maxsize=REMEMBERED)
def _merged(views: tuple[View, ...]) -> View:
    first = views[0]
    lost = next((view.lost for view in views if view.paths is None), "")
    if any(view.paths is None for view in views):
        return View(first.axes, None, lost=lost)
    aligned = all(view.aligned for view in views)
    together: list[Paths] = []
    for number in range(len(first.axes)):
        lines: dict[Fraction, Line] = {}
        centres = set()
        for view in views:
            assert view.paths is not None
            for line in view.paths[number]:
                centres.add((line.stride, line.offset))
                other = lines.get(line.stride)
                lines[line.stride] = line if other is None or other == line else other.together(line)
        if len(lines) > MOST_PATHS:
            raise UnfollowedError(f"paths of {len(lines)} different strides meet")
        aligned = aligned and len(centres) == 1
        together.append(tuple(lines.values()))
    return View(first.axes, tuple(together), aligned, any(view.context for view in views))


def summary(view: View, sizes: Sequence[int]) -> ReceptiveField | None:
    """Return a view in numbers, for a tensor with so many cells on each spatial axis."""
    if not view.paths:
        return None
    several = any(len(paths) > 1 for paths in view.paths)
    view = replace(view, axes=(), layout=(), grid=())  # where the axes stand does not matter
    return _summary(view, tuple(sizes) if several else None)


@lru_cache(maxsize=REMEMBERED)
def _summary(view: View, sizes: tuple[int, ...] | None) -> ReceptiveField:
    """Return a view in numbers; sizes matter only where several paths meet on an axis."""
    assert view.paths is not None
    measured = [_size(paths, cells) for paths, cells in zip(view.paths, sizes or (1,) * len(view.paths), strict=True)]
    # Of several paths, the widest says where the fields lie.
    widest = [max(paths, key=lambda line: line.size) for paths in view.paths]
    return ReceptiveField(
        tuple(measured),
        tuple(line.stride for line in widest),
        tuple(line.offset for line in widest),
        view.aligned,
        all(len(paths) == 1 and len(paths[0].phases) == 1 for paths in view.paths),
        view.context,
    )


def _size(paths: Paths, cells: int) -> int:
    """Return the largest number of pixels that a cell depends on along all paths together."""
    if len(paths) == 1:
        return paths[0].size
    # Strides differ, so that paths part from cell to cell: it is farthest at one of the ends.
    period = min(math.lcm(*(len(line.phases) for line in paths)), LONGEST_PERIOD, cells)
    sizes = [0]
    for cell in {*range(period), *range(cells - period, cells)}:
        fields = [interval for line in paths if (interval := line[cell])]
        if fields:
            sizes.append(max(last for _, last in fields) - min(first for first, _ in fields) + 1)
    return max(sizes)
