"""What a one-pixel move of the input does to the stages that downsample: aliasing, in one number for each.

A stage that kept its input's information would answer a move of its input by one pixel with a move of its output by one
pixel, which is ``1 / stride`` of a cell. Where it samples more coarsely than the detail it lets through, the output
changes in another path, and the classifier or detector behind it flickers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import pooling
from pooling.arguments import per_axis
from pooling.families.blurs import LONGEST_FILTER
from pooling.reporting.formats import by

from .antialias import blur_taps, replacement
from .picture import Picture, built_in, fitted

if TYPE_CHECKING:
    from ..network import Network, Stage

__all__ = ["StageShift", "blurred", "sensitivity", "shift_sensitivity"]

Map = NDArray[Any]
"""Shape (N, C, *S)."""

SIZES = {1: 4096, 2: 256, 3: 64}
"""Cells of the built-in picture on each axis, by the number of axes."""
FEWEST_CELLS = 4
"""A picture is too small to say anything if a stage has fewer cells than this on it."""


@dataclass(frozen=True)
class StageShift:
    """What a one-pixel move does to one stage.

    Attributes
    ----------
    stage : str
        Its name.
    value : float or None
        The number of `sensitivity`; None where it was not measured.
    antialiased : float or None
        The same of what `remedy` says.
    remedy : str
        The anti-aliased pooling to use instead, as it would be written.
    note : str
        Why nothing was measured, or what was.
    """

    stage: str
    value: float | None = None
    antialiased: float | None = None
    remedy: str = ""
    note: str = ""


def shift_sensitivity(network: Network, image: Picture | None = None, seed: int = 0) -> tuple[StageShift, ...]:
    """Measure how much each stage that downsamples changes when its input moves by one pixel.

    Parameters
    ----------
    network : Network
        What `pooling.doctor.read` returns.
    image : path or array, optional
        A picture for networks with two spatial axes, cut and scaled to the network's input. Without it, a picture is
        made that has the spectrum and the edges of photographs.
    seed : int
        Of the picture that is made.

    Returns
    -------
    tuple of StageShift
        One for each stage with a stride above 1, in the order of the network.

    Raises
    ------
    TypeError, ValueError
        If the picture cannot be read, or the network has not two spatial axes and `image` is given.

    Notes
    -----
    Every stage is given the picture itself, whatever lies before it: photographs look alike at every scale, so one
    picture stands for the maps of all stages, and stages can be compared. Padding is left out. Convolutions with more
    than one tap are not measured, because what they alias depends on their weights; with one tap they take every
    stride-th pixel, which is measured.
    """
    pictures: dict[int, Map] = {}
    if image is not None:
        pictures[2] = np.moveaxis(fitted(image, network.spatial_sizes), 2, 0)[np.newaxis] / 255.0
    measured: dict[Any, tuple[float, float]] = {}
    found = []
    for stage in network.stages:
        if not _downsamples(stage):
            continue
        path = _shift_path(stage)
        if isinstance(path, str):
            found.append(StageShift(stage.name, note=path))
            continue
        dimensions = len(stage.axes)
        if dimensions not in pictures:
            pictures[dimensions] = built_in((SIZES[dimensions],) * dimensions, seed)[np.newaxis, np.newaxis]
        picture = pictures[dimensions]
        strides = tuple(axis.stride for axis in stage.axes)
        least = [cells + FEWEST_CELLS * stride for cells, stride in zip(path.reach, strides, strict=True)]
        if any(size < need for size, need in zip(picture.shape[2:], least, strict=True)):
            note = f"not measured: the picture of {by(picture.shape[2:])} is too small for its windows"
            found.append(StageShift(stage.name, note=note))
            continue
        key = (path.key, strides)
        if key not in measured:
            measured[key] = (
                sensitivity(path.pool, picture, strides),
                sensitivity(path.antialiased, picture, strides),
            )
        value, antialiased = measured[key]
        found.append(StageShift(stage.name, value, antialiased, path.remedy, path.note))
    return tuple(found)


def sensitivity(pool: Callable[[Map], Map], picture: Map, strides: Sequence[int]) -> float:
    """Return how far a stage is from shift equivariance, for a shift by one pixel.

    ``sqrt(mean((F(Shift X) - Shift F(X))**2)) / (sqrt(2) * std(F))``, where ``Shift`` moves maps by one input pixel:
    the output, whose cells are ``stride`` pixels apart, by linear interpolation between neighbours. It is 0 where the
    output moves along with the input, and 1 where the output after the move is no more like the expected one than two
    unrelated maps are alike. Axes with stride 1 are always equivariant and are left out; of the others, the mean is
    taken.

    Parameters
    ----------
    pool : callable
        From a map of shape (N, C, *S) to one, without padding.
    picture : array of shape (N, C, *S)
    strides : sequence of int
        One for each spatial axis.

    Returns
    -------
    float
        From 0 to the square root of 2, which a map reaches that becomes its negative.

    Notes
    -----
    The difference is what Zhang, "Making Convolutional Networks Shift-Invariant Again" (2019), section 3, calls the
    deviation from shift-equivariance. The distance there is the cosine's, which a constant added to the map makes
    small; the one here is divided by the standard deviation, which no constant changes. The moved picture shows a
    column that was outside before, and not one from the other side.

    Examples
    --------
    Of a checkerboard, every second pixel is the other colour after the move.

    >>> import numpy as np
    >>> board = np.indices((8, 9)).sum(axis=0)[np.newaxis, np.newaxis] % 2.0
    >>> round(sensitivity(lambda map: map[..., ::2, ::2], board, (2, 2)), 3)
    1.414
    >>> sensitivity(lambda map: map[..., ::2, ::2], np.ones((1, 1, 8, 9)), (2, 2))
    0.0
    """
    found = []
    for axis, step in enumerate(strides, start=2):
        if step == 1:
            continue
        first = np.asarray(pool(_cut(picture, axis, 0, -1)), np.float64)
        moved = np.asarray(pool(_cut(picture, axis, 1, None)), np.float64)
        here, next_ = _cut(first, axis, 0, -1), _cut(first, axis, 1, None)
        expected = here + (next_ - here) / step
        difference = _cut(moved, axis, 0, -1) - expected
        spread = np.stack([first, moved]).std()
        # What rounding leaves of a constant map is no pattern.
        floor = 1e-12 * max(np.abs(first).max(initial=0), np.abs(moved).max(initial=0))
        error = math.sqrt(np.square(difference).mean())
        found.append(error / (math.sqrt(2) * spread) if spread > floor else 0.0)
    return float(np.mean(found)) if found else 0.0


def _cut(map: Map, axis: int, start: int, stop: int | None) -> Map:
    return map[(slice(None),) * axis + (slice(start, stop),)]


def _sampled(map: Map, strides: Sequence[int]) -> Map:
    """Keep every stride-th cell."""
    for axis, stride in enumerate(strides, start=2):
        map = map[(slice(None),) * axis + (slice(None, None, stride),)]
    return map


def blurred(map: Map, taps: Sequence[int], strides: Sequence[int]) -> Map:
    """Blur a map with binomial weights and keep every stride-th cell, on any number of axes, without padding."""
    for axis, (size, stride) in enumerate(zip(taps, strides, strict=True), start=2):
        rows = np.moveaxis(map, axis, -1)
        flat = np.ascontiguousarray(rows).reshape(1, 1, -1, rows.shape[-1])
        result = pooling.blur_pool2d(flat, (1, size), (1, stride), padding=0)
        map = np.moveaxis(result.reshape(*rows.shape[:-1], -1), -1, axis)
    return map


# ---------------------------------------------------------------------------------------------------------------------
# From a stage to what it does to a picture


@dataclass(frozen=True)
class _ShiftPath:
    """How a stage pools, and how it would without aliasing."""

    key: Any
    pool: Callable[[Map], Map]
    antialiased: Callable[[Map], Map]
    reach: tuple[int, ...]
    remedy: str
    note: str = ""


def _downsamples(stage: Stage) -> bool:
    """Whether the stage leaves out windows; one that leaves a single cell has no neighbour to move towards."""
    return stage.kind in ("pooling", "convolution", "slice") and any(
        axis.stride > 1 and axis.output_size > 1 for axis in stage.axes
    )


def _shift_path(stage: Stage) -> _ShiftPath | str:
    """Return what the stage does to a map, or the reason why that cannot be told."""
    axes = stage.axes
    strides = tuple(axis.stride for axis in axes)
    if all(axis.kernel_size == 1 for axis in axes):
        taps = blur_taps(axes, "")
        return _too_long(taps) or _ShiftPath(
            "sampling",
            lambda map: _sampled(map, strides),
            lambda map: blurred(map, taps, strides),
            taps,
            replacement(stage).words,
            "one tap: takes every stride-th cell",
        )
    if stage.kind != "pooling":
        return "not measured: what a convolution aliases depends on its weights"
    if stage.layer is None or any(axis.adaptive for axis in axes):
        return "not measured: its windows are not evenly spaced"
    return _pooling(stage, stage.layer, strides)


def _pooling(stage: Stage, layer: pooling.Layer, strides: tuple[int, ...]) -> _ShiftPath | str:
    axes = stage.axes
    operator = layer.operator.removeprefix("adaptive_")
    kernel = tuple(axis.kernel_size for axis in axes)
    if operator == "blur_pool":
        return _already_blurred(("blur", kernel), lambda map: blurred(map, kernel, strides), kernel)
    if operator == "max_blur_pool":
        # The axes of this layer are those of both steps together.
        whole = kernel
        kernel = per_axis("doctor", "kernel_size", layer.arguments["kernel_size"], len(axes))
        own = tuple(both - first + 1 for both, first in zip(whole, kernel, strict=True))
        maxima = partial(pooling.max_pool2d, kernel_size=kernel, stride=1)
        return _already_blurred(("max", kernel, own), lambda map: blurred(maxima(map), own, strides), whole)
    if operator not in ("max_pool", "min_pool", "avg_pool", "lp_pool"):
        return f"not measured: there is no way to do {layer.operator} without aliasing"
    arguments: dict[str, Any] = {"kernel_size": kernel}
    dilation = tuple(axis.dilation for axis in axes)
    if dilation != (1,) * len(axes):
        arguments["dilation"] = dilation
    if operator == "lp_pool":
        arguments["norm_type"] = layer.arguments["norm_type"]
    pool = partial(getattr(pooling, f"{operator}{len(axes)}d"), **arguments)
    key = (operator, *arguments.values())
    taps, remedy = blur_taps(axes, operator), replacement(stage).words
    if operator == "avg_pool":
        # The blur takes the place of the average.
        return _too_long(taps) or _ShiftPath(
            key, partial(pool, stride=strides), lambda map: blurred(map, taps, strides), taps, remedy
        )
    reach = tuple(axis.effective_kernel_size + size - 1 for axis, size in zip(axes, taps, strict=True))
    return _too_long(taps) or _ShiftPath(
        key,
        partial(pool, stride=strides),
        lambda map: blurred(pool(map, stride=1), taps, strides),
        reach,
        remedy,
    )


def _too_long(taps: Sequence[int]) -> str:
    """Say why a blur cannot be measured, if it cannot."""
    if max(taps) <= LONGEST_FILTER:
        return ""
    return f"not measured: its blur would have {max(taps)} taps, and a blur has at most {LONGEST_FILTER}"


def _already_blurred(key: Any, pool: Callable[[Map], Map], reach: tuple[int, ...]) -> _ShiftPath:
    return _ShiftPath(key, pool, pool, reach, "", "blurs already")
