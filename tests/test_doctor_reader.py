"""What exporters write: sizes worked out by operators, lists of places, windows, control flow, names of modules."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pooling.doctor import Network, NetworkError, examine, read, read_graph

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto
Array = NDArray[Any]
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(operator, names, outputs.split(), **attributes)


def model(
    nodes: Sequence[Any],
    shape: Sequence[int | str] | None = (1, 3, 32, 32),
    weights: dict[str, Any] | None = None,
    *,
    opset: int = 18,
    outputs: Sequence[str] = ("y",),
    dtype: int = FLOAT,
) -> Any:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def floats(*shape: int) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def session(proto: Any, shape: Sequence[int], names: Sequence[str]) -> Any:
    proto = copy.deepcopy(proto)
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    image = proto.graph.input[0]
    image.CopyFrom(helper.make_tensor_value_info("x", image.type.tensor_type.elem_type, list(shape)))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def check_shapes(proto: Any, *shapes: Sequence[int], unknown: int = 0) -> Network:
    """Compare every stage with what onnxruntime gives at each of some sizes."""
    graph = read_graph(proto)
    first = {each.name: each.outputs[0] for each in graph.nodes}
    for shape in shapes:
        network = graph.infer(tuple(shape))
        assert len(network.unknown) == unknown, [stage.note for stage in network.stages if stage.note]
        stages = [each for each in network.stages if each.kind != "unknown" and each.name in first]
        names = [first[stage.name] for stage in stages]
        kind = proto.graph.input[0].type.tensor_type.elem_type
        image = np.ones(tuple(shape), np.float32 if kind == FLOAT else np.int64)
        results = session(proto, shape, names).run(None, {"x": image})
        assert [(stage.name, stage.output_shape) for stage in stages] == [
            (stage.name, result.shape) for stage, result in zip(stages, results, strict=True)
        ]
    return network


# ---------------------------------------------------------------------------------------------------------------------
# Large constants


@pytest.mark.parametrize("channels", [113, 114, 4096])
def test_a_large_constant_node_keeps_its_shape(channels: int) -> None:
    weight = numpy_helper.from_array(np.ones((channels, 3, 3, 1), np.float32), "w")
    proto = model([node("Constant", "", "w", value=weight), node("Conv", "x w", "y", name="conv")])
    network = check_shapes(proto, (1, 3, 32, 32), (2, 3, 17, 40))
    stage = network.stage("conv")
    assert stage.output_shape == (2, channels, 15, 40)
    assert stage.parameters == channels * 9
    assert stage.macs == 2 * channels * 15 * 40 * 9


def test_a_large_constant_of_integers_counts_no_weights() -> None:
    index = numpy_helper.from_array(np.zeros((50, 50), np.int64), "i")
    proto = model([node("Constant", "", "i", value=index), node("Gather", "x i", "y", axis=3, name="pick")])
    stage = check_shapes(proto, (1, 3, 8, 8)).stage("pick")
    assert (stage.output_shape, stage.parameters) == ((1, 3, 8, 50, 50), 0)


def test_weights_that_two_copies_standardise_are_counted_once() -> None:
    """An exporter writes the weight twice where it is normalised: the second copy gives its running mean alone."""
    weight = floats(1, 8, 27)
    proto = model(
        [
            node("ReduceMean", "copy axes", "mean", keepdims=0),
            node("Mul", "mean mean", "var"),
            node("BatchNormalization", "w gain bias mean var", "n"),
            node("Reshape", "n shape", "k"),
            node("Conv", "x k", "y", name="conv"),
        ],
        weights={
            "w": weight,
            "copy": np.concatenate([weight] * 7),
            "gain": floats(8),
            "bias": floats(8),
            "axes": ints(0, 2),
            "shape": ints(8, 3, 3, 3),
        },
    )
    assert check_shapes(proto, (1, 3, 9, 9)).stage("conv").parameters == 8 * 27 + 8 + 8


# ---------------------------------------------------------------------------------------------------------------------
# Sizes that the model works out


def test_clip_is_folded() -> None:
    weights = {"lo": np.float32(0), "one": np.float32(1), "z": np.zeros(2, np.int64), "ax": ints(0)}
    proto = model(
        [
            node("Clip", "one lo", "c"),
            node("Cast", "c", "d", to=INT64),
            node("Unsqueeze", "d ax", "e"),
            node("Concat", "z e e z e e", "p", axis=0),
            node("Pad", "x p", "v", name="pad"),
            node("MaxPool", "v", "y", kernel_shape=[3, 3], strides=[2, 2], name="pool"),
        ],
        ("n", 3, "h", "w"),
        weights,
    )
    network = check_shapes(proto, (1, 3, 64, 64), (2, 3, 33, 50))
    assert network.stage("pool").output_shape == (2, 3, 17, 25)
    result = examine(proto, (1, 3, 64, 64))
    assert not [each for each in result.findings if each.code in ("D101", "D901")]


HW = [node("Shape", "x", "s", start=2)]
"""The sizes H and W as integers, `s`; each case makes of them two positive integers, `v`."""
ARITHMETIC: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "Clip": ([node("Clip", "s lo hi", "v")], {"lo": np.int64(20), "hi": np.int64(30)}),
    "Clip without a minimum": ([node("Clip", "s - hi", "v")], {"hi": np.int64(30)}),
    "Equal and Where": ([node("Equal", "s k", "c"), node("Where", "c k s", "v")], {"k": ints(24)}),
    "Greater": (
        [node("Greater", "s k", "c"), node("Cast", "c", "v0", to=INT64), node("Add", "v0 k", "v")],
        {"k": ints(9)},
    ),
    "LessOrEqual": (
        [
            node("LessOrEqual", "s k", "a"),
            node("Less", "s k", "b"),
            node("Xor", "a b", "c"),
            node("Where", "c k s", "v"),
        ],
        {"k": ints(24)},
    ),
    "And, Or, Not": (
        [
            node("GreaterOrEqual", "s k", "a"),
            node("Not", "a", "b"),
            node("And", "a b", "c"),
            node("Or", "c a", "d"),
            node("Where", "d k s", "v"),
        ],
        {"k": ints(24)},
    ),
    "Tile": ([node("ReduceMax", "s ax", "m"), node("Tile", "m two", "v")], {"ax": ints(0), "two": ints(2)}),
    "Split": ([node("Split", "s", "a b", num_outputs=2), node("Concat", "b a", "v", axis=0)], {}),
    "ReduceMean": ([node("ReduceMean", "s ax", "m"), node("Expand", "m two", "v")], {"ax": ints(0), "two": ints(2)}),
    "ReduceSum": ([node("ReduceSum", "s", "m"), node("Expand", "m two", "v")], {"two": ints(2)}),
    "ReduceProd": (
        [node("ReduceProd", "s", "m", keepdims=1), node("Div", "m k", "d"), node("Expand", "d two", "v")],
        {"k": ints(8), "two": ints(2)},
    ),
    "ReduceMin": ([node("ReduceMin", "s ax", "m"), node("Expand", "m two", "v")], {"ax": ints(0), "two": ints(2)}),
    "GatherND": ([node("GatherND", "s i", "v")], {"i": np.array([[1], [0]], np.int64)}),
    "ScatterND": ([node("ScatterND", "s i u", "v")], {"i": np.array([[1]], np.int64), "u": ints(13)}),
    "ScatterElements": ([node("ScatterElements", "s i u", "v")], {"i": ints(1), "u": ints(13)}),
    "GatherElements": ([node("GatherElements", "s i", "v")], {"i": ints(1, 1)}),
    "Range": (
        [
            node("ReduceMax", "s", "m", keepdims=0),
            node("Range", "zero m eight", "r"),
            node("Shape", "r", "n"),
            node("Concat", "n n", "v", axis=0),
        ],
        {"zero": np.int64(0), "eight": np.int64(8)},
    ),
    "ConstantOfShape": (
        [
            node("Shape", "s", "n"),
            node("ConstantOfShape", "n", "c", value=helper.make_tensor("v", INT64, [1], [3])),
            node("Mul", "c s", "v"),
        ],
        {},
    ),
    "Pow": (
        [
            node("Pow", "k s2", "v"),
        ],
        {"k": ints(3, 4), "s2": ints(2, 2)},
    ),
    "Pow of floats": (
        [
            node("Cast", "s", "f", to=FLOAT),
            node("Pow", "f h", "p"),
            node("Ceil", "p", "c"),
            node("Cast", "c", "v", to=INT64),
        ],
        {"h": np.float32(0.5)},
    ),
    "Mod": ([node("Mod", "s k", "m"), node("Add", "m k", "v")], {"k": ints(7)}),
    "Mod of floats": (
        [
            node("Cast", "s", "f", to=FLOAT),
            node("Mod", "f k", "m", fmod=1),
            node("Cast", "m", "c", to=INT64),
            node("Add", "c s", "v"),
        ],
        {"k": np.float32(-7)},
    ),
    "Ceil of a division": (
        [
            node("Cast", "s", "f", to=FLOAT),
            node("Div", "f k", "d"),
            node("Ceil", "d", "c"),
            node("Cast", "c", "v", to=INT64),
        ],
        {"k": np.float32(3)},
    ),
    "Floor, Sqrt": (
        [
            node("Cast", "s", "f", to=FLOAT),
            node("Sqrt", "f", "d"),
            node("Floor", "d", "c"),
            node("Cast", "c", "v", to=INT64),
        ],
        {},
    ),
    "Round": (
        [
            node("Cast", "s", "f", to=FLOAT),
            node("Div", "f k", "d"),
            node("Round", "d", "c"),
            node("Cast", "c", "v", to=INT64),
        ],
        {"k": np.float32(4)},
    ),
    "Transpose": (
        [node("Reshape", "s sh", "r"), node("Transpose", "r", "t", perm=[1, 0]), node("Reshape", "t two", "v")],
        {"sh": ints(1, 2), "two": ints(2)},
    ),
    "CumSum": ([node("CumSum", "s ax", "v")], {"ax": np.int64(0)}),
    "TopK": ([node("TopK", "s k", "v i", largest=1)], {"k": ints(2)}),
    "NonZero": (
        [node("Greater", "s k", "c"), node("NonZero", "c", "z"), node("Shape", "z", "n"), node("Add", "n k", "v")],
        {"k": ints(4)},
    ),
    "OneHot": (
        [node("OneHot", "i depth values", "h"), node("ReduceSum", "h ax", "m", keepdims=0), node("Mul", "m s", "v")],
        {"i": ints(0, 1), "depth": ints(2), "values": ints(0, 5), "ax": ints(0)},
    ),
    "Trilu": (
        [node("Expand", "s sh", "e"), node("Trilu", "e", "t"), node("ReduceMax", "t ax", "v", keepdims=0)],
        {"sh": ints(2, 2), "ax": ints(0)},
    ),
    "Einsum": (
        [
            node("Cast", "s", "f", to=FLOAT),
            node("Einsum", "f w", "e", equation="i,ij->j"),
            node("Cast", "e", "v", to=INT64),
        ],
        {"w": np.array([[1, 0], [1, 2]], np.float32)},
    ),
    "MatMul": (
        [node("Cast", "s", "f", to=FLOAT), node("MatMul", "f w", "e"), node("Cast", "e", "v", to=INT64)],
        {"w": np.array([[1, 0], [1, 2]], np.float32)},
    ),
    "Max and Min": ([node("Max", "s k", "a"), node("Min", "a j", "v")], {"k": ints(10), "j": ints(25)}),
    "Sign and Abs": (
        [
            node("Sub", "k s", "a"),
            node("Sign", "a", "b"),
            node("Mul", "a b", "c"),
            node("Abs", "c", "d"),
            node("Add", "d k", "v"),
        ],
        {"k": ints(10)},
    ),
    "BitShift": (
        [
            node("Cast", "s", "u", to=TensorProto.UINT64),
            node("BitShift", "u k", "b", direction="RIGHT"),
            node("Cast", "b", "v", to=INT64),
        ],
        {"k": np.array([1], np.uint64)},
    ),
    "ArgMax": ([node("ArgMax", "s", "a", axis=0), node("Add", "a s", "v")], {}),
    "Compress": (
        [node("Compress", "s c", "a", axis=0), node("Add", "a s", "v")],
        {"c": np.array([False, True])},
    ),
    "Unique": (
        [
            node("Concat", "s s", "a", axis=0),
            node("Unique", "a", "u"),
            node("Shape", "u", "n"),
            node("Mul", "n s", "v"),
        ],
        {},
    ),
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_of_sizes(name: str) -> None:
    nodes, weights = ARITHMETIC[name]
    tail = [node("Concat", "nc v", "target", axis=0), node("Resize", "x - - target", "y", name="resize")]
    proto = model([*HW, *nodes, *tail], (1, 3, "h", "w"), {"nc": ints(1, 3), **weights})
    network = check_shapes(proto, (1, 3, 32, 24), (1, 3, 17, 40))
    assert [stage.name for stage in network.stages] == ["resize"]


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Expand", "one huge", "a")],
        [node("Reshape", "one two", "r"), node("Tile", "r huge", "a")],
        [node("ConstantOfShape", "huge", "a")],
        [node("Expand", "one huge", "b"), node("NonZero", "b", "a")],
        [node("Einsum", "row row row", "a", equation="i,j,k->ijk")],
        [node("OneHot", "row n values", "a")],
        [node("RandomNormal", "", "a", shape=[2, 2])],
    ],
    ids=lambda nodes: nodes[-1].op_type,
)
def test_nothing_large_or_random_is_worked_out(nodes: list[Any]) -> None:
    weights = {
        "one": np.float32([1]),
        "huge": ints(1_000_000, 1000),
        "row": np.ones(1000, np.float32),
        "n": ints(100_000),
        "two": ints(1, 1),
        "values": np.float32([0, 1]),
    }
    proto = model([*nodes, node("Relu", "x", "y", name="relu")], weights=weights, outputs=("y", "a"))
    refusal = ""
    try:
        graph = read_graph(proto)
    except NetworkError as error:
        refusal = str(error)
    if refusal:
        assert "elements" in refusal  # before anything is made
        return
    network = graph.infer((1, 3, 8, 8))
    assert network.stage("relu").output_shape == (1, 3, 8, 8)
    settled, _ = graph.settled
    value = settled["a"].value
    assert value is None or value.size <= 1024
    if nodes[-1].op_type == "RandomNormal":
        assert value is None


# ---------------------------------------------------------------------------------------------------------------------
# Inputs without a batch


def test_three_axes_that_meet_windows_of_two_are_an_image() -> None:
    proto = model(
        [
            node("Unsqueeze", "x ax", "u"),
            node("Conv", "u w", "y", name="conv", strides=[2, 2], pads=[1, 1, 1, 1]),
        ],
        (3, 320, 320),
        {"ax": ints(0), "w": floats(8, 3, 3, 3)},
    )
    result = examine(proto, task="detection")
    stage = result.network.stage("conv")
    assert stage.output_shape == (1, 8, 160, 160)
    assert stage.receptive_field is not None
    assert stage.receptive_field.size == (3, 3)
    assert [each.axes for each in result.sizes] == ["H and W"]
    assert any("axis 0 is its channels; it has no batch" in note for note in result.network.notes)
    check_shapes(proto, (3, 320, 320), (3, 33, 50))


@pytest.mark.parametrize(
    ("shape", "axis", "weight", "spatial", "told"),
    [
        ((2, 40, 50), 1, (8, 1, 3, 3), (1, 2), "axis 0 is the batch"),
        ((1, 10, 12, 14), 0, (8, 1, 3, 3, 3), (1, 2, 3), "axis 0 is its channels"),
        ((2, 100), 1, (8, 1, 3), (1,), "axis 0 is the batch"),
    ],
)
def test_other_inputs_without_an_axis(
    shape: tuple[int, ...], axis: int, weight: tuple[int, ...], spatial: tuple[int, ...], told: str
) -> None:
    proto = model(
        [node("Unsqueeze", "x ax", "u"), node("Conv", "u w", "y", name="conv")],
        shape,
        {"ax": ints(axis), "w": floats(*weight)},
    )
    network = check_shapes(proto, shape)
    assert network.spatial == spatial
    field = network.stage("conv").receptive_field
    assert field is not None
    assert field.size == (3,) * len(spatial)
    assert any(told in note for note in network.notes)


def test_channels_last_without_a_batch() -> None:
    proto = model(
        [
            node("Div", "x k", "d"),
            node("Transpose", "d", "t", perm=[2, 0, 1]),
            node("Unsqueeze", "t ax", "u"),
            node("Conv", "u w", "y", name="conv", strides=[4, 2]),
        ],
        (32, 24, 3),
        {"ax": ints(0), "w": floats(8, 3, 3, 3), "k": np.float32(255)},
    )
    network = check_shapes(proto, (32, 24, 3))
    assert network.spatial == (0, 1)
    field = network.stage("conv").receptive_field
    assert field is not None
    assert field.stride == (4, 2)


def test_features_that_become_a_signal_have_no_places() -> None:
    proto = model(
        [node("Gemm", "x m", "g"), node("Reshape", "g s", "r"), node("Conv", "r w", "y", name="conv")],
        (1, 10),
        {"m": floats(10, 24), "s": ints(1, 3, 8), "w": floats(8, 3, 3)},
    )
    network = check_shapes(proto, (1, 10))
    assert network.spatial == ()
    assert network.stage("conv").receptive_field is None


def test_a_signal_stays_a_signal() -> None:
    proto = model([node("Conv", "x w", "y", name="conv")], (3, 3, 320), {"w": floats(8, 3, 3)})
    network = read(proto)
    assert network.spatial == (2,)
    assert not network.notes


# ---------------------------------------------------------------------------------------------------------------------
# Pad in front of windows


def padded(mode: str, kernel: int, stride: int, begin: int, end: int) -> Any:
    return model(
        [
            node("Pad", "x pads", "v", mode=mode, name="pad"),
            node("Conv", "v w", "y", strides=[stride] * 2, name="blur"),
        ],
        (1, 3, "h", "w"),
        {"w": floats(3, 3, kernel, kernel), "pads": ints(0, 0, begin, begin, 0, 0, end, end)},
    )


@pytest.mark.parametrize("mode", ["reflect", "constant", "edge"])
def test_padding_of_a_pad_is_no_image(mode: str) -> None:
    proto = padded(mode, 3, 2, 1, 1)
    result = examine(proto, (1, 3, 64, 64))
    assert not [each for each in result.findings if each.code == "D101"]
    assert 64 in result.sizes[0].clean
    stage = result.network.stage("blur")
    assert [(axis.input_size, axis.pad_begin, axis.pad_end) for axis in stage.axes] == [(64, 1, 1)] * 2
    assert stage.dropped == (0, 0)


@pytest.mark.parametrize(("kernel", "stride", "begin", "end"), [(3, 2, 0, 0), (2, 3, 1, 0), (3, 4, 1, 1), (5, 4, 2, 1)])
@pytest.mark.parametrize("size", [16, 17, 18, 19])
def test_what_is_dropped_behind_a_pad_is_what_changes_nothing(
    size: int, kernel: int, stride: int, begin: int, end: int
) -> None:
    """The cells at the end of the map that no window reads, as a change of them shows."""
    proto = padded("constant", kernel, stride, begin, end)
    stage = read(proto, (1, 3, size, size)).stage("blur")
    run = session(proto, (1, 3, size, size), ["y"])
    image = np.zeros((1, 3, size, size), np.float32)
    (before,) = run.run(None, {"x": image})
    dropped = 0
    for row in reversed(range(size)):
        changed = image.copy()
        changed[:, :, row] = 1
        if (run.run(None, {"x": changed})[0] != before).any():
            break
        dropped += 1
    assert stage.dropped == (dropped, dropped)


def test_a_concatenation_with_zeros_is_padding() -> None:
    proto = model(
        [node("Concat", "x z", "v", axis=2), node("Conv", "v w", "y", strides=[2, 2], name="conv")],
        (1, 3, 16, 17),
        {"z": np.zeros((1, 3, 1, 17), np.float32), "w": floats(3, 3, 3, 3)},
    )
    stage = check_shapes(proto, (1, 3, 16, 17)).stage("conv")
    assert [(axis.input_size, axis.pad_end) for axis in stage.axes] == [(16, 1), (17, 0)]


def test_reflect_has_a_smallest_size() -> None:
    torch = pytest.importorskip("torch")
    proto = padded("reflect", 3, 1, 3, 2)
    for size in range(1, 7):
        try:
            torch.nn.functional.pad(torch.zeros(1, 3, size, size), (3, 2, 3, 2), mode="reflect")
        except RuntimeError:
            with pytest.raises(NetworkError, match="mode=reflect pads axis 2"):
                read(proto, (1, 3, size, size))
        else:
            check_shapes(proto, (1, 3, size, size))
    assert examine(proto, (1, 3, 32, 32)).sizes[0].smallest == 4


# ---------------------------------------------------------------------------------------------------------------------
# Lists of places


def fields(network: Network, name: str) -> tuple[Any, ...]:
    field = network.stage(name).receptive_field
    assert field is not None, network.stage(name).note
    return field.size, tuple(map(int, field.stride)), field.context


TOKENS = [
    node("Conv", "x w", "p", strides=[2, 2], pads=[1, 1, 1, 1], name="conv"),
    node("Reshape", "p s", "t", name="flat"),
    node("Transpose", "t", "tokens", perm=[0, 2, 1], name="tokens"),
]
"""(N, 8, H, W) as tokens (N, H * W, 8)."""
TOKEN_WEIGHTS = {"w": floats(8, 3, 3, 3), "s": ints(0, 8, -1)}


def test_tokens_keep_their_places() -> None:
    proto = model(
        [
            *TOKENS,
            node("MatMul", "tokens m", "a", name="linear"),
            node("Add", "a b", "c", name="bias"),
            node("LayerNormalization", "c g", "d", name="norm"),
            node("Transpose", "d", "e", perm=[0, 2, 1]),
            node("Shape", "p", "ps", start=2),
            node("Concat", "nc ps", "back", axis=0),
            node("Reshape", "e back", "f", name="map"),
            node("Conv", "f k", "y", name="last"),
        ],
        (1, 3, "h", "w"),
        {**TOKEN_WEIGHTS, "m": floats(8, 8), "b": floats(8), "g": floats(8), "k": floats(8, 8, 3, 3), "nc": ints(1, 8)},
    )
    network = check_shapes(proto, (1, 3, 64, 64), (1, 3, 32, 50))
    assert network.stage("tokens").output_shape == (1, 400, 8)
    assert network.stage("tokens").output_size == (16, 25)
    for name in ("flat", "tokens", "linear", "bias", "norm", "map"):
        assert fields(network, name) == ((3, 3), (2, 2), False)
    assert fields(network, "last") == ((7, 7), (2, 2), False)


def attention(query: str, key: str, value: str, result: str) -> list[Any]:
    """Softmax attention over tokens (N, L, C), as TorchScript writes it."""
    return [
        node("Transpose", key, f"{result}k", perm=[0, 2, 1], name=f"{result} key"),
        node("MatMul", f"{query} {result}k", f"{result}a", name=f"{result} scores"),
        node("Softmax", f"{result}a", f"{result}b", axis=-1, name=f"{result} weights"),
        node("MatMul", f"{result}b {value}", result, name=result),
    ]


def test_attention_is_context_beside_the_own_place() -> None:
    proto = model(
        [*TOKENS, *attention("tokens", "tokens", "tokens", "att"), node("Add", "tokens att", "y", name="sum")],
        (1, 3, 64, 64),
        TOKEN_WEIGHTS,
    )
    network = check_shapes(proto, (1, 3, 64, 64), (1, 3, 24, 20))
    assert fields(network, "sum") == ((3, 3), (2, 2), True)
    assert network.stage("att").macs == 120 * 120 * 8
    assert not [stage.name for stage in network.stages if "not followed" in stage.note]


def test_a_class_token_stands_beside_the_places() -> None:
    proto = model(
        [
            *TOKENS,
            node("Concat", "cls tokens", "all", axis=1, name="all"),
            *attention("all", "all", "all", "att"),
            node("Add", "all att", "sum", name="sum"),
            node("Slice", "sum one end ax", "rest", name="rest"),
            node("Gather", "sum zero", "y", axis=1, name="class"),
            node("ReduceMean", "rest ax", "z", keepdims=0, name="mean"),
        ],
        (1, 3, 16, 16),
        {
            **TOKEN_WEIGHTS,
            "cls": floats(1, 1, 8),
            "one": ints(1),
            "end": ints(2**62),
            "ax": ints(1),
            "zero": np.int64(0),
        },
        outputs=("y", "z"),
    )
    network = check_shapes(proto, (1, 3, 16, 16), (1, 3, 24, 20))
    assert fields(network, "all") == ((3, 3), (2, 2), False)
    assert fields(network, "sum") == ((3, 3), (2, 2), True)
    assert fields(network, "rest") == ((3, 3), (2, 2), True)
    assert network.stage("rest").output_size == (12, 10)
    assert network.stage("class").receptive_field is None
    assert network.stage("mean").kind == "global"
    assert [axis.input_size for axis in network.stage("mean").axes] == [12, 10]


def windowed_attention(size: int, window: int, shift: int) -> Any:
    """Attention within windows of a channels-last map, as Swin has it: shifted, split, and all the way back."""
    count = size // window
    nodes = [node("Transpose", "x", "v", perm=[0, 2, 3, 1], name="last")]
    source = "v"
    if shift:
        for axis, name in ((1, "h"), (2, "w")):
            nodes += [
                node("Slice", f"{source} shift end a{axis}", f"{name}1"),
                node("Slice", f"{source} zero shift a{axis}", f"{name}2"),
                node("Concat", f"{name}1 {name}2", f"{name}3", axis=axis, name=f"roll {name}"),
            ]
            source = f"{name}3"
    nodes += [
        node("Reshape", f"{source} six", "p6", name="split"),
        node("Transpose", "p6", "p7", perm=[0, 1, 3, 2, 4, 5]),
        node("Reshape", "p7 three", "win", name="windows"),
        *attention("win", "win", "win", "att"),
        node("Reshape", "att back6", "b6"),
        node("Transpose", "b6", "b7", perm=[0, 1, 3, 2, 4, 5]),
        node("Reshape", "b7 four", "y", name="merged"),
    ]
    weights = {
        "six": ints(1, count, window, count, window, 2),
        "three": ints(count * count, window * window, 2),
        "back6": ints(1, count, count, window, window, 2),
        "four": ints(1, size, size, 2),
        "shift": ints(shift),
        "zero": ints(0),
        "end": ints(2**62),
        "a1": ints(1),
        "a2": ints(2),
    }
    return model(nodes, (1, 2, size, size), weights)


def test_attention_in_windows_sees_its_window() -> None:
    """Compared with the cells that change where one pixel does."""
    proto = windowed_attention(12, 4, 0)
    network = check_shapes(proto, (1, 2, 12, 12))
    stage = network.stage("merged")
    assert fields(network, "merged") == ((4, 4), (1, 1), False)
    assert stage.output_shape == (1, 12, 12, 2)
    run = session(proto, (1, 2, 12, 12), ["y"])
    image = floats(1, 2, 12, 12)
    (before,) = run.run(None, {"x": image})
    for pixel in (0, 3, 4, 11):
        changed = image.copy()
        changed[0, :, pixel, pixel] += 1
        rows = np.nonzero((run.run(None, {"x": changed})[0] != before).any(axis=(0, 2, 3)))[0]
        assert rows.min() == pixel // 4 * 4
        assert rows.max() == pixel // 4 * 4 + 3


def test_shifted_windows_lie_between_the_others() -> None:
    network = check_shapes(windowed_attention(12, 4, 2), (1, 2, 12, 12))
    assert fields(network, "roll w") == ((1, 1), (1, 1), False)
    field = network.stage("merged").receptive_field
    assert field is not None
    assert field.size == (4, 4)
    # The centre of the first window is the one between cells 3 and 4, that of the first cell on the line 2 before it.
    assert field.offset[0] == 2


def test_attention_over_strided_places_is_context() -> None:
    """MaxViT's grid attention: each cell sees cells of all of the map, a window apart."""
    proto = model(
        [
            node("Transpose", "x", "v", perm=[0, 2, 3, 1]),
            node("Reshape", "v six", "p6"),
            node("Transpose", "p6", "p7", perm=[0, 2, 4, 1, 3, 5]),
            node("Reshape", "p7 three", "win"),
            *attention("win", "win", "win", "att"),
        ],
        (1, 2, 12, 12),
        {"six": ints(1, 4, 3, 4, 3, 2), "three": ints(9, 16, 2)},
        outputs=("att",),
    )
    assert fields(check_shapes(proto, (1, 2, 12, 12)), "att") == ((1, 1), (1, 1), True)


