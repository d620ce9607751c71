"""What pages are made of: their style, matrices of runtimes, and pictures of cases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import onnx

from pooling.export.repair import shown_node

from ..known_issues import REPOSITORIES, address
from ..reduce import Smallest
from ..rules import RULES
from ..verdicts import Kind
from .grids import Cell, Grid, Place, draw
from .markup import Markup, joined, tag

__all__ = [
    "LEGEND",
    "Row",
    "Square",
    "document",
    "facts",
    "marks",
    "matrix",
    "node_of",
    "picture",
    "references",
    "rules_in_words",
    "with_links",
]

ADDRESS = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:)]")
LONGEST_NODE = 300
"""Signs of a node that are shown; attributes may hold any number of integers."""
NAMED = {"expected": "\N{CHECK MARK}", "actual": "\N{MULTIPLICATION X}"}
"""Marks of the cells that two indices name."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --panel: #f6f7f9; --line: #d9dde3; --text: #1b1f24; --soft: #57606a; --link: #0b5cad;
  --good: #1a6b34; --good-back: #e7f4ea; --bad: #a3182b; --bad-back: #fdeaec; --no: #805400; --no-back: #fdf3dc;
  --dead: #6a2a94; --dead-back: #f4eafa; --window: #fff0b3; --window-line: #a77b00; --hatch: #e3e6ea;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --panel: #1d2125; --line: #363c43; --text: #e7eaee; --soft: #a2abb5; --link: #7db7f2;
    --good: #7fd097; --good-back: #173222; --bad: #ff98a3; --bad-back: #421b20; --no: #ecc069; --no-back: #3a2d10;
    --dead: #d5a6f5; --dead-back: #33203f; --window: #4b3d0c; --window-line: #d9ac3b; --hatch: #2a2f35;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 1rem/1.55 system-ui, sans-serif; }
