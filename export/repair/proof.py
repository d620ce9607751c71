"""Whether a repaired model still computes what it computed: node by node, and as a whole, in onnxruntime."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from pooling.errors import refused, without
from pooling.numerics.bounds import Side, final_roundings, mean_error, norm_error
from pooling.numerics.compare import differing, first_of
from pooling.numerics.inputs import draw, with_special_values
from pooling.onnx_models import function_from_node
from pooling.onnx_models.nodes import WINDOWED
from pooling.onnx_models.session import session
from pooling.onnx_models.shapes import TensorType
from pooling.signs import first_line

from ..verification import VerificationError
from .rewrites import Rewrite

__all__ = [
    "ModelsDiffer",
    "NotVerifiedError",
    "RunTooLongError",
    "compare_models",
    "how_it_runs",
    "prove_rewrite",
    "same_shapes_in_runs",
]

Array = NDArray[Any]
Misfit = Callable[[onnx.ModelProto, Mapping[str, Sequence[int]]], str]
"""Says which pooling breaks a rule of ONNX when a model has inputs of some shapes."""
FUNCTION = "make_portable"
MANY_PLANES = 3
"""Channels and batches of which planes are compared; what is done to one is done to all."""
TRIALS = ((2, 3, (0, 1, 2)), (1, 2, (1, 0, 3)), (3, 1, (2, 3, 1)))
"""Batch, channels, and cells added to the smallest spatial sizes, for what is not known."""
USUAL_SIZES = ((2, 32), (1, 47), (2, 224), (1, 299))
"""Batch and every other size, for models with sizes that have names only."""
LONGEST_RUN = 60.0
"""Seconds after which a run is given up; those in which this process was stopped or got no processor do not count."""
MOST_ELEMENTS = 2**26
"""Elements of an array for which a rewrite is proven by itself; a few bytes of a model may ask for any number."""
MOST_DRAWN = 2**28
"""Elements of an input with which a whole model is run."""
ROUNDINGS = 5
"""Roundings of a mean besides one for each tap, as graphs of exports have them."""


OPTIMISED = " where onnxruntime optimises the model"
NO_NUMBERS = "its inputs are no tensors of numbers"
"""Why nothing was tried."""
LEVELS = ("disabled", "default")
"""Levels of graph optimisation at which a model has to be right: as its nodes say, and as it is loaded by default."""


class NotVerifiedError(Exception):
    """Why something could not be compared, in a part of a sentence.

    Attributes
    ----------
    loads : bool
        Whether the model was at least loaded.
    """

    def __init__(self, reason: str, *, loads: bool = False) -> None:
        super().__init__(reason)
        self.loads = loads


class RunTooLongError(NotVerifiedError):
    """A run takes too long; other inputs would be no faster, and nobody waits for each."""


class ModelsDiffer(VerificationError):
    """A repaired model gives something else than its original."""


def _session(model: onnx.ModelProto, folder: Path | None = None, level: str = LEVELS[0]) -> Any:
    """Load a model in onnxruntime; at the level ``disabled`` it rewrites nothing itself."""
    try:
        return session(model.SerializeToString(), level=level, folder=None if folder is None else folder.resolve())
    except ModuleNotFoundError:
        raise refused(
            partial(ModuleNotFoundError, name="onnxruntime"),
            FUNCTION,
            "runs the model in onnxruntime, which is not installed",
            "run pip install 'ndpooling[onnx]', or use verify=False",
            argument=("verify", True),
        ) from None
    except Exception as error:  # whatever the runtime raises
        raise NotVerifiedError(_reason(error)) from error


def _run(session: Any, arrays: Mapping[str, Array]) -> list[Any]:
    """Run a model in a thread of its own: signals are answered by this one, and none is while it is in a library."""
    options = import_module("onnxruntime").RunOptions()
    options.log_severity_level = 4
    results: list[Any] = []
    failures: list[Exception] = []
    begun, done = threading.Event(), threading.Event()
    gate = threading.Lock()

    def work() -> None:
        with gate:
            if options.terminate:
                return
            begun.set()
        try:
            results.extend(session.run(None, dict(arrays), options))
        except Exception as error:  # whatever the runtime raises
            failures.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=work, daemon=True)
    try:
        thread.start()
        # A Loop of a few bytes may run for ever.
        _terminate_late(options, done)
        thread.join()
    except BaseException:  # an interrupt, perhaps while the thread starts
        with gate:
            options.terminate = True
        if begun.is_set():
            done.wait()  # to the end of the node that is running; a thread in a library must not outlive Python
        raise
    if failures and options.terminate:
        raise RunTooLongError(f"a run takes more than {LONGEST_RUN:g} s", loads=True) from failures[0]
    if failures:
        raise NotVerifiedError(_reason(failures[0]), loads=True) from failures[0]
    return results


def _terminate_late(options: Any, done: threading.Event) -> None:
    """Wait for a run, and end it when it takes too long, by the clock and by the time of processors."""
    used, left = time.process_time(), LONGEST_RUN
    while left > 0:
        if done.wait(left):
            return
        left = LONGEST_RUN - (time.process_time() - used)
    options.terminate = True


def _reason(error: Exception) -> str:
    return " ".join(first_line(error).split())


# ---------------------------------------------------------------------------------------------------------------------
# One node


def prove_rewrite(
    rewrite: Rewrite, node: onnx.NodeProto, x: TensorType, imports: Sequence[onnx.OperatorSetIdProto]
) -> str:
    """Compare what takes the place of a node with what the text of ONNX says of the node.

    Returns
    -------
    str
        Empty, or why a single pooling node was not run by onnxruntime but here.

    Raises
    ------
    NotVerifiedError
        If onnxruntime does not run it, and it is more than a single pooling node.
    ModelsDiffer
        If the two differ.
    """
    dtype = x.dtype if x.dtype is not None else np.dtype(np.float32)
    outputs = [name for name in node.output if name]
    elem_type = helper.np_dtype_to_tensor_dtype(dtype)
    rank = len(x.shape) if x.shape is not None else len(_kernel(node)) + 2
    kinds = [elem_type, onnx.TensorProto.INT64]
    graph = helper.make_graph(
        list(rewrite.nodes),
        "proof",
        [helper.make_tensor_value_info(rewrite.input, elem_type, [None] * rank)],
        [helper.make_tensor_value_info(name, kind, [None] * rank) for name, kind in zip(outputs, kinds, strict=False)],
    )
    model = helper.make_model(graph, opset_imports=imports)
    model.ir_version = min(model.ir_version, 10)
    answers, reason = _answering(model, rewrite, dtype)
    for number, shape in enumerate(_shapes(rewrite, node, x, rank)):
        array = _drawn(shape, dtype, number)
        if rewrite.not_negative:
            array = np.abs(array)
        if rewrite.special:
            array = with_special_values(array, number)
        try:
            wanted = rewrite.reference(array)
        except ValueError as error:  # windows do not fit into it
            raise NotVerifiedError(without(error, FUNCTION)) from error
        for level, answer in answers.items():
            for name, ours, theirs in zip(outputs, wanted, answer(array), strict=True):
                bound = None if rewrite.exact else _bound(node, array, wanted[0], rewrite.reference)
                difference = _difference(ours, theirs, bound)
                if difference:
                    raise refused(
                        ModelsDiffer,
                        FUNCTION,
                        f"{node.op_type} node {node.name or node.output[0]!r} of an input of shape {shape}: {name!r} "
                        f"{difference}{level}",
                    )
    return reason


def _answering(
    model: onnx.ModelProto, rewrite: Rewrite, dtype: np.dtype[Any]
) -> tuple[dict[str, Callable[[Array], Sequence[Array]]], str]:
    """Return what runs the new nodes: onnxruntime, with its optimiser off and on, each by what a sentence adds of it.

    A single pooling of a type that it lacks is run by this package.
    """
    try:
        if dtype.name == "bfloat16":
            raise NotVerifiedError("onnxruntime takes no bfloat16 from NumPy")
        sessions = [_session(model, level=level) for level in LEVELS]
    except NotVerifiedError as error:
        node = rewrite.nodes[-1]
        if len(rewrite.nodes) > 1 or node.op_type not in WINDOWED:
            raise
        return {"": function_from_node(node, model.opset_import[0].version, function=FUNCTION)}, str(error)

    def running(session: Any) -> Callable[[Array], Sequence[Array]]:
        return lambda array: _run(session, {rewrite.input: array})

    return dict(zip(("", OPTIMISED), map(running, sessions), strict=True)), ""


def _kernel(node: onnx.NodeProto) -> list[int]:
    return next((list(each.ints) for each in node.attribute if each.name == "kernel_shape"), [1, 1])


def _shapes(rewrite: Rewrite, node: onnx.NodeProto, x: TensorType, rank: int) -> Iterator[tuple[int, ...]]:
    """Yield shapes of the tensor that a rewrite takes: several where sizes are not known."""
    known = x.shape if x.shape is not None else (None,) * rank
    grown = rewrite.grown or (0,) * (rank - 2)
    kernel = _kernel(node) if len(_kernel(node)) == rank - 2 else [1] * (rank - 2)
    words = {each.name: list(each.ints) for each in node.attribute}
    dilations = words.get("dilations", [1] * (rank - 2))
    least = [(size - 1) * apart + 1 for size, apart in zip(kernel, dilations, strict=True)]
    trials = TRIALS if None in known else TRIALS[:2]
    for batch, channels, added in trials:
        planes = [
            min(size, MANY_PLANES) if size is not None else other
            for size, other in zip(known[:2], (batch, channels), strict=True)
        ]
        spatial = [
            size if size is not None else max(low - more, 1) + added[axis]
            for axis, (size, low, more) in enumerate(zip(known[2:], least, grown, strict=True))
        ]
        pads = words.get("pads", [])
        sides = [sum(pads[axis :: rank - 2]) if len(pads) == 2 * (rank - 2) else 0 for axis in range(rank - 2)]
        around = math.prod(max(sum(each), 1) for each in zip(spatial, grown, sides, strict=True))
        if around > MOST_ELEMENTS:
            raise NotVerifiedError(
                f"with its padding its input has {around} elements; at most {MOST_ELEMENTS} are compared"
            )
        if math.prod(planes) * around > MOST_ELEMENTS:
            planes = [min(size, 1) for size in planes]
        yield (*planes, *spatial)


def _drawn(shape: Sequence[int], dtype: np.dtype[Any], seed: int) -> Array:
    """Draw ties, negative numbers and zeros in one half of the planes, any numbers in the other."""
    return draw(shape, dtype, [seed, *shape], kinds=("ties", "normal"), infinities=False, small_integers=True)


def _bound(node: onnx.NodeProto, array: Array, wanted: Array, reference: Callable[[Array], Sequence[Array]]) -> Array:
    """Bound what rounding may do to a mean or a norm of at most so many taps, on both sides."""
    taps = math.prod(_kernel(node)) if _has_windows(node) else math.prod(array.shape[2:])
    magnitude = reference(np.abs(array.astype(np.float64)))[0]
    if node.op_type in ("LpPool", "GlobalLpPool"):
        p = next((each.i or each.f for each in node.attribute if each.name == "p"), 2)
        error = norm_error(magnitude, taps, float(p), Side(array.dtype.name))
    else:
        error = mean_error(magnitude, taps, Side(array.dtype.name, ROUNDINGS))
    bound: Array = final_roundings(wanted, 0) + 2 * error
    return bound


def _has_windows(node: onnx.NodeProto) -> bool:
    return any(each.name == "kernel_shape" for each in node.attribute)


def _difference(wanted: Array, found: Array, bound: Array | float | None) -> str:
    """Say how two arrays differ, or nothing."""
    if wanted.shape != found.shape:
        return f"has shape {found.shape}, not {wanted.shape}"
    wrong = differing(wanted, found, bound)
    if not wrong.any():
        return ""
    place = first_of(wrong)
    return f"is {found[place]} at {place}, not {wanted[place]}"


# ---------------------------------------------------------------------------------------------------------------------
# Whole models


def compare_models(
    original: onnx.ModelProto,
    repaired: onnx.ModelProto,
    shapes: Mapping[str, Sequence[int | None]],
    folder: Path | None,
    misfit: Misfit,
    *,
    exact: bool,
) -> None:
    """Run a model and what has become of it on the same numbers.

    Where sizes are open, inputs for which `misfit` has something to say are passed over.

    Raises
    ------
    NotVerifiedError
        If the original does not run.
    RunTooLongError
        If a run of one of them takes longer than `LONGEST_RUN`.
    ModelsDiffer
        If a result differs, or if only the original runs.
    """
    try:
        before = _session(original, folder)
    except NotVerifiedError as error:
        raise NotVerifiedError(f"onnxruntime does not load the original ({error})") from error
    reason = ""
    runs = 0
    after: list[Any] = []
    optimised: Any = None
    for arrays in _trials(original, shapes):
        wrong = _misfits(original, shapes, arrays, misfit)
        if wrong:
            reason = wrong
            continue
        try:
            wanted = _run(before, arrays)
        except RunTooLongError:
            raise
        except NotVerifiedError as error:
            reason = str(error)
            continue
        try:
            after = after or [_session(repaired, folder, level) for level in LEVELS]
            found = [_run(session, arrays) for session in after]
        except RunTooLongError:
            raise
        except NotVerifiedError as error:
            raise refused(
                ModelsDiffer, FUNCTION, f"onnxruntime runs the original, but not the repaired model ({error})"
            ) from error
        for place, output in enumerate(repaired.graph.output):
            difference = _deep_difference(wanted[place], found[0][place], exact=exact)
            if difference and _deep_difference(wanted[place], _run(before, arrays)[place], exact=exact):
                raise NotVerifiedError(
                    f"the original gives other numbers each time, as its output {output.name!r} does"
                )
            if difference:
                raise refused(ModelsDiffer, FUNCTION, f"output {output.name!r} of the repaired model {difference}")
            difference = _deep_difference(wanted[place], found[1][place], exact=False)
            if difference:
                # What the optimiser does to other nodes, it does to the original as well.
                optimised = optimised or _session(original, folder, LEVELS[1])
                if _deep_difference(_run(optimised, arrays)[place], found[1][place], exact=False):
                    raise refused(
                        ModelsDiffer, FUNCTION, f"output {output.name!r} of the repaired model {difference}{OPTIMISED}"
                    )
        runs += 1
        if runs == 2:
            break
    if not runs:
        raise NotVerifiedError(f"onnxruntime does not run the original ({reason or NO_NUMBERS})", loads=True)


def how_it_runs(
    model: onnx.ModelProto, shapes: Mapping[str, Sequence[int | None]], folder: Path | None, misfit: Misfit
) -> tuple[bool | None, str]:
    """Load a model and run it, in onnxruntime or, of pooling nodes alone, here.

    Where sizes are open, inputs for which `misfit` has something to say are passed over.

    Returns
    -------
    bool or None
        Whether it runs; None where it is loaded, but nothing that was tried fits its inputs.
    str
        What ran it, or why it does not run.

    Raises
    ------
    RunTooLongError
        If a run takes longer than `LONGEST_RUN`.
    """
    reason, loads = "", True
    settled = True
    try:
        session = _session(model, folder)
        for arrays in _trials(model, shapes):
            settled = not _open_inputs(model, shapes)
            wrong = _misfits(model, shapes, arrays, misfit)
            if wrong:
                reason = wrong
                continue
            try:
                _run(session, arrays)
            except RunTooLongError:
                raise
            except NotVerifiedError as error:
                reason = str(error)
            else:
                return True, "onnxruntime"
        settled = settled and bool(reason)
    except RunTooLongError:
        raise
    except NotVerifiedError as error:
        reason, loads = str(error), error.loads
    reason = reason or NO_NUMBERS
    if _runs_here(model, shapes):
        return True, f"pooling.onnx_models.backend, for onnxruntime does not ({reason})"
    return (False if settled or not loads else None), reason


def _misfits(
    model: onnx.ModelProto,
    shapes: Mapping[str, Sequence[int | None]],
    arrays: Mapping[str, Array],
    misfit: Misfit,
) -> str:
    """Say why sizes that were chosen for open ones do not fit; of a model without any, its repair knows."""
    if not _open_inputs(model, shapes):
        return ""
    return misfit(model, {name: array.shape for name, array in arrays.items()})


def _open_inputs(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int | None]]) -> bool:
    """Whether some size of an input is the choice of whoever runs the model."""
    brought = {each.name for each in model.graph.initializer}
    known = [
        shapes.get(each.name) or TensorType.of(each).shape for each in model.graph.input if each.name not in brought
    ]
    return any(shape is None or None in shape for shape in known)


def _runs_here(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int | None]]) -> bool:
    """Whether this package runs a model, which then consists of pooling nodes alone."""
    from pooling.onnx_models import backend

    try:
        prepared = backend.prepare(model)
        prepared.run(list(next(_trials(model, shapes)).values()))
    except Exception:  # whatever it lacks, it says so in some way
        return False
    return True


def _deep_difference(wanted: Any, found: Any, *, exact: bool) -> str:
    """Say how two outputs differ, or nothing; sums in another order may change half of the digits of a network."""
    if isinstance(wanted, list):
        if len(wanted) != len(found):
            return f"has {len(found)} elements, not {len(wanted)}"
        return next(
            filter(None, (_deep_difference(*pair, exact=exact) for pair in zip(wanted, found, strict=True))), ""
        )
    if not isinstance(wanted, np.ndarray):
        return "" if exact is False or wanted == found else f"is {found}, not {wanted}"
    if exact:
        return _difference(wanted, found, None)
    if wanted.dtype.kind != "f":  # the place of the greatest of equal numbers may change
        return "" if wanted.shape == found.shape else f"has shape {found.shape}, not {wanted.shape}"
    finite = wanted[np.isfinite(wanted)]
    largest = float(np.abs(finite.astype(np.float64)).max(initial=0.0))
    return _difference(wanted, found, math.sqrt(float(np.finfo(wanted.dtype).eps)) * largest)


def _trials(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int | None]]) -> Iterator[dict[str, Array]]:
    """Yield inputs of a model: sizes with the same name are the same, and change from one occasion to the next."""
    brought = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in brought]
    for number, sizes in enumerate(USUAL_SIZES):
        named: dict[str, int] = {}
        arrays = {}
        for each in inputs:
            tensor = TensorType.of(each)
            if tensor.dtype is None or not each.type.HasField("tensor_type"):
                return
            given = shapes.get(each.name)
            dims = each.type.tensor_type.shape.dim
            shape = []
            for axis, size in enumerate(given if given is not None else tensor.shape or ()):
                known = size if size is not None else (tensor.shape or (None,) * len(given or ()))[axis]
                if known is None:
                    usual = sizes[0] if axis == 0 else sizes[1]
                    name = dims[axis].dim_param if axis < len(dims) else ""
                    known = named.setdefault(name, usual) if name else usual
                shape.append(known)
            if math.prod(shape) > MOST_DRAWN:
                raise NotVerifiedError(
                    f"its input {each.name!r} has {math.prod(shape)} elements; at most {MOST_DRAWN} are drawn",
                    loads=True,
                )
            arrays[each.name] = _drawn(shape, tensor.dtype, number)
        yield arrays


def same_shapes_in_runs(
    model: onnx.ModelProto, tensors: Sequence[str], shapes: Mapping[str, Sequence[int | None]], folder: Path | None
) -> dict[str, tuple[int, ...]]:
    """Run a model whose inputs have no open sizes, and return the shapes of tensors that are the same each time.

    Raises
    ------
    RunTooLongError
        If a run takes longer than `LONGEST_RUN`.
    """
    open_model = onnx.ModelProto()
    open_model.CopyFrom(model)
    del open_model.graph.output[:]
    open_model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    try:
        session = _session(open_model, folder)
        found = [[each.shape for each in _run(session, arrays)] for arrays in islice(_trials(model, shapes), 2)]
    except RunTooLongError:
        raise
    except (NotVerifiedError, ModuleNotFoundError, AttributeError):
        return {}
    if len(found) < 2:
        return {}
    return {name: first for name, first, second in zip(tensors, *found, strict=True) if first == second}
