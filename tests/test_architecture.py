"""The picture of the architecture is what the sources say."""

from __future__ import annotations

import runpy
from pathlib import Path

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
