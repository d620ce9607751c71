"""Numbers as people read them, one way for all reports."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

__all__ = ["amount", "brief", "by", "cells", "joined", "memory", "percent", "times"]


def by(sizes: Sequence[object]) -> str:
    """Write sizes with times signs between them.

    Examples
    --------
    >>> by((1, 3, 224, 224))
    '1×3×224×224'
    """
    return "×".join(map(str, sizes))


def brief(sizes: Sequence[object]) -> str:
    """Write what holds for all axes once.

    Examples
    --------
    >>> brief((3, 3)), brief((3, 1))
    ('3', '3×1')
    """
    return str(sizes[0]) if len(set(sizes)) == 1 else by(sizes)


def cells(number: Fraction | float) -> str:
    """Write a number of cells with as many digits as tell something.

    Examples
    --------
    >>> cells(Fraction(1, 4)), cells(Fraction(8)), cells(Fraction(8, 3)), cells(Fraction(1, 1000))
    ('0.25', '8', '2.7', '0.001')
    """
    value = float(number)
    if value == round(value):
        return str(round(value))
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def amount(number: float) -> str:
    """Write a large number with a prefix.

    Examples
    --------
    >>> amount(0), amount(999), amount(118_013_952), amount(4_089_184_256)
    ('0', '999', '118 M', '4.09 G')
    """
    return _prefixed(number, 1000, ("", "k", "M", "G", "T", "P"))


def memory(number: float) -> str:
    """Write a number of bytes.

    Examples
    --------
    >>> memory(3_211_264), memory(512)
    ('3.06 MiB', '512 B')
    """
    return _prefixed(number, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"))


def _prefixed(number: float, base: int, units: Sequence[str]) -> str:
    power = 0
    while round(number) >= 1000 and power + 1 < len(units):
        number /= base
        power += 1
    digits = 0 if power == 0 or number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{digits}f} {units[power]}".rstrip()


def percent(share: float) -> str:
    """Write a share; one that is not zero never looks like zero.

    Examples
    --------
    >>> percent(0.265), percent(0.004), percent(0.0)
    ('26 %', '0.4 %', '0 %')
    """
    value = 100 * share
    return f"{value:.0f} %" if value >= 0.95 or value == 0 else f"{value:.1g} %"


def times(old: int, new: int, what: str) -> str:
    """Say how much of something there is after a change, beside what there was.

    Examples
    --------
    >>> times(10, 25, "memory"), times(10, 10, "memory"), times(1000, 1001, "memory"), times(0, 8, "memory")
    ('2.50 times the memory', 'the same memory', 'nearly the same memory', 'memory where there was none')
    """
    if old == new:
        return f"the same {what}"
    if not old:
        return f"{what} where there was none"
    ratio = new / old
    if round(ratio, 2) == 1:
        return f"nearly the same {what}"
    return f"{ratio:.2f} times the {what}" if ratio >= 0.095 else f"{ratio:.2g} times the {what}"


def joined(words: Sequence[str], last: str = "and") -> str:
    """Write words one after another.

    Examples
    --------
    >>> joined(["H"]), joined(["H", "W"]), joined(["D", "H", "W"])
    ('H', 'H and W', 'D, H and W')
    """
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
