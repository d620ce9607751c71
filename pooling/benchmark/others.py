"""How poolings that are neither extremes nor means of windows are called: norms, blurs, regions, fractional, unpooling.

Each other library is asked for the same work: by the function that it has, or by what its users write in its place.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.operators import OPERATORS

from .cases import BenchmarkCase, per_axis

__all__ = [
    "Cannot",
    "is_other",
    "onnx_feeds",
    "onnx_model",
    "pooling_arguments",
    "torch_call",
    "unpooled",
    "with_opencv_blur",
]

Array = NDArray[Any]

SCALE = 0.25
"""Pixels of a map for one of the image that regions of interest are given in."""
SAMPLES = 2
"""Samples of a bin along each axis."""
SMALLEST = 1e-6
"""What generalised means take smaller elements for."""


class Cannot(Exception):
    """The library does not do the same work; the message says why."""


def is_other(case: BenchmarkCase) -> bool:
    """Whether a case is neither an extreme nor a mean of sliding, adaptive or global windows."""
    return OPERATORS[case.operator].family not in ("extremes", "means")


def _boxes(case: BenchmarkCase) -> Array:
    """Corners of regions of an image, which the same seed draws: as wide as objects are, and all on the map."""
    chance = np.random.default_rng(1)
    height, width = (size / SCALE for size in case.shape[2:])
    sides = np.exp(chance.uniform(np.log(0.05), np.log(0.6), (case.regions, 2))) * (width, height)
    corners = chance.uniform(size=(case.regions, 2)) * ((width, height) - sides)
    return np.hstack([corners, corners + sides]).astype(np.float32)


def _samples(case: BenchmarkCase) -> Array:
    """Where the steps of fractional windows begin on each map."""
    shape = (*case.shape[:2], case.dimensions)
    return np.random.default_rng(2).uniform(size=shape).astype(case.dtype)


@functools.lru_cache(maxsize=1)
def _maxima(case: BenchmarkCase) -> tuple[Array, Array]:
    """Maxima of a map, and their indices, which unpooling puts back."""
    import pooling

    x = np.random.default_rng(0).standard_normal(case.output_shape, dtype=np.float32).astype(case.dtype)
    pool = getattr(pooling, f"max_pool{case.dimensions}d")
    values, indices = pool(x, case.kernel_size, case.stride, return_indices=True)
    return values, indices


def unpooled(case: BenchmarkCase) -> Array:
    """Return the input of an unpooling."""
    return _maxima(case)[0]


def _binomial(taps: int) -> list[float]:
    """Return a row of Pascal's triangle over its sum."""
    return [math.comb(taps - 1, place) / 2 ** (taps - 1) for place in range(taps)]


def _filter(case: BenchmarkCase) -> Array:
    """Return the weights of a blur, one filter for each channel."""
    taps = _taps(case)
    weights = np.outer(_binomial(taps), _binomial(taps)).astype(case.dtype)
    return np.broadcast_to(weights, (case.shape[1], 1, taps, taps))


def _taps(case: BenchmarkCase) -> int:
    taps = case.filter_size or case.kernel_size
    if not isinstance(taps, int) or taps % 2 == 0:
        raise ValueError(f"_taps: case {case.name!r} must have a square filter of an odd size")
    return taps


