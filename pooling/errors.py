"""What errors say, in fields: the sentence is made of them here, and nothing reads it to find out what happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from .signs import short_repr

__all__ = [
    "Place",
    "Refusal",
    "compiled_where",
    "recast",
    "refusal_of",
    "refused",
    "rename",
    "type_error",
    "value_error",
    "without",
]

E = TypeVar("E", bound=Exception)


@dataclass(frozen=True)
class Refusal:
    """Why something is refused.

    Examples
    --------
    >>> import pooling
    >>> try:
    ...     pooling.max_pool2d([[[1.0]]], "2")
    ... except TypeError as error:
    ...     refusal = refusal_of(error)
    >>> refusal.function, refusal.argument, refusal.written, refusal.remedy
    ('max_pool2d', 'kernel_size', "'2'", 'write it with whole numbers')
    """

    function: str
    """The function or layer that was called; empty where the sentence names none."""
    rule: str
    """The rule that is broken, with its numbers."""
    remedy: str = ""
    """What helps; empty where the rule says it."""
    argument: str = ""
    written: str = ""
    """The argument that the rule is about, and its value as it was written; both empty where it is about none alone."""
    node: str = ""
    """The node of a model."""

    @property
    def reason(self) -> str:
        """The sentence without function and node."""
        argument = f"{self.argument}={self.written} " if self.argument else ""
        return f"{argument}{self.rule}{'; ' * bool(self.remedy)}{self.remedy}"

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.function, self.node, self.reason)))


class Place(str):
    """A function and the node that it was given: takes the place of a function's name where arguments are checked.

    Examples
    --------
    >>> Place("layer_from_node", "MaxPool node 'pool1'")
    "layer_from_node: MaxPool node 'pool1'"
    """

    function: str
    node: str

    def __new__(cls, function: str, node: str) -> Place:
        """Make it."""
        self = super().__new__(cls, f"{function}: {node}")
        self.function, self.node = function, node
        return self


def refused(
    kind: Callable[[str], E], function: str, rule: str, remedy: str = "", *, argument: tuple[str, Any] | None = None
) -> E:
    """Return an error with fields, to be raised; `kind` makes it of its sentence.

    Parameters
    ----------
    kind : callable
        The class, or what calls it with more than the sentence.
    function : str
        Who was called; a `Place` where that was with a node.
    rule, remedy : str
        See `Refusal`.
    argument : tuple of str and value, optional
        The name and value of the argument, which begin the rule's sentence.
    """
    if _is_compiling():
        return kind(_sentence(function, rule, remedy, argument))
    return _with_fields(kind, _refusal(function, rule, remedy, argument))


def _refusal(function: str, rule: str, remedy: str, argument: tuple[str, Any] | None) -> Refusal:
    name, written = ("", "") if argument is None else (argument[0], short_repr(argument[1]))
    where = function if isinstance(function, Place) else Place(function, "")
    return Refusal(where.function, rule, remedy, name, written, where.node)


def _sentence(function: str, rule: str, remedy: str, argument: tuple[str, Any] | None) -> str:
    return str(_refusal(function, rule, remedy, argument))


# As torch._dynamo.assume_constant_result does: torch.compile calls it, and does not follow what it does.
vars(_sentence)["_dynamo_marked_constant"] = True


def _is_compiling() -> bool:
    return False


def compiled_where(is_compiling: Callable[[], bool]) -> None:
    """Let errors be plain where `torch.compile` follows code that makes them: it knows no errors with attributes.

    Parameters
    ----------
    is_compiling : callable
        Takes nothing, and tells whether it does.
    """
    globals()["_is_compiling"] = is_compiling


def value_error(function: str, rule: str, remedy: str = "", *, argument: tuple[str, Any] | None = None) -> ValueError:
    """Return the error for a wrong value of the right kind; see `refused`."""
    return refused(ValueError, function, rule, remedy, argument=argument)


def type_error(function: str, rule: str, remedy: str = "", *, argument: tuple[str, Any] | None = None) -> TypeError:
    """Return the error for the wrong kind of value; see `refused`."""
    return refused(TypeError, function, rule, remedy, argument=argument)


def _with_fields(kind: Callable[[str], E], refusal: Refusal) -> E:
    # The kinds are Python's own, which users catch and tracebacks name; those take attributes, but no parameters.
    error = kind(str(refusal))
    vars(error)["refusal"] = refusal
    return error


def refusal_of(error: BaseException) -> Refusal:
    """Return the fields of an error; for one without, all that it says is the rule."""
    found = getattr(error, "refusal", None)
    return found if isinstance(found, Refusal) else Refusal("", str(error))


def recast(kind: Callable[[str], E], error: BaseException, place: Place | None = None) -> E:
    """Return an error of another kind with the fields of one; `place` says where what was said of a part belongs."""
    refusal = refusal_of(error)
    if place is not None:
        inner = "" if refusal.function == place.function else refusal.function
        node = ": ".join(filter(None, (place.node, inner, refusal.node)))
        refusal = replace(refusal, function=place.function, node=node)
    return _with_fields(kind, refusal)


def without(error: BaseException, *functions: str) -> str:
    """Return what an error says, without the name of the function where that is one of those that nobody called."""
    refusal = refusal_of(error)
    return str(replace(refusal, function="") if refusal.function in functions else refusal)


def rename(error: Exception, old: str, new: str) -> None:
    """Let an error name another function, where it names the old one: that of the caller, for what several share."""
    refusal = refusal_of(error)
    if refusal.function == old:
        vars(error)["refusal"] = refusal = replace(refusal, function=new)
        error.args = (str(refusal), *error.args[1:])
