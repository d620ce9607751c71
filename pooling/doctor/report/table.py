"""What an examination found, for people: tables in the terminal. Needs ``rich``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pooling.arguments import axis_names
from pooling.reporting.formats import amount, brief, by, cells, joined, memory, percent, times
from pooling.signs import printable, shortened_apart

from ..analysis.input_sizes import AxisSizes
from ..analysis.object_footprint import collapses
from ..examination import Examination
from ..lint import Finding
from ..network import Stage
from ..what_if import WhatIf
from .json import summary

__all__ = ["explain", "print_examination", "print_what_if"]

NARROWEST_NAME = 14
"""What is left of stage names on a narrow terminal."""
MANY_ROWS = 60
"""Rows up to which all stages are shown without being asked for."""
FEW_STAGES = 12
STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
SIGNS = {"error": "✗", "warning": "!", "note": "·"}


@dataclass(frozen=True)
class Row:
    """One line of the table: a stage, or several that change no size."""

    stages: tuple[Stage, ...]

    @property
    def last(self) -> Stage:
        """The stage whose result leaves the row."""
        return self.stages[-1]


def rows(examination: Examination, *, everything: bool = False) -> list[Row]:
    """Put the stages in lines: those that change the size of the map, or that something was found at, by themselves."""
    stages = examination.network.stages
    if everything or len(stages) <= FEW_STAGES:
        return [Row((stage,)) for stage in stages]
    found = {finding.stage for finding in examination.findings if finding.severity != "note" or finding.code == "D901"}
    result: list[Row] = []
    folded: list[Stage] = []

    def close() -> None:
        if folded:
            result.append(Row(tuple(folded)))
            folded.clear()

    for stage in stages:
        if stage.name in found or _resizes(stage) or stage.kind == "dense":
            close()
            result.append(Row((stage,)))
        else:
            if folded and folded[-1].output_size != stage.output_size:
                close()
            folded.append(stage)
    close()
    return result


def _resizes(stage: Stage) -> bool:
    if collapses(stage):
        return stage.kind in ("global", "pooling", "convolution")
    return stage.kind in ("resize", "transposed") or any(
        axis.input_size != axis.output_size for axis in stage.axes if stage.kind in ("convolution", "pooling", "slice")
    )


# ---------------------------------------------------------------------------------------------------------------------
# The report


def print_examination(examination: Examination, console: Console, *, everything: bool = False) -> None:
    """Print a report: the table of stages, input sizes, objects, what was found and what to try.

    Parameters
    ----------
    examination : Examination
        What to print.
    console : rich.console.Console
        Where to; the table fits 100 columns, and 80 with less in it.
    everything : bool
        Whether each stage has a line of its own.
    """
    network = examination.network
    task = f", for {examination.task}" if examination.task else ""
    console.print(
        Text.assemble(
            (printable(Path(network.name).name), "bold"),
            f" at {by(network.input_shape)}{task}",
            f", an object of {by(examination.object_size)} pixels" if examination.object_size else "",
        ),
        soft_wrap=True,
    )
    if examination.failure is not None:
        console.print(
            Text(f"shown at the nearest size that works: it does not at {by(examination.failure.shape)}", "bold red")
        )
    console.print()
    _print_stages(examination, console, everything)
    console.print()
    for title, text in _facts(examination):
        _say(console, title, text)
    _print_findings(examination, console)
    _print_end(examination, console)


def _print_stages(examination: Examination, console: Console, everything: bool) -> None:
    lines = rows(examination, everything=everything)
    names = _short_names(examination)
    content = [[column.cell(examination, row, names) for column in COLUMNS] for row in lines]
    headings = [column.heading(examination) for column in COLUMNS]
    shown = [number for number in range(len(COLUMNS)) if any(line[number].cell_len for line in content)]
    widths = {number: max(len(headings[number]), *(line[number].cell_len for line in content), 1) for number in shown}
    for number in sorted(shown, key=lambda each: COLUMNS[each].wanted):
        if _taken(widths) - widths.get(0, 0) + NARROWEST_NAME > console.width and COLUMNS[number].wanted < MUST:
            del widths[number]
    if 0 in widths:
        widths[0] = max(NARROWEST_NAME, min(widths[0], widths[0] - max(0, _taken(widths) - console.width)))
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", collapse_padding=True)
    for number, width in widths.items():
        column = COLUMNS[number]
        table.add_column(
            Text(headings[number], justify=column.justify),
            justify=column.justify,
            width=width,
            no_wrap=True,
            overflow="ellipsis",
        )
    cut = shortened_apart((line[0].plain for line in content), widths.get(0, 0))
    for line in content:
        line[0] = Text(cut[line[0].plain], line[0].style)
        table.add_row(*(line[number] for number in widths))
    console.print(table)
    legend = "; ".join(COLUMNS[number].legend for number in widths if COLUMNS[number].legend)
    console.print(Text(legend, "dim"))


def _taken(widths: dict[int, int]) -> int:
    return sum(widths.values()) + len(widths) - 1


def _say(console: Console, title: str, text: str, style: str = "bold") -> None:
    """Print a sentence with a title, further lines indented."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=TITLE_WIDTH, no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text(title, style), Text(printable(text)))
    console.print(table)


