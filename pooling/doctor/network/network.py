"""What the doctor knows of a network: its stages, each at the shape that it has for one input size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from pooling.geometry import Axis
from pooling.layer import Layer
from pooling.reporting.formats import joined
from pooling.signs import short_repr
from pooling.tool_arguments import instance_of

from ..operators.nodes import Culprit
from ..receptive_field import ReceptiveField

__all__ = ["MOST", "Loss", "Network", "NetworkError", "OpenShapeError", "Stage", "no_stage"]

MOST = 0.5
"""The share of the stages with weights, or of the weights, behind which most of a network is not known."""

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

    Examples
    --------
    >>> from pooling.doctor import NetworkError, read
    >>> try:
    ...     read("conv3x8 pool9", (1, 3, 8, 8))
    ... except NetworkError as error:
    ...     print(error.stage, error.shape)
    pool1 (1, 3, 8, 8)
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

    Examples
    --------
    >>> import onnx.parser
    >>> from pooling.doctor import OpenShapeError, read
    >>> model = onnx.parser.parse_model(
    ...     '<ir_version: 8, opset_import: ["": 18]> g (float[1, 3, h, w] x) => (float[1, 3, a, b] y)'
    ...     "{ y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x) }"
    ... )
    >>> try:
    ...     read(model)
    ... except OpenShapeError as error:
    ...     print(error.shape)
    (1, 3, 'h', 'w')
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
    grid : tuple of int
        Spatial sizes of what is a list of places, such as 14 and 14 of 196 tokens, whose axes do not stand alone.
    culprit : str
        Where its shape, its cost or its receptive field are not known, the operator to blame: the first one on the
        way that was not understood, by its name. Empty where all is known.
    ended : bool
        Whether it is no map any more, nor the places of one: it was pooled, flattened or multiplied.
    source_line : str
        File and line of the code that called the operator, where that is known.

    Examples
    --------
    >>> from pooling.doctor import read
    >>> stage = read("conv7x64/2p3@stem pool3/2p1@pool", (1, 3, 64, 64)).stage("pool")
    >>> stage.operator, stage.inputs, stage.output_shape
    ('MaxPool', ('stem',), (1, 64, 16, 16))
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
    grid: tuple[int, ...] = ()
    culprit: str = ""
    ended: bool = False
    source_line: str = ""

    @property
    def is_lost(self) -> bool:
        """Whether it is not known what it shows of the input."""
        return bool(self.culprit) and not self.ended and self.receptive_field is None

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
        """Spatial sizes of the output; of a list of tokens those of the map that they are of."""
        return self.grid or tuple(self.output_shape[axis] for axis in self.spatial)


@dataclass(frozen=True)
class Loss:
    """What is not known of a network because of one operator.

    Attributes
    ----------
    stage, operator : str
        The operator to blame; the name is that of a node, where it works on sizes only and is no stage.
    why : str
        The reason, as a clause.
    stages : tuple of str
        Names of the stages whose shape, cost or receptive field are not known because of it; itself, if it is one.
    weights, macs : int
        Parameters and multiply-adds of these stages, as far as they are known.
    without_shape, without_macs, without_field : int
        How many of them have no known shape, no known cost, no known receptive field.
    """

    stage: str
    operator: str
    why: str
    stages: tuple[str, ...]
    weights: int
    macs: int
    without_shape: int
    without_macs: int
    without_field: int

    @property
    def what(self) -> str:
        """What is not known, in words: ``"their shapes and the receptive fields of 3 of them are not known"``."""
        counts = (
            ("shapes", self.without_shape),
            ("multiply-adds", self.without_macs),
            ("receptive fields", self.without_field),
        )
        whole = [noun for noun, count in counts if count == len(self.stages)]
        parts = [f"the {noun} of {count} of them" for noun, count in counts if 0 < count < len(self.stages)]
        if not whole and not parts:
            return "what depends on it is not known"
        return f"{joined([*([f'their {joined(whole)}'] if whole else []), *parts])} are not known"


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
    culprits : tuple of Culprit
        The operators behind which something is not known.
    unread_parameters : int
        Of a module: parameters that nothing reads in a forward pass, such as those of auxiliary heads.
    ended_at : str
        Of a module: the stage behind which it could not be followed, and which the unread parameters may lie behind.

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
    culprits: tuple[Culprit, ...] = ()
    unread_parameters: int = 0
    ended_at: str = ""

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
        """Multiply-adds of all stages; a lower bound where the network is not `complete`."""
        return sum(stage.macs for stage in self.stages)

    @property
    def parameters(self) -> int:
        """Parameters of all stages, and those that no stage reads; running means and variances are not among them."""
        return sum(stage.parameters for stage in self.stages) + self.unread_parameters

    @property
    def output_bytes(self) -> int:
        """Memory of all results, each held once, as training holds them; a lower bound as `macs` is."""
        return sum(stage.output_bytes for stage in self.stages)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the stages that were passed over: what they and those behind them cost and need is not known."""
        return tuple(stage.name for stage in self.stages if stage.kind == "unknown")

    @property
    def complete(self) -> bool:
        """Whether `macs`, `parameters` and `output_bytes` count every stage; otherwise they are lower bounds."""
        return not self.unknown

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What is not known, once for each operator that is to blame, in the order of the network."""
        return tuple(
            _loss(
                culprit, [each for each in self.stages if each.culprit == culprit.name], self._unreached(culprit.name)
            )
            for culprit in self.culprits
        )

    @property
    def lost_share(self) -> float:
        """The share of the stages with weights, or of the weights, that lie behind a loss, whichever is larger."""
        heavy = [stage for stage in self.stages if stage.parameters] or list(self.stages)
        stages = sum(bool(stage.culprit) for stage in heavy) / max(1, len(heavy))
        behind = sum(stage.parameters for stage in self.stages if stage.culprit)
        behind += self.unread_parameters if self.ended_at else 0
        return max(stages, behind / max(1, self.parameters))

    def _unreached(self, culprit: str) -> int:
        """Return the parameters that may lie behind what is to blame because the module was followed no further."""
        ends = any(stage.name == self.ended_at and stage.culprit == culprit for stage in self.stages)
        return self.unread_parameters if ends else 0

    @property
    def is_mostly_lost(self) -> bool:
        """Whether more than `MOST` of the network lies behind operators that were not understood."""
        return self.lost_share > MOST

    def stage(self, name: str) -> Stage:
        """Return the stage of that name.

        Raises
        ------
        NetworkError
            If there is none.
        TypeError
            If `name` is no str.
        """
        remedy = "write one of [each.name for each in network.stages]"
        name = str.__str__(instance_of("stage", "name", name, str, remedy))
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise no_stage(self.name, name, [stage.name for stage in self.stages])


def _loss(culprit: Culprit, behind: Sequence[Stage], unreached: int) -> Loss:
    return Loss(
        culprit.name,
        culprit.operator,
        culprit.why,
        tuple(stage.name for stage in behind),
        sum(stage.parameters for stage in behind) + unreached,
        sum(stage.macs for stage in behind),
        sum(not stage.output_shape for stage in behind),
        sum(stage.kind == "unknown" for stage in behind),
        sum(stage.is_lost for stage in behind),
    )


SHOWN_NAMES = 12
"""Stages that an error sentence lists."""


def no_stage(network: str, name: str, names: Sequence[str]) -> NetworkError:
    """Return the error that a network has no stage of a name."""
    shown = ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
    known = f"its stages are {shown}" if names else "it has no stages"
    return NetworkError(f"{network}: there is no stage {short_repr(name)}; {known}")
