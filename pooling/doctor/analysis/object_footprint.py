"""How many cells a small object covers at every stage, and where it is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from ..network import Graph, Network, NetworkError, Stage

__all__ = ["Footprint", "Objects", "collapses", "follow_object", "maps", "output_feature_maps", "without_head"]

Cells = tuple[Fraction, ...]


@dataclass(frozen=True)
class Footprint:
    """An object on the grid of one stage.

    Attributes
    ----------
    stage : str
        The stage's name.
    cells : tuple of Fraction
        How many of its cells the object covers, for each spatial axis: pixels divided by the effective stride.
    resolved : tuple of Fraction
        The same for the coarsest grid on the finest path that leads here. Upsampling gives more cells, but these are
        not resolved again; a skip connection does that.
    """

    stage: str
    cells: Cells
    resolved: Cells


@dataclass(frozen=True)
class Objects:
    """What becomes of an object of some size.

    Attributes
    ----------
    size : tuple of int
        Pixels of the object, for each spatial axis.
    footprints : dict of str to Footprint
        Of every stage that still is a map.
    heads : tuple of str
        The output feature maps: outputs themselves, or what is pooled to one cell, flattened or put
        through a dense layer on the way to them.
    below_two, below_one : str or None
        The first stage behind which the object covers less than two cells, or one.
    smallest : tuple of int
        Pixels that an object needs for one cell of the finest head; empty where there is no head, or where some are
        not known.
    unknown : tuple of str
        The outputs whose maps are not known, because an operator on the way was not understood.
    """

    size: tuple[int, ...]
    footprints: Mapping[str, Footprint]
    heads: tuple[str, ...]
    below_two: str | None
    below_one: str | None
    smallest: tuple[int, ...]
    unknown: tuple[str, ...] = ()

    @property
    def at_heads(self) -> Footprint | None:
        """The footprint at the head that resolves most; None where some heads are not known."""
        return None if self.unknown else self.at_known_heads

    @property
    def at_known_heads(self) -> Footprint | None:
        """The footprint at the known head that resolves most; others may lie behind what was not understood."""
        return max((self.footprints[head] for head in self.heads), key=lambda each: min(each.resolved), default=None)


def collapses(stage: Stage) -> bool:
    """Whether a stage leaves no map: one window holds all of it, or rows and columns end in one list.

    Of a stage whose receptive field was lost on the way (`Stage.is_lost`) that is not known, and this is False.
    """
    if stage.kind == "global" or stage.receptive_field is None:
        return not stage.is_lost
    return bool(stage.axes) and all(axis.is_global for axis in stage.axes) and any(a.input_size > 1 for a in stage.axes)


def maps(network: Network) -> set[str]:
    """Name what still is a map: the input, and the stages behind it up to those that collapse it or are lost.

    A list of positions, such as the tokens of a transformer, is one from where they are related to each other on; a map
    that is only flattened is not.
    """
    found, flattened, lists = {network.input_name}, set[str](), set[str]()
    fields = {stage.name: stage.receptive_field for stage in network.stages}
    for stage in network.stages:
        if collapses(stage) or stage.is_lost or (found.isdisjoint(stage.inputs) and flattened.isdisjoint(stage.inputs)):
            continue
        before = [fields.get(name) for name in stage.inputs]
        if stage.grid and stage.receptive_field in before and lists.isdisjoint(stage.inputs):
            flattened.add(stage.name)
            continue
        found.add(stage.name)
        if stage.grid:
            lists.add(stage.name)
    return found


def output_feature_maps(network: Network) -> tuple[str, ...]:
    """Name the output feature maps of a network, in the order of the stages."""
    found, _ = _heads(network)
    return tuple(stage.name for stage in network.stages if stage.name in found)


def _heads(network: Network) -> tuple[set[str], tuple[str, ...]]:
    """Return the output feature maps that are known, and the outputs of which some are not."""
    living = maps(network)
    stages = {stage.name: stage for stage in network.stages}
    found, unknown = set(), []
    for output in network.outputs:
        seen, waiting, lost = set(), [output], False
        while waiting:
            name = waiting.pop()
            if name in seen or name not in stages:
                continue
            seen.add(name)
            if name in living:
                found.add(name)
            elif stages[name].is_lost:
                # What is in front of it may be a head, or any map behind it that nobody knows.
                lost = True
            else:
                waiting += stages[name].inputs
        if lost:
            unknown.append(output)
    return found, tuple(unknown)


def follow_object(network: Network, size: Sequence[int]) -> Objects:
    """Follow an object through a network.

    Parameters
    ----------
    network : Network
        At some input size.
    size : sequence of int
        Pixels of the object, for each spatial axis.

    Returns
    -------
    Objects

    Examples
    --------
    >>> from pooling.doctor import read
    >>> objects = follow_object(read("conv3/2 pool2 conv3/2", (1, 3, 64, 64)), (8, 8))
    >>> [str(footprint.cells[0]) for footprint in objects.footprints.values()]
    ['4', '2', '1']
    """
    living = maps(network)
    one = tuple(Fraction(1) for _ in size)
    coarsest = {network.input_name: one}
    footprints: dict[str, Footprint] = {}
    for stage in network.stages:
        field = stage.receptive_field
        if field is None or stage.name not in living or len(field.stride) != len(size):
            continue
        paths = [coarsest[name] for name in stage.inputs if name in coarsest]
        finest = min(paths, key=max, default=one)
        coarsest[stage.name] = tuple(map(max, field.stride, finest))
        footprints[stage.name] = Footprint(
            stage.name, _divided(size, field.stride), _divided(size, coarsest[stage.name])
        )
    found, unknown = _heads(network)
    heads = tuple(name for name in footprints if name in found)
    needed = min((coarsest[name] for name in heads), key=max, default=()) if not unknown else ()
    return Objects(
        tuple(size),
        footprints,
        heads,
        _first_below(footprints, 2),
        _first_below(footprints, 1),
        tuple(-(-each.numerator // each.denominator) for each in needed),
        unknown,
    )


def without_head(graph: Graph, network: Network) -> Graph:
    """Return the graph up to its output feature maps, so that it works where the head does not fit.

    Parameters
    ----------
    graph : Graph
    network : Network
        What it is at some size.

    Raises
    ------
    NetworkError
        If it has no such maps.
    """
    heads = output_feature_maps(network)
    if not heads:
        raise NetworkError(f"{network.name} has no output feature maps")
    names = [node.name for node in graph.nodes]
    if not set(heads) <= set(names):
        raise NetworkError(f"{network.name} has output feature maps inside of an If or a Loop")
    last = max(names.index(head) for head in heads)
    outputs = tuple(graph.nodes[names.index(head)].outputs[0] for head in heads)
    return replace(graph, nodes=graph.nodes[: last + 1], outputs=outputs)


def _divided(size: Sequence[int], steps: Cells) -> Cells:
    return tuple(Fraction(pixels) / step for pixels, step in zip(size, steps, strict=True))


def _first_below(footprints: Mapping[str, Footprint], cells: int) -> str | None:
    return next((name for name, each in footprints.items() if min(each.resolved) < cells), None)
