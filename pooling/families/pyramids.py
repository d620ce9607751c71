"""Pyramids: an array reduced by blocks again and again, each level from the original elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from ..annotations import AnyArray, Rounding
from ..arguments import flag, names_checked, sequence, whole, whole_between, word
from ..arrays import in_default_mode, is_masked
from ..errors import type_error, value_error
from ..geometry import block_count
from ..maps import warn_of_colours
from ..operators import BLOCK_REDUCTIONS
from ..signs import counted, short_repr
from .blocks import (
    EDGES,
    LARGEST_BLOCK,
    MOST_STAGED,
    Blocks,
    Carried,
    Edge,
    Level,
    Reduction,
    block_reduce,
    block_sizes,
    checked_array,
    is_for_all_axes,
    last_axis,
    masked_like,
    prepared,
    reduced,
    reduction_named,
    run,
    stages_of,
    subtract,
    sums_are_real,
    with_blocks,
)

__all__ = ["pyramid"]

MOST_LEVELS = 64
MOST_STAGES = 30


def checked_axes(function: str, axes: Any, rank: int) -> tuple[int, ...]:
    """Return the axes that levels get smaller on, counted from 0."""
    if axes is None:
        return tuple(range(rank))
    several = sequence(axes)
    found = []
    for entry in [axes] if several is None else several:
        axis = whole(entry)
        if axis is None:
            raise type_error(
                function, f"must be an integer or several, not {type(entry).__name__}", argument=("axes", axes)
            )
        if not -rank <= axis < rank:
            raise value_error(
                function, f"must be from {-rank} to {rank - 1} for an array of {rank}", argument=("axes", axes)
            )
        found.append(axis % rank)
    if len(set(found)) != len(found) or not found:
        raise value_error(function, "must name each axis once, and at least one", argument=("axes", axes))
    return tuple(found)


def pyramid_factors(
    function: str, shape: Sequence[int], factors: Any, levels: Any, axes: Any = None, edge: str = "partial"
) -> list[tuple[int, ...]]:
    """Return for every level the block of original elements that an element of it stands for, on each axis.

    Parameters
    ----------
    function : str
        Named in error sentences.
    shape : sequence of int
        Of the original.
    factors, levels, axes, edge
        As in `pyramid`.
    """
    rank = len(shape)
    chosen = checked_axes(function, axes, rank)
    several = sequence(factors)
    by_level = several is not None and any(sequence(entry) is not None for entry in several)
    entries = several if by_level and several is not None else [factors]
    steps = [block_sizes(function, "factors", entry, rank, chosen) for entry in entries]
    if levels is None:
        most = len(steps) if by_level else MOST_LEVELS
    else:
        most = whole_between(function, "levels", levels, 0, MOST_LEVELS, "leave it out for as many as there are")
        if by_level and len(steps) != most:
            raise value_error(
                function,
                f"asks for {counted(most, 'level')}, and factors has {len(steps)} entries",
                "give one entry per level, or no levels",
                argument=("levels", levels),
            )
    if not by_level and all(factor == 1 for factor in steps[0]):
        raise value_error(function, "must be at least 2 on some axis", argument=("factors", factors))
    found: list[tuple[int, ...]] = []
    block = (1,) * rank
    for level in range(most):
        step = steps[level if by_level else 0]
        if levels is None and not by_level:
            cells = [block_count(size, each, edge) for size, each in zip(shape, block, strict=True)]
            shrinks = [n > 1 if edge == "partial" else n >= f for n, f in zip(cells, step, strict=True) if f > 1]
            if not (any(shrinks) if edge == "partial" else all(shrinks)):
                break
        block = tuple(each * factor for each, factor in zip(block, step, strict=True))
        if max(block) > LARGEST_BLOCK:
            raise value_error(
                function,
                f"blocks of level {level + 1} would have {max(block)} elements on an axis, more than any array",
                "use fewer levels",
            )
        found.append(block)
    return found


def exact_levels(function: str, exact: Any, reduction: Any) -> bool:
    """Check whether each level is to be made of the original elements, which only modes and medians leave open."""
    wanted = flag(function, "exact", exact)
    if wanted and reduction.levels != "either":
        raise value_error(
            function,
            f"is for modes and medians; levels of func={reduction.name!r} are exact",
            argument=("exact", exact),
        )
    return wanted


@names_checked
@in_default_mode
def pyramid(
    array: ArrayLike,
    factors: int | Sequence[int] | Sequence[Sequence[int]] = 2,
    levels: int | None = None,
    func: Reduction = "mean",
    *,
    axes: int | Sequence[int] | None = None,
    edge: Edge = "partial",
    nodata: float | None = None,
    min_valid: float = 0.0,
    rounding: Rounding = "half_even",
    dtype: Any = None,
    exact: bool = False,
) -> list[AnyArray]:
    """Reduce an array by blocks to smaller and smaller levels, each made of the original elements.

    Level n is ``block_reduce(array, factors**n, func, ...)`` to the bit, yet the array is read once: means carry sums
    and counts from level to level, never rounded means. Modes and medians alone are by default those of the level
    before (`exact`).

    Parameters
    ----------
    array : array_like
        As in `block_reduce`.
    factors : int, sequence of int, or sequence of sequences
        By how much each level is smaller than the one before: on all of `axes`, on each, or for each level on each.
    levels : int, optional
        How many. By default one for each entry of `factors`, or until one element is left on every axis that gets
        smaller (with ``edge="trim"``, as long as there are whole blocks).
    func : str
        As in `block_reduce`. Mean, sum, min, max, range and count are made in one pass; of the others, modes and
        medians left out, each level takes a pass of its own over the original.
    axes : int or sequence of int, optional
        The axes that get smaller; by default all of them.
    edge, nodata, min_valid, rounding, dtype
        As in `block_reduce`.
    exact : bool
        Whether modes and medians are those of the original elements too. By default they are those of the level
        before, which is faster, as other libraries have it, and not the same.

    Returns
    -------
    list of ndarray
        The levels behind the original, largest first.

    Raises
    ------
    TypeError, ValueError
        As `block_reduce`.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> for level in pooling.pyramid(np.arange(25, dtype=np.uint8).reshape(5, 5), levels=2):
    ...     print(level.tolist())
    [[3, 5, 6], [13, 15, 16], [20, 22, 24]]
    [[9, 12], [22, 24]]
    """
    function = "pyramid"
    if isinstance(levels, str):
        raise type_error(
            function,
            "must be an integer",
            f"write func={short_repr(levels)} for a reduction",
            argument=("levels", levels),
        )
    original, _ = checked_array(function, array)
    reduction = reduction_named(function, func)
    ordered_exactly = exact_levels(function, exact, reduction)
    edge = cast(Edge, word(function, "edge", edge, EDGES))
    blocks = pyramid_factors(function, original.shape, factors, levels, axes, edge)
    if axes is None and original.ndim in (3, 4) and is_for_all_axes(factors):
        warn_of_colours(
            f"{function}: array of shape {original.shape} gets smaller along its last axis too; if that has colours, "
            f"say axes={(original.ndim - 3, original.ndim - 2)}",
            original,
        )
    calls: list[Blocks] = []
    for block in blocks:
        if calls:
            calls.append(with_blocks(calls[0], block, edge, block))
            continue
        call = prepared(
            function, array, block, func, edge=edge, nodata=nodata, min_valid=min_valid, rounding=rounding, dtype=dtype
        )
        calls.append(call)
    if original.size == 0:
        return [np.empty(call.outputs, call.dtype) for call in calls]
    carries_sums = reduction.levels == "sums" and (reduction.name != "count" or any(c.leaves_out for c in calls))
    from_level = reduction.levels == "level" and not min_valid
    if carries_sums:
        return _masked_like(array, calls, *_carried(calls))
    if from_level or (reduction.levels == "either" and not ordered_exactly):
        return _from_levels(calls, array, edge)
    made = [np.empty(call.outputs, call.dtype) for call in calls]
    shares = [np.empty(call.outputs) if call.mask is not None else None for call in calls]
    for call, result, valid in zip(calls, made, shares, strict=True):
        reduced(call, result, valid)
    return _masked_like(array, calls, made, shares)


def _masked_like(
    array: Any, calls: Sequence[Blocks], made: Sequence[AnyArray], shares: Sequence[AnyArray | None]
) -> list[AnyArray]:
    """Mask levels of a masked array where too few elements are valid."""
    if not is_masked(array):
        return list(made)
    found: list[AnyArray] = []
    for call, level, valid in zip(calls, made, shares, strict=True):
        hidden: Any = np.zeros(level.shape, np.bool_)
        if valid is not None and call.reduction.name != "count":
            hidden = (valid < call.min_valid) | (valid == 0)
        found.append(masked_like(array, level, hidden))
    return found


def _from_levels(calls: Sequence[Blocks], array: Any, edge: Edge) -> list[AnyArray]:
    """Make each level of the one before: extremes, which come out the same, and modes and medians, which do not."""
    if not calls:
        return []
    name = calls[0].reduction.name
    if name == "range":
        return _ranges(calls, array, edge)
    before, block = array, (1,) * len(calls[0].sizes)
    made = []
    for call in calls:
        step = tuple(now // then for now, then in zip(call.sizes, block, strict=True))
        before = block_reduce(
            before,
            step,
            cast(Reduction, name),
            edge=edge,
            nodata=call.nodata,
            min_valid=call.min_valid,
            rounding=cast(Rounding, call.rounding),
            dtype=None if before is not array and call.dtype == before.dtype else call.dtype,
        )
        block = call.sizes
        made.append(before)
    return made


def _ranges(calls: Sequence[Blocks], array: Any, edge: Edge) -> list[AnyArray]:
    """Make levels of ranges of those of maxima and minima."""
    high, low = (
        _from_levels(
            [replace(call, reduction=BLOCK_REDUCTIONS[name], dtype=call.array.dtype) for call in calls], array, edge
        )
        for name in ("max", "min")
    )
    made = []
    for call, greatest, smallest in zip(calls, high, low, strict=True):
        result = np.empty(call.outputs, call.dtype)
        valid = None
        above, below = np.asarray(greatest), np.asarray(smallest)
        if call.leaves_out:
            missing = np.ma.getmaskarray(greatest) if is_masked(greatest) else np.zeros(above.shape, np.bool_)
            if call.nodata is not None:
                missing = missing | (above != above if call.nodata != call.nodata else above == call.nodata)
            valid = np.where(missing, 0.0, 1.0)
        subtract(call, above, below, result, valid)
        made.append(masked_like(array, result, np.ma.getmaskarray(greatest)) if is_masked(greatest) else result)
    return made


LEAST_CELLS = 4096
"""Elements of a level that is made together with those before; smaller ones are made of sums that were stored, since
threads share out what the last level is made of."""


def _carried(calls: Sequence[Blocks]) -> tuple[list[AnyArray], list[AnyArray | None]]:
    """Make the levels of means, sums and counts, which carry sums on; return them and their valid shares."""
    made = [np.empty(call.outputs, call.dtype) for call in calls]
    shares = [np.empty(call.outputs) if call.mask is not None else None for call in calls]
    start: Carried | None = None
    sizes, outputs = tuple(call.sizes for call in calls), tuple(call.outputs for call in calls)
    for stages, carries in _runs(sizes, outputs, real=bool(calls) and sums_are_real(calls[0])):
        levels = [Level(stage) if at is None else Level(stage, made[at], shares[at]) for stage, at in stages]
        last = stages[-1][1]
        assert last is not None
        start = run(calls[last], levels, start, carries=carries)
    return made, shares


@lru_cache(256)
def _runs(
    sizes: tuple[tuple[int, ...], ...], outputs: tuple[tuple[int, ...], ...], *, real: bool
) -> list[tuple[list[tuple[tuple[int, ...], int | None]], bool]]:
    """Return the calls of the kernels that make all levels: their stages, and whether sums are carried on.

    A stage is its factors and the level that is stored, which has an index, or None.

    Parameters
    ----------
    sizes, outputs : tuple of tuples
        Of the blocks of each level, and how many there are.
    real : bool
        Whether sums are float64, so that their order is part of the result.
    """
    found = []
    at = 0
    while at < len(sizes):
        begun = False
        rest = _chain(sizes, at, real=real)
        while at < rest:
            until = _together(sizes, outputs, at, rest, begun=begun, real=real)
            before = sizes[at - 1] if begun else (1,) * len(sizes[at])
            stages: list[tuple[tuple[int, ...], int | None]] = []
            for level in range(at, until):
                *inner, last = _stages_between(sizes[level], before, real=real)
                stages += [(stage, None) for stage in inner]
                stages.append((last, level))
                before = sizes[level]
            found.append((stages, until < rest))
            at, begun = until, until < rest
    return found


def _stages_between(block: tuple[int, ...], before: tuple[int, ...], *, real: bool) -> list[tuple[int, ...]]:
    """Return the stages of a level behind those of the one before, which are the first of its own."""
    if not real:
        return [tuple(now // then for now, then in zip(block, before, strict=True))]
    found = stages_of(block)
    done = stages_of(before) if math.prod(before) > 1 else []
    return found[len(done) :] or [(1,) * len(before)]


def _chain(sizes: Sequence[tuple[int, ...]], at: int, *, real: bool) -> int:
    """Return the level behind the last one that can be made of the sums of those before it, from this one on.

    Sums of integers always can. Those of floats can where blocks are divided as those before, and further.
    """
    end = at + 1
    while end < len(sizes):
        if real:
            before, here = stages_of(sizes[end - 1]), stages_of(sizes[end])
            if last_axis(sizes[at]) != last_axis(sizes[end]) or here[: len(before)] != before:
                break
        end += 1
    return end


def _together(
    sizes: Sequence[tuple[int, ...]], outputs: Sequence[tuple[int, ...]], at: int, rest: int, *, begun: bool, real: bool
) -> int:
    """Return the level behind the last one that is made in one call of the kernels."""
    before = sizes[at - 1] if begun else (1,) * len(sizes[at])
    until, stages = at, 0
    while until < rest:
        stages += len(_stages_between(sizes[until], sizes[until - 1] if until > at else before, real=real))
        width = max(now // then for now, then in zip(sizes[until], before, strict=True))
        small = math.prod(outputs[until]) < LEAST_CELLS and not begun
        if until > at and (stages > MOST_STAGES or width > MOST_STAGED or small):
            break
        until += 1
    return until
