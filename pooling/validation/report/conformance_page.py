"""What came out of the conformance suite, as a page: one HTML file that needs no network. Needs ``jinja2``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pooling.files import write_whole
from pooling.reporting.html import rendered

from ..conformance.run import OUTCOMES, Conformance, Pair
from ..known_issues import upstream_of
from ..reduce import Smallest
from ..rules import RULES
from .parts import TEMPLATES, Badge, MatrixRow, finding, picture, references

__all__ = ["write_conformance"]

VERBS = {"agrees": "agree", "differs": "differ", "refuses": "refuse", "crashes": "crash"}


def write_conformance(
    report: Conformance, path: str | os.PathLike[str], examples: Mapping[Pair, Smallest] | None = None
) -> None:
    """Write the conformance table as a page, as `pooling.validation.report.page.write_page` writes a report.

    Parameters
    ----------
    report : Conformance
        What came out.
    path : path
        The HTML file.
    examples : mapping of pair of str to Smallest, optional
        By rule and runtime, what to draw (`pooling.validation.reduce_findings.smallest_of_rules`).
    """
    runtimes = [(runtime, report.versions.get(runtime, "")) for runtime in report.outcomes]
    pairs = [(rule, runtime) for rule in report.rules for runtime in report.outcomes]
    total: Counter[str] = Counter()
    for pair in pairs:
        total.update(report.counts(*pair))
    answers = ", ".join(f"{total[name]} {VERBS[name]}" for name in OUTCOMES if total[name])
    content = rendered(
        TEMPLATES / "conformance.html",
        title="Conformance by runtime",
        report=report,
        outcomes=OUTCOMES,
        sentence=f"{report.extent}: of all answers {answers}; {report.own_verdict}.",
        facts=[
            ("runtimes", ", ".join(f"{name} {version}" for name, version in runtimes)),
            ("machine", ", ".join(filter(None, map(str, report.machine.values())))),
            ("date", report.date),
            ("took", f"{report.seconds:.0f} s"),
        ],
        runtimes=runtimes,
        rows=[_row(report, rule) for rule in report.rules],
        explained=[(rule, RULES[rule]) for rule in report.rules],
        gone=[seen for seen in report.known if not seen.shown],
        findings=[_finding(report, *each, (examples or {}).get(each)) for each in pairs if _is_broken(report, *each)],
    )
    write_whole(path, content)


def _is_broken(report: Conformance, rule: str, runtime: str) -> bool:
    counts = report.counts(rule, runtime)
    return bool(counts["differs"] or counts["crashes"])


def _row(report: Conformance, rule: str) -> MatrixRow:
    cells = []
    for runtime in report.outcomes:
        counts = {name: count for name, count in report.counts(rule, runtime).items() if count}
        href = f"#{_name(report, rule, runtime)}"
        badges = [
            Badge(name, f"{count} {name}", href if name in ("differs", "crashes") else "")
            for name, count in counts.items()
        ]
        cells.append(badges)
    return MatrixRow(rule, RULES[rule].title, cells)


def _name(report: Conformance, rule: str, runtime: str) -> str:
    """Name a place on the page; names of runtimes may have spaces and colons."""
    return f"{rule}-{list(report.outcomes).index(runtime)}"


def _finding(report: Conformance, rule: str, runtime: str, example: Smallest | None) -> dict[str, Any]:
    """Say how one runtime breaks the rule that some cases are about."""
    counts = report.counts(rule, runtime)
    wrong = [pair for pair in report.of_rule(rule, runtime) if pair[1].counts_as in ("differs", "crashes")]
    case, outcome = next((pair for pair in wrong if pair[1].rule == rule), wrong[0])
    theirs = f"{runtime} {report.versions.get(runtime, '')}"
    kind = outcome.counts_as
    verb = "crashes on cases about" if kind == "crashes" else "breaks"
    others = Counter(each.rule for _, each in wrong if each.rule not in (None, rule))
    return finding(
        _name(report, rule, runtime),
        kind,
        f"{theirs} {verb} {rule}: {outcome.verdict.sentence}",
        rule,
        None if example is None else picture(example, theirs),
        (case.node, case.opset),
        ("case", case.name),
        ("data", f"{case.data}; input of shape {case.array.shape}, {case.array.dtype.name}"),
        ("cases", ", ".join(f"{counts[name]} {name}" for name in OUTCOMES if counts[name])),
        ("also breaks", ", ".join(f"{key} ({number})" for key, number in others.items())),
        ("known", references(upstream_of(rule, runtime))),
    )
