"""What others wrote, made fit to be shown: names out of files, and arguments in the sentences of errors."""

from __future__ import annotations

import math
from collections.abc import Iterable
from os.path import commonprefix
from typing import Any

import numpy as np

__all__ = ["counted", "first_line", "printable", "short_repr", "shortened", "shortened_apart"]

LONGEST_REPR = 100
"""Signs of a value in a sentence, at most; what is longer is described."""
MOST_ENTRIES = 16
"""Entries of a list, and elements of an array, that are written out, at most."""
DEEPEST = 3
"""Sequences inside of sequences that are written out."""


def printable(text: str, keep: str = "") -> str:
    r"""Write signs that would move the cursor, or the text around them, as Python would in a literal.

    These are control characters, such as those that begin an escape sequence of a terminal, and signs that turn the
    direction of a line. All commands, and their pages, show names by this function.

    Parameters
    ----------
    text : str
        What to show.
    keep : str
        Signs that stay, such as the end of a line.

    Examples
    --------
    >>> print(printable("pool\x1b[2J\u202e1"))
    pool\x1b[2J\u202e1
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in keep else sign.encode("unicode_escape").decode() for sign in text
    )


def counted(number: int, noun: str, plural: str = "") -> str:
    """Write a number of things.

    Examples
    --------
    >>> counted(1, "map"), counted(2, "map"), counted(0, "axis", "axes")
    ('1 map', '2 maps', '0 axes')
    """
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def first_line(error: BaseException) -> str:
    r"""Return what an error that others raised says, as a part of a sentence.

    Examples
    --------
    >>> first_line(ValueError("no such node.\nAt line 3")), first_line(MemoryError())
    ('no such node', 'MemoryError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def shortened(name: str, width: int) -> str:
    """Cut a name in the middle: names of stages begin alike, and differ at their ends.

    Examples
    --------
    >>> shortened("features/features.12/conv/Conv", 16), shortened("conv1", 16)
    ('featu…/conv/Conv', 'conv1')
    """
    if len(name) <= width or width < 3:
        return name
    end = (2 * width) // 3
    return f"{name[: width - 1 - end]}…{name[-end:]}"


def shortened_apart(names: Iterable[str], width: int) -> dict[str, str]:
    """Cut names so that those that differ still do: where the middle has the difference, some of it stays.

    Examples
    --------
    >>> cut = shortened_apart(["stem/pool", "block/branch1/conv/pool", "block/branch2/conv/pool"], 16)
    >>> list(cut.values())
    ['stem/pool', '…anch1/c…nv/pool', '…anch2/c…nv/pool']
    """
    found: dict[str, str] = {}
    alike: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        found[name] = shortened(name, width)
        alike.setdefault(found[name], []).append(name)
    for several in alike.values():
        if len(several) > 1:
            first = len(commonprefix(several))  # noqa: RUF071 - signs, not folders
            # Ends that differ as well are worth their place.
            ways = [[_with_piece(name, width, first, end) for name in several] for end in ((width - 2) // 2, 0)]
            found |= zip(several, max(ways, key=lambda way: len(set(way))), strict=True)
    return found


def _with_piece(name: str, width: int, place: int, end: int) -> str:
    """Keep of a name a piece around some place, and its end."""
    length = max(1, width - 2 - end)
    begin = max(0, min(place - (length + 1) // 2, len(name) - end - length - 1))
    return f"{'…' * (begin > 0)}{name[begin : begin + length]}…{name[len(name) - end :]}"


def short_repr(value: Any) -> str:
    """Write a value as Python would in a literal; where that is long, takes lines or fails, say what it is.

    Sentences about arguments show them by this function: whatever somebody passes, they stay one short line.

    Examples
    --------
    >>> print(short_repr((2, 3.0)), short_repr("same"), short_repr(np.zeros((4, 5))), short_repr([0] * 1000))
    (2, 3.0) 'same' <ndarray of shape (4, 5), dtype float64> <list of 1000 entries>
    """
    return _short(value, DEEPEST)


def _short(value: Any, depth: int) -> str:
    described = f"<{printable(type(value).__name__)} object>"
    try:
        described, text = _described(value, described)
        if text is None:
            text = _entries(value, depth) if type(value) in (list, tuple) else repr(value)
    except Exception:  # of a repr that somebody else wrote
        return described
    return printable(text) if text and "\n" not in text and len(text) <= LONGEST_REPR else described


def _described(value: Any, otherwise: str) -> tuple[str, str | None]:
    """Say what a value is, and how it is written: by nothing where that is too long, None where it has to be tried."""
    kind = type(value)
    if isinstance(value, (str, bytes)):
        # The plain one: what is derived from it may say anything of itself.
        plain = str.__str__(value) if isinstance(value, str) else bytes(memoryview(value))
        noun = "characters" if isinstance(value, str) else "bytes"
        return f"{plain[: LONGEST_REPR // 4]!r}... of {len(plain)} {noun}", repr(plain[: LONGEST_REPR + 1])
    if kind in (list, tuple, dict, set, frozenset):
        size = len(value)
        noun = "entry" if size == 1 else "entries"
        return f"<{kind.__name__} of {size} {noun}>", "" if size > MOST_ENTRIES else None
    if kind is int and value.bit_length() > 4 * LONGEST_REPR:
        return f"<int of {value.bit_length()} bits>", ""
    if isinstance(shape := getattr(value, "shape", None), tuple) and hasattr(value, "dtype"):
        dtype = value.dtype.name if isinstance(value, np.ndarray) else value.dtype
        few = isinstance(value, np.generic) or math.prod(shape) <= MOST_ENTRIES
        return f"<{kind.__name__} of shape {tuple(shape)}, dtype {dtype}>", None if few else ""
    # An address would tell nobody anything.
    return otherwise, "" if vars(object)["__repr__"] is kind.__repr__ else None


def _entries(value: Any, depth: int) -> str:
    if value and not depth:
        return ""
    entries = ", ".join([_short(entry, depth - 1) for entry in value])
    return f"[{entries}]" if type(value) is list else f"({entries},)" if len(value) == 1 else f"({entries})"
