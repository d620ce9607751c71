"""What a validation found, as objects and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from pooling.geometry import Axis
from pooling.layer import Layer
from pooling.onnx_models.graph import is_default
from pooling.signs import counted

from ..benchmark import Times
from ..inputs.case import Case
from ..inputs.plan import PlannedCase
from ..pooling_nodes import PoolingNode
from ..reduce import Smallest
from ..runners.results import Result
from ..verdicts import Kind, Verdict

__all__ = ["FAIL_ON", "Finding", "ModelReport", "NodeReport", "RepairSummary", "Report", "RuntimeSummary", "alike"]

DISTURBED = 2.0
"""A median so many times the fastest call is the work of something else on the machine."""
FAIL_ON = ("differs", "special", "refuses", "crashes")
"""What may make the exit code 1: answers that differ, those that differ on special numbers only, no answer at all."""


@dataclass(frozen=True, eq=False)
class Finding:
    """That a runtime gives a node another answer than the oracle does, or none.

    Attributes
    ----------
    path : str
        The model.
    node, operator, opset
        The node: its name, its ONNX operator, and the version of the operator set.
    planned : PlannedCase
        The node and its numbers; where several cases brought out the same, the first of them.
    runtime, version : str
        Who answered.
    verdict : Verdict
        How the answer differs.
    rule : str or None
        Which of `pooling.validation.rules.RULES` is broken; None where that is not clear.
    expected, actual : Result
        What the oracle and the runtime say.
    cases : int
        How many cases brought out the same.
    upstream : tuple of str
        Where others report it: ``"openvino#35935"``.
    remedy : str
        What to do about it, as far as that was shown to help.
    smallest : Smallest or None
        The smallest input that shows it, where that was looked for
        (`pooling.validation.reduce_findings.with_smallest`).
    fusion : str
        Where the node alone comes out right, what it is fused with; the verdict is on what comes of them together then.
    """

    path: str
    node: str
    operator: str
    opset: int
    planned: PlannedCase
    runtime: str
    version: str
    verdict: Verdict
    rule: str | None = None
    expected: Result = field(default_factory=Result)
    actual: Result = field(default_factory=Result)
    cases: int = 1
    upstream: tuple[str, ...] = ()
    remedy: str = ""
    smallest: Smallest | None = None
    fusion: str = ""

    @property
    def case(self) -> Case:
        """The node and its numbers."""
        return self.planned.case

    @property
    def special(self) -> bool:
        """Whether it takes numbers that a healthy network does not have: NaN, infinities, extremes."""
        return self.planned.special

    @property
    def alone(self) -> bool:
        """Whether it is about one node of ONNX itself, whose input can be made smaller and be drawn."""
        return not self.fusion and is_default(self.case.node.domain)

    @property
    def counts_as(self) -> str:
        """Which of `FAIL_ON` it is."""
        if self.verdict.kind in (Kind.REFUSES, Kind.CRASHES):
            return str(self.verdict.kind)
        return "special" if self.special else "differs"

    @property
    def sentence(self) -> str:
        """The finding in a sentence."""
        where = f"{self.runtime} {self.version}"
        match self.verdict.kind:
            case Kind.REFUSES:
                return f"{where} refuses node {self.node}: {self.verdict.sentence}"
            case Kind.CRASHES:
                return f"{where} crashes at node {self.node}: it {self.verdict.sentence}"
        if self.fusion:
            return f"{where} fuses node {self.node} with {self.fusion} and differs: {self.verdict.sentence}"
        broken = f"breaks {self.rule}" if self.rule else "differs"
        return f"{where} {broken} at node {self.node}: {self.verdict.sentence}"


def alike(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Put findings together that tell the same of a runtime: one rule broken in one way, wherever that is.

    Parameters
    ----------
    findings : iterable of Finding
        What was found.

    Returns
    -------
    list of list of Finding
        Each with at least one; in the order of the first of them.
    """
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for each in findings:
        silent = each.counts_as in ("refuses", "crashes")
        # Without a rule, nothing says that two findings have one cause; nodes that are alike give equal sentences.
        cause = each.verdict.sentence if silent or each.rule is None else each.rule
        groups.setdefault((each.runtime, each.counts_as, each.verdict.kind, cause, each.fusion), []).append(each)
    return list(groups.values())


