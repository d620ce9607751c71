"""What comes in as an array and what results are written to: no needless copies, no guesses, nothing modified."""

from __future__ import annotations

import array as standard_array
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import calls, reference
from tests.conftest import LAYOUTS, LYING, Array, assert_same_bytes, channels_last, random_array

INPUT = (2, 3, 6, 8)
POOLED = (2, 3, 3, 4)


class Call:
    """A function with its arguments bound, so that all can be called alike."""

    def __init__(self, function: str, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __call__(self, *arrays: Any, **keywords: Any) -> Array:
        result: Array = getattr(pooling, self.function)(*arrays, *self.arguments, **keywords)
        return result


FORWARD = [
    Call("max_pool2d", 2),
    Call("avg_pool2d", 2),
    Call("global_max_pool"),
    Call("global_avg_pool"),
]
BACKWARD = [
    Call("max_pool2d_backward", 2),
    Call("avg_pool2d_backward", 2),
    Call("global_max_pool_backward"),
    Call("global_avg_pool_backward"),
]


def arrays_for(call: Call, dtype: Any = np.float32) -> tuple[Array, ...]:
    """The input, behind a gradient if the call wants one."""
    x = random_array(INPUT, dtype)
    if not call.function.endswith("backward"):
        return (x,)
    shape = (2, 3, 1, 1) if call.function.startswith("global") else POOLED
    return random_array(shape, dtype, 1), x


SUMS = ("avg_pool2d", "global_avg_pool")


def assert_mean_within_bound(call: Call, result: Array, x: Array) -> None:
    """A mean of float32 is off by at most 4 units of 2**-23 times the mean of the magnitudes."""
    exact = getattr(reference, call.function)(x.astype(np.float64), *call.arguments)
    magnitude = getattr(reference, call.function)(np.abs(x).astype(np.float64), *call.arguments)
    assert (np.abs(result - exact) <= 4 * 2.0**-23 * magnitude).all()


each_forward = pytest.mark.parametrize("call", FORWARD, ids=lambda call: call.function)
each_call = pytest.mark.parametrize("call", FORWARD + BACKWARD, ids=lambda call: call.function)


# --- in -----------------------------------------------------------------------------------------------------------


@each_call
@pytest.mark.parametrize("lying", LYING)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_array_may_lie_in_memory_anyhow(call: Call, lying: str, dtype: str) -> None:
    arrays = [LYING[lying](array) for array in arrays_for(call, dtype)]
    before = [array.tobytes() for array in arrays]
    expected = call(*[np.array(array, dtype) for array in arrays])
    result = call(*arrays)
    assert_same_bytes(result, expected)
    assert result.dtype.isnative
    assert result.flags.c_contiguous
    assert [array.tobytes() for array in arrays] == before


@each_call
def test_the_result_is_new_memory(call: Call) -> None:
    arrays = arrays_for(call)
    result = call(*arrays)
    assert not any(np.may_share_memory(result, array) for array in arrays)
    identity = pooling.max_pool2d(arrays[-1], 1)
    assert not np.may_share_memory(identity, arrays[-1])


class OnlyInterface:
    """An object that shows nothing but ``__array_interface__``."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self.__array_interface__ = array.__array_interface__


class OnlyDlpack:
    """An object that shows nothing but DLPack."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __dlpack__(self, **keywords: Any) -> Any:
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class Subclass(np.ndarray[Any, Any]):
    """A subclass that says nothing about results."""


def subclassed(array: Array) -> Array:
    return array.view(Subclass)


FOREIGN: dict[str, Callable[[Array], Any]] = {
    "array_interface": OnlyInterface,
    "dlpack": OnlyDlpack,
    "memoryview": memoryview,
    "nested_lists": lambda array: array.tolist(),
    "subclass": subclassed,
}


@each_call
@pytest.mark.parametrize("foreign", FOREIGN)
def test_other_objects_are_read_as_arrays(call: Call, foreign: str) -> None:
    arrays = arrays_for(call, np.float64)
    result = call(*[FOREIGN[foreign](array) for array in arrays])
    assert_same_bytes(result, call(*arrays))
    assert type(result) is np.ndarray


def test_an_array_of_the_standard_library_is_read_as_an_array() -> None:
    numbers = standard_array.array("f", [1, 3, 2, 4])
    view = memoryview(numbers).cast("B").cast("f", (1, 1, 4))
    assert pooling.max_pool1d(view, 2).tolist() == [[[3, 4]]]


@each_forward
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_memory_map_is_read_as_an_array_and_not_written_to(call: Call, mode: str, tmp_path: Path) -> None:
    x = random_array(INPUT, np.float32)
    path = tmp_path / "maps"
    x.tofile(path)
    mapped = np.memmap(path, np.float32, mode, shape=INPUT)  # type: ignore[call-overload]
    result = call(mapped)
    assert_same_bytes(result, call(x))
    assert type(result) is np.ndarray
    assert path.read_bytes() == x.tobytes()


@each_call
def test_a_torch_tensor_is_read_as_an_array(call: Call) -> None:
    torch = pytest.importorskip("torch")
    arrays = arrays_for(call)
    tensors = [torch.from_numpy(array.copy()) for array in arrays]
    assert_same_bytes(call(*tensors), call(*arrays))
    strided = [tensor.to(memory_format=torch.channels_last) for tensor in tensors]
    result = np.ascontiguousarray(call(*strided))
    # They are pooled as they lie, to the bit ...
    lying = call(*map(channels_last, arrays), layout="channels_last")
    assert_same_bytes(channels_last(result), lying)
    if call.function in SUMS:
        # ... and sums of floats, which alone may differ between the layouts, are near the exact ones in both.
        for found in (result, call(*arrays)):
            assert_mean_within_bound(call, found, arrays[0])
    else:
        assert_same_bytes(result, call(*arrays))
    for tensor, array in zip(tensors, arrays, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), array)


