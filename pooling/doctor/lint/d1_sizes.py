"""D1: sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from pooling.geometry import Axis
from pooling.reporting.formats import brief, by, joined, percent

from ..analysis.input_sizes import AxisSizes
from ..analysis.object_footprint import collapses
from ..analysis.trials import as_options
from ..analysis.unread import Ends, unread_ends
from ..network import NetworkError, Stage
from ..words import Words
from .registry import EARLY_STAGES, Failure, LintContext, Observation, rule

MOSTLY = 0.5
"""The least share of the taps of a window that are to find the map."""


@rule(
    "D101",
    "a part of the input reaches no output",
    """
    With size 32, kernel 3 and stride 2 there are `floor((32 - 3 + 0) / 2) + 1 = 15` windows, and the last row and the
    last column are in none of them. Where no other stage reads them either, what the image shows there cannot matter:
    the finding counts in pixels of the input, found backwards from the outputs, and names the stage that leaves out
    most. What a stage leaves out of an inner map while neighbours of these cells see the same pixels is no finding (the
    column *cut* tells it). Cells that lie between *any* two windows, as with a 1×1 convolution of stride 2, are D402.
    Warning.
    """,
)
def _unread(context: LintContext) -> Iterator[Observation]:
    if not any(axis.cut for stage in context.windowed for axis in stage.axes):
        return
    ends = unread_ends(context.graph, context.network)
    if not any(each.begin or each.end for each in ends):
        return
    words = context.words
    parts = [part for number, each in enumerate(ends) for part in _runs(words, number, each)]
    share = 1 - math.prod((each.size - each.begin - each.end) / each.size for each in ends)
    guilty = _guilty(context, ends)
    formula, name = "", ""
    if guilty is not None:
        name = guilty.name
        told = dict.fromkeys(
            axis.formula for axis, each in zip(guilty.axes, ends, strict=True) if each.end and axis.cut
        )
        formula = f"; most of it is left out at {name}: {' and '.join(told)}"
    verb = "are" if len(parts) > 1 or " to " in parts[0] else "is"
    yield Observation(
        "warning",
        name,
        f"{joined(parts)} {verb} read by nothing, {percent(share)} of the input{formula}",
        tuple(_read_more(context, guilty, ends)),
    )


def _runs(words: Words, axis: int, ends: Ends) -> Iterator[str]:
    """Name the first and last lines of the input across an axis that nothing reads, counted from 0."""
    for first, count in ((0, ends.begin), (ends.size - ends.end, ends.end)):
        if count:
            line = words.line(axis)
            span = f"{line}s {first} to {first + count - 1}" if count > 1 else f"{line} {first}"
            yield f"{span} of {ends.size}{words.seconds((count,))}"


def _guilty(context: LintContext, ends: Sequence[Ends]) -> Stage | None:
    """Return the stage that leaves out most cells of the input at the ends of axes of which something is unread."""

    def lost(stage: Stage) -> Fraction:
        field = stage.receptive_field
        if field is None or len(stage.axes) != len(ends):
            return Fraction()
        return sum(
            (
                Fraction(axis.cut, axis.stride) * stride
                for axis, stride, each in zip(stage.axes, field.stride, ends, strict=True)
                if each.end
            ),
            Fraction(),
        )

    found = max(context.windowed, key=lost, default=None)
    return found if found is not None and lost(found) else None


def _read_more(context: LintContext, guilty: Stage | None, ends: Sequence[Ends]) -> Iterator[str]:
    """Say how everything is read; what changes an argument was tried."""
    whole = [each.clean_near for each in context.sizes]
    if any(whole):
        sizes = " or ".join(dict.fromkeys(str(size) for near in whole for size in near))
        yield f"{_other_size(context)}use an input of size {sizes}, for which no stage leaves anything out"
    if guilty is None:
        return
    last = guilty.kind == "pooling" and all(axis.output_size == 1 for axis in guilty.axes)
    trials: list[tuple[str, dict[str, Any]]] = []
    if last:
        kernel = tuple(axis.input_size for axis in guilty.axes)
        kind = f"Adaptive{'Max' if guilty.operator == 'MaxPool' else 'Avg'}Pool{len(kernel)}d(1)"
        trials.append((f"make it a global pooling ({kind}), which reads every cell", {"kernel_size": kernel}))
    elif guilty.kind == "pooling":
        trials.append(("let the last window hang over the edge (and see D301)", {"ceil_mode": True}))
    pads = tuple((axis.pad_begin, axis.pad_end + (axis.stride - axis.cut if axis.cut else 0)) for axis in guilty.axes)
    trials.append(("pad the map at its end so that one more window fits", {"padding": pads}))
    for words, arguments in trials:
        graph = context.graph.edited({guilty.name: arguments})
        try:
            after = unread_ends(graph, graph.infer(context.network.input_shape))
        except NetworkError:
            continue
        if sum(each.end for each in after) < sum(each.end for each in ends):
            left = joined([str(each.end) for each in after if each.end])
            rest = f"; {left} {context.words.cell}{'' if left == '1' else 's'} stay unread" if left else ""
            yield f"{words}: {as_options({guilty.name: arguments})}{rest}"


def _other_size(context: LintContext) -> str:
    """Say what has to come before any other input size."""
    return "export with dynamic axes, and " if context.declared else ""


@rule(
    "D102",
    "the network does not work at this input size",
    """
    What frameworks report as "output size is too small": after some halvings a map is smaller than a kernel. Or a stage
    refuses its size for another reason. The finding names the stage with the numbers and the smallest input with which
    the network works. Error; the exit code is 2.
    """,
)
def _too_small(context: LintContext) -> Iterator[Observation]:
    failure = context.failure
    if failure is None or _kind(context, failure) in ("merge", "dense", "reshape"):
        return
    fixes = [f"make the model {each}" for each in _option(context)]
    ranges = [
        (f"{each.smallest}" if each.smallest == each.largest else f"{each.smallest} to {each.largest}")
        if each.largest
        else f"{each.smallest} at least" + (f" on {each.axes}" if len(context.sizes) > 1 else "")
        for each in context.sizes
        if each.smallest is not None
    ]
    if ranges and any(each.smallest is not None and each.given < each.smallest for each in context.sizes):
        inputs = f"{context.words.input}s"
        fixes.append(f"{'or ' * bool(fixes)}{_other_size(context)}use an input of size {joined(ranges)}")
        fixes.append(f"or scale small {inputs} up before they enter the network")
        fixes += [f"or leave out downsampling for small {inputs}: {each}" for each in _room(context, failure.shape)]
        if _kind(context, failure) == "pooling":
            fixes.append("or use a global (adaptive) pooling, which takes maps of any size, in place of a fixed one")
    size = by(failure.shape)
    message = f"the network does not work with an input of {size}: {failure.sentence}"
    if _kind(context, failure) in ("convolution", "pooling"):
        message = (
            f"an input of {size} leaves no room for a window of {failure.stage}: {failure.sentence} (of the map in "
            "front of this stage)"
        )
    yield Observation("error", failure.stage, message, tuple(fixes))


def _room(context: LintContext, shape: Sequence[int]) -> Iterator[str]:
    """Try which strides, the earliest first, make a small input large enough when they are left out."""
    changes: dict[str, dict[str, int]] = {}
    for stage in sorted(context.shrinking, key=lambda each: each.kind != "pooling")[:EARLY_STAGES]:
        changes[stage.name] = {"stride": 1}
        try:
            context.graph.edited(changes).infer(shape)
        except NetworkError:
            continue
        yield as_options(changes)
        return


@rule(
    "D103",
    "maps that meet in an addition or concatenation have different sizes",
    """
    What frameworks report as "sizes of tensors must match": 33 was floored to 16 on the way down, and 16 becomes 32
    on the way up. The finding says with which sizes the paths agree. Error; the exit code is 2.
    """,
)
def _do_not_meet(context: LintContext) -> Iterator[Observation]:
    failure = context.failure
    if failure is None or _kind(context, failure) != "merge":
        return
    sizes = [
        f"{each.working} on {each.axes}" if len(context.sizes) > 1 else str(each.working) for each in context.sizes
    ]
    near = joined(list(dict.fromkeys(str(size) for each in context.sizes for size in each.working_near)), "or")
    yield Observation(
        "error",
        failure.stage,
        f"the network does not work with an input of {by(failure.shape)}: {failure.sentence}; one path rounds down "
        "where the other does not, so the skip connection cannot be joined",
        (
            f"{_other_size(context)}use input sizes where both paths agree: {joined(sizes)}"
            f"{f' (near by: {near})' if near else ''}",
            f"or pad the {context.words.input} to such a size and cut the result back",
            "or resize the upsampled map to the size of the skip connection, instead of by a fixed factor",
            "or give the transposed convolution output_padding=1 for odd sizes",
        ),
    )


def _kind(context: LintContext, failure: Failure) -> str:
    return context.stages[failure.stage].kind if failure.stage in context.stages else ""


@rule(
    "D104",
    "the input size is fixed",
    """
    A dense layer behind a flattened map, or a shape written into the model, accepts one size of map. One finding
    for a stage, with the sizes of each axis. A model whose input is declared with fixed sizes takes no other in any
    runtime, whatever its nodes would work with: export it with dynamic axes. A transformer of timm is made for other
    sizes by its option `dynamic_img_size=True`. Note; an error, and exit code 2, if the size asked for is another.
    """,
)
def _fixed(context: LintContext) -> Iterator[Observation]:
    fixed: dict[str, list[AxisSizes]] = {}
    for each in context.sizes:
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
        dense = bool(stage) and _kind(context, Failure((), "", stage)) in ("dense", "reshape")
        wrong = context.failure is not None and _kind(context, context.failure) in ("dense", "reshape")
        declared = context.declared
        works = f"the network works with inputs of size {sizes} only"
        if declared:
            works = (
                f"the input is declared fixed at {declared}, and runtimes refuse other sizes; its nodes would work "
                f"with {sizes} only"
            )
        pooled = "or put a global pooling before the dense layer, and train it again"
        rewritten = (
            "export with dynamic axes, where the exporter writes sizes that follow from the input"
            if declared
            else "or replace the fixed sizes in the model by ones that follow from the input"
        )
        scaled = f"{'or ' if declared else ''}scale or cut every {context.words.input} to that size"
        flattened = dense and _flattens_a_map(context, stage)
        remedies = ([rewritten] if declared else []) + [scaled]
        remedies += [f"or make the model {each}" for each in _option(context)]
        remedies += [pooled] if flattened else [] if declared else [rewritten]
        yield Observation("error" if wrong else "note", stage, f"{works}: {axes[0].obstacle}", tuple(remedies))


def _option(context: LintContext) -> Iterator[str]:
    """Say with which option the library makes a model for other sizes, if it has one."""
    if context.graph.size_option:
        yield f"with {context.graph.size_option}, an option of timm: it then takes other sizes"


def _flattens_a_map(context: LintContext, name: str) -> bool:
    """Whether a stage puts a whole map through a dense layer, so that a global pooling can stand before it."""
    behind = {name}
    for stage in context.network.stages:
        if behind.intersection(stage.inputs) and stage.kind in ("reshape", "elementwise", "dense"):
            behind.add(stage.name)
    return any(
        stage.kind == "dense" and stage.name in behind and len(stage.input_shape) <= 2 and stage.parameters
        for stage in context.network.stages
    )


@rule(
    "D105",
    "windows hold more padding than map",
    """
    On a map of 1×1, a 3×3 convolution with padding 1 multiplies eight of its nine weights by zero. It costs what it
    always costs and adds no context. Warning.
    """,
)
def _mostly_padding(context: LintContext) -> Iterator[Observation]:
    for stage in context.windowed:
        if stage.kind == "pooling" and collapses(stage):
            continue
        best = _map_share(stage)
        if best >= MOSTLY:
            continue
        kernel, size = brief([axis.kernel_size for axis in stage.axes]), by([axis.input_size for axis in stage.axes])
        yield Observation(
            "warning",
            stage.name,
            f"on a map of {size}, every window of {kernel} holds at least {percent(1 - best)} padding: most of the "
            "weights are multiplied by zeros",
            (
                f"{_other_size(context)}use a larger input",
                *_less_before(context, stage),
                "or stop before this stage: the map is smaller than its windows",
            ),
        )


def _map_share(stage: Stage) -> float:
    """Return the share of its taps that find the map, of a window in the middle, which has most."""
    return math.prod(min(1.0, _reads(axis) / axis.kernel_size) for axis in stage.axes)


def _less_before(context: LintContext, stage: Stage) -> Iterator[str]:
    """Try which step before a stage, the last first, makes its map large enough when the stride is left out."""
    path = context.leads_to(stage.name)
    before = [each for each in context.shrinking if each.name in path and each.name != stage.name]
    for step in before[: -EARLY_STAGES - 1 : -1]:
        changes = context.trials.completed({step.name: {"stride": 1}})
        network = None if changes is None else context.trials.changed(changes)
        same = None if network is None else next((each for each in network.stages if each.name == stage.name), None)
        if changes is not None and same is not None and _map_share(same) >= MOSTLY:
            yield f"or leave out the stride of a step before it: {as_options(changes)}"
            return


def _reads(axis: Axis) -> int:
    """Count the taps that find the map, of the window that has most."""
    begin, end = axis.interior
    return axis.kernel_size if end > begin or axis.adaptive else int(axis.border_windows().count.max(initial=0))
