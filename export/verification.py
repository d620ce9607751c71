"""Finished models against the layers that they come from, in onnxruntime."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import product
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from pooling.errors import refused
from pooling.families.unpooling import convert_indices
from pooling.layer import Layer
from pooling.maps import spatial_slice
from pooling.numerics.bounds import PRECISIONS, Side, final_roundings, mean_error, norm_error
from pooling.numerics.compare import differing, first_of
from pooling.numerics.inputs import boxes, elements
from pooling.onnx_models.session import LEVELS, narrowed, session, widened, with_float32_interface
from pooling.operators import FLOATS, OPERATORS
from pooling.signs import first_line

from .graph_builder import GraphBuilder
from .layer_calls import LayerCall
from .lowering.means import known_taps, working_dtype
from .lowering.windows import taps_of

__all__ = [
    "KINDS",
    "REGIONS",
    "BoundLayer",
    "Opened",
    "Session",
    "Verification",
    "VerificationError",
    "compare_placed",
    "drawn_inputs",
    "in_this_runtime",
    "is_exact",
    "refuse_difference",
    "run_model",
    "run_size",
    "terms_of",
    "verify_model",
    "with_intermediate_outputs",
]

Array = NDArray[Any]

KINDS = ("ties", "numbers", "extremes")
"""What the elements are that models are verified with."""
REGIONS = 5
"""Regions that a model is verified with."""
MORE = ((0, 0, 0), (1, 2, 3), (4, 1, 6), (11, 8, 3))
"""By how much spatial sizes that have names exceed the smallest that work: odd and even ones, larger ones."""
PLANES = 2
"""Batch and channels are cut to so many where planes are pooled apart and have no names."""


POWERS = Side("float64", extra=32, power=32)
"""How powers and roots are made, here and in graphs; a power is off by what its logarithm is."""


class VerificationError(RuntimeError):
    """A model does not run in onnxruntime, or does not give there what its layer gives.

    Parameters
    ----------
    message : str
        The sentence.
    fault : {"refused", "shape", "numbers"}
        Whether the runtime does not run the model, gives another shape or type, or other numbers.
    detail : str
        What the runtime says, gives, or by how much it is off.
    """

    def __init__(self, message: str, fault: str = "numbers", detail: str = "") -> None:
        super().__init__(message)
        self.fault = fault
        self.detail = detail


@dataclass(frozen=True)
class BoundLayer:
    """A layer in a model: the tensors that it takes and gives, in the graph's order of axes."""

    call: LayerCall
    taken: tuple[str, ...]
    given: tuple[str, ...]


Run = Callable[[dict[str, Array]], dict[str, Array]]
"""A model in a runtime: from its inputs by name to its outputs by name."""
Opened = Callable[[onnx.ModelProto], Run]
"""A runtime, which loads a model; raises VerificationError where it does not, and where it does not run it."""
Verification = Callable[[Opened], None]
"""What compares one model in a runtime with its layer; raises VerificationError where it differs."""


def in_this_runtime(verification: Verification, progress: Callable[[int, int, str], None] | None = None) -> None:
    """Verify a model in the onnxruntime that is installed, with and without its graph optimisation.

    `progress` is told how many of the levels of optimisation are done, of how many, and which comes next.

    Raises
    ------
    VerificationError
        If anything differs, or the model does not run.
    ModuleNotFoundError
        If onnxruntime is not installed.
    """
    for done, level in enumerate(LEVELS):
        if progress is not None:
            progress(done, len(LEVELS), f"verifying, {level} optimisation")
        verification(partial(Session, level=level))


def verify_model(model: onnx.ModelProto, graph: GraphBuilder, placed: Sequence[BoundLayer], runtime: Opened) -> None:
    """Run a model in a runtime, and compare what every layer makes of its input there with what it makes here.

    Raises
    ------
    VerificationError
        If anything differs, or the model does not run.
    """
    inner = {graph.final(tensor): graph.dtypes[tensor] for each in placed for tensor in (*each.taken, *each.given)}
    free = not graph.planes_are_fixed and len({each.call.order for each in placed}) == 1
    run = runtime(with_intermediate_outputs(model, inner, placed[0].call if free else None))
    if not placed:
        return
    first, dtype = placed[0].call, graph.dtypes["input"]
    for number, (kind, sizes) in enumerate(_trials([each.call for each in placed], dtype, free=free)):
        rng = np.random.default_rng([number, len(placed)])
        later = [each.call for each in placed[1:]]
        drawn = drawn_inputs(first.at(sizes), sizes, dtype, kind, rng, finite=graph.finite, later=later)
        arrays = dict(zip(graph.inputs, drawn, strict=True))
        found = arrays | run(arrays)
        for each in placed:
            compare_placed(each, [found[graph.final(tensor)] for tensor in each.taken], found, graph)
        last = placed[-1]
        for name, tensor in zip(("output", "indices"), last.given, strict=False):
            turned = last.call.order.array_of_layer(found[graph.final(tensor)])
            if found[name].tobytes() != (turned if graph.final(tensor) != name else found[name]).tobytes():
                raise refused(
                    VerificationError, "to_onnx", f"{name} is not the result of {last.call.title} in its layout"
                )


