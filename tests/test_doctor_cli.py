"""``pooling doctor``: arguments, tables, files and exit codes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import pooling
from pooling import cli
from pooling.doctor import examine
from pooling.doctor.report.table import print_examination

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
LAYERS = "conv7x64/2p3@stem pool3/2p1@pool1 conv3x128/2@res3 conv3x256/2@res4 global fc10"
FINE = ("--layers", "conv3x8 conv3", "--input-shape", "32", "--object", "4")


def light(name: str) -> Path:
    onnx = pytest.importorskip("onnx")
    return Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"


def doctor(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str], str]:
    """Run the command; return its exit code, the lines that it printed, and what it complained about."""
    code = cli.main(["doctor", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, [line.rstrip() for line in captured.out.splitlines()], captured.err


@pytest.fixture(autouse=True)
def hundred_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


# ---------------------------------------------------------------------------------------------------------------------
# A real network


def test_where_an_object_of_8_pixels_vanishes_in_resnet_50(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = doctor(capsys, light("resnet50"), "--object", 8, "--task", "detection")
    assert code == 1
    assert max(map(len, lines)) <= 100
    (heading,) = [line for line in lines if line.startswith("D201 error at ")]
    name, operator = re.search(r"at (\S+) \((.*?),", heading).groups()  # type: ignore[union-attr]
    network = examine(light("resnet50")).network
    # The first stage of stride 16: the one at which the map has 14 x 14 cells.
    first = next(stage for stage in network.stages if stage.output_shape[2:] == (14, 14))
    assert (name, operator) == (first.name, "Conv 3 /2 p1")
    (row,) = [line for line in lines if line.split()[:1] == [name]]
    assert "256×14×14" in row
    assert " 0.5 " in row
    assert "D201" in row
    text = " ".join(lines)
    for fix in ("reduce early downsampling", "keep a high-resolution branch", "anti-aliased pool", "enlarge the image"):
        assert fix in text
    assert lines[-1] == "1 error, 2 warnings, 5 notes"


def test_the_same_network_is_fine_for_large_objects(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = doctor(capsys, light("resnet50"), "--object", 64, "--task", "classification")
    assert code == 0
    assert lines[-1].startswith("0 errors, 0 warnings")


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("name", ["resnet50", "squeezenet", "inception_v1"])
def test_the_table_fits_the_terminal(name: str, width: int) -> None:
    output = io.StringIO()
    print_examination(examine(light(name), task="detection"), Console(file=output, width=width), everything=True)
    lines = output.getvalue().splitlines()
    heading = next(line for line in lines if line.startswith("stage"))
    # The first line has the shape and is wrapped by the terminal.
    assert max(len(line.rstrip()) for line in lines[1:]) <= width
    assert {"output", "stride"} <= set(heading.split())


# ---------------------------------------------------------------------------------------------------------------------
# What is shown


def test_stages_that_change_nothing_are_folded_until_all_are_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    layers = "conv3x8@a " + " ".join(f"conv3@b{number}" for number in range(12)) + " pool2@c"
    _, few, _ = doctor(capsys, "--layers", layers)
    assert any(line.split()[:2] == ["13", "stages"] for line in few)
    assert not any(line.startswith("b3") for line in few)
    _, everything, _ = doctor(capsys, "--layers", layers, "--all")
    assert any(line.startswith("b3") for line in everything)


def test_a_stage_is_explained_with_its_formula(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = doctor(capsys, "--layers", "conv3x8@stem pool2@half", "--input-shape", "7", "--explain", "half")
    text = " ".join(" ".join(lines).split())
    assert code == 0
    assert "half: MaxPool 2 /2" in text
    assert "floor((7 - 2 + 0) / 2) + 1 = 3" in text
    assert "1 of 7 cells at the end are in no window" in text
    assert "4×4 pixels of the input, every 2×2; the centre of the first is at 0.5×0.5" in text


def test_what_was_cut_off_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    _, lines, _ = doctor(capsys, "--layers", "conv3x8 pool2@half", "--input-shape", "33x32")
    heading, row = (next(line for line in lines if line.startswith(start)) for start in ("stage", "half"))
    assert "cut" in heading.split()
    assert "1×0" in row.split()


def test_what_if_shows_both_networks(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = doctor(capsys, "--layers", LAYERS, "--set", "pool1.stride=1")
    assert code == 0
    (row,) = [line for line in lines if line.startswith("pool1")]
    assert row.split()[:7] == ["pool1", "56×56", "→", "112×112", "4", "→", "2"]
    text = " ".join(" ".join(lines).split())
    assert "milder D201 warning at res4 becomes D202 note at res4: an object of 8×8 pixels covers 1×1 cells" in text
    assert "no longer D401 note at pool1: a strided maximum aliases" in text


@pytest.mark.parametrize(
    ("layers", "change", "cost"),
    [
        ("conv3x8@a pool2@b", ("--set", "b.padding=1"), "cost the same multiply-adds, 1.03 times the memory"),
        ("pool2@a pool2@b", ("--set", "b.stride=1"), "cost 1.50 times the memory"),
        ("conv3x8@a pool2@b", ("--versus", "conv3x8@a pool2@b"), "cost the same multiply-adds, the same memory"),
        ("conv3x8@a pool2@b", ("--versus", "pool2@b"), "cost 0 times the multiply-adds"),
        ("pool2@b", ("--versus", "conv3x8@a pool2@b"), "cost multiply-adds where there was none"),
    ],
)
def test_what_a_change_costs_is_said_where_it_is_something(
    layers: str, change: tuple[str, str], cost: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, lines, _ = doctor(capsys, "--layers", layers, "--input-shape", "32", *change)
    (said,) = [" ".join(line.split()) for line in lines if line.startswith("cost")]
    assert said.startswith(cost)


def test_what_was_assumed_is_neither_gone_nor_new(capsys: pytest.CaptureFixture[str]) -> None:
    _, lines, _ = doctor(capsys, "--layers", "conv3x8@a pool2@b", "--versus", "conv3x8@a conv3@c pool2@b")
    text = " ".join(" ".join(lines).split())
    assert "no input shape was given; 1x3x224x224 is assumed" in text
    assert "D902" not in text
    assert " : " not in text
    assert lines[0] == "what if the other list of layers took its place"
    assert "findings the same" in text
    # A stage that is in one of them only says nothing where it has nothing to say.
    (row,) = [line for line in lines if line.split()[:1] == ["c"]]
    assert row.split().count("none") == row.split().count("→")


def test_another_list_of_layers_is_shown_beside(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(LAYERS.replace("pool3/2p1@pool1", "conv3@pool1"), encoding="utf-8")
    for versus in (LAYERS.replace("pool3/2p1@pool1", "conv3@pool1"), other):
        _, lines, _ = doctor(capsys, "--layers", LAYERS, "--versus", versus)
        assert any(line.split()[:7] == ["pool1", "56×56", "→", "112×112", "4", "→", "2"] for line in lines)


def test_the_change_is_what_is_judged(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--layers", "conv3x8/2@a conv3/2@b conv3/2@c conv3/2@d", "--input-shape", 64, "--task", "detection")
    assert doctor(capsys, *given)[0] == 1
    assert doctor(capsys, *given, "--set", "a.stride=1", "--set", "b.stride=1")[0] == 0


def test_names_of_a_model_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("MaxPool", ["x"], ["y"], "a\x1b[2J[bold]b", kernel_shape=[2, 2], strides=[2, 2])
    x, y = (onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", [1, 1, 9, 9]), ("y", None)))
    path = tmp_path / "model.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g\x1b[2J", [x], [y])), path)
    for more in ((), ("--explain", "bold"), ("--set", "bold.stride=1")):
        _, lines, errors = doctor(capsys, path, *more)
        assert "\x1b" not in "".join(lines) + errors
        assert any("[2J[bold]b" in line for line in lines)


def test_the_guide_shows_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    shown = re.search(r"```\n\$ pooling doctor --layers \"(.*?)\" --set (\S+)\n(.*?)\n```", GUIDE, re.DOTALL)
    assert shown is not None
    _, lines, _ = doctor(capsys, "--layers", shown[1], "--set", shown[2])
    assert "\n".join(lines).rstrip() == shown[3]


def test_the_python_of_the_guide_prints_what_stands_below_it() -> None:
    code, printed = re.search(r"```python\n(.*?)```\n\nprints\n\n```\n(.*?)```", GUIDE, re.DOTALL).groups()  # type: ignore[union-attr]
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code, {})  # the code under test is the guide's
    assert output.getvalue() == printed


# ---------------------------------------------------------------------------------------------------------------------
# Exit codes


@pytest.mark.parametrize(
    ("fail_on", "codes"), [("note", [1, 1, 1]), ("warning", [0, 1, 1]), ("error", [0, 0, 1]), ("never", [0, 0, 0])]
)
def test_what_counts_is_what_fail_on_names(fail_on: str, codes: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    note = ("--layers", "conv3x8 pool2", "--input-shape", "32")
    warning = ("--layers", "pool2 conv3x8", "--input-shape", "33")
    error = ("--layers", "conv3x8/2 conv3/2 conv3/2 conv3/2", "--input-shape", "64", "--task", "detection")
    assert [doctor(capsys, *given, "--fail-on", fail_on)[0] for given in (note, warning, error)] == codes
    assert doctor(capsys, *FINE, "--fail-on", fail_on)[0] == 0


def test_what_is_ignored_does_not_count(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--layers", "pool2 conv3x8", "--input-shape", "33", "--object", "4", "--fail-on", "note")
    for ignored in (["--ignore", "D101,d4"], ["--ignore", "D1", "--ignore", "D401"], ["--ignore", "D"]):
        code, lines, _ = doctor(capsys, *given, *ignored)
        assert code == 0
        assert lines[-1].startswith("0 errors, 0 warnings, 0 notes (without D")


def test_sizes_may_be_written_in_many_ways(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("1x3x32x48", "1×3×32×48", "1,3,32,48", "(1, 3, 32, 48)", "3x32x48", "32x48"):
        _, lines, _ = doctor(capsys, "--layers", "conv3x8", "--input-shape", text, "--object", "8px")
        assert lines[0] == "layers at 1×3×32×48, an object of 8×8 pixels"


# ---------------------------------------------------------------------------------------------------------------------
# Files


def test_everything_is_written_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    assert doctor(capsys, "--layers", LAYERS, "--task", "detection", "--json", path)[0] == 1
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report["version"] == pooling.__version__
    assert {finding["code"] for finding in report["findings"]} >= {"D201", "D502"}
    doctor(capsys, "--layers", LAYERS, "--set", "pool1.stride=1", "--json", path)
    assert json.loads(path.read_text(encoding="utf-8"))["what_if"]["changes"] == {"pool1": {"stride": 1}}


def test_a_page_and_a_figure_are_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page, figure = tmp_path / "report.html", tmp_path / "pyramid.svg"
    data = tmp_path / "report.json"
    code, lines, _ = doctor(capsys, "--layers", LAYERS, "--html", page, "--figure", figure, "--json", data)
    assert code == 0
    assert lines[-3:] == [f"written to {path}" for path in (page, data, figure)]
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert "<svg" in figure.read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------------------
# What people try that cannot work


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["resnet50"], "there is no file 'resnet50'"),
        (["conv3 pool2"], "there is no file 'conv3 pool2'; a list of layers is given as --layers \"conv3 pool2\""),
        (["--layers", "conv3 poool2"], "layers: 'poool2' (word 2) is no layer; known are conv, "),
        (["--layers", ""], "layers: the list is empty"),
        ([*FINE, "--set", "conv9.stride=1"], "--set 'conv9.stride=1': there is no stage 'conv9'; do you mean conv"),
        ([*FINE, "--set", "conv1.stride=0"], "stage 'conv1' (Conv): stride=0 must be at least 1 on axis H, not 0"),
        ([*FINE, "--explain", "pool"], "--explain 'pool': there is no stage 'pool'"),
        ([*FINE, "--ignore", "E501"], "ignore=['E501'] has 'E501', which begins no code; they are D101, "),
        ([*FINE, "--object", "4x4x4"], "object_size=(4, 4, 4) must have one entry per spatial axis, 2 and not 3"),
        ([*FINE, "--figure", "x.bmp"], "figure='x.bmp' must end in .png, .svg or .pdf"),
        ([*FINE, "--image", "nobody.png"], ""),
        ([*FINE, "--set", "conv1.stride=1", "--versus", "conv3"], "--set and --versus cannot be given together"),
    ],
)
def test_a_sentence_and_2(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    if "--image" in arguments:
        pytest.importorskip("PIL")
    code, lines, errors = doctor(capsys, *arguments)
    assert code == 2
    assert lines == []
    assert errors.startswith(f"pooling doctor: {sentence}")
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("option", ["--input-shape", "--object"])
@pytest.mark.parametrize("text", ["", "0", "a", "1x", "-3", "1x3x0x8", "9" * 30])
def test_numbers_that_are_none(option: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["doctor", "--layers", "conv3", f"{option}={text}"])
    assert caught.value.code == 2
    assert "must be" in capsys.readouterr().err


def hostile(folder: Path) -> dict[str, Any]:
    model = light("squeezenet").read_bytes()
    return {
        "empty.onnx": b"",
        "text.onnx": b"conv3 pool2\n",
        "torn.onnx": model[: len(model) // 2],
        "noise.onnx": bytes(range(256)) * 40,
        "weights.pt": model,
        "folder.onnx": None,
    }


@pytest.mark.parametrize("name", ["empty.onnx", "text.onnx", "torn.onnx", "noise.onnx", "weights.pt", "folder.onnx"])
def test_hostile_files_end_in_a_sentence_and_leave_nothing(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    content, path = hostile(tmp_path)[name], tmp_path / name
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    code, lines, errors = doctor(capsys, path, "--json", tmp_path / "report.json", "--html", tmp_path / "report.html")
    assert (code, lines) == (2, [])
    assert len(errors.splitlines()) == 1
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_list_of_layers_is_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "layers.txt"
    path.write_text("conv3x8\n  pool2\n", encoding="utf-8")
    assert doctor(capsys, "--layers", path)[1][0].startswith("layers at 1×3×224×224")
    path.write_bytes(b"\xff\xfe")
    code, _, errors = doctor(capsys, "--layers", path)
    sentence = f"{path} is no text with a list of layers; a model is given as MODEL.onnx"
    assert (code, errors) == (2, f"pooling doctor: {sentence}\n")


def test_a_folder_that_is_not_there_is_told_before_anything_is_done(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for option in ("--json", "--html", "--figure"):
        path = tmp_path / "nowhere" / "file.svg"
        code, _, errors = doctor(capsys, *FINE, option, path)
        assert code == 2
        assert errors == f"pooling doctor: {option} {path}: there is no folder {path.parent}\n"


@pytest.mark.parametrize(
    ("layers", "shape", "figure"), [("conv3", "1x1x64", "x.bmp"), ("conv3", "1x1x100000000", "x.svg")]
)
def test_a_figure_that_cannot_be_drawn_leaves_no_other_file(
    layers: str, shape: str, figure: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    files = ("--html", tmp_path / "page.html", "--json", tmp_path / "report.json", "--figure", tmp_path / figure)
    code, lines, errors = doctor(capsys, "--layers", layers, "--input-shape", shape, *files)
    assert (code, lines, len(errors.splitlines())) == (2, [], 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_file_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    assert doctor(capsys, *FINE, "--json", folder / "report.json")[0] == 2
    shutil.rmtree(folder)


def test_a_missing_extra_is_named_before_anything_is_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    files = [f"--{kind}={tmp_path / kind}.png" for kind in ("html", "json", "figure")]
    code, lines, errors = doctor(capsys, *FINE, *files)
    assert (code, lines) == (2, [])
    assert list(tmp_path.iterdir()) == []
    remedy = 'run pip install "ndpooling[pictures]"'
    assert errors == f"pooling doctor: this needs matplotlib, which is not installed; {remedy}\n"


@pytest.mark.parametrize(
    "layers",
    [
        "conv3x8/2p1 conv3x8/2p1",
        "conv7x64/2p3@stem pool3/2p1@pool1 conv3x128/2@res3 global fc10",
        "conv5x4p2 avgpool3/2p1 conv1x8 dwconv3/2p1",
        "pool2 pool2",
    ],
)
@pytest.mark.parametrize("shape", ["64", "33x48"])
def test_a_quantity_is_one_number_in_terminal_page_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, layers: str, shape: str
) -> None:
    from pooling.reporting.formats import amount, memory, percent

    monkeypatch.setenv("COLUMNS", "200")
    files = {kind: tmp_path / f"d.{kind}" for kind in ("json", "html")}
    options = [part for kind, path in files.items() for part in (f"--{kind}", path)]
    _, lines, _ = doctor(capsys, "--layers", layers, "--input-shape", shape, "--all", "--fail-on", "never", *options)
    html = files["html"].read_text(encoding="utf-8")
    table = html[html.index("<table class=stages>") :].partition("</table>")[0]
    for stage in json.loads(files["json"].read_text(encoding="utf-8"))["stages"]:
        row = next(line for line in lines if line.split()[:1] == [stage["name"]])
        (cells,) = re.findall(rf"<tr[^>]*><th class=name>{stage['name']}</th>(.*?)</tr>", table)
        shown = re.sub("<[^>]*>", " ", cells)
        assert stage["padding_share"] == max((w["padding_share"] for w in stage["windows"]), default=0)
        for value in (
            percent(stage["padding_share"]) if stage["padding_share"] else "",
            amount(stage["macs"]) if stage["macs"] else "",
            memory(stage["output_bytes"]),
            "×".join(map(str, stage["output_shape"][1:])),
        ):
            assert value in row
            assert value in shown


def test_names_that_begin_alike_differ_at_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    stages = [f"a/long/way/of/features/features.{number}/Conv" for number in range(6)]
    layers = " ".join(f"conv3x{8 + number}/2p1@{name}" for number, name in enumerate(stages))
    _, lines, _ = doctor(capsys, "--layers", f"{layers} conv3@other", "--input-shape", "256", "--fail-on", "never")
    shown = [line.split()[0] for line in lines if "…" in line and " Conv " in line]
    assert len(shown) == len(set(shown)) == len(stages)


def test_cost_and_sizes_of_what_was_passed_over_are_not_said_to_be_known(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "model.onnx"
    text = """
    <ir_version: 8, opset_import: ["": 18, "org.example": 1]>
    g (float[1, 1, 8, 8] x) => (float[1, 1, 4, 4] y) {
        mapped = org.example.Sharpen (x)
        y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (mapped)
    }"""
    onnx.save(onnx.parser.parse_model(text), path)
    _, lines, _ = doctor(capsys, path, "--html", tmp_path / "page.html")
    assert any(re.match(r"cost +at least 0 B of maps", line) for line in lines)
    assert any(re.match(r"input sizes +not known, because what mapped", line) for line in lines)
    assert "≥ 0 B" in (tmp_path / "page.html").read_text(encoding="utf-8")
    _, lines, _ = doctor(capsys, "--layers", "conv3x8")
    assert not any("at least" in line or "not known" in line for line in lines)


# ---------------------------------------------------------------------------------------------------------------------
# What is seen first, and what was asked for


UNET = "conv3x8@a pool2 conv3x16@b pool2 conv3x16 deconv2/2x16|b conv3x16 deconv2/2x8|a conv3x8"


@pytest.mark.parametrize(
    ("network", "size", "code"),
    [(UNET, "33", "D103"), ("conv3x8 pool2 conv3 pool2 conv3 pool2 conv3 pool2", "12", "D102")],
)
@pytest.mark.parametrize("options", [(), ("--fail-on", "never"), ("--ignore", "D1")])
def test_a_size_that_the_network_refuses_is_2(
    network: str, size: str, code: str, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    found, lines, error = doctor(capsys, "--layers", network, "--input-shape", size, *options)
    assert found == 2
    (sentence,) = error.splitlines()
    assert f"does not work with an input of 1×3×{size}×{size}: " in sentence
    assert "; the report is about 1×3×" in sentence
    assert sentence.endswith(f"; see {code}") == ("--ignore" not in options)
    assert any(line.startswith("shown at the nearest size that works") for line in lines)
    works = doctor(capsys, "--layers", network, "--input-shape", 32)
    assert works[0] == 0
    assert not works[2]


def test_the_size_of_the_network_after_a_change_counts(capsys: pytest.CaptureFixture[str]) -> None:
    layers = "conv3x8 conv5x8p0@x"
    assert doctor(capsys, "--layers", layers, "--input-shape", 4)[0] == 2
    code, _, error = doctor(capsys, "--layers", layers, "--input-shape", 8, "--versus", "conv3x8 conv3x8")
    assert (code, error) == (0, "")


def test_the_verdict_is_seen_before_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    layers = "conv3x8/2@a conv3/2@b conv3/2@c conv3/2@d"
    _, lines, _ = doctor(capsys, "--layers", layers, "--input-shape", 64, "--task", "detection")
    assert lines[1] == "1 error; D201: the object is smaller than one cell before the last stage"
    assert lines[2] == ""
    assert lines[3].startswith("stage ")
    _, lines, _ = doctor(capsys, *FINE)
    assert lines[1] == "nothing was found"
    assert lines[-1] == "0 errors, 0 warnings, 0 notes"
    _, lines, _ = doctor(capsys, "--layers", LAYERS, "--task", "detection")
    assert lines[1].startswith("1 error, 1 warning, 2 notes; D201: ")


def test_names_that_differ_are_told_apart_in_the_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"stages.{a}.blocks.{b}.mlp.fc{c}" for a in range(2) for b in range(4) for c in range(2)]
    layers = " ".join(f"conv3x{8 + number}@{name}" for number, name in enumerate(names))
    for width, apart in ((100, True), (80, True), (40, False)):
        monkeypatch.setenv("COLUMNS", str(width))
        _, lines, _ = doctor(capsys, "--layers", layers, "--input-shape", 32, "--all")
        shown = [line.split()[0] for line in lines if " Conv 3 " in line]
        assert len(shown) == len(names)
        assert (len(set(shown)) == len(names)) >= apart
        assert max(map(len, lines)) <= max(width, 60)


def test_names_that_differ_are_told_apart_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"a.module.with.a.long.name.blocks.{number}.conv" for number in range(3)]
    layers = " ".join(f"conv3x8/2@{name}" for name in names)
    _, lines, _ = doctor(capsys, "--layers", layers, "--input-shape", 64, "--set", f"{names[1]}.stride=1")
    shown = {line.split()[0] for line in lines if line.startswith("a.")}
    assert len(shown) == 3
