"""The smallest input for everything that was found: what to look at, and to send to the authors of a runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from .conformance.run import CaseResult, Conformance, Pair
from .inputs.case import Case
from .known_issues import upstream_of
from .reduce import MOST_RUNS, Ask, Smallest, smallest
from .report.model import Finding, Report, alike
from .rules import broken_rule
from .runners import ORACLE
from .runners.processes import Limits, RuntimeProcess
from .runners.results import Result
from .verdicts import Kind, Verdict

__all__ = ["smallest_of_rules", "with_smallest"]

SOON = 10.0
"""Seconds for a case at most; none is larger than those that were answered before."""
RUNS_FOR_A_RULE = 20
"""Runs for a case of the conformance suite, which is small to begin with."""
CALLS_FOR_A_CRASH = 9
"""Runs of a case that ends processes: each has to be started again."""


def with_smallest(
    report: Report,
    progress: Callable[[int, int, str], None] | None = None,
    processes: Mapping[str, RuntimeProcess] | None = None,
) -> Report:
    """Find the smallest input that shows each finding; of findings that are `alike`, for the first.

    Runtimes are asked again, in processes of their own and with the limits of the report. Refusals have no input to
    look at and stay as they are, and so do gradients and what does not differ again.

    Parameters
    ----------
    report : Report
        What was found.
    progress : callable, optional
        Called as ``progress(done, total, what)`` before each.
    processes : mapping of str to RuntimeProcess, optional
        Runtimes that are there already, by name, the oracle among them; started when not given.

    Returns
    -------
    Report
        With `Finding.smallest`, and `Finding.rule` where only the smallest input shows which one is broken.
    """
    settings = report.settings
    limits = _soon(Limits(settings["limit_seconds"], settings["limit_memory"]))
    first = [group[0] for group in alike(report.findings) if group[0].counts_as != "refuses" and group[0].alone]
    first = [each for each in first if each.case.gradient is None]
    found = {}
    with ExitStack() as stack:
        names = dict.fromkeys([ORACLE, *(each.runtime for each in first)])
        if processes is None:
            processes = {name: stack.enter_context(RuntimeProcess(name, limits, settings["threads"])) for name in names}
        for name in names:
            stack.enter_context(_limited(processes[name], limits))
        for done, each in enumerate(first):
            if progress is not None:
                progress(done, len(first), f"smallest input: {each.runtime} at {each.node}")
            ask = _asking(processes[ORACLE], processes[each.runtime])
            found[id(each)] = smallest(each.case, ask, most_runs=_most_runs(each.verdict))
    models = [
        replace(
            model,
            nodes=[
                replace(result, findings=tuple(_with(each, found.get(id(each))) for each in result.findings))
                for result in model.nodes
            ],
        )
        for model in report.models
    ]
    return replace(report, models=models)


def smallest_of_rules(
    report: Conformance,
    *,
    limits: Limits | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[Pair, Smallest]:
    """Find the smallest input that shows how each runtime breaks each rule of the conformance suite.

    Parameters
    ----------
    report : Conformance
        What came out of the suite.
    limits : Limits, optional
        For each case.
    progress : callable, optional
        Called as ``progress(done, total, what)`` before each.

    Returns
    -------
    dict of pair of str to Smallest
        By rule and runtime, for those that differ or crash.
    """
    first: dict[Pair, tuple[Case, CaseResult]] = {}
    for runtime in report.outcomes:
        for rule in report.rules:
            wrong = [pair for pair in report.of_rule(rule, runtime) if pair[1].counts_as in ("differs", "crashes")]
            if wrong:
                # What breaks another rule than it is about would show that one.
                first[rule, runtime] = next((pair for pair in wrong if pair[1].rule == rule), wrong[0])
    found = {}
    with ExitStack() as stack:
        names = dict.fromkeys([ORACLE, *(runtime for _, runtime in first)])
        processes = {name: stack.enter_context(RuntimeProcess(name, _soon(limits or Limits()))) for name in names}
        for done, ((rule, runtime), (case, outcome)) in enumerate(first.items()):
            if progress is not None:
                progress(done, len(first), f"smallest input: {rule} in {runtime}")
            ask = _asking(processes[ORACLE], processes[runtime])
            shown = smallest(case, ask, most_runs=min(RUNS_FOR_A_RULE, _most_runs(outcome.verdict)))
            if shown is not None:
                found[rule, runtime] = shown
    return found


@contextmanager
def _limited(process: RuntimeProcess, limits: Limits) -> Iterator[None]:
    """Give a process other limits for a while."""
    usual, process.limits = process.limits, limits
    try:
        yield
    finally:
        process.limits = usual


def _most_runs(verdict: Verdict) -> int:
    """Return how often to ask: seldom where each answer takes a new process."""
    if verdict.kind is not Kind.CRASHES:
        return MOST_RUNS
    return CALLS_FOR_A_CRASH


def _soon(limits: Limits) -> Limits:
    return replace(limits, seconds=min(limits.seconds, SOON))


def _with(found: Finding, shown: Smallest | None) -> Finding:
    """Add the smallest input to a finding, and the rule that it breaks if only this makes it clear."""
    if shown is None:
        return found
    if found.rule is not None:
        return replace(found, smallest=shown)
    rule = broken_rule(shown.case, shown.expected, shown.verdict, shown.actual)
    return replace(found, smallest=shown, rule=rule, upstream=upstream_of(rule, found.runtime, shown.case))


def _asking(oracle: RuntimeProcess, runtime: RuntimeProcess) -> Ask:
    def ask(cases: Sequence[Case]) -> list[tuple[Result, Result]]:
        answers = []
        for case in cases:
            model = case.model.SerializeToString()
            answers.append((oracle.ask(model, case.inputs), runtime.ask(model, case.inputs)))
        return answers

    return ask
