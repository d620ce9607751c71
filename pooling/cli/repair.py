"""Repair the pooling nodes of an ONNX model, so that all runtimes agree.

Repair the pooling nodes of an ONNX model, so that all runtimes agree on them, and prove it.

Exit code: 0 all is well, 1 a node was skipped, a result differs or could not be proven, 2 it could not be run.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .shared import (
    add_command,
    add_files,
    add_force,
    check_files,
    need_libraries,
    open_shape,
    output_file,
    print_written,
    refused,
    stdout,
    write_files,
)

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the command to those that there are."""
    repair = add_command(commands, "repair", __doc__, _run)
    repair.add_argument("model", type=Path, metavar="MODEL.onnx", help="the model, which is not changed")
    repair.add_argument(
        "-o",
        "--output",
        type=output_file,
        metavar="OUT.onnx",
        help="where to write the result (default: only show the changes)",
    )
    repair.add_argument(
        "--shape",
        action="append",
        default=[],
        type=open_shape,
        metavar="NAME=?x3x224x224",
        help="shape of an input with dynamic sizes, ? for those that stay dynamic; can be given several times",
    )
    repair.add_argument(
        "--special-values",
        choices=("finite", "exact"),
        default="finite",
        help="exact: max pooling gives the same NaN and -inf in every runtime, by a longer and slower graph "
        "(default: finite, where they are up to the runtime)",
    )
    add_files(repair, json="write everything that was changed to FILE")
    add_force(repair)


def _run(options: argparse.Namespace) -> int:
    from pooling.export.repair.command import repair_file

    check_files(options, ["output", "json"], models=[options.model])
    need_libraries(options)
    with refused(OSError):
        report = repair_file(options.model, options.output, dict(options.shape), options.special_values)
    code = write_files(options, {"json": report.save}, report.exit_code)
    console = stdout()
    report.print(console)
    options.written[:0] = [] if report.written is None else [report.written]
    print_written(options, console)
    return code
