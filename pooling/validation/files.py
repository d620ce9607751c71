"""Reports as files."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(text: str, path: str | os.PathLike[str]) -> None:
    """Write a text file, whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written; a file that was there before is still there then.
    """
    # The file behind a link is replaced, and not the link.
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        target.write_text(text, encoding="utf-8")  # a pipe or a device; a folder raises
        return
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
