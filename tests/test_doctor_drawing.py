"""The drawing of a network from left to right: its boxes to scale, nothing on top of another, the same in all files."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from pooling.doctor import Examination, examine, read, read_graph
from pooling.doctor.analysis.object_footprint import follow_object
from pooling.doctor.report.drawing import NARROW, WIDE, drawing
from pooling.doctor.report.drawing.display import Curve, Drawing, Image, Polygon, Text, fitting, measured, wrapped
from pooling.doctor.report.drawing.layout import LEAST_COLUMN, LEAST_SIDE, MARGIN
from pooling.doctor.report.drawing.maps import MOST_ROW, DrawnMap, DrawnMaps, drawn_maps
from pooling.doctor.report.drawing.names import blocks_in, label_of, path_of
from pooling.doctor.report.drawing.scene import Photograph
from pooling.doctor.report.drawing.sentences import field_sentence, headline
from pooling.doctor.report.drawing.strips import MOST_STRIPS
from pooling.doctor.report.drawing.svg import png, svg
from pooling.doctor.report.pyramid import Box

WIDTHS = (NARROW, 900, WIDE, 1600)


def residual(name: str, source: str, channels: int, stride: int) -> str:
    """Write a bottleneck block whose stages have the names of modules."""
    return (
        f"conv1x{channels // 4}<{source}@{name}.conv1 conv3/{stride}p1@{name}.conv2 conv1x{channels}@{name}.conv3 "
        f"conv1/{stride}x{channels}<{source}@{name}.downsample add<{name}.conv3+{name}.downsample@{name}.add"
    )


def resnet(blocks: tuple[int, ...] = (3, 4, 6, 3)) -> str:
    """Write a ResNet."""
    words, source = ["conv7x64/2p3@conv1 pool3/2p1@maxpool"], "maxpool"
    for layer, count in enumerate(blocks, 1):
        for block in range(count):
            name = f"layer{layer}.{block}"
            words.append(residual(name, source, 128 * 2**layer, 2 if layer > 1 and block == 0 else 1))
            source = f"{name}.add"
    return " ".join([*words, "global@avgpool fc1000@fc"])


UNET = (
    " ".join(f"conv3x{16 * 2**depth}@enc{depth}.0 conv3@enc{depth}.1 pool2@enc{depth}.pool" for depth in range(4))
    + " conv3x256@mid.0 conv3@mid.1 "
    + " ".join(
        f"deconv2/2x{16 * 2**depth}|enc{depth}.1@dec{depth}.cat conv3x{16 * 2**depth}@dec{depth}.0"
        for depth in (3, 2, 1, 0)
    )
    + " conv1x2@mask"
)
TRANSFORMER = "conv16/16p0x192@patch_embed.proj " + " ".join(
    f"conv1@blocks.{block}.attn add+{source}@blocks.{block}.add1 conv1@blocks.{block}.mlp add+blocks.{block}.add1"
    f"@blocks.{block}.add2"
    for block, source in enumerate(["patch_embed.proj", *(f"blocks.{before}.add2" for before in range(11))])
)
PYRAMID = (
    "conv3x16/2@model.0 conv3x32/2@model.1 conv3x64/2@model.2 conv3x128/2@model.3 conv3x256/2@model.4 "
    "up2|model.3@model.6 conv1x128@model.7 up2|model.2@model.9 conv1x64@model.10 "
    "conv3x64/2|model.7@model.12 conv1x128@model.13 conv3x128/2|model.4@model.15 conv1x256@model.16"
)

NETWORKS: dict[str, Callable[[], Examination]] = {
    "resnet": lambda: examine(resnet(), (1, 3, 224, 224), object_size=16, task="detection"),
    "unet": lambda: examine(UNET, (1, 1, 256, 256), object_size=8),
    "transformer": lambda: examine(TRANSFORMER, (1, 3, 224, 224), object_size=16),
    "pyramid": lambda: examine(PYRAMID, (1, 3, 320, 320), object_size=16),
    "dense": lambda: examine(
        "conv3x16@a "
        + " ".join(f"conv3x12|{'a' if not number else f'c{number - 1}'}@c{number}" for number in range(9)),
        (1, 3, 64, 64),
    ),
    "audio": lambda: examine("conv10/5p0x64 " + "conv3/2p0x128 " * 4 + "global fc35", (1, 1, 16000), object_size=400),
    "wave unet": lambda: examine(
        "conv15x24@a conv15/2x48@b conv15/2x96@c up2@u1 conv5x48+b@v1 up2@u2 conv5x24+a@v2",
        (1, 1, 4096),
        object_size=64,
    ),
    "volume": lambda: examine("conv7x64/2 pool3/2p1 conv3 conv3x128/2 conv3x256/2 global", (1, 3, 16, 112, 112)),
    "wide": lambda: examine("conv3x8/2 conv3x16/2 conv3x32/2", (1, 1, 32, 512), object_size=(8, 24)),
    "one stage": lambda: examine("conv3x4", (1, 3, 8, 8)),
    "one cell": lambda: examine("conv1x16 conv1x4", (1, 3, 1, 1), object_size=1),
    "two thousand stages": lambda: unsearched("conv3 " * 1000 + "conv2p0 " * 1000, (1, 1, 1100, 1100)),
    "a hundred sizes": lambda: unsearched("conv2p0 " * 100, (1, 1, 128, 128)),
    "a million channels": lambda: examine("conv1/2x1000000 global", (1, 3, 8, 8), object_size=4),
    "long names": lambda: examine(
        "conv3/2@backbone.bottom_up.stem.conv1.convolution.weight.normalised "
        "conv3/2@backbone.bottom_up.res2.shortcut_of_the_first_block.convolution conv3/2@" + "W" * 90,
        (1, 3, 64, 64),
    ),
    "many levels": lambda: unsearched("conv3/2 " * 8 + "up2 " * 8, (1, 3, 512, 512)),
    "unknown": lambda: unknown(),
}


def unsearched(text: str, shape: tuple[int, ...]) -> Examination:
    """Examine a network without a search for its input sizes, which takes long for so many stages."""
    network = read(text, shape)
    objects = follow_object(network, (8,) * len(network.spatial))
    return replace(examine("conv3", shape), network=network, objects=objects, object_size=objects.size)


def unknown() -> Examination:
    """Examine a network with an operator that nobody knows, and layers behind it."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["1"], "stem", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Conv", ["1", "w"], ["2"], "body", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Riddle", ["2"], ["3"], "riddle", domain="nobody"),
        helper.make_node("Conv", ["3", "w"], ["4"], "behind", kernel_shape=[3, 3]),
        helper.make_node("Relu", ["4"], ["5"], "last"),
    ]
    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("input", (1, 3, 64, 64)), ("5", None))
    ]
    weights = onnx.numpy_helper.from_array(np.zeros((3, 3, 3, 3), np.float32), "w")
    graph = helper.make_graph(nodes, "riddle", values[:1], values[1:], [weights])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("nobody", 1)]
    return examine(read_graph(helper.make_model(graph, opset_imports=opsets)))


