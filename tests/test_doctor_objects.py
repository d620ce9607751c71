"""The objects of a data set: how many keep a cell, counted one by one; files that are none; the pictures."""

from __future__ import annotations

import json
import random
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pooling import cli
from pooling.doctor import examine
from pooling.doctor.analysis import object_set
from pooling.doctor.analysis.object_set import ObjectSet, read_objects
from pooling.doctor.report.json import as_dict
from pooling.doctor.report.object_figure import object_figure, object_figure_file, object_levels
from pooling.doctor.report.page import page
from pooling.doctor.what_if import what_if

LAYERS = "conv3x8/2@a conv3x8/2@b conv3x8/2@c"
STRIDES = {"a": 2, "b": 4, "c": 8}


def coco(path: Path, boxes: list[tuple[int, list[float]]], images: dict[int, tuple[float, float]], **more: Any) -> Path:
    content = {
        "info": {"description": "made for a test"},
        "images": [{"id": key, "width": width, "height": height} for key, (width, height) in images.items()],
        "annotations": [
            {"id": number, "image_id": key, "bbox": box, "segmentation": [[1, 2, 3, 4, 5, 6]], "area": 1.0}
            for number, (key, box) in enumerate(boxes)
        ],
        **more,
    }
    path.write_text(json.dumps(content))
    return path


# ---------------------------------------------------------------------------------------------------------------------
# Counting


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("resize", ["letterbox", "stretch", "none"])
def test_shares_are_those_of_objects_counted_one_by_one(seed: int, resize: str, tmp_path: Path) -> None:
    pytest.importorskip("msgspec")
    draw = random.Random(seed)
    images = {key: (draw.randint(20, 2000), draw.randint(20, 2000)) for key in range(5)}
    boxes = [
        (draw.randrange(5), [draw.uniform(0, 9), draw.uniform(0, 9), draw.uniform(1, 300), draw.uniform(1, 300)])
        for _ in range(60)
    ]
    path = coco(tmp_path / "boxes.json", boxes, images)
    survival = examine(LAYERS, (1, 3, 96, 160), objects=path, objects_resize=resize).survival
    assert survival is not None
    for name, stride in STRIDES.items():
        kept = [0, 0]
        for key, (_, _, width, height) in boxes:
            across, down = images[key]
            by_width, by_height = 160 / across, 96 / down
            if resize == "letterbox":
                by_width = by_height = min(by_width, by_height)
            elif resize == "none":
                by_width = by_height = 1
            for cells in (1, 2):
                kept[cells - 1] += width * by_width >= cells * stride and height * by_height >= cells * stride
        assert survival.stages[name] == pytest.approx((kept[0] / 60, kept[1] / 60))
    assert survival.heads == (survival.stages["c"],)
    assert survival.best == survival.stages["c"]


def test_sizes_at_the_limit_keep_their_cell(tmp_path: Path) -> None:
    """An object of a third of an image that becomes 96 pixels has 32, although a third is no binary number."""
    pytest.importorskip("msgspec")
    path = coco(tmp_path / "b.json", [(0, [0, 0, 10, 10])], {0: (30, 30)})
    objects = read_objects(path, (96, 96))
    assert objects.sizes.tolist() == [[32, 32]]
    assert objects.share_of((32, 32), 1) == 1
    assert objects.share_of((32.0001, 32), 1) == 0


def test_what_is_upsampled_keeps_no_more_objects() -> None:
    result = examine("conv3x8/2 conv3x8/2 conv3x8/2@deep up8@up", (1, 3, 64, 64), objects=[[4, 4], [8, 8], [16, 16]])
    assert result.survival is not None
    assert result.survival.stages["up"] == result.survival.stages["deep"] == pytest.approx((2 / 3, 1 / 3))


