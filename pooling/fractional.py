"""Fractional max pooling and its gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import geometry
from .annotations import AnyArray, Indexed, Layout, Ratio, fractional
from .arrays import as_array, in_default_mode, native, result_array
from .calls import Call, Windows, batch_and_spatial, checked_gradient, checked_indices, resolve, sum_kind
from .describe import described
from .dispatch import kernels
from .geometry import Sizes
from .layers import Layer
from .operators import FLOATS, OPERATORS
from .signs import counted, short_repr
from .workers import threads_for

__all__ = [
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "fractional_max_pool2d",
    "fractional_max_pool2d_backward",
    "fractional_max_pool3d",
    "fractional_max_pool3d_backward",
]


@dataclass(frozen=True)
class FractionalCall:
    """A checked call: the array, the windows' sizes, and the shapes as adaptive pooling has them."""

    array: AnyArray
    spatial: slice
    kernel_size: tuple[int, ...]
    call: Call

    @classmethod
    def of(
        cls,
        function: str,
        dimensions: int,
        input: ArrayLike,
        kernel_size: Any,
        output_size: Any,
        output_ratio: Any,
        layout: str,
    ) -> FractionalCall:
        """Check the arguments of a public function, but for the samples."""
        array = as_array(function, "input", input, OPERATORS["fractional_max_pool"].dtypes)
        _, spatial = batch_and_spatial(function, array.shape, dimensions, layout)
        kernel, sizes = geometry.fractional_sizes(
            function, array.shape[spatial], kernel_size, output_size, output_ratio
        )
        # Adaptive pooling makes a result of the same shape, and its gradient goes where indices say as well.
        call = resolve("adaptive_max_pool", function, dimensions, array, Windows(output_size=sizes), layout)
        # How many windows hold a cell is another matter.
        overlaps = math.prod(min(taps, size) for taps, size in zip(kernel, sizes, strict=True))
        call = replace(call, gradient_kind=sum_kind(call.dtype, overlaps - 1))
        return cls(array, spatial, kernel, call)

    @property
    def outer(self) -> int:
        """Maps that lie one behind the other."""
        return math.prod(self.array.shape[: self.spatial.start])

    @property
    def inner(self) -> int:
        """Maps that lie side by side."""
        return math.prod(self.array.shape[self.spatial.stop :])

    def samples(self, given: ArrayLike | None, rng: np.random.Generator | None) -> AnyArray:
        """Check or draw the phases of each map and axis, as an array (maps, axes)."""
        function, dimensions = self.call.function, len(self.kernel_size)
        if rng is not None and not isinstance(rng, np.random.Generator):
            raise TypeError(
                f"{function}: rng={short_repr(rng)} must be a numpy.random.Generator, not {type(rng).__name__}; "
                "use numpy.random.default_rng(seed)"
            )
        batched = self.array.ndim == dimensions + 2
        batch = self.array.shape[0] if batched else 1
        channels = (
            self.array.shape[-1] if self.spatial.stop < self.array.ndim else self.array.shape[self.spatial.start - 1]
        )
        shape = (batch, channels, dimensions)
        if given is None:
            return np.random.default_rng(rng).random(shape).reshape(-1, dimensions)
        samples = as_array(function, "_random_samples", given, FLOATS)
        if samples.shape != shape:
            raise ValueError(
                f"{function}: _random_samples has shape {samples.shape}; it must have {shape}, one number for each map "
                "and spatial axis"
            )
        bad = ~((samples >= 0) & (samples < 1))
        if bad.any():
            position = tuple(int(i) for i in np.argwhere(bad)[0])
            raise ValueError(
                f"{function}: _random_samples{list(position)} is {samples[position]}; give numbers of at least 0 and "
                "less than 1"
            )
        return samples.astype(samples.dtype.newbyteorder("=")).reshape(-1, dimensions)

    def pool(self, samples: AnyArray, out: AnyArray | None, *, indexed: bool) -> tuple[AnyArray, AnyArray | None]:
        """Pool with windows of these phases."""
        call, dimensions = self.call, len(self.kernel_size)
        starts = []
        for i, axis in enumerate(call.axes):
            # torch reads the samples of two axes in the order W, H, of three axes in the order D, H, W.
            phases = samples[:, 1 - i if dimensions == 2 else i]
            starts.append(
                window_starts(call.function, axis.name, axis.input_size, self.kernel_size[i], axis.output_size, phases)
            )
        result = result_array(call.function, out, call.output_shape, call.dtype, self.array)
        indices = np.empty(call.output_shape, np.int64) if indexed else None
        missing = 3 - dimensions
        kernels.fractional_max(
            native(self.array),
            result,
            indices,
            self.outer,
            self.inner,
            (1,) * missing + tuple(axis.input_size for axis in call.axes),
            (1,) * missing + tuple(axis.output_size for axis in call.axes),
            (1,) * missing + self.kernel_size,
            [np.zeros((len(samples), 1), np.int64)] * missing + starts,
            call.kind,
            threads_for(call.nbytes),
        )
        return result, indices


