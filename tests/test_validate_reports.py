"""Reports as pages and as JUnit XML, and the smallest inputs in them; runtimes that err are made here."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import subprocess
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from rich.console import Console

from pooling.cli import main
from pooling.onnx_models import function_from_node
from pooling.reporting.html import linked
from pooling.validation import validate
from pooling.validation.benchmark import Times
from pooling.validation.conformance.run import run_conformance
from pooling.validation.inputs.case import make_case
from pooling.validation.inputs.plan import ORDINARY_NUMBERS
from pooling.validation.reduce_findings import alike, smallest_of_rules, with_smallest
from pooling.validation.report.conformance_page import write_conformance
from pooling.validation.report.grids import draw, sketch
from pooling.validation.report.json import as_dict, save_json
from pooling.validation.report.junit import write_junit
from pooling.validation.report.model import FAIL_ON, RepairSummary, Report, also_at
from pooling.validation.report.page import write_page
from pooling.validation.report.parts import references
from pooling.validation.report.table import VERDICTS, print_report
from pooling.validation.rules import RULES
from pooling.validation.runners.results import Result
from pooling.validation.verdicts import Kind, judge
from tests.schemas import check

ERRING = textwrap.dedent(
    '''
    """Runtimes that err, each in its own way."""
    import os
    import signal

    import numpy as np

    from pooling.validation.runners import RUNTIMES, Unsupported


    class Kernels:
        packages = ("numpy",)
        module = ""
        slow = False
        name = "kernels"

        def version(self):
            return "1.0"

        def load(self, threads):
            RUNTIMES["pooling"].load(threads)

        def run(self, model, inputs):
            return RUNTIMES["pooling"].run(model, inputs)


    class LosesNan(Kernels):
        def run(self, model, inputs):
            (value,) = super().run(model, inputs)
            return (np.where(np.isnan(value), np.finfo(value.dtype).min, value).astype(value.dtype),)


    class KeepsLateWindow(Kernels):
        def run(self, model, inputs):
            (value,) = super().run(model, inputs)
            if b"ceil_mode" not in model:
                return (value,)
            behind = [(0, 0), (0, 0), *[(0, 1)] * (value.ndim - 2)]
            return (np.pad(value, behind, constant_values=np.finfo(value.dtype).min),)


    class Dies(Kernels):
        def run(self, model, inputs):
            (array,) = inputs.values()
            if (np.abs(array[np.isfinite(array)]) > 1e30).any():
                os.kill(os.getpid(), signal.SIGFPE)
            return super().run(model, inputs)


    class Refuses(Kernels):
        def run(self, model, inputs):
            raise Unsupported("no <b>pooling</b> today")
    '''
)
RUNTIMES = ["pooling", *(f"erring:{name}" for name in ("KeepsLateWindow", "LosesNan", "Refuses", "Dies"))]
HOSTILE = "<script>alert('x')</script>\"&\x01\x1b[31m\u202e]]>"
SHOWN = "<script>alert('x')</script>\"&\\x01\\x1b[31m\\u202e]]>"


def pooled(path: Path, name: str, **attributes: object) -> Path:
    node = helper.make_node("MaxPool", ["x"], ["y"], name, kernel_shape=[3, 3], strides=[3, 3], **attributes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 5, 5])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)
    imports = [helper.make_opsetid("", 22)]
    onnx.save(helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=imports, ir_version=10), path)
    return path


@pytest.fixture(scope="module")
def erring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Let processes find the runtimes that err."""
    folder = tmp_path_factory.mktemp("runtimes")
    folder.joinpath("erring.py").write_text(ERRING)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


