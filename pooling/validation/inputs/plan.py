"""What a node is asked: cases with numbers that bring out differences, and the model's own activations."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pooling
from pooling.geometry import Axis
from pooling.layer import Layer
from pooling.numerics.bounds import PRECISIONS
from pooling.numerics.inputs import draw
from pooling.onnx_models.nodes import checked_attributes

from ..pooling_nodes import CannotRunError, PoolingNode, SideInput
from .case import GRADIENT, Case, single_node

__all__ = ["ORDINARY", "REAL", "SPECIAL", "TAPS", "PlannedCase", "plan_cases", "plan_gradients", "taps"]

Numbers = NDArray[Any]
ORDINARY = "ordinary"
REAL = "real"
SPECIAL = {
    "nan": "a NaN in every position of the window, and nothing but NaN",
    "infinities": "infinities among numbers, and nothing but -inf",
    "magnitudes": "numbers close to the largest that there are, and denormals",
}
"""Numbers that a healthy network does not have, or that a runtime may be set to take for others: denormals for 0."""
ORDINARY_NUMBERS = "ties, negative numbers, zeros of both signs, many magnitudes"
NORM_NUMBERS = "ties, negative numbers, zeros of both signs"
INTEGERS = "ties, and the least and greatest integers"
TAPS = 60_000
"""Elements of windows that the oracle looks at for one case, about a tenth of a second; never fewer than a plane."""
REAL_TAPS = 200_000
CHANNELS = 16
"""Channels of cases that need no more, and of those for runtimes that are slow."""
POSITIONS = 16
"""Positions of a window that get a NaN; of larger windows the corners, the sides and the middle."""
MOST_REGIONS, REGION_CHANNELS = 8, 4
"""The oracle takes its time with regions, each of which it looks at by itself."""
BY_MAGNITUDE = frozenset({"LpPool", "GlobalLpPool"})
BY_SUM = frozenset({"AveragePool", "GlobalAveragePool"})
WITHOUT_WINDOWS = frozenset({"MaxUnpool", "MaxRoiPool", "RoiAlign"})
DIFFERENTIATED = frozenset({"MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool"})
"""Operators of which gradients are compared; the power of a norm with its sign has another one."""


@dataclass(frozen=True, eq=False)
class PlannedCase:
    """A case, and what it is there for."""

    case: Case
    """The node and its numbers."""
    kind: str
    """`ORDINARY`, `REAL` or one of `SPECIAL`."""
    whole: bool
    """Whether the input has the shape that it has in the network; else it has fewer channels."""
    for_slow: bool = True
    """Whether slow runtimes are asked, too."""
    only_for_slow: bool = False
    """Whether others are not, who get the same numbers with more channels."""

    @property
    def special(self) -> bool:
        """Whether the numbers are such as a healthy network does not have."""
        return self.kind in SPECIAL


def plan_cases(
    node: PoolingNode,
    layer: Layer,
    seed: int | Sequence[int],
    real: Mapping[str, Numbers] | None = None,
    source: str = "",
) -> list[PlannedCase]:
    """Return what to ask about a node.

    Parameters
    ----------
    node : PoolingNode
        A node at its place.
    layer : Layer
        What computes it here.
    seed : int or sequence of int
        Of the numbers.
    real : mapping of str to ndarray, optional
        What the inputs of the node are when the model runs.
    source : str
        What the model ran on.

    Returns
    -------
    list of PlannedCase
        The first is about ordinary numbers, at the shape that the input has in the network.

    Raises
    ------
    CannotRunError
        If an input beside the pooled one is not known.
    """
    asked = list(_drawn(node, layer, seed))
    if real is not None:
        arrays = _fewer_channels(node, layer, real)
        pooled = node.proto.input[0]
        asked.append(
            PlannedCase(
                _case(node, REAL, arrays, f"real activations of {source}"),
                REAL,
                arrays[pooled].shape == real[pooled].shape,
                True,
            )
        )
    return asked


def _drawn(node: PoolingNode, layer: Layer, seed: int | Sequence[int]) -> Iterator[PlannedCase]:
    dtype: np.dtype[Any] = np.dtype(node.dtype)
    random = np.random.default_rng(seed)
    if node.operator in WITHOUT_WINDOWS:
        yield _beside(node, layer, dtype, random)
        return
    shape = node.input_shape
    axes = layer.axes(shape)
    small = _small(shape)
    integral = dtype.kind in "iu"
    numbers = INTEGERS if integral else NORM_NUMBERS if node.operator in BY_MAGNITUDE else ORDINARY_NUMBERS
    kinds = ("normal", "ties") if node.operator in BY_MAGNITUDE else ("wide", "ties", "normal")
    count = min(math.prod(shape[:2]), 2 * len(kinds), max(1, TAPS // max(1, taps(axes))))
    planes = draw((1, count, *shape[2:]), dtype, seed, kinds=kinds, infinities=False)[0]
    for whole in (True, False) if small != shape else (True,):
        array = _spread(planes, shape if whole else small)
        inputs = {node.proto.input[0]: array}
        name = ORDINARY if whole else f"{ORDINARY}-small"
        yield PlannedCase(_case(node, name, inputs, numbers), ORDINARY, whole, not whole or small == shape, not whole)
    if integral or math.prod(shape) == 0:
        return
    sets = {"nan": _nan_planes, "infinities": _infinite_planes, "magnitudes": _magnitude_planes}
    for kind, make in sets.items():
        special = make(node, axes, dtype, random)
        room = math.prod(small[:2])
        for part, start in enumerate(range(0, len(special), room)):
            array = _spread(special[start : start + room], small)
            case = _case(
                node, f"{kind}-{part}" if len(special) > room else kind, {node.proto.input[0]: array}, SPECIAL[kind]
            )
            yield PlannedCase(case, kind, small == shape, True)


def plan_gradients(node: PoolingNode, layer: Layer, seed: int | Sequence[int]) -> list[PlannedCase]:
    """Return what to ask about the gradient of a node: for a gradient of whole numbers, of which sums are exact.

    The parameters are those of `plan_cases`.
    """
    dtype: np.dtype[Any] = np.dtype(node.dtype)
    shape = _small(node.input_shape)
    if node.operator not in DIFFERENTIATED or dtype.kind in "iu" or math.prod(shape) == 0:
        return []
    random = np.random.default_rng(seed)
    array = random.standard_normal(shape).astype(dtype)
    gradient = random.integers(-8, 9, layer.output_shape(shape)).astype(dtype)
    case = _case(node, "gradient", {node.proto.input[0]: array}, "a gradient of whole numbers")
    del case.node.output[1:]  # indices have no gradient
    del case.model.graph.output[1:]
    asked = replace(case, inputs={**case.inputs, GRADIENT: gradient})
    return [PlannedCase(asked, ORDINARY, shape == node.input_shape, True)]


def _case(node: PoolingNode, kind: str, inputs: Mapping[str, Numbers], data: str) -> Case:
    name = re.sub(r"[^\w.-]+", "-", f"{node.name}-{kind}")
    return Case(name, single_node(node.proto, node.opset, inputs), dict(inputs), data)


def _small(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape with fewer channels, where there are many."""
    if math.prod(shape[:2]) <= CHANNELS:
        return shape
    return (1, min(shape[1], CHANNELS), *shape[2:])


