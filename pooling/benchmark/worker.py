"""One library in a process of its own: ``python -m pooling.benchmark.worker LIBRARY THREADS``.

Reads a case as JSON from each line of standard input, runs it for a while, and answers with a line of JSON: the median
``seconds`` of a call and how many processors were ``busy`` meanwhile, or why the library ``cannot`` do it. Between two
lines the process sleeps, so that no idle threads disturb the others.
"""

from __future__ import annotations

import gc
import importlib.util
import itertools
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.operators import OPERATORS

from .cases import BenchmarkCase, per_axis
from .others import Cannot, is_other, onnx_feeds, onnx_model, pooling_arguments, torch_call, unpooled, with_opencv_blur

__all__ = ["LIBRARIES", "SERIAL", "Cannot", "Library", "answer", "version"]

SECONDS = 0.05
"""How long one turn takes at least."""
SAMPLE = 20e-6
"""Calls are timed in groups that take so long, so that reading the clock costs nothing."""
BLOCK = 1 << 17
"""Bytes of the block that stays in the cache where `copy` reads more than it writes, or the other way round."""
MOST_STEPS = 8_000_000_000
"""Taps of all windows together that libraries are asked for which read a window tap by tap."""

Array = NDArray[Any]
Call = Callable[[], Any]


def _numbers(case: BenchmarkCase, shape: tuple[int, ...]) -> Array:
    """Random numbers in the case's layout; they repeat after a prime number, which keeps large arrays cheap.

    Under norms and global windows they are not negative: norms of odd exponents are those of torch then, and means of
    millions of numbers are not close to 0.
    """
    random = np.random.default_rng(0)
    values = random.standard_normal(min(int(np.prod(shape)), 1_000_003), dtype=np.float32)
    if case.kind == "norm" or case.windows == "global":
        values = np.abs(values)
    if case.dtype == "bfloat16":
        import ml_dtypes  # noqa: F401  makes NumPy know bfloat16
    typed = (values * 50 + 128).clip(0, 255).astype("uint8") if case.dtype == "uint8" else values.astype(case.dtype)
    return np.resize(typed, case.laid_out(shape))


def _input(case: BenchmarkCase) -> Array:
    values = _numbers(case, case.shape)
    if case.memory == "view of channels_last":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 1, -1)), -1, 1)
    if case.memory == "transposed":
        return np.ascontiguousarray(values.swapaxes(-1, -2)).swapaxes(-1, -2)
    if case.memory == "every second column":
        return np.repeat(values, 2, axis=-1)[..., ::2]
    if case.memory == "every second channel":
        return np.repeat(values, 2, axis=1)[:, ::2]
    return values


def _in_one_piece(case: BenchmarkCase) -> None:
    """Refuse views, which a library would copy before it is timed."""
    if case.memory:
        raise Cannot("views are copied beforehand")


def _short_enough(case: BenchmarkCase) -> None:
    """Refuse what takes a library that reads a window tap by tap many seconds a call."""
    if case.windows == "sliding" and case.direction == "forward":
        taps = math.prod(per_axis(case.kernel_size, case.dimensions))
        if taps * math.prod(case.output_shape) > MOST_STEPS:
            raise Cannot("windows are read tap by tap, which takes many seconds")


def _gradient(case: BenchmarkCase) -> Array:
    return _numbers(case, case.output_shape)


def _fastest(candidates: Sequence[Call]) -> Call:
    """Choose by measurement."""

    def seconds(call: Call) -> float:
        times = []
        for _ in range(4):
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
        return min(times[1:])

    return candidates[0] if len(candidates) == 1 else min(candidates, key=seconds)


def _pairs(case: BenchmarkCase) -> tuple[tuple[int, int], ...]:
    """Return the padding before and after, for each axis."""
    return ((case.padding, case.padding),) * case.dimensions if isinstance(case.padding, int) else case.padding


def _verified(library: str, wanted: int, found: object) -> None:
    if found != wanted:
        raise RuntimeError(f"{library} uses {found} threads where {wanted} were set")


# --- pooling ---------------------------------------------------------------------------------------------------------


