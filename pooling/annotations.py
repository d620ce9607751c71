"""Types of the arguments of public functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AdaptiveSize",
    "AnyArray",
    "Indexed",
    "Layout",
    "NanRule",
    "Padding",
    "Random",
    "Ratio",
    "Rounding",
    "Sizes",
]

Sizes = int | Sequence[int]
Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]
"""What the public functions take as `kernel_size`, `stride`, `dilation`, and as `padding`."""
Layout = Literal["channels_first", "channels_last"]
NanRule = Literal["propagate", "ignore"]
Rounding = Literal["half_even", "half_up", "floor", "trunc"]
AdaptiveSize = int | Sequence[int | None] | None
Ratio = float | Sequence[float]
Random: TypeAlias = "np.random.Generator | np.random.BitGenerator | np.random.SeedSequence | int | Sequence[int] | None"
"""What `numpy.random.default_rng` takes; a string, since naming these classes would import `numpy.random`."""
AnyArray = NDArray[Any]
Indexed = tuple[AnyArray, NDArray[np.int64]]
