"""What the doctor knows of a network: its stages, each at the shape that it has for one input size."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from pooling.geometry import Axis
from pooling.layer import EXPORT, Layer, Sequential, is_of_torch, kind_of

if TYPE_CHECKING:
    from .graph import Graph

__all__ = ["Network", "NetworkError", "OpenShapeError", "ReceptiveField", "Stage", "read"]

KINDS = (
    "convolution",
    "transposed",
    "pooling",
    "global",
    "resize",
    "merge",
    "elementwise",
    "reshape",
    "dense",
    "slice",
    "pad",
    "unknown",
)
"""What a stage can be."""


class NetworkError(ValueError):
    """Why a network could not be read or does not work at a size, in one sentence.

    Attributes
    ----------
    stage : str
        The stage where it fails; empty where no stage is to blame.
    shape : tuple of int or str
        The input shape at which that stage fails; empty where no stage is to blame.
    """

    def __init__(self, sentence: str, stage: str = "", shape: tuple[int | str, ...] = ()) -> None:
        super().__init__(sentence)
        self.stage = stage
        self.shape = shape


class OpenShapeError(NetworkError):
    """The model leaves sizes of its input open, and none were given.

    Attributes
    ----------
    shape : tuple of int or str
        What the model says; a str names a size that is open.
    hints : sequence of tuple of int
        Spatial sizes that the metadata of the model speak of.
    """

    def __init__(self, sentence: str, shape: tuple[int | str, ...], hints: Sequence[tuple[int, ...]] = ()) -> None:
        super().__init__(sentence, shape=shape)
        self.hints = hints


@dataclass(frozen=True)
class ReceptiveField:
    """What one cell of a stage sees of the network's input, for each spatial axis.

    Fields are counted as if the input had no borders: what lies in the padding of some stage counts as well.

    Attributes
    ----------
    size : tuple of int
        Input pixels from the first to the last that a cell depends on; of cells that differ, the largest number.
    stride : tuple of Fraction
        Effective stride (jump): input pixels between the fields of neighbouring cells.
    offset : tuple of Fraction
        Centre of the field of output cell 0 in input pixels, where pixel i has its centre at i. Where the fields of
        neighbours are not evenly spaced, as behind a nearest Resize, the line through all of their centres at cell 0.
    aligned : bool
        Whether all paths to the stage share stride and centre.
    uniform : bool
        Whether all cells have fields of the same size, evenly spaced.
    context : bool
        Whether a branch shows every cell the whole input as well, such as the global pooling of squeeze-and-excitation;
        `size` is that of the other branches.
    """

    size: tuple[int, ...]
    stride: tuple[Fraction, ...]
    offset: tuple[Fraction, ...]
    aligned: bool = True
    uniform: bool = True
    context: bool = False


@dataclass(frozen=True)
class Stage:
    """One step of a network.

    Attributes
    ----------
    name : str
        Unique in the network.
    operator : str
        The ONNX operator; the class of the layer where ONNX has none.
    kind : str
        One of `KINDS`.
    inputs : tuple of str
        Names of the stages that it reads from, or of the network's input; weights are not among them.
    input_shape, output_shape : tuple of int
        ``(N, C, *S)`` as a rule, otherwise what it is; empty where it is not known. That of the first input and output.
    axes : tuple of Axis
        The windows, one for each spatial axis; of a transposed convolution those of the convolution that it undoes,
        whose input is the output of the stage.
    layer : Layer, optional
        What pools, for pooling stages.
    receptive_field : ReceptiveField, optional
        None where there are no spatial axes, or where they cannot be followed.
    macs : int
        Multiply-adds of convolutions and products of matrices; biases, poolings and activations count nothing.
    parameters : int
        Trained numbers that the stage is the first to read.
    output_bytes : int
        Memory of the output.
    spatial : tuple of int
        Where the spatial axes stand in `output_shape`; empty where there are none.
    note : str
        What a reader should know, in one sentence.
    """

    name: str
    operator: str
    kind: str
    inputs: tuple[str, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    axes: tuple[Axis, ...] = ()
    layer: Layer | None = None
    receptive_field: ReceptiveField | None = None
    macs: int = 0
    parameters: int = 0
    output_bytes: int = 0
    spatial: tuple[int, ...] = ()
    note: str = ""

    @property
    def dropped(self) -> tuple[int, ...]:
        """Rows or columns at the end of the input that no window reads, for each spatial axis."""
        if self.kind not in ("convolution", "pooling", "global"):
            return ()
        return tuple(axis.dropped for axis in self.axes)

    @property
    def padding_share(self) -> float:
        """The largest share of its taps that a window has in the padding, on the axis that has most."""
        if self.kind not in ("convolution", "pooling", "global"):
            return 0.0
        return max((axis.padding_share for axis in self.axes), default=0.0)

    @property
    def output_size(self) -> tuple[int, ...]:
        """Spatial sizes of the output."""
        return tuple(self.output_shape[axis] for axis in self.spatial)


@dataclass(frozen=True)
class Network:
    """The stages of a network at one input size.

    Attributes
    ----------
    name : str
        Of the model; the file's name, where it was one.
    input_name : str
        Of the input that the stages are about.
    input_shape : tuple of int
        Of that input.
    stages : tuple of Stage
        Each behind those that it reads from.
    outputs : tuple of str
        Names of the stages whose results leave the network.
    opset : int or None
        Version of the default operator set of an ONNX model.
    notes : tuple of str
        What a reader should know of the whole.
    spatial : tuple of int
        Where the spatial axes stand in `input_shape`.

    Examples
    --------
    >>> from pooling.doctor.network import read
    >>> network = read("conv7x64/2p3@stem pool3/2p1@pool conv3x64 global fc10", (1, 3, 224, 224))
    >>> for stage in network.stages:
    ...     print(stage.name, stage.operator, stage.output_shape)
    stem Conv (1, 64, 112, 112)
    pool MaxPool (1, 64, 56, 56)
    conv1 Conv (1, 64, 56, 56)
    global1 GlobalAveragePool (1, 64, 1, 1)
    fc1 Gemm (1, 10)
    >>> network.stage("conv1").receptive_field.size
    (19, 19)
    >>> network.edited({"pool": {"stride": 1}}).stage("conv1").receptive_field.size
    (15, 15)
    >>> network.at((1, 3, 64, 64)).stage("pool").output_shape
    (1, 64, 16, 16)
    """

    name: str
    input_name: str
    input_shape: tuple[int, ...]
    stages: tuple[Stage, ...]
    outputs: tuple[str, ...]
    opset: int | None = None
    notes: tuple[str, ...] = ()
    spatial: tuple[int, ...] = ()
    graph: Graph | None = field(default=None, repr=False, compare=False)

    def stage(self, name: str) -> Stage:
        """Return the stage of that name.

        Raises
        ------
        NetworkError
            If there is none.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise NetworkError(f"{self.name}: there is no stage {name!r}; {_names(self.stages)}")

    def at(self, input_shape: Sequence[int]) -> Network:
        """Return the same network at another input size.

        Raises
        ------
        NetworkError
            If it does not work there; the sentence names the stage where it fails.
        """
        assert self.graph is not None
        return self.graph.walked(tuple(input_shape))

    def edited(self, changes: Mapping[str, Mapping[str, Any]]) -> Network:
        """Return the network with other arguments of some stages, such as ``{"pool1": {"stride": 1}}``.

        Parameters
        ----------
        changes : mapping
            By the name of a stage, arguments by name: ``kernel_size``, ``stride``, ``padding``, ``dilation``,
            ``ceil_mode``, as far as the stage has them.

        Raises
        ------
        NetworkError
            If there is no such stage, it has no such argument, or the network does not work any more.
        """
        assert self.graph is not None
        for name in changes:
            self.stage(name)
        return self.graph.edited(changes).walked(self.input_shape)


