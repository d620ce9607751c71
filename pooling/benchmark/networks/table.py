"""Records of networks as tables, for the terminal and for docs/torch.md."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pooling.benchmark.results import geometric_mean, seconds_text
from pooling.signs import counted

from .listing import STEPS
from .records import Record

__all__ = ["Row", "markdown", "profile", "rows", "summary", "without_numbers"]

SLOWER = 0.98
"""Ratios from which on a difference is one of the clock."""


class Row(NamedTuple):
    """One step of one setting of a network."""

    network: str
    batch: int
    threads: int
    step: str
    before: float
    """Seconds with torch."""
    after: float
    """Seconds with `pooling`."""
    share: float
    """Of pooling in the time of all operators, before."""
    share_after: float
    """The same, after."""
    ratio: float
    """Median over the rounds of torch by pooling."""
    low: float
    """The lower quartile of them."""
    high: float
    """The upper."""
    replaced: int
    """Modules that `patch` replaced: where it is none, both sides are the same network."""

    @property
    def slower(self) -> bool:
        """Whether three quarters of the rounds say that it became slower, by more than the clock can tell."""
        return bool(self.replaced) and self.high < SLOWER


def rows(records: Iterable[Record]) -> Iterator[Row]:
    """Yield what was measured."""
    for record in records:
        for step in STEPS:
            found = record.get(step, {"cannot": ""})
            if "cannot" not in found:
                yield _row(record, step, found)


def _row(record: Record, step: str, found: dict[str, Any]) -> Row:
    low, middle, high = _quartiles(found["ratios"])
    return Row(
        record["network"], record["batch"], record["threads"], step, found["torch"], found["pooling"],
        found["shares"]["torch"].get("pooling", 0.0), found["shares"]["pooling"].get("pooling", 0.0), middle, low, high,
        record["replaced"],
    )  # fmt: skip


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def without_numbers(records: Iterable[Record]) -> Iterator[tuple[str, int, int, str, str]]:
    """Yield what could not be measured, and why."""
    for record in records:
        key = (record["network"], record["batch"], record["threads"])
        if "cannot" in record:
            yield *key, "all", record["cannot"]
            continue
        for step in STEPS:
            if "cannot" in record.get(step, {}):
                yield *key, step, record[step]["cannot"]


def percent(share: float) -> str:
    """Return a share in percent, with one digit behind the point below ten."""
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def ratio_text(row: Row) -> str:
    """Return the ratio, and how far rounds lie apart."""
    if not row.replaced:
        return "the same"
    return (
        f"{row.ratio:.2f}"
        if math.isclose(row.low, row.high, abs_tol=0.02)
        else f"{row.ratio:.2f} ({row.low:.2f}–{row.high:.2f})"
    )


def summary(records: Sequence[Record], step: str) -> str:
    """Say in a few sentences what a step has gained over all networks and settings."""
    found = [each for each in rows(records) if each.step == step]
    if not found:
        return f"{step}: nothing was measured."
    same = [each.ratio for each in found if not each.replaced]
    ratios = [each.ratio for each in found if each.replaced] or same
    slower = [each for each in found if each.slower]
    shares = [each.share for each in found]
    networks = counted(len({each.network for each in found}), "network")
    text = (
        f"{step}: {counted(len(found), 'measurement')} of {networks}. Pooling takes "
        f"{percent(statistics.median(shares))} of the time of operators in the median, {percent(max(shares))} at most; "
        f"where `patch` replaces a module, in {len(found) - len(same)} of them, a step takes "
        f"{geometric_mean(ratios):.2f} times as long without it (geometric mean; {min(ratios):.2f} at least, "
        f"{max(ratios):.2f} at most)"
    )
    if same and len(same) < len(found):
        text += (
            f"; where it replaces none, both sides are the same network, and the ratios of {min(same):.2f} to "
            f"{max(same):.2f} are the noise of the measurement"
        )
    named = ", ".join(f"{each.network} (batch {each.batch}, {each.threads} thr.: {each.ratio:.2f})" for each in slower)
    return f"{text}; slower with it: {named or 'none'}."


def markdown(records: Sequence[Record], step: str) -> str:
    """Lay out one step, with the columns of each number of threads side by side.

    A row for each network and batch; the network in which pooling takes the largest share comes first.
    """
    found = {(each.network, each.batch, each.threads): each for each in rows(records) if each.step == step}
    threads = sorted({key[2] for key in found})
    head = ["network", "batch"]
    for count in threads:
        said = f"{count} thread{'s' * (count > 1)}"
        head += [f"{said}: torch", "pooling is", "after `patch`", "faster"]
    lines = [f"| {' | '.join(head)} |", f"| --- | ---: |{' ---: |' * (len(head) - 2)}"]
    largest: dict[str, float] = {}
    for each in found.values():
        largest[each.network] = max(each.share, largest.get(each.network, 0.0))
    for network, batch in sorted(dict.fromkeys(key[:2] for key in found), key=lambda key: (-largest[key[0]], *key)):
        cells = [f"`{network}`", str(batch)]
        for count in threads:
            row = found.get((network, batch, count))
            if row is None:
                cells += ["–"] * 4
            else:
                cells += [seconds_text(row.before), percent(row.share), percent(row.share_after), ratio_text(row)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def profile(records: Sequence[Record], networks: Sequence[str], step: str) -> str:
    """Lay out what some networks spend their time on, before and after, and how fast free poolings would make them."""
    found = [each for each in records if each["network"] in networks and "cannot" not in each.get(step, {"cannot": ""})]
    spent: Counter[str] = Counter()
    for record in found:
        spent.update(record[step]["shares"]["torch"])
    kinds = [
        "pooling",
        *(kind for kind, share in spent.most_common() if share and kind not in ("pooling", "other")),
        "other",
    ]
    head = ["network", "batch", "threads", "", "a step", *kinds, "faster", "were pooling free"]
    lines = [f"| {' | '.join(head)} |", f"| --- | ---: | ---: | --- |{' ---: |' * (len(head) - 4)}"]
    for record in sorted(found, key=lambda each: networks.index(each["network"])):
        row = _row(record, step, record[step])
        for side, gains in (
            ("torch", ["", f"{1 / max(1 - row.share, 1e-3):.2f}"]),
            ("after `patch`", [ratio_text(row), ""]),
        ):
            key = "torch" if side == "torch" else "pooling"
            shares = record[step]["shares"][key]
            about = [f"`{row.network}`", str(row.batch), str(row.threads)] if key == "torch" else [""] * 3
            cells = [percent(shares.get(kind, 0.0)) for kind in kinds]
            lines.append(f"| {' | '.join([*about, side, seconds_text(record[step][key]), *cells, *gains])} |")
    return "\n".join(lines) + "\n"
