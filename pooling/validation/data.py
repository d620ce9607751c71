"""Numbers that bring out differences between poolings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DTYPES", "KINDS", "draw"]

FLOATS = ("float16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = FLOATS + INTEGERS
Generator = np.random.Generator
Numbers = NDArray[Any]
INFINITE_PLANES = 4
"""One plane in so many has infinities, so that averages over whole planes still see numbers in the others."""
INFINITE_CELLS = 64
"""One cell in so many of such a plane is infinite."""


def _normal(random: Generator, count: int, dtype: np.dtype[Any]) -> Numbers:
    return random.standard_normal(count).astype(dtype)


def _ties(random: Generator, count: int, dtype: np.dtype[Any]) -> Numbers:
    """Small whole numbers, with zeros of both signs among them."""
    whole: Numbers = random.integers(-2, 3, count).astype(dtype)
    zero = whole == 0
    whole[zero] = np.copysign(0, random.standard_normal(np.count_nonzero(zero)))
    return whole


def _denormals(random: Generator, count: int, dtype: np.dtype[Any]) -> Numbers:
    smallest = np.finfo(dtype).smallest_subnormal
    steps: Numbers = random.integers(-1000, 1001, count) * smallest
    return steps.astype(dtype)


def _wide(random: Generator, count: int, dtype: np.dtype[Any]) -> Numbers:
    """Magnitudes from 2**-60 to 1: sums of them lose digits."""
    return np.ldexp(_normal(random, count, dtype), random.integers(-60, 1, count)).astype(dtype)


def _mixed(random: Generator, count: int, dtype: np.dtype[Any]) -> Numbers:
    kinds = (_normal, _ties, _denormals, _wide)
    return np.choose(random.integers(len(kinds), size=count), [kind(random, count, dtype) for kind in kinds]).astype(
        dtype
    )


KINDS: dict[str, Callable[[Generator, int, np.dtype[Any]], Numbers]] = {
    "mixed": _mixed,
    "ties": _ties,
    "denormals": _denormals,
    "normal": _normal,
    "wide": _wide,
}
"""What planes hold, in turn. Five kinds and every fourth plane infinite: each kind meets infinities."""


def _integers(random: Generator, shape: Sequence[int], dtype: np.dtype[Any]) -> Numbers:
    info = np.iinfo(dtype)
    array = random.integers(info.min, info.max, (math.prod(shape[:2]), math.prod(shape[2:])), dtype, endpoint=True)
    ties = array[::2]
    ties[...] = random.integers(max(info.min, -2), 3, ties.shape)
    return array.reshape(shape)


def draw(
    shape: Sequence[int],
    dtype: np.dtype[Any],
    seed: int | Sequence[int] = 0,
    *,
    kinds: Sequence[str] = tuple(KINDS),
    infinities: bool = True,
) -> Numbers:
    """Draw the input of a stage: ties, negative numbers, zeros of both signs, denormals, infinities, but no NaN.

    Planes take turns in what they hold (`KINDS`), so that a window of denormals is not drowned by larger numbers. Sums
    of a window stay far from overflow. There is no NaN, since runtimes are known to disagree on it and it would hide
    everything else.

    Parameters
    ----------
    shape : sequence of int
        ``(N, C, *S)``.
    dtype : numpy.dtype
        One of `DTYPES`. Integers are ties in one plane and from the whole range in the next.
    seed : int or sequence of int
        The same seed draws the same numbers.
    kinds : sequence of str
        What planes take turns in, of `KINDS`.
    infinities : bool
        Whether there are any.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> import numpy as np
    >>> numbers = draw((1, 8, 16, 16), np.dtype(np.float32), seed=1)
    >>> numbers.shape, bool(np.isinf(numbers).any()), bool(np.isnan(numbers).any())
    ((1, 8, 16, 16), True, False)
    """
    random = np.random.default_rng(seed)
    if dtype.name == "bfloat16":  # NumPy knows no more of it than how to convert it
        return draw(shape, np.dtype(np.float32), seed, kinds=kinds, infinities=infinities).astype(dtype)
    if dtype.name in INTEGERS:
        return _integers(random, shape, dtype)
    planes, cells = math.prod(shape[:2]), math.prod(shape[2:])
    array = np.empty((planes, cells), dtype)
    for turn, kind in enumerate(kinds):
        chosen = array[turn :: len(kinds)]
        chosen[...] = KINDS[kind](random, chosen.size, dtype).reshape(chosen.shape)
    if not infinities:
        return array.reshape(shape)
    infinite = array[INFINITE_PLANES - 1 :: INFINITE_PLANES]
    where = np.flatnonzero(random.integers(INFINITE_CELLS, size=infinite.size) == 0)
    rows, columns = np.divmod(where, max(cells, 1))
    infinite[rows, columns] = np.where(random.integers(0, 2, where.size), np.inf, -np.inf)
    return array.reshape(shape)
