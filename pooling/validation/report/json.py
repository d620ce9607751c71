"""What a validation or the conformance suite found, as what is written as JSON. Needs ``msgspec``."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from pooling.reporting import json
from pooling.reporting.json import record
from pooling.tool_arguments import path_of

from ..conformance.run import CaseResult, Conformance
from ..known_issues import Recheck
from ..reduce import Smallest, listed
from ..rules import RULES
from ..rules.evidence import Setting
from ..verdicts import Kind
from .model import Finding, ModelReport, NodeReport, Report
from .records import (
    CaseRecord,
    CaseResultRecord,
    ConformanceRecord,
    FindingRecord,
    KnownRecord,
    ModelRecord,
    NodeRecord,
    ReportRecord,
    RuntimeRecord,
    SmallestRecord,
    SummaryRecord,
)

__all__ = ["as_dict", "as_record", "save_json"]


def as_dict(report: Report | Conformance) -> dict[str, Any]:
    """Return everything as what JSON knows.

    Parameters
    ----------
    report : Report or Conformance
        What came out.

    Returns
    -------
    dict
        As `pooling.validation.report.records` describes it. Keys and their types stay as they are as long as ``schema``
        does; new ones may be added. Numbers that JSON does not have are the strings ``"nan"``, ``"inf"`` and
        ``"-inf"``.
    """
    result: dict[str, Any] = json.plain(as_record(report))
    return result


def save_json(report: Report | Conformance, path: str | os.PathLike[str]) -> None:
    """Write `as_dict` to a JSON file, whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written; a file that was there before is still there then.
    """
    json.save(as_record(report), path_of("save_json", "path", path))


def as_record(report: Report | Conformance) -> ReportRecord | ConformanceRecord:
    """Return the same as a record."""
    return _conformance(report) if isinstance(report, Conformance) else _report(report)


def _report(report: Report) -> ReportRecord:
    summary = record(
        SummaryRecord,
        report,
        nodes=len(report.nodes),
        equal=sum(result.verdict == "equal" for result in report.nodes),
        differ=len(report.differing),
        not_run=len(report.not_run),
        models_not_read=len(report.unread),
        findings=Counter(finding.counts_as for finding in report.findings),
        slower=sum(speedup < 1 for speedup in report.speedups),
        sentence=report.summary(),
    )
    return record(
        ReportRecord,
        report,
        schema="pooling-validation/2",
        settings={**report.settings, "fail_on": report.fail_on},
        models=[_model(model) for model in report.models],
        summary=summary,
    )


def _model(model: ModelReport) -> ModelRecord:
    return record(ModelRecord, model, nodes=[_node(result) for result in model.nodes])


def _node(report: NodeReport) -> NodeRecord:
    node = report.node
    return record(
        NodeRecord,
        report,
        name=node.name,
        operator=node.operator,
        opset=node.opset,
        input_shape=node.shape,
        layer=None if report.layer is None else repr(report.layer),
        largest_difference=report.largest_difference if report.compared else None,
        share_of_bound=report.share_of_bound if report.compared else None,
        runtimes={name: record(RuntimeRecord, summary) for name, summary in report.summaries.items()},
        findings=[_finding(finding) for finding in report.findings],
        seconds=report.times,
    )


def _finding(found: Finding) -> FindingRecord:
    verdict, rule = found.verdict, RULES.get(found.rule or "")
    return record(
        FindingRecord,
        found,
        kind=str(verdict.kind),
        rule_text=rule.text if rule else None,
        source=rule.source if rule else None,
        case=found.case.name,
        data=found.case.data,
        input_shapes={name: array.shape for name, array in found.case.inputs.items()},
        smallest=None if found.smallest is None else _smallest(found.smallest),
        **{key: getattr(verdict, key) for key in ("output", "where", "differing", "elements", "ulp", "absolute")},
        **{key: json.plain(getattr(verdict, key)) for key in ("expected", "actual")},
    )


def _smallest(found: Smallest) -> SmallestRecord:
    array = found.case.array
    return record(
        SmallestRecord,
        found,
        sentence=found.verdict.sentence,
        shape=array.shape,
        dtype=array.dtype.name,
        input=listed(array),
    )


def _conformance(report: Conformance) -> ConformanceRecord:
    return record(
        ConformanceRecord,
        report,
        schema="pooling-conformance/1",
        seconds=round(report.seconds, 1),
        rules={key: RULES[key] for key in report.rules},
        matrix={rule: {runtime: report.counts(rule, runtime) for runtime in report.outcomes} for rule in report.rules},
        cases=[_case(report, place) for place in range(len(report.cases))],
        known=[_known(each) for each in report.known],
    )


def _known(seen: Recheck) -> KnownRecord:
    return record(
        KnownRecord,
        seen.issue,
        kind=str(seen.issue.kind),
        installed=seen.version,
        shown=seen.shown,
        fixed=seen.fixed,
        sentence=seen.sentence,
    )


def _case(report: Conformance, place: int) -> CaseRecord:
    case = report.cases[place]
    setting = Setting(case.node, case.opset, tuple(case.array.shape))
    return record(
        CaseRecord,
        case,
        rule=case.rules[0],
        operator=setting.operator,
        attributes=setting.attributes,
        shape=setting.shape,
        dtype=case.array.dtype.name,
        outcomes={name: _outcome(found[place]) for name, found in report.outcomes.items()},
    )


def _outcome(outcome: CaseResult) -> CaseResultRecord:
    verdict = outcome.verdict
    wrong = verdict.kind is not Kind.AGREES
    return record(
        CaseResultRecord,
        verdict,
        outcome=outcome.counts_as,
        kind=str(verdict.kind) if wrong else None,
        rule=outcome.rule,
        sentence=verdict.sentence if wrong else "",
    )
