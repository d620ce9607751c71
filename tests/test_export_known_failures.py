"""Failures that users of other exporters and runtimes have reported, each a test that the models of this package pass.

Every test names the reports, and has the example of one of them with the right answer in numbers. `[runtime]` is where
the model runs: onnxruntime, and openvino too unless its page of exceptions (docs/onnx.md) says why not.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import pooling
from pooling.export import VerificationError, make_portable, to_onnx, to_onnx_backward
from pooling.export.verification import run_model
from pooling.layer import Layer
from pooling.onnx_models.backend import PoolingBackend
from tests.conftest import FLOATS, UNIT, Array, assert_same, dtype_of
from tests.exported import check_model, inferred_shapes, run_in_openvino
from tests.onnx_nodes import model_of

pytest.importorskip("onnxruntime")

runtimes = pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
REPORTED = (10, 11, 12, 18, 19, 20, 22)
"""The opsets that the reports name."""
NAN, INF = math.nan, math.inf


def run(runtime: str, model: onnx.ModelProto, *arrays: Array) -> list[Array]:
    return run_model(model, arrays) if runtime == "onnxruntime" else run_in_openvino(model, arrays)


def exported(layer: Layer, *arrays: Array, **keywords: Any) -> onnx.ModelProto:
    """Export a layer for an input, and let onnx judge the model."""
    words = {"dtype": arrays[0].dtype, "special_values": "exact", **keywords}
    model = to_onnx(layer, arrays[0].shape, **words)
    check_model(model)
    return model


def assert_equal(result: Array, expected: Any, dtype: Any = np.float32) -> None:
    """Equal to the last bit, and of this type."""
    assert_same(result, np.array(expected, dtype_of(dtype)).reshape(result.shape))
    assert result.size == np.size(expected)


def assert_close(result: Array, expected: Any, roundings: int = 4) -> None:
    """Equal but for a few roundings of the type."""
    assert result.size == np.size(expected)
    rtol = roundings * UNIT[result.dtype.name]
    np.testing.assert_allclose(result.astype(np.float64).ravel(), np.ravel(expected), rtol=rtol, atol=0)


def ramp(*shape: int) -> Array:
    """Count the elements of one map from 1."""
    return np.arange(1, math.prod(shape) + 1, dtype=np.float32).reshape(1, 1, *shape)


# --- windows: ceil_mode, padding, divisors ---------------------------------------------------------------------------

LATE = "pytorch#131272 pytorch#113074 onnx#5711 onnxruntime#25848"
FILLED = "webnn#935 onnxruntime#15446 onnxruntime#16350 openvino#22930"
PHANTOM = "pytorch#183528 onnxruntime#16203 onnxruntime#16752 onnxruntime#29629 openvino#20553 onnxscript#754"
DILATED = "onnxruntime#20582 tvm#20404 onnxscript#3037 tensorflow-onnx#1046"
HALF_KERNEL = "pytorch#7541 pytorch#3298 pytorch#44942 pytorch#154395"
ASYMMETRIC = "pytorch#71362 keras#18452 keras#19721 keras#23233 tensorflow#45579"
OVERRIDE = "pytorch#105349 executorch#18616 tt-torch#1247 coremltools#2748"

NUMBERS = np.array([[[2.0903, 4.6493, 1.6320, -3.2051, 4.6975, 4.7296, 3.3653, -1.5815, -2.3832]]], np.float32)
"""The example of onnxruntime#16203."""
SUMS = [5.1665, 17.9589, 5.6226, -0.5994]
"""Of cells 0-3, 0-6, 3-8 and 6-8."""
ROWS = np.arange(12, dtype=np.float32).reshape(1, 1, 6, 2)
"""The example of onnxruntime#24681."""
NORMS = np.sqrt([1, 13, 41, 157, 426, 602, 697, 1626, 1962])
"""Of cell 0, cells 1-2 and 3-4 of each axis of 1 .. 25."""


def case(reports: str, *values: Any, name: str) -> Any:
    return pytest.param(*values, id=f"{name} {reports}")


