"""Whole networks under PyTorch, before and after `patch`. Nothing here measures time."""

from __future__ import annotations

import importlib
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("torch")
pytest.importorskip("rich")  # the extra "cli"

import torch
from torch import nn

import pooling
from pooling.benchmark.networks import measure, run
from pooling.benchmark.networks.listing import NETWORKS, STEPS, TARGETS, Network
from pooling.benchmark.networks.modules import M5, UNet3d
from pooling.benchmark.networks.records import Key, append, read
from pooling.benchmark.networks.table import markdown, profile, rows, summary, without_numbers
from pooling.cli import main
from pooling.torch import patch

ROOT = Path(__file__).parent.parent
TINY = Network("pooling", "tiny", (3, 16, 16))
M5_ALONE = next(each for each in NETWORKS if each.model == "M5")


@pytest.fixture(autouse=True)
def threads() -> Any:
    before = torch.get_num_threads(), pooling.get_num_threads()
    yield
    torch.set_num_threads(before[0])
    pooling.set_num_threads(before[1])


def tiny() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 2),
    )  # fmt: skip


def record(network: str, batch: int = 1, threads: int = 1, **steps: Any) -> dict[str, Any]:
    about = {"network": network, "batch": batch, "threads": threads, "busy": 0.0, "versions": {}}
    return {**about, "replaced": 1, **steps}


def step(torch_share: float, share: float, ratios: list[float], seconds: float = 0.01) -> dict[str, Any]:
    return {
        "torch": seconds,
        "pooling": seconds / ratios[0],
        "ratios": ratios,
        "shares": {
            "torch": {"convolution": 1 - torch_share, "pooling": torch_share},
            "pooling": {"convolution": 1 - share, "pooling": share},
        },
    }


# ---------------------------------------------------------------------------------------------------------------------
# What is measured


def test_there_are_thirty_networks_of_timm_and_torchvision_and_the_targets() -> None:
    assert sum(each.library in ("timm", "torchvision") for each in NETWORKS) == 30
    names = [each.name for each in NETWORKS]
    assert len(set(names)) == len(names)
    assert set(TARGETS) <= set(names)


@pytest.mark.parametrize(
    ("made", "shape", "out"),
    [(lambda: UNet3d(width=2), (1, 1, 16, 16, 16), (1, 3, 16, 16, 16)), (M5, (2, 1, 8000), (2, 35))],
)
def test_own_networks_pool(made: Any, shape: tuple[int, ...], out: tuple[int, ...]) -> None:
    model = made()
    assert model(torch.zeros(shape)).shape == out
    assert patch(model).replaced


def test_a_network_is_measured_on_both_sides() -> None:
    model = tiny()
    found = measure.measure(TINY, 2, 1, seconds=0, rounds=2, model=model)
    assert found["replaced"] + found["left"] == 2
    assert found["difference"] <= measure.TOLERANCE
    for kind in STEPS:
        assert found[kind]["torch"] > 0 < found[kind]["pooling"]
        assert len(found[kind]["ratios"]) >= 2
        for side in ("torch", "pooling"):
            shares = found[kind]["shares"][side]
            assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
            assert min(shares[name] for name in ("pooling", "convolution", "normalisation", "matrix product")) > 0
        assert ("optimizer" in found[kind]["shares"]["torch"]) == (kind == "training")
    assert type(model[3]) is nn.MaxPool2d  # unpatched
    json.dumps(found)


def test_a_network_that_becomes_another_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(model: nn.Module) -> Any:
        with torch.no_grad():
            model[-1].weight.mul_(2)
        return patch(model)

    monkeypatch.setattr(measure, "patch", wrong)
    with pytest.raises(measure.DifferentError, match=r"^results differ by .* after patch, and in float64 by "):
        measure.measure(TINY, 1, 1, seconds=0, rounds=1, model=tiny())


class Magnifier(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x * 1e5)


def test_rounding_that_a_network_magnifies_is_no_difference() -> None:
    pools = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AvgPool2d(7, 1), Magnifier())
    network = Network("pooling", "magnifier", (3, 64, 64))
    found = measure.measure(network, 1, 1, seconds=0, rounds=1, model=pools)
    assert found["difference"] > measure.TOLERANCE