def _names(stages: Sequence[Stage]) -> str:
    shown = ", ".join(stage.name for stage in stages[:SHOWN_NAMES])
    return f"its stages are {shown}{', ...' if len(stages) > SHOWN_NAMES else ''}" if stages else "it has no stages"


def _wrong_source(source: Any) -> str:
    """Say what to give instead of what is no network; of layers in a row, which one is none of this package."""
    in_a_row = isinstance(source, (list, tuple)) or (is_of_torch(source) and type(source).__name__ == "Sequential")
    parts = list(source) if in_a_row else []
    found = next((place for place, each in enumerate(parts) if not isinstance(each, Layer)), None)
    which = "" if found is None else f", whose layer {found} is of type {kind_of(parts[found])}"
    said = f"source is of type {kind_of(source)}{which}; "
    if is_of_torch(source) or any(map(is_of_torch, parts)):
        return said + f"{EXPORT}, or give a pooling.Sequential of pooling layers"
    if parts and found is None:
        return said + "put its layers into a pooling.Sequential: Sequential(*layers)"
    return said + (
        "give the path of an ONNX model, its bytes or an onnx.ModelProto, a pooling.Sequential, or a list of layers as "
        'text, such as "conv3x64 pool2"'
    )


SHOWN_NAMES = 12
"""Stages that an error sentence lists."""


def read(source: Any, input_shape: Sequence[int] | None = None) -> Network:
    """Read a network.

    Parameters
    ----------
    source : path, str, onnx.ModelProto, bytes, Sequential or Layer
        An ONNX model or the path of one; layers of this package, also as text, ``"MaxPool2d(3, stride=2)"``; or a
        list of layers typed by hand, see `pooling.doctor.read_layers`. A str that ends in
        ``.onnx``, or that names a file which exists, is a path.
    input_shape : sequence of int, optional
        Of the network's input; what a model says of it is the default, and 1x3x224x224 for layers.

    Returns
    -------
    Network

    Raises
    ------
    NetworkError
        If the network cannot be read, or does not work at this size.
    OpenShapeError
        If an ONNX model leaves sizes open that `input_shape` does not give.
    TypeError
        If `source` is nothing that could be a network.

    Examples
    --------
    >>> import pooling
    >>> from pooling.doctor.network import read
    >>> network = read(pooling.Sequential(pooling.MaxPool2d(3, stride=2), pooling.GlobalAvgPool2d()), (1, 64, 32, 32))
    >>> [stage.name for stage in network.stages]
    ['0_MaxPool2d', '1_GlobalAvgPool2d']
    """
    shape = None if input_shape is None else tuple(input_shape)
    if isinstance(source, (Sequential, Layer)):
        from .read_layers import from_sequential

        return from_sequential(source, shape)
    if isinstance(source, str) and not source.endswith(".onnx") and not os.path.isfile(source):
        from .read_layers import from_text

        return from_text(source, shape)
    if not isinstance(source, (str, bytes, os.PathLike)) and type(source).__name__ != "ModelProto":
        raise TypeError(f"read: {_wrong_source(source)}")
    try:
        from .read_onnx import from_onnx
    except ImportError as error:
        raise NetworkError(
            f"reading ONNX models needs {error.name}; install it with pip install 'ndpooling[onnx]'"
        ) from error
    return from_onnx(source, shape)
