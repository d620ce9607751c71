"""The ONNX backend against onnx's own tests, onnxruntime's cases, and random nodes of all operators and opsets."""

from __future__ import annotations

import importlib.util
import inspect
import math
import unittest
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.conftest import UNIT, Array, assert_same, assert_within, dtype_of
from tests.test_reference import CONFORMANCE, ref, replay, tensor

onnx = pytest.importorskip("onnx")

from onnx.backend.base import Backend  # noqa: E402

from pooling.onnx_models import POOLING_OPERATORS, function_from_node, layer_from_node  # noqa: E402
from pooling.onnx_models import backend as onnx_backend  # noqa: E402
from pooling.onnx_models.backend import PoolingBackend  # noqa: E402
from tests.onnx_nodes import SINCE, WINDOWED, dtypes, model_of, random_node, random_opset  # noqa: E402

DOCS = Path(__file__).parent.parent / "docs"
NEWEST = onnx.defs.onnx_opset_version()


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_onnx_backend", DOCS / "make_onnx_backend.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- the tests of onnx, collected from here by pytest ----------------------------------------------------------------

PAGE = generator()
CASES: dict[str, type[unittest.TestCase]] = PAGE.cases(PAGE.suite(__name__))
globals().update(CASES)


def test_the_tests_of_onnx_are_there() -> None:
    names = PAGE.names(CASES)
    assert len(names) >= 70
    every = sum(name.startswith(tuple(PAGE.NODE_TESTS.values())) for name in names)
    assert every >= 56
    assert set(PAGE.CONTRADICTIONS) <= set(names)


def test_compatible_are_the_node_tests_of_pooling_operators() -> None:
    for case in node_cases():
        poolings = all(node.op_type in POOLING_OPERATORS for node in case.model.graph.node)
        assert onnx_backend.is_compatible(case.model) == poolings, case.name


def test_the_page_of_the_backend_is_what_the_tests_of_onnx_say() -> None:
    written = PAGE.PAGE.read_text(encoding="utf-8")
    if f"onnx {onnx.__version__}," not in written:
        pytest.skip("the page was made with another onnx, which has other tests")
    assert written == PAGE.page(PAGE.names(CASES)), "run `python docs/make_onnx_backend.py`"


def test_roialign_mode_max_of_onnx_compares_weighted_corners() -> None:
    # Why that test contradicts the standard: what it stores is no interpolated value. The oracle has the text's answer.
    case = next(case for case in node_cases() if case.name == "test_roialign_mode_max")
    (node,) = case.model.graph.node
    ((x, rois, maps), (stored,)) = case.data_sets[0]
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    bins, ratio = given["output_height"], given["sampling_ratio"]
    corners = np.zeros((len(rois), 1, bins, bins))
    interpolated = corners.copy()
    for at in np.ndindex(corners.shape):
        weighted = [
            bilinear(
                x[maps[at[0]], 0], *(sample(rois[at[0]], axis, at[3 - axis], step, bins, ratio) for axis, step in xy)
            )
            for xy in ([(0, i), (1, j)] for i in range(ratio) for j in range(ratio))
        ]
        corners[at] = max(map(max, weighted))
        interpolated[at] = max(map(sum, weighted))
    np.testing.assert_allclose(corners, stored, rtol=1e-3)
    (result,) = onnx_backend.run_node(node, [x, rois, maps])
    np.testing.assert_allclose(result, interpolated, rtol=1e-3)
    assert not np.allclose(interpolated, stored, rtol=1e-3)


def node_cases() -> list[Any]:
    from onnx.backend.test.loader import load_model_tests

    return list(load_model_tests(kind="node"))


def sample(roi: Array, axis: int, bin: int, step: int, bins: int, ratio: int) -> float:
    """Where a sample lies along x (0) or y (1) of a box, without the shift by half a pixel."""
    low, high = float(roi[axis]), float(roi[axis + 2])
    return low + max(high - low, 1.0) / bins * (bin + (step + 0.5) / ratio)


