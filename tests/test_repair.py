"""Models of others, before and after the repair."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pooling import cli, errors
from pooling.export import Change, Repaired, VerificationError, make_portable
from pooling.export.deployed import form_of_average, is_right
from pooling.export.repair import proof
from pooling.onnx_models import function_from_node
from pooling.onnx_models.graph import scopes_of
from pooling.onnx_models.session import session
from pooling.validation import validate
from tests.exported import leftovers
from tests.schemas import check

onnxruntime = pytest.importorskip("onnxruntime")

Array = NDArray[Any]
LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light"
WINDOWED = ("MaxPool", "AveragePool", "LpPool")
NEWEST = 22
"""The opset whose text says what windows are."""


def parsed(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(text)


def repaired(model: onnx.ModelProto, **arguments: Any) -> Repaired:
    """Repair a model, and check what holds of every repair."""
    before = model.SerializeToString(deterministic=True)
    result = make_portable(model, **arguments)
    assert model.SerializeToString(deterministic=True) == before
    assert [each.name for each in result.model.graph.input] == [each.name for each in model.graph.input]
    assert [each.name for each in result.model.graph.output] == [each.name for each in model.graph.output]
    kept = {each.name for each in result.model.graph.initializer}
    assert list(result.model.graph.initializer) == [each for each in model.graph.initializer if each.name in kept]
    left = {(each.path, each.node) for each in result.skipped}
    for scope in scopes_of(result.model):
        for node in scope.container.node:
            if (scope.path, node.name or node.output[0]) not in left and node.op_type in WINDOWED:
                words = {each.name: helper.get_attribute_value(each) for each in node.attribute}
                assert words.get("auto_pad", b"NOTSET") == b"NOTSET"
                assert not words.get("ceil_mode")
                assert not words.get("storage_order")
    assert leftovers(result.model) <= leftovers(model)
    again = make_portable(result.model, verify=False)
    assert again.changes == ()
    assert again.model == result.model
    assert len(again.skipped) == len(result.skipped)
    if not result.changes:
        assert result.model == model
    return result


def run(model: onnx.ModelProto, *arrays: Array) -> list[Array]:
    loaded = session(model.SerializeToString())
    names = [each.name for each in loaded.get_inputs()]
    return list(loaded.run(None, dict(zip(names, arrays, strict=True))))


def only(result: Repaired) -> Change:
    (change,) = result.changes
    return change


# ---------------------------------------------------------------------------------------------------------------------
# The classifier that onnxruntime refuses


def classifier(opset: int = 20, operator: str = "MaxPool") -> onnx.ModelProto:
    """Write what torch's exporter writes of MaxPool2d(3, 3, 1, ceil_mode=True), flatten and Linear(4, 2)."""
    weight = np.arange(8, dtype=np.float32).reshape(2, 4) / 8
    pooled = "/p/MaxPool_output_0"
    words = {"dilations": [1, 1]} if operator == "MaxPool" else {"count_include_pad": 1}
    nodes = [
        helper.make_node(
            operator,
            ["x"],
            [pooled],
            "/p/MaxPool",
            ceil_mode=1,
            kernel_shape=[3, 3],
            pads=[1] * 4,
            strides=[3, 3],
            **words,
        ),
        helper.make_node("Flatten", [pooled], ["/Flatten_output_0"], "/Flatten", axis=1),
        helper.make_node("Gemm", ["/Flatten_output_0", "l.weight", "l.bias"], ["y"], "/l/Gemm", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "main_graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 5, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(weight, "l.weight"), numpy_helper.from_array(np.ones(2, np.float32), "l.bias")],
        value_info=[
            helper.make_tensor_value_info(pooled, TensorProto.FLOAT, [1, 1, 3, 3]),
            helper.make_tensor_value_info("/Flatten_output_0", TensorProto.FLOAT, [1, 9]),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


@pytest.mark.parametrize("opset", [13, 18, 20])
def test_the_classifier_loads_after_the_repair(opset: int) -> None:
    model = classifier(opset)
    with pytest.raises(Exception, match="Dimension mismatch in unification between 4 and 9"):
        run(model, np.zeros((1, 1, 5, 5), np.float32))
    result = repaired(model)
    x = np.arange(1, 26, dtype=np.float32).reshape(1, 1, 5, 5)
    # The windows of a 5 x 5 map with padding 1 end at 2 and 5 on each axis.
    pooled = np.array([7.0, 10, 22, 25])
    weight = np.arange(8).reshape(2, 4) / 8
    np.testing.assert_array_equal(run(result.model, x)[0], [pooled @ weight.T + 1])
    assert [change.rule for change in result.changes] == ["ceil_mode", "recorded_shape", "recorded_shape"]
    assert [change.became for change in result.changes[1:]] == ["(1, 1, 2, 2)", "(1, 4)"]
    assert result.verified
    assert "does not load the original" in result.why
    assert "the repaired model runs" in result.why
    assert "opset 22" in result.model.graph.node[0].doc_string
    assert result.model.graph.node[0].name == "/p/MaxPool"
    onnx.checker.check_model(result.model, full_check=True)


def test_the_classifier_with_a_mean() -> None:
    result = repaired(classifier(18, "AveragePool"))
    x = np.arange(1, 26, dtype=np.float32).reshape(1, 1, 5, 5)
    pooled = np.array([16, 39, 99, 171]) / 9  # padding counts
    weight = np.arange(8).reshape(2, 4) / 8
    np.testing.assert_allclose(run(result.model, x)[0], [pooled @ weight.T + 1], rtol=1e-6)


def test_from_opset_22_on_only_the_word_goes() -> None:
    model = classifier(22)
    del model.graph.value_info[:]
    result = repaired(model)
    assert only(result).rule == "ceil_mode"
    assert "same for the original and the repaired" in result.why


def test_a_wrong_shape_of_an_output_is_corrected() -> None:
    node = "y = MaxPool<kernel_shape=[3,3],strides=[3,3],pads=[1,1,1,1],ceil_mode=1>(x)"
    result = repaired(one(node, "float[N,1,5,5] x", "float[N,1,3,3] y"))
    assert [(change.rule, change.became) for change in result.changes[1:]] == [("recorded_shape", "(?, 1, 2, 2)")]
    assert result.model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "N"
    # A name says nothing wrong.
    assert len(repaired(one(node, "float[N,1,5,5] x", "float[N,1,H,W] y")).changes) == 1


def test_a_shape_that_may_be_right_stays() -> None:
    # The node is left for its window of padding alone, and shape inference has 3 windows where runtimes have 2.
    node = "y = MaxPool<kernel_shape=[2],strides=[5],dilations=[8],pads=[7,8],ceil_mode=1>(x)"
    result = repaired(one(node, "float[1,1,3] x", "float[1,1,2] y"))
    assert len(result.skipped) == 1
    assert result.changes == ()


@pytest.mark.parametrize("kind", ["MaxPool2d", "AvgPool2d"])
def test_the_classifier_as_torch_exports_it(kind: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        getattr(torch.nn, kind)(3, 3, 1, ceil_mode=True), torch.nn.Flatten(), torch.nn.Linear(4, 2)
    )
    x = torch.arange(1.0, 26).reshape(1, 1, 5, 5)
    path = tmp_path / "net.onnx"
    torch.onnx.export(network.eval(), (x,), path, opset_version=18, dynamo=False, input_names=["x"])
    result = repaired(onnx.load(path))
    np.testing.assert_allclose(run(result.model, x.numpy())[0], network(x).detach().numpy(), rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# One node each

HEAD = '<ir_version: 8, opset_import: ["": {opset}]> g ({x}) => ({y}) {{ '


def one(node: str, x: str = "float[N,3,12,12] x", y: str = "float[N,K,A,B] y", opset: int = 18) -> onnx.ModelProto:
    return parsed(HEAD.format(opset=opset, x=x, y=y) + node + " }")


CASES = {
    "same_upper": ("y = MaxPool<kernel_shape=[3,3],strides=[2,2],auto_pad='SAME_UPPER'>(x)", 18, "[0, 0, 1, 1]"),
    "same_lower": ("y = MaxPool<kernel_shape=[3,3],strides=[2,2],auto_pad='SAME_LOWER'>(x)", 18, "[1, 1, 0, 0]"),
    "same_dilated": ("y = MaxPool<kernel_shape=[3,3],dilations=[2,2],auto_pad='SAME_UPPER'>(x)", 18, "[2, 2, 2, 2]"),
    "valid": ("y = LpPool<kernel_shape=[2,2],strides=[2,2],auto_pad='VALID'>(x)", 18, None),
    "valid_ceil": ("y = MaxPool<kernel_shape=[3,3],strides=[2,2],auto_pad='VALID',ceil_mode=1>(x)", 18, "[0, 0, 1, 1]"),
    "ceil": ("y = AveragePool<kernel_shape=[5,5],strides=[2,2],ceil_mode=1>(x)", 18, "[0, 0, 1, 1]"),
}


@pytest.mark.parametrize("name", CASES)
def test_pads_are_written_out(name: str) -> None:
    node, opset, pads = CASES[name]
    result = repaired(one(node.replace("'", '"'), opset=opset))
    change = only(result)
    assert result.verified
    assert change.path == "graph"
    assert change.node == "y"
    assert change.reason.endswith(".")
    assert (f"pads={pads}" in change.became) if pads else ("pads" not in change.became)


def test_ceil_mode_needs_no_sizes_where_no_window_can_start_behind_the_input() -> None:
    result = repaired(
        one("y = MaxPool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1],ceil_mode=1>(x)", "float[N,C,H,W] x")
    )
    assert "pads=[1, 1, 2, 2]" in only(result).became
    assert "same for the original and the repaired" in result.why
    for size in range(4, 12):
        x = np.arange(size * size, dtype=np.float32).reshape(1, 1, size, size)
        assert run(result.model, x)[0].shape[2] == min(-(-(size + 2 - 3) // 2) + 1, (size + 1 + 1) // 2)


def test_same_with_stride_1_needs_no_sizes() -> None:
    result = repaired(one('y = MaxPool<kernel_shape=[4,4],auto_pad="SAME_LOWER">(x)', "float[N,C,H,W] x"))
    assert "pads=[2, 2, 1, 1]" in only(result).became


@pytest.mark.parametrize(
    "words", ['strides=[2,2],auto_pad="SAME_UPPER"', "strides=[3,3],pads=[1,1,1,1],ceil_mode=1"], ids=["same", "ceil"]
)
def test_what_depends_on_sizes_is_left_until_they_are_given(words: str) -> None:
    model = one(f"y = MaxPool<kernel_shape=[3,3],{words}>(x)", "float[N,3,H,W] x")
    result = repaired(model)
    (left,) = result.skipped
    assert left.node == "y"
    assert "axis H, which is not known; give input_shapes={'x': (sizes)}" in left.reason
    given = repaired(model, input_shapes={"x": (None, 3, 20, 20)})
    assert [change.rule for change in given.changes] == ["input_shapes", "auto_pad" if "auto" in words else "ceil_mode"]
    assert given.skipped == ()
    assert given.verified
    assert [dim.dim_value for dim in given.model.graph.input[0].type.tensor_type.shape.dim] == [0, 3, 20, 20]


def test_a_shape_that_no_node_tells_is_measured() -> None:
    # The number of zeros among others is known at run time only, as far as shape inference can tell.
    model = one(
        "a = Sub(x, x) b = Cast<to=7>(a) c = ReduceSum<keepdims=0>(b) d = Constant<value=int64[1]{20}>() "
        "e = Add(c, d) f = Constant<value=int64[2]{1,3}>() s = Concat<axis=0>(f, e, e) z = Reshape(x, s) "
        'y = MaxPool<kernel_shape=[3,3],strides=[2,2],auto_pad="SAME_UPPER">(z)',
        "float[1,3,20,20] x",
    )
    result = repaired(model)
    assert "pads=[0, 0, 1, 1]" in only(result).became
    assert result.verified
    assert only(result).reason.endswith("The shape of 'z' follows from no node; it was the same in all runs.")


def test_padding_that_counts_becomes_a_node_where_ceil_mode_touches_more() -> None:
    # 4 x 4, as in the reports: openvino gives [1.333, 3, 1.778] in the last row and column.
    node = "y = AveragePool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1],ceil_mode=1,count_include_pad=1>(x)"
    result = repaired(one(node, "float[N,1,4,4] x"))
    # The taps in the input, times a map of shares: in every released onnxruntime right, which a Pad in front is not.
    assert only(result).became == (
        "AveragePool(count_include_pad=0, kernel_shape=[3, 3], pads=[1, 1, 2, 2], strides=[2, 2]) -> Mul()"
    )
    x = np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)
    wanted = [1.5555556, 3.3333333, 2, 6.3333333, 11, 6, 4.5, 7.5, 4]
    np.testing.assert_allclose(run(result.model, x)[0].ravel(), wanted, rtol=1e-6)


def test_a_dilated_mean_below_opset_19() -> None:
    node = "y = AveragePool<kernel_shape=[2,2],dilations=[2,3],pads=[1,1,1,1]>(x)"
    result = repaired(one(node, opset=11))
    assert result.verified
    assert "Gather" in only(result).became
    assert only(result).rule == "dilations"
    x = np.random.default_rng(0).standard_normal((2, 3, 12, 12)).astype(np.float32)
    wanted = function_from_node(one(node).graph.node[0], 19)(x)
    np.testing.assert_allclose(run(result.model, x)[0], wanted[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool", "LpPool"])
def test_pads_that_onnxruntime_refuses(operator: str) -> None:
    counted = ",count_include_pad=1" if operator == "AveragePool" else ""
    model = one(f"y = {operator}<kernel_shape=[2,2],strides=[2,2],pads=[2,2,3,3]{counted}>(x)", "float[N,1,5,5] x")
    with pytest.raises(Exception, match=r"[Pp]ad"):
        run(model, np.zeros((1, 1, 5, 5), np.float32))
    result = repaired(model)
    assert result.verified
    assert only(result).rule == "pads"
    x = np.arange(25, dtype=np.float32).reshape(1, 1, 5, 5)
    corner = {"MaxPool": -math.inf, "AveragePool": 0.0, "LpPool": 0.0}[operator]
    assert run(result.model, x)[0][0, 0, 0, 0] == corner


def test_column_major_indices() -> None:
    node = "y, i = MaxPool<kernel_shape=[1,1],storage_order=1>(x)"
    result = repaired(one(node, "float[N,2,2,3] x", "float[N,2,A,B] y, int64[N,2,A,B] i", opset=12))
    indices = run(result.model, np.zeros((1, 2, 2, 3), np.float32))[1]
    assert indices.ravel().tolist() == [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]
    plain = repaired(one(node.replace(", i ", " "), opset=12))
    assert only(plain).became == "MaxPool(kernel_shape=[1, 1])"


@pytest.mark.parametrize(
    ("dtype", "operator"), [("bfloat16", "MaxPool"), ("double", "AveragePool"), ("double", "LpPool")]
)
def test_types_that_onnxruntime_lacks_are_run_here(dtype: str, operator: str) -> None:
    node = f'y = {operator}<kernel_shape=[3,3],strides=[2,2],auto_pad="SAME_UPPER">(x)'
    result = repaired(one(node, f"{dtype}[N,3,12,12] x", f"{dtype}[N,3,A,B] y", opset=22))
    assert result.verified
    assert "as pooling.onnx_models.backend runs it, which stands in for onnxruntime" in result.why


@pytest.mark.parametrize("p", [1, 2])
def test_a_global_norm_is_a_reduction(p: int) -> None:
    result = repaired(one(f"y = GlobalLpPool<p={p}>(x)", "float[N,1,2,2] x"))
    x = np.array([3, -4, 0, 0], np.float32).reshape(1, 1, 2, 2)
    assert run(result.model, x)[0].item() == {1: 7, 2: 5}[p]
    assert result.verified


# ---------------------------------------------------------------------------------------------------------------------
# What exporters write around poolings

TORCH_PADS = (
    "c4 = Constant<value=int64[1]{4}>() c1 = Constant<value=int64[4]{0,1,0,1}>() "
    "cs = ConstantOfShape<value=int64[1]{0}>(c4) "
    "cc = Concat<axis=0>(c1, cs) c2 = Constant<value=int64[2]{-1,2}>() rs = Reshape(cc, c2) "
    "c3 = Constant<value=int64[1]{0}>() c5 = Constant<value=int64[1]{-1}>() "
    "c6 = Constant<value=int64[1]{-9223372036854775807}>() "
    "sl = Slice(rs, c5, c6, c3, c5) tr = Transpose<perm=[1,0]>(sl) "
    'rr = Reshape(tr, c5) ca = Cast<to=7>(rr) pa = Pad<mode="constant">(x, ca) '
)
"""How torch's exporter writes torch.nn.functional.pad(x, (0, 1, 0, 1))."""


def test_a_pad_with_zeros_before_a_mean_is_folded() -> None:
    result = repaired(one(f"{TORCH_PADS} y = AveragePool<kernel_shape=[3,3],strides=[2,2],count_include_pad=1>(pa)"))
    assert only(result).rule == "pad"
    (node,) = result.model.graph.node  # and all that the pads were made of is gone
    assert node.input[0] == "x"
    assert "pads=[0, 0, 1, 1]" in only(result).became
    assert "same up to rounding for the original and the repaired" in result.why


def test_the_oldest_exporter_of_torch() -> None:
    pad = 'p = Pad<mode="constant",pads=[0,0,1,1,0,0,1,1],value=0.0>(x) '
    result = repaired(one(f"{pad} y = AveragePool<kernel_shape=[3,3],pads=[0,0,0,0],strides=[2,2]>(p)", opset=9))
    assert "count_include_pad=1" in only(result).became
    # With ceil_mode its pads at the end do not count, so that no pads of the node say both. Some releases of
    # onnxruntime make one node of the two all the same.
    kept = repaired(one(f"{pad} y = AveragePool<kernel_shape=[3,3],pads=[0,0,2,2],strides=[2,2]>(p)", opset=9))
    assert operators(kept.model)[-2:] == ["Concat", "AveragePool"]
    assert "onnxruntime 1.19.2 to 1.20.1" in only(kept).reason


@pytest.mark.parametrize(
    ("before", "folds"), [("Relu", True), ("Sigmoid", True), ("Identity", False), ("Tanh", False), ("Neg", False)]
)
def test_a_pad_with_zeros_before_a_maximum_is_folded_where_nothing_is_negative(before: str, folds: bool) -> None:
    pad = f"r = {before}(x) n = Constant<value=int64[8]{{0,0,1,1,0,0,1,1}}>() p = Pad(r, n) "
    result = repaired(one(f"{pad} y = MaxPool<kernel_shape=[3,3],strides=[2,2]>(p)"))
    assert len(result.changes) == folds
    assert result.verified


def test_a_window_of_a_pad_alone_keeps_its_zero() -> None:
    pad = "r = Relu(x) n = Constant<value=int64[8]{0,0,1,1,0,0,1,1}>() p = Pad(r, n) "
    model = one(f"{pad} y = MaxPool<kernel_shape=[2,2],dilations=[3,3]>(p)", "float[N,1,2,2] x")
    assert repaired(model).changes == ()
    assert run(model, np.ones((1, 1, 2, 2), np.float32))[0].item() == 0


def test_relu6_gives_nothing_negative() -> None:
    words = "lo = Constant<value=float {0.0}>() hi = Constant<value=float {6.0}>() r = Clip(x, lo, hi) "
    pad = (
        "n = Constant<value=int64[8]{0,0,0,0,0,0,1,1}>() p = Pad(r, n) y = MaxPool<kernel_shape=[3,3],strides=[2,2]>(p)"
    )
    assert only(repaired(one(words + pad))).rule == "pad"
    assert repaired(one((words + pad).replace("{0.0}", "{-1.0}"))).changes == ()


@pytest.mark.parametrize(
    "change",
    [
        ("Pad(x, n)", 'Pad<mode="reflect">(x, n)'),
        ("{0,0,1,1,0,0,1,1}", "{0,1,1,1,0,0,1,1}"),
        ("{0,0,1,1,0,0,1,1}", "{0,0,-1,1,0,0,1,1}"),
        ("p = Pad(x, n)", "v = Constant<value=float {1.0}>() p = Pad(x, n, v)"),
        ("y =", "q = Relu(p) y ="),
    ],
)
def test_pads_that_are_not_folded(change: tuple[str, str]) -> None:
    text = "n = Constant<value=int64[8]{0,0,1,1,0,0,1,1}>() p = Pad(x, n) y = AveragePool<kernel_shape=[3,3]>(p)"
    assert len(repaired(one(text)).changes) == 1
    assert change[0] in text
    assert repaired(one(text.replace(*change))).changes == ()


@pytest.mark.parametrize(
    "change",
    [
        ("{0,0,1,1,0,0,1,1}", "{0,0,3,1,0,0,1,1}"),  # wider than a window
        ("AveragePool<", "AveragePool<pads=[0,0,1,1],"),  # padding that does not count beside padding that does
    ],
)
@pytest.mark.parametrize("opset", [18, 22])
@pytest.mark.parametrize("x", ["float[1,3,12,12] x", "float[N,3,H,W] x", "float[N,C,12,W] x"])
def test_zeros_that_are_no_padding_of_the_node_are_put_there_by_concat(
    change: tuple[str, str], x: str, opset: int
) -> None:
    zero = "z = Constant<value=float {0.0}>() "
    pads = "n = Constant<value=int64[8]{0,0,1,1,0,0,1,1}>() p = Pad(x, n, z) "
    text = f"{zero} {pads} y = AveragePool<kernel_shape=[3,3]>(p)"
    result = repaired(one(text.replace(*change), x, opset=opset))
    if opset == 22 and "pads=" in change[1]:
        assert result.changes == ()  # from opset 21 on, no release makes one node of these two
        return
    assert only(result).rule == "pad"
    assert operators(result.model)[-2:] == ["Concat", "AveragePool"]
    assert "Pad" not in operators(result.model)
    assert result.verified, result.why


@pytest.mark.parametrize("opset", [9, 13, 19])
@pytest.mark.parametrize("x", ["float[1,3,12,12] x", "float[N,C,H,W] x"])
@pytest.mark.parametrize("reader", ["", "q = Neg(p)"])
def test_what_a_pad_has_read_is_still_there_for_what_takes_its_place(opset: int, x: str, reader: str) -> None:
    """Zeros put there by Concat read what the Pad has read, and nobody else may."""
    if opset == 9:
        pad = 'p = Pad<pads=[0,0,4,2,0,0,1,2],mode="constant">(r)'
    else:
        pad = "n = Constant<value=int64[8]{0,0,4,2,0,0,1,2}>() p = Pad(r, n)"
    body = f"r = Abs(x) {pad} {reader} y = AveragePool<kernel_shape=[4,4],strides=[1,2]>(p)"
    result = repaired(one(body, x, opset=opset))
    assert [each.rule for each in result.changes] == ([] if reader else ["pad"])
    assert operators(result.model)[0] == "Abs"
    assert result.verified, result.why


def test_a_folded_pad_is_proven_at_the_size_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    draw = proof._drawn
    monkeypatch.setattr(proof, "_drawn", lambda shape, *rest: (drawn.append((*shape,)), draw(shape, *rest))[1])
    text = "n = Constant<value=int64[6]{0,0,4,0,0,1}>() p = Pad(r, n) y = AveragePool<kernel_shape=[2]>(p)"
    result = repaired(one(f"r = Relu(x) {text}", "float[2,1,1] x", "float[N,C,L] y"))
    assert only(result).rule == "pad"  # a size that is less by the zeros once more would be negative
    assert result.verified
    assert {*drawn} == {(2, 1, 1)}


@pytest.mark.parametrize(
    ("node", "dtype", "opset"),
    [
        ("AveragePool<kernel_shape=[2,2],ceil_mode=1>", "int8", 18),
        ('AveragePool<kernel_shape=[2,2],auto_pad="SAME_UPPER">', "uint8", 22),
        ('LpPool<kernel_shape=[2,2],auto_pad="VALID">', "int32", 18),
        ("MaxPool<kernel_shape=[2,2],strides=[2,2],ceil_mode=1>", "int8", 11),
        ('MaxPool<kernel_shape=[2,2],auto_pad="SAME_UPPER">', "int64", 22),
        ("GlobalLpPool", "int32", 18),
        ("GlobalMaxPool", "bool", 18),
    ],
)
def test_a_type_that_an_operator_does_not_take_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], node: str, dtype: str, opset: int
) -> None:
    model = one(f"y = {node}(x)", f"{dtype}[1,2,7,7] x", f"{dtype}[N,C,H,W] y", opset=opset)
    result = make_portable(model)
    assert result.changes == ()
    assert not result.verified
    assert f"X has dtype {dtype}, which is not accepted in opset {opset}; use " in result.skipped[0].reason
    onnx.save(model, tmp_path / "net.onnx")
    assert cli.main(["repair", str(tmp_path / "net.onnx")]) == 2
    assert "unforeseen" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "node",
    [
        "AveragePool<kernel_shape=[4,4],ceil_mode=1>",
        'MaxPool<kernel_shape=[2,2],dilations=[3,3],auto_pad="VALID">',
        'LpPool<kernel_shape=[4,4],auto_pad="VALID">',
        "AveragePool<kernel_shape=[4,4],count_include_pad=1,ceil_mode=1,pads=[0,0,0,0]>",
    ],
)
def test_windows_that_find_no_place_are_left_and_the_rest_is_repaired(node: str) -> None:
    """onnxruntime gives an empty array, as the formula of ONNX for the size has it."""
    model = one(f"m = MaxPool<kernel_shape=[3,3],strides=[3,3],ceil_mode=1>(x) y = {node}(m)", "float[1,2,7,7] x")
    result = make_portable(model)
    assert [each.rule for each in result.changes] == ["ceil_mode"]
    assert [each.node for each in result.skipped] == ["y"]
    assert "finds no window on axis H" in result.skipped[0].reason
    assert run(result.model, np.ones((1, 2, 7, 7), np.float32))[0].size == 0
    assert "finds no window on axis H" in result.misfit


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


ASYMMETRIC = "y = AveragePool<kernel_shape=[2,2],pads=[0,0,1,1],count_include_pad=1>(x)"


@pytest.mark.parametrize("opset", [18, 19, 22])
@pytest.mark.parametrize("x", ["float[N,3,12,12] x", "float[N,3,H,W] x"])
def test_a_mean_that_released_runtimes_divide_wrongly_is_written_otherwise(opset: int, x: str) -> None:
    result = repaired(one(ASYMMETRIC, x, opset=opset))
    if opset == 18:
        assert result.changes == ()
        return
    change = only(result)
    assert change.rule == "count_include_pad"
    assert "onnxruntime 1.21.1 to 1.24.4 divides such means by other numbers" in change.reason
    assert operators(result.model)[-2:] == (["AveragePool", "Mul"] if "12" in x else ["Concat", "AveragePool"])
    assert result.verified, result.why


def test_every_mean_of_a_repaired_model_is_in_a_form_that_released_runtimes_compute_rightly() -> None:
    nodes = (
        ASYMMETRIC,
        ASYMMETRIC.replace("0,0,1,1", "1,0,1,1").replace(">", ",ceil_mode=1,strides=[2,2]>", 1),
        'y = AveragePool<kernel_shape=[3,3],strides=[2,2],auto_pad="SAME_UPPER",count_include_pad=1>(x)',
    )
    for text in nodes:
        for opset in (13, 18, 19, 21, 22):
            for node in repaired(one(text, opset=opset)).model.graph.node:
                if node.op_type == "AveragePool":
                    words = {each.name: helper.get_attribute_value(each) for each in node.attribute}
                    form = form_of_average(
                        words.get("pads", [0] * 4), counted=bool(words.get("count_include_pad")), dilated=False
                    )
                    assert is_right(form, opset), (text, opset, form)


def test_a_pad_that_is_an_output_stays() -> None:
    text = "n = Constant<value=int64[8]{0,0,1,1,0,0,1,1}>() p = Pad(x, n) y = AveragePool<kernel_shape=[3,3]>(p)"
    assert repaired(one(text, y="float[N,3,A,B] y, float[N,3,C,D] p")).changes == ()


def test_a_mean_over_all_spatial_axes_is_global_pooling() -> None:
    text = "a = Constant<value=int64[2]{-1,-2}>() y = ReduceMean<keepdims=1>(x, a)"
    assert only(repaired(one(text))).became == "GlobalAveragePool()"
    assert repaired(one(text.replace("keepdims=1", "keepdims=0"), y="float[N,3] y")).changes == ()
    assert repaired(one(text.replace("{-1,-2}", "{1,-2}"))).changes == ()
    assert repaired(one(text, "float[N,3,H,W] x")).changes == ()
    assert repaired(one(text, "double[N,3,12,12] x", "double[N,3,1,1] y")).changes == ()
    old = repaired(one("y = ReduceMean<axes=[2,3]>(x)", opset=11))
    assert only(old).rule == "mean"


# ---------------------------------------------------------------------------------------------------------------------
# Graphs in graphs, and functions


def test_both_branches_of_an_if() -> None:
    model = parsed(
        """<ir_version: 10, opset_import: ["": 18]> g (float[N,3,9,9] x, bool c) => (float[N,3,A,B] y) {
            y = If(c) <
                then_branch = t () => (float[N,3,5,5] z) {
                    z = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1], ceil_mode=1>(x) },
                else_branch = e () => (float[N,3,5,5] z) {
                    z = AveragePool<kernel_shape=[2,2], strides=[2,2], auto_pad="SAME_UPPER">(x) }> }"""
    )
    result = repaired(model)
    assert [change.path for change in result.changes] == ["graph/y.then_branch", "graph/y.else_branch"]
    assert "same up to rounding for the original and the repaired" in result.why


def test_the_body_of_a_loop_has_no_sizes() -> None:
    model = parsed(
        """<ir_version: 10, opset_import: ["": 18]> g (float[1,1,33,33] x) => (float[1,1,A,B] y) {
            n = Constant<value_int=2>() t = Constant<value=bool {1}>()
            y = Loop(n, t, x) <body = b (int64 i, bool c, float[1,1,H,W] z) => (bool c2, float[1,1,K,L] q) {
                c2 = Identity(c) q = MaxPool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(z) }> }"""
    )
    result = repaired(model)
    assert "pads=[0, 0, 1, 1]" in only(result).became
    x = np.zeros((1, 1, 33, 33), np.float32)
    assert run(result.model, x)[0].shape == run(model, x)[0].shape == (1, 1, 9, 9)


def test_wrong_shapes_of_a_branch_are_corrected() -> None:
    model = parsed(
        """<ir_version: 10, opset_import: ["": 18]> g (float[1,1,5,5] x, bool c) => (float[1,1,2,2] y) {
            y = If(c) <
                then_branch = t () => (float[1,1,3,3] z) {
                    z = MaxPool<kernel_shape=[3,3], strides=[3,3], pads=[1,1,1,1], ceil_mode=1>(x) },
                else_branch = e () => (float[1,1,2,2] z) {
                    z = MaxPool<kernel_shape=[3,3], strides=[3,3], pads=[1,1,1,1]>(x) }> }"""
    )
    result = repaired(model)
    assert [(change.rule, change.path) for change in result.changes] == [
        ("ceil_mode", "graph/y.then_branch"),
        ("recorded_shape", "graph/y.then_branch"),
    ]


FUNCTIONS = """<ir_version: 10, opset_import: ["": 18, "l": 1]>
g (float[1,1,33,33] x) => (float[1,1,A,B] y, float[1,1,C,D] z) {
    a = l.F<s=[3,3]>(x) y = l.F<s=[3,3]>(a) z = l.G(x) }
<domain: "l", opset_import: ["": 18]> F <s> (x) => (y) {
    y = MaxPool<kernel_shape=[3,3], strides: ints=@s, ceil_mode=1>(x) }
<domain: "l", opset_import: ["": 13]> G (x) => (y) {
    y = AveragePool<kernel_shape=[3,3], strides=[3,3], auto_pad="SAME_LOWER", count_include_pad=1>(x) }"""


def test_functions_keep_to_all_their_calls() -> None:
    result = repaired(parsed(FUNCTIONS))
    assert [change.path for change in result.changes] == ["l::F", "l::G"]
    assert "pads=[0, 0, 2, 2]" in result.changes[0].became  # right for 33, where 0 would do, and for 11, where 1
    assert "same up to rounding for the original and the repaired" in result.why


def test_a_function_that_is_called_with_different_attributes_is_left() -> None:
    result = repaired(parsed(FUNCTIONS.replace("y = l.F<s=[3,3]>", "y = l.F<s=[1,1]>")))
    assert [change.path for change in result.changes] == ["l::G"]
    assert "called with different ones" in result.skipped[0].reason


def test_a_function_that_nobody_calls() -> None:
    result = repaired(parsed(FUNCTIONS.replace("z = l.G(x)", "z = Identity(x)")))
    assert [each.path for each in result.skipped] == ["l::G"]


# ---------------------------------------------------------------------------------------------------------------------
# Random models, against the text of ONNX node by node

SINCE = {("MaxPool", "storage_order"): 8, ("LpPool", "ceil_mode"): 18, ("LpPool", "dilations"): 18}


def random_node(rng: np.random.Generator, opset: int, dimensions: int, x: str, y: str) -> onnx.NodeProto:
    operator = str(rng.choice(WINDOWED))
    words: dict[str, Any] = {"kernel_shape": rng.integers(1, 5, dimensions).tolist()}
    if rng.random() < 0.8:
        words["strides"] = rng.integers(1, 4, dimensions).tolist()
    if rng.random() < 0.3 and opset >= SINCE.get((operator, "dilations"), 10):
        words["dilations"] = rng.integers(1, 4, dimensions).tolist()
    for name in (
        "ceil_mode",
        *{"MaxPool": ("storage_order",), "AveragePool": ("count_include_pad",)}.get(operator, ()),
    ):
        if rng.random() < 0.5 and opset >= SINCE.get((operator, name), 10):
            words[name] = 1
    if operator == "LpPool":
        words["p"] = int(rng.integers(1, 4))
    if rng.random() < 0.4:
        words["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"]))
    elif rng.random() < 0.8:
        apart = words.get("dilations", [1] * dimensions)
        sizes = [(size - 1) * step + 1 for size, step in zip(words["kernel_shape"], apart, strict=True)]
        words["pads"] = [int(rng.integers(0, size)) for size in sizes * 2]
    outputs = [y, f"{y} at"] if operator == "MaxPool" and rng.random() < 0.4 else [y]
    return helper.make_node(operator, [x], outputs, f"node {y}", **words)


def random_model(seed: int) -> tuple[onnx.ModelProto, list[onnx.NodeProto], tuple[int, ...]]:
    """Chain random nodes in a graph, in both branches of an If, or in a function; return the nodes too."""
    rng = np.random.default_rng(seed)
    dimensions, opset = int(rng.integers(1, 4)), int(rng.integers(10, NEWEST + 1))
    sizes = tuple(rng.integers(5, 14, dimensions).tolist())
    chain: list[onnx.NodeProto] = []
    for number in range(rng.integers(1, 4)):
        before = chain[-1].output[0] if chain else "x"
        chain.append(random_node(rng, opset, dimensions, before, f"t{number}"))
    results = [name for node in chain for name in node.output]
    named = rng.random() < 0.3
    shape = ["N", 2, *(f"s{axis}" if named else size for axis, size in enumerate(sizes))]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]

    def described(prefix: str = "") -> list[onnx.ValueInfoProto]:
        kinds = [TensorProto.INT64 if name.endswith(" at") else TensorProto.FLOAT for name in results]
        rank = [None] * (dimensions + 2)
        return [helper.make_tensor_value_info(prefix + n, kind, rank) for n, kind in zip(results, kinds, strict=True)]

    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    place = ("graph", "if", "function")[seed % 3]
    functions, outer = [], chain
    outs = [f"out {name}" for name in results]
    if place == "if":
        inputs.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
        branches = [helper.make_graph(chain, name, [], described()) for name in ("then", "else")]
        outer = [helper.make_node("If", ["c"], outs, "if", then_branch=branches[0], else_branch=branches[1])]
    elif place == "function":
        functions = [helper.make_function("own", "Chain", ["x"], results, chain, imports[:1])]
        outer = [helper.make_node("Chain", ["x"], outs, "call", domain="own")]
    graph = helper.make_graph(outer, "random", inputs, described("" if place == "graph" else "out "))
    model = helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=10)
    return model, chain, (2, 2, *sizes)


