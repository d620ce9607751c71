"""Tables in the terminal that leave out the columns for which there is no room. Needs ``rich``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pooling.signs import printable, shortened_apart

__all__ = ["MUST", "Column", "Layout", "say", "titled"]

MUST = 100
"""Columns that are wanted so much are always there."""
TITLE_WIDTH = 12
WIDEST_NAME = 40
"""Signs of names for which columns are left out at most."""
Row = TypeVar("Row")


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column."""

    title: str
    """What stands above it."""
    cell: Callable[[Row], Text]
    """What it says of a row."""
    justify: Literal["left", "right"] = "left"
    """Where its content stands."""
    wanted: int = MUST
    """The column that is wanted least is the first that is left out where there is no room."""
    legend: str = ""
    """What it means, for a line below the table."""


class Layout(Generic[Row]):
    """The columns of a table that have something to say and a place, and their widths.

    The first column holds names. They are cut where the others leave too little room for them, and those that differ
    still do.

    Parameters
    ----------
    columns : sequence of Column
        In their order.
    rows : sequence
        What the columns tell of.
    width : int
        Of the terminal.
    narrowest : int
        Signs of a name that are left at least; more where names could not be told apart, in place of columns that are
        wanted less.
    gap : int
        Signs between columns, where there is room; else 1.
    indent : str
        What stands in front of names.
    """

    def __init__(
        self,
        columns: Sequence[Column[Row]],
        rows: Sequence[Row],
        width: int,
        narrowest: int,
        gap: int = 1,
        indent: str = "",
    ) -> None:
        self.indent = indent
        content = [[column.cell(row) for column in columns] for row in rows]
        widths = {}
        for number, column in enumerate(columns):
            longest = max((line[number].cell_len for line in content), default=0)
            # What no row has anything to say about is left out.
            if longest:
                widths[number] = max(len(column.title), longest + len(indent) * (number == 0))
        names = dict.fromkeys(line[0].plain for line in content) if 0 in widths else ()
        enough = _telling_apart(list(names), narrowest - len(indent)) + len(indent)
        for number in sorted(widths, key=lambda each: columns[each].wanted):
            if _taken(widths, 1) - widths.get(0, 0) + enough > width and columns[number].wanted < MUST:
                del widths[number]
        self.gap = gap if _taken(widths, gap) <= width else 1
        if 0 in widths:
            widths[0] = max(narrowest, widths[0] - max(0, _taken(widths, self.gap) - width))
        self.columns = [columns[number] for number in widths]
        self.widths = list(widths.values())

    def table(self, rows: Iterable[Row], *, header: bool = True) -> Table:
        """Make a table of some of the rows; tables of one layout have the same columns."""
        made = Table(box=None, pad_edge=False, padding=(0, self.gap, 0, 0), show_header=header, header_style="bold")
        for column, width in zip(self.columns, self.widths, strict=True):
            title = Text(column.title, justify=column.justify)
            made.add_column(title, justify=column.justify, width=width, no_wrap=True, overflow="ellipsis")
        content = [[column.cell(row) for column in self.columns] for row in rows]
        cut = shortened_apart((line[0].plain for line in content), self.widths[0] - len(self.indent)) if content else {}
        for line in content:
            made.add_row(Text(self.indent + cut[line[0].plain], line[0].style), *line[1:])
        return made

    @property
    def legend(self) -> str:
        """What the columns mean that are there."""
        return "; ".join(column.legend for column in self.columns if column.legend)


def _telling_apart(names: Sequence[str], least: int) -> int:
    """Return the signs that names need for all of them to differ when they are cut; `least` where that is not more."""
    longest = max(map(len, names), default=0)
    return next(
        (
            width
            for width in range(least, min(longest, WIDEST_NAME))
            if len(set(shortened_apart(names, width).values())) == len(names)
        ),
        max(least, min(longest, WIDEST_NAME)),
    )


def _taken(widths: dict[int, int], gap: int) -> int:
    """Count the columns of the terminal that a table takes."""
    return sum(widths.values()) + gap * (len(widths) - 1)


def say(console: Console, text: Text, indent: int = 0) -> None:
    """Print a text: in as many lines as a terminal needs, and in one where a program may read it."""
    if console.is_terminal:
        console.print(Padding(text, (0, 0, 0, indent)))
    else:
        console.print(Text(" " * indent) + text, soft_wrap=True)


def titled(console: Console, title: str, text: str, style: str = "bold", width: int = TITLE_WIDTH) -> None:
    """Print a text behind a title, further lines indented."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=width, no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text(title, style), Text(printable(text)))
    console.print(table)
