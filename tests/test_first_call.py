"""What the first call of a signature makes beside its result, and how little Python the next ones run."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import calls
from tests.conftest import random_array

MIB = 1 << 20
X = random_array((1, 16, 8, 8), np.float32)
POOLED, INDICES = pooling.max_pool2d(X, 2, return_indices=True)
CUBE = random_array((1, 4, 8, 8, 8), np.float32)
ROW = random_array((1, 4, 64), np.float32)

QUICK: dict[str, Callable[[], Any]] = {
    "max_pool2d": partial(pooling.max_pool2d, X, 2),
    "max_pool2d with indices": partial(pooling.max_pool2d, X, 2, return_indices=True),
    "max_pool2d into an array": partial(pooling.max_pool2d, X, 2, out=np.empty_like(POOLED)),
    "max_pool2d_backward": partial(pooling.max_pool2d_backward, POOLED, X, 2),
    "max_pool2d_backward with indices": partial(pooling.max_pool2d_backward, POOLED, X, 2, indices=INDICES),
    "min_pool2d": partial(pooling.min_pool2d, X, [3, 2], (2, 1), 1),
    "min_pool2d_backward": partial(pooling.min_pool2d_backward, POOLED, X, 2),
    "avg_pool2d": partial(pooling.avg_pool2d, X, 3, 2, 1, count_include_pad=False),
    "avg_pool2d_backward": partial(pooling.avg_pool2d_backward, POOLED, X, 2),
    "avg_pool1d": partial(pooling.avg_pool1d, ROW, 4),
    "max_pool3d": partial(pooling.max_pool3d, CUBE, 2, return_indices=True),
    "adaptive_max_pool2d": partial(pooling.adaptive_max_pool2d, X, 3, return_indices=True),
    "adaptive_max_pool2d_backward": partial(pooling.adaptive_max_pool2d_backward, POOLED, X, 4),
    "adaptive_avg_pool2d": partial(pooling.adaptive_avg_pool2d, X, (3, 4)),
    "adaptive_avg_pool2d_backward": partial(pooling.adaptive_avg_pool2d_backward, POOLED, X, 4),
    "global_avg_pool": partial(pooling.global_avg_pool, X),
    "global_avg_pool_backward": partial(pooling.global_avg_pool_backward, X[:, :, :1, :1].copy(), X),
    "global_max_pool": partial(pooling.global_max_pool, X),
    "global_max_pool_backward": partial(pooling.global_max_pool_backward, X[:, :, :1, :1].copy(), X),
}


def run_in_python(call: Callable[[], Any]) -> list[str]:
    """List the functions of Python that run during a call."""
    names: list[str] = []

    def note(frame: Any, event: str, _: object) -> None:
        if event == "call":
            names.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return names


@pytest.mark.parametrize("name", QUICK)
def test_a_call_like_an_earlier_one_runs_no_python_but_the_function_itself(name: str) -> None:
    QUICK[name]()
    assert run_in_python(QUICK[name]) == [name.split()[0]]
    # The measure itself: a call that is new runs more.
    calls.forget()
    assert len(run_in_python(QUICK[name])) > 10


HD = random_array((1, 1, 1080, 1920), np.float32)
UNCOUNTED = {"count_include_pad": False}
LARGE: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {
    "mean": (pooling.avg_pool2d, (3, 1, 1), UNCOUNTED),
    "mean with strides": (pooling.avg_pool2d, (3, 2, 1), UNCOUNTED),
    "mean of numbers": (pooling.avg_pool2d, (3, 1, 1), {"nan": "ignore"}),
    "long mean": (pooling.avg_pool2d, (31, 1, 15), UNCOUNTED),
    "maximum": (pooling.max_pool2d, (3, 1, 1), {}),
    "indices": (pooling.max_pool2d, (3, 1, 1), {"return_indices": True}),
    "adaptive mean": (pooling.adaptive_avg_pool2d, ((700, 1001),), {}),
    "adaptive maximum": (pooling.adaptive_max_pool2d, ((700, 1001),), {}),
    "norm": (pooling.lp_pool2d, (2, 3, 2), {}),
    "blur": (pooling.blur_pool2d, (), {}),
    "maximum and blur": (pooling.max_blur_pool2d, (), {}),
}


def most_memory(call: Callable[[], Any]) -> int:
    """Bytes that Python and NumPy hold at the same time during a call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", LARGE)
def test_the_first_call_lays_out_axes_and_no_planes(name: str) -> None:
    """What is made once for a signature grows with the sizes of axes, and not with what they make together."""
    function, arguments, keywords = LARGE[name]
    forward = partial(function, HD, *arguments, **keywords)
    calls.forget()
    first, then = most_memory(forward), most_memory(forward)
    assert first - then < MIB // 2
    made = forward()
    pooled = made[0] if isinstance(made, tuple) else made
    backward = partial(getattr(pooling, f"{function.__name__}_backward"), pooled, HD, *arguments, **keywords)
    calls.forget()
    first, then = most_memory(backward), most_memory(backward)
    assert first - then < MIB // 2


IMPORTS = """
import sys
import numpy
before = set(sys.modules)
import pooling
print(*sorted(set(sys.modules) - before))
pooling.max_pool2d(numpy.zeros((1, 1, 8, 8), numpy.float32), 2)
print(*sorted(set(sys.modules) - before))
"""
SLOW = {"difflib", "email", "http", "importlib.metadata", "multiprocessing", "random", "shutil", "socket", "ssl",
        "subprocess", "sysconfig", "tempfile", "urllib", "zipfile"}  # fmt: skip
"""What takes long to import and is needed by few calls."""


def test_imports_bring_what_is_used_at_once(run_python: Callable[..., str]) -> None:
    imported, used = (set(line.split()) for line in run_python("-c", IMPORTS).splitlines())
    own = {name for name in used if name.startswith("pooling.families.") and name != "pooling.families"}
    assert own == {"pooling.families.extremes"}
    assert not {name for name in imported if name.startswith("pooling.") and name.count(".") > 1}
    assert not (SLOW & used), sorted(SLOW & used)