main, header, footer { max-width: 80rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2rem; }
footer { padding-top: 1rem; padding-bottom: 3rem; color: var(--soft); font-size: .875rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .75rem; }
h2 { font-size: 1.3rem; margin: 2.75rem 0 .5rem; overflow-wrap: anywhere; }
h3 { font-size: 1.0625rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
p { margin: .5rem 0; max-width: 46rem; overflow-wrap: anywhere; }
a { color: var(--link); text-underline-offset: .15em; }
a:focus-visible, .scroll:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
code { font: .9em/1.4 ui-monospace, "Liberation Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.outcome { font-size: 1.125rem; padding: .75rem 1rem; border-left: .3rem solid var(--good);
  background: var(--good-back); max-width: none; margin: 0 0 1rem; }
.outcome.differs { border-color: var(--bad); background: var(--bad-back); }
.outcome.refuses { border-color: var(--no); background: var(--no-back); }
.soft { color: var(--soft); }
.small { font-size: .875rem; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .2rem 1rem; margin: .75rem 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; max-width: 100%; }
.matrix { border-collapse: collapse; font-size: .9375rem; margin: .5rem 0; }
.matrix th, .matrix td { border-bottom: 1px solid var(--line); padding: .4rem .6rem .4rem 0; text-align: left;
  vertical-align: top; }
.matrix thead th { vertical-align: bottom; border-bottom: 2px solid var(--line); }
.matrix thead span { max-width: 7rem; }
.matrix thead span, .matrix tbody th span { display: block; font-weight: normal; font-size: .8125rem;
  color: var(--soft); }
.matrix tbody th { font-weight: 600; min-width: 11rem; max-width: 22rem; overflow-wrap: anywhere;
  position: sticky; left: 0; background: var(--page); }
.matrix tbody tr:target { background: var(--panel); }
.mark { display: inline-block; white-space: nowrap; border-radius: .25rem; padding: .05rem .45rem; font-size: .875rem;
  color: var(--good); background: var(--good-back); margin: 0 .2rem .2rem 0; }
.mark.differs { color: var(--bad); background: var(--bad-back); font-weight: 600; }
.mark.special { color: var(--no); background: var(--no-back); font-weight: 600; }
.mark.refuses { color: var(--no); background: var(--no-back); }
.mark.crashes { color: var(--dead); background: var(--dead-back); font-weight: 600; }
.mark.none { color: var(--soft); background: none; padding-left: 0; }
a.mark { text-decoration: underline; }
details { margin: .75rem 0; }
summary { cursor: pointer; color: var(--link); }
.stacked { grid-template-columns: 1fr; gap: 0; max-width: 46rem; }
.stacked dt { margin-top: .6rem; color: var(--text); font-weight: 600; }
ul { margin: .5rem 0; padding-left: 1.25rem; max-width: 60rem; }
li { margin: .2rem 0; overflow-wrap: anywhere; }
.finding { border: 1px solid var(--line); border-radius: .5rem; padding: 1rem 1.25rem; margin: 1rem 0; }
.finding:target { border-color: var(--link); box-shadow: 0 0 0 1px var(--link); }
.finding h3 .mark { vertical-align: .1em; }
figure { margin: 1rem 0; padding: 1rem; background: var(--panel); border-radius: .4rem; }
figcaption { font-size: .875rem; color: var(--soft); margin-top: .75rem; max-width: 46rem; }
.grids { display: flex; flex-wrap: wrap; gap: 1.25rem 2rem; align-items: flex-start; }
.grids > div { max-width: 100%; }
.grid { border-collapse: separate; border-spacing: 2px;
  font: .8125rem/1 ui-monospace, "Liberation Mono", Menlo, Consolas, monospace; font-variant-numeric: tabular-nums; }
.title { font-size: .8125rem; line-height: 1.3; color: var(--soft); margin: 0 0 .3rem; }
.title b { color: var(--text); }
.grid th { font-weight: normal; color: var(--soft); padding: .1rem .25rem; text-align: center; font-size: .75rem; }
.grid td { min-width: 2.4rem; height: 2rem; padding: 0 .35rem; text-align: center; background: var(--page);
  border: 1px solid var(--line); border-radius: .2rem; white-space: nowrap; }
.grid td.padding { background: var(--hatch); border-style: dashed; }
.grid td.beyond { background: none; border-style: dotted; }
.grid td.read { border: 2px solid var(--window-line); background: var(--window); }
.grid td.padding.read, .grid td.beyond.read { background:
  repeating-linear-gradient(135deg, var(--window) 0 5px, var(--hatch) 5px 10px); }
.grid td.differs { border: 2px solid var(--bad); background: var(--bad-back); color: var(--bad); font-weight: 700; }
.grid td.right { border: 2px solid var(--good); background: var(--good-back); color: var(--good); font-weight: 700; }
.grid td.chosen { outline: 2px solid var(--window-line); outline-offset: 1px; }
.key { display: inline-block; width: 1.1rem; height: 1rem; vertical-align: -.15rem; border-radius: .2rem;
  margin-right: .3rem; }
.key.read { border: 2px solid var(--window-line); background: var(--window); }
.key.padding { border: 1px dashed var(--line); background: var(--hatch); }
.key.beyond { border: 1px dotted var(--soft); }
.key.differs { border: 2px solid var(--bad); background: var(--bad-back); }
.key.right { border: 2px solid var(--good); background: var(--good-back); }
.legend { max-width: none; }
.legend > span { margin-right: 1.1rem; display: inline-block; }
@media (max-width: 46rem) { .matrix tbody th { min-width: 8rem; max-width: 11rem; }
  main, header, footer { padding-left: 1rem; padding-right: 1rem; }
  .finding { padding: .75rem .9rem; } figure { padding: .75rem; } }
@media print { .finding { break-inside: avoid; } .scroll { overflow: visible; } }
"""


@dataclass(frozen=True)
class Square:
    """What one runtime made of one row of a matrix.

    Attributes
    ----------
    kind : str
        ``"agrees"``, ``"differs"``, ``"refuses"``, ``"crashes"`` or, where nothing was asked, ``"none"``.
    text : str
        What stands there.
    href : str or None
        What it links to.
    title : str or None
        What is said where one points at it.
    """

    kind: str
    text: str
    href: str | None = None
    title: str | None = None


@dataclass(frozen=True)
class Row:
    """A row of a matrix: a title, a line below it, an address, and for each column what stands there."""

    title: str
    detail: str
    squares: Sequence[Sequence[Square]]
    href: str | None = None


def matrix(corner: str, columns: Sequence[tuple[str, str]], rows: Iterable[Row], label: str) -> Markup:
    """Write a matrix as a table; `columns` are runtimes and their versions."""
    head = tag(
        "tr",
        tag("th", corner, scope="col"),
        *(tag("th", name, tag("span", version), scope="col") for name, version in columns),
    )
    body = [
        tag(
            "tr",
            tag("th", _linked(row.title, row.href), tag("span", row.detail), scope="row"),
            *(tag("td", *map(_mark, squares)) for squares in row.squares),
        )
        for row in rows
    ]
    table = tag("table", tag("thead", head), tag("tbody", *body), class_="matrix")
    return tag("div", table, class_="scroll", role="region", aria_label=label, tabindex=0)


def _mark(square: Square) -> Markup:
    name = "span" if square.href is None else "a"
    return tag(name, square.text, class_=f"mark {square.kind}", href=square.href, title=square.title)


def _linked(text: str, href: str | None) -> str:
    return text if href is None else tag("a", text, href=href)


def references(names: Iterable[str]) -> Markup:
    """Write issues such as ``openvino#35935`` as links."""
    parts: list[str] = []
    for name in names:
        known = name.partition("#")[0] in REPOSITORIES
        parts += [", "] * bool(parts) + [_linked(name, address(name) if known else None)]
    return joined(*parts)


def with_links(text: str) -> Markup:
    """Write a text whose addresses can be followed."""
    parts: list[str] = []
    end = 0
    for match in ADDRESS.finditer(text):
        parts += [text[end : match.start()], tag("a", match[0], href=match[0], rel="noreferrer")]
        end = match.end()
    return joined(*parts, text[end:])


# ---------------------------------------------------------------------------------------------------------------------
# Pictures


def picture(found: Smallest, theirs: str) -> Markup:
    """Draw the smallest input that shows a difference; `theirs` is whose answer differs."""
    drawn = draw(found.case, found.expected, found.actual, found.verdict)
    of = _where_from(found)
    groups = [
        *(_grid(grid, "input", grid.title) for grid in drawn.input),
        *(_grid(grid, "expected", f"{of}expected") for grid in drawn.expected),
        *(_grid(grid, "actual", f"{of}{theirs}") for grid in drawn.actual),
    ]
    shapes = f"Input of shape {found.case.array.shape}, {found.case.array.dtype.name}."
    marks = [cell.named for grid in drawn.input for row in grid.cells for cell in row if cell.named]
    named = [f"{NAMED[whose]} is the cell that the {whose} index names." for whose in " ".join(marks).split()]
    words = [shapes, drawn.window, *named, _difference(found)]
    return tag(
        "figure",
        tag("div", *groups, class_="grids"),
        tag("figcaption", " ".join(filter(None, words))),
    )


def _where_from(found: Smallest) -> str:
    return "indices, " if found.verdict.output else ""


def _difference(found: Smallest) -> str:
    verdict = found.verdict
    if verdict.kind is Kind.CRASHES:
        return f"The process {verdict.sentence}."
    return f"It gives {verdict.sentence}." if verdict.sentence and verdict.kind is not Kind.NAN else ""


def _grid(grid: Grid, role: str, title: str) -> Markup:
    rest = grid.title.partition(",")[2].strip()
    name = title.partition(",")[0] if role == "input" else title
    shown = tag("p", tag("b", f"input {name}" if role == "input" else name), f" {rest}" if rest else "", class_="title")
    head = tag("tr", tag("th"), *(tag("th", str(column), scope="col") for column in grid.columns))
    rows = [
        tag("tr", tag("th", str(row), scope="row"), *(_cell(cell, role) for cell in cells))
        for row, cells in zip(grid.rows, grid.cells, strict=True)
    ]
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="grid", aria_label=f"{name} {rest}".strip())
    return tag("div", shown, table, class_="scroll")


