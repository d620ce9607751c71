"""What the race has to show: the targets, and the figures of a race beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pooling.benchmark.cases import BenchmarkCase
from pooling.benchmark.results import Results, geometric_mean
from pooling.benchmark.worker import SERIAL

__all__ = ["LAYERS_GROUP", "TARGETS", "Target", "TargetResult", "findings"]

Figures = dict[str, float]
Select = Callable[[Results, BenchmarkCase], bool]

LAYERS_GROUP = "layers of networks"
"""Group of the cases in benchmarks/layers.json."""


@dataclass(frozen=True)
class Target:
    """A bound, and where the figures come from.

    Attributes
    ----------
    what, unit : str
        What is measured, and in what.
    figures : callable
        Takes results and a number of threads; returns a figure for each case it is about.
    at_least, at_most : float, or two, optional
        The bound; of two the first is that of one thread, and the second that of several.
    mean : bool
        Whether the bound is on the geometric mean and not on every case.
    share : float
        Part of the cases that must meet the bound.
    beyond_copy : float, optional
        Only cases count that take more than so many times as long as a copy.
    copied : bool
        Whether the figure of a call that takes as long as a copy says something.
    """

    what: str
    figures: Callable[[Results, int], Figures]
    unit: str = "x"
    at_least: float | tuple[float, float] | None = None
    at_most: float | tuple[float, float] | None = None
    mean: bool = False
    share: float = 1.0
    beyond_copy: float | None = None
    copied: bool = False

    def limit(self, threads: int) -> float:
        """The number of the bound."""
        either = self.at_most if self.at_least is None else self.at_least
        assert either is not None
        return either if isinstance(either, float | int) else either[threads > 1]

    def bound(self, threads: int) -> str:
        """The bound in words."""
        word = "at most" if self.at_least is None else "at least"
        text = f"{'geometric mean ' if self.mean else ''}{word} {self.limit(threads):g} {self.unit}"
        text += f" in {self.share:.0%} of the cases" if self.share < 1 else ""
        return text + (f" that are not within {self.beyond_copy:g} x of a copy" if self.beyond_copy else "")

    def meets(self, value: float, threads: int) -> bool:
        """Whether a figure keeps to the bound."""
        return value <= self.limit(threads) if self.at_least is None else value >= self.limit(threads)


@dataclass(frozen=True)
class TargetResult:
    """A target beside its figure; `met` is None where nothing was measured. `missed` are the cases that miss it.

    `copy` is the figure of a call that would take as long as a copy, where the target is a lead over others.
    """

    target: Target
    bound: str
    figure: str
    met: bool | None
    missed: tuple[str, ...] = ()
    copy: str = ""


def _ratios(above: str, below: str, select: Select) -> Callable[[Results, int], Figures]:
    """Ratio of two columns, over the cases selected."""

    def figures(results: Results, threads: int) -> Figures:
        rows = {
            name: results.ratio(threads, name, above, below)
            for name, case in results.cases.items()
            if select(results, case)
        }
        return {name: ratio for name, ratio in rows.items() if ratio}

    return figures


def _leads(select: Select) -> Callable[[Results, int], Figures]:
    """Lead over the fastest peer, over the cases selected."""

    def figures(results: Results, threads: int) -> Figures:
        rows = {name: results.lead(threads, name) for name, case in results.cases.items() if select(results, case)}
        return {name: lead for name, lead in rows.items() if lead}

    return figures


def _forward(results: Results, case: BenchmarkCase) -> bool:
    return case.direction in ("forward", "indices") and case.group not in ("size", LAYERS_GROUP)


def _layer(results: Results, case: BenchmarkCase) -> bool:
    return case.group == LAYERS_GROUP


def _gradient(results: Results, case: BenchmarkCase) -> bool:
    return case.direction in ("backward", "training") and case.group != "families"


def _indices(results: Results, case: BenchmarkCase) -> bool:
    return case.direction == "indices"


def _image(results: Results, case: BenchmarkCase) -> bool:
    return case.group == "images"


def _family(results: Results, case: BenchmarkCase) -> bool:
    return case.group == "families" or case.dtype == "float64"


def _large(results: Results, case: BenchmarkCase) -> bool:
    return case.direction == "forward" and case.name.startswith(("31x31", "101x101"))


def _any(results: Results, case: BenchmarkCase) -> bool:
    return True


def _over_torch(results: Results, threads: int) -> Figures:
    """Lead over the faster of torch's two layouts."""
    figures = {}
    for name, case in results.cases.items():
        theirs = [results.seconds(threads, name, library) for library in ("torch", "torch channels_last")]
        ours = results.seconds(threads, name, "pooling")
        known = [seconds for seconds in theirs if seconds]
        if ours and known and _gradient(results, case):
            figures[name] = min(known) / ours
    return figures