LAYERS = [
    # The third window would start in the padding behind the map: runtimes drop it, shape inference keeps it.
    case(LATE, pooling.MaxPool2d(3, 3, 1, ceil_mode=True), ramp(5, 5), [[7, 10], [22, 25]], name="late"),
    case(LATE, pooling.AvgPool2d(3, 3, 1, True), ramp(5, 5), [[16 / 9, 39 / 9], [11, 19]], name="late counted"),
    case(LATE, pooling.AvgPool2d(3, 3, 1, True, False), ramp(5, 5), [[4, 6.5], [16.5, 19]], name="late"),
    case(LATE, pooling.LPPool2d(2, 2, 2, ceil_mode=True, padding=1), ramp(5, 5), NORMS.reshape(3, 3), name="late norm"),
    case(FILLED, pooling.MaxPool1d(2, 5, ceil_mode=True), ramp(9), [2, 7], name="gap"),
    case(FILLED, pooling.MaxPool1d(1, 4, ceil_mode=True), ramp(9), [1, 5, 9], name="one cell"),
    case(FILLED, pooling.MaxPool1d(2, 4, ceil_mode=True), ramp(9), [2, 6, 9], name="half a window"),
    case(FILLED, pooling.MaxPool1d(3, 4, [(0, 2)], ceil_mode=True), ramp(6), [3, 6], name="behind the end pad"),
    case(
        FILLED,
        pooling.MaxPool1d(3, 3, 1, dilation=2, ceil_mode=True),
        ramp(8),
        [4, 7, 8],  # taps at -1 1 3, 2 4 6 and 5 7 9, counted from 0
        name="dilated",
    ),
    # Cells that only ceil_mode touches are no elements.
    case(
        PHANTOM,
        pooling.AvgPool2d(3, 2, 1, True),
        ramp(4, 4),
        [[14 / 9, 30 / 9, 2], [57 / 9, 11, 6], [4.5, 7.5, 4]],
        name="counted",
    ),
    case(
        PHANTOM,
        pooling.AvgPool2d(3, 2, 1, True, False),
        ramp(4, 4),
        [[3.5, 5, 6], [9.5, 11, 12], [13.5, 15, 16]],
        name="not counted",
    ),
    case(
        PHANTOM,
        pooling.AvgPool1d(7, 3, 3, True),
        NUMBERS,
        [SUMS[0] / 7, SUMS[1] / 7, SUMS[2] / 7, SUMS[3] / 6],
        name="sevens",
    ),
    case(
        "pytorch#116420 openvino#20553",
        pooling.AvgPool2d(4, 4, 2, True),
        np.ones((1, 1, 9, 9), np.float32),
        [[0.25, 0.5, 0.375], [0.5, 1, 0.75], [0.375, 0.75, 0.5625]],
        name="late ones",
    ),
    case(
        "pytorch#116420 openvino#20553",
        pooling.AvgPool2d(4, 4, 2, True, False),
        np.ones((1, 1, 9, 9), np.float32),
        np.ones((3, 3)),
        name="late ones",
    ),
    case(
        "openvino#33369",
        pooling.AvgPool2d(2, 2, [(0, 1), (0, 1)], True, False),
        np.ones((1, 1, 17, 17), np.float32),
        np.ones((9, 9)),
        name="end pads",
    ),
    case(PHANTOM, pooling.AvgPool1d(3, 2, [(0, 1)], True), ramp(5), [2, 4, 2.5], name="pads 0 1"),
    case(PHANTOM, pooling.AvgPool1d(3, 2, [(1, 0)], True), ramp(5), [1, 3, 4.5], name="pads 1 0"),
    case(PHANTOM, pooling.AvgPool1d(3, 2, [(2, 0)], True), ramp(5), [1 / 3, 2, 4], name="pads 2 0"),
    case(PHANTOM, pooling.AvgPool1d(3, 2, [(0, 2)], True), ramp(5), [2, 4, 5 / 3], name="pads 0 2"),
    case(PHANTOM, pooling.AvgPool1d(3, 3, 1, True, dilation=2), ramp(10), [2, 5, 8, 4.5], name="dilated"),
    case(PHANTOM, pooling.AvgPool1d(3, 3, 1, True, False, dilation=2), ramp(10), [3, 5, 8, 9], name="dilated"),
    # The divisor is a divisor, in every window.
    case(
        OVERRIDE,
        pooling.AvgPool2d(3, 2, divisor_override=2),
        ramp(7, 7),
        [[40.5, 49.5, 58.5], [103.5, 112.5, 121.5], [166.5, 175.5, 184.5]],
        name="divisor",
    ),
    case(
        OVERRIDE,
        pooling.AvgPool2d(3, 2, 1, True, divisor_override=2),
        ramp(4, 4),
        [[7, 15, 6], [28.5, 49.5, 18], [13.5, 22.5, 8]],
        name="divisor at the border",
    ),
    case(
        OVERRIDE,
        pooling.AvgPool2d(3, 2, 1, True, False, divisor_override=-4),
        ramp(4, 4),
        [[-3.5, -7.5, -3], [-14.25, -24.75, -9], [-6.75, -11.25, -4]],
        name="negative divisor",
    ),
    # "same" is sized by the effective kernel, and its odd cell is on the side that it names.
    case(DILATED, pooling.MaxPool1d(3, 1, "same_upper", 2), ramp(8), [3, 4, 5, 6, 7, 8, 7, 8], name="same dilated"),
    case(
        DILATED,
        pooling.AvgPool1d(3, 1, "same_upper", False, False, dilation=2),
        ramp(8),
        [2, 3, 3, 4, 5, 6, 6, 7],
        name="same dilated mean",
    ),
    case(
        DILATED,
        pooling.LPPool1d(1, 3, 1, padding="same_upper", dilation=2),
        ramp(8),
        [4, 6, 9, 12, 15, 18, 12, 14],
        name="same dilated norm",
    ),
    case("onnx#4958", pooling.MaxPool1d(3, 2, "same_lower"), ramp(6), [2, 4, 6], name="same lower"),
    case("onnx#4958", pooling.MaxPool1d(3, 2, "same_upper"), ramp(6), [3, 5, 6], name="same upper"),
    case(ASYMMETRIC, pooling.AvgPool1d(3, 2, "same_upper"), ramp(6), [2, 4, 11 / 3], name="same upper counted"),
    case(ASYMMETRIC, pooling.AvgPool1d(3, 2, "same_upper", False, False), ramp(6), [2, 4, 5.5], name="same upper"),
    case(ASYMMETRIC, pooling.AvgPool1d(3, 2, [(1, 0)]), ramp(6), [1, 3, 5], name="pads 1 0 counted"),
    case(ASYMMETRIC, pooling.AvgPool1d(3, 2, [(1, 0)], False, False), ramp(6), [1.5, 3, 5], name="pads 1 0"),
    case(
        "onnxruntime#24681",
        pooling.AvgPool2d((5, 1), 1, "same_lower"),
        ROWS,
        [[1.2, 1.8], [2.4, 3.2], [4, 5], [6, 7], [5.6, 6.4], [4.8, 5.4]],
        name="same lower counted",
    ),
    # Padding of more than half the undilated kernel, and of more than all of it.
    case(HALF_KERNEL, pooling.MaxPool1d(3, 1, 2, 2), ramp(8), [3, 4, 5, 6, 7, 8, 7, 8], name="1d"),
    case(
        HALF_KERNEL,
        pooling.MaxPool2d((1, 3), 1, (0, 2), (1, 2)),
        ramp(1, 8),
        [[3, 4, 5, 6, 7, 8, 7, 8]],
        name="2d",
    ),
    case(
        HALF_KERNEL,
        pooling.MaxPool3d((1, 1, 3), 1, (0, 0, 2), (1, 1, 2)),
        ramp(1, 1, 8),
        [[[3, 4, 5, 6, 7, 8, 7, 8]]],
        name="3d",
    ),
    case(
        f"onnxruntime#801 {HALF_KERNEL}",
        pooling.AvgPool1d(2, 1, 2, dilation=3),
        ramp(5),
        [1, 1.5, 2.5, 3.5, 1.5, 2],  # taps at -2 1, -1 2, 0 3, 1 4, 2 5 and 3 6, counted from 0
        name="pads of a whole kernel",
    ),
    # Without any element: onnxruntime gives 0 and -3.4e38, openvino NaN and -3.4e38.
    case("no element", pooling.MaxPool1d(2, 1, 1, 5), ramp(4), [-INF], name="maximum"),
    case("no element", pooling.AvgPool1d(2, 1, 1, False, False, dilation=5), ramp(4), [NAN], name="mean"),
    case("no element", pooling.AvgPool1d(2, 1, 1, dilation=5), ramp(4), [0], name="mean that counts padding"),
]


@runtimes
@pytest.mark.parametrize("opset", REPORTED)
@pytest.mark.parametrize(("layer", "x", "expected"), LAYERS)
def test_windows(layer: Layer, x: Array, expected: Any, opset: int, runtime: str) -> None:
    model = exported(layer, x, opset=opset)
    shape = (1, 1, *np.shape(expected))
    assert inferred_shapes(model) == [shape]
    (result,) = run(runtime, model, x)
    assert result.shape == shape
    (assert_equal if layer.operator == "max_pool" else assert_close)(result, expected)


def classifier(pool: onnx.ModelProto) -> onnx.ModelProto:
    """Put what adds up the four results of a pooling, twice, behind its model."""
    model = onnx.ModelProto()
    model.CopyFrom(pool)
    model.graph.node.append(helper.make_node("Flatten", [pool.graph.output[0].name], ["flat"]))
    model.graph.node.append(helper.make_node("MatMul", ["flat", "weight"], ["y"]))
    model.graph.initializer.append(numpy_helper.from_array(np.ones((4, 2), np.float32), "weight"))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 2]))
    return model


@runtimes
@pytest.mark.parametrize("opset", [18, 20, 21, 22])
@pytest.mark.parametrize(("family", "expected"), [("MaxPool", 64), ("AvgPool", 325 / 9)])
def test_a_classifier_behind_ceil_mode_loads(family: str, expected: float, opset: int, runtime: str) -> None:
    """pytorch#131272, webnn#935: torch's loads nowhere as static shape, and in openvino not with opset 22 either."""
    x = ramp(5, 5)
    pool = exported(getattr(pooling, f"{family}2d")(3, 3, 1, ceil_mode=True), x, opset=opset)
    model = classifier(pool)
    onnx.checker.check_model(model, full_check=True)
    assert_close(run(runtime, model, x)[0], [expected, expected])