def test_channel_attention_keeps_the_places_of_its_values() -> None:
    """XCiT: a matrix of channels that all places have made, times the values."""
    proto = model(
        [
            *TOKENS,
            node("MatMul", "t tokens", "cc", name="covariance"),
            node("Softmax", "cc", "soft"),
            node("MatMul", "soft t", "y", name="out"),
        ],
        (1, 3, 16, 16),
        TOKEN_WEIGHTS,
    )
    network = check_shapes(proto, (1, 3, 16, 16))
    assert network.stage("covariance").receptive_field is None
    assert fields(network, "out") == ((3, 3), (2, 2), True)


def test_token_mixing_is_context_beside_the_skip() -> None:
    proto = model(
        [*TOKENS, node("MatMul", "t mix", "m", name="mix"), node("Add", "t m", "y", name="sum")],
        (1, 3, 16, 16),
        {**TOKEN_WEIGHTS, "mix": floats(64, 64)},
    )
    network = check_shapes(proto, (1, 3, 16, 16))
    assert network.stage("mix").receptive_field is None
    assert fields(network, "sum") == ((3, 3), (2, 2), True)


def test_patches_are_merged_by_a_product() -> None:
    """Blocks of 2 x 2 cells in the channels, and a product over them: the same as a convolution of stride 2."""
    merged = model(
        [
            node("Transpose", "x", "v", perm=[0, 2, 3, 1]),
            node("Reshape", "v six", "a"),
            node("Transpose", "a", "b", perm=[0, 1, 3, 2, 4, 5]),
            node("Reshape", "b four", "c"),
            node("LayerNormalization", "c g", "d"),
            node("MatMul", "d m", "e", name="merge"),
            node("Transpose", "e", "f", perm=[0, 3, 1, 2]),
            node("Conv", "f k", "y", name="conv"),
        ],
        (1, 4, 12, 20),
        {
            "six": ints(1, 6, 2, 10, 2, 4),
            "four": ints(1, 6, 10, 16),
            "g": floats(16),
            "m": floats(16, 8),
            "k": floats(8, 8, 3, 3),
        },
    )
    network = check_shapes(merged, (1, 4, 12, 20))
    assert fields(network, "merge") == ((2, 2), (2, 2), False)
    assert fields(network, "conv") == ((6, 6), (2, 2), False)


