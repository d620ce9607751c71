"""An examination as one HTML page that needs nothing else: no script, no network, no other file. Needs ``jinja2``.

Pictures are SVG, drawn from the same lists as `pooling.doctor.report.figure`, so that the page needs no matplotlib.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pooling._version import __version__
from pooling.errors import without
from pooling.files import write_whole
from pooling.reporting.html import Markup, rendered
from pooling.signs import printable
from pooling.tool_arguments import instance_of, path_of

from ..analysis.picture import Picture, fitted
from ..analysis.trials import OPTION
from ..examination import Examination
from ..lint import SEVERITIES
from ..what_if import WhatIf
from .drawing import NARROW, WIDE, drawing
from .drawing.display import fitting
from .drawing.svg import svg
from .heads import data_set, heads_in_words
from .object_figure import object_levels
from .pyramid import pyramid
from .rows import StageText
from .svg import drawings

if TYPE_CHECKING:
    from ..network import Stage

__all__ = ["page", "write_page"]

TEMPLATE = Path(__file__).with_name("templates") / "examination.html"
MOST_STAGES = 2000
"""Rows of a table at most."""
TREE_DEPTH = 2
"""Levels of modules that are shown; one more where all stages are in one module."""
COLUMN = 116
"""CSS pixels for the name above a level."""
WIDE_ROW, NARROW_ROW = {1: 5, 2: 9, 3: 9}, {1: 3, 2: 6, 3: 6}
"""Levels in a row on wide and narrow screens, at most, by the number of spatial axes."""
COLUMNS = (
    ("operator", "w", lambda text: True),
    ("window", "w", lambda text: text.window),
    ("output", "w", lambda text: text.output),
    ("RF", "n", lambda text: text.field),
    ("ERF", "n", lambda text: text.effective),
    ("1 cell", "n", lambda text: text.kept_one),
    ("2 cells", "n", lambda text: text.kept_two),
    ("stride", "n", lambda text: text.stride),
    ("first centre", "n", lambda text: text.centre),
    ("object", "n", lambda text: text.covered),
    ("dropped", "w", lambda text: text.cut),
    ("in padding", "n", lambda text: text.padding),
    ("MACs", "n", lambda text: text.macs),
    ("MACs saved", "n", lambda text: text.saved),
    ("memory", "n", lambda text: text.memory),
)
"""Titles of the table of stages, what they hold, and whether a stage has something to say there."""


def write_page(
    examination: Examination,
    path: str | os.PathLike[str],
    image: Picture | None = None,
    what_if: WhatIf | None = None,
) -> None:
    """Write `page` to a file, whole or not at all.

    Parameters
    ----------
    examination, image, what_if
        As `page` takes them.
    path : path

    Raises
    ------
    OSError
        If the file cannot be written; what was there before is still there then.
    TypeError, ValueError
        If the picture cannot be read.
    """
    path = path_of("write_page", "path", path)
    instance_of("write_page", "examination", examination, Examination, "give what pooling.doctor.examine returns")
    if what_if is not None:
        instance_of("write_page", "what_if", what_if, WhatIf, "give what pooling.doctor.what_if.what_if returns")
    write_whole(path, page(examination, image, what_if))


def page(examination: Examination, image: Picture | None = None, what_if: WhatIf | None = None) -> str:
    """Return an examination as a page of HTML.

    Parameters
    ----------
    examination : Examination
        What `examine` returns.
    image : path or array, optional
        A picture to lay under the grids, instead of the one of the examination.
    what_if : WhatIf, optional
        What the network is compared with.

    Returns
    -------
    str
        A whole document. Every name out of the model is escaped.

    Raises
    ------
    ModuleNotFoundError
        Without jinja2.
    TypeError, ValueError
        If the picture cannot be read.

    Examples
    --------
    >>> from pooling.doctor import examine
    >>> text = page(examine("conv3 pool2 conv3", (1, 3, 33, 33)))
    >>> text.startswith("<!DOCTYPE html>"), "floor((33 - 2 + 0) / 2) + 1 = 16" in text
    (True, True)
    """
    network = examination.network
    silent = [stage for stage in network.stages if _says_nothing(examination, stage)]
    hidden = {stage.name for stage in silent}
    stages = [stage for stage in network.stages if stage.name not in hidden]
    rows = [(stage, StageText.of(examination, stage)) for stage in stages[:MOST_STAGES]]
    measured = [shift for shift in examination.shifts if shift.value is not None]
    return rendered(
        TEMPLATE,
        title=f"{network.title}: pooling doctor",
        version=__version__,
        examination=examination,
        network=network,
        mostly_lost=any(each.code == "D901" and each.severity != "note" for each in examination.findings),
        counts=[(each, sum(one.severity == each for one in examination.findings)) for each in reversed(SEVERITIES)],
        findings=[
            (parts | {"fixes": [_marked(fix) for fix in parts["fixes"]]}, names)
            for parts, names in _grouped(examination.findings, "stage", "code", "severity", "message", "fixes")
        ],
        network_drawn=_drawn(examination, image),
        levels=_levels(examination, image, ""),
        what_if=what_if and _compared(what_if),
        after=what_if and _levels(what_if.after, image, "after"),
        heads=heads_in_words(examination),
        data_set=data_set(examination),
        object_levels=object_levels(examination),
        tree=list(islice(examination.tree.walk(TREE_DEPTH + (len(examination.tree.children) == 1)), MOST_STAGES)),
        measured=measured,
        longest=max((max(each.value or 0, each.antialiased or 0) for each in measured), default=0) or 1,
        unmeasured=_grouped([each for each in examination.shifts if each.value is None], "stage", "note"),
        rows=[(stage, text, _covered(text)) for stage, text in rows],
        columns=[(title, kind) for title, kind, told in COLUMNS if any(told(text) for _, text in rows)],
        more=len(stages) - len(rows),
        left_out=Counter(stage.operator for stage in silent).most_common(),
    )


def _grouped(found: Any, name: str, *keys: str) -> list[tuple[dict[str, Any], list[str]]]:
    """Put together what is the same at several stages, so that it is said once: its parts, and the stages."""
    places: dict[tuple[Any, ...], list[str]] = {}
    for each in found:
        places.setdefault(tuple(getattr(each, key) for key in keys), []).append(getattr(each, name))
    return [(dict(zip(keys, parts, strict=True)), names) for parts, names in places.items()]


def _marked(fix: str) -> Markup:
    """Set the options of the command in a sentence apart, each of them whole, so that they can be copied."""
    fix = printable(fix)
    marked, at = Markup(""), 0
    for option in OPTION.finditer(fix):
        marked += Markup("{}<code>{}</code>").format(fix[at : option.start()], option[0])
        at = option.end()
    return marked + Markup("{}").format(fix[at:])


def _says_nothing(examination: Examination, stage: Stage) -> bool:
    """Whether a stage works on each element by itself, and nothing was found at it."""
    return stage.kind == "elementwise" and not (stage.macs or stage.note or examination.of_stage(stage.name))


def _compared(comparison: WhatIf) -> dict[str, Any]:
    """Say what a change of arguments changes, and at which stages."""
    rows, same, others = [], 0, 0
    for old, new in comparison.pairs:
        first, second = (
            ["none"] * 5 if stage is None else _changing(StageText.of(examination, stage))
            for examination, stage in ((comparison.before, old), (comparison.after, new))
        )
        stage = new or old
        if first == second:
            same += 1
        elif stage is None or not _is_landmark(comparison, stage):
            others += 1
        else:
            rows.append((stage.name, list(zip(first, second, strict=True))))
    return {"comparison": comparison, "rows": rows, "same": same, "others": others}


def _changing(text: StageText) -> list[str]:
    """Return what a change of arguments changes."""
    return [text.output, text.whole_field, text.stride, _covered(text), text.macs]


def _covered(text: StageText) -> Markup:
    covered = Markup("<strong class=lost>{}</strong>" if text.covered and text.left < 1 else "{}").format(text.covered)
    return covered + Markup(" <span class=muted>({})</span>").format(text.resolved) if text.resolved else covered


def _is_landmark(comparison: WhatIf, stage: Stage) -> bool:
    """Whether a stage is worth a line of its own: it was changed, changes the size of its map, or is read from."""
    return (
        stage.name in comparison.changes
        or stage.name in comparison.after.objects.heads
        or any(axis.input_size != axis.output_size for axis in stage.axes)
    )


def _levels(examination: Examination, image: Picture | None, prefix: str) -> dict[str, Any] | None:
    """Draw the levels of a network; where that cannot be done, say why."""
    network = examination.network
    if not network.spatial:
        return None
    image = image if image is not None else examination.image
    try:
        drawn = pyramid(network, examination.objects)
    except ValueError as error:
        return {"problem": without(error, "doctor")}
    picture = None if image is None else fitted(image, network.spatial_sizes)
    levels = [
        (level, list(drawings(drawn, level, f"{prefix}{number}", picture)), _ends(level.stages))
        for number, level in enumerate(drawn.levels)
    ]
    rows = [_even(len(levels), most[drawn.dimensions]) for most in (WIDE_ROW, NARROW_ROW)]
    return {"problem": "", "pyramid": drawn, "levels": levels, "wide": rows[0], "narrow": rows[1]}


def _even(number: int, most: int) -> int:
    """Return how many stand in a row so that all rows are about as long."""
    return -(-number // -(-number // most))


def _ends(stages: Sequence[str]) -> list[str]:
    """Return the first and the last of several names, cut in their middle to the width of a column."""
    found = [fitting(stages[0], COLUMN, 12.5)]
    return found if len(stages) == 1 else [*found, fitting(stages[-1], COLUMN - 18, 12.5)]


def _drawn(examination: Examination, image: Picture | None) -> list[Markup]:
    """Draw the network for wide and for narrow screens; nothing where that cannot be done, which the levels tell."""
    if not examination.network.spatial:
        return []
    try:
        pyramid(examination.network, examination.objects)
    except ValueError:
        return []
    both = [(name, drawing(examination, image, width)) for name, width in (("broad", WIDE), ("slim", NARROW))]
    return [Markup(svg(drawn, name, standalone=False)) for name, drawn in both]
