"""Which differences from the oracle rounding explains."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pooling.layer import Layer
from pooling.numerics.bounds import PRECISIONS, Side, gamma, mean_error, norm_error, spacing
from pooling.onnx_models import layer_from_node
from pooling.onnx_models.graph import attribute
from pooling.onnx_models.making import NodeProto

if TYPE_CHECKING:
    from .inputs.case import Case

__all__ = ["ACCURATE_SUMS", "permitted_errors"]

Numbers = NDArray[Any]
ACCURATE_SUMS = "accurate-sums"
"""The rule of which a mean of positive numbers has to be within `ACCURATE_STEPS`."""
ACCURATE_STEPS = 4
NORMS = frozenset({"LpPool", "GlobalLpPool"})
COORDINATE_ROUNDINGS = 8
"""Steps from a box to the place of a sample: scaled, less half a pixel, over the bins, over the samples, added."""


def permitted_errors(case: Case) -> Numbers | None:
    """Bound what rounding may make of the difference between a runtime's first output and the oracle's.

    The oracle is right but for one rounding; the runtime rounds as `pooling.numerics.bounds` counts it. Denormal
    results lose up to half of the smallest number besides, on each side.

    - A mean of n numbers takes n + 1 roundings, of sums of at most the mean of the absolute values. A case of the rule
      "accurate-sums" has to be within 4 units of the last place.
    - A norm of n numbers takes a power, n - 1 additions and a root.
    - A gradient is a sum over the windows that an element is in, each term of which is rounded once.
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
    if case.gradient is not None and array.dtype.name in PRECISIONS:
        return _gradient_error(node, case, array, case.gradient)
    if node.op_type in {"MaxPool", "GlobalMaxPool", "MaxUnpool", "MaxRoiPool"} or array.dtype.name not in PRECISIONS:
        return None
    opset = case.opset
    layer = layer_from_node(node, opset, array.shape)
    magnitude = np.abs(array.astype(np.float64))
    with np.errstate(all="ignore"):
        bound: Numbers = PRECISIONS[array.dtype.name].tiny + _error(node, layer, case, magnitude)
    return bound


def _error(node: NodeProto, layer: Layer, case: Case, magnitude: Numbers) -> Numbers:
    """Bound the error of results that are not denormal."""
    dtype = case.inputs[node.input[0]].dtype
    if node.op_type == "RoiAlign":
        return _interpolation_error(node, layer, case, magnitude, dtype.name)
    largest: Numbers = np.asarray(layer(magnitude))
    if ACCURATE_SUMS in case.rules and node.op_type not in NORMS:
        return ACCURATE_STEPS * spacing(largest.astype(dtype))
    taps = _taps(layer, magnitude.shape)
    if node.op_type in NORMS:
        return norm_error(largest, taps, attribute(node, "p", 2), Side(dtype.name))
    return mean_error(largest, taps, Side(dtype.name)) + PRECISIONS[dtype.name].unit * largest


def _gradient_error(node: NodeProto, case: Case, array: Numbers, gradient: Numbers) -> Numbers:
    """Bound the error of a gradient: of so many terms, of the magnitudes that come together."""
    layer = layer_from_node(node, case.opset, array.shape)
    dtype = array.dtype.name
    magnitude: Numbers = np.asarray(layer.backward(np.abs(gradient.astype(np.float64)), array.astype(np.float64)))
    # No element is in more windows than a window has elements.
    terms = float(_taps(layer, array.shape).max(initial=1))
    return PRECISIONS[dtype].tiny + gamma(terms + 2, dtype) * magnitude


def _taps(layer: Layer, shape: tuple[int, ...]) -> Numbers:
    """Count the elements of each window."""
    counts = [axis.windows(np.arange(axis.output_size)).count for axis in layer.axes(shape)]
    product: Numbers = reduce(np.multiply.outer, counts)
    return product


def _interpolation_error(node: NodeProto, layer: Layer, case: Case, magnitude: Numbers, dtype: str) -> Numbers:
    boxes, planes = case.inputs[node.input[1]], case.inputs[node.input[2]]
    reach = max(*magnitude.shape[2:], float(np.abs(boxes).max(initial=0)) * attribute(node, "spatial_scale", 1.0))
    place = COORDINATE_ROUNDINGS * reach * PRECISIONS[dtype].unit
    ratio = attribute(node, "sampling_ratio", 0)
    rows, columns = np.broadcast_to(layer.arguments["output_size"], 2).tolist()
    # Samples per bin: as told, or one for each pixel that the bin is high and wide.
    high, wide = (ratio or np.ceil(reach / bins) for bins in (rows, columns))
    summed = gamma(4 * high * wide + 4, dtype)
    largest = np.max(magnitude, axis=(2, 3), initial=0, where=np.isfinite(magnitude))[planes]
    # Each of the two weights of a tap moves by as much as the place does, and there are four taps.
    error: Numbers = (largest * (8 * place + summed))[:, :, None, None] * np.ones((rows, columns))
    return error