def answers(chain: list[onnx.NodeProto], x: Array) -> dict[str, Array] | None:
    """Result the nodes as the text has it; None where their windows find no place."""
    arrays = {"x": x}
    for node in chain:
        try:
            found = function_from_node(node, NEWEST)(arrays[node.input[0]])
        except ValueError as error:
            assert "finds no window" in str(error)  # noqa: PT017 - the only reason that there may be
            return None
        arrays.update(zip(node.output, found, strict=True))
    return arrays


@pytest.mark.parametrize("first", range(0, 150, 10))
def test_random_models_give_what_the_text_says(first: int) -> None:
    changed = 0
    for seed in range(first, first + 10):
        model, chain, shape = random_model(seed)
        rng = np.random.default_rng(seed)
        x = np.where(rng.random(shape) < 0.5, rng.integers(-2, 3, shape), rng.standard_normal(shape)).astype(np.float32)
        wanted = answers(chain, x)
        if wanted is None:
            continue
        result = repaired(model)
        assert result.verified or result.skipped, result.why  # onnxruntime may not run what was left
        changed += bool(result.changes)
        if result.skipped:
            continue
        more = [np.array(True)] if len(result.model.graph.input) > 1 else []
        found = run(result.model, x, *more)
        exact = all(node.op_type == "MaxPool" for node in chain)
        for name, theirs in zip((name for node in chain for name in node.output), found, strict=True):
            if name.endswith(" at") and not exact:
                continue  # sums in another order may make another element the greatest
            np.testing.assert_allclose(theirs, wanted[name], rtol=0 if exact else 1e-4, atol=0 if exact else 1e-4)
    assert changed