def test_a_pixel_shuffle_by_reshape() -> None:
    shuffled = model(
        [
            node("Conv", "x w", "c", strides=[2, 2], name="conv"),
            node("Reshape", "c six", "a"),
            node("Transpose", "a", "b", perm=[0, 1, 4, 2, 5, 3]),
            node("Reshape", "b four", "y", name="shuffle"),
        ],
        (1, 3, 17, 21),
        {"w": floats(8, 3, 3, 3), "six": ints(1, 2, 2, 2, 8, 10), "four": ints(1, 2, 16, 20)},
    )
    assert fields(check_shapes(shuffled, (1, 3, 17, 21)), "shuffle") == ((3, 3), (1, 1), False)


def test_group_normalisation_by_reshape() -> None:
    proto = model(
        [
            node("Conv", "x w", "c", strides=[2, 2], name="conv"),
            node("Shape", "c", "s"),
            node("Reshape", "c three", "r"),
            node("InstanceNormalization", "r one zero", "n", name="norm"),
            node("Reshape", "n s", "b", name="back"),
            node("Conv", "b k", "y", name="next"),
        ],
        (1, 3, "h", "w"),
        {
            "w": floats(8, 3, 3, 3),
            "three": ints(0, 4, -1),
            "one": floats(4),
            "zero": floats(4),
            "k": floats(8, 8, 3, 3),
        },
    )
    network = check_shapes(proto, (1, 3, 33, 33), (1, 3, 17, 24))
    assert fields(network, "back") == ((3, 3), (2, 2), True)
    assert fields(network, "next") == ((7, 7), (2, 2), True)