def test_what_cannot_be_trained_is_measured_in_inference() -> None:
    # A batch norm of one value for each channel has no variance.
    found = measure.measure(TINY, 1, 1, seconds=0, rounds=1, model=nn.Sequential(nn.MaxPool2d(16), nn.BatchNorm2d(3)))
    assert "ratios" in found["inference"]
    assert found["training"]["cannot"].startswith("ValueError: Expected more than 1 value per channel")


def test_shares_are_those_of_outermost_events() -> None:
    x = torch.zeros(1, 8, 64, 64, requires_grad=True)
    assert measure.shares_of(lambda: nn.functional.max_pool2d(x, 3).sum().backward())["pooling"] > 0
    # An adaptive mean of one cell calls aten::mean, and is pooling; a plain mean is none.
    assert measure.shares_of(lambda: nn.functional.adaptive_avg_pool2d(x.detach(), 1))["pooling"] > 0
    assert measure.shares_of(lambda: x.detach().mean((2, 3))).keys() == {"other"}
    patched = nn.MaxPool2d(3)
    patch(patched)
    assert measure.shares_of(lambda: patched(x).sum().backward())["pooling"] > 0


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["aten::mkldnn_convolution", "aten::conv2d"], "convolution"),
        (["aten::mean", "aten::adaptive_avg_pool2d"], "pooling"),
        (["aten::fill_", "MaxPool2DWithIndicesBackward0"], "pooling"),
        (["pooling::max_pool2d"], "pooling"),
        (["autograd::engine::evaluate_function: NativeBatchNormBackward0"], "normalisation"),
        (["aten::native_layer_norm"], "normalisation"),
        (["aten::clamp_min_"], "activation"),
        (["aten::mm"], "matrix product"),
        (["aten::cat"], "concatenation"),
        (["aten::add_", "Optimizer.step#SGD.step"], "optimizer"),
        (["aten::add_"], "other"),
    ],
)
def test_kinds_of_work(names: list[str], kind: str) -> None:
    event = None
    for name in reversed(names):
        event = SimpleNamespace(name=name, cpu_parent=event)
    assert measure._kind_of(event) == kind


# ---------------------------------------------------------------------------------------------------------------------
# Processes and the file


@pytest.fixture
def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Networks are measured by a process that writes down what it is asked."""
    asked = tmp_path / "asked"
    (tmp_path / "answering.py").write_text(
        f"""
import json, sys, time
for line in sys.stdin:
    setting = json.loads(line)
    with open({str(asked)!r}, "a") as file:
        print(sys.argv[1], setting["batch"], setting["threads"], file=file)
    if setting["batch"] == 13:
        sys.exit(3)
    if setting["batch"] == 14:
        time.sleep(60)
    print(json.dumps({{"replaced": 1, "left": 0}}), flush=True)
