"""Draw the figures of docs/explanation/what-pooling-is.md: ``python docs/make_textbook.py``.

Every number in them is computed by the package; what is drawn are only cells, windows and words.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import pooling
from pooling.doctor import examine

FOLDER = Path(__file__).resolve().parent / "explanation"

MAP = np.array([[1, 3, 2, 1], [5, 6, 7, 8], [4, 2, 1, 3], [10, 14, 12, 16]], np.float32)
COLOURS = ("#bfdbfe", "#fde68a", "#bbf7d0", "#fecaca")
INK, GREY, PALE = "#0f172a", "#64748b", "#f1f5f9"
CELL = 46
STYLE = (
    "text{font-family:Helvetica,Arial,sans-serif;fill:#0f172a}.n{font-size:17px;text-anchor:middle}"
    ".t{font-size:15px;font-weight:bold}.s{font-size:13px;fill:#334155}.m{text-anchor:middle}"
)
OBJECT = 8
"""Pixels of the object on each axis."""
PIXELS = 32
"""Pixels of the map that it lies in."""
HALVINGS = 3


class Drawing:
    """Rectangles, lines and words, written as SVG."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        ]

    def box(
        self, x: float, y: float, width: float, height: float, fill: str, line: str = GREY, dashed: bool = False
    ) -> None:
        """Draw a rectangle."""
        dashes = ' stroke-dasharray="4 3"' if dashed else ""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{fill}" stroke="{line}"{dashes}/>'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str = INK, width: float = 1.5) -> None:
        """Draw a line."""
        self.parts.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}" stroke-width="{width:g}"/>'
        )

    def rule(self, x: float, y: float, side: float, cells: int) -> None:
        """Rule a square into cells."""
        steps = [side * place / cells for place in range(1, cells)]
        path = "".join(f"M{x + step:g} {y:g}v{side:g}M{x:g} {y + step:g}h{side:g}" for step in steps)
        self.parts.append(f'<path d="{path}" stroke="#cbd5e1" stroke-width="0.5" fill="none"/>')

    def text(self, x: float, y: float, words: str, kind: str = "s") -> None:
        """Write a line."""
        self.parts.append(f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(words)}</text>')

    def grid(self, x: float, y: float, values: Any, fills: Any, cell: float = CELL) -> None:
        """Draw a map with its numbers."""
        for (row, column), value in np.ndenumerate(np.asarray(values)):
            left, top = x + column * cell, y + row * cell
            self.box(left, top, cell, cell, fills[row][column])
            self.text(left + cell / 2, top + cell / 2 + 6, f"{value:g}", "n")

    def svg(self) -> str:
        """Return the file."""
        return "\n".join([*self.parts, "</svg>", ""])


