"""What arguments are checked by: sizes for each axis, numbers, flags and words, each refused in one sentence."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = [
    "INT64_MAX",
    "axis_names",
    "choice",
    "entries",
    "flag",
    "integer",
    "is_sequence",
    "per_axis",
    "per_axis_shape",
    "plain",
    "real",
]

INT64_MAX = 2**63 - 1


def axis_names(dimensions: int) -> str:
    """Name the spatial axes as the field does: ``"L"``, ``"HW"`` or ``"DHW"``."""
    return {1: "L", 2: "HW", 3: "DHW"}[dimensions]


def is_sequence(value: object) -> bool:
    """Tell whether an argument may have an entry for each axis."""
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def integer(function: str, name: str, value: Any, argument: object) -> int:
    """Return one entry of an argument as an int; a bool is no integer here."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"{function}: {name}={argument!r} must be an integer or one integer per spatial axis, "
            f"not {type(value).__name__}; write it with whole numbers"
        ) from None


def entries(function: str, name: str, value: Any, dimensions: int, noun: str) -> list[Any]:
    """Return one entry for each axis: all of a sequence, or its only one, or the value itself, as often."""
    found = list(value) if is_sequence(value) else [value]
    if len(found) not in (1, dimensions):
        raise ValueError(
            f"{function}: {name}={value!r} must have one entry per spatial axis, {dimensions} and not "
            f"{len(found)}; give one {noun} for all axes or {dimensions} of them"
        )
    return found * dimensions if len(found) == 1 else found


def per_axis(
    function: str, name: str, value: Any, dimensions: int, *, minimum: int = 1, allow_none: bool = False
) -> tuple[Any, ...]:
    """Spread an argument over the axes: an int holds for all of them, a sequence gives one int per axis.

    A sequence of one entry holds for all axes too, as in torch.

    Raises
    ------
    TypeError
        For anything but integers and sequences of them; a bool is no integer here.
    ValueError
        For a sequence of another length, or an integer below `minimum` or beyond 64 bits.
    """
    numbers = [
        None if entry is None and allow_none else integer(function, name, entry, value)
        for entry in entries(function, name, value, dimensions, "integer")
    ]
    for number, axis in zip(numbers, axis_names(dimensions), strict=True):
        if number is not None and not minimum <= number <= INT64_MAX:
            bound = f"at least {minimum}" if number < minimum else "at most 2**63 - 1"
            raise ValueError(f"{function}: {name}={value!r} must be {bound} on axis {axis}, not {number}")
    return tuple(numbers)


def plain(value: Any, depth: int = 2) -> Any:
    """Read an argument once, into values that do not change: what is checked is then what is remembered and used.

    Whatever counts as an integer becomes an int, and words, floats, bools and sequences become the plain ones. What is
    no argument at all comes back as it is, to be refused where the argument is checked.
    """
    if value is None or type(value) in (int, str, bool, float):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (float, np.floating)):
        return float(value)
    if is_sequence(value):
        return tuple([plain(entry, depth - 1) for entry in value]) if depth else value
    try:
        return operator.index(value)
    except TypeError:
        return value


def real(function: str, name: str, value: Any, kinds: str = "a number", argument: Any = None) -> float:
    """Return a real argument, refusing bool; NaN for an integer beyond all floats, which callers refuse as a value.

    `argument` is the whole that `value` is a part of.
    """
    shown = value if argument is None else argument
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{function}: {name}={shown!r} must be {kinds}, not {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        return math.nan


def flag(function: str, name: str, value: object) -> bool:
    """Return a yes-or-no argument, refusing everything but bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{function}: {name}={value!r} must be True or False, not {type(value).__name__}")
    return bool(value)


def choice(function: str, name: str, value: Any, words: Sequence[str]) -> str:
    """Return an argument that is one of these words."""
    if not isinstance(value, str):
        raise TypeError(f"{function}: {name}={value!r} must be a string, not {type(value).__name__}")
    if value not in words:
        shown = [repr(word) for word in words]
        rule = " or ".join(shown) if len(words) == 2 else f"one of {', '.join(shown)}"
        raise ValueError(f"{function}: {name}={value!r} must be {rule}")
    return value


def per_axis_shape(function: str, shape: Any) -> tuple[int, ...]:
    """Check a shape given by the user."""
    sizes = []
    for entry in shape if is_sequence(shape) else [shape]:
        if not is_sequence(shape) or isinstance(entry, (bool, np.bool_)) or not hasattr(entry, "__index__"):
            raise TypeError(
                f"{function}: input_shape={shape!r} must be a sequence of integers; "
                f"{entry!r} is of type {type(entry).__name__}"
            )
        sizes.append(operator.index(entry))
    if min(sizes, default=0) < 0:
        raise ValueError(f"{function}: input_shape={shape!r} must not have negative sizes")
    return tuple(sizes)
