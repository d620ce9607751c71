"""`pooling.validation`: which poolings a model has, whether another runtime agrees on them, and how fast it is."""

from __future__ import annotations

import io
import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from rich.console import Console

import pooling
from pooling.numerics.bounds import spacing
from pooling.numerics.inputs import DTYPES, KINDS, draw
from pooling.operators import OPERATORS
from pooling.validation import Case, Kind, ModelReport, NodeReport, Report, Result, RuntimeSummary, benchmark, judge
from pooling.validation import validate as validate_with
from pooling.validation.comparison import permitted_errors
from pooling.validation.inputs.case import make_case
from pooling.validation.inputs.plan import plan_cases
from pooling.validation.pooling_nodes import CannotRunError, PoolingNode, read_pooling_nodes
from pooling.validation.report.json import as_dict, save_json
from pooling.validation.report.table import print_report
from pooling.validation.runners.processes import RuntimeProcess
from pooling.validation.validator import FUSIONS, PLAIN
from tests.schemas import check

LIGHT = sorted(Path(onnx.__path__[0], "backend", "test", "data", "light").glob("light_*.onnx"))
Save = Callable[..., Path]
RUNTIMES = ("pooling", "onnxruntime")


def validate(models: Any, **keywords: Any) -> Report:
    """Ask the two that are installed everywhere, and take no time to start; look for no remedies, which takes some."""
    return validate_with(models, **{"runtimes": RUNTIMES, "repair": False, **keywords})


def tensor(name: str, shape: Sequence[int | str | None] | None, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def pool(operator: str = "MaxPool", source: str = "x", result: str = "y", **attributes: Any) -> onnx.NodeProto:
    if not operator.startswith("Global"):
        attributes.setdefault("kernel_shape", [2, 2])
    return helper.make_node(operator, [source], [result], **attributes)


def unheard(result: str) -> onnx.NodeProto:
    """A node whose operator nobody knows, so that nobody knows the shape of its result."""
    return helper.make_node("Unheard", ["x"], [result], domain="com.example")


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write a model of some nodes to a file."""

    def write(
        nodes: Iterable[onnx.NodeProto],
        shape: Sequence[int | str | None] | None = (1, 3, 8, 8),
        *,
        result: str = "y",
        dtype: int = TensorProto.FLOAT,
        inputs: Iterable[onnx.ValueInfoProto] = (),
        constants: Iterable[onnx.TensorProto] = (),
        opset: int = 18,
        domains: Iterable[str] = (),
        functions: Iterable[onnx.FunctionProto] = (),
    ) -> Path:
        graph = helper.make_graph(
            list(nodes),
            "model",
            [tensor("x", shape, dtype), *inputs],
            [tensor(result, None, dtype)],
            list(constants),
        )
        imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
        model = helper.make_model(graph, opset_imports=imports, functions=list(functions))
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return write


def stages_of(path: Path, shapes: dict[str, tuple[int, ...]] | None = None) -> list[tuple[str, Any]]:
    return [(stage.name, stage.shape) for stage in read_pooling_nodes(path, shapes).nodes]


def problem_of(path: Path, **keywords: Any) -> str:
    """Validate a model that cannot be run in full; return the one sentence that says why."""
    report = validate(path, rounds=0, **keywords)
    ((_, what),) = report.problems
    assert report.exit_code == 2
    return what


@pytest.fixture
def altered(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Change what a runtime answers."""

    def alter(change: Callable[[list[Any]], None], runtime: str = "onnxruntime") -> None:
        original = RuntimeProcess.ask

        def ask(self: RuntimeProcess, model: bytes, inputs: Any) -> Result:
            answer = original(self, model, inputs)
            if self.runtime != runtime or not answer.given:
                return answer
            results = [np.array(output) for output in answer.outputs]
            change(results)
            return Result(results)

        monkeypatch.setattr(RuntimeProcess, "ask", ask)

    return alter


def differing(report: Report) -> list[Any]:
    """Return what was found on ordinary numbers."""
    return [finding for finding in report.findings if finding.counts_as == "differs"]


# ---------------------------------------------------------------------------------------------------------------------
# Real networks


@pytest.fixture(scope="module")
def light() -> Report:
    return validate(LIGHT, rounds=0)


def test_there_are_nine_light_networks() -> None:
    assert len(LIGHT) == 9


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_every_pooling_stage_of_a_real_network_is_found(path: Path, light: Report) -> None:
    (model,) = [model for model in light.models if model.path == str(path)]
    # Counted without the library: operators that say so in their name.
    expected = [node.output[0] for node in onnx.load(path).graph.node if "Pool" in node.op_type]
    assert expected
    assert [stage.node.proto.output[0] for stage in model.nodes] == expected


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_every_stage_of_a_real_network_agrees_at_its_shape_in_the_network(path: Path, light: Report) -> None:
    (model,) = [model for model in light.models if model.path == str(path)]
    inferred = onnx.shape_inference.infer_shapes(onnx.load(path))
    shapes = {
        info.name: tuple(size.dim_value for size in info.type.tensor_type.shape.dim)
        for info in [*inferred.graph.value_info, *inferred.graph.output]
    }
    for stage in model.nodes:
        assert stage.node.input_shape == shapes[stage.node.proto.input[0]]
        assert stage.output_shape == shapes[stage.node.proto.output[0]]
        assert not stage.differs
        assert set(stage.summaries) == set(RUNTIMES)
        assert all(each.elements == math.prod(stage.output_shape or ()) for each in stage.summaries.values())


def test_the_first_pooling_of_resnet50_is_known_by_everybody(light: Report) -> None:
    (resnet,) = [model for model in light.models if model.name == "light_resnet50"]
    first, last = resnet.nodes
    assert first.layer == pooling.MaxPool2d(3, stride=2, padding=1)
    assert (first.node.input_shape, first.output_shape) == ((1, 64, 112, 112), (1, 64, 56, 56))
    assert (last.node.operator, last.output_shape) == ("AveragePool", (1, 2048, 1, 1))


def test_maxima_of_real_networks_are_equal_and_averages_nearly(light: Report) -> None:
    shares = []
    for stage in light.nodes:
        if "Max" in stage.node.operator:
            assert stage.largest_difference == 0
            assert stage.share_of_bound is None
        else:
            shares.append(stage.share_of_bound)
    assert all(share is not None and share <= 1 for share in shares)
    # Were they all zero, nothing would have been rounded, and the bound not been tried.
    assert any(shares)


# ---------------------------------------------------------------------------------------------------------------------
# Finding the stages


def test_a_node_without_a_name_is_called_by_its_output(save: Save) -> None:
    path = save([pool(result="a"), pool(source="a", name="second")])
    assert stages_of(path) == [("a", (1, 3, 8, 8)), ("second", (1, 3, 7, 7))]


def test_all_operators_with_one_input_are_found(save: Save) -> None:
    operators = ["MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"]
    path = save([pool(operator, result=f"y{i}") for i, operator in enumerate(operators)], result="y0")
    assert [stage.operator for stage in read_pooling_nodes(path).nodes] == operators
    assert validate(path, rounds=0).exit_code == 0


def test_a_pooling_of_another_domain_is_not_ours(save: Save) -> None:
    path = save([pool(domain="com.example")], domains=["com.example"])
    assert stages_of(path) == []


def test_stages_in_both_branches_of_an_if_are_found(save: Save) -> None:
    then = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["r"]), pool(source="r", result="t")], "then", [], [tensor("t", None)]
    )
    other = helper.make_graph([pool("GlobalAveragePool", result="e")], "else", [], [tensor("e", None)])
    branch = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    path = save([branch], inputs=[tensor("c", [], TensorProto.BOOL)])
    assert sorted(stages_of(path)) == [("e", (1, 3, 8, 8)), ("t", (1, 3, 8, 8))]
    assert validate(path, rounds=0).exit_code == 0


