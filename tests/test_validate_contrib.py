"""Poolings of com.microsoft, which onnxruntime is asked about."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("onnxruntime")

from rich.console import Console

from pooling.validation import validate
from pooling.validation.contrib import ask_about
from pooling.validation.pooling_nodes import read_pooling_nodes
from pooling.validation.report.json import as_dict
from pooling.validation.report.junit import write_junit
from pooling.validation.report.page import write_page
from pooling.validation.report.table import print_report
from pooling.validation.runners.results import Result
from pooling.validation.verdicts import Kind
from tests.schemas import check

BYTES = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8}
SHAPE = (1, 3, 9, 8)
LAST = (1, 9, 8, 3)


def written(
    path: Path,
    operator: str,
    shape: tuple[int, ...],
    dtype: str = "uint8",
    scales: tuple[float, int, float, int] = (0.05, 3, 0.07, 10),
    domain: str = "com.microsoft",
    open_scale: bool = False,
    **attributes: Any,
) -> Path:
    """Write a model of one node."""
    quantised = operator.startswith("QLinear")
    names = ["xs", "xz", "ys", "yz"] if quantised else []
    kinds = ["float32", dtype, "float32", dtype]
    constants = [
        numpy_helper.from_array(np.array(value, kind), name)
        for name, value, kind in zip(names, scales, kinds, strict=False)
    ]
    inputs = [helper.make_tensor_value_info("x", BYTES[dtype], shape)]
    if open_scale:
        constants.pop(0)
        inputs.append(helper.make_tensor_value_info("xs", TensorProto.FLOAT, ()))
    node = helper.make_node(operator, ["x", *names], ["y"], "pool", domain=domain, **attributes)
    output = helper.make_tensor_value_info("y", BYTES[dtype], [None] * len(shape))
    graph = helper.make_graph([node], "g", inputs, [output], constants)
    imports = [helper.make_opsetid("", 13), helper.make_opsetid(domain, 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return path


@pytest.mark.parametrize("dtype", BYTES)
def test_onnxruntime_is_asked_about_its_own_poolings(dtype: str, tmp_path: Path) -> None:
    window = {"kernel_shape": [3, 3], "strides": [2, 2]}
    models = [
        ("QLinearAveragePool", SHAPE, window),
        ("QLinearAveragePool", SHAPE, {**window, "pads": [1, 0, 1, 1]}),
        ("QLinearAveragePool", SHAPE, {**window, "pads": [1, 1, 1, 1], "count_include_pad": 1}),
        ("QLinearAveragePool", LAST, {**window, "channels_last": 1}),
        ("QLinearGlobalAveragePool", SHAPE, {}),
        ("QLinearGlobalAveragePool", LAST, {"channels_last": 1}),
        ("NhwcMaxPool", LAST, {**window, "pads": [1, 1, 1, 1]}),
    ]
    paths = [
        written(tmp_path / f"{number}.onnx", operator, shape, dtype, **attributes)
        for number, (operator, shape, attributes) in enumerate(models)
    ]
    report = validate(paths, runtimes=["pooling", "onnxruntime"], rounds=0, threads=1)
    assert report.exit_code == 0
    assert [stage.node.operator for stage in report.nodes] == [operator for operator, _, _ in models]
    for stage in report.nodes:
        assert stage.verdict == "equal"
        assert stage.summaries["onnxruntime"].cases == {"agrees": 2}  # with its optimiser on and off
        assert list(stage.summaries) == ["onnxruntime"]
    assert [stage.output_shape for stage in report.nodes] == [
        (1, 3, 4, 3),
        (1, 3, 5, 4),
        (1, 3, 5, 4),
        (1, 4, 3, 3),
        (1, 3, 1, 1),
        (1, 1, 1, 3),
        (1, 5, 4, 3),
    ]


def test_what_is_expected_is_the_mean_of_what_the_bytes_stand_for(tmp_path: Path) -> None:
    path = written(
        tmp_path / "m.onnx", "QLinearAveragePool", (1, 1, 2, 2), scales=(0.5, 4, 0.25, 7), kernel_shape=[2, 2]
    )
    (stage,) = read_pooling_nodes(path).nodes
    asked = ask_about(stage, 0, 1)
    (numbers,) = asked.twin.inputs.values()
    np.testing.assert_array_equal(numbers, (asked.fed["x"].astype(np.float64) - 4) * 0.5)
    # 1.125 is 4.5 steps of 0.25: half to even; what is beyond the dtype is saturated.
    for mean, rounded in ((1.125, 11), (1.375, 13), (-9.0, 0), (900.0, 255)):
        expected = asked.expected(Result([np.full((1, 1, 1, 1), mean)]))
        assert asked.rounded(expected).item() == rounded
        for given, kind in ((rounded, Kind.AGREES), (abs(rounded - 2), Kind.VALUE)):
            answer = Result([np.full((1, 1, 1, 1), given, np.uint8)])
            assert asked.judged(expected, answer).kind is kind
    # Half a step may be rounded either way, and nothing else may.
    half, third = (asked.expected(Result([np.full((1, 1, 1, 1), mean)])) for mean in (1.125, 1.1))
    other = Result([np.full((1, 1, 1, 1), 12, np.uint8)])
    assert asked.judged(half, other).kind is Kind.AGREES
    assert asked.judged(third, other).kind is Kind.VALUE
    assert asked.judged(half, Result([np.zeros((1, 1, 2, 1), np.uint8)])).kind is Kind.SHAPE
    assert asked.judged(half, Result([np.zeros((1, 1, 1, 1), np.int8)])).kind is Kind.DTYPE
    assert asked.judged(half, Result(unsupported="no")).kind is Kind.REFUSES
    assert asked.judged(half, Result(crash="died")).kind is Kind.CRASHES


def test_a_wrong_answer_is_a_finding_in_every_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pooling.validation.runners.processes import RuntimeProcess

    original = RuntimeProcess.ask

    def ask(self: RuntimeProcess, model: bytes, inputs: Any) -> Result:
        answer = original(self, model, inputs)
        if self.runtime != "onnxruntime":  # with its optimiser off it stays right
            return answer
        return Result([np.array(output) ^ np.array(64, output.dtype) for output in answer.outputs])

    monkeypatch.setattr(RuntimeProcess, "ask", ask)
    path = written(tmp_path / "m.onnx", "QLinearGlobalAveragePool", SHAPE)
    report = validate(path, runtimes=["pooling", "onnxruntime"], rounds=0, threads=1, smallest=True)
    assert report.exit_code == 1
    (finding,) = report.findings
    assert finding.sentence.startswith("onnxruntime ")
    assert " differs at node pool: " in finding.sentence
    assert finding.verdict.differing == 3
    assert report.nodes[0].summaries["onnxruntime"].cases == {"value": 1, "agrees": 1}
    check("validate", json.loads(json.dumps(as_dict(report))))
    write_page(report, tmp_path / "page.html")
    assert finding.verdict.sentence in (tmp_path / "page.html").read_text(encoding="utf-8")
    write_junit(report, tmp_path / "report.xml")
    assert "differs at node pool" in (tmp_path / "report.xml").read_text(encoding="utf-8")
    console = Console(file=io.StringIO(), width=200)
    print_report(report, console)
    assert finding.sentence in console.file.getvalue()  # type: ignore[attr-defined]


def test_what_is_not_asked_is_named(tmp_path: Path) -> None:
    window = {"kernel_shape": [3, 3]}
    scale = written(tmp_path / "scale.onnx", "QLinearAveragePool", SHAPE, open_scale=True, **window)
    elsewhere = written(tmp_path / "other.onnx", "FancyPool", SHAPE, domain="example.org", **window)
    report = validate([scale, elsewhere], runtimes=["pooling", "onnxruntime"], rounds=0, threads=1)
    assert report.exit_code == 2
    assert report.nodes[0].problem == "its x_scale 'xs' is known only when the model runs"
    told = "1 pooling node of other operator sets was not compared: pool (FancyPool of example.org)"
    assert report.models[1].unasked == (told,)
    alone = validate(scale, runtimes=["pooling"], rounds=0, threads=1)
    assert alone.exit_code == 2
    told = "QLinearAveragePool of com.microsoft is an operator of onnxruntime, which is not asked"
    assert alone.nodes[0].problem == told
