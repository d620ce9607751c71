"""The doctor on real networks without weights, held against what torch does with them.

Each network is a test of its own, so that several processes share them. docs/make_doctor_models.py asks the same of all
models of timm and writes docs/doctor-models.md.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests import doctor_models as models  # noqa: E402
from tests import doctor_proof as proof  # noqa: E402

pytest.importorskip("timm")  # which imports torchvision, for which `doctor_models` has prepared torch

ROOT = Path(__file__).parent.parent
KNOWN: dict[tuple[str, str], str] = {}
"""What is known to be wrong, by question and network, and why."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with models.one_thread():
        yield


def asked(question: str, networks: list[models.RealNetwork]) -> list[Any]:
    """Make a parameter of each network, and say of which a difference is known."""
    return [
        pytest.param(
            each,
            id=each.name,
            marks=[pytest.mark.xfail(reason=KNOWN[question, each.name], strict=True)]
            if (question, each.name) in KNOWN
            else [],
        )
        for each in networks
    ]


SAMPLE = [models.timm_network(name) for name in models.timm_names(models.SAMPLE)]
SMALL = [models.timm_network(name) for name in models.SMALL]


def read_whole(network: models.RealNetwork, **options: Any) -> None:
    record = proof.read(network, **options)
    assert record["outcome"] in ("whole", "fields", "data"), record
    assert record["outcome"] != "data" or network.needs_values
    assert record["differences"] == []
    assert record["shapes"] == record["shapes_equal"]
    # Of a detector only what comes before the data decides is read, and compared by nothing but that.
    assert record["outcome"] == "data" or (record["sizes"] and record["shapes"])


@pytest.mark.parametrize("network", asked("read", SAMPLE))
def test_models_of_timm_are_read_as_torch_runs_them(network: models.RealNetwork) -> None:
    read_whole(network)


@pytest.mark.parametrize("network", asked("read", SMALL[:12]))
def test_multiply_adds_of_fvcore(network: models.RealNetwork) -> None:
    pytest.importorskip("fvcore")
    read_whole(network, fvcore=True)


def networks_of(library: str) -> list[models.RealNetwork]:
    """Return the networks of a library, none where it is not installed."""
    module = {"smp": "segmentation_models_pytorch"}.get(library, library)
    if importlib.util.find_spec(module) is None:
        return []
    found: list[models.RealNetwork] = getattr(models, f"{library}_networks")()
    return found


@pytest.mark.parametrize("network", asked("read", models.one_of_each(networks_of("torchvision"))))
def test_models_of_torchvision_are_read_as_torch_runs_them(network: models.RealNetwork) -> None:
    read_whole(network)


@pytest.mark.parametrize("network", asked("read", networks_of("ultralytics")))
def test_models_of_ultralytics_are_read_as_torch_runs_them(network: models.RealNetwork) -> None:
    read_whole(network)


@pytest.mark.parametrize("network", asked("read", networks_of("smp")))
def test_models_of_segmentation_models_pytorch_are_read_as_torch_runs_them(network: models.RealNetwork) -> None:
    read_whole(network)


@pytest.mark.parametrize("network", asked("strides", SAMPLE[::3]))
def test_effective_strides_are_those_that_timm_declares(network: models.RealNetwork) -> None:
    record = proof.strides(network)
    if record["outcome"] == "none":
        pytest.skip("timm gives no feature maps of some models")
    assert record["differences"] == []


@pytest.mark.parametrize("network", asked("fields", SMALL[::2]))
def test_receptive_fields_are_those_of_gradients_and_of_nan(network: models.RealNetwork) -> None:
    features = models.timm_network(network.name.partition(":")[2], features_only=True)
    record = proof.fields(features)
    if record["outcome"] == "torch":
        pytest.skip("some models take one size only")
    assert record["outcome"] == "read"
    assert record["differences"] == []


@pytest.mark.parametrize("network", asked("unread", SMALL[1::3]))
def test_what_nothing_reads_has_no_gradient(network: models.RealNetwork) -> None:
    record = proof.unread(network, models.ODD)
    if record["outcome"] == "torch":
        pytest.skip("some models take one size only")
    assert record["differences"] == []


@pytest.mark.parametrize("network", asked("sizes", SMALL[::4]))
def test_input_sizes_are_those_that_torch_takes(network: models.RealNetwork) -> None:
    record = proof.sizes(network, 24)
    assert record["differences"] == []
    assert record["outcome"] == "not said" or record["tried"] > 0


@pytest.mark.parametrize("network", asked("warnings", SMALL[::3]))
def test_no_warning_is_false(network: models.RealNetwork) -> None:
    record = proof.judge_warnings(network)
    assert record["false"] == {}, record["differences"]


EXPORTED = [models.timm_network(name) for name in ("resnet18", "lcnetv2_base", "test_vit3", "repghostnet_050")]


@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
@pytest.mark.parametrize("network", asked("export", EXPORTED))
def test_a_file_says_what_the_module_says(network: models.RealNetwork, dynamo: bool) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    record = proof.export(network, dynamo=dynamo)
    assert record["outcome"] in ("whole", "fields"), record
    assert record["differences"] == []


