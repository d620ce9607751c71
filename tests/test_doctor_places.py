"""Receptive fields where axes of a map are merged, split and put together, column by column against NaN in torch.

Each module is read as a module and as the file that an exporter makes of it.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from pooling.doctor import read_graph  # noqa: E402
from pooling.doctor.network.graph import Graph, step_of  # noqa: E402

CHANNELS = 6
SHAPE = (1, 3, 24, 32)
SIZE = SHAPE[2:]
WHOLE = "context"
Fields = list[tuple[int, int] | None]


class Net(nn.Module):
    """A convolution, and a function of its map of 6 channels and of the layers that it may use."""

    def __init__(self, function: Callable[[Any, Any], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Any) -> Any:
        return self.function(self, self.stem(x))


def measured(module: nn.Module, shape: tuple[int, ...] = SHAPE) -> Fields | str:
    """Return the first and last input column that each output column depends on, by NaN; or that all see all."""
    seen: list[list[int]] = []
    for column in range(shape[-1]):
        x = torch.rand(shape, dtype=torch.float64)
        x[..., column] = float("nan")
        with torch.no_grad():
            reached = module.double()(x).isnan().flatten(0, -2).any(0)
        seen = seen or [[] for _ in reached]
        for cell in reached.nonzero().flatten().tolist():
            seen[cell].append(column)
    module.float()
    if all(len(each) == shape[-1] for each in seen):
        return WHOLE
    return [(each[0], each[-1]) if each else None for each in seen]


def said(graph: Graph, shape: tuple[int, ...] = SHAPE) -> Fields | str:
    """Return the same as the doctor has it."""
    graph = graph.at(shape)
    network = graph.infer(shape)
    assert not network.losses, network.losses
    tensors, nodes, _ = graph.started(shape)
    for node in nodes:
        list(step_of(node, tensors))
    result = tensors[graph.outputs[0]]
    assert result.view is not None
    assert result.view.paths
    if result.view.context:
        return WHOLE
    found: Fields = []
    for cell in range((result.shape or ())[-1]):
        fields = [field for line in result.view.paths[-1] if (field := line[cell])]
        first, last = min(first for first, _ in fields), max(last for _, last in fields)
        found.append((max(first, 0), min(last, shape[-1] - 1)))
    return found


def exported(module: nn.Module, shape: tuple[int, ...] = SHAPE) -> Graph:
    """Return the graph of the file that an exporter makes of a module."""
    onnx = pytest.importorskip("onnx")
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.zeros(shape),), file, dynamo=False, opset_version=18)
    return read_graph(onnx.load_from_string(file.getvalue()))


# ---------------------------------------------------------------------------------------------------------------------
# Modules


def response_norm(m: Any, x: Any) -> Any:
    """Divide by a mean of squares over the map, as FRN does."""
    return x * x.square().mean((2, 3), keepdim=True).add(1e-5).rsqrt().expand(x.shape)


def group_deviation(m: Any, x: Any) -> Any:
    """Divide by the deviation of groups, as EvoNorm does."""
    groups = x.reshape(x.shape[0], 2, 3, *x.shape[2:])
    return x / groups.var(dim=(2, 3, 4), keepdim=True).add(1e-5).sqrt().expand(groups.shape).reshape(x.shape)


def split_attention(m: Any, x: Any) -> Any:
    """Weigh two halves of the channels by a softmax of what is seen of the map, as ResNeSt does."""
    batch, channels, height, width = x.shape
    halves = x.reshape(batch, 2, channels // 2, height, width)
    gap = m.dense(halves.sum(1).mean((2, 3), keepdim=True))
    weights = gap.view(batch, 1, 2, -1).transpose(1, 2).softmax(1).reshape(batch, -1).view(batch, -1, 1, 1)
    return (halves * weights.reshape(batch, 2, channels // 2, 1, 1)).sum(1)


def separable_attention(m: Any, x: Any) -> Any:
    """Sum over the patches of a map, each place of a patch apart, as MobileViTv2 does."""
    batch, channels, height, width = x.shape
    patches = x.reshape(batch, channels, height // 2, 2, width // 2, 2).permute(0, 1, 3, 5, 2, 4)
    patches = patches.reshape(batch, channels, 4, -1)
    scores = patches[:, :1].softmax(-1)
    vector = (patches * scores).sum(-1, keepdim=True)
    patches = patches.relu() * vector.expand_as(patches)
    patches = patches.reshape(batch, channels, 2, 2, height // 2, width // 2).permute(0, 1, 4, 2, 5, 3)
    return patches.reshape(batch, channels, height, width) + x.roll(1, 1) * vector.mean()


def class_token(m: Any, x: Any) -> Any:
    """Put zeros in the place of a class token, and take it away again, as CoaT does."""
    batch, channels, height, width = x.shape
    tokens = F.pad(m.conv(x).flatten(2).transpose(1, 2), (0, 0, 1, 0)) + m.tokens(x)
    return tokens[:, 1:].transpose(1, 2).reshape(batch, channels, height, width)


class Tokens(nn.Module):
    """A list of places behind a class token that has been learned."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.rand(1, 1, CHANNELS))

    def forward(self, x: Any) -> Any:
        return torch.cat((self.token.expand(x.shape[0], -1, -1), x.flatten(2).transpose(1, 2)), 1)


