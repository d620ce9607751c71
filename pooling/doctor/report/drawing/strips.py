"""Networks with one axis: a strip for each map, one below the other, all on the time axis of the input."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from pooling.signs import counted

from ..pyramid import Box
from .display import Curve, Drawing, Item, Palette, Placed, Polygon, Text, arrow, fitting, measured, rectangle, row_of
from .layout import MARGIN, far_sides, foot, header, torn
from .maps import DrawnMap, DrawnMaps
from .scene import Photograph
from .sentences import described, headline, object_text

__all__ = ["strips"]

LETTERS = 12.5
TALL, PITCH = 34.0, 62.0
"""Of a strip, and from one to the next."""
MOST_STRIPS = 18
NAMES, RIGHT = 0.19, 128.0
"""Room for names as a share of the width, and for flags and numbers at the right."""
ARCS = 46.0
FINEST = 3.0


def strips(maps: DrawnMaps, photograph: Photograph, width: float) -> Drawing:
    """Lay out a network with one spatial axis.

    Parameters
    ----------
    maps : DrawnMaps
    photograph : Photograph
        The signal.
    width : float
        CSS pixels across.
    """
    whole, maps = maps, maps.at_most(MOST_STRIPS)
    items: list[Item] = []
    top = header(items, whole, width) + 14
    left, right = MARGIN + NAMES * width, width - MARGIN - RIGHT - (ARCS if maps.skips else 0)
    plane = maps.pyramid.plane
    scale = (right - left) / plane.width
    pitch = PITCH if len(maps.maps) <= 12 else 50.0
    faces: list[Box] = []
    for number, each in enumerate(maps.maps):
        y = top + number * pitch
        begin, end = plane.left, plane.right
        if each.level is not None:
            begin, end = max(begin, each.level.grid.left), min(end, each.level.grid.right)
        faces.append(Box(left + begin * scale, y, left + end * scale, y + TALL))
    bottom = faces[-1].bottom
    thing = Box(left + maps.pyramid.object.left * scale, top - 10, left + maps.pyramid.object.right * scale, bottom + 6)
    items += _shadow(maps, faces, left, scale)
    for number, (each, face) in enumerate(zip(maps.maps, faces, strict=True)):
        items += _strip(each, face, photograph, maps, number, left, scale)
        items += _words(each, face, left - MARGIN - 12, right + 14 + (ARCS if maps.skips else 0))
        if (number, number + 1) in maps.links:
            x = left - 10
            items.append(
                Curve(((x, face.bottom + 2), (x, face.bottom + pitch - TALL - 4)), Palette.MUTED, 1.4, role="link")
            )
            items.append(Polygon(arrow((x, face.bottom + pitch - TALL - 2), (0, 1)), Palette.MUTED))
    items.append(Polygon(rectangle(thing), Palette.BRIGHT_OBJECT, opacity=0.10, role="object"))
    items.append(Polygon(rectangle(thing), "", Palette.OBJECT, 1.4, role="object"))
    for number, skip in enumerate(maps.skips):
        one, other = faces[skip.begin], faces[skip.end]
        reach = min(ARCS, 24 + 7 * (number % 4))
        start, stop = (
            (face.right + _depth(maps.maps[at])[0] + 2, face.top + TALL / 2)
            for face, at in ((one, skip.begin), (other, skip.end))
        )
        handles = ((right + 1.3 * reach, start[1]), (right + 1.3 * reach, stop[1]))
        items.append(Curve((start, *handles, stop), Palette.SKIP, 1.6, bezier=True, role="arc"))
        items.append(Polygon(arrow(stop, (-1, 0), 8), Palette.SKIP))
    ends: tuple[tuple[Literal["start", "end"], float, str], ...] = (
        ("start", left, "0"),
        ("end", right, maps.examination.words.cells((round(plane.width),))),
    )
    items += [Text((x, bottom + 20), words, 11.5, Palette.MUTED, anchor=anchor) for anchor, x, words in ends]
    height = foot(items, maps, width, bottom + 30)
    boxes = tuple(
        Placed(each.label, each.kind, face, _depth(each)) for each, face in zip(maps.maps, faces, strict=True)
    )
    return Drawing(width, height, tuple(items), headline(whole)[0], described(whole), boxes)


def _depth(each: DrawnMap) -> tuple[float, float]:
    deep = 2.0 + 1.1 * math.log2(max(1, each.channels)) if each.kind != "unknown" else 0.0
    return min(deep, 16.0), min(0.75 * deep, 12.0)


def _shadow(maps: DrawnMaps, faces: list[Box], left: float, scale: float) -> list[Item]:
    """Let the receptive field of one cell of the last map fall on the input."""
    level = maps.maps[maps.last].level if maps.last > 0 else None
    if level is None:
        return []
    plane, first, last = maps.pyramid.plane, faces[0], faces[maps.last]
    seen = level.field.within(plane)
    cell = level.cell.within(plane)
    if seen is None or cell is None:
        return []
    shape = (
        (left + seen.left * scale, first.bottom),
        (left + seen.right * scale, first.bottom),
        (left + cell.right * scale, last.top),
        (left + cell.left * scale, last.top),
    )
    under = Box(shape[0][0], first.top - 4, shape[1][0], first.bottom)
    return [
        Polygon(shape, Palette.CONE, opacity=0.20, role="shadow"),
        Curve((shape[0], shape[3]), Palette.FIELD, 1.0, (5, 4), 0.6),
        Curve((shape[1], shape[2]), Palette.FIELD, 1.0, (5, 4), 0.6),
        Polygon(rectangle(under), "", Palette.FIELD, 2.0, (6, 4), role="field"),
    ]


def _strip(
    each: DrawnMap, face: Box, photograph: Photograph, maps: DrawnMaps, number: int, left: float, scale: float
) -> list[Item]:
    role = f"box {number}"
    if each.kind == "unknown":
        return torn(Box(face.left, face.top, face.left + 120, face.bottom), role)
    items: list[Item] = [*far_sides(face, _depth(each), 0.7, role)]
    items.append(Polygon(rectangle(face), Palette.FACE, "", role=role))
    shown = photograph.face(each, maps, max(2, round(face.width / 1.5)))
    if shown is not None:
        items.append(_strength(face, shown[0, :, 0].astype(np.float64) / 255, f"face {number}"))
        columns = 1 if each.level is None else each.level.plane[1]
        if face.width / columns >= FINEST and each.level is not None:
            inside = [left + border * scale for border in each.level.columns[1:-1]]
            inside = [x for x in inside if face.left < x < face.right]
            items += [Curve(((x, face.top), (x, face.bottom)), Palette.LINE, 0.6, role="grid") for x in inside]
    items.append(Polygon(rectangle(face), "", Palette.INK, 1.0, role=f"edge {number}"))
    return items


def _strength(face: Box, strength: np.ndarray[tuple[int], np.dtype[np.float64]], role: str) -> Polygon:
    """Draw how strong a signal is in each cell, as steps over the foot of a strip."""
    step, points = face.width / len(strength), [(face.left, face.bottom)]
    for cell, share in enumerate(strength):
        y = face.bottom - float(share) * (face.height - 3)
        points += [(face.left + cell * step, y), (face.left + (cell + 1) * step, y)]
    return Polygon((*points, (face.right, face.bottom)), "#5b7f9c", role=role)


def _words(each: DrawnMap, face: Box, room: float, right: float) -> list[Item]:
    """Say what a strip is, at its left and at its right."""
    y = face.top + 12
    if each.kind == "unknown":
        lines = [
            (each.label, Palette.INK, True),
            (f"not known, {counted(len(each.stages), 'stage')}", Palette.MUTED, False),
        ]
    else:
        told = row_of([each.shape_text, each.blocks_text])
        lines = [(each.label, Palette.INK, True), (told, Palette.MUTED, False)]
    items: list[Item] = [
        Text((MARGIN, y + 16 * number), fitting(words, room, LETTERS, bold=bold), LETTERS, colour, bold, whole=words)
        for number, (words, colour, bold) in enumerate(lines)
    ]
    covered, small = object_text(each), bool(each.object_cells) and min(each.object_cells) < 1
    room = RIGHT - 16
    shown = [(covered, Palette.OBJECT, small), (each.stride_text, Palette.MUTED, False)]
    if each.flag:
        flag = [fitting(words, room - 10, LETTERS, bold=not number) for number, words in enumerate(each.flag[:2])]
        long = max(measured(words, LETTERS, bold=not number) for number, words in enumerate(flag)) + 10
        place = Box(right, face.top - 1, right + long, face.bottom + 1)
        items.append(Polygon(rectangle(place), Palette.FLAG, role="flag"))
        items.append(Curve(((face.right, face.bottom), (right, face.bottom)), Palette.FLAG, 1.6, role="pole"))
        items += [
            Text((right + 5, y + 16 * number), words, LETTERS, Palette.PAPER, not number, role="flag text")
            for number, words in enumerate(flag)
        ]
        return items
    items += [
        Text((right, y + 16 * number), fitting(words, room, LETTERS, bold=bold), LETTERS, colour, bold)
        for number, (words, colour, bold) in enumerate(shown)
        if words
    ]
    return items
