"""Means of windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.errors import value_error
from pooling.geometry import Axis
from pooling.operators import FLOATS

from .. import deployed
from ..deployed import form_of_average
from ..dynamic_sizes import FreeAxis, folded
from ..graph_builder import GraphBuilder, Value
from ..layer_calls import LayerCall
from .windows import Axes, attributes, dilated, has_dynamic_padding, padded, single, summed, taps_of, why_not_one_node

__all__ = [
    "MANY_TAPS",
    "Form",
    "avg_pool",
    "forms_of_average",
    "global_avg_pool",
    "known_taps",
    "window_counts",
    "working_dtype",
]

MANY_TAPS = 2**16
"""Of more taps than these the mean is made in float64: runtimes add up float32 one number after another."""

MANY_TAPS_EXACT = 1024
"""The same of graphs that give in every runtime what the layers give, at any price."""

LARGEST_MAP = 2**16
"""Windows of a plane whose shares are written into the model; of more, they are multiplied when it runs."""

HALF_RANGE = 2**32
"""What an int64 is divided by, so that sums of both parts fit int64."""


def avg_pool(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower average pooling, sliding or adaptive."""
    (x,) = inputs
    dtype, axes = graph.dtypes[x], call.windows
    if single(axes):
        return global_avg_pool(graph, call, inputs)
    # Without padding there is none that counts; what ceil_mode touches never does.
    include = call.arguments.get("count_include_pad", False) and any(
        axis.pad_begin != 0 or axis.pad_end != 0 for axis in axes
    )
    divisor = call.arguments.get("divisor_override")
    if dtype.name not in FLOATS:
        return (_whole_mean(graph, call, x, include, divisor),)
    working = working_dtype(dtype, known_taps(axes), divisor, finite=graph.finite)
    why = why_not_one_node(graph, "AveragePool", axes)
    if working == np.float64:
        why = f"onnxruntime has no AveragePool of {working}."
    x = graph.cast(x, working, why=f"Means of {dtype.name} are made in {working} and rounded once.")
    form = None if why else _chosen(graph, forms_of_average(graph, call, include, divisor))
    if form is not None:
        return (graph.cast(form.write(x), dtype),)
    why = why or f"Some onnxruntime computes AveragePool of these windows wrongly in opset {graph.opset}."
    return (graph.cast(_mean_of_gathered(graph, call, x, include, divisor, why), dtype),)


@dataclass(frozen=True)
class Form:
    """A way to write the mean of windows."""

    name: str
    """Of its AveragePool, in the table of what released runtimes make of it; see `pooling.export.deployed`."""
    write: Callable[[str], str]
    """Adds the nodes that pool a tensor."""


def _chosen(graph: GraphBuilder, forms: Sequence[Form]) -> Form | None:
    """Choose the first form that every released onnxruntime computes rightly in this opset."""
    for form in forms:
        if deployed.is_right(form.name, graph.opset):
            return form
        graph.detour(f"Some onnxruntime computes this wrongly in opset {graph.opset}: {form.name}.")
    return None


def forms_of_average(graph: GraphBuilder, call: LayerCall, include: bool, divisor: float | None) -> list[Form]:
    """List the ways to write a mean as one AveragePool, the shortest first.

    The node divides by the taps in the input or, with ``count_include_pad``, by all; a Mul makes of that what the
    layer divides by.
    """
    axes, words = call.windows, attributes(call.windows)
    name = partial(form_of_average, words["pads"], dilated=dilated(axes))

    def mean(x: str, *, counted: bool, why: str) -> str:
        return graph("AveragePool", padded(graph, x, axes, 0), **words, count_include_pad=int(counted), why=why)

    def of_those_in_input(x: str) -> str:
        return mean(x, counted=False, why=call.title)

    def of_all(x: str) -> str:
        return mean(x, counted=True, why=call.title)

    def times_number(x: str) -> str:
        assert divisor is not None
        scale = np.array(taps_of(axes) / float(divisor), graph.dtypes[x])
        product = mean(x, counted=True, why="Of all taps, padding too.")
        return graph("Mul", product, scale, why=f"{call.title}: times {taps_of(axes)} taps, by the divisor.")

    def times_shares(x: str, *, counted: bool) -> str:
        why = "Of all taps, padding too." if counted else "Of the taps in the input."
        shares = _shares(graph, call, counted, include, divisor, graph.dtypes[x])
        product = mean(x, counted=counted, why=why)
        return graph("Mul", product, shares, why=f"{call.title}: times these taps, by those that it counts.")

    follows = any(map(has_dynamic_padding, axes))  # whose padding becomes part of the input
    forms = []
    if divisor is not None:
        forms.append(Form(name(counted=True), times_number))
    elif not include and not follows:
        forms.append(Form(name(counted=False), of_those_in_input))
    elif include and not any(axis.ceil_overhang for axis in axes):
        forms.append(Form(name(counted=True), of_all))
    if (include or divisor is not None) and not follows and any(words["pads"]):
        forms.append(Form(name(counted=False), partial(times_shares, counted=False)))
    if follows and not forms:
        forms.append(Form(name(counted=True), partial(times_shares, counted=True)))
    return forms


