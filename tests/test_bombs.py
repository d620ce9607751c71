"""Small models that would become large, or run for ever: refused by size before anything is expanded."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, parser

from pooling import cli
from pooling.export.limits import DEEPEST_CALL, MOST_BYTES, MOST_NODES, check_growth, too_large
from pooling.export.repair import make_portable, proof
from pooling.onnx_backend import PoolingBackend

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
        (doubling(21), "with its functions in line the model would have 2097152 nodes; at most 200000 are read"),
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
            patch.setattr(f"pooling.export.limits.{name}", value)
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


def spent(path: Path, *arguments: str) -> tuple[int, str, float, int]:
    """Run a command with little memory; return its exit code, what it said, and its seconds and bytes."""

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (6 << 30, 6 << 30))

    begin = time.monotonic()
    command = [sys.executable, "-m", "pooling", *arguments, str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=little, cwd=path.parent
    ) as process:
        try:
            said, _ = process.communicate(timeout=100)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, said, time.monotonic() - begin, 0


@pytest.mark.parametrize("command", ["doctor", "repair"])
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_no_more_than_its_bytes(tmp_path: Path, name: str, command: str) -> None:
    path = tmp_path / "bomb.onnx"
    onnx.save(BOMBS[name](), path)
    code, said, _, _ = spent(path, command)
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
        except proof.GivenUp as error:
            given_up.append(error)
            raise

    monkeypatch.setattr(proof, "_run", watched)
    result = make_portable(BOMBS["Loop"]())
    assert len(given_up) == 1  # nobody waits for other inputs
    assert not result.verified
    assert "a run takes more than 0.2 s" in result.why


def test_an_array_that_claims_more_than_its_file_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(model_of(f"{POOL} (x)"), tmp_path / "m.onnx")
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 1000000000000, 224), }"
    (tmp_path / "claim.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00" + head.ljust(117) + b"\n")
    arguments = ["validate", str(tmp_path / "m.onnx"), "--runtimes", "pooling", "--rounds", "0"]
    assert cli.main([*arguments, "--input", str(tmp_path / "claim.npy")]) == 2
    assert "claim.npy cannot be read" in capsys.readouterr().err
    assert os.path.getsize(tmp_path / "claim.npy") < 200
