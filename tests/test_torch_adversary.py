"""What tensors, calls and classes that are out of the ordinary do to `pooling.torch`."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import pooling.torch  # noqa: E402
from pooling.torch import functional as F  # noqa: E402
from pooling.torch import patch, unpatch  # noqa: E402

# --- memory that is held ---------------------------------------------------------------------------------------------


@pytest.fixture
def no_collection() -> Iterator[None]:
    """What is freed here is freed by its references alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


REFUSED = {
    "large window": lambda x: F.max_pool2d(x, 99),
    "padding": lambda x: F.max_pool2d(x, 2, padding=7),
    "with a gradient": lambda x: F.max_pool2d(x.requires_grad_(), 99),
    "operator": lambda x: torch.ops.pooling.max_pool2d(x, [99, 99], [2, 2], [0] * 4, [1, 1], False, "propagate"),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, 0),
    "norm": lambda x: F.lp_pool2d(x, -1.0, 2),
    "subclass": lambda x: F.max_pool2d(x.as_subclass(Subclass), 99),
    "indices": lambda x: F.max_unpool2d(x, torch.full((1, 1, 8, 8), 999), 2),
    "sparse": lambda x: F.max_pool2d(x.to_sparse(), 2),
    "complex": lambda x: F.avg_pool2d(x.to(torch.complex64), 2),
}


class Subclass(torch.Tensor):  # type: ignore[misc, unused-ignore]
    """One that changes nothing."""


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("name", REFUSED)
def test_a_call_that_is_refused_holds_no_tensor(name: str) -> None:
    x = torch.zeros(1, 1, 8, 8)
    seen = weakref.ref(x)
    try:
        REFUSED[name](x)
    except (TypeError, ValueError):
        del x
    assert seen() is None


@pytest.mark.usefixtures("no_collection")
def test_a_call_that_is_refused_holds_no_array() -> None:
    class Array(np.ndarray[Any, Any]):
        """One that can be referred to weakly."""

    class Unreadable:
        """No array."""

        def __array__(self, *_: Any, **__: Any) -> Any:
            raise ValueError("no")

    makers: list[Any] = [lambda: np.zeros((1, 1, 8, 8)).view(Array), Unreadable]
    for make in makers:
        x = make()
        seen = weakref.ref(x)
        try:
            pooling.max_pool2d(x, 99)
        except (TypeError, ValueError):
            del x
        assert seen() is None


# --- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("good", "bad"), [(2, 2.0), (1, True), ((2, 2), (2, 2.0)), ([1, 1], [True, 1])])
def test_an_argument_is_refused_also_after_one_that_equals_it(good: Any, bad: Any) -> None:
    x = torch.zeros(1, 1, 8, 8)
    for call in (lambda size: F.max_pool2d(x, size), lambda size: torch.vmap(lambda each: F.max_pool2d(each, size))(x)):
        call(good)
        with pytest.raises(TypeError, match="kernel_size"):
            call(bad)


def test_arrays_as_sizes() -> None:
    x = torch.rand(2, 3, 8, 8)
    size = np.array([2, 4])
    expected = F.max_pool2d(x, (2, 4))
    assert torch.equal(F.max_pool2d(x, size), expected)  # type: ignore[arg-type]
    assert torch.equal(torch.vmap(lambda each: F.max_pool2d(each, size))(x), expected)  # type: ignore[arg-type]
    model = nn.MaxPool2d(size)  # type: ignore[arg-type]
    assert patch(model, always=True).replaced
    assert torch.equal(model(x), expected)


def test_one_entry_holds_for_all_axes_of_a_window() -> None:
    (row,) = patch(nn.MaxPool2d((6,)), always=True).modules
    assert row.under_compile  # 36 elements


@pytest.mark.parametrize(
    "given",
    [
        {"kernel_size": 0},
        {"kernel_size": 3, "stride": 0},
        {"kernel_size": 3, "padding": -1},
        {"kernel_size": 3, "dilation": 0},
    ],
)
def test_operators_refuse_windows_without_looking_at_elements(given: dict[str, int]) -> None:
    found = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1} | given
    lists = [[found[name]] * count for name, count in zip(found, (2, 2, 4, 2), strict=True)]
    name = list(given)[-1]
    for device in ("cpu", "meta"):
        x = torch.zeros(1, 1, 8, 8, device=device)
        with pytest.raises(ValueError, match=f"max_pool2d: {name}=.* must be at least"):
            torch.ops.pooling.max_pool2d(x, *lists, False, "propagate")


