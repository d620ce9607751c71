"""What the tests of the exporter share: random layers of every operator, models in onnxruntime, what equal means."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import pooling
from pooling.layer import Layer
from pooling.operators import OPERATORS
from tests.conftest import FLOATS, TINY, UNIT, Array, assert_same, assert_within, dtype_of

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from pooling.export import to_onnx  # noqa: E402
from pooling.export.verification import run_model  # noqa: E402
from pooling.onnx_models.graph import scopes_of, uses  # noqa: E402

OPSETS = range(7, onnx.defs.onnx_opset_version() + 1)
LAYERS = {
    name: [
        layer
        for layer in (getattr(pooling, each) for each in pooling.__all__)
        if inspect.isclass(layer) and issubclass(layer, Layer) and getattr(layer, "operator", "") == name
    ]
    for name in OPERATORS
}
"""By row of the operator table, its layers."""


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


def random_arguments(rng: np.random.Generator, operator: str, dimensions: int) -> tuple[dict[str, Any], list[int]]:
    """Draw the arguments of a layer, but for its layout, and spatial sizes that suit them."""
    sizes = rng.integers(1, 9, dimensions).tolist()
    one_of = lambda *values: values[rng.integers(len(values))]  # noqa: E731
    flag = bool(rng.random() < 0.5)
    nan = one_of("propagate", "propagate", "ignore")
    exponent = one_of(1, 2, 3, 0.5, 2.7, 11.0, 0.06, math.inf)
    match operator:
        case "max_pool" | "min_pool":
            arguments, sizes = random_windows(rng, dimensions)
            return {**arguments, "return_indices": flag, "nan": nan}, sizes
        case "avg_pool":
            arguments, sizes = random_windows(rng, dimensions)
            divisor = one_of(None, None, None, 3, -2.5, 0.1)
            return {**arguments, "count_include_pad": flag, "divisor_override": divisor}, sizes
        case "lp_pool":
            arguments, sizes = random_windows(rng, dimensions)
            return {**arguments, "norm_type": exponent}, sizes
        case "global_max_pool":
            return {"nan": nan}, sizes
        case "global_lp_pool":
            return {"p": exponent}, sizes
        case "gem_pool":
            return {"p": one_of(1.0, 2, 3.0, 0.4, 20), "eps": one_of(1e-6, 0.5)}, sizes
        case "adaptive_max_pool":
            output = tuple(one_of(1, 2, 3, 7, size, None) for size in sizes)
            return {"output_size": output, "return_indices": flag, "nan": nan}, sizes
        case "adaptive_avg_pool":
            return {"output_size": tuple(one_of(1, 2, 3, 7, size, None) for size in sizes)}, sizes
        case "blur_pool":
            mode = one_of("reflect", "replicate", "zeros")
            kernel = rng.integers(1, 6, dimensions)
            arguments = {"kernel_size": tuple(kernel.tolist()), "stride": one_of(1, 2, 3), "padding_mode": mode}
            return arguments, (kernel + rng.integers(0, 5, dimensions)).tolist()
        case "max_blur_pool":
            mode = one_of("reflect", "replicate", "zeros")
            kernel = rng.integers(1, 4, dimensions)
            arguments = {"kernel_size": tuple(kernel.tolist()), "stride": one_of(1, 2), "padding_mode": mode}
            arguments |= {"blur_kernel_size": one_of(2, 3, 5), "nan": nan}
            return arguments, (kernel + rng.integers(2, 7, dimensions)).tolist()
        case "fractional_max_pool":
            kernel = rng.integers(1, 4, dimensions)
            output = rng.integers(1, 5, dimensions)
            arguments = {"kernel_size": tuple(kernel.tolist()), "output_size": tuple(output.tolist())}
            arguments |= {"return_indices": flag, "rng": np.random.default_rng(int(rng.integers(99)))}
            return arguments, (output + kernel - 1 + rng.integers(0, 4, dimensions)).tolist()
        case "max_unpool":
            return {"kernel_size": one_of(1, 2, 3), "stride": one_of(None, 2)}, sizes
        case "max_roi_pool":
            return {"output_size": (one_of(1, 2, 7), one_of(1, 3)), "spatial_scale": one_of(1.0, 0.25)}, sizes
        case "roi_align":
            arguments = {"output_size": (one_of(1, 2, 5), one_of(1, 3)), "spatial_scale": one_of(1.0, 0.25)}
            arguments |= {"sampling_ratio": one_of(0, 0, 1, 2), "mode": one_of("avg", "max")}
            return {**arguments, "coordinate_transformation_mode": one_of("half_pixel", "output_half_pixel")}, sizes
        case _:
            return {}, sizes


def random_layer(rng: np.random.Generator, operator: str, dimensions: int) -> tuple[Layer, list[int]]:
    """Draw a layer, and spatial sizes that suit it."""
    kind = next(each for each in LAYERS[operator] if each.dimensions == dimensions)
    arguments, sizes = random_arguments(rng, operator, dimensions)
    layouts = OPERATORS[operator].layouts
    if len(layouts) > 1:
        arguments["layout"] = str(rng.choice(["channels_first", *layouts]))
    return kind(**arguments), sizes


def with_samples(rng: np.random.Generator, layer: Layer, shape: tuple[int, ...]) -> Layer:
    """Fix the windows of fractional pooling, so that model and layer have the same."""
    batch = shape[0] if len(shape) == layer.dimensions + 2 else 1
    channels = shape[-1 if layer.layout == "channels_last" else -layer.dimensions - 1]
    samples = rng.random((batch, channels, layer.dimensions))
    return type(layer)(**layer.arguments | {"_random_samples": samples, "rng": None})


def full_shape(rng: np.random.Generator, layer: Layer, sizes: list[int]) -> tuple[int, ...]:
    """Add channels and, mostly, a batch."""
    always = OPERATORS[layer.operator].windows == "regions"
    batch = [int(rng.integers(1, 4))] if always or rng.random() < 0.8 else []
    channels = [int(rng.integers(1, 4))]
    return tuple(batch + (channels + sizes if layer.layout == "channels_first" else sizes + channels))


def random_input(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Draw numbers with many ties, or with none; of floats some are no numbers."""
    if dtype == "bool":
        return rng.random(shape) < 0.4
    if dtype not in FLOATS:
        limits = np.iinfo(dtype)
        ends = np.array([limits.min, limits.max, 1, 0], dtype)
        wide = rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
        return [wide, rng.choice(ends, shape), rng.integers(0, 4, shape).astype(dtype)][rng.integers(3)]
    x = rng.integers(-3, 4, shape) if rng.random() < 0.5 else rng.normal(size=shape)
    x = x.astype(np.float64)
    if rng.random() < 0.6:
        x[rng.random(shape) < 0.1] = np.inf
        x[rng.random(shape) < 0.3] = -np.inf
        x[rng.random(shape) < 0.1] = np.nan
    return x.astype(dtype_of(dtype))


