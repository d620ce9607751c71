"""Small models that would become large, or run for ever: refused by size before anything is expanded."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, parser

from pooling import cli
from pooling.export.repair import make_portable, proof
from pooling.onnx_models.backend import PoolingBackend
from pooling.onnx_models.constants import too_large
from pooling.onnx_models.limits import DEEPEST_CALL, MOST_BYTES, MOST_NODES, check_growth

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
POOL = "y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>"


def calling(bodies: list[list[onnx.NodeProto]]) -> onnx.ModelProto:
    """A model that calls the last of some functions, F0, F1, ..."""
    functions = [helper.make_function("f", f"F{i}", ["a"], ["b"], body, OPSETS) for i, body in enumerate(bodies)]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 3, 8, 8]), ("y", None))
    )
    graph = helper.make_graph([call(len(bodies) - 1, "x", "y")], "g", [x], [y])
    return helper.make_model(graph, opset_imports=OPSETS, functions=functions, ir_version=8)


def call(number: int, a: str, b: str) -> onnx.NodeProto:
    return helper.make_node(f"F{number}", [a], [b], domain="f")


def doubling(times: int) -> onnx.ModelProto:
    leaf = [helper.make_node("MaxPool", ["a"], ["b"], kernel_shape=[1, 1])]
    return calling([leaf, *([call(i, "a", "t"), call(i, "t", "b")] for i in range(times))])


def in_branches(times: int) -> onnx.ModelProto:
    """The same, where each function calls the one before it in both branches of an If."""

    def both(number: int) -> list[onnx.NodeProto]:
        graphs = [
            helper.make_graph(
                [call(number, "a", f"t{each}")], "g", [], [helper.make_empty_tensor_value_info(f"t{each}")]
            )
            for each in range(2)
        ]
        choose = helper.make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(np.array(True)))
        return [choose, helper.make_node("If", ["c"], ["b"], then_branch=graphs[0], else_branch=graphs[1])]

    leaf = [helper.make_node("MaxPool", ["a"], ["b"], kernel_shape=[1, 1])]
    return calling([leaf, *(both(i) for i in range(times))])


def heavy(times: int) -> onnx.ModelProto:
    """A constant of 64 KB in a function that is called over and over."""
    weight = helper.make_node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(np.zeros(2**14, np.float32)))
    leaf = [weight, helper.make_node("Identity", ["a"], ["b"])]
    return calling([leaf, *([call(i, "a", "t"), call(i, "t", "b")] for i in range(times))])


def chain(length: int) -> onnx.ModelProto:
    leaf = [helper.make_node("MaxPool", ["a"], ["b"], kernel_shape=[1, 1])]
    return calling([leaf, *([call(i, "a", "b")] for i in range(length - 1))])


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (doubling(21), "with its functions inlined the model would have 2097152 nodes; at most 200000 are read"),
        (doubling(64), "about 2**64 nodes"),
        (in_branches(21), "nodes; at most 200000 are read"),
        (heavy(15), " bytes of nodes; at most 1073741824 are read"),
        (chain(DEEPEST_CALL + 1), "functions of the model call each other 101 deep; at most 100 are read"),
        (chain(20_000), "functions of the model call each other 20000 deep; at most 100 are read"),
        (calling([[call(0, "a", "b")]]), "the function f::F0 of the model calls itself"),
        (calling([[call(1, "a", "b")], [call(0, "a", "b")]]), "of the model calls itself"),
    ],
)
def test_functions_that_become_too_much_are_refused_by_every_reader(
    model: onnx.ModelProto, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bomb.onnx"
    onnx.save(model, path)
    for command in (["doctor"], ["repair"], ["validate", "--rounds", "0", "--runtimes", "pooling"]):
        assert cli.main([*command, str(path)]) == 2
        shown = capsys.readouterr()
        assert sentence in " ".join((shown.out + shown.err).split())
    for read in (make_portable, PoolingBackend.prepare):
        with pytest.raises(ValueError) as caught:
            read(model)
        assert sentence in str(caught.value)


@pytest.mark.parametrize("model", [doubling(10), in_branches(10), chain(50), heavy(5)])
def test_functions_that_become_little_are_in_line(model: onnx.ModelProto) -> None:
    check_growth("read", model)


def test_what_is_counted_is_what_comes_out() -> None:
    """Each limit lies between two models, one of which onnx's inliner makes larger than it, the other not."""
    for build in (doubling, in_branches):
        model = build(6)
        inlined = onnx.inliner.inline_local_functions(model)
        count = sum(1 for _ in nodes_of(inlined.graph))
        assert counted(model, MOST_NODES=count) == ""
        assert f" {count} nodes" in counted(model, MOST_NODES=count - 1)
    assert MOST_BYTES > MOST_NODES


