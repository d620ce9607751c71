"""Draw docs/architecture.svg: the layers that import-linter holds, and the way of a call through the lowest of them.

The layers are those of pyproject.toml and what they are for is the first line of each docstring, so that the picture
cannot say anything else than the code: ``python docs/make_architecture.py``.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WIDTH, LEFT, RIGHT = 1150, 660, 690
ROW, GAP, TOP = 30, 9, 48
COLOURS = {"cli": "#f1f5f9", "benchmark": "#dcfce7", "families": "#fde68a", "geometry": "#fde68a"}
STYLE = (
    ".t{font-size:17px;font-weight:bold;fill:#0f172a}.b{font-size:13.5px;font-weight:bold;fill:#0f172a}"
    ".l{font-size:12.5px;fill:#334155}.c{font-size:12.5px;fill:#334155;text-anchor:middle}"
    ".a{stroke:#334155;stroke-width:1.6}"
)
LONGEST = 62
WAY = (
    ("max_pool2d(x, 3, 2, 1)", "families/extremes.py: one definition, ranked", "#fde68a"),
    ("signature", "pyx/core.pyx: was there such a call?", "#bfdbfe"),
    ("geometry", "else geometry.py: windows of every axis", "#fde68a"),
    ("plan", "plan.py, then _core.Plan: axes as loops read them", "#bfdbfe"),
    ("strategy", "strategies.pxi: the first that fits the plan", "#bfdbfe"),
    ("leaves", "tables.pxi: typed loops over rows, on every thread", "#bfdbfe"),
)


def layers() -> list[list[str]]:
    """Return the layers of the package, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(each for each in settings["tool"]["importlinter"]["contracts"] if each["id"] == "layers")
    return [[name.strip() for name in layer.replace(":", "|").split("|")] for layer in contract["layers"]]


def source_of(name: str) -> Path:
    """Return the file with the docstring of a module of the package."""
    folder = ROOT / "export" if name == "export" else ROOT / "pooling" / name
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def purpose(name: str) -> str:
    """Return the first sentence of a module's docstring, cut at the first colon or full stop."""
    text = ast.get_docstring(ast.parse(source_of(name).read_text(encoding="utf-8"))) or ""
    line = " ".join(text.split("\n\n")[0].split())
    line = line.split(". ")[0].rstrip(".")
    if len(line) > LONGEST:
        line = line.split(":")[0]
    if len(line) > LONGEST:
        line = line[:LONGEST].rsplit(" ", 1)[0].rstrip(",;") + " ..."
    return line


def shown(name: str) -> str:
    """Return a module as people find it."""
    folder = source_of(name).name == "__init__.py"
    return ("export/" if name == "export" else f"pooling/{name}/") if folder else f"pooling/{name}.py"


def rectangle(x: float, y: float, width: float, height: float, fill: str) -> str:
    """Draw a box."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="7" fill="{fill}" stroke="#334155"'
        ' stroke-width="1.3"/>'
    )


def text(x: float, y: float, kind: str, content: str) -> str:
    """Write a line."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(content, quote=False)}</text>'


def arrow(x: float, begin: float, end: float) -> str:
    """Draw an arrow that points down."""
    return f'<line x1="{x:g}" y1="{begin:g}" x2="{x:g}" y2="{end:g}" class="a" marker-end="url(#m)"/>'


def drawn_layers() -> Iterator[str | float]:
    """Draw the layers from top to bottom; the last item is where they end."""
    yield text(24, 32, "t", "Layers: each imports only what lies below it")
    y: float = TOP
    for layer in layers():
        height = ROW + 20 * (len(layer) - 1)
        fill = next((COLOURS[name] for name in layer if name in COLOURS), "#dcfce7" if y < 300 else "#f1f5f9")
        yield rectangle(24, y, LEFT - 24, height, fill)
        for row, name in enumerate(layer):
            yield text(36, y + 20 + 20 * row, "b", shown(name))
            yield text(236, y + 20 + 20 * row, "l", purpose(name))
        y += height + GAP
    yield rectangle(24, y, LEFT - 24, ROW, "#bfdbfe")
    yield text(36, y + 20, "b", "pyx/")
    yield text(236, y + 20, "l", "Cython and C: _core once, _kernels_<level> per instruction set")
    y += ROW + GAP
    yield rectangle(24, y, LEFT - 24, ROW, "#fae8ff")
    yield text(36, y + 20, "b", shown("reference"))
    yield text(236, y + 20, "l", "the oracle: shares nothing with these, is compared with all")
    yield y + ROW


def drawn_way() -> Iterator[str | float]:
    """Draw the way of a call; the last item is where it ends."""
    middle = (RIGHT + WIDTH - 24) / 2
    yield text(RIGHT, 32, "t", "The way of a call")
    y: float = TOP
    for step, (name, where, fill) in enumerate(WAY):
        if step:
            yield arrow(middle, y - 20, y - 2)
        yield rectangle(RIGHT, y, WIDTH - 24 - RIGHT, 46, fill)
        yield f'<text x="{middle:g}" y="{y + 19:g}" class="b" text-anchor="middle">{escape(name)}</text>'
        yield text(middle, y + 37, "c", where)
        y += 66
    cell, x = 26, RIGHT + 16
    yield text(RIGHT, y + 14, "t", "Two leaf loops make every window")
    y += 30
    for row in range(3):
        for column in range(7):
            yield (
                f'<rect x="{x + cell * column:g}" y="{y + 20 * row:g}" width="{cell}" height="20" fill="#dbeafe"'
                ' stroke="#64748b"/>'
            )
    yield text(x + cell * 7 + 16, y + 26, "b", "across rows")
    yield text(x + cell * 7 + 16, y + 44, "l", "k rows become one")
    middle = x + cell * 3.5
    yield arrow(middle, y + 63, y + 81)
    y += 84
    for column in range(7):
        yield f'<rect x="{x + cell * column:g}" y="{y:g}" width="{cell}" height="20" fill="#93c5fd" stroke="#64748b"/>'
    for window in range(3):
        left = x + cell * 2 * window
        yield (
            f'<path d="M{left:g} {y + 22:g} h{cell * 3} L{left + cell * 2:g} {y + 46:g} h{-cell} z" fill="#1d4ed8"'
            ' fill-opacity="0.35"/>'
            f'<rect x="{left + cell:g}" y="{y + 48:g}" width="{cell}" height="20" fill="#1d4ed8"/>'
        )
    yield text(x + cell * 7 + 16, y + 26, "b", "along a row")
    yield text(x + cell * 7 + 16, y + 44, "l", "windows slide over it, in the L1 cache")
    yield text(RIGHT, y + 92, "l", "Same bytes at any number of threads and any instruction-set level.")
    yield y + 96


def drawing() -> str:
    """Return the picture."""
    left, right = list(drawn_layers()), list(drawn_way())
    height = max(float(left.pop()), float(right.pop())) + 24
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}"'
        ' font-family="Helvetica, Arial, sans-serif">',
        "<title>How pooling is built</title>",
        '<defs><marker id="m" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 L10 5 L0 10 z" fill="#334155"/></marker></defs>',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height:g}" fill="white"/>',
    )
    return "\n".join([*head, *map(str, left), *map(str, right), "</svg>", ""])


def main() -> int:
    """Write the picture."""
    (ROOT / "docs/architecture.svg").write_text(drawing(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