# ---------------------------------------------------------------------------------------------------------------------
# Models as a whole


@pytest.mark.parametrize("path", sorted(LIGHT.glob("*.onnx")), ids=lambda path: path.stem)
def test_the_networks_of_onnx_need_nothing(path: Path) -> None:
    result = repaired(onnx.load(path))
    assert result.changes == () == result.skipped
    assert result.verified


def test_there_are_nine_networks() -> None:
    assert len(list(LIGHT.glob("*.onnx"))) == 9


def test_a_model_without_pooling_comes_back_as_it_is() -> None:
    model = one("y = Relu(x)")
    result = repaired(model)
    assert (result.changes, result.skipped, result.verified) == ((), (), True)
    assert result.model is not model
    again, changes = result
    assert again is result.model
    assert changes == ()


def test_the_validator_finds_nothing_afterwards(tmp_path: Path) -> None:
    model = one(
        'a = MaxPool<kernel_shape=[3,3],strides=[2,2],auto_pad="SAME_UPPER">(x) '
        "b = MaxPool<kernel_shape=[3,3],strides=[3,3],pads=[1,1,1,1],ceil_mode=1>(a) "
        "y = AveragePool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1],ceil_mode=1,count_include_pad=1>(b)",
        "float[1,3,33,33] x",
    )
    path = tmp_path / "net.onnx"
    onnx.save(repaired(model).model, path)
    report = validate([path], rounds=0)
    assert report.exit_code == 0
    assert len(report.nodes) == 3


