"""The smallest input for everything that was found: what to look at, and to send to the authors of a runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from .answers import Answer
from .cases import Case
from .processes import Limits, RuntimeProcess
from .report import Finding, Report
from .rules import broken_rule
from .runtimes import ORACLE
from .smallest import Ask, Smallest, smallest

__all__ = ["alike", "with_smallest"]

CALLS_FOR_A_CRASH = 16
"""Runs of a case that ends processes: each has to be started again."""


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
        groups.setdefault((each.runtime, each.counts_as, each.verdict.kind, cause), []).append(each)
    return list(groups.values())


def with_smallest(report: Report, progress: Callable[[int, int, str], None] | None = None) -> Report:
    """Find the smallest input that shows each finding; of findings that are `alike`, for the first.

    Runtimes are asked again, in processes of their own and with the limits of the report. Refusals have no input to
    look at and stay as they are, and so does what does not differ again.

    Parameters
    ----------
    report : Report
        What was found.
    progress : callable, optional
        Called as ``progress(done, total, what)`` before each.

    Returns
    -------
    Report
        With `Finding.smallest`, and `Finding.rule` where only the smallest input shows which one is broken.
    """
    settings = report.settings
    limits = Limits(settings["limit_seconds"], settings["limit_memory"])
    first = [group[0] for group in alike(report.findings) if group[0].counts_as != "refuses"]
    found = {}
    with ExitStack() as stack:
        names = dict.fromkeys([ORACLE, *(each.runtime for each in first)])
        processes = {name: stack.enter_context(RuntimeProcess(name, limits, settings["threads"])) for name in names}
        for done, each in enumerate(first):
            if progress is not None:
                progress(done, len(first), f"smallest input: {each.runtime} at {each.node}")
            ask = _asking(processes[ORACLE], processes[each.runtime])
            most = {"most_runs": CALLS_FOR_A_CRASH} if each.counts_as == "crashes" else {}
            found[id(each)] = smallest(each.case, ask, **most)
    models = [
        replace(
            model,
            stages=[
                replace(stage, findings=tuple(_with(each, found.get(id(each))) for each in stage.findings))
                for stage in model.stages
            ],
        )
        for model in report.models
    ]
    return replace(report, models=models)


def _with(found: Finding, shown: Smallest | None) -> Finding:
    """Add the smallest input to a finding, and the rule that it breaks if only this makes it clear."""
    if shown is None:
        return found
    rule = found.rule or broken_rule(shown.case, shown.expected, shown.verdict, shown.actual)
    return replace(found, smallest=shown, rule=rule)


def _asking(oracle: RuntimeProcess, runtime: RuntimeProcess) -> Ask:
    def ask(cases: Sequence[Case]) -> list[tuple[Answer, Answer]]:
        answers = []
        for case in cases:
            model = case.model.SerializeToString()
            answers.append((oracle.ask(model, case.inputs), runtime.ask(model, case.inputs)))
        return answers

    return ask
