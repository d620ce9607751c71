"""The JSON Schemas of what the commands write."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["REPORTS", "schema_of"]

REPORTS = {
    "conformance": "pooling.validation.report.records:ConformanceRecord",
    "doctor": "pooling.doctor.report.records:ReportRecord",
    "repair": "pooling.export.repair.records:ReportRecord",
    "validate": "pooling.validation.report.records:ReportRecord",
}
"""The record that each command writes, as ``module:class``."""


def schema_of(command: str) -> dict[str, Any]:
    """Return the JSON Schema of what a command writes; ``pooling info --schema COMMAND`` prints it.

    Examples
    --------
    >>> schema_of("repair")["title"]
    'pooling-repair/1'
    """
    from pooling.reporting.json import schema

    module, _, name = REPORTS[command].partition(":")
    return schema(getattr(import_module(module), name))
