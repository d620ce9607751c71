"""From models to a report."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime

from pooling import dispatch
from pooling.geometry import INT64_MAX, per_axis_shape
from pooling.layers import Layer
from pooling.operators import OPERATORS
from pooling.threads import get_num_threads
from pooling.threads import threads as use_threads

from .comparison import Comparison, compare, error_bound, onnx_indices
from .data import DTYPES, draw
from .race import Times, race
from .report import ModelReport, Report, StageReport
from .runtimes import OnnxRuntime
from .stages import CannotRunError, Network, Stage, read_network

__all__ = ["validate"]

Path = str | os.PathLike[str]
Progress = Callable[[int, int, str], None]
COPIES = 8
"""Arrays of the size of input and result that are in memory at once, when float64 counts twice."""
ROUNDS = 10
AVERAGED = ("float32", "float64")
"""Averages whose rounding has a bound: those that are accumulated in their own dtype."""


def validate(
    models: Path | Sequence[Path],
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    threads: int | None = None,
    rounds: int = ROUNDS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Compare every pooling node of some models with onnxruntime: results, and times.

    Each node becomes a model of its own, with its own attributes, its own opset and the input shape it has in its
    network. Both sides pool the same numbers (`pooling.validation.data.draw`). Maxima and their indices must be equal;
    averages may differ by what rounding can cause (`pooling.validation.comparison.error_bound`). Then both pool
    ordinary numbers against the clock (`pooling.validation.race.race`).

    Parameters
    ----------
    models : path or sequence of path
        ONNX files.
    shapes : mapping of str to sequence of int, optional
        Shapes of tensors that a model leaves open, by their names.
    threads : int, optional
        For both sides; the default is `pooling.get_num_threads`.
    rounds : int
        Rounds of the race, at most; 0 measures no times.
    seed : int
        Of the numbers.
    progress : callable, optional
        Called as ``progress(done, total, stage)`` before each stage.

    Returns
    -------
    Report
        Models that cannot be read and stages that cannot be run are in it, and do not raise.

    Raises
    ------
    TypeError, ValueError
        If an argument other than the models themselves is wrong, or `shapes` names a tensor that no model has.

    Examples
    --------
    >>> import os, tempfile
    >>> import onnx, pooling
    >>> from pooling.validation import validate
    >>> node = onnx.helper.make_node("MaxPool", ["x"], ["y"], "pool1", kernel_shape=[2, 2], strides=[2, 2])
    >>> x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 8, 16, 16])
    >>> y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "small.onnx")
    ...     onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "small", [x], [y])), path)
    ...     report = validate(path, rounds=0)
    >>> report.summary()
    '1 stage of 1 network: all equal'
    """
    paths = [models] if isinstance(models, (str, os.PathLike)) else list(models)
    count = get_num_threads() if threads is None else threads
    for name, number, least in (("threads", count, 1), ("rounds", rounds, 0), ("seed", seed, 0)):
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"validate: {name}={number!r} must be an integer, not {type(number).__name__}")
        if number < least:
            raise ValueError(f"validate: {name}={number} must be at least {least}")
    for name, shape in (shapes or {}).items():
        if max(per_axis_shape("validate", shape), default=0) > INT64_MAX:
            raise ValueError(f"validate: shape {tuple(shape)} of {name!r} exceeds 64 bits; use smaller sizes")
    with use_threads(count):
        return _validate(paths, dict(shapes or {}), rounds, seed, progress or (lambda done, total, stage: None))


