"""One definition for all ranks: `ranked` makes the public functions of one that says ``{function}`` for its own name.

A definition is an ordinary function, with the docstring of all ranks. What is made of it is a function of its own, with
its own name, docstring and signature, and costs no more to call than one that was written out.

What many docstrings share is written here. The section of parameters is made from the signature: a docstring describes
the arguments of which there is something particular to say, and the others are described by `PARAMETERS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from inspect import cleandoc as _cleandoc
from inspect import getdoc, unwrap
from types import FunctionType
from typing import Any, TypeVar, cast

from .operators import OPERATORS

__all__ = ["described", "ranked", "with_example"]

Function = TypeVar("Function", bound=Callable[..., Any])

# What docstrings share is needed for each of them, at import.
cleandoc = lru_cache(1024)(_cleandoc)

SHAPES = {
    None: ("N, C, *S", "N, *S, C"),
    1: ("N, C, L", "N, L, C"),
    2: ("N, C, H, W", "N, H, W, C"),
    3: ("N, C, D, H, W", "N, D, H, W, C"),
}

PARAMETERS = {
    "grad_output": """
        grad_output : array_like
            Gradient with respect to the result: its shape, and the input's dtype.""",
    "input": """
        input : array_like
            Array of shape ``({first})``, or ``({last})`` with ``layout="channels_last"``; the batch axis may be left
            out. dtype {dtypes}. Any strides; never modified.""",
    "kernel_size": """
        kernel_size : int or sequence of int
            Cells of a window, for all axes or for each; a sequence of one entry is for all axes, here and below.""",
    "stride": """
        stride : int or sequence of int, optional
            Cells from one window to the next; by default, which ``()`` is too, `kernel_size`.""",
    "padding": """
        padding : int, sequence of int, sequence of (begin, end) pairs, or str
            Cells around the input that hold no element; each side smaller than the effective kernel. ``"valid"`` is no
            padding, ``"same_upper"`` (or ``"same"``) and ``"same_lower"`` give ``ceil(input / stride)`` outputs, with
            the odd cell at the end or at the beginning.""",
    "dilation": """
        dilation : int or sequence of int
            Cells from one tap of a window to the next.""",
    "ceil_mode": """
        ceil_mode : bool
            Round the number of windows up instead of down; a window that would start behind the input and its
            beginning padding is dropped.""",
    "output_size": """
        output_size : int, None or sequence of them
            Number of windows, for all axes or for each; None keeps an axis as it is.""",
    "dimensions": """
        dimensions : {1, 2, 3}, optional
            Number of spatial axes. By default 2 for four axes, ``(N, C, H, W)``, and 3 for five; three axes may be
            ``(C, H, W)`` or ``(N, C, L)``, so for them it must be said.""",
    "layout": """
        layout : {"channels_first", "channels_last"}
            Order of the axes, of the result too.""",
    "nan": """
        nan : {"propagate", "ignore"}
            Whether one NaN makes its windows NaN; if ignored, only windows of nothing but NaN are.""",
    "rounding": """
        rounding : {"half_even", "half_up", "floor", "trunc"}
            How means of integers are rounded; floats ignore it.""",
    "out": """
        out : ndarray or torch.Tensor, optional
            Where to put the result: exactly its dtype and shape, C-contiguous, writeable, apart from the
            input in memory. What is returned is an array of that memory. A call that is interrupted, as by Ctrl-C,
            leaves it written in part.""",
}
"""What an argument means, in every function that does not say something else of it."""

OF_ANY_RANK = {
    "input": """
        input : array_like
            Array of shape ``(N, C, *S)`` or, without the batch, ``(C, *S)``; with ``layout="channels_last"``
            ``(N, *S, C)`` or ``(*S, C)``. dtype {dtypes}. Any strides; never modified.""",
}
"""The same in functions that serve all ranks."""

OF_GRADIENTS = {
    "return_indices": """
        return_indices : bool
            Has no effect; here so that the forward call's arguments can be passed on.""",
    "indices": """
        indices : array_like of integers, optional
            What the forward call returned as indices; without them they are found again in `input`.""",
    "rounding": """
        rounding : str
            Has no effect; here so that the forward call's arguments can be passed on.""",
}
"""The same in gradients."""

