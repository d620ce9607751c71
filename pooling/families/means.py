"""Means of windows and their gradients: average, adaptive and global pooling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike

from .._core import Plan, threads_for
from ..annotations import AdaptiveSize, AnyArray, Layout, NanRule, Padding, Rounding, Sizes
from ..arguments import flag, real, word
from ..arrays import dtype_name, native, plain_array
from ..calls import Call, entry, is_float32, placed, reducer_named, sum_kind
from ..dispatch import kernels
from ..errors import value_error
from ..geometry import NO_WINDOWS, Axis, Slab
from ..layer import Layer
from ..plan import lay_out
from ..ranks import described, ranked

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "GlobalAvgPool1d",
    "GlobalAvgPool2d",
    "GlobalAvgPool3d",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_backward",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool3d",
    "adaptive_avg_pool3d_backward",
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "avg_pool3d",
    "avg_pool3d_backward",
    "global_avg_pool",
    "global_avg_pool_backward",
]

DIVIDED_BYTES = 1 << 20
"""Gradients of windows with different divisors that are divided together, unless a single map is larger."""
SLAB_BYTES = 1 << 22
"""The same of a single map, unless 16 times the extent of a window on the axis that is cut is more: windows that reach
across a cut are divided twice."""
CELLS_OF_RUN = 8
"""Elements between adaptive windows, channels that lie side by side included, from which on their gradients are runs of
equal values; others are pooled."""


class MeanGradient(NamedTuple):
    """How the gradients of means are spread: by the loops of `plan`, which pool them if `gathers`.

    Where windows have different divisors, gradients are divided first, by those of the windows of `divides`.
    """

    plan: Plan
    gathers: bool
    divides: Plan | None = None

    def kind(self, dtype: np.dtype[Any], *, exact: bool) -> int:
        """Return what kernels call the dtype with rows as wide as roundings ask for; float32 holds `exact` divisors."""
        roundings = self.plan.summation_depth if self.gathers else self.plan.spreading_depth
        return sum_kind(dtype, roundings + (self.divides is not None), exact=exact)

    def spread(self, source: AnyArray, result: AnyArray, threads: int, *, exact: bool) -> None:
        """Run the loops."""
        kind = self.kind(result.dtype, exact=exact)
        if self.gathers:
            kernels.forward(self.plan, kernels.REDUCERS["total"], kind, source, result, threads)
        else:
            kernels.average_backward(self.plan, kind, source, result, threads)


@dataclass(frozen=True)
class Mean(Call):
    """A call that takes the mean of each window."""

    count_include_pad: bool
    divisor: float | None
    ignores_nan: bool
    reducer: int
    rounding: int

    @classmethod
    def of(
        cls,
        function: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        *,
        nan: Any = "propagate",
        rounding: Any = "half_even",
        count_include_pad: Any = False,
        divisor_override: Any = None,
        **arguments: Any,
    ) -> Self:
        """Resolve a call."""
        include = flag(function, "count_include_pad", count_include_pad)
        divisor = _divisor(function, divisor_override)
        integers = dtype.kind in "iu"
        reducer = reducer_named(function, "total", nan)
        # Integers have no NaN to leave out.
        reducer = "total" if integers else reducer
        call = placed(function, shape, dtype, **arguments)
        if integers and divisor is None:
            _refuse_empty_means(function, call.axes, include)
        rounds = kernels.ROUNDINGS[word(function, "rounding", rounding, tuple(kernels.ROUNDINGS))]
        return cls(*call, include, divisor, reducer != "total", kernels.REDUCERS[reducer], rounds)

    @cached_property
    def plan(self) -> Plan:
        """The loops of the forward call."""
        return lay_out(
            self.planned,
            self.maps.outer,
            self.maps.inner,
            average=True,
            count_include_pad=self.count_include_pad,
            divisor_override=None if self.ignores_nan else self.divisor,
            number_divisor=self.divisor if self.ignores_nan else None,
        )

    @property
    def loops(self) -> tuple[Plan, int, int, int]:
        """The same with what runs them: plan, reducer, kind and rounding."""
        return self.plan, self.reducer, self.kind, self.rounding

    @property
    def gradient_loops(self) -> tuple[str, Plan, int, int, int, Plan | None] | None:
        """How gradients are made, plan, reducer, kinds of gradients and of their sums, and what divides them first.

        None where they are made of some maps at a time.
        """
        if not self.made_at_once:
            return None
        gradient, _ = self.gradients
        way = "gather" if gradient.gathers else "spread"
        kind = gradient.kind(self.dtype, exact=is_float32(self.divisor))
        return way, gradient.plan, self.reducer, kernels.KINDS[dtype_name(self.dtype)], kind, gradient.divides

    @cached_property
    def kind(self) -> int:
        """What kernels call the dtype with rows as wide as sums need; those that leave NaN out are float64 anyway."""
        if self.ignores_nan:
            return kernels.KINDS[self.dtype.name]
        return sum_kind(self.dtype, self.plan.summation_depth, exact=is_float32(self.divisor))

    @property
    def cut_axis(self) -> int:
        """The axis across which a single map is cut where its gradients are not divided as a whole: the first long."""
        return next((i for i, axis in enumerate(self.planned) if axis.input_size > 1), 0)

    @cached_property
    def slabs(self) -> tuple[Slab, ...]:
        """The parts of a map whose gradients are made together; none where all of it is."""
        axis = self.planned[self.cut_axis]
        if self.maps.outer == 0 or self.together > 1 or not (self.divides_first or self.ignores_nan):
            return ()
        row = math.prod(self.output_shape) // self.maps.outer // axis.output_size
        # Among numbers there are the array, the counts and both gradients at once.
        nbytes = SLAB_BYTES // 4 if self.ignores_nan else SLAB_BYTES
        cells = max(1, nbytes // max(1, row * max(4, self.dtype.itemsize)))
        if self.ignores_nan:
            read = math.prod(self.maps.shape) // self.maps.outer // axis.input_size
            cells = min(cells, max(1, nbytes // max(1, read * max(4, self.dtype.itemsize))))
        else:
            # Counted are the gradients that come in.
            cells = cells * axis.input_size // axis.output_size if axis.adaptive else cells * axis.stride
        cells = max(cells, 16 * axis.effective_kernel_size)
        cells += -cells % axis.stride
        if cells >= axis.input_size:
            return ()
        return tuple(axis.slabs(cells))

    def _slab_gradient(self, slab: Slab, planned: dict[tuple[Axis, Axis], MeanGradient]) -> MeanGradient:
        """Plan the gradient of a slab; those between the ends of a map are alike."""
        key = slab.counted, slab.spread
        if slab.counted.placed is not None or key not in planned:
            before, behind = self.planned[: self.cut_axis], self.planned[self.cut_axis + 1 :]
            divides = self._counts((*before, slab.counted, *behind), 1) if self.divisor is None else None
            planned[key] = self._spreading((*before, slab.spread, *behind), 1, self.divisor or 1.0, divides)
        return planned[key]

    @cached_property
    def same_divisor(self) -> float | None:
        """The divisor of all windows, or None where they have several."""
        if self.divisor is not None or self.ignores_nan:
            return self.divisor
        for axis in self.planned:
            border = axis.border_windows(count_include_pad=self.count_include_pad)
            if border is not NO_WINDOWS and not (border.divisor == axis.kernel_size).all():
                return None
        return float(math.prod(axis.kernel_size for axis in self.planned))

    @cached_property
    def divides_first(self) -> bool:
        """Whether gradients are divided before they are spread.

        Half precision would round then; kernels divide by what the plan says, as they spread.
        """
        if self.same_divisor is not None or self.spreads_runs:
            return False
        return self.ignores_nan or dtype_name(self.dtype) in ("float32", "float64")

    @cached_property
    def spreads_runs(self) -> bool:
        """Whether windows are adaptive and so long that gradients are runs of equal values (pyx/spread_runs.pxi)."""
        if self.ignores_nan or not any(axis.adaptive for axis in self.planned):
            return False
        cells = max(2, -(-CELLS_OF_RUN // max(1, self.maps.inner)))
        return all(axis.input_size >= cells * axis.output_size for axis in self.planned if axis.adaptive)

    @cached_property
    def together(self) -> int:
        """Maps whose gradients are made together."""
        outer = self.maps.outer
        if outer < 2 or not (self.divides_first or self.ignores_nan):
            return outer
        # Counted by what is made of them besides, in float32 at least.
        cells = max(math.prod(self.maps.shape), math.prod(self.output_shape)) // outer
        return min(outer, max(1, DIVIDED_BYTES // max(1, cells * max(4, self.dtype.itemsize))))

    @cached_property
    def gradients(self) -> tuple[MeanGradient, MeanGradient]:
        """Plan the gradients of so many maps, and of those that are left."""
        gradient = self._gradient(self.together)
        rest = self.maps.outer % max(1, self.together)
        return gradient, self._gradient(rest) if rest else gradient

    @cached_property
    def made_at_once(self) -> bool:
        """Whether the gradients of all maps are made together, by kernels alone."""
        if self.ignores_nan or 0 in self.maps.shape or 0 in self.output_shape:
            return False
        return self.together == self.maps.outer and not self.slabs

    def _gradient(self, outer: int) -> MeanGradient:
        """Plan the gradient of means: where windows move by one, or have no one step, it is a pooling of gradients."""
        divisor = self.same_divisor
        if divisor is not None:
            return self._spreading(self.planned, outer, divisor, None)
        divides = self._counts(self.planned, outer)
        if not self.divides_first:
            return MeanGradient(divides, False)
        return self._spreading(self.planned, outer, 1.0, divides)

    def _counts(self, axes: tuple[Axis, ...], outer: int) -> Plan:
        """Plan how sums over the windows of these axes are divided by their own counts."""
        return lay_out(axes, outer, self.maps.inner, average=True, count_include_pad=self.count_include_pad)

    def _spreading(self, axes: tuple[Axis, ...], outer: int, divisor: float, divides: Plan | None) -> MeanGradient:
        """Plan how gradients that are divided by one number are spread over these axes."""
        gathers = all(axis.stride == 1 for axis in axes) or any(axis.adaptive for axis in axes)
        if gathers:
            axes = tuple(axis.transposed for axis in axes)
        plan = lay_out(axes, outer, self.maps.inner, average=True, divisor_override=divisor)
        return MeanGradient(plan, gathers, divides)

    def backward(
        self, grad_output: AnyArray, array: AnyArray, indices: AnyArray | None, out: AnyArray | None
    ) -> AnyArray:
        """Spread each gradient over its window."""
        inputs = (grad_output, array) if self.ignores_nan else (grad_output,)
        result = self.input_gradient(out, *inputs)
        source = native(grad_output)
        if 0 in self.maps.shape or 0 in self.output_shape:
            result[...] = 0
        elif self.made_at_once:
            made = self.runner.backward(source, None, None, plain_array(result, self.dtype))
            assert made is not None
        elif self.slabs:
            self._spread_slabs(source, native(array) if self.ignores_nan else None, result)
        else:
            outer, together = self.maps.outer, self.together
            gradient, rest = self.gradients
            sources, results = source.reshape(outer, -1), result.reshape(outer, -1)
            arrays = native(array).reshape(outer, -1) if self.ignores_nan else None
            for begin in range(0, outer, together):
                few = slice(begin, begin + together)
                planned = gradient if begin + together <= outer else rest
                if arrays is None:
                    self._spread(planned, sources[few], results[few])
                else:
                    self._spread_over_numbers(planned, sources[few], arrays[few], results[few])
        return result

    def _spread_slabs(self, source: AnyArray, array: AnyArray | None, result: AnyArray) -> None:
        """Spread the gradients of maps that are each made in parts."""
        axis = self.planned[self.cut_axis]
        outer = self.maps.outer
        # Axes before the one that is cut have one cell each, and may have several outputs all the same.
        before = math.prod(axis.output_size for axis in self.planned[: self.cut_axis])
        sources = source.reshape(outer, before, axis.output_size, -1)
        results = result.reshape(outer, axis.input_size, -1)
        arrays = None if array is None else array.reshape(results.shape)
        planned: dict[tuple[Axis, Axis], MeanGradient] = {}
        for one in range(outer):
            for slab in self.slabs:
                given, made = np.ascontiguousarray(sources[one, :, slab.outputs]), results[one, slab.cells]
                if not given.size:
                    made[...] = 0
                elif arrays is None:
                    self._spread(self._slab_gradient(slab, planned), given, made)
                else:
                    gradient = self._slab_gradient(slab, planned)
                    self._spread_over_numbers(gradient, given, arrays[one, slab.read], made, arrays[one, slab.cells])

    def _spread(self, gradient: MeanGradient, source: AnyArray, result: AnyArray) -> None:
        """Spread the gradients of some maps."""
        threads = threads_for(source.nbytes + result.nbytes, "spread")
        if gradient.divides is not None:
            divided = np.empty(source.shape, self.dtype)
            kernels.divide_by_place(gradient.divides, kernels.KINDS[self.dtype.name], source, divided, threads)
            source = divided
        gradient.spread(source, result, threads, exact=is_float32(self.divisor))

    def _spread_over_numbers(
        self,
        gradient: MeanGradient,
        source: AnyArray,
        array: AnyArray,
        result: AnyArray,
        receiving: AnyArray | None = None,
    ) -> None:
        """Spread the gradients of the windows of `array` over the numbers of all of it, or of what is `receiving`."""
        wide = np.dtype(np.float64 if self.dtype.name == "float64" else np.float32)
        values, source = array.astype(wide, copy=False), source.astype(wide, copy=False)
        threads = threads_for(values.nbytes + source.nbytes, "spread")
        if gradient.divides is not None:
            counts = np.empty(source.shape, wide)
            kind, reducer = kernels.KINDS[wide.name], kernels.REDUCERS["count_number"]
            kernels.forward(gradient.divides, reducer, kind, values, counts, threads)
            # A window without numbers has nobody to give anything to.
            np.maximum(counts, 1, out=counts)
            with np.errstate(all="ignore"):
                source = np.divide(source, counts, out=counts)
        spread = result if result.dtype == wide else np.empty(result.shape, wide)
        gradient.spread(source, spread, threads, exact=is_float32(self.divisor))
        receiving = values if receiving is None else receiving
        spread[receiving != receiving] = 0
        if spread is not result:
            with np.errstate(all="ignore"):
                result[...] = spread.astype(self.dtype)


def _refuse_empty_means(function: str, axes: tuple[Axis, ...], count_include_pad: bool) -> None:
    """Refuse windows that hold nothing to take the mean of: floats have NaN for that, integers nothing."""
    for axis in axes:
        divisors = axis.border_windows(count_include_pad=count_include_pad)
        if (divisors.divisor == 0).any():
            window = int(divisors.output[divisors.divisor == 0][0])
            raise value_error(
                function,
                f"window {window} on axis {axis.name} holds no element, and integers have no NaN for its mean",
                "use less padding or dilation, count_include_pad=True, or a float dtype",
            )


def _divisor(function: str, divisor_override: Any) -> float | None:
    if divisor_override is None:
        return None
    divisor = real(function, "divisor_override", divisor_override, "a number or None")
    if divisor == 0 or not math.isfinite(divisor):
        raise value_error(
            function,
            "must be finite and not zero",
            "use None for the number of elements",
            argument=("divisor_override", divisor_override),
        )
    return divisor


way_in = entry(Mean)
pool, gradient = way_in.forward, way_in.backward


# ---------------------------------------------------------------------------------------------------------------------
# Average pooling


def _avg_pool(
    input: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: float | None = None,
    *,
    dilation: Sizes = 1,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    rounding: Rounding = "half_even",
    out: AnyArray | None = None,
) -> AnyArray:
    """Mean of each window {windows_of}.

    Parameters
    ----------
    count_include_pad : bool
        Whether the declared padding counts as zeros in the mean. Cells that only `ceil_mode` touches never count.
    divisor_override : float, optional
        Divide every sum by this number instead; finite and not zero.

    Returns
    -------
    ndarray
        The means, in the dtype of the input. A window without any element that counts is NaN, and with integers an
        error.

    {raises}

    Notes
    -----
    Equals ``torch.nn.functional.{function}`` and, with ``count_include_pad=False`` as ONNX has it by default,
    AveragePool-22. A float32 mean is within 4 units of 2**-23 times the mean of the magnitudes, for any window. Where a
    partial sum is beyond the largest float32 it is inf or NaN, and below 2**-126 the rounding is absolute.

    {examples}
    {example}
    """
    return pool(
        "{function}",
        input,
        out,
        False,
        kernel_size,
        stride,
        padding,
        dilation,
        ceil_mode,
        layout,
        count_include_pad,
        divisor_override,
        rounding,
        nan,
    )


def _avg_pool_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: float | None = None,
    *,
    dilation: Sizes = 1,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    rounding: Rounding = "half_even",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.{forward}` with respect to its input.

    Parameters
    ----------
    {input} Only shape and dtype matter here, unless NaN is ignored.
    count_include_pad : bool
        Whether the declared padding counts as zeros in the mean.
    divisor_override : float, optional
        Divisor of every sum.
    {nan_of_means}

    {gradient_or_errors}

    Notes
    -----
    {torch_gradient}.

    {examples}
    >>> x = np.zeros({row 4})
    >>> pooling.{function}(np.ones({row 2}), x, {along 2}).ravel()
    array([0.5, 0.5, 0.5, 0.5])
    """
    return gradient(
        "{function}",
        grad_output,
        input,
        None,
        out,
        kernel_size,
        stride,
        padding,
        dilation,
        ceil_mode,
        layout,
        count_include_pad,
        divisor_override,
        rounding,
        nan,
    )


