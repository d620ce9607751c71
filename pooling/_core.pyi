"""What kernels of all levels share."""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

AnyArray = NDArray[Any]

THREADING: Literal["team", "openmp", "none"]
THREADS_HERE: ContextVar[int | None]

def built_levels() -> tuple[str, ...]: ...
def supported_levels() -> tuple[str, ...]: ...
def compiler() -> str: ...
def get_num_threads() -> int: ...
def set_default_threads(threads: int) -> None: ...
def set_serial_bytes(nbytes: int) -> int: ...
def threads_for(nbytes: int, family: str = ...) -> int: ...
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

class Runner:
    call: Any
    def __init__(self, call: Any) -> None: ...
    def forward(self, array: AnyArray, out: AnyArray | None, indexed: bool) -> Any: ...
    def forward_view(self, array: AnyArray, out: AnyArray | None, indexed: bool) -> Any: ...
    def backward(
        self, grad_output: AnyArray, array: AnyArray | None, indices: AnyArray | None, out: AnyArray | None
    ) -> AnyArray | None: ...

def gathered(array: AnyArray) -> AnyArray: ...
def signature(function: str, array: AnyArray, arguments: tuple[Any, ...]) -> tuple[Any, ...]: ...

class Entry:
    def __init__(
        self,
        known: dict[tuple[Any, ...], Runner],
        forward_otherwise: Callable[..., Any],
        backward_otherwise: Callable[..., AnyArray],
    ) -> None: ...
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
    def backward(
        self,
        function: str,
        grad_output: ArrayLike,
        input: ArrayLike,
        indices: ArrayLike | None,
        out: AnyArray | None,
        *arguments: Any,
    ) -> AnyArray: ...
