"""From the arguments of a function to a call that is remembered.

A call is resolved once for each signature (function, shape and dtype of the input, and arguments): its windows are laid
and its loops planned, each plan when it is first run. What a public function does is compiled (`Entry` in
pyx/core.pyx): it finds the `Runner` of the call by its signature, and that runs a kernel. Calls that are new, and
arrays that kernels cannot read as they lie, come back here, are resolved and copied, and run by the same `Runner`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from . import _core, geometry
from .annotations import AnyArray
from .arguments import flag, plain, word
from .arrays import as_array, native, plain_array, result_array
from .dispatch import kernels
from .geometry import Axis
from .maps import Maps, Moved, Ordered, checked_gradient, in_memory_order, in_other_layout, warn_of_columns
from .operators import OPERATORS, Operator
from .plan import lay_out

__all__ = [
    "FUNCTIONS",
    "Call",
    "Function",
    "double_kind",
    "entry",
    "is_float32",
    "placed",
    "reducer_named",
    "resolved",
    "sum_kind",
]

REMEMBERED = 4096
"""Call signatures to remember; one that was run takes about four kilobytes, most of them its plan and its axes."""
REMEMBERED_ORDERS = 16
"""Strides of arrays to remember for a call."""
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


@lru_cache(64)
def double_kind(dtype: np.dtype[Any]) -> int:
    """Return what kernels call the dtype with rows of double."""
    return kernels.KINDS[dtype.name if dtype.name == "float64" else f"{dtype.name}->float64"]


@lru_cache(1024)
def is_float32(divisor: float | None) -> bool:
    """Whether float32 holds a divisor; the counts of windows that are summed in it are small."""
    with np.errstate(over="ignore", under="ignore"):
        return divisor is None or float(np.float32(divisor)) == divisor


def reducer_named(function: str, reducer: str, nan: Any) -> str:
    """Return the reducer that treats NaN as this argument says."""
    ignores = word(function, "nan", nan, ("propagate", "ignore")) == "ignore"
    return f"{reducer}_number" if ignores else reducer


# ---------------------------------------------------------------------------------------------------------------------
# What a function hands on


class Function(NamedTuple):
    """A public function or its gradient, and what it hands on."""

    operator: Operator
    """Row of the table."""
    dimensions: int | None
    """Spatial axes; None for a function of any rank, which hands them on."""
    dtypes: tuple[str, ...]
    """What it accepts."""
    names: tuple[str, ...]
    """Its arguments that tell a call from others, in the order in which it hands them on."""

    def moved(self, arguments: tuple[Any, ...], layout: str) -> tuple[Any, ...]:
        """Return the arguments with another layout."""
        place = self.names.index("layout")
        return (*arguments[:place], layout, *arguments[place + 1 :])

    def other_layout(self, array: AnyArray, arguments: tuple[Any, ...]) -> Moved | None:
        """View an array that lies in memory as the other layout has it."""
        if array.flags.c_contiguous:
            return None
        dimensions = arguments[self.names.index("dimensions")] if self.dimensions is None else self.dimensions
        return in_other_layout(array, dimensions, arguments[self.names.index("layout")])


SLIDING = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")


def _names(operator: Operator) -> tuple[str, ...]:
    windows = {"sliding": SLIDING, "adaptive": ("output_size",), "global": ("dimensions",) * (not operator.dimensions)}
    names = (*windows[operator.windows], "layout")
    if operator.average:
        divisors = ("count_include_pad", "divisor_override") if operator.windows == "sliding" else ()
        return (*names, *divisors, "rounding", "nan")
    return (*names, "nan") if operator.reducer in ("greatest", "smallest") else names


def functions_of(operator: Operator, names: tuple[str, ...]) -> dict[str, Function]:
    """Return the functions of a row of the table, and their gradients, which hand on the arguments of these names."""
    return {
        name + suffix: Function(operator, dimensions, dtypes, names)
        for name, dimensions in zip(operator.functions, operator.dimensions or (None,), strict=True)
        for suffix, dtypes in (("", operator.dtypes), ("_backward", operator.gradient_dtypes))
    }


FUNCTIONS = {
    name: function
    for operator in OPERATORS.values()
    if operator.windows in ("sliding", "adaptive", "global") and operator.reducer != "blur"
    for name, function in functions_of(operator, _names(operator)).items()
}
"""All functions that are known; families whose arguments are others add their own."""


# ---------------------------------------------------------------------------------------------------------------------
# Calls


class Placed(NamedTuple):
    """Windows over the maps of an array."""

    function: str
    dtype: np.dtype[Any]
    maps: Maps
    axes: tuple[Axis, ...]
    output_shape: tuple[int, ...]


def placed(
    function: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
    layout: Any,
    dimensions: Any = None,
    **windows: Any,
) -> Placed:
    """Lay the windows of a function over an input of this shape."""
    row = FUNCTIONS[function]
    maps = Maps.of(function, shape, dimensions if row.dimensions is None else row.dimensions, layout)
    if row.operator.windows == "global":
        axes = geometry.global_axes(maps.sizes, function=function)
    elif row.operator.windows == "adaptive":
        axes = geometry.adaptive_axes(maps.sizes, **windows, function=function)
    else:
        axes = geometry.pool_axes(maps.sizes, **windows, function=function)
    return Placed(function, dtype, maps, axes, maps.restored(function, [axis.output_size for axis in axes]))


@dataclass(frozen=True)
class Call:
    """A resolved call: what the arrays must look like, and where the windows are.

    A family says what else it knows, and what runs.
    """

    function: str
    dtype: np.dtype[Any]
    maps: Maps
    axes: tuple[Axis, ...]
    output_shape: tuple[int, ...]
    moved_way: ClassVar[tuple[tuple[int, ...], tuple[int, ...], _core.Runner] | None] = None
    """How arrays are pooled that lie as the other layout has it, once some were: the order of their axes, the way back,
    and what runs them."""

    @cached_property
    def orders(self) -> dict[tuple[int, ...], tuple[Ordered, _core.Runner] | None]:
        """How arrays of these strides are viewed in memory order, and what pools that view."""
        return {}

    @classmethod
    def of(cls, function: str, shape: tuple[int, ...], dtype: np.dtype[Any], **arguments: Any) -> Self:
        """Resolve a call from the arguments that `FUNCTIONS` names."""
        return cls(*placed(function, shape, dtype, **arguments))

    def ordered(self, order: Ordered) -> Self:
        """Return the call for a view of the array in memory order."""
        axes = tuple([self.axes[axis] for axis in order.spatial])
        shape = order.maps.restored(self.function, [axis.output_size for axis in axes])
        return replace(self, maps=order.maps, axes=axes, output_shape=shape)

    @cached_property
    def planned(self) -> tuple[Axis, ...]:
        """The axes as kernels need them: windows that hold every axis whole lie on a single one."""
        if FUNCTIONS[self.function].operator.windows == "global":
            cells = math.prod(self.maps.sizes)
            return (Axis(cells, 1, cells, cells),)
        return self.axes

    @cached_property
    def index_plan(self) -> _core.Plan:
        """The loops over all axes, so that indices count their cells."""
        return lay_out(self.planned, self.maps.outer, self.maps.inner, keep_axes=True)

    @cached_property
    def runner(self) -> kernels.Runner:
        """What runs the call."""
        return kernels.Runner(self)

    @cached_property
    def nbytes(self) -> int:
        """Bytes of the input and of the result."""
        return (math.prod(self.maps.shape) + math.prod(self.output_shape)) * self.dtype.itemsize

    def result(self, out: AnyArray | None, *inputs: AnyArray) -> AnyArray:
        """Allocate the result, or check `out`."""
        return result_array(self.function, out, self.output_shape, self.dtype, *inputs)

    def input_gradient(self, out: AnyArray | None, *inputs: AnyArray) -> AnyArray:
        """Allocate the gradient of the input, or check `out`."""
        return result_array(self.function, out, self.maps.shape, self.dtype, *inputs)

    def gradient(self, grad_output: ArrayLike) -> AnyArray:
        """Check the gradient of the result."""
        return checked_gradient(self.function, grad_output, self.dtype, self.output_shape, self.maps.shape)

    def indices(self, given: ArrayLike | None) -> AnyArray | None:
        """Check indices that a forward call returned, if it returns any."""
        return None

    def backward(
        self, grad_output: AnyArray, array: AnyArray, indices: AnyArray | None, out: AnyArray | None
    ) -> AnyArray:
        """Return the gradient of the input, from arrays that were checked."""
        raise NotImplementedError


Kind = TypeVar("Kind", bound=Call)

_known: dict[tuple[Any, ...], _core.Runner] = {}
"""What runs calls, by their signatures."""


def forget() -> None:
    """Forget all calls."""
    _known.clear()


def resolved(kind: type[Kind], function: str, array: AnyArray, arguments: tuple[Any, ...]) -> Kind:
    """Find the call of a function with these arguments, or resolve it."""
    try:
        runner = _known.get(_core.signature(function, array, arguments))
    except TypeError:
        runner = None
    call: Kind = _read(kind, function, array, arguments) if runner is None else runner.call
    return call


def called(kind: type[Kind], function: str, input: ArrayLike, *arguments: Any) -> tuple[AnyArray, Kind]:
    """Check the input of a function, and find or resolve its call with these arguments."""
    array = as_array(function, "input", input, FUNCTIONS[function].dtypes)
    return array, resolved(kind, function, array, arguments)


def _read(kind: type[Kind], function: str, array: AnyArray, arguments: tuple[Any, ...]) -> Kind:
    """Read arguments once: what is remembered is what was checked, however often an object changes its mind."""
    values = tuple([plain(value) for value in arguments])
    try:
        key = _core.signature(function, array, values)
    except TypeError:
        key = ()  # something in it is no argument, which resolving refuses
    runner = _known.get(key)
    call: Kind | None = None if runner is None else runner.call
    if call is not None:
        return call
    names = FUNCTIONS[function].names
    # The one object of its kind that NumPy gives to nearly every array.
    dtype = np.dtype(array.dtype.type)
    failure = None
    with _core.DefaultMode():
        try:
            call = kind.of(function, array.shape, dtype, **dict(zip(names, values, strict=True)))
        except (TypeError, ValueError) as error:
            failure = error
        try:
            if call is None:
                # Sentences show arguments as they were written.
                kind.of(function, array.shape, dtype, **dict(zip(names, arguments, strict=True)))
                assert failure is not None
                raise failure
        finally:
            # The error knows this frame, and the frame must not know the error: that cycle would hold the arrays.
            del failure
    warn_of_columns(function, array, call.axes, values[names.index("layout")])
    if key:
        if len(_known) >= REMEMBERED:
            _known.clear()
        _known[key] = call.runner
    return call


def pooled(call: Call, array: AnyArray, out: AnyArray | None, *, indexed: bool) -> Any:
    """Pool an array that may lie in memory anyhow: a few maps at a time where it does not lie as kernels read it."""
    flags = array.flags
    if not (flags.c_contiguous and flags.aligned):
        made = call.runner.forward_view(array, out, indexed)
        if made is not None:
            return made
    return call.runner.forward(native(array), out, indexed)


def pooled_in_order(call: Call, array: AnyArray) -> AnyArray | None:
    """Pool an array whose axes lie in memory in another order as it lies, where that gives the same results.

    It does for what is greatest or smallest, and for integers, but not for sums that are rounded. The result lies in
    memory as the array does.
    """
    flags = array.flags
    if flags.c_contiguous or not flags.aligned or not array.dtype.isnative or array.size == 0:
        return None
    reducer = FUNCTIONS[call.function].operator.reducer
    if reducer not in ("greatest", "smallest") and array.dtype.kind not in "iu":
        return None
    orders, strides = call.orders, array.strides
    try:
        way = orders[strides]
    except KeyError:
        order = in_memory_order(array, call.maps.spatial)
        way = None if order is None else (order, call.ordered(order).runner)
        if len(orders) >= REMEMBERED_ORDERS:
            orders.clear()
        orders[strides] = way
    if way is None:
        return None
    made: AnyArray | None = way[1].forward(array.transpose(way[0].axes), None, False)
    return None if made is None else made.transpose(way[0].axes_back)


def remember_way(kind: type[Kind], function: str, array: AnyArray, arguments: tuple[Any, ...], moved: Moved) -> None:
    """Let the compiled way in know how arrays are pooled that lie as the other layout has them."""
    call = resolved(kind, function, array, arguments)
    if call.moved_way is None:
        other = resolved(kind, function, moved.view(array), FUNCTIONS[function].moved(arguments, moved.layout))
        object.__setattr__(call, "moved_way", (moved.axes, moved.axes_back, other.runner))


def entry(kind: type[Call]) -> _core.Entry:
    """Return the way in for calls of one kind.

    Its methods are what the public functions call, with the arguments that `FUNCTIONS` names behind the others:
    ``forward(function, input, out, return_indices, *arguments)`` and
    ``backward(function, grad_output, input, indices, out, *arguments)``.
    """

    def forward(
        function: str, input: ArrayLike, out: AnyArray | None, return_indices: Any, arguments: tuple[Any, ...]
    ) -> Any:
        """Pool the first time with these arguments, or arrays that take more care."""
        row = FUNCTIONS[function]
        array = as_array(function, "input", input, row.dtypes)
        moved = row.other_layout(array, arguments) if out is None else None
        if moved is not None:
            try:
                made: Any = way_in.forward(
                    function, moved.array, None, return_indices, *row.moved(arguments, moved.layout)
                )
            except (TypeError, ValueError):
                pass  # refused again below, in words that show the array as it came
            else:
                remember_way(kind, function, array, arguments, moved)
                return (moved.back(made[0]), moved.back(made[1])) if return_indices else moved.back(made)
        call = resolved(kind, function, array, arguments)
        indexed = flag(function, "return_indices", return_indices)
        if out is None:
            made = None if indexed else pooled_in_order(call, array)
            return pooled(call, array, None, indexed=indexed) if made is None else made
        out = call.result(out, array)
        made = pooled(call, array, plain_array(out, call.dtype), indexed=indexed)
        return (out, made[1]) if indexed else out

    def backward(
        function: str,
        grad_output: ArrayLike,
        input: ArrayLike,
        indices: ArrayLike | None,
        out: AnyArray | None,
        arguments: tuple[Any, ...],
    ) -> AnyArray:
        """Return the first gradient with these arguments, or that of arrays that take more care."""
        row = FUNCTIONS[function]
        array, call = called(kind, function, input, *arguments)
        gradient, given = call.gradient(grad_output), call.indices(indices)
        moved = row.other_layout(gradient, arguments) if out is None else None
        if moved is None:
            return call.backward(gradient, array, given, out)
        remember_way(kind, function, array, arguments, moved)
        array = moved.view(array)
        call = resolved(kind, function, array, row.moved(arguments, moved.layout))
        given = None if given is None else moved.view(given)
        return moved.back(call.backward(moved.array, array, given, None))

    way_in = _core.Entry(_known, forward, backward)
    return way_in
