"""Show versions, the instruction sets, threads and strategies."""

from __future__ import annotations

import argparse
import io
import json
from contextlib import redirect_stdout
from typing import Any

from .schemas import REPORTS, schema_of
from .shared import add_command, write_out

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the command to those that there are."""
    info = add_command(commands, "info", __doc__, _run)
    info.add_argument(
        "--schema", choices=REPORTS, help="print the JSON Schema of what a command writes with --json instead"
    )


def _run(options: argparse.Namespace) -> int:
    if options.schema is not None:
        write_out(json.dumps(schema_of(options.schema), indent=2) + "\n")
        return 0
    from pooling.config import show_config

    text = io.StringIO()
    with redirect_stdout(text):
        show_config()
    write_out(text.getvalue())
    return 0
