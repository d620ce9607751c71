"""Layers read from ONNX nodes: what they say, real networks, and random nodes against onnxruntime.

The conformance tests of onnx and onnxruntime are in test_onnx_backend.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pooling
from pooling.layer import Layer
from tests.conftest import UNIT, Array, assert_same, assert_within

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from pooling.export import to_onnx  # noqa: E402
from pooling.onnx_models import POOLING_OPERATORS, layer_from_node  # noqa: E402
from tests.test_export import run  # noqa: E402

NEWEST = onnx.defs.onnx_opset_version()


def node_of(operator: str, *, outputs: int = 1, **attributes: Any) -> onnx.NodeProto:
    return onnx.helper.make_node(operator, ["x"], ["y", "i"][:outputs], name="pool", **attributes)


def answer(node: onnx.NodeProto, opset: int, x: Array) -> list[Array]:
    """Compute a node by the layer read from it; indices in ONNX's convention."""
    result = layer_from_node(node, opset, x.shape)(x)
    if not isinstance(result, tuple):
        return [result]
    value, index = result
    order = next((a.i for a in node.attribute if a.name == "storage_order"), 0)
    if order:
        index = np.ravel_multi_index(np.unravel_index(index, x.shape[2:]), x.shape[2:], order="F")
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * (x.ndim - 2))
    return [value, index + planes * int(np.prod(x.shape[2:]))]