def test_custom_operators_keep_what_is_recorded_of_them() -> None:
    model = one("a = com.microsoft.QuickGelu(x) y = MaxPool<kernel_shape=[3,3],strides=[2,2],ceil_mode=1>(a)")
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, ["N", 3, 13, 13]))
    assert "pads" not in only(repaired(model, verify=False)).became  # of 13 cells none is left over
    del model.graph.value_info[:]
    assert "pads=[0, 0, 1, 1]" in only(repaired(model, verify=False)).became


def test_a_rewrite_that_differs_is_left_out_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    original = proof._run

    def wrong(session: Any, arrays: Any) -> list[Any]:
        return [each + 1 if session.get_outputs()[0].name == "a" else each for each in original(session, arrays)]

    monkeypatch.setattr(proof, "_run", wrong)
    result = make_portable(
        one(
            "a = MaxPool<kernel_shape=[3,3],strides=[2,2],ceil_mode=1>(x) "
            'b = MaxPool<kernel_shape=[3,3],auto_pad="SAME_UPPER">(a) y = Relu(b)'
        )
    )
    assert [change.node for change in result.changes] == ["b"]
    (left,) = result.skipped
    assert left.node == "a"
    assert left.reason.startswith("what would take its place is computed wrongly here: MaxPool node 'a' of an input of")
    assert operators(result.model) == ["MaxPool", "MaxPool", "Relu"]
    assert result.verified


