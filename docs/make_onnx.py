"""Write docs/onnx.md from the graphs that the exporter emits: ``python docs/make_onnx.py``.

A test compares the page with what this module makes, so a graph that changes brings its drawing along.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import pooling
from pooling.export import to_onnx
from pooling.layer import Layer
from pooling.operators import OPERATORS

PAGE = Path(__file__).with_name("onnx.md")
OPSETS = range(7, onnx.defs.onnx_opset_version() + 1)
SHAPE = ("N", 3, 9, 8)
EXAMPLES: dict[str, list[Layer]] = {
    "max_pool": [
        pooling.MaxPool2d(3, 2, 1, ceil_mode=True),
        pooling.MaxPool2d(3, 2, 1, return_indices=True),
        pooling.MaxPool2d(3, dilation=2),
    ],
    "min_pool": [pooling.MinPool2d(3, 2, 1)],
    "avg_pool": [
        pooling.AvgPool2d(3, 2, 1),
        pooling.AvgPool2d(3, 2, 1, ceil_mode=True),
        pooling.AvgPool2d(3, dilation=2),
        pooling.AvgPool2d(3, divisor_override=5),
    ],
    "global_max_pool": [pooling.GlobalMaxPool2d()],
    "global_avg_pool": [pooling.GlobalAvgPool2d()],
    "adaptive_max_pool": [pooling.AdaptiveMaxPool2d((3, 4)), pooling.AdaptiveMaxPool2d(5, return_indices=True)],
    "adaptive_avg_pool": [pooling.AdaptiveAvgPool2d((3, 4)), pooling.AdaptiveAvgPool2d(5)],
    "lp_pool": [pooling.LPPool2d(3, 2), pooling.LPPool2d(float("inf"), 2), pooling.LPPool2d(9.5, 2)],
    "global_lp_pool": [pooling.GlobalLPPool2d(3)],
    "gem_pool": [pooling.GeMPool2d()],
    "blur_pool": [pooling.BlurPool2d()],
    "max_blur_pool": [pooling.MaxBlurPool2d()],
    "max_roi_pool": [pooling.MaxRoIPool(7)],
    "roi_align": [pooling.RoIAlign(7, sampling_ratio=2), pooling.RoIAlign(7, sampling_ratio=2, mode="max")],
    "fractional_max_pool": [pooling.FractionalMaxPool2d(2, output_ratio=0.5)],
    "max_unpool": [pooling.MaxUnpool2d(2)],
}
"""By row of the operator table, layers whose graphs differ."""
FREE_SHAPE = ("N", 3, "H", "W")
FREE_EXAMPLES: list[Layer] = [
    pooling.MaxPool2d(3, 2, 1, ceil_mode=True),
    pooling.MaxPool2d(3, 2, 1, return_indices=True),
    pooling.MaxPool2d(3, 2, "same_upper"),
    pooling.AvgPool2d(3, 2, 1, ceil_mode=True),
    pooling.AvgPool2d(3, 2, "same_upper"),
    pooling.AdaptiveMaxPool2d(1),
    pooling.AdaptiveMaxPool2d(5, return_indices=True),
    pooling.AdaptiveAvgPool2d(1),
    pooling.AdaptiveAvgPool2d(5),
    pooling.LPPool2d(2, 3, ceil_mode=True),
    pooling.BlurPool2d(),
]
"""Layers whose graphs for sizes that are known at run time differ."""

HEAD = """\
<!-- Made by docs/make_onnx.py from the graphs that pooling.export emits. -->

# ONNX graphs of the operators

What `pooling.export.to_onnx` emits, by operator and opset, for float32 and an input of shape `(N, 3, 9, 8)`. Every
graph is run in onnxruntime and compared with the layer before it is handed over.

- By default a graph is the operator itself, one node where ONNX has one, and correct for finite numbers. The result
  for NaN and for windows of -inf is up to the runtime. `special_values="exact"` adds a second pooling, of ranks, so
  that they give the results of the layer in every runtime; [what that costs](export-cost.md).
- The form that is written is correct in every onnxruntime from 1.17 on that reads the opset
  ([how that was measured](deployed-runtimes.md)).
- The default opset is the lowest from 13 on that expresses the layer without workarounds: 13 for most, 16 where
  gradients are scattered and for RoIAlign of half pixels, 18 for unpooling, 19 for dilated means. Older runtimes read
  it, and AveragePool of opset 19 is several times slower in onnxruntime with dynamic channels
  ([measured](export-cost.md)).
- float16, bfloat16 and integers stand between two Casts to a type that holds them exactly, unless runtimes pool them as
  they are; bfloat16 exists since opset 13. int64 and uint64 are reduced as int64; onnxruntime 1.19 has no
  arithmetic of uint64. Means of integers are sums in int64, a division and a rounding.
- Layers of `channels_last` stand between two Transposes.

"""

FREE_HEAD = """\
## Sizes that are known at run time

Spatial sizes may have names, as in `to_onnx(layer, ("N", 3, "H", "W"))`. What follows from a size is then worked out
when the model runs, from `Shape`, and the sizes of results are expressions in those names. Every such model is verified
at the smallest sizes that work, at odd and even ones and at larger ones. openvino agrees with the layers here too.

- `ceil_mode` needs no arithmetic at run time: with `stride - 1` more padding at the end (less, if a window would begin
  behind the input) the floor formula gives what the ceil formula does, for every size.
- `"same_upper"` and `"same_lower"` with a stride become a `Pad` whose pads follow the size; with stride 1 those are
  fixed.
