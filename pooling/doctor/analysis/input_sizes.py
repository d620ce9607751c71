"""Which input sizes a network works with, found by walking it at each of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pooling.arguments import axis_names
from pooling.geometry import Axis
from pooling.operators import OPERATORS
from pooling.reporting.formats import by, joined

from ..network import Graph, Network, NetworkError, Stage
from ..network.size_walk import SizeWalk
from ..operators.nodes import Shape
from .object_footprint import maps

__all__ = ["AxisSizes", "Pattern", "declared_shape", "input_sizes", "sizes_by"]

LONGEST_PERIOD = 128
"""Effective strides up to which every size is tried."""
MULTIPLES = 8
"""Times the effective stride that the sizes which work may lie apart."""


@dataclass(frozen=True)
class Pattern:
    """Sizes that leave certain remainders when divided by a step.

    Attributes
    ----------
    step : int
    remainders : tuple of int
        Empty where no size will do.

    Examples
    --------
    >>> print(Pattern(32, (0,)))
    multiples of 32
    >>> print(Pattern(4, (1,)), Pattern(1, (0,)), Pattern(1, ()), Pattern(4, (0, 3)), sep="; ")
    4 n + 1; any; none; 4 n + (3 or 4)
    """

    step: int
    remainders: tuple[int, ...]

    def __contains__(self, size: int) -> bool:
        return size % self.step in self.remainders

    def __str__(self) -> str:
        if not self.remainders:
            return "none"
        if len(self.remainders) == self.step:
            return "any"
        if self.remainders == (0,):
            return f"multiples of {self.step}"
        written = joined(_ranges(_circular(self.remainders, self.step)), "or")
        return f"{self.step} n + {written}" if len(self.remainders) == 1 else f"{self.step} n + ({written})"


def _circular(remainders: Sequence[int], step: int) -> list[int]:
    """Write remainders that follow one another across 0 as one run: 31 and 0 of 32 are 31 and 32."""
    if remainders[0] != 0 or remainders[-1] != step - 1:
        return list(remainders)
    first = next(number for number in range(step) if number not in remainders)
    return [each for each in remainders if each > first] + [each + step for each in remainders if each < first]


def _ranges(numbers: Sequence[int]) -> list[str]:
    """Write ascending numbers; three or more that follow one another as a range."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    written = [[f"{run[0]} to {run[-1]}"] if len(run) > 2 else list(map(str, run)) for run in runs]
    return [each for run in written for each in run]


@dataclass(frozen=True)
class AxisSizes:
    """The input sizes of one spatial axis, or of all of them where they are the same.

    Attributes
    ----------
    axes : str
        The axes that this is about, such as ``"H and W"``.
    given : int
        The size that the examination is about.
    smallest : int or None
        The smallest that works; None where it was not found.
    largest : int or None
        The largest that works; None where there is no limit.
    working : Pattern
        What works, from `smallest` to `largest`.
    clean : Pattern
        For which nothing is dropped by floor division, among those that work.
    working_near, clean_near : tuple of int
        The nearest such sizes, at most one below `given` and one from there on.
    obstacle, obstacle_stage : str
        What fails at sizes beyond `smallest` and `largest`, and where.
    """

    axes: str
    given: int
    smallest: int | None
    largest: int | None
    working: Pattern
    clean: Pattern
    working_near: tuple[int, ...]
    clean_near: tuple[int, ...]
    obstacle: str = ""
    obstacle_stage: str = ""


def input_sizes(graph: Graph, network: Network, given: Sequence[int] | None = None) -> tuple[AxisSizes, ...]:
    """Find the input sizes that work, and those for which nothing is dropped.

    Parameters
    ----------
    graph : Graph
    network : Network
        What it is at a size that works.
    given : sequence of int, optional
        The spatial sizes that the question is about; those of `network` by default.

    Returns
    -------
    tuple of AxisSizes
        One for all axes where sizes and windows are the same on all of them, else one for each.

    Examples
    --------
    >>> from pooling.doctor import read_graph
    >>> graph = read_graph("conv3 pool2 conv3 pool2")
    >>> (sizes,) = input_sizes(graph, graph.infer((1, 3, 50, 50)))
    >>> sizes.smallest, str(sizes.working), str(sizes.clean), sizes.clean_near
    (4, 'any', 'multiples of 4', (48, 52))
    """
    asked = tuple(given) if given is not None else tuple(network.input_shape[axis] for axis in network.spatial)
    walk = SizeWalk(graph)
    return sizes_by(walk.quickly, network, asked, walk.at)


At = Callable[[Sequence[int]], Container[int] | NetworkError]
"""Gives, for an input shape, the spatial axes on which windows leave cells out, or why the network fails there."""


