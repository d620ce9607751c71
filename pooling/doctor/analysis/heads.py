"""The heads of a network: the maps that its outputs are read from, one for each grid, and the objects they serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from ..network import Network, Stage
from .object_footprint import Objects, maps

__all__ = ["Head", "heads_of"]

LAST_PIXEL = 8
"""A head serves objects up to so many of its strides before the next coarser one does, by the ranges of FCOS."""


@dataclass(frozen=True)
class Head:
    """The output feature maps that share a grid.

    Attributes
    ----------
    stages : tuple of str
        The last maps on the way to an output; several where boxes and classes are read from maps of their own.
    stride : tuple of Fraction
        Effective stride: pixels of the input from cell to cell.
    resolved_stride : tuple of Fraction
        The same of the coarsest grid on the finest path to it, which upsampling does not make finer.
    output_size : tuple of int
        Cells on each spatial axis.
    receptive_field : tuple of int
        Pixels that a cell depends on; the input where a branch shows it the whole.
    smallest : int
        Pixels of an object that covers one cell of `resolved_stride` on every axis.
    largest : int
        Pixels of an object that the receptive field still covers, the input at most.
    assigned : tuple of int
        Of these, the sizes that fall to this head where each object is given to one head only.
    use : str
        What becomes of the map: ``"output"``, ``"pooled to one cell"``, ``"flattened into a dense layer"``,
        ``"reshaped and concatenated"``, ``"reshaped"`` or ``"not known"``.
    used_by : str
        The stage that does so; empty for an output.
    """

    stages: tuple[str, ...]
    stride: tuple[Fraction, ...]
    resolved_stride: tuple[Fraction, ...]
    output_size: tuple[int, ...]
    receptive_field: tuple[int, ...]
    smallest: int
    largest: int
    assigned: tuple[int, int]
    use: str
    used_by: str


def heads_of(network: Network, objects: Objects) -> tuple[Head, ...]:
    """Find the heads of a network.

    Parameters
    ----------
    network : Network
        At some input size.
    objects : Objects
        What `follow_object` returns for it.

    Returns
    -------
    tuple of Head
        The finest first.

    Notes
    -----
    A head *can* serve objects from one cell, below which an object shares its cell with what lies beside it, up to
    the receptive field, beyond which no cell depends on all of the object. Of several heads, each object is *assigned*
    to one, as FCOS does (Tian, Shen, Chen and He 2019, section 3.2: up to 64 pixels at stride 8, 128 at stride 16, and
    so on): a head takes objects of up to 8 strides, the next coarser one those from there on, and the coarsest all the
    rest.

    Examples
    --------
    >>> from pooling.doctor import read
    >>> from pooling.doctor.analysis.object_footprint import follow_object
    >>> network = read("conv3x8/2@a conv3x8/2@b", (1, 3, 32, 32))
    >>> (head,) = heads_of(network, follow_object(network, (8, 8)))
    >>> head.stages, head.output_size, head.smallest, head.largest
    (('b',), (8, 8), 4, 7)
    """
    stages = {stage.name: stage for stage in network.stages}
    grids: dict[tuple[tuple[Fraction, ...], tuple[int, ...]], list[str]] = {}
    for name in dict.fromkeys(_written(name, stages) for name in objects.heads):
        field = stages[name].receptive_field
        if field is not None and name in objects.footprints:
            grids.setdefault((field.stride, stages[name].output_size), []).append(name)
    order = sorted(grids, key=lambda grid: (max(grid[0]), [-size for size in grid[1]]))
    readers: dict[str, list[Stage]] = {}
    for stage in network.stages:
        for name in stage.inputs:
            readers.setdefault(name, []).append(stage)
    living = maps(network)
    found = []
    least = 0
    for place, grid in enumerate(order):
        names = grids[grid]
        resolved = min((_resolved(objects, name) for name in names), key=max)
        seen = [_seen(stages[name], network) for name in names]
        smallest = max(-(-step.numerator // step.denominator) for step in resolved)
        largest = min(max(min(field) for field in seen), min(network.spatial_sizes))
        first = max(smallest, least)
        last = int(LAST_PIXEL * max(grid[0])) if place + 1 < len(order) else largest
        least = max(least, min(last, largest))
        use, used_by = _use(names, network, readers, living)
        found.append(
            Head(
                tuple(names),
                grid[0],
                resolved,
                grid[1],
                max(seen, key=min),
                smallest,
                largest,
                (first, min(last, largest)),
                use,
                used_by,
            )
        )
    return tuple(found)


def _written(name: str, stages: Mapping[str, Stage]) -> str:
    """Name the stage that wrote a map whose axes or channels were only put elsewhere behind it."""
    while stages[name].kind == "reshape" and len(stages[name].inputs) == 1:
        before = stages.get(stages[name].inputs[0])
        if before is None or before.receptive_field != stages[name].receptive_field:
            break
        if before.output_size != stages[name].output_size:
            break
        name = before.name
    return name


def _resolved(objects: Objects, name: str) -> tuple[Fraction, ...]:
    return tuple(
        Fraction(size) / each for size, each in zip(objects.size, objects.footprints[name].resolved, strict=True)
    )


def _seen(stage: Stage, network: Network) -> tuple[int, ...]:
    """Return the receptive field of a map, the whole input where a branch shows it that."""
    field = stage.receptive_field
    assert field is not None
    return network.spatial_sizes if field.context else field.size


def _use(names: list[str], network: Network, readers: Mapping[str, list[Stage]], living: set[str]) -> tuple[str, str]:
    """Say what becomes of maps on the way to the outputs, and where."""
    # What was only put elsewhere behind a map is that map.
    stages = {stage.name: stage for stage in network.stages}
    names = [name for name in stages if name in living and _written(name, stages) in names]
    if any(name in network.outputs for name in names):
        return "output", ""
    uses = [_use_of(name, readers, living) for name in names]
    # Of a map that is read as it is, and pooled for a coarser one too, the former makes it a head.
    return next((use for use in uses if use[0] not in ("pooled to one cell", "not known")), uses[0])


def _use_of(name: str, readers: Mapping[str, list[Stage]], living: set[str]) -> tuple[str, str]:
    """Say what becomes of one map, by the first stage behind it that decides that."""
    waiting, seen, behind = [name], {name}, list[Stage]()
    while waiting:
        for stage in readers.get(waiting.pop(0), []):
            # Other maps have heads of their own.
            if stage.name not in seen and stage.name not in living:
                seen.add(stage.name)
                behind.append(stage)
                waiting.append(stage.name)
    for stage in behind:
        windows = stage.kind in ("pooling", "convolution") and bool(stage.axes)
        if stage.kind == "global" or (windows and all(axis.is_global for axis in stage.axes)):
            return "pooled to one cell", stage.name
        if stage.kind in ("unknown", "transposed", "resize") or windows:
            # It still is a map, of which no more is known than that.
            return "not known", stage.name
        if stage.kind == "dense":
            return "flattened into a dense layer", stage.name
        if stage.kind == "merge" and stage.operator == "Concat":
            return "reshaped and concatenated", stage.name
    return ("reshaped", behind[0].name) if behind else ("not known", "")