def loop() -> onnx.NodeProto:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Relu", ["carried"], ["r"]),
            pool(source="r", result="pooled", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        ],
        "body",
        [tensor("i", [], TensorProto.INT64), tensor("go", [], TensorProto.BOOL), tensor("carried", None)],
        [tensor("on", [], TensorProto.BOOL), tensor("pooled", None)],
    )
    return helper.make_node("Loop", ["n", "c", "x"], ["y"], body=body)


@pytest.mark.parametrize("name", ["carried", "r"])
def test_a_shape_that_a_loop_hides_can_be_given_inside_of_it(save: Save, name: str) -> None:
    path = save([loop()], inputs=[tensor("n", [], TensorProto.INT64), tensor("c", [], TensorProto.BOOL)])
    assert problem_of(path) == (
        "the shape of its input 'r' is not known; give it with --shape r=NxCxHxW, a number for each name "
        "(in Python: shapes=)"
    )
    assert stages_of(path, {name: (1, 3, 8, 8)}) == [("pooled", (1, 3, 8, 8))]


def test_a_function_is_put_in_line_at_every_call(save: Save) -> None:
    twice = helper.make_function(
        "com.example",
        "Twice",
        ["a"],
        ["b"],
        [pool(source="a", result="m"), pool(source="m", result="b")],
        [helper.make_opsetid("", 18)],
    )
    calls = [
        helper.make_node("Twice", [source], [result], domain="com.example")
        for source, result in [("x", "half"), ("half", "y")]
    ]
    path = save(calls, domains=["com.example"], functions=[twice])
    assert [shape for _, shape in stages_of(path)] == [(1, 3, size, size) for size in (8, 7, 6, 5)]


def test_constants_small_and_large_are_known_by_shape(save: Save) -> None:
    constants = [
        helper.make_tensor("sizes", TensorProto.INT64, [4], [1, 1, 16, 12]),
        helper.make_tensor("small", TensorProto.FLOAT, [1, 1, 5, 5], np.zeros(25)),
        helper.make_tensor("large", TensorProto.FLOAT, [1, 1, 50, 50], np.zeros(2500)),
    ]
    nodes = [
        helper.make_node("Reshape", ["x", "sizes"], ["reshaped"]),
        pool(source="reshaped", result="a"),
        pool(source="small", result="b"),
        pool(source="large", result="y"),
    ]
    path = save(nodes, (1, 3, 8, 8), constants=constants)
    assert [shape for _, shape in stages_of(path)] == [(1, 1, 16, 12), (1, 1, 5, 5), (1, 1, 50, 50)]


@pytest.mark.parametrize("opset", [12, 18, 22])
def test_ceil_mode_does_not_give_the_next_stage_a_window_that_nobody_computes(save: Save, opset: int) -> None:
    # 5 cells, kernel 3, stride 3, padding 1: a third window would start in the padding behind the input.
    nodes = [
        pool(result="a", kernel_shape=[3, 3], strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1),
        pool("AveragePool", source="a", result="b", kernel_shape=[1, 1], ceil_mode=1),
        pool(source="b", name="last"),
    ]
    path = save(nodes, (1, 3, 5, 5), opset=opset)
    assert [shape for _, shape in stages_of(path)] == [(1, 3, 5, 5), (1, 3, 2, 2), (1, 3, 2, 2)]
    assert read_pooling_nodes(path).nodes[0].proto.attribute == nodes[0].attribute


def test_a_stage_runs_with_its_own_attributes_and_opset(save: Save) -> None:
    node = pool("AveragePool", strides=[2, 1], pads=[0, 1, 1, 0], count_include_pad=1, name="stage")
    (stage,) = read_pooling_nodes(save([node], opset=11)).nodes
    model = plan_cases(stage, stage.layer(), 0)[0].case.model
    assert model.graph.node[0].attribute == node.attribute
    assert [entry.version for entry in model.opset_import] == [11]
    onnx.checker.check_model(model, full_check=True)


# ---------------------------------------------------------------------------------------------------------------------
# Shapes that the model leaves open


def test_an_open_batch_is_1_and_says_so(save: Save) -> None:
    path = save([helper.make_node("Relu", ["x"], ["r"]), pool(source="r", name="stage")], ("N", 3, 8, 9))
    report = validate(path, rounds=0)
    assert [stage.node.input_shape for stage in report.nodes] == [(1, 3, 8, 9)]
    assert report.models[0].notes == ("the batch of 'x' is open and taken as 1",)
    assert report.exit_code == 0
    assert "model: the batch of 'x' is open and taken as 1" in printed(report)
    report = validate(path, rounds=0, shapes={"x": (2, 3, 8, 9)})
    assert [stage.node.input_shape for stage in report.nodes] == [(2, 3, 8, 9)]
    assert report.models[0].notes == ()


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(
    ("operator", "shape", "axes", "is_pooling"),
    [
        ("ReduceMean", (1, 3, 8, 8), [2, 3], True),
        ("ReduceMean", (1, 3, 8, 8), [-1, -2], True),
        ("ReduceMax", (1, 3, 8, 8), [2, -1], True),
        ("ReduceMean", (1, 3, 4, 8, 8), [2, 3, 4], True),
        ("ReduceMean", (1, 3, 4, 8, 8), [-2, -1], False),
        ("ReduceMean", (1, 3, 8, 8), [3], False),
        ("ReduceMean", (1, 3, 8, 8), [1, 2, 3], False),
        ("ReduceMean", (1, 3, 8), [2], False),
        ("ReduceMean", (1, 3, 8), [1, 2], False),
        ("ReduceMean", (1, 3, 8, 8), None, False),
        ("ReduceSum", (1, 3, 8, 8), [2, 3], False),
    ],
)
@pytest.mark.parametrize("pools", [True, False])
def test_a_global_pooling_that_is_a_reduction_is_counted_and_not_asked(
    save: Save, operator: str, shape: tuple[int, ...], axes: list[int] | None, opset: int, is_pooling: bool, pools: bool
) -> None:
    if operator == "ReduceSum" and opset < 18:
        pytest.skip("axes of ReduceSum are an input from opset 13 on")
    named = {} if axes is None or opset >= 18 else {"axes": axes}
    inputs = ["p" if pools else "x"] + (["a"] if axes is not None and opset >= 18 else [])
    node = helper.make_node(operator, inputs, ["y"], name="gap", **named)
    constants = [] if axes is None else [helper.make_tensor("a", TensorProto.INT64, [len(axes)], axes)]
    nodes = [pool(result="p", kernel_shape=[2] * (len(shape) - 2), name="pool"), node] if pools else [node]
    report = validate(save(nodes, shape, constants=constants, opset=opset), rounds=0)
    note = f"1 global pooling is written as a reduction, and no runtime was compared on it: gap ({operator})"
    # Without pooling nodes nothing is known of shapes.
    expected = (note,) if is_pooling or (not pools and axes == [-2, -1] and operator == "ReduceMean") else ()
    assert report.models[0].notes == expected
    assert report.exit_code == 0
    assert (f"model: {note}" in printed(report, 200)) == bool(expected)


def test_many_reductions_are_counted_in_one_note(save: Save) -> None:
    nodes = [pool(result="p", name="pool")]
    nodes += [helper.make_node("ReduceMean", ["p"], [f"m{i}"], axes=[2, 3], name=f"gap{i}") for i in range(4)]
    nodes.append(helper.make_node("Sum", [f"m{i}" for i in range(4)], ["y"]))
    assert validate(save(nodes, opset=13), rounds=0).models[0].notes == (
        "4 global poolings are written as a reduction, and no runtime was compared on them: gap0 (ReduceMean), "
        "gap1 (ReduceMean), gap2 (ReduceMean) and 1 more",
    )


