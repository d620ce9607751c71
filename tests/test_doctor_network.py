"""ONNX models as networks: shapes as shape inference and onnxruntime have them, and files that are wrong."""

from __future__ import annotations

import copy
import io
import random
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pooling
from pooling.doctor import Network, NetworkError, OpenShapeError, read, read_graph

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
backend_test = pytest.importorskip("onnx.backend.test")

helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto
Array = NDArray[Any]
LIGHT = sorted((Path(backend_test.__file__).parent / "data" / "light").glob("light_*.onnx"))
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def node(operator: str, inputs: Sequence[str] | str, outputs: Sequence[str] | str, **attributes: Any) -> Any:
    def names(given: Sequence[str] | str) -> list[str]:
        return given.split() if isinstance(given, str) else list(given)

    return helper.make_node(operator, names(inputs), names(outputs), **attributes)


def model(
    nodes: Sequence[Any],
    shape: Sequence[int | str] | None = (1, 4, 16, 16),
    *,
    opset: int = 19,
    outputs: Sequence[str] = ("y",),
    inputs: Sequence[Any] = (),
    **weights: Array,
) -> Any:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape), *inputs],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def floats(*shape: int) -> Array:
    return np.ones(shape, np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def tensors(network: Network, proto: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the first outputs of all stages, by the names of tensors."""
    first = {each.name: each.output[0] for each in proto.graph.node if each.name}
    return {first.get(stage.name, stage.name): stage.output_shape for stage in network.stages}


def run(proto: Any, input_shape: Sequence[int], names: Sequence[str]) -> list[tuple[int, ...]]:
    """Run a model at an input size, and return the shapes that some tensors really have."""
    proto = copy.deepcopy(proto)
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    del proto.graph.value_info[:]
    weights = {each.name for each in proto.graph.initializer}
    (image,) = [each for each in proto.graph.input if each.name not in weights]
    image.CopyFrom(helper.make_tensor_value_info(image.name, image.type.tensor_type.elem_type, list(input_shape)))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(None, {image.name: np.zeros(tuple(input_shape), np.float32)})
    return [result.shape for result in results]


# ---------------------------------------------------------------------------------------------------------------------
# Real networks


def test_there_are_nine_light_models() -> None:
    assert len(LIGHT) == 9


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_shapes_equal_shape_inference(path: Path) -> None:
    network = read(path)
    proto = onnx.shape_inference.infer_shapes(onnx.load(path), data_prop=True)
    known = {
        each.name: tuple(size.dim_value for size in each.type.tensor_type.shape.dim)
        for each in (*proto.graph.value_info, *proto.graph.output)
    }
    found = tensors(network, proto)
    assert found == {name: known[name] for name in found}
    assert all(not stage.note for stage in network.stages)
    assert all(stage.kind != "unknown" for stage in network.stages)
    # Nothing is left out that data passes through.
    passed = {network.input_name}
    for each in proto.graph.node:
        if not passed.isdisjoint(each.input):
            passed.add(each.output[0])
    assert set(found) == passed - {network.input_name}


SIZES = {
    "light_densenet121": [(1, 3, 64, 64), (1, 3, 97, 71)],
    "light_inception_v1": [(1, 3, 224, 224)],
    "light_inception_v2": [(1, 3, 224, 224)],
    "light_resnet50": [(1, 3, 224, 224), (1, 3, 223, 195)],
    "light_shufflenet": [(1, 3, 224, 224)],
    "light_squeezenet": [(1, 3, 224, 224), (2, 3, 65, 97), (1, 3, 31, 40)],
    "light_zfnet512": [(1, 3, 224, 224)],
}


@pytest.mark.parametrize("name", SIZES)
def test_shapes_are_those_that_onnxruntime_returns(name: str) -> None:
    (path,) = (path for path in LIGHT if path.stem == name)
    proto = onnx.load(path)
    graph = read_graph(proto)
    for size in SIZES[name]:
        found = tensors(graph.infer(size), proto)
        assert run(proto, size, list(found)) == list(found.values())


@pytest.mark.parametrize("name", ["light_inception_v2", "light_shufflenet", "light_vgg19", "light_zfnet512"])
def test_a_size_that_onnxruntime_refuses_is_refused_where_it_fails(name: str) -> None:
    (path,) = (path for path in LIGHT if path.stem == name)
    proto = onnx.load(path)
    graph = read_graph(proto)
    with pytest.raises(NetworkError) as error:
        graph.infer((1, 3, 256, 256))
    failing = graph.infer().stage(error.value.stage)
    assert failing.operator in ("Reshape", "Gemm")
    assert str(error.value).startswith(f"stage {failing.name!r} ({failing.operator}): its input ")
    # Up to there the model runs.
    names = list(tensors(graph.infer(), proto))
    with pytest.raises(Exception, match=r"(?i)shape|dimension|reshape|gemm"):
        run(proto, (1, 3, 256, 256), names[-1:])


def exported(module: Any, channels: int) -> Any:
    """Export a torch module with open sizes, which fills the graph with arithmetic on shapes."""
    torch = pytest.importorskip("torch")
    file = io.BytesIO()
    axes = {"image": {0: "N", 2: "H", 3: "W"}}
    image = torch.zeros((1, channels, 32, 48))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), (image,), file, dynamo=False, opset_version=17, input_names=["image"], dynamic_axes=axes
        )
    return onnx.load_model_from_string(file.getvalue())


def torch_modules() -> dict[str, tuple[int, Any]]:
    torch = pytest.importorskip("torch")
    nn, f = torch.nn, torch.nn.functional

    class UNet(nn.Module):  # type: ignore[misc, name-defined]
        """Skip connections that meet at whatever size they have."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Conv2d(*size, 3, padding=1) for size in ((3, 8), (8, 16), (16, 32)))
            self.d, self.e = nn.Conv2d(48, 8, 3, padding=1), nn.Conv2d(16, 2, 3, padding=1)

        def forward(self, x: Any) -> Any:
            a = f.softplus(self.a(x))
            b = f.softplus(self.b(f.avg_pool2d(a, 2)))
            c = f.softplus(self.c(f.avg_pool2d(b, 2)))
            d = self.d(torch.cat([f.interpolate(c, size=b.shape[2:], mode="bilinear"), b], 1))
            return self.e(torch.cat([f.interpolate(d, size=a.shape[2:]), a], 1))

    class Excited(nn.Module):  # type: ignore[misc, name-defined]
        """Squeeze-and-excitation, then a pixel shuffle."""

        def __init__(self) -> None:
            super().__init__()
            self.c, self.f, self.g = nn.Conv2d(3, 16, 3, 2, 1), nn.Linear(16, 4), nn.Linear(4, 16)
            self.s, self.o = nn.PixelShuffle(2), nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: Any) -> Any:
            c = self.c(x)
            weights = torch.sigmoid(self.g(f.relu(self.f(c.mean((2, 3))))))
            return self.o(self.s(c * weights.view(x.shape[0], -1, 1, 1)))

    class Shuffled(nn.Module):  # type: ignore[misc, name-defined]
        """Channels shuffled and split, global pooling, a linear layer."""

        def __init__(self) -> None:
            super().__init__()
            self.c, self.d = nn.Conv2d(4, 8, 3, padding=1, groups=2), nn.Conv2d(8, 8, 3, 2, 1)
            self.p, self.h = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 5)

        def forward(self, x: Any) -> Any:
            c = self.c(x)
            n, channels, h, w = c.shape
            c = c.view(n, 2, channels // 2, h, w).transpose(1, 2).reshape(n, channels, h, w)
            a, b = c.chunk(2, 1)
            return self.h(torch.flatten(self.p(self.d(torch.cat([a, b * 2], 1))), 1))

    class Detector(nn.Module):  # type: ignore[misc, name-defined]
        """Two resolutions flattened into one list of boxes."""

        def __init__(self) -> None:
            super().__init__()
            self.c, self.d = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 6, 3, 2, 1)

        def forward(self, x: Any) -> Any:
            c = self.c(x)
            maps = (c, self.d(c))
            return torch.cat([m.permute(0, 2, 3, 1).reshape(m.shape[0], -1, 3) for m in maps], 1).softmax(-1)

    return {"u-net": (3, UNet()), "excited": (3, Excited()), "shuffled": (4, Shuffled()), "detector": (3, Detector())}