# --- memory formats --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("kind", ["MaxPool", "AvgPool", "LPPool", "AdaptiveMaxPool", "AdaptiveAvgPool"])
def test_results_without_a_batch_can_be_viewed_as_those_of_torch(kind: str, n: int) -> None:
    arguments = (2.0, 2) if kind == "LPPool" else (2,)
    model = getattr(nn, f"{kind}{n}d")(*arguments)
    values = torch.rand(*[8] * n, 3)
    results = []
    for patched in (False, True):
        if patched:
            assert patch(model, always=True).replaced
        x = values.movedim(-1, 0).requires_grad_()
        y = model(x)
        y.sum().backward()
        results.append((y, x.grad))
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected)
    # Only torch's maximum of volumes has other strides here.
    assert results[0][0].is_contiguous() or (kind, n) == ("MaxPool", 3)
    assert results[1][0].is_contiguous()


@pytest.mark.parametrize("kind", ["MaxPool", "AvgPool", "LPPool", "AdaptiveMaxPool", "AdaptiveAvgPool"])
def test_the_report_names_volumes_whose_memory_format_differs(kind: str) -> None:
    model = getattr(nn, f"{kind}3d")(*((2.0, 2) if kind == "LPPool" else (2,)))
    x = torch.rand(2, 3, 8, 8, 8).to(memory_format=torch.channels_last_3d)
    theirs = model(x)
    report = patch(model, always=True)
    differs = model(x).stride() != theirs.stride()
    assert any("channels_last_3d" in rule for rule in report.rules) is differs


# --- classes ---------------------------------------------------------------------------------------------------------


class Reduced(nn.MaxPool2d):
    """One that tells pickles how it is called."""

    def __reduce__(self) -> Any:
        return type(self), (self.kernel_size,)


class Sealed(nn.MaxPool2d):
    """One that refuses subclasses."""

    def __init_subclass__(cls) -> None:
        raise RuntimeError("no subclasses")


def test_classes_that_say_how_they_are_called() -> None:
    model = Reduced(2)
    patch(model, always=True)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert type(other) is type(model)
        assert other.kernel_size == 2
        assert unpatch(other) == 1
        assert type(other) is Reduced


def test_classes_that_refuse_subclasses_are_left() -> None:
    model = nn.Sequential(nn.MaxPool2d(2), Sealed(2), nn.MaxPool2d(2))
    report = patch(model, always=True)
    assert [(row.name, row.replaced) for row in report.modules] == [("0", True), ("1", False), ("2", True)]
    assert report.modules[1].reason == "its class cannot be changed"
    assert unpatch(model) == 2


def test_scripts_of_patched_modules_say_what_to_do() -> None:
    model = nn.Sequential(nn.MaxPool2d(2))
    patch(model)
    with pytest.raises(RuntimeError, match=r"MaxPool2d of the model is patched.*call unpatch\(model\) before"):
        torch.jit.script(model)
    unpatch(model)
    assert torch.jit.script(model)(torch.zeros(1, 1, 4, 4)).shape == (1, 1, 2, 2)


# --- open sizes ------------------------------------------------------------------------------------------------------


def test_exports_with_ceil_mode_hold_for_sizes_with_and_without_cells_behind_them() -> None:
    class Norm(nn.Module):
        def forward(self, x: Any) -> Any:
            return F.lp_pool2d(x, 2, 3, 2, ceil_mode=True)

    sizes = {2: torch.export.Dim("h", min=8, max=64), 3: torch.export.Dim("w", min=8, max=64)}
    program = torch.export.export(Norm(), (torch.rand(1, 2, 16, 16),), dynamic_shapes=(sizes,))
    graph = program.run_decompositions(pooling.torch.decompositions()).module()
    for size in ((16, 16), (17, 16), (16, 19), (21, 9)):
        x = torch.rand(1, 2, *size)
        torch.testing.assert_close(graph(x), Norm()(x))


def test_unpooling_to_an_open_size_is_one_graph() -> None:
    def there_and_back(x: Any) -> Any:
        values, indices = F.max_pool2d(x, 2, return_indices=True)
        return F.max_unpool2d(values, indices, 2, output_size=x.shape[2:])

    compiled = torch.compile(there_and_back, backend="eager", fullgraph=True, dynamic=True)
    for size in ((8, 8), (9, 12), (13, 10)):
        x = torch.rand(1, 2, *size)
        assert torch.equal(compiled(x), there_and_back(x))