def _arguments(case: BenchmarkCase) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments after the input, without those that are defaults anyway."""
    keywords: dict[str, Any] = {} if case.layout == "channels_first" else {"layout": case.layout}
    if is_other(case):
        positional, more = pooling_arguments(case)
        return positional, keywords | more
    if case.windows != "sliding":
        # A batch of signals has as many axes as one map.
        keywords |= {"dimensions": 1} if case.windows == "global" and case.dimensions == 1 else {}
        return (case.kernel_size,) * (case.windows == "adaptive"), keywords
    keywords |= {"dilation": case.dilation} if case.dilation != 1 else {}
    keywords |= {"count_include_pad": case.count_include_pad} if case.kind == "avg" else {}
    keywords |= {"ceil_mode": True} if case.ceil_mode else {}
    return (case.kernel_size, case.stride, *([case.padding] if case.padding else [])), keywords


def with_pooling(case: BenchmarkCase, threads: int) -> Callable[..., Any]:
    """Return calls of pooling; gradients by the best way offered: argmax found again, or saved as indices."""
    import pooling

    pooling.set_num_threads(threads)
    _verified("pooling", threads, pooling.get_num_threads())
    x = pooling_input(case)
    arguments, keywords = _arguments(case)
    forward = partial(getattr(pooling, case.function), x, *arguments, **keywords)
    if case.direction == "forward":
        return forward
    indexed = partial(forward, return_indices=True)
    if case.direction == "indices":
        return indexed
    backward = pooling_gradient(case, x)
    saves = OPERATORS[case.operator].indices
    if case.direction == "backward":
        return _fastest([backward, *([partial(backward, indices=indexed()[1])] if saves else [])])

    def recomputed() -> tuple[Array, Array]:
        return forward(), backward()

    def saved() -> tuple[Array, Array]:
        y, indices = indexed()
        return y, backward(indices=indices)

    return _fastest([recomputed, *([saved] if saves else [])])


def pooling_gradient(case: BenchmarkCase, x: Array) -> Callable[..., Array]:
    """Return the call of a gradient, which takes saved indices as a keyword where the operator has any."""
    import pooling

    arguments, keywords = _arguments(case)
    function = getattr(pooling, f"{case.function}_backward")
    backward = partial(function, _gradient(case), x, *arguments, **keywords)
    if case.operator == "gem_pool":  # the gradient of the exponent comes with it
        return lambda: backward()[0]
    return backward


def pooling_input(case: BenchmarkCase) -> Array:
    """Return the array that a case pools, or puts back."""
    return unpooled(case) if case.kind == "place" else _input(case)


def with_pooling_out(case: BenchmarkCase, threads: int) -> Call:
    """Return calls that write into an array which is there already."""
    if case.direction != "forward":
        raise Cannot("only raced forward")
    call = with_pooling(case, threads)
    return partial(call, out=call())


def _pooling_arrays(case: BenchmarkCase, result: Any) -> list[Array]:
    results = result if isinstance(result, tuple) else (result,)
    return [array if case.layout == "channels_first" else np.moveaxis(array, -1, 1) for array in results]


# --- a copy of the bytes ----------------------------------------------------------------------------------------------


def with_copy(case: BenchmarkCase, threads: int, *, out: bool = False) -> Call:
    """Copy the bytes that the case must move, on one thread or on all, whichever is faster.

    Bytes that are read and have no counterpart to be written go to a block that stays in the cache, and the other way
    round, so that memory sees what it must and no more.
    """
    if out and case.direction != "forward":
        raise Cannot("only raced forward")
    read, written = case.moved
    source = np.resize(np.arange(251, dtype=np.uint8), read)
    kept = np.zeros(written, np.uint8) if out else None

    both = min(read, written)
    head = source[:both]
    scratch = np.zeros(BLOCK, np.uint8)
    # Views are made beforehand: of a small copy the calls take most of the time as it is.
    unpaired = [source[first : first + BLOCK] for first in range(both, read, BLOCK)]
    into = [scratch[: block.size] for block in unpaired]

    def alone() -> Array:
        if kept is None and written == both:
            target = head.copy()
        else:
            target = np.empty(written, np.uint8) if kept is None else kept
            np.copyto(target[:both], head)
        for block, place in zip(unpaired, into, strict=True):
            np.copyto(place, block)
        for first in range(both, written, BLOCK):
            np.copyto(target[first : first + BLOCK], scratch[: written - first])
        return target

    def part(target: Array, begin: int, end: int) -> None:
        own = np.empty(BLOCK, np.uint8)
        middle = max(begin, min(end, both))
        np.copyto(target[begin:middle], source[begin:middle])
        for first in range(middle, end, BLOCK):
            last = min(first + BLOCK, end)
            if read > written:
                np.copyto(own[: last - first], source[first:last])
            else:
                np.copyto(target[first:last], own[: last - first])

    size = max(read, written)
    edges = [size * number // threads for number in range(threads + 1)]
    pool = ThreadPoolExecutor(threads)

    def together() -> Array:
        target = np.empty(written, np.uint8) if kept is None else kept
        others = [pool.submit(part, target, begin, end) for begin, end in itertools.pairwise(edges[1:])]
        part(target, 0, edges[1])
        for other in others:
            other.result()
        return target

    return _fastest([alone, *([together] if threads > 1 else [])])


# --- runtimes of ONNX models -----------------------------------------------------------------------------------------


def _model(case: BenchmarkCase) -> bytes:
    """Write the case as a model of one node."""
    from pooling.onnx_models.making import check_whole, make_node, small_model, tensor_info

    if case.layout != "channels_first":
        raise Cannot("ONNX has channels_first only")
    if case.direction in ("backward", "training"):
        raise Cannot("no gradients")
    if case.windows == "adaptive":
        raise Cannot("ONNX has no adaptive pooling")
    if case.kind == "min":
        raise Cannot("ONNX has no minimum of windows")
    _short_enough(case)
    if is_other(case):
        return onnx_model(case)
    attributes: dict[str, Any] = {}
    if case.windows == "sliding":
        pairs = _pairs(case)
        attributes = {
            "kernel_shape": per_axis(case.kernel_size, case.dimensions),
            "strides": per_axis(case.stride, case.dimensions),
            "dilations": per_axis(case.dilation, case.dimensions),
            "pads": [begin for begin, _ in pairs] + [end for _, end in pairs],
        }
        attributes |= {"count_include_pad": int(case.count_include_pad)} if case.kind == "avg" else {}
        attributes |= {"ceil_mode": 1} if case.ceil_mode else {}
    prefix = "Global" if case.windows == "global" else ""
    outputs = ["y", "indices"] if case.direction == "indices" else ["y"]
    node = make_node(f"{prefix}{ {'max': 'Max', 'avg': 'Average'}[case.kind] }Pool", ["x"], outputs, **attributes)
    kinds = [np.dtype(case.dtype), np.dtype(np.int64)]
    given = [tensor_info(*pair, case.output_shape) for pair in zip(outputs, kinds, strict=False)]
    opset = 22 if case.dtype == "bfloat16" else 19
    model = small_model([node], [tensor_info("x", kinds[0], case.shape)], given, {"": opset})
    check_whole(model)
    serialized: bytes = model.SerializeToString()
    return serialized


def _session(case: BenchmarkCase, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(_model(case), options, providers=["CPUExecutionProvider"])
    _verified("onnxruntime", threads, session.get_session_options().intra_op_num_threads)
    return session


def _feeds(case: BenchmarkCase) -> dict[str, Array]:
    return onnx_feeds(case, _input(case)) if is_other(case) else {"x": _input(case)}


def with_onnxruntime(case: BenchmarkCase, threads: int) -> Call:
    return partial(_session(case, threads).run, None, _feeds(case))


def with_onnxruntime_binding(case: BenchmarkCase, threads: int) -> Call:
    """Run with input and output bound beforehand: nothing is copied or allocated."""
    import onnxruntime

    _in_one_piece(case)
    session = _session(case, threads)
    binding = session.io_binding()
    for name, values in _feeds(case).items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(values))
    bound = []
    for output in session.get_outputs():
        dtype = np.int64 if output.type == "tensor(int64)" else np.dtype(case.dtype)
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(case.output_shape, dtype)
        binding.bind_ortvalue_output(output.name, value)
        bound.append(value)

    def call() -> list[Any]:
        session.run_with_iobinding(binding)
        return bound

    return call


def with_openvino(case: BenchmarkCase, threads: int) -> Call:
    from pooling.validation.runners.openvino import import_openvino

    openvino = import_openvino()
    from openvino import opset8 as nodes

    _in_one_piece(case)
    _short_enough(case)
    core = openvino.Core()
    if case.windows == "adaptive" and case.layout == "channels_first" and case.direction == "forward":
        x = nodes.parameter(case.shape, np.dtype(case.dtype))
        size = np.array(case.output_shape[2:], np.int64)
        node = nodes.adaptive_max_pool(x, size) if case.kind == "max" else nodes.adaptive_avg_pool(x, size)
        model = openvino.Model([node.output(0)], [x])
    else:
        model = core.read_model(_model(case))
    # Without the hint means of float32 may be computed in bfloat16.
    hints = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if case.dtype == "bfloat16" else "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(model, "CPU", hints)
    _verified("openvino", threads, compiled.get_property("INFERENCE_NUM_THREADS"))
    request = compiled.create_infer_request()
    if case.dtype == "bfloat16":
        tensor = openvino.Tensor(_input(case).view(np.uint16), case.shape, openvino.Type.bf16)
        return partial(request.infer, [tensor], share_inputs=True)
    return partial(request.infer, list(_feeds(case).values()), share_inputs=True)


# --- torch -----------------------------------------------------------------------------------------------------------


def _tensor(case: BenchmarkCase, values: Array, *, channels_last: bool) -> Any:
    """Wrap an array as ``(N, C, *S)``, in the requested memory format."""
    import torch

    tensor = (
        torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
        if case.dtype == "bfloat16"
        else torch.from_numpy(values)
    )
    tensor = tensor if case.layout == "channels_first" else tensor.movedim(-1, 1)
    if not channels_last:
        return tensor
    memory_format = torch.channels_last if case.dimensions == 2 else torch.channels_last_3d
    return tensor.contiguous(memory_format=memory_format)


def with_torch(case: BenchmarkCase, threads: int, *, channels_last: bool = False, regions: bool = False) -> Call:
    import torch

    if regions != (case.windows == "regions"):
        raise Cannot("regions of interest only" if regions else "see torchvision")
    if channels_last and case.dimensions == 1:
        raise Cannot("no channels_last in one dimension")
    if not channels_last and case.layout != "channels_first":
        raise Cannot("see torch channels_last")
    if channels_last:
        _in_one_piece(case)
    if case.kind == "min":
        raise Cannot("no minimum of windows")
    _short_enough(case)
    torch.set_num_threads(threads)
    _verified("torch", threads, torch.get_num_threads())
    training = case.direction in ("backward", "training")
    torch.set_grad_enabled(training)
    tensor = partial(_tensor, case, channels_last=channels_last)
    x = tensor(pooling_input(case))
    function, keywords = torch_call(case, tensor) if is_other(case) else _torch_function(case)
    if case.direction == "indices":
        keywords["return_indices"] = True
    if not training:
        return partial(function, x, **keywords)
    x.requires_grad_()
    gradient = tensor(_gradient(case))
    if case.direction == "backward":
        return partial(torch.autograd.grad, function(x, **keywords), x, gradient, retain_graph=True)

    def training_step() -> tuple[Any, Any]:
        y = function(x, **keywords)
        return y, torch.autograd.grad(y, x, gradient)[0]

    return training_step


def _torch_function(case: BenchmarkCase) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the function of a maximum or a mean, and its arguments after the input."""
    import torch

    keywords: dict[str, Any] = {}
    if case.windows == "sliding":
        pairs = _pairs(case)
        if any(begin != end for begin, end in pairs):
            raise Cannot("padding is symmetric")
        padding = tuple(begin for begin, _ in pairs)
        keywords = {"kernel_size": case.kernel_size, "stride": case.stride, "padding": padding}
        keywords |= {"dilation": case.dilation} if case.kind == "max" else {"count_include_pad": case.count_include_pad}
        keywords["ceil_mode"] = case.ceil_mode
    else:
        keywords = {"output_size": case.output_shape[2:]}
    prefix = "" if case.windows == "sliding" else "adaptive_"
    return getattr(torch.nn.functional, f"{prefix}{case.kind}_pool{case.dimensions}d"), keywords