def nodes_of(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    return [
        each
        for node in graph.node
        for each in (node, *(inner for a in node.attribute if a.HasField("g") for inner in nodes_of(a.g)))
    ]


def counted(model: onnx.ModelProto, **limits: int) -> str:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in limits.items():
            patch.setattr(f"pooling.onnx_models.limits.{name}", value)
        try:
            check_growth("read", model)
        except ValueError as error:
            return str(error)
    return ""


HUGE = 1 << 40
CONSTANTS = {
    "ConstantOfShape": f"s = Constant <value_ints = [{HUGE}]> () c = ConstantOfShape (s)",
    "Expand": f"s = Constant <value_ints = [{HUGE}]> () o = Constant <value_float = 1.0> () c = Expand (o, s)",
    "Tile": f"s = Constant <value_ints = [{HUGE}]> () o = Constant <value_floats = [1.0]> () c = Tile (o, s)",
    "Range": "a = Constant <value_int = 0> () b = Constant <value_int = 1099511627776> ()"
    " d = Constant <value_int = 1> () i = Range (a, b, d) c = Cast <to = 1> (i)",
    "OneHot": f"i = Constant <value_ints = [0]> () d = Constant <value_int = {HUGE}> ()"
    " v = Constant <value_floats = [0.0, 1.0]> () c = OneHot (i, d, v)",
    "outer sum": "s = Constant <value_ints = [1048576]> () a = ConstantOfShape (s)"
    " p = Constant <value_ints = [-1, 1]> () b = Reshape (a, p) c = Add (a, b)",
    "Pad": f"s = Constant <value_ints = [0, {HUGE}]> () o = Constant <value_floats = [1.0]> () c = Pad (o, s)",
}
LOOP = f"""n = Constant <value_int = {1 << 60}> () t = Cast <to = 9> (n)
c = Loop (n, t, o)
<body = body (int64 i, bool k, float a) => (bool l, float b) {{ l = Identity (k) b = Identity (a) }}>"""


def model_of(text: str) -> onnx.ModelProto:
    return parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17]> g (float[1, 3, 8, 8] x) => (float[N, C, H, W] y) {{ {text} }}'
    )


def behind(text: str, *, used: str) -> onnx.ModelProto:
    return model_of(f"{text} m = ReduceMax <keepdims = 0> (c) {used}")


BOMBS: dict[str, Callable[[], onnx.ModelProto]] = {
    **{
        name: (lambda text=text: behind(text, used=f"z = Add (x, m) {POOL} (z)"))  # type: ignore[misc]
        for name, text in CONSTANTS.items()
    },
    "Loop": lambda: behind(f"o = Constant <value_float = 1.0> () {LOOP}", used=f"z = Add (x, m) {POOL} (z)"),
    "Split": lambda: model_of(f"s = Constant <value_ints = [{','.join(['1'] * 3 + ['0'] * 50_000)}]> () {POOL} (x)"),
    "a name of megabytes": lambda: model_of(f"{'n' * (4 << 20)} = Relu (x) {POOL} ({'n' * (4 << 20)})"),
}


