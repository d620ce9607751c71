"""Which differences between two results of one pooling are explained by rounding, and which are not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from pooling.calls import EXACT_ROUNDINGS
from pooling.export import layer_from_node
from pooling.layers import Layer

if TYPE_CHECKING:
    from .cases import Case

__all__ = ["Comparison", "compare", "error_bound", "onnx_indices", "permitted_errors", "spacing"]

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


# ---------------------------------------------------------------------------------------------------------------------
# What a single side may make of rounding

DIGITS = {"float16": (11, -24), "bfloat16": (8, -133), "float32": (24, -149), "float64": (53, -1074)}
"""Significant bits, and the exponent of the smallest number; NumPy does not know bfloat16."""
ACCURATE_SUMS = "accurate-sums"
"""The rule of which a mean of positive numbers has to be within `ACCURATE_STEPS`."""
ACCURATE_STEPS = 4
POWER_ROUNDINGS = 8
"""Of a power or root: 4 units in the last place, the least that C libraries promise of ``powf``."""
COORDINATE_ROUNDINGS = 8
"""Steps from a box to the place of a sample: scaled, less half a pixel, over the bins, over the samples, added."""


def spacing(numbers: Numbers) -> Numbers:
    """Return the distance of each number of a float dtype to the next larger one, as float64.

    Examples
    --------
    >>> import numpy as np
    >>> spacing(np.array([1, 2, 0], np.float16))
    array([9.76562500e-04, 1.95312500e-03, 5.96046448e-08])
    """
    bits, smallest = DIGITS[numbers.dtype.name]
    magnitude = np.abs(numbers.astype(np.float64))
    exponent = np.frexp(np.where(np.isfinite(magnitude), magnitude, 1.0))[1]
    exponent = np.where(magnitude == 0, smallest, exponent)
    distance: Numbers = np.ldexp(1.0, np.maximum(exponent - bits, smallest))
    return distance


def permitted_errors(case: Case) -> Numbers | None:
    """Bound what rounding may make of the difference between a runtime's first output and the oracle's.

    The oracle is right but for one rounding. With u half of the dtype's epsilon, k roundings one after another have a
    relative error of at most ``gamma(k) = k u / (1 - k u)`` (Higham, "Accuracy and Stability of Numerical Algorithms",
    chapter 3), and denormal results lose up to half of the smallest number besides, on each side.

    - A mean of n numbers takes n + 1 roundings, of sums of at most the mean of the absolute values. Where n u is no
      small number, the error of a sum in any order is at most n u times that (Jeannerod and Rump, 2013). A case of the
      rule "accurate-sums" has to be within 4 units of the last place.
    - A norm of n numbers takes a power, n - 1 additions and a root; the root divides by p the relative error that it
      finds. A power of 1 or 2 takes one rounding at most, others `POWER_ROUNDINGS`.
    - RoiAlign samples at places that are wrong by up to `COORDINATE_ROUNDINGS` roundings of numbers as large as the
      map, which weigh the largest of its elements; the samples are averaged.

    Parameters
    ----------
    case : Case
        A node, and what goes in.

    Returns
    -------
    ndarray of float64, or None
        For each element of the first output; None where elements are selected and have to be equal.
    """
    node = case.model.graph.node[0]
    array = case.inputs[node.input[0]]
    if node.op_type in {"MaxPool", "GlobalMaxPool", "MaxUnpool", "MaxRoiPool"} or array.dtype.name not in DIGITS:
        return None
    opset = next(entry.version for entry in case.model.opset_import if entry.domain in ("", "ai.onnx"))
    layer = layer_from_node(node, opset, array.shape)
    bits, smallest = DIGITS[array.dtype.name]
    unit = 2.0**-bits
    magnitude = np.abs(array.astype(np.float64))
    last: Numbers = np.asarray(2.0**smallest)
    with np.errstate(all="ignore"):
        if node.op_type == "RoiAlign":
            return last + _interpolation_error(node, layer, case, magnitude, unit)
        largest = np.asarray(layer(magnitude))
        taps = _taps(layer, array.shape)
        if node.op_type in {"LpPool", "GlobalLpPool"}:
            p = _attribute(node, "p", 2)
            power = 1 if p in (1, 2) else POWER_ROUNDINGS
            return last + largest * (_gamma(taps - 1 + power, unit) / p + _gamma(np.asarray(power + 1), unit))
        if ACCURATE_SUMS in case.rules:
            return last + ACCURATE_STEPS * spacing(largest.astype(array.dtype))
        return last + largest * (_gamma(taps + 1, unit) + unit)


def _gamma(roundings: Numbers, unit: float) -> Numbers:
    small = roundings * unit
    bound: Numbers = np.where(small < 0.5, small / np.maximum(1 - small, 0.5), small * (1 + unit))
    return bound


def _taps(layer: Layer, shape: tuple[int, ...]) -> Numbers:
    """Count the elements of each window."""
    counts = [axis.windows(np.arange(axis.output_size)).count for axis in layer.axes(shape)]
    product: Numbers = reduce(np.multiply.outer, counts)
    return product


def _attribute(node: onnx.NodeProto, name: str, default: float) -> float:
    found = next((entry for entry in node.attribute if entry.name == name), None)
    return default if found is None else float(onnx.helper.get_attribute_value(found))


def _interpolation_error(node: onnx.NodeProto, layer: Layer, case: Case, magnitude: Numbers, unit: float) -> Numbers:
    boxes, planes = case.inputs[node.input[1]], case.inputs[node.input[2]]
    reach = max(*magnitude.shape[2:], float(np.abs(boxes).max(initial=0)) * _attribute(node, "spatial_scale", 1.0))
    place = COORDINATE_ROUNDINGS * reach * unit
    ratio = _attribute(node, "sampling_ratio", 0)
    rows, columns = np.broadcast_to(layer.arguments["output_size"], 2).tolist()
    # Samples per bin: as told, or one for each pixel that the bin is high and wide.
    high, wide = (ratio or np.ceil(reach / bins) for bins in (rows, columns))
    summed = _gamma(np.asarray(4 * high * wide + 4), unit)
    largest = np.max(magnitude, axis=(2, 3), initial=0, where=np.isfinite(magnitude))[planes]
    # Each of the two weights of a tap moves by as much as the place does, and there are four taps.
    error: Numbers = (largest * (8 * place + summed))[:, :, None, None] * np.ones((rows, columns))
    return error