def _cell(cell: Cell, role: str) -> Markup:
    words = [] if cell.place is Place.INSIDE else [cell.place.value]
    notes = []
    if cell.place is not Place.INSIDE:
        notes.append("padding" if cell.place is Place.PADDING else "beyond the declared padding")
    if role == "input" and cell.read:
        words.append("read")
        notes.append("read by the window")
    if role != "input" and cell.differs:
        words.append("differs" if role == "actual" else "right")
        words += ["chosen"] * cell.read
        notes.append("differs" if role == "actual" else "expected")
    notes += [f"named by the {whose} index" for whose in cell.named.split()]
    if cell.exact != cell.text:
        notes.insert(0, cell.exact)
    marks = "".join(NAMED[whose] for whose in cell.named.split())
    text = f"{cell.text} {marks}" if marks else cell.text
    return tag("td", text, class_=" ".join(words) or None, title="; ".join(notes) or None)


MEANINGS = {
    "agrees": "equal, or within what rounding can cause",
    "differs": "another answer",
    "special": "another answer only to NaN, infinities, the largest numbers or denormals",
    "refuses": "no answer, in good order",
    "crashes": "no answer, and no process any more",
}


def marks(names: Iterable[str] = MEANINGS) -> Markup:
    """Say what the marks of a matrix mean."""
    shown = (tag("span", tag("span", name, class_=f"mark {name}"), MEANINGS[name]) for name in names)
    return tag("p", *shown, class_="legend small soft")


LEGEND = tag(
    "p",
    *(
        tag("span", tag("span", class_=f"key {name}", aria_hidden="true"), text)
        for name, text in (
            ("read", "read by the window that differs"),
            ("padding", "padding"),
            ("beyond", "beyond the declared padding"),
            ("right", "expected"),
            ("differs", "differs"),
        )
    ),
    class_="legend small soft",
)


# ---------------------------------------------------------------------------------------------------------------------
# Pages


def node_of(node: onnx.NodeProto, opset: int) -> Markup:
    """Write a node as a person would, and not without end."""
    text = f"{shown_node(node)}, opset {opset}"
    return tag("code", text if len(text) <= LONGEST_NODE else f"{text[: LONGEST_NODE - 1]}…")


def facts(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Write what is known, name by name; what is empty is left out."""
    return tag("dl", *(joined(tag("dt", name), tag("dd", text)) for name, text in pairs if text))


def rules_in_words(keys: Iterable[str]) -> Markup:
    """Write what rules say, and where they stand."""
    entries = [
        joined(
            tag("dt", tag("code", key)),
            tag("dd", RULES[key].text, tag("br"), tag("span", with_links(RULES[key].source), class_="small soft")),
        )
        for key in keys
    ]
    return tag("details", tag("summary", "What the rules say"), tag("dl", *entries, class_="stacked"))


def document(title: str, *body: str) -> str:
    """Write a page that loads nothing: its policy forbids it."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(STYLE)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', *body), lang='en')}\n"
