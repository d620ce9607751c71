"""D9: what the doctor did not understand."""

from __future__ import annotations

from collections.abc import Iterator

from pooling.reporting.formats import amount

from ..network import MOST, Loss, Network
from .registry import LintContext, Observation, rule


@rule(
    "D901",
    "an operator was not understood, and what lies behind it is not known",
    """
    An operator of another domain, one that no rule covers, or one whose sizes could not be worked out. It is told once
    for each operator that is to blame, with what lies behind it: how many stages and weights, and what of them is not
    known. No other finding of D1, D2, D3 and D5 rests on these stages, totals are lower bounds ("at least"), and output
    feature maps, objects and input sizes are not known where they depend on them. A warning where more than half of
    the stages with weights, or of the weights, lie behind it (the exit code is 2 where that is so of all that is not
    known together), else a note.
    """,
)
def _unknown(context: LintContext) -> Iterator[Observation]:
    network = context.network
    for loss in network.losses:
        behind = [context.stages[name] for name in loss.stages]
        heavy = [stage for stage in network.stages if stage.parameters] or list(network.stages)
        share = max(
            sum(stage.name in loss.stages for stage in heavy) / max(1, len(heavy)),
            loss.weights / max(1, network.parameters),
        )
        up_to = "up to " if any(name == network.ended_at for name in loss.stages) else ""
        weights = (
            f", {up_to if loss.weights else ''}{amount(loss.weights) if loss.weights else 'none'} of "
            f"{amount(network.parameters)} weights"
            if network.parameters
            else ""
        )
        macs = f" and {amount(loss.macs)} of {amount(network.macs)} multiply-adds" if loss.macs else ""
        plural = "s" if len(network.stages) != 1 else ""
        lie = "lie" if len(behind) != 1 or weights else "lies"
        # What works on sizes alone is no stage: then it is told at the first stage that needs them.
        is_stage = loss.stage in context.stages
        where = "" if is_stage else f" (node {loss.stage})"
        yield Observation(
            "warning" if share > MOST else "note",
            loss.stage if is_stage else loss.stages[0],
            f"{loss.operator}{where} was not understood: {loss.why}; {len(behind)} of {len(network.stages)} "
            f"stage{plural}{weights}{macs} {lie} behind it; {loss.what}",
            tuple(_fixes(loss, network)),
        )


def _fixes(loss: Loss, network: Network) -> Iterator[str]:
    of_a_file = network.opset is not None
    if not loss.weights and network.parameters:
        yield "nothing, where results are only chosen and sorted there, as detectors do by their scores"
    if "." in loss.operator:
        also = ", or export without it" if of_a_file else ""
        yield f"replace the operator by standard ones for the examination{also}"
    how = "with onnx.utils.extract_model" if of_a_file else "as modules of their own"
    yield f"examine the part before it and the part behind it separately ({how})"


@rule(
    "D902",
    "what the report rests on",
    """
    Where the input shape comes from that nobody gave: a size that was assumed, because a model leaves its own open or a
    list of layers has none, or the one in the configuration of a library such as timm. And what else was read in one of
    several ways, such as an input of three axes. Note.
    """,
)
def _assumed(context: LintContext) -> Iterator[Observation]:
    for note in context.network.notes:
        yield Observation("note", "", note)
