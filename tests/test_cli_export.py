"""``pooling export``: layers as text, and the models that are written of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import pooling
from pooling import cli
from pooling.doctor import NetworkError, examine
from pooling.doctor.network.readers.text import poolings_from_text
from pooling.errors import refused
from pooling.export import VerificationError, to_onnx, to_onnx_backward
from pooling.layer_text import layers_from_text
from pooling.onnx_models.backend import PoolingBackend

CHAIN = "MaxPool2d(3, stride=2, padding=1), AvgPool2d(2)"


@pytest.mark.parametrize(
    "text",
    [
        CHAIN,
        CHAIN.replace(", A", "\nA"),
        CHAIN.replace(", A", "; A"),
        f"# a stem\n{CHAIN.replace(', A', '  # and then' + chr(10) + 'pooling.A')}\n",
        f"Sequential({CHAIN})",
        f"[{CHAIN}]",
        repr(pooling.Sequential(pooling.MaxPool2d(3, stride=2, padding=1), pooling.AvgPool2d(2))),
        "pool3/2p1 avgpool2",
    ],
)
def test_a_chain_may_be_written_in_several_ways(text: str) -> None:
    assert poolings_from_text(text, 2) == [pooling.MaxPool2d(3, stride=2, padding=1), pooling.AvgPool2d(2)]


@pytest.mark.parametrize(
    "layer",
    [
        pooling.LPPool2d(float("inf"), 2),
        pooling.LPPool1d(1.5, 3, ceil_mode=True),
        pooling.MaxPool3d((1, 2, 3), padding=[(0, 0), (1, 0), (0, 1)], return_indices=True),
        pooling.AdaptiveAvgPool2d((None, 7)),
        pooling.RoIAlign(7, spatial_scale=0.25),
        pooling.AvgPool2d(3, padding="same_upper", layout="channels_last", divisor_override=-2),
    ],
)
def test_what_repr_writes_is_read(layer: Any) -> None:
    assert layers_from_text(repr(layer)) == [layer]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("MaxPool2d(2", "'MaxPool2d(2' cannot be read; write a layer as MaxPool2d(3, stride=2, padding=1), and each"),
        ("MaxPool2d(2) AvgPool2d(2)", "'MaxPool2d(2) AvgPool2d(2)' cannot be read; write a layer as"),
        ("MaxPool2d(2)\n\nAvg Pool2d(2)", "cannot be read (line 3)"),
        ("MaxPool2d(2)\x00", "cannot be read"),
        ("MaxPool2d(" + "(" * 9999, "cannot be read"),
        ("MaxPool2d(" + "1" * 200_000 + ")", "has 200011 signs; at most 100000 are read"),
        ("MaxPool2d(" + "1" * 9_000 + ")", "cannot be read"),
        ("# nothing", "'# nothing' has no layers"),
        ("Sequential()", "'Sequential()' has no layers"),
        ("Sequential(a=MaxPool2d(2))", "Sequential takes layers, without names"),
        ("print(1)", "'print' is no layer of this package; use the classes of pooling, such as MaxPool2d or AvgPool2d"),
        ("Layer()", "'Layer' is no layer of this package"),
        ("a." * 1_000 + "b()", "the name of a layer has too many parts"),
        ("MaxPool2d" + "()" * 1_000, "the name of a layer has too many parts"),
        ("MaxPool2d(2, stride=1, stride=2)", "stride is given more than once; leave one"),
        ("max_pool2d(2)", "'max_pool2d' is no layer of this package; do you mean MaxPool2d?"),
        ("nn.MaxPool2d(2)", "'nn.MaxPool2d' is no layer of this package; do you mean MaxPool2d?"),
        ("MaxPool2d(2)(3)", "is no layer of this package"),
        ("MaxPool2d(__import__('os').getpid())", "is no number, word or tuple of them; write the value itself"),
        ("MaxPool2d(9**9**9)", "'9 ** 9 ** 9' is no number"),
        ("MaxPool2d(*[2])", "arguments with * are not unpacked"),
        ("MaxPool2d(**{'kernel_size': 2})", "arguments with * are not unpacked"),
        ("MaxPool2d(x := 2)", "is no number"),
        ("MaxPool2d()", "MaxPool2d: missing a required argument: 'kernel_size'"),
        ("MaxPool2d(2, strides=2)", "do you mean stride?"),
        ("MaxPool2d(2)\nx = 1", "'x = 1' is no layer"),
        ("MaxPool2d(2)\nimport os", "'import os' is no layer"),
        ("conv3", "'conv1' is Conv; give poolings only"),
        ("pool2@a pool2<input", "'pool1' reads from 'input'; give layers one after another"),
        ("pool2@a pool2+a", "'add1' is Add; give poolings only"),
        ("", "the list is empty"),
    ],
)
def test_what_is_no_chain_of_poolings_is_refused(text: str, sentence: str) -> None:
    with pytest.raises((ValueError, NetworkError)) as caught:
        poolings_from_text(text, 2)
    said = str(caught.value)
    assert said.startswith("layers: ")
    assert sentence in said
    assert len(said) < 400


def test_the_doctor_reads_layers_as_python_writes_them() -> None:
    network = examine(CHAIN, (1, 3, 64, 64)).network
    assert [(stage.name, stage.output_shape) for stage in network.stages] == [
        ("0_MaxPool2d", (1, 3, 32, 32)),
        ("1_AvgPool2d", (1, 3, 16, 16)),
    ]
    with pytest.raises(NetworkError) as caught:
        examine("MaxPool2d(2, return_indices=True), AvgPool2d(2)")
    assert "only the last layer may return indices" in str(caught.value)


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(
    ("layers", "shape", "options", "pool", "given"),
    [
        (
            ["MaxPool2d(3, stride=2, padding=1)"],
            "N,64,112,112",
            [],
            pooling.MaxPool2d(3, stride=2, padding=1),
            {"input_shape": ("N", 64, 112, 112)},
        ),
        (
            ["pool3/2p1", "AvgPool2d(2)"],
            "1x3x32x32",
            ["--dtype", "float16", "--opset", "18"],
            pooling.Sequential(pooling.MaxPool2d(3, stride=2, padding=1), pooling.AvgPool2d(2)),
            {"input_shape": (1, 3, 32, 32), "dtype": "float16", "opset": 18},
        ),
        (
            ["layers.txt"],
            "N, 2, H, W",
            ["--special-values", "exact"],
            pooling.Sequential(pooling.MaxPool2d(2), pooling.GlobalAvgPool2d()),
            {"input_shape": ("N", 2, "H", "W"), "special_values": "exact"},
        ),
        (
            ["MaxPool1d(2, return_indices=True)"],
            "2,3,9",
            ["--indices", "onnx"],
            pooling.MaxPool1d(2, return_indices=True),
            {"input_shape": (2, 3, 9), "indices": "onnx"},
        ),
        (
            ["MaxUnpool2d(2)"],
            "1,2,4,4",
            ["--output-size", "9,9"],
            pooling.MaxUnpool2d(2),
            {"input_shape": (1, 2, 4, 4), "output_size": (9, 9)},
        ),
    ],
)
def test_the_file_is_what_to_onnx_returns(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verify: bool,
    layers: list[str],
    shape: str,
    options: list[str],
    pool: Any,
    given: dict[str, Any],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("layers.txt").write_text("MaxPool2d(2)\n# and the head\nGlobalAvgPool2d()\n", encoding="utf-8")
    checks = [] if verify else ["--no-verify"]
    assert cli.main(["export", *layers, "--shape", shape, "-o", "out.onnx", *options, *checks]) == 0
    model = onnx.load("out.onnx")
    assert model == to_onnx(pool, **given)
    said = capsys.readouterr().out
    assert said.startswith(model.graph.doc_string)
    assert ("verified in onnxruntime" in said) == verify
    assert said.endswith("written to out.onnx\n")


def test_a_model_of_no_elements_is_not_said_to_be_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "MaxPool2d(2)", "--shape", "0,3,8,8", "-o", str(tmp_path / "out.onnx")]) == 0
    said = capsys.readouterr().out
    assert "verified" not in said
    assert "run, on no element, in onnxruntime" in said


def test_the_gradient_is_written_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gradient.onnx"
    assert cli.main(["export", "AvgPool2d(2)", "--shape", "N,3,8,8", "--gradient", "-o", str(path)]) == 0
    assert onnx.load(path) == to_onnx_backward(pooling.AvgPool2d(2), ("N", 3, 8, 8))
    assert cli.main(["export", "pool2", "pool2", "--shape", "N,3,8,8", "--gradient", "-o", str(path)]) == 2
    assert capsys.readouterr().err == (
        "pooling export: --gradient is of one layer, and there are 2; export them one by one\n"
    )


def test_a_written_model_computes_what_the_layers_do(tmp_path: Path) -> None:
    path = tmp_path / "chain.onnx"
    assert cli.main(["export", CHAIN, "--shape", "N,3,H,W", "-o", str(path)]) == 0
    x = np.random.default_rng(0).standard_normal((2, 3, 17, 14), dtype=np.float32)
    (found,) = PoolingBackend.run_model(onnx.load(path), [x])
    np.testing.assert_array_equal(found, pooling.Sequential(*layers_from_text(CHAIN))(x))


@pytest.mark.parametrize(
    ("layers", "options", "sentence"),
    [
        (["model.onnx"], [], "model.onnx is a model, and layers are exported; pooling repair rewrites models"),
        (
            ["missing.txt"],
            [],
            "there is no file 'missing.txt'; give one with a layer on each line, or the layer itself",
        ),
        (["."], [], "there is no file '.'; give one with a layer on each line, or the layer itself"),
        (["picture.txt"], [], "picture.txt is no text with a list of layers; a model is given as MODEL.onnx"),
        (["MaxPool2d(0)"], [], "MaxPool2d: kernel_size=0 must be at least 1 on axis H, not 0"),
        (["MaxPool2d(99)"], [], "MaxPool2d: kernel_size=99 finds no window on axis H"),
        (["MaxPool2d('a')"], [], "MaxPool2d: kernel_size='a' must be an integer"),
        (["MaxPool2d(2)"], ["--dtype", "complex64"], "dtype=complex64 cannot be exported; use one of float16"),
        (["MaxPool2d(2)"], ["--dtype", "abacus"], "dtype='abacus' is no NumPy dtype"),
        (["MaxPool2d(2)"], ["--opset", "99"], "opset=99 must lie between 7 and"),
        (["MaxPool2d(2)"], ["--output-size", "8,8"], "output_size=(8, 8) is for unpooling only"),
        (["MaxPool2d(2)"], ["-o", "no/out.onnx"], "-o no/out.onnx: there is no folder no"),
        (["layers.txt"], ["-o", "layers.txt"], "-o layers.txt is layers.txt, which is read; name another file"),
    ],
)
def test_what_cannot_be_exported_is_2_and_leaves_no_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    layers: list[str],
    options: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("layers.txt").write_text("MaxPool2d(2)\n", encoding="utf-8")
    Path("picture.txt").write_bytes(b"\xff\xfe\x00")
    before = sorted(os.listdir())
    assert cli.main(["export", *layers, "--shape", "N,3,8,8", "-o", "out.onnx", *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"pooling export: {sentence}")
    assert captured.err.count("\n") == 1
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("length", [300, 2_000])
def test_a_list_of_layers_may_be_longer_than_a_name_of_a_file(tmp_path: Path, length: int) -> None:
    layers = f"Sequential({', '.join(['MaxPool2d(1)'] * (length // 14))})"
    assert len(layers) > length - 30
    out = str(tmp_path / "out.onnx")
    assert cli.main(["export", layers, "--shape", "1,1,4,4", "--no-verify", "-o", out]) == 0
    assert len(onnx.load(out).graph.node) == length // 14
    assert cli.main(["doctor", "--layers", " ".join(["pool1"] * (length // 6)), "--html", str(tmp_path / "a.html")]) < 2


def test_a_file_of_layers_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "layers.txt"
    file.write_bytes(b"\xef\xbb\xbfMaxPool2d(2)\r\nAvgPool2d(2)\r\n")
    out = str(tmp_path / "out.onnx")
    assert cli.main(["export", str(file), "--shape", "1,1,8,8", "--no-verify", "-o", out]) == 0
    assert [node.op_type for node in onnx.load(out).graph.node] == ["MaxPool", "AveragePool"]


@pytest.mark.parametrize("shape", ["", "N,", "N,3,8.5,8", "N,3,-8,8", "?,3,8,8", "N 3 8 8", "N,3,8,1" + "0" * 30])
def test_a_shape_is_sizes_and_names(shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["export", "MaxPool2d(2)", "--shape", shape, "-o", "out.onnx"])
    assert caught.value.code == 2
    assert "must be sizes with commas between them, and names for what is left open, such as N,64,112,112" in (
        capsys.readouterr().err
    )


def test_a_shape_beyond_any_memory_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = f"1,{2**63 - 1},{2**63 - 1},112"
    assert cli.main(["export", "MaxPool2d(2)", "--shape", shape, "-o", str(tmp_path / "out.onnx")]) == 2
    assert capsys.readouterr().err == (
        f"pooling export: the input would have shape ({shape.replace(',', ', ')}) with 4 bytes an element, more than "
        "64 bits can address; use smaller sizes\n"
    )
    assert not list(tmp_path.iterdir())


def test_a_model_that_differs_is_1_and_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def differ(*arguments: Any, **keywords: Any) -> None:
        raise refused(VerificationError, "to_onnx", "MaxPool2d gives 1.0 instead of 2.0")

    monkeypatch.setattr("pooling.export.verification.Session.__init__", differ)
    path = tmp_path / "out.onnx"
    path.write_text("what was there before")
    assert cli.main(["export", "MaxPool2d(2)", "--shape", "N,3,8,8", "-o", str(path)]) == 1
    captured = capsys.readouterr()
    assert captured.err == "pooling export: MaxPool2d gives 1.0 instead of 2.0; nothing was written\n"
    assert path.read_text() == "what was there before"


def test_the_progress_names_what_is_verified(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from contextlib import contextmanager

    told: list[tuple[int, int, str]] = []

    @contextmanager
    def bar() -> Any:
        yield lambda *state: told.append(state)

    monkeypatch.setattr("pooling.cli.export.progress_bar", bar)
    assert cli.main(["export", "pool2", "--shape", "N,3,8,8", "-o", str(tmp_path / "out.onnx")]) == 0
    assert told == [
        (0, 1, "making the graph"),
        (0, 2, "verifying, default optimisation"),
        (1, 2, "verifying, disabled optimisation"),
    ]