def sizes_by(at: At, network: Network, asked: Sequence[int], why: At | None = None) -> tuple[AxisSizes, ...]:
    """Find the input sizes as `input_sizes` does, with what says how the network is at a size, and why it fails."""
    told = at if why is None else why
    spatial = network.spatial
    if not spatial:
        return ()
    numbers = range(len(spatial))
    names = axis_names(len(spatial))
    one = len(set(asked)) == len({network.input_shape[axis] for axis in spatial}) == 1
    if one and _windows_are_equal(network):
        of_all = _search(at, told, network, joined(names), numbers, asked[0])
        if _axes_are_alike(at, network, of_all):
            return (of_all,)
    alone = [
        _search(at, told, network, name, (number,), size)
        for name, number, size in zip(names, numbers, asked, strict=True)
    ]
    groups: dict[tuple[object, ...], list[int]] = {}
    for number, (each, known) in enumerate(zip(alone, network.spatial_sizes, strict=True)):
        groups.setdefault((known, each.given, *_answer(each)), []).append(number)
    found: list[AxisSizes] = []
    for group in groups.values():
        # What holds for each axis alone is said once, if it holds for them together.
        together = alone[group[0]]
        if len(group) > 1:
            together = _search(at, told, network, joined([names[number] for number in group]), group, asked[group[0]])
        same = _answer(together) == _answer(alone[group[0]])
        found += [together] if same else [alone[number] for number in group]
    return tuple(found)


def declared_shape(graph: Graph, network: Network) -> str:
    """Write the shape that a model declares for its input, where that fixes a spatial size; else an empty string.

    A runtime refuses every other size, whatever the nodes would do with it.
    """
    declared = graph.declared
    if declared is None or not any(isinstance(declared[axis], int) for axis in network.spatial if axis < len(declared)):
        return ""
    return by(declared)


def _answer(sizes: AxisSizes) -> tuple[object, ...]:
    """Return what is said of an axis, without its name."""
    return (sizes.smallest, sizes.largest, sizes.working, sizes.clean, sizes.obstacle_stage)


def _windows_are_equal(network: Network) -> bool:
    """Whether all axes have the same windows everywhere, so that one answer may hold for all."""
    return all(len({_window(axis) for axis in stage.axes}) <= 1 for stage in network.stages)


def _window(axis: Axis) -> tuple[object, ...]:
    """Return what a window is, on a map of any size."""
    if axis.adaptive:
        return (axis.output_size,)
    return axis.kernel_size, axis.stride, axis.dilation, axis.pad_begin, axis.pad_end


def _axes_are_alike(at: At, network: Network, sizes: AxisSizes) -> bool:
    """Whether no axis alone is to blame for a size that does not work, or where windows leave cells out.

    A dense layer over the last axis leaves the others free, though all windows are equal.
    """
    smallest, largest = sizes.smallest or 1, sizes.largest
    between = range(smallest, (largest or smallest + sizes.working.step + sizes.clean.step) + 1)
    failing = next((size for size in between if size not in sizes.working), None)
    cut = next((size for size in between if size in sizes.working and size not in sizes.clean), None)
    for size in (smallest - 1, failing, cut, None if largest is None else largest + 1):
        if not size:
            continue
        alone = set()
        for number, axis in enumerate(network.spatial):
            found = at(tuple(size if place == axis else old for place, old in enumerate(network.input_shape)))
            alone.add("fails" if isinstance(found, NetworkError) else number in found)
        if len(alone) > 1:
            return False
    return True


