"""Exported graphs against the layers they come from: run by onnxruntime, checked by onnx, word for word in errors."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import pooling
from pooling.layers import Layer
from pooling.operators import OPERATORS
from tests.conftest import FLOATS, UNIT, Array, assert_same
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
)

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from pooling.export import lowering, to_onnx  # noqa: E402
from pooling.export.builder import Graph  # noqa: E402
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
    lacking: set[str] = set()
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
        try:
            model = check(layer, shape, arrays, opset)
        except ValueError as error:
            lacking.add(str(error))
            assert opset not in (13, None) or "cannot divide" in str(error) or "RoiAlign" in str(error)
            continue
        ran += 1
        if row.windows != "regions":
            assert inferred_shapes(model) == [layer.output_shape(shape)] * len(model.graph.output)
    assert ran > FORMS * 2 // 3
    assert all(" lacks " in sentence or " cannot divide " in sentence for sentence in lacking)


def with_samples(rng: np.random.Generator, layer: Layer, shape: tuple[int, ...]) -> Layer:
    """Fix the windows of fractional pooling, so that model and layer have the same."""
    batch = shape[0] if len(shape) == layer.dimensions + 2 else 1
    channels = shape[-1 if layer.layout == "channels_last" else -layer.dimensions - 1]
    samples = rng.random((batch, channels, layer.dimensions))
    return type(layer)(**layer.arguments | {"_random_samples": samples, "rng": None})


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_random_sequences_are_verified(dimensions: int) -> None:
    single = [name for name, row in OPERATORS.items() if row.windows not in ("regions", "named", "fractional")]
    stages = 0
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
                layer.arguments["return_indices"] = False
            shape = shape or full_shape(rng, layer, [size + 8 for size in sizes])
            try:
                pooling.Sequential(*layers, layer).output_shape(shape)
            except ValueError:
                continue  # what is left of the map is too small
            layers.append(layer)
        stages += len(layers)
        if layers:
            check_model(to_onnx(pooling.Sequential(*layers), shape, dtype=dtype))
    assert stages > 25


# --- which graph -----------------------------------------------------------------------------------------------------

WIDE = {"kernel_size": 2, "dilation": 3, "padding": 3}
GATHERED_MEAN = ["Gather", "ReduceSum", "Gather", "ReduceSum", "Div"]


@pytest.mark.parametrize(
    ("layer", "dtype", "opset", "expected"),
    [
        (pooling.MaxPool2d(3, 2, 1), "float32", None, ["MaxPool"]),
        (pooling.MaxPool2d(3, 2, 1, ceil_mode=True), "float32", 7, ["MaxPool"]),
        (pooling.MaxPool2d(3, 2, 1, return_indices=True), "float64", None, ["MaxPool", "Mod"]),
        (pooling.MaxPool2d(3, dilation=2), "float32", 9, ["Gather", "Gather", "MaxPool"]),
        (pooling.MaxPool2d(3, dilation=2), "float32", 10, ["MaxPool"]),
        (pooling.MaxPool2d(**WIDE), "float32", None, ["Gather", "Gather", "MaxPool"]),
        (pooling.AvgPool2d(3, 2, 1), "float32", 7, ["AveragePool"]),
        (pooling.AvgPool2d(3, 2, 1, True), "float32", None, ["Pad", "AveragePool"]),
        (pooling.AvgPool2d(3, 2, 1, True, False), "float32", None, ["AveragePool"]),
        (pooling.AvgPool2d(3, divisor_override=5), "float32", None, ["AveragePool", "Mul"]),
        (pooling.AvgPool2d(3, dilation=2), "float32", 18, GATHERED_MEAN),
        (pooling.AvgPool2d(3, dilation=2), "float32", 19, ["AveragePool"]),
        (pooling.AvgPool2d(**WIDE), "float32", None, ["Pad", *GATHERED_MEAN]),
        (pooling.AvgPool2d(3), "float64", None, GATHERED_MEAN),
        (pooling.AvgPool2d(2, padding=1, count_include_pad=False), "float64", 7, [
            "Pad", "Gather", "ReduceSum", "Gather", "ReduceSum", "Mul", "Div",
        ]),
        (pooling.GlobalMaxPool2d(), "float32", None, ["GlobalMaxPool"]),
        (pooling.GlobalMaxPool2d(), "float64", None, ["ReduceMax"]),
        (pooling.GlobalAvgPool2d(), "float32", None, ["GlobalAveragePool"]),
        (pooling.GlobalAvgPool2d(), "float64", 13, ["ReduceMean"]),
        (pooling.MaxPool2d(2, layout="channels_last"), "float32", None, ["Transpose", "MaxPool", "Transpose"]),
    ],
)  # fmt: skip
def test_graph_of_one_layer(layer: Layer, dtype: str, opset: int | None, expected: list[str]) -> None:
    shape = (2, 9, 8, 3) if layer.layout == "channels_last" else (2, 3, 9, 8)
    x = np.random.default_rng(1).normal(size=shape).astype(dtype)
    assert operators(check(layer, shape, [x], opset)) == expected


def test_layers_of_one_layout_share_their_transposes() -> None:
    layers = [pooling.MaxPool2d(2, layout="channels_last"), pooling.AvgPool2d(2, layout="channels_last")]
    pool = pooling.Sequential(*layers, pooling.GlobalMaxPool2d())
    x = np.random.default_rng(1).normal(size=(1, 8, 9, 3)).astype(np.float32)
    model = check(pool, x.shape, "float32", None, x)
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
        ("0_AvgPool2d/Pad", "The padding that counts."),
        (
            "0_AvgPool2d/AveragePool",
            "AvgPool2d(kernel_size=3, stride=2, padding=1, ceil_mode=True): the pads are what ceil_mode touches beyond "
            "the padding; they do not count.",
        ),
        ("1_MaxPool2d/MaxPool", "MaxPool2d(kernel_size=2, return_indices=True)"),
        ("1_MaxPool2d/Mod", "ONNX counts over the whole tensor, the layer in each plane."),
    ]
    assert [constant.name for constant in model.graph.initializer] == ["0_AvgPool2d/Pad/pads", "1_MaxPool2d/Mod/B"]
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


# --- errors ----------------------------------------------------------------------------------------------------------


class Unknown(pooling.MaxPool2d):
    operator = "median_pool"


NEWEST = f"{OPSETS.stop - 1}, the newest that onnx {onnx.__version__} knows"
MAX = pooling.MaxPool2d(2)
SHAPE = (1, 1, 4, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ((2, SHAPE), TypeError, "to_onnx: pool=2 must be a Layer or a Sequential, not int"),
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
            (MAX, ("N", 3, 8, "W")),
            ValueError,
            "to_onnx: input_shape=('N', 3, 8, 'W') of MaxPool2d has the name 'W' on axis W; spatial sizes must be "
            "integers, since windows become explicit pads",
        ),
        (
            (pooling.Sequential(MAX, pooling.MaxPool2d(2, layout="channels_last")), ("N", "C", 4, 4)),
            ValueError,
            "to_onnx: input_shape=('N', 'C', 2, 2) of MaxPool2d has the name 'C' on axis H; spatial sizes must be "
            "integers, since windows become explicit pads",
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


@pytest.mark.parametrize(
    ("layer", "keywords", "error", "sentence"),
    [
        (MAX, {"dtype": None}, TypeError, "to_onnx: dtype=None is no NumPy dtype; use float32 or float64"),
        (MAX, {"dtype": "real"}, TypeError, "to_onnx: dtype='real' is no NumPy dtype; use float32 or float64"),
        (MAX, {"dtype": np.int8}, TypeError, "to_onnx: dtype=int8 cannot be exported; use float32 or float64"),
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
            pooling.AvgPool2d(2, divisor_override=1e-300),
            {},
            ValueError,
            "to_onnx: divisor_override=1e-300 needs the constant 4e+300, which float32 cannot hold; "
            "use dtype=numpy.float64 or another divisor",
        ),
        (
            pooling.AvgPool2d(**WIDE, divisor_override=1e-42),
            {},
            ValueError,
            "to_onnx: divisor_override=1e-42 needs the constant 1e-42, which float32 cannot hold; "
            "use dtype=numpy.float64 or another divisor",
        ),
    ],
)
def test_errors_of_keywords(layer: Layer, keywords: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error) as caught:
        to_onnx(layer, SHAPE, **keywords)
    assert str(caught.value) == sentence


def test_an_attribute_that_an_opset_lacks() -> None:
    graph = Graph(18)
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
        layer, sizes = random_layer(np.random.default_rng([seed, dimensions]), "AvgPool", dimensions)
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
