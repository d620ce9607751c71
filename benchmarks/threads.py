"""Calls that two threads slow down: ``python -m benchmarks.threads [--small] [--sizes] [--seconds S] [NAME ...]``.

Each case of the race is timed with one thread and with two in turns, in one process. One thread runs twice in each
turn, so that what differs between its two times is noise. Printed are the cases that take more than 3 % longer with two
threads than with one, by the fastest call and by the median, beyond the noise of both; ``--all`` prints every case.
Names choose the cases that begin with them; ``--small`` those that move less than 4 MB, and ``--sizes`` adds each case
with fewer maps, down to where calls run on one thread in any case: their times tell where thresholds should lie.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pooling
from pooling.benchmark.cases import CASES, BenchmarkCase
from pooling.benchmark.worker import Cannot, with_pooling

__all__ = ["ALLOWED", "Pair", "compared", "main", "reduced"]

ALLOWED = 0.03
"""What two threads may take longer than one."""
SMALL = 4_000_000
"""Bytes that a small case moves at most."""
FEWEST = 32_000
"""Bytes that a case with fewer maps moves at least."""
SAMPLE = 300e-6
"""Seconds of a sample: shorter calls are timed in groups."""
LEAST_TURNS = 7


@dataclass(frozen=True)
class Pair:
    """Two threads by one, and one by one: by the fastest sample and by the median."""

    least: float
    median: float
    noise_of_least: float
    noise_of_median: float
    seconds: float
    """Of a call on one thread, by the fastest sample."""

    @property
    def slower(self) -> bool:
        """Whether two threads are slower by more than is allowed, beyond noise."""
        return self.least > 1 + ALLOWED + self.noise_of_least and self.median > 1 + ALLOWED + self.noise_of_median

    @classmethod
    def of(cls, one: Sequence[float], again: Sequence[float], two: Sequence[float]) -> Pair:
        """Compare the samples of one thread, of one thread again, and of two."""

        def figures(statistic: Callable[[Sequence[float]], float]) -> tuple[float, float]:
            first, second = statistic(one), statistic(again)
            return 2 * statistic(two) / (first + second), abs(first - second) / min(first, second)

        least, median = figures(min), figures(statistics.median)
        return cls(least[0], median[0], least[1], median[1], min(*one, *again))


def _sample(call: Callable[[], Any], threads: int, calls: int) -> float:
    """Seconds of a call, of so many in a row; one before wakes the threads."""
    with pooling.threads(threads):
        call()
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - begin) / calls


def compared(call: Callable[[], Any], seconds: float) -> Pair:
    """Time a call with one thread, one again and two, in turns whose order is drawn."""
    once = min(_sample(call, threads, 1) for threads in (1, 2, 1, 2))
    calls = max(1, round(SAMPLE / once))
    order = random.Random(0)
    kinds = {"one": 1, "again": 1, "two": 2}
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found["one"]) < LEAST_TURNS:
        for kind in order.sample(list(kinds), len(kinds)):
            found[kind].append(_sample(call, kinds[kind], calls))
    return Pair.of(found["one"], found["again"], found["two"])


def reduced(case: BenchmarkCase) -> Iterator[BenchmarkCase]:
    """Yield the case with half of its batch or, of a single one, of its channels, again and again; least work last."""
    while sum(case.moved) >= 2 * FEWEST:
        batch, channels, *sizes = case.shape
        if batch > 1:
            batch //= 2
        elif channels > 1 and case.windows != "regions":
            channels //= 2
        else:
            return
        case = replace(case, shape=(batch, channels, *sizes))
        yield case


def _rows(names: Sequence[str], *, small: bool, sizes: bool) -> Iterator[BenchmarkCase]:
    for case in CASES:
        if names and not any(case.name.startswith(name) for name in names):
            continue
        for row in (case, *(reduced(case) if sizes else ())):
            if not small or sum(row.moved) <= SMALL:
                yield row


def _line(case: BenchmarkCase, pair: Pair) -> str:
    shape = " x ".join(map(str, case.shape))
    noise = f"{pair.noise_of_least:.3f} | {pair.noise_of_median:.3f}"
    kilobytes = sum(case.moved) / 1e3
    return (
        f"| {case.name} | {shape} | {case.direction} | {kilobytes:.0f} kB | {pair.seconds * 1e6:.1f} us "
        f"| {pair.least:.3f} | {pair.median:.3f} | {noise} |"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Time the cases, print those that two threads slow down, and return how many there are, as 1 or 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.threads", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--small", action="store_true", help="cases that move less than 4 MB only")
    parser.add_argument("--sizes", action="store_true", help="each case with fewer maps as well")
    parser.add_argument("--all", action="store_true", help="print every case")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each case")
    asked = parser.parse_args(arguments)
    print("| case | shape | direction | moved | 1 thread | 2 by 1, least | median | noise of least | of median |")
    print("|---|---|---|---|---|---|---|---|---|")
    slower = 0
    for case in _rows(asked.names, small=asked.small, sizes=asked.sizes):
        try:
            call = with_pooling(case, 2)
        except Cannot:
            continue
        pair = compared(call, asked.seconds)
        slower += pair.slower
        if asked.all or pair.slower:
            print(_line(case, pair), flush=True)
    print(f"\n{slower} cases take more than {100 * ALLOWED:.0f} % longer with two threads than with one.")
    return int(slower > 0)


if __name__ == "__main__":
    raise SystemExit(main())
