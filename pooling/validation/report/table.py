"""What a validation found, for people: a table in the terminal. Needs ``rich``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pooling.signs import printable, shortened_apart

from ..reduce_findings import alike
from .model import Finding, Report, StageReport, also_at

__all__ = ["print_report"]

NARROWEST_NAME = 6
"""What is left of stage names on a narrow terminal."""
WIDE_GAP = 2
INDENT = "  "
"""What stands in front of a stage's name, below that of its model."""
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
"""What a runtime makes of a stage, as a heading, and its style."""


def print_report(report: Report, console: Console) -> None:
    """Print a report: who was asked, a table of all stages, what was found, and a line that sums up.

    Parameters
    ----------
    report : Report
        What to print.
    console : rich.console.Console
        Where to; the table fits 120 columns, 100 with shorter names, and 80 with less in it.
    """
    console.print(_heading(report), soft_wrap=True)
    style = {0: "bold green", 1: "bold red", 2: "bold yellow"}[report.exit_code]
    _say(console, Text(report.summary(), style))
    console.print()
    _print_table(report, console)
    for model in report.models:
        for note in model.notes:
            _say(console, Text.assemble((printable(model.name), "bold"), printable(f": {note}")))
        if not model.stages and not model.problem and not model.unasked:
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
        _say(console, Text(printable(note), "yellow"))
    for where, what in report.problems[:FINDINGS_SHOWN]:
        _say(console, Text.assemble((printable(where), "bold"), printable(f": {what}")))
    if len(report.problems) > FINDINGS_SHOWN:
        console.print(Text(f"... and {len(report.problems) - FINDINGS_SHOWN} more"))


def _say(console: Console, text: Text, indent: int = 0) -> None:
    """Print a text: in as many lines as a terminal needs, and in one where a program may read it."""
    if console.is_terminal:
        console.print(Padding(text, (0, 0, 0, indent)))
    else:
        console.print(Text(" " * indent) + text, soft_wrap=True)


def _heading(report: Report) -> Text:
    machine, versions, threads = report.machine, report.versions, report.settings["threads"]
    text = Text.assemble((f"pooling {versions['pooling']}", "bold"), f" ({machine['instruction_set']})")
    others = [(name, version) for name, version in report.runtimes.items() if name not in ("pooling", "portable")]
    for number, (name, version) in enumerate(others):
        text.append(" and " if number == len(others) - 1 else ", ")
        text.append(f"{name} {version}", "bold")
    each = f", {threads} thread{'' if threads == 1 else 's'} each, on {machine['processor'] or machine['system']}"
    return text.append(each)


def _print_runtimes(report: Report, console: Console) -> None:
    """Print how many stages each runtime agrees on, differs on, and so on."""
    table = Table(box=None, pad_edge=False, padding=(0, WIDE_GAP, 0, 0), header_style="bold")
    table.add_column("runtime", no_wrap=True)
    for verdict in VERDICTS:
        table.add_column(VERDICTS[verdict][0], justify="right")
    for name, version in report.runtimes.items():
        found = Counter(stage.opinions[name].verdict for stage in report.stages if name in stage.opinions)
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
        _say(console, text)
        others = also_at(group, NODES_SHOWN)
        lines = [("also at", others)] if others else []
        lines += [("on", first.case.data)] if first.counts_as in ("differs", "special") else []
        lines += [("see", ", ".join(first.upstream))] if first.upstream else []
        if first.remedy:
            lines.append(("remedy", first.remedy))
        for word, what in lines:
            _say(console, Text.assemble((f"{word}: ", "dim"), printable(what)), 4)
    if len(shown) > FINDINGS_SHOWN:
        console.print(Text(f"... and {len(shown) - FINDINGS_SHOWN} more; --json FILE has all"))
    rest = [group for group in everything if group[0].counts_as == "special"]
    if rest and not counted:
        _print_special(rest, console)
    for model in report.models:
        if model.repair is not None:
            style = "yellow" if model.repair.after or not model.repair.changes else "green"
            _say(
                console,
                Text.assemble((f"{printable(model.name)}: ", "bold"), (printable(model.repair.sentence), style)),
            )
    console.print()


def _print_special(groups: Sequence[Sequence[Finding]], console: Console) -> None:
    """Print, one line for each rule, who breaks it on NaN, infinities or extreme numbers."""
    _say(console, Text("on NaN, infinities or extreme numbers only (--html FILE shows them):", VERDICTS["special"][1]))
    rules: dict[str, list[Finding]] = {}
    for group in groups:
        rules.setdefault(group[0].rule or "other differences", []).extend(group)
    for rule, findings in rules.items():
        names = dict.fromkeys(f"{each.runtime} {each.version}" for each in findings)
        nodes = len({(each.path, each.node) for each in findings})
        upstream = dict.fromkeys(reference for each in findings for reference in each.upstream)
        told = f"{', '.join(names)}; {nodes} node{'' if nodes == 1 else 's'}"
        told += f"; see {', '.join(upstream)}" if upstream else ""
        # What comes behind the semicolon, that it helped, goes without saying here.
        remedies = dict.fromkeys(each.remedy.partition("; ")[0] for each in findings if each.remedy)
        told += f"; remedy: {' or '.join(remedies)}" if remedies else ""
        _say(console, Text.assemble((f"{rule}: ", "dim"), printable(told)), 4)


