"""The panels of a level: which shapes lie in each, one upon the other, and what stands below it.

`pooling.doctor.report.svg` draws them for pages, and `pooling.doctor.report.figure` by matplotlib.
"""

from __future__ import annotations

from typing import NamedTuple

from .pyramid import Box, Level, Pyramid

__all__ = ["Panel", "Shape", "panels"]


class Shape(NamedTuple):
    """A rectangle, of a kind that says how it is drawn.

    Attributes
    ----------
    kind : str
        ``"paper"``, ``"seen"`` (a receptive field without a picture), ``"picture"``, ``"covered"`` (by the object),
        ``"veil"`` (over all but the box), ``"grid"`` (of the cells), ``"dropped"``, or a frame: ``"edge"`` of a map,
        ``"thin object"``, ``"tiny"``, ``"field"``, ``"cell"``, ``"object"``.
    box : Box
        On the input.
    share : float
        Of a cell, how much of it is covered.
    """

    kind: str
    box: Box
    share: float = 1.0


class Panel(NamedTuple):
    """One panel of a level.

    Attributes
    ----------
    kind : str
        ``"map"``, ``"input"`` or ``"loupe"``.
    title : str
        What it shows.
    window : Box
        The part of the input that it shows.
    shapes : tuple of Shape
        The lowest first.
    lines : tuple of (str, str)
        What is said below it: the kind of what each line is about, and its text.
    """

    kind: str
    title: str
    window: Box
    shapes: tuple[Shape, ...]
    lines: tuple[tuple[str, str], ...]


def panels(drawn: Pyramid, level: Level, *, pictured: bool) -> list[Panel]:
    """Lay out a level: its map, the input with the receptive field of one cell, and the input around the object.

    Parameters
    ----------
    drawn : Pyramid
    level : Level
        One of its levels.
    pictured : bool
        Whether a picture lies under the grids.

    Returns
    -------
    list of Panel
        Without the last one where the whole input is shown around the object anyway.
    """
    cells = [Shape("covered", cell, share) for cell, share in level.covered(drawn.object)]
    ground = [Shape("picture", level.grid)] if pictured else cells
    grid = Shape("grid", level.grid)
    tiny = [Shape("tiny", level.grid)] * drawn.is_tiny(level)
    frames = [Shape("field", level.field), Shape("cell", level.cell), Shape("object", drawn.object)]
    dropped = [Shape("dropped", box) for box in level.dropped]

    def of_input(kind: str, title: str, window: Box, *lines: tuple[str, str]) -> Panel:
        seen = [] if pictured else [Shape("seen", level.field)]
        # The enlarged part is about the object, which has to be seen.
        veil = [Shape("veil", level.field)] * (pictured and kind == "input")
        shapes = [Shape("paper", window), *seen, *ground, *veil, grid, *dropped, *frames]
        return Panel(kind, title, window, tuple(shapes), lines)

    plan = [Shape("paper", level.grid), *ground, grid, Shape("edge", level.grid), Shape("thin object", drawn.object)]
    whole = drawn.loupe == drawn.plane
    place = [("object", level.object_text)]
    lost = [("drop", level.dropped_text)] if level.dropped_text else []
    seen = [("field", level.field_text), *(place if whole else []), *lost]
    title = "map (a dot)" if tiny else "map, to scale"
    made = [
        Panel("map", title, level.grid, (*plan, *tiny), (("map", level.cell_text),)),
        of_input("input", "receptive field", drawn.plane, *seen),
    ]
    return made if whole else [*made, of_input("loupe", "around the object", drawn.loupe, *place)]
