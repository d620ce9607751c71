"""The guide's examples do what the guide says, and every name of ours that a page uses is there."""

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
NAME = re.compile(r"\bpooling(?:\.[A-Za-z]\w*)+")
FILES = {"pooling.xml", "pooling.html", "pooling.json", "pooling.py"}
"""Files that pages write or name."""


def test_the_guide_prints_what_it_shows():
    result = doctest.testfile(str(ROOT / "docs" / "guide.md"), module_relative=False)
    assert result.failed == 0
    assert result.attempted > 50


def test_the_page_of_images_and_the_readme_print_what_they_show():
    page = doctest.testfile(str(ROOT / "docs" / "images.md"), module_relative=False)
    readme = doctest.testfile(
        str(ROOT / "README.md"), module_relative=False, globs={"np": np, "pooling": importlib.import_module("pooling")}
    )
    assert page.failed == readme.failed == 0
    assert page.attempted > 10
    assert readme.attempted > 5


def names():
    found = {}
    for page in PAGES:
        for name in NAME.findall(page.read_text(encoding="utf-8")):
            if name not in FILES:
                found.setdefault(name, page.name)
    return found


@pytest.mark.parametrize("name", sorted(names()))
def test_every_name_of_ours_on_a_page_is_there(name):
    pytest.importorskip("onnx")
    if name.startswith(("pooling.torch", "pooling.benchmark.networks")):
        pytest.importorskip("torch")
    for library in ("dask", "xarray", "zarr"):
        if name.startswith(f"pooling.{library}"):
            pytest.importorskip(library)
    found = importlib.import_module("pooling")
    path = "pooling"
    for part in name.split(".")[1:]:
        path += f".{part}"
        if not hasattr(found, part):
            # A module of a subpackage is imported by its name, as the pages do.
            importlib.import_module(path)
        found = getattr(found, part)


def test_the_calls_that_adding_an_operator_shows_are_those_of_the_sources():
    page = (ROOT / "docs" / "adding-an-operator.md").read_text(encoding="utf-8")
    shown = [block for block in re.findall(r"```\n(.*?)```", page, re.DOTALL) if block.startswith("return pool(")]
    assert shown
    source = " ".join((ROOT / "pooling" / "families" / "extremes.py").read_text(encoding="utf-8").split())
    assert [block for block in shown if " ".join(block.split()) not in source] == []


def in_new_process(code):
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["reference", "export", "validation", "doctor", "onnx_models", "operators", "torch"])
def test_a_module_is_there_after_import_pooling(name):
    if name not in ("reference", "operators", "doctor"):
        pytest.importorskip("torch" if name == "torch" else "onnx")
    done = in_new_process(f"import pooling; print(pooling.{name}.__name__, {name!r} in dir(pooling))")
    assert done.stdout.split() == [f"pooling.{name}", "True"], done.stderr


def test_threads_is_the_function_and_no_module():
    done = in_new_process("import pooling\nwith pooling.threads(1): pass\nimport pooling.threads")
    assert "No module named 'pooling.threads'" in done.stderr


@pytest.mark.parametrize("name", ["export", "validation", "onnx_models"])
@pytest.mark.parametrize("statement", ["import pooling.{}", "import pooling; pooling.{}", "from pooling.{} import x"])
def test_what_to_install_is_said(name, statement):
    done = in_new_process(f"import sys; sys.modules['onnx'] = None; {statement.format(name)}")
    said = done.stderr.strip().splitlines()[-1]
    first = "pooling.onnx_models" if "pooling.onnx_models" in said else f"pooling.{name}"
    assert said == (
        f'ModuleNotFoundError: {first} needs onnx, which is not installed; run pip install "ndpooling[onnx]"'
    )
