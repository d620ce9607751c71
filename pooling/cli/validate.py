"""Compare runtimes on the pooling nodes of ONNX models: which differ, by which rule, and how fast they are.

Run every pooling node of ONNX models in every installed runtime, compare the results with an oracle, name the rules
that are broken and remedies, and compare times with onnxruntime.

Exit code: 0 all is well, 1 something was found that --fail-on names, 2 something could not be run. Times do not count.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .shared import (
    add_command,
    add_files,
    add_force,
    add_runners,
    check_files,
    fail,
    named_shape,
    names,
    need_libraries,
    progress_bar,
    refused,
    runner_settings,
    write_and_print,
)

__all__ = ["add", "save_json"]

FILES = ("json", "html", "junit")
"""What is written, and the options that say where to."""


def add(commands: Any) -> None:
    """Add the command to those that there are."""
    validate = add_command(commands, "validate", __doc__, _run)
    validate.add_argument("models", nargs="+", metavar="MODEL.onnx")
    add_runners(validate)
    validate.add_argument(
        "--input",
        action="append",
        default=[],
        dest="inputs",
        metavar="[NAME=]FILE",
        help="run the models on a .npy file or an image, and each node on its real activations as well; "
        "NAME is for models with several inputs",
    )
    validate.add_argument(
        "--shape",
        action="append",
        default=[],
        type=named_shape,
        metavar="NAME=1x3x224x224",
        help="shape of a tensor with dynamic sizes, usually the input; can be given several times",
    )
    validate.add_argument("--threads", type=int, metavar="N", help="threads for each runtime (default: all cores)")
    validate.add_argument("--rounds", type=int, metavar="N", help="rounds of timing at most; 0 for none (default: 10)")
    validate.add_argument(
        "--fail-on",
        action="append",
        default=[],
        type=names,
        metavar="A,B",
        help="what makes the exit code 1: differs (the default), special (differs on NaN, infinities or extreme "
        "numbers only), refuses, crashes; or never",
    )
    add_files(
        validate,
        json="write everything that was found to FILE",
        html="write a page with pictures of what was found",
        junit="write JUnit XML for CI systems",
    )
    add_force(validate)


def _run(options: argparse.Namespace) -> int:
    check_files(options, FILES, _input_files(options), options.models)
    need_libraries(options)
    with refused():
        return _validate_models(options)


def _input_files(options: argparse.Namespace) -> list[str]:
    """Return the files that ``--input`` may mean: ``FILE`` or ``NAME=FILE``."""
    return [file for text in options.inputs for file in (text, text.rpartition("=")[2])]


def _validate_models(options: argparse.Namespace) -> int:
    from pooling.validation import validate
    from pooling.validation.report.junit import write_junit
    from pooling.validation.report.page import write_page
    from pooling.validation.report.table import print_report

    given = runner_settings(options)
    if options.rounds is not None:
        given["rounds"] = options.rounds
    if options.fail_on:
        words = [word for words in options.fail_on for word in words]
        if "never" in words and len(words) > 1:
            raise ValueError("--fail-on never stands alone; leave it out, or everything else")
        given["fail_on"] = [word for word in words if word != "never"]
    with progress_bar() as progress:
        report = validate(
            options.models,
            inputs=options.inputs,
            shapes=dict(options.shape),
            threads=options.threads,
            smallest=any(getattr(options, kind) is not None for kind in FILES),
            progress=progress,
            **given,
        )
    writers = {
        "json": lambda path: save_json(report, path),
        "html": lambda path: write_page(report, path),
        "junit": lambda path: write_junit(report, path),
    }
    code = write_and_print(options, writers, report.exit_code, lambda console: print_report(report, console))
    return fail(options, "interrupted") if report.interrupted else code


def save_json(report: Any, path: Path) -> None:
    """Write what was found, with a library that only this needs."""
    from pooling.validation.report.json import save_json

    save_json(report, path)
