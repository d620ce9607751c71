"""Heads: the maps that outputs are read from, whatever is concatenated behind them, and the objects they serve."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import pytest
from rich.console import Console

from pooling.doctor import Examination, examine
from pooling.doctor.report.json import as_dict
from pooling.doctor.report.page import page
from pooling.doctor.report.table import print_examination

onnx = pytest.importorskip("onnx")


def detector(*, separate: bool = False) -> Any:
    """Make a detector with heads at strides 8, 16 and 32, reshaped and concatenated, with or without two branches."""
    from onnx import TensorProto, helper

    nodes, weights = [], []

    def weight(name: str, shape: tuple[int, ...]) -> str:
        size = 1
        for each in shape:
            size *= each
        weights.append(helper.make_tensor(name, TensorProto.FLOAT, shape, [0.0] * size))
        return name

    def conv(name: str, source: str, channels: tuple[int, int], kernel: int, stride: int) -> str:
        pads = [kernel // 2] * 4
        inputs = [source, weight(f"{name}.weight", (channels[1], channels[0], kernel, kernel))]
        node = helper.make_node("Conv", inputs, [name], name, strides=[stride] * 2, pads=pads)
        nodes.append(node)
        return name

    flat = helper.make_tensor("flat", TensorProto.INT64, (3,), [1, 6, -1])
    source, parts = "x", []
    for level, stride in enumerate((2, 4, 8, 16, 32)):
        source = conv(f"backbone.{level}", source, (3 if level == 0 else 4, 4), 3, 2)
        if stride < 8:
            continue
        if separate:
            boxes, classes = conv(f"box.{level}", source, (4, 4), 1, 1), conv(f"class.{level}", source, (4, 2), 1, 1)
            nodes.append(helper.make_node("Concat", [boxes, classes], [f"both.{level}"], f"both.{level}", axis=1))
            head = f"both.{level}"
        else:
            head = conv(f"head.{level}", source, (4, 6), 1, 1)
        nodes.append(helper.make_node("Reshape", [head, "flat"], [f"flat.{level}"], f"flat.{level}"))
        parts.append(f"flat.{level}")
    nodes.append(helper.make_node("Concat", parts, ["joined"], "joined", axis=2))
    nodes.append(helper.make_node("Sigmoid", ["joined"], ["y"], "scores"))
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 256, 256))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [*weights, flat],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def yolo() -> Examination:
    return examine(detector(), task="detection")


def test_a_detector_has_a_head_for_each_stride(yolo: Examination) -> None:
    assert [head.stages for head in yolo.heads] == [("head.2",), ("head.3",), ("head.4",)]
    assert [head.stride for head in yolo.heads] == [(Fraction(step),) * 2 for step in (8, 16, 32)]
    assert [head.output_size for head in yolo.heads] == [(32, 32), (16, 16), (8, 8)]
    # Of five convolutions of 3 at stride 2: 1 + 2 * (1 + 2 + 4 ...).
    assert [head.receptive_field for head in yolo.heads] == [(15, 15), (31, 31), (63, 63)]
    assert {(head.use, head.used_by) for head in yolo.heads} == {("reshaped and concatenated", "joined")}


def test_objects_go_from_one_cell_to_the_receptive_field(yolo: Examination) -> None:
    assert [(head.smallest, head.largest) for head in yolo.heads] == [(8, 15), (16, 31), (32, 63)]


def test_each_size_is_assigned_to_one_head_by_the_ranges_of_fcos() -> None:
    """With fields that cover the image: 64 pixels at stride 8, 128 at stride 16, the rest at stride 32."""
    wide = detector()
    for node in wide.graph.node:
        if node.name.startswith("backbone"):
            node.attribute.append(onnx.helper.make_attribute("dilations", [40, 40]))
            next(each for each in node.attribute if each.name == "pads").ints[:] = [40] * 4
    heads = examine(wide).heads
    assert [head.assigned for head in heads] == [(8, 64), (64, 128), (128, 256)]
    # Every whole number of pixels from one cell on belongs to a head, and only limits to two.
    sizes = [size for head in heads for size in range(head.assigned[0], head.assigned[1] + 1)]
    assert set(sizes) == set(range(8, 257))
    assert len(sizes) == len(set(sizes)) + 2


def test_maps_of_one_grid_are_one_head() -> None:
    result = examine(detector(separate=True))
    assert [head.stages for head in result.heads] == [("both.2",), ("both.3",), ("both.4",)]
    model = detector(separate=True)
    # Boxes and classes that leave the network each by itself, as in SSD and RetinaNet.
    del model.graph.output[:]
    for name in ("box.2", "class.2", "box.3", "class.3"):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    heads = examine(model).heads
    assert [head.stages for head in heads] == [("box.2", "class.2"), ("box.3", "class.3")]
    assert {head.use for head in heads} == {"output"}


def test_what_becomes_of_a_map_is_said() -> None:
    shape = (1, 3, 32, 32)
    assert examine("conv3x8/2 conv3x8@last", shape).heads[0].use == "output"
    pooled = examine("conv3x8/2 conv3x8@last global@all fc10", shape).heads[0]
    assert (pooled.stages, pooled.use, pooled.used_by) == (("last",), "pooled to one cell", "all")
    dense = examine("conv3x8/2 conv3x8@last fc10@fc", shape).heads[0]
    assert (dense.use, dense.used_by) == ("flattened into a dense layer", "fc")


def test_upsampling_makes_no_objects_smaller() -> None:
    (head,) = examine("conv3x8/2 conv3x8/2 conv3x8/2 up8 conv3x2", (1, 3, 64, 64)).heads
    assert head.stride == (1, 1)
    assert head.resolved_stride == (8, 8)
    assert head.smallest == 8


def test_a_branch_that_shows_all_of_the_input_counts_as_field() -> None:
    (head,) = examine("conv3x8/2@a global conv1x8+a conv3x8", (1, 3, 32, 32)).heads
    assert head.receptive_field == (32, 32)
    assert head.largest == 32


def test_a_map_without_a_known_field_is_no_head() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18, "org.example": 1]>
        g (float[1, 1, 8, 8] x) => (float[1, 1, 8, 8] y) { a = org.example.Odd (x)  y = Relu (a) }""")
    assert examine(model).heads == ()


