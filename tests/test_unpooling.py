"""Unpooling and index conventions against the reference, torch and numerical differentiation; and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pooling
from pooling import reference
from pooling.operators import OPERATORS
from tests import conftest
from tests.conftest import (
    LAYOUTS,
    LYING,
    Array,
    array_shapes,
    assert_same_bytes,
    channels_last,
    dtype_of,
    random_array,
    special_arrays,
)

OPERATOR = OPERATORS["max_unpool"]
CONVENTIONS = ("torch", "onnx", "onnx_column_major", "tensorflow")


def assert_same(result: Array, expected: Array) -> None:
    """Same dtype, shape and values; NumPy does not recognise a NaN of bfloat16."""
    assert result.dtype == expected.dtype
    if expected.dtype.name == "bfloat16":
        result, expected = result.astype(np.float32), expected.astype(np.float32)
    conftest.assert_same(result, expected)


def drawn(dtype: np.dtype[Any], shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    """Draw special values; NumPy knows nothing of the limits of bfloat16, which are those of float32 but for digits."""
    if dtype.name == "bfloat16":
        return special_arrays(np.float32, shape).map(lambda array: array.astype(dtype))
    return special_arrays(dtype, shape)


def spatial_of(array: Array, dimensions: int, layout: str) -> tuple[int, ...]:
    return array.shape[-dimensions:] if layout == "channels_first" else array.shape[-1 - dimensions : -1]


@st.composite
def calls(draw: st.DrawFn, dimensions: int, layout: str, dtype: np.dtype[Any]) -> tuple[Array, Array, dict[str, Any]]:
    """Draw an input, indices (often the same ones, now and then one outside) and arguments."""
    shape = draw(array_shapes(dimensions, layout).filter(lambda shape: math.prod(shape) < 300))
    x = draw(drawn(dtype, shape))
    largest = {1: 5, 2: 3, 3: 2}[dimensions]
    kernel = draw(st.tuples(*[st.integers(1, largest)] * dimensions))
    arguments: dict[str, Any] = {"kernel_size": kernel, "layout": layout}
    if draw(st.booleans()):
        arguments["stride"] = draw(st.integers(1, 3) | st.tuples(*[st.integers(1, 3)] * dimensions))
    if draw(st.booleans()):
        pairs = st.tuples(*[st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)) for k in kernel])
        arguments["padding"] = draw(pairs | st.tuples(*[st.integers(0, k) for k in kernel]) | st.just("valid"))
    zeros = np.zeros(shape, np.int64)
    try:
        plane = spatial_of(getattr(reference, f"max_unpool{dimensions}d")(x, zeros, **arguments), dimensions, layout)
        if draw(st.booleans()):
            size = tuple(draw(st.integers(max(1, s - 2), s + 2)) for s in plane)
            arguments["output_size"] = draw(
                st.sampled_from([size, (7, *size, 7) if layout != LAYOUTS[0] else (7, 7, *size)])
            )
            plane = size
        cells = math.prod(plane)
    except ValueError:
        cells = 1
    seed = draw(st.integers(0, 99))
    indices = np.random.default_rng(seed).integers(0, cells, shape)
    if indices.size and draw(st.integers(0, 5)) == 5:
        indices.flat[draw(st.integers(0, indices.size - 1))] = draw(st.sampled_from([-1, cells, 10**12]))
    return x, indices, arguments


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", OPERATOR.dtypes)
@pytest.mark.parametrize("dimensions", OPERATOR.dimensions)
@given(data=st.data())
def test_any_call_answers_as_the_reference(dimensions: int, dtype: str, layout: str, data: st.DataObject) -> None:
    function = f"max_unpool{dimensions}d"
    x, indices, arguments = data.draw(calls(dimensions, layout, dtype_of(dtype)), label="call")
    lying = LYING[data.draw(st.sampled_from(sorted(LYING)), label="lying")]
    x, indices = lying(x), lying(indices)
    before = x.tobytes(), indices.tobytes()
    call, back = getattr(pooling, function), getattr(pooling, f"{function}_backward")
    try:
        expected = getattr(reference, function)(x, indices.astype(np.int64), **arguments)
    except ValueError:
        with pytest.raises(ValueError):
            call(x, indices, **arguments)
        with pytest.raises((ValueError, TypeError)):
            back(x, x, indices, **arguments)
        return
    assert_same(call(x, indices, **arguments), expected)
    grad = data.draw(drawn(dtype_of(dtype), expected.shape), label="grad_output")
    if dtype in OPERATOR.gradient_dtypes:
        twin = getattr(reference, f"{function}_backward")
        assert_same(
            back(lying(grad), x, indices, **arguments), twin(lying(grad), x, indices.astype(np.int64), **arguments)
        )
    else:
        with pytest.raises(TypeError):
            back(grad, x, indices, **arguments)
    assert (x.tobytes(), indices.tobytes()) == before, "an argument was modified"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dimensions", OPERATOR.dimensions)
def test_unpooling_what_was_pooled_keeps_the_maxima(dimensions: int, layout: str) -> None:
    x = random_array((2, 3, *(9, 8, 7)[:dimensions]), np.float32) ** 2 + 1
    x = channels_last(x) if layout == "channels_last" else x
    windows: dict[str, Any] = {"kernel_size": 3, "stride": 2, "padding": 1, "layout": layout}
    pool, unpool = getattr(pooling, f"max_pool{dimensions}d"), getattr(pooling, f"max_unpool{dimensions}d")
    values, indices = pool(x, **windows, return_indices=True)
    back = unpool(values, indices, **windows, output_size=x.shape)
    assert back.shape == x.shape
    np.testing.assert_array_equal(back[back != 0], x[back != 0])
    assert set(back[back != 0].tolist()) == set(values.ravel().tolist())
    unbatched = unpool(values[0], indices[0], **windows, output_size=spatial_of(x, dimensions, layout))
    assert_same_bytes(unbatched, back[0])


@pytest.mark.usefixtures("always_parallel")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_the_last_of_equal_indices_stays_at_any_number_of_threads(dtype: str, layout: str) -> None:
    x = random_array((5, 7, 6, 6), dtype)
    indices = np.random.default_rng(0).integers(0, 9, x.shape)
    grad = random_array((5, 7, 12, 12), "float32", 1).astype(dtype)
    results = []
    for threads in (1, 2, 3, 16):
        with pooling.threads(threads):
            results.append([pooling.max_unpool2d(x, indices, 2, layout="channels_first")])
            if dtype != "uint8":
                results[-1].append(pooling.max_unpool2d_backward(grad, x, indices, 2))
            if layout == "channels_last":
                last = pooling.max_unpool2d(channels_last(x), channels_last(indices), 2, layout=layout)
                results[-1][0] = np.ascontiguousarray(np.moveaxis(last, -1, 1))
    expected = np.zeros((5, 7, 144), x.dtype)
    for (n, c, h, w), index in np.ndenumerate(indices):
        expected[n, c, index] = x[n, c, h, w]
    for result in results:
        assert_same_bytes(result[0], expected.reshape(5, 7, 12, 12))
        for mine, first in zip(result, results[0], strict=True):
            assert_same_bytes(mine, first)


def test_a_gradient_reaches_only_the_write_that_survived() -> None:
    x = np.ones((1, 1, 4))
    indices = np.array([[[2, 0, 2, 2]]])
    grad = np.arange(1.0, 9.0).reshape(1, 1, 8)
    np.testing.assert_array_equal(pooling.max_unpool1d_backward(grad, x, indices, 2), [[[0, 1, 0, 3]]])


def test_nothing_is_calculated_so_that_every_bit_of_nan_and_zero_survives() -> None:
    bits = np.array([[[0x7FC12345, 0x80000000, 0xFFC00001, 0x00000001]]], np.uint32)
    result = pooling.max_unpool1d(bits.view(np.float32), np.array([[[0, 3, 5, 6]]]), 2)
    np.testing.assert_array_equal(result.view(np.uint32)[0, 0, [0, 3, 5, 6]], bits[0, 0])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dimensions", OPERATOR.dimensions)
def test_gradients_are_those_of_numerical_differentiation(dimensions: int, layout: str) -> None:
    shape = (2, *(3, 2, 2)[:dimensions], 2) if layout == "channels_last" else (2, 2, *(3, 2, 2)[:dimensions])
    x, indices = np.round(random_array(shape) * 8), np.random.default_rng(1).integers(0, 3, shape)
    call = getattr(pooling, f"max_unpool{dimensions}d")
    grad = np.round(random_array(call(x, indices, 2, layout=layout).shape, seed=2) * 8)
    expected = np.zeros(shape)
    for cell in np.ndindex(shape):
        there = x.copy()
        there[cell] += 1
        expected[cell] = (grad * (call(there, indices, 2, layout=layout) - call(x, indices, 2, layout=layout))).sum()
    result = getattr(pooling, f"max_unpool{dimensions}d_backward")(grad, x, indices, 2, layout=layout)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dimensions", OPERATOR.dimensions)
def test_values_and_gradients_are_those_of_torch_where_no_index_occurs_twice(dimensions: int) -> None:
    torch = pytest.importorskip("torch")
    x = random_array((2, 3, *(7, 9, 8)[:dimensions]), np.float32)
    windows: dict[str, Any] = {"kernel_size": 3, "stride": 3, "padding": 1}
    values, indices = getattr(pooling, f"max_pool{dimensions}d")(x, **windows, return_indices=True)
    size = x.shape[2:]
    leaf = torch.tensor(values, requires_grad=True)
    theirs = getattr(torch.nn.functional, f"max_unpool{dimensions}d")(
        leaf, torch.tensor(indices), **windows, output_size=size
    )
    mine = getattr(pooling, f"max_unpool{dimensions}d")(values, indices, **windows, output_size=size)
    assert_same(mine, theirs.detach().numpy())
    grad = random_array(mine.shape, np.float32, 1)
    theirs.backward(torch.tensor(grad))
    back = getattr(pooling, f"max_unpool{dimensions}d_backward")
    assert_same(back(grad, values, indices, **windows, output_size=size), leaf.grad.numpy())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dimensions", OPERATOR.dimensions)
@pytest.mark.parametrize("empty", ["batch", "channels"])
def test_an_empty_batch_or_no_channels_make_an_empty_result(dimensions: int, layout: str, empty: str) -> None:
    batch, channels = (0, 3) if empty == "batch" else (2, 0)
    first = layout == "channels_first"

    def shape(size: int) -> tuple[int, ...]:
        spatial = (size,) * dimensions
        return (batch, channels, *spatial) if first else (batch, *spatial, channels)

    x, indices = np.zeros(shape(3), np.float32), np.zeros(shape(3), np.int64)
    assert getattr(pooling, f"max_unpool{dimensions}d")(x, indices, 2, layout=layout).shape == shape(6)
    back = getattr(pooling, f"max_unpool{dimensions}d_backward")
    assert back(np.zeros(shape(6), np.float32), x, indices, 2, layout=layout).shape == shape(3)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", ">i8"])
def test_indices_of_every_integer_dtype_are_understood(dtype: str) -> None:
    x, indices = random_array((1, 2, 3)), np.array([[[0, 5, 2], [4, 4, 1]]])
    given = indices.astype(dtype)
    for place in (pooling, reference):
        assert_same_bytes(place.max_unpool1d(x, given, 2), pooling.max_unpool1d(x, indices, 2))
        back = place.max_unpool1d_backward(random_array((1, 2, 6)), x, given, 2)
        assert_same_bytes(back, pooling.max_unpool1d_backward(random_array((1, 2, 6)), x, indices, 2))
        pooled = random_array((1, 2, 6))
        _, found = pooling.max_pool1d(pooled, 2, return_indices=True)
        gradient = place.max_pool1d_backward(x, pooled, 2, indices=found.astype(dtype))
        assert_same_bytes(gradient, pooling.max_pool1d_backward(x, pooled, 2, indices=found))
        converted = place.convert_indices(given, (1, 2, 6), source="torch", target="tensorflow")
        assert converted.dtype == np.int64
        np.testing.assert_array_equal(converted, [[[0, 10, 4], [9, 9, 3]]])


@pytest.mark.parametrize("at_end", [True, False])
def test_no_byte_outside_the_arrays_is_touched(guarded: Any, at_end: bool) -> None:
    for shape, layout in (((2, 3, 5), "channels_first"), ((2, 5, 3), "channels_last")):
        big = (2, 3, 10) if layout == "channels_first" else (2, 10, 3)
        x, out = guarded(shape, np.float32, at_end=at_end), guarded(big, np.float32, at_end=at_end)
        indices = guarded(shape, np.int64, at_end=at_end)
        x[...], indices[...] = 1, np.random.default_rng(0).choice([0, 9], shape)
        pooling.max_unpool1d(x, indices, 2, layout=layout, out=out)
        assert_same(out, reference.max_unpool1d(x, indices, 2, layout=layout))
        back = guarded(shape, np.float32, at_end=at_end)
        pooling.max_unpool1d_backward(out, x, indices, 2, layout=layout, out=back)
        assert_same(back, reference.max_unpool1d_backward(out, x, indices, 2, layout=layout))


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("always_parallel")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("index", [16, -1, -2, 10**7, 10**12, 2**63 - 1, -(2**63)])
def test_an_index_outside_its_plane_is_named(index: int, backward: bool, layout: str) -> None:
    x, indices = np.ones((3, 2, 2, 2), np.float32), np.zeros((3, 2, 2, 2), np.int64)
    indices[1, 0, 1, 1] = index
    indices[2, 1, 0, 0] = 99
    place = [1, 0, 1, 1]
    grad = np.ones((3, 2, 4, 4), np.float32)
    if layout == "channels_last":
        x, indices, grad = map(channels_last, (x, indices, grad))
        place = [1, 1, 1, 0]
    name = "max_unpool2d_backward" if backward else "max_unpool2d"
    arguments = (grad, x, indices, 2) if backward else (x, indices, 2)
    for threads in (1, 2, 3):
        with pooling.threads(threads), pytest.raises(ValueError) as error:
            getattr(pooling, name)(*arguments, layout=layout)
        assert str(error.value) == (
            f"{name}: indices{place} is {index}, but a plane of the output has 16 elements; "
            "give the indices of the pooling, and the size of its input as output_size"
        )


X, AT = np.ones((1, 1, 2, 2), np.float32), np.zeros((1, 1, 2, 2), np.int64)
REFUSED: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ((X, AT.astype(float), 2), {}, TypeError, "indices has dtype float64, which is not accepted; use int8, int16,"),
    ((X, AT[..., :1], 2), {}, ValueError, "indices have shape (1, 1, 2, 1), the input (1, 1, 2, 2); give each element"),
    ((X.astype(bool), AT, 2), {}, TypeError, "input has dtype bool, which is not accepted; use float16,"),
    ((X.astype(complex), AT, 2), {}, TypeError, "input has dtype complex128, which is not accepted; use float16,"),
    ((X[0, 0], AT[0, 0], 2), {}, ValueError, "input of shape (2, 2) has 2 axes; it must have 4, (N, C, H, W), or 3"),
    ((X, AT, 0), {}, ValueError, "kernel_size=0 must be at least 1 on axis H, not 0"),
    ((X, AT, 2.0), {}, TypeError, "kernel_size=2.0 must be an integer or one integer per spatial axis, not float"),
    ((X, AT, True), {}, TypeError, "kernel_size=True must be an integer or one integer per spatial axis, not bool"),
    ((X, AT, 2, -1), {}, ValueError, "stride=-1 must be at least 1 on axis H, not -1"),
    ((X, AT, 2, 2, 2), {}, ValueError, "padding=2 must be smaller than the effective kernel size 2 on axis H; use"),
    ((X, AT, 2, 2, "same"), {}, ValueError, "padding='same' would follow from the size that is looked for; use 'valid"),
    ((X, AT, 2), {"output_size": 0}, ValueError, "output_size=0 must be at least 1 on axis H, not 0"),
    (
        (X, AT, 2),
        {"output_size": (4, 4, 4)},
        ValueError,
        "output_size=(4, 4, 4) must have one entry per spatial axis, 2",
    ),
    ((X, AT, 2**63 - 1), {}, ValueError, "stride=None and padding=0 give the output size"),
    ((X, AT, 2**62, 2**40), {}, ValueError, "the result would have shape"),
    ((X, AT, 2), {"layout": "NCHW"}, ValueError, "layout='NCHW' must be 'channels_first' or 'channels_last'"),
    (
        (X, AT, 2),
        {"out": np.empty((1, 1, 4, 4))},
        TypeError,
        "out has dtype float64, the result float32; give out that dtype",
    ),
    (
        (X, AT, 2),
        {"out": np.empty((1, 1, 4, 5), "f4")},
        ValueError,
        "out has shape (1, 1, 4, 5), the result (1, 1, 4, 4)",
    ),
    ((X[..., :0], AT[..., :0], 2), {}, ValueError, "the input has size 0 on axis W; it must have at least 1 cell"),
]


@pytest.mark.parametrize(("arguments", "keywords", "kind", "sentence"), REFUSED)
def test_what_is_refused_is_said(
    arguments: Any, keywords: dict[str, Any], kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind) as error:
        pooling.max_unpool2d(*arguments, **keywords)
    assert str(error.value).startswith("max_unpool2d: ")
    assert sentence in str(error.value)


def test_a_gradient_of_another_shape_or_dtype_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        pooling.max_unpool2d_backward(X, X, AT, 2)
    assert str(error.value) == (
        "max_unpool2d_backward: grad_output has shape (1, 1, 2, 2), but the forward call returns (1, 1, 4, 4) "
        "for input (1, 1, 2, 2)"
    )
    with pytest.raises(TypeError):
        pooling.max_unpool2d_backward(np.zeros((1, 1, 4, 4)), X, AT, 2)


def test_out_is_returned_and_may_not_overlap() -> None:
    out = np.empty((1, 1, 4, 4), np.float32)
    assert pooling.max_unpool2d(X, AT, 2, out=out) is out
    assert_same_bytes(out, pooling.max_unpool2d(X, AT, 2))
    memory = np.zeros(32, np.int64)
    with pytest.raises(ValueError, match="overlaps an input"):
        pooling.max_unpool2d(X, memory[:4].reshape(X.shape), 2, out=memory[:8].view(np.float32).reshape(1, 1, 4, 4))


# --- conventions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("target", CONVENTIONS)
@pytest.mark.parametrize("source", CONVENTIONS)
@pytest.mark.parametrize("dimensions", [1, 2, 3])
@given(data=st.data())
def test_any_conversion_answers_as_the_reference(
    dimensions: int, source: str, target: str, layout: str, data: st.DataObject
) -> None:
    spatial = data.draw(st.tuples(*[st.integers(1, 5)] * dimensions))
    batch, channels = data.draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    outputs = data.draw(st.tuples(*[st.integers(1, 2)] * dimensions))
    shape = (batch, channels, *spatial) if layout == "channels_first" else (batch, *spatial, channels)
    of = (batch, channels, *outputs) if layout == "channels_first" else (batch, *outputs, channels)
    indices = np.random.default_rng(data.draw(st.integers(0, 99))).integers(-1, math.prod(spatial), of)
    named = reference.convert_indices(indices, shape, source="torch", target=source, layout=layout)
    if named.size and data.draw(st.booleans()):
        named.flat[data.draw(st.integers(0, named.size - 1))] = data.draw(st.integers(-3, 3 * math.prod(spatial)))
    lying = LYING[data.draw(st.sampled_from(sorted(LYING)))](named)
    try:
        expected = reference.convert_indices(lying.astype(np.int64), shape, source=source, target=target, layout=layout)
    except ValueError:
        with pytest.raises(ValueError, match="names no element of its plane"):
            pooling.convert_indices(lying, shape, source=source, target=target, layout=layout)
        return
    result = pooling.convert_indices(lying, shape, source=source, target=target, layout=layout)
    assert_same_bytes(result, expected)
    assert not np.may_share_memory(result, lying)


@pytest.mark.parametrize(
    ("arguments", "kind", "sentence"),
    [
        (
            {"source": "keras"},
            ValueError,
            "source='keras' must be one of 'torch', 'onnx', 'onnx_column_major', 'tensorf",
        ),
        ({"target": 3}, TypeError, "target=3 must be a string, not int"),
        ({"input_shape": (1, 2, 4, 4)}, ValueError, "indices of shape (1, 1, 2, 2) cannot come from an input of shape"),
        ({"input_shape": (1, 1)}, ValueError, "input_shape=(1, 1) has 2 axes; it must have a batch, a channel and one"),
        ({"input_shape": 4}, TypeError, "input_shape=4 must be a sequence of integers"),
        ({"input_shape": (1, 1, 2**31, 2**31)}, ValueError, "more than 64 bits can address"),
        ({"indices": X}, TypeError, "indices has dtype float32, which is not accepted; use int8,"),
        (
            {"indices": AT + 16},
            ValueError,
            "indices[0, 0, 0, 0] is 16, which names no element of its plane in the conve",
        ),
        (
            {"indices": AT.astype(np.uint64) + np.uint64(2**63)},
            ValueError,
            "indices[0, 0, 0, 0] is 9223372036854775808, ",
        ),
        ({"layout": "NHWC"}, ValueError, "layout='NHWC' must be 'channels_first' or 'channels_last'"),
    ],
)
def test_a_bad_conversion_is_said(arguments: dict[str, Any], kind: type[Exception], sentence: str) -> None:
    good: dict[str, Any] = {"indices": AT, "input_shape": (1, 1, 4, 4), "source": "torch", "target": "onnx"}
    with pytest.raises(kind) as error:
        pooling.convert_indices(**good | arguments)
    assert str(error.value).startswith("convert_indices: ")
    assert sentence in str(error.value)


@pytest.mark.parametrize("storage_order", [0, 1])
def test_indices_of_onnxruntime_are_understood(storage_order: int) -> None:
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    x = random_array((2, 3, 6, 8), np.float32)
    node = onnx.helper.make_node(
        "MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2], strides=[2, 2], storage_order=storage_order
    )
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "pool",
        [tensor("x", onnx.TensorProto.FLOAT, x.shape)],
        [tensor("y", onnx.TensorProto.FLOAT, None), tensor("i", onnx.TensorProto.INT64, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 12)], ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    _, theirs = session.run(None, {"x": x})
    _, mine = pooling.max_pool2d(x, 2, return_indices=True)
    source = "onnx_column_major" if storage_order else "onnx"
    assert_same_bytes(pooling.convert_indices(theirs, x.shape, source=source, target="torch"), mine)


# --- layers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dimensions", OPERATOR.dimensions)
def test_a_layer_answers_as_its_function(dimensions: int, layout: str) -> None:
    layer = getattr(pooling, f"MaxUnpool{dimensions}d")(3, stride=2, padding=1, layout=layout)
    assert repr(layer) == f"MaxUnpool{dimensions}d(kernel_size=3, stride=2, padding=1" + (
        ")" if layout == "channels_first" else ", layout='channels_last')"
    )
    x = random_array((2, *(4, 3, 3)[:dimensions], 3) if layout == "channels_last" else (2, 3, *(4, 3, 3)[:dimensions]))
    indices = np.random.default_rng(0).integers(0, 5, x.shape)
    expected = getattr(pooling, f"max_unpool{dimensions}d")(x, indices, 3, 2, 1, layout=layout)
    assert_same_bytes(layer(x, indices), expected)
    assert layer.output_shape(x.shape) == expected.shape
    assert tuple(axis.output_size for axis in layer.axes(x.shape)) == spatial_of(x, dimensions, layout)
    larger = tuple(size + 1 for size in spatial_of(expected, dimensions, layout))
    assert layer(x, indices, larger).shape == layer.output_shape(x.shape, larger)
    grad = random_array(expected.shape, seed=1)
    back = getattr(pooling, f"max_unpool{dimensions}d_backward")(grad, x, indices, 3, 2, 1, layout=layout)
    assert_same_bytes(layer.backward(grad, x, indices), back)
    with pytest.raises(TypeError, match="indices=None does not say where elements go"):
        layer(x)


# --- what other poolings than plain ones made ------------------------------------------------------------------------


def spread(shape: tuple[int, ...], values: Array, indices: Array, layout: str, dimensions: int) -> Array:
    """Each value where its index says, plane by plane; everything else 0."""
    first = np.moveaxis(values, -1, -1 - dimensions) if layout == "channels_last" else values
    at = np.moveaxis(indices, -1, -1 - dimensions) if layout == "channels_last" else indices
    sizes = shape[-dimensions:] if layout == "channels_first" else shape[-1 - dimensions : -1]
    result = np.zeros((*first.shape[:-dimensions], math.prod(sizes)), values.dtype)
    for place in np.ndindex(first.shape):
        result[(*place[:-dimensions], int(at[place]))] = first[place]
    result = result.reshape(*first.shape[:-dimensions], *sizes)
    return np.moveaxis(result, -1 - dimensions, -1) if layout == "channels_last" else result


POOLINGS: dict[str, tuple[int, tuple[int, ...], str, tuple[Any, ...], dict[str, Any]]] = {
    "dilated": (2, (2, 2, 3, 6), "max_pool2d", (3,), {"dilation": (1, 2)}),
    "dilated_at_steps": (2, (1, 1, 9, 9), "max_pool2d", (2, 2), {"dilation": 3}),
    "dilated_and_padded": (2, (1, 2, 9, 8), "max_pool2d", (2, 3, 2), {"dilation": 4}),
    "dilated_signal": (1, (2, 3, 11), "max_pool1d", (3,), {"dilation": 2}),
    "dilated_volume": (3, (1, 2, 5, 6, 7), "max_pool3d", (2,), {"dilation": (1, 2, 3)}),
    "minimum": (2, (1, 2, 7, 7), "min_pool2d", (2, 3), {"dilation": 2}),
    "overlapping": (2, (1, 2, 7, 7), "max_pool2d", (3, 1, 1), {}),
    "rounded_up": (2, (1, 2, 8, 8), "max_pool2d", (3, 2), {"ceil_mode": True}),
    "same": (2, (1, 2, 7, 8), "max_pool2d", (3, 2, "same_upper"), {}),
    "adaptive": (2, (2, 2, 7, 5), "adaptive_max_pool2d", ((3, 2),), {}),
    "adaptive_volume": (3, (1, 2, 5, 4, 3), "adaptive_max_pool3d", ((2, 3, 1),), {}),
    "fractional": (2, (1, 2, 8, 8), "fractional_max_pool2d", (2, 5), {}),
    "fractional_volume": (3, (1, 1, 6, 7, 5), "fractional_max_pool3d", (2, 3), {}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("name", POOLINGS)
def test_indices_alone_say_where_values_go(name: str, batched: bool, layout: Any) -> None:
    """Whatever made them: `output_size`, whole or of the plane, is the size of what was pooled."""
    n, shape, function, arguments, keywords = POOLINGS[name]
    x = random_array(shape, np.float32)
    x = x if layout == "channels_first" else channels_last(x)
    x = x if batched else x[0]
    if function.startswith("fractional"):
        keywords = keywords | {"rng": np.random.default_rng(0)}
    values, indices = getattr(pooling, function)(x, *arguments, **keywords, return_indices=True, layout=layout)
    kernel = arguments[0] if function.startswith(("max", "min")) else 2
    expected = spread(x.shape, values, indices, layout, n)
    # Every index names an element of what was pooled.
    assert set(expected[expected != 0]) <= set(x.ravel())
    unpool, back = (getattr(pooling, f"max_unpool{n}d{end}") for end in ("", "_backward"))
    layer = getattr(pooling, f"MaxUnpool{n}d")(kernel, layout=layout)
    grad = random_array(x.shape, np.float32, 1)
    for size in (x.shape, spatial_of(x, n, layout), list(x.shape), np.array(x.shape)):
        result = unpool(values, indices, kernel, output_size=size, layout=layout)
        assert_same_bytes(result, np.ascontiguousarray(expected))
        assert_same_bytes(layer(values, indices, size), result)
        assert layer.output_shape(values.shape, size) == x.shape
        gradient = back(grad, values, indices, kernel, output_size=size, layout=layout)
        exact = getattr(reference, f"max_unpool{n}d_backward")(
            grad, values, indices, kernel, output_size=spatial_of(x, n, layout), layout=layout
        )
        np.testing.assert_array_equal(gradient, exact)


def test_a_value_that_two_windows_share_is_written_once() -> None:
    x = np.array([[[1.0, 5.0, 2.0, 3.0]]])
    values, indices = pooling.max_pool1d(x, 2, 1, dilation=2, return_indices=True)
    assert (values.tolist(), indices.tolist()) == ([[[2, 5]]], [[[2, 1]]])
    assert pooling.max_unpool1d(values, indices, 2, 1, output_size=x.shape).tolist() == [[[0, 5, 2, 0]]]
    values, indices = pooling.max_pool1d(x, 3, 1, return_indices=True)
    assert pooling.max_unpool1d(values, indices, 3, 1, output_size=(4,)).tolist() == [[[0, 5, 0, 0]]]