def run(path: Path, command: str) -> tuple[int, str]:
    """Run a command with little memory; return its exit code and what it said."""

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (6 << 30, 6 << 30))

    # A loop without end is given up after a minute; what then follows is the same after some seconds.
    code = (
        "import runpy, pooling.export.repair.proof as proof; proof.LONGEST_RUN = 5.0; "
        "runpy.run_module('pooling', run_name='__main__', alter_sys=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, command, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=little,
        cwd=path.parent,
    ) as process:
        try:
            said, _ = process.communicate(timeout=900)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, said


@pytest.mark.parametrize("command", ["doctor", "repair"])
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_no_more_than_its_bytes(tmp_path: Path, name: str, command: str) -> None:
    path = tmp_path / "bomb.onnx"
    onnx.save(BOMBS[name](), path)
    code, said = run(path, command)
    assert code in (0, 1, 2), said
    assert "Traceback" not in said
    assert "unforeseen" not in said
    assert len(said) < 100_000


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_huge_constant_is_not_worked_out(name: str) -> None:
    if name == "Range":
        pytest.skip("is refused before")
    text = CONSTANTS[name]
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> g () => (float[N] c) {{ {text} }}')
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert too_large(model)
    small = text.replace(str(HUGE), "16").replace("1048576", "16")
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> g () => (float[N] c) {{ {small} }}')
    model.graph.output[0].type.tensor_type.ClearField("shape")
    # Of some onnx infers no shape even then.
    assert not too_large(model) or name in ("OneHot", "Tile")


def test_a_run_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "LONGEST_RUN", 0.2)
    given_up, run = [], proof._run

    def watched(*arguments: Any) -> list[Any]:
        try:
            return run(*arguments)
        except proof.RunTooLongError as error:
            given_up.append(error)
            raise

    monkeypatch.setattr(proof, "_run", watched)
    result = make_portable(BOMBS["Loop"]())
    assert len(given_up) == 1  # nobody waits for other inputs
    assert not result.verified
    assert "a run takes more than 0.2 s" in result.why


def test_a_run_that_was_stopped_for_a_while_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Options:
        terminate = False

    waited: list[float] = []

    class Never(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0)
            assert not options.terminate
            return False

    options, used = Options(), iter([100.0, 100.0, 130.0, 160.0])
    monkeypatch.setattr(proof.time, "process_time", lambda: next(used))
    proof._terminate_late(options, Never())
    assert options.terminate
    assert waited == [60.0, 60.0, 30.0]  # in the first nothing was worked out


def test_an_array_that_claims_more_than_its_file_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(model_of(f"{POOL} (x)"), tmp_path / "m.onnx")
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 1000000000000, 224), }"
    (tmp_path / "claim.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00" + head.ljust(117) + b"\n")
    arguments = ["validate", str(tmp_path / "m.onnx"), "--runtimes", "pooling", "--rounds", "0"]
    assert cli.main([*arguments, "--input", str(tmp_path / "claim.npy")]) == 2
    assert "claim.npy cannot be read" in capsys.readouterr().err
    assert os.path.getsize(tmp_path / "claim.npy") < 200


