"""What the commands have in common: what they read, where they write and print, and how they fail."""

from __future__ import annotations

import argparse
import codecs
import importlib
import io
import math
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pooling.errors import without
from pooling.signs import printable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "COULD_NOT_RUN",
    "OutputError",
    "RefusedError",
    "add_command",
    "add_files",
    "add_force",
    "add_runners",
    "check_files",
    "fail",
    "goes_to_stdout",
    "layers_or_path",
    "named_shape",
    "names",
    "need_libraries",
    "open_shape",
    "output_file",
    "print_written",
    "progress_bar",
    "refused",
    "runner_settings",
    "sentence_of",
    "spoken",
    "stdout",
    "working",
    "write_and_print",
    "write_files",
    "write_out",
]

COULD_NOT_RUN = 2
WIDEST_TASK = 48
"""Columns for what is being done."""
WIDEST_PAGE = 10_000
"""Columns that tables may have."""
PLAIN_WIDTH = 120
"""Columns where there is no terminal to ask."""
LONGEST_SENTENCE = 2000
"""Signs of an error that are shown: names in it come out of files, and have no limit there."""
ASCII = {
    sign: plain
    for plain, signs in {
        "x": "×✗",
        ">": "→≥",
        "<": "≤←",
        ".": "…·",
        "-": "–—─━═",
        "~": "±≈",
        "|": "│┃║",
        "#": "█■▪",
        "*": "●",
        "v": "✓",
        "u": "µμ",
        "'": "‘’",
        '"': "“”",
        " ": "\u00a0",
    }.items()
    for sign in signs
}
"""What is written where an encoding has no such sign: one for one, so that tables stay straight."""
SPEAKERS = (
    "doctor", "examine", "run_conformance", "save", "to_onnx", "to_onnx_backward", "validate",
    "write_node_tests",
)  # fmt: skip
"""Functions that errors name, which nobody has called who runs a command."""


class OutputError(Exception):
    """Standard output cannot be written; the cause is the error of the system."""


class RefusedError(Exception):
    """Why a command cannot be run, in one sentence."""


def spoken(error: Exception, *others: str) -> str:
    """Return what an error says, without the function, where that is one of those above or one of some others."""
    return without(error, *SPEAKERS, *others)


@contextmanager
def refused(*kinds: type[Exception]) -> Iterator[None]:
    """Make sentences of errors of these kinds, and of ValueErrors; of those of files, by what they tell."""
    caught: tuple[type[Exception], ...] = (ValueError, *kinds)
    try:
        yield
    except caught as error:
        sentence = spoken(error)
        if isinstance(error, OSError):
            sentence = f"{error.filename or 'a file'} cannot be read or written ({error.strerror or error})"
        raise RefusedError(sentence) from error


def fail(options: argparse.Namespace, sentence: str) -> int:
    """Say why a command could not be run; returns the exit code for that."""
    with suppress(OSError, ValueError):  # nobody is listening
        print(f"{' '.join(filter(None, ('pooling', options.command)))}: {sentence_of(sentence)}", file=sys.stderr)
    return COULD_NOT_RUN


def sentence_of(text: str) -> str:
    """Make a sentence fit to be shown: what is in it may come out of files, and have no limit there."""
    shown = printable(text)
    if len(shown) <= LONGEST_SENTENCE:
        return shown
    return f"{shown[: LONGEST_SENTENCE // 2]} [...] {shown[-LONGEST_SENTENCE // 2 :]}"


# ---------------------------------------------------------------------------------------------------------------------
# Arguments


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
    match = re.fullmatch(r"(.+)=((?:\d{1,18}|\?)(?:x(?:\d{1,18}|\?))*)", text, re.DOTALL)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} must be a name and sizes, such as data=1x3x224x224")
    return match[1], tuple(None if size == "?" else int(size) for size in match[2].split("x"))


def layers_or_path(text: str) -> str:
    """Return a list of layers or a path as it is; a text file is read, since it must be a list."""
    path = Path(text)
    # `Path.is_file` raises where a list of layers is too long for a name.
    if path.suffix != ".onnx" and os.path.isfile(text):
        try:
            return path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise ValueError(f"{path} is no text with a list of layers; a model is given as MODEL.onnx") from None
    return text


def output_file(text: str) -> Path:
    """Read the name of a file to write."""
    if not text:
        raise argparse.ArgumentTypeError("the name of the file is empty; give one, or leave the option out")
    if text == "-":
        raise argparse.ArgumentTypeError("'-' is no file; write /dev/stdout, or ./- for a file of that name")
    return Path(text)


