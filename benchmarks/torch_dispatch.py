"""What the ways from a PyTorch function to a kernel cost: ``python -m benchmarks.torch_dispatch``.

The map is so small that the kernel itself takes well under a microsecond; what is left is the way to it. Each way is
timed in turn, many times over, and the fastest round of each is printed: others are those that something disturbed.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import pooling
import pooling.torch.functional as F
from pooling.torch.operators import FUNCTIONS, pooled, pooled_gradient

ROUNDS, CALLS = 300, 40
FUNCTION = FUNCTIONS["max_pool2d"]
GIVEN = (2, None, 0, 1, False, "propagate")
ARGUMENTS = ([2, 2], [2, 2], [0, 0, 0, 0], [1, 1], False, "propagate")
LISTS = "SymInt[] kernel_size, SymInt[] stride, SymInt[] padding, SymInt[] dilation"
NUMBERS = ", ".join(f"SymInt {name}" for name in "abcdefghij")


def _kernel(x: torch.Tensor, *_: Any) -> torch.Tensor:
    return pooled(FUNCTION, x, GIVEN)  # type: ignore[no-any-return]


class _Outer(torch.autograd.Function):
    """A derivative around an operator that has none."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, operator: Any) -> Any:  # type: ignore[override]
        ctx.save_for_backward(x)
        with torch._C._AutoDispatchBelowAutograd():
            return operator(x, *ARGUMENTS)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return pooled_gradient(FUNCTION, grad, x, None, GIVEN), None


def ways() -> dict[str, Callable[[torch.Tensor], Any]]:
    """Return the ways, each a function of a tensor."""
    library = torch.library.Library("pooling_dispatch", "DEF")
    library.define(f"lists(Tensor x, {LISTS}, bool ceil_mode, str nan) -> Tensor")
    library.define(f"numbers(Tensor x, {NUMBERS}, bool ceil_mode, str nan) -> Tensor")
    for name in ("lists", "numbers"):
        library.impl(name, _kernel, "CPU")

    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return pooled_gradient(FUNCTION, grad, x, None, GIVEN), *(None,) * 6

    def keep(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0])

    def custom(
        x: torch.Tensor, kernel_size: list[int], stride: list[int], padding: list[int], dilation: list[int],
        ceil_mode: bool, nan: str,
    ) -> torch.Tensor:  # fmt: skip
        return _kernel(x)

    # Its arguments are read from annotations, which are strings here.
    custom.__annotations__ = {
        "x": torch.Tensor, **dict.fromkeys(("kernel_size", "stride", "padding", "dilation"), list[int]),
        "ceil_mode": bool, "nan": str, "return": torch.Tensor,
    }  # fmt: skip
    decorated: Any = torch.library.custom_op("pooling_dispatch::custom", custom, mutates_args=())
    decorated.register_autograd(backward, setup_context=keep)
    lists = torch.ops.pooling_dispatch.lists.default
    numbers = torch.ops.pooling_dispatch.numbers.default
    ways_of_library = library  # must live as long as its operators
    return {
        "torch.nn.functional.max_pool2d": lambda x: torch.nn.functional.max_pool2d(x, 2),
        "custom_op and register_autograd": lambda x: decorated(x, *ARGUMENTS),
        "Library.define, lists of sizes": lambda x: lists(x, *ARGUMENTS),
        "Library.define, ten numbers": lambda x: numbers(x, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1, False, "propagate"),
        "autograd.Function around Library.define": lambda x: _Outer.apply(x, lists),
        "torch.ops.pooling.max_pool2d": lambda x: FUNCTION.pool(x, *ARGUMENTS),
        "pooling.torch.functional.max_pool2d": lambda x, _=ways_of_library: F.max_pool2d(x, 2),
    }


def measure() -> dict[str, tuple[float, float, float]]:
    """Return microseconds of each way: without a gradient, with one, and with the backward pass."""
    x = torch.rand(1, 1, 4, 4)
    wanted = x.clone().requires_grad_()
    grad = torch.ones(1, 1, 2, 2)
    array = x.numpy()

    def trained(way: Callable[[torch.Tensor], Any]) -> Callable[[], Any]:
        return lambda: torch.autograd.grad(way(wanted), wanted, grad)

    calls: dict[str, list[Callable[[], Any] | None]] = {
        "pooling.max_pool2d of an array": [lambda: pooling.max_pool2d(array, 2), None, None]
    }
    for name, way in ways().items():
        calls[name] = [lambda way=way: way(x), None, None]
        if not name.startswith("Library"):
            calls[name][1:] = [lambda way=way: way(wanted), trained(way)]
    best = {name: [float("inf")] * 3 for name in calls}
    with pooling.threads(1):
        for _ in range(ROUNDS):
            for name, three in calls.items():
                for place, call in enumerate(three):
                    if call is not None:
                        took = timeit.timeit(call, number=CALLS) / CALLS * 1e6
                        best[name][place] = min(best[name][place], took)
    return {name: (each[0], each[1], each[2]) for name, each in best.items()}


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print("| way, of a map of 4 x 4 | forward, us | with requires_grad, us | and backward, us |")
    print("| --- | ---: | ---: | ---: |")
    for name, numbers in measure().items():
        print(f"| {name} | " + " | ".join(f"{each:.1f}" if np.isfinite(each) else "" for each in numbers) + " |")


if __name__ == "__main__":
    main()
