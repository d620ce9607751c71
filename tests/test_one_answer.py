"""Sixty awkward models, and everybody who reads models: the validator, the doctor, the repair, the backend, exports.

Each is asked for the size of what the last pooling gives; the answers are equal, or everybody refuses for one reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest

from pooling.doctor import read
from pooling.export import make_portable, to_onnx
from pooling.onnx_models import backend, layer_from_node
from pooling.onnx_models.functions import inlined, opset_of
from pooling.onnx_models.graph import all_nodes
from pooling.onnx_models.nodes import POOLING_OPERATORS
from pooling.onnx_models.shapes import TensorType, infer_model, strip_weights, tensors_of
from pooling.validation.pooling_nodes import CannotRunError, read_pooling_nodes

Shape = tuple[int, ...]
X = (1, 3, 9, 9)


@dataclass(frozen=True)
class Model:
    """A model, what its pooling gives, or why everybody refuses it."""

    body: str
    answer: Shape | str
    opsets: str = '"": 13'
    shape: str = "1, 3, 9, 9"
    functions: str = ""
    given: Mapping[str, Sequence[int]] = field(default_factory=dict)
    others: bool = False
    """Whether there are other nodes than poolings, which the backend does not run."""
    inside: bool = False
    """Whether the pooling stands in a graph of a node, of which the doctor knows nothing."""
    inputs: str = ""
    results: str = "float[a, b, c, d] y"
    repaired: bool = False
    """Whether the repair mends what is wrong with it."""
    text: Shape | None = None
    """What the text of the opset says, where it is another: the backend follows it."""

    @property
    def proto(self) -> onnx.ModelProto:
        return onnx.parser.parse_model(
            f"<ir_version: 8, opset_import: [{self.opsets}]>\n"
            f"g (float[{self.shape}] x{self.inputs}) => ({self.results}) {{ {self.body} }}\n{self.functions}"
        )


POOL = "y = MaxPool <kernel_shape = [3, 3], strides = [2, 2]{}> (x)"
"""Of 9 x 9 cells it makes 4 x 4."""
CALL = "y = own.Block (x)"
BLOCK = '<domain: "own", opset_import: [{}]> Block (x) => (y) {{ {} }}'
OWN = '"": 13, "own": 1'
BRANCHES = (
    "y = If (c) <then_branch = t () => (float[a, b, c, d] u) {{ u = MaxPool <{0}> (x) }},"
    "else_branch = e () => (float[a, b, c, d] v) {{ v = MaxPool <{0}> (x) }}>"
)
SMALL = "y = MaxPool <kernel_shape = [2, 2], strides = [3, 3], ceil_mode = 1{}> (x)"
"""Of 6 x 6 cells it makes 2 x 2: a third window would start behind the input."""

MODELS = {
    **{f"opset {n}": Model(POOL.format(""), (1, 3, 4, 4), f'"": {n}') for n in (1, 7, 8, 10, 11, 12, 18, 19, 21, 22)},
    "the domain ai.onnx": Model(POOL.format(""), (1, 3, 4, 4), '"ai.onnx": 13'),
    "two entries, one meaning": Model(POOL.format(""), (1, 3, 4, 4), '"": 12, "ai.onnx": 19'),
    "two entries, the last with ceil_mode": Model(
        SMALL.format(""), (1, 3, 2, 2), '"ai.onnx": 11, "": 21', "1, 3, 6, 6", text=(1, 3, 3, 3)
    ),
    "two entries, two meanings": Model(
        POOL.format(""), "versions 9 and 19, and MaxPool differs", '"": 9, "ai.onnx": 19'
    ),
    "no entry": Model(POOL.format(""), "imports no version of the default operator set", '"own": 1'),
    **{
        f"late windows, opset {n}": Model(
            SMALL.format(""), (1, 3, 2, 2), f'"": {n}', "1, 3, 6, 6", text=(1, 3, 3, 3) if n < 22 else None
        )
        for n in (10, 13, 19, 22)
    },
    "late windows, open batch": Model(SMALL.format(""), (1, 3, 2, 2), shape="N, 3, 6, 6", text=(1, 3, 3, 3)),
    "late windows, batch -1": Model(SMALL.format(""), (1, 3, 2, 2), shape="-1, 3, 6, 6", text=(1, 3, 3, 3)),
    "late windows, batch 0": Model(SMALL.format(""), (1, 3, 2, 2), shape="0, 3, 6, 6", text=(1, 3, 3, 3)),
    "late windows, then another": Model(
        "a = MaxPool <kernel_shape = [2, 2], strides = [3, 3], ceil_mode = 1> (x)"
        "y = MaxPool <kernel_shape = [2, 2]> (a)",
        (1, 3, 1, 1),
        shape="N, 3, 6, 6",
        text=(1, 3, 2, 2),
    ),
    "late windows on the axis that is known": Model(
        "a = MaxPool <kernel_shape = [2, 2], strides = [3, 3], ceil_mode = 1> (x)"
        "y = MaxPool <kernel_shape = [2, 2]> (a)",
        (1, 3, 2, 1),
        shape="N, 3, H, 6",
        given={"x": (1, 3, 9, 6)},
        text=(1, 3, 3, 2),
    ),
    "late windows of a mean": Model(
        "y = AveragePool <kernel_shape = [2, 2], strides = [3, 3], ceil_mode = 1> (x)",
        (1, 3, 2, 2),
        '"": 19',
        "N, 3, 6, 6",
        text=(1, 3, 3, 3),
    ),
    "late windows in one dimension": Model(
        "y = MaxPool <kernel_shape = [2], strides = [3], ceil_mode = 1> (x)",
        (1, 3, 2),
        shape="N, 3, 6",
        text=(1, 3, 3),
        results="float[a, b, c] y",
    ),
    "ceil_mode and VALID": Model(SMALL.format(', auto_pad = "VALID"'), (1, 3, 3, 3), shape="1, 3, 8, 8"),
    "ceil_mode and SAME": Model(SMALL.format(', auto_pad = "SAME_UPPER"'), (1, 3, 2, 2), shape="1, 3, 6, 6"),
    "SAME_UPPER": Model(POOL.format(', auto_pad = "SAME_UPPER"'), (1, 3, 5, 5)),
    "SAME_LOWER": Model(POOL.format(', auto_pad = "SAME_LOWER"'), (1, 3, 5, 5), '"": 1'),
    "VALID": Model(POOL.format(', auto_pad = "VALID"'), (1, 3, 4, 4)),
    "SAME and dilation": Model(POOL.format(', auto_pad = "SAME_UPPER", dilations = [2, 2]'), (1, 3, 5, 5)),
    "SAME and strides beyond the kernel": Model(
        'y = MaxPool <kernel_shape = [1, 1], strides = [4, 4], auto_pad = "SAME_UPPER"> (x)', (1, 3, 3, 3)
    ),
    "pads beside SAME": Model(POOL.format(', auto_pad = "SAME_UPPER", pads = [2, 2, 2, 2]'), (1, 3, 5, 5)),
    "pads beside VALID": Model(POOL.format(', auto_pad = "VALID", pads = [2, 2, 2, 2]'), (1, 3, 4, 4)),
    "a function": Model(CALL, (1, 3, 4, 4), OWN, functions=BLOCK.format('"": 13', POOL.format(""))),
    "a function of an older opset": Model(CALL, (1, 3, 4, 4), OWN, functions=BLOCK.format('"": 11', POOL.format(""))),
    "a function of a newer opset": Model(CALL, (1, 3, 4, 4), OWN, functions=BLOCK.format('"": 22', POOL.format(""))),
    "a function in which ceil_mode is another": Model(
        CALL, "and MaxPool differs between them", OWN, functions=BLOCK.format('"": 22', POOL.format(", ceil_mode = 1"))
    ),
    "a function with late windows": Model(
        CALL, (1, 3, 2, 2), OWN, "N, 3, 6, 6", functions=BLOCK.format('"": 12', SMALL.format("")), text=(1, 3, 3, 3)
    ),
    "an attribute of a function": Model(
        "y = own.Block <k = [3, 3]> (x)",
        (1, 3, 7, 7),
        OWN,
        functions='<domain: "own", opset_import: ["": 13]> Block <k> (x) => (y) '
        "{ y = MaxPool <kernel_shape: ints = @k> (x) }",
    ),
    "a default of a function": Model(
        CALL,
        (1, 3, 5, 5),
        OWN,
        functions='<domain: "own", opset_import: ["": 13]> Block <c: int = 1> (x) => (y) '
        "{ y = MaxPool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode: int = @c> (x) }",
    ),
    "a function that calls another": Model(
        CALL,
        (1, 3, 2, 2),
        OWN,
        functions='<domain: "own", opset_import: ["": 13, "own": 1]> Block (x) => (y) '
        "{ a = own.Inner (x) y = own.Inner (a) }"
        '<domain: "own", opset_import: ["": 13]> Inner (x) => (y) '
        "{ y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x) }",
    ),
    "a function that nobody calls": Model(
        POOL.format(""), (1, 3, 4, 4), OWN, functions=BLOCK.format('"": 13', SMALL.format(""))
    ),
    "a function with the name of a pooling": Model(
        POOL.format(""),
        "a function MaxPool in the domain of ONNX's own operators",
        functions='<domain: "", opset_import: ["": 13]> MaxPool (x) => (y) { y = Identity (x) }',
    ),
    "other nodes around": Model(
        "a = Relu (x) z = Neg (a) y = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (z)", (1, 3, 4, 4), others=True
    ),
    "a reshape by constants": Model(
        "s = Constant <value_ints = [1, 3, 3, 27]> () a = Reshape (x, s) y = MaxPool <kernel_shape = [3, 3]> (a)",
        (1, 3, 1, 25),
        others=True,
    ),
    "a sequence beside it": Model(POOL.format(""), (1, 3, 4, 4), inputs=", seq(float[a]) s", others=True),
    "an optional beside it": Model(
        POOL.format(""), (1, 3, 4, 4), '"": 16', inputs=", optional(float[a]) s", others=True
    ),
    "a branch": Model(
        BRANCHES.format("kernel_shape = [3, 3], strides = [2, 2]"),
        (1, 3, 4, 4),
        inputs=", bool c",
        others=True,
        inside=True,
    ),
    "a branch with late windows": Model(
        BRANCHES.format("kernel_shape = [2, 2], strides = [3, 3], ceil_mode = 1"),
        (1, 3, 2, 2),
        shape="N, 3, 6, 6",
        inputs=", bool c",
        others=True,
        inside=True,
    ),
    "an optional output left out": Model(POOL.format("").replace("y =", "y, _unused ="), (1, 3, 4, 4)),
    "indices": Model(POOL.format("").replace("y =", "y, i ="), (1, 3, 4, 4)),
    "global": Model("y = GlobalAveragePool (x)", (1, 3, 1, 1)),
    "global norm": Model("y = GlobalLpPool <p = 1> (x)", (1, 3, 1, 1)),
    "default p and strides": Model("y = LpPool <kernel_shape = [2, 2]> (x)", (1, 3, 8, 8)),
    "ints of p in opset 1": Model("y = LpPool <kernel_shape = [2, 2], p = 2.0> (x)", (1, 3, 8, 8), '"": 1'),
    "sizes given": Model(POOL.format(""), (2, 3, 5, 6), shape="N, 3, H, W", given={"x": (2, 3, 11, 13)}),
    "sizes of 0": Model(POOL.format(""), (2, 3, 5, 6), shape="0, 3, 0, 0", given={"x": (2, 3, 11, 13)}),
    "no window": Model("y = MaxPool <kernel_shape = [10, 10]> (x)", "finds no window on axis H"),
    "a tensor that nobody gives": Model(POOL.format("").replace("(x)", "(q)"), "reads 'q', which no input"),
    "a tensor twice": Model(f"{POOL.format('')} {POOL.format('')}", "writes 'y', which is there already"),
    "a cycle": Model("a = MaxPool <kernel_shape = [2, 2]> (y) y = MaxPool <kernel_shape = [2, 2]> (a)", "reads 'y'"),
    "no kernel_shape": Model("y = MaxPool <strides = [2, 2]> (x)", "kernel_shape is missing"),
    "a kernel for other axes": Model("y = MaxPool <kernel_shape = [2]> (x)", "kernel_shape"),
    "an unknown attribute": Model(POOL.format(", window = 2"), "attribute 'window' does not exist in opset 13"),
    "an attribute of a later opset": Model(
        POOL.format(", ceil_mode = 1"), "'ceil_mode' does not exist in opset 8", '"": 8', repaired=True
    ),
    "an attribute of another type": Model(POOL.format(", ceil_mode = 1.0"), "ceil_mode has type FLOAT; it must be INT"),
    "ceil_mode 2": Model(POOL.format(", ceil_mode = 2"), "ceil_mode=2 must be 0 or 1"),
    "an unknown auto_pad": Model(POOL.format(', auto_pad = "SAME"'), "auto_pad='SAME' is not a known name"),
    "three strides": Model(
        "y = MaxPool <kernel_shape = [2, 2], strides = [1, 1, 1]> (x)", "strides=[1, 1, 1] must have one integer"
    ),
    "an operator before its time": Model(
        "y, i = MaxPool <kernel_shape = [2, 2]> (x)", "outputs=['y', 'i'] must be one", '"": 1'
    ),
}


def stale(recorded: str, result: str = "float[a, b, c, d] y") -> onnx.ModelProto:
    """Make a model that records a shape which its nodes do not give: 4 x 4 cells, of which the next makes 2 x 2."""
    return onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 13]>\n'
        f"g (float[N, 3, 9, 9] x) => ({result}) <{recorded}> {{\n"
        "a = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (x)\n"
        "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a) }\n"
    )


STALE = {
    "stale in the middle": stale("float[N, 3, 5, 5] a"),
    "stale rank": stale("float[N, 3] a"),
    "stale at the end": stale("", "float[N, 3, 7, 7] y"),
    "stale and open": stale("float[N, 3, H, W] a", "float[N, 3, 0, 0] y"),
}


def external() -> onnx.ModelProto:
    """Make a model with a weight in a file of its own, which is not there: nobody needs its numbers."""
    made = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 13]>\n'
        "g (float[1, 3, 9, 9] x) => (float[a, b, c, d] y) {\n"
        "a = Conv <pads = [1, 1, 1, 1]> (x, w) y = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (a) }\n"
    )
    weight = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=(3, 3, 3, 3))
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    made.graph.initializer.append(weight)
    return made


CASES = {name: (each.proto, each) for name, each in MODELS.items()} | {
    name: (proto, Model("", (1, 3, 2, 2))) for name, proto in STALE.items()
}
CASES["data in a file"] = external(), Model("", (1, 3, 4, 4), others=True)


def test_there_are_sixty() -> None:
    assert len(CASES) >= 60


def reason(action: Callable[[], Shape]) -> Shape | str:
    try:
        return action()
    except (CannotRunError, ValueError) as error:
        return str(error)


def answers(proto: onnx.ModelProto, model: Model, path: Path) -> dict[str, Shape | str]:
    onnx.save(proto, path)
    size = model.given.get("x")

    def validator() -> Shape:
        stage = read_pooling_nodes(path, model.given).nodes[-1]
        return stage.layer().output_shape(stage.input_shape)

    def export() -> Shape:
        stage = read_pooling_nodes(path, model.given).nodes[-1]
        made = to_onnx(layer_from_node(stage.proto, stage.opset, stage.input_shape), stage.input_shape, verify=False)
        shape = TensorType.of(made.graph.output[0]).shape
        assert shape is not None
        return tuple(size or 0 for size in shape)

    def doctor() -> Shape:
        return next(each for each in reversed(read(path, size).stages) if each.layer is not None).output_shape

    def repair() -> Shape:
        result = make_portable(proto, input_shapes=model.given, verify=False)
        if result.misfit:
            raise ValueError(result.misfit)
        inferred = infer_model("repair", strip_weights(inlined("repair", result.model)))
        shape = tensors_of(inferred.graph)["y"].shape
        assert shape is not None
        return tuple(size or 1 for size in shape)  # the batch alone is open

    def run() -> Shape:
        shape = size or [each or 1 for each in TensorType.of(proto.graph.input[0]).shape or ()]
        return tuple(np.shape(backend.run_model(path, [np.zeros(shape, np.float32)])[0]))

    readers = {"validator": validator, "doctor": doctor, "repair": repair, "backend": run, "export": export}
    if model.others or (model.inside and not isinstance(model.answer, str)):
        del readers["backend"]
    if model.inside:
        del readers["doctor"]
    if model.repaired:
        del readers["repair"]
    return {name: reason(reader) for name, reader in readers.items()}


@pytest.mark.parametrize("name", CASES)
def test_everybody_has_one_answer(name: str, tmp_path: Path) -> None:
    proto, model = CASES[name]
    found = answers(proto, model, tmp_path / "model.onnx")
    if isinstance(model.answer, str):
        refusals = {reader: isinstance(said, str) and model.answer in said for reader, said in found.items()}
        assert all(refusals.values()), found
    else:
        wanted = dict.fromkeys(found, model.answer)
        if model.text is not None:
            wanted["backend"] = model.text
        assert found == wanted


@pytest.mark.parametrize("name", [name for name, (_, model) in CASES.items() if not isinstance(model.answer, str)])
def test_everybody_reads_the_nodes_of_one_opset(name: str, tmp_path: Path) -> None:
    proto, model = CASES[name]
    onnx.save(proto, tmp_path / "model.onnx")
    opset = opset_of("test", inlined("test", proto))
    assert {stage.opset for stage in read_pooling_nodes(tmp_path / "model.onnx", model.given).nodes} == {opset}
    if not model.inside:
        network = read(tmp_path / "model.onnx", model.given.get("x"))
        poolings = [node for node in all_nodes(inlined("test", proto).graph.node) if node.op_type in POOLING_OPERATORS]
        layers = [stage.layer for stage in network.stages if stage.layer is not None]
        wanted = [
            layer_from_node(node, opset, stage.input_shape)
            for node, stage in zip(
                poolings, read_pooling_nodes(tmp_path / "model.onnx", model.given).nodes, strict=True
            )
        ]
        assert layers == wanted