@cache
def examined(name: str) -> Examination:
    return NETWORKS[name]()


@cache
def maps_of(name: str) -> DrawnMaps:
    return drawn_maps(examined(name))


@cache
def drawn_at(name: str, width: int = WIDE) -> Drawing:
    return drawing(examined(name), width=width)


@pytest.fixture(params=list(NETWORKS))
def any_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def labels(name: str) -> list[str]:
    return [each.label for each in maps_of(name).maps]


# --- what is drawn ------------------------------------------------------------------------------------------


def test_stages_are_folded_by_resolution_and_named_by_their_module() -> None:
    found = maps_of("resnet").maps
    assert [each.label for each in found] == ["input", "conv1", "layer1", "layer2", "layer3", "layer4", "avgpool"]
    assert [each.shape_text for each in found[1:6]] == [
        "64×112×112", "256×56×56", "512×28×28", "1024×14×14", "2048×7×7",
    ]  # fmt: skip
    assert found[6].shape_text == "2048 values"
    assert [each.blocks_text for each in found[2:6]] == ["3 blocks", "4 blocks", "6 blocks", "3 blocks"]
    assert [each.joins for each in found] == [0, 0, 3, 4, 6, 3, 0]
    assert [each.stride_text for each in found[:6]] == [f"stride {2**power}" for power in range(6)]


def test_without_modules_the_last_stage_has_the_channels() -> None:
    found = drawn_maps(examine("pool2@b conv3x32", (1, 3, 32, 32))).maps[1]
    assert (found.label, found.shape_text) == ("b", "32×16×16")


def test_every_stage_is_in_one_box(any_name: str) -> None:
    network = examined(any_name).network
    names = [name for each in maps_of(any_name).maps for name in each.stages]
    assert sorted(names) == sorted([network.input_name, *(stage.name for stage in network.stages)])


def test_shapes_in_boxes_are_those_of_stages(any_name: str) -> None:
    network = examined(any_name).network
    shapes = {stage.name: stage.output_shape for stage in network.stages}
    for each in maps_of(any_name).maps[1:]:
        if each.kind == "map":
            assert (1, each.channels, *each.size) in {shapes[name] for name in each.stages}


