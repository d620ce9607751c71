"""Lists of layers typed by hand, and layers of this package, as networks."""

from __future__ import annotations

import re

import pytest

import pooling
from pooling.doctor import Network, NetworkError, read, read_graph
from pooling.doctor.network.readers.text import EXAMPLE


def shapes(text: str, input_shape: tuple[int, ...] = (1, 8, 32, 32)) -> list[tuple[int, ...]]:
    return [stage.output_shape for stage in read(text, input_shape).stages]


def one(text: str, input_shape: tuple[int, ...] = (1, 8, 32, 32)) -> tuple[int, ...]:
    (shape,) = shapes(text, input_shape)
    return shape


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("conv3", (1, 8, 32, 32)),
        ("conv3x16", (1, 16, 32, 32)),
        ("conv3/2", (1, 8, 16, 16)),
        ("conv7/2p3x4", (1, 4, 16, 16)),
        ("conv3p0", (1, 8, 30, 30)),
        ("conv3d4", (1, 8, 32, 32)),
        ("conv3d4p0", (1, 8, 24, 24)),
        ("conv4", (1, 8, 31, 31)),
        ("conv2/2", (1, 8, 16, 16)),
        ("conv5psame/3", (1, 8, 11, 11)),
        ("conv5pvalid", (1, 8, 28, 28)),
        ("conv3p0:1", (1, 8, 31, 31)),
        ("conv3p0:1,1", (1, 8, 31, 32)),
        ("conv1,7", (1, 8, 32, 32)),
        ("conv1,7p0,3/1,2", (1, 8, 32, 16)),
        ("conv1p2", (1, 8, 36, 36)),
        ("conv3g4x16", (1, 16, 32, 32)),
        ("dwconv3/2", (1, 8, 16, 16)),
        ("deconv4/2p1", (1, 8, 64, 64)),
        ("deconv2/2x4", (1, 4, 64, 64)),
        ("deconv3/2p1o1", (1, 8, 64, 64)),
        ("deconv3/2psame", (1, 8, 64, 64)),
        ("pool2", (1, 8, 16, 16)),
        ("pool3", (1, 8, 10, 10)),
        ("maxpool3/2c", (1, 8, 16, 16)),
        ("pool3/2", (1, 8, 15, 15)),
        ("pool3/2p1", (1, 8, 16, 16)),
        ("pool3/2p0:1", (1, 8, 16, 16)),
        ("pool3/1d2", (1, 8, 28, 28)),
        ("avgpool4", (1, 8, 8, 8)),
        ("minpool2", (1, 8, 16, 16)),
        ("lppool2", (1, 8, 16, 16)),
        ("blurpool3/2", (1, 8, 16, 16)),
        ("maxblurpool3p1", (1, 8, 16, 16)),
        ("global", (1, 8, 1, 1)),
        ("gap", (1, 8, 1, 1)),
        ("globalmax", (1, 8, 1, 1)),
        ("adaptive7", (1, 8, 7, 7)),
        ("adaptivemax3,5", (1, 8, 3, 5)),
        ("up2", (1, 8, 64, 64)),
        ("up2,3", (1, 8, 64, 96)),
        ("bilinear4", (1, 8, 128, 128)),
        ("shuffle2", (1, 2, 64, 64)),
        ("unshuffle4", (1, 128, 8, 8)),
        ("pad1", (1, 8, 34, 34)),
        ("pad0:1,2", (1, 8, 33, 36)),
        ("fc10", (1, 10)),
        ("flatten", (1, 8192)),
        ("relu", (1, 8, 32, 32)),
        ("bn", (1, 8, 32, 32)),
    ],
)
def test_words(word: str, expected: tuple[int, ...]) -> None:
    assert one(word) == expected


def test_one_and_three_spatial_axes() -> None:
    assert shapes("conv3x4/2 pool2 global", (2, 1, 100)) == [(2, 4, 50), (2, 4, 25), (2, 4, 1)]
    assert shapes("conv3x4/2 pool2 up2 deconv2/2 fc5", (2, 1, 8, 32, 32)) == [
        (2, 4, 4, 16, 16),
        (2, 4, 2, 8, 8),
        (2, 4, 4, 16, 16),
        (2, 4, 8, 32, 32),
        (2, 5),
    ]


