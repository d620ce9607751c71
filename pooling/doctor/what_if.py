"""The same network with other arguments, or another one, beside the old one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pooling.reporting.formats import joined
from pooling.signs import printable, short_repr
from pooling.tool_arguments import instance_of, words_of

from .analysis.object_footprint import without_head
from .analysis.trials import Trials, as_options
from .examination import Examination, examine
from .lint import SEVERITIES, Finding
from .network import Graph, Network, NetworkError, Stage

__all__ = ["WhatIf", "find_stage", "parse_changes", "what_if"]

ARGUMENTS = {
    "kernel_size": ("kernel", "kernel_shape", "k"),
    "stride": ("strides", "s"),
    "padding": ("pads", "pad", "p"),
    "dilation": ("dilations", "d"),
    "ceil_mode": ("ceil", "c"),
}
"""What can be set, and what else it may be called."""
WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
ASSUMED = "D902"
SHOWN = 6
"""Stage names that an error sentence lists."""


@dataclass(frozen=True)
class WhatIf:
    """Two examinations side by side.

    Attributes
    ----------
    before, after : Examination
    changes : mapping
        Arguments that differ, by the name of a stage; empty where it is another network.
    """

    before: Examination
    after: Examination
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def new(self) -> tuple[Finding, ...]:
        """What was found only after."""
        return _without(self.after.findings, self.before.findings)

    @property
    def gone(self) -> tuple[Finding, ...]:
        """What was found only before."""
        return _without(self.before.findings, self.after.findings)

    @property
    def heading(self) -> str:
        """What is asked, behind "what if"."""
        changes = [f"{name}.{key} = {value}" for name, each in self.changes.items() for key, value in each.items()]
        if changes:
            return ", ".join(changes)
        network = self.after.network
        other = "the other list of layers" if network.name == "layers" else network.title
        return f"{other} took its place"

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed of both networks, or of the one after the change."""
        return tuple(dict.fromkeys((*self.before.network.notes, *self.after.network.notes)))

    @property
    def turns(self) -> tuple[tuple[str, str], ...]:
        """What becomes of the findings: a word for each, and a sentence."""
        gone, new = list(self.gone), list(self.new)
        turns = []
        for old in self.gone:
            now = next((each for each in new if _subject(each) == _subject(old)), None)
            if now is not None:
                gone.remove(old)
                new.remove(now)
                lighter = SEVERITIES.index(now.severity) < SEVERITIES.index(old.severity) or (
                    now.severity == old.severity and now.code > old.code
                )
                sentence = f"{_named(old)} becomes {_named(now)}: {now.message}"
                turns.append(("milder" if lighter else "graver", sentence))
        turns += [("no longer", f"{_named(each)}: {each.title}") for each in gone]
        turns += [("new", f"{_named(each)}: {each.message}") for each in new]
        return tuple(turns)

    @property
    def pairs(self) -> Iterator[tuple[Stage | None, Stage | None]]:
        """Yield the stages in order, those of the same name together."""
        old, new = self.before.network.stages, self.after.network.stages
        match = difflib.SequenceMatcher(None, [each.name for each in old], [each.name for each in new], autojunk=False)
        for operation, a, b, c, d in match.get_opcodes():
            if operation == "equal":
                yield from zip(old[a:b], new[c:d], strict=True)
            else:
                yield from ((each, None) for each in old[a:b])
                yield from ((None, each) for each in new[c:d])


SAME_SUBJECT = {"D202": "D201"}
"""Two degrees of one thing: the object has less than one cell, or less than two."""


def _subject(finding: Finding) -> tuple[str, str]:
    """Tell what a finding is about; where an object gets too small is another stage with other strides."""
    code = SAME_SUBJECT.get(finding.code, finding.code)
    return code, "" if code == "D201" else finding.stage


def _named(finding: Finding) -> str:
    place = f" at {finding.stage}" if finding.stage else ""
    return f"{finding.code} {finding.severity}{place}"


