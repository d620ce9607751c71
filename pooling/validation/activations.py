"""What tensors hold when a model runs: activations on a real input, and shapes that inference does not find."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.numerics.inputs import draw
from pooling.onnx_models.making import ModelProto, ValueInfoProto, array_of
from pooling.signs import first_line, printable
from pooling.tool_arguments import path_of

from .pooling_nodes import CannotRunError, PoolingModel, load_model
from .runners.processes import RuntimeProcess

__all__ = ["Given", "activations", "fed_inputs", "given_inputs", "measured_shapes", "serialised"]

Numbers = NDArray[Any]
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Of the colours of ImageNet, between 0 and 1, as most networks for pictures expect them to be taken out."""
COLOURS = 3
LARGEST_INPUT = 2**28
"""Elements of an input that is drawn."""
RUNTIME = "onnxruntime"


@dataclass(frozen=True, eq=False)
class Given:
    """Something to run a model on."""

    source: str
    """The file, without its folder."""
    name: str
    """The input of the model; empty for the only one."""
    array: Numbers | None
    """An input as it is."""
    picture: Any = None
    """Or a picture that has to be fitted to the input."""

    def name_in(self, network: PoolingModel) -> str:
        """Return the input that is meant.

        Raises
        ------
        CannotRunError
            If the model has no such input, or has several and none is named.
        """
        if self.name in network.inputs:
            return self.name
        inputs = ", ".join(network.inputs) or "none"
        if self.name:
            raise CannotRunError(f"--input {self.name}={self.source}: it has no input {self.name!r}; it has {inputs}")
        if len(network.inputs) != 1:
            raise CannotRunError(f"--input {self.source}: name one of its inputs ({inputs}), as in NAME={self.source}")
        return next(iter(network.inputs))

    def fitted(self, shape: Sequence[int | str] | None, dtype: np.dtype[Any] | None) -> Numbers:
        """Return what goes into an input.

        A picture is resized to the height and width of the input, bilinearly and without keeping its proportions. Its
        colours, between 0 and 1, less the mean of ImageNet and over its deviation go to the axis of 3; an input with
        one channel gets the mean of the colours, and one with integers the bytes.

        Raises
        ------
        CannotRunError
            If it does not fit.
        """
        if self.array is not None:
            array = self.array.astype(self.array.dtype.newbyteorder("="), copy=False)
            if dtype is not None and array.dtype != dtype:
                raise CannotRunError(
                    f"--input {self.source} has dtype {array.dtype.name}, and the model takes {dtype.name}; give "
                    f"array.astype(np.{dtype.name}), saved with numpy.save"
                )
            return array
        sizes = list(shape or ())
        first = len(sizes) == 4 and sizes[1] in (1, COLOURS)
        last = len(sizes) == 4 and sizes[3] in (1, COLOURS) and not first
        if not (first or last):
            shown = "x".join(map(str, sizes)) or "unknown"
            raise CannotRunError(f"--input {self.source} is a picture, and the input of shape {shown} takes none")
        height, width = sizes[2:] if first else sizes[1:3]
        if isinstance(height, str) or isinstance(width, str):
            raise CannotRunError(
                f"--input {self.source} is a picture, and the size of the input is open; give it with --shape"
            )
        channels = sizes[1] if first else sizes[3]
        resized: Numbers = np.asarray(self.picture.resize((int(width), int(height)), resample=2), np.float32)
        integral = dtype is not None and dtype.kind in "iu"
        if not integral:
            resized = (resized / 255 - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
        if channels == 1:
            resized = resized.mean(axis=2, keepdims=True)
        batch = sizes[0] if isinstance(sizes[0], int) else 1
        picture = resized.transpose(2, 0, 1) if first else resized
        return np.repeat(picture[np.newaxis], batch, axis=0).astype(dtype or np.float32)


def given_inputs(texts: Sequence[str]) -> list[Given]:
    """Read what is to go into models.

    Parameters
    ----------
    texts : sequence of str
        ``"FILE"`` or ``"NAME=FILE"``.

    Raises
    ------
    ValueError
        If a file cannot be read as an array or a picture, or the Pillow that reads pictures is not installed.
    """
    found = []
    for text in texts:
        name, file = "", text
        if not os.path.exists(text) and "=" in text:
            name, _, file = text.rpartition("=")
        path = path_of("validate", "inputs", file)
        file = printable(file)
        if path.suffix.lower() == ".npy":
            try:
                array = np.load(path, allow_pickle=False)
            except (OSError, ValueError, EOFError, MemoryError) as error:
                raise ValueError(f"--input {file} cannot be read ({first_line(error)})") from error
            found.append(Given(path.name, name, array))
            continue
        try:
            pillow: Any = import_module("PIL.Image")
        except ModuleNotFoundError:
            raise ValueError(
                f'--input {file}: pictures need Pillow, which is not installed; run pip install "ndpooling[pictures]", '
                "or give an array as .npy"
            ) from None
        try:
            with pillow.open(path) as picture:
                found.append(Given(path.name, name, None, picture.convert("RGB")))
        except Exception as error:  # decoders raise what they like
            raise ValueError(f"--input {file} is neither .npy nor a picture ({first_line(error)})") from error
    return found


def activations(
    path: str | os.PathLike[str], network: PoolingModel, given: Sequence[Given], process: RuntimeProcess, seed: int
) -> dict[str, Numbers]:
    """Run a model in a runtime, and return what its pooling nodes read.

    Inputs that are not given are drawn.

    Raises
    ------
    CannotRunError
        If the model does not run, or what is given does not fit.
    """
    names = {name for node in network.nodes for name in node.proto.input if name}
    return _run(path, network, names, fed_inputs(network, given, seed), process)


def fed_inputs(network: PoolingModel, given: Sequence[Given], seed: int) -> dict[str, Numbers]:
    """Return what goes into a model: what is given, and drawn numbers.

    Raises
    ------
    CannotRunError
        If what is given does not fit, or the shape of an input is not known.
    """
    fed = {}
    for each in given:
        name = each.name_in(network)
        fed[name] = each.fitted(*network.inputs[name])
    random = np.random.default_rng(seed)
    for name, (shape, dtype) in network.inputs.items():
        if name not in fed:
            fed[name] = _drawn(name, shape, dtype, random)
    return fed


def measured_shapes(
    path: str | os.PathLike[str], network: PoolingModel, process: RuntimeProcess
) -> tuple[dict[str, Numbers], str]:
    """Run a model whose inputs have known shapes, and return the tensors that inference knows too little of.

    Returns
    -------
    found : dict of str to ndarray
        Empty where the model does not run, or sizes of its inputs are open.
    reason : str
        Why it does not run, in the runtime's words.
    """
    try:
        inputs = fed_inputs(network, (), 0)
    except CannotRunError:
        return {}, ""
    try:
        return _run(path, network, set(network.unknown), inputs, process), ""
    except CannotRunError as error:
        return {}, str(error)


def _run(
    path: str | os.PathLike[str],
    network: PoolingModel,
    names: set[str],
    inputs: Mapping[str, Numbers],
    process: RuntimeProcess,
) -> dict[str, Numbers]:
    model = load_model(path, weights=True)
    own = {name for node in model.graph.node for name in node.output}
    brought = {tensor.name: tensor for tensor in model.graph.initializer}
    found = {name: inputs[name] for name in names & inputs.keys()}
    found |= {name: array_of(brought[name]) for name in names & brought.keys()}
    asked = sorted(names & own)
    if not asked:
        return found
    del model.graph.output[:]
    model.graph.output.extend(ValueInfoProto(name=name) for name in asked)
    answer = process.ask(serialised(model), inputs)
    if not answer.given:
        raise CannotRunError(f"{RUNTIME} does not run the model ({answer.crash or answer.unsupported})")
    return {**found, **dict(zip(asked, answer.outputs, strict=True))}


def serialised(model: ModelProto) -> bytes:
    """Return a model as bytes.

    Raises
    ------
    CannotRunError
        If it is too large for that.
    """
    try:
        content: bytes = model.SerializeToString()
    except Exception as error:  # protobuf's own, which depends on its version
        raise CannotRunError(f"it is too large to be run ({first_line(error)})") from error
    return content


def _drawn(
    name: str, shape: Sequence[int | str] | None, dtype: np.dtype[Any] | None, random: np.random.Generator
) -> Numbers:
    sizes = [size for size in shape or () if isinstance(size, int)]
    if shape is None or dtype is None or len(sizes) < len(shape):
        raise CannotRunError(f"the shape of its input {name!r} is open; give it with --shape")
    if math.prod(sizes) > LARGEST_INPUT:
        raise CannotRunError(
            f"its input {name!r} has {math.prod(sizes):,} elements, too many to run it on drawn numbers"
        )
    # Integers are counts and places in most models, of which one is the safest.
    if dtype.kind in "iub":
        return np.ones(sizes, dtype)
    return draw(sizes, dtype, random, kinds=("normal",), infinities=False)
