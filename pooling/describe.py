"""Docstrings of the public functions, written once for each family and filled in for each dimension."""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from typing import Any, TypeVar

from .operators import OPERATORS

Function = TypeVar("Function", bound=Callable[..., Any])

SHAPES = {
    None: ("N, C, *S", "N, *S, C"),
    1: ("N, C, L", "N, L, C"),
    2: ("N, C, H, W", "N, H, W, C"),
    3: ("N, C, D, H, W", "N, D, H, W, C"),
}

PIECES = {
    "input": """
        input : array_like
            Array of shape ``({first})``, or ``({last})`` with ``layout="channels_last"``; the batch axis may be left
            out. dtype {dtypes}. Any strides; never modified.""",
    "any_rank": """
        input : array_like
            Array of shape ``(N, C, *S)`` or, without the batch, ``(C, *S)``; with ``layout="channels_last"``
            ``(N, *S, C)`` or ``(*S, C)``. dtype {dtypes}. Any strides; never modified.""",
    "dimensions": """
        dimensions : {{1, 2, 3}}, optional
            Number of spatial axes. By default 2 for four axes, ``(N, C, H, W)``, and 3 for five; three axes may be
            ``(C, H, W)`` or ``(N, C, L)``, so for them it must be said.""",
    "windows": """
        kernel_size : int or sequence of int
            Cells of a window, for all axes or for each; a sequence of one entry is for all axes, here and below.
        stride : int or sequence of int, optional
            Cells from one window to the next; by default, which ``()`` is too, `kernel_size`.
        padding : int, sequence of int, sequence of (begin, end) pairs, or str
            Cells around the input that hold no element; each side smaller than the effective kernel. ``"valid"`` is no
            padding, ``"same_upper"`` (or ``"same"``) and ``"same_lower"`` give ``ceil(input / stride)`` outputs, with
            the odd cell at the end or at the beginning.
        dilation : int or sequence of int
            Cells from one tap of a window to the next.
        ceil_mode : bool
            Round the number of windows up instead of down; a window that would start behind the input and its
            beginning padding is dropped.""",
    "layout": """
        layout : {{"channels_first", "channels_last"}}
            Order of the axes, of the result too.""",
    "out": """
        out : ndarray or torch.Tensor, optional
            Where to put the result: exactly its dtype and shape, C-contiguous, writeable, apart from the
            input in memory. What is returned is an array of that memory. A call that is interrupted, as by Ctrl-C,
            leaves it written in part.""",
    "nan": """
        nan : {{"propagate", "ignore"}}
            Whether one NaN makes its windows NaN; if ignored, only windows of nothing but NaN are.""",
    "rounding": """
        rounding : {{"half_even", "half_up", "floor", "trunc"}}
            How means of integers are rounded; floats ignore it.""",
    "errors": """
        TypeError
            If an argument is of the wrong kind, or the dtype is not accepted.
        ValueError
            If an argument has a wrong value, or a window finds no place on some axis.""",
}


def described(family: str, dimensions: int | None = None) -> Callable[[Function], Function]:
    """Fill the placeholders in a docstring: ``{first}``, ``{last}``, ``{n}``, ``{dtypes}`` and the pieces above."""
    first, last = SHAPES[dimensions]
    operator = OPERATORS[family]

    def fill(function: Function) -> Function:
        text = cleandoc(function.__doc__ or "")
        values = {
            "first": first,
            "last": last,
            "n": dimensions,
            "dtypes": ", ".join(
                operator.gradient_dtypes if function.__name__.endswith("_backward") else operator.dtypes
            ),
        }
        for name, piece in PIECES.items():
            text = text.replace("{" + name + "}", cleandoc(piece).format(**values))
        for name, value in values.items():
            text = text.replace("{" + name + "}", str(value))
        function.__doc__ = text
        return function

    return fill