def test_branches_and_names() -> None:
    network = read("conv3x16@a pool2 conv3x16@b up2|a conv3x16<a@c|cat1+input", (1, 48, 8, 8))
    assert [(stage.name, stage.operator, stage.inputs) for stage in network.stages] == [
        ("a", "Conv", ("input",)),
        ("pool1", "MaxPool", ("a",)),
        ("b", "Conv", ("pool1",)),
        ("up1", "Resize", ("b",)),
        ("cat1", "Concat", ("up1", "a")),
        ("conv1", "Conv", ("a",)),
        ("cat2", "Concat", ("conv1", "cat1")),
        ("c", "Add", ("cat2", "input")),
    ]
    assert network.stage("cat1").output_shape == (1, 32, 8, 8)
    assert network.stage("c").output_shape == (1, 48, 8, 8)
    assert network.stage("c").kind == "merge"
    assert network.outputs == ("c",)


def test_several_branches_are_one_concatenation() -> None:
    network = read("pool2@in conv1x4@a conv1x5<in@b conv1x6<in cat|a|b", (1, 8, 8, 8))
    assert network.stages[-1].inputs == ("conv1", "a", "b")
    assert network.stages[-1].output_shape == (1, 15, 4, 4)


def test_numbers_are_counted_for_each_word() -> None:
    network = read("conv3 pool2 conv3 relu conv3@pool2 pool2", (1, 3, 16, 16))
    assert [stage.name for stage in network.stages] == ["conv1", "pool1", "conv2", "relu1", "pool2", "pool3"]


def test_a_size_that_nobody_gave_is_said() -> None:
    network = read("conv3 pool2")
    assert network.input_shape == (1, 3, 224, 224)
    assert network.notes == ("no input shape was given; 1x3x224x224 is assumed",)
    assert read("conv3", (1, 3, 8, 8)).notes == ()


def test_layers_have_their_layer() -> None:
    pool, average = read("pool3/2p1c avgpool2", (1, 8, 33, 33)).stages
    assert pool.layer == pooling.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
    assert average.layer == pooling.AvgPool2d(2)
    assert pool.axes == pooling.MaxPool2d(3, stride=2, padding=1, ceil_mode=True).axes((1, 8, 33, 33))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", 'layers: the list is empty; write one word for each layer, such as "conv7/2p3 pool3/2p1 fc10"'),
        ("conv", "layers: 'conv' (word 1) must have a number behind conv"),
        ("conv3 relu3", "layers: 'relu3' (word 2) must not have a number behind relu"),
        ("conv3/2/2", "layers: 'conv3/2/2' (word 1) gives its stride twice; keep one"),
        ("conv3c", "layers: 'conv3c' (word 1) gives a ceil, which conv does not have; leave out 'c'"),
        ("pool3x4", "layers: 'pool3x4' (word 1) gives a channels, which pool does not have; leave out 'x4'"),
        (
            "pool3?",
            f"layers: 'pool3?' (word 1) is not understood from '?' on; {EXAMPLE}",
        ),
        (
            "conv3+a",
            "layers: 'conv3+a' (word 1) refers to 'a', which no layer before it has as its name; write @a there",
        ),
        ("conv3@a conv3@a", "layers: 'conv3@a' (word 2) gives the name 'a', which is taken; choose another"),
        ("conv3@a@b", "layers: 'conv3@a@b' (word 1) gives two names; keep one"),
        ("conv3@a conv3<a<a", "layers: 'conv3<a<a' (word 2) gives two layers to read from; keep one"),
        ("add", "layers: 'add' (word 1) merges nothing; write add+name"),
        ("fc1,2", "layers: 'fc1,2' (word 1) has '1,2' behind fc; give one number"),
        ("conv1:2", "layers: 'conv1:2' (word 1) has '1:2' behind conv; give numbers"),
        ("conv3x0", "layers: 'conv3x0' (word 1): x0 leaves no channels; use at least 1"),
    ],
)
def test_errors_of_the_list(text: str, sentence: str) -> None:
    with pytest.raises(NetworkError) as error:
        read(text, (1, 8, 32, 32))
    assert str(error.value) == sentence


