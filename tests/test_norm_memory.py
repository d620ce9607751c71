"""What norms and their gradients take beyond their results: bounded scratch memory, at every size and dtype."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pooling

MIB = 2**20
ALLOWED = 6
"""Of two threads, in MiB, with what Python and the C library take for themselves."""
OF_SUMS = 8
"""And where gradients are made in double, SUMS_BYTES of pyx/tuning.pxd for each thread that comes to make some."""

CASES: dict[str, tuple[tuple[int, ...], Callable[..., Any], tuple[Any, ...]]] = {
    "one huge plane": ((1, 1, 4096, 4096), pooling.global_lp_pool, (3,)),
    "the same in channels_last": ((1, 4096, 1024, 4), pooling.global_lp_pool, (3,)),
    "infinite": ((1, 1, 4096, 4096), pooling.global_lp_pool, (np.inf,)),
    "below 1": ((1, 1, 1024, 2048), pooling.global_lp_pool, (0.5,)),
    "generalised mean": ((1, 2, 2048, 2048), pooling.gem_pool2d, (2.0,)),
    "small windows": ((1, 4, 1024, 2048), pooling.lp_pool2d, (2, 3, 2)),
    "large windows": ((1, 1, 2048, 2048), pooling.lp_pool2d, (2, 32, 16)),
    "a long row": ((1, 1, 2**22), pooling.lp_pool1d, (3, 5, 2)),
    "many short rows": ((4096, 64, 16), pooling.lp_pool1d, (2, 4)),
    "volumes": ((1, 2, 64, 128, 256), pooling.lp_pool3d, (2, 3, 2)),
}


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def growth(name: str, dtype: str) -> list[float]:
    """MiB that the peak of this process grows by, forward and backward, beyond the result."""
    if dtype == "bfloat16":
        import ml_dtypes  # noqa: F401  makes NumPy know bfloat16
    shape, forward, arguments = CASES[name]
    backward = getattr(pooling, f"{forward.__name__}_backward")
    keywords = {"layout": "channels_last"} if "channels_last" in name else {}
    x = np.ones(shape, dtype)
    small = np.ones(shape[:2] + (8,) * (len(shape) - 2) if not keywords else (1, 8, 8, 4), dtype)
    y = forward(small, *arguments[:1], *(4 for _ in arguments[1:2]), **keywords)
    backward(y, small, *arguments[:1], *(4 for _ in arguments[1:2]), **keywords)
    y = np.empty(forward(x[:0], *arguments, **keywords).shape, dtype)
    found = []
    # Room for results, and for peaks so far, is touched first.
    out = np.ones((shape[0], *y.shape[1:]), dtype)
    before = peak()
    forward(x, *arguments, out=out, **keywords)
    found.append((peak() - before) / MIB)
    gradient = np.ones(shape, dtype)
    before = peak()
    backward(out, x, *arguments, out=gradient, **keywords)
    found.append((peak() - before) / MIB)
    return found


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", sorted(CASES))
def test_norms_take_no_copies(name: str, dtype: str, run_python: Callable[..., str]) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    found = json.loads(run_python(__file__, name, dtype, POOLING_NUM_THREADS="2"))
    assert max(found) <= ALLOWED + (OF_SUMS if name == "infinite" else 0), found


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        print(json.dumps(growth(*sys.argv[1:])))
