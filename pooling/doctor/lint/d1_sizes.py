"""D1: sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pooling.arguments import axis_names
from pooling.geometry import Axis
from pooling.reporting.formats import brief, by, joined, percent

from ..analysis.input_sizes import AxisSizes
from ..analysis.object_footprint import collapses
from ..network import NetworkError
from .registry import EARLY_STAGES, Failure, LintContext, Observation, as_options, rule


@rule(
    "D101",
    "floor division leaves rows or columns out of every window",
    """
    With size 33, kernel 2 and stride 2 there are `floor((33 - 2 + 0) / 2) + 1 = 16` windows, and the last row and
    the last column are in none of them. What the image shows there cannot matter. In a U-Net the same floor is why
    sizes do not match later (D103). Use a size that divides, or pad at the end. Cells that lie between *any* two
    windows, as with a 1×1 convolution of stride 2, are D402. Warning.
    """,
)
def _cut_off(context: LintContext) -> Iterator[Observation]:
    for stage in context.windowed:
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
        whole = [each.clean_near for each in context.sizes]
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
        yield Observation(
            "warning",
            stage.name,
            f"{formula}: no window reads {where} of the {size} map, {percent(lost)} of it, and what the image shows "
            f"there has no influence on the result",
            tuple(fixes),
        )


def _lines(number: int, axis: str) -> str:
    noun = {"H": "row", "W": "column", "D": "slice"}.get(axis, "cell")
    return f"{number} {noun}s" if number > 1 else noun


@rule(
    "D102",
    "the input is too small: a window does not fit",
    """
    What frameworks report as "output size is too small": after some halvings the map is smaller than a kernel. The
    finding names the stage with the numbers and the smallest input that works. Error; the exit code is 1.
    """,
)
def _too_small(context: LintContext) -> Iterator[Observation]:
    failure = context.failure
    if failure is None or _kind(context, failure) in ("merge", "dense", "reshape"):
        return
    fixes = []
    ranges = [
        f"{each.smallest}{f' to {each.largest}' if each.largest else ' at least'}"
        + (f" on {each.axes}" if len(context.sizes) > 1 else "")
        for each in context.sizes
        if each.smallest is not None
    ]
    if ranges and any(each.smallest is not None and each.given < each.smallest for each in context.sizes):
        fixes.append(f"use an input of size {joined(ranges)}")
        fixes.append("or scale small images up before they enter the network")
        fixes += [f"or leave out downsampling for small images: {each}" for each in _room(context, failure.shape)]
        fixes.append("or use a global (adaptive) pooling, which takes maps of any size, in place of a fixed last one")
    yield Observation(
        "error",
        failure.stage,
        f"the network does not work with an input of {by(failure.shape)}: {failure.sentence}",
        tuple(fixes),
    )


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
    on the way up. The finding says with which sizes the paths agree. Error.
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
            f"use input sizes where both paths agree: {joined(sizes)}{f' (near by: {near})' if near else ''}",
            "or pad the image to such a size and cut the result back",
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
    for a stage, with the sizes of each axis. Note; an error if the size asked for is another.
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
        yield Observation(
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
        # Of a window in the middle, which has the most of the map.
        best = math.prod(min(1.0, _reads(axis) / axis.kernel_size) for axis in stage.axes)
        if best >= 0.5:
            continue
        kernel, size = brief([axis.kernel_size for axis in stage.axes]), by([axis.input_size for axis in stage.axes])
        yield Observation(
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
