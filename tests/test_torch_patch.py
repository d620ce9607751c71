"""`pooling.torch.patch`: what it replaces, what it leaves and says of it, and that networks compute what they did."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from pooling.torch import functional as F  # noqa: E402
from pooling.torch import nn as ours  # noqa: E402
from pooling.torch import patch, patched, unpatch  # noqa: E402
from pooling.torch.patching import FIRST_NAN, NO_ELEMENT, NO_OVERFLOW, SURVIVOR  # noqa: E402

T = torch.nn.functional


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
        ("0.1", "MaxPool2d", "scripted; call patch before torch.jit.script")
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
    for function in (patch, unpatch):
        with pytest.raises(TypeError, match=rf"^{function.__name__}: model must be a torch\.nn\.Module, not str$"):
            function("model")  # type: ignore[arg-type]


def test_patching_twice_says_so() -> None:
    model = network()
    assert len(patch(model).replaced) == 4
    report = patch(model)
    assert (report.replaced, report.before) == ((), 4)
    assert str(report) == "0 modules replaced, 0 left as they are, 4 patched before"
    assert (unpatch(model), unpatch(model)) == (4, 0)


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
    with pytest.raises(RuntimeError, match=r"^patch: the model does not run on tensors without memory"):
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
        assert set(report.rules) == {FIRST_NAN, NO_OVERFLOW, SURVIVOR}
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
    assert report.notes[0].startswith("under torch.compile, 2 of these are left to Inductor")
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


# --- the report ------------------------------------------------------------------------------------------------------


def test_the_rules_are_those_of_what_was_replaced() -> None:
    assert patch(nn.Sequential(nn.AvgPool2d(2), nn.AdaptiveAvgPool1d(1))).rules == ()
    assert patch(nn.MaxPool2d(2)).rules == (FIRST_NAN,)
    assert patch(nn.MaxPool2d(2, dilation=(1, 2))).rules == (FIRST_NAN, NO_ELEMENT)
    assert patch(nn.Sequential(nn.MaxUnpool2d(2), nn.LPPool1d(4, 2))).rules == (SURVIVOR, NO_OVERFLOW)


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
            "under torch.compile, 1 of these is left to Inductor, which fuses windows of up to 25 elements, and "
            "adaptive ones, with what is around them",
        ]
    )
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
