"""What is measured in fresh processes, and not in the race: first calls, tiny calls, the import, and memory."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pooling.benchmark.cases import CASES, BenchmarkCase, per_axis
from pooling.benchmark.worker import pooling_gradient, pooling_input, with_pooling
from pooling.operators import OPERATORS

from . import tiny

__all__ = [
    "FIRST_CALLS",
    "MEMORY_CASES",
    "documented_bytes",
    "first_calls",
    "first_result_seconds",
    "import_seconds",
    "memory",
    "quota",
    "tiny_seconds",
]

IMPORT = """
import json, time
begin = time.perf_counter()
import numpy
middle = time.perf_counter()
import pooling
print(json.dumps({"numpy": middle - begin, "pooling": time.perf_counter() - middle}))
"""
FIRST_RESULT = """
import time
import numpy
x = numpy.ones((1, 16, 8, 8), numpy.float32)
begin = time.perf_counter()
import pooling
pooling.max_pool2d(x, 2)
print(time.perf_counter() - begin)
"""
TINY = (
    f"{tiny.SETUP}calls = {tiny.CALLS!r}"
    + """
import json, statistics, sys, timeit
pooling.set_num_threads(int(sys.argv[1]))
found = {}
for name, call in calls.items():
    timer = timeit.Timer(call, globals=globals())
    timer.timeit(2000)
    found[name] = statistics.median(timer.repeat(15, 2000)) / 2000
print(json.dumps(found))
"""
)

_MAP = (1, 64, 14, 14)
_FRAME = (1, 1, 2160, 3840)
FIRST_CALLS = (
    BenchmarkCase("maximum 3x3 s2, small", "first calls", "max_pool", _MAP, 3, 2, 1),
    BenchmarkCase("mean 2x2, small", "first calls", "avg_pool", _MAP, 2, 2),
    BenchmarkCase("mean 3x3 without counted padding, small", "first calls", "avg_pool", _MAP, 3, 1, 1),
    BenchmarkCase("adaptive mean 14 to 5, small", "first calls", "adaptive_avg_pool", _MAP, 5),
    BenchmarkCase("global mean, small", "first calls", "global_avg_pool", _MAP),
    BenchmarkCase("maximum with indices, small", "first calls", "max_pool", _MAP, 3, 2, 1, direction="indices"),
    BenchmarkCase("Lp, small", "first calls", "lp_pool", _MAP, 3, 2, p=2),
    BenchmarkCase("blur, small", "first calls", "blur_pool", _MAP, 3, 2),
    BenchmarkCase("gradient of a maximum, small", "first calls", "max_pool", _MAP, 3, 2, 1, direction="backward"),
    BenchmarkCase("gradient of a mean, small", "first calls", "avg_pool", _MAP, 3, 1, 1, direction="backward"),
    BenchmarkCase("maximum 3x3, 4K", "first calls", "max_pool", _FRAME, 3, 1, 1),
    BenchmarkCase("mean 3x3 without counted padding, 4K", "first calls", "avg_pool", _FRAME, 3, 1, 1),
    BenchmarkCase("mean 31x31 without counted padding, 4K", "first calls", "avg_pool", _FRAME, 31, 1, 15),
    BenchmarkCase("adaptive mean to 1000x1000, 4K", "first calls", "adaptive_avg_pool", _FRAME, 1000),
    BenchmarkCase("maximum with indices, 4K", "first calls", "max_pool", _FRAME, 3, 2, 1, direction="indices"),
    BenchmarkCase("blur, 4K", "first calls", "blur_pool", _FRAME, 5, 2),
    BenchmarkCase("gradient of a maximum, 4K", "first calls", "max_pool", _FRAME, 3, 2, 1, direction="backward"),
    BenchmarkCase(
        "gradient of a mean without counted padding, 4K", "first calls", "avg_pool", _FRAME, 3, 1, 1,
        direction="backward",
    ),
)  # fmt: skip
"""Signatures whose first call is timed: small maps and large ones."""
LARGE = 1 << 20
"""Cells of a map that is called large."""

MEMORY_CASES = tuple(
    case
    for case in CASES
    if case.name in ("ResNet stem, batch 32", "ResNet stem, batch 32, channels_last", "ResNet stem, batch 32, indices")
    or (case.name.startswith("31x31") and case.dtype == "float32")
    or case.name in ("VGG block 1, batch 16", "VGG block 1, batch 16, backward", "3-D U-Net 2x2x2")
    or case.name in ("15x15 minimum, HD, uint8", "DenseNet transition, float16", "adaptive average 13 to 7, backward")
    or (case.group == "families" and ", for Lp" not in case.name)
)
"""At least one of every function."""
KEPT = 2 << 20
"""Bytes that the allocator may keep of a call's memory, or that a page of counts rounds up to."""