@pytest.mark.parametrize("name", ["u-net", "excited", "shuffled", "detector"])
def test_models_that_torch_exports(name: str) -> None:
    channels, module = torch_modules()[name]
    proto = exported(module, channels)
    for size in ((1, channels, 32, 48), (2, channels, 33, 47)):
        network = read(proto, size)
        found = tensors(network, proto)
        assert run(proto, size, list(found)) == list(found.values())
        assert all(stage.kind != "unknown" and not stage.note for stage in network.stages)


def test_the_field_of_a_u_net_is_the_one_that_gradients_measure() -> None:
    torch = pytest.importorskip("torch")
    channels, module = torch_modules()["u-net"]
    graph = read_graph(exported(module, channels))
    field = graph.infer((1, channels, 64, 96)).stages[-1].receptive_field
    assert field is not None
    image = torch.zeros((1, channels, 64, 96), requires_grad=True)
    output = module(image)
    extents = []
    for row in range(28, 36):
        (gradient,) = torch.autograd.grad(output[0, 0, row, row + 16], image, retain_graph=True)
        rows, columns = np.nonzero(gradient[0].abs().sum(0).numpy())
        extents.append((rows.max() - rows.min() + 1, columns.max() - columns.min() + 1))
    assert field.size == tuple(map(max, zip(*extents, strict=True)))
    assert field.stride == (1, 1)
    assert field.aligned
    assert not graph.infer((1, channels, 33, 47)).stages[-1].receptive_field.aligned  # type: ignore[union-attr]


def test_context_and_pixel_shuffle_in_a_torch_model() -> None:
    channels, module = torch_modules()["excited"]
    field = read(exported(module, channels), (1, channels, 32, 48)).stages[-1].receptive_field
    assert field is not None
    assert (field.size, field.stride, field.context) == ((5, 5), (1, 1), True)


def test_quantized_operators() -> None:
    zero, one = np.array(0, np.uint8), np.array(1.0, np.float32)
    proto = model(
        [
            node("QuantizeLinear", "x one zero", "q"),
            node("QLinearConv", "q one zero w one zero one zero", "c", strides=[2, 2]),
            node("MaxPool", "c", "p", kernel_shape=[2, 2], strides=[2, 2]),
            node("DequantizeLinear", "p one zero", "y"),
        ],
        zero=zero,
        one=one,
        w=np.ones((6, 4, 3, 3), np.uint8),
    )
    network = read(proto)
    found = tensors(network, proto)
    assert run(proto, (1, 4, 16, 16), list(found)) == list(found.values())
    _, conv, pool, last = network.stages
    assert (conv.macs, conv.parameters, conv.output_bytes) == (49 * 6 * 36, 216, 49 * 6)
    assert (pool.output_bytes, last.output_bytes) == (9 * 6, 9 * 6 * 4)


# ---------------------------------------------------------------------------------------------------------------------
# Operators


