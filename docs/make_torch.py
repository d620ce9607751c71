"""Write the tables of docs/torch.md from results of ``pooling bench --torch``: ``python docs/make_torch.py FILE``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pooling.benchmark.networks.listing import STEPS, TARGETS
from pooling.benchmark.networks.records import Record, read
from pooling.benchmark.networks.table import markdown, profile, rows, summary, without_numbers
from pooling.benchmark.race import QUIET

PAGE = Path(__file__).with_name("torch.md")
BEGIN, END = "<!-- made by docs/make_torch.py: begin -->\n", "<!-- made by docs/make_torch.py: end -->\n"
TARGET = 1.2
TITLES = {"inference": "Inference", "training": "A training step"}


def measured(records: Sequence[Record]) -> str:
    """Describe all that was measured, in sections."""
    parts = [where(records)]
    for step in STEPS:
        said = summary(records, step)
        parts += [f"### {TITLES[step]}", f"{said[0].upper()}{said[1:]}", markdown(records, step)]
    parts += [
        "### What a training step is spent on",
        'Shares of the time of all operators, gradients included. "Were pooling free" is 1 / (1 - its share): no '
        "pooling makes the step faster than that.",
        profile(records, TARGETS, "training"),
        targets(records),
    ]
    left = [
        f"- `{network}`, batch {batch}, {threads} thread{'s' * (threads > 1)}, {step}: {reason}"
        for network, batch, threads, step, reason in without_numbers(records)
    ]
    if left:
        parts += ["### What could not be measured", "\n".join(left)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def targets(records: Sequence[Record]) -> str:
    """Say which of the networks that pool much have a training step that is faster by a fifth."""
    parts = []
    for name in TARGETS:
        found = [each for each in rows(records) if each.step == "training" and each.network == name]
        if found:
            best = max(each.ratio for each in found)
            free = max(1 / max(1 - each.share, 1e-3) for each in found)
            verdict = "reached" if best >= TARGET else "not reached"
            parts.append(f"{verdict} by `{name}` ({best:.2f} at best; were pooling free, {free:.2f})")
    return f"A training step that is at least {TARGET} times as fast is {', '.join(parts)}." if parts else ""


def where(records: Sequence[Record]) -> str:
    """Say where and when it was measured, with which versions, and what else the machine did."""
    machines = {
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, kernels of {machine['kernels']}"
        for machine in (each["machine"] for each in records)
    }
    versions = {", ".join(f"{name} {version}" for name, version in each["versions"].items()) for each in records}
    dates = sorted(each["date"][:10] for each in records)
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    busy = sum(each["busy"] > QUIET for each in records)
    beside = f" Other processes kept processors busy before {busy} of {len(records)} measurements." if busy else ""
    return f"{'; '.join(sorted(machines))}; {'; '.join(sorted(versions))}; {when}.{beside}"


def page(text: str, records: Sequence[Record]) -> str:
    """Renew the tables in the page."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{measured(records)}\n{END}{after}"


if __name__ == "__main__":
    found = read(sys.argv[1])
    if not found:
        sys.exit(f"{sys.argv[1]} holds no records; pooling bench --torch writes them")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