def _fresh(*arguments: str, **variables: str) -> str:
    """Return what a new process prints; what it says of an error stands where ours do."""
    command = [sys.executable, *arguments]
    process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | variables)
    return process.stdout


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def import_seconds(processes: int = 11) -> dict[str, float]:
    """Median seconds of ``import numpy`` and of ``import pooling`` after it; the first process warms the disk."""
    return _medians([json.loads(_fresh("-c", IMPORT)) for _ in range(processes + 1)][1:])


def first_result_seconds(processes: int = 11) -> float:
    """Median seconds from ``import numpy`` to the first result; the first process warms the disk."""
    return statistics.median([float(_fresh("-c", FIRST_RESULT)) for _ in range(processes + 1)][1:])


def tiny_seconds(threads: int, processes: int = 5) -> dict[str, float]:
    """Median seconds of warm calls on 16 maps of 8 by 8, each in processes that do nothing else."""
    return _medians([json.loads(_fresh("-c", TINY, str(threads))) for _ in range(processes)])


# --- first calls -----------------------------------------------------------------------------------------------------


def _call(case: BenchmarkCase, threads: int) -> Callable[[], Any]:
    """Return one call, which was not made before; gradients without saved indices."""
    import pooling

    if case.direction != "backward":
        return with_pooling(case, threads)
    pooling.set_num_threads(threads)
    return pooling_gradient(case, pooling_input(case))


def _nbytes(results: Any) -> int:
    arrays = results if isinstance(results, tuple) else (results,)
    return sum(array.nbytes for array in arrays)


