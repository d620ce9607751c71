"""Indices of every convention in graphs, of pooling and for unpooling, against the oracle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import reference
from tests.conftest import assert_same
from tests.exported import check_model
from tests.lowered import check, drawn, operators_of, twin

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from pooling.export import to_onnx, to_onnx_backward  # noqa: E402
from pooling.export.verification import VerificationError, run_model  # noqa: E402

CONVENTIONS = ("torch", "onnx", "onnx_column_major", "tensorflow")


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("names", [None, ("N", 2, None, None, None), (None, "C", None, None, None), tuple("NCDHW")])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_indices_of_every_convention(convention: str, names: Any, dimensions: int) -> None:
    shape = (3, 2, 4, 3, 5)[: 2 + dimensions]
    named = shape if names is None else tuple(a or b for a, b in zip(names, shape, strict=False))
    x = drawn(shape, "float32")
    for kind, arguments, values in (
        ("MaxPool", (2, 1), "finite"),
        ("MaxPool", (3, 2, "same_lower"), "finite"),
        ("MaxPool", (3, 2, "same_lower"), "exact"),
        ("AdaptiveMaxPool", (2,), "finite"),
    ):
        layer = getattr(pooling, f"{kind}{dimensions}d")(*arguments, return_indices=True)
        # A word that a program put together is that word, too.
        words: Any = {"indices": f"{convention} ".strip(), "special_values": values, "verify": False}
        model = to_onnx(layer, named, **words)
        assert operators_of(model)
        check_model(model)
        found = run_model(model, [x])[1]
        assert_same(found, reference.convert_indices(twin(layer, x)[1], shape, source="torch", target=convention))


def test_indices_have_no_nodes_that_change_nothing() -> None:
    def nodes(pool: str, arguments: Any, convention: Any, shape: Any) -> list[str]:
        layer = getattr(pooling, pool)(*arguments, return_indices=True)
        convention = f"{convention} ".strip()  # a word that a program put together
        model = to_onnx(layer, shape, dtype="int32", indices=convention, verify=False)
        found = [node.op_type for node in model.graph.node]
        return found[found.index("MaxPool") + 1 :]

    back = ["Cast"]
    assert nodes("MaxPool2d", (2,), "onnx", (2, 3, 4, 6)) == back
    assert nodes("MaxPool2d", (2,), "torch", (2, 3, 4, 6)) == ["Mod", *back]
    assert nodes("MaxPool2d", (2,), "tensorflow", (2, 3, 4, 6)) == ["Mod", "Identity", "Mul", "Add", *back]
    column_major = ["Div", "Mod", "Mul", "Add"]
    assert nodes("MaxPool1d", (2,), "onnx_column_major", (2, 3, 4)) == ["Mod", "Sub", "Add", *back]
    assert nodes("MaxPool2d", (2,), "onnx_column_major", (2, 3, 4, 6)) == ["Mod", "Sub", *column_major, "Add", *back]
    three = ["Mod", "Sub", "Div", "Div", "Mod", "Mul", "Add", "Mod", "Mul", "Add", "Add", *back]
    assert nodes("MaxPool3d", (2,), "onnx_column_major", (2, 3, 4, 6, 8)) == three
    # Of sizes 1 too; the first axis runs fastest.
    follows = nodes("MaxPool2d", (3, 2, "same_lower"), "torch", (2, 3, 4, "W"))
    assert [each for each in follows if each in ("Div", "Mod", "Sub", "Mul")] == ["Div", "Mod", "Mul", "Mod", "Sub"]
    fixed = to_onnx(pooling.MaxPool2d(2, return_indices=True), ("N", "C", 4, 6), indices="tensorflow", verify=False)
    assert "Range" in [node.op_type for node in fixed.graph.node]


@pytest.mark.parametrize("convention", ["onnx", "tensorflow"])
def test_range_is_given_scalars(convention: Any) -> None:
    layer = pooling.AdaptiveMaxPool2d(2, return_indices=True)
    model = to_onnx(layer, ("N", "C", 4, 6), indices=convention, verify=False)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in inferred.value_info}
    ranks |= {array.name: len(array.dims) for array in inferred.initializer}
    (given,) = (list(node.input) for node in inferred.node if node.op_type == "Range")
    assert [ranks[name] for name in given] == [0, 0, 0]


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_numbers_of_planes_are_verified_for_the_shape_that_they_were_written_for(convention: Any) -> None:
    samples = np.random.default_rng(7).random((2, 3, 2))
    layers = [
        pooling.MaxPool2d(2, return_indices=True),
        pooling.AdaptiveMaxPool2d(2, return_indices=True),
        pooling.FractionalMaxPool2d(2, 2, return_indices=True, _random_samples=samples),
    ]
    for layer in layers:
        model = to_onnx(layer, (2, 3, 4, 5), indices=convention)
        assert [value.name for value in model.graph.output] == ["output", "indices"]


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_negative_indices_of_every_convention_are_refused_by_the_runtime(convention: Any, opset: int) -> None:
    x = drawn((2, 3, 2, 2), "float32")
    for make, arrays in ((to_onnx, [x]), (to_onnx_backward, [drawn((2, 3, 4, 4), "float32"), x])):
        model = make(pooling.MaxUnpool2d(2), x.shape, indices=convention, opset=opset, verify=False)
        run_model(model, [*arrays, np.zeros(x.shape, np.int64)])
        for index in (-1, -2, -96):
            indices = np.zeros(x.shape, np.int64)
            indices[1, 2, 0, 1] = index
            with pytest.raises(VerificationError, match="out of"):
                run_model(model, [*arrays, indices])


@pytest.mark.parametrize("opset", [11, 17, 18, 19])
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_unpooling_takes_indices_of_every_convention(convention: str, dimensions: int, opset: int) -> None:
    whole = (2, 3, 4, 5, 3)[: 2 + dimensions]
    pooled = (2, 3, 3, 1, 3)[: 2 + dimensions]
    layer = getattr(pooling, f"MaxUnpool{dimensions}d")(2)
    rng = np.random.default_rng(dimensions)
    index = rng.integers(0, math.prod(whole[2:]), pooled)
    index.flat[:2] = index.flat[2]  # of elements of one index, the last stays
    x, gradient = drawn(pooled, "float32", seed=3), drawn(whole, "float32", seed=4)
    named = reference.convert_indices(index, whole, source="torch", target=convention)
    keywords: Any = {"indices": f"{convention} ".strip(), "output_size": whole[2:], "opset": opset, "verify": False}
    for shape in (pooled, ("N", *pooled[1:])):
        model = to_onnx(layer, shape, **keywords)
        # Since opset 18 the graph says which element stays.
        names = operators_of(model)
        assert ("GatherElements" in names) == (opset >= 18)
        assert ("Mod" in names) == (convention in ("onnx", "onnx_column_major"))
        assert_same(run_model(model, [x, named])[0], twin(layer, x, index, output_size=whole[2:]))
        found = run_model(to_onnx_backward(layer, shape, **keywords), [gradient, x, named])[0]
        assert_same(found, twin(layer, gradient, x, index, output_size=whole[2:], backward=True))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "uint8", "int64"])
def test_unpooling_of_every_type(dtype: str) -> None:
    index = np.array([[[[0, 3], [10, 15]]]])
    for opset in (None, 13):
        check(pooling.MaxUnpool2d(2), (1, 1, 2, 2), dtype, opset, index)


@pytest.mark.parametrize(("opset", "scatter"), [(9, "Scatter"), (10, "Scatter"), (11, "ScatterElements")])
def test_unpooling_before_scatter_had_its_present_name(opset: int, scatter: str) -> None:
    index = np.array([[[[0, 3], [10, 15]]]])
    assert scatter in check(pooling.MaxUnpool2d(2), (1, 1, 2, 2), "float32", opset, index)
