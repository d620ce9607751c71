"""JSON Schema of what the commands write, from the TypedDicts that say what it is.

A TypedDict is the only description of a record: what writes it is checked against it by mypy, ``docs/make_schemas.py``
writes its schema and its table from it, and tests hold the output of the commands against that schema.
"""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

__all__ = ["SIMPLE", "fields", "json_schema", "records"]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
"""Types of JSON Schema by those of Python."""


def json_schema(title: str, root: Any) -> dict[str, Any]:
    """Describe a TypedDict as JSON Schema, draft 2020-12.

    Parameters
    ----------
    title : str
        Title of the schema.
    root : TypedDict
        Its fields have a type of ``str``, ``int``, ``float``, ``bool``, ``None``, ``Any``, ``Literal``, a union of
        these, a list or a dict by names of these, or another TypedDict; ``Annotated`` with a sentence describes one.

    Returns
    -------
    dict
        Every TypedDict is in ``$defs`` once, by its name.

    Examples
    --------
    >>> from typing import TypedDict
    >>> class Point(TypedDict):
    ...     x: Annotated[int, "column"]
    >>> json_schema("point/1", Point)["$defs"]["Point"]["properties"]
    {'x': {'description': 'column', 'type': 'integer'}}
    """
    kinds = records(root)
    return {
        "$schema": DRAFT,
        "title": title,
        "$ref": f"#/$defs/{root.__name__}",
        "$defs": {
            name: {
                "description": " ".join((kind.__doc__ or "").split()),
                "type": "object",
                "properties": {key: _schema(annotation) for key, (annotation, _) in fields(kind).items()},
                "required": [key for key, (_, required) in fields(kind).items() if required],
            }
            for name, kind in kinds.items()
        },
    }


def records(root: Any) -> dict[str, Any]:
    """Return a TypedDict and all that it is made of, by name, each before those that it names."""
    found: dict[str, Any] = {}
    waiting = [root]
    while waiting:
        kind = waiting.pop(0)
        if is_typeddict(kind) and kind.__name__ not in found:
            found[kind.__name__] = kind
            waiting += [annotation for annotation, _ in fields(kind).values()]
        elif not is_typeddict(kind):
            waiting += [each for each in get_args(kind) if not isinstance(each, str)]
    return found


def fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Return the annotations of a TypedDict by key, and whether each has to be there."""
    found = {}
    for key, annotation in get_type_hints(kind, include_extras=True).items():
        optional = get_origin(annotation) is NotRequired
        found[key] = (get_args(annotation)[0] if optional else annotation, not optional)
    return found


def _schema(annotation: Any) -> dict[str, Any]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return {"description": arguments[1], **_schema(arguments[0])}
    if origin is Literal:
        return {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(each) for each in arguments]}
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    if is_typeddict(annotation):
        return {"$ref": f"#/$defs/{annotation.__name__}"}
    if annotation is Any:
        return {}
    return {"type": SIMPLE[annotation]}
