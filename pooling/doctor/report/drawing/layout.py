"""The boxes of a network on paper, for two and three spatial axes: pure geometry.

From top to bottom: what happens in one sentence, what one cell sees, flags, the boxes with arcs above them, and under
each box what it is. A network whose maps shrink and grow again has a row for each resolution, so that a U-Net is a U.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pooling.reporting.formats import by
from pooling.signs import counted

from ..pyramid import Box
from .display import (
    Curve,
    Drawing,
    Image,
    Item,
    Palette,
    Placed,
    Point,
    Polygon,
    Text,
    arrow,
    fitting,
    hatched,
    in_two,
    measured,
    rectangle,
    row_of,
    wrapped,
)
from .maps import MOST_ROW, DrawnMap, DrawnMaps
from .scene import Photograph
from .sentences import described, field_sentence, headline, object_text, subtitle

__all__ = ["far_sides", "foot", "header", "laid_out", "torn"]

MARGIN = 22.0
LETTERS = 12.0
"""Font size of what stands under the boxes."""
PITCH = 17.0
"""From line to line there."""
LEAST_COLUMN = 71.0
"""A box and what stands below it need so much room to the side."""
GAP = 14.0
LARGEST_SIDE, LEAST_SIDE = 196.0, 9.0
"""Of the largest map, and of one cell."""
ANGLE = math.radians(38)
"""Depth goes to the right and up."""
DEPTHS = 0.27
"""Depth of a map of 4096 channels, in sides of the largest map."""
VALLEY = 690.0
"""Sides of the largest map, one for each resolution, of a network with a row for each."""
UNKNOWN_SIDE = 64.0
FLAG = 36.0
"""Height of a flag."""
ENLARGED = 68.0
"""Side of the part around the object that is shown enlarged, at most, and how many of the object's sides it has."""
AROUND = 3.0
ROW_STEP = 9.0
"""From one of a row of equal boxes to the next, at least, beside its depth."""
FINEST_CELL = 5.0
"""Pixels of a cell from which on the grid is drawn."""


@dataclass
class _Column:
    """A box with its size, before it has a place."""

    each: DrawnMap
    wide: float = 0.0
    tall: float = 0.0
    depth: Point = (0.0, 0.0)
    copies: int = 1
    step: float = 0.0
    room: float = 0.0
    x: float = 0.0
    y: float = 0.0
    labels: list[tuple[str, str, bool]] = field(default_factory=list)

    @property
    def body(self) -> float:
        """From its left edge to its right one, depth included."""
        return self.wide + self.depth[0] + (self.copies - 1) * self.step

    @property
    def face(self) -> Box:
        """Its face; of several the first."""
        return Box(self.x, self.y - self.tall / 2, self.x + self.wide, self.y + self.tall / 2)

    @property
    def right(self) -> Point:
        """The middle of its right edge."""
        return self.x + self.body, self.y - self.depth[1] / 2

    @property
    def top(self) -> Point:
        """The middle of its top."""
        return self.x + self.body / 2, self.y - self.tall / 2 - self.depth[1]


def laid_out(maps: DrawnMaps, photograph: Photograph, width: float) -> Drawing:
    """Lay out a network with two or three spatial axes.

    Parameters
    ----------
    maps : DrawnMaps
    photograph : Photograph
    width : float
        CSS pixels across.

    Returns
    -------
    Drawing
    """
    room = width - 2 * MARGIN
    whole, maps = maps, maps.at_most(int(room / LEAST_COLUMN))
    columns = _columns(maps, room)
    items: list[Item] = []
    top = header(items, whole, width)
    valley = _is_valley(maps)
    bottom = _placed(columns, top, valley)
    above = _highest(items=[*_arcs(maps, columns, valley), *_flags(columns)], columns=columns)
    for column in columns:
        column.y += top + 8 - above
    bottom += top + 8 - above
    label_top = bottom + 14
    behind: list[Item] = [*_cone(maps, columns), *_leaders(columns, label_top), *_arcs(maps, columns, valley)]
    items += behind
    for number, column in enumerate(columns):
        items += _box(maps, column, photograph, number)
    items += _flags(columns)
    names = [in_two(column.each.label, column.room - 6, LETTERS, bold=True) for column in columns]
    label_top += PITCH * any(first for first, _ in names)
    ends = [_labels(items, column, name, label_top) for column, name in zip(columns, names, strict=True)]
    height = foot(items, maps, width, _enlarged(items, maps, columns, photograph, max(ends) + 10))
    boxes = tuple(
        Placed(column.each.label, column.each.kind, column.face, column.depth, column.copies) for column in columns
    )
    return Drawing(width, height, tuple(items), headline(whole)[0], described(whole), boxes)


