"""D6: layers whose windows add nothing, or not evenly, and maps that meet again at some sizes only."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pooling.arguments import axis_names
from pooling.geometry import Axis
from pooling.reporting.formats import brief, by, joined, percent
from pooling.signs import counted

from ..analysis.effective_field import narrowest_fields
from ..analysis.heads import heads_of
from ..analysis.object_footprint import collapses
from ..network import Graph, Network, NetworkError, Stage
from ..operators.nodes import Node
from .registry import EARLY_STAGES, LintContext, Observation, as_options, rule

# ---------------------------------------------------------------------------------------------------------------------
# Layers that cannot add context


@rule(
    "D601",
    "layers cannot add context: their input already sees the whole image",
    """
    A window with more than one tap relates what lies beside each other. Where the receptive field of its input is as
    large as the image on every path, shortcuts included, there is nothing beside it that is new. Richter et al.,
    "(Input) Size Matters for CNN Classifiers" (2021), found that such layers at the end of a classifier do not improve
    it, and can be left out. One finding for a network, with the share of weights and multiply-adds that are in such
    layers. What a global branch (attention, squeeze-and-excitation) adds does not count as a field here, and layers
    whose weights are shared with an earlier one are not counted. Looked for where one map is pooled or flattened behind
    its last stage, and not with `--task detection` or `segmentation`. Note.
    """,
)
def _no_context(context: LintContext) -> Iterator[Observation]:
    heads = heads_of(context.network, context.objects)
    if context.localises or len(heads) != 1 or heads[0].use in ("output", "not known"):
        return  # what has several heads, or a map as its result, needs layers for their grids as well
    idle = _idle(context.network)
    if not idle:
        return
    network, sizes = context.network, context.network.spatial_sizes
    layers = [stage for stage, _ in idle]
    first, field = idle[0]
    shares = [
        f"{percent(sum(getattr(stage, name) for stage in layers) / total)} of the {words}"
        for name, words, total in (
            ("parameters", "parameters", network.parameters),
            ("macs", "multiply-adds", network.macs),
        )
        if total and not network.unknown
    ]
    many = f"this and {counted(len(idle) - 1, 'later layer')} with windows" if len(idle) > 1 else "this layer"
    held = f", which hold{'s' if len(idle) == 1 else ''} {joined(shares)}," if shares else ""
    units = f"{context.words.cell}s"
    fixes = []
    larger = _large_enough(context, idle)
    if larger:
        fixes.append(f"use a larger input, such as {by(larger)}, where each of them reads something new")
    fixes += [f"{'or ' * bool(fixes)}{fix}" for fix in _earlier(context, len(idle))]
    fixes.append(f"{'or ' * bool(fixes)}leave these layers out, or give them kernels of 1")
    yield Observation(
        "note",
        first.name,
        f"along every path, the receptive field of its input is at least {by(field)} {units}, and the input has "
        f"{by(sizes)}: {many}{held} cannot add context",
        tuple(fixes),
    )


LARGEST_ADVICE = 8
"""An input so many times as large is no advice."""


def _idle(network: Network) -> list[tuple[Stage, tuple[int, ...]]]:
    """List the layers with windows whose input sees the whole image on every path, and what it sees at least."""
    if not network.spatial:
        return []
    narrow, sizes = narrowest_fields(network), network.spatial_sizes
    found = []
    for stage in network.stages:
        windows = stage.kind in ("convolution", "pooling") and any(axis.kernel_size > 1 for axis in stage.axes)
        field = narrow.get(stage.inputs[0]) if stage.inputs else None
        # Of weights that are shared, an earlier layer may have use.
        shared = stage.kind == "convolution" and not stage.parameters
        if not windows or shared or field is None or stage.receptive_field is None or collapses(stage):
            continue
        if all(seen >= size for seen, size in zip(field, sizes, strict=True)):
            found.append((stage, field))
    return found


def _large_enough(context: LintContext, idle: Sequence[tuple[Stage, tuple[int, ...]]]) -> tuple[int, ...]:
    """Return spatial sizes at which no layer is without new context; empty where none near by was found."""
    spatial, shape = context.network.spatial, list(context.network.input_shape)
    for number, axis in enumerate(spatial):
        shape[axis] = max(shape[axis], max(field[number] for _, field in idle) + 1)
        if shape[axis] > LARGEST_ADVICE * context.network.input_shape[axis]:
            return ()
    if _is_fixed(context):
        return ()
    sizes = _next_working(context, shape)
    if not sizes:
        return ()
    for axis, size in zip(spatial, sizes, strict=True):
        shape[axis] = size
    return () if _idle(context.graph.infer(shape)) else sizes


def _earlier(context: LintContext, count: int) -> Iterator[str]:
    """Try which early stride, left out, leaves fewer layers without new context."""
    for stage in context.shrinking[:EARLY_STAGES]:
        changes = {stage.name: {"stride": 1}}
        try:
            changed = context.graph.edited(changes).infer(context.network.input_shape)
        except NetworkError:
            continue
        left = len(_idle(changed))
        if left < count:
            yield f"leave out an early stride, after which {left or 'none'} of {count} are left: {as_options(changes)}"
            return


# ---------------------------------------------------------------------------------------------------------------------
# Uneven overlap


@rule(
    "D602",
    "a transposed convolution overlaps unevenly (checkerboard)",
    """
    Where the stride does not divide the kernel, some cells of the result of a transposed convolution are sums of more
    taps than their neighbours, in a pattern that repeats with the stride. Weights can learn to undo it, and seldom do
    so completely: Odena, Dumoulin and Olah, "Deconvolution and Checkerboard Artifacts" (Distill, 2016). A kernel that
    the stride divides, or a resize and a convolution behind it, overlaps evenly. Warning with `--task segmentation`,
    else a note.
    """,
)
def _checkerboard(context: LintContext) -> Iterator[Observation]:
    for stage in context.network.stages:
        if stage.kind != "transposed" or stage.operator != "ConvTranspose" or not stage.axes:
            continue
        taps = [_taps(axis) for axis in stage.axes]
        uneven = [number for number, counts in enumerate(taps) if min(counts) != max(counts)]
        if not uneven:
            continue
        names = axis_names(len(stage.axes))
        least, most = (math.prod(choose(counts) for counts in taps) for choose in (min, max))
        kernel = brief([stage.axes[number].kernel_size for number in uneven])
        stride = brief([stage.axes[number].stride for number in uneven])
        dilated = any(stage.axes[number].dilation > 1 for number in uneven)
        empty = "; those without any are the bias alone" if not least else ""
        fixes = []
        option = _even(context, stage)
        if option:
            fixes.append(f"take a kernel that the stride divides, at the same output size: {option}")
        fixes.append(
            f"{'or ' * bool(fixes)}upsample by a nearest or bilinear resize, with a convolution behind it "
            "(resize-convolution)"
        )
        yield Observation(
            "warning" if context.task == "segmentation" else "note",
            stage.name,
            f"a kernel of {kernel}{' with its dilation' * dilated} at stride {stride} overlaps unevenly along "
            f"{joined([names[number] for number in uneven])}: cells of the result are sums of {least} to {most} taps, "
            f"in a pattern that repeats with the stride (checkerboard artifacts){empty}",
            tuple(fixes),
        )


def _taps(axis: Axis) -> list[int]:
    """Count the taps that the cells of one period of the result of a transposed convolution are sums of."""
    counts = [0] * axis.stride
    for tap in range(axis.kernel_size):
        counts[tap * axis.dilation % axis.stride] += 1
    return counts


def _even(context: LintContext, stage: Stage) -> str:
    """Return the options that give a stage a kernel that its stride divides and leave its output as it is."""
    if any(axis.dilation > 1 for axis in stage.axes):
        return ""
    kernels = [axis.divisible_kernel_size for axis in stage.axes]
    pads = []
    for axis, kernel in zip(stage.axes, kernels, strict=True):
        more = kernel - axis.kernel_size
        pads.append((axis.pad_begin + more // 2, axis.pad_end + more - more // 2))
    changes = {stage.name: {"kernel_size": tuple(kernels), "padding": tuple(pads)}}
    try:
        changed = context.graph.edited(changes).infer(context.network.input_shape).stage(stage.name)
    except NetworkError:
        return ""
    if changed.output_shape != stage.output_shape or any(min(_taps(each)) != max(_taps(each)) for each in changed.axes):
        return ""
    same = len(set(zip(kernels, pads, strict=True))) == 1
    written = [f"{begin}:{end}" if begin != end else str(begin) for begin, end in pads]
    return as_options(
        {
            stage.name: {
                "kernel_size": kernels[0] if same else "x".join(map(str, kernels)),
                "padding": written[0] if same else "x".join(written),
            }
        }
    )


# ---------------------------------------------------------------------------------------------------------------------
# Maps that meet again at some sizes only


@rule(
    "D603",
    "maps that are joined have equal sizes at some input sizes only",
    """
    Each halving rounds an odd size down, and upsampling does not bring the odd row back: a U-Net with four poolings
    works at multiples of 16. The finding says at which sizes the network works, what meets at the next size that does
    not, and where one map has to be cropped, or the other padded, to make that size work; the crops were tried on
    the network. Not told of models whose input size is fixed. Note; D103 is the error at a size that was asked for.
    """,
)
def _meet_at_some_sizes(context: LintContext) -> Iterator[Observation]:
    if context.network.unknown or _is_fixed(context):
        return  # what was not understood may ask for other sizes
    shape = _failing_shape(context)
    if shape is None:
        return
    meeting = _meeting(context.graph, shape)
    if meeting is None:
        return
    limited = [each for each in context.sizes if str(each.working) != "any"]
    same = len(limited) == len(context.sizes) and len({str(each.working) for each in limited}) == 1
    patterns = [
        str(each.working) if same else f"{each.working} on {each.axes}" for each in limited[: 1 if same else None]
    ]
    if not patterns:
        return
    maps = joined([by(sizes) for sizes in dict.fromkeys(meeting.sizes.values())])
    fixes = []
    target = _next_working(context, shape)
    if target:
        given = [shape[axis] for axis in context.network.spatial]
        fixes.append(f"pad the input at its end, from {by(given)} to {by(target)} for example, and crop the result")
    for verb, which in (("crop", "larger"), ("pad", "smaller")):
        changed = _equalled(context.graph, shape, pad=verb == "pad")
        if changed:
            shown = joined([f"{each.map} by {_cells(each.cells)} before {each.merge}" for each in changed[:SHOWN]])
            more = f", and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
            fixes.append(f"{'or ' * bool(fixes)}{verb} the {which} map at its end: at this size {shown}{more}")
    fixes.append(f"{'or ' * bool(fixes)}resize the upsampled map to the size of the other, instead of by a factor")
    yield Observation(
        "note",
        meeting.merge,
        f"the network works at input sizes that are {joined(patterns)}: at {by(shape)}, maps of {maps} would be "
        "joined here, because one path rounds down where the other does not",
        tuple(fixes),
    )


SHOWN = 4
MOST_CHANGES = 8
"""Maps that are cropped or padded to make a size work, at most."""
LARGEST_TRIED = 800
"""Nodes of a network on which that is tried: each map costs two walks through it."""


def _is_fixed(context: LintContext) -> bool:
    """Whether the model declares its spatial sizes, or takes one size only for another reason."""
    declared = context.graph.declared
    written = declared is not None and len(declared) > max(context.network.spatial, default=0)
    if written and declared is not None and all(isinstance(declared[axis], int) for axis in context.network.spatial):
        return True
    return not context.sizes or any(each.largest is not None for each in context.sizes)


def _failing_shape(context: LintContext) -> tuple[int, ...] | None:
    """Return the input shape that was asked for, if maps do not meet there, or the next one where they do not."""
    if context.failure is not None:
        return context.failure.shape
    shape, changed = list(context.network.input_shape), False
    for each, places in zip(context.sizes, _places(context), strict=True):
        sizes = range(each.given + 1, each.given + each.working.step + 1)
        wrong = next((size for size in sizes if each.working.remainders and size not in each.working), None)
        if wrong is not None:
            for place in places:
                shape[place] = wrong
            changed = True
    return tuple(shape) if changed else None


def _places(context: LintContext) -> list[tuple[int, ...]]:
    """Return the axes of the input that each entry of the sizes is about."""
    spatial = context.network.spatial
    names = dict(zip(axis_names(len(spatial)), spatial, strict=True))
    return [tuple(names[name] for name in re.findall(r"[DHWL]", each.axes)) for each in context.sizes]


def _next_working(context: LintContext, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the smallest spatial sizes from those of a shape on that work; empty where none was found."""
    found = list(shape)
    for each, places in zip(context.sizes, _places(context), strict=True):
        for place in places:
            least = max(shape[place], each.smallest or 1)
            size = next((size for size in range(least, least + each.working.step) if size in each.working), None)
            if size is None:
                return ()
            found[place] = size
    try:
        context.graph.infer(found)
    except NetworkError:
        return ()
    return tuple(found[axis] for axis in context.network.spatial)


