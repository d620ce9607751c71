"""What an examination found, as what is written as JSON. Needs ``msgspec``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from pooling._version import __version__
from pooling.geometry import Axis
from pooling.reporting.json import plain, record, save
from pooling.tool_arguments import instance_of, path_of

from ..analysis.heads import Head
from ..analysis.input_sizes import AxisSizes, Pattern
from ..analysis.tree import Block
from ..examination import Examination
from ..lint import SEVERITIES
from ..network import Stage
from ..receptive_field import ReceptiveField
from ..what_if import WhatIf
from .records import (
    BlockRecord,
    DataSetRecord,
    EffectiveFieldRecord,
    FieldRecord,
    HeadRecord,
    InputRecord,
    ObjectRecord,
    PatternRecord,
    ReportRecord,
    SizesRecord,
    StageRecord,
    SummaryRecord,
    SurvivalRecord,
    WhatIfRecord,
    WindowRecord,
)

__all__ = ["as_dict", "as_record", "save_json"]


def as_dict(examination: Examination, what_if: WhatIf | None = None) -> dict[str, Any]:
    """Return everything as what JSON knows.

    Parameters
    ----------
    examination : Examination
        What was found.
    what_if : WhatIf, optional
        What it is compared with.

    Returns
    -------
    dict
        As `pooling.doctor.report.records` describes it. Keys and their types stay as they are as long as ``schema``
        does; new ones may be added. Numbers that may be fractions, such as effective strides, are floats.

    Examples
    --------
    >>> from pooling.doctor import examine
    >>> result = as_dict(examine("conv7x64/2p3@stem", (1, 3, 224, 224)))
    >>> result["stages"][0]["windows"][0]["formula"]
    'floor((224 - 7 + 6) / 2) + 1 = 112'
    """
    result: dict[str, Any] = plain(as_record(examination, what_if))
    return result


def save_json(examination: Examination, path: str | os.PathLike[str], what_if: WhatIf | None = None) -> None:
    """Write `as_dict` to a file, whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written; what was there before is still there then.
    """
    path = path_of("save_json", "path", path)
    instance_of("save_json", "examination", examination, Examination, "give what pooling.doctor.examine returns")
    if what_if is not None:
        instance_of("save_json", "what_if", what_if, WhatIf, "give what pooling.doctor.what_if.what_if returns")
    save(as_record(examination, what_if), path)


def as_record(examination: Examination, what_if: WhatIf | None = None) -> ReportRecord:
    """Return the same as a record."""
    network, objects = examination.network, examination.objects
    more = {}
    if what_if is not None:
        both = {name: as_record(getattr(what_if, name)) for name in ("before", "after")}
        changes = {name: dict(arguments) for name, arguments in what_if.changes.items()}
        more["what_if"] = record(WhatIfRecord, what_if, changes=changes, **both)
    return record(
        ReportRecord,
        examination,
        schema="pooling-doctor/1",
        version=__version__,
        network=network.name,
        opset=network.opset,
        input=InputRecord(name=network.input_name, shape=list(network.input_shape)),
        stages=[_stage(examination, stage) for stage in network.stages],
        outputs=network.outputs,
        sizes=[_sizes(each) for each in examination.sizes],
        losses=network.losses,
        object=record(ObjectRecord, objects, below_two_cells=objects.below_two, below_one_cell=objects.below_one),
        heads=[_head(head) for head in examination.heads],
        objects=_data_set(examination),
        tree=_block(examination.tree),
        shift=examination.shifts,
        summary=record(
            SummaryRecord,
            network,
            sentence=examination.summary,
            **{f"{each}s": sum(found.severity == each for found in examination.findings) for each in SEVERITIES},
        ),
        **more,
    )


def _stage(examination: Examination, stage: Stage) -> StageRecord:
    footprint = examination.objects.footprints.get(stage.name)
    forward = stage.kind in ("convolution", "pooling", "global")
    return record(
        StageRecord,
        stage,
        layer=None if stage.layer is None else repr(stage.layer),
        ceil_mode=bool(stage.layer is not None and stage.layer.arguments.get("ceil_mode")),
        windows=[_window(axis, forward) for axis in stage.axes],
        receptive_field=None if stage.receptive_field is None else _field(stage.receptive_field),
        effective_field=_effective(examination, stage),
        object_cells=None if footprint is None else _floats(footprint.cells),
        object_cells_resolved=None if footprint is None else _floats(footprint.resolved),
        macs_saved_behind=examination.macs_saved(stage),
        findings=[finding.code for finding in examination.of_stage(stage.name)],
    )


def _window(axis: Axis, forward: bool) -> WindowRecord:
    # The windows of a transposed convolution are those of the one that it undoes: nothing is left out there.
    absent: dict[str, Any] = {"formula": None, "dropped": 0, "cut": 0, "unread_share": 0.0, "padding_share": 0.0}
    return record(WindowRecord, axis, padding=[axis.pad_begin, axis.pad_end], **({} if forward else absent))


def _field(field: ReceptiveField) -> FieldRecord:
    return record(FieldRecord, field, stride=_floats(field.stride), offset=_floats(field.offset))


def _effective(examination: Examination, stage: Stage) -> EffectiveFieldRecord | None:
    field = examination.effective_fields.get(stage.name)
    return None if field is None else record(EffectiveFieldRecord, field)


def _head(head: Head) -> HeadRecord:
    return record(HeadRecord, head, stride=_floats(head.stride), resolved_stride=_floats(head.resolved_stride))


def _data_set(examination: Examination) -> DataSetRecord | None:
    survival = examination.survival
    if survival is None:
        return None
    heads = zip(examination.heads, survival.heads, strict=True)
    return record(
        DataSetRecord,
        survival.objects,
        count=len(survival.objects),
        stages=[_kept(name, shares) for name, shares in survival.stages.items()],
        heads=[_kept(head.stages[-1], shares) for head, shares in heads],
        assigned=survival.assigned,
    )


def _kept(name: str, shares: tuple[float, float]) -> SurvivalRecord:
    return SurvivalRecord(name=name, one_cell=shares[0], two_cells=shares[1])


def _block(block: Block) -> BlockRecord:
    return record(
        BlockRecord,
        block,
        stage=None if block.stage is None else block.stage.name,
        children=[_block(child) for child in block.children],
    )


def _sizes(sizes: AxisSizes) -> SizesRecord:
    return record(SizesRecord, sizes, working=_pattern(sizes.working), clean=_pattern(sizes.clean))


def _pattern(pattern: Pattern) -> PatternRecord:
    return record(PatternRecord, pattern, words=str(pattern))


def _floats(numbers: Iterable[Fraction]) -> list[float]:
    return list(map(float, numbers))
