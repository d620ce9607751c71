"""The command line: ``pooling validate``, ``pooling export``, ``pooling doctor`` and ``pooling info``.

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
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["main"]

COULD_NOT_RUN = 2
NEEDED = {"onnx": "onnx,cli", "onnxruntime": "onnx,cli", "rich": "onnx,cli", "matplotlib": "plot", "PIL": "plot"}
"""By module, the extras that install it."""
PLAIN_WIDTH = 120
"""Columns where there is no terminal to ask."""
OTHER_FORMATS = frozenset([".h5", ".keras", ".pb", ".pt", ".pth", ".py", ".safetensors", ".tflite", ".torchscript"])
"""What people have before they have an ONNX model."""
LONGEST_NAME = 1024
"""What is longer is no name of a file."""


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
        return _fail(
            options, f'this needs {missing}, which is not installed; run pip install "pooling[{NEEDED[missing]}]"'
        )
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

    _add_doctor(commands)

    info = commands.add_parser("info", help="show the version, the instruction sets and the threads")
    info.set_defaults(run=_info)
    return parser


def _add_doctor(commands: Any) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="examine a network: shapes, lost rows, receptive fields, small objects, design",
        description="Examine a network: what happens to shapes, borders and small objects in it, and what to try.",
        epilog="Exit code: 0 nothing was found that --fail-on names, 1 something was, 2 the network could not be read. "
        'Lists of layers: "conv7x64/2p3@stem pool3/2p1@pool1 conv3x64 conv3x128/2 global fc10" (kernel, xchannels, '
        "/stride, ppadding, ddilation, @name, +name adds, |name concatenates).",
    )
    source = doctor.add_mutually_exclusive_group(required=True)
    source.add_argument("model", nargs="?", metavar="MODEL.onnx", help="an ONNX model, or ...")
    source.add_argument("--layers", metavar='"conv7/2p3 ..."', help="... a list of layers, or a file with one")
    doctor.add_argument(
        "--input-shape", type=_input_shape, metavar="1x3x224x224", help="shape of the input; 224 or 224x224 will do"
    )
    doctor.add_argument("--object", type=_pixels, metavar="N", help="pixels of the object to follow (default: 8)")
    doctor.add_argument(
        "--task", choices=("classification", "detection", "segmentation"), help="what the network is for"
    )
    doctor.add_argument(
        "--set",
        action="append",
        default=[],
        dest="changes",
        metavar="STAGE.stride=1",
        help="show what changes with another argument; can be given several times",
    )
    doctor.add_argument("--versus", metavar="OTHER", help="show what changes with another model or list of layers")
    doctor.add_argument("--all", action="store_true", help="show each stage in a line of its own")
    doctor.add_argument(
        "--explain",
        action="append",
        default=[],
        metavar="STAGE",
        help="show all of a stage, with the formula of its size; can be given several times",
    )
    doctor.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found to FILE")
    doctor.add_argument("--html", type=Path, metavar="FILE", help="write one page with everything to FILE")
    doctor.add_argument("--figure", type=Path, metavar="FILE.png|svg", help="draw the pyramid of maps into FILE")
    doctor.add_argument("--image", type=Path, metavar="FILE", help="a picture to draw and to measure shifts on")
    doctor.add_argument(
        "--fail-on",
        choices=("note", "warning", "error", "never"),
        default="error",
        help="the lightest finding that counts (default: error)",
    )
    doctor.add_argument(
        "--ignore",
        action="append",
        default=[],
        type=lambda text: [code for code in re.split(r"[,\s]+", text.upper()) if code],
        metavar="CODE",
        help="leave out findings, such as D101, or D4 for all of them; can be given several times",
    )
    doctor.set_defaults(run=_doctor)


def _input_shape(text: str) -> tuple[int, ...]:
    return _positive(text, "sizes of at least 1, such as 1x3x224x224 or 224")


def _pixels(text: str) -> tuple[int, ...]:
    return _positive(text.removesuffix("px"), "a number of pixels, or one for each axis, such as 8 or 8x12")


def _positive(text: str, what: str) -> tuple[int, ...]:
    """Read numbers with something between them, as people write shapes."""
    match = re.fullmatch(r"[(\[]?\s*(\d{1,18}(?:\s*[x×X*,]\s*\d{1,18})*),?\s*[)\]]?", text.strip())
    numbers = tuple(map(int, re.findall(r"\d+", match[1]))) if match is not None else ()
    if not numbers or 0 in numbers:
        raise argparse.ArgumentTypeError(f"{text!r} must be {what}")
    return numbers


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


def _doctor(options: argparse.Namespace) -> int:
    from .doctor import NetworkError, examine
    from .doctor.findings import SEVERITIES
    from .doctor.report import save_json
    from .doctor.table import explain, print_examination, print_what_if
    from .doctor.what_if import find_stage, parse_changes, what_if

    for option in ("json", "html", "figure"):
        path = getattr(options, option)
        if path is not None and not path.resolve().parent.is_dir():
            return _fail(options, f"--{option} {path}: there is no folder {path.parent}")
    if options.changes and options.versus:
        return _fail(options, "--set and --versus cannot be given together; write the change into the other network")
    pixels = options.object
    settings = {
        "task": options.task,
        "ignore": [code for codes in options.ignore for code in codes],
        "image": options.image,
        **({} if pixels is None else {"object_size": pixels[0] if len(pixels) == 1 else pixels}),
    }
    console = _stdout()
    try:
        examination = examine(_network(options), options.input_shape, **settings)
        stages = [find_stage(examination.network, name, f"--explain {name!r}") for name in options.explain]
        comparison = None
        if options.changes:
            comparison = what_if(examination, parse_changes(examination.network, options.changes))
        elif options.versus:
            comparison = what_if(examination, _source(options.versus))
        if options.image is not None:
            _ = examination.shifts  # so that a picture that cannot be used is told before anything is written
        if options.html is not None:
            from .doctor.page import write_page

            write_page(examination, options.html, options.image, comparison)
        if options.figure is not None:
            from .doctor.figure import save_figure

            save_figure(examination, options.figure, options.image)
        if options.json is not None:
            save_json(examination, options.json, comparison)
    except (NetworkError, ValueError, TypeError) as error:
        return _fail(options, str(error).removeprefix("examine: ").removeprefix("doctor: "))
    except OSError as error:
        return _fail(options, f"{error.filename or 'a file'} cannot be read or written ({error.strerror or error})")
    if comparison is not None:
        print_what_if(comparison, console)
    for stage in stages:
        explain(examination, stage, console)
    if not stages and comparison is None:
        print_examination(examination, console, everything=options.all)
    judged = examination if comparison is None else comparison.after
    if options.fail_on == "never" or judged.severity is None:
        return 0
    return int(SEVERITIES.index(judged.severity) >= SEVERITIES.index(options.fail_on))


def _network(options: argparse.Namespace) -> str:
    """Return the list of layers or the path of a model, and say what is probably meant by what is neither."""
    if options.layers is not None:
        return _source(options.layers)
    path = Path(options.model)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the name of a model in it")
    if not path.exists():
        layers = re.match(r"(dw|de)?conv\d|(max|avg)?pool\d", options.model)
        hint = f'; a list of layers is given as --layers "{options.model}"' if layers else ""
        raise ValueError(f"there is no file {options.model!r}{hint}")
    if path.suffix in OTHER_FORMATS:
        raise ValueError(f"{path} is no ONNX model; export it to one first, with torch.onnx.export for example")
    return str(path)


def _source(text: str) -> str:
    """Return a list of layers or a path as it is; a text file is read, since it must be a list."""
    path = Path(text)
    if path.suffix != ".onnx" and len(text) < LONGEST_NAME and path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{path} is no text with a list of layers; a model is given as MODEL.onnx") from None
    return text


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
