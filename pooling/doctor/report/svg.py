"""The panels of a level as SVG, for pages; the stylesheet gives their colours. Needs ``jinja2``, pictures Pillow."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pooling.reporting.html import Markup, escape

from .panels import Panel, Shape, panels
from .pyramid import STRIP, Box, Level, Pyramid, averaged

__all__ = ["drawings"]

MOST_PIXELS = 512
"""A picture is embedded with no more pixels than this on a side; panels are smaller."""
PANEL = 150
"""CSS pixels that a panel has at least; a grid is drawn where its lines are `FINEST_GRID` of them apart."""
FINEST_GRID = 3.5


def drawings(
    drawn: Pyramid, level: Level, number: str, picture: NDArray[np.uint8] | None
) -> Iterator[tuple[Panel, Markup]]:
    """Yield the panels of a level with their SVG.

    Parameters
    ----------
    drawn : Pyramid
    level : Level
        One of its levels.
    number : str
        Tells the level from others on the page.
    picture : uint8 array of shape (H, W, 3), optional
        What lies under the grids; it is embedded once, in the first panel.
    """
    define = "" if picture is None else _image(drawn, level, picture, f"picture{number}")
    for panel in _shown(drawn, panels(drawn, level, pictured=picture is not None)):
        window, label = panel.window, f"map of {level.title} cells"
        if panel.kind == "map":
            window = _box_of_the_largest(drawn, level)
        else:
            where = "the input" if panel.kind == "input" else "the input around the object"
            label = f"{where}: {level.cell_text}, {level.field_text}, {level.object_text}"
        aspect = STRIP if drawn.dimensions == 1 else window.width / window.height
        hatch = f"hatch-{panel.kind}{number}"
        if any(shape.kind == "dropped" and shape.box.within(window) for shape in panel.shapes):
            define += _hatch(hatch, window, aspect)
        parts = "".join(
            _shape(drawn, level, panel, shape, window, number, picture is not None) for shape in panel.shapes
        )
        view = " ".join(map(_number, (window.left, window.top, window.width, window.height)))
        kind = "panel bare" if panel.kind == "map" else "panel"
        yield (
            panel,
            Markup(
                f'<svg role="img" aria-label="{escape(label)}" class="{kind}" viewBox="{view}" '
                f'preserveAspectRatio="none" style="aspect-ratio:{_number(aspect)}">{define}{parts}</svg>'
            ),
        )
        define = ""


def _shown(drawn: Pyramid, made: list[Panel]) -> list[Panel]:
    """Leave out the maps of a signal, which the drawing has to scale as strips; what is said of them stays."""
    if drawn.dimensions > 1:
        return made
    plan, whole, *around = made
    return [whole._replace(lines=(*plan.lines, *whole.lines)), *around]


def _box_of_the_largest(drawn: Pyramid, level: Level) -> Box:
    """Return a box that would hold the largest map if its cells were those of this level: all have one size so."""
    most_rows, most_columns = (max(sizes) for sizes in zip(*(each.plane for each in drawn.levels), strict=True))
    rows, columns = level.plane
    grid = level.grid
    tall = grid.height if drawn.dimensions == 1 else grid.height / rows * most_rows
    return Box(grid.left, grid.bottom - tall, grid.left + grid.width / columns * most_columns, grid.bottom)


def _shape(drawn: Pyramid, level: Level, panel: Panel, shape: Shape, window: Box, number: str, pictured: bool) -> str:
    kind, box = shape.kind, shape.box
    inside = box.within(panel.window)
    match kind:
        case "picture":
            return f'<use href="#picture{number}"/>'
        case "grid":
            return _grid(level, panel.window, window.width, "grid over" if pictured and panel.kind != "map" else "grid")
        case "veil":
            # One shape with a hole: between rectangles that touch, a browser leaves a bright line.
            edges = "".join(map(_edges, (drawn.plane, inside) if inside is not None else (drawn.plane,)))
            return f'<path class="veil" fill-rule="evenodd" d="{edges}"/>'
        case "covered":
            return (
                "" if inside is None else f'<rect class="covered" {_place(inside)} fill-opacity="{shape.share:.3f}"/>'
            )
        case "dropped":
            return "" if inside is None else f'<rect fill="url(#hatch-{panel.kind}{number})" {_place(inside)}/>'
        case "seen":
            return "" if inside is None else _rect(inside, kind)
        case "field" | "cell" | "object" if pictured:
            # Light around it, so that it shows on any picture.
            return _rect(box, f"halo {kind}") + _rect(box, kind)
    return _rect(box, kind)


def _image(drawn: Pyramid, level: Level, picture: NDArray[np.uint8], name: str) -> str:
    """Embed the picture as the level could show it, to be used by all panels of the level."""
    from PIL import Image

    place = level.grid
    if max(level.plane) <= MOST_PIXELS:
        shown = Image.fromarray(averaged(level, drawn.plane, picture))
    else:
        # Cells are finer than any panel.
        shown, place = Image.fromarray(picture), drawn.plane
        shown.thumbnail((MOST_PIXELS, MOST_PIXELS))
    content = io.BytesIO()
    shown.save(content, "PNG", optimize=True)
    data = base64.b64encode(content.getvalue()).decode("ascii")
    return (
        f'<defs><image id="{name}" {_place(place)} preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'href="data:image/png;base64,{data}"/></defs>'
    )


def _hatch(name: str, window: Box, aspect: float) -> str:
    """Define stripes that look the same in each panel, whatever its scale."""
    across, down = window.width / PANEL, window.height * aspect / PANEL
    return (
        f'<defs><pattern id="{name}" patternUnits="userSpaceOnUse" width="5" height="5" '
        f'patternTransform="scale({_number(across)} {_number(down)}) rotate(45)">'
        '<rect class="hatch-ground" width="5" height="5"/><rect class="hatch-line" width="1.6" height="5"/>'
        "</pattern></defs>"
    )


def _grid(level: Level, window: Box, wide: float, kind: str) -> str:
    """Draw the borders of the cells within a window that a panel shows, unless they would run into each other."""
    if float(np.diff(level.columns).min()) * PANEL < FINEST_GRID * wide:
        return ""
    part = level.grid.within(window)
    if part is None:
        return ""
    top, bottom, left, right = map(_number, (part.top, part.bottom, part.left, part.right))
    lines = [f"M{_number(x)} {top}V{bottom}" for x in level.columns if window.left < x < window.right]
    lines += [f"M{left} {_number(y)}H{right}" for y in level.rows if window.top < y < window.bottom]
    return f'<path class="{kind}" d="{"".join(lines)}"/>' if lines else ""


def _rect(box: Box, kind: str) -> str:
    return f'<rect class="{kind}" {_place(box)}/>'


def _edges(box: Box) -> str:
    left, top, right, bottom = map(_number, (box.left, box.top, box.right, box.bottom))
    return f"M{left} {top}H{right}V{bottom}H{left}Z"


def _place(box: Box) -> str:
    left, top, width, height = map(_number, (box.left, box.top, box.width, box.height))
    return f'x="{left}" y="{top}" width="{width}" height="{height}"'


def _number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")
