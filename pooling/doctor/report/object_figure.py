"""How many objects of a data set keep a cell, as a picture for a slide or a paper, drawn by matplotlib."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pooling.errors import value_error
from pooling.reporting.formats import brief, by, cells, percent
from pooling.signs import printable, shortened

from .figure import FIELD, FINE, FORMATS, GRID, INK, MUTED, NO_GLYPH, OBJECT, RESOLUTION
from .heads import introduced

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..analysis.object_set import Survival
    from ..examination import Examination

__all__ = ["ObjectLevel", "object_figure", "object_figure_file", "object_levels"]

WIDTH, HEIGHT = 13.333, 5.2
"""Inches."""
SMALL = 9
MOST_LEVELS = 16
LONGEST_TITLE = 110


class ObjectLevel(NamedTuple):
    """The stages on one grid, and the share of objects that keep one cell of it, and two."""

    stride: str
    size: str
    one: float
    two: float
    is_head: bool


def object_levels(examination: Examination) -> list[ObjectLevel]:
    """Return the grids of a network in the order in which it reaches them, with the shares of a data set.

    Stages that resolve alike, whatever they were upsampled to, are one level.
    """
    survival = examination.survival
    if survival is None:
        return []
    heads = {head.resolved_stride for head in examination.heads}
    levels: dict[object, ObjectLevel] = {}
    for stage in examination.network.stages:
        footprint = examination.objects.footprints.get(stage.name)
        if footprint is None or stage.name not in survival.stages:
            continue
        pairs = zip(examination.objects.size, footprint.resolved, strict=True)
        stride = tuple(size / each for size, each in pairs)
        if stride not in levels:
            one, two = survival.stages[stage.name]
            levels[stride] = ObjectLevel(
                brief([cells(each) for each in stride]), by(stage.output_size), one, two, stride in heads
            )
    return list(levels.values())


def object_figure(examination: Examination) -> Figure:
    """Draw the share of a data set's objects that keep a cell.

    On the left, the share of objects whose shorter side has at least so many pixels, with the strides of the heads
    in it; on the right, for each grid of the network, the shares that keep one cell and two.

    Parameters
    ----------
    examination : Examination
        Made with `objects`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ModuleNotFoundError
        Without matplotlib.
    ValueError
        If the examination has no data set.
    """
    survival = examination.survival
    if survival is None:
        raise value_error("doctor", "a picture of objects needs a data set", "give one with --objects")
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(WIDTH, HEIGHT), layout="constrained", facecolor="white")
    curve, bars = drawn.subplots(1, 2)
    title = f"{examination.network.title}, input {by(examination.network.input_shape)}: {introduced(survival.objects)}"
    drawn.suptitle(shortened(printable(title), LONGEST_TITLE), color=INK, fontsize=13, parse_math=False)
    _curve(curve, examination, survival)
    _bars(bars, object_levels(examination))
    return drawn


def object_figure_file(examination: Examination, path: str | os.PathLike[str]) -> bytes:
    """Return `object_figure` as a file of the kind that a path ends with: .png, .svg or .pdf."""
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise value_error("doctor", f"figure={os.fspath(path)!r} must end in .png, .svg or .pdf")
    import matplotlib

    content = io.BytesIO()
    dates = {"svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}.get(kind)
    with matplotlib.rc_context({"svg.hashsalt": "pooling", "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=NO_GLYPH)
        object_figure(examination).savefig(content, format=kind, dpi=RESOLUTION, metadata=dates)
    return content.getvalue()


def _plain(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=MUTED, labelsize=SMALL)
    axes.set_ylim(0, 1.05)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.grid(axis="y", color=GRID, alpha=0.35, linewidth=0.6)
    axes.set_axisbelow(True)


def _curve(axes: Axes, examination: Examination, survival: Survival) -> None:
    """Draw the share of objects by the pixels of their shorter side."""
    _plain(axes)
    shorter = np.sort(survival.objects.sizes.min(axis=1))
    # Of so many objects, as many as a line has points.
    places = np.unique(np.linspace(0, len(shorter) - 1, 1000).astype(int))
    axes.step(shorter[places], 1 - places / len(shorter), where="pre", color=OBJECT, linewidth=2)
    axes.set_xscale("log", base=2)
    for number, head in enumerate(examination.heads):
        stride = float(max(head.resolved_stride))
        for factor, style, share in zip((1, 2), ("-", ":"), survival.heads[number], strict=True):
            axes.axvline(factor * stride, color=FIELD, linestyle=style, linewidth=1.1)
            axes.annotate(
                percent(share),
                (factor * stride, share),
                xytext=(4, 4),
                textcoords="offset points",
                color=FIELD,
                fontsize=SMALL,
            )
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("pixels of the shorter side on the input; lines: one cell of a head, dotted: two", color=MUTED)
    axes.set_title("objects that are at least so large", color=INK, fontsize=11, loc="left")


def _bars(axes: Axes, levels: list[ObjectLevel]) -> None:
    """Draw the shares of each grid."""
    _plain(axes)
    shown = levels[-MOST_LEVELS:]
    places = np.arange(len(shown))
    for shift, colour, label, shares in (
        (-0.2, FINE, "keep one cell", [level.one for level in shown]),
        (0.2, FIELD, "keep two cells", [level.two for level in shown]),
    ):
        made = axes.bar(places + shift, shares, 0.38, color=colour, label=label)
        axes.bar_label(made, [percent(share) for share in shares], color=colour, fontsize=SMALL, padding=1)
    titles = [
        f"stride {level.stride}\n{level.size}{chr(10) * level.is_head}{'head' * level.is_head}" for level in shown
    ]
    axes.set_xticks(places, titles)
    axes.legend(frameon=False, fontsize=SMALL, labelcolor=INK, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    axes.set_title("objects that keep a cell, by grid", color=INK, fontsize=11, loc="left")