def bilinear(plane: Array, x: float, y: float) -> list[float]:
    """The four corners of a sample, times their weights."""
    left, top = min(int(x), plane.shape[1] - 2), min(int(y), plane.shape[0] - 2)
    right, low = x - left, y - top
    return [
        float(plane[top + i, left + j]) * (low if i else 1 - low) * (right if j else 1 - right)
        for i in range(2)
        for j in range(2)
    ]


# --- the cases of onnxruntime ----------------------------------------------------------------------------------------


def test_the_cases_of_onnxruntime_are_there() -> None:
    assert len(CONFORMANCE["cases"]) == 107
    assert sum(case["fail"] for case in CONFORMANCE["cases"]) == 14
    assert "MIT" in CONFORMANCE["license"]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CONFORMANCE["cases"]])
def test_cases_of_onnxruntime(case: dict[str, Any]) -> None:
    inputs = [tensor(description) for description in case["inputs"]]
    names = [f"x{number}" for number in range(len(inputs))]
    outputs = [f"y{number}" for number in range(len(case.get("outputs", [0])))]
    node = onnx.helper.make_node(case["op"], names, outputs, name="pool", **case["attrs"])
    if case["fail"]:
        with pytest.raises(ValueError, match=rf"^onnx_backend: {case['op']} node 'pool'"):
            onnx_backend.run_node(node, inputs, opset_version=case["opset"])
        return
    results = onnx_backend.run_node(node, inputs, opset_version=case["opset"])
    for result, expected in zip(results, map(tensor, case["outputs"]), strict=True):
        assert result.dtype == expected.dtype
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, rtol=case["tol"], atol=case["tol"])


# --- random nodes ----------------------------------------------------------------------------------------------------


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in given.items()}


def same_lies_apart(node: onnx.NodeProto) -> bool:
    """Whether SAME_* would need padding below 0, which the text does not mean."""
    given = attributes_of(node)
    if not given.get("auto_pad", "").startswith("SAME"):
        return False
    kernel = np.array(given["kernel_shape"])
    reach = np.array(given.get("dilations", kernel * 0 + 1)) * (kernel - 1) + 1
    return bool((np.array(given.get("strides", kernel * 0 + 1)) > reach).any())


def cut(result: Array, shape: tuple[int, ...]) -> Array:
    """Leave out the late windows of ceil_mode."""
    return result[tuple(slice(size) for size in shape)]


def oracle(node: onnx.NodeProto, opset: int, inputs: list[Array]) -> list[Array]:
    given = {name: value for name, value in attributes_of(node).items() if value != "NOTSET"}
    if node.op_type == "MaxUnpool":
        x, indices, *output_shape = inputs
        shape = output_shape[0] if output_shape else None
        if shape is None:
            sizes = layer_from_node(node, opset, x.shape).output_shape(x.shape)
            shape = np.array(sizes)
        result = np.zeros(math.prod(shape.tolist()), x.dtype)
        for index, value in zip(indices.ravel(), x.ravel(), strict=True):
            result[index] = value
        return [result.reshape(shape)]
    if node.op_type == "MaxRoiPool":
        return [ref.max_roi_pool(*inputs, given["pooled_shape"], given["spatial_scale"])]
    if node.op_type == "RoiAlign":
        moved = "half_pixel" if opset >= 16 else "output_half_pixel"
        size = (given.pop("output_height"), given.pop("output_width"))
        return [ref.roi_align(*inputs, size, **({"coordinate_transformation_mode": moved} | given))]
    described = [{"dtype": x.dtype, "shape": x.shape, "data": x} for x in inputs]
    return replay({"op": node.op_type, "attrs": given, "inputs": described})[: len(node.output)]


