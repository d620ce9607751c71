"""Which differences from the oracle rounding explains."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pooling.layer import Layer
from pooling.onnx_models import layer_from_node
from pooling.onnx_models.graph import attribute
from pooling.onnx_models.making import NodeProto

if TYPE_CHECKING:
    from .inputs.case import Case

__all__ = ["ACCURATE_SUMS", "DIGITS", "permitted_errors", "spacing"]

Numbers = NDArray[Any]
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
    opset = case.opset
    layer = layer_from_node(node, opset, array.shape)
    bits, smallest = DIGITS[array.dtype.name]
    unit = 2.0**-bits
    magnitude = np.abs(array.astype(np.float64))
    last: Numbers = np.asarray(2.0**smallest)
    with np.errstate(all="ignore"):
        error = _error(node, layer, case, magnitude, unit)
    bound: Numbers = last + error
    return bound


def _error(node: NodeProto, layer: Layer, case: Case, magnitude: Numbers, unit: float) -> Numbers:
    """Bound the error of results that are not denormal."""
    if node.op_type == "RoiAlign":
        return _interpolation_error(node, layer, case, magnitude, unit)
    largest: Numbers = np.asarray(layer(magnitude))
    taps = _taps(layer, magnitude.shape)
    if node.op_type in {"LpPool", "GlobalLpPool"}:
        p = attribute(node, "p", 2)
        power = 1 if p in (1, 2) else POWER_ROUNDINGS
        largest *= _gamma(taps - 1 + power, unit) / p + _gamma(np.asarray(power + 1), unit)
    elif ACCURATE_SUMS in case.rules:
        largest = ACCURATE_STEPS * spacing(largest.astype(case.inputs[node.input[0]].dtype))
    else:
        largest *= _gamma(taps + 1, unit) + unit
    return largest


def _gamma(roundings: Numbers, unit: float) -> Numbers:
    small = roundings * unit
    bound: Numbers = np.where(small < 0.5, small / np.maximum(1 - small, 0.5), small * (1 + unit))
    return bound


def _taps(layer: Layer, shape: tuple[int, ...]) -> Numbers:
    """Count the elements of each window."""
    counts = [axis.windows(np.arange(axis.output_size)).count for axis in layer.axes(shape)]
    product: Numbers = reduce(np.multiply.outer, counts)
    return product


def _interpolation_error(node: NodeProto, layer: Layer, case: Case, magnitude: Numbers, unit: float) -> Numbers:
    boxes, planes = case.inputs[node.input[1]], case.inputs[node.input[2]]
    reach = max(*magnitude.shape[2:], float(np.abs(boxes).max(initial=0)) * attribute(node, "spatial_scale", 1.0))
    place = COORDINATE_ROUNDINGS * reach * unit
    ratio = attribute(node, "sampling_ratio", 0)
    rows, columns = np.broadcast_to(layer.arguments["output_size"], 2).tolist()
    # Samples per bin: as told, or one for each pixel that the bin is high and wide.
    high, wide = (ratio or np.ceil(reach / bins) for bins in (rows, columns))
    summed = _gamma(np.asarray(4 * high * wide + 4), unit)
    largest = np.max(magnitude, axis=(2, 3), initial=0, where=np.isfinite(magnitude))[planes]
    # Each of the two weights of a tap moves by as much as the place does, and there are four taps.
    error: Numbers = (largest * (8 * place + summed))[:, :, None, None] * np.ones((rows, columns))
    return error