FOLDED = "n = Constant<value=int64[8]{0,0,0,0,0,0,1,1}>() p = Pad(m, n) y = AveragePool<kernel_shape=[2,2]>(p)"


@pytest.mark.parametrize("level", [0, 1])
def test_a_convenience_that_differs_leaves_the_rest_repaired(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # What onnxruntime 1.22.1 made of it: Pad and mean as one node, at either level of optimisation.
    original = proof._session

    wrong_at = proof.LEVELS[level]

    def dividing_wrongly(model: onnx.ModelProto, folder: Any = None, level: str = proof.LEVELS[0]) -> Any:
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        for node in changed.graph.node:
            counted = next((each for each in node.attribute if each.name == "count_include_pad"), None)
            if counted is not None and level == wrong_at:
                counted.i = 0
        return original(changed, folder, level)

    monkeypatch.setattr(proof, "_session", dividing_wrongly)
    result = make_portable(one(f"m = MaxPool<kernel_shape=[2,2],strides=[2,2],ceil_mode=1>(x) {FOLDED}", opset=18))
    assert [change.rule for change in result.changes] == ["ceil_mode"]
    (omitted,) = result.omitted
    assert omitted.reason.startswith("pad was left out: AveragePool node 'y' of an input of shape")
    assert result.verified
    assert result.skipped == ()


def test_a_convenience_with_which_the_whole_differs_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pooling.export.repair.repair.prove_rewrite", lambda *_: "")
    original = proof._session

    def dividing_wrongly(model: onnx.ModelProto, folder: Any = None, level: str = proof.LEVELS[0]) -> Any:
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        for node in changed.graph.node:
            for each in node.attribute:
                if each.name == "count_include_pad":
                    each.i = 0
        return original(changed, folder, level)

    monkeypatch.setattr(proof, "_session", dividing_wrongly)
    result = make_portable(one(f"m = MaxPool<kernel_shape=[2,2],strides=[2,2],ceil_mode=1>(x) {FOLDED}", opset=18))
    assert [change.rule for change in result.changes] == ["ceil_mode"]
    assert result.omitted[0].reason == "pad was left out: the whole model differs with it"
    assert result.verified


def spoil(monkeypatch: pytest.MonkeyPatch, spoiled: str) -> None:
    """Have what is loaded compute something else, where its first node has, or has not, a word."""
    monkeypatch.setattr("pooling.export.repair.repair.prove_rewrite", lambda *_: "")
    original = proof._session

    def other(model: onnx.ModelProto, folder: Any = None, level: str = proof.LEVELS[0]) -> Any:
        if spoiled in str(model.graph.node[0]):
            model.graph.node[0].op_type = "AveragePool"
        return original(model, folder, level)

    monkeypatch.setattr(proof, "_session", other)


def test_a_rewrite_with_which_the_whole_differs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, "pads")
    model = one('y = MaxPool<kernel_shape=[3,3],auto_pad="SAME_UPPER">(x)')
    result = make_portable(model)
    assert result.model == model
    assert result.changes == ()
    assert (
        result.skipped[0].reason
        == "what would take its place is computed wrongly here: the whole model differs with it"
    )


