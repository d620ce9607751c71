"""Holds what the commands write against the JSON Schemas of their records."""

from __future__ import annotations

from typing import Any

from pooling.cli.schemas import schema_of

__all__ = ["check"]

KINDS = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
KINDS |= {"object": dict, "array": list}


def check(command: str, value: Any) -> None:
    """Check a value against the part of JSON Schema that the schemas use."""
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
    if "enum" in schema:
        assert value in schema["enum"], path
    elif "type" in schema:
        kind = schema["type"]
        assert isinstance(value, KINDS[kind]), f"{path} is {value!r} and no {kind}"
        assert isinstance(value, bool) == (kind == "boolean"), path
        for name in schema.get("required", []):
            assert name in value, f"{path} has no {name}"
        for name, each in value.items() if kind == "object" else ():
            part = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
            assert part is not False, f"{path} has {name}"
            _check(each, part, known, f"{path}.{name}")
        for number, each in enumerate(value if kind == "array" else []):
            _check(each, schema.get("items", {}), known, f"{path}[{number}]")
    return None