def test_other_open_sizes_are_those_that_work_and_the_sentence_has_the_flag(save: Save) -> None:
    """A Gemm behind the pooling takes 320 x 320 only, and batch and channels are open too."""
    nodes = [
        pool(kernel_shape=[32, 32], strides=[32, 32], name="stage"),
        helper.make_node("Flatten", ["y"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["z"]),
    ]
    weight = helper.make_tensor("w", TensorProto.FLOAT, (300, 2), [0.0] * 600)
    path = save(nodes, (None, "C", "H", "W"), result="z", constants=[weight])
    report = validate(path, rounds=0)
    assert [stage.node.input_shape for stage in report.nodes] == [(1, 3, 320, 320)]
    assert report.models[0].notes == (
        "the input 'x' leaves sizes open (d0xCxHxW) and is taken as 1x3x320x320; give another with "
        "--shape x=1x3x320x320 (in Python: shapes=)",
    )


def test_the_metadata_of_a_model_says_which_sizes_it_is_for(save: Save) -> None:
    path = save([pool(name="stage")], ("N", 3, "H", "W"))
    model = onnx.load(path)
    helper.set_model_props(model, {"imgsz": "[48, 64]", "stride": "32"})
    onnx.save(model, path)
    assert stages_of(path) == [("stage", (1, 3, 48, 64))]


def test_inputs_share_the_sizes_that_have_one_name(save: Save) -> None:
    nodes = [helper.make_node("Add", ["x", "other"], ["s"]), pool(source="s", name="stage")]
    path = save(nodes, ("N", 3, 8, "W"), inputs=[tensor("other", ("N", 1, 8, "W"))])
    assert stages_of(path) == [("stage", (1, 3, 8, 224))]


@pytest.mark.parametrize("batch", [1, "N", -1])
def test_sizes_behind_ceil_mode_do_not_depend_on_the_batch(save: Save, batch: int | str) -> None:
    first = pool(result="a", name="first", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    path = save([first, pool(source="a", name="second")], (batch, 3, 6, 6))
    assert stages_of(path) == [("first", (1, 3, 6, 6)), ("second", (1, 3, 3, 3))]


def test_recorded_shapes_are_not_believed(save: Save) -> None:
    first = pool(result="a", name="first", strides=[2, 2])
    path = save([first, pool(source="a", name="second")])
    model = onnx.load(path)
    model.graph.value_info.append(tensor("a", (1, 3, 5, 5)))
    onnx.save(model, path)
    assert stages_of(path) == [("first", (1, 3, 8, 8)), ("second", (1, 3, 4, 4))]


def test_pads_beside_auto_pad_mean_nothing(save: Save) -> None:
    """As in onnxruntime; shape inference takes the pads."""
    first = pool(result="a", name="first", strides=[2, 2], auto_pad="SAME_UPPER", pads=[0, 0, 0, 0])
    path = save([first, pool("GlobalMaxPool", source="a", name="second")], (1, 3, 9, 9))
    assert stages_of(path) == [("first", (1, 3, 9, 9)), ("second", (1, 3, 5, 5))]
    report = validate(path, rounds=0)
    assert report.exit_code == 0
    assert report.summary().startswith("2 pooling nodes of 1 model: all equal; on NaN")


def test_poolings_of_other_operator_sets_are_never_passed_over(save: Save) -> None:
    node = helper.make_node("MaxpoolWithMask", ["x"], ["y"], "pooled", domain="com.microsoft", kernel_shape=[2, 2])
    report = validate(save([node], domains=["com.microsoft"]), rounds=0)
    assert report.exit_code == 2
    ((_, what),) = report.problems
    assert what == "1 pooling node of other operator sets was not compared: pooled (MaxpoolWithMask of com.microsoft)"
    assert "not compared: pooled (MaxpoolWithMask of com.microsoft)" in printed(report)
    assert report.summary() == "nothing could be compared in 1 model"


def test_findings_stay_found_where_activations_cannot_be_read(save: Save, tmp_path: Path) -> None:
    node = pool(source="r", result="b", name="inside", auto_pad="SAME_UPPER", dilations=[2, 2], kernel_shape=[3, 3])
    branch = helper.make_graph([helper.make_node("Relu", ["x"], ["r"]), node], "branch", [], [tensor("b", None)])
    choice = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    path = save([choice], constants=[helper.make_tensor("c", TensorProto.BOOL, (), [True])])
    np.save(tmp_path / "x.npy", np.ones((1, 3, 8, 8), np.float32))
    drawn = validate(path, rounds=0)
    given = validate(path, rounds=0, inputs=[str(tmp_path / "x.npy")])
    assert [each.rule for each in drawn.findings] == [each.rule for each in given.findings] != []
    assert drawn.exit_code == given.exit_code == 1
    assert given.problems


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 3, 8)])
def test_a_shape_may_not_contradict_the_model(save: Save, shape: tuple[int, ...]) -> None:
    path = save([pool()], ("N", 3, "H", "W"))
    assert problem_of(path, shapes={"x": shape}) == (
        f"--shape x={'x'.join(map(str, shape))} contradicts the model, where x is Nx3xHxW"
    )


def test_an_operator_that_nobody_knows_hides_only_what_is_behind_it(save: Save) -> None:
    nodes = [
        pool(result="before"),
        helper.make_node("Unheard", ["before"], ["z"], domain="com.example"),
        pool(source="z", result="behind"),
    ]
    path = save(nodes, result="behind", domains=["com.example"])
    report = validate(path, rounds=0)
    assert report.summary().startswith("1 pooling node of 1 model: all equal; ")
    assert report.summary().endswith("; 1 node could not be run")
    assert report.exit_code == 2
    assert validate(path, rounds=0, shapes={"z": (1, 3, 4, 4)}).exit_code == 0


# ---------------------------------------------------------------------------------------------------------------------
# What cannot be run


def test_files_that_are_no_models(tmp_path: Path, save: Save) -> None:
    whole = save([pool()]).read_bytes()
    contents = {
        "truncated.onnx": whole[: len(whole) // 2],
        "text.onnx": b"Dear model,\nwhat do you pool?\n",
        "zeros.onnx": b"\0" * 100,
        "broken.json": b"{not json",
        "broken.textproto": b"{not text",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert problem_of(tmp_path / name).startswith("it is not an ONNX model (")


def test_an_empty_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    assert problem_of(tmp_path / "empty.onnx") == "it is not an ONNX model (it has no graph)"


def test_a_missing_file_and_a_folder_cannot_be_read(tmp_path: Path) -> None:
    assert problem_of(tmp_path / "missing.onnx") == "it cannot be read (No such file or directory)"
    assert problem_of(tmp_path) == "it cannot be read (Is a directory)"


def test_a_model_without_opset_says_so(tmp_path: Path) -> None:
    model = helper.make_model(helper.make_graph([pool()], "model", [tensor("x", [1, 3, 8, 8])], [tensor("y", None)]))
    del model.opset_import[:]
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert problem_of(tmp_path / "model.onnx") == (
        "the model imports no version of the default operator set; its opset_import must name one"
    )


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        (helper.make_node("MaxPool", [], ["y"]), "the shapes of the model cannot be inferred ("),
        (helper.make_node("MaxPool", ["x"], []), "the output 'y' of graph comes from no node"),
    ],
)
def test_a_node_without_input_or_output_is_refused(save: Save, node: onnx.NodeProto, sentence: str) -> None:
    assert problem_of(save([node])).startswith(sentence)


def test_a_cycle_is_refused(save: Save) -> None:
    path = save([pool(source="z"), helper.make_node("Relu", ["y"], ["z"])])
    assert problem_of(path).endswith("the nodes of a model must stand in order and never in a cycle")


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"kernel_shape": [2]}, "kernel_shape=[2] must have one integer per spatial axis, 2 and not 1"),
        ({"ceil_mode": 7}, "ceil_mode=7 must be 0 or 1"),
        (
            {"pads": [2, 2, 2, 2]},
            "padding=((2, 2), (2, 2)) must be smaller than the effective kernel size 2 on axis H; use padding <= 1",
        ),
    ],
)
def test_what_is_wrong_with_a_node_is_said_once(save: Save, attributes: dict[str, Any], sentence: str) -> None:
    assert problem_of(save([pool(name="it's", **attributes)])) == sentence


