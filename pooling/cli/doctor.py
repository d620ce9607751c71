"""``pooling doctor``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .shared import (
    RefusedError,
    add_files,
    add_force,
    check_files,
    layers_or_path,
    need_libraries,
    output_file,
    print_written,
    refused,
    stdout,
    write_files,
)

if TYPE_CHECKING:
    from pooling.doctor import Examination
    from pooling.doctor.what_if import WhatIf

__all__ = ["add"]

OTHER_FORMATS = frozenset([".h5", ".keras", ".pb", ".pt", ".pth", ".py", ".safetensors", ".tflite", ".torchscript"])
"""What people have before they have an ONNX model."""


def add(commands: Any) -> None:
    """Add the command to those that there are."""
    doctor = commands.add_parser(
        "doctor",
        help="examine a network: shapes, lost rows, receptive fields, small objects, design",
        description="Examine a network: what happens to shapes, borders and small objects in it, and what to try.",
        epilog="Exit code: 0 nothing was found that --fail-on names, 1 something was, 2 the network could not be read. "
        'Lists of layers: "conv7x64/2p3@stem pool3/2p1@pool1 conv3x64 conv3x128/2 global fc10" (kernel, xchannels, '
        "/stride, ppadding, ddilation, @name, +name adds, |name concatenates); or layers of this package as Python "
        'writes them, "MaxPool2d(3, stride=2, padding=1)".',
    )
    source = doctor.add_mutually_exclusive_group(required=True)
    source.add_argument("model", nargs="?", metavar="MODEL.onnx", help="an ONNX model, or ...")
    source.add_argument("--layers", metavar='"conv7/2p3 ..."', help="... a list of layers, or a file with one")
    doctor.add_argument(
        "--input-shape", type=_input_shape, metavar="1x3x224x224", help="shape of the input; 224 or 224x224 is enough"
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
    doctor.add_argument("--all", action="store_true", help="show each stage on a line of its own")
    doctor.add_argument(
        "--explain",
        action="append",
        default=[],
        metavar="STAGE",
        help="show all about a stage, with the formula of its size; can be given several times",
    )
    add_files(doctor, json="write everything that was found to FILE", html="write one page with everything to FILE")
    doctor.add_argument(
        "--figure", type=output_file, metavar="FILE.png|svg", help="draw the network from left to right into FILE"
    )
    doctor.add_argument(
        "--picture",
        choices=("network", "levels"),
        default="network",
        help="what --figure draws: the network from left to right (default), or its resolution levels, each with the "
        "object, one cell and what it sees",
    )
    doctor.add_argument("--image", type=Path, metavar="FILE", help="an image to draw and to measure shift errors on")
    doctor.add_argument(
        "--fail-on",
        choices=("note", "warning", "error", "never"),
        default="error",
        help="the least severe finding that makes the exit code 1 (default: error)",
    )
    doctor.add_argument(
        "--ignore",
        action="append",
        default=[],
        type=lambda text: [code for code in re.split(r"[,\s]+", text.upper()) if code],
        metavar="CODE",
        help="leave out findings, such as D101, or D4 for all of them; can be given several times",
    )
    add_force(doctor)
    doctor.set_defaults(run=_run)


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


def _run(options: argparse.Namespace) -> int:
    from pooling.doctor import NetworkError, examine
    from pooling.doctor.lint import SEVERITIES
    from pooling.doctor.report.table import explain, print_examination, print_what_if
    from pooling.doctor.what_if import find_stage, parse_changes, what_if

    others = [options.model, options.versus]
    check_files(options, ["json", "html", "figure"], [options.layers, options.image], others)
    need_libraries(options)
    if options.changes and options.versus:
        raise RefusedError("--set and --versus cannot be given together; write the change into the other network")
    pixels = options.object
    settings = {
        "task": options.task,
        "ignore": [code for codes in options.ignore for code in codes],
        "image": options.image,
        **({} if pixels is None else {"object_size": pixels[0] if len(pixels) == 1 else pixels}),
    }
    console = stdout()
    with refused(NetworkError, TypeError, OSError):
        examination = examine(_network(options), options.input_shape, **settings)
        stages = [find_stage(examination.network, name, f"--explain {name!r}") for name in options.explain]
        comparison = None
        if options.changes:
            comparison = what_if(examination, parse_changes(examination.network, options.changes))
        elif options.versus:
            comparison = what_if(examination, layers_or_path(options.versus))
        if options.image is not None:
            _ = examination.shifts  # so that a picture that cannot be used is told before anything is written
        failed = _write(options, examination, comparison)
    if comparison is not None:
        print_what_if(comparison, console)
    for stage in stages:
        explain(examination, stage, console)
    if not stages and comparison is None:
        print_examination(examination, console, everything=options.all)
    print_written(options, console)
    if failed:
        return failed
    judged = examination if comparison is None else comparison.after
    if options.fail_on == "never" or judged.severity is None:
        return 0
    return int(SEVERITIES.index(judged.severity) >= SEVERITIES.index(options.fail_on))


def _write(options: argparse.Namespace, examination: Examination, comparison: WhatIf | None) -> int:
    """Write the files that are asked for; returns 2 if one of them cannot be, else 0."""
    from pooling.doctor.report.page import page
    from pooling.files import write_whole

    # All that may be impossible comes before the first file, so that nothing is left half done.
    drawn, html = b"", ""
    if options.figure is not None:
        from pooling.doctor.report.figure import figure_file

        drawn = figure_file(examination, options.figure, options.image, picture=options.picture)
    if options.html is not None:
        html = page(examination, options.image, comparison)
    writers = {
        "html": lambda path: write_whole(path, html),
        "json": lambda path: _save_json(examination, comparison, path),
        "figure": lambda path: write_whole(path, drawn),
    }
    return write_files(options, writers, 0)


def _save_json(examination: Examination, comparison: WhatIf | None, path: Path) -> None:
    from pooling.doctor.report.json import save_json

    save_json(examination, path, comparison)


def _network(options: argparse.Namespace) -> str:
    """Return the list of layers or the path of a model, and say what is probably meant by what is neither."""
    if options.layers is not None:
        return layers_or_path(options.layers)
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
