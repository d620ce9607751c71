"""Fractional max pooling and its gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NoReturn, Protocol, Self, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import geometry
from .._core import threads_for
from ..annotations import AnyArray, Indexed, Layout, Random, Ratio, Sizes
from ..arguments import axis_names, entries, flag, generator, per_axis, per_axis_shape, real
from ..arrays import as_array, in_default_mode, native
from ..calls import FUNCTIONS, called, functions_of, sum_kind
from ..dispatch import kernels
from ..errors import value_error
from ..layer import Layer
from ..maps import Maps, replace_spatial
from ..operators import FLOATS, OPERATORS
from ..ranks import ranked
from ..signs import counted, short_repr
from .extremes import Extreme

__all__ = [
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "fractional_max_pool2d",
    "fractional_max_pool2d_backward",
    "fractional_max_pool3d",
    "fractional_max_pool3d_backward",
]


def fractional_sizes(
    function: str, spatial: tuple[int, ...], kernel_size: Any, output_size: Any, output_ratio: Any
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the sizes of windows and output of fractional pooling, one for each axis."""
    dimensions = len(spatial)
    names = axis_names(dimensions)
    kernel = per_axis(function, "kernel_size", kernel_size, dimensions)
    if (output_size is None) == (output_ratio is None):
        raise value_error(
            function,
            f"output_size={short_repr(output_size)} and output_ratio={short_repr(output_ratio)} must not both be "
            f"{'missing' if output_size is None else 'there'}",
            "give one of them",
        )
    if output_ratio is not None:
        ratios = _ratios(function, output_ratio, dimensions)
        sizes = tuple(int(size * ratio) for size, ratio in zip(spatial, ratios, strict=True))
        shown = f"output_ratio={short_repr(output_ratio)}"
    else:
        sizes = per_axis(function, "output_size", output_size, dimensions)
        shown = f"output_size={short_repr(output_size)}"
    for size, taps, count, name in zip(spatial, kernel, sizes, names, strict=True):
        if count < 1:
            raise value_error(
                function, f"{shown} leaves no window on axis {name} of size {size}", "use a larger ratio or input"
            )
        if count + taps - 1 > size:
            raise value_error(
                function,
                f"{shown} asks for {counted(count, 'window')} of size {taps} on axis {name} of size {size}",
                f"that needs an input of at least {count + taps - 1}",
            )
    return kernel, sizes


def _ratios(function: str, output_ratio: Any, dimensions: int) -> list[float]:
    ratios = entries(function, "output_ratio", output_ratio, dimensions, "number")
    for ratio in ratios:
        if not 0 < real(function, "output_ratio", ratio, "a number or one number per spatial axis", output_ratio) < 1:
            raise value_error(
                function,
                f"must be greater than 0 and less than 1, not {short_repr(ratio)}",
                argument=("output_ratio", output_ratio),
            )
    return [float(ratio) for ratio in ratios]


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
        raise value_error(
            function,
            f"_random_samples of dtype {samples.dtype.name} cannot count the {counted(size, 'cell')} of axis {name}",
            "use float32 or float64",
        )
    starts = np.full((len(samples), count), last, np.int64)
    np.minimum(places.astype(np.int64) - begins.astype(np.int64), last, out=starts[:, :-1])
    return starts


