"""The ways of a call: the direct one where nothing else listens, and what listens sees an operator."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.overrides import TorchFunctionMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

import pooling  # noqa: E402
from pooling.torch import dispatch, operators  # noqa: E402
from pooling.torch import functional as F  # noqa: E402
from pooling.torch.observers import is_unobserved  # noqa: E402
from pooling.torch.operators import FUNCTIONS  # noqa: E402

T = torch.nn.functional


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import pooling, sys; pooling.max_pool2d([[[[1.0]]]], 1); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_torch_a_sentence_says_what_to_install() -> None:
    code = "import sys; sys.modules['torch'] = None; import pooling.torch"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 1
    assert found.stderr.rstrip().endswith(
        'pooling.torch needs torch, which is not installed; run pip install "ndpooling[torch]"'
    )


# --- the direct way --------------------------------------------------------------------------------------------------


@pytest.fixture
def operators_called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the functions that went by way of an operator."""
    found: list[str] = []
    of_dispatcher = dispatch._dispatched

    def spied(function: Any, *given: Any) -> Any:
        found.append(function.name)
        return of_dispatcher(function, *given)

    monkeypatch.setattr(dispatch, "_dispatched", spied)
    return found


def test_plain_tensors_go_the_direct_way(operators_called: list[str]) -> None:
    x = torch.rand(1, 2, 6, 6)
    for each in (x, x.clone().requires_grad_(), torch.nn.Parameter(x), x.bfloat16(), x[..., ::2], x[:0]):
        F.max_pool2d(each, 2)
    with torch.no_grad(), torch.inference_mode():
        F.avg_pool2d(torch.rand(1, 2, 6, 6), 2)
    assert operators_called == []


class Functions(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        seen.append(str(function))
        return function(*args, **(kwargs or {}))


class Operators(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        seen.append(str(function))
        return function(*args, **(kwargs or {}))


seen: list[str] = []
LISTENERS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "function mode": Functions,
    "dispatch mode": Operators,
    "profiler": torch.profiler.profile,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "dual level": torch.autograd.forward_ad.dual_level,
    "default device": lambda: torch.device("cpu"),
}


@pytest.mark.parametrize("listener", LISTENERS)
def test_whoever_listens_sees_the_operator(listener: str, operators_called: list[str]) -> None:
    x = torch.rand(1, 2, 6, 6)
    assert is_unobserved(x)
    seen.clear()
    with LISTENERS[listener]() as context:
        assert not is_unobserved(x)
        found = F.max_pool2d(x, 2)
    assert operators_called == ["max_pool2d"]
    assert torch.equal(found, T.max_pool2d(x, 2))
    if "mode" in listener:
        assert any("pooling.max_pool2d" in each for each in seen)
    if listener == "profiler":
        assert "pooling::max_pool2d" in {each.key for each in context.key_averages()}
    assert is_unobserved(x)


def test_backward_under_a_mode_is_seen() -> None:
    x = torch.rand(1, 2, 6, 6, requires_grad=True)
    y = F.max_pool2d(x, 2)
    seen.clear()
    with Operators():
        y.sum().backward()
    assert any("pooling.max_pool2d_backward" in each for each in seen)


def test_subclasses_see_the_function_and_are_kept() -> None:
    calls = []

    class Mine(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            calls.append(str(function))
            return super().__torch_function__(function, types, args, kwargs or {})

    x = torch.rand(1, 2, 6, 6).as_subclass(Mine)
    found = F.max_pool2d(x, 2)
    assert type(found) is Mine
    assert any("pooling.max_pool2d" in each for each in calls)
    assert torch.equal(found.as_subclass(torch.Tensor), T.max_pool2d(x.as_subclass(torch.Tensor), 2))


def test_traced_by_the_old_tracer() -> None:
    def net(x: Any) -> Any:
        return F.max_pool2d(x, 2) + F.avg_pool2d(x, 2)

    x = torch.rand(1, 2, 6, 6)
    traced = torch.jit.trace(net, x)
    assert "pooling::max_pool2d" in str(traced.graph)
    other = torch.rand(1, 2, 6, 6)
    assert torch.equal(traced(other), net(other))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_both_ways_give_the_same_bits_and_strides(name: str) -> None:
    function = FUNCTIONS[name]
    n = function.dimensions or 2
    sizes = {"kernel_size": 2, "output_size": 3, "norm_type": 3.0}
    given = {each: sizes[each] for each in function.names if each in sizes}
    x = torch.rand(2, 3, *[7] * n).to(memory_format=torch.channels_last if n == 2 else torch.preserve_format)
    outcomes = []
    for mode in (nullcontext, Operators):
        each = x.clone().requires_grad_()
        with mode():
            y = getattr(F, name)(each, **given)
            torch.manual_seed(0)
            (gradient,) = torch.autograd.grad(y, each, torch.randn(y.shape), create_graph=True)
        outcomes.append((y, gradient))
    (first, of_first), (second, of_second) = outcomes
    assert torch.equal(first, second)
    assert torch.equal(of_first, of_second)
    assert first.stride() == second.stride()
    assert of_first.stride() == of_second.stride()


def test_threads_and_saved_tensor_hooks() -> None:
    x = torch.rand(1, 2, 6, 6, requires_grad=True)
    packed = []

    def pack(each: Any) -> Any:
        packed.append(each.shape)
        return each.clone()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda each: each):
        y = F.max_pool2d(x, 2)
    assert packed == [x.shape]
    (found,) = torch.autograd.grad(y.sum(), x)
    (expected,) = torch.autograd.grad(T.max_pool2d(x, 2).sum(), x)
    assert torch.equal(found, expected)
    (found,) = torch.autograd.grad(
        torch.utils.checkpoint.checkpoint(lambda each: F.max_pool2d(each, 2), x, use_reentrant=False).sum(), x
    )
    assert torch.equal(found, expected)


def test_linear_poolings_keep_no_input() -> None:
    kept = []
    x = torch.rand(1, 2, 6, 6, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each) or each, lambda each: each):
        F.avg_pool2d(x, 2)
        F.adaptive_avg_pool2d(x, 2)
        F.blur_pool2d(x)
        F.global_avg_pool(x)
    assert kept == []
    # Those that leave NaN out depend on where they are.
    with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each) or each, lambda each: each):
        F.avg_pool2d(x, 2, nan="ignore")
    assert len(kept) == 1


def test_names_of_operators_say_what_their_last_argument_is() -> None:
    assert all(each.names[-1] == "nan" for each in FUNCTIONS.values() if "nan" in each.names)
    assert set(operators.LINEAR) <= {each.operator.name for each in FUNCTIONS.values()}
    assert all(hasattr(pooling, name) for name in FUNCTIONS)
