"""What arguments of tools are read by: shapes, paths, words and mappings, each refused in one sentence."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from .arguments import per_axis_shape, plain, sequence
from .errors import type_error, value_error
from .signs import short_repr

__all__ = ["MOST_AXES", "instance_of", "mapping_of", "numbers_in", "path_of", "shape_of", "words_of"]

T = TypeVar("T")
SIZES = re.compile(r"[(\[]?\s*(\d{1,18}(?:\s*[x×X*,]\s*\d{1,18})*),?\s*[)\]]?")
EXAMPLE = (1, 3, 224, 224)
MOST_AXES = 64
"""Of an array of NumPy and of torch."""


def numbers_in(text: str) -> tuple[int, ...]:
    """Read numbers with something between them, as people write shapes; empty for any other text.

    Examples
    --------
    >>> numbers_in("1x3x224x224"), numbers_in("(3, 32)"), numbers_in("224"), numbers_in("large")
    ((1, 3, 224, 224), (3, 32), (224,), ())
    """
    match = SIZES.fullmatch(text.strip())
    return () if match is None else tuple(map(int, re.findall(r"\d+", match[1])))


def shape_of(function: str, shape: Any, name: str = "input_shape", *, checked: bool = True) -> tuple[int, ...]:
    """Return the shape of an input: of a number, of numbers in a row, or of a text such as ``"1x3x224x224"``.

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        For a text without numbers, and sizes that no axis can have; unless `checked`, the caller refuses these.

    Examples
    --------
    >>> shape_of("examine", 224), shape_of("examine", "3x32x32"), shape_of("examine", [1, 3, 32, 32])
    ((224,), (3, 32, 32), (1, 3, 32, 32))
    """
    read = plain(shape)
    if isinstance(read, str):
        found = numbers_in(read)
        if not found:
            raise value_error(function, "must be a shape", f"write {EXAMPLE} or '1x3x224x224'", argument=(name, shape))
        read = found
    whole_shape = (read,) if type(read) is int else read
    several = sequence(whole_shape)
    if several is None or not all(type(plain(each)) is int for each in several):
        raise type_error(function, *_no_shape(shape, sequence(shape)), argument=(name, shape))
    if len(several) > MOST_AXES:
        rule = f"has {len(several)} axes, and no array has more than {MOST_AXES}"
        raise value_error(function, rule, f"write a shape such as {EXAMPLE}", argument=(name, shape))
    if not checked:
        return tuple(map(plain, several))
    sizes = per_axis_shape(function, several, name)
    if min(sizes, default=0) < 1:
        raise value_error(function, f"must have sizes of at least 1, such as {EXAMPLE}", argument=(name, shape))
    return sizes


def _no_shape(shape: Any, several: list[Any] | None) -> tuple[str, str]:
    """Say what is no shape, and what to write in its place."""
    rule = f"must be a sequence of integers, such as {EXAMPLE}"
    with suppress(Exception):  # of somebody's own kind of array
        if len(shape.shape) > 1:
            return rule, "give the .shape of what goes into the network"
    if several is None:
        return rule, f"it is of type {type(shape).__name__}"
    wrong = next(each for each in several if type(plain(each)) is not int)
    kind = f"{short_repr(wrong)} is of type {type(wrong).__name__}"
    if wrong is None or isinstance(wrong, str):
        return rule, f"{kind}: give a number for every axis, such as 1 for the batch"
    return rule, kind


def path_of(function: str, name: str, value: Any, what: str = "a path") -> Path:
    """Return an argument that is the path of a file or folder, which need not be there.

    Raises
    ------
    TypeError
        For what is no str and no path.
    ValueError
        For what no file can be called.
    """
    text: Any = None
    if isinstance(value, str):
        text = str.__str__(value)
    elif isinstance(value, os.PathLike):
        with suppress(Exception):  # of somebody's own kind of path
            text = plain(os.fspath(value))
    if not isinstance(text, str):
        remedy = "decode it by os.fsdecode" if isinstance(value, bytes) else "give a str or a pathlib.Path"
        raise type_error(function, f"must be {what}, not {type(value).__name__}", remedy, argument=(name, value))
    try:
        os.lstat(text)
    except ValueError:  # of signs that no name has; UnicodeEncodeError is one
        rule = "has signs in it that no file name can have"
        raise value_error(function, rule, "write another name", argument=(name, text)) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            rule, remedy = "is longer than the name of a file can be", "write a shorter one"
            raise value_error(function, rule, remedy, argument=(name, text)) from None
    return Path(text)


def words_of(function: str, name: str, value: Any, example: str) -> tuple[str, ...]:
    """Return an argument that is any number of words; a single one may stand for itself, and None is none.

    Raises
    ------
    TypeError
        For anything else.

    Examples
    --------
    >>> words_of("validate", "runtimes", "torch", "onnxruntime"), words_of("validate", "runtimes", ["torch"], "torch")
    (('torch',), ('torch',))
    """
    if value is None:
        return ()
    if isinstance(value, str):
        return (str.__str__(value),)
    words: list[Any] | None = None
    with suppress(Exception):  # of what cannot be iterated over, and of somebody's own kind of list
        words = None if isinstance(value, (bytes, Mapping)) else list(value)
    wrong = value if words is None else next((each for each in words if not isinstance(each, str)), "")
    if words is None or not isinstance(wrong, str):
        rule = f"must be a list of strings, not {'of' if words is not None else ''} {type(wrong).__name__}"
        raise type_error(
            function, " ".join(rule.split()), f"write it as [{short_repr(example)}]", argument=(name, value)
        )
    return tuple(map(str.__str__, words))


def instance_of(function: str, name: str, value: Any, kind: type[T], remedy: str = "") -> T:
    """Return an argument that is of a class of this package; a subclass will do.

    Raises
    ------
    TypeError
        For anything else.
    """
    if not isinstance(value, kind):
        # What stands there is often large: a model, or all its stages.
        raise type_error(function, f"{name} must be a {kind.__name__}, not {type(value).__name__}", remedy)
    return value


def mapping_of(function: str, name: str, value: Any, example: str, keys: str = "names") -> dict[str, Any]:
    """Return an argument that maps names to something.

    Raises
    ------
    TypeError
        For what is no mapping, or has keys that are no strings.
    """
    found: dict[Any, Any] | None = None
    if isinstance(value, Mapping):
        with suppress(Exception):  # of somebody's own kind of mapping
            found = dict(value)
    if found is None:
        raise type_error(
            function, f"must be a mapping, not {type(value).__name__}", f"write {example}", argument=(name, value)
        )
    wrong = next((key for key in found if not isinstance(key, str)), "")
    if not isinstance(wrong, str):
        raise type_error(
            function,
            f"must have {keys} for keys, and {short_repr(wrong)} is of type {type(wrong).__name__}",
            f"write {example}",
            argument=(name, value),
        )
    return {str.__str__(key): each for key, each in found.items()}