def most_memory(call: Callable[[], Any]) -> int:
    """Bytes that NumPy allocates at the same time during a call."""
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "kind", ["ndarray", "torch", "array_interface", "dlpack", "memoryview", "subclass", "read_only"]
)
@pytest.mark.thread_unsafe(reason="counts the memory of all threads")
def test_contiguous_memory_is_not_copied(kind: str) -> None:
    x = np.zeros((1, 4, 512, 512), np.float32)
    if kind == "torch":
        value = pytest.importorskip("torch").from_numpy(x)
    elif kind == "read_only":
        value = x
        x.flags.writeable = False
    else:
        value = FOREIGN[kind](x) if kind in FOREIGN else x
    out = np.empty((1, 4, 256, 256), np.float32)
    assert most_memory(lambda: pooling.max_pool2d(value, 2, out=out)) < x.nbytes // 8
    # The measure itself: what must be copied is seen.
    assert most_memory(lambda: pooling.max_pool2d(x.astype(x.dtype.newbyteorder()), 2, out=out)) >= x.nbytes


def test_a_tensor_that_needs_its_gradient_is_refused_in_words() -> None:
    torch = pytest.importorskip("torch")
    x = torch.zeros((1, 1, 4), requires_grad=True)
    with pytest.raises(TypeError) as error:
        pooling.max_pool1d(x, 2)
    assert str(error.value) == (
        "max_pool1d: input is a torch tensor that requires a gradient, which no array carries on; give input.detach(), "
        "or call inside torch.no_grad(); the functions *_backward give gradients"
    )
    assert pooling.max_pool1d(x.detach(), 2).shape == (1, 1, 2)


def test_an_object_of_another_device_is_refused_in_words() -> None:
    class Elsewhere:
        def __dlpack_device__(self) -> tuple[int, int]:
            return (2, 0)

        def __dlpack__(self, **keywords: Any) -> Any:
            raise BufferError("this memory is on a GPU")

    with pytest.raises(TypeError) as error:
        pooling.max_pool1d(Elsewhere(), 2)  # type: ignore[arg-type]
    assert str(error.value).startswith("max_pool1d: input of type Elsewhere cannot be read as an array on the CPU (")


# --- out ------------------------------------------------------------------------------------------------------------


@each_call
def test_out_is_filled_and_returned(call: Call) -> None:
    arrays = arrays_for(call)
    expected = call(*arrays)
    out = np.full(expected.shape, np.nan, expected.dtype)
    assert call(*arrays, out=out) is out
    assert_same_bytes(out, expected)


def test_out_goes_with_indices() -> None:
    x = random_array(INPUT, np.float32)
    out = np.empty(POOLED, np.float32)
    values, indices = pooling.max_pool2d(x, 2, return_indices=True, out=out)
    assert values is out
    expected, expected_indices = pooling.max_pool2d(x, 2, return_indices=True)
    assert_same_bytes(values, expected)
    assert_same_bytes(indices, expected_indices)


