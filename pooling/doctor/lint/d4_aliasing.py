"""D4: aliasing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pooling.geometry import Axis
from pooling.reporting.formats import brief, percent

from ..analysis.antialias import replacement
from ..network import Stage
from .registry import LintContext, Observation, rule


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
        if stage.operator != "MaxPool":
            continue
        instead = replacement(stage)
        kept = ", same output size" if instead.same_size else ""
        yield Observation(
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


@rule(
    "D402",
    "the stride skips input positions",
    """
    The stride is larger than the kernel: a 1×1 convolution with stride 2 skips three quarters of its input, and so
    does a dilated window whose dilation and stride have a common divisor. ResNet v1 has this on both paths of its
    blocks; v1.5 moved the stride to the 3×3 convolution. Warning if no other stage reads these cells, else a note.
    """,
)
def _gaps(context: LintContext) -> Iterator[Observation]:
    for stage in context.windowed:
        unread = 1 - math.prod(1 - axis.unread_share for axis in stage.axes)
        if not unread:
            continue
        others = [each for name in stage.inputs for each in _sources(context, name) if each.name != stage.name]
        read_elsewhere = any(1 - math.prod(1 - axis.unread_share for axis in each.axes) < unread for each in others)
        kernel, step = (brief([getattr(axis, name) for axis in stage.axes]) for name in ("kernel_size", "stride"))
        dilation = brief([axis.dilation for axis in stage.axes])
        windows = f"windows of {kernel}" + (f" with dilation {dilation}" if dilation != "1" else "")
        consequence = (
            "this path does not read them, but another one does"
            if read_elsewhere
            else "no other stage reads them either: they were computed for nothing, and what they show is lost"
        )
        # Of an odd size, floor division would leave the average one cell short of what this stage gives now.
        uneven = any(axis.input_size % axis.stride for axis in stage.axes)
        rounded = " and ceil_mode=1" if uneven and all(axis.kernel_size == 1 for axis in stage.axes) else ""
        yield Observation(
            "note" if read_elsewhere else "warning",
            stage.name,
            f"{windows} at stride {step} skip {percent(unread)} of the map; {consequence}",
            (
                "move the stride into the next convolution with a kernel of 3 (as ResNet v1.5 does)",
                f"or average before it: an AveragePool of {step} with stride {step}{rounded}, then this stage with "
                "stride 1 (as ResNet-D does on shortcuts)",
            ),
        )


def _sources(context: LintContext, name: str) -> list[Stage]:
    """List what reads the map behind a name, also where that is looked at through stages that work on cells alone."""
    stage = context.stages.get(name)
    while stage is not None and stage.kind == "elementwise" and len(stage.inputs) == 1:
        name = stage.inputs[0]
        stage = context.stages.get(name)
    return context.readers(name)
