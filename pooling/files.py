"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file, or leave what was there before.

    The content goes into another file in the same folder, which then takes the place of `path`: whoever reads it finds
    a whole file at any time.

    Parameters
    ----------
    path : path
        A file, which need not exist; of a link, the file behind it is written. A pipe or a device is written as it is.
    content : str or bytes
        What to write; text as UTF-8.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        target.write_bytes(data)  # a pipe or a device; a folder raises
        return
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            draft.chmod(target.stat().st_mode)
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