# --- what nodes say --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "shape", "expected"),
    [
        # ONNX's defaults: stride 1, and padding that does not count.
        (node_of("MaxPool", kernel_shape=[3]), (1, 1, 9), pooling.MaxPool1d(3, stride=1)),
        (
            node_of("AveragePool", kernel_shape=[3, 3]),
            (1, 1, 9, 9),
            pooling.AvgPool2d(3, stride=1, count_include_pad=False),
        ),
        (
            node_of("AveragePool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 0], count_include_pad=1),
            (1, 1, 9, 9),
            pooling.AvgPool2d((3, 2), stride=(2, 1), padding=(1, 0)),
        ),
        (
            node_of("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 1, 2, 1], dilations=[2, 1], ceil_mode=1),
            (1, 1, 9, 9),
            pooling.MaxPool2d(3, stride=2, padding=((0, 2), (1, 1)), dilation=(2, 1), ceil_mode=True),
        ),
        (
            node_of("MaxPool", outputs=2, kernel_shape=[2, 2, 2], storage_order=1),
            (1, 1, 4, 4, 4),
            pooling.MaxPool3d(2, stride=1, return_indices=True),
        ),
        (
            onnx.helper.make_node("MaxPool", ["x"], ["y", ""], kernel_shape=[2]),
            (1, 1, 4),
            pooling.MaxPool1d(2, stride=1),
        ),
        (node_of("GlobalMaxPool"), (1, 1, 4), pooling.GlobalMaxPool1d()),
        (node_of("GlobalAveragePool"), (1, 1, 4, 4, 4), pooling.GlobalAvgPool3d()),
        *(
            (
                node_of("MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad=name),
                (1, 1, 9, 9),
                pooling.MaxPool2d(3, stride=2, padding=padding),
            )
            for name, padding in {
                "NOTSET": 0,
                "VALID": "valid",
                "SAME_UPPER": "same_upper",
                "SAME_LOWER": "same_lower",
            }.items()
        ),
        # Both, where they say the same.
        (
            node_of("MaxPool", kernel_shape=[2], auto_pad="SAME_UPPER", pads=[0, 1]),
            (1, 1, 9),
            pooling.MaxPool1d(2, stride=1, padding="same_upper"),
        ),
        (
            node_of("MaxPool", kernel_shape=[2], auto_pad="VALID", pads=[0, 0]),
            (1, 1, 9),
            pooling.MaxPool1d(2, stride=1, padding="valid"),
        ),
    ],
)
def test_layers_of_nodes(node: onnx.NodeProto, shape: tuple[int, ...], expected: Layer) -> None:
    assert layer_from_node(node, 19, shape) == expected


def test_same_padding_counts_the_effective_kernel() -> None:
    node = node_of("MaxPool", kernel_shape=[3], dilations=[2], auto_pad="SAME_UPPER")
    assert layer_from_node(node, 12, (1, 1, 8)).output_shape((1, 1, 8)) == (1, 1, 8)


def test_valid_padding_leaves_ceil_mode_in_force() -> None:
    # So do shape inference and onnxruntime; the formula in the text of the operator says 2.
    node = node_of("MaxPool", kernel_shape=[3], strides=[2], auto_pad="VALID", ceil_mode=1)
    assert layer_from_node(node, 12, (1, 1, 6)).output_shape((1, 1, 6)) == (1, 1, 3)


def test_operators_that_are_understood() -> None:
    names = {"MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"}
    assert names | {"MaxUnpool", "MaxRoiPool", "RoiAlign"} == POOLING_OPERATORS


# --- real networks and random nodes ----------------------------------------------------------------------------------

LIGHT = sorted((Path(onnx.__file__).parent / "backend" / "test" / "data" / "light").glob("light_*.onnx"))


def test_pooling_nodes_of_real_networks() -> None:
    found = 0
    for path in LIGHT:
        model = onnx.shape_inference.infer_shapes(onnx.load(path))
        values = [*model.graph.input, *model.graph.value_info, *model.graph.output]
        shapes = {value.name: [size.dim_value for size in value.type.tensor_type.shape.dim] for value in values}
        for node in model.graph.node:
            if node.op_type in POOLING_OPERATORS:
                layer = layer_from_node(node, model.opset_import[0].version, shapes[node.input[0]])
                assert list(layer.output_shape(shapes[node.input[0]])) == shapes[node.output[0]], (path.name, node.name)
                found += 1
    assert (len(LIGHT), found) == (9, 54)


def random_node(rng: np.random.Generator, operator: str, opset: int) -> tuple[onnx.NodeProto, tuple[int, ...]]:
    """Draw a node as onnxruntime takes it, with the attributes of its opset."""
    dimensions = int(rng.integers(1, 4))
    kernel = rng.integers(1, 5, dimensions)
    dilated = opset >= (10 if operator == "MaxPool" else 19) and rng.random() < 0.4
    dilation = rng.integers(1, 4, dimensions) if dilated else np.ones(dimensions, np.int64)
    attributes: dict[str, Any] = {"kernel_shape": kernel.tolist()}
    if rng.random() < 0.7:
        attributes["strides"] = rng.integers(1, 5, dimensions).tolist()
    if dilated:
        attributes["dilations"] = dilation.tolist()
    if opset >= 10 and rng.random() < 0.5:
        attributes["ceil_mode"] = 1
    if operator == "AveragePool" and opset >= 7:
        attributes["count_include_pad"] = int(rng.integers(2))
    if rng.random() < 0.5:
        attributes["pads"] = rng.integers(0, [*kernel, *kernel]).tolist()
    elif not dilated and (kernel >= attributes.get("strides", 1)).all():
        # onnxruntime ignores dilations in auto_pad, and finds padding below 0 where windows lie apart.
        attributes["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"]))
    outputs = 2 if operator == "MaxPool" and opset >= 8 and rng.random() < 0.5 else 1
    if outputs == 2 and rng.random() < 0.5:
        attributes["storage_order"] = 1
    reach = dilation * (kernel - 1) + 1
    sizes = (reach + rng.integers(0, 6, dimensions)).tolist()
    return node_of(operator, outputs=outputs, **attributes), (2, 3, *sizes)


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_random_nodes_equal_onnxruntime(operator: str) -> None:
    for seed in range(200):
        rng = np.random.default_rng(seed)
        opset = int(rng.choice([7, 8, 10, 11, 12, 18, 19, 22, NEWEST]))
        node, shape = random_node(rng, operator, opset)
        x = rng.integers(-3, 4, shape).astype(np.float32)
        if operator == "MaxPool" and len(shape) == 5 and "storage_order" in {a.name for a in node.attribute}:
            continue  # column-major in a volume: onnxruntime swaps the last two axes only
        graph = onnx.helper.make_graph(
            [node],
            "node",
            [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
            [
                onnx.helper.make_tensor_value_info(name, kind, None)
                for name, kind in zip(node.output, (onnx.TensorProto.FLOAT, onnx.TensorProto.INT64), strict=False)
            ],
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
        value, *index = run(model, x)
        result, *own_index = answer(node, opset, x)
        for own, other in zip(own_index, index, strict=True):
            assert_same(own, other)
        if operator == "MaxPool":
            assert_same(result, value)
            continue
        # Sums of such small integers are exact; what differs is the rounding of a division, or of two by a reciprocal.
        assert_within(value, result.astype(np.float64), 3 * UNIT["float32"] * np.abs(result).astype(np.float64))


def test_exported_layers_are_read_back() -> None:
    for layer in (
        pooling.MaxPool2d(3, 2, 1, return_indices=True),
        pooling.MaxPool2d((3, 2), 1, ((0, 1), (1, 0)), dilation=2),
        pooling.AvgPool2d(3, 2, 1),
        pooling.AvgPool2d(2, 1, count_include_pad=False),
        pooling.GlobalMaxPool2d(),
        pooling.GlobalAvgPool2d(),
    ):
        model = to_onnx(layer, (1, 3, 9, 9))
        assert layer_from_node(model.graph.node[0], model.opset_import[0].version, (1, 3, 9, 9)) == layer


# --- errors ----------------------------------------------------------------------------------------------------------

KNOWN = "AveragePool, GlobalAveragePool, GlobalLpPool, GlobalMaxPool, LpPool, MaxPool, MaxRoiPool, MaxUnpool, RoiAlign"
KERNEL = {"kernel_shape": [2, 2]}
MAP = (1, 1, 4, 4)
MAX = "layer_from_node: MaxPool node 'pool'"
AVERAGE = "layer_from_node: AveragePool node 'pool'"


def broken(change: Any, operator: str = "MaxPool", **attributes: Any) -> onnx.NodeProto:
    node = node_of(operator, **(attributes or KERNEL))
    change(node)
    return node


@pytest.mark.parametrize(
    ("node", "opset", "shape", "sentence"),
    [
        (
            node_of("Conv", **KERNEL),
            19,
            MAP,
            f"layer_from_node: Conv node 'pool' is not understood; known are {KNOWN}",
        ),
        (
            broken(lambda node: setattr(node, "domain", "com.example")),
            19,
            MAP,
            f"{MAX} of domain 'com.example' is not understood; known are {KNOWN}",
        ),
        (
            onnx.helper.make_node("MaxPool", ["x"], ["stem/pool_1"]),
            19,
            MAP,
            "layer_from_node: MaxPool node with output 'stem/pool_1': kernel_shape is missing; give one integer per "
            "spatial axis",
        ),
        (
            node_of("MaxPool", **KERNEL),
            0,
            MAP,
            f"{MAX}: opset=0 must be at least 1; read it from the model's opset_import",
        ),
        (
            node_of("MaxPool", **KERNEL),
            19,
            (4, 4),
            f"{MAX}: input_shape=(4, 4) has 2 axes; it must have 3 to 5: batch, channels and one to three spatial axes",
        ),
        (
            node_of("MaxPool", kernel_shape=[2]),
            19,
            MAP,
            f"{MAX}: kernel_shape=[2] must have one integer per spatial axis, 2 and not 1",
        ),
        (
            node_of("MaxPool", **KERNEL, strides=[2, 2, 2]),
            19,
            MAP,
            f"{MAX}: strides=[2, 2, 2] must have one integer per spatial axis, 2 and not 3",
        ),
        (
            node_of("MaxPool", **KERNEL, dilations=[2]),
            19,
            MAP,
            f"{MAX}: dilations=[2] must have one integer per spatial axis, 2 and not 1",
        ),
        (
            node_of("MaxPool", **KERNEL, pads=[1, 1]),
            19,
            MAP,
            f"{MAX}: pads=[1, 1] must have two integers per spatial axis, 4 and not 2",
        ),
        (
            node_of("MaxPool", **KERNEL, auto_pad="SAME"),
            19,
            MAP,
            f"{MAX}: auto_pad='SAME' is not a known name; use NOTSET, SAME_UPPER, SAME_LOWER, VALID, or pads",
        ),
        (node_of("MaxPool", **KERNEL, ceil_mode=7), 19, MAP, f"{MAX}: ceil_mode=7 must be 0 or 1"),
        (node_of("MaxPool", **KERNEL, storage_order=2), 19, MAP, f"{MAX}: storage_order=2 must be 0 or 1"),
        (
            node_of("AveragePool", **KERNEL, count_include_pad=-1),
            19,
            MAP,
            f"{AVERAGE}: count_include_pad=-1 must be 0 or 1",
        ),
        (
            node_of("AveragePool", **KERNEL, dilations=[2, 2]),
            18,
            MAP,
            f"{AVERAGE}: attribute 'dilations' does not exist in opset 18; known are auto_pad, ceil_mode, "
            "count_include_pad, kernel_shape, pads, strides",
        ),
        (
            node_of("GlobalMaxPool", **KERNEL),
            19,
            MAP,
            "layer_from_node: GlobalMaxPool node 'pool': attribute 'kernel_shape' does not exist in opset 19; known "
            "are none",
        ),
        (
            broken(lambda node: node.attribute.append(node.attribute[0])),
            19,
            MAP,
            f"{MAX}: attribute 'kernel_shape' is given twice; keep one of them",
        ),
        (
            node_of("MaxPool", kernel_shape=2),
            19,
            MAP,
            f"{MAX}: kernel_shape has type INT; it must be INTS",
        ),
        (
            broken(lambda node: setattr(node.attribute[0], "ref_attr_name", "size")),
            19,
            MAP,
            f"{MAX}: kernel_shape refers to the function attribute 'size', which has no value here; inline the "
            "function first",
        ),
        (
            broken(lambda node: node.input.append("y")),
            19,
            MAP,
            f"{MAX}: inputs=['x', 'y'] must be one tensor; name exactly one",
        ),
        (
            broken(lambda node: node.ClearField("input")),
            19,
            MAP,
            f"{MAX}: inputs=[] must be one tensor; name exactly one",
        ),
        (
            node_of("MaxPool", outputs=2, **KERNEL),
            7,
            MAP,
            f"{MAX}: outputs=['y', 'i'] must be one in opset 7; name no more and no fewer",
        ),
        (
            broken(lambda node: node.output.extend(["i", "j"])),
            8,
            MAP,
            f"{MAX}: outputs=['y', 'i', 'j'] must be 1 to 2 in opset 8; name no more and no fewer",
        ),
        # What the windows themselves forbid.
        (
            node_of("MaxPool", kernel_shape=[2, 0]),
            19,
            MAP,
            f"{MAX}: kernel_size=(2, 0) must be at least 1 on axis W, not 0",
        ),
        (
            node_of("MaxPool", kernel_shape=[5, 2]),
            19,
            MAP,
            f"{MAX}: kernel_size=(5, 2) finds no window on axis H: the effective kernel size is 5 and the padded input "
            "0 + 4 + 0 = 4; the smallest input that works is 5",
        ),
        (
            node_of("MaxPool", **KERNEL, pads=[0, 0, 2, 0]),
            19,
            MAP,
            f"{MAX}: padding=((0, 2), (0, 0)) must be smaller than the effective kernel size 2 on axis H; "
            "use padding <= 1",
        ),
        (
            node_of("GlobalMaxPool"),
            19,
            (1, 1, 0),
            "layer_from_node: GlobalMaxPool node 'pool': spatial axis 0 of the input has size 0; global pooling needs "
            "at least 1 cell",
        ),
    ],
)
def test_errors(node: onnx.NodeProto, opset: int, shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        layer_from_node(node, opset, shape)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("MaxPool", 19, MAP), "layer_from_node: node must be an onnx.NodeProto, not str"),
        ((node_of("MaxPool"), "19", MAP), "layer_from_node: opset='19' must be an integer, not str"),
        ((node_of("MaxPool"), True, MAP), "layer_from_node: opset=True must be an integer, not bool"),
        (
            (node_of("MaxPool"), 19, None),
            "layer_from_node: input_shape=None must be a sequence of integers; None is of type NoneType",
        ),
    ],
)
def test_wrong_kinds(arguments: Any, sentence: str) -> None:
    with pytest.raises(TypeError) as caught:
        layer_from_node(*arguments)
    assert str(caught.value) == sentence