@in_default_mode
def window_starts(function: str, name: str, size: int, kernel: int, count: int, samples: AnyArray) -> NDArray[np.int64]:
    """Place the windows of one axis for each map, in the arithmetic of the samples' dtype, as torch does."""
    last, number = size - kernel, samples.dtype.type
    with np.errstate(over="ignore", invalid="ignore"):
        step = number(last) / number(max(count - 1, 1))
        phases = samples[:, np.newaxis]
        places = (np.arange(count - 1).astype(samples.dtype) + phases) * step
        begins = phases * step
    if not (np.isfinite(places).all() and np.isfinite(begins).all()):
        raise ValueError(
            f"{function}: _random_samples of dtype {samples.dtype.name} cannot count the {counted(size, 'cell')} of "
            f"axis {name}; "
            "use float32 or float64"
        )
    starts = np.full((len(samples), count), last, np.int64)
    np.minimum(places.astype(np.int64) - begins.astype(np.int64), last, out=starts[:, :-1])
    return starts


@fractional
@described("fractional_max_pool", 2)
def fractional_max_pool2d(
    input: ArrayLike,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Ratio | None = None,
    return_indices: bool = False,
    _random_samples: ArrayLike | None = None,
    *,
    layout: Layout = "channels_first",
    rng: np.random.Generator | None = None,
    out: AnyArray | None = None,
) -> AnyArray | Indexed:
    """Greatest element of each of a fixed number of windows of a map, at steps that vary by one cell.

    Parameters
    ----------
    {input}
    kernel_size : int or sequence of int
        Cells of a window, for all axes or for each.
    output_size : int or sequence of int, optional
        Windows on each axis; with the kernel they must fit, ``output_size + kernel_size - 1 <= input``.
    output_ratio : float or sequence of float, optional
        The same as a part of the input's size, between 0 and 1; exactly one of the two must be given.
    return_indices : bool
        Whether to return as well where each result comes from.
    _random_samples : array_like, optional
        Numbers in [0, 1), of shape ``(N, C, 2)`` with N = 1 without a batch: where the steps of each map begin, in the
        order W, H. Windows are placed in the arithmetic of their dtype.
    {layout}
    rng : numpy.random.Generator, optional
        What draws the samples where none are given; by default a fresh one.
    {out}

    Returns
    -------
    ndarray, or tuple of two
        The result, and with `return_indices` the int64 position of each result in its plane, flat in row-major order:
        the first of equal elements, or the first NaN.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals ``torch.nn.functional.fractional_max_pool2d`` for the same samples. The method is that of Graham,
    "Fractional Max-Pooling" (2014).

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.arange(25.0).reshape(1, 1, 5, 5)
    >>> pooling.fractional_max_pool2d(x, 2, 3, _random_samples=np.full((1, 1, 2), 0.4)).ravel()
    array([ 6.,  8.,  9., 16., 18., 19., 21., 23., 24.])
    """
    function = "fractional_max_pool2d"
    pooling = FractionalCall.of(function, 2, input, kernel_size, output_size, output_ratio, layout)
    indexed = geometry.flag(function, "return_indices", return_indices)
    result, indices = pooling.pool(pooling.samples(_random_samples, rng), out, indexed=indexed)
    return result if indices is None else (result, indices)