def test_a_pooled_branch_that_is_added_back_is_context() -> None:
    for tail in (
        [node("Resize", "g - - full", "u", mode="linear", name="up"), node("Concat", "c u", "y", axis=1, name="join")],
        [node("Sigmoid", "g", "u"), node("Mul", "c u", "y", name="join")],
    ):
        proto = model(
            [node("Conv", "x w", "c", strides=[2, 2], name="conv"), node("GlobalAveragePool", "c", "g"), *tail],
            (1, 3, 17, 17),
            {"w": floats(8, 3, 3, 3), "full": ints(1, 8, 8, 8)},
        )
        assert fields(check_shapes(proto, (1, 3, 17, 17)), "join") == ((3, 3), (2, 2), True)


def test_what_is_not_known_is_not_context() -> None:
    """A branch that was passed over leaves the sum without a field."""
    proto = model(
        [
            node("Conv", "x w", "c", name="conv"),
            helper.make_node("Mystery", ["c"], ["m"], domain="com.example"),
            node("Add", "c m", "y", name="sum"),
        ],
        (1, 3, 17, 17),
        {"w": floats(8, 3, 3, 3)},
    )
    proto.opset_import.append(helper.make_opsetid("com.example", 1))
    proto.graph.value_info.append(helper.make_tensor_value_info("c", FLOAT, (1, 8, 15, 15)))
    proto.graph.value_info.append(helper.make_tensor_value_info("m", FLOAT, (1, 8, 15, 15)))
    stage = read(proto).stage("sum")
    assert stage.receptive_field is None
    assert "Mystery was passed over" in stage.note


