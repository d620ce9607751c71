"""torch.compile as a runtime, and gradients as questions."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pooling.validation import validate
from pooling.validation.inputs.case import GRADIENT, Case, make_case
from pooling.validation.known_issues import KNOWN_ISSUES, Recheck, read_issues
from pooling.validation.report.grids import draw
from pooling.validation.rules import broken_rule
from pooling.validation.runners import RUNTIMES, Unsupported, chosen, runtime_of
from pooling.validation.runners.processes import Limits, RuntimeProcess, patient, run_cases
from pooling.validation.runners.results import Result
from pooling.validation.verdicts import Kind, judge

RULE = "divisor-counts-declared-padding"
compiled = pytest.mark.skipif(shutil.which("g++") is None, reason="Inductor needs a C++ compiler")


def gradient_case(
    operator: str, shape: tuple[int, ...], out: tuple[int, ...], seed: int = 0, **attributes: Any
) -> Case:
    random = np.random.default_rng(seed)
    return make_case(
        operator,
        random.standard_normal(shape).astype(np.float32),
        gradient=random.integers(-8, 9, out).astype(np.float32),
        **attributes,
    )


CASES = {
    "mean": gradient_case("AveragePool", (1, 2, 7, 6), (1, 2, 4, 3), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
    "mean by padding": gradient_case(
        "AveragePool", (1, 1, 8), (1, 1, 4), kernel_shape=[3], strides=[2], ceil_mode=1, count_include_pad=1
    ),
    "maximum": gradient_case("MaxPool", (2, 1, 6, 5, 4), (2, 1, 3, 2, 2), kernel_shape=[2] * 3, strides=[2] * 3),
    "windows that overlap": gradient_case("MaxPool", (1, 1, 9, 9), (1, 1, 7, 7), kernel_shape=[3, 3]),
    "global mean": gradient_case("GlobalAveragePool", (1, 3, 5, 4), (1, 3, 1, 1)),
    "global maximum": gradient_case("GlobalMaxPool", (1, 3, 5), (1, 3, 1)),
}


def gradient_of(runtime: str, case: Case) -> np.ndarray[Any, Any]:
    given: Mapping[str, Any] = {name: array for name, array in case.inputs.items() if name != GRADIENT}
    assert case.gradient is not None
    return runtime_of(runtime).gradient(case.model.SerializeToString(), given, case.gradient)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("runtime", ["pooling", "torch"])
def test_gradients_agree_with_the_oracle(runtime: str, name: str) -> None:
    if runtime == "torch":
        pytest.importorskip("torch")
    case = CASES[name]
    expected = Result((gradient_of("oracle", case),))
    assert expected.outputs[0].shape == case.array.shape
    actual = Result((gradient_of(runtime, case),))
    assert judge(case, expected, actual).kind is Kind.AGREES
    wrong = Result((actual.outputs[0] * np.float32(1.001),))
    verdict = judge(case, expected, wrong)
    assert verdict.kind is Kind.VALUE
    assert verdict.sentence.startswith("in its gradient, ")
    assert broken_rule(case, expected, verdict, wrong) is None


def test_the_oracle_of_a_gradient_by_hand() -> None:
    case = make_case(
        "AveragePool", np.arange(1, 5, dtype=np.float32).reshape(1, 1, 4), gradient=np.ones((1, 1, 2), np.float32),
        kernel_shape=[3], strides=[2], ceil_mode=1, count_include_pad=1,
    )  # fmt: skip
    right = gradient_of("oracle", case)
    assert np.allclose(right, [[[1 / 3, 1 / 3, 1 / 3 + 1 / 2, 1 / 2]]])
    wrong = Result((np.array([[[1 / 3, 1 / 3, 2 / 3, 1 / 3]]], np.float32),))
    verdict = judge(case, Result((right,)), wrong)
    assert broken_rule(case, Result((right,)), verdict, wrong) == RULE


def test_a_gradient_is_drawn_beside_that_of_the_result() -> None:
    case = CASES["mean by padding"]
    right = Result((gradient_of("oracle", case),))
    wrong = Result((right.outputs[0] + np.float32(1),))
    drawn = draw(case, right, wrong, judge(case, right, wrong))
    (grid,) = drawn.input
    assert case.gradient is not None
    assert grid.title == GRADIENT
    assert [cell.text for row in grid.cells for cell in row] == [f"{each:g}" for each in case.gradient.ravel()]
    assert not any(cell.read for row in grid.cells for cell in row)
    assert not drawn.window
    assert len(drawn.actual[0].cells[0]) == case.array.size


def test_a_runtime_without_gradients_says_so() -> None:
    with pytest.raises(Unsupported, match=r"^onnx.reference computes no gradients$"):
        gradient_of("onnx.reference", CASES["mean"])


def test_it_is_asked_only_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    assert RUNTIMES["torch.compile"].compiles
    assert "torch.compile" not in chosen(None)
    assert "torch" in chosen(None)
    assert list(chosen(["torch.compile"])) == ["torch.compile"]
    assert patient("torch.compile", Limits(seconds=2)).seconds == 20
    assert patient("torch", Limits(seconds=2)).seconds == 2
    assert patient("unheard:Of", Limits(seconds=2)).seconds == 2
    monkeypatch.setattr(type(RUNTIMES["pooling"]), "compiles", True)
    assert patient("pooling.validation.runners.ours:Kernels", Limits(seconds=2)).seconds == 20


def test_without_a_compiler_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with RuntimeProcess("torch.compile") as process:
        answer = process.ask(CASES["mean"].model.SerializeToString(), {"x": CASES["mean"].array})
    assert answer.unsupported == (
        "it cannot be started (Inductor needs a C++ compiler, and there is no no-such-compiler here; install it, or "
        "name another in CXX)"
    )


def test_a_known_issue_may_be_one_of_a_gradient() -> None:
    (issue,) = [each for each in KNOWN_ISSUES if each.runtime == "torch.compile"]
    assert issue.rule == RULE
    assert issue.case.gradient is not None
    assert issue.case.gradient.tolist() == [[[1, 1]]]
    text = '[[issue]]\nrule = "nan-propagates"\nruntime = "torch"\nkind = "nan"\nfinding = "f"\noperator = "MaxPool"\n'
    text += 'attributes = { kernel_shape = [2] }\ninputs = [{ shape = [1, 1, 2] }]\nversions = ["1"]\n'
    with pytest.raises(ValueError, match="must have values, or a shape"):
        read_issues(f"{text}gradient = {{ dtype = 'float32' }}\n")


@compiled
def test_inductor_agrees_and_the_known_issue_is_there_or_fixed() -> None:
    torch = pytest.importorskip("torch")
    (issue,) = [each for each in KNOWN_ISSUES if each.runtime == "torch.compile"]
    x = np.random.default_rng(1).standard_normal((1, 2, 7, 6)).astype(np.float32)
    pads = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
    forward = [
        make_case("MaxPool", x, outputs=2, **pads),
        make_case("AveragePool", x, ceil_mode=1, **pads),
        make_case("LpPool", np.abs(x), kernel_shape=[2, 2]),
        make_case("LpPool", x, kernel_shape=[2, 2], pads=[1, 1, 0, 0]),
    ]
    cases = [*forward, CASES["mean"], CASES["windows that overlap"], issue.case]
    expected = run_cases("oracle", cases)
    answers = run_cases("torch.compile", cases, threads=2)
    verdicts = [judge(*each) for each in zip(cases, expected, answers, strict=True)]
    assert [each.kind for each in verdicts[:3]] == [Kind.AGREES] * 3, verdicts
    assert answers[3].unsupported == "torch pads both sides alike, and not 1 and 0"
    assert [each.kind for each in verdicts[4:6]] == [Kind.AGREES] * 2, verdicts
    recheck = Recheck(
        issue, torch.__version__, verdicts[-1], broken_rule(issue.case, expected[-1], verdicts[-1], answers[-1])
    )
    assert recheck.shown != recheck.fixed, recheck.sentence
    if torch.__version__ in issue.versions:
        assert recheck.shown, recheck.sentence


@compiled
def test_the_wrong_gradient_is_found_and_attributed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    node = onnx.helper.make_node(
        "AveragePool", ["x"], ["y"], name="pool", kernel_shape=[3], strides=[2], ceil_mode=1, count_include_pad=1
    )
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 2, 8))
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    path = tmp_path / "model.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "m", [x], [y])), path)
    report = validate(path, runtimes=["pooling", "torch", "torch.compile"], rounds=0, smallest=True)
    left = {each.name for each in temporary.iterdir()} - {".ses"}  # of onnxruntime, which repairs are verified in
    assert not left
    assert {each.runtime for each in report.findings} <= {"torch.compile"}
    (result,) = report.models[0].nodes
    assert set(result.summaries) == {"pooling", "torch", "torch.compile"}
    assert all(each.answered for each in result.summaries.values())
    if torch.__version__ in ("2.13.0", "2.13.0+cpu"):
        (finding,) = report.findings
        assert (finding.rule, finding.upstream) == (RULE, ("pytorch#198119",))
        assert "breaks divisor-counts-declared-padding at node pool: in its gradient, " in finding.sentence
