"""Which pixels of the input each cell of a stage depends on, followed exactly through graphs with branches.

On one axis, and as if maps had no borders, the field of a cell is an interval of input pixels, and the intervals of all
cells repeat: that of cell ``o + P`` is that of cell ``o`` moved by ``T`` pixels. So P intervals and T say everything,
of transposed convolutions and resizes too, in integers. P is 1 for chains of convolutions and poolings, and the rules
are those of Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill, 2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from pooling.geometry import Axis

__all__ = [
    "Layout",
    "Line",
    "Part",
    "ReceptiveField",
    "View",
    "adaptive",
    "gathered",
    "merged",
    "pixels",
    "repeated",
    "resized",
    "shifted",
    "summary",
    "transposed",
    "widened",
    "windows",
]

Interval = tuple[int, int]
LONGEST_PERIOD = 2048
"""Cells after which fields must repeat; only resizes by odd ratios need many."""
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

    def covered_by(self, cells: range) -> Interval | None:
        """Return the interval that evenly spaced cells depend on together."""
        # Beyond one period, only those at the ends can reach further.
        period = len(self.phases)
        ends = (*cells[:period], *cells[period:][-period:])
        fields = [interval for cell in ends if (interval := self[cell])]
        return (min(first for first, _ in fields), max(last for _, last in fields)) if fields else None

    def through(self, period: int, step: int, cells: Callable[[int], range]) -> Line:
        """Return the fields one stage further.

        Parameters
        ----------
        period, step : int
            The new cell ``o + period`` reads what the new cell ``o`` reads, `step` cells further.
        cells : callable
            The cells that a new cell reads.
        """
        turns = len(self.phases) // math.gcd(len(self.phases), step)
        if period * turns > LONGEST_PERIOD:
            raise UnfollowedError(f"fields repeat after {period * turns} cells only")
        fields = tuple(self.covered_by(cells(cell)) for cell in range(period * turns))
        return Line(fields, self.step * step * turns // len(self.phases)).shortest()

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
        Whether a branch shows every cell the whole input as well, such as the global pooling of squeeze-and-excitation
        or attention over all positions; `size` is that of the other branches.
    """

    size: tuple[int, ...]
    stride: tuple[Fraction, ...]
    offset: tuple[Fraction, ...]
    aligned: bool = True
    uniform: bool = True
    context: bool = False


class Part(NamedTuple):
    """What an axis of a tensor is made of, where spatial axes are split or merged: one digit of a coordinate.

    Attributes
    ----------
    axis : int
        The spatial axis; `CHANNELS` for all that is no position, `TOKENS` for positions with more beside them.
    size : int
        How many values it has.
    step : int
        Cells of the spatial axis from one value to the next.
    """

    axis: int
    size: int
    step: int


Layout = tuple[tuple[Part, ...], ...]
"""What each axis of a tensor is made of, the digit that changes fastest last."""
CHANNELS = -1
TOKENS = -2


@dataclass(frozen=True)
class View:
    """What a tensor shows of the network's input.

    Attributes
    ----------
    axes : tuple of int
        Where the spatial axes stand in the shape of the tensor; empty where it is no map: where `layout` says where
        its positions are, or where there are none.
    paths : tuple of Paths, or None
        The fields on each of them; None where fields are not followed any more. Without positions, no paths at all
        are those of what depends on all that `context` says: the whole input, or nothing of it.
    aligned : bool
        Whether all paths share stride and centre.
    context : bool
        Whether a branch shows every cell the whole input as well.
    lost, lost_at : str
        Why fields are not followed any more, and the stage and the operator where that was.
    whole : bool
        Whether its one cell has pooled a whole map.
    layout : Layout, or None
        Where the positions are in a tensor that is no map, such as the list of tokens of a transformer.
    sizes : tuple of int
        With a layout, the spatial sizes.
    """

    axes: tuple[int, ...]
    paths: tuple[Paths, ...] | None
    aligned: bool = True
    context: bool = False
    lost: str = ""
    lost_at: tuple[str, str] = ("", "")
    whole: bool = False
    layout: Layout | None = None
    sizes: tuple[int, ...] = ()

    @property
    def is_followed(self) -> bool:
        """Whether there are positions whose fields are known."""
        return self.paths is not None and bool(self.axes or self.layout is not None)


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


def transposed(paths: Paths, axis: Axis) -> Paths:
    """Follow fields through a transposed convolution, which undoes the windows of `axis`."""
    return tuple(line.through(axis.stride, 1, axis.windows_at) for line in paths)


def adaptive(paths: Paths, axis: Axis) -> Paths:
    """Follow fields through adaptive windows, which fill the map evenly."""
    common = math.gcd(axis.input_size, axis.output_size)
    period, step = axis.output_size // common, axis.input_size // common

    def cells(output: int) -> range:
        return range(output * step // period, -(-(output + 1) * step // period))

    return tuple(line.through(period, step, cells) for line in paths)


@lru_cache(maxsize=REMEMBERED)
def widened(paths: Paths, size: int, step: int) -> Paths:
    """Follow fields through what mixes the cells that differ in one digit of their coordinate, as windows of attention.

    Parameters
    ----------
    size, step : int
        Of the digit: so many values, so many cells from one to the next.
    """
    span = size * step

    def cells(output: int) -> range:
        first = output // span * span + output % step
        return range(first, first + span, step)

    return tuple(line.through(span, span, cells) for line in paths)


@lru_cache(maxsize=REMEMBERED)
def gathered(paths: Paths, cells: int) -> Paths:
    """Follow fields to a coarser map: each of its cells is so many cells side by side."""
    return shifted(paths, cells, cells, 1, 0)


@lru_cache(maxsize=REMEMBERED)
def repeated(paths: Paths, times: int) -> Paths:
    """Follow fields to a finer map: so many of its cells are made of one."""
    return tuple(line.through(times, 1, lambda output: range(output // times, output // times + 1)) for line in paths)


def resized(paths: Paths, scale: Fraction, shift: Fraction, taps: Callable[[Fraction], range]) -> Paths:
    """Follow fields through a resize.

    Parameters
    ----------
    scale : Fraction
        Input cells for each output cell.
    shift : Fraction
        Input coordinate of output cell 0.
    taps : callable
        The cells that are read for an input coordinate.
    """
    # What is read repeats with the period, so that one of them says all, and can be remembered.
    read = tuple(taps(output * scale + shift) for output in range(scale.denominator))
    return _resized(paths, scale.numerator, read)


@lru_cache(maxsize=REMEMBERED)
def _resized(paths: Paths, step: int, read: tuple[range, ...]) -> Paths:
    period = len(read)

    def cells(output: int) -> range:
        turns, phase = divmod(output, period)
        return range(read[phase].start + turns * step, read[phase].stop + turns * step)

    return tuple(line.through(period, step, cells) for line in paths)


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
    context, whole = any(view.context for view in views), all(view.whole for view in views)
    return View(first.axes, tuple(together), aligned, context, whole=whole)


def summary(view: View, sizes: Sequence[int]) -> ReceptiveField | None:
    """Return a view in numbers, for a tensor with so many cells on each spatial axis."""
    if view.paths is None or not view.is_followed:
        return None
    return _summary(view, tuple(sizes) if any(len(paths) > 1 for paths in view.paths) else None)


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
