"""What ``pooling validate`` writes as JSON; its JSON Schema is made of this (`pooling.json_schema`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

__all__ = [
    "Counted",
    "FindingRecord",
    "KindWord",
    "MachineRecord",
    "ModelRecord",
    "OpinionRecord",
    "RepairRecord",
    "ReportRecord",
    "SettingsRecord",
    "SmallestRecord",
    "StageRecord",
    "StageVerdict",
    "SummaryRecord",
    "TimesRecord",
    "VersionsRecord",
]

Number = float | Literal["nan", "inf", "-inf"]
"""A number; JSON has no NaN and no infinities."""
Counted = Literal["differs", "special", "refuses", "crashes"]
StageVerdict = Literal["equal", "differs", "not run"]
KindWord = Literal["shape", "dtype", "value", "nan", "index", "refuses", "crashes"]


class SmallestRecord(TypedDict):
    """The smallest input that shows a finding."""

    sentence: Annotated[str, "how the answer to it differs"]
    runs: Annotated[int, "cases that were asked to find it"]
    shape: list[int]
    dtype: str
    input: Annotated[list[Any] | None, "the numbers as nested lists, null where there are more than 1000"]


class FindingRecord(TypedDict):
    """A finding: that a runtime gives a stage another answer than the oracle does, or none."""

    runtime: Annotated[str, "who"]
    version: Annotated[str, "of the runtime"]
    node: Annotated[str, "where"]
    kind: KindWord
    counts_as: Annotated[Counted, "as `--fail-on` names them"]
    sentence: Annotated[str, "all of it in a sentence"]
    rule: Annotated[str | None, "the rule that is broken, where that is clear"]
    rule_text: Annotated[str | None, "what the rule says"]
    source: Annotated[str | None, "where the rule stands"]
    upstream: Annotated[list[str], 'where others report it: `"openvino#35935"`']
    remedy: Annotated[str, "what helped when the runtime was asked again, or empty"]
    case: Annotated[str, "the case that showed it first"]
    data: Annotated[str, "what its numbers are"]
    cases: Annotated[int, "how many cases showed the same"]
    input_shapes: Annotated[dict[str, list[int]], "of that case, by the names of its inputs"]
    output: Annotated[int, "which of the node's outputs differs"]
    where: Annotated[list[int] | None, "the first element that differs"]
    expected: Annotated[Any, "that element as it has to be; the shape or the dtype where these differ; or null"]
    actual: Annotated[Any, "the same as the runtime has it"]
    differing: Annotated[int, "how many elements differ"]
    elements: Annotated[int, "how many elements were compared"]
    ulp: Annotated[Number | None, "the largest difference, in units of the last place"]
    absolute: Annotated[Number | None, "the largest difference as such"]
    smallest: Annotated[SmallestRecord | None, "null where it was not looked for; the command line does"]
    fusion: Annotated[str, "what a node that is right by itself is fused with, or empty; the verdict is on all of them"]


class OpinionRecord(TypedDict):
    """What a runtime makes of a stage."""

    verdict: Annotated[
        Literal["agrees", "differs", "special", "refuses", "crashes", "not asked"], "the worst of its findings"
    ]
    version: Annotated[str, "of the runtime"]
    cases: Annotated[dict[str, int], "numbers of cases, by the kind of what came out"]
    findings: Annotated[dict[str, int], "numbers of findings, by what they count as"]
    elements: Annotated[int, "compared on ordinary numbers"]
    largest_difference: Annotated[Number, "of the cases that agree"]
    largest_ulp: Annotated[Number, "of the cases that agree, in units of the last place"]
    share_of_bound: Annotated[Number | None, "of the cases that agree, in units of what rounding can cause"]
    reason: Annotated[str, "why there was no answer, in the runtime's words"]


class TimesRecord(TypedDict):
    """Seconds that one call takes."""

    median: Annotated[float, "over all calls of all rounds"]
    fastest: Annotated[float, "of all calls"]


class StageRecord(TypedDict):
    """A stage: one pooling node at its place."""

    name: Annotated[str, "the node's name, its output's where it has none"]
    operator: Annotated[str, "the ONNX operator"]
    opset: Annotated[int, "version of the operator set"]
    verdict: StageVerdict
    problem: Annotated[str | None, "why it could not be compared"]
    input_shape: Annotated[list[int | str] | None, "sizes, names where they are not known"]
    output_shape: list[int] | None
    layer: Annotated[str | None, "the layer of this library that computes it"]
    largest_difference: Annotated[Number | None, "of the answers that agree"]
    share_of_bound: Annotated[Number | None, "the same in units of what rounding can cause"]
    runtimes: Annotated[dict[str, OpinionRecord], "by name, what each makes of it"]
    findings: list[FindingRecord]
    seconds: Annotated[dict[str, TimesRecord], "of `pooling` and `onnxruntime`; empty where nothing was measured"]


class RepairRecord(TypedDict):
    """What repairing a model does about its findings."""

    sentence: Annotated[str, "what came of it"]
    changes: Annotated[list[str], '`"pool1: ceil_mode"`']
    verified: Annotated[bool, "as of `make_portable`"]
    why: Annotated[str, "how it was verified, or why not"]
    before: Annotated[int, "findings on the model"]
    after: Annotated[int, "findings on the repaired one"]
    remaining: Annotated[list[str], "sentences of those that are left"]


class ModelRecord(TypedDict):
    """A model."""

    path: Annotated[str, "as given"]
    problem: Annotated[str | None, "why it could not be read"]
    notes: Annotated[list[str], "what was taken for open sizes and the like"]
    unasked: Annotated[list[str], "what was not looked at"]
    repair: Annotated[RepairRecord | None, "null where there is nothing to repair"]
    stages: Annotated[list[StageRecord], "in the order of the nodes"]


class VersionsRecord(TypedDict):
    """Versions of what compared."""

    pooling: str
    numpy: str
    onnx: str
    python: str


class MachineRecord(TypedDict):
    """Where it ran."""

    system: str
    processor: str
    cores: Annotated[int | None, "that the process may use"]
    instruction_set: str


class SettingsRecord(TypedDict):
    """How it was asked."""

    threads: int
    rounds: int
    seed: int
    shapes: Annotated[dict[str, list[int]], "as given"]
    inputs: Annotated[list[str], "as given"]
    limit_seconds: Annotated[float, "of a case"]
    limit_memory: Annotated[int, "of a case, in bytes"]
    fail_on: list[Counted]


class SummaryRecord(TypedDict):
    """All of it in numbers."""

    stages: int
    equal: Annotated[int, "stages"]
    differ: Annotated[int, "stages"]
    not_run: Annotated[int, "stages"]
    models_not_read: int
    findings: Annotated[dict[str, int], "numbers of findings, by what they count as"]
    geometric_mean_speedup: Annotated[float | None, "of our kernels against onnxruntime"]
    slower: Annotated[int, "stages"]
    disturbed: Annotated[bool, "whether the times mean little"]
    exit_code: int
    interrupted: Annotated[bool, "whether it was stopped before the end"]
    sentence: str


class ReportRecord(TypedDict):
    """What pooling validate found."""

    schema: Literal["pooling-validation/2"]
    versions: VersionsRecord
    runtimes: Annotated[dict[str, str], "versions of those that were asked, by name"]
    machine: MachineRecord
    settings: SettingsRecord
    notes: Annotated[list[str], "what a reader should know of all of it"]
    models: list[ModelRecord]
    summary: SummaryRecord
