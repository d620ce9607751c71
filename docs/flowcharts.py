"""Draw the flowcharts of pages as SVG: those that the code host draws itself, ``flowchart LR`` with nodes and arrows.

Each node stands in the column behind the last one that it depends on. An arrow that passes columns has a place of its
own in each of them, so that it crosses no node; in every column nodes are ordered by the middle of what they depend on,
and by the middle of what depends on them, in turns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from zlib import crc32

NODE = re.compile(r'(\w+)(\(\[|\[)"([^"]*)"(?:\]\)|\])')
ARROW = re.compile(r"(\w+) --> (\w+)")
LETTER, GAP, HEIGHT, STEP, EDGE = 7.4, 44.0, 26.0, 40.0, 6.0
"""Widths of a letter, of the space between columns, of a box, from one box to the next, and around all."""
SWEEPS = 8


@dataclass
class Chart:
    """A flowchart as it is written."""

    labels: dict[str, str] = field(default_factory=dict)
    """What stands in each node."""
    rounded: set[str] = field(default_factory=set)
    """Nodes that are inputs or outputs."""
    arrows: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Place:
    """Where a node, or an arrow that passes by, stands."""

    column: int
    row: float = 0
    x: float = 0
    width: float = 0


def read(text: str) -> Chart:
    """Read a flowchart; a line that is none of its kinds of lines is an error."""
    first, *lines = [line.strip() for line in text.strip().splitlines()]
    if first != "flowchart LR":
        raise ValueError(f"a flowchart from left to right begins with 'flowchart LR', not {first!r}")
    chart = Chart()
    for line in lines:
        if node := NODE.fullmatch(line):
            name, bracket, label = node.groups()
            chart.labels[name] = label
            chart.rounded |= {name} if bracket == "([" else set()
        elif arrow := ARROW.fullmatch(line):
            chart.arrows.append((arrow[1], arrow[2]))
        else:
            raise ValueError(f"{line!r} is neither a node nor an arrow of a flowchart")
    return chart


def _columns(chart: Chart) -> dict[str, int]:
    """Return for each node the length of the longest way to it."""
    columns = dict.fromkeys(chart.labels, 0)
    for _ in chart.labels:
        for begin, end in chart.arrows:
            columns[end] = max(columns[end], columns[begin] + 1)
    return columns


def _routed(chart: Chart, places: dict[str, Place]) -> list[list[str]]:
    """Return each arrow as the places that it leads through, made where it passes a column."""
    ways = []
    for number, (begin, end) in enumerate(dict.fromkeys(chart.arrows)):
        way = [begin]
        for column in range(places[begin].column + 1, places[end].column):
            name = f"{number}:{column}"
            places[name] = Place(column)
            way.append(name)
        ways.append([*way, end])
    return ways


def _order(places: dict[str, Place], ways: list[list[str]]) -> None:
    """Give every place its row."""
    before: dict[str, list[str]] = {name: [] for name in places}
    behind: dict[str, list[str]] = {name: [] for name in places}
    for way in ways:
        for one, other in pairwise(way):
            behind[one].append(other)
            before[other].append(one)
    columns: dict[int, list[str]] = {}
    for name, place in places.items():
        columns.setdefault(place.column, []).append(name)
    for members in columns.values():
        for row, name in enumerate(members):
            places[name].row = row - (len(members) - 1) / 2
    for sweep in range(SWEEPS):
        neighbours = before if sweep % 2 == 0 else behind
        for column in sorted(columns, reverse=bool(sweep % 2)):
            members = columns[column]
            middles = {
                name: sum(places[each].row for each in found) / len(found)
                if (found := neighbours[name])
                else places[name].row
                for name in members
            }
            members.sort(key=middles.__getitem__)
            for row, name in enumerate(members):
                places[name].row = row - (len(members) - 1) / 2


def laid_out(chart: Chart) -> tuple[dict[str, Place], list[list[str]]]:
    """Return where everything stands, and the ways of the arrows."""
    places = {name: Place(column) for name, column in _columns(chart).items()}
    ways = _routed(chart, places)
    _order(places, ways)
    for name, label in chart.labels.items():
        places[name].width = LETTER * len(label) + 18
    left = EDGE
    for column in range(max((place.column for place in places.values()), default=0) + 1):
        members = [place for place in places.values() if place.column == column]
        width = max(place.width for place in members)
        for place in members:
            place.x = left + (width - place.width) / 2
        left += width + GAP
    return places, ways


def svg(text: str) -> str:
    """Return the drawing of a flowchart."""
    chart = read(text)
    places, ways = laid_out(chart)
    top = min(place.row for place in places.values())
    right = max(place.x + place.width for place in places.values()) + EDGE
    bottom = (max(place.row for place in places.values()) - top) * STEP + HEIGHT + 2 * EDGE

    def middle(name: str) -> float:
        return EDGE + (places[name].row - top) * STEP + HEIGHT / 2

    tip = f"tip-{crc32(text.encode()):x}"  # many charts may be on a page
    size = f'viewBox="0 0 {right:g} {bottom:g}" width="{right:g}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(', '.join(chart.labels.values()))}</title>",
        f'<defs><marker id="{tip}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z"/></marker></defs>',
    ]
    for way in ways:
        path = ""
        for one, other in pairwise(way):
            begin, end = places[one], places[other]
            x1, y1, x2, y2 = begin.x + begin.width, middle(one), end.x, middle(other)
            bend = (x2 - x1) / 2
            path += f"{'' if path else f'M{x1:g} {y1:g}'}C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}"
        parts.append(f'<path class="arrow" d="{path}" marker-end="url(#{tip})"/>')
    for name, label in chart.labels.items():
        place = places[name]
        x, y = place.x, middle(name)
        corner = HEIGHT / 2 if name in chart.rounded else 4
        parts.append(
            f'<rect x="{x:g}" y="{y - HEIGHT / 2:g}" width="{place.width:g}" height="{HEIGHT:g}" rx="{corner:g}"/>'
            f'<text x="{x + place.width / 2:g}" y="{y + 4.5:g}">{escape(label)}</text>'
        )
    return "\n".join([*parts, "</svg>"])