# ---------------------------------------------------------------------------------------------------------------------
# The truths can tell


def test_a_wrong_field_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    network = models.timm_network("resnet18", features_only=True)
    shifted = pooling_field_moved(monkeypatch)
    record = proof.fields(network)
    assert shifted
    assert record["differences"]
    assert record["gradients"] == 0


def pooling_field_moved(monkeypatch: pytest.MonkeyPatch) -> bool:
    """Let every receptive field lie one pixel further."""
    from dataclasses import replace

    read = proof.pooling.doctor.read

    def moved(*arguments: Any, **options: Any) -> Any:
        network = read(*arguments, **options)
        stages = tuple(
            replace(stage, receptive_field=replace(field, offset=tuple(each + 1 for each in field.offset)))
            if (field := stage.receptive_field) is not None
            else stage
            for stage in network.stages
        )
        return replace(network, stages=stages)

    monkeypatch.setattr(proof.pooling.doctor, "read", moved)
    return True


def test_warnings_that_are_false_are_told_from_those_that_are_true() -> None:
    import pooling.doctor
    from pooling.doctor import Finding

    network = models.timm_network("resnet18")
    examination = pooling.doctor.examine(network.on_meta(), network.shape, object_size=16, task="detection")
    asked_of = models.probe(models.positive(network.with_weights()), network.shape)
    run = models.run_in_torch(network.on_meta(), network.shape)
    judge = proof.Judge(network, examination, asked_of, run, network.shape)
    # ResNet-18 reads all of 224x224, has no window that is mostly padding, and a small dense layer.
    for code, stage in (("D101", "conv1"), ("D105", "layer1.0.conv1"), ("D504", "fc"), ("D203", "layer3.1.conv2")):
        assert judge(Finding(code, "warning", stage, "")) is False, code
    # Its shortcuts skip cells, but the other path reads them; its pooling is all that the classifier sees.
    assert judge(Finding("D402", "warning", "layer2.0.downsample.0", "")) is False
    pooled = next(each.name for each in examination.network.stages if each.name.startswith("global_pool"))
    assert judge(Finding("D502", "warning", pooled, "")) is True
    assert judge(Finding("D502", "warning", "maxpool", "")) is True
    assert judge(Finding("D201", "warning", "layer4", "")) is True


def test_a_run_counts_what_data_passes_through() -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3)
            self.table = torch.nn.Parameter(torch.zeros(5, 4))
            self.project = torch.nn.Linear(4, 4, bias=False)
            self.unused = torch.nn.Linear(2, 2)

        def forward(self, x: Any) -> Any:
            return self.conv(x).mean((2, 3)) + self.project(self.table).sum(0)

    run = models.run_in_torch(Net().to("meta"), (1, 3, 8, 8))
    assert run.convolutions == [(1, 4, 6, 6)]
    assert run.multiply_adds == 36 * 4 * 27
    assert run.multiply_adds_of_constants == 5 * 16
    assert run.parameters - run.parameters_read == 6
    assert run.modules["conv"] == [(1, 4, 6, 6)]
    assert "project" not in run.modules


@pytest.mark.parametrize("kind", ["AvgPool", "MaxPool", "AdaptiveAvgPool"])
def test_a_run_tells_poolings_of_one_axis_from_those_of_two(kind: str) -> None:
    one, two = (getattr(torch.nn, f"{kind}{axes}d")(2) for axes in (1, 2))
    long, high = (2, 2) if kind.startswith("Adaptive") else (4, 3)
    run = models.run_in_torch(torch.nn.Sequential(torch.nn.Conv1d(3, 5, 1), one).to("meta"), (1, 3, 8))
    assert run.poolings == [(1, 5, long)]
    run = models.run_in_torch(torch.nn.Sequential(torch.nn.Conv2d(3, 5, 1), two).to("meta"), (1, 3, 6, 8))
    assert run.poolings == [(1, 5, high, long)]


def test_a_module_that_several_share_is_named_by_who_calls_it() -> None:
    shared = torch.nn.ReLU()
    module = torch.nn.Sequential(
        torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), shared), torch.nn.Sequential(torch.nn.AvgPool2d(2), shared)
    )
    seen: list[tuple[str, int]] = []
    with models.watched(module, lambda path, _, result: seen.append((path, result.shape[-1]))):
        module(torch.zeros(1, 1, 8, 8))
    assert seen == [("0.0", 8), ("0.1", 8), ("0", 8), ("1.0", 4), ("1.1", 4), ("1", 4), ("", 4)]
    ones = {"1.1": lambda result: torch.ones_like(result)}
    with models.watched(module, lambda path, _, result: ones[path](result) if path in ones else None):
        assert bool((module(torch.zeros(1, 1, 8, 8)) == 1).all())