@runtimes
@pytest.mark.parametrize("opset", [18, 21, 22])
@pytest.mark.parametrize("family", ["MaxPool", "AvgPool"])
def test_the_shape_that_a_graph_reads_is_the_shape_that_it_has(family: str, opset: int, runtime: str) -> None:
    """onnx#5711, onnx#5741: onnxruntime returns 2 x 2 windows and lets Shape say 3 x 3."""
    x = ramp(5, 5)
    for model in (
        exported(getattr(pooling, f"{family}2d")(3, 3, 1, ceil_mode=True), x, opset=opset),
        repaired(node({"MaxPool": "MaxPool", "AvgPool": "AveragePool"}[family], **FIVE), x, opset=opset),
    ):
        pooled = model.graph.output[0].name
        model.graph.node.append(helper.make_node("Shape", [pooled], ["shape"]))
        model.graph.output.append(helper.make_tensor_value_info("shape", onnx.TensorProto.INT64, [4]))
        result, shape = run(runtime, model, x)
        assert result.shape == (1, 1, 2, 2)
        assert shape.tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize("kind", [pooling.MaxPool1d, pooling.AvgPool1d])
@pytest.mark.parametrize(("size", "kernel", "stride"), [(1, 3, 2), (2, 5, 2), (1, 3, 5)])
def test_a_kernel_that_finds_no_place_is_refused(kind: Any, size: int, kernel: int, stride: int) -> None:
    """onnxruntime#25234: onnxruntime returns one element for a window that is not there."""
    with pytest.raises(ValueError, match=rf"kernel_size={kernel} finds no window on axis L.* works is {kernel}"):
        to_onnx(kind(kernel, stride), (1, 1, size))


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 5, "dilation": 2**62},
        {"kernel_size": 2**32 - 10, "stride": 1},
        {"kernel_size": 2**32 + 2, "stride": 1},
        {"kernel_size": 3, "dilation": 2**31 - 1},
    ],
    ids=str,
)
def test_windows_that_overflow_are_refused(arguments: dict[str, Any]) -> None:
    """pytorch#142454, pytorch#136719, pytorch#73190: torch dies of the first, and finds windows for the others."""
    with pytest.raises(ValueError, match=r"kernel_size|dilation"):
        to_onnx(pooling.MaxPool1d(**arguments), (1, 1, 4))


@runtimes
@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (pooling.MaxPool1d(2, 2**62, ceil_mode=True), [2]),
        (pooling.AvgPool1d(2, 2**62, ceil_mode=True), [1.5]),
        (pooling.LPPool1d(1, 2, 2**62, ceil_mode=True), [3]),
        (pooling.MaxPool1d(1, 1, dilation=2**62), [1, 2, 3, 4]),
        (pooling.AvgPool1d(1, 3, dilation=2**62), [1, 4]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("opset", [12, 22])
def test_huge_strides_and_dilations_that_move_nothing(
    layer: Layer, expected: list[float], opset: int, runtime: str
) -> None:
    """pytorch#136719, and openvino: it keeps 32 bits of a stride, and dies of a division by 0."""
    x = ramp(4)
    for special_values in ("finite", "exact"):
        assert_equal(run(runtime, exported(layer, x, opset=opset, special_values=special_values), x)[0], expected)


@runtimes
@pytest.mark.parametrize("layer", [pooling.MaxPool2d(2), pooling.AvgPool2d(2), pooling.LPPool2d(2, 2)], ids=repr)
def test_an_empty_batch(layer: Layer, runtime: str) -> None:
    """pytorch#94696: openvino compiles no pooling of an empty batch."""
    model = to_onnx(layer, ("N", 3, 4, 4))
    assert run(runtime, model, np.empty((0, 3, 4, 4), np.float32))[0].shape == (0, 3, 2, 2)


# --- nodes in the wild: repaired, and in the backend -----------------------------------------------------------------


def node(operator: str, outputs: int = 1, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, ["x0"], ["y0", "y1"][:outputs], "pool", **attributes)


def repaired(made: onnx.NodeProto, x: Array, opset: int) -> onnx.ModelProto:
    """Repair a model of one node, leaving nothing to the runtime."""
    found = make_portable(model_of(made, opset, [x]))
    assert found.skipped == ()
    assert found.verified
    check_model_of_others(found.model)
    return found.model


def check_model_of_others(model: onnx.ModelProto) -> None:
    for each in model.graph.node:
        assert {attribute.name for attribute in each.attribute}.isdisjoint({"ceil_mode", "auto_pad", "storage_order"})
    onnx.checker.check_model(model, full_check=True)


FIVE: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1}
FOUR: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}
SAME: dict[str, Any] = {"kernel_shape": [3], "dilations": [2], "auto_pad": "SAME_UPPER"}
NODES = [
    case(LATE, node("MaxPool", **FIVE), ramp(5, 5), [[7, 10], [22, 25]], 10, 22, name="late"),
    case(LATE, node("AveragePool", **FIVE), ramp(5, 5), [[4, 6.5], [16.5, 19]], 10, 22, name="late"),
    case(
        LATE,
        node("LpPool", kernel_shape=[2, 2], strides=[2, 2], pads=[1] * 4, ceil_mode=1),
        ramp(5, 5),
        NORMS.reshape(3, 3),
        18,
        22,
        name="late norm",
    ),
    case(FILLED, node("MaxPool", kernel_shape=[2], strides=[5], ceil_mode=1), ramp(9), [2, 7], 10, 22, name="gap"),
    case(
        FILLED,
        node("MaxPool", kernel_shape=[3], strides=[4], pads=[0, 2], ceil_mode=1),
        ramp(6),
        [3, 6],
        10,
        22,
        name="behind the end pad",
    ),
    case(
        PHANTOM,
        node("AveragePool", count_include_pad=1, **FOUR),
        ramp(4, 4),
        [[14 / 9, 30 / 9, 2], [57 / 9, 11, 6], [4.5, 7.5, 4]],
        10,
        10,
        name="counted",
    ),
    case(
        PHANTOM,
        node("AveragePool", kernel_shape=[7], strides=[3], pads=[3, 3], ceil_mode=1, count_include_pad=1),
        NUMBERS,
        [SUMS[0] / 7, SUMS[1] / 7, SUMS[2] / 7, SUMS[3] / 6],
        10,
        10,
        name="sevens",
    ),
    case(
        PHANTOM,
        node("AveragePool", kernel_shape=[3], strides=[2], pads=[0, 1], ceil_mode=1, count_include_pad=1),
        ramp(5),
        [2, 4, 2.5],
        10,
        10,
        name="pads 0 1",
    ),
    case(
        f"{PHANTOM} onnx#8174",
        node(
            "AveragePool",
            kernel_shape=[3],
            strides=[3],
            pads=[1, 1],
            dilations=[2],
            ceil_mode=1,
            count_include_pad=1,
        ),
        ramp(10),
        [2, 5, 8, 4.5],
        19,
        19,
        name="dilated",
    ),
    case(DILATED, node("MaxPool", **SAME), ramp(8), [3, 4, 5, 6, 7, 8, 7, 8], 10, 10, name="same dilated"),
    case(DILATED, node("AveragePool", **SAME), ramp(8), [2, 3, 3, 4, 5, 6, 6, 7], 19, 19, name="same dilated mean"),
    case(
        DILATED,
        node("LpPool", p=1, **SAME),
        ramp(8),
        [4, 6, 9, 12, 15, 18, 12, 14],
        18,
        18,
        name="same dilated norm",
    ),
    case(
        "onnx#4958",
        node("MaxPool", kernel_shape=[3], strides=[2], auto_pad="SAME_LOWER"),
        ramp(6),
        [2, 4, 6],
        10,
        10,
        name="same lower",
    ),
    case(
        "onnxruntime#10083",
        node("MaxPool", kernel_shape=[3], strides=[2], auto_pad="VALID", ceil_mode=1),
        ramp(6),
        [3, 5, 6],
        10,
        10,
        name="valid with ceil_mode",
    ),
    case(
        "onnxruntime#24681",
        node("AveragePool", kernel_shape=[5, 1], auto_pad="SAME_LOWER", count_include_pad=1),
        ROWS,
        [[1.2, 1.8], [2.4, 3.2], [4, 5], [6, 7], [5.6, 6.4], [4.8, 5.4]],
        10,
        10,
        name="same lower counted",
    ),
    case(
        "onnxruntime#801",
        node("AveragePool", kernel_shape=[2], strides=[2], pads=[2, 3], count_include_pad=1),
        ramp(5),
        [0, 1.5, 3.5, 2.5, 0],
        10,
        math.inf,  # the backend refuses such pads
        name="pads of a whole kernel",
    ),
]
"""A node, what it pools and gives, the opset that has it first, and the first whose text says so."""


