"""What an examination found, for people: tables in the terminal. Needs ``rich``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pooling.arguments import axis_names
from pooling.reporting.formats import amount, brief, by, cells, joined, memory, percent, times
from pooling.reporting.tables import Column, Layout, titled
from pooling.signs import counted, printable, shortened_apart

from ..analysis.input_sizes import AxisSizes
from ..analysis.trials import OPTION
from ..examination import Examination
from ..lint import Finding
from ..network import Stage
from ..what_if import WhatIf
from .heads import data_set, head_facts, introduced
from .rows import StageText, TableRow, rows, window_of
from .tree import print_tree

__all__ = ["explain", "print_examination", "print_what_if"]

NARROWEST_NAME = 14
"""What is left of stage names on a narrow terminal."""
WIDEST_NAME = 26
"""Signs of a name where two networks stand side by side."""
STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
SIGNS = {"error": "✗", "warning": "!", "note": "·"}


# ---------------------------------------------------------------------------------------------------------------------
# The report


def print_examination(
    examination: Examination, console: Console, *, everything: bool = False, tree_depth: int | None = None
) -> None:
    """Print a report: the table of stages, input sizes, objects, what was found and what to try.

    Parameters
    ----------
    examination : Examination
        What to print.
    console : rich.console.Console
        Where to; the table fits 100 columns, and 80 with less in it.
    everything : bool
        Whether each stage has a line of its own.
    tree_depth : int, optional
        Print the tree of blocks down to this depth, in place of the table of stages.
    """
    network = examination.network
    task = f", for {examination.task}" if examination.task else ""
    console.print(
        Text.assemble(
            (printable(Path(network.name).name), "bold"),
            f" at {by(network.input_shape)}{task}",
            f", an object of {examination.words.cells(examination.object_size)}" if examination.object_size else "",
        ),
        soft_wrap=True,
    )
    if examination.failure is not None:
        console.print(
            Text(f"shown at the nearest size that works: it does not at {by(examination.failure.shape)}", "bold red")
        )
    console.print(Text(_verdict(examination), STYLES.get(examination.severity or "", "bold green")))
    console.print()
    if tree_depth is None:
        _print_stages(examination, console, everything)
    else:
        print_tree(examination, console, tree_depth)
    console.print()
    for title, text in _facts(examination):
        titled(console, title, text)
    _print_findings(examination, console)
    _print_end(examination, console)


def _verdict(examination: Examination) -> str:
    """Say in a line how many findings there are, and which is the gravest."""
    if not examination.findings:
        return "nothing was found"
    counts = Counter(each.severity for each in examination.findings)  # the gravest first, as they are
    first = examination.findings[0]
    return f"{', '.join(counted(number, word) for word, number in counts.items())}; {first.code}: {first.title}"


def _print_stages(examination: Examination, console: Console, everything: bool) -> None:
    lines = rows(examination, everything=everything)
    layout = Layout(_columns(examination), lines, console.width, NARROWEST_NAME)
    console.print(layout.table(lines))
    console.print(Text(layout.legend, "dim"))


def _facts(examination: Examination) -> Iterable[tuple[str, str]]:
    """Yield what holds for the whole network."""
    objects, words = examination.objects, examination.words
    cost = [f"{amount(examination.network.macs)} multiply-adds"] if examination.network.macs else []
    cost += [f"{amount(examination.network.parameters)} parameters"] if examination.network.parameters else []
    least = "" if examination.network.complete else "at least "
    yield "cost", least + ", ".join([*cost, f"{memory(examination.network.output_bytes)} of maps"])
    if examination.network.losses:
        yield "not known", _losses(examination)
    if examination.declared:
        fixed = f"declared fixed at {printable(examination.declared)}: export with dynamic axes to use other sizes"
        yield "input", fixed
    for sizes in examination.sizes:
        title = "input sizes" if len(examination.sizes) == 1 else f"sizes of {sizes.axes}"
        complete = examination.network.complete
        yield title, _sizes(sizes, examination) if complete else _known_sizes(examination, sizes)
    yield from head_facts(examination)
    if objects.unknown:
        others = "others are not known" if examination.heads else "not known"
        yield "output maps", f"{others}: {_unknown_outputs(examination)}"
        yield "objects", f"{words.cells(objects.size)}: {_before_unknown(examination)}"
    elif objects.smallest:
        lost = [
            f"below {count} from {printable(name)} on"
            for count, name in (("two cells", objects.below_two), ("one", objects.below_one))
            if name is not None
        ]
        double = tuple(2 * each for each in objects.smallest)
        yield (
            "objects",
            f"{words.cells(objects.size)}: {' and '.join(lost) if lost else 'two cells or more everywhere'}; smallest "
            f"that keeps a cell {by(objects.smallest)}{words.seconds(objects.smallest)}, two cells {by(double)}"
            f"{words.seconds(double)}",
        )
    if examination.survival is not None:
        yield "data set", data_set(examination)
    measured = [each for each in examination.shifts if each.value is not None]
    if measured:
        yield "shift", _shifts(measured, words.cell)


def _before_unknown(examination: Examination) -> str:
    """Say how far an object can be followed where the map of an output is not known."""
    best = examination.objects.at_known_heads
    if best is None:
        return "not known at the output, because its map is not"
    left = [cells(each) for each in best.resolved]
    covered = f"{brief(left) if len(set(left)) == 1 else by(left)} cell{'s' if max(best.resolved) > 1 else ''}"
    return f"{covered} at {printable(best.stage)}, the finest known map that outputs are read from; not known behind it"


def _losses(examination: Examination) -> str:
    """Say what is not known because of which operators."""
    network = examination.network
    lost = sum(bool(stage.culprit) for stage in network.stages)
    names = [f"{printable(loss.stage)} ({printable(loss.operator)})" for loss in network.losses]
    if len(names) > MOST_NAMES:
        names[MOST_NAMES - 1 :] = [f"{len(names) - MOST_NAMES + 1} more"]
    return f"{lost} of {len(network.stages)} stages, behind {joined(names)}: see D901"


MOST_NAMES = 3
"""Operators that a line names."""


def _known_sizes(examination: Examination, sizes: AxisSizes) -> str:
    """Say what is known of input sizes where some stages are not."""
    stages = examination.network.stages
    blamed = next(stage.culprit for stage in stages if stage.kind == "unknown")
    text = f"not known, because what {printable(blamed)} and the stages behind it need is not"
    if all(stage.culprit for stage in stages) or sizes.smallest is None:
        return text
    if sizes.largest is not None:
        return f"{text}; the other stages take {sizes.smallest} to {sizes.largest}"
    more = "" if str(sizes.working) == "any" else f", {sizes.working}"
    return f"{text}; the other stages take {sizes.smallest} and more{more}"


def _sizes(sizes: AxisSizes, examination: Examination) -> str:
    nodes = "its nodes would work " if examination.declared else ""
    if sizes.largest is not None:
        span = f"{sizes.smallest} to {sizes.largest}" if sizes.smallest != sizes.largest else f"{sizes.smallest}"
        works = f"{nodes}with {span} only" if nodes else f"only {span} works"
        works += f", because of {sizes.obstacle_stage or 'a fixed shape'}"
    else:
        works = f"{nodes}from {sizes.smallest}{examination.words.seconds((sizes.smallest,))} on"
        if str(sizes.working) != "any":
            works += f", {sizes.working}, where the paths that meet have equal sizes"
    clean = (
        f"nothing is left out for {sizes.clean}" if sizes.clean.remainders else "something is left out at every size"
    )
    if str(sizes.clean) == "any" or (sizes.largest is None and str(sizes.clean) == str(sizes.working) != "none"):
        clean = "nothing is left out at any of them"
    if str(sizes.clean) != "any" and sizes.clean_near and sizes.given not in sizes.clean_near:
        clean += f" (near {sizes.given}: {joined([str(each) for each in sizes.clean_near])})"
    return f"{works}; {clean}"


def _unknown_outputs(examination: Examination) -> str:
    """Say which outputs lie behind what was not understood."""
    network, names = examination.network, examination.objects.unknown
    blamed = joined(list(dict.fromkeys(printable(network.stage(name).culprit) for name in names))[:MOST_NAMES])
    which = "the output lies" if len(network.outputs) == 1 else f"{len(names)} of {len(network.outputs)} outputs lie"
    return f"{which} behind {blamed}"


def _shifts(measured: Sequence[Any], cell: str) -> str:
    words = []
    for each in measured[:3]:
        better = (
            f" ({each.antialiased:.2f} with {each.remedy})"
            if each.antialiased is not None and each.remedy and each.antialiased < each.value
            else ""
        )
        words.append(f"{printable(each.stage)} {each.value:.2f}{better}")
    more = f", and {len(measured) - 3} more" if len(measured) > 3 else ""
    return f"change when the input moves by one {cell} (0: equivariant, 1: uncorrelated): {'; '.join(words)}{more}"


def _print_findings(examination: Examination, console: Console) -> None:
    grouped: dict[tuple[str, str], list[Finding]] = {}
    stages = {stage.name: stage for stage in examination.network.stages}
    for finding in examination.findings:
        grouped.setdefault((finding.code, finding.severity), []).append(finding)
    for (code, severity), group in grouped.items():
        first = group[0]
        console.print()
        where = f" at {printable(first.stage)}" if first.stage else ""
        stage = stages.get(first.stage)
        what = f" ({windows(stage)}, {by(stage.output_shape[1:])})" if stage is not None and stage.axes else ""
        console.print(Text.assemble((f"{code} {severity}", STYLES[severity]), (where, "bold"), what))
        _indented(console, first.title, "bold")
        _indented(console, printable(first.message))
        others = list(dict.fromkeys(printable(each.stage) for each in group[1:]))
        if others and first.stage:
            rest = f" and {len(others) - 5} more" if len(others) > 5 else ""
            _indented(console, f"also at {', '.join(others[:5])}{rest}", "dim")
        elif others:
            for each in group[1:]:
                _indented(console, printable(each.message))
        for fix in first.fixes:
            _indented(console, printable(fix), bullet="→ ")


def _indented(console: Console, text: str, style: str = "", bullet: str = "") -> None:
    table = Table.grid()
    table.add_column(width=len(bullet) + 2, no_wrap=True)
    table.add_column(overflow="fold")
    room = max(1, console.width - len(bullet) - 2)
    table.add_row(Text(f"  {bullet}", "green"), Text(_with_options_whole(text, room), style))
    console.print(table)


OPTION_OR_WORD = re.compile(rf"{OPTION.pattern}\S*|\S+")


def _with_options_whole(text: str, room: int) -> str:
    r"""Break a text that has options of the command in it, so that they can be copied into a shell.

    No line ends within an option, and where one ends between two of them, it ends as a shell has it.

    Examples
    --------
    >>> print(_with_options_whole("try --set 'a.stride=1' --set 'b.stride=1' there", 30))
    try --set 'a.stride=1' \
    --set 'b.stride=1' there
    """
    if "--set " not in text:
        return text
    words = OPTION_OR_WORD.findall(text)
    lines, line = [], ""
    for number, word in enumerate(words):
        follows = number + 1 < len(words) and word.startswith("--set ") and words[number + 1].startswith("--set ")
        longer = f"{line} {word}" if line else word
        # Two signs are left for the mark at the end of a line.
        if line and len(longer) + 2 * follows > room:
            within = words[number - 1].startswith("--set ") and word.startswith("--set ")
            lines.append(line + (" \\" if within else ""))
            longer = word
        line = longer
    return "\n".join([*lines, line])


def _print_end(examination: Examination, console: Console) -> None:
    console.print()
    style = STYLES.get(examination.severity or "", "bold green")
    hidden = f" (without {', '.join(examination.ignored)})" if examination.ignored else ""
    console.print(Text(f"{examination.summary}{hidden}", style))


# ---------------------------------------------------------------------------------------------------------------------
# Columns


def _short_names(examination: Examination) -> dict[str, str]:
    """Leave out the folders that all names begin with."""
    names = [stage.name for stage in examination.network.stages]
    prefix = ""
    if len(names) > 1 and all("/" in name for name in names):
        first, last = min(names), max(names)
        common = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(map(len, names)))
        prefix = first[: first.rfind("/", 0, common) + 1]
    return {name: printable(name.removeprefix(prefix)) for name in names}


def windows(stage: Stage) -> str:
    """Write an operator and its windows in brief, as in lists of layers: ``MaxPool 3 /2 p1``."""
    whole = all(axis.is_global for axis in stage.axes)
    return " ".join(filter(None, (printable(stage.operator), "" if whole else window_of(stage))))


def _columns(examination: Examination) -> list[Column[TableRow]]:
    """Return all columns of the table of stages."""
    names, footprints = _short_names(examination), examination.objects.footprints
    unit = examination.words
    pixels = f"{brief(examination.object_size)} {unit.short}" if examination.object_size else unit.short

    def folded(words: str, row: TableRow, style: str = "") -> Text:
        return Text(words, "dim" if len(row.stages) > 1 else style)

    def name(row: TableRow) -> Text:
        if len(row.stages) > 1:
            return Text(f"  {len(row.stages)} stages", "dim")
        found = examination.of_stage(row.last.name)
        return Text(names[row.last.name], STYLES[found[0].severity] if found and found[0].severity != "note" else "")

    def window(row: TableRow) -> Text:
        if len(row.stages) == 1:
            return Text(windows(row.last))
        counts = Counter(stage.operator for stage in row.stages if stage.kind not in ("elementwise", "reshape"))
        return Text(", ".join(f"{count} {printable(name)}" for name, count in counts.most_common(2)), "dim")

    def found(row: TableRow) -> Text:
        codes = {each.code: each.severity for stage in row.stages for each in examination.of_stage(stage.name)}
        styles = {**STYLES, "note": "cyan"}
        return Text(" ").join(Text(code, styles[severity]) for code, severity in codes.items())

    def stride(row: TableRow) -> Text:
        return folded(row.text.stride if row.last.name in footprints else "", row)

    return [
        Column("stage", name),
        Column("windows", window),
        Column("output", lambda row: folded(_output(row), row)),
        Column("stride", stride, "right", legend=f"stride: input {unit.cell}s from cell to cell"),
        Column(
            "RF",
            lambda row: folded(_field(row.text), row),
            "right",
            6,
            "RF: receptive field, * where paths differ in centre or stride",
        ),
        Column(
            "ERF",
            lambda row: folded(row.text.effective, row),
            "right",
            0,
            "ERF: effective receptive field, 4 standard deviations",
        ),
        Column("1 cell", lambda row: folded(row.text.kept_one, row), "right", 9, "1 cell: objects that keep one"),
        Column("2 cells", lambda row: folded(row.text.kept_two, row), "right", 9),
        Column(
            pixels,
            lambda row: _covered(row.text),
            "right",
            legend=f"{unit.short}: cells that the object covers",
        ),
        Column("cut", lambda row: Text(row.text.cut, "yellow"), "right", 7, f"cut: {unit.across} in no window"),
        Column(
            "pads", lambda row: folded(row.text.padding, row), "right", 1, "pads: padding in the first or last window"
        ),
        Column("MACs", lambda row: folded(row.text.macs, row), "right", 5, "MACs: multiply-adds"),
        Column("saved", lambda row: Text(row.text.saved), "right", 2, "saved: downstream MACs saved by striding"),
        Column("memory", lambda row: folded(row.text.memory, row), "right", 3),
        Column("found", found, wanted=8),
    ]


def _output(row: TableRow) -> str:
    shape = row.last.output_shape
    return by(shape[1:] or shape) if shape else row.text.output


def _field(text: StageText) -> str:
    return ("all" if text.context else text.field) + ("" if text.aligned else "*")


def _covered(text: StageText) -> Text:
    return Text(text.covered, "red" if text.left < 1 else "yellow" if text.left < 2 else "green")


# ---------------------------------------------------------------------------------------------------------------------
# One stage in full


def explain(examination: Examination, stage: Stage, console: Console) -> None:
    """Print all that is known of a stage, with the formula of its size."""
    console.print(Text.assemble((printable(stage.name), "bold"), f": {windows(stage)}"))
    if stage.layer is not None:
        titled(console, "  layer", repr(stage.layer))
    titled(console, "  shape", f"{by(stage.input_shape)} → {by(stage.output_shape)}")
    names = axis_names(len(stage.axes)) if stage.axes else ""
    forward = stage.kind in ("convolution", "pooling", "global")
    for name, axis in zip(names, stage.axes, strict=True):
        if not forward:
            continue
        titled(console, f"  {name}", axis.formula)
        if not axis.adaptive:
            reach = f"{axis.kernel_size} taps" + (
                f" {axis.dilation} apart reach over {axis.effective_kernel_size} cells" if axis.dilation > 1 else ""
            )
            padding = f"{axis.pad_begin} + {axis.pad_end} cells of padding"
            titled(console, "", f"input {axis.input_size}, {reach}, {padding}, stride {axis.stride}")
        if axis.dropped:
            titled(console, "", f"{axis.dropped} of {axis.input_size} cells at the end are in no window")
        if axis.padding_share:
            titled(console, "", f"{percent(axis.padding_share)} of the first or last window is padding")
    field = stage.receptive_field
    if field is not None:
        aligned = "all paths alike" if field.aligned else "paths differ in stride or centre"
        titled(
            console,
            "  RF",
            f"{examination.words.cells(field.size)} of the input, every "
            f"{by([cells(each) for each in field.stride])}; the centre of the first is at "
            f"{by([cells(each) for each in field.offset])} ({aligned})",
        )
    effective = examination.effective_fields.get(stage.name)
    if effective is not None:
        titled(
            console,
            "  ERF",
            f"{by([f'{each:.0f}' for each in effective.size])} {examination.words.cell}s hold 95 % of the variance of "
            f"the gradient along an axis with random weights; "
            f"standard deviation {by([f'{each:.1f}' for each in effective.deviation])}",
        )
    footprint = examination.objects.footprints.get(stage.name)
    if footprint is not None:
        shown = by([cells(each) for each in footprint.cells])
        left = (
            ""
            if footprint.cells == footprint.resolved
            else f", {by([cells(e) for e in footprint.resolved])} of them resolved"
        )
        titled(console, "  object", f"{examination.words.cells(examination.object_size)} cover {shown} cells{left}")
    survival = examination.survival
    if survival is not None and stage.name in survival.stages:
        one, two = map(percent, survival.stages[stage.name])
        titled(console, "  data set", f"{one} of {introduced(survival.objects)} keep a cell, {two} two")
    saved = examination.macs_saved(stage)
    saving = f"; saves {amount(saved)} downstream" if saved else ""
    titled(
        console,
        "  cost",
        f"{amount(stage.macs)} multiply-adds{saving}; {amount(stage.parameters)} parameters; "
        f"{memory(stage.output_bytes)} of map",
    )
    if stage.culprit:
        titled(console, "  not known", f"it lies behind {printable(stage.culprit)}, which was not understood (D901)")
    if stage.note:
        titled(console, "  note", stage.note)
    console.print()


# ---------------------------------------------------------------------------------------------------------------------
# Side by side


def print_what_if(comparison: WhatIf, console: Console) -> None:
    """Print two examinations side by side: what changed at which stage, and what is found no more, or now."""
    before, after = comparison.before, comparison.after
    console.print(Text.assemble(("what if ", "bold"), printable(comparison.heading)), soft_wrap=True)
    for note in comparison.notes:
        console.print(Text(printable(note), "dim"))
    console.print()
    names = {**_short_names(after), **_short_names(before)}
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("stage", no_wrap=True)
    for title in ("output", "stride", "RF", f"{brief(before.object_size)} {before.words.short}", "MACs"):
        table.add_column(Text(title, justify="right"), justify="right", no_wrap=True)
    shown = {row.last.name for each in (before, after) for row in rows(each) if len(row.stages) == 1}
    shown |= {*before.objects.heads, *after.objects.heads}
    compared = [
        (old, new, stage.name)
        for old, new in comparison.pairs
        if (stage := new or old) is not None and stage.name in shown
    ]
    cut = shortened_apart((names[name] for _, _, name in compared), WIDEST_NAME)
    for old, new, name in compared:
        pair = zip(_compared(before, old), _compared(after, new), strict=True)
        table.add_row(
            Text(cut[names[name]], "" if old is not None and new is not None else "bold"),
            *(
                Text() if {first.plain, second.plain} == {"none", ""} else _arrow(first, second)
                for first, second in pair
            ),
        )
    total = [Text(("" if each.network.complete else "≥ ") + amount(each.network.macs)) for each in (before, after)]
    table.add_row(Text("all", "bold"), "", "", "", "", _arrow(*total))
    console.print(table)
    console.print()
    cost = [times(before.network.output_bytes, after.network.output_bytes, "memory")]
    if before.network.macs or after.network.macs:
        cost.insert(0, times(before.network.macs, after.network.macs, "multiply-adds"))
    titled(console, "cost", ", ".join(cost))
    if before.objects.smallest and after.objects.smallest:
        smallest = " → ".join(dict.fromkeys(map(by, (before.objects.smallest, after.objects.smallest))))
        smallest += f" {before.words.cell}s"
        titled(console, "objects", f"smallest that keeps a cell: {smallest}")
    if before.survival is not None and after.survival is not None:
        pairs = zip(before.survival.best, after.survival.best, strict=True)
        one, two = (" → ".join(dict.fromkeys(map(percent, pair))) for pair in pairs)
        titled(console, "data set", f"objects that keep a cell at the finest head: {one}, two cells: {two}")
    turns = comparison.turns
    for title, sentence in turns:
        titled(console, title, sentence, "bold green" if title in ("milder", "no longer") else "bold yellow")
    if not turns:
        titled(console, "findings", "the same")
    console.print()


def _compared(examination: Examination, stage: Stage | None) -> list[Text]:
    """Write what a change of arguments changes: the map without its channels, stride, field, object and cost."""
    if stage is None:
        return [Text("none", "dim")] * 5
    text = StageText.of(examination, stage)
    stride = text.stride if stage.name in examination.objects.footprints else ""
    words = (by(stage.output_size or stage.output_shape[1:]), stride, _field(text))
    return [*map(Text, words), _covered(text), Text(text.macs)]


def _arrow(first: Text, second: Text) -> Text:
    return first if first.plain == second.plain else Text.assemble(first, (" → ", "bold"), second)
