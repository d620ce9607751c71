"""What is measured in fresh processes, and not in the race: import time and memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pooling.benchmark.cases import CASES, BenchmarkCase
from pooling.benchmark.worker import with_pooling

__all__ = ["MEMORY_CASES", "import_seconds", "memory"]

IMPORT = """
import json, time
begin = time.perf_counter()
import numpy
middle = time.perf_counter()
import pooling
print(json.dumps({"numpy": middle - begin, "pooling": time.perf_counter() - middle}))
"""
MEMORY_CASES = tuple(
    case
    for case in CASES
    if case.name in ("ResNet stem, batch 32", "ResNet stem, batch 32, channels_last", "ResNet stem, batch 32, indices")
    or case.name.startswith("31x31")
    or case.name in ("VGG block 1, batch 16", "VGG block 1, batch 16, backward", "3-D U-Net 2x2x2")
)


def _fresh(*arguments: str, **variables: str) -> str:
    """Return what a new process prints."""
    command = [sys.executable, *arguments]
    environment = os.environ | variables
    process = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    return process.stdout


def import_seconds(processes: int = 11) -> dict[str, float]:
    """Median seconds of ``import numpy`` and of ``import pooling`` after it; the first process warms the disk."""
    runs = [json.loads(_fresh("-c", IMPORT)) for _ in range(processes + 1)][1:]
    return {name: statistics.median(run[name] for run in runs) for name in ("numpy", "pooling")}


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
    call = with_pooling(case, threads) if case.direction != "backward" else _backward(case, threads)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    results = call()
    peak = _status("VmHWM")
    arrays = results if isinstance(results, tuple) else (results,)
    returned: int = sum(array.nbytes for array in arrays)
    return max(0, peak - before - returned)


def _backward(case: BenchmarkCase, threads: int) -> Callable[[], np.ndarray]:
    """Return the gradient without saved indices; `with_pooling` would have made the call already, to choose."""
    import pooling
    from pooling.benchmark.worker import _arguments, _gradient, _input

    pooling.set_num_threads(threads)
    arguments, keywords = _arguments(case)
    gradient, x = _gradient(case), _input(case)
    function = getattr(pooling, f"{case.function}_backward")
    return lambda: function(gradient, x, *arguments, **keywords)


def memory(case: BenchmarkCase, threads: int) -> int | None:
    """Bytes that `extra_memory` finds in a fresh process; None where the system does not tell."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        return None
    # With fixed thresholds glibc gives large arrays back at once; what it kept would hide what a call takes.
    fixed = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    return int(_fresh("-m", "benchmarks.measurements", json.dumps(case.to_json()), str(threads), **fixed))


if __name__ == "__main__":
    print(extra_memory(BenchmarkCase.from_json(json.loads(sys.argv[1])), int(sys.argv[2])))
