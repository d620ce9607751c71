"""Write the conformance suite as ONNX node tests, for runtimes that are not installed here.

Write the conformance suite as ONNX node tests, one folder for each case, laid out as the onnx package has its own:
model.onnx, and inputs and outputs as .pb files.

Example: pooling node-tests build/node-tests. Exit code: 0 written, 2 it could not be.
"""

from __future__ import annotations

import argparse
from typing import Any

from .shared import RefusedError, add_command, output_file, refused, write_out

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the command to those that there are."""
    node_tests = add_command(commands, "node-tests", __doc__, _run)
    node_tests.add_argument(
        "folder", type=output_file, metavar="FOLDER", help="where to write; it must be new or empty"
    )


def _run(options: argparse.Namespace) -> int:
    from pooling.validation.conformance.node_tests import write_node_tests

    try:
        with refused():
            count = write_node_tests(options.folder)
    except OSError as error:
        raise RefusedError(f"{options.folder} cannot be written ({error.strerror or error})") from error
    write_out(f"{count} node tests are in {options.folder}\n")
    return 0
