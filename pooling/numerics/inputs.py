"""Numbers that bring out differences between poolings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bounds import PRECISIONS

__all__ = ["DTYPES", "KINDS", "boxes", "draw", "dtype_named", "elements", "with_special_values"]

FLOATS = ("float16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = FLOATS + INTEGERS
Generator = np.random.Generator
Numbers = NDArray[Any]
INFINITE_PLANES = 4
"""One plane in so many has infinities, so that averages over whole planes still see numbers in the others."""
INFINITE_CELLS = 64
"""One cell in so many of such a plane is infinite."""


def dtype_named(name: str) -> np.dtype[Any]:
    """Return a dtype by its name, bfloat16 too, which NumPy knows once ml_dtypes is imported."""
    if name == "bfloat16":
        import_module("ml_dtypes")
    return np.dtype(name)


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


def _integers(random: Generator, shape: Sequence[int], dtype: np.dtype[Any], *, small: bool) -> Numbers:
    info = np.iinfo(dtype)
    if small:
        return random.integers(max(info.min, -2), 3, shape, dtype)
    array = random.integers(info.min, info.max, (math.prod(shape[:2]), math.prod(shape[2:])), dtype, endpoint=True)
    ties = array[::2]
    ties[...] = random.integers(max(info.min, -2), 3, ties.shape)
    return array.reshape(shape)


def draw(
    shape: Sequence[int],
    dtype: np.dtype[Any],
    seed: int | Sequence[int] | Generator = 0,
    *,
    kinds: Sequence[str] = tuple(KINDS),
    infinities: bool = True,
    small_integers: bool = False,
) -> Numbers:
    """Draw an input: ties, negative numbers, zeros of both signs, denormals, infinities, but no NaN.

    Planes take turns in what they hold (`KINDS`), so that a window of denormals is not drowned by larger numbers. Sums
    of a window stay far from overflow. There is no NaN, since runtimes are known to disagree on it and it would hide
    everything else.

    Parameters
    ----------
    shape : sequence of int
        ``(N, C, *S)``, or any other.
    dtype : numpy.dtype
        Integers are ties in one plane and from the whole range in the next. What is neither in `DTYPES` nor bfloat16 or
        bool holds what float64 would.
    seed : int, sequence of int or numpy.random.Generator
        The same seed draws the same numbers.
    kinds : sequence of str
        What planes take turns in, of `KINDS`.
    infinities : bool
        Whether there are any.
    small_integers : bool
        Whether integers are ties in all planes, as for models in which they may be counts and places.

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
    if dtype == np.bool_:
        return random.integers(0, 2, shape).astype(bool)
    if dtype.name in INTEGERS:
        return _integers(random, shape, dtype, small=small_integers)
    if dtype.name not in FLOATS:  # NumPy knows no more of bfloat16 than how to convert it
        held = np.dtype(np.float32 if dtype.name == "bfloat16" else np.float64)
        return draw(shape, held, random, kinds=kinds, infinities=infinities).astype(dtype)
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


def elements(
    kind: str, shape: Sequence[int], dtype: np.dtype[Any], random: Generator, *, largest: float, special: bool
) -> Numbers:
    """Draw all elements of one kind, so that each kind may have rules of its own.

    Parameters
    ----------
    kind : {"ties", "numbers", "extremes"}
        Small whole numbers, with zeros of both signs; numbers, and special ones among them; the largest and smallest
        that there are, and planes of nothing but the least.
    shape : sequence of int
        ``(N, C, *S)``.
    dtype : numpy.dtype
        Of whatever is pooled.
    random : numpy.random.Generator
        What they are drawn by.
    largest : float
        No float but an infinity lies beyond it, so that what adds up so many does not overflow.
    special : bool
        Whether there are NaN and infinities among floats.
    """
    if dtype == np.bool_:
        return random.random(shape) < 0.3
    ties = random.integers(0 if dtype.kind == "u" else -3, 4, shape)
    if dtype.name not in PRECISIONS:
        limits = np.iinfo(dtype)
        wide = random.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
        ends = np.array([limits.min, limits.max, limits.max - 1, 0], dtype)
        extremes = random.choice(ends, shape)
        extremes[:, 1:2] = limits.min
        return {"ties": ties.astype(dtype), "numbers": wide, "extremes": extremes}[kind]
    if kind == "ties":
        return np.where(random.random(shape) < 0.5, np.copysign(ties, random.normal(size=shape)), -0.0).astype(dtype)
    if kind == "numbers":
        x = random.normal(size=shape)
        rare = np.array([np.nan, np.inf, -np.inf] if special else [0.0])
        return np.where(random.random(shape) < 0.06, random.choice(rare, shape), x).astype(dtype)
    far = np.array([-largest, largest, -largest / 2, PRECISIONS[dtype.name].tiny, 0.0, -0.0, 1.0])
    x = random.choice(far, shape)
    # Windows of nothing but the least element, from which somebody may start.
    least = [-np.inf, -largest, np.nan] if special else [-largest, -largest, 0.0]
    if special:
        x = np.where(random.random(shape) < 0.1, random.choice(np.array([np.nan, np.inf, -np.inf]), shape), x)
    x[:, :1] = random.choice(np.array(least), shape, p=[0.8, 0.1, 0.1])[:, :1]
    x[:, 1:2] = -largest
    return x.astype(dtype)


def boxes(spatial: Sequence[int], count: int, random: Generator) -> Numbers:
    """Draw boxes x1, y1, x2, y2 that meet their map; some go beyond it, some are small."""
    ends = []
    for size in reversed(spatial):
        low = random.integers(-4, 4 * size - 2, count) / 4
        ends.append((low, np.maximum(low, 0) + random.integers(0, 4 * size + 4, count) / 4))
    return np.stack([ends[0][0], ends[1][0], ends[0][1], ends[1][1]], 1)


def with_special_values(array: Numbers, seed: int) -> Numbers:
    """Put NaN, infinities, zeros of both signs and extreme numbers in: single ones, and planes that fill windows."""
    result, random = array.copy(), np.random.default_rng([seed, 1, *array.shape])
    largest = PRECISIONS[array.dtype.name].largest
    rare = np.array([np.nan, -np.inf, np.inf, -0.0, 0.0, -largest, largest]).astype(array.dtype)
    single = random.random(array.shape) < 0.3
    result[single] = rare[random.integers(0, len(rare), int(single.sum()))]
    planes = result.reshape(-1, *array.shape[2:])
    for number, plane in enumerate(planes):
        if number % 3 == 1 or len(planes) < 3:  # windows of nothing but -inf, of the least number, of NaN and -inf
            cells = random.random(plane.shape)
            plane[cells < 0.9] = rare[[1, 5][(number + seed) % 2]]
            plane[cells < 0.04] = rare[0]
        elif number % 3 == 2:
            plane[...] = rare[[0, 1][(number + seed) % 2]]
    return planes.reshape(array.shape)
