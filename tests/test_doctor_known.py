"""What the doctor knows of a network, what it does not, and that it never takes the second for the first."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pooling.cli import main
from pooling.doctor import examine, read_graph
from pooling.doctor.examination import Examination
from pooling.doctor.lint import RULES
from pooling.doctor.network import MOST, Graph, Network, Stage
from pooling.doctor.operators.nodes import Node

onnx = pytest.importorskip("onnx")
from onnx import helper, numpy_helper  # noqa: E402

FLOAT = onnx.TensorProto.FLOAT
GUIDE = Path(__file__).parents[1] / "docs" / "doctor.md"
node = helper.make_node


def model(
    nodes: Sequence[Any],
    shape: Sequence[Any] = (1, 3, 64, 64),
    outputs: Sequence[str] = ("y",),
    recorded: dict[str, Sequence[int]] | None = None,
    **weights: Any,
) -> Any:
    """Make a model of nodes; weights that are shapes are random and positive."""
    rng = np.random.default_rng(0)
    arrays = {
        name: (rng.random(value) / np.prod(value[1:])).astype(np.float32) if isinstance(value, tuple) else value
        for name, value in weights.items()
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()],
        value_info=[helper.make_tensor_value_info(name, FLOAT, each) for name, each in (recorded or {}).items()],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("org.example", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


def mystery(source: str, result: str) -> Any:
    return node("Mystery", [source], [result], domain="org.example", name=f"mystery_{result}")


def conv(source: str, result: str, weight: str = "w", stride: int = 1) -> Any:
    return node("Conv", [source, weight], [result], name=f"conv_{result}", pads=[1, 1, 1, 1], strides=[stride, stride])


def codes(result: Examination) -> list[str]:
    return [finding.code for finding in result.findings]


def losses(result: Examination) -> list[tuple[str, int]]:
    return [(loss.stage, len(loss.stages)) for loss in result.network.losses]


def judging(result: Examination) -> set[str]:
    """Return the codes of verdicts about the network, rather than about what was read of it."""
    return {code for code in codes(result) if code[:2] in ("D1", "D2", "D3", "D5")}


# ---------------------------------------------------------------------------------------------------------------------
# One finding for each operator that is to blame


def test_an_unknown_operator_at_the_start_is_told_once() -> None:
    nodes = [mystery("x", "m"), conv("m", "a"), *(node("Relu", [f"{a}"], [f"{b}"]) for a, b in ("ab", "bc", "cy"))]
    result = examine(model(nodes, w=(8, 3, 3, 3)), task="detection")
    assert codes(result) == ["D901"]
    assert losses(result) == [("mystery_m", 5)]
    (finding,) = result.findings
    assert (finding.severity, finding.stage) == ("warning", "mystery_m")
    assert "org.example.Mystery was not understood: the doctor has no rule for it" in finding.message
    assert "5 of 5 stages, 216 of 216 weights lie behind it" in finding.message
    assert "their shapes, multiply-adds and receptive fields are not known" in finding.message
    assert not result.network.complete
    assert result.network.is_mostly_lost
    assert result.network.lost_share == 1
    assert (result.objects.heads, result.objects.unknown, result.objects.smallest) == ((), ("y",), ())
    assert result.objects.at_heads is None


def test_an_unknown_operator_on_one_of_two_branches_leaves_the_other_known() -> None:
    nodes = [conv("x", "a"), mystery("a", "m"), conv("a", "b", "v"), node("Add", ["b", "m"], ["y"], name="sum")]
    result = examine(model(nodes, w=(8, 3, 3, 3), v=(8, 8, 3, 3)), task="detection")
    known = {stage.name: stage.receptive_field.size for stage in result.network.stages if stage.receptive_field}
    assert known == {"conv_a": (3, 3), "conv_b": (5, 5)}
    assert losses(result) == [("mystery_m", 2)]
    assert [stage.culprit for stage in result.network.stages] == ["", "mystery_m", "", "mystery_m"]
    assert not result.network.is_mostly_lost
    assert result.objects.unknown == ("sum",)
    (finding,) = result.findings
    assert (finding.code, finding.severity) == ("D901", "note")
    assert f"2 of 4 stages, none of {8 * 27 + 8 * 72} weights lie behind it" in finding.message


def test_where_only_the_field_is_lost_shapes_and_cost_stay_known() -> None:
    nodes = [conv("x", "a"), mystery("a", "m"), conv("m", "y", "v")]
    result = examine(model(nodes, recorded=dict.fromkeys("am", (1, 8, 64, 64)), w=(8, 3, 3, 3), v=(8, 8, 3, 3)))
    last = result.network.stage("conv_y")
    assert last.output_shape == (1, 8, 64, 64)
    assert last.macs == 64 * 64 * 8 * 8 * 9
    assert last.receptive_field is None
    assert last.is_lost
    (loss,) = result.network.losses
    assert (loss.without_shape, loss.without_macs, loss.without_field) == (0, 1, 2)
    assert loss.what == "their receptive fields and the multiply-adds of 1 of them are not known"
    assert loss.macs == last.macs


def test_an_unknown_operator_at_the_end() -> None:
    nodes = [conv("x", "a", stride=2), node("Relu", ["a"], ["b"], name="relu"), mystery("b", "y")]
    result = examine(model(nodes, w=(8, 3, 3, 3)), object_size=2, task="detection")
    assert losses(result) == [("mystery_y", 1)]
    # The map that the output is may be larger or smaller than the last one that is known.
    assert (result.objects.heads, result.objects.unknown) == ((), ("mystery_y",))
    assert judging(result) == set()
    assert "D202" in codes(examine(model([*nodes[:1], node("Relu", ["a"], ["y"])], w=(8, 3, 3, 3)), object_size=2))


def test_two_operators_to_blame_are_told_apart() -> None:
    nodes = [
        conv("x", "a"),
        *[mystery("a", "m"), node("Relu", ["m"], ["n"])],
        *[mystery("a", "p"), node("Relu", ["p"], ["q"]), node("Tanh", ["q"], ["r"])],
        node("Add", ["n", "r"], ["y"]),
    ]
    result = examine(model(nodes, w=(8, 3, 3, 3)))
    # What both lead to is behind the first.
    assert losses(result) == [("mystery_m", 3), ("mystery_p", 3)]
    assert codes(result).count("D901") == 2


def test_an_unknown_operator_in_the_head_leaves_the_map_known() -> None:
    nodes = [
        conv("x", "a", stride=2),
        node("GlobalAveragePool", ["a"], ["g"], name="pool"),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "d"], ["s"]),
        mystery("s", "y"),
    ]
    result = examine(model(nodes, w=(8, 3, 3, 3), d=(8, 10)), task="classification")
    assert losses(result) == [("mystery_y", 1)]
    assert (result.objects.heads, result.objects.unknown) == (("conv_a",), ())
    assert result.objects.smallest == (2, 2)
    assert not result.network.is_mostly_lost
    # What is read of the head after all is still no map.
    assert result.network.stage("mystery_y").ended


def test_only_the_outputs_behind_a_loss_have_unknown_maps() -> None:
    nodes = [conv("x", "a", stride=2), node("Relu", ["a"], ["y"], name="relu"), mystery("a", "z")]
    result = examine(model(nodes, outputs=("y", "z"), w=(8, 3, 3, 3)), object_size=2, task="detection")
    assert (result.objects.heads, result.objects.unknown) == (("relu",), ("mystery_z",))
    # The finest of all maps is not known, so nothing is said of it.
    assert result.objects.at_heads is None
    assert judging(result) == set()


def test_sizes_that_are_not_worked_out_are_blamed_and_not_the_stage_that_needs_them() -> None:
    sizes = node("Sizes", ["s"], ["p"], domain="org.example", name="sizes")
    pooled = node("MaxPool", ["v"], ["y"], kernel_shape=[3, 3], strides=[2, 2], name="pool")
    result = examine(model([sizes, node("Pad", ["x", "p"], ["v"], name="pad"), pooled], s=np.zeros(8, np.int64)))
    assert losses(result) == [("sizes", 2)]
    (finding,) = result.findings
    assert (finding.code, finding.stage) == ("D901", "pad")
    assert "org.example.Sizes (node sizes) was not understood" in finding.message


def test_sizes_of_what_is_not_known_are_no_stages() -> None:
    nodes = [
        mystery("x", "m"),
        node("Shape", ["m"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axes"], ["u"]),
        node("Concat", ["u", "rest"], ["to"], axis=0),
        node("Reshape", ["x", "to"], ["y"], name="reshape"),
    ]
    numbers = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    result = examine(model(nodes, **numbers))
    assert [stage.name for stage in result.network.stages] == ["mystery_m", "reshape"]
    assert losses(result) == [("mystery_m", 2)]


def test_data_decide_how_large_a_result_is() -> None:
    nodes = [conv("x", "a"), node("NonZero", ["a"], ["i"], name="nonzero"), node("Cast", ["i"], ["y"], to=1)]
    result = examine(model(nodes, w=(8, 3, 3, 3)))
    assert losses(result) == [("nonzero", 2)]


def test_another_input_of_unknown_shape_is_to_blame() -> None:
    proto = model([node("Add", ["a", "mask"], ["y"], name="sum"), conv("x", "a")][::-1], w=(8, 3, 3, 3))
    proto.graph.input.append(helper.make_tensor_value_info("mask", FLOAT, None))
    result = examine(proto)
    assert losses(result) == [("mask", 1)]
    (message,) = (finding.message for finding in result.findings if finding.code == "D901")
    assert "the model leaves its shape open" in message


# ---------------------------------------------------------------------------------------------------------------------
# What is printed and written


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in ("doctor", *words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def half_known(tmp_path: Path) -> Path:
    path = tmp_path / "half.onnx"
    nodes = [conv("x", "a"), conv("a", "b", "v"), mystery("b", "m"), conv("m", "y", "u")]
    onnx.save(model(nodes, w=(8, 3, 3, 3), v=(8, 8, 3, 3), u=(2, 8, 3, 3)), path)
    return path


def test_totals_are_lower_bounds(half_known: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    report, page = tmp_path / "report.json", tmp_path / "page.html"
    code, printed, error = run(capsys, half_known, "--json", report, "--html", page, "--object", 2)
    known = 64 * 64 * 8 * (27 + 72)
    assert (code, error) == (0, "")
    text = " ".join(printed.split())
    assert "cost at least 3.24 M multiply-adds" in text
    assert "not known 2 of 4 stages, behind mystery_m (org.example.Mystery): see D901" in text
    assert "input sizes not known, because what mystery_m and the stages behind it need is not" in text
    assert "output maps not known: the output lies behind mystery_m" in text
    assert "nothing is left out" not in text
    written = json.loads(report.read_text(encoding="utf-8"))
    assert written["summary"]["macs"] == known
    assert written["summary"]["complete"] is False
    assert written["object"]["unknown"] == ["conv_y"]
    (loss,) = written["losses"]
    assert (loss["stage"], loss["stages"], loss["weights"]) == ("mystery_m", ["mystery_m", "conv_y"], 144)
    assert [stage["culprit"] for stage in written["stages"]] == ["", "", "mystery_m", "mystery_m"]
    html = page.read_text(encoding="utf-8")
    assert "≥ 3.24 M" in html
    assert "2 of 4 stages are not known" in html
    assert "Not known, because what some stages need is not" in html
    assert "works with" not in html


def test_what_is_known_whole_says_nothing_of_the_kind(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    _, printed, _ = run(capsys, "--layers", "conv3x8 pool2 conv3", "--json", report)
    assert not re.search("not known|at least", printed)
    written = json.loads(report.read_text(encoding="utf-8"))
    assert written["summary"]["complete"] is True
    assert written["losses"] == written["object"]["unknown"] == []


def test_most_of_a_network_lost_is_exit_code_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "lost.onnx"
    onnx.save(model([conv("x", "a"), mystery("a", "m"), conv("m", "y", "v")], w=(8, 3, 3, 3), v=(8, 8, 3, 3)), path)
    code, printed, error = run(capsys, path, "--fail-on", "never")
    assert code == 2
    assert "mystery_m" in printed  # the report is there all the same
    assert error.startswith("pooling doctor: most of lost.onnx is not known: 1 of 2 stages with weights and 576 of 792")
    assert "(org.example.Mystery)" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("channels", "mostly"), [(2, False), (3, False), (4, True)])
def test_the_threshold(channels: int, mostly: bool) -> None:
    nodes = [conv("x", "a"), mystery("a", "m"), conv("m", "y", "v")]
    result = examine(model(nodes, (1, 3, 8, 8), w=(3, 3, 3, 3), v=(channels, 3, 3, 3)))
    assert result.network.lost_share == max(1 / 2, channels / (3 + channels))
    assert result.network.is_mostly_lost is mostly is (result.network.lost_share > MOST)


def test_one_stage_is_explained(half_known: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, printed, _ = run(capsys, half_known, "--explain", "conv_y")
    assert "it lies behind mystery_m, which was not understood (D901)" in " ".join(printed.split())


# ---------------------------------------------------------------------------------------------------------------------
# No verdict rests on what is lost


def behind_a_mystery(graph: Graph, *, shape_known: bool) -> Graph:
    """Put an operator that nobody knows before all others."""
    first = Node(
        "mystery",
        "org.example.Mystery",
        (graph.input_name,),
        ("behind",),
        infer=(lambda given: [(given[0].shape, np.dtype(np.float32))]) if shape_known else None,
        known=False,
    )
    nodes = tuple(
        replace(each, inputs=tuple("behind" if name == graph.input_name else name for name in each.inputs))
        for each in graph.nodes
    )
    outputs = tuple("behind" if name == graph.input_name else name for name in graph.outputs)
    return replace(graph, nodes=(first, *nodes), outputs=outputs)


def bad_examples() -> Iterator[tuple[str, Callable[[], tuple[Any, dict[str, Any]]]]]:
    """Yield the first example of each rule in the guide: what makes it, and how it is examined."""
    sections = dict(
        re.findall(r"^## (D\d+): .*?\n(.*?)(?=^## |\Z)", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    )
    for code in RULES:
        if code[:2] not in ("D1", "D2", "D3", "D5"):
            continue
        python = re.search(r"```python\n(.*?)```", sections[code], re.DOTALL)
        if python is not None:
            names: dict[str, Any] = {}
            exec(python[1], names)
            yield code, lambda bad=names["bad"]: (bad, {})  # type: ignore[misc]
            continue
        line = re.search(r"```\n(.*?)```", sections[code], re.DOTALL)[1].splitlines()[0]  # type: ignore[index]
        given = dict(re.findall(r'--([\w-]+) "?([^"]*?)"?(?= --|$)', line))
        size = int(given["input-shape"])
        settings = {"object_size": int(given.get("object", 8)), "task": given.get("task")}
        settings["input_shape"] = (1, 3, size, size)
        yield code, lambda layers=given["layers"], settings=settings: (layers, settings)  # type: ignore[misc]


OF_SHAPES = {"D102", "D103", "D104"}
"""These tell with which sizes the network works: they hold as soon as shapes are known."""


@pytest.mark.parametrize(("code", "example"), list(bad_examples()))
def test_rules_are_silent_behind_a_loss(code: str, example: Callable[[], tuple[Any, dict[str, Any]]]) -> None:
    source, settings = example()
    graph = read_graph(source)
    assert code in codes(examine(graph, **settings))
    for shape_known in (False, True):
        if shape_known and code in OF_SHAPES:
            continue
        result = examine(behind_a_mystery(graph, shape_known=shape_known), **settings)
        assert code not in codes(result)
        assert codes(result)[0] == "D901"
        assert losses(result)[0][0] == "mystery"


def test_no_size_is_recommended_while_some_stages_are_not_known() -> None:
    nodes = [node("MaxPool", ["x"], ["a"], kernel_shape=[2, 2], strides=[2, 2], name="pool"), mystery("a", "y")]
    result = examine(model(nodes, (1, 3, "H", "W")), (1, 3, 33, 33))
    (finding,) = (each for each in result.findings if each.code == "D101")
    assert not any("for which nothing is left out" in fix for fix in finding.fixes)


# ---------------------------------------------------------------------------------------------------------------------
# Context is no loss: positions that are mixed, on real arithmetic

TOKENS = [
    node("Reshape", ["p", "flat"], ["t"], name="t"),
    node("Transpose", ["t"], ["q"], perm=[0, 2, 1], name="q"),
]


def attention(query: str, key: str, value: str, result: str) -> list[Any]:
    """Return softmax(query keyᵀ) value, of tensors with positions in rows."""
    axes = [0, 2, 1]
    return [
        node("Transpose", [key], [f"{result}k"], perm=axes),
        node("MatMul", [query, f"{result}k"], [f"{result}s"]),
        node("Softmax", [f"{result}s"], [f"{result}w"], axis=-1),
        node("MatMul", [f"{result}w", value], [result], name=result),
    ]


def patches(size: int = 4, channels: int = 6) -> Any:
    return node("Conv", ["x", "w"], ["p"], strides=[size, size], name="patch")


def influence(proto: Any, size: tuple[int, int]) -> np.ndarray:
    """Return which column of the input moves which column of the output, by running the model."""
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    image = rng.random((1, 3, *size)).astype(np.float32)
    (before,) = session.run(None, {"x": image})
    moved = []
    for column in range(size[1]):
        other = image.copy()
        other[..., column] += 1
        (after,) = session.run(None, {"x": other})
        moved.append(np.abs(after - before).max(axis=(0, 1, 2)) > 0)
    return np.array(moved)


def widest(moved: np.ndarray) -> int:
    """Return the largest number of input columns from the first to the last that an output column depends on."""
    return max(int(found[-1] - found[0] + 1) for found in map(np.flatnonzero, moved.T))


def field_of(network: Network, name: str) -> Any:
    field = network.stage(name).receptive_field
    assert field is not None
    return field


def test_attention_over_all_positions_is_context_in_a_vision_transformer() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["p"], strides=[16, 16], name="patch"),
        *TOKENS,
        node("MatMul", ["q", "t"], ["a"]),
        node("Softmax", ["a"], ["b"]),
        node("MatMul", ["b", "q"], ["y"], name="y"),
    ]
    proto = model(nodes, w=(8, 3, 16, 16), flat=np.array([1, 8, 16]))
    result = examine(proto, task="classification")
    field = field_of(result.network, "y")
    assert (field.size, field.stride, field.context) == ((16, 16), (16, 16), True)
    assert result.network.stage("y").output_size == (4, 4)
    assert result.objects.heads == ("y",)
    assert result.network.complete
    assert not result.network.losses
    # Every cell sees the whole image, so nothing is narrow.
    assert "D505" not in codes(result)
    assert "D203" not in codes(examine(proto, task="detection", object_size=48))
    without = model([*nodes[:3], node("Relu", ["q"], ["y"])], w=(8, 3, 16, 16), flat=np.array([1, 8, 16]))
    assert "D505" in codes(examine(without, task="classification"))


@pytest.mark.parametrize("end", ["Add", "Mul", "Concat"])
def test_a_sum_with_attention_keeps_the_field_of_the_skip(end: str) -> None:
    nodes = [
        conv("x", "p", stride=2),
        *TOKENS,
        node("MatMul", ["q", "t"], ["a"]),
        node("Softmax", ["a"], ["b"]),
        node("MatMul", ["t", "b"], ["c"]),
        node("Reshape", ["c", "back"], ["d"]),
        node(end, ["p", "d"], ["y"], name="end", **({"axis": 1} if end == "Concat" else {})),
    ]
    shapes = {"flat": np.array([1, 8, 1024]), "back": np.array([1, 8, 32, 32])}
    result = examine(model(nodes, w=(8, 3, 3, 3), **shapes))
    field = field_of(result.network, "end")
    assert (field.size, field.stride, field.offset, field.context) == ((3, 3), (2, 2), (0, 0), True)
    assert not result.network.losses
    assert result.objects.heads == ("end",)


def test_a_map_that_is_only_flattened_and_folded_back_keeps_its_field_and_sees_no_more() -> None:
    nodes = [
        conv("x", "p", stride=2),
        *TOKENS,
        node("LayerNormalization", ["q", "scale"], ["n"]),
        node("MatMul", ["n", "dense"], ["m"]),
        node("Transpose", ["m"], ["r"], perm=[0, 2, 1]),
        node("Reshape", ["r", "back"], ["d"], name="back"),
        conv("d", "y", "v"),
    ]
    shapes = {"flat": np.array([1, 8, 1024]), "back": np.array([1, 8, 32, 32])}
    weights = {"scale": np.ones(8, np.float32), "dense": (8, 8), "v": (4, 8, 3, 3)}
    network = examine(model(nodes, w=(8, 3, 3, 3), **shapes, **weights)).network
    field = field_of(network, "conv_y")
    assert (field.size, field.stride, field.context) == ((7, 7), (2, 2), False)


def windowed(shift: int) -> list[Any]:
    """Return attention within windows of a map of patches, moved by a shift as Swin moves them."""
    nodes = [patches(), node("Transpose", ["p"], ["l"], perm=[0, 2, 3, 1])]
    rolled = "l"
    if shift:
        for axis in (1, 2):
            nodes += [
                node("Slice", [rolled, "shift", "end", f"axis{axis}"], [f"tail{axis}"]),
                node("Slice", [rolled, "zero", "shift", f"axis{axis}"], [f"front{axis}"]),
                node("Concat", [f"tail{axis}", f"front{axis}"], [f"rolled{axis}"], axis=axis),
            ]
            rolled = f"rolled{axis}"
    nodes += [
        node("Reshape", [rolled, "parts"], ["i"]),
        node("Transpose", ["i"], ["j"], perm=[0, 1, 3, 2, 4, 5]),
        node("Reshape", ["j", "windows"], ["k"]),
        *attention("k", "k", "k", "seen"),
        node("Reshape", ["seen", "split"], ["m"]),
        node("Transpose", ["m"], ["n"], perm=[0, 1, 3, 2, 4, 5]),
        node("Reshape", ["n", "whole"], ["o"], name="o"),
        node("Transpose", ["o"], ["y"], perm=[0, 3, 1, 2], name="y"),
    ]
    return nodes


@pytest.mark.parametrize("shift", [0, 2])
def test_attention_within_windows_is_followed_exactly(shift: int) -> None:
    side, window, channels = 12, 4, 6
    count = side // window
    weights = {
        "w": (channels, 3, 4, 4),
        "parts": np.array([1, count, window, count, window, channels]),
        "windows": np.array([-1, window * window, channels]),
        "split": np.array([1, count, count, window, window, channels]),
        "whole": np.array([1, side, side, channels]),
        "shift": np.array([shift]),
        "end": np.array([2**31]),
        "zero": np.array([0]),
        "axis1": np.array([1]),
        "axis2": np.array([2]),
    }
    proto = model(windowed(shift), (1, 3, 4 * side, 4 * side), **weights)
    network = examine(proto).network
    assert not network.losses
    field = field_of(network, "y")
    assert (field.size, field.stride, field.context) == ((16, 16), (4, 4), False)
    moved = influence(proto, (4 * side, 4 * side))
    if not shift:
        assert widest(moved) == 16
    # A rolled map is followed as if it went on behind its border; the last window is the one that comes round.
    inner = moved[:, : side - window] if shift else moved
    assert widest(inner) == 16


def test_attention_over_a_grid_of_positions_reaches_across_the_map() -> None:
    # MaxViT: every fourth position of the map together, so that each group spans all of it.
    side, group, channels = 8, 2, 6
    step = side // group
    nodes = [
        patches(),
        node("Transpose", ["p"], ["l"], perm=[0, 2, 3, 1]),
        node("Reshape", ["l", "parts"], ["i"]),
        node("Transpose", ["i"], ["j"], perm=[0, 2, 4, 1, 3, 5]),
        node("Reshape", ["j", "groups"], ["k"]),
        *attention("k", "k", "k", "seen"),
        node("Reshape", ["seen", "split"], ["m"]),
        node("Transpose", ["m"], ["n"], perm=[0, 3, 1, 4, 2, 5]),
        node("Reshape", ["n", "whole"], ["o"]),
        node("Transpose", ["o"], ["y"], perm=[0, 3, 1, 2], name="y"),
    ]
    weights = {
        "w": (channels, 3, 4, 4),
        "parts": np.array([1, group, step, group, step, channels]),
        "groups": np.array([-1, group * group, channels]),
        "split": np.array([1, step, step, group, group, channels]),
        "whole": np.array([1, side, side, channels]),
    }
    proto = model(nodes, (1, 3, 4 * side, 4 * side), **weights)
    field = field_of(examine(proto).network, "y")
    assert field.context
    assert field.stride == (4, 4)
    # From one end to the other, but for less than a group's step.
    assert widest(influence(proto, (4 * side, 4 * side))) > 4 * (side - step)


def test_a_class_token_beside_the_positions() -> None:
    nodes = [
        patches(),
        *TOKENS,
        node("Concat", ["cls", "q"], ["z"], axis=1, name="z"),
        *attention("z", "z", "z", "seen"),
        node("Add", ["z", "seen"], ["sum"], name="sum"),
        node("Gather", ["sum", "first"], ["token"], axis=1, name="token"),
        node("Gemm", ["token", "head"], ["y"], name="head"),
    ]
    weights = {
        "w": (6, 3, 4, 4),
        "flat": np.array([1, 6, 256]),
        "cls": (1, 1, 6),
        "first": np.array(0),
        "head": (6, 10),
    }
    result = examine(model(nodes, **weights), task="classification", object_size=16)
    assert not result.network.losses
    field = field_of(result.network, "sum")
    assert (field.size, field.context) == ((4, 4), True)
    assert result.objects.heads == ("sum",)
    assert result.network.stage("token").ended
    assert "D505" not in codes(result)


def test_tokens_are_a_map_again_without_the_class_token() -> None:
    nodes = [
        patches(),
        *TOKENS,
        node("Concat", ["cls", "q"], ["z"], axis=1),
        node("Slice", ["z", "one", "end", "one"], ["s"]),
        node("Transpose", ["s"], ["r"], perm=[0, 2, 1]),
        node("Reshape", ["r", "back"], ["m"]),
        conv("m", "y", "v"),
    ]
    weights = {
        "w": (6, 3, 4, 4),
        "flat": np.array([1, 6, 256]),
        "cls": (1, 1, 6),
        "one": np.array([1]),
        "end": np.array([2**31]),
        "back": np.array([1, 6, 16, 16]),
        "v": (4, 6, 3, 3),
    }
    proto = model(nodes, **weights)
    field = field_of(examine(proto).network, "conv_y")
    assert (field.size, field.stride, field.context) == ((12, 12), (4, 4), False)
    assert widest(influence(proto, (64, 64))) == 12


@pytest.mark.parametrize("reads", ["channels", "reduced", "mixer"])
def test_other_ways_to_relate_all_positions(reads: str) -> None:
    nodes = [patches(), *TOKENS]
    if reads == "channels":  # XCiT: softmax(keyᵀ query) over channels
        nodes += [
            node("MatMul", ["t", "q"], ["s"]),
            node("Softmax", ["s"], ["b"]),
            node("MatMul", ["b", "t"], ["c"], name="c"),
        ]
    elif reads == "reduced":  # PVT: keys of a coarser map
        nodes += [
            node("Conv", ["p", "v"], ["r"], strides=[4, 4]),
            node("Reshape", ["r", "less"], ["k"]),
            node("MatMul", ["q", "k"], ["s"]),
            node("Softmax", ["s"], ["b"]),
            node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
            node("MatMul", ["b", "kt"], ["d"]),
            node("Transpose", ["d"], ["c"], perm=[0, 2, 1], name="c"),
        ]
    else:  # MLP-Mixer: a dense layer over positions
        nodes += [node("MatMul", ["t", "m"], ["c"], name="c")]
    nodes += [node("Reshape", ["c", "back"], ["e"]), node("Add", ["p", "e"], ["y"], name="end")]
    weights = {
        "w": (6, 3, 4, 4),
        "v": (6, 6, 4, 4),
        "flat": np.array([1, 6, 64]),
        "less": np.array([1, 6, 4]),
        "back": np.array([1, 6, 8, 8]),
        "m": (64, 64),
    }
    proto = model(nodes, (1, 3, 32, 32), **weights)
    result = examine(proto)
    assert not result.network.losses
    field = field_of(result.network, "end")
    assert (field.size, field.stride, field.context) == ((4, 4), (4, 4), True)
    assert influence(proto, (32, 32)).all()


def test_group_normalisation_by_reshapes_is_context() -> None:
    nodes = [
        conv("x", "p"),
        node("Reshape", ["p", "groups"], ["g"]),
        node("InstanceNormalization", ["g", "scale", "bias"], ["n"]),
        node("Reshape", ["n", "back"], ["y"], name="y"),
    ]
    ones = {"scale": np.ones(2, np.float32), "bias": np.zeros(2, np.float32)}
    shapes = {"groups": np.array([0, 2, -1]), "back": np.array([1, 8, 16, 16])}
    proto = model(nodes, (1, 3, 16, 16), w=(8, 3, 3, 3), **ones, **shapes)
    field = field_of(examine(proto).network, "y")
    assert (field.size, field.stride, field.context) == ((3, 3), (1, 1), True)
    assert influence(proto, (16, 16)).all()


def test_coordinate_attention_sees_its_row() -> None:
    # The mean along the height only, multiplied back: each cell sees its columns from end to end, and no other.
    nodes = [
        conv("x", "p"),
        node("ReduceMean", ["p"], ["m"], axes=[2], keepdims=1),
        node("Sigmoid", ["m"], ["s"]),
        node("Mul", ["p", "s"], ["y"], name="y"),
    ]
    proto = model(nodes, (1, 3, 16, 24), w=(8, 3, 3, 3))
    network = examine(proto).network
    assert not network.losses
    field = field_of(network, "y")
    assert field.context or field.size[0] >= 16
    assert field.size[1] == widest(influence(proto, (16, 24))) == 3


@pytest.mark.parametrize(("down", "size", "stride"), [(True, (6, 6), 2), (False, (5, 5), 1)])
def test_pixels_that_are_shuffled_by_reshapes(down: bool, size: tuple[int, int], stride: int) -> None:
    nodes = [conv("x", "p")]
    if down:
        nodes += [
            node("Reshape", ["p", "split"], ["a"]),
            node("Transpose", ["a"], ["b"], perm=[0, 1, 3, 5, 2, 4]),
            node("Reshape", ["b", "folded"], ["c"]),
            node("Conv", ["c", "v"], ["y"], name="y"),
        ]
        shapes = {"split": np.array([1, 8, 8, 2, 8, 2]), "folded": np.array([1, 32, 8, 8])}
        weights: dict[str, Any] = {"v": (4, 32, 2, 2)}
        size, stride = (6, 6), 2
    else:
        nodes += [
            node("Reshape", ["p", "split"], ["a"]),
            node("Transpose", ["a"], ["b"], perm=[0, 1, 4, 2, 5, 3]),
            node("Reshape", ["b", "folded"], ["c"]),
            node("Conv", ["c", "v"], ["y"], strides=[2, 2], name="y"),
        ]
        shapes = {"split": np.array([1, 2, 2, 2, 16, 16]), "folded": np.array([1, 2, 32, 32])}
        weights = {"v": (4, 2, 5, 5)}
    proto = model(nodes, (1, 3, 16, 16), w=(8, 3, 3, 3), **shapes, **weights)
    field = field_of(examine(proto).network, "y")
    assert field.size == size
    assert field.stride == (stride, stride)
    assert widest(influence(proto, (16, 16))[:, 1:-1]) == size[1]


def test_global_branches_that_are_joined_again_are_context() -> None:
    nodes = [
        conv("x", "p"),
        node("GlobalAveragePool", ["p"], ["g"], name="pool"),
        node("Conv", ["g", "v"], ["c"], name="dense"),
        node("Resize", ["c", "", "", "to"], ["r"], mode="linear", name="spread"),
        node("Concat", ["p", "r"], ["y"], axis=1, name="end"),
    ]
    proto = model(nodes, w=(8, 3, 3, 3), v=(4, 8, 1, 1), to=np.array([1, 4, 64, 64]))
    result = examine(proto, task="segmentation")
    field = field_of(result.network, "end")
    assert (field.size, field.stride, field.context) == ((3, 3), (1, 1), True)
    assert not {"D502", "D505", "D506"} & set(codes(result))


def test_another_input_adds_nothing_to_the_field() -> None:
    proto = model([conv("x", "a"), node("Add", ["a", "mask"], ["y"], name="sum")], w=(8, 3, 3, 3))
    proto.graph.input.append(helper.make_tensor_value_info("mask", FLOAT, [1, 1, 64, 64]))
    field = field_of(examine(proto).network, "sum")
    assert (field.size, field.context) == ((3, 3), False)


def test_an_order_of_positions_that_cannot_be_followed_is_a_loss_as_soon_as_it_matters() -> None:
    shuffled = [
        conv("x", "p"),
        node("Reshape", ["p", "flat"], ["t"], name="flatten"),
        node("Gather", ["t", "order"], ["g"], axis=2, name="shuffle"),
        node("Reshape", ["g", "back"], ["r"]),
    ]
    order = np.random.default_rng(0).permutation(64)
    weights = {"w": (8, 3, 3, 3), "flat": np.array([1, 8, 64]), "back": np.array([1, 8, 8, 8]), "order": order}
    joined = examine(model([*shuffled, node("Add", ["p", "r"], ["y"], name="sum")], (1, 3, 8, 8), **weights))
    assert losses(joined) == [("shuffle", 1)]
    assert joined.network.stage("sum").is_lost
    ended = [*shuffled[:3], node("ReduceMean", ["g"], ["y"], axes=[2], keepdims=0)]
    result = examine(model(ended, (1, 3, 8, 8), **weights))
    assert not result.network.losses
    assert result.objects.heads == ("conv_p",)


# ---------------------------------------------------------------------------------------------------------------------
# D502: every way, not one


def test_a_pool_behind_a_lost_field_is_no_head() -> None:
    weights = {"w": (3, 3, 3, 3), "flat": np.array([1, 3, 4096]), "back": np.array([1, 3, 64, 64])}
    nodes = [
        node("Reshape", ["x", "flat"], ["t"]),
        node("Softmax", ["t"], ["u"]),
        node("Reshape", ["u", "back"], ["v"], name="back"),
        node("MaxPool", ["v"], ["m"], kernel_shape=[2, 2], strides=[2, 2], name="pool"),
        conv("m", "y"),
    ]
    result = examine(model(nodes, **weights), task="segmentation")
    assert "D502" not in codes(result)
    lost = examine(
        model([mystery("x", "v"), *nodes[3:]], recorded={"v": (1, 3, 64, 64)}, **weights), task="segmentation"
    )
    assert judging(lost) == set()


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ("conv3x8 global fc10", True),
        ("conv3x8@a global conv1x8 sigmoid@gate conv3<a+gate global fc10", True),
        ("conv3x8@a global conv1x8 sigmoid@gate conv3x8<a+gate", False),
        ("conv3x8@a global@mean conv3x8<a+mean", False),
        ("conv3x8@a global@mean maxpool32<a+mean fc10", True),
        ("conv3x8@a conv3x8/2@b global<b conv1x8@gate conv3x8<a+gate conv3x8", False),
    ],
)
def test_every_way_leads_through_one_cell_or_not(layers: str, told: bool) -> None:
    result = examine(layers, (1, 3, 32, 32), task="segmentation")
    assert ("D502" in codes(result)) is told


def test_the_pooling_that_all_ways_lead_through_is_named() -> None:
    layers = "conv3x8@a global@squeeze conv1x8 sigmoid@gate conv3<a+gate global@head fc10"
    result = examine(layers, (1, 3, 32, 32), task="segmentation")
    assert [finding.stage for finding in result.findings if finding.code == "D502"] == ["head"]


def test_stages_that_are_built_by_hand_are_known() -> None:
    stage = Stage("a", "Relu", "elementwise", ("x",), (1, 3, 8, 8), (1, 3, 8, 8))
    assert not stage.is_lost
    assert Network("n", "x", (1, 3, 8, 8), (stage,), ("a",)).complete
