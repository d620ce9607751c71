"""A display list by matplotlib, for PNG and PDF."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .display import Curve, Drawing, Image, Item, Palette, Polygon, Text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["DOTS", "matplotlib_figure"]

DOTS = 96
"""CSS pixels of an inch; a drawing of 1280 pixels is as wide as a slide."""
POINTS = 72 / DOTS


def matplotlib_figure(drawing: Drawing) -> Figure:
    """Draw a display list.

    Parameters
    ----------
    drawing : Drawing

    Returns
    -------
    matplotlib.figure.Figure
        As large as the drawing, with 96 of its pixels to an inch.

    Raises
    ------
    ModuleNotFoundError
        Without matplotlib.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(drawing.width / DOTS, drawing.height / DOTS), facecolor=Palette.PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, drawing.width), ylim=(drawing.height, 0), autoscale_on=False)
    axes.set_axis_off()
    for number, item in enumerate(drawing.items):
        _draw(axes, item, number)
    return figure


def _draw(axes: Axes, item: Item, order: int) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    match item:
        case Image():
            place = item.place
            axes.imshow(
                item.pixels,
                extent=(place.left, place.right, place.bottom, place.top),
                interpolation="nearest",
                aspect="auto",
                zorder=order,
            )
        case Text():
            axes.text(
                *item.at,
                item.words,
                fontsize=item.size * POINTS,
                color=item.colour,
                weight="bold" if item.bold else "normal",
                ha={"start": "left", "middle": "center", "end": "right"}[item.anchor],
                va="baseline",
                parse_math=False,
                zorder=order,
            )
        case Polygon() | Curve():
            closed = isinstance(item, Polygon)
            points = [*item.points, item.points[0]] if closed else [*item.points]
            curved = isinstance(item, Curve) and item.bezier
            codes = [Path.MOVETO] + [Path.CURVE4 if curved else Path.LINETO] * (len(points) - 1)
            if closed:
                codes[-1] = Path.CLOSEPOLY
            width = item.width * POINTS
            # Dashes of matplotlib are in widths of the line.
            dashes = tuple(each / item.width for each in item.dashes)
            axes.add_patch(
                PathPatch(
                    Path(points, codes),
                    facecolor=(item.fill or "none") if isinstance(item, Polygon) else "none",
                    edgecolor=item.stroke or "none",
                    linewidth=width if item.stroke else 0,
                    linestyle=(0, dashes) if dashes else "solid",
                    alpha=item.opacity if item.opacity < 1 else None,
                    joinstyle="round",
                    zorder=order,
                )
            )
