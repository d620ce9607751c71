"""The command line: ``pooling validate``, ``pooling export`` and ``pooling info``.

Exit codes are those of every subcommand: 0 all is well, 1 something was found, 2 it could not be run.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["main"]

COULD_NOT_RUN = 2
NEEDED = {"onnx", "onnxruntime", "rich"}
"""What the extras ``onnx`` and ``cli`` install."""
PLAIN_WIDTH = 120
"""Columns where there is no terminal to ask."""


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
        return _fail(options, f'this needs {missing}, which is not installed; run pip install "pooling[onnx,cli]"')
    except KeyboardInterrupt:
        return _fail(options, "interrupted")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "pooling", description="Pooling of arrays on CPUs, and what other runtimes make of it."
    )
    parser.add_argument("--version", action="version", version=f"pooling {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    validate = commands.add_parser(
        "validate",
        help="compare every pooling stage of ONNX models with onnxruntime, in results and in time",
        description="Compare every pooling stage of ONNX models with onnxruntime, in results and in time.",
        epilog="Exit code: 0 all equal, 1 something differs, 2 something could not be run. Times do not count.",
    )
    validate.add_argument("models", nargs="+", metavar="MODEL.onnx")
    validate.add_argument(
        "--shape",
        action="append",
        default=[],
        type=_named_shape,
        metavar="NAME=1x3x224x224",
        help="shape of a tensor that the model leaves open, usually its input; can be given several times",
    )
    validate.add_argument("--threads", type=int, metavar="N", help="threads for both sides (default: all cores)")
    validate.add_argument("--rounds", type=int, metavar="N", help="rounds of timing at most; 0 for none (default: 10)")
    validate.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the numbers (default: 0)")
    validate.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found to FILE")
    validate.set_defaults(run=_validate)

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
        type=_open_shape,
        metavar="NAME=?x3x224x224",
        help="shape of an input that the model leaves open, ? for what shall stay open; can be given several times",
    )
    export.add_argument("--json", type=Path, metavar="FILE", help="write everything that was changed to FILE")
    export.set_defaults(run=_export)

    info = commands.add_parser("info", help="show the version, the instruction sets and the threads")
    info.set_defaults(run=_info)
    return parser


def _named_shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, shape = _open_shape(text)
    sizes = tuple(size for size in shape if size is not None)
    if len(sizes) < len(shape):
        raise argparse.ArgumentTypeError(f"{text!r} must have a number for every size, such as data=1x3x224x224")
    return name, sizes


def _open_shape(text: str) -> tuple[str, tuple[int | None, ...]]:
    match = re.fullmatch(r"(.+)=((?:\d+|\?)(?:x(?:\d+|\?))*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} must be a name and sizes, such as data=1x3x224x224")
    return match[1], tuple(None if size == "?" else int(size) for size in match[2].split("x"))


def _export(options: argparse.Namespace) -> int:
    from .export.repair.command import repair_file

    if options.json is not None and not options.json.resolve().parent.is_dir():
        return _fail(options, f"--json {options.json}: there is no folder {options.json.parent}")
    try:
        report = repair_file(options.repair, options.output, dict(options.shape))
    except (ValueError, OSError) as error:
        return _fail(options, str(error))
    report.print(_stdout())
    if options.json is not None:
        try:
            report.save(options.json)
        except OSError as error:
            return _fail(options, f"--json {options.json} cannot be written ({error.strerror})")
    return report.exit_code


def _validate(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from .validation import validate
    from .validation.table import print_report

    if options.json is not None and not options.json.resolve().parent.is_dir():
        return _fail(options, f"--json {options.json}: there is no folder {options.json.parent}")
    given = {"rounds": options.rounds} if options.rounds is not None else {}
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
        try:
            report = validate(
                options.models,
                shapes=dict(options.shape),
                threads=options.threads,
                seed=options.seed,
                progress=lambda done, total, stage: bar.update(
                    task, completed=done, total=total, description=stage, refresh=True
                ),
                **given,
            )
        except ValueError as error:
            return _fail(options, str(error).removeprefix("validate: "))
    print_report(report, _stdout())
    if options.json is not None:
        try:
            report.save(options.json)
        except OSError as error:
            return _fail(options, f"--json {options.json} cannot be written ({error.strerror})")
    return report.exit_code


def _stdout() -> Console:
    """Make a console that fits the terminal, or a page where there is none, and that prints in any encoding."""
    from rich.console import Console

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    fixed = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=PLAIN_WIDTH if fixed else None)


def _info(options: argparse.Namespace) -> int:
    from .system import show_config

    show_config()
    return 0


def _fail(options: argparse.Namespace, sentence: str) -> int:
    print(f"pooling {options.command}: {sentence}", file=sys.stderr)
    return COULD_NOT_RUN


if __name__ == "__main__":
    sys.exit(main())