@pytest.fixture(scope="module")
def report(erring: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Make the report of two models, one with a hostile name in it, and one file that is none."""
    folder = tmp_path_factory.mktemp("models")
    folder.joinpath("broken.onnx").write_bytes(b"no model")
    models = [
        pooled(folder / "ceil.onnx", "pool1", pads=[1, 1, 1, 1], ceil_mode=1),
        pooled(folder / "hostile.onnx", HOSTILE),
        folder / "broken.onnx",
    ]
    return with_smallest(validate(models, runtimes=RUNTIMES, rounds=0, threads=1, repair=False))


# ---------------------------------------------------------------------------------------------------------------------
# Smallest inputs


def test_each_finding_gets_the_smallest_input_that_shows_it(report: Report) -> None:
    shown = {
        (found.runtime.partition(":")[2], found.rule or found.verdict.kind): found.smallest
        for found in report.findings
        if found.smallest is not None
    }
    late = shown["KeepsLateWindow", "ceil-last-window"]
    # Three cells and a row of them would do without the window that is too many.
    assert late.case.array.size <= 4
    assert late.verdict.kind is Kind.SHAPE
    lost = shown["LosesNan", "nan-propagates"]
    np.testing.assert_array_equal(lost.case.array, np.full((1, 1, 1, 1), np.nan))
    assert [each.verdict.sentence for key, each in shown.items() if key[0] == "Dies"] == ["was killed by SIGFPE"]
    assert not any(key[0] == "Refuses" for key in shown)


def test_findings_that_are_alike_have_one_smallest_input(report: Report) -> None:
    groups = alike(report.findings)
    assert sum(map(len, groups)) == len(report.findings)
    for group in groups:
        assert len({(found.runtime, found.rule, found.verdict.kind) for found in group}) == 1
        assert [found.smallest for found in group[1:]] == [None] * (len(group) - 1)
    lost = next(group for group in groups if group[0].rule == "nan-propagates")
    assert [found.node for found in lost] == ["pool1", HOSTILE]


def test_the_smallest_input_shows_the_rule_where_nothing_else_did(report: Report, erring: Path) -> None:
    model = report.models[0]
    late = next(found for found in report.findings if found.rule == "ceil-last-window")
    stage = replace(model.nodes[0], findings=(replace(late, rule=None, smallest=None),))
    (found,) = with_smallest(replace(report, models=[replace(model, nodes=[stage])])).findings
    assert found.rule == "ceil-last-window"
    assert found.smallest is not None


def test_smallest_inputs_are_in_the_json(report: Report, tmp_path: Path) -> None:
    save_json(report, tmp_path / "report.json")
    content = json.loads((tmp_path / "report.json").read_text())
    findings = [each for model in content["models"] for stage in model["nodes"] for each in stage["findings"]]
    assert len(findings) == len(report.findings)
    lost = next(each for each in findings if each["rule"] == "nan-propagates")
    assert lost["smallest"] == {
        "sentence": "NaN not propagated at (0, 0, 0, 0): -3.4028235e+38 instead of nan",
        "runs": lost["smallest"]["runs"],
        "shape": [1, 1, 1, 1],
        "dtype": "float32",
        "input": [[[["nan"]]]],
    }
    assert next(each for each in findings if each["kind"] == "refuses")["smallest"] is None


# ---------------------------------------------------------------------------------------------------------------------
# The page


class Page(HTMLParser):
    """A page as a reader sees it: texts, and what it would load."""

    VOID = frozenset({"br", "meta"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.cells: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open or "script" in self.open:
            return
        self.texts.append(data)
        if {"td", "th"} & {*self.open}:
            self.cells[-1][-1] += f"{data} "

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def values(self, name: str) -> list[str]:
        return [value for _, key, value in self.attributes if key == name]


@pytest.fixture(scope="module")
def html(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(report, path)
    return path


@pytest.fixture(scope="module")
def page(html: Path) -> Page:
    return Page(html.read_text(encoding="utf-8"))


def test_a_page_loads_nothing_and_runs_nothing(page: Page) -> None:
    assert not {"script", "img", "link", "iframe", "object", "form", "base"} & page.names.keys()
    assert page.values("src") == []
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert all(tag == "a" for tag, name, _ in page.attributes if name == "href")
    assert {re.split("[:/#]", value)[0] for value in page.values("href")} <= {"", "https"}
    assert "default-src 'none'; style-src 'unsafe-inline'" in page.values("content")


def test_a_page_leads_from_marks_to_findings(page: Page) -> None:
    ids = page.values("id")
    assert len(ids) == len(set(ids)) > 0
    targets = {value.removeprefix("#") for value in page.values("href") if value.startswith("#")}
    assert targets <= {*ids}
    assert {each for each in ids if each.startswith("finding-")} == targets


def test_a_page_says_what_each_runtime_makes_of_each_stage(page: Page, report: Report) -> None:
    heads = [row for row in page.cells if row[0].strip() == "node"]
    assert len(heads) == 2
    names = [cell.split()[0] for cell in heads[0][1:]]
    assert names == list(report.runtimes) == RUNTIMES
    (row,) = (row for row in page.cells if row[0].startswith("pool1 "))
    assert row[0] == "pool1 MaxPool 3×3, 1×2×5×5 → 1×2×2×2 "
    assert [cell.strip() for cell in row[1:]] == ["agrees", "differs", "special", "refuses", "crashes"]


def test_a_page_says_which_rules_are_broken(page: Page) -> None:
    rows = {row[0].split()[0]: [cell.strip() for cell in row[1:]] for row in page.cells if row and row[0]}
    assert rows["ceil-last-window"] == ["agrees", "differs", "agrees", "no answer", "agrees"]
    # Where the shape is wrong, nothing can be said of what is in it.
    assert rows["window-count"][:2] == ["agrees 2", "agrees 1 unclear"]
    assert rows["nan-propagates"] == ["agrees 2", "agrees 1 unclear", "special 2", "no answer", "agrees 2"]


def test_a_page_tells_each_finding_with_its_rule_and_its_picture(page: Page, report: Report) -> None:
    text = page.text
    for group in alike(report.findings):
        assert " ".join(group[0].sentence.replace(HOSTILE, SHOWN).split()) in text
    assert RULES["ceil-last-window"].text in text
    assert "https://onnx.ai/onnx/operators/onnx__MaxPool.html" in page.values("href")
    classes = Counter(word for value in page.values("class") for word in value.split())
    assert classes["finding"] == len(alike(report.findings))
    assert page.names["figure"] == sum(group[0].counts_as != "refuses" for group in alike(report.findings))
    assert {"read", "padding", "beyond", "right", "differs"} <= classes.keys()
    assert f"also at {report.models[1].path}: {' '.join(SHOWN.split())}" in text
    assert "not read" in text  # the file that is no model


def test_where_else_a_finding_is_names_each_node_once(report: Report) -> None:
    group = max(alike(report.findings), key=len)
    first = group[0]
    # Several cases that show the same of one node are one place, and not another.
    assert also_at([first, first, replace(first)], 3) == ""
    other, elsewhere = replace(first, node="other"), replace(first, node="far", path="b.onnx")
    assert also_at([first, other, first, other, elsewhere], 3) == "other; b.onnx: far"
    assert also_at([first, other, elsewhere], 1) == "other and 1 more"


@pytest.mark.parametrize(
    ("left", "sentence"),
    [
        ((), "pooling repair changes 1 thing, and all runtimes that ran it again agree on the repaired model"),
        (("a refuses p",), "pooling repair changes 1 thing; 1 of 2 findings remains: a refuses p"),
        (("a refuses p", "b"), "pooling repair changes 1 thing; 2 of 2 findings remain: a refuses p, and 1 more"),
    ],
)
def test_what_is_left_after_a_repair_is_named(left: tuple[str, ...], sentence: str) -> None:
    assert RepairSummary(("p: ceil_mode",), True, "proven", 2, len(left), left).sentence == sentence


def test_the_summary_tells_of_stages_that_a_runtime_refuses(report: Report) -> None:
    refused = [each for each in report.nodes if any(one.counts_as == "refuses" for one in each.findings)]
    assert refused
    assert f"{len(refused)} node{'s are' if len(refused) > 1 else ' is'} refused by a runtime" in report.summary()


def test_names_of_models_are_text_on_a_page(html: Path, page: Page) -> None:
    content = html.read_text(encoding="utf-8")
    assert "<script" not in content
    assert not {"\x01", "\x1b", "\u202e"} & {*content}
    assert " ".join(SHOWN.split()) in page.text
    assert "no <b>pooling</b> today" in page.text


def test_addresses_can_be_followed_and_nothing_else() -> None:
    assert linked("see https://onnx.ai/a_(b).html, or <x>") == (
        'see <a href="https://onnx.ai/a_(b).html" rel="noreferrer">https://onnx.ai/a_(b).html</a>, or &lt;x&gt;'
    )
    assert linked("javascript:alert(1)") == "javascript:alert(1)"
    assert references(["openvino#35935", "unknown#1", "<b>#2"]) == (
        '<a href="https://github.com/openvinotoolkit/openvino/issues/35935">openvino#35935</a>, unknown#1, &lt;b&gt;#2'
    )


def test_a_page_without_anything(report: Report, tmp_path: Path) -> None:
    write_page(replace(report, models=[]), tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "there is no pooling to compare in 0 models." in page.text
    empty = replace(report.models[0], nodes=[])
    write_page(replace(report, models=[empty]), tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "There are no pooling nodes in it." in page.text


def chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(chromium() is None, reason="there is no chromium")
def test_a_browser_shows_the_page(html: Path, page: Page, tmp_path: Path) -> None:
    switches = (
        *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync", f"user-data-dir={tmp_path}"),
        "dump-dom",
    )
    command = [chromium() or "", *(f"--{switch}" for switch in switches), html.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    # The browser's own reading of the page gives the same elements and texts: nothing was closed, moved or run.
    seen = Page(shown.partition("<!DOCTYPE html>")[2])
    assert seen.names == page.names
    assert seen.text == page.text
    assert seen.cells == page.cells


# ---------------------------------------------------------------------------------------------------------------------
# The page of the conformance suite


@pytest.fixture(scope="module")
def table(erring: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    rules = ["ceil-last-window", "same-lower-pads-begin"]
    found = run_conformance(["pooling", "erring:KeepsLateWindow"], rules=rules, known=False)
    examples = smallest_of_rules(found)
    assert [*examples] == [("ceil-last-window", "erring:KeepsLateWindow")]
    assert examples["ceil-last-window", "erring:KeepsLateWindow"].case.array.size <= 4
    path = tmp_path_factory.mktemp("table") / "table.html"
    write_conformance(found, path, examples)
    write_conformance(found, path.with_name("plain.html"))
    assert Page(path.with_name("plain.html").read_text(encoding="utf-8")).names["figure"] == 0
    return Page(path.read_text(encoding="utf-8"))


def test_the_truth_table_counts_cases_by_rule_and_runtime(table: Page) -> None:
    rows = {row[0].split()[0]: [cell.split() for cell in row[1:]] for row in table.cells if row and row[0]}
    assert [cell[0] for cell in rows["rule"]] == ["pooling", "erring:KeepsLateWindow"]
    ours, theirs = rows["ceil-last-window"]
    assert ours[1:] == ["agrees"]
    counts = dict(zip(theirs[1::2], map(int, theirs[::2]), strict=True))
    assert counts["differs"] > 0
    assert sum(counts.values()) == int(ours[0])
    assert {cell[1] for cell in rows["same-lower-pads-begin"]} == {"agrees"}


def test_the_truth_table_draws_who_breaks_what(table: Page) -> None:
    assert table.names["article"] == table.names["figure"] == 1
    assert "erring:KeepsLateWindow 1.0 breaks ceil-last-window: shape " in table.text
    assert RULES["ceil-last-window"].text in table.text
    assert "pooling itself keeps every rule." in table.text
    assert {value for value in table.values("href") if value.startswith("#")} == {f"#{table.values('id')[0]}"}
    assert table.values("src") == []


# ---------------------------------------------------------------------------------------------------------------------
# JUnit XML

ATTRIBUTES = {
    "testsuites": set[str](),
    "testsuite": {"name", "package", "id", "timestamp", "hostname", "tests", "failures", "errors", "skipped", "time"},
    "properties": set[str](),
    "property": {"name", "value"},
    "testcase": {"name", "classname", "time"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
    "skipped": {"type", "message"},
    "system-out": set[str](),
    "system-err": set[str](),
}
"""What the schema of Apache Ant asks for and that of Jenkins' xUnit plugin has, too."""


def checked(path: Path) -> Xml.Element:
    """Check a file against what the schemas say, in the order in which they say it."""
    root = Xml.parse(path).getroot()
    assert root.tag == "testsuites"
    for element in root.iter():
        assert set(element.attrib) == ATTRIBUTES[element.tag]
    for number, suite in enumerate(root):
        assert suite.tag == "testsuite"
        assert int(suite.attrib["id"]) == number
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
        assert float(suite.attrib["time"]) >= 0
        assert all(suite.attrib[name].strip() for name in ("name", "package", "hostname"))
        tags = [child.tag for child in suite]
        cases = suite.findall("testcase")
        assert tags == ["properties", *["testcase"] * len(cases), "system-out", "system-err"]
        assert all(each.attrib["name"].strip() for each in suite.iter("property"))
        assert len({(case.attrib["classname"], case.attrib["name"]) for case in cases}) == len(cases)
        assert all(len(case) <= 1 and not (case.text or "").strip() for case in cases)
        assert all(case.attrib["classname"].strip() and case.attrib["name"].strip() for case in cases)
        outcomes = Counter(child.tag for case in cases for child in case)
        assert int(suite.attrib["tests"]) == len(cases)
        for plural, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.attrib[plural]) == outcomes[tag]
    return root