def _without(findings: Iterable[Finding], others: Iterable[Finding]) -> tuple[Finding, ...]:
    known = {(finding.code, finding.stage, finding.severity) for finding in others}
    # What was assumed is told of both, and becomes neither better nor worse.
    return tuple(
        each for each in findings if (each.code, each.stage, each.severity) not in known and each.code != ASSUMED
    )


def what_if(before: Examination, other: Mapping[str, Mapping[str, Any]] | Any) -> WhatIf:
    """Examine a network again, with other arguments, or examine another one in the same way.

    Parameters
    ----------
    before : Examination
        What there is.
    other : mapping, path, str, onnx.ModelProto, Sequential or Layer
        By the name of a stage, arguments by name, such as ``{"pool1": {"stride": 1}}``; or another network.

    Returns
    -------
    WhatIf

    Raises
    ------
    NetworkError
        If the network does not work any more; the sentence says what to change as well, where that is known.

    Examples
    --------
    >>> from pooling.doctor import examine
    >>> before = examine("conv3x8@a pool2@b pool2@c", object_size=4)
    >>> result = what_if(before, {"b": {"stride": 1}})
    >>> before.objects.smallest, result.after.objects.smallest
    ((4, 4), (2, 2))
    >>> [finding.code for finding in result.gone]
    ['D202', 'D401']
    """
    instance_of("what_if", "before", before, Examination, "give what pooling.doctor.examine returns")
    given: dict[str, Any] = {
        "object_size": before.object_size,
        "task": before.task,
        "ignore": before.ignored,
        "image": before.image,
        "objects": before.object_set,
    }
    given["sample_rate"] = before.sample_rate
    if not isinstance(other, Mapping):
        return WhatIf(before, examine(other, before.network.input_shape, **given))
    graph, shape = replace(before.graph, notes=before.network.notes), before.network.input_shape
    try:
        return WhatIf(before, examine(graph, shape, changes=other, **given), other)
    except NetworkError as error:
        body = _body(graph, before.network, error)
        if body is None:
            raise NetworkError(f"{error}{_remedy(before, other, error)}", error.stage) from error
        # What is behind the last map wants one size of it; the question is about the maps.
        before = examine(body, shape, **given)
    try:
        return WhatIf(before, examine(body, shape, changes=other, **given), other)
    except NetworkError as error:
        raise NetworkError(f"{error}{_remedy(before, other, error)}", error.stage) from error


def _body(graph: Graph, network: Network, error: NetworkError) -> Graph | None:
    """Return the graph without its head, if it is the head that fails."""
    try:
        body = without_head(graph, network)
    except NetworkError:
        return None
    if not error.stage or any(node.name == error.stage for node in body.nodes):
        return None
    outputs = joined(body.infer(network.input_shape).outputs)
    note = f"what is behind {outputs} is left out, because it does not fit any more: {error}"
    return replace(body, notes=(*body.notes, note))


def _remedy(before: Examination, changes: Mapping[str, Mapping[str, Any]], error: NetworkError) -> str:
    """Name the stages of parallel paths that have to change in the same way, if that helps."""
    extended = Trials(before.graph, before.network).completed(changes)
    more = "" if extended is None else as_options({k: each for k, each in extended.items() if k not in changes})
    return f"; the paths that meet there must change together: add {more}" if more else ""


