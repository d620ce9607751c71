"""From the arguments of a public function to a resolved call, which is remembered.

A call is resolved once for each signature (function, shape and dtype of the input, and arguments): its windows are laid
and its loops planned, each plan when it is first needed. A second call with the same signature does little more than
run its kernel. What such a forward call does is compiled: `entry` gives a family the way in (`Pooling.forward` in
pyx/core.pyx), which comes back here with what it does not know, or must not run as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from . import geometry
from .annotations import AnyArray
from .arguments import flag, plain, word
from .arrays import as_array, native, result_array
from .dispatch import kernels
from .geometry import Axis
from .maps import Maps, Moved, checked_gradient, in_other_layout, warn_of_columns
from .operators import OPERATORS, Operator
from .plan import lay_out
from .workers import threads_for

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
"""Call signatures to remember; the tables of one take a few hundred bytes."""
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
    """A public function or its gradient, and what it hands on.

    Attributes
    ----------
    operator : Operator
        Row of the table.
    dimensions : int or None
        Spatial axes; None for a function of any rank, which hands them on.
    dtypes : tuple of str
        What it accepts.
    names : tuple of str
        Its arguments that tell a call from others, in the order in which it hands them on.
    """

    operator: Operator
    dimensions: int | None
    dtypes: tuple[str, ...]
    names: tuple[str, ...]

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

    @classmethod
    def of(cls, function: str, shape: tuple[int, ...], dtype: np.dtype[Any], **arguments: Any) -> Self:
        """Resolve a call from the arguments that `FUNCTIONS` names."""
        return cls(*placed(function, shape, dtype, **arguments))

    @cached_property
    def planned(self) -> tuple[Axis, ...]:
        """The axes as kernels need them: windows that hold every axis whole lie on a single one."""
        if FUNCTIONS[self.function].operator.windows == "global":
            cells = math.prod(self.maps.sizes)
            return (Axis(cells, 1, cells, cells),)
        return self.axes

    @cached_property
    def index_plan(self) -> kernels.Plan:
        """The loops over all axes, so that indices count their cells."""
        return lay_out(self.planned, self.maps.outer, self.maps.inner, keep_axes=True)

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


Kind = TypeVar("Kind", bound=Call)

_known: dict[tuple[Any, ...], Any] = {}
"""Calls by their signatures."""
_forward: dict[tuple[Any, ...], Any] = {}
"""Those that came in by an `entry`, as it runs them."""


def forget() -> None:
    """Forget all calls."""
    _known.clear()
    _forward.clear()


def _remember(known: dict[tuple[Any, ...], Any], key: tuple[Any, ...], call: Any) -> None:
    if len(known) >= REMEMBERED:
        known.clear()
    known[key] = call


def resolved(kind: type[Kind], function: str, array: AnyArray, arguments: tuple[Any, ...]) -> Kind:
    """Find the call of a function with these arguments, or resolve it."""
    return _found(kind, function, array, arguments)[2]


def called(kind: type[Kind], function: str, input: ArrayLike, *arguments: Any) -> tuple[AnyArray, Kind]:
    """Check the input of a function, and find or resolve its call with these arguments."""
    array = as_array(function, "input", input, FUNCTIONS[function].dtypes)
    return array, resolved(kind, function, array, arguments)


def _found(
    kind: type[Kind], function: str, array: AnyArray, arguments: tuple[Any, ...]
) -> tuple[tuple[Any, ...], tuple[Any, ...], Kind]:
    """Find or resolve a call: return its signature, its arguments as plain values, and itself."""
    try:
        key = kernels.signature(function, array, arguments)
    except TypeError:
        return _read(kind, function, array, arguments)
    call: Kind | None = _known.get(key)
    return _read(kind, function, array, arguments) if call is None else (key, arguments, call)


def _read(
    kind: type[Kind], function: str, array: AnyArray, arguments: tuple[Any, ...]
) -> tuple[tuple[Any, ...], tuple[Any, ...], Kind]:
    """Read arguments once: what is remembered is what was checked, however often an object changes its mind."""
    values = tuple([plain(value) for value in arguments])
    try:
        key = kernels.signature(function, array, values)
    except TypeError:
        key = ()  # something in it is no argument, which resolving refuses
    call: Kind | None = _known.get(key)
    if call is not None:
        return key, values, call
    names = FUNCTIONS[function].names
    # The one object of its kind that NumPy gives to nearly every array.
    dtype = np.dtype(array.dtype.type)
    failure = None
    with kernels.DefaultMode():
        try:
            call = kind.of(function, array.shape, dtype, **dict(zip(names, values, strict=True)))
        except (TypeError, ValueError) as error:
            failure = error
        if call is None:
            # Sentences show arguments as they were written.
            kind.of(function, array.shape, dtype, **dict(zip(names, arguments, strict=True)))
            assert failure is not None
            raise failure
    warn_of_columns(function, array, call.axes, values[names.index("layout")])
    if key:
        _remember(_known, key, call)
    return key, values, call


def _is_ready(function: str, array: AnyArray, arguments: tuple[Any, ...]) -> bool:
    """Whether an `entry` runs a call with these arguments without coming back."""
    try:
        return kernels.signature(function, array, arguments) in _forward
    except TypeError:
        return False


def entry(kind: type[Call]) -> kernels.Pooling:
    """Return the way in for forward calls of one kind.

    Its `forward` is what the public functions call: ``forward(function, input, out, return_indices, *arguments)``, with
    the arguments that `FUNCTIONS` names.
    """

    def otherwise(
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
                return (moved.back(made[0]), moved.back(made[1])) if return_indices else moved.back(made)
        if out is None and type(return_indices) is bool and _is_ready(function, array, arguments):
            return way_in.forward(function, native(array), None, return_indices, *arguments)
        key, values, call = _found(kind, function, array, arguments)
        indexed = flag(function, "return_indices", return_indices)
        if out is not None:
            out = call.result(out, array)
        if key not in _forward:
            _remember(_forward, key, kernels.Forward(call, threads_for))
        # From here on it goes the way of every later call, by arguments and arrays that are as usual.
        target = None if out is None else np.ndarray.view(out, call.dtype, np.ndarray)
        made = way_in.forward(function, native(array), target, indexed, *values)
        if out is None:
            return made
        return (out, made[1]) if indexed else out

    way_in = kernels.Pooling(_forward, otherwise)
    return way_in