SINGLE: dict[str, Callable[[], Any]] = {
    "Conv": lambda: model([node("Conv", "x w", "y", strides=[2, 1], pads=[1, 0, 2, 3])], w=floats(6, 4, 3, 5)),
    "Conv dilated": lambda: model([node("Conv", "x w", "y", dilations=[2, 3])], w=floats(6, 4, 3, 3)),
    "Conv SAME_UPPER": lambda: model(
        [node("Conv", "x w", "y", auto_pad="SAME_UPPER", strides=[3, 2])], w=floats(6, 4, 4, 3)
    ),
    "Conv VALID": lambda: model([node("Conv", "x w", "y", auto_pad="VALID")], w=floats(6, 4, 4, 3)),
    "Conv groups": lambda: model([node("Conv", "x w", "y", group=2)], w=floats(6, 2, 1, 1)),
    "Conv large pads": lambda: model([node("Conv", "x w", "y", pads=[3, 3, 3, 3])], w=floats(6, 4, 1, 1)),
    "Conv 1-D": lambda: model([node("Conv", "x w", "y")], (1, 4, 9), w=floats(6, 4, 3)),
    "Conv 3-D": lambda: model([node("Conv", "x w", "y")], (1, 4, 9, 8, 7), w=floats(6, 4, 3, 3, 3)),
    "ConvTranspose": lambda: model(
        [node("ConvTranspose", "x w", "y", strides=[2, 3], pads=[1, 0, 1, 2], output_padding=[1, 0])],
        w=floats(4, 5, 4, 3),
    ),
    "ConvTranspose output_shape": lambda: model(
        [node("ConvTranspose", "x w", "y", strides=[2, 2], output_shape=[33, 32])], w=floats(4, 5, 3, 3)
    ),
    "ConvTranspose SAME": lambda: model(
        [node("ConvTranspose", "x w", "y", strides=[2, 3], auto_pad="SAME_LOWER")], w=floats(4, 5, 3, 3)
    ),
    "MaxPool ceil": lambda: model([node("MaxPool", "x", "y", kernel_shape=[3, 3], strides=[3, 2], ceil_mode=1)]),
    "MaxPool ceil, late window": lambda: model(
        [node("MaxPool", "x", "y", kernel_shape=[3, 3], strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1)], (1, 4, 5, 5)
    ),
    "MaxPool two outputs": lambda: model([node("MaxPool", "x", "y i", kernel_shape=[2, 2])]),
    "AveragePool opset 7": lambda: model([node("AveragePool", "x", "y", kernel_shape=[3, 2])], opset=7),
    "AveragePool SAME": lambda: model(
        [node("AveragePool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER")]
    ),
    "LpPool": lambda: model([node("LpPool", "x", "y", kernel_shape=[3, 3])], opset=11),
    "GlobalMaxPool": lambda: model([node("GlobalMaxPool", "x", "y")]),
    "GlobalAveragePool": lambda: model([node("GlobalAveragePool", "x", "y")]),
    "ReduceMean opset 11": lambda: model([node("ReduceMean", "x", "y", axes=[2, 3])], opset=11),
    "ReduceMean": lambda: model([node("ReduceMean", "x a", "y", keepdims=0)], a=ints(-1, -2)),
    "ReduceMax of channels": lambda: model([node("ReduceMax", "x a", "y")], a=ints(1), opset=18),
    "ReduceSum of all": lambda: model([node("ReduceSum", "x", "y")]),
    "Resize scales": lambda: model([node("Resize", ["x", "", "s"], "y")], s=np.array([1, 1, 1.7, 0.6], np.float32)),
    "Resize sizes": lambda: model([node("Resize", ["x", "", "", "s"], "y")], s=ints(1, 4, 21, 5)),
    "Resize axes": lambda: model(
        [node("Resize", ["x", "", "", "s"], "y", axes=[2, 3], keep_aspect_ratio_policy="not_larger")], s=ints(24, 40)
    ),
    "Resize opset 10": lambda: model([node("Resize", "x s", "y")], opset=10, s=np.array([1, 1, 2, 3], np.float32)),
    "Upsample opset 9": lambda: model([node("Upsample", "x s", "y")], opset=9, s=np.array([1, 1, 2, 3], np.float32)),
    "Upsample opset 7": lambda: model([node("Upsample", "x", "y", scales=[1.0, 1.0, 2.0, 2.0])], opset=7),
    "DepthToSpace": lambda: model([node("DepthToSpace", "x", "y", blocksize=2)]),
    "SpaceToDepth": lambda: model([node("SpaceToDepth", "x", "y", blocksize=4)]),
    "Slice": lambda: model(
        [node("Slice", "x a b c d", "y")], a=ints(1, -3), b=ints(-1, -100), c=ints(2, 3), d=ints(3, -1)
    ),
    "Slice opset 9": lambda: model([node("Slice", "x", "y", starts=[2, 3], ends=[9, 2**31], axes=[2, 3])], opset=9),
    "Pad": lambda: model([node("Pad", "x p", "y")], p=ints(0, 0, 1, 2, 0, 0, 3, -4)),
    "Pad axes": lambda: model([node("Pad", ["x", "p", "", "a"], "y")], p=ints(1, 2), a=ints(-1)),
    "Pad opset 2": lambda: model([node("Pad", "x", "y", pads=[0, 0, 1, 1, 0, 0, 1, 1])], opset=9),
    "Concat": lambda: model([node("Relu", "x", "r"), node("Concat", "x r", "y", axis=-3)]),
    "Concat along H": lambda: model([node("Relu", "x", "r"), node("Concat", "x r x", "y", axis=2)]),
    "Split": lambda: model([node("Split", "x s", "y z", axis=1)], s=ints(1, 3), outputs=("y", "z")),
    "Split opset 11": lambda: model([node("Split", "x", "y z", axis=1)], opset=11, outputs=("y", "z")),
    "Split num_outputs": lambda: model([node("Split", "x", "y z v", axis=3, num_outputs=3)], outputs=("y", "z", "v")),
    "Flatten": lambda: model([node("Flatten", "x", "y", axis=-1)]),
    "Flatten 0": lambda: model([node("Flatten", "x", "y", axis=0)]),
    "Reshape": lambda: model([node("Reshape", "x s", "y")], s=ints(0, 2, -1, 16)),
    "Squeeze": lambda: model([node("Squeeze", "x a", "y")], (1, 4, 1, 16), a=ints(2)),
    "Squeeze opset 11": lambda: model([node("Squeeze", "x", "y")], (1, 4, 1, 16), opset=11),
    "Unsqueeze": lambda: model([node("Unsqueeze", "x a", "y")], a=ints(-1, 2)),
    "Transpose": lambda: model([node("Transpose", "x", "y")]),
    "Expand": lambda: model([node("Expand", "x s", "y")], (1, 4, 1, 16), s=ints(3, 1, 5, 1)),
    "Tile": lambda: model([node("Tile", "x s", "y")], s=ints(1, 2, 3, 1)),
    "Gather": lambda: model([node("Gather", "x i", "y", axis=1)], i=np.array([[0, 1], [2, 3]])),
    "Gather one": lambda: model([node("Gather", "x i", "y", axis=-1)], i=np.array(3)),
    "Gemm": lambda: model([node("Gemm", "x w b", "y", transB=1)], (3, 8), w=floats(5, 8), b=floats(5)),
    "MatMul": lambda: model([node("MatMul", "x w", "y")], w=floats(16, 9)),
    "MatMul batches": lambda: model([node("MatMul", "x w", "y")], w=floats(2, 1, 16, 9)),
    "MatMul of a row": lambda: model([node("MatMul", "x w", "y")], w=floats(16)),
    "Add broadcast": lambda: model([node("Add", "x w", "y")], w=floats(3, 1, 1, 16)),
    "Sum of three": lambda: model([node("Relu", "x", "r"), node("Sum", "x r x", "y")]),
    "PRelu": lambda: model([node("PRelu", "x w", "y")], w=floats(4, 1, 1)),
    "Where": lambda: model([node("Greater", "x x", "c"), node("Where", "c x x", "y")]),
    "ArgMax": lambda: model([node("ArgMax", "x", "y", axis=1, keepdims=0)]),
    "LayerNormalization": lambda: model([node("LayerNormalization", "x w", "y")], w=floats(16)),
    "InstanceNormalization": lambda: model([node("InstanceNormalization", "x w w", "y")], w=floats(4)),
    "Softmax": lambda: model([node("Softmax", "x", "y", axis=1)]),
    "Cast": lambda: model([node("Cast", "x", "y", to=TensorProto.FLOAT16)]),
    "Einsum": lambda: model([node("Einsum", "x x", "y", equation="nchw,ncvw->nhv")]),
    "CumSum": lambda: model([node("CumSum", "x a", "y")], a=np.array(1)),
    "TopK": lambda: model([node("TopK", "x k", "y i")], k=ints(3)),
    "MaxUnpool": lambda: model(
        [
            node("MaxPool", "x", "p i", kernel_shape=[2, 2], strides=[2, 2]),
            node("MaxUnpool", "p i", "y", kernel_shape=[2, 2], strides=[2, 2]),
        ],
    ),
    "MaxUnpool output_shape": lambda: model(
        [
            node("MaxPool", "x", "p i", kernel_shape=[2, 3], strides=[2, 3]),
            node("MaxUnpool", "p i s", "y", kernel_shape=[2, 3], strides=[2, 3]),
        ],
        s=ints(1, 4, 16, 16),
    ),
    "RoiAlign": lambda: model(
        [node("RoiAlign", "x boxes batches", "y", output_height=3, output_width=5)],
        boxes=np.array([[0, 0, 8, 8], [1, 2, 9, 9]], np.float32),
        batches=ints(0, 0),
    ),
    "MaxRoiPool": lambda: model(
        [node("MaxRoiPool", "x boxes", "y", pooled_shape=[3, 5])], boxes=np.array([[0, 0, 0, 8, 8]], np.float32)
    ),
    "MatMulInteger": lambda: model(
        [node("QuantizeLinear", "x one zero", "q"), node("MatMulInteger", "q w", "y")],
        one=np.array(1.0, np.float32),
        zero=np.array(0, np.uint8),
        w=np.ones((16, 7), np.uint8),
    ),
    "GroupNormalization": lambda: model(
        [node("GroupNormalization", "x w w", "y", num_groups=2)], opset=21, w=floats(4)
    ),
    "size arithmetic": lambda: model(
        [
            node("Conv", "x w", "c", strides=[2, 2], pads=[1, 1, 1, 1]),
            node("Shape", "x", "shape"),
            node("Slice", "shape two four", "size"),
            node("Shape", "c", "other"),
            node("Slice", "other zero two", "front"),
            node("Concat", "front size", "whole", axis=0),
            node("Resize", ["c", "", "", "whole"], "u", mode="linear"),
            node("Add", "u x", "y"),
        ],
        w=floats(4, 4, 3, 3),
        zero=ints(0),
        two=ints(2),
        four=ints(4),
    ),
    "flatten by arithmetic": lambda: model(
        [
            node("Shape", "x", "shape"),
            node("Gather", "shape first", "batch"),
            node("Unsqueeze", "batch zero", "b"),
            node("Constant", [], "rest", value_ints=[-1]),
            node("Concat", "b rest", "target", axis=0),
            node("Reshape", "x target", "y"),
        ],
        (3, 4, 5, 6),
        first=np.array(0),
        zero=ints(0),
    ),
    "half the size": lambda: model(
        [
            node("Shape", "x", "shape", start=2),
            node("Div", "shape two", "half"),
            node("Cast", "half", "float", to=FLOAT),
            node("Floor", "float", "floor"),
            node("Cast", "floor", "int", to=INT64),
            node("Shape", "x", "front", end=2),
            node("Concat", "front int", "whole", axis=0),
            node("Resize", ["x", "", "", "whole"], "y"),
        ],
        (1, 4, 17, 9),
        two=ints(2),
    ),
}


