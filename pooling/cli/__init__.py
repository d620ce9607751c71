"""The command line: ``pooling validate``, ``pooling export``, ``pooling doctor`` and ``pooling info``.

Exit codes are those of every subcommand: 0 all is well, 1 something was found, 2 it could not be run. A command imports
what it needs when it runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pooling._version import __version__

from . import doctor, export, validate
from .shared import fail

__all__ = ["main"]

NEEDED = {
    "onnx": "onnx,cli",
    "onnxruntime": "onnx,cli",
    "rich": "onnx,cli",
    "matplotlib": "pictures",
    "PIL": "pictures",
}
"""Modules that are not always there, and the extras that install them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process when not given.

    Returns
    -------
    int
        The exit code.

    Examples
    --------
    >>> main(["info"])
    pooling ...
    0
    """
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in NEEDED:
            raise
        return fail(
            options, f'this needs {missing}, which is not installed; run pip install "ndpooling[{NEEDED[missing]}]"'
        )
    except KeyboardInterrupt:
        return fail(options, "interrupted")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "pooling", description="Pooling of arrays on CPUs, and what other runtimes make of it."
    )
    parser.add_argument("--version", action="version", version=f"pooling {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in (validate, export, doctor):
        command.add(commands)
    info = commands.add_parser("info", help="show the version, the instruction sets and the threads")
    info.set_defaults(run=_info)
    return parser


def _info(options: argparse.Namespace) -> int:
    from pooling.system import show_config

    show_config()
    return 0


if __name__ == "__main__":
    sys.exit(main())
