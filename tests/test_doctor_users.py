"""What users of the doctor meet first: wrong files, wrong inputs, signals, what is printed, pasted and drawn."""

from __future__ import annotations

import html.parser
import pickle
import re
import shlex
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pooling import cli
from pooling.doctor import examine
from pooling.doctor.analysis.trials import OPTION, as_options
from pooling.doctor.examination import usual_object
from pooling.doctor.report.drawing import NARROW, WIDE, drawing, sentence
from pooling.doctor.report.drawing.display import in_two, measured

M5 = "conv80x32/16p0 pool4 conv3x32p0 pool4 conv3x64p0 pool4 conv3x64p0 pool4"
UNET = (
    "conv3x8@encoder.layer1.conv pool2@p1 conv3x16@encoder.layer2.conv pool2@p2 conv3x32@encoder.layer3.conv "
    "pool2@p3 conv3x64@encoder.layer4.conv up2|encoder.layer3.conv@u1 conv3x32@decoder.blocks.0.conv "
    "up2|encoder.layer2.conv@u2 conv3x16@decoder.blocks.1.conv up2|encoder.layer1.conv@u3 conv3x8@decoder.blocks.2.conv"
)

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command: its exit code, and what it writes."""
    pytest.importorskip("rich")

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = cli.main(["doctor", *arguments])
        except SystemExit as leaving:
            code = int(str(leaving.code))
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


# ---------------------------------------------------------------------------------------------------------------------
# Files that hold no network


class Weights(dict[str, Any]):
    """What would be run if it were unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("was_run"),)


def archive(*names: str) -> bytes:
    import io

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name in names:
            packed.writestr(name, b"")
    return file.getvalue()