def parse_changes(network: Network, texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read changes as they are typed.

    Parameters
    ----------
    network : Network
        What is to be changed.
    texts : sequence of str
        Such as ``"pool1.stride=1"``, ``"conv1.padding=1x2"``, ``"pool1.padding=0:1"`` (begin and end) or
        ``"pool1.ceil_mode=true"``. A part of a stage's name will do if no other stage has it.

    Raises
    ------
    ValueError
        If that is not understood.

    Examples
    --------
    >>> from pooling.doctor import read
    >>> parse_changes(read("conv7/2p3@stem pool3/2p1@pool1"), ["pool1.stride=1", "stem.kernel=5x3"])
    {'pool1': {'stride': 1}, 'stem': {'kernel_size': (5, 3)}}
    """
    changes: dict[str, dict[str, Any]] = {}
    instance_of("parse_changes", "network", network, Network, "give examination.network")
    for text in words_of("parse_changes", "texts", texts, "pool1.stride=1"):
        match = re.fullmatch(r"(.+)\.(\w+)\s*=\s*(.+)", text.strip())
        if match is None:
            example = network.stages[0].name if network.stages else "pool1"
            raise ValueError(
                f"--set {short_repr(text)} must be a stage, an argument and a value, such as {example}.stride=1"
            )
        stage = find_stage(network, match[1], f"--set {text!r}")
        called = match[2].lower()
        argument = next((name for name, others in ARGUMENTS.items() if called in (name, *others)), None)
        if argument is None:
            raise ValueError(
                f"--set {text!r}: {match[2]!r} cannot be set; what can be set of a stage is {', '.join(ARGUMENTS)}"
            )
        changes.setdefault(stage.name, {})[argument] = _value(text, argument, match[3].strip(), len(stage.axes))
    return changes


def _value(text: str, argument: str, written: str, dimensions: int) -> Any:
    if argument == "ceil_mode":
        if written.lower() not in (*WORDS, "0", "1"):
            raise ValueError(f"--set {text!r}: {written!r} must be true or false")
        return WORDS.get(written.lower(), written == "1")
    if argument == "padding" and re.fullmatch(r"[a-z_]+", written):
        return written
    entries: list[int | tuple[int, int]] = []
    for entry in re.split(r"[x×,]", written.strip("()[]").replace(" ", "")):
        if re.fullmatch(r"\d+", entry):
            entries.append(int(entry))
        elif argument == "padding" and re.fullmatch(r"\d+:\d+", entry):
            begin, end = map(int, entry.split(":"))
            entries.append((begin, end))
        else:
            raise ValueError(
                f"--set {text!r}: {written!r} must be a number, or one for each axis, such as {argument}=2 or 2x1"
            )
    if len(entries) == 1 and isinstance(entries[0], int):
        return entries[0]
    if len(entries) == 1:
        entries *= max(1, dimensions)
    if any(isinstance(entry, tuple) for entry in entries):
        return tuple(entry if isinstance(entry, tuple) else (entry, entry) for entry in entries)
    return tuple(entries)


def find_stage(network: Network, name: str, where: str) -> Stage:
    """Return the stage of a name, or of a part of one that only one stage has.

    Raises
    ------
    ValueError
        If there is no such stage, or more than one.
    """
    instance_of("find_stage", "network", network, Network, "give examination.network")
    name = str.__str__(instance_of("find_stage", "name", name, str, "write the name of a stage"))
    stages = {stage.name: stage for stage in network.stages}
    names = list(stages)
    wanted = name.strip()
    for found in (
        [each for each in names if each == wanted],
        [each for each in names if printable(each) == wanted],  # as reports show it
        [each for each in names if each.lower() == wanted.lower()],
        [each for each in names if re.search(rf"(?:^|[/._:]){re.escape(wanted.lower())}(?:$|[/._:])", each.lower())],
        [each for each in names if wanted.lower() in each.lower()],
    ):
        windowed = [each for each in found if stages[each].axes]
        candidates = windowed or found
        if len(candidates) == 1:
            return stages[candidates[0]]
        if candidates:
            shown = ", ".join(candidates[:SHOWN]) + (", ..." if len(candidates) > SHOWN else "")
            raise ValueError(
                f"{where}: {wanted!r} is a part of {len(candidates)} names: {shown}; write one of them in full"
            )
    near = (
        difflib.get_close_matches(wanted, names, SHOWN, 0.4)
        or [stage.name for stage in network.stages if stage.axes and any(axis.stride > 1 for axis in stage.axes)]
        or names
    )
    shown = ", ".join(near[:SHOWN]) + (", ..." if len(near) > SHOWN else "")
    raise ValueError(f"{where}: there is no stage {short_repr(wanted)}; do you mean {shown}?")