# ---------------------------------------------------------------------------------------------------------------------
# Above and below


def header(items: list[Item], maps: DrawnMaps, width: float) -> float:
    """Write what happens, and say where the header ends."""
    room, size = width - 2 * MARGIN, 30.0 if width >= 1000 else 25.0
    sentence, fine = headline(maps)
    y = 14.0
    for line in wrapped(f"{sentence}.", room, size, bold=True):
        y += 1.22 * size
        colour = Palette.FINE if fine else Palette.OBJECT
        items.append(Text((MARGIN, y), line, size, colour, bold=True, role="headline"))
    y += 6
    seen = field_sentence(maps)
    for words, colour in ((seen, Palette.FIELD), (subtitle(maps), Palette.MUTED)):
        for line in wrapped(f"{words}.", room, 15) if words else []:
            y += 20
            items.append(Text((MARGIN, y), line, 15, colour, role="subtitle"))
    return y + 16


def foot(items: list[Item], maps: DrawnMaps, width: float, top: float) -> float:
    """Explain the signs, and say where the drawing ends."""
    one = maps.dimensions == 1
    signs = [("object", "the object"), ("cell", "what one cell sees of the input (receptive field)")]
    # Of a signal, skips within a strip are not drawn.
    signs += [("skip", "skips")] * bool(maps.skips or (not one and any(each.joins for each in maps.maps)))
    signs += [("flag", "outputs")] * any(each.flag for each in maps.maps)
    signs += [("unknown", "not known")] * any(each.kind == "unknown" for each in maps.maps)
    told = "strips lie on one time axis" if one else "side: size of the map, logarithmic"
    signs += [("", f"{told}; depth: channels (ch.), logarithmic")]
    if maps.dimensions == 3:
        signs.append(("", "lines on a side: planes, logarithmic"))
    items.append(Curve(((MARGIN, top + 4), (width - MARGIN, top + 4)), "#d6dce2", 1.0))
    x, y, size = MARGIN, top + 24, LETTERS
    for kind, words in signs:
        sign = 30.0 if kind else 0.0
        long = sign + measured(words, size)
        if x > MARGIN and x + long > width - MARGIN:
            x, y = MARGIN, y + 20
        items += _sign(kind, Box(x, y - 10, x + 22, y + 1))
        items.append(Text((x + sign, y), fitting(words, width - MARGIN - x - sign, size), size, Palette.MUTED))
        x += long + 22
    return y + 18


def _sign(kind: str, box: Box) -> list[Item]:
    match kind:
        case "object":
            return [Polygon(rectangle(Box(box.left + 5, box.top, box.right - 5, box.bottom)), "", Palette.OBJECT, 2.2)]
        case "cell":
            return [
                Polygon(rectangle(box), Palette.CONE, "", opacity=0.22),
                Polygon(rectangle(box), "", Palette.FIELD, 1.6, (5, 3)),
            ]
        case "skip":
            points = ((box.left, box.bottom), (box.left + 6, box.top - 4), (box.right - 6, box.top - 4))
            return [Curve((*points, (box.right, box.bottom)), Palette.SKIP, 1.6, bezier=True)]
        case "flag":
            return _flag((box.left + 6, box.bottom), (box.left + 6, box.top - 1), 12, 7)
        case "unknown":
            return torn(box)
    return []


# ---------------------------------------------------------------------------------------------------------------------
# Sizes and places