@pytest.mark.parametrize("operator", SINCE)
def test_random_nodes_equal_the_oracle(operator: str) -> None:
    for seed in range(120):
        rng = np.random.default_rng([1, seed])
        opset = random_opset(rng, operator)
        dtype = str(rng.choice(dtypes(operator, opset)))
        node, inputs = random_node(rng, operator, opset, dtype)
        results = onnx_backend.run_node(node, inputs, opset_version=opset)
        for result, expected in zip(results, oracle(node, opset, inputs), strict=True):
            result = cut(result, expected.shape)
            if operator in ("AveragePool", "LpPool", "GlobalAveragePool", "GlobalLpPool", "RoiAlign"):
                exact = expected.astype(np.float64)
                allowed = (64 if operator == "RoiAlign" else 8) * UNIT[dtype] * np.maximum(np.abs(exact), 1)
                assert result.dtype == expected.dtype
                assert_within(result, exact, np.where(np.isfinite(exact), allowed, 0))
            else:
                assert_same(result, expected)


@pytest.mark.parametrize("operator", SINCE)
def test_random_nodes_equal_onnxruntime(operator: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    compared = 0
    for seed in range(150):
        rng = np.random.default_rng([2, seed])
        opset = random_opset(rng, operator)
        node, inputs = random_node(rng, operator, opset)
        given = attributes_of(node)
        if given.get("mode") == "max":
            continue  # it compares weighted corners
        if given.get("auto_pad", "").startswith("SAME") and ("dilations" in given or same_lies_apart(node)):
            continue  # it ignores dilations in auto_pad, and finds padding below 0 where windows lie apart
        if given.get("storage_order") and inputs[0].ndim == 5:
            continue  # column-major in a volume: it swaps the last two axes only
        model = model_of(node, opset, inputs)
        try:
            session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
            expected = session.run(None, dict(zip(node.input, inputs, strict=True)))
        except Exception as error:
            # Not every opset is implemented, and some windows are refused, such as those of pads beyond kernel_shape.
            assert "NOT_IMPLEMENTED" in str(error) or "pad" in str(error).lower(), error  # noqa: PT017
            continue
        for result, other in zip(onnx_backend.run_model(model, inputs), expected, strict=True):
            assert result.dtype == other.dtype
            result = cut(result, other.shape)
            if other.dtype == np.int64 or operator in ("MaxPool", "GlobalMaxPool", "MaxUnpool", "MaxRoiPool"):
                assert_same(result, other)
            else:
                np.testing.assert_allclose(result, other, rtol=2e-6, atol=2e-6)
        compared += 1
    assert compared >= 60


@pytest.mark.parametrize("operator", SINCE)
def test_random_shapes_are_those_of_shape_inference(operator: str) -> None:
    compared = 0
    for seed in range(150):
        rng = np.random.default_rng([3, seed])
        opset = random_opset(rng, operator)
        node, inputs = random_node(rng, operator, opset)
        if attributes_of(node).get("ceil_mode") and same_lies_apart(node):
            continue  # shape inference lets ceil_mode add a window to ceil(input / stride)
        results = onnx_backend.run_node(node, inputs, opset_version=opset)
        inferred = onnx.shape_inference.infer_shapes(model_of(node, opset, inputs), strict_mode=True)
        for result, output in zip(results, inferred.graph.output, strict=True):
            sizes = [size.dim_value for size in output.type.tensor_type.shape.dim]
            if all(size.HasField("dim_value") for size in output.type.tensor_type.shape.dim):
                assert list(result.shape) == sizes, (operator, opset, attributes_of(node), inputs[0].shape)
                compared += 1
    assert compared >= 60


# --- what the text of an opset says ----------------------------------------------------------------------------------


def run(operator: str, opset: int, *inputs: Array, outputs: int = 1, **attributes: Any) -> tuple[Array, ...]:
    names = [f"x{number}" for number in range(len(inputs))]
    node = onnx.helper.make_node(operator, names, ["y", "i"][:outputs], name="pool", **attributes)
    results: tuple[Array, ...] = function_from_node(node, opset)(*inputs)
    return results


MAP = np.arange(1, 26, dtype=np.float32).reshape(1, 1, 5, 5)
LATE = {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1}


@pytest.mark.parametrize("opset", [10, 11, 12, 21])
def test_ceil_mode_keeps_late_windows_before_opset_22(opset: int) -> None:
    value, index = run("MaxPool", opset, MAP, outputs=2, **LATE)
    nothing = -np.inf
    assert value.tolist() == [[[[7, 10, nothing], [22, 25, nothing], [nothing] * 3]]]
    assert index.tolist() == [[[[6, 9, -1], [21, 24, -1], [-1] * 3]]]
    (integers,) = run("MaxPool", 12, MAP.astype(np.uint8), **LATE)
    assert integers[0, 0, 2].tolist() == [0, 0, 0]
    (norms,) = run("LpPool", 18, MAP, **LATE)
    assert norms[0, 0, 2].tolist() == norms[0, 0, :, 2].tolist() == [0, 0, 0]
    assert norms[0, 0, :2, :2].all()
    (means,) = run("AveragePool", opset, MAP, **LATE)
    assert np.isnan(means[0, 0, 2]).all()
    assert np.isnan(means[0, 0, :, 2]).all()
    (counting,) = run("AveragePool", opset, MAP, count_include_pad=1, **LATE)
    assert counting[0, 0, 2].tolist() == counting[0, 0, :, 2].tolist() == [0, 0, 0]


def test_a_late_window_behind_all_padding_has_no_mean() -> None:
    x = np.ones((1, 1, 9, 9), np.float32)
    given = {"kernel_shape": [2, 2], "strides": [5, 8], "pads": [0, 0, 0, 1], "ceil_mode": 1, "count_include_pad": 1}
    (means,) = run("AveragePool", 11, x, **given)
    # The third row of windows starts at cell 10 of 9. The second column holds one cell and the padding behind it.
    assert means.shape == (1, 1, 3, 2)
    assert means[0, 0, :2].tolist() == [[1, 0.5], [1, 0.5]]
    assert np.isnan(means[0, 0, 2]).all()


@pytest.mark.parametrize("operator", WINDOWED)
def test_ceil_mode_ignores_late_windows_since_opset_22(operator: str) -> None:
    (result,) = run(operator, 22, MAP, **LATE)
    assert result.shape == (1, 1, 2, 2)


def test_ceil_mode_adds_nothing_to_same_padding() -> None:
    (result,) = run("MaxPool", 12, MAP, kernel_shape=[1, 1], strides=[3, 3], auto_pad="SAME_UPPER", ceil_mode=1)
    assert result.tolist() == [[[[1, 4], [16, 19]]]]


def test_indices_count_over_the_whole_tensor_in_either_order() -> None:
    x = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    _, rows = run("MaxPool", 12, x, outputs=2, kernel_shape=[1, 1])
    _, columns = run("MaxPool", 12, x, outputs=2, kernel_shape=[1, 1], storage_order=1)
    assert rows.ravel().tolist() == list(range(24))
    assert columns[0, 1].tolist() == [[12, 15, 18, 21], [13, 16, 19, 22], [14, 17, 20, 23]]


def test_indices_lead_back_through_unpooling() -> None:
    x = np.random.default_rng(0).permutation(2 * 3 * 5 * 7).reshape(2, 3, 5, 7).astype(np.float32)
    given: dict[str, Any] = {"kernel_shape": [2, 3], "strides": [2, 3]}
    value, index = run("MaxPool", 12, x, outputs=2, **given)
    (back,) = run("MaxUnpool", 11, value, index, np.array(x.shape), **given)
    assert_same(np.where(back != 0, x, 0), back)
    assert_same(run("MaxPool", 12, back, **given)[0], value)


ELEMENTS = np.array([[[[5, 6], [7, 8]]]], np.float32)
PAIRS: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}