def _shares(
    graph: GraphBuilder, call: LayerCall, all_taps: bool, include: bool, divisor: float | None, dtype: np.dtype[Any]
) -> Value:
    """Divide all taps of each window, or those in the input, by those that the layer counts."""
    axes = call.windows
    if not call.free and math.prod(axis.output_size for axis in call.axes) <= LARGEST_MAP:
        above = taps_of(axes) if all_taps else _map(call.axes, False)
        below = _map(call.axes, include) if divisor is None else float(divisor)
        shares: NDArray[Any] = np.asarray(above / below, dtype)
        return shares[..., :1] if (shares == shares[..., :1]).all() else shares
    number = np.array(taps_of(axes), dtype) if all_taps else window_counts(graph, axes, False, dtype)
    over = window_counts(graph, axes, include, dtype) if divisor is None else np.array(divisor, dtype)
    return graph("Div", number, over, why="Which share of them counts.")


def _map(axes: Sequence[Axis], include: bool) -> NDArray[Any]:
    """Count the elements of each window of known sizes."""
    counts = [axis.windows(np.arange(axis.output_size), count_include_pad=include).divisor for axis in axes]
    return reduce(np.multiply.outer, counts).astype(np.float64)


def known_taps(axes: Axes) -> int:
    """Count the taps of a window; 1 for a plane of unknown size, which is left to GlobalAveragePool."""
    return 1 if single(axes) else taps_of(axes)


def working_dtype(dtype: np.dtype[Any], taps: int, divisor: float | None = None, *, finite: bool) -> np.dtype[Any]:
    """Return the type in which a mean of floats is made: float32 unless that is not enough."""
    if dtype == np.float64 or taps > (MANY_TAPS if finite else MANY_TAPS_EXACT):
        return np.dtype(np.float64)
    if divisor is not None:
        with np.errstate(over="ignore", under="ignore"):
            scale = taps / float(divisor)
            held = abs(float(np.float32(scale)) - scale) <= abs(scale) * 2.0**-24
        if not held:
            return np.dtype(np.float64)
    return np.dtype(np.float32)


def _mean_of_gathered(
    graph: GraphBuilder, call: LayerCall, x: str, include: bool, divisor: float | None, why: str
) -> str:
    total = summed(graph, x, call.windows, why)
    dtype = graph.dtypes[x]
    if divisor is not None:
        return graph("Div", total, np.array(divisor, dtype), why=call.title)
    return graph("Div", total, window_counts(graph, call.windows, include, dtype), why=call.title)


def window_counts(graph: GraphBuilder, axes: Axes, include: bool, dtype: np.dtype[Any]) -> Value:
    """Count the elements of each window; where they differ, multiplied at run time from those of each axis."""
    counts = [_divisors(graph, axis, include) for axis in axes]
    if not any(isinstance(count, str) or count.min() != count.max() for count in counts):
        return np.array(math.prod(int(count.max()) for count in counts if not isinstance(count, str)), dtype)
    if dtype == np.int64:  # no whole number is the mean of nothing, which the graph cannot refuse
        counts = [
            graph("Where", graph("Less", count, np.int64(1)), np.int64(1), count)
            if isinstance(axis, FreeAxis) and axis.may_be_empty and isinstance(count, str)
            else count
            for axis, count in zip(axes, counts, strict=True)
        ]
    columns: list[Value] = []
    for behind, count in zip(reversed(range(len(axes))), counts, strict=True):
        made = graph.cast(count, dtype) if isinstance(count, str) else count.astype(dtype)
        columns.append(folded(graph, "Reshape", made, np.array([-1, *[1] * behind])) if behind else made)
    return reduce(lambda left, right: graph("Mul", left, right), columns)


def _divisors(graph: GraphBuilder, axis: Axis | FreeAxis, include: bool) -> Value:
    if isinstance(axis, FreeAxis):
        return axis.divisors(graph, count_include_pad=include)
    return axis.windows(np.arange(axis.output_size, dtype=np.int64), count_include_pad=include).divisor