def in_opsets(*, of_text: bool) -> pytest.MarkDecorator:
    """Parametrize with the nodes in all reported opsets that have them, or whose text says what they give."""
    rows = [
        pytest.param(made, x, expected, opset, id=f"{opset} {each.id}")
        for each in NODES
        for made, x, expected, since, text in [each.values]
        for opset in REPORTED
        if opset >= (text if of_text else since)
    ]
    return pytest.mark.parametrize(("made", "x", "expected", "opset"), rows)


@runtimes
@in_opsets(of_text=False)
def test_nodes_after_the_repair(made: onnx.NodeProto, x: Array, expected: Any, opset: int, runtime: str) -> None:
    (result,) = run(runtime, repaired(made, x, opset), x)
    assert result.shape == (1, 1, *np.shape(expected))
    (assert_equal if made.op_type == "MaxPool" else assert_close)(result, expected)


@in_opsets(of_text=True)
def test_nodes_in_the_backend(made: onnx.NodeProto, x: Array, expected: Any, opset: int) -> None:
    (result,) = PoolingBackend.run_node(made, [x], opset_version=opset)
    assert result.shape == (1, 1, *np.shape(expected))
    (assert_equal if made.op_type == "MaxPool" else assert_close)(result, expected)


def test_pads_of_a_whole_kernel_in_the_backend() -> None:
    """onnxruntime#801: the text has any pads; the backend refuses in words what onnxruntime fails to load."""
    made = node("AveragePool", kernel_shape=[2], strides=[2], pads=[2, 3], count_include_pad=1)
    with pytest.raises(ValueError, match=r"smaller than the effective kernel size 2 on axis L; use padding <= 1"):
        PoolingBackend.run_node(made, [ramp(5)], opset_version=22)


@runtimes
@pytest.mark.parametrize("opset", [10, 12, 22])
def test_a_classifier_of_any_batch_and_named_sizes_after_the_repair(opset: int, runtime: str) -> None:
    """pytorch#131272, openvino#22930: with dynamic axes openvino computes with -3.4e38."""
    x = np.concatenate((ramp(5, 5), ramp(5, 5) - 1))
    model = classifier(model_of(node("MaxPool", **FIVE), opset, [x]))
    for value, names in ((model.graph.input[0], ["n", None, "h", "w"]), (model.graph.output[0], ["n", None])):
        for size, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
            if name:
                size.dim_param = name
    found = make_portable(model, input_shapes={"x0": (None, 1, 5, 5)})
    assert found.skipped == ()
    assert_equal(run(runtime, found.model, x)[0], [[64, 64], [60, 60]])


# --- what these versions make of the originals -----------------------------------------------------------------------

LOWEST = float(np.finfo(np.float32).min)


@pytest.mark.parametrize(
    ("runtime", "version", "made", "x", "opset", "wrong"),
    [
        case(LATE, "openvino", "2026.4.1", node("MaxPool", **FIVE), ramp(5, 5), 22,
             [[7, 10, LOWEST], [22, 25, LOWEST], [LOWEST] * 3], name="late"),
        case(FILLED, "openvino", "2026.4.1", node("MaxPool", kernel_shape=[2], strides=[5], ceil_mode=1), ramp(9), 22,
             [2, 7, LOWEST], name="gap"),
        case(PHANTOM, "openvino", "2026.4.1", node("AveragePool", count_include_pad=1, **FOUR), ramp(4, 4), 11,
             [[14 / 9, 30 / 9, 12 / 9], [57 / 9, 11, 4], [3, 5, 16 / 9]], name="counted"),
        case(DILATED, "onnxruntime", "1.32.0", node("MaxPool", **SAME), ramp(8), 12, [4, 5, 6, 7, 8, 7],
             name="same dilated"),
        case("onnxruntime#25234", "onnxruntime", "1.32.0", node("MaxPool", kernel_shape=[3], strides=[5]), ramp(1), 22,
             [1], name="no window"),
    ],
)  # fmt: skip
def test_the_original_errs(runtime: str, version: str, made: onnx.NodeProto, x: Array, opset: int, wrong: Any) -> None:
    """Whoever deletes a work-around can see here whether it is still needed; other versions may do as they like."""
    if not (pytest.importorskip(runtime).__version__ + "-").startswith((f"{version}-", f"{version}.")):
        pytest.skip(f"recorded with {runtime} {version}")
    (result,) = run(runtime, model_of(made, opset, [x]), x)
    assert result.shape == (1, 1, *np.shape(wrong))
    assert_close(result, wrong)


# --- NaN and -inf ----------------------------------------------------------------------------------------------------