COUNT = {
    "literal": f"b = Constant <value = int64 {{{HUGE}}}> ()",
    "a product": f"e = Constant <value_int = {HUGE >> 4}> () f = Constant <value_int = 16> () b = Mul (e, f)",
    "a sum": f"e = Constant <value_int = {HUGE}> () b = Add (e, e)",
    "a difference": f"e = Constant <value_int = {HUGE}> () f = Neg (e) b = Sub (e, f)",
    "a cast": f"e = Constant <value_float = {float(HUGE)}> () b = Cast <to = 7> (e)",
    "a power": "e = Constant <value_int = 2> () f = Constant <value_int = 40> () b = Pow (e, f)",
    "an element": f"e = Constant <value_ints = [1, {HUGE}]> () f = Constant <value_int = 1> () b = Gather (e, f)",
    "a size": "s = Constant <value_ints = [30000, 30000]> () e = ConstantOfShape (s) b = Size (e)",
    "sizes": "s = Constant <value_ints = [30000, 30000]> () r = ReduceProd <keepdims = 0> (s) b = Identity (r)",
    "a choice": f"k = Constant <value_int = 5> () e = Constant <value_int = {HUGE}> () t = Cast <to = 9> (k)"
    " b = Where (t, e, k)",
}
"""How a huge number comes about."""
ENLARGED = {
    "Range": "a = Constant <value_int = 0> () d = Constant <value_int = 1> () i = Range (a, b, d)"
    " c = Cast <to = 1> (i)",
    "Range of float": "a = Constant <value_float = 0.0> () d = Constant <value_float = 0.5> () l = Cast <to = 1> (b)"
    " c = Range (a, l, d)",
    "ConstantOfShape": "p = Constant <value_ints = [2, -1]> () q = Concat <axis = 0> (w, w) c = ConstantOfShape (q)",
    "Expand of the input": "p = Concat <axis = 0> (w, o, o, o, o) c = Expand (x, p)",
    "Tile of the input": "p = Concat <axis = 0> (w, o, o, o) c = Tile (x, p)",
    "Pad of the input": "z = Constant <value_ints = [0, 0, 0, 0, 0, 0, 0]> () p = Concat <axis = 0> (z, w)"
    " c = Pad (x, p)",
}
ONES = "o = Constant <value_ints = [1]> () w = Reshape (b, o)"


@pytest.fixture
def said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[onnx.ModelProto], set[str]]:
    """Have every reader refuse a model, each with exit code 2 or a ValueError; return their sentences."""

    def sentences(model: onnx.ModelProto) -> set[str]:
        path = tmp_path / "bomb.onnx"
        path.write_bytes(model.SerializeToString())
        found = set()
        for command in (["doctor"], ["repair"], ["validate", "--rounds", "0", "--runtimes", "pooling"]):
            assert cli.main([*command, str(path)]) == 2
            shown = capsys.readouterr()
            found.add(" ".join((shown.out + shown.err).split()))
        for read in (make_portable, PoolingBackend.prepare):
            with pytest.raises(ValueError) as caught:
                read(model)
            found.add(str(caught.value))
        return found

    return sentences


@pytest.mark.parametrize("count", COUNT)
@pytest.mark.parametrize("name", ENLARGED)
def test_sizes_that_other_nodes_work_out_are_refused_by_every_reader(
    name: str, count: str, said: Callable[[onnx.ModelProto], set[str]]
) -> None:
    if count in ("a size", "sizes") and not name.startswith("Range"):
        pytest.skip("900 million elements of one byte are no bomb")
    text = f"{COUNT[count]} {ONES} {ENLARGED[name]} m = ReduceMax <keepdims = 0> (c) v = Add (x, m) {POOL} (v)"
    sentence = " has more than 4194304 elements" if name.startswith("Range") else " would have about 2**"
    for each in said(model_of(text)):
        assert sentence in each
        assert len(each) < 400


def in_branch(text: str) -> onnx.ModelProto:
    """The same in a branch of an If."""
    model = model_of(f"k = Constant <value_int = 1> () t = Cast <to = 9> (k) {text} {POOL} (x)")
    nodes = [each for each in model.graph.node if each.op_type not in ("MaxPool",)]
    pool = model.graph.node[-1]
    inner = helper.make_graph(nodes[2:], "then", [], [helper.make_empty_tensor_value_info("c")])
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["e"])], "else", [], [helper.make_empty_tensor_value_info("e")]
    )
    choose = helper.make_node("If", ["t"], ["z"], then_branch=inner, else_branch=other)
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:2], choose, pool])
    return model


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_are_refused_by_size_wherever_they_are(
    name: str, said: Callable[[onnx.ModelProto], set[str]]
) -> None:
    whole = behind(CONSTANTS[name], used=f"z = Add (x, m) {POOL} (z)")
    for model in (whole, in_branch(CONSTANTS[name]), in_function(CONSTANTS[name])):
        for each in said(model):
            assert "has more than 4194304 elements" in each or "would have about 2**" in each


