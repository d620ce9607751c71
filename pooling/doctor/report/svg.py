"""The levels of a network as SVG, for pages: panels to scale whose colours the stylesheet gives."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pooling.reporting.html import Markup, escape

from .pyramid import STRIP, Box, Level, Pyramid, averaged

__all__ = ["Panel", "panels"]

MOST_PIXELS = 512
"""A picture is embedded with no more pixels than this on a side; panels are smaller."""
PANEL = 150
"""CSS pixels that a panel has at least; a grid is drawn where its lines are `FINEST_GRID` of them apart."""
FINEST_GRID = 3.5


class Panel(NamedTuple):
    """A picture, its name, what it is about, and lines below it by their class."""

    svg: Markup
    name: str
    kind: str
    lines: list[tuple[str, str]]


def panels(drawn: Pyramid, level: Level, number: str, picture: NDArray[np.uint8] | None) -> list[Panel]:
    """Draw a level: its map to scale, the receptive field of one cell, and the input around the object.

    Parameters
    ----------
    drawn : Pyramid
    level : Level
        One of its levels.
    number : str
        Tells the level from others on the page.
    picture : uint8 array of shape (H, W, 3), optional
        What lies under the grids.
    """
    shown = f"picture{number}" if picture is not None else None
    define = _image(drawn, level, picture, shown) if picture is not None and shown else ""
    whole = drawn.loupe == drawn.plane
    seen = [("", level.field_text), *([("lost", level.object_text)] if whole else [])]
    seen += [("drop", level.dropped_text)] if level.dropped_text else []
    result = [
        Panel(_map(drawn, level, shown, define), _map_name(drawn, level), "map", [("", level.cell_text)]),
        Panel(_input(drawn, level, drawn.plane, shown, f"hatch{number}"), "receptive field of a cell", "field", seen),
    ]
    if not whole:
        loupe = _input(drawn, level, drawn.loupe, shown, f"stripes{number}")
        result.append(Panel(loupe, "around the object", "object", [("", level.object_text)]))
    return result


def _map_name(drawn: Pyramid, level: Level) -> str:
    return "map, to scale (the dot)" if drawn.is_tiny(level) else "map, to scale"


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


def _svg(window: Box, aspect: float, label: str, content: Iterable[str], *, kind: str = "") -> Markup:
    view = " ".join(map(_number, (window.left, window.top, window.width, window.height)))
    return Markup(
        f'<svg role="img" aria-label="{escape(label)}" class="panel {kind}" viewBox="{view}" '
        f'preserveAspectRatio="none" style="aspect-ratio:{_number(aspect)}">{"".join(content)}</svg>'
    )


def _aspect(drawn: Pyramid, window: Box) -> float:
    """Return width over height of a panel: pixels are square, unless there is but one axis."""
    return STRIP if drawn.dimensions == 1 else window.width / window.height


def _hatch(name: str, window: Box, aspect: float) -> str:
    """Define stripes that look the same in each panel, whatever its scale."""
    across, down = window.width / PANEL, window.height * aspect / PANEL
    return (
        f'<defs><pattern id="{name}" patternUnits="userSpaceOnUse" width="5" height="5" '
        f'patternTransform="scale({_number(across)} {_number(down)}) rotate(45)">'
        '<rect class="hatch-ground" width="5" height="5"/><rect class="hatch-line" width="1.6" height="5"/>'
        "</pattern></defs>"
    )


def _map(drawn: Pyramid, level: Level, picture: str | None, define: str) -> Markup:
    """Draw the cells of a map at one size for all levels: in a box that would hold the largest map."""
    most_rows, most_columns = (max(sizes) for sizes in zip(*(each.plane for each in drawn.levels), strict=True))
    rows, columns = level.plane
    grid = level.grid
    # In pixels of the input: a cell of this level has so many, the box so many cells.
    wide = grid.width / columns * most_columns
    tall = grid.height if drawn.dimensions == 1 else grid.height / rows * most_rows
    window = Box(grid.left, grid.bottom - tall, grid.left + wide, grid.bottom)
    parts = [define, _rect(grid, "paper")]
    parts += _cells(level, drawn.object, picture, grid)
    parts += [_grid(level, grid, wide), _rect(grid, "edge"), _rect(drawn.object, "object thin")]
    if drawn.is_tiny(level):
        parts.append(_rect(grid, "tiny"))
    return _svg(window, _aspect(drawn, window), f"map of {level.title} cells", parts, kind="bare")


def _input(drawn: Pyramid, level: Level, window: Box, picture: str | None, hatch: str) -> Markup:
    """Draw a window of the input, with all that the level has to do with it."""
    parts = [_rect(window, "paper")]
    field = level.field.within(window)
    if picture is None and field is not None:
        parts.append(_rect(field, "seen"))
    parts += _cells(level, drawn.object, picture, window)
    if picture is not None and window == drawn.plane:
        # One shape with a hole: between rectangles that touch, a browser leaves a bright line.
        edges = "".join(map(_edges, (drawn.plane, field) if field is not None else (drawn.plane,)))
        parts.append(f'<path class="veil" fill-rule="evenodd" d="{edges}"/>')
    parts.append(_grid(level, window, window.width, "over" if picture is not None else ""))
    dropped = [part for box in level.dropped if (part := box.within(window))]
    if dropped:
        parts.append(_hatch(hatch, window, _aspect(drawn, window)))
        parts += [f'<rect fill="url(#{hatch})" {_place(part)}/>' for part in dropped]
    halo = picture is not None
    parts += _frames(level.field, "field", halo)
    parts += _frames(level.cell, "cell", halo)
    parts += _frames(drawn.object, "object", halo)
    where = "the input" if window == drawn.plane else "the input around the object"
    return _svg(
        window, _aspect(drawn, window), f"{where}: {level.cell_text}, {level.field_text}, {level.object_text}", parts
    )


def _cells(level: Level, box: Box, picture: str | None, window: Box) -> Iterator[str]:
    if picture is not None:
        yield f'<use href="#{picture}"/>'
        return
    for cell, share in level.covered(box):
        inside = cell.within(window)
        if inside is not None:
            yield f'<rect class="covered" {_place(inside)} fill-opacity="{share:.3f}"/>'


def _frames(box: Box, kind: str, halo: bool) -> Iterator[str]:
    if halo:
        yield _rect(box, f"halo {kind}")
    yield _rect(box, kind)


def _grid(level: Level, window: Box, wide: float, kind: str = "") -> str:
    """Draw the borders of the cells within a window that a panel shows, unless they would run into each other."""
    if float(np.diff(level.columns).min()) * PANEL < FINEST_GRID * wide:
        return ""
    part = level.grid.within(window)
    if part is None:
        return ""
    top, bottom, left, right = map(_number, (part.top, part.bottom, part.left, part.right))
    lines = [f"M{_number(x)} {top}V{bottom}" for x in level.columns if window.left < x < window.right]
    lines += [f"M{left} {_number(y)}H{right}" for y in level.rows if window.top < y < window.bottom]
    return f'<path class="grid {kind}" d="{"".join(lines)}"/>' if lines else ""


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
