"""``pooling doctor``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pooling.tool_arguments import numbers_in

from .shared import (
    RefusedError,
    add_files,
    add_force,
    check_files,
    fail,
    goes_to_stdout,
    layers_or_path,
    need_libraries,
    output_file,
    print_written,
    refused,
    stdout,
    working,
    write_files,
)

if TYPE_CHECKING:
    from pooling.doctor import Examination
    from pooling.doctor.what_if import WhatIf

__all__ = ["add"]

NOTHING_GIVEN = (
    'no network is given; give a model, such as model.onnx or timm:resnet50, or --layers "conv3x64 pool2"; '
    "pooling doctor --help lists what else there is"
)
USAGE = """pooling doctor MODEL [options]
       pooling doctor --layers "conv7x64/2p3 pool3/2p1 ..." [options]
       pooling doctor --help"""
OBJECTS_FIGURE = "objects-figure"
DEEPEST_TREE = 10**6


def add(commands: Any) -> None:
    """Add the command to those that there are."""
    doctor = commands.add_parser(
        "doctor",
        usage=USAGE,
        help="examine a network: shapes, lost rows, receptive fields, small objects, design",
        description="Examine a network: what happens to shapes, borders and small objects in it, and what to try.",
        epilog="Exit code: 0 nothing was found that --fail-on names, 1 something was, 2 the network could not be read, "
        "or does not work at the size that was asked for (the report is about the nearest that works), "
        "or more than half of it (of its stages with weights, or of its weights) lies behind operators that were not "
        "understood. "
        'Lists of layers: "conv7x64/2p3@stem pool3/2p1@pool1 conv3x64 conv3x128/2 global fc10" (kernel, xchannels, '
        "/stride, ppadding, ddilation, @name, +name adds, |name concatenates); or layers of this package as Python "
        'writes them, "MaxPool2d(3, stride=2, padding=1)". Modules of torch: timm:resnet50, '
        "torchvision:retinanet_resnet50_fpn, ultralytics:yolov8n.yaml, package.module:factory (a function without "
        "arguments, also in the current folder; its code is run), or a program of torch.export, model.pt2.",
    )
    source = doctor.add_mutually_exclusive_group()
    source.add_argument("model", nargs="?", metavar="MODEL", help="an ONNX model, timm:NAME and the like, or ...")
    source.add_argument("--layers", metavar='"conv7/2p3 ..."', help="... a list of layers, or a file with one")
    doctor.add_argument(
        "--input-shape", type=_input_shape, metavar="1x3x224x224", help="shape of the input; 224 or 224x224 is enough"
    )
    doctor.add_argument(
        "--input",
        action="append",
        default=[],
        type=_named_shape,
        dest="inputs",
        metavar="NAME=1x3x224x224",
        help="shape of one of several inputs of a module of torch; can be given several times",
    )
    doctor.add_argument(
        "--object",
        type=_object,
        metavar="N",
        help="pixels (samples, voxels) of the object to follow, or of a signal with --sample-rate a time such as 20ms "
        "(default: the median of --objects, or 8; of a signal, about a thirty-second of it)",
    )
    doctor.add_argument(
        "--sample-rate",
        type=float,
        metavar="HZ",
        help="samples per second of a signal: lengths are told in seconds too",
    )
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
    doctor.add_argument(
        "--tree", action="store_true", help="show a tree of modules with parameters, multiply-adds and memory"
    )
    doctor.add_argument("--depth", type=_depth, metavar="N", help="levels of the tree (default: 3)")
    doctor.add_argument(
        "--objects",
        type=Path,
        metavar="FILE",
        help="objects of a data set, as COCO instances (JSON) or a CSV file of width,height: how many keep a cell",
    )
    doctor.add_argument(
        "--objects-resize",
        choices=("letterbox", "stretch", "none"),
        default="letterbox",
        help="how its images become the input (default: letterbox)",
    )
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
        "object, one cell and its receptive field",
    )
    doctor.add_argument(
        "--objects-figure",
        dest=OBJECTS_FIGURE,
        type=output_file,
        metavar="FILE.png|svg",
        help="draw the share of objects that keep a cell into FILE",
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


def _named_shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, sign, shape = text.partition("=")
    if not name or not sign:
        raise argparse.ArgumentTypeError(f"{text!r} must be a name and a shape, such as image=1x3x224x224")
    return name, _input_shape(shape)


def _object(text: str) -> tuple[int, ...] | float:
    """Read the size of an object: cells of the input, or seconds."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s)", text.strip())
    if match is not None and float(match[1]) > 0:
        return float(match[1]) / (1000 if match[2] == "ms" else 1)
    return _positive(
        text.removesuffix("px"),
        "a number of pixels, or one for each axis, such as 8 or 8x12; of a signal, samples or a time such as 20ms",
    )


