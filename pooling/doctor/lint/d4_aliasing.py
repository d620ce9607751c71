"""D4: aliasing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from pooling.geometry import Axis
from pooling.reporting.formats import brief, percent

from ..analysis.antialias import replacement
from ..analysis.trials import as_options
from ..network import Stage
from .registry import LintContext, Observation, rule

SUMS = frozenset({"Add", "Sum"})
LINEAR = frozenset({"BatchNormalization", "Dropout", "Identity"})
"""What a convolution is folded with."""


@rule(
    "D401",
    "a strided maximum aliases",
    """
    A maximum keeps every detail, and the stride then takes every second cell: which details survive depends on
    where they lie. The line *shift* says by how much, and what an anti-aliased pooling would change: it and the
    finding name the same layer, such as `MaxBlurPool2d(3, stride=2, padding=1)`, with all arguments that keep the
    output size. Note.
    """,
)
def _aliases(context: LintContext) -> Iterator[Observation]:
    for stage in context.shrinking:
        if not _is_maximum(stage):
            continue
        instead = replacement(stage)
        kept = ", same output size" if instead.same_size else ""
        yield Observation(
            "note",
            stage.name,
            f"a maximum lets every detail through, and only every {_ordinal(stage.axes)} of them is kept: the result "
            f"changes when the {context.words.input} moves by one {context.words.cell}",
            (
                f"blur between the maximum and the stride (no weights{kept}): {instead.words}",
                "or a strided convolution, which can learn to blur",
            ),
        )


def _is_maximum(stage: Stage) -> bool:
    """Whether a stage is a maximum of windows of one size: adaptive ones that divide the map are written as MaxPool."""
    if stage.layer is None:
        return stage.operator == "MaxPool"
    return stage.layer.operator.removeprefix("adaptive_") == "max_pool" and not any(
        axis.adaptive for axis in stage.axes
    )


def _ordinal(axes: Sequence[Axis]) -> str:
    step = max(axis.stride for axis in axes)
    return {2: "second", 3: "third"}.get(step, f"{step}th")


@rule(
    "D402",
    "the stride skips input positions",
    """
    The stride is larger than the kernel: a 1×1 convolution with stride 2 skips three quarters of its input, and so
    does a dilated window whose dilation and stride have a common divisor. ResNet v1 has this on both paths of its
    blocks; v1.5 moved the stride to the 3×3 convolution. Not told of a branch that is added at once to a window that
    reads these cells, as in RepVGG: both are one convolution. Warning if no other stage reads these cells, else a note.
    """,
)
def _gaps(context: LintContext) -> Iterator[Observation]:
    for stage in context.windowed:
        unread = 1 - math.prod(1 - axis.unread_share for axis in stage.axes)
        if not unread:
            continue
        others = [each for name in stage.inputs for each in _sources(context, name) if each.name != stage.name]
        readers = [each for each in others if 1 - math.prod(1 - axis.unread_share for axis in each.axes) < unread]
        if any(_added_at_once(context, stage, each) for each in readers):
            continue
        kernel, step = (brief([getattr(axis, name) for axis in stage.axes]) for name in ("kernel_size", "stride"))
        dilation = brief([axis.dilation for axis in stage.axes])
        windows = f"windows of {kernel}" + (f" with dilation {dilation}" if dilation != "1" else "")
        consequence = (
            "this path does not read them, but another one does"
            if readers
            else "no other stage reads them either: they were computed for nothing, and what they show is lost"
        )
        # Of an odd size, floor division would leave the average one cell short of what this stage gives now.
        uneven = any(axis.input_size % axis.stride for axis in stage.axes)
        rounded = " and ceil_mode=1" if uneven and all(axis.kernel_size == 1 for axis in stage.axes) else ""
        tried = tuple(_stride_moved(context, stage))
        yield Observation(
            "note" if readers else "warning",
            stage.name,
            f"{windows} at stride {step} skip {percent(unread)} of the map; {consequence}",
            (
                *tried,
                f"{'or ' if tried else ''}average before it: an AveragePool of {step} with stride {step}{rounded}, "
                "then this stage with stride 1 (as ResNet-D does on shortcuts)",
            ),
        )


def _added_at_once(context: LintContext, stage: Stage, other: Stage) -> bool:
    """Whether two convolutions of one map are added with nothing but a normalisation between."""
    steps = ([axis.stride for axis in each.axes] for each in (stage, other))
    if other.kind != "convolution" or next(steps) != next(steps):
        return False
    sums = (
        {reader.name for reader in _linear_readers(context, each.name) if reader.operator in SUMS}
        for each in (stage, other)
    )
    return bool(next(sums) & next(sums))


def _linear_readers(context: LintContext, name: str) -> Iterator[Stage]:
    """Yield what reads a stage, looking through normalisations."""
    for stage in context.network.stages:
        if name in stage.inputs:
            yield stage
            if stage.operator in LINEAR or stage.operator in SUMS:
                yield from _linear_readers(context, stage.name)


def _stride_moved(context: LintContext, stage: Stage) -> Iterator[str]:
    """Try to move the stride into the window that reads this stage, as ResNet v1.5 does; else to read all cells."""
    readers = context.readers(stage.name)
    if len(readers) == 1 and _slides(readers[0], stage):
        strides = [axis.stride for axis in stage.axes]
        moved: dict[str, dict[str, Any]] = {stage.name: {"stride": 1}, readers[0].name: {"stride": _one(strides)}}
        if context.trials.completed(moved) == moved:
            yield f"move the stride into the next convolution (as ResNet v1.5 does): {as_options(moved)}"


def _slides(reader: Stage, stage: Stage) -> bool:
    """Whether a window goes over the map of a stage cell by cell, and would read all of it with the stage's stride."""
    return (
        reader.kind == "convolution"
        and len(reader.axes) == len(stage.axes)
        and all(
            axis.stride == 1 and axis.kernel_size > 1 and axis.kernel_size >= step.stride
            for axis, step in zip(reader.axes, stage.axes, strict=True)
        )
    )


def _one(numbers: Sequence[int]) -> int | tuple[int, ...]:
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


def _sources(context: LintContext, name: str) -> list[Stage]:
    """List what reads the map behind a name, also where that is looked at through stages that work on cells alone."""
    stage = context.stages.get(name)
    while stage is not None and stage.kind == "elementwise" and len(stage.inputs) == 1:
        name = stage.inputs[0]
        stage = context.stages.get(name)
    return context.readers(name)