def test_a_missing_kernel_shape_is_named(save: Save) -> None:
    path = save([helper.make_node("MaxPool", ["x"], ["y"])])
    assert problem_of(path) == "kernel_shape is missing; give one integer per spatial axis"


def test_a_size_below_1_is_open(save: Save) -> None:
    """As some exporters write it, among them paddle2onnx up to 1.0."""
    path = save([pool(name="stage")], (-1, 3, 0, -1))
    assert stages_of(path) == [("stage", (1, 3, 224, 224))]
    assert stages_of(path, {"x": (2, 3, 8, 9)}) == [("stage", (2, 3, 8, 9))]


@pytest.mark.parametrize("size", [2**20, 2**31, 2**62])
def test_what_does_not_fit_the_memory_is_not_even_tried(save: Save, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("pooling.validation.validator.plan_cases", lambda *arguments: pytest.fail("drawn"))
    sentence = problem_of(save([pool()], (1, 3, size, size)))
    assert sentence.startswith(
        f"comparing input (1, 3, {size}, {size}) with result (1, 3, {size - 1}, {size - 1}) takes"
    )
    assert sentence.endswith("; give a smaller shape with --shape (in Python: shapes=)")


def test_a_result_larger_than_the_memory_is_not_tried_either(save: Save) -> None:
    many = 2**23
    path = save([pool(kernel_shape=[many, many], pads=[many - 1] * 4)], (1, 1, 8, 8))
    assert problem_of(path).startswith("comparing input (1, 1, 8, 8) with result (1, 1, ")


def test_a_failure_of_ours_is_a_finding_and_not_the_end(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    original = RuntimeProcess.ask

    def ask(self: RuntimeProcess, model: bytes, inputs: Any) -> Result:
        return Result(unsupported="no memory for 1 row") if self.runtime == "pooling" else original(self, model, inputs)

    monkeypatch.setattr(RuntimeProcess, "ask", ask)
    report = validate(save([pool(name="stage")]), rounds=0, fail_on=["refuses"])
    assert report.exit_code == 1
    assert report.findings[0].sentence == f"pooling {pooling.__version__} refuses node stage: no memory for 1 row"
    assert report.nodes[0].summaries["onnxruntime"].cases["agrees"] >= 1


def test_a_dtype_that_is_not_pooled_yet_is_named(save: Save) -> None:
    path = save([pool()], dtype=TensorProto.STRING)
    assert problem_of(path).startswith("its input has dtype object; compared are ")


def test_what_onnxruntime_refuses_is_said_in_its_words(save: Save) -> None:
    path = save([pool()], opset=999)
    assert problem_of(path).startswith("onnxruntime refuses it (")
    assert validate(path, rounds=0).nodes[0].summaries["onnxruntime"].verdict == "refuses"


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "int8", "uint8"])
def test_a_maximum_is_compared_in_the_dtype_of_the_model(save: Save, name: str) -> None:
    if name not in OPERATORS["max_pool"].dtypes:
        pytest.skip(f"max_pool does not take {name}")
    path = save([pool()], dtype=helper.np_dtype_to_tensor_dtype(np.dtype(name)))
    report = validate(path, rounds=0)
    assert report.exit_code == 0
    assert report.nodes[0].node.dtype == name


def test_a_model_that_pools_nothing_is_all_right(save: Save) -> None:
    report = validate(save([helper.make_node("Relu", ["x"], ["y"])]), rounds=0)
    assert (report.exit_code, report.summary()) == (0, "there is no pooling to compare in 1 model")


def test_an_empty_batch_agrees(save: Save) -> None:
    report = validate(save([pool(result="m"), pool("AveragePool", source="m")], (0, 3, 8, 8)), rounds=0)
    assert report.exit_code == 0


# ---------------------------------------------------------------------------------------------------------------------
# Arguments


@pytest.mark.parametrize(
    ("keywords", "error", "sentence"),
    [
        ({"rounds": -1}, ValueError, "validate: rounds=-1 must be at least 0"),
        ({"rounds": True}, TypeError, "validate: rounds=True must be an integer, not bool"),
        ({"rounds": 1.5}, TypeError, "validate: rounds=1.5 must be an integer, not float"),
        ({"seed": -3}, ValueError, "validate: seed=-3 must be at least 0"),
        ({"threads": 0}, ValueError, "validate: threads=0 must be at least 1"),
        (
            {"shapes": {"y2": (1, 3, 8, 8)}},
            ValueError,
            "validate: no model has a tensor named 'y2'; name an input as the model names it",
        ),
        (
            {"shapes": {"x": (1, 3, 2**63, 8)}},
            ValueError,
            f"validate: shapes['x']=(1, 3, {2**63}, 8) must not have sizes beyond 2**63 - 1",
        ),
        (
            {"shapes": {"x": (1, -3, 8, 8)}},
            ValueError,
            "validate: shapes['x']=(1, -3, 8, 8) must not have negative sizes",
        ),
    ],
)
def test_wrong_arguments(save: Save, keywords: dict[str, Any], error: type[Exception], sentence: str) -> None:
    path = save([pool()])
    with pytest.raises(error) as caught:
        validate(path, **{"rounds": 0, **keywords})
    assert str(caught.value) == sentence


def test_progress_is_told_before_every_stage(save: Save) -> None:
    told: list[tuple[int, int, str]] = []
    path = save([pool(result="a"), pool(source="a", name="last")])
    validate([path, path], rounds=0, progress=lambda *step: told.append(step))
    stages = [(0, 4, "model a"), (1, 4, "model last"), (2, 4, "model a"), (3, 4, "model last")]
    assert told == [(0, 4, "starting runtimes"), *stages]


@pytest.mark.parametrize("threads", [1, 3])
def test_every_runtime_gets_the_same_number_of_threads(
    save: Save, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    seen = {}
    original = RuntimeProcess.__init__

    def start(self: RuntimeProcess, runtime: str, limits: Any = None, threads: int = 1) -> None:
        seen[runtime] = threads
        original(self, runtime, limits, threads)

    monkeypatch.setattr(RuntimeProcess, "__init__", start)
    before = pooling.get_num_threads()
    report = validate(save([pool()]), rounds=0, threads=threads)
    expected = threads if pooling._core.THREADING != "none" else 1
    # Besides, onnxruntime without its optimiser, and what it makes of a graph.
    helpers = [PLAIN, FUSIONS]
    assert seen == dict.fromkeys(["oracle", *RUNTIMES, *helpers], expected)
    assert report.settings["threads"] == expected
    assert pooling.get_num_threads() == before


# ---------------------------------------------------------------------------------------------------------------------
# The numbers


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_numbers_have_what_brings_out_differences(dtype: type) -> None:
    numbers = draw((2, 10, 12, 12), np.dtype(dtype), seed=5)
    zeros = numbers[numbers == 0]
    denormal = (numbers != 0) & (np.abs(numbers) < np.finfo(dtype).tiny)
    planes = numbers.reshape(20, 144)
    assert numbers.dtype == dtype
    assert not np.isnan(numbers).any()
    assert np.signbit(zeros).any()
    assert not np.signbit(zeros).all()
    assert denormal.any()
    assert np.isposinf(numbers).any()
    assert np.isneginf(numbers).any()
    assert any(len(np.unique(plane)) < 8 for plane in planes), "a plane of ties"
    assert any(denormal.reshape(20, 144)[i].mean() > 0.9 for i in range(20)), "a plane of denormals"
    assert np.isfinite(planes).all(axis=1).sum() >= 10, "planes whose mean is a number"


def test_every_kind_meets_infinities_somewhere() -> None:
    numbers = draw((1, 40, 20, 20), np.dtype(np.float32)).reshape(40, 400)
    infinite = np.isinf(numbers).any(axis=1)
    assert {plane % len(KINDS) for plane in np.flatnonzero(infinite)} == set(range(len(KINDS)))


def test_the_same_seed_draws_the_same_numbers() -> None:
    shape, dtype = (1, 6, 5, 5), np.dtype(np.float32)
    first = draw(shape, dtype, (1, 2))
    np.testing.assert_array_equal(first, draw(shape, dtype, (1, 2)))
    assert not np.array_equal(first, draw(shape, dtype, (1, 3)))


@pytest.mark.parametrize("name", [name for name in DTYPES if "int" in name])
def test_integers_are_ties_and_extremes(name: str) -> None:
    numbers = draw((1, 4, 32, 32), np.dtype(name))
    info = np.iinfo(name)
    assert numbers.dtype == name
    assert len(np.unique(numbers[0, 0])) <= 5
    assert numbers[0, 1].max() > info.max // 2
    assert numbers[0, 1].min() < info.min + info.max // 2
    np.testing.assert_array_equal(numbers, draw((1, 4, 32, 32), np.dtype(name)))


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (1, 1, 1), (3, 1, 2, 2, 2), (1, 4, 0)])
def test_numbers_of_any_shape(shape: tuple[int, ...], name: str) -> None:
    assert draw(shape, np.dtype(name)).shape == shape


