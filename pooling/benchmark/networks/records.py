"""What was measured: a line of JSON for each network, batch and number of threads."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Key", "Record", "append", "key_of", "read"]

Record = dict[str, Any]


class Key(NamedTuple):
    """What a record is about."""

    network: str
    batch: int
    threads: int


def key_of(record: Record) -> Key:
    """Return what a record is about."""
    return Key(record["network"], record["batch"], record["threads"])


def read(path: str | os.PathLike[str]) -> list[Record]:
    """Return the records of a file; of several about the same, the last. None where there is no file.

    Raises
    ------
    ValueError
        If a line is none of ours.
    OSError
        If the file cannot be read.
    """
    if not Path(path).exists():
        return []
    found: dict[Key, Record] = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        try:
            record = json.loads(line)
            found[key_of(record)] = record
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{os.fspath(path)}: line {number} is no record of pooling bench --torch; remove the line, or "
                "use another file"
            ) from error
    return list(found.values())


def append(path: str | os.PathLike[str], records: Iterable[Record]) -> None:
    """Add records to a file."""
    with open(path, "a", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record) + "\n")