def test_what_lies_behind_a_field_that_is_lost_is_not_claimed() -> None:
    """A convolution behind an operator that nobody knows still has a map; it pools nothing."""
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18, "org.example": 1]>
        g (float[1, 1, 8, 8] x) => (float[1, 1, 8, 8] y)
        <float[1, 1, 3, 3] w = {1, 1, 1, 1, 1, 1, 1, 1, 1}> {
            a = Conv <pads = [1, 1, 1, 1]> (x, w)
            flat = Flatten (a)
            b = org.example.Odd (flat)
            y = Relu (b)
        }""")
    assert {head.use for head in examine(model).heads} <= {"not known"}


def test_a_map_goes_by_the_stage_that_wrote_it() -> None:
    """SSD and RetinaNet put channels last before they flatten a map; who reads a report looks for the convolution."""
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        g (float[1, 1, 8, 8] x) => (float[1, 64, 1] y)
        <float[1, 1, 3, 3] w = {1, 1, 1, 1, 1, 1, 1, 1, 1}, int64[3] flat = {1, 64, 1}> {
            a = Conv <pads = [1, 1, 1, 1]> (x, w)
            turned = Transpose <perm = [0, 2, 3, 1]> (a)
            y = Reshape (turned, flat)
        }""")
    model.graph.node[0].name = "scores"
    (head,) = examine(model).heads
    assert (head.stages, head.output_size, head.use) == (("scores",), (8, 8), "reshaped")


def test_a_signal_has_heads_too() -> None:
    (head,) = examine("conv10x8/5 conv3x8/2", (1, 1, 1000), object_size=20).heads
    assert (head.stride, head.smallest) == ((Fraction(10),), 10)


def test_table_page_and_json_have_the_heads(yolo: Examination) -> None:
    output = io.StringIO()
    print_examination(yolo, Console(file=output, width=200))
    lines = output.getvalue().splitlines()
    (title,) = [line for line in lines if line.startswith("output maps")]
    assert "3 heads" in title
    assert "then reshaped and concatenated by joined" in title
    for stride, size, objects in ((8, "32×32", "8 to 15"), (16, "16×16", "16 to 31"), (32, "8×8", "32 to 63")):
        (line,) = [line for line in lines if line.startswith(f"  stride {stride} ")]
        assert f"{size} cells, objects of {objects} pixels" in line
    told = as_dict(yolo)["heads"]
    assert [head["stride"] for head in told] == [[8.0, 8.0], [16.0, 16.0], [32.0, 32.0]]
    assert [head["output_size"] for head in told] == [[32, 32], [16, 16], [8, 8]]
    text = page(yolo)
    assert "<h2>Heads</h2>" in text
    assert all(f"<td class=n>{size}</td>" in text for size in ("32×32", "16×16", "8×8"))


def test_the_stage_that_uses_a_map_is_the_first_of_the_network() -> None:
    """Two branches are concatenated each by itself; which of them is named does not depend on the order of a set."""
    model = detector(separate=True)
    for node in model.graph.node:
        if node.name == "scores":
            model.graph.node.remove(node)
            break
    model.graph.node.append(onnx.helper.make_node("Concat", ["flat.2", "flat.3"], ["second"], "second", axis=2))
    model.graph.node.append(onnx.helper.make_node("Sum", ["joined"], ["y"], "sum"))
    model.graph.output.append(onnx.helper.make_tensor_value_info("second", onnx.TensorProto.FLOAT, None))
    assert {head.used_by for head in examine(model).heads} == {"joined"}


def test_a_map_that_is_read_and_pooled_is_read() -> None:
    """The last map of SSD is pooled for a map of one cell, and boxes are read from it as well."""
    model = detector()
    model.graph.node.insert(9, onnx.helper.make_node("GlobalAveragePool", ["backbone.4"], ["cell"], "cell"))
    model.graph.output.append(onnx.helper.make_tensor_value_info("cell", onnx.TensorProto.FLOAT, None))
    last = examine(model).heads[-1]
    assert last.stages == ("backbone.4", "head.4")
    assert (last.use, last.used_by) == ("reshaped and concatenated", "joined")
