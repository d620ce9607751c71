"""The readers of models: one reading of each, or one sentence why there is none, by all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pooling.doctor import read
from pooling.export import make_portable
from pooling.onnx_models import backend as onnx_backend
from pooling.onnx_models.functions import inlined, opset_of
from pooling.onnx_models.limits import MOST_NODES
from pooling.open_sizes import TRIED, filled, hinted_sizes, spread
from pooling.validation.pooling_nodes import CannotRunError, read_pooling_nodes

OWN = "own"


def pool(**attributes: Any) -> onnx.NodeProto:
    return helper.make_node("MaxPool", ["a"], ["b"], "pool", kernel_shape=[2, 2], strides=[2, 2], **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    imports: Sequence[tuple[str, int]],
    functions: Sequence[onnx.FunctionProto] = (),
    shape: Sequence[int | str] = (1, 3, 9, 9),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, ["n", "c", "h", "w"])],
    )
    opsets = [helper.make_opsetid(*each) for each in imports]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=8)


def calling(
    body: Sequence[onnx.NodeProto], imports: Sequence[tuple[str, int]], own: Sequence[tuple[str, int]]
) -> onnx.ModelProto:
    """Make a model of one call of a function."""
    opsets = [helper.make_opsetid(*each) for each in own]
    block = helper.make_function(OWN, "Block", ["a"], ["b"], body, opsets)
    call = helper.make_node("Block", ["a"], ["b"], "block", domain=OWN)
    return model([call], [*imports, (OWN, 1)], [block])


def bomb(depth: int) -> onnx.ModelProto:
    """Make functions that call the one before twice."""
    functions = []
    for number in range(depth):
        body = [pool()]
        if number:
            inner = f"F{number - 1}"
            body = [
                helper.make_node(inner, ["a"], ["c"], domain=OWN),
                helper.make_node(inner, ["c"], ["b"], domain=OWN),
            ]
        imports = [helper.make_opsetid(OWN, 1) if number else helper.make_opsetid("", 17)]
        functions.append(helper.make_function(OWN, f"F{number}", ["a"], ["b"], body, imports))
    return model([helper.make_node(f"F{depth - 1}", ["a"], ["b"], domain=OWN)], [("", 17), (OWN, 1)], functions)


def readings(made: onnx.ModelProto, folder: Path) -> dict[str, str]:
    """Have everybody read a model; return the shape of what is pooled, or the sentence, by reader."""
    path = folder / "model.onnx"
    onnx.save(made, path)
    array = np.arange(243, dtype=np.float32).reshape(1, 3, 9, 9)

    def validator() -> object:
        (stage,) = read_pooling_nodes(path).nodes
        return stage.layer().output_shape(stage.input_shape)

    def repair() -> object:
        repaired = make_portable(made).model
        return onnx_backend.run_model(repaired, [array])[0].shape

    readers: dict[str, Callable[[], object]] = {
        "validator": validator,
        "doctor": lambda: read(path).stages[0].output_shape,
        "repair": repair,
        "backend": lambda: onnx_backend.run_model(made, [array])[0].shape,
    }
    found = {}
    for name, reader in readers.items():
        try:
            found[name] = str(reader())
        except (CannotRunError, ValueError) as error:
            found[name] = str(error).removeprefix("make_portable: ").removeprefix("onnx_backend: ")
    return found


@pytest.mark.parametrize(
    ("made", "reading"),
    [
        pytest.param(calling([pool()], [("", 19)], [("", 12)]), "(1, 3, 4, 4)", id="the same MaxPool"),
        pytest.param(calling([pool(ceil_mode=1)], [("", 17)], [("", 11)]), "(1, 3, 5, 5)", id="other types only"),
        pytest.param(calling([pool()], [("", 17)], [("", 22)]), "(1, 3, 4, 4)", id="a newer function"),
        pytest.param(calling([pool()], [], [("", 17)]), "(1, 3, 4, 4)", id="a model that imports nothing itself"),
        pytest.param(calling([pool()], [("", 17)], [("ai.onnx", 17)]), "(1, 3, 4, 4)", id="two names of one domain"),
        pytest.param(model([pool()], [("", 12), ("ai.onnx", 19)]), "(1, 3, 4, 4)", id="two versions, one meaning"),
        pytest.param(
            model([pool(auto_pad="SAME_UPPER", pads=[0, 0, 0, 0])], [("", 13)]), "(1, 3, 5, 5)", id="pads of zeros"
        ),
        pytest.param(model([pool(ceil_mode=1)], [("", 13)], shape=(-1, 3, 9, 9)), "(1, 3, 5, 5)", id="batch -1"),
        pytest.param(model([pool(ceil_mode=1)], [("", 13)], shape=(0, 3, 9, 9)), "(1, 3, 5, 5)", id="batch 0"),
    ],
)
def test_all_readers_have_one_reading(made: onnx.ModelProto, reading: str, tmp_path: Path) -> None:
    assert readings(made, tmp_path) == dict.fromkeys(("validator", "doctor", "repair", "backend"), reading)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        pytest.param(
            calling([pool(ceil_mode=1)], [("", 17)], [("", 22)]),
            "the function own::Block is of version 22 of the operator set ai.onnx, the model of version 17, "
            "and MaxPool differs between them; convert the model to one version first, with "
            "onnx.version_converter for example",
            id="ceil_mode",
        ),
        pytest.param(
            calling(
                [
                    helper.make_node("MaxPool", ["a"], ["c"], kernel_shape=[2, 2]),
                    helper.make_node("Softmax", ["c"], ["b"], axis=1),
                ],
                [("", 17)],
                [("", 11)],
            ),
            "the function own::Block is of version 11 of the operator set ai.onnx, the model of version 17, "
            "and Softmax differs between them; convert the model to one version first, with "
            "onnx.version_converter for example",
            id="Softmax",
        ),
        pytest.param(
            model([pool()], [("", 9), ("ai.onnx", 19)]),
            "the model imports the default operator set in versions 9 and 19, and MaxPool differs between them; its "
            "opset_import must name exactly one",
            id="two versions",
        ),
        pytest.param(
            model([pool()], []),
            "the model imports no version of the default operator set; its opset_import must name one",
            id="no version",
        ),
        pytest.param(
            bomb(22),
            "with its functions inlined the model would have 2097152 nodes; at most 200000 are read",
            id="a bomb",
        ),
    ],
)
def test_all_readers_refuse_in_one_sentence(made: onnx.ModelProto, sentence: str, tmp_path: Path) -> None:
    assert readings(made, tmp_path) == dict.fromkeys(("validator", "doctor", "repair", "backend"), sentence)


def test_functions_that_call_each_other_are_counted_before_they_are_expanded() -> None:
    assert len(inlined("test", bomb(5)).graph.node) == 2**4
    with pytest.raises(ValueError, match=f"at most {MOST_NODES} are read"):
        inlined("test", bomb(900))


def test_weights_stay_where_they_are() -> None:
    made = calling([pool()], [("", 17)], [("", 17)])
    weight = helper.make_tensor("w", TensorProto.FLOAT, (4000,), [1.0] * 4000)
    made.graph.initializer.append(weight)
    result = inlined("test", made)
    assert [each.name for each in result.graph.input] == ["a"]
    assert [*result.graph.initializer] == [weight]
    assert made.functions
    plain = model([pool()], [("", 17)])
    assert inlined("test", plain) is plain
    assert opset_of("test", plain) == 17


def test_open_sizes() -> None:
    assert [*filled(("N", 3, 8, 8))] == [(1, 3, 8, 8)]
    assert [shape[2] for shape in filled(("N", "C", "H", 5))] == [*TRIED]
    assert [*filled(("N", "H", "W", "C"), [(48, 64), (7,)], channels_last=True)][:3] == [
        (1, 48, 64, 3),
        (1, 7, 7, 3),
        (1, 224, 224, 3),
    ]
    assert next(filled(("N", "T"))) == (1, 224)
    assert spread(("N", 3, "H"), (2, 3, 5), ("N", "H", "K")) == (2, 5, "K")
    assert hinted_sizes({"imgsz": "640", "image_size": "(3, 20, 30)", "author": "12345", "input_shape": "none"}) == [
        (640,),
        (20, 30),
    ]


def by_default(value: int, **given: int) -> onnx.ModelProto:
    """Make a function whose attribute has a default, called by one in which the call has an attribute or none."""
    inner = pool()
    inner.attribute.append(onnx.AttributeProto(name="ceil_mode", ref_attr_name="up", type=onnx.AttributeProto.INT))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(OWN, 1)]
    block = helper.make_function(OWN, "Block", ["a"], ["b"], [inner], imports)
    block.attribute_proto.append(helper.make_attribute("up", value))
    call = helper.make_node("Block", ["a"], ["b"], "block", domain=OWN, **given)
    around = helper.make_function(OWN, "Around", ["a"], ["b"], [call], imports)
    return model([helper.make_node("Around", ["a"], ["b"], domain=OWN)], [("", 17), (OWN, 1)], [block, around])


@pytest.mark.parametrize(
    ("made", "reading"), [(by_default(1), 5), (by_default(0), 4), (by_default(1, up=0), 4), (by_default(0, up=1), 5)]
)
def test_attributes_that_functions_have_by_default(made: onnx.ModelProto, reading: int, tmp_path: Path) -> None:
    """onnxruntime gives a call that leaves the attribute out the value that the function has for it."""
    onnxruntime = pytest.importorskip("onnxruntime")
    made.ir_version = 9
    session = onnxruntime.InferenceSession(made.SerializeToString())
    (found,) = session.run(None, {"a": np.zeros((1, 3, 9, 9), np.float32)})
    assert found.shape == (1, 3, reading, reading)
    assert set(readings(made, tmp_path).values()) == {f"(1, 3, {reading}, {reading})"}
    changes = make_portable(made).changes
    assert [change.rule for change in changes] == (["ceil_mode"] if reading == 5 else [])


def test_nodes_may_name_the_domain_of_onnx(tmp_path: Path) -> None:
    """onnxruntime runs them; to the checker of ONNX that domain has an empty name only."""
    node = pool(ceil_mode=1)
    node.domain = "ai.onnx"
    assert set(readings(model([node], [("", 17)]), tmp_path).values()) == {"(1, 3, 5, 5)"}


@pytest.mark.parametrize("domain", ["", "ai.onnx"])
def test_a_function_that_hides_a_pooling_operator_is_refused(domain: str, tmp_path: Path) -> None:
    body = [helper.make_node("Relu", ["a"], ["b"])]
    hiding = helper.make_function(domain, "MaxPool", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    found = readings(model([pool()], [("", 17)], [hiding]), tmp_path)
    assert len(found) == 4
    for sentence in found.values():
        assert "has a function MaxPool in the domain of ONNX's own operators" in sentence


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"sizename", "a size"),
        (b"nodename", "a name"),
        (b"tensor_in", "an initializer"),
        (b"entrykey", "an entry"),
        (b"strides", "an attribute"),
        (b"graphname", "the name"),
    ],
)
def test_what_is_no_text_is_refused_by_all_readers(text: bytes, what: str, tmp_path: Path) -> None:
    """Of such a name protobuf gives the bytes, which no str method takes."""
    proto = model([pool()], [("", 17)], shape=(1, 3, "sizename", 9))
    proto.graph.name = "graphname"
    proto.graph.node[0].name = "nodename"
    proto.graph.initializer.append(helper.make_tensor("tensor_in", TensorProto.FLOAT, [1], [0.0]))
    proto.metadata_props.add(key="entrykey", value="1")
    content = proto.SerializeToString()
    assert content.count(text) == 1
    path = tmp_path / "model.onnx"
    misspelt = b"\xff" + text[1:]
    path.write_bytes(content.replace(text, misspelt))
    sentence = f"{what} of the model is not text ({misspelt!r}); names must be UTF-8"
    readers: list[Callable[[], Any]] = [
        lambda: read(path),
        lambda: read_pooling_nodes(path),
        lambda: make_portable(onnx.load_from_string(path.read_bytes())),
    ]
    for reader in readers:
        with pytest.raises((ValueError, CannotRunError)) as error:
            reader()
        assert str(error.value).removeprefix("make_portable: ") == sentence