def _torch_arrays(case: BenchmarkCase, result: Any) -> list[Array]:
    import torch

    tensors = [tensor.detach() for tensor in (result if isinstance(result, tuple) else (result,))]
    return [
        tensor.view(torch.int16).numpy().view(case.dtype) if tensor.dtype == torch.bfloat16 else tensor.numpy()
        for tensor in tensors
    ]


# --- libraries for images and arrays ---------------------------------------------------------------------------------


def _blocks(case: BenchmarkCase) -> tuple[int, ...]:
    """Sizes of windows that lie side by side, or a refusal."""
    kernel = per_axis(case.kernel_size, case.dimensions)
    if case.direction != "forward" or case.windows != "sliding" or is_other(case):
        raise Cannot("means and maxima of blocks only")
    _in_one_piece(case)
    if kernel != per_axis(case.stride, case.dimensions) or case.padding or case.dilation != 1:
        raise Cannot("windows must lie side by side")
    return kernel


def _centred(case: BenchmarkCase) -> int:
    """Width of square windows around every element, or a refusal."""
    size = case.kernel_size
    if case.direction != "forward" or case.windows != "sliding" or is_other(case) or not isinstance(size, int):
        raise Cannot("filters of one width only")
    _in_one_piece(case)
    if case.stride != 1 or case.dilation != 1 or size % 2 == 0 or case.padding != size // 2:
        raise Cannot("windows must be centred on every element")
    if case.kind == "avg" and not case.count_include_pad:
        raise Cannot("the border counts as zeros")
    return size


