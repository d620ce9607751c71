"""Pixels of the input that reach no output: as gradients in torch and perturbations in onnxruntime have it."""

from __future__ import annotations

import contextlib
import random
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pooling.doctor import NetworkError, examine, read_graph
from pooling.doctor.analysis.unread import read_pixels, unread_ends

torch = pytest.importorskip("torch")

WORD = re.compile(
    r"(?P<kind>conv|avgpool|pool|up|global)(?P<size>\d*)(?:x(?P<channels>\d+))?(?:/(?P<stride>\d+))?"
    r"(?:p(?P<padding>\d+))?(?:d(?P<dilation>\d+))?(?P<ceil>c)?(?:@(?P<name>\w+))?(?:<(?P<source>\w+))?"
    r"(?:(?P<sign>[+|])(?P<other>\w+))?"
)


def gradients(layers: str, shape: tuple[int, ...]) -> list[NDArray[np.bool_]]:
    """Run a list of layers in torch with positive weights and means for maxima; say where the input has a gradient."""
    count = len(shape) - 2
    convolution = (torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)[count - 1]
    average = (torch.nn.functional.avg_pool1d, torch.nn.functional.avg_pool2d, torch.nn.functional.avg_pool3d)[
        count - 1
    ]
    maps: dict[str, Any] = {}
    image = torch.ones(shape, dtype=torch.float64, requires_grad=True)
    value = image
    for word in layers.split():
        match = WORD.fullmatch(word)
        assert match is not None, word
        found = match.groupdict()
        size, dilation = int(found["size"] or 1), int(found["dilation"] or 1)
        if found["source"]:
            value = maps[found["source"]]
        if found["kind"] == "conv":
            padding = dilation * (size - 1) // 2 if found["padding"] is None else int(found["padding"])
            weight = torch.full((1, value.shape[1], *[size] * count), 0.01, dtype=torch.float64)
            value = convolution(value, weight, None, int(found["stride"] or 1), padding, dilation)
        elif found["kind"] == "up":
            value = torch.nn.functional.interpolate(value, scale_factor=size, mode="nearest")
        elif found["kind"] == "global":
            value = value.mean(tuple(range(2, 2 + count)), keepdim=True)
        else:
            stride, padding = int(found["stride"] or size), int(found["padding"] or 0)
            value = average(value, size, stride, padding, bool(found["ceil"]))
        if found["other"]:
            other = maps[found["other"]]
            value = value + other if found["sign"] == "+" else torch.cat([value, other], 1)
        if found["name"]:
            maps[found["name"]] = value
    value.sum().backward()
    seen = (image.grad != 0).numpy()
    return [seen.any(axis=tuple(other for other in range(count + 2) if other != axis)) for axis in range(2, count + 2)]


def check(layers: str, shape: tuple[int, ...]) -> None:
    graph = read_graph(layers)
    found = read_pixels(graph, graph.infer(shape))
    for mine, theirs in zip(found, gradients(layers, shape), strict=True):
        np.testing.assert_array_equal(mine, theirs, err_msg=f"{layers} at {shape}")


M5 = "conv80x1/16p0 pool4 conv3x1p0 pool4 conv3x1p0 pool4 conv3x1p0 pool4"
FIRE = "conv1x1@s{0} conv1x1@e{0} conv3x1<s{0}|e{0}"
SQUEEZENET = " ".join(
    [
        "conv3x1/2p0 pool3/2c",
        *(FIRE.format(n) for n in (1, 2)),
        "pool3/2c",
        *(FIRE.format(n) for n in (3, 4)),
        "pool3/2c",
    ]
    + [FIRE.format(n) for n in (5, 6, 7, 8)]
    + ["conv1x1"]
)
ALEXNET = "conv11x1/4p2 pool3/2 conv5x1p2 pool3/2 conv3x1 conv3x1 conv3x1 pool3/2"