def pooling_arguments(case: BenchmarkCase) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments after the input."""
    simple: dict[str, Callable[[], tuple[Any, ...]]] = {
        "lp_pool": lambda: (case.p, case.kernel_size, case.stride),
        "global_lp_pool": lambda: (case.p,),
        "gem_pool": lambda: (case.p, SMALLEST),
        "blur_pool": lambda: (case.kernel_size, case.stride),
        "max_blur_pool": lambda: (case.kernel_size, case.stride),
        "fractional_max_pool": lambda: (case.kernel_size, case.output_size),
        "max_unpool": lambda: (_maxima(case)[1], case.kernel_size, case.stride),
        "max_roi_pool": lambda: (_numbered(case), case.kernel_size, SCALE),
        "roi_align": lambda: (_boxes(case), np.zeros(case.regions, np.int64), case.kernel_size, SCALE, SAMPLES),
    }
    keywords: dict[str, Any] = {}
    if case.operator == "max_blur_pool":
        keywords["blur_kernel_size"] = case.filter_size
    elif case.windows == "fractional":
        keywords["_random_samples"] = _samples(case)
    return simple[case.operator](), keywords


def _numbered(case: BenchmarkCase) -> Array:
    """Return regions with the map that each lies on before its corners."""
    return np.hstack([np.zeros((case.regions, 1), np.float32), _boxes(case)])


# --- torch -----------------------------------------------------------------------------------------------------------


def torch_call(case: BenchmarkCase, tensor: Callable[[Array], Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return a function of torch or torchvision and its arguments after the input.

    `tensor` wraps an array in the layout of the case.
    """
    import torch
    from torch.nn import functional

    n = case.dimensions
    if case.operator == "lp_pool":
        windows = {"norm_type": case.p, "kernel_size": case.kernel_size, "stride": case.stride}
        return getattr(functional, f"lp_pool{n}d"), windows
    if case.operator == "global_lp_pool":
        spatial = tuple(range(2, 2 + n))
        return functools.partial(torch.linalg.vector_norm, ord=case.p, dim=spatial, keepdim=True), {}
    if case.operator == "gem_pool":
        return lambda x: functional.adaptive_avg_pool2d(x.clamp(min=SMALLEST).pow(case.p), 1).pow(1 / case.p), {}
    if case.kind == "blur":
        return _torch_blur(case), {}
    if case.windows == "fractional":
        samples = {"_random_samples": torch.from_numpy(_samples(case)), "output_size": case.output_size}
        return getattr(functional, f"fractional_max_pool{n}d"), {"kernel_size": case.kernel_size, **samples}
    if case.windows == "named":
        windows = {"kernel_size": case.kernel_size, "stride": case.stride}
        return getattr(functional, f"max_unpool{n}d"), {"indices": torch.from_numpy(_maxima(case)[1]), **windows}
    return _torchvision_call(case)


def _torch_blur(case: BenchmarkCase) -> Callable[[Any], Any]:
    """Blur by a convolution of each channel, as modules for anti-aliasing do; of maxima one cell apart."""
    import torch
    from torch.nn import functional

    weights = torch.from_numpy(np.array(_filter(case)))
    beyond = _taps(case) // 2

    def blur(x: Any) -> Any:
        if case.operator == "max_blur_pool":
            x = functional.max_pool2d(x, case.kernel_size, 1)
        padded = functional.pad(x, (beyond,) * 4, mode="reflect")
        return functional.conv2d(padded, weights, stride=case.stride, groups=case.shape[1])

    return blur