def test_axes_of_other_strides_are_judged_by_themselves() -> None:
    """Widths come first in the list, as in boxes; the map is coarse along H alone."""
    layers = "conv3x8 pool2p0@x"
    network = examine(layers, (1, 3, 32, 32), changes={"x": {"stride": (2, 1), "kernel_size": (2, 1)}})
    assert [int(each) for each in network.network.stage("x").receptive_field.stride] == [2, 1]  # type: ignore[union-attr]
    survival = examine(
        layers, (1, 3, 32, 32), changes={"x": {"stride": (2, 1), "kernel_size": (2, 1)}}, objects=[[1, 2], [2, 1]]
    ).survival
    assert survival is not None
    assert survival.stages["x"] == (0.5, 0.0)


def test_objects_fall_to_heads_by_their_longer_side() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        g (float[1, 1, 256, 256] x) => (float[1, 1, 32, 32] p, float[1, 1, 16, 16] q) {
            p = AveragePool <kernel_shape = [129, 129], pads = [64, 64, 64, 64], strides = [8, 8]> (x)
            q = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (p)
        }""")
    survival = examine(model, objects=[[64, 9], [10, 10], [65, 3], [9, 200]]).survival
    assert survival is not None
    assert survival.assigned == (0.5, 0.5)
    assert survival.heads[0] == (0.75, 0.0)


def test_crowds_and_boxes_without_a_side_are_left_out_and_counted(tmp_path: Path) -> None:
    pytest.importorskip("msgspec")
    path = coco(tmp_path / "b.json", [(0, [0, 0, 10, 10]), (0, [0, 0, 0, 10])], {0: (10, 10)})
    content = json.loads(path.read_text())
    content["annotations"].append({"image_id": 0, "bbox": [0, 0, 5, 5], "iscrowd": 1, "segmentation": {"counts": "x"}})
    path.write_text(json.dumps(content))
    objects = read_objects(path, (10, 10))
    assert len(objects) == 1
    assert objects.left_out == ("1 crowd region", "1 without width or height")


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("width,height\n10,20\n30,40\n", [[20, 10], [40, 30]]),
        ("10,20\n30,40\n", [[20, 10], [40, 30]]),
        ("\ufeffheight;width\r\n20;10\r\n\r\n40;30", [[20, 10], [40, 30]]),
        ("label,Height , Width\ncat,20,10\ndog,40,30\n", [[20, 10], [40, 30]]),
        ("width,height,image_width,image_height\n10,20,40,40\n30,40,80,40\n", [[40, 20], [40, 30]]),
        ("height\twidth\n20\t10\n40\t30\n", [[20, 10], [40, 30]]),
    ],
)
def test_columns_are_read(text: str, sizes: list[list[float]], tmp_path: Path) -> None:
    path = tmp_path / "sizes.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert read_objects(path, (80, 80)).sizes.tolist() == sizes


def test_the_same_objects_are_asked_about_after_a_change() -> None:
    before = examine(LAYERS, (1, 3, 64, 64), objects=[[8, 8], [4, 4]])
    comparison = what_if(before, {"c": {"stride": 1}})
    assert before.survival is not None
    assert comparison.after.survival is not None
    assert before.survival.best == (0.5, 0.0)
    assert comparison.after.survival.best == (1.0, 0.5)


# ---------------------------------------------------------------------------------------------------------------------
# What is none

GOOD = '"images": [{"id": 1, "width": 10, "height": 10}]'
BAD_JSON = {
    "empty": ("", "cannot be read as COCO instances"),
    "no JSON": ("boxes", "cannot be read as COCO instances"),
    "a list": ("[]", "cannot be read as COCO instances"),
    "nothing in it": ("{}", "missing required field"),
    "no images": ('{"annotations": []}', "missing required field"),
    "no objects": ('{"annotations": [], "images": []}', "holds no object"),
    "deep": ('{"x": ' + "[" * 100_000, "cannot be read as COCO instances"),
    "deep and whole": ('{"x": ' + "[" * 100_000 + "]" * 100_000 + "}", "cannot be read as COCO instances"),
    "cut": ('{"annotations": [{"image_id": 1, "bbox": [0, 0, 5', "cannot be read as COCO instances"),
    "three numbers": (f'{{"annotations": [{{"image_id": 1, "bbox": [0, 0, 5]}}], {GOOD}}}', "bbox"),
    "text for a number": (f'{{"annotations": [{{"image_id": 1, "bbox": [0, 0, 5, "5"]}}], {GOOD}}}', "bbox"),
    "NaN": (f'{{"annotations": [{{"image_id": 1, "bbox": [0, 0, 5, NaN]}}], {GOOD}}}', "cannot be read as COCO"),
    "too large": (f'{{"annotations": [{{"image_id": 1, "bbox": [0, 0, 5, 1e12]}}], {GOOD}}}', "finite numbers"),
    "beyond floats": (f'{{"annotations": [{{"image_id": 1, "bbox": [0, 0, 5, 1e999]}}], {GOOD}}}', "out of range"),
    "negative": (f'{{"annotations": [{{"image_id": 1, "bbox": [0, 0, -5, 5]}}], {GOOD}}}', "a box of -5 x 5"),
    "no such image": (f'{{"annotations": [{{"image_id": 2, "bbox": [0, 0, 5, 5]}}], {GOOD}}}', "of image 2"),
    "an image of no size": (
        '{"annotations": [{"image_id": 1, "bbox": [0, 0, 5, 5]}], "images": [{"id": 1, "width": 0, "height": 5}]}',
        "an image of 0 x 5",
    ),
    "no side": (f'{{"annotations": [{{"image_id": 1, "bbox": [0, 0, 0, 5]}}], {GOOD}}}', "holds no object"),
    "two sizes of an image": (
        '{"annotations": [], "images": [{"id": 1, "width": 1, "height": 5}, {"id": 1, "width": 2, "height": 5}]}',
        "two images with the id 1",
    ),
}
BAD_CSV = {
    "empty": ("", "holds no object"),
    "titles alone": ("width,height\n", "holds no object"),
    "text": ("a,b\n", "must be numbers"),
    "three columns": ("1,2,3\n", "3 columns without titles"),
    "one column": ("1\n", "1 column without titles"),
    "no height": ("width,other\n1,2\n", "must have one column height"),
    "two widths": ("width,width,height\n1,2,3\n", "must have one column width"),
    "half an image": ("width,height,image_width\n1,2,3\n", "must have one column image_height"),
    "a short line": ("width,height\n1,2\n3\n", "1 column in line 3"),
    "NaN": ("width,height\n1,nan\n", "finite numbers"),
    "infinite": ("width,height\ninf,1\n", "finite numbers"),
    "negative": ("width,height\n1,-1\n", "a box of 1 x -1"),
    "zero": ("width,height\n0,0\n", "holds no object"),
    "a quote": ('1,"2\n3', "must be numbers"),
    "no text": (b"\xff\xfe\x00\x81,\x90", "is no text"),
    "a zero byte": ("width,height\n1,\x002\n", ""),
}


def refused(capsys: pytest.CaptureFixture[str], *arguments: object, layers: str = LAYERS, size: str = "64") -> str:
    code = cli.main(["doctor", "--layers", layers, "--input-shape", size, *map(str, arguments)])
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert captured.err.startswith("pooling doctor: ")
    assert captured.err.count("\n") == 1
    assert len(captured.err) < 2200
    return captured.err


@pytest.mark.parametrize("what", BAD_JSON)
def test_a_json_file_that_is_none_is_a_sentence_and_2(
    what: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("msgspec")
    text, sentence = BAD_JSON[what]
    path = tmp_path / "boxes.json"
    path.write_text(text)
    assert sentence in refused(capsys, "--objects", path)


@pytest.mark.parametrize("what", BAD_CSV)
def test_a_csv_file_that_is_none_is_a_sentence_and_2(
    what: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text, sentence = BAD_CSV[what]
    path = tmp_path / "sizes.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert sentence in refused(capsys, "--objects", path)


def test_no_file_is_a_sentence_and_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "is not a file" in refused(capsys, "--objects", tmp_path / "nobody.json")
    assert "is not a file" in refused(capsys, "--objects", tmp_path)


def test_limits_are_sentences(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sizes.csv"
    path.write_text("1,2\n" * 5)
    monkeypatch.setattr(object_set, "MOST_OBJECTS", 4)
    assert "more than 4 objects" in refused(capsys, "--objects", path)
    monkeypatch.setattr(object_set, "LARGEST_FILE", 8)
    assert "has 20 bytes; at most 8 are read" in refused(capsys, "--objects", path)


def test_options_that_do_not_fit_are_sentences(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "sizes.csv"
    path.write_text("1,2\n")
    signal = refused(capsys, "--objects", path, layers="conv3x8", size="1x3x64")
    assert "has sizes on two axes, but the input has 1 spatial axis" in signal
    assert "give both" in refused(capsys, "--objects-figure", tmp_path / "x.png")
    pytest.importorskip("matplotlib")
    told = refused(capsys, "--objects", path, "--objects-figure", tmp_path / "x.bmp")
    assert "must end in .png, .svg or .pdf" in told
    told = refused(capsys, "--objects", path, "--json", path)
    assert "add --force" in told
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("objects", [[1, 2, 3], [[1, 2, 3]], [], [[0, 0]], [[1, float("nan")]], [[-1, 2]]])
def test_arrays_that_are_none_are_refused(objects: Any) -> None:
    with pytest.raises(ValueError, match="objects"):
        examine(LAYERS, (1, 3, 64, 64), objects=objects)


@pytest.mark.parametrize("objects", [3.5, object(), [["a", "b"]], {"width": 3}])
def test_what_is_no_array_is_refused(objects: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="objects"):
        examine(LAYERS, (1, 3, 64, 64), objects=objects)


def test_a_resize_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'letterbox', 'stretch', 'none'"):
        examine(LAYERS, (1, 3, 64, 64), objects=[[1, 2]], objects_resize="crop")


# ---------------------------------------------------------------------------------------------------------------------
# What is shown


def objects_of(count: int = 500) -> np.ndarray[Any, Any]:
    return np.exp(np.random.default_rng(0).normal(2.5, 1, (count, 2)))


def test_levels_are_the_grids_of_the_network() -> None:
    result = examine("conv3x8@x conv3x8/2@y conv3x8 conv3x8/2 up4", (1, 3, 64, 64), objects=objects_of())
    levels = object_levels(result)
    assert [level.stride for level in levels] == ["1", "2", "4"]
    assert [level.size for level in levels] == ["64×64", "32×32", "16×16"]
    assert [level.is_head for level in levels] == [False, False, True]
    assert all(a.one >= b.one and a.two >= b.two for a, b in pairwise(levels))


def test_the_bars_of_the_figure_are_the_shares() -> None:
    pytest.importorskip("matplotlib")
    result = examine(LAYERS, (1, 3, 64, 64), objects=objects_of())
    curve, bars = object_figure(result).axes
    heights = [bar.get_height() for bar in bars.patches]
    levels = object_levels(result)
    assert heights == pytest.approx([level.one for level in levels] + [level.two for level in levels])
    (line,) = [each for each in curve.lines if len(each.get_xdata()) > 2]
    pixels, share = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    shorter = objects_of().min(axis=1)
    for number in range(0, len(pixels), 50):
        assert share[number] == pytest.approx(np.mean(shorter >= pixels[number]))


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_figure_is_a_file(kind: str) -> None:
    pytest.importorskip("matplotlib")
    result = examine(LAYERS, (1, 3, 64, 64), objects=objects_of())
    begin = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind]
    made = object_figure_file(result, f"x.{kind}")
    assert made.startswith(begin)
    assert made == object_figure_file(result, f"x.{kind}")


def test_a_figure_needs_a_data_set() -> None:
    with pytest.raises(ValueError, match="needs a data set"):
        object_figure(examine(LAYERS, (1, 3, 64, 64)))


def test_the_command_tells_draws_and_writes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for library in ("msgspec", "matplotlib", "jinja2"):
        pytest.importorskip(library)
    boxes = coco(tmp_path / "b.json", [(0, [0, 0, 10, 10]), (0, [0, 0, 40, 40])], {0: (80, 40)})
    out = {kind: tmp_path / f"out.{kind}" for kind in ("json", "html", "svg")}
    files = ["--json", str(out["json"]), "--html", str(out["html"]), "--objects-figure", str(out["svg"])]
    network = ["--layers", LAYERS, "--input-shape", "64", "--fail-on", "never"]
    code = cli.main(["doctor", *network, "--objects", str(boxes), *files])
    printed = " ".join(capsys.readouterr().out.split())
    assert code == 0
    # Letterboxed by 64 / 80: 8 and 32 pixels; stride 8 keeps a cell of both, and two of one.
    assert "2 objects of b.json (letterboxed)" in printed
    assert "100 % of them keep a cell and 50 % two" in printed
    told = json.loads(out["json"].read_text())["objects"]
    assert (told["count"], told["resize"], told["median"]) == (2, "letterbox", [20, 20])
    assert told["heads"] == [{"name": "c", "one_cell": 1.0, "two_cells": 0.5}]
    assert [each["name"] for each in told["stages"]] == ["a", "b", "c"]
    assert "<h2>Objects of the data set</h2>" in out["html"].read_text()
    assert out["svg"].read_text().count("<svg") == 1


def test_a_change_is_judged_by_the_data_set(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "sizes.csv"
    path.write_text("8,8\n4,4\n")
    network = ["doctor", "--layers", LAYERS, "--input-shape", "64", "--fail-on", "never", "--objects", str(path)]
    assert cli.main([*network, "--set", "c.stride=1"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "keep a cell at the finest head: 50 % → 100 %, two cells: 0 % → 50 %" in printed
    assert cli.main([*network, "--explain", "b"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "100 % of 2 objects of sizes.csv keep a cell, 50 % two" in printed


def test_the_object_that_is_followed_is_the_median_of_the_data_set() -> None:
    objects = [[6, 20], [7, 21], [40, 90]]  # width and height
    result = examine(LAYERS, (1, 3, 64, 64), objects=objects)
    assert result.object_size == (21, 7)
    assert any("21×7 pixels are the median of the data set" in each.message for each in result.findings)
    assert examine(LAYERS, (1, 3, 64, 64), objects=objects, object_size=8).object_size == (8, 8)
    assert examine(LAYERS, (1, 3, 64, 64), objects=[[0.2, 0.3]]).object_size == (1, 1)


def test_the_report_speaks_of_the_sizes_that_were_given(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "sizes.csv"
    path.write_text("30,12\n30,12\n")
    assert cli.main(["doctor", "--layers", LAYERS, "--input-shape", "64", "--objects", str(path)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "an object of 12×30 pixels" in printed
    assert "8 px" not in printed
    assert "8×8 pixels" not in printed


def test_without_a_data_set_nothing_is_said_of_one() -> None:
    result = examine(LAYERS, (1, 3, 64, 64))
    assert result.survival is None
    assert as_dict(result)["objects"] is None
    assert "data set" not in page(result)


def test_hostile_names_of_files_are_words_on_the_page(tmp_path: Path) -> None:
    path = tmp_path / "<b>&x.csv"
    path.write_text("10,10\n")
    text = page(examine(LAYERS, (1, 3, 64, 64), objects=path))
    assert "&lt;b&gt;&amp;x.csv" in text
    assert not re.search(r"<b>&x", text)


def test_a_set_that_was_read_is_taken_as_it_is() -> None:
    objects = read_objects([[8, 4]], (64, 64))
    assert isinstance(objects, ObjectSet)
    result = examine(LAYERS, (1, 3, 64, 64), objects=objects)
    assert result.object_set is objects
