"""Write a pooling layer, or a chain of them, as an ONNX model.

Write a pooling layer, or several one after another, as an ONNX model, and verify it in onnxruntime.

Examples: pooling export "MaxPool2d(3, stride=2, padding=1)" --shape N,64,112,112 -o stem.onnx; pooling export
"MaxPool2d(2)" "GlobalAvgPool2d()" --shape 1,3,32,32 --dtype float16 -o head.onnx; pooling export layers.txt --shape
N,16,H,W --opset 18 -o chain.onnx. Exit code: 0 it was written, 1 the model gives something else than the layers, 2 it
could not be made; nothing is written unless all is well.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any

from .shared import (
    add_command,
    add_force,
    check_files,
    fail,
    layers_or_path,
    output_file,
    print_written,
    progress_bar,
    spoken,
    stdout,
)

__all__ = ["add"]

INDICES = ("torch", "onnx", "onnx_column_major", "tensorflow")


def add(commands: Any) -> None:
    """Add the command to those that there are."""
    export = add_command(commands, "export", __doc__, _run)
    export.add_argument(
        "layers",
        nargs="+",
        metavar="LAYER",
        help='a layer as Python writes it, "AvgPool2d(3, stride=2)", in the notation of pooling doctor, pool3/2p1, or '
        "a file of either; several make a chain",
    )
    export.add_argument(
        "--shape",
        type=_shape,
        required=True,
        metavar="N,64,112,112",
        help="shape of the input; a dynamic size has a name, such as N, H or W",
    )
    export.add_argument("-o", "--output", type=output_file, required=True, metavar="OUT.onnx", help="where to write it")
    export.add_argument("--dtype", default="float32", metavar="NAME", help="type of the input (default: float32)")
    export.add_argument(
        "--opset", type=int, metavar="N", help="ONNX opset (default: the lowest from 13 on that needs few nodes)"
    )
    export.add_argument(
        "--indices", choices=INDICES, default="torch", help="how indices count elements (default: torch)"
    )
    export.add_argument(
        "--output-size", type=_sizes, metavar="H,W", help="the size that unpooling restores (default: computed)"
    )
    export.add_argument(
        "--special-values",
        choices=("finite", "exact"),
        default="finite",
        help="exact: the NaN and infinities of this library in every runtime, by a longer and slower graph (default: "
        "finite, where they are up to the runtime)",
    )
    export.add_argument("--gradient", action="store_true", help="write the gradient of a single layer instead")
    export.add_argument("--no-verify", action="store_true", help="do not run the model in onnxruntime")
    add_force(export)


def _shape(text: str) -> tuple[int | str, ...]:
    """Read sizes and names; ``1x3x32x32`` will do where there are no names."""
    parts = [
        part.strip() for part in (re.split(r"[,x×]", text) if re.fullmatch(r"[\dx×\s]+", text) else text.split(","))
    ]
    if not all(re.fullmatch(r"\d{1,19}|[A-Za-z_]\w*", part, re.ASCII) for part in parts):
        raise argparse.ArgumentTypeError(
            f"{text!r} must be sizes with commas between them, and names for what is left open, such as N,64,112,112"
        )
    return tuple(int(part) if part.isdigit() else part for part in parts)


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(size for size in _shape(text) if isinstance(size, int))
    if len(sizes) < len(_shape(text)):
        raise argparse.ArgumentTypeError(f"{text!r} must have numbers only, such as 112,112")
    return sizes


def _run(options: argparse.Namespace) -> int:
    from importlib.metadata import version

    from pooling.doctor.network.readers.text import poolings_from_text
    from pooling.export import VerificationError, save
    from pooling.export.arguments import Request
    from pooling.export.backward import backward_model
    from pooling.export.model import forward_model
    from pooling.export.verification import in_this_runtime
    from pooling.layer import Sequential

    check_files(options, ["output"], options.layers)
    dimensions = len(options.shape) - 2
    try:
        layers = [layer for text in options.layers for layer in poolings_from_text(_text(text), dimensions)]
        if options.gradient and len(layers) > 1:
            raise ValueError(f"--gradient is of one layer, and there are {len(layers)}; export them one by one")
        make = backward_model if options.gradient else forward_model
        with progress_bar() as progress:
            progress(0, 1, "making the graph")
            request = Request.of(
                layers[0] if len(layers) == 1 else Sequential(*layers),
                options.shape,
                dtype=options.dtype,
                opset=options.opset,
                indices=options.indices,
                output_size=options.output_size,
                special_values=options.special_values,
                gradient=options.gradient,
            )
            model, verification = make(request)
            if not options.no_verify:
                in_this_runtime(verification, progress)
        save(model, options.output)
    except VerificationError as error:
        fail(options, f"{spoken(error, 'layers')}; nothing was written")
        return 1
    except (TypeError, ValueError, OverflowError) as error:
        return fail(options, spoken(error, "layers"))
    except MemoryError:
        return fail(options, "there is not enough memory to verify the model at this shape; add --no-verify")
    except OSError as error:
        return fail(
            options, f"{error.filename or options.output} cannot be read or written ({error.strerror or error})"
        )
    console = stdout()
    nodes = len(model.graph.node)
    opset = next(each.version for each in model.opset_import if each.domain == "")
    facts = f"{nodes} node{'' if nodes == 1 else 's'}, opset {opset}, {options.dtype}"
    if not options.no_verify:
        done = "run, on no element, in" if 0 in options.shape else "verified in"
        facts += f", {done} onnxruntime {version('onnxruntime')}"
    console.print(f"{model.graph.doc_string}\n{facts}", markup=False, highlight=False, soft_wrap=True)
    options.written = [options.output]
    print_written(options, console)
    return 0


def _text(argument: str) -> str:
    """Return a layer, or what is in a file of layers."""
    if argument.endswith(".onnx"):
        raise ValueError(f"{argument} is a model, and layers are exported; pooling repair rewrites models")
    from pooling.onnx_models.missing import remedy_for_missing

    remedy = remedy_for_missing(argument)
    if remedy:
        raise ValueError(f"{argument!r} is no layer; {remedy}")
    text = layers_or_path(argument)
    if text == argument and (os.path.isdir(text) or Path(text).suffix == ".txt"):
        raise ValueError(f"there is no file {argument!r}; give one with a layer on each line, or the layer itself")
    return text
