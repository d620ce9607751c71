"""Poolings among their neighbours, and in the whole model: what a runtime's optimiser makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pooling.validation import Report, Result, validate
from pooling.validation.pooling_nodes import read_pooling_nodes
from pooling.validation.reduce_findings import with_smallest
from pooling.validation.report.json import as_dict
from pooling.validation.report.page import write_page
from pooling.validation.runners import installed
from pooling.validation.runners.processes import RuntimeProcess
from pooling.validation.whole import difference, neighbourhood

CONSTANTS = [
    numpy_helper.from_array(np.array(1, np.float32), "s"),
    numpy_helper.from_array(np.array(0, np.uint8), "z"),
    numpy_helper.from_array(np.ones((16, 16, 3, 3), np.float32), "w"),
]


def save(
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int] = (1, 1, 5, 5),
    dtype: int = TensorProto.UINT8,
    results: Sequence[str] = ("y",),
) -> Path:
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info(name, dtype, None) for name in results],
        CONSTANTS,
    )
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def quantised(**attributes: Any) -> list[onnx.NodeProto]:
    return [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["d"]),
        helper.make_node("AveragePool", ["d"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2], **attributes),
        helper.make_node("QuantizeLinear", ["p", "s", "z"], ["y"]),
    ]


def asked(path: Path, **keywords: Any) -> Report:
    return validate(path, **{"runtimes": ["onnxruntime"], "rounds": 0, **keywords})


def test_a_fusion_that_is_wrong_is_found_and_named(tmp_path: Path) -> None:
    """The node alone is right; onnxruntime's own quantised average divides by cells outside."""
    path = save(tmp_path, quantised(ceil_mode=1, count_include_pad=1))
    report = asked(path)
    (finding,) = [each for each in report.findings if each.counts_as == "differs"]
    assert report.exit_code == 1
    assert finding.fusion == "DequantizeLinear, QuantizeLinear to QLinearAveragePool of com.microsoft"
    assert finding.node == "pool"
    assert finding.remedy.startswith("pooling repair (ceil_mode)")
    assert "fuses node pool with DequantizeLinear, QuantizeLinear to QLinearAveragePool" in finding.sentence
    assert as_dict(report)["models"][0]["nodes"][0]["findings"][-1]["fusion"] == finding.fusion
    write_page(with_smallest(report), tmp_path / "page.html")
    assert "QLinearAveragePool of com.microsoft" in (tmp_path / "page.html").read_text()


def test_fusions_that_are_right_are_no_finding(tmp_path: Path) -> None:
    report = asked(save(tmp_path, quantised()))
    assert [each for each in report.findings if each.counts_as == "differs"] == []
    assert report.exit_code == 0


def test_a_convolution_before_a_pooling_changes_the_layout_and_nothing_else(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        helper.make_node("Transpose", ["p"], ["y"], perm=[0, 2, 3, 1]),
    ]
    path = save(tmp_path, nodes, (1, 16, 12, 12), TensorProto.FLOAT)
    network = read_pooling_nodes(path)
    piece = neighbourhood(network, network.nodes[0], 0)
    assert piece is not None
    assert [node.op_type for node in piece.model.graph.node] == ["Conv", "Relu", "MaxPool", "Transpose"]
    assert piece.outputs == ("y",)
    assert set(np.unique(piece.constants["w"])) == {-1, 0, 1}  # sums of whole numbers are exact
    report = asked(path, runtimes=[name for name in ("onnxruntime", "openvino") if name in installed()])
    assert [each for each in report.findings if each.counts_as == "differs"] == []


def test_a_tensor_that_others_read_comes_out_as_in_the_network(tmp_path: Path) -> None:
    nodes = [*quantised(), helper.make_node("QuantizeLinear", ["d", "s", "z"], ["other"])]
    network = read_pooling_nodes(save(tmp_path, nodes, results=("y", "other")))
    piece = neighbourhood(network, network.nodes[0], 0)
    assert piece is not None
    assert piece.outputs == ("d", "y")


def test_pieces_that_differ_in_names_only_are_asked_about_once(tmp_path: Path) -> None:
    first = quantised()
    second = [onnx.NodeProto.FromString(node.SerializeToString()) for node in first]
    for node in second:
        node.name += "2"
        node.output[0] += "2"
        if node.input[0] != "x":
            node.input[0] += "2"
    network = read_pooling_nodes(save(tmp_path, [*first, *second], results=("y", "y2")))
    pieces = [neighbourhood(network, stage, 0) for stage in network.nodes]
    assert pieces[0] is not None
    assert pieces[1] is not None
    assert pieces[0].key == pieces[1].key
    network = read_pooling_nodes(save(tmp_path, quantised(ceil_mode=1)))
    other = neighbourhood(network, network.nodes[0], 0)
    assert other is not None
    assert other.key != pieces[0].key


def test_what_only_the_whole_model_shows_is_blamed_on_the_pooling_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = RuntimeProcess.ask

    def ask(self: RuntimeProcess, model: bytes, inputs: Any) -> Result:
        answer = original(self, model, inputs)
        graph = onnx.load_model_from_string(model).graph
        exposed = {each.name for each in graph.output}
        if self.runtime != "onnxruntime" or graph.name != "model" or "second" in exposed:
            return answer
        return Result(tuple(output + np.float32(1) for output in answer.outputs))

    monkeypatch.setattr(RuntimeProcess, "ask", ask)
    nodes = [
        helper.make_node("MaxPool", ["x"], ["first"], "first", kernel_shape=[2, 2]),
        helper.make_node("Neg", ["first"], ["n"]),
        helper.make_node("MaxPool", ["n"], ["second"], "second", kernel_shape=[2, 2]),
        helper.make_node("Neg", ["second"], ["y"]),
    ]
    report = asked(save(tmp_path, nodes, dtype=TensorProto.FLOAT))
    (finding,) = [each for each in report.findings if each.counts_as == "differs"]
    assert finding.node == "second"
    assert "an output of the model is" in finding.sentence


def test_differences_beyond_rounding() -> None:
    numbers = np.array([1000.0, 1.0], np.float32)
    assert difference([numbers], [numbers + np.float32(0.005)]) == ("", None)
    assert difference([numbers], [numbers + np.float32([0, 1])]) == ("2.0 instead of 1.0 at (1,)", (1,))
    levels = np.array([3, 200], np.uint8)
    assert difference([levels], [levels + np.uint8(1)]) == ("", None)
    assert difference([levels], [levels + np.uint8(2)])[0] == "5 instead of 3 at (0,), 2 of 2 elements"
    assert difference([levels], [levels.astype(np.int8)])[0] == "dtype int8 instead of uint8"
    assert difference([levels], [levels[:1]])[0] == "shape (1,) instead of (2,)"
    assert difference([levels], [])[0] == "0 outputs instead of 1"
    assert difference([numbers], [np.array([np.nan, 1], np.float32)])[1] == (0,)