def outcomes(suite: Xml.Element) -> dict[str, str]:
    return {case.attrib["name"]: case[0].tag if len(case) else "passed" for case in suite.iter("testcase")}


def test_junit_has_a_suite_for_each_model_and_a_case_for_each_stage_and_runtime(report: Report, tmp_path: Path) -> None:
    write_junit(report, tmp_path / "junit.xml")
    ceil, hostile, broken = checked(tmp_path / "junit.xml")
    assert ceil.attrib["package"] == "ceil"
    assert ceil.attrib["name"] == report.models[0].path
    assert outcomes(ceil) == {
        "MaxPool pool1 in pooling": "passed",
        "MaxPool pool1 in erring:KeepsLateWindow": "failure",
        "MaxPool pool1 in erring:LosesNan": "passed",
        "MaxPool pool1 in erring:Refuses": "skipped",
        "MaxPool pool1 in erring:Dies": "error",
    }
    properties = {each.attrib["name"]: each.attrib["value"] for each in ceil.iter("property")}
    assert properties["runtime erring:LosesNan"] == "1.0"
    assert outcomes(hostile)[f"MaxPool {SHOWN} in erring:KeepsLateWindow"] == "passed"
    assert outcomes(broken) == {"read the model": "error"}


def test_junit_tells_the_sentence_the_rule_and_the_source(report: Report, tmp_path: Path) -> None:
    write_junit(report, tmp_path / "junit.xml")
    (ceil, *_) = checked(tmp_path / "junit.xml")
    (failure,) = ceil.iter("failure")
    assert failure.attrib["type"] == "ceil-last-window"
    assert failure.attrib["message"].startswith(
        "erring:KeepsLateWindow 1.0 breaks ceil-last-window at node pool1: shape "
    )
    assert "Rule: With ceil_mode=1 a window that would start" in (failure.text or "")
    assert "Source: ONNX MaxPool-22" in (failure.text or "")
    assert "input  " in (failure.text or "")  # a picture, as text
    assert "is computed from" in (failure.text or "")
    (error,) = ceil.iter("error")
    assert error.attrib["message"].endswith("it was killed by SIGFPE")
    # What does not count is told all the same.
    assert "erring:LosesNan 1.0 breaks nan-propagates at node pool1" in (ceil.findtext("system-out") or "")


