"""Write the JSON Schemas of what the commands write, and the tables about them: ``python docs/make_schemas.py``.

Both are made from the TypedDicts of ``records.py``; a test compares the files with what this module makes.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, is_typeddict

import pooling
from pooling.doctor.report import records as doctor
from pooling.export.repair import records as repair
from pooling.reporting.json import SIMPLE, fields, json_schema, records
from pooling.validation.report import records as validate

SCHEMAS = {
    "doctor": ("pooling-doctor/1", doctor.ReportRecord),
    "repair": ("pooling-repair/1", repair.ReportRecord),
    "validate": ("pooling-validation/2", validate.ReportRecord),
}
FOLDER = Path(pooling.__file__).with_name("schemas")
PAGES = {command: Path(__file__).with_name(f"{command}.md") for command in ("repair", "validate")}
"""Guides with tables of all that is written."""
BEGIN, END = "<!-- made by docs/make_schemas.py: begin -->\n", "<!-- made by docs/make_schemas.py: end -->\n"


def path(command: str) -> Path:
    """Name the file of a schema."""
    return FOLDER / f"{command}.schema.json"


def schema(command: str) -> str:
    """Write the schema of what a command writes."""
    return json.dumps(json_schema(*SCHEMAS[command]), indent=2) + "\n"


def tables(root: Any) -> str:
    """Describe every record in a table."""
    parts = []
    for name, kind in records(root).items():
        rows = []
        for key, (annotation, required) in fields(kind).items():
            held, said = get_args(annotation) if get_origin(annotation) is Annotated else (annotation, "")
            rows.append(f"| `{key}` | {_held(held)} | {'' if required else 'may be missing; '}{said} |")
        title = f"**{name.removesuffix('Record')}.** {' '.join((kind.__doc__ or '').split())}"
        parts.append("\n".join([title, "", "| Key | Type | |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)


def _held(kind: Any) -> str:
    """Name a type as people do who know JSON."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _held(arguments[0])
    if origin is Literal:
        return ", ".join(f'`"{each}"`' for each in arguments)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_held, arguments)))
    if origin is list:
        return f"list of {_held(arguments[0])}"
    if origin is dict:
        return f"by name, {_held(arguments[1])}"
    if is_typeddict(kind):
        return f"**{kind.__name__.removesuffix('Record')}**"
    return "anything" if kind is Any else SIMPLE[kind]


def page(command: str, text: str) -> str:
    """Renew the tables in the guide of a command."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables(SCHEMAS[command][1])}\n{END}{after}"


if __name__ == "__main__":
    for each in SCHEMAS:
        path(each).write_text(schema(each), encoding="utf-8")
    for each, guide in PAGES.items():
        guide.write_text(page(each, guide.read_text(encoding="utf-8")), encoding="utf-8")
