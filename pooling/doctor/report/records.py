"""What ``pooling doctor`` writes as JSON; its JSON Schema is made of this (`pooling.reporting.json`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, UnsetType

from pooling.reporting.json import Record, said

__all__ = [
    "BlockRecord",
    "DataSetRecord",
    "EffectiveFieldRecord",
    "FailureRecord",
    "FieldRecord",
    "FindingRecord",
    "HeadRecord",
    "InputRecord",
    "LossRecord",
    "ObjectRecord",
    "PatternRecord",
    "ReportRecord",
    "Severity",
    "ShiftRecord",
    "SizesRecord",
    "StageRecord",
    "SummaryRecord",
    "SurvivalRecord",
    "Task",
    "WhatIfRecord",
    "WindowRecord",
]


Severity = Literal["note", "warning", "error"]
Task = Literal["classification", "detection", "segmentation"]


class FindingRecord(Record):
    """One thing that was found."""

    code: Annotated[str, said("stable, such as D201")]
    severity: Severity
    stage: Annotated[str, said("empty where it is about the whole network")]
    title: str
    message: str
    fixes: Annotated[list[str], said("what to try, in the order of practice")]


class PatternRecord(Record):
    """Sizes that leave one of the remainders when divided by the step."""

    step: int
    remainders: list[int]
    words: str


class WindowRecord(Record):
    """The windows on one spatial axis; of a transposed convolution those of the convolution that it undoes."""

    input_size: int
    output_size: int
    kernel_size: int
    stride: int
    dilation: int
    padding: Annotated[list[int], said("begin and end")]
    formula: Annotated[str | None, said("how the output size follows, with the numbers")]
    dropped: Annotated[int, said("cells at the end that no window reads")]
    cut: Annotated[int, said("of these, what a smaller input would not have")]
    unread_share: Annotated[float, said("share of cells between windows that none reads")]
    padding_share: Annotated[float, said("largest share of padding in a window")]


class FieldRecord(Record):
    """The receptive field of the cells of a stage, in pixels of the input."""

    size: list[int]
    stride: Annotated[list[float], said("effective stride in pixels")]
    offset: Annotated[list[float], said("centre of the first field; pixel i has its centre at i")]
    aligned: bool
    uniform: bool
    context: bool


class EffectiveFieldRecord(Record):
    """How far most of what a cell depends on lies from its centre, with random weights (Luo et al. 2016)."""

    deviation: Annotated[list[float], said("standard deviation in pixels, along the path that has the largest")]
    size: Annotated[list[float], said("4 deviations, at least 1 and at most the receptive field")]


class StageRecord(Record):
    """One step of the network."""

    name: str
    operator: str
    kind: str
    inputs: list[str]
    input_shape: list[int]
    output_shape: list[int]
    layer: str | None
    ceil_mode: bool
    padding_share: Annotated[float, said("largest share of padding in a window, on the axis that has most")]
    windows: list[WindowRecord]
    receptive_field: FieldRecord | None
    effective_field: Annotated[EffectiveFieldRecord | None, said("null where paths are not followed")]
    object_cells: list[float] | None
    object_cells_resolved: Annotated[list[float] | None, said("on the coarsest grid of the finest path to here")]
    macs: int
    macs_saved_behind: int
    parameters: int
    output_bytes: int
    findings: Annotated[list[str], said("codes")]
    note: str
    culprit: Annotated[str, said("where shape, cost or field are not known, the operator to blame; else empty")]


class LossRecord(Record):
    """What is not known of the network because of one operator."""

    stage: str
    operator: str
    why: str
    stages: Annotated[list[str], said("behind it; itself, if it is one")]
    weights: int
    macs: Annotated[int, said("as far as they are known")]
    without_shape: Annotated[int, said("stages of which the shape is not known")]
    without_macs: Annotated[int, said("stages of which the cost is not known")]
    without_field: Annotated[int, said("stages of which the receptive field is not known")]


class InputRecord(Record):
    """What the network takes."""

    name: str
    shape: list[int]


class FailureRecord(Record):
    """The input shape that was asked for, where the network does not work with it."""

    shape: list[int]
    stage: str
    sentence: str


class SizesRecord(Record):
    """Input sizes of an axis, or of all."""

    axes: str
    given: int
    smallest: int | None
    largest: Annotated[int | None, said("null where there is no limit")]
    working: PatternRecord
    clean: Annotated[PatternRecord, said("for which nothing is cut off")]
    working_near: list[int]
    clean_near: list[int]
    obstacle: str


class ObjectRecord(Record):
    """The object that was followed through the network."""

    size: list[int]
    heads: Annotated[list[str], said("maps that the outputs are read from")]
    unknown: Annotated[list[str], said("outputs whose maps are not known")]
    below_two_cells: str | None
    below_one_cell: str | None
    smallest: Annotated[list[int], said("pixels that keep one cell at the finest head")]


class HeadRecord(Record):
    """The output feature maps that share a grid, and the objects that they serve."""

    stages: list[str]
    stride: Annotated[list[float], said("effective stride in pixels")]
    resolved_stride: Annotated[list[float], said("of the coarsest grid on the finest path to here")]
    output_size: list[int]
    receptive_field: Annotated[list[int], said("that of the input where a branch shows a cell all of it")]
    smallest: Annotated[int, said("pixels of an object that covers one cell of the resolved stride")]
    largest: Annotated[int, said("pixels of an object that lies in the receptive field")]
    assigned: Annotated[list[int], said("sizes that fall to this head by the ranges of FCOS; none if descending")]
    use: Annotated[str, said("what becomes of the maps")]
    used_by: Annotated[str, said("the stage that does so; empty for an output")]


class SurvivalRecord(Record):
    """The share of the objects of a data set that keep a cell of a map."""

    name: Annotated[str, said("of a stage; of a head, its last one")]
    one_cell: float
    two_cells: float


class DataSetRecord(Record):
    """The objects of a data set, and how many of them keep a cell."""

    name: str
    count: int
    resize: Literal["letterbox", "stretch", "none"]
    median: Annotated[list[float], said("height and width in pixels of the input")]
    left_out: list[str]
    stages: list[SurvivalRecord]
    heads: Annotated[list[SurvivalRecord], said("in the order of heads")]
    assigned: Annotated[list[float], said("share of the objects that fall to each head")]


class BlockRecord(Record):
    """A module of the network, or a single stage, with what is in it."""

    name: str
    path: str
    kind: str
    stage: Annotated[str | None, said("name of the stage, where it is a single one")]
    output_shape: list[int]
    parameters: int
    macs: int
    training_bytes: Annotated[int, said("memory of all results")]
    inference_bytes: Annotated[int, said("largest memory of maps that is alive while a stage in it runs")]
    known: Annotated[bool, said("false where the numbers are lower bounds")]
    children: list[BlockRecord]


class ShiftRecord(Record):
    """What a move by one pixel does to a stage that downsamples."""

    stage: str
    value: float | None
    antialiased: float | None
    remedy: str
    note: str


class SummaryRecord(Record):
    """The network in numbers."""

    macs: int
    parameters: int
    output_bytes: int
    complete: Annotated[bool, said("whether all is counted; if not, these are lower bounds")]
    errors: int
    warnings: int
    notes: int
    sentence: str


class ReportRecord(Record):
    """What pooling doctor found."""

    schema: Literal["pooling-doctor/1"]
    version: str
    network: str
    opset: int | None
    input: InputRecord
    failure: FailureRecord | None
    task: Task | None
    stages: list[StageRecord]
    outputs: list[str]
    sizes: Annotated[list[SizesRecord], said("of the stages that are known, where summary.complete is false")]
    losses: list[LossRecord]
    object: ObjectRecord
    heads: Annotated[list[HeadRecord], said("the finest first")]
    objects: Annotated[DataSetRecord | None, said("there with --objects only, else null")]
    tree: Annotated[BlockRecord, said("all stages by module; its numbers are the totals")]
    shift: list[ShiftRecord]
    findings: list[FindingRecord]
    ignored: list[str]
    summary: SummaryRecord
    what_if: Annotated[WhatIfRecord | UnsetType, said("there with --set and --versus only")] = UNSET


class WhatIfRecord(Record):
    """A network beside what it would be."""

    changes: Annotated[dict[str, Any], said("arguments by stage")]
    before: ReportRecord
    after: ReportRecord
    new: list[FindingRecord]
    gone: list[FindingRecord]
