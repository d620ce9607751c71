"""Anti-aliased pooling: a binomial blur at every stride-th pixel, alone or behind a maximum, with gradients and layers.

Weighted sums are float64, whatever the dtype, and rounded once at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import geometry
from .._core import threads_for
from ..annotations import AnyArray, Layout, NanRule, Padding, Sizes
from ..arguments import axis_names, names_checked, per_axis, per_axis_shape, word
from ..arrays import in_default_mode, native, rounded
from ..calls import FUNCTIONS, Call, called, functions_of, reducer_named, resolved
from ..dispatch import kernels
from ..errors import value_error
from ..geometry import Axis
from ..layer import Layer
from ..maps import Maps
from ..operators import OPERATORS
from ..ranks import described
from ..signs import counted
from .extremes import Extreme

__all__ = [
    "BlurPool2d",
    "MaxBlurPool2d",
    "blur_pool2d",
    "blur_pool2d_backward",
    "max_blur_pool2d",
    "max_blur_pool2d_backward",
]

Table = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""Where the cells of each result begin in the other two arrays, those cells, and their weights."""
PaddingMode = Literal["reflect", "replicate", "zeros"]
PADDING_MODES = ("reflect", "replicate", "zeros")
MAXIMA_BYTES = 1 << 20
"""Maxima that are kept between the steps of `max_blur_pool2d`, unless one map is larger."""
KEPT_TAPS = 1024
"""Taps of all windows on all axes whose tables are kept with a call."""
KEPT_LONGER_TAPS = 32768
"""The same whose tables are kept of the last few calls: half a MiB, in a tenth of the time of blurring such a map."""
LONGEST_FILTER = 1024
"""Longest row of binomial weights whose ends float64 can still hold: 2**-1023."""


@dataclass(frozen=True)
class Blur:
    """A blur of maps of a certain size: its windows, and what padding holds."""

    axes: tuple[Axis, ...]
    padding_mode: str
    _kept: dict[bool, list[Table]] = field(default_factory=dict, compare=False, repr=False)

    def in_vectors(self, *, backward: bool) -> bool:
        """Whether planes of float32 are made by pyx/c/binomials.h or blur_gradients.h, in an eighth of the time."""
        return self._windows in (((3, 2),) if backward else ((3, 1), (3, 2), (5, 1), (5, 2)))

    @cached_property
    def _windows(self) -> tuple[int, int] | None:
        """Size and stride of the windows, if they are the same on both axes."""
        found = {(axis.kernel_size, axis.stride) for axis in self.axes}
        return found.pop() if len(found) == 1 else None

    @property
    def cells(self) -> list[NDArray[np.int64]]:
        """For each axis the cell that each tap of each window stands for; -1 for a zero."""
        found = []
        for axis in self.axes:
            last = axis.input_size - 1
            starts = np.arange(axis.output_size, dtype=np.int64) * axis.stride - axis.pad_begin
            at = starts[:, None] + np.arange(axis.kernel_size)
            if self.padding_mode == "reflect":
                at = last - np.abs(last - np.abs(at))
            elif self.padding_mode == "replicate":
                at = np.clip(at, 0, last)
            else:
                at = np.where((at < 0) | (at > last), -1, at)
            found.append(np.ascontiguousarray(at))
        return found

    @property
    def weights(self) -> list[NDArray[np.float64]]:
        """For each axis the weights of its taps."""
        orders = [axis.kernel_size - 1 for axis in self.axes]
        return [np.array([math.comb(order, tap) / 2**order for tap in range(order + 1)]) for order in orders]

    def tables(self, *, backward: bool) -> list[Table]:
        """List for each axis of what each result is made, or backward each gradient of the input."""
        made = self._kept.get(backward)
        if made is None:
            taps = sum(axis.output_size * axis.kernel_size for axis in self.axes)
            made = _latest_tables(self, backward) if KEPT_TAPS < taps <= KEPT_LONGER_TAPS else self.made(backward)
            if taps <= KEPT_TAPS:
                self._kept[backward] = made
        return made

    def made(self, backward: bool) -> list[Table]:
        """Make the tables."""
        made = []
        for axis, cells, weights in zip(self.axes, self.cells, self.weights, strict=True):
            there = cells >= 0
            outputs, taps = there.nonzero()
            shares = weights[taps]
            made_of, makes, count = cells[there], outputs, axis.output_size
            if backward:
                order = np.argsort(made_of, kind="stable")
                made_of, makes, shares, count = outputs[order], made_of[order], shares[order], axis.input_size
            starts = np.searchsorted(makes, np.arange(count + 1, dtype=np.int64)).astype(np.int64)
            made.append((starts, np.ascontiguousarray(made_of), np.ascontiguousarray(shares)))
        return made


