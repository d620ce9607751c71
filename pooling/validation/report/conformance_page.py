"""What came out of the conformance suite, as a page: one HTML file that needs no network and no script to be read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping

from pooling.files import write_whole

from ..conformance.run import OUTCOMES, Conformance
from ..known_issues import issues_of
from ..reduce import Smallest
from ..reduce_findings import Pair
from ..rules import RULES
from .markup import Markup, tag
from .sheet import (
    LEGEND,
    Row,
    Square,
    document,
    facts,
    marks,
    matrix,
    node_of,
    picture,
    references,
    rules_in_words,
    with_links,
)

__all__ = ["write_conformance"]

VERBS = {"agrees": "agree", "differs": "differ", "refuses": "refuse", "crashes": "crash"}


def write_conformance(
    report: Conformance, path: str | os.PathLike[str], examples: Mapping[Pair, Smallest] | None = None
) -> None:
    """Write the truth table as a page, whole or not at all.

    Parameters
    ----------
    report : Conformance
        What came out.
    path : path
        The HTML file.
    examples : mapping of pair of str to Smallest, optional
        By rule and runtime, what to draw (`pooling.validation.reduce_findings.smallest_of_rules`).

    Raises
    ------
    OSError
        If the file cannot be written; a file that was there before is still there then.
    """
    columns = [(runtime, report.versions.get(runtime, "")) for runtime in report.outcomes]
    rows = [_row(report, rule) for rule in report.rules]
    body = [
        tag("h2", "Rules"),
        tag("p", "Each case is about one rule. Numbers are cases.", class_="soft"),
        matrix("rule", columns, rows, "rules in each runtime"),
        rules_in_words(report.rules),
        *_known(report),
    ]
    findings = [
        _finding(report, rule, runtime, (examples or {}).get((rule, runtime)))
        for rule in report.rules
        for runtime in report.outcomes
        if _is_broken(report, rule, runtime)
    ]
    if findings:
        body += [tag("h2", "Where they differ"), LEGEND, *findings]
    total: Counter[str] = Counter()
    for rule in report.rules:
        for runtime in report.outcomes:
            total.update(report.counts(rule, runtime))
    answers = ", ".join(f"{total[name]} {VERBS[name]}" for name in OUTCOMES if total[name])
    own = "pooling itself breaks a rule" if report.exit_code else "pooling itself keeps every rule"
    outcome = (
        f"{len(report.cases)} cases about {len(report.rules)} rules in {len(report.outcomes)} runtimes: of all answers "
        f"{answers}; {own}."
    )
    header = tag(
        "header",
        tag("h1", "Who keeps which rule of pooling"),
        tag("p", outcome, class_=f"outcome {'differs' if report.exit_code else 'agrees'}"),
        facts(
            [
                ("runtimes", ", ".join(f"{name} {version}" for name, version in columns)),
                ("machine", ", ".join(filter(None, map(str, report.machine.values())))),
                ("date", report.date),
                ("took", f"{report.seconds:.0f} s"),
            ]
        ),
        marks(OUTCOMES),
    )
    write_whole(path, document("Who keeps which rule of pooling", header, tag("main", *body)))


def _is_broken(report: Conformance, rule: str, runtime: str) -> bool:
    counts = report.counts(rule, runtime)
    return bool(counts["differs"] or counts["crashes"])


def _row(report: Conformance, rule: str) -> Row:
    cells = []
    for runtime in report.outcomes:
        counts = report.counts(rule, runtime)
        href = f"#{_name(report, rule, runtime)}" if _is_broken(report, rule, runtime) else None
        cells.append(
            [
                Square(name, f"{counts[name]} {name}", href if name in ("differs", "crashes") else None)
                for name in OUTCOMES
                if counts[name]
            ]
        )
    return Row(rule, RULES[rule].title, cells)


def _name(report: Conformance, rule: str, runtime: str) -> str:
    """Name a place on the page; names of runtimes may have spaces and colons."""
    return f"{rule}-{list(report.outcomes).index(runtime)}"


def _known(report: Conformance) -> Iterator[Markup]:
    """Say what became of the differences that were known."""
    gone = [seen for seen in report.known if not seen.shown]
    if not report.known:
        return
    yield tag("h2", "Known differences")
    there = len(report.known) - len(gone)
    yield tag("p", f"{there} of {len(report.known)} are there in the installed versions, and as they were.")
    if gone:
        marks = {
            True: tag("span", "fixed", class_="mark agrees"),
            False: tag("span", "changed", class_="mark refuses"),
        }
        yield tag("ul", *(tag("li", marks[seen.fixed], f" {seen.sentence}") for seen in gone))


def _finding(report: Conformance, rule: str, runtime: str, example: Smallest | None) -> Markup:
    """Write how one runtime breaks the rule that some cases are about."""
    counts = report.counts(rule, runtime)
    wrong = [
        (case, outcome)
        for case, outcome in report.of_rule(rule, runtime)
        if outcome.counts_as in ("differs", "crashes")
    ]
    case, outcome = next((pair for pair in wrong if pair[1].rule == rule), wrong[0])
    version = report.versions.get(runtime, "")
    kind = outcome.counts_as
    verb = "crashes on cases about" if kind == "crashes" else "breaks"
    sentence = f"{runtime} {version} {verb} {rule}: {outcome.verdict.sentence}"
    parts: list[str] = [
        tag("h3", tag("span", kind, class_=f"mark {kind}"), " ", sentence),
        tag("p", tag("b", rule), f": {RULES[rule].title}. {RULES[rule].text}"),
        tag("p", "Source: ", with_links(RULES[rule].source), class_="small soft"),
    ]
    if example is not None:
        parts.append(picture(example, f"{runtime} {version}"))
    shown = ", ".join(f"{counts[name]} {name}" for name in OUTCOMES if counts[name])
    others = Counter(each.rule for _, each in wrong if each.rule not in (None, rule))
    known = issues_of(rule, runtime)
    upstream = dict.fromkeys(reference for each in known for reference in each.upstream)
    parts.append(
        facts(
            [
                ("node", node_of(case.node, case.opset)),
                ("case", case.name),
                ("data", f"{case.data}; input of shape {case.array.shape}, {case.array.dtype.name}"),
                ("cases", shown),
                ("also breaks", ", ".join(f"{key} ({number})" for key, number in others.items())),
                ("known", references(upstream)),
            ]
        )
    )
    return tag("article", *parts, class_="finding", id=_name(report, rule, runtime))
