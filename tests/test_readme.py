"""The README's examples do what the README says."""

import contextlib
import io
import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
PRINTING, EXPORTING = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_ten_lines_print_what_stands_below_them():
    printed = re.search(r"prints\n\n```\n(.*?)```", README, re.DOTALL)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(PRINTING, {})  # the code under test is the README's
    assert output.getvalue() == printed.group(1)


def test_the_graphs_are_made_and_saved(tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    names = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(PRINTING + EXPORTING, names)
    assert onnx.load("stem.onnx") == names["model"]
    assert [each.name for each in names["gradient"].graph.input] == ["grad_output", "input"]


def test_every_file_that_the_readme_links_to_is_there():
    root = Path(__file__).parent.parent
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert all((root / link).exists() for link in links)
