"""What a rule is, what it looks at, and the table of all rules.

A rule is a function that looks at a `LintContext` and yields what it observed. What it says holds for the numbers at
hand, and every fix that changes an argument has been tried on the network.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from ..analysis.input_sizes import AxisSizes, declared_shape
from ..analysis.object_footprint import Objects, collapses
from ..analysis.trials import Trials, as_options
from ..network import Graph, Network, Stage
from ..words import Words

__all__ = [
    "RULES",
    "SEVERITIES",
    "Failure",
    "Finding",
    "LintContext",
    "LintRule",
    "Observation",
    "as_options",
    "find",
    "rule",
]

SEVERITIES = ("note", "warning", "error")
"""From the lightest to the gravest."""
EARLY_STAGES = 3
"""Stages, from the first on, whose stride is a candidate to be left out."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes
    ----------
    code : str
        Of the rule, such as ``"D201"``.
    severity : str
        ``"note"``, ``"warning"`` or ``"error"``.
    stage : str
        The stage that it is about; empty where it is about the whole network.
    message : str
        What is so, and why that matters, with the numbers.
    fixes : tuple of str
        What to try, in the order of practice.

    Examples
    --------
    >>> from pooling.doctor import examine
    >>> finding, *_ = examine("conv3x8/2@stem pool2 conv3 global fc10", (1, 3, 64, 64)).findings
    >>> finding.code, finding.severity, finding.stage
    ('D401', 'note', 'pool1')
    """

    code: str
    severity: str
    stage: str
    message: str
    fixes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The rule in a few words."""
        return RULES[self.code].title


@dataclass(frozen=True)
class Failure:
    """An input size with which the network does not work: the shape, why, and the stage that is to blame."""

    shape: tuple[int, ...]
    sentence: str
    stage: str


@dataclass(frozen=True)
class LintContext:
    """What rules look at; attributes as those of `Examination`."""

    graph: Graph
    network: Network
    objects: Objects
    sizes: tuple[AxisSizes, ...]
    task: str | None
    failure: Failure | None = None
    sample_rate: float | None = None

    @cached_property
    def words(self) -> Words:
        """What the input and its cells are called."""
        return Words(len(self.network.spatial), self.sample_rate)

    @cached_property
    def trials(self) -> Trials:
        """What changes of arguments are tried with."""
        return Trials(self.graph, self.network)

    @property
    def declared(self) -> str:
        """The shape that a model declares for its input, where that fixes its sizes; else empty."""
        return declared_shape(self.graph, self.network)

    @property
    def localises(self) -> bool:
        """Whether the task asks where things are."""
        return self.task in ("detection", "segmentation")

    @cached_property
    def stages(self) -> Mapping[str, Stage]:
        """The stages by name."""
        return {stage.name: stage for stage in self.network.stages}

    @cached_property
    def known_stages(self) -> tuple[Stage, ...]:
        """The stages of which shape, cost and receptive field are known: no verdict rests on the others (D901)."""
        return tuple(stage for stage in self.network.stages if not stage.culprit)

    def is_known(self, name: str) -> bool:
        """Whether a stage is one of `known_stages`, or none at all."""
        return name not in self.stages or not self.stages[name].culprit

    @cached_property
    def windowed(self) -> tuple[Stage, ...]:
        """The known stages with windows that slide forward over a map."""
        return tuple(each for each in self.known_stages if each.kind in ("convolution", "pooling") and each.axes)

    @cached_property
    def shrinking(self) -> tuple[Stage, ...]:
        """The stages that make the map smaller by their stride."""
        return tuple(
            stage
            for stage in self.windowed
            if any(axis.stride > 1 and axis.output_size > 1 for axis in stage.axes) and not collapses(stage)
        )

    def readers(self, name: str) -> list[Stage]:
        """List the stages that read a map, looking through those that work on each cell alone."""
        found = []
        for stage in self.network.stages:
            if name in stage.inputs:
                found += self.readers(stage.name) if stage.kind == "elementwise" else [stage]
        return found

    def leads_to(self, name: str, closed: Collection[str] = ()) -> set[str]:
        """Name the stages that a stage depends on, itself included, by ways that lead through none of the closed."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            each = waiting.pop()
            if each in self.stages and each not in found and each not in closed:
                found.add(each)
                waiting += self.stages[each].inputs
        return found

    def is_read_through(self, name: str, gates: Collection[str]) -> bool:
        """Whether every way from the input to a stage leads through one of the gates."""
        open_ways = self.leads_to(name, gates)
        return name in gates or not any(self.network.input_name in self.stages[each].inputs for each in open_ways)


class Observation(NamedTuple):
    """What a rule yields: a finding without its code."""

    severity: str
    stage: str
    message: str
    fixes: tuple[str, ...] = ()


Look = Callable[[LintContext], Iterator[Observation]]


@dataclass(frozen=True)
class LintRule:
    """One rule.

    Attributes
    ----------
    code : str
        Stable, such as ``"D201"``; the hundreds are the subject.
    title : str
        What it is about in a few words.
    text : str
        What it means and when it is told, as docs/doctor.md has it.
    look : callable
        The function that looks for it.
    """

    code: str
    title: str
    text: str = field(repr=False)
    look: Look = field(repr=False)


RULES: dict[str, LintRule] = {}
"""All rules by their codes."""


def rule(code: str, title: str, text: str) -> Callable[[Look], Look]:
    """Enter a rule into the table."""

    def enter(look: Look) -> Look:
        RULES[code] = LintRule(code, title, inspect.cleandoc(text), look)
        return look

    return enter


def find(context: LintContext) -> tuple[Finding, ...]:
    """Look for everything, and put the gravest first; of one severity, in the order of the codes and the stages."""
    found = [Finding(each.code, *observation) for each in RULES.values() for observation in each.look(context)]
    return tuple(sorted(found, key=lambda finding: (-SEVERITIES.index(finding.severity), finding.code)))