@pytest.mark.parametrize(
    ("fail_on", "special", "refusal"),
    [((), "passed", "skipped"), (("special",), "failure", "skipped"), (("differs", "refuses"), "passed", "failure")],
)
def test_junit_fails_on_what_the_report_fails_on(
    report: Report, tmp_path: Path, fail_on: tuple[str, ...], special: str, refusal: str
) -> None:
    write_junit(replace(report, fail_on=fail_on), tmp_path / "junit.xml")
    (ceil, *_) = checked(tmp_path / "junit.xml")
    found = outcomes(ceil)
    assert found["MaxPool pool1 in erring:LosesNan"] == special
    assert found["MaxPool pool1 in erring:Refuses"] == refusal
    assert found["MaxPool pool1 in erring:Dies"] == "error"


def test_junit_tells_nodes_of_one_name_apart(report: Report, tmp_path: Path) -> None:
    model = report.models[0]
    write_junit(replace(report, models=[replace(model, nodes=model.nodes * 2)]), tmp_path / "junit.xml")
    (suite,) = checked(tmp_path / "junit.xml")
    assert "MaxPool pool1 in pooling (2)" in outcomes(suite)


def test_junit_tells_what_could_not_be_run(report: Report, tmp_path: Path) -> None:
    model = report.models[0]
    stages = [replace(model.nodes[0], summaries={}, findings=(), problem="its shape is not known")]
    write_junit(replace(report, models=[replace(model, path="", nodes=stages)]), tmp_path / "junit.xml")
    (suite,) = checked(tmp_path / "junit.xml")
    (error,) = suite.iter("error")
    assert (error.attrib["type"], error.attrib["message"]) == ("not run", "its shape is not known")


