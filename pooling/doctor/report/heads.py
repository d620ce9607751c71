"""Heads and the objects of a data set, in words: what tables and pages say of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from pooling.reporting.formats import brief, by, cells, joined, percent
from pooling.signs import counted, printable

from ..analysis.heads import Head
from ..analysis.object_set import ObjectSet
from ..examination import Examination

__all__ = ["HeadText", "data_set", "head_facts", "heads_in_words", "introduced"]

RESIZED = {"letterbox": "letterboxed", "stretch": "stretched", "none": "not resized"}


@dataclass(frozen=True)
class HeadText:
    """A head in words.

    Attributes
    ----------
    names : str
        The maps.
    stride : str
        Pixels from cell to cell, with those of the coarser grid that it was upsampled from.
    size : str
        Cells.
    field : str
        The receptive field.
    objects : str
        Sizes of objects from one cell to the receptive field.
    assigned : str
        Those that fall to this head, where there are several.
    kept : str
        The share of the objects of a data set that keep one cell and two.
    share : str
        The share of the objects of a data set that fall to this head.
    use : str
        What becomes of it.
    """

    names: str
    stride: str
    size: str
    field: str
    objects: str
    assigned: str
    kept: str
    share: str
    use: str


def heads_in_words(examination: Examination, most_names: int = 3) -> list[HeadText]:
    """Put the heads of a network into words, the finest first."""
    found = []
    survival = examination.survival
    several = len(examination.heads) > 1
    for number, head in enumerate(examination.heads):
        kept = share = ""
        if survival is not None:
            one, two = survival.heads[number]
            kept = f"{percent(one)} keep a cell, {percent(two)} two"
            share = percent(survival.assigned[number]) if several else ""
        found.append(
            HeadText(
                _names(head, most_names),
                _stride(head),
                by(head.output_size),
                by(head.receptive_field),
                _span(head.smallest, head.largest)
                or f"none: one cell is {head.smallest} {examination.words.cell}s, more than its receptive field",
                (_span(*head.assigned) or "none") if several else "",
                kept,
                share,
                f"{head.use} {'from' if head.use == 'not known' else 'by'} {printable(head.used_by)}"
                if head.used_by
                else head.use,
            )
        )
    return found


def head_facts(examination: Examination) -> Iterator[tuple[str, str]]:
    """Yield titles and texts on what the outputs are read from: one for a single head, else one more for each."""
    heads, texts, cell = examination.heads, heads_in_words(examination), examination.words.cell
    uses = list(dict.fromkeys(_use(examination, number) for number in range(len(heads))))
    then = f"; {uses[0]}" if len(uses) == 1 else ""
    if len(heads) == 1:
        head, text = heads[0], texts[0]
        kept = f"; {text.kept}" if text.kept else ""
        yield (
            "output maps",
            f"{text.names} ({text.size}, {_fineness(head.stride)}), objects of {text.objects} {cell}s{kept}{then}",
        )
    elif heads:
        yield "output maps", f"{len(heads)} heads, for objects from one cell to the receptive field{then}"
    for number, text in enumerate(texts if len(texts) > 1 else []):
        parts = [
            f"{text.size} cells, objects of {text.objects} {cell}s, {text.assigned} by the ranges of FCOS",
            text.kept + (f", {text.share} fall to it" if text.share else ""),
            "" if then else _use(examination, number),
            text.names,
        ]
        yield f"  stride {text.stride.split(' ')[0]}", "; ".join(filter(None, parts))


def _use(examination: Examination, number: int) -> str:
    """Say what becomes of a head."""
    head = examination.heads[number]
    if head.use == "output":
        return "positions are kept up to the output"
    if head.use == "not known":
        where = f" from {printable(head.used_by)} on" if head.used_by else ""
        return f"what becomes of it is not known{where}"
    where = f" by {printable(head.used_by)}" if head.used_by else ""
    lost = ", where positions are lost" if head.use == "pooled to one cell" else ""
    return f"then {head.use}{where}{lost}"


def data_set(examination: Examination) -> str:
    """Put what becomes of the objects of a data set into a sentence; empty where there is none."""
    survival = examination.survival
    if survival is None:
        return ""
    objects = survival.objects
    heads = ""
    if survival.heads:
        one, two = survival.best
        heads = f"; at the finest head {percent(one)} of them keep a cell and {percent(two)} two"
    left_out = f"; left out: {joined(objects.left_out)}" if objects.left_out else ""
    return f"{introduced(objects)}, median height × width {_median(objects)} {examination.words.cell}s{heads}{left_out}"


def introduced(objects: ObjectSet) -> str:
    """Name a data set and say how its images became the input."""
    name = f" of {printable(objects.name)}" if objects.name else ""
    how = f" ({RESIZED[objects.resize]})" if objects.resize != "none" else ""
    return f"{counted(len(objects), 'object')}{name}{how}"


def _median(objects: ObjectSet) -> str:
    return by([f"{each:.0f}" if each >= 10 else f"{each:.2g}" for each in objects.median])


def _names(head: Head, most: int) -> str:
    shown = [printable(name) for name in head.stages[-most:]]
    more = len(head.stages) - len(shown)
    return joined([*shown, f"{more} more"] if more else shown)


def _stride(head: Head) -> str:
    stride = brief([cells(each) for each in head.stride])
    if head.resolved_stride == head.stride:
        return stride
    return f"{stride} (upsampled from {brief([cells(each) for each in head.resolved_stride])})"


def _span(least: int, most: int) -> str:
    if least > most:
        return ""
    return f"{least} to {most}" if least < most else str(least)


def _fineness(stride: Sequence[Fraction]) -> str:
    """Say how fine a map is, beside the input."""
    if max(stride) <= 1:
        return "as fine as the input" if min(stride) == 1 else "finer than the input"
    return f"1/{brief([cells(each) for each in stride])} of the input"
