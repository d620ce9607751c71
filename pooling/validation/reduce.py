"""The smallest input that still shows a difference.

What differs on a whole feature map is cut down to what a person can follow with a pencil: one plane, few cells, plain
numbers. Every step is asked of both sides again, and kept only where they differ in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.errors import value_error
from pooling.geometry import Axis

from .inputs.case import Case, single_node
from .rules import broken_rule
from .rules.evidence import MAXIMA, MEANS, NORMS, Setting
from .runners.results import Result
from .verdicts import Kind, Verdict, judge

__all__ = ["Ask", "RuleOf", "Smallest", "axes_of", "smallest"]

Array = NDArray[Any]
Ask = Callable[[Sequence[Case]], Sequence[tuple[Result, Result]]]
"""Asks both sides for some cases; gives what is expected and what came, for each."""
RuleOf = Callable[[Case, Result, Verdict, Result], str | None]
"""Says which rule is broken, as `pooling.validation.rules.broken_rule` does."""
MOST_RUNS = 300
BATCH = 8
"""Cases that are asked at once: a new process for each would take longer than all runs."""
BATCH_ELEMENTS = 2**22
MOST_LISTED = 1000
"""Numbers of an input that are written out."""
PLAIN = 1000
"""Greater numbers, and smaller fractions, are not plain."""


@dataclass(frozen=True)
class Smallest:
    """The smallest case that was found to differ as another does."""

    case: Case
    """Smaller than the other, or the other where nothing smaller differs."""
    expected: Result
    actual: Result
    """What the oracle and the runtime made of it."""
    verdict: Verdict
    """How they differ."""
    runs: int
    """Cases that were run to find it."""


def smallest(case: Case, ask: Ask, *, rule_of: RuleOf = broken_rule, most_runs: int = MOST_RUNS) -> Smallest | None:
    """Find the smallest input that shows what a case shows.

    Planes are taken away, then rows and columns, then special and long numbers; attributes stay as they are. A smaller
    case counts if its verdict is of the same kind and breaks the same rule. None is looked for where the answer exceeds
    the limits of a process.

    Parameters
    ----------
    case : Case
        A case in which the two sides differ, of a node with one input; of others only the numbers of the first change.
    ask : callable
        Takes some cases and returns, for each, what is expected and what came.
    rule_of : callable
        Says which rule is broken, from case, expected answer, verdict and actual answer.
    most_runs : int
        Cases to ask at most, the first one included.

    Returns
    -------
    Smallest or None
        None where the two do not differ when asked again.

    Raises
    ------
    ValueError
        If `most_runs` is less than 1.
    """
    if most_runs < 1:
        raise value_error("smallest", f"most_runs={most_runs} must be at least 1")
    ((expected, actual),) = ask([case])
    found = Smallest(case, expected, actual, judge(case, expected, actual), 1)
    if found.verdict.kind is Kind.AGREES:
        return None
    if actual.exceeded:
        return found  # each further answer would take as long as the limit
    rule = rule_of(case, expected, found.verdict, actual)
    runs, seen = 1, {_fingerprint(case)}
    simpler = _simpler(found)
    while runs < most_runs:
        batch = _batch(simpler, min(BATCH, most_runs - runs), seen, _size(found.case))
        if not batch:
            break
        runs += len(batch)
        same = [
            each
            for each in _judged(batch, ask(batch), runs)
            if _same_difference(each.verdict, found.verdict)
            and (each.expected.unsupported is None) == (expected.unsupported is None)
            and (rule is None or rule_of(each.case, each.expected, each.verdict, each.actual) == rule)
        ]
        if same:
            found = min(same, key=lambda each: _size(each.case))
            simpler = _simpler(found)
    if found.case is not case:
        found = replace(found, case=replace(found.case, name=f"{case.name}-smallest"))
    return replace(found, runs=runs)


def _same_difference(verdict: Verdict, other: Verdict) -> bool:
    """Whether two verdicts are of the same kind; crashes are if the process ends in the same way."""
    if verdict.kind is Kind.CRASHES:
        return verdict.sentence == other.sentence
    return verdict.kind is other.kind


def _judged(batch: Sequence[Case], answers: Sequence[tuple[Result, Result]], runs: int) -> Iterator[Smallest]:
    """Judge what came, where there is anything to hold it against."""
    for case, (expected, actual) in zip(batch, answers, strict=True):
        if expected.crash is None:
            yield Smallest(case, expected, actual, judge(case, expected, actual), runs)


def listed(array: Array) -> Any:
    """Return numbers as nested lists, NaN and infinities as strings; None where there are too many."""
    if array.size > MOST_LISTED:
        return None
    if array.ndim:
        return [listed(part) for part in array]
    value = array.item() if array.dtype.kind in "biuf" else float(array)
    return value if math.isfinite(value) else str(value)


def axes_of(case: Case) -> tuple[Axis, ...] | None:
    """Lay the windows of a case's node over its input; None where it has none, or breaks a rule of ONNX."""
    if case.node.op_type not in MAXIMA | MEANS | NORMS:
        return None
    return Setting(case.node, case.opset, case.array.shape).axes or None


