"""What kernels of all levels share."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

AnyArray = NDArray[Any]

THREADING: Literal["team", "openmp", "none"]

def built_levels() -> tuple[str, ...]: ...
def supported_levels() -> tuple[str, ...]: ...
def compiler() -> str: ...
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
