"""What every compiled kernel module has, whatever its level; there is no module of this very name."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from ._core import Plan
from ._core import Runner as AnyRunner

AnyArray = NDArray[Any]

LEVEL: str
MOST_SAMPLES: int
REDUCERS: dict[str, int]
ROUNDINGS: dict[str, int]
KINDS: dict[str, int]
STRATEGIES: dict[str, tuple[str, ...]]

def forward(
    plan: Plan, reducer: int, kind: int, src: AnyArray, dst: AnyArray, threads: int = ..., rounding: int = ...
) -> None: ...
def leaf_tables() -> dict[str, dict[tuple[int, ...], dict[str, Any]]]: ...
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
def near_logarithms(src: AnyArray, dst: AnyArray) -> None: ...
def near_powers(src: AnyArray, dst: AnyArray, p: float) -> None: ...
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
def send_through_blur(
    src: AnyArray,
    input: AnyArray,
    dst: AnyArray,
    outer: int,
    inputs: Sequence[int],
    outputs: Sequence[int],
    tables: Sequence[tuple[AnyArray, AnyArray, AnyArray]],
    threads: int = ...,
) -> bool: ...
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
    windows: Sequence[tuple[int, int, int, int, int]] | None = ...,
) -> int: ...
def fractional_max(
    src: AnyArray,
    dst: AnyArray | None,
    indices: AnyArray | None,
    outer: int,
    inner: int,
    input_size: Sequence[int],
    output_size: Sequence[int],
    kernel_size: Sequence[int],
    starts: Sequence[AnyArray] | None,
    kind: int,
    threads: int = ...,
    samples: AnyArray | None = ...,
    axes: int = ...,
    itemsize: int = ...,
) -> int: ...

BLOCK_OPS: dict[str, int]
BLOCK_KINDS: dict[str, int]

def reduce_blocks(
    op: int,
    kind: int,
    result: int,
    rounding: int,
    elements: AnyArray,
    stages: Sequence[tuple[Sequence[int], int, AnyArray | None, AnyArray | None, Sequence[int]]],
    origin: Sequence[int],
    spans: Sequence[int],
    late: int,
    nodata: int | float | None,
    fill: bytes | None,
    min_valid: float,
    mask: AnyArray | None = ...,
    weights: AnyArray | None = ...,
    counts: AnyArray | None = ...,
    carry: AnyArray | None = ...,
    carry_counts: AnyArray | None = ...,
    threads: int = ...,
) -> int: ...

class Runner(AnyRunner): ...