@dataclass(frozen=True)
class RuntimeSummary:
    """What a runtime makes of a node.

    Attributes
    ----------
    version : str
        Of the runtime.
    cases : dict of str to int
        How many cases came out as each of `Kind`.
    findings : dict of str to int
        How many findings count as each of `FAIL_ON`.
    elements : int
        Compared with the oracle's on ordinary numbers.
    largest_difference, largest_ulp : float
        Of all elements where ordinary numbers came out right, absolute and in units of the last place.
    share_of_bound : float or None
        The largest difference in units of what rounding may cause at that element; None where nothing may differ.
    reason : str
        Why there was no answer, in the runtime's words.
    """

    version: str
    cases: dict[str, int] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)
    elements: int = 0
    largest_difference: float = 0.0
    largest_ulp: float = 0.0
    share_of_bound: float | None = None
    reason: str = ""

    @property
    def verdict(self) -> str:
        """The worst of its findings, or "agrees"."""
        order = ("crashes", "differs", "special", "refuses")
        return next((name for name in order if self.findings.get(name)), "agrees" if self.cases else "not asked")

    @property
    def answered(self) -> bool:
        """Whether it had an answer to anything."""
        return any(count for kind, count in self.cases.items() if kind not in (Kind.REFUSES, Kind.CRASHES))

    def with_more(self, other: RuntimeSummary) -> RuntimeSummary:
        """Add what the runtime makes of more cases."""
        shares = [share for share in (self.share_of_bound, other.share_of_bound) if share is not None]
        return RuntimeSummary(
            self.version,
            dict(Counter(self.cases) + Counter(other.cases)),
            dict(Counter(self.findings) + Counter(other.findings)),
            max(self.elements, other.elements),
            max(self.largest_difference, other.largest_difference),
            max(self.largest_ulp, other.largest_ulp),
            max(shares, default=None),
            self.reason or other.reason,
        )

    @classmethod
    def of(cls, version: str, verdicts: list[tuple[PlannedCase, Verdict]], findings: list[Finding]) -> RuntimeSummary:
        """Sum up the verdicts on a runtime's answers."""
        ordinary = [verdict for planned, verdict in verdicts if not planned.special]
        agreeing = [verdict for verdict in ordinary if verdict.kind is Kind.AGREES]
        shares = [verdict.share for verdict in agreeing if verdict.share is not None]
        silent = [verdict for _, verdict in verdicts if verdict.kind in (Kind.REFUSES, Kind.CRASHES)]
        return cls(
            version,
            dict(Counter(str(verdict.kind) for _, verdict in verdicts)),
            dict(Counter(finding.counts_as for finding in findings)),
            max((verdict.elements for verdict in ordinary), default=0),
            max((verdict.absolute or 0.0 for verdict in agreeing), default=0.0),
            max((verdict.ulp or 0.0 for verdict in agreeing), default=0.0),
            max(shares, default=None),
            silent[0].sentence if silent else "",
        )


@dataclass(frozen=True)
class NodeReport:
    """What came of one node.

    Attributes
    ----------
    node : PoolingNode
        The node and its place.
    layer : Layer or None
        What computes it here; None where that could not be found out.
    summaries : dict of str to RuntimeSummary
        By runtime; empty where nobody was asked.
    findings : tuple of Finding
        Where they differ from the oracle.
    times : dict of str to Times
        Of ``"pooling"`` and ``"onnxruntime"``; empty where nothing was measured.
    problem : str or None
        Why the node could not be compared, as a sentence's end.
    """

    node: PoolingNode
    layer: Layer | None = None
    summaries: Mapping[str, RuntimeSummary] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    times: Mapping[str, Times] = field(default_factory=dict)
    problem: str | None = None

    @property
    def verdict(self) -> str:
        """What came of it, in a word: a runtime that differs counts for more than what could not be asked besides."""
        if self.differs:
            return "differs"
        return "not run" if self.problem is not None or not self.summaries else "equal"

    @property
    def compared(self) -> bool:
        """Whether somebody's answer was held against the oracle's."""
        return self.verdict != "not run"

    @property
    def differs(self) -> bool:
        """Whether some runtime gives another answer on ordinary numbers, or on those that the model really has."""
        return any(finding.counts_as == "differs" for finding in self.findings)

    @property
    def largest_difference(self) -> float:
        """The largest difference that rounding explains."""
        return max((summary.largest_difference for summary in self.summaries.values()), default=0.0)

    @property
    def share_of_bound(self) -> float | None:
        """The largest difference in units of what rounding may cause at that element."""
        shares = [each.share_of_bound for each in self.summaries.values() if each.share_of_bound is not None]
        return max(shares, default=None)

    @property
    def windows(self) -> tuple[Axis, ...] | None:
        """The windows on each spatial axis, where the node says something about them and they are known."""
        if self.layer is None or "dilation" not in self.layer.arguments:
            return None
        return self.layer.axes(self.node.input_shape)

    @property
    def output_shape(self) -> tuple[int, ...] | None:
        """The shape of the result, where the layer is known."""
        if self.layer is None:
            return None
        if self.layer.operator in ("max_roi_pool", "roi_align"):
            return None  # as many as there are regions
        return self.layer.output_shape(self.node.input_shape)

    @property
    def speedup(self) -> float | None:
        """How many times as long onnxruntime takes."""
        return self.times["onnxruntime"].median / self.times["pooling"].median if self.times else None


