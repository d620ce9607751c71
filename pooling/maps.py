"""What an array of maps is: where its batch, channels and spatial axes are, and what comes back in the same layout."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .annotations import AnyArray
from .arguments import INT64_MAX, axis_names, names_checked, per_axis_shape, sequence, word
from .arrays import as_array
from .errors import refused, type_error, value_error
from .geometry import Axis, pool_axes
from .signs import counted, short_repr

__all__ = [
    "LAYOUTS",
    "LayoutWarning",
    "Maps",
    "Moved",
    "check_total",
    "checked_gradient",
    "in_other_layout",
    "output_shape",
    "replace_spatial",
    "spatial_slice",
    "warn_of_colours",
    "warn_of_columns",
]

LAYOUTS = ("channels_first", "channels_last")


class Maps(NamedTuple):
    """The maps of an array of this shape."""

    shape: tuple[int, ...]
    """Of the array."""
    spatial: slice
    """Where the spatial axes are in it."""
    batched: bool
    """Whether the first axis is the batch."""

    @classmethod
    def of(cls, function: str, shape: tuple[int, ...], dimensions: Any, layout: Any) -> Maps:
        """Read the shape of an array.

        Where a name does not say how many spatial axes there are, `dimensions` does. If that is None, four axes are a
        batch of maps and five one of volumes; three axes could be a map as well as a batch of signals, and are refused.
        """
        rank = len(shape)
        layout = word(function, "layout", layout, LAYOUTS)
        if dimensions is None:
            if rank not in (4, 5):
                raise value_error(function, f"input of shape {shape} has {_choices(rank, layout)}")
            dimensions = rank - 2
        if type(dimensions) is not int or not 1 <= dimensions <= 3:
            kind = ValueError if type(dimensions) is int else TypeError
            raise refused(
                kind,
                function,
                "must be 1, 2 or 3, the number of spatial axes, or None",
                argument=("dimensions", dimensions),
            )
        spatial = spatial_slice(rank, dimensions, layout, function=function)
        if rank - dimensions not in (1, 2):
            form = _axes(dimensions, layout)
            one = "input[None]" if layout == "channels_first" else "input[..., None]"
            back = "result[0]" if layout == "channels_first" else "result[..., 0]"
            remedy = f"; a single map without channels goes in as {one} and comes out as {back}" * (rank == dimensions)
            raise value_error(
                function,
                f"input of shape {shape} has {counted(rank, 'axis', 'axes')}",
                f"it must have {dimensions + 2}, (N, {form}), or {dimensions + 1} without the batch, ({form}){remedy}",
            )
        return cls(shape, spatial, rank - dimensions == 2)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The spatial sizes."""
        return self.shape[self.spatial]

    @property
    def batch(self) -> int:
        """Entries of the batch; 1 without one."""
        return self.shape[0] if self.batched else 1

    @property
    def channels(self) -> int:
        """Maps of each entry of the batch."""
        return self.shape[-1 if self.inner_axes else self.spatial.start - 1]

    @property
    def inner_axes(self) -> int:
        """Axes behind the spatial ones."""
        return len(self.shape[self.spatial.stop :])

    @property
    def outer(self) -> int:
        """Maps that lie one behind the other, or groups of them that lie side by side."""
        return math.prod(self.shape[: self.spatial.start])

    @property
    def inner(self) -> int:
        """Maps that lie side by side, so that neighbours in memory are elements of different maps."""
        return math.prod(self.shape[self.spatial.stop :])

    def restored(self, function: str, sizes: Sequence[int]) -> tuple[int, ...]:
        """Return the shape with other spatial sizes, refusing what no 64-bit address space can hold."""
        shape = replace_spatial(self.shape, self.spatial, sizes)
        check_total(function, shape, 8)
        return shape


def _axes(dimensions: int, layout: str) -> str:
    names = ", ".join(axis_names(dimensions))
    return f"C, {names}" if layout == "channels_first" else f"{names}, C"