def test_a_word_that_is_none() -> None:
    with pytest.raises(NetworkError) as error:
        read("conv3 covn3")
    assert str(error.value).startswith("layers: 'covn3' (word 2) is no layer; known are conv, dwconv, ")


@pytest.mark.parametrize(
    ("text", "input_shape", "stage", "sentence"),
    [
        (
            "pool2 pool3",
            (1, 8, 5, 5),
            "pool2",
            "stage 'pool2' (MaxPool): kernel_size=3 finds no window on axis H: the effective kernel size is 3 and the "
            "padded input 0 + 2 + 0 = 2; the smallest input that works is 3",
        ),
        (
            "conv3p0 conv3p0",
            (1, 8, 4, 4),
            "conv2",
            "stage 'conv2' (Conv): kernel_size=(3, 3) finds no window on axis H: the effective kernel size is 3 and "
            "the padded input 0 + 2 + 0 = 2; the smallest input that works is 3",
        ),
        (
            "conv3@a pool2 up2+a",
            (1, 8, 7, 7),
            "add1",
            "stage 'add1' (Add): its inputs have shapes (1, 8, 6, 6) and (1, 8, 7, 7), which do not fit together: "
            "sizes 6 and 7 meet on axis 3; make the branches equally large",
        ),
        (
            "conv3@a pool2 up2|a",
            (1, 8, 7, 7),
            "cat1",
            "stage 'cat1' (Concat): its inputs have shapes (1, 8, 6, 6) and (1, 8, 7, 7), which do not fit together "
            "along axis 1: sizes 6 and 7 meet on axis 2; make the branches equally large",
        ),
        (
            "conv3g3",
            (1, 8, 7, 7),
            "conv1",
            "stage 'conv1' (Conv): 8 channels in and 8 out cannot be divided into group=3 alike",
        ),
        (
            "pool3p3",
            (1, 8, 7, 7),
            "pool1",
            "stage 'pool1' (MaxPool): padding=3 must be smaller than the effective kernel size 3 on axis H; use "
            "padding <= 2",
        ),
        (
            "conv3/0",
            (1, 8, 7, 7),
            "conv1",
            "stage 'conv1' (Conv): stride=0 must be at least 1 on axis H, not 0",
        ),
        (
            "blurpool3/2",
            (1, 8, 7),
            "blurpool1",
            "stage 'blurpool1' (BlurPool): its input has shape (1, 8, 7); there is no BlurPool for 1 spatial axes",
        ),
        (
            "conv1,2,3",
            (1, 8, 7, 7),
            "conv1",
            "stage 'conv1' (Conv): kernel_size=(1, 2, 3) must have one entry per spatial axis, 2 and not 3; give one "
            "integer for all axes or 2 of them",
        ),
    ],
)
def test_errors_of_a_size(text: str, input_shape: tuple[int, ...], stage: str, sentence: str) -> None:
    with pytest.raises(NetworkError) as error:
        read(text, input_shape)
    assert str(error.value) == sentence
    assert error.value.stage == stage


# ---------------------------------------------------------------------------------------------------------------------
# Layers of this package


