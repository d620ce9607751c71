"""D9: what the doctor did not understand."""

from __future__ import annotations

from collections.abc import Iterator

from .registry import LintContext, Observation, rule


@rule(
    "D901",
    "an operator is not known and was passed over",
    """
    Operators of other domains, and those that no rule covers, are looked through where their output has the shape
    of a map; the rest of the report goes on behind them, and may be wrong there. Note.
    """,
)
def _unknown(context: LintContext) -> Iterator[Observation]:
    for stage in context.network.stages:
        if stage.kind == "unknown":
            yield Observation(
                "note",
                stage.name,
                f"{stage.operator} is not known" + (f": {stage.note}" if stage.note else ""),
                ("judge what lies behind it with care: receptive field and cells may be wrong there",),
            )


@rule(
    "D902",
    "something had to be assumed",
    """
    The model leaves its input size open, or no shape was given for a list of layers. Note.
    """,
)
def _assumed(context: LintContext) -> Iterator[Observation]:
    for note in context.network.notes:
        yield Observation("note", "", note)
