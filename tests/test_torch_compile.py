"""`pooling.torch` compiled, exported, and under the transforms of `torch.func`."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from pooling.torch import functional as F  # noqa: E402
from pooling.torch import patch  # noqa: E402
from pooling.torch.operators import FUNCTIONS  # noqa: E402

T = torch.nn.functional


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    torch.manual_seed(0)
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler, about itself
        yield


class Net(nn.Module):
    """Every family, with padding that depends on the size of the input."""

    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(x.relu(), 3, 2, padding="same") + F.min_pool2d(x, 3, 2, 1)
        x = F.avg_pool2d(x, 2, 1, [(0, 1), (1, 0)], count_include_pad=False)
        x = F.max_pool2d(F.blur_pool2d(x, stride=1) + F.lp_pool2d(x, 3, 3, 1, padding=1), 2, 2, ceil_mode=True)
        return F.adaptive_max_pool2d(x, (2, 1)).flatten(1) + F.adaptive_avg_pool2d(x, 2)[..., 0, :].flatten(1)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_whole_with_open_sizes(backend: str) -> None:
    compiled = torch.compile(Net(), fullgraph=True, backend=backend, dynamic=True)
    with torch._dynamo.config.patch(error_on_recompile=False):
        for size, last in (((18, 20), False), ((23, 26), False), ((18, 20), True)):
            x = torch.randn(2, 3, *size).to(memory_format=torch.channels_last if last else torch.contiguous_format)
            x = x.requires_grad_()
            found, expected = compiled(x), Net()(x)
            torch.testing.assert_close(found, expected)
            (mine,), (its,) = (torch.autograd.grad(each.sum(), x) for each in (found, expected))
            torch.testing.assert_close(mine, its)
            assert mine.stride() == its.stride()


@pytest.mark.parametrize("ci", ["true", ""])
def test_compiled_from_nothing_where_tests_run(ci: str) -> None:
    """Inductor raised AssertionError of decompositions where CI is set, in the first compilation of a process."""
    code = (
        "import torch; from pooling.torch import functional as F\n"
        "net = torch.compile(lambda x: F.max_pool2d(x.relu(), 3, 2, 1) + F.avg_pool2d(x, 3, 2, 1), fullgraph=True)\n"
        "x = torch.rand(1, 2, 9, 9, requires_grad=True)\n"
        "net(x).sum().backward(); print(x.grad.shape)"
    )
    given = {**os.environ, "CI": ci, "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    run = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "torch.Size([1, 2, 9, 9])"


@pytest.mark.parametrize("family", ["max_pool", "avg_pool", "lp_pool", "adaptive_max_pool", "adaptive_avg_pool"])
def test_compiled_in_one_and_three_dimensions(family: str) -> None:
    arguments = {"lp_pool": (3.0, 2), "adaptive_max_pool": (3,), "adaptive_avg_pool": (3,)}.get(family, (3, 2, 1))
    for n in (1, 3):
        function = getattr(F, f"{family}{n}d")

        def net(x: Any, function: Any = function) -> Any:
            return function(x * 2, *arguments)

        x = torch.randn(2, 3, *[8] * n, requires_grad=True)
        compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), net(x))
        (found,), (expected,) = (torch.autograd.grad(each(x).sum(), x) for each in (compiled, net))
        torch.testing.assert_close(found, expected)


def test_compiled_under_autocast_and_without_gradients() -> None:
    x = torch.rand(1, 2, 8, 8)

    def net(x: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return F.max_pool2d(x @ x, 2)

    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert compiled(x).dtype is torch.bfloat16
    with torch.inference_mode():
        torch.testing.assert_close(compiled(x), net(x))


def test_exported_with_open_sizes_and_saved(tmp_path: Any) -> None:
    sizes = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    program = torch.export.export(Net(), (torch.randn(2, 3, 17, 19),), dynamic_shapes=(sizes,))
    torch.export.save(program, str(tmp_path / "net.pt2"))
    program = torch.export.load(str(tmp_path / "net.pt2"))
    for size in (18, 31, 64):
        x = torch.randn(2, 3, size, size + 2)
        torch.testing.assert_close(program.module()(x), Net()(x))


def test_exported_with_a_size_that_depends_on_values() -> None:
    class Chosen(nn.Module):
        def forward(self, x: Any, mask: Any) -> Any:
            return F.max_pool2d(x[mask], 2)

    x, mask = torch.randn(4, 3, 8, 8), torch.tensor([True, False, True, True])
    program = torch.export.export(Chosen(), (x, mask))
    assert torch.equal(program.module()(x, ~mask), T.max_pool2d(x[~mask], 2))


# --- transforms ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_transforms_of_transforms(name: str) -> None:
    function = FUNCTIONS[name]
    n = function.dimensions or 2
    sizes = {"kernel_size": 2, "output_size": 2, "norm_type": 3.0}
    given = {each: sizes[each] for each in function.names if each in sizes}
    count = 2 * 2 * 3 * 4**n
    x = (torch.randperm(count).reshape(2, 2, 3, *[4] * n).double() + 1) / count
    tangent = torch.randn_like(x)

    def pool(each: Any) -> Any:
        return getattr(F, name)(each, **given)

    def squares(each: Any) -> Any:
        return (pool(each) ** 2).sum()

    one = x[0]
    step = 1e-6
    # Along a tangent, against differences.
    _, along = torch.func.jvp(pool, (one,), (tangent[0],))
    differences = (pool(one + step * tangent[0]) - pool(one - step * tangent[0])) / (2 * step)
    torch.testing.assert_close(along, differences, rtol=1e-5, atol=1e-6)
    # Second derivatives along a tangent, forward over reverse, reverse over reverse, and differences.
    slope = torch.func.grad(squares)
    _, forward = torch.func.jvp(slope, (one,), (tangent[0],))
    reverse = torch.func.grad(lambda each: (slope(each) * tangent[0]).sum())(one)
    differences = (slope(one + step * tangent[0]) - slope(one - step * tangent[0])) / (2 * step)
    torch.testing.assert_close(forward, differences, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(reverse, differences, rtol=1e-4, atol=1e-5)

    # Reverse over forward, and forward over forward: of the squares of what is along the tangent.
    def squared(each: Any) -> Any:
        return (torch.func.jvp(pool, (each,), (tangent[0],))[1] ** 2).sum()

    differences = (squared(one + step * tangent[1]) - squared(one - step * tangent[1])) / (2 * step)
    torch.testing.assert_close((torch.func.grad(squared)(one) * tangent[1]).sum(), differences, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(torch.func.jvp(squared, (one,), (tangent[1],))[1], differences, rtol=1e-3, atol=1e-4)
    # Each of a batch by itself.
    torch.testing.assert_close(torch.vmap(slope)(x), torch.stack([slope(each) for each in x]))
    _, batched = torch.vmap(lambda each, of: torch.func.jvp(pool, (each,), (of,)))(x, tangent)
    torch.testing.assert_close(batched[0], along)
    _, pull = torch.func.vjp(pool, one)
    torch.testing.assert_close(pull(torch.ones_like(pool(one)))[0], torch.func.grad(lambda each: pool(each).sum())(one))
    functional = torch.func.functionalize(pool)(one)
    assert torch.equal(functional, pool(one))


def test_whole_jacobians_and_parameters() -> None:
    x = torch.randperm(32).reshape(1, 2, 4, 4).double()
    for transform in (torch.func.jacrev, torch.func.jacfwd):
        found = transform(lambda each: F.max_pool2d(each, 2))(x)
        torch.testing.assert_close(found, transform(lambda each: T.max_pool2d(each, 2))(x))
    hessian = torch.func.hessian(lambda each: (F.avg_pool2d(each, 2) ** 2).sum())(x)
    torch.testing.assert_close(hessian, torch.func.hessian(lambda each: (T.avg_pool2d(each, 2) ** 2).sum())(x))


# --- patched models --------------------------------------------------------------------------------------------------


def test_no_gradient_of_a_mean_is_left_to_inductor_that_it_has_wrong() -> None:
    for module in (nn.AvgPool1d(3, 2, ceil_mode=True), nn.AvgPool2d(3, 2, 1, True), nn.AvgPool3d(2, ceil_mode=True)):
        n = int(type(module).__name__[-2])
        x = torch.randn(2, 3, *[8 if n < 3 else 5] * n, requires_grad=True)
        (expected,) = torch.autograd.grad(module(x).square().sum(), x)
        model = nn.Sequential(module)
        report = patch(model, always=True)
        assert report.replaced[0].under_compile
        found = torch.compile(model, fullgraph=True)(x)
        (gradient,) = torch.autograd.grad(found.square().sum(), x)
        torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_means_are_left_to_inductor_where_that_is_right(ceil_mode: bool) -> None:
    seen: list[str] = []

    def backend(graph: Any, inputs: Any) -> Any:
        seen.append(graph.code)
        return graph.forward

    model = nn.Sequential(nn.AvgPool2d(3, 2, ceil_mode=ceil_mode))
    patch(model, always=True)
    x = torch.randn(1, 2, 8, 8)
    for differentiated, given in ((False, x), (True, x.clone().requires_grad_())):
        torch._dynamo.reset()
        torch.compile(model, fullgraph=True, backend=backend)(given)
        assert ("pooling" in seen[-1]) == (differentiated and ceil_mode)
    torch._dynamo.reset()
    with torch.no_grad():
        torch.compile(model, fullgraph=True, backend=backend)(x.requires_grad_())
    assert "pooling" not in seen[-1]