def test_skips_and_heads() -> None:
    unet = maps_of("unet")
    sizes = [each.size[0] for each in unet.maps]
    assert sizes == [256, 256, 128, 64, 32, 16, 32, 64, 128, 256] or sizes == [256, 128, 64, 32, 16, 32, 64, 128, 256]
    assert all(sizes[skip.begin] == sizes[skip.end] for skip in unet.skips)
    assert len(unet.skips) == 4
    assert [each.flag for each in unet.maps if each.flag] == [("stride 1", "256×256")]
    heads = maps_of("pyramid")
    assert [(each.label, each.flag) for each in heads.maps if each.flag] == [("model.15", ("stride 32", "10×10"))]
    assert {(heads.maps[skip.begin].size, heads.maps[skip.end].size) for skip in heads.skips} == {
        ((size, size), (size, size)) for size in (40, 20, 10)
    }
    assert maps_of("resnet").maps[-1].flag == ("output", "1000")


def test_several_heads_have_a_flag_each() -> None:
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    pads = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
    nodes = [
        helper.make_node("Conv", [str(number), "w"], [str(number + 1)], f"c{number}", **pads) for number in range(5)
    ]
    weights = numpy_helper.from_array(np.zeros((3, 3, 3, 3), np.float32), "w")
    values = [
        helper.make_tensor_value_info(name, 1, shape)
        for name, shape in (("0", (1, 3, 64, 64)), ("3", None), ("5", None))
    ]
    graph = helper.make_graph(nodes, "heads", values[:1], values[1:], [weights])
    found = drawn_maps(examine(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])))
    assert [each.flag for each in found.maps if each.flag] == [("stride 8", "8×8"), ("stride 32", "2×2")]


def test_a_gate_of_one_cell_is_no_box() -> None:
    text = "conv3/2x8@a global@squeeze conv1 sigmoid@gate conv3<a+gate@b conv3/2x16@c"
    assert [each.label for each in drawn_maps(examine(text, (1, 3, 32, 32))).maps] == ["input", "a", "c"]


def test_a_network_of_one_resolution_is_a_row() -> None:
    (_, row) = maps_of("transformer").maps
    assert (row.label, row.row, row.blocks, row.size) == ("blocks", True, 12, (14, 14))
    for width in WIDTHS:
        placed = drawn_at("transformer", width).boxes[1]
        assert placed.count == 12
    more = TRANSFORMER + "".join(f" conv1@blocks.{block}.attn" for block in range(12, 30))
    assert drawing(examine(more, (1, 3, 64, 64), object_size=16)).boxes[1].count == MOST_ROW


def test_what_is_not_known_is_torn_and_has_no_size() -> None:
    found = maps_of("unknown").maps
    assert [(each.label, each.kind) for each in found] == [
        ("input", "map"), ("stem", "map"), ("body", "map"), ("nobody.Riddle", "unknown"),
    ]  # fmt: skip
    assert len(found[3].stages) == 3
    drawn = drawn_at("unknown")
    words = [text.words for text in drawn.texts]
    assert {"nobody.Riddle", "not known", "3 stages", "?"} <= set(words)
    assert drawn.of_role("box 3 unknown")
    assert not any(isinstance(item, Image) and item.role == "face 3" for item in drawn.items)
    assert drawn.boxes[3].depth == (0, 0)
    assert "not known: 3 stages from riddle on" in drawn.description
    assert drawn.title == "What becomes of an 8-pixel object cannot be told behind nobody.Riddle, which is not known"
    # A map that is read by what is not known is no output.
    assert [each.flag for each in found if each.flag] == [("output", "not known")]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("resnet", "A 16-pixel object is half a cell at stride 32: it is lost at layer4"),
        ("unet", "An 8-pixel object is half a cell at mid, but its skips bring back 8 cells at the output"),
        ("transformer", "A 16-pixel object is one cell at stride 16: it is seen there, but not its shape"),
        ("wide", "An object of 8×24 pixels is one cell at stride 8: it is seen there, but not its shape"),
        ("one stage", "An 8-pixel object keeps 8 cells or more at every map"),
        ("audio", "A 400-sample object keeps 5 cells or more at every map"),
        ("one cell", "The input is a single cell: there is no detail that could be lost"),
    ],
)
def test_the_sentence(name: str, sentence: str) -> None:
    assert headline(maps_of(name))[0] == sentence


def test_a_network_without_a_map() -> None:
    said, fine = headline(drawn_maps(examine("global fc10", (1, 3, 64, 64))))
    assert said == "An 8-pixel object is put together with all of the input at once: no map is left of it"
    assert not fine


def test_the_sentence_agrees_with_the_footprints(any_name: str) -> None:
    found = maps_of(any_name)
    said, fine = headline(found)
    at_heads = examined(any_name).objects.at_heads
    if at_heads is not None and any(each.object_cells for each in found.maps[1:]) and "not known" not in said:
        assert fine == (min(at_heads.resolved) >= 2)
        assert ("it is lost" in said) == (min(at_heads.resolved) < 1)