def _columns(maps: DrawnMaps, room: float) -> list[_Column]:
    """Give each box its size: the largest with which all have room."""
    largest = math.log2(max(2, *(max(each.size) for each in maps.maps if each.size)))
    side = min(LARGEST_SIDE, room / 6.3)
    if _is_valley(maps):
        side = min(side, VALLEY / len({each.size for each in maps.maps if each.size}))
    while True:
        columns = [_sized(each, side, largest, maps.dimensions) for each in maps.maps]
        for column in columns:
            name = measured(column.each.label, LETTERS, bold=True) + 12
            column.room = max(column.body + GAP, LEAST_COLUMN, min(name, room / len(columns)))
        if sum(column.room for column in columns) <= room or side < 24:
            break
        side *= 0.96
    taken = sum(column.room for column in columns)
    for column in columns:
        if column.copies > 1 and room > taken:
            # So that the boxes of a row can be seen one by one.
            step = min(column.wide + column.depth[0] + 8, column.step + 0.7 * (room - taken) / (column.copies - 1))
            column.room += (step - column.step) * (column.copies - 1)
            column.step = step
    taken = sum(column.room for column in columns)
    spare = max(0.0, room - taken) / len(columns)
    shrink = min(1.0, room / taken)
    x = MARGIN
    for column in columns:
        column.room = (column.room + spare) * (shrink if spare == 0 else 1.0)
        # Boxes stand so that box and depth are in the middle of their column.
        column.x = x + (column.room - column.body) / 2
        x += column.room
    rooms = [column.room - 6 for column in columns]
    apart = any(measured(column.each.shape_text, LETTERS) > room for column, room in zip(columns, rooms, strict=True))
    for column in columns:
        column.labels = _lines(column.each, apart)
    return columns


def _sized(each: DrawnMap, side: float, largest: float, dimensions: int) -> _Column:
    if each.kind == "unknown":
        return _Column(each, min(UNKNOWN_SIDE, side), min(UNKNOWN_SIDE, side))

    def length(cells: int) -> float:
        return LEAST_SIDE + (side - LEAST_SIDE) * math.log2(max(1, cells)) / largest

    size = each.size or (1, 1)
    rows, columns = (size[-2], size[-1]) if len(size) > 1 else (size[0], size[0])
    deep = side * DEPTHS * (0.12 + 0.88 * math.log2(max(1, each.channels)) / 12)
    if each.kind == "vector":
        deep *= 1.6  # a rod, which is nothing but channels
    depth = (deep * math.cos(ANGLE), deep * math.sin(ANGLE))
    copies = min(each.blocks, MOST_ROW) if each.row else 1
    return _Column(each, length(columns), length(rows), depth, copies, depth[0] + ROW_STEP if copies > 1 else 0.0)


def _is_valley(maps: DrawnMaps) -> bool:
    """Whether maps become larger again, so that each resolution has a height of its own."""
    sizes = [max(each.size) for each in maps.maps if each.kind == "map" and each.size]
    least = sizes[0]
    for size in sizes[1:]:
        if size >= 1.5 * least and least < sizes[0]:
            return True
        least = min(least, size)
    return False


def _placed(columns: Sequence[_Column], first: float, valley: bool) -> float:
    """Give each box its height on paper; return where the lowest ends."""
    if not valley:
        above = max(column.tall / 2 + column.depth[1] for column in columns)
        for column in columns:
            column.y = first + above
        return max(column.face.bottom for column in columns)
    sizes = sorted({max(column.each.size) for column in columns if column.each.size}, reverse=True)
    heights: dict[int, float] = {}
    y, before = first, 0
    for size in sizes:
        those = [column for column in columns if column.each.size and max(column.each.size) == size]
        half = max(column.tall / 2 + column.depth[1] for column in those)
        if not before:
            y += half
        elif size < 0.84 * before:
            y += half + 12  # a skip one row higher passes above
        heights[size] = y
        before = size
    for number, column in enumerate(columns):
        if column.each.size:
            column.y = heights[max(column.each.size)]
        else:
            column.y = columns[number - 1].y
    return max(column.face.bottom for column in columns)


def _highest(items: Sequence[Item], columns: Sequence[_Column]) -> float:
    """Return how far up boxes, with all that stands on them, reach."""
    heights = [y for item in items if isinstance(item, (Polygon, Curve)) for _, y in item.points]
    return min(*heights, *(column.top[1] - (20 if column.each.joins else 0) for column in columns), math.inf)


def _rise(distance: int) -> float:
    """Return how far an arc goes up."""
    return 20.0 + 9.0 * min(distance, 8)


# ---------------------------------------------------------------------------------------------------------------------
# What is drawn of a box