def windows_of(x: Any, size: int) -> Any:
    batch, channels, height, width = x.shape
    split = x.reshape(batch, channels, height // size, size, width // size, size)
    return split.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, size, size)


def map_of(windows: Any, x: Any, size: int) -> Any:
    height, width = x.shape[2] // size, x.shape[3] // size
    _, channels, rows, columns = windows.shape
    split = windows.reshape(x.shape[0], height, width, channels, rows, columns)
    return split.permute(0, 3, 1, 4, 2, 5).reshape(x.shape[0], channels, height * rows, width * columns)


def in_windows(m: Any, x: Any) -> Any:
    """Apply a layer to windows of 8 cells alone, as EfficientViT and TNT do."""
    return m.after(map_of(m.layer(windows_of(x, 8)), x, 8))


def attention_in_windows(m: Any, x: Any) -> Any:
    windows = m.layer(windows_of(x, 8))
    q = windows.flatten(2)
    seen = (q @ (q.transpose(1, 2) @ q).softmax(-1).transpose(1, 2)).view(windows.shape)
    return m.after(map_of(seen, x, 8))


def columns(m: Any, x: Any) -> Any:
    """Mix the taps of windows that overlap, and add up the windows, as VOLO does."""
    unfolded = m.mix(F.unfold(x, 3, padding=1, stride=2))
    return F.fold(unfolded, SIZE, 3, padding=1, stride=2)


def patches(m: Any, x: Any) -> Any:
    """Make each patch a token, and put tokens together to patches."""
    tokens = m.dense(F.unfold(x, 4, stride=4).transpose(1, 2)).transpose(1, 2)
    return F.fold(tokens, SIZE, 4, stride=4)