# ---------------------------------------------------------------------------------------------------------------------
# Verdicts


def case_of(operator: str = "MaxPool", shape: Sequence[int] = (1, 1, 6), **attributes: Any) -> Case:
    attributes.setdefault("kernel_shape", [2])
    return make_case(operator, np.zeros(shape, np.float32), **attributes)


def verdict_of(expected: Any, actual: Any, case: Case | None = None) -> Any:
    return judge(case or case_of(), Result([np.asarray(expected)]), Result([np.asarray(actual)]))


def test_zeros_of_either_sign_and_nan_are_equal_to_themselves() -> None:
    ours = np.array([0.0, -0.0, np.nan, np.inf, -np.inf])
    theirs = np.array([-0.0, 0.0, np.nan, np.inf, -np.inf])
    verdict = verdict_of(ours, theirs)
    assert (verdict.kind, verdict.elements, verdict.absolute, verdict.share) == (Kind.AGREES, 5, 0.0, None)


@pytest.mark.parametrize(
    ("expected", "actual", "kind"),
    [
        (1.0, np.nextafter(1.0, 2.0), Kind.VALUE),
        (np.nan, 1.0, Kind.NAN),
        (1.0, np.nan, Kind.NAN),
        (np.inf, -np.inf, Kind.VALUE),
        (np.inf, 1.0, Kind.VALUE),
        (-np.inf, -np.finfo(float).max, Kind.VALUE),
        (0.0, 5e-324, Kind.VALUE),
    ],
)
def test_one_wrong_element_is_found(expected: float, actual: float, kind: Kind) -> None:
    left, right = np.zeros((2, 3)), np.zeros((2, 3))
    left[1, 2], right[1, 2] = expected, actual
    verdict = verdict_of(left, right)
    assert (verdict.kind, verdict.differing, verdict.where) == (kind, 1, (1, 2))
    number = f"{right[1, 2]} instead of {left[1, 2]}"
    happened = "NaN not propagated" if np.isnan(expected) else "unexpected NaN"
    assert verdict.sentence == (f"{happened} at (1, 2): {number}" if kind is Kind.NAN else f"{number} at (1, 2)")


def test_infinities_that_differ_are_no_rounding_however_wide_the_bound() -> None:
    huge = make_case("AveragePool", np.full((1, 1, 2), 3e38, np.float32), kernel_shape=[2])
    one = np.ones((1, 1, 1), np.float32)
    for expected, actual in [(np.inf, np.nan), (1, np.inf), (np.inf, 1)]:
        verdict = judge(huge, Result([expected * one]), Result([actual * one]))
        assert verdict.kind in (Kind.VALUE, Kind.NAN)


def test_another_shape_dtype_or_number_of_outputs_is_a_finding() -> None:
    one = np.zeros((1, 1, 2, 2))
    assert verdict_of(one, np.zeros((1, 1, 3, 3))).sentence == "shape (1, 1, 3, 3) instead of (1, 1, 2, 2)"
    assert verdict_of(one, one.astype(np.float32)).sentence == "dtype float32 instead of float64"
    assert judge(case_of(), Result([one]), Result([one, one])).sentence == "2 outputs instead of 1"


def test_no_answer_is_a_refusal_or_a_crash_and_no_difference() -> None:
    right = Result([np.zeros(1)])
    assert judge(case_of(), right, Result(unsupported="no")).kind is Kind.REFUSES
    assert judge(case_of(), right, Result(crash="was killed by SIGFPE")).sentence == "was killed by SIGFPE"
    assert not Kind.REFUSES.differs
    assert not Kind.CRASHES.differs
    with pytest.raises(ValueError) as caught:
        judge(case_of(), Result(crash="exceeded 60 s"), right)
    assert str(caught.value) == ("judge: case 'maxpool': the oracle exceeded 60 s; give it a smaller case or more time")


def test_where_the_oracle_refuses_a_refusal_is_right_and_an_answer_wrong() -> None:
    refused = Result(unsupported="the window finds no place")
    assert judge(case_of(), refused, Result(unsupported="no")).kind is Kind.AGREES
    wrong = judge(case_of(), refused, Result([np.zeros((1, 1, 0))]))
    assert wrong.kind is Kind.VALUE
    assert wrong.sentence == "an answer of shape (1, 1, 0) instead of a refusal (the window finds no place)"


def test_an_index_is_told_from_a_value() -> None:
    case = case_of(outputs=2)
    value, index = np.zeros((1, 1, 5), np.float32), np.arange(5).reshape(1, 1, 5)
    verdict = judge(case, Result([value, index]), Result([value, index + 19]))
    assert (verdict.kind, verdict.output, verdict.differing) == (Kind.INDEX, 1, 5)
    assert verdict.sentence == "index 19 instead of 0 at (0, 0, 0), 5 of 5 elements"


def test_ulp_and_absolute_differences_are_measured() -> None:
    verdict = verdict_of(np.float32([1, 8]), np.float32([1 + 2**-22, 8]))
    assert (verdict.ulp, verdict.absolute) == (2.0, 2.0**-22)


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_the_spacing_is_that_of_the_dtype(name: str) -> None:
    numbers = np.array([1, 1.5, 2, 1000, 0], name)
    numbers[-1] = np.finfo(name).smallest_subnormal * 3
    np.testing.assert_array_equal(spacing(numbers), np.spacing(numbers).astype(float))


def average(values: Any, **attributes: Any) -> Any:
    """Bound the errors of means of some numbers."""
    array = np.asarray(values, np.float32)
    attributes.setdefault("kernel_shape", [array.shape[-1]])
    bound = permitted_errors(make_case("AveragePool", array.reshape(1, 1, *array.shape), rules=(), **attributes))
    assert bound is not None
    return bound[0, 0]


def exact_mean(values: Sequence[float]) -> Fraction:
    return sum((Fraction(float(value)) for value in values), Fraction(0)) / len(values)


@pytest.mark.parametrize("size", [2, 9, 49, 1000])
def test_the_bound_holds_for_sums_in_any_order_with_division_or_reciprocal(size: int) -> None:
    random = np.random.default_rng(size)
    for _ in range(20):
        values = random.standard_normal(size).astype(np.float32)
        values *= np.float32(2.0) ** random.integers(-20, 1, size).astype(np.float32)
        bound = float(average(values).item())
        exact = exact_mean(values.tolist())
        sums = [
            np.add.accumulate(order, dtype=np.float32)[-1]
            for order in (values, values[::-1], np.sort(values), random.permutation(values))
        ]
        for total in sums:
            for mean in (total / np.float32(size), total * (np.float32(1) / np.float32(size))):
                assert abs(Fraction(float(mean)) - exact) <= Fraction(bound)


def test_the_bound_is_tight_enough_to_find_a_lost_element() -> None:
    random = np.random.default_rng(0)
    values = (1 + random.random(49)).astype(np.float32)
    change = values[-1] * 0.001 / 49
    assert change > average(values).item()