@dataclass(frozen=True)
class _Meeting:
    """Where maps of different sizes would be joined: the stage, and by tensor its source and its spatial sizes."""

    merge: str
    sources: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    spatial: Mapping[str, tuple[int, ...]]

    @property
    def sizes(self) -> dict[str, tuple[int, ...]]:
        """The spatial sizes by tensor."""
        return {name: tuple(shape[axis] for axis in self.spatial[name]) for name, shape in self.shapes.items()}


def _meeting(graph: Graph, shape: Sequence[int]) -> _Meeting | None:
    """Find the first stage where maps of different sizes meet; None where it fails for another reason, or not."""
    try:
        graph.infer(shape)
    except NetworkError as error:
        names = [node.name for node in graph.nodes]
        if error.stage not in names:
            return None
        place = names.index(error.stage)
    else:
        return None
    node = graph.nodes[place]
    try:
        before = replace(graph, nodes=graph.nodes[:place], outputs=()).infer(shape)
    except NetworkError:
        return None
    writers = {name: each.name for each in graph.nodes[:place] for name in each.outputs[:1]}
    stages = {stage.name: stage for stage in before.stages if stage.receptive_field is not None}
    # By tensor: the source, its shape, and where its spatial axes stand.
    maps = {graph.input_name: (graph.input_name, before.input_shape, before.spatial)}
    maps |= {
        name: (stages[writer].name, stages[writer].output_shape, stages[writer].spatial)
        for name, writer in writers.items()
        if writer in stages
    }
    met = {name: maps[name] for name in node.inputs if name in maps and maps[name][2]}
    meeting = _Meeting(
        node.name,
        {name: source for name, (source, _, _) in met.items()},
        {name: whole for name, (_, whole, _) in met.items()},
        {name: axes for name, (_, _, axes) in met.items()},
    )
    alike = len({len(whole) for whole in meeting.shapes.values()}) == 1
    return meeting if alike and len(met) > 1 and len(set(meeting.sizes.values())) > 1 else None


