"""A network without a size, and how every stage gets its shape at one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from pooling.arguments import per_axis_shape, plain
from pooling.errors import recast, refusal_of
from pooling.geometry import Axis
from pooling.maps import check_total
from pooling.open_sizes import filled
from pooling.signs import short_repr
from pooling.tool_arguments import MOST_AXES, mapping_of, shape_of

from .. import receptive_field
from ..operators import OPERATORS, SMALL, outcome_of
from ..operators.nodes import ARGUMENTS, Culprit, Node, NodeCall, OperatorError, Outcome, Shape, Tensor
from ..receptive_field import View
from .control import expanded
from .network import Network, NetworkError, OpenShapeError, Stage, no_stage

__all__ = ["Graph", "changes_of", "shape_written", "step_of"]

FLOAT = np.dtype(np.float32)
EXAMPLE_CHANGES = '{"pool1": {"stride": 1}}'
USUAL = ("N", "C", "H", "W")
"""What is most likely where a model says nothing of its input."""


def changes_of(function: str, changes: Any) -> dict[str, dict[str, Any]]:
    """Return arguments to change, by the name of a stage.

    Raises
    ------
    TypeError
        If they are no such mapping.
    """
    return {
        name: {
            argument: plain(value)
            for argument, value in mapping_of(
                function, f"changes[{short_repr(name)}]", each, '{"stride": 1}', "names of arguments"
            ).items()
        }
        for name, each in mapping_of(function, "changes", changes, EXAMPLE_CHANGES, "names of stages").items()
    }


def shape_written(shape: Any) -> Shape:
    """Return the input shape that `Graph.infer` is given; whether a network takes it is told there."""
    read = plain(shape)
    if isinstance(read, tuple) and len(read) <= MOST_AXES and all(type(each) is int for each in read):
        return read
    return shape_of("infer", shape)


@dataclass(frozen=True, eq=False)
class Graph:
    """A network without a size.

    Attributes
    ----------
    name, input_name : str
        As the network has them.
    nodes : tuple of Node
        Each behind those that it reads from.
    constants : mapping
        Tensors that come with the network, by name.
    outputs : tuple of str
        Tensors that leave the network.
    declared : tuple of int or str, or None
        What the model says of the shape of its input.
    dtype : numpy.dtype or None
        Of the input.
    spatial : tuple of int
        Where the spatial axes of the input stand; empty for those behind batch and channels.

    Examples
    --------
    >>> from pooling.doctor import read_graph
    >>> graph = read_graph("conv7x64/2p3@stem pool3/2p1@pool conv3x64 global fc10")
    >>> graph.infer((1, 3, 64, 64)).stage("pool").output_shape
    (1, 64, 16, 16)
    >>> graph.edited({"pool": {"stride": 1}}).infer((1, 3, 64, 64)).stage("conv1").receptive_field.size
    (15, 15)
    """

    name: str
    input_name: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    declared: tuple[int | str, ...] | None = None
    dtype: np.dtype[Any] | None = FLOAT
    spatial: Shape = ()
    opset: int | None = None
    notes: tuple[str, ...] = ()
    others: Mapping[str, tuple[tuple[int | str, ...] | None, np.dtype[Any] | None]] = field(default_factory=dict)
    """Other inputs: what the model says of their shapes, and their types."""
    usual: Shape | None = None
    """The input shape that is assumed where none is given, of networks that declare none."""
    hints: Sequence[tuple[int, ...]] = ()
    """Spatial sizes that the metadata of the model speak of."""
    size_option: str = ""
    """How the library would make the model so that it takes other sizes, where it has an option for that."""

    @property
    def is_open(self) -> bool:
        """Whether its nodes are the same at every input size; otherwise only `infer` and `at` know them."""
        return True

    def windows(self, shape: Shape) -> Sequence[tuple[Axis, ...]] | NetworkError | None:
        """Return the windows of all convolutions and poolings at an input shape, or that it fails there.

        None where there is no quicker way than to ask for the stages.
        """
        return None

    def at(self, shape: Shape) -> Graph:
        """Return a graph whose nodes are those of this one at an input shape."""
        return self

    def edited(self, changes: Mapping[str, Mapping[str, Any]]) -> Graph:
        """Return the graph with other arguments of some nodes, such as ``{"pool1": {"stride": 1}}``.

        Parameters
        ----------
        changes : mapping
            By the name of a stage, arguments by name: ``kernel_size``, ``stride``, ``padding``, ``dilation``,
            ``ceil_mode``, as far as the stage has them.

        Raises
        ------
        NetworkError
            If there is no such stage, or no such argument. Whether the network works with it is told by `infer`.
        """
        changes = changes_of("edited", changes)
        names = [node.name for node in self.nodes]
        for name, arguments in changes.items():
            if name not in names:
                raise no_stage(self.name, name, names)
            for argument in arguments:
                if argument not in ARGUMENTS:
                    raise NetworkError(
                        f"{name}.{argument} cannot be set; what can be set of a stage is {', '.join(ARGUMENTS)}", name
                    )
        nodes = tuple(
            replace(node, changes={**node.changes, **changes[node.name]}) if node.name in changes else node
            for node in self.nodes
        )
        return replace(self, nodes=nodes)

    def started(self, shape: Shape, *, follow: bool = True) -> tuple[dict[str, Tensor], tuple[Node, ...], Shape]:
        """Return what is known before the first node, the nodes that are left, and the spatial axes of the input.

        Parameters
        ----------
        shape : tuple of int
            Of the input.
        follow : bool
            Whether receptive fields are followed.

        Raises
        ------
        NetworkError
            If the input can have no such shape.
        """
        shape = self._checked(shape)
        fits = bool(self.spatial) and max(self.spatial) < len(shape)
        spatial = self.spatial if fits else (tuple(range(2, len(shape))) if 3 <= len(shape) <= 5 else ())
        view = receptive_field.pixels(spatial) if spatial else View((), ())
        if not follow:
            view = replace(view, paths=None)
        settled, nodes = self.settled
        tensors = dict(settled)
        tensors[self.input_name] = Tensor(shape, self.dtype, view, self.input_name, ended=not spatial)
        named = {
            name: size
            for name, size in zip(self.declared or (), shape, strict=False)
            if isinstance(name, str) and name != "?"
        }
        for name, (declared, dtype) in self.others.items():
            sizes = [
                named.get(size, 1 if place == 0 else size) if isinstance(size, str) else size
                for place, size in enumerate(declared or ())
            ]
            known = tuple(size for size in sizes if isinstance(size, int))
            whole = declared is not None and len(known) == len(sizes)
            culprit = None if whole else Culprit(name, "input", "the model leaves its shape open")
            # A mask, or another image, lies on the first one; nothing else depends on what the fields are about.
            lies_on = len(known) == len(shape) and bool(spatial) and all(known[axis] == shape[axis] for axis in spatial)
            its = view if lies_on else View((), ())
            tensors[name] = Tensor(known if whole else None, dtype, its, name, culprit=culprit, ended=not lies_on)
        return tensors, nodes, spatial

    def infer(self, input_shape: Sequence[int] | None = None) -> Network:
        """Give every stage its shape.

        Parameters
        ----------
        input_shape : sequence of int, optional
            Of the network's input; by default what the model declares, or what is usual for layers.

        Raises
        ------
        NetworkError
            If the network does not work at this size; the sentence names the stage where it fails.
        OpenShapeError
            If the model leaves sizes open and no shape is given.
        """
        notes = self.notes
        if input_shape is None:
            if self.usual is None:
                input_shape = self._declared_shape()
            else:
                input_shape = self.usual
                notes = (*notes, f"no input shape was given; {'x'.join(map(str, self.usual))} is assumed")
        shape = self._checked(shape_written(input_shape))
        tensors, nodes, spatial = self.started(shape)
        stages: list[Stage] = []
        counted: set[str] = set()
        culprits: dict[str, Culprit] = {}
        for node in nodes:
            try:
                for each in expanded(node, tensors):
                    stage = _step(each, tensors, counted, culprits)
                    if stage is not None:
                        stages.append(stage)
            except NetworkError as error:
                error.shape = shape
                raise
        leaving = dict.fromkeys(tensors[name].source for name in self.outputs if name in tensors)
        outputs = tuple(name for name in leaving if name and name != self.input_name)
        more = (tuple(stages), outputs, self.opset, notes, spatial, tuple(culprits.values()))
        return Network(self.name, self.input_name, shape, *more)

    def _declared_shape(self) -> Shape:
        """Return the input shape that a model declares; a batch that it leaves open is 1."""
        title = f"{self.name}: its input {self.input_name!r}"
        flag = "give --input-shape {} (in Python: input_shape={})"
        if self.declared is None:
            example = next(filled(USUAL))
            raise OpenShapeError(
                f"{title} has no shape in the model; {flag.format('x'.join(map(str, example)), example)}",
                (),
                self.hints,
            )
        sizes = (*(1 if isinstance(size, str) else size for size in self.declared[:1]), *self.declared[1:])
        if any(isinstance(size, str) for size in sizes):
            last = bool(self.spatial) and self.spatial[-1] < len(sizes) - 1
            example = next(filled(sizes, self.hints, channels_last=last))
            raise OpenShapeError(
                f"{title} leaves sizes open in {'x'.join(map(str, self.declared))}; "
                f"{flag.format('x'.join(map(str, example)), example)}",
                self.declared,
                self.hints,
            )
        return tuple(size for size in sizes if isinstance(size, int))

    @cached_property
    def settled(self) -> tuple[Mapping[str, Tensor], tuple[Node, ...]]:
        """What holds at every size, worked out once: the tensors, and the nodes that are left."""
        tensors, left = dict(self.constants), []
        for node in self.nodes:
            if all(name in tensors for name in node.inputs if name):
                for each in expanded(node, tensors):
                    _step(each, tensors, set(), {})
            else:
                left.append(node)
        return tensors, tuple(left)

    def _checked(self, input_shape: Shape) -> Shape:
        try:
            shape = per_axis_shape(self.name, input_shape)
            check_total(self.name, shape, 1)
        except TypeError:
            raise
        except ValueError as error:
            raise recast(NetworkError, error) from error
        if not shape or 0 in shape:
            raise NetworkError(
                f"{self.name}: input_shape={short_repr(shape)} must have at least one axis and no size 0; give one "
                "such as "
                "1x3x224x224"
            )
        if self.declared is not None and len(shape) != len(self.declared):
            raise NetworkError(
                f"{self.name}: input_shape={short_repr(shape)} has {len(shape)} axes, but the input "
                f"{self.input_name!r} of the "
                f"model has {len(self.declared)}: {'x'.join(map(str, self.declared))}"
            )
        return shape


def step_of(node: Node, tensors: dict[str, Tensor]) -> Iterator[Stage]:
    """Work out what a node gives, and put it to the tensors; yield the stages where data passes through it.

    That is one for most nodes, and those inside of it for a node of control flow. The parameters of a stage are all
    that it reads, of weights that others read too as well.
    """
    for each in expanded(node, tensors):
        stage = _step(each, tensors, set(), {})
        if stage is not None:
            yield stage


def _step(node: Node, tensors: dict[str, Tensor], counted: set[str], culprits: dict[str, Culprit]) -> Stage | None:
    """Work out what a node gives; return a stage where data passes through it."""
    given = tuple(tensors.get(name, Tensor(None, None)) if name else None for name in node.inputs)
    call = NodeCall(node, given)
    sources = tuple(dict.fromkeys(tensor.source for tensor in given if tensor is not None and tensor.source))
    try:
        result = outcome_of(call)
        if not sources or result.kind == "size" or node.operator in SIZES:
            _keep(node, result, tensors, given)
            return None
        for shape in result.shapes:
            if shape is not None:
                check_total(node.operator, shape, 16)
    except (OperatorError, ValueError, TypeError, OverflowError) as error:
        # The stage takes the place of whatever function and node the error names.
        reason = refusal_of(error).reason
        raise NetworkError(f"stage {node.name!r} ({node.operator}): {reason}", node.name) from error
    dtypes = tuple(result.dtypes) or (given[0].dtype if given and given[0] is not None else FLOAT,)
    output = result.shapes[0] if result.shapes else None
    if output is not None and 0 in output:
        result = replace(result, view=View((), ()), views=())  # a tensor without elements shows nothing
    known = _known(node, result, given)
    if known.is_lost and result.view is not None:
        result = replace(result, view=replace(result.view, paths=None), views=())
    view = result.view
    for number, name in enumerate(node.outputs):
        if name:
            shape = result.shapes[number] if number < len(result.shapes) else None
            if number < len(result.views):
                its = result.views[number]
            else:
                its = view if shape is not None and shape == output else None
                its = its or (_same_cells(result, shape) if shape is not None else None)
            padded = result.padded if number == 0 else ()
            culprit = known.culprit
            if culprit is None and not known.ended and not (its is not None and its.paths):
                culprit = Culprit(node.name, node.operator, f"what its output {name!r} holds is not known")
            tensors[name] = Tensor(
                shape,
                dtypes[min(number, len(dtypes) - 1)],
                its,
                node.name,
                padded=padded,
                culprit=culprit,
                ended=known.ended,
                scattered=known.scattered,
            )
    if known.culprit is not None:
        culprits.setdefault(known.culprit.name, known.culprit)
    parameters = result.free_parameters
    for tensor in _trained(node, given):
        for name, number in (tensor.weights if tensor is not None else {}).items():
            if name not in counted:
                counted.add(name)
                parameters += number
    main = next((tensor for tensor in given if tensor is not None and tensor.source), None)
    first = given[0] if given and given[0] is not None and given[0].source else main
    field_of_cells = None
    if view is not None and output is not None:
        field_of_cells = receptive_field.summary(view, view.sizes(output))
    lost = view.lost if view is not None and field_of_cells is None and result.kind != "unknown" else ""
    return Stage(
        node.name,
        node.operator,
        result.kind,
        sources,
        (first.shape if first is not None else None) or (),
        output or (),
        result.axes,
        result.layer,
        field_of_cells,
        result.macs,
        parameters,
        0 if output is None else math.prod(output) * (dtypes[0] or FLOAT).itemsize,
        view.axes if view is not None else (),
        "; ".join(filter(None, (result.note, lost))),
        view.grid if view is not None else (),
        "" if known.culprit is None else known.culprit.name,
        known.ended,
        node.source_line,
    )


SIZES = ("Shape", "Size")
"""Operators whose results are no data, even where they are not known."""
MAPS_ONLY = ("convolution", "transposed", "pooling", "resize", "pad")
"""Kinds of stages that make a map."""


class _Known(NamedTuple):
    """What is known of the result of a node, as `Tensor` has it."""

    culprit: Culprit | None = None
    ended: bool = False
    scattered: Culprit | None = None

    @property
    def is_lost(self) -> bool:
        return self.culprit is not None and not self.ended


def _known(node: Node, result: Outcome, given: Sequence[Tensor | None]) -> _Known:
    """Say whether a result is a map, none any more, or not known, and which operator is to blame for that."""
    view, data = result.view, [tensor for tensor in given if tensor is not None and tensor.source]
    scattered = next((tensor.scattered for tensor in data if tensor.scattered), None)
    all_ended = all(tensor.ended for tensor in data)
    earlier = next((tensor.culprit for tensor in data if tensor.culprit), None)
    if result.kind == "unknown":
        # Nothing makes a map out of what is none any more that anybody could follow.
        return _Known(earlier or _blamed(node, result, given), all_ended, scattered)
    if any(tensor.is_lost for tensor in data):
        return _Known(earlier or _blamed(node, result, given))
    if view is not None and view.paths:
        return _Known()
    reason = "" if view is None else view.lost.removeprefix(UNFOLLOWED)
    if view is not None and view.paths is None and view.axes:
        return _Known(scattered or Culprit(node.name, node.operator, reason))
    meets_a_map = any(tensor.view is not None and tensor.view.paths and tensor.view.axes for tensor in data)
    if scattered is not None and (meets_a_map or (result.kind in MAPS_ONLY and not _looks_at_one_cell(result))):
        return _Known(scattered)
    if scattered is None and view is not None and view.paths is None:
        scattered = Culprit(node.name, node.operator, reason)
    return _Known(None, True, scattered)


def _looks_at_one_cell(result: Outcome) -> bool:
    return bool(result.axes) and all(
        axis.effective_kernel_size == axis.stride == 1 and axis.pad_begin == axis.pad_end == 0 for axis in result.axes
    )


UNFOLLOWED = "receptive field not followed: "


def _blamed(node: Node, result: Outcome, given: Sequence[Tensor | None]) -> Culprit:
    """Name the operator because of which a node was passed over: itself, or one that works out a size that it needs."""
    known = node.known and node.operator in OPERATORS
    if known:
        sizes = (tensor.culprit for tensor in given if tensor is not None and not tensor.source and tensor.culprit)
        lacking = next(sizes, None)
        if lacking is not None:
            return lacking
        why = result.note.removeprefix("passed over: ").partition(";")[0] or "what it needs is not known"
    else:
        ours = node.known or "." in node.operator
        why = "the doctor has no rule for it" if ours else f"opset {node.opset} has no such operator"
        # Of an operator of torch, more may be known than that.
        said = result.note.removeprefix("passed over: ").partition(";")[0].removeprefix(f"{node.operator} ")
        if node.rule is not None and said and not said.startswith("is not known here"):
            why = f"it {said}"
    return Culprit(node.name, node.operator, why)


def _lost_size(node: Node, given: Sequence[Tensor | None], shape: Shape | None) -> Culprit | None:
    """Name the operator to blame where numbers that may be sizes are not known."""
    if shape is not None and math.prod(shape) > SMALL:
        return None  # weights, of which no value is kept
    earlier = next((tensor.culprit for tensor in given if tensor is not None and tensor.culprit), None)
    return earlier or Culprit(node.name, node.operator, "what it makes of sizes is not worked out")


def _trained(node: Node, given: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """Return the inputs whose weights count: running means and variances of a normalisation are not trained."""
    return given[:3] if node.operator == "BatchNormalization" else given


def _same_cells(result: Outcome, shape: Shape) -> View | None:
    """Return the view of another output that has the same spatial sizes, such as a part of Split."""
    view, first = result.view, result.shapes[0]
    if view is None or first is None or len(shape) != len(first):
        return None
    axes = [axis for axis, each in enumerate(view.layout) if each.factors] or view.axes
    return view if all(shape[axis] == first[axis] for axis in axes) else None


def _keep(node: Node, result: Outcome, tensors: dict[str, Tensor], given: Sequence[Tensor | None]) -> None:
    """Keep what no data is in: weights, and sizes that the model works out."""
    weights = {
        name: number
        for tensor in _trained(node, given)
        if tensor is not None
        for name, number in tensor.weights.items()
    }
    dtypes = tuple(result.dtypes) or (given[0].dtype if given and given[0] is not None else None,)
    for number, name in enumerate(node.outputs):
        if name:
            value = result.values[number] if number < len(result.values) else None
            shape = result.shapes[number] if number < len(result.shapes) else None
            dtype = value.dtype if value is not None else dtypes[min(number, len(dtypes) - 1)]
            if node.operator == "ConstantOfShape" and shape and dtype is not None and dtype.kind == "f":
                weights = {name: math.prod(shape)}  # a weight that the model makes instead of holding it
            shape = shape if value is None else value.shape
            culprit = _lost_size(node, given, shape) if value is None else None
            tensors[name] = Tensor(shape, dtype, value=value, weights=weights, culprit=culprit)