@fractional
@described("fractional_max_pool", 3)
def fractional_max_pool3d(
    input: ArrayLike,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Ratio | None = None,
    return_indices: bool = False,
    _random_samples: ArrayLike | None = None,
    *,
    layout: Layout = "channels_first",
    rng: np.random.Generator | None = None,
    out: AnyArray | None = None,
) -> AnyArray | Indexed:
    """Greatest element of each of a fixed number of windows of a volume, at steps that vary by one cell.

    Parameters
    ----------
    {input}
    kernel_size : int or sequence of int
        Cells of a window, for all axes or for each.
    output_size : int or sequence of int, optional
        Windows on each axis; with the kernel they must fit, ``output_size + kernel_size - 1 <= input``.
    output_ratio : float or sequence of float, optional
        The same as a part of the input's size, between 0 and 1; exactly one of the two must be given.
    return_indices : bool
        Whether to return as well where each result comes from.
    _random_samples : array_like, optional
        Numbers in [0, 1), of shape ``(N, C, 3)`` with N = 1 without a batch: where the steps of each map begin, in the
        order D, H, W. Windows are placed in the arithmetic of their dtype.
    {layout}
    rng : numpy.random.Generator, optional
        What draws the samples where none are given; by default a fresh one.
    {out}

    Returns
    -------
    ndarray, or tuple of two
        The result, and with `return_indices` the int64 position of each result in its plane, flat in row-major order:
        the first of equal elements, or the first NaN.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals ``torch.nn.functional.fractional_max_pool3d`` for the same samples. The method is that of Graham,
    "Fractional Max-Pooling" (2014).

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.arange(25.0).reshape(1, 1, 1, 5, 5)
    >>> pooling.fractional_max_pool3d(x, (1, 2, 2), (1, 3, 3), _random_samples=np.full((1, 1, 3), 0.4)).ravel()
    array([ 6.,  8.,  9., 16., 18., 19., 21., 23., 24.])
    """
    function = "fractional_max_pool3d"
    pooling = FractionalCall.of(function, 3, input, kernel_size, output_size, output_ratio, layout)
    indexed = geometry.flag(function, "return_indices", return_indices)
    result, indices = pooling.pool(pooling.samples(_random_samples, rng), out, indexed=indexed)
    return result if indices is None else (result, indices)


def _backward(
    pooling: FractionalCall,
    grad_output: ArrayLike,
    samples: ArrayLike | None,
    indices: ArrayLike | None,
    out: AnyArray | None,
) -> AnyArray:
    call = pooling.call
    gradient = checked_gradient(call, grad_output)
    named = checked_indices(call, indices)
    if samples is not None:
        phases = pooling.samples(samples, None)
        if named is None:
            _, named = pooling.pool(phases, None, indexed=True)
    elif named is None:
        raise ValueError(
            f"{call.function}: indices=None and _random_samples=None leave the windows of the forward call unknown; "
            "give the indices that it returned, or its samples"
        )
    return call.scatter_backward(gradient, pooling.array, named, out)


