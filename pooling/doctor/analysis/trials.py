"""Changes of arguments that are tried before anybody is told of them, with what has to change beside them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..network import Graph, Network, NetworkError, Stage
from ..network.size_walk import SizeWalk
from .object_footprint import without_head

__all__ = ["OPTION", "Changes", "Trials", "as_options", "parallel"]

Changes = Mapping[str, Mapping[str, Any]]
MOST_ADDED = 8
"""Stages of parallel paths that may have to change as well."""


class Trials:
    """A network at one size whose arguments are changed, one trial after another.

    Parameters
    ----------
    graph : Graph
    network : Network
        What it is at that size.

    Examples
    --------
    >>> from pooling.doctor import read_graph
    >>> graph = read_graph("conv3x8@a conv3/2@b conv3@c conv1/2<a+c")
    >>> trials = Trials(graph, graph.infer((1, 3, 32, 32)))
    >>> trials.completed({"b": {"stride": 1}})
    {'b': {'stride': 1}, 'conv1': {'stride': 1}}
    """

    def __init__(self, graph: Graph, network: Network) -> None:
        self.network = network
        try:
            # What is behind the last map may want one size of it; the question is about the maps.
            self.graph = without_head(graph, network)
        except NetworkError:
            self.graph = graph
        self._walk = SizeWalk(self.graph)

    @property
    def macs(self) -> int:
        """Multiply-adds up to the last maps, without any change."""
        names = {node.name for node in self.graph.nodes}
        return sum(stage.macs for stage in self.network.stages if stage.name in names)

    def completed(self, changes: Changes) -> dict[str, dict[str, Any]] | None:
        """Return changes with those that parallel paths need too; None where the network does not work with them."""
        found = {name: dict(arguments) for name, arguments in changes.items()}
        error = self._failure(found)
        if error is None:
            return found
        if not any(stage.name == error.stage and stage.kind == "merge" for stage in self.network.stages):
            return None
        added = {stage.name: dict(each) for stage, each in parallel(self.network, found)}
        if not 0 < len(added) <= MOST_ADDED or self._failure({**found, **added}) is not None:
            return None
        for name in list(added):
            fewer = {other: each for other, each in added.items() if other != name}
            if self._failure({**found, **fewer}) is None:
                added = fewer
        return {**found, **added}

    def changed(self, changes: Changes) -> Network | None:
        """Return the network with other arguments, up to its last maps; None where it does not work."""
        try:
            return self.graph.edited(changes).infer(self.network.input_shape)
        except NetworkError:
            return None

    def _failure(self, changes: Changes) -> NetworkError | None:
        result = self._walk.at(self.network.input_shape, changes)
        return result if isinstance(result, NetworkError) else None


def parallel(network: Network, changes: Changes) -> Iterator[tuple[Stage, Mapping[str, Any]]]:
    """Yield the stages that step over a map as those of which the stride is changed do, with that change."""
    seen = set(changes)
    for name, arguments in changes.items():
        if "stride" not in arguments:
            continue
        strides, sizes = _steps(network.stage(name))
        for other in network.stages:
            if (
                other.kind in ("convolution", "pooling")
                and other.name not in seen
                and _steps(other) == (strides, sizes)
            ):
                seen.add(other.name)
                yield other, {"stride": arguments["stride"]}


def _steps(stage: Stage) -> tuple[list[int], list[int]]:
    return [axis.stride for axis in stage.axes], [axis.output_size for axis in stage.axes]


OPTION = re.compile(r"--set (?:'[^']*'|\"[^\"]*\")+")
"""One of these options in a sentence."""


def as_options(changes: Changes) -> str:
    """Write changes as options of the command.

    Examples
    --------
    >>> as_options({"pool1": {"stride": 1}, "conv1": {"kernel_size": (3, 1), "padding": ((0, 1), (0, 0))}})
    "--set 'pool1.stride=1' --set 'conv1.kernel_size=3x1' --set 'conv1.padding=0:1x0:0'"
    """
    return " ".join(
        f"--set {_quoted(f'{name}.{key}={_written(value)}')}"
        for name, each in changes.items()
        for key, value in each.items()
    )


def _quoted(text: str) -> str:
    """Write a word for a shell: always in quotes, so that options look alike."""
    return shlex.quote(text) if "'" in text else f"'{text}'"


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, Sequence) or isinstance(value, str):
        return str(value)
    return "x".join(":".join(map(str, each)) if isinstance(each, Sequence) else str(each) for each in value)
