"""What the doctor knows of a network: its stages, each at the shape that it has for one input size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from pooling.geometry import Axis
from pooling.layer import Layer

from ..receptive_field import ReceptiveField

__all__ = ["Network", "NetworkError", "OpenShapeError", "Stage", "no_stage"]

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
        Parameters that the stage is the first to read.
    output_bytes : int
        Memory of the output.
    spatial : tuple of int
        Where the spatial axes stand in `output_shape`; empty where there are none.
    note : str
        What a reader should know, in one sentence.
    source_line : str
        File and line of the code that called the operator, where that is known.
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
    source_line: str = ""

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
    unread_parameters : int
        Of a module: parameters that nothing reads in a forward pass, such as those of auxiliary heads.

    Examples
    --------
    >>> from pooling.doctor import read
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
    """

    name: str
    input_name: str
    input_shape: tuple[int, ...]
    stages: tuple[Stage, ...]
    outputs: tuple[str, ...]
    opset: int | None = None
    notes: tuple[str, ...] = ()
    spatial: tuple[int, ...] = ()
    unread_parameters: int = 0

    @property
    def title(self) -> str:
        """Its name; of a file, without its folders."""
        return PurePath(self.name).name if self.name.endswith(".onnx") else self.name

    @property
    def spatial_sizes(self) -> tuple[int, ...]:
        """The spatial sizes of its input."""
        return tuple(self.input_shape[axis] for axis in self.spatial)

    @property
    def macs(self) -> int:
        """Multiply-adds of all stages."""
        return sum(stage.macs for stage in self.stages)

    @property
    def parameters(self) -> int:
        """Parameters of all stages, and those that no stage reads; running means and variances are not among them."""
        return sum(stage.parameters for stage in self.stages) + self.unread_parameters

    @property
    def output_bytes(self) -> int:
        """Memory of all results, each held once, as training holds them."""
        return sum(stage.output_bytes for stage in self.stages)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the stages that were passed over: what they and those behind them cost and need is not known."""
        return tuple(stage.name for stage in self.stages if stage.kind == "unknown")

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
        raise no_stage(self.name, name, [stage.name for stage in self.stages])


SHOWN_NAMES = 12
"""Stages that an error sentence lists."""


def no_stage(network: str, name: str, names: Sequence[str]) -> NetworkError:
    """Return the error that a network has no stage of a name."""
    shown = ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
    known = f"its stages are {shown}" if names else "it has no stages"
    return NetworkError(f"{network}: there is no stage {name!r}; {known}")