def also_at(group: Sequence[Finding], most: int) -> str:
    """Name the other nodes where the same was found as by the first finding, model by model, so many at most.

    Several cases may show the same of one node, which is one place.
    """
    first = group[0]
    places = list(dict.fromkeys((each.path, each.node) for each in group))[1:]
    nodes: dict[str, list[str]] = {}
    for path, node in places[:most]:
        nodes.setdefault(path, []).append(node)
    parts = [("" if path == first.path else f"{path}: ") + ", ".join(names) for path, names in nodes.items()]
    more = f" and {len(places) - most} more" if len(places) > most else ""
    return f"{'; '.join(parts)}{more}"


@dataclass(frozen=True)
class RepairSummary:
    """What repairing a model does about its findings.

    Attributes
    ----------
    changes : tuple of str
        What was changed: ``"pool1: ceil_mode"``.
    verified : bool
        Whether the repaired model was shown to compute what the text of the standard says of the original.
    why : str
        How, or why not.
    before, after : int
        Findings on the model and on the repaired one, both by the same runtimes; special numbers do not count, and
        what several cases show of one node is one finding.
    remaining : tuple of str
        Sentences of those that are left.
    """

    changes: tuple[str, ...]
    verified: bool
    why: str
    before: int
    after: int
    remaining: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What came of it."""
        if not self.changes:
            return f"there is nothing that pooling repair could change{f' ({self.why})' if self.why else ''}"
        done = f"pooling repair changes {counted(len(self.changes), 'thing')}"
        if self.after:
            remain = "remains" if self.after == 1 else "remain"
            told = f": {self.remaining[0]}" if self.remaining else ""
            told += f", and {len(self.remaining) - 1} more" if len(self.remaining) > 1 else ""
            return f"{done}; {self.after} of {counted(self.before, 'finding')} {remain}{told}"
        proof = "" if self.verified else f"; {self.why}"
        return f"{done}, and all runtimes that ran it again agree on the repaired model{proof}"


@dataclass(frozen=True)
class ModelReport:
    """What came of one model.

    Attributes
    ----------
    path : str
        As it was given.
    nodes : list of NodeReport
        In the order of the nodes.
    problem : str or None
        Why the model could not be read.
    repair : RepairSummary or None
        What a repair does, where there is something to repair.
    notes : tuple of str
        What was taken for sizes that the model leaves open, and the like.
    unasked : tuple of str
        What was not looked at, and why.
    """

    path: str
    nodes: list[NodeReport]
    problem: str | None = None
    repair: RepairSummary | None = None
    notes: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name without folder and ending."""
        return Path(self.path).stem


