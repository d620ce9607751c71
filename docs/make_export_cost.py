"""Measure what forms of one pooling cost in onnxruntime, into docs/export-cost.md: ``python docs/make_export_cost.py``.

Times are the least of several runs on one thread; forms that are compared run in turns.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

import pooling
from pooling.export import to_onnx, to_onnx_backward
from pooling.layer import Layer

PAGE = Path(__file__).with_name("export-cost.md")
ROUNDS = 25
SHAPE = (1, 64, 112, 112)
EXACT: list[tuple[Layer, bool]] = [
    (pooling.MaxPool2d(3, 2, 1), False),
    (pooling.MaxPool2d(3, 2, 1, return_indices=True), False),
    (pooling.MaxPool2d(2), False),
    (pooling.MinPool2d(3, 2, 1), False),
    (pooling.GlobalMaxPool2d(), False),
    (pooling.MaxPool2d(3, 2, 1), True),
]
"""Layers, and whether it is their gradient that is measured."""

HEAD = """\
<!-- Made by docs/make_export_cost.py. -->

# Cost of the exported forms

Milliseconds of one thread in onnxruntime {version}, the least of {rounds} runs in turns, on
`{shape}` of float32 ({machine}).
`python docs/make_export_cost.py` measures them again and writes this page.

## Exact NaN and infinities

`special_values="exact"` gives the graph in which NaN and infinities give the results of the layer in every runtime. By
default there is one node, which is correct for finite numbers.

| | nodes, default | nodes, exact | ms, default | ms, exact | times as long |
|---|---|---|---|---|---|
"""
OPSET_HEAD = """
## AveragePool of opset 19 with dynamic channels

onnxruntime has another kernel for AveragePool from opset 19 on, the first that has dilations. This is why the default
opset is the lowest from 13 on that expresses the layer without workarounds.

| | shape | ms, opset 13 | ms, opset 19 | times as long |
|---|---|---|---|---|
"""


def fastest(models: Sequence[onnx.ModelProto], arrays: dict[str, np.ndarray[Any, Any]]) -> list[float]:
    """Run models in turns; return the milliseconds of the fastest run of each."""
    sessions = []
    for model in models:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        sessions.append(
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        )
    best = [float("inf")] * len(models)
    for _ in range(ROUNDS):
        for number, session in enumerate(sessions):
            taken = {value.name: arrays[value.name] for value in session.get_inputs()}
            begin = time.perf_counter()
            session.run(None, taken)
            best[number] = min(best[number], 1000 * (time.perf_counter() - begin))
    return best


def exact_rows(x: np.ndarray[Any, Any]) -> str:
    """Compare graphs for finite numbers with those for all."""
    rows = []
    for layer, backward in EXACT:
        export: Any = to_onnx_backward if backward else to_onnx
        models = [export(layer, SHAPE, special_values=words) for words in ("finite", "exact")]
        gradient = np.ones(layer.output_shape(SHAPE), np.float32)
        times = fastest(models, {"input": x, "grad_output": gradient})
        nodes = [len(model.graph.node) for model in models]
        name = f"{'gradient of ' if backward else ''}`{layer!r}`"
        ratio = times[1] / times[0]
        rows.append(f"| {name} | {nodes[0]} | {nodes[1]} | {times[0]:.3g} | {times[1]:.3g} | {ratio:.3g} |\n")
    return "".join(rows)


def opset_rows(x: np.ndarray[Any, Any]) -> str:
    """Compare opsets of AveragePool."""
    rows = []
    for layer in (pooling.AvgPool2d(3, 2, 1), pooling.AvgPool2d(2), pooling.AvgPool2d(3, 1, 1)):
        for shape in (SHAPE, ("N", "C", 112, 112), ("N", "C", "H", "W")):
            models = [to_onnx(layer, shape, opset=opset) for opset in (13, 19)]
            times = fastest(models, {"input": x})
            sizes = ", ".join(map(str, shape))
            rows.append(f"| `{layer!r}` | ({sizes}) | {times[0]:.3g} | {times[1]:.3g} | {times[1] / times[0]:.3g} |\n")
    return "".join(rows)


def page() -> str:
    """Measure, and return the whole page."""
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    head = HEAD.format(
        version=onnxruntime.__version__, rounds=ROUNDS, shape=SHAPE, machine=f"{platform.system()} {platform.machine()}"
    )
    return f"{head}{exact_rows(x)}{OPSET_HEAD}{opset_rows(x)}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
