"""The geometries of the layers of real networks: how they are drawn, and what the file holds."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

pytest.importorskip("rich")  # the extra "cli"; the race shows its tables with it

from benchmarks.layers import FILE, LAYERS, RACED, summary
from benchmarks.targets import LAYERS_GROUP
from pooling.benchmark import worker
from pooling.benchmark.cases import BenchmarkCase
from pooling.benchmark.results import Results
from tests.benchmark_cases import canned, shrunk

DOCUMENT: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))


def test_the_file_has_200_geometries_of_100_networks() -> None:
    assert len(LAYERS) == len({case.name for case in LAYERS}) == 200
    assert len(DOCUMENT["networks"]) == len(set(DOCUMENT["networks"])) == 100
    libraries = Counter(name.partition(":")[0] for name in DOCUMENT["networks"])
    assert libraries.keys() == {"timm", "torchvision", "ultralytics", "smp"}
    assert DOCUMENT["layers"] > 200
    geometries = {json.dumps(case.to_json() | {"name": ""}) for case in LAYERS}
    assert len(geometries) == 200


def test_they_are_of_many_kinds() -> None:
    assert {case.group for case in LAYERS} == {LAYERS_GROUP}
    assert {case.direction for case in LAYERS} == {"forward"}
    assert {case.layout for case in LAYERS} == {"channels_first", "channels_last"}
    types = Counter(case.dtype for case in LAYERS)
    assert types.keys() == {"float32", "float64", "float16", "bfloat16", "uint8"}
    assert 90 <= types["float32"] <= 150
    kinds = Counter(
        (case.operator, case.kernel_size, case.stride, case.padding, case.ceil_mode, case.count_include_pad)
        for case in LAYERS
    )
    assert len(kinds) >= 25
    # Half of the draws look at kinds of windows, so that global means, which most networks have, are no majority.
    assert sum(count for kind, count in kinds.items() if kind[0] == "global_avg_pool") <= 100
    assert {case.dimensions for case in LAYERS} == {1, 2, 3}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "uint8"])
def test_pooling_runs_them(dtype: str) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    for case in LAYERS:
        if case.dtype == dtype:
            small = shrunk(case)
            result = worker.with_pooling(small, 1)()
            assert result.shape == small.laid_out(small.output_shape)


def test_a_batch_is_1_or_8() -> None:
    assert all(case.shape[0] in (1, 8) or case.shape[0] % 8 == 0 or case.shape[0] < 8 for case in LAYERS)
    assert sum(case.shape[0] == 1 for case in LAYERS) >= 50
    assert sum(case.shape[0] == 8 for case in LAYERS) >= 50


def found_of(networks: int) -> dict[str, list[dict[str, Any]]]:
    """Return layers of made-up networks: each has a global mean, every tenth a window that no other has."""
    found: dict[str, list[dict[str, Any]]] = {}
    for number in range(networks):
        layers: list[dict[str, Any]] = [{"operator": "global_avg_pool", "shape": (1, 8 * (number + 1), 7, 7)}]
        if number % 10 == 0:
            size = number // 10 + 2
            window = {"kernel_size": (size, size), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
            layers.append({"operator": "max_pool", "shape": (1, 64, 56, 56), **window})
        found[f"network {number}"] = layers
    return found


def test_a_draw_is_repeated_by_its_seed_and_meets_rare_windows() -> None:
    pytest.importorskip("torch")
    from benchmarks.make_layers import draw

    found = found_of(100)
    drawn = draw(found, 200)
    assert drawn == draw(dict(reversed(found.items())), 200)
    assert len({case.name for case in drawn}) == 200
    assert len({str(case.to_json() | {"name": ""}) for case in drawn}) == 200
    rare = Counter(case.kernel_size for case in drawn if case.operator == "max_pool")
    assert len(rare) == 10
    # Eleven kinds of windows: ten elevenths of half of the draws, and a tenth of a half of the other half.
    assert 80 <= sum(rare.values()) <= 115
    assert {case.shape[0] for case in drawn} == {1, 8}
    assert all(re.match(r"layer \d{3}: ", case.name) for case in drawn)


def test_nothing_larger_than_the_limit_is_drawn() -> None:
    pytest.importorskip("torch")
    from benchmarks import make_layers

    found = found_of(40) | {"huge": [{"operator": "global_avg_pool", "shape": (1, 4096, 512, 512)}]}
    assert all(sum(case.moved) <= make_layers.LARGEST for case in make_layers.draw(found, 60))


def test_the_summary_counts_rows_behind_each_peer() -> None:
    document = canned()
    rows = {case.name: {"pooling": 2.0, "copy": 1.0, "torch": 4.0, "openvino": 2.0} for case in LAYERS[:10]}
    rows[LAYERS[0].name]["torch"] = 1.0
    document["seconds"] = {"2": rows | {"audio 1-D": {"pooling": 1.0, "copy": 1.0, "torch": 0.1}}}
    lines = summary(Results(document), 2).splitlines()
    assert lines[0] == "openvino: behind in 0 of 10 cases, mean 1.00x"
    assert lines[1].startswith("torch: behind in 1 of 10 cases, mean 1.74x")
    assert lines[2] == "by a copy: geometric mean 2.00, worst 2.0"
    assert summary(Results(document), 1) == ""


def test_only_what_the_target_names_races_layers() -> None:
    peers = {name for name in RACED if worker.LIBRARIES[name].peer}
    assert peers == {"onnxruntime", "openvino", "torch", "torch channels_last"}
    assert isinstance(LAYERS[0], BenchmarkCase)
