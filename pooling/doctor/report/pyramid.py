"""What the pictures of a network show: its resolution levels, each with its grid laid over the input.

Positions are in pixels of the input: pixel i reaches from i to i + 1, so that a receptive field whose centre is at
pixel i has its centre at i + 1/2 here. Both the figure and the page are drawn from this.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pooling.errors import value_error
from pooling.reporting.formats import by, cells

from ..receptive_field import ReceptiveField
from ..words import Words

if TYPE_CHECKING:
    from ..analysis.object_footprint import Objects
    from ..network import Network, Stage

__all__ = ["Box", "Level", "Pyramid", "averaged", "level_of_stages", "pyramid", "shares"]

STRIP = 6
"""A network with one axis is drawn as a strip, so many times as long as high."""


@dataclass(frozen=True)
class Box:
    """A rectangle on the input: left, top, right, bottom."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """From left to right."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """From top to bottom."""
        return self.bottom - self.top

    def within(self, other: Box) -> Box | None:
        """Return what lies in another rectangle, if anything does."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        return Box(left, top, right, bottom) if left < right and top < bottom else None


@dataclass(frozen=True)
class Level:
    """Stages of one resolution, one behind the other.

    Attributes
    ----------
    stages : tuple of str
        Their names, first stage first; the numbers are those of the stage that sees most.
    size : tuple of int
        Cells on each spatial axis.
    stride : tuple of float
        Pixels of a cell on each spatial axis.
    footprint : tuple of float
        Cells that the object covers on each spatial axis.
    resolved : tuple of float
        The same on the coarsest grid that leads here.
    field_size : tuple of int
        The receptive field on each spatial axis.
    columns, rows : array of float
        Borders of the cells from left to right, and from top to bottom.
    cell : Box
        The cell whose centre is nearest to the object's.
    field : Box
        The receptive field of this cell; it may reach beyond the input.
    dropped : tuple of Box
        Input that stages of this level leave out.
    dropped_text : str
        How much that is.
    """

    stages: tuple[str, ...]
    size: tuple[int, ...]
    stride: tuple[float, ...]
    footprint: tuple[float, ...]
    resolved: tuple[float, ...]
    field_size: tuple[int, ...]
    columns: NDArray[np.float64]
    rows: NDArray[np.float64]
    cell: Box
    field: Box
    dropped: tuple[Box, ...] = ()
    dropped_text: str = ""

    @property
    def plane(self) -> tuple[int, int]:
        """Rows and columns of cells that are drawn."""
        return len(self.rows) - 1, len(self.columns) - 1

    @property
    def title(self) -> str:
        """Its size."""
        return by(self.size)

    def _in_input(self, numbers: Sequence[float]) -> str:
        """Write a length in the input."""
        words = Words(len(numbers))
        unit = words.cell if words.dimensions == 1 and numbers[0] == 1 else words.short
        return f"{by([cells(each) for each in numbers])} {unit}"

    @property
    def alone(self) -> bool:
        """Whether the map is a single cell."""
        return set(self.size) == {1}

    @property
    def cell_text(self) -> str:
        """Say how far cells are apart."""
        return "1 cell for all" if self.alone else f"1 cell = {self._in_input(self.stride)}"

    @property
    def field_text(self) -> str:
        """Say how large the receptive field (RF) is."""
        return f"RF {self._in_input(self.field_size)}"

    @property
    def object_text(self) -> str:
        """Say how many cells the object covers."""
        if self.alone:
            return "map collapsed"
        covered = by([cells(each) for each in self.footprint])
        covered += " cell" if set(self.footprint) == {1} else " cells"
        if self.resolved == self.footprint:
            return covered
        return f"{covered}, {by([cells(each) for each in self.resolved])} resolved"

    @property
    def is_lost(self) -> bool:
        """Whether the object covers less than one cell."""
        return min(self.resolved) < 1

    @property
    def grid(self) -> Box:
        """All cells together; they can reach beyond the input, or leave a part of it free."""
        return Box(self.columns[0], self.rows[0], self.columns[-1], self.rows[-1])

    def veils(self, plane: Box) -> tuple[Box, ...]:
        """Return what the cell does not see of the input, as rectangles that do not overlap."""
        seen = self.field.within(plane)
        if seen is None:
            return (plane,)
        parts = (
            Box(plane.left, plane.top, plane.right, seen.top),
            Box(plane.left, seen.bottom, plane.right, plane.bottom),
            Box(plane.left, seen.top, seen.left, seen.bottom),
            Box(seen.right, seen.top, plane.right, seen.bottom),
        )
        return tuple(part for part in parts if part.width > 0 and part.height > 0)

    def covered(self, box: Box) -> Iterator[tuple[Box, float]]:
        """Yield the cells that a rectangle touches, and the share of each that it covers."""
        down = _overlaps(self.rows, np.array([box.top, box.bottom]))[:, 0] / np.diff(self.rows)
        right = _overlaps(self.columns, np.array([box.left, box.right]))[:, 0] / np.diff(self.columns)
        for row in np.flatnonzero(down):
            for column in np.flatnonzero(right):
                cell = Box(self.columns[column], self.rows[row], self.columns[column + 1], self.rows[row + 1])
                yield cell, float(down[row] * right[column])


