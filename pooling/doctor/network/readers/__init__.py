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

from pooling.errors import type_error, value_error
from pooling.layer import EXPORT, Layer, Sequential, is_of_torch, kind_of
from pooling.reporting.formats import joined

from ..graph import Graph
from ..network import Network, NetworkError
from .files import about_file, about_folder
from .sources import from_source, is_source

__all__ = ["is_of_module", "read", "read_graph", "shape_of_input"]


InputShape = Sequence[int] | Mapping[str, Sequence[int]]


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
    graph = read_graph(source, input_shape)
    if input_shape is None or is_of_module(source):
        return graph.infer()
    if isinstance(input_shape, Mapping):
        return graph.infer(shape_of_input(graph, input_shape))
    return graph.infer(tuple(input_shape))


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
    """
    if _is_module(source):
        from .module import from_module

        return from_module(source, input_shape)
    if is_of_module(source):
        return from_source(str(os.fspath(source)), input_shape)
    if isinstance(input_shape, Mapping):
        graph = read_graph(source)
        shape_of_input(graph, input_shape)
        return graph
    if isinstance(source, (Sequential, Layer)):
        from .layers import from_sequential

        return from_sequential(source, input_shape)
    if isinstance(source, str) and not source.endswith(".onnx") and not os.path.isfile(source):
        from .text import from_text

        return from_text(source, input_shape)
    if not isinstance(source, (str, bytes, os.PathLike)) and type(source).__name__ != "ModelProto":
        raise type_error("read", f"{_wrong_source(source)}")
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        other = about_folder(path) if os.path.isdir(path) else about_file(path)
        if other:
            raise NetworkError(other)
    try:
        from .onnx import from_onnx
    except ImportError as error:
        raise NetworkError(
            f"reading ONNX models needs {error.name}; install it with pip install 'ndpooling[onnx]'"
        ) from error
    return from_onnx(source, None if input_shape is None else len(input_shape))


def shape_of_input(graph: Graph, shapes: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    """Return the shape of the input that a graph is about, of shapes by name.

    Raises
    ------
    ValueError
        If another input is named: only a module of torch takes a shape for each.
    """
    unknown = [name for name in shapes if name != graph.input_name]
    if unknown:
        others = f" ({joined(list(graph.others))} keep the shapes that the model gives them)" if graph.others else ""
        raise value_error(
            "examine",
            f"names {joined([repr(name) for name in unknown])}, and the input of {graph.name} is "
            f"{graph.input_name!r}{others}",
            f"give --input-shape, or --input {graph.input_name}=SHAPE",
            argument=("input_shape", dict(shapes)),
        )
    return tuple(shapes[graph.input_name])


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
    parts = list(source) if in_a_row else []
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