def test_what_one_cell_sees() -> None:
    assert (
        field_sentence(maps_of("resnet"))
        == "The receptive field of a cell of layer4 is 427×427 pixels: the whole input of 224×224"
    )
    small = examine("conv3@a pool2@b conv3@c", (1, 3, 64, 64))
    assert field_sentence(drawn_maps(small)) == "The receptive field of a cell of b is 8×8 of 64×64 pixels"
    assert field_sentence(maps_of("unknown")) == "The receptive field of a cell of body is 7×7 of 64×64 pixels"


# --- geometry -----------------------------------------------------------------------------------------------


def overlapping(drawn: Drawing) -> list[tuple[str, str]]:
    boxes = [(text.words, text.box) for text in drawn.texts if text.words != "?"]
    return [
        (one, other) for (one, first), (other, second) in combinations(boxes, 2) if first.within(second) is not None
    ]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_lies_on_another_or_leaves_the_page(any_name: str, width: int) -> None:
    drawn = drawn_at(any_name, width)
    assert overlapping(drawn) == []
    for text in drawn.texts:
        assert text.box.left >= 0, text.words
        assert text.box.right <= width, text.words
        assert text.box.top >= 0, text.words
        assert text.box.bottom <= drawn.height, text.words


@pytest.mark.parametrize("width", WIDTHS)
def test_boxes_go_from_left_to_right_and_do_not_overlap(any_name: str, width: int) -> None:
    boxes = drawn_at(any_name, width).boxes
    if maps_of(any_name).dimensions == 1:
        assert all(one.face.bottom < other.face.top for one, other in pairwise(boxes))
        return
    for one, other in pairwise(boxes):
        assert one.face.right + one.depth[0] <= other.face.left
    assert boxes[0].face.left >= 0
    assert boxes[-1].face.right + boxes[-1].depth[0] <= width
    assert len(boxes) <= (width - 2 * MARGIN) / LEAST_COLUMN


@pytest.mark.parametrize("name", ["resnet", "unet", "wide", "a million channels", "volume"])
def test_sides_and_depths_are_logarithms(name: str) -> None:
    maps, boxes = maps_of(name), drawn_at(name, 1600).boxes
    assert len(boxes) == len(maps.maps)
    scale, deep = set(), set()
    for each, box in zip(maps.maps, boxes, strict=True):
        for cells, length in zip(each.size[-2:], (box.face.height, box.face.width), strict=True):
            if cells == 1:
                assert length == pytest.approx(LEAST_SIDE)
            else:
                scale.add(round((length - LEAST_SIDE) / math.log2(cells), 6))
        if each.kind == "map" and each.channels > 1:
            deep.add(
                round((math.hypot(*box.depth) - math.hypot(*box_of_one(name, boxes))) / math.log2(each.channels), 6)
            )
    assert len(scale) == 1
    assert len(deep) == 1


def box_of_one(name: str, boxes: tuple[Any, ...]) -> tuple[float, float]:
    """Return the depth that a map of one channel would have: from two others, by the line through them."""
    found = [
        (math.log2(each.channels), math.hypot(*box.depth))
        for each, box in zip(maps_of(name).maps, boxes, strict=True)
        if each.kind == "map"
    ]
    (first, one), (second, other) = min(found), max(found)
    return (one - first * (other - one) / (second - first), 0.0)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_u_net_is_a_u(width: int) -> None:
    drawn = drawn_at("unet", width)
    middles = [(box.face.top + box.face.bottom) / 2 for box in drawn.boxes]
    lowest = middles.index(max(middles))
    assert 0 < lowest < len(middles) - 1
    assert all(one <= other for one, other in pairwise(middles[: lowest + 1]))
    assert all(one >= other for one, other in pairwise(middles[lowest:]))
    maps = maps_of("unet").at_most(len(drawn.boxes))
    heights: dict[int, set[float]] = {}
    for each, y in zip(maps.maps, middles, strict=True):
        heights.setdefault(each.size[0], set()).add(round(y, 6))
    assert all(len(each) == 1 for each in heights.values())
    arcs = [item for item in drawn.of_role("arc") if isinstance(item, Curve)]
    assert len(arcs) == len(maps.skips)
    for arc, skip in zip(arcs, maps.skips, strict=True):
        begin, end = drawn.boxes[skip.begin], drawn.boxes[skip.end]
        assert arc.points[0][0] == pytest.approx(begin.face.right + begin.depth[0])
        assert arc.points[-1] == pytest.approx((end.face.left, (end.face.top + end.face.bottom) / 2))
        # It crosses no box between.
        for between in drawn.boxes[skip.begin + 1 : skip.end]:
            assert between.face.top - between.depth[1] > arc.points[-1][1]


def test_a_network_that_only_shrinks_stands_in_a_row() -> None:
    assert len({round(box.face.top + box.face.bottom, 6) for box in drawn_at("resnet").boxes}) == 1