PIECES = {
    "nan_of_means": """
        nan : {"propagate", "ignore"}
            As in the forward call; if ignored, numbers share the gradient of a window, and NaN of the input have none.
        """,
    "maps_of_regions": """
        input : array_like
            Maps, ``(N, C, H, W)``. dtype {dtypes}. Any strides; never modified.""",
    "result_or_errors": """
        Returns
        -------
        ndarray
            The result, in the dtype of the input.

        {raises}""",
    "channels_or_errors": """
        Returns
        -------
        ndarray
            Shape ``(N, C, 1, ..., 1)``, or ``(N, 1, ..., 1, C)``; without the batch where the input has none.

        {raises}""",
    "torch_gradient": """
        Equals what torch.autograd makes of ``torch.nn.functional.{forward}``""",
    "gradient_or_errors": """
        Returns
        -------
        ndarray
            Gradient with respect to `input`.

        {raises}""",
    "regions_or_errors": """
        Returns
        -------
        ndarray
            ``(R, C, *output_size)``, in the dtype of the input.

        {raises}
            {refused_regions}""",
    "refused_regions": """
        Also for a box that is not finite or does not meet its map, and for a map that is not in the batch.""",
    "raises": """
        Raises
        ------
        TypeError
            If an argument is of the wrong kind, or the dtype is not accepted.
        ValueError
            If an argument has a wrong value, or a window does not fit on some axis.""",
    "examples": """
        Examples
        --------
        >>> import numpy as np
        >>> import pooling""",
}

OF_WINDOWS = {1: "along one axis", 2: "of a map", 3: "of a volume"}


def _along_last(dimensions: int, number: str) -> str:
    """Write an argument that is 1 on all axes but the last, as an example has it."""
    return number if dimensions == 1 else f"({'1, ' * (dimensions - 1)}{number})"


