"""The boxes of a drawing: the stages of a network folded by resolution, skips between them, heads."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pooling.reporting.formats import by, cells
from pooling.signs import counted, printable

from ..pyramid import Level, Pyramid, level_of_stages, pyramid
from .names import Path, blocks_in, label_of, path_of, without_common

if TYPE_CHECKING:
    from ...analysis.object_footprint import Objects
    from ...examination import Examination
    from ...network import Network, Stage

__all__ = ["DrawnMap", "DrawnMaps", "Skip", "drawn_maps"]

SAME = 0.8
"""Maps of one stride whose sizes differ by no more than this, as windows without padding have them, are one box."""
MOST_EXTRA_TOKENS = 16
"""Tokens for a class, for registers and the like, beside those of the grid."""
LEAST_ROW, MOST_ROW = 4, 12
"""Equal blocks from which on a network is drawn as a row of boxes, and those that are drawn."""
ROW_SHARE = 0.5
"""The least share of all stages that lie in such a row."""
JOINS = ("Add", "Sum", "Concat")
NO_MAPS = ("reshape", "dense")


@dataclass(frozen=True)
class Skip:
    """Data that passes by the boxes between two of them."""

    begin: int
    end: int


@dataclass(frozen=True)
class DrawnMap:
    """A box.

    Attributes
    ----------
    kind : str
        ``"map"``, ``"vector"`` (one cell, or none), or ``"unknown"`` (no shape is known).
    stages : tuple of str
        The names of the stages that are folded into it.
    label : str
        What it is called.
    size : tuple of int
        Cells on each spatial axis; empty where they are not known.
    channels : int
        Features of a cell; 0 where they are not known.
    stride : tuple of float
        Effective stride in pixels; empty where it is not known.
    level : Level or None
        Its grid on the input, where that is known.
    blocks : int
        Equal blocks that are folded into it.
    noun : str
        What they are.
    row : bool
        Whether its blocks are drawn one by one.
    joins : int
        Skips within it.
    tokens : int
        Beside those of the grid; -1 where its cells are no tokens.
    flag : tuple of str
        Where an output is read: what its flag says.
    folded : int
        Maps of other sizes that are folded into it, itself among them.
    sees : bool
        Whether the receptive field of its last result is known.
    """

    kind: str
    stages: tuple[str, ...]
    label: str = ""
    size: tuple[int, ...] = ()
    channels: int = 0
    stride: tuple[float, ...] = ()
    level: Level | None = None
    blocks: int = 1
    noun: str = ""
    row: bool = False
    joins: int = 0
    tokens: int = -1
    flag: tuple[str, ...] = ()
    folded: int = 1
    sees: bool = True

    @property
    def shape_text(self) -> str:
        """Channels and size, as in a shape."""
        return by([self.channels, *self.size]) if self.kind == "map" else counted(self.channels, "value")

    @property
    def stride_text(self) -> str:
        """Its effective stride."""
        if self.kind != "map" or set(self.size) == {1}:
            return ""
        if not self.stride:
            return "stride not known"
        numbers = [cells(each) for each in self.stride]
        return f"stride {numbers[0] if len(set(numbers)) == 1 else by(numbers)}"

    @property
    def blocks_text(self) -> str:
        """How many equal parts it has."""
        if self.folded > 1:
            return f"{self.folded} sizes"
        return f"{self.blocks} {self.noun}" if self.blocks > 1 else ""

    @property
    def object_cells(self) -> tuple[float, ...]:
        """Cells that the object covers, as far as they are resolved; empty where that is not known, or no map."""
        if self.level is None or set(self.size) == {1}:
            return ()
        return self.level.resolved


@dataclass(frozen=True)
class DrawnMaps:
    """All boxes of a network, and what is said of it.

    Attributes
    ----------
    examination : Examination
    pyramid : Pyramid
        Its levels, which have the input and the object.
    maps : tuple of DrawnMap
        The input first.
    links : set of pairs
        Boxes that follow one another, and between which data passes.
    skips : tuple of Skip
        Data that passes by boxes between.
    last : int
        The box of the last head; of its cell the receptive field is shown. -1 where there is none.
    at_output : tuple of float
        Cells that the object covers at the head that resolves most; empty where that is not known.
    """

    examination: Examination
    pyramid: Pyramid
    maps: tuple[DrawnMap, ...]
    links: frozenset[tuple[int, int]] = frozenset()
    skips: tuple[Skip, ...] = ()
    last: int = -1
    at_output: tuple[float, ...] = ()

    @property
    def dimensions(self) -> int:
        """Spatial axes."""
        return self.pyramid.dimensions

    def at_most(self, count: int) -> DrawnMaps:
        """Fold maps whose sizes are near to each other until there are no more than so many."""
        found = self
        while len(found.maps) > max(3, count):
            pairs = range(1, len(found.maps) - 1)
            found = found._joined(min(pairs, key=lambda place: (_step(found.maps, place), place)))
        return found

    def _joined(self, place: int) -> DrawnMaps:
        """Make one box of a map and the one behind it."""
        first, second = self.maps[place : place + 2]
        one = replace(
            second,
            stages=first.stages + second.stages,
            label=second.label if second.flag or not first.flag else first.label,
            flag=second.flag or first.flag,
            joins=first.joins + second.joins,
            folded=first.folded + second.folded,
            row=False,
        )
        maps = (*self.maps[:place], one, *self.maps[place + 2 :])

        def moved(number: int) -> int:
            return number - (number > place)

        edges = {(moved(a), moved(b)) for a, b in [*self.links, *((skip.begin, skip.end) for skip in self.skips)]}
        links, skips = _edges(edges)
        return replace(self, maps=maps, last=moved(self.last), links=links, skips=skips)


def _step(maps: Sequence[DrawnMap], place: int) -> float:
    """Say how much is lost when a box and the next become one."""
    first, second = maps[place : place + 2]
    if first.kind != second.kind or not first.size or not second.size or first.row or second.row:
        return 50.0 + (first.kind != second.kind)
    change = max(abs(math.log2(b / a)) for a, b in zip(first.size, second.size, strict=True))
    # Where the object is lost, and where an output is read, is not hidden; and no box takes all that is folded.
    lost = next((number for number, each in enumerate(maps) if _is_lost(each)), -2)
    turns = bool(first.flag) + (lost in (place, place + 1))
    return change + 5 * turns + 0.6 * (first.folded + second.folded - 2)


def _is_lost(each: DrawnMap) -> bool:
    return bool(each.object_cells) and min(each.object_cells) < 1


def _edges(pairs: set[tuple[int, int]]) -> tuple[frozenset[tuple[int, int]], tuple[Skip, ...]]:
    """Tell links from skips."""
    links = frozenset(pair for pair in pairs if pair[1] - pair[0] == 1)
    return links, tuple(Skip(*pair) for pair in sorted(pairs) if pair[1] - pair[0] > 1)


# ---------------------------------------------------------------------------------------------------------------------
# Stages by resolution


@dataclass
class _Group:
    """Stages of one resolution, one behind the other."""

    kind: str
    size: tuple[int, ...]
    stride: tuple[object, ...] | None
    stages: list[Stage] = field(default_factory=list)
    extra_tokens: int = -1
    first_size: tuple[int, ...] = ()


def drawn_maps(examination: Examination) -> DrawnMaps:
    """Fold the stages of a network into boxes.

    Raises
    ------
    ValueError
        If it has no spatial axes, or such long ones that they cannot be drawn.

    Examples
    --------
    >>> from pooling.doctor import examine
    >>> found = drawn_maps(examine("conv3/2x16@a conv3x16 pool2@b conv3x32 global fc10", (1, 3, 64, 64)))
    >>> [(each.label, each.shape_text) for each in found.maps]
    [('input', '3×64×64'), ('a', '16×32×32'), ('b', '32×16×16'), ('global1', '32 values')]
    """
    network = examination.network
    drawn = pyramid(network, examination.objects)
    groups, group_of = _groups(network)
    edges = {
        (group_of[name], group_of[stage.name])
        for stage in network.stages
        for name in stage.inputs
        if stage.name in group_of and name in group_of and group_of[name] != group_of[stage.name]
        # Heads that are flattened and put behind one another are no skips.
        if groups[group_of[stage.name]].kind != "map" or (stage.spatial and stage.kind not in NO_MAPS)
    }
    merged = _without_gates(groups, edges)
    place_of = {number: place for place, number in enumerate(sorted(set(merged)))}
    home = [place_of[merged[number]] for number in range(len(groups))]
    kept: list[_Group] = [groups[number] for number in sorted(place_of)]
    for number, group in enumerate(groups):
        if merged[number] != number:
            groups[merged[number]].stages += group.stages
    place = {name: home[number] for name, number in group_of.items()}
    pairs = {(home[a], home[b]) for a, b in edges if home[a] < home[b]}
    labels = _labels(kept)
    maps = [_input(examination, drawn)]
    for number, group in enumerate(kept[1:], 1):
        maps.append(_drawn(examination, drawn, group, labels[number], place, number))
    maps = _named(maps, labels)
    maps = _with_row(maps, len(network.stages))
    heads = _heads(network, examination.objects)
    several = {
        place[name]
        for head in examination.heads
        if head.use == "reshaped and concatenated"
        for name in head.stages
        if name in place
    }
    maps, last = _with_flags(network, maps, heads, several, place, pairs)
    links, skips = _edges(pairs)
    covered = [tuple(map(float, examination.objects.footprints[name].resolved)) for name in heads]
    return DrawnMaps(examination, drawn, tuple(maps), links, skips, last, max(covered, key=min, default=()))


def _heads(network: Network, objects: Objects) -> list[str]:
    """Return the maps that outputs are read from; not those behind which something is not known."""
    lost = {name for stage in network.stages if not stage.output_shape for name in stage.inputs}
    return [
        name for name in objects.heads if name in objects.footprints and (name not in lost or name in network.outputs)
    ]


def _groups(network: Network) -> tuple[list[_Group], dict[str, int]]:
    """Sort the stages into groups, the input first; tell where each stage is."""
    sizes = network.spatial_sizes
    groups = [_Group("map", sizes, (1,) * len(sizes), first_size=sizes)]
    of = {network.input_name: 0}
    ways: dict[tuple[int, object], int] = {}
    for stage in network.stages:
        before = [of[name] for name in stage.inputs if name in of]
        if not before:
            continue
        latest = max(before)
        kind, size, stride, extra = _kind(stage, groups[latest])
        if kind == "inside":
            of[stage.name] = latest
            groups[latest].stages.append(stage)
            continue
        same = [number for number in before if number and _continues(groups[number], kind, size, stride)]
        number = max(same) if same else ways.setdefault((latest, (kind, size)), len(groups))
        if number == len(groups):
            groups.append(_Group(kind, size, stride, first_size=size))
        group = groups[number]
        group.size, group.extra_tokens = size, max(group.extra_tokens, extra)
        group.stride = stride if stride is not None else group.stride
        group.stages.append(stage)
        of[stage.name] = number
    return groups, of


def _kind(stage: Stage, before: _Group) -> tuple[str, tuple[int, ...], tuple[object, ...] | None, int]:
    """Say what a stage gives: a map of some size and stride, a vector, something unknown, or what is inside a block."""
    shape = stage.output_shape
    if not shape:
        return "unknown", (), None, -1
    if stage.spatial and max(stage.spatial) < len(shape):
        if stage.kind == "pad":
            return "inside", (), None, -1  # it belongs to the window behind it
        size = stage.output_size
        if set(size) == {1}:
            return "vector", size, None, -1
        seen = stage.receptive_field
        return "map", size, None if seen is None else seen.stride, -1
    if len(shape) <= 2:
        return "vector", (1,), None, -1
    grid = before.size
    if before.kind != "map" or set(grid) == {1}:
        return "inside", (), None, -1
    if len(shape) == 3 and 0 <= shape[1] - math.prod(grid) <= MOST_EXTRA_TOKENS:
        return "map", grid, before.stride, shape[1] - math.prod(grid)
    for size in (grid, tuple(-(-length // 2) for length in grid)):
        # Channels last, or the axes of a window taken apart and put together again.
        if len(shape) == len(grid) + 2 and size in (shape[1:-1], shape[2:]):
            return "map", size, before.stride if size == grid else None, -1
    return "inside", (), None, -1


def _continues(group: _Group, kind: str, size: tuple[int, ...], stride: tuple[object, ...] | None) -> bool:
    """Whether what a stage gives belongs to the box that it reads from."""
    if group.kind != kind:
        return False
    if kind != "map" or group.size == size:
        return True
    if len(size) != len(group.size) or stride is None or group.stride is None or group.stride != stride:
        return False
    return all(SAME <= new / old <= 1 / SAME for new, old in zip(size, group.first_size, strict=True))


def _without_gates(groups: Sequence[_Group], edges: set[tuple[int, int]]) -> list[int]:
    """Return the group that each is drawn in: what is pooled to one cell within a network is no box of its own."""
    behind: dict[int, set[int]] = defaultdict(set)
    ahead: dict[int, set[int]] = defaultdict(set)
    for begin, end in edges:
        behind[begin].add(end)
        ahead[end].add(begin)
    into = list(range(len(groups)))
    for number, group in enumerate(groups):
        if group.kind != "vector" or not number:
            continue
        onward = any(groups[other].kind == "map" for other in behind[number])
        source = max((into[other] for other in ahead[number]), default=0)
        if onward or groups[source].kind == "vector":
            into[number] = source
    return into


# ---------------------------------------------------------------------------------------------------------------------
# Boxes


def _input(examination: Examination, drawn: Pyramid) -> DrawnMap:
    network = examination.network
    spatial = set(network.spatial)
    rest = [size for axis, size in enumerate(network.input_shape) if axis not in spatial]
    return DrawnMap(
        "map",
        (network.input_name,),
        "input",
        network.spatial_sizes,
        math.prod(rest[1:]) if len(rest) > 1 else math.prod(rest),
        (1.0,) * len(spatial),
        drawn.levels[0] if drawn.levels[0].size == network.spatial_sizes else None,
    )


def _channels(stage: Stage) -> int:
    """Return the features of a cell."""
    shape = stage.output_shape
    if stage.spatial:
        rest = [size for axis, size in enumerate(shape) if axis not in stage.spatial]
        return math.prod(rest[1:]) if len(rest) > 1 else math.prod(rest)
    return math.prod(shape[1:])


def _is_map(stage: Stage, group: _Group) -> bool:
    """Whether the result of a stage has the size of its group, rather than being taken apart within a block."""
    return bool(stage.spatial) and stage.kind not in NO_MAPS and stage.output_size == group.size


def _sized(group: _Group) -> list[Stage]:
    """Return the stages whose results have the size of a group; all of them where cells are tokens."""
    sized = [stage for stage in group.stages if _is_map(stage, group)]
    return group.stages if group.extra_tokens >= 0 or not sized else sized


def _labels(groups: Sequence[_Group]) -> list[Path]:
    """Name the groups by modules; the input has none."""
    paths = [[path_of(stage.name) for stage in _sized(group)] if group.kind == "map" else [] for group in groups]
    labels: list[Path] = []
    for number, group in enumerate(groups):
        if not number or not group.stages:
            labels.append(())
        elif group.kind == "map" and any(len(path) > 1 for path in paths[number]):
            others = [paths[other] for other in range(1, len(groups)) if other != number and paths[other]]
            labels.append(label_of(paths[number], others))
        else:
            labels.append(path_of(group.stages[0].name))
    return labels


def _named(maps: Sequence[DrawnMap], labels: Sequence[Path]) -> list[DrawnMap]:
    """Give maps their labels, without what all of them begin with."""
    those = [number for number, each in enumerate(maps) if number and each.kind == "map"]
    written = dict(zip(those, without_common([labels[number] for number in those]), strict=True))
    return [replace(each, label=printable(written.get(number, each.label))) for number, each in enumerate(maps)]


def _drawn(
    examination: Examination, drawn: Pyramid, group: _Group, label: Path, place: dict[str, int], number: int
) -> DrawnMap:
    network = examination.network
    names = tuple(stage.name for stage in group.stages)
    if group.kind == "unknown":
        return DrawnMap("unknown", names, printable(group.stages[0].operator))
    if group.kind == "vector":
        return DrawnMap(
            "vector", names, printable(".".join(label)), (1,) * len(network.spatial), _channels(group.stages[0])
        )
    sized = _sized(group)
    followed = [stage for stage in group.stages if _is_map(stage, group) and stage.receptive_field is not None]
    depth = len(label)
    of_label = [(stage, path) for stage in sized if (path := path_of(stage.name))[:depth] == label]
    # What the module itself calls, such as the concatenation at the end of a dense block, counts beside its parts.
    # Names without modules tell no more than where a box begins.
    named = [stage for stage, _ in of_label] if any(len(path) > depth for _, path in of_label) else sized
    blocks, noun = blocks_in([path_of(stage.name) for stage in sized], label)
    level = level_of_stages(network, examination.objects, followed, drawn) if followed else None
    # Behind a window that holds all of the map, nothing is told of the object.
    told = any(stage.name in examination.objects.footprints for stage in followed)
    tokens = group.extra_tokens >= 0
    return DrawnMap(
        "map",
        names,
        ".".join(label),
        group.size,
        _token_channels(named) if tokens else _channels(named[-1]),
        level.stride if level is not None else (),
        level if told else None,
        blocks,
        noun,
        joins=_joins(group.stages, place, number),
        tokens=group.extra_tokens,
        sees=sized[-1].receptive_field is not None,
    )


def _token_channels(stages: Sequence[Stage]) -> int:
    """Return the features of a token: of the last result of that form."""
    return next((stage.output_shape[2] for stage in reversed(stages) if len(stage.output_shape) == 3), 0)


def _joins(stages: Sequence[Stage], place: dict[str, int], number: int) -> int:
    """Count where two ways within a box meet again."""
    return sum(
        stage.operator in JOINS and sum(place.get(name) == number for name in stage.inputs) > 1 for stage in stages
    )


def _with_row(maps: list[DrawnMap], stages: int) -> list[DrawnMap]:
    """Let the blocks of a network that keeps one resolution be drawn one by one."""
    sizes = [each for each in maps[1:] if each.kind == "map"]
    if len(sizes) > 2:
        return maps
    return [
        replace(each, row=True)
        if each.kind == "map" and each.blocks >= LEAST_ROW and len(each.stages) >= ROW_SHARE * stages
        else each
        for each in maps
    ]


def _with_flags(
    network: Network,
    maps: list[DrawnMap],
    names: Sequence[str],
    several: set[int],
    place: dict[str, int],
    edges: set[tuple[int, int]],
) -> tuple[list[DrawnMap], int]:
    """Put flags where outputs are read, and say which map the last of them is.

    A map that is pooled or flattened into an output has no flag beside that of the output; of several that are
    concatenated, each has one.
    """
    heads = sorted({place[name] for name in names if name in place})
    outputs = {place[name]: name for name in network.outputs if name in place}
    ends = {number for number in outputs if maps[number].kind == "vector"}
    result = list(maps)
    for number in heads:
        alone = number not in several and any((number, end) in edges for end in ends)
        if maps[number].kind == "map" and not alone:
            told = (maps[number].stride_text, by(maps[number].size))
            result[number] = replace(maps[number], flag=tuple(text for text in told if text))
    flagged = [number for number, each in enumerate(result) if each.flag]
    for number, name in outputs.items():
        if number in flagged or (flagged and number not in ends and maps[number].kind != "unknown"):
            continue
        shape = network.stage(name).output_shape
        words = by([size for size in shape[1:] if size > 1] or [1]) if shape else "not known"
        result[number] = replace(maps[number], flag=("output", words))
    alive = [number for number, each in enumerate(maps) if each.level is not None and each.kind == "map" and number]
    last = ([number for number in heads if number in alive] or alive or [-1])[-1]
    return result, last if last > 0 and maps[last].sees else -1


def texts_of(maps: Sequence[DrawnMap]) -> Iterator[str]:
    """Yield each box in words."""
    for each in maps:
        if each.kind == "unknown":
            yield f"not known: {counted(len(each.stages), 'stage')} from {printable(each.stages[0])} on"
            continue
        told = [each.stride_text, each.blocks_text, f"output {' '.join(each.flag)}" if each.flag else ""]
        yield ", ".join(filter(None, (f"{each.label} {each.shape_text}", *told)))