def test_torn_maps_are_not_followed() -> None:
    proto = model([node("Reshape", "x s", "y", name="torn")], (1, 2, 6, 10), {"s": ints(1, 2, 4, 15)})
    stage = read(proto).stage("torn")
    assert stage.output_shape == (1, 2, 4, 15)
    assert stage.receptive_field is None
    assert "not followed" in stage.note


def test_the_parts_of_a_split_have_their_own_centres() -> None:
    proto = model(
        [node("Split", "x parts", "a b", axis=2, name="split"), node("Conv", "b w", "y", name="conv")],
        (1, 3, 16, 16),
        {"parts": ints(6, 10), "w": floats(8, 3, 3, 3)},
    )
    field = check_shapes(proto, (1, 3, 16, 16)).stage("conv").receptive_field
    assert field is not None
    assert tuple(map(int, field.offset)) == (7, 1)


# ---------------------------------------------------------------------------------------------------------------------
# Control flow


def branch(name: str, nodes: Sequence[Any], outputs: Sequence[str], inputs: Sequence[Any] = ()) -> Any:
    return helper.make_graph(
        list(nodes), name, list(inputs), [helper.make_tensor_value_info(each, FLOAT, None) for each in outputs]
    )


def test_a_branch_that_the_size_decides() -> None:
    small = branch("small", [node("MaxPool", "x", "s", kernel_shape=[2, 2], strides=[2, 2], name="pool")], ["s"])
    large = branch("large", [node("MaxPool", "x", "l", kernel_shape=[4, 4], strides=[4, 4], name="pool")], ["l"])
    proto = model(
        [
            node("Shape", "x", "h", start=2, end=3),
            node("Squeeze", "h", "k"),
            node("Less", "k limit", "c"),
            node("If", "c", "m", then_branch=small, else_branch=large, name="choice"),
            node("Relu", "m", "y", name="relu"),
        ],
        (1, 3, "h", "w"),
        {"limit": np.int64(20)},
    )
    for size, stride in ((16, 2), (64, 4)):
        network = check_shapes(proto, (1, 3, size, size))
        assert fields(network, "relu") == ((stride, stride), (stride, stride), False)
        assert network.stages[0].name == "choice/pool"


