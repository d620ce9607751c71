"""What a validation found, as JUnit XML for CI systems: a suite for each model, a case for each node and runtime.

The files keep to what the schemas of Apache Ant and of Jenkins' xUnit plugin have in common.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree as Xml

from pooling.files import write_whole
from pooling.signs import printable
from pooling.tool_arguments import path_of

from ..rules import RULES
from .grids import draw, sketch
from .model import Finding, ModelReport, NodeReport, Report

__all__ = ["write_junit"]

NOBODY = "pooling"
"""The runtime that stands for all where none was asked."""


@dataclass(frozen=True)
class TestCase:
    """A test case: its name, and what came of it where it did not pass."""

    name: str
    outcome: str = ""
    kind: str = ""
    message: str = ""
    text: str = ""


def write_junit(report: Report, path: str | os.PathLike[str]) -> None:
    """Write a report as JUnit XML, whole or not at all.

    A runtime that gives another answer at a node has failed there, and so has one that refuses or differs on special
    numbers only if the report's `fail_on` says so. Other refusals are skipped cases, crashes are errors; special
    numbers that do not fail are told in the suite's output. What could not be run at all is an error.

    Parameters
    ----------
    report : Report
        What was found.
    path : path
        The file.

    Raises
    ------
    OSError
        If the file cannot be written; a file that was there before is still there then.
    """
    path = path_of("write_junit", "path", path)
    root = Xml.Element("testsuites")
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    for number, model in enumerate(report.models):
        root.append(_suite(report, model, number, when))
    Xml.indent(root)
    content = Xml.tostring(root, encoding="unicode")
    write_whole(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{content}\n')


def _suite(report: Report, model: ModelReport, number: int, when: str) -> Xml.Element:
    entries = list(_unique(_entries(report, model)))
    outcomes = Counter(entry.outcome for entry in entries)
    name = _text(model.path)
    suite = Xml.Element(
        "testsuite",
        name=name,
        package=_text(model.name),
        id=str(number),
        timestamp=when,
        hostname="localhost",
        tests=str(len(entries)),
        failures=str(outcomes["failure"]),
        errors=str(outcomes["error"]),
        skipped=str(outcomes["skipped"]),
        time="0",
    )
    properties = Xml.SubElement(suite, "properties")
    for key, value in {**report.versions, **{f"runtime {key}": text for key, text in report.runtimes.items()}}.items():
        Xml.SubElement(properties, "property", name=_text(key), value=printable(value, keep="\n"))
    for entry in entries:
        # Runtimes are not held against the clock here, but a time has to be there.
        case = Xml.SubElement(suite, "testcase", classname=_text(model.name), name=_text(entry.name), time="0")
        if entry.outcome:
            told = Xml.SubElement(case, entry.outcome, type=entry.kind, message=printable(entry.message, keep="\n"))
            told.text = printable(entry.text, keep="\n") or None
    Xml.SubElement(suite, "system-out").text = printable(_output(report, model), keep="\n") or None
    Xml.SubElement(suite, "system-err").text = printable(model.problem or "", keep="\n") or None
    return suite


def _text(name: str) -> str:
    """Return a name that is no empty token."""
    return printable(name, keep="\n").strip() or "?"


def _unique(entries: Iterator[TestCase]) -> Iterator[TestCase]:
    """Tell cases apart whose nodes have the same name."""
    seen: Counter[str] = Counter()
    for entry in entries:
        seen[entry.name] += 1
        again = seen[entry.name]
        name = entry.name if again == 1 else f"{entry.name} ({again})"
        yield TestCase(name, entry.outcome, entry.kind, entry.message, entry.text)


def _entries(report: Report, model: ModelReport) -> Iterator[TestCase]:
    if model.problem:
        yield TestCase("read the model", "error", "model", model.problem)
    for result in model.nodes:
        where = f"{result.node.operator} {result.node.name}"
        if result.problem:
            yield TestCase(f"{where} in {NOBODY}", "error", "not run", result.problem)
        for runtime in result.summaries:
            yield _entry(report, result, f"{where} in {runtime}", runtime)


def _entry(report: Report, result: NodeReport, name: str, runtime: str) -> TestCase:
    """Sum up what one runtime makes of one node: the worst that counts."""
    findings = [finding for finding in result.findings if finding.runtime == runtime]
    ranked = sorted(findings, key=lambda finding: OUTCOMES.index(_outcome(report, finding)))
    if not ranked or not _outcome(report, ranked[0]):
        return TestCase(name)
    worst = ranked[0]
    kind = worst.rule or str(worst.verdict.kind)
    return TestCase(name, _outcome(report, worst), kind, worst.sentence, "\n\n".join(map(_explained, findings)))


OUTCOMES = ("error", "failure", "skipped", "")
"""What may come of a case, the worst first."""


def _outcome(report: Report, finding: Finding) -> str:
    match finding.counts_as:
        case "crashes":
            return "error"
        case "differs":
            return "failure"
        case counts_as if counts_as in report.fail_on:
            return "failure"
        case "refuses":
            return "skipped"
    return ""


def _explained(finding: Finding) -> str:
    """Say what there is to know of a finding, line by line."""
    rule = RULES.get(finding.rule or "")
    lines = [finding.sentence]
    if rule is not None:
        lines += [f"Rule: {rule.text}", f"Source: {rule.source}"]
    lines.append(f"Data: {finding.case.data}")
    if finding.smallest is not None:
        shown = finding.smallest
        picture = draw(shown.case, shown.expected, shown.actual, shown.verdict)
        lines += ["", sketch(picture), *filter(None, [picture.window]), ""]
    if finding.upstream:
        lines.append(f"Known: {', '.join(finding.upstream)}")
    if finding.remedy:
        lines.append(f"Remedy: {finding.remedy}")
    return "\n".join(lines)


def _output(report: Report, model: ModelReport) -> str:
    """Tell what was found in cases that pass."""
    told = []
    for result in model.nodes:
        failing = {each.runtime for each in result.findings if _outcome(report, each)}
        told += [_explained(each) for each in result.findings if each.runtime not in failing]
    return "\n\n".join(told)
