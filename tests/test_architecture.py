"""The picture of the architecture is what the sources say."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_picture_of_the_architecture() -> None:
    made = runpy.run_path(str(ROOT / "docs/make_architecture.py"))
    content = (ROOT / "docs/architecture.svg").read_text(encoding="utf-8")
    assert content == made["drawing"](), "run `python docs/make_architecture.py`"


def test_every_module_has_a_layer() -> None:
    made = runpy.run_path(str(ROOT / "docs/make_architecture.py"))
    named = {name for layer in made["layers"]() for name in layer} | {"reference", "__init__", "__main__", "_version"}
    folders = {path.parent.name for path in (ROOT / "pooling").glob("*/__init__.py")}
    modules = {path.stem for path in (ROOT / "pooling").glob("*.py")}
    assert modules | folders | {"export"} == named


FOLDERS = [
    path.parent.relative_to(ROOT)
    for top in ("pooling", "export")
    for path in sorted((ROOT / top).rglob("__init__.py"))
    if path.parent != ROOT / "pooling"  # whose modules are the layers of the test above
]
LINE = re.compile(r" *`?(\w+`?/?(?:, `?\w+`?)*)(?: {2,}\S.*)?")
"""A line of a map: names, and behind two spaces what they are."""


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_map_of_a_folder_names_its_modules_and_no_others(folder: Path) -> None:
    text = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    files = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"}
    modules = files | {path.parent.name for path in (ROOT / folder).glob("*/__init__.py")}
    lines = [found[1] for line in text.splitlines() if (found := LINE.fullmatch(line)) and "  " in line]
    mapped = {name for line in lines for name in re.findall(r"\w+", line)}
    assert mapped == modules