def maxima_and_means() -> str:
    """Return the 4 x 4 map of every textbook with its quarters, their maxima and means, and the mean of the whole."""
    x = MAP[np.newaxis, np.newaxis]
    results = [
        ("maximum of each", pooling.max_pool2d(x, 2)[0, 0]),
        ("average of each", pooling.avg_pool2d(x, 2)[0, 0]),
        ("global average", pooling.global_avg_pool(x)[0, 0]),
    ]
    drawing = Drawing(
        740, 262, "A map of 4 by 4 cells in four windows: their maxima, their averages, and the average of all"
    )
    drawing.text(20, 30, "4 × 4 cells, windows of 2 × 2", "t")
    quarters = [[COLOURS[2 * (row // 2) + column // 2] for column in range(4)] for row in range(4)]
    drawing.grid(20, 48, MAP, quarters)
    left = 20 + 4 * CELL + 50
    drawing.line(left - 36, 48 + 2 * CELL, left - 14, 48 + 2 * CELL)
    drawing.line(left - 21, 41 + 2 * CELL, left - 14, 48 + 2 * CELL)
    drawing.line(left - 21, 55 + 2 * CELL, left - 14, 48 + 2 * CELL)
    for title, values in results:
        cell = 58.0
        side = len(values)
        drawing.text(left, 30, title, "t")
        drawing.grid(
            left, 48 + (2 - side) * cell / 2 + 34, values, [COLOURS[:2], COLOURS[2:]] if side == 2 else [[PALE]], cell
        )
        left += 164
    drawing.text(
        20, 252, "The stride is the kernel size here: windows do not overlap, and every cell is in one of them."
    )
    return drawing.svg()


SIZES: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("7 cells: every cell is in a window", 7, {}),
    ("8 cells: floor drops the last one", 8, {}),
    ("8 cells, ceil_mode: one more window", 8, {"ceil_mode": True}),
    ("8 cells, padding 1: nothing is dropped", 8, {"padding": 1}),
)
"""Rows of the second figure, all of kernel 3 and stride 2: words, cells, and what differs from the defaults."""


def size_in_numbers(size: int, padding: int = 0, ceil_mode: bool = False) -> str:
    """Return the formula with its numbers, for a kernel of 3 and a stride of 2."""
    result = pooling.output_shape((1, 1, size), 3, stride=2, padding=padding, ceil_mode=ceil_mode)[-1]
    word = "ceil" if ceil_mode else "floor"
    padded = f"{size} + 2·{padding}" if padding else str(size)
    return f"{word}(({padded} − 3) / 2) + 1 = {result}"


def output_sizes() -> str:
    """Return rows of cells with the windows over them, and the cells in no window marked."""
    cell, height = 38.0, 124
    drawing = Drawing(740, 20 + height * len(SIZES), "Windows of 3 cells at a stride of 2, over 7 and 8 cells")
    for place, (words, size, arguments) in enumerate(SIZES):
        top = 20 + place * height
        padding = arguments.get("padding", 0)
        layer = pooling.MaxPool1d(3, stride=2, **arguments)
        windows = layer.axes((1, 1, size))[0].output_size
        covered = {2 * window - padding + tap for window in range(windows) for tap in range(3)}
        drawing.text(20, top + 14, words, "t")
        drawing.text(478, top + 14, size_in_numbers(size, **arguments), "s")
        left = 20 + 2 * cell
        for position in range(min(min(covered), 0), max(max(covered) + 1, size)):
            inside = 0 <= position < size
            fill = "#ffffff" if not inside else PALE if position in covered else COLOURS[3]
            drawing.box(left + position * cell, top + 26, cell, cell, fill, dashed=not inside)
            if inside:
                drawing.text(left + (position + 0.5) * cell, top + 51, str(position), "n")
            if inside and position not in covered:
                drawing.text(left + (position + 1) * cell + 8, top + 50, "dropped")
        for window in range(windows):
            begin = left + (2 * window - padding) * cell
            level = top + 72 + 10 * (window % 2)
            drawing.line(begin + 3, level, begin + 3 * cell - 3, level, ("#1d4ed8", "#b45309")[window % 2], 5)
    return drawing.svg()


def shares(offset: int) -> list[Any]:
    """Return a map with an object of ones from row and column `offset` on, and the same after each halving."""
    x = np.zeros((1, 1, PIXELS, PIXELS), np.float32)
    x[..., offset : offset + OBJECT, offset : offset + OBJECT] = 1
    maps = [x]
    for _ in range(HALVINGS):
        maps.append(pooling.avg_pool2d(maps[-1], 2))
    return [each[0, 0] for each in maps]


def halvings() -> str:
    """Return an object of 8 x 8 pixels after each of three halvings, on the grid and beside it."""
    side, gap = 160.0, 20.0
    drawing = Drawing(740, 470, "An object of 8 by 8 pixels after three halvings, aligned with the grid and not")
    for row, (words, offset) in enumerate((("on the grid", 8), ("3 pixels further", 11))):
        top = 56 + row * 208
        for column, values in enumerate(shares(offset)):
            left = 20 + column * (side + gap)
            cell = side / len(values)
            if row == 0:
                size = OBJECT // 2**column
                drawing.text(left, 24, f"{len(values)} × {len(values)} cells", "t")
                drawing.text(left, 43, f"the object: {size} × {size} cells" if size > 1 else "the object: one cell")
            drawing.box(left, top, side, side, PALE)
            for (y, x), share in np.ndenumerate(values):
                if share:
                    light = round(255 - 200 * float(share))
                    drawing.box(
                        left + x * cell, top + y * cell, cell, cell, f"rgb({light},{light + (255 - light) // 3},255)"
                    )
                    if cell >= 40:
                        drawing.text(left + (x + 0.5) * cell, top + (y + 0.5) * cell + 5, f"{share:.2f}", "s m")
            drawing.rule(left, top, side, len(values))
        drawing.text(20, top + side + 20, f"{words}: numbers are the share of a cell that the object covers")
    return drawing.svg()


LAYERS = ("pool3/2p1@first", "pool3/2p1@second", "pool3/2p1@third")


def fields() -> list[tuple[int, int]]:
    """Return receptive field and stride, in input pixels, behind each of `LAYERS`."""
    network = examine(" ".join(LAYERS), input_shape=(1, 1, 64, 64)).network
    found = [stage.receptive_field for stage in network.stages]
    return [(field.size[0], int(field.stride[0])) for field in found if field is not None]


def receptive_fields() -> str:
    """Return rows of cells, with the cells that one cell of the last row depends on."""
    found = [(1, 1), *fields()]
    widest = found[-1][0]
    cell = 700 / (widest + 4)
    drawing = Drawing(740, 330, "The cells that one cell depends on, behind three poolings of kernel 3 and stride 2")
    middle = 20 + 350.0
    for level, (size, stride) in enumerate(reversed(found)):
        top = 34 + level * 72
        step = stride * cell
        depth = len(found) - 1 - level
        # Cells of this level that lie in the field of the one cell at the top.
        inside = (widest - size) // stride + 1
        words = "input" if depth == 0 else f"behind pooling {depth}"
        drawing.text(
            20, top - 8, f"{words}: stride {stride}, a cell sees {size} × {size} pixels" if depth else words, "s"
        )
        around = int((350 / step - inside / 2) // 1)
        for position in range(-around, inside + around):
            left = middle + (position - inside / 2) * step
            drawing.box(left, top, step, 22, COLOURS[1] if 0 <= position < inside else PALE)
    steps = [f"{before} + 2·{stride} = {field}" for (before, stride), (field, _) in pairwise(found)]
    drawing.text(20, 322, f"field + (kernel − 1) · stride so far: {', '.join(steps)}", "t")
    return drawing.svg()


def figures() -> dict[str, str]:
    """Return the name and text of each file."""
    return {
        "maxima-and-means.svg": maxima_and_means(),
        "output-sizes.svg": output_sizes(),
        "halvings.svg": halvings(),
        "receptive-fields.svg": receptive_fields(),
    }


def write(made: Iterable[tuple[str, str]]) -> None:
    """Write the files."""
    for name, text in made:
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(figures().items())