def in_function(text: str) -> onnx.ModelProto:
    """The same in a function."""
    model = behind(text, used="result = Add (x, m)")
    body = helper.make_function("f", "Made", ["x"], ["result"], model.graph.node, OPSETS)
    model = model_of(f"{POOL} (z)")
    model.graph.node.insert(0, helper.make_node("Made", ["x"], ["z"], domain="f"))
    model.opset_import.append(OPSETS[1])
    model.functions.append(body)
    return model


def test_doubling_and_many_constants_are_counted(said: Callable[[onnx.ModelProto], set[str]]) -> None:
    doubled = "c0 = Constant <value_floats = [1.0, 2.0]> ()"
    doubled += "".join(f" c{n + 1} = Concat <axis = 0> (c{n}, c{n})" for n in range(40))
    many = f"s = Constant <value_ints = [{1 << 28}]> ()" + "".join(f" c{n} = ConstantOfShape (s)" for n in range(5))
    for text, sentence in ((doubled, "would have about 2**3"), (many, "what the model makes of nothing would have")):
        for each in said(model_of(f"{text} {POOL} (x)")):
            assert sentence in each


def sparse(dims: list[int]) -> onnx.SparseTensorProto:
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0])
    return helper.make_sparse_tensor(values, helper.make_tensor("i", TensorProto.INT64, [1], [0]), dims)


@pytest.mark.parametrize("dims", [[HUGE], [1 << 20, 1 << 20], [(1 << 63) - 1] * 6])
@pytest.mark.parametrize("place", ["initializer", "Constant", "a tensor without data"])
def test_sparse_tensors_are_refused_by_the_size_that_they_stand_for(
    place: str, dims: list[int], said: Callable[[onnx.ModelProto], set[str]]
) -> None:
    model = model_of(f"m = ReduceMax <keepdims = 0> (s) v = Add (x, m) {POOL} (v)")
    if place == "initializer":
        model.graph.sparse_initializer.append(sparse(dims))
    elif place == "Constant":
        model.graph.node.insert(0, helper.make_node("Constant", [], ["s"], sparse_value=sparse(dims)))
    else:
        model.graph.initializer.append(TensorProto(name="s", data_type=TensorProto.FLOAT, dims=dims))
    for each in said(model):
        assert "'s' would have about 2**" in each


def test_small_sparse_tensors_are_no_bomb() -> None:
    model = model_of(f"m = ReduceMax <keepdims = 0> (s) v = Add (x, m) {POOL} (v)")
    model.graph.sparse_initializer.append(sparse([64]))
    assert make_portable(model).changes


def nested(depth: int) -> onnx.ModelProto:
    """Ifs in branches of each other."""
    body = [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[1, 1])]
    result = [helper.make_empty_tensor_value_info("y")]
    other = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "e", [], result)
    model = model_of(f"k = Constant <value_int = 1> () c = Cast <to = 9> (k) {POOL} (x)")
    del model.graph.node[2:]
    node = model.graph.node.add()
    for _ in range(depth):
        node.op_type = "If"
        node.input.append("c")
        node.output.append("y")
        node.attribute.append(helper.make_attribute("else_branch", other))
        attribute = node.attribute.add()
        attribute.name, attribute.type = "then_branch", onnx.AttributeProto.GRAPH
        attribute.g.name = "t"
        attribute.g.output.append(result[0])
        node = attribute.g.node.add()
    node.CopyFrom(body[0])
    return model


