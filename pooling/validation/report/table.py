"""What a validation found, for people: a table in the terminal. Needs ``rich``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pooling.reporting.formats import brief, by
from pooling.reporting.tables import Column, Layout, say
from pooling.signs import counted, printable

from .model import Finding, NodeReport, Report, alike, also_at

__all__ = ["print_report"]

NARROWEST_NAME = 6
"""What is left of node names on a narrow terminal."""
WIDE_GAP = 2
INDENT = "  "
"""What stands in front of a node's name, below that of its model."""
FINDINGS_SHOWN = 20
NODES_SHOWN = 3
VERDICTS = {
    "agrees": ("agrees", "green"),
    "differs": ("differs", "bold red"),
    "special": ("only on special numbers", "yellow"),
    "refuses": ("refuses", "yellow"),
    "crashes": ("crashes", "bold magenta"),
    "not asked": ("not asked", "dim"),
}
"""What a runtime makes of a node, as a heading, and its style."""


def print_report(report: Report, console: Console) -> None:
    """Print a report: the runtimes, a table of all nodes, what was found, and a line that sums up.

    The table fits a console of 120 columns, of 100 with shorter names, and of 80 with less in it.
    """
    console.print(_heading(report), soft_wrap=True)
    style = {0: "bold green", 1: "bold red", 2: "bold yellow"}[report.exit_code]
    say(console, Text(report.summary(), style))
    console.print()
    _print_table(report, console)
    for model in report.models:
        for note in model.notes:
            say(console, Text.assemble((printable(model.name), "bold"), printable(f": {note}")))
        if not model.nodes and not model.problem and not model.unasked:
            console.print(Text.assemble((printable(model.name), "bold"), " has no pooling nodes"), soft_wrap=True)
    if any(model.notes for model in report.models):
        console.print()
    if report.findings:
        _print_runtimes(report, console)
        _print_findings(report, console)
    if report.disturbed:
        note = "The times are unsteady: something else keeps the processors busy. Run again when it is done."
        console.print(Text(note, "yellow"), soft_wrap=True)
    for note in report.notes:
        say(console, Text(printable(note), "yellow"))
    for where, what in report.problems[:FINDINGS_SHOWN]:
        say(console, Text.assemble((printable(where), "bold"), printable(f": {what}")))
    if len(report.problems) > FINDINGS_SHOWN:
        console.print(Text(f"... and {len(report.problems) - FINDINGS_SHOWN} more"))


def _heading(report: Report) -> Text:
    machine, versions, threads = report.machine, report.versions, report.settings["threads"]
    text = Text.assemble((f"pooling {versions['pooling']}", "bold"), f" ({machine['instruction_set']})")
    others = [(name, version) for name, version in report.runtimes.items() if name not in ("pooling", "portable")]
    for number, (name, version) in enumerate(others):
        text.append(" and " if number == len(others) - 1 else ", ")
        text.append(f"{name} {version}", "bold")
    each = f", {counted(threads, 'thread')} each, on {machine['processor'] or machine['system']}"
    return text.append(each)


def _print_runtimes(report: Report, console: Console) -> None:
    """Print how many nodes each runtime agrees on, differs on, and so on."""
    table = Table(box=None, pad_edge=False, padding=(0, WIDE_GAP, 0, 0), header_style="bold")
    table.add_column("runtime", no_wrap=True)
    for verdict in VERDICTS:
        table.add_column(VERDICTS[verdict][0], justify="right")
    for name, version in report.runtimes.items():
        found = Counter(result.summaries[name].verdict for result in report.nodes if name in result.summaries)
        label = name if version.startswith(report.versions["pooling"]) else f"{name} {version}"
        cells = [
            Text(str(found[key]) if found[key] else "·", VERDICTS[key][1] if found[key] else "dim") for key in VERDICTS
        ]
        table.add_row(Text(printable(label)), *cells)
    console.print(table)
    console.print()


def _print_findings(report: Report, console: Console) -> None:
    """Print what was found, the same in several nodes once; of numbers that no healthy network has, only the rules."""
    order = list(VERDICTS)
    everything = sorted(alike(report.findings), key=lambda group: order.index(group[0].counts_as))
    counted = "special" in report.fail_on
    shown = [group for group in everything if counted or group[0].counts_as != "special"]
    for group in shown[:FINDINGS_SHOWN]:
        first = group[0]
        text = Text.assemble((printable(first.sentence), VERDICTS[first.counts_as][1]))
        say(console, text)
        others = also_at(group, NODES_SHOWN)
        lines = [("also at", others)] if others else []
        lines += [("on", first.case.data)] if first.counts_as in ("differs", "special") else []
        lines += [("see", ", ".join(first.upstream))] if first.upstream else []
        if first.remedy:
            lines.append(("remedy", first.remedy))
        for word, what in lines:
            say(console, Text.assemble((f"{word}: ", "dim"), printable(what)), 4)
    if len(shown) > FINDINGS_SHOWN:
        console.print(Text(f"... and {len(shown) - FINDINGS_SHOWN} more; --json FILE has all"))
    rest = [group for group in everything if group[0].counts_as == "special"]
    if rest and not counted:
        _print_special(rest, console)
    for model in report.models:
        if model.repair is not None:
            style = "yellow" if model.repair.after or not model.repair.changes else "green"
            say(
                console,
                Text.assemble((f"{printable(model.name)}: ", "bold"), (printable(model.repair.sentence), style)),
            )
    console.print()