@pytest.mark.parametrize(("upsampled", "cells"), [(True, 4), (False, 8)])
def test_cells_that_a_map_tells_apart_are_counted(upsampled: bool, cells: int) -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Conv2d(1, 2, 3, 2, 1)
            self.second = torch.nn.Conv2d(2, 2, 3, 2, 1)
            self.last = torch.nn.Conv2d(2, 2, 3, padding=1)

        def forward(self, x: Any) -> Any:
            fine = self.first(x)
            coarse = torch.nn.functional.interpolate(self.second(fine), scale_factor=2.0)
            return {"out": self.last(coarse if upsampled else coarse + fine)}

    network = models.RealNetwork("two scales", Net, (1, 1, 16, 16), (1, 1, 32, 32))
    assert models.resolved_cells(network, network.shape, "", 8, 8) == cells
    assert models.resolved_cells(network, network.shape, "last", 8, 8) == cells
    assert models.resolved_cells(network, network.shape, "last", 5, 8) is None


# ---------------------------------------------------------------------------------------------------------------------
# The page


@pytest.fixture
def make_page() -> Any:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        return importlib.import_module("make_doctor_models")
    finally:
        sys.path.pop(0)


def test_a_process_that_takes_too_much_is_an_answer(make_page: Any) -> None:
    assert make_page.in_a_process(lambda: {"outcome": "whole"}, 60, 20_000)["outcome"] == "whole"
    crashed = make_page.in_a_process(lambda: {"outcome": str(1 // 0)}, 60, 20_000)
    assert (crashed["outcome"], crashed["sentence"]) == (
        "crash",
        "ZeroDivisionError: integer division or modulo by zero",
    )
    assert make_page.in_a_process(lambda: {"outcome": str(len(bytes(1 << 36)))}, 60, 20_000)["outcome"] == "memory"


def test_the_page_counts(make_page: Any) -> None:
    reading = {"kind": "read", "outcome": "whole", "shapes": 3, "shapes_equal": 3, "parameters_equal": True,
               "macs_equal": True, "seconds": 1.0, "megabytes": 300, "differences": []}  # fmt: skip
    records = [
        {**reading, "name": "timm:a"},
        {**reading, "name": "timm:b", "outcome": "part", "operator": "aten.fold", "shapes_equal": 2,
         "differences": ["conv: no stage has its shape"]},
        {"kind": "warnings", "name": "timm:a", "outcome": "read", "true": {"D105": 2}, "false": {"D105": 1},
         "undecided": {}, "differences": ["detection: D105 conv"]},
        {"kind": "strides", "name": "timm:a", "outcome": "read", "equal": True, "differences": []},
    ]  # fmt: skip
    page = make_page.page(json.loads(json.dumps(records)))
    assert "| timm, random weights: read to the end | 1 of 2 (50.0 %); with all receptive fields 1; run 2 of" in page
    assert "| shapes, two sizes each | 5 of 6 (83.3 %); all equal in 1 of 2 (50.0 %) networks | exactly |" in page
    assert "| not known aten.fold | 1 | `timm:b` |" in page
    assert "| D105 | 2 | 1 | 0 |" in page
    assert "| effective strides, `feature_info` | 1 of 1 (100.0 %) models with features | all |" in page


def test_what_is_missing_is_counted_on_the_page(make_page: Any) -> None:
    judged = {"kind": "warnings", "outcome": "read", "true": {}, "false": {}, "undecided": {"D301": 1},
              "open": ["D301 pool"], "differences": []}  # fmt: skip
    records = [
        {**judged, "name": "timm:a", "code": make_page.state_of_code()},
        {"kind": "warnings", "name": "timm:b", "outcome": "time", "sentence": "not done in 120 s of one core"},
        {"kind": "fields", "name": "timm:c", "outcome": "outputs differ", "maps": 0, "differences": []},
        {"kind": "fields", "name": "timm:d", "outcome": "torch"},
    ]  # fmt: skip
    page = make_page.page(records)
    assert "Of 4 answers, 1 are of the code as it is" in page
    assert "0 of 0 decided; not decided 1; without an answer 1 |" in page
    assert "0 of 0 networks: 0 feature maps, 0 of them context, 0 perturbations; without an answer 1 |" in page
    assert "- not decided: `timm:a`, D301 pool" in page
    assert "| warnings | `timm:b` | not done in 120 s of one core | 0 |" in page
    assert "| fields | `timm:c` | outputs differ | 0 |" in page


@pytest.mark.parametrize(
    ("words", "expected"),
    [(None, ""), ([], "abc"), (["whole"], "ab"), (["part"], "c"), (["different"], "b"), (["part", "different"], "bc")],
)
def test_what_is_asked_again(make_page: Any, words: list[str] | None, expected: str) -> None:
    records = [
        {"name": "a", "outcome": "whole", "differences": []},
        {"name": "b", "outcome": "whole", "differences": ["one"]},
        {"name": "c", "outcome": "part"},
    ]
    assert "".join(each["name"] for each in records if make_page.is_wanted_again(each, words)) == expected


def test_the_page_is_made_by_the_command(make_page: Any) -> None:
    text = make_page.PAGE.read_text(encoding="utf-8")
    assert text.startswith(make_page.HEAD.partition("{versions}")[0])
    assert text.count("\n| ") > 20