def pixels_of_patches(m: Any, x: Any) -> Any:
    """Look at the pixels of each patch apart, and put them where they were, as TNT does."""
    batch, channels, height, width = x.shape
    count = (height // 4) * (width // 4)
    inner = F.unfold(x, 4, stride=4).transpose(1, 2).reshape(batch * count, channels, 4, 4)
    inner = m.layer(inner).reshape(batch, count, -1).transpose(1, 2)
    return F.fold(inner, SIZE, 4, stride=4)


def only_taken_apart(m: Any, x: Any) -> Any:
    return m.after(F.fold(F.unfold(x, 2, stride=2), SIZE, 2, stride=2))


def put_back(m: Any, x: Any) -> Any:
    """Take windows apart that overlap, and add them up again: every cell stays alone."""
    return m.after(F.fold(F.unfold(x, 3, padding=2, stride=2, dilation=2), SIZE, 3, padding=2, stride=2, dilation=2))


def outlook(m: Any, x: Any) -> Any:
    """Weigh the cells of windows that overlap by what is seen at the middle of each, as VOLO does."""
    batch, channels = x.shape[:2]
    values = F.unfold(x, 3, padding=1, stride=2).reshape(batch, channels, 9, -1).permute(0, 3, 2, 1)
    weights = m.dense(F.avg_pool2d(x, 2, 2)).flatten(2).transpose(1, 2)
    weights = weights.reshape(batch, -1, 9, 9).softmax(-1)
    seen = (weights @ values).permute(0, 3, 2, 1).reshape(batch, channels * 9, -1)
    return F.fold(seen, SIZE, 3, padding=1, stride=2)


def pooled_keys(m: Any, x: Any) -> Any:
    """Attend to means of 24 tokens each, which lie in parts of two rows, as NextViT does."""
    tokens = x.flatten(2)
    keys = F.avg_pool1d(tokens, 24, 24)
    return x + (keys @ (tokens.transpose(1, 2) @ keys).softmax(-1).transpose(1, 2)).view(x.shape)


def spread_matrix(m: Any, x: Any) -> Any:
    """Multiply by a matrix that is made of what is seen of the whole map, as bilinear attention does."""
    matrix = m.dense(x.mean((2, 3), keepdim=True)).reshape(CHANNELS, 16, 1, 1) * torch.eye(8, 8)
    matrix = matrix.reshape(1, CHANNELS, 4, 4, 8, 8).transpose(3, 4)
    return x + x @ matrix.reshape(1, CHANNELS, 32, 32)


def zigzag(x: Any) -> Any:
    return x[..., [11 * number % 64 for number in range(64)]]


def of_blocks(pick: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """Return what transforms blocks of 8 x 8, picks coefficients of each, and mixes them as channels, as CSATv2."""

    def function(m: Any, x: Any) -> Any:
        batch, channels, height, width = x.shape
        blocks = m.transform(m.transform(windows_of(x, 8)).transpose(-1, -2)).transpose(-1, -2)
        picked = pick(blocks.reshape(-1, channels, 64))
        maps = picked.reshape(batch, height // 8, width // 8, channels, -1).permute(0, 3, 4, 1, 2)
        return m.after(maps[:, 0]) + m.after(maps[:, 1])

    return function


def put_back_elsewhere(m: Any, x: Any) -> Any:
    """Transform blocks, and put the coefficients into the map in another order."""
    blocks = m.transform(m.transform(windows_of(x, 8)).transpose(-1, -2)).transpose(-1, -2)
    return map_of(zigzag(blocks.flatten(2)).view(blocks.shape), x, 8)


def three_by_three() -> nn.Module:
    return nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)


MODULES: dict[str, Callable[[], nn.Module]] = {
    "statistics of channels": lambda: Net(response_norm),
    "statistics of groups": lambda: Net(group_deviation),
    "split attention": lambda: Net(split_attention, dense=nn.Conv2d(3, 6, 1)),
    "class token": lambda: Net(class_token, conv=three_by_three(), tokens=Tokens()),
    "convolution in windows": lambda: Net(in_windows, layer=three_by_three(), after=three_by_three()),
    "two convolutions in windows": lambda: Net(
        in_windows, layer=nn.Sequential(three_by_three(), nn.Conv2d(6, 6, 5, padding=2)), after=nn.Identity()
    ),
    "stride in windows": lambda: Net(in_windows, layer=nn.Conv2d(6, 6, 7, stride=2, padding=3), after=three_by_three()),
    "pooling in windows": lambda: Net(in_windows, layer=nn.AvgPool2d(3, 2, 1), after=three_by_three()),
    "adaptive pooling in windows": lambda: Net(in_windows, layer=nn.AdaptiveAvgPool2d(3), after=nn.Identity()),
    "global pooling in windows": lambda: Net(in_windows, layer=nn.AdaptiveAvgPool2d(1), after=three_by_three()),
    "transposed convolution in windows": lambda: Net(
        in_windows, layer=nn.ConvTranspose2d(6, 6, 4, stride=2, padding=1), after=three_by_three()
    ),
    "attention behind a convolution in windows": lambda: Net(
        attention_in_windows, layer=three_by_three(), after=three_by_three()
    ),
    "columns": lambda: Net(columns, mix=nn.Conv1d(54, 54, 1)),
    "columns that are put back": lambda: Net(put_back, after=three_by_three()),
    "outlook": lambda: Net(outlook, dense=nn.Conv2d(6, 81, 1)),
    "pooled keys": lambda: Net(pooled_keys),
    "a matrix of the whole map": lambda: Net(spread_matrix, dense=nn.Conv2d(6, 96, 1)),
    "patches": lambda: Net(patches, dense=nn.Linear(96, 96)),
    "pixels of patches": lambda: Net(pixels_of_patches, layer=three_by_three()),
    "coefficients of blocks in another order": lambda: Net(
        of_blocks(zigzag), transform=nn.Linear(8, 8), after=nn.Conv2d(64, 4, 3, padding=1)
    ),
    "coefficients of blocks by number": lambda: Net(
        of_blocks(lambda x: x.index_select(2, torch.tensor([0, 1, 8, 16, 9]))),
        transform=nn.Linear(8, 8),
        after=nn.Conv2d(5, 4, 1),
    ),
    "coefficients of blocks turned around": lambda: Net(
        of_blocks(lambda x: x.flip(-1)), transform=nn.Linear(8, 8), after=nn.Conv2d(64, 4, 1)
    ),
    "the first coefficients of blocks": lambda: Net(
        of_blocks(lambda x: x[..., :6]), transform=nn.Linear(8, 8), after=nn.Conv2d(6, 4, 1)
    ),
    "coefficients put back in another order": lambda: Net(put_back_elsewhere, transform=nn.Linear(8, 8)),
    "pixels of blocks in another order": lambda: Net(
        of_blocks(lambda x: zigzag(x.flip(-1))), transform=nn.Identity(), after=nn.Conv2d(64, 4, 1)
    ),
    "blocks that are only taken apart": lambda: Net(only_taken_apart, after=three_by_three()),
}


@pytest.mark.parametrize("name", MODULES)
def test_fields_of_a_module_are_those_of_nan(name: str) -> None:
    torch.manual_seed(0)
    module = MODULES[name]().eval()
    assert said(read_graph(module, SHAPE)) == measured(module)


NOT_EXPORTED = ("adaptive pooling in windows",)
"""What the exporter refuses."""


@pytest.mark.parametrize("name", [name for name in MODULES if name not in NOT_EXPORTED])
def test_fields_of_a_file_are_those_of_the_module(name: str) -> None:
    torch.manual_seed(0)
    module = MODULES[name]().eval()
    assert said(exported(module)) == said(read_graph(module, SHAPE))


PICKS: dict[str, tuple[int, Callable[[Any], Any]]] = {
    "a part of a block whose cells differ": (12, lambda x: windows_of(x, 8).flatten(2)[..., [0, 9]]),
    "blocks": (384, lambda x: windows_of(x, 8).flatten(2)[torch.arange(12) * 5 % 12]),
    "by data": (384, lambda x: (flat := windows_of(x, 8).flatten(2))[..., flat[0, 0].argsort()]),
}


@pytest.mark.parametrize("what", PICKS)
def test_what_is_picked_out_of_blocks_is_lost_and_never_wrong(what: str) -> None:
    channels, pick = PICKS[what]

    def function(m: Any, x: Any) -> Any:
        return m.after(pick(x).reshape(1, 3, 4, -1).permute(0, 3, 1, 2))

    network = read_graph(Net(function, after=nn.Conv2d(channels, 4, 3)).eval(), SHAPE).infer(SHAPE)
    (loss,) = network.losses
    assert "data" in what or loss.stage.endswith("index")  # the order itself is followed no further than its data
    assert network.stage("after").receptive_field is None