def _by_another_row(results: Results, threads: int, others: dict[str, str]) -> Figures:
    """Our time of cases by that of others; `others` names the other case of each."""
    figures = {}
    for name, other in others.items():
        above, below = (results.seconds(threads, row, "pooling") for row in (name, other))
        if above and below:
            figures[name] = above / below
    return figures


def _large_over_small(results: Results, threads: int) -> Figures:
    """Time of 31x31 windows by that of 3x3 windows on the same array."""
    names = [name for name, case in results.cases.items() if name.startswith("31x31") and _large(results, case)]
    return _by_another_row(results, threads, {name: name.replace("31x31", "3x3") for name in names})


def _norms_over_means(results: Results, threads: int) -> Figures:
    """Time of norms with p = 2 by that of means over the same windows."""
    pairs = {
        name: name.replace("Lp p=2,", "average") + ", for Lp"
        for name, case in results.cases.items()
        if name.startswith("Lp p=2") and case.direction == "forward"
    }
    return _by_another_row(results, threads, pairs)


def _views(results: Results, threads: int) -> Figures:
    """Time of a view by that of an array in one piece."""
    views = {name: case.memory for name, case in results.cases.items() if case.memory}
    whole = {name: name.removesuffix(memory) + "in one piece" for name, memory in views.items()}
    return _by_another_row(results, threads, whole)


def _measured(key: str, results: Results, threads: int) -> dict[str, dict[str, float]]:
    """What `benchmarks.measurements` found with so many threads, by name."""
    found: dict[str, dict[str, float]] = results.document.get(key, {}).get(str(threads), {})
    return {name: values for name, values in found.items() if values}


def _memory(results: Results, threads: int) -> Figures:
    return {name: found["bytes"] / found["bound"] for name, found in _measured("memory", results, threads).items()}


def _first_small(results: Results, threads: int) -> Figures:
    found = _measured("first_calls", results, threads)
    return {name: (each["first"] - each["warm"]) * 1e6 for name, each in found.items() if not each["large"]}


def _first_large(results: Results, threads: int) -> Figures:
    found = _measured("first_calls", results, threads)
    return {name: each["first"] / each["warm"] for name, each in found.items() if each["large"]}


def _tiny(what: str) -> Callable[[Results, int], Figures]:
    def figures(results: Results, threads: int) -> Figures:
        found: Figures = results.document.get("tiny", {}).get(str(threads), {})
        return {name: seconds * 1e6 for name, seconds in found.items() if name.startswith(what)}

    return figures


def _first_result(results: Results, threads: int) -> Figures:
    seconds = results.document.get("first_result")
    return {"first result": seconds * 1e3} if seconds else {}


def _quota(results: Results, threads: int) -> Figures:
    found = results.document.get("quota")
    return {f"quota of {found['processors']:g} processors": found["threads"] / found["processors"]} if found else {}


