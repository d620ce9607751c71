"""The conformance suite: its cases, the conformance table, the known differences, and the node tests."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import subprocess
import sys
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import onnx.backend.test.runner
import pytest
from onnx.backend.test.loader import load_model_tests
from rich.console import Console

from pooling import cli
from pooling.onnx_models.backend import PoolingBackend
from pooling.validation.conformance.node_tests import node_tests, write_node_tests
from pooling.validation.conformance.run import OUTCOMES, Conformance, run_conformance
from pooling.validation.conformance.suite import conformance_suite
from pooling.validation.inputs.case import Case
from pooling.validation.known_issues import (
    KNOWN_ISSUES,
    KnownIssue,
    Recheck,
    address,
    issues_of,
    read_issues,
    recheck_known_issues,
)
from pooling.validation.report.conformance_markdown import conformance_page, print_conformance
from pooling.validation.report.json import save_json
from pooling.validation.rules import RULES, broken_rule
from pooling.validation.rules.evidence import Setting
from pooling.validation.runners import RUNTIMES, installed
from pooling.validation.runners.results import Result
from pooling.validation.verdicts import Kind, Verdict, judge

ROOT = Path(__file__).parent.parent
ALWAYS = ["onnxruntime", "onnx.reference"]
SMALL = ["ceil-last-window", "valid-with-ceil", "column-major-indices", "no-window-is-rejected"]


@pytest.fixture(scope="module")
def suite() -> tuple[Case, ...]:
    return conformance_suite()


@pytest.fixture(scope="module")
def report() -> Conformance:
    return run_conformance(["pooling", "portable", *ALWAYS], rules=SMALL)


def ask(runtime: str, case: Case) -> Result:
    try:
        return Result(tuple(RUNTIMES[runtime].run(case.model.SerializeToString(), case.inputs)))
    except ValueError as error:
        return Result(unsupported=str(error))


# ---------------------------------------------------------------------------------------------------------------------
# The suite


def test_suite_is_large_and_its_names_are_unique_and_fit_for_files(suite: tuple[Case, ...]) -> None:
    assert len(suite) >= 500
    names = [case.name for case in suite]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9-]{1,120}", name) for name in names)
    assert {case.rules for case in suite} == {(key,) for key in RULES}


def test_models_of_the_suite_are_valid(suite: tuple[Case, ...]) -> None:
    for case in suite:
        # Shape inference refuses what has no window, and what overflows.
        inferred = case.rules[0] not in ("no-window-is-rejected", "overflow-is-rejected")
        onnx.checker.check_model(case.model, full_check=inferred)
        assert len(case.model.graph.node) == 1
        assert [array.shape for array in case.inputs.values()] == [
            tuple(size.dim_value for size in tensor.type.tensor_type.shape.dim) for tensor in case.model.graph.input
        ]


def test_operators_opsets_and_dtypes_of_the_suite(suite: tuple[Case, ...]) -> None:
    pairs = {(case.node.op_type, case.opset) for case in suite}
    for operator, opsets in {"MaxPool": (1, 8, 10, 11, 12, 22), "AveragePool": (1, 7, 10, 11, 19, 22)}.items():
        assert {opset for name, opset in pairs if name == operator} >= set(opsets)
    assert {"LpPool", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool", "MaxUnpool"} <= {name for name, _ in pairs}
    assert {case.array.dtype.name for case in suite} >= {"float16", "float32", "float64", "int8", "uint8"}
    assert {case.array.ndim for case in suite} == {3, 4, 5}


def test_the_same_seed_draws_the_same_cases() -> None:
    def content(seed: int, rules: list[str] | None = None) -> list[tuple[str, bytes, list[bytes]]]:
        return [
            (case.name, case.model.SerializeToString(), [array.tobytes() for array in case.inputs.values()])
            for case in conformance_suite(seed, rules)
        ]

    assert content(0, ["dilation"]) == content(0, ["dilation"]) != content(1, ["dilation"])
    # Rules do not disturb each other's draws.
    assert content(0, ["first-of-ties", "dilation"]) == content(0, ["first-of-ties"]) + content(0, ["dilation"])
    with pytest.raises(ValueError, match=r"conformance_suite: rules='ceil' is not known"):
        conformance_suite(rules=["ceil"])


def test_the_suite_does_not_depend_on_how_strings_are_hashed() -> None:
    code = (
        "from pooling.validation.conformance.suite import conformance_suite\n"
        "print(*(case.name for case in conformance_suite(rules=['empty-window', 'every-dtype'])))"
    )
    names = set()
    for seed in ("1", "2", "3"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        names.add(done.stdout)
    assert len(names) == 1


def test_geometry_brings_no_other_confounder_into_play(suite: tuple[Case, ...]) -> None:
    tested = 0
    for case in suite:
        (key,) = case.rules
        if not RULES[key].confounder:  # windows of others may be written by hand
            continue
        setting = Setting(case.node, case.opset, case.array.shape)
        applying = {each.key for each in RULES.values() if each.confounder and each.applies(setting)}
        assert key in applying, case.name
        assert applying <= {key, *RULES[key].implies}, case.name
        tested += 1
    assert tested > 200


def test_our_kernels_and_the_oracle_agree_on_every_case(suite: tuple[Case, ...]) -> None:
    wrong = []
    for case in suite:
        verdict = judge(case, ask("oracle", case), ask("pooling", case))
        if verdict.kind is not Kind.AGREES:
            wrong.append((case.name, verdict.sentence))
    assert wrong == []


def test_attribution_never_fails_whatever_an_answer_looks_like() -> None:
    rng = np.random.default_rng(0)
    cases = conformance_suite(7)[::20]
    for case in cases:
        expected = ask("pooling", case)
        for _ in range(2 * expected.given):
            outputs = [output.copy() for output in expected.outputs]
            place = int(rng.integers(len(outputs)))
            changed = outputs[place]
            match rng.integers(4):
                case 0:
                    outputs[place] = changed[..., :-1]
                case 1:
                    outputs[place] = np.concatenate([changed, changed], axis=-1)
                case 2:
                    outputs[place] = changed[..., ::-1] + np.asarray(1, changed.dtype)
                case 3:
                    outputs[place] = np.full_like(changed, 3 if changed.dtype.kind in "iu" else np.nan)
            actual = Result(tuple(outputs))
            verdict = judge(case, expected, actual)
            for evidence in (actual, None):
                assert broken_rule(case, expected, verdict, evidence) in {None, *RULES}


# ---------------------------------------------------------------------------------------------------------------------
# The conformance table


def test_matrix_counts_every_case_once(report: Conformance) -> None:
    assert report.rules == tuple(key for key in RULES if key in SMALL)
    for runtime in report.outcomes:
        for rule in report.rules:
            counts = report.counts(rule, runtime)
            assert tuple(counts) == OUTCOMES
            assert sum(counts.values()) == sum(case.rules[0] == rule for case in report.cases)
    assert sum(len(report.of_rule(rule, "pooling")) for rule in report.rules) == len(report.cases)


def test_this_library_keeps_the_rules(report: Conformance) -> None:
    for runtime in ("pooling", "portable"):
        assert {outcome.counts_as for outcome in report.outcomes[runtime]} == {"agrees"}
    assert report.exit_code == 0


def test_differences_of_the_reference_are_found_and_named(report: Conformance) -> None:
    # onnx.reference rounds down; a version that does not is the better one.
    version = report.versions["onnx.reference"]
    if version != "1.23.2":
        pytest.skip(f"measured with onnx 1.23.2, and not {version}")
    for rule in ("valid-with-ceil", "column-major-indices"):
        found = [outcome for _, outcome in report.of_rule(rule, "onnx.reference") if outcome.counts_as == "differs"]
        blamed = [outcome.rule for outcome in found]
        assert blamed.count(rule) > len(found) / 2
        assert set(blamed) <= {rule, None}
    assert report.counts("ceil-last-window", "onnx.reference")["differs"] == 0
    answers = zip(report.cases, report.outcomes["onnx.reference"], strict=True)
    wrong = [(case.rules[0], answer.rule) for case, answer in answers if answer.verdict.kind.differs]
    assert {about for about, broken in wrong if broken != about} <= {"column-major-indices"}


def test_json(report: Conformance, tmp_path: Path) -> None:
    path = tmp_path / "conformance.json"
    save_json(report, path)
    read = json.loads(path.read_text(encoding="utf-8"))
    assert read["schema"] == "pooling-conformance/1"
    assert (
        read["matrix"]["ceil-last-window"]["pooling"]["agrees"]
        == report.counts("ceil-last-window", "pooling")["agrees"]
    )
    assert [case["name"] for case in read["cases"]] == [case.name for case in report.cases]
    assert read["cases"][0]["attributes"]["ceil_mode"] == 1
    assert set(read["cases"][0]["outcomes"]) == set(report.outcomes)
    assert set(read["rules"]) == set(SMALL)
    assert {rule["remedy"] for rule in read["rules"].values()} == {RULES[key].remedy for key in SMALL}
    assert all(entry["rule"] in SMALL for entry in read["known"])


def test_table_in_the_terminal(report: Conformance) -> None:
    console = Console(width=140, record=True, file=io.StringIO())
    print_conformance(report, console)
    text = console.export_text()
    for rule in SMALL:
        assert rule in text
    assert f"{len(report.cases)} cases about 4 rules in 4 runtimes" in text
    assert "pooling itself keeps every rule" in text


def test_nothing_is_said_of_this_library_where_it_was_not_asked(report: Conformance) -> None:
    console = Console(width=140, record=True, file=io.StringIO())
    outcomes = {runtime: found for runtime, found in report.outcomes.items() if runtime == "onnxruntime"}
    print_conformance(dataclasses.replace(report, outcomes=outcomes), console)
    text = console.export_text()
    assert "4 rules in 1 runtime, " in text
    assert "pooling was not asked" in text
    assert "keeps every" not in text


def test_page(report: Conformance) -> None:
    page = conformance_page(report)
    lines = page.splitlines()
    assert lines[0] == "<!-- Made by docs/make_conformance.py. -->"
    (heading,) = [line for line in lines if line.startswith("| Rule |")]
    assert heading == "| Rule | Cases | pooling | portable | onnxruntime | onnx.reference |"
    for rule in SMALL:
        assert f"[{rule}](#{rule})" in page
        assert f"## {rule}" in lines
        assert RULES[rule].text in page
    assert "onnxruntime " + report.versions["onnxruntime"] in page
    cells = {line.count("|") - line.count("\\|") for line in lines if line.startswith("| [")}
    assert cells == {heading.count("|")}
    # The matrix comes first.
    assert page.index("| Rule |") < page.index(f"## {SMALL[0]}")


def test_written_page_is_that_of_the_command() -> None:
    page = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    assert page.startswith("<!-- Made by docs/make_conformance.py. -->")
    for rule in RULES:
        assert f"\n## {rule}\n" in page
    assert len(conformance_suite()) == int(re.search(r"(\d+) models of one pooling node each", page)[1])  # type: ignore[index]


def test_a_runtime_that_is_killed_loses_its_own_cases_only() -> None:
    dying = "tests.dying_runtime:Dying"
    seen: list[tuple[int, int, str]] = []
    report = run_conformance(
        ["pooling", dying],
        rules=["valid-with-ceil"],
        progress=lambda done, total, what: seen.append((done, total, what)),
    )
    for case, outcome in zip(report.cases, report.outcomes[dying], strict=True):
        killed = case.node.op_type == "LpPool"
        assert outcome.counts_as == ("crashes" if killed else "agrees")
        if killed:
            assert outcome.verdict.sentence == "was killed by SIGKILL"
    assert {outcome.counts_as for outcome in report.outcomes["pooling"]} == {"agrees"}
    total = 3 * len(report.cases)  # the oracle is asked, too
    assert [done for done, _, _ in seen] == list(range(total))
    assert {number for _, number, _ in seen} == {total}


def test_errors_of_the_conformance_run() -> None:
    with pytest.raises(ValueError, match="is none of"):
        run_conformance(["nothing"])
    with pytest.raises(ValueError, match="is not known"):
        run_conformance(["pooling"], rules=["nothing"])


# ---------------------------------------------------------------------------------------------------------------------
# Known differences


def test_known_differences_name_rules_runtimes_and_threads() -> None:
    for known in KNOWN_ISSUES:
        assert known.rule in RULES
        assert known.runtime in RUNTIMES
        assert known.versions
        assert known.kind is not Kind.AGREES
        assert len(known.finding) > 20
        case = known.case
        assert case.rules == (known.rule,)
        onnx.checker.check_model(case.model)
        for reference in known.upstream:
            assert address(reference).startswith("https://github.com/")
    runtimes = {"onnxruntime", "onnx.reference", "openvino", "torch", "torch.compile", "tract", "opencv", "jax"}
    assert {known.runtime for known in KNOWN_ISSUES} == runtimes


ISSUE = """
[repositories]
openvino = "openvinotoolkit/openvino"
[measured]
openvino = ["2026.4.1"]
[[issue]]
rule = "nan-propagates"
runtime = "openvino"
kind = "nan"
finding = "the maximum of [nan, 2] is 2"
operator = "MaxPool"
attributes = { kernel_shape = [2] }
inputs = [{ values = [[[nan, 2]]] }]
upstream = ["openvino#35935"]
"""


def test_an_issue_is_read_with_its_case() -> None:
    repositories, (issue,) = read_issues(ISSUE)
    assert repositories == {"openvino": "openvinotoolkit/openvino"}
    assert (issue.versions, issue.upstream, issue.opset) == (("2026.4.1",), ("openvino#35935",), 22)
    assert (issue.case.node.op_type, issue.case.array.dtype, issue.case.rules) == (
        "MaxPool",
        np.float32,
        ("nan-propagates",),
    )


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"nan-propagates"', '"nan-vanishes"', "rule='nan-vanishes' is none of window-count,"),
        ('runtime = "openvino"', 'runtime = "vino"', "runtime='vino' is none of pooling,"),
        ('kind = "nan"', 'kind = "agrees"', "kind='agrees' is none of crashes,"),
        ('finding = "the maximum of [nan, 2] is 2"', "", "finding is missing"),
        ('finding = "the maximum of [nan, 2] is 2"', 'finding = ""', "finding='' must be a str, and not empty"),
        ('operator = "MaxPool"', 'operator = "MaxPool"\nopset = "22"', "opset='22' must be a int, and not empty"),
        ('operator = "MaxPool"', 'operator = "MaxPool"\nopset = 99', "opset=99 must be between 1 and "),
        ('operator = "MaxPool"', 'operator = "MaxPool"\nopset = 0', "opset=0 must be between 1 and "),
        ('operator = "MaxPool"', 'operator = "MaxPool"\nsince = 1', "since is none of rule, runtime,"),
        ('operator = "MaxPool"', 'operator = "MaxPooling"', "its node is none of opset 22"),
        ("{ kernel_shape = [2] }", "{ kernel = [2] }", "its node is none of opset 22"),
        ("[measured]\nopenvino", "[measured]\ntorch", "versions=None must name one at least"),
        ("openvino#35935", "vino#35935", "upstream='vino#35935' must be"),
        ("openvino#35935", "openvino", "upstream='openvino' must be"),
        ("[{ values = [[[nan, 2]]] }]", "[]", "inputs has no entry"),
        ("[{ values = [[[nan, 2]]] }]", '[{ values = [[[1, 300]]], dtype = "int8" }]', "its node is none of opset 22"),
        ("[{ values = [[[nan, 2]]] }]", "[{ shape = [1, 1, 1000000000000000] }]", "its node is none of opset 22"),
        ("[{ values = [[[nan, 2]]] }]", "[{ shape = [1, 1, -4] }]", "must have a shape of sizes that are at least 0"),
        ("[{ values = [[[nan, 2]]] }]", "[{ shape = [1, 1, 4.0] }]", "must have a shape of sizes that are at least 0"),
        ("[{ values = [[[nan, 2]]] }]", "[{ shape = 4 }]", "must have a shape of sizes that are at least 0"),
        ("[{ values = [[[nan, 2]]] }]", "[{ fill = 1 }]", "must have values, or a shape"),
        ("values = [[[nan, 2]]]", "values = [[[nan, 2]]], fill = 1", "has numbers of its own"),
        (
            "values = [[[nan, 2]]]",
            "shape = [1, 1, 2], fill = 1, count_from = 1",
            "the same number everywhere, and count",
        ),
        ("values = [[[nan, 2]]]", "value = 1", "must be a table with no other keys than count_from,"),
    ],
)
def test_errors_of_issues(old: str, new: str, problem: str) -> None:
    assert old in ISSUE
    with pytest.raises(ValueError, match=re.escape(problem)) as error:
        read_issues(ISSUE.replace(old, new, 1))
    assert str(error.value).startswith("known_issues.toml: issue 1 (")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("[[issue]]", "[[issues]]", "issues is none of repositories, measured, issue"),
        ("[[issue]]", "[issue]", "issue must be a list of tables, each with the head [[issue]]"),
        ('["2026.4.1"]', '"2026.4.1"', "measured must be a table of lists of versions"),
        ('"openvinotoolkit/openvino"', "1", "repositories must be a table of names"),
    ],
)
def test_errors_of_the_tables_of_issues(old: str, new: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(f'known_issues.toml: {problem}')}$"):
        read_issues(ISSUE.replace(old, new, 1))


def test_an_issue_that_stands_there_twice() -> None:
    again = ISSUE[ISSUE.index("[[issue]]") :]
    with pytest.raises(
        ValueError, match=re.escape("issue 2 (nan-propagates, openvino): stands there twice, as issue 1")
    ):
        read_issues(ISSUE + again)


def _check(runtime: str) -> None:
    seen = recheck_known_issues(known for known in KNOWN_ISSUES if known.runtime == runtime)
    assert len(seen) == sum(known.runtime == runtime for known in KNOWN_ISSUES)
    for each in seen:
        assert each.shown != each.fixed or each.version not in each.issue.versions, each.sentence
        if each.version in each.issue.versions:
            assert each.shown, each.sentence
        assert each.issue.runtime in each.sentence


@pytest.mark.parametrize("runtime", ALWAYS)
def test_known_differences_are_there_or_are_said_to_be_fixed(runtime: str) -> None:
    _check(runtime)


@pytest.mark.parametrize("runtime", ["openvino", "torch", "tract", "opencv", "jax"])
def test_known_differences_of_runtimes_that_are_not_always_there(runtime: str) -> None:
    if runtime not in installed():
        pytest.skip(f"{runtime} is not installed")
    _check(runtime)


def test_a_difference_that_is_fixed_is_said_to_be() -> None:
    # onnxruntime 1.22.1 divided by the whole kernel below opset 19.
    (known,) = [known for known in KNOWN_ISSUES if known.runtime == "onnxruntime" and known.versions == ("1.22.1",)]
    assert known.rule == "divisor-counts-declared-padding"
    right = Recheck(known, "1.32.0", Verdict(Kind.AGREES), None)
    assert (right.fixed, right.shown) == (True, False)
    assert right.sentence == (
        "onnxruntime 1.32.0 keeps divisor-counts-declared-padding; the difference seen in 1.22.1 is fixed"
    )
    wrong = Recheck(known, "1.22.1", Verdict(Kind.VALUE, "1.1 instead of 1.7 at (0, 0, 0, 2)"), known.rule)
    assert (wrong.fixed, wrong.shown) == (False, True)
    assert wrong.sentence == (
        "onnxruntime 1.22.1 breaks divisor-counts-declared-padding: 1.1 instead of 1.7 at (0, 0, 0, 2)"
    )
    other = Recheck(known, "2.0", Verdict(Kind.REFUSES, "no"), None)
    assert (other.fixed, other.shown) == (False, False)


def test_what_is_known_of_a_rule_and_a_runtime() -> None:
    def references(rule: str | None, runtime: str) -> set[str]:
        return {name for known in issues_of(rule, runtime) for name in known.upstream}

    assert "openvino#35935" in references("nan-propagates", "openvino")
    assert references("ceil-last-window", "openvino") >= {"webnn#935", "openvino#22930"}
    assert references("nan-propagates", "pooling") == set()
    assert references(None, "openvino") == set()
    pooled = next(
        known for known in KNOWN_ISSUES if known.rule == "max-identity-is-neg-inf" and known.runtime == "openvino"
    )
    ordered: tuple[KnownIssue, ...] = issues_of("max-identity-is-neg-inf", "openvino", pooled.case)
    assert ordered[0].case.node.op_type == "MaxPool"


# ---------------------------------------------------------------------------------------------------------------------
# Node tests


def test_node_tests_are_read_by_the_loader_of_onnx_and_pass_in_our_backend(
    suite: tuple[Case, ...], tmp_path: Path
) -> None:
    chosen = suite[::4]
    count = write_node_tests(tmp_path / "pooling", chosen)
    tests = load_model_tests(str(tmp_path), "pooling")
    assert len(tests) == count > 200
    for test in tests:
        onnx.checker.check_model(onnx.load(Path(test.model_dir) / "model.onnx"), full_check=True)
        assert test.rtol < 0.02
    runners = onnx.backend.test.runner
    with mock.patch.object(runners, "load_model_tests", lambda kind: tests if kind == "simple" else []):
        runner = runners.Runner(PoolingBackend)
    runner.include("_cpu$")
    result = unittest.TestResult()
    runner.test_suite.run(result)
    assert (result.failures, result.errors) == ([], [])
    assert result.testsRun - len(result.skipped) == count


def test_node_tests_tell_wrong_answers_apart(tmp_path: Path) -> None:
    (case,) = [
        known.case for known in KNOWN_ISSUES if known.runtime == "openvino" and known.rule == "ceil-partial-window"
    ]
    write_node_tests(tmp_path / "pooling", [case])
    (test,) = load_model_tests(str(tmp_path), "pooling")
    stored = onnx.load_tensor(Path(test.model_dir) / "test_data_set_0" / "output_0.pb")
    right = onnx.numpy_helper.to_array(stored)
    check = onnx.backend.test.runner.Runner.assert_similar_outputs
    check([right], [right], rtol=test.rtol, atol=test.atol)
    wrong = right.copy()
    wrong[0, 0, 2] = 9.565563
    with pytest.raises(AssertionError):
        check([right], [wrong], rtol=test.rtol, atol=test.atol)


def test_what_has_no_answer_or_contradicts_itself_is_no_node_test() -> None:
    assert not list(node_tests(conformance_suite(rules=["no-window-is-rejected"])))
    late = list(node_tests(conformance_suite(rules=["ceil-last-window"])))
    assert {test.case.opset for test in late} == {22}


def test_node_tests_are_written_whole_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tests"
    cases = conformance_suite(rules=["valid-with-ceil"])
    monkeypatch.setattr("pooling.validation.conformance.node_tests.conformance_suite", lambda: cases)
    assert cli.main(["node-tests", str(folder)]) == 0
    assert capsys.readouterr().out == f"{len(cases)} node tests are in {folder}\n"
    before = sorted(path.name for path in folder.iterdir())
    assert cli.main(["node-tests", str(folder)]) == 2
    assert "is there already and not an empty folder" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == before
    with monkeypatch.context() as broken:
        broken.setattr("pooling.validation.conformance.node_tests._write", mock.Mock(side_effect=OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            write_node_tests(tmp_path / "others", cases)
        assert cli.main(["node-tests", str(tmp_path / "others")]) == 2
        assert capsys.readouterr().err == f"pooling node-tests: {tmp_path / 'others'} cannot be written (disk full)\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tests"]