def _choices(rank: int, layout: str) -> str:
    """Say what an array of that many axes can be, and what to write."""
    signal, picture = _axes(1, layout), _axes(2, layout)
    if rank == 3:
        return (
            f"3 axes, which may be one map ({picture}) or a batch of signals (N, {signal}); say dimensions=2 or "
            "dimensions=1"
        )
    if rank == 2:
        one = "input[None]" if layout == "channels_first" else "input[..., None]"
        return f"2 axes; for one signal ({signal}) say dimensions=1, a map without channels give as {one}, dimensions=2"
    volume, noun = _axes(3, layout), "axis" if rank == 1 else "axes"
    return (
        f"{rank} {noun}; it must have 4, (N, {picture}), 5, (N, {volume}), or with dimensions= one more than the "
        "spatial axes, or two"
    )


def spatial_slice(rank: int, dimensions: int, layout: str, *, function: str) -> slice:
    """Where the spatial axes stand in a shape of `rank` axes."""
    end = rank if word(function, "layout", layout, LAYOUTS) == "channels_first" else rank - 1
    return slice(end - dimensions, end)


def replace_spatial(shape: Sequence[int], spatial: slice, sizes: Sequence[int]) -> tuple[int, ...]:
    """Put other spatial sizes into a shape."""
    return (*shape[: spatial.start], *sizes, *shape[spatial.stop :])


def check_total(function: str, shape: Sequence[int], itemsize: int, what: str = "the result") -> None:
    """Refuse a result, or what else it is said to be, that no 64-bit address space can hold."""
    # Zero-size axes do not excuse huge others: NumPy multiplies the sizes that are not zero, and so do we.
    if math.prod(size for size in shape if size) * itemsize > INT64_MAX:
        raise value_error(
            function,
            f"{what} would have shape {tuple(shape)} with {itemsize} bytes an element, more than 64 bits can address",
            "use smaller sizes",
        )


def checked_gradient(
    function: str,
    grad_output: ArrayLike,
    dtype: np.dtype[Any],
    output_shape: tuple[int, ...],
    input_shape: tuple[int, ...],
) -> AnyArray:
    """Check the gradient that came back from behind the pooling: `dtype`, of native byte order, is the input's."""
    gradient = as_array(function, "grad_output", grad_output)
    if gradient.dtype != dtype and gradient.dtype.newbyteorder("=") != dtype:
        raise type_error(
            function, f"grad_output has dtype {gradient.dtype.name}, the input {dtype.name}", "give both the same"
        )
    if gradient.shape != output_shape:
        raise value_error(
            function,
            f"grad_output has shape {gradient.shape}, but the forward call returns {output_shape} for input "
            f"{input_shape}",
        )
    return gradient


class Moved(NamedTuple):
    """A view of an array in the other layout, in which it is contiguous."""

    array: AnyArray
    layout: str
    axes: tuple[int, ...]
    axes_back: tuple[int, ...]

    def view(self, other: AnyArray) -> AnyArray:
        """See another array of the same layout and rank as this one is seen."""
        return other.transpose(self.axes)

    def back(self, result: AnyArray) -> AnyArray:
        """See what came of it in the requested layout."""
        return result.transpose(self.axes_back)


@lru_cache(64)
def _order(rank: int, dimensions: int, layout: str) -> tuple[str, tuple[int, ...], tuple[int, ...]] | None:
    """Return the other layout, the order of axes that it has, and the way back."""
    first, axes = rank - dimensions - 1, list(range(rank))
    if layout == "channels_first":
        axes.append(axes.pop(first))
        other = "channels_last"
    elif layout == "channels_last":
        axes.insert(first, axes.pop())
        other = "channels_first"
    else:
        return None
    return other, tuple(axes), tuple(axes.index(axis) for axis in range(rank))


def in_other_layout(array: AnyArray, dimensions: Any, layout: Any) -> Moved | None:
    """View an array as it lies in memory, where that is the other layout, as torch's channels_last is.

    Pooled so, it need not be copied first.
    """
    rank = array.ndim
    if dimensions is None:
        dimensions = rank - 2 if rank in (4, 5) else 0
    flags = array.flags
    if type(dimensions) is not int or type(layout) is not str or dimensions < 1 or rank - dimensions not in (1, 2):
        return None
    if flags.c_contiguous or not flags.aligned or not array.dtype.isnative:
        return None
    order = _order(rank, dimensions, layout)
    if order is None:
        return None
    moved = array.transpose(order[1])
    return Moved(moved, *order) if moved.flags.c_contiguous else None