def add_command(
    commands: Any, name: str, text: str | None, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Add a command; the text of its module is its line in the list of commands, its description, and its epilog."""
    summary, *paragraphs = (text or " ").split("\n\n")
    description, epilog, *_ = (*paragraphs, "", "")
    line = f"{summary[0].lower()}{summary[1:].rstrip('.')}"
    parser: argparse.ArgumentParser = commands.add_parser(name, help=line, description=description, epilog=epilog)
    parser.set_defaults(run=run)
    return parser


def add_files(parser: argparse.ArgumentParser, **kinds: str) -> None:
    """Add the options that name files to write, and say what is written to each."""
    for kind, what in kinds.items():
        parser.add_argument(f"--{kind}", type=output_file, metavar="FILE", help=what)


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add the option that lets a file that is read be written."""
    parser.add_argument(
        "--force", action="store_true", help="overwrite a file that is also read, such as the model itself"
    )


def add_runners(parser: argparse.ArgumentParser) -> None:
    """Add the options of whatever asks runtimes: whom, with which numbers, and what they may take."""
    parser.add_argument(
        "--runtimes",
        action="append",
        default=[],
        type=names,
        metavar="A,B",
        help="runtimes to run, or module:Class for a runtime of your own (default: all that are installed)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the random inputs (default: 0)")
    parser.add_argument(
        "--limit-seconds", type=float, metavar="S", help="time that a runtime may take for one case (default: 60)"
    )
    parser.add_argument(
        "--limit-memory", type=float, metavar="GIB", help="memory that the process of a runtime may have (default: 4)"
    )


def runner_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the options of `add_runners` say, as arguments of `pooling.validation.validate`."""
    from pooling.validation import Limits

    named = {"seconds": options.limit_seconds}
    if options.limit_memory is not None:
        if not math.isfinite(options.limit_memory):
            raise RefusedError(f"--limit-memory {options.limit_memory:g} must be a number of GiB, such as 8")
        named["memory"] = int(options.limit_memory * 2**30)
    return {
        "runtimes": [name for names in options.runtimes for name in names] or None,
        "limits": Limits(**{name: value for name, value in named.items() if value is not None}),
        "seed": options.seed,
    }


# ---------------------------------------------------------------------------------------------------------------------
# Files


def check_files(
    options: argparse.Namespace, outputs: Iterable[str], read: Iterable[object] = (), models: Iterable[object] = ()
) -> None:
    """Refuse files to write that cannot, or must not, be written.

    Parameters
    ----------
    options : argparse.Namespace
        Those of the command.
    outputs : iterable of str
        The options that name files to write.
    read : iterable
        Files that the command reads; None and what is no file are passed over.
    models : iterable
        The same, of ONNX models: the files of their data are read as well.

    Raises
    ------
    RefusedError
        If a folder does not exist, two outputs are one file, or an output is a file that is read and there is no
        ``--force``.
    """
    written: list[tuple[str, Path]] = []
    for name in outputs:
        path = getattr(options, name)
        if path is None:
            continue
        shown = f"{'-o' if name == 'output' else f'--{name}'} {path}"
        if not Path(os.path.abspath(path)).parent.is_dir():
            raise RefusedError(f"{shown}: there is no folder {path.parent}")
        for other, before in written:
            if _same_output(path, before):
                raise RefusedError(f"{shown} is the same file as {other}; give each output a file of its own")
        written.append((shown, path))
    # Only what is there can be written over, and models with much data take time to read.
    present = [(shown, path) for shown, path in written if os.path.isfile(path)]
    if not present or options.force:
        return
    models = [path for path in models if path is not None]
    inputs: list[tuple[str, Path]] = [(str(path), Path(str(path))) for path in (*models, *read) if path is not None]
    for shown, path in present:
        for what, source in inputs:
            if _same_file(path, source):
                raise RefusedError(
                    f"{shown} is {what}, which is read; name another file, or add --force to write over it"
                )
    for model in models:
        for source in _data_files(Path(str(model))):
            for shown, path in present:
                if _same_file(path, source):
                    raise RefusedError(
                        f"{shown} holds data of {model}; name another file, or add --force to write over it"
                    )


def _same_file(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return False


def _same_output(one: Path, other: Path) -> bool:
    """Whether two outputs are one file, or would be one on systems that do not tell a from A."""
    if _same_file(one, other):
        # Devices take any number of outputs.
        return os.path.isfile(one)
    keys = [unicodedata.normalize("NFC", os.path.realpath(path)).casefold() for path in (one, other)]
    return keys[0] == keys[1] and not (os.path.exists(one) and os.path.exists(other))


def _data_files(model: Path) -> Iterator[Path]:
    """Yield the files beside a model where its tensors are; what cannot be read is told by whoever reads it next."""
    try:
        from pooling.onnx_models.load import data_files

        yield from data_files(model)
    except Exception:
        return


def need_libraries(options: argparse.Namespace) -> None:
    """Import what the requested files are written with, so that it is missed before the work and not after."""
    for kind, library in (("html", "jinja2"), ("json", "msgspec")):
        if getattr(options, kind, None) is not None:
            importlib.import_module(library)


def write_files(options: argparse.Namespace, writers: Mapping[str, Callable[[Path], object]], exit_code: int) -> int:
    """Write the requested files, all that can be; `print_written` says which these are."""
    options.written = []
    for kind, write in writers.items():
        path = getattr(options, kind)
        if path is not None:
            try:
                write(path)
            except OSError as error:
                exit_code = fail(options, f"--{kind} {path} cannot be written ({error.strerror or error})")
            else:
                options.written.append(path)
    return exit_code


def write_and_print(
    options: argparse.Namespace,
    writers: Mapping[str, Callable[[Path], object]],
    exit_code: int,
    show: Callable[[Console], object],
) -> int:
    """Write the requested files, print what was found, and say which files were written."""
    code = write_files(options, writers, exit_code)
    console = stdout(silent=goes_to_stdout(options, writers))
    show(console)
    print_written(options, console)
    return code


def goes_to_stdout(options: argparse.Namespace, outputs: Iterable[str]) -> bool:
    """Whether one of the files to write is standard output, which then holds nothing else."""
    try:
        here = os.fstat(sys.stdout.fileno())
    except (AttributeError, OSError, ValueError):  # there is none, or it is no file
        return False
    paths = [path for path in (getattr(options, name, None) for name in outputs) if path is not None]
    return any(os.path.exists(path) and os.path.samestat(os.stat(path), here) for path in paths)


def print_written(options: argparse.Namespace, console: Console) -> None:
    """Say which files were written, below everything else; of a device, who reads it knows."""
    from rich.text import Text

    for path in options.written:
        if os.path.isfile(path):
            console.print(Text(printable(f"written to {path}")), soft_wrap=True)


# ---------------------------------------------------------------------------------------------------------------------
# The terminal


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar where somebody sees it; it is told what was done of how much, and what is next."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # A thread that redraws the bar while times are measured would be measured as well.
    with Progress(*columns, **_beside_the_output(), auto_refresh=False) as bar:
        task = bar.add_task("reading models", total=None)

        def tell(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=printable(what)[:WIDEST_TASK], refresh=True)

        yield tell


@contextmanager
def working() -> Iterator[Callable[[str], None]]:
    """Show what is being done and for how long, where somebody sees it; it is told what is next."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn("line"), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, **_beside_the_output()) as bar:
        task = bar.add_task("starting", total=None)

        def tell(what: str) -> None:
            bar.update(task, description=printable(what)[:WIDEST_TASK])

        yield tell


def _beside_the_output() -> dict[str, Any]:
    """Return what shows progress in the terminal only, and leaves nothing there."""
    from rich.console import Console

    width, height = _size()
    return {
        "console": Console(stderr=True, width=width, height=height),
        "transient": True,
        "disable": sys.stderr is None or not sys.stderr.isatty(),
    }


def _size() -> tuple[int, int]:
    """Return width and height of the terminal, or of a page where there is none.

    Left to itself, rich prints nothing where ``COLUMNS`` is 0, and fails where it, or ``LINES``, is a digit like ².
    """
    found = shutil.get_terminal_size((PLAIN_WIDTH, 24))
    return min(found.columns, WIDEST_PAGE), found.lines


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(ASCII.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


codecs.register_error("pooling.ascii", _in_ascii)


class _Output:
    """Standard output for rich: no spaces at the ends of lines in a pipe, and its failures are told from others."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._piped = not stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(re.sub(r" +(?=\n)", "", text) if self._piped else text)
        except OSError as error:
            raise OutputError from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise OutputError from error


def write_out(text: str) -> None:
    """Write to standard output."""
    if sys.stdout is not None:
        _Output(sys.stdout).write(text)


def stdout(*, silent: bool = False) -> Console:
    """Make a console that fits the terminal, or a page where there is none, and that prints in any encoding."""
    from rich.console import Console

    width, height = _size()
    if sys.stdout is None or silent:
        return Console(file=io.StringIO(), width=width, height=height)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="pooling.ascii")
    return Console(
        file=_Output(sys.stdout),  # type: ignore[arg-type]
        width=width,
        height=height,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
    )
