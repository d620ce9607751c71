"""Arrays of other libraries: their elements are pooled where they lie, or a sentence says what to give instead."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import pooling
from tests.conftest import assert_same_bytes

X = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
POOLED = [[[[5, 7], [13, 15]]]]
NUMBERS = [
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]


def assert_pooled(result: Any, dtype: str, values: Any = POOLED) -> None:
    assert type(result) is np.ndarray
    assert result.dtype.name == dtype
    assert result.astype(np.float64).tolist() == values


def refused(sentence: str, call: Callable[[], Any], kind: type[Exception] = TypeError) -> None:
    with pytest.raises(kind) as error:
        call()
    assert str(error.value) == sentence


def most_memory(call: Callable[[], Any]) -> int:
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(name="torch", scope="module")
def _torch() -> Any:
    return pytest.importorskip("torch")


# --- torch: what comes in -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", NUMBERS)
def test_tensors_of_numbers(torch: Any, dtype: str) -> None:
    assert_pooled(pooling.max_pool2d(torch.arange(16).reshape(1, 1, 4, 4).to(getattr(torch, dtype)), 2), dtype)


def test_tensors_of_truth_values(torch: Any) -> None:
    ones = torch.zeros((1, 4), dtype=torch.bool)
    ones[0, 3] = True
    assert pooling.max_pool1d(ones, 2).tolist() == [[False, True]]


def test_tensors_of_bfloat16_keep_their_memory(torch: Any) -> None:
    pytest.importorskip("ml_dtypes")
    assert_pooled(pooling.max_pool2d(torch.arange(16.0).reshape(1, 1, 4, 4).bfloat16(), 2), "bfloat16")
    large, out = torch.zeros((1, 4, 512, 512), dtype=torch.bfloat16), torch.zeros((1, 4, 256, 256)).bfloat16()
    assert most_memory(lambda: pooling.max_pool2d(large, 2, out=out)) < large.nbytes // 8
    # Parts of larger tensors, too.
    part = torch.arange(64.0).bfloat16().reshape(1, 4, 4, 4)[:, 1::2, :, ::2]
    assert_pooled(pooling.max_pool2d(part, 2), "bfloat16", [[[[22], [30]], [[54], [62]]]])


def test_bfloat16_without_its_package_is_refused_in_words(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    tensor, x = torch.zeros((1, 1, 4), dtype=torch.bfloat16), np.zeros((1, 1, 4), np.float32)
    head = "is a torch tensor of torch.bfloat16, which NumPy knows by the package ml_dtypes; run pip install ml_dtypes,"
    refused(f"max_pool1d: input {head} or give input.float()", lambda: pooling.max_pool1d(tensor, 2))
    refused(
        f"max_pool1d: out {head} or give torch.empty((1, 1, 2), dtype=torch.float32)",
        lambda: pooling.max_pool1d(x, 2, out=tensor[..., :2]),
    )


@pytest.mark.parametrize("kind", ["leaf", "result", "Parameter"])
def test_tensors_that_require_a_gradient(torch: Any, kind: str) -> None:
    tensor = torch.from_numpy(X.copy())
    if kind == "Parameter":
        tensor = torch.nn.Parameter(tensor)
    else:
        tensor.requires_grad_()
        tensor = tensor * 1 if kind == "result" else tensor
    sentence = (
        "{} is a torch tensor that requires a gradient, which no array carries on; give {}.detach(), or call inside "
        "torch.no_grad(); the functions *_backward give gradients"
    )
    refused(f"max_pool2d: {sentence.format('input', 'input')}", lambda: pooling.max_pool2d(tensor, 2))
    grad = tensor[..., :2, :2]
    refused(
        f"max_pool2d_backward: {sentence.format('grad_output', 'grad_output')}",
        lambda: pooling.max_pool2d_backward(grad, X, 2),
    )
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            assert_pooled(pooling.max_pool2d(tensor, 2), "float32")
    assert_pooled(pooling.max_pool2d(tensor.detach(), 2), "float32")
    assert tensor.requires_grad


def test_tensors_whose_elements_are_kept_conjugate_or_negative(torch: Any) -> None:
    x = torch.from_numpy(X)
    both = torch.complex(x, x).conj()
    imaginary = both.imag
    assert imaginary.is_neg()
    assert_pooled(pooling.max_pool2d(imaginary, 2), "float32", [[[[0, -2], [-8, -10]]]])
    assert_pooled(pooling.max_pool2d(torch._neg_view(x), 2), "float32", [[[[0, -2], [-8, -10]]]])
    assert_pooled(pooling.max_pool2d(both.real, 2), "float32")
    for given in (both, both.resolve_conj()):
        with pytest.raises(TypeError, match=r"^max_pool2d: input has dtype complex64, which is not accepted; use "):
            pooling.max_pool2d(given, 2)


def subclass(torch: Any, **members: Any) -> Any:
    return type("Marked", (torch.Tensor,), members)


def test_tensors_of_subclasses(torch: Any) -> None:
    def rude(cls: Any, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError("of no concern to those who read elements")

    x = torch.from_numpy(X)
    for kind in (subclass(torch), subclass(torch, __torch_function__=classmethod(rude))):
        out = torch.zeros((1, 1, 2, 2))
        assert_pooled(pooling.max_pool2d(x.as_subclass(kind), 2, out=out.as_subclass(kind)), "float32")
        assert out.tolist() == POOLED

    fake = pytest.importorskip("torch._subclasses.fake_tensor").FakeTensorMode().from_tensor(x)
    own = "max_pool2d: input is a torch tensor of the subclass {}, which keeps its elements in its own way; give {}"
    refused(own.format("FakeTensor", "a plain one"), lambda: pooling.max_pool2d(fake, 2))
    wrapped = subclass(torch, __torch_dispatch__=classmethod(rude))._make_wrapper_subclass
    kind = subclass(torch, __torch_dispatch__=classmethod(rude))
    refused(own.format("Marked", "a plain one"), lambda: pooling.max_pool2d(wrapped(kind, (1, 1, 4, 4)), 2))


TENSORS: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "sparse": (lambda torch, x: x.to_sparse(), "with the layout torch.sparse_coo; give {name}.to_dense()"),
    "rows": (lambda torch, x: x[0, 0].to_sparse_csr(), "with the layout torch.sparse_csr; give {name}.to_dense()"),
    "blocked": (lambda torch, x: x.to_mkldnn(), "with the layout torch._mkldnn; give {name}.to_dense()"),
    "quantised": (
        lambda torch, x: torch.quantize_per_tensor(x, 0.5, 0, torch.qint8),
        "of quantised numbers; give {name}.dequantize(), or {name}.int_repr()",
    ),
    "meta": (
        lambda torch, x: x.to("meta"),
        "on the meta device, which holds no elements; give one on the CPU",
    ),
    "nested": (
        lambda torch, x: torch.nested.nested_tensor([x[0], x[0]]),
        "of nested ones; give one of {name}.unbind() at a time",
    ),
    "jagged": (
        lambda torch, x: torch.nested.nested_tensor([x[0], x[0]], layout=torch.jagged),
        "of nested ones; give one of {name}.unbind() at a time",
    ),
    "float8": (
        lambda torch, x: x.to(torch.float8_e4m3fn),
        "of dtype torch.float8_e4m3fn, which NumPy does not have; give {name}.float()",
    ),
    "half_complex": (
        lambda torch, x: x.to(torch.complex32),
        "of dtype torch.complex32, which NumPy does not have; give {name}.real or {name}.abs()",
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's own, of kinds that are new or old
@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_that_no_array_can_view_are_refused_in_words(torch: Any, kind: str) -> None:
    make, sentence = TENSORS[kind]
    tensor = make(torch, torch.from_numpy(X.copy()))
    refused(
        f"max_pool2d: input is a torch tensor {sentence.format(name='input')}", lambda: pooling.max_pool2d(tensor, 2)
    )
    refused(
        f"avg_pool2d_backward: grad_output is a torch tensor {sentence.format(name='grad_output')}",
        lambda: pooling.avg_pool2d_backward(tensor, X, 2),
    )
    refused(
        f"max_unpool2d: indices is a torch tensor {sentence.format(name='indices')}",
        lambda: pooling.max_unpool2d(X, tensor, 2),
    )


def test_a_tensor_whose_memory_was_freed_is_refused_in_words(torch: Any) -> None:
    tensor = torch.from_numpy(X).clone()
    part, out = tensor[..., 1:, 1:], tensor[..., :2, :2]
    tensor.untyped_storage().resize_(0)
    for given in (tensor, part):
        refused(
            "max_pool2d: input is a torch tensor whose memory was freed; give one that holds its elements",
            lambda given=given: pooling.max_pool2d(given, 2),
        )
    refused(
        "max_pool2d: out is a torch tensor whose memory was freed; give one that holds its elements",
        lambda: pooling.max_pool2d(X, 2, out=out),
    )
    # A view whose last element is the last of its memory is whole.
    whole = torch.from_numpy(X).clone()[..., 2:, 2:]
    assert_pooled(pooling.max_pool2d(whole, 2), "float32", [[[[15]]]])
    assert pooling.max_pool2d(torch.zeros((0, 1, 4, 4)), 2).shape == (0, 1, 2, 2)
    assert_pooled(pooling.max_pool2d(torch.ones(()).expand(1, 1, 4, 4), 2), "float32", [[[[1, 1], [1, 1]]]])


def test_tensors_inside_of_transforms_are_refused_in_words(torch: Any) -> None:
    x = torch.from_numpy(X)
    with pytest.raises(TypeError) as error:
        torch.func.vmap(lambda each: torch.from_numpy(pooling.max_pool2d(each, 2)))(x)
    assert str(error.value).startswith("max_pool2d: input is a torch tensor that no array can be made of (")
    assert str(error.value).endswith("); give one outside of torch.func and torch.compile")
    with pytest.raises(TypeError, match=r"^max_pool2d: input is a torch tensor that requires a gradient, "):
        torch.func.grad(lambda each: torch.from_numpy(pooling.max_pool2d(each, 2)).sum())(x)


# --- torch: what is written to --------------------------------------------------------------------------------------


def test_out_may_be_a_tensor(torch: Any) -> None:
    x = torch.from_numpy(X)
    for given in (X, x):
        out = torch.full((2, 1, 2, 2), -1.0)
        result = pooling.max_pool2d(given, 2, out=out[1:])
        assert_pooled(result, "float32")
        assert np.may_share_memory(result, out.numpy())
        assert out.tolist() == [[[[-1, -1], [-1, -1]]], *POOLED]
    parameter = torch.nn.Parameter(torch.zeros((1, 1, 2, 2)))
    with torch.no_grad():
        pooling.max_pool2d(x, 2, out=parameter)
    assert parameter.tolist() == POOLED
    back = torch.full((1, 1, 4, 4), -1.0)
    pooling.avg_pool2d_backward(torch.ones((1, 1, 2, 2)), x, 2, out=back)
    assert (back == 0.25).all()


def test_out_may_be_a_tensor_of_bfloat16(torch: Any) -> None:
    pytest.importorskip("ml_dtypes")
    out = torch.zeros((1, 1, 2, 2), dtype=torch.bfloat16)
    assert_pooled(pooling.max_pool2d(torch.from_numpy(X).bfloat16(), 2, out=out), "bfloat16")
    assert out.tolist() == POOLED


INSTEAD = "torch.empty((1, 1, 2, 2), dtype=torch.float32)"
NUMPY_INSTEAD = "numpy.empty((1, 1, 2, 2), dtype='float32')"
OUTS: dict[str, tuple[Callable[[Any, Any], Any], type[Exception], str]] = {
    "float64": (lambda torch, y: y.double(), TypeError, "has dtype float64, the result float32; give out that dtype"),
    "half": (lambda torch, y: y.half(), TypeError, "has dtype float16, the result float32; give out that dtype"),
    "shape": (
        lambda torch, y: torch.zeros((1, 1, 2, 3)),
        ValueError,
        "has shape (1, 1, 2, 3), the result (1, 1, 2, 2); give out that shape",
    ),
    "strided": (
        lambda torch, y: torch.zeros((1, 1, 2, 4))[..., ::2],
        ValueError,
        f"must be C-contiguous; use {NUMPY_INSTEAD}",
    ),
    "broadcast": (
        lambda torch, y: torch.zeros(()).expand(1, 1, 2, 2),
        ValueError,
        f"must be C-contiguous; use {NUMPY_INSTEAD}",
    ),
    "negative": (
        lambda torch, y: torch._neg_view(y),
        TypeError,
        f"is a torch tensor that keeps its elements with another sign; give {INSTEAD}",
    ),
    "requires_grad": (
        lambda torch, y: y.requires_grad_(),
        TypeError,
        "is a torch tensor that requires a gradient, which no array carries on; give out.detach(), or call inside "
        "torch.no_grad(); the functions *_backward give gradients",
    ),
    "fake": (
        lambda torch, y: sys.modules["torch._subclasses.fake_tensor"].FakeTensorMode().from_tensor(y),
        TypeError,
        f"is a torch tensor of the subclass FakeTensor, which keeps its elements in its own way; give {INSTEAD}",
    ),
}
for _kind in ("sparse", "blocked", "quantised", "meta", "nested", "float8"):
    # Where the sentence names what makes a copy of an input, nobody would see the result in that.
    _fault = TENSORS[_kind][1].split("; ")[0]
    OUTS[_kind] = (TENSORS[_kind][0], TypeError, f"is a torch tensor {_fault}; give {INSTEAD}")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", OUTS)
def test_out_that_is_an_unfit_tensor_is_refused_in_words(torch: Any, kind: str) -> None:
    if kind == "fake":
        pytest.importorskip("torch._subclasses.fake_tensor")
    make, error, sentence = OUTS[kind]
    out = make(torch, torch.zeros((1, 1, 2, 2)))
    refused(f"max_pool2d: out {sentence}", lambda: pooling.max_pool2d(X, 2, out=out), error)


def test_out_of_bfloat16_for_another_result_is_refused_in_words(torch: Any) -> None:
    pytest.importorskip("ml_dtypes")
    out = torch.zeros((1, 1, 2, 2), dtype=torch.bfloat16)
    refused(
        "max_pool2d: out has dtype bfloat16, the result float32; give out that dtype",
        lambda: pooling.max_pool2d(X, 2, out=out),
    )


def test_out_that_is_the_memory_of_the_input_tensor_is_refused_in_words(torch: Any) -> None:
    x = torch.from_numpy(X.copy())
    refused(
        "max_pool2d: out overlaps an input in memory; give out memory of its own",
        lambda: pooling.max_pool2d(x, 2, out=x.flatten()[:4].view(1, 1, 2, 2)),
        ValueError,
    )


# --- other libraries ------------------------------------------------------------------------------------------------


@pytest.fixture(name="jax", scope="module")
def _jax() -> Any:
    return pytest.importorskip("jax")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8", "int32", "uint8", "uint32"])
def test_arrays_of_jax(jax: Any, dtype: str) -> None:
    assert_pooled(pooling.max_pool2d(jax.numpy.asarray(X).astype(dtype), 2), dtype)
    assert pooling.max_pool2d(jax.numpy.asarray(X > 14), 2).tolist() == [[[[False, False], [False, True]]]]


def test_arrays_of_jax_are_not_copied(jax: Any) -> None:
    large, out = jax.numpy.zeros((1, 4, 512, 512), "float32"), np.empty((1, 4, 256, 256), np.float32)
    assert most_memory(lambda: pooling.max_pool2d(large, 2, out=out)) < large.nbytes // 8


def test_what_jax_traces_is_refused_in_words(jax: Any) -> None:
    x = jax.numpy.asarray(X)
    for transform in (jax.jit, jax.vmap, lambda f: jax.grad(lambda each: f(each).sum())):
        with pytest.raises(TypeError) as error:
            transform(lambda each: pooling.max_pool2d(each, 2))(x)
        assert str(error.value).startswith("max_pool2d: input of type ")
        assert str(error.value).endswith("; call outside of jax.jit, jax.grad and jax.vmap")
    with pytest.raises(TypeError, match=r"^max_pool2d: input has dtype complex64, which is not accepted; use "):
        pooling.max_pool2d(x.astype("complex64"), 2)
    refused(
        "max_pool2d: out must be a NumPy array or a torch tensor, not ArrayImpl",
        lambda: pooling.max_pool2d(X, 2, out=jax.numpy.zeros((1, 1, 2, 2))),  # type: ignore[call-overload]
    )
    freed = jax.numpy.asarray(X) + 0
    freed.delete()
    with pytest.raises(TypeError, match=r"^max_pool2d: input of type ArrayImpl cannot be read as an array on the CPU"):
        pooling.max_pool2d(freed, 2)


def test_values_of_onnxruntime() -> None:
    ort = pytest.importorskip("onnxruntime")
    for dtype in NUMBERS:
        assert_pooled(pooling.max_pool2d(ort.OrtValue.ortvalue_from_numpy(X.astype(dtype)), 2), dtype)
    large, out = np.zeros((1, 4, 512, 512), np.float32), np.empty((1, 4, 256, 256), np.float32)
    value = ort.OrtValue.ortvalue_from_numpy(large)
    assert most_memory(lambda: pooling.max_pool2d(value, 2, out=out)) < large.nbytes // 8


def test_values_of_onnxruntime_that_dlpack_cannot_say_are_refused_in_words() -> None:
    ort, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    bits = (X.view(np.uint32) >> 16).astype(np.uint16)
    value = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, onnx.TensorProto.BFLOAT16)
    with pytest.raises(TypeError) as error:
        pooling.max_pool2d(value, 2)
    assert str(error.value).startswith("max_pool2d: input of type OrtValue cannot be read as an array on the CPU (")


def test_tensors_of_openvino_are_refused_in_words() -> None:
    tensor = pytest.importorskip("openvino").Tensor(X)
    for name, call in {
        "input": lambda: pooling.max_pool2d(tensor, 2),
        "grad_output": lambda: pooling.max_pool2d_backward(tensor, X, 2),
        "indices": lambda: pooling.max_unpool2d(X, tensor, 2),
    }.items():
        with pytest.raises(TypeError) as error:
            call()
        assert str(error.value).endswith(f": {name} of type Tensor is no array of numbers; give {name}.data")
    assert_pooled(pooling.max_pool2d(tensor.data, 2), "float32")
    refused(
        "max_pool2d: out must be a NumPy array or a torch tensor, not Tensor",
        lambda: pooling.max_pool2d(X, 2, out=tensor),
    )


def test_tensors_of_onnx_are_refused_in_words() -> None:
    helper = pytest.importorskip("onnx.numpy_helper")
    tensor = helper.from_array(X)
    sentence = "{} of type TensorProto is no array of numbers; give onnx.numpy_helper.to_array({})"
    refused(f"max_pool2d: {sentence.format('input', 'input')}", lambda: pooling.max_pool2d(tensor, 2))
    refused(
        f"max_pool2d_backward: {sentence.format('grad_output', 'grad_output')}",
        lambda: pooling.max_pool2d_backward(tensor, X, 2),
    )
    assert_pooled(pooling.max_pool2d(helper.to_array(tensor), 2), "float32")


def test_sparse_matrices_are_refused_in_words() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    for kind in ("csr_matrix", "csc_array", "coo_array", "lil_matrix", "dok_array"):
        matrix: Any = getattr(sparse, kind)(X[0, 0])
        refused(
            f"max_pool2d: input is a sparse {kind}; give input.toarray()",
            lambda matrix=matrix: pooling.max_pool2d(matrix, 2),
        )
        assert_pooled(pooling.max_pool2d(matrix.toarray()[None], 2), "float32", POOLED[0])
        refused(
            f"max_pool2d_backward: grad_output is a sparse {kind}; give grad_output.toarray()",
            lambda matrix=matrix: pooling.max_pool2d_backward(matrix, X, 2),
        )


def test_none_is_refused_in_words() -> None:
    calls: dict[str, Callable[[], Any]] = {
        "max_pool2d: input": lambda: pooling.max_pool2d(None, 2),  # type: ignore[arg-type]
        "lp_pool2d: input": lambda: pooling.lp_pool2d(None, 2, 2),  # type: ignore[arg-type]
        "global_avg_pool: input": lambda: pooling.global_avg_pool(None),  # type: ignore[arg-type]
        "avg_pool2d_backward: grad_output": lambda: pooling.avg_pool2d_backward(None, X, 2),  # type: ignore[arg-type]
        "avg_pool2d_backward: input": lambda: pooling.avg_pool2d_backward(X, None, 2),  # type: ignore[arg-type]
        "max_unpool2d: indices": lambda: pooling.max_unpool2d(X, None, 2),  # type: ignore[arg-type]
    }
    for beginning, call in calls.items():
        refused(f"{beginning} is None; give an array of numbers", call)


@pytest.mark.parametrize("dtype", [object, "U1", "M8[s]", "V4", [("a", "f4")], np.longdouble, np.complex128])
def test_arrays_of_what_is_no_number_here_are_refused_in_words(dtype: Any) -> None:
    array = np.zeros((1, 1, 4, 4), dtype)
    if array.dtype == np.float64:
        pytest.skip("long double is double here")
    with pytest.raises(TypeError) as error:
        pooling.max_pool2d(array, 2)
    assert str(error.value).startswith(f"max_pool2d: input has dtype {array.dtype.name}, which is not accepted; use ")


@pytest.mark.parametrize("value", [{1: 2}, {1}, (i for i in range(2)), len, [[[Decimal(1)]]], [[[object()]]]])
def test_objects_that_hold_no_numbers_are_refused_in_words(value: Any) -> None:
    kind = type(value).__name__
    sentence = "{} of type {} is no array of numbers; give an array"
    refused(f"max_pool2d: {sentence.format('input', kind)}", lambda: pooling.max_pool2d(value, 2))
    refused(
        f"max_pool2d_backward: {sentence.format('grad_output', kind)}",
        lambda: pooling.max_pool2d_backward(value, X, 2),
    )


def test_lists_of_tensors_are_read_as_lists_of_arrays(torch: Any) -> None:
    x = torch.from_numpy(X)
    assert_same_bytes(pooling.max_pool2d([x[0]], 2), pooling.max_pool2d(X, 2))  # type: ignore[list-item]
