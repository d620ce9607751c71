"""What ``pooling repair`` writes as JSON; its JSON Schema is made of this (`pooling.reporting.json`)."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

__all__ = ["ChangeRecord", "LeftRecord", "ReportRecord", "RuleName"]

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


class ChangeRecord(TypedDict):
    """One thing that was changed."""

    node: Annotated[str, "the node's name, its first output's where it has none; the tensor's for a recorded shape"]
    path: Annotated[str, '`"graph"`, `"graph/name.then_branch"` for a graph inside of a node, `"domain::name"`']
    was: Annotated[str, "before"]
    became: Annotated[str, "after"]
    rule: Annotated[RuleName, "what was applied"]
    reason: Annotated[str, "what was wrong, in one or more sentences"]
    source: Annotated[str, "where others discuss it, or empty"]


class LeftRecord(TypedDict):
    """A node that was left as it is."""

    node: Annotated[str, "as in a change"]
    path: Annotated[str, "as in a change"]
    was: Annotated[str, "the node"]
    reason: Annotated[str, "why, and what to do"]


class ReportRecord(TypedDict):
    """What pooling repair did."""

    schema: Literal["pooling-repair/1"]
    model: Annotated[str, "as given"]
    output: Annotated[str | None, "where the repaired model is now, null where nothing was written"]
    verified: Annotated[bool, "whether the repaired model was run and shown to compute what the original computes"]
    runs: Annotated[bool | None, "whether it was loaded and run; null where that is not known"]
    why: Annotated[str, "how it was verified, or why not; where it differs from the original, how"]
    changes: Annotated[list[ChangeRecord], "in the order of the model, recorded shapes at the end"]
    left: Annotated[list[LeftRecord], "what runtimes may still disagree about"]
    omitted: Annotated[list[LeftRecord], "rewrites of nodes that are right as they stand, which did not prove right"]
    exit_code: int