@described("fractional_max_pool", 2)
def fractional_max_pool2d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Ratio | None = None,
    _random_samples: ArrayLike | None = None,
    *,
    return_indices: bool = False,
    indices: ArrayLike | None = None,
    layout: Layout = "channels_first",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.fractional_max_pool2d` with respect to its input.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result: its shape, and the input's dtype.
    {input}
    kernel_size, output_size, output_ratio, _random_samples
        As in the forward call.
    return_indices : bool
        Has no effect; here so that the forward call's arguments can be passed on.
    indices : array_like of integers, optional
        What the forward call returned as indices; without them they are found again in `input`, which takes the
        samples of the forward call.
    {layout}
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}
        Also if an index names no element of its plane, or there are neither indices nor samples.

    Notes
    -----
    Equals what torch.autograd makes of ``torch.nn.functional.fractional_max_pool2d``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.arange(4.0).reshape(1, 1, 1, 4)
    >>> samples = np.zeros((1, 1, 2))
    >>> pooling.fractional_max_pool2d_backward(
    ...     np.ones((1, 1, 1, 2)), x, (1, 2), (1, 2), _random_samples=samples
    ... ).ravel()
    array([0., 1., 0., 1.])
    """
    function = "fractional_max_pool2d_backward"
    geometry.flag(function, "return_indices", return_indices)
    pooling = FractionalCall.of(function, 2, input, kernel_size, output_size, output_ratio, layout)
    return _backward(pooling, grad_output, _random_samples, indices, out)


@described("fractional_max_pool", 3)
def fractional_max_pool3d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Ratio | None = None,
    _random_samples: ArrayLike | None = None,
    *,
    return_indices: bool = False,
    indices: ArrayLike | None = None,
    layout: Layout = "channels_first",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.fractional_max_pool3d` with respect to its input.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result: its shape, and the input's dtype.
    {input}
    kernel_size, output_size, output_ratio, _random_samples
        As in the forward call.
    return_indices : bool
        Has no effect; here so that the forward call's arguments can be passed on.
    indices : array_like of integers, optional
        What the forward call returned as indices; without them they are found again in `input`, which takes the
        samples of the forward call.
    {layout}
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}
        Also if an index names no element of its plane, or there are neither indices nor samples.

    Notes
    -----
    Equals what torch.autograd makes of ``torch.nn.functional.fractional_max_pool3d``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.arange(4.0).reshape(1, 1, 1, 1, 4)
    >>> samples = np.zeros((1, 1, 3))
    >>> pooling.fractional_max_pool3d_backward(
    ...     np.ones((1, 1, 1, 1, 2)), x, (1, 1, 2), (1, 1, 2), _random_samples=samples
    ... ).ravel()
    array([0., 1., 0., 1.])
    """
    function = "fractional_max_pool3d_backward"
    geometry.flag(function, "return_indices", return_indices)
    pooling = FractionalCall.of(function, 3, input, kernel_size, output_size, output_ratio, layout)
    return _backward(pooling, grad_output, _random_samples, indices, out)


# ---------------------------------------------------------------------------------------------------------------------
# Layers


class _FractionalMaxPool(Layer):
    operator = "fractional_max_pool"
    _defaults: ClassVar[dict[str, Any]] = {
        **Layer._defaults,
        "output_size": None,
        "output_ratio": None,
        "_random_samples": None,
        "rng": None,
    }

    def __init__(
        self,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: Ratio | None = None,
        return_indices: bool = False,
        _random_samples: ArrayLike | None = None,
        *,
        layout: Layout = "channels_first",
        rng: np.random.Generator | None = None,
    ) -> None:
        self.arguments = {
            "kernel_size": kernel_size,
            "output_size": output_size,
            "output_ratio": output_ratio,
            "return_indices": return_indices,
            "_random_samples": _random_samples,
            "layout": layout,
            "rng": rng,
        }

    def __call__(self, input: ArrayLike) -> AnyArray | Indexed:
        """Pool an array; with ``return_indices``, return the indices as well."""
        result: AnyArray | Indexed = type(self)._pool(input, **self._arguments)
        return result

    def backward(self, grad_output: ArrayLike, input: ArrayLike, **keywords: Any) -> AnyArray:
        """Return the gradient with respect to `input`.

        Parameters
        ----------
        grad_output, input : array_like
            Gradient with respect to the result, and what the layer pooled.
        **keywords
            ``indices=`` of the forward call, which a layer without samples needs; ``out=``.
        """
        arguments = {name: value for name, value in self.arguments.items() if name != "rng"}
        gradient: AnyArray = type(self)._backward(grad_output, input, **arguments, **keywords)
        return gradient

    def axes(self, input_shape: Sequence[int]) -> NoReturn:
        """Refuse: every map has windows of its own."""
        raise ValueError(
            f"{type(self).__name__}: each map has windows of its own, which no axis can describe; "
            "use output_shape for the shape of the result"
        )

    def output_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the result for an input of this shape, without pooling anything."""
        name = type(self).__name__
        shape = geometry.per_axis_shape(name, input_shape)
        spatial = self._spatial(shape)
        arguments = (self.arguments[key] for key in ("kernel_size", "output_size", "output_ratio"))
        _, sizes = geometry.fractional_sizes(name, shape[spatial], *arguments)
        return geometry.replace_spatial(shape, spatial, sizes)

    def _tells(self, name: str, value: Any) -> bool:
        # An array of samples has no truth value to compare by.
        optional = name in ("output_size", "_random_samples")
        return value is not None if optional else super()._tells(name, value)


class FractionalMaxPool2d(_FractionalMaxPool):
    """Layer of `pooling.fractional_max_pool2d`, with the arguments of ``torch.nn.FractionalMaxPool2d`` and more.

    Examples
    --------
    >>> FractionalMaxPool2d(2, output_ratio=0.5).output_shape((8, 16, 50, 50))
    (8, 16, 25, 25)
    """

    dimensions = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """Layer of `pooling.fractional_max_pool3d`, with the arguments of ``torch.nn.FractionalMaxPool3d`` and more.

    Examples
    --------
    >>> FractionalMaxPool3d(2, output_ratio=0.5).output_shape((8, 16, 50, 50, 50))
    (8, 16, 25, 25, 25)
    """

    dimensions = 3
