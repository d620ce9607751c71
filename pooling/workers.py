"""How many threads a call uses, and what happens after a fork."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .dispatch import kernels

__all__ = ["get_num_threads", "set_num_threads", "threads", "threads_for"]

SERIAL_BYTES = 1 << 17
"""Calls that move fewer bytes run on one thread: waking another costs more than it saves (see `make bench`)."""


def _checked(function: str, count: object) -> int:
    if isinstance(count, bool) or not hasattr(count, "__index__"):
        raise TypeError(f"{function}: n={count!r} must be an integer, not {type(count).__name__}")
    number = count.__index__()
    if not 1 <= number <= 1024:
        raise ValueError(
            f"{function}: n={count!r} must be between 1 and 1024; use get_num_threads() to see the default"
        )
    return int(number)


def _initial() -> int:
    for variable in ("POOLING_NUM_THREADS", "OMP_NUM_THREADS"):
        # OMP_NUM_THREADS may list one number for each nesting level; the first is ours.
        text = os.environ.get(variable, "").split(",")[0].strip()
        if text.isdigit() and int(text) >= 1:
            return min(int(text), 1024)
        if text and variable == "POOLING_NUM_THREADS":
            raise ValueError(f"pooling: {variable}={text!r} must be a whole number of at least 1")
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows do not tell
        return os.cpu_count() or 1


_default = _initial()
_in_context: ContextVar[int | None] = ContextVar("pooling_threads", default=None)
_forked = False


def _after_fork_in_child() -> None:
    # The child has a copy of the memory that says there are workers, and none of the workers.
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def set_num_threads(n: int) -> None:
    """Set the number of threads for every later call of this process.

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
    global _default
    _default = _checked("set_num_threads", n)


def get_num_threads() -> int:
    """Return the number of threads that a large call would use here and now.

    That is the innermost `threads` block, else what `set_num_threads` set, else the environment variable
    POOLING_NUM_THREADS, else OMP_NUM_THREADS, else the cores that this process may use. It is 1 in a forked child
    process, and where the compiler had no atomic operations for threads to share work.
    """
    if _forked or not kernels.THREADING:
        return 1
    return _in_context.get() or _default


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Use `n` threads inside a ``with`` block, in this thread or task only.

    Examples
    --------
    >>> import pooling
    >>> with pooling.threads(1):
    ...     pooling.get_num_threads()
    1
    """
    token = _in_context.set(_checked("threads", n))
    try:
        yield
    finally:
        _in_context.reset(token)


def threads_for(nbytes: int) -> int:
    """Return the number of threads for a call that moves so many bytes."""
    return 1 if nbytes < SERIAL_BYTES else get_num_threads()
