"""`pooling.torch.patch`: what it replaces, what it leaves and says of it, and that networks compute what they did."""

from __future__ import annotations

import copy
import functools
import io
import math
import pickle
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from pooling.torch import functional as F  # noqa: E402
from pooling.torch import nn as ours  # noqa: E402
from pooling.torch import patch as patch_where_worth  # noqa: E402
from pooling.torch import patched as patched_where_worth  # noqa: E402
from pooling.torch import unpatch, worth  # noqa: E402
from pooling.torch.patching import FIRST_NAN, NO_ELEMENT, NO_OVERFLOW, SURVIVOR, ZERO_BESIDE_NAN  # noqa: E402

T = torch.nn.functional
# Tests of what is computed have small inputs.
patch = functools.partial(patch_where_worth, always=True)
patched = functools.partial(patched_where_worth, always=True)


class Named(nn.MaxPool2d):
    """Only its arguments are its own."""

    def __init__(self) -> None:
        super().__init__(3, 2, padding=1)


class Negated(nn.MaxPool2d):
    def forward(self, input: Any) -> Any:
        return -super().forward(-input)


def helper(x: Any) -> Any:
    return T.avg_pool2d(x, 2, ceil_mode=True)


class Functional(nn.Module):
    """Calls functions: itself, in a method, in a helper, with indices, and one that sums signs."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.pool = nn.MaxPool2d(2)

    def branch(self, x: Any) -> Any:
        return torch.max_pool2d(x, 3, 1, 1)

    def forward(self, x: Any) -> Any:
        x = self.branch(self.convolution(x))
        y, indices = T.max_pool2d(x, 2, return_indices=True)
        x = T.max_unpool2d(y, indices, 2)
        return T.lp_pool2d(T.adaptive_avg_pool2d(helper(self.pool(x)), 3), norm_type=3, kernel_size=2)


class Calls:
    """Counts calls of the kernels of `pooling`, whoever makes them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        name = "pool" if hasattr(F, "pool") else "_run"
        inner = getattr(F, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            return inner(*args, **kwargs)

        monkeypatch.setattr(F, name, counting)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    """Let PyTorch use one thread: where the machine is busy, its calls wait for the others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2), nn.Dropout(0.5),
        nn.LPPool2d(2, 2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4),
    )  # fmt: skip


# --- what is replaced, and what is left ------------------------------------------------------------------------------


def test_a_subclass_that_computes_the_same_is_replaced_and_keeps_its_class(calls: Calls) -> None:
    module = Named()
    x = torch.randn(1, 2, 9, 9)
    expected = module(x)
    report = patch(module)
    assert [(each.name, each.module, each.replaced) for each in report.modules] == [("", "Named", True)]
    assert isinstance(module, Named)
    assert type(module).__name__ == "Named"
    assert torch.equal(module(x), expected)
    assert calls.count == 1
    assert unpatch(module) == 1
    assert type(module) is Named


def test_what_has_a_forward_of_its_own_is_left(calls: Calls) -> None:
    taken = nn.MaxPool2d(2)
    taken.forward = lambda input: input  # type: ignore[method-assign]
    model = nn.Sequential(Negated(2), taken, nn.LPPool2d(3, 2), nn.LPPool2d(2, 2, ceil_mode=True), ours.MaxPool2d(2))
    report = patch(model)
    assert report.replaced == ()
    assert [each.reason.partition(":")[0] for each in report.left] == [
        "a subclass of MaxPool2d with a forward of its own",
        "its forward was replaced already",
        "norm_type=3",
        "ceil_mode=True",
    ]
    x = torch.randn(1, 1, 40, 40)
    assert torch.equal(model[0](x), -T.max_pool2d(-x, 2))
    assert calls.count == 0


def test_scripted_and_quantised_modules_are_left() -> None:
    report = patch(nn.Sequential(torch.jit.script(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)))))
    assert report.replaced == ()
    assert [(each.name, each.module, each.reason) for each in report.left] == [
        (
            "0.1",
            "MaxPool2d",
            "scripted: TorchScript cannot call pooling; patch the model that was given to torch.jit.script",
        )
    ]
    x = torch.quantize_per_tensor(torch.randn(1, 2, 6, 6), 0.1, 10, torch.quint8)
    pool = nn.MaxPool2d(2)
    expected = pool(x)
    patch(pool)
    assert torch.equal(pool(x).dequantize(), expected.dequantize())


def test_a_module_with_two_names_is_one_row() -> None:
    pool = nn.MaxPool2d(2)
    model = nn.Sequential(pool, nn.ReLU(), pool)
    report = patch(model)
    assert [each.name for each in report.modules] == ["0, 2"]
    assert unpatch(model) == 1


def test_hooks_run_as_before(calls: Calls) -> None:
    pool = nn.MaxPool2d(2)
    seen = []
    pool.register_forward_pre_hook(lambda module, inputs: seen.append("before"))
    pool.register_forward_hook(lambda module, inputs, output: seen.append("after") or output + 1)
    pool.register_full_backward_hook(lambda module, inputs, outputs: seen.append("gradient"))
    patch(pool)
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    y = pool(x)
    assert torch.equal(y, T.max_pool2d(x, 2) + 1)
    y.sum().backward()
    assert seen == ["before", "after", "gradient"]
    assert calls.count == 1


def test_nothing_to_patch_and_nothing_to_unpatch() -> None:
    model = nn.Linear(2, 2)
    assert str(patch(model)) == "nothing was replaced: the model has no pooling modules"
    assert unpatch(model) == 0
    for function in (patch_where_worth, unpatch):
        with pytest.raises(TypeError, match=rf"^{function.__name__}: model must be a torch\.nn\.Module, not str$"):
            function("model")  # type: ignore[arg-type]


def test_patching_twice_says_so() -> None:
    model = network()
    assert len(patch(model).replaced) == 4
    report = patch(model)
    assert (report.replaced, report.before) == ((), 4)
    assert str(report) == "0 modules replaced, 0 left as they are, 4 patched before"
    assert (unpatch(model), unpatch(model)) == (4, 0)


# --- what it computes ------------------------------------------------------------------------------------------------


def drawn(random_: random.Random, kind: str, n: int) -> nn.Module:
    """Draw a module of a kind, with any of its arguments."""
    sizes = tuple(random_.randint(1, 4) for _ in range(n))
    kernel: Any = random_.choice([sizes, sizes[0]])
    taps = kernel if isinstance(kernel, tuple) else (kernel,) * n
    stride = random_.choice([None, random_.randint(1, 3), tuple(random_.randint(1, 3) for _ in range(n))])
    padding = random_.choice([0, tuple(random_.randint(0, tap // 2) for tap in taps)])
    ceil_mode, indexed = random_.random() < 0.4, random_.random() < 0.5
    module = getattr(nn, f"{kind}{n}d")
    if kind == "MaxPool":
        return module(kernel, stride, padding, random_.choice([1, 1, 2]), indexed, ceil_mode)  # type: ignore[no-any-return]
    if kind == "AvgPool":
        include = random_.random() < 0.5
        divisor = () if n == 1 else (random_.choice([None, None, 3, 7]),)
        return module(kernel, stride, padding, ceil_mode, include, *divisor)  # type: ignore[no-any-return]
    if kind == "LPPool":
        sizes = (kernel, stride) if n > 1 else (taps[0], random_.choice([None, 1, 2]))
        return module(random_.choice([2, 2.0, 4]), *sizes)  # type: ignore[no-any-return]
    cells = tuple(random_.choice([1, 1, 2, 3, 5, 9, None] if n > 1 else [1, 2, 5, 9]) for _ in range(n))
    output: Any = random_.choice([cells, cells[0]]) if n > 1 else cells[0]
    return module(output, indexed) if kind == "AdaptiveMaxPool" else module(output)  # type: ignore[no-any-return]


def laid_out(random_: random.Random, values: Any, n: int) -> Any:
    """Put the elements of a tensor somewhere else in memory."""
    way = random_.choice(["contiguous", "channels_last", "slices", "swapped", "offset", "expanded", "unbatched"])
    if way == "channels_last" and n > 1:
        return values.to(memory_format=torch.channels_last if n == 2 else torch.channels_last_3d)
    if way == "slices":
        wide = torch.stack([values, values * 0], -1).flatten(-2)
        return wide[..., ::2]
    if way == "swapped":
        return values.transpose(-1, 1).contiguous().transpose(-1, 1)
    if way == "offset":
        return torch.cat([values[:1] * 0, values])[1:]
    if way == "expanded":
        return values[:1].expand_as(values)
    return values[0] if way == "unbatched" else values


TOLERANCE = {torch.float16: 4e-3, torch.bfloat16: 3e-2, torch.float32: 1e-5, torch.float64: 1e-13}


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("kind", ["MaxPool", "AvgPool", "LPPool", "AdaptiveMaxPool", "AdaptiveAvgPool"])
def test_results_and_gradients_are_those_of_pytorch(kind: str, n: int, calls: Calls) -> None:
    random_ = random.Random(f"{kind}{n}")
    torch.manual_seed(n)
    compared = 0
    for _ in range(150):
        theirs = drawn(random_, kind, n)
        mine = copy.deepcopy(theirs)
        patch(mine)
        # Powers in half precision are 0 and infinity soon.
        dtype = random_.choice(list(TOLERANCE)[2 * (kind == "LPPool") :])
        shape = (random_.randint(1, 3), random_.randint(1, 5), *(random_.randint(4, 9) for _ in range(n)))
        # Some ties, but no gradient of a norm where it has none.
        values = torch.randn(shape) if kind == "LPPool" else torch.randint(-20, 20, shape) / 4 + torch.rand(()) / 8
        x = laid_out(random_, values.to(dtype), n).detach()
        x, y = (x.detach().requires_grad_() for _ in range(2))
        try:
            expected = theirs(x)
        except (RuntimeError, NotImplementedError, TypeError):  # too small, or what PyTorch does not have here
            continue
        compared += 1
        found = mine(y)
        note = f"{theirs} of {tuple(x.shape)}, strides {x.stride()}, {dtype}"
        if isinstance(expected, tuple):
            assert torch.equal(found[1], expected[1]), note
            assert found[1].dtype == expected[1].dtype
            found, expected = found[0], expected[0]
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype), note
        last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim, torch.contiguous_format)
        if x.is_contiguous() or (x.ndim == n + 2 and x.is_contiguous(memory_format=last)):
            # PyTorch's means and norms of volumes do not keep the channels last.
            assert found.is_contiguous(memory_format=last) or not expected.is_contiguous(memory_format=last), note
        tolerance = 0 if "Max" in kind else TOLERANCE[dtype]
        grad = torch.randn_like(expected)
        gradients = [torch.autograd.grad(each, of, grad)[0] for each, of in ((found, y), (expected, x))]
        if dtype in (torch.float16, torch.bfloat16) and "Avg" in kind:
            # PyTorch adds up some of these in half precision.
            exact = x.detach().double().requires_grad_()
            wide = theirs(exact)
            gradients[1] = torch.autograd.grad(wide, exact, grad.double())[0].to(dtype)
            expected = wide.to(dtype)
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance, msg=lambda text: f"{note}: {text}")  # noqa: B023
        # Overlapping windows add up here in float32, there in half precision.
        tolerance = TOLERANCE[dtype] * 8
        torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance, msg=lambda text: f"{note}: {text}")  # noqa: B023
    assert compared > 75
    assert calls.count == compared


@pytest.mark.parametrize("n", [1, 2, 3])
def test_unpooling_and_random_windows_are_those_of_pytorch(n: int) -> None:
    torch.manual_seed(n)
    for dtype in (torch.float32, torch.float64):
        for size in (None, [7] * n, (2, 3, *[7] * n)):
            x = torch.randn(2, 3, *[6 if size is None else 7] * n).to(dtype)
            values, indices = getattr(T, f"max_pool{n}d")(x, 2, return_indices=True)
            found: list[Any] = []
            for module in (getattr(nn, f"MaxUnpool{n}d")(2), getattr(nn, f"MaxUnpool{n}d")(2)):
                if found:
                    assert patch(module).replaced
                x = values.clone().requires_grad_()
                y = module(x, indices, output_size=size)
                found.append((y, torch.autograd.grad(y, x, torch.ones_like(y).cumsum(-1))[0]))
            assert all(torch.equal(mine, theirs) for mine, theirs in zip(*found, strict=True))
        if n == 1:
            continue
        samples = torch.rand(2, 3, n).to(dtype)
        found = []
        for module in (getattr(nn, f"FractionalMaxPool{n}d") for _ in range(2)):
            made = module(2, output_size=3, return_indices=True, _random_samples=samples)
            if found:
                assert patch(made).replaced
            x = torch.randn(2, 3, *[7] * n, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
            y, places = made(x)
            found.append((y, places, torch.autograd.grad(y.square().sum(), x)[0]))
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(*found, strict=True))


def test_pooled_and_unpooled_by_any_of_both() -> None:
    # Indices of either are those of the other.
    x = torch.randn(2, 3, 8, 8)
    expected = nn.MaxUnpool2d(2)(*nn.MaxPool2d(2, return_indices=True)(x))
    for ways in ((True, False), (False, True), (True, True)):
        pool, back = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        for module, way in zip((pool, back), ways, strict=True):
            if way:
                patch(module)
        assert torch.equal(back(*pool(x)), expected)


# --- what is worth it ------------------------------------------------------------------------------------------------


def test_small_calls_are_left_to_pytorch(calls: Calls) -> None:
    pool = nn.MaxPool2d(2)
    (row,) = patch_where_worth(pool).replaced
    forward, gradient, *_ = worth.LEAST["max_pool2d"]
    assert forward is not None
    assert gradient is not None
    assert forward < gradient
    assert row.least.startswith(
        f"input from {math.ceil(forward):,} elements ({math.ceil(gradient):,} where it requires grad)"
    )

    def of_elements(count: float, grad: bool) -> Any:
        return torch.randn(1, 1, math.ceil(count / 64), 64, requires_grad=grad)

    for least, grad in ((forward, False), (gradient, True)):
        calls.count = 0
        small, large = of_elements(least - 64, grad), of_elements(least, grad)
        assert torch.equal(pool(small), T.max_pool2d(small, 2))
        assert calls.count == 0
        assert torch.equal(pool(large), T.max_pool2d(large, 2))
        assert calls.count == 1
    with torch.no_grad():
        pool(of_elements(forward, True))
    assert calls.count == 2


def test_functional_calls_are_left_by_the_same_rule(calls: Calls) -> None:
    least = worth.LEAST["max_pool2d"][0]
    assert least is not None
    small, large = torch.randn(1, 1, 2, 4), torch.randn(1, 1, math.ceil(least / 64), 64)
    with patched_where_worth():
        T.max_pool2d(small, 2)
        T.adaptive_max_pool2d(small, 2)
        assert calls.count == 0
        T.max_pool2d(large, kernel_size=[2, 2])
        torch.max_pool2d(large, (2, 2), ())
        assert calls.count == 2


def test_what_never_is_worth_it_is_left_and_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    never = "PyTorch takes less time for it at every size that was measured"
    report = patch_where_worth(nn.Sequential(nn.FractionalMaxPool2d(2, 3), nn.LPPool2d(4, 2), nn.AdaptiveAvgPool2d(1)))
    assert report.replaced == ()
    assert [each.reason for each in report.left] == [never] * 3
    monkeypatch.setitem(worth.LEAST, "max_pool2d", (100, None, None, 900))
    (row,) = patch_where_worth(nn.MaxPool2d(3, 2)).replaced
    assert row.least == (
        "input from 45 elements, unless it requires grad; in channels_last from 400 elements, where it requires grad"
    )
    assert row.least in str(patch_where_worth(nn.MaxPool2d(3, 2)))
    assert row.least in patch_where_worth(nn.MaxPool2d(3, 2))._repr_html_()
    assert "calls on smaller inputs take less time by PyTorch" in patch_where_worth(nn.MaxPool2d(3, 2)).notes[-1]
    assert not any("smaller inputs" in note for note in patch(nn.MaxPool2d(3, 2)).notes)


def test_every_kind_of_the_rule_is_one_that_modules_have() -> None:
    kinds = {
        worth.kind_and_overlap(worth.function_of(type(module)), module)[0]
        for n in (1, 2, 3)
        for kind in ("MaxPool", "AvgPool", "LPPool", "AdaptiveMaxPool", "AdaptiveAvgPool")
        for module in (drawn(random.Random(seed), kind, n) for seed in range(200))
    }
    assert {each for each in worth.LEAST if "unpool" not in each} <= kinds


def test_the_rule_may_be_changed_in_place(calls: Calls) -> None:
    model = network()
    x = torch.randn(1, 3, 40, 40)
    model.eval()(x)
    patch_where_worth(model)
    assert patch(model).before == 0
    assert patch(model).before == 4
    calls.count = 0
    model(x)
    assert calls.count == 4
    assert unpatch(model) == 4


# --- tensors that are left -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.to("meta"),
        lambda x: x.to(torch.complex64),
        lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8),
        lambda x: (x * 10).to(torch.int64),
        lambda x: x > 0,
        lambda x: x.to_sparse(),
        lambda x: x.numpy(),
        lambda x: x[..., 0, 0, 0],
        lambda x: x[:0],
        lambda x: x[:, :0],
        lambda x: x[..., :0],
    ],
    ids=["meta", "complex", "quantised", "integers", "bool", "sparse", "array", "rank", "batch", "channels", "width"],
)
@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2), nn.AdaptiveMaxPool2d(2)])
def test_any_tensor_gives_what_it_gave_or_an_error_of_python(pool: nn.Module, make: Callable[[Any], Any]) -> None:
    x = make(torch.randn(2, 3, 6, 6))
    try:
        expected = pool(x)
    except Exception as error:
        expected = error
    again = copy.deepcopy(pool)
    patch(again)
    if not isinstance(expected, Exception):
        found = again(x)
        assert (found.dtype, found.device, found.shape) == (expected.dtype, expected.device, expected.shape)
        if found.device.type == "cpu" and not found.is_quantized:
            torch.testing.assert_close(found, expected)
        return
    try:
        found = again(x)
    except (TypeError, ValueError, RuntimeError):
        return
    # Where PyTorch refuses, for want of a kernel, this is what may be had besides: maps of nothing, maxima of integers.
    assert found.numel() == 0 or found.dtype == torch.int64
    if found.numel():
        assert "Max" in type(pool).__name__
        torch.testing.assert_close(found, pool(x.double()).long())


def test_forward_derivatives_and_traces_are_those_of_pytorch(calls: Calls) -> None:
    pool = nn.MaxPool2d(2)
    patch(pool)
    x, tangent = torch.randn(1, 1, 4, 4), torch.randn(1, 1, 4, 4)
    found = torch.func.jvp(pool, (x,), (tangent,))
    expected = torch.func.jvp(lambda each: T.max_pool2d(each, 2), (x,), (tangent,))
    assert all(map(torch.equal, found, expected))
    traced = torch.jit.trace(pool, x, check_trace=False)
    assert "aten::max_pool2d" in str(traced.inlined_graph)
    assert torch.equal(traced(x), T.max_pool2d(x, 2))
    assert calls.count == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_autocast_gives_the_precision_that_pytorch_gives(dimensions: int, dtype: Any) -> None:
    kinds = ("MaxPool", "AvgPool", "AdaptiveMaxPool", "AdaptiveAvgPool", "LPPool")
    with torch.autocast("cpu", dtype):
        for kind in kinds:
            arguments = (2, 2) if kind == "LPPool" else (2,)
            pool = getattr(nn, f"{kind}{dimensions}d")(*arguments)
            for given in (dtype, torch.float32):
                x = torch.rand(2, 3, *[4] * dimensions).to(given).requires_grad_()
                expected = pool(x)
                patch(pool)
                found = pool(x)
                with patched():
                    also = getattr(T, f"{kind_of(kind)}{dimensions}d")(x, *arguments)
                unpatch(pool)
                assert (found.dtype, also.dtype) == (expected.dtype, expected.dtype)
                # The powers of PyTorch's norms are of half precision.
                torch.testing.assert_close(found, expected, **({"rtol": 2e-2, "atol": 0} if kind == "LPPool" else {}))
                assert torch.autograd.grad(found.sum(), x)[0].dtype == given


def kind_of(module: str) -> str:
    return {
        "MaxPool": "max_pool",
        "AvgPool": "avg_pool",
        "AdaptiveMaxPool": "adaptive_max_pool",
        "AdaptiveAvgPool": "adaptive_avg_pool",
        "LPPool": "lp_pool",
    }[module]


# --- functional calls ------------------------------------------------------------------------------------------------


EXPECTED = ("adaptive_avg_pool2d", "avg_pool2d", "lp_pool2d", "max_pool2d", "max_pool2d", "max_unpool2d")


def test_functional_calls_are_found_in_the_source_and_by_an_example() -> None:
    model = nn.Sequential(Functional())
    example = torch.randn(1, 3, 40, 40)
    for given in ({}, {"example": example}, {"example": (example,)}):
        report = patch(model, **given)
        (left,) = report.left
        assert (left.name, left.functions) == ("0", EXPECTED)
        assert report.notes[-1] == (
            "6 functional calls left: adaptive_avg_pool2d, avg_pool2d, lp_pool2d, max_pool2d (2), max_unpool2d; "
            "patch(model, functional=True) or a block of patched() replaces them"
        )
        assert [each.name for each in report.replaced] == ["0.pool"]
        unpatch(model)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_an_example_changes_nothing_and_a_wrong_one_is_told() -> None:
    model = network()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    patch(model, example=torch.randn(2, 3, 40, 40))
    generator_after = torch.get_rng_state()
    torch.set_rng_state(generator)
    torch.randn(2, 3, 40, 40)
    assert torch.equal(torch.get_rng_state(), generator_after)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert model.training
    unpatch(model)
    with pytest.raises(RuntimeError, match=r"^patch: the model does not run on fake tensors with this example: "):
        patch(model, example=torch.randn(2, 5, 40, 40))
    assert unpatch(model) == 0


@pytest.mark.parametrize("way", ["functional", "block"])
def test_functional_calls_are_replaced(way: str, calls: Calls) -> None:
    model = nn.Sequential(Functional())
    x = torch.randn(2, 3, 40, 40, requires_grad=True)
    expected = model(x)
    if way == "functional":
        report = patch(model, functional=True)
        assert report.left == ()
        assert [each.module for each in report.replaced] == ["Functional", "MaxPool2d"]
        assert set(report.rules) == {FIRST_NAN, NO_OVERFLOW, SURVIVOR, ZERO_BESIDE_NAN}
        found = model(x)
    else:
        with patched():
            found = model(x)
    assert calls.count == 5  # the norm with signs is left, and unpooling has no run
    torch.testing.assert_close(found, expected)
    grad = torch.randn_like(expected)
    first, second = (torch.autograd.grad(each, x, grad)[0] for each in (found, expected))
    torch.testing.assert_close(first, second)
    calls.count = 0
    T.max_pool2d(x, 2)
    assert calls.count == 0
    assert unpatch(model) == (2 if way == "functional" else 0)
    assert torch.equal(model(x), expected)


def test_a_block_takes_every_function_and_every_way_to_write_its_arguments(calls: Calls) -> None:
    count = 0
    for n in (1, 2, 3):
        x = torch.randn(2, 3, *[6] * n)
        given: dict[str, list[Any]] = {
            f"max_pool{n}d": [
                ((x, 2), {}),
                ((x,), {"kernel_size": 2, "return_indices": True}),
                ((), {"input": x, "kernel_size": 2}),
            ],
            f"avg_pool{n}d": [((x, 2, 2, 0, True), {}), ((x,), {"kernel_size": 2, "count_include_pad": False})],
            f"lp_pool{n}d": [((x, 2, 2), {}), ((x,), {"norm_type": 2.0, "kernel_size": 3, "stride": 2})],
            f"adaptive_max_pool{n}d": [((x, 2), {}), ((x, 2, True), {})],
            f"adaptive_avg_pool{n}d": [((x, 2), {}), ((x,), {"output_size": [None] * n if n > 1 else 2})],
        }  # fmt: skip
        for name, ways in given.items():
            for args, kwargs in ways:
                for place in (T, torch):
                    if not hasattr(place, name) or (place is torch and ("return_indices" in kwargs or "max" in name)):
                        continue
                    expected = getattr(place, name)(*args, **kwargs)
                    with patched():
                        found = getattr(place, name)(*args, **kwargs)
                    count += 1
                    torch.testing.assert_close(found, expected)
        assert calls.count == count
        values, places = getattr(T, f"max_pool{n}d_with_indices")(x, 2)
        with patched():
            found = getattr(T, f"max_pool{n}d_with_indices")(x, 2)
        count += 1
        assert torch.equal(found[0], values)
        assert torch.equal(found[1], places)


def test_a_block_ends_after_an_error_and_may_be_nested(calls: Calls) -> None:
    x = torch.randn(1, 1, 4, 4)
    with patched(), patched():
        assert T.max_pool2d(x, 2).shape == (1, 1, 2, 2)
    with pytest.raises(ValueError, match="max_pool2d"), patched():
        T.max_pool2d(x, 7)
    assert calls.count == 2
    T.max_pool2d(x, 2)
    assert calls.count == 2


# --- copies, files, modes --------------------------------------------------------------------------------------------


def test_copies_and_files_are_patched_too(calls: Calls) -> None:
    model = network()
    model.append(nn.Unflatten(1, (1, 2, 2)))
    model.append(Named())
    model.eval()
    x = torch.randn(2, 3, 40, 40)
    expected = model(x)
    patch(model)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    copies = [
        copy.deepcopy(model),
        copy.copy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(buffer, weights_only=False),
    ]
    for each in copies[:1] + copies[2:]:
        calls.count = 0
        torch.testing.assert_close(each(x), expected)
        assert calls.count == 5
        assert str(each) == str(network().append(nn.Unflatten(1, (1, 2, 2))).append(Named()))
        assert unpatch(each) == 5
        assert torch.equal(each(x), expected)
    assert unpatch(model) == 5
    assert unpatch(copies[1]) == 0  # it has the same modules


def test_a_model_with_functional_calls_is_saved(calls: Calls) -> None:
    model = Functional()
    x = torch.randn(1, 3, 20, 20)
    expected = model(x)
    patch(model, functional=True)
    again = pickle.loads(pickle.dumps(model))
    torch.testing.assert_close(again(x), expected)
    assert calls.count == 5
    assert type(again).__name__ == "Functional"
    assert unpatch(again) == 2


def test_state_dicts_go_from_patched_to_unpatched_and_back() -> None:
    model, other = network(), network()
    names = list(model.state_dict())
    patch(model)
    assert list(model.state_dict()) == names
    with torch.no_grad():
        for each in model.parameters():
            each.add_(1)
    other.load_state_dict(model.state_dict())
    buffer = io.BytesIO()
    torch.save(other.state_dict(), buffer)
    buffer.seek(0)
    model.load_state_dict(torch.load(buffer))
    x = torch.randn(2, 3, 40, 40)
    torch.testing.assert_close(model.eval()(x), other.eval()(x))
    assert not model[3].training
    assert model.train()[3].training
    assert all(each.dtype == torch.float64 for each in model.double().parameters())
    assert model(x.double()).dtype == torch.float64


# --- compiled, exported, traced --------------------------------------------------------------------------------------


def test_compiled_small_windows_are_left_and_large_ones_are_not() -> None:
    model = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(7, 1, 3), nn.AdaptiveAvgPool2d(2))
    x = torch.randn(1, 2, 12, 12)
    expected = model(x)
    report = patch(model)
    assert [each.under_compile for each in report.modules] == [False, True, False]
    assert report.notes[0].startswith("under torch.compile, 2 of the replaced are left to Inductor")
    graphs = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    torch._dynamo.reset()
    found = torch.compile(model, fullgraph=True, backend=backend)(x)
    torch.testing.assert_close(found, expected)
    (graph,) = graphs
    targets = " ".join(str(node.target) for node in graph.graph.nodes)
    assert "pooling" in targets.replace("max_pooling", "")
    assert sum("pooling." in str(node.target) for node in graph.graph.nodes) == 1


def test_exported_graphs_are_those_of_the_unpatched_model() -> None:
    model = network().eval()
    x = torch.randn(1, 3, 40, 40)
    unpatched = [str(node.target) for node in torch.export.export(model, (x,)).graph.nodes]
    patch(model)
    assert [str(node.target) for node in torch.export.export(model, (x,)).graph.nodes] == unpatched


def test_fx_takes_patched_modules_for_whole_steps() -> None:
    model = network().eval()
    before = [(node.op, node.target) for node in torch.fx.symbolic_trace(model).graph.nodes]
    patch(model)
    graph = torch.fx.symbolic_trace(model)
    assert [(node.op, node.target) for node in graph.graph.nodes] == before
    x = torch.randn(1, 3, 40, 40)
    torch.testing.assert_close(graph(x), model(x))


# --- what may happen to a patched model ------------------------------------------------------------------------------


def twin() -> tuple[nn.Module, nn.Module]:
    """Make a network that can be differentiated twice, patched and not."""
    torch.manual_seed(3)
    theirs = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.Tanh(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(3, 3, 3, padding=1), nn.Tanh(),
        nn.LPPool2d(2, 2), nn.AvgPool2d(2, 1, 1), nn.AdaptiveMaxPool2d(3), nn.AdaptiveAvgPool2d(2), nn.Flatten(1),
    ).double()  # fmt: skip
    mine = copy.deepcopy(theirs)
    assert len(patch(mine).replaced) == 5
    return mine, theirs


def example() -> Any:
    return torch.randn(2, 2, 14, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def test_gradients_of_gradients() -> None:
    found = []
    for model in twin():
        x = example().requires_grad_()
        loss = model(x).square().sum()
        first = torch.autograd.grad(loss, [x, *model.parameters()], create_graph=True)
        second = torch.autograd.grad(sum(each.square().sum() for each in first), [x, *model.parameters()])
        found.append((*first, *second))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_a_gradient_penalty_is_right_to_first_order() -> None:
    mine, _ = twin()
    assert torch.autograd.gradgradcheck(mine[2:], torch.randn(1, 3, 9, 9, dtype=torch.float64, requires_grad=True))


def test_transforms_of_functional_calls() -> None:
    from torch.func import functional_call, grad, vmap

    found = []
    for model in twin():
        parameters = dict(model.named_parameters())

        def loss(given: Any, x: Any, model: Any = model) -> Any:
            return functional_call(model, given, (x[None],)).square().sum()

        single = grad(loss)(parameters, example()[0])
        each = vmap(grad(loss), in_dims=(None, 0))(parameters, example())
        found.append((*single.values(), *each.values(), functional_call(model, parameters, (example(),))))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_ensembles_of_patched_models() -> None:
    from torch.func import functional_call, stack_module_state, vmap

    models = [twin() for _ in range(2)]
    found = []
    for side in (0, 1):
        state = stack_module_state([each[side] for each in models])
        base = models[0][side]
        found.append(
            vmap(lambda p, b, x, base=base: functional_call(base, (p, b), (x,)), (0, 0, None))(*state, example())
        )
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


def test_the_compiler_takes_a_patched_model_whole() -> None:
    found = []
    for model in twin():
        torch._dynamo.reset()
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        for size in (14, 18):  # of another shape: dynamic from here on
            x = torch.nn.functional.pad(example(), (0, size - 14)).requires_grad_()
            y = compiled(x)
            found.append((y, *torch.autograd.grad(y.square().sum(), [x, *model.parameters()])))
    for mine, theirs in zip(found[:2], found[2:], strict=True):
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_exported_with_dynamic_sizes_and_to_onnx_as_before() -> None:
    programs = []
    for model in twin():
        batch = torch.export.Dim("batch", min=2)
        program = torch.export.export(model.eval(), (example(),), dynamic_shapes=({0: batch},))
        assert not any("pooling" in str(node.target) for node in program.graph.nodes)
        x = torch.cat([example(), example() * 2])
        torch.testing.assert_close(program.module()(x), model(x))
        programs.append([str(node.target) for node in program.graph.nodes])
    assert programs[0] == programs[1]


def test_anomaly_detection_names_the_module_and_finds_nan() -> None:
    mine, _ = twin()
    with torch.autograd.detect_anomaly(check_nan=True):
        mine(example().requires_grad_()).sum().backward()
        pool = nn.MaxPool2d(2)
        patch(pool)
        x = torch.ones(1, 1, 4, 4, requires_grad=True)
        y = pool(x)
        with pytest.raises(RuntimeError, match="returned nan values"):
            y.backward(torch.full_like(y, float("nan")))


def test_hooks_on_saved_tensors_see_what_is_saved() -> None:
    found = []
    for model in twin():
        with torch.autograd.graph.save_on_cpu(pin_memory=False):
            y = model(example())
        found.append(torch.autograd.grad(y.square().sum(), list(model.parameters())))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "pool",
    [nn.MaxPool2d(2), nn.MaxPool2d(3, 1, 1, return_indices=True), nn.AvgPool2d(2), nn.LPPool2d(2, 2),
     nn.AdaptiveMaxPool2d(2), nn.AdaptiveAvgPool2d(2)],
    ids=str,
)  # fmt: skip
def test_a_change_in_place_is_an_error_or_changes_no_gradient(pool: nn.Module) -> None:
    pool = copy.deepcopy(pool)
    leaf = torch.rand(1, 1, 6, 6, requires_grad=True)

    def gradient(change: bool) -> Any:
        x = leaf * 1
        y = pool(x)
        y = y[0] if isinstance(y, tuple) else y
        if change:
            with torch.no_grad():
                x.copy_(-x)
        return torch.autograd.grad(y.sum(), leaf)[0]

    expected = gradient(False)
    patch(pool)
    torch.testing.assert_close(gradient(False), expected)
    if isinstance(pool, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)):
        # Gradients of means do not depend on what was changed.
        torch.testing.assert_close(gradient(True), expected)
        return
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradient(True)


def test_results_may_be_changed_in_place_as_those_of_pytorch() -> None:
    # nn.ReLU(inplace=True) behind a pooling, which is common.
    found = []
    for way in (False, True):
        model = nn.Sequential(nn.MaxPool2d(2), nn.ReLU(inplace=True), nn.AvgPool2d(2), nn.ReLU(inplace=True))
        if way:
            patch(model)
        x = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
        found.append(torch.autograd.grad(model(x).sum(), x)[0])
    assert torch.equal(*found)


def test_hooks_of_gradients_and_retained_ones() -> None:
    found = []
    for model in twin():
        seen: list[Any] = []
        for module in model:
            module.register_full_backward_pre_hook(lambda module, grads, seen=seen: seen.append(grads[0].clone()))
            module.register_full_backward_hook(lambda module, inputs, grads, seen=seen: seen.append(grads[0].clone()))
        x = example().requires_grad_()
        between = model[:4](x)
        between.retain_grad()
        model[4:](between).square().sum().backward()
        found.append([*seen, between.grad, x.grad])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients(mode: Any) -> None:
    mine, theirs = twin()
    with mode():
        x = example()
        found, expected = mine(x), theirs(x)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert not found.requires_grad
    assert found.is_inference() == expected.is_inference()


@pytest.mark.parametrize("change", [lambda m: m.half(), lambda m: m.bfloat16(), lambda m: m.float(),
                                    lambda m: m.to(memory_format=torch.channels_last)],
                         ids=["half", "bfloat16", "float", "channels_last"])  # fmt: skip
def test_models_of_other_precision_and_format(change: Callable[[Any], Any]) -> None:
    found = []
    for model in twin():
        other = change(model)
        x = example().to(next(other.parameters()).dtype).to(memory_format=torch.channels_last)
        y = other(x)
        found.append(y)
        assert all(isinstance(each, type(kept)) for each, kept in zip(other, model, strict=True))
    tolerance = TOLERANCE[found[0].dtype] * 4
    torch.testing.assert_close(*found, rtol=tolerance, atol=tolerance)


def test_threads_may_share_a_patched_model() -> None:
    mine, theirs = twin()
    inputs = [example() + i for i in range(8)]
    expected = [theirs(x) for x in inputs]
    results: dict[int, list[Any]] = {}

    def work(number: int) -> None:
        results[number] = [mine(x) for x in inputs]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(results) == [0, 1, 2, 3]
    for found in results.values():
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_a_block_holds_for_its_own_thread_alone(calls: Calls) -> None:
    x = torch.randn(1, 1, 4, 4)
    with patched():
        thread = threading.Thread(target=T.max_pool2d, args=(x, 2))
        thread.start()
        thread.join()
    assert calls.count == 0


class Doubled(nn.Module):
    def forward(self, x: Any) -> Any:
        return 2 * x


class Scaled(nn.Module):
    """Has a parameter, and calls a function."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Any) -> Any:
        return T.avg_pool2d(x * self.weight, 2)


def test_parametrised_modules() -> None:
    from torch.nn.utils import parametrize

    x = torch.randn(1, 1, 4, 4)
    expected = T.avg_pool2d(x * 2, 2)
    before = Scaled()
    parametrize.register_parametrization(before, "weight", Doubled())
    (row,) = patch(before, functional=True).modules
    assert not row.replaced
    parametrize.remove_parametrizations(before, "weight", leave_parametrized=True)
    assert type(before) is Scaled
    after = Scaled()
    assert patch(after, functional=True).replaced
    parametrize.register_parametrization(after, "weight", Doubled())
    torch.testing.assert_close(after(x), expected)
    with pytest.raises(RuntimeError, match=r"^unpatch: the class of the model was changed after it was patched"):
        unpatch(after)
    assert patch(after).before == 1
    parametrize.remove_parametrizations(after, "weight", leave_parametrized=True)
    assert unpatch(after) == 1
    assert type(after) is Scaled
    torch.testing.assert_close(after(x), expected)


def test_weights_with_norms_and_lazy_ones(calls: Calls) -> None:
    from torch.nn.utils import parametrizations

    model = nn.Sequential(nn.LazyConv2d(4, 3), parametrizations.weight_norm(nn.Conv2d(4, 4, 3)), nn.MaxPool2d(2))
    assert len(patch(model).replaced) == 1
    x = torch.randn(1, 3, 12, 12)
    found = model(x)
    assert calls.count == 1
    unpatch(model)
    assert torch.equal(model(x), found)


class Stateful(nn.Module):
    """Says itself what is pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.lock: Any = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.lock = threading.Lock()

    def forward(self, x: Any) -> Any:
        with self.lock:
            return T.max_pool2d(x, 2)


def test_what_a_module_says_of_its_state_is_kept(calls: Calls) -> None:
    model = Stateful()
    assert patch(model, functional=True).replaced
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), pickle.loads(pickle.dumps(model, 0))):
        calls.count = 0
        again(torch.randn(1, 1, 4, 4))
        assert calls.count == 1
        assert unpatch(again) == 1


def test_data_parallel_and_averaged_models() -> None:
    mine, theirs = twin()
    parallel = nn.DataParallel(mine)
    torch.testing.assert_close(parallel(example()), theirs(example()), rtol=1e-10, atol=1e-12)
    averaged = torch.optim.swa_utils.AveragedModel(mine)
    averaged.update_parameters(mine)
    torch.testing.assert_close(averaged(example()), theirs(example()), rtol=1e-10, atol=1e-12)
    assert unpatch(averaged) == unpatch(parallel) == 5


def test_subclasses_of_tensors_are_left(calls: Calls) -> None:
    class Tagged(torch.Tensor):
        pass

    pool = nn.MaxPool2d(2)
    patch(pool)
    x = torch.randn(1, 1, 4, 4).as_subclass(Tagged)
    assert type(pool(x)) is Tagged
    assert calls.count == 0


# --- the report ------------------------------------------------------------------------------------------------------


def test_the_rules_are_those_of_what_was_replaced() -> None:
    assert patch(nn.Sequential(nn.AvgPool2d(2), nn.AdaptiveAvgPool1d(1))).rules == ()
    assert patch(nn.MaxPool2d(2)).rules == (FIRST_NAN,)
    assert patch(nn.MaxPool2d(2, dilation=(1, 2))).rules == (FIRST_NAN, NO_ELEMENT)
    assert patch(nn.Sequential(nn.MaxUnpool2d(2), nn.LPPool1d(4, 2))).rules == (SURVIVOR, NO_OVERFLOW, ZERO_BESIDE_NAN)


def test_the_rules_tell_what_happens() -> None:
    nan = float("nan")
    x = torch.tensor([[[1, nan, 2, nan]]])

    def both(module: nn.Module, *inputs: Any) -> tuple[Any, Any]:
        theirs = module(*inputs)
        patch(module)
        return module(*inputs), theirs

    mine, theirs = both(nn.MaxPool1d(4, return_indices=True), x)
    assert (mine[1].item(), theirs[1].item()) == (1, 3)
    mine, theirs = both(nn.MaxPool2d(2, 1, 1, 2, return_indices=True), torch.randn(1, 1, 1, 1))
    assert (mine[1].item(), theirs[1].item()) == (-1, 2)
    y = torch.tensor([[[1.0, 2.0]]], requires_grad=True)
    mine, theirs = both(nn.MaxUnpool1d(2), y, torch.zeros(1, 1, 2, dtype=torch.int64))
    assert mine.tolist() == [[[2, 0, 0, 0]]]
    assert torch.autograd.grad(mine.sum(), y)[0].tolist() == [[[0, 1]]]
    assert torch.autograd.grad(theirs.sum(), y)[0].tolist() == [[[1, 1]]]
    mine, theirs = both(nn.LPPool1d(2, 2), torch.tensor([[[3e20, 4e20]]]))
    assert (mine.item(), theirs.item()) == (pytest.approx(5e20), float("inf"))


def test_the_table_in_text_and_in_a_notebook() -> None:
    model = nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(9), nn.AvgPool2d(9), nn.LPPool2d(1, 2), Negated(2))
    report = patch(model)
    assert str(report) == "\n".join(
        [
            "3 modules replaced, 2 left as they are",
            "  replaced  MaxPool2d    0",
            "  replaced  2 AvgPool2d  1 to 2",
            "  left      LPPool2d     3       norm_type=1: PyTorch sums powers with their signs, pooling sums those "
            "of magnitudes",
            "  left      Negated      4       a subclass of MaxPool2d with a forward of its own",
            f"  rule: {FIRST_NAN}",
            "under torch.compile, 1 of the replaced is left to Inductor, which fuses windows of up to 25 elements, and "
            "adaptive poolings, with the operators around them",
        ]
    )
    assert repr(report) == str(report)
    page = report._repr_html_()
    assert page.count("<tr>") == 6
    assert "a subclass of MaxPool2d" in page
    patch_of_odd_names = nn.Module()
    patch_of_odd_names.add_module("<b>", nn.MaxPool2d(2))
    assert "<b>" not in patch(patch_of_odd_names)._repr_html_()


def test_parameters_elsewhere_are_mentioned() -> None:
    model = network().to("meta")
    report = patch(model)
    assert report.device == "meta"
    assert "parameters are on meta: tensors that are not on the CPU are left to PyTorch" in report.notes
    assert model(torch.randn(2, 3, 40, 40, device="meta")).device.type == "meta"
