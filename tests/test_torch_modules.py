"""The modules of `pooling.torch.nn`: beside those of torch, copied, pickled, shown; and the examples in docstrings."""

from __future__ import annotations

import copy
import doctest
import io
import pickle
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import pooling  # noqa: E402
from pooling.torch import decompositions, functional, nn  # noqa: E402, F401

MINE = [name for name in nn.__all__ if not hasattr(torch.nn, name)]
ARGUMENTS = {"LPPool": (3, 2), "Fractional": (2, 3), "Adaptive": (3,), "Global": (), "Blur": (), "GeM": ()}


def module_of(name: str) -> Any:
    return getattr(nn, name)(*next((each for begin, each in ARGUMENTS.items() if name.startswith(begin)), (2,)))


def input_of(name: str) -> tuple[Any, ...]:
    torch.manual_seed(0)
    n = int(name[-2])
    x = torch.rand(2, 3, *[8] * n)
    return getattr(torch.nn.functional, f"max_pool{n}d")(x, 2, return_indices=True) if "Unpool" in name else (x,)


def test_every_pooling_module_of_torch_is_there_and_every_layer_of_pooling() -> None:
    of_torch = set(torch.nn.modules.pooling.__all__)
    assert of_torch <= set(nn.__all__)
    layers = {name for name in dir(pooling) if name[0].isupper() and name.endswith("d") and "Pool" in name}
    assert layers <= set(nn.__all__) | {"FractionalMaxPool1d"}


@pytest.mark.parametrize("name", nn.__all__)
def test_modules_are_copied_pickled_and_shown(name: str) -> None:
    module, given = module_of(name), input_of(name)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    others = [copy.deepcopy(module), pickle.loads(pickle.dumps(module)), torch.load(buffer, weights_only=False)]
    other = module_of(name)
    other.load_state_dict(module.state_dict())
    for each in [*others, other]:
        torch.manual_seed(1)
        found = each(*given)
        torch.manual_seed(1)
        assert torch.equal(found, module(*given))
        assert repr(each) == repr(module)
    assert repr(module).startswith(f"{name}(")
    assert list(module.state_dict()) == (["p"] if name == "GeMPool2d" else [])
    assert not torch.nn.Sequential(module).eval().training


@pytest.mark.parametrize("name", MINE)
def test_modules_that_torch_lacks_are_layers_of_pooling(name: str) -> None:
    (x,) = input_of(name)
    expected = getattr(pooling, name)(*([2] if name.startswith("Min") else []))(x.numpy())
    torch.testing.assert_close(module_of(name)(x).detach(), torch.from_numpy(expected))
    assert not any(
        isinstance(module_of(name), getattr(torch.nn, f"{kind}Pool{n}d")) for kind in ("Max", "Avg") for n in "123"
    )


def test_paddings_of_pooling_in_modules_of_torch() -> None:
    x = torch.rand(1, 2, 9, 9)
    same = nn.MaxPool2d(3, 2, "same")
    assert same(x).shape == (1, 2, 5, 5)
    assert repr(same) == "MaxPool2d(kernel_size=3, stride=2, padding=same, dilation=1, ceil_mode=False)"
    pairs = nn.AvgPool2d(2, 1, [(0, 1), (1, 0)])
    assert pairs(x).shape == x.shape


def test_global_modules_ask_for_their_axes() -> None:
    with pytest.raises(
        ValueError, match=r"^GlobalAvgPool2d: input of shape \(.*\) has 3 axes; it must have 4; give input\[None\]"
    ):
        nn.GlobalAvgPool2d()(torch.rand(1, 2, 3))
    assert repr(nn.GlobalAvgPool2d(nan="ignore")) == "GlobalAvgPool2d(nan='ignore')"
    assert repr(nn.GlobalMaxPool1d()) == "GlobalMaxPool1d()"


def test_the_power_of_a_generalised_mean_is_trained() -> None:
    pool = nn.GeMPool2d(2.0)
    x = torch.rand(2, 3, 5, 5, dtype=torch.float64)
    pool.double()(x).sum().backward()
    step = 1e-6
    with torch.no_grad():
        slope = (functional.gem_pool2d(x, 2 + step).sum() - functional.gem_pool2d(x, 2 - step).sum()) / (2 * step)
    torch.testing.assert_close(pool.p.grad.squeeze(), slope, rtol=1e-6, atol=1e-8)
    assert list(nn.GeMPool2d(trainable=False).parameters()) == []
    assert repr(pool) == "GeMPool2d(p=2, eps=1e-06, trainable=True)"


@pytest.mark.parametrize("name", ["functional", "nn", "operators", "dispatch", "decompositions", "patching"])
def test_examples(name: str) -> None:
    module = __import__(f"pooling.torch.{name}", fromlist=["_"])
    assert doctest.testmod(module).failed == 0