FILES: dict[str, tuple[bytes, str]] = {
    "photo.png": (b"\x89PNG\r\n\x1a\n" + bytes(32), "is a picture and no network; it is given as --image"),
    "photo.onnx": (b"\xff\xd8\xff\xe0" + bytes(32), "is a picture and no network"),
    "empty.onnx": (b"", "is not an ONNX model (it has no graph); export it again"),
    "text.onnx": (b"conv3 pool2\n", "or only a part of one ("),
    "text.pt2": (b"conv3 pool2\n", "save it again with torch.export.save"),
    "empty.pt": (b"", "give the function that makes the module, package.module:factory"),
    "pickle.pt": (pickle.dumps(Weights()), "runs code of whoever wrote it when it is loaded; it is not loaded"),
    "yolov8n.pt": (pickle.dumps(Weights()), "its network without weights is ultralytics:yolov8n.yaml"),
    "script.pt": (archive("net/code/net.py", "net/data.pkl"), "is a TorchScript archive"),
    "notes.txt": (b"some notes", "is text; a list of layers is given as --layers"),
    "net.py": (b"import torch", "give the function in it that makes the module: net:FUNCTION"),
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(32), "is a file of Keras (HDF5); write it as ONNX from Keras"),
    "model.tflite": (bytes(4) + b"TFL3" + bytes(8), "python -m tf2onnx.convert --tflite"),
    "model.safetensors": (bytes([2]) + bytes(7) + b"{}", "holds weights by name (a state dict)"),
    "model.onnx.gz": (b"\x1f\x8b" + bytes(16), "is packed; unpack it first"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_network_is_one_sentence_with_a_remedy(
    doctor: Run, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    if name.endswith(".pt2"):
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    content, words = FILES[name]
    Path(name).write_bytes(content)
    code, out, err = doctor(name)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert "; " in err, "no remedy"
    assert "unforeseen" not in err
    assert not Path("was_run").exists()


def test_truncated_models_are_one_sentence(doctor: Run, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        g (float[1, 1, 9, 9] x) => (float[1, 1, 4, 4] y) {
            y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
        }""").SerializeToString()
    for length in range(0, len(model), 7):
        path = tmp_path / "cut.onnx"
        path.write_bytes(model[:length])
        code, out, err = doctor(str(path))
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "unforeseen" not in err


def test_folders_name_the_models_in_them(doctor: Run, tmp_path: Path) -> None:
    code, _, err = doctor(str(tmp_path))
    assert code == 2
    assert "is a folder, and no model (.onnx, .pt2) is in it; give the path of one" in err
    (tmp_path / "net.onnx").touch()
    assert f"is a folder; give a model in it: {tmp_path / 'net.onnx'}" in doctor(str(tmp_path))[2]
    (tmp_path / "saved_model.pb").touch()
    assert "is a model of TensorFlow; convert it with tf2onnx" in doctor(str(tmp_path))[2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resnet50", "a model of a library is given as timm:resnet50 or torchvision:resnet50"),
        ("timm/resnet50", "a model of a library is given as timm:resnet50"),
        ("conv3 pool2", 'a list of layers is given as --layers "conv3 pool2"'),
        ("nett.onnx", "do you mean net.onnx?"),
        ("yolov8n.pt", "its network without weights is ultralytics:yolov8n.yaml"),
    ],
)
def test_a_file_that_is_not_there(
    doctor: Run, text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.onnx").touch()
    code, _, err = doctor(text)
    assert code == 2
    assert words in err


def test_a_picture_of_no_known_format(doctor: Run, tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    path = tmp_path / "notes.txt"
    path.write_text("some notes")
    code, _, err = doctor("--layers", "conv3 pool2", "--input-shape", "1x3x32x32", "--image", str(path))
    assert code == 2
    assert "cannot be read as a picture (its format is not known); give a file of PNG, JPEG or another format" in err


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

TWO = """
import torch

class Two(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(1, 8, 3)

    def forward(self, image, mask):
        return self.first(image) + self.second(mask)

def wave():
    return torch.nn.Sequential(torch.nn.Conv1d(2, 8, 9, stride=4), torch.nn.ReLU())
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("torch")
    import sys

    (tmp_path / "modules_of_users.py").write_text(TWO)
    monkeypatch.chdir(tmp_path)
    yield "modules_of_users"
    sys.modules.pop("modules_of_users", None)


@pytest.mark.parametrize(
    ("source", "arguments", "words"),
    [
        ("Two", "--input image=1x3x32x32 --input mask=1x1x32x32", ""),
        (
            "Two",
            "--input imag=1x3x32x32 --input mask=1x1x32x32",
            "its inputs are 'image' and 'mask'; do you mean 'image'?",
        ),
        ("Two", "--input image=1x3x32x32", "no shape of 'mask' is given; add --input mask=1x3x224x224"),
        ("Two", "--input image=32 --input mask=32", "needs its whole shape, such as --input image=1x3x224x224"),
        ("Two", "--input-shape 1x3x32x32", "give a shape for each, --input image=SHAPE --input mask=SHAPE"),
        ("wave", "", "says no input shape; give --input-shape 1x2x16000"),
        ("wave", "--input-shape 4000", ""),
        ("wave", "--input-shape 1x3x32x32", "takes 2 channels and 1 spatial axis, such as --input-shape 1x2x16000"),
        ("wawe", "--input-shape 4000", "do you mean wave?"),
        ("nothing", "", "do you mean Two or wave?"),
    ],
)
def test_inputs_of_modules(doctor: Run, modules: str, source: str, arguments: str, words: str) -> None:
    code, out, err = doctor(f"{modules}:{source}", *arguments.split())
    assert (code, bool(out)) == ((2, False) if words else (0, True))
    assert words in err
    assert err.count("\n") == (1 if words else 0)


def test_a_wrong_input_of_a_file_is_named(doctor: Run, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        g (float[1, 1, 9, 9] data) => (float[1, 1, 4, 4] y) {
            y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (data)
        }""")
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    code, _, err = doctor(str(path), "--input", "image=1x1x9x9")
    assert code == 2
    assert "names 'image', and the input of" in err
    assert "is 'data'; give --input-shape, or --input data=SHAPE" in err
    assert doctor(str(path), "--input", "data=1x1x9x9")[0] == 0


# ---------------------------------------------------------------------------------------------------------------------
# Signals


@pytest.mark.parametrize("samples", [100, 256, 1000, 5000, 8000, 16000, 44100, 160000])
def test_the_object_of_a_signal_is_about_a_thirty_second_of_it(samples: int) -> None:
    size = usual_object((samples,))
    assert size & (size - 1) == 0
    assert size == 8 or samples / 46 < size < samples / 22


def test_images_have_the_object_that_they_had() -> None:
    assert examine("conv3 pool2", (1, 3, 512, 512)).object_size == (8, 8)
    assert examine("conv3 pool2", (1, 1, 16000)).object_size == (512,)


def test_an_object_can_be_a_time(doctor: Run) -> None:
    base = ("--layers", M5, "--input-shape", "1x1x8000")
    code, out, _ = doctor(*base, "--sample-rate", "16000", "--object", "20ms", "--fail-on", "never")
    assert code == 0
    assert "an object of 320 samples (20 ms)" in out
    assert "pixel" not in out
    code, _, err = doctor(*base, "--object", "20ms")
    assert code == 2
    assert "add --sample-rate HZ" in err


def test_the_drawing_of_a_signal_tells_seconds_and_no_skips_that_it_does_not_show() -> None:
    drawn = drawing(examine(M5, (1, 1, 8000), sample_rate=16000))
    words = [text.words for text in drawn.texts]
    assert "8000 samples (0.5 s)" in words
    assert "skips" not in words
    inner = drawing(examine("conv3x8@block.a conv3x8@block.b+block.a pool2 conv3x8", (1, 1, 256)))
    assert "skips" not in [text.words for text in inner.texts]


# ---------------------------------------------------------------------------------------------------------------------
# What is printed, and pasted


def test_an_examination_is_a_few_lines() -> None:
    result = examine(M5, (1, 1, 8000), sample_rate=16000, task="classification")
    lines = str(result).splitlines()
    assert 4 <= len(lines) <= 6
    assert lines[0] == "layers at 1×1×8000, for classification"
    assert lines[1] == f"{sentence(result)}."
    assert {each.code for each in result.findings} <= set(re.findall(r"D\d{3}", str(result)))
    assert len(repr(result)) < 200
    assert "\n" not in repr(result)
    assert "does not work at 1×1×80" in str(examine(M5, (1, 1, 80)))


def test_options_are_pasted_as_they_are_printed(doctor: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """All options of an advice, with the marks at the ends of lines, are what a shell makes one command of."""
    layers = "conv7x16/2p3@stem pool3/2p1@pool " + " ".join(
        f"conv3x16/2@block{n}.conv1 conv3x16@block{n}.conv2 conv1x16/2<{before}+block{n}.conv2@block{n}.sum"
        for n, before in enumerate(["pool", "block0.sum", "block1.sum"])
    )
    base = ("--layers", layers, "--input-shape", "1x3x64x64", "--task", "detection", "--fail-on", "never")
    result = examine(layers, (1, 3, 64, 64), task="detection")
    wanted = {
        tuple(OPTION.findall(fix)) for each in result.findings for fix in each.fixes if len(OPTION.findall(fix)) > 2
    }
    assert wanted
    for columns in (60, 80, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        _, out, _ = doctor(*base)
        # What stands from the first to the last option of an advice, as somebody would select it.
        # Unlike a shell, shlex makes a word of the end of a line that goes on.
        advice = [each.replace("\\\n", " ") for each in out.split("→") if "--set '" in each]
        pasted = [tuple(shlex.split(each[each.index("--set") : each.rindex("'") + 1])) for each in advice]
        for options in wanted:
            words = tuple(shlex.split(" ".join(options)))
            assert any(words == each for each in pasted), (columns, words)
            code, compared, err = doctor(*base, *words)
            assert (code, err) == (0, "")
            assert "What if" in compared or "what if" in compared.lower()


def test_names_with_quotes_are_quoted_for_a_shell() -> None:
    option = as_options({"it's": {"stride": 1}})
    assert shlex.split(option) == ["--set", "it's.stride=1"]
    assert OPTION.findall(as_options({"a b": {"stride": 1}, "c": {"padding": ((0, 1), (0, 2))}})) == [
        "--set 'a b.stride=1'",
        "--set 'c.padding=0:1x0:2'",
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Words of findings


def test_one_axis_is_spoken_of_in_one_number() -> None:
    (finding,) = [each for each in examine(M5, (1, 1, 8000)).findings if each.code == "D201"]
    assert "covers 0.25 of a cell here" in finding.message
    assert "and 0.062 of a cell at the output feature map" in finding.message
    # There is no such layer for signals.
    assert "MaxBlurPool" not in " ".join(finding.fixes)


def test_a_window_without_room_and_its_smallest_input_are_named() -> None:
    (finding,) = [each for each in examine("conv3p0 pool4 conv3p0@last", (1, 3, 8, 8)).findings if each.code == "D102"]
    assert finding.stage == "last"
    assert finding.message.startswith("an input of 1×3×8×8 leaves no room for a window of last: ")
    smallest = next(
        size for size in range(8, 99) if examine("conv3p0 pool4 conv3p0", (1, 3, size, size)).failure is None
    )
    assert f"use an input of size {smallest} at least" in finding.fixes[0]


def test_one_early_stage_is_it_and_two_are_them() -> None:
    for layers, word in (("conv4x8/4p0@stem", "beside it,"), ("conv3x8/2@stem pool2@pool", "beside them,")):
        network = f"{layers} {'conv3x64 ' * 9}"
        (finding,) = [each for each in examine(network, (1, 3, 64, 64)).findings if each.code == "D501"]
        assert any(word in fix for fix in finding.fixes)


# ---------------------------------------------------------------------------------------------------------------------
# The page and the drawing


class Parts(html.parser.HTMLParser):
    """The elements of a page, and what stands in those of one kind."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__()
        self.kind, self.open, self.tags, self.texts = kind, False, list[str](), list[str]()
        self.attributes: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        self.open = tag == self.kind
        if self.open:
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.open = self.open and tag != self.kind

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[-1] += data


def test_a_notebook_keeps_its_own_style() -> None:
    pytest.importorskip("jinja2")
    from pooling.doctor.report.page import page

    result = examine("conv3x8/2@a pool2", (1, 3, 32, 32))
    shown = result._repr_html_()
    assert shown is not None
    outer = Parts(shown, "style")
    assert outer.tags == ["iframe"], "whatever stands beside the frame changes the notebook"
    document = outer.attributes[0]["srcdoc"]
    assert document == page(result)
    assert "style" in Parts(document, "style").tags


def test_the_page_sets_each_option_apart_and_whole() -> None:
    pytest.importorskip("jinja2")
    from pooling.doctor.report.page import page

    result = examine("conv3x8/2@a conv3x8/2@b conv3x8/2@c conv3x8/2@d", (1, 3, 64, 64), task="detection")
    options = [each for finding in result.findings for fix in finding.fixes for each in OPTION.findall(fix)]
    assert options
    found = Parts(page(result), "code").texts
    assert [each for each in found if each.startswith("--set")] == options


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_names_and_shapes_are_whole_where_two_lines_have_room(width: int) -> None:
    result = examine(UNET, (1, 3, 128, 128), task="segmentation")
    drawn = drawing(result, width=width)
    labels = [text for text in drawn.texts if text.role == "label"]
    assert not [text.words for text in labels if "…" in text.words]
    below: dict[float, list[Any]] = {}
    for text in labels:
        below.setdefault(round(text.at[0], 2), []).append(text)
    for column in below.values():
        name = column[0].whole
        assert "".join(text.words for text in column if text.whole == name) == name
    # What says the same stands in one line across all boxes.
    strides = {round(text.at[1], 2) for text in labels if text.words.startswith("stride")}
    assert len(strides) == 1


def test_values_are_whole_on_a_narrow_screen() -> None:
    layers = "conv7x64/2p3@stem pool3/2p1@pool conv3x128/2 conv3x256/2 conv3x512/2 global fc10"
    drawn = drawing(examine(layers, (1, 3, 224, 224)), width=NARROW)
    labels = [text.words for text in drawn.texts if text.role == "label"]
    assert not [words for words in labels if "…" in words]
    assert "512" in labels or "512 values" in labels


def test_names_on_two_lines_fit() -> None:
    for name in ("decoder.blocks.0", "features/conv", "a.b.c.d.e.f", "head.classification_head", "x" * 40, "layer1"):
        for room in (30, 50, 70, 200):
            lines = [line for line in in_two(name, room, 12, bold=True) if line]
            assert all(measured(line, 12, bold=True) <= room for line in lines)
            assert "…" in lines[-1] or "".join(lines) == name
    assert in_two("decoder.blocks.0", 300, 12) == ("", "decoder.blocks.0")


def test_a_number_stays_with_its_stride() -> None:
    drawn = drawing(examine("conv3x8/2 conv3x8/2 conv3x8/2", (1, 3, 65, 65)), width=NARROW)
    headline = [text.words for text in drawn.texts if text.role == "headline"]
    assert "stride 8" in " ".join(headline)
    assert not any(line.endswith("stride") for line in headline)


def test_every_head_that_is_concatenated_has_a_flag(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    class Heads(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.levels = torch.nn.ModuleList(torch.nn.Conv2d(3 if n == 0 else 8, 8, 3, 2, 1) for n in range(4))
            self.head = torch.nn.Conv2d(8, 5, 1)

        def forward(self, x: Any) -> Any:
            found = []
            for level in self.levels:
                x = level(x)
                found.append(self.head(x).flatten(2))
            return torch.cat(found, 2)

    result = examine(Heads().eval(), (1, 3, 64, 64), task="detection")
    assert [head.output_size for head in result.heads] == [(32, 32), (16, 16), (8, 8), (4, 4)]
    flags = [text.words for text in drawing(result).texts if text.role == "flag text"]
    assert [words for words in flags if words.startswith("stride")] == [f"stride {2**n}" for n in (1, 2, 3, 4)]


def test_a_transformer_is_told_the_same_in_large_type_and_in_the_finding() -> None:
    torch = pytest.importorskip("torch")

    class Patches(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.patch = torch.nn.Conv2d(3, 16, 8, 8)
            self.block = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.block(self.patch(x).flatten(2).transpose(1, 2)).mean(1)

    result = examine(Patches().eval(), (1, 3, 64, 64), object_size=4)
    (finding,) = [each for each in result.findings if each.code == "D201"]
    told = sentence(result)
    assert "kept inside one token" in finding.message
    assert "kept inside one token" in told
    assert "lost" not in told
    # The shadow is that of a patch, so the sentence has its size.
    field = next(text.words for text in drawing(result).texts if text.role == "subtitle")
    assert "8×8 pixels; attention or a global branch adds the whole input to it" in field