@dataclass(frozen=True)
class Pyramid:
    """A network as its pictures show it.

    Attributes
    ----------
    plane : Box
        The input; of one with three axes, the last two of them.
    object : Box
        The object: near the middle, where one cell holds it on each level whose cells are as large, if there is such a
        place.
    object_size : tuple of int
        Pixels of the object on each spatial axis.
    levels : tuple of Level
        The input, and behind it a level for each resolution that the network comes to.
    at_output : tuple of float
        Cells that the object covers on the finest map that the output is read from; empty where there is none.
    left_out : int
        Levels that there are beyond `MOST_LEVELS`.
    """

    plane: Box
    object: Box
    object_size: tuple[int, ...]
    levels: tuple[Level, ...]
    at_output: tuple[float, ...] = ()
    left_out: int = 0

    @property
    def dimensions(self) -> int:
        """Spatial axes."""
        return len(self.object_size)

    @property
    def verdict(self) -> str:
        """Say what becomes of the object, in one sentence."""
        maps = [level for level in self.levels if not level.alone]
        below = {bound: next((level for level in maps if min(level.resolved) < bound), None) for bound in (2, 1)}
        turns = [
            f"{words} at {level.title}"
            for words, level in (("less than two cells", below[2]), ("less than one cell", below[1]))
            if level is not None and not (words.endswith("two cells") and level is below[1])
        ]
        found = " and ".join(turns) if turns else "two cells or more at every level"
        if turns and self.at_output and min(self.at_output) >= 2:
            found += f", but {by([cells(each) for each in self.at_output])} at the output feature map"
        return f"An object of {Words(self.dimensions).cells(self.object_size)} covers {found}"

    @property
    def is_fine(self) -> bool:
        """Whether the object has two cells or more wherever that matters: at the output feature map, or everywhere."""
        if self.at_output:
            return min(self.at_output) >= 2
        return all(min(level.resolved) >= 2 for level in self.levels if not level.alone)

    def is_tiny(self, level: Level) -> bool:
        """Whether a map drawn to scale is so small that it has to be pointed out."""
        return level.plane[1] < LEAST_MAP * max(each.plane[1] for each in self.levels)

    @property
    def loupe(self) -> Box:
        """The part of the input around the object that is shown enlarged; the whole where that is hardly more."""
        size = max(self.object.width, self.object.height if self.dimensions > 1 else 0)
        coarsest = max(max(level.stride) for level in self.levels if not level.alone or level is self.levels[0])
        side = max(5 * size, min(2 * coarsest, 8 * size))
        plane = self.plane
        if side > plane.width / 2:
            return plane
        left, right = _around(self.object.left, self.object.right, side, plane.right)
        if self.dimensions == 1:
            return Box(left, plane.top, right, plane.bottom)
        top, bottom = _around(self.object.top, self.object.bottom, side, plane.bottom)
        return Box(left, top, right, bottom)


