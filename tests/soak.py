"""Call everything for an hour, on many threads, and look for what grows: memory, threads, file descriptors.

Usage: python tests/soak.py [MINUTES]. Results are compared all the time. A line is printed ten times; exit status 1
where the second half of the time took more memory, threads or file descriptors than the first.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import sys
import threading
from pathlib import Path

from many_calls import CALLS, equal

import pooling
from pooling.calls import forget

CALLERS = 4
MOMENTS = 100
SLACK = 4 << 20
"""Bytes by which the most memory of a half may differ: pages that the allocator keeps."""


def usage() -> tuple[int, int, int]:
    """Return the memory of this process, its threads and its file descriptors."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    counts = [len(os.listdir(f"/proc/self/{folder}")) for folder in ("task", "fd")]
    return pages * os.sysconf("SC_PAGE_SIZE"), counts[0], counts[1]


class Soak:
    """Threads that call until they are told to end."""

    def __init__(self) -> None:
        self.expected = {name: call() for name, call in CALLS.items()}
        self.ended = threading.Event()
        self.calls = 0
        self.faults: list[str] = []

    def work(self, seed: int) -> None:
        """Call one thing after another, and compare."""
        drawn = random.Random(seed)
        while not self.ended.is_set():
            name = drawn.choice(list(CALLS))
            with pooling.threads(drawn.choice((1, 2, 3, 4))):
                result = CALLS[name]()
            if not equal(result, self.expected[name]):
                self.faults.append(f"{name}: another result")
                self.ended.set()
            self.calls += 1
            if drawn.random() < 0.02:
                forget()

    def watch(self, seconds: float) -> list[tuple[int, int, int]]:
        """Return what was used at so many moments."""
        seen = []
        for moment in range(MOMENTS):
            if self.ended.wait(seconds / MOMENTS):
                break
            gc.collect()
            seen.append(usage())
            if moment % 10 == 9:
                memory, threads, files = seen[-1]
                used = f"{memory / 2**20:.1f} MiB, {threads} threads, {files} files"
                print(f"{moment + 1:3} %: {self.calls} calls; {used}", flush=True)
        return seen


def main(minutes: float) -> int:
    """Soak, and say what grew; return the exit status."""
    soak = Soak()
    callers = [threading.Thread(target=soak.work, args=(seed,)) for seed in range(CALLERS)]
    for caller in callers:
        caller.start()
    seen = soak.watch(60 * minutes)
    soak.ended.set()
    for caller in callers:
        caller.join()
    if len(seen) == MOMENTS:
        # The first tenth is warming up.
        halves = (seen[MOMENTS // 10 : MOMENTS // 2], seen[MOMENTS // 2 :])
        before, after = ([max(column) for column in zip(*half, strict=True)] for half in halves)
        for what, first, last, slack in zip(("bytes", "threads", "files"), before, after, (SLACK, 0, 0), strict=True):
            print(f"most {what}: {first} in the first half, {last} in the second")
            if last > first + slack:
                soak.faults.append(f"{what} grew")
    print(*soak.faults, sep="\n")
    return 1 if soak.faults else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", nargs="?", type=float, default=60)
    sys.exit(main(parser.parse_args().minutes))
