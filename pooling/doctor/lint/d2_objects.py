"""D2: objects."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

from pooling.reporting.formats import brief, by, cells

from ..analysis.object_footprint import Footprint, follow_object, without_head
from ..network import NetworkError, Stage
from .registry import EARLY_STAGES, LintContext, Observation, as_options, rule


@rule(
    "D201",
    "the object is smaller than one cell before the last stage",
    """
    An object of n pixels covers n / (effective stride) cells. Below one, it shares its cell with whatever is beside
    it, and no later stage can take that apart: this is why detectors miss small objects. The fixes come in the
    order of practice: less downsampling at the beginning (tried on your network, with what it costs), a branch at
    high resolution (FPN), dilation instead of the last stride, an anti-aliased or learned downsampling, larger
    images. Error for detection and segmentation, warning where no task is given, note for classification.
    """,
)
def _vanishes(context: LintContext) -> Iterator[Observation]:
    head = context.objects.at_heads
    if head is None or min(head.resolved) >= 1:
        return
    first = _first_below(context, head, 1)
    at = context.objects.footprints[first]
    two = _first_below(context, head, 2)
    steps = brief([cells(Fraction(size) / each) for size, each in zip(context.objects.size, at.resolved, strict=True)])
    earlier = f" (less than two since {two})" if two != first else ""
    last = "" if first == head.stage else f"; {_covered(head.resolved)} is left at the output feature map {head.stage}"
    yield Observation(
        "error" if context.localises else "warning" if context.task is None else "note",
        first,
        f"an object of {by(context.objects.size)} pixels covers {_covered(at.resolved)} here, where the effective "
        f"stride becomes {steps}{earlier}{last}: it is mixed with its surroundings and cannot be resolved again",
        tuple(_more_cells(context, head)),
    )


@rule(
    "D202",
    "the object is smaller than two cells at the last stage",
    """
    With one to two cells, it depends on the place of the object on the grid whether it has a cell for itself, and
    two objects side by side are one. Warning for detection and segmentation, else a note.
    """,
)
def _small(context: LintContext) -> Iterator[Observation]:
    head = context.objects.at_heads
    if head is None or not 1 <= min(head.resolved) < 2:
        return
    first = _first_below(context, head, 2)
    yield Observation(
        "warning" if context.localises else "note",
        first,
        f"an object of {by(context.objects.size)} pixels covers {_covered(head.resolved)} at the output feature "
        f"map {head.stage}: whether it is resolved depends on its place on the grid, and two that touch are one",
        tuple(_more_cells(context, head)),
    )


@rule(
    "D203",
    "the receptive field is smaller than the object",
    """
    The other end of the scale: if no receptive field covers the whole object, only its texture can be recognised.
    Warning for detection and segmentation, else a note.
    """,
)
def _not_seen_whole(context: LintContext) -> Iterator[Observation]:
    heads = () if context.objects.unknown else context.objects.heads
    head = max(
        (context.stages[name] for name in heads),
        key=lambda stage: min(stage.receptive_field.size) if stage.receptive_field else 0,
        default=None,
    )
    if head is None or head.receptive_field is None or head.receptive_field.context:
        return
    if all(size >= wanted for size, wanted in zip(head.receptive_field.size, context.objects.size, strict=True)):
        return
    yield Observation(
        "warning" if context.localises else "note",
        head.name,
        f"the receptive field of {head.name} is {by(head.receptive_field.size)} pixels, less than the object of "
        f"{by(context.objects.size)}: no cell depends on the whole of it",
        (
            "add stages, or dilate the convolutions (dilation=2): a larger receptive field for the same cost",
            "or scale the image down: its objects are too large for this network",
            "or read large objects from a deeper map, as feature pyramids do",
        ),
    )


def _covered(numbers: Sequence[Fraction]) -> str:
    text = brief([cells(each) for each in numbers])
    whole = text if len(numbers) == 1 else by([cells(each) for each in numbers])
    return f"{whole} cell" if set(numbers) == {1} and len(numbers) == 1 else f"{whole} cells"


def _first_below(context: LintContext, head: Footprint, limit: int) -> str:
    """Name the first stage on the way to a head behind which the object has fewer cells."""
    path = context.leads_to(head.stage)
    below = (name for name, each in context.objects.footprints.items() if name in path and min(each.resolved) < limit)
    return next(below, head.stage)


def _more_cells(context: LintContext, head: Footprint) -> Iterator[str]:
    """Say how the object gets more cells, in the order of practice; what is said of changes was tried."""
    goal = 1 if min(head.resolved) < 1 else 2
    yield from _less_downsampling(context, head, goal)
    path = context.leads_to(head.stage)
    finer = [
        (name, each) for name, each in context.objects.footprints.items() if name in path and min(each.resolved) >= goal
    ]
    fine = [item for item in finer if min(item[1].resolved) >= 2] or finer
    if fine:
        name, each = fine[-1]
        yield (
            f"keep a high-resolution branch: read objects of this size from {name} ({_covered(each.resolved)}), joined "
            "with what is upsampled from the deeper maps (a feature pyramid, FPN)"
        )
    last = next((stage for stage in reversed(context.shrinking) if stage.name in path), None)
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


def _less_downsampling(context: LintContext, head: Footprint, goal: int) -> Iterator[str]:
    """Try stride 1 in the earliest stages, alone and one after another, until the object is large enough."""
    path = context.leads_to(head.stage)
    body = without_head(context.graph, context.network)
    shape = context.network.input_shape
    whole = body.infer(shape).macs
    changes: dict[str, dict[str, int]] = {}
    reached: list[tuple[str, Footprint, float, Stage]] = []
    early = [each for each in context.shrinking if each.name in path][:EARLY_STAGES]
    # A pooling first: it has no weights that would have to be trained again.
    for stage in sorted(early, key=lambda each: each.kind != "pooling"):
        try:
            network = body.edited({**changes, stage.name: {"stride": 1}}).infer(shape)
        except NetworkError:
            continue
        after = follow_object(network, context.objects.size).at_heads
        if after is None or min(after.resolved) <= min(head.resolved):
            continue
        changes[stage.name] = {"stride": 1}
        cost = network.macs / whole if whole else 0.0
        reached.append((as_options(changes), after, cost, network.stage(after.stage)))
        if min(after.resolved) >= goal:
            break
    # What costs least, and what is enough; if that is out of reach, how far one gets.
    for written, after, cost, stage in reached[:1] + reached[1:][-1:]:
        price = f", for {cost:.1f} times the multiply-adds" if cost and round(cost, 1) != 1 else ""
        field, old = stage.receptive_field, context.stages[head.stage].receptive_field
        grown = ""
        if field is not None and old is not None and field.size != old.size:
            grown = f", and a receptive field of {by(field.size)} instead of {by(old.size)}"
        yield f"reduce early downsampling: {written} leaves {_covered(after.resolved)} there{price}{grown}"