def _print_table(report: Report, console: Console) -> None:
    """Print one table for each model, all with the same columns, so that they look like one with titles in between."""
    rows = {id(stage): [cell(stage) for _, _, cell in COLUMNS] for stage in report.stages}
    if not rows:
        return
    # What no row has anything to say about is left out, and then what the terminal has no place for.
    shown = [column for column in range(len(COLUMNS)) if any(row[column] for row in rows.values())]
    widths = {
        column: max(len(COLUMNS[column][0]), *(row[column].cell_len for row in rows.values())) for column in shown
    }
    for column in LEAST_WANTED:
        if column in shown and _taken(widths) - widths[0] + NARROWEST_NAME > console.width:
            shown.remove(column)
            del widths[column]
    gap = WIDE_GAP if _taken(widths, WIDE_GAP) <= console.width else 1
    widths[0] = max(NARROWEST_NAME, widths[0] - max(0, _taken(widths, gap) - console.width))

    def table(*, header: bool = False) -> Table:
        made = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_header=header, header_style="bold")
        for column in shown:
            heading, justify, _ = COLUMNS[column]
            made.add_column(
                Text(heading, justify=justify),
                justify=justify,
                width=widths[column],
                no_wrap=True,
                overflow="ellipsis",
            )
        return made

    console.print(table(header=True))
    for model in report.models:
        if model.stages:
            console.print(Text(printable(model.name), "bold cyan", overflow="ellipsis", no_wrap=True))
            section = table()
            names = [rows[id(stage)][0].plain.strip() for stage in model.stages]
            cut = shortened_apart(names, widths[0] - len(INDENT))
            for name, stage in zip(names, model.stages, strict=True):
                rows[id(stage)][0] = Text(INDENT + cut[name])
                section.add_row(*(rows[id(stage)][column] for column in shown))
            console.print(section)
    console.print()
    if any(stage.share_of_bound for stage in report.stages):
        note = "difference: the largest of all elements; behind an average's, its share of what rounding may cause"
        console.print(Text(note, "dim"), soft_wrap=True)


def _taken(widths: Mapping[int, int], gap: int = 1) -> int:
    """Count the columns of the terminal that a table takes."""
    return sum(widths.values()) + gap * (len(widths) - 1)


# ---------------------------------------------------------------------------------------------------------------------
# Columns


def _operator(report: StageReport) -> Text:
    kernel = [] if report.windows is None else [_by([axis.kernel_size for axis in report.windows])]
    return Text(" ".join([report.stage.operator, *kernel]))


def _stride(report: StageReport) -> Text:
    return Text("" if report.windows is None else _brief([axis.stride for axis in report.windows]))


def _pads(report: StageReport) -> Text:
    if report.windows is None:
        return Text()
    begin, end = ([getattr(axis, side) for axis in report.windows] for side in ("pad_begin", "pad_end"))
    return Text(_brief(begin) if begin == end else " ".join(map(str, begin + end)))


def _also(report: StageReport) -> Text:
    """Say what few nodes have."""
    if report.layer is None or report.windows is None:
        return Text()
    arguments, dilation = report.layer.arguments, [axis.dilation for axis in report.windows]
    padded = any(axis.pad_begin or axis.pad_end for axis in report.windows)
    words = {
        f"dilation {_brief(dilation)}": max(dilation) > 1,
        "ceil": arguments.get("ceil_mode"),
        "counts pads": arguments.get("count_include_pad") and padded,
        str(arguments["padding"]).replace("_", " "): isinstance(arguments["padding"], str),
        "indices": arguments.get("return_indices"),
    }
    return Text(", ".join(word for word, holds in words.items() if holds))


def _shapes(report: StageReport) -> Text:
    """Give the input's shape, and of the result what is not the same."""
    if report.stage.shape is None:
        return Text("?")
    before = _by(report.stage.shape)
    if report.output_shape is None or report.layer is None:
        return Text(before)
    spatial = slice(1, -1) if report.layer.layout == "channels_last" else slice(2, None)
    return Text(f"{before} → {_by(report.output_shape[spatial])}")


def _difference(report: StageReport) -> Text:
    if report.verdict != "equal":
        return Text(report.verdict, "bold red" if report.differs else "yellow")
    largest, share = report.largest_difference, report.share_of_bound
    return Text.assemble(
        (f"{largest:.1e}" if largest else "0", "green"),
        (f" {share:.0%}" if largest and share is not None else "", "dim"),
    )


def _time(report: StageReport, runtime: str) -> Text:
    if not report.times:
        return Text()
    seconds = report.times[runtime].median
    return Text(f"{seconds * 1e6:,.0f} µs" if seconds < 0.01 else f"{seconds * 1e3:,.1f} ms")


def _speed(report: StageReport) -> Text:
    speedup = report.speedup
    if speedup is None:
        return Text()
    return Text(f"{speedup:.1f}×" if speedup >= 0.95 else f"{speedup:.2g}×", "green" if speedup >= 1 else "red")


COLUMNS: tuple[tuple[str, Literal["left", "right"], Callable[[StageReport], Text]], ...] = (
    ("stage", "left", lambda report: Text(INDENT + printable(report.stage.name))),
    ("operator", "left", _operator),
    ("stride", "left", _stride),
    ("pads", "left", _pads),
    ("", "left", _also),
    ("input → output", "left", _shapes),
    ("difference", "left", _difference),
    ("pooling", "right", lambda report: _time(report, "pooling")),
    ("onnxruntime", "right", lambda report: _time(report, "onnxruntime")),
    ("speed", "right", _speed),
)
HEADINGS = [heading for heading, _, _ in COLUMNS]
LEAST_WANTED = [HEADINGS.index(heading) for heading in ("onnxruntime", "pads", "stride", "")]


def _by(sizes: Sequence[int | str]) -> str:
    return "×".join(map(str, sizes))


def _brief(sizes: Sequence[int]) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else _by(sizes)
