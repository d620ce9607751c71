"""From the arguments of a public function to a plan, and from the plan to the kernels.

A call is resolved once for each signature (shape, dtype and arguments) and remembered: a second call with the same
signature does little more than run its kernel. What such a call does is compiled (pyx/calls.pxi).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import geometry
from .arrays import as_array, native, result_array
from .dispatch import kernels
from .geometry import Axis
from .operators import OPERATORS, Operator
from .plan import lay_out
from .threads import threads_for

__all__ = ["Call", "Windows", "batch_and_spatial", "checked_gradient", "checked_indices", "pool", "resolve", "sum_kind"]

AnyArray = NDArray[Any]
REMEMBERED = 4096
"""Call signatures to remember; the tables of one take a few hundred bytes."""
INDEX = np.dtype(np.int64)
EXACT_ROUNDINGS = 8
"""Roundings that keep a float32 sum within 4 units of 2**-23 of the sum of magnitudes; beyond them it is float64."""
HALF_ROUNDINGS = 512
"""Roundings to float32 that do not matter where the result is rounded to half precision; beyond them as well."""


def sum_kind(dtype: np.dtype[Any], roundings: int, *, exact: bool = True) -> int:
    """Return what kernels call the dtype with the rows that sums with so many roundings, of exact values, need."""
    most = {"float16": HALF_ROUNDINGS, "bfloat16": HALF_ROUNDINGS, "float32": EXACT_ROUNDINGS if exact else 0}
    wide = "->float64" if roundings > most.get(dtype.name, roundings) else ""
    return int(kernels.KINDS[dtype.name + wide])


class MeanGradient(NamedTuple):
    """How the gradients of means are spread: by the loops of `plan`, which pool them if `gathers`.

    Where windows have different divisors, gradients are divided first: those of each cell, one for each of `inner`
    channels, by its own of `divisors`.
    """

    plan: kernels.Plan
    gathers: bool
    divisors: AnyArray | None = None
    inner: int = 1


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
    mean_gradient: MeanGradient | None

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

    def average_backward(self, grad_output: AnyArray, out: AnyArray | None) -> AnyArray:
        """Spread each gradient over its window."""
        assert self.mean_gradient is not None
        plan, gathers, divisors, inner = self.mean_gradient
        result = result_array(self.function, out, self.input_shape, self.dtype, grad_output)
        source, threads = native(grad_output), threads_for(self.nbytes)
        if divisors is not None:
            gradient, source = source, np.empty(self.output_shape, self.dtype)
            kind = kernels.KINDS[self.dtype.name]
            kernels.divide_by_place(kind, gradient, divisors, source, inner, threads)
        if gathers:
            kernels.forward(plan, kernels.REDUCERS["total"], self.gradient_kind, source, result, threads)
        else:
            kernels.average_backward(plan, self.gradient_kind, source, result, threads)
        return result

    def scatter_backward(
        self, grad_output: AnyArray, array: AnyArray, indices: AnyArray | None, out: AnyArray | None
    ) -> AnyArray:
        """Send each gradient to the element that its index names."""
        inputs = (grad_output, array) if indices is None else (grad_output, array, indices)
        result = result_array(self.function, out, self.input_shape, self.dtype, *inputs)
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
                f"{cells} elements; give the indices that the forward call returned for this input shape"
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
        Spatial axes; None for an operator that takes them all.
    array : ndarray
        The input.
    windows : Windows
        Arguments about windows; of a global operator, none.
    """
    arguments = (*windows, layout, nan, count_include_pad, divisor_override, rounding)
    return _resolved(operator, function, dimensions, array, ARGUMENTS, arguments)


ARGUMENTS = (*Windows._fields, "layout", "nan", "count_include_pad", "divisor_override", "rounding")
"""Everything that a call may say about its windows and what they make, as `resolve` takes it."""