@pytest.mark.parametrize(("kernel", "known"), [(1, True), (2, False)])
def test_a_branch_that_the_data_decides(kernel: int, known: bool) -> None:
    one = branch("one", [node("MaxPool", "x", "s", kernel_shape=[1, 1])], ["s"])
    other = branch("other", [node("MaxPool", "x", "l", kernel_shape=[kernel] * 2)], ["l"])
    proto = model(
        [
            node("ReduceMax", "x", "k", keepdims=0),
            node("Greater", "k limit", "c"),
            node("If", "c", "y", then_branch=one, else_branch=other, name="choice"),
        ],
        (1, 3, 8, 8),
        {"limit": np.float32(0)},
    )
    stage = read(proto).stage("choice")
    assert stage.kind == "unknown"
    assert stage.output_shape == ((1, 3, 8, 8) if known else ())
    assert "which of its branches runs depends on the data" in stage.note


def loop(count: Any, carried: str = "x") -> Any:
    body = helper.make_graph(
        [
            node("Identity", "go", "on"),
            node("Conv", "state w", "next", pads=[1, 1, 1, 1], name="conv"),
            node("ReduceMean", "next axes", "scan", keepdims=0, name="mean"),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", FLOAT, None),
            helper.make_tensor_value_info("scan", FLOAT, None),
        ],
    )
    return model(
        [node("Loop", f"count true {carried}", "a b", body=body, name="loop"), node("Relu", "a", "y", name="relu")],
        (1, 3, 16, 16),
        {"count": np.int64(count), "true": np.array(True), "w": floats(3, 3, 3, 3), "axes": ints(2, 3)},
        outputs=("y", "b"),
    )


