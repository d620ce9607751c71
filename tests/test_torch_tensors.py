"""Tensors of all kinds: memory formats, views, without elements, and what cannot be pooled."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import pooling

torch = pytest.importorskip("torch")

from pooling.torch import functional as F  # noqa: E402
from pooling.torch.operators import FRACTIONAL, FUNCTIONS, UNPOOLING  # noqa: E402

T = torch.nn.functional
GIVEN = {"kernel_size": 2, "output_size": 3, "norm_type": 3.0}
FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def call(name: str, x: Any, **more: Any) -> Any:
    function = FUNCTIONS[name]
    return getattr(F, name)(x, **{each: GIVEN[each] for each in function.names if each in GIVEN}, **more)


# --- memory formats --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, each in FUNCTIONS.items() if each.dimensions != 1])
def test_channels_last_is_kept(name: str) -> None:
    n = FUNCTIONS[name].dimensions or 2
    x = torch.rand(2, 3, *[7] * n)
    last = x.to(memory_format=FORMATS[n])
    first, second = x.requires_grad_(), last.requires_grad_()
    y, of_last = call(name, first), call(name, second)
    # Sums are made in another order.
    torch.testing.assert_close(of_last, y, rtol=1e-6, atol=0)
    assert of_last.is_contiguous(memory_format=FORMATS[n])
    assert y.is_contiguous()
    # Gradients come in the format of the input, whatever those of the results have.
    grad = torch.randn(y.shape)
    for each in (grad, grad.to(memory_format=FORMATS[n]), grad.transpose(-1, -2).contiguous().transpose(-1, -2)):
        (a,), (b,) = (
            torch.autograd.grad(call(name, first), first, each),
            torch.autograd.grad(call(name, second), second, each),
        )
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
        assert a.is_contiguous()
        assert b.is_contiguous(memory_format=FORMATS[n])
    if FUNCTIONS[name].operator.indices:
        (_, places), (_, of_last) = call(name, first, return_indices=True), call(name, second, return_indices=True)
        assert torch.equal(places, of_last)
        assert of_last.is_contiguous(memory_format=FORMATS[n])


@pytest.mark.parametrize("name", [*UNPOOLING, *FRACTIONAL])
def test_channels_last_is_kept_by_unpooling_and_random_windows(name: str) -> None:
    n = {**UNPOOLING, **FRACTIONAL}[name]
    if n == 1:
        pytest.skip("torch has the format for maps and volumes")
    x = torch.rand(2, 3, *[8] * n)
    samples = torch.rand(2, 3, n)
    outcomes = []
    for each in (x, x.to(memory_format=FORMATS[n])):
        if name in UNPOOLING:
            each, indices = getattr(F, f"max_pool{n}d")(each, 2, return_indices=True)
            each = each.detach().requires_grad_()
            found = getattr(F, name)(each, indices, 2)
        else:
            each = each.clone().requires_grad_()
            found = getattr(F, name)(each, 2, output_size=3, _random_samples=samples)
        torch.manual_seed(1)
        (gradient,) = torch.autograd.grad(found, each, torch.randn(found.shape))
        outcomes.append((found, gradient))
    for first, last in zip(*outcomes, strict=True):
        assert torch.equal(first, last)
        assert first.is_contiguous()
        assert last.is_contiguous(memory_format=FORMATS[n])


def test_what_lies_in_order_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    original = pooling.max_pool2d

    def spied(array: Any, *given: Any, **keywords: Any) -> Any:
        seen.append(array)
        return original(array, *given, **keywords)

    monkeypatch.setitem(FUNCTIONS["max_pool2d"].__dict__, "array_function", spied)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        x = torch.rand(2, 3, 6, 6).to(dtype)
        for each in (x, x.to(memory_format=torch.channels_last), x[1:], x[0]):
            seen.clear()
            F.max_pool2d(each, 2)
            assert seen[0].flags.c_contiguous
            assert seen[0].ctypes.data == each.data_ptr()


VIEWS: dict[str, Callable[[Any], Any]] = {
    "transposed": lambda x: x.transpose(2, 3),
    "every second": lambda x: x[..., ::2],
    "expanded": lambda x: x[:, :1].expand(2, 5, 8, 8),
    "narrowed": lambda x: x[:, :, 1:7, 2:],
    "permuted": lambda x: x.permute(1, 0, 3, 2),
    "batch moved": lambda x: x.transpose(0, 1),
    "as strided": lambda x: x.as_strided((2, 3, 6, 6), (90, 11, 7, 1)),
    "negated": lambda x: torch.view_as_complex(torch.stack([x, x], -1)).conj().imag,
    "real part": lambda x: torch.view_as_real(torch.view_as_complex(torch.stack([x, x], -1)))[..., 0],
    "no batch": lambda x: x[0],
    "channels last, no batch": lambda x: x[0].permute(1, 2, 0).contiguous().permute(2, 0, 1),
    "zero without memory": lambda x: torch._efficientzerotensor((2, 3, 8, 8)),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "adaptive_max_pool2d", "adaptive_avg_pool2d"])
def test_views(name: str, view: str) -> None:
    x = VIEWS[view](torch.randn(2, 3, 8, 8)).detach()
    mine, its = (x.detach().requires_grad_() for _ in range(2))
    arguments = (3,) if "adaptive" in name else (3, 2, 1)
    found, expected = getattr(F, name)(mine, *arguments), getattr(T, name)(its, *arguments)
    torch.testing.assert_close(found, expected)
    grad = torch.randn(found.shape)
    for each in (grad, torch.view_as_complex(torch.stack([grad, -grad], -1)).conj().imag):
        (a,) = torch.autograd.grad(found, mine, each, retain_graph=True)
        (b,) = torch.autograd.grad(expected, its, each, retain_graph=True)
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_without_elements(name: str) -> None:
    n = FUNCTIONS[name].dimensions or 2
    x = torch.rand(0, 3, *[7] * n, requires_grad=True)
    found = call(name, x)
    assert found.shape == (0, *call(name, torch.rand(1, 3, *[7] * n)).shape[1:])
    assert found.stride() == torch.empty(found.shape).stride()
    found.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape
    if name.startswith(("max_pool", "avg_pool")):
        assert call(name, x).shape == getattr(T, name)(x, 2).shape


# --- what cannot be pooled -------------------------------------------------------------------------------------------


def freed(x: Any) -> Any:
    x.untyped_storage().resize_(0)
    return x


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "array": (lambda x: x.numpy(), "input must be a torch.Tensor, not ndarray; use pooling.max_pool2d for arrays"),
    "None": (lambda x: None, "input must be a torch.Tensor, not NoneType; use pooling.max_pool2d for arrays"),
    "sparse": (lambda x: x.to_sparse(), "input has the layout torch.sparse_coo; give input.to_dense()"),
    "rows": (lambda x: x[0, 0].to_sparse_csr(), "input has the layout torch.sparse_csr; give input.to_dense()"),
    "blocks": (lambda x: x.to_mkldnn(), "input has the layout torch._mkldnn; give input.to_dense()"),
    "quantised": (
        lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8),
        "input is quantised; give input.dequantize(), or input.int_repr() for maxima",
    ),
    "nested": (
        lambda x: torch.nested.nested_tensor([x[0], x[0]]),
        "input is a nested tensor; give one of input.unbind() at a time",
    ),
    "jagged": (
        lambda x: torch.nested.nested_tensor([x[0, 0], x[0, 0]], layout=torch.jagged),
        "input is a nested tensor; give one of input.unbind() at a time",
    ),
    "complex": (lambda x: x.to(torch.complex64), "input has dtype complex64, which is not accepted; use "),
    "float8": (
        lambda x: x.to(torch.float8_e5m2), "input has dtype torch.float8_e5m2, which is not accepted; "
    ),
    "freed": (freed, "the memory of input was freed; give a tensor that holds its elements"),
    "one axis": (lambda x: x[0, 0, 0], "input of shape (6,) has 1 axis; "),
    "small": (lambda x: x[..., :1], "kernel_size=3 finds no window on axis W: "),
    "meta, small": (lambda x: x[..., :1].to("meta"), "kernel_size=[3, 3] finds no window on axis 1 of 2: "),
    "meta, two axes": (lambda x: x[0, 0].to("meta"), "input has 2 axes; it must have 3 or 4 axes"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("grad", [False, True])
def test_what_cannot_be_pooled_is_refused_in_a_sentence(kind: str, grad: bool) -> None:
    make, sentence = REFUSED[kind]
    x = make(torch.randn(1, 2, 6, 6))
    if grad:
        if kind in ("array", "None", "quantised"):
            pytest.skip("has no gradient in PyTorch")
        x = x.requires_grad_()
    with pytest.raises((TypeError, ValueError)) as caught:
        F.max_pool2d(x, 3)
    assert str(caught.value).startswith(f"max_pool2d: {sentence}")


def test_operators_refuse_lists_of_other_lengths_and_tensors_of_several_devices() -> None:
    x = torch.rand(1, 2, 6, 6)
    for device in ("cpu", "meta"):
        with pytest.raises(
            ValueError, match=r"^max_pool2d: padding=\[0, 0\] must hold 4 numbers, the begin and the end"
        ):
            torch.ops.pooling.max_pool2d(x.to(device), [2, 2], [2, 2], [0, 0], [1, 1], False, "propagate")
        with pytest.raises(ValueError, match=r"^max_pool2d: kernel_size=\[2\] must hold 2 numbers, one for each axis"):
            torch.ops.pooling.max_pool2d(x.to(device), [2], [2, 2], [0] * 4, [1, 1], False, "propagate")
    values, indices = F.max_pool2d(x, 2, return_indices=True)
    with pytest.raises(ValueError, match=r"^max_unpool2d: tensors are on cpu and on meta; give all on the CPU"):
        F.max_unpool2d(values, indices.to("meta"), 2)


def test_integers_are_pooled_and_have_no_gradient() -> None:
    x = torch.randint(0, 200, (1, 2, 6, 6), dtype=torch.uint8)
    np.testing.assert_array_equal(F.max_pool2d(x, 2).numpy(), pooling.max_pool2d(x.numpy(), 2))
    assert not F.max_pool2d(x, 2).requires_grad
    values, indices = F.max_pool2d(torch.rand(1, 2, 6, 6, requires_grad=True), 2, return_indices=True)
    assert values.requires_grad
    assert not indices.requires_grad


def test_meta_tensors_have_shapes_and_gradients() -> None:
    x = torch.rand(2, 3, 9, 9, device="meta", requires_grad=True)
    found = F.max_pool2d(x, 3, 2, 1)
    assert found.is_meta
    assert found.shape == T.max_pool2d(x, 3, 2, 1).shape
    found.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape


# --- autograd --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, each in FUNCTIONS.items() if not each.is_linear(("propagate",))])
def test_a_change_between_forward_and_backward_is_seen(name: str) -> None:
    x = torch.rand(1, 2, *[7] * (FUNCTIONS[name].dimensions or 2), requires_grad=True)
    between = x * 1
    found = call(name, between)
    between.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found.sum().backward()


@pytest.mark.parametrize("name", [name for name, each in FUNCTIONS.items() if each.is_linear(("propagate",))])
def test_a_change_does_not_matter_where_the_gradient_does_not_depend_on_the_input(name: str) -> None:
    x = torch.rand(1, 2, *[7] * (FUNCTIONS[name].dimensions or 2), requires_grad=True)
    (expected,) = torch.autograd.grad(call(name, x).sum(), x)
    between = x * 1
    found = call(name, between)
    between.mul_(3)
    assert torch.equal(torch.autograd.grad(found.sum(), x)[0], expected)


def test_changed_indices_are_seen_and_changed_results_do_not_matter() -> None:
    x = torch.rand(1, 2, 6, 6, requires_grad=True)
    values, indices = F.max_pool2d(x * 1, 2, return_indices=True)
    indices.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        values.sum().backward()
    outcomes = []
    for function in (F.max_pool2d, T.max_pool2d):
        found = function(x * 1, 2)
        found.mul_(2)
        outcomes.append(torch.autograd.grad(found.sum(), x)[0])
    assert torch.equal(*outcomes)


def test_inference_tensors_and_deterministic_mode() -> None:
    with torch.inference_mode():
        x = torch.rand(1, 2, 6, 6)
        assert F.max_pool2d(x, 2).is_inference()
    assert torch.equal(F.max_pool2d(x, 2), T.max_pool2d(x, 2))
    wanted = torch.rand(1, 2, 6, 6, requires_grad=True)
    torch.use_deterministic_algorithms(True)
    try:
        found = [torch.autograd.grad(F.max_pool2d(wanted, 3, 1).sum(), wanted)[0] for _ in range(3)]
        values, indices = F.max_pool2d(x, 3, 1, return_indices=True)
        put = [F.max_unpool2d(values, indices, 3, 1) for _ in range(3)]
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(found[0], each) for each in found)
    assert all(torch.equal(put[0], each) for each in put)


def test_autocast_gives_the_dtypes_of_torch() -> None:
    arguments = {"lp_": (2.0, 2), "ada": (3,), "fra": (2, 3)}
    names = [name for name in [*FUNCTIONS, *FRACTIONAL] if hasattr(T, name)]
    for name in names:
        given = arguments.get(name[:3], (2,))
        for dtype in (torch.bfloat16, torch.float16, torch.float32):
            x = torch.rand(1, 2, *[8] * int(name[-2])).to(dtype)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                assert getattr(F, name)(x, *given).dtype == getattr(T, name)(x, *given).dtype, (name, dtype)
