"""What came out of the conformance suite, for people: a table in the terminal and a page in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..conformance.run import OUTCOMES, CaseResult, Conformance
from ..inputs.case import Case
from ..known_issues import address, upstream_of
from ..rules import RULES
from ..rules.evidence import Setting

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["conformance_page", "print_conformance"]

SIGNS = {"agrees": "✓", "differs": "≠", "refuses": "–", "crashes": "†"}
STYLES = {"agrees": "green", "differs": "bold red", "refuses": "yellow", "crashes": "bold magenta"}
LEGEND = "✓ agrees with the oracle, ≠ answers otherwise, – refuses, † crashes or hangs"
LONGEST = 160
"""Signs of a runtime's sentence that are shown."""
WITHOUT_ONNX = ("torch", "jax")
"""Runtimes that read no ONNX, and are asked by the functions that mean the same."""


def print_conformance(report: Conformance, console: Console) -> None:
    """Print the matrix of rules and runtimes, what became of the known differences, and a line that sums up."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("rule", no_wrap=True)
    table.add_column("cases", justify="right")
    for runtime in report.outcomes:
        table.add_column(f"{runtime}\n{report.versions[runtime].partition(' ')[0]}", justify="right")
    for rule in report.rules:
        cells = []
        for runtime in report.outcomes:
            parts = [
                (f"{number}{SIGNS[name]}", STYLES[name])
                for name, number in report.counts(rule, runtime).items()
                if number
            ]
            cells.append(Text(" ").join(Text(*part) for part in parts))
        table.add_row(rule, str(_cases(report, rule)), *cells)
    console.print(table)
    console.print(Text(LEGEND, "dim"), soft_wrap=True)
    console.print()
    for seen in report.known:
        if not seen.shown:
            console.print(Text(seen.sentence, "green" if seen.fixed else "yellow"), soft_wrap=True)
    shown = sum(seen.shown for seen in report.known)
    if report.known:
        console.print(f"{shown} of {len(report.known)} known differences are there in the installed versions")
    summary = f"{report.extent}, {report.seconds:.0f} s: {report.own_verdict}"
    console.print(summary, style="bold red" if report.exit_code else "bold green", soft_wrap=True)


def _cases(report: Conformance, rule: str) -> int:
    return sum(case.rules[0] == rule for case in report.cases)


# ---------------------------------------------------------------------------------------------------------------------
# The page

HEAD = """\
<!-- Made by docs/make_conformance.py. -->

# Conformance by runtime

{cases} models of one pooling node each, run by {runtimes} runtimes on {date}, and compared with an oracle that works
out every window by itself, exactly but for one rounding (`pooling.reference`). Each case is about one rule; the rules
are those of the ONNX text where it has one, and else those that follow below. Means and norms may differ by what
rounding can cause.

Run it yourself, with whatever is installed:

```sh
pooling conformance
```

The same cases as ONNX node tests, for a runtime that is not in the list:

```sh
pooling node-tests FOLDER
```

## The matrix