def _box(maps: DrawnMaps, column: _Column, photograph: Photograph, number: int) -> list[Item]:
    each, role = column.each, f"box {number}"
    if each.kind == "unknown":
        return [
            *torn(column.face, role),
            Text(
                ((column.face.left + column.face.right) / 2, column.y + 5),
                "?",
                20,
                Palette.MUTED,
                True,
                "middle",
                role=role,
            ),
        ]
    items: list[Item] = []
    shown = photograph.face(each, maps, max(2, math.ceil(1.5 * max(column.wide, column.tall))))
    for copy in range(column.copies - 1, -1, -1):
        # The first stands in front.
        shift = copy * column.step
        face = Box(column.face.left + shift, column.face.top, column.face.right + shift, column.face.bottom)
        items += _slab(face, column.depth, each, role)
        if shown is not None:
            items.append(Image(face, shown, f"face {number}"))
            items.append(Polygon(rectangle(face), "", Palette.INK, 1.0))
    if each.joins:
        items += _loop(column)
    if shown is None:
        if each.kind == "map":  # a size, but no place on the input
            at = (column.x + column.wide / 2, column.y + 5)
            items.append(Text(at, "?", 16, Palette.MUTED, True, "middle", role=role))
        return items
    face = column.face
    items += _grid(column)
    items += _marks(maps, column, number)
    items.append(Polygon(rectangle(face), "", Palette.INK, 1.0, role=f"edge {number}"))
    return items


def _slab(face: Box, depth: Point, each: DrawnMap, role: str) -> list[Item]:
    """Draw a box: its face, its top and its right side; of a volume, its planes."""
    dx, dy = depth
    items: list[Item] = [*far_sides(face, depth, 0.8, role)]
    items.append(Polygon(rectangle(face), Palette.FACE, Palette.INK, 1.0, role=role))
    planes = round(math.log2(each.size[0])) + 1 if len(each.size) == 3 else 0
    for plane in range(1, planes):
        share = plane / planes
        x, y = dx * share, dy * share
        across = ((face.left + x, face.top - y), (face.right + x, face.top - y), (face.right + x, face.bottom - y))
        items.append(Curve(across, Palette.INK, 0.7, opacity=0.6, role="plane"))
    return items


def far_sides(face: Box, depth: Point, width: float, role: str) -> Iterator[Item]:
    """Yield the top and the right side of a box with that face."""
    dx, dy = depth
    far = (face.right + dx, face.top - dy)
    top = ((face.left, face.top), (face.left + dx, face.top - dy), far, (face.right, face.top))
    side = ((face.right, face.top), far, (face.right + dx, face.bottom - dy), (face.right, face.bottom))
    yield Polygon(top, Palette.TOP, Palette.INK, width, role=role)
    yield Polygon(side, Palette.SIDE, Palette.INK, width, role=role)


def torn(box: Box, role: str = "") -> list[Item]:
    """Draw a hatched sheet whose right edge is torn off: nobody knows how large it is."""
    teeth = 6
    edge: list[Point] = [
        (box.right - (box.width * 0.14 if tooth % 2 else 0.0), box.top + box.height * tooth / teeth)
        for tooth in range(teeth + 1)
    ]
    items: list[Item] = [
        Polygon(((box.left, box.top), *edge, (box.left, box.bottom)), "#f5f7f9", role=f"{role} unknown".strip())
    ]
    inner = Box(box.left, box.top, box.right - 0.14 * box.width, box.bottom)
    items += [Curve(line, Palette.HATCH, 0.8) for line in hatched(inner)]
    outline = ((box.right - 0.0, box.top), (box.left, box.top), (box.left, box.bottom), edge[-1])
    items.append(Curve(outline, Palette.MUTED, 1.2, (4, 3)))
    items.append(Curve(tuple(edge), Palette.MUTED, 1.2))
    return items


def _scales(column: _Column) -> tuple[Box, float, float]:
    """Return the grid of a box, and pixels of paper for one of the input."""
    assert column.each.level is not None
    grid = column.each.level.grid
    return grid, column.wide / grid.width, column.tall / grid.height


def _on_face(column: _Column, part: Box) -> Box | None:
    """Return where a part of the input lies on the face of a box, as far as it lies there."""
    grid, across, down = _scales(column)
    face = column.face
    moved = Box(
        face.left + (part.left - grid.left) * across,
        face.top + (part.top - grid.top) * down,
        face.left + (part.right - grid.left) * across,
        face.top + (part.bottom - grid.top) * down,
    )
    return moved.within(face)