def _names_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the arguments, without the signature, which takes longer to make than all else here."""
    code = cast(FunctionType, unwrap(function)).__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _with_parameters(text: str, arguments: tuple[str, ...], shared: Mapping[str, str]) -> str:
    """Describe all arguments, in their order: as the docstring does, or else as all functions do."""
    head, returns, tail = text.partition("\n\nReturns\n-------\n")
    head, title, own = head.partition("\n\nParameters\n----------\n")
    entries = re.split(r"\n(?=\S)", own) if title else []
    # One entry may describe several arguments, and stands where the first of them does.
    described = {name: cleandoc(entry) for name, entry in shared.items()}
    described |= {name: entry for entry in entries for name in re.split(" : |\n", entry)[0].split(", ")}
    section = dict.fromkeys(described[name] for name in arguments if name in described)
    if not section:
        return text
    return "\n".join([f"{head}\n\nParameters\n----------", *section]) + returns + tail


def _filled(
    text: str, operator: str, dimensions: int | None, words: Mapping[str, str], arguments: tuple[str, ...] = ()
) -> str:
    """Fill the placeholders of a docstring, and write its section of parameters if there are arguments.

    Placeholders are the names of `PARAMETERS` and `PIECES`; the words, with ``{function}`` and ``{forward}``; ``{n}``,
    ``{first}``, ``{last}``, ``{windows_of}`` and ``{dtypes}``; and in examples ``{row 4}``, which is the shape of one
    row of so many cells, ``{along 2}``, an argument for it, and ``{maps 7}``, the shape of maps of so many cells on
    each axis.
    """
    first, last = SHAPES[dimensions]
    row = OPERATORS[operator]
    of_gradient = words["function"].endswith("_backward")
    dtypes = row.gradient_dtypes if of_gradient else row.dtypes
    values = {"first": first, "last": last, "dtypes": ", ".join(dtypes)}
    parameters = PARAMETERS | (OF_ANY_RANK if dimensions is None else {}) | (OF_GRADIENTS if of_gradient else {})
    for name, piece in (parameters | PIECES).items():
        text = text.replace("{" + name + "}", cleandoc(piece))
    for name, word in words.items():
        text = text.replace("{" + name + "}", cleandoc(word) if word.startswith("\n") else word)
    if arguments:
        text = _with_parameters(text, arguments, parameters)
    if dimensions is not None:
        values |= {"n": str(dimensions), "windows_of": OF_WINDOWS[dimensions]}
        text = re.sub(r"\{row (\w+)\}", lambda found: f"({'1, ' * (dimensions + 1)}{found[1]})", text)
        text = re.sub(r"\{along (\w+)\}", lambda found: _along_last(dimensions, found[1]), text)
        text = re.sub(r"\{maps (\w+)\}", lambda found: f"(8, 16{f', {found[1]}' * dimensions})", text)
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


def described(operator: str, dimensions: int | None = None) -> Callable[[Function], Function]:
    """Fill the placeholders in the docstring of a function that is the only one of its row in the operator table."""

    def fill(function: Function) -> Function:
        words = {"function": function.__name__}
        function.__doc__ = _filled(cleandoc(function.__doc__ or ""), operator, dimensions, words, _names_of(function))
        return function

    return fill


def with_example(layer: type, example: str, operator: str, function: str, dimensions: int) -> str:
    """Make the docstring of a layer of its own first sentence, or that of its family, and the example of its family."""
    text = f"{getdoc(layer) or ''}\n\nExamples\n--------\n{cleandoc(example)}\n"
    return _filled(text, operator, dimensions, {"layer": layer.__name__, "function": function})


def ranked(
    definition: Function,
    operator: str,
    suffix: str = "",
    *,
    keyword_only: Mapping[int, str] | None = None,
    **words: str | tuple[str, ...],
) -> tuple[Function, ...]:
    """Make the functions of a row of the operator table, one for each number of spatial axes.

    Parameters
    ----------
    definition : function
        What all of them do. In its code and docstring ``{function}`` stands for the name of each.
    operator : str
        The row, which gives names and numbers of axes.
    suffix : str
        What the names have behind those of the row.
    keyword_only : mapping of int to str, optional
        By number of axes, a last positional argument that has to be named.
    **words
        Further placeholders, and what takes their places: for all functions, or for each.
    """
    row = OPERATORS[operator]
    # The docstring of a definition is that of no function, and its examples are not to be run.
    text = vars(definition).setdefault("docstring", cleandoc(definition.__doc__ or ""))
    definition.__doc__ = None
    made = []
    for place, (name, dimensions) in enumerate(zip(row.functions, row.dimensions, strict=True)):
        own = {word: value if isinstance(value, str) else value[place] for word, value in words.items()}
        own |= {"function": name + suffix, "forward": name}
        named = (keyword_only or {}).get(dimensions)
        function = _stamped(cast(FunctionType, definition), own["function"], named)
        function.__doc__ = _filled(text, operator, dimensions, own, _names_of(function))
        made.append(function)
    return cast(tuple[Function, ...], tuple(made))


def _stamped(definition: FunctionType, name: str, named: str | None) -> FunctionType:
    """Copy a definition under another name, with its last positional argument made one that has to be named."""
    code, defaults, keywords = definition.__code__, definition.__defaults__ or (), definition.__kwdefaults__ or {}
    positional = code.co_argcount
    if named is not None:
        positional -= 1
        assert code.co_varnames[positional] == named
        keywords, defaults = {named: defaults[-1], **keywords}, defaults[:-1]
    code = code.replace(
        co_name=name,
        co_qualname=name,
        co_consts=tuple(each.replace("{function}", name) if isinstance(each, str) else each for each in code.co_consts),
        co_argcount=positional,
        co_kwonlyargcount=code.co_kwonlyargcount + code.co_argcount - positional,
    )
    made = FunctionType(code, definition.__globals__, name, defaults, definition.__closure__)
    made.__kwdefaults__ = dict(keywords)
    made.__annotations__ = dict(definition.__annotations__)
    return made