def with_opencv(case: BenchmarkCase, threads: int) -> Call:
    """``dilate``, ``erode`` and ``blur`` around every pixel, ``resize`` by whole factors, binomial blurs.

    Planes of a map are made one after another.
    """
    import cv2

    cv2.setNumThreads(threads)
    _verified("opencv", threads, cv2.getNumThreads())
    x = _input(case)
    if case.dimensions != 2:
        raise Cannot("images only")
    apply: Callable[[Array, Array], Any]
    if case.operator == "blur_pool":
        _in_one_piece(case)
        apply = with_opencv_blur(case)
    elif case.stride == 1:
        size = _centred(case)
        element = np.ones((size, size), np.uint8)
        if case.selects:
            morphology = cv2.dilate if case.kind == "max" else cv2.erode

            def apply(image: Array, into: Array) -> Any:
                return morphology(image, element, dst=into)
        else:

            def apply(image: Array, into: Array) -> Any:
                return cv2.blur(image, (size, size), dst=into, borderType=cv2.BORDER_CONSTANT)
    else:
        height, width = _blocks(case)
        if case.kind != "avg" or case.shape[2] % height or case.shape[3] % width:
            raise Cannot("resize averages whole blocks")

        def apply(image: Array, into: Array) -> Any:
            return cv2.resize(image, case.output_shape[:1:-1], dst=into, interpolation=cv2.INTER_AREA)

    images = x if case.layout == "channels_last" else x.reshape(-1, *x.shape[2:])

    def call() -> Array:
        result = np.empty(case.laid_out(case.output_shape), x.dtype)
        for image, into in zip(
            images, result.reshape(len(images), *result.shape[-3:][-images.ndim + 1 :]), strict=True
        ):
            apply(image, into)
        return result

    return call