@pytest.mark.parametrize("name", SINGLE)
def test_operators(name: str) -> None:
    proto = SINGLE[name]()
    shape = [size.dim_value for size in proto.graph.input[0].type.tensor_type.shape.dim]
    network = read(proto)
    found = tensors(network, proto)
    assert "y" in found
    assert run(proto, shape, list(found)) == list(found.values())
    assert all(stage.kind != "unknown" or stage.note for stage in network.stages)


def test_the_kind_of_every_operator() -> None:
    kinds = {name: read(make()).stages[-1].kind for name, make in SINGLE.items()}
    assert {name for name, kind in kinds.items() if kind == "unknown"} == set()
    assert kinds["ReduceMean"] == kinds["ReduceMean opset 11"] == kinds["GlobalMaxPool"] == "global"
    assert kinds["Slice"] == kinds["Split"] == "slice"
    assert kinds["Resize sizes"] == kinds["DepthToSpace"] == "resize"
    assert kinds["Sum of three"] == kinds["Concat"] == "merge"
    assert kinds["Add broadcast"] == kinds["PRelu"] == kinds["ReduceMax of channels"] == "elementwise"


def test_layers_of_pooling_nodes() -> None:
    (stage,) = read(SINGLE["MaxPool ceil, late window"]()).stages
    assert stage.layer == pooling.MaxPool2d(3, stride=3, padding=1, ceil_mode=True)
    assert stage.output_shape == (1, 4, 2, 2)
    (stage,) = read(SINGLE["AveragePool SAME"]()).stages
    assert stage.layer == pooling.AvgPool2d(3, stride=2, padding="same_lower", count_include_pad=False)
    (stage,) = read(SINGLE["ReduceMean"]()).stages
    assert stage.layer == pooling.GlobalAvgPool2d()
    assert stage.axes[0].kernel_size == 16


def test_dropped_rows_and_columns() -> None:
    proto = model(
        [node("MaxPool", "x", "p", kernel_shape=[2, 2], strides=[2, 2]), node("Conv", "p w", "y", strides=[2, 3])],
        (1, 4, 17, 16),
        w=floats(4, 4, 1, 1),
    )
    pool, conv = read(proto).stages
    assert pool.dropped == (1, 0)
    assert conv.dropped == (1, 1)
    (up,) = read(SINGLE["ConvTranspose"]()).stages
    assert up.dropped == ()
    assert up.axes[0].input_size == up.output_shape[2]


def test_random_chains_equal_onnxruntime() -> None:
    for seed in range(40):
        rng = random.Random(seed)
        nodes, weights, last = [], {}, "x"
        for number in range(rng.randint(2, 6)):
            name, kernel = f"t{number}", [rng.randint(1, 4), rng.randint(1, 4)]
            pads = [rng.randint(0, size - 1) for size in kernel * 2]
            stride = [rng.randint(1, 3), rng.randint(1, 3)]
            match rng.choice(["Conv", "MaxPool", "AveragePool", "ConvTranspose"]):
                case "Conv":
                    weights[f"w{number}"] = floats(4, 4, *kernel)
                    nodes.append(node("Conv", f"{last} w{number}", name, strides=stride, pads=pads))
                case "ConvTranspose":
                    weights[f"w{number}"] = floats(4, 4, *kernel)
                    nodes.append(node("ConvTranspose", f"{last} w{number}", name, strides=stride))
                case operator:
                    ceil = rng.randint(0, 1)
                    nodes.append(
                        node(operator, last, name, kernel_shape=kernel, strides=stride, pads=pads, ceil_mode=ceil)
                    )
            last = name
        nodes.append(node("Relu", last, "y"))
        shape = (1, 4, rng.randint(20, 60), rng.randint(20, 60))
        proto = model(nodes, shape, opset=22, **weights)
        try:
            found = tensors(read(proto), proto)
        except NetworkError:
            continue  # too small
        assert run(proto, shape, list(found)) == list(found.values())


# ---------------------------------------------------------------------------------------------------------------------
# What is no stage, what has no name, what is not known


