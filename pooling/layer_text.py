"""Layers as text, as `repr` writes them: ``MaxPool2d(3, stride=2, padding=1)``. Nothing of the text is executed."""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pooling

from .arguments import nearest_word
from .errors import value_error
from .layer import Layer, Sequential
from .signs import short_repr

__all__ = ["has_calls", "layers_from_text"]

LONGEST = 100_000
"""Signs of a text that is read."""
SHAPE_OF_A_LAYER = "write a layer as MaxPool2d(3, stride=2, padding=1), and each on a line of its own"
CALL = re.compile(r"[\s(\[]*(#|[A-Za-z_][\w.]*\s*\()")


def has_calls(text: str) -> bool:
    """Tell whether a text is meant as calls of classes of layers."""
    return CALL.match(text) is not None


def layers_from_text(text: str) -> list[Layer]:
    """Read layers: calls with literal arguments, several with line ends, commas or semicolons between them.

    Parameters
    ----------
    text : str
        Names are those of the classes in `pooling`, with or without ``pooling.``; ``Sequential(...)`` gives the layers
        in it. Comments begin with ``#``.

    Raises
    ------
    ValueError
        If it is anything else, or a layer cannot have these arguments.

    Examples
    --------
    >>> layers_from_text("MaxPool2d(3, stride=2, padding=1), GlobalAvgPool2d()")
    [MaxPool2d(kernel_size=3, stride=2, padding=1), GlobalAvgPool2d()]
    """
    shown = short_repr(text)
    if len(text) > LONGEST:
        raise value_error("layers", f"{shown} has {len(text)} signs", f"at most {LONGEST} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python thinks of numbers such as 0x1for
            statements = ast.parse(text.strip()).body
    except SyntaxError as error:
        where = f" (line {error.lineno})" if error.lineno and "\n" in text.strip() else ""
        raise value_error("layers", f"{shown} cannot be read{where}", SHAPE_OF_A_LAYER) from None
    except (ValueError, RecursionError, MemoryError):  # a NUL, or brackets in brackets in brackets
        raise value_error("layers", f"{shown} cannot be read", SHAPE_OF_A_LAYER) from None
    layers: list[Layer] = []
    for statement in statements:
        if not isinstance(statement, ast.Expr):
            raise value_error("layers", f"{_shown(statement)} is no layer", SHAPE_OF_A_LAYER)
        layers += _layers(statement.value)
    if not layers:
        raise value_error("layers", f"{shown} has no layers", SHAPE_OF_A_LAYER)
    return layers


def _shown(node: ast.AST) -> str:
    try:
        return short_repr(ast.unparse(node))
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return "the text"


def _layers(node: ast.expr) -> Iterator[Layer]:
    """Yield the layers of an expression."""
    if isinstance(node, (ast.Tuple, ast.List)):
        for each in node.elts:
            yield from _layers(each)
        return
    if not isinstance(node, ast.Call):
        raise value_error("layers", f"{_shown(node)} is no layer", SHAPE_OF_A_LAYER)
    try:
        name = ast.unparse(node.func).removeprefix("pooling.")
    except RecursionError:
        raise value_error("layers", "the name of a layer has too many parts", SHAPE_OF_A_LAYER) from None
    if name == Sequential.__name__:
        if node.keywords:
            raise value_error("layers", f"{_shown(node)}: Sequential takes layers, without names")
        for each in node.args:
            yield from _layers(each)
        return
    kind = getattr(pooling, name, None) if name in pooling.__all__ else None
    if not (isinstance(kind, type) and issubclass(kind, Layer) and hasattr(kind, "operator")):
        classes = [each for each in pooling.__all__ if each[0].isupper()]
        meant = nearest_word(name.rpartition(".")[2], classes)
        remedy = f"do you mean {meant}?" if meant else "use the classes of pooling, such as MaxPool2d or AvgPool2d"
        raise value_error("layers", f"{short_repr(name)} is no layer of this package", remedy)
    if any(isinstance(each, ast.Starred) for each in node.args) or any(each.arg is None for each in node.keywords):
        raise value_error("layers", f"{_shown(node)}: arguments with * are not unpacked", "write them one by one")
    arguments = [_value(each, node) for each in node.args]
    keywords = {str(each.arg): _value(each.value, node) for each in node.keywords}
    if len(keywords) < len(node.keywords):
        named = [each.arg for each in node.keywords]
        twice = next(name for name in keywords if named.count(name) > 1)
        raise value_error("layers", f"{_shown(node)}: {twice} is given more than once", "leave one")
    try:
        yield kind(*arguments, **keywords)
    except (TypeError, ValueError, OverflowError) as error:
        raise value_error("layers", f"{_shown(node)}: {error}") from error


def _value(node: ast.expr, call: ast.Call) -> Any:
    """Return a literal; inf is one here, which `repr` writes so."""
    negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    operand = node.operand if isinstance(node, ast.UnaryOp) and negative else node
    if isinstance(operand, ast.Name) and operand.id == "inf":
        return -math.inf if negative else math.inf
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise value_error(
            "layers", f"{_shown(call)}: {_shown(node)} is no number, word or tuple of them", "write the value itself"
        ) from None
