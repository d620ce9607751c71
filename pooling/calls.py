"""From the arguments of a public function to a plan, and from the plan to the kernels.

A call is resolved once for each signature (shape, dtype and arguments) and remembered: a second call with the same
signature does little more than run its kernel. What such a call does is compiled (pyx/calls.pxi).
"""

from __future__ import annotations

import math
import sys
import warnings
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import geometry
from .arrays import as_array, in_default_mode, native, result_array
from .dispatch import kernels
from .geometry import Axis, Slab
from .operators import OPERATORS, Operator
from .plan import lay_out
from .signs import counted, short_repr
from .workers import threads_for

__all__ = [
    "Call",
    "LayoutWarning",
    "Windows",
    "batch_and_spatial",
    "checked_gradient",
    "checked_indices",
    "in_other_layout",
    "pool",
    "resolve",
    "sum_kind",
    "warn_of_columns",
]

AnyArray = NDArray[Any]
REMEMBERED = 4096
"""Call signatures to remember; the tables of one take a few hundred bytes."""
INDEX = np.dtype(np.int64)
EXACT_ROUNDINGS = 8
"""Roundings that keep a float32 sum within 4 units of 2**-23 of the sum of magnitudes; beyond them it is float64."""
HALF_ROUNDINGS = 512
"""Roundings to float32 that do not matter where the result is rounded to half precision; beyond them as well."""


@lru_cache(1024)
def sum_kind(dtype: np.dtype[Any], roundings: int, *, exact: bool = True) -> int:
    """Return what kernels call the dtype with the rows that sums with so many roundings, of exact values, need."""
    most = {"float16": HALF_ROUNDINGS, "bfloat16": HALF_ROUNDINGS, "float32": EXACT_ROUNDINGS if exact else 0}
    wide = "->float64" if roundings > most.get(dtype.name, roundings) else ""
    return int(kernels.KINDS[dtype.name + wide])


DIVIDED_BYTES = 1 << 20
"""Gradients of windows with different divisors that are divided together, unless a single map is larger."""
SLAB_BYTES = 1 << 22
"""The same of a single map, unless 16 times the extent of a window on the axis that is cut is more: windows that reach
across a cut are divided twice."""


class MeanLayout(NamedTuple):
    """What the gradient of a mean is planned from when it is first asked for."""

    axes: tuple[Axis, ...]
    outer: int
    inner: int
    count_include_pad: bool
    divisor: float | None
    ignores_nan: bool


class MeanGradient(NamedTuple):
    """How the gradients of means are spread: by the loops of `plan`, which pool them if `gathers`.

    Where windows have different divisors, gradients are divided first, by those of the windows of `divides`.
    """

    plan: kernels.Plan
    gathers: bool
    divides: kernels.Plan | None = None

    def spread(self, source: AnyArray, result: AnyArray, threads: int, *, exact: bool) -> None:
        """Run the loops, with rows as wide as their roundings ask for; `exact` are divisors that float32 holds."""
        roundings = self.plan.summation_depth if self.gathers else self.plan.spreading_depth
        kind = sum_kind(result.dtype, roundings + (self.divides is not None), exact=exact)
        if self.gathers:
            kernels.forward(self.plan, kernels.REDUCERS["total"], kind, source, result, threads)
        else:
            kernels.average_backward(self.plan, kind, source, result, threads)


