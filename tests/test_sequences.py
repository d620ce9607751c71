"""One entry holds for all axes, and an empty stride is the default, in every function and layer."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import geometry, reference
from pooling.families.unpooling import unpool_size
from tests.conftest import assert_same_bytes, random_array

SIZE = {1: (9,), 2: (9, 10), 3: (7, 6, 5)}
BASE: dict[str, dict[str, Any]] = {
    "max_pool": {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2},
    "min_pool": {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2},
    "avg_pool": {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2},
    "lp_pool": {"norm_type": 2, "kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2},
    "adaptive_max_pool": {"output_size": 4},
    "adaptive_avg_pool": {"output_size": 4},
    "blur_pool": {"kernel_size": 3, "stride": 2, "padding": 1},
    "max_blur_pool": {"kernel_size": 3, "stride": 2, "padding": 1, "blur_kernel_size": 3},
    "fractional_max_pool": {"kernel_size": 2, "output_size": 3},
}
CALLS = [
    pytest.param(f"{operator}{n}d", n, arguments, id=f"{operator}{n}d")
    for operator, arguments in BASE.items()
    for n in (1, 2, 3)
    if hasattr(pooling, f"{operator}{n}d")
]


def one_entry(arguments: dict[str, Any], kind: type) -> dict[str, Any]:
    return {name: kind([value]) if name != "norm_type" else value for name, value in arguments.items()}


def fixed(function: str, x: Any, n: int) -> dict[str, Any]:
    return {"_random_samples": np.full((*x.shape[:2], n), 0.25)} if function.startswith("fractional") else {}


@pytest.mark.parametrize(("function", "n", "arguments"), CALLS)
@pytest.mark.parametrize("kind", [tuple, list, np.array])
def test_one_entry_holds_for_all_axes(function: str, n: int, arguments: dict[str, Any], kind: Any) -> None:
    x = random_array((2, 3, *SIZE[n]), np.float32)
    more = fixed(function, x, n)
    expected = getattr(pooling, function)(x, **arguments, **more)
    entries = one_entry(arguments, kind)
    assert_same_bytes(getattr(pooling, function)(x, **entries, **more), expected)
    grad = random_array(expected.shape, np.float32, 1)
    backward = getattr(pooling, f"{function}_backward")
    assert_same_bytes(backward(grad, x, **entries, **more), backward(grad, x, **arguments, **more))
    if kind is not np.array:
        np.testing.assert_array_equal(
            getattr(reference, function)(x, **entries, **more), getattr(reference, function)(x, **arguments, **more)
        )
    names = {"lp": "LPPool", "fractional_max": "FractionalMaxPool", "max_blur": "MaxBlurPool", "blur": "BlurPool"}
    stem = function[:-7]
    name = names.get(stem, "".join(part.capitalize() for part in stem.split("_")) + "Pool") + f"{n}d"
    layer = getattr(pooling, name)(**entries, **more)
    assert_same_bytes(layer(x), expected)
    assert layer.output_shape(x.shape) == expected.shape


@pytest.mark.parametrize(("function", "n", "arguments"), CALLS)
@pytest.mark.parametrize("kind", [tuple, list, np.array])
def test_an_empty_stride_is_the_kernel_size(function: str, n: int, arguments: dict[str, Any], kind: Any) -> None:
    if "stride" not in arguments:
        assert "stride" not in inspect.signature(getattr(pooling, function)).parameters
        return
    x = random_array((2, 3, *SIZE[n]), np.float32)
    expected = getattr(pooling, function)(x, **{**arguments, "stride": None})
    assert_same_bytes(getattr(pooling, function)(x, **{**arguments, "stride": kind([])}), expected)


@pytest.mark.parametrize("name", ["kernel_size", "padding", "dilation", "output_size"])
def test_other_empty_sequences_are_refused(name: str) -> None:
    x = np.ones((1, 1, 6, 6))
    call = pooling.adaptive_avg_pool2d if name == "output_size" else pooling.max_pool2d
    arguments = {"kernel_size": 3} | {name: ()} if name != "output_size" else {name: ()}
    with pytest.raises(ValueError) as error:
        call(x, **arguments)  # type: ignore[operator]
    assert f"{name}=() must have one entry per spatial axis, 2 and not 0" in str(error.value)


def test_one_pair_holds_for_all_axes() -> None:
    x = random_array((1, 2, 6, 7), np.float32)
    expected = pooling.max_pool2d(x, 3, 1, ((2, 1), (2, 1)))
    assert_same_bytes(pooling.max_pool2d(x, 3, 1, ((2, 1),)), expected)
    assert_same_bytes(pooling.max_pool2d(x, 3, 1, [[2, 1]]), expected)  # type: ignore[arg-type, list-item]
    np.testing.assert_array_equal(reference.max_pool2d(x, 3, 1, ((2, 1),)), expected)


def test_shapes_are_told_the_same() -> None:
    assert pooling.output_shape((1, 64, 112, 112), (3,), (2,), (1,)) == (1, 64, 56, 56)
    assert pooling.output_shape((1, 64, 112, 112), 2, ()) == (1, 64, 56, 56)
    assert pooling.output_shape((16, 100), (2,)) == (16, 50)
    assert pooling.output_shape((64, 112, 112), (2, 2)) == (64, 56, 56)
    assert pooling.output_shape((8, 16, 100), (2,)) == (8, 16, 50)
    assert unpool_size((3, 4), (2,), (), (0,)) == (6, 8)
    (first, second) = geometry.transposed_axes((7, 7), (4,), (2,), (1,))
    assert first.input_size == second.input_size == 14
    x = np.arange(8.0).reshape(1, 1, 2, 4)
    values, indices = pooling.max_pool2d(x, (2,), return_indices=True)
    assert pooling.max_unpool2d(values, indices, (2,), (), (0,)).shape == x.shape


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("max_pool2d", ((2,),)),
        ("max_pool2d", (2, ())),
        ("max_pool2d", (3, (1,), (1,))),
        ("max_pool2d", (2, 1, 0, (2,))),
        ("avg_pool2d", ((3,), (), (1,))),
        ("avg_pool2d", (3, (2,), (1,))),
        ("lp_pool2d", (2, (2, 2), ())),
    ],
)
def test_what_torch_takes_comes_out_as_from_torch(function: str, arguments: tuple[Any, ...]) -> None:
    torch = pytest.importorskip("torch")
    x = np.abs(random_array((1, 2, 8, 9), np.float32))
    theirs = getattr(torch.nn.functional, function)(torch.from_numpy(x), *arguments).numpy()
    np.testing.assert_allclose(getattr(pooling, function)(x, *arguments), theirs, rtol=1e-6)


def test_an_export_takes_them_too() -> None:
    pytest.importorskip("onnx")
    from pooling.export import to_onnx

    for layer, same in (
        (pooling.MaxPool2d((3,), (), (1,)), pooling.MaxPool2d(3, padding=1)),
        (pooling.AvgPool2d((2,), dilation=[2]), pooling.AvgPool2d(2, dilation=2)),
        (pooling.AdaptiveAvgPool2d((3,)), pooling.AdaptiveAvgPool2d(3)),
        (pooling.MaxBlurPool2d((2,), blur_kernel_size=(3,)), pooling.MaxBlurPool2d(2, blur_kernel_size=3)),
    ):
        made, expected = (to_onnx(each, (1, 2, 9, 9)) for each in (layer, same))
        assert [node.op_type for node in made.graph.node] == [node.op_type for node in expected.graph.node]
        assert made.graph.output == expected.graph.output
