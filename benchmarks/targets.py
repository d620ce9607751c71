"""What the race has to show: the targets, and the figures of a race beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pooling.benchmark.cases import BenchmarkCase, per_axis
from pooling.benchmark.results import Results, geometric_mean

__all__ = ["TARGETS", "Target", "TargetResult", "findings"]

Figures = dict[str, float]


@dataclass(frozen=True)
class Target:
    """A bound, and where the figures come from.

    Attributes
    ----------
    what, unit : str
        What is measured, and in what.
    figures : callable
        Takes results and a number of threads; returns a figure for each row it is about.
    at_least, at_most : float, optional
        The bound.
    mean : bool
        Whether the bound is on the geometric mean and not on every row.
    or_floor : float, optional
        A row meets the bound as well if it takes at most so many times as long as the floor.
    out : bool
        Whether the rows are those with ``out=``.
    """

    what: str
    figures: Callable[[Results, int], Figures]
    unit: str = "x"
    at_least: float | None = None
    at_most: float | None = None
    mean: bool = False
    or_floor: float | None = None
    out: bool = False

    @property
    def bound(self) -> str:
        """The bound in words."""
        number, word = (self.at_least, "at least") if self.at_least is not None else (self.at_most, "at most")
        text = f"{'geometric mean ' if self.mean else ''}{word} {number:g} {self.unit}"
        return text + (f", or within {self.or_floor:g} x of the floor" if self.or_floor else "")


@dataclass(frozen=True)
class TargetResult:
    """A target beside its figure; `met` is None where nothing was measured. `missed` are the rows that miss it.

    `copy` is the figure of a call that would take as long as the floor, where the target is a lead over others.
    """

    target: Target
    figure: str
    met: bool | None
    missed: tuple[str, ...] = ()
    copy: str = ""


def _ratios(
    above: str, below: str, select: Callable[[Results, BenchmarkCase], bool]
) -> Callable[[Results, int], Figures]:
    """Ratio of two columns, over the rows selected."""

    def figures(results: Results, threads: int) -> Figures:
        rows = {
            name: results.ratio(threads, name, above, below)
            for name, case in results.cases.items()
            if select(results, case)
        }
        return {name: ratio for name, ratio in rows.items() if ratio}

    return figures


def _leads(select: Callable[[Results, BenchmarkCase], bool], *, out: bool = False) -> Callable[[Results, int], Figures]:
    """Lead over the fastest peer, over the rows selected."""

    def figures(results: Results, threads: int) -> Figures:
        rows = {
            name: results.lead(threads, name, out=out) for name, case in results.cases.items() if select(results, case)
        }
        return {name: lead for name, lead in rows.items() if lead}

    return figures


def _forward(results: Results, case: BenchmarkCase) -> bool:
    return case.direction in ("forward", "indices") and case.group != "size"


def _costly_elsewhere(results: Results, case: BenchmarkCase) -> bool:
    return _forward(results, case) and (case.dtype in ("uint8", "float16") or case.direction == "indices")


def _beyond_cache(results: Results, case: BenchmarkCase) -> bool:
    return results.last_level_cache is not None and sum(case.moved) > results.last_level_cache


def _forward_beyond_cache(results: Results, case: BenchmarkCase) -> bool:
    return _forward(results, case) and _beyond_cache(results, case)


def _small_windows_in_cache(results: Results, case: BenchmarkCase) -> bool:
    small = case.windows == "sliding" and max(per_axis(case.kernel_size, case.dimensions)) <= 3
    known = results.last_level_cache is not None
    return known and small and _forward(results, case) and case.group != "tiny" and not _beyond_cache(results, case)


def _gradients(results: Results, case: BenchmarkCase) -> bool:
    return case.direction in ("backward", "training")


def _gradients_beyond_cache(results: Results, case: BenchmarkCase) -> bool:
    return _gradients(results, case) and _beyond_cache(results, case)


def _over_torch(results: Results, threads: int) -> Figures:
    """Lead over the faster of torch's two layouts."""
    figures = {}
    for name, case in results.cases.items():
        theirs = [results.seconds(threads, name, library) for library in ("torch", "torch channels_last")]
        ours = results.seconds(threads, name, "pooling")
        known = [seconds for seconds in theirs if seconds]
        if ours and known and _gradients(results, case):
            figures[name] = min(known) / ours
    return figures


def _large_over_small(results: Results, threads: int) -> Figures:
    """Time of 31x31 windows by that of 3x3 windows on the same array."""
    figures = {}
    for name in results.cases:
        small = results.seconds(threads, name.replace("31x31", "3x3"), "pooling")
        large = results.seconds(threads, name, "pooling")
        if name.startswith("31x31") and small and large and results.cases[name].direction == "forward":
            figures[name] = large / small
    return figures


def _tiny(library: str) -> Callable[[Results, int], Figures]:
    def figures(results: Results, threads: int) -> Figures:
        seconds = {
            name: results.seconds(threads, name, library)
            for name, case in results.cases.items()
            if case.group == "tiny"
        }
        return {name: value * 1e6 for name, value in seconds.items() if value}

    return figures