# ---------------------------------------------------------------------------------------------------------------------
# Files


@pytest.mark.parametrize("write", [write_page, write_junit])
def test_files_are_written_whole_or_not_at_all(write: object, report: Report, tmp_path: Path) -> None:
    assert callable(write)
    path = tmp_path / "report"
    path.write_text("before")
    link = tmp_path / "link"
    link.symlink_to(path)
    write(report, link)
    assert link.is_symlink()
    assert path.read_text(encoding="utf-8").startswith("<")
    assert sorted(tmp_path.iterdir()) == [link, path]
    with pytest.raises(OSError, match=r"."):
        write(report, tmp_path)
    with pytest.raises(FileNotFoundError):
        write(report, tmp_path / "nowhere" / "report")


# ---------------------------------------------------------------------------------------------------------------------
# The guide

GUIDE = (Path(__file__).parent.parent / "docs" / "validate.md").read_text(encoding="utf-8")


def test_the_examples_of_the_guide_do_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printing, writing = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    printed = re.search(r"prints\n\n```\n(same-uses.*?)```", GUIDE, re.DOTALL)
    assert printed is not None
    output = io.StringIO()
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(output):
        exec(printing, names)  # the code under test is the guide's
    assert output.getvalue() == printed[1]
    exec(writing, names)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "classifier.onnx",
        *(f"pooling.{kind}" for kind in ("html", "json", "xml")),
    ]