@runtimes
@pytest.mark.parametrize("opset", [11, 22])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("place", range(4))
def test_nan_at_every_place(place: int, dtype: str, opset: int, runtime: str) -> None:
    """openvino#35935, pytorch#7645, tensorflow#125965, tensorflow#2501, onnxruntime#10514.

    What becomes of NaN depends on its place, the type and the number of outputs.
    """
    x = np.array([1, 2, 3, 4], dtype).reshape(1, 1, 2, 2)
    x.flat[place] = NAN
    for layer in (pooling.MaxPool2d(2), pooling.GlobalMaxPool2d(), pooling.AdaptiveMaxPool2d(1)):
        assert_equal(run(runtime, exported(layer, x, opset=opset), x)[0], [NAN], dtype)
    value, index = run(runtime, exported(pooling.MaxPool2d(2, return_indices=True), x, opset=opset), x)
    assert_equal(value, [NAN], dtype)
    assert_equal(index, [place], np.int64)
    ignoring = exported(pooling.MaxPool2d(2, nan="ignore", return_indices=True), x, opset=opset)
    value, index = run(runtime, ignoring, x)
    assert_equal(value, [3 if place == 3 else 4], dtype)
    assert_equal(index, [2 if place == 3 else 3], np.int64)


@runtimes
@pytest.mark.parametrize("indices", [False, True])
@pytest.mark.parametrize("place", range(4))
def test_one_nan_in_each_of_1024_windows(place: int, indices: bool, runtime: str) -> None:
    """openvino#35935: onnxruntime propagates 0, 0, 0 or 1024 of them, openvino none."""
    x = np.random.default_rng(0).standard_normal((1, 16, 16, 16)).astype(np.float32)
    x[:, :, place // 2 :: 2, place % 2 :: 2] = NAN
    assert np.isnan(run(runtime, exported(pooling.MaxPool2d(2, return_indices=indices), x), x)[0]).sum() == 1024


@runtimes
@pytest.mark.parametrize(
    ("layer", "x", "expected", "index"),
    [
        (pooling.MaxPool1d(2, return_indices=True), [[[NAN, 1, 1, NAN, NAN, NAN]]], [NAN] * 3, [0, 3, 4]),
        (pooling.MaxPool2d(3, return_indices=True), [[[[1, 2, 3], [4, NAN, 6], [7, 8, 9]]]], [NAN], [4]),
        (pooling.MaxPool2d(3, return_indices=True), [[[[NAN] * 3] * 3]], [NAN], [0]),
        (pooling.MaxPool1d(2, nan="ignore"), [[[NAN, 1, 1, NAN, NAN, NAN]]], [1, 1, NAN], None),
        (pooling.GlobalMaxPool1d(nan="ignore"), [[[NAN, NAN, NAN]]], [NAN], None),
        (pooling.MaxPool2d(2, return_indices=True), [[[[-INF, -INF], [-INF, -INF]]]], [-INF], [0]),
        (pooling.MaxPool2d(2, 2, 1, return_indices=True), [[[[-INF, -INF], [-INF, -INF]]]], [-INF] * 4, [0, 1, 2, 3]),
        (pooling.MaxPool1d(3, 1, 1), [[[-INF, -INF, -INF, 0]]], [-INF, -INF, 0, 0], None),
        (pooling.GlobalMaxPool2d(), [[[[-INF, -INF], [-INF, -INF]]]], [-INF], None),
        (pooling.AvgPool1d(2), [[[NAN, 1, INF, -INF, INF, 1]]], [NAN, NAN, INF], None),
    ],
    ids=lambda value: repr(value) if isinstance(value, Layer) else None,
)
@pytest.mark.parametrize("opset", [11, 18, 22])
def test_what_is_no_number(
    layer: Layer, x: Any, expected: Any, index: list[int] | None, opset: int, runtime: str
) -> None:
    """openvino#35935, pytorch#40131, pytorch#1465: runtimes give 1, NaN or -3.4e38."""
    x = np.array(x, np.float32)
    results = run(runtime, exported(layer, x, opset=opset), x)
    assert_equal(results[0], expected)
    if index is not None:
        assert_equal(results[1], index, np.int64)


# --- adaptive pooling ------------------------------------------------------------------------------------------------

TWELVE = np.arange(144, dtype=np.float32).reshape(1, 1, 12, 12)
FIRST = np.array([0, 1, 3, 5, 6, 8, 10])
"""First cells of 7 windows of 12: floor(12 o / 7)."""
LAST = np.array([1, 3, 5, 6, 8, 10, 11])
"""Last cells: ceil(12 (o + 1) / 7) - 1."""
MIDDLE = np.array([0.5, 2, 4, 5.5, 7, 9, 10.5])


@runtimes
@pytest.mark.parametrize("opset", [11, 18, 22])
def test_adaptive_sizes_that_are_no_factors(opset: int, runtime: str) -> None:
    """pytorch#42653, pytorch#64806, pytorch#74034, onnx#2957, onnx#4229: no exporter takes 12 to 7."""
    means = run(runtime, exported(pooling.AdaptiveAvgPool2d(7), TWELVE, opset=opset), TWELVE)[0]
    assert_close(means, np.add.outer(12 * MIDDLE, MIDDLE))
    last, first = np.add.outer(12 * LAST, LAST), np.add.outer(12 * FIRST, FIRST)
    model = exported(pooling.AdaptiveMaxPool2d(7, return_indices=True), TWELVE, opset=opset)
    for x, cells in ((TWELVE, last), (-TWELVE, first)):
        value, index = run(runtime, model, x)
        assert_equal(index, cells, np.int64)
        assert_equal(value, x.ravel()[cells])


@runtimes
@pytest.mark.parametrize("opset", [11, 18, 22])
@pytest.mark.parametrize(
    ("size", "windows", "means", "maxima"),
    [
        (10, 3, [1.5, 4.5, 7.5], [3, 6, 9]),  # cells 0-3, 3-6 and 6-9
        (4, 6, [0, 0.5, 1, 2, 2.5, 3], [0, 1, 1, 2, 3, 3]),
        (12, 4, [1, 4, 7, 10], [2, 5, 8, 11]),
    ],
)
def test_adaptive_sizes_of_one_axis(size: int, windows: int, means: Any, maxima: Any, opset: int, runtime: str) -> None:
    """pytorch#75383, pytorch#61172, onnxruntime#760, pytorch#109370: more windows than cells too."""
    x = np.arange(size, dtype=np.float32).reshape(1, 1, -1)
    assert_close(run(runtime, exported(pooling.AdaptiveAvgPool1d(windows), x, opset=opset), x)[0], means)
    model = exported(pooling.AdaptiveMaxPool1d(windows, return_indices=True), x, opset=opset)
    for result, dtype in zip(run(runtime, model, x), (np.float32, np.int64), strict=True):
        assert_equal(result, maxima, dtype)


# --- unpooling, fractional pooling, indices --------------------------------------------------------------------------

MAPS = np.arange(1, 65, dtype=np.float32).reshape(2, 2, 4, 4)
CELLS = np.array([[5, 7], [13, 15]])
"""The last of each 2 x 2 cells of a 4 x 4 plane."""
PLANES = np.arange(4).reshape(2, 2, 1, 1)
CONVENTIONS = {
    "torch": CELLS + 0 * PLANES,
    "onnx": CELLS + 16 * PLANES,
    "onnx_column_major": np.array([[5, 13], [7, 15]]) + 16 * PLANES,
    "tensorflow": 2 * CELLS + np.array([0, 1]).reshape(1, 2, 1, 1) + 0 * PLANES,
}
"""What each convention calls them in every plane of MAPS; tensorflow counts in one image, channels last."""


@runtimes
@pytest.mark.parametrize("opset", [11, 18, 22])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_indices_and_back(convention: str, opset: int, runtime: str) -> None:
    """pytorch#16455, pytorch#43367, onnx#2398, onnx#3356, tensorflow-onnx#1449: four planes land in the first one."""
    layer = pooling.MaxPool2d(2, return_indices=True)
    value, index = run(runtime, exported(layer, MAPS, indices=convention, opset=opset), MAPS)
    assert_equal(index, CONVENTIONS[convention], np.int64)
    model = exported(pooling.MaxUnpool2d(2), value, indices=convention, opset=opset)
    (back,) = run(runtime, model, value, index)
    assert back.shape == MAPS.shape
    assert (back != 0).sum((2, 3)).tolist() == [[4, 4], [4, 4]]
    assert back.sum() == 560
    assert_same(back.reshape(2, 2, 16)[:, :, CELLS.ravel()], value.reshape(2, 2, 4))


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("onnx", "torch"),
        ("tensorflow", "torch"),
        pytest.param(
            "torch", "onnx", marks=pytest.mark.xfail(strict=True, reason="which plane an index names is not looked at")
        ),
    ],
)
def test_indices_of_another_convention_are_refused(given: str, taken: str) -> None:
    """pytorch#16455: torch's in onnxruntime's MaxUnpool give a sum of 236 for 560, and no error."""
    value = np.ones((2, 2, 2, 2), np.float32)
    model = to_onnx(pooling.MaxUnpool2d(2), value.shape, indices=taken)
    with pytest.raises(VerificationError, match="out of"):
        run_model(model, [value, CONVENTIONS[given]])


