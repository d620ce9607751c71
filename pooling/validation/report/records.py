"""What ``pooling validate`` writes as JSON, of models and of the conformance suite; its JSON Schema is made of this."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pooling.reporting.json import Record, said

__all__ = [
    "CaseRecord",
    "CaseResultRecord",
    "ConformanceRecord",
    "Counted",
    "FindingRecord",
    "KindWord",
    "KnownRecord",
    "MachineRecord",
    "ModelRecord",
    "NodeRecord",
    "NodeVerdict",
    "RepairRecord",
    "ReportRecord",
    "RuleRecord",
    "RuntimeRecord",
    "SettingsRecord",
    "SmallestRecord",
    "SummaryRecord",
    "TimesRecord",
    "VersionsRecord",
]

Number = float | Literal["nan", "inf", "-inf"]
"""A number; JSON has no NaN and no infinities."""
Counted = Literal["differs", "special", "refuses", "crashes"]
NodeVerdict = Literal["equal", "differs", "not run"]
KindWord = Literal["shape", "dtype", "value", "nan", "index", "refuses", "crashes"]


class SmallestRecord(Record):
    """The smallest input that shows a finding."""

    sentence: Annotated[str, said("how the answer to it differs")]
    runs: Annotated[int, said("cases that were run to find it")]
    shape: list[int]
    dtype: str
    input: Annotated[list[Any] | None, said("the numbers as nested lists, null where there are more than 1000")]


class FindingRecord(Record):
    """A finding: that a runtime gives a node another answer than the oracle does, or none."""

    runtime: Annotated[str, said("who")]
    version: Annotated[str, said("of the runtime")]
    node: Annotated[str, said("where")]
    kind: KindWord
    counts_as: Annotated[Counted, said("as `--fail-on` names them")]
    sentence: Annotated[str, said("all of it in a sentence")]
    rule: Annotated[str | None, said("the rule that is broken, where that is clear")]
    rule_text: Annotated[str | None, said("what the rule says")]
    source: Annotated[str | None, said("where the rule stands")]
    upstream: Annotated[list[str], said('where others report it: `"openvino#35935"`')]
    remedy: Annotated[str, said("what helped when the runtime was run again, or empty")]
    case: Annotated[str, said("the case that showed it first")]
    data: Annotated[str, said("what its numbers are")]
    cases: Annotated[int, said("how many cases showed the same")]
    input_shapes: Annotated[dict[str, list[int]], said("of that case, by the names of its inputs")]
    output: Annotated[int, said("which of the node's outputs differs")]
    where: Annotated[list[int] | None, said("the first element that differs")]
    expected: Annotated[Any, said("that element as it has to be; the shape or the dtype where these differ; or null")]
    actual: Annotated[Any, said("the same as the runtime has it")]
    differing: Annotated[int, said("how many elements differ")]
    elements: Annotated[int, said("how many elements were compared")]
    ulp: Annotated[Number | None, said("the largest difference, in units of the last place")]
    absolute: Annotated[Number | None, said("the largest difference as such")]
    smallest: Annotated[SmallestRecord | None, said("null where it was not looked for; the command line does")]
    fusion: Annotated[str, said("what a node that is right alone is fused with, or empty; the verdict is on them all")]


class RuntimeRecord(Record):
    """What a runtime makes of a node."""

    verdict: Annotated[
        Literal["agrees", "differs", "special", "refuses", "crashes", "not asked"], said("the worst of its findings")
    ]
    version: Annotated[str, said("of the runtime")]
    cases: Annotated[dict[str, int], said("numbers of cases, by the kind of what came out")]
    findings: Annotated[dict[str, int], said("numbers of findings, by what they count as")]
    elements: Annotated[int, said("compared on ordinary numbers")]
    largest_difference: Annotated[Number, said("of the cases that agree")]
    largest_ulp: Annotated[Number, said("of the cases that agree, in units of the last place")]
    share_of_bound: Annotated[Number | None, said("of the cases that agree, in units of what rounding can cause")]
    reason: Annotated[str, said("why there was no answer, in the runtime's words")]


class TimesRecord(Record):
    """Seconds that one call takes."""

    median: Annotated[float, said("over all calls of all rounds")]
    fastest: Annotated[float, said("of all calls")]


class NodeRecord(Record):
    """A pooling node at its place in the model."""

    name: Annotated[str, said("the node's name, its output's where it has none")]
    operator: Annotated[str, said("the ONNX operator")]
    opset: Annotated[int, said("version of the operator set")]
    verdict: NodeVerdict
    problem: Annotated[str | None, said("why it could not be compared")]
    input_shape: Annotated[list[int | str] | None, said("sizes, names where they are not known")]
    output_shape: list[int] | None
    layer: Annotated[str | None, said("the layer of this library that computes it")]
    largest_difference: Annotated[Number | None, said("of the answers that agree")]
    share_of_bound: Annotated[Number | None, said("the same in units of what rounding can cause")]
    runtimes: Annotated[dict[str, RuntimeRecord], said("by name, what each makes of it")]
    findings: list[FindingRecord]
    seconds: Annotated[dict[str, TimesRecord], said("of `pooling` and `onnxruntime`; empty where nothing was measured")]


class RepairRecord(Record):
    """What repairing a model does about its findings."""

    sentence: Annotated[str, said("what came of it")]
    changes: Annotated[list[str], said('`"pool1: ceil_mode"`')]
    verified: Annotated[bool, said("as of `make_portable`")]
    why: Annotated[str, said("how it was verified, or why not")]
    before: Annotated[int, said("findings on the model")]
    after: Annotated[int, said("findings on the repaired one")]
    remaining: Annotated[list[str], said("sentences of those that are left")]


class ModelRecord(Record):
    """A model."""

    path: Annotated[str, said("as given")]
    problem: Annotated[str | None, said("why it could not be read")]
    notes: Annotated[list[str], said("what was taken for open sizes and the like")]
    unasked: Annotated[list[str], said("what was not looked at")]
    repair: Annotated[RepairRecord | None, said("null where there is nothing to repair")]
    nodes: Annotated[list[NodeRecord], said("in the order of the nodes")]


class VersionsRecord(Record):
    """Versions of what compared."""

    pooling: str
    numpy: str
    onnx: str
    python: str


class MachineRecord(Record):
    """Where it ran."""

    system: str
    processor: str
    cores: Annotated[int | None, said("that the process may use")]
    instruction_set: str


class SettingsRecord(Record):
    """What the comparison was run with."""

    threads: int
    rounds: int
    seed: int
    shapes: Annotated[dict[str, list[int]], said("as given")]
    inputs: Annotated[list[str], said("as given")]
    limit_seconds: Annotated[float, said("of a case")]
    limit_memory: Annotated[int, said("of a case, in bytes")]
    fail_on: list[Counted]


class SummaryRecord(Record):
    """All of it in numbers."""

    nodes: int
    equal: Annotated[int, said("nodes")]
    differ: Annotated[int, said("nodes")]
    not_run: Annotated[int, said("nodes")]
    models_not_read: int
    findings: Annotated[dict[str, int], said("numbers of findings, by what they count as")]
    geometric_mean_speedup: Annotated[float | None, said("of our kernels against onnxruntime")]
    slower: Annotated[int, said("nodes")]
    disturbed: Annotated[bool, said("whether the times mean little")]
    exit_code: int
    interrupted: Annotated[bool, said("whether it was stopped before the end")]
    sentence: str


class ReportRecord(Record):
    """What pooling validate found."""

    schema: Literal["pooling-validation/2"]
    versions: VersionsRecord
    runtimes: Annotated[dict[str, str], said("versions of those that were run, by name")]
    machine: MachineRecord
    settings: SettingsRecord
    notes: Annotated[list[str], said("what a reader should know of all of it")]
    models: list[ModelRecord]
    summary: SummaryRecord


class RuleRecord(Record):
    """A rule of the definition of pooling."""

    title: str
    text: Annotated[str, said("what it says")]
    source: Annotated[str, said("where it stands")]
    remedy: Annotated[str, said("what helps where it is broken")]


class CaseResultRecord(Record):
    """What became of a case in a runtime."""

    outcome: Literal["agrees", "differs", "refuses", "crashes"]
    kind: Annotated[KindWord | None, said("how it differs; null where it agrees")]
    rule: Annotated[str | None, said("the rule that the answer breaks, by its own evidence")]
    sentence: Annotated[str, said("how it differs; empty where it agrees")]
    ulp: Annotated[Number | None, said("the largest difference, in units of the last place")]
    absolute: Annotated[Number | None, said("the largest difference as such")]


class CaseRecord(Record):
    """A case of the suite: a model of one node."""

    name: str
    rule: Annotated[str, said("the rule that it is about")]
    operator: str
    opset: int
    attributes: dict[str, Any]
    shape: Annotated[list[int], said("of the input")]
    dtype: Annotated[str, said("of the input")]
    data: Annotated[str, said("what its numbers are")]
    outcomes: Annotated[dict[str, CaseResultRecord], said("by runtime")]


class KnownRecord(Record):
    """A known difference of a runtime, and what became of it in the installed version."""

    rule: str
    runtime: str
    kind: KindWord
    finding: Annotated[str, said("what is known of it")]
    versions: Annotated[list[str], said("in which it was seen")]
    upstream: Annotated[list[str], said('where others report it: `"openvino#35935"`')]
    installed: Annotated[str, said("version that is installed")]
    shown: Annotated[bool, said("whether the difference is there, and the same as ever")]
    fixed: Annotated[bool, said("whether the runtime gives the right answer now")]
    sentence: Annotated[str, said("what became of it")]


class ConformanceRecord(Record):
    """What came out of the conformance suite."""

    schema: Literal["pooling-conformance/1"]
    date: str
    seed: int
    seconds: float
    machine: dict[str, str]
    versions: Annotated[dict[str, str], said("of the runtimes")]
    rules: dict[str, RuleRecord]
    matrix: Annotated[dict[str, dict[str, dict[str, int]]], said("numbers of cases, by rule, runtime and outcome")]
    cases: list[CaseRecord]
    known: list[KnownRecord]
