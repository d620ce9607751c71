"""D5: design."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from pooling.reporting.formats import amount, brief, by, cells, joined, percent

from ..analysis.object_footprint import collapses
from ..analysis.tokens import embeds_patches
from ..analysis.trials import as_options
from ..network import Stage
from .d2_objects import dilated
from .registry import LintContext, Observation, rule

EARLY = 0.1
"""The share of all multiply-adds up to which a network has hardly looked at its input."""
EARLY_STEPS = 4
"""An effective stride that is much for so early a place."""
COARSE_MASK = 8
"""An effective stride that is too much to draw outlines with."""
MOST_WEIGHTS = 0.5
MOST_CENTRED = 3
"""Stages of a branch whose windows are centred together."""


@rule(
    "D501",
    "the resolution is lost early",
    """
    The map shrinks four times or more along each axis before a tenth of all multiply-adds is spent: cheap, and hard
    on everything small. Warning for detection and segmentation if the object has less than two cells in the end,
    else a note; not looked for with `--task classification`, nor said of the patches of a transformer.
    """,
)
def _early(context: LintContext) -> Iterator[Observation]:
    macs = context.network.macs
    if context.task == "classification" or not macs:
        return
    head = context.objects.at_heads
    spent, steps, guilty = 0, Fraction(1), []
    for stage in context.network.stages:
        footprint = context.objects.footprints.get(stage.name)
        spent += stage.macs
        if footprint is None or spent > EARLY * macs:
            break
        now = max(Fraction(size) / each for size, each in zip(context.objects.size, footprint.resolved, strict=True))
        if now > steps:
            steps = now
            guilty.append(stage)
    if steps < EARLY_STEPS or any(embeds_patches(context.network, stage.name) for stage in guilty):
        return
    share = sum(stage.macs for stage in context.network.stages[: context.network.stages.index(guilty[-1]) + 1]) / macs
    small = head is not None and min(head.resolved) < 2
    names = joined([stage.name for stage in guilty])
    words, without = context.words, tuple(_removable(context, guilty))
    yield Observation(
        "warning" if context.localises and small else "note",
        guilty[-1].name,
        f"{names} shrink{'s' if len(guilty) == 1 else ''} the map {cells(steps)} times along each axis within the "
        f"first {percent(share)} of the multiply-adds: what is smaller than {words.cells((cells(steps),))} kept "
        "as channels at best, before most of the network has looked at it",
        (
            *without,
            f"{'or ' if without else ''}let a stage at full resolution read the {words.input} beside "
            f"{'it' if len(guilty) == 1 else 'them'}, and join it later",
            "or pool later: the same stride behind the first convolutions costs more and keeps more",
        ),
    )


def _removable(context: LintContext, stages: Sequence[Stage]) -> Iterator[str]:
    """Name the last of some stages without whose stride the maps still fit together, with what changes beside it."""
    for stage in reversed(stages):
        changes = context.trials.completed({stage.name: {"stride": 1}}) if stage.axes else None
        if changes is not None:
            which = "out of one of them" if len(stages) > 1 else "out"
            yield f"leave the stride {which}: {as_options(changes)}"
            return


@rule(
    "D502",
    "the map is pooled to one cell, but the task asks where things are",
    """
    A global pooling is right for classification: few weights, any input size. Detection and segmentation need the
    map before it. Warning.
    """,
)
def _pooled_away(context: LintContext) -> Iterator[Observation]:
    if not context.localises:
        return
    outputs = context.network.outputs
    blind = [each for each in context.known_stages if _averages_all(each)]
    # One way around all of them is enough: a branch that is pooled adds context, and takes nothing away.
    gates = {each.name for each in blind}
    if not blind or not outputs or not all(map(context.is_known, outputs)):
        return
    if not all(context.is_read_through(name, gates) for name in outputs):
        return
    # The one that all ways lead through; squeeze-and-excitation in a block is none. Where there are several, the last.
    alone = [each for each in blind if all(context.is_read_through(name, {each.name}) for name in outputs)]
    guilty = alone[0] if alone else blind[-1]
    head = next((name for name in reversed(context.objects.heads)), "")
    yield Observation(
        "warning",
        guilty.name,
        f"all of the {by([axis.input_size for axis in guilty.axes]) or 'whole'} map becomes one cell here, and "
        f"every output is read from it: this is a head for classification, and {context.task} needs to know where",
        (
            f"cut the network before this stage and put a {context.task} head on {head or 'the map before it'}",
            f"and read small objects from finer maps as well ({context.words.pyramid})",
        ),
    )


def _averages_all(stage: Stage) -> bool:
    return stage.kind == "global" or (stage.kind == "pooling" and collapses(stage))


@rule(
    "D503",
    "the finest output feature map is too coarse for outlines",
    """
    Segmentation from a map of stride 16 or 32 has outlines of that many pixels, whatever it is upsampled to. Skip
    connections bring the finer maps back. Looked for with `--task segmentation`, from stride 9 on. Warning.
    """,
)
def _coarse(context: LintContext) -> Iterator[Observation]:
    head = context.objects.at_heads
    if context.task != "segmentation" or head is None:
        return
    steps = max(Fraction(size) / each for size, each in zip(context.objects.size, head.resolved, strict=True))
    if steps <= COARSE_MASK:
        return
    upsampled = head.cells != head.resolved
    yield Observation(
        "warning",
        head.stage,
        f"the finest output feature map has an effective stride of "
        f"{context.words.cells((cells(steps),))}"
        + (", whatever it was upsampled to" if upsampled else "")
        + ": outlines are no finer than that",
        (
            "join finer maps while upsampling: skip connections, as U-Net has them",
            *(f"or {each}" for each in dilated(context, head)),
            "or, for a last resort, a learned upsampling (transposed convolution): it invents edges and resolves none",
        ),
    )


@rule(
    "D504",
    "most weights are in one dense layer behind a flattened map",
    """
    One weight for each cell of each channel, so that what is learned at one position is not known at another: in
    VGG-19, 103 of 144 million weights are in the first dense layer. They fix the input size (D104) and overfit; a
    global average pooling before them needs as many weights as there are channels. Warning with a task, else a
    note.
    """,
)
def _heavy(context: LintContext) -> Iterator[Observation]:
    total = context.network.parameters
    for stage in context.known_stages:
        # What still is a map, or a list of its places, has the same weights at all of them.
        if stage.kind != "dense" or not stage.ended or not total or stage.parameters <= MOST_WEIGHTS * total:
            continue
        path = context.leads_to(stage.name)
        heads = [name for name in context.objects.heads if name in path]
        maps = [sizes for name in heads if math.prod(sizes := context.stages[name].output_size) > 1]
        behind = path.difference(*(context.leads_to(name) for name in heads))
        if not maps or any(_averages_all(context.stages[name]) for name in behind):
            continue
        yield Observation(
            "warning" if context.task is not None else "note",
            stage.name,
            f"{amount(stage.parameters)} of {amount(total)} weights ({percent(stage.parameters / total)}) are here, "
            f"one for each of {by(maps[0])} cells of every channel: weights that depend on position (no translation "
            "equivariance) and fix the input size",
            (
                "put a global average pooling before it: as many weights as channels, and any input size",
                "or pool the map to a small fixed size first (AdaptiveAvgPool2d)",
            ),
        )


@rule(
    "D505",
    "the receptive field of the last map is smaller than the input",
    """
    No cell of the last map depends on the whole image, so nothing but the pooling behind it can relate its parts. That
    may be wanted (texture), and often is not. Looked for with `--task classification` and `segmentation`. Note.
    """,
)
def _narrow(context: LintContext) -> Iterator[Observation]:
    if context.task not in ("classification", "segmentation") or context.objects.unknown:
        return
    sizes = [context.network.input_shape[axis] for axis in context.network.spatial]
    fields = [(name, context.stages[name].receptive_field) for name in context.objects.heads]
    if any(field is not None and field.context for _, field in fields):
        return
    seen = [(name, field.size) for name, field in fields if field is not None]
    if not seen or any(all(a >= b for a, b in zip(each, sizes, strict=True)) for _, each in seen):
        return
    name, widest = max(seen, key=lambda item: min(item[1]))
    whole = any(_averages_all(stage) for stage in context.network.stages)
    yield Observation(
        "note",
        name,
        f"its receptive field is {by(widest)} of {context.words.cells(sizes)}: no cell depends on the whole "
        f"{context.words.input}"
        + (", only the global pooling joins them" if whole and context.task == "classification" else ""),
        (
            "add stages, or dilate the convolutions: a larger receptive field for the same cost",
            "or add the global context as a branch (pyramid pooling)",
        ),
    )


@rule(
    "D506",
    "misaligned branches: effective stride or padding differ",
    """
    An even kernel, or more padding at one end, moves receptive fields by half a pixel of the map. Where such a
    branch meets another one, edges are blurred and boxes are off by that much. Told where another kernel or padding of
    one branch puts that right, which has been tried; not where upsampling alone is the reason, as in every feature
    pyramid. Note.
    """,
)
def _misaligned(context: LintContext) -> Iterator[Observation]:
    for stage in context.known_stages:
        if stage.kind != "merge" or stage.receptive_field is None or stage.receptive_field.aligned:
            continue
        before = [context.stages[name].receptive_field for name in stage.inputs if name in context.stages]
        if any(field is not None and not field.aligned for field in before):
            continue  # said where it began
        remedies = tuple(_aligning(context, stage))
        if not remedies:
            continue
        fields = [field for field in before if field is not None]
        strides = {field.stride for field in fields}
        offsets = sorted({field.offset for field in fields})
        if len(strides) == 1 and len(offsets) > 1:
            apart = brief([cells(abs(a - b)) for a, b in zip(offsets[0], offsets[-1], strict=True)])
            what = f"their centres differ by {apart} {context.words.cell}{'' if apart == '1' else 's'}"
        else:
            what = "their effective strides differ"
        yield Observation(
            "note",
            stage.name,
            f"in the maps that are joined here, cells of one position have different receptive fields: {what}",
            remedies,
        )


def _aligning(context: LintContext, stage: Stage) -> Iterator[str]:
    """Try to centre the windows of one branch after another; yield what aligns the maps that meet."""
    paths = [context.leads_to(name) for name in stage.inputs]
    shared = set.intersection(*paths) if paths else set()
    for path in paths:
        centred = {
            each.name: arguments
            for each in context.windowed
            if each.name in path and each.name not in shared and (arguments := _centred(each))
        }
        if not 0 < len(centred) <= MOST_CENTRED:
            continue
        network = context.trials.changed(centred)
        found = None if network is None else next((e for e in network.stages if e.name == stage.name), None)
        if found is not None and found.receptive_field is not None and found.receptive_field.aligned:
            yield f"centre the windows of one branch: {as_options(centred)}"


def _centred(stage: Stage) -> dict[str, Any]:
    """Return the kernel and padding that put the windows of a stage around each (stride)th cell; empty where they are.

    An even kernel becomes the next larger odd one, with as much padding at both ends.
    """
    axes = stage.axes
    if any(axis.adaptive for axis in axes):
        return {}
    kernel = [axis.kernel_size + (axis.kernel_size % 2 == 0) for axis in axes]
    pads = [axis.dilation * (size - 1) // 2 for axis, size in zip(axes, kernel, strict=True)]
    if all(
        axis.kernel_size == size and axis.pad_begin == pad for axis, size, pad in zip(axes, kernel, pads, strict=True)
    ):
        return {}
    changes: dict[str, Any] = {}
    if any(axis.kernel_size != size for axis, size in zip(axes, kernel, strict=True)):
        changes["kernel_size"] = kernel[0] if len(set(kernel)) == 1 else tuple(kernel)
    if stage.layer is not None and stage.layer.arguments.get("ceil_mode"):
        changes["ceil_mode"] = False
    return {**changes, "padding": pads[0] if len(set(pads)) == 1 else tuple(pads)}