def random_arrays(rng: np.random.Generator, layer: Layer, shape: tuple[int, ...], dtype: str) -> list[Array]:
    """Draw what a layer takes."""
    x = random_input(rng, shape, dtype)
    if layer.operator == "max_unpool":
        restored = layer.output_shape(shape)
        return [x, rng.integers(0, math.prod(restored[layer._spatial(restored)]), shape)]
    if not layer.operator.startswith(("max_roi", "roi")):
        return [x]
    count = 4
    ends = []
    for size in shape[:1:-1]:
        low = rng.integers(-3, 3 * size - 2, count) / 3
        ends.append((low, np.maximum(low, 0) + rng.integers(0, 3 * size, count) / 3))
    boxes = np.stack([ends[0][0], ends[1][0], ends[0][1], ends[1][1]], 1) / layer.arguments["spatial_scale"]
    maps = rng.integers(0, shape[0], count)
    held = np.float64 if dtype == "float64" else np.float32
    if layer.operator == "max_roi_pool":
        return [x, np.concatenate((maps[:, np.newaxis], boxes), 1).astype(held)]
    # A pixel of weight 0 is looked at by runtimes.
    return [np.nan_to_num(x.astype(np.float64), posinf=3, neginf=-3).astype(x.dtype), boxes.astype(held), maps]


# --- what equal means ------------------------------------------------------------------------------------------------


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def inferred_shapes(model: onnx.ModelProto) -> list[tuple[int | str, ...]]:
    """Let onnx infer the shapes of the outputs, without being told them."""
    untold = onnx.ModelProto()
    untold.CopyFrom(model)
    for output in untold.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(untold, strict_mode=True, data_prop=True)
    return [
        tuple(size.dim_param or size.dim_value for size in output.type.tensor_type.shape.dim)
        for output in inferred.graph.output
    ]