def test_a_difference_of_what_is_no_rewrite_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, "SPOILED")
    model = one("y = MaxPool<kernel_shape=[3,3]>(x)", "float[N,3,H,W] x")
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    renamed.graph.node[0].doc_string = "SPOILED"
    with pytest.raises(VerificationError, match="output 'y' of the repaired model is"):
        proof.compare_models(model, renamed, {}, None, lambda model, shapes: "", exact=True)


def test_infinities_that_the_model_itself_makes_leave_one_rewrite_out() -> None:
    """Of windows of -inf alone onnxruntime makes -3.4e38 where there are pads, and a Pad makes such windows here."""
    model = one(
        "m = MaxPool<kernel_shape=[2,2],strides=[2,2],ceil_mode=1>(x) "
        'p = Pad<pads=[0,0,1,4,0,0,2,1],mode="constant",value=-1.0>(m) '
        "[last] y = MaxPool<kernel_shape=[3,2],strides=[3,2],ceil_mode=1,storage_order=1>(p)",
        "float[2,2,9,7] x",
        opset=10,
    )
    pad = next(node for node in model.graph.node if node.op_type == "Pad")
    next(each for each in pad.attribute if each.name == "value").f = -math.inf
    result = make_portable(model)
    assert [(each.node, each.rule) for each in result.changes] == [("m", "ceil_mode"), ("last", "ceil_mode")]
    assert [each.node for each in result.skipped] == ["last"]
    assert "the whole model differs with it" in result.skipped[0].reason
    assert result.verified
    x = np.random.default_rng(0).standard_normal((2, 2, 9, 7)).astype(np.float32)
    np.testing.assert_array_equal(run(result.model, x)[0], run(model, x)[0])


def test_a_model_that_draws_numbers_is_not_said_to_differ() -> None:
    """What onnxruntime draws depends on how many nodes there are before."""
    mean = "AveragePool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1],count_include_pad=1,ceil_mode=1>"
    result = repaired(one(f"p = {mean}(x) n = RandomNormalLike(p) y = Add(p, n)", "float[2,3,10,10] x"))
    assert only(result).rule == "ceil_mode"
    assert result.verified  # node by node
    assert "the original gives other numbers each time, as its output 'y' does" in result.why
    assert "the repaired model runs in onnxruntime" in result.why


def test_only_what_became_unread_goes() -> None:
    """What was there before stays, and graphs inside of nodes of the same name do not share what they have."""
    text = """
    dead = Relu(x)
    a = Constant<value=int64[2]{2,3}>()
    m = ReduceMean<keepdims=1>(x, a)
    [same] z = If(c) <
        then_branch = g () => (float[N,C,A,B] t) {
            v = Constant<value=int64[2]{2,3}>()
            t = ReduceMean<keepdims=1>(x, v)
        },
        else_branch = h () => (float[N,C,A,B] e) { e = Identity(m) }
    >
    [same] y = If(c) <
        then_branch = g () => (float[N,C,A,B] t) { v = Constant<value=float{2.0}>() t = Mul(m, v) },
        else_branch = h () => (float[N,C,A,B] e) { e = Identity(z) }
    >
    """
    model = one(text, "float[1,3,12,12] x, bool c")
    result = repaired(model)
    assert [each.rule for each in result.changes] == ["mean", "mean"]
    assert operators(result.model) == ["Relu", "GlobalAveragePool", "If", "If"]
    inner = [
        [node.op_type for node in graph.node]
        for node in result.model.graph.node
        for graph in (each.g for each in node.attribute)
        if graph.name == "g"
    ]
    assert inner == [["GlobalAveragePool"], ["Constant", "Mul"]]


def test_verified_is_said_of_models_alone_that_ran() -> None:
    for node, x, said in (
        ("y = MaxPool<kernel_shape=[2,2],strides=[0,0]>(x)", "float[1,3,8,8] x", "stride=(0, 0) must be at least 1"),
        (
            "y = MaxPool<kernel_shape=[2,2],strides=[2,2],pads=[-1,-1,0,0]>(x)",
            "float[1,3,8,8] x",
            "padding=((-1, 0), (-1, 0)) must be at least 0",
        ),
        (
            "y = MaxPool<kernel_shape=[4611686018427387904,2]>(x)",
            "float[1,3,8,8] x",
            "kernel_size=(4611686018427387904, 2)",
        ),
        (
            "y = MaxPool<kernel_shape=[1,3,3],strides=[1,1,1]>(x)",
            "float[1,64,24,94] x",
            "must have one integer per spatial axis, 2 and not 3",
        ),
        ("y = MaxPool<kernel_shape=[9,9],strides=[1,1],pads=[4,4,4,4]>(x)", "float[3,16,16] x", "batch"),
        ("y = GlobalAveragePool(x)", "float[2,8] x", "batch, channels and one to three spatial axes"),
    ):
        model = one(node, x)
        model.graph.output[0].type.tensor_type.ClearField("shape")
        result = make_portable(model)
        assert result.changes == ()
        assert not result.verified, node
        assert result.runs is False
        assert result.why.startswith("nothing was changed, and onnxruntime does not run it (")
        assert said in result.why, result.why


CHANGED = 'p = AveragePool<kernel_shape=[2,2],auto_pad="SAME_UPPER">(x) '


@pytest.mark.parametrize("before", ["p = Relu(x) ", CHANGED], ids=["unchanged", "changed"])
def test_a_map_without_cells_is_not_called_verified(before: str) -> None:
    # onnxruntime runs both, and gives a map without cells.
    model = one(before + "y = MaxPool<kernel_shape=[7,7]>(p)", "float[1,3,6,6] x")
    result = make_portable(model)
    assert not result.verified
    assert result.runs
    assert len(result.changes) == (before == CHANGED)
    assert re.fullmatch("MaxPool .*finds no window on axis H.* that works is 7", result.why)
    assert result.misfit == result.why


@pytest.mark.parametrize("before", ["p = Relu(x) ", CHANGED], ids=["unchanged", "changed"])
def test_open_sizes_without_windows_prove_nothing(before: str) -> None:
    # No size that is tried has a window of 400 cells; of 100, two have.
    for kernel, proven in ((400, False), (100, True)):
        result = repaired(one(f"{before}y = MaxPool<kernel_shape=[{kernel},{kernel}]>(p)", "float[N,3,H,H] x"))
        assert result.verified is proven
        assert ("finds no window on axis H: the effective kernel size is 400" in result.why) is not proven
        assert result.runs is (True if proven else None)


def test_an_empty_batch_has_no_cells_and_is_right() -> None:
    result = repaired(one("y = MaxPool<kernel_shape=[2,2]>(x)", "float[0,3,8,8] x"))
    assert result.verified


def test_a_model_that_fits_no_usual_size_is_loaded_and_not_called_verified() -> None:
    result = make_portable(
        one("s = Constant<value=int64[2]{1,7}>() r = Reshape(x, s) y = Identity(r)", "float[N] x", "float[A,B] y")
    )
    assert (result.verified, result.runs) == (False, None)
    assert "no input that was tried runs in onnxruntime" in result.why
    assert "give its sizes as input_shapes" in result.why


def test_initializers_that_nobody_reads_any_more_are_gone() -> None:
    # As torch exports AdaptiveAvgPool2d(1) today: a mean whose axes are an initializer.
    model = parsed(
        HEAD.format(opset=18, x="float[N,3,12,12] x", y="float[N,3,1,1] y").replace(
            "{ ", "<int64[2] val_5 = {-1, -2}, int64[1] spare = {1}> { ", 1
        )
        + "y = ReduceMean<keepdims=1>(x, val_5) }"
    )
    result = make_portable(model)
    assert operators(result.model) == ["GlobalAveragePool"]
    assert [each.name for each in result.model.graph.initializer] == ["spare"]  # which nobody has read before either


