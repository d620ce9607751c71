"""The README's examples do what the README says."""

import contextlib
import importlib
import io
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PRINTING, PATCHING, EXPORTING = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_ten_lines_print_what_stands_below_them():
    printed = re.search(r"prints\n\n```\n(.*?)```", README, re.DOTALL)
    # In a process of its own: libraries that other tests import change how arrays are printed.
    output = subprocess.run([sys.executable, "-c", PRINTING], capture_output=True, text=True, check=True).stdout
    assert output == printed.group(1)


def test_the_graphs_are_made_and_saved(tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    names = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(PRINTING + EXPORTING, names)
    assert onnx.load("stem.onnx") == names["model"]
    assert [each.name for each in names["gradient"].graph.input] == ["grad_output", "input"]


def test_the_lines_for_torch_patch_a_network():
    pytest.importorskip("torch")
    importlib.import_module("pooling.benchmark.networks.measure").declare_operators()
    pytest.importorskip("timm")
    assert len(list(filter(None, PATCHING.splitlines()))) == 5
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(PATCHING, {})
    assert re.match(r"1\d modules replaced, \d left", output.getvalue())


@pytest.fixture
def make_doctor():
    pytest.importorskip("onnx")
    pytest.importorskip("rich")
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        return importlib.import_module("make_doctor")
    finally:
        sys.path.pop(0)


def test_the_guide_of_the_doctor_has_the_titles_and_texts_of_the_rules(make_doctor):
    guide = make_doctor.GUIDE.read_text(encoding="utf-8")
    assert make_doctor.guide(guide) == guide
    assert all(rule.text.split()[0] in guide for rule in make_doctor.RULES.values())


def test_the_doctor_says_what_the_readme_shows(make_doctor):
    between = README.split(make_doctor.BEGIN)[1].split(make_doctor.END)[0]
    assert between.lstrip("\n") == make_doctor.shown()


def test_the_first_picture_is_drawn_from_its_layers(make_doctor):
    from pooling.doctor import examine
    from pooling.doctor.report.drawing import drawing

    text = make_doctor.LAYERS.read_text(encoding="utf-8")
    assert text == make_doctor.resnet50()
    drawn = drawing(examine(text, object_size=16, task="detection"))
    root = ElementTree.parse(ROOT / "docs" / "doctor.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    words = [element.text or element[0].tail for element in root.iter(f"{space}text")]
    assert words == [each.words for each in drawn.texts]
    assert root.find(f"{space}title").text == f"{drawn.title}."
    assert re.search(r"\]\(([^)]+\.(?:svg|png))\)", README)[1] == "docs/doctor.svg"


def test_every_file_that_the_readme_links_to_is_there():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert all((ROOT / link).exists() for link in links)
