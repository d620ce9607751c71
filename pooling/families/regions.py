"""Pooling of regions of interest: the ONNX operators MaxRoiPool and RoiAlign, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import threads_for
from ..annotations import AnyArray, Sizes
from ..arguments import names_checked, per_axis, per_axis_shape, real, whole_between, word
from ..arrays import as_array, in_default_mode, native, result_array
from ..calls import double_kind
from ..dispatch import kernels
from ..errors import type_error, value_error
from ..geometry import Axis
from ..layer import Layer
from ..maps import check_total, checked_gradient
from ..operators import FLOATS, OPERATORS
from ..ranks import described
from ..signs import counted, short_repr

__all__ = [
    "MaxRoIPool",
    "RoIAlign",
    "max_roi_pool",
    "max_roi_pool_backward",
    "roi_align",
    "roi_align_backward",
]

Mode = Literal["avg", "max"]
Transformation = Literal["half_pixel", "output_half_pixel"]

MOST_SAMPLES: int = kernels.MOST_SAMPLES
"""Samples of a bin on one axis, at most, where the size of the box says how many there are."""
LARGEST_RATIO = 2**10
"""The largest `sampling_ratio`."""


@dataclass(frozen=True)
class _Regions:
    """Checked regions: the maps that they lie on, their scaled boxes, and the shapes of input and result."""

    function: str
    input: AnyArray
    maps: NDArray[np.int64]
    boxes: AnyArray
    spatial: tuple[int, int]
    output_size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.boxes), self.input.shape[1], *self.output_size)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.input.dtype.newbyteorder("=")

    def refuse(self, bad: NDArray[np.bool_], rule: str) -> None:
        """Refuse the first region of those that are bad."""
        if bad.any():
            r = int(bad.argmax())
            raise value_error(self.function, f"rois[{r}] scaled is {_listed(self.boxes[r])}, {rule}")

    def result(self, out: AnyArray | None, *others: AnyArray) -> AnyArray:
        return result_array(self.function, out, self.shape, self.dtype, self.input, *others)

    def gradient(self, grad_output: ArrayLike) -> AnyArray:
        """Check the gradient that came back from behind the pooling."""
        return checked_gradient(self.function, grad_output, self.dtype, self.shape, self.input.shape)

    def input_gradient(self, out: AnyArray | None, *others: AnyArray) -> AnyArray:
        return result_array(self.function, out, self.input.shape, self.dtype, self.input, *others)


def _listed(box: AnyArray) -> str:
    return f"[{', '.join(f'{float(end):.9g}' for end in box)}]"


@in_default_mode
def _checked(
    function: str,
    row: str,
    input: ArrayLike,
    rois: ArrayLike,
    batch_indices: ArrayLike | None,
    output_size: Sizes,
    spatial_scale: float,
) -> _Regions:
    """Check what both operators have in common; without `batch_indices`, they are the first column of `rois`."""
    array = as_array(function, "input", input, OPERATORS[row].dtypes)
    regions = as_array(function, "rois", rois, FLOATS)
    columns, form = (5, "map, x1, y1, x2, y2") if batch_indices is None else (4, "x1, y1, x2, y2")
    if array.ndim != 4 or 0 in array.shape[2:]:
        raise value_error(function, f"input of shape {array.shape} must be (N, C, H, W) with H and W at least 1")
    if regions.ndim != 2 or regions.shape[1] != columns:
        raise value_error(function, f"rois has shape {regions.shape}", f"it must have {columns} columns: {form}")
    output = per_axis(function, "output_size", output_size, 2)
    check_total(function, (len(regions), array.shape[1], *output), 8)
    scale = _positive(function, "spatial_scale", spatial_scale)
    # Coordinates keep the precision in which they come, but have that of float32 at least.
    boxes: AnyArray = regions.astype(np.float64 if regions.dtype.name == "float64" else np.float32)
    maps: NDArray[Any] = boxes[:, 0]
    name = "rois"
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        boxes[:, -4:] = np.multiply(boxes[:, -4:], boxes.dtype.type(scale))
        extent = np.subtract(boxes[:, -2:], boxes[:, -4:-2])
    bad = ~(np.isfinite(boxes).all(1) & np.isfinite(extent).all(1))
    if bad.any():
        r = int(bad.argmax())
        raise value_error(
            function,
            f"rois[{r}] is {_listed(regions[r])}",
            f"a box must be finite, and so must its extent, also times spatial_scale={short_repr(spatial_scale)} in "
            f"{boxes.dtype.name}",
        )
    if batch_indices is not None:
        name = "batch_indices"
        maps = as_array(function, name, batch_indices)
        if maps.dtype.newbyteorder("=") != np.int64:
            raise type_error(function, f"batch_indices has dtype {maps.dtype.name}, which is not accepted", "use int64")
        if maps.shape != boxes.shape[:1]:
            raise value_error(
                function,
                f"batch_indices has shape {maps.shape}, but rois has {counted(len(boxes), 'row')}",
                "give one index for each row",
            )
    missing = np.less(maps, 0) | np.greater_equal(maps, len(array)) | (maps != np.floor(maps))
    if missing.any():
        r = int(missing.argmax())
        place = f"{name}[{r}]" if name == "batch_indices" else f"rois[{r}, 0]"
        raise value_error(
            function,
            f"{place} is {maps[r]}, but the input has {counted(len(array), 'map')}",
            "give a whole number from 0 up to the last of them",
        )
    chosen = maps.astype(np.int64, order="C")
    spatial = (int(array.shape[2]), int(array.shape[3]))
    return _Regions(function, array, chosen, boxes[:, -4:], spatial, (output[0], output[1]))


def _positive(function: str, name: str, value: object) -> float:
    number = real(function, name, value)
    if not 0 < number < math.inf:
        raise value_error(function, "must be positive and finite", argument=(name, value))
    return number


Table = tuple[NDArray[Any], ...]


@in_default_mode
def _windows(regions: _Regions, axis: int) -> Table:
    """Cut boxes into windows as adaptive pooling does, and clip these to the map: starts and stops."""
    size, bins = regions.spatial[axis], regions.output_size[axis]
    ends = regions.boxes[:, [1 - axis, 3 - axis]].astype(np.float64)
    # Half away from zero, not to even.
    pixels = np.copysign(np.floor(np.abs(ends) + 0.5), ends)
    # Exact in 64 bits for every box that an image can have, and in Python's integers for any other.
    if pixels.size and np.abs(pixels).max() * bins < 2.0**60:
        whole = pixels.astype(np.int64)
    else:
        whole = np.array([[int(end) for end in row] for row in pixels.tolist()], object).reshape(pixels.shape)
    first = whole[:, :1]
    length = np.maximum(whole[:, 1:] - first + 1, 1)
    outside = ((first >= size) | (first + length <= 0)).astype(bool)[:, 0]
    regions.refuse(outside, f"which does not meet its map of {regions.spatial[0]} x {regions.spatial[1]} pixels")
    if 0 in regions.shape:
        return (np.empty((0, bins), np.int64),) * 2
    bin = np.arange(bins, dtype=whole.dtype)
    starts = first + bin * length // bins
    stops = first - (-(bin + 1) * length // bins)
    return tuple(np.clip(edge, 0, size).astype(np.int64, order="C") for edge in (starts, stops))


@in_default_mode
def _samples(regions: _Regions, axis: int, ratio: int, half_pixel: bool) -> Table:
    """Find where samples lie along one axis: the first coordinate, the extent of a bin and the samples in it.

    Each step is rounded to the type of the coordinates.
    """
    number = regions.boxes.dtype.type
    low, high = regions.boxes[:, 1 - axis], regions.boxes[:, 3 - axis]
    size, bins = regions.spatial[axis], regions.output_size[axis]
    outside = (np.minimum(low, high) > size) | (np.maximum(low, high) < 0)
    regions.refuse(outside, f"which does not meet its map of {regions.spatial[0]} x {regions.spatial[1]} pixels")
    offset = number(0.5 if half_pixel else 0)
    first = low - offset
    length = high - offset - first
    if not half_pixel:
        length = np.maximum(length, number(1))
    step = length / number(bins)
    if ratio:
        count = np.full(len(step), ratio, np.int64)
    else:
        each = np.maximum(np.ceil(step), 0)
        regions.refuse(
            each > MOST_SAMPLES,
            f"which takes more than {MOST_SAMPLES} samples in a bin on axis {'HW'[axis]} with sampling_ratio=0; "
            "use a smaller box, or sampling_ratio=2",
        )
        count = each.astype(np.int64)
    return first.astype(np.float64), step.astype(np.float64), count


def _max_regions(regions: _Regions, output: AnyArray, grad_input: AnyArray | None = None) -> None:
    rows, columns = _windows(regions, 0), _windows(regions, 1)
    changed = output if grad_input is None else grad_input
    if 0 in regions.shape:
        changed.fill(0)
        return
    kernels.pool_regions(
        double_kind(regions.dtype),
        regions.input.shape,
        regions.shape,
        native(regions.input),
        native(output),
        regions.maps,
        rows,
        columns,
        grad_input,
        threads_for(regions.input.nbytes + output.nbytes, "regions"),
    )


@described("max_roi_pool")
@names_checked
def max_roi_pool(
    input: ArrayLike,
    rois: ArrayLike,
    output_size: Sizes,
    spatial_scale: float = 1.0,
    *,
    out: AnyArray | None = None,
) -> AnyArray:
    """Greatest element of each window of regions of interest.

    A region is cut into `output_size` windows as adaptive pooling cuts a map, and each is clipped to the map; a window
    with nothing left is 0. NaN propagates.

    Parameters
    ----------
    {maps_of_regions}
    rois : array_like
        Regions, ``(R, 5)``, of any of these dtypes: the map in the batch, and ``x1, y1, x2, y2``. Times
        `spatial_scale` and rounded, half away from zero, these are the first and the last pixel; a region has one at
        least, and meets its map.
    output_size : int or (int, int)
        Windows on each axis.
    spatial_scale : float
        From the coordinates of `rois` to pixels.

    {regions_or_errors}

    Notes
    -----
    This is ONNX MaxRoiPool-22 (Girshick 2015, "Fast R-CNN"). Windows are cut in integers; onnxruntime cuts them in
    float32, and may so move an edge by a pixel.

    {examples}
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> pooling.max_roi_pool(x, np.array([[0.0, 0, 0, 3, 1]]), (1, 2))
    array([[[[5., 7.]]]])
    """
    regions = _checked("max_roi_pool", "max_roi_pool", input, rois, None, output_size, spatial_scale)
    result = regions.result(out, *_arrays(rois))
    _max_regions(regions, result)
    return result


@described("max_roi_pool")
@names_checked
def max_roi_pool_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    rois: ArrayLike,
    output_size: Sizes,
    spatial_scale: float = 1.0,
    *,
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.max_roi_pool` with respect to its input.

    Each gradient goes to the first of the greatest elements of its window, or the first NaN; gradients that meet are
    added.

    Parameters
    ----------
    {maps_of_regions}
    rois, output_size, spatial_scale
        As in the forward call.

    {gradient_or_errors}
        {refused_regions}

    {examples}
    >>> x = np.arange(4.0).reshape(1, 1, 2, 2)
    >>> pooling.max_roi_pool_backward(np.ones((1, 1, 1, 1)), x, np.array([[0.0, 0, 0, 1, 1]]), 1)
    array([[[[0., 0.],
             [0., 1.]]]])
    """
    function = "max_roi_pool_backward"
    regions = _checked(function, "max_roi_pool", input, rois, None, output_size, spatial_scale)
    gradient = regions.gradient(grad_output)
    result = regions.input_gradient(out, gradient, *_arrays(rois))
    _max_regions(regions, gradient, result)
    return result


