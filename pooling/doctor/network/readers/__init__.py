"""Networks from whatever somebody has: `read_graph`, and `read` at one size.

onnx      from a model
layers    from layers of this package
text      from layers as text
module    from a module of torch
sources   from the name of a model of a library, or of a function that makes one
exported  from a program of torch.export
files     what a file is that holds no network
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pooling.arguments import sequence
from pooling.errors import type_error, value_error
from pooling.layer import EXPORT, Layer, Sequential, is_of_torch, kind_of
from pooling.reporting.formats import joined
from pooling.signs import printable, short_repr
from pooling.tool_arguments import mapping_of, path_of, shape_of

from ..graph import Graph
from ..network import Network, NetworkError
from .files import about_file, about_folder
from .sources import from_source, is_source

__all__ = ["graph_of", "input_shape_of", "is_of_module", "read", "read_graph", "shape_of_input", "source_of"]


InputShape = Sequence[int] | Mapping[str, Sequence[int]]
Shape = tuple[int, ...]
OF_INPUTS = '{"image": (1, 3, 224, 224)}'
"""How shapes by name are written."""


def read(source: Any, input_shape: InputShape | None = None) -> Network:
    """Read a network.

    Parameters
    ----------
    source : path, str, onnx.ModelProto, bytes, torch.nn.Module, Sequential or Layer
        An ONNX model or the path of one; a module of torch, or the name of one, ``"timm:resnet50"``,
        ``"package.module:factory"``, see `pooling.doctor.network.readers.sources`; layers of this package, also as
        text, ``"MaxPool2d(3, stride=2)"``; or a list of layers as words, see
        `pooling.doctor.network.readers.text`. A str that ends in ``.onnx``, or that names
        a file which exists, is a path.
    input_shape : sequence of int, optional
        Of the network's input; what a model says of it is the default, and 1x3x224x224 for layers.

    Returns
    -------
    Network

    Raises
    ------
    NetworkError
        If the network cannot be read, or does not work at this size.
    OpenShapeError
        If an ONNX model leaves sizes open that `input_shape` does not give.
    TypeError
        If `source` is nothing that could be a network.

    Examples
    --------
    >>> import pooling
    >>> from pooling.doctor import read
    >>> network = read(pooling.Sequential(pooling.MaxPool2d(3, stride=2), pooling.GlobalAvgPool2d()), (1, 64, 32, 32))
    >>> [stage.name for stage in network.stages]
    ['0_MaxPool2d', '1_GlobalAvgPool2d']
    """
    source, shape = source_of("read", source), input_shape_of("read", input_shape)
    graph = graph_of("read", source, shape)
    if shape is None or is_of_module(source):
        return graph.infer()
    return graph.infer(shape_of_input("read", graph, shape) if isinstance(shape, dict) else shape)


def read_graph(source: Any, input_shape: InputShape | None = None) -> Graph:
    """Read a network without giving it a size.

    Parameters
    ----------
    source : path, str, onnx.ModelProto, bytes, Sequential or Layer
        As for `read`.
    input_shape : sequence of int, optional
        A shape that it will be asked for: of the inputs of a model that of its rank is meant, and layers take one
        without a batch.

    Returns
    -------
    Graph

    Raises
    ------
    NetworkError
        If the network cannot be read.
    TypeError
        If `source` is nothing that could be a network.

    Examples
    --------
    >>> from pooling.doctor import read_graph
    >>> graph = read_graph("conv7x64/2p3@stem pool3/2p1@pool")
    >>> [node.name for node in graph.nodes]
    ['stem', 'pool']
    >>> graph.infer((1, 3, 64, 64)).stage("pool").output_shape
    (1, 64, 16, 16)
    """
    return graph_of("read_graph", source_of("read_graph", source), input_shape_of("read_graph", input_shape))


def source_of(function: str, source: Any) -> Any:
    """Return what a network is read from; texts and paths as plain ones that can be.

    Raises
    ------
    TypeError, ValueError
        For a path that is none.
    """
    if isinstance(source, str):
        return str.__str__(source)
    return path_of(function, "source", source) if isinstance(source, os.PathLike) else source


def input_shape_of(function: str, shape: Any) -> Shape | dict[str, Shape] | None:
    """Return the shape of an input, or of each by name.

    Raises
    ------
    TypeError, ValueError
        If it is none.
    """
    checked = function == "examine"  # for the others, a network refuses the sizes that it cannot have
    if shape is None or not isinstance(shape, Mapping):
        return None if shape is None else shape_of(function, shape, checked=checked)
    named = mapping_of(function, "input_shape", shape, OF_INPUTS, "names of inputs")
    return {
        name: shape_of(function, each, f"input_shape[{short_repr(name)}]", checked=checked)
        for name, each in named.items()
    }


def graph_of(function: str, source: Any, input_shape: Shape | dict[str, Shape] | None) -> Graph:
    """Read a network for a function that checked its arguments by `source_of` and `input_shape_of`."""
    if _is_module(source):
        from .module import from_module

        return from_module(source, input_shape)
    if is_of_module(source):
        return from_source(str(os.fspath(source)), input_shape)
    if isinstance(input_shape, dict):
        graph = graph_of(function, source, None)
        shape_of_input(function, graph, input_shape)
        return graph
    if isinstance(source, (Sequential, Layer)):
        from .layers import from_sequential

        return from_sequential(source, input_shape)
    if isinstance(source, str) and not source.endswith(".onnx") and not os.path.isfile(source):
        from .text import from_text

        return from_text(source, input_shape)
    if not isinstance(source, (str, bytes, os.PathLike)) and type(source).__name__ != "ModelProto":
        raise type_error(function, f"{_wrong_source(source)}")
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        other = about_folder(path) if os.path.isdir(path) else about_file(path)
        if other:
            raise NetworkError(printable(other))
    try:
        from .onnx import from_onnx
    except ImportError as error:
        raise NetworkError(
            f"reading ONNX models needs {error.name}; install it with pip install 'ndpooling[onnx]'"
        ) from error
    return from_onnx(source, None if input_shape is None else len(input_shape))


def shape_of_input(function: str, graph: Graph, shapes: Mapping[str, Shape]) -> Shape:
    """Return the shape of the input that a graph is about, of shapes by name.

    Raises
    ------
    ValueError
        If no input is named, or another one: only a module of torch takes a shape for each.
    """
    unknown = [name for name in shapes if name != graph.input_name]
    if unknown or not shapes:
        others = f" ({joined(list(graph.others))} keep the shapes that the model gives them)" if graph.others else ""
        raise value_error(
            function,
            f"names {joined([short_repr(name) for name in unknown]) or 'no input'}, and the input of {graph.name} is "
            f"{graph.input_name!r}{others}",
            f"give --input-shape, or --input {graph.input_name}=SHAPE",
            argument=("input_shape", dict(shapes)),
        )
    return shapes[graph.input_name]


def is_of_module(source: Any) -> bool:
    """Whether a network is read from a module of torch: from one, or by the name of one."""
    return _is_module(source) or (isinstance(source, (str, os.PathLike)) and is_source(str(os.fspath(source))))


def _is_module(source: Any) -> bool:
    """Whether this is a module of torch, which is not imported for the question."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.nn.Module)


def _wrong_source(source: Any) -> str:
    """Say what to give instead of what is no network; of layers in a row, which one is none of this package."""
    in_a_row = isinstance(source, (list, tuple)) or (is_of_torch(source) and type(source).__name__ == "Sequential")
    parts = (sequence(source) or list(source if is_of_torch(source) else ())) if in_a_row else []
    found = next((place for place, each in enumerate(parts) if not isinstance(each, Layer)), None)
    which = "" if found is None else f", whose layer {found} is of type {kind_of(parts[found])}"
    said = f"source is of type {kind_of(source)}{which}; "
    if is_of_torch(source) or any(map(is_of_torch, parts)):
        return said + f"{EXPORT}, or give a pooling.Sequential of pooling layers"
    if parts and found is None:
        return said + "put its layers into a pooling.Sequential: Sequential(*layers)"
    return said + (
        "give the path of an ONNX model, its bytes or an onnx.ModelProto, a pooling.Sequential, or a list of layers as "
        'text, such as "conv3x64 pool2"'
    )
