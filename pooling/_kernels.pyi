"""What every compiled kernel module has, whatever its level; there is no module of this very name."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

AnyArray = NDArray[Any]

LEVEL: str
THREADING: bool
REDUCERS: dict[str, int]
ROUNDINGS: dict[str, int]
KINDS: dict[str, int]
STRATEGIES: dict[str, tuple[str, ...]]

def keep_workers(workers: int) -> None: ...
def count_workers() -> int: ...
def answer_signals_in(thread: int) -> None: ...

class DefaultMode:
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...

class Plan:
    def __init__(
        self,
        outer: int,
        inner: int,
        axes: Sequence[tuple[Any, ...]],
        average: bool = ...,
        divisor_override: float = ...,
        number_divisor: float = ...,
    ) -> None: ...
    @property
    def summation_depth(self) -> int: ...
    @property
    def overlaps(self) -> int: ...
    @property
    def spreading_depth(self) -> int: ...

def forward(
    plan: Plan, reducer: int, kind: int, src: AnyArray, dst: AnyArray, threads: int = ..., rounding: int = ...
) -> None: ...
def strategy_of(plan: Plan, kind_of_call: str, reducer: int, kind: int, given: bool = ...) -> tuple[str, int]: ...
def forward_indexed(
    plan: Plan, reducer: int, kind: int, src: AnyArray, dst: AnyArray, indices: AnyArray, threads: int = ...
) -> None: ...
def average_backward(
    plan: Plan, kind: int, grad_output: AnyArray, grad_input: AnyArray, threads: int = ...
) -> None: ...
def divide_by_place(plan: Plan, kind: int, src: AnyArray, dst: AnyArray, threads: int = ...) -> None: ...
def scatter_backward(
    plan: Plan,
    reducer: int,
    kind: int,
    gradient_kind: int,
    src: AnyArray | None,
    indices: AnyArray | None,
    grad_output: AnyArray,
    grad_input: AnyArray,
    threads: int = ...,
) -> int: ...
def norm_forward(
    plan: Plan, kind: int, src: AnyArray, dst: AnyArray, p: float, eps: float = ..., threads: int = ...
) -> None: ...
def norm_backward(
    plan: Plan,
    kind: int,
    src: AnyArray,
    grad_output: AnyArray,
    grad_input: AnyArray,
    exponents: AnyArray | None,
    p: float,
    eps: float = ...,
    threads: int = ...,
) -> None: ...
def powers(src: AnyArray, dst: AnyArray, p: float) -> None: ...
def logarithms(src: AnyArray, dst: AnyArray) -> None: ...
def blur(
    kind: int,
    src: AnyArray,
    dst: AnyArray,
    outer: int,
    inner: int,
    inputs: Sequence[int],
    outputs: Sequence[int],
    tables: Sequence[tuple[AnyArray, AnyArray, AnyArray]],
    threads: int = ...,
) -> None: ...
def pool_regions(
    kind: int,
    input_shape: tuple[int, ...],
    result_shape: tuple[int, ...],
    input: AnyArray,
    output: AnyArray,
    maps: AnyArray,
    rows: tuple[AnyArray, ...],
    columns: tuple[AnyArray, ...],
    grad_input: AnyArray | None = ...,
    threads: int = ...,
) -> None: ...
def align_regions(
    kind: int,
    input_shape: tuple[int, ...],
    result_shape: tuple[int, ...],
    input: AnyArray,
    output: AnyArray,
    maps: AnyArray,
    rows: tuple[AnyArray, ...],
    columns: tuple[AnyArray, ...],
    single: bool,
    averaging: bool,
    grad_input: AnyArray | None = ...,
    threads: int = ...,
) -> None: ...
def unpool(
    src: AnyArray,
    indices: AnyArray,
    dst: AnyArray,
    outer: int,
    pooled: int,
    cells: int,
    inner: int,
    itemsize: int,
    backward: bool = ...,
    threads: int = ...,
) -> int: ...
def fractional_max(
    src: AnyArray,
    dst: AnyArray,
    indices: AnyArray | None,
    outer: int,
    inner: int,
    input_size: Sequence[int],
    output_size: Sequence[int],
    kernel_size: Sequence[int],
    starts: Sequence[AnyArray],
    kind: int,
    threads: int = ...,
) -> None: ...

class Forward:
    call: Any
    def __init__(self, call: Any, threads_for: Callable[[int], int]) -> None: ...

def signature(function: str, array: AnyArray, arguments: tuple[Any, ...]) -> tuple[Any, ...]: ...

class Pooling:
    def __init__(self, known: dict[tuple[Any, ...], Forward], otherwise: Callable[..., Any]) -> None: ...
    def find(self, function: str, array: AnyArray, arguments: tuple[Any, ...]) -> Any: ...
    @overload
    def forward(
        self,
        function: str,
        input: ArrayLike,
        out: AnyArray | None,
        return_indices: Literal[False],
        *arguments: Any,
    ) -> AnyArray: ...
    @overload
    def forward(
        self, function: str, input: ArrayLike, out: AnyArray | None, return_indices: bool, *arguments: Any
    ) -> AnyArray | tuple[AnyArray, NDArray[np.int64]]: ...