def test_a_model_into_which_a_wrong_size_was_folded_is_not_called_verified() -> None:
    # As torch does where a module reshapes by the size that shape inference has told it.
    model = one(
        "p = MaxPool<kernel_shape=[3,3],strides=[3,3],pads=[1,1,1,1],ceil_mode=1>(x) "
        "s = Constant<value=int64[2]{1,9}>() y = Reshape(p, s)",
        "float[1,1,5,5] x",
        "float[N,K] y",
    )
    result = repaired(model)
    assert only(result).became.startswith("MaxPool(kernel_shape=[3, 3]")
    assert not result.verified
    assert "every rewritten node gives what the text of ONNX says" in result.why
    assert "onnxruntime does not run it" in result.why
    assert result.runs is False


def test_without_proof() -> None:
    result = make_portable(one('y = MaxPool<kernel_shape=[3,3],auto_pad="SAME_UPPER">(x)'), verify=False)
    assert not result.verified
    assert result.why == "verify=False"


# ---------------------------------------------------------------------------------------------------------------------
# Bad input

BAD = {
    "MaxPool node 'y': kernel_shape is missing": 'y = MaxPool<auto_pad="SAME_UPPER">(x)',
    "MaxPool node 'y': strides=[2] must have one integer per spatial axis, 2 and not 1": (
        "y = MaxPool<kernel_shape=[2,2],strides=[2],ceil_mode=1>(x)"
    ),
    "auto_pad='SAME' is not a known name": 'y = MaxPool<kernel_shape=[2,2],auto_pad="SAME">(x)',
    "kernel_shape=[2] is for 1 spatial axes, but its input 'x' has 2": "y = MaxPool<kernel_shape=[2],ceil_mode=1>(x)",
}


@pytest.mark.parametrize("sentence", BAD)
def test_bad_nodes(sentence: str) -> None:
    with pytest.raises(ValueError) as error:
        make_portable(one(BAD[sentence]))
    words = str(error.value).replace("node with output 'y'", "node 'y'")
    assert sentence in words
    assert words.startswith("make_portable: ")
    assert "\n" not in words


def test_a_map_without_a_batch_is_told_what_it_lacks() -> None:
    with pytest.raises(ValueError, match="its input 'x' has 1; ONNX pools batches, and it has no batch axis: put an"):
        make_portable(one("y = MaxPool<kernel_shape=[2,2],ceil_mode=1>(x)", "float[3,9,9] x", "float[C,H,W] y"))


def test_bad_models() -> None:
    good = one("a = Relu(x) y = MaxPool<kernel_shape=[2,2],ceil_mode=1>(a)")
    cyclic = onnx.ModelProto()
    cyclic.CopyFrom(good)
    cyclic.graph.node[0].input[0] = "y"
    with pytest.raises(ValueError, match="Relu node 'a' reads 'y', which no input and no node before it gives"):
        make_portable(cyclic)
    with pytest.raises(ValueError, match="the model has no graph"):
        make_portable(onnx.ModelProto())
    with pytest.raises(TypeError, match=r"model must be an onnx\.ModelProto, not str"):
        make_portable("model.onnx")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="opset 99"):
        make_portable(helper.make_model(good.graph, opset_imports=[helper.make_opsetid("", 99)]))
    none = helper.make_model(good.graph)
    del none.opset_import[:]
    with pytest.raises(ValueError, match="imports no version of the default operator set"):
        make_portable(none)
    for shapes, message in (
        ({"z": (1,)}, "which the model does not take; it takes 'x'"),
        ({"x": (1, 3, 12)}, "contradicts the model, which takes"),
        ({"x": (1, 4, 12, 12)}, "contradicts the model, which takes"),
        ({"x": (1, 3, 12, -1)}, "must not hold -1"),
    ):
        with pytest.raises(ValueError, match=message):
            make_portable(good, input_shapes=shapes)
    with pytest.raises(TypeError, match="must hold integers and None"):
        make_portable(good, input_shapes={"x": (1, 3, 12, 1.5)})  # type: ignore[dict-item]


def test_an_input_of_unknown_rank() -> None:
    model = one('y = MaxPool<kernel_shape=[2,2],strides=[2,2],auto_pad="SAME_UPPER">(x)')
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ValueError, match="not even its rank is known; give input_shapes="):
        make_portable(model)
    result = make_portable(model, input_shapes={"x": (1, 3, 13, 13)})
    assert "pads=[0, 0, 1, 1]" in result.changes[1].became
    # Where nothing depends on it, it may stay unknown.
    model.graph.node[0].attribute[-1].s = b"VALID"
    assert make_portable(model, verify=False).skipped == ()


# ---------------------------------------------------------------------------------------------------------------------
# The command


def command(*arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    code = f"import sys\nfrom pooling.cli import main\nsys.exit(main(['repair', *{[*map(str, arguments)]!r}]))"
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        check=False,
        encoding="utf-8",
        cwd=folder,
    )


def test_the_command_repairs_a_file(tmp_path: Path) -> None:
    path, output, found = tmp_path / "net.onnx", tmp_path / "out.onnx", tmp_path / "found.json"
    onnx.save(classifier(), path)
    shown = command(path)
    assert shown.returncode == 0
    assert "nothing was written" in shown.stdout
    done = command(path, "-o", output, "--json", found)
    assert done.returncode == 0, done.stderr
    assert "ceil_mode" in done.stdout
    assert "net.onnx: 3 changes, verified" in done.stdout
    assert onnx.load(output) == make_portable(classifier()).model
    content = json.loads(found.read_text())
    check("repair", content)
    assert content["schema"] == "pooling-repair/1"
    assert content["verified"]
    assert len(content["changes"]) == 3
    assert content["skipped"] == []
    again = command(output)
    assert again.returncode == 0
    assert "0 changes, verified" in again.stdout


def test_json_of_every_outcome_is_as_the_schema_describes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, found = tmp_path / "net.onnx", tmp_path / "found.json"
    contents = []

    def repair(text: str, x: str, code: int) -> None:
        onnx.save(one(text, x), path)
        assert cli.main(["repair", str(path), "--json", str(found)]) == code
        contents.append(json.loads(found.read_text()))
        check("repair", contents[-1])
        assert contents[-1]["exit_code"] == code

    ceil = "y = MaxPool<kernel_shape=[2,2],strides=[2,2],ceil_mode=1>(x)"
    repair(ceil, "float[1,2,7,7] x", 0)
    repair('y = MaxPool<kernel_shape=[3,3],strides=[2,2],auto_pad="SAME_UPPER">(x)', "float[N,3,H,W] x", 1)
    repair("y = MaxPool<kernel_shape=[2,2],strides=[0,2]>(x)", "float[1,2,7,7] x", 2)

    def differs(*arguments: object, **words: object) -> None:
        raise errors.refused(VerificationError, "make_portable", "output 'y' of the repaired model differs")

    monkeypatch.setattr(importlib.import_module("pooling.export.repair.command"), "make_portable", differs)
    repair(ceil, "float[1,2,7,7] x", 1)
    capsys.readouterr()
    assert [each["runs"] for each in contents] == [True, True, False, None]
    assert [bool(each["skipped"]) for each in contents] == [False, True, False, False]
    assert contents[-1]["why"] == "output 'y' of the repaired model differs"
    assert {change["rule"] for each in contents for change in each["changes"]} == {"ceil_mode"}