def _trials(calls: Sequence[LayerCall], dtype: np.dtype[Any], *, free: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Choose what a model is verified with: kinds of elements, and shapes in the order of the graph."""
    first = calls[0]
    if not any(call.free for call in calls):
        for number, kind in enumerate(KINDS):
            yield (
                kind,
                tuple(run_size(size, position, number, free=free) for position, size in enumerate(first.shape)),
            )
        return
    least = _smallest(calls, dtype)
    for number, (kind, more) in enumerate(product(KINDS, MORE)):
        named: dict[int | str, int] = {}
        for position, size in enumerate(first.shape):
            if isinstance(size, str) and size not in named:
                beyond = more[position - 2] if position > 1 else run_size(size, position, number % 3, free=free) - 1
                named[size] = least[size] + beyond
        if _works(calls, named, dtype):
            sizes = enumerate(first.shape)
            yield kind, tuple(named.get(size) or run_size(size, position, 0, free=free) for position, size in sizes)


def _smallest(calls: Sequence[LayerCall], dtype: np.dtype[Any]) -> dict[int | str, int]:
    """Find, by their names, the smallest sizes on which every window finds a place."""
    names = [size for size in calls[0].shape if isinstance(size, str)]
    enough = 1
    while not _works(calls, dict.fromkeys(names, enough), dtype):
        enough *= 2
    found: dict[int | str, int] = {}
    for name in names:
        others = dict.fromkeys(names, enough)
        sizes = range(1, enough + 1)
        found[name] = sizes[bisect_left(sizes, True, key=lambda size: _works(calls, others | {name: size}, dtype))]
    return found


def _works(calls: Sequence[LayerCall], named: Mapping[Any, int], dtype: np.dtype[Any]) -> bool:
    """Whether layers take inputs with these sizes."""
    order = calls[0].order
    shape = [int(named.get(size, size)) for size in order.shape_of_layer(calls[0].shape)]
    try:
        for call in calls:
            layer = call.layer
            spatial = spatial_slice(len(shape), layer.dimensions, layer.layout, function="")
            layer(np.empty([size if i in range(len(shape))[spatial] else 0 for i, size in enumerate(shape)], dtype))
            shape = list(layer.output_shape(shape))
    except ValueError:
        return False
    return True


def run_size(size: int | str, position: int, occasion: int, *, free: bool) -> int:
    """Choose the size of an axis: names change from one occasion to the next."""
    if isinstance(size, str):
        return ((2, 1, 3), (3, 2, 1))[position][occasion]
    return min(size, PLANES) if free and position < 2 else size


# ----------------------------------------------------------------------------------------------------------
# Models that show what goes on in them


def with_intermediate_outputs(
    model: onnx.ModelProto, inner: dict[str, np.dtype[Any]], free: LayerCall | None = None
) -> onnx.ModelProto:
    """Copy a model with all the named tensors among its outputs, and bfloat16 as float32.

    Parameters
    ----------
    model : onnx.ModelProto
        What to copy.
    inner : dict
        Tensors and their types.
    free : LayerCall, optional
        The first layer, if batch and channels of the copy shall be free.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    known = {each.name for each in (*graph.input, *graph.output)}
    for name, dtype in inner.items():
        if name not in known:
            graph.output.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), None))
    if free is not None:
        for value in graph.output:
            value.type.tensor_type.ClearField("shape")
        order = free.order
        for value in graph.input:
            dims = value.type.tensor_type.shape.dim
            if len(dims) == len(order.permutation):
                for axis in order.permutation[: 1 + order.batched]:
                    dims[axis].dim_param = f"free_{axis}"
    return with_float32_interface(copy)


