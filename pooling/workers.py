"""How many threads a call uses."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from . import _core

__all__ = ["MOST_THREADS", "get_num_threads", "set_num_threads", "threads"]

MOST_THREADS = 1024
"""More are refused; `POOLING_MOST_THREADS` of pyx/c/team.h is the room that the team has for them."""


def _checked(function: str, count: object) -> int:
    # Imported when they are needed: `import pooling` shall be quick.
    from .arguments import whole_between

    return whole_between(function, "n", count, 1, MOST_THREADS, "use get_num_threads() to see the default")


def _read(*path: str) -> str:
    """Return the text of a file, or nothing where there is none that can be read."""
    try:
        with open(os.path.join(*path), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _groups(mounts: str, kind: str, group: str) -> Iterator[str]:
    """Yield the folders of a control group and those around it, as far as they are mounted here.

    `mounts` is the text of /proc/self/mountinfo: "id parent device root point options [tags] - type source options",
    where `root` is the group that lies at `point`. A container often sees its own group as the whole tree.
    """
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        if len(before.split()) < 5 or len(after.split()) < 3:
            continue
        root, point = (text.encode().decode("unicode_escape") for text in before.split()[3:5])
        found, _, options = after.split(None, 2)
        if found != kind or (kind == "cgroup" and "cpu" not in options.split(",")):
            continue
        inside = os.path.relpath(group, root)
        # A group beside the root is one that another namespace names; only the root is known to be around us.
        parts = [] if inside == "." or inside.startswith("..") else inside.split("/")
        for count in range(len(parts), -1, -1):
            yield os.path.join(point, *parts[:count])


def _limit(quota: str, period: str) -> float | None:
    try:
        share = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # "max", or nothing
        return None
    return share if share > 0 and math.isfinite(share) else None


def cpu_quota(filesystem: str = "/") -> float | None:
    """Return how many processors' time the control groups (Linux containers) give this process, or None for no limit.

    The least limit counts of the group that the process is in and all groups around it: cpu.max of version 2,
    cpu.cfs_quota_us and cpu.cfs_period_us of version 1 (Linux, Documentation/admin-guide/cgroup-v2.rst and
    Documentation/scheduler/sched-bwc.rst).

    Parameters
    ----------
    filesystem : str
        Where /proc and the mounted groups are looked for.
    """
    mounts = _read(filesystem, "proc/self/mountinfo")
    limits = []
    for line in _read(filesystem, "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            for folder in _groups(mounts, "cgroup2", group):
                quota, _, period = _read(filesystem, folder.lstrip("/"), "cpu.max").partition(" ")
                limits.append(_limit(quota, period))
        elif "cpu" in controllers.split(","):
            for folder in _groups(mounts, "cgroup", group):
                quota, period = (
                    _read(filesystem, folder.lstrip("/"), f"cpu.cfs_{name}_us") for name in ("quota", "period")
                )
                limits.append(_limit(quota, period))
    return min((limit for limit in limits if limit is not None), default=None)


def _initial() -> int:
    for variable in ("POOLING_NUM_THREADS", "OMP_NUM_THREADS"):
        # OMP_NUM_THREADS may list one number for each nesting level; the first is ours.
        text = os.environ.get(variable, "").split(",")[0].strip()
        if text.isdigit() and int(text) >= 1:
            return min(int(text), MOST_THREADS)
        if text and variable == "POOLING_NUM_THREADS":
            from .errors import value_error

            raise value_error("pooling", f"{variable}={text!r} must be a whole number of at least 1")
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows do not tell
        return os.cpu_count() or 1
    quota = cpu_quota()
    return processors if quota is None else max(1, min(processors, math.ceil(quota)))


def _after_fork_in_child() -> None:
    # The thread that forked is the main thread of the child.
    _core.answer_signals_in(threading.main_thread().ident or 0)


_core.set_default_threads(_initial())
_core.answer_signals_in(threading.main_thread().ident or 0)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def set_num_threads(n: int) -> None:
    """Set the number of threads for every later call of this process.

    Threads that waited for work, and are more than this number has work for, end.

    Parameters
    ----------
    n : int
        At least 1. Results are the same to the bit for any number.

    Raises
    ------
    TypeError, ValueError
        If `n` is no integer, or below 1 or above 1024.

    Examples
    --------
    >>> import pooling
    >>> before = pooling.get_num_threads()
    >>> pooling.set_num_threads(1)
    >>> pooling.get_num_threads()
    1
    >>> pooling.set_num_threads(before)
    """
    number = _checked("set_num_threads", n)
    _core.set_default_threads(number)
    _core.keep_workers(number - 1)


def get_num_threads() -> int:
    """Return the number of threads that a large call would use here and now.

    That is the innermost `threads` block, else what `set_num_threads` set, else the environment variable
    POOLING_NUM_THREADS, else OMP_NUM_THREADS, else the processors that this process may use: those of its affinity
    mask, and no more than the processor time that a control group (a container) gives it. It is 1 where the compiler
    had neither atomic operations, for threads to share work, nor OpenMP.

    A forked child process has the number of its parent.

    Returns
    -------
    int
        At least 1.

    Examples
    --------
    >>> import pooling
    >>> with pooling.threads(2):
    ...     pooling.get_num_threads()
    2
    """
    return _core.get_num_threads()


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Use `n` threads inside a ``with`` block, in this thread or task only.

    Threads that are started inside of it inherit the number where Python gives them a copy of the context
    (``sys.flags.thread_inherit_context``), as free-threaded interpreters do by themselves.

    Parameters
    ----------
    n : int
        At least 1. Results are the same to the bit for any number.

    Yields
    ------
    None
        The block runs; behind it the number is again what it was.

    Raises
    ------
    TypeError, ValueError
        If `n` is no integer, or below 1 or above 1024.

    Examples
    --------
    >>> import pooling
    >>> with pooling.threads(1):
    ...     pooling.get_num_threads()
    1
    """
    token = _core.THREADS_HERE.set(_checked("threads", n))
    try:
        yield
    finally:
        _core.THREADS_HERE.reset(token)