def message(field: int, content: bytes) -> bytes:
    """Write a message as a field of another, in the format of protobuf."""
    size, length = len(content), b""
    while size > 127:
        length, size = length + bytes([size % 128 + 128]), size // 128
    return bytes([field << 3 | 2]) + length + bytes([size]) + content


def test_graphs_deep_inside_of_each_other_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In memory they can be as deep as anybody likes; protobuf reads no file with more than 32."""
    for depth in (33, 100, 2000):
        for read in (make_portable, PoolingBackend.prepare):
            with pytest.raises(ValueError, match="graphs of the model lie inside of each other more than 32 deep"):
                read(nested(depth))
    # What protobuf itself would not write: each message is its length and what is in it.
    content = b""
    for _ in range(5000):
        for field in (6, 5, 1):  # a graph of an attribute, an attribute of a node, a node of a graph
            content = message(field, content)
    path = tmp_path / "deep.onnx"
    path.write_bytes(b"\x08\x08" + message(7, content))
    for command in (["doctor"], ["repair"], ["validate", "--rounds", "0", "--runtimes", "pooling"]):
        assert cli.main([*command, str(path)]) == 2
        shown = capsys.readouterr()
        assert "is not an ONNX model" in " ".join((shown.out + shown.err).split())


def test_graphs_as_deep_as_files_hold_are_read(tmp_path: Path) -> None:
    model = nested(32)
    assert onnx.load_model_from_string(model.SerializeToString()) == model
    assert not make_portable(model, verify=False).changes


@pytest.mark.parametrize(
    ("location", "entries", "sentence"),
    [
        ("../weights", {}, "'../weights', which is not in the folder of the model"),
        ("/etc/passwd", {}, "'/etc/passwd', which is not in the folder of the model"),
        ("a/../../weights", {}, "which is not in the folder of the model"),
        ("link", {}, "'link', which is not in the folder of the model"),
        ("w" * 100_000, {}, "www...', which is not in the folder of the model"),
        ("w\0eights", {}, "which is not in the folder of the model"),
        ("", {}, "'', which is not in the folder of the model"),
        ("weights", {"offset": "4096"}, "'weights' up to byte 4096, but the file has 16; get the whole file"),
        ("weights", {"offset": "8", "length": "16"}, "up to byte 24, but the file has 16"),
        ("weights", {"length": "999999999999"}, "up to byte 999999999999, but the file has 16"),
        ("weights", {"offset": "-8"}, "offset of its data in 'weights' is '-8'; it must be a number of bytes"),
        ("weights", {"length": "much"}, "length of its data in 'weights' is 'much'; it must be a number of bytes"),
        ("weights", {"length": "9" * 50}, "it must be a number of bytes"),
    ],
)
@pytest.mark.parametrize("place", ["initializer", "Constant", "sparse"])
def test_data_outside_of_the_model_is_refused_where_it_cannot_be(
    place: str,
    location: str,
    entries: dict[str, str],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "weights").write_bytes(bytes(16))
    (folder / "weights").write_bytes(bytes(16))
    (folder / "link").symlink_to(tmp_path / "weights")
    tensor = TensorProto(name="s", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    model = model_of(f"m = ReduceMax <keepdims = 0> (s) v = Add (x, m) {POOL} (v)")
    if place == "initializer":
        model.graph.initializer.append(tensor)
    elif place == "Constant":
        model.graph.node.insert(0, helper.make_node("Constant", [], ["s"], value=tensor))
    else:
        held = sparse([4])
        held.values.CopyFrom(tensor)
        model.graph.sparse_initializer.append(held)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    for command in (["doctor"], ["repair"], ["validate", "--rounds", "0", "--runtimes", "pooling"]):
        assert cli.main([*command, str(path)]) == 2
        shown = capsys.readouterr()
        assert sentence in " ".join((shown.out + shown.err).split())
    with pytest.raises(ValueError) as caught:
        PoolingBackend.prepare(path)
    assert sentence in str(caught.value)


WIDE = {
    "windows": ('y = MaxPool<kernel_shape=[2147483648,2],auto_pad="SAME_UPPER">(x)', "float[1,2,H,W] x"),
    "pads": ("y = AveragePool<kernel_shape=[2,2],pads=[1000000000,0,0,0],count_include_pad=1>(x)", "float[1,2,7,7] x"),
    "Pad": (
        "n = Constant<value=int64[8]{0,0,1000000000,1000000000,0,0,0,0}>() p = Pad(x, n) "
        "y = AveragePool<kernel_shape=[2,2]>(p)",
        "float[1,2,7,7] x",
    ),
    "size": ("y = MaxPool<kernel_shape=[2,2],strides=[2,2],ceil_mode=1>(x)", "float[1,2,2147483648,2147483647] x"),
}


@pytest.mark.parametrize("name", WIDE)
def test_a_rewrite_of_more_than_memory_holds_is_not_compared(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some bytes of a model ask for any number of elements; none of them is made to prove a rewrite by itself."""
    most, draw = [0], proof._drawn

    def drawn(shape: tuple[int, ...], *rest: Any) -> Any:
        most[0] = max(most[0], int(np.prod(shape, dtype=object)))
        return draw(shape, *rest)

    def whole(*arguments: Any, **words: Any) -> None:
        raise proof.NotVerifiedError("it is not run here")

    monkeypatch.setattr(proof, "_drawn", drawn)
    for each in ("compare_models", "how_it_runs"):
        monkeypatch.setattr(
            f"pooling.export.repair.repair.{each}", whole if each[0] == "c" else lambda *_: (False, "not here")
        )
    text, x = WIDE[name]
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["": 18]> g ({x}) => (float[N,C,A,B] y) {{ {text} }}')
    result = make_portable(model)
    assert not result.verified
    assert most[0] <= proof.MOST_ELEMENTS
    assert f"at most {proof.MOST_ELEMENTS} are compared" in result.why or not result.changes


