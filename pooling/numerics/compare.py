"""Which elements of two arrays differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["differing", "first_of"]

Numbers = NDArray[Any]


def differing(wanted: ArrayLike, found: ArrayLike, bound: ArrayLike | None = None) -> NDArray[np.bool_]:
    """Mark the elements that differ.

    Two are the same if they are equal, as zeros of either sign are, if both are NaN, or if both are finite and no
    further apart than a bound.

    Parameters
    ----------
    wanted, found : array_like
        Of one shape, or scalars; of any dtype, bfloat16 too.
    bound : array_like, optional
        What may lie between two floats; without it they have to be equal. Integers always have to be.

    Examples
    --------
    >>> import numpy as np
    >>> differing([1.0, np.nan, -0.0, np.inf, 2.0], [1.1, np.nan, 0.0, 9.0, 2.5], 0.2)
    array([False, False, False,  True,  True])
    """
    wanted, found = np.asarray(wanted), np.asarray(found)
    same = np.asarray((wanted == found) | ((wanted != wanted) & (found != found)))
    if bound is not None and wanted.dtype.kind not in "iub":
        left, right = wanted.astype(np.float64), found.astype(np.float64)
        with np.errstate(all="ignore"):
            same |= np.isfinite(left) & np.isfinite(right) & (np.abs(left - right) <= bound)
    differs: NDArray[np.bool_] = ~same
    return differs


def first_of(differs: NDArray[np.bool_]) -> tuple[int, ...]:
    """Return the place of the first element that is marked; at least one has to be."""
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(differs)), differs.shape))
