"""Write an image or a volume with its levels, as OME-Zarr.

Write an image, a volume or labels, which need not fit in memory, with smaller and smaller levels of it as OME-Zarr, so
that viewers open it at any size. SOURCE is a file .npy or .tif, or a folder of Zarr.

Examples: pooling pyramid photo.tif photo.zarr --axes yxc; pooling pyramid labels.npy labels.zarr --axes zyx --func mode
--levels 5 --nodata 0 --figure levels.png; pooling pyramid scan.zarr small.zarr --factors z=1,y=2,x=2 --scale
z=4,y=0.5,x=0.5 --units micrometer. A run that was ended goes on when it is started again. Exit code: 0 it was written,
2 it could not be.
"""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from pooling.errors import refusal_of

from .shared import RefusedError, add_command, fail, output_file, progress_bar, stdout

__all__ = ["add"]

FUNCS = ("mean", "min", "max", "median", "mode", "first", "rms", "sum")
ROUNDINGS = ("half_even", "half_up", "floor", "trunc")


def add(commands: Any) -> None:
    """Add the command to those that there are."""
    pyramid = add_command(commands, "pyramid", __doc__, _run)
    pyramid.add_argument("source", metavar="SOURCE", help="a file .npy or .tif, or a folder of Zarr")
    pyramid.add_argument("target", metavar="TARGET.zarr", type=output_file, help="the folder to write")
    pyramid.add_argument(
        "--axes", type=_letters, metavar="zyx",
        help="a letter for each axis of SOURCE: t, c, z, y, x (default: as SOURCE names them)",
    )  # fmt: skip
    pyramid.add_argument(
        "--func",
        default="mean",
        metavar="NAME",
        help=f"what an element of a level is: {', '.join(FUNCS)} (default: mean)",
    )
    pyramid.add_argument(
        "--levels", type=int, metavar="N", help="levels behind the original (default: down to a chunk)"
    )
    pyramid.add_argument(
        "--factors", type=_numbers, default=2, metavar="2|z=1,y=2,x=2",
        help="by how much each level is smaller than the one before (default: 2 on all axes of space)",
    )  # fmt: skip
    pyramid.add_argument("--nodata", type=_number, metavar="V", help="elements that do not count: a number, or nan")
    pyramid.add_argument(
        "--min-valid", type=float, default=0.0, metavar="SHARE", help="least share of elements that count (default: 0)"
    )
    pyramid.add_argument("--rounding", choices=ROUNDINGS, default="half_even", help="of means of integers")
    pyramid.add_argument(
        "--exact", action="store_true", help="modes and medians of the original, not of the level before"
    )
    pyramid.add_argument(
        "--scale", type=_reals, metavar="z=4,y=0.5,x=0.5",
        help="size of an element of SOURCE (default: as SOURCE says, else 1)",
    )  # fmt: skip
    pyramid.add_argument(
        "--units", metavar="WORD", help="of the axes of space, such as micrometer (default: as SOURCE says)"
    )
    pyramid.add_argument("--name", metavar="NAME", help="of the image (default: that of the folder)")
    pyramid.add_argument("--ome-version", choices=("0.5", "0.4"), default="0.5", help="0.5: Zarr v3; 0.4: Zarr v2")
    pyramid.add_argument(
        "--memory", type=_bytes, default=_bytes("128MiB"), metavar="128MiB",
        help="of SOURCE that is held at a time, a number of GiB or with a unit (default: 128MiB)",
    )  # fmt: skip
    pyramid.add_argument("--overwrite", action="store_true", help="replace TARGET.zarr, when the new one is whole")
    pyramid.add_argument("--figure", type=output_file, metavar="FILE.png|svg|pdf", help="draw the levels into FILE")


def _number(text: str) -> int | float:
    """Read a number; integers of 64 bits are no floats."""
    try:
        return int(text) if re.fullmatch(r"[+-]?\d{1,20}", text, re.ASCII) else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number, or nan") from None


UNITS_OF_MEMORY = {"": 30, "k": 10, "m": 20, "g": 30, "t": 40}


def _bytes(text: str) -> int:
    """Read an amount of memory: GiB without a unit; MB is taken for MiB, for it need not be exact."""
    found = re.fullmatch(r"((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(?:([kmgt])(?:i?b)?)?", text.strip().lower(), re.ASCII)
    amount = float(found[1]) * 2.0 ** UNITS_OF_MEMORY[found[2] or ""] if found else 0.0
    if not 0 < amount < 2.0**50:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of GiB, such as 0.5, or such as 512MiB")
    return max(1 << 16, int(amount))