def test_the_bound_is_tight_enough_to_find_half_precision() -> None:
    values = np.random.default_rng(0).standard_normal((28, 28)).astype(np.float32)
    layer = pooling.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    rounded = values.astype(np.float16).astype(np.float32)
    difference = np.abs(layer(values[None, None]).astype(float) - layer(rounded[None, None]))[0, 0]
    assert (difference > average(values, kernel_shape=[3, 3], pads=[1] * 4)).any()


def test_the_bound_knows_how_many_elements_a_border_window_has() -> None:
    bound = average(np.ones(8), kernel_shape=[3], pads=[1, 1])
    # Two elements take three roundings, three take four; the oracle takes one.
    unit = np.finfo(np.float32).eps / 2
    np.testing.assert_allclose(bound / unit, [4, 5, 5, 5, 5, 5, 5, 4], rtol=1e-5)


def test_denormal_averages_may_differ_by_one_step() -> None:
    smallest = float(np.finfo(np.float32).smallest_subnormal)
    bound = average([smallest, 0])
    assert smallest <= bound < 2 * smallest


def test_sums_of_more_elements_than_digits_have_a_bound_too() -> None:
    assert 0.5 < average(np.ones(2**23, np.float32)).item() < 1


def test_accurate_sums_are_within_four_units_whatever_their_length() -> None:
    array = np.ones((1, 1, 10000), np.float32)
    bound = permitted_errors(make_case("AveragePool", array, kernel_shape=[10000], rules=("accurate-sums",)))
    np.testing.assert_allclose(bound, 4 * 2.0**-23, rtol=1e-6)


@pytest.mark.parametrize("p", [1, 2, 3, 5])
def test_the_bound_of_norms_holds_and_is_tight(p: int) -> None:
    random = np.random.default_rng(p)
    for size in (2, 9, 49):
        values = random.standard_normal(size).astype(np.float32)
        exact = float(np.sum(np.abs(values.astype(np.longdouble)) ** p) ** (np.longdouble(1) / p))
        powers = np.abs(values) ** np.float32(p)
        naive = np.add.accumulate(powers, dtype=np.float32)[-1] ** (np.float32(1) / np.float32(p))
        case = make_case("LpPool", values.reshape(1, 1, -1), kernel_shape=[size], p=p)
        bound = permitted_errors(case)
        assert bound is not None
        assert abs(float(naive) - exact) <= bound.item() < 1e-5 * exact


@pytest.mark.parametrize("operator", ["MaxPool", "GlobalMaxPool"])
def test_maxima_may_not_differ_at_all(operator: str) -> None:
    attributes = {"kernel_shape": [2]} if operator == "MaxPool" else {}
    assert permitted_errors(make_case(operator, np.ones((1, 1, 4), np.float32), **attributes)) is None


@pytest.mark.parametrize("storage_order", [0, 1])
@pytest.mark.parametrize("spatial", [(30,), (20, 17), (7, 8, 9)])
def test_indices_are_compared_where_the_node_asks_for_them(
    save: Save, altered: Any, spatial: tuple[int, ...], storage_order: int
) -> None:
    node = helper.make_node(
        "MaxPool",
        ["x"],
        ["y", "indices"],
        kernel_shape=[3] * len(spatial),
        strides=[2] * len(spatial),
        storage_order=storage_order,
    )
    path = save([node], (2, 5, *spatial))
    assert validate(path, rounds=0).exit_code == 0

    def shift(results: list[Any]) -> None:
        if len(results) == 2:  # as a whole the model gives no indices
            results[1].flat[7] += 1

    altered(shift)
    report = validate(path, rounds=0)
    assert report.exit_code == 1
    assert {finding.verdict.kind for finding in differing(report)} == {Kind.INDEX}


def test_a_maximum_that_is_off_by_one_ulp_differs(save: Save, altered: Any) -> None:
    def nudge(results: list[Any]) -> None:
        results[0][0, 0, 3, 3] = np.nextafter(results[0][0, 0, 3, 3], np.float32(np.inf))

    altered(nudge)
    report = validate(save([pool(name="stage")]), rounds=0)
    assert report.exit_code == 1
    assert report.summary().startswith("1 pooling node of 1 model: 1 differs; on NaN, infinities or extreme numbers ")
    (finding,) = differing(report)
    version = report.runtimes["onnxruntime"]
    assert finding.sentence.startswith(f"onnxruntime {version} differs at node stage: ")
    assert finding.sentence.endswith(" at (0, 0, 3, 3)")
    assert (finding.verdict.differing, finding.verdict.elements, finding.verdict.ulp) == (1, 147, 1.0)


def test_an_average_that_is_off_by_more_than_rounding_differs(save: Save, altered: Any) -> None:
    def scale(results: list[Any]) -> None:
        results[0] *= np.float32(1 + 1e-5)

    path = save([pool("AveragePool")])
    assert validate(path, rounds=0).exit_code == 0
    altered(scale)
    assert validate(path, rounds=0).exit_code == 1


def test_a_wrong_divisor_at_the_border_differs(save: Save, altered: Any) -> None:
    path = save([pool("AveragePool", name="stage", kernel_shape=[3, 3], pads=[1, 1, 1, 1])])

    def count_pads(results: list[Any]) -> None:
        taps = np.array([2, *[3] * 6, 2])
        results[0] *= (np.outer(taps, taps) / 9).astype(np.float32)

    altered(count_pads)
    report = validate(path, rounds=0)
    assert report.exit_code == 1
    assert [finding.rule for finding in differing(report)] == ["padding-excluded"]


def test_a_difference_counts_for_more_than_what_could_not_be_run(save: Save, altered: Any, tmp_path: Path) -> None:
    altered(lambda results: results[0].fill(0))
    report = validate([tmp_path / "missing.onnx", save([pool()])], rounds=0)
    assert report.exit_code == 1
    assert report.summary() == "1 pooling node of 1 model: 1 differs; 1 model could not be run"


# ---------------------------------------------------------------------------------------------------------------------
# Times


def test_contestants_take_turns_and_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(benchmark, "_wait_until_idle", lambda: said.append("wait"))
    times = benchmark.race({"a": lambda: said.append("a"), "b": lambda: said.append("b")}, rounds=2)
    turns = [said[i] for i in range(len(said)) if i == 0 or said[i] != said[i - 1]]
    assert turns == ["wait", "a", "wait", "b"] * 2
    assert list(times) == ["a", "b"]
    assert all(0 < each.fastest <= each.median for each in times.values())


def test_a_long_race_ends_early_but_not_before_three_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[None] = []
    monkeypatch.setattr(benchmark, "_wait_until_idle", lambda: waits.append(None))
    monkeypatch.setattr(benchmark.time, "perf_counter", itertools.count().__next__)
    benchmark.race({"only": lambda: None}, rounds=10)
    assert len(waits) == 3


def test_the_wait_ends_when_the_process_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    # Processor time as seen before and after each sleep: busy, busy, idle.
    clock = iter([0.0, 0.01, 0.01, 0.02, 0.02, 0.021])
    monkeypatch.setattr(benchmark.time, "process_time", lambda: next(clock))
    slept: list[float] = []
    monkeypatch.setattr(benchmark.time, "sleep", slept.append)
    benchmark._wait_until_idle()
    assert slept == [0.01] * 3


def test_the_wait_ends_even_if_the_process_is_never_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**6))
    monkeypatch.setattr(benchmark.time, "process_time", lambda: float(next(clock)))
    monkeypatch.setattr(benchmark.time, "sleep", lambda seconds: None)
    benchmark._wait_until_idle()


def test_both_sides_are_timed(save: Save) -> None:
    (stage,) = validate(save([pool()]), rounds=1).nodes
    assert set(stage.times) == {"pooling", "onnxruntime"}
    assert stage.speedup == stage.times["onnxruntime"].median / stage.times["pooling"].median


# ---------------------------------------------------------------------------------------------------------------------
# The report