def test_the_rounds_of_a_loop() -> None:
    proto = loop(3)
    network = check_shapes(proto, (1, 3, 16, 16))
    assert fields(network, "relu") == ((7, 7), (1, 1), False)
    convolutions = [stage for stage in network.stages if stage.operator == "Conv"]
    assert len(convolutions) == 3
    assert network.parameters == 81  # one weight, three times
    (rows,) = session(proto, (1, 3, 16, 16), ["b"]).run(None, {"x": floats(1, 3, 16, 16)})
    assert next(each for each in network.stages if each.operator == "Concat").output_shape == rows.shape


def test_a_loop_that_is_too_long_is_passed_over() -> None:
    stage = read(loop(1_000_000)).stage("loop")
    assert stage.kind == "unknown"
    assert "how often it runs" in stage.note


# ---------------------------------------------------------------------------------------------------------------------
# Names


def test_names_of_modules() -> None:
    first = node("Conv", "x w", "a", name="node_Conv_388")
    first.metadata_props.add(
        key="pkg.torch.onnx.name_scopes", value="['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d']"
    )
    again = node("Conv", "a k", "b", name="node_Conv_390")
    again.metadata_props.add(
        key="pkg.torch.onnx.name_scopes", value="['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d_1']"
    )
    alone = node("Relu", "b", "c", name="node_relu")
    alone.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'relu']")
    wrong = node("Relu", "c", "y", name="node_relu_1")
    wrong.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', layer1[")
    network = read(model([first, again, alone, wrong], weights={"w": floats(3, 3, 3, 3), "k": floats(3, 3, 3, 3)}))
    assert [stage.name for stage in network.stages] == [
        "layer1.0.conv1/Conv",
        "layer1.0.conv1/Conv_2",
        "Relu",
        "node_relu_1",
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Operators by themselves


SINGLE: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "GatherND": ([node("GatherND", "x i", "y")], {"i": np.array([[0, 1], [0, 2]], np.int64)}),
    "GatherND in batches": ([node("GatherND", "x i", "y", batch_dims=1)], {"i": np.zeros((1, 5, 2), np.int64)}),
    "GatherElements": ([node("GatherElements", "x i", "y", axis=1)], {"i": np.zeros((1, 2, 8, 8), np.int64)}),
    "ScatterND": ([node("ScatterND", "x i u", "y")], {"i": np.array([[0, 1]], np.int64), "u": floats(1, 8, 8)}),
    "ScatterElements": (
        [node("ScatterElements", "x i u", "y", axis=2)],
        {"i": np.zeros((1, 3, 1, 8), np.int64), "u": floats(1, 3, 1, 8)},
    ),
    "TopK": ([node("TopK", "x k", "y i", axis=1)], {"k": ints(2)}),
    "OneHot": (
        [node("Cast", "x", "c", to=INT64), node("OneHot", "c d v", "y", axis=1)],
        {"d": ints(5), "v": np.float32([0, 1])},
    ),
    "CumSum": ([node("CumSum", "x a", "y")], {"a": np.int64(2)}),
    "Trilu": ([node("Trilu", "x", "y")], {}),
    "GridSample": ([node("GridSample", "x g", "y")], {"g": floats(1, 5, 7, 2)}),
    "Col2Im": (
        [node("Reshape", "x s", "r"), node("Col2Im", "r image block", "y", strides=[2, 2])],
        {"s": ints(1, 12, 16), "image": ints(8, 8), "block": ints(2, 2)},
    ),
    "DepthToSpace": (
        [node("Conv", "x w", "c"), node("DepthToSpace", "c", "y", blocksize=2)],
        {"w": floats(4, 3, 1, 1)},
    ),
    "LSTM": (
        [node("Reshape", "x s", "r"), node("LSTM", "r w u", "y h c", hidden_size=5, direction="bidirectional")],
        {"s": ints(8, 3, 8), "w": floats(2, 20, 8), "u": floats(2, 20, 5)},
    ),
    "GRU": (
        [node("Reshape", "x s", "r"), node("GRU", "r w u", "y h", hidden_size=5)],
        {"s": ints(8, 3, 8), "w": floats(1, 15, 8), "u": floats(1, 15, 5)},
    ),
    "Einsum": ([node("Einsum", "x w", "y", equation="nchw,cd->ndhw")], {"w": floats(3, 6)}),
    "Einsum with an ellipsis": ([node("Einsum", "x w", "y", equation="...w,wd->...d")], {"w": floats(8, 4)}),
    "Einsum without a result": ([node("Einsum", "x", "y", equation="nchw->")], {}),
    "ReverseSequence": ([node("Reshape", "x s", "r"), node("ReverseSequence", "r n", "y")],
                        {"s": ints(8, 3, 8), "n": ints(8, 8, 8)}),
    "DynamicQuantizeLinear": (
        [node("DynamicQuantizeLinear", "x", "q s z"), node("DequantizeLinear", "q s z", "y")],
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
def test_single_operators(name: str) -> None:
    nodes, weights = SINGLE[name]
    check_shapes(model(nodes, (1, 3, 8, 8), weights), (1, 3, 8, 8))


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("LSTM", 8 * 3 * 2 * 4 * 5 * (8 + 5)),
        ("GRU", 8 * 3 * 3 * 5 * (8 + 5)),
        ("Einsum", 8 * 8 * 3 * 6),
        ("Einsum with an ellipsis", 3 * 8 * 8 * 4),
        ("Einsum without a result", 0),
    ],
)
def test_multiply_adds(name: str, macs: int) -> None:
    nodes, weights = SINGLE[name]
    assert read(model(nodes, (1, 3, 8, 8), weights)).macs == macs