def test_sequential() -> None:
    pools = pooling.Sequential(
        pooling.MaxPool2d(3, stride=2, padding=1),
        pooling.BlurPool2d(3, stride=2),
        pooling.AdaptiveAvgPool2d(5),
        pooling.GlobalAvgPool2d(),
    )
    network = read(pools, (2, 64, 55, 57))
    assert [stage.output_shape for stage in network.stages] == [
        (2, 64, 28, 29),
        (2, 64, 14, 15),
        (2, 64, 5, 5),
        (2, 64, 1, 1),
    ]
    assert network.stages[-1].output_shape == pools.output_shape((2, 64, 55, 57))
    assert [stage.kind for stage in network.stages] == ["pooling", "pooling", "pooling", "global"]
    assert [stage.operator for stage in network.stages] == [
        "MaxPool",
        "BlurPool2d",
        "AdaptiveAvgPool2d",
        "GlobalAveragePool",
    ]
    assert [stage.layer for stage in network.stages] == list(pools)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (pooling.MaxPool1d(3), (2, 4, 50)),
        (pooling.AvgPool3d(2, ceil_mode=True), (2, 4, 7, 8, 9)),
        (pooling.MaxPool2d(3, 2), (4, 17, 19)),
        (pooling.MaxPool2d(3, 2, layout="channels_last"), (2, 17, 19, 4)),
        (pooling.LPPool2d(2, 3), (2, 4, 17, 19)),
        (pooling.GeMPool2d(), (2, 4, 17, 19)),
        (pooling.MinPool2d(2), (2, 4, 17, 19)),
        (pooling.FractionalMaxPool2d(2, output_size=7), (2, 4, 17, 19)),
        (pooling.MaxBlurPool2d(3, padding=1), (2, 4, 17, 19)),
        (pooling.AdaptiveMaxPool2d((3, None)), (2, 4, 17, 19)),
        (pooling.GlobalMaxPool1d(), (2, 4, 17)),
    ],
)
def test_layers(layer: pooling.Layer, shape: tuple[int, ...]) -> None:
    (stage,) = read(layer, shape).stages
    assert stage.output_shape == layer.output_shape(shape)
    assert stage.layer == layer
    assert len(stage.spatial) == layer.dimensions
    assert stage.output_size == tuple(stage.output_shape[axis] for axis in stage.spatial)


def test_layers_without_a_shape() -> None:
    assert read(pooling.MaxPool1d(2)).input_shape == (1, 3, 224)
    assert read(pooling.MaxPool2d(2, layout="channels_last")).input_shape == (1, 224, 224, 3)


def test_layers_with_a_shape_of_other_axes() -> None:
    with pytest.raises(NetworkError) as error:
        read(pooling.MaxPool2d(2), (1, 3, 8, 8, 8))
    assert str(error.value) == (
        "MaxPool2d: input_shape=(1, 3, 8, 8, 8) has 5 axes; it must have 4, or 3 without the batch"
    )
    with pytest.raises(NetworkError) as error:
        read(pooling.Sequential())
    assert str(error.value) == "Sequential: it has no layers; give at least one"


# ---------------------------------------------------------------------------------------------------------------------
# Other sizes, other arguments


def test_at_another_size() -> None:
    graph = read_graph("conv3x16/2 pool2 fc10")
    network = graph.infer((1, 3, 32, 32))
    other = graph.infer((1, 3, 40, 48))
    assert [stage.output_shape for stage in other.stages] == [(1, 16, 20, 24), (1, 16, 10, 12), (1, 10)]
    assert graph.infer((1, 3, 32, 32)) == network


EDITED = "conv3x16/2@stem pool2@pool relu@act"


def edited(*changes: dict[str, object]) -> Network:
    graph = read_graph(EDITED)
    for change in changes:
        graph = graph.edited({"pool": change})
    return graph.infer((1, 3, 33, 33))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"stride": 1}, (1, 16, 16, 16)),
        ({"kernel_size": 3}, (1, 16, 8, 8)),
        ({"ceil_mode": True}, (1, 16, 9, 9)),
        ({"padding": 1}, (1, 16, 9, 9)),
        ({"dilation": 2, "stride": 1}, (1, 16, 15, 15)),
        ({"padding": "same", "stride": 2}, (1, 16, 9, 9)),
    ],
)
def test_edited(change: dict[str, object], expected: tuple[int, ...]) -> None:
    network = edited(change)
    assert network.stage("pool").output_shape == expected
    assert network.stage("act").input_shape == expected
    assert edited({"stride": 3}, change).stage("pool").axes[0].stride == change.get("stride", 3)


