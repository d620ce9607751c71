"""The pages docs/adding-*.md: what they show is what the sources say, and runs."""

from __future__ import annotations

import doctest
import re
import tomllib
from pathlib import Path

import pytest

from pooling.validation.conformance.run import run_conformance
from pooling.validation.known_issues import KNOWN_ISSUES, read_issues

ROOT = Path(__file__).parent.parent
RULE = (ROOT / "docs" / "adding-a-rule.md").read_text(encoding="utf-8")
OPERATOR = (ROOT / "docs" / "adding-an-operator.md").read_text(encoding="utf-8")
RUNTIME = (ROOT / "docs" / "adding-a-runtime.md").read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize("page", [RULE, OPERATOR, RUNTIME])
def test_files_and_tests_that_are_named_exist(page: str) -> None:
    named = [part for part in re.sub(r"```.*?```", "", page, flags=re.DOTALL).split("`")[1::2] if " " not in part]
    assert [path for path in named if "/" in path and not (ROOT / path).exists()] == []
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    assert [name for name in named if name.startswith("test_") and f"def {name}(" not in sources] == []


def test_the_record_that_is_shown_is_that_of_the_source() -> None:
    source = (ROOT / "pooling" / "validation" / "rules" / "support.py").read_text(encoding="utf-8")
    shown = blocks(RULE, "python")
    assert len(shown) == 3
    for block in shown:
        assert block.rstrip() in source


def test_the_calls_that_are_shown_give_what_is_shown() -> None:
    test = doctest.DocTestParser().get_doctest(RULE, {}, "adding-a-rule", None, None)
    assert len(test.examples) > 10
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_issue_that_is_shown_is_known() -> None:
    (shown,) = blocks(RULE, "toml")
    versions = "[measured]\ntract = ['0.23.9']\n"
    (issue,) = read_issues(versions + shown)[1]
    assert repr(issue) in map(repr, KNOWN_ISSUES)
    assert tomllib.loads(shown)["issue"][0]["rule"] == issue.rule


def outcomes(rule: str) -> dict[str, int]:
    report = run_conformance(["sliding:SlidingWindows"], rules=[rule], known=False)
    broken = {outcome.rule for outcome in report.outcomes["sliding:SlidingWindows"] if outcome.verdict.kind.differs}
    assert broken <= {rule}
    return report.counts(rule, "sliding:SlidingWindows")


def test_the_runtime_that_is_shown_runs_and_its_mistake_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter, mended = blocks(RUNTIME, "python")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "sliding.py"
    path.write_text(adapter, encoding="utf-8")
    wrong = outcomes("padding-excluded")
    assert wrong["differs"] > 0
    (line,) = [line for line in adapter.splitlines(keepends=True) if "np.pad(" in line]
    path.write_text(adapter.replace(line, mended), encoding="utf-8")
    right = outcomes("padding-excluded")
    assert right == {**wrong, "agrees": wrong["agrees"] + wrong["differs"], "differs": 0}
    assert outcomes("window-count")["differs"] == 0


def test_the_operators_that_are_shown_are_those_of_the_sources() -> None:
    files = [path for folder in ("pooling", "export") for path in (ROOT / folder).rglob("*.py")]
    sources = "".join(path.read_text(encoding="utf-8") for path in files)
    kernels, doctor = OPERATOR.split("# An operator of the doctor")
    shown = [block for block in re.findall(r"```\n(.*?)```", kernels, re.DOTALL) if not block.startswith("python")]
    assert len(shown) == 6
    assert len(blocks(doctor, "python")) == 3
    for block in (*shown, *blocks(doctor, "python")):
        assert " ".join(block.split()) in " ".join(sources.split())


def test_the_record_of_the_doctor_that_is_shown_does_what_the_doctor_does(monkeypatch: pytest.MonkeyPatch) -> None:
    from pooling.doctor import read
    from pooling.doctor.operators import OPERATORS, resize

    before = read("conv3x8 unshuffle2 conv3", (1, 3, 8, 12))
    monkeypatch.delitem(OPERATORS, "SpaceToDepth")
    assert read("conv3x8 unshuffle2", (1, 3, 8, 12)).stages[-1].kind == "unknown"
    exec(blocks(OPERATOR, "python")[0], dict(vars(resize)))
    assert read("conv3x8 unshuffle2 conv3", (1, 3, 8, 12)) == before


def test_the_calls_of_the_doctor_that_are_shown_give_what_is_shown() -> None:
    test = doctest.DocTestParser().get_doctest(OPERATOR, {}, "adding-an-operator", None, None)
    assert len(test.examples) == 4
    assert doctest.DocTestRunner().run(test).failed == 0