def test_out_may_be_of_a_subclass_or_part_of_a_larger_array() -> None:
    x = random_array(INPUT, np.float32)
    expected = pooling.avg_pool2d(x, 2)
    larger = np.zeros((4, *POOLED), np.float32)
    assert_same_bytes(pooling.avg_pool2d(x, 2, out=larger[2]), expected)
    assert_same_bytes(larger[2], expected)
    assert not larger[[0, 1, 3]].any()
    mapped = larger[1].view(Subclass)
    assert pooling.avg_pool2d(x, 2, out=mapped) is mapped
    np.testing.assert_array_equal(larger[1], expected)


@each_call
@pytest.mark.parametrize("layout", LAYOUTS)
def test_out_has_the_layout_of_the_call(call: Call, layout: str) -> None:
    arrays = arrays_for(call)
    if layout == "channels_last":
        arrays = tuple(map(channels_last, arrays))
    expected = call(*arrays, layout=layout)
    out = np.empty_like(expected)
    assert call(*arrays, layout=layout, out=out) is out
    assert_same_bytes(out, expected)


def read_only(shape: tuple[int, ...]) -> Array:
    out = np.empty(shape, np.float32)
    out.flags.writeable = False
    return out


def unaligned(shape: tuple[int, ...]) -> Array:
    size = int(np.prod(shape))
    return np.zeros(4 * size + 1, np.uint8)[1:].view(np.float32).reshape(shape)


# For each fault: out for a result of some shape, the error, and what its sentence says behind the function's name.
FAULTY: dict[str, tuple[Callable[[tuple[int, ...]], Any], type[Exception], str]] = {
    "list": (
        lambda shape: np.empty(shape).tolist(),
        TypeError,
        "out must be a NumPy array or a torch tensor, not list",
    ),
    "float64": (
        lambda shape: np.empty(shape, np.float64),
        TypeError,
        "out has dtype float64, the result float32; give out that dtype",
    ),
    "integers": (
        lambda shape: np.empty(shape, np.int32),
        TypeError,
        "out has dtype int32, the result float32; give out that dtype",
    ),
    "big_endian": (
        lambda shape: np.empty(shape, ">f4"),
        TypeError,
        "out has dtype float32 with its bytes swapped, the result float32; give out that dtype",
    ),
    "more_axes": (
        lambda shape: np.empty((1, *shape), np.float32),
        ValueError,
        "out has shape (1, {inside}), the result {shape}; give out that shape",
    ),
    "flat": (
        lambda shape: np.empty(int(np.prod(shape)), np.float32),
        ValueError,
        "out has shape ({size},), the result {shape}; give out that shape",
    ),
    "gapped": (
        lambda shape: np.empty((*shape[:-1], 2 * shape[-1]), np.float32)[..., ::2],
        ValueError,
        "out must be C-contiguous; use numpy.empty({shape}, dtype='float32')",
    ),
    "unaligned": (
        unaligned,
        ValueError,
        "out is not aligned in memory; use numpy.empty({shape}, dtype='float32')",
    ),
    "read_only": (read_only, ValueError, "out is read-only; give an array that can be written to"),
    "masked": (
        lambda shape: np.ma.zeros(shape, np.float32),
        TypeError,
        "out is a masked array, whose mask would not be written; give out.data",
    ),
}


@each_call
@pytest.mark.parametrize("fault", FAULTY)
def test_out_that_does_not_fit_is_refused_in_words(call: Call, fault: str) -> None:
    make, kind, sentence = FAULTY[fault]
    arrays = arrays_for(call)
    shape = call(*arrays).shape
    with pytest.raises(kind) as error:
        call(*arrays, out=make(shape))
    inside = str(shape)[1:-1]
    expected = sentence.format(shape=shape, inside=inside, size=int(np.prod(shape)))
    assert str(error.value) == f"{call.function}: {expected}"


@pytest.mark.parametrize("call", FORWARD, ids=lambda call: call.function)
def test_out_that_overlaps_the_input_is_refused_in_words(call: Call) -> None:
    shape = call(*arrays_for(call)).shape
    memory = np.zeros(2 * int(np.prod(INPUT)), np.float32)
    x = memory[: int(np.prod(INPUT))].reshape(INPUT)
    size = int(np.prod(shape))
    for start in (0, x.size - 1):
        with pytest.raises(ValueError) as error:
            call(x, out=memory[start : start + size].reshape(shape))
        assert str(error.value) == f"{call.function}: out overlaps an input in memory; give out memory of its own"
    # Right behind the input is not in it.
    call(x, out=memory[x.size : x.size + size].reshape(shape))


