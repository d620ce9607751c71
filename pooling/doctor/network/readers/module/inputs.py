"""What a module takes: the names of its inputs, and the shape that its first convolution asks for."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from pooling.reporting.formats import joined
from pooling.signs import counted

from ....operators.nodes import Shape
from ...network import NetworkError

__all__ = ["about_call", "example_shape", "first_layout", "named_arguments"]

CONVOLUTIONS = {
    kind: axes
    for axes, kinds in enumerate(
        (
            (torch.nn.Conv1d, torch.nn.LazyConv1d),
            (torch.nn.Conv2d, torch.nn.LazyConv2d),
            (torch.nn.Conv3d, torch.nn.LazyConv3d),
        ),
        1,
    )
    for kind in kinds
}
"""Spatial axes by the class of a layer."""
EXAMPLE_SIZES = {1: (16000,), 2: (224, 224), 3: (16, 112, 112)}
IMAGE = (1, 3, 224, 224)


def first_layout(module: Any) -> tuple[int, int] | None:
    """Return the channels and the number of spatial axes that the first convolution of a module asks for.

    Nothing is known where a module has convolutions of several kinds.
    """
    found = [each for each in module.modules() if type(each) in CONVOLUTIONS]
    axes = {CONVOLUTIONS[type(each)] for each in found}
    if len(axes) != 1 or not found[0].in_channels:
        return None
    return int(found[0].in_channels), axes.pop()


def example_shape(module: Any) -> Shape:
    """Return an input shape as a module may take it, for a sentence."""
    layout = first_layout(module)
    return IMAGE if layout is None else (1, layout[0], *EXAMPLE_SIZES[layout[1]])


def named_arguments(name: str, module: Any, inputs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return what a module is called with, of inputs that have names.

    Raises
    ------
    NetworkError
        If its forward has no such input, or one more that is needed; the sentence lists them.
    """
    takes, needed, any_number, any_names = _taken(module)
    unknown = [each for each in inputs if each not in takes]
    if any_names or not unknown:
        missing = [each for each in needed if each not in inputs]
        if missing:
            raise NetworkError(
                f"{name} takes {_quoted(takes)}, and no shape of {_quoted(missing)} is given; add "
                + " ".join(f"--input {each}=1x3x224x224" for each in missing)
                + " with its shape"
            )
        return [], dict(inputs)
    if any_number:
        return list(inputs.values()), {}
    if len(takes) == 1:
        return [dict(inputs)], {}  # one mapping with these keys
    near = [found[0] for each in unknown if (found := difflib.get_close_matches(each, takes, 1, 0.4))]
    meant = f"; do you mean {joined([repr(each) for each in dict.fromkeys(near)])}?" if near else ""
    raise NetworkError(
        f"{name} has no {'input' if len(unknown) == 1 else 'inputs'} {_quoted(unknown)}; its inputs are "
        f"{_quoted(takes) if takes else 'none'}{meant}"
    )


def about_call(module: Any, shapes: Mapping[str, Shape], named: bool) -> str:
    """Say what a module that failed takes, where it was given something else; begins with a semicolon, or is empty."""
    if named:
        takes, _, any_number, any_names = _taken(module)
        if len(takes) == 1 and not any_number and not any_names and takes[0] not in shapes:
            keys = f"the {'key' if len(shapes) == 1 else 'keys'} {_quoted(shapes)}"
            return f"; its only input is {takes[0]!r}, which was given a mapping with {keys}: --input {takes[0]}=SHAPE"
        short = [name for name, shape in shapes.items() if len(shape) < 2]
        return (
            f"; an input that is named needs its whole shape, such as --input {short[0]}=1x3x224x224" if short else ""
        )
    needed = _taken(module)[1]
    if len(needed) > 1:
        options = " ".join(f"--input {each}=SHAPE" for each in needed)
        return f"; it takes {_quoted(needed)}: give a shape for each, {options}"
    layout = first_layout(module)
    if layout is None:
        return ""
    (shape,) = shapes.values()
    channels, axes = layout
    if len(shape) == axes + 2 and shape[1] == channels:
        return ""
    example = "x".join(map(str, example_shape(module)))
    sizes = counted(axes, "spatial axis", "spatial axes")
    return f"; its first convolution takes {counted(channels, 'channel')} and {sizes}, such as --input-shape {example}"


def _taken(module: Any) -> tuple[list[str], list[str], bool, bool]:
    """Name the inputs of a module's forward, and those without a default; say whether it takes any number, any name."""
    parameters = inspect.signature(module.forward).parameters.values()
    named = [each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    kinds = {each.kind for each in parameters}
    return (
        [each.name for each in named],
        [each.name for each in named if each.default is each.empty],
        inspect.Parameter.VAR_POSITIONAL in kinds,
        inspect.Parameter.VAR_KEYWORD in kinds,
    )


def _quoted(names: Iterable[str] | Sequence[str]) -> str:
    return joined([repr(each) for each in names])