def _grid(column: _Column) -> list[Item]:
    """Draw the borders of cells where they can be seen."""
    level, face = column.each.level, column.face
    assert level is not None
    rows, columns = level.plane
    items: list[Item] = []
    if column.wide / columns >= FINEST_CELL:
        places = [face.left + column.wide * number / columns for number in range(1, columns)]
        items += [
            Curve(((x, face.top), (x, face.bottom)), Palette.PAPER, 0.6, opacity=0.55, role="grid") for x in places
        ]
    if column.tall / rows >= FINEST_CELL:
        places = [face.top + column.tall * number / rows for number in range(1, rows)]
        items += [
            Curve(((face.left, y), (face.right, y)), Palette.PAPER, 0.6, opacity=0.55, role="grid") for y in places
        ]
    return items


def _marks(maps: DrawnMaps, column: _Column, number: int) -> list[Item]:
    """Outline the object, and on the input what one cell sees."""
    items: list[Item] = []
    seen = maps.maps[maps.last].level if maps.last > 0 else None
    if number == 0 and seen is not None:
        part = _on_face(column, seen.field)
        face = column.face
        if part is not None:
            for veil in seen.veils(maps.pyramid.plane):
                place = _on_face(column, veil)
                if place is not None:
                    items.append(Polygon(rectangle(place), Palette.PAPER, opacity=0.5, role="veil"))
            inside = part.within(Box(face.left + 1.5, face.top + 1.5, face.right - 1.5, face.bottom - 1.5)) or part
            items.append(Polygon(rectangle(inside), "", Palette.PAPER, 3.6, opacity=0.8))
            items.append(Polygon(rectangle(inside), "", Palette.FIELD, 2.0, (6, 4), role="field"))
    if column.each.kind == "map" and set(column.each.size) != {1}:
        place = _on_face(column, maps.pyramid.object)
        if place is not None:
            grown = _at_least(place, 5.0)
            items.append(Polygon(rectangle(grown), "", Palette.PAPER, 3.6, opacity=0.85))
            items.append(Polygon(rectangle(grown), "", Palette.BRIGHT_OBJECT, 2.0, role=f"object {number}"))
    return items


def _at_least(box: Box, length: float) -> Box:
    """Return a box that is not so small that it cannot be seen."""
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    wide, tall = max(box.width, length) / 2, max(box.height, length) / 2
    return Box(x - wide, y - tall, x + wide, y + tall)


# ---------------------------------------------------------------------------------------------------------------------
# Between the boxes


def _cone(maps: DrawnMaps, columns: Sequence[_Column]) -> list[Item]:
    """Let the receptive field of one cell of the last map fall on the input."""
    last, first = columns[maps.last] if maps.last > 0 else None, columns[0]
    if last is None or last.each.level is None or first.each.level is None:
        return []
    seen = _on_face(first, last.each.level.field)
    cell = _on_face(last, last.each.level.cell)
    if seen is None or cell is None:
        return []
    x = first.x + first.wide
    shape = ((x, seen.top), (cell.left, cell.top), (cell.left, cell.bottom), (x, seen.bottom))
    items: list[Item] = [Polygon(shape, Palette.CONE, opacity=0.20, role="shadow")]
    items += [Curve(edge, Palette.FIELD, 1.0, (5, 4), 0.55) for edge in (shape[:2], shape[2:])]
    return items


