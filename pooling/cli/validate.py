"""``pooling validate``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from .shared import (
    add_force,
    check_files,
    fail,
    named_shape,
    names,
    need_libraries,
    output_file,
    print_written,
    progress_bar,
    stdout,
    write_files,
)

__all__ = ["add"]

FILES = ("json", "html", "junit")
"""What is written, and the options that say where to."""


def add(commands: Any) -> None:
    """Add the command to those that there are."""
    validate = commands.add_parser(
        "validate",
        help="find out which runtimes disagree about the poolings of ONNX models, by which rule, and how fast they are",
        description="Ask every installed runtime about every pooling node of ONNX models, hold the answers against an "
        "oracle, name the rules that are broken and what to do about it; and race onnxruntime.",
        epilog="Exit code: 0 all is well, 1 something was found that --fail-on names, 2 something could not be run. "
        "Times do not count. With --conformance, 1 means that this library itself breaks a rule.",
    )
    validate.add_argument("models", nargs="*", metavar="MODEL.onnx")
    validate.add_argument(
        "--conformance", action="store_true", help="run the conformance suite instead: a truth table of all rules"
    )
    validate.add_argument(
        "--node-tests",
        type=Path,
        metavar="FOLDER",
        help="with --conformance: write the suite as ONNX node tests to a new folder, and run nothing",
    )
    validate.add_argument(
        "--runtimes",
        action="append",
        default=[],
        type=names,
        metavar="A,B",
        help="whom to ask, or module:Class for a runtime of your own (default: all that are installed)",
    )
    validate.add_argument(
        "--input",
        action="append",
        default=[],
        dest="inputs",
        metavar="[NAME=]FILE",
        help="run the models on a .npy file or a picture, and ask about the activations that each node really has; "
        "NAME is for models with several inputs",
    )
    validate.add_argument(
        "--shape",
        action="append",
        default=[],
        type=named_shape,
        metavar="NAME=1x3x224x224",
        help="shape of a tensor that the model leaves open, usually its input; can be given several times",
    )
    validate.add_argument("--threads", type=int, metavar="N", help="threads for each runtime (default: all cores)")
    validate.add_argument("--rounds", type=int, metavar="N", help="rounds of timing at most; 0 for none (default: 10)")
    validate.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the numbers (default: 0)")
    validate.add_argument(
        "--limit-seconds", type=float, metavar="S", help="time that a runtime may take for one case (default: 60)"
    )
    validate.add_argument(
        "--limit-memory", type=float, metavar="GIB", help="memory that the process of a runtime may have (default: 4)"
    )
    validate.add_argument(
        "--fail-on",
        action="append",
        default=[],
        type=names,
        metavar="A,B",
        help="what makes the exit code 1: differs (the default), special (differs on NaN, infinities or extreme "
        "numbers only), refuses, crashes; or never",
    )
    validate.add_argument("--json", type=output_file, metavar="FILE", help="write everything that was found to FILE")
    validate.add_argument(
        "--html", type=output_file, metavar="FILE", help="write a page with pictures of what was found"
    )
    validate.add_argument("--junit", type=output_file, metavar="FILE", help="write what CI systems read")
    add_force(validate)
    validate.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    wrong = _wrong_combination(options) or check_files(options, FILES, _input_files(options), options.models)
    if wrong:
        return fail(options, wrong)
    need_libraries(options)
    try:
        return _conformance(options) if options.conformance else _validate_models(options)
    except ValueError as error:
        return fail(options, str(error).removeprefix("validate: ").removeprefix("write_node_tests: "))


def _input_files(options: argparse.Namespace) -> list[str]:
    """Return the files that ``--input`` may mean: ``FILE`` or ``NAME=FILE``."""
    return [file for text in options.inputs for file in (text, text.rpartition("=")[2])]


def _wrong_combination(options: argparse.Namespace) -> str:
    """Say which options do not go together."""
    if options.conformance:
        if options.models:
            return f"{options.models[0]}: --conformance takes no models; leave out one of the two"
        for name in ("inputs", "shape", "rounds", "junit", "fail_on", "threads"):
            if getattr(options, name) not in (None, []):
                return f"--{name.replace('inputs', 'input').replace('_', '-')} is about models; leave out --conformance"
    elif options.node_tests is not None:
        return f"--node-tests {options.node_tests} writes the conformance suite; add --conformance"
    elif not options.models:
        return "there is no model; give MODEL.onnx, or --conformance"
    return ""


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments that models and the conformance suite have in common."""
    from pooling.validation import Limits

    named = {"seconds": options.limit_seconds}
    if options.limit_memory is not None:
        named["memory"] = int(options.limit_memory * 2**30) if math.isfinite(options.limit_memory) else 0
    return {
        "runtimes": [name for names in options.runtimes for name in names] or None,
        "limits": Limits(**{name: value for name, value in named.items() if value is not None}),
        "seed": options.seed,
    }


def _validate_models(options: argparse.Namespace) -> int:
    from pooling.validation import validate
    from pooling.validation.report.junit import write_junit
    from pooling.validation.report.page import write_page
    from pooling.validation.report.table import print_report

    given = _given(options)
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
    code = write_files(
        options,
        {
            "json": lambda path: _save_json(report, path),
            "html": lambda path: write_page(report, path),
            "junit": lambda path: write_junit(report, path),
        },
        report.exit_code,
    )
    console = stdout()
    print_report(report, console)
    print_written(options, console)
    return fail(options, "interrupted") if report.interrupted else code


def _conformance(options: argparse.Namespace) -> int:
    from pooling.validation.conformance.node_tests import write_node_tests
    from pooling.validation.conformance.run import run_conformance
    from pooling.validation.reduce_findings import smallest_of_rules
    from pooling.validation.report.conformance_markdown import print_conformance
    from pooling.validation.report.conformance_page import write_conformance

    if options.node_tests is not None:
        try:
            count = write_node_tests(options.node_tests)
        except OSError as error:
            return fail(options, f"--node-tests {options.node_tests} cannot be written ({error.strerror})")
        print(f"{count} node tests are in {options.node_tests}")
        return 0
    given = _given(options)
    if options.limit_seconds is None and options.limit_memory is None:
        del given["limits"]  # cases of the suite are small, and have limits of their own
    with progress_bar() as progress:
        report = run_conformance(progress=progress, **given)
        examples = {} if options.html is None else smallest_of_rules(report, progress=progress)
    code = write_files(
        options,
        {"json": lambda path: _save_json(report, path), "html": lambda path: write_conformance(report, path, examples)},
        report.exit_code,
    )
    console = stdout()
    print_conformance(report, console)
    print_written(options, console)
    return code


def _save_json(report: Any, path: Path) -> None:
    from pooling.validation.report.json import save_json

    save_json(report, path)
