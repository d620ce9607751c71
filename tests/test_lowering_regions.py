"""Pooling of regions and its gradients as graphs, against the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pooling
from tests.lowered import check, check_gradient

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


BOXES = np.array(
    [[0, 0, 3, 4], [1.3, 0.4, 4.6, 3.2], [-3, -2, 1.5, 1], [2, 3, 2, 3], [4, 3, 9, 9], [3.5, 2.5, 1, 1], [-1, -1, 0, 0]]
)
"""Whole and broken, beyond the map, of one pixel, turned round, and at a corner."""
MAPS = np.array([0, 1, 1, 0, 0, 1, 0])


@pytest.mark.parametrize("opset", [13, 16, 22])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize(("bins", "scale"), [(2, 1.0), ((3, 1), 0.5)])
def test_maxima_of_regions(bins: Any, scale: float, dtype: str, opset: int) -> None:
    number = np.float64 if dtype == "float64" else np.float32
    rois = np.concatenate((MAPS[:, np.newaxis], BOXES), axis=1).astype(number)
    layer = pooling.MaxRoIPool(bins, scale)
    for exact in (False, True):
        for boxes in (rois, rois[:0]):
            check(layer, (2, 2, 5, 6), dtype, opset, boxes, exact=exact, names=("N", "C", 5, 6))
        if opset >= 16:
            check_gradient(layer, (2, 2, 5, 6), dtype, opset, rois, exact=exact)


@pytest.mark.parametrize("opset", [10, 16, 22])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize(("bins", "scale", "ratio"), [(2, 1.0, 0), ((1, 3), 0.5, 2)])
def test_samples_of_regions(
    bins: Any, scale: float, ratio: int, mode: Any, coordinates: Any, dtype: str, opset: int
) -> None:
    boxes = BOXES.astype(np.float64 if dtype == "float64" else np.float32)
    layer = pooling.RoIAlign(bins, scale, ratio, mode, coordinates)
    if opset == 10 and (coordinates == "half_pixel" or mode == "max"):
        return
    check(layer, (2, 2, 5, 6), dtype, opset, boxes, MAPS, names=("N", "C", 5, 6))
    if opset >= 16:
        check(layer, (2, 2, 5, 6), dtype, opset, boxes[:0], MAPS[:0])
        check_gradient(layer, (2, 2, 5, 6), dtype, opset, boxes, MAPS)