class AvgPool1dFunction(Protocol):
    """`_avg_pool` of one axis: torch's has no divisor, so here it must be named."""

    def __call__(
        self,
        input: ArrayLike,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        *,
        divisor_override: float | None = None,
        dilation: Sizes = 1,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        rounding: Rounding = "half_even",
        out: AnyArray | None = None,
    ) -> AnyArray: ...


class AvgPool1dGradient(Protocol):
    """`_avg_pool_backward` of one axis, likewise."""

    def __call__(
        self,
        grad_output: ArrayLike,
        input: ArrayLike,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        *,
        divisor_override: float | None = None,
        dilation: Sizes = 1,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        rounding: Rounding = "half_even",
        out: AnyArray | None = None,
    ) -> AnyArray: ...


NAMED = {1: "divisor_override"}
avg_pool1d: AvgPool1dFunction
avg_pool1d_backward: AvgPool1dGradient

avg_pool1d, avg_pool2d, avg_pool3d = ranked(
    _avg_pool,
    "avg_pool",
    keyword_only=NAMED,
    example=(
        """
        >>> pooling.avg_pool1d(np.array([[[1.0, 3.0, 2.0, 1.0]]]), 2)
        array([[[2. , 1.5]]])""",
        """
        >>> x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
        >>> pooling.avg_pool2d(x, 2)
        array([[[[ 2.5,  4.5],
                 [10.5, 12.5]]]], dtype=float32)""",
        """
        >>> pooling.avg_pool3d(np.arange(8.0).reshape(1, 1, 2, 2, 2), 2)
        array([[[[[3.5]]]]])""",
    ),
)
avg_pool1d_backward, avg_pool2d_backward, avg_pool3d_backward = ranked(
    _avg_pool_backward, "avg_pool", "_backward", keyword_only=NAMED
)