def _batch(cases: Iterator[Case], most: int, seen: set[bytes], size: tuple[int, ...]) -> list[Case]:
    """Take the next cases that are smaller than `size` and were not asked before."""
    batch: list[Case] = []
    elements = 0
    for case in cases:
        fingerprint = _fingerprint(case)
        if fingerprint in seen or _size(case) >= size:
            continue
        seen.add(fingerprint)
        batch.append(replace(case, name=f"{case.name.partition('~')[0]}~{len(seen)}"))
        elements += case.array.size
        if len(batch) == most or elements > BATCH_ELEMENTS:
            break
    return batch


def _fingerprint(case: Case) -> bytes:
    array = case.array
    return repr(array.shape).encode() + array.tobytes()


# ---------------------------------------------------------------------------------------------------------------------
# What is smaller


def _size(case: Case) -> tuple[int, ...]:
    """Measure a case: by its cells, then special numbers, then how much there is to read."""
    array = case.array
    cells = math.prod(max(size, 1) for size in array.shape)
    special = int(np.count_nonzero(_special(array)))
    if np.array_equal(_counted(array), array, equal_nan=array.dtype.kind == "f"):
        return cells, special, 0
    return cells, special, 1 + int(_complexity(array).sum())


def _special(array: Array) -> NDArray[np.bool_]:
    """Mark what is no plain number: NaN, infinities, negative zeros, the very large and the very small."""
    with np.errstate(invalid="ignore", over="ignore"):
        numbers = array.astype(np.float64)
        magnitude = np.abs(numbers)
        plain = (magnitude <= PLAIN) & ((magnitude >= 1 / PLAIN) | (magnitude == 0))
    special: NDArray[np.bool_] = ~plain | ((numbers == 0) & np.signbit(numbers))
    return special


def _complexity(array: Array) -> NDArray[np.int64]:
    """Weigh how hard each plain number is to read: nothing is easier than zero."""
    with np.errstate(invalid="ignore", over="ignore"):
        numbers = array.astype(np.float64)
        fraction = numbers != np.round(numbers)
        long = np.round(numbers, 2) != numbers
        marks = (numbers != 0, numbers != 1, numbers < 0, np.abs(numbers) >= 10, fraction, fraction, fraction & long)
    complexity: NDArray[np.int64] = np.sum(marks, axis=0, dtype=np.int64)
    return complexity


def _counted(array: Array) -> Array:
    """Count the cells from 1, so that each says where it is; special numbers stay."""
    limit = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else PLAIN
    counted = (np.arange(array.size) % min(int(limit), PLAIN) + 1).reshape(array.shape).astype(array.dtype)
    return np.where(_special(array), array, counted).astype(array.dtype)


def _simpler(found: Smallest) -> Iterator[Case]:
    """Yield cases that may be smaller, those first that would help most."""
    array = found.case.array
    if len(found.case.inputs) == 1:
        for shape_only in (_fewer_planes, _smaller_maps):
            for smaller in shape_only(found, array):
                yield _with(found.case, smaller)
    for simplified in _simplified_values(array):
        yield _with(found.case, simplified)


