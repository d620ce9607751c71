"""Graphs of gradients against the layers they come from, and against torch: run by onnxruntime, checked by onnx."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pooling
from pooling.layer import Layer
from pooling.operators import OPERATORS
from tests.conftest import FLOATS, TINY, UNIT, Array, assert_same, assert_within, dtype_of

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from pooling.export import VerificationError, to_onnx, to_onnx_backward  # noqa: E402
from pooling.export.lowering import gradients  # noqa: E402
from pooling.export.lowering.gradients import BACKWARD_LOWERINGS  # noqa: E402
from pooling.export.lowering.inverse_windows import covering_windows, with_padding_index  # noqa: E402
from pooling.export.verification import run_model  # noqa: E402
from tests.exported import (  # noqa: E402
    OPSETS,
    check_model,
    full_shape,
    inferred_shapes,
    operators,
    random_arrays,
    random_layer,
    with_samples,
)

FIRST_OPSETS = {
    "avg_pool": 7,
    "global_avg_pool": 7,
    "adaptive_avg_pool": 7,
    "blur_pool": 7,
    "gem_pool": 9,
    "fractional_max_pool": 16,
    "max_unpool": 11,
    "max_roi_pool": 16,
    "roi_align": 16,
}
"""From here on an operator has a gradient in every case; the others from 10."""
POOLS = 36
"""For each operator."""


def dimensions_of(operator: str) -> tuple[int, ...]:
    regions = OPERATORS[operator].windows == "regions"
    return (2,) if regions else OPERATORS[operator].dimensions or (1, 2, 3)


def result_shape(layer: Layer, shape: tuple[int, ...], others: list[Array]) -> tuple[int, ...]:
    if OPERATORS[layer.operator].windows == "regions":
        return layer.output_shape(shape, regions=len(others[0]))  # type: ignore[call-arg]
    return layer.output_shape(shape)


def fixed(rng: np.random.Generator, layer: Layer, shape: tuple[int, ...]) -> Layer:
    """Give fractional pooling samples, which say where the windows of both directions are."""
    return with_samples(rng, layer, shape) if layer.operator == "fractional_max_pool" else layer


def gradient_of(layer: Layer, *arrays: Array) -> list[Array]:
    """Compute the gradient here, and that of an exponent."""
    with np.errstate(all="ignore"):
        if layer.operator == "gem_pool":
            gradient, exponent = pooling.gem_pool2d_backward(*arrays, **layer.arguments)
            return [gradient, np.array(exponent)]
        return [layer.backward(*arrays)]


def is_exact(layer: Layer) -> bool:
    return OPERATORS[layer.operator].reducer in ("greatest", "smallest", "place")


def assert_close(layer: Layer, arrays: list[Array], result: Array) -> None:
    """Compare with float64 arithmetic, from which a result may differ by the roundings of its own type.

    A cell that n windows hold is n divisions and n - 1 additions of numbers; powers are made in float64, and wrong by
    what the norm is wrong times the exponent.
    """
    dtype = arrays[0].dtype.name
    doubles = [each.astype(np.float64) for each in arrays[:2]]
    exact = gradient_of(layer, *doubles, *arrays[2:])[0]
    doubles[0] = np.abs(doubles[0])
    if "lp" in layer.operator:
        doubles[1] = np.abs(doubles[1])
    if layer.arguments.get("divisor_override"):
        layer = type(layer)(**(layer.arguments | {"divisor_override": abs(layer.arguments["divisor_override"])}))
    magnitude = gradient_of(layer, *doubles, *arrays[2:])[0]
    held, roundings = "float64" if dtype == "float64" else "float32", 1.01
    if is_exact(layer):
        n = gradient_of(layer, np.ones_like(doubles[0]), *doubles[1:], *arrays[2:])[0]
    elif "avg" in layer.operator:
        n = 2 + math.prod(covering_windows(axis).shape[1] for axis in layer.axes(arrays[1].shape))
    elif layer.operator == "roi_align":
        # In the type of the layer, since two samples may be equal there: that is rounded as well.
        roundings = 2
        exact, n = gradient_of(layer, *arrays)[0].astype(np.float64), 400
        held = "float32" if arrays[0].itemsize == 2 else "float64"
    else:
        p = float(layer.arguments.get("norm_type", layer.arguments.get("p", 1)))
        n = 300 + 300 * (0 if math.isinf(p) else max(1, 1 / p) * abs(p - 1))
        held = "float64"
    with np.errstate(all="ignore"):
        once = roundings * (UNIT[dtype] * np.abs(exact) + TINY[dtype])
        allowed = np.nan_to_num(once + 1.1 * n * UNIT[held] * (magnitude + TINY[held]))
        # What the type of the result cannot hold is infinite.
        largest = float(np.finfo(dtype).max) if dtype != "bfloat16" else 3.38953139e38
        exact = np.where(np.isfinite(exact) & (np.abs(exact) > largest), np.copysign(np.inf, exact), exact)
    assert_within(result, exact, allowed)


def check(
    layer: Layer, shape: tuple[int | str, ...], arrays: list[Array], opset: int | None = None, **keywords: Any
) -> onnx.ModelProto:
    """Export without verification, let onnx judge the graph, run it, and compare with the layer."""
    dtype = arrays[0].dtype
    words = {"dtype": dtype, "opset": opset, "special_values": "exact", **keywords}
    model = to_onnx_backward(layer, shape, verify=False, **words)
    check_model(model)
    results = run_model(model, arrays)
    expected = gradient_of(layer, *arrays)
    assert len(results) == len(expected)
    wide = arrays[0].astype(np.float64)
    whole = bool((wide == np.rint(wide)).all())
    if is_exact(layer) and whole:
        assert_same(results[0], expected[0])
    else:
        assert results[0].dtype == dtype
        assert_close(layer, arrays, results[0])
    if len(results) == 2:
        np.testing.assert_allclose(results[1], expected[1], rtol=1e-9, atol=1e-9)
    return model


def random_gradient(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, *, whole: bool) -> Array:
    if whole:
        return rng.integers(-4, 5, shape).astype(dtype_of(dtype))
    gradient = rng.normal(size=shape)
    if rng.random() < 0.3:
        gradient[rng.random(shape) < 0.05] = rng.choice([np.nan, np.inf, -np.inf])
    return gradient.astype(dtype_of(dtype))


# --- random poolings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", BACKWARD_LOWERINGS)
def test_random_layers_equal_their_graphs_in_onnxruntime(operator: str) -> None:
    rng = np.random.default_rng(sum(map(ord, operator)))
    opsets, refused = set(), 0
    for number in range(POOLS):
        dtype = FLOATS[number % 4]
        layer, sizes = random_layer(rng, operator, int(rng.choice(dimensions_of(operator))))
        shape = full_shape(rng, layer, sizes)
        layer = fixed(rng, layer, shape)
        x, *others = random_arrays(rng, layer, shape, dtype)
        result = result_shape(layer, shape, others)
        gradient = random_gradient(rng, result, dtype, whole=is_exact(layer) and number % 3 > 0)
        first = FIRST_OPSETS.get(operator, 10)
        opset = int(rng.choice([each for each in OPSETS if each >= first] if number % 2 else OPSETS))
        names: tuple[int | str, ...] = shape
        if operator != "fractional_max_pool" and len(shape) == layer.dimensions + 2 and rng.random() < 0.4:
            channels = 1 if layer.layout == "channels_first" else len(shape) - 1
            names = tuple({0: "N", channels: "C"}.get(axis, size) for axis, size in enumerate(shape))
        sentence = ""
        try:
            model = check(layer, names, [gradient, x, *others], opset)
        except ValueError as error:
            sentence = str(error)
        if sentence:
            assert "lacks" in sentence
            assert opset < max(first, 13 if dtype == "bfloat16" else 7)
            refused += 1
            continue
        opsets.add(opset)
        (inferred, *_), tensors = inferred_shapes(model), model.graph.input
        assert len(inferred) == len(shape)
        assert all(isinstance(a, str) or a == b for a, b in zip(inferred, shape, strict=True))
        assert [each.name for each in tensors][:2] == ["grad_output", "input"]
    assert refused < POOLS / 2
    assert len(opsets) > 8


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("operator", BACKWARD_LOWERINGS)
def test_verification_agrees(operator: str, dtype: str) -> None:
    rng = np.random.default_rng(sum(map(ord, operator + dtype)))
    for _ in range(2):
        layer, sizes = random_layer(rng, operator, int(rng.choice(dimensions_of(operator))))
        shape = full_shape(rng, layer, sizes)
        to_onnx_backward(fixed(rng, layer, shape), shape, dtype=dtype)


# --- torch -----------------------------------------------------------------------------------------------------------


def torch_cases() -> list[Any]:
    windows = [
        {"kernel_size": 2, "stride": 2, "padding": 0, "ceil_mode": False},
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": False},
        {"kernel_size": 3, "stride": 1, "padding": 1, "ceil_mode": False},
        {"kernel_size": 3, "stride": 2, "padding": 0, "ceil_mode": True},
        {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True},
    ]
    cases: list[Any] = []
    for d in (1, 2, 3):
        for words in windows:
            cases.append((f"max_pool{d}d", {**words, "dilation": 1}))
            cases.append((f"avg_pool{d}d", {**words, "count_include_pad": True}))
            cases.append((f"avg_pool{d}d", {**words, "count_include_pad": False}))
        cases += [(f"adaptive_{kind}_pool{d}d", {"output_size": size}) for kind in ("max", "avg") for size in (1, 3, 5)]
    cases += [
        ("max_pool2d", {"kernel_size": 3, "stride": 1, "padding": 1, "dilation": 2, "ceil_mode": False}),
        ("avg_pool2d", {**windows[1], "count_include_pad": True, "divisor_override": 5}),
        ("lp_pool1d", {"norm_type": 3.0, "kernel_size": 3, "stride": 2, "ceil_mode": False}),
        ("lp_pool2d", {"norm_type": 2.0, "kernel_size": 2, "stride": 2, "ceil_mode": False}),
        ("lp_pool2d", {"norm_type": 1.5, "kernel_size": 3, "stride": 1, "ceil_mode": False}),
    ]
    return cases


@pytest.mark.parametrize(("function", "arguments"), torch_cases())
def test_torch_autograd_agrees(function: str, arguments: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(len(function) + len(str(arguments)))
    names = {name.lower(): name for name in pooling.__all__}
    kind = getattr(pooling, names[function.replace("_", "")])
    shape = (2, 3, *(9, 8, 7)[: int(function[-2])])
    x = np.abs(rng.normal(size=shape)) + 0.1 if function.startswith("lp") else rng.integers(-2, 3, shape) * 1.0
    tensor = torch.tensor(x, requires_grad=True)
    result = getattr(torch.nn.functional, function)(tensor, **arguments)
    gradient = rng.integers(-4, 5, tuple(result.shape)) * 1.0
    result.backward(torch.tensor(gradient))
    found = run_model(to_onnx_backward(kind(**arguments), shape, dtype="float64", verify=False), [gradient, x])[0]
    if "max" in function:
        assert_same(found, tensor.grad.numpy())
    else:
        np.testing.assert_allclose(found, tensor.grad.numpy(), rtol=1e-13, atol=1e-13)


def test_torch_autograd_agrees_for_fractional_pooling_and_unpooling() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, samples = rng.normal(size=(2, 3, 9, 8)), rng.random((2, 3, 2))
    tensor = torch.tensor(x, requires_grad=True)
    result, index = torch.nn.functional.fractional_max_pool2d(
        tensor, (3, 2), (5, 4), return_indices=True, _random_samples=torch.tensor(samples)
    )
    gradient = rng.integers(-4, 5, (2, 3, 5, 4)) * 1.0
    result.backward(torch.tensor(gradient))
    layer = pooling.FractionalMaxPool2d((3, 2), (5, 4), _random_samples=samples)
    model = to_onnx_backward(layer, x.shape, dtype="float64")
    assert_same(run_model(model, [gradient, x])[0], tensor.grad.numpy())

    pooled, index = torch.nn.functional.max_pool2d(torch.tensor(x), 2, return_indices=True)
    pooled = pooled.detach().requires_grad_()
    gradient = rng.normal(size=(2, 3, 8, 8))
    torch.nn.functional.max_unpool2d(pooled, index, 2, output_size=(8, 8)).backward(torch.tensor(gradient))
    model = to_onnx_backward(pooling.MaxUnpool2d(2), tuple(pooled.shape), dtype="float64")
    found = run_model(model, [gradient, pooled.detach().numpy(), index.numpy()])
    assert_same(found[0], pooled.grad.numpy())


# --- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [10, 13, 18, None])
def test_the_first_of_equal_elements_gets_the_gradient(opset: int | None) -> None:
    x = np.array([[[2, 5, 5, 1, np.nan, 7, np.nan, 0]]], np.float32)
    gradient = np.array([[[1, 2, 4, 8]]], np.float32)
    model = to_onnx_backward(pooling.MaxPool1d(3, 2, 1), x.shape, opset=opset, special_values="exact")
    assert run_model(model, [gradient, x])[0].ravel().tolist() == [0, 3, 0, 0, 4, 0, 8, 0]
    model = to_onnx_backward(pooling.MaxPool1d(3, 2, 1, nan="ignore"), x.shape, opset=opset, special_values="exact")
    assert run_model(model, [gradient, x])[0].ravel().tolist() == [0, 3, 0, 0, 0, 12, 0, 0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_scattered_is_equal_but_for_sums_of_many_terms(dtype: str) -> None:
    rng = np.random.default_rng(6)
    for layer in (pooling.MaxPool2d(5, 1, 2), pooling.AdaptiveMaxPool2d((9, 40))):
        x = rng.integers(0, 50, (2, 3, 33, 27)).astype(dtype)
        gradient = rng.normal(size=layer.output_shape(x.shape)).astype(dtype)
        found = run_model(to_onnx_backward(layer, x.shape, dtype=dtype), [gradient, x])[0]
        if dtype == "float64":
            assert_same(found, layer.backward(gradient, x))
        else:
            # The kernels sum more than eight float32 in float64; a graph adds up to 25 of them one by one.
            bound = 25 * 2.0**-24 * layer.backward(np.abs(gradient), x).astype(np.float64)
            assert (np.abs(found.astype(np.float64) - layer.backward(gradient, x)) <= bound).all()


def test_windows_without_any_element_have_no_gradient() -> None:
    layer = pooling.MaxPool1d(2, 1, [(4, 4)], dilation=5)
    x = np.array([[[-np.inf, 3.0]]])
    result = layer(x)
    assert np.isneginf(result).any()
    found = run_model(to_onnx_backward(layer, x.shape, dtype="float64"), [np.ones_like(result), x])
    assert_same(found[0], layer.backward(np.ones_like(result), x))


def test_an_infinite_gradient_reaches_its_own_window_only() -> None:
    gradient = np.array([[[np.inf, 1, np.nan]]], np.float32)
    x = np.arange(6, dtype=np.float32).reshape(1, 1, 6)
    for layer, expected in (
        (pooling.MaxPool1d(2), [0, np.inf, 0, 1, 0, np.nan]),
        (pooling.AvgPool1d(2), [np.inf, np.inf, 0.5, 0.5, np.nan, np.nan]),
        (pooling.LPPool1d(1, 2), [0, np.inf, 1, 1, np.nan, np.nan]),
    ):
        found = run_model(to_onnx_backward(layer, x.shape), [gradient, x])[0]
        np.testing.assert_array_equal(found.ravel(), expected)


@pytest.mark.parametrize("opset", [11, 18, None])
def test_only_the_last_of_equal_indices_has_a_gradient(opset: int | None) -> None:
    x, indices = np.zeros((1, 1, 3), np.float32), np.array([[[4, 1, 4]]])
    gradient = np.arange(6, dtype=np.float32).reshape(1, 1, 6) + 1
    model = to_onnx_backward(pooling.MaxUnpool1d(2), x.shape, opset=opset)
    assert run_model(model, [gradient, x, indices])[0].ravel().tolist() == [0, 2, 5]


@pytest.mark.parametrize("convention", ["torch", "onnx", "onnx_column_major", "tensorflow"])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_unpooling_takes_indices_of_every_convention(convention: str, layout: Any) -> None:
    names = ("N", "C", 3, 4) if layout == "channels_first" else ("N", 3, 4, "C")
    layer = pooling.MaxUnpool2d(2, layout=layout)
    to_onnx_backward(layer, names, indices=convention, output_size=(6, 9))


def test_no_gradient_where_a_norm_is_zero() -> None:
    x = np.array([[[0, 0, 3, -4]]], np.float32)
    model = to_onnx_backward(pooling.LPPool1d(2, 2), x.shape)
    found = run_model(model, [np.ones((1, 1, 2), np.float32), x])[0]
    np.testing.assert_allclose(found.ravel(), [0, 0, 0.6, -0.8], rtol=1e-7)


def test_half_precision_is_rounded_once() -> None:
    # 2048 and 1 are numbers of float16; 2049 and 2050 more than it adds up one by one.
    gradient = np.array([[[2048, 1, 1]]], np.float16)
    x = np.array([[[0, 0, 9, 0, 0]]], np.float16)
    found = run_model(to_onnx_backward(pooling.MaxPool1d(3, 1), x.shape, dtype="float16"), [gradient, x])[0]
    assert found.ravel().tolist() == [0, 0, 2050, 0, 0]


def test_the_exponent_of_the_generalised_mean_has_a_gradient() -> None:
    layer, x = pooling.GeMPool2d(2.0), np.array([[[[1.0, 7.0]]]])
    model = to_onnx_backward(layer, x.shape, dtype="float64")
    found = run_model(model, [np.ones((1, 1, 1, 1)), x])
    np.testing.assert_allclose(found[0], [[[[0.1, 0.7]]]])
    assert [each.name for each in model.graph.output] == ["grad_input", "grad_p"]
    assert found[1].shape == ()
    assert round(float(found[1]), 4) == 0.7439


def test_the_pair_of_graphs_equals_a_difference_quotient() -> None:
    rng = np.random.default_rng(3)
    for layer in (pooling.LPPool2d(3, 3, 2), pooling.GeMPool2d(3.0), pooling.BlurPool2d(3), pooling.AvgPool2d(3, 2, 1)):
        x = rng.random((1, 2, 6, 5)) + 0.5
        forward = to_onnx(layer, x.shape, dtype="float64", verify=False)
        gradient, way = rng.normal(size=layer.output_shape(x.shape)), rng.normal(size=x.shape)
        step = 1e-6
        ends = [float((run_model(forward, [x + sign * step * way])[0] * gradient).sum()) for sign in (1, -1)]
        backward = run_model(to_onnx_backward(layer, x.shape, dtype="float64"), [gradient, x])[0]
        assert math.isclose((ends[0] - ends[1]) / (2 * step), float((backward * way).sum()), rel_tol=1e-6)


# --- graphs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (pooling.AvgPool2d(2), ["Div", "Gather", "Gather"]),
        (pooling.GlobalAvgPool2d(), ["Div", "Gather", "Gather"]),
        (pooling.AvgPool2d(3, 1), ["Div", "Pad", "Gather", "ReduceSum", "Gather", "ReduceSum"]),
        (pooling.BlurPool2d(3), ["Cast", "Pad", *["Gather", "Mul", "ReduceSum"] * 2, "Cast"]),
    ],
)
def test_graph_of_one_layer(layer: Layer, expected: list[str]) -> None:
    assert operators(to_onnx_backward(layer, ("N", 3, 8, 8), verify=False)) == expected


def test_a_promise_of_finite_numbers_leaves_one_pooling() -> None:
    model = to_onnx_backward(pooling.MaxPool2d(3, 2, 1), ("N", "C", 9, 8))
    assert operators(model).count("MaxPool") == 1
    assert "IsNaN" not in operators(model)
    for operator in BACKWARD_LOWERINGS:
        rng = np.random.default_rng(4)
        layer, sizes = random_layer(rng, operator, dimensions_of(operator)[0])
        shape = full_shape(rng, layer, sizes)
        to_onnx_backward(fixed(rng, layer, shape), shape)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_number_of_regions_is_free(count: int) -> None:
    rng = np.random.default_rng(count)
    x = rng.normal(size=(2, 3, 7, 6)).astype(np.float32)
    rois = np.tile(np.array([[0, 1, 5.2, 4]], np.float32), (count, 1)) + rng.random((count, 4)).astype(np.float32)
    maps = rng.integers(0, 2, count)
    gradient = rng.normal(size=(count, 3, 2, 2)).astype(np.float32)
    for mode in ("avg", "max"):
        model = to_onnx_backward(pooling.RoIAlign(2, mode=mode), ("N", "C", 7, 6))
        found = run_model(model, [gradient, x, rois, maps])[0]
        np.testing.assert_allclose(found, pooling.roi_align_backward(gradient, x, rois, maps, 2, mode=mode), rtol=1e-6)
    regions = np.concatenate((maps[:, None].astype(np.float32), rois), 1)
    found = run_model(to_onnx_backward(pooling.MaxRoIPool(2), ("N", "C", 7, 6)), [gradient, x, regions])[0]
    np.testing.assert_allclose(found, pooling.max_roi_pool_backward(gradient, x, regions, 2), rtol=1e-6)


def test_windows_that_do_not_overlap_need_no_sum() -> None:
    # Since opset 16 scattering adds.
    assert "ReduceSum" not in operators(to_onnx_backward(pooling.MaxPool2d(2), ("N", "C", 8, 8), opset=15))
    assert "ReduceSum" in operators(to_onnx_backward(pooling.MaxPool2d(3, 2), ("N", "C", 9, 9), opset=15))
    assert "ScatterElements" in operators(to_onnx_backward(pooling.MaxPool2d(3, 2), ("N", "C", 9, 9), opset=16))


@pytest.mark.parametrize("operator", BACKWARD_LOWERINGS)
def test_every_node_serves_a_result(operator: str) -> None:
    rng = np.random.default_rng(1)
    layer, sizes = random_layer(rng, operator, dimensions_of(operator)[0])
    shape = full_shape(rng, layer, sizes)
    graph = to_onnx_backward(fixed(rng, layer, shape), shape, verify=False).graph
    read = {name for node in graph.node for name in node.input} | {each.name for each in graph.output}
    assert all(read.intersection(node.output) for node in graph.node)
    assert all(each.name in read for each in graph.initializer)
    assert all(node.name.startswith(f"{type(layer).__name__}/backward/") for node in graph.node)


def test_every_operator_with_a_gradient_has_it_as_a_graph() -> None:
    assert {name for name, operator in OPERATORS.items() if operator.gradient_dtypes} == set(BACKWARD_LOWERINGS)


def test_holders_are_the_transposed_windows() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        layer, (size,) = random_layer(rng, str(rng.choice(["max_pool", "adaptive_max_pool"])), 1)
        (axis,) = layer.axes((1, 1, size) if layer.layout == "channels_first" else (1, size, 1))
        table, taps = covering_windows(axis), axis.taps()
        for cell in range(size):
            held = [window for window in range(axis.output_size) if cell in taps[window]]
            assert [window for window in table[cell] if window >= 0] == held
            assert set(with_padding_index(table)[cell][len(held) :]).isdisjoint(held)


def test_doc_string_and_named_axes() -> None:
    model = to_onnx_backward(pooling.MaxPool2d(2, layout="channels_last"), ("N", 9, 8, "C"))
    assert model.graph.doc_string == (
        "Gradient of MaxPool2d(kernel_size=2, layout='channels_last'): (N, 4, 4, C), (N, 9, 8, C) -> (N, 9, 8, C)"
    )
    for batch, channels in ((1, 4), (3, 1), (0, 2)):
        x = np.random.default_rng(0).normal(size=(batch, 9, 8, channels)).astype(np.float32)
        gradient = np.ones((batch, 4, 4, channels), np.float32)
        expected = pooling.max_pool2d_backward(gradient, x, 2, layout="channels_last")
        assert_same(run_model(model, [gradient, x])[0], expected)


def test_the_page_of_gradients_is_made_from_the_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    docs = Path(__file__).resolve().parent.parent / "docs"
    monkeypatch.syspath_prepend(docs)
    made = importlib.import_module("make_onnx_gradients")
    written = (docs / "onnx-gradients.md").read_text(encoding="utf-8")
    assert written == made.page(), "run `python docs/make_onnx_gradients.py`"


# --- verification ----------------------------------------------------------------------------------------------------


def _scaled(lowering: Callable[..., tuple[str, ...]]) -> Callable[..., tuple[str, ...]]:
    def wrong(graph: Any, call: Any, inputs: tuple[str, ...]) -> tuple[str, ...]:
        first, *others = lowering(graph, call, inputs)
        return (graph("Mul", first, np.array(1.00001, graph.dtypes[first])), *others)

    return wrong


@pytest.mark.parametrize("operator", BACKWARD_LOWERINGS)
def test_verification_refuses_a_wrong_graph(operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKWARD_LOWERINGS, operator, _scaled(BACKWARD_LOWERINGS[operator]))
    rng = np.random.default_rng(2)
    layer, sizes = random_layer(rng, operator, dimensions_of(operator)[0])
    shape = full_shape(rng, layer, sizes)
    with pytest.raises(VerificationError, match=r"to_onnx_backward: .* at grad_input\[.*and pooling gives"):
        to_onnx_backward(fixed(rng, layer, shape), shape)


def test_verification_refuses_what_goes_to_another_of_equal_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    def last_first(graph: Any, call: Any, inputs: tuple[str, ...]) -> tuple[str, ...]:
        turned = [
            graph("Gather", each, np.arange(n)[::-1].copy(), axis=2) for each, n in zip(inputs, (4, 8), strict=True)
        ]
        (result,) = gradients.max_pool_backward(graph, call, tuple(turned))
        return (graph("Gather", result, np.arange(8)[::-1].copy(), axis=2),)

    monkeypatch.setitem(BACKWARD_LOWERINGS, "max_pool", last_first)
    with pytest.raises(VerificationError, match="they must be equal"):
        to_onnx_backward(pooling.MaxPool1d(2), (1, 3, 8))


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "sentence"),
    [
        (
            (pooling.Sequential(pooling.MaxPool2d(2)), (1, 3, 8, 8)),
            {},
            TypeError,
            "to_onnx_backward: pool=Sequential(MaxPool2d(kernel_size=2)) must be a Layer, not Sequential; export one "
            "layer at a time",
        ),
        (
            (pooling.MaxPool2d(2), (1, 3, 8, 8)),
            {"dtype": "int8"},
            TypeError,
            "to_onnx_backward: dtype=int8 has no gradient; use one of float16, bfloat16, float32, float64",
        ),
        (
            (pooling.MaxPool2d(2), (1, 3, 8, 8)),
            {"opset": 9},
            ValueError,
            "to_onnx_backward: opset=9 lacks Mod, which this pooling needs; use opset >= 10",
        ),
        (
            (pooling.MaxPool2d(2), (1, 3, 8, 8)),
            {"opset": 7},
            ValueError,
            "to_onnx_backward: opset=7 lacks a second output of MaxPool, which this pooling needs; use opset >= 10",
        ),
        (
            (pooling.MaxPool2d(2), (1, 3, "H", 8)),
            {},
            ValueError,
            "to_onnx_backward: input_shape=(1, 3, 'H', 8) of MaxPool2d has the name 'H' on axis H; spatial sizes must "
            "be integers, since windows become explicit pads",
        ),
        (
            (pooling.RoIAlign(2), (1, 3, 8, 8)),
            {"opset": 15},
            ValueError,
            "to_onnx_backward: opset=15 lacks reduction of ScatterElements, which this pooling needs; use opset >= 16",
        ),
        (
            (pooling.FractionalMaxPool2d(2, 3), (1, 3, 8, 8)),
            {},
            ValueError,
            "to_onnx_backward: _random_samples=None of FractionalMaxPool2d leaves the windows of the forward call "
            "unknown; make the layer with its samples",
        ),
        (
            (pooling.MaxPool2d(2), (1, 3, 8, 8)),
            {"output_size": 4},
            ValueError,
            "to_onnx_backward: output_size=4 is for unpooling only; leave it out for MaxPool2d",
        ),
        (
            (pooling.MaxPool2d(2), (1, 3, 8, 8)),
            {"verify": 1},
            TypeError,
            "to_onnx_backward: verify=1 must be True or False, not int",
        ),
    ],
)
def test_errors(arguments: tuple[Any, ...], keywords: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error) as caught:
        to_onnx_backward(*arguments, **keywords)
    assert str(caught.value) == sentence
