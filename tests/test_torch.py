"""`pooling.torch` beside PyTorch: results, gradients of any order, compiled, exported, in batches of batches."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import pooling

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.autograd import gradcheck, gradgradcheck  # noqa: E402

from pooling.torch import functional as F  # noqa: E402
from pooling.torch import nn as ours  # noqa: E402
from pooling.torch import patch, unpatch  # noqa: E402
from pooling.torch.operators import FRACTIONAL, FUNCTIONS, UNPOOLING, Function  # noqa: E402

T = torch.nn.functional
GIVEN: dict[str, Any] = {
    "ceil_mode": True,
    "count_include_pad": True,
    "divisor_override": None,
    "norm_type": 3.0,
    "p": 3.0,
    "eps": 1e-6,
    "nan": "propagate",
    "padding_mode": "reflect",
}


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler, about itself
        yield


def arguments_of(function: Function, dimensions: int) -> list[Any]:
    sizes = {
        "kernel_size": [3] * dimensions,
        "stride": [2] * dimensions,
        "padding": [1, 0] * dimensions,
        "dilation": [1] * dimensions,
        "output_size": [3] * dimensions,
    }
    return [{**GIVEN, **sizes}[name] for name in function.names]


def input_of(function: Function, dtype: Any = torch.float64, batch: int = 2) -> Any:
    dimensions = function.dimensions or 2
    # Apart from one another, so that a small step does not change which is the greatest; and away from 0.
    count = batch * 2 * 6**dimensions
    values = torch.randperm(count).reshape(batch, 2, *[6] * dimensions).to(dtype) / count + 0.1
    return values if function.operator.name == "gem_pool" else values * (2 * (torch.rand(values.shape) > 0.5) - 1)


every = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


# --- operators -------------------------------------------------------------------------------------------------------


@every
def test_operators_keep_what_pytorch_asks_of_them(function: Function) -> None:
    x = input_of(function).requires_grad_()
    arguments = arguments_of(function, function.dimensions or 2)
    torch.library.opcheck(function.pool, (x, *arguments))
    places: tuple[Any, ...] = ()
    if function.operator.indices:
        torch.library.opcheck(function.pool_with_indices, (x, *arguments))
        places = (None,)
    grad = torch.randn_like(function.pool(x, *arguments)).requires_grad_()
    torch.library.opcheck(function.gradient, (grad, x, *places, *arguments))


@every
def test_results_are_those_of_the_functions_to_the_bit(function: Function) -> None:
    arguments = arguments_of(function, function.dimensions or 2)
    pool, backward = getattr(pooling, function.name), getattr(pooling, f"{function.name}_backward")
    for dtype in (torch.float16, torch.float32, torch.float64):
        x = input_of(function, dtype)
        y = function.pool(x, *arguments)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y.numpy(), pool(x.numpy(), **function.keywords(arguments)))
        grad = torch.randn_like(y)
        given = backward(grad.numpy(), x.numpy(), **function.keywords(arguments))
        expected = given[0] if isinstance(given, tuple) else given
        x.requires_grad_()
        (found,) = torch.autograd.grad(function.pool(x, *arguments), x, grad)
        np.testing.assert_array_equal(found.numpy(), expected)


@every
def test_gradients_of_any_order(function: Function) -> None:
    x = input_of(function).requires_grad_()
    arguments = arguments_of(function, function.dimensions or 2)
    assert gradcheck(lambda each: function.pool(each, *arguments), (x,))
    assert gradgradcheck(lambda each: function.pool(each, *arguments), (x,))


@every
def test_batches_of_batches(function: Function) -> None:
    arguments = arguments_of(function, function.dimensions or 2)
    x = torch.stack([input_of(function), input_of(function)])

    def pool(each: Any) -> Any:
        return function.pool(each, *arguments)

    torch.testing.assert_close(torch.vmap(pool)(x), torch.stack([pool(each) for each in x]), rtol=0, atol=0)
    torch.testing.assert_close(torch.vmap(pool, in_dims=1)(x.movedim(0, 1)), torch.vmap(pool)(x), rtol=0, atol=0)
    one = torch.func.grad(lambda each: pool(each).sum())
    torch.testing.assert_close(torch.vmap(one)(x), torch.stack([one(each) for each in x]), rtol=0, atol=0)
    two = torch.func.grad(lambda each: (one(each) ** 2).sum())
    torch.testing.assert_close(torch.vmap(two)(x), torch.stack([two(each) for each in x]))


@pytest.mark.parametrize("name", UNPOOLING)
def test_unpooling(name: str) -> None:
    n = UNPOOLING[name]
    x = torch.randn(1, 2, *[4] * n, dtype=torch.float64)
    y, indices = getattr(F, f"max_pool{n}d")(x, 2, return_indices=True)
    y = y.detach().requires_grad_()
    unpool: Callable[..., Any] = getattr(F, name)
    assert torch.equal(unpool(y, indices, 2), getattr(T, name)(y, indices, 2))
    assert torch.equal(unpool(y, indices, 2, output_size=x.shape), unpool(y, indices, 2))
    torch.library.opcheck(getattr(torch.ops.pooling, name).default, (y, indices, [4] * n))
    assert gradcheck(lambda each: unpool(each, indices, 2), (y,))
    assert gradgradcheck(lambda each: unpool(each, indices, 2), (y,))


@pytest.mark.parametrize("name", FRACTIONAL)
def test_fractional_pooling(name: str) -> None:
    n = FRACTIONAL[name]
    count = 2 * 5**n
    x = torch.randperm(count).reshape(1, 2, *[5] * n).double().requires_grad_()
    samples = torch.rand(1, 2, n, dtype=torch.float64)
    pool: Callable[..., Any] = getattr(F, name)
    given = {"output_size": 3, "_random_samples": samples}
    found = pool(x, 2, return_indices=True, **given)
    expected = getattr(T, name)(x, 2, return_indices=True, **given)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    assert gradcheck(lambda each: pool(each, 2, **given), (x,))
    assert gradgradcheck(lambda each: pool(each, 2, **given), (x,))
    torch.library.opcheck(getattr(torch.ops.pooling, name).default, (x, samples, [2] * n, [3] * n))
    assert pool(x, 2, output_ratio=0.5).shape == (1, 2, *[2] * n)


# --- functions beside those of torch ---------------------------------------------------------------------------------


CALLS = {
    "max_pool": [{"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 2}, {"kernel_size": 3, "dilation": 2}],
    "avg_pool": [
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
        {"kernel_size": 2, "stride": 2, "ceil_mode": True},
    ],
    "adaptive_max_pool": [{"output_size": 4}, {"output_size": 1}],
    "adaptive_avg_pool": [{"output_size": 4}, {"output_size": 1}],
    "lp_pool": [{"norm_type": 2.0, "kernel_size": 2}, {"norm_type": 2, "kernel_size": 3, "stride": 2}],
}


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("family", CALLS)
def test_results_and_gradients_are_those_of_torch(family: str, dimensions: int, memory_format: str) -> None:
    formats = {2: torch.channels_last, 3: torch.channels_last_3d}
    if memory_format == "channels_last" and dimensions not in formats:
        pytest.skip("torch has it for maps and volumes")
    for keywords in CALLS[family]:
        x = torch.randn(2, 3, *[9] * dimensions)
        if memory_format == "channels_last":
            x = x.to(memory_format=formats[dimensions])
        first, second = x.clone().requires_grad_(), x.clone().requires_grad_()
        found = getattr(F, f"{family}{dimensions}d")(first, **keywords)
        expected = getattr(T, f"{family}{dimensions}d")(second, **keywords)
        torch.testing.assert_close(found, expected)
        if memory_format == "channels_last" and min(found.shape[2:]) > 1 and family != "lp_pool":
            assert found.is_contiguous(memory_format=formats[dimensions])
        grad = torch.randn_like(expected)
        found.backward(grad)
        expected.backward(grad)
        torch.testing.assert_close(first.grad, second.grad)


def test_what_torch_lacks() -> None:
    x = torch.randn(1, 2, 7, 7)
    assert F.max_pool2d(x, 3, 2, padding="same").shape == (1, 2, 4, 4)
    asymmetric = F.avg_pool2d(x, 2, padding=[(0, 1), (1, 0)])
    np.testing.assert_array_equal(asymmetric.numpy(), pooling.avg_pool2d(x.numpy(), 2, padding=[(0, 1), (1, 0)]))
    assert torch.equal(F.min_pool2d(x, 3), -T.max_pool2d(-x, 3))
    np.testing.assert_array_equal(F.max_blur_pool2d(x).numpy(), pooling.max_blur_pool2d(x.numpy()))
    assert torch.isfinite(F.avg_pool2d(x.masked_fill(x > 1, float("nan")), 7, nan="ignore")).all()
    halves = x.bfloat16()
    assert torch.equal(F.max_pool2d(halves, 3), T.max_pool2d(halves, 3))


@pytest.mark.parametrize(
    ("make", "kind", "sentence"),
    [
        (lambda x: x.numpy(), TypeError, "max_pool2d: input must be a torch.Tensor, not ndarray"),
        (
            lambda x: x.to_sparse(),
            TypeError,
            "max_pool2d: input has the layout torch.sparse_coo; give input.to_dense()",
        ),
        (lambda x: x.to(torch.complex64), TypeError, "max_pool2d: input has dtype complex64, which is not accepted"),
        (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8), TypeError, "max_pool2d: input is quantised"),
        (lambda x: x[0, 0, 0], ValueError, "max_pool2d: "),
        (lambda x: x[..., :1, :1], ValueError, "max_pool2d: "),
    ],
)
def test_tensors_that_cannot_be_pooled(make: Callable[[Any], Any], kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind) as caught:
        F.max_pool2d(make(torch.randn(1, 2, 6, 6)), 3)
    assert str(caught.value).startswith(sentence)


def test_a_change_between_forward_and_backward_is_seen() -> None:
    x = torch.randn(1, 2, 6, 6, requires_grad=True)
    between = x * 1
    y = F.max_pool2d(between, 2)
    between.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


# --- compiled and exported -------------------------------------------------------------------------------------------


class Net(nn.Module):
    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(x.relu(), 3, 2, 1, ceil_mode=True)
        return F.adaptive_avg_pool2d(F.avg_pool2d(x, 2), 1).flatten(1)


def test_compiled_whole() -> None:
    x = torch.randn(2, 3, 17, 17, requires_grad=True)
    compiled = torch.compile(Net(), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), Net()(x))
    (found,), (expected,) = (torch.autograd.grad(each(x).sum(), x) for each in (compiled, Net()))
    torch.testing.assert_close(found, expected)


def test_exported_with_open_sizes() -> None:
    sizes = {2: torch.export.Dim("height", min=8, max=200), 3: torch.export.Dim("width", min=8, max=200)}
    program = torch.export.export(Net(), (torch.randn(1, 3, 17, 17),), dynamic_shapes=(sizes,))
    for size in (16, 31, 64):
        x = torch.randn(1, 3, size, size + 1)
        torch.testing.assert_close(program.module()(x), Net()(x))


# --- patch -----------------------------------------------------------------------------------------------------------


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(8, 8, 3), nn.AvgPool2d(2), nn.LPPool2d(3, 2),
        nn.AdaptiveAvgPool2d(1),
    )  # fmt: skip


def test_a_network_is_patched_and_unpatched() -> None:
    model = network()
    x = torch.rand(2, 3, 33, 33)
    before = model[:5](x)
    state = model.state_dict()
    report = patch(model, always=True)  # its maps are small
    assert [each.name for each in report.replaced] == ["2", "4", "6"]
    assert [(each.name, each.reason) for each in report.left] == [
        ("5", "norm_type=3: PyTorch sums powers with their signs, pooling sums those of magnitudes")
    ]
    assert str(report).splitlines()[0] == "3 modules replaced, 1 left as they are"
    assert type(model[2]) is not nn.MaxPool2d
    assert isinstance(model[2], nn.MaxPool2d)
    torch.testing.assert_close(model[:5](x), before)
    assert model.state_dict().keys() == state.keys()
    assert patch(model, always=True).replaced == ()
    duplicate = copy.deepcopy(model)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    for other in (duplicate, torch.load(buffer, weights_only=False)):
        torch.testing.assert_close(other[:5](x), before)
        assert unpatch(other) == 3
    assert unpatch(model) == 3
    assert type(model[2]) is nn.MaxPool2d
    assert unpatch(model) == 0
    assert torch.equal(model[:5](x), before)


class Mine(nn.MaxPool2d):
    def forward(self, input: Any) -> Any:
        return -super().forward(-input)


class Calls(nn.Module):
    def forward(self, x: Any) -> Any:
        return T.max_pool2d(x, 2)


def test_what_patch_leaves_is_told() -> None:
    taken = nn.MaxPool2d(2)
    taken.forward = lambda input: input  # type: ignore[method-assign]
    report = patch(nn.Sequential(Mine(2), Calls(), taken, ours.MaxPool2d(2)))
    assert [each.reason for each in report.left] == [
        "a subclass of MaxPool2d with a forward of its own",
        "calls max_pool2d",
        "its forward was replaced already",
    ]
    with pytest.raises(TypeError, match=r"^patch: model must be a torch\.nn\.Module, not list; call patch on each$"):
        patch([])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in ours.__all__ if hasattr(nn, name)])
def test_modules_are_those_of_torch(name: str) -> None:
    dimensions = int(name[-2])
    given = {"LPPool": (2, 2), "Fractional": (2, 3), "Adaptive": (3,)}
    arguments = next((each for begin, each in given.items() if name.startswith(begin)), (2,))
    mine, theirs = getattr(ours, name)(*arguments), getattr(nn, name)(*arguments)
    assert repr(mine) == repr(theirs)
    assert isinstance(mine, type(theirs))
    x = torch.rand(2, 3, *[8] * dimensions)
    if "Unpool" in name:
        y, indices = getattr(T, f"max_pool{dimensions}d")(x, 2, return_indices=True)
        assert torch.equal(mine(y, indices), theirs(y, indices))
    elif "Fractional" not in name:
        torch.testing.assert_close(mine(x), theirs(x))
    else:
        assert mine(x).shape == theirs(x).shape


def test_training_with_and_without_patch_gives_the_same_losses() -> None:
    def losses(change: Callable[[nn.Module], Any]) -> list[float]:
        torch.manual_seed(1)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
            nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
        )  # fmt: skip
        change(model)
        optimiser = torch.optim.SGD(model.parameters(), 0.1)
        found = []
        for step in range(20):
            generator = torch.Generator().manual_seed(step)
            x, wanted = torch.randn(8, 3, 16, 16, generator=generator), torch.randint(4, (8,), generator=generator)
            loss = T.cross_entropy(model(x), wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            found.append(loss.item())
        return found

    np.testing.assert_allclose(losses(patch), losses(lambda model: None), rtol=1e-4)