@pytest.mark.parametrize("opset", [-(2**63), -1, 0, 2**31, 2**62])
def test_opsets_that_are_none(opset: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = model_of(f"{POOL} (x)")
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", opset))
    for read in (make_portable, PoolingBackend.prepare):
        with pytest.raises(ValueError, match=r"opset|version"):
            read(model)
    onnx.save(model, tmp_path / "m.onnx")
    for command in (("repair",), ("validate", "--rounds", "0", "--runtimes", "pooling,onnxruntime")):
        assert cli.main([command[0], str(tmp_path / "m.onnx"), *command[1:]]) == 2
        said = capsys.readouterr()
        assert "unforeseen" not in said.err + said.out


def test_a_name_that_is_a_weight_and_a_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What makes a model invalid is told in a sentence, whoever looks at it first."""
    model = model_of(f"a = Relu (x) {POOL} (a)")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1, 3, 8, 8), np.float32), "a"))
    with pytest.raises(ValueError, match="writes 'a', which is there already"):
        make_portable(model)
    onnx.save(model, tmp_path / "m.onnx")
    for command in (("repair",), ("validate", "--rounds", "0", "--runtimes", "pooling")):
        cli.main([command[0], str(tmp_path / "m.onnx"), *command[1:]])
        said = capsys.readouterr()
        assert "unforeseen" not in said.err + said.out


@pytest.mark.parametrize("size", [2**31 - 1, 2**62])
def test_an_input_of_more_than_memory_holds_is_not_drawn(
    size: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = model_of(f"{POOL} (x)")
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = size
    result = make_portable(model)
    assert not result.verified
    assert f"its input 'x' has {3 * 8 * size} elements; at most {proof.MOST_DRAWN} are drawn" in result.why
    onnx.save(model, tmp_path / "m.onnx")
    assert cli.main(["repair", str(tmp_path / "m.onnx")]) in (1, 2)
    assert "unforeseen" not in capsys.readouterr().err