"""
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(run, "MODULE", "answering")
    return asked


def test_what_a_file_holds_is_not_measured_again(tmp_path: Path, answering: Path) -> None:
    path = tmp_path / "records.jsonl"
    told: list[tuple[int, int, str]] = []
    settings: dict[str, Any] = {"seconds": 0.0, "rounds": 1}
    found = run.run(path, NETWORKS[:2], (1,), (1,), progress=lambda *each: told.append(each), **settings)
    assert [each["replaced"] for each in found] == [1, 1]
    assert told == [(0, 2, "torchvision:alexnet, batch 1, 1 thread"), (1, 2, "torchvision:vgg11, batch 1, 1 thread")]
    again = run.run(path, NETWORKS[:2], (1, 8), (1,), **settings)
    assert again[::2] == found
    names = [each.name for each in NETWORKS[:2]]
    assert answering.read_text().splitlines() == [f"{name} {batch} 1" for batch in (1, 8) for name in names]
    assert len(read(path)) == 4
    assert {"date", "machine", "busy", "versions"} <= again[0].keys()
    assert again[0]["versions"]["torch"] == torch.__version__


def test_a_process_that_dies_or_hangs_costs_its_own_setting(
    tmp_path: Path, answering: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "LIMIT", 20.0)
    settings: dict[str, Any] = {"seconds": 0.0, "rounds": 1}
    dead, alive = run.run(tmp_path / "records.jsonl", NETWORKS[:1], (13, 1), (1,), **settings)
    assert dead["cannot"] == "the process ended with code 3"
    assert alive["replaced"] == 1
    monkeypatch.setattr(run, "LIMIT", 0.5)
    (hung,) = run.run(tmp_path / "records.jsonl", NETWORKS[:1], (14,), (1,), **settings)
    assert hung["cannot"] == "not measured in 0.5 s"
    assert list(without_numbers([dead])) == [("torchvision:alexnet", 13, 1, "all", "the process ended with code 3")]


def test_of_two_records_about_the_same_the_last_counts(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    append(path, [record("a"), record("b")])
    append(path, [record("a", replaced=2)])
    assert [(each["network"], each["replaced"]) for each in read(path)] == [("a", 2), ("b", 1)]
    assert read(tmp_path / "none") == []
    with path.open("a") as file:
        file.write('{"network": "a"\n')
    with pytest.raises(ValueError, match=r"line 4 is no record of pooling bench --torch; remove the line, or use anot"):
        read(path)
    assert Key("a", 1, 1) == run.key_of(record("a"))


# ---------------------------------------------------------------------------------------------------------------------
# Tables


RECORDS = [
    record("a", training=step(0.2, 0.05, [1.1, 1.2, 1.3]), inference=step(0.01, 0.01, [1.0])),
    record("b", training=step(0.5, 0.1, [1.8]), inference=step(0.3, 0.01, [0.9])),
    record("a", 8, 2, training={"cannot": "ValueError: no"}, inference=step(0.01, 0.01, [1.0])),
    record("c", cannot="not measured in 1 s"),
]


def test_rows_and_what_is_none() -> None:
    found = [each for each in rows(RECORDS) if each.step == "training"]
    assert [(each.network, each.ratio, each.share, each.share_after) for each in found] == [
        ("a", 1.2, 0.2, 0.05), ("b", 1.8, 0.5, 0.1),
    ]  # fmt: skip
    assert list(without_numbers(RECORDS)) == [
        ("a", 8, 2, "training", "ValueError: no"), ("c", 1, 1, "all", "not measured in 1 s"),
    ]  # fmt: skip


def test_tables_name_every_network_the_one_that_pools_most_first() -> None:
    lines = markdown(RECORDS, "training").splitlines()
    assert lines[0] == "| network | batch | 1 thread: torch | pooling is | after `patch` | faster |"
    assert lines[2:] == [
        "| `b` | 1 | 10.0 ms | 50 % | 10 % | 1.80 |",
        "| `a` | 1 | 10.0 ms | 20 % | 5.0 % | 1.20 (1.15–1.25) |",
    ]
    assert "| `a` | 8 | – | – | – | – | 10.0 ms | 1.0 % | 1.0 % | 1.00 |" in markdown(RECORDS, "inference")


def test_a_profile_says_what_free_poolings_would_bring() -> None:
    lines = profile(RECORDS, ["b"], "training").splitlines()
    assert lines[0] == (
        "| network | batch | threads |  | a step | pooling | convolution | other | faster | were pooling free |"
    )
    assert lines[2] == "| `b` | 1 | 1 | torch | 10.0 ms | 50 % | 50 % | 0.0 % |  | 2.00 |"
    assert lines[3].startswith("|  |  |  | after `patch` | 5.56 ms | 10 % | 90 % | 0.0 % | 1.80 |")


def test_the_summary_names_what_became_slower() -> None:
    text = summary(RECORDS, "inference")
    assert "3 measurements of 2 networks" in text
    assert text.endswith("slower with it: b (batch 1, 1 thr.: 0.90).")
    assert summary(RECORDS, "training").endswith("slower with it: none.")
    assert summary([], "training") == "training: nothing was measured."


def test_a_network_in_which_nothing_was_replaced_shows_the_noise() -> None:
    records = [
        record("a", inference=step(0.01, 0.01, [1.5])), record("b", replaced=0, inference=step(0.01, 0.01, [0.9])),
    ]  # fmt: skip
    text = summary(records, "inference")
    assert "replaces a module, in 1 of them, a step takes 1.50 times" in text
    assert "the ratios of 0.90 to 0.90 are the noise of the measurement; slower with it: none." in text
    assert "| `b` | 1 | 10.0 ms | 1.0 % | 1.0 % | the same |" in markdown(records, "inference")


def test_the_page_is_written_from_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    make_torch = importlib.import_module("make_torch")
    text = make_torch.PAGE.read_text(encoding="utf-8")
    assert text.count(make_torch.BEGIN) == text.count(make_torch.END) == 1
    machine = {"processor": "AMD", "cores": 2, "system": "Linux x86_64", "kernels": "x86-64-v3"}
    about = {"machine": machine, "versions": {"pooling": "0.1.0", "torch": "2.13.0"}}
    target = record(TARGETS[0], training=step(0.2, 0.05, [1.2]), inference=step(0.01, 0.01, [1.0]))
    days = ("2026-11-28T10:00:00", "2026-11-29T10:00:00")
    records = [{**each, **about, "date": days[each["network"] == "a"]} for each in (*RECORDS, target)]
    records[0]["busy"] = 1.5
    written = make_torch.page(text, records)
    assert make_torch.page(written, records) == written
    assert written.startswith(text.split(make_torch.BEGIN)[0])
    assert (
        "\nAMD, 2 cores, Linux x86_64, kernels of x86-64-v3; pooling 0.1.0, torch 2.13.0; 2026-11-28 to 2026-11-29. "
        in written
    )
    assert "Other processes kept processors busy before 1 of 5 measurements." in written
    assert f"| `{TARGETS[0]}` | 1 | 1 | torch | 10.0 ms | 20 % | 80 % |" in written
    assert (
        f"at least 1.2 times as fast is reached by `{TARGETS[0]}` (1.20 at best; were pooling free, 1.25)." in written
    )
    assert "- `a`, batch 8, 2 threads, training: ValueError: no" in written
    assert "- `c`, batch 1, 1 thread, all: not measured in 1 s" in written


# ---------------------------------------------------------------------------------------------------------------------
# The command


def test_names_are_whole_beside_wide_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where measurements scatter, their ranges are long; the name of the network was folded for them."""
    from rich.console import Console

    from pooling.benchmark.networks import terminal

    row = SimpleNamespace(network="pooling:M5", batch=1, threads=1, step="training", before=1.2, share=0.5, after=1.2,
                          share_after=0.4)  # fmt: skip
    monkeypatch.setattr(terminal, "rows", lambda records: [row])
    monkeypatch.setattr(terminal, "ratio_text", lambda row: "1.234 (between 0.912 and 1.789)")
    console = Console(file=io.StringIO(), width=80)
    console.print(terminal.networks_table([]))
    assert "pooling:M5" in cast(io.StringIO, console.file).getvalue()


