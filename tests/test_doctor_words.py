"""Signals are spoken of in samples and seconds, volumes in voxels, and only images in pixels."""

from __future__ import annotations

import contextlib
import io
import re
from typing import Any

import pytest

from pooling.cli import main
from pooling.doctor import examine
from pooling.doctor.words import Words, duration

SIGNALS = [
    ("conv80x32/16p0 pool4 conv3x32p0 pool4 conv3x64p0 pool4 conv3x64p0 pool4", (1, 1, 8000)),
    ("conv3x8@a pool2 conv3x16@b pool2 conv3x16 up2|b conv3 up2|a conv3x8", (1, 2, 64)),
    ("conv9x16/4 conv9x32/4 conv9x64/4 global fc10", (1, 1, 4096)),
    ("conv3x8 conv1/2 avgpool3/2p1c conv3/2 conv3/2 conv3/2 conv3", (1, 1, 65)),
    ("conv3x8 conv3x8@a pool4 pool4 conv2p0:1<a+a", (1, 1, 64)),
]
VOLUMES = [
    ("conv3x8/2p0 pool2 conv3x8/2 conv3/2", (1, 1, 32, 33, 34)),
    ("conv3x8@a pool2 conv3x16 up2|a conv3x8", (1, 1, 16, 16, 16)),
    ("conv3x8/2 conv3x8/2 conv3x8/2 global fc4", (1, 3, 32, 32, 32)),
]
TASKS = (None, "classification", "detection", "segmentation")


def findings(layers: str, shape: tuple[int, ...]) -> str:
    """Return all that is found with any task."""
    results = [examine(layers, shape, task=task, object_size=size) for task in TASKS for size in (4, 16)]
    return "\n".join(
        text for result in results for each in result.findings for text in (each.message, each.title, *each.fixes)
    )


def told(layers: str, shape: tuple[int, ...], task: str | None, size: int, rate: float | None = None) -> str:
    """Return all that is said of a network: the report, an explanation and the page, without its tags."""
    pytest.importorskip("rich")
    pytest.importorskip("jinja2")
    from pooling.doctor.report.page import page

    result = examine(layers, shape, task=task, object_size=size, sample_rate=rate)
    texts = []
    options = ["--task", task] if task else []
    options += ["--sample-rate", str(rate)] if rate else []
    base = ["doctor", "--layers", layers, "--input-shape", "x".join(map(str, shape)), "--object", str(size), *options]
    for more in ([], ["--all"], ["--explain", result.network.stages[0].name], ["--set", f"{first(result)}.stride=1"]):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            main([*base, *more])
        texts.append(output.getvalue())
    written = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<[^>]*>", " ", page(result), flags=re.DOTALL)
    return "\n".join([*texts, written])


def first(result: Any) -> str:
    return next(
        stage.name for stage in result.network.stages if stage.axes and stage.kind in ("convolution", "pooling")
    )


@pytest.mark.parametrize(("layers", "shape"), SIGNALS)
def test_a_signal_has_samples(layers: str, shape: tuple[int, ...]) -> None:
    text = findings(layers, shape) + told(layers, shape, "detection", 4)
    assert "sample" in text
    assert not re.findall(r".*(?:pixel|\bimages?\b|\bpx\b|feature pyramid|FPN|voxel|\brows?\b|2d\b).*", text)


@pytest.mark.parametrize(("layers", "shape"), VOLUMES)
def test_a_volume_has_voxels(layers: str, shape: tuple[int, ...]) -> None:
    text = findings(layers, shape) + told(layers, shape, "segmentation", 4)
    assert "voxel" in text
    assert not re.findall(r".*(?:pixel|\bimages?\b|feature pyramid|FPN|\bsamples\b|2d\b).*", text)


def test_an_image_has_pixels() -> None:
    text = told("conv3x8/2 conv3/2 conv3/2 conv3/2", (1, 3, 64, 64), "detection", 4)
    assert "pixels" in text
    assert "enlarge the image" in text
    assert not re.search("voxel|signal", text)


def test_seconds_stand_beside_samples_where_the_rate_is_known() -> None:
    text = told(*SIGNALS[0], "detection", 16, 16000)
    assert "an object of 16 samples (1 ms)" in text
    assert "samples 6848 to 7999 of 8000 (72 ms) are read by nothing" in text
    assert re.search(r"from\s+6848\s+\(0.428\s+s\)\s+on", text)


@pytest.mark.parametrize(
    ("rate", "kind", "sentence"),
    [
        ("fast", TypeError, "examine: sample_rate='fast' must be a number, not str"),
        (True, TypeError, "examine: sample_rate=True must be a number, not bool"),
        (0, ValueError, "examine: sample_rate=0 must be a positive number of samples per second"),
        (float("nan"), ValueError, "examine: sample_rate=nan must be a positive number of samples per second"),
        (float("inf"), ValueError, "examine: sample_rate=inf must be a positive number of samples per second"),
    ],
)
def test_a_sample_rate_is_a_positive_number(rate: Any, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind) as caught:
        examine("conv3", (1, 1, 64), sample_rate=rate)
    assert str(caught.value) == sentence


def test_an_image_has_no_sample_rate(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="sample_rate=100 is for networks with one spatial axis, and this one has 2"):
        examine("conv3", (1, 3, 8, 8), sample_rate=100)
    assert main(["doctor", "--layers", "conv3", "--input-shape", "8", "--sample-rate", "100"]) == 2
    assert "one spatial axis" in capsys.readouterr().err


def test_words_for_any_number_of_axes() -> None:
    assert [Words(count).cell for count in range(5)] == ["pixel", "sample", "pixel", "voxel", "pixel"]
    assert [Words(3).line(axis) for axis in range(3)] == ["slice", "row", "column"]
    assert Words(2, 8000.0).seconds((8,)) == ""
    assert [duration(each) for each in (0.09999, 0.1, 12.345, 0.00012)] == ["100 ms", "0.1 s", "12.3 s", "0.12 ms"]
