"""Receptive fields of maps that are rolled, cut into windows and put together, held against gradients of torch."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pooling.doctor import read_graph
from pooling.doctor.network.graph import step_of
from pooling.doctor.receptive_field import View

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

CHANNELS = 4
Ends = list[tuple[int, int]]


def split(x: Any, side: int) -> Any:
    """Cut a channels-last map into windows of tokens."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height // side, side, width // side, side, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, side * side, channels)


def joined(x: Any, side: int, height: int, width: int) -> Any:
    """Put windows together to a channels-last map."""
    x = x.reshape(-1, height // side, width // side, side, side, x.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, x.shape[-1])


def attention(query: Any, key: Any, value: Any, mask: Any = None) -> Any:
    scores = query @ key.transpose(-2, -1)
    if mask is not None:
        scores = scores + mask
    return scores.softmax(-1) @ value


class Stem(nn.Module):
    """A module that works on patches of two pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, CHANNELS, 2, 2)

    def forward(self, x: Any) -> Any:
        return self.work(self.patches(x))

    def work(self, x: Any) -> Any:
        raise NotImplementedError


class Rolled(Stem):
    def __init__(self, shift: int) -> None:
        super().__init__()
        self.shift = shift

    def work(self, x: Any) -> Any:
        return x.roll((self.shift, self.shift), (2, 3))


class ShiftedWindows(Stem):
    """Attention in windows of a map that has been rolled, with the mask that keeps apart what was no neighbour."""

    def __init__(self, side: int, shift: int) -> None:
        super().__init__()
        self.side, self.shift = side, shift

    def mask(self, height: int, width: int) -> Any:
        parts = torch.zeros(1, height, width, 1)
        cuts = (slice(0, -self.side), slice(-self.side, -self.shift), slice(-self.shift, None))
        for row, rows in enumerate(cuts):
            for column, columns in enumerate(cuts):
                parts[:, rows, columns] = 3 * row + column
        numbers = split(parts, self.side)[..., 0]
        return torch.where(numbers[:, None] == numbers[:, :, None], 0.0, float("-inf"))

    def work(self, x: Any) -> Any:
        x = x.permute(0, 2, 3, 1)
        height, width = x.shape[1:3]
        windows = split(torch.roll(x, (-self.shift, -self.shift), (1, 2)), self.side)
        seen = attention(windows, windows, windows, self.mask(height, width).to(x))
        back = torch.roll(joined(seen, self.side, height, width), (self.shift, self.shift), (1, 2))
        return (x + back).permute(0, 3, 1, 2)


class Halo(Stem):
    """Attention of the cells of a block to a larger window around it."""

    def __init__(self, block: int, halo: int) -> None:
        super().__init__()
        self.block, self.halo = block, halo

    def work(self, x: Any) -> Any:
        block, window = self.block, self.block + 2 * self.halo
        height, width = x.shape[2:]
        query = x.reshape(-1, CHANNELS, height // block, block, width // block, block).permute(0, 2, 4, 3, 5, 1)
        query = query.reshape(-1, height // block * (width // block), block * block, CHANNELS)
        padded = F.pad(x, [self.halo] * 4)
        keys = padded.unfold(2, window, block).unfold(3, window, block)
        keys = keys.reshape(-1, CHANNELS, height // block * (width // block), window * window).permute(0, 2, 3, 1)
        seen = attention(query, keys, keys)
        return joined(seen, block, height, width).permute(0, 3, 1, 2)


class Neighbourhood(Stem):
    """The sum over the windows around each cell, written with unfold."""

    def work(self, x: Any) -> Any:
        windows = F.pad(x, [1, 2, 1, 2]).unfold(2, 4, 2).unfold(3, 4, 2)
        return windows.sum((-1, -2))


class InWindows(Stem):
    """A pooling or a convolution inside of windows, beyond whose border it does not look."""

    def __init__(self, side: int, layer: nn.Module) -> None:
        super().__init__()
        self.side, self.layer = side, layer

    def work(self, x: Any) -> Any:
        x = x.permute(0, 2, 3, 1)
        height, width = x.shape[1:3]
        windows = split(x, self.side).reshape(-1, self.side, self.side, CHANNELS).permute(0, 3, 1, 2)
        found = self.layer(windows).permute(0, 2, 3, 1)
        side = found.shape[1]
        return joined(found, side, height // self.side * side, width // self.side * side).permute(0, 3, 1, 2)


class Interleaved(Stem):
    """A layer that works on every other row and column of a map, all four of such maps in the batch."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def work(self, x: Any) -> Any:
        batch, channels, height, width = x.shape
        x = x.reshape(batch, channels, height // 2, 2, width // 2, 2).permute(0, 3, 5, 1, 2, 4)
        x = self.layer(x.reshape(-1, channels, height // 2, width // 2))
        height, width = x.shape[2:]
        x = x.reshape(batch, 2, 2, channels, height, width).permute(0, 3, 4, 1, 5, 2)
        return x.reshape(batch, channels, 2 * height, 2 * width)


class OddResizes(Stem):
    """Branches that halve a map of odd size and make it as large as before, one behind the other, as in GhostNetV2."""

    def work(self, x: Any) -> Any:
        for _ in range(3):
            half = F.avg_pool2d(x, 2, 2, ceil_mode=True)
            x = x + F.interpolate(half, size=x.shape[2:], mode="nearest")
        return x


class PooledQueries(Stem):
    """Attention in windows whose queries are pooled, as where Hiera makes its map smaller."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def work(self, x: Any) -> Any:
        shortcut = F.max_pool2d(x, 2, 2).permute(0, 2, 3, 1)
        x = x.permute(0, 2, 3, 1)
        height, width = x.shape[1:3]
        windows = split(x, self.side)
        query = windows.reshape(-1, self.side, self.side, CHANNELS).permute(0, 3, 1, 2)
        query = F.max_pool2d(query, 2, 2).permute(0, 2, 3, 1).reshape(windows.shape[0], -1, CHANNELS)
        seen = attention(query, windows, windows)
        return (shortcut + joined(seen, self.side // 2, height // 2, width // 2)).permute(0, 3, 1, 2)


class Lambda(Stem):
    """A convolution over places and single channels, which torch has as one of three axes."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 5, (kernel, kernel, 1), padding=(kernel // 2, kernel // 2, 0))

    def work(self, x: Any) -> Any:
        height, width = x.shape[2:]
        tokens = x.flatten(2).transpose(1, 2)
        position = self.conv(tokens.reshape(-1, 1, height, width, CHANNELS))
        position = position.reshape(-1, 5, height * width, CHANNELS).transpose(1, 2)
        seen = tokens[..., :1].expand(-1, -1, 5).unsqueeze(-2) @ position
        return seen.squeeze(-2).transpose(1, 2).reshape(-1, CHANNELS, height, width)


class SharedQueries(Stem):
    """Queries of a map of the size of a window, the same ones for every window, as in GCViT."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def work(self, x: Any) -> Any:
        whole = F.adaptive_avg_pool2d(x, self.side) if x.shape[2] == self.side else self.reduced(x)
        x = x.permute(0, 2, 3, 1)
        height, width = x.shape[1:3]
        windows = split(x, self.side)
        query = whole.flatten(2).transpose(1, 2)
        query = query.repeat_interleave(windows.shape[0] // query.shape[0], dim=0)
        seen = attention(query, windows, windows)
        return (x + joined(seen, self.side, height, width)).permute(0, 3, 1, 2)

    def reduced(self, x: Any) -> Any:
        step = x.shape[2] // self.side
        return F.avg_pool2d(x, (step, x.shape[3] // self.side))


class Written(Stem):
    """Tokens behind a class token, which are written anew."""

    def __init__(self, *, adds: bool) -> None:
        super().__init__()
        self.adds = adds
        self.token = nn.Parameter(torch.rand(1, 1, CHANNELS))
        self.more = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)

    def work(self, x: Any) -> Any:
        more = self.more(x).flatten(2).transpose(1, 2)
        tokens = torch.cat(
            (self.token.expand(x.shape[0], -1, -1), self.more(self.more(x)).flatten(2).transpose(1, 2)), 1
        )
        if self.adds:
            tokens[:, 1:, :2] += more[:, :, :2]
        else:
            tokens[:, 1:] = more
        return tokens[:, 1:].transpose(1, 2).reshape(x.shape)


def predicted(source: Any, shape: tuple[int, ...]) -> View:
    """Return what the output shows of the input."""
    graph = read_graph(source, shape) if isinstance(source, nn.Module) else read_graph(source)
    graph = graph.at(shape)
    tensors, nodes, _ = graph.started(shape)
    for each in nodes:
        for _ in step_of(each, tensors):
            pass
    view = tensors[graph.outputs[0]].view
    assert view is not None
    assert view.paths, view.lost
    assert view.axes == (2, 3)
    return view


def ends_of(view: View, axis: int, cells: int, size: int) -> Ends:
    """Return the first and the last place of the input, of those that exist, that each cell depends on."""
    assert view.paths is not None
    found = []
    for cell in range(cells):
        fields = [field for line in view.paths[axis] if (field := line[cell])]
        found.append((max(0, min(a for a, _ in fields)), min(size - 1, max(b for _, b in fields))))
    return found


def measured(module: nn.Module, shape: tuple[int, ...], axis: int) -> Ends:
    """Return the same by gradients."""
    torch.manual_seed(0)
    x = torch.rand(shape, dtype=torch.float64, requires_grad=True)
    result = module.double().eval()(x)
    found = []
    for cell in range(result.shape[2 + axis]):
        line = result.select(2 + axis, cell)
        (gradient,) = torch.autograd.grad((line * torch.rand_like(line)).sum(), x, retain_graph=True)
        places = (gradient != 0).any(0).any(0).any(1 - axis).nonzero().flatten().tolist()
        found.append((min(places), max(places)))
    return found


LOCAL: dict[str, tuple[Callable[[], nn.Module], tuple[int, int]]] = {
    "shifted windows": (lambda: ShiftedWindows(4, 2), (24, 32)),
    "shifted windows of an odd side": (lambda: ShiftedWindows(5, 2), (30, 40)),
    "windows shifted by one": (lambda: ShiftedWindows(4, 1), (24, 32)),
    "halo": (lambda: Halo(4, 1), (24, 40)),
    "halo of an odd block": (lambda: Halo(3, 2), (24, 36)),
    "neighbourhood": (Neighbourhood, (24, 40)),
    "pooling in windows": (lambda: InWindows(4, nn.MaxPool2d(2, 2)), (24, 32)),
    "overlapping pooling in windows": (lambda: InWindows(6, nn.AvgPool2d(3, 2, 1)), (24, 36)),
    "convolution in windows": (lambda: InWindows(5, nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)), (20, 40)),
    "dilated convolution in windows": (
        lambda: InWindows(8, nn.Conv2d(CHANNELS, CHANNELS, 3, 2, padding=2, dilation=2)),
        (32, 48),
    ),
    "every other cell": (lambda: Interleaved(nn.Conv2d(CHANNELS, CHANNELS, 3, 2)), (28, 36)),
    "every other cell, undone": (
        lambda: Interleaved(nn.ConvTranspose2d(CHANNELS, CHANNELS, 2, stride=2)),
        (16, 24),
    ),
    "resizes by odd ratios": (OddResizes, (94, 30)),
    "pooled queries": (lambda: PooledQueries(4), (24, 32)),
    "lambda": (lambda: Lambda(5), (24, 32)),
    "written": (lambda: Written(adds=False), (24, 32)),
    "added": (lambda: Written(adds=True), (24, 16)),
}


def exported(module: nn.Module, shape: tuple[int, ...], folder: Path, *, dynamo: bool) -> Path:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    path = folder / "model.onnx"
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        options: dict[str, Any] = {"verbose": False, "external_data": False} if dynamo else {"opset_version": 17}
        torch.onnx.export(module.float().eval(), (torch.rand(shape),), str(path), dynamo=dynamo, **options)
    return path


@pytest.mark.parametrize("name", LOCAL)
def test_every_cell_of_a_module_sees_what_its_gradient_says(name: str) -> None:
    make, size = LOCAL[name]
    module, shape = make(), (1, 3, *size)
    view = predicted(module, shape)
    assert not view.context
    for axis in (0, 1):
        truth = measured(module, shape, axis)
        assert ends_of(view, axis, len(truth), size[axis]) == truth


NOT_WRITTEN = {"halo", "halo of an odd block", "neighbourhood"}
"""What the TorchScript exporter refuses, because it does not know the size behind a Pad."""
FILES = [
    pytest.param(name, dynamo, id=f"{name}-{'dynamo' if dynamo else 'TorchScript'}")
    for name in LOCAL
    for dynamo in (False, True)
    if dynamo or name not in NOT_WRITTEN
]


@pytest.mark.parametrize(("name", "dynamo"), FILES)
def test_a_file_is_read_as_the_module(name: str, dynamo: bool, tmp_path: Path) -> None:
    make, size = LOCAL[name]
    module, shape = make(), (1, 3, *size)
    of_file = predicted(exported(module, shape, tmp_path, dynamo=dynamo), shape)
    of_module = predicted(make(), shape)
    assert not of_file.context
    for axis in (0, 1):
        cells = size[axis] // 4
        assert ends_of(of_file, axis, cells, size[axis]) == ends_of(of_module, axis, cells, size[axis])