TARGETS = (
    Target("forward, every case against its fastest peer", _leads(_forward), at_least=1, copied=True),
    Target(
        "forward, against the fastest peer",
        _leads(_forward),
        at_least=1.2,
        share=0.95,
        beyond_copy=1.15,
        copied=True,
    ),
    Target("forward, by a copy", _ratios("pooling", "copy", _forward), at_most=(1.4, 1.1), mean=True),
    Target(
        "layers of 100 networks, every case against onnxruntime, openvino and torch",
        _leads(_layer),
        at_least=1,
        copied=True,
    ),
    Target("layers of 100 networks, by a copy", _ratios("pooling", "copy", _layer), at_most=(2.0, 1.6), mean=True),
    Target("backward and training, every case against torch's faster layout", _over_torch, at_least=1, copied=True),
    Target("backward and training, against torch's faster layout", _over_torch, at_least=2.5, mean=True, copied=True),
    Target(
        "indices of uint8, float16, bfloat16 and float32, every case against its fastest peer",
        _leads(_indices),
        at_least=1.5,
        copied=True,
    ),
    Target(
        "uint8 images: halving RGB, 15x15 minimum and maximum, against OpenCV",
        _ratios("OpenCV", "pooling", _image),
        at_least=1,
        copied=True,
    ),
    Target(
        "31x31 and 101x101, maximum and mean, against OpenCV",
        _ratios("OpenCV", "pooling", _large),
        at_least=1,
        copied=True,
    ),
    Target("31x31 by 3x3", _large_over_small, at_most=2.5),
    Target(
        "Lp, GeM, blurs, regions, fractional, unpooling, adaptive in 3-D, float64, large planes: "
        "every case against its fastest peer",
        _leads(_family),
        at_least=1,
        copied=True,
    ),
    Target("Lp with p = 2 by the mean", _norms_over_means, at_most=2.5),
    Target("memory beyond input and output, by the documented bound", _memory, at_most=1),
    Target("first call of a signature beyond a warm one, small maps", _first_small, "µs", at_most=50),
    Target("first call of a signature by a warm one, large maps", _first_large, at_most=1.2),
    Target("tiny call, in a process alone", _tiny("call"), "µs", at_most=1.2),
    Target("tiny gradient, in a process alone", _tiny("gradient"), "µs", at_most=1.8),
    Target("tiny call with indices, in a process alone", _tiny("indices"), "µs", at_most=1.8),
    Target("first result after `import numpy`", _first_result, "ms", at_most=25),
    Target("views, by the same call of an array in one piece", _views, at_most=1.3),
    Target("several threads by one, every case", _ratios("pooling", SERIAL, _any), at_most=1.03),
    Target("threads used by default, by the processors of the container's quota", _quota, at_most=1),
)
"""In the order of the page."""


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"


def _counted(target: Target, results: Results, threads: int) -> Figures:
    """Figures of the cases that the target is about."""
    figures = target.figures(results, threads)
    if target.beyond_copy is None:
        return figures
    copies = {name: results.ratio(threads, name, "pooling", "copy") for name in figures}
    return {
        name: value for name, value in figures.items() if (copy := copies[name]) is None or copy > target.beyond_copy
    }


def _found(target: Target, results: Results, threads: int) -> TargetResult:
    bound = target.bound(threads)
    if not target.figures(results, threads):
        return TargetResult(target, bound, "not measured", None)
    figures = _counted(target, results, threads)
    if not figures:
        return TargetResult(target, bound, "no case counts", True)
    if target.mean:
        mean = geometric_mean(figures.values())
        text = f"{_number(mean)} {target.unit} over {len(figures)} case{'s' * (len(figures) > 1)}"
        return TargetResult(target, bound, text, target.meets(mean, threads))
    ordered = sorted(figures, key=figures.__getitem__, reverse=target.at_least is None)
    missed = tuple(name for name in ordered if not target.meets(figures[name], threads))
    text = f"{_number(figures[ordered[0]])} {target.unit}"
    if len(figures) > 1:
        text += f" at worst ({ordered[0]}); {len(figures) - len(missed)} of {len(figures)} cases meet it"
    # In whole cases, so that no rounding of the share decides.
    met = len(missed) <= len(figures) - target.share * len(figures) + 1e-9
    return TargetResult(target, bound, text, met, missed)


def _of_a_copy(target: Target, results: Results, threads: int) -> str:
    """What a call that takes as long as a copy would reach."""
    figures = target.figures(results.of_a_copy, threads) if target.copied else {}
    if not figures:
        return ""
    if target.mean:
        return f"{_number(geometric_mean(figures.values()))} {target.unit}"
    return f"{sum(target.meets(value, threads) for value in figures.values())} of {len(figures)} cases"


def findings(results: Results, threads: int) -> Iterator[TargetResult]:
    """Yield every target beside its figure."""
    for target in TARGETS:
        yield replace(_found(target, results, threads), copy=_of_a_copy(target, results, threads))
