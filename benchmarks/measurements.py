"""What is measured in fresh processes, and not in the race: import time and memory."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.cases import CASES, Case
from benchmarks.worker import with_pooling
from pooling import dispatch

__all__ = ["MEMORY_CASES", "QUIET", "import_seconds", "load", "machine", "memory"]

QUIET = 0.1
"""Processors that others may keep busy during a race; with one more thread than processors, spinning costs 8 ms."""

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


def extra_memory(case: Case, threads: int) -> int:
    """Peak resident bytes of this process in a call, beyond input and results; Linux only.

    The peak is set back right before the call. What a call returns is counted in whole pages and subtracted; a small
    call before has loaded the code.
    """
    small = Case("small", "", "max_pool", (1, 1, 8, 8), 2, 2)
    with_pooling(small, threads)()
    call = with_pooling(case, threads) if case.direction != "backward" else _backward(case, threads)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    results = call()
    peak = _status("VmHWM")
    arrays = results if isinstance(results, tuple) else (results,)
    returned: int = sum(array.nbytes for array in arrays)
    return max(0, peak - before - returned)


def _backward(case: Case, threads: int) -> Callable[[], np.ndarray]:
    """Return the gradient without saved indices; `with_pooling` would have made the call already, to choose."""
    import pooling
    from benchmarks.worker import _arguments, _gradient, _input

    pooling.set_num_threads(threads)
    arguments, keywords = _arguments(case)
    gradient, x = _gradient(case), _input(case)
    function = getattr(pooling, f"{case.function}_backward")
    return lambda: function(gradient, x, *arguments, **keywords)


def memory(case: Case, threads: int) -> int | None:
    """Bytes that `extra_memory` finds in a fresh process; None where the system does not tell."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        return None
    # With fixed thresholds glibc gives large arrays back at once; what it kept would hide what a call takes.
    fixed = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    return int(_fresh("-m", "benchmarks.measurements", json.dumps(case.to_json()), str(threads), **fixed))


def machine() -> dict[str, object]:
    """Describe the machine."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    caches = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text(encoding="ascii").strip()
        caches.append(int(text[:-1]) * {"K": 1 << 10, "M": 1 << 20}[text[-1]])
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "last_level_cache": max(caches, default=None),
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "kernels": dispatch.level,
    }


def load(seconds: float = 0.2) -> float:
    """Return how many processors are busy while we sleep; 0 where the system does not tell."""

    def busy() -> float:
        ticks = [int(field) for field in stat.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
        return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # all but idle and iowait

    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    before = busy()
    time.sleep(seconds)
    return round((busy() - before) / seconds, 2)


def available_memory() -> int:
    """Bytes that may be allocated now."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(extra_memory(Case.from_json(json.loads(sys.argv[1])), int(sys.argv[2])))