def test_names() -> None:
    proto = model(
        [
            helper.make_node("Relu", ["x"], ["a"], name="act"),
            helper.make_node("Relu", ["a"], ["b"], name="act"),
            helper.make_node("Relu", ["b"], ["c"]),
            helper.make_node("Relu", ["c"], ["y"], name="x"),
        ]
    )
    network = read(proto)
    assert [stage.name for stage in network.stages] == ["act", "b", "c", "y"]
    assert [stage.inputs for stage in network.stages] == [("x",), ("act",), ("b",), ("c",)]
    assert network.outputs == ("y",)
    assert network.opset == 19
    assert (network.name, network.input_name) == ("g", "x")


def test_an_unknown_operator_is_passed_over() -> None:
    proto = model(
        [
            node("Conv", "x w", "c"),
            helper.make_node("Mystery", ["c"], ["m"], domain="com.example", flavour="sour"),
            node("Relu", "m", "y"),
        ],
        w=floats(4, 4, 3, 3),
    )
    conv, mystery, relu = read(proto).stages
    assert conv.output_shape == (1, 4, 14, 14)
    assert (mystery.kind, mystery.operator) == ("unknown", "com.example.Mystery")
    assert mystery.output_shape == relu.output_shape == ()
    assert mystery.note == "passed over: com.example.Mystery is not known here; nor is its shape"
    assert relu.note == "passed over: the value or shape of 'm' is not known; nor is its shape"
    assert relu.receptive_field is None


def test_an_unknown_operator_whose_shape_the_model_records() -> None:
    proto = model(
        [
            helper.make_node("Mystery", ["x"], ["m"], domain="com.example"),
            node("MaxPool", "m", "y", kernel_shape=[2, 2], strides=[2, 2]),
        ]
    )
    proto.graph.value_info.append(helper.make_tensor_value_info("m", FLOAT, [1, 8, 16, 16]))
    graph = read_graph(proto)
    network = graph.infer()
    assert [stage.output_shape for stage in network.stages] == [(1, 8, 16, 16), (1, 8, 8, 8)]
    assert [stage.receptive_field for stage in network.stages] == [None, None]
    # What is recorded holds for the size that it was recorded at.
    assert [stage.output_shape for stage in graph.infer((1, 4, 18, 18)).stages] == [(), ()]


def test_functions_are_put_in_line() -> None:
    body = [node("Conv", "a w", "b", pads=[1, 1, 1, 1]), node("Relu", "b", "c")]
    function = helper.make_function("local", "Block", ["a", "w"], ["c"], body, [helper.make_opsetid("", 19)])
    proto = model(
        [helper.make_node("Block", ["x", "w"], ["h"], domain="local"), node("MaxPool", "h", "y", kernel_shape=[2, 2])],
        w=floats(40, 4, 3, 3),
    )
    proto.functions.append(function)
    proto.opset_import.append(helper.make_opsetid("local", 1))
    network = read(proto)
    assert [stage.operator for stage in network.stages] == ["Conv", "Relu", "MaxPool"]
    assert network.stages[-1].output_shape == (1, 40, 15, 15)
    assert network.stages[0].parameters == 40 * 36


def test_the_branch_that_a_constant_chooses() -> None:
    inner = helper.make_graph([node("Relu", "x", "r")], "inner", [], [helper.make_tensor_value_info("r", FLOAT, None)])
    proto = model(
        [
            helper.make_node("If", ["flag"], ["i"], then_branch=inner, else_branch=inner),
            node("Relu", "i", "y"),
        ],
        flag=np.array(True),
    )
    inside, taken, relu = read(proto).stages
    assert [each.operator for each in (inside, taken, relu)] == ["Relu", "Identity", "Relu"]
    assert relu.inputs == (taken.name,)
    assert relu.output_shape == (1, 4, 16, 16)


def test_other_inputs() -> None:
    mask = helper.make_tensor_value_info("mask", FLOAT, ["N", 1, "H", "W"])
    proto = model([node("Mul", "x mask", "y")], ("N", 4, "H", "W"), inputs=[mask])
    network = read(proto, (2, 4, 9, 9))
    (stage,) = network.stages
    assert stage.inputs == ("x", "mask")
    assert stage.output_shape == (2, 4, 9, 9)
    assert network.notes == ("shapes and fields are those of 'x'; other inputs are mask",)


def test_channels_last_input() -> None:
    proto = model(
        [node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Conv", "t w", "y", strides=[2, 2])],
        (1, 16, 20, 4),
        w=floats(6, 4, 3, 3),
    )
    network = read(proto)
    assert network.spatial == (1, 2)
    conv = network.stages[-1]
    assert conv.receptive_field is not None
    assert conv.receptive_field.size == (3, 3)
    assert conv.output_size == (7, 9)


def test_edited_onnx() -> None:
    proto = model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1], strides=[2, 2]),
            helper.make_node(
                "MaxPool", ["c"], ["y"], name="pool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"
            ),
        ],
        (1, 4, 17, 17),
        w=floats(8, 4, 3, 3),
    )
    graph = read_graph(proto)
    network = graph.infer()
    assert network.stage("pool").output_shape == (1, 8, 5, 5)
    other = graph.edited({"conv": {"stride": 1}, "pool": {"padding": 0, "kernel_size": 3}}).infer()
    assert other.stage("conv").output_shape == (1, 8, 17, 17)
    assert other.stage("pool").output_shape == (1, 8, 8, 8)
    assert graph.edited({"conv": {"kernel_size": 5, "padding": 2}}).infer().stage("conv").macs == 9 * 9 * 8 * 4 * 25
    assert network.stage("pool").output_shape == (1, 8, 5, 5)


# ---------------------------------------------------------------------------------------------------------------------
# Open sizes


def test_an_open_batch_is_one() -> None:
    assert read(model([node("Relu", "x", "y")], ("N", 4, 8, 8))).input_shape == (1, 4, 8, 8)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        (
            ("N", 3, "H", "W"),
            "g: its input 'x' leaves sizes open in Nx3xHxW; give --input-shape 1x3x224x224 (in Python: "
            "input_shape=(1, 3, 224, 224))",
        ),
        (
            (None, None, None, 64),
            "g: its input 'x' leaves sizes open in ?x?x?x64; give --input-shape 1x3x224x64 (in Python: "
            "input_shape=(1, 3, 224, 64))",
        ),
        (
            None,
            "g: its input 'x' has no shape in the model; give --input-shape 1x3x224x224 (in Python: "
            "input_shape=(1, 3, 224, 224))",
        ),
    ],
)
def test_open_sizes_are_asked_for(shape: Any, sentence: str) -> None:
    proto = model([node("Relu", "x", "y")], shape)
    with pytest.raises(OpenShapeError) as error:
        read(proto)
    assert str(error.value) == sentence
    assert len(error.value.shape) == (4 if shape else 0)
    assert read(proto, (1, 3, 10, 10)).stages[0].output_shape == (1, 3, 10, 10)