def global_avg_pool(graph: GraphBuilder, call: LayerCall, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Lower global average pooling."""
    (x,) = inputs
    dtype = graph.dtypes[x]
    if dtype.name not in FLOATS:
        return (_whole_mean(graph, call, x, False, None),)
    working = working_dtype(dtype, known_taps(call.windows), finite=graph.finite)
    x = graph.cast(x, working, why=f"Means of {dtype.name} are made in {working} and rounded once.")
    if working == np.float32:
        mean = graph("GlobalAveragePool", x, why=call.title)
    else:
        why = f"{call.title}: onnxruntime has no GlobalAveragePool of {working}."
        mean = graph("ReduceMean", x, axes=list(range(2, len(call.shape))), keepdims=1, why=why)
    return (graph.cast(mean, dtype),)


# ----------------------------------------------------------------------------------------------------------
# Whole numbers


def _whole_mean(graph: GraphBuilder, call: LayerCall, x: str, include: bool, divisor: float | None) -> str:
    """Divide sums in int64, which rounds nothing, and round the quotient as the layer does."""
    dtype = graph.dtypes[x]
    rounding = call.arguments.get("rounding", "half_even")
    factor, over = 1, window_counts(graph, call.windows, include, np.dtype(np.int64)) if divisor is None else ""
    if divisor is not None:
        factor, denominator = _exact_factor(call, dtype, float(divisor))
        over = np.int64(denominator)
    if dtype.itemsize == 8:
        return _mean_in_two_parts(graph, call, x, factor, over, rounding)
    total = _whole_sum(graph, call, graph.cast(x, np.int64, why="Sums are exact in int64."))
    if factor != 1:
        total = graph("Mul", total, np.int64(factor))
    quotient, rest = _divided(graph, total, over)
    quotient = _rounded(graph, quotient, rest, over, rounding, quotient)
    if divisor is not None:
        limits = np.iinfo(dtype)
        for operator, limit in (("Max", limits.min), ("Min", limits.max)):
            quotient = graph(operator, quotient, np.int64(limit), why="What does not fit saturates.")
    return graph.cast(quotient, dtype)


def _exact_factor(call: LayerCall, dtype: np.dtype[Any], divisor: float) -> tuple[int, int]:
    """Return the fraction by which sums are multiplied, refusing one for which int64 is not enough."""
    above, below = divisor.as_integer_ratio()
    factor, over = (below, above) if above > 0 else (-below, -above)
    taps = taps_of(call.windows)
    if dtype.itemsize == 8:
        fits = abs(factor) == 1 and taps <= over < 2**29
    else:
        fits = over < 2**60 and int(np.iinfo(dtype).max + 1) * taps * abs(factor) < 2**60
    if not fits:
        raise value_error(
            "to_onnx",
            f"divisor_override={divisor!r} of {type(call.layer).__name__} cannot divide sums of {taps} elements of "
            f"{dtype.name} exactly in int64",
            f"use a whole number of at least {taps}, or a float dtype",
        )
    return factor, over


def _whole_sum(graph: GraphBuilder, call: LayerCall, x: str) -> str:
    if call.layer.operator == "global_avg_pool" or single(call.windows):
        return graph("ReduceSum", x, axes=list(range(2, len(call.shape))), keepdims=1, why=call.title)
    return summed(graph, x, call.windows, call.title)


def _divided(graph: GraphBuilder, total: str, over: Value) -> tuple[str, str]:
    """Divide rounding down, whatever the sign."""
    rest = graph("Mod", total, over)
    return graph("Div", graph("Sub", total, rest), over), rest


def _rounded(graph: GraphBuilder, quotient: str, rest: str, over: Value, rounding: str, signed: str) -> str:
    """Add 1 to a quotient that was rounded down where the rest says so; `signed` has the sign of the whole."""
    if rounding == "floor":
        return quotient
    if rounding == "trunc":
        zero = np.int64(0)
        up = graph("And", graph("Less", signed, zero), graph("Greater", rest, zero), why="Towards zero.")
    else:
        twice = graph("Add", rest, rest)
        odd: Value = graph("Mod", quotient, np.int64(2)) if rounding == "half_even" else np.int64(1)
        up = graph("Greater", graph("Add", twice, odd), over, why=f"Rounded {rounding.replace('_', ' ')}.")
    return graph("Add", quotient, graph.cast(up, np.int64))


def _mean_in_two_parts(graph: GraphBuilder, call: LayerCall, x: str, factor: int, over: Value, rounding: str) -> str:
    """Divide sums that int64 does not hold: those of the upper and the lower halves of the numbers, apart."""
    dtype = graph.dtypes[x]
    half = dtype.type(HALF_RANGE)
    low = graph("Mod", x, half, why="Sums of the halves of 64 bits are exact in int64.")
    high = graph.cast(graph("Div", graph("Sub", x, low), half), np.int64)
    sums = [_whole_sum(graph, call, part) for part in (high, graph.cast(low, np.int64))]
    if factor < 0:
        sums = [graph("Neg", part) for part in sums]
    upper, rest = _divided(graph, sums[0], over)
    lower, rest = _divided(graph, graph("Add", graph("Mul", rest, np.int64(HALF_RANGE)), sums[1]), over)
    signed = upper
    if dtype == np.int64 and rounding == "trunc":
        signed = graph("Add", graph("Mul", upper, np.int64(HALF_RANGE)), lower)
    lower = _rounded(graph, lower, rest, over, rounding, signed)
    # The halves together are no larger than the largest element, so uint64 holds what int64 may not.
    return graph("Add", graph("Mul", graph.cast(upper, dtype), half), graph.cast(lower, dtype))