def _accepted(operator: Operator) -> tuple[str, ...]:
    """Names of the arguments that a function passes to `pool`, in that order."""
    windows = {"sliding": Windows._fields[:5], "adaptive": ("output_size",), "global": ()}[operator.windows]
    if not operator.average:
        return (*windows, "layout", "nan")
    divisors = ("count_include_pad", "divisor_override") if operator.windows == "sliding" else ()
    return (*windows, "layout", *divisors, "rounding")


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
    call = _resolved(operator.name, function, dimensions, array, names, arguments)
    if geometry.flag(function, "return_indices", return_indices):
        return call.forward_indexed(array, out)
    return call.forward(array, out)


_known: dict[tuple[Any, ...], kernels.Forward] = {}
_pooling = kernels.Pooling(_known, _pool)
pool = _pooling.forward
"""Pool: ``pool(function, input, out, return_indices, *arguments)``, with the arguments that `FUNCTIONS` names."""


def _resolved(
    operator: str,
    function: str,
    dimensions: int | None,
    array: AnyArray,
    names: tuple[str, ...],
    arguments: tuple[Any, ...],
) -> Call:
    """Find the call with these arguments, or resolve it."""
    call: Call | None = _pooling.find(function, array, arguments)
    if call is not None:
        return call
    key = _signature(function, array, names, arguments)
    earlier = None if key is None else _known.get(key)
    if earlier is not None:
        call = earlier.call
        return call
    # The one object of its kind that NumPy gives to nearly every array.
    dtype = np.dtype(array.dtype.type)
    call = _resolve(operator, function, dimensions, array.shape, dtype, **dict(zip(names, arguments, strict=True)))
    if key is not None:
        if len(_known) >= REMEMBERED:
            _known.clear()
        _known[key] = kernels.Forward(call, native, threads_for)
    return call


def _signature(
    function: str, array: AnyArray, names: tuple[str, ...], arguments: tuple[Any, ...]
) -> tuple[Any, ...] | None:
    """Return what a call is remembered by, if it can be."""
    try:
        for name, value in zip(names, arguments, strict=True):
            if name in Windows._fields:
                _refuse_mutable(value)
    except TypeError:
        arguments = tuple(
            geometry.frozen(function, name, value) if name in Windows._fields else value
            for name, value in zip(names, arguments, strict=True)
        )
    try:
        return kernels.signature(function, array, arguments)
    except TypeError:
        # Something that cannot be hashed is no good argument; resolving says which one.
        return None


def _refuse_mutable(value: Any) -> None:
    """Raise TypeError for what may change while it is remembered."""
    if type(value) is tuple:
        # Python's own hash would end the process for tuples that are very deep.
        for entry in value:
            _refuse_mutable(entry)
    else:
        hash(value)


def _resolve(
    name: str,
    function: str,
    dimensions: int | None,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
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
        planned, outer, inner, average=average, count_include_pad=count_include_pad, divisor_override=divisor
    )
    if average and divisor is None and dtype.kind in "iu":
        _refuse_empty_means(function, axes, count_include_pad)
    kind = kernels.KINDS[dtype.name]
    index_plan = plan if average else lay_out(planned, outer, inner, keep_axes=True)
    gradient_kind = sum_kind(dtype, index_plan.overlaps - 1)
    mean_gradient = None
    if average:
        exact = divisor is None or float(np.float32(divisor)) == divisor
        kind = sum_kind(dtype, plan.summation_depth, exact=exact)
        if dtype.name in operator.gradient_dtypes:
            mean_gradient = _mean_gradient(planned, plan, outer, inner, dtype, count_include_pad, divisor)
            spread, gathers, divisors, _ = mean_gradient
            roundings = spread.summation_depth if gathers else spread.spreading_depth
            gradient_kind = sum_kind(dtype, roundings + (divisors is not None), exact=exact)
    itemsize = dtype.itemsize
    return Call(
        function=function,
        operator=name,
        reducer=kernels.REDUCERS[reducer],
        kind=kind,
        gradient_kind=gradient_kind,
        dtype=dtype,
        input_shape=shape,
        output_shape=output_shape,
        axes=axes,
        plan=plan,
        index_plan=index_plan,
        rounding=_rounding(function, rounding),
        nbytes=(math.prod(shape) + math.prod(output_shape)) * itemsize,
        mean_gradient=mean_gradient,
    )