@lru_cache(4)
def _latest_tables(blur: Blur, backward: bool) -> list[Table]:
    """Make tables, or find those of one of the last calls."""
    return blur.made(backward)


def _blur_axes(
    function: str, sizes: Sequence[int], kernel_size: Any, stride: Any, padding: Any, name: str = "kernel_size"
) -> tuple[Axis, ...]:
    """Lay the windows; without a padding, so that they are centred on every stride-th pixel."""
    kernel = per_axis(function, name, kernel_size, len(sizes))
    for taps, axis in zip(kernel, axis_names(len(sizes)), strict=True):
        if taps > LONGEST_FILTER:
            raise value_error(
                function,
                f"must be at most {LONGEST_FILTER} on axis {axis}, not {taps}",
                "the outermost weights of a longer filter are too small for float64",
                argument=(name, kernel_size),
            )
    if padding is None:
        padding = [((taps - 1) // 2, taps // 2) for taps in kernel]
    return geometry.pool_axes(sizes, kernel, stride, padding, function=function)


def blur_of(
    function: str,
    sizes: Sequence[int],
    kernel_size: Any,
    stride: Any,
    padding: Any,
    padding_mode: Any,
    name: str = "kernel_size",
) -> Blur:
    """Lay the windows of a blur over maps of this size."""
    mode = word(function, "padding_mode", padding_mode, PADDING_MODES)
    axes = _blur_axes(function, sizes, kernel_size, stride, padding, name)
    for axis in axes:
        side = max(axis.pad_begin, axis.pad_end)
        if mode == "reflect" and side >= axis.input_size:
            raise value_error(
                function,
                f"padding of {counted(side, 'cell')} cannot be mirrored on axis {axis.name} of size {axis.input_size}",
                f"use padding <= {axis.input_size - 1} or padding_mode='replicate'",
            )
    return Blur(axes, mode)


@dataclass(frozen=True)
class BlurCall(Call):
    """A call that blurs maps."""

    blur: Blur

    @classmethod
    def of(
        cls, function: str, shape: tuple[int, ...], dtype: np.dtype[Any], *, layout: Any = None, **blur_arguments: Any
    ) -> Self:
        """Resolve a call."""
        maps = Maps.of(function, shape, 2, layout)
        blur = blur_of(function, maps.sizes, **blur_arguments)
        made = maps.restored(function, [axis.output_size for axis in blur.axes])
        return cls(function, dtype, maps, blur.axes, made, blur)


@dataclass(frozen=True)
class MaxBlurCall(Call):
    """A call that blurs the maxima of maps."""

    blur: Blur
    maxima: Extreme

    @classmethod
    def of(cls, function: str, shape: tuple[int, ...], dtype: np.dtype[Any], **arguments: Any) -> Self:
        """Resolve a call: `kernel_size` and `padding` are of the maxima, and the stride is of their blur."""
        reducer = kernels.REDUCERS[reducer_named(function, "greatest", arguments["nan"])]
        maps = Maps.of(function, shape, 2, arguments["layout"])
        axes = geometry.pool_axes(maps.sizes, arguments["kernel_size"], 1, arguments["padding"], function=function)
        sizes = [axis.output_size for axis in axes]
        maxima = Extreme(function, dtype, maps, axes, maps.restored(function, sizes), reducer)
        kernel, stride, mode = (arguments[name] for name in ("blur_kernel_size", "stride", "padding_mode"))
        blur = blur_of(function, sizes, kernel, stride, None, mode, "blur_kernel_size")
        made = maps.restored(function, [axis.output_size for axis in blur.axes])
        return cls(function, dtype, maps, axes, made, blur, maxima)


FUNCTIONS |= functions_of(
    OPERATORS["blur_pool"], ("kernel_size", "stride", "padding", "padding_mode", "layout")
) | functions_of(
    OPERATORS["max_blur_pool"],
    ("kernel_size", "stride", "padding", "blur_kernel_size", "padding_mode", "layout", "nan"),
)


def _run(maps: Maps, blur: Blur, source: AnyArray, target: AnyArray, *, backward: bool) -> None:
    """Blur one array into another of its dtype, or the gradient back."""
    sizes = [axis.input_size for axis in blur.axes], [axis.output_size for axis in blur.axes]
    moved = source.nbytes + target.nbytes
    if maps.inner == 1 and source.dtype == np.float32 and blur.in_vectors(backward=backward):
        moved //= 8
    kernels.blur(
        kernels.KINDS[source.dtype.name],
        source,
        target,
        maps.outer,
        maps.inner,
        *(sizes[::-1] if backward else sizes),
        blur.tables(backward=backward),
        threads_for(moved, "blur"),
    )


def _few_maps(maps: Maps, *arrays: AnyArray) -> Iterator[tuple[AnyArray, ...]]:
    """Cut arrays of the same maps, as views of four axes, so that what is kept of a part between two steps is small.

    Parts are as large as `MAXIMA_BYTES` in float64, or a single map, in channels_last of all channels.
    """
    first = not maps.inner_axes
    count = math.prod(arrays[0].shape[: -2 if first else -3])
    views = [array.reshape(count, *((1, *array.shape[-2:]) if first else array.shape[-3:])) for array in arrays]
    most = max(array[:1].size for array in views)
    few = max(1, MAXIMA_BYTES // (8 * max(1, most)))
    for begin in range(0, len(views[0]), few):
        yield tuple(array[begin : begin + few] for array in views)


def _in_one_pass(call: MaxBlurCall, array: AnyArray, gradient: AnyArray, result: AnyArray) -> bool:
    """Make the gradient of blurred maxima by pyx/max_blur_gradients.pxi, if its loops know the call and the numbers."""
    maxima = all((axis.kernel_size, axis.stride, axis.pad_begin, axis.pad_end) == (2, 1, 0, 0) for axis in call.axes)
    known = maxima and call.maps.inner == 1 and call.dtype == np.float32 and call.blur.in_vectors(backward=True)
    return known and kernels.send_through_blur(
        gradient,
        array,
        result,
        call.maps.outer,
        [axis.output_size for axis in call.blur.axes],
        [axis.input_size for axis in call.blur.axes],
        call.blur.tables(backward=True),
        threads_for(gradient.nbytes + result.nbytes, "blur"),
    )


@described("blur_pool", 2)
@names_checked
@in_default_mode
def blur_pool2d(
    input: ArrayLike,
    kernel_size: Sizes = 3,
    stride: Sizes | None = 2,
    padding: Padding | None = None,
    *,
    padding_mode: PaddingMode = "reflect",
    layout: Layout = "channels_first",
    out: AnyArray | None = None,
) -> AnyArray:
    """Blur each map with a binomial filter, and keep every `stride`-th pixel.

    The weights are a row of Pascal's triangle along H times one along W, over their sum.

    Parameters
    ----------
    kernel_size : int or sequence of int
        Taps of the filter, for both axes or for each; at most 1024.
    stride : int or sequence of int, optional
        Pixels from one window to the next; by default 2, and `kernel_size` for None.
    padding : int, sequence of int, sequence of (begin, end) pairs, or str, optional
        As in `pooling.max_pool2d`; by default as much as makes ``ceil(input / stride)`` pixels, the filter centred on
        each.
    padding_mode : {"reflect", "replicate", "zeros"}
        What padding holds: the map mirrored at its border pixels, the nearest border pixel, or zeros.

    {result_or_errors}
        Also if more padding is to be mirrored than there are pixels for it.

    Notes
    -----
    Zhang, "Making Convolutional Networks Shift-Invariant Again" (2019).

    {examples}
    >>> pooling.blur_pool2d(np.array([[[[0.0, 0.0, 4.0, 0.0]]]]), (1, 3))
    array([[[[0., 2.]]]])
    """
    array, call = called(BlurCall, "blur_pool2d", input, kernel_size, stride, padding, padding_mode, layout)
    result = call.result(out, array)
    _run(call.maps, call.blur, native(array), result, backward=False)
    return result


@described("blur_pool", 2)
@names_checked
@in_default_mode
def blur_pool2d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    kernel_size: Sizes = 3,
    stride: Sizes | None = 2,
    padding: Padding | None = None,
    *,
    padding_mode: PaddingMode = "reflect",
    layout: Layout = "channels_first",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.blur_pool2d` with respect to its input.

    Parameters
    ----------
    kernel_size, stride, padding, padding_mode
        As in the forward call.

    {gradient_or_errors}

    {examples}
    >>> pooling.blur_pool2d_backward(np.array([[[[0.0, 4.0]]]]), np.zeros((1, 1, 1, 4)), (1, 3))
    array([[[[0., 1., 2., 1.]]]])
    """
    array, call = called(BlurCall, "blur_pool2d_backward", input, kernel_size, stride, padding, padding_mode, layout)
    gradient = call.gradient(grad_output)
    result = call.input_gradient(out, array, gradient)
    _run(call.maps, call.blur, native(gradient), result, backward=True)
    return result


@described("max_blur_pool", 2)
@names_checked
@in_default_mode
def max_blur_pool2d(
    input: ArrayLike,
    kernel_size: Sizes = 2,
    stride: Sizes | None = 2,
    padding: Padding = 0,
    *,
    blur_kernel_size: Sizes = 3,
    padding_mode: PaddingMode = "reflect",
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    out: AnyArray | None = None,
) -> AnyArray:
    """Anti-aliased max pooling: the maximum of every window at stride 1, blurred at every `stride`-th pixel.

    Parameters
    ----------
    kernel_size : int or sequence of int
        Cells of a window of the maximum, for both axes or for each.
    stride : int or sequence of int, optional
        Pixels from one result to the next; by default 2, and `blur_kernel_size` for None.
    padding : int, sequence of int, sequence of (begin, end) pairs, or str
        Of the maximum, as in `pooling.max_pool2d`.
    blur_kernel_size : int or sequence of int
        Taps of the filter, as in `pooling.blur_pool2d`.
    padding_mode : {"reflect", "replicate", "zeros"}
        What the blur sees around the maxima, as in `pooling.blur_pool2d`.

    {result_or_errors}

    Notes
    -----
    Zhang, "Making Convolutional Networks Shift-Invariant Again" (2019).

    {examples}
    >>> pooling.max_blur_pool2d(np.array([[[[0.0, 0.0, 4.0, 0.0, 8.0]]]]), (1, 2), blur_kernel_size=(1, 3))
    array([[[[2., 5.]]]])
    """
    function = "max_blur_pool2d"
    arguments = kernel_size, stride, padding, blur_kernel_size, padding_mode, layout, nan
    array, call = called(MaxBlurCall, function, input, *arguments)
    result = call.result(out, array)
    for some, made in _few_maps(call.maps, native(array), result):
        few = resolved(MaxBlurCall, function, some, arguments)
        _run(few.maps, few.blur, few.maxima.forward(some), made, backward=False)
    return result


@described("max_blur_pool", 2)
@names_checked
@in_default_mode
def max_blur_pool2d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    kernel_size: Sizes = 2,
    stride: Sizes | None = 2,
    padding: Padding = 0,
    *,
    blur_kernel_size: Sizes = 3,
    padding_mode: PaddingMode = "reflect",
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.max_blur_pool2d` with respect to its input.

    The gradient of each blurred maximum goes to the element that was the maximum: the first of equal ones.

    Parameters
    ----------
    kernel_size, stride, padding, blur_kernel_size, padding_mode
        As in the forward call.

    {gradient_or_errors}

    {examples}
    >>> x = np.array([[[[0.0, 0.0, 4.0, 0.0, 8.0]]]])
    >>> pooling.max_blur_pool2d_backward(np.array([[[[4.0, 8.0]]]]), x, (1, 2), blur_kernel_size=(1, 3))
    array([[[[2., 0., 8., 0., 2.]]]])
    """
    function = "max_blur_pool2d_backward"
    arguments = kernel_size, stride, padding, blur_kernel_size, padding_mode, layout, nan
    array, call = called(MaxBlurCall, function, input, *arguments)
    gradient = call.gradient(grad_output)
    result = call.input_gradient(out, array, gradient)
    if _in_one_pass(call, native(array), native(gradient), result):
        return result
    for some, grads, made in _few_maps(call.maps, native(array), native(gradient), result):
        # All of it in float64, whose maxima stand where those of the input do, so that there is one rounding.
        wide = some.astype(np.float64, copy=False)
        few = resolved(MaxBlurCall, function, wide, arguments)
        of_maxima = np.empty(few.maxima.output_shape)
        _run(few.maps, few.blur, grads.astype(np.float64, copy=False), of_maxima, backward=True)
        rounded(few.maxima.backward(of_maxima, wide, None, None), made)
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Layers


class BlurPool2d(Layer):
    """Layer of `pooling.blur_pool2d`.

    Examples
    --------
    >>> BlurPool2d(5)
    BlurPool2d(kernel_size=5)
    >>> BlurPool2d(5).output_shape((1, 64, 112, 112))
    (1, 64, 56, 56)
    """

    operator = "blur_pool"
    dimensions = 2

    def __init__(
        self,
        kernel_size: Sizes = 3,
        stride: Sizes | None = 2,
        padding: Padding | None = None,
        *,
        padding_mode: PaddingMode = "reflect",
        layout: Layout = "channels_first",
    ) -> None: ...

    def axes(self, input_shape: Sequence[int]) -> tuple[Axis, ...]:
        """Return the windows on each spatial axis for an input of this shape."""
        shape = per_axis_shape("BlurPool2d", input_shape)
        names = ("kernel_size", "stride", "padding", "padding_mode")
        return blur_of("BlurPool2d", shape[self._spatial(shape)], *(self.arguments[name] for name in names)).axes


class MaxBlurPool2d(Layer):
    """Layer of `pooling.max_blur_pool2d`.

    Examples
    --------
    >>> MaxBlurPool2d(3, padding=1)
    MaxBlurPool2d(kernel_size=3, padding=1)
    >>> MaxBlurPool2d(3, padding=1).output_shape((1, 64, 112, 112))
    (1, 64, 56, 56)
    """

    operator = "max_blur_pool"
    dimensions = 2

    def __init__(
        self,
        kernel_size: Sizes = 2,
        stride: Sizes | None = 2,
        padding: Padding = 0,
        *,
        blur_kernel_size: Sizes = 3,
        padding_mode: PaddingMode = "reflect",
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
    ) -> None: ...

    def axes(self, input_shape: Sequence[int]) -> tuple[Axis, ...]:
        """Return the windows of both steps together on each spatial axis: what one result depends on."""
        name = "MaxBlurPool2d"
        shape = per_axis_shape(name, input_shape)
        maxima = geometry.pool_axes(
            shape[self._spatial(shape)], self.arguments["kernel_size"], 1, self.arguments["padding"], function=name
        )
        sizes = [axis.output_size for axis in maxima]
        kernel, stride, mode = (self.arguments[key] for key in ("blur_kernel_size", "stride", "padding_mode"))
        blurred = blur_of(name, sizes, kernel, stride, None, mode, "blur_kernel_size").axes
        return tuple(
            replace(
                second,
                input_size=first.input_size,
                kernel_size=first.kernel_size + second.kernel_size - 1,
                pad_begin=first.pad_begin + second.pad_begin,
                pad_end=first.pad_end + second.pad_end,
            )
            for first, second in zip(maxima, blurred, strict=True)
        )