TITLE_WIDTH = 12


def _facts(examination: Examination) -> Iterable[tuple[str, str]]:
    """Yield what holds for the whole network."""
    objects = examination.objects
    cost = [f"{amount(examination.network.macs)} multiply-adds"] if examination.network.macs else []
    cost += [f"{amount(examination.network.parameters)} weights"] if examination.network.parameters else []
    yield "cost", ", ".join([*cost, f"{memory(examination.network.output_bytes)} of maps"])
    for sizes in examination.sizes:
        title = "input sizes" if len(examination.sizes) == 1 else f"sizes of {sizes.axes}"
        yield title, _sizes(sizes)
    if objects.heads:
        yield "read from", _heads(examination)
    if objects.smallest:
        lost = [
            f"below {words} from {printable(name)} on"
            for words, name in (("two cells", objects.below_two), ("one", objects.below_one))
            if name is not None
        ]
        double = tuple(2 * each for each in objects.smallest)
        yield (
            "objects",
            f"{by(objects.size)} pixels: {' and '.join(lost) if lost else 'two cells or more everywhere'}; smallest "
            f"that keeps a cell {by(objects.smallest)}, two cells {by(double)}",
        )
    measured = [each for each in examination.shifts if each.value is not None]
    if measured:
        yield "shift", _shifts(measured)


def _sizes(sizes: AxisSizes) -> str:
    if sizes.largest is not None:
        span = f"{sizes.smallest} to {sizes.largest}" if sizes.smallest != sizes.largest else f"{sizes.smallest}"
        works = f"only {span} works, because of {sizes.obstacle_stage or 'a fixed shape'}"
    else:
        works = f"from {sizes.smallest} on"
        if str(sizes.working) != "any":
            works += f", {sizes.working}, where the paths that meet have equal sizes"
    clean = (
        f"nothing is left out for {sizes.clean}" if sizes.clean.remainders else "something is left out at every size"
    )
    if str(sizes.clean) == "any":
        clean = "nothing is left out at any of them"
    elif sizes.clean_near and sizes.given not in sizes.clean_near:
        clean += f" (near {sizes.given}: {joined([str(each) for each in sizes.clean_near])})"
    return f"{works}; {clean}"


def _heads(examination: Examination) -> str:
    objects = examination.objects
    shown = []
    for name in objects.heads[-4:]:
        stage = examination.network.stage(name)
        field = stage.receptive_field
        step = "" if field is None else f", {_fineness(field.stride)}"
        shown.append(f"{printable(name)} ({by(stage.output_size)}{step})")
    more = f"{len(objects.heads) - len(shown)} more and " if len(objects.heads) > len(shown) else ""
    whole = [
        stage.name
        for stage in examination.network.stages
        if stage.kind == "global" or (stage.kind == "pooling" and collapses(stage))
    ]
    if any(name in examination.network.outputs for name in objects.heads):
        how = "the resolution is preserved up to the output"
    elif whole:
        how = f"then pooled to one cell by {printable(whole[-1])}: where things are is lost there"
    else:
        how = "then flattened or put through a dense layer"
    return f"{more}{joined(shown)}; {how}"


