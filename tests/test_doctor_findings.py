"""Every finding: a network that has it, and one that does not; what it says, and whether its fixes help."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pooling
from pooling.doctor import Examination, Finding, NetworkError, examine, read
from pooling.doctor.lint import RULES, SEVERITIES
from pooling.doctor.what_if import parse_changes, what_if

GUIDE = (Path(__file__).parent.parent / "docs" / "doctor.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (D\d{3}): (.*?)(?=^## |\Z)", GUIDE, re.DOTALL | re.MULTILINE))


def from_command(line: str) -> Examination:
    """Examine what a line of the guide examines."""
    words = shlex.split(line)
    assert words[:2] == ["pooling", "doctor"]
    options = dict(zip(words[2::2], words[3::2], strict=True))
    size = options.get("--input-shape")
    return examine(
        options.pop("--layers"),
        None if size is None else (1, 3, int(size), int(size)),
        object_size=int(options.get("--object", 8)),
        task=options.get("--task"),
    )


def examples(code: str) -> tuple[Examination, Examination]:
    """Examine the two examples of a section: the one with the finding and the one without."""
    section = SECTIONS[code]
    source = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    if source is not None:
        pytest.importorskip("onnx")
        names: dict[str, Any] = {}
        exec(source[1], names)  # the code under test is the guide's
        return examine(names["bad"]), examine(names["good"])
    bad, good = re.search(r"```\n(.*?)```", section, re.DOTALL)[1].splitlines()  # type: ignore[index]
    return from_command(bad), from_command(good)


def of(examination: Examination, code: str) -> list[Finding]:
    return [finding for finding in examination.findings if finding.code == code]


def found(code: str, layers: Any, shape: tuple[int, ...] = (1, 3, 32, 32), **settings: Any) -> list[Finding]:
    return of(examine(layers, shape, **settings), code)


# ---------------------------------------------------------------------------------------------------------------------
# The guide


def test_the_guide_has_a_section_for_every_code_and_no_other() -> None:
    assert list(SECTIONS) == list(RULES)
    assert [section.splitlines()[0] for section in SECTIONS.values()] == [rule.title for rule in RULES.values()]


@pytest.mark.parametrize("code", RULES)
def test_the_first_example_has_the_finding_and_the_second_does_not(code: str) -> None:
    bad, good = examples(code)
    assert of(bad, code)
    assert not of(good, code)


@pytest.mark.parametrize("code", RULES)
def test_a_finding_says_where_and_why_and_what_to_do(code: str) -> None:
    bad, _ = examples(code)
    names = {"", *(stage.name for stage in bad.network.stages)}
    for finding in of(bad, code):
        assert finding.severity in SEVERITIES
        assert finding.stage in names
        assert finding.title == RULES[code].title
        assert len(finding.message) > 20
        assert not finding.message.endswith(".")
        assert finding.fixes or code == "D902"


def settings_in(finding: Finding) -> Iterator[list[str]]:
    for fix in finding.fixes:
        if changes := re.findall(r"--set '([^']+)'", fix):
            yield changes


@pytest.mark.parametrize("code", RULES)
def test_every_change_that_a_fix_names_works(code: str) -> None:
    bad, _ = examples(code)
    for finding in of(bad, code):
        for changes in settings_in(finding):
            graph = bad.graph.edited(parse_changes(bad.network, changes))
            if bad.failure is not None:
                assert graph.infer(bad.failure.shape).input_shape == bad.failure.shape
            else:
                network = what_if(bad, parse_changes(bad.network, changes)).after.network
                assert network.stages == graph.infer(bad.network.input_shape).stages


# ---------------------------------------------------------------------------------------------------------------------
# Sizes


def test_what_floor_leaves_out_is_said_with_the_formula_and_the_share() -> None:
    (finding,) = found("D101", "pool2", (1, 3, 7, 9))
    assert finding.severity == "warning"
    assert finding.message == (
        "row 6 of 7 and column 8 of 9 are read by nothing, 24 % of the input; most of it is left out at pool1: "
        "floor((7 - 2 + 0) / 2) + 1 = 3 and floor((9 - 2 + 0) / 2) + 1 = 4"
    )
    (column,) = found("D101", "pool2", (1, 3, 8, 9))
    assert column.message.startswith("column 8 of 9 is read by nothing, 11 % of the input")


def test_what_lies_between_any_two_windows_is_not_cut_off() -> None:
    assert found("D101", "conv1/2") == []
    assert found("D101", "conv1/2", (1, 3, 33, 33)) == []


def test_sizes_that_a_fix_names_leave_nothing_out() -> None:
    layers = "pool2 conv3 pool3"
    (finding,) = found("D101", layers, (1, 3, 53, 53))
    sizes = [int(size) for size in re.search(r"size (\d+) or (\d+)", finding.fixes[0]).groups()]  # type: ignore[union-attr]
    assert sizes == [48, 54]
    assert all(not found("D101", layers, (1, 3, size, size)) for size in sizes)


def test_a_fixed_last_pooling_on_a_larger_map_should_be_global() -> None:
    (finding,) = found("D101", "avgpool7@pool", (1, 3, 8, 8))
    assert any("global pooling" in fix and "--set 'pool.kernel_size=8x8'" in fix for fix in finding.fixes)


def test_too_small_an_input_names_the_smallest_that_works() -> None:
    layers = "conv3x8 pool2 conv3 pool2 conv3 pool2 conv3 pool2"
    result = examine(layers, (1, 3, 12, 12))
    (finding,) = of(result, "D102")
    assert (finding.severity, finding.stage) == ("error", "pool4")
    assert "1×3×12×12" in finding.message
    assert finding.fixes[0] == "use an input of size 16 at least"
    assert result.network.input_shape == (1, 3, 16, 16)
    assert result.failure is not None
    assert result.failure.shape == (1, 3, 12, 12)
    assert not found("D102", layers, (1, 3, 16, 16))


def test_skip_connections_that_do_not_meet_name_the_sizes_where_they_do() -> None:
    layers = "conv3x8@a pool2 conv3@b pool2 conv3 up2|b conv3x8 up2+a"
    for size in (33, 34, 35):
        (finding,) = found("D103", layers, (1, 3, size, size))
        assert finding.severity == "error"
        assert "multiples of 4" in finding.fixes[0]
        assert "32 or 36" in finding.fixes[0]
    assert not found("D103", layers, (1, 3, 36, 36))


def test_a_size_that_only_a_dense_layer_refuses_is_a_fixed_size() -> None:
    onnx = pytest.importorskip("onnx")
    names: dict[str, Any] = {}
    exec(re.search(r"```python\n(.*?)```", SECTIONS["D104"], re.DOTALL)[1], names)  # type: ignore[index]
    assert isinstance(names["bad"], onnx.ModelProto)
    (note,) = of(examine(names["bad"]), "D104")
    assert (note.severity, note.stage) == ("note", "y")
    assert "declared fixed at 1×1×4×4" in note.message
    assert "work with 4 to 5 on H and W only" in note.message
    (error,) = of(examine(names["bad"], (1, 1, 12, 12)), "D104")
    assert error.severity == "error"
    assert not of(examine(names["bad"], (1, 1, 12, 12)), "D102")


def test_what_one_stage_asks_of_both_axes_is_said_once() -> None:
    onnx = pytest.importorskip("onnx")
    text = """
    <ir_version: 8, opset_import: ["": 17]>
    fixed (float[1, 8, 8, WIDTH] x) => (float[1, 64] y) <int64[2] shape = {1, 64}> {
        pooled = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [STRIDES]> (x)
        y = Reshape (pooled, shape)
    }"""

    def message(width: int, strides: str) -> str:
        model = onnx.parser.parse_model(text.replace("WIDTH", str(width)).replace("STRIDES", strides))
        (finding,) = of(examine(model), "D104")
        return finding.message

    assert "work with 5 to 8 on H and 13 to 16 on W only: stage 'y' (Reshape)" in message(16, "4, 4")
    assert "work with 5 to 8 on H and 7 to 8 on W only: stage 'y' (Reshape)" in message(8, "4, 2")


# ---------------------------------------------------------------------------------------------------------------------
# Objects

LOSING = "conv3x8/2@a conv3/2@b conv3/2@c conv3/2@d"


@pytest.mark.parametrize(
    ("task", "severity"),
    [("detection", "error"), ("segmentation", "error"), (None, "warning"), ("classification", "note")],
)
def test_how_grave_a_lost_object_is_depends_on_the_task(task: str | None, severity: str) -> None:
    (finding,) = found("D201", LOSING, (1, 3, 64, 64), task=task)
    assert finding.severity == severity


def test_a_lost_object_is_lost_where_the_stride_exceeds_it() -> None:
    (finding,) = found("D201", LOSING, (1, 3, 64, 64))
    assert finding.stage == "d"
    assert "0.5×0.5 cells here, where the effective stride becomes 16 (less than two since c)" in finding.message
    (earlier,) = found("D201", LOSING, (1, 3, 64, 64), object_size=3)
    assert earlier.stage == "b"
    assert ", and 0.19×0.19 cells at the output feature map d" in earlier.message


def test_fixes_come_in_the_order_of_practice() -> None:
    (finding,) = found("D201", LOSING, (1, 3, 64, 64), object_size=4)
    order = [
        "reduce early downsampling",
        "high-resolution branch",
        "take the stride out of the last step",
        "blur before its stride, as at a (stride=1, and BlurPool2d(3, stride=2) behind it)",
        "enlarge the image 4 times",
    ]
    places = [next(i for i, fix in enumerate(finding.fixes) if word in fix) for word in order]
    assert places == sorted(places)
    assert "read objects of this size from a (2×2 cells)" in finding.fixes[places[1]]


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ("conv3x8/2@a pool2@b conv3/2@c conv3/2@d", "in place of b (MaxBlurPool2d(2, stride=2)), or a strided"),
        ("conv3x8/2@a avgpool2@b conv3/2@c conv3/2@d", "in place of b (BlurPool2d(3, stride=2)), or a strided"),
        ("conv1x8/2@a conv3/2@b conv3/2@c conv3/2@d", "as at a (BlurPool2d(3, stride=2) before it, and stride=1)"),
        ("maxblurpool3/2p1@a conv3x8/2@b conv3/2@c conv3/2@d", "as at b (stride=1, and BlurPool2d(3, stride=2)"),
        (" ".join(f"maxblurpool3/2p1@{name}" for name in "abcd"), ""),
    ],
)
@pytest.mark.parametrize(("code", "size"), [("D201", 4), ("D202", 16)])
def test_gentler_downsampling_fits_what_the_network_has(layers: str, said: str, code: str, size: int) -> None:
    (finding,) = found(code, layers, (1, 3, 64, 64), object_size=size)
    gentler = [fix for fix in finding.fixes if "loses less of what is small" in fix]
    assert [said in fix for fix in gentler] == [True] * bool(said)
    pooled = [fix for fix in gentler if "strided convolution" in fix]
    assert len(pooled) == ("pool2" in layers), "strided convolutions are no advice where there are no others"


def test_reduced_downsampling_leaves_what_the_fix_says() -> None:
    bad = examine(LOSING, (1, 3, 64, 64))
    (finding,) = of(bad, "D201")
    assert finding.fixes[0].startswith(
        "reduce early downsampling: --set 'a.stride=1' leaves 1×1 cells there, for 4.0 times"
    )
    after = what_if(bad, {"a": {"stride": 1}}).after
    assert not of(after, "D201")
    assert after.objects.at_heads is not None
    assert set(after.objects.at_heads.resolved) == {1}


def test_a_skip_connection_saves_the_object_and_upsampling_alone_does_not() -> None:
    deep = "conv3x8@a conv3/2 conv3/2 conv3/2 conv3/2 up16"
    assert found("D201", f"{deep}", (1, 3, 64, 64))
    assert not found("D201", f"{deep}|a conv3", (1, 3, 64, 64))


def test_of_several_heads_the_finest_counts() -> None:
    onnx = pytest.importorskip("onnx")
    text = """
    <ir_version: 8, opset_import: ["": 18]>
    g (float[1, 1, 64, 64] x) => (float[1, 1, 16, 16] fine, float[1, 1, 4, 4] coarse) {
        fine = MaxPool <kernel_shape = [4, 4], strides = [4, 4]> (x)
        coarse = MaxPool <kernel_shape = [4, 4], strides = [4, 4]> (fine)
    }"""
    model = onnx.parser.parse_model(text)
    assert not {"D201", "D202"} & {finding.code for finding in examine(model).findings}
    del model.graph.output[0]
    assert of(examine(model), "D201")


# ---------------------------------------------------------------------------------------------------------------------
# Runtimes, aliasing and design


def test_ceil_mode_is_a_warning_where_it_matters_and_a_note_elsewhere() -> None:
    (dropped,) = found("D301", "avgpool3/3p1c", (1, 3, 5, 5))
    (overhanging,) = found("D301", "avgpool3/2p1c", (1, 3, 8, 8))
    (idle,) = found("D301", "avgpool3/2p1c", (1, 3, 9, 9))
    assert [each.severity for each in (dropped, overhanging, idle)] == ["warning", "warning", "note"]
    assert "would start behind the map" in dropped.message
    assert "runtimes divide by" in overhanging.message
    for size in (7, 8, 9):
        assert not found("D301", "avgpool3/2c", (1, 3, size, size))


def test_ceil_mode_of_a_maximum_matters_only_where_a_window_may_start_behind_the_map() -> None:
    (dropped,) = found("D301", "pool3/3p1c", (1, 3, 5, 5))
    (idle,) = found("D301", "pool3/3p1c", (1, 3, 6, 6))
    assert [each.severity for each in (dropped, idle)] == ["warning", "note"]
    assert "would start behind the map" in dropped.message
    for size in (7, 8, 9, 56, 112):
        assert not found("D301", "pool3/2c", (1, 3, size, size))


def test_ceil_mode_of_a_new_opset_is_clear() -> None:
    onnx = pytest.importorskip("onnx")
    text = """
    <ir_version: 10, opset_import: ["": %d]>
    g (float[1, 1, 5, 5] x) => (float[1, 1, n, m] y) {
        y = MaxPool <kernel_shape = [3, 3], strides = [3, 3], pads = [1, 1, 1, 1], ceil_mode = 1> (x)
    }"""
    assert of(examine(onnx.parser.parse_model(text % 21)), "D301")
    assert not of(examine(onnx.parser.parse_model(text % 22)), "D301")


def test_cells_that_another_path_reads_are_a_note() -> None:
    (lost,) = found("D402", "conv3x8 relu conv1/2")
    (seen,) = found("D402", "conv3x8@a relu@r conv3/2 conv3@b conv1/2<r+b")
    assert (lost.severity, seen.severity) == ("warning", "note")
    assert "skip 75 % of the map" in lost.message
    both = found("D402", "conv3x8@a relu@r conv1/2 conv3@b conv1/2<r+b")
    assert [each.severity for each in both] == ["warning", "warning"]


def test_layers_of_the_package_are_examined_too() -> None:
    pool = pooling.Sequential(
        pooling.AvgPool2d(3, stride=2, padding=1, ceil_mode=True), pooling.MaxPool2d(2), pooling.AdaptiveAvgPool2d(5)
    )
    codes = {finding.code for finding in examine(pool, (1, 8, 32, 32)).findings}
    assert {"D301", "D304", "D401"} <= codes


@pytest.mark.parametrize(("size", "average"), [(32, "avgpool2"), (33, "avgpool2c")])
def test_an_average_before_a_stride_keeps_the_size(size: int, average: str) -> None:
    (finding,) = found("D402", "conv3x8 conv1/2@down", (1, 3, size, size))
    rounded = " and ceil_mode=1" if average.endswith("c") else ""
    assert (
        f"an AveragePool of 2 with stride 2{rounded}, then this stage with stride 1 (as ResNet-D" in finding.fixes[-1]
    )
    before, after = (
        read(layers, (1, 3, size, size)).stage("down").output_shape
        for layers in ("conv3x8 conv1/2@down", f"conv3x8 {average} conv1@down")
    )
    assert before == after


def test_a_model_is_examined_at_no_size_but_its_own_unless_asked() -> None:
    onnx = pytest.importorskip("onnx")
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[{size}] x) => (float[A, B, C, D] y) {{
        y = MaxPool <kernel_shape = [3, 3]> (x) }}"""
    small = onnx.parser.parse_model(text.format(size="N, 3, 2, 2"))
    with pytest.raises(NetworkError, match="does not work with an input of 1×3×2×2, which is the size that it decl"):
        examine(small)
    assert examine(small, (1, 3, 8, 8)).failure is None
    result = examine(small, (1, 3, 2, 2))
    assert result.failure is not None
    assert result.failure.shape == (1, 3, 2, 2)
    assert [finding.severity for finding in of(result, "D102")] == ["error"]
    # One size that is fixed is too small, whatever the other is.
    with pytest.raises(NetworkError, match=r"finds no window on axis H.*0 \+ 2 \+ 0 = 2"):
        examine(onnx.parser.parse_model(text.format(size="N, 3, 2, W")))