def test_the_command_measures_prints_and_resumes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "records.jsonl"
    command = ["bench", "--torch", "--only", "pooling:M5", "--batch", "1", "--threads", "1", "--seconds", "0"]
    command += ["--rounds", "1", "--results", str(path)]
    assert main(command) == 0
    out = capfd.readouterr().out
    assert out.count("pooling:M5") >= 2
    assert "training: 1 measurement of 1 network." in out
    (found,) = read(path)
    assert found["replaced"] >= 4
    assert found["training"]["shares"]["torch"]["pooling"] > 0.02
    assert main(command) == 0
    assert [found] == read(path)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--results", "x"], "--results goes with --torch"),
        (["--torch", "--only", "lenet5"], "--only 'lenet5': no network has that in its name"),
        (["--torch", "--library", "torch"], "--library does not go with --torch"),
        (["--torch", "--batch", "0"], "--batch 0 must be at least 1"),
        (["--torch", "--seconds", "nan"], "--seconds nan must be at least 0"),
    ],
)
def test_refusals(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"pooling bench: {sentence}")


def test_a_library_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setattr("pooling.cli.bench_torch.find_spec", lambda name: None if name == "timm" else object())
    assert main(["bench", "--torch", "--only", "timm:"]) == 2
    assert "timm is not installed; install it, or choose other networks with --only" in capsys.readouterr().err


def test_the_command_lists_networks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--torch", "--list"]) == 0
    assert capsys.readouterr().out.split() == [each.name for each in NETWORKS]


def test_own_networks_alone_need_no_other_library() -> None:
    assert M5_ALONE.library == "pooling"
    assert isinstance(measure.build(M5_ALONE), M5)