def _fineness(stride: Sequence[Fraction]) -> str:
    if max(stride) <= 1:
        return "as fine as the input" if min(stride) == 1 else "finer than the input"
    return f"1/{brief([cells(each) for each in stride])} of the input"


def _shifts(measured: Sequence[Any]) -> str:
    words = []
    for each in measured[:3]:
        better = (
            f" ({each.antialiased:.2f} with {each.remedy})"
            if each.antialiased is not None and each.remedy and each.antialiased < each.value
            else ""
        )
        words.append(f"{printable(each.stage)} {each.value:.2f}{better}")
    more = f", and {len(measured) - 3} more" if len(measured) > 3 else ""
    return f"moved by one pixel, changes of {'; '.join(words)}{more} (0: moves along, 1: as good as another image)"


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
    table.add_row(Text(f"  {bullet}", "green"), Text(text, style))
    console.print(table)


def _print_end(examination: Examination, console: Console) -> None:
    console.print()
    style = STYLES.get(examination.severity or "", "bold green")
    hidden = f" (without {', '.join(examination.ignored)})" if examination.ignored else ""
    console.print(Text(f"{summary(examination)}{hidden}", style))


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


def _name(examination: Examination, row: Row, names: dict[str, str]) -> Text:
    if len(row.stages) > 1:
        return Text(f"  {len(row.stages)} stages", "dim")
    found = examination.of_stage(row.last.name)
    return Text(names[row.last.name], STYLES[found[0].severity] if found and found[0].severity != "note" else "")


def _windows(examination: Examination, row: Row, names: dict[str, str]) -> Text:
    if len(row.stages) > 1:
        counts = Counter(stage.operator for stage in row.stages if stage.kind not in ("elementwise", "reshape"))
        return Text(", ".join(f"{count} {printable(name)}" for name, count in counts.most_common(2)), "dim")
    return Text(windows(row.last))


def windows(stage: Stage) -> str:
    """Write an operator and its windows in brief, as in lists of layers: ``MaxPool 3 /2 p1``."""
    words = [printable(stage.operator)]
    if stage.axes and not all(axis.is_global for axis in stage.axes):
        adaptive = any(axis.adaptive for axis in stage.axes)
        words.append("uneven" if adaptive else brief([axis.kernel_size for axis in stage.axes]))
        if not adaptive and any(axis.stride > 1 for axis in stage.axes):
            words.append(f"/{brief([axis.stride for axis in stage.axes])}")
        pads = [
            str(axis.pad_begin) if axis.pad_begin == axis.pad_end else f"{axis.pad_begin}:{axis.pad_end}"
            for axis in stage.axes
        ]
        if set(pads) != {"0"}:
            words.append(f"p{brief(pads)}")
        if any(axis.dilation > 1 for axis in stage.axes):
            words.append(f"d{brief([axis.dilation for axis in stage.axes])}")
        if stage.layer is not None and stage.layer.arguments.get("ceil_mode"):
            words.append("c")
    return " ".join(words)


def _output(examination: Examination, row: Row, names: dict[str, str]) -> Text:
    shape = row.last.output_shape
    return Text(by(shape[1:]) if len(shape) > 1 else by(shape), "" if len(row.stages) == 1 else "dim")


def _step(examination: Examination, row: Row, names: dict[str, str]) -> Text:
    field = row.last.receptive_field
    if field is None or row.last.name not in examination.objects.footprints:
        return Text()
    return Text(brief([cells(each) for each in field.stride]), "" if len(row.stages) == 1 else "dim")


def _sees(examination: Examination, row: Row, names: dict[str, str]) -> Text:
    field = row.last.receptive_field
    if field is None:
        return Text()
    text = "all" if field.context else brief(field.size)
    return Text(text if field.aligned else f"{text}*", "" if len(row.stages) == 1 else "dim")