def _search(at: At, why: At, network: Network, axes: str, where: Sequence[int], given: int) -> AxisSizes:
    """Walk the network at sizes around the one that works.

    Behind some smallest size everything repeats with the largest effective stride, unless a dense layer or a fixed
    shape wants one size of map; then nothing works a period later.
    """
    places = {network.spatial[number] for number in where}
    walked: dict[int, Container[int] | NetworkError] = {}

    def shape(size: int) -> Shape:
        return tuple(size if axis in places else old for axis, old in enumerate(network.input_shape))

    def result(size: int) -> Container[int] | NetworkError:
        if size not in walked:
            walked[size] = at(shape(size))
        return walked[size]

    def works(size: int) -> bool:
        return size > 0 and not isinstance(result(size), NetworkError)

    def clean(size: int) -> bool:
        found = result(size)
        return not isinstance(found, NetworkError) and not any(number in found for number in where)

    known = network.spatial_sizes[where[0]]
    period = _period(network, maps(network))
    times = next((each for each in range(1, MULTIPLES + 1) if works(known + each * period)), 0)
    largest = None
    if times:
        # A window that holds the whole map here slides over a larger one.
        period = math.lcm(
            times * period, _period(network, {each.name for each in network.stages} - _of_one_cell(network))
        )
        period = min(period, LONGEST_PERIOD**2)
        tried, working = _repeated(works, known, period)
        while 2 * period <= 2 * LONGEST_PERIOD and any(
            works(size) is not (size in working) for size in _beyond(known, period)
        ):
            period *= 2  # what the code of a module asks of sizes is in no stride
            tried, working = _repeated(works, known, period)
        base = known - period * _last(lambda times: works(known - times * period), (known - 1) // period)
        smallest = next(
            size
            for size in _sample(max(1, base - period + 1), period)
            if size == base or (size in working and works(size))
        )
    else:
        if works(known - 1) or works(known + 1):
            smallest = known - _last(lambda less: works(known - less), min(period, known) - 1)
            largest = known + _last(lambda more: works(known + more), period - 1)
            tried = list(_sample(smallest, largest - smallest + 1))
        else:
            tried = [size for size in _sample(max(1, known - period + 1), 2 * period - 1) if works(size)]
            smallest, largest = min(tried), max(tried)
        working = _pattern(filter(works, tried), tried, period)
    spotless = _pattern(filter(clean, tried), tried, period)
    beyond = largest + 1 if largest is not None else smallest - 1
    failed = beyond > 0 and isinstance(result(beyond), NetworkError)
    reason = why(shape(beyond)) if failed else None
    failure = reason if isinstance(reason, NetworkError) else None
    return AxisSizes(
        axes,
        given,
        smallest,
        largest,
        working,
        spotless,
        _near(given, working, smallest, largest),
        _near(given, spotless, smallest, largest),
        "" if failure is None else str(failure),
        "" if failure is None else failure.stage,
    )


def _of_one_cell(network: Network) -> set[str]:
    """Name the stages that have one cell at every size: poolings of whole maps, and what is read from these alone."""
    found: set[str] = set()
    for stage in network.stages:
        row = None if stage.layer is None else OPERATORS.get(stage.layer.operator)
        whole = row is not None and row.windows != "sliding" and all(axis.output_size == 1 for axis in stage.axes)
        if stage.kind == "global" or whole or (stage.inputs and found.issuperset(stage.inputs)):
            found.add(stage.name)
    return found


def _repeated(works: Callable[[int], bool], known: int, period: int) -> tuple[list[int], Pattern]:
    """Try the sizes of a period; return them and what is said of all."""
    tried = list(_sample(known, period))
    return tried, _pattern(filter(works, tried), tried, period)


def _beyond(known: int, period: int) -> tuple[int, ...]:
    """Return a few sizes beyond the period that was tried."""
    return known + period + 1, known + 2 * period, known + 2 * period + period // 2, known + 4 * period - 1


def _period(network: Network, names: Container[str]) -> int:
    """Return the input size after which everything repeats: what the effective strides of some stages divide.

    Those are the strides of windows that slide. The steps of adaptive windows, and of interpolation between the outer
    pixels, follow from the size of the input.
    """
    steps = [
        step.numerator
        for stage in network.stages
        if stage.receptive_field is not None and stage.name in names and _has_steps(stage)
        for step in stage.receptive_field.stride
        if step.denominator == 1
    ]
    return min(math.lcm(*steps), LONGEST_PERIOD**2)


def _has_steps(stage: Stage) -> bool:
    """Whether a stage has fewer cells than its input by a factor that is the same at every size."""
    if stage.kind == "resize":
        sizes = zip(stage.input_shape[2:], stage.output_shape[2:], strict=False)
        return all(after and before % after == 0 for before, after in sizes)
    return any(axis.stride > 1 and not axis.adaptive for axis in stage.axes)


def _last(holds: Callable[[int], bool], limit: int) -> int:
    """Return the largest number up to a limit for which something holds that holds for 0 and all below it."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def _sample(start: int, count: int) -> Iterator[int]:
    """Yield sizes one after another; of very many, those that are most likely to tell something."""
    if count <= 2 * LONGEST_PERIOD:
        yield from range(start, start + count)
        return
    step = 1 << (count // LONGEST_PERIOD).bit_length()
    yield from sorted({start, start + 1, *range(start + -start % step, start + count, step)})


def _pattern(found: Iterable[int], tried: Sequence[int], period: int) -> Pattern:
    """Describe sizes by the smallest step that tells them from the others that were tried."""
    chosen = set(found)
    for step in (each for each in range(1, period + 1) if period % each == 0):
        remainders = {size % step for size in chosen}
        if all((size in chosen) == (size % step in remainders) for size in tried):
            return Pattern(step, tuple(sorted(remainders)))
    return Pattern(period, tuple(sorted({size % period for size in chosen})))


def _near(given: int, pattern: Pattern, smallest: int, largest: int | None) -> tuple[int, ...]:
    last = largest if largest is not None else max(given, smallest) + pattern.step
    start = min(given - 1, last)
    below = (size for size in range(start, max(smallest - 1, start - pattern.step), -1) if size in pattern)
    above = (size for size in range(max(given, smallest), last + 1) if size in pattern)
    return tuple(size for size in (next(below, None), next(above, None)) if size is not None)
