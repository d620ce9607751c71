"""What can be found in a network: rules with stable codes, like those of a linter.

A rule is a function that looks at a `Case` and yields findings; its title is the table entry of its code. What it says
holds for the numbers at hand, and every fix that changes an argument has been tried on the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

from pooling.arguments import axis_names
from pooling.geometry import Axis, window_count
from pooling.reporting.formats import amount, brief, by, cells, joined, percent

from .antialias import replacement
from .network import Network, NetworkError, Stage
from .objects import Footprint, Objects, collapses, follow_object, without_head
from .sizes import AxisSizes

__all__ = ["RULES", "SEVERITIES", "Case", "Failure", "Finding", "Rule", "find"]

SEVERITIES = ("note", "warning", "error")
"""From the lightest to the gravest."""
NEWEST = 22
"""The opset whose text says what ceil_mode and dilations mean."""
DILATED_MEAN = 19
"""The opset since which AveragePool has dilations."""
EARLY = 0.1
"""The share of all multiply-adds up to which a network has hardly looked at its input."""
EARLY_STAGES = 3
"""Stages, from the first on, whose stride is a candidate to be left out."""
EARLY_STEPS = 4
"""An effective stride that is much for so early a place."""
COARSE_MASK = 8
"""An effective stride that is too much to draw outlines with."""
MOST_WEIGHTS = 0.5
NOT_EVERYWHERE = {
    "GlobalLpPool": ("onnxruntime", "ReduceL1 or ReduceL2 over the spatial axes, which pooling.export writes"),
    "MaxUnpool": ("openvino", "ScatterElements, which pooling.export writes"),
}
"""Pooling operators of ONNX that a common runtime does not have: the runtime, and what to use instead."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes
    ----------
    code : str
        Of the rule, such as ``"D201"``.
    severity : str
        ``"note"``, ``"warning"`` or ``"error"``.
    stage : str
        The stage that it is about; empty where it is about the whole network.
    message : str
        What is so, and why that matters, with the numbers.
    fixes : tuple of str
        What to try, in the order of practice.
    """

    code: str
    severity: str
    stage: str
    message: str
    fixes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The rule in a few words."""
        return RULES[self.code].title


@dataclass(frozen=True)
class Failure:
    """An input size with which the network does not work: the shape, why, and the stage that is to blame."""

    shape: tuple[int, ...]
    sentence: str
    stage: str


