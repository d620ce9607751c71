"""Runtimes in processes of their own: what becomes of crashes, hangs and refusals; real inputs, shapes and remedies."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from rich.console import Console

import pooling
from pooling.numerics.inputs import draw
from pooling.validation import Case, Kind, Limits, Result, judge, run_cases, validate
from pooling.validation.inputs.case import make_case
from pooling.validation.inputs.plan import SPECIAL, plan_cases
from pooling.validation.pooling_nodes import read_pooling_nodes
from pooling.validation.report.table import print_report
from pooling.validation.runners import RUNTIMES, chosen, installed, processes, runtime_of
from pooling.validation.runners.processes import RuntimeProcess, _use_of

QUICK = ("pooling", "onnxruntime")


@pytest.fixture(autouse=True)
def _own_runtimes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes of runtimes find the module with those that misbehave."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def case_named(name: str) -> Case:
    case = make_case("MaxPool", np.arange(6, dtype=np.float32).reshape(1, 1, 6), kernel_shape=[2])
    case.model.graph.node[0].name = name
    return replace(case, name=name)


RIGHT = [[[1, 2, 3, 4, 5]]]


# ---------------------------------------------------------------------------------------------------------------------
# Processes


@pytest.mark.parametrize(
    ("runtime", "crash"),
    [
        ("Killed", "was killed by SIGKILL"),
        ("Dividing", "was killed by SIGFPE"),
        ("Leaving", "exited with code 3"),
        ("Hanging", "exceeded 1 s"),
        ("Eating", "exceeded 0.25 GiB"),
    ],
)
def test_a_runtime_that_ends_loses_that_case_only(runtime: str, crash: str) -> None:
    limits = Limits(1 if runtime == "Hanging" else 60, 2**28)
    cases = [case_named(name) for name in ("good", "bad", "fine")]
    first, second, third = run_cases(f"misbehaving:{runtime}", cases, limits)
    assert second.crash == crash
    assert not second.given
    for answer in (first, third):
        np.testing.assert_array_equal(answer.outputs[0], RIGHT)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell")
def test_time_in_which_a_process_is_stopped_does_not_count() -> None:
    bad = case_named("bad")
    with RuntimeProcess("misbehaving:Stopped", Limits(seconds=0.5)) as process, ThreadPoolExecutor(1) as pool:
        process.launch()
        number = process._process.pid  # type: ignore[union-attr]
        waiting = pool.submit(process.ask, bad.model.SerializeToString(), bad.inputs)
        while _use_of(number)[0] != "T":  # type: ignore[index]
            assert not waiting.done()
            time.sleep(0.01)
        time.sleep(1.5)
        assert not waiting.done()
        os.kill(number, signal.SIGCONT)
        answer = waiting.result()
        assert answer.crash is None
        np.testing.assert_array_equal(answer.outputs[0], RIGHT)


@pytest.mark.parametrize(
    ("looks", "had"),
    [
        ([(0.5, "S", 0.0)], 0.5),  # it waits, and may wait for ever
        ([(0.5, "D", 0.0)], 0.5),
        ([(0.5, "R", 0.2)], 0.2),  # it got that much of a processor
        ([(0.5, "R", 2.0)], 0.5),  # of several
        ([(100.0, "T", 0.0), (100.0, "t", 0.0)], 0.0),
        ([(0.5, "S", 0.0), (100.0, "T", 0.0), (0.5, "R", 0.25)], 0.75),
        ([(100.0, "S", 0.25)], 0.25),  # who asks was stopped, too
        ([(0.5, None, 0.0), (100.0, None, 0.0)], 100.5),  # the system does not tell
    ],
)
def test_what_time_counts(monkeypatch: pytest.MonkeyPatch, looks: list[Any], had: float) -> None:
    now = used = 0.0
    state: str | None = "S"
    monkeypatch.setattr(processes.time, "monotonic", lambda: now)
    monkeypatch.setattr(processes, "_use_of", lambda number: None if state is None else (state, used))
    clock = processes._Clock(1)
    for passed, state, got in looks:  # noqa: B007
        now, used = now + passed, used + got
        seconds = clock.seconds()
    assert seconds == had


def test_a_refusal_is_one_line_and_the_process_goes_on() -> None:
    with RuntimeProcess("misbehaving:Refusing") as process:
        bad, good = (case_named(name) for name in ("bad", "good"))
        assert process.ask(bad.model.SerializeToString(), bad.inputs).unsupported == "no, and no again"
        number = process._process.pid  # type: ignore[union-attr]
        assert process.ask(good.model.SerializeToString(), good.inputs).given
        assert process._process.pid == number  # type: ignore[union-attr]
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_what_a_runtime_prints_is_no_answer_and_objects_are_none() -> None:
    good, bad, fine = run_cases("misbehaving:Babbling", [case_named(name) for name in ("good", "bad", "fine")])
    np.testing.assert_array_equal(good.outputs[0], RIGHT)
    assert bad.unsupported == "it returns elements of the type object"
    np.testing.assert_array_equal(fine.outputs[0], RIGHT)


def test_what_does_not_start_is_not_started_again_and_again() -> None:
    cases = [case_named("good")] * 3
    assert [answer.crash for answer in run_cases("misbehaving:StillBorn", cases)] == [
        "was killed by SIGSEGV while it was started"
    ] * 3
    assert [answer.unsupported for answer in run_cases("misbehaving:Unloadable", cases)] == [
        "it cannot be started (ImportError: libfoo.so is missing)"
    ] * 3


def test_progress_is_told_before_every_case() -> None:
    told: list[tuple[int, int, str]] = []
    run_cases("pooling", [case_named("a"), case_named("b")], progress=lambda *step: told.append(step))
    assert told == [(0, 2, "a"), (1, 2, "b")]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int8", "uint8"])
def test_arrays_of_every_dtype_come_and_go(dtype: str) -> None:
    kind = np.dtype(pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype)
    array = np.arange(6).astype(kind).reshape(1, 1, 6)
    (answer,) = run_cases("pooling", [make_case("MaxPool", array, kernel_shape=[2])])
    assert answer.outputs[0].dtype == kind
    np.testing.assert_array_equal(answer.outputs[0].astype(float), RIGHT)


@pytest.mark.parametrize("keywords", [{"seconds": 0}, {"seconds": float("inf")}, {"memory": 0}])
def test_limits_are_positive(keywords: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Limits(**keywords)


# ---------------------------------------------------------------------------------------------------------------------
# Adapters


def plain(*shape: int) -> Any:
    """Draw numbers without denormals, which some runtimes take for 0."""
    return draw(shape, np.dtype(np.float32), kinds=("normal", "ties"), infinities=False)


NODES: dict[str, Case] = {
    "max": make_case("MaxPool", plain(1, 3, 7, 8), kernel_shape=[3, 2], strides=[2, 1]),
    "indices": make_case(
        "MaxPool",
        plain(2, 3, 7, 8),
        kernel_shape=[2, 2],
        outputs=2,
        storage_order=1,
    ),
    "average": make_case("AveragePool", plain(1, 3, 9), kernel_shape=[3]),
    "same": make_case("MaxPool", plain(1, 2, 8), kernel_shape=[3], dilations=[2], auto_pad="SAME_UPPER"),
    "global average": make_case("GlobalAveragePool", plain(2, 3, 5, 5)),
    "unpool": make_case(
        "MaxUnpool",
        [np.array([[[3, 7]]], np.float32), np.array([[[1, 2]]])],
        kernel_shape=[2],
        strides=[2],
    ),
}
EXPRESSED = {"max", "average", "global average"}


@pytest.mark.parametrize("runtime", [name for name in chosen(None) if name != "oracle"])
def test_a_runtime_answers_as_the_oracle_or_says_why_not(runtime: str) -> None:
    cases = list(NODES.values())
    expected = run_cases("oracle", cases)
    answers = run_cases(runtime, cases)
    for name, case, right, answer in zip(NODES, cases, expected, answers, strict=True):
        assert answer.crash is None
        verdict = judge(case, right, answer)
        if name in EXPRESSED:
            assert verdict.kind is Kind.AGREES or answer.unsupported, (name, verdict)
        if runtime in ("pooling", "portable"):
            assert verdict.kind is Kind.AGREES, (name, verdict)
    # One that refuses everything would be no runtime.
    assert any(answer.given for answer in answers)


def test_the_oracle_does_not_share_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    (case,) = [NODES["max"]]
    array = case.array
    expected = run_cases("oracle", [case])[0].outputs[0]
    tops = np.lib.stride_tricks.sliding_window_view(array, (3, 2), axis=(2, 3))[:, :, ::2].max(axis=(-1, -2))
    np.testing.assert_array_equal(expected, tops)


def test_equal_planes_are_worked_out_once_and_put_everywhere() -> None:
    planes = np.arange(12, dtype=np.float32).reshape(2, 1, 6)[[0, 1, 1, 0]].reshape(2, 2, 6)
    (answer,) = run_cases("oracle", [make_case("MaxPool", planes, kernel_shape=[6], outputs=2)])
    np.testing.assert_array_equal(answer.outputs[0].ravel(), [5, 11, 11, 5])
    np.testing.assert_array_equal(answer.outputs[1].ravel(), [5, 11, 17, 23])


def test_runtimes_are_known_by_name_and_by_module() -> None:
    assert {"pooling", "oracle", "portable", "onnxruntime", "onnx.reference", "openvino", "torch"} <= set(RUNTIMES)
    assert runtime_of("misbehaving:Killed").name == "killed"
    assert chosen(["oracle", "pooling"]) == {"pooling": pooling.__version__}
    assert "oracle" not in chosen(None)
    with pytest.raises(ValueError, match="is none of pooling, oracle, portable"):
        runtime_of("unheard")


def test_what_is_not_installed_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(RUNTIMES["openvino"]), "version", lambda self: None)
    with pytest.raises(ValueError) as caught:
        validate("net.onnx", runtimes=["openvino"])
    assert str(caught.value) == "validate: runtimes='openvino' is not installed; run pip install openvino"


# ---------------------------------------------------------------------------------------------------------------------
# Whole models


Save = Callable[..., str]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(nodes: Sequence[onnx.NodeProto], shape: Sequence[int], opset: int = 18, constants: Any = ()) -> str:
        graph = helper.make_graph(
            list(nodes),
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
            list(constants),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        path = tmp_path / "net.onnx"
        path.write_bytes(model.SerializeToString())
        return str(path)

    return write


def max_pool(**attributes: Any) -> onnx.NodeProto:
    attributes.setdefault("kernel_shape", [2])
    return helper.make_node("MaxPool", ["x"], ["y"], "pool1", **attributes)


def found(report: Any) -> set[tuple[str, str | None, str]]:
    return {(each.runtime, each.rule, each.counts_as) for each in report.findings}


def test_a_runtime_that_is_killed_loses_its_own_column_only(save: Save) -> None:
    path = save([helper.make_node("MaxPool", ["x"], ["y"], "bad", kernel_shape=[2])], [1, 1, 6])
    report = validate(path, runtimes=["misbehaving:Killed", *QUICK], rounds=0, fail_on=["crashes"])
    (stage,) = report.nodes
    assert {name: opinion.verdict for name, opinion in stage.summaries.items()} == {
        "misbehaving:Killed": "crashes",
        "pooling": "agrees",
        "onnxruntime": "special",
    }
    assert stage.summaries["pooling"].cases["agrees"] >= 4
    crash = report.findings[0]
    assert crash.sentence == "misbehaving:Killed 1 crashes at node bad: it was killed by SIGKILL"
    assert report.exit_code == 1


@pytest.mark.skipif("openvino" not in installed(), reason="openvino is not installed")
def test_openvino_on_a_stride_of_two_to_the_62_is_a_finding_and_not_the_end(save: Save) -> None:
    node = max_pool(kernel_shape=[3, 3], strides=[2**62, 2**62], ceil_mode=1)
    report = validate(
        save([node], [1, 1, 8, 8]), runtimes=["openvino", "pooling"], rounds=0, limits=Limits(5), repair=False
    )
    summaries = report.nodes[0].summaries
    assert summaries["openvino"].verdict in ("crashes", "refuses", "differs", "special")
    assert summaries["pooling"].verdict == "agrees"


def test_the_known_differences_of_onnxruntime_are_named_with_remedies(save: Save) -> None:
    path = save([max_pool(kernel_shape=[3], dilations=[2], auto_pad="SAME_UPPER")], [1, 1, 8])
    report = validate(path, runtimes=QUICK, rounds=0)
    (finding,) = report.findings
    version = report.runtimes["onnxruntime"]
    assert finding.sentence == (
        f"onnxruntime {version} breaks same-uses-effective-kernel at node pool1: shape (1, 1, 6) instead of (1, 1, 8)"
    )
    assert finding.upstream == ("onnxruntime#20582",)
    assert finding.remedy == "pooling repair (auto_pad); onnxruntime was run again and agrees"
    assert report.exit_code == 1
    repair = report.models[0].repair
    assert repair is not None
    assert (repair.before, repair.after, repair.changes) == (1, 0, ("pool1: auto_pad",))
    assert repair.sentence.startswith("pooling repair changes 1 thing, and all runtimes that ran it again agree")


def test_nan_is_found_on_special_numbers_and_does_not_count(save: Save) -> None:
    report = validate(save([max_pool(kernel_shape=[2, 2])], [1, 1, 4, 4]), runtimes=QUICK, rounds=0)
    assert ("onnxruntime", "nan-propagates", "special") in found(report)
    assert all(each.counts_as == "special" for each in report.findings)
    remedy = "pooling repair --special-values exact"
    assert {each.remedy for each in report.findings} == {
        f"{remedy} (special_values); onnxruntime was run again and agrees"
    }
    console = Console(file=io.StringIO(), width=200)
    print_report(report, console)
    assert isinstance(console.file, io.StringIO)
    (line,) = [line for line in console.file.getvalue().splitlines() if "nan-propagates" in line]
    assert line.endswith(f"1 node; remedy: {remedy} (special_values)")
    assert report.exit_code == 0


def test_a_nan_in_the_real_input_counts(save: Save, tmp_path: Path) -> None:
    array = np.array([[[[np.nan, 2], [3, 4]]]], np.float32)
    np.save(tmp_path / "nan.npy", array)
    path = save([max_pool(kernel_shape=[2, 2])], [1, 1, 2, 2])
    report = validate(path, runtimes=QUICK, rounds=0, inputs=[str(tmp_path / "nan.npy")])
    counted = [each for each in report.findings if each.counts_as == "differs"]
    assert [each.rule for each in counted] == ["nan-propagates"]
    assert counted[0].verdict.sentence == "NaN not propagated at (0, 0, 0, 0): 4.0 instead of nan"
    assert counted[0].case.data == "real activations of nan.npy"
    assert report.exit_code == 1


@pytest.mark.skipif("openvino" not in installed(), reason="openvino is not installed")
@pytest.mark.parametrize(
    ("operator", "attributes", "shape", "rule", "kind"),
    [
        (
            "MaxPool",
            {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1] * 4, "ceil_mode": 1},
            [1, 1, 5, 5],
            "ceil-last-window",
            "shape",
        ),
        (
            "AveragePool",
            {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4, "ceil_mode": 1, "count_include_pad": 1},
            [1, 1, 4, 4],
            "divisor-counts-declared-padding",
            "value",
        ),
    ],
)
def test_the_known_differences_of_openvino_are_named_with_remedies(
    save: Save, operator: str, attributes: dict[str, Any], shape: list[int], rule: str, kind: str
) -> None:
    node = helper.make_node(operator, ["x"], ["y"], "pool1", **attributes)
    report = validate(save([node], shape), runtimes=["openvino", *QUICK], rounds=0)
    counted = [each for each in report.findings if each.counts_as == "differs"]
    assert [(each.runtime, each.rule, each.verdict.kind) for each in counted] == [("openvino", rule, kind)]
    assert "agrees" in counted[0].remedy
    assert report.models[0].repair is not None
    assert report.models[0].repair.after == 0


def test_column_major_indices_are_attributed(save: Save) -> None:
    node = helper.make_node("MaxPool", ["x"], ["y", "i"], "pool1", kernel_shape=[1, 1], storage_order=1)
    report = validate(save([node], [1, 1, 2, 3]), runtimes=["onnxruntime", "onnx.reference"], rounds=0)
    counted = [each for each in report.findings if each.counts_as == "differs"]
    assert [(each.runtime, each.rule) for each in counted] == [("onnx.reference", "column-major-indices")]


# ---------------------------------------------------------------------------------------------------------------------
# Shapes and activations of the running model


def test_a_shape_that_only_the_running_model_knows_is_found(save: Save) -> None:
    nodes = [
        helper.make_node("NonZero", ["ones"], ["places"]),
        helper.make_node("Cast", ["places"], ["cells"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["cells", "first"], ["map"]),
        helper.make_node("MaxPool", ["map"], ["y"], "pool1", kernel_shape=[2]),
    ]
    constants = [
        helper.make_tensor("ones", TensorProto.FLOAT, [2, 3], [1, 0, 1, 1, 1, 0]),
        helper.make_tensor("first", TensorProto.INT64, [1], [0]),
    ]
    path = save(nodes, [1], constants=constants)
    assert read_pooling_nodes(path).unknown == ("map",)
    report = validate(path, runtimes=QUICK, rounds=0, repair=False)
    assert report.problems == []
    assert report.nodes[0].node.input_shape == (1, 2, 4)


def test_every_stage_gets_the_activations_that_it_really_has(save: Save, tmp_path: Path) -> None:
    array = np.random.default_rng(0).standard_normal((1, 2, 8)).astype(np.float32)
    np.save(tmp_path / "map.npy", array)
    nodes = [
        helper.make_node("Neg", ["x"], ["n"]),
        helper.make_node("MaxPool", ["n"], ["a"], "first", kernel_shape=[2]),
        helper.make_node("AveragePool", ["a"], ["y"], "second", kernel_shape=[2]),
    ]
    seen: dict[str, Any] = {}
    original = RuntimeProcess.ask

    def ask(self: RuntimeProcess, model: bytes, inputs: Any) -> Result:
        node = onnx.load_model_from_string(model).graph.node[0]
        if self.runtime == "oracle" and inputs[node.input[0]].shape[2] > 6:
            seen[node.name] = inputs[node.input[0]]
        return original(self, model, inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RuntimeProcess, "ask", ask)
        report = validate(
            save(nodes, [1, 2, 8]), runtimes=QUICK, rounds=0, inputs=[str(tmp_path / "map.npy")], repair=False
        )
    np.testing.assert_array_equal(seen["first"], -array)
    np.testing.assert_array_equal(seen["second"], np.maximum(-array[..., :-1], -array[..., 1:]))
    assert report.exit_code == 0


def test_a_picture_becomes_an_input(save: Save, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (30, 20), (124, 116, 104)).save(tmp_path / "grey.png")
    path = save([max_pool(kernel_shape=[2, 2])], [1, 3, 8, 6])
    report = validate(path, runtimes=QUICK, rounds=0, inputs=[str(tmp_path / "grey.png")], repair=False)
    assert report.exit_code == 0
    from pooling.validation.activations import given_inputs

    (given,) = given_inputs([str(tmp_path / "grey.png")])
    fitted = given.fitted((1, 3, 8, 6), np.dtype(np.float32))
    assert fitted.shape == (1, 3, 8, 6)
    # The mean of ImageNet, of which nothing is left.
    assert np.abs(fitted).max() < 0.02


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.npy", b"no array", "cannot be read ("),
        ("a.png", b"no picture", "is neither .npy nor a picture ("),
    ],
)
def test_broken_inputs_are_refused(save: Save, tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    if name.endswith("png"):
        pytest.importorskip("PIL.Image")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as caught:
        validate(save([max_pool()], [1, 1, 6]), inputs=[str(tmp_path / name)])
    assert f"--input {tmp_path / name} {sentence}" in str(caught.value)


def test_an_input_of_another_shape_or_dtype_is_said(save: Save, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((1, 1, 7), np.float32))
    np.save(tmp_path / "b.npy", np.zeros((1, 1, 6)))
    path = save([max_pool()], [1, 1, 6])
    for name, sentence in {"a.npy": "contradicts the model", "b.npy": "has dtype float64, and the model takes"}.items():
        report = validate(path, runtimes=QUICK, rounds=0, inputs=[str(tmp_path / name)], repair=False)
        assert report.exit_code == 2
        assert sentence in report.problems[0][1]


# ---------------------------------------------------------------------------------------------------------------------
# Questions


def asked(save: Save, node: onnx.NodeProto, shape: Sequence[int], **keywords: Any) -> list[Any]:
    (stage,) = read_pooling_nodes(save([node], shape, **keywords)).nodes
    return plan_cases(stage, stage.layer(), 0)


def test_a_nan_is_in_every_position_of_the_window(save: Save) -> None:
    every = asked(save, max_pool(kernel_shape=[3, 2], strides=[3, 2]), [1, 16, 9, 8])
    (case,) = [question.case for question in every if question.kind == "nan"]
    windows = np.isnan(case.array[0]).reshape(16, 3, 3, 4, 2).transpose(0, 1, 3, 2, 4)
    single = windows[windows.sum(axis=(3, 4)) == 1]
    assert {tuple(int(i) for i in np.argwhere(window)[0]) for window in single} == {
        (row, column) for row in range(3) for column in range(2)
    }
    assert windows.all(axis=(1, 2, 3, 4)).any(), "a plane of nothing but NaN"


def test_small_inputs_get_the_positions_one_after_another(save: Save) -> None:
    every = asked(save, max_pool(kernel_shape=[3]), [1, 1, 7])
    cases = [question.case for question in every if question.kind == "nan"]
    assert len(cases) == 4
    assert len({case.name for case in cases}) == 4


def test_special_numbers_are_special_and_ordinary_ones_finite(save: Save) -> None:
    every = asked(save, max_pool(), [1, 2, 6])
    assert {question.kind for question in every} == {"ordinary", *SPECIAL}
    ordinary = every[0].case.array
    assert np.isfinite(ordinary).all()
    assert [question.special for question in every] == [question.kind != "ordinary" for question in every]
    arrays = {question.kind: question.case.array for question in every}
    assert np.isneginf(arrays["infinities"]).any()
    largest = np.abs(arrays["magnitudes"]).max()
    assert largest > np.finfo(np.float32).max / 4


def test_means_of_magnitudes_are_finite(save: Save) -> None:
    node = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[3])
    (case,) = [each.case for each in asked(save, node, [1, 4, 9]) if each.kind == "magnitudes"]
    (answer,) = run_cases("pooling", [case])
    assert np.isfinite(answer.outputs[0]).all()


def test_large_inputs_keep_their_shape_once_and_have_fewer_channels_then(save: Save) -> None:
    every = asked(save, max_pool(kernel_shape=[2, 2]), [2, 40, 6, 6])
    assert every[0].whole
    assert every[0].case.array.shape == (2, 40, 6, 6)
    assert {question.case.array.shape for question in every[1:]} == {(1, 16, 6, 6)}


@pytest.mark.parametrize("operator", ["MaxRoiPool", "RoiAlign", "MaxUnpool"])
def test_operators_with_more_inputs_are_asked_about(save: Save, operator: str) -> None:
    shape = [2, 3, 8, 8]
    if operator == "MaxUnpool":
        constant = helper.make_tensor("more", TensorProto.INT64, shape, np.zeros(384, np.int64))
        node = helper.make_node(operator, ["x", "more"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    elif operator == "RoiAlign":
        node = helper.make_node(operator, ["x", "more", "maps"], ["y"], output_height=2, output_width=3)
        constant = helper.make_tensor("more", TensorProto.FLOAT, [2, 4], [0, 0, 4, 4, 1, 1, 6, 6])
    else:
        node = helper.make_node(operator, ["x", "more"], ["y"], pooled_shape=[2, 2])
        constant = helper.make_tensor("more", TensorProto.FLOAT, [2, 5], [0, 0, 0, 4, 4, 1, 1, 1, 6, 6])
    maps = helper.make_tensor("maps", TensorProto.INT64, [2], [0, 1])
    report = validate(save([node], shape, constants=[constant, maps]), runtimes=QUICK, rounds=0)
    assert report.problems == []
    assert report.findings == []
    assert {each.verdict for each in report.nodes[0].summaries.values()} == {"agrees"}


def test_a_limit_of_memory_that_has_no_effect_says_so(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save([helper.make_node("GlobalMaxPool", ["x"], ["y"])], (1, 3, 8, 8))
    assert validate(path, runtimes=["pooling"], rounds=0).notes == ()
    monkeypatch.setitem(sys.modules, "psutil", None)  # type: ignore[arg-type]
    (note,) = validate(path, runtimes=["pooling"], rounds=0).notes
    assert note.endswith("the limit on memory (--limit-memory) has no effect")