def test_torch_indices_never_land_in_the_plane_of_another() -> None:
    """pytorch#16455: taken for those of ONNX, they would all be in the first of four planes."""
    value = np.ones((2, 2, 2, 2), np.float32)
    (back,) = run_model(to_onnx(pooling.MaxUnpool2d(2), value.shape, indices="onnx"), [value, CONVENTIONS["torch"]])
    assert (back != 0).sum((2, 3)).tolist() == [[4, 4], [4, 4]]


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_index_of_no_element_is_refused(convention: str, opset: int) -> None:
    """pytorch#194803: -1 is no cell, and not the last one either."""
    value, index = np.ones((1, 2, 2), np.float32), np.array([[[0, 2], [-1, 2]]])
    with pytest.raises(VerificationError, match="out of"):
        run_model(to_onnx(pooling.MaxUnpool1d(2), value.shape, indices=convention, opset=opset), [value, index])
    backward = to_onnx_backward(pooling.MaxUnpool1d(2), value.shape, indices=convention, opset=opset)
    with pytest.raises(VerificationError, match="out of"):
        run_model(backward, [np.ones((1, 2, 4), np.float32), value, index])


def test_an_index_that_32_bits_do_not_hold_is_refused() -> None:
    """pytorch#197409: 2**32 + 3 is not 3."""
    value, index = np.ones((1, 1, 2), np.float32), np.array([[[0, 2**32 + 3]]])
    with pytest.raises(VerificationError, match="out of"):
        run_model(to_onnx(pooling.MaxUnpool1d(2), value.shape), [value, index])


@runtimes
@pytest.mark.parametrize("opset", [11, 18, 22])
def test_unpooling_to_a_larger_size(opset: int, runtime: str) -> None:
    """onnx#2398, pytorch#85388: indices count in the 5 x 5 input, onnx.reference fails."""
    value = np.array([[[[6, 8], [16, 18]]]], np.float32)
    model = exported(pooling.MaxUnpool2d(2), value, output_size=(5, 5), opset=opset)
    (back,) = run(runtime, model, value, value.astype(np.int64))
    rows = [[0] * 5, [0, 6, 0, 8, 0], [0] * 5, [0, 16, 0, 18, 0], [0] * 5]
    assert back.shape == (1, 1, 5, 5)
    assert_equal(back, rows)


@runtimes
def test_of_what_is_written_twice_the_last_stays(runtime: str) -> None:
    """In torch both get a gradient, though only one was kept."""
    value, index = np.array([[[4, 5]]], np.float32), np.array([[[1, 1]]])
    layer = pooling.MaxUnpool1d(3, 1)
    assert_equal(run(runtime, exported(layer, value), value, index)[0], [0, 5, 0, 0])
    model = to_onnx_backward(layer, value.shape)
    assert_equal(run(runtime, model, np.ones((1, 1, 4), np.float32), value, index)[0], [0, 1])


@runtimes
@pytest.mark.parametrize("opset", [11, 18, 22])
def test_fractional_windows(opset: int, runtime: str) -> None:
    """pytorch#43367: torch has no export. Of 9 cells, windows begin at floor((o + s) 7 / 3) - floor(s 7 / 3)."""
    x = np.arange(81, dtype=np.float32).reshape(1, 1, 9, 9)
    # The first sample is that of axis W: windows begin at 0 3 5 7, and with sample 0 at 0 2 4 7.
    layer = pooling.FractionalMaxPool2d(2, 4, return_indices=True, _random_samples=np.array([[[0.3, 0.0]]], np.float64))
    cells = np.add.outer([9, 27, 45, 72], [1, 4, 6, 8])
    value, index = run(runtime, exported(layer, x, opset=opset), x)
    assert_equal(value, cells)
    assert_equal(index, cells, np.int64)


@runtimes
def test_column_major_indices(runtime: str) -> None:
    """storage_order=1: openvino answers 0 3 1 4 2 5, onnx.reference 0 1 2 3 4 5."""
    x = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
    expected = [0, 2, 4, 1, 3, 5]
    layer = pooling.MaxPool2d(1, return_indices=True)
    assert_equal(run(runtime, exported(layer, x, indices="onnx_column_major"), x)[1], expected, np.int64)
    for opset in (10, 12, 22):
        made = node("MaxPool", 2, kernel_shape=[1, 1], storage_order=1)
        assert_equal(PoolingBackend.run_node(made, [x], opset_version=opset)[1], expected, np.int64)
        assert_equal(run(runtime, repaired(made, x, opset), x)[1], expected, np.int64)


@runtimes
@pytest.mark.parametrize("opset", [8, 12, 22])
def test_the_index_of_a_single_window_lies_in_the_tensor(opset: int, runtime: str) -> None:
    """onnx#4958: onnx.reference names element 24 of 9."""
    x, made = ramp(3, 3), node("MaxPool", 2, kernel_shape=[3, 3])
    assert_equal(PoolingBackend.run_node(made, [x], opset_version=opset)[1], [8], np.int64)
    if opset >= 10:
        model = exported(pooling.MaxPool2d(3, return_indices=True), x, opset=opset)
        assert_equal(run(runtime, model, x)[1], [8], np.int64)


