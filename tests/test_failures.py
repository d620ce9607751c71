"""A system that has no memory or no thread left: a call is right, or raises MemoryError, and keeps nothing.

tests/failures.c, preloaded into a process of its own, makes each allocation of the compiled modules fail in turn.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import pooling

SOURCE = Path(__file__).with_name("failures.c")

PROLOGUE = """
import ctypes, gc
import numpy as np
import pooling
from pooling.calls import forget

system = ctypes.CDLL(None)
random = np.random.default_rng(0)
maps = random.standard_normal((8, 32, 28, 28), np.float32)
small = random.standard_normal((64, 32, 7, 7), np.float32)
image = random.integers(0, 255, (512, 512), np.uint8)
half, places = pooling.max_pool2d(maps, 2, return_indices=True)
same = np.ones_like(maps)
one = np.ones((8, 32, 1, 1), np.float32)
rois = random.uniform(0, 14, (40, 4)).astype(np.float32)
rois[:, 2:] += rois[:, :2]
images = random.integers(0, 8, 40)
boxes = np.concatenate([images[:, None], rois], axis=1).astype(np.float32)
samples = random.uniform(size=(8, 32, 2)).astype(np.float32)
aligned = np.ones((40, 32, 3, 3), np.float32)

CALLS = {
    "max": lambda: pooling.max_pool2d(maps, 3, stride=1, padding=1),
    "max, channels last": lambda: pooling.max_pool2d(maps, 3, stride=1, padding=1, layout="channels_last"),
    "max, a view": lambda: pooling.max_pool2d(maps[:, :, ::2, 3:], 3, stride=2),
    "max, long": lambda: pooling.max_pool2d(maps, 25, stride=1, padding=12),
    "max, indices": lambda: pooling.max_pool2d(maps, 3, stride=2, return_indices=True),
    "max, backward": lambda: pooling.max_pool2d_backward(half, maps, 2),
    "max, overlapping, backward": lambda: pooling.max_pool2d_backward(same, maps, 3, stride=1, padding=1),
    "max, few long windows, backward": lambda: pooling.max_pool2d_backward(maps[:, :, :2, :2], maps, 27, stride=1),
    "max, long, backward": lambda: pooling.max_pool2d_backward(same, maps, 25, stride=1, padding=12),
    "global max, backward": lambda: pooling.global_max_pool_backward(one, maps),
    "mean": lambda: pooling.avg_pool2d(maps, 3, stride=2, padding=1, count_include_pad=False),
    "mean of small maps": lambda: pooling.avg_pool2d(small, 3, stride=1, padding=1, count_include_pad=False),
    "mean, long": lambda: pooling.avg_pool2d(maps, 25, stride=1, padding=12),
    "mean of integers": lambda: pooling.avg_pool2d(image[None, None], 5, stride=1, padding=2),
    "mean, NaN ignored": lambda: pooling.avg_pool2d(maps, 3, nan="ignore"),
    "mean, backward": lambda: pooling.avg_pool2d_backward(half, maps, 2),
    "mean of small maps, backward": lambda: pooling.avg_pool2d_backward(
        np.ones_like(small), small, 3, stride=1, padding=1, count_include_pad=False),
    "global mean": lambda: pooling.global_avg_pool(maps),
    "adaptive mean": lambda: pooling.adaptive_avg_pool2d(maps, 5),
    "norm": lambda: pooling.lp_pool2d(maps, 3.0, 3, stride=1, padding=1),
    "norm, backward": lambda: pooling.lp_pool2d_backward(same, maps, 3.0, 3, stride=1, padding=1),
    "norm, long, backward": lambda: pooling.lp_pool2d_backward(same, maps, 2.5, 25, stride=1, padding=12),
    "global norm": lambda: pooling.global_lp_pool(image[None, None].astype(np.float32), 3.0),
    "global norm, backward": lambda: pooling.global_lp_pool_backward(
        np.ones((1, 1, 1, 1), np.float32), image[None, None].astype(np.float32), 3.0),
    "generalised mean": lambda: pooling.gem_pool2d(abs(maps), 3.0),
    "generalised mean, backward": lambda: pooling.gem_pool2d_backward(one, abs(maps), 3.0),
    "blur": lambda: pooling.blur_pool2d(maps, 3),
    "blur, backward": lambda: pooling.blur_pool2d_backward(pooling.blur_pool2d(maps, 3), maps, 3),
    "blurred max": lambda: pooling.max_blur_pool2d(maps, 2),
    "regions, aligned": lambda: pooling.roi_align(maps, rois, images, 3),
    "regions, aligned, backward": lambda: pooling.roi_align_backward(aligned, maps, rois, images, 3),
    "regions, max": lambda: pooling.max_roi_pool(maps, boxes, 3),
    "regions, max, backward": lambda: pooling.max_roi_pool_backward(aligned, maps, boxes, 3),
    "fractional": lambda: pooling.fractional_max_pool2d(maps, 2, output_size=11, _random_samples=samples),
    "unpooling": lambda: pooling.max_unpool2d(half, places, 2),
    "unpooling, backward": lambda: pooling.max_unpool2d_backward(maps, half, places, 2),
    "blocks, mean": lambda: pooling.block_reduce(image, 8),
    "blocks, median": lambda: pooling.block_reduce(image, 7, "median"),
    "blocks, mode": lambda: pooling.block_reduce(image, 8, "mode", nodata=0),
    "pyramid": lambda: pooling.pyramid(image, 2),
    "filter, long": lambda: pooling.filters.maximum_filter(image, 41),
    "filter of means, long": lambda: pooling.filters.uniform_filter(maps[0, 0], 15),
}