def _letters(text: str) -> str:
    """Read the letters of axes; signs between them are left out."""
    return re.sub(r"[\s,;()\[\]'\"-]+", "", text)


def _reals(text: str, example: str = "z=4,y=0.5,x=0.5") -> float | list[float] | dict[str, float]:
    """Read one number, several with commas between them or such as 1x2x2, or those of letters."""
    separated = re.sub(r"(?<=[\d.])\s*[xX×]\s*(?=[\d.])", ",", text)
    parts = [part.strip() for part in separated.split(",")]
    try:
        if all("=" in part for part in parts):
            by_letter = {part.partition("=")[0].strip().lower(): float(part.partition("=")[2]) for part in parts}
            if len(by_letter) < len(parts):
                raise argparse.ArgumentTypeError(f"{text!r} must name each axis once, such as {example}")
            return by_letter
        numbers = [float(part) for part in parts]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be a number, one for each axis with commas between them, or such as {example}"
        ) from None
    return numbers[0] if len(numbers) == 1 else numbers


def _numbers(text: str) -> Any:
    """Read the same of whole numbers."""
    example = "z=1,y=2,x=2"
    found = _reals(text, example)
    every = [found] if isinstance(found, float) else list(found.values()) if isinstance(found, dict) else found
    if not all(math.isfinite(number) and number == int(number) for number in every):
        raise argparse.ArgumentTypeError(f"{text!r} must be whole numbers, such as 2 or {example}")
    if isinstance(found, float):
        return int(found)
    return (
        {letter: int(number) for letter, number in found.items()} if isinstance(found, dict) else list(map(int, found))
    )


def _run(options: argparse.Namespace) -> int:
    from pooling.zarr import write_multiscales

    figure = options.figure
    if figure is not None:
        from pooling.reporting.levels import checked_format, levels_file, with_gaps

        if not Path(figure).absolute().parent.is_dir():
            raise RefusedError(f"--figure {figure}: there is no folder {figure.parent}")
    try:
        if figure is not None:
            checked_format(figure)
        with progress_bar() as progress:
            progress(0, 1, "opening the source")
            written = write_multiscales(
                options.source,
                options.target,
                axes=options.axes,
                factors=options.factors,
                levels=options.levels,
                func=options.func,
                nodata=options.nodata,
                min_valid=options.min_valid,
                rounding=options.rounding,
                exact=options.exact,
                scale=options.scale,
                units=options.units,
                name=options.name,
                ome_version=options.ome_version,
                memory=options.memory,
                overwrite=options.overwrite,
                progress=progress,
            )
    except (TypeError, ValueError) as error:
        return fail(options, _said(error, options))
    except OSError as error:
        said = _said(error, options)
        return fail(options, said if hasattr(error, "refusal") else f"{error.filename or options.source}: {said}")
    except MemoryError:
        return fail(options, "there is not enough memory; give a smaller --memory")
    from pooling.zarr import shown_levels

    shown = shown_levels(written)
    console = stdout()
    for level in shown:
        console.print(
            f"level {level.path}: {level.sizes}, scale {level.steps}, first at {level.offsets}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
    outputs = [options.target]
    if figure is not None:
        from pooling.files import write_whole

        labels = options.func in ("mode", "first")
        if options.nodata is not None and not labels:
            shown = with_gaps(shown, options.nodata)
        try:
            write_whole(figure, levels_file(shown, figure, labels=labels))
        except OSError as error:
            return fail(options, f"--figure {figure} cannot be written ({error.strerror or error})")
        outputs.append(figure)
    for path in outputs:
        console.print(f"written to {path}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _typed(value: Any) -> str:
    """Return the value of an option as it is typed; nothing for one that has none."""
    if value is True:
        return ""
    if isinstance(value, dict):
        return ",".join(f"{name}={_typed(entry)}" for name, entry in value.items())
    if isinstance(value, list):
        return ",".join(map(_typed, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _said(error: Exception, options: argparse.Namespace) -> str:
    """Return what an error says, in the words of the command."""
    fields = refusal_of(error)
    rule, remedy = (re.sub(r"\b(overwrite|exact)=True", r"--\1", text) for text in (fields.rule, fields.remedy))
    if fields.argument:
        typed = _typed(vars(options).get(fields.argument, fields.written))
        rule = f"--{fields.argument.replace('_', '-')}{typed and ' '}{typed} {rule}"
    return str(replace(fields, function="", rule=rule, remedy=remedy, argument="", written=""))
