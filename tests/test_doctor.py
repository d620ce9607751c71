"""The examination: input sizes, objects, what-if and JSON."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pooling
from pooling.doctor import Network, NetworkError, examine, read, read_graph
from pooling.doctor.analysis.input_sizes import AxisSizes, Pattern, input_sizes
from pooling.doctor.analysis.object_footprint import follow_object, without_head
from pooling.doctor.report.json import as_dict, save_json
from pooling.doctor.what_if import find_stage, parse_changes, what_if
from tests.schemas import check

UNET = "conv3x8@a pool2 conv3@b pool2 conv3 up2|b conv3x8 up2+a"
RESNET = (
    "conv7x16/2p3@stem pool3/2p1@pool1 conv3@a conv3+a@block conv3x32/2@left conv3@b conv1x32/2<block+b@joined "
    "conv3x64/2@last global fc10"
)


# ---------------------------------------------------------------------------------------------------------------------
# Input sizes, against trying them all


def sizes_of(layers: str, shape: tuple[int, ...], asked: list[int] | None = None) -> tuple[AxisSizes, ...]:
    graph = read_graph(layers)
    return input_sizes(graph, graph.infer(shape), asked)


def one_axis(layers: str, size: int) -> AxisSizes:
    (found,) = sizes_of(layers, (1, 3, size))
    return found


def works(layers: str, size: int) -> bool:
    try:
        read(layers, (1, 3, size))
    except NetworkError:
        return False
    return True


def drops(layers: str, size: int) -> bool:
    """Whether fewer input pixels than before give the same number of cells at some stage."""
    network = read(layers, (1, 3, size))
    return any(
        axis.dropped > max(0, axis.stride - axis.effective_kernel_size)
        for stage in network.stages
        if stage.kind in ("convolution", "pooling")
        for axis in stage.axes
    )


WORDS = ["conv3", "conv3p0", "conv5/2", "conv1/2", "pool2", "pool3/2", "pool3/2p1", "conv3d2", "avgpool3", "conv4/2p1"]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5), st.integers(60, 100))
def test_sizes_of_chains_are_those_that_an_enumeration_finds(words: list[str], size: int) -> None:
    layers = " ".join(words)
    if not works(layers, size):
        return
    found = one_axis(layers, size)
    assert found.smallest is not None
    assert works(layers, found.smallest)
    assert not any(works(layers, each) for each in range(1, found.smallest))
    assert found.largest is None
    assert str(found.working) == "any"
    for each in range(size, size + 40):
        assert (each in found.clean) == (not drops(layers, each))


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 3), st.sampled_from(["pool2", "conv3x8/2", "pool3/2p1"]), st.integers(16, 40))
def test_sizes_where_skip_connections_meet(depth: int, down: str, size: int) -> None:
    descent = " ".join(f"conv3x8@s{level} {down}" for level in range(depth))
    layers = f"{descent} {' '.join(f'up2+s{level}' for level in reversed(range(depth)))}"
    known = 8 * depth * 4
    (found,) = sizes_of(layers, (1, 8, known), [size])
    for each in range(2, 60):  # an addition repeats a map of one cell, as ONNX has it
        assert (works_with_channels(layers, each)) == (each >= (found.smallest or 0) and each in found.working)
    assert all(works_with_channels(layers, each) for each in found.working_near)


def works_with_channels(layers: str, size: int) -> bool:
    try:
        read(layers, (1, 8, size))
    except NetworkError:
        return False
    return True


def test_sizes_of_axes_that_differ_are_given_for_each() -> None:
    height, width = sizes_of("conv3 pool2,1 pool2,3", (1, 3, 36, 36))
    assert (height.axes, str(height.clean)) == ("H", "multiples of 4")
    assert (width.axes, str(width.clean)) == ("W", "multiples of 3")
    both = sizes_of("conv3 pool2", (1, 3, 40, 41))
    assert [(each.axes, each.given, each.clean_near) for each in both] == [("H", 40, (38, 40)), ("W", 41, (40, 42))]


def test_sizes_of_axes_whose_windows_differ_are_said_once_where_they_are_equal() -> None:
    (both,) = sizes_of("conv3 pool2,1 pool2,4", (1, 3, 40, 40))
    assert (both.axes, str(both.clean)) == ("H and W", "multiples of 4")
    depth, others = sizes_of("conv3 pool1,2,2", (1, 3, 8, 8, 8))
    assert [(each.axes, str(each.clean)) for each in (depth, others)] == [("D", "any"), ("H and W", "multiples of 2")]


def test_sizes_of_a_network_whose_stride_is_large() -> None:
    found = one_axis(" ".join(["pool2"] * 10), 4096)
    assert (found.smallest, found.largest) == (1024, None)
    assert 2048 in found.clean
    assert 2049 not in found.clean
    assert found.clean_near[-1] == 4096


def test_a_pattern_says_what_it_holds() -> None:
    assert [size for size in range(8) if size in Pattern(4, (1, 3))] == [1, 3, 5, 7]
    assert str(Pattern(4, (1, 3))) == "4 n + (1 or 3)"
    assert str(Pattern(32, (0, *range(25, 32)))) == "32 n + (25 to 32)"
    assert str(Pattern(8, (0, 1, 4, 5, 6))) == "8 n + (0, 1 or 4 to 6)"
    assert str(Pattern(8, (0, 1, 4, 6, 7))) == "8 n + (4 or 6 to 9)"


# ---------------------------------------------------------------------------------------------------------------------
# Objects


def test_an_object_of_8_after_three_halvings_is_one_cell() -> None:
    objects = follow_object(read("pool2@a pool2@b pool2@c pool2@d", (1, 3, 64, 64)), (8, 8))
    assert [objects.footprints[name].cells[0] for name in "abcd"] == [4, 2, 1, Fraction(1, 2)]
    assert (objects.below_two, objects.below_one, objects.smallest) == ("c", "d", (16, 16))


def test_an_object_may_be_longer_than_wide() -> None:
    objects = follow_object(read("pool2 pool2", (1, 3, 64, 64)), (4, 8))
    assert objects.at_heads is not None
    assert objects.at_heads.cells == (1, 2)


def test_upsampling_resolves_nothing_but_a_skip_connection_does() -> None:
    objects = follow_object(read("conv3x8@a pool4 up4@up conv3+a@sum", (1, 3, 32, 32)), (4, 4))
    assert objects.footprints["up"].cells == (4, 4)
    assert objects.footprints["up"].resolved == (1, 1)
    assert objects.footprints["sum"].resolved == (4, 4)


def test_outputs_are_read_from_the_last_maps() -> None:
    assert examine(RESNET).objects.heads == ("last",)
    assert examine("conv3x8 pool2@p fc10 fc10", (1, 3, 8, 8)).objects.heads == ("p",)
    assert examine("conv3x8@a avgpool8", (1, 3, 8, 8)).objects.heads == ("a",)
    assert examine("conv3x8 conv3@b", (1, 3, 8, 8)).objects.heads == ("b",)


def test_a_network_without_its_head_ends_with_the_last_map() -> None:
    body = without_head(read_graph(RESNET), read(RESNET)).infer()
    assert body.outputs == ("last",)
    assert body.stages[-1].name == "last"


# ---------------------------------------------------------------------------------------------------------------------
# What can be given


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        (None, (1, 3, 224, 224)),
        ((64,), (1, 3, 64, 64)),
        ((64, 96), (1, 3, 64, 96)),
        ((3, 64, 96), (1, 3, 64, 96)),
        ((2, 1, 64, 96), (2, 1, 64, 96)),
        ((2, 16, 64), (2, 16, 64)),
        ([1, 3, 16, 32, 32], (1, 3, 16, 32, 32)),
    ],
)
def test_shapes_may_be_written_in_brief(given: Any, shape: tuple[int, ...]) -> None:
    result = examine("conv3x8 pool2", given)
    assert result.network.input_shape == shape
    assert result.failure is None
    assert len(result.object_size) == len(shape) - 2


def test_a_graph_or_layers_can_be_examined() -> None:
    graph = read_graph("conv3x8 pool2")
    assert examine(graph, (1, 3, 32, 32)).network == graph.infer((1, 3, 32, 32))
    assert examine(pooling.MaxPool2d(2), (1, 3, 32, 32)).network.stages[0].operator == "MaxPool"


def test_open_sizes_are_assumed_and_said() -> None:
    onnx = pytest.importorskip("onnx")
    text = """
    <ir_version: 8, opset_import: ["": 18]>
    g (float[N, 3, H, W] x) => (float[N, 3, h, w] y) { y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x) }"""
    model = onnx.parser.parse_model(text)
    result = examine(model)
    assert result.network.input_shape == (1, 3, 224, 224)
    (note,) = [finding for finding in result.findings if finding.code == "D902"]
    assert "Nx3" in note.message or "N×3" in note.message
    assert "--input-shape" in note.message
    for size in ((320,), (1, 3, 320, 320)):
        given = examine(model, size)
        assert given.network.input_shape == (1, 3, 320, 320)
        assert "D902" not in {finding.code for finding in given.findings}


def test_no_shape_is_assumed_where_one_was_given_that_does_not_work() -> None:
    assert "D902" in {finding.code for finding in examine("avgpool60/2").findings}
    for shape in ((8,), (1, 3, 8, 8)):
        result = examine("avgpool60/2", shape)
        assert result.failure is not None
        assert "D902" not in {finding.code for finding in result.findings}


@pytest.mark.parametrize(
    ("arguments", "kind", "sentence"),
    [
        (
            {"task": "counting"},
            ValueError,
            "examine: task='counting' must be one of 'classification', 'detection', 'segmentation'",
        ),
        ({"ignore": [101]}, TypeError, "examine: ignore=[101] must be a list of strings, not of int"),
        ({"ignore": ["E1"]}, ValueError, "examine: ignore=['E1'] has 'E1', which begins no code; they are D101, "),
        ({"object_size": 0}, ValueError, "examine: object_size=0 must be at least 1 on axis H, not 0"),
        (
            {"object_size": "8"},
            TypeError,
            "examine: object_size='8' must be an integer or one integer per spatial axis",
        ),
        ({"input_shape": (1, 3, 0, 8)}, ValueError, "examine: input_shape=(1, 3, 0, 8) must have sizes of at least 1"),
        ({"input_shape": "large"}, ValueError, "examine: input_shape='large' must be a shape"),
        ({"changes": {"pool9": {"stride": 1}}}, NetworkError, "layers: there is no stage 'pool9'"),
    ],
)
def test_wrong_arguments_are_told_in_a_sentence(arguments: dict[str, Any], kind: type, sentence: str) -> None:
    with pytest.raises(kind) as error:
        examine("conv3x8 pool2", **arguments)
    assert str(error.value).startswith(sentence)


def test_wrong_channels_are_no_matter_of_size() -> None:
    onnx = pytest.importorskip("onnx")
    text = """
    <ir_version: 8, opset_import: ["": 18]>
    g (float[1, 2, 8, 8] x) => (float[1, 1, 8, 8] y) <float[1, 2, 1, 1] w = {1, 2}> { y = Conv (x, w) }"""
    with pytest.raises(NetworkError, match="3 channels"):
        examine(onnx.parser.parse_model(text), (1, 3, 8, 8))


# ---------------------------------------------------------------------------------------------------------------------
# Downstream multiply-adds


def test_halving_height_and_width_makes_the_rest_four_times_cheaper() -> None:
    result = examine("conv3x8@a pool2@p conv3@b conv3x16@c global fc10", (1, 3, 32, 32))
    stages = {stage.name: stage for stage in result.network.stages}
    behind = stages["b"].macs + stages["c"].macs
    assert result.macs_saved(stages["p"]) == 3 * behind
    without = result.graph.edited({"p": {"stride": 1, "padding": (0, 0)}, "a": {"padding": "same"}})
    assert without.infer((1, 3, 32, 32)).macs > result.network.macs
    assert result.macs_saved(stages["a"]) == result.macs_saved(stages["c"]) == 0


# ---------------------------------------------------------------------------------------------------------------------
# What if


def test_what_if_shows_both_networks_with_what_is_gone_and_new() -> None:
    before = examine(RESNET, (1, 3, 64, 64), task="detection")
    result = what_if(before, {"pool1": {"stride": 1}})
    assert result.before.objects.smallest == (16, 16)
    assert result.after.objects.smallest == (8, 8)
    assert {finding.code for finding in result.gone} >= {"D401"}
    assert [(a and a.name, b and b.name) for a, b in result.pairs] == [(s.name, s.name) for s in before.network.stages]


@pytest.mark.parametrize(
    ("stride", "size", "words"),
    [
        (1, 8, ["milder: D201 warning at d becomes D202 note at d: an object of 8×8 pixels covers 1×1 cells at the"]),
        (1, 16, ["no longer: D202 note at d: the object is smaller than two cells at the last stage"]),
        (4, 16, ["graver: D202 note at d becomes D201 warning at d: an object of 16×16 pixels covers 0.5×0.5 cells"]),
        (4, 32, ["new: D202 note at d: an object of 32×32 pixels covers 1×1 cells at the output feature map d"]),
    ],
)
def test_what_becomes_of_a_finding_is_said_in_a_sentence(stride: int, size: int, words: list[str]) -> None:
    layers = "conv3x8/2@a conv3/2@b conv3/2@c conv3/2@d"
    before = examine(layers, (1, 3, 256, 256), object_size=size, ignore=["D1", "D203", "D4", "D5"])
    turns = [f"{word}: {sentence}" for word, sentence in what_if(before, {"a": {"stride": stride}}).turns]
    assert len(turns) == len(words)
    assert all(turn.startswith(word) for turn, word in zip(turns, words, strict=True)), turns


def test_another_network_is_compared_by_the_names_of_its_stages() -> None:
    before = examine("conv3x8@a pool2@b conv3@c", (1, 3, 32, 32))
    result = what_if(before, "conv3x8@a conv3/2@d conv3@c")
    names = [(a and a.name, b and b.name) for a, b in result.pairs]
    assert names == [("a", "a"), ("b", None), (None, "d"), ("c", "c")]
    assert result.after.network.input_shape == (1, 3, 32, 32)


def test_paths_that_meet_must_change_together() -> None:
    before = examine(RESNET, (1, 3, 64, 64))
    with pytest.raises(NetworkError) as error:
        what_if(before, {"left": {"stride": 1}})
    (other,) = [stage.name for stage in before.network.stages if stage.axes and stage.inputs == ("block",)][1:]
    assert str(error.value).endswith(f"must change together: add --set '{other}.stride=1'")
    assert what_if(before, {"left": {"stride": 1}, other: {"stride": 1}}).after.objects.smallest == (8, 8)


def test_a_head_that_does_not_fit_any_more_is_left_out() -> None:
    onnx = pytest.importorskip("onnx")
    text = """
    <ir_version: 8, opset_import: ["": 18]>
    g (float[1, 1, 8, 8] x) => (float[1, 1] y) <float[1, 4] w = {1, 2, 3, 4}> {
        a = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
        b = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)
        flat = Flatten (b)
        y = Gemm <transB = 1> (flat, w)
    }"""
    result = what_if(examine(onnx.parser.parse_model(text)), {"a": {"stride": 1}})
    assert [stage.name for stage in result.after.network.stages] == ["a", "b"]
    assert any("what is behind b is left out" in note for note in result.after.network.notes)


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("pool1.stride=1", {"pool1": {"stride": 1}}),
        ("POOL1.s = 1", {"pool1": {"stride": 1}}),
        ("stem.kernel_size=5x3", {"stem": {"kernel_size": (5, 3)}}),
        ("stem.k=(5, 3)", {"stem": {"kernel_size": (5, 3)}}),
        ("stem.padding=0:1", {"stem": {"padding": ((0, 1), (0, 1))}}),
        ("stem.pads=1,0:2", {"stem": {"padding": ((1, 1), (0, 2))}}),
        ("stem.padding=same", {"stem": {"padding": "same"}}),
        ("pool1.ceil_mode=yes", {"pool1": {"ceil_mode": True}}),
        ("pool1.ceil=0", {"pool1": {"ceil_mode": False}}),
        ("ste.dilation=2", {"stem": {"dilation": 2}}),
    ],
)
def test_changes_are_understood_as_people_type_them(text: str, changes: dict[str, Any]) -> None:
    graph = read_graph(RESNET)
    assert parse_changes(graph.infer(), [text]) == changes
    assert isinstance(graph.edited(changes).infer(), Network)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pool1=1", "--set 'pool1=1' must be a stage, an argument and a value, such as stem.stride=1"),
        ("pol1.stride=1", "--set 'pol1.stride=1': there is no stage 'pol1'; do you mean pool1"),
        ("zzz.stride=1", "--set 'zzz.stride=1': there is no stage 'zzz'; do you mean stem, pool1, left, "),
        (
            "pool1.size=1",
            "--set 'pool1.size=1': 'size' cannot be set; what can be set of a stage is kernel_size, stride",
        ),
        (
            "pool1.stride=two",
            "--set 'pool1.stride=two': 'two' must be a number, or one for each axis, such as stride=2",
        ),
        ("pool1.ceil_mode=2", "--set 'pool1.ceil_mode=2': '2' must be true or false"),
        ("l.stride=1", "--set 'l.stride=1': 'l' is a part of "),
    ],
)
def test_changes_that_are_not_understood_are_told_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_changes(read(RESNET), [text])
    assert str(error.value).startswith(sentence)


def test_a_part_of_a_name_will_do_if_only_one_stage_with_windows_has_it() -> None:
    network = read("conv3x8@net/conv_1 relu@net/conv_1_relu pool2@net/pool_1", (1, 3, 8, 8))
    assert find_stage(network, "conv_1", "").name == "net/conv_1"
    assert find_stage(network, "pool", "").name == "net/pool_1"


# ---------------------------------------------------------------------------------------------------------------------
# JSON


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        (RESNET, (1, 3, 64, 64)),
        (UNET, (1, 3, 33, 33)),
        ("conv3x8 adaptive7 fc10", (1, 3, 30, 30)),
        ("conv3x8 pool3/2c deconv2/2 blurpool3/2", (1, 3, 30)),
        ("conv3x8 pool2 global", (1, 3, 8, 8, 8)),
    ],
)
def test_json_is_as_the_schema_describes_it(layers: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 4:
        layers = layers.replace("blurpool3/2", "")
    report = as_dict(examine(layers, shape, task="detection"))
    check("doctor", json.loads(json.dumps(report, allow_nan=False)))


def test_json_of_a_comparison_is_as_the_schema_describes_it() -> None:
    before = examine(RESNET, (1, 3, 64, 64))
    report = as_dict(before, what_if(before, {"pool1": {"stride": (1, 1)}}))
    check("doctor", json.loads(json.dumps(report)))
    assert report["what_if"]["after"]["stages"][1]["output_shape"] == [1, 16, 32, 32]


def test_json_holds_what_was_found() -> None:
    report = as_dict(examine(RESNET, (1, 3, 64, 64), task="detection"))
    stages = {stage["name"]: stage for stage in report["stages"]}
    assert stages["pool1"]["windows"][0]["formula"] == "floor((32 - 3 + 2) / 2) + 1 = 16"
    assert stages["pool1"]["receptive_field"]["size"] == [11, 11]
    assert stages["last"]["object_cells"] == [0.5, 0.5]
    assert report["object"]["below_one_cell"] == "last"
    assert report["summary"]["errors"] == sum(finding["severity"] == "error" for finding in report["findings"])


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    save_json(examine("pool2"), path)
    before = path.read_text(encoding="utf-8")
    assert json.loads(before)["schema"] == "pooling-doctor/1"
    with pytest.raises(OSError):
        save_json(examine("pool2"), tmp_path / "nowhere" / "report.json")
    assert [each.name for each in tmp_path.iterdir()] == ["report.json"]