@runtimes
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_global_pooling_of_every_rank(dimensions: int, runtime: str) -> None:
    """onnx#572: onnx.reference gives shape (2, 1) for (2, 3, 4), and has no GlobalLpPool."""
    x = np.arange(1, 1 + 6 * 4**dimensions, dtype=np.float32).reshape(2, 3, *[4] * dimensions)
    cells = 4**dimensions
    maxima = np.arange(1, 7) * cells
    for kind, operator, expected in (
        ("GlobalMaxPool", "GlobalMaxPool", maxima),
        ("GlobalAvgPool", "GlobalAveragePool", maxima - (cells - 1) / 2),
        ("GlobalLPPool", "GlobalLpPool", [math.sqrt(sum(n * n for n in range(m - cells + 1, m + 1))) for m in maxima]),
    ):
        layer = getattr(pooling, f"{kind}{dimensions}d")(*[2][: kind == "GlobalLPPool"])
        made = helper.make_node(operator, ["x0"], ["y0"])
        for result in (
            run(runtime, exported(layer, x), x)[0],
            run(runtime, repaired(made, x, 18), x)[0],
            PoolingBackend.run_node(made, [x], opset_version=18)[0],
        ):
            assert result.shape == (2, 3, *[1] * dimensions)
            assert_close(result, expected)


# --- types -----------------------------------------------------------------------------------------------------------


@runtimes
@pytest.mark.parametrize("opset", [13, 18, 22])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (pooling.MaxPool2d(2), [4, 4]),
        (pooling.AvgPool2d(2), [2.5, -1]),
        (pooling.LPPool2d(1, 2), [10, 12]),
        (pooling.GlobalMaxPool2d(), [4, 4]),
        (pooling.GlobalAvgPool2d(), [2.5, -1]),
        (pooling.GlobalLPPool2d(1), [10, 12]),
    ],
    ids=repr,
)
def test_every_float_type(layer: Layer, expected: list[float], dtype: str, opset: int, runtime: str) -> None:
    """pytorch#98819, pytorch#66929, pytorch#56902: onnxruntime pools no bfloat16, and float64 hardly."""
    if runtime == "openvino" and dtype == "bfloat16":
        pytest.skip("the Python package of openvino takes no bfloat16")
    x = np.array([[[[1, 2], [3, 4]], [[-4, 4], [-4, 0]]]]).astype(dtype_of(dtype))
    assert_equal(run(runtime, exported(layer, x, opset=opset), x)[0], expected, dtype)


@runtimes
def test_half_types_are_rounded_once(runtime: str) -> None:
    """pytorch#98819: a float16 norm of 64 x 64 cells of 1000 is infinite elsewhere."""
    x = (1000 + np.arange(4096) % 7).reshape(1, 1, 64, 64).astype(np.float16)
    # The sum is 4096000 + 12285, and 1002.9993 is next to 1003 in float16.
    assert_equal(run(runtime, exported(pooling.AvgPool2d(64), x), x)[0], [1003], np.float16)
    x[...] = 1000
    assert_equal(run(runtime, exported(pooling.LPPool2d(2, 64), x), x)[0], [64000], np.float16)


BIG = 2**62
INTEGER_CASES = [
    (pooling.MaxPool1d(2), "int64", [1, 2, 3, 4], [2, 4]),
    (pooling.MaxPool1d(2), "int64", [2**53, 2**53 + 1, 0, -1], [2**53 + 1, 0]),
    (pooling.MaxPool1d(2), "uint16", [1, 65535, 40000, 3], [65535, 40000]),
    (pooling.MaxPool1d(2, padding=1), "int8", [-5, -5], [-5, -5]),
    (pooling.MaxPool1d(2), "bool", [True, False, False, False], [True, False]),
    (pooling.AdaptiveMaxPool1d(2), "int32", [1, 3, 2], [3, 3]),
    (pooling.AvgPool1d(4), "int64", [BIG] * 4, [BIG]),
    (pooling.AvgPool1d(2), "int64", [1, 2, -1, -2, 3, 4, -3, 0], [2, -2, 4, -2]),
    (pooling.AvgPool1d(2), "int32", [1, 2, -1, -2, 3, 4, -3, 0], [2, -2, 4, -2]),
    (pooling.AvgPool1d(4), "int8", [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 0, 1, 1, 1, 0, 0, -1, -1], [0, 2, 2, 1, 0]),
    (pooling.AvgPool1d(4), "uint8", [255] * 4, [255]),
    (pooling.AdaptiveAvgPool1d(2), "int16", [1, 3, 2], [2, 2]),
    (pooling.GlobalAvgPool1d(), "int64", [BIG] * 4, [BIG]),
]


@runtimes
@pytest.mark.parametrize("opset", [13, 18, 22])
@pytest.mark.parametrize(("layer", "dtype", "x", "expected"), INTEGER_CASES)
def test_integers_and_bool(layer: Layer, dtype: str, x: Any, expected: Any, opset: int, runtime: str) -> None:
    """pytorch#33086, pytorch#107412, pytorch#136110, pytorch#139115: torch refuses them, or averages 2**62 to 0."""
    if runtime == "openvino" and dtype == "int64" and (layer.operator != "max_pool" or max(x) > 2**31):
        pytest.skip("openvino computes int64 in int32")
    x = np.array(x, dtype).reshape(1, 1, -1)
    assert_equal(run(runtime, exported(layer, x, opset=opset), x)[0], expected, dtype)


@runtimes
@pytest.mark.parametrize("dtype", ["int16", "uint8"])
def test_unpooling_of_integers(dtype: str, runtime: str) -> None:
    """pytorch#136110, pytorch#139115: torch has none."""
    value, index = np.array([[[[5, 7], [13, 15]]]]).astype(dtype), CELLS.reshape(1, 1, 2, 2)
    back = run(runtime, exported(pooling.MaxUnpool2d(2), value), value, index)[0]
    assert_equal(back, [0, 0, 0, 0, 0, 5, 0, 7, 0, 0, 0, 0, 0, 13, 0, 15], dtype)


# --- large windows, half precision backward --------------------------------------------------------------------------


def test_the_mean_of_25_million_ones() -> None:
    """onnxruntime#12043: one float32 sum, element after element, gives 0.671."""
    x = np.ones((1, 1, 5000, 5000), np.float32)
    for layer in (pooling.AvgPool2d(5000), pooling.GlobalAvgPool2d(), pooling.AdaptiveAvgPool2d(1)):
        assert_equal(run_model(to_onnx(layer, x.shape, verify=False), [x])[0], [1])


def test_the_mean_of_4_million_tenths() -> None:
    """onnxruntime#12043: 0.0960 from AveragePool, and 0.10099 from GlobalAveragePool."""
    x = np.full((1, 1, 2**22), 0.1, np.float32)
    for layer in (pooling.AvgPool1d(2**22), pooling.GlobalAvgPool1d()):
        assert_equal(run_model(to_onnx(layer, x.shape, verify=False), [x])[0], [0.1])


def test_the_mean_of_a_million_random_numbers() -> None:
    """onnxruntime#12043: 3e-5 off from AveragePool."""
    x = np.random.default_rng(0).random((1, 1, 1024, 1024), np.float32)
    exact = math.fsum(x.ravel().tolist()) / 2**20
    for layer in (pooling.AvgPool2d(1024), pooling.GlobalAvgPool2d()):
        assert_close(run_model(to_onnx(layer, x.shape, verify=False), [x])[0], [exact])


HALVES = "oneDNN#2386 torch-xpu-ops#3765 cubek#639"


