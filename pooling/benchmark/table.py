"""The times of a race, for the terminal."""

from __future__ import annotations

from rich.table import Table

from .results import Results, geometric_mean, seconds_text
from .worker import LIBRARIES

__all__ = ["ratios_table", "times_table"]


def ratios_table(results: Results, threads: int) -> Table:
    """Lay out our times, how many times as long each peer takes, and we by a copy."""
    peers = [name for name in results.libraries if LIBRARIES[name].peer]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("case", overflow="fold")
    for title in ("pooling", *peers, "by a copy"):
        table.add_column(title, justify="right", overflow="fold")
    table.add_column("strategy", overflow="fold")
    leads: dict[str, list[float]] = {peer: [] for peer in peers}
    for name in results.document["seconds"][str(threads)]:
        ours, copy = results.seconds(threads, name, "pooling"), results.ratio(threads, name, "pooling", "copy")
        cells = []
        for peer in peers:
            ratio = results.ratio(threads, name, peer, "pooling")
            leads[peer] += [ratio] if ratio else []
            cells.append(f"{ratio:.1f}" if ratio else "–")
        table.add_row(
            name,
            seconds_text(ours) if ours else "–",
            *cells,
            f"{copy:.1f}" if copy else "–",
            results.strategies(name),
        )
    means = [f"{geometric_mean(each):.1f}" if each else "–" for each in leads.values()]
    table.add_row("geometric mean", "", *means, "", "", style="bold")
    return table


def times_table(results: Results, threads: int) -> Table:
    """Lay the times out: microseconds, our lead over the fastest peer, and how far we are from a copy."""
    libraries = results.libraries
    title = f"{threads} thread{'s' * (threads > 1)}, microseconds a call"
    table = Table(title=title, title_justify="left")
    table.add_column("case")
    for library in libraries:
        table.add_column(library, justify="right")
    table.add_column("fastest peer / pooling", justify="right")
    table.add_column("pooling / copy", justify="right")
    table.add_column("strategy")
    leads = []
    group = None
    for name, row in results.document["seconds"][str(threads)].items():
        if group not in (None, results.cases[name].group):
            table.add_section()
        group = results.cases[name].group
        lead, copy = results.lead(threads, name), results.ratio(threads, name, "pooling", "copy")
        leads += [lead] if lead else []
        cells = [
            f"{seconds * 1e6:,.1f}" if (seconds := row.get(library)) else "cannot" if library in row else ""
            for library in libraries
        ]
        ratios = (f"{ratio:.2f}" if ratio else "" for ratio in (lead, copy))
        table.add_row(name, *cells, *ratios, results.strategies(name))
    if leads:
        table.add_section()
        table.add_row("geometric mean", *[""] * len(libraries), f"{geometric_mean(leads):.2f}", "", "")
    return table
