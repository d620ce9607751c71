"""What a validation found, as a page: one HTML file that needs no network and no script. Needs ``jinja2``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pooling.files import write_whole
from pooling.onnx_models.graph import is_default
from pooling.reporting.formats import by
from pooling.reporting.html import linked, rendered
from pooling.tool_arguments import path_of

from ..reduce import Smallest
from ..rules import RULES, applicable_rules
from .model import Finding, NodeReport, Report, alike, also_at
from .parts import TEMPLATES, Badge, MatrixRow, finding, picture, references

__all__ = ["write_page"]

KINDS = {
    "differs": ("Other answers", "On ordinary numbers, or on those that the model really has."),
    "special": (
        "Other answers to special numbers",
        "On NaN, infinities, the largest numbers and denormals, which a healthy network does not have.",
    ),
    "crashes": ("Crashes", "The runtime's process died, or exceeded its limits."),
    "refuses": ("Refusals", "The runtime reports the operator as unsupported."),
}
"""What findings count as, the most important first, with a heading and what it means."""
MOST_OTHERS = 30
"""Nodes that are named besides the first."""


def write_page(report: Report, path: str | os.PathLike[str]) -> None:
    """Write a report as a page, whole or not at all.

    The page is one file. It loads nothing and runs nothing, and shows whatever names a model has as text.

    Parameters
    ----------
    report : Report
        What was found.
    path : path
        The HTML file.

    Raises
    ------
    ModuleNotFoundError
        Without jinja2.
    OSError
        If the file cannot be written; a file that was there before is still there then.
    """
    path = path_of("write_page", "path", path)
    order = list(KINDS)
    groups = sorted(alike(report.findings), key=lambda group: order.index(group[0].counts_as))
    numbers = {id(found): number for number, group in enumerate(groups, start=1) for found in group}
    rules = list(_rule_rows(report, numbers))
    machine = (report.machine.get("processor"), report.machine.get("system"))
    content = rendered(
        TEMPLATES / "validation.html",
        title="Pooling validation",
        report=report,
        outcome={0: "agrees", 1: "differs", 2: "refuses"}[report.exit_code],
        facts=[
            ("runtimes", ", ".join(f"{name} {version}" for name, version in report.runtimes.items())),
            ("oracle", f"the reference of pooling {report.versions.get('pooling', '')}: direct evaluation in float64"),
            ("machine", ", ".join(str(part) for part in machine if part)),
            ("date", datetime.now(UTC).strftime("%Y-%m-%d")),
        ],
        models=[
            (each, [_node_row(result, report.runtimes, numbers) for result in each.nodes]) for each in report.models
        ],
        rules=rules,
        explained=[(row.title, RULES[row.title]) for row in rules],
        kinds=[
            (kind, *words, [_finding(group, numbers[id(group[0])]) for group in groups if group[0].counts_as == kind])
            for kind, words in KINDS.items()
        ],
    )
    write_whole(path, content)


def _finding(group: Sequence[Finding], number: int) -> dict[str, Any]:
    """Say what is wrong in one runtime: rule, picture, and what to do."""
    found = group[0]
    case, verdict = found.case, found.verdict
    shown = None
    if found.counts_as != "refuses" and found.alone:
        smallest = found.smallest or Smallest(case, found.expected, found.actual, verdict, 0)
        shown = picture(smallest, f"{found.runtime} {found.version}")
    return finding(
        f"finding-{number}",
        found.counts_as,
        found.sentence,
        found.rule,
        shown,
        (case.node, found.opset),
        ("model", found.path),
        ("data", f"{case.data}; input of shape {case.array.shape}, {case.array.dtype.name}"),
        ("extent", _extent(found)),
        ("also at", also_at(group, MOST_OTHERS)),
        ("known", references(found.upstream)),
        ("remedy", linked(found.remedy)),
    )


def _extent(found: Finding) -> str:
    """Say how much differs, and by how much."""
    verdict = found.verdict
    parts = []
    if verdict.differing:
        parts.append(f"{verdict.differing} of {verdict.elements} elements")
        if verdict.absolute:
            parts.append(f"at most {verdict.absolute:.3g} off" + (f", {verdict.ulp:.3g} ulp" if verdict.ulp else ""))
    if found.cases > 1:
        parts.append(f"the same in {found.cases} cases")
    return "; ".join(parts)


def _node_row(result: NodeReport, runtimes: Mapping[str, str], numbers: Mapping[int, int]) -> MatrixRow:
    before = result.node.shape
    kernel = [] if result.windows is None else [by([axis.kernel_size for axis in result.windows])]
    words = " ".join([result.node.operator, *kernel])
    sizes = "" if before is None else f", {by(before)}"
    sizes += "" if result.output_shape is None else f" → {by(result.output_shape)}"
    if result.problem:
        sizes += f". {'Not run' if not result.compared else 'Not run in full'}: {result.problem}"
    return MatrixRow(result.node.name, f"{words}{sizes}", [_node_badges(result, name, numbers) for name in runtimes])


def _node_badges(result: NodeReport, runtime: str, numbers: Mapping[int, int]) -> list[Badge]:
    summary = result.summaries.get(runtime)
    if summary is None or not summary.cases:
        return [Badge("none", "not asked" if result.compared else "not run", title=result.problem or "")]
    findings = [each for each in result.findings if each.runtime == runtime]
    if not findings:
        cases = ", ".join(f"{count} cases: {kind}" for kind, count in summary.cases.items())
        return [Badge("agrees", "agrees", title=cases)]
    return list(_badges(findings, numbers))


def _badges(findings: Sequence[Finding], numbers: Mapping[int, int]) -> Iterator[Badge]:
    """Yield one mark for each kind of finding, which leads to the first of them."""
    for kind in KINDS:
        some = [each for each in findings if each.counts_as == kind]
        if some:
            count = f" {len(some)}" if len(some) > 1 else ""
            sentences = "; ".join(dict.fromkeys(each.verdict.sentence for each in some))
            yield Badge(kind, f"{kind}{count}", f"#finding-{numbers[id(some[0])]}", sentences)


def _rule_rows(report: Report, numbers: Mapping[int, int]) -> Iterator[MatrixRow]:
    """Yield the rules that the models bring into play, with what each runtime makes of them."""
    compared = [result for result in report.nodes if result.compared and is_default(result.node.proto.domain)]
    applicable = {
        id(result): {
            *applicable_rules(result.node.proto, result.node.opset, result.node.input_shape),
            *(each.rule for each in result.findings),
        }
        for result in compared
    }
    for key, rule in RULES.items():
        nodes = [result for result in compared if key in applicable[id(result)]]
        if nodes:
            badges = [list(_rule_badges(key, nodes, runtime, numbers)) for runtime in report.runtimes]
            yield MatrixRow(key, rule.title, badges)


def _rule_badges(rule: str, nodes: Sequence[NodeReport], runtime: str, numbers: Mapping[int, int]) -> Iterator[Badge]:
    broken = [each for node in nodes for each in node.findings if each.runtime == runtime and each.rule == rule]
    yield from _badges(broken, numbers)
    others = [node for node in nodes if not any(each in broken for each in node.findings)]
    # What breaks another rule, or none that was found, leaves no answer that this one could be held against.
    unclear = [node for node in others if any(_unclear(each, runtime) for each in node.findings)]
    summaries = [node.summaries.get(runtime) for node in others if node not in unclear]
    answered = sum(summary is not None and summary.answered for summary in summaries)
    if answered:
        yield Badge("agrees", f"agrees {answered}" if len(nodes) > 1 else "agrees")
    if unclear:
        yield Badge("none", "unclear", title="it differs there by another rule, or by none that was found")
    elif not broken and not answered:
        silent = [summary for summary in summaries if summary is not None and summary.cases]
        yield Badge("none", "no answer" if silent else "not asked")


def _unclear(found: Finding, runtime: str) -> bool:
    """Whether a finding leaves it open if a rule that it does not break is kept."""
    hides = not found.special or found.rule is None
    return found.runtime == runtime and found.verdict.kind.differs and hides
