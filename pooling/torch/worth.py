"""Which calls are worth computing by `pooling`: those that take less time than PyTorch's.

A call costs a few microseconds more here, and its gradient some ten, because Python is at work where PyTorch is not;
what a window costs is less, mostly by far, but not for every kind. So there is a least amount of work for each kind,
below which PyTorch is faster. The work is the number of elements that all windows read, and for adaptive poolings,
whose windows hardly overlap, that of the input.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from pooling.arguments import per_axis

__all__ = ["LEAST", "function_of", "is_worth", "kind_and_overlap", "reads", "sentence", "smallest"]

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
LEAST: dict[str, tuple[int | None, int | None, int | None, int | None]] = {
    "adaptive_avg_pool1d": (65536, None, None, None),
    "adaptive_avg_pool2d": (65536, None, 1048576, None),
    "adaptive_avg_pool3d": (65536, 262144, 65536, 262144),
    "adaptive_max_pool2d": (16384, None, 524288, None),
    "adaptive_max_pool3d": (32768, None, 32768, None),
    "adaptive_max_pool3d to one cell": (None, None, 65536, 524288),
    "avg_pool1d": (8192, 16384, None, None),
    "avg_pool1d, overlapping": (6144, 12288, None, None),
    "avg_pool2d": (18432, 36864, None, None),
    "avg_pool2d, overlapping": (50176, 100352, 294912, 589824),
    "avg_pool3d": (8192, 32768, 16384, 32768),
    "avg_pool3d, overlapping": (27648, 884736, 55296, 110592),
    "lp_pool1d": (768, 768, None, None),
    "lp_pool2d": (147456, 16384, None, None),
    "lp_pool3d": (131072, 1048576, 2048, 2048),
    "lp_pool3d of other powers": (65536, None, 2048, 32768),
    "max_pool1d": (None, 131072, None, None),
    "max_pool1d with indices": (8192, 32768, None, None),
    "max_pool1d with indices, overlapping": (12288, 49152, None, None),
    "max_pool1d, overlapping": (None, 49152, None, None),
    "max_pool2d": (18432, 147456, 262144, None),
    "max_pool2d with indices": (36864, 147456, 1179648, None),
    "max_pool2d with indices, overlapping": (18432, 147456, 294912, None),
    "max_pool2d, overlapping": (12800, 102400, 147456, None),
    "max_pool3d": (16384, 131072, 262144, None),
    "max_pool3d with indices": (65536, 131072, None, None),
    "max_pool3d with indices, overlapping": (55296, 221184, 110592, None),
    "max_pool3d, overlapping": (27648, 221184, 221184, None),
    "max_unpool1d": (524288, None, None, None),
    "max_unpool3d": (None, None, 131072, 524288),
}
"""The least work of each kind: for the result alone, with a gradient, and both again where channels are last in memory.

None where PyTorch was the faster one to the end, as it was for kinds that are not here. Printed by ``python -m
benchmarks.torch_patch`` on one and two cores of an AMD EPYC with torch 2.13.0 on 2026-11-29.
"""
NOTHING = (None, None, None, None)
FUNCTIONS = {
    "MaxPool": "max_pool",
    "AvgPool": "avg_pool",
    "LPPool": "lp_pool",
    "MaxUnpool": "max_unpool",
    "AdaptiveMaxPool": "adaptive_max_pool",
    "AdaptiveAvgPool": "adaptive_avg_pool",
    "FractionalMaxPool": "fractional_max_pool",
}
SLIDING = ("max_pool", "avg_pool", "lp_pool")
OVERLAPPING = 3
"""Windows that read an element, on average, from which on a kind is another one: that of windows at every place."""


def function_of(module: type[nn.Module]) -> str:
    """Return the name of the function that a module of `torch.nn` calls."""
    name = module.__name__
    return FUNCTIONS[name[:-2]] + name[-2:]


def kind_and_overlap(function: str, arguments: Any) -> tuple[str, float]:
    """Return the kind of a call, and how many windows read an element, from an object with its arguments."""
    if function.startswith("adaptive"):
        size = arguments.output_size
        # Maps of one cell are means and maxima of all elements, for which PyTorch has other code.
        is_one = all(each == 1 for each in size) if isinstance(size, (tuple, list)) else size == 1
        return f"{function} to one cell" if is_one else function, 1.0
    if not function.startswith(SLIDING):
        return function, 1.0
    overlap = reads(int(function[-2]), arguments.kernel_size, arguments.stride)
    if function.startswith("lp"):
        return function if arguments.norm_type == 2 else f"{function} of other powers", overlap
    kind = f"{function} with indices" if getattr(arguments, "return_indices", False) else function
    return f"{kind}, overlapping" if overlap >= OVERLAPPING else kind, overlap


@lru_cache(maxsize=1024)
def _overlap(n: int, kernel_size: Any, stride: Any) -> float:
    """Return how many windows read an element, on average."""
    taps = per_axis("patch", "kernel_size", kernel_size, n)
    steps = taps if stride is None or stride == () else per_axis("patch", "stride", stride, n)
    return math.prod(taps) / math.prod(steps)


def reads(n: int, kernel_size: Any, stride: Any) -> float:
    """Return how many windows read an element, on average."""
    try:
        return _overlap(n, kernel_size, stride)
    except (TypeError, ValueError, ZeroDivisionError):  # of lists, which are not remembered, and of what is no size
        try:
            return _overlap(n, *(tuple(each) if isinstance(each, list) else each for each in (kernel_size, stride)))
        except (TypeError, ValueError, ZeroDivisionError):
            return 1.0


def is_worth(kind: str, input: Tensor, overlap: float) -> bool:
    """Whether a call takes less time by `pooling`."""
    last = CHANNELS_LAST.get(input.dim())
    is_last = last is not None and not input.is_contiguous() and input.is_contiguous(memory_format=last)
    least = LEAST.get(kind, NOTHING)[2 * is_last + (input.requires_grad and torch.is_grad_enabled())]
    return least is not None and input.numel() * overlap >= least


def smallest(kind: str, overlap: float) -> int:
    """Return the elements of an input below which no call of a kind is worth it."""
    least = [each for each in LEAST.get(kind, NOTHING) if each is not None]
    return math.ceil(min(least) / overlap) if least else 0


def sentence(kind: str, overlap: float) -> str:
    """Say from how many elements of the input on calls of a kind are worth it; nothing for a kind that never is."""
    parts = []
    least = [None if each is None else f"{math.ceil(each / overlap):,}" for each in LEAST.get(kind, NOTHING)]
    for where, forward, gradient in (("", *least[:2]), ("in channels_last ", *least[2:])):
        if forward and gradient:
            parts.append(f"{where}from {forward} elements ({gradient} where it requires grad)")
        elif forward or gradient:
            when = "unless it requires grad" if forward else "where it requires grad"
            parts.append(f"{where}from {forward or gradient} elements, {when}")
    return f"input {'; '.join(parts)}" if parts else ""