def run_in_openvino(model: onnx.ModelProto, arrays: Sequence[Array]) -> list[Array]:
    """Run a model in openvino, in float32 throughout."""
    ov = pytest.importorskip("openvino")
    core = ov.Core()
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", config)
    taken = {name for each in compiled.inputs for name in each.names}  # an input that no node reads is none there
    names = [value.name for value in model.graph.input]
    found = compiled({name: array for name, array in zip(names, arrays, strict=True) if name in taken})
    return [np.array(found[output]) for output in compiled.outputs]


def check_model(model: onnx.ModelProto) -> None:
    """Let onnx judge a model, which must say all about its windows and have names and types throughout."""
    for node in model.graph.node:
        assert {attribute.name for attribute in node.attribute}.isdisjoint({"ceil_mode", "auto_pad", "storage_order"})
        assert node.name
    onnx.checker.check_model(model, full_check=True)


def assert_close(layer: Layer, arrays: list[Array], result: Array, expected: Array) -> None:
    """Compare with float64 arithmetic, from which a result may differ by the roundings of its own type."""
    x, dtype = arrays[0], arrays[0].dtype.name
    exact = layer(x.astype(np.float64), *arrays[1:])
    wide = np.abs(np.where(np.isfinite(exact), exact, 0))
    largest = np.abs(np.where(np.isfinite(x.astype(np.float64)), x, 0).astype(np.float64)).max(initial=0)
    once = UNIT[dtype] * wide + TINY[dtype]
    if "avg" in layer.operator:
        taps = math.prod(axis.kernel_size for axis in layer.axes(x.shape))
        scale = taps / abs(layer.arguments.get("divisor_override") or taps)
        allowed = once + (taps + 6) * UNIT["float64" if dtype == "float64" else "float32"] * largest * scale
    elif layer.operator == "roi_align":
        allowed = once + 400 * UNIT["float64" if dtype == "float64" else "float32"] * largest
    else:
        p = min(1.0, float(layer.arguments.get("norm_type", layer.arguments.get("p", 1))))
        allowed = 1.01 * once + 300 / p * UNIT["float64"] * np.maximum(wide, largest)
    # What the type of the result cannot hold is infinite.
    assert_within(result, np.where(np.isinf(expected.astype(np.float64)), expected, exact).astype(np.float64), allowed)


def check(
    layer: Layer,
    shape: tuple[int | str, ...],
    arrays: list[Array],
    opset: int | None = None,
    special_values: str = "exact",
    **keywords: Any,
) -> onnx.ModelProto:
    """Export without verification, let onnx judge the graph, run it, and compare with the layer."""
    words = {"dtype": arrays[0].dtype, "opset": opset, "special_values": special_values, **keywords}
    model = to_onnx(layer, shape, verify=False, **words)
    check_model(model)
    compare(model, layer, arrays)
    return model


def compare(model: onnx.ModelProto, layer: Layer, arrays: list[Array]) -> None:
    """Run a model, and compare with the layer."""
    x = arrays[0]
    results = run_model(model, arrays)
    expected = layer(*arrays)
    if isinstance(expected, tuple):
        assert_same(results[1], expected[1])
        expected = expected[0]
    assert results[0].dtype == x.dtype
    if x.dtype.name not in FLOATS or OPERATORS[layer.operator].reducer in ("greatest", "smallest", "place"):
        assert_same(results[0], expected)
    else:
        assert_close(layer, arrays, results[0], expected)


def leftovers(model: onnx.ModelProto) -> set[tuple[str, ...]]:
    """Find what nobody reads: nodes, initializers, and records of tensors that are not there."""
    found: set[tuple[str, ...]] = set()
    for scope in scopes_of(model):
        read = uses(scope.container)
        written = {name for node in scope.container.node for name in node.output}
        found |= {
            (scope.path, node.op_type, *node.output)
            for node in scope.container.node
            if not any(read.get(name, 0) for name in node.output if name)
        }
        if isinstance(scope.container, onnx.GraphProto):
            taken = {each.name for each in scope.container.input}
            brought = {each.name for each in scope.container.initializer}
            found |= {(scope.path, "initializer", name) for name in brought - taken if not read.get(name, 0)}
            recorded = {each.name for each in scope.container.value_info}
            found |= {(scope.path, "value_info", name) for name in recorded - written - brought - taken}
    return found