def test_editing_a_convolution_keeps_its_usual_padding() -> None:
    network = read_graph("conv3x16@a").edited({"a": {"kernel_size": 5, "stride": 2}}).infer((1, 3, 33, 33))
    assert network.stage("a").output_shape == (1, 16, 17, 17)
    assert network.stage("a").parameters == 16 * 3 * 25 + 16


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pol": {"stride": 1}}, "layers: there is no stage 'pol'; its stages are stem, pool, act"),
        (
            {"pool": {"strid": 1}},
            "pool.strid cannot be set; what can be set of a stage is kernel_size, stride, padding, dilation, ceil_mode",
        ),
        ({"act": {"stride": 1}}, "stage 'act' (Relu): Relu has no stride; it has nothing that can be set"),
        ({"stem": {"ceil_mode": True}}, "stage 'stem' (Conv): Conv has no ceil_mode; it has kernel_size, stride, "
         "dilation, padding"),
        ({"pool": {"stride": 0}}, "stage 'pool' (MaxPool): stride=0 must be at least 1 on axis H, not 0"),
        ({"pool": {"stride": "two"}}, "stage 'pool' (MaxPool): stride='two' must be an integer or one integer per "
         "spatial axis, not str; write it with whole numbers"),
    ],
)  # fmt: skip
def test_errors_of_editing(changes: dict[str, dict[str, object]], sentence: str) -> None:
    graph = read_graph(EDITED)
    with pytest.raises(NetworkError) as error:
        graph.edited(changes).infer((1, 3, 33, 33))
    assert str(error.value) == sentence


def test_lists_of_layers_need_no_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "pooling.doctor.network.readers.onnx", raising=False)
    assert read("conv3 pool2", (1, 3, 8, 8)).stages[-1].output_shape == (1, 3, 4, 4)
    for name in [name for name in sys.modules if name.startswith("pooling.onnx_models")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(NetworkError) as error:
        read("model.onnx")
    assert str(error.value) == "reading ONNX models needs onnx; install it with pip install 'ndpooling[onnx]'"


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (3, "source is of type int; give the path of an ONNX model, its bytes or an onnx.ModelProto, a pooling.Seq"),
        ([], "source is of type list; give the path of an ONNX model"),
        (
            [pooling.MaxPool2d(2)],
            "source is of type list; put its layers into a pooling.Sequential: Seq",
        ),
        (
            [pooling.MaxPool2d(2), 3],
            "source is of type list, whose layer 1 is of type int; give the path of an ONNX m",
        ),
    ],
)
def test_what_is_no_network(source: object, sentence: str) -> None:
    with pytest.raises(TypeError) as error:
        read(source)
    assert str(error.value).startswith(f"read: {sentence}")


def test_a_network_of_torch_is_told_the_way() -> None:
    torch = pytest.importorskip("torch")
    way = (
        "; write a network of torch to a file with torch.onnx.export, and give that file to pooling.doctor, or give a "
        "pooling.Sequential of pooling layers"
    )
    both = (torch.nn.MaxPool2d(2), torch.nn.ReLU())
    for source, kind in (
        ([pooling.MaxPool2d(2), both[1]], "list, whose layer 1 is of type ReLU of torch"),
        (torch.zeros(()), "Tensor of torch"),
    ):
        with pytest.raises(TypeError) as error:
            read(source)
        assert str(error.value) == f"read: source is of type {kind}{way}"


@pytest.mark.parametrize("text", ["conv3!", "poool2", "conv3/2q", "conv3x8 pool2 3"])
def test_a_word_that_is_not_understood_shows_one_that_is(text: str) -> None:
    with pytest.raises(NetworkError) as error:
        read(text)
    shown = re.search(r"; write a layer as (\S+) or (\S+): a word and its kernel", str(error.value))
    assert shown is not None
    assert [stage.name for stage in read(" ".join(shown.groups())).stages] == ["stem", "pool1"]
