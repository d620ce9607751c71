"""Pictures of a network for a slide or a paper: the drawing from left to right, and its resolution levels.

The drawing as SVG needs no library; all else is drawn by matplotlib.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from pooling.arguments import word
from pooling.errors import value_error
from pooling.files import write_whole
from pooling.reporting.formats import by
from pooling.signs import printable, shortened
from pooling.tool_arguments import instance_of, path_of

from ..analysis.picture import Picture, fitted
from ..examination import Examination
from .panels import Panel, panels
from .pyramid import Box, Level, Pyramid, averaged, pyramid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from numpy.typing import NDArray


__all__ = ["FORMATS", "PICTURES", "figure", "figure_file", "save_figure"]

FORMATS = ("png", "svg", "pdf")
PICTURES = ("network", "levels")
"""What can be drawn: boxes from left to right, or each resolution level with the object and what a cell sees."""

# Of the palette of Okabe and Ito, which people with any kind of colour vision can tell apart.
OBJECT, FIELD, DROPPED = "#D55E00", "#0072B2", "#882255"  # the last one is Tol's
FINE = "#00694f"
"""Of good news; a darker green of the palette, so that letters can be read."""
INK, MUTED, GRID, PAPER, SEEN = "#1b1f24", "#5b6570", "#8d98a3", "#eef1f4", "#cfe3f3"
"""Of what is drawn where there is no picture, `SEEN` is the receptive field and `PAPER` the rest."""

NO_GLYPH = "Glyph .* missing from"
"""The font lacks letters of some languages; a name with boxes in it is better than no picture."""
WIDTH = 13.333
"""Inches, as a slide has them."""
LEFT, RIGHT, TOP, BOTTOM, GAP = 0.62, 0.3, 0.95, 0.35, 0.26
HEAD, CAPTION, LINE = 0.62, 0.34, 0.17
"""Room above a column, and under each panel."""
FEWEST_COLUMNS, MOST_COLUMNS = 4, {1: 5, 2: 9, 3: 9}
"""Levels in a row; strips need more room to the side than planes."""
SMALL = 8.5
"""Points of the smallest letters."""
RESOLUTION, DRAWING_RESOLUTION = 150, 192
"""Dots for an inch of a PNG: of levels, and of the network."""
VEIL, DASHES, HATCH = 0.72, (0, (4, 2)), "/////"
FRAMES: dict[str, dict[str, Any]] = {
    "field": {"edgecolor": FIELD, "linewidth": 1.4, "linestyle": DASHES},
    "cell": {"edgecolor": FIELD, "linewidth": 1.6},
    "object": {"edgecolor": OBJECT, "linewidth": 1.5},
    "thin object": {"edgecolor": OBJECT, "linewidth": 1.0},
}
LINES = {"map": MUTED, "field": FIELD, "object": OBJECT, "drop": DROPPED}
"""Colours of what is said below a panel, by what it is about."""
TALLEST = 1.25
"""A panel is so many times as high as wide at most."""
FINEST_GRID = 3.0
"""Points from line to line of a grid that can still be seen."""
LETTER, BOLD_LETTER, NARROW_LETTER = 0.6, 0.7, 0.3
"""Width of a letter on average, in font sizes, and of a narrow one."""


def figure(examination: Examination, image: Picture | None = None, *, picture: str = "network") -> Figure:
    """Draw a network, or its resolution levels side by side.

    Parameters
    ----------
    examination : Examination
        What `examine` returns.
    image : path or array, optional
        A photograph for networks with two spatial axes, cut and scaled to the input. Each map shows its mean over each
        cell, which is all that it could show of it.
    picture : {"network", "levels"}
        ``"network"`` has a box for each map, from left to right, see `pooling.doctor.report.drawing`. ``"levels"`` has
        a column for each resolution level, from top to bottom: the map with cells of one size for all levels; the
        input with the receptive field of one cell on it; and the input around the object, enlarged, with the grid of
        the level. Within a row of it, all panels have one scale.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ModuleNotFoundError
        Without matplotlib.
    TypeError, ValueError
        If the photograph cannot be read, or the network has no spatial axes.
    """
    if _checked(picture) == "network":
        from .drawing import drawing
        from .drawing.raster import matplotlib_figure

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=NO_GLYPH)
            return matplotlib_figure(drawing(examination, image))
    network = examination.network
    drawn = pyramid(network, examination.objects)
    image = image if image is not None else examination.image
    photograph = None if image is None else fitted(image, network.spatial_sizes)
    title = f"{network.title}: input {by(network.input_shape)}"
    if drawn.dimensions == 3:
        title += ", its planes of H and W"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=NO_GLYPH)
        return _Sheet(drawn, photograph, title).drawn()


def save_figure(
    examination: Examination,
    path: str | os.PathLike[str],
    image: Picture | None = None,
    *,
    picture: str = "network",
) -> None:
    """Write `figure` to a file, whole or not at all.

    Parameters
    ----------
    examination, image, picture
        As `figure` takes them.
    path : path
        Its ending says what is written: ``.png``, ``.svg`` or ``.pdf``. The same examination gives the same file.

    Raises
    ------
    ModuleNotFoundError
        Without matplotlib; the network as ``.svg`` needs none.
    OSError
        If the file cannot be written.
    TypeError, ValueError
        If the ending or the photograph is none that is known, or the network has no spatial axes.
    """
    path = path_of("save_figure", "path", path)
    write_whole(path, figure_file(examination, path, image, picture=picture))


def figure_file(
    examination: Examination,
    path: str | os.PathLike[str],
    image: Picture | None = None,
    *,
    picture: str = "network",
) -> bytes:
    """Return what `save_figure` writes, which may fail for more reasons than writing it."""
    path = path_of("doctor", "figure", path)
    instance_of("doctor", "examination", examination, Examination, "give what pooling.doctor.examine returns")
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise value_error("doctor", f"figure={os.fspath(path)!r} must end in .png, .svg or .pdf")
    if _checked(picture) == "network" and kind == "svg":
        from .drawing import drawing
        from .drawing.svg import svg

        return svg(drawing(examination, image)).encode("utf-8")
    import matplotlib

    content = io.BytesIO()
    dates = {"svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}.get(kind)
    dots = DRAWING_RESOLUTION if picture == "network" else RESOLUTION
    with matplotlib.rc_context({"svg.hashsalt": "pooling", "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=NO_GLYPH)
        figure(examination, image, picture=picture).savefig(content, format=kind, dpi=dots, metadata=dates)
    return content.getvalue()


def _checked(picture: str) -> str:
    return word("doctor", "picture", picture, PICTURES)


class _Sheet:
    """One figure: where its panels lie, in inches from the top left corner, and what is drawn in them."""

    def __init__(self, drawn: Pyramid, picture: NDArray[np.uint8] | None, title: str) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.pyramid, self.picture = drawn, picture
        count = len(drawn.levels)
        self.bands = math.ceil(count / MOST_COLUMNS[drawn.dimensions])
        self.columns = max(math.ceil(count / self.bands), FEWEST_COLUMNS)
        self.column = (WIDTH - LEFT - RIGHT - (self.columns - 1) * GAP) / self.columns
        plane = drawn.plane
        self.wide = min(self.column, self.column * TALLEST * plane.width / plane.height)
        self.tall = self.wide * plane.height / plane.width
        loupe = drawn.loupe
        self.loupe_tall = 0.0 if loupe == plane else self.tall
        if drawn.dimensions > 1 and self.loupe_tall:
            self.loupe_tall = self.wide * loupe.height / loupe.width
        captions = [
            words
            for level in drawn.levels
            for words in (level.cell_text, level.field_text, level.object_text, level.dropped_text)
        ]
        # One size for all titles, and one for all captions, in which the longest has room.
        self.sizes = [
            min(largest, 72 * self.column / (letter * max(map(len, texts))))
            for largest, letter, texts in (
                (14, BOLD_LETTER, [level.title for level in drawn.levels]),
                (10, LETTER, captions),
            )
        ]
        # Lines that only some levels have, under the panel of what a cell sees.
        self.more_lines = LINE * (any(level.dropped for level in drawn.levels) + (not self.loupe_tall))
        self.band = HEAD + 2 * (self.tall + CAPTION) + self.more_lines
        self.band += self.loupe_tall + CAPTION if self.loupe_tall else 0
        height = TOP + self.bands * (self.band + GAP) + BOTTOM
        self.figure = Figure(figsize=(WIDTH, height), facecolor="white")
        self.renderer = FigureCanvasAgg(self.figure).get_renderer()  # type: ignore[no-untyped-call]
        self.name(0.3, 0.42, title, 17, WIDTH - 0.6, weight="bold")
        self.text(0.3, 0.74, drawn.verdict, 12, color=FINE if drawn.is_fine else OBJECT)

    def drawn(self) -> Figure:
        """Draw all levels."""
        for number, level in enumerate(self.pyramid.levels):
            band, column = divmod(number, self.columns)
            self.level(level, LEFT + column * (self.column + GAP), TOP + band * (self.band + GAP), first=column == 0)
        self.legend()
        return self.figure

    def level(self, level: Level, left: float, top: float, *, first: bool) -> None:
        """Draw one column."""
        self.text(left, top + 0.17, level.title, self.sizes[0], weight="bold")
        names = [level.stages[0], f"to {level.stages[-1]}"][: len(level.stages)]
        for number, name in enumerate(names):
            self.name(left, top + 0.36 + 0.15 * number, name, SMALL, self.column, color=MUTED)
        top += HEAD
        for panel in panels(self.pyramid, level, pictured=self.picture is not None):
            tall = self.loupe_tall if panel.kind == "loupe" else self.tall
            title, texts = panel.title.removesuffix(" (the dot)"), [text for _, text in panel.lines]
            if tall < 1.1:
                texts[0] = f"{title}: {texts[0]}"
            elif first:
                self.text(LEFT - 0.14, top + tall / 2, title, 9, color=MUTED, rotation=90, ha="center", va="center")
            self.panel(level, panel, left, top, tall)
            for line, ((kind, _), text) in enumerate(zip(panel.lines, texts, strict=True)):
                foot = top + tall + 0.18 + LINE * line
                weight = "bold" if kind == "object" and level.is_lost else "normal"
                self.text(left, foot, text, self.sizes[1], color=LINES[kind], weight=weight)
            top += tall + CAPTION + (self.more_lines if panel.kind == "input" else 0)

    # -- panels --------------------------------------------------------------------------------------------------

    def axes(self, left: float, top: float, wide: float, tall: float, window: Box, name: str) -> Axes:
        """Make a panel that shows a window of the input, or of a map."""
        width, height = self.figure.get_size_inches()
        axes = self.figure.add_axes((left / width, 1 - (top + tall) / height, wide / width, tall / height))
        axes.set(
            xlim=(window.left, window.right), ylim=(window.bottom, window.top), xticks=[], yticks=[], facecolor=PAPER
        )
        axes.set_gid(name)
        for spine in axes.spines.values():
            spine.set(color=MUTED, linewidth=0.6)
        return axes

    def panel(self, level: Level, panel: Panel, left: float, top: float, tall: float) -> None:
        """Draw the shapes of a panel; a map with cells of the same size as those of all levels."""
        wide = self.wide
        if panel.kind == "map":
            rows, columns = level.plane
            scale = self.wide / max(each.plane[1] for each in self.pyramid.levels)
            high = tall if self.pyramid.dimensions == 1 else rows * scale
            wide, top, tall = columns * scale, top + tall - high, high
        axes = self.axes(left, top, wide, tall, panel.window, panel.kind)
        for kind, box, share in panel.shapes:
            match kind:
                case "picture" if self.picture is not None:
                    shown = averaged(level, self.pyramid.plane, self.picture)
                    extent = (box.left, box.right, box.bottom, box.top)
                    axes.imshow(shown, extent=extent, interpolation="nearest", aspect="auto", zorder=0)
                case "veil":
                    for part in level.veils(self.pyramid.plane):
                        self.patch(axes, part, facecolor="white", alpha=VEIL)
                case "grid":
                    self.gridlines(axes, level, wide)
                case "tiny":
                    for spine in axes.spines.values():
                        spine.set(color=INK, linewidth=3)
                case "dropped":
                    self.patch(axes, box, facecolor="white", alpha=0.6)
                    self.patch(axes, box, facecolor="none", edgecolor=DROPPED, hatch=HATCH, linewidth=0)
                case "covered" | "seen":
                    self.patch(axes, box, facecolor=OBJECT if kind == "covered" else SEEN, alpha=share)
                case _ if kind in FRAMES:
                    self.frame(axes, box, **FRAMES[kind])

    def patch(self, axes: Axes, box: Box, **style: Any) -> None:
        """Draw a rectangle."""
        from matplotlib.patches import Rectangle

        style = {"linewidth": 0, "zorder": 1} | style
        axes.add_patch(Rectangle((box.left, box.top), box.width, box.height, **style))

    def frame(self, axes: Axes, box: Box, linewidth: float, **style: Any) -> None:
        """Draw the border of a rectangle, with light around it so that it shows on any picture."""
        if self.picture is not None:
            self.patch(axes, box, facecolor="none", edgecolor="white", linewidth=linewidth + 1.6, alpha=0.75, zorder=3)
        self.patch(axes, box, facecolor="none", linewidth=linewidth, zorder=3, **style)

    def gridlines(self, axes: Axes, level: Level, inches: float) -> None:
        """Draw the borders of the cells, unless they would run into each other."""
        left, right = axes.get_xlim()
        if abs(right - left) * FINEST_GRID > 72 * inches * float(np.diff(level.columns).min()):
            return
        bottom, top = axes.get_ylim()
        box = level.grid
        style: dict[str, Any] = {"color": GRID if self.picture is None else INK, "linewidth": 0.4, "zorder": 2}
        style["alpha"] = 0.8 if self.picture is None else 0.4
        axes.vlines(level.columns, max(top, box.top), min(bottom, box.bottom), **style)
        if self.pyramid.dimensions > 1:
            axes.hlines(level.rows, max(left, box.left), min(right, box.right), **style)

    # -- words ---------------------------------------------------------------------------------------------------

    def name(self, left: float, top: float, words: str, size: float, wide: float, **style: Any) -> None:
        """Write a line that can be of any length, and leave out its middle where it is too long."""
        words = printable(words)
        letters = min(len(words), int(wide * 72 / (NARROW_LETTER * size)))
        line = self.text(left, top, shortened(words, letters), size, **style)
        # Letters differ in width: those of the last attempt say how many there is room for.
        while (taken := line.get_window_extent(self.renderer).width / self.figure.dpi) > wide and letters > 3:
            letters = max(3, min(letters - 1, int(letters * wide / taken)))
            line.set_text(shortened(words, letters))

    def text(self, left: float, top: float, words: str, size: float, **style: Any) -> Text:
        """Write a line whose foot stands so many inches from the top."""
        width, height = self.figure.get_size_inches()
        style = {"color": INK, "va": "baseline"} | style
        # A dollar in the name of a layer is no mathematics.
        return self.figure.text(left / width, 1 - top / height, words, fontsize=size, parse_math=False, **style)

    def legend(self) -> None:
        """Explain the signs at the foot."""
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        def sign(label: str, colour: str, **style: Any) -> Patch:
            return Patch(facecolor="none", edgecolor=colour, label=label, **style)

        seen = "its receptive field" + ("; what lies outside is pale" if self.picture is not None else "")
        signs: list[Any] = [
            sign("the object", OBJECT, linewidth=1.8),
            sign("one cell of the map", FIELD, linewidth=1.6),
            Line2D([], [], color=FIELD, linewidth=1.4, linestyle=DASHES, label=seen),
        ]
        if any(level.dropped for level in self.pyramid.levels):
            signs.append(sign("dropped: in no window", DROPPED, linewidth=0, hatch=HATCH))
        style: dict[str, Any] = {"frameon": False, "fontsize": 10, "labelcolor": INK, "handlelength": 1.6}
        style |= {"ncols": len(signs), "bbox_to_anchor": (0.3 / WIDTH, 0)}
        self.figure.legend(handles=signs, loc="lower left", **style)