def test_a_product_by_letters_keeps_the_places() -> None:
    proto = model([node("Einsum", "x w", "y", equation="nchw,cd->nhwd", name="e")], (1, 3, 8, 8), {"w": floats(3, 6)})
    stage = check_shapes(proto, (1, 3, 8, 8)).stage("e")
    assert stage.spatial == (1, 2)
    assert stage.receptive_field is not None
    assert stage.receptive_field.size == (1, 1)


def test_the_attention_operator() -> None:
    proto = model(
        [
            node("Reshape", "x s", "q", name="flat"),
            node("Transpose", "q", "t", perm=[0, 2, 1]),
            node("Attention", "t t t", "y", q_num_heads=2, kv_num_heads=2, name="attention"),
        ],
        (1, 8, 6, 6),
        {"s": ints(0, 8, -1)},
        opset=23,
    )
    stage = read(proto).stage("attention")
    assert stage.output_shape == (1, 36, 8)
    assert stage.macs == 2 * 36 * 36 * (4 + 4)
    assert stage.receptive_field is not None
    assert stage.receptive_field.context


@pytest.mark.parametrize(
    "nodes",
    [
        [node("NonZero", "x", "y", name="n")],
        [node("Unique", "x", "y", name="n")],
        [node("Cast", "x", "c", to=TensorProto.BOOL), node("Compress", "x m", "y", name="n")],
        [
            node("ReduceMax", "x", "m0", keepdims=0),
            node("Cast", "m0", "m1", to=INT64),
            node("Range", "zero m1 one", "y", name="n"),
        ],
        [
            node("Reshape", "x s1", "boxes"),
            node("Reshape", "x s2", "scores"),
            node("NonMaxSuppression", "boxes scores", "y", name="n"),
        ],
    ],
    ids=lambda nodes: nodes[-1].op_type,
)
def test_a_size_that_depends_on_the_data_is_said_to(nodes: list[Any]) -> None:
    weights = {
        "zero": np.int64(0),
        "one": np.int64(1),
        "s1": ints(1, 48, 4),
        "s2": ints(1, 4, 48),
        "m": np.array([True, False]),
    }
    stage = read(model(nodes, (1, 3, 8, 8), weights)).stage("n")
    assert (stage.kind, stage.output_shape) == ("unknown", ())
    assert "depends on the data" in stage.note


@pytest.mark.parametrize(
    ("nodes", "weights", "sentence"),
    [
        ([node("TopK", "x k", "y i", axis=1)], {"k": ints(4)}, "k=.* must be from 0 to 3"),
        ([node("Einsum", "x w", "y", equation="nchw,dc->nd")], {"w": floats(6, 4)}, "'c' is 3 and 4"),
        ([node("Einsum", "x w", "y", equation="nchw,dc->nq")], {"w": floats(6, 3)}, "asks for q"),
        ([node("Einsum", "x", "y", equation="nc->n")], {}, "gives 'nc' for an input of shape"),
        ([node("GatherND", "x i", "y")], {"i": np.zeros((1, 5), np.int64)}, "name 5 axes"),
        (
            [node("Reshape", "x s", "r"), node("LSTM", "r w u", "y", hidden_size=5)],
            {"s": ints(8, 3, 8), "w": floats(1, 20, 7), "u": floats(1, 20, 5)},
            "has 8 features, but its weight",
        ),
    ],
)
def test_what_does_not_fit_is_refused(nodes: list[Any], weights: dict[str, Any], sentence: str) -> None:
    with pytest.raises(NetworkError, match=sentence):
        read(model(nodes, (1, 3, 8, 8), weights))


def test_other_inputs_are_no_context() -> None:
    """A second input, such as a mask, shows nothing of the image."""
    proto = model([node("Add", "x m", "y", name="sum")], (1, 3, 8, 8))
    proto.graph.input.append(helper.make_tensor_value_info("m", FLOAT, (1, 3, 8, 8)))
    field = read(proto).stage("sum").receptive_field
    assert field is not None
    assert (field.size, field.context) == ((1, 1), False)


def test_the_product_of_all_sizes_is_counted() -> None:
    """Heads are as many products as there are: (N, heads, L, d)."""
    proto = model(
        [
            node("Reshape", "x s", "a"),
            node("Transpose", "a", "q", perm=[0, 1, 3, 2]),
            node("MatMul", "q a", "y", name="scores"),
        ],
        (1, 8, 6, 6),
        {"s": ints(1, 2, 4, 36)},
    )
    assert read(proto).stage("scores").macs == math.prod((2, 36, 36, 4))


def test_a_pointwise_convolution_over_lists_of_places_keeps_them() -> None:
    nodes = [
        node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        node("Reshape", "a lists", "b"),
        node("Conv", "b point", "c"),
        node("Reshape", "c maps", "y", name="y"),
    ]
    weights = {
        "w": floats(6, 3, 3, 3), "point": floats(4, 6, 1, 1), "lists": ints(1, 6, 16, 64), "maps": ints(1, 4, 32, 32),
    }  # fmt: skip
    network = check_shapes(model(nodes, weights=weights), (1, 3, 32, 32))
    field = network.stage("y").receptive_field
    assert field is not None
    assert (field.size, field.stride, field.context, network.losses) == ((3, 3), (1, 1), False, ())
