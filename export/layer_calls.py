"""Layers in their places, and the orders of axes around them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.geometry import Axis
from pooling.layer import Layer
from pooling.operators import OPERATORS

from .dynamic_sizes import FreeAxis, Number
from .graph_builder import Dims, GraphBuilder

__all__ = ["LayerCall", "Order"]


@dataclass(frozen=True)
class Order:
    """How the axes of a layer's arrays lie, and the way to ``(N, C, *S)``, the order that ONNX has, and back."""

    layout: str
    dimensions: int
    batched: bool

    @property
    def permutation(self) -> list[int]:
        """The axes in the order ``(N, C, *S)``, or ``(C, *S)``."""
        channels = self.batched + self.dimensions
        if self.layout == "channels_first":
            return list(range(channels + 1))
        return [*range(self.batched), channels, *range(self.batched, channels)]

    def shape_of_graph(self, shape: Dims) -> Dims:
        """Return the shape in the graph of an array of the layer."""
        ordered = tuple(shape[axis] for axis in self.permutation)
        return ordered if self.batched else (1, *ordered)

    def shape_of_layer(self, shape: Dims) -> Dims:
        """Return the shape for the layer of a tensor of the graph."""
        kept = shape if self.batched else shape[1:]
        return tuple(kept[axis] for axis in np.argsort(self.permutation))

    def array_of_layer(self, array: NDArray[Any]) -> NDArray[Any]:
        """View a tensor of the graph as the layer has it."""
        return (array if self.batched else array[0]).transpose(np.argsort(self.permutation))

    def array_of_graph(self, array: NDArray[Any]) -> NDArray[Any]:
        """View an array of the layer as the graph has it."""
        ordered = array.transpose(self.permutation)
        return ordered if self.batched else ordered[np.newaxis]

    def to_channels_first(self, graph: GraphBuilder, x: str) -> str:
        """Bring an input of a call into the order ``(N, C, *S)``."""
        if self.layout == "channels_last":
            x = graph("Transpose", x, perm=self.permutation, why="ONNX pools with the channels first.")
        return x if self.batched else graph("Unsqueeze", x, axes=[0], why="ONNX pools batches only.")

    def from_channels_first(self, graph: GraphBuilder, x: str) -> str:
        """Undo `to_channels_first`."""
        if not self.batched:
            x = graph("Squeeze", x, axes=[0])
        if self.layout == "channels_last":
            x = graph("Transpose", x, perm=np.argsort(self.permutation).tolist())
        return x


@dataclass(frozen=True)
class LayerCall:
    """A layer in its place."""

    name: str
    """First part of the names of its nodes."""
    layer: Layer
    """What is lowered."""
    order: Order
    """How its arrays lie."""
    shape: Dims
    """Shape of what it takes, as ``(N, C, *S)`` whatever the layer's layout; sizes known at run time have names."""
    axes: tuple[Axis, ...]
    """Its windows, on some size where that is known at run time; empty where no axis describes them."""
    result: Dims
    """Shape of what it gives, in the same order."""
    indices: str
    """The convention of indices that the model gives, or takes."""
    output_size: Any
    """The argument of unpooling: an int, a sequence of int or None."""
    free: tuple[Axis | FreeAxis, ...] = ()
    """Its windows, if a spatial size is known at run time only; else empty."""

    def __post_init__(self) -> None:
        if OPERATORS[self.layer.operator].average and self.arguments.get("nan") == "ignore":
            raise ValueError(
                f"{self.title}: nan='ignore' cannot be exported, because AveragePool of ONNX knows no such means; "
                "export the layer with nan='propagate', or replace NaN in front of the model"
            )

    @property
    def title(self) -> str:
        """The layer as a person writes it, for doc strings; without the windows of fractional pooling."""
        arguments = {key: value for key, value in self.arguments.items() if key not in ("_random_samples", "rng")}
        return repr(type(self.layer)(**arguments)) if len(arguments) < len(self.arguments) else repr(self.layer)

    @property
    def arguments(self) -> dict[str, Any]:
        """The layer's arguments."""
        return dict(self.layer.arguments)

    @property
    def spatial(self) -> tuple[int, ...]:
        """Spatial sizes of what the layer takes, if they are known; see `plane`."""
        return tuple(size for size in self.shape[2:] if isinstance(size, int))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Spatial sizes of what the layer gives, if they are known."""
        return tuple(size for size in self.result[2:] if isinstance(size, int))

    @property
    def cells(self) -> int:
        """Cells of a plane of known size."""
        return math.prod(self.spatial)

    @property
    def windows(self) -> tuple[Axis | FreeAxis, ...]:
        """Its windows, whether sizes are known or not."""
        return self.free or self.axes

    @property
    def plane(self) -> tuple[Number, ...]:
        """Spatial sizes of what the layer takes, known or not."""
        return tuple(axis.input_size for axis in self.free) or self.spatial

    def at(self, shape: tuple[int, ...]) -> LayerCall:
        """Return the call where what it takes has this shape, in the order of the graph."""
        if not self.free:
            return self
        axes = self.layer.axes([int(size) for size in self.order.shape_of_layer(shape)])
        result = (*shape[:2], *(axis.output_size for axis in axes))
        return replace(self, shape=shape, axes=axes, result=result, free=())