def _cells(examination: Examination, row: Row, names: dict[str, str]) -> Text:
    footprint = examination.objects.footprints.get(row.last.name)
    if footprint is None:
        return Text()
    left = min(footprint.resolved)
    return Text(
        brief([cells(each) for each in footprint.cells]), "red" if left < 1 else "yellow" if left < 2 else "green"
    )


def _lost(examination: Examination, row: Row, names: dict[str, str]) -> Text:
    """Say how many rows and columns the windows leave out at the end."""
    stage = row.last
    if len(row.stages) > 1 or not stage.dropped or not any(axis.cut for axis in stage.axes):
        return Text()
    return Text(by([axis.cut for axis in stage.axes]), "yellow")


def _pads(examination: Examination, row: Row, names: dict[str, str]) -> Text:
    share = max((stage.padding_share for stage in row.stages), default=0.0)
    return Text(percent(share) if share else "", "" if len(row.stages) == 1 else "dim")


def _macs(examination: Examination, row: Row, names: dict[str, str]) -> Text:
    total = sum(stage.macs for stage in row.stages)
    return Text(amount(total) if total else "", "" if len(row.stages) == 1 else "dim")


def _memory(examination: Examination, row: Row, names: dict[str, str]) -> Text:
    total = sum(stage.output_bytes for stage in row.stages)
    return Text(memory(total) if total else "", "" if len(row.stages) == 1 else "dim")


def _saves(examination: Examination, row: Row, names: dict[str, str]) -> Text:
    total = examination.macs_saved(row.last) if len(row.stages) == 1 else 0
    return Text(amount(total) if total else "")


def _found(examination: Examination, row: Row, names: dict[str, str]) -> Text:
    found = {finding.code: finding.severity for stage in row.stages for finding in examination.of_stage(stage.name)}
    result = Text()
    for number, (code, severity) in enumerate(found.items()):
        result.append(f"{' ' if number else ''}{code}", STYLES[severity] if severity != "note" else "cyan")
    return result


MUST = 100
"""Columns that are wanted so much are always there."""


@dataclass(frozen=True)
class Column:
    """One column: what is above it, what is in it, and how much it is wanted where there is little room."""

    title: str
    justify: Literal["left", "right"]
    cell: Callable[[Examination, Row, dict[str, str]], Text]
    wanted: int = MUST
    legend: str = ""

    def heading(self, examination: Examination) -> str:
        """Return what is above the column."""
        return self.title or f"{brief(examination.object_size)} px"


COLUMNS = (
    Column("stage", "left", _name),
    Column("windows", "left", _windows),
    Column("output", "left", _output),
    Column("stride", "right", _step, legend="stride: input pixels from cell to cell"),
    Column("sees", "right", _sees, 6, "sees: receptive field, * where paths differ in centre or stride"),
    Column("", "right", _cells, legend="px: cells that the object covers"),
    Column("cut", "right", _lost, 7, "cut: rows x columns in no window"),
    Column("pads", "right", _pads, 1, "pads: padding in the first or last window"),
    Column("MACs", "right", _macs, 5, "MACs: multiply-adds"),
    Column("saves", "right", _saves, 2, "saves: MACs that the smaller map saves behind"),
    Column("memory", "right", _memory, 3),
    Column("found", "left", _found, 8),
)


# ---------------------------------------------------------------------------------------------------------------------
# One stage in full


