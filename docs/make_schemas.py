"""Write the tables of what the commands write as JSON: ``python docs/make_schemas.py``.

They are made from the JSON Schemas, and these from the classes of ``records.py``; a test compares the pages with them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pooling.cli.schemas import schema_of

PAGES = {command: Path(__file__).with_name(f"{command}.md") for command in ("repair", "validate")}
"""Guides with tables of all that is written."""
BEGIN, END = "<!-- made by docs/make_schemas.py: begin -->\n", "<!-- made by docs/make_schemas.py: end -->\n"


def tables(described: dict[str, Any]) -> str:
    """Describe every record in a table, each before those that it names."""
    parts, waiting = [], [described["$ref"]]
    for reference in waiting:
        record = described["$defs"][reference.rpartition("/")[2]]
        rows = []
        for key, field in record["properties"].items():
            missing = "" if key in record["required"] else "may be missing; "
            rows.append(f"| `{key}` | {held(field)} | {missing}{field.get('description', '')} |")
            waiting += [each for each in references(field) if each not in waiting]
        title = f"**{named(reference)}.** {' '.join(record['description'].split())}"
        parts.append("\n".join([title, "", "| Key | Type | |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)


def references(field: Any) -> list[str]:
    """Find the records that a part of a schema names."""
    if isinstance(field, dict):
        return [each for key, part in field.items() for each in ([part] if key == "$ref" else references(part))]
    return [each for part in field for each in references(part)] if isinstance(field, list) else []


def named(reference: str) -> str:
    """Name a record without what all their names end with."""
    return reference.rpartition("/")[2].removesuffix("Record")


def held(field: dict[str, Any]) -> str:
    """Name a type as people do who know JSON."""
    if "$ref" in field:
        return f"**{named(field['$ref'])}**"
    if "anyOf" in field:
        return " or ".join(held(each) for each in field["anyOf"])
    if "enum" in field:
        return ", ".join(f'`"{each}"`' for each in field["enum"])
    if field.get("type") == "array":
        return f"list of {held(field.get('items', {}))}"
    if field.get("type") == "object":
        return f"by name, {held(field.get('additionalProperties', {}))}"
    return field.get("type", "anything")


def page(command: str, text: str) -> str:
    """Renew the tables in the guide of a command."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables(schema_of(command))}\n{END}{after}"


if __name__ == "__main__":
    for each, guide in PAGES.items():
        guide.write_text(page(each, guide.read_text(encoding="utf-8")), encoding="utf-8")