def _import(results: Results, threads: int) -> Figures:
    seconds = results.document.get("import_seconds")
    return {"import pooling": seconds["pooling"] * 1e3} if seconds else {}


def _memory(results: Results, threads: int) -> Figures:
    extra = results.document.get("memory", {}).get(str(threads), {})
    return {name: size / 2**20 / threads for name, size in extra.items() if size is not None}


def _linear(results: Results, threads: int) -> Figures:
    """Time of each byte by that of the smallest array beyond the cache."""
    sizes = [case for case in results.cases.values() if case.group == "size" and _beyond_cache(results, case)]
    costs = {
        case.name: seconds / sum(case.moved)
        for case in sorted(sizes, key=lambda case: math.prod(case.shape))
        if (seconds := results.seconds(threads, case.name, "pooling"))
    }
    return {name: cost / next(iter(costs.values())) for name, cost in costs.items()}


TARGETS = (
    Target("forward, against the fastest peer, every row", _leads(_forward), at_least=1.2, or_floor=1.15),
    Target("forward, against the fastest peer", _leads(_forward), at_least=4, mean=True),
    Target(
        "forward with out=, against onnxruntime's IO binding, every row",
        _leads(_forward, out=True),
        at_least=1.2,
        or_floor=1.15,
        out=True,
    ),
    Target(
        "forward, against torch in channels_first",
        _ratios("torch", "pooling", _forward),
        at_least=30,
        mean=True,
    ),
    Target(
        "uint8, float16 and indices, against the fastest peer, every row",
        _leads(_costly_elsewhere),
        at_least=8,
    ),
    Target("beyond the cache, by the floor", _ratios("pooling", "floor", _forward_beyond_cache), at_most=1.5),
    Target(
        "beyond the cache with out=, by the floor with out=",
        _ratios("pooling out=", "floor out=", _forward_beyond_cache),
        at_most=1.25,
    ),
    Target(
        "in the cache, windows up to 3x3, by the floor",
        _ratios("pooling", "floor", _small_windows_in_cache),
        at_most=4,
    ),
    Target("windows of 31x31 by windows of 3x3", _large_over_small, at_most=2),
    Target(
        "windows of 31x31, against OpenCV",
        _ratios("OpenCV", "pooling", lambda results, case: case.name.startswith("31x31")),
        at_least=1,
    ),
    Target("backward and training, against the faster layout of torch, every row", _over_torch, at_least=1),
    Target("backward and training, against the faster layout of torch", _over_torch, at_least=5, mean=True),
    Target(
        "backward and training beyond the cache, by the floor",
        _ratios("pooling", "floor", _gradients_beyond_cache),
        at_most=2,
    ),
    Target("call of a tiny tensor", _tiny("pooling"), "µs", at_most=1.5),
    Target("call of a tiny tensor with out=", _tiny("pooling out="), "µs", at_most=1.0),
    Target("import pooling, after import numpy", _import, "ms", at_most=15),
    Target("memory beyond input and output, each thread", _memory, "MiB", at_most=1),
    Target("cost of a byte up to the largest array, by the smallest beyond the cache", _linear, at_most=1.25),
)


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _found(target: Target, results: Results, threads: int) -> TargetResult:
    figures = target.figures(results, threads)
    if not figures:
        return TargetResult(target, "not measured", None)

    def meets(value: float) -> bool:
        return value >= target.at_least if target.at_least is not None else value <= (target.at_most or 0.0)

    if target.mean:
        mean = geometric_mean(figures.values())
        return TargetResult(target, f"{_number(mean)} {target.unit} over {len(figures)} rows", meets(mean))
    columns = ("pooling out=", "floor out=") if target.out else ("pooling", "floor")

    def excused(name: str) -> bool:
        floor = results.ratio(threads, name, *columns)
        return target.or_floor is not None and floor is not None and floor <= target.or_floor

    sign = 1 if target.at_least is not None else -1
    ordered = sorted(figures, key=lambda name: sign * figures[name])
    missed = tuple(name for name in ordered if not meets(figures[name]) and not excused(name))
    worst = (missed or tuple(name for name in ordered if not excused(name)) or tuple(ordered))[0]
    text = f"{_number(figures[worst])} {target.unit}"
    if len(figures) > 1:
        text += f" at worst ({worst}); {len(figures) - len(missed)} of {len(figures)} rows meet it"
    return TargetResult(target, text, not missed, missed)


def _of_a_copy(target: Target, results: Results, threads: int) -> str:
    """What a call that takes as long as the floor would reach."""
    figures = target.figures(results.of_a_copy, threads)
    if target.at_least is None or not figures:
        return ""
    if target.mean:
        return f"{_number(geometric_mean(figures.values()))} {target.unit}"
    return f"{sum(value >= target.at_least for value in figures.values())} of {len(figures)} rows"


def findings(results: Results, threads: int) -> Iterator[TargetResult]:
    """Yield every target beside its figure."""
    for target in TARGETS:
        yield replace(_found(target, results, threads), copy=_of_a_copy(target, results, threads))
