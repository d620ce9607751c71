"""D2: objects."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from pooling.reporting.formats import brief, by, cells

from ..analysis.antialias import replacement
from ..analysis.object_footprint import Footprint, follow_object
from ..analysis.tokens import embeds_patches
from ..analysis.trials import as_options
from ..network import Stage
from .registry import EARLY_STAGES, LintContext, Observation, rule

MOST_LARGER = 8
"""Times that an input may be enlarged as a whole."""
MOST_DILATED = 4
"""Windows behind the last step of which all options are written out."""


@rule(
    "D201",
    "the object is smaller than one cell before the last stage",
    """
    An object of n pixels covers n / (effective stride) cells. Below one, it shares its cell with whatever is beside
    it, and no later stage can take that apart: this is why detectors miss small objects. The fixes come in the
    order of practice: less downsampling at the beginning (tried on your network, with what it costs), a branch at
    high resolution (FPN), dilation instead of the last stride, an anti-aliased or learned downsampling, larger
    images. Options of all paths that have to change together stand together. Of the patches of a transformer it is
    said that objects share a token. Error for detection and segmentation, warning where no task is given, note for
    classification and of patches.
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
    if embeds_patches(context.network, first):
        yield _of_tokens(context, first, at, steps)
        return
    earlier = f" (less than two since {two})" if two != first else ""
    last = ""
    if first != head.stage and head.resolved != at.resolved:
        last = f", and {_covered(head.resolved)} at the output feature map {head.stage}"
    yield Observation(
        "error" if context.localises else "warning" if context.task is None else "note",
        first,
        f"an object of {context.words.cells(context.objects.size)} covers {_covered(at.resolved)} here, where the "
        f"effective stride becomes {steps}{earlier}{last}: it is mixed with its surroundings and cannot be resolved "
        "again",
        tuple(_more_cells(context, head)),
    )


def _of_tokens(context: LintContext, name: str, at: Footprint, steps: str) -> Observation:
    """Say of a transformer what is so: one token stands for a patch, and keeps what is in it as channels."""
    return Observation(
        "note",
        name,
        f"an object of {context.words.cells(context.objects.size)} covers {_covered(at.resolved, 'token')} of the "
        f"patch embedding, which has one for each {steps} {context.words.cell}s: it is kept inside one token, as "
        "channels, together with its surroundings; two objects in one patch share a token, and where in the patch they "
        "are is known to its channels only",
        (
            "use a model with smaller patches, which costs more tokens (attention grows with their square)",
            f"or cut the {context.words.input} into tiles and enlarge these, so that an object covers more patches",
        ),
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
    if embeds_patches(context.network, first):
        return  # with one patch or more to itself, an object has its own token
    yield Observation(
        "warning" if context.localises else "note",
        first,
        f"an object of {context.words.cells(context.objects.size)} covers {_covered(head.resolved)} at the output "
        f"feature map {head.stage}: whether it is resolved depends on its place on the grid, and two that touch are "
        "one",
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
        f"the receptive field of {head.name} is {context.words.cells(head.receptive_field.size)}, less than the object "
        f"of {by(context.objects.size)}: no cell depends on the whole of it",
        (
            "add stages, or dilate the convolutions (dilation=2): a larger receptive field for the same cost",
            f"or scale the {context.words.input} down: its objects are too large for this network",
            "or read large objects from a deeper map",
        ),
    )


def _covered(numbers: Sequence[Fraction], noun: str = "cell") -> str:
    text = brief([cells(each) for each in numbers])
    if len(numbers) == 1 and numbers[0] < 1:
        return f"{text} of a {noun}"
    whole = text if len(numbers) == 1 else by([cells(each) for each in numbers])
    return f"{whole} {noun}" if set(numbers) == {1} and len(numbers) == 1 else f"{whole} {noun}s"


def _first_below(context: LintContext, head: Footprint, limit: int) -> str:
    """Name the first stage on the way to a head behind which the object has fewer cells."""
    path = context.leads_to(head.stage)
    below = (name for name, each in context.objects.footprints.items() if name in path and min(each.resolved) < limit)
    return next(below, head.stage)


def _more_cells(context: LintContext, head: Footprint) -> Iterator[str]:
    """Say how the object gets more cells, in the order of practice; what is said of changes was tried."""
    goal = 1 if min(head.resolved) < 1 else 2
    words = context.words
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
            f"with what is upsampled from the deeper maps ({words.pyramid})"
        )
    yield from dilated(context, head)
    yield from _gentler(context, path)
    factor = math.ceil(goal / min(head.resolved))
    if len(context.network.spatial) == 1:
        if factor <= MOST_LARGER:
            yield f"or sample the {words.input} {factor} times as densely, so that the object covers more samples"
    elif factor > MOST_LARGER:
        yield f"or cut the {words.input} into tiles and enlarge these {factor} times"
    else:
        yield (
            f"or enlarge the {words.input} {factor} times, or cut it into tiles and enlarge these, so that the object "
            "is larger"
        )