def timed(ours: float, theirs: float, *, fastest: float = 1.0) -> NodeReport:
    """Make the report of a stage that agrees and takes so long; `fastest` is a share of the median."""
    stage = PoolingNode("stage", pool(), 18, (1, 3, 8, 8), np.dtype(np.float32), "")
    times = {
        "pooling": benchmark.Times(ours, ours * fastest),
        "onnxruntime": benchmark.Times(theirs, theirs * fastest),
    }
    summaries = {name: RuntimeSummary("2", {"agrees": 1}, elements=147) for name in RUNTIMES}
    return NodeReport(stage, pooling.MaxPool2d(2, stride=1), summaries, times=times)


def report_of(*stages: NodeReport) -> Report:
    return Report(
        [ModelReport("net.onnx", list(stages))],
        {"pooling": "1", "numpy": "2", "onnx": "1", "python": "3"},
        {"pooling": "1", "onnxruntime": "2"},
        {"system": "Linux", "processor": "a processor", "cores": 2, "instruction_set": "generic"},
        {
            **{"threads": 1, "rounds": 1, "seed": 0, "shapes": {}},
            **{"inputs": [], "limit_seconds": 1.0, "limit_memory": 0},
        },
    )


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        (
            [timed(1e-4, 2e-4), timed(1e-4, 8e-4)],
            "2 pooling nodes of 1 model: all equal; 4.0x faster than onnxruntime in the geometric mean, none slower",
        ),
        (
            [timed(1e-4, 2e-4), timed(8e-4, 1e-4)],
            "2 pooling nodes of 1 model: all equal; 2.0x slower than onnxruntime in the geometric mean, 1 slower",
        ),
    ],
)
def test_the_summary_tells_the_pace(stages: list[NodeReport], sentence: str) -> None:
    report = report_of(*stages)
    assert report.summary() == sentence
    assert report.exit_code == 0


def test_times_that_vary_are_pointed_out() -> None:
    assert not report_of(timed(1e-4, 2e-4, fastest=0.9)).disturbed
    assert report_of(timed(1e-4, 2e-4, fastest=0.1)).disturbed
    assert "times are unsteady" in printed(report_of(timed(1e-4, 2e-4, fastest=0.1)), 120)
    assert "faster" not in report_of(timed(1e-4, 2e-4, fastest=0.1)).summary()


def test_what_is_known_when_it_is_stopped_is_kept(save: Save) -> None:
    """As by Ctrl-C, in the middle of the second of three stages."""

    def stop(done: int, total: int, what: str) -> None:
        if done == 1:
            raise KeyboardInterrupt

    nodes = [pool(result="a"), pool(source="a", result="b"), pool(source="b")]
    report = validate(save(nodes), rounds=0, progress=stop)
    assert len(report.nodes) == 1
    assert report.interrupted
    assert report.exit_code == 2
    assert report.models[0].unasked == ("it was stopped before 2 of 3 nodes were looked at",)
    assert report.summary().startswith("1 pooling node of 1 model: all equal")
    assert report.summary().endswith("; not everything was looked at")
    assert as_dict(report)["summary"]["interrupted"] is True


def test_special_numbers_take_a_line_for_each_rule(save: Save) -> None:
    report = validate(save([pool(result="a"), pool(source="a")]), rounds=0)
    assert {each.counts_as for each in report.findings} == {"special"}
    lines = [line for line in printed(report).splitlines() if "nan-propagates" in line]
    assert len(lines) == 1
    assert lines[0].startswith("    nan-propagates: onnxruntime ")
    assert "; 2 nodes" in lines[0]


def printed(report: Report, width: int = 120) -> str:
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=width))
    return stream.getvalue()


def words(line: str) -> str:
    return " ".join(line.split())


@pytest.mark.parametrize("width", [80, 120])
def test_names_that_differ_look_different_on_a_narrow_terminal(save: Save, width: int) -> None:
    names = [f"features/block{block}/a_long_name_of_a_module/pool{end}" for block in (1, 2, 3) for end in (1, 2)]
    tensors = ["x", *(f"t{i}" for i in range(5)), "y"]
    path = save([pool(source=a, result=b, name=name) for name, a, b in zip(names, tensors, tensors[1:], strict=False)])
    lines = printed(validate(path, rounds=0), width).splitlines()
    shown = [line.split()[0] for line in lines if "MaxPool 2×2" in line]
    assert len(shown) == len(set(shown)) == len(names)
    for name, cut in zip(names, shown, strict=True):
        assert name.endswith(cut.rpartition("…")[2])


@pytest.fixture(scope="module")
def light_timed(light: Report) -> Report:
    """The real networks with made-up times."""
    models = [
        ModelReport(
            model.path,
            [
                NodeReport(each.node, each.layer, each.summaries, (), timed(1.2345e-3, 3e-3).times)
                for each in model.nodes
            ],
        )
        for model in light.models
    ]
    return Report(models, light.versions, light.runtimes, light.machine, light.settings)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_table_of_the_real_networks_fits(light_timed: Report, width: int) -> None:
    lines = printed(light_timed, width).splitlines()
    table = lines[3 : lines.index("", 4)]
    assert len(table) == 1 + 9 + len(light_timed.nodes)
    assert max(map(len, table)) <= width
    assert not any("…" in line for line in table)
    assert lines[1] == light_timed.summary()  # the verdict first


def test_the_table_shows_what_each_stage_is(light_timed: Report) -> None:
    lines = printed(light_timed, 120).splitlines()
    assert words(lines[3]) == "node operator stride pads input → output difference pooling onnxruntime speed"
    assert words(lines[5]) == "n3 MaxPool 3×3 2 0 1×96×54×54 → 26×26 0 1,234 µs 3,000 µs 2.4×"
    assert any("  0 0 1 1  " in line for line in lines)


def test_columns_with_nothing_to_say_are_left_out(light: Report) -> None:
    header = printed(light, 120).splitlines()[3]
    assert words(header) == "node operator stride pads input → output difference"


def test_what_few_nodes_have_is_shown(save: Save) -> None:
    nodes = [
        helper.make_node(
            "MaxPool", ["x"], ["a", "i"], kernel_shape=[2, 3], dilations=[2, 1], ceil_mode=1, strides=[2, 1]
        ),
        pool("AveragePool", source="a", result="b", pads=[1, 1, 1, 1], count_include_pad=1),
        pool(source="b", auto_pad="SAME_LOWER"),
    ]
    text = printed(validate(save(nodes, (1, 3, 20, 20)), rounds=0), 140)
    for part in ("dilation 2×1, ceil, indices", "counts pads", "same lower", "MaxPool 2×3", "2×1"):
        assert part in text


def test_the_table_says_what_is_wrong_below(save: Save, altered: Any, tmp_path: Path) -> None:
    altered(lambda results: results[0].fill(7))
    path = save([pool(name="wrong"), unheard("z"), pool(source="z", result="lost")], domains=["com.example"])
    nothing = tmp_path / "nothing.onnx"
    helped = helper.make_model(
        helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [tensor("x", [1])], [tensor("y", [1])])
    )
    nothing.write_bytes(helped.SerializeToString())
    text = printed(validate([path, nothing, tmp_path / "missing.onnx"], rounds=0), 120)
    assert "differs" in text
    assert "not run" in text
    assert " differs at node wrong: 7.0 instead of " in text
    assert f"{path}: MaxPool lost: the shape of its input 'z' is not known;" in text
    assert "nothing has no pooling nodes" in text
    assert f"{tmp_path / 'missing.onnx'}: it cannot be read (No such file or directory)" in text
    assert text.splitlines()[1].startswith("1 pooling node of 1 model: 1 differs; ")
    assert text.splitlines()[1].endswith("; 1 node and 1 model could not be run")


def test_a_name_cannot_play_tricks_with_the_terminal(save: Save) -> None:
    nodes = [pool(name="\x1b[2J\nred[/bold]"), unheard("z"), pool(source="z", result="\x1b[1A")]
    text = printed(validate(save(nodes, domains=["com.example"]), rounds=0), 120)
    assert "\x1b" not in text
    assert "\\x1b[2J\\nred[/bold]" in text
    assert "MaxPool \\x1b[1A: the shape of its input 'z' is not known" in text


