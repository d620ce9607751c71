"""Which pixels of the input no path to an output reads, found backwards from the outputs.

Axis by axis, every stage says which cells of its input the cells of its output that are read depend on. That is exact
for windows, whose axes are independent; where a stage mixes all cells, or is not known, all of its input counts.
What floor division leaves out of an inner map is often seen by a neighbour: then it is read, and not told here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pooling.geometry import Axis

from .. import receptive_field
from ..network import Graph, Network, Stage
from ..network.control import reads
from ..network.graph import step_of
from ..operators import outcome_of
from ..operators.nodes import Node, NodeCall, OperatorError, Tensor, UnknownShapeError
from ..receptive_field import Line, View

__all__ = ["Ends", "read_pixels", "unread_ends"]

Mask = NDArray[np.bool_]
Masks = tuple[Mask, ...]
"""The cells of a tensor that are read, for each spatial axis of the input."""

LARGEST = 2**22
"""Cells of an axis up to which they are told apart."""
NORMALISED = {
    "Hardmax": False,
    "LayerNormalization": True,
    "LogSoftmax": False,
    "LpNormalization": False,
    "RMSNormalization": True,
    "Softmax": False,
}
"""Operators that mix the cells of an axis, and whether those of all axes behind it as well."""
FLATTENED = 13
"""The opset below which the first four of them take all axes from theirs on."""


class Ends(NamedTuple):
    """The pixels at both ends of an axis that nothing reads.

    Attributes
    ----------
    begin, end : int
        How many there are before the first, and behind the last pixel that is read.
    size : int
        Of the input on this axis.
    """

    begin: int
    end: int
    size: int


def unread_ends(graph: Graph, network: Network) -> tuple[Ends, ...]:
    """Return what lies at the ends of the input and reaches no output, for each spatial axis.

    Parameters
    ----------
    graph : Graph
    network : Network
        What it is at some size.

    Returns
    -------
    tuple of Ends
        Fewer pixels than lie unread between two that are read, as behind a 1x1 convolution of stride 2, count as 0.

    Examples
    --------
    >>> from pooling.doctor import read_graph
    >>> graph = read_graph("conv80x32/16p0 pool4 conv3x32p0 pool4 conv3x64p0 pool4 conv3x64p0 pool4")
    >>> unread_ends(graph, graph.infer((1, 1, 8000)))
    (Ends(begin=0, end=1152, size=8000),)
    >>> graph = read_graph("conv3x8 pool2 conv3 pool2 conv3 pool2 conv3 pool2")
    >>> unread_ends(graph, graph.infer((1, 3, 40, 40)))
    (Ends(begin=0, end=0, size=40), Ends(begin=0, end=0, size=40))
    """
    return tuple(map(_ends, read_pixels(graph, network)))


def _ends(read: Mask) -> Ends:
    places = np.flatnonzero(read)
    if not places.size:
        return Ends(0, 0, read.size)  # no output depends on this input at all: that is nothing about its ends
    between = int(np.diff(places).max(initial=1)) - 1
    begin, end = int(places[0]), read.size - 1 - int(places[-1])
    return Ends(begin if begin > between else 0, end if end > between else 0, read.size)


def read_pixels(graph: Graph, network: Network) -> Masks:
    """Return which pixels of the input some output depends on, for each spatial axis.

    Parameters
    ----------
    graph : Graph
    network : Network
        What it is at some size.
    """
    graph = graph.at(network.input_shape)
    tensors, nodes, spatial = graph.started(network.input_shape)
    if not spatial or max(network.spatial_sizes) > LARGEST:
        return tuple(np.ones(size, np.bool_) for size in network.spatial_sizes)
    stages = {node.name: list(step_of(node, tensors)) for node in nodes}
    found = _Backwards(tensors)
    for name in graph.outputs:
        found.all_of(name)
    for node in reversed(nodes):
        if node.branches:
            for name in reads(node):
                found.all_of(name)
        elif stages[node.name]:
            found.through(node, stages[node.name][0])
    return found.masks.get(graph.input_name) or found.nothing(graph.input_name) or ()


class _Backwards:
    """The cells of every tensor that are read, while that is found out from the outputs on."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors
        self.masks: dict[str, Masks] = {}
        """Of tensors with spatial axes."""
        self.plain: set[str] = set()
        """Tensors without spatial axes that are read."""

    def nothing(self, name: str) -> Masks | None:
        """Return masks of a tensor of which nothing is read; None where it has no spatial axes that are known."""
        tensor = self.tensors.get(name)
        if tensor is None or tensor.view is None or not tensor.view.axes or tensor.shape is None:
            return None
        if max(tensor.sizes) > LARGEST:
            return None
        return tuple(np.zeros(size, np.bool_) for size in tensor.sizes)

    def all_of(self, name: str) -> None:
        """Note that a tensor is read as a whole."""
        masks = self.nothing(name)
        if masks is None:
            self.plain.add(name)
        else:
            self.masks[name] = tuple(~mask for mask in masks)

    def add(self, name: str, masks: Masks) -> None:
        """Note that some cells of a tensor are read."""
        known = self.masks.get(name)
        self.masks[name] = masks if known is None else tuple(a | b for a, b in zip(known, masks, strict=True))

    def through(self, node: Node, stage: Stage) -> None:
        """Note what a stage reads for those of its results that are read."""
        whole = not self.plain.isdisjoint(node.outputs)
        read = [self.masks[name] for name in node.outputs if name in self.masks]
        if not read and not whole:
            return
        sizes = {tuple(mask.size for mask in masks) for masks in read}
        data = [name for name in node.inputs if name and (tensor := self.tensors.get(name)) and tensor.source]
        if whole or len(sizes) > 1:
            for name in data:
                self.all_of(name)
            return
        output = tuple(np.logical_or.reduce(each) for each in zip(*read, strict=True))
        given = tuple(self.tensors.get(name, Tensor(None, None)) if name else None for name in node.inputs)
        for number, name in enumerate(node.inputs):
            if name in data:
                masks = _read_by(NodeCall(node, given), stage, number, output)
                if masks is None:
                    self.all_of(name)
                else:
                    self.add(name, masks)


