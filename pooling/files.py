"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

__all__ = ["write_whole"]

PERMISSIONS = 0o777
"""What a new version of a file keeps of the old one's mode; never set-user-ID."""
ALREADY_OPEN = ("/dev/std", "/dev/fd/", "/proc/")
"""Names of what a process has open, which cannot be replaced."""


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file, or leave what was there before.

    The content goes into a draft in the same folder, which then takes the place of `path`: whoever reads it finds a
    whole file at any time. The draft has a random name and is never opened through a link; it is removed when writing
    fails or is interrupted.

    Parameters
    ----------
    path : path
        A file, which need not exist. Of a link, the file behind it is written and the link stays, as with ``>`` of a
        shell; other hard links keep what they had. A file that exists keeps its permissions, and one that may not be
        written is refused although its folder would allow a new one. A pipe or a device is written as it is.
    content : str or bytes
        What to write; text as UTF-8.

    Raises
    ------
    OSError
        If the file cannot be written; its `filename` is `path`, whatever the system complains about.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        _write(Path(path), data)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error


def _write(path: Path, data: bytes) -> None:
    try:
        before = os.stat(path)
    except FileNotFoundError:
        before = None
    if (before is not None and not stat.S_ISREG(before.st_mode)) or os.path.abspath(path).startswith(ALREADY_OPEN):
        with open(path, "ab") as file:  # a folder raises
            file.write(data)
        return
    if before is not None and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    try:
        target = path.resolve()
    except RuntimeError:  # what Python below 3.13 makes of links in a circle
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
    # Names relative to an open folder work up to the longest path, and for no other folder that is put in its place.
    folder = os.open(target.parent, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
    draft = f".pooling-{secrets.token_hex(12)}"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        permissions = 0o666 if before is None else before.st_mode & 0o600
        try:
            opened = os.open(draft, flags, permissions, dir_fd=folder)
        except FileExistsError:
            draft = ""  # somebody else's
            raise
        with os.fdopen(opened, "wb") as file:
            if before is not None:
                with suppress(OSError):  # only root may give files away
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
                os.fchmod(file.fileno(), before.st_mode & PERMISSIONS)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target.name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=folder)
        os.close(folder)
