"""Lay a geometry out for the loops of the kernels.

The kernels know one shape of problem: ``outer`` elements, three window axes, ``inner`` elements. Batch and channels
become outer or inner elements according to the layout; here axes that are not pooled join their neighbours, and windows
that hold whole axes become one run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ._core import Plan
from .geometry import Axis

__all__ = ["lay_out"]

ONE_CELL = Axis(1, 1, 1)
"""What fills a geometry up to three axes."""
LONG_ROW = 4096
"""Elements from which the inner elements are a row of their own (the kernels' segment length)."""


def _table(axis: Axis, count_include_pad: bool) -> tuple[Any, ...]:
    border = axis.border_windows(count_include_pad=count_include_pad)
    return (
        axis.input_size,
        axis.output_size,
        axis.kernel_size,
        axis.stride,
        axis.dilation,
        axis.pad_begin,
        *axis.interior,
        border.first,
        border.count,
        border.divisor,
        axis.adaptive,
    )


def lay_out(
    axes: Sequence[Axis],
    outer: int,
    inner: int,
    *,
    keep_axes: bool = False,
    average: bool = False,
    count_include_pad: bool = False,
    divisor_override: float | None = None,
    number_divisor: float | None = None,
) -> Plan:
    """Make the plan of a pooling.

    Parameters
    ----------
    axes : sequence of Axis
        One to three spatial axes.
    outer, inner : int
        Elements before and behind them: ``(N * C, 1)`` in channels_first, ``(N, C)`` in channels_last.
    keep_axes : bool
        Whether axes that are not pooled must stay, because an index counts their cells.
    average, count_include_pad, divisor_override
        What sums are divided by.
    number_divisor : float, optional
        What sums that leave NaN out are divided by, if not by the count of the numbers in them.

    Returns
    -------
    Plan
    """
    kept = list(axes)
    if not keep_axes and all(axis.output_size == 1 for axis in kept):
        # A single window that holds everything is a global one, however much padding it holds besides.
        windows = [axis.border_windows(count_include_pad=count_include_pad) for axis in kept]
        if all(
            axis.is_global or (len(cut.count) and cut.count[0] == axis.input_size and axis.dilation == 1)
            for axis, cut in zip(kept, windows, strict=True)
        ):
            if average and divisor_override is None:
                sizes = [
                    int(cut.divisor[0]) if len(cut.divisor) else axis.kernel_size
                    for axis, cut in zip(kept, windows, strict=True)
                ]
                divisor_override = float(math.prod(sizes))
            kept = [Axis(axis.input_size, 1, axis.input_size, axis.input_size) for axis in kept]
    for position in reversed(range(1, len(kept))):
        if kept[position - 1].is_global and kept[position].is_global:
            cells = kept[position - 1].input_size * kept[position].input_size
            kept[position - 1 : position + 1] = [Axis(cells, 1, cells, cells)]
    if not keep_axes:
        while kept and kept[0].is_identity:
            outer *= kept.pop(0).input_size
        while kept and kept[-1].is_identity:
            inner *= kept.pop().input_size
        # Under a single window rows are combined and nothing slides along them: they can be cut for several threads.
        alone = all(axis.output_size == 1 for axis in kept)
        if inner > 1 and len(kept) < 3 and (alone or inner >= LONG_ROW):
            kept.append(Axis(inner, inner, 1))
            inner = 1
        if len(kept) == 1:
            # Outer elements as rows: the kernels then make many of them in one go.
            kept.insert(0, Axis(outer, outer, 1))
            outer = 1
    kept = [ONE_CELL] * (3 - len(kept)) + kept
    return Plan(
        outer,
        inner,
        [_table(axis, count_include_pad) for axis in kept],
        average,
        math.nan if divisor_override is None else divisor_override,
        math.nan if number_divisor is None else number_divisor,
    )