{legend}. Bold where an answer is wrong or a process ends.
"""


def conformance_page(report: Conformance) -> str:
    """Write the page: the matrix first, then what each runtime does, rule by rule.

    Parameters
    ----------
    report : Conformance
        What to write.

    Returns
    -------
    str
        Markdown.
    """
    head = HEAD.format(cases=len(report.cases), runtimes=len(report.outcomes), date=report.date, legend=LEGEND)
    parts = [head, *_matrix(report), "", *_notes(report), *_known(report)]
    for rule in report.rules:
        parts += _of_rule(report, rule)
    return "\n".join(parts) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _unbroken(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _matrix(report: Conformance) -> Iterator[str]:
    runtimes = list(report.outcomes)
    yield _row(["Rule", "Cases", *runtimes])
    yield _row(["---", "--:", *["---"] * len(runtimes)])
    for rule in report.rules:
        cells = []
        for runtime in runtimes:
            parts = {name: number for name, number in report.counts(rule, runtime).items() if number}
            text = " ".join(f"{number} {SIGNS[name]}" for name, number in parts.items())
            cells.append(f"**{text}**" if {"differs", "crashes"} & parts.keys() else text)
        yield _row([f"[{rule}](#{rule})", str(_cases(report, rule)), *map(_unbroken, cells)])
    sums = []
    for runtime in runtimes:
        total = {name: sum(report.counts(rule, runtime)[name] for rule in report.rules) for name in OUTCOMES}
        text = " ".join(f"{number} {SIGNS[name]}" for name, number in total.items() if number)
        sums.append(_unbroken(text))
    yield _row(["all", str(len(report.cases)), *sums])


def _notes(report: Conformance) -> Iterator[str]:
    yield "- Versions: " + ", ".join(f"{name} {version}" for name, version in report.versions.items()) + "."
    yield (
        f"- Suite of seed {report.seed} on {report.date}, {report.seconds:.0f} seconds, {report.machine['system']}, "
        f"Python {report.machine['python']}."
    )
    if "portable" in report.outcomes:
        yield "- `portable` is the graph that `pooling.export` writes for the same node, run by onnxruntime."
    absent = [f"`{name}`" for name in WITHOUT_ONNX if name in report.outcomes]
    if absent:
        yield f"- {' and '.join(absent)} read no ONNX: what their functions have no argument for is a refusal."
    yield ""


def _known(report: Conformance) -> Iterator[str]:
    if not report.known:
        return
    shown = sum(seen.shown for seen in report.known)
    yield "## Known differences"
    yield ""
    yield f"{shown} of {len(report.known)} known differences are there in these versions. Of the others:"
    yield ""
    for seen in report.known:
        if not seen.shown:
            yield f"- {_plain(seen.sentence)} ({_plain(seen.issue.finding)}{_links(seen.issue.upstream)})"
    yield ""


def _of_rule(report: Conformance, rule: str) -> Iterator[str]:
    described = RULES[rule]
    yield f"## {rule}"
    yield ""
    yield f"**{described.title}.** {described.text}"
    yield ""
    yield f"Source: {described.source}."
    yield ""
    keeps, rows, others = [], [], []
    for runtime in report.outcomes:
        pairs = report.of_rule(rule, runtime)
        if all(outcome.counts_as == "agrees" for _, outcome in pairs):
            keeps.append(runtime)
        for name in OUTCOMES[1:]:
            of_kind = [pair for pair in pairs if pair[1].counts_as == name]
            if name == "refuses":
                # What is refused for another reason is told where that reason is the rule.
                count = len(of_kind)
                of_kind = [pair for pair in of_kind if pair[1].rule == rule or not pair[1].rule]
                if len(of_kind) < count:
                    others.append(f"{runtime} {count - len(of_kind)}")
            if of_kind:
                rows.append(_row([runtime, f"{len(of_kind)} {SIGNS[name]}", *_example(of_kind, rule, runtime)]))
    if keeps:
        yield f"All {_cases(report, rule)} cases right: {', '.join(keeps)}."
        yield ""
    if rows:
        yield _row(["Runtime", "Cases", "For example", "Recheck", "Reported"])
        yield _row(["---", "--:", "---", "---", "---"])
        yield from rows
        yield ""
    if others:
        yield f"Unsupported for want of an operator, a dtype or another rule: {', '.join(others)}."
        yield ""


def _size(pair: tuple[Case, CaseResult]) -> tuple[bool, int, int, int]:
    """Order examples: float32 first, then small ones, then those in new opsets."""
    case, outcome = pair
    return case.array.dtype.name != "float32", case.array.size, outcome.verdict.differing, -case.opset


def _example(pairs: list[tuple[Case, CaseResult]], rule: str, runtime: str) -> list[str]:
    """Describe the smallest case of those that break the rule itself, or of all."""
    typical = [pair for pair in pairs if pair[1].rule == rule] or pairs
    case, outcome = min(typical, key=_size)
    others = len(pairs) - len([pair for pair in pairs if pair[1].rule == rule])
    sentence = outcome.verdict.sentence
    seen = _plain(sentence if len(sentence) <= LONGEST else f"{sentence[:LONGEST]}…")
    if outcome.counts_as == "differs" and others:
        seen += f" ({others} of them by another rule or unexplained)"
    return [f"`{_model(case)}`", seen, _links(upstream_of(rule, runtime, case), lead="")]


def _model(case: Case) -> str:
    setting = Setting(case.node, case.opset, tuple(case.array.shape))
    attributes = "".join(f", {name}={value}" for name, value in setting.attributes.items())
    asked = ", with indices" if setting.indices else ""
    shape = " × ".join(map(str, setting.shape))
    data = f" ({case.data})" if case.data else ""
    return f"{setting.operator}-{case.opset} of {case.array.dtype.name} {shape}{data}{attributes}{asked}"


def _links(upstream: tuple[str, ...], lead: str = "; ") -> str:
    return (lead if upstream else "") + ", ".join(f"[{name}]({address(name)})" for name in upstream)


def _plain(text: str) -> str:
    """Keep what runtimes say from being read as Markdown."""
    signs = {"|": "\\|", "<": "&lt;", "*": "\\*", "_": "\\_", "`": "'", "[": "\\[", "]": "\\]"}
    return "".join(signs.get(sign, sign) for sign in " ".join(text.split()))