def first_and_warm(case: BenchmarkCase, threads: int, calls: int = 9) -> dict[str, float]:
    """Seconds of the first call of a signature in this process, and the median of the next.

    The same function has run before on maps of another size, threads have been started, and memory for a result has
    been used: only what the signature itself costs is new.
    """
    large = math.prod(case.shape[2:]) >= LARGE
    other = replace(case, shape=(*case.shape[:2], *(size - 4 for size in case.shape[2:])))
    call = _call(case, threads)
    before = _call(other, threads)
    for _ in range(2):
        before()
    for _ in range(3):
        np.ones(_nbytes(before()) * 9 // 8, np.uint8)
    times = []
    for _ in range(calls + 1):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return {"first": times[0], "warm": statistics.median(times[1:]), "large": large}


def first_calls(case: BenchmarkCase, threads: int, processes: int = 5) -> dict[str, float]:
    """Medians of what `first_and_warm` finds in fresh processes."""
    asked = json.dumps(case.to_json())
    found = [json.loads(_fresh("-m", __name__, "first", asked, str(threads))) for _ in range(processes)]
    return _medians(found) | {"large": bool(found[0]["large"])}


# --- memory ----------------------------------------------------------------------------------------------------------


def _status(field: str) -> int:
    """Bytes of a field of /proc/self/status."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def extra_memory(case: BenchmarkCase, threads: int) -> int:
    """Peak resident bytes of this process in a call, beyond input and results; Linux only.

    The peak is set back right before the call. What a call returns is counted in whole pages and subtracted; a small
    call before has loaded the code.
    """
    small = BenchmarkCase("small", "", "max_pool", (1, 1, 8, 8), 2, 2)
    with_pooling(small, threads)()
    call = _call(case, threads)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    results = call()
    peak = _status("VmHWM")
    return max(0, peak - before - _nbytes(results))


def documented_bytes(case: BenchmarkCase, threads: int) -> int:
    """Bytes beyond input and results that a call may take, as docs/benchmarks.md says under "Memory"."""
    itemsize = max(4, np.dtype(np.float64).itemsize if case.dtype == "float64" else 4)
    row = case.shape[-1] * (case.shape[1] if case.layout == "channels_last" else 1)
    plane = math.prod(case.shape[2:]) * (case.shape[1] if case.layout == "channels_last" else 1)
    longest = max(per_axis(case.kernel_size or 1, case.dimensions)) if case.windows == "sliding" else 1
    longest = max(case.shape[2:]) if case.windows in ("adaptive", "global") else longest
    mebibyte = 1 << 20
    if case.windows == "regions":
        bins = case.regions * math.prod(per_axis(case.kernel_size, case.dimensions))
        sums = max(4 * mebibyte, 8 * case.shape[-1]) if case.direction == "backward" else 0
        lanes = (threads * (4 * mebibyte + 72 * 256) + mebibyte) * (case.direction == "forward")
        return threads * (24 * case.shape[-1] + 32 * bins) + 16 * 5 * bins + sums + lanes + KEPT
    if case.windows == "fractional":
        windows = 16 * max(per_axis(case.output_size, case.dimensions))
        again = (case.direction == "backward") * math.prod(case.output_shape) * 8
        return threads * (max(mebibyte, row * itemsize) + windows) + again + KEPT
    if case.windows == "named":
        return (plane if case.direction == "backward" else 0) + threads * mebibyte + KEPT
    tables = (24 + 40 * (case.direction == "backward")) * sum(case.shape[2:])
    if case.direction == "forward":
        maps = max(mebibyte, plane * itemsize) if case.operator == "max_blur_pool" else 0
        return threads * 16 * mebibyte + maps + tables + KEPT
    searched = max(4 * mebibyte, 320 * longest)
    if case.direction == "indices" or OPERATORS[case.operator].family == "extremes":
        return threads * (searched + 4 * mebibyte) + tables + KEPT
    channels = case.shape[1] if case.layout == "channels_last" else 1
    stride = max(per_axis(case.stride or 1, case.dimensions))
    each = 2 * mebibyte + 32 * (4 * longest + stride + 1) * channels
    maps = min(max(mebibyte, plane * itemsize), 8 * mebibyte)
    return threads * (each + searched) + maps + tables + KEPT


def memory(case: BenchmarkCase, threads: int) -> dict[str, int] | None:
    """What `extra_memory` finds in a fresh process, and what is documented; None where the system does not tell."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        return None
    # With fixed thresholds glibc gives large arrays back at once; what it kept would hide what a call takes.
    fixed = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    asked = json.dumps(case.to_json())
    found = int(_fresh("-m", __name__, "memory", asked, str(threads), **fixed))
    return {"bytes": found, "bound": documented_bytes(case, threads)}


# --- quota -----------------------------------------------------------------------------------------------------------

QUOTA = """
import sys
with open(sys.argv[1] + "/cgroup.procs", "w") as file:
    file.write("0")
import pooling
print(pooling.get_num_threads())
"""


def quota() -> dict[str, float] | None:
    """Threads that a process uses by default in a control group of one processor's time; None where there is none."""
    group = Path("/sys/fs/cgroup") / f"pooling-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        return None
    if not (group / "cgroup.procs").exists():  # a folder like any other, where no control groups are mounted
        group.rmdir()
        return None
    try:
        (group / "cpu.max").write_text("100000 100000", encoding="ascii")
        threads = int(_fresh("-c", QUOTA, str(group), POOLING_NUM_THREADS="", OMP_NUM_THREADS=""))
    except (OSError, subprocess.CalledProcessError):
        return None
    finally:
        group.rmdir()
    return {"processors": 1.0, "threads": threads}


if __name__ == "__main__":
    asked_for, text, count = sys.argv[1:]
    answers: dict[str, Callable[[BenchmarkCase, int], Any]] = {"first": first_and_warm, "memory": extra_memory}
    print(json.dumps(answers[asked_for](BenchmarkCase.from_json(json.loads(text)), int(count))))
