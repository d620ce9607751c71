"""Records of networks as a table for the terminal; needs ``rich``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from pooling.benchmark.results import seconds_text

from .records import Record
from .table import percent, ratio_text, rows

__all__ = ["networks_table"]

WHOLE_NAMES = 20
"""Signs of a name that stay in one line in a terminal of 80."""


def networks_table(records: Sequence[Record]) -> Table:
    """Lay out every step that was measured."""
    found = list(rows(records))
    table = Table(box=None, pad_edge=False, header_style="bold")
    # Where figures are wide, names are the last to be folded.
    longest = max((len(row.network) for row in found), default=0)
    table.add_column("network", overflow="fold", min_width=min(longest, WHOLE_NAMES))
    for title in ("batch", "threads"):
        table.add_column(title, justify="right")
    table.add_column("step")
    for title in ("torch", "pooling is", "after patch", "", "faster"):
        table.add_column(title, justify="right", overflow="fold")
    for row in found:
        table.add_row(
            row.network, str(row.batch), str(row.threads), row.step, seconds_text(row.before), percent(row.share),
            seconds_text(row.after), percent(row.share_after), ratio_text(row),
        )  # fmt: skip
    return table