def _mean_gradient(
    axes: tuple[Axis, ...],
    plan: kernels.Plan,
    outer: int,
    inner: int,
    dtype: np.dtype[Any],
    count_include_pad: bool,
    divisor: float | None,
) -> MeanGradient:
    """Plan the gradient of means: where windows move by one, or have no one step, it is a pooling of gradients."""
    divisors = None
    if divisor is None:
        each = [axis.windows(np.arange(axis.output_size), count_include_pad=count_include_pad).divisor for axis in axes]
        if all((numbers == axis.kernel_size).all() for numbers, axis in zip(each, axes, strict=True)):
            divisor = float(math.prod(axis.kernel_size for axis in axes))
        elif dtype.name in ("float32", "float64"):
            # Windows without elements have no cell to give anything to.
            divisors = np.ascontiguousarray(np.maximum(math.prod(np.ix_(*each)), 1), dtype)
            divisor = 1.0
        else:
            # Half precision would round here; the kernel divides by what its plan says.
            return MeanGradient(plan, False)
    if all(axis.stride == 1 for axis in axes) or any(axis.adaptive for axis in axes):
        axes = tuple(axis.transposed for axis in axes)
        return MeanGradient(lay_out(axes, outer, inner, average=True, divisor_override=divisor), True, divisors, inner)
    if divisors is not None:
        plan = lay_out(axes, outer, inner, average=True, divisor_override=divisor)
    return MeanGradient(plan, False, divisors, inner)


def _reducer(function: str, reducer: str, nan: Any) -> str:
    if nan not in ("propagate", "ignore"):
        kind = ValueError if isinstance(nan, str) else TypeError
        raise kind(f"{function}: nan={nan!r} must be 'propagate' or 'ignore'")
    return f"{reducer}_number" if nan == "ignore" else reducer


def _rounding(function: str, rounding: Any) -> int:
    if not isinstance(rounding, str):
        raise TypeError(f"{function}: rounding={rounding!r} must be a string, not {type(rounding).__name__}")
    if rounding not in kernels.ROUNDINGS:
        raise ValueError(f"{function}: rounding={rounding!r} must be one of {', '.join(map(repr, kernels.ROUNDINGS))}")
    return int(kernels.ROUNDINGS[rounding])


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
            f"{function}: divisor_override={divisor_override!r} must be finite and not zero; "
            "use None for the number of elements"
        )
    return divisor


def batch_and_spatial(function: str, shape: tuple[int, ...], dimensions: int | None, layout: str) -> tuple[bool, slice]:
    """Tell whether a shape has a batch axis, and where its spatial axes are."""
    rank = len(shape)
    if dimensions is None:
        if not 3 <= rank <= 5:
            raise ValueError(
                f"{function}: input of shape {shape} has {rank} axes; it must have a batch, a channel and one to three "
                "spatial axes"
            )
        return True, geometry.spatial_slice(rank, rank - 2, layout, function=function)
    spatial = geometry.spatial_slice(rank, dimensions, layout, function=function)
    if rank - dimensions not in (1, 2):
        names = ", ".join(geometry.axis_names(dimensions))
        form = f"C, {names}" if layout == "channels_first" else f"{names}, C"
        raise ValueError(
            f"{function}: input of shape {shape} has {rank} axes; it must have {dimensions + 2}, (N, {form}), "
            f"or {dimensions + 1} without the batch, ({form})"
        )
    return rank - dimensions == 2, spatial


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