def _depth(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text) or not 1 <= int(text) <= DEEPEST_TREE:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of levels, from 1 to {DEEPEST_TREE}")
    return int(text)


def _positive(text: str, what: str) -> tuple[int, ...]:
    """Read numbers with something between them, as people write shapes."""
    numbers = numbers_in(text)
    if not numbers or 0 in numbers:
        raise argparse.ArgumentTypeError(f"{text!r} must be {what}")
    return numbers


def _run(options: argparse.Namespace) -> int:
    from pooling.doctor import NetworkError, examine
    from pooling.doctor.lint import SEVERITIES
    from pooling.doctor.network.readers.sources import is_source
    from pooling.doctor.report.table import explain, print_examination, print_what_if
    from pooling.doctor.report.tree import DEPTH
    from pooling.doctor.what_if import find_stage, parse_changes, what_if

    others = [options.model, options.versus]
    read = [options.layers, options.image, options.objects]
    outputs = ["json", "html", "figure", OBJECTS_FIGURE]
    check_files(options, outputs, read, others)
    need_libraries(options)
    if options.depth is not None and not options.tree:
        raise RefusedError("--depth is for --tree; add --tree, or leave --depth out")
    if getattr(options, OBJECTS_FIGURE) is not None and options.objects is None:
        raise RefusedError("--objects-figure draws what --objects names; give both, or leave it out")
    if options.changes and options.versus:
        raise RefusedError("--set and --versus cannot be given together; write the change into the other network")
    pixels = _samples(options)
    settings = {
        "task": options.task,
        "ignore": [code for codes in options.ignore for code in codes],
        "image": options.image,
        "sample_rate": options.sample_rate,
        "objects": options.objects,
        "objects_resize": options.objects_resize,
        **({} if pixels is None else {"object_size": pixels[0] if len(pixels) == 1 else pixels}),
    }
    console = stdout(silent=goes_to_stdout(options, outputs))
    with refused(NetworkError, TypeError, OSError), working() as tell:
        network = _network(options)
        tell(f"examining {options.model or 'layers'}")
        examination = examine(network, _shape(options), **settings)
        stages = [find_stage(examination.network, name, f"--explain {name!r}") for name in options.explain]
        comparison = None
        if options.changes or options.versus:
            tell(f"comparing with {options.versus or 'the change'}")
        if options.changes:
            comparison = what_if(examination, parse_changes(examination.network, options.changes))
        elif options.versus:
            other = options.versus
            comparison = what_if(examination, other if is_source(other) else layers_or_path(other))
        if options.image is not None:
            _ = examination.shifts  # so that a picture that cannot be used is told before anything is written
        tell("writing")
        failed = _write(options, examination, comparison)
    if comparison is not None:
        print_what_if(comparison, console)
    for stage in stages:
        explain(examination, stage, console)
    if not stages and comparison is None:
        depth = (options.depth or DEPTH) if options.tree else None
        print_examination(examination, console, everything=options.all, tree_depth=depth)
    print_written(options, console)
    if failed:
        return failed
    judged = examination if comparison is None else comparison.after
    if judged.network.is_mostly_lost:
        return fail(options, _mostly_lost(judged))
    if judged.failure is not None:
        return fail(options, _refused_size(judged))
    if options.fail_on == "never" or judged.severity is None:
        return 0
    return int(SEVERITIES.index(judged.severity) >= SEVERITIES.index(options.fail_on))


def _mostly_lost(examination: Examination) -> str:
    """Say that most of a network was not understood, and because of which operators."""
    from pooling.reporting.formats import amount

    network = examination.network
    heavy = [stage for stage in network.stages if stage.parameters] or list(network.stages)
    lost = [stage for stage in heavy if stage.culprit]
    # One word for many nodes of one operator.
    operators = list(dict.fromkeys(loss.operator for loss in network.losses))
    shown = ", ".join(operators[:SHOWN_OPERATORS]) + (", ..." if len(operators) > SHOWN_OPERATORS else "")
    weights = sum(stage.parameters for stage in network.stages if stage.culprit)
    share = f" and {amount(weights)} of {amount(network.parameters)} weights" if network.parameters else ""
    return (
        f"most of {network.title} is not known: {len(lost)} of {len(heavy)} stages"
        f"{' with weights' if network.parameters else ''}{share} lie behind operators that were not understood "
        f"({shown}); the report holds for the rest only, see D901"
    )