def _align(
    regions: _Regions,
    sampling_ratio: Any,
    mode: Any,
    transformation: Any,
    gradient: AnyArray | None,
    out: AnyArray | None,
    *others: AnyArray,
) -> AnyArray:
    function = regions.function
    remedy = "use 0 to take about one sample for each pixel"
    ratio = whole_between(function, "sampling_ratio", sampling_ratio, 0, LARGEST_RATIO, remedy)
    averaging = word(function, "mode", mode, ("avg", "max")) == "avg"
    words = ("half_pixel", "output_half_pixel")
    half_pixel = word(function, "coordinate_transformation_mode", transformation, words) == "half_pixel"
    rows, columns = (_samples(regions, axis, ratio, half_pixel) for axis in (0, 1))
    if gradient is None:
        result = pooled = regions.result(out, *others)
    else:
        result, pooled = regions.input_gradient(out, gradient, *others), gradient
    if 0 in regions.shape:
        result.fill(0)
        return result
    kernels.align_regions(
        double_kind(regions.dtype),
        regions.input.shape,
        regions.shape,
        native(regions.input),
        native(pooled),
        regions.maps,
        rows,
        columns,
        regions.boxes.dtype == np.float32,
        averaging,
        None if gradient is None else result,
        threads_for(regions.input.nbytes + pooled.nbytes, "regions"),
    )
    return result