def taps(axes: Sequence[Axis]) -> int:
    """Count the elements of all windows of a plane."""
    return math.prod(axis.output_size * axis.kernel_size for axis in axes)


def _spread(planes: Numbers, shape: Sequence[int]) -> Numbers:
    """Fill an input with planes, which take turns."""
    count = math.prod(shape[:2])
    if not count:
        return np.empty(shape, planes.dtype)
    return np.ascontiguousarray(planes[np.arange(count) % len(planes)]).reshape(shape)


def _nan_planes(node: PoolingNode, axes: Sequence[Axis], dtype: np.dtype[Any], random: np.random.Generator) -> Numbers:
    """Make one plane for each position of the window, with a NaN there in as many windows as have room for one."""
    sizes = tuple(axis.input_size for axis in axes)
    every = list(itertools.product(*(range(min(axis.kernel_size, POSITIONS + 1)) for axis in axes)))
    if math.prod(axis.kernel_size for axis in axes) > POSITIONS:
        every = list(itertools.product(*({0, axis.kernel_size // 2, axis.kernel_size - 1} for axis in axes)))
    planes = []
    for position in every:
        plane = random.standard_normal(sizes).astype(dtype)
        plane[np.ix_(*(_cells(axis, tap) for axis, tap in zip(axes, position, strict=True)))] = np.nan
        planes.append(plane)
    planes.append(np.full(sizes, np.nan, dtype))
    return np.stack(planes)


def _cells(axis: Axis, tap: int) -> list[int]:
    """Return the cell under one tap of windows that do not overlap."""
    cells = []
    free = -axis.pad_begin
    for window in range(min(axis.output_size, axis.input_size + 1)):
        start = window * axis.stride - axis.pad_begin
        cell = start + tap * axis.dilation
        if start >= free:
            free = start + axis.effective_kernel_size
            if 0 <= cell < axis.input_size:
                cells.append(cell)
    return cells


def _infinite_planes(
    node: PoolingNode, axes: Sequence[Axis], dtype: np.dtype[Any], random: np.random.Generator
) -> Numbers:
    sizes = tuple(axis.input_size for axis in axes)
    planes = []
    for infinity in (np.inf, -np.inf):
        plane = random.standard_normal(sizes)
        plane[random.random(sizes) < 0.3] = infinity
        planes.append(plane.astype(dtype))
    planes.append(np.full(sizes, -np.inf).astype(dtype))
    return np.stack(planes)


def _magnitude_planes(
    node: PoolingNode, axes: Sequence[Axis], dtype: np.dtype[Any], random: np.random.Generator
) -> Numbers:
    """Make numbers whose maximum, mean or norm is finite, though the sum of their powers may not be."""
    sizes = tuple(axis.input_size for axis in axes)
    largest = PRECISIONS[dtype.name].largest
    window = math.prod(min(axis.kernel_size, axis.input_size) for axis in axes)
    if node.operator in BY_SUM | BY_MAGNITUDE:
        largest /= 2 * window
    large = (random.uniform(0.5, 1, sizes) * largest * random.choice([-1, 1], sizes)).astype(dtype)
    tiny = (random.integers(-1000, 1001, sizes) * PRECISIONS[dtype.name].tiny).astype(dtype)
    return np.stack([large, tiny])


# ---------------------------------------------------------------------------------------------------------------------
# Operators that take more than what they pool


def _beside(node: PoolingNode, layer: Layer, dtype: np.dtype[Any], random: np.random.Generator) -> PlannedCase:
    """Ask about regions or unpooling, with boxes on the map and indices in the windows."""
    shape = node.input_shape
    names = [name for name in node.proto.input if name]
    sides = {side.name: side for side in node.sides}
    arrays: dict[str, Numbers] = {}
    if node.operator == "MaxUnpool":
        arrays[names[0]] = draw(shape, dtype, int(random.integers(2**31)), infinities=False)
        arrays[names[1]] = _indices(node, layer, shape, random)
        if len(names) > 2:
            value = sides[names[2]].value
            if value is None:
                raise CannotRunError(
                    f"the output_shape of this node, {names[2]!r}, is known only when the model runs; give an "
                    "input of the model with --input"
                )
            arrays[names[2]] = value
        return PlannedCase(_case(node, ORDINARY, arrays, ORDINARY_NUMBERS), ORDINARY, True, True)
    small = (shape[0], min(shape[1], REGION_CHANNELS), *shape[2:])
    arrays[names[0]] = draw(small, dtype, int(random.integers(2**31)), kinds=("normal", "ties"), infinities=False)
    boxes = _boxes(node, sides[names[1]], shape, random).astype(dtype)
    if node.operator == "RoiAlign":
        arrays[names[1]] = boxes[:, 1:]
        arrays[names[2]] = boxes[:, 0].astype(np.int64)
    else:
        arrays[names[1]] = boxes
    return PlannedCase(_case(node, ORDINARY, arrays, "regions of all sizes"), ORDINARY, small == shape, True)


def _boxes(node: PoolingNode, side: SideInput, shape: tuple[int, ...], random: np.random.Generator) -> Numbers:
    """Draw regions ``[n, x1, y1, x2, y2]`` on quarters of pixels, where coordinates are free of rounding."""
    attributes = checked_attributes("validate", node.proto, node.opset)
    scale = attributes.get("spatial_scale", 1.0)
    count = MOST_REGIONS
    if side.shape is not None and side.shape and isinstance(side.shape[0], int):
        count = min(side.shape[0], MOST_REGIONS)
    height, width = shape[2:]
    columns: list[Numbers] = [random.integers(0, max(1, shape[0]), count)]
    corners = []
    for size in (width, height):
        low = random.integers(0, max(1, 2 * size), count) / 4
        high = np.minimum(low + 0.25 + random.integers(1, max(2, 4 * size), count) / 4, size - 0.25)
        corners.append((low, np.maximum(high, low)))
    columns += [corners[0][0], corners[1][0], corners[0][1], corners[1][1]]
    boxes: Numbers = np.stack([columns[0], *(column / scale for column in columns[1:])], axis=1)
    return boxes


def _indices(node: PoolingNode, layer: Layer, shape: tuple[int, ...], random: np.random.Generator) -> Numbers:
    """Draw indices as a maximum would have given them, in ONNX's convention."""
    restored = layer.output_shape(shape)
    given = [side.value for side in node.sides[1:] if side.value is not None]
    if given:
        restored = tuple(given[0].tolist())
    pool: Any = getattr(pooling, f"max_pool{len(shape) - 2}d")
    arguments = {name: layer.arguments[name] for name in ("kernel_size", "stride", "padding")}
    _, indices = pool(random.standard_normal(restored), **arguments, return_indices=True)
    if indices.shape != shape:
        indices = random.integers(0, math.prod(restored[2:]), shape)
    return pooling.convert_indices(indices, restored, source="torch", target="onnx")


def _fewer_channels(node: PoolingNode, layer: Layer, real: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """Keep as many channels of the real activations as the oracle can look at, evenly over all of them."""
    arrays = dict(real)
    if node.operator in WITHOUT_WINDOWS:
        return arrays
    array = arrays[node.proto.input[0]]
    work = max(1, array.shape[0]) * max(1, taps(layer.axes(array.shape)))
    kept = min(array.shape[1], max(1, REAL_TAPS // work))
    chosen = np.linspace(0, array.shape[1] - 1, kept).astype(int)
    arrays[node.proto.input[0]] = np.ascontiguousarray(array[:, chosen])
    return arrays
