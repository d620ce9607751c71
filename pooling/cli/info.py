"""``pooling info``."""

from __future__ import annotations

import argparse
import io
from contextlib import redirect_stdout
from typing import Any

from .shared import write_out

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the command to those that there are."""
    info = commands.add_parser("info", help="show versions, the instruction sets, threads and strategies")
    info.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from pooling.system import show_config

    text = io.StringIO()
    with redirect_stdout(text):
        show_config()
    write_out(text.getvalue())
    return 0