def explain(examination: Examination, stage: Stage, console: Console) -> None:
    """Print all that is known of a stage, with the formula of its size."""
    console.print(Text.assemble((printable(stage.name), "bold"), f": {windows(stage)}"))
    if stage.layer is not None:
        _say(console, "  layer", repr(stage.layer))
    _say(console, "  shape", f"{by(stage.input_shape)} → {by(stage.output_shape)}")
    names = axis_names(len(stage.axes)) if stage.axes else ""
    forward = stage.kind in ("convolution", "pooling", "global")
    for name, axis in zip(names, stage.axes, strict=True):
        if not forward:
            continue
        _say(console, f"  {name}", axis.formula)
        if not axis.adaptive:
            reach = f"{axis.kernel_size} taps" + (
                f" {axis.dilation} apart reach over {axis.effective_kernel_size} cells" if axis.dilation > 1 else ""
            )
            padding = f"{axis.pad_begin} + {axis.pad_end} cells of padding"
            _say(console, "", f"input {axis.input_size}, {reach}, {padding}, stride {axis.stride}")
        if axis.dropped:
            _say(console, "", f"{axis.dropped} of {axis.input_size} cells at the end are in no window")
        if axis.padding_share:
            _say(console, "", f"{percent(axis.padding_share)} of the first or last window is padding")
    field = stage.receptive_field
    if field is not None:
        aligned = "all paths alike" if field.aligned else "paths differ in stride or centre"
        _say(
            console,
            "  sees",
            f"{by(field.size)} pixels of the input, every {by([cells(each) for each in field.stride])}; the centre of "
            f"the first is at {by([cells(each) for each in field.offset])} ({aligned})",
        )
    footprint = examination.objects.footprints.get(stage.name)
    if footprint is not None:
        shown = by([cells(each) for each in footprint.cells])
        left = (
            ""
            if footprint.cells == footprint.resolved
            else f", {by([cells(e) for e in footprint.resolved])} of them apart"
        )
        _say(console, "  object", f"{by(examination.object_size)} pixels cover {shown} cells{left}")
    saved = examination.macs_saved(stage)
    saving = f"; saves {amount(saved)} behind it" if saved else ""
    _say(
        console,
        "  cost",
        f"{amount(stage.macs)} multiply-adds{saving}; {amount(stage.parameters)} weights; "
        f"{memory(stage.output_bytes)} of map",
    )
    if stage.note:
        _say(console, "  note", stage.note)
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
    table.add_column("stage", no_wrap=True, overflow="ellipsis", max_width=26)
    for title in ("output", "stride", "sees", f"{brief(before.object_size)} px", "MACs"):
        table.add_column(Text(title, justify="right"), justify="right", no_wrap=True)
    shown = {row.last.name for each in (before, after) for row in rows(each) if len(row.stages) == 1}
    heads = {*before.objects.heads, *after.objects.heads}
    for old, new in comparison.pairs:
        stage = new or old
        if stage is None or (stage.name not in shown and stage.name not in heads):
            continue
        table.add_row(
            Text(names[stage.name], "" if old is not None and new is not None else "bold"),
            *(_pair(cell, before, old, after, new, names) for cell in (_map, _step, _sees, _cells, _macs)),
        )
    total = [Text(amount(each.network.macs)) for each in (before, after)]
    table.add_row(Text("all", "bold"), "", "", "", "", _arrow(*total))
    console.print(table)
    console.print()
    cost = [times(before.network.output_bytes, after.network.output_bytes, "memory")]
    if before.network.macs or after.network.macs:
        cost.insert(0, times(before.network.macs, after.network.macs, "multiply-adds"))
    _say(console, "cost", ", ".join(cost))
    if before.objects.smallest and after.objects.smallest:
        smallest = f"{' → '.join(dict.fromkeys(map(by, (before.objects.smallest, after.objects.smallest))))} pixels"
        _say(console, "objects", f"smallest that keeps a cell: {smallest}")
    turns = comparison.turns
    for title, sentence in turns:
        _say(console, title, sentence, "bold green" if title in ("milder", "no longer") else "bold yellow")
    if not turns:
        _say(console, "findings", "the same")
    console.print()


def _map(examination: Examination, row: Row, names: dict[str, str]) -> Text:
    """Write the sizes of a map without its channels."""
    return Text(by(row.last.output_size or row.last.output_shape[1:]))


def _pair(
    cell: Callable[[Examination, Row, dict[str, str]], Text],
    before: Examination,
    old: Stage | None,
    after: Examination,
    new: Stage | None,
    names: dict[str, str],
) -> Text:
    first = cell(before, Row((old,)), names) if old is not None else Text("none", "dim")
    second = cell(after, Row((new,)), names) if new is not None else Text("none", "dim")
    if (old is None or new is None) and not (first.plain and second.plain):
        return Text()  # the one stage that there is has nothing to say
    return _arrow(first, second)


def _arrow(first: Text, second: Text) -> Text:
    return first if first.plain == second.plain else Text.assemble(first, (" → ", "bold"), second)
