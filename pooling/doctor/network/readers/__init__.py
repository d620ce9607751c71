"""Networks from whatever somebody has: `read_graph`, and `read` at one size.

onnx     from a model
layers   from layers of this package
text     from layers as text
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from pooling.errors import type_error
from pooling.layer import EXPORT, Layer, Sequential, is_of_torch, kind_of

from ..graph import Graph
from ..network import Network, NetworkError

__all__ = ["read", "read_graph"]


def read(source: Any, input_shape: Sequence[int] | None = None) -> Network:
    """Read a network.

    Parameters
    ----------
    source : path, str, onnx.ModelProto, bytes, Sequential or Layer
        An ONNX model or the path of one; layers of this package, also as text, ``"MaxPool2d(3, stride=2)"``; or a
        list of layers as words, see `pooling.doctor.network.readers.text`. A str that ends in ``.onnx``, or that names
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
    shape = None if input_shape is None else tuple(input_shape)
    return read_graph(source, shape).infer(shape)


def read_graph(source: Any, input_shape: Sequence[int] | None = None) -> Graph:
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
    if isinstance(source, (Sequential, Layer)):
        from .layers import from_sequential

        return from_sequential(source, input_shape)
    if _is_module(source):
        from .module import from_module

        return from_module(source, input_shape)
    if isinstance(source, str) and not source.endswith(".onnx") and not os.path.isfile(source):
        from .text import from_text

        return from_text(source, input_shape)
    if not isinstance(source, (str, bytes, os.PathLike)) and type(source).__name__ != "ModelProto":
        raise type_error("read", f"{_wrong_source(source)}")
    try:
        from .onnx import from_onnx
    except ImportError as error:
        raise NetworkError(
            f"reading ONNX models needs {error.name}; install it with pip install 'ndpooling[onnx]'"
        ) from error
    return from_onnx(source, None if input_shape is None else len(input_shape))


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
