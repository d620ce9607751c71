"""Models of gradients against the layers that they come from, in onnxruntime."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from pooling.families.norms import gem_pool2d_backward
from pooling.families.unpooling import convert_indices
from pooling.numerics.bounds import PRECISIONS, Side, final_roundings, gamma, mean_error
from pooling.numerics.inputs import elements
from pooling.operators import OPERATORS

from .graph_builder import GraphBuilder
from .layer_calls import LayerCall
from .lowering.inverse_windows import covering_windows
from .lowering.means import working_dtype
from .lowering.windows import taps_of
from .verification import (
    KINDS,
    REGIONS,
    Opened,
    drawn_inputs,
    is_exact,
    refuse_difference,
    run_size,
    terms_of,
    with_intermediate_outputs,
)

__all__ = ["verify_backward"]

Array = NDArray[Any]


def verify_backward(model: onnx.ModelProto, graph: GraphBuilder, call: LayerCall, runtime: Opened) -> None:
    """Run a model in a runtime, and compare it with the gradient of its layer.

    Raises
    ------
    VerificationError
        If anything differs, or the model does not run.
    """
    regions = OPERATORS[call.layer.operator].windows == "regions"
    free = not graph.planes_are_fixed and not regions
    run = runtime(with_intermediate_outputs(model, {}, call if free else None))
    for number, kind in enumerate(KINDS):
        sizes = tuple(run_size(size, position, number, free=free) for position, size in enumerate(call.shape))
        rng = np.random.default_rng([number, 1])
        dtype = graph.dtypes["input"]
        others = drawn_inputs(call, sizes, dtype, kind, rng, finite=graph.finite)
        batch = len(others[1]) if regions else sizes[0]
        # Sums of the largest of them do not overflow.
        share = 4 * _roundings(call) * max(1, 1 / abs(call.arguments.get("divisor_override") or 1))
        largest, special = PRECISIONS[dtype.name].largest / share, kind == "numbers"
        shape = (batch, sizes[1], *call.sizes)
        gradient = elements(kind, shape, dtype, rng, largest=largest, special=special)
        arrays = [np.ascontiguousarray(call.order.array_of_layer(gradient)), *others]
        found = run(dict(zip(graph.inputs, arrays, strict=True)))
        with np.errstate(all="ignore"):
            expected = _expected(call, arrays)
            bounds = _allowed(call, arrays, expected, kind, finite=graph.finite)
        for (name, wanted), bound in zip(expected.items(), bounds, strict=True):
            refuse_difference(call, name, found[name], wanted, bound)


def _expected(call: LayerCall, arrays: list[Array]) -> dict[str, Array]:
    """Compute here what the model gives."""
    layer: Any = call.layer
    if layer.operator == "gem_pool":
        gradient, exponent = gem_pool2d_backward(arrays[0], arrays[1], **call.arguments)
        return {"grad_input": gradient, "grad_p": np.asarray(exponent)}
    if layer.operator != "max_unpool":
        return {"grad_input": layer.backward(*arrays)}
    gradient, x, indices = arrays
    order = call.order
    named = order.array_of_graph(indices)
    restored = (*named.shape[:2], *call.sizes)
    convention: Any = call.indices
    torch = order.array_of_layer(convert_indices(named, restored, source=convention, target="torch"))
    return {"grad_input": layer.backward(gradient, x, torch, output_size=call.output_size)}


# ----------------------------------------------------------------------------------------------------------
# What equal means


def _roundings(call: LayerCall) -> int:
    """Bound the gradients that are added up in one cell."""
    match call.layer.operator:
        case "max_unpool":
            return 1
        case "fractional_max_pool":
            return math.prod(call.sizes)
        case "max_roi_pool" | "roi_align":
            return REGIONS * math.prod(call.sizes) * (1 if is_exact(call.layer) else terms_of(call))
        case "blur_pool" | "max_blur_pool":
            # A tap outside stands for a cell that other taps may stand for as well.
            of_maxima = math.prod(np.broadcast_to(call.arguments["kernel_size"], 2).tolist())
            taps = max(np.broadcast_to(call.arguments.get("blur_kernel_size", 1), 2).max(), of_maxima)
            return int(2 * of_maxima * taps * (taps + 2))
        case _:
            return math.prod(covering_windows(axis).shape[1] for axis in call.axes)


def _allowed(
    call: LayerCall, arrays: list[Array], expected: dict[str, Array], kind: str, *, finite: bool
) -> list[Array | None]:
    """Bound what rounding may change; None where nothing is rounded.

    Both sides add up, in whatever order, and each rounds once more to the type of the result; see
    `pooling.numerics.bounds`.
    """
    layer, dtype, n = call.layer, arrays[0].dtype, _roundings(call)
    if is_exact(layer) and (kind == "ties" or n == 1):
        return [None]
    last = final_roundings(expected["grad_input"], 2 * n)
    doubles = [each.astype(np.float64) for each in arrays[:2]]
    doubles[0] = np.abs(doubles[0])
    if layer.operator in ("lp_pool", "global_lp_pool", "gem_pool"):
        doubles[1] = doubles[1] if layer.operator == "gem_pool" else np.abs(doubles[1])
        p = float(call.arguments.get("norm_type", call.arguments.get("p", 2)))
        steep = 1.0 if math.isinf(p) else max(1, 1 / p) * (1 + abs(p - 1))
        error = 2 * gamma((taps_of(call.axes) + 64) * steep + n, "float64")
        if layer.operator != "gem_pool":
            return [last + error * layer.backward(*doubles)]
        magnitude, _ = gem_pool2d_backward(doubles[0], doubles[1], **call.arguments)
        # With ratios r to the mean, r^p adds up to their number, and |log r| is 745 at most in float64.
        size = float(layer(doubles[1]).max(initial=0)) * float(doubles[0].sum())
        return [last + error * magnitude, np.asarray(error * 745 * size / p)]
    if layer.operator in ("blur_pool", "max_blur_pool"):
        return [last + 2 * mean_error(layer.backward(*doubles), n, Side("float64", 8))]
    if layer.operator == "roi_align":
        working = "float32" if dtype.itemsize == 2 else "float64"
        return [last + 2 * mean_error(layer.backward(*doubles, *arrays[2:]), n, Side(working, 8))]
    arguments = dict(call.arguments)
    if arguments.get("divisor_override") is not None:
        arguments["divisor_override"] = abs(arguments["divisor_override"])
    held = "float64" if dtype == np.float64 else "float32"
    made = working_dtype(dtype, n, finite=finite).name if "avg" in layer.operator else held
    magnitude = type(layer)(**arguments).backward(*doubles, *arrays[2:])
    return [last + mean_error(magnitude, n, Side(made, 3)) + mean_error(magnitude, n, Side(held, 3))]