def test_out_that_overlaps_any_argument_of_a_gradient_is_refused_in_words() -> None:
    x = random_array(INPUT, np.float32)
    _, indices = pooling.max_pool2d(x, 2, return_indices=True)
    memory = np.zeros(INPUT, np.float32)
    inside = memory.reshape(-1)[: int(np.prod(POOLED))].reshape(POOLED)
    as_indices = memory.reshape(-1).view(np.int64)[: indices.size].reshape(POOLED)
    as_indices[...] = indices
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("max_pool2d_backward", lambda: pooling.max_pool2d_backward(inside, x, 2, out=memory)),
        ("max_pool2d_backward", lambda: pooling.max_pool2d_backward(inside.copy(), memory, 2, out=memory)),
        (
            "max_pool2d_backward",
            lambda: pooling.max_pool2d_backward(inside.copy(), x, 2, indices=as_indices, out=memory),
        ),
        ("avg_pool2d_backward", lambda: pooling.avg_pool2d_backward(inside, x, 2, out=memory)),
    ]
    for function, call in calls:
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value) == f"{function}: out overlaps an input in memory; give out memory of its own"


def test_a_refused_out_is_left_alone() -> None:
    x = random_array(INPUT, np.float32)
    out = np.full((2, 3, 3, 5), 7, np.float32)
    with pytest.raises(ValueError):
        pooling.max_pool2d(x, 2, out=out)
    assert (out == 7).all()


def test_out_is_keyword_only() -> None:
    x = random_array(INPUT, np.float32)
    out = np.empty((2, 3, 1, 1), np.float32)
    with pytest.raises(TypeError):
        pooling.global_avg_pool(x, out)  # type: ignore[misc]


# --- again ----------------------------------------------------------------------------------------------------------


@each_forward
@pytest.mark.parametrize("lying", LYING)
def test_a_call_like_an_earlier_one_answers_the_same(call: Call, lying: str) -> None:
    """Calls are remembered by shape and dtype, whatever else arrays may be."""
    (array,) = arrays_for(call)
    given = LYING[lying](array)
    expected = call(np.array(given, np.float32))
    for _ in range(3):
        assert_same_bytes(call(given), expected)
        out = np.empty_like(expected)
        assert call(given, out=out) is out
        assert_same_bytes(out, expected)


@each_forward
@pytest.mark.parametrize("first", [0, 1])
def test_dtypes_that_are_equal_but_not_the_same_are_one(call: Call, first: int) -> None:
    # A shape of its own for each: whoever comes first is remembered.
    x = np.abs(np.concatenate(arrays_for(call) * (2 + first)))
    copy = x.astype(np.dtype(np.float32, metadata={"unit": "m"}))
    assert copy.dtype is not x.dtype
    expected = call(x.astype(np.float64)).astype(np.float32)
    for given in [(x, copy), (copy, x)][first]:
        out = np.empty(expected.shape, given.dtype)
        for result in (call(given), call(given), call(given, out=out)):
            np.testing.assert_allclose(result, expected, rtol=1e-6)
            assert result.dtype == np.float32


def test_arguments_that_changed_since_an_earlier_call_are_seen() -> None:
    x = random_array(INPUT, np.float32)
    kernel = [2, 2]
    sizes = np.array([2, 2])
    for size in (2, 3, 2):
        kernel[0] = sizes[0] = size
        expected = pooling.max_pool2d(x, (size, 2))
        for _ in range(2):
            assert_same_bytes(pooling.max_pool2d(x, kernel), expected)
            assert_same_bytes(pooling.max_pool2d(x, sizes), expected)


def test_more_calls_than_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "REMEMBERED", 3)
    x = random_array(INPUT, np.float32)
    expected = {size: pooling.max_pool2d(x, size) for size in range(1, 7)}
    assert len(calls._known) <= 3
    for size, result in expected.items():
        assert_same_bytes(pooling.max_pool2d(x, size), result)
        np.testing.assert_array_equal(result[..., 0, 0], x[..., :size, :size].max((2, 3)))