def test_each_skip_is_an_arc_and_each_head_a_flag(any_name: str) -> None:
    drawn = drawn_at(any_name, 1600)
    maps = maps_of(any_name).at_most(len(drawn.boxes))
    assert len(drawn.of_role("arc")) == len(maps.skips)
    words = [item.words for item in drawn.of_role("flag text") if isinstance(item, Text)]
    assert words == [fitting(word, 1000, 12) for each in maps.maps for word in each.flag]
    assert len(drawn.of_role("link")) <= len(maps.links)


def test_residual_blocks_have_their_arcs() -> None:
    assert len(drawn_at("resnet").of_role("inner arc")) == 4


def test_so_many_maps_that_some_are_folded() -> None:
    for width in WIDTHS:
        drawn = drawn_at("many levels", width)
        assert len(drawn.boxes) <= (width - 2 * MARGIN) / LEAST_COLUMN
        assert drawn.boxes[0].label == "input"
    assert any(text.words == "2 sizes" for text in drawn_at("many levels", NARROW).texts)
    assert len(drawing(unsearched("conv3/2x2 up2 " * 20, (1, 1, 256))).boxes) <= MOST_STRIPS


def test_folding_changes_no_sentence() -> None:
    assert len({drawn_at("many levels", width).title for width in WIDTHS}) == 1
    labels = [box.label for box in drawn_at("many levels", NARROW).boxes]
    assert "conv4" in labels  # where the object is lost
    folded = maps_of("many levels").at_most(11)
    assert max(each.folded for each in folded.maps) <= 3


def test_folding_keeps_every_stage_skip_and_flag() -> None:
    maps = maps_of("unet")
    for count in range(3, len(maps.maps) + 1):
        fewer = maps.at_most(count)
        assert len(fewer.maps) <= count
        assert [name for each in fewer.maps for name in each.stages] == [
            name for each in maps.maps for name in each.stages
        ]
        assert [each.flag for each in fewer.maps if each.flag] == [("stride 1", "256×256")]
        assert all(skip.end - skip.begin > 1 for skip in fewer.skips)
        assert sum(each.folded for each in fewer.maps) == len(maps.maps)


def test_the_receptive_field_falls_on_the_input() -> None:
    result = examine("conv3@a pool2@b conv3@c pool2@d", (1, 3, 64, 64), object_size=4)
    maps, drawn = drawn_maps(result), drawing(result)
    level = maps.maps[maps.last].level
    assert level is not None
    face = drawn.boxes[0].face
    (frame,) = drawn.of_role("field")
    assert isinstance(frame, Polygon)
    scale = face.width / 64
    assert frame.points[0] == pytest.approx((face.left + level.field.left * scale, face.top + level.field.top * scale))
    assert frame.points[2] == pytest.approx(
        (face.left + level.field.right * scale, face.top + level.field.bottom * scale)
    )
    (shadow,) = drawn.of_role("shadow")
    assert isinstance(shadow, Polygon)
    assert shadow.points[0][1] == pytest.approx(frame.points[0][1])
    assert shadow.points[1][0] == pytest.approx(
        drawn.boxes[maps.last].face.left + level.cell.left / 64 * drawn.boxes[maps.last].face.width
    )


def test_no_shadow_where_the_field_is_not_known() -> None:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    weights = [
        onnx.numpy_helper.from_array(np.zeros((8, 3, 4, 4), np.float32), "w"),
        onnx.numpy_helper.from_array(np.array([0, 8, -1]), "shape"),
        onnx.numpy_helper.from_array(np.zeros((8, 8), np.float32), "q"),
    ]
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["1"], "proj", kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Reshape", ["1", "shape"], ["2"], "flat"),
        helper.make_node("Transpose", ["2"], ["3"], "turn", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["3", "q"], ["4"], "mix"),
        helper.make_node("MatMul", ["4", "2"], ["5"], "scores"),
        helper.make_node("Softmax", ["5"], ["6"], "soft", axis=-1),
        helper.make_node("MatMul", ["6", "4"], ["7"], "attend"),
    ]
    values = [helper.make_tensor_value_info(name, 1, shape) for name, shape in (("input", (1, 3, 32, 32)), ("7", None))]
    graph = helper.make_graph(nodes, "tokens", values[:1], values[1:], weights)
    result = examine(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), object_size=4)
    found = drawn_maps(result)
    assert [each.size for each in found.maps] == [(32, 32), (8, 8)]
    # A cell that attends to all others sees more than its patch.
    assert "4×4 of 32×32" not in field_sentence(found)


# --- the photograph -----------------------------------------------------------------------------------------