def _print_special(groups: Sequence[Sequence[Finding]], console: Console) -> None:
    """Print, one line for each rule, who breaks it on NaN, infinities or extreme numbers."""
    say(console, Text("on NaN, infinities or extreme numbers only (--html FILE shows them):", VERDICTS["special"][1]))
    rules: dict[str, list[Finding]] = {}
    for group in groups:
        rules.setdefault(group[0].rule or "other differences", []).extend(group)
    for rule, findings in rules.items():
        names = dict.fromkeys(f"{each.runtime} {each.version}" for each in findings)
        nodes = len({(each.path, each.node) for each in findings})
        upstream = dict.fromkeys(reference for each in findings for reference in each.upstream)
        told = f"{', '.join(names)}; {counted(nodes, 'node')}"
        told += f"; see {', '.join(upstream)}" if upstream else ""
        # What comes behind the semicolon, that it helped, goes without saying here.
        remedies = dict.fromkeys(each.remedy.partition("; ")[0] for each in findings if each.remedy)
        told += f"; remedy: {' or '.join(remedies)}" if remedies else ""
        say(console, Text.assemble((f"{rule}: ", "dim"), printable(told)), 4)


def _print_table(report: Report, console: Console) -> None:
    """Print one table for each model, all with the same columns, so that they look like one with titles in between."""
    if not report.nodes:
        return
    layout = Layout(COLUMNS, report.nodes, console.width, NARROWEST_NAME, WIDE_GAP, INDENT)
    console.print(layout.table([]))
    for model in report.models:
        if model.nodes:
            console.print(Text(printable(model.name), "bold cyan", overflow="ellipsis", no_wrap=True))
            console.print(layout.table(model.nodes, header=False))
    console.print()
    if any(result.share_of_bound for result in report.nodes):
        note = "difference: the largest of all elements; behind an average's, its share of what rounding may cause"
        console.print(Text(note, "dim"), soft_wrap=True)


# ---------------------------------------------------------------------------------------------------------------------
# Columns


def _operator(report: NodeReport) -> Text:
    kernel = [] if report.windows is None else [by([axis.kernel_size for axis in report.windows])]
    return Text(" ".join([report.node.operator, *kernel]))


def _stride(report: NodeReport) -> Text:
    return Text("" if report.windows is None else brief([axis.stride for axis in report.windows]))


def _pads(report: NodeReport) -> Text:
    if report.windows is None:
        return Text()
    begin, end = ([getattr(axis, side) for axis in report.windows] for side in ("pad_begin", "pad_end"))
    return Text(brief(begin) if begin == end else " ".join(map(str, begin + end)))


def _also(report: NodeReport) -> Text:
    """Say what few nodes have."""
    if report.layer is None or report.windows is None:
        return Text()
    arguments, dilation = report.layer.arguments, [axis.dilation for axis in report.windows]
    padded = any(axis.pad_begin or axis.pad_end for axis in report.windows)
    words = {
        f"dilation {brief(dilation)}": max(dilation) > 1,
        "ceil": arguments.get("ceil_mode"),
        "counts pads": arguments.get("count_include_pad") and padded,
        str(arguments["padding"]).replace("_", " "): isinstance(arguments["padding"], str),
        "indices": arguments.get("return_indices"),
    }
    return Text(", ".join(word for word, holds in words.items() if holds))


def _shapes(report: NodeReport) -> Text:
    """Give the input's shape, and of the result what is not the same."""
    if report.node.shape is None:
        return Text("?")
    before = by(report.node.shape)
    if report.output_shape is None or report.layer is None:
        return Text(before)
    spatial = slice(1, -1) if report.layer.layout == "channels_last" else slice(2, None)
    return Text(f"{before} → {by(report.output_shape[spatial])}")


def _difference(report: NodeReport) -> Text:
    if report.verdict != "equal":
        return Text(report.verdict, "bold red" if report.differs else "yellow")
    largest, share = report.largest_difference, report.share_of_bound
    return Text.assemble(
        (f"{largest:.1e}" if largest else "0", "green"),
        (f" {share:.0%}" if largest and share is not None else "", "dim"),
    )


def _time(report: NodeReport, runtime: str) -> Text:
    if not report.times:
        return Text()
    seconds = report.times[runtime].median
    return Text(f"{seconds * 1e6:,.0f} µs" if seconds < 0.01 else f"{seconds * 1e3:,.1f} ms")


def _speed(report: NodeReport) -> Text:
    speedup = report.speedup
    if speedup is None:
        return Text()
    return Text(f"{speedup:.1f}×" if speedup >= 0.95 else f"{speedup:.2g}×", "green" if speedup >= 1 else "red")


COLUMNS: tuple[Column[NodeReport], ...] = (
    Column("node", lambda report: Text(printable(report.node.name))),
    Column("operator", _operator),
    Column("stride", _stride, wanted=3),
    Column("pads", _pads, wanted=2),
    Column("", _also, wanted=4),
    Column("input → output", _shapes),
    Column("difference", _difference),
    Column("pooling", lambda report: _time(report, "pooling"), "right"),
    Column("onnxruntime", lambda report: _time(report, "onnxruntime"), "right", wanted=1),
    Column("speed", _speed, "right"),
)