def _refused_size(examination: Examination) -> str:
    """Say that a network does not work at the size that was asked for, and which one the report is about."""
    from pooling.reporting.formats import by

    failure, network = examination.failure, examination.network
    assert failure is not None
    codes = sorted({each.code for each in examination.findings if each.code in OF_SIZES and each.severity == "error"})
    more = f"; see {', '.join(codes)}" if codes else ""
    return (
        f"{network.title} does not work with an input of {by(failure.shape)}: {failure.sentence}; the report is about "
        f"{by(network.input_shape)}{more}"
    )


def _samples(options: argparse.Namespace) -> tuple[int, ...] | None:
    """Return the size of the object in cells of the input."""
    given: tuple[int, ...] | float | None = options.object
    if not isinstance(given, float):
        return given
    rate = options.sample_rate
    if rate is None:
        raise RefusedError(f"--object {given:g}s is a time, which needs the samples per second: add --sample-rate HZ")
    # A rate that is none is refused by `examine`.
    return (max(1, round(given * rate)),) if 0 < rate < 1e12 else (1,)


SHOWN_OPERATORS = 4
"""Operators that a sentence lists."""
OF_SIZES = ("D102", "D103", "D104")
"""Findings about sizes that a network refuses."""


def _shape(options: argparse.Namespace) -> tuple[int, ...] | dict[str, tuple[int, ...]] | None:
    """Return the shape of the input, or of each input by name."""
    if options.inputs and options.input_shape is not None:
        raise RefusedError("--input-shape and --input cannot be given together; name every input with --input")
    shapes: dict[str, tuple[int, ...]] = dict(options.inputs)
    if len(shapes) < len(options.inputs):
        raise RefusedError("--input names an input twice; give each input one shape")
    shape: tuple[int, ...] | None = options.input_shape
    return shapes or shape


def _write(options: argparse.Namespace, examination: Examination, comparison: WhatIf | None) -> int:
    """Write the files that are asked for; returns 2 if one of them cannot be, else 0."""
    from pooling.doctor.report.page import page
    from pooling.files import write_whole

    # All that may be impossible comes before the first file, so that nothing is left half done.
    drawn, html, objects = b"", "", b""
    if options.figure is not None:
        from pooling.doctor.report.figure import figure_file

        drawn = figure_file(examination, options.figure, options.image, picture=options.picture)
    if getattr(options, OBJECTS_FIGURE) is not None:
        from pooling.doctor.report.object_figure import object_figure_file

        objects = object_figure_file(examination, getattr(options, OBJECTS_FIGURE))
    if options.html is not None:
        html = page(examination, options.image, comparison)
    writers = {
        "html": lambda path: write_whole(path, html),
        "json": lambda path: _save_json(examination, comparison, path),
        "figure": lambda path: write_whole(path, drawn),
        OBJECTS_FIGURE: lambda path: write_whole(path, objects),
    }
    return write_files(options, writers, 0)


def _save_json(examination: Examination, comparison: WhatIf | None, path: Path) -> None:
    from pooling.doctor.report.json import save_json

    save_json(examination, path, comparison)


def _network(options: argparse.Namespace) -> str:
    """Return the list of layers, or what names a model, and say what is probably meant by what is neither."""
    from pooling.doctor.network.readers.files import EXPORTED, PICKLES, about_folder, about_missing
    from pooling.doctor.network.readers.sources import LIBRARIES, is_source

    if options.layers is not None:
        return layers_or_path(options.layers)
    if not options.model:
        raise ValueError(NOTHING_GIVEN)
    path = Path(options.model)
    of_library = options.model.partition(":")[0] in LIBRARIES
    if is_source(options.model) and (of_library or path.exists() or path.suffix.lower() not in (EXPORTED, *PICKLES)):
        return str(options.model)
    if path.is_dir():
        raise ValueError(about_folder(path))
    if not path.exists():
        raise ValueError(about_missing(options.model))
    return str(path)
