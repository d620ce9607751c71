"""What a race found, as `python -m benchmarks --json` writes it, and what follows from it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from .cases import BenchmarkCase
from .worker import LIBRARIES

__all__ = ["Results", "geometric_mean", "seconds_text"]


def geometric_mean(values: Iterable[float]) -> float:
    """Mean of ratios."""
    return math.exp(statistics.fmean(map(math.log, values)))


def seconds_text(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1 or unit == "µs":
            value = seconds * scale
            return f"{value:,.{max(0, 2 - math.floor(math.log10(value)))}f} {unit}" if value else f"0 {unit}"
    raise AssertionError


class Results:
    """The document of a race.

    Parameters
    ----------
    document : dict
        ``machine``, ``versions``, ``cases`` (fields by name), ``seconds`` (by threads, case and library; null where it
        cannot), ``cannot`` (why, by library and case), and what `benchmarks/` adds.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    @cached_property
    def cases(self) -> dict[str, BenchmarkCase]:
        """Cases by name."""
        return {name: BenchmarkCase.from_json(fields) for name, fields in self.document["cases"].items()}

    def strategies(self, case: str) -> str:
        """Name the strategies that pooling took; documents of earlier versions name none."""
        name: str = self.document.get("strategies", {}).get(case, "")
        return name

    @property
    def threads(self) -> list[int]:
        """Numbers of threads that raced."""
        return [int(threads) for threads in self.document["seconds"]]

    @property
    def libraries(self) -> list[str]:
        """Libraries that raced, in the order of the table."""
        known = {library for rows in self.document["seconds"].values() for row in rows.values() for library in row}
        return [library for library in LIBRARIES if library in known]

    @property
    def last_level_cache(self) -> int | None:
        """Bytes of it, if the machine tells."""
        size: int | None = self.document["machine"]["last_level_cache"]
        return size

    def seconds(self, threads: int, case: str, library: str) -> float | None:
        """Median seconds of a call; None if the library did not do it."""
        found: float | None = self.document["seconds"].get(str(threads), {}).get(case, {}).get(library)
        return found

    @cached_property
    def of_a_copy(self) -> Results:
        """The same race, had pooling taken as long as a copy: what moving the bytes leaves to be gained."""
        stands_for = {"pooling": "copy", "pooling out=": "copy out="}
        seconds = {
            threads: {
                name: {**row, **{ours: row.get(copy) for ours, copy in stands_for.items()}}
                for name, row in rows.items()
            }
            for threads, rows in self.document["seconds"].items()
        }
        return Results({**self.document, "seconds": seconds})

    def ratio(self, threads: int, case: str, above: str, below: str) -> float | None:
        """Time of one library by the time of another."""
        one, other = self.seconds(threads, case, above), self.seconds(threads, case, below)
        return one / other if one and other else None

    def fastest_peer(self, threads: int, case: str, *, out: bool = False) -> tuple[str, float] | None:
        """Name and seconds of the fastest other library, among those that allocate the result, or that do not."""
        peers = [
            (seconds, name)
            for name, library in LIBRARIES.items()
            if library.peer and library.out == out and (seconds := self.seconds(threads, case, name))
        ]
        return min(peers)[::-1] if peers else None

    def lead(self, threads: int, case: str, *, out: bool = False) -> float | None:
        """Time of the fastest peer by ours."""
        ours = self.seconds(threads, case, "pooling out=" if out else "pooling")
        peer = self.fastest_peer(threads, case, out=out)
        return peer[1] / ours if peer and ours else None