- Windows that no node has are tables of cells that the graph makes: adaptive ones, and those of sums in int64 or
  float64.
- Means of adaptive windows of unknown size are made in float64. Those of whole planes are GlobalAveragePool, in
  float32, which loses accuracy on planes of more than some ten thousand cells; of planes of known size that are so
  large, with `special_values="exact"` of more than 1024 cells, the mean is made in float64.
- A graph cannot refuse an input that is too small for one window. Tables have no windows then, and the result has
  size 0; `MaxPool` and `AveragePool` of onnxruntime raise an error, or return a result of size 0 or of one element.
- Pooling of regions, unpooling and fractional pooling need integers.
"""

RUNTIMES = {
    "int64 and uint64": "its CPU plugin computes them in int32, so whatever needs more bits comes out wrong",
    "int32 and uint32": "maxima go through float64, which it computes in float32, and means through int64: what needs "
    "more than 24 bits comes out wrong",
    "float64": "it computes in float32, and turns an infinity into the largest float32",
    "bfloat16": "its Python package takes no such arrays",
    "RoiAlign with boxes of no extent": "it gives NaN for bins without samples, where the layer and onnxruntime give 0",
}
"""Where openvino does not agree with the layers, and why; everywhere else a test demands that it does."""


Emitted = onnx.ModelProto | str
"""A model, or the sentence that refuses it."""


def model(layer: Layer, opset: int | None, shape: Any = SHAPE) -> Emitted:
    """Return the model of a layer, or the sentence that refuses it."""
    if layer.operator == "fractional_max_pool":
        shape = (2, *shape[1:])
    try:
        return to_onnx(layer, shape, dtype=np.float32, opset=opset, verify=False)
    except ValueError as error:
        return str(error)


def counted(found: Emitted) -> str:
    """Name the operators of a model, with their numbers."""
    if isinstance(found, str):
        return found.partition(" lacks ")[2].replace(", which this pooling needs; use", ": needs")
    numbers = Counter(node.op_type for node in found.graph.node)
    return ", ".join(f"{name} x {number}" if number > 1 else name for name, number in numbers.items())


def rows(layer: Layer, emit: Callable[[Layer, int | None], Emitted] = model) -> Iterator[str]:
    """Make a line for each run of opsets that have the same graph."""
    for said, run in groupby(OPSETS, lambda opset: counted(emit(layer, opset))):
        opsets = list(run)
        first, last = opsets[0], opsets[-1]
        name = f"{first} and newer" if last == OPSETS[-1] else str(first) if first == last else f"{first} to {last}"
        yield f"| {name} | {'-' if ': needs' in said else 'yes'} | {said} |\n"


def free_model(layer: Layer, opset: int | None) -> Emitted:
    """Return the model of a layer for sizes that are known at run time, or the sentence that refuses it."""
    return model(layer, opset, FREE_SHAPE)


def free_section() -> str:
    """Write what there is to say of sizes that are known at run time."""
    parts = [FREE_HEAD]
    for layer in FREE_EXAMPLES:
        found = free_model(layer, None)
        assert not isinstance(found, str)
        shape = ", ".join(
            size.dim_param or str(size.dim_value) for size in found.graph.output[0].type.tensor_type.shape.dim
        )
        table = f"| Opset | Exported | Operators |\n|---|---|---|\n{''.join(rows(layer, free_model))}"
        parts.append(f"`{layer!r}` gives `({shape})`\n\n{table}")
    return "\n".join(parts)


def drawing(found: onnx.GraphProto) -> str:
    """Draw a graph, without its constants."""
    names: dict[str, str] = {}
    lines = []
    for number, value in enumerate(found.input):
        names[value.name] = f"i{number}"
        lines.append(f'    i{number}(["{value.name}"])\n')
    for number, node in enumerate(found.node):
        lines.append(f'    n{number}["{node.op_type}"]\n')
        lines += [f"    {names[name]} --> n{number}\n" for name in node.input if name in names]
        names |= dict.fromkeys(node.output, f"n{number}")
    for number, value in enumerate(found.output):
        lines += [f'    o{number}(["{value.name}"])\n', f"    {names[value.name]} --> o{number}\n"]
    return f"```mermaid\nflowchart LR\n{''.join(lines)}```\n"


def section(name: str) -> str:
    """Write what there is to say of an operator."""
    parts = [f"## {name}\n\n{OPERATORS[name].summary}\n", *(example(layer) for layer in EXAMPLES[name])]
    return "\n".join(parts)


def example(layer: Layer, emit: Callable[[Layer, int | None], Emitted] = model, drawn: float = float("inf")) -> str:
    """Show what is emitted for a layer, in words for every opset; drawn for the default one if it has so few nodes."""
    found = emit(layer, None)
    assert not isinstance(found, str)
    table = f"| Opset | Exported | Operators |\n|---|---|---|\n{''.join(rows(layer, emit))}"
    opset = found.opset_import[0].version
    if len(found.graph.node) > drawn:
        return f"`{layer!r}`\n\n{table}"
    details = (
        f"<details><summary>The graph in opset {opset}, the default</summary>\n\n{drawing(found.graph)}\n</details>\n"
    )
    return f"`{layer!r}`\n\n{table}\n{details}"


def page() -> str:
    """Return the whole page."""
    where = "".join(f"| {what} | {why} |\n" for what, why in RUNTIMES.items())
    runtimes = f"## Where openvino does not agree\n\n| With | because |\n|---|---|\n{where}"
    return f"{HEAD}{''.join(f'{section(name)}{chr(10)}' for name in OPERATORS)}{free_section()}\n{runtimes}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
