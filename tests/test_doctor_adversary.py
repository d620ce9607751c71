"""Networks that the doctor once got wrong: fields that ended without a word, findings of one form only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from pooling.doctor import examine  # noqa: E402


class Net(nn.Module):
    """Some layers and a function of them and of the input."""

    def __init__(self, function: Callable[[Any, Any], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


def reach(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the most rows and columns of the input that any place of the result depends on, by NaN."""
    module = module.double()
    most = []
    for axis in range(2, len(shape)):
        seen: Any = 0
        for place in range(shape[axis]):
            x = torch.rand(shape, dtype=torch.float64)
            x.select(axis, place).fill_(float("nan"))
            with torch.no_grad():
                seen = seen + module(x).isnan().long()
        most.append(int(seen.max()))
    module.float()
    return tuple(most)


def codes(result: Any) -> set[str]:
    return {each.code for each in result.findings}


def blocks_of(x: Any) -> Any:
    return x.reshape(1, 3, 4, 4, 4, 4).permute(0, 2, 4, 1, 3, 5)


def rows_of_blocks(m: Any, x: Any) -> Any:
    return m.last(m.dense(blocks_of(m.stem(x))).permute(0, 3, 1, 4, 2, 5).reshape(1, 3, 16, 16))


def transform_of_blocks(m: Any, x: Any) -> Any:
    found = m.dense(m.dense(blocks_of(m.stem(x))).transpose(-1, -2)).transpose(-1, -2)
    return m.last(found.permute(0, 3, 1, 4, 2, 5).reshape(1, 3, 16, 16))


def columns_to_channels(m: Any, x: Any) -> Any:
    found = m.wide(m.stem(x).reshape(1, 3, 16, 4, 4)).permute(0, 1, 4, 2, 3).reshape(1, 15, 16, 4)
    return m.of_channels(found)


@pytest.mark.parametrize("function", [rows_of_blocks, transform_of_blocks, columns_to_channels])
def test_a_product_over_the_places_of_a_block_mixes_them(function):
    torch.manual_seed(0)
    layers = {"stem": nn.Conv2d(3, 3, 1), "dense": nn.Linear(4, 4), "last": nn.Conv2d(3, 4, 3, padding=1)}
    more = {"wide": nn.Linear(4, 5), "of_channels": nn.Conv2d(15, 4, 3, padding=1)}
    module = Net(function, **layers, **more).eval()
    result = examine(module, input_shape=(1, 3, 16, 16))
    field = result.network.stages[-1].receptive_field
    assert not result.network.losses
    assert field is not None
    assert tuple(min(size, 16) for size in field.size) == reach(module, (1, 3, 16, 16))


@pytest.mark.parametrize(
    "squeezed", [lambda x: x.squeeze(2), lambda x: x[:, :, 0], lambda x: x.reshape(1, 4, -1), lambda x: x.flatten(2)]
)
def test_a_row_of_cells_without_its_axis_is_still_a_row(squeezed):
    module = Net(lambda m, x: m.last(squeezed(m.stem(x))), stem=nn.Conv2d(1, 4, (6, 3)), last=nn.Conv1d(4, 4, 5)).eval()
    result = examine(module, input_shape=(1, 1, 6, 20))
    last = result.network.stages[-1]
    assert last.receptive_field is not None
    assert last.receptive_field.size == reach(module, (1, 1, 6, 20)) == (6, 7)


def test_a_product_over_all_columns_is_told_where_a_map_is_made_of_it():
    module = Net(
        lambda m, x: m.last(m.dense(m.stem(x)).transpose(-1, -2).flatten(1, 2)),
        stem=nn.Conv2d(3, 4, 3, padding=1),
        dense=nn.Linear(16, 5),
        last=nn.Conv1d(20, 4, 3),
    )
    result = examine(module.eval(), input_shape=(1, 3, 16, 16))
    assert [loss.operator for loss in result.network.losses] == ["MatMul"]
    assert "D901" in codes(result)
    assert not codes(result) & {"D201", "D202", "D203"}


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("cells", [4, 8])
def test_an_adaptive_maximum_of_even_windows_aliases_as_a_maximum_does(count, cells):
    convolution = getattr(nn, f"Conv{count}d")
    found = []
    for pool in (getattr(nn, f"AdaptiveMaxPool{count}d")(cells), getattr(nn, f"MaxPool{count}d")(16 // cells)):
        module = nn.Sequential(convolution(2, 3, 3, padding=1), pool, convolution(3, 3, 3, padding=1))
        result = examine(module.eval(), input_shape=(1, 2, *[16] * count))
        found.append([(each.stage, each.message, each.fixes) for each in result.findings if each.code == "D401"])
    assert found[0] == found[1]
    assert len(found[0]) == 1


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d(4), nn.AvgPool2d(4), nn.AdaptiveMaxPool2d(1)])
def test_averages_and_global_maxima_are_not_told_of(pool):
    module = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), pool)
    assert "D401" not in codes(examine(module.eval(), input_shape=(1, 2, 16, 16)))
