"""Holds what the commands write against the JSON Schemas that are installed with the package."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

__all__ = ["check", "schema_of"]

KINDS = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
KINDS |= {"object": dict, "array": list}


def schema_of(command: str) -> dict[str, Any]:
    """Read the schema of what a command writes."""
    text = resources.files("pooling").joinpath("schemas", f"{command}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def check(command: str, value: Any) -> None:
    """Check a value against the part of JSON Schema that the schemas use; unlike it, refuse keys that are not there."""
    schema = schema_of(command)
    _check(value, schema, schema["$defs"], "report")


def _check(value: Any, schema: dict[str, Any], known: dict[str, Any], path: str) -> None:
    if "$ref" in schema:
        return _check(value, known[schema["$ref"].rpartition("/")[2]], known, path)
    if "anyOf" in schema:
        failures = []
        for each in schema["anyOf"]:
            try:
                return _check(value, each, known, path)
            except AssertionError as error:
                failures.append(str(error))
        raise AssertionError("; ".join(failures))
    if "enum" in schema or "const" in schema:
        assert value in schema.get("enum", [schema.get("const")]), path
    elif "type" in schema:
        kind = schema["type"]
        assert isinstance(value, KINDS[kind]), f"{path} is {value!r} and no {kind}"
        assert isinstance(value, bool) == (kind == "boolean"), path
        for name in schema.get("required", []):
            assert name in value, f"{path} has no {name}"
        for name, each in value.items() if kind == "object" else ():
            assert name in schema.get("properties", {}) or "additionalProperties" in schema, f"{path} has {name}"
            part = schema.get("properties", {}).get(name) or schema.get("additionalProperties", {})
            _check(each, part, known, f"{path}.{name}")
        for number, each in enumerate(value if kind == "array" else []):
            _check(each, schema["items"], known, f"{path}[{number}]")
    return None