def _spatial(case: BenchmarkCase) -> tuple[int, ...]:
    first = 2 if case.layout == "channels_first" else 1
    return tuple(range(first, first + case.dimensions))


def with_scikit_image(case: BenchmarkCase, threads: int) -> Call:
    from skimage.measure import block_reduce

    kernel = _blocks(case)
    if any(size % k for size, k in zip(case.shape[2:], kernel, strict=True)):
        raise Cannot("incomplete blocks are padded")
    block = case.laid_out((1, 1, *kernel))
    return partial(block_reduce, _input(case), block, {"max": np.max, "min": np.min, "avg": np.mean}[case.kind])


def with_scipy(case: BenchmarkCase, threads: int) -> Call:
    from scipy import ndimage

    size = _centred(case)
    window = case.laid_out((1, 1, *(size,) * case.dimensions))
    if case.selects:
        # What lies beyond the border wins nowhere.
        outside = {"max": (0, -np.inf), "min": (255, np.inf)}[case.kind][case.dtype != "uint8"]
        filtered = ndimage.maximum_filter if case.kind == "max" else ndimage.minimum_filter
        return partial(filtered, _input(case), window, mode="constant", cval=outside)
    return partial(ndimage.uniform_filter, _input(case), window, mode="constant", cval=0.0)


