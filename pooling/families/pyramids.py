"""Pyramids: an array reduced by blocks again and again, each level from the original elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from ..annotations import AnyArray, Rounding
from ..arguments import flag, sequence, whole, whole_between
from ..errors import type_error, value_error
from .blocks import Edge, Reduction, block_reduce, block_sizes, checked_array, reduction_named

__all__ = ["pyramid"]

MOST_LEVELS = 64


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
    steps = [block_sizes(function, "factors", entry, rank, chosen) for entry in (several if by_level else [factors])]
    if levels is None:
        most = len(steps) if by_level else MOST_LEVELS
    else:
        most = whole_between(function, "levels", levels, 0, MOST_LEVELS, "leave it out for as many as there are")
        if by_level and len(steps) != most:
            raise value_error(
                function,
                f"factors has {len(steps)} entries for {most} levels",
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
            cells = [
                -(-size // each) if edge == "partial" else size // each for size, each in zip(shape, block, strict=True)
            ]
            shrinks = [n > 1 if edge == "partial" else n >= f for n, f in zip(cells, step, strict=True) if f > 1]
            if not (any(shrinks) if edge == "partial" else all(shrinks)):
                break
        block = tuple(each * factor for each, factor in zip(block, step, strict=True))
        found.append(block)
    return found


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
    and counts from level to level, never rounded means.

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
        As in `block_reduce`. Mean, sum, min, max, range and count are made in one pass; of the others each level takes
        a pass of its own over the original.
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
    elements, _ = checked_array(function, array)
    reduction = reduction_named(function, func)
    flag(function, "exact", exact)
    blocks = pyramid_factors(function, elements.shape, factors, levels, axes, edge)
    before: Any = array
    made: list[AnyArray] = []
    for level, block in enumerate(blocks):
        size = block
        if reduction.name in ("mode", "median") and not exact and level:
            size = tuple(a // b for a, b in zip(block, blocks[level - 1], strict=True))
        else:
            before = array
        made.append(
            block_reduce(
                before,
                size,
                func,
                edge=edge,
                nodata=nodata,
                min_valid=min_valid,
                rounding=rounding,
                dtype=dtype,
            )
        )
        before = made[-1]
    return made
