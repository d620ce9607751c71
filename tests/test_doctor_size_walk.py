"""The fast walk over input sizes gives what inferring the whole network at each size gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pooling.doctor import Graph, NetworkError, read_graph
from pooling.doctor.analysis.input_sizes import input_sizes, sizes_by
from pooling.doctor.network.size_walk import SizeWalk, cut_axes

LAYERS = [
    ("conv3 pool2 conv3 pool2", (1, 3, 50, 50)),
    ("conv7x64/2p3 pool3/2p1 conv3/2 conv3 global fc10", (1, 3, 64, 64)),
    ("conv3x8@a pool2 conv3@b pool2 conv3 up2|b conv3x8 up2+a", (1, 3, 36, 36)),
    ("conv3x8@a global conv1x8 sigmoid@gate conv3<a+gate pool2", (1, 3, 21, 21)),
    ("conv3 pool2 fc10", (1, 3, 12, 12)),
    ("conv3 pool2,1 pool2,3", (1, 3, 36, 40)),
    ("conv80x32/16p0 pool4 conv3x32p0 pool4", (1, 1, 3000)),
    ("conv3x1/2p0 pool2 conv3x1", (1, 1, 9, 11, 12)),
    ("adaptive7 conv3", (1, 3, 30, 30)),
    ("conv3x8@a conv4/2p1 deconv2/2x8+a", (1, 3, 16, 16)),
]


def slowly(graph: Graph) -> Any:
    """Return what infers everything at every shape."""

    def at(shape: Sequence[int]) -> frozenset[int] | NetworkError:
        try:
            network = graph.infer(shape)
        except NetworkError as error:
            return error
        cuts = [cut_axes(stage, len(network.spatial)) for stage in network.stages]
        return frozenset[int]().union(*cuts)

    return at


@pytest.mark.parametrize(("layers", "shape"), LAYERS)
def test_sizes_are_those_of_the_slow_walk(layers: str, shape: tuple[int, ...]) -> None:
    graph = read_graph(layers)
    network = graph.infer(shape)
    assert input_sizes(graph, network) == sizes_by(slowly(graph), network, network.spatial_sizes)


@pytest.mark.parametrize(("layers", "shape"), LAYERS)
def test_one_walk_after_another_is_as_each_alone(layers: str, shape: tuple[int, ...]) -> None:
    graph = read_graph(layers)
    walk, slow = SizeWalk(graph), slowly(graph)
    for size in (*range(1, 40), 40, 13, 1):
        asked = (*shape[:2], size, *shape[3:])
        mine, theirs = walk.at(asked), slow(asked)
        if isinstance(theirs, NetworkError):
            assert isinstance(mine, NetworkError)
            assert (str(mine), mine.stage, mine.shape) == (str(theirs), theirs.stage, theirs.shape)
        else:
            assert mine == theirs


def test_changes_are_those_of_an_edited_graph() -> None:
    graph = read_graph("conv3x8@a pool2@b conv3@c pool2@d")
    walk = SizeWalk(graph)
    for changes in ({"b": {"stride": 1}}, {"d": {"kernel_size": 9}}, {"b": {"stride": 3}, "d": {"stride": 1}}, {}):
        for size in (4, 9, 16):
            mine, theirs = walk.at((1, 3, size, size), changes), slowly(graph.edited(changes))((1, 3, size, size))
            assert str(mine) == str(theirs)
    assert isinstance(walk.at((1, 3, 16, 16), {"a": {"ceil_mode": True}}), NetworkError)


def test_a_shape_of_the_wrong_rank_is_an_error() -> None:
    walk = SizeWalk(read_graph("conv3"))
    assert isinstance(walk.at((1, 3, 0, 8)), NetworkError)
    assert isinstance(walk.at((1,)), NetworkError)


def test_models_of_onnx_have_the_sizes_of_the_slow_walk() -> None:
    onnx = pytest.importorskip("onnx")
    backend_test = pytest.importorskip("onnx.backend.test")
    folder = Path(backend_test.__file__).parent / "data" / "light"
    light = [folder / f"light_{name}.onnx" for name in ("squeezenet", "shufflenet", "resnet50")]
    texts = [
        """g (float[1, 3, 16, 16] x) => (float[A, B] y) <int64[2] shape = {1, 192}> {
            p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
            y = Reshape (p, shape) }""",
        """g (float[1, 3, H, W] x) => (float[A, B, C, D] y)
            <int64[1] two = {2}, int64[1] four = {4}, float[0] no = {}> {
            p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
            s = Shape (x)
            t = Slice (s, two, four)
            q = Shape <start = 0, end = 2> (p)
            u = Concat <axis = 0> (q, t)
            r = Resize <mode = "nearest"> (p, no, no, u)
            y = Add (x, r) }""",
    ]
    sources: list[Any] = [str(path) for path in light]
    sources += [onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {text}') for text in texts]
    for source in sources:
        graph = read_graph(source)
        network = graph.infer(None if isinstance(source, str) or source is sources[-2] else (1, 3, 16, 16))
        assert input_sizes(graph, network) == sizes_by(slowly(graph), network, network.spatial_sizes)