def _read_by(call: NodeCall, stage: Stage, number: int, output: Masks) -> Masks | None:
    """Return which cells of an input some cells of the output depend on; None for all of them."""
    tensor = call.tensors[number]
    if tensor is None or tensor.view is None or tensor.shape is None or len(tensor.sizes) != len(output):
        return None
    sizes = tensor.sizes
    if not tensor.view.axes:
        return None  # a list of places
    if stage.kind == "transposed" and len(stage.axes) == len(output) and number < 2:
        return tuple(map(_undone, stage.axes, output, sizes))
    if stage.kind == "merge" and call.operator != "Concat":
        same = tuple(mask.size for mask in output) == sizes
        return output if same else None
    if number and call.operator != "Concat":
        return None
    if stage.kind in ("convolution", "pooling") and len(stage.axes) == len(output):
        # What a Pad in front has added counts as padding of the windows, and is a part of this tensor.
        added = [tensor.padded[axis] if tensor.padded else (0, 0) for axis in tensor.view.axes]
        axes = [
            replace(axis, input_size=axis.input_size + a + b, pad_begin=axis.pad_begin - a, pad_end=axis.pad_end - b)
            for axis, (a, b) in zip(stage.axes, added, strict=True)
        ]
        followed = tensor.view.axes == stage.spatial and tuple(axis.input_size for axis in axes) == sizes
        return tuple(map(_windows, axes, output)) if followed else None
    mixed = _mixed(call, tensor.view)
    if call.operator in NORMALISED:
        return tuple(
            np.ones(size, np.bool_) if axis in mixed else mask
            for axis, mask, size in zip(tensor.view.axes, output, sizes, strict=True)
        )
    lines = _lines(call)
    if lines is None or len(lines) != len(output):
        return None
    # What a roll moves beyond one end comes from the other.
    mode = "wrap" if call.operator == "aten.roll" else ""
    mode = str(call.attribute("mode", "constant")) if call.operator == "Pad" else mode
    return tuple(
        np.ones(size, np.bool_) if axis in mixed else _followed(line, mask, size, mode)
        for axis, line, mask, size in zip(tensor.view.axes, lines, output, sizes, strict=True)
    )


