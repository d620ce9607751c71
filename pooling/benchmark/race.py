"""Libraries that take turns, each in a process of its own, and the machine that they do it on."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from pooling import dispatch

from .cases import BenchmarkCase
from .strategies import strategies_of
from .worker import LIBRARIES, version

__all__ = [
    "MEASURED",
    "PATIENCE",
    "QUIET",
    "REST",
    "Worker",
    "available_memory",
    "load",
    "machine",
    "new_document",
    "race",
    "started",
    "take_turns",
]

Progress = Callable[[int, int, str], None]


def _silent(done: int, total: int, what: str) -> None:
    """Tell nobody."""


MODULE = f"{__package__}.worker"
REST = 0.03
"""Seconds between two turns, in which the threads of the last one go to sleep."""
PATIENCE = 0.5
"""A call that takes longer has one turn only."""
UNSTEADY = 3.0
"""Turns of one library in one case whose slowest takes so many times as long as their fastest are reported."""
QUIET = 0.1
"""Processors that others may keep busy during a race; with one more thread than processors, spinning costs 8 ms."""


class Worker:
    """A library in a process of its own; it is started again if a call ends it.

    `python`, `module` and `folder` are the interpreter, the module that it runs and the folder in which it does, if not
    the present ones.
    """

    def __init__(
        self,
        library: str,
        threads: int,
        python: str = sys.executable,
        module: str = MODULE,
        folder: Path | None = None,
    ) -> None:
        self.command = [python, "-m", module, library, str(threads)]
        self.folder = folder
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=self.folder,
        )

    def ask(self, case: BenchmarkCase) -> dict[str, Any]:
        """Send a case and wait for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(case.to_json()), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self.close()
        reason = f"the process ended with code {self.process.returncode}"
        self.process = self._start()
        return {"cannot": reason}

    def close(self) -> None:
        """Let the process end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def started(libraries: Sequence[str], threads: int) -> Iterator[dict[str, Worker]]:
    """Start libraries in processes of their own, which end with the block."""
    workers = {library: Worker(library, threads) for library in libraries}
    try:
        yield workers
    except BaseException:  # nobody waits for the rest of a call
        for worker in workers.values():
            worker.process.kill()
        raise
    finally:
        for worker in workers.values():
            worker.close()


def race(
    cases: Sequence[BenchmarkCase], libraries: Sequence[str], threads: int, rounds: int, progress: Progress = _silent
) -> dict[str, Any]:
    """Let the libraries take turns.

    Parameters
    ----------
    cases : sequence of BenchmarkCase
        What each library runs in each round.
    libraries : sequence of str
        Keys of `LIBRARIES`.
    threads, rounds : int
        Threads of each library, and its turns in each case.
    progress : callable
        Is told how many turns are over, of how many, and which comes next.

    Returns
    -------
    dict
        ``seconds``: the median of each library in each case, None where it cannot; ``cannot``: why, by library and
        case; ``busy``: the most processors that each library kept busy; ``disturbed``: the most that others did;
        ``unsteady``: cases whose turns lie far apart, by library.
    """
    # Before the workers start, which keeps processors busy for a while.
    disturbed = load() if cases else 0.0
    with started(libraries if cases else (), threads) as workers:
        found = take_turns(workers, cases, rounds, progress, f"{threads} threads, ")
    return found | {"disturbed": max(disturbed, found["disturbed"])}


def take_turns(
    workers: Mapping[str, Worker],
    cases: Sequence[BenchmarkCase],
    rounds: int,
    progress: Progress = _silent,
    what: str = "",
) -> dict[str, Any]:
    """Let libraries that have been started take turns; see `race`. `what` stands before what is told of a turn."""
    turns: dict[tuple[str, str], list[float]] = {}
    cannot: dict[str, dict[str, str]] = {}
    busy: dict[str, float] = {}
    disturbed = 0.0
    done, total = 0, rounds * len(cases) * len(workers)
    for round_ in range(rounds if workers else 0):
        disturbed = max(disturbed, load() if round_ else 0.0)
        for case in cases:
            for library, worker in workers.items():
                progress(done, total, f"{what}round {round_ + 1}: {case.name}, {library}")
                done += 1
                times = turns.setdefault((case.name, library), [])
                if case.name in cannot.get(library, {}) or (times and times[0] > PATIENCE):
                    continue
                answer = worker.ask(case)
                if "cannot" in answer:
                    cannot.setdefault(library, {})[case.name] = answer["cannot"]
                    continue
                times.append(answer["seconds"])
                busy[library] = max(busy.get(library, 0.0), answer["busy"])
                time.sleep(REST)
    seconds: dict[str, dict[str, float | None]] = {}
    unsteady: dict[str, list[str]] = {}
    for (case_name, library), times in turns.items():
        able = times and case_name not in cannot.get(library, {})
        seconds.setdefault(case_name, {})[library] = median(times) if able else None
        if times and max(times) > UNSTEADY * min(times):
            unsteady.setdefault(library, []).append(case_name)
    return {"seconds": seconds, "cannot": cannot, "busy": busy, "disturbed": disturbed, "unsteady": unsteady}


MEASURED = ("seconds", "cannot", "busy", "disturbed", "unsteady")
"""What `race` finds, and a document holds by the number of threads."""


def new_document(cases: Sequence[BenchmarkCase], libraries: Sequence[str], rounds: int) -> dict[str, Any]:
    """Describe a race before it begins: the machine, the libraries, and those that are not installed."""
    installed = [name for name in libraries if LIBRARIES[name].installed]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {package: version(package) for name in installed if (package := LIBRARIES[name].package)},
        "absent": [name for name in libraries if name not in installed],
        "rounds": rounds,
        "cases": {case.name: case.to_json() for case in cases},
        "strategies": {case.name: strategies_of(case) for case in cases},
        **{name: {} for name in MEASURED},
        "memory": {},
    }


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
