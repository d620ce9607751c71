"""Exported graphs against the layers they come from: run by onnxruntime, checked by onnx, word for word in errors."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pooling
from pooling.layer import Layer
from pooling.operators import OPERATORS
from tests.conftest import FLOATS, UNIT, Array, assert_same, dtype_of
from tests.exported import (
    LAYERS,
    OPSETS,
    check,
    check_model,
    full_shape,
    inferred_shapes,
    operators,
    random_arrays,
    random_layer,
    with_samples,
)

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from pooling.export import VerificationError, lowering, save, to_onnx, to_onnx_backward  # noqa: E402
from pooling.export import verification as verifying  # noqa: E402
from pooling.export.graph_builder import GraphBuilder  # noqa: E402
from pooling.export.verification import run_model  # noqa: E402


def run(model: onnx.ModelProto, *arrays: Array) -> list[Array]:
    return run_model(model, arrays)


def attributes(model: onnx.ModelProto, operator: str) -> dict[str, Any]:
    node = next(node for node in model.graph.node if node.op_type == operator)
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


# --- random poolings -------------------------------------------------------------------------------------------------

DTYPES = ("float32", "float64")
FORMS = 130
"""Random layers of every operator: more than 2000 together."""


@pytest.mark.parametrize("operator", OPERATORS)
def test_random_layers_equal_their_graphs_in_onnxruntime(operator: str) -> None:
    row, ran = OPERATORS[operator], 0
    for seed in range(FORMS):
        rng = np.random.default_rng([seed, list(OPERATORS).index(operator)])
        layer, sizes = random_layer(rng, operator, int(rng.choice([each.dimensions for each in LAYERS[operator]])))
        shape = full_shape(rng, layer, sizes)
        dtype = str(rng.choice(row.dtypes))
        # The oldest opset with everything that most graphs are made of, the default, and any.
        opset = [13, None, int(rng.choice(OPSETS))][seed % 3]
        arrays = random_arrays(rng, layer, shape, dtype)
        if operator == "fractional_max_pool":
            layer = with_samples(rng, layer, shape)
        try:
            layer(*arrays)
        except ValueError:
            assert dtype not in FLOATS  # integers have no mean of nothing
            continue
        sentence = why_refused(layer, shape, arrays[0].dtype, opset)
        if sentence:
            assert " lacks " in sentence or " cannot divide " in sentence
            assert opset not in (13, None) or " lacks " not in sentence or operator == "roi_align"
            continue
        model = check(layer, shape, arrays, opset)
        ran += 1
        # Before opset 13 onnx does not look through the shape that unpooling makes at run time.
        if row.windows != "regions" and (row.windows != "named" or (opset or 19) >= 13):
            assert inferred_shapes(model) == [layer.output_shape(shape)] * len(model.graph.output)
    assert ran > FORMS * 2 // 3


def why_refused(layer: Layer, shape: tuple[int, ...], dtype: np.dtype[Any], opset: int | None) -> str:
    """Return the sentence that refuses an export, or nothing."""
    try:
        to_onnx(layer, shape, dtype=dtype, opset=opset, special_values="exact", verify=False)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_random_sequences_are_verified(dimensions: int) -> None:
    single = [name for name, row in OPERATORS.items() if row.windows not in ("regions", "named", "fractional")]
    calls = 0
    for seed in range(25):
        rng = np.random.default_rng([seed, dimensions])
        dtype = str(rng.choice(FLOATS))
        shape: tuple[int, ...] = ()
        layers: list[Layer] = []
        for operator in rng.choice(single, rng.integers(1, 4)):
            if dimensions not in [each.dimensions for each in LAYERS[operator]]:
                continue
            layer, sizes = random_layer(rng, str(operator), dimensions)
            if "return_indices" in layer.arguments:
                layer = type(layer)(**{**layer.arguments, "return_indices": False})
            shape = shape or full_shape(rng, layer, [size + 8 for size in sizes])
            try:
                pooling.Sequential(*layers, layer).output_shape(shape)
            except ValueError:
                continue  # what is left of the map is too small
            layers.append(layer)
        calls += len(layers)
        if layers:
            special_values = str(rng.choice(["finite", "exact"]))
            check_model(to_onnx(pooling.Sequential(*layers), shape, dtype=dtype, special_values=special_values))
    assert calls > 25


# --- which graph -----------------------------------------------------------------------------------------------------

WIDE = {"kernel_size": 2, "dilation": 3, "padding": 3}
GATHERED_MEAN = ["Gather", "ReduceSum", "Gather", "ReduceSum", "Div"]
RANKS = ["IsNaN", "Cast", "Greater", "Cast", "Add", "Max"]
CORRECTION = ["Less", "Where", "Greater", "Where"]


@pytest.mark.parametrize(
    ("layer", "dtype", "opset", "expected"),
    [
        (pooling.MaxPool2d(3, 2, 1), "float32", None, [*RANKS, "MaxPool", "MaxPool", *CORRECTION]),
        (pooling.MaxPool2d(3, 2, 1), "float32", 7, [
            "Less", "Greater", "Or", "Not", "Cast", "Greater", "Cast", "Add", "Max", "MaxPool", "MaxPool", "Cast",
            "Gather", "Add",
        ]),
        (pooling.MaxPool2d(3, 2, 1, return_indices=True), "float64", None, [
            *RANKS, "MaxPool", "MaxPool", *CORRECTION, "Cast", "Equal", "Greater", "And", "Where", "Mod",
        ]),
        (pooling.MaxPool2d(2, nan="ignore"), "float32", None, [
            "IsNaN", "Cast", "Where", "Greater", "Cast", "Add", "Sub", "MaxPool", "MaxPool", "Less", "Where", "Less",
            "Where",
        ]),
        (pooling.MinPool2d(2), "float32", None, ["Neg", *RANKS, "MaxPool", "MaxPool", *CORRECTION, "Neg"]),
        (pooling.GlobalMaxPool2d(), "float32", None, [*RANKS, "GlobalMaxPool", "GlobalMaxPool", *CORRECTION]),
        (pooling.MaxPool2d(2), "int8", None, ["MaxPool"]),
        (pooling.MaxPool2d(2), "int8", 11, ["Cast", "MaxPool", "Cast"]),
        (pooling.MaxPool2d(2), "bool", None, ["Cast", "MaxPool", "Cast"]),
        (pooling.MaxPool2d(2), "int64", None, ["Gather", "ReduceMax", "Gather", "ReduceMax"]),
        (pooling.AvgPool2d(2), "float16", None, ["Cast", "AveragePool", "Cast"]),
        (pooling.AvgPool2d(2), "int32", None, [
            "Cast", "Gather", "ReduceSum", "Gather", "ReduceSum", "Mod", "Sub", "Div", "Add", "Mod", "Add", "Greater",
            "Cast", "Add", "Cast",
        ]),
        (pooling.LPPool2d(2, 2), "float32", None, [
            "Cast", "Abs", "Mul", "Gather", "ReduceSum", "Gather", "ReduceSum", "Sqrt", "Cast",
        ]),
        (pooling.BlurPool2d(3), "float32", None, [
            "Cast", "Gather", "Mul", "ReduceSum", "Gather", "Mul", "ReduceSum", "Cast",
        ]),
        (pooling.MaxUnpool2d(2), "float32", 17, [
            "Reshape", "Reshape", "Shape", "Slice", "Concat", "ConstantOfShape", "Less", "Where", "ScatterElements",
            "Reshape",
        ]),
    ],
)  # fmt: skip
def test_graph_of_one_layer(layer: Layer, dtype: str, opset: int | None, expected: list[str]) -> None:
    assert operators(check_drawn(layer, dtype, opset)) == expected


def check_drawn(layer: Layer, dtype: str, opset: int | None, **keywords: Any) -> onnx.ModelProto:
    """Check a layer with a map of 9 x 8."""
    rng = np.random.default_rng(1)
    shape = (2, 9, 8, 3) if layer.layout == "channels_last" else (2, 3, 9, 8)
    finite = keywords.get("special_values") == "finite"
    arrays = [rng.normal(size=shape).astype(dtype)] if finite else random_arrays(rng, layer, shape, dtype)
    return check(layer, shape, arrays, opset, **keywords)


@pytest.mark.parametrize(
    ("layer", "dtype", "opset", "expected"),
    [
        (pooling.MaxPool2d(3, 2, 1), "float32", None, ["MaxPool"]),
        (pooling.MaxPool2d(3, 2, 1, ceil_mode=True), "float32", 7, ["MaxPool"]),
        (pooling.MaxPool2d(3, 2, 1, return_indices=True), "float64", None, ["MaxPool", "Mod", "Greater", "Where"]),
        (pooling.MaxPool2d(3, dilation=2), "float32", 9, ["Gather", "ReduceMax", "Gather", "ReduceMax"]),
        (pooling.MaxPool2d(3, dilation=2), "float32", 10, ["MaxPool"]),
        (pooling.MaxPool2d(**WIDE), "float32", None, ["Gather", "ReduceMax", "Gather", "ReduceMax"]),
        (pooling.AdaptiveMaxPool2d(3), "float32", None, ["Gather", "ReduceMax", "Gather", "ReduceMax"]),
        (pooling.AdaptiveMaxPool2d((3, 4)), "float32", None, ["MaxPool"]),
        (pooling.AvgPool2d(3, 2, 1), "float32", 7, ["AveragePool"]),
        (pooling.AvgPool2d(3, 2, 1, True), "float32", None, ["AveragePool", "Mul"]),
        (pooling.AvgPool2d(3, 2, 1, True, False), "float32", None, ["AveragePool"]),
        (pooling.AvgPool2d(3, divisor_override=5), "float32", None, ["AveragePool", "Mul"]),
        (pooling.AvgPool2d(3, dilation=2), "float32", 18, GATHERED_MEAN),
        (pooling.AvgPool2d(3, dilation=2), "float32", 19, ["AveragePool"]),
        (pooling.AvgPool2d(**WIDE), "float32", None, ["Pad", *GATHERED_MEAN]),
        (pooling.AvgPool2d(3), "float64", None, GATHERED_MEAN),
        (pooling.AvgPool2d(2, padding=1, count_include_pad=False), "float64", 7, [
            "Pad", "Gather", "ReduceSum", "Gather", "ReduceSum", "Mul", "Div",
        ]),
        (pooling.AdaptiveAvgPool2d((3, 4)), "float32", None, ["AveragePool"]),
        (pooling.GlobalMaxPool2d(), "float32", None, ["GlobalMaxPool"]),
        (pooling.GlobalMaxPool2d(), "float64", None, ["ReduceMax"]),
        (pooling.GlobalAvgPool2d(), "float32", None, ["GlobalAveragePool"]),
        (pooling.GlobalAvgPool2d(), "float64", 13, ["ReduceMean"]),
        (pooling.MaxPool2d(2, layout="channels_last"), "float32", None, ["Transpose", "MaxPool", "Transpose"]),
    ],
)  # fmt: skip
def test_graph_of_one_layer_for_finite_numbers(
    layer: Layer, dtype: str, opset: int | None, expected: list[str]
) -> None:
    assert operators(check_drawn(layer, dtype, opset, special_values="finite")) == expected


def test_layers_of_one_layout_share_their_transposes() -> None:
    layers = [pooling.MaxPool2d(2, layout="channels_last"), pooling.AvgPool2d(2, layout="channels_last")]
    pool = pooling.Sequential(*layers, pooling.GlobalMaxPool2d())
    model = to_onnx(pool, (1, 8, 9, 3))
    assert operators(model) == ["Transpose", "MaxPool", "AveragePool", "Transpose", "GlobalMaxPool"]


def test_no_layers_are_the_identity() -> None:
    x = np.random.default_rng(1).normal(size=(2, 3)).astype(np.float32)
    model = to_onnx(pooling.Sequential(), ("N", 3))
    assert operators(model) == ["Identity"]
    assert_same(run(model, x)[0], x)


def test_ceil_mode_is_resolved_to_pads() -> None:
    model = to_onnx(pooling.MaxPool2d(3, 2, 1, ceil_mode=True), (1, 1, 7, 8))
    assert attributes(model, "MaxPool") == {
        "kernel_shape": [3, 3],
        "strides": [2, 2],
        # On axis H no window reaches beyond the padding; on axis W the last one does, by one cell.
        "pads": [1, 1, 1, 2],
    }


def test_same_padding_is_resolved_with_the_effective_kernel() -> None:
    # onnxruntime ignores the dilation where it resolves SAME_LOWER itself.
    model = to_onnx(pooling.MaxPool1d(3, stride=2, dilation=2, padding="same_lower"), (1, 1, 8))
    assert attributes(model, "MaxPool") == {
        "kernel_shape": [3],
        "strides": [2],
        "pads": [2, 1],
        "dilations": [2],
    }


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("family", ["MaxPool", "AvgPool"])
def test_a_window_that_would_start_in_the_padding_is_dropped_in_every_opset(family: str, opset: int) -> None:
    # Written with ceil_mode, onnx infers 3x3 below opset 22, and onnxruntime returns 2x2.
    layer = getattr(pooling, f"{family}2d")(3, stride=3, padding=1, ceil_mode=True)
    x = np.arange(25, dtype=np.float32).reshape(1, 1, 5, 5)
    model = check(layer, x.shape, [x], opset)
    assert model.opset_import[0].version == opset
    assert run(model, x)[0].shape == (1, 1, 2, 2)


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_gets_means_in_float64(opset: int) -> None:
    layer = pooling.AvgPool3d(3, stride=2, padding=1, dilation=2, count_include_pad=False)
    x = np.random.default_rng(1).normal(size=(1, 2, 7, 6, 5))
    check(layer, x.shape, [x], opset)
    check(pooling.GlobalAvgPool3d(), x.shape, [x], opset)


def test_divisor_override_is_carried() -> None:
    x = np.array([[[1.0, 2.0, 3.0, 4.0]]], np.float32)
    assert run(to_onnx(pooling.AvgPool1d(2, divisor_override=8), x.shape), x)[0].tolist() == [[[0.375, 0.875]]]


def test_ceil_mode_does_not_count_what_lies_beyond_the_padding() -> None:
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    result = run(to_onnx(pooling.AvgPool2d(3, stride=2, padding=1, ceil_mode=True), x.shape), x)[0]
    expected = [[10 / 9, 24 / 9, 10 / 6], [51 / 9, 90 / 9, 33 / 6], [25 / 6, 42 / 6, 15 / 4]]
    np.testing.assert_allclose(result[0, 0], expected, rtol=4 * UNIT["float32"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("size", "padding", "outputs"),
    [
        (1, 2, 2),  # taps at cells -2 and 1, and at -1 and 2
        (2, 1, 1),  # taps at cells -1 and 2; onnxruntime would take the padding
    ],
)
def test_windows_without_any_element(dtype: str, size: int, padding: int, outputs: int) -> None:
    windows = {"kernel_size": 2, "stride": 1, "dilation": 3, "padding": padding}
    x = np.full((2, 1, size), 5, dtype)
    value, index = run(to_onnx(pooling.MaxPool1d(**windows, return_indices=True), x.shape, dtype=dtype), x)
    assert_same(value, np.full((2, 1, outputs), -np.inf, dtype))
    assert_same(index, np.full((2, 1, outputs), -1))
    means = {
        include: run(to_onnx(pooling.AvgPool1d(**windows, count_include_pad=include), x.shape, dtype=dtype), x)[0]
        for include in (False, True)
    }
    assert_same(means[False], np.full((2, 1, outputs), np.nan, dtype))
    assert_same(means[True], np.zeros((2, 1, outputs), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_infinity_reaches_its_own_windows_only(dtype: str) -> None:
    x = np.array([[[np.inf, 1, 2, 3, 4, -np.inf, 5, 6]]], dtype)
    for layer in (pooling.AvgPool1d(2, padding=1), pooling.AvgPool1d(2, dilation=3, padding=3)):
        assert_same(run(to_onnx(layer, x.shape, dtype=dtype), x)[0], layer(x))


def test_gathered_taps_name_the_first_of_equal_elements() -> None:
    x = np.full((2, 2, 4, 5), -np.inf)
    layer = pooling.MaxPool2d(2, stride=1, padding=2, dilation=3, return_indices=True)
    check(layer, x.shape, [x])


# --- what else a model says ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_named_axes_are_free_at_run_time(batch: int) -> None:
    pool = pooling.Sequential(pooling.AvgPool2d(2), pooling.MaxPool2d(3, 2, 1, return_indices=True))
    model = to_onnx(pool, ("N", "C", 9, 8))
    assert inferred_shapes(model) == [("N", "C", 2, 2)] * 2
    for channels in (1, 4):
        x = np.random.default_rng(1).integers(-8, 8, (batch, channels, 9, 8)).astype(np.float32)
        for result, expected in zip(run(model, x), pool(x), strict=True):
            assert_same(result, expected)


def test_unbatched_with_a_name_for_the_channels() -> None:
    layer = pooling.MaxPool2d(2, layout="channels_last")
    model = to_onnx(layer, (6, 4, "C"))
    assert inferred_shapes(model) == [(3, 2, "C")]
    x = np.random.default_rng(1).normal(size=(6, 4, 5)).astype(np.float32)
    assert_same(run(model, x)[0], layer(x))


def test_names_and_doc_strings() -> None:
    pool = pooling.Sequential(pooling.AvgPool2d(3, 2, 1, ceil_mode=True), pooling.MaxPool2d(2, return_indices=True))
    model = to_onnx(pool, ("N", 3, 8, 8))
    assert [(node.name, node.doc_string) for node in model.graph.node] == [
        ("0_AvgPool2d/AveragePool", "Of the taps in the input."),
        (
            "0_AvgPool2d/Mul",
            "AvgPool2d(kernel_size=3, stride=2, padding=1, ceil_mode=True): times these taps, by those that it counts.",
        ),
        ("1_MaxPool2d/MaxPool", "MaxPool2d(kernel_size=2, return_indices=True)"),
        ("1_MaxPool2d/Mod", "ONNX counts over the whole tensor, the layer in each plane."),
        ("1_MaxPool2d/Greater", ""),
        ("1_MaxPool2d/Where", "Some onnxruntime names no cell of a window of nothing but the least number."),
    ]
    assert [constant.name for constant in model.graph.initializer] == [
        "0_AvgPool2d/Mul/B",
        "1_MaxPool2d/Mod/B",
        "1_MaxPool2d/Greater/B",
        "1_MaxPool2d/Where/Y",
    ]
    assert [each.name for each in model.graph.input] == ["input"]
    assert [each.name for each in model.graph.output] == ["output", "indices"]
    assert model.graph.doc_string == f"{pool!r}: (N, 3, 8, 8) -> (N, 3, 2, 2)"
    assert (model.producer_name, model.producer_version) == ("pooling", pooling.__version__)


def test_nodes_of_one_operator_have_names_of_their_own() -> None:
    model = to_onnx(pooling.AvgPool3d(2), (1, 1, 4, 4, 4), dtype=np.float64)
    assert [node.name for node in model.graph.node] == [
        "AvgPool3d/Gather",
        "AvgPool3d/ReduceSum",
        "AvgPool3d/Gather_2",
        "AvgPool3d/ReduceSum_2",
        "AvgPool3d/Gather_3",
        "AvgPool3d/ReduceSum_3",
        "AvgPool3d/Div",
    ]


def test_a_large_mean_needs_no_large_model() -> None:
    model = to_onnx(pooling.AvgPool2d(31, 1, 15, count_include_pad=False), (1, 64, 512, 512), dtype=np.float64)
    tables = 2 * 512 * 31 * 8  # the taps of every window, one axis at a time
    assert model.ByteSize() < 1.1 * tables


def test_every_row_has_a_lowering() -> None:
    assert list(lowering.LOWERINGS) == list(OPERATORS)


def test_byte_order_is_that_of_the_runtime() -> None:
    assert to_onnx(pooling.AvgPool2d(2), SHAPE, dtype=">f8") == to_onnx(pooling.AvgPool2d(2), SHAPE, dtype=np.float64)


# --- the page of graphs ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made() -> Any:
    path = Path(__file__).resolve().parent.parent / "docs" / "make_onnx.py"
    spec = importlib.util.spec_from_file_location("make_onnx", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_graphs_is_made_from_the_graphs(made: Any) -> None:
    assert made.PAGE.read_text(encoding="utf-8") == made.page(), "run `python docs/make_onnx.py`"


@pytest.mark.parametrize("operator", OPERATORS)
def test_graphs_hold_the_operators_of_their_row(operator: str, made: Any) -> None:
    models = [made.model(layer, None) for layer in made.EXAMPLES[operator]]
    graphs = [operators_of(model.graph) for model in models if isinstance(model, onnx.ModelProto)]
    assert any(set(OPERATORS[operator].onnx) <= graph for graph in graphs)


def operators_of(graph: onnx.GraphProto) -> set[str]:
    return {node.op_type for node in graph.node}


# --- NaN, -inf and extremes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [7, 8, 9, 13, 19, OPSETS[-1]])
@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_nan_reaches_every_window_that_holds_it(corner: tuple[int, int], opset: int) -> None:
    # A plain MaxPool keeps 0, 0, 0 or 1024 of these, depending on the corner.
    x = np.zeros((4, 1, 32, 32), np.float32)
    x[:, :, corner[0] :: 2, corner[1] :: 2] = np.nan
    (result,) = run(to_onnx(pooling.MaxPool2d(2), x.shape, opset=opset, special_values="exact"), x)
    assert np.isnan(result).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("nan", ["propagate", "ignore"])
@pytest.mark.parametrize("kind", [pooling.MaxPool1d, pooling.MinPool1d])
def test_the_first_of_what_is_no_number_is_named(kind: type[Layer], nan: str, dtype: str) -> None:
    inf, low = np.inf, float(np.finfo(np.float16).min)
    rows = list(itertools.product([np.nan, inf, -inf, low, -low, -0.0, 0.0], repeat=3))
    x = np.array(rows).reshape(1, 1, -1).astype(dtype_of(dtype))
    layer = kind(3, return_indices=True, nan=nan)  # type: ignore[call-arg]
    for name in ("torch", "onnx"):
        words = {"dtype": x.dtype, "indices": name, "opset": 13}
        model = to_onnx(layer, ("N", "C", x.shape[2]), special_values="exact", **words)
        for result, expected in zip(run(model, x), layer(x), strict=True):
            assert_same(result, expected)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int32", "uint32"])
@pytest.mark.parametrize("kind", [pooling.MaxPool1d, pooling.MinPool1d, pooling.AvgPool1d, pooling.AdaptiveAvgPool1d])
def test_extreme_integers_stay_exact(kind: type[Layer], dtype: str) -> None:
    limits = np.iinfo(dtype)
    near = [limits.min, limits.min + 1, limits.max - 1, limits.max, limits.max // 2 + 1, 2**24 + 1]
    x = np.array(list(itertools.product(near, repeat=3)), dtype).reshape(1, 1, -1)
    layer = kind(x.size // 3 if kind is pooling.AdaptiveAvgPool1d else 3)
    assert_same(run(to_onnx(layer, x.shape, dtype=dtype), x)[0], layer(x))


@pytest.mark.parametrize("rounding", ["half_even", "half_up", "floor", "trunc"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
def test_integer_means_are_rounded_as_told(dtype: str, rounding: Any) -> None:
    rng = np.random.default_rng(1)
    low = 0 if dtype.startswith("u") else -9
    x = rng.integers(low, 9, (2, 3, 40)).astype(dtype)
    for divisor in (None, 8, -6) if dtype == "int8" else (None, 8):
        layer = pooling.AvgPool1d(4, divisor_override=divisor, rounding=rounding)
        assert_same(run(to_onnx(layer, x.shape, dtype=dtype), x)[0], layer(x))


def test_a_mean_that_does_not_fit_saturates() -> None:
    x = np.array([[[100, 100, -100, -100]]], np.int8)
    model = to_onnx(pooling.AvgPool1d(2, divisor_override=0.5), x.shape, dtype=np.int8)
    assert run(model, x)[0].tolist() == [[[127, -128]]]


@pytest.mark.parametrize("size", [2048, 5000])
def test_a_large_mean_is_exact_where_it_can_be(size: int) -> None:
    # Added up in float32, one number after another, tenths of so many cells are off by more than 1e-4.
    x = np.full((1, 1, size, 64), 0.1, np.float32)
    for layer in (pooling.AvgPool2d((size, 64)), pooling.GlobalAvgPool2d()):
        (result,) = run(to_onnx(layer, x.shape), x)
        assert result.item() == np.float32(0.1)


def test_norms_neither_overflow_nor_vanish() -> None:
    for scale, dtype in ((1e20, "float32"), (1e-30, "float32"), (1e200, "float64"), (1e-200, "float64")):
        x = np.full((1, 1, 4), scale, dtype)
        (result,) = run(to_onnx(pooling.LPPool1d(2, 2), x.shape, dtype=dtype), x)
        np.testing.assert_allclose(result, np.sqrt(2) * scale * np.ones((1, 1, 2)), rtol=4 * UNIT[dtype])


def test_a_divisor_that_float32_cannot_hold() -> None:
    x = np.full((1, 1, 4, 4), 1e-39, np.float32)
    (result,) = run(to_onnx(pooling.AvgPool2d(2, divisor_override=1e-50), x.shape, verify=False), x)
    np.testing.assert_allclose(result, np.full((1, 1, 2, 2), 4e11), rtol=1e-5)


# --- indices ---------------------------------------------------------------------------------------------------------

CONVENTIONS = ("torch", "onnx", "onnx_column_major", "tensorflow")
INDEXED = [
    (pooling.MaxPool2d(2, return_indices=True), (2, 3, 5, 6)),
    (pooling.MaxPool3d(2, stride=1, return_indices=True), (2, 3, 3, 4, 5)),
    (pooling.MaxPool1d(2, dilation=3, padding=3, return_indices=True), (2, 3, 9)),
    (pooling.AdaptiveMaxPool2d((3, 4), return_indices=True), (2, 3, 5, 6)),
    (pooling.FractionalMaxPool2d(2, (2, 3), return_indices=True, rng=np.random.default_rng(1)), (2, 3, 5, 6)),
]


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("layer", "shape"), INDEXED)
def test_indices_in_every_convention(layer: Layer, shape: tuple[int, ...], convention: str) -> None:
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    if layer.operator == "fractional_max_pool":
        layer = with_samples(np.random.default_rng(2), layer, shape)
    expected = pooling.convert_indices(layer(x)[1], shape, source="torch", target=convention)  # type: ignore[arg-type]
    named = shape if layer.operator == "fractional_max_pool" else ("N", "C", *shape[2:])
    for given in (shape, named):
        assert_same(run(to_onnx(layer, given, indices=convention), x)[1], expected)


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_unpooling_undoes_pooling_in_every_convention(convention: str, opset: int) -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 4, 6)).astype(np.float32)
    values, indices = pooling.max_pool2d(x, 2, return_indices=True)
    named = pooling.convert_indices(indices, x.shape, source="torch", target=convention)  # type: ignore[arg-type]
    for shape in (values.shape, ("N", "C", 2, 3)):
        model = to_onnx(pooling.MaxUnpool2d(2), shape, indices=convention, opset=opset)
        assert_same(run(model, values, named)[0], pooling.max_unpool2d(values, indices, 2))


@pytest.mark.parametrize("opset", [13, 18])
def test_of_equal_indices_the_last_stays(opset: int) -> None:
    x = np.arange(1, 2001, dtype=np.float32).reshape(1, 2, 1000)
    indices = np.random.default_rng(1).integers(0, 7, x.shape)
    model = to_onnx(pooling.MaxUnpool1d(2), x.shape, opset=opset)
    assert_same(run(model, x, indices)[0], pooling.max_unpool1d(x, indices, 2))


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("index", [-1, 8, 10**12])
def test_an_index_outside_the_plane_is_refused_by_the_runtime(index: int, opset: int) -> None:
    model = to_onnx(pooling.MaxUnpool1d(2), (1, 1, 4), opset=opset)
    with pytest.raises(VerificationError, match="out of"):
        run(model, np.ones((1, 1, 4), np.float32), np.full((1, 1, 4), index))


def test_unpooling_to_another_size() -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 7, 7)).astype(np.float32)
    values, indices = pooling.max_pool2d(x, 2, return_indices=True)
    model = to_onnx(pooling.MaxUnpool2d(2), values.shape, output_size=(7, 7))
    assert inferred_shapes(model) == [x.shape]
    assert_same(run(model, values, indices)[0], pooling.max_unpool2d(values, indices, 2, output_size=(7, 7)))


# --- windows that come with the call, or were drawn ------------------------------------------------------------------


def test_fractional_windows_are_drawn_once() -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 9, 8)).astype(np.float32)
    layers = [pooling.FractionalMaxPool2d(2, output_ratio=0.5, rng=np.random.default_rng(7)) for _ in range(2)]
    model = to_onnx(layers[0], x.shape)
    assert_same(run(model, x)[0], layers[1](x))
    assert_same(run(model, x)[0], run(model, x)[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("opset", [13, 21, 22])
def test_any_number_of_regions(opset: int, dtype: str) -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 6, 7)).astype(dtype)
    boxes = np.array([[0, 0, 6, 5], [1.5, 2, 3.25, 9], [-3, -3, 0.4, 0.4]], dtype)
    maps = np.array([0, 1, 1])
    model = to_onnx(pooling.MaxRoIPool((2, 3)), ("N", "C", 6, 7), dtype=dtype, opset=opset)
    for count in (1, 3):
        rois = np.concatenate((maps[:, np.newaxis], boxes), 1)[:count].astype(dtype)
        assert_same(run(model, x, rois)[0], pooling.max_roi_pool(x, rois, (2, 3)))


def test_windows_of_regions_are_cut_in_whole_numbers() -> None:
    # In float32, 8 windows of 41 / 8 and the like begin and end at the wrong pixel here and there.
    x = np.random.default_rng(1).normal(size=(1, 1, 64, 64)).astype(np.float32)
    rois = np.array([[0, 0, 0, last, 63 - last // 2] for last in range(64)], np.float32)
    for bins in (3, 5, 7, 11):
        layer = pooling.MaxRoIPool(bins)
        assert_same(run(to_onnx(layer, x.shape), x, rois)[0], layer(x, rois))


def test_a_pixel_of_weight_0_is_not_looked_at_where_the_graph_samples() -> None:
    x = np.array([[[[1.0, 2.0], [np.nan, np.inf]]]], np.float32)
    boxes, maps = np.array([[0, 0.5, 1, 0.5]], np.float32), np.array([0])
    layer = pooling.RoIAlign(1, sampling_ratio=1, coordinate_transformation_mode="half_pixel")
    (result,) = run(to_onnx(layer, x.shape, opset=22), x, boxes, maps)
    assert_same(result, layer(x, boxes, maps))


# --- verification ----------------------------------------------------------------------------------------------------


def test_the_first_difference_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(graph: GraphBuilder, call: Any, inputs: tuple[str, ...]) -> tuple[str, ...]:
        return (graph("MaxPool", inputs[0], kernel_shape=[2, 2], strides=[2, 2]),)

    monkeypatch.setitem(lowering.LOWERINGS, "max_pool", plain)
    with pytest.raises(VerificationError, match=r"at output\[\d, \d, \d, \d\], and pooling gives .*nan='propagate'"):
        to_onnx(pooling.MaxPool2d(2), ("N", 3, 8, 8), special_values="exact")


def test_a_sum_that_is_too_far_off_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def off(graph: GraphBuilder, call: Any, inputs: tuple[str, ...]) -> tuple[str, ...]:
        mean = graph("AveragePool", inputs[0], kernel_shape=[2], strides=[2])
        return (graph("Mul", mean, np.float32(1 + 3e-6)),)

    monkeypatch.setitem(lowering.LOWERINGS, "avg_pool", off)
    with pytest.raises(VerificationError, match=r"they may differ by \d.*mean of every window"):
        to_onnx(pooling.AvgPool1d(2), (2, 3, 50))


def test_a_result_in_the_wrong_layout_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def swapped(graph: GraphBuilder, call: Any, inputs: tuple[str, ...]) -> tuple[str, ...]:
        pooled = graph("MaxPool", inputs[0], kernel_shape=[2, 2], strides=[2, 2])
        return (graph("Transpose", pooled, perm=[0, 1, 3, 2]),)

    monkeypatch.setitem(lowering.LOWERINGS, "max_pool", swapped)
    with pytest.raises(VerificationError, match="at output"):
        to_onnx(pooling.MaxPool2d(2), (1, 3, 8, 8))


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("pooling.onnx_models.session.import_module", missing)
    to_onnx(pooling.MaxPool2d(2), SHAPE, verify=False)
    with pytest.raises(ModuleNotFoundError) as caught:
        to_onnx(pooling.MaxPool2d(2), SHAPE)
    assert str(caught.value) == (
        "to_onnx: verify=True runs the model in onnxruntime, which is not installed; "
        "run pip install 'ndpooling[onnx]', or use verify=False"
    )


def test_verification_costs_what_a_few_planes_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    compare = verifying.compare_placed
    monkeypatch.setattr(verifying, "compare_placed", lambda placed, taken, *rest: (seen.append(taken[0].shape), compare(placed, taken, *rest)))  # fmt: skip  # noqa: E501
    to_onnx(pooling.MaxPool2d(2, return_indices=True), (64, 512, 6, 6))
    to_onnx(pooling.MaxPool2d(2, return_indices=True), ("N", 512, 6, 6))
    assert set(seen) == {(2, 2, 6, 6), (1, 2, 6, 6), (3, 2, 6, 6)}
    seen.clear()
    to_onnx(pooling.MaxUnpool2d(2), (64, 512, 6, 6))
    assert set(seen) == {(2, 2, 6, 6)}


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_model_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = to_onnx(pooling.MaxPool2d(2), SHAPE), tmp_path / "pool.onnx"
    save(model, path)
    assert onnx.load(path) == model
    path.write_bytes(b"what was there")

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        save(model, str(path))
    assert path.read_bytes() == b"what was there"
    assert [each.name for each in tmp_path.iterdir()] == ["pool.onnx"]


def test_where_no_model_can_be_written(tmp_path: Path) -> None:
    model = to_onnx(pooling.MaxPool2d(2), SHAPE)
    for path, sentence in (
        (tmp_path, f"save: path={str(tmp_path)!r} is a folder; give the name of a file"),
        (
            tmp_path / "no" / "pool.onnx",
            f"save: path={str(tmp_path / 'no' / 'pool.onnx')!r} lies in a folder that does not exist; make it first",
        ),
    ):
        with pytest.raises(ValueError) as caught:
            save(model, path)
        assert str(caught.value) == sentence
    with pytest.raises(TypeError, match=r"save: model must be an onnx\.ModelProto, not int"):
        save(2, tmp_path / "pool.onnx")  # type: ignore[arg-type]


def test_a_model_that_one_file_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pooling.export.files.LARGEST_FILE", 100)
    with pytest.raises(ValueError, match=r"save: the model has \d+ bytes, and a file without external data holds 100"):
        save(to_onnx(pooling.MaxPool2d(2), SHAPE), tmp_path / "pool.onnx")
    assert list(tmp_path.iterdir()) == []


# --- errors ----------------------------------------------------------------------------------------------------------


class Unknown(pooling.MaxPool2d):
    operator = "median_pool"


NEWEST = f"{OPSETS.stop - 1}, the newest that onnx {onnx.__version__} knows"
MAX = pooling.MaxPool2d(2)
SHAPE = (1, 1, 4, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (
            (2, SHAPE),
            TypeError,
            "to_onnx: pool=2 must be a Layer or a Sequential of this package, not int; use a layer such as "
            "pooling.MaxPool2d(2)",
        ),
        (
            (Unknown(2), SHAPE),
            ValueError,
            "to_onnx: Unknown cannot be exported; known are " + ", ".join(lowering.LOWERINGS),
        ),
        ((MAX, 4), TypeError, "to_onnx: input_shape=4 must be a sequence of integers and names, not int"),
        ((MAX, "NCHW"), TypeError, "to_onnx: input_shape='NCHW' must be a sequence of integers and names, not str"),
        (
            (MAX, (None, 1, 4, 4)),
            TypeError,
            "to_onnx: input_shape=(None, 1, 4, 4) must hold integers and names, not NoneType; "
            "give an unknown size a name such as 'N'",
        ),
        (
            (MAX, (1, True, 4, 4)),
            TypeError,
            "to_onnx: input_shape=(1, True, 4, 4) must hold integers and names, not bool; "
            "give an unknown size a name such as 'N'",
        ),
        (
            (MAX, (-1, 1, 4, 4)),
            ValueError,
            "to_onnx: input_shape=(-1, 1, 4, 4) must not hold -1; give a size or a name",
        ),
        (
            (MAX, ("", 1, 4, 4)),
            ValueError,
            "to_onnx: input_shape=('', 1, 4, 4) must not hold ''; give a size or a name",
        ),
        (
            (pooling.Sequential(MAX, pooling.MaxUnpool2d(2)), SHAPE),
            ValueError,
            "to_onnx: MaxUnpool2d takes more than one input and cannot be part of a Sequential; export it alone",
        ),
        (
            (pooling.FractionalMaxPool2d(2, 2), ("N", 1, 4, 4)),
            ValueError,
            "to_onnx: input_shape=('N', 1, 4, 4) of FractionalMaxPool2d has names; every map has windows of its own, "
            "which become part of the model, so batch and channels must be integers",
        ),
        (
            (MAX, ("N", 4)),
            ValueError,
            "MaxPool2d: input_shape=(1, 4) has 2 axes; it must have 4, or 3 without the batch",
        ),
        (
            (MAX, (1, 1, 1, 4)),
            ValueError,
            "MaxPool2d: kernel_size=2 finds no window on axis H: the effective kernel size is 2 and the padded input "
            "0 + 1 + 0 = 1; the smallest input that works is 2",
        ),
        (
            (pooling.AvgPool2d(2, divisor_override=0), SHAPE),
            ValueError,
            "avg_pool2d: divisor_override=0 must be finite and not zero; use None for the number of elements",
        ),
        (
            (pooling.MaxPool2d(2, nan="raise"), SHAPE),  # type: ignore[arg-type]
            ValueError,
            "max_pool2d: nan='raise' must be 'propagate' or 'ignore'",
        ),
    ],
)
def test_errors(arguments: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error) as caught:
        to_onnx(*arguments)
    assert str(caught.value) == sentence


def test_a_module_of_torch_gets_the_layer_that_takes_its_place() -> None:
    nn = pytest.importorskip("torch.nn")
    for export in (to_onnx, to_onnx_backward):
        with pytest.raises(TypeError) as caught:
            export(nn.MaxPool2d(2), SHAPE)
        assert str(caught.value) == (
            f"{export.__name__}: pool=MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False) must "
            f"be a Layer{' or a Sequential' if export is to_onnx else ''} of this package, not "
            "torch.nn.modules.pooling.MaxPool2d; use pooling.MaxPool2d with the same arguments"
        )


@pytest.mark.parametrize(
    ("layer", "keywords", "error", "sentence"),
    [
        (MAX, {"dtype": None}, TypeError, "to_onnx: dtype=None is no NumPy dtype; use a name such as 'float32'"),
        (MAX, {"dtype": "real"}, TypeError, "to_onnx: dtype='real' is no NumPy dtype; use a name such as 'float32'"),
        (
            MAX,
            {"dtype": np.complex64},
            TypeError,
            "to_onnx: dtype=complex64 cannot be exported; use one of float16, bfloat16, float32, float64, int8, int16, "
            "int32, int64, uint8, uint16, uint32, uint64, bool",
        ),
        (MAX, {"opset": "19"}, TypeError, "to_onnx: opset='19' must be an integer or None, not str"),
        (MAX, {"opset": True}, TypeError, "to_onnx: opset=True must be an integer or None, not bool"),
        (MAX, {"opset": 6}, ValueError, f"to_onnx: opset=6 must lie between 7 and {NEWEST}"),
        (MAX, {"opset": 999}, ValueError, f"to_onnx: opset=999 must lie between 7 and {NEWEST}"),
        (
            pooling.MaxPool2d(2, return_indices=True),
            {"opset": 7},
            ValueError,
            "to_onnx: opset=7 lacks a second output of MaxPool, which this pooling needs; use opset >= 8",
        ),
        (
            pooling.MaxPool2d(2, return_indices=True),
            {"opset": 9},
            ValueError,
            "to_onnx: opset=9 lacks Mod, which this pooling needs; use opset >= 10",
        ),
        (
            pooling.MaxPool2d(2),
            {"dtype": "bfloat16", "opset": 12},
            ValueError,
            "to_onnx: opset=12 lacks Cast of bfloat16, which this pooling needs; use opset >= 13",
        ),
        (
            pooling.AvgPool2d(2, divisor_override=0.1),
            {"dtype": np.int32},
            ValueError,
            "to_onnx: divisor_override=0.1 of AvgPool2d cannot divide sums of 4 elements of int32 exactly in int64; "
            "use a whole number of at least 4, or a float dtype",
        ),
        (
            MAX,
            {"layout": "channels_last"},
            ValueError,
            "to_onnx: layout='channels_last' contradicts MaxPool2d, whose layout is 'channels_first'; make the layer "
            "with layout='channels_last', or leave the argument out",
        ),
        (
            MAX,
            {"layout": 1},
            TypeError,
            "to_onnx: layout=1 must be a string, not int; use 'channels_first' or 'channels_last'",
        ),
        (
            MAX,
            {"indices": "numpy"},
            ValueError,
            "to_onnx: indices='numpy' must be one of 'torch', 'onnx', 'onnx_column_major', 'tensorflow'",
        ),
        (MAX, {"verify": 1}, TypeError, "to_onnx: verify=1 must be True or False, not int"),
        (
            MAX,
            {"special_values": None},
            TypeError,
            "to_onnx: special_values=None must be a string, not NoneType; use 'finite' or 'exact'",
        ),
        (MAX, {"special_values": "all"}, ValueError, "to_onnx: special_values='all' must be 'finite' or 'exact'"),
        (
            MAX,
            {"output_size": 4},
            ValueError,
            "to_onnx: output_size=4 is for unpooling only; leave it out for MaxPool2d",
        ),
        (
            pooling.BlurPool2d(),
            {"dtype": np.int8},
            TypeError,
            "blur_pool2d: input has dtype int8, which is not accepted; use float16, bfloat16, float32, float64",
        ),
    ],
)
def test_errors_of_keywords(layer: Layer, keywords: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error) as caught:
        to_onnx(layer, SHAPE, **keywords)
    assert str(caught.value) == sentence


def test_an_attribute_that_an_opset_lacks() -> None:
    graph = GraphBuilder(18)
    graph.input("input", np.dtype(np.float32), (1, 1, 4))
    with pytest.raises(ValueError) as caught:
        graph("AveragePool", "input", kernel_shape=[2], dilations=[2])
    sentence = "to_onnx: opset=18 lacks dilations of AveragePool, which this pooling needs; use opset >= 19"
    assert str(caught.value) == sentence


def test_the_pool_is_left_as_it_was() -> None:
    pool = pooling.AvgPool2d(3, 2, [(0, 1), (1, 0)], ceil_mode=True)
    before = repr(pool), dict(pool.arguments)
    assert to_onnx(pool, SHAPE) == to_onnx(pool, SHAPE)
    assert (repr(pool), pool.arguments) == before


def test_random_windows_are_of_every_kind() -> None:
    kinds = set()
    for seed, dimensions in itertools.product(range(80), (1, 2, 3)):
        layer, sizes = random_layer(np.random.default_rng([seed, dimensions]), "avg_pool", dimensions)
        shape = full_shape(np.random.default_rng(0), layer, sizes)
        for axis in layer.axes(shape):
            kinds.update(
                name
                for name, reached in {
                    "asymmetric": axis.pad_begin != axis.pad_end,
                    "dilated": axis.dilation > 1,
                    "overhang": axis.ceil_overhang > 0,
                    "dropped": axis.dropped > 0,
                    "gap": axis.stride > axis.kernel_size,
                    "wide": max(axis.pad_begin, axis.pad_end) >= axis.kernel_size,
                }.items()
                if reached
            )
    assert kinds == {"asymmetric", "dilated", "overhang", "dropped", "gap", "wide"}


# --- the default opset -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "expected", "backward"),
    [
        (pooling.MaxPool2d(3, 2, 1), 13, 16),
        (pooling.MaxPool2d(3, dilation=2), 13, 16),
        (pooling.AvgPool2d(3, 2, 1), 13, 13),
        (pooling.AvgPool2d(3, 2, "same"), 13, 13),
        (pooling.AvgPool2d(3, 2, 1, ceil_mode=True), 13, 13),
        (pooling.AvgPool2d(3, dilation=2), 19, 13),
        (pooling.GlobalAvgPool2d(), 13, 13),
        (pooling.BlurPool2d(), 13, 13),
        (pooling.MaxUnpool2d(2), 18, 18),
        (pooling.RoIAlign(2), 16, 16),
        (pooling.RoIAlign(2, coordinate_transformation_mode="output_half_pixel"), 13, 16),
    ],
    ids=repr,
)
def test_the_default_opset_is_the_lowest_that_needs_no_detour(layer: Layer, expected: int, backward: int) -> None:
    for export, opset in ((to_onnx, expected), (to_onnx_backward, backward)):
        model = export(layer, (1, 3, 9, 9), verify=False)
        assert [entry.version for entry in model.opset_import] == [opset]
        # The oldest runtime that reads the opset reads the format, too.
        assert model.ir_version == onnx.helper.find_min_ir_version_for(model.opset_import)


def test_the_default_opset_of_several_layers_suits_all() -> None:
    pool = pooling.Sequential(pooling.MaxPool2d(2), pooling.AvgPool2d(2, dilation=2), pooling.GlobalMaxPool2d())
    model = to_onnx(pool, (1, 3, 12, 12))
    assert model.opset_import[0].version == 19
    assert operators(model) == ["MaxPool", "AveragePool", "GlobalMaxPool"]


# --- verification, continued -----------------------------------------------------------------------------------------


def test_models_are_verified_with_and_without_graph_optimisation(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = []
    session = onnxruntime.InferenceSession

    def noted(model: bytes, options: Any, **keywords: Any) -> Any:
        levels.append(options.graph_optimization_level)
        return session(model, options, **keywords)

    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    to_onnx(pooling.MaxPool2d(2), SHAPE)
    to_onnx_backward(pooling.AvgPool2d(2), SHAPE)
    level = onnxruntime.GraphOptimizationLevel
    assert levels == [level.ORT_ENABLE_ALL, level.ORT_DISABLE_ALL] * 2


def test_an_error_without_text_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **keywords: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(onnxruntime, "InferenceSession", full)
    with pytest.raises(VerificationError, match=r"does not run this model \(MemoryError\); use another opset"):
        to_onnx(pooling.MaxPool2d(2), SHAPE)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [pooling.MaxPool1d, pooling.MinPool1d])
def test_the_first_of_the_least_numbers_is_named(kind: type[Layer], dtype: str) -> None:
    """Before 1.29 onnxruntime names no cell of the window; here that shows in the graph."""
    least = np.finfo(dtype).min * (1 if kind is pooling.MaxPool1d else -1)
    x = np.array([[[0, 1, 2], [least, least, least]]], dtype)
    for special_values in ("finite", "exact"):
        for indices, expected in (("torch", [0, 1]), ("onnx", [3, 4])):
            layer = kind(2, 1, return_indices=True)  # type: ignore[call-arg]
            model = to_onnx(layer, x.shape, dtype=dtype, indices=indices, special_values=special_values)
            assert run(model, x)[1][0, 1].tolist() == expected
            assert "Greater" in operators(model)
    model = to_onnx(pooling.MaxPool2d(2, padding=1, return_indices=True), (1, 1, "H", "W"), dtype=dtype)
    lowest = np.full((1, 1, 4, 3), np.finfo(dtype).min, dtype)
    assert run(model, lowest)[1].ravel().tolist() == [0, 1, 3, 4, 9, 10]