def test_faces_show_the_mean_over_each_cell() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    result = examine("pool2@a pool2@b pool2@c", (1, 3, 32, 32), object_size=8)
    drawn = drawing(result, picture, 1600)
    for number, size in enumerate((1, 2, 4, 8)):
        (image,) = drawn.of_role(f"face {number}")
        assert isinstance(image, Image)
        means = picture.reshape(32 // size, size, 32 // size, size, 3).mean((1, 3))
        assert np.abs(image.pixels - means).max() <= 0.51
        assert image.place == drawn.boxes[number].face


def test_what_upsampling_makes_is_no_detail() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    result = examine("pool4@down up4@up conv1@last", (1, 3, 32, 32), object_size=8)
    (image,) = drawing(result, picture).of_role("face 2")
    assert isinstance(image, Image)
    means = picture.reshape(8, 4, 8, 4, 3).mean((1, 3))
    assert np.abs(image.pixels.reshape(8, -1, 8, image.pixels.shape[1] // 8, 3).mean((1, 3)) - means).max() <= 0.51


def test_behind_a_single_cell_there_is_no_detail() -> None:
    drawn = drawn_at("many levels", 1600)
    (image,) = drawn.of_role(f"enlarged {len(drawn.boxes) - 1}")
    assert isinstance(image, Image)
    assert len(np.unique(image.pixels.reshape(-1, 3), axis=0)) == 1
    # Behind a global window nothing is told, and so nothing shown.
    drawn = drawing(examine("pool4@down pool8@cell up8 up4@last", (1, 3, 32, 32), object_size=8))
    last = len(drawn.boxes) - 1
    assert not drawn.of_role(f"face {last}") + drawn.of_role(f"enlarged {last}")


def test_the_object_lies_where_it_is(any_name: str) -> None:
    maps = maps_of(any_name)
    if maps.dimensions == 1:
        return
    drawn = drawn_at(any_name)
    thing, plane = maps.pyramid.object, maps.pyramid.plane
    for item in drawn.of_role("object 0"):
        assert isinstance(item, Polygon)
        face = drawn.boxes[0].face
        middle = [sum(point[axis] for point in item.points) / 4 for axis in (0, 1)]
        assert middle[0] == pytest.approx(
            face.left + (thing.left + thing.right) / 2 / plane.width * face.width, abs=0.01
        )
        assert middle[1] == pytest.approx(
            face.top + (thing.top + thing.bottom) / 2 / plane.height * face.height, abs=0.01
        )


def test_the_enlarged_object_loses_its_detail() -> None:
    result = examined("resnet")
    drawn = drawing(result)
    pictures = [
        item.pixels for number in range(6) for item in drawn.of_role(f"enlarged {number}") if isinstance(item, Image)
    ]
    assert len(pictures) == 6
    colours = [len(np.unique(each.reshape(-1, 3), axis=0)) for each in pictures]
    assert all(one > other for one, other in pairwise(colours))
    told = [item.words for item in drawn.of_role("object text") if isinstance(item, Text)]
    assert told == ["16 cells", "8 cells", "4 cells", "2 cells", "1 cell", "0.5 cell"]


def test_the_boat_is_where_the_object_is() -> None:
    maps = maps_of("resnet")
    pixels = Photograph.of(maps, None).pixels
    thing = maps.pyramid.object
    assert pixels.shape == (224, 224, 3)
    inside = pixels[int(thing.top) : int(thing.bottom), int(thing.left) : int(thing.right)].astype(int)
    red = inside[..., 0] - inside[..., 2] > 80
    assert red.mean() > 0.08
    assert (inside.min(axis=2) > 220).mean() > 0.15  # its sails
    outside = pixels[:, : int(thing.left) - 4].astype(int)
    assert (outside[..., 0] - outside[..., 2] > 120).mean() < 0.001


def test_an_image_for_a_signal_is_refused() -> None:
    with pytest.raises(ValueError, match="two spatial axes, not 1"):
        drawing(examined("audio"), np.zeros((4, 4)))


# --- signals and volumes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["audio", "wave unet"])
def test_strips_lie_on_one_time_axis(name: str) -> None:
    maps, drawn = maps_of(name), drawn_at(name)
    first = drawn.boxes[0].face
    scale = first.width / maps.pyramid.plane.width
    for each, box in zip(maps.maps, drawn.boxes, strict=True):
        if each.level is not None and each.kind == "map":
            begin = max(0.0, each.level.grid.left)
            end = min(maps.pyramid.plane.width, each.level.grid.right)
            assert box.face.left == pytest.approx(first.left + begin * scale)
            assert box.face.right == pytest.approx(first.left + end * scale)
    assert not any(isinstance(item, Image) for item in drawn.items)
    assert "pixel" not in "".join(text.words for text in drawn.texts)
    assert len(drawn.of_role("arc")) == len(maps.skips)


def test_strips_show_the_mean_over_each_cell() -> None:
    result = examine("pool4 pool4", (1, 1, 256), object_size=16)
    maps, drawn = drawn_maps(result), drawing(result)
    strength = Photograph.of(maps, None).pixels[0, :, 0].astype(float)
    for number, size in ((1, 4), (2, 16)):
        (steps,) = drawn.of_role(f"face {number}")
        assert isinstance(steps, Polygon)
        face = drawn.boxes[number].face
        tops = np.array([y for _, y in steps.points[1:-1:2]])
        means = strength.reshape(-1, size).mean(1)
        np.testing.assert_allclose((face.bottom - tops) / (face.height - 3) * 255, means, atol=0.51)


def test_volumes_show_their_planes() -> None:
    drawn = drawn_at("volume")
    assert len(drawn.of_role("plane")) > 0
    assert any("planes" in text.words for text in drawn.texts)
    assert not drawn_at("resnet").of_role("plane")


# --- files --------------------------------------------------------------------------------------------------

SVG = "{http://www.w3.org/2000/svg}"


def test_svg_is_well_formed_and_tells_what_it_shows(any_name: str) -> None:
    drawn = drawn_at(any_name)
    root = ElementTree.fromstring(svg(drawn).encode("utf-8"))
    assert root.tag == f"{SVG}svg"
    assert root.attrib["role"] == "img"
    title, description = root[0], root[1]
    assert (title.tag, description.tag) == (f"{SVG}title", f"{SVG}desc")
    assert root.attrib["aria-labelledby"] == f"{title.attrib['id']} {description.attrib['id']}"
    assert title.text == f"{drawn.title}."
    assert description.text
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg", "title", "desc", "rect", "path", "image", "text",
    }  # fmt: skip
    words = [element.text or (element[0].tail if len(element) else "") for element in root.iter(f"{SVG}text")]
    assert words == [text.words for text in drawn.texts]
    assert svg(drawing(examined(any_name))) == svg(drawn)


def test_png_and_svg_are_drawn_from_the_same_list(any_name: str) -> None:
    pytest.importorskip("matplotlib")
    from pooling.doctor.report.drawing.raster import DOTS, matplotlib_figure

    drawn = drawn_at(any_name)
    figure = matplotlib_figure(drawn)
    (axes,) = figure.axes
    assert tuple(figure.get_size_inches() * DOTS) == pytest.approx((drawn.width, drawn.height))
    assert [text.get_text() for text in axes.texts] == [text.words for text in drawn.texts]
    assert len(axes.images) == sum(isinstance(item, Image) for item in drawn.items)
    assert len(axes.patches) == sum(isinstance(item, (Polygon, Curve)) for item in drawn.items)
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, drawn.width), (drawn.height, 0))
    root = ElementTree.fromstring(svg(drawn).encode("utf-8"))
    assert len([*root.iter(f"{SVG}image")]) == len(axes.images)
    assert len([*root.iter(f"{SVG}path")]) == len(axes.patches)


