"""Measure from which amount of work on `pooling` is faster than PyTorch in a call, and print the table of worth.py.

``python -m benchmarks.torch_patch`` calls modules of PyTorch and patched ones in turns, on one thread and on two, with
inputs that grow by factors of two, and takes the fastest of many rounds of each. The least work of a kind is the
smallest from which on the patched module was the faster one at every size, of every window and dtype of that kind, and
with both numbers of threads.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from pooling.torch import patch, worth

MODULES: dict[int, tuple[Callable[[], nn.Module], ...]] = {
    1: (
        lambda: nn.MaxPool1d(4), lambda: nn.MaxPool1d(3, 2, 1), lambda: nn.MaxPool1d(3, 1, 1),
        lambda: nn.MaxPool1d(2, return_indices=True), lambda: nn.MaxPool1d(3, 1, 1, return_indices=True),
        lambda: nn.AvgPool1d(4), lambda: nn.AvgPool1d(3, 1, 1),
        lambda: nn.LPPool1d(2, 2), lambda: nn.LPPool1d(4, 3, 1), lambda: nn.LPPool1d(2, 3, 1),
        lambda: nn.AdaptiveAvgPool1d(1),
        lambda: nn.AdaptiveAvgPool1d(3), lambda: nn.AdaptiveMaxPool1d(1), lambda: nn.AdaptiveMaxPool1d(3),
        lambda: nn.MaxUnpool1d(2),
    ),
    2: (
        lambda: nn.MaxPool2d(2), lambda: nn.MaxPool2d(3, 2, 1), lambda: nn.MaxPool2d(3, 1, 1),
        lambda: nn.MaxPool2d(5, 1, 2), lambda: nn.MaxPool2d(2, return_indices=True),
        lambda: nn.MaxPool2d(3, 2, 1, return_indices=True), lambda: nn.MaxPool2d(3, 1, 1, return_indices=True),
        lambda: nn.AvgPool2d(2), lambda: nn.AvgPool2d(3, 2, 1),
        lambda: nn.AvgPool2d(3, 1, 1), lambda: nn.AvgPool2d(7, 1, 3), lambda: nn.LPPool2d(2, 2),
        lambda: nn.LPPool2d(4, 3, 2), lambda: nn.LPPool2d(2, 3, 1),
        lambda: nn.AdaptiveAvgPool2d(1), lambda: nn.AdaptiveAvgPool2d(3),
        lambda: nn.AdaptiveMaxPool2d(1), lambda: nn.AdaptiveMaxPool2d(3), lambda: nn.FractionalMaxPool2d(2, 3),
        lambda: nn.MaxUnpool2d(2),
    ),
    3: (
        lambda: nn.MaxPool3d(2), lambda: nn.MaxPool3d(3, 2, 1), lambda: nn.MaxPool3d(2, return_indices=True),
        lambda: nn.MaxPool3d(3, 1, 1, return_indices=True), lambda: nn.MaxPool3d(3, 1, 1),
        lambda: nn.AvgPool3d(3, 1, 1),
        lambda: nn.AvgPool3d(2), lambda: nn.AvgPool3d(3, 2, 1), lambda: nn.LPPool3d(2, 2), lambda: nn.LPPool3d(4, 2),
        lambda: nn.AdaptiveAvgPool3d(1), lambda: nn.AdaptiveAvgPool3d(2), lambda: nn.AdaptiveMaxPool3d(1),
        lambda: nn.AdaptiveMaxPool3d(2), lambda: nn.FractionalMaxPool3d(2, 2), lambda: nn.MaxUnpool3d(2),
    ),
}  # fmt: skip
FORMATS = {1: None, 2: torch.channels_last, 3: torch.channels_last_3d}
MARGIN = 1.05


class Case(NamedTuple):
    """What is measured of a module."""

    axes: int
    last: bool
    """Whether channels are last in memory."""
    gradient: bool
    dtype: torch.dtype
    threads: int


MOST = 2 << 20
"""Elements that the largest least work may have."""


def shapes(n: int) -> Iterator[tuple[int, ...]]:
    """Yield shapes of inputs, each of twice as many elements as the one before it."""
    shape = [1, 4, *((64,), (8, 8), (4, 8, 8))[n - 1]]
    for step in range(13):
        yield tuple(shape)
        # Batch, channels and maps grow in turn, so that no shape is an odd one.
        shape[(1, -1, 0, -2 if n > 1 else -1)[step % 4]] *= 2


def ones(module: nn.Module, inputs: Sequence[Any]) -> Any:
    """Return a gradient for the result of a module, in its memory format."""
    with torch.no_grad():
        result = module(*inputs)
    return torch.ones_like(result[0] if isinstance(result, tuple) else result)


def times(modules: Sequence[nn.Module], inputs: Sequence[Any], gradient: bool, seconds: float) -> list[float]:
    """Return the shortest times of calls of modules, which take turns."""

    def call(module: nn.Module) -> Any:
        result = module(*inputs)
        result = result[0] if isinstance(result, tuple) else result
        if gradient:
            torch.autograd.grad(result, inputs[0], grad)
        return result

    grad = ones(modules[0], inputs)
    best = [float("inf")] * len(modules)
    for module in modules:
        call(module)
    end, round_ = time.perf_counter() + seconds, 0
    while time.perf_counter() < end or round_ < 7:
        round_ += 1
        for i, module in enumerate(modules):
            begin = time.perf_counter()
            call(module)
            best[i] = min(best[i], time.perf_counter() - begin)
    return best


def inputs_of(module: nn.Module, shape: tuple[int, ...], last: bool, gradient: bool, dtype: torch.dtype) -> list[Any]:
    """Return what a module is called with."""
    n = len(shape) - 2
    x = torch.randn(shape).to(dtype)
    if last:
        x = x.to(memory_format=FORMATS[n])
    rest = []
    if "Unpool" in type(module).__name__:
        x, indices = getattr(nn.functional, f"max_pool{n}d")(x, 2, return_indices=True)
        rest = [indices]
    return [x.requires_grad_(gradient), *rest]


def ratios_of(make: Callable[[], nn.Module], case: Case, seconds: float) -> Iterator[tuple[int, float]]:
    """Yield elements of inputs, and how many times as long PyTorch takes."""
    theirs, ours = make(), make()
    patch(ours, always=True)
    torch.set_num_threads(case.threads)
    for shape in shapes(case.axes):
        inputs = inputs_of(theirs, shape, case.last, case.gradient, case.dtype)
        try:
            slow, fast = times((theirs, ours), inputs, case.gradient, seconds)
        except NotImplementedError:  # by PyTorch, in this dtype
            return
        yield inputs[0].numel(), slow / fast


def cases() -> Iterator[Case]:
    """Yield what is measured of each module."""
    for n in MODULES:
        formats = (False, True)[: 1 + (n > 1)]
        for choice in itertools.product(formats, (False, True), (torch.float32, torch.bfloat16), (1, 2)):
            yield Case(n, *choice)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.02, help="a comparison")
    parser.add_argument("--only", default="", help="kinds whose names contain this")
    parser.add_argument("--verbose", action="store_true", help="print how many times as long PyTorch takes")
    given = parser.parse_args()
    least: dict[tuple[str, bool, bool], float | None] = {}
    for case in cases():
        for make in MODULES[case.axes]:
            kind, overlap = worth.kind_and_overlap(worth.function_of(type(make())), make())
            if given.only not in kind:
                continue
            measured = list(ratios_of(make, case, given.seconds))
            if not measured:
                continue
            if given.verbose:
                print(f"# {make()!r:60} {case} {' '.join(f'{ratio:.2f}' for _, ratio in measured)}", flush=True)
            slow = [size for size, ratio in measured if ratio < MARGIN]
            faster = [size for size, _ in measured if not slow or size > max(slow)]
            key = kind, case.last, case.gradient
            before = least.get(key, 0.0)
            least[key] = None if not faster or before is None else max(faster[0] * overlap, before)
    for kind in sorted({key[0] for key in least}):
        row = [least.get((kind, last, gradient)) for last in (False, True) for gradient in (False, True)]
        # What begins at inputs of many megabytes is of no use.
        found = tuple(None if each is None or each > MOST else round(each) for each in row)
        if any(found):
            print(f"    {kind!r}: {found},".replace("'", '"'))


if __name__ == "__main__":
    main()