def _gentler(context: LintContext, path: set[str]) -> Iterator[str]:
    """Say how the downsampling that there is loses less: of poolings, or of convolutions where there are no others."""
    steps = [stage for stage in context.shrinking if stage.name in path]
    poolings = [stage for stage in steps if stage.kind == "pooling" and not _blurs(stage)]
    less = "which loses less of what is small"
    if poolings:
        yield (
            f"where downsampling stays, use an anti-aliased pool in place of {poolings[0].name} "
            f"({replacement(poolings[0]).words}), or a strided convolution, {less}"
        )
        return
    convolutions = [stage for stage in steps if stage.kind == "convolution"]
    if convolutions:
        yield (
            f"where a convolution has to downsample, blur before its stride, as at {convolutions[0].name} "
            f"({replacement(convolutions[0]).words}), {less}"
        )


def _blurs(stage: Stage) -> bool:
    """Whether a pooling is an anti-aliased one."""
    return stage.layer is not None and "blur" in stage.layer.operator


def dilated(context: LintContext, head: Footprint) -> Iterator[str]:
    """Try to take the stride out of the last step, on all paths, and to dilate the windows behind it instead."""
    path = context.leads_to(head.stage)
    last = next((stage for stage in reversed(context.shrinking) if stage.name in path), None)
    if last is None:
        return
    strides = context.trials.completed({last.name: {"stride": 1}})
    if strides is None:
        return
    steps = [axis.stride for axis in last.axes]
    wide: dict[str, dict[str, Any]] = {}
    for stage in context.windowed:
        behind = (
            stage.name in path
            and stage.name not in strides
            and not strides.keys().isdisjoint(context.leads_to(stage.name))
        )
        if behind and len(stage.axes) == len(steps) and any(axis.kernel_size > 1 for axis in stage.axes):
            wide[stage.name] = _wider(stage, steps)
    everything = {**strides, **wide}
    network = context.trials.changed(everything)
    before = context.stages[head.stage].receptive_field
    after = None if network is None else next((e for e in network.stages if e.name == head.stage), None)
    if after is None or after.receptive_field is None or before is None:
        return
    grown = all(a >= b for a, b in zip(after.receptive_field.size, before.size, strict=True))
    stays = ": the receptive field stays" if grown else ""
    written = as_options(strides)
    if not wide:
        yield f"take the stride out of the last step: {written}{stays}"
    elif len(wide) <= MOST_DILATED:
        yield (
            f"take the stride out of the last step and dilate what is behind it: {written} {as_options(wide)}{stays}"
        )
    else:
        yield (
            f"take the stride out of the last step: {written}; and dilate the {len(wide)} windows behind it by "
            f"{brief(steps)}, with {brief(steps)} times the padding (as DeepLab does){stays}"
        )


def _wider(stage: Stage, steps: Sequence[int]) -> dict[str, Any]:
    """Return the arguments with which the taps of a stage lie so many times further apart, around the same centres."""
    pairs = list(zip(stage.axes, steps, strict=True))
    changes: dict[str, Any] = {"dilation": _one([axis.dilation * step for axis, step in pairs])}
    pads = [(axis.pad_begin * step, axis.pad_end * step) for axis, step in pairs]
    if any(map(any, pads)):
        changes["padding"] = _one([pad[0] for pad in pads]) if all(a == b for a, b in pads) else tuple(pads)
    return changes


def _one(numbers: Sequence[int]) -> int | tuple[int, ...]:
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


def _less_downsampling(context: LintContext, head: Footprint, goal: int) -> Iterator[str]:
    """Try stride 1 in the earliest stages, alone and one after another, until the object is large enough."""
    path = context.leads_to(head.stage)
    whole = context.trials.macs
    changes: dict[str, dict[str, Any]] = {}
    reached: list[tuple[str, Footprint, float, Stage]] = []
    early = [each for each in context.shrinking if each.name in path][:EARLY_STAGES]
    # A pooling first: it has no weights that would have to be trained again.
    for stage in sorted(early, key=lambda each: each.kind != "pooling"):
        if stage.name in changes:
            continue
        tried = context.trials.completed({**changes, stage.name: {"stride": 1}})
        network = None if tried is None else context.trials.changed(tried)
        if tried is None or network is None:
            continue
        after = follow_object(network, context.objects.size).at_heads
        if after is None or min(after.resolved) <= min(head.resolved):
            continue
        changes = tried
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
