"""The levels of an image side by side, each where its elements lie, so that a level that is shifted is seen."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import value_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Plane", "ShownLevel", "checked_format", "levels_figure", "levels_file", "with_gaps"]

FORMATS = ("png", "svg", "pdf")
PANEL = 2.6
"""Inches of a panel."""
DOTS = 120
"""Of a PNG, per inch."""
MOST_ELEMENTS = 32
"""Elements of a loupe on each side up to which lines are drawn between them."""


@dataclass(frozen=True)
class Plane:
    """Elements of a level in one plane, and where they lie."""

    elements: NDArray[Any]
    """Of two axes, y and x, or three, y, x and colours."""
    step: tuple[float, float]
    """Size of an element along y and x."""
    first: tuple[float, float]
    """Where the middle of the first one lies."""

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top border."""
        (dy, dx), (y, x) = self.step, self.first
        height, width = self.elements.shape[:2]
        return x - dx / 2, x + (width - 0.5) * dx, y + (height - 0.5) * dy, y - dy / 2


@dataclass(frozen=True)
class ShownLevel:
    """A level, as it is told of and drawn."""

    path: str
    sizes: str
    steps: str
    offsets: str
    """Its name, shape, scale and translation."""
    whole: Plane
    loupe: Plane


def checked_format(path: str | os.PathLike[str]) -> str:
    """Return the kind of picture that a path ends with."""
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise value_error("levels_figure", "must end in .png, .svg or .pdf", argument=("figure", os.fspath(path)))
    return kind


def levels_figure(levels: Sequence[ShownLevel], *, labels: bool = False) -> Figure:
    """Draw the levels: above all of a plane, below a part of it that is the same in all.

    Parameters
    ----------
    levels : sequence of ShownLevel
        Largest first.
    labels : bool
        Whether elements are names and no amounts: each has a colour of its own then, the same in all levels.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ModuleNotFoundError
        Without matplotlib.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    drawn = Figure(figsize=(PANEL * len(levels), 2 * PANEL + 0.5), layout="constrained", facecolor="white")
    panels = drawn.subplots(2, len(levels), squeeze=False)
    paint = _painter(levels, labels)
    # Blocks at the ends may reach beyond the original.
    all_of = [level.whole.extent for level in levels]
    left, right, bottom, top = levels[0].loupe.extent
    for column, level in enumerate(levels):
        above, below = panels[0][column], panels[1][column]
        _draw(above, level.whole, paint)
        above.set_xlim(min(each[0] for each in all_of), max(each[1] for each in all_of))
        above.set_ylim(max(each[2] for each in all_of), min(each[3] for each in all_of))
        above.set_title(f"level {level.path}: {level.sizes}", fontsize=9)
        above.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="red", linewidth=1))
        _draw(below, level.loupe, paint)
        below.set_xlim(left, right)
        below.set_ylim(bottom, top)
        _lines(below, level.loupe)
        below.set_title(f"first at {level.offsets}", fontsize=7)
        for axes in (above, below):
            axes.tick_params(labelsize=6, labelleft=column == 0)
    return drawn


def levels_file(levels: Sequence[ShownLevel], path: str | os.PathLike[str], *, labels: bool = False) -> bytes:
    """Return `levels_figure` as a file of the kind that a path ends with."""
    kind = checked_format(path)
    import matplotlib

    content = io.BytesIO()
    dates: Any = {"svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}.get(kind)
    with matplotlib.rc_context({"svg.hashsalt": "pooling", "svg.fonttype": "none"}):
        levels_figure(levels, labels=labels).savefig(content, format=kind, dpi=DOTS, metadata=dates)
    return content.getvalue()


def with_gaps(levels: Sequence[ShownLevel], nodata: float) -> list[ShownLevel]:
    """Return the levels with NaN, which is drawn as a gap, in place of the number that stands for no data."""

    def plane(each: Plane) -> Plane:
        elements = np.asarray(each.elements, np.float64)
        return replace(each, elements=np.where(elements == float(nodata), np.nan, elements))

    return [replace(level, whole=plane(level.whole), loupe=plane(level.loupe)) for level in levels]


def _painter(levels: Sequence[ShownLevel], labels: bool) -> Any:
    """Return what makes colours of elements, the same in all levels."""
    if labels:
        names = np.unique(np.concatenate([level.whole.elements.ravel() for level in levels]))
        colours = np.random.default_rng(4).uniform(0.25, 1, (len(names), 3))
        colours[names == 0] = 0

        def by_name(elements: NDArray[Any]) -> NDArray[Any]:
            places = np.searchsorted(names, elements).clip(0, len(names) - 1)
            return np.where((names[places] == elements)[..., None], colours[places], 0.5)

        return by_name
    finite = np.asarray(levels[0].whole.elements, np.float64)
    finite = finite[np.isfinite(finite)]
    low, high = np.percentile(finite, [1, 99]) if finite.size else (0.0, 1.0)
    span = max(float(high - low), np.finfo(np.float64).tiny)

    def by_amount(elements: NDArray[Any]) -> NDArray[Any]:
        grey = np.asarray(elements, np.float64)
        shade = ((np.where(np.isfinite(grey), grey, low) - low) / span).clip(0, 1)
        colours = shade if shade.ndim == 3 else np.repeat(shade[..., None], 3, axis=-1)
        missing = np.any(~np.isfinite(grey).reshape(*grey.shape[:2], -1), axis=-1, keepdims=True)
        return np.where(missing, (0.55, 0.7, 0.9), colours)

    return by_amount


def _draw(axes: Axes, plane: Plane, paint: Any) -> None:
    axes.imshow(paint(plane.elements), extent=plane.extent, interpolation="nearest", aspect="equal")


def _lines(axes: Axes, plane: Plane) -> None:
    """Draw the borders of elements, where these are not too many."""
    left, _, _, top = plane.extent
    height, width = plane.elements.shape[:2]
    if max(height, width) <= MOST_ELEMENTS:
        for place in range(width + 1):
            axes.axvline(left + place * plane.step[1], color="white", linewidth=0.3, alpha=0.6)
        for place in range(height + 1):
            axes.axhline(top + place * plane.step[0], color="white", linewidth=0.3, alpha=0.6)
