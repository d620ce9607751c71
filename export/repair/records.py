"""What ``pooling repair`` writes as JSON; its JSON Schema is made of this (`pooling.reporting.json`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pooling.reporting.json import Record, said

__all__ = ["ChangeRecord", "ReportRecord", "RuleName", "SkippedRecord"]

RuleName = Literal[
    "auto_pad",
    "ceil_mode",
    "count_include_pad",
    "dilations",
    "pads",
    "storage_order",
    "pad",
    "mean",
    "global_norm",
    "special_values",
    "recorded_shape",
    "input_shapes",
]
"""What is rewritten, as docs/repair.md describes it."""


class ChangeRecord(Record):
    """One thing that was changed."""

    node: Annotated[str, said("its name, its first output's where it has none; the tensor's for a recorded shape")]
    path: Annotated[str, said('`"graph"`, `"graph/name.then_branch"` for a graph inside of a node, `"domain::name"`')]
    was: Annotated[str, said("before")]
    became: Annotated[str, said("after")]
    rule: Annotated[RuleName, said("what was applied")]
    reason: Annotated[str, said("what was wrong, in one or more sentences")]
    source: Annotated[str, said("where others discuss it, or empty")]


class SkippedRecord(Record):
    """A node that was left as it is."""

    node: Annotated[str, said("as in a change")]
    path: Annotated[str, said("as in a change")]
    was: Annotated[str, said("the node")]
    reason: Annotated[str, said("why, and what to do")]


class ReportRecord(Record):
    """What pooling repair did."""

    schema: Literal["pooling-repair/1"]
    model: Annotated[str, said("as given")]
    output: Annotated[str | None, said("where the repaired model is now, null where nothing was written")]
    verified: Annotated[bool, said("whether the repaired model was run and shown to compute the same as the original")]
    runs: Annotated[bool | None, said("whether it was loaded and run; null where that is not known")]
    why: Annotated[str, said("how it was verified, or why not; where it differs from the original, how")]
    changes: Annotated[list[ChangeRecord], said("in the order of the model, recorded shapes at the end")]
    skipped: Annotated[list[SkippedRecord], said("what runtimes may still disagree about")]
    omitted: Annotated[
        list[SkippedRecord], said("rewrites of nodes that are right as they are, which did not prove right")
    ]
    exit_code: int