def resnet18() -> str:
    words, last = ["conv7x1/2p3 pool3/2p1@start"], "start"
    for stage in range(4):
        for block in range(2):
            name = f"{stage}{block}"
            step = 2 if stage and not block else 1
            if step == 2:
                words.append(f"conv3x1/2 conv3x1@b{name} conv1x1/2<{last}+b{name} conv1x1@i{name}")
            else:
                words.append(f"conv3x1 conv3x1+{last} conv1x1@i{name}")
            last = f"i{name}"
    return " ".join(words)


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        (M5, (1, 1, 8000)),
        (M5, (1, 1, 6848)),
        (SQUEEZENET, (1, 1, 224, 224)),
        (SQUEEZENET, (1, 1, 227, 225)),
        (ALEXNET, (1, 1, 224, 227)),
        (ALEXNET, (1, 1, 250, 253)),
        (resnet18(), (1, 1, 224, 225)),
        (resnet18(), (1, 1, 230, 231)),
        ("conv3x1/2p0 conv3x1/2p0", (1, 1, 31, 33)),
        ("conv3x1/2p0 conv3x1/2p0", (1, 1, 30, 32)),
        ("pool2 conv3x1", (1, 1, 33, 34)),
        ("conv3x1 pool2 conv3x1 pool2 conv3x1 pool2 conv3x1 pool2", (1, 1, 40, 47)),
        ("pool2 pool2 pool2", (1, 1, 31, 32)),
        ("conv1x1/2 conv3x1", (1, 1, 32, 33)),
        ("conv3x1/3p0d2 pool3/2p1c", (1, 1, 29, 30)),
        ("pool3@a conv1x1<a pool2 global", (1, 1, 23, 24)),
        ("pool2@a pool2 up2", (1, 1, 19, 21)),
        ("conv3x1/2p0 pool2 conv3x1", (1, 1, 9, 11, 12)),
        ("pool2 conv3x1p0 pool2", (1, 1, 11, 12, 14)),
    ],
)
def test_what_is_read_is_where_the_input_has_a_gradient(layers: str, shape: tuple[int, ...]) -> None:
    check(layers, shape)


