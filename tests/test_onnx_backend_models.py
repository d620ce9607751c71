"""Models that the ONNX backend takes or refuses: one sentence for whatever is wrong with a file, and never a crash."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.conftest import Array, assert_same

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402
from onnx.external_data_helper import set_external_data  # noqa: E402

from pooling.onnx_models import backend as onnx_backend  # noqa: E402

NODE = helper.make_node("MaxPool", ["x"], ["y"], name="pool", kernel_shape=[2, 2], strides=[2, 2])
X = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
HALVED = np.array([[[[5, 7], [13, 15]]]], np.float32)


def value(name: str, *sizes: Any, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, sizes)


def model(
    *nodes: onnx.NodeProto,
    inputs: list[onnx.ValueInfoProto] | None = None,
    outputs: list[onnx.ValueInfoProto] | None = None,
    opset: int = 18,
    **keywords: Any,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes or [NODE],
        "poolings",
        inputs or [value("x", "N", 1, 4, 4)],
        outputs or [value("y", "N", 1, None, None)],
        **keywords,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def refused(made: Any, device: str = "CPU") -> str:
    with pytest.raises(ValueError) as error:
        onnx_backend.prepare(made, device)
    assert type(error.value) is ValueError
    sentence = str(error.value)
    assert sentence.startswith("onnx_backend: ")
    assert "\n" not in sentence
    assert not sentence.endswith(".")
    assert not onnx_backend.is_compatible(made, device)
    return sentence


# --- models that run -------------------------------------------------------------------------------------------------


def test_a_model_runs_from_memory_bytes_and_file(tmp_path: Path) -> None:
    made = model()
    onnx.save(made, tmp_path / "model.onnx")
    for given in (made, made.SerializeToString(), tmp_path / "model.onnx", str(tmp_path / "model.onnx")):
        assert onnx_backend.is_compatible(given)
        prepared = onnx_backend.prepare(given)
        for inputs in ([X], (X,), {"x": X}, X):
            outputs = prepared.run(inputs)
            assert isinstance(outputs, tuple)
            assert_same(outputs[0], HALVED)
        assert_same(onnx_backend.run_model(given, [X])[0], HALVED)


def test_outputs_have_names() -> None:
    outputs = onnx_backend.run_model(model(), [X])
    assert_same(outputs["y"], HALVED)  # type: ignore[call-overload]


def test_nodes_feed_each_other_and_constants_come_along() -> None:
    given = {"kernel_shape": [2, 2], "strides": [2, 2]}
    shape = helper.make_tensor("shape", TensorProto.INT64, [4], [1, 1, 5, 5])
    made = model(
        helper.make_node("MaxPool", ["x"], ["value", "index"], **given),
        helper.make_node("MaxUnpool", ["value", "index", "shape"], ["back"], **given),
        helper.make_node("GlobalAveragePool", ["back"], ["mean"]),
        inputs=[value("x", 1, 1, 5, 5)],
        outputs=[value("mean", 1, 1, 1, 1), value("index", 1, 1, 2, 2, dtype=TensorProto.INT64)],
        initializer=[shape],
    )
    mean, index = onnx_backend.run_model(made, [np.arange(25, dtype=np.float32).reshape(1, 1, 5, 5)])
    assert index.ravel().tolist() == [6, 8, 16, 18]
    assert mean.item() == pytest.approx(48 / 25)


def test_initializers_may_stand_among_the_inputs_as_old_models_have_it() -> None:
    rois = onnx.numpy_helper.from_array(np.array([[0, 0, 0, 3, 3]], np.float32), "rois")
    node = helper.make_node("MaxRoiPool", ["x", "rois"], ["y"], pooled_shape=[2, 2])
    made = model(node, inputs=[value("x", 1, 1, 4, 4), value("rois", 1, 5)], opset=1, initializer=[rois])
    assert_same(onnx_backend.run_model(made, [X])[0], HALVED)


def test_functions_are_put_in_line() -> None:
    made = model(helper.make_node("Halve", ["x"], ["y"], domain="local"))
    made.opset_import.append(helper.make_opsetid("local", 1))
    inner = helper.make_node("MaxPool", ["a"], ["b"], kernel_shape=[2, 2], strides=[2, 2])
    made.functions.append(helper.make_function("local", "Halve", ["a"], ["b"], [inner], [helper.make_opsetid("", 18)]))
    assert_same(onnx_backend.run_model(made, [X])[0], HALVED)


def test_data_beside_the_model_is_read(tmp_path: Path) -> None:
    onnx.save(with_external_data("data/rois.bin", tmp_path), tmp_path / "model.onnx")
    assert_same(onnx_backend.run_model(tmp_path / "model.onnx", [X])[0], HALVED)


def with_external_data(location: str, folder: Path | None = None) -> onnx.ModelProto:
    """Make a model whose regions lie in a file, which is written below `folder`."""
    rois = onnx.numpy_helper.from_array(np.array([[0, 0, 0, 3, 3]], np.float32), "rois")
    content = rois.raw_data
    if folder is not None:
        path = folder / location
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    set_external_data(rois, location)
    rois.ClearField("raw_data")
    node = helper.make_node("MaxRoiPool", ["x", "rois"], ["y"], pooled_shape=[2, 2])
    return model(node, initializer=[rois])


def test_left_out_inputs_and_outputs_have_empty_names() -> None:
    unpool = helper.make_node("MaxUnpool", ["x", "i", ""], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    places = np.array([5, 7, 13, 15]).reshape(1, 1, 2, 2)
    (back,) = onnx_backend.run_node(unpool, [HALVED, places])
    assert back.ravel()[places.ravel()].tolist() == [5, 7, 13, 15]
    pool = helper.make_node("MaxPool", ["x"], ["y", ""], kernel_shape=[2, 2], strides=[2, 2])
    assert len(onnx_backend.run_node(pool, [X], opset_version=12)) == 1


# --- devices ---------------------------------------------------------------------------------------------------------


def test_devices() -> None:
    assert onnx_backend.supports_device("CPU")
    assert onnx_backend.supports_device("CPU:0")
    for device in ("CUDA", "CUDA:1", "CPU:1", "cpu", ""):
        assert not onnx_backend.supports_device(device)
        assert refused(model(), device) == f"onnx_backend: device={device!r} is not supported; use 'CPU'"
    with pytest.raises(ValueError, match=r"^onnx_backend: device='CUDA' is not supported; use 'CPU'$"):
        onnx_backend.run_node(NODE, [X], "CUDA")


# --- nodes -----------------------------------------------------------------------------------------------------------

KNOWN = "AveragePool, GlobalAveragePool, GlobalLpPool, GlobalMaxPool, LpPool, MaxPool, MaxRoiPool, MaxUnpool, RoiAlign"


def pool(operator: str = "MaxPool", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, ["x"], ["y"], name="pool", **attributes)


def without_numbers(node: onnx.NodeProto) -> onnx.NodeProto:
    del node.attribute[0].ints[:]
    return node


@pytest.mark.parametrize(
    ("node", "opset", "rest"),
    [
        (helper.make_node("Relu", ["x"], ["y"], name="pool"), 18, f" is not understood; known are {KNOWN}"),
        (
            helper.make_node("MaxPool", ["x"], ["y"], name="pool", domain="com.example", kernel_shape=[2]),
            18,
            f" of domain 'com.example' is not understood; known are {KNOWN}",
        ),
        (pool(), 18, ": kernel_shape is missing; give one integer per spatial axis"),
        (pool("LpPool"), 1, ": kernel_shape is missing; give one integer per spatial axis"),
        (
            pool(kernel_shape=[2, 2], strides=[2, 2, 2]),
            18,
            ": strides=[2, 2, 2] must have one integer per spatial axis, 2 and not 3",
        ),
        (
            pool(kernel_shape=[2, 2], pads=[1, 1]),
            18,
            ": pads=[1, 1] must have two integers per spatial axis, 4 and not 2",
        ),
        (
            pool(kernel_shape=[2] * 4),
            18,
            ": kernel_shape=[2, 2, 2, 2] must have 1 to 3 integers, one per spatial axis, not 4",
        ),
        (
            without_numbers(pool(kernel_shape=[2])),
            18,
            ": kernel_shape=[] must have 1 to 3 integers, one per spatial axis, not 0",
        ),
        (
            pool(kernel_shape=[2], dilations=[2]),
            9,
            ": attribute 'dilations' does not exist in opset 9; known are auto_pad, kernel_shape, pads, "
            "storage_order, strides",
        ),
        (
            helper.make_node("MaxUnpool", ["x", "i"], ["y"], name="pool", kernel_shape=[2]),
            8,
            ": MaxUnpool does not exist in opset 8; import a newer opset",
        ),
        (
            helper.make_node("MaxUnpool", ["x"], ["y"], name="pool", kernel_shape=[2]),
            11,
            ": inputs=['x'] must be 2 to 3 tensors; name no more and no fewer",
        ),
        (
            helper.make_node("RoiAlign", ["x", "r"], ["y"], name="pool"),
            16,
            ": inputs=['x', 'r'] must be 3 tensors; name no more and no fewer",
        ),
        (
            pool(kernel_shape=[2]),
            999,
            f": opset=999 must be at most {onnx.defs.onnx_opset_version()}, the newest that onnx {onnx.__version__} "
            "knows; install a newer onnx",
        ),
        (pool(kernel_shape=[2]), 0, ": opset=0 must be at least 1; read it from the model's opset_import"),
    ],
)
def test_nodes_that_are_refused(node: onnx.NodeProto, opset: int, rest: str) -> None:
    sentence = f"onnx_backend: {node.op_type} node 'pool'{rest}"
    assert refused(model(node, opset=opset)) == sentence
    with pytest.raises(ValueError) as error:
        onnx_backend.run_node(node, [X] * len(node.input), opset_version=opset)
    assert str(error.value) == sentence


# --- graphs ----------------------------------------------------------------------------------------------------------


def changed(change: Callable[[onnx.ModelProto], Any]) -> onnx.ModelProto:
    made = model()
    change(made)
    return made


def loop(*names: tuple[str, str]) -> onnx.ModelProto:
    nodes = [helper.make_node("GlobalMaxPool", [source], [result], name=result) for source, result in names]
    return model(*nodes)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (onnx.ModelProto(), "the model has no graph; it is empty, or only a part of one"),
        (b"", "the model has no graph; it is empty, or only a part of one"),
        (
            changed(lambda m: m.ClearField("opset_import")),
            "the model imports no version of the default operator set; its opset_import must name one",
        ),
        (
            changed(lambda m: m.opset_import.append(helper.make_opsetid("ai.onnx", 9))),
            "the model imports the default operator set in versions 18 and 9, and MaxPool differs between them; its "
            "opset_import must name exactly one",
        ),
        (
            loop(("z", "y"), ("y", "z")),
            "GlobalMaxPool node 'y' reads 'z', which no input and no node before it gives; the nodes of a model must "
            "stand in order and never in a cycle",
        ),
        (
            loop(("y", "y")),
            "GlobalMaxPool node 'y' reads 'y', which no input and no node before it gives; the nodes of a model must "
            "stand in order and never in a cycle",
        ),
        (
            loop(("x", "y"), ("x", "y")),
            "GlobalMaxPool node 'y' writes 'y', which is there already; give each tensor one name",
        ),
        (model(outputs=[value("q", 1, 1, 2, 2)]), "the output 'q' of the model comes from no node"),
        (
            changed(lambda m: m.graph.input[0].type.tensor_type.ClearField("shape")),
            "the input 'x' of the model has no shape, so not even its rank is known; give it one, with names for sizes "
            "that are not known",
        ),
        (
            changed(lambda m: m.graph.output[0].type.tensor_type.ClearField("shape")),
            "the output 'y' of the model has no shape, so not even its rank is known; give it one, with names for "
            "sizes that are not known",
        ),
        (
            changed(lambda m: m.graph.input[0].type.CopyFrom(helper.make_sequence_type_proto(m.graph.input[0].type))),
            "the input 'x' of the model is no tensor; make it one",
        ),
        (
            changed(lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 99)),
            f"the input 'x' of the model has the element type 99, which onnx {onnx.__version__} does not know",
        ),
        (
            changed(lambda m: m.graph.sparse_initializer.add()),
            "the model has sparse initializers, which no pooling operator takes; make them dense",
        ),
        (
            changed(lambda m: m.ClearField("ir_version")),
            "the model is not valid (The model does not have an ir_version set properly)",
        ),
        (
            with_external_data("rois.bin"),
            "initializer 'rois' has its data in the file 'rois.bin'; give the path of the model, not the model",
        ),
    ],
)
def test_models_that_are_refused(made: Any, sentence: str) -> None:
    assert refused(made) == f"onnx_backend: {sentence}"


@pytest.mark.parametrize("tensor", ["short", "negative", "huge", "untyped"])
def test_initializers_that_cannot_be_read(tensor: str) -> None:
    rois = onnx.numpy_helper.from_array(np.zeros((1, 5), np.float32), "rois")
    if tensor == "short":
        rois.raw_data = rois.raw_data[:-3]
    elif tensor == "untyped":
        rois.data_type = 99
    else:
        rois.dims[0] = -4 if tensor == "negative" else 2**40
    node = helper.make_node("MaxRoiPool", ["x", "rois"], ["y"], pooled_shape=[2, 2])
    told = f"has the element type 99, which onnx {onnx.__version__} does not know"
    sentence = told if tensor == "untyped" else "cannot be read ("
    assert refused(model(node, initializer=[rois])).startswith(f"onnx_backend: initializer 'rois' {sentence}")


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "none.onnx"
    assert refused(missing) == f"onnx_backend: {missing} cannot be read (No such file or directory)"
    assert refused(tmp_path) == f"onnx_backend: {tmp_path} cannot be read (Is a directory)"


def test_a_file_of_more_than_two_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)  # a hole, which takes no room
    assert refused(path) == (
        "onnx_backend: large.onnx is larger than 2 GB, the most that a protobuf file can hold; keep its tensors in "
        "files of their own (external data)"
    )


def test_a_model_that_was_cut_off_anywhere(tmp_path: Path) -> None:
    content = model().SerializeToString()
    for length in range(len(content)):
        part = content[:length]
        if onnx_backend.is_compatible(part):
            assert_same(onnx_backend.run_model(part, [X])[0], HALVED)  # what was cut off says nothing about the graph
        else:
            refused(part)
    (tmp_path / "cut.onnx").write_bytes(content[: len(content) // 2])
    assert refused(tmp_path / "cut.onnx").startswith(
        "onnx_backend: cut.onnx is not an ONNX model, or only a part of one ("
    )


CONTENT = model(
    helper.make_node(
        "MaxPool", ["x"], ["v", "i"], name="a", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"
    ),
    helper.make_node("MaxUnpool", ["v", "i", "s"], ["y"], name="b", kernel_shape=[2, 2], strides=[2, 2]),
    initializer=[helper.make_tensor("s", TensorProto.INT64, [4], [1, 1, 4, 4])],
).SerializeToString()


@hypothesis.settings(max_examples=400, deadline=None)
@hypothesis.given(st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_model_with_changed_bytes_is_refused_in_words_or_prepared(changes: list[tuple[int, int]]) -> None:
    content = bytearray(CONTENT)
    for place, byte in changes:
        content[place] = byte
    if not onnx_backend.is_compatible(bytes(content)):
        refused(bytes(content))


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/hostname", "data/../../outside.bin", ""])
def test_data_outside_of_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(20))
    onnx.save(with_external_data(location), folder / "model.onnx")
    assert refused(folder / "model.onnx") == (
        f"onnx_backend: initializer 'rois' has its data in {location!r}, which is not in the folder of the model; "
        "move it there"
    )


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(20))
    os.symlink(tmp_path / "outside.bin", folder / "rois.bin")
    onnx.save(with_external_data("rois.bin"), folder / "model.onnx")
    assert "which is not in the folder of the model" in refused(folder / "model.onnx")


@pytest.mark.parametrize("content", [None, b"", bytes(19)], ids=["missing", "empty", "short"])
def test_data_that_is_not_all_there(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "rois.bin").write_bytes(content)
    onnx.save(with_external_data("rois.bin"), tmp_path / "model.onnx")
    assert refused(tmp_path / "model.onnx").startswith("onnx_backend: initializer 'rois'")


@pytest.mark.parametrize("made", [None, 3, ["model.onnx"], NODE])
def test_what_is_no_model_at_all(made: Any) -> None:
    for function in (onnx_backend.prepare, onnx_backend.is_compatible):
        with pytest.raises(TypeError) as error:
            function(made)
        kind = type(made).__name__
        assert str(error.value) == f"onnx_backend: model must be an onnx.ModelProto, bytes or a path, not {kind}"


# --- inputs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "kind", "sentence"),
    [
        ([], ValueError, "0 inputs are given; the model has 1: ['x']"),
        ([X, X], ValueError, "2 inputs are given; the model has 1: ['x']"),
        ({"z": X}, ValueError, "inputs are named ['z']; the model's are ['x']"),
        ("x", TypeError, "inputs must be a list of arrays or a dict by name, not str"),
        (None, TypeError, "inputs must be a list of arrays or a dict by name, not NoneType"),
        ([X.astype(np.float64)], TypeError, "input 'x' has dtype float64; the model takes float32"),
        ([X[0]], ValueError, "input 'x' has shape (1, 4, 4); the model takes (?, 1, 4, 4)"),
        ([X[:, :, :3]], ValueError, "input 'x' has shape (1, 1, 3, 4); the model takes (?, 1, 4, 4)"),
        ([["a"]], TypeError, "input 'x' has dtype str32; the model takes float32"),
    ],
)
def test_inputs_that_are_refused(inputs: Any, kind: type[Exception], sentence: str) -> None:
    prepared = onnx_backend.prepare(model())
    with pytest.raises(kind) as error:
        prepared.run(inputs)
    assert str(error.value) == f"onnx_backend: {sentence}"


@pytest.mark.parametrize(
    ("node", "inputs", "kind", "rest"),
    [
        (
            NODE,
            [X[0, 0]],
            ValueError,
            "input_shape=(4, 4) has 2 axes; it must have 3 to 5: batch, channels and one to three spatial axes",
        ),
        (NODE, [X[0]], ValueError, "kernel_shape=[2, 2] must have one integer per spatial axis, 1 and not 2"),
        (
            NODE,
            [X.astype(np.int32)],
            TypeError,
            "X has dtype int32, which is not accepted in opset 18; use double, float, float16, int8, uint8",
        ),
        (
            helper.make_node("RoiAlign", ["x", "r", "b"], ["y"], name="pool"),
            [X[0], np.zeros((1, 4), np.float32), np.zeros(1, np.int64)],
            ValueError,
            "input_shape=(1, 4, 4) has 3 axes; it must have 4: batch, channels, height and width",
        ),
        (
            helper.make_node("RoiAlign", ["x", "r", "b"], ["y"], name="pool"),
            [X, np.full((1, 4), 9, np.float32), np.zeros(1, np.int64)],
            ValueError,
            "roi_align: rois[0] scaled is [9, 9, 9, 9], which does not meet its map of 4 x 4 pixels",
        ),
        (
            helper.make_node("RoiAlign", ["x", "r", "b"], ["y"], name="pool", mode="sum"),
            [X, np.ones((1, 4), np.float32), np.zeros(1, np.int64)],
            ValueError,
            "roi_align: mode='sum' must be 'avg' or 'max'",
        ),
        (
            helper.make_node("LpPool", ["x"], ["y"], name="pool", kernel_shape=[2, 2], p=0),
            [X],
            ValueError,
            "lp_pool2d: norm_type=0 must be above 0; use 1, 2 or another power, or math.inf for the maximum",
        ),
        (
            helper.make_node("MaxUnpool", ["x", "i", "s"], ["y"], name="pool", kernel_shape=[2, 2]),
            [X, np.zeros(X.shape, np.int64), np.array([1, 1, 9])],
            ValueError,
            "output_shape is [1, 1, 9]; it must be one row of 4 sizes that begins with the batch and channels of X, "
            "[1, 1]",
        ),
        (
            helper.make_node("MaxUnpool", ["x", "i", "s"], ["y"], name="pool", kernel_shape=[2, 2]),
            [X, np.zeros(X.shape, np.int64), np.array([1, 1, 4, 3])],
            ValueError,
            "output_shape is [1, 1, 4, 3], which is smaller than X, [1, 1, 4, 4]; give the shape of the tensor that "
            "was pooled",
        ),
        (
            helper.make_node("MaxUnpool", ["x", "i"], ["y"], name="pool", kernel_shape=[2, 2]),
            [X, np.zeros((1, 1, 4), np.int64)],
            ValueError,
            "I has shape (1, 1, 4), X (1, 1, 4, 4); give each element one index",
        ),
    ],
)
def test_arrays_that_a_node_refuses(
    node: onnx.NodeProto, inputs: list[Array], kind: type[Exception], rest: str
) -> None:
    with pytest.raises(kind) as error:
        onnx_backend.run_node(node, inputs, opset_version=18)
    assert type(error.value) is kind
    assert str(error.value) == f"onnx_backend: {node.op_type} node 'pool': {rest}"


@pytest.mark.parametrize("index", [-1, 25, 10**12, -(10**12)])
def test_indices_that_name_no_element(index: int) -> None:
    node = helper.make_node("MaxUnpool", ["x", "i"], ["y"], name="pool", kernel_shape=[2, 2])
    places = np.zeros(X.shape, np.int64)
    places[0, 0, 1, 2] = index
    with pytest.raises(ValueError, match=r"^onnx_backend: MaxUnpool node 'pool': "):
        onnx_backend.run_node(node, [X, places], opset_version=18)
