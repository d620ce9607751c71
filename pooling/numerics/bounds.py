"""How far rounding may take results apart.

With u the largest relative error of one rounding, k roundings one after another have a relative error of at most
``gamma(k) = k u / (1 - k u)`` (Higham, "Accuracy and Stability of Numerical Algorithms", chapter 3). A sum of n numbers
is off by at most (n - 1) u times the sum of their magnitudes, whatever its order and however many there are (Jeannerod
and Rump, "Improved error bounds for inner products in floating-point arithmetic", 2013), and each operation besides
adds one rounding.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["PRECISIONS", "Side", "final_roundings", "gamma", "mean_error", "norm_error", "spacing"]

Numbers = NDArray[Any]


class Precision(NamedTuple):
    """What there is to know of a type of floats; NumPy does not know bfloat16."""

    bits: int
    """Significant bits."""
    exponent: int
    """Of the smallest number above zero, which is a power of 2."""

    @property
    def unit(self) -> float:
        """Largest relative error of one rounding."""
        return 2.0**-self.bits

    @property
    def tiny(self) -> float:
        """Smallest number above zero."""
        return 2.0**self.exponent

    @property
    def largest(self) -> float:
        """Largest number that is no infinity."""
        return math.ldexp(2 - 2.0 ** (1 - self.bits), 2 - self.exponent - self.bits)


PRECISIONS = {
    "float16": Precision(11, -24),
    "bfloat16": Precision(8, -133),
    "float32": Precision(24, -149),
    "float64": Precision(53, -1074),
}


POWER_ROUNDINGS = 8
"""Of a power or root: 4 units in the last place, the least that C libraries promise of ``powf``."""


class Side(NamedTuple):
    """How one of two computations rounds."""

    dtype: str
    """What it adds up in."""
    extra: int = 1
    """Roundings besides the additions: of a division, of factors, of a result that is held in another type."""
    power: int = 0
    """Roundings that a power or a root is off by; 0 for the usual."""


def gamma(roundings: ArrayLike, dtype: str) -> Numbers:
    """Bound the relative error of so many roundings one after another.

    From half of ``1 / u`` on it bounds that of a sum, to which all but a few of them belong.

    Examples
    --------
    >>> round(float(gamma(3, "float32") * 2**24), 6)
    3.000001
    """
    unit = PRECISIONS[dtype].unit
    small = np.asarray(roundings, np.float64) * unit
    bound: Numbers = np.where(small < 0.5, small / np.maximum(1 - small, 0.5), small * (1 + unit))
    return bound


def mean_error(magnitude: ArrayLike, terms: ArrayLike, side: Side) -> Numbers:
    """Bound the error of means, or of other sums of products, on one side.

    Parameters
    ----------
    magnitude : array_like
        The same of the magnitudes of all numbers, and of all factors.
    terms : array_like of int
        How many are added up.
    side : Side
        How they are.
    """
    unit = PRECISIONS[side.dtype].unit
    # One more term than there are additions makes up for what the other roundings do to their error.
    error: Numbers = (np.asarray(terms) + side.extra) * unit * (1 + unit) * np.asarray(magnitude)
    return error


def norm_error(norm: ArrayLike, terms: ArrayLike, p: float, side: Side) -> Numbers:
    """Bound the error of norms on one side: of powers, n - 1 additions, and a root, which divides it by p.

    A norm of order 1 is a sum. Without a number in `side`, powers of 1 and 2 take one rounding at most, and others
    `POWER_ROUNDINGS`.
    """
    power = side.power or (1 if p in (1, 2) else POWER_ROUNDINGS)
    if p == 1:
        return mean_error(norm, terms, side)
    summed = gamma(np.asarray(terms) - 1 + power, side.dtype) / p
    error: Numbers = np.asarray(norm) * (summed + gamma(power + 1, side.dtype))
    return error


def final_roundings(results: Numbers, terms: float, dtype: str | None = None) -> Numbers:
    """Bound what the last roundings to the type of the results take them apart, and what denormal terms lose."""
    precision = PRECISIONS[dtype or results.dtype.name]
    with np.errstate(invalid="ignore"):
        error: Numbers = 2 * precision.unit * np.abs(results.astype(np.float64)) + terms * precision.tiny
    return error


def spacing(numbers: Numbers) -> Numbers:
    """Return the distance of each number of a float dtype to the next larger one, as float64.

    Examples
    --------
    >>> import numpy as np
    >>> spacing(np.array([1, 2, 0], np.float16))
    array([9.76562500e-04, 1.95312500e-03, 5.96046448e-08])
    """
    bits, smallest = PRECISIONS[numbers.dtype.name]
    magnitude = np.abs(numbers.astype(np.float64))
    exponent = np.frexp(np.where(np.isfinite(magnitude), magnitude, 1.0))[1]
    exponent = np.where(magnitude == 0, smallest, exponent)
    distance: Numbers = np.ldexp(1.0, np.maximum(exponent - bits, smallest))
    return distance