class Session:
    """A model in onnxruntime, at a level of graph optimisation out of `LEVELS`."""

    def __init__(self, model: onnx.ModelProto, level: str = "default") -> None:
        try:
            self._session = self._tried(lambda: session(model.SerializeToString(), level=level))
        except ModuleNotFoundError:
            raise refused(
                ModuleNotFoundError,
                "to_onnx",
                "runs the model in onnxruntime, which is not installed",
                "run pip install 'ndpooling[onnx]', or use verify=False",
                argument=("verify", True),
            ) from None

    def __call__(self, arrays: dict[str, Array]) -> dict[str, Array]:
        """Run the model; bfloat16 comes and goes."""
        names = [value.name for value in self._session.get_outputs()]
        fed, narrow = widened(arrays)
        results = self._tried(lambda: self._session.run(names, fed))
        return narrowed(dict(zip(names, results, strict=True)), narrow)

    def _tried(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except ModuleNotFoundError:
            raise
        except Exception as error:  # whatever the runtime raises
            reason = first_line(error)
            raise refused(
                partial(VerificationError, fault="refused", detail=reason),
                "to_onnx",
                f"{_this_runtime()} does not run this model ({reason})",
                "use another opset or dtype, or verify=False",
            ) from error


def run_model(model: onnx.ModelProto, arrays: Sequence[Array]) -> list[Array]:
    """Run a model in onnxruntime, one of bfloat16 too.

    Parameters
    ----------
    model : onnx.ModelProto
        What `to_onnx` returned.
    arrays : sequence of ndarray
        The inputs of the model, in their order.

    Returns
    -------
    list of ndarray
        Its outputs, in their order.
    """
    names = [value.name for value in model.graph.input]
    found = Session(with_intermediate_outputs(model, {}))(dict(zip(names, arrays, strict=True)))
    return [found[value.name] for value in model.graph.output]


# ----------------------------------------------------------------------------------------------------------
# What models are verified with


def drawn_inputs(
    call: LayerCall,
    sizes: tuple[int, ...],
    dtype: np.dtype[Any],
    kind: str,
    rng: np.random.Generator,
    *,
    finite: bool,
    later: Sequence[LayerCall] = (),
) -> list[Array]:
    """Draw the inputs of a model whose first layer takes tensors of these sizes, as the layer has them.

    The layers that come `later` add up numbers, too, none of which shall overflow; nor shall infinity come about
    between layers of a graph for finite numbers.
    """
    operator, order = call.layer.operator, call.order
    added = [1 if is_exact(call.layer) else 4 * terms_of(call)]
    added += [4 * max(math.prod(sizes[2:]), terms_of(each)) for each in later if not is_exact(each.layer)]
    largest = PRECISIONS[dtype.name].largest if dtype.name in PRECISIONS else 1.0
    largest = (math.sqrt(largest) if finite and later else largest) / max(added)
    special = not finite and operator != "roi_align"
    arrays = [order.array_of_layer(elements(kind, sizes, dtype, rng, largest=largest, special=special))]
    coordinates = np.float64 if dtype == np.float64 else np.float32
    if operator == "max_unpool":
        given = (*sizes[:2], *call.sizes)
        named = rng.integers(0, math.prod(call.sizes), sizes)
        indices = convert_indices(named, given, source="torch", target=call.indices)  # type: ignore[arg-type]
        arrays.append(order.array_of_layer(indices))
    elif operator in ("max_roi_pool", "roi_align"):
        maps = rng.integers(0, max(sizes[0], 1), REGIONS if sizes[0] else 0)
        regions = boxes(sizes[2:], len(maps), rng) / float(call.arguments["spatial_scale"])
        columns = [regions, maps] if operator == "roi_align" else [np.concatenate((maps[:, None], regions), 1)]
        arrays += [columns[0].astype(coordinates), *columns[1:]]
    return [np.ascontiguousarray(array) for array in arrays]


# ----------------------------------------------------------------------------------------------------------
# What equal means


def is_exact(layer: Layer) -> bool:
    """Whether results are elements of the input."""
    return OPERATORS[layer.operator].reducer in ("greatest", "smallest", "place")


def terms_of(call: LayerCall) -> int:
    """Numbers that make one result, at most."""
    operator, arguments = call.layer.operator, call.arguments
    if operator == "roi_align":
        return 4 * max(int(arguments["sampling_ratio"]), *(size + 2 for size in call.spatial)) ** 2
    return taps_of(call.axes)


def _allowed(call: LayerCall, x: Array, expected: Array, lowered: LayerCall | None = None, *, finite: bool) -> Any:
    """Bound what rounding may change; None where nothing is rounded.

    `lowered` is the call before it had sizes, `finite` what the graph is for. Both sides add up, in whatever order,
    and each rounds once more to the type of the result; see `pooling.numerics.bounds`. A few roundings are added for
    factors and powers.
    """
    layer, dtype = call.layer, x.dtype
    if dtype.name not in FLOATS or is_exact(layer):
        return None
    n, tiny = terms_of(call), PRECISIONS[dtype.name].tiny
    last, magnitude = final_roundings(expected, n), np.abs(x.astype(np.float64))
    held = "float64" if dtype == np.float64 else "float32"
    if layer.operator in ("lp_pool", "global_lp_pool", "gem_pool"):
        p = float(layer.arguments.get("norm_type", layer.arguments.get("p", 2)))
        return last + 2 * norm_error(np.abs(expected.astype(np.float64)), n, p, POWERS)
    if layer.operator in ("blur_pool", "max_blur_pool"):
        return last + 2 * mean_error(layer(magnitude), n, Side("float64", 8))
    if layer.operator == "roi_align":
        # A coordinate of the size of a map is off by a rounding of that size, and with it the weight of a pixel.
        return last + 2 * mean_error(magnitude.max(initial=0), n, Side(held, 64 * max(call.spatial)))
    arguments = dict(layer.arguments)
    divisor = arguments.get("divisor_override")
    if divisor is not None:
        arguments["divisor_override"] = abs(divisor)
        # The mean of all taps loses what is less than the smallest number, before it is multiplied.
        last = last + n * max(1 / abs(divisor) - 1, 0) * tiny
    made = working_dtype(dtype, known_taps((lowered or call).windows), divisor, finite=finite).name
    arguments.pop("rounding", None)
    magnitude = type(layer)(**arguments)(magnitude)
    here = np.minimum(mean_error(magnitude, n, Side(held, 5)), 8 * PRECISIONS["float32"].unit * magnitude)
    return last + mean_error(magnitude, n, Side(made, 5)) + here


def compare_placed(placed: BoundLayer, taken: Sequence[Array], found: dict[str, Array], graph: GraphBuilder) -> None:
    """Compare what a layer gave in the graph with what it gives here."""
    call, layer, order = placed.call.at(taken[0].shape), placed.call.layer, placed.call.order
    convention: Any = call.indices
    keywords = {}
    if layer.operator == "max_unpool":
        restored = (*taken[0].shape[:2], *call.sizes)
        taken = [taken[0], convert_indices(taken[1], restored, source=convention, target="torch")]
        keywords = {"output_size": call.output_size}
    arrays = [order.array_of_layer(array) if array.ndim == len(call.shape) else array for array in taken]
    with np.errstate(all="ignore"):
        results = layer(*arrays, **keywords)
        expected = list(results) if isinstance(results, tuple) else [results]
        bounds = [_allowed(call, arrays[0], expected[0], placed.call, finite=graph.finite), None]
    if len(expected) == 2:
        torch = order.array_of_graph(expected[1])
        named = convert_indices(torch, taken[0].shape, source="torch", target=convention)
        expected[1] = order.array_of_layer(named)
    for name, tensor, wanted, bound in zip(("output", "indices"), placed.given, expected, bounds, strict=False):
        refuse_difference(call, name, order.array_of_layer(found[graph.final(tensor)]), wanted, bound)


def refuse_difference(call: LayerCall, name: str, given: Array, wanted: Array, bound: Array | None) -> None:
    """Raise the error that shows the first element which differs by more than the bound."""
    where = f"{call.title} in {_this_runtime()}"
    if given.dtype != wanted.dtype or given.shape != wanted.shape:
        detail = f"{name} of {given.dtype} {given.shape} instead of {wanted.dtype} {wanted.shape}"
        raise refused(
            partial(VerificationError, fault="shape", detail=detail),
            "to_onnx",
            f"{where} gives {name} of {given.dtype} {given.shape}, and pooling gives {wanted.dtype} {wanted.shape}",
        )
    rule = OPERATORS[call.layer.operator].summary.rstrip(".").lower()
    differs = differing(wanted, given, bound)
    if not differs.any():
        return
    position = first_of(differs)
    must = "they must be equal" if bound is None else f"they may differ by {bound[position]:.3g}"
    nan = call.arguments.get("nan")
    raise refused(
        partial(VerificationError, fault="numbers", detail=_largest_difference(given, wanted)),
        "to_onnx",
        f"{where} gives {given[position]} at {name}{list(position)}, and pooling gives {wanted[position]}; {must} "
        f"({rule}{f', nan={nan!r}' if nan else ''})",
        "use another opset, or verify=False to have the model as it is",
    )


def _largest_difference(given: Array, wanted: Array) -> str:
    with np.errstate(all="ignore"):
        difference = np.abs(given.astype(np.float64) - wanted.astype(np.float64))
    return f"up to {np.nanmax(difference, initial=0):.3g}" if np.isfinite(difference).all() else "NaN or infinity"


def _this_runtime() -> str:
    runtime: Any = import_module("onnxruntime")
    return f"onnxruntime {runtime.__version__}"