def _with(case: Case, array: Array) -> Case:
    """Put another array into a case, and its shape into the model."""
    name = str(case.node.input[0])
    inputs = {**case.inputs, name: np.ascontiguousarray(array)}
    same_shape = array.shape == case.array.shape
    return replace(case, inputs=inputs, model=case.model if same_shape else single_node(case.node, case.opset, inputs))


def _fewer_planes(found: Smallest, array: Array) -> Iterator[Array]:
    """Yield single planes, that of the difference first, then halves of batch and channels."""
    if array.ndim < 3 or max(array.shape[:2]) <= 1:
        return
    batch, channels = array.shape[:2]
    where = found.verdict.where or (0, 0)
    if len(where) >= 2 and where[0] < batch and where[1] < channels:
        n, c = where[:2]
        yield array[n : n + 1, c : c + 1]
        yield array[n : n + 1]
        yield array[:, c : c + 1]
        # Some count over all planes, and are wrong behind the first only.
        yield array[n : n + 1, max(c - 1, 0) : c + 1]
        yield array[max(n - 1, 0) : n + 1, c : c + 1]
    if array.size == 0:
        yield array[:1, :1]
    for axis in (0, 1):
        middle = array.shape[axis] // 2
        if middle:
            yield from np.split(array, [middle], axis)


def _smaller_maps(found: Smallest, array: Array) -> Iterator[Array]:
    """Yield parts of all planes: what the window needs, halves, and all but one row at either end."""
    spatial = range(2, array.ndim)
    options: list[list[tuple[int, int]]] = []
    axes = axes_of(found.case)
    where = found.verdict.where or ()
    for axis in spatial:
        size = array.shape[axis]
        ranges = []
        if axes is not None and len(where) == array.ndim:
            stride = axes[axis - 2].stride
            window = axes[axis - 2].window(where[axis])
            begin, end = max(window[0], 0), min(window[-1] + 1, size)
            aligned = begin - begin % stride
            ranges += [(begin, end), (aligned, end), (max(aligned - stride, 0), end), (aligned, size), (0, end)]
        middle = size // 2
        ranges += [(0, middle), (middle, size), (0, size - size // 4), (size // 4, size), (0, size - 1), (1, size)]
        options.append([(begin, end) for begin, end in ranges if end > begin])
    everything = [slice(None)] * 2
    for both in zip(*options, strict=False):
        yield array[(*everything, *(slice(*each) for each in both))]
    for axis, ranges in zip(spatial, options, strict=True):
        for begin, end in ranges:
            yield array[(*[slice(None)] * axis, slice(begin, end))]


def _simplified_values(array: Array) -> Iterator[Array]:
    """Yield the same map with plainer numbers: all, all that the window does not read, then parts of it."""
    special = _special(array)
    for fill in (_counted(array), _ranked(array), np.zeros_like(array), np.ones_like(array)):
        yield fill
        yield np.where(special, array, fill).astype(array.dtype)
        if array.dtype.kind not in "iu":
            yield np.where(special, array, np.round(array.astype(np.float64))).astype(array.dtype)
    flat = array.ravel()
    # Half of all special cells become plain, then a quarter, and so on down to one; the same then with all others.
    for which in (np.flatnonzero(special), np.flatnonzero(flat != 0)):
        for chunk in _chunks(which):
            for number in (1, 0):
                changed = flat.copy()
                changed[chunk] = number
                yield changed.reshape(array.shape)


def _ranked(array: Array) -> Array:
    """Put ranks in the place of values: what is equal stays equal, what is greater stays greater."""
    special = _special(array)
    ordinary = array[~special].astype(np.float64)
    ranks = np.zeros(array.shape)
    if ordinary.size:
        ranks[~special] = np.unique(ordinary, return_inverse=True)[1].reshape(ordinary.shape)
    # Ranks beyond the dtype cannot occur: it has no more values than that, or enough room.
    return np.where(special, array, ranks.astype(array.dtype)).astype(array.dtype)


def _chunks(which: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    parts = 1
    while parts <= which.size:
        yield from np.array_split(which, parts)
        parts = parts + 1 if parts == which.size else min(2 * parts, which.size)