@dataclass(frozen=True)
class Call:
    """A resolved call: what every array must look like, and the plan to run."""

    function: str
    operator: str
    reducer: int
    kind: int
    gradient_kind: int
    dtype: np.dtype[Any]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    axes: tuple[Axis, ...]
    plan: kernels.Plan
    index_plan: kernels.Plan
    rounding: int
    nbytes: int
    mean_layout: MeanLayout

    def forward(self, array: AnyArray, out: AnyArray | None) -> AnyArray:
        """Pool an array of the resolved shape and dtype."""
        result = result_array(self.function, out, self.output_shape, self.dtype, array)
        kernels.forward(
            self.plan, self.reducer, self.kind, native(array), result, threads_for(self.nbytes), self.rounding
        )
        return result

    def forward_indexed(self, array: AnyArray, out: AnyArray | None) -> tuple[AnyArray, NDArray[np.int64]]:
        """Pool, and tell which element of its plane each result is."""
        result = result_array(self.function, out, self.output_shape, self.dtype, array)
        indices = np.empty(self.output_shape, np.int64)
        kernels.forward_indexed(
            self.index_plan,
            self.reducer,
            self.kind,
            native(array),
            result,
            indices,
            threads_for(self.nbytes + indices.nbytes),
        )
        return result, indices

    @property
    def cut_axis(self) -> int:
        """The axis across which a single map is cut where its gradients are not divided as a whole: the first long."""
        return next((i for i, axis in enumerate(self.axes) if axis.input_size > 1), 0)

    @cached_property
    def slabs(self) -> tuple[Slab, ...]:
        """The parts of a map whose gradients are made together; none where all of it is."""
        axis = self.axes[self.cut_axis]
        ignores = self.mean_layout.ignores_nan
        if (
            self.mean_layout.outer == 0
            or self.mean_gradient[0] > 1
            or (self.mean_gradient[1].divides is None and not ignores)
        ):
            return ()
        row = math.prod(self.output_shape) // self.mean_layout.outer // axis.output_size
        # Among numbers there are the array, the counts and both gradients at once.
        nbytes = SLAB_BYTES // 4 if ignores else SLAB_BYTES
        cells = max(1, nbytes // max(1, row * max(4, self.dtype.itemsize)))
        if ignores:
            read = math.prod(self.input_shape) // self.mean_layout.outer // axis.input_size
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
            axes, _, inner, count_include_pad, divisor, _ignores_nan = self.mean_layout
            before, behind = axes[: self.cut_axis], axes[self.cut_axis + 1 :]
            counts = lay_out(
                (*before, slab.counted, *behind), 1, inner, average=True, count_include_pad=count_include_pad
            )
            planned[key] = self._spreading(
                (*before, slab.spread, *behind),
                1,
                1.0 if divisor is None else divisor,
                counts if divisor is None else None,
            )
        return planned[key]

    @cached_property
    def mean_gradient(self) -> tuple[int, MeanGradient, MeanGradient]:
        """Maps whose gradients are made together, the plan of so many, and the plan of those that are left."""
        together, rest = self.mean_layout.outer, 0
        gradient = self._mean_gradient(together)
        if together > 1 and (gradient.divides is not None or self.mean_layout.ignores_nan):
            # Counted by what is made of them besides, in float32 at least.
            cells = max(math.prod(self.input_shape), math.prod(self.output_shape)) // together
            together = min(together, max(1, DIVIDED_BYTES // max(1, cells * max(4, self.dtype.itemsize))))
            rest = self.mean_layout.outer % together
            gradient = self._mean_gradient(together)
        return together, gradient, self._mean_gradient(rest) if rest else gradient

    def _mean_gradient(self, outer: int) -> MeanGradient:
        """Plan the gradient of means: where windows move by one, or have no one step, it is a pooling of gradients."""
        axes, _, inner, count_include_pad, divisor, ignores_nan = self.mean_layout
        plan = self.plan
        if outer != self.mean_layout.outer:
            plan = lay_out(axes, outer, inner, average=True, count_include_pad=count_include_pad)
        divides = None
        if divisor is None and ignores_nan:
            divides, divisor = plan, 1.0
        elif divisor is None:
            borders = [axis.border_windows(count_include_pad=count_include_pad).divisor for axis in axes]
            if all((numbers == axis.kernel_size).all() for numbers, axis in zip(borders, axes, strict=True)):
                divisor = float(math.prod(axis.kernel_size for axis in axes))
            elif self.dtype.name in ("float32", "float64"):
                divides, divisor = plan, 1.0
            else:
                # Half precision would round here; the kernel divides by what its plan says.
                return MeanGradient(plan, False)
        return self._spreading(axes, outer, divisor, divides)

    def _spreading(
        self, axes: tuple[Axis, ...], outer: int, divisor: float, divides: kernels.Plan | None
    ) -> MeanGradient:
        """Plan how gradients that are divided by one number are spread over these axes."""
        gathers = all(axis.stride == 1 for axis in axes) or any(axis.adaptive for axis in axes)
        if gathers:
            axes = tuple(axis.transposed for axis in axes)
        plan = lay_out(axes, outer, self.mean_layout.inner, average=True, divisor_override=divisor)
        return MeanGradient(plan, gathers, divides)

    def average_backward(self, grad_output: AnyArray, array: AnyArray, out: AnyArray | None) -> AnyArray:
        """Spread each gradient over its window."""
        ignores = self.mean_layout.ignores_nan
        inputs = (grad_output, array) if ignores else (grad_output,)
        result = result_array(self.function, out, self.input_shape, self.dtype, *inputs)
        source = native(grad_output)
        together, gradient, rest = self.mean_gradient
        outer = self.mean_layout.outer
        if 0 in self.input_shape or 0 in self.output_shape:
            result[...] = 0
        elif self.slabs:
            self._spread_slabs(source, native(array) if ignores else None, result)
        elif together == outer and not ignores:
            self._spread(gradient, source, result)
        else:
            sources, results = source.reshape(outer, -1), result.reshape(outer, -1)
            arrays = native(array).reshape(outer, -1) if ignores else None
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
        axis = self.axes[self.cut_axis]
        outer = self.mean_layout.outer
        # Axes before the one that is cut have one cell each, and may have several outputs all the same.
        before = math.prod(axis.output_size for axis in self.axes[: self.cut_axis])
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
        threads = threads_for(source.nbytes + result.nbytes)
        if gradient.divides is not None:
            divided = np.empty(source.shape, self.dtype)
            kernels.divide_by_place(gradient.divides, kernels.KINDS[self.dtype.name], source, divided, threads)
            source = divided
        gradient.spread(source, result, threads, exact=_is_float32(self.mean_layout.divisor))

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
        threads = threads_for(values.nbytes + source.nbytes)
        if gradient.divides is not None:
            counts = np.empty(source.shape, wide)
            kind, reducer = kernels.KINDS[wide.name], kernels.REDUCERS["count_number"]
            kernels.forward(gradient.divides, reducer, kind, values, counts, threads)
            # A window without numbers has nobody to give anything to.
            np.maximum(counts, 1, out=counts)
            with np.errstate(all="ignore"):
                source = np.divide(source, counts, out=counts)
        spread = result if result.dtype == wide else np.empty(result.shape, wide)
        gradient.spread(source, spread, threads, exact=_is_float32(self.mean_layout.divisor))
        receiving = values if receiving is None else receiving
        spread[receiving != receiving] = 0
        if spread is not result:
            with np.errstate(all="ignore"):
                result[...] = spread.astype(self.dtype)

    @cached_property
    def finds_first(self) -> bool:
        """Whether winners are found before gradients are summed, in wider numbers and a part of a map at a time.

        There are few then, and maps are large: each part would look for them again, or take memory for all of it.
        """
        cells, outputs = (math.prod(axis.input_size for axis in self.axes), math.prod(self.output_shape))
        return self.dtype.itemsize < 4 and 4 * cells > DIVIDED_BYTES >= 16 * outputs

    def scatter_backward(
        self, grad_output: AnyArray, array: AnyArray, indices: AnyArray | None, out: AnyArray | None
    ) -> AnyArray:
        """Send each gradient to the element that its index names."""
        inputs = (grad_output, array) if indices is None else (grad_output, array, indices)
        result = result_array(self.function, out, self.input_shape, self.dtype, *inputs)
        if indices is None and self.finds_first:
            _, indices = self.forward_indexed(array, None)
        bad = kernels.scatter_backward(
            self.index_plan,
            self.reducer,
            self.kind,
            self.gradient_kind,
            native(array) if indices is None else None,
            None if indices is None else native(indices),
            native(grad_output),
            result,
            threads_for(2 * self.nbytes),
        )
        if bad >= 0 and indices is not None:
            position = tuple(int(i) for i in np.unravel_index(bad, indices.shape))
            cells = math.prod(axis.input_size for axis in self.axes)
            raise ValueError(
                f"{self.function}: indices{list(position)} is {indices[position]}, but a plane of the input has "
                f"{counted(cells, 'element')}; give the indices that the forward call returned for this input shape"
            )
        return result


class Windows(NamedTuple):
    """What a call says about its windows, hashable; the names are those of the public functions."""

    kernel_size: Any = None
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    ceil_mode: Any = False
    output_size: Any = None


def resolve(
    operator: str,
    function: str,
    dimensions: int | None,
    array: AnyArray,
    windows: Windows,
    layout: str,
    *,
    nan: str = "propagate",
    count_include_pad: Any = False,
    divisor_override: Any = None,
    rounding: str = "half_even",
) -> Call:
    """Find the call with this signature, or resolve it.

    Parameters
    ----------
    operator, function : str
        Row of the operator table, and the name for error sentences.
    dimensions : int or None
        Spatial axes; of a global operator, what its argument of that name says.
    array : ndarray
        The input.
    windows : Windows
        Arguments about windows; of a global operator, none.
    """
    arguments = (dimensions, *windows, layout, nan, count_include_pad, divisor_override, rounding)
    return _resolved(operator, function, array, ARGUMENTS, arguments)


ARGUMENTS = ("dimensions", *Windows._fields, "layout", "nan", "count_include_pad", "divisor_override", "rounding")
"""Everything that a call may say about its windows and what they make, in the order of `_resolved`."""


def _accepted(operator: Operator) -> tuple[str, ...]:
    """Names of the arguments that a function passes to `pool`, in that order."""
    windows = {"sliding": Windows._fields[:5], "adaptive": ("output_size",), "global": ("dimensions",)}
    names = (*windows[operator.windows], "layout")
    if not operator.average:
        return (*names, "nan")
    divisors = ("count_include_pad", "divisor_override") if operator.windows == "sliding" else ()
    return (*names, *divisors, "rounding", "nan")


FUNCTIONS = {
    function: (operator, dimensions, _accepted(operator))
    for operator in OPERATORS.values()
    if operator.windows in ("sliding", "adaptive", "global") and operator.reducer in ("greatest", "smallest", "total")
    for function, dimensions in zip(operator.functions, operator.dimensions or (None,), strict=True)
}
"""Of each function that pools with `pool`: operator, spatial axes, and names of the arguments it passes."""


def _pool(
    function: str, input: ArrayLike, out: AnyArray | None, return_indices: Any, arguments: tuple[Any, ...]
) -> AnyArray | tuple[AnyArray, NDArray[np.int64]]:
    """Pool the first time with these arguments, or arrays that take more care."""
    operator, dimensions, names = FUNCTIONS[function]
    array = as_array(function, "input", input, operator.dtypes)
    if out is None and not array.flags.c_contiguous:
        place = names.index("layout")
        given = arguments[names.index("dimensions")] if dimensions is None else dimensions
        moved = in_other_layout(array, given, arguments[place])
        if moved is not None:
            try:
                result = pool(
                    function,
                    moved.array,
                    None,
                    return_indices,
                    *arguments[:place],
                    moved.layout,
                    *arguments[place + 1 :],
                )
            except (TypeError, ValueError):
                pass  # refused again below, in words that show the array as it came
            else:
                return (moved.back(result[0]), moved.back(result[1])) if return_indices else moved.back(result)
    call = _resolved(operator.name, function, array, names, arguments, dimensions)
    if geometry.flag(function, "return_indices", return_indices):
        return call.forward_indexed(array, out)
    return call.forward(array, out)


class Moved(NamedTuple):
    """A view of an array in the other layout, in which it is contiguous."""

    array: AnyArray
    layout: str
    axes: tuple[int, ...]

    def view(self, other: AnyArray) -> AnyArray:
        """See another array of the same layout and rank as this one is seen."""
        return other.transpose(self.axes)

    def back(self, result: AnyArray) -> AnyArray:
        """See what came of it in the layout that was asked for."""
        return result.transpose(np.argsort(self.axes))


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
    first, axes = rank - dimensions - 1, list(range(rank))
    if layout == "channels_first":
        axes.append(axes.pop(first))
        other = "channels_last"
    elif layout == "channels_last":
        axes.insert(first, axes.pop())
        other = "channels_first"
    else:
        return None
    moved = array.transpose(axes)
    return Moved(moved, other, tuple(axes)) if moved.flags.c_contiguous else None


_known: dict[tuple[Any, ...], kernels.Forward] = {}
_pooling = kernels.Pooling(_known, _pool)
pool = _pooling.forward
"""Pool: ``pool(function, input, out, return_indices, *arguments)``, with the arguments that `FUNCTIONS` names."""


def _resolved(
    operator: str,
    function: str,
    array: AnyArray,
    names: tuple[str, ...],
    arguments: tuple[Any, ...],
    dimensions: int | None = None,
) -> Call:
    """Find the call with these arguments, or resolve it."""
    call: Call | None = _pooling.find(function, array, arguments)
    if call is not None:
        return call
    # Read once: what is remembered is what was checked, however often an object changes its mind.
    values = tuple([geometry.plain(value) for value in arguments])
    try:
        key = kernels.signature(function, array, values)
    except TypeError:
        key = None  # something in it is no argument, which resolving refuses
    earlier = None if key is None else _known.get(key)
    if earlier is not None:
        call = earlier.call
        return call
    # The one object of its kind that NumPy gives to nearly every array.
    dtype = np.dtype(array.dtype.type)
    # What the name of a function says is no argument, and no part of its key.
    rank: dict[str, Any] = {} if "dimensions" in names else {"dimensions": dimensions}
    failure = None
    try:
        call = _resolve(operator, function, array.shape, dtype, **rank, **dict(zip(names, values, strict=True)))
    except (TypeError, ValueError) as error:
        failure = error
    if call is None:
        # Sentences show arguments as they were written.
        _resolve(operator, function, array.shape, dtype, **rank, **dict(zip(names, arguments, strict=True)))
        assert failure is not None
        raise failure
    warn_of_columns(function, array, call.axes, values[names.index("layout")])
    if key is not None:
        if len(_known) >= REMEMBERED:
            _known.clear()
        _known[key] = kernels.Forward(call, threads_for)
    return call


@in_default_mode
def _resolve(
    name: str,
    function: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
    dimensions: Any,
    layout: str,
    nan: Any = "propagate",
    count_include_pad: Any = False,
    divisor_override: Any = None,
    rounding: Any = "half_even",
    **arguments: Any,
) -> Call:
    operator = OPERATORS[name]
    average = operator.average
    windows = Windows(**arguments)
    count_include_pad = geometry.flag(function, "count_include_pad", count_include_pad)
    divisor = _divisor(function, divisor_override)
    reducer = _reducer(function, operator.reducer, nan)
    if average and dtype.kind in "iu":
        # Integers have no NaN to leave out.
        reducer = operator.reducer
    ignores = average and reducer != operator.reducer
    batched, spatial = batch_and_spatial(function, shape, dimensions, layout)
    planned: tuple[Axis, ...]
    if operator.windows == "global":
        axes = geometry.global_axes(shape[spatial], function=function)
        # One window holds every axis whole: for the kernels that is a single axis.
        cells = math.prod(shape[spatial])
        planned = (Axis(cells, 1, cells, cells),)
    elif operator.windows == "adaptive":
        planned = axes = geometry.adaptive_axes(shape[spatial], windows.output_size, function=function)
    else:
        planned = axes = geometry.pool_axes(shape[spatial], *windows[:5], function=function)
    output_shape = geometry.replace_spatial(shape, spatial, [axis.output_size for axis in axes])
    geometry.check_total(function, output_shape, 8)
    channels = shape[-1] if layout == "channels_last" else shape[spatial.start - 1]
    batch = shape[0] if batched else 1
    outer, inner = (batch * channels, 1) if layout == "channels_first" else (batch, channels)
    plan = lay_out(
        planned,
        outer,
        inner,
        average=average,
        count_include_pad=count_include_pad,
        divisor_override=None if ignores else divisor,
        number_divisor=divisor if ignores else None,
    )
    if average and divisor is None and dtype.kind in "iu":
        _refuse_empty_means(function, axes, count_include_pad)
    kind = kernels.KINDS[dtype.name]
    index_plan = plan if average else lay_out(planned, outer, inner, keep_axes=True)
    # Sums that leave NaN out are float64 in any case.
    if average and not ignores:
        kind = sum_kind(dtype, plan.summation_depth, exact=_is_float32(divisor))
    itemsize = dtype.itemsize
    return Call(
        function=function,
        operator=name,
        reducer=kernels.REDUCERS[reducer],
        kind=kind,
        # That of a mean is known when its gradient is planned.
        gradient_kind=kind if average else sum_kind(dtype, index_plan.overlaps - 1),
        dtype=dtype,
        input_shape=shape,
        output_shape=output_shape,
        axes=axes,
        plan=plan,
        index_plan=index_plan,
        rounding=_rounding(function, rounding),
        nbytes=(math.prod(shape) + math.prod(output_shape)) * itemsize,
        mean_layout=MeanLayout(planned, outer, inner, count_include_pad, divisor, ignores),
    )


@lru_cache(1024)
def _is_float32(divisor: float | None) -> bool:
    """Whether float32 holds a divisor; the counts of windows that are summed in it are small."""
    with np.errstate(over="ignore", under="ignore"):
        return divisor is None or float(np.float32(divisor)) == divisor


def _reducer(function: str, reducer: str, nan: Any) -> str:
    ignores = geometry.word(function, "nan", nan, ("propagate", "ignore")) == "ignore"
    return f"{reducer}_number" if ignores else reducer


def _rounding(function: str, rounding: Any) -> int:
    return int(kernels.ROUNDINGS[geometry.word(function, "rounding", rounding, tuple(kernels.ROUNDINGS))])


def _refuse_empty_means(function: str, axes: tuple[Axis, ...], count_include_pad: bool) -> None:
    """Refuse windows that hold nothing to take the mean of: floats have NaN for that, integers nothing."""
    for axis in axes:
        divisors = axis.border_windows(count_include_pad=count_include_pad)
        if (divisors.divisor == 0).any():
            window = int(divisors.output[divisors.divisor == 0][0])
            raise ValueError(
                f"{function}: window {window} on axis {axis.name} holds no element, and integers have no NaN for its "
                "mean; use less padding or dilation, count_include_pad=True, or a float dtype"
            )


def _divisor(function: str, divisor_override: Any) -> float | None:
    if divisor_override is None:
        return None
    divisor = geometry.real(function, "divisor_override", divisor_override, "a number or None")
    if divisor == 0 or not math.isfinite(divisor):
        raise ValueError(
            f"{function}: divisor_override={short_repr(divisor_override)} must be finite and not zero; "
            "use None for the number of elements"
        )
    return divisor


def batch_and_spatial(function: str, shape: tuple[int, ...], dimensions: Any, layout: str) -> tuple[bool, slice]:
    """Tell whether a shape has a batch axis, and where its spatial axes are.

    Where a name does not say how many these are, `dimensions` does. If that is None, four axes are a batch of maps and
    five one of volumes; three axes could be a map as well as a batch of signals, and are refused.
    """
    rank = len(shape)
    layout = geometry.word(function, "layout", layout, geometry.LAYOUTS)
    if dimensions is None:
        geometry.spatial_slice(rank, 0, layout, function=function)
        if rank not in (4, 5):
            raise ValueError(f"{function}: input of shape {shape} has {_choices(rank, layout)}")
        dimensions = rank - 2
    if type(dimensions) is not int or not 1 <= dimensions <= 3:
        kind = ValueError if type(dimensions) is int else TypeError
        raise kind(
            f"{function}: dimensions={short_repr(dimensions)} must be 1, 2 or 3, the number of spatial axes, or None"
        )
    spatial = geometry.spatial_slice(rank, dimensions, layout, function=function)
    if rank - dimensions not in (1, 2):
        form = _axes(dimensions, layout)
        one = "input[None]" if layout == "channels_first" else "input[..., None]"
        back = "result[0]" if layout == "channels_first" else "result[..., 0]"
        remedy = f"; a single map without channels goes in as {one} and comes out as {back}" * (rank == dimensions)
        raise ValueError(
            f"{function}: input of shape {shape} has {counted(rank, 'axis', 'axes')}; it must have "
            f"{dimensions + 2}, (N, {form}), or {dimensions + 1} without the batch, ({form}){remedy}"
        )
    return rank - dimensions == 2, spatial


def _axes(dimensions: int, layout: str) -> str:
    names = ", ".join(geometry.axis_names(dimensions))
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


class LayoutWarning(UserWarning):
    """Says that an array looks as if its channels were last, though it is pooled as if they were first.

    Shown with the first call of each function, shape, dtype and set of arguments, at the line that calls. Where the
    filters of `warnings` make it an error, the call pools nothing and is not remembered: the next one is refused, too.
    """


COLOURED = 32
"""Cells on two axes from which on three cells on a third behind them are taken for colours."""


def warn_of_columns(function: str, array: AnyArray, axes: tuple[Axis, ...], layout: str) -> None:
    """Warn of a picture (H, W, 3) or (N, H, W, 3) that is taken for maps of three columns.

    Both axes in front of the colours must be large, and neither more than four times the other, as is true of pictures.
    Four columns count for integers only: maps of floats that narrow are common behind networks for sound.
    """
    if layout != "channels_first" or len(axes) < 2:
        return
    height, width, colours = array.shape[-3:]
    if colours != 3 and not (colours == 4 and array.dtype.kind in "iu"):
        return
    if min(height, width) < COLOURED or max(height, width) > 4 * min(height, width):
        return
    # Where the package was called from.
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "pooling":
        level, frame = level + 1, frame.f_back
    warnings.warn(
        f"{function}: input of shape {array.shape} is read with its channels first, so that its last axis is "
        f'{colours} columns; if these are colours, say layout="channels_last"',
        LayoutWarning,
        stacklevel=level,
    )


def checked_gradient(call: Call, grad_output: ArrayLike) -> AnyArray:
    """Check the gradient that came back from behind the pooling."""
    gradient = as_array(call.function, "grad_output", grad_output)
    if gradient.dtype != call.dtype and gradient.dtype.newbyteorder("=") != call.dtype:
        raise TypeError(
            f"{call.function}: grad_output has dtype {gradient.dtype.name}, the input {call.dtype.name}; "
            "give both the same"
        )
    if gradient.shape != call.output_shape:
        raise ValueError(
            f"{call.function}: grad_output has shape {gradient.shape}, but the forward call returns "
            f"{call.output_shape} for input {call.input_shape}"
        )
    return gradient


def checked_indices(call: Call, indices: ArrayLike | None) -> AnyArray | None:
    """Check indices that a forward call returned."""
    if indices is None:
        return None
    array = as_array(call.function, "indices", indices)
    as_returned = array.dtype is INDEX
    if not as_returned and array.dtype.kind not in "iu":
        raise TypeError(
            f"{call.function}: indices have dtype {array.dtype.name}; give the int64 indices of the forward call"
        )
    if not as_returned and array.dtype == np.uint64 and array.size and int(array.max()) > geometry.INT64_MAX:
        raise ValueError(
            f"{call.function}: indices hold {int(array.max())}, beyond every plane; give those of the forward call"
        )
    if array.shape != call.output_shape:
        raise ValueError(
            f"{call.function}: indices have shape {array.shape}, but the forward call returns {call.output_shape}"
        )
    return array if as_returned else array.astype(np.int64, copy=False)
