"""Exported graphs against the layers they come from: run by onnxruntime, checked by onnx, word for word in errors."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import pooling
from pooling.layers import Layer
from pooling.operators import OPERATORS
from tests.conftest import UNIT, Array, assert_same, assert_within

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from pooling.export import lowering, to_onnx  # noqa: E402
from pooling.export.builder import Graph  # noqa: E402

OPSETS = range(7, onnx.defs.onnx_opset_version() + 1)
DTYPES = ("float32", "float64")


def run(model: onnx.ModelProto, x: Array) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # a refused model is an exception; no need to print it as well
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results: list[Array] = session.run(None, {session.get_inputs()[0].name: x})
    return results


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def attributes(model: onnx.ModelProto, operator: str) -> dict[str, Any]:
    (node,) = (node for node in model.graph.node if node.op_type == operator)
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def stages(pool: Layer | pooling.Sequential) -> list[Layer]:
    return [pool] if isinstance(pool, Layer) else list(pool)


# --- what equal means ------------------------------------------------------------------------------------------------


def exact_and_allowed(pool: Layer | pooling.Sequential, x: Array) -> tuple[Array, Array]:
    """Pool in float64, and bound what rounding may change when the same is done in the dtype of `x`.

    A maximum passes the largest error of its window on. A mean of n numbers passes the mean of their errors on, and
    adds at most gamma(n + 4) times the mean of their magnitudes: n - 1 additions, and at most five roundings by
    reciprocals, factors and divisors that are rounded themselves. gamma(n) = n u / (1 - n u) as in Higham, "Accuracy
    and Stability of Numerical Algorithms", chapter 3; the float64 answer adds its own share.
    """
    exact = x.astype(np.float64)
    allowed = np.zeros_like(exact)
    for layer in stages(pool):
        arguments = {key: value for key, value in layer.arguments.items() if key != "return_indices"}
        if "max" in layer.operator:
            plain = type(layer)(**arguments)
            exact, allowed = plain(exact), np.maximum(plain(allowed), 0)
            continue
        if arguments.get("divisor_override"):
            arguments["divisor_override"] = abs(arguments["divisor_override"])
        magnitude = type(layer)(**arguments)
        sizes = layer.axes(exact.shape)
        n = math.prod(axis.kernel_size for axis in sizes) + 4
        gamma = sum(n * UNIT[dtype] / (1 - n * UNIT[dtype]) for dtype in (x.dtype.name, "float64"))
        allowed = magnitude(allowed) + gamma * magnitude(np.abs(exact) + allowed)
        exact = layer(exact)
    return exact, allowed


def check(
    pool: Layer | pooling.Sequential, shape: tuple[int, ...], dtype: str, opset: int | None, x: Array
) -> onnx.ModelProto:
    """Export, let onnx judge the graph, run it, and compare values and indices with what `pool` gives."""
    model = to_onnx(pool, shape, dtype=dtype, opset=opset)
    for node in model.graph.node:
        assert {attribute.name for attribute in node.attribute}.isdisjoint({"ceil_mode", "auto_pad", "storage_order"})
    onnx.checker.check_model(model, full_check=True)
    assert inferred_shapes(model) == [pool.output_shape(shape)] * len(model.graph.output)
    results = run(model, x)
    expected = pool(x)
    if isinstance(expected, tuple):
        assert_same(results[1], expected[1])
        expected = expected[0]
    assert results[0].dtype == dtype
    if all("max" in layer.operator for layer in stages(pool)):
        assert_same(results[0], expected)
    else:
        exact, allowed = exact_and_allowed(pool, x)
        assert_within(results[0], exact, allowed)
        assert_within(expected, exact, allowed)
    return model


def inferred_shapes(model: onnx.ModelProto) -> list[tuple[int | str, ...]]:
    """Let onnx infer the shapes of the outputs, without being told them."""
    untold = onnx.ModelProto()
    untold.CopyFrom(model)
    for output in untold.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(untold, strict_mode=True)
    return [
        tuple(size.dim_param or size.dim_value for size in output.type.tensor_type.shape.dim)
        for output in inferred.graph.output
    ]


# --- random poolings -------------------------------------------------------------------------------------------------


def random_windows(rng: np.random.Generator, dimensions: int) -> tuple[dict[str, Any], list[int]]:
    """Draw arguments that lay windows out, and a size for each axis on which they find a place."""
    kernel = rng.integers(1, 5, dimensions)
    dilation = rng.integers(1, 4, dimensions) if rng.random() < 0.4 else np.ones(dimensions, np.int64)
    reach = dilation * (kernel - 1) + 1
    pairs = [tuple(rng.integers(0, each, 2).tolist()) for each in reach]
    padding = [0, pairs, "same_upper", "same_lower"][rng.choice(4, p=[0.3, 0.5, 0.1, 0.1])]
    declared = pairs if padding == pairs else [(0, 0)] * dimensions
    least = [max(1, each - begin - end) for each, (begin, end) in zip(reach.tolist(), declared, strict=True)]
    arguments = {
        "kernel_size": tuple(kernel.tolist()),
        "stride": tuple(rng.integers(1, 5, dimensions).tolist()) if rng.random() < 0.8 else None,
        "padding": padding,
        "dilation": tuple(dilation.tolist()),
        "ceil_mode": bool(rng.random() < 0.5),
    }
    return arguments, [size + int(rng.integers(0, 6)) for size in least]


def random_layer(rng: np.random.Generator, family: str, dimensions: int) -> tuple[Layer, list[int]]:
    layout = rng.choice(["channels_first", "channels_first", "channels_last"])
    kind = getattr(pooling, f"{family}{dimensions}d")
    if family.startswith("Global"):
        return kind(layout=str(layout)), rng.integers(1, 8, dimensions).tolist()
    arguments, sizes = random_windows(rng, dimensions)
    if family == "MaxPool":
        arguments["return_indices"] = bool(rng.random() < 0.5)
    else:
        arguments["count_include_pad"] = bool(rng.random() < 0.5)
        arguments["divisor_override"] = [None, None, None, 3, -2.5, 0.1][rng.integers(6)]
    return kind(**arguments, layout=str(layout)), sizes


def full_shape(rng: np.random.Generator, layer: Layer, sizes: list[int]) -> tuple[int, ...]:
    """Add channels and, mostly, a batch."""
    batch = [int(rng.integers(1, 4))] if layer.operator.startswith("global") or rng.random() < 0.8 else []
    channels = [int(rng.integers(1, 4))]
    return tuple(batch + (channels + sizes if layer.layout == "channels_first" else sizes + channels))


def random_input(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, *, infinite: bool) -> Array:
    """Draw numbers with many ties, or with none; with infinities where every runtime handles them."""
    x = rng.integers(-3, 4, shape) if rng.random() < 0.5 else rng.normal(size=shape)
    x = x.astype(dtype)
    if infinite:
        x[rng.random(shape) < 0.1] = np.inf
        # In float32, onnxruntime returns the lowest finite number for a window of -inf.
        x[rng.random(shape) < 0.3] = -np.inf if dtype == "float64" else -1.0
    return x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("family", ["MaxPool", "AvgPool", "GlobalMaxPool", "GlobalAvgPool"])
def test_random_layers_equal_their_graphs_in_onnxruntime(family: str, dimensions: int, dtype: str) -> None:
    seen = set()
    for seed in range(15 if family.startswith("Global") else 80):
        rng = np.random.default_rng([seed, dimensions])
        layer, sizes = random_layer(rng, family, dimensions)
        shape = full_shape(rng, layer, sizes)
        # The oldest opset with everything that any of these graphs is made of, the default, and any later one.
        opset = [10, None, int(rng.integers(11, OPSETS.stop))][seed % 3]
        x = random_input(rng, shape, dtype, infinite="Max" in family and seed % 2 == 0)
        seen.update(operators(check(layer, shape, dtype, opset, x)))
    # A generator that no longer reaches a kind of graph would leave it untested.
    gathered = {"Gather", "ReduceSum", "Div", "Pad", "Transpose", "Squeeze", "Unsqueeze"}
    assert (
        seen
        >= {
            ("MaxPool", "float32"): {"MaxPool", "Mod", "Gather", "Where", "Transpose", "Squeeze", "Unsqueeze"},
            ("MaxPool", "float64"): {"MaxPool", "Mod", "Gather", "Where", "Transpose", "Squeeze", "Unsqueeze"},
            ("AvgPool", "float32"): {"AveragePool", "Mul", *gathered},
            ("AvgPool", "float64"): gathered,
            ("GlobalMaxPool", "float32"): {"GlobalMaxPool"},
            ("GlobalMaxPool", "float64"): {"ReduceMax"},
            ("GlobalAvgPool", "float32"): {"GlobalAveragePool"},
            ("GlobalAvgPool", "float64"): {"ReduceMean"},
        }[family, dtype]
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_random_sequences_equal_their_graphs_in_onnxruntime(dimensions: int, dtype: str) -> None:
    for seed in range(25):
        rng = np.random.default_rng([seed, dimensions, 2])
        shape: tuple[int, ...] = ()
        layers: list[Layer] = []
        for family in rng.choice(["MaxPool", "AvgPool", "GlobalMaxPool", "GlobalAvgPool"], rng.integers(1, 4)):
            layer, sizes = random_layer(rng, str(family), dimensions)
            if family == "MaxPool":
                layer.arguments["return_indices"] = False
            shape = shape or full_shape(rng, layer, [size + 8 for size in sizes])
            if len(shape) == dimensions + 1 and layer.operator.startswith("global"):
                continue  # the functions of the global layers take batches only
            try:
                pooling.Sequential(*layers, layer).output_shape(shape)
            except ValueError:
                continue  # what is left of the map is too small
            layers.append(layer)
        check(pooling.Sequential(*layers), shape, dtype, None, random_input(rng, shape, dtype, infinite=False))


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
    assert operators(check(layer, shape, dtype, opset, x)) == expected


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
    model = check(layer, x.shape, "float32", opset, x)
    assert model.opset_import[0].version == opset
    assert run(model, x)[0].shape == (1, 1, 2, 2)


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_gets_means_in_float64(opset: int) -> None:
    layer = pooling.AvgPool3d(3, stride=2, padding=1, dilation=2, count_include_pad=False)
    x = np.random.default_rng(1).normal(size=(1, 2, 7, 6, 5))
    check(layer, x.shape, "float64", opset, x)
    check(pooling.GlobalAvgPool3d(), x.shape, "float64", opset, x)


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
    check(layer, x.shape, "float64", None, x)


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


def test_every_lowering_is_of_the_operator_table() -> None:
    assert set(lowering.LOWERINGS) <= set(OPERATORS)


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
    graph = Graph(18, np.dtype(np.float32))
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