def _arcs(maps: DrawnMaps, columns: Sequence[_Column], valley: bool) -> list[Item]:
    """Draw what passes between boxes: arrows to the next, arcs over those between."""
    items: list[Item] = []
    for begin, end in sorted(maps.links):
        one, other = columns[begin], columns[end]
        start, stop = one.right, (other.x, other.y)
        if stop[0] - start[0] > 3:
            items.append(Curve((start, stop), Palette.MUTED, 1.4, role="link"))
            items.append(Polygon(arrow(stop, (stop[0] - start[0], stop[1] - start[1])), Palette.MUTED))
    for skip in maps.skips:
        one, other = columns[skip.begin], columns[skip.end]
        level = abs(one.y - other.y) < 2
        between = columns[skip.begin + 1 : skip.end]
        free = all(
            column.face.top - column.depth[1] > one.y + 2 or column.face.bottom < one.y - 2 for column in between
        )
        if valley and level and free:
            start, stop = one.right, (other.x, other.y)
            start = (start[0], one.y) if start[1] > one.y else start
            line = (start, (start[0] + 8, stop[1]), (stop[0] - 8, stop[1]), stop)
            items.append(Curve(line, Palette.SKIP, 1.6, role="arc"))
            items.append(Polygon(arrow(stop, (1, 0), 8), Palette.SKIP))
        elif valley and not level:
            start, stop = one.right, (other.x, other.y)
            bend = (stop[0] - start[0]) / 2
            line = (start, (start[0] + bend, start[1]), (stop[0] - bend, stop[1]), stop)
            items.append(Curve(line, Palette.SKIP, 1.6, bezier=True, role="arc"))
            items.append(Polygon(arrow(stop, (1, 0), 8), Palette.SKIP))
        else:
            items += _hump(one, other, [column.top[1] for column in between], skip.end - skip.begin)
    return items


def _hump(one: _Column, other: _Column, tops: Sequence[float], distance: int) -> list[Item]:
    """Draw an arc from the top of a box over those between to the top of another."""
    start, stop = one.top, other.top
    high = min(start[1], stop[1], *tops) - _rise(distance) if tops else min(start[1], stop[1]) - _rise(distance)
    # A cubic curve comes to three quarters of the way to its handles.
    handle = high - max(0.0, (min(start[1], stop[1]) - high) / 3)
    lean = (stop[0] - start[0]) * 0.12
    line = (start, (start[0] + lean, handle), (stop[0] - lean, handle), stop)
    head = arrow(stop, (stop[0] - line[2][0], stop[1] - line[2][1]), 8)
    return [Curve(line, Palette.SKIP, 1.6, bezier=True, role="arc"), Polygon(head, Palette.SKIP)]


def _loop(column: _Column) -> list[Item]:
    """Draw a small arc over a box that has skips of its own."""
    dx, dy = column.depth
    left = (column.x + dx * 0.5 + 0.2 * column.wide, column.face.top - dy * 0.5)
    right = (column.x + dx * 0.5 + 0.8 * column.wide, column.face.top - dy * 0.5)
    high = column.face.top - dy - 20
    line = (left, (left[0] - 2, high), (right[0] + 2, high), right)
    return [
        Curve(line, Palette.SKIP, 1.5, bezier=True, role="inner arc"),
        Polygon(arrow(right, (-0.3, 1), 6), Palette.SKIP),
    ]


def _leaders(columns: Sequence[_Column], label_top: float) -> list[Item]:
    """Lead from each box to what stands below it."""
    return [
        Curve(
            ((_middle(column), column.face.bottom + 4), (_middle(column), label_top + 2)),
            Palette.LINE,
            0.7,
            (1.5, 3),
            role="leader",
        )
        for column in columns
        if label_top - column.face.bottom > 30
    ]


def _flags(columns: Sequence[_Column]) -> list[Item]:
    """Put a flag on each box that is an output."""
    items: list[Item] = []
    right = -math.inf
    for column in columns:
        if not column.each.flag:
            continue
        lines = [
            fitting(words, column.room - 8, LETTERS, bold=not number) for number, words in enumerate(column.each.flag)
        ]
        long = max(measured(words, LETTERS, bold=not number) for number, words in enumerate(lines))
        top = column.top[1] - FLAG - (24 if column.each.joins else 10)
        x = column.x + column.depth[0] / 2 + min(column.wide, 12) / 2
        x = max(right + 8, min(x, _middle(column) + column.room / 2 - 10 - long))
        items += _flag((x, column.face.top - column.depth[1] / 2), (x, top), long + 8, FLAG)
        for number, words in enumerate(lines):
            items.append(
                Text(
                    (x + 4, top + 14 + 16 * number),
                    words,
                    LETTERS,
                    Palette.PAPER,
                    bold=not number,
                    whole=column.each.flag[number],
                    role="flag text",
                )
            )
        right = x + long + 8
    return items


def _flag(bottom: Point, top: Point, long: float, tall: float) -> list[Item]:
    cloth = (top, (top[0] + long, top[1]), (top[0] + long, top[1] + tall), (top[0], top[1] + tall))
    return [
        Curve((bottom, top), Palette.FLAG, 1.6, role="pole"),
        Polygon(cloth, Palette.FLAG, role="flag"),
    ]


