"""What the commands have in common: what they read, where they print, and how they fail."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["fail", "named_shape", "names", "no_folder", "open_shape", "progress_bar", "stdout", "write_files"]

COULD_NOT_RUN = 2
WIDEST_TASK = 48
"""Columns for what is being done."""
PLAIN_WIDTH = 120
"""Columns where there is no terminal to ask."""


def fail(options: argparse.Namespace, sentence: str) -> int:
    """Say why a command could not be run; returns the exit code for that."""
    print(f"pooling {options.command}: {sentence}", file=sys.stderr)
    return COULD_NOT_RUN


def names(text: str) -> list[str]:
    """Read names with commas between them."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} must be names with commas between them")
    return names


def named_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Read a name and a shape in full."""
    name, shape = open_shape(text)
    sizes = tuple(size for size in shape if size is not None)
    if len(sizes) < len(shape):
        raise argparse.ArgumentTypeError(f"{text!r} must have a number for every size, such as data=1x3x224x224")
    return name, sizes


def open_shape(text: str) -> tuple[str, tuple[int | None, ...]]:
    """Read a name and a shape in which sizes may be left open."""
    match = re.fullmatch(r"(.+)=((?:\d+|\?)(?:x(?:\d+|\?))*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} must be a name and sizes, such as data=1x3x224x224")
    return match[1], tuple(None if size == "?" else int(size) for size in match[2].split("x"))


def no_folder(options: argparse.Namespace, *kinds: str) -> str:
    """Say which of the files that shall be written would lie in a folder that does not exist."""
    for kind in kinds:
        path = getattr(options, kind)
        if path is not None and not path.resolve().parent.is_dir():
            return f"--{kind} {path}: there is no folder {path.parent}"
    return ""


def write_files(options: argparse.Namespace, writers: dict[str, Callable[[Path], object]], exit_code: int) -> int:
    """Write the files that are asked for."""
    for kind, write in writers.items():
        path = getattr(options, kind)
        if path is not None:
            try:
                write(path)
            except OSError as error:
                return fail(options, f"--{kind} {path} cannot be written ({error.strerror})")
    return exit_code


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar where somebody sees it; it is told what was done of how much, and what is next."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # A thread that redraws the bar while times are measured would be measured as well.
    bar = Progress(
        *columns,
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task("reading models", total=None)

        def tell(done: int, total: int, what: str) -> None:
            # Names come out of files that anybody may have written.
            shown = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in what)
            bar.update(task, completed=done, total=total, description=shown[:WIDEST_TASK], refresh=True)

        yield tell


def stdout() -> Console:
    """Make a console that fits the terminal, or a page where there is none, and that prints in any encoding."""
    from rich.console import Console

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    fixed = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=PLAIN_WIDTH if fixed else None)
