"""What a drawing consists of: shapes and lines of text in CSS pixels from the top left corner, the lowest first.

Nothing here knows a file format. `pooling.doctor.report.drawing.svg` and `.raster` draw the same list.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pooling.signs import printable

from ..pyramid import Box

__all__ = [
    "Curve",
    "Drawing",
    "Image",
    "Item",
    "Palette",
    "Placed",
    "Point",
    "Polygon",
    "Text",
    "arrow",
    "fitting",
    "hatched",
    "in_two",
    "measured",
    "rectangle",
    "row_of",
    "wrapped",
]

Point = tuple[float, float]

REGULAR = (
    "32 40 46 84 64 95 78 27 39 39 50 84 32 36 32 34 64 64 64 64 64 64 64 64 64 64 34 34 84 84 84 53 100 68 69 70 "
    "77 63 58 77 75 29 29 66 56 86 75 79 60 79 69 63 61 73 68 99 69 61 69 39 34 39 84 50 50 61 63 55 63 62 35 63 "
    "63 28 28 58 28 97 63 61 63 63 41 52 39 63 59 82 59 59 52 64 34 64 84"
)
BOLD = (
    "35 46 52 84 70 100 87 31 46 46 52 84 38 42 38 37 70 70 70 70 70 70 70 70 70 70 40 40 84 84 84 58 100 77 76 "
    "73 83 68 68 82 84 37 37 77 64 100 84 85 73 85 77 72 68 81 77 110 77 72 73 46 37 46 84 50 50 67 72 59 72 68 "
    "44 72 71 34 34 67 34 104 71 69 72 72 49 60 48 71 65 92 65 65 58 71 37 71 84"
)
ADVANCES = {bold: [int(number) for number in text.split()] for bold, text in ((False, REGULAR), (True, BOLD))}
"""Width of the signs from space to tilde in hundredths of the font size, of DejaVu Sans: no common sans is wider."""
WIDE_SIGN, OTHER_SIGN = 105, 104
"""Of signs of East Asia, and of all others."""
SPARE = 1.02
INNER_SPACE = re.compile(r"(?<!\bstride) ")
"""Where a line may end: a number stays with what it measures."""
ASCENT, DESCENT = 0.8, 0.22
"""How far letters reach above and below their line, in font sizes."""


class Palette:
    """Colours, of the palette of Okabe and Ito where they mean something; their greys differ too."""

    INK, MUTED, LINE, PAPER = "#1b1f24", "#57606a", "#8d98a3", "#ffffff"
    FACE, SIDE, TOP = "#e9edf1", "#aebac6", "#cbd4dc"
    OBJECT, FIELD, FINE, SKIP = "#b84c00", "#0068a8", "#00694f", "#57606a"
    BRIGHT_OBJECT = "#ff7f1e"
    CONE = "#56b4e9"
    FLAG = "#00694f"
    HATCH = "#8d98a3"


def measured(words: str, size: float, *, bold: bool = False) -> float:
    """Return the room that a line takes to the side, in any common sans-serif font: rather too much than too little.

    Examples
    --------
    >>> round(measured("layer4", 10), 1), round(measured("layer4", 10, bold=True), 1)
    (32.1, 36.0)
    """
    table, total = ADVANCES[bold], 0
    for sign in words:
        place = ord(sign) - 32
        if 0 <= place < len(table):
            total += table[place]
        elif unicodedata.combining(sign) == 0:
            total += WIDE_SIGN if unicodedata.east_asian_width(sign) in "WF" else OTHER_SIGN
    return total * size * SPARE / 100


def fitting(words: str, room: float, size: float, *, bold: bool = False) -> str:
    """Cut a name in the middle so that it takes no more than so much room; names begin alike and differ at their ends.

    Examples
    --------
    >>> fitting("encoder.layer1.0.conv1", 90, 12), fitting("conv1", 90, 12)
    ('encod…conv1', 'conv1')
    """
    words = printable(words)
    if measured(words, size, bold=bold) <= room:
        return words
    tail = _last_parts(words)
    fits = [
        cut
        for begin in range(1, len(words) - len(tail))
        if measured(cut := f"{words[:begin]}…{tail}", size, bold=bold) <= room
    ]
    if fits:
        return fits[-1]
    if len(tail) < len(words) and measured(f"…{tail}", size, bold=bold) <= room:
        return f"…{tail}"
    least, most = 1, len(words) - 1
    while least < most:  # the most signs that fit
        middle = (least + most + 1) // 2
        if measured(_without_middle(words, middle), size, bold=bold) <= room:
            least = middle
        else:
            most = middle - 1
    return _without_middle(words, least)


def in_two(name: str, room: float, size: float, *, bold: bool = False) -> tuple[str, str]:
    """Break the path of a module into two lines, as late as both fit; the first is empty where one line is enough.

    Examples
    --------
    >>> in_two("decoder.blocks.0", 70, 12, bold=True), in_two("layer1", 70, 12), in_two("a_name_without_parts", 70, 12)
    (('decoder.', 'blocks.0'), ('', 'layer1'), ('', 'a_…_parts'))
    """
    name = printable(name)
    if measured(name, size, bold=bold) > room:
        tail = len(_last_parts(name))
        for at in [len(name) - tail, *(at + 1 for at, sign in enumerate(name) if sign in "./")]:
            lines = name[:at], name[at:]
            if all(line and measured(line, size, bold=bold) <= room for line in lines):
                return lines
        first = name[: len(name) - tail]
        if first and measured(first, size, bold=bold) <= room:
            return first, fitting(name[len(first) :], room, size, bold=bold)
    return "", fitting(name, room, size, bold=bold)


def _last_parts(words: str) -> str:
    """Return the last part of a path; a number with what it numbers."""
    parts = words.replace("/", ".").split(".")
    count = 2 if parts[-1].isdigit() and len(parts) > 2 else 1
    length = len(".".join(parts[-count:]))
    return words[len(words) - length :]


def _without_middle(words: str, letters: int) -> str:
    end = (2 * letters + 2) // 3
    return f"{words[: letters - end]}…{words[len(words) - end :]}"


@dataclass(frozen=True)
class Polygon:
    """A closed shape. `role` says what it stands for."""

    points: tuple[Point, ...]
    fill: str = ""
    stroke: str = ""
    width: float = 1.0
    dashes: tuple[float, ...] = ()
    opacity: float = 1.0
    role: str = ""


@dataclass(frozen=True)
class Curve:
    """A line through points, or where `bezier` holds a cubic Bézier curve of 1 + 3 n points."""

    points: tuple[Point, ...]
    stroke: str = Palette.MUTED
    width: float = 1.0
    dashes: tuple[float, ...] = ()
    opacity: float = 1.0
    bezier: bool = False
    role: str = ""


@dataclass(frozen=True)
class Image:
    """A picture, each of its pixels a rectangle with sharp borders."""

    place: Box
    pixels: NDArray[np.uint8] = field(repr=False)
    role: str = ""


@dataclass(frozen=True)
class Text:
    """A line of text.

    Attributes
    ----------
    at : (float, float)
        The foot of its letters; to the side its begin, middle or end, as `anchor` says.
    whole : str
        What it stands for where it is cut.
    """

    at: Point
    words: str
    size: float
    colour: str = Palette.INK
    bold: bool = False
    anchor: Literal["start", "middle", "end"] = "start"
    whole: str = ""
    role: str = ""

    @property
    def box(self) -> Box:
        """The room that it takes at most."""
        room = measured(self.words, self.size, bold=self.bold)
        left = self.at[0] - {"start": 0.0, "middle": 0.5, "end": 1.0}[self.anchor] * room
        return Box(left, self.at[1] - ASCENT * self.size, left + room, self.at[1] + DESCENT * self.size)


Item = Polygon | Curve | Image | Text


@dataclass(frozen=True)
class Placed:
    """A map of the network where it was drawn: its face, and what is said of it."""

    label: str
    kind: str
    face: Box
    depth: Point
    count: int = 1


@dataclass(frozen=True)
class Drawing:
    """A display list, and what it says.

    Attributes
    ----------
    width, height : float
        CSS pixels.
    items : tuple of Polygon, Curve, Image or Text
        The lowest first.
    title : str
        What happens to the object, in one sentence.
    description : str
        The drawing in words, for those who do not see it.
    boxes : tuple of Placed
        Where the maps are, in their order.
    """

    width: float
    height: float
    items: tuple[Item, ...]
    title: str
    description: str
    boxes: tuple[Placed, ...] = ()

    @property
    def texts(self) -> Iterator[Text]:
        """Its lines of text."""
        return (item for item in self.items if isinstance(item, Text))

    def of_role(self, role: str) -> list[Item]:
        """Return what stands for something."""
        return [item for item in self.items if item.role == role]


def rectangle(box: Box) -> tuple[Point, ...]:
    """Return the corners of a box."""
    return ((box.left, box.top), (box.right, box.top), (box.right, box.bottom), (box.left, box.bottom))


def wrapped(words: str, room: float, size: float, *, bold: bool = False) -> list[str]:
    """Break a text into lines of about one length, which take no more than so much room.

    Examples
    --------
    >>> wrapped("one two three four", 80, 10)
    ['one two', 'three four']
    """
    lines = _broken(words, room, size, bold)
    narrow, wide = room / 2, room
    while wide - narrow > 4:
        middle = (narrow + wide) / 2
        narrow, wide = (narrow, middle) if len(_broken(words, middle, size, bold)) == len(lines) else (middle, wide)
    even = _broken(words, wide, size, bold)
    # A long word that is cut must not be cut more.
    return even if len(lines) > 1 and not any("…" in line for line in even) else lines


def _broken(words: str, room: float, size: float, bold: bool) -> list[str]:
    lines: list[str] = []
    for word in INNER_SPACE.split(printable(words)):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and measured(longer, size, bold=bold) <= room:
            lines[-1] = longer
        else:
            lines.append(fitting(word, room, size, bold=bold))
    return lines


def hatched(box: Box, step: float = 7.0) -> Iterator[tuple[Point, Point]]:
    """Yield lines that rise through a box from left to right."""
    place = box.left - box.height + step
    while place < box.right:
        begin, end = max(place, box.left), min(place + box.height, box.right)
        yield (begin, box.bottom - (begin - place)), (end, box.bottom - (end - place))
        place += step


def arrow(at: Point, direction: Point, size: float = 6.0) -> tuple[Point, ...]:
    """Return the head of an arrow whose tip is there."""
    length = float(np.hypot(*direction)) or 1.0
    x, y = direction[0] / length, direction[1] / length
    back = (at[0] - size * x, at[1] - size * y)
    return (at, (back[0] - size * y / 2, back[1] + size * x / 2), (back[0] + size * y / 2, back[1] - size * x / 2))


def row_of(words: Sequence[str]) -> str:
    """Join words that tell one thing after another."""
    return " · ".join(filter(None, words))