# ---------------------------------------------------------------------------------------------------------------------
# JSON


def test_the_json_has_the_documented_structure(save: Save, tmp_path: Path) -> None:
    nodes = [pool(result="a"), pool("AveragePool", source="a", name="mean"), unheard("z")]
    path = save([*nodes, pool(source="z", result="lost")], domains=["com.example"])
    save_json(validate([path, tmp_path / "missing.onnx"], rounds=1, threads=1, seed=3), tmp_path / "report.json")
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    check("validate", found)
    assert list(found) == ["schema", "versions", "runtimes", "machine", "settings", "notes", "models", "summary"]
    assert found["schema"] == "pooling-validation/2"
    assert list(found["versions"]) == ["pooling", "numpy", "onnx", "python"]
    assert list(found["runtimes"]) == list(RUNTIMES)
    assert found["versions"]["pooling"] == pooling.__version__
    assert list(found["machine"]) == ["system", "processor", "cores", "instruction_set"]
    assert found["settings"] == {
        "threads": 1,
        "rounds": 1,
        "seed": 3,
        "shapes": {},
        "inputs": [],
        "limit_seconds": 60.0,
        "limit_memory": 4 * 2**30,
        "fail_on": ["differs"],
    }
    model, missing = found["models"]
    assert (model["path"], model["problem"]) == (str(path), None)
    assert missing["problem"] == "it cannot be read (No such file or directory)"
    largest, mean, lost = model["nodes"]
    assert list(largest) == list(mean) == list(lost)
    assert largest == {
        "name": "a",
        "operator": "MaxPool",
        "opset": 18,
        "verdict": "equal",
        "problem": None,
        "input_shape": [1, 3, 8, 8],
        "output_shape": [1, 3, 7, 7],
        "layer": "MaxPool2d(kernel_size=2, stride=1)",
        "largest_difference": 0.0,
        "share_of_bound": None,
        "runtimes": largest["runtimes"],
        "findings": largest["findings"],
        "seconds": largest["seconds"],
    }
    assert largest["runtimes"]["pooling"] == {
        "verdict": "agrees",
        "version": pooling.__version__,
        "cases": {"agrees": 5},
        "findings": {},
        "elements": 147,
        "largest_difference": 0.0,
        "largest_ulp": 0.0,
        "share_of_bound": None,
        "reason": "",
    }
    assert set(largest["seconds"]) == {"pooling", "onnxruntime"}
    assert all(list(each) == ["median", "fastest"] for each in largest["seconds"].values())
    assert 0 <= mean["share_of_bound"] <= 1
    assert (lost["verdict"], lost["seconds"], lost["runtimes"]) == ("not run", {}, {})
    assert found["summary"]["nodes"] == 3
    assert [found["summary"][key] for key in ("equal", "differ", "not_run", "models_not_read")] == [2, 0, 1, 1]


def test_numbers_that_json_does_not_have_are_words(save: Save, altered: Any, tmp_path: Path) -> None:
    altered(lambda results: results[0].fill(np.inf))
    save_json(validate(save([pool()]), rounds=0), tmp_path / "report.json")
    (stage,) = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["models"][0]["nodes"]
    assert stage["verdict"] == "differs"
    assert stage["findings"][0]["actual"] == "inf"


def test_a_report_that_cannot_be_written_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "report.json"
    target.write_text("old")

    def fail(*arguments: object, **keywords: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no"):
        save_json(report_of(timed(1e-4, 2e-4)), target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_report_goes_where_a_link_points(tmp_path: Path) -> None:
    target, link = tmp_path / "report.json", tmp_path / "latest.json"
    link.symlink_to(target)
    save_json(report_of(timed(1e-4, 2e-4)), link)
    assert link.is_symlink()
    assert json.loads(target.read_text())["summary"]["equal"] == 1


def test_a_device_is_written_to_and_not_replaced() -> None:
    save_json(report_of(timed(1e-4, 2e-4)), os.devnull)
    assert not Path(os.devnull).is_file()


def test_reading_a_model_reports_its_problem_as_an_exception(tmp_path: Path) -> None:
    with pytest.raises(CannotRunError, match="No such file"):
        read_pooling_nodes(tmp_path / "missing.onnx")


@pytest.mark.parametrize(
    ("shape", "dtype", "known", "remedy"),
    [
        ((1, 8, 9, 3), "float32", (1, 3, 8, 9), "array.transpose(0, 3, 1, 2)"),
        ((8, 9, 3), "float32", (1, 3, 8, 9), "array[None].transpose(0, 3, 1, 2)"),
        ((3, 8, 9), "float32", ("N", 3, "H", "W"), "array[None]"),
        ((4, 3, 8, 9), "float32", (2, 3, 8, 9), "array[:2]"),
        ((4, 8, 9, 3), "float32", (1, 3, 8, 9), "array[:1].transpose(0, 3, 1, 2)"),
        ((1, 3, 8, 9), "float64", (1, 3, 8, 9), "array.astype(np.float32)"),
        ((1, 3, 8, 9), "uint8", ("N", 3, "H", "W"), "array.astype(np.float32)"),
        ((1, 3, 8, 9), ">f8", (1, 3, 8, 9), "array.astype(np.float32)"),
    ],
)
def test_what_to_do_with_an_array_that_does_not_fit_is_said_and_helps(
    save: Save, tmp_path: Path, shape: tuple[int, ...], dtype: str, known: tuple[int | str, ...], remedy: str
) -> None:
    array = np.ones(shape, dtype)
    np.save(tmp_path / "x.npy", array)
    path = save([pool()], known)
    sentence = problem_of(path, inputs=[str(tmp_path / "x.npy")])
    assert sentence.endswith(f"; give {remedy}, saved with numpy.save")
    named = np.dtype(dtype).newbyteorder("=").name
    assert ("<f" in sentence, ">f" in sentence, f"dtype {named}, " in sentence) == (False, False, named != "float32")
    np.save(tmp_path / "x.npy", eval(remedy, {"array": array, "np": np}))
    assert validate(path, inputs=[str(tmp_path / "x.npy")], rounds=0).problems == []


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 3, 8, 7), (3, 8), (8, 8), (), (1, 1, 3, 8, 8)])
def test_an_array_that_cannot_be_made_to_fit_has_no_remedy(save: Save, tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "x.npy", np.ones(shape, np.float32))
    assert problem_of(save([pool()], (1, 3, 8, 8)), inputs=[str(tmp_path / "x.npy")]) == (
        f"--input x.npy of shape {'x'.join(map(str, shape)) or '()'} contradicts the model, where x is 1x3x8x8"
    )


def test_an_array_with_its_bytes_swapped_is_taken(save: Save, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((1, 3, 8, 8), ">f4"))
    report = validate(save([pool()]), inputs=[str(tmp_path / "x.npy")], rounds=0)
    assert (report.problems, report.exit_code) == ([], 0)


def test_an_input_that_does_not_fit_is_blamed_itself(save: Save, tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.ones((1, 4, 8, 8), np.float32))
    path = save([pool()], ("N", 3, "H", "W"))
    assert problem_of(path, inputs=[str(tmp_path / "wide.npy")]) == (
        "--input wide.npy of shape 1x4x8x8 contradicts the model, where x is Nx3xHxW"
    )


def test_a_model_that_does_not_run_says_why_in_the_words_of_the_runtime(save: Save) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "s"], ["r"]),
        helper.make_node("Expand", ["r", "n"], ["e"]),
        pool(source="e", name="stage"),
    ]
    size = helper.make_tensor("s", TensorProto.INT64, (4,), [1, 3, 5, 5])
    path = save(nodes, inputs=[tensor("n", (4,), TensorProto.INT64)], constants=[size])
    sentence = problem_of(path)
    assert "onnxruntime does not run the model (" in sentence
    assert "--shape" not in sentence
