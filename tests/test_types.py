"""What type checkers see of the functions that return indices on request."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pooling
from pooling.families import extremes, fractional, means

CALLS = """
from typing import Any, assert_type
import numpy as np
from numpy.typing import NDArray
import pooling

Array = NDArray[Any]
Indexed = tuple[NDArray[Any], NDArray[np.int64]]
x = np.ones((1, 1, 4, 4))
flag = bool(x[0, 0, 0, 0])
assert_type(pooling.max_pool2d(x, 2), Array)
assert_type(pooling.max_pool2d(x, 2, 2, 0, 1, False), Array)
assert_type(pooling.max_pool2d(x, 2, 2, 0, 1, False, False), Array)
assert_type(pooling.max_pool2d(x, 2, 2, 0, 1, False, True), Indexed)
assert_type(pooling.min_pool3d(x, 2, 2, 0, 1, False, True), Indexed)
assert_type(pooling.max_pool1d(x, 2, return_indices=True), Indexed)
assert_type(pooling.max_pool2d(x, 2, return_indices=flag), Array | Indexed)
assert_type(pooling.max_pool2d(x, 2, 2, 0, 1, False, flag, nan="ignore"), Array | Indexed)
assert_type(pooling.adaptive_max_pool2d(x, 2), Array)
assert_type(pooling.adaptive_max_pool2d(x, (2, None), True), Indexed)
assert_type(pooling.adaptive_max_pool1d(x, 2, return_indices=True, layout="channels_last"), Indexed)
assert_type(pooling.adaptive_max_pool3d(x, 2, flag), Array | Indexed)
assert_type(pooling.fractional_max_pool2d(x, 2, 2), Array)
assert_type(pooling.fractional_max_pool2d(x, 2, 2, return_indices=True), Indexed)
assert_type(pooling.fractional_max_pool2d(x, 2, 2, None, True), Indexed)
assert_type(pooling.fractional_max_pool3d(x, 2, 2, return_indices=flag), Array | Indexed)
assert_type(pooling.global_max_pool(x, dimensions=2, nan="ignore"), Array)
assert_type(pooling.max_pool1d_backward(x, x, 2, 2, 0, 1, False, True, indices=x), Array)
assert_type(pooling.min_pool2d_backward(x, x, (2, 2), padding="same"), Array)
assert_type(pooling.adaptive_max_pool3d_backward(x, x, (1, None, 2), out=x), Array)
assert_type(pooling.avg_pool1d(x, 2, 2, 0, False, True, divisor_override=3.0), Array)
assert_type(pooling.avg_pool2d(x, 2, 2, 0, False, True, 3.0, rounding="floor"), Array)
assert_type(pooling.avg_pool3d_backward(x, x, 2, 2, [(0, 1)], False, True, 3), Array)
assert_type(pooling.adaptive_avg_pool1d(x, 3, layout="channels_last"), Array)
assert_type(pooling.global_avg_pool_backward(x, x, dimensions=1), Array)
assert_type(pooling.lp_pool1d(x, 2, 3, padding=1), Array)
assert_type(pooling.lp_pool3d_backward(x, x, 1.5, 3, 1, True), Array)
assert_type(pooling.global_lp_pool(x, 3), Array)
assert_type(pooling.gem_pool2d_backward(x, x, p=3.0), tuple[Array, float])
assert_type(pooling.blur_pool2d(x, 3, padding_mode="zeros"), Array)
assert_type(pooling.max_blur_pool2d_backward(x, x, 3, 2, 1, blur_kernel_size=5), Array)
assert_type(pooling.max_roi_pool(x, x, (2, 2), 0.5), Array)
assert_type(pooling.roi_align_backward(x, x, x, x, 2, mode="max"), Array)
assert_type(pooling.max_unpool2d(x, x, 2, output_size=(4, 4)), Array)
assert_type(pooling.max_unpool1d_backward(x, x, x, 2, 2, 0), Array)
assert_type(pooling.fractional_max_pool3d_backward(x, x, 2, None, (0.5, 0.5, 0.5), indices=x), Array)
assert_type(pooling.MaxPool2d(3, stride=2, padding=1).output_shape((1, 1, 4, 4)), tuple[int, ...])
assert_type(pooling.GeMPool2d().exponent_gradient(x, x), float)
"""
REFUSED = """
import numpy as np
import pooling

x = np.ones((1, 1, 4, 4))
pooling.max_pool2d(x, 2, layout="NHWC")
pooling.max_pool2d(x)
pooling.adaptive_max_pool2d(x, 2, 3)
pooling.avg_pool2d(x, 2, rounding="up")
pooling.avg_pool1d(x, 2, 2, 0, False, True, 3.0)
pooling.max_pool3d_backward(x, x, 2, 2, 0, 1, False, False, x)
pooling.lp_pool2d(x, "2", 2)
pooling.max_unpool3d(x, 2)
"""


@pytest.mark.parametrize(
    ("names", "protocol"),
    [
        (("max_pool1d", "max_pool2d", "max_pool3d", "min_pool1d", "min_pool2d", "min_pool3d"), extremes.Sliding),
        (("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"), extremes.Adaptive),
        (("fractional_max_pool2d", "fractional_max_pool3d"), fractional.Fractional),
        (("avg_pool1d",), means.AvgPool1dFunction),
        (("avg_pool1d_backward",), means.AvgPool1dGradient),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_type_checkers_see_is_the_signature(names: tuple[str, ...], protocol: Any) -> None:
    # Without an implementation beside them, overloads are found by the name that it would have.
    name_of_all = SimpleNamespace(__module__=protocol.__module__, __qualname__=f"{protocol.__qualname__}.__call__")
    flagged = typing.get_overloads(name_of_all)
    assert len(flagged) == (0 if "AvgPool" in protocol.__name__ else 3)
    for name in names:
        taken = dict(inspect.signature(getattr(pooling, name)).parameters)
        for each in flagged or [protocol.__call__]:
            seen = dict(inspect.signature(each).parameters)
            assert seen.pop("self").name == "self"
            assert [(key, value.kind) for key, value in seen.items()] == [
                (key, value.kind) for key, value in taken.items()
            ]
            assert {key for key in seen if seen[key] != taken[key]} <= ({"return_indices"} if flagged else set())
        returns = [inspect.signature(each).return_annotation for each in flagged]
        if flagged:
            flags = [inspect.signature(each).parameters["return_indices"].annotation for each in flagged]
            assert flags == ["Literal[False]", "Literal[True]", "bool"]
            assert returns == ["AnyArray", "Indexed", inspect.signature(getattr(pooling, name)).return_annotation]


def checked(source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("mypy")
    (folder / "pooling").symlink_to(Path(__file__).parent.parent / "pooling", target_is_directory=True)
    (folder / "calls.py").write_text(source)
    options = ["--strict", "--follow-imports", "silent", "--python-executable", sys.executable, "--no-error-summary"]
    command = [sys.executable, "-m", "mypy", *options, "--cache-dir", str(folder / "cache"), "calls.py"]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)


def test_the_flag_decides_what_comes_back_by_name_and_by_place(tmp_path: Path) -> None:
    done = checked(CALLS, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_wrong_calls_are_seen(tmp_path: Path) -> None:
    done = checked(REFUSED, tmp_path)
    assert {int(line.split(":")[1]) for line in done.stdout.splitlines() if " error: " in line} == set(range(6, 14))
