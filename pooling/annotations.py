"""Types of arguments, and what functions return that return indices if asked to.

Those overloads stand here once for all ranks. mypy checks a function against the plain signature and shows callers the
overloads: the flag by its name, in its place as torch has it, or as a bool that is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .geometry import Padding, Sizes

__all__ = [
    "AdaptiveSize",
    "AnyArray",
    "Indexed",
    "Layout",
    "NanRule",
    "Ratio",
    "Rounding",
    "adaptive",
    "fractional",
    "sliding",
]

Layout = Literal["channels_first", "channels_last"]
NanRule = Literal["propagate", "ignore"]
Rounding = Literal["half_even", "half_up", "floor", "trunc"]
AdaptiveSize = int | Sequence[int | None] | None
Ratio = float | Sequence[float]
AnyArray = NDArray[Any]
Indexed = tuple[AnyArray, NDArray[np.int64]]


class _Sliding(Protocol):
    def __call__(
        self,
        input: ArrayLike,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        out: AnyArray | None = None,
    ) -> AnyArray | Indexed: ...


class Sliding(Protocol):
    """A function of windows that slide."""

    @overload
    def __call__(
        self,
        input: ArrayLike,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
        return_indices: Literal[False] = False,
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        out: AnyArray | None = None,
    ) -> AnyArray: ...

    @overload
    def __call__(
        self,
        input: ArrayLike,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
        *,
        return_indices: Literal[True],
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        out: AnyArray | None = None,
    ) -> Indexed: ...

    @overload
    def __call__(
        self,
        input: ArrayLike,
        kernel_size: Sizes,
        stride: Sizes | None,
        padding: Padding,
        dilation: Sizes,
        ceil_mode: bool,
        return_indices: Literal[True],
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        out: AnyArray | None = None,
    ) -> Indexed: ...

    @overload
    def __call__(
        self,
        input: ArrayLike,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        out: AnyArray | None = None,
    ) -> AnyArray | Indexed: ...


def sliding(function: _Sliding) -> Sliding:
    """Say of a function of windows that slide what its flag decides."""
    return cast(Sliding, function)


class _Adaptive(Protocol):
    def __call__(
        self,
        input: ArrayLike,
        output_size: AdaptiveSize,
        return_indices: bool = False,
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        out: AnyArray | None = None,
    ) -> AnyArray | Indexed: ...


class Adaptive(Protocol):
    """A function of a fixed number of windows."""

    @overload
    def __call__(
        self,
        input: ArrayLike,
        output_size: AdaptiveSize,
        return_indices: Literal[False] = False,
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        out: AnyArray | None = None,
    ) -> AnyArray: ...

    @overload
    def __call__(
        self,
        input: ArrayLike,
        output_size: AdaptiveSize,
        return_indices: Literal[True],
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        out: AnyArray | None = None,
    ) -> Indexed: ...

    @overload
    def __call__(
        self,
        input: ArrayLike,
        output_size: AdaptiveSize,
        return_indices: bool = False,
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        out: AnyArray | None = None,
    ) -> AnyArray | Indexed: ...


def adaptive(function: _Adaptive) -> Adaptive:
    """Say of a function of a fixed number of windows what its flag decides."""
    return cast(Adaptive, function)


class _Fractional(Protocol):
    def __call__(
        self,
        input: ArrayLike,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: Ratio | None = None,
        return_indices: bool = False,
        _random_samples: ArrayLike | None = None,
        *,
        layout: Layout = "channels_first",
        rng: np.random.Generator | None = None,
        out: AnyArray | None = None,
    ) -> AnyArray | Indexed: ...


class Fractional(Protocol):
    """A function of windows at steps that vary."""

    @overload
    def __call__(
        self,
        input: ArrayLike,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: Ratio | None = None,
        return_indices: Literal[False] = False,
        _random_samples: ArrayLike | None = None,
        *,
        layout: Layout = "channels_first",
        rng: np.random.Generator | None = None,
        out: AnyArray | None = None,
    ) -> AnyArray: ...

    @overload
    def __call__(
        self,
        input: ArrayLike,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: Ratio | None = None,
        *,
        return_indices: Literal[True],
        _random_samples: ArrayLike | None = None,
        layout: Layout = "channels_first",
        rng: np.random.Generator | None = None,
        out: AnyArray | None = None,
    ) -> Indexed: ...

    @overload
    def __call__(
        self,
        input: ArrayLike,
        kernel_size: Sizes,
        output_size: Sizes | None,
        output_ratio: Ratio | None,
        return_indices: Literal[True],
        _random_samples: ArrayLike | None = None,
        *,
        layout: Layout = "channels_first",
        rng: np.random.Generator | None = None,
        out: AnyArray | None = None,
    ) -> Indexed: ...

    @overload
    def __call__(
        self,
        input: ArrayLike,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: Ratio | None = None,
        return_indices: bool = False,
        _random_samples: ArrayLike | None = None,
        *,
        layout: Layout = "channels_first",
        rng: np.random.Generator | None = None,
        out: AnyArray | None = None,
    ) -> AnyArray | Indexed: ...


def fractional(function: _Fractional) -> Fractional:
    """Say of a function of windows at steps that vary what its flag decides."""
    return cast(Fractional, function)