def _windows(axis: Axis, output: Mask) -> Mask:
    """Return the cells under the taps of some windows."""
    windows = axis.windows(np.flatnonzero(output))
    if axis.adaptive or axis.dilation == 1:
        return _covered(windows.first, windows.first + windows.count, axis.input_size)
    read = np.zeros(axis.input_size, np.bool_)
    for tap in range(int(windows.count.max(initial=0))):
        read[windows.first[windows.count > tap] + tap * axis.dilation] = True
    return read


def _covered(first: NDArray[np.int64], stop: NDArray[np.int64], size: int) -> Mask:
    """Return the cells in some intervals, cut to the map."""
    first, stop = np.clip(first, 0, size), np.clip(stop, 0, size)
    kept = stop > first
    turns = np.zeros(size + 1, np.int64)
    np.add.at(turns, first[kept], 1)
    np.add.at(turns, stop[kept], -1)
    return np.cumsum(turns[:-1]) > 0


def _undone(axis: Axis, output: Mask, size: int) -> Mask:
    """Return the input cells of a transposed convolution whose window in the output holds a cell that is read."""
    windows = axis.windows(np.arange(size, dtype=np.int64))
    step = 1 if axis.adaptive else axis.dilation
    read = np.zeros(size, np.bool_)
    for tap in range(int(windows.count.max(initial=0))):
        held = windows.count > tap
        read[held] |= output[np.minimum(windows.first[held] + tap * step, output.size - 1)]
    return read


def _mixed(call: NodeCall, view: View) -> set[int]:
    """Return the spatial axes of which a normalisation takes all cells together."""
    if call.operator not in NORMALISED:
        return set()
    rank = len(call.shape(0))
    behind = NORMALISED[call.operator]
    first = int(call.attribute("axis", -1)) % rank
    if not behind and call.node.opset < FLATTENED and call.operator != "LpNormalization":
        behind, first = True, int(call.attribute("axis", 1)) % rank
    return {axis for axis in view.axes if (axis >= first if behind else axis == first)}


def _lines(call: NodeCall) -> tuple[Line, ...] | None:
    """Return which cells of its input each cell of a stage reads, as the receptive field of this stage alone."""
    tensors = tuple(
        replace(tensor, view=receptive_field.pixels(tensor.view.axes)) if tensor is not None and tensor.view else tensor
        for tensor in call.tensors
    )
    try:
        view = outcome_of(NodeCall(call.node, tensors)).view
    except (OperatorError, UnknownShapeError):
        return None
    if view is None or view.paths is None or view.context or any(len(paths) != 1 for paths in view.paths):
        return None
    return tuple(paths[0] for paths in view.paths)


def _followed(line: Line, output: Mask, size: int, mode: str) -> Mask:
    """Return the cells that some cells read, each an interval; a Pad that mirrors reads inner cells once more."""
    cells = np.flatnonzero(output)
    firsts, stops = [], []
    for phase, interval in enumerate(line.phases):
        if interval is not None:
            turns = cells[cells % len(line.phases) == phase] // len(line.phases) * line.step
            firsts.append(interval[0] + turns)
            stops.append(interval[1] + 1 + turns)
    first, stop = (np.concatenate(each) if each else np.zeros(0, np.int64) for each in (firsts, stops))
    read = _covered(first, stop, size)
    outside = first[(first < 0) | (first >= size)]
    if mode and mode != "constant" and outside.size:
        read |= _repeated(outside, size, mode)
    return read


def _repeated(places: NDArray[np.int64], size: int, mode: str) -> Mask:
    """Return the cells of a map that padding repeats at places outside of it."""
    read = np.zeros(size, np.bool_)
    if mode == "edge":
        read[np.clip(places, 0, size - 1)] = True
    elif mode == "wrap":
        read[places % size] = True
    else:
        turned = places % max(1, 2 * (size - 1))
        read[np.minimum(turned, 2 * (size - 1) - turned) % size] = True
    return read
