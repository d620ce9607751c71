"""Collect the pooling layers of real networks and draw geometries from them: ``python -m benchmarks.make_layers``.

It needs torch, torchvision, timm, ultralytics and segmentation-models-pytorch. Networks are built without weights on
the meta device and run there once; every pooling that torch is asked for is written down as ATen sees it. What is drawn
from these, always the same by a seed, is committed as benchmarks/layers.json; `benchmarks.layers` reads it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pooling.benchmark.cases import BenchmarkCase
from pooling.cli.shared import progress_bar
from pooling.files import write_whole
from tests import doctor_models as models

SEED = 2026
NETWORKS, GEOMETRIES = 100, 200
LARGEST = 1 << 28
"""Bytes of input of a geometry that is drawn."""
CHANCES = {"float32": 12, "float16": 2, "bfloat16": 2, "uint8": 2, "float64": 2}
"""Types of elements, by how many of twenty are drawn: most people pool float32."""
ROOT = Path(__file__).resolve().parent.parent
FILE = Path(__file__).with_name("layers.json")
Layer = dict[str, Any]
"""Fields of a `BenchmarkCase` but for its name, its type of elements, its layout and its batch."""


class _Poolings(TorchDispatchMode):
    """Writes down the poolings that torch is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Layer] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {each.name: each.default_value for each in func._schema.arguments}
        given |= dict(zip(given, args, strict=False)) | (kwargs or {})
        layer = _layer(func._schema.name.partition("::")[2], given, result)
        if layer is not None:
            self.found.append(layer)
        return result


def _layer(name: str, given: dict[str, Any], result: Any) -> Layer | None:
    """Describe the pooling that a call of ATen is, if it is one."""
    x = given.get("self")
    if not isinstance(x, torch.Tensor) or x.ndim not in (3, 4, 5):
        return None
    n = x.ndim - 2
    if name in ("mean", "amax"):
        axes = sorted(axis % x.ndim for axis in given.get("dim") or ())
        return _global(name, x) if axes == list(range(2, x.ndim)) else None
    operator = name.lstrip("_").removesuffix("_with_indices").removesuffix(f"{n}d")
    shape = tuple(x.shape)
    if operator in ("adaptive_avg_pool", "adaptive_max_pool"):
        size = tuple((result if isinstance(result, torch.Tensor) else result[0]).shape[2:])
        if size == (1,) * n:
            return _global("amax" if "max" in operator else "mean", x)
        return {"operator": operator, "shape": shape, "kernel_size": size}
    if operator not in ("max_pool", "avg_pool") or given.get("divisor_override"):
        return None
    layer: Layer = {"operator": operator, "shape": shape, "kernel_size": _sizes(given["kernel_size"], n)}
    layer["stride"] = _sizes(given["stride"] or given["kernel_size"], n)
    layer["padding"] = tuple((each, each) for each in _sizes(given["padding"], n))
    if set(given.get("dilation") or [1]) != {1}:
        layer["dilation"] = given["dilation"][0]
    layer["ceil_mode"] = bool(given["ceil_mode"])
    layer["count_include_pad"] = bool(given.get("count_include_pad"))
    return layer


def _global(name: str, x: torch.Tensor) -> Layer:
    return {"operator": "global_max_pool" if name == "amax" else "global_avg_pool", "shape": tuple(x.shape)}


def _sizes(given: Sequence[int], n: int) -> tuple[int, ...]:
    return tuple(given) * (n if len(given) == 1 else 1)


def layers(network: models.RealNetwork) -> list[Layer]:
    """Run a network and return its poolings, each geometry once."""
    module = network.on_meta()
    device = "cpu" if network.needs_values else "meta"
    mode = _Poolings()
    with torch.no_grad(), mode:
        module(torch.zeros(network.shape, device=device))
    return [each for number, each in enumerate(mode.found) if each not in mode.found[:number]]


def networks(count: int = NETWORKS) -> list[models.RealNetwork]:
    """Return networks, half of them of timm, in an order that a seed gives."""
    chance = random.Random(SEED)
    others = [
        each
        for each in (*models.torchvision_networks(), *models.ultralytics_networks(), *models.smp_networks())
        if not (each.needs_values and each.name.startswith("torchvision"))  # detectors choose boxes by values
    ]
    chance.shuffle(others)
    names = models.timm_names(count)
    return [each for pair in zip(map(models.timm_network, names), others, strict=False) for each in pair]


def draw(found: dict[str, list[Layer]], count: int = GEOMETRIES) -> list[BenchmarkCase]:
    """Draw cases from layers: half of them network by network, half window by window, so that rare ones are met too."""
    chance = random.Random(SEED)
    types = [name for name, often in CHANCES.items() for _ in range(often)]
    windows: dict[str, list[Layer]] = {}
    for layer in (each for name in sorted(found) for each in found[name]):
        kind = {name: value for name, value in layer.items() if name != "shape"}
        windows.setdefault(json.dumps(kind, sort_keys=True), []).append(layer)
    ways = [[found[name] for name in sorted(found)], [windows[kind] for kind in sorted(windows)]]
    cases: dict[str, BenchmarkCase] = {}
    while len(cases) < count:
        layer = chance.choice(chance.choice(ways[len(cases) % 2]))
        batch, layout = chance.choice((1, 8)), chance.choice(("channels_first", "channels_last"))
        fields = {**layer, "shape": (layer["shape"][0] * batch, *layer["shape"][1:])}
        case = BenchmarkCase("", "layers of networks", **fields, dtype=chance.choice(types), layout=layout)
        if sum(case.moved) <= LARGEST:
            cases.setdefault(str(case), case)
    return [_named(case, number) for number, case in enumerate(cases.values())]


def _named(case: BenchmarkCase, number: int) -> BenchmarkCase:
    size = case.kernel_size if isinstance(case.kernel_size, tuple) else ()
    words = [
        f"layer {number:03}:",
        case.operator,
        *(["x".join(map(str, size))] if size else []),
        *([f"s{'x'.join(map(str, case.stride))}"] if isinstance(case.stride, tuple) else []),
        "of",
        "x".join(map(str, case.shape)),
        case.dtype,
        case.layout,
    ]
    return replace(case, name=" ".join(words))


def main() -> int:
    """Run the networks, draw, and write the file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.make_layers", description=__doc__)
    parser.parse_args()
    found: dict[str, list[Layer]] = {}
    chosen = networks()
    with progress_bar() as progress:
        for network in chosen:
            if len(found) == NETWORKS:
                break
            progress(len(found), NETWORKS, network.name)
            try:
                poolings = layers(network)
            except Exception as error:  # what a network raises without values is no matter of ours
                print(f"{network.name} is left out: {type(error).__name__}", file=sys.stderr)
                continue
            if poolings:
                found[network.name] = poolings
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "layers-found.json").write_text(json.dumps(found))
    cases = draw(found)
    document = {
        "networks": sorted(found),
        "layers": sum(map(len, found.values())),
        "cases": [case.to_json() for case in cases],
    }
    write_whole(FILE, json.dumps(document, indent=None, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")
    print(f"{len(cases)} geometries of {document['layers']} layers of {len(found)} networks in {FILE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
