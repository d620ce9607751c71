"""``pooling export``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .shared import fail, no_folder, open_shape, stdout, write_files

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the command to those that there are."""
    export = commands.add_parser(
        "export",
        help="repair the pooling nodes of an ONNX model, so that all runtimes agree",
        description="Repair the pooling nodes of an ONNX model, so that all runtimes agree on them, and prove it.",
        epilog="Exit code: 0 all is well, 1 something is left, differs or could not be proven, 2 it could not be run.",
    )
    export.add_argument(
        "--repair", required=True, type=Path, metavar="MODEL.onnx", help="the model, which stays as it is"
    )
    export.add_argument(
        "-o", "--output", type=Path, metavar="OUT.onnx", help="where to write the result (default: show it only)"
    )
    export.add_argument(
        "--shape",
        action="append",
        default=[],
        type=open_shape,
        metavar="NAME=?x3x224x224",
        help="shape of an input that the model leaves open, ? for what shall stay open; can be given several times",
    )
    export.add_argument("--json", type=Path, metavar="FILE", help="write everything that was changed to FILE")
    export.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from pooling.export.repair.command import repair_file

    wrong = no_folder(options, "json")
    if wrong:
        return fail(options, wrong)
    try:
        report = repair_file(options.repair, options.output, dict(options.shape))
    except (ValueError, OSError) as error:
        return fail(options, str(error))
    report.print(stdout())
    return write_files(options, {"json": report.save}, report.exit_code)