def parts(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]

def equal(result, expected):
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(parts(result), parts(expected), strict=True))
"""

MEMORY = """
pooling.set_num_threads(3)
refused = 0
for name, call in CALLS.items():
    expected = call()
    for first in (True, False):
        forget()
        gc.collect()
        number, count = 0, 1
        if not first:
            call()
        while number < count:
            if first:
                forget()
                gc.collect()
            held = system.failures_held()
            system.failures_fail(number)
            try:
                assert equal(call(), expected), f"{name}: another result"
            except MemoryError as error:
                refused += 1
                assert str(error).startswith("no memory for"), f"{name}: {error!r}"
                del error
            count = max(count, system.failures_asked())
            assert count < 100, f"{name} asks for memory again and again"
            system.failures_fail(-1)
            if first:
                forget()
                gc.collect()
            left = system.failures_held() - held
            assert left == 0, f"{name}: {left} pieces of memory are left of a call whose allocation {number} failed"
            number += 1
        assert equal(call(), expected), f"{name}: another result after a failure"
print("refused", refused)
"""

THREADS = """
import threading
expected = {name: call() for name, call in CALLS.items()}
for allowed in (0, 1):
    system.failures_allow_threads(allowed)
    pooling.set_num_threads(4)
    for name, call in CALLS.items():
        assert equal(call(), expected[name]), f"{name}: another result with {allowed} threads to be had"
    system.failures_allow_threads(100)
    for name, call in CALLS.items():
        assert equal(call(), expected[name]), f"{name}: another result where threads are to be had again"
    pooling.set_num_threads(1)
print("threads", len(list(__import__("pathlib").Path("/proc/self/task").iterdir())))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile what is preloaded."""
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    of_gnu = sys.platform == "linux" and "gnu" in (sysconfig.get_config_var("SOABI") or "")
    if not of_gnu or not shutil.which(compiler[0]):
        pytest.skip("needs Linux, the C library of GNU and a C compiler")
    if "LD_PRELOAD" in os.environ:
        pytest.skip("another library is preloaded")
    made = tmp_path_factory.mktemp("failures") / "failures.so"
    subprocess.run([*compiler, "-O1", "-shared", "-fPIC", SOURCE, "-o", made, "-ldl"], check=True)
    return made


def said(library: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + code],
        env={**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(Path(pooling.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_call_without_memory_is_refused_and_keeps_nothing(library: Path) -> None:
    name, refused = said(library, MEMORY).split()
    assert name == "refused"
    assert int(refused) > 50


@pytest.mark.skipif(pooling._core.THREADING != "team", reason="threads of its own are those of the team")
def test_threads_that_cannot_be_started_are_not_needed(library: Path) -> None:
    assert said(library, THREADS).startswith("threads")
