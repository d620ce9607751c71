"""From layers to ONNX models of their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike

from pooling.annotations import Sizes
from pooling.arguments import flag, names_checked
from pooling.errors import type_error, value_error
from pooling.layer import Layer
from pooling.operators import OPERATORS

from .arguments import Request, shown, speaking_as
from .backward_verification import verify_backward
from .graph_builder import Dims, GraphBuilder, OpsetError
from .layer_calls import LayerCall
from .lowering.gradients import BACKWARD_LOWERINGS
from .model import declare_inputs, layer_call_of
from .opsets import LOWEST_DEFAULT, lower_plainly
from .verification import Verification, in_this_runtime

__all__ = ["backward_model", "to_onnx_backward"]

RESULTS = ("grad_input", "grad_p")


@names_checked
def to_onnx_backward(
    pool: Layer,
    input_shape: Sequence[int | str],
    *,
    dtype: DTypeLike = np.float32,
    opset: int | None = None,
    layout: str | None = None,
    indices: str = "torch",
    output_size: Sizes | None = None,
    special_values: str = "finite",
    verify: bool = True,
) -> onnx.ModelProto:
    """Return an ONNX model that computes the gradient of a layer with respect to its input.

    Parameters
    ----------
    pool : Layer
        The layer; its `backward` says what the model computes.
    input_shape : sequence of int and str
        Shape of the input as `pool` takes it, with or without the batch, in its layout. Batch and channels
        may have names, such as ``"N"``, and are then free at run time; spatial sizes are integers.
    dtype : dtype
        Of input and gradients: float16, bfloat16 (ml_dtypes), float32 or float64.
    opset : int, optional
        Version of the ONNX operator set, as in `to_onnx`. Gradients of means and blurs are graphs from 7 on, of norms
        from 9, of maxima from 10, of unpooling from 11, of fractional pooling and pooling of regions from 16.
    layout : {"channels_first", "channels_last"}, optional
        The layout of `pool`, which decides; another is refused. For the reader of the call.
    indices : {"torch", "onnx", "onnx_column_major", "tensorflow"}
        How the indices that unpooling takes count elements; see `pooling.convert_indices`.
    output_size : int or sequence of int, optional
        The size that unpooling restores, as in the call of the layer.
    special_values : {"finite", "exact"}
        As in `to_onnx`: with ``"finite"`` the index of a maximum is found by one pooling, and what NaN in ``input``
        does is up to the runtime; with ``"exact"`` the gradient goes to the first NaN, as in `pool`, by a longer graph.
    verify : bool
        Whether to run the finished model in onnxruntime and to compare it with ``pool.backward``.

    Returns
    -------
    onnx.ModelProto
        Takes ``grad_output``, shaped like the result, and ``input``, and gives ``grad_input``, shaped like the input,
        all of type `dtype`. Unpooling takes ``indices`` as well, pooling of regions ``rois`` and ``batch_indices``, as
        their models from `to_onnx` do. The generalised mean gives ``grad_p`` too, the gradient of its exponent: one
        number of float64, summed over all maps.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or `dtype` has no gradient.
    ValueError
        If an argument has a wrong value, a window does not fit into the input, the layer has no gradient as a graph, or
        the opset lacks an operator that the gradient needs.
    VerificationError
        If the model does not run in onnxruntime, or does not give what ``pool.backward`` gives. The sentence shows the
        first element that differs.
    ModuleNotFoundError
        If `verify` is True and onnxruntime is not installed.

    Notes
    -----
    - The gradient of a maximum goes to the element that its index names, which is found again as in the graph of
      `to_onnx`: the first of equal ones, the first NaN unless NaN is ignored. A window without an element has none.
      Since opset 16 ScatterElements adds what goes to one element; before, each cell gathers from the windows that hold
      it, by tables that follow from the geometry, and keeps the gradients whose index is its own.
    - The gradient of a mean is divided as the mean is, and gathered and added up axis by axis. The model takes
      ``input`` for its shape only, and does not read it.
    - Sums of float16 and bfloat16 are made in float32 and rounded once; norms, generalised means and blurs in float64.
    - The gradient of unpooling is gathered where indices say; an element that another was written over has none.
    - Fractional pooling needs ``_random_samples``, without which the windows of the forward call are not known.
    - The number of regions is free at run time. The graph cannot refuse a box, as the layer does.

    Verification runs the model on gradients and inputs of the kinds that `to_onnx` uses. Gradients that are small
    whole numbers must come out equal for a maximum; other sums may differ by what rounding allows.

    Examples
    --------
    >>> import pooling
    >>> from pooling.export import to_onnx_backward
    >>> model = to_onnx_backward(pooling.AvgPool2d(2), ("N", 64, 112, 112))
    >>> [node.op_type for node in model.graph.node]
    ['Div', 'Gather', 'Gather']
    >>> print(model.graph.doc_string)
    Gradient of AvgPool2d(kernel_size=2): (N, 64, 56, 56), (N, 64, 112, 112) -> (N, 64, 112, 112)
    """
    with speaking_as("to_onnx_backward"):
        verify = flag("to_onnx", "verify", verify)
        arguments = (pool, input_shape, dtype, opset, layout, indices, output_size, special_values)
        model, verified = backward_model(Request.of(*arguments, gradient=True))
        if verify:
            in_this_runtime(verified)
        return model


def backward_model(request: Request) -> tuple[onnx.ModelProto, Verification]:
    """Make the model that `to_onnx_backward` returns, and what verifies it in a runtime."""
    pool, shape, number, version, indices, output_size, finite = request
    assert isinstance(pool, Layer)
    kind = type(pool).__name__
    _refuse_without_gradient(pool, kind, number)
    if output_size is not None and pool.operator != "max_unpool":
        raise value_error(
            "to_onnx", "is for unpooling only", f"leave it out for {kind}", argument=("output_size", output_size)
        )
    call = layer_call_of(f"{kind}/backward", pool, shape, number, indices, output_size)
    lower = partial(_lowered, call=call, dtype=number, shape=shape)
    try:
        graph, values = lower_plainly(version, lower, finite=finite)
    except OpsetError as error:
        # Where one thing after the other is lacking, the first opset in which nothing is.
        works = error.needs_opset and _first_opset(lower, (version or LOWEST_DEFAULT) + 1)
        raise OpsetError(error.opset, error.lacks, works or error.needs_opset) from None
    results = {name: (value, size) for name, value, size in zip(RESULTS, values, (shape, ()), strict=False)}
    output_shape = call.order.shape_of_layer(call.result)
    title = f"Gradient of {call.title}: {shown(output_shape)}, {shown(shape)} -> {shown(shape)}"
    model = graph.model(results, title)
    onnx.checker.check_model(model, full_check=True)
    return model, partial(verify_backward, model, graph, call)


def _lowered(graph: GraphBuilder, call: LayerCall, dtype: np.dtype[Any], shape: Dims) -> tuple[str, ...]:
    """Add the gradient of a layer, and name the results."""
    order = call.order
    graph.scope = call.name
    taken = (
        graph.input("grad_output", dtype, order.shape_of_layer(call.result)),
        *declare_inputs(graph, [call], dtype, shape),
    )
    ordered = tuple(order.to_channels_first(graph, each) for each in taken)
    first, *others = BACKWARD_LOWERINGS[call.layer.operator](graph, call, ordered)
    values = (order.from_channels_first(graph, first), *others)
    _prune(graph, values)
    return values


def _first_opset(lower: Callable[[GraphBuilder], object], least: int) -> int | None:
    """Find the first opset in which nothing is lacking."""
    for opset in range(least, onnx.defs.onnx_opset_version() + 1):
        with suppress(ValueError):
            lower(GraphBuilder(opset))
            return opset
    return None


def _refuse_without_gradient(pool: Layer, kind: str, dtype: np.dtype[Any]) -> None:
    operator = OPERATORS[pool.operator]
    if pool.operator not in BACKWARD_LOWERINGS:
        raise value_error("to_onnx", f"{kind} has no gradient as a graph", f"known are {', '.join(BACKWARD_LOWERINGS)}")
    if dtype.name not in operator.gradient_dtypes:
        raise type_error(
            "to_onnx", f"dtype={dtype.name} has no gradient", f"use one of {', '.join(operator.gradient_dtypes)}"
        )
    if operator.windows == "fractional" and pool.arguments["_random_samples"] is None:
        raise value_error(
            "to_onnx",
            f"_random_samples=None of {kind} leaves the windows of the forward call unknown",
            "make the layer with its samples",
        )


def _prune(graph: GraphBuilder, wanted: Sequence[str]) -> None:
    """Drop what no result needs: lowerings that give indices give the maxima as well."""
    needed = set(wanted)
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    graph.nodes[:] = reversed(kept)
    graph.constants[:] = [each for each in graph.constants if each.name in needed]