def test_lines_are_no_longer_than_they_were_taken_for(any_name: str) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from pooling.doctor.report.drawing.raster import DOTS, matplotlib_figure

    drawn = drawn_at(any_name)
    figure = matplotlib_figure(drawn)
    figure.set_dpi(10 * DOTS)  # so that no letter is moved to the next whole dot
    renderer = FigureCanvasAgg(figure).get_renderer()
    for text, shown in zip(drawn.texts, figure.axes[0].texts, strict=True):
        assert shown.get_window_extent(renderer).width <= 10 * text.box.width, text.words


@pytest.mark.parametrize("family", ["DejaVu Sans", "Liberation Sans", "Verdana", "Roboto", "Noto Sans"])
@pytest.mark.parametrize("bold", [False, True])
def test_no_common_font_is_wider(family: str, bold: bool) -> None:
    manager = pytest.importorskip("matplotlib.font_manager")
    from matplotlib.ft2font import FT2Font

    weight = "bold" if bold else "normal"
    try:
        path = manager.findfont(manager.FontProperties(family=family, weight=weight), fallback_to_default=False)
    except ValueError:
        pytest.skip(f"{family} is not installed")
    font = FT2Font(path)
    font.set_size(1000, 72)
    for words in ("encoder.layer1.0.conv1", "512×28×28", "A 16-pixel object is half a cell at stride 32: it is lost"):
        advance = sum(font.load_char(ord(sign)).linearHoriAdvance / 65536 for sign in words)
        assert advance <= measured(words, 1000, bold=bold)


def test_png_is_what_others_read() -> None:
    images = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (17, 23, 3), np.uint8)
    with images.open(io.BytesIO(png(pixels))) as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels)


HOSTILE = "</title><script>alert(1)</script>\"&'\x00\x1b[2J\u202e$x^2$"