@dataclass(frozen=True)
class Report:
    """What came of all models.

    Attributes
    ----------
    models : list of ModelReport
        In the order given.
    versions, runtimes, machine, settings : dict
        What was compared, where, and how; `runtimes` are those that were asked, with their versions.
    fail_on : tuple of str
        Which of `FAIL_ON` make the exit code 1.
    interrupted : bool
        Whether somebody stopped it before everything was looked at.
    notes : tuple of str
        What a reader should know of all of it.
    """

    models: list[ModelReport]
    versions: dict[str, str]
    runtimes: dict[str, str]
    machine: dict[str, Any]
    settings: dict[str, Any]
    fail_on: tuple[str, ...] = ("differs",)
    interrupted: bool = False
    notes: tuple[str, ...] = ()

    @property
    def nodes(self) -> list[NodeReport]:
        """The nodes of all models."""
        return [result for model in self.models for result in model.nodes]

    @property
    def findings(self) -> list[Finding]:
        """Everything that was found, in the order of models, nodes and runtimes."""
        return [finding for result in self.nodes for finding in result.findings]

    @property
    def differing(self) -> list[NodeReport]:
        """Nodes on which some runtime differs by more than rounding explains; special numbers do not count."""
        return [result for result in self.nodes if result.differs]

    @property
    def not_run(self) -> list[NodeReport]:
        """Nodes that could not be compared."""
        return [result for result in self.nodes if not result.compared]

    @property
    def unread(self) -> list[ModelReport]:
        """Models that could not be read."""
        return [model for model in self.models if model.problem]

    @property
    def unasked(self) -> list[str]:
        """What was not looked at, in all models."""
        return [what for model in self.models for what in model.unasked]

    @property
    def speedups(self) -> list[float]:
        """How many times as long onnxruntime takes, for each node that was timed."""
        return [result.speedup for result in self.nodes if result.speedup is not None]

    @property
    def geometric_mean_speedup(self) -> float | None:
        """The geometric mean of `speedups`, where there are any."""
        return geometric_mean(self.speedups) if self.speedups else None

    @property
    def disturbed(self) -> bool:
        """Whether something else kept the machine so busy that the times mean little."""
        timed = [result.times.values() for result in self.nodes if result.times]
        unsteady = [any(times.median > DISTURBED * times.fastest for times in both) for both in timed]
        return sum(unsteady) > len(unsteady) / 4

    @property
    def problems(self) -> list[tuple[str, str]]:
        """What could not be run, and why: models that were not read, and nodes."""
        found = []
        for model in self.models:
            if model.problem:
                found.append((model.path, model.problem))
            found += [(model.path, what) for what in model.unasked]
            found += [
                (f"{model.path}: {result.node.operator} {result.node.name}", result.problem)
                for result in model.nodes
                if result.problem
            ]
        return found

    @property
    def exit_code(self) -> int:
        """What a command should return: 0 all is well, 1 something was found that counts, 2 something did not run.

        What counts is said by `fail_on`; it counts for more than what could not be run. Times do not count.
        """
        if self.interrupted:
            return 2
        if any(finding.counts_as in self.fail_on for finding in self.findings):
            return 1
        return 2 if any(result.problem for result in self.nodes) or self.unread or self.unasked else 0

    def summary(self) -> str:
        """Return the outcome in one sentence."""
        compared = [result for result in self.nodes if result.compared]
        models = sum(any(result.compared for result in model.nodes) for model in self.models)
        if not compared:
            missing = self.not_run or self.unread or self.unasked
            found = "nothing could be compared" if missing else "there is no pooling to compare"
            return f"{found} in {counted(len(self.models), 'model')}"
        if self.differing:
            outcome = f"{len(self.differing)} differ{'s' if len(self.differing) == 1 else ''}"
        else:
            rounded = any(result.largest_difference for result in compared)
            outcome = "all equal, averages up to rounding" if rounded else "all equal"
        parts = [f"{counted(len(compared), 'pooling node')} of {counted(models, 'model')}: {outcome}"]
        special = [result for result in compared if any(each.counts_as == "special" for each in result.findings)]
        if special:
            parts.append(f"on NaN, infinities or extreme numbers {counted(len(special), 'node')} would differ")
        refused = [result for result in compared if any(each.counts_as == "refuses" for each in result.findings)]
        if refused:
            parts.append(f"{counted(len(refused), 'node')} {'is' if len(refused) == 1 else 'are'} refused by a runtime")
        crashed = [result for result in compared if any(each.counts_as == "crashes" for each in result.findings)]
        if crashed:
            parts.append(f"{counted(len(crashed), 'node')} crashed a runtime")
        mean = self.geometric_mean_speedup
        if mean is not None and not self.disturbed:
            slower = sum(speedup < 1 for speedup in self.speedups)
            pace = f"{mean:.1f}x faster" if mean >= 1 else f"{1 / mean:.1f}x slower"
            parts.append(f"{pace} than onnxruntime in the geometric mean, {slower if slower else 'none'} slower")
        missing = [counted(len(self.not_run), "node")] if self.not_run else []
        missing += [counted(len(self.unread), "model")] if self.unread else []
        if missing:
            parts.append(f"{' and '.join(missing)} could not be run")
        if self.unasked:
            parts.append("not everything was looked at")
        return "; ".join(parts)
