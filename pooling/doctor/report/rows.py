"""What reports say of a stage, or of several in a row, in words: the table, the page and comparisons show the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pooling.reporting.formats import amount, brief, by, cells, memory, percent

from ..analysis.object_footprint import collapses
from ..examination import Examination
from ..network import Stage

__all__ = ["StageText", "TableRow", "rows", "window_of"]

UNKNOWN = "?"
"""What stands for a shape or a field that is not known."""
FEW_STAGES = 12
"""Up to so many, each has a line of its own."""


@dataclass(frozen=True)
class StageText:
    """A stage in words; what there is nothing to say about is empty.

    Attributes
    ----------
    window : str
        Kernel, stride, padding and dilation.
    output : str
        Shape of the output.
    formulas : tuple of str
        How its sizes follow.
    field, stride, centre : str
        The receptive field, the effective stride and the centre of the first field, in pixels.
    effective : str
        Size of the effective receptive field, in pixels.
    kept_one, kept_two : str
        Share of the objects of a data set that keep one cell and two.
    context, aligned : bool
        As those of `ReceptiveField`.
    covered, resolved : str
        Cells that the object covers, and the same on the coarsest grid that leads here, where that differs.
    left : float
        The least of the latter.
    cut, cut_share : str
        What is left out at the ends.
    padding : str
        Largest share of padding in a window.
    macs, saved, memory : str
        Multiply-adds, those that its stride saves downstream, and memory of its output.
    """

    window: str
    output: str
    formulas: tuple[str, ...] = ()
    field: str = ""
    stride: str = ""
    centre: str = ""
    effective: str = ""
    kept_one: str = ""
    kept_two: str = ""
    context: bool = False
    aligned: bool = True
    covered: str = ""
    resolved: str = ""
    left: float = 0.0
    cut: str = ""
    cut_share: str = ""
    padding: str = ""
    macs: str = ""
    saved: str = ""
    memory: str = ""

    @property
    def whole_field(self) -> str:
        """The receptive field, with what a branch adds that pools all of the map."""
        return f"{self.field} + all" if self.context else self.field

    @classmethod
    def of(cls, examination: Examination, *stages: Stage) -> StageText:
        """Put a stage into words; of several in a row the last one, with what all of them cost."""
        stage = stages[-1]
        axes, seen = stage.axes, stage.receptive_field
        resizes = stage.kind in ("convolution", "pooling") and any(axis.output_size != axis.input_size for axis in axes)
        words: dict[str, object] = {}
        if stage.is_lost:
            words["field"] = UNKNOWN
        if seen is not None:
            words |= {"field": brief(seen.size), "stride": brief([cells(each) for each in seen.stride])}
            words |= {"centre": brief([f"{float(each):g}" for each in seen.offset])}
            words |= {"context": seen.context, "aligned": seen.aligned}
        effective = examination.effective_fields.get(stage.name)
        if effective is not None:
            words["effective"] = brief([f"{each:.0f}" for each in effective.size])
        survival = examination.survival
        if survival is not None and stage.name in survival.stages:
            one, two = survival.stages[stage.name]
            words |= {"kept_one": percent(one), "kept_two": percent(two)}
        footprint = examination.objects.footprints.get(stage.name)
        if footprint is not None:
            covered, resolved = (
                brief([cells(each) for each in some]) for some in (footprint.cells, footprint.resolved)
            )
            words |= {"covered": covered, "left": float(min(footprint.resolved))}
            words["resolved"] = resolved if footprint.resolved != footprint.cells else ""
        if len(stages) == 1 and any(stage.dropped) and any(axis.cut for axis in axes):
            words["cut"] = by([axis.cut for axis in axes])
            words["cut_share"] = percent(max(axis.cut / axis.input_size for axis in axes))
        for name, total, write in (
            ("padding", max(each.padding_share for each in stages), percent),
            ("macs", sum(each.macs for each in stages), amount),
            ("saved", examination.macs_saved(stage) if len(stages) == 1 else 0, amount),
            ("memory", sum(each.output_bytes for each in stages), memory),
        ):
            words[name] = write(total) if total else ""
        formulas = tuple(dict.fromkeys(axis.formula for axis in axes)) if resizes else ()
        output = by(stage.output_shape) if stage.output_shape or not stage.culprit else UNKNOWN
        return cls(window_of(stage), output, formulas, **words)  # type: ignore[arg-type]


def window_of(stage: Stage) -> str:
    """Write the windows of a stage in brief, as in lists of layers: ``3 /2 p1``."""
    axes = stage.axes
    if not axes or stage.kind == "global":
        return ""
    adaptive = any(axis.adaptive for axis in axes)
    words = ["uneven" if adaptive else brief([axis.kernel_size for axis in axes])]
    if not adaptive and any(axis.stride > 1 for axis in axes):
        words.append(f"/{brief([axis.stride for axis in axes])}")
    if any(axis.pad_begin or axis.pad_end for axis in axes):
        words.append(f"p{brief([_sides(axis.pad_begin, axis.pad_end) for axis in axes])}")
    if any(axis.dilation > 1 for axis in axes):
        words.append(f"d{brief([axis.dilation for axis in axes])}")
    if stage.layer is not None and stage.layer.arguments.get("ceil_mode"):
        words.append("c")
    return " ".join(words)


def _sides(begin: int, end: int) -> str:
    return str(begin) if begin == end else f"{begin}:{end}"


@dataclass(frozen=True)
class TableRow:
    """One line of the table: a stage, or several that change no size."""

    stages: tuple[Stage, ...]
    text: StageText

    @property
    def last(self) -> Stage:
        """The stage whose result leaves the row."""
        return self.stages[-1]


def rows(examination: Examination, *, everything: bool = False) -> list[TableRow]:
    """Put the stages in lines: those that change the size of the map, or that something was found at, by themselves."""
    stages = examination.network.stages
    if everything or len(stages) <= FEW_STAGES:
        return [TableRow((stage,), StageText.of(examination, stage)) for stage in stages]
    found = {finding.stage for finding in examination.findings if finding.severity != "note" or finding.code == "D901"}
    sizes = {stage.name: stage.output_size for stage in stages}
    result: list[TableRow] = []
    folded: list[Stage] = []

    def close() -> None:
        if folded:
            result.append(TableRow(tuple(folded), StageText.of(examination, *folded)))
            folded.clear()

    for stage in stages:
        if stage.name in found or _resizes(stage) or (stage.kind == "dense" and not _keeps_places(stage, sizes)):
            close()
            result.append(TableRow((stage,), StageText.of(examination, stage)))
        else:
            last = folded[-1] if folded else stage
            if last.output_size != stage.output_size or last.is_lost != stage.is_lost:
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


def _keeps_places(stage: Stage, sizes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a product of matrices works at each place of a map or token, as in the blocks of a transformer."""
    size = stage.output_size
    return max(size, default=1) > 1 and not collapses(stage) and size in [sizes.get(name) for name in stage.inputs]