@pytest.mark.parametrize("indices", [[5, 7, 13, 15], [6, 8, 16, 18]], ids=["of_4x4", "of_5x5"])
def test_unpooling_puts_elements_into_their_own_windows(indices: list[int]) -> None:
    places = np.array(indices).reshape(1, 1, 2, 2)
    (result,) = run("MaxUnpool", 11, ELEMENTS, places, np.array([1, 1, 5, 5]), **PAIRS)
    rows = [[0] * 5, [0, 5, 0, 6, 0], [0] * 5, [0, 7, 0, 8, 0], [0] * 5]
    assert result.tolist() == [[rows]]


def test_unpooling_counts_in_output_shape_where_no_reading_keeps_the_windows() -> None:
    places = np.array([15, 13, 7, 5]).reshape(1, 1, 2, 2)
    (result,) = run("MaxUnpool", 11, ELEMENTS, places, np.array([1, 1, 5, 5]), **PAIRS)
    assert [int(result.ravel()[index]) for index in places.ravel()] == [5, 6, 7, 8]


def test_unpooling_takes_the_shape_of_a_dilated_pooling() -> None:
    x = np.random.default_rng(1).permutation(9).reshape(1, 1, 9).astype(np.float32) + 1
    value, index = run("MaxPool", 12, x, outputs=2, kernel_shape=[3], strides=[4], dilations=[2])
    (back,) = run("MaxUnpool", 11, value, index, np.array(x.shape), kernel_shape=[3], strides=[4])
    assert back.ravel()[index.ravel()].tolist() == value.ravel().tolist()


