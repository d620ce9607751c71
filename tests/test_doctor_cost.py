"""Multiply-adds, parameters and memory, against published counts and those of torch and torchinfo."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pooling.doctor import read
from tests import published


@pytest.mark.parametrize("name", published.ENDPOINTS)
def test_published_operations_at_every_end_point(name: str) -> None:
    text, ends = published.ENDPOINTS[name]
    network = read(text, (1, 3, 224, 224))
    operations = 0
    for stage in network.stages:
        operations += 2 * stage.macs
        if stage.kind == "pooling":
            operations += math.prod(stage.output_shape) * math.prod(axis.kernel_size for axis in stage.axes)
        elif stage.kind == "convolution" and name in published.WITH_BIASES:
            operations += math.prod(stage.output_shape)
        if stage.name in ends:
            assert round(operations / 1e9, 3) == ends[stage.name][4]


LIGHT = {
    "bvlc_alexnet": (60_965_224, 654_560_384),
    "resnet50": (25_557_032, 4_089_184_256),
    "squeezenet": (1_235_496, 349_151_936),
    "vgg19": (143_667_240, 19_632_062_464),
}
"""Parameters as the zoos of Caffe and torchvision give them, and multiply-adds."""


@pytest.mark.parametrize("name", LIGHT)
def test_light_models_have_the_published_numbers(name: str) -> None:
    test = pytest.importorskip("onnx.backend.test")
    found = read(Path(test.__file__).parent / "data" / "light" / f"light_{name}.onnx")
    assert (found.parameters, found.macs) == LIGHT[name]


def test_vgg_16_has_the_published_number_of_parameters() -> None:
    found = read(f"{published.VGG_16} fc4096 relu fc4096 relu fc1000", (1, 3, 224, 224))
    assert found.parameters == 138_357_544
    assert found.macs == 15_470_264_320  # 15.5 billion, Canziani et al. 2016


def test_mobilenet_has_the_published_numbers() -> None:
    network = read(f"{published.mobilenet_v1()} global fc1000", (1, 3, 224, 224))
    found = network
    assert round(found.macs / 1e6) in (568, 569)  # 569 million in table 4 of Howard et al. 2017
    assert round(found.parameters / 1e6, 1) == 4.2  # table 4


# ---------------------------------------------------------------------------------------------------------------------
# By hand


@pytest.mark.parametrize(
    ("text", "input_shape", "macs", "parameters", "output_bytes"),
    [
        ("conv3x16", (1, 8, 10, 12), 120 * 16 * 8 * 9, 16 * 8 * 9 + 16, 120 * 16 * 4),
        ("conv3x16/2p0", (2, 8, 9, 9), 2 * 16 * 16 * 8 * 9, 16 * 8 * 9 + 16, 2 * 16 * 16 * 4),
        ("conv3x16g4", (1, 8, 10, 10), 100 * 16 * 2 * 9, 16 * 2 * 9 + 16, 100 * 16 * 4),
        ("dwconv5", (1, 8, 10, 10), 100 * 8 * 25, 8 * 25 + 8, 100 * 8 * 4),
        ("deconv4x16/2p1", (1, 8, 10, 10), 100 * 8 * 16 * 16, 8 * 16 * 16 + 16, 400 * 16 * 4),
        ("fc10", (3, 8, 10, 10), 3 * 8000, 8010 * 10, 0),
        ("pool2", (1, 8, 10, 10), 0, 0, 25 * 8 * 4),
        ("relu", (1, 8, 10, 10), 0, 0, 800 * 4),
        ("bn", (1, 8, 10, 10), 0, 16, 800 * 4),
        ("conv3x16", (1, 8, 4, 5, 6), 120 * 16 * 8 * 27, 16 * 8 * 27 + 16, 120 * 16 * 4),
    ],
)
def test_by_hand(text: str, input_shape: tuple[int, ...], macs: int, parameters: int, output_bytes: int) -> None:
    (stage,) = read(text, input_shape).stages
    parameters = parameters if text != "fc10" else 800 * 10 + 10
    output_bytes = output_bytes or 3 * 10 * 4
    assert (stage.macs, stage.parameters, stage.output_bytes) == (macs, parameters, output_bytes)


def test_everything_together() -> None:
    network = read("conv3x16 pool2 fc10", (1, 3, 8, 8))
    assert network.macs == 64 * 16 * 27 + 256 * 10
    assert network.parameters == 3 * 16 * 9 + 16 + 256 * 10 + 10
    assert network.output_bytes == (16 * 64 + 16 * 16 + 10) * 4


# ---------------------------------------------------------------------------------------------------------------------
# Against torch

CHAINS = [
    "conv7x16/2p3 pool3/2p1 conv3x32 conv1x8 fc10",
    "conv3x16p0 dwconv3/2p1 conv1x32 avgpool2 conv3x8g4 fc5",
    "conv5x12/3p1 conv3x12d2 dwconv5p2 global fc7 fc3",
    "conv1,7x6p0,3 conv7,1x6p3,0/2,1 pool2 fc4",
    "conv3x16 deconv4x8/2p1 conv3x4 deconv2/2 fc2",
    "conv4x16/2p1 conv4x16/2p1 deconv3x16/2p1o1 deconv3x8/2p0g2 fc2",
]


def in_torch(torch: Any, text: str, channels: int, size: int) -> Any:
    """Build a chain as torch modules, without biases."""
    nn = torch.nn
    modules: list[Any] = []
    for stage in read(text, (1, channels, size, size)).stages:
        kernel = tuple(axis.kernel_size for axis in stage.axes)
        stride = tuple(axis.stride for axis in stage.axes)
        padding = tuple(axis.pad_begin for axis in stage.axes)
        dilation = tuple(axis.dilation for axis in stage.axes)
        taken, given = stage.input_shape[1], stage.output_shape[1]
        match stage.kind:
            case "convolution":
                groups = taken * given * math.prod(kernel) // (stage.parameters - given)
                modules.append(nn.Conv2d(taken, given, kernel, stride, padding, dilation, groups, bias=False))
            case "transposed":
                groups = taken * given * math.prod(kernel) // (stage.parameters - given)
                wanted = [axis.input_size for axis in stage.axes]
                reached = [(axis.output_size - 1) * axis.stride - 2 * axis.pad_begin for axis in stage.axes]
                extra = tuple(w - r - k for w, r, k in zip(wanted, reached, kernel, strict=True))
                modules.append(nn.ConvTranspose2d(taken, given, kernel, stride, padding, extra, groups, bias=False))
            case "pooling":
                modules.append(nn.AvgPool2d(kernel, stride, padding))
            case "global":
                modules.append(nn.AdaptiveAvgPool2d(1))
            case "dense":
                modules += [nn.Flatten(), nn.Linear(math.prod(stage.input_shape[1:]), given, bias=False)]
    return nn.Sequential(*modules)


@pytest.mark.parametrize("text", CHAINS)
def test_macs_are_those_that_torch_counts(text: str) -> None:
    torch = pytest.importorskip("torch")
    counter = pytest.importorskip("torch.utils.flop_counter")
    model = in_torch(torch, text, 4, 48)
    network = read(text, (2, 4, 48, 48))
    with counter.FlopCounterMode(display=False) as flops:
        result = model(torch.zeros((2, 4, 48, 48)))
    assert tuple(result.shape) == network.stages[-1].output_shape
    assert 2 * network.macs == flops.get_total_flops()


@pytest.mark.parametrize("text", [text for text in CHAINS if "deconv" not in text])
def test_macs_are_those_that_torchinfo_counts(text: str) -> None:
    # torchinfo multiplies the weights of a transposed convolution by the cells of its output, not of its input.
    torch = pytest.importorskip("torch")
    torchinfo = pytest.importorskip("torchinfo")
    summary = torchinfo.summary(in_torch(torch, text, 4, 48), input_size=(1, 4, 48, 48), verbose=0)
    assert read(text, (1, 4, 48, 48)).macs == summary.total_mult_adds


@pytest.mark.parametrize("text", [published.VGG_16, published.ALEXNET_V2, published.mobilenet_v1()])
def test_published_networks_cost_what_torchinfo_counts(text: str) -> None:
    torch = pytest.importorskip("torch")
    torchinfo = pytest.importorskip("torchinfo")
    explicit = text.replace("/2psame", "/2p1").replace("psame", "")
    with torch.device("meta"):
        model = in_torch(torch, explicit, 3, 224)
        summary = torchinfo.summary(model, input_data=torch.zeros((1, 3, 224, 224)), device="meta", verbose=0)
    network = read(explicit, (1, 3, 224, 224))
    assert network.macs == summary.total_mult_adds
    # Ours have a bias for each channel that a convolution gives.
    biases = sum(stage.output_shape[1] for stage in network.stages if stage.kind == "convolution")
    assert network.parameters - biases == summary.total_params


# ---------------------------------------------------------------------------------------------------------------------
# In ONNX models


def test_what_an_onnx_model_costs() -> None:
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    half = np.float16
    weights = {
        "w": np.zeros((6, 4, 3, 3), half),
        "b": np.zeros(6, half),
        "scale": np.zeros(6, half),
        "shift": np.zeros(6, half),
        "mean": np.zeros(6, half),
        "variance": np.zeros(6, half),
        "head": np.zeros((6, 10), half),
        "shape": np.array([1, 6]),
        "epsilon": np.array(1, half),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "variance"], ["n"]),
            helper.make_node("Add", ["n", "epsilon"], ["a"]),
            helper.make_node("Conv", ["a", "w2", "b"], ["again"]),
            helper.make_node("GlobalAveragePool", ["again"], ["g"]),
            helper.make_node("Reshape", ["g", "shape"], ["r"]),
            helper.make_node("MatMul", ["r", "head"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT16, [1, 4, 8, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT16, [1, 10])],
        [
            numpy_helper.from_array(value, name)
            for name, value in {**weights, "w2": np.zeros((6, 6, 1, 1), half)}.items()
        ],
    )
    network = read(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)]))
    assert {stage.name: stage.parameters for stage in network.stages} == {
        "c": 6 * 4 * 9 + 6,
        "n": 12,  # mean and variance are not trained
        "a": 0,  # a lone number is none that is trained
        "again": 36,  # its bias was counted before
        "g": 0,
        "r": 0,
        "y": 60,
    }
    assert {stage.name: stage.macs for stage in network.stages if stage.macs} == {
        "c": 64 * 6 * 36,
        "again": 64 * 6 * 6,
        "y": 60,
    }
    assert [stage.output_bytes for stage in network.stages] == [768, 768, 768, 768, 12, 12, 20]
