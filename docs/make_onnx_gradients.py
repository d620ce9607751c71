"""Write docs/onnx-gradients.md from the graphs that the exporter emits: ``python docs/make_onnx_gradients.py``.

A test compares the page with what this module makes, so a graph that changes brings its drawing along.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from make_onnx import SHAPE, Emitted, example

import pooling
from pooling.export import to_onnx_backward
from pooling.layer import Layer
from pooling.operators import OPERATORS

PAGE = Path(__file__).with_name("onnx-gradients.md")
SAMPLES = np.linspace(0, 0.99, 12).reshape(2, 3, 2)
DRAWN_NODES = 60
"""Nodes of the largest graph that a drawing makes clearer."""
EXAMPLES: dict[str, list[Layer]] = {
    "max_pool": [pooling.MaxPool2d(3, 2, 1), pooling.MaxPool2d(2)],
    "min_pool": [pooling.MinPool2d(3, 2, 1)],
    "avg_pool": [pooling.AvgPool2d(2, 2), pooling.AvgPool2d(3, 2, 1)],
    "global_max_pool": [pooling.GlobalMaxPool2d()],
    "global_avg_pool": [pooling.GlobalAvgPool2d()],
    "adaptive_max_pool": [pooling.AdaptiveMaxPool2d((5, 3))],
    "adaptive_avg_pool": [pooling.AdaptiveAvgPool2d((5, 3))],
    "lp_pool": [pooling.LPPool2d(3, 2), pooling.LPPool2d(1, 2), pooling.LPPool2d(float("inf"), 2)],
    "global_lp_pool": [pooling.GlobalLPPool2d(3)],
    "gem_pool": [pooling.GeMPool2d()],
    "blur_pool": [pooling.BlurPool2d()],
    "max_blur_pool": [pooling.MaxBlurPool2d()],
    "max_roi_pool": [pooling.MaxRoIPool(7)],
    "roi_align": [pooling.RoIAlign(7, sampling_ratio=2), pooling.RoIAlign(7, sampling_ratio=2, mode="max")],
    "fractional_max_pool": [pooling.FractionalMaxPool2d(2, output_ratio=0.5)],
    "max_unpool": [pooling.MaxUnpool2d(2)],
}
"""By row of the operator table, layers whose gradients differ as graphs."""

HEAD = f"""\
<!-- Made by docs/make_onnx_gradients.py from the graphs that pooling.export emits. -->

# ONNX graphs of the gradients

`pooling.export.to_onnx_backward(pool, input_shape)` gives the model that maps `grad_output` and `input` to
`grad_input`, as `pool.backward` does. Below is what it emits, by operator and opset, for float32 and an input of shape
`(N, 3, 9, 8)`, drawn if it has at most {DRAWN_NODES} nodes. Every graph is run in onnxruntime and compared with the
layer before it is handed over.

- **Maxima.** The index of each window is found again, as in the graph of the forward pass: the first of equal
  elements and, with `special_values="exact"`, the first NaN. Since opset 16 `ScatterElements` adds the gradients where
  the indices say. Before, each cell gathers from the windows that hold it, by tables that follow from the geometry, and
  keeps the gradients whose index is its own.
- **Means.** The gradients are divided as the means are, and added up over the windows that hold a cell, axis by axis:
  `Gather` and `ReduceSum`, and `Gather` alone where windows do not overlap. `input` gives its shape only.
- **Norms.** With n the norm of a window, a cell gets `sign(x) * (|x| / n)^(p - 1)` of the gradient of every window that
  holds it, in float64, with the greatest magnitude taken out of n so that nothing overflows; 0 where x is 0. The
  generalised mean gives `grad_p` too, the gradient of its exponent, in float64.
- **Blurs** are the same weighted sums the other way round, in float64.
- **Regions** lie where they like: what they give is added by `ScatterElements`, hence from opset 16.
- **Unpooling** gathers gradients where the indices say; an element that another was written over gets none. Since
  opset 18 the graph itself says that the last of equal indices counts; before, it relies on writes in order, as
  onnxruntime has them.
- float16 and bfloat16 are added up in float32 and rounded once; bfloat16 exists since opset 13.
- ONNX leaves open in which order `ScatterElements` adds. onnxruntime adds in order, as the kernels do, so that the
  gradients of maxima in float32 and float64 are equal to the bit; in another order, sums of several gradients may
  differ by their roundings.

What has no graph: integers and bool, which have no gradient; spatial sizes that are names; `Sequential`, whose layers
are exported one by one.

"""


def model(layer: Layer, opset: int | None) -> Emitted:
    """Return the model of a layer's gradient, or the sentence that refuses it."""
    shape: Any = SHAPE
    if layer.operator == "fractional_max_pool":
        shape = (2, *SHAPE[1:])
        layer = type(layer)(**layer.arguments | {"_random_samples": SAMPLES})
    try:
        return to_onnx_backward(layer, shape, dtype=np.float32, opset=opset, verify=False)
    except ValueError as error:
        return str(error)


def page() -> str:
    """Return the whole page."""
    sections = []
    for name in OPERATORS:
        parts = [f"## {name}\n", *(example(layer, model, DRAWN_NODES) for layer in EXAMPLES[name])]
        sections.append("\n".join(parts))
    return HEAD + "\n".join(sections)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