def test_shapes_of_another_rank() -> None:
    with pytest.raises(NetworkError) as error:
        read(model([node("Relu", "x", "y")], ("N", 3, "H", "W")), (1, 3, 10))
    assert str(error.value) == ("g: input_shape=(1, 3, 10) has 3 axes, but the input 'x' of the model has 4: Nx3xHxW")
    with pytest.raises(NetworkError) as error:
        read(model([node("Relu", "x", "y")]), (1, 3, 0, 10))
    assert str(error.value) == (
        "g: input_shape=(1, 3, 0, 10) must have at least one axis and no size 0; give one such as 1x3x224x224"
    )
    with pytest.raises(NetworkError) as error:
        read(model([node("Relu", "x", "y")]), (1, 3, -1, 10))
    assert str(error.value) == "g: input_shape=(1, 3, -1, 10) must not have negative sizes"


# ---------------------------------------------------------------------------------------------------------------------
# Hostile models


def pool(**attributes: Any) -> Any:
    return model([node("MaxPool", "x", "y", **attributes)])


def with_attribute(proto: Any, attribute: Any, place: int = 0) -> Any:
    proto.graph.node[place].attribute.append(attribute)
    return proto


def twice() -> Any:
    return with_attribute(pool(kernel_shape=[2, 2]), helper.make_attribute("kernel_shape", [3, 3]))


def conv(shape: Sequence[int] = (4, 4, 3, 3), **attributes: Any) -> Any:
    return model([node("Conv", "x w", "y", **attributes)], w=floats(*shape))


def initialized(tensor: Any) -> Any:
    proto = model([node("Conv", "x w", "y")])
    proto.graph.initializer.append(tensor)
    return proto


def recursive() -> Any:
    proto = model([helper.make_node("F", ["x"], ["y"], domain="local")])
    for name, other in (("F", "G"), ("G", "F")):
        body = [helper.make_node(other, ["a"], ["b"], domain="local")]
        imports = [helper.make_opsetid("", 19), helper.make_opsetid("local", 1)]
        proto.functions.append(helper.make_function("local", name, ["a"], ["b"], body, imports))
    proto.opset_import.append(helper.make_opsetid("local", 1))
    return proto


def sequence_input() -> Any:
    proto = model([node("SequenceAt", "s i", "y")], i=np.array(0))
    del proto.graph.input[:]
    proto.graph.input.append(helper.make_tensor_sequence_value_info("s", FLOAT, [1, 3, 8, 8]))
    return proto


def without_imports() -> Any:
    proto = pool(kernel_shape=[2, 2])
    del proto.opset_import[:]
    proto.opset_import.append(helper.make_opsetid("com.example", 1))
    return proto


def misspelt(before: bytes, after: bytes) -> Any:
    proto = model([node("LeakyRelu", "x", "tensor", alpha=0.5), node("Relu", "tensor", "y")])
    wrong = onnx.ModelProto()
    wrong.ParseFromString(proto.SerializeToString().replace(before, after))
    return wrong