def test_what_is_left_is_exit_code_1(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(one('y = MaxPool<kernel_shape=[3,3],strides=[2,2],auto_pad="SAME_UPPER">(x)', "float[N,3,H,W] x"), path)
    done = command(path)
    assert done.returncode == 1
    assert "skipped: y" in done.stdout
    assert command(path, "--shape", "x=?x3x20x20").returncode == 0


def refused(tmp_path: Path, path: Path, sentence: str, output: Path | None = None) -> None:
    output = output or tmp_path / "out.onnx"
    before = sorted(tmp_path.rglob("*"))
    done = command(path, "-o", output)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("pooling repair: ")
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_files_that_the_command_refuses(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    refused(tmp_path, path, "cannot be read")
    content = classifier().SerializeToString()
    path.write_bytes(content[: len(content) // 2])
    refused(tmp_path, path, "is not an ONNX model, or only a part of one")
    with open(path, "wb") as file:
        file.truncate(2**31)
    refused(tmp_path, path, "is larger than 2 GB")
    onnx.save(one("y = MaxPool<ceil_mode=1>(x)"), path)
    refused(tmp_path, path, "kernel_shape is missing")
    onnx.save(classifier(), path)
    refused(tmp_path, path, "there is no folder", tmp_path / "nowhere" / "out.onnx")


def with_external_data(path: Path, location: str) -> None:
    model = classifier()
    weight = model.graph.initializer[0]
    data, weight.raw_data = weight.raw_data, b""
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    (path.parent / "weights.bin").write_bytes(data)
    path.write_bytes(model.SerializeToString())


def test_data_of_their_own_stays_where_it_is(tmp_path: Path) -> None:
    path, output = tmp_path / "net.onnx", tmp_path / "out.onnx"
    with_external_data(path, "weights.bin")
    data = (tmp_path / "weights.bin").read_bytes()
    done = command(path, "-o", output)
    assert done.returncode == 0, done.stderr
    assert "the repaired model runs" in done.stdout
    assert (tmp_path / "weights.bin").read_bytes() == data
    initializers = [onnx.load(each, load_external_data=False).graph.initializer for each in (path, output)]
    assert list(initializers[0]) == list(initializers[1])
    (tmp_path / "other").mkdir()
    refused(tmp_path, path, "write it to", tmp_path / "other" / "out.onnx")


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", ""])
def test_data_outside_of_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    path = tmp_path / "net.onnx"
    with_external_data(path, location)
    refused(tmp_path, path, "which is not in the folder of the model; move it there")


def test_the_example_of_the_docs_prints_what_stands_below_it() -> None:
    page = (Path(__file__).parent.parent / "docs" / "repair.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    printed = re.search(r"prints\n\n```\n(.*?)```", page, re.DOTALL)
    assert code
    assert printed
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code[1], {})  # the code under test is that of the page
    assert output.getvalue() == printed[1]


def test_the_page_names_every_rule() -> None:
    page = (Path(__file__).parent.parent / "docs" / "repair.md").read_text(encoding="utf-8")
    rewrites = Path(proof.__file__).parent.glob("rewrites/*.py")
    source = "".join(each.read_text(encoding="utf-8") for each in rewrites)
    named = set(re.findall(r'(?:because\(|Rewrite\(\s*)"(\w+)"', source)) | {"recorded_shape", "input_shapes"}
    assert named >= {"auto_pad", "ceil_mode", "pads", "pad", "mean", "storage_order", "global_norm"}
    assert [rule for rule in named if f"| `{rule}` |" not in page] == []


# ---------------------------------------------------------------------------------------------------------------------
# NaN and infinities

MAXIMA = {
    "pads": "y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x)",
    "ceil_mode": "y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], ceil_mode = 1> (x)",
    "dilations": "y = MaxPool <kernel_shape = [2, 2], dilations = [3, 2]> (x)",
    "planes": "y = GlobalMaxPool (x)",
    "indices": "y, i = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x)",
    "padding alone": "y = MaxPool <kernel_shape = [2, 2], pads = [2, 2, 0, 0]> (x)",
}


def maxima(name: str, dtype: str, shape: str, opset: int) -> onnx.ModelProto:
    model = one(MAXIMA[name], f"{dtype}[{shape}] x", f"{dtype}[N,K,A,B] y", opset)
    if name == "indices":
        model.graph.output.append(helper.make_tensor_value_info("i", TensorProto.INT64, ["N", "K", "A", "B"]))
    return model


def special_array(seed: int, dtype: str) -> Array:
    rng = np.random.default_rng(seed)
    numbers = {"float": np.float32, "double": np.float64, "float16": np.float16}[dtype]
    least = np.finfo(numbers).min
    rare = np.array([np.nan, -np.inf, np.inf, -0.0, 0.0, least], numbers)
    x = rng.integers(-2, 3, (6, 3, 12, 12)).astype(numbers)
    for plane, share in zip(x, (0, 0.2, 0.5, 0.8, 0.97, 1), strict=True):
        cells = rng.random(plane.shape) < share
        plane[cells] = rare[rng.integers(0, 2, int(cells.sum()))]
        cells = rng.random(plane.shape) < share / 8
        plane[cells] = rare[rng.integers(0, len(rare), int(cells.sum()))]
    return x


def same(found: Array, wanted: Array) -> bool:
    return found.dtype == wanted.dtype and bool(((found == wanted) | (np.isnan(found) & np.isnan(wanted))).all())


def by_text(model: onnx.ModelProto, x: Array) -> list[Array]:
    """What the oracle says of the one node of a model; pads that layers refuse are -inf around the input."""
    node = onnx.NodeProto()
    node.CopyFrom(model.graph.node[0])
    words = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    if words.get("pads") == [2, 2, 0, 0]:
        kept = [each for each in node.attribute if each.name != "pads"]
        del node.attribute[:]
        node.attribute.extend(kept)
        x = np.pad(x, ((0, 0), (0, 0), (2, 0), (2, 0)), constant_values=-np.inf)
    return [np.asarray(each) for each in function_from_node(node, NEWEST)(x)]


def at_level(model: onnx.ModelProto, x: Array, level: str) -> list[Array]:
    return list(session(model.SerializeToString(), level=level).run(None, {"x": x}))


@pytest.mark.parametrize("opset", [9, 13, 22])
@pytest.mark.parametrize("dtype", ["float", "double", "float16"])
@pytest.mark.parametrize("name", MAXIMA)
def test_special_values_come_out_as_the_text_has_them(name: str, dtype: str, opset: int) -> None:
    if name == "dilations" and opset < 10:
        pytest.skip("no dilations there")
    for shape in ("N,3,12,12", "N,3,H,W"):
        model = maxima(name, dtype, shape, opset)
        result = repaired(model, special_values="exact")
        assert result.verified
        assert not result.skipped
        assert result.changes[-1].rule == "special_values"
        assert make_portable(result.model, special_values="exact").changes == ()
        for seed in range(3):
            x = special_array(seed, dtype)
            for level in proof.LEVELS:
                for found, wanted in zip(at_level(result.model, x, level), by_text(model, x), strict=True):
                    assert same(found, wanted)


@pytest.mark.parametrize("name", ["pads", "planes", "indices"])
def test_without_the_word_special_values_are_up_to_the_runtime(name: str) -> None:
    """What is held above can fail: the node as it stands loses NaN or -inf."""
    model = maxima(name, "float", "N,3,12,12", 13)
    result = repaired(model)
    assert result.model == model
    wrong = [
        not same(found, wanted)
        for seed in range(3)
        for found, wanted in zip(
            run(model, special_array(seed, "float")), by_text(model, special_array(seed, "float")), strict=True
        )
    ]
    assert any(wrong)


@pytest.mark.parametrize("name", MAXIMA)
def test_special_values_in_openvino(name: str) -> None:
    openvino = pytest.importorskip("openvino")
    model = maxima(name, "float", "6,3,12,12", 13)
    result = make_portable(model, special_values="exact")
    core = openvino.Core()
    read = core.read_model(result.model.SerializeToString())
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for seed in range(3):
        x = special_array(seed, "float")
        x[np.isposinf(x)] = 1
        found = compiled([x])
        for number, wanted in enumerate(by_text(model, x)):
            assert same(np.asarray(found[number]), wanted)


def test_special_values_of_regions_are_left() -> None:
    text = "y = MaxRoiPool <pooled_shape = [2, 2]> (x, r)"
    result = make_portable(one(text, "float[1,3,12,12] x, float[2,5] r"), special_values="exact")
    assert "what becomes of NaN in its regions is up to the runtime" in result.skipped[0].reason


def test_a_wrong_form_of_special_values_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rewrite is proven on NaN and infinities: what loses them is not written."""
    from pooling.export.lowering.special import NanAwareMax

    monkeypatch.setattr(
        NanAwareMax, "restore_specials", lambda self, greatest, highest: self._graph("Identity", greatest)
    )
    result = make_portable(maxima("pads", "float", "N,3,12,12", 13), special_values="exact")
    assert not result.changes
    assert "what would take its place is computed wrongly here" in result.skipped[0].reason


@pytest.mark.parametrize(("word", "error"), [("all", ValueError), (True, TypeError), (None, TypeError)])
def test_special_values_is_a_word(word: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^make_portable: special_values="):
        make_portable(maxima("pads", "float", "N,3,12,12", 13), special_values=word)


def test_special_values_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(maxima("pads", "float", "N,3,12,12", 13), tmp_path / "m.onnx")
    output = tmp_path / "out.onnx"
    assert cli.main(["repair", str(tmp_path / "m.onnx"), "-o", str(output), "--special-values", "exact"]) == 0
    assert "special_values" in capsys.readouterr().out
    assert operators(onnx.load(output)).count("MaxPool") == 2
    with pytest.raises(SystemExit, match="2"):
        cli.main(["repair", str(tmp_path / "m.onnx"), "--special-values", "some"])