def _arrays(*values: ArrayLike) -> list[AnyArray]:
    """View what `out` must not overlap."""
    return [np.asarray(value) for value in values]


@described("roi_align")
@names_checked
def roi_align(
    input: ArrayLike,
    rois: ArrayLike,
    batch_indices: ArrayLike,
    output_size: Sizes,
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    mode: Mode = "avg",
    coordinate_transformation_mode: Transformation = "half_pixel",
    *,
    out: AnyArray | None = None,
) -> AnyArray:
    """Means, or greatest, of bilinear samples in each bin of regions of interest.

    A sample more than one pixel outside the map is 0, any other is moved to the nearest border. A bin without samples
    is 0. NaN propagates, but a pixel of weight 0 is not looked at.

    Parameters
    ----------
    {maps_of_regions}
    rois : array_like
        Boxes ``x1, y1, x2, y2``, ``(R, 4)``, of any of these dtypes; each meets its map. Samples are placed in the
        arithmetic of float64 if that is their dtype, else of float32.
    batch_indices : array_like of int64
        The map in the batch that each region lies on, ``(R,)``.
    output_size : int or (int, int)
        Bins on each axis.
    spatial_scale : float
        From the coordinates of `rois` to pixels.
    sampling_ratio : int
        Samples of a bin on each axis, up to 1024; 0 takes as many as pixels, rounded up. A box that takes more than
        2**20 of them is a ValueError.
    mode : {"avg", "max"}
        What to make of the samples.
    coordinate_transformation_mode : {"half_pixel", "output_half_pixel"}
        The first moves boxes by half a pixel, so that 0 is the edge of the first pixel; the second does not, and makes
        boxes one pixel wide and high at least.

    {regions_or_errors}

    Notes
    -----
    This is ONNX RoiAlign-22 (He et al. 2017, "Mask R-CNN"). With ``mode="max"`` samples are interpolated and then
    compared, as its text has it; onnxruntime compares weighted corners (https://github.com/onnx/onnx/issues/4764).

    {examples}
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> pooling.roi_align(x, np.array([[0.0, 0, 4, 4]]), np.array([0]), 2)
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]])
    """
    regions = _checked("roi_align", "roi_align", input, rois, batch_indices, output_size, spatial_scale)
    others = _arrays(rois, batch_indices)
    return _align(regions, sampling_ratio, mode, coordinate_transformation_mode, None, out, *others)