class LayoutWarning(UserWarning):
    """Says that an array looks as if its channels were last, though it is pooled as if they were not.

    Shown with the first call of each function, shape, dtype and set of arguments, of `pooling.block_reduce` and
    `pooling.pyramid` with each, at the line that calls. Where the filters of `warnings` make it an error, the call
    pools nothing and is not remembered: the next one is refused, too.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> import pooling
    >>> images = np.zeros((2, 64, 48, 3), np.float32)
    >>> with warnings.catch_warnings(action="error"):
    ...     pooling.max_pool2d(images, 2)
    Traceback (most recent call last):
    pooling.maps.LayoutWarning: ...
    >>> pooling.max_pool2d(images, 2, layout="channels_last").shape
    (2, 32, 24, 3)
    """


COLOURED = 32
"""Cells on two axes from which on three cells on a third behind them are taken for colours."""


def warn_of_columns(function: str, array: AnyArray, axes: tuple[Axis, ...], layout: str) -> None:
    """Warn of a picture (H, W, 3) or (N, H, W, 3) that is taken for maps of three columns."""
    if layout == "channels_first" and len(axes) > 1:
        warn_of_colours(
            f"{function}: input of shape {array.shape} is read with its channels first, so that its last axis is "
            f'{array.shape[-1]} columns; if these are colours, say layout="channels_last"',
            array,
        )


def warn_of_colours(sentence: str, array: AnyArray) -> None:
    """Give a warning, if the last axis of an array looks as if it held colours.

    Both axes in front of the colours must be large, and neither more than four times the other, as is true of pictures.
    Four columns count for integers only: maps of floats that narrow are common behind networks for sound.
    """
    height, width, colours = array.shape[-3:]
    if colours != 3 and not (colours == 4 and array.dtype.kind in "iu"):
        return
    if min(height, width) < COLOURED or max(height, width) > 4 * min(height, width):
        return
    # Where the package was called from.
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "pooling":
        level, frame = level + 1, frame.f_back
    warnings.warn(sentence, LayoutWarning, stacklevel=level)


@names_checked
def output_shape(
    input_shape: Sequence[int],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    layout: str = "channels_first",
) -> tuple[int, ...]:
    """Shape that max or average pooling gives to an array of `input_shape`, without pooling anything.

    Parameters
    ----------
    input_shape : sequence of int
        ``(N, C, *S)``, or ``(N, *S, C)`` with ``layout="channels_last"``. A sequence of two or three given as
        `kernel_size` fixes the number of spatial axes, so that an unbatched ``(C, *S)`` is understood as well.
    kernel_size, stride, padding, dilation, ceil_mode, layout
        As in `pooling.max_pool2d`.

    Returns
    -------
    tuple of int

    Raises
    ------
    TypeError, ValueError
        As the pooling itself would.

    Examples
    --------
    >>> import pooling
    >>> pooling.output_shape((1, 64, 112, 112), 3, stride=2, padding=1)
    (1, 64, 56, 56)
    >>> pooling.output_shape((1, 1, 7, 7), 2)
    (1, 1, 3, 3)
    """
    shape = per_axis_shape("output_shape", input_shape)
    dimensions = len(shape) - 2
    entries = sequence(kernel_size)
    if entries is not None and (len(entries) > 1 or len(shape) == 2):
        dimensions = len(entries)
    if not 1 <= dimensions <= 3 or len(shape) - dimensions not in (1, 2):
        raise value_error(
            "output_shape",
            f"has {counted(len(shape), 'axis', 'axes')}",
            f"with kernel_size={short_repr(kernel_size)} it must have 1 to 3 spatial ones, channels, and a batch "
            "unless kernel_size has an entry for each spatial axis",
            argument=("input_shape", input_shape),
        )
    spatial = spatial_slice(len(shape), dimensions, layout, function="output_shape")
    axes = pool_axes(shape[spatial], kernel_size, stride, padding, dilation, ceil_mode)
    return replace_spatial(shape, spatial, [axis.output_size for axis in axes])
