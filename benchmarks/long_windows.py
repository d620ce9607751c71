"""What indices cost as windows grow: ``python -m benchmarks.long_windows``, which writes docs/long-windows.md.

Times of one thread, the fastest of several calls in turn: a maximum, the same with its indices, and the gradient that
finds the argmax again, of arrays that exist already.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import pooling
from pooling.benchmark.worker import version

PAGE = Path(__file__).parent.parent / "docs" / "long-windows.md"
TURNS = 7


class KernelSweep(NamedTuple):
    """Maps, and the windows that are tried on them."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    kernels: tuple[int, ...]
    stride: int = 1
    dilation: int = 1
    layout: str = "channels_first"


PLANE, ROW = (1, 1, 1024, 1024), (1, 1, 480_000)
KERNELS = (3, 7, 15, 31, 63, 127)
CASES = (
    KernelSweep("uint8, 1024x1024", PLANE, "uint8", KERNELS),
    KernelSweep("float16, 1024x1024", PLANE, "float16", KERNELS),
    KernelSweep("float32, 1024x1024", PLANE, "float32", KERNELS),
    KernelSweep("float64, 1024x1024", PLANE, "float64", KERNELS),
    KernelSweep("float32, 1024x1024, stride 2", PLANE, "float32", KERNELS, stride=2),
    KernelSweep("float32, 1024x1024, stride 16", PLANE, "float32", (15, 31, 63, 127), stride=16),
    KernelSweep("float32, 1024x1024, dilation 3", PLANE, "float32", KERNELS, dilation=3),
    KernelSweep("float32, 512x512x3, channels_last", (1, 512, 512, 3), "float32", KERNELS, layout="channels_last"),
    KernelSweep(
        "float32, 512x512x3, channels_last, stride 2", (1, 512, 512, 3), "float32", (2, 3, 5), 2, 1, "channels_last"
    ),
    KernelSweep(
        "uint8, 512x512x3, channels_last, stride 2", (1, 512, 512, 3), "uint8", (2, 3, 5), 2, 1, "channels_last"
    ),
    KernelSweep(
        "float32, 112x112x64, channels_last", (1, 112, 112, 64), "float32", KERNELS[:5], layout="channels_last"
    ),
    KernelSweep("float32, 480000 in one row", ROW, "float32", (3, 48, 480, 4800, 48_000)),
)


def best(*calls: Callable[[], object]) -> list[float]:
    """Return the shortest time of each call, which take turns."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(TURNS):
        for call, own in zip(calls, times, strict=True):
            begin = time.perf_counter()
            call()
            own.append(time.perf_counter() - begin)
    return [min(own) for own in times]


def measure(case: KernelSweep, kernel_size: int) -> tuple[float, float, float | None]:
    """Return seconds of a maximum, of one with indices, and of the gradient, which integers have none of."""
    random = np.random.default_rng(0)
    x = random.standard_normal(case.shape) if case.dtype != "uint8" else random.integers(0, 256, case.shape)
    x = x.astype(case.dtype)
    windows = {
        "kernel_size": kernel_size,
        "stride": case.stride,
        "dilation": case.dilation,
        "layout": case.layout,
    }
    function = f"max_pool{len(case.shape) - 2}d"
    forward, backward = getattr(pooling, function), getattr(pooling, f"{function}_backward")
    out = forward(x, **windows)
    calls = [
        lambda: forward(x, **windows, out=out),
        lambda: forward(x, **windows, out=out, return_indices=True),
    ]
    if case.dtype != "uint8":
        grad, target = np.ones_like(out), np.empty_like(x)
        calls.append(lambda: backward(grad, x, **windows, out=target))
    plain, indices, *gradient = best(*calls)
    return plain, indices, gradient[0] if gradient else None


def page() -> str:
    """Return the page."""
    lines = [
        "# Long windows",
        "",
        "Written by `python -m benchmarks.long_windows`: milliseconds of one thread for a maximum, for the same with",
        "its indices, and for its gradient without indices, and how many times as long as the maximum these take.",
        f"pooling {version('pooling')}, numpy {np.__version__}.",
        "",
        "| maps | kernel_size | maximum | with indices | gradient | indices / maximum | gradient / maximum |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    with pooling.threads(1):
        for case in CASES:
            for kernel_size in case.kernels:
                plain, indices, gradient = measure(case, kernel_size)
                back = ("–", "–") if gradient is None else (f"{gradient * 1e3:.2f}", f"{gradient / plain:.1f}")
                lines.append(
                    f"| {case.name} | {kernel_size} | {plain * 1e3:.2f} | {indices * 1e3:.2f} | {back[0]} | "
                    f"{indices / plain:.1f} | {back[1]} |"
                )
                print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the page."""
    argparse.ArgumentParser(prog="python -m benchmarks.long_windows", description=__doc__).parse_args()
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
