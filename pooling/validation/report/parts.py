"""What pages of validations are made of, for ``templates/parts.html``: matrices of runtimes, findings, and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pooling.export.repair.repair import shown_node
from pooling.onnx_models.making import NodeProto
from pooling.reporting.html import Markup

from ..known_issues import REPOSITORIES, address
from ..reduce import Smallest
from ..rules import RULES
from ..verdicts import Kind
from .grids import Cell, Place, draw

__all__ = ["TEMPLATES", "Badge", "MatrixRow", "finding", "picture", "references"]

TEMPLATES = Path(__file__).with_name("templates")
LONGEST_NODE = 300
"""Signs of a node that are shown; attributes may hold any number of integers."""
NAMED = {"expected": "\N{CHECK MARK}", "actual": "\N{MULTIPLICATION X}"}
"""Marks of the cells that two indices name."""


class Badge(NamedTuple):
    """What one runtime made of one row of a matrix."""

    kind: str
    """What a finding counts as, ``"agrees"`` or, where nothing was asked, ``"none"``."""
    text: str
    """What stands there."""
    href: str = ""
    """What it links to, or nothing."""
    title: str = ""
    """What is said where one points at it."""


class MatrixRow(NamedTuple):
    """A row of a matrix: a title, a line below it, and for each runtime what stands there."""

    title: str
    detail: str
    badges: Sequence[Sequence[Badge]]


def references(names: Iterable[str]) -> Markup:
    """Write issues such as ``openvino#35935`` as links."""
    link = Markup('<a href="{}">{}</a>')
    known = [(name, name.partition("#")[0] in REPOSITORIES) for name in names]
    return Markup(", ").join(link.format(address(name), name) if there else name for name, there in known)


def finding(
    name: str,
    kind: str,
    sentence: str,
    rule: str | None,
    shown: Markup | dict[str, Any] | None,
    node: tuple[NodeProto, int],
    *facts: tuple[str, str],
) -> dict[str, Any]:
    """Put together what a page says of a finding: whose anchor, of what kind, and what is known of it."""
    text = f"{shown_node(node[0])}, opset {node[1]}"
    text = text if len(text) <= LONGEST_NODE else f"{text[: LONGEST_NODE - 1]}…"
    return {
        "id": name,
        "kind": kind,
        "sentence": sentence,
        "key": rule,
        "rule": RULES.get(rule or ""),
        "picture": shown,
        "facts": [("node", Markup("<code>{}</code>").format(text)), *facts],
    }


def picture(found: Smallest, theirs: str) -> dict[str, Any]:
    """Draw the smallest input that shows a difference; `theirs` is whose answer differs."""
    drawn = draw(found.case, found.expected, found.actual, found.verdict)
    of = "indices, " if found.verdict.output else ""
    grids = [
        {
            "name": f"input {grid.title.partition(',')[0]}" if role == "input" else title,
            "rest": grid.title.partition(",")[2].strip(),
            "columns": grid.columns,
            "rows": [
                (row, [_cell(cell, role) for cell in cells]) for row, cells in zip(grid.rows, grid.cells, strict=True)
            ],
        }
        for role, title in (("input", ""), ("expected", f"{of}expected"), ("actual", f"{of}{theirs}"))
        for grid in getattr(drawn, role)
    ]
    marks = [cell.named for grid in drawn.input for row in grid.cells for cell in row if cell.named]
    named = [f"{NAMED[whose]} is the cell that the {whose} index names." for whose in " ".join(marks).split()]
    shape = f"Input of shape {found.case.array.shape}, {found.case.array.dtype.name}."
    return {"grids": grids, "caption": " ".join(filter(None, [shape, drawn.window, *named, _difference(found)]))}


def _difference(found: Smallest) -> str:
    verdict = found.verdict
    if verdict.kind is Kind.CRASHES:
        return f"The process {verdict.sentence}."
    return f"It gives {verdict.sentence}." if verdict.sentence and verdict.kind is not Kind.NAN else ""


def _cell(cell: Cell, role: str) -> tuple[str, str, str]:
    """Return classes, notes and text of a cell."""
    classes, notes = [], []
    if cell.exact != cell.text:
        notes.append(cell.exact)
    if cell.place is not Place.INSIDE:
        classes.append(cell.place.value)
        notes.append("padding" if cell.place is Place.PADDING else "beyond the declared padding")
    if role == "input" and cell.read:
        classes.append("read")
        notes.append("read by the window")
    if role != "input" and cell.differs:
        classes += ["differs" if role == "actual" else "right", *["chosen"] * cell.read]
        notes.append("differs" if role == "actual" else "expected")
    notes += [f"named by the {whose} index" for whose in cell.named.split()]
    marks = "".join(NAMED[whose] for whose in cell.named.split())
    return " ".join(classes), "; ".join(notes), f"{cell.text} {marks}" if marks else cell.text