@dataclass(frozen=True)
class FractionalCall(Extreme):
    """A call whose windows lie elsewhere on each map: of its axes only the sizes are meant."""

    kernel_size: tuple[int, ...]

    @classmethod
    def of(
        cls, function: str, shape: tuple[int, ...], dtype: np.dtype[Any], *, layout: Any = None, **sizes: Any
    ) -> Self:
        """Resolve a call."""
        maps = Maps.of(function, shape, FUNCTIONS[function].dimensions, layout)
        kernel, counts = fractional_sizes(function, maps.sizes, **sizes)
        axes = geometry.adaptive_axes(maps.sizes, counts, function=function)
        made = maps.restored(function, counts)
        return cls(function, dtype, maps, axes, made, kernels.REDUCERS["greatest"], kernel)

    @cached_property
    def gradient_kind(self) -> int:
        """What kernels call the dtype with rows in which gradients that meet are summed."""
        counts = (axis.output_size for axis in self.axes)
        overlaps = math.prod(min(taps, count) for taps, count in zip(self.kernel_size, counts, strict=True))
        return sum_kind(self.dtype, overlaps - 1)

    def samples(self, given: ArrayLike | None, rng: Random) -> AnyArray:
        """Check or draw the phases of each map and axis, as an array (maps, axes)."""
        samples = self.unchecked_samples(given, rng)
        self.check(samples)
        return samples

    def unchecked_samples(self, given: ArrayLike | None, rng: Random) -> AnyArray:
        """Do the same, but for whether each is a part of a step: `pool` and `found` see to that."""
        function, dimensions = self.function, len(self.kernel_size)
        drawn_by = None if rng is None else generator(function, "rng", rng)
        shape = (self.maps.batch, self.maps.channels, dimensions)
        if given is None:
            return np.random.default_rng(drawn_by).random(shape).reshape(-1, dimensions)
        samples = as_array(function, "_random_samples", given, FLOATS)
        if samples.shape != shape:
            raise value_error(
                function,
                f"_random_samples has shape {samples.shape}",
                f"it must have {shape}, one number for each map and spatial axis",
            )
        return native(samples).reshape(-1, dimensions)

    def check(self, samples: AnyArray) -> None:
        """Refuse samples that are no part of a step."""
        bad = ~((samples >= 0) & (samples < 1))
        if bad.any():
            row, axis = (int(i) for i in np.argwhere(bad)[0])
            position = [*divmod(row, self.maps.channels), axis]
            raise value_error(
                self.function,
                f"_random_samples{position} is {samples[row, axis]}",
                "give numbers of at least 0 and less than 1",
            )

    @cached_property
    def volumes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Sizes of a map, of its result and of a window, each of three axes."""
        missing = (1,) * (3 - len(self.axes))
        inputs, outputs = zip(*((axis.input_size, axis.output_size) for axis in self.axes), strict=True)
        return missing + inputs, missing + outputs, missing + self.kernel_size

    def _tables(self, samples: AnyArray) -> list[NDArray[np.int64]]:
        """Place the windows of all maps on three axes, by samples in which processors do not calculate."""
        self.check(samples)
        dimensions = len(self.axes)
        tables = [np.zeros((len(samples), 1), np.int64)] * (3 - dimensions)
        for i, axis in enumerate(self.axes):
            # torch reads the samples of two axes in the order W, H, of three axes in the order D, H, W.
            phases = samples[:, 1 - i if dimensions == 2 else i]
            kernel, count = self.kernel_size[i], axis.output_size
            tables.append(window_starts(self.function, axis.name, axis.input_size, kernel, count, phases))
        return tables

    def pool(
        self, array: AnyArray, samples: AnyArray, out: AnyArray | None, *, indexed: bool
    ) -> tuple[AnyArray, AnyArray | None]:
        """Pool with windows of these phases."""
        result = self.result(out, array)
        return result, self._run(array, samples, result, indexed=indexed)

    def found(self, array: AnyArray, samples: AnyArray) -> AnyArray:
        """Return the indices alone."""
        indices = self._run(array, samples, None, indexed=True)
        assert indices is not None
        return indices

    def _run(self, array: AnyArray, samples: AnyArray, result: AnyArray | None, *, indexed: bool) -> AnyArray | None:
        in_kernels = samples.dtype.type in (np.float32, np.float64)
        indices = np.empty(self.output_shape, np.int64) if indexed else None
        bad = kernels.fractional_max(
            native(array),
            result,
            indices,
            self.maps.outer,
            self.maps.inner,
            *self.volumes,
            None if in_kernels else self._tables(samples),
            self.kind,
            threads_for(self.nbytes, "fractional"),
            samples,
            len(self.axes),
            samples.dtype.itemsize,
        )
        if bad >= 0:
            self.check(samples)
        return indices


FUNCTIONS |= functions_of(OPERATORS["fractional_max_pool"], ("kernel_size", "output_size", "output_ratio", "layout"))


class Fractional(Protocol):
    """A function of windows at steps that vary: its flag decides what comes back; without it, the first that fits."""

    @overload
    def __call__(
        self,
        input: ArrayLike,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: Ratio | None = None,
        return_indices: Literal[False] = False,
        _random_samples: ArrayLike | None = None,
        *,
        layout: Layout = "channels_first",
        rng: Random = None,
        out: AnyArray | None = None,
    ) -> AnyArray: ...

    @overload
    def __call__(
        self,
        input: ArrayLike,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: Ratio | None = None,
        return_indices: Literal[True] = ...,
        _random_samples: ArrayLike | None = None,
        *,
        layout: Layout = "channels_first",
        rng: Random = None,
        out: AnyArray | None = None,
    ) -> Indexed: ...

    @overload
    def __call__(
        self,
        input: ArrayLike,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: Ratio | None = None,
        return_indices: bool = False,
        _random_samples: ArrayLike | None = None,
        *,
        layout: Layout = "channels_first",
        rng: Random = None,
        out: AnyArray | None = None,
    ) -> AnyArray | Indexed: ...


def _fractional_max_pool(
    input: ArrayLike,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Ratio | None = None,
    return_indices: bool = False,
    _random_samples: ArrayLike | None = None,
    *,
    layout: Layout = "channels_first",
    rng: Random = None,
    out: AnyArray | None = None,
) -> AnyArray | Indexed:
    """Greatest element of each of a fixed number of windows {windows_of}, at steps that vary by one cell.

    Parameters
    ----------
    kernel_size : int or sequence of int
        Cells of a window, for all axes or for each.
    output_size : int or sequence of int, optional
        Windows on each axis; with the kernel they must fit, ``output_size + kernel_size - 1 <= input``.
    output_ratio : float or sequence of float, optional
        The same as a part of the input's size, between 0 and 1; exactly one of the two must be given.
    return_indices : bool
        Whether to return as well where each result comes from.
    _random_samples : array_like, optional
        Numbers in [0, 1), of shape ``(N, C, {n})`` with N = 1 without a batch: where the steps of each map begin, in
        the order {order}. Windows are placed in the arithmetic of their dtype.
    rng : int, sequence of int, or Generator, BitGenerator or SeedSequence of numpy.random, optional
        What draws the samples where none are given, by ``numpy.random.default_rng(rng)``: with an integer, integers or
        a `SeedSequence` every call draws the same; a `Generator` or a `BitGenerator` goes on from call to call. By
        default a fresh generator draws.

    Returns
    -------
    ndarray, or tuple of two
        The result, and with `return_indices` the int64 position of each result in its plane, flat in row-major order:
        the first of equal elements, or the first NaN.

    {raises}

    Notes
    -----
    Equals ``torch.nn.functional.{function}`` for the same samples. The method is that of Graham,
    "Fractional Max-Pooling" (2014).

    {examples}
    >>> x = np.arange(25.0).reshape({square})
    >>> pooling.{function}(x, {taps}, {counts}, _random_samples=np.full((1, 1, {n}), 0.4)).ravel()
    array([ 6.,  8.,  9., 16., 18., 19., 21., 23., 24.])
    """
    array, call = called(FractionalCall, "{function}", input, kernel_size, output_size, output_ratio, layout)
    indexed = flag("{function}", "return_indices", return_indices)
    result, indices = call.pool(array, call.unchecked_samples(_random_samples, rng), out, indexed=indexed)
    return result if indices is None else (result, indices)


def _fractional_max_pool_backward(
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
    """Gradient of `pooling.{forward}` with respect to its input.

    Parameters
    ----------
    kernel_size, output_size, output_ratio, _random_samples
        As in the forward call.
    return_indices : bool
        Has no effect; here so that the forward call's arguments can be passed on.
    indices : array_like of integers, optional
        What the forward call returned as indices; without them they are found again in `input`, which takes the
        samples of the forward call.

    {gradient_or_errors}
        Also if an index names no element of its plane, or there are neither indices nor samples.

    Notes
    -----
    {torch_gradient}.

    {examples}
    >>> x, samples = np.arange(4.0).reshape{row 4}, np.zeros((1, 1, {n}))
    >>> pooling.{function}(np.ones({row 2}), x, {along 2}, {along 2}, _random_samples=samples).ravel()
    array([0., 1., 0., 1.])
    """
    flag("{function}", "return_indices", return_indices)
    array, call = called(FractionalCall, "{function}", input, kernel_size, output_size, output_ratio, layout)
    gradient, named = call.gradient(grad_output), call.indices(indices)
    if _random_samples is not None:
        phases = call.unchecked_samples(_random_samples, None)
        if named is None:
            named = call.found(array, phases)
        else:
            call.check(phases)
    elif named is None:
        raise value_error(
            "{function}",
            "indices=None and _random_samples=None leave the windows of the forward call unknown",
            "give the indices that it returned, or its samples",
        )
    return call.backward(gradient, array, named, out)


fractional_max_pool2d, fractional_max_pool3d = ranked(
    cast(Fractional, _fractional_max_pool),
    "fractional_max_pool",
    order=("W, H", "D, H, W"),
    square=("1, 1, 5, 5", "1, 1, 1, 5, 5"),
    taps=("2", "(1, 2, 2)"),
    counts=("3", "(1, 3, 3)"),
)
fractional_max_pool2d_backward, fractional_max_pool3d_backward = ranked(
    _fractional_max_pool_backward, "fractional_max_pool", "_backward"
)


# ---------------------------------------------------------------------------------------------------------------------
# Layers


class _FractionalMaxPool(Layer):
    """Layer of `pooling.{function}`, with the arguments of ``torch.nn.{layer}`` and more."""

    operator = "fractional_max_pool"
    _example = """
        >>> {layer}(2, output_ratio=0.5).output_shape({maps 50})
        {maps 25}"""

    def __init__(
        self,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: Ratio | None = None,
        return_indices: bool = False,
        _random_samples: ArrayLike | None = None,
        *,
        layout: Layout = "channels_first",
        rng: Random = None,
    ) -> None: ...

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
        raise value_error(
            type(self).__name__,
            "each map has windows of its own, which no axis can describe",
            "use output_shape for the shape of the result",
        )

    def output_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the result for an input of this shape, without pooling anything."""
        name = type(self).__name__
        shape = per_axis_shape(name, input_shape)
        spatial = self._spatial(shape)
        arguments = (self.arguments[key] for key in ("kernel_size", "output_size", "output_ratio"))
        _, sizes = fractional_sizes(name, shape[spatial], *arguments)
        return replace_spatial(shape, spatial, sizes)


class FractionalMaxPool2d(_FractionalMaxPool, dimensions=2): ...


class FractionalMaxPool3d(_FractionalMaxPool, dimensions=3): ...