def test_hostile_names_are_words() -> None:
    result = examined("one stage")
    network = result.network
    stages = tuple(replace(stage, name=HOSTILE) for stage in network.stages)
    renamed = replace(network, name=HOSTILE, stages=stages, outputs=(HOSTILE,))
    hostile = replace(result, network=renamed, objects=follow_object(renamed, result.object_size))
    drawn = drawing(hostile)
    text = svg(drawn)
    root = ElementTree.fromstring(text.encode("utf-8"))
    assert {element.tag.removeprefix(SVG) for element in root.iter()}.isdisjoint({"script"})
    assert "alert(1)" in "".join(root.itertext())
    assert overlapping(drawn) == []
    pytest.importorskip("matplotlib")
    from pooling.doctor.report.figure import figure_file

    assert figure_file(hostile, "x.png").startswith(b"\x89PNG")


def test_the_drawing_needs_no_library(run_python: Callable[..., str]) -> None:
    code = """
import sys
for name in ("matplotlib", "PIL", "onnx", "rich", "jinja2", "msgspec"):
    sys.modules[name] = None
from pooling.doctor import examine
from pooling.doctor.report.figure import figure_file
print(len(figure_file(examine("conv3/2 pool2 conv3 pool2", (1, 3, 33, 33)), "x.svg")))
"""
    assert int(run_python("-c", code)) > 5000


def test_files_of_both_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from pooling.doctor.report.figure import figure_file

    result = examined("one stage")
    for kind, begin in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        contents = {figure_file(result, f"x.{kind}", picture=picture) for picture in ("network", "levels")}
        assert len(contents) == 2
        assert all(content.startswith(begin) for content in contents)
    with pytest.raises(ValueError, match="must be 'network' or 'levels'"):
        figure_file(result, "x.png", picture="boxes")


def test_the_command_line_draws_both(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    arguments = [
        "doctor",
        "--layers",
        "conv3/2x8@stem conv3/2x16@down",
        "--input-shape",
        "1x3x32x32",
        "--fail-on",
        "never",
    ]
    for picture, word in (("network", "stem"), ("levels", "receptive field")):
        path = tmp_path / f"{picture}.svg"
        command = [sys.executable, "-m", "pooling", *arguments, "--figure", str(path), "--picture", picture]
        subprocess.run(command, check=True, capture_output=True)
        assert word in path.read_text(encoding="utf-8")


def test_the_page_begins_with_the_drawing() -> None:
    pytest.importorskip("jinja2")
    from pooling.doctor.report.page import page

    text = page(examined("one stage"))
    first = text.index("<svg")
    assert text[first:].startswith('<svg role="img" aria-labelledby="broad-title broad-desc"')
    assert text.count("keeps 8 cells or more at every map.") >= 2
    assert text.index('class="drawing slim"') < text.index("Where the resolution goes")


# --- parts --------------------------------------------------------------------------------------------------


def test_names_of_modules() -> None:
    assert path_of("/model.22/cv2.2/cv2.2.2/Conv") == ("model", "22", "cv2", "2", "2")
    assert path_of("/features/denseblock1/denselayer12/norm1/Relu") == (
        "features",
        "denseblock1",
        "denselayer12",
        "norm1",
    )
    assert path_of("n39") == ("n39",)
    assert path_of("///") == ("///",)
    layers = [("features", "denseblock1", f"denselayer{number}", "conv") for number in range(6)]
    assert blocks_in(layers, ("features", "denseblock1")) == (6, "layers")
    # Two convolutions are no two blocks.
    assert blocks_in([("down", "conv1", "conv"), ("down", "conv2", "conv")], ("down",)) == (1, "blocks")
    first, second = ([("encoder", layer, part) for part in ("conv", "norm", "act")] for layer in ("layer1", "layer2"))
    assert label_of(first, [second]) == ("encoder", "layer1")


def test_names_are_shortened_in_the_middle() -> None:
    name = "backbone.encoder.layer1.0.conv1"
    for room in range(30, 250, 10):
        cut = fitting(name, room, 12)
        assert measured(cut, 12) <= room
        assert cut == name or room < 60 or (cut[0] == name[0] and "…" in cut and name.endswith(cut.partition("…")[2]))
    assert fitting(name, 110, 12).endswith("conv1")


def test_lines_are_broken_evenly() -> None:
    words = "A 16-pixel object is half a cell at stride 32: it is lost at layer4."
    lines = wrapped(words, 700, 30, bold=True)
    assert " ".join(lines) == words
    assert all(measured(line, 30, bold=True) <= 700 for line in lines)
    assert min(map(len, lines)) > max(map(len, lines)) / 2


def test_a_box_without_a_place_on_the_input() -> None:
    each = DrawnMap("map", ("a",), "a", (7, 7), 64)
    assert (each.stride_text, each.object_cells, each.shape_text) == ("stride not known", (), "64×7×7")
    assert Box(0, 0, 1, 1).within(Box(2, 2, 3, 3)) is None
