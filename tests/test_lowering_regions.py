"""Pooling of regions and its gradients as graphs, against the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pooling
from pooling.layer import Layer
from tests.conftest import Array
from tests.lowered import check, check_gradient, drawn

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from pooling.export import to_onnx, to_onnx_backward  # noqa: E402
from pooling.export.verification import VerificationError, run_model  # noqa: E402

BOXES = np.array(
    [[0, 0, 3, 4], [1.3, 0.4, 4.6, 3.2], [-3, -2, 1.5, 1], [2, 3, 2, 3], [4, 3, 9, 9], [3.5, 2.5, 1, 1], [-1, -1, 0, 0]]
)
"""Whole and broken, beyond the map, of one pixel, turned round, and at a corner."""
MAPS = np.array([0, 1, 1, 0, 0, 1, 0])


def rows(maps: Array, boxes: Array, dtype: str = "float32") -> Array:
    """Write regions as MaxRoIPool takes them."""
    return np.concatenate((maps[:, np.newaxis], boxes), axis=1).astype(dtype)


@pytest.mark.parametrize(("opset", "dtype"), [(16, "float64"), (22, "float64"), (22, "float16")])
def test_regions_of_every_kind(opset: int, dtype: str) -> None:
    layers = [
        (pooling.MaxRoIPool((3, 2), 0.5), (rows(MAPS, BOXES, "float64"),)),
        *[
            (pooling.RoIAlign((3, 2), 0.5, ratio, mode, coordinates), (BOXES, MAPS))
            for ratio, mode, coordinates in (
                (0, "avg", "half_pixel"), (2, "max", "half_pixel"), (0, "max", "output_half_pixel"),
            )
        ],
    ]  # fmt: skip
    for layer, others in layers:
        given = [each.astype(np.float32) if each.dtype != np.int64 and dtype == "float16" else each for each in others]
        check(layer, (2, 2, 5, 6), dtype, opset, *given, exact=layer.operator == "max_roi_pool", names=("N", "C", 5, 6))
        check(layer, (2, 2, 5, 6), dtype, opset, *(each[:0] for each in given))
        check_gradient(layer, (2, 2, 5, 6), dtype, opset, *given)


@pytest.mark.parametrize(
    ("opset", "dtype", "exact", "pools"),
    [
        (13, "float32", False, 1),
        (21, "float32", False, 1),
        (21, "float32", True, 2),
        (21, "float16", False, 1),
        (22, "float32", False, 0),
    ],
)
def test_maxima_are_those_of_the_operator_where_onnxruntime_has_it(
    opset: int, dtype: str, exact: bool, pools: int
) -> None:
    layer = pooling.MaxRoIPool((3, 2))
    names = check(layer, (2, 2, 5, 6), dtype, opset, rows(MAPS, BOXES), exact=exact)
    assert names.count("MaxRoiPool") == pools
    assert ("ReduceMax" in names) == (not pools)


@pytest.mark.parametrize(
    ("opset", "mode", "coordinates", "node"),
    [
        (10, "avg", "output_half_pixel", True),
        (15, "avg", "output_half_pixel", True),
        (16, "avg", "output_half_pixel", True),
        (16, "avg", "half_pixel", True),
        (21, "avg", "half_pixel", True),
        (21, "max", "half_pixel", False),
        (22, "avg", "half_pixel", False),
    ],
)
def test_means_of_samples_are_those_of_the_operator_where_onnxruntime_has_it(
    opset: int, mode: Any, coordinates: Any, node: bool
) -> None:
    layer = pooling.RoIAlign((3, 2), 0.5, 1, mode, coordinates)
    names = check(layer, (2, 2, 5, 6), "float32", opset, BOXES.astype(np.float32), MAPS)
    assert ("RoiAlign" in names) == node


def test_attributes_of_roi_align_are_those_of_the_layer() -> None:
    layer = pooling.RoIAlign((3, 2), 0.5, 4, "avg", "half_pixel")
    model = to_onnx(layer, (2, 2, 5, 6), opset=16, verify=False)
    (words,) = (
        {word.name: onnx.helper.get_attribute_value(word) for word in node.attribute}
        for node in model.graph.node
        if node.op_type == "RoiAlign"
    )
    assert words == {
        "mode": b"avg",
        "output_height": 3,
        "output_width": 2,
        "sampling_ratio": 4,
        "spatial_scale": 0.5,
        "coordinate_transformation_mode": b"half_pixel",
    }
    with pytest.raises(ValueError, match="opset >= 16"):
        to_onnx(layer, (2, 2, 5, 6), opset=15, verify=False)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_types_in_which_samples_are_worked_on(dtype: str, mode: Any) -> None:
    layer, words = pooling.RoIAlign(2, mode=mode), {"dtype": dtype, "opset": 22, "verify": False}
    for backward in (False, True):
        model = (to_onnx_backward if backward else to_onnx)(layer, (2, 2, 5, 6), **words)  # type: ignore[operator]
        held = [value.type.tensor_type.elem_type for value in model.graph.input]
        held += [value.data_type for value in model.graph.initializer]
        held += [word.i for node in model.graph.node for word in node.attribute if word.name == "to"]
        # Means are as wide as coordinates are; the greatest sample, and gradients, twice as wide as the map.
        wide = dtype == "float64" or (dtype == "float32" and (mode == "max" or backward))
        assert (onnx.TensorProto.DOUBLE in held) == wide


BORDERS = [-2.0, -1.25, -1.0, -0.75, -0.5, 0.0, 0.25, 1.0, 2.5, 3.0, 3.75, 4.0, 4.5, 5.0, 5.25, 6.0, 6.25, 7.0]
"""What lies on and beside the border of maps of 5 rows and of 6 columns."""


def along_both_axes(first: Array, last: Array) -> Array:
    """Make boxes that begin and end there, on either axis."""
    rest = (np.zeros_like(first), np.full_like(first, 2))
    return np.concatenate((
        np.stack((first, rest[0], last, rest[1]), axis=1), np.stack((rest[0], first, rest[1], last), axis=1),
    ))  # fmt: skip


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_samples_at_the_borders_of_the_map(mode: Any) -> None:
    at = np.array(BORDERS)
    # Of two bins one has its sample there.
    first = np.where(at < 2, at - 1, at - 3)
    boxes = along_both_axes(first, first + 4)
    maps = np.arange(len(boxes)) % 2
    layer = pooling.RoIAlign(2, 1.0, 1, mode, "output_half_pixel")
    check(layer, (2, 2, 5, 6), "float64", 22, boxes, maps)
    check_gradient(layer, (2, 2, 5, 6), "float64", 22, boxes, maps)


def test_pixels_at_the_borders_of_the_map() -> None:
    first, last = (each.ravel() for each in np.meshgrid(BORDERS, BORDERS))
    meets = (first <= last) & (first < 4.5) & (last > -0.5)
    boxes = along_both_axes(first[meets], last[meets])
    rois = rows(np.arange(len(boxes)) % 2, boxes, "float64")
    check(pooling.MaxRoIPool(2), (2, 2, 5, 6), "float64", 22, rois)
    check_gradient(pooling.MaxRoIPool(2), (2, 2, 5, 6), "float64", 22, rois)


def test_gradients_go_to_the_first_of_equal_pixels_wherever_they_lie() -> None:
    x = np.zeros((3, 1, 9, 8))
    x[2, 0, 8, 6:] = 1
    boxes = np.array([[5.0, 6, 7, 8], [0, 0, 7, 8]])
    maps = np.array([2, 2])
    for layer, others in (
        (pooling.MaxRoIPool(1), (rows(maps, boxes, "float64"),)),
        (pooling.RoIAlign(1, 1.0, 3, "max", "output_half_pixel"), (boxes, maps)),
    ):
        check_gradient(layer, x.shape, "float64", 22, *others, x=x)
        check_gradient(layer, x.shape, "float64", 22, *others, x=np.zeros_like(x))
    # Of more samples in one direction than in the other.
    tall = np.array([[0.0, 0, 3, 7], [1, 1, 4, 8], [2, 0, 4, 7], [2, 1, 5, 8]])
    for seed in range(3):
        x = np.random.default_rng(seed).integers(0, 2, (3, 1, 9, 8)).astype(np.float64)
        layer = pooling.RoIAlign(1, 1.0, 0, "max", "output_half_pixel")
        for boxes in (tall, tall[:, [1, 0, 3, 2]]):
            check_gradient(layer, x.shape, "float64", 22, boxes, np.array([0, 1, 2, 0]), x=x)


@pytest.mark.parametrize("layer", [pooling.MaxRoIPool(2), pooling.RoIAlign(2, 1.0, 1), pooling.RoIAlign(2, mode="max")])
def test_a_map_outside_the_batch_is_refused_by_the_runtime(layer: Layer) -> None:
    x = drawn((80, 1, 2, 2), "float64")
    box, gradient = np.array([[0.0, 0, 1, 1]]), np.ones((1, 1, 2, 2))
    forward = to_onnx(layer, x.shape, dtype="float64", opset=22, verify=False)
    backward = to_onnx_backward(layer, x.shape, dtype="float64", opset=22, verify=False)
    for map in (-1, -80, 80):
        others = [rows(np.array([map]), box, "float64")] if layer.operator == "max_roi_pool" else [box, np.array([map])]
        for model, arrays in ((forward, [x, *others]), (backward, [gradient, x, *others])):
            with pytest.raises(VerificationError, match="out of"):
                run_model(model, arrays)


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
