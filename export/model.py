"""From layers to ONNX models."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike

from pooling import geometry
from pooling.geometry import Axis
from pooling.layers import Layer, Sequential

from .builder import Dims, Graph
from .lowering import LOWERINGS

__all__ = ["to_onnx"]

DTYPES = ("float32", "float64")
OLDEST_OPSET = 7
DEFAULT_OPSET = 19
"""The oldest opset in which MaxPool and AveragePool have every attribute that the graphs use."""


def to_onnx(
    pool: Layer | Sequential,
    input_shape: Sequence[int | str],
    *,
    dtype: DTypeLike = np.float32,
    opset: int | None = None,
) -> onnx.ModelProto:
    """Return an ONNX model that computes what a layer, or several one after another, compute.

    Parameters
    ----------
    pool : Layer or Sequential
        What to export.
    input_shape : sequence of int and str
        Shape of the input as `pool` takes it, with or without the batch, in its layout. Batch and channels
        may have names, such as ``"N"``, and are then free at run time; spatial sizes are integers.
    dtype : dtype
        float32 or float64, of input and output.
    opset : int, optional
        Version of the ONNX operator set, from 7 to the newest that the onnx package knows; by default 19, the
        oldest whose MaxPool and AveragePool have every attribute, so that older runtimes read the model too.

    Returns
    -------
    onnx.ModelProto
        Takes ``input`` and gives ``output``, and for a layer with ``return_indices=True`` also ``indices``:
        int64 positions in the spatial plane, as the layer itself returns them.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If an argument has a wrong value, a window finds no place on the input, or the opset lacks an operator
        that the pooling needs.

    Notes
    -----
    No node has ``ceil_mode`` or ``auto_pad``, whose meaning depends on opset and runtime: all geometry is
    resolved to explicit pads. MaxPool, AveragePool, GlobalMaxPool and GlobalAveragePool do the work where
    they can; around them or in their place:

    - ``ceil_mode`` with ``count_include_pad`` becomes a Pad with zeros and an AveragePool that leaves out the
      cells that only ``ceil_mode`` touches.
    - ``divisor_override`` becomes an AveragePool over all taps, and a Mul by their number over the divisor.
    - Padding of `kernel_size` or more, possible with dilation, is refused by onnxruntime; what a window
      without any element gives, ONNX does not say; and opsets below 19 have no dilated AveragePool, those
      below 10 no dilated MaxPool. In all these cases Gather reads the taps of each window: for a maximum they
      lie side by side for a MaxPool without overlap, for an average they are added axis by axis.
    - In float64, onnxruntime has no AveragePool, GlobalAveragePool and GlobalMaxPool. Gather and ReduceSum,
      ReduceMean and ReduceMax do their work; nothing is rounded to float32 on the way.

    What becomes of NaN in a maximum is up to the runtime, whatever the layer's `nan` says: the standard is
    silent, and in onnxruntime it depends on where in the window NaN stands. Some of its float32 kernels also
    return the lowest finite number for a window of nothing but -inf.

    Examples
    --------
    >>> import pooling
    >>> from pooling.export import to_onnx
    >>> model = to_onnx(pooling.MaxPool2d(3, stride=2, ceil_mode=True), ("N", 64, 112, 112))
    >>> [node.op_type for node in model.graph.node]
    ['MaxPool']
    >>> print(model.graph.doc_string)
    MaxPool2d(kernel_size=3, stride=2, ceil_mode=True): (N, 64, 112, 112) -> (N, 64, 56, 56)
    """
    if not isinstance(pool, (Layer, Sequential)):
        raise TypeError(f"to_onnx: pool={pool!r} must be a Layer or a Sequential, not {type(pool).__name__}")
    shape = _checked_shape(input_shape)
    graph = Graph(_checked_opset(opset), _checked_dtype(dtype))
    stages = _resolved(pool, shape, graph.dtype)
    values: tuple[str, ...] = ("input",)
    for order, run in groupby(stages, lambda stage: stage.order):
        together = list(run)
        graph.scope = together[0].name
        values = (order.to_channels_first(graph, values[0]),)
        for stage in together:
            graph.scope = stage.name
            values = LOWERINGS[stage.layer.operator](graph, values[0], stage.layer, stage.axes)
        values = tuple(order.from_channels_first(graph, value) for value in values)
    if not stages:
        graph.scope = "Sequential"
        values = (graph("Identity", "input"),)
    output_shape = stages[-1].output_shape if stages else shape
    model = graph.model(
        shape,
        dict(zip(("output", "indices"), values, strict=False)),
        output_shape,
        f"{pool!r}: {_shown(shape)} -> {_shown(output_shape)}",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _checked_shape(shape: Any) -> Dims:
    if isinstance(shape, str) or not isinstance(shape, Sequence):
        raise TypeError(
            f"to_onnx: input_shape={shape!r} must be a sequence of integers and names, not {type(shape).__name__}"
        )
    for entry in shape:
        if isinstance(entry, bool) or not (isinstance(entry, str) or hasattr(entry, "__index__")):
            raise TypeError(
                f"to_onnx: input_shape={shape!r} must hold integers and names, not {type(entry).__name__}; "
                "give an unknown size a name such as 'N'"
            )
    sizes = tuple(entry if isinstance(entry, str) else operator.index(entry) for entry in shape)
    for size in sizes:
        if size == "" or (isinstance(size, int) and size < 0):
            raise ValueError(f"to_onnx: input_shape={shape!r} must not hold {size!r}; give a size or a name")
    return sizes


def _checked_dtype(dtype: Any) -> np.dtype[Any]:
    try:
        if dtype is None:  # for NumPy that would be float64
            raise TypeError
        found: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    except TypeError:
        raise TypeError(f"to_onnx: dtype={dtype!r} is no NumPy dtype; use {' or '.join(DTYPES)}") from None
    if found.name not in DTYPES:
        raise TypeError(f"to_onnx: dtype={found.name} cannot be exported; use {' or '.join(DTYPES)}")
    return found


def _checked_opset(opset: Any) -> int:
    if opset is None:
        return DEFAULT_OPSET
    if isinstance(opset, bool) or not hasattr(opset, "__index__"):
        raise TypeError(f"to_onnx: opset={opset!r} must be an integer or None, not {type(opset).__name__}")
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise ValueError(
            f"to_onnx: opset={opset} must lie between {OLDEST_OPSET} and {newest}, the newest that onnx "
            f"{onnx.__version__} knows"
        )
    return operator.index(opset)


def _shown(shape: Dims) -> str:
    return f"({', '.join(map(str, shape))})"


@dataclass(frozen=True)
class Order:
    """How the axes of a stage lie, and the way to ``(N, C, *S)``, the order that ONNX has, and back."""

    layout: str
    dimensions: int
    batched: bool

    @property
    def permutation(self) -> list[int]:
        """The axes in the order ``(N, C, *S)``, or ``(C, *S)``."""
        channels = self.batched + self.dimensions
        return [*range(self.batched), channels, *range(self.batched, channels)]

    def to_channels_first(self, graph: Graph, x: str) -> str:
        """Bring the input of a stage into the order ``(N, C, *S)``."""
        if self.layout == "channels_last":
            x = graph("Transpose", x, perm=self.permutation, why="ONNX pools with the channels first.")
        return x if self.batched else graph("Unsqueeze", x, axes=[0], why="ONNX pools batches only.")

    def from_channels_first(self, graph: Graph, x: str) -> str:
        """Undo `to_channels_first`."""
        if not self.batched:
            x = graph("Squeeze", x, axes=[0])
        if self.layout == "channels_last":
            x = graph("Transpose", x, perm=np.argsort(self.permutation).tolist())
        return x


@dataclass(frozen=True)
class Stage:
    """A layer in its place: its name in the model, axis order, windows and the shape of its result."""

    name: str
    layer: Layer
    order: Order
    axes: tuple[Axis, ...]
    output_shape: Dims


def _resolved(pool: Layer | Sequential, shape: Dims, dtype: np.dtype[Any]) -> list[Stage]:
    """Lay out the windows of every layer, refusing whatever the layer itself would refuse."""
    stages = []
    for number, layer in enumerate([pool] if isinstance(pool, Layer) else pool):
        kind = type(layer).__name__
        if layer.operator not in LOWERINGS:
            raise ValueError(f"to_onnx: {kind} cannot be exported; known are {', '.join(LOWERINGS)}")
        rank, dimensions = len(shape), layer.dimensions
        spatial = geometry.spatial_slice(rank, dimensions, layer.layout, function=kind)
        for size, axis in zip(shape[spatial], geometry.axis_names(dimensions), strict=False):
            if isinstance(size, str) and rank - dimensions in (1, 2):
                raise ValueError(
                    f"to_onnx: input_shape={shape!r} of {kind} has the name {size!r} on axis {axis}; spatial "
                    "sizes must be integers, since windows become explicit pads"
                )
        sizes = tuple(1 if isinstance(size, str) else size for size in shape)
        axes = layer.axes(sizes)
        # Pooling no elements checks divisor_override and whatever else depends on no size.
        layer(np.empty(geometry.replace_spatial([0] * rank, spatial, sizes[spatial]), dtype))
        shape = (*shape[: spatial.start], *(axis.output_size for axis in axes), *shape[spatial.stop :])
        name = kind if isinstance(pool, Layer) else f"{number}_{kind}"
        order = Order(layer.layout, dimensions, batched=rank - dimensions == 2)
        stages.append(Stage(name, layer, order, axes, shape))
    return stages
