"""The command line: ``pooling COMMAND``, one file for each command.

::

    validate     which runtimes disagree about the poolings of models
    repair       the poolings of a model, rewritten so that all runtimes agree
    doctor       a network, examined
    pyramid      an image and its levels, as OME-Zarr
    export       layers as a model
    conformance  which runtime keeps which rule
    node_tests   the conformance suite as ONNX node tests
    bench        the kernels against other libraries
    bench_torch  whole networks under PyTorch, for ``bench --torch``
    info         versions, processor, threads, strategies
    shared       what the commands have in common
    schemas      the JSON Schemas of what they write

Exit codes are those of every subcommand: 0 all is well, 1 something was found, 2 it could not be run. A command imports
what it needs when it runs.
"""

from __future__ import annotations

import argparse
import difflib
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from pooling._version import __version__

from . import bench, conformance, doctor, export, info, node_tests, pyramid, repair, validate
from .shared import COULD_NOT_RUN, OutputError, RefusedError, fail, sentence_of, write_out

__all__ = ["main"]

NEEDED = {
    "onnx": "onnx,cli",
    "onnxruntime": "onnx,cli",
    "jinja2": "onnx,cli",
    "msgspec": "onnx,cli",
    "rich": "onnx,cli",
    "matplotlib": "pictures",
    "PIL": "pictures",
    "zarr": "images",
    "tifffile": "images",
}
"""Modules that are not always there, and the extras that install them."""
FATAL_SIGNALS = ("SIGTERM", "SIGHUP")
"""What ends a process at once unless it listens; here drafts, folders and processes are removed first."""
LONGEST_REASON = 300
"""Signs of what an unforeseen error says that go into its sentence; the file has all of it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Nothing that goes wrong leaves it as an exception: what nobody foresaw becomes a sentence, a file with the
    traceback, and exit code 2.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process when not given.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    SystemExit
        From arguments that are not known, and from ``--help`` and ``--version``.

    Examples
    --------
    >>> main(["info"])
    pooling ...
    0
    """
    options = argparse.Namespace(command=None)
    try:
        with _stopped_by_signals():
            try:
                parser = _parser()
                _, unknown = parser.parse_known_args(arguments, options)
                if unknown:
                    parser.refuse(unknown, options)
                code: int = options.run(options)
            finally:
                _flush()
    except _Stopped as stopped:
        return fail(options, f"stopped by {stopped.name}")
    except KeyboardInterrupt:
        return fail(options, "interrupted")
    except OutputError as error:
        return _no_output(options, error)
    except RefusedError as error:
        return fail(options, str(error))
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in NEEDED:
            return _unforeseen(options, error)
        return fail(
            options, f'this needs {missing}, which is not installed; run pip install "ndpooling[{NEEDED[missing]}]"'
        )
    except Exception as error:
        return _unforeseen(options, error)
    return code


class _Stopped(BaseException):
    """A signal asked the command to end; not an Exception, so that it passes whoever expects errors of models."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Turn signals that would end the process at once into an exception, so that everything is cleaned up."""

    def stop(number: int, frame: FrameType | None) -> None:
        for each in found:  # a second one must not end the cleaning up
            signal.signal(each, signal.SIG_IGN)
        raise _Stopped(signal.Signals(number).name)

    numbers = [getattr(signal, name) for name in FATAL_SIGNALS if hasattr(signal, name)]
    listening = threading.current_thread() is threading.main_thread()
    # Who ignores a signal, as nohup does, or handles it, goes on doing so.
    found = [number for number in numbers if listening and signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in found:
            signal.signal(number, stop)
        yield
    finally:
        for number in found:
            signal.signal(number, signal.SIG_DFL)


def _flush() -> None:
    """Write what is still to be printed, so that a full disk is noticed here and not behind everything."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        raise OutputError from error


def _no_output(options: argparse.Namespace, error: OutputError) -> int:
    """Give up printing; in silence where the reader has left, as after ``| head``."""
    cause = error.__cause__
    with suppress(OSError, ValueError):
        # What is still held back would be written, and complained about, when the process ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    if isinstance(cause, BrokenPipeError):
        return COULD_NOT_RUN
    return fail(options, f"standard output cannot be written ({getattr(cause, 'strerror', None) or cause})")


def _unforeseen(options: argparse.Namespace, error: Exception) -> int:
    """Say in one sentence what nobody foresaw, and keep the traceback in a file."""
    text = "".join(traceback.format_exception(error))
    reason = " ".join(str(error).split())
    reason = sentence_of(reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}...")
    kind = type(error).__name__
    said = f"{kind} ({reason})" if reason else kind
    head = f"pooling {__version__}, Python {sys.version}\narguments: {sys.argv[1:]!r}\n\n"
    try:
        number, path = tempfile.mkstemp(prefix="pooling-traceback-", suffix=".txt")
        with os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(head + text)
    except OSError as full:
        return fail(options, f"an unforeseen error: {said}; its traceback cannot be kept ({full.strerror or full})")
    return fail(options, f"an unforeseen error: {said}; please report it with its traceback, which is in {path}")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without printing signs that arguments bring along."""

    def error(self, message: str) -> NoReturn:
        # No usage before it, in whose lines the sentence would be lost.
        self.exit(COULD_NOT_RUN, f"{self.prog}: {sentence_of(message)}; {self.prog} --help has all options\n")

    def refuse(self, unknown: Sequence[str], options: argparse.Namespace) -> NoReturn:
        """Say which arguments no command knows, and what is probably meant."""
        command = next((each for each in _commands(self) if each.prog == f"{self.prog} {options.command}"), self)
        first = next((each for each in unknown if each.startswith("-")), unknown[0])
        name = first.partition("=")[0]
        near = difflib.get_close_matches(name, command._option_string_actions, 1, 0.6)
        meant = f"; do you mean {near[0]}?" if near else ""
        what = "option" if first.startswith("-") else "further argument"
        command.error(f"it has no {what} {name}{meant}")

    def _print_message(self, message: str, file: Any = None) -> None:
        # The original hides that a disk is full.
        if file is sys.stdout:
            write_out(message)
        else:
            super()._print_message(message, file)


def _parser() -> _Parser:
    parser = _Parser("pooling", description="Pooling of arrays on CPUs, and what other runtimes make of it.")
    parser.add_argument("--version", action="version", version=f"pooling {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in (validate, repair, doctor, pyramid, export, conformance, node_tests, bench, info):
        command.add(commands)
    parser.set_defaults(run=lambda options: _help(parser))
    return parser


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def _help(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return 0


if __name__ == "__main__":
    sys.exit(main())
