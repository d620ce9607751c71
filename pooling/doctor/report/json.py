"""What an examination found, as what JSON knows."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from typing import Literal, cast

from pooling._version import __version__
from pooling.files import write_whole
from pooling.geometry import Axis

from ..analysis.input_sizes import AxisSizes, Pattern
from ..examination import Examination
from ..lint import SEVERITIES, Finding
from ..network import Stage
from ..receptive_field import ReceptiveField
from ..what_if import WhatIf
from .records import (
    FieldRecord,
    FindingRecord,
    PatternRecord,
    ReportRecord,
    Severity,
    SizesRecord,
    StageRecord,
    Task,
    WindowRecord,
)

__all__ = ["SCHEMA", "as_dict", "save_json", "summary"]

SCHEMA: Literal["pooling-doctor/1"] = "pooling-doctor/1"


def summary(examination: Examination) -> str:
    """Count the findings.

    Examples
    --------
    >>> from pooling.doctor import examine
    >>> summary(examine("conv3 pool2 conv3", (1, 3, 33, 33)))
    '0 errors, 1 warning, 1 note'
    """
    counts = [sum(finding.severity == each for finding in examination.findings) for each in reversed(SEVERITIES)]
    words = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in zip(counts, reversed(SEVERITIES), strict=True)]
    return ", ".join(words)


def as_dict(examination: Examination, what_if: WhatIf | None = None) -> ReportRecord:
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
        As `pooling.doctor.records` describes it, and ``schemas/doctor.schema.json`` in the package. Keys and their
        types stay as they are as long as ``schema`` does; new ones may be added. Numbers that may be fractions, such
        as effective strides, are floats.

    Examples
    --------
    >>> from pooling.doctor import examine
    >>> result = as_dict(examine("conv7x64/2p3@stem", (1, 3, 224, 224)))
    >>> result["stages"][0]["windows"][0]["formula"]
    'floor((224 - 7 + 6) / 2) + 1 = 112'
    """
    network, objects = examination.network, examination.objects
    result: ReportRecord = {
        "schema": SCHEMA,
        "version": __version__,
        "network": network.name,
        "opset": network.opset,
        "input": {"name": network.input_name, "shape": list(network.input_shape)},
        "failure": None
        if examination.failure is None
        else {
            "shape": list(examination.failure.shape),
            "stage": examination.failure.stage,
            "sentence": examination.failure.sentence,
        },
        "task": cast("Task | None", examination.task),
        "stages": [_stage(examination, stage) for stage in network.stages],
        "outputs": list(network.outputs),
        "sizes": [_sizes(each) for each in examination.sizes],
        "object": {
            "size": list(objects.size),
            "heads": list(objects.heads),
            "below_two_cells": objects.below_two,
            "below_one_cell": objects.below_one,
            "smallest": list(objects.smallest),
        },
        "shift": [
            {
                "stage": each.stage,
                "value": each.value,
                "antialiased": each.antialiased,
                "remedy": each.remedy,
                "note": each.note,
            }
            for each in examination.shifts
        ],
        "findings": [_finding(finding) for finding in examination.findings],
        "ignored": list(examination.ignored),
        "summary": {
            "macs": examination.network.macs,
            "parameters": examination.network.parameters,
            "output_bytes": examination.network.output_bytes,
            "errors": sum(finding.severity == "error" for finding in examination.findings),
            "warnings": sum(finding.severity == "warning" for finding in examination.findings),
            "notes": sum(finding.severity == "note" for finding in examination.findings),
            "sentence": summary(examination),
        },
    }
    if what_if is not None:
        result["what_if"] = {
            "changes": {name: dict(arguments) for name, arguments in what_if.changes.items()},
            "before": as_dict(what_if.before),
            "after": as_dict(what_if.after),
            "new": [_finding(finding) for finding in what_if.new],
            "gone": [_finding(finding) for finding in what_if.gone],
        }
    return result


def save_json(examination: Examination, path: str | os.PathLike[str], what_if: WhatIf | None = None) -> None:
    """Write `as_dict` to a file, whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written; what was there before is still there then.
    """
    write_whole(path, json.dumps(as_dict(examination, what_if), indent=2, allow_nan=False) + "\n")


def _stage(examination: Examination, stage: Stage) -> StageRecord:
    footprint = examination.objects.footprints.get(stage.name)
    forward = stage.kind in ("convolution", "pooling", "global")
    return {
        "name": stage.name,
        "operator": stage.operator,
        "kind": stage.kind,
        "inputs": list(stage.inputs),
        "input_shape": list(stage.input_shape),
        "output_shape": list(stage.output_shape),
        "layer": None if stage.layer is None else repr(stage.layer),
        "ceil_mode": bool(stage.layer is not None and stage.layer.arguments.get("ceil_mode")),
        "padding_share": stage.padding_share,
        "windows": [_axis(axis, forward) for axis in stage.axes],
        "receptive_field": None if stage.receptive_field is None else _field(stage.receptive_field),
        "object_cells": None if footprint is None else _numbers(footprint.cells),
        "object_cells_resolved": None if footprint is None else _numbers(footprint.resolved),
        "macs": stage.macs,
        "macs_saved_behind": examination.macs_saved(stage),
        "parameters": stage.parameters,
        "output_bytes": stage.output_bytes,
        "findings": [finding.code for finding in examination.of_stage(stage.name)],
        "note": stage.note,
    }


def _axis(axis: Axis, forward: bool) -> WindowRecord:
    return {
        "input_size": axis.input_size,
        "output_size": axis.output_size,
        "kernel_size": axis.kernel_size,
        "stride": axis.stride,
        "dilation": axis.dilation,
        "padding": [axis.pad_begin, axis.pad_end],
        "formula": axis.formula if forward else None,
        "dropped": axis.dropped if forward else 0,
        "cut": axis.cut if forward else 0,
        "unread_share": axis.unread_share if forward else 0.0,
        "padding_share": axis.padding_share if forward else 0.0,
    }


def _field(field: ReceptiveField) -> FieldRecord:
    return {
        "size": list(field.size),
        "stride": _numbers(field.stride),
        "offset": _numbers(field.offset),
        "aligned": field.aligned,
        "uniform": field.uniform,
        "context": field.context,
    }


def _sizes(sizes: AxisSizes) -> SizesRecord:
    return {
        "axes": sizes.axes,
        "given": sizes.given,
        "smallest": sizes.smallest,
        "largest": sizes.largest,
        "working": _pattern(sizes.working),
        "clean": _pattern(sizes.clean),
        "working_near": list(sizes.working_near),
        "clean_near": list(sizes.clean_near),
        "obstacle": sizes.obstacle,
    }


def _pattern(pattern: Pattern) -> PatternRecord:
    return {"step": pattern.step, "remainders": list(pattern.remainders), "words": str(pattern)}


def _finding(finding: Finding) -> FindingRecord:
    return {
        "code": finding.code,
        "severity": cast(Severity, finding.severity),
        "stage": finding.stage,
        "title": finding.title,
        "message": finding.message,
        "fixes": list(finding.fixes),
    }


def _numbers(numbers: tuple[Fraction, ...]) -> list[float]:
    return [float(number) for number in numbers]
