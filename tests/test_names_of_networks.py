"""Commands that read ONNX files, given the name of a network, which `pooling doctor` alone takes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("rich")

from pooling import cli
from pooling.onnx_models.missing import remedy_for_missing

NAMES = {
    "torchvision:resnet18": "torch.onnx.export(torchvision.models.get_model('resnet18').eval(), ",
    "timm:vit_tiny_patch16_224.augreg": "torch.onnx.export(timm.create_model('vit_tiny_patch16_224.augreg')",
    "ultralytics:yolov8n.yaml": "ultralytics.YOLO('yolov8n.yaml').export(format='onnx')",
    "package.models:make": "torch.onnx.export(make().eval(), (inputs,), 'make.onnx')",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("command", ["validate", "repair", "export"])
def test_the_name_of_a_network_is_told_how_to_become_a_file(
    command: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"validate": ["--runtimes", "oracle"], "export": ["--shape", "1,3,8,8", "-o", os.devnull]}.get(command, [])
    assert cli.main([command, name, *more]) == 2
    printed = capsys.readouterr()
    said = " ".join((printed.out + printed.err).split())
    assert f"export it first, {NAMES[name]}" in said
    assert "pooling doctor alone takes names" in said


@pytest.mark.parametrize(
    "text", ["model.onnx", "folder/model.onnx", "C:/models/net.onnx", "timm:", ":build", "a:b.onnx:c"]
)
def test_a_path_is_no_name(text: str) -> None:
    assert remedy_for_missing(text) == ""


def test_a_file_that_is_called_like_a_network_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("timm:resnet18").write_bytes(b"\x08")
    assert remedy_for_missing("timm:resnet18") == ""