def with_numpy(case: BenchmarkCase, threads: int) -> Call:
    """``x.reshape(n, c, h // k, k, w // k, k).max((3, 5))``, and ``x.mean`` over all of a map."""
    x = _input(case)
    spatial = _spatial(case)
    if case.windows == "global" and case.direction == "forward" and not is_other(case):
        return partial(x.max if case.kind == "max" else x.mean, axis=spatial, keepdims=True)
    kernel = dict(zip(spatial, _blocks(case), strict=True))
    whole = x[
        tuple(
            slice(size // kernel[axis] * kernel[axis]) if axis in kernel else slice(None)
            for axis, size in enumerate(x.shape)
        )
    ]
    shape: list[int] = []
    inner = []
    for axis, size in enumerate(whole.shape):
        shape.append(size // kernel.get(axis, 1))
        if axis in kernel:
            inner.append(len(shape))
            shape.append(kernel[axis])
    axes = tuple(inner)

    def call() -> Array:
        blocks = whole.reshape(shape)
        combine: dict[str, Callable[..., Array]] = {"max": blocks.max, "min": blocks.min, "avg": blocks.mean}
        result = combine[case.kind](axes)
        return result

    return call


# --- all of them -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Library:
    """How a library runs a case, and what is known of it."""

    package: str
    """Name of the distribution; empty for what comes with the race."""
    module: str
    """What has to be importable."""
    prepare: Callable[[BenchmarkCase, int], Call]
    """Takes a case and a number of threads; returns the call to time."""
    arrays: Callable[[BenchmarkCase, Any], list[Array]]
    """Turns what the call returns into channels_first arrays."""
    out: bool = False
    """Whether the result is written into memory that is there already; such a library only meets its like."""
    peer: bool = True
    """Whether it is another library."""

    @property
    def installed(self) -> bool:
        """Whether it can be imported."""
        return importlib.util.find_spec(self.module) is not None


SERIAL = "pooling, 1 thread"
"""Pooling on one thread beside pooling on several, in turns with it."""

LIBRARIES: dict[str, Library] = {
    "pooling": Library("pooling", "pooling", with_pooling, _pooling_arrays, peer=False),
    "pooling out=": Library("pooling", "pooling", with_pooling_out, _pooling_arrays, out=True, peer=False),
    SERIAL: Library("pooling", "pooling", lambda case, threads: with_pooling(case, 1), _pooling_arrays, peer=False),
    "copy": Library("", "numpy", with_copy, _pooling_arrays, peer=False),
    "copy out=": Library("", "numpy", partial(with_copy, out=True), _pooling_arrays, out=True, peer=False),
    "onnxruntime": Library("onnxruntime", "onnxruntime", with_onnxruntime, lambda case, result: list(result)),
    "onnxruntime IO binding": Library(
        "onnxruntime",
        "onnxruntime",
        with_onnxruntime_binding,
        lambda case, result: [value.numpy() for value in result],
        out=True,
    ),
    "openvino": Library("openvino", "openvino", with_openvino, lambda case, result: list(result.to_tuple())),
    "torch": Library("torch", "torch", with_torch, _torch_arrays),
    "torchvision": Library("torchvision", "torchvision", partial(with_torch, regions=True), _torch_arrays),
    "torch channels_last": Library("torch", "torch", partial(with_torch, channels_last=True), _torch_arrays),
    "OpenCV": Library("opencv-python-headless", "cv2", with_opencv, _pooling_arrays),
    "scikit-image": Library("scikit-image", "skimage", with_scikit_image, _pooling_arrays),
    "SciPy": Library("scipy", "scipy", with_scipy, _pooling_arrays),
    "NumPy": Library("numpy", "numpy", with_numpy, _pooling_arrays),
}


def version(package: str) -> str:
    """Return the version of a distribution; ours also where it is not installed but stands in the working folder."""
    import pooling

    return pooling.__version__ if package == "pooling" else metadata.version(package)


TOLERANCE = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 2e-6, "float64": 1e-12}
"""How far what is computed may lie apart, relative to the largest one, for two libraries to have done the same."""


def _bound(case: BenchmarkCase, largest: float) -> float:
    """How far values may lie apart for two libraries to have done the same."""
    if case.direction in ("forward", "indices") and (case.selects or case.kind == "place"):
        return 0.0
    if case.dtype == "uint8":
        return 1.0  # libraries round halves in different directions
    # Sums of many numbers are rounded the more often, by libraries that add them one by one.
    taps = math.prod(case.shape[2:]) if case.windows == "global" else 1
    if case.windows == "sliding":
        taps = math.prod(per_axis(case.kernel_size, case.dimensions))
    return TOLERANCE[case.dtype] * largest * max(1.0, math.sqrt(taps) / 50)


def check(library: str, case: BenchmarkCase, result: Any) -> None:
    """Raise Cannot unless a library's result is ours: shape, dtype and values; of indices the shape."""
    found = LIBRARIES[library].arrays(case, result)
    wanted = _pooling_arrays(case, with_pooling(case, 1)())
    for ours, theirs in zip(wanted, found, strict=True):
        if theirs.shape != ours.shape:
            raise Cannot(f"result of shape {theirs.shape} in place of {ours.shape}")
        if ours.dtype == np.int64:  # each library has a convention of its own
            continue
        if theirs.dtype != ours.dtype:
            raise Cannot(f"result of {theirs.dtype} in place of {ours.dtype}")
        one, other = (array.astype(np.float64) for array in (ours, theirs))
        difference = float(np.abs(one - other).max())
        if not difference <= _bound(case, float(np.abs(one).max())):
            raise Cannot(f"another result: differs by {difference:.2g}")


def measure(call: Call) -> dict[str, float]:
    """Median time of a call, warm, and processor time by wall time."""
    for _ in range(2):
        begin = time.perf_counter()
        call()
        once = time.perf_counter() - begin
    repeats = range(max(1, int(SAMPLE / once)))
    times: list[float] = []
    gc.disable()
    before, processor = time.perf_counter(), time.process_time()
    while time.perf_counter() < before + SECONDS or not times:
        begin = time.perf_counter()
        for _ in repeats:
            call()
        times.append((time.perf_counter() - begin) / len(repeats))
    busy = (time.process_time() - processor) / (time.perf_counter() - before)
    gc.enable()
    return {"seconds": statistics.median(times), "busy": round(busy, 2)}


def answer(library: str, case: BenchmarkCase, threads: int, checked: set[BenchmarkCase]) -> dict[str, Any]:
    """Prepare, check once and measure."""
    try:
        call = LIBRARIES[library].prepare(case, threads)
        if LIBRARIES[library].peer and case not in checked:
            check(library, case, call())
            checked.add(case)
        return measure(call)
    except Cannot as reason:
        return {"cannot": str(reason)}
    except Exception as error:  # whatever a library raises, it cannot do the case
        lines = str(error).strip().splitlines()
        return {"cannot": f"{type(error).__name__}: {lines[0][:160] if lines else ''}".rstrip(": ")}


def main() -> None:
    """Answer until standard input ends."""
    library, threads = sys.argv[1], int(sys.argv[2])
    # Libraries print; the answers need standard output for themselves.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    checked: set[BenchmarkCase] = set()
    for line in sys.stdin:
        print(
            json.dumps(answer(library, BenchmarkCase.from_json(json.loads(line)), threads, checked)),
            file=answers,
            flush=True,
        )


if __name__ == "__main__":
    main()