@described("roi_align")
@names_checked
def roi_align_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    rois: ArrayLike,
    batch_indices: ArrayLike,
    output_size: Sizes,
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    mode: Mode = "avg",
    coordinate_transformation_mode: Transformation = "half_pixel",
    *,
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.roi_align` with respect to its input.

    That of a mean goes to all pixels around its samples, by their weights; that of a maximum to those around the first
    of the greatest samples. There is none for `rois`.

    Parameters
    ----------
    {maps_of_regions}
    rois, batch_indices, output_size, spatial_scale, sampling_ratio, mode, coordinate_transformation_mode
        As in the forward call.

    {gradient_or_errors}
        {refused_regions}

    {examples}
    >>> x, box, here = np.zeros((1, 1, 2, 2)), np.array([[0.0, 0, 2, 2]]), np.array([0])
    >>> pooling.roi_align_backward(np.ones((1, 1, 1, 1)), x, box, here, 1)
    array([[[[0.25, 0.25],
             [0.25, 0.25]]]])
    """
    regions = _checked("roi_align_backward", "roi_align", input, rois, batch_indices, output_size, spatial_scale)
    gradient = regions.gradient(grad_output)
    others = _arrays(rois, batch_indices)
    return _align(regions, sampling_ratio, mode, coordinate_transformation_mode, gradient, out, *others)


class _RegionLayer(Layer):
    """A layer whose windows come with the call, as regions."""

    dimensions = 2

    def axes(self, input_shape: Sequence[int]) -> tuple[Axis, ...]:
        """Refuse: what windows there are, the regions of each call say."""
        raise value_error(
            type(self).__name__,
            f"windows follow from the regions of a call, not from input_shape={short_repr(input_shape)}",
        )

    def output_shape(self, input_shape: Sequence[int], regions: int = 1) -> tuple[int, ...]:
        """Return the shape of the result for an input of this shape and so many regions."""
        name = type(self).__name__
        shape = per_axis_shape(name, input_shape)
        if len(shape) != 4:
            raise value_error(
                name,
                f"has {counted(len(shape), 'axis', 'axes')}",
                "it must be (N, C, H, W)",
                argument=("input_shape", shape),
            )
        (count,) = per_axis(name, "regions", regions, 1, minimum=0)
        return (count, shape[1], *per_axis(name, "output_size", self.arguments["output_size"], 2))


class MaxRoIPool(_RegionLayer):
    """Layer of `pooling.max_roi_pool`; called with an input and regions.

    Examples
    --------
    >>> MaxRoIPool(7, spatial_scale=1 / 16)
    MaxRoIPool(output_size=7, spatial_scale=0.0625)
    >>> MaxRoIPool(7).output_shape((1, 256, 50, 68), regions=300)
    (300, 256, 7, 7)
    """

    operator = "max_roi_pool"

    def __init__(self, output_size: Sizes, spatial_scale: float = 1.0) -> None: ...

    def __call__(self, input: ArrayLike, rois: ArrayLike) -> AnyArray:  # type: ignore[override]
        """Pool the regions of an array."""
        return max_roi_pool(input, rois, **self.arguments)

    def backward(  # type: ignore[override]
        self, grad_output: ArrayLike, input: ArrayLike, rois: ArrayLike, *, out: AnyArray | None = None
    ) -> AnyArray:
        """Return the gradient with respect to `input`."""
        return max_roi_pool_backward(grad_output, input, rois, **self.arguments, out=out)


class RoIAlign(_RegionLayer):
    """Layer of `pooling.roi_align`; called with an input, boxes and the maps that these lie on.

    Examples
    --------
    >>> RoIAlign(7, spatial_scale=1 / 4, sampling_ratio=2)
    RoIAlign(output_size=7, spatial_scale=0.25, sampling_ratio=2)
    >>> RoIAlign((7, 14)).output_shape((1, 256, 200, 272), regions=1000)
    (1000, 256, 7, 14)
    """

    operator = "roi_align"

    def __init__(
        self,
        output_size: Sizes,
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        mode: Mode = "avg",
        coordinate_transformation_mode: Transformation = "half_pixel",
    ) -> None: ...

    def __call__(self, input: ArrayLike, rois: ArrayLike, batch_indices: ArrayLike) -> AnyArray:  # type: ignore[override]
        """Pool the regions of an array."""
        return roi_align(input, rois, batch_indices, **self.arguments)

    def backward(  # type: ignore[override]
        self,
        grad_output: ArrayLike,
        input: ArrayLike,
        rois: ArrayLike,
        batch_indices: ArrayLike,
        *,
        out: AnyArray | None = None,
    ) -> AnyArray:
        """Return the gradient with respect to `input`."""
        return roi_align_backward(grad_output, input, rois, batch_indices, **self.arguments, out=out)