@dataclass(frozen=True)
class _Change:
    """Cells by which a map is cropped or padded at its end before it is joined, on each spatial axis."""

    merge: str
    map: str
    cells: tuple[int, ...]


def _equalled(graph: Graph, shape: Sequence[int], *, pad: bool) -> list[_Change]:
    """Crop the larger maps, or pad the smaller ones, wherever maps meet; empty where that does not make a size work."""
    changes: list[_Change] = []
    if len(graph.nodes) > LARGEST_TRIED:
        return changes
    while len(changes) <= MOST_CHANGES:
        meeting = _meeting(graph, shape)
        if meeting is None:
            break
        wanted = [(max if pad else min)(each) for each in zip(*meeting.sizes.values(), strict=True)]
        renamed, added = {}, []
        for name, sizes in meeting.sizes.items():
            cells = tuple(abs(size - want) for size, want in zip(sizes, wanted, strict=True))
            if any(cells):
                renamed[name] = f"{name}#{len(changes)}"
                axes, rank = meeting.spatial[name], len(meeting.shapes[name])
                ends = [cells[axes.index(axis)] if axis in axes else 0 for axis in range(rank)]
                operator, arguments = (
                    ("Pad", {"pads": [0] * rank + ends})
                    if pad
                    else ("Slice", {"starts": [0] * len(axes), "ends": wanted, "axes": list(axes)})
                )
                added.append(Node(renamed[name], operator, (name,), (renamed[name],), arguments, 2))
                changes.append(_Change(meeting.merge, meeting.sources[name], cells))
        place = next(number for number, node in enumerate(graph.nodes) if node.name == meeting.merge)
        merge = graph.nodes[place]
        joined_again = replace(merge, inputs=tuple(renamed.get(name, name) for name in merge.inputs))
        graph = replace(graph, nodes=(*graph.nodes[:place], *added, joined_again, *graph.nodes[place + 1 :]))
    try:
        graph.infer(shape)
    except NetworkError:
        return []
    return changes


def _cells(cells: Sequence[int]) -> str:
    """Write rows and columns at the end of a map."""
    words = {"H": "row", "W": "column", "D": "slice"}
    names = axis_names(len(cells))
    return joined(
        [counted(count, words.get(name, "sample")) for name, count in zip(names, cells, strict=True) if count]
    )
