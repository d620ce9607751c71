"""Random pooling nodes with arrays to run them on, for every operator and opset."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from tests.conftest import Array, dtype_of

SINCE = {
    "MaxPool": (1, 8, 10, 11, 12, 22),
    "AveragePool": (1, 7, 10, 11, 19, 22),
    "LpPool": (1, 2, 11, 18, 22),
    "GlobalMaxPool": (1, 22),
    "GlobalAveragePool": (1, 22),
    "GlobalLpPool": (1, 2, 22),
    "MaxUnpool": (9, 11, 22),
    "MaxRoiPool": (1, 22),
    "RoiAlign": (10, 16, 22),
}
"""The opsets that changed each operator."""
WINDOWED = ("MaxPool", "AveragePool", "LpPool")


def schema(operator: str, opset: int) -> Any:
    return onnx.defs.get_schema(operator, opset, "")


def dtypes(operator: str, opset: int) -> list[str]:
    """Name the dtypes that the first input may have, as NumPy does."""
    names = sorted(str(name)[len("tensor(") : -1] for name in schema(operator, opset).inputs[0].types)
    return [{"float": "float32", "double": "float64"}.get(name, name) for name in names]


def random_opset(rng: np.random.Generator, operator: str) -> int:
    """Draw an opset: as often one that changed the operator as any other."""
    since = SINCE[operator]
    any_opset = rng.integers(since[0], onnx.defs.onnx_opset_version() + 1)
    return int(rng.choice(since) if rng.random() < 0.5 else any_opset)


def random_node(
    rng: np.random.Generator, operator: str, opset: int, dtype: str = "float32"
) -> tuple[onnx.NodeProto, list[Array]]:
    """Draw a node that the standard allows, and its inputs: small integers, of which all sums are exact."""
    if operator in ("MaxRoiPool", "RoiAlign"):
        return _region_node(rng, operator, opset, dtype)
    if operator == "MaxUnpool":
        return _unpool_node(rng, dtype)
    dimensions = int(rng.integers(1, 4))
    if operator.startswith("Global"):
        attributes = _exponent(rng, opset) if operator == "GlobalLpPool" else {}
        return _node(operator, 1, 1, attributes), [_numbers(rng, (2, 3, *rng.integers(1, 7, dimensions)), dtype)]
    attributes, reach = _windows(rng, operator, opset, dimensions)
    known = schema(operator, opset).attributes
    if operator == "LpPool":
        attributes |= _exponent(rng, opset)
    if "count_include_pad" in known:
        attributes["count_include_pad"] = int(rng.integers(2))
    outputs = 2 if operator == "MaxPool" and opset >= 8 and rng.random() < 0.5 else 1
    if outputs == 2 and rng.random() < 0.5:
        attributes["storage_order"] = 1
    x = _numbers(
        rng, (int(rng.integers(1, 3)), int(rng.integers(1, 4)), *(reach + rng.integers(0, 6, dimensions))), dtype
    )
    return _node(operator, 1, outputs, attributes), [x]


def _windows(rng: np.random.Generator, operator: str, opset: int, dimensions: int) -> tuple[dict[str, Any], Array]:
    """Draw the attributes that place windows, and say how far each reaches."""
    known = schema(operator, opset).attributes
    kernel = rng.integers(1, 5, dimensions)
    dilation = rng.integers(1, 4, dimensions) if "dilations" in known and rng.random() < 0.4 else kernel * 0 + 1
    attributes: dict[str, Any] = {"kernel_shape": kernel.tolist()}
    if rng.random() < 0.7:
        attributes["strides"] = rng.integers(1, 5, dimensions).tolist()
    if dilation.max() > 1:
        attributes["dilations"] = dilation.tolist()
    if "ceil_mode" in known and rng.random() < 0.5:
        attributes["ceil_mode"] = 1
    if rng.random() < 0.6:
        attributes["pads"] = rng.integers(0, [*kernel, *kernel]).tolist()
    elif rng.random() < 0.8:
        attributes["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"]))
    return attributes, dilation * (kernel - 1) + 1


def _exponent(rng: np.random.Generator, opset: int) -> dict[str, Any]:
    if rng.random() < 0.2:
        return {}
    return {"p": float(rng.choice([0.5, 1, 1.5, 2, 3])) if opset < 2 else int(rng.integers(1, 5))}


def _unpool_node(rng: np.random.Generator, dtype: str) -> tuple[onnx.NodeProto, list[Array]]:
    """Draw what undoes a max pooling of elements that are all different, with the indices of that pooling."""
    dimensions = int(rng.integers(1, 4))
    kernel = rng.integers(1, 4, dimensions)
    strides = rng.integers(1, 4, dimensions)
    pooled = rng.integers(1, 4, dimensions)
    pads = rng.integers(0, (kernel + 1) // 2)
    usual = (pooled - 1) * strides + kernel - 2 * pads
    sizes = np.maximum(usual + rng.integers(0, strides) * int(rng.integers(2)), 1)
    shape = (int(rng.integers(1, 3)), int(rng.integers(1, 3)), *sizes.tolist())
    indices = np.zeros((*shape[:2], *pooled.tolist()), np.int64)
    for n, c, *window in np.ndindex(indices.shape):
        first = np.maximum(np.array(window) * strides - pads, 0)
        last = np.minimum(np.array(window) * strides - pads + kernel, sizes) - 1
        cell = np.minimum(rng.integers(first, np.maximum(last, first) + 1), sizes - 1)
        indices[(n, c, *window)] = np.ravel_multi_index((n, c, *cell), shape)
    inputs = [_numbers(rng, indices.shape, dtype), indices]
    if (usual < 1).any() or (sizes != usual).any() or rng.random() < 0.3:
        inputs.append(np.array(shape, np.int64))
    attributes = {
        "kernel_shape": kernel.tolist(),
        "strides": strides.tolist(),
        "pads": [*pads.tolist(), *pads.tolist()],
    }
    return _node("MaxUnpool", len(inputs), 1, attributes), inputs


def _region_node(rng: np.random.Generator, operator: str, opset: int, dtype: str) -> tuple[onnx.NodeProto, list[Array]]:
    """Draw regions on a pixel grid that lie inside their maps."""
    shape = (int(rng.integers(1, 4)), int(rng.integers(1, 4)), *(int(size) for size in rng.integers(4, 12, 2)))
    count = int(rng.integers(1, 5))
    scale = float(rng.choice([0.5, 1.0, 2.0]))
    low = rng.integers(0, [shape[3] - 2, shape[2] - 2], (count, 2))
    high = rng.integers(low + 1, [shape[3], shape[2]])
    boxes = np.hstack([low, high]) / scale
    maps = rng.integers(0, shape[0], count)
    size = [int(size) for size in rng.integers(1, 4, 2)]
    x = _numbers(rng, shape, dtype)
    if operator == "MaxRoiPool":
        node = _node(operator, 2, 1, {"pooled_shape": size, "spatial_scale": scale})
        return node, [x, np.column_stack([maps, boxes]).astype(dtype_of(dtype))]
    attributes: dict[str, Any] = {"output_height": size[0], "output_width": size[1], "spatial_scale": scale}
    if rng.random() < 0.7:
        attributes["sampling_ratio"] = int(rng.integers(0, 4))
    if opset >= 16 and rng.random() < 0.7:
        attributes["coordinate_transformation_mode"] = str(rng.choice(["half_pixel", "output_half_pixel"]))
    if rng.random() < 0.3:
        attributes["mode"] = str(rng.choice(["avg", "max"]))
    return _node(operator, 3, 1, attributes), [x, boxes.astype(dtype_of(dtype)), maps.astype(np.int64)]


def _node(operator: str, inputs: int, outputs: int, attributes: dict[str, Any]) -> onnx.NodeProto:
    names = [f"{kind}{number}" for kind, count in (("x", inputs), ("y", outputs)) for number in range(count)]
    return onnx.helper.make_node(operator, names[:inputs], names[inputs:], name="pool", **attributes)


def _numbers(rng: np.random.Generator, shape: Any, dtype: str) -> Array:
    low = 0 if dtype == "uint8" else -4
    return rng.integers(low, 5, shape).astype(dtype_of(dtype))


def model_of(node: onnx.NodeProto, opset: int, inputs: list[Array]) -> onnx.ModelProto:
    """Put a node into a model of its own."""
    taken = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in zip(node.input, inputs, strict=True)
    ]
    kinds = (onnx.helper.np_dtype_to_tensor_dtype(inputs[0].dtype), onnx.TensorProto.INT64)
    unknown = [None] * inputs[0].ndim
    made = [onnx.helper.make_tensor_value_info(*pair, unknown) for pair in zip(node.output, kinds, strict=False)]
    graph = onnx.helper.make_graph([node], "node", taken, made)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