@dataclass(frozen=True)
class Case:
    """What rules look at; attributes as those of `Examination`."""

    network: Network
    objects: Objects
    sizes: tuple[AxisSizes, ...]
    task: str | None
    failure: Failure | None = None

    @property
    def localises(self) -> bool:
        """Whether the task asks where things are."""
        return self.task in ("detection", "segmentation")

    @cached_property
    def stages(self) -> Mapping[str, Stage]:
        """The stages by name."""
        return {stage.name: stage for stage in self.network.stages}

    @cached_property
    def macs(self) -> int:
        """Multiply-adds of all stages."""
        return sum(stage.macs for stage in self.network.stages)

    @cached_property
    def windowed(self) -> tuple[Stage, ...]:
        """The stages with windows that slide forward over a map."""
        return tuple(each for each in self.network.stages if each.kind in ("convolution", "pooling") and each.axes)

    @cached_property
    def shrinking(self) -> tuple[Stage, ...]:
        """The stages that make the map smaller by their stride."""
        return tuple(
            stage
            for stage in self.windowed
            if any(axis.stride > 1 and axis.output_size > 1 for axis in stage.axes) and not collapses(stage)
        )

    def readers(self, name: str) -> list[Stage]:
        """List the stages that read a map, looking through those that work on each cell alone."""
        found = []
        for stage in self.network.stages:
            if name in stage.inputs:
                found += self.readers(stage.name) if stage.kind == "elementwise" else [stage]
        return found

    def leads_to(self, name: str) -> set[str]:
        """Name the stages that a stage depends on, itself included."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            each = waiting.pop()
            if each in self.stages and each not in found:
                found.add(each)
                waiting += self.stages[each].inputs
        return found


@dataclass(frozen=True)
class Rule:
    """One rule: its code, what it is about in a few words, and the function that looks for it."""

    code: str
    title: str
    look: Callable[[Case], Iterator[Finding]] = field(repr=False)


RULES: dict[str, Rule] = {}
"""All rules by their codes."""


def rule(code: str, title: str) -> Callable[[Callable[[Case], Iterator[Finding]]], Callable[[Case], Iterator[Finding]]]:
    """Enter a rule into the table."""

    def enter(look: Callable[[Case], Iterator[Finding]]) -> Callable[[Case], Iterator[Finding]]:
        RULES[code] = Rule(code, title, look)
        return look

    return enter


def find(case: Case) -> tuple[Finding, ...]:
    """Look for everything, and put the gravest first; of one severity, in the order of the codes and the stages."""
    found = [finding for each in RULES.values() for finding in each.look(case)]
    return tuple(sorted(found, key=lambda finding: (-SEVERITIES.index(finding.severity), finding.code)))


# ---------------------------------------------------------------------------------------------------------------------
# D1: sizes


@rule("D101", "floor division leaves rows or columns out of every window")
def _cut_off(case: Case) -> Iterator[Finding]:
    for stage in case.windowed:
        cut = [axis.cut for axis in stage.axes]
        if not any(cut):
            continue
        lost = 1 - math.prod(
            (axis.input_size - each) / axis.input_size for axis, each in zip(stage.axes, cut, strict=True)
        )
        formula = " and ".join(dict.fromkeys(axis.formula for axis, each in zip(stage.axes, cut, strict=True) if each))
        names = axis_names(len(cut))
        where = joined([f"the last {_lines(each, names[i])}" for i, each in enumerate(cut) if each])
        fixes = []
        whole = [each.clean_near for each in case.sizes]
        if any(whole):
            sizes = " or ".join(dict.fromkeys(str(size) for near in whole for size in near))
            fixes.append(f"use an input of size {sizes}, for which nothing is left out anywhere")
        if stage.kind == "pooling" and all(axis.output_size == 1 for axis in stage.axes):
            fixes.append("make it a global pooling (GlobalAveragePool, AdaptiveAvgPool2d(1)), which reads every cell")
        else:
            pads = brief([f"(0, {axis.stride - axis.cut})" if axis.cut else "(0, 0)" for axis in stage.axes])
            if stage.kind == "pooling":
                fixes.append("set ceil_mode=True here, which lets the last window hang over the edge (and see D301)")
            fixes.append(f"pad this map at its end so that one more window fits, by {pads}")
        size = by([axis.input_size for axis in stage.axes])
        yield Finding(
            "D101",
            "warning",
            stage.name,
            f"{formula}: no window reads {where} of the {size} map, {percent(lost)} of it, and what the image shows "
            f"there has no influence on the result",
            tuple(fixes),
        )


def _lines(number: int, axis: str) -> str:
    noun = {"H": "row", "W": "column", "D": "slice"}.get(axis, "cell")
    return f"{number} {noun}s" if number > 1 else noun


@rule("D102", "the input is too small: a window finds no place")
def _too_small(case: Case) -> Iterator[Finding]:
    failure = case.failure
    if failure is None or _kind(case, failure) in ("merge", "dense", "reshape"):
        return
    fixes = []
    ranges = [
        f"{each.smallest}{f' to {each.largest}' if each.largest else ' at least'}"
        + (f" on {each.axes}" if len(case.sizes) > 1 else "")
        for each in case.sizes
        if each.smallest is not None
    ]
    if ranges and any(each.smallest is not None and each.given < each.smallest for each in case.sizes):
        fixes.append(f"use an input of size {joined(ranges)}")
        fixes.append("or scale small images up before they enter the network")
        fixes += [f"or leave out downsampling for small images: {each}" for each in _room(case, failure.shape)]
        fixes.append("or use a global (adaptive) pooling, which takes maps of any size, in place of a fixed last one")
    yield Finding(
        "D102",
        "error",
        failure.stage,
        f"the network does not work with an input of {by(failure.shape)}: {failure.sentence}",
        tuple(fixes),
    )


def _room(case: Case, shape: Sequence[int]) -> Iterator[str]:
    """Try which strides, the earliest first, make a small input large enough when they are left out."""
    changes: dict[str, dict[str, int]] = {}
    for stage in sorted(case.shrinking, key=lambda each: each.kind != "pooling")[:EARLY_STAGES]:
        changes[stage.name] = {"stride": 1}
        try:
            case.network.edited(changes).at(shape)
        except NetworkError:
            continue
        yield _written(changes)
        return


def _written(changes: Mapping[str, Mapping[str, Any]]) -> str:
    return " ".join(f"--set '{name}.{key}={value}'" for name, each in changes.items() for key, value in each.items())


@rule("D103", "maps that meet in an addition or concatenation have different sizes")
def _do_not_meet(case: Case) -> Iterator[Finding]:
    failure = case.failure
    if failure is None or _kind(case, failure) != "merge":
        return
    sizes = [f"{each.working} on {each.axes}" if len(case.sizes) > 1 else str(each.working) for each in case.sizes]
    near = joined(list(dict.fromkeys(str(size) for each in case.sizes for size in each.working_near)), "or")
    yield Finding(
        "D103",
        "error",
        failure.stage,
        f"the network does not work with an input of {by(failure.shape)}: {failure.sentence}; one path rounds down "
        "where the other does not, so the skip connection cannot be joined",
        (
            f"use input sizes where both paths agree: {joined(sizes)}{f' (near by: {near})' if near else ''}",
            "or pad the image to such a size and cut the result back",
            "or resize the upsampled map to the size of the skip connection, instead of by a fixed factor",
            "or give the transposed convolution output_padding=1 for odd sizes",
        ),
    )


def _kind(case: Case, failure: Failure) -> str:
    return case.stages[failure.stage].kind if failure.stage in case.stages else ""


@rule("D104", "the input size is fixed")
def _fixed(case: Case) -> Iterator[Finding]:
    fixed: dict[str, list[AxisSizes]] = {}
    for each in case.sizes:
        if each.largest:
            fixed.setdefault(each.obstacle_stage or each.obstacle, []).append(each)
    for axes in fixed.values():
        # What one stage asks of several axes is one thing to know.
        spans: dict[str, list[str]] = {}
        for each in axes:
            span = str(each.smallest) if each.smallest == each.largest else f"{each.smallest} to {each.largest}"
            spans.setdefault(span, []).append(each.axes)
        sizes = joined([f"{span} on {joined(names)}" for span, names in spans.items()])
        stage = axes[0].obstacle_stage
        dense = bool(stage) and _kind(case, Failure((), "", stage)) in ("dense", "reshape")
        wrong = case.failure is not None and _kind(case, case.failure) in ("dense", "reshape")
        yield Finding(
            "D104",
            "error" if wrong else "note",
            stage,
            f"the network works with inputs of size {sizes} only: {axes[0].obstacle}",
            (
                "scale or cut every image to that size",
                "or put a global pooling before the dense layer, and train it again"
                if dense
                else "or replace the fixed sizes in the model by ones that follow from the input",
            ),
        )


@rule("D105", "windows hold more padding than map")
def _hollow(case: Case) -> Iterator[Finding]:
    for stage in case.windowed:
        if stage.kind == "pooling" and collapses(stage):
            continue
        # Of a window in the middle, which has the most of the map.
        best = math.prod(min(1.0, _reads(axis) / axis.kernel_size) for axis in stage.axes)
        if best >= 0.5:
            continue
        kernel, size = brief([axis.kernel_size for axis in stage.axes]), by([axis.input_size for axis in stage.axes])
        yield Finding(
            "D105",
            "warning",
            stage.name,
            f"on a map of {size}, every window of {kernel} holds at least {percent(1 - best)} padding: most of the "
            "weights are multiplied by zeros",
            (
                "use a larger input",
                "or leave out one of the downsampling stages before it",
                "or stop before this stage: the map is smaller than its windows",
            ),
        )


def _reads(axis: Axis) -> int:
    """Count the taps that find the map, of the window that has most."""
    begin, end = axis.interior
    return axis.kernel_size if end > begin or axis.adaptive else int(axis.border_windows().count.max(initial=0))


# ---------------------------------------------------------------------------------------------------------------------
# D2: objects


@rule("D201", "the object is smaller than one cell before the last stage")
def _vanishes(case: Case) -> Iterator[Finding]:
    head = case.objects.at_heads
    if head is None or min(head.resolved) >= 1:
        return
    first = _first_below(case, head, 1)
    at = case.objects.footprints[first]
    two = _first_below(case, head, 2)
    steps = brief([cells(Fraction(size) / each) for size, each in zip(case.objects.size, at.resolved, strict=True)])
    earlier = f" (less than two since {two})" if two != first else ""
    last = (
        ""
        if first == head.stage
        else f"; {_covered(head.resolved)} is left at {head.stage}, which the output is read from"
    )
    yield Finding(
        "D201",
        "error" if case.localises else "warning" if case.task is None else "note",
        first,
        f"an object of {by(case.objects.size)} pixels covers {_covered(at.resolved)} here, where the effective stride "
        f"becomes {steps}{earlier}{last}: it is mixed with its surroundings and cannot be told apart again",
        tuple(_more_cells(case, head)),
    )


@rule("D202", "the object is smaller than two cells at the last stage")
def _small(case: Case) -> Iterator[Finding]:
    head = case.objects.at_heads
    if head is None or not 1 <= min(head.resolved) < 2:
        return
    first = _first_below(case, head, 2)
    yield Finding(
        "D202",
        "warning" if case.localises else "note",
        first,
        f"an object of {by(case.objects.size)} pixels covers {_covered(head.resolved)} at {head.stage}, which the "
        f"output is read from: it is seen or not depending on where it lies on the grid, and two that touch are one",
        tuple(_more_cells(case, head)),
    )


@rule("D203", "the receptive field is smaller than the object")
def _not_seen_whole(case: Case) -> Iterator[Finding]:
    head = max(
        (case.stages[name] for name in case.objects.heads),
        key=lambda stage: min(stage.receptive_field.size) if stage.receptive_field else 0,
        default=None,
    )
    if head is None or head.receptive_field is None or head.receptive_field.context:
        return
    if all(size >= wanted for size, wanted in zip(head.receptive_field.size, case.objects.size, strict=True)):
        return
    yield Finding(
        "D203",
        "warning" if case.localises else "note",
        head.name,
        f"a cell of {head.name} sees {by(head.receptive_field.size)} pixels of the input, less than the object of "
        f"{by(case.objects.size)}: no cell sees the whole of it",
        (
            "add stages, or dilate the convolutions (dilation=2), which sees further for the same price",
            "or scale the image down: its objects are too large for this network",
            "or read large objects from a deeper map, as feature pyramids do",
        ),
    )


def _covered(numbers: Sequence[Fraction]) -> str:
    text = brief([cells(each) for each in numbers])
    whole = text if len(numbers) == 1 else by([cells(each) for each in numbers])
    return f"{whole} cell" if set(numbers) == {1} and len(numbers) == 1 else f"{whole} cells"


def _first_below(case: Case, head: Footprint, limit: int) -> str:
    """Name the first stage on the way to a head behind which the object has fewer cells."""
    way = case.leads_to(head.stage)
    below = (name for name, each in case.objects.footprints.items() if name in way and min(each.resolved) < limit)
    return next(below, head.stage)


def _more_cells(case: Case, head: Footprint) -> Iterator[str]:
    """Say how the object gets more cells, in the order of practice; what is said of changes was tried."""
    goal = 1 if min(head.resolved) < 1 else 2
    yield from _less_downsampling(case, head, goal)
    way = case.leads_to(head.stage)
    finer = [
        (name, each) for name, each in case.objects.footprints.items() if name in way and min(each.resolved) >= goal
    ]
    fine = [item for item in finer if min(item[1].resolved) >= 2] or finer
    if fine:
        name, each = fine[-1]
        yield (
            f"keep a high-resolution branch: read objects of this size from {name} ({_covered(each.resolved)}), joined "
            "with what is upsampled from the deeper maps (a feature pyramid, FPN)"
        )
    last = next((stage for stage in reversed(case.shrinking) if stage.name in way), None)
    if last is not None:
        yield (
            f"take the stride out of the last step ({last.name}) and dilate what is behind it by "
            f"{brief([axis.stride for axis in last.axes])}: the receptive field stays"
        )
    yield (
        "where downsampling stays, use a strided convolution or an anti-aliased pool (MaxBlurPool2d), which loses less "
        "of what is small"
    )
    factor = math.ceil(goal / min(head.resolved))
    yield f"or enlarge the image {factor} times, or cut it into tiles and enlarge these, so that the object is larger"


def _less_downsampling(case: Case, head: Footprint, goal: int) -> Iterator[str]:
    """Try stride 1 in the earliest stages, alone and one after another, until the object is large enough."""
    way = case.leads_to(head.stage)
    body = without_head(case.network)
    whole = sum(stage.macs for stage in body.stages)
    changes: dict[str, dict[str, int]] = {}
    reached: list[tuple[str, Footprint, float, Stage]] = []
    early = [each for each in case.shrinking if each.name in way][:EARLY_STAGES]
    # A pooling first: it has no weights that would have to be trained again.
    for stage in sorted(early, key=lambda each: each.kind != "pooling"):
        try:
            network = body.edited({**changes, stage.name: {"stride": 1}})
        except NetworkError:
            continue
        after = follow_object(network, case.objects.size).at_heads
        if after is None or min(after.resolved) <= min(head.resolved):
            continue
        changes[stage.name] = {"stride": 1}
        cost = sum(each.macs for each in network.stages) / whole if whole else 0.0
        reached.append((_written(changes), after, cost, network.stage(after.stage)))
        if min(after.resolved) >= goal:
            break
    # What costs least, and what is enough; if that is out of reach, how far one gets.
    for written, after, cost, stage in reached[:1] + reached[1:][-1:]:
        price = f", for {cost:.1f} times the multiply-adds" if cost and round(cost, 1) != 1 else ""
        field, old = stage.receptive_field, case.stages[head.stage].receptive_field
        sees = ""
        if field is not None and old is not None and field.size != old.size:
            sees = f", and a receptive field of {by(field.size)} instead of {by(old.size)}"
        yield f"reduce early downsampling: {written} leaves {_covered(after.resolved)} there{price}{sees}"


# ---------------------------------------------------------------------------------------------------------------------
# D3: runtimes


@rule("D301", "ceil_mode differs between runtimes below opset 22")
def _ceil_mode(case: Case) -> Iterator[Finding]:
    opset = case.network.opset
    if opset is not None and opset >= NEWEST:
        return
    for stage in case.windowed:
        if stage.layer is None or not stage.layer.arguments.get("ceil_mode"):
            continue
        dropped = any(_rounded_up(axis) > axis.output_size for axis in stage.axes)
        overhang = any(axis.ceil_overhang for axis in stage.axes)
        if stage.layer.operator in MAXIMA:
            # A maximum divides by nothing: what hangs over the edge adds nothing, whoever computes it.
            overhang = False
            if not any(_may_drop(axis) for axis in stage.axes):
                continue
        where = f"in opset {opset}" if opset is not None else "once exported"
        if dropped:
            why = (
                f"the window that would start behind the map counts by the text and by shape inference {where}, but "
                "not in torch and onnxruntime; a model with both sizes in it does not load"
            )
        elif overhang:
            why = f"the last window hangs over the edge, and runtimes divide by or fill in other numbers there {where}"
        else:
            why = f"at this size it changes nothing, at others runtimes disagree {where}"
        yield Finding(
            "D301",
            "warning" if dropped or overhang else "note",
            stage.name,
            f"ceil_mode is set: {why}",
            (
                "write explicit pads instead: pooling repair MODEL.onnx -o OUT.onnx does, and proves it",
                "or use an input size for which nothing is rounded, and leave ceil_mode out",
                f"or export with opset {NEWEST} or newer",
            ),
        )


MAXIMA = frozenset({"max_pool", "min_pool"})


def _may_drop(axis: Axis) -> bool:
    """Whether there are input sizes for which a last window would start behind the map."""
    return not axis.adaptive and axis.effective_kernel_size < axis.pad_end + axis.stride


def _rounded_up(axis: Axis) -> int:
    if axis.adaptive:
        return axis.output_size
    padded = axis.pad_begin + axis.input_size + axis.pad_end
    return int(window_count(padded + axis.stride - 1, axis.effective_kernel_size, axis.stride))


@rule("D302", "auto_pad is read differently by runtimes")
def _auto_pad(case: Case) -> Iterator[Finding]:
    if case.network.opset is None:
        return
    for stage in case.windowed:
        padding = stage.layer.arguments.get("padding") if stage.layer is not None else None
        dilated = any(axis.dilation > 1 for axis in stage.axes)
        if padding != "same_lower" and not (padding == "same_upper" and dilated):
            continue
        why = (
            "onnxruntime leaves the dilation out when it computes the pads, so the output has another size there"
            if dilated
            else "some implementations put the odd cell of padding at the end, as for SAME_UPPER"
        )
        yield Finding(
            "D302",
            "warning",
            stage.name,
            f"auto_pad is {str(padding).upper()}: {why}",
            ("write explicit pads instead: pooling repair MODEL.onnx -o OUT.onnx does, and proves it",),
        )


@rule("D303", "AveragePool has no dilations below opset 19")
def _dilated_mean(case: Case) -> Iterator[Finding]:
    if case.network.opset is not None:
        return  # a model that has the attribute where it does not exist is refused when it is read
    for stage in case.windowed:
        if stage.operator == "AveragePool" and any(axis.dilation > 1 for axis in stage.axes):
            yield Finding(
                "D303",
                "warning",
                stage.name,
                f"the operator got dilations in opset {DILATED_MEAN}: exported to an older one, a model is not valid: "
                "onnxruntime refuses it, openvino does not",
                (
                    f"export with opset {DILATED_MEAN} or newer",
                    "or with pooling.export.to_onnx, which writes the same mean by operators that every opset has",
                ),
            )


@rule("D304", "adaptive pooling with uneven windows has no ONNX operator")
def _uneven(case: Case) -> Iterator[Finding]:
    for stage in case.network.stages:
        uneven = [axis for axis in stage.axes if axis.adaptive]
        if stage.kind not in ("pooling", "global") or not uneven:
            continue
        ratio = joined(list(dict.fromkeys(f"{axis.input_size} to {axis.output_size}" for axis in uneven)))
        yield Finding(
            "D304",
            "warning",
            stage.name,
            f"{ratio} is no whole number of cells for each window, so windows overlap and differ in size: most "
            "exporters refuse that, or write an approximation",
            (
                "use an input for which the map is a multiple of the output size",
                "or pooling.export.to_onnx, which writes it exactly for static sizes",
                "or a pooling with fixed windows, or a global one",
            ),
        )


@rule("D305", "a common runtime lacks the operator")
def _lacking(case: Case) -> Iterator[Finding]:
    if case.network.opset is None:
        return
    for stage in case.network.stages:
        if stage.operator in NOT_EVERYWHERE:
            runtime, instead = NOT_EVERYWHERE[stage.operator]
            yield Finding(
                "D305",
                "warning",
                stage.name,
                f"{runtime} has no {stage.operator}: the model does not load there",
                (f"write it as {instead}",),
            )


# ---------------------------------------------------------------------------------------------------------------------
# D4: aliasing


@rule("D401", "a strided maximum aliases")
def _aliases(case: Case) -> Iterator[Finding]:
    for stage in case.shrinking:
        if stage.operator != "MaxPool":
            continue
        instead = replacement(stage)
        kept = ", same output size" if instead.same_size else ""
        yield Finding(
            "D401",
            "note",
            stage.name,
            f"a maximum lets every detail through, and only each {_ordinal(stage.axes)} of them is kept: the result "
            "changes when the image moves by one pixel",
            (
                f"blur between the maximum and the stride (no weights{kept}): {instead.words}",
                "or a strided convolution, which can learn to blur",
            ),
        )


def _ordinal(axes: Sequence[Axis]) -> str:
    step = max(axis.stride for axis in axes)
    return {2: "second", 3: "third"}.get(step, f"{step}th")


@rule("D402", "cells between the windows are read by nobody")
def _gaps(case: Case) -> Iterator[Finding]:
    for stage in case.windowed:
        unread = 1 - math.prod(1 - axis.unread_share for axis in stage.axes)
        if not unread:
            continue
        others = [each for name in stage.inputs for each in _sources(case, name) if each.name != stage.name]
        read_elsewhere = any(1 - math.prod(1 - axis.unread_share for axis in each.axes) < unread for each in others)
        kernel, step = (brief([getattr(axis, name) for axis in stage.axes]) for name in ("kernel_size", "stride"))
        dilation = brief([axis.dilation for axis in stage.axes])
        windows = f"windows of {kernel}" + (f" with dilation {dilation}" if dilation != "1" else "")
        consequence = (
            "this path does not see them, but another one does"
            if read_elsewhere
            else "no other stage reads them either: they were computed for nothing, and what they show is lost"
        )
        # Of an odd size, floor division would leave the average one cell short of what this stage gives now.
        uneven = any(axis.input_size % axis.stride for axis in stage.axes)
        rounded = " and ceil_mode=1" if uneven and all(axis.kernel_size == 1 for axis in stage.axes) else ""
        yield Finding(
            "D402",
            "note" if read_elsewhere else "warning",
            stage.name,
            f"{windows} at stride {step} skip {percent(unread)} of the map; {consequence}",
            (
                "move the stride into the next convolution with a kernel of 3 (as ResNet v1.5 does)",
                f"or average before it: an AveragePool of {step} with stride {step}{rounded}, then this stage with "
                "stride 1 (as ResNet-D does on shortcuts)",
            ),
        )


def _sources(case: Case, name: str) -> list[Stage]:
    """List what reads the map behind a name, also where that is looked at through stages that work on cells alone."""
    stage = case.stages.get(name)
    while stage is not None and stage.kind == "elementwise" and len(stage.inputs) == 1:
        name = stage.inputs[0]
        stage = case.stages.get(name)
    return case.readers(name)


# ---------------------------------------------------------------------------------------------------------------------
# D5: design


@rule("D501", "the resolution is lost early")
def _early(case: Case) -> Iterator[Finding]:
    if case.task == "classification" or not case.macs:
        return
    head = case.objects.at_heads
    spent, steps, guilty = 0, Fraction(1), []
    for stage in case.network.stages:
        footprint = case.objects.footprints.get(stage.name)
        spent += stage.macs
        if footprint is None or spent > EARLY * case.macs:
            break
        now = max(Fraction(size) / each for size, each in zip(case.objects.size, footprint.resolved, strict=True))
        if now > steps:
            steps = now
            guilty.append(stage)
    if steps < EARLY_STEPS:
        return
    share = sum(stage.macs for stage in case.network.stages[: case.network.stages.index(guilty[-1]) + 1]) / case.macs
    small = head is not None and min(head.resolved) < 2
    names = joined([stage.name for stage in guilty])
    yield Finding(
        "D501",
        "warning" if case.localises and small else "note",
        guilty[-1].name,
        f"{names} shrink{'s' if len(guilty) == 1 else ''} the map {cells(steps)} times along each axis within the "
        f"first {percent(share)} of the multiply-adds: what is smaller than {cells(steps)} pixels is gone before the "
        "network has looked at it",
        (
            f"leave the stride out of one of them: {_written({_removable(case, guilty): {'stride': 1}})}"
            if _removable(case, guilty)
            else "leave the stride out of one of them",
            "or let a stage at full resolution read the image beside them, and join it later",
            "or pool later: the same stride behind the first convolutions costs more and keeps more",
        ),
    )


def _removable(case: Case, stages: Sequence[Stage]) -> str:
    """Name the last of some stages without whose stride the maps still fit together."""
    for stage in reversed(stages):
        try:
            without_head(case.network).edited({stage.name: {"stride": 1}})
        except NetworkError:
            continue
        return stage.name
    return ""


@rule("D502", "the map is pooled to one cell, but the task asks where things are")
def _pooled_away(case: Case) -> Iterator[Finding]:
    if not case.localises:
        return
    whole = [each for each in case.network.stages if _averages_all(each)]
    ways = [case.leads_to(name) for name in case.network.outputs]
    blind = [each for each in whole if ways and all(each.name in way for way in ways)]
    kept = [name for name in case.network.outputs if name in case.objects.footprints]
    if not blind or kept:
        return
    head = next((name for name in reversed(case.objects.heads)), "")
    yield Finding(
        "D502",
        "warning",
        blind[0].name,
        f"all of the {by([axis.input_size for axis in blind[0].axes]) or 'whole'} map becomes one cell here, and "
        f"every output is read from it: this is a head for classification, and {case.task} needs to know where",
        (
            f"cut the network before this stage and put a {case.task} head on {head or 'the map before it'}",
            "and read small objects from finer maps as well (a feature pyramid, FPN)",
        ),
    )


def _averages_all(stage: Stage) -> bool:
    return stage.kind == "global" or (stage.kind == "pooling" and collapses(stage))


@rule("D503", "the finest map that is read is too coarse for outlines")
def _coarse(case: Case) -> Iterator[Finding]:
    head = case.objects.at_heads
    if case.task != "segmentation" or head is None:
        return
    steps = max(Fraction(size) / each for size, each in zip(case.objects.size, head.resolved, strict=True))
    if steps <= COARSE_MASK:
        return
    upsampled = head.cells != head.resolved
    yield Finding(
        "D503",
        "warning",
        head.stage,
        f"the finest map that the output is read from tells {cells(steps)} pixels apart"
        + (", whatever it was upsampled to" if upsampled else "")
        + ": outlines are no finer than that",
        (
            "join finer maps while upsampling: skip connections, as U-Net has them",
            "or replace the last strides by dilation (as DeepLab does): the receptive field stays",
            "or, for a last resort, a learned upsampling (transposed convolution): it invents edges and sees none",
        ),
    )


@rule("D504", "most weights are in one dense layer behind a flattened map")
def _heavy(case: Case) -> Iterator[Finding]:
    total = sum(stage.parameters for stage in case.network.stages)
    for stage in case.network.stages:
        if stage.kind != "dense" or not total or stage.parameters <= MOST_WEIGHTS * total:
            continue
        way = case.leads_to(stage.name)
        heads = [name for name in case.objects.heads if name in way]
        maps = [sizes for name in heads if math.prod(sizes := case.stages[name].output_size) > 1]
        behind = way.difference(*(case.leads_to(name) for name in heads))
        if not maps or any(_averages_all(case.stages[name]) for name in behind):
            continue
        yield Finding(
            "D504",
            "warning" if case.task is not None else "note",
            stage.name,
            f"{amount(stage.parameters)} of {amount(total)} weights ({percent(stage.parameters / total)}) are here, "
            f"one for each of {by(maps[0])} cells of every channel: they learn places by heart and fix the input size",
            (
                "put a global average pooling before it: as many weights as channels, and any input size",
                "or pool the map to a small fixed size first (AdaptiveAvgPool2d)",
            ),
        )


@rule("D505", "the last map sees only a part of the input")
def _narrow(case: Case) -> Iterator[Finding]:
    if case.task not in ("classification", "segmentation"):
        return
    sizes = [case.network.input_shape[axis] for axis in case.network.spatial]
    fields = [(name, case.stages[name].receptive_field) for name in case.objects.heads]
    if any(field is not None and field.context for _, field in fields):
        return
    seen = [(name, field.size) for name, field in fields if field is not None]
    if not seen or any(all(a >= b for a, b in zip(each, sizes, strict=True)) for _, each in seen):
        return
    name, widest = max(seen, key=lambda item: min(item[1]))
    whole = any(_averages_all(stage) for stage in case.network.stages)
    yield Finding(
        "D505",
        "note",
        name,
        f"its receptive field is {by(widest)} of {by(sizes)} pixels: no cell sees the whole image"
        + (", only the global pooling joins what they see" if whole and case.task == "classification" else ""),
        (
            "add stages, or dilate the convolutions, which see further for the same price",
            "or add the global context as a branch (pyramid pooling)",
        ),
    )


@rule("D506", "paths that meet are not centred alike")
def _misaligned(case: Case) -> Iterator[Finding]:
    for stage in case.network.stages:
        if stage.kind != "merge" or stage.receptive_field is None or stage.receptive_field.aligned:
            continue
        before = [case.stages[name].receptive_field for name in stage.inputs if name in case.stages]
        if any(field is not None and not field.aligned for field in before):
            continue  # said where it began
        fields = [field for field in before if field is not None]
        strides = {field.stride for field in fields}
        offsets = sorted({field.offset for field in fields})
        if len(strides) == 1 and len(offsets) > 1:
            apart = brief([cells(abs(a - b)) for a, b in zip(offsets[0], offsets[-1], strict=True)])
            what = f"their centres lie {apart} pixels apart"
        else:
            what = "they step over the input by different strides"
        yield Finding(
            "D506",
            "note",
            stage.name,
            f"of the maps that are joined here, cells of the same place do not look at the same place: {what}",
            (
                "use odd kernels with padding=(kernel - 1) / 2 on both sides on every path",
                "or pad even kernels alike on every path; SAME_UPPER pads one more at the end",
            ),
        )


# ---------------------------------------------------------------------------------------------------------------------
# D9: what the doctor did not understand


@rule("D901", "an operator is not known and was passed over")
def _unknown(case: Case) -> Iterator[Finding]:
    for stage in case.network.stages:
        if stage.kind == "unknown":
            yield Finding(
                "D901",
                "note",
                stage.name,
                f"{stage.operator} is not known" + (f": {stage.note}" if stage.note else ""),
                ("judge what lies behind it with care: receptive field and cells may be wrong there",),
            )


@rule("D902", "something had to be assumed")
def _assumed(case: Case) -> Iterator[Finding]:
    for note in case.network.notes:
        yield Finding("D902", "note", "", note)