def test_exponents_of_opset_1_are_real() -> None:
    (norm,) = run("LpPool", 1, MAP, kernel_shape=[5, 5], p=1.5)
    (whole,) = run("GlobalLpPool", 1, MAP, p=1.5)
    expected = (MAP.astype(np.float64) ** 1.5).sum() ** (1 / 1.5)
    np.testing.assert_allclose([norm.item(), whole.item()], expected, rtol=1e-6)


def test_padding_never_counts_before_opset_7() -> None:
    (result,) = run("AveragePool", 1, MAP, kernel_shape=[3, 3], strides=[4, 4], pads=[1, 1, 1, 1])
    assert result.ravel().tolist() == [4, 7, 19, 22]


def test_regions_move_by_half_a_pixel_since_opset_16() -> None:
    x = np.arange(36, dtype=np.float32).reshape(1, 1, 6, 6)
    arrays = (x, np.array([[1, 1, 5, 5]], np.float32), np.array([0]))
    size = {"output_height": 2, "output_width": 2, "sampling_ratio": 1}
    (old,) = run("RoiAlign", 10, *arrays, **size)
    (new,) = run("RoiAlign", 16, *arrays, **size)
    assert old.ravel().tolist() == [14, 16, 26, 28]
    assert (old - new == 3.5).all()
    (asked,) = run("RoiAlign", 16, *arrays, coordinate_transformation_mode="output_half_pixel", **size)
    assert_same(asked, old)


@pytest.mark.parametrize("operator", SINCE)
def test_dtypes_are_those_of_the_opset(operator: str) -> None:
    every = ["float16", "bfloat16", "float32", "float64", "int8", "uint8", "int32"]
    for opset in SINCE[operator]:
        taken = dtypes(operator, opset)
        for dtype in every:
            node, inputs = random_node(np.random.default_rng(7), operator, opset, "float32")
            inputs = [x.astype(dtype_of(dtype)) if x.dtype == np.float32 else x for x in inputs]
            if dtype in taken:
                (result, *_) = function_from_node(node, opset)(*inputs)
                assert result.dtype == dtype_of(dtype)
            else:
                with pytest.raises(
                    TypeError, match=rf"node 'pool': X has dtype {dtype}, which is not accepted in opset"
                ):
                    function_from_node(node, opset)(*inputs)


# --- the interface ---------------------------------------------------------------------------------------------------


def test_the_backend_has_the_interface_of_onnx() -> None:
    assert issubclass(PoolingBackend, Backend)
    for name, method in vars(Backend).items():
        if name.startswith("_"):
            continue
        assert getattr(onnx_backend, name) == getattr(PoolingBackend, name)
        ours = list(inspect.signature(getattr(PoolingBackend, name)).parameters)
        assert ours == list(inspect.signature(getattr(Backend, name)).parameters), method