# ---------------------------------------------------------------------------------------------------------------------
# Adaptive average pooling


def _adaptive_avg_pool(
    input: ArrayLike,
    output_size: AdaptiveSize,
    *,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    rounding: Rounding = "half_even",
    out: AnyArray | None = None,
) -> AnyArray:
    """Mean of each of a fixed number of windows on every axis.

    Window ``o`` of ``O`` on an axis of ``I`` cells runs from ``floor(o * I / O)`` to ``ceil((o + 1) * I / O)``.

    {result_or_errors}

    Notes
    -----
    Equals ``torch.nn.functional.{function}``.

    {examples}
    >>> pooling.{function}(np.arange(7.0).reshape{row 7}, {along 3}).ravel()
    array([1., 3., 5.])
    """
    return pool("{function}", input, out, False, output_size, layout, rounding, nan)


def _adaptive_avg_pool_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    output_size: AdaptiveSize,
    *,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    rounding: Rounding = "half_even",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.{forward}` with respect to its input.

    Parameters
    ----------
    output_size : int, None or sequence of them
        As in the forward call.
    {nan_of_means}

    {gradient_or_errors}

    Notes
    -----
    {torch_gradient}.

    {examples}
    >>> x = np.arange(4.0).reshape{row 4}
    >>> pooling.{function}(np.ones({row 3}), x, {along 3}).ravel()
    array([0.5, 1. , 1. , 0.5])
    """
    return gradient("{function}", grad_output, input, None, out, output_size, layout, rounding, nan)


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = ranked(_adaptive_avg_pool, "adaptive_avg_pool")
adaptive_avg_pool1d_backward, adaptive_avg_pool2d_backward, adaptive_avg_pool3d_backward = ranked(
    _adaptive_avg_pool_backward, "adaptive_avg_pool", "_backward"
)


# ---------------------------------------------------------------------------------------------------------------------
# Global average pooling


@described("global_avg_pool")
def global_avg_pool(
    input: ArrayLike,
    *,
    dimensions: int | None = None,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    rounding: Rounding = "half_even",
    out: AnyArray | None = None,
) -> AnyArray:
    """Mean of each channel, over all spatial axes.

    {channels_or_errors}

    Notes
    -----
    ONNX GlobalAveragePool-22; torch has it as ``adaptive_avg_pool2d(input, 1)``.

    {examples}
    >>> pooling.global_avg_pool(np.arange(4.0).reshape(1, 1, 2, 2))
    array([[[[1.5]]]])
    """
    return pool("global_avg_pool", input, out, False, dimensions, layout, rounding, nan)


@described("global_avg_pool")
def global_avg_pool_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    *,
    dimensions: int | None = None,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    rounding: Rounding = "half_even",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.global_avg_pool` with respect to its input.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result, shape ``(N, C, 1, ..., 1)``, with the input's dtype.
    {nan_of_means}

    {gradient_or_errors}

    Notes
    -----
    Every element of a channel gets the same share.

    {examples}
    >>> pooling.global_avg_pool_backward(np.full((1, 1, 1, 1), 8.0), np.arange(4.0).reshape(1, 1, 2, 2)).ravel()
    array([2., 2., 2., 2.])
    """
    return gradient("global_avg_pool_backward", grad_output, input, None, out, dimensions, layout, rounding, nan)


# ---------------------------------------------------------------------------------------------------------------------
# Layers


class _AvgPool(Layer):
    """Layer of `pooling.{function}`, with the arguments of ``torch.nn.{layer}`` and keyword-only extras."""

    operator = "avg_pool"
    _example = """
        >>> {layer}(2).output_shape({maps 56})
        {maps 28}"""

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: float | None = None,
        *,
        dilation: Sizes = 1,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        rounding: Rounding = "half_even",
    ) -> None: ...


class AvgPool1d(_AvgPool, dimensions=1):
    """Layer of `pooling.avg_pool1d`, with the arguments of ``torch.nn.AvgPool1d`` and more."""


class AvgPool2d(_AvgPool, dimensions=2): ...


class AvgPool3d(_AvgPool, dimensions=3): ...


class _AdaptiveAvgPool(Layer):
    """Layer of `pooling.{function}`, with the arguments of ``torch.nn.{layer}``."""

    operator = "adaptive_avg_pool"
    _example = """
        >>> {layer}(7).output_shape({maps 13})
        {maps 7}"""

    def __init__(
        self,
        output_size: AdaptiveSize,
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        rounding: Rounding = "half_even",
    ) -> None: ...


class AdaptiveAvgPool1d(_AdaptiveAvgPool, dimensions=1): ...


class AdaptiveAvgPool2d(_AdaptiveAvgPool, dimensions=2): ...


class AdaptiveAvgPool3d(_AdaptiveAvgPool, dimensions=3): ...


class _GlobalAvgPool(Layer):
    """Layer of `pooling.{function}` for ``({first})``."""

    operator = "global_avg_pool"
    _example = """
        >>> {layer}().output_shape({maps 7})
        {maps 1}"""

    def __init__(
        self, *, layout: Layout = "channels_first", nan: NanRule = "propagate", rounding: Rounding = "half_even"
    ) -> None: ...


class GlobalAvgPool1d(_GlobalAvgPool, dimensions=1): ...


class GlobalAvgPool2d(_GlobalAvgPool, dimensions=2): ...


class GlobalAvgPool3d(_GlobalAvgPool, dimensions=3): ...
