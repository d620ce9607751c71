"""Where in a module an operator is called: found in the frames of Python, without hooks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import CodeType, FrameType
from typing import NamedTuple

__all__ = ["Names", "Place", "at", "place_of"]


class Place(NamedTuple):
    """The module whose code runs, by its name in the whole, and the line of the user's code."""

    module: str
    line: str


KNOWN: ContextVar[Place | None] = ContextVar("KNOWN", default=None)


@contextmanager
def at(place: Place) -> Iterator[None]:
    """Say where an operator is called, for programs that have no frames of their own."""
    token = KNOWN.set(place)
    try:
        yield
    finally:
        KNOWN.reset(token)


Names = Mapping[int, Sequence[str]]
"""The names of each module by its ``id``: several, where modules share one."""


def place_of(frame: FrameType | None, names: Names, torch_folder: str, last: CodeType) -> Place:
    """Look for the innermost module, and the innermost line that is none of torch's.

    Parameters
    ----------
    frame : frame
        Where to begin.
    names : mapping
        The modules' names by their ``id``. Of a module that several share, the name is that in the one that calls it.
    torch_folder : str
        Where the code of torch lies.
    last : code
        Of the function that runs the module; nothing beyond it is looked at.
    """
    known = KNOWN.get()
    if known is not None:
        return known
    around: list[Sequence[str]] = []
    line = ""
    while frame is not None and (not around or len(around[-1]) > 1 or not line):
        code = frame.f_code
        if code is last:
            break
        if code.co_argcount and code.co_varnames[0] == "self":
            found = names.get(id(frame.f_locals.get("self")))
            if found is not None and (not around or len(around[-1]) > 1) and found not in around[-1:]:
                around.append(found)
        if not line and not code.co_filename.startswith((torch_folder, OWN_FOLDER, "<")):
            line = f"{_shortened(code.co_filename)}:{frame.f_lineno}"
        frame = frame.f_back
    module = ""
    for several in reversed(around):
        module = next((each for each in several if each.startswith(f"{module}.")), several[0]) if module else several[0]
    return Place(module, line)


OWN_FOLDER = os.path.dirname(__file__) + os.sep
SHORTENED: dict[str, str] = {}


def _shortened(path: str) -> str:
    """Leave out the folder of installed packages, or the current one."""
    if path not in SHORTENED:
        short = path
        for folder in ("site-packages", "dist-packages"):
            mark = f"{os.sep}{folder}{os.sep}"
            short = short.rpartition(mark)[2]
        here = os.getcwd() + os.sep
        SHORTENED[path] = short.removeprefix(here)
    return SHORTENED[path]
