"""Which differences between two results of one pooling are explained by rounding, and which are not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.calls import EXACT_ROUNDINGS
from pooling.layers import Layer

__all__ = ["Comparison", "compare", "error_bound", "onnx_indices"]

Numbers = NDArray[Any]
DENORMAL_STEPS = 4
"""Bounds of so few steps between denormal numbers are either reached or not touched at all."""


@dataclass(frozen=True)
class Comparison:
    """How two results differ.

    Attributes
    ----------
    elements : int
        Compared.
    unexplained : int
        Elements whose difference no rounding explains: for a maximum, all that are not equal (zeros of either sign
        are); for an average, those beyond the error bound, and infinities or NaN that the other side does not have.
    largest_difference : float
        Largest absolute difference, ``inf`` where only one side is finite.
    share_of_bound : float or None
        Of an average, the largest difference in units of what rounding may cause at that element, where this is more
        than a few steps of the denormal numbers; of a maximum, None.
    finding : str or None
        What is wrong, as a sentence's end; None where the two agree.
    """

    elements: int
    unexplained: int
    largest_difference: float
    share_of_bound: float | None
    finding: str | None

    @property
    def agrees(self) -> bool:
        """Whether rounding explains every difference."""
        return self.finding is None


def compare(ours: Numbers, theirs: Numbers, bound: Numbers | None = None, *, what: str = "elements") -> Comparison:
    """Compare our result with another.

    Parameters
    ----------
    ours, theirs : ndarray
        The results.
    bound : ndarray, optional
        The difference that rounding may cause, for each element (`error_bound`); zero when not given.
    what : str
        Names the elements in the finding.

    Returns
    -------
    Comparison

    Examples
    --------
    >>> import numpy as np
    >>> compare(np.array([1.0, 2.0]), np.array([1.0, 2.5])).finding
    '1 of 2 elements differs: pooling gives 2.0 and onnxruntime 2.5 at (1,)'
    """
    if ours.shape != theirs.shape:
        return Comparison(
            0,
            0,
            np.inf,
            None,
            f"the result has shape {theirs.shape} in onnxruntime and {ours.shape} in pooling",
        )
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    difference = np.zeros(ours.shape)
    with np.errstate(invalid="ignore"):
        np.abs(ours.astype(float) - theirs.astype(float), out=difference, where=~same)
    finite = np.isfinite(ours) & np.isfinite(theirs)
    difference[~same & ~finite] = np.inf
    share = None
    wrong = ~same
    if bound is not None:
        wrong &= ~finite | (difference > bound)
        weighed = finite & (bound > DENORMAL_STEPS * np.finfo(ours.dtype).smallest_subnormal)
        share = float((difference[weighed] / bound[weighed]).max(initial=0.0))
    unexplained = int(np.count_nonzero(wrong))
    finding = None
    if unexplained:
        where = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
        finding = (
            f"{unexplained} of {ours.size} {what} {'differs' if unexplained == 1 else 'differ'}: "
            f"pooling gives {ours[where]} and onnxruntime {theirs[where]} at {where}"
        )
    return Comparison(ours.size, unexplained, float(difference.max(initial=0.0)), share, finding)


def error_bound(layer: Layer, array: Numbers) -> Numbers:
    """Bound what rounding may make of the difference between two averages of the same window.

    A sum of n numbers in any order, divided by a number or multiplied by its rounded reciprocal, takes n + 1 roundings,
    each of relative size at most u (half of the dtype's epsilon). The error is then at most ``gamma(n + 1)`` times the
    mean of the absolute values, with ``gamma(k) = k u / (1 - k u)`` (Higham, "Accuracy and Stability of Numerical
    Algorithms", chapters 3 and 4). The kernels here promise fewer roundings for float32 (`EXACT_ROUNDINGS`). A result
    that is denormal loses up to half of the smallest denormal besides, on each side.

    Parameters
    ----------
    layer : Layer
        An average pooling.
    array : ndarray
        Its input, ``(N, C, *S)`` of float32 or float64.

    Returns
    -------
    ndarray of float64
        Our bound plus the other side's, for each element of the result.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> bound = error_bound(pooling.AvgPool1d(4), np.ones((1, 1, 8), np.float32))
    >>> (bound / np.finfo(np.float32).eps).round(3)
    array([[[5., 5.]]])
    """
    info = np.finfo(array.dtype)
    unit = float(info.eps) / 2
    magnitude = np.asarray(layer(np.abs(array, dtype=np.float64)))
    counts = [axis.windows(np.arange(axis.output_size)).count for axis in layer.axes(array.shape)]
    roundings = reduce(np.multiply.outer, counts) + 1
    ours = np.minimum(roundings, EXACT_ROUNDINGS) if array.dtype == np.float32 else roundings
    gamma = sum(count * unit / (1 - count * unit) for count in (ours, roundings))
    bound: Numbers = magnitude * gamma + float(info.smallest_subnormal)
    return bound


def onnx_indices(indices: NDArray[np.int64], input_shape: tuple[int, ...], storage_order: int) -> NDArray[np.int64]:
    """Turn indices into a plane into ONNX's, which count over the whole input.

    Parameters
    ----------
    indices : ndarray of int64
        ``(N, C, *O)``, flat in the row-major plane; -1 stays.
    input_shape : tuple of int
        ``(N, C, *S)``.
    storage_order : int
        1 counts the cells of a plane in column-major order.

    Returns
    -------
    ndarray of int64

    Examples
    --------
    >>> import numpy as np
    >>> onnx_indices(np.array([[[[5]], [[5]]]]), (1, 2, 4, 4), 0).ravel()
    array([ 5, 21])
    """
    batch, channels, *spatial = input_shape
    plane = int(np.prod(spatial))
    first = plane * np.arange(batch * channels).reshape(batch, channels, *[1] * len(spatial))
    if storage_order:
        cells = np.unravel_index(np.maximum(indices, 0), spatial)
        counted = np.ravel_multi_index(cells, tuple(spatial), order="F")
    else:
        counted = indices
    return np.where(indices < 0, -1, counted + first)