def _validate(
    paths: Sequence[Path], shapes: dict[str, Sequence[int]], rounds: int, seed: int, progress: Progress
) -> Report:
    found: list[Network | CannotRunError] = []
    for path in paths:
        try:
            found.append(read_network(path, shapes))
        except CannotRunError as error:
            found.append(error)
    networks = [network for network in found if isinstance(network, Network)]
    unknown = set(shapes).difference(*(network.declared for network in networks))
    if unknown and len(networks) == len(found):
        raise ValueError(f"validate: no model has a tensor named {min(unknown)!r}; name an input as the model names it")
    total = sum(len(network.stages) for network in networks)
    done = 0
    reports = []
    for path, network in zip(paths, found, strict=True):
        if isinstance(network, CannotRunError):
            reports.append(ModelReport(os.fspath(path), [], str(network)))
            continue
        report = ModelReport(os.fspath(path), [])
        for number, stage in enumerate(network.stages):
            progress(done, total, f"{report.name} {stage.name}")
            report.stages.append(_run(stage, rounds, (seed, number)))
            done += 1
        reports.append(report)
    return Report(
        reports,
        _versions(),
        _machine(),
        {
            "threads": get_num_threads(),
            "rounds": rounds,
            "seed": seed,
            "shapes": {name: list(map(int, shape)) for name, shape in shapes.items()},
        },
    )


def _run(stage: Stage, rounds: int, seed: tuple[int, int]) -> StageReport:
    layer = None
    try:
        layer = stage.layer()
        _check_dtype(stage, layer)
        _check_memory(stage, layer)
        runtime = OnnxRuntime(stage, get_num_threads())
        comparison = _compare(stage, layer, runtime, seed)
        times: dict[str, Times] = {}
        if rounds:
            array = np.random.default_rng(seed).standard_normal(stage.input_shape).astype(stage.dtype)
            times = race({"pooling": lambda: layer(array), "onnxruntime": lambda: runtime(array)}, rounds)
    except CannotRunError as error:
        return StageReport(stage, layer, problem=str(error))
    except (MemoryError, ValueError) as error:
        return StageReport(stage, layer, problem=f"pooling fails on it ({error})")
    return StageReport(stage, layer, comparison, times)


def _compare(stage: Stage, layer: Layer, runtime: OnnxRuntime, seed: tuple[int, int]) -> Comparison:
    array = draw(stage.input_shape, np.dtype(stage.dtype), seed)
    theirs = runtime(array)
    if OPERATORS[layer.operator].reducer == "total":
        return compare(layer(array), theirs[0], error_bound(layer, array))
    if not layer.arguments.get("return_indices"):
        return compare(layer(array), theirs[0])
    result, indices = layer(array)
    comparison = compare(result, theirs[0])
    if not comparison.agrees:
        return comparison
    storage_order = next((entry.i for entry in stage.node.attribute if entry.name == "storage_order"), 0)
    of_indices = compare(onnx_indices(indices, stage.input_shape, storage_order), theirs[1], what="indices")
    return comparison if of_indices.agrees else of_indices


def _check_dtype(stage: Stage, layer: Layer) -> None:
    if stage.dtype is None:
        raise CannotRunError(f"the dtype of its input {stage.input_name!r} is not known")
    operator = OPERATORS[layer.operator]
    drawn = AVERAGED if operator.reducer == "total" else DTYPES
    accepted = [name for name in drawn if name in operator.dtypes]
    if stage.dtype.name not in accepted:
        raise CannotRunError(f"its input has dtype {stage.dtype.name}; compared are {', '.join(accepted)}")


def _check_memory(stage: Stage, layer: Layer) -> None:
    """Refuse what would not fit this machine, before anything is allocated."""
    shapes = (stage.input_shape, layer.output_shape(stage.input_shape))
    needed = COPIES * sum(math.prod(shape) for shape in shapes) * np.dtype(stage.dtype).itemsize
    try:
        present = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows does not tell
        return
    if needed > present:
        raise CannotRunError(
            f"comparing input {shapes[0]} with result {shapes[1]} takes about {needed / 2**30:.3g} GiB, and this "
            f"machine has {present / 2**30:.3g} GiB; give a smaller shape with --shape (in Python: shapes=)"
        )


def _versions() -> dict[str, str]:
    return {
        "pooling": dispatch.config()["version"],
        "numpy": np.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
    }


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "instruction_set": dispatch.level,
    }


def _processor() -> str:
    """Name the processor as its maker does, where the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()
