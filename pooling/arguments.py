"""What arguments are checked by: sizes for each axis, numbers, flags and words, each refused in one sentence."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import wraps
from inspect import unwrap
from types import FunctionType
from typing import Any, TypeVar, cast

import numpy as np

from .errors import type_error, value_error
from .signs import short_repr

__all__ = [
    "INT64_MAX",
    "axis_names",
    "entries",
    "flag",
    "generator",
    "integer",
    "misnamed",
    "names_checked",
    "nearest_word",
    "per_axis",
    "per_axis_shape",
    "plain",
    "real",
    "sequence",
    "whole",
    "whole_between",
    "word",
]

Function = TypeVar("Function", bound=Callable[..., Any])

INT64_MAX = 2**63 - 1
LONGEST_WORD = 40
"""Signs of a misspelled word that are looked at."""


def axis_names(dimensions: int) -> str:
    """Name the spatial axes as the field does: ``"L"``, ``"HW"`` or ``"DHW"``."""
    return {1: "L", 2: "HW", 3: "DHW"}[dimensions]


def sequence(value: Any) -> list[Any] | None:
    """Read a sequence; None for what is none, or cannot be read."""
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0):
        with suppress(Exception):  # of somebody's own kind of list
            return list(value)
    return None


def whole(value: Any) -> int | None:
    """Return what counts as an integer as an int, and None for everything else; a bool is no integer here."""
    if type(value) is int:
        return value
    if not isinstance(value, (bool, np.bool_)):
        with suppress(Exception):  # TypeError of what is no integer, and anything of somebody's own kind of one
            return operator.index(value)
    return None


def whole_between(function: str, name: str, value: Any, least: int, most: int, remedy: str) -> int:
    """Return an argument that is an integer between two others."""
    number = whole(value)
    if number is None:
        raise type_error(function, f"must be an integer, not {type(value).__name__}", argument=(name, value))
    if not least <= number <= most:
        raise value_error(function, f"must be between {least} and {most}", remedy, argument=(name, value))
    return number


def integer(function: str, name: str, value: Any, argument: object) -> int:
    """Return one entry of an argument as an int."""
    number = whole(value)
    if number is None:
        raise type_error(
            function,
            f"must be an integer or one integer per spatial axis, not {type(value).__name__}",
            "write it with whole numbers",
            argument=(name, argument),
        )
    return number


OTHER_WORDS = {
    **dict.fromkeys(("first", "ncl", "ncw", "nchw", "ncdhw", "chw", "contiguous_format"), "channels_first"),
    **dict.fromkeys(("last", "nlc", "nwc", "nhwc", "ndhwc", "hwc"), "channels_last"),
    **dict.fromkeys(("average", "avg", "nanmean"), "mean"),
}
"""What other libraries call layouts and reductions, in small letters."""


def nearest_word(value: str, words: Iterable[str]) -> str:
    """Find the word that was meant, by its spelling or as other libraries call it; empty if there is none."""
    known = {word.lower(): word for word in words}
    spelled = value[:LONGEST_WORD].strip().lower().replace("-", "_").replace(" ", "_")
    spelled = OTHER_WORDS.get(spelled, spelled)
    from difflib import get_close_matches  # when it is needed: the first call shall be quick

    return next((known[each] for each in get_close_matches(spelled, known, 1, 0.8)), "")


FILLS = ("cval", "pad_value", "fill_value", "constant_values")
"""What other libraries call the number that stands beyond an array."""

OTHER_NAMES = {
    **dict.fromkeys(("strides", "step", "steps", "hop"), ("stride",)),
    **dict.fromkeys(
        ("pool_size", "ksize", "kernel", "kernel_shape", "window_shape", "window", "block_shape", "factor", "factors"),
        ("kernel_size", "block_size", "size"),
    ),
    **dict.fromkeys(
        ("size", "kernel_size", "block_size", "downscale"), ("kernel_size", "block_size", "size", "factors")
    ),
    **dict.fromkeys(("pads", "pad", "pad_width", "auto_pad", "explicit_paddings"), ("padding", "edge", "mode")),
    **dict.fromkeys(("boundary", "border", "border_mode", "borderType", "padding"), ("mode", "edge")),
    **dict.fromkeys(("dilations", "dilation_rate", "rate"), ("dilation",)),
    **dict.fromkeys(("data_format", "data_layout", "memory_format", "channel_axis"), ("layout", "axes")),
    **dict.fromkeys(("return_index", "return_mask", "return_argmax"), ("return_indices",)),
    **dict.fromkeys(("exclusive", "include_pad", "count_exclude_pad"), ("count_include_pad",)),
    **dict.fromkeys(("divisor", "counts"), ("divisor_override",)),
    **dict.fromkeys(("norm_type", "ord", "order"), ("norm_type", "p")),
    **dict.fromkeys(("output_shape", "out_size", "target_size", "pooled_shape"), ("output_size",)),
    **dict.fromkeys(("pooling_ratio", "ratio"), ("output_ratio",)),
    **dict.fromkeys(("seed", "random_state", "generator"), ("rng",)),
    **dict.fromkeys(("image", "images", "x", "inputs", "a", "arr", "data", "tensor", "value", "X"), ("input", "array")),
    **dict.fromkeys(("input", "array"), ("input", "array")),
    **dict.fromkeys(FILLS, ("cval", "edge", "nodata")),
    **dict.fromkeys(("max_layer", "max_level", "n_levels", "num_levels"), ("levels",)),
    **dict.fromkeys(("reduction", "reducer", "method", "op", "aggfunc"), ("func",)),
    **dict.fromkeys(("ceil", "round_up"), ("ceil_mode",)),
    **dict.fromkeys(("skipna", "ignore_nan", "mask_value", "nan_policy"), ("nan", "nodata")),
    **dict.fromkeys(("axis", "axes"), ("axes", "axis", "layout", "dimensions")),
    **dict.fromkeys(("output", "out", "dst"), ("out", "output")),
    **dict.fromkeys(("boxes", "regions"), ("rois",)),
    **dict.fromkeys(("opset_version", "target_opset", "op_version"), ("opset",)),
    **dict.fromkeys(
        ("shape", "example_input", "example_inputs", "args", "dynamic_axes", "dynamic_shapes"),
        ("input_shape", "shapes"),
    ),
    **dict.fromkeys(("f", "file", "filename", "fname", "output_path"), ("path",)),
    **dict.fromkeys(("module", "network", "net"), ("source", "pool", "model", "models")),
    **dict.fromkeys(("model", "model_path", "onnx_model"), ("model", "models", "source", "pool")),
    **dict.fromkeys(("object", "target_object"), ("object_size",)),
    **dict.fromkeys(("providers", "backend", "backends"), ("runtimes",)),
    **dict.fromkeys(("scale",), ("spatial_scale",)),
    **dict.fromkeys(("aligned", "align_corners"), ("coordinate_transformation_mode",)),
}
"""What other libraries call an argument, and ours for it; the first of them that a function has is meant."""


def misnamed(function: str, name: str, known: Sequence[str]) -> TypeError:
    """Return the error for an argument of a name that a function does not know, with the name that was meant."""
    meant = next((each for each in OTHER_NAMES.get(name, ()) if each in known), "") or nearest_word(name, known)
    listed = f"its arguments are {', '.join(known)}" if known else "it takes no arguments"
    remedy = f"do you mean {meant}?" if meant else listed
    if name in FILLS and meant == "edge":
        remedy = "nothing is filled in: edge='partial' reduces what is there, and numpy.pad fills before the call"
    return type_error(function, f"got an unexpected keyword argument {short_repr(name)}", remedy)


def names_checked(function: Function) -> Function:
    """Let a function that misses an argument, or gets one of another name, say which name is meant.

    It adds a call of Python, which is nothing to functions of images, and too much for those that pool a small map in a
    microsecond.
    """
    code = cast(FunctionType, unwrap(function)).__code__
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    knows = frozenset(known).issuperset

    @wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        if not knows(keywords):
            raise misnamed(function.__name__, next(name for name in keywords if name not in known), known)
        return function(*arguments, **keywords)

    return cast(Function, call)


def word(function: str, name: str, value: Any, words: Sequence[str], rule: str = "") -> str:
    """Return an argument that is one of some words.

    Raises
    ------
    TypeError
        For what is no string.
    ValueError
        For any other string, with the word that was meant; `rule` takes the place of the list of words.
    """
    if type(value) is str and value in words:
        return value
    quoted = list(map(repr, words))
    listed = " or ".join(quoted) if len(quoted) < 3 else f"one of {', '.join(quoted)}"
    if not isinstance(value, str):
        raise type_error(
            function, f"must be a string, not {type(value).__name__}", f"use {listed}", argument=(name, value)
        )
    plain_word = str.__str__(value)
    if plain_word not in words:
        nearest = nearest_word(plain_word, words)
        meant = f"for {short_repr(value)} write {nearest!r}" if nearest else ""
        raise value_error(function, rule or f"must be {listed}", meant, argument=(name, value))
    return plain_word


def entries(function: str, name: str, value: Any, dimensions: int, noun: str) -> list[Any]:
    """Return one entry for each axis: all of a sequence, or its only one, or the value itself, as often."""
    several = sequence(value)
    found = [value] if several is None else several
    if len(found) not in (1, dimensions):
        raise value_error(
            function,
            f"must have one entry per spatial axis, {dimensions} and not {len(found)}",
            f"give one {noun} for all axes or {dimensions} of them",
            argument=(name, value),
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
    if type(value) is int and minimum <= value <= INT64_MAX:
        return (value,) * dimensions
    numbers = [
        None if entry is None and allow_none else integer(function, name, entry, value)
        for entry in entries(function, name, value, dimensions, "integer")
    ]
    for number, axis in zip(numbers, axis_names(dimensions), strict=True):
        if number is not None and not minimum <= number <= INT64_MAX:
            bound = f"at least {minimum}" if number < minimum else "at most 2**63 - 1"
            raise value_error(
                function, f"must be {bound} on axis {axis}, not {short_repr(number)}", argument=(name, value)
            )
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
        return _float(value, value)
    several = sequence(value)
    if several is not None:
        return tuple([plain(entry, depth - 1) for entry in several]) if depth else value
    number = whole(value)
    return value if number is None else number


def dtype_of(value: Any) -> np.dtype[Any] | None:
    """Return the dtype that a value stands for; None where it stands for none, or raises anything."""
    try:
        meant: np.dtype[Any] = np.dtype(value)
    except Exception:
        return None
    return meant


def _float(value: Any, otherwise: Any) -> Any:
    """Return a number as a float, and something else where it does not let itself be read."""
    try:
        return float(value)
    except OverflowError:
        return math.nan
    except Exception:  # of somebody's own kind of number
        return otherwise


def real(function: str, name: str, value: Any, kinds: str = "a number", argument: Any = None) -> float:
    """Return a real argument, refusing bool; NaN for an integer beyond all floats, which callers refuse as a value.

    `argument` is the whole that `value` is a part of.
    """
    number = None
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        number = _float(value, None)
    if number is None:
        shown = short_repr(value if argument is None else argument)
        raise type_error(function, f"{name}={shown} must be {kinds}, not {type(value).__name__}")
    return float(number)


def generator(function: str, name: str, value: Any) -> np.random.Generator:
    """Return the generator that an argument is, or that `numpy.random.default_rng` makes of it, as SPEC 7 has it.

    A string is refused, of which NumPy would make a seed, and so is a sequence of sequences, in which it would recurse.
    """
    if value is None or isinstance(value, (np.random.Generator, np.random.BitGenerator, np.random.SeedSequence)):
        return np.random.default_rng(value)
    several = sequence(value)
    seeds = [whole(entry) for entry in ([value] if several is None else several)]
    numbers = [seed for seed in seeds if seed is not None]
    if len(numbers) < len(seeds):
        raise type_error(
            function,
            "must be an integer, a sequence of integers, None, or a Generator, BitGenerator or SeedSequence of "
            f"numpy.random, not {type(value).__name__}",
            "use a seed, or numpy.random.default_rng(seed)",
            argument=(name, value),
        )
    if not numbers or min(numbers) < 0:
        rule = "must not be negative" if numbers else "must not be empty"
        raise value_error(function, rule, "use an integer of at least 0", argument=(name, value))
    return np.random.default_rng(numbers[0] if several is None else numbers)


def flag(function: str, name: str, value: object) -> bool:
    """Return a yes-or-no argument, refusing everything but bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise type_error(function, f"must be True or False, not {type(value).__name__}", argument=(name, value))
    return bool(value)


def per_axis_shape(function: str, shape: Any, name: str = "input_shape") -> tuple[int, ...]:
    """Check a shape given by the user."""
    several = sequence(shape)
    sizes = []
    for entry in [shape] if several is None else several:
        size = None if several is None else whole(entry)
        if size is None:
            raise type_error(
                function,
                "must be a sequence of integers",
                f"{short_repr(entry)} is of type {type(entry).__name__}",
                argument=(name, shape),
            )
        sizes.append(size)
    if min(sizes, default=0) < 0:
        raise value_error(function, "must not have negative sizes", argument=(name, shape))
    if max(sizes, default=0) > INT64_MAX:
        raise value_error(function, "must not have sizes beyond 2**63 - 1", argument=(name, shape))
    return tuple(sizes)