def keys(value: object, path: str = "") -> Iterator[str]:
    """Yield the names of all fields, without those that are names of runtimes, tensors or verdicts."""
    by_name = {"runtimes", "cases", "findings", "shapes", "input_shapes", "seconds"}
    if isinstance(value, dict):
        for key, part in value.items():
            if path not in by_name:
                yield key
            yield from keys(part, key if path not in by_name else "")
    elif isinstance(value, list):
        for part in value:
            yield from keys(part)


def test_the_guide_says_what_every_field_of_the_json_is(report: Report) -> None:
    described = {word for line in GUIDE.splitlines() if line.startswith("|") for word in re.findall(r"`(\w+)`", line)}
    found = {*keys(as_dict(report))}
    assert {"schema", "nodes", "counts_as", "smallest", "limit_memory", "largest_ulp"} <= found
    assert found - described == set()
    assert as_dict(report)["schema"] == "pooling-validation/2"
    assert '`"pooling-validation/2"`' in GUIDE


def test_names_of_files_move_no_cursor(report: Report) -> None:
    name = "c\x1b[31m\r\x9b2J\u202e"
    models = [
        replace(model, path=f"{name}.onnx", notes=(f"input {name}",), unasked=(f"node {name}",))
        for model in report.models
    ]
    models.append(replace(models[0], nodes=[], unasked=()))
    console = Console(file=io.StringIO(), width=200)
    print_report(replace(report, models=models), console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert shown.count("c\\x1b[31m") > 5
    assert [sign for sign in shown if not sign.isprintable() and sign != "\n"] == []


@pytest.mark.parametrize("changed", ["as it is", "not run", "not run in full", "refused by all others", "timed"])
def test_a_quantity_is_one_number_in_terminal_page_and_json(report: Report, changed: str, tmp_path: Path) -> None:
    ceil, *others = report.models
    (stage,) = ceil.nodes
    if changed == "not run":
        stage = replace(stage, summaries={}, findings=(), problem="the oracle refuses it (as it likes)")
    elif changed == "not run in full":
        stage = replace(stage, problem="its activations are not known")
    elif changed == "refused by all others":
        kept = tuple(each for each in stage.findings if each.verdict.kind is Kind.REFUSES)
        agreeing = replace(stage.summaries["pooling"], largest_difference=1.25e-7, share_of_bound=0.5)
        summaries = {name: opinion for name, opinion in stage.summaries.items() if opinion.verdict == "refuses"}
        stage = replace(stage, findings=kept, summaries={"pooling": agreeing, **summaries}, problem="all refuse it")
    elif changed == "timed":
        times = {"pooling": Times(20.4e-6, 19e-6), "onnxruntime": Times(50.2e-6, 48e-6)}
        agreeing = replace(stage.summaries["pooling"], largest_difference=1.25e-7, share_of_bound=0.5)
        stage = replace(stage, summaries={"pooling": agreeing}, findings=(), times=times)
    report = replace(report, models=[replace(ceil, nodes=[stage]), *others])
    write_page(report, tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    console = Console(file=io.StringIO(), width=300)
    print_report(report, console)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    written = as_dict(report)
    stages = [each for model in written["models"] for each in model["nodes"]]
    summary = written["summary"]
    assert summary["nodes"] == len(stages) == summary["equal"] + summary["differ"] + summary["not_run"]
    for verdict, key in (("equal", "equal"), ("differs", "differ"), ("not run", "not_run")):
        assert sum(each["verdict"] == verdict for each in stages) == summary[key]  # type: ignore[literal-required]
    assert summary["sentence"] == report.summary() == lines[1]
    assert f"{summary['sentence']}." in page.text
    if summary["differ"]:
        assert f": {summary['differ']} differ" in summary["sentence"]
    if summary["not_run"]:
        assert f"{summary['not_run']} node" in summary["sentence"]
    # What each runtime makes of each stage, and how many findings there are.
    for name, each in zip(("pool1", SHOWN), stages, strict=True):
        runtimes = each["runtimes"]
        (row,) = [row for row in page.cells if row[0].startswith(name[:20])]
        (line,) = [line for line in lines if line.split()[:1] == [name[:20]] or line.strip().startswith(name[:20])][:1]
        assert each["verdict"] == "equal" or f" {each['verdict']} " in f"{line} "
        if each["verdict"] == "equal" and each["largest_difference"]:
            share = float(each["share_of_bound"] or 0)
            assert f" {float(each['largest_difference']):.1e} {share:.0%} " in f"{line} "
        if each["seconds"]:
            both = [each["seconds"][runtime]["median"] for runtime in ("pooling", "onnxruntime")]
            shown = " ".join(f"{seconds * 1e6:.0f} µs" for seconds in both)
            assert " ".join(line.split()).endswith(f"{shown} {both[1] / both[0]:.1f}×")
            assert summary["geometric_mean_speedup"] == pytest.approx(both[1] / both[0])
            assert f"{summary['geometric_mean_speedup']:.1f}x faster" in summary["sentence"]
        for runtime, cell in zip(report.runtimes, row[1:], strict=True):
            opinion = runtimes.get(runtime)
            if opinion is None or not opinion["cases"]:
                assert cell.strip() in ("not run", "not asked")
                continue
            found = opinion["findings"]
            told = [f"{kind} {count}" if count > 1 else kind for kind, count in found.items() if count]
            assert sorted(told or ["agrees"]) == sorted(re.findall(r"[a-z]+(?: \d+)?", cell))
            assert sum(found.values()) == sum(finding["runtime"] == runtime for finding in each["findings"])
    # The table of the runtimes counts the same verdicts.
    if report.findings:
        (start,) = [number for number, line in enumerate(lines) if line.startswith("runtime ")]
        for runtime, line in zip(report.runtimes, lines[start + 1 :], strict=False):
            verdicts = Counter(each["runtimes"][runtime]["verdict"] for each in stages if runtime in each["runtimes"])
            shown = [int(cell) if cell != "·" else 0 for cell in line.split()[-len(VERDICTS) :]]
            assert dict(zip(VERDICTS, shown, strict=True)) == {name: verdicts[name] for name in VERDICTS}


def test_json_is_as_the_schema_describes_it(report: Report) -> None:
    written = json.loads(json.dumps(as_dict(report), allow_nan=False))
    check("validate", written)
    found = [finding for model in written["models"] for stage in model["nodes"] for finding in stage["findings"]]
    assert any(finding["smallest"] for finding in found)


def test_the_guide_names_what_is_asked_and_what_comes_out() -> None:
    assert GUIDE.count(f"    on: {ORDINARY_NUMBERS}\n") == 2
    assert f"ordinary numbers ({ORDINARY_NUMBERS})" in GUIDE
    rows = [line for line in GUIDE.splitlines() if line.startswith("| `")]
    assert {*FAIL_ON, "agrees"} <= {line.split("`")[1] for line in rows}
    for kind in Kind:
        assert kind is Kind.AGREES or f'`"{kind}"`' in GUIDE


def test_the_guide_knows_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["validate", "--help"])
    options = {*re.findall(r"--[a-z-]+", capsys.readouterr().out)} - {"--help"}
    assert {"--html", "--junit", "--runtimes"} <= options
    assert options - {*re.findall(r"--[a-z-]+", GUIDE)} == set()


def test_the_picture_of_the_guide_is_drawn_so() -> None:
    x = np.array([[[[1, 2]]]], np.float32)
    case = make_case("MaxPool", x, kernel_shape=[3, 3], strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1)
    late = np.array([[[[2, np.finfo(np.float32).min]]]], np.float32)
    expected, actual = Result(function_from_node(case.node, 22)(x)), Result((late,))
    picture = sketch(draw(case, expected, actual, judge(case, expected, actual)))
    assert f"```\n{picture}\n```" in GUIDE


def test_every_file_that_the_guide_links_to_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", GUIDE) if "://" not in link]
    assert links
    assert all((Path(__file__).parent.parent / "docs" / link).exists() for link in links)