@pytest.mark.parametrize(
    ("dtype", "kernel", "peak"),
    [
        case(HALVES, "bfloat16", 7, 49, name="7"),
        case(HALVES, "bfloat16", 21, 440, name="21"),  # between 440 and 442, of which 440 is even
        case(HALVES, "bfloat16", 33, 1088, name="33"),  # eight apart
        case(HALVES, "float16", 21, 441, name="21"),
        case(HALVES, "float16", 33, 1089, name="33"),
    ],
)
def test_half_gradients_of_overlapping_windows(dtype: str, kernel: int, peak: int) -> None:
    """torch gives 0.969 and 0.25 for 1 in bfloat16, and 256 for 441."""
    size = 2 * kernel + 1
    shape = (1, 1, size, size)
    x = np.zeros(shape, dtype_of(dtype))
    model = to_onnx_backward(pooling.AvgPool2d(kernel, 1), shape, dtype=x.dtype, verify=False)
    means = run_model(model, [np.ones((1, 1, kernel + 2, kernel + 2), x.dtype), x])[0]
    assert means[0, 0, kernel, kernel] == 1
    x[0, 0, kernel, kernel] = 1
    layer = pooling.MaxPool2d(kernel, 1, kernel // 2)
    model = to_onnx_backward(layer, shape, dtype=x.dtype, verify=False)
    maxima = run_model(model, [np.ones(shape, x.dtype), x])[0]
    assert maxima[0, 0, kernel, kernel] == peak


@runtimes
@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (pooling.AvgPool1d(3, 2, [(1, 0)]), [1 / 3, 2 / 3, 1 / 3, 2 / 3, 1 / 3, 1 / 3]),
        (pooling.AvgPool1d(3, 2, [(1, 0)], False, False), [1 / 2, 5 / 6, 1 / 3, 2 / 3, 1 / 3, 1 / 3]),
        (pooling.AvgPool1d(3, 2, "same_upper"), [1 / 3, 1 / 3, 2 / 3, 1 / 3, 2 / 3, 1 / 3]),
        (pooling.AvgPool1d(3, 2, "same_upper", False, False), [1 / 3, 1 / 3, 2 / 3, 1 / 3, 5 / 6, 1 / 2]),
        (pooling.AvgPool1d(3, 2, 1, True, divisor_override=2), [0.5, 1, 0.5, 1, 0.5, 1]),
    ],
    ids=repr,
)
def test_gradients_of_asymmetric_padding(layer: Layer, expected: list[float], runtime: str) -> None:
    """pytorch#71362, keras#18452, pytorch#105349: no exporter has them."""
    x = ramp(6)
    model = to_onnx_backward(layer, x.shape)
    assert_close(run(runtime, model, np.ones(layer.output_shape(x.shape), np.float32), x)[0], expected)


@runtimes
def test_the_gradient_reaches_nan_and_the_first_of_equals(runtime: str) -> None:
    """pytorch#7645: it goes where the index says."""
    x = np.array([[[1, NAN, 2, 2]]], np.float32)
    model = to_onnx_backward(pooling.MaxPool1d(2), x.shape, special_values="exact")
    assert_equal(run(runtime, model, np.array([[[3, 5]]], np.float32), x)[0], [0, 3, 5, 0])


# --- norms -----------------------------------------------------------------------------------------------------------

SIGNED = np.array([[[-1, -2, -3, 1, 2, 3]]], np.float32)
POWER = 2 / 3


@runtimes
@pytest.mark.parametrize("opset", [11, 18, 22])
@pytest.mark.parametrize(
    ("p", "expected", "whole"),
    [
        (1, [3, 4, 5], 12),
        (2, np.sqrt([5, 10, 13]), math.sqrt(28)),
        (3, np.cbrt([9, 28, 35]), math.cbrt(72)),
        (1.5, [(1 + 2**1.5) ** POWER, (1 + 3**1.5) ** POWER, (2**1.5 + 3**1.5) ** POWER],
         (2 * (1 + 2**1.5 + 3**1.5)) ** POWER),
        (INF, [2, 3, 3], 3),
    ],
)  # fmt: skip
def test_norms_of_negative_numbers(p: float, expected: Any, whole: float, opset: int, runtime: str) -> None:
    """pytorch#184037, pytorch#184511, pytorch#187207, onnx#5459: torch gives -3 for p = 1, and NaN for p = 3."""
    roundings = 4 if runtime == "onnxruntime" else 40  # openvino raises to powers in float32
    assert_close(run(runtime, exported(pooling.LPPool1d(p, 2), SIGNED, opset=opset), SIGNED)[0], expected, roundings)
    assert_close(run(runtime, exported(pooling.GlobalLPPool1d(p), SIGNED, opset=opset), SIGNED)[0], [whole], roundings)


@runtimes
@pytest.mark.parametrize("opset", [2, 11, 18, 22])
@pytest.mark.parametrize(("p", "expected"), [(1, 12), (2, math.sqrt(28)), (3, math.cbrt(72))])
def test_global_norm_nodes(p: int, expected: float, opset: int, runtime: str) -> None:
    """onnx#5459: onnxruntime and onnx.reference have no GlobalLpPool."""
    made = helper.make_node("GlobalLpPool", ["x0"], ["y0"], p=p)
    assert_close(PoolingBackend.run_node(made, [SIGNED], opset_version=opset)[0], [expected])
    if p == 3:  # no reduction of ONNX
        assert "p=3" in make_portable(model_of(made, opset, [SIGNED])).skipped[0].reason
    elif opset >= 11:
        roundings = 4 if runtime == "onnxruntime" else 40
        assert_close(run(runtime, repaired(made, SIGNED, opset), SIGNED)[0], [expected], roundings)


@pytest.mark.parametrize("opset", [11, 18, 22])
def test_norms_that_overflow_elsewhere(opset: int) -> None:
    """pytorch#184037: squares of 1e20 are infinite in float32, and those of 1e-30 zero."""
    x = np.array([[[1e20, 1e20, 1e-30, 1e-30, 0, 0]]], np.float32)
    (result,) = run_model(exported(pooling.LPPool1d(2, 2), x, opset=opset), [x])
    assert_close(result, math.sqrt(2) * np.array([1e20, 1e-30, 0]))


@runtimes
@pytest.mark.parametrize(
    ("p", "x", "expected"),
    [
        (2, [0, 0, 3, 4], [0, 0, 0.6, 0.8]),
        (1, [0, 0, -3, 4], [0, 0, -1, 1]),
        (3, [0, 0, -3, 4], [0, 0, -9 / math.cbrt(91) ** 2, 16 / math.cbrt(91) ** 2]),
    ],
)
def test_gradients_of_norms(p: float, x: list[float], expected: list[float], runtime: str) -> None:
    """pytorch#184037: 0 in a window of zeros, and the sign of the element elsewhere."""
    array = np.array([[x]], np.float32)
    model = to_onnx_backward(pooling.LPPool1d(p, 2), array.shape)
    (result,) = run(runtime, model, np.ones((1, 1, 2), np.float32), array)
    assert_close(result, expected, 4 if runtime == "onnxruntime" else 40)
