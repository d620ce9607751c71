"""Networks from layers of this package."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pooling.errors import recast
from pooling.layer import Layer, Sequential
from pooling.maps import spatial_slice
from pooling.signs import short_repr

from ...operators.nodes import Node, Shape
from ..graph import Graph
from ..network import NetworkError

__all__ = ["INPUT", "OPERATORS", "USUAL", "from_sequential"]

INPUT = "input"
USUAL = (1, 3, *(224,) * 3)
"""The usual size of an input where none is given, with as many axes as needed."""

OPERATORS = {
    "MaxPool": "MaxPool",
    "AvgPool": "AveragePool",
    "LPPool": "LpPool",
    "GlobalMaxPool": "GlobalMaxPool",
    "GlobalAvgPool": "GlobalAveragePool",
    "GlobalLPPool": "GlobalLpPool",
    "MaxUnpool": "MaxUnpool",
}
"""ONNX operators of layers, by class without the number of axes."""


def _operator(layer: Layer) -> str:
    kind = type(layer).__name__
    return OPERATORS.get(kind.removesuffix(f"{layer.dimensions}d"), kind)


def from_sequential(pool: Sequential | Layer, input_shape: Sequence[int] | None = None) -> Graph:
    """Read layers of this package; they are named as in exported models, number and class."""
    layers = [pool] if isinstance(pool, Layer) else list(pool)
    name = type(pool).__name__
    if not layers:
        raise NetworkError(f"{name}: it has no layers; give at least one")
    first = layers[0]
    usual: Shape = USUAL[: 2 + first.dimensions]
    if first.layout == "channels_last":
        usual = (usual[0], *usual[2:], usual[1])
    shape = usual if input_shape is None else tuple(input_shape)
    try:
        spatial = spatial_slice(len(shape), first.dimensions, first.layout, function=name)
    except ValueError as error:
        raise recast(NetworkError, error) from error
    if len(shape) - first.dimensions not in (1, 2):
        raise NetworkError(
            f"{name}: input_shape={short_repr(shape)} has {len(shape)} axes; it must have {first.dimensions + 2}, or "
            f"{first.dimensions + 1} without the batch"
        )
    usual = usual[-len(shape) :]  # without a batch if the given shape has none
    nodes: list[Node] = []
    for number, layer in enumerate(layers):
        title = type(layer).__name__ if isinstance(pool, Layer) else f"{number}_{type(layer).__name__}"
        source = nodes[-1].outputs if nodes else (INPUT,)
        nodes.append(Node(title, _operator(layer), source, (f"tensor {number}",), layer=_always(layer)))
    places = tuple(range(len(shape))[spatial])
    return Graph(name, INPUT, tuple(nodes), {}, nodes[-1].outputs, shape, spatial=places, usual=usual)


def _always(layer: Layer) -> Callable[[Shape], Layer]:
    return lambda shape: layer
