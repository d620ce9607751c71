"""What a validation found, as a page: one HTML file that needs no network and no script to be read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from pooling.files import write_whole

from ..reduce import Smallest
from ..reduce_findings import alike
from ..rules import RULES, rules_at_stake
from .markup import Markup, tag
from .model import Finding, ModelReport, Report, StageReport, also_at
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

__all__ = ["write_page"]

KINDS = ("differs", "special", "crashes", "refuses")
"""What findings count as, the most important first."""
HEADINGS = {
    "differs": "Other answers",
    "special": "Other answers to special numbers",
    "crashes": "Crashes",
    "refuses": "Refusals",
}
EXPLAINED = {
    "differs": "On ordinary numbers, or on those that the model really has.",
    "special": "On NaN, infinities, the largest numbers and denormals, which a healthy network does not have.",
    "crashes": "The runtime's process died, or exceeded its limits.",
    "refuses": "The runtime says no in good order.",
}
MOST_OTHERS = 30
"""Nodes that are named besides the first."""
# ---------------------------------------------------------------------------------------------------------------------
# Findings


def _finding(group: Sequence[Finding], number: int) -> Markup:
    """Write what is wrong in one runtime: rule, picture, and what to do."""
    found = group[0]
    case, verdict = found.case, found.verdict
    kind = found.counts_as
    rule = RULES.get(found.rule or "")
    parts: list[str] = [tag("h3", tag("span", kind, class_=f"mark {kind}"), " ", found.sentence)]
    if rule is not None:
        parts += [
            tag("p", tag("b", rule.key), f": {rule.title}. {rule.text}"),
            tag("p", "Source: ", with_links(rule.source), class_="small soft"),
        ]
    if kind != "refuses" and found.alone:
        shown = found.smallest or Smallest(case, found.expected, found.actual, verdict, 0)
        parts.append(picture(shown, f"{found.runtime} {found.version}"))
    known = [
        ("node", node_of(case.node, found.opset)),
        ("model", found.path),
        ("data", f"{case.data}; input of shape {case.array.shape}, {case.array.dtype.name}"),
        ("extent", _extent(found)),
        ("also at", also_at(group, MOST_OTHERS)),
        ("known", references(found.upstream)),
        ("remedy", with_links(found.remedy)),
    ]
    parts.append(facts(known))
    return tag("article", *parts, class_="finding", id=f"finding-{number}")


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


# ---------------------------------------------------------------------------------------------------------------------
# Models and rules


def _model(model: ModelReport, runtimes: Mapping[str, str], numbers: Mapping[int, int]) -> Iterator[Markup]:
    """Write what came of one model: its stages in all runtimes, and what a repair does."""
    yield tag("h2", model.name)
    yield tag("p", model.path, class_="small soft")
    if model.problem:
        yield tag("p", tag("span", "not read", class_="mark refuses"), f" {model.problem}")
    elif not model.stages:
        yield tag("p", "There are no pooling nodes in it." if not model.unasked else "Nothing in it was compared.")
    else:
        rows = [_stage_row(stage, runtimes, numbers) for stage in model.stages]
        yield matrix("stage", list(runtimes.items()), rows, f"stages of {model.name} in each runtime")
    for what in (*model.notes, *model.unasked):
        yield tag("p", what, class_="small")
    if model.repair is not None:
        yield tag("p", tag("b", "Repair: "), f"{model.repair.sentence}.")
        if model.repair.remaining:
            sentences = [tag("li", sentence) for sentence in dict.fromkeys(model.repair.remaining)]
            yield tag("details", tag("summary", "What remains after the repair"), tag("ul", *sentences))


def _stage_row(stage: StageReport, runtimes: Mapping[str, str], numbers: Mapping[int, int]) -> Row:
    before = stage.stage.shape
    kernel = [] if stage.windows is None else [_by([axis.kernel_size for axis in stage.windows])]
    words = " ".join([stage.stage.operator, *kernel])
    sizes = "" if before is None else f", {_by(before)}"
    sizes += "" if stage.output_shape is None else f" → {_by(stage.output_shape)}"
    if stage.problem:
        sizes += f". {'Not run' if not stage.compared else 'Not run in full'}: {stage.problem}"
    return Row(stage.stage.name, f"{words}{sizes}", [_stage_squares(stage, name, numbers) for name in runtimes])


def _stage_squares(stage: StageReport, runtime: str, numbers: Mapping[int, int]) -> list[Square]:
    opinion = stage.opinions.get(runtime)
    if opinion is None or not opinion.cases:
        return [Square("none", "not asked" if stage.compared else "not run", title=stage.problem or "")]
    findings = [each for each in stage.findings if each.runtime == runtime]
    if not findings:
        return [Square("agrees", "agrees", title=_counted(opinion.cases))]
    return list(_squares(findings, numbers))


def _squares(findings: Sequence[Finding], numbers: Mapping[int, int]) -> Iterator[Square]:
    """Yield one mark for each kind of finding, which leads to the first of them."""
    for kind in KINDS:
        some = [each for each in findings if each.counts_as == kind]
        if some:
            count = f" {len(some)}" if len(some) > 1 else ""
            sentences = "; ".join(dict.fromkeys(each.verdict.sentence for each in some))
            yield Square(kind, f"{kind}{count}", f"#finding-{numbers[id(some[0])]}", sentences)


def _counted(cases: Mapping[str, int]) -> str:
    return ", ".join(f"{count} cases: {kind}" for kind, count in cases.items())


def _rule_rows(report: Report, numbers: Mapping[int, int]) -> Iterator[Row]:
    """Yield the rules that the models bring into play, with what each runtime makes of them."""
    compared = [stage for stage in report.stages if stage.compared and stage.stage.node.domain in ("", "ai.onnx")]
    at_stake = {
        id(stage): {
            *rules_at_stake(stage.stage.node, stage.stage.opset, stage.stage.input_shape),
            *(each.rule for each in stage.findings),
        }
        for stage in compared
    }
    for key, rule in RULES.items():
        stages = [stage for stage in compared if key in at_stake[id(stage)]]
        if stages:
            squares = [list(_rule_squares(key, stages, runtime, numbers)) for runtime in report.runtimes]
            yield Row(key, rule.title, squares)


def _rule_squares(
    rule: str, stages: Sequence[StageReport], runtime: str, numbers: Mapping[int, int]
) -> Iterator[Square]:
    broken = [each for stage in stages for each in stage.findings if each.runtime == runtime and each.rule == rule]
    yield from _squares(broken, numbers)
    others = [stage for stage in stages if not any(each in broken for each in stage.findings)]
    # What breaks another rule, or none that was found, leaves no answer that this one could be held against.
    unclear = [stage for stage in others if any(_unclear(each, runtime) for each in stage.findings)]
    opinions = [stage.opinions.get(runtime) for stage in others if stage not in unclear]
    answered = sum(opinion is not None and opinion.answered for opinion in opinions)
    if answered:
        yield Square("agrees", f"agrees {answered}" if len(stages) > 1 else "agrees")
    if unclear:
        yield Square("none", "unclear", title="it differs there by another rule, or by none that was found")
    elif not broken and not answered:
        silent = [opinion for opinion in opinions if opinion is not None and opinion.cases]
        yield Square("none", "no answer" if silent else "not asked")


def _unclear(found: Finding, runtime: str) -> bool:
    """Whether a finding leaves it open if a rule that it does not break is kept."""
    hides = not found.special or found.rule is None
    return found.runtime == runtime and found.verdict.kind.differs and hides


def _by(sizes: Iterable[int | str]) -> str:
    return "×".join(map(str, sizes))


# ---------------------------------------------------------------------------------------------------------------------
# Pages


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
    OSError
        If the file cannot be written; a file that was there before is still there then.
    """
    groups = sorted(alike(report.findings), key=lambda group: KINDS.index(group[0].counts_as))
    numbers = {id(found): number for number, group in enumerate(groups, start=1) for found in group}
    models = [part for model in report.models for part in _model(model, report.runtimes, numbers)]
    rules = list(_rule_rows(report, numbers))
    body: list[str] = [*models]
    if rules:
        about = (
            "How many nodes bring a rule into play, and in how many of them it is broken; unclear where a runtime "
            "gives another answer for another reason."
        )
        body += [
            tag("h2", "Rules"),
            tag("p", about, class_="soft"),
            matrix("rule", list(report.runtimes.items()), rules, "rules in each runtime"),
            rules_in_words(row.title for row in rules),
        ]
    for kind in KINDS:
        chosen = [(number, group) for number, group in enumerate(groups, start=1) if group[0].counts_as == kind]
        if chosen:
            body += [tag("h2", HEADINGS[kind]), tag("p", EXPLAINED[kind], class_="soft")]
            body += [LEGEND] * (kind != "refuses")
            body += [_finding(group, number) for number, group in chosen]
    state = {0: "agrees", 1: "differs", 2: "refuses"}[report.exit_code]
    header = tag(
        "header",
        tag("h1", "Pooling validation"),
        tag("p", f"{report.summary()}.", class_=f"outcome {state}"),
        facts(_facts(report)),
        marks(),
    )
    version = report.versions.get("pooling", "")
    footer = tag("footer", tag("p", f"Written by pooling {version}. The page needs no network and runs no script."))
    write_whole(path, document("Pooling validation", header, tag("main", *body), footer))


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    yield "runtimes", ", ".join(f"{name} {version}" for name, version in report.runtimes.items())
    yield "judge", f"the oracle of pooling {report.versions.get('pooling', '')}: slow, literal, in float64"
    yield (
        "machine",
        ", ".join(str(part) for part in (report.machine.get("processor"), report.machine.get("system")) if part),
    )
    yield "date", datetime.now(UTC).strftime("%Y-%m-%d")
