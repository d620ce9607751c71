"""What commands write as JSON: records are classes, which give its shape, its JSON Schema and a reader. Needs msgspec.

A record is the only description of what is written: `record` fills it from the attributes of what was found, refuses
what has another type, and `schema` and the tables of the guides (``docs/make_schemas.py``) are made of it.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, TypeVar

from pooling.extras import needing
from pooling.files import write_whole

with needing("cli", __name__):
    from msgspec import UNSET, Meta, Struct, convert, to_builtins
    from msgspec.json import decode
    from msgspec.json import schema as _schema

__all__ = ["Record", "load", "plain", "record", "said", "save", "schema"]

DRAFT = "https://json-schema.org/draft/2020-12/schema"


class Record(Struct, kw_only=True, forbid_unknown_fields=True):
    """What all records have in common: fields are named, and there are no others."""


T = TypeVar("T", bound=Record)


def said(text: str) -> Meta:
    """Describe a field: ``size: Annotated[int, said("in pixels")]``."""
    return Meta(description=text)


def record(kind: type[T], source: object = None, /, **given: Any) -> T:
    """Fill a record.

    Parameters
    ----------
    kind : type of Record
        What to make.
    source : object, optional
        Has attributes for the fields that are not given; records inside are filled from attributes as well.
    **given : Any
        Other fields, by name.

    Raises
    ------
    msgspec.ValidationError
        If a field has a value of another type.

    Examples
    --------
    >>> class Point(Record):
    ...     x: int
    ...     y: float
    >>> record(Point, 3 + 4j, x=2, y=(3 + 4j).imag)
    Point(x=2, y=4.0)
    """
    fields = kind.__struct_fields__
    found = {name: getattr(source, name, UNSET) for name in fields} | given
    return convert({name: value for name, value in found.items() if value is not UNSET}, kind, from_attributes=True)


def plain(value: Any) -> Any:
    """Return a record as dicts, lists, strings and numbers; those that JSON does not have are strings.

    Examples
    --------
    >>> plain([1, float("nan"), {"largest": -float("inf")}])
    [1, 'nan', {'largest': '-inf'}]
    """
    if isinstance(value, Struct):
        return plain(to_builtins(value))
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def save(what: Record, path: str | os.PathLike[str]) -> None:
    """Write a record to a JSON file, whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written; a file that was there before is still there then.
    """
    write_whole(path, json.dumps(plain(what), indent=2, allow_nan=False) + "\n")


def load(kind: type[T], path: str | os.PathLike[str]) -> T:
    """Read what `save` wrote, and hold it against the record.

    Raises
    ------
    msgspec.ValidationError
        If it is not what the record describes.
    OSError
        If the file cannot be read.
    """
    return decode(Path(path).read_bytes(), type=kind)


def schema(kind: type[Record]) -> dict[str, Any]:
    """Return the JSON Schema of a record, which has its own name and version as its field ``schema``."""
    described = _schema(kind)
    title = described["$defs"][kind.__name__]["properties"]["schema"]["enum"][0]
    return {"$schema": DRAFT, "title": title, **described}