def test_random_chains_and_branches_agree_with_gradients() -> None:
    draw, checked = random.Random(7), 0
    for _ in range(80):
        words = []
        for number in range(draw.randint(1, 5)):
            size, stride = draw.choice((1, 2, 3, 4)), draw.choice((1, 1, 2, 3))
            if draw.random() < 0.5:
                padding, dilation = draw.randint(0, size // 2), draw.choice((1, 1, 2))
                words.append(f"conv{size}x1/{stride}p{padding}" + (f"d{dilation}" if dilation > 1 else ""))
            else:
                words.append(f"pool{max(2, size)}/{stride}p{draw.randint(0, 1)}" + draw.choice(("", "c")))
            words[-1] += f"@m{number}"
            if draw.random() < 0.3:
                words.append(f"conv1x1@n{number}+m{number}")
        with contextlib.suppress(NetworkError):  # too small for all of them
            check(" ".join(words), (1, 1, draw.randint(40, 60)))
            checked += 1
    assert checked > 50


# ---------------------------------------------------------------------------------------------------------------------
# Operators of ONNX, by perturbation


def perturbed(model: Any, shape: tuple[int, ...]) -> list[NDArray[np.bool_]]:
    """Change each line of the input, and say whether some output changes in onnxruntime."""
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(model.SerializeToString())
    image = np.random.default_rng(3).uniform(1, 2, shape).astype(np.float32)

    def run(given: NDArray[np.float32]) -> list[Any]:
        return session.run(None, {"x": given})  # type: ignore[no-any-return]

    whole = run(image)
    found = []
    for axis in range(2, len(shape)):
        seen = np.zeros(shape[axis], np.bool_)
        for place in range(shape[axis]):
            other = image.copy()
            line = [slice(None)] * len(shape)
            line[axis] = slice(place, place + 1)
            other[tuple(line)] *= (
                np.random.default_rng(place).uniform(2, 3, other[tuple(line)].shape).astype(np.float32)
            )
            seen[place] = any((a != b).any() for a, b in zip(whole, run(other), strict=True))
        found.append(seen)
    return found


HEAD = '<ir_version: 8, opset_import: ["": 18]> g (float[1, 2, 13, 14] x) => (float[A, B, C, D] y)'
POOL = "AveragePool <kernel_shape = [3, 3], strides = [3, 3]>"


@pytest.mark.parametrize(
    "body",
    [
        # A Pad in front of a window is no part of the image: nothing of it is lost, nor here at 13.
        f'<int64[8] p = {{0, 0, 1, 1, 0, 0, 1, 1}}> {{ a = Pad <mode = "reflect"> (x, p) y = {POOL} (a) }}',
        f"<int64[8] p = {{0, 0, 1, 2, 0, 0, 0, 0}}> {{ a = Pad (x, p) y = {POOL} (a) }}",
        f'<int64[8] p = {{0, 0, 0, 3, 0, 0, 2, 0}}> {{ a = Pad <mode = "edge"> (x, p) y = {POOL} (a) }}',
        "<int64[2] s = {2, 3}, int64[2] e = {11, 100}, int64[2] i = {2, 3}> { y = Slice (x, s, e, i) }",
        "<int64[2] s = {0, 0}, int64[2] e = {9, 10}, int64[2] i = {2, 3}, int64[2] t = {2, 1}> "
        f"{{ a = Slice (x, s, e, i, t) y = {POOL} (a) }}",
        f"<float[4] s = {{1, 1, 2, 2}}> {{ a = Resize (x, , s) y = {POOL} (a) }}",
        f'<float[4] s = {{1, 1, 2, 2}}> {{ a = {POOL} (x) y = Resize <mode = "linear"> (a, , s) }}',
        f"{{ a = {POOL} (x) y = Softmax <axis = 1> (a) }}",
        f"{{ a = Softmax <axis = 3> (x) y = {POOL} (a) }}",
        f"{{ a = Transpose <perm = [0, 2, 3, 1]> (x) b = Transpose <perm = [0, 3, 1, 2]> (a) y = {POOL} (b) }}",
        f"{{ a, b = Split <axis = 1, num_outputs = 2> (x) c = {POOL} (a) d = {POOL} (b) "
        "y = Concat <axis = 1> (c, d) }",
        f"{{ a = GlobalAveragePool (x) b = {POOL} (x) y = Mul (a, b) }}",
        f"{{ a = {POOL} (x) b = {POOL} (a) y = Identity (b) }}",
        f"<float[2, 1, 3, 3] w = {{{', '.join(['1'] * 18)}}}> {{ a = ConvTranspose <strides = [2, 2]> (x, w) "
        "y = AveragePool <kernel_shape = [5, 5], strides = [5, 5]> (a) }",
        "{ a = DepthToSpace <blocksize = 1> (x) y = MaxPool <kernel_shape = [2, 2], strides = [4, 4]> (a) }",
        f"{{ t = Shape (x) s = Cast <to = 1> (t) z = ReduceSum <keepdims = 0> (s) a = {POOL} (x) y = Add (a, z) }}",
        "<int64[8] p = {0, 0, -2, 0, 0, 0, -1, 0}> { y = Pad (x, p) }",
    ],
)
def test_what_is_read_changes_a_result(body: str) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.parser.parse_model(f"{HEAD} {body}")
    graph = read_graph(model)
    found = read_pixels(graph, graph.infer((1, 2, 13, 14)))
    for mine, theirs in zip(found, perturbed(model, (1, 2, 13, 14)), strict=True):
        np.testing.assert_array_equal(mine, theirs, err_msg=body)


def test_what_is_not_known_reads_everything() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 18, "org.example": 1]>
    g (float[1, 1, 9, 9] x) => (float[1, 1, 4, 4] y) {
        a = org.example.Sharpen (x)
        y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)
    }""")
    graph = read_graph(model)
    assert all(each.all() for each in read_pixels(graph, graph.infer((1, 1, 9, 9))))


# ---------------------------------------------------------------------------------------------------------------------
# The finding


def found(layers: str, shape: tuple[int, ...], **settings: Any) -> list[Any]:
    return [each for each in examine(layers, shape, **settings).findings if each.code == "D101"]


def test_m5_leaves_out_the_last_1152_samples() -> None:
    (finding,) = found(M5, (1, 1, 8000))
    assert finding.message.startswith("samples 6848 to 7999 of 8000 are read by nothing, 14 % of the input")
    assert finding.stage == "pool4"
    assert "use an input of size 6848 or 10944" in finding.fixes[0]
    assert "pixel" not in finding.message
    (timed,) = found(M5, (1, 1, 8000), sample_rate=8000)
    assert "samples 6848 to 7999 of 8000 (0.144 s) are read by nothing" in timed.message


def test_what_neighbours_see_is_no_finding() -> None:
    layers = "conv3x8 pool2 conv3x8 pool2 conv3x8 pool2 conv3x8 pool2"
    result = examine(layers, (1, 3, 40, 40))
    assert any(axis.cut for stage in result.network.stages for axis in stage.axes)
    assert not found(layers, (1, 3, 40, 40))


def test_it_is_told_in_rows_and_columns_with_the_stage_that_loses_most() -> None:
    (finding,) = found("pool2@first pool4@second", (1, 3, 23, 24))
    assert finding.message.startswith("rows 16 to 22 of 23 are read by nothing, 30 % of the input; most")
    (volume,) = found("pool2", (1, 3, 5, 4, 4))
    assert volume.message.startswith("slice 4 of 5 is read by nothing")


def test_less_than_what_lies_between_two_windows_is_no_end() -> None:
    graph = read_graph("conv1x1/3")
    assert [each.end for each in unread_ends(graph, graph.infer((1, 1, 31, 33)))] == [0, 0]
    graph = read_graph("conv1x1/3 pool2")
    assert [each.end for each in unread_ends(graph, graph.infer((1, 1, 31, 34)))] == [3, 0]
