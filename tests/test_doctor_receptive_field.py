"""Receptive fields: published ones, those that gradients measure, and those that impulses measure."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import pooling
from pooling.doctor import Network, ReceptiveField, read, receptive_field
from pooling.geometry import Axis
from tests import published

Array = NDArray[Any]


def field_of(network: Network, name: str = "") -> ReceptiveField:
    stage = network.stage(name) if name else network.stages[-1]
    assert stage.receptive_field is not None, stage
    return stage.receptive_field


# ---------------------------------------------------------------------------------------------------------------------
# Published


@pytest.mark.parametrize("name", published.ENDPOINTS)
def test_published_fields_at_every_end_point(name: str) -> None:
    text, ends = published.ENDPOINTS[name]
    for size, column in ((224, 2), (321, 3)):
        network = read(text, (1, 3, size, size))
        for end, figures in ends.items():
            field = field_of(network, end)
            padding = Fraction(field.size[0] - 1, 2) - field.offset[0]
            assert (field.size[0], field.stride[0], padding) == (figures[0], figures[1], figures[column])
            assert (field.size[1], field.stride[1], field.offset[1]) == (
                field.size[0],
                field.stride[0],
                field.offset[0],
            )
            assert field.aligned
            assert field.uniform
            assert not field.context


@pytest.mark.parametrize(
    ("place", "size"),
    [("last 3x3", 483), ("first 1x1", 483), ("first 3x3", 427)],
)
def test_where_a_resnet_has_its_strides_matters(place: str, size: int) -> None:
    network = read(published.resnet_v1(published.RESNET_50, place), (1, 3, 224, 224))
    assert field_of(network, "block4").size == (size, size)


# ---------------------------------------------------------------------------------------------------------------------
# By hand


@pytest.mark.parametrize(
    ("text", "size", "stride", "offset"),
    [
        ("conv3", 3, 1, 0),
        ("conv3p0", 3, 1, 1),
        ("conv3d3", 7, 1, 0),
        ("conv2/2p0", 2, 2, Fraction(1, 2)),
        ("pool3/2p1 conv3", 7, 2, 0),
        ("unshuffle2", 2, 2, Fraction(1, 2)),
        ("pad2 conv3p0", 3, 1, -1),
        ("conv3p0:1", 3, 1, 1),
        # A pixel sees one cell; two neighbours see the same.
        ("up2", 1, Fraction(1, 2), Fraction(-1, 4)),
        ("pool2 up2", 2, 1, 0),
        ("shuffle2", 1, Fraction(1, 2), Fraction(-1, 4)),
        # The cells of a transposed convolution see one or two cells in turn, or none.
        ("deconv3/2p1", 2, Fraction(1, 2), 0),
        ("deconv4/2p1", 2, Fraction(1, 2), Fraction(-1, 4)),
        ("deconv2/2", 1, Fraction(1, 2), Fraction(-1, 4)),
        ("deconv1/2", 1, Fraction(1, 2), 0),
        ("conv3 deconv4/2p1", 4, Fraction(1, 2), Fraction(-1, 4)),
        ("bilinear2", 2, Fraction(1, 2), Fraction(-1, 4)),
    ],
)
def test_by_hand(text: str, size: int, stride: Fraction, offset: Fraction) -> None:
    field = field_of(read(text, (1, 4, 64, 64)))
    assert (field.size, field.stride, field.offset) == ((size,) * 2, (stride,) * 2, (offset,) * 2)


def test_axes_are_apart() -> None:
    field = field_of(read("conv1,7p0,3 pool2,1 conv3d1,2", (1, 3, 32, 32)))
    assert field.size == (6, 11)
    assert field.stride == (2, 1)
    assert field.offset == (Fraction(1, 2), 0)


@pytest.mark.parametrize(
    ("text", "aligned"),
    [
        ("conv3@a conv3+a", True),
        ("conv3@a conv5d2+a", True),
        ("conv3/2@a conv1/2p0<input+a", True),
        ("conv2p0:1@a conv3<input+a", False),
        ("conv3/2psame@a conv5/2p2<input+a conv3", False),
        # What is moved by half a pixel stays so.
        ("conv2p0:1@a conv3<input+a conv3@b conv3+b", False),
        # The same with the halves put together again.
        ("pool2@a pool2<input+a", True),
    ],
)
def test_alignment(text: str, aligned: bool) -> None:
    assert field_of(read(text, (1, 3, 32, 32))).aligned is aligned


def test_paths_of_different_strides() -> None:
    # Both give 4 cells, but one by steps of 2 and the other by steps of 1: they part from cell to cell.
    field = field_of(read("conv3/2p1@a conv5p0<input+a", (1, 1, 8)))
    assert not field.aligned
    assert not field.uniform
    # Cell 0 sees -1..1 and 0..4; cell 3 sees 5..7 and 3..7.
    assert field.size == (6,)


def test_global_pooling_sees_all() -> None:
    network = read("conv3/2 conv3/2@last global fc10", (1, 3, 32, 48))
    assert field_of(network, "last").size == (7, 7)
    assert field_of(network, "global1").size == (7 + 7 * 4, 7 + 11 * 4)
    assert field_of(network, "global1").offset == (14, 22)
    assert network.stage("fc1").receptive_field is None
    assert network.stage("fc1").spatial == ()


def test_a_broadcast_branch_is_context() -> None:
    field = field_of(read("conv3@a global conv1x3 sigmoid@gate conv3<a+gate", (1, 3, 32, 32)))
    assert field.size == (5, 5)
    assert field.context
    assert field.aligned


def test_what_cannot_be_followed_is_said() -> None:
    network = read(pooling.FractionalMaxPool2d(2, output_size=7), (1, 3, 16, 16))
    assert network.stages[0].receptive_field is None
    assert network.stages[0].note == (
        "receptive field not followed: the windows of fractional pooling are drawn for each map"
    )
    assert network.stages[0].spatial == (2, 3)


def test_adaptive_windows() -> None:
    # 10 to 4: windows 0..2, 2..4, 5..7, 7..9, then the same 5 cells further.
    field = field_of(read("adaptive4", (1, 3, 10)))
    assert (field.size, field.stride, field.offset, field.uniform) == (
        (3,),
        (Fraction(5, 2),),
        (Fraction(3, 4),),
        False,
    )


def test_absurd_numbers_cost_no_time() -> None:
    field = field_of(read(f"conv3/{2**40}p0 pool{2**20}/{2**30}p0", (1, 1, 2**62)))
    assert field.size == (2**40 * (2**20 - 1) + 3,)
    assert field.stride == (2**70,)


@given(
    st.lists(
        st.builds(
            lambda kernel, stride, dilation, begin: Axis(10**6, 10**5, kernel, stride, dilation, begin),
            st.integers(1, 5),
            st.integers(1, 4),
            st.integers(1, 3),
            st.integers(0, 4),
        ),
        max_size=4,
    )
)
def test_the_field_is_what_the_taps_of_all_stages_reach(stages: list[Axis]) -> None:
    def reached(output: int) -> set[int]:
        cells = {output}
        for axis in reversed(stages):
            taps = range(0, axis.effective_kernel_size, axis.dilation)
            cells = {cell * axis.stride - axis.pad_begin + tap for cell in cells for tap in taps}
        return cells

    view = receptive_field.pixels((2,))
    assert view.paths is not None
    (paths,) = view.paths
    for axis in stages:
        paths = receptive_field.windows(paths, axis)
    (line,) = paths
    for output in (0, 1, 5):
        assert line[output] == (min(reached(output)), max(reached(output)))
    assert (line.size, line.stride) == (
        max(reached(0)) - min(reached(0)) + 1,
        max(reached(1)) - max(reached(0)),
    )
    assert 2 * line.offset == min(reached(0)) + max(reached(0))


# ---------------------------------------------------------------------------------------------------------------------
# Random networks


@dataclass(frozen=True)
class Step:
    """A layer of a random network; one number for each axis."""

    word: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def text(self) -> str:
        def numbers(values: Sequence[int]) -> str:
            return ",".join(map(str, values))

        if self.word == "up":
            return f"up{numbers(self.kernel)}"
        pads = ",".join(f"{begin}:{end}" for begin, end in zip(self.begin, self.end, strict=True))
        return f"{self.word}{numbers(self.kernel)}/{numbers(self.stride)}p{pads}d{numbers(self.dilation)}"


Block = list[list[Step]]
"""Branches that are added, or concatenated."""


def random_step(rng: random.Random, axes: int, words: Sequence[str], stride: tuple[int, ...], same: bool) -> Step:
    """Make a layer; `same` pads so that the output has ``ceil(I / stride)`` cells whatever the kernel is."""
    word = rng.choice(list(words))
    dilation = tuple(rng.choice((1, 1, 1, 2, 3)) if word != "avgpool" else 1 for _ in range(axes))
    kernel = tuple(rng.choice((1, 2, 3, 3, 3, 4, 5)) for _ in range(axes))
    begin, end = [], []
    for taps, step in zip(kernel, dilation, strict=True):
        spare = step * (taps - 1)
        total = spare if same else rng.randint(0, spare)
        first = total // 2 if rng.random() < 0.7 else rng.randint(0, total)
        begin.append(first)
        end.append(total - first)
    return Step(word, kernel, stride, tuple(begin), tuple(end), dilation)


def random_blocks(rng: random.Random, axes: int, words: Sequence[str], wide: Sequence[str] = ()) -> list[Block]:
    blocks: list[Block] = []
    ones = (1,) * axes
    for _ in range(rng.randint(2, 5)):
        stride = tuple(rng.choice((1, 1, 2, 3)) for _ in range(axes))
        kind = rng.random()
        if wide and kind < 0.25:
            if rng.random() < 0.5:
                factors = tuple(rng.choice((2, 3)) for _ in range(axes))
                blocks.append([[Step("up", factors, ones, (0,) * axes, (0,) * axes, ones)]])
            else:
                kernel = tuple(rng.choice((2, 3, 4, 5)) for _ in range(axes))
                begin = tuple(rng.randint(0, taps - 1) for taps in kernel)
                end = tuple(rng.randint(0, taps - 1) for taps in kernel)
                step = tuple(rng.choice((2, 3)) for _ in range(axes))
                dilation = tuple(rng.choice((1, 1, 2)) for _ in range(axes))
                blocks.append([[Step("deconv", kernel, step, begin, end, dilation)]])
        elif kind < 0.6:
            blocks.append([[random_step(rng, axes, words, stride, same=False)]])
        else:
            branches: Block = []
            for _ in range(rng.randint(2, 3)):
                branch = [random_step(rng, axes, words, stride, same=True)]
                if rng.random() < 0.4:
                    branch.append(random_step(rng, axes, words, ones, same=True))
                branches.append(branch)
            blocks.append(branches)
    return blocks


def text_of(blocks: Sequence[Block]) -> str:
    """Write a network as a list of layers."""
    words, last = [], "input"
    for number, block in enumerate(blocks):
        for place, branch in enumerate(block):
            for depth, step in enumerate(branch):
                source = last if depth == 0 else f"s{number}_{place}_{depth - 1}"
                words.append(f"{step.text}<{source}@s{number}_{place}_{depth}")
        ends = [f"s{number}_{place}_{len(branch) - 1}" for place, branch in enumerate(block)]
        last = ends[0]
        if len(ends) > 1:
            last = f"m{number}"
            sums = "".join(f"+{name}" for name in ends[1:])
            words.append(f"add{sums}<{ends[0]}@{last}")
    return " ".join(words)


def fitting(text: str, axes: int) -> tuple[tuple[int, ...], tuple[int, ...], ReceptiveField]:
    """Return an input size, and a cell that sees nothing of its borders; neither do the next ones."""
    field = field_of(read(text, (1, 1, *(4096,) * axes)))
    sizes, cells = [], []
    for size, stride, offset in zip(field.size, field.stride, field.offset, strict=True):
        cell = max(0, math.ceil((Fraction(size, 2) - offset) / stride)) + 3
        sizes.append(math.ceil(offset + (cell + SPARE) * stride + size) + 8)
        cells.append(cell)
    return tuple(sizes), tuple(cells), field


SPARE = 3
"""Cells behind the one that is measured which must fit into the map."""


@pytest.mark.parametrize("seed", range(240))
def test_random_networks_have_the_fields_that_gradients_measure(seed: int) -> None:
    torch = pytest.importorskip("torch")
    rng = random.Random(seed)
    blocks = random_blocks(rng, 2, ("conv", "avgpool"))
    text = text_of(blocks)
    sizes, cells, _ = fitting(text, 2)
    field = field_of(read(text, (1, 1, *sizes)))
    image = torch.zeros((1, 1, *sizes), dtype=torch.float64, requires_grad=True)
    output = image
    for block in blocks:
        branches = []
        for branch in block:
            result = output
            for step in branch:
                result = in_torch(torch, step, result)
            branches.append(result)
        output = sum(branches)
    assert tuple(output.shape) == read(text, (1, 1, *sizes)).stages[-1].output_shape
    seen = []
    for cell in (cells, tuple(number + 1 for number in cells)):
        (gradient,) = torch.autograd.grad(output[(0, 0, *cell)], image, retain_graph=True)
        rows, columns = np.nonzero(gradient[0, 0].numpy())
        seen.append(((rows.min(), rows.max()), (columns.min(), columns.max())))
    for axis in range(2):
        (first, last), (after, _) = seen[0][axis], seen[1][axis]
        assert field.size[axis] == last - first + 1
        assert field.stride[axis] == after - first
        assert field.offset[axis] == Fraction(int(first + last), 2) - cells[axis] * field.stride[axis]
    assert field.uniform


def in_torch(torch: Any, step: Step, image: Any) -> Any:
    """Compute a layer with weights of 1, which hide nothing; torch has no dilated means, so pooling is a sum."""
    pads = [pad for pair in reversed(list(zip(step.begin, step.end, strict=True))) for pad in pair]
    weight = torch.ones((1, 1, *step.kernel), dtype=image.dtype)
    padded = torch.nn.functional.pad(image, pads)
    return torch.nn.functional.conv2d(padded, weight, stride=step.stride, dilation=step.dilation)


def impulses_through(step: Step, maps: Array) -> Array:
    """Send impulses, (pixels, 1, cells), through a layer of one axis; what comes out is positive where they reach."""
    (kernel,), (stride,), (begin,), (end,) = step.kernel, step.stride, step.begin, step.end
    (dilation,) = step.dilation
    reach = dilation * (kernel - 1) + 1
    match step.word:
        case "up":
            return np.repeat(maps, kernel, axis=2)
        case "pool":
            return np.asarray(pooling.max_pool1d(maps, kernel, stride, [(begin, end)], dilation))
        case "avgpool":
            return np.asarray(pooling.avg_pool1d(maps, kernel, stride, [(begin, end)]))
        case "deconv":
            whole = np.zeros((*maps.shape[:2], (maps.shape[2] - 1) * stride + reach))
            for cell in range(maps.shape[2]):
                for tap in range(kernel):
                    whole[:, :, cell * stride + tap * dilation] += maps[:, :, cell]
            return whole[:, :, begin : whole.shape[2] - end]
    padded = np.pad(maps, ((0, 0), (0, 0), (begin, end)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=2)[:, :, ::stride, ::dilation]
    return np.minimum(windows.sum(axis=3), 1.0)  # it must be positive, not large


@pytest.mark.parametrize("seed", range(120))
def test_random_networks_have_the_fields_that_impulses_measure(seed: int) -> None:
    # One input for each pixel, in which it alone is 1; maxima, means and sums of what is not negative hide nothing.
    rng = random.Random(seed)
    blocks = random_blocks(rng, 1, ("conv", "pool", "avgpool"), wide=("up", "deconv"))
    text = text_of(blocks)
    field = field_of(read(text, (1, 1, 4096)))
    period = 1
    for block in blocks:
        for branch in block:
            for step in branch:
                period *= step.kernel[0] if step.word == "up" else step.stride[0] if step.word == "deconv" else 1
    cell = max(0, math.ceil((Fraction(field.size[0], 2) - field.offset[0]) / field.stride[0])) + 3
    size = math.ceil(field.offset[0] + (cell + 2 * period + 2) * field.stride[0] + field.size[0]) + 8
    network = read(text, (1, 1, size))
    assert field_of(network) == field
    maps = np.eye(size)[:, np.newaxis]
    for block in blocks:
        branches = []
        for branch in block:
            result = maps
            for step in branch:
                result = impulses_through(step, result)
            branches.append(result)
        maps = np.minimum(sum(branches), 1.0)
    assert maps.shape[2:] == network.stages[-1].output_size
    measured: list[tuple[int, int] | None] = []
    for number in range(cell, cell + 2 * period):
        (felt,) = np.nonzero(maps[:, 0, number])
        measured.append((int(felt.min()), int(felt.max())) if len(felt) else None)
    sizes = [last - first + 1 for seen in measured if seen for first, last in [seen]]
    assert field.size == (max(sizes),)
    for before, after in zip(measured[:period], measured[period:], strict=True):
        assert (before is None) == (after is None)
        if before and after:
            assert after[0] - before[0] == after[1] - before[1] == period * field.stride[0]
    centres = [
        Fraction(first + last, 2) - (cell + number) * field.stride[0]
        for number, seen in enumerate(measured[:period])
        if seen
        for first, last in [seen]
    ]
    assert field.offset[0] == sum(centres) / len(centres)
    assert field.uniform == (len(set(sizes)) == len(set(centres)) == 1 and None not in measured)


# ---------------------------------------------------------------------------------------------------------------------
# Operators of ONNX, measured by impulses through onnxruntime


def model_of(nodes: Sequence[Any], size: int, opset: int = 19, **weights: Array) -> Any:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 1, size])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(operator: str, *inputs: str, output: str = "y", **attributes: Any) -> Any:
    onnx = pytest.importorskip("onnx")
    return onnx.helper.make_node(operator, list(inputs), [output], output, **attributes)


def scales(*numbers: float) -> Array:
    return np.array([1, 1, *numbers], np.float32)


ONES = np.ones((1, 1, 3), np.float32)
RESIZES: dict[str, Callable[[], tuple[list[Any], dict[str, Array]]]] = {
    f"{mode} {place} {rounding} {ratio}": (
        lambda mode=mode, place=place, rounding=rounding, ratio=ratio: (
            [node("Resize", "x", "", "s", mode=mode, coordinate_transformation_mode=place, nearest_mode=rounding)],
            {"s": scales(ratio)},
        )
    )
    for mode, place, rounding, ratio in [
        ("nearest", "half_pixel", "round_prefer_floor", 2.0),
        ("nearest", "half_pixel", "round_prefer_ceil", 0.5),
        ("nearest", "half_pixel", "round_prefer_floor", 0.5),
        ("nearest", "asymmetric", "floor", 3.0),
        ("nearest", "asymmetric", "ceil", 1.5),
        ("nearest", "asymmetric", "floor", 0.4),
        ("nearest", "align_corners", "round_prefer_ceil", 1.5),
        ("linear", "half_pixel", "floor", 2.0),
        ("linear", "asymmetric", "floor", 2.0),
        ("linear", "align_corners", "floor", 2.0),
        ("linear", "pytorch_half_pixel", "floor", 0.5),
        ("linear", "half_pixel", "floor", 0.25),
    ]
}


OTHERS: dict[str, Callable[[], tuple[list[Any], dict[str, Array]]]] = {
    "Slice": lambda: (
        [node("Slice", "x", "a", "b", "c", "d")],
        {"a": np.array([3]), "b": np.array([-2]), "c": np.array([2]), "d": np.array([3])},
    ),
    "Pad": lambda: ([node("Pad", "x", "p")], {"p": np.array([0, 0, 3, 0, 0, 1])}),
    "Pad that crops": lambda: ([node("Pad", "x", "p")], {"p": np.array([0, 0, -2, 0, 0, 1])}),
    "Conv SAME_LOWER": lambda: ([node("Conv", "x", "w", auto_pad="SAME_LOWER", strides=[2])], {"w": ONES}),
    "MaxPool ceil": lambda: ([node("MaxPool", "x", kernel_shape=[3], strides=[2], ceil_mode=1, pads=[1, 0])], {}),
    "AveragePool dilated": lambda: ([node("AveragePool", "x", kernel_shape=[3], dilations=[4])], {}),
    "ConvTranspose": lambda: (
        [node("ConvTranspose", "x", "w", strides=[3], pads=[2, 1], output_padding=[1])],
        {"w": np.ones((1, 1, 5), np.float32)},
    ),
    "ConvTranspose output_shape": lambda: (
        [node("ConvTranspose", "x", "w", strides=[2], output_shape=[121])],
        {"w": np.ones((1, 1, 4), np.float32)},
    ),
    "ConvTranspose SAME_UPPER": lambda: (
        [node("ConvTranspose", "x", "w", strides=[3], auto_pad="SAME_UPPER")],
        {"w": np.ones((1, 1, 5), np.float32)},
    ),
    "channels last and back": lambda: (
        [
            node("Conv", "x", "w", output="c", pads=[1, 1]),
            node("Transpose", "c", perm=[0, 2, 1], output="t"),
            node("Relu", "t", output="r"),
            node("Transpose", "r", perm=[0, 2, 1], output="b"),
            node("Conv", "b", "w", strides=[2]),
        ],
        {"w": ONES},
    ),
    "Focus": lambda: (
        [
            node("Slice", "x", "zero", "end", "axis", "two", output="even"),
            node("Slice", "x", "one", "end", "axis", "two", output="odd"),
            node("Concat", "even", "odd", axis=1),
        ],
        {
            "zero": np.array([0]),
            "one": np.array([1]),
            "end": np.array([2**31]),
            "axis": np.array([2]),
            "two": np.array([2]),
        },
    ),
}


@pytest.mark.parametrize("name", [*RESIZES, *OTHERS])
def test_operators_have_the_fields_that_impulses_measure(name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    size, period = 60, 12
    nodes, weights = {**RESIZES, **OTHERS}[name]()
    model = model_of(nodes, size, **weights)
    network = read(model)
    field = field_of(network)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (maps,) = session.run(None, {"x": np.eye(size, dtype=np.float32)[:, np.newaxis]})
    assert maps.shape[1:] == network.stages[-1].output_shape[1:]
    felt = np.abs(maps).max(axis=1) > 1e-6
    measured: dict[int, tuple[int, int]] = {}
    for cell in range(felt.shape[1]):
        (pixels,) = np.nonzero(felt[:, cell])
        if len(pixels) and 4 < pixels.min() <= pixels.max() < size - 5:  # none that a border cuts
            measured[cell] = (int(pixels.min()), int(pixels.max()))
    assert len(measured) >= 6
    assert field.size == (max(last - first + 1 for first, last in measured.values()),)
    if "align_corners" in name:  # repeats only after as many cells as there are
        return
    steps = [
        (Fraction(measured[cell + gap][0] - first), Fraction(gap))
        for cell, (first, _) in measured.items()
        for gap in (period if field.stride[0] < 1 else 2,)
        if cell + gap in measured and (gap * field.stride[0]).denominator == 1
    ]
    assert steps
    assert {step / gap for step, gap in steps} == {field.stride[0]}
    several = sorted(measured)[: max(1, len(measured) // field.stride[0].denominator) * field.stride[0].denominator]
    several = several[: len(several) // period * period or len(several)]
    centres = [Fraction(sum(measured[cell]), 2) - cell * field.stride[0] for cell in several]
    assert abs(field.offset[0] - sum(centres) / len(centres)) <= Fraction(1, 8)
    if field.uniform:
        assert set(centres) == {field.offset[0]}


def test_a_step_is_written_as_the_list_has_it() -> None:
    step = Step("conv", (3, 5), (2, 1), (1, 2), (0, 2), (1, 2))
    assert step.text == "conv3,5/2,1p1:0,2:2d1,2"
    assert replace(step, word="up").text == "up3,5"