HOSTILE: dict[str, tuple[Callable[[], Any], str]] = {
    "no kernel_shape": (pool, "stage 'y' (MaxPool): kernel_shape is missing; MaxPool needs it"),
    "kernel_shape twice": (twice, "stage 'y' (MaxPool): attribute 'kernel_shape' is given twice; keep one of them"),
    "kernel_shape of floats": (
        lambda: pool(kernel_shape=[2.0, 2.0]),
        "stage 'y' (MaxPool): kernel_shape has type FLOATS; it must be INTS",
    ),
    "kernel_shape a string": (
        lambda: pool(kernel_shape="2x2"),
        "stage 'y' (MaxPool): kernel_shape has type STRING; it must be INTS",
    ),
    "kernel_shape of 0": (
        lambda: pool(kernel_shape=[0, 2]),
        "stage 'y' (MaxPool): kernel_size=(0, 2) must be at least 1 on axis H, not 0",
    ),
    "kernel_shape of no axis": (
        lambda: with_attribute(
            pool(), onnx.AttributeProto(name="kernel_shape", type=onnx.AttributeProto.AttributeType.INTS)
        ),
        "stage 'y' (MaxPool): kernel_shape=[] must have 1 to 3 integers, one per spatial axis, not 0",
    ),
    "an attribute that is none": (
        lambda: pool(kernel_shape=[2, 2], color=3),
        "stage 'y' (MaxPool): attribute 'color' does not exist in opset 19; known are auto_pad, ceil_mode, dilations, "
        "kernel_shape, pads, storage_order, strides",
    ),
    "one stride for two axes": (
        lambda: pool(kernel_shape=[2, 2], strides=[2]),
        "stage 'y' (MaxPool): strides=[2] must have one integer per spatial axis, 2 and not 1",
    ),
    "strides of 0": (
        lambda: pool(kernel_shape=[2, 2], strides=[2, 0]),
        "stage 'y' (MaxPool): stride=(2, 0) must be at least 1 on axis W, not 0",
    ),
    "huge strides": (
        lambda: pool(kernel_shape=[2, 2], strides=[2**62, 2**63 - 1], pads=[0, 0, 1, 1], ceil_mode=1),
        "",
    ),
    "huge kernel": (
        lambda: pool(kernel_shape=[2**62, 2**62]),
        "stage 'y' (MaxPool): kernel_size=(4611686018427387904, 4611686018427387904) makes the effective kernel size "
        "4611686018427387904 on axis H, whose input has 16 cells; use at most 16777216",
    ),
    "huge dilations": (
        lambda: pool(kernel_shape=[3, 3], dilations=[2**62, 1]),
        "stage 'y' (MaxPool): kernel_size=(3, 3) with dilation=(4611686018427387904, 1) makes the effective "
        "kernel size "
        "9223372036854775809 on axis H, whose input has 16 cells; use at most 16777216",
    ),
    "negative pads": (
        lambda: pool(kernel_shape=[2, 2], pads=[-1, 0, 0, 0]),
        "stage 'y' (MaxPool): padding=((-1, 0), (0, 0)) must be at least 0 on axis H, not -1",
    ),
    "auto_pad unknown": (
        lambda: pool(kernel_shape=[2, 2], auto_pad="SOMEHOW"),
        "stage 'y' (MaxPool): auto_pad='SOMEHOW' is not a known name; use NOTSET, SAME_UPPER, SAME_LOWER, "
        "VALID, or pads",
    ),
    "two inputs": (
        lambda: model([node("MaxPool", "x x", "y", kernel_shape=[2, 2])]),
        "stage 'y' (MaxPool): inputs=['x', 'x'] must be one tensor; name exactly one",
    ),
    "no input": (
        lambda: model([node("MaxPool", [], "y", kernel_shape=[2, 2])]),
        "stage 'y' (MaxPool): inputs=[] must be one tensor; name exactly one",
    ),
    "no output": (
        lambda: model([node("Relu", "x", [])]),
        "stage 'Relu' (Relu): outputs=[] must be one in opset 19; name no more and no fewer",
    ),
    "a reference to no function": (
        lambda: with_attribute(
            pool(),
            onnx.AttributeProto(name="kernel_shape", ref_attr_name="k", type=onnx.AttributeProto.AttributeType.INTS),
        ),
        "stage 'y' (MaxPool): kernel_shape refers to the function attribute 'k', which has no value here; inline the "
        "function first",
    ),
    "weight of other channels": (
        lambda: conv((4, 3, 3, 3)),
        "stage 'y' (Conv): its input (1, 4, 16, 16) has 4 channels, but its weight (4, 3, 3, 3) with group=1 is for 3",
    ),
    "weight of other rank": (
        lambda: conv((4, 4, 3)),
        "stage 'y' (Conv): its weight has shape (4, 4, 3); it must have 4 axes, as its input",
    ),
    "kernel_shape against weight": (
        lambda: conv(kernel_shape=[5, 5]),
        "stage 'y' (Conv): kernel_shape=[5, 5] contradicts its weight of shape (4, 4, 3, 3); leave kernel_shape out",
    ),
    "group 0": (lambda: conv(group=0), "stage 'y' (Conv): group=0 must be at least 1"),
    "group -1": (lambda: conv(group=-1), "stage 'y' (Conv): group=-1 must be at least 1"),
    "conv strides": (
        lambda: conv(strides=[1, 1, 1]),
        "stage 'y' (Conv): strides=[1, 1, 1] must have one integer per spatial axis, 2 and not 3",
    ),
    "conv pads": (
        lambda: conv(pads=[1, 1]),
        "stage 'y' (Conv): pads=[1, 1] must have two integers per spatial axis, 4 and not 2",
    ),
    "conv auto_pad": (
        lambda: conv(auto_pad="SOMEHOW"),
        "stage 'y' (Conv): auto_pad='SOMEHOW' is not a known name; use NOTSET, SAME_UPPER, SAME_LOWER, VALID, or pads",
    ),
    "conv stride 0": (
        lambda: conv(strides=[0, 1]),
        "stage 'y' (Conv): stride=(0, 1) must be at least 1 on axis H, not 0",
    ),
    "conv of a matrix": (
        lambda: model([node("Flatten", "x", "f"), node("Conv", "f w", "y")], w=floats(4, 4, 3, 3)),
        "stage 'y' (Conv): its input has shape (1, 1024), 2 axes; it must have 3 to 5: batch, channels and "
        "one to three "
        "spatial axes",
    ),
    "a cycle": (
        lambda: model([node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b", "y")]),
        "Add node 'a' reads 'b', which no input and no node before it gives; the nodes of a model must "
        "stand in order and "
        "never in a cycle",
    ),
    "an input that nobody gives": (
        lambda: model([node("Relu", "nowhere", "y")]),
        "Relu node 'y' reads 'nowhere', which no input and no node before it gives; the nodes of a model must stand in "
        "order and never in a cycle",
    ),
    "a tensor written twice": (
        lambda: model([node("Relu", "x", "y"), node("Relu", "x", "y")]),
        "Relu node 'y' writes 'y', which is there already; give each tensor one name",
    ),
    "a sequence as input": (sequence_input, "g has no input that is a tensor; it takes sequence"),
    "no opset": (
        without_imports,
        "the model imports no version of the default operator set; its opset_import must name one",
    ),
    "opset 0": (
        lambda: model([node("Relu", "x", "y")], opset=0),
        "g imports opset 0; it must be from 1 to 2147483647",
    ),
    "huge input": (
        lambda: model([node("Relu", "x", "y")], (2**62, 2**62, 2**62, 2**62)),
        "g: the result would have shape (4611686018427387904, 4611686018427387904, 4611686018427387904, "
        "4611686018427387904) with 1 bytes an element, more than 64 bits can address; use smaller sizes",
    ),
    "huge output": (
        lambda: model([node("Pad", "x p", "y")], p=ints(0, 0, 2**61, 2**61, 0, 0, 2**61, 2**61)),
        "what the Pad node 'y' gives would have about 2**61 elements, about 2**63 bytes; what a model makes itself may "
        "have 4294967296",
    ),
    "a weight of negative size": (
        lambda: initialized(TensorProto(name="w", data_type=FLOAT, dims=[4, -4, 3, 3])),
        "initializer 'w' has shape [4, -4, 3, 3]; sizes must not be negative",
    ),
    "a weight with too few bytes": (
        lambda: initialized(TensorProto(name="w", data_type=FLOAT, dims=[4, 4, 3, 3], raw_data=b"1234")),
        "initializer 'w' cannot be read",
    ),
    "a weight of no element type": (
        lambda: initialized(TensorProto(name="w", data_type=77, dims=[4, 4, 3, 3], raw_data=b"1234")),
        f"initializer 'w' has the element type 77, which onnx {onnx.__version__} does not know",
    ),
    "a constant of no element type": (
        lambda: model([node("Constant", "", "c", value=TensorProto(data_type=77)), node("Add", "x c", "y")]),
        f"stage 'c' (Constant): value has the element type 77, which onnx {onnx.__version__} does not know",
    ),
    "a cast to no element type": (
        lambda: model([node("Cast", "x", "y", to=77)]),
        f"stage 'y' (Cast): to has the element type 77, which onnx {onnx.__version__} does not know",
    ),
    "reshape to nothing that fits": (
        lambda: model([node("Reshape", "x s", "y")], s=ints(7, -1)),
        "stage 'y' (Reshape): its input (1, 4, 16, 16) has 1024 elements, but shape=[7, -1] asks for a "
        "multiple of 7; a "
        "shape that is written into the model holds for one input size only",
    ),
    "reshape with two unknowns": (
        lambda: model([node("Reshape", "x s", "y")], s=ints(-1, -1)),
        "stage 'y' (Reshape): shape=[-1, -1] must have at most one -1 and no other negative size",
    ),
    "reshape keeps an axis too many": (
        lambda: model([node("Reshape", "x s", "y")], s=ints(0, 0, 0, 0, 0)),
        "stage 'y' (Reshape): shape=[0, 0, 0, 0, 0] keeps axis 4, which its input (1, 4, 16, 16) does not have",
    ),
    "transpose of other axes": (
        lambda: model([node("Transpose", "x", "y", perm=[0, 1, 1, 2])]),
        "stage 'y' (Transpose): perm=[0, 1, 1, 2] must name each axis of its input (1, 4, 16, 16) once",
    ),
    "an axis that is none": (
        lambda: model([node("Concat", "x x", "y", axis=7)]),
        "stage 'y' (Concat): axis=7 does not exist in a tensor of 4 axes; use -4 to 3",
    ),
    "slice of nothing": (
        lambda: model([node("Slice", "x a b c", "y")], a=ints(20), b=ints(30), c=ints(2)),
        "stage 'y' (Slice): nothing is left of its input (1, 4, 16, 16): the result would be (1, 4, 0, 16); "
        "use a larger "
        "input",
    ),
    "slice by steps of 0": (
        lambda: model([node("Slice", "x a b c d", "y")], a=ints(0), b=ints(9), c=ints(2), d=ints(0)),
        "stage 'y' (Slice): steps=[0] must not have a 0",
    ),
    "slice of unequal lists": (
        lambda: model([node("Slice", "x a b c", "y")], a=ints(0, 1), b=ints(9), c=ints(2)),
        "stage 'y' (Slice): starts=[0, 1], ends=[9], axes=[2] and steps=[1, 1] must be equally long",
    ),
    "pads for other axes": (
        lambda: model([node("Pad", "x p", "y")], p=ints(1, 1)),
        "stage 'y' (Pad): pads=[1, 1] must be two numbers for each of 4 axes",
    ),
    "resize by 0": (
        lambda: model([node("Resize", ["x", "", "s"], "y")], s=np.array([1, 1, 0, 1], np.float32)),
        "stage 'y' (Resize): scales=[1.0, 1.0, 0.0, 1.0] must be 4 positive numbers",
    ),
    "resize by NaN": (
        lambda: model([node("Resize", ["x", "", "s"], "y")], s=np.array([1, 1, np.nan, 1], np.float32)),
        "stage 'y' (Resize): scales=[1.0, 1.0, nan, 1.0] must be 4 positive numbers",
    ),
    "resize by nothing": (
        lambda: model([node("Resize", "x", "y")]),
        "stage 'y' (Resize): it must have scales or sizes, one for each of 4 axes",
    ),
    "functions that call each other": (
        recursive,
        "the function local::F of the model calls itself; ONNX knows no recursion",
    ),
    "gemm of another size": (
        lambda: model([node("Flatten", "x", "f"), node("Gemm", "f w", "y")], w=floats(10, 5)),
        "stage 'y' (Gemm): its input has 1024 features, but its weight is for 10; the input of the network has another "
        "size than the one that the weight was made for",
    ),
    "an operator that is no text": (
        lambda: misspelt(b"LeakyRelu", b"Leaky\xffelu"),
        "an op_type of the model is not text (b'Leaky\\xffelu'); names must be UTF-8",
    ),
    "a tensor that is no text": (
        lambda: misspelt(b"tensor", b"te\xffsor"),
        "an output of the model is not text (b'te\\xffsor'); names must be UTF-8",
    ),
    "an attribute that is no text": (
        lambda: misspelt(b"alpha", b"al\xffha"),
        "an attribute of the model is not text (b'al\\xffha'); names must be UTF-8",
    ),
    "dilations in opset 1": (
        lambda: model([node("MaxPool", "x", "y", kernel_shape=[2, 2], dilations=[1, 1])], opset=1),
        "stage 'y' (MaxPool): attribute 'dilations' does not exist in opset 1; known are auto_pad, kernel_shape, pads, "
        "strides",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_models_end_in_a_sentence(name: str, tmp_path: Path) -> None:
    make, sentence = HOSTILE[name]
    proto = make()
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    if not sentence:  # absurd, but by the rules
        assert read(path).stages[-1].output_shape
        return
    for source in (proto, path):
        with pytest.raises(NetworkError) as error:
            read(source)
        told = str(error.value).replace(str(path), "g")
        assert told == sentence or (sentence.endswith("cannot be read") and told.startswith(sentence))
        assert "\n" not in told


def test_files_that_are_none(tmp_path: Path) -> None:
    whole = pool(kernel_shape=[2, 2]).SerializeToString()
    cases = {
        "missing.onnx": (None, "cannot be read (No such file or directory)"),
        "empty.onnx": (b"", "is not an ONNX model (it has no graph)"),
        "text.onnx": (b"this is no model at all", "is not an ONNX model"),
        "truncated.onnx": (whole[: len(whole) // 2], "is not an ONNX model, or only a part of one"),
        "truncated more.onnx": (whole[:1], "is not an ONNX model"),
    }
    for name, (content, words) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(NetworkError) as error:
            read(tmp_path / name)
        assert words in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(NetworkError) as error:
        read(tmp_path)
    assert "is a folder; give a model in it" in str(error.value)


def test_any_part_of_a_file_is_read_or_refused() -> None:
    whole = onnx.load(next(path for path in LIGHT if "squeezenet" in path.stem)).SerializeToString()
    told: list[str] = []
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        try:
            read(whole[:length])
        except NetworkError as error:
            told.append(str(error))
    assert len(told) > 30
    assert all(sentence and "\n" not in sentence for sentence in told)


def test_any_byte_may_be_wrong() -> None:
    proto = SINGLE["size arithmetic"]()
    whole = proto.SerializeToString()
    rng = random.Random(7)
    told: list[str] = []
    for _ in range(400):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        try:
            read(bytes(content), (1, 4, 16, 16))
        except NetworkError as error:
            told.append(str(error))
    assert len(told) > 100
    assert all(sentence and "\n" not in sentence for sentence in told)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "", "a/../../b"])
def test_weights_outside_of_the_folder(location: str, tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[4, 4, 3, 3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    (tmp_path / "inner").mkdir()
    path = tmp_path / "inner" / "model.onnx"
    path.write_bytes(initialized(tensor).SerializeToString())
    with pytest.raises(NetworkError) as error:
        read(path)
    assert str(error.value) == (
        f"initializer 'w' has its data in {location!r}, which is not in the folder of the model; move it there"
    )


def test_weights_in_a_file_of_their_own_are_not_read(tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[4, 4, 3, 3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights.bin")
    path = tmp_path / "model.onnx"
    path.write_bytes(initialized(tensor).SerializeToString())
    assert not (tmp_path / "weights.bin").exists()
    (stage,) = read(path).stages
    assert stage.output_shape == (1, 4, 14, 14)
    assert stage.parameters == 144


def test_old_opsets() -> None:
    proto = model(
        [
            node("Conv", "x w", "c", kernel_shape=[3, 3]),
            node("Add", "c b", "a", broadcast=1, axis=1),
            node("MaxPool", "a", "p", kernel_shape=[2, 2], strides=[2, 2]),
            node("Reshape", "p", "y", shape=[0, -1], consumed_inputs=[0]),
        ],
        opset=1,
        w=floats(6, 4, 3, 3),
        b=floats(6),
    )
    assert [stage.output_shape for stage in read(proto).stages] == [
        (1, 6, 14, 14),
        (1, 6, 14, 14),
        (1, 6, 7, 7),
        (1, 294),
    ]


def test_a_model_is_left_as_it_is() -> None:
    for make in SINGLE.values():
        proto = make()
        before = proto.SerializeToString(deterministic=True)
        read(proto)
        assert proto.SerializeToString(deterministic=True) == before


def test_stages_tell_of_their_stage() -> None:
    network = read(SINGLE["size arithmetic"]())
    with pytest.raises(NetworkError) as error:
        network.stage("z")
    assert str(error.value) == "g: there is no stage 'z'; its stages are c, u, y"