def test_a_price_of_once_is_not_told() -> None:
    # Nothing but the last map is computed, so that a stride before it costs nothing worth telling.
    (finding,) = found("D201", "conv1x512@a pool2@b conv1x1/4@c pool2@d", (1, 3, 64, 64), object_size=4)
    reduce = [fix for fix in finding.fixes if fix.startswith("reduce")]
    assert reduce
    assert not any(" 1.0 times" in fix for fix in reduce), reduce
    same = [re.search(r"field of (\S+) instead of (\S+)", fix) for fix in reduce]
    assert all(match is None or match[1] != match[2] for match in same)


def test_early_downsampling_is_graver_when_small_objects_suffer() -> None:
    layers = "conv3x8/2 pool2 conv3x256 conv3x256"
    severities = [found("D501", layers, (1, 3, 64, 64), task="detection", object_size=n)[0].severity for n in (4, 16)]
    assert severities == ["warning", "note"]
    assert not found("D501", layers, (1, 3, 64, 64), task="classification")


def test_squeeze_and_excitation_is_no_head() -> None:
    layers = "conv3x8@a global conv1x8 sigmoid@gate conv3<a+gate"
    result = examine(layers, (1, 3, 32, 32), task="detection")
    assert not of(result, "D502")
    assert result.objects.smallest == (1, 1)


def test_the_gravest_come_first_and_codes_can_be_left_out() -> None:
    layers = "conv3x8/2 pool2 conv1x256/2 conv3x256/2 global fc10"
    result = examine(layers, (1, 3, 64, 64), task="detection")
    order = [SEVERITIES.index(finding.severity) for finding in result.findings]
    assert order == sorted(order, reverse=True)
    codes = {finding.code for finding in result.findings}
    assert {"D201", "D401", "D402", "D502"} <= codes
    left = {
        finding.code for finding in examine(layers, (1, 3, 64, 64), task="detection", ignore=["D4", "D201"]).findings
    }
    assert left == {code for code in codes if not code.startswith("D4")} - {"D201"}