def _around(begin: float, end: float, side: float, size: float) -> tuple[float, float]:
    """Return a stretch of that length around the middle of another, as far as there is room."""
    side = min(side, size)
    first = min(max((begin + end - side) / 2, 0), size - side)
    return first, first + side


LEAST_MAP = 0.05
"""The share of the widest map's width below which a map would be overlooked."""
MOST_CELLS = 2**22
"""On an axis."""
MOST_LEVELS = 24
"""A picture of more levels would show nothing."""


def pyramid(network: Network, objects: Objects) -> Pyramid:
    """Find the levels of a network.

    Stages belong to one level as long as size and effective stride stay the same; branches that leave a level for the
    same next resolution come to one level, and where levels of one resolution are merged, the later one goes on. What
    is pooled to one cell within the network, as in squeeze-and-excitation, is no level; the last one is.

    Parameters
    ----------
    network : Network
    objects : Objects
        What becomes of the object, as `follow_object` finds it.

    Raises
    ------
    ValueError
        If the network has no spatial axes, or so long ones that nobody could draw them.

    Examples
    --------
    >>> from pooling.doctor import read
    >>> from pooling.doctor.analysis.object_footprint import follow_object
    >>> network = read("conv3 pool2 conv3 pool2 conv3", (1, 3, 32, 32))
    >>> for level in pyramid(network, follow_object(network, (8, 8))).levels:
    ...     print(level.size, level.footprint, level.field_size)
    (32, 32) (8.0, 8.0) (3, 3)
    (16, 16) (4.0, 4.0) (8, 8)
    (8, 8) (2.0, 2.0) (18, 18)
    """
    sizes = network.spatial_sizes
    if not sizes:
        raise value_error("doctor", f"{network.title} has no spatial axes that could be drawn")
    shown = [*enumerate(zip(sizes, objects.size, strict=True))][-2:]
    spans = [(_around(0, size, min(length, size), size), size) for _, (size, length) in shown]
    (left, right), width = spans[-1]
    left, right = int(left), int(left) + right - left
    if len(sizes) == 1:
        height = width / STRIP
        top, bottom = 0.3 * height, 0.7 * height
    else:
        (top, bottom), height = spans[0]
        top, bottom = int(top), int(top) + bottom - top
    plane, box = Box(0, 0, width, height), Box(left, top, right, bottom)

    largest = max(0, *sizes, *(size for stage in network.stages for size in stage.output_size))
    if largest > MOST_CELLS:
        raise value_error(
            "doctor",
            f"{network.title} has maps with {largest} cells on an axis, which is too many to be drawn",
            f"use an input with which there are at most {MOST_CELLS}",
        )
    groups = _groups(network, len(sizes))
    levels = [_level(network, objects, group, plane, box) for group in groups[:MOST_LEVELS]]
    placed = _placed(levels, plane, box, len(sizes))
    if placed != box:
        box = placed
        levels = [_level(network, objects, group, plane, box) for group in groups[:MOST_LEVELS]]
    heads = () if objects.at_heads is None else tuple(map(float, objects.at_heads.resolved))
    return Pyramid(plane, box, objects.size, tuple(levels), heads, len(groups) - len(levels))


def _placed(levels: Sequence[Level], plane: Box, box: Box, dimensions: int) -> Box:
    """Move the object so that on coarse levels it lies in one cell and not on a border, the least that does that."""
    left = _settled([level.columns for level in levels], box.left, box.width, plane.right)
    top = box.top
    if dimensions > 1:
        top = _settled([level.rows for level in levels], box.top, box.height, plane.bottom)
    return Box(left, top, left + box.width, top + box.height)


def _settled(borders: Sequence[NDArray[np.float64]], begin: float, length: float, size: float) -> float:
    coarse = [each for each in borders if len(each) > 2 and each[1] - each[0] >= length]

    def held(first: float) -> float:
        """Return how much of the object lies in the cell of its middle, on all of these levels together."""
        total = 0.0
        for each in coarse:
            cell = int(np.clip(np.searchsorted(each, first + length / 2) - 1, 0, len(each) - 2))
            total += max(0.0, min(each[cell + 1], first + length) - max(each[cell], first))
        return total

    reach = min(int(max((each[1] - each[0] for each in coarse), default=0)), MOST_MOVED)
    places = [begin + shift for shift in range(-reach, reach + 1) if 0 <= begin + shift <= size - length]
    return min(places, key=lambda place: (-held(place), abs(place - begin)), default=begin)


