"""The conformance table: which runtime follows which rule, by a suite of single nodes."""

from __future__ import annotations

import platform
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from pooling import dispatch
from pooling.errors import value_error
from pooling.signs import counted

from ..inputs.case import Case
from ..known_issues import KNOWN_ISSUES, Recheck, recheck_known_issues
from ..rules import broken_rule
from ..runners import ORACLE, chosen
from ..runners.processes import Limits, run_cases
from ..runners.results import Result
from ..verdicts import Verdict, judge
from .suite import conformance_suite

__all__ = ["OUTCOMES", "CaseResult", "Conformance", "Pair", "run_conformance"]

OUTCOMES = ("agrees", "differs", "refuses", "crashes")
"""What may become of a case; all kinds of `Verdict` that are a wrong answer differ."""
OWN = ("pooling", "portable")
"""Runtimes that are this library's."""
LIMITS = Limits(seconds=5)
"""What a case may take; the oracle takes a fifth of a second for the largest."""
WORKERS = 2
"""Runtimes that are asked at the same time."""
SLOW_FIRST = ("tract", "openvino", "jax", ORACLE)
"""Those that take longest should not be the last."""
Progress = Callable[[int, int, str], None]
Pair = tuple[str, str]
"""A rule and a runtime."""


@dataclass(frozen=True)
class CaseResult:
    """What became of a case in a runtime."""

    verdict: Verdict
    """How the answer compares with the oracle's."""
    rule: str | None
    """The rule that the answer breaks, by its own evidence; None where that is not clear."""

    @property
    def counts_as(self) -> str:
        """Which of `OUTCOMES` it is."""
        return "differs" if self.verdict.kind.differs else str(self.verdict.kind)


@dataclass(frozen=True, eq=False)
class Conformance:
    """What came out of the suite."""

    cases: tuple[Case, ...]
    """The node and its numbers; the first of a case's rules is its row in the matrix."""
    outcomes: Mapping[str, Sequence[CaseResult]]
    """By runtime, one for each case."""
    versions: Mapping[str, str]
    """Of the runtimes."""
    known: tuple[Recheck, ...]
    """What became of the known differences."""
    seed: int
    """Of the suite."""
    seconds: float
    """That it took."""
    date: str
    """When it was run, as year, month and day."""
    machine: Mapping[str, str]
    """What it ran on."""

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that cases are about, in their order."""
        return tuple(dict.fromkeys(case.rules[0] for case in self.cases))

    def of_rule(self, rule: str, runtime: str) -> list[tuple[Case, CaseResult]]:
        """Return the cases about a rule, with what became of them in a runtime."""
        pairs = zip(self.cases, self.outcomes[runtime], strict=True)
        return [(case, outcome) for case, outcome in pairs if case.rules[0] == rule]

    def counts(self, rule: str, runtime: str) -> dict[str, int]:
        """Count what became of the cases about a rule, for each of `OUTCOMES`."""
        found = Counter(outcome.counts_as for _, outcome in self.of_rule(rule, runtime))
        return {name: found[name] for name in OUTCOMES}

    @property
    def exit_code(self) -> int:
        """0, or 1 where this library itself gives a wrong answer or crashes."""
        own = [outcome for runtime in OWN for outcome in self.outcomes.get(runtime, ())]
        return int(any(outcome.counts_as in ("differs", "crashes") for outcome in own))

    @property
    def own_verdict(self) -> str:
        """What the suite says of this library, in a few words."""
        if not any(runtime in self.outcomes for runtime in OWN):
            return "pooling was not asked"
        return "pooling itself breaks a rule" if self.exit_code else "pooling itself keeps every rule"

    @property
    def extent(self) -> str:
        """How much was asked, in a few words."""
        cases, rules = counted(len(self.cases), "case"), counted(len(self.rules), "rule")
        return f"{cases} about {rules} in {counted(len(self.outcomes), 'runtime')}"


def run_conformance(
    runtimes: Iterable[str] | None = None,
    *,
    rules: Iterable[str] | None = None,
    seed: int = 0,
    limits: Limits | None = None,
    known: bool = True,
    progress: Progress | None = None,
) -> Conformance:
    """Run the conformance suite in runtimes, two at a time.

    Parameters
    ----------
    runtimes : iterable of str, optional
        Keys of `pooling.validation.runners.RUNTIMES`; all that are installed when not given.
    rules : iterable of str, optional
        Keys of `pooling.validation.rules.RULES` whose cases are run; all of them when not given.
    seed : int
        Of the suite.
    limits : Limits, optional
        For each case; `LIMITS` when not given.
    known : bool
        Whether to look again for what is known of these runtimes and rules
        (`pooling.validation.known_issues.KNOWN_ISSUES`).
    progress : callable, optional
        Called as ``progress(done, total, what)`` before each case, by one thread at a time.

    Returns
    -------
    Conformance

    Raises
    ------
    ValueError
        If a runtime or a rule is not known, a runtime is not installed, or the seed is negative.

    Examples
    --------
    >>> report = run_conformance(["pooling"], rules=["valid-with-ceil"], known=False)
    >>> report.counts("valid-with-ceil", "pooling")["differs"], report.exit_code
    (0, 0)
    """
    if seed < 0:
        raise value_error("run_conformance", f"seed={seed} must be at least 0")
    started = time.monotonic()
    versions = chosen(runtimes)
    keys = None if rules is None else list(rules)
    cases = conformance_suite(seed, keys)
    names = [*versions, ORACLE]
    again = [
        each for each in KNOWN_ISSUES if known and each.runtime in versions and (keys is None or each.rule in keys)
    ]
    total = len(names) * len(cases) + 2 * len(again)
    report = _Shared(progress or (lambda done, total, what: None), total)

    def answers(name: str) -> list[Result]:
        return run_cases(name, cases, limits or LIMITS, lambda done, _, case: report(f"{name} {case}"))

    def seen() -> list[Recheck]:
        return recheck_known_issues(again, limits=limits or LIMITS, progress=lambda done, _, case: report(case))

    with ThreadPoolExecutor(WORKERS) as pool:
        order = sorted(names, key=lambda name: SLOW_FIRST.index(name) if name in SLOW_FIRST else len(SLOW_FIRST))
        asked = {name: pool.submit(answers, name) for name in order}
        looked = pool.submit(seen)
        given = {name: asked[name].result() for name in names}
        found = tuple(looked.result())
    expected = given[ORACLE]
    outcomes = {name: [_outcome(*each) for each in zip(cases, expected, given[name], strict=True)] for name in versions}
    return Conformance(
        cases,
        outcomes,
        versions,
        found,
        seed,
        time.monotonic() - started,
        datetime.now(UTC).date().isoformat(),
        {
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "instruction_set": str(dispatch.level),
        },
    )


def _outcome(case: Case, expected: Result, actual: Result) -> CaseResult:
    verdict = judge(case, expected, actual)
    return CaseResult(verdict, broken_rule(case, expected, verdict, actual))


class _Shared:
    """Progress of several runtimes as one."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0
        self._lock = threading.Lock()

    def __call__(self, what: str) -> None:
        with self._lock:
            self._progress(self._done, self._total, what)
            self._done += 1