def _middle(column: _Column) -> float:
    """Return the middle of a column, under which its lines stand."""
    return column.x + column.body / 2


def _lines(each: DrawnMap, apart: bool) -> list[tuple[str, str, bool]]:
    """Say what a box is: lines with their colours, and whether they are bold; channels apart from sizes if need be."""
    if each.kind == "unknown":
        told = [(each.label, Palette.INK, True), ("not known", Palette.MUTED, False)]
        return [*told, (counted(len(each.stages), "stage"), Palette.MUTED, False)]
    shape = [each.shape_text]
    if apart:
        shape = [f"{each.channels} ch.", by(each.size)] if each.kind == "map" else each.shape_text.split()
    lines = [(each.label, Palette.INK, True), *((words, Palette.INK, False) for words in shape)]
    muted = (each.stride_text, each.blocks_text, _more(each))
    return lines + [(words, Palette.MUTED, False) for words in muted]


def _more(each: DrawnMap) -> str:
    tokens = f"+{counted(each.tokens, 'token')}" if each.tokens > 0 else ""
    return row_of([counted(each.joins, "skip") if each.joins else "", tokens])


def _labels(items: list[Item], column: _Column, name: tuple[str, str], top: float) -> float:
    """Write what a box is; return where that ends. The last line of its name is the first below `top`."""
    (whole, colour, bold), *rest = column.labels
    lines = [(name[1], whole, colour, bold)]
    lines += [(fitting(words, column.room - 6, LETTERS, bold=dark), words, tone, dark) for words, tone, dark in rest]
    if name[0]:
        lines.insert(0, (name[0], whole, colour, bold))
        top -= PITCH
    y = top
    for shown, words, colour, bold in lines:
        if words:
            y += PITCH
            items.append(Text((_middle(column), y), shown, LETTERS, colour, bold, "middle", whole=words, role="label"))
    return y


def _enlarged(
    items: list[Item], maps: DrawnMaps, columns: Sequence[_Column], photograph: Photograph, top: float
) -> float:
    """Show the object as each map has it, and how many cells that are; return where that ends."""
    if not any(column.each.object_cells for column in columns):
        return top
    window = _around(maps)
    words = "The object as each map has it, enlarged, and the cells that it covers:"
    items.append(Text((MARGIN, top + 16), words, LETTERS, Palette.MUTED, role="caption"))
    top += 26
    side = min(ENLARGED, *(column.room - 8 for column in columns))
    for number, column in enumerate(columns):
        shown = photograph.around(column.each, maps, window, round(1.5 * side)) if column.each.object_cells else None
        if shown is None:
            continue
        x = _middle(column)
        tile = Box(x - side / 2, top, x + side / 2, top + side)
        items.append(Image(tile, shown, f"enlarged {number}"))
        items.append(Polygon(rectangle(tile), "", Palette.MUTED, 0.8))
        scale, thing = side / window.width, maps.pyramid.object
        left, up = tile.left + (thing.left - window.left) * scale, tile.top + (thing.top - window.top) * scale
        outline = Box(left, up, left + thing.width * scale, up + thing.height * scale).within(tile)
        if outline is not None:
            items.append(Polygon(rectangle(outline), "", Palette.PAPER, 3.2, opacity=0.7))
            items.append(Polygon(rectangle(outline), "", Palette.BRIGHT_OBJECT, 1.8))
        lost = min(column.each.object_cells) < 1
        told = object_text(column.each)
        if measured(told, LETTERS + 1, bold=lost) > column.room - 4:
            told = fitting(told.partition(" ")[0], column.room - 4, LETTERS + 1, bold=lost)
        items.append(Text((x, tile.bottom + 17), told, LETTERS + 1, Palette.OBJECT, lost, "middle", role="object text"))
    return top + side + 28


def _around(maps: DrawnMaps) -> Box:
    """Return a square of the input around the object."""
    plane, thing = maps.pyramid.plane, maps.pyramid.object
    side = min(AROUND * max(thing.width, thing.height), plane.width, plane.height)
    left = min(max((thing.left + thing.right - side) / 2, plane.left), plane.right - side)
    top = min(max((thing.top + thing.bottom - side) / 2, plane.top), plane.bottom - side)
    return Box(left, top, left + side, top + side)