MOST_MOVED = 512
"""Pixels that the object is moved at most."""


def _groups(network: Network, dimensions: int) -> list[list[Stage | None]]:
    """Sort the stages into levels; None stands for the input."""
    start: tuple[tuple[int, ...], tuple[Fraction, ...]] = (network.spatial_sizes, (Fraction(1),) * dimensions)
    keys = [start]
    groups: list[list[Stage | None]] = [[None]]
    level_of = {network.input_name: 0}
    ways: dict[tuple[int, object], int] = {}
    for stage in network.stages:
        seen = stage.receptive_field
        if seen is None or len(stage.output_size) != dimensions or len(seen.stride) != dimensions:
            continue
        key = (stage.output_size, seen.stride)
        before = [level_of[name] for name in stage.inputs if name in level_of]
        if not before:
            continue
        same = [level for level in before if keys[level] == key]
        if same:
            level = max(same)
        else:
            level = ways.setdefault((max(before), key), len(groups))
            if level == len(groups):
                keys.append(key)
                groups.append([])
        groups[level].append(stage)
        level_of[stage.name] = level
    last = len(groups) - 1
    return [group for i, group in enumerate(groups) if i in (0, last) or set(keys[i][0]) != {1}]


def level_of_stages(network: Network, objects: Objects, stages: Sequence[Stage], drawn: Pyramid) -> Level:
    """Return the level that some stages make, with the object where a pyramid has it."""
    return _level(network, objects, list(stages), drawn.plane, drawn.object)


def _level(network: Network, objects: Objects, group: list[Stage | None], plane: Box, box: Box) -> Level:
    sizes = network.spatial_sizes
    stages = [stage for stage in group if stage is not None]
    last, seen, size = None, _pixels(len(sizes)), sizes
    # Of what is no map any more, such as the boxes of a detector, nothing is known of the object.
    followed = [stage for stage in stages if stage.name in objects.footprints]
    for stage in followed or stages:
        found = stage.receptive_field
        if found is not None and math.prod(found.size) >= math.prod(seen.size):
            last, seen, size = stage.name, found, stage.output_size
    # Of a network with one axis, rows are as good as absent.
    borders = [_borders(*each) for each in zip(sizes, size, seen.size, seen.stride, seen.offset, strict=True)][-2:]
    columns = borders[-1]
    rows = borders[0] if len(sizes) > 1 else np.array([plane.top, plane.bottom])
    at = [_nearest(columns, box.left + box.width / 2), _nearest(rows, box.top + box.height / 2)]
    cell = Box(columns[at[0]], rows[at[1]], columns[at[0] + 1], rows[at[1] + 1])
    centre = (cell.left + cell.width / 2, cell.top + cell.height / 2)
    reach = seen.size[-1] / 2
    around = (centre[0] - reach, centre[0] + reach)
    reach = seen.size[-2] / 2 if len(sizes) > 1 else plane.height * 0.42
    field = Box(around[0], centre[1] - reach, around[1], centre[1] + reach)
    footprint = None if last is None else objects.footprints.get(last)
    covered = tuple(pixels / float(step) for pixels, step in zip(objects.size, seen.stride, strict=True))
    dropped = [part for stage in stages for part in _dropped(network, stage, plane)]
    return Level(
        stages=(network.input_name, *(stage.name for stage in stages))
        if None in group
        else tuple(stage.name for stage in stages),
        size=size,
        stride=tuple(map(float, seen.stride)),
        footprint=covered if footprint is None else tuple(map(float, footprint.cells)),
        resolved=covered if footprint is None else tuple(map(float, footprint.resolved)),
        field_size=seen.size,
        columns=columns,
        rows=rows,
        cell=cell,
        field=field,
        dropped=tuple(box for box, _ in dropped),
        dropped_text="; ".join(dict.fromkeys(text for _, text in dropped)),
    )