def _torchvision_call(case: BenchmarkCase) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return a function of regions; a torchvision whose compiled part does not load beside this torch has none."""
    import torch

    declare: Any = torch.library.Library
    library = declare("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):  # without them it is not even imported where its compiled part does not load
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision import extension, ops

    if not extension._has_ops():
        raise Cannot("its compiled part is made for another build of torch")
    arguments = {"output_size": case.output_shape[2:], "spatial_scale": SCALE}
    boxes = torch.from_numpy(_numbered(case))
    if case.operator == "roi_align":
        return ops.roi_align, {"boxes": boxes, **arguments, "sampling_ratio": SAMPLES, "aligned": True}
    return ops.roi_pool, {"boxes": boxes, **arguments}


# --- ONNX ------------------------------------------------------------------------------------------------------------


def onnx_feeds(case: BenchmarkCase, values: Array) -> dict[str, Array]:
    """Return the inputs of `onnx_model` by name; `values` is the first of them."""
    if case.windows == "named":
        values, indices = _maxima(case)
        # Those of ONNX are flat in the whole array.
        plane = math.prod(case.output_shape[2:])
        planes = np.arange(math.prod(case.shape[:2])).reshape(*case.shape[:2], *(1,) * case.dimensions)
        return {"x": values, "indices": indices + planes * plane}
    if case.operator == "roi_align":
        return {"x": values, "boxes": _boxes(case), "maps": np.zeros(case.regions, np.int64)}
    if case.operator == "max_roi_pool":
        return {"x": values, "boxes": _numbered(case)}
    return {"x": values}


def onnx_model(case: BenchmarkCase) -> bytes:
    """Write a case as a model: one node where ONNX has the operator, else what exporters write in its place."""
    from pooling.onnx_models.making import check_whole, make_node, small_model, tensor_info

    if case.direction != "forward":
        raise Cannot("ONNX has no indices of this pooling")
    nodes, constants = _nodes(case, make_node)
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "x": (case.dtype, case.shape),
        "indices": (np.int64, case.shape),
        "boxes": (np.float32, (case.regions, 4 if case.operator == "roi_align" else 5)),
        "maps": (np.int64, (case.regions,)),
    }
    taken = {name for node in nodes for name in node.input} & shapes.keys()
    inputs = [tensor_info(name, np.dtype(shapes[name][0]), shapes[name][1]) for name in shapes if name in taken]
    output = tensor_info("y", np.dtype(case.dtype), case.output_shape)
    model = small_model(nodes, inputs, [output], {"": 18}, constants)
    check_whole(model)
    serialized: bytes = model.SerializeToString()
    return serialized


def _nodes(case: BenchmarkCase, node: Callable[..., Any]) -> tuple[list[Any], dict[str, Array]]:
    """Return nodes and constants."""
    windows = {
        "kernel_shape": per_axis(case.kernel_size, case.dimensions),
        "strides": per_axis(case.stride, case.dimensions),
    }
    cells = per_axis(case.kernel_size, case.dimensions)
    if case.operator == "lp_pool":
        return [node("LpPool", ["x"], ["y"], p=int(case.p), **windows)], {}
    if case.operator == "global_lp_pool":
        return [node("GlobalLpPool", ["x"], ["y"], p=int(case.p))], {}
    if case.operator == "gem_pool":
        steps = [
            node("Clip", ["x", "least"], ["raised"]),
            node("Pow", ["raised", "p"], ["powers"]),
            node("GlobalAveragePool", ["powers"], ["means"]),
            node("Pow", ["means", "root"], ["y"]),
        ]
        numbers = {"least": SMALLEST, "p": case.p, "root": 1 / case.p}
        return steps, {name: np.array(number, case.dtype) for name, number in numbers.items()}
    if case.kind == "blur":
        return _blur_nodes(case, node)
    if case.operator == "max_unpool":
        return [node("MaxUnpool", ["x", "indices"], ["y"], **windows)], {}
    if case.operator == "max_roi_pool":
        return [node("MaxRoiPool", ["x", "boxes"], ["y"], pooled_shape=cells, spatial_scale=SCALE)], {}
    if case.operator == "roi_align":
        sizes = {"output_height": cells[0], "output_width": cells[1], "spatial_scale": SCALE}
        return [node("RoiAlign", ["x", "boxes", "maps"], ["y"], sampling_ratio=SAMPLES, **sizes)], {}
    raise Cannot(f"ONNX has no {case.operator}")


def _blur_nodes(case: BenchmarkCase, node: Callable[..., Any]) -> tuple[list[Any], dict[str, Array]]:
    beyond = _taps(case) // 2
    pads = np.array([0, 0, beyond, beyond] * 2, np.int64)
    first, steps = "x", []
    if case.operator == "max_blur_pool":
        steps.append(node("MaxPool", ["x"], ["maxima"], kernel_shape=per_axis(case.kernel_size, 2), strides=[1, 1]))
        first = "maxima"
    strides = per_axis(case.stride, 2)
    steps.append(node("Pad", [first, "pads"], ["padded"], mode="reflect"))
    steps.append(node("Conv", ["padded", "weights"], ["y"], group=case.shape[1], strides=strides))
    return steps, {"pads": pads, "weights": np.array(_filter(case))}


# --- OpenCV ----------------------------------------------------------------------------------------------------------


def with_opencv_blur(case: BenchmarkCase) -> Callable[[Array, Array], Any]:
    """Return ``pyrDown`` or ``GaussianBlur``, whose filters of 3 and 5 taps are binomial, for one plane."""
    import cv2

    if case.direction != "forward" or case.layout != "channels_first":
        raise Cannot("planes only, and no gradients")
    taps = _taps(case)
    if (taps, case.stride) == (5, 2):
        return lambda image, into: cv2.pyrDown(image, dst=into, borderType=cv2.BORDER_REFLECT_101)
    if taps <= 5 and case.stride == 1:
        return lambda image, into: cv2.GaussianBlur(image, (taps, taps), 0, dst=into, borderType=cv2.BORDER_REFLECT_101)
    raise Cannot("it blurs and halves by 5 x 5, or blurs without a stride")