def _pixels(dimensions: int) -> ReceptiveField:
    """Return what the input sees of itself."""
    return ReceptiveField((1,) * dimensions, (Fraction(1),) * dimensions, (Fraction(0),) * dimensions)


def _borders(pixels: int, cells: int, seen: int, step: Fraction, offset: Fraction) -> NDArray[np.float64]:
    """Return the borders of the cells of one axis: half a step before and behind their centres."""
    middle = float(offset) + 0.5
    # A single cell has no neighbour, and its share of the input is what it sees.
    width = float(step) if cells > 1 else min(seen, pixels)
    if cells == 1 and width == pixels:
        return np.array([0.0, pixels])
    return middle - width / 2 + width * np.arange(cells + 1, dtype=np.float64)


def _nearest(borders: NDArray[np.float64], place: float) -> int:
    """Return the cell whose centre is nearest; of two, the first."""
    return int(np.argmin(np.abs((borders[1:] + borders[:-1]) / 2 - place)))


def _dropped(network: Network, stage: Stage, plane: Box) -> Iterator[tuple[Box, str]]:
    """Find the part of the input behind the last window of a stage."""
    dimensions = len(network.spatial_sizes)
    # What lies between two windows of a larger stride is left out everywhere, and not by floor division.
    cut = tuple(axis.cut for axis in stage.axes) if any(stage.dropped) else ()
    if not any(cut) or len(cut) != dimensions:
        return
    before = _pixels(dimensions)
    if stage.inputs[0] != network.input_name:
        before = network.stage(stage.inputs[0]).receptive_field or before
    words = {1: ("cell",), 2: ("row", "column"), 3: ("slice", "row", "column")}[dimensions]
    texts = [f"{cells} {word}{'s' * (cells > 1)}" for cells, word in zip(cut, words, strict=True) if cells]
    text = f"drops {', '.join(texts)}"
    shown = [*range(dimensions)][-2:]
    for number in shown:
        axis, step, offset = stage.axes[number], float(before.stride[number]), float(before.offset[number])
        if not axis.cut:
            continue
        begin = offset + 0.5 + (axis.input_size - axis.cut - 0.5) * step
        end = begin + axis.cut * step
        is_column = number == shown[-1]
        part = Box(begin, plane.top, end, plane.bottom) if is_column else Box(plane.left, begin, plane.right, end)
        inside = part.within(plane)
        if inside is not None:
            yield inside, text


def averaged(level: Level, plane: Box, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reduce a picture of the input to the cells of a level: the mean over each, as much as lies in the picture.

    Parameters
    ----------
    level : Level
    plane : Box
        The input.
    picture : uint8 array of shape (H, W, 3)
        Shows the whole plane, with any number of pixels.

    Returns
    -------
    uint8 array of shape (rows, columns, 3)
    """
    height, width = picture.shape[:2]
    down = shares(level.rows, np.linspace(plane.top, plane.bottom, height + 1))
    right = shares(level.columns, np.linspace(plane.left, plane.right, width + 1))
    # Rows first, then columns: of large pictures, this is the smaller product.
    rows = np.tensordot(down, picture.astype(np.float32), axes=(1, 0))
    result = np.moveaxis(np.tensordot(rows, right, axes=(1, 1)), 2, 1)
    return np.rint(result).astype(np.uint8)


def _overlaps(cells: NDArray[np.float64], pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how much of each pixel lies in each cell, both given by their borders."""
    begin = np.maximum(cells[:-1, None], pixels[None, :-1])
    end = np.minimum(cells[1:, None], pixels[None, 1:])
    overlaps: NDArray[np.float64] = np.maximum(end - begin, 0)
    return overlaps


def shares(cells: NDArray[np.float64], pixels: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the weights with which pixels are averaged over cells; a cell outside takes the nearest pixel."""
    overlaps = _overlaps(cells, pixels)
    outside = overlaps.sum(axis=1) == 0
    for cell in np.flatnonzero(outside):
        overlaps[cell, 0 if cells[cell] < pixels[0] else -1] = 1
    shares: NDArray[np.float32] = (overlaps / overlaps.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
