"""The examination: a network at one input size, what becomes of an object in it, and what is found."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from pooling.arguments import names_checked, per_axis, real, word
from pooling.errors import type_error, value_error
from pooling.open_sizes import TRIED, filled
from pooling.reporting.formats import amount, by, memory
from pooling.signs import counted, printable, short_repr
from pooling.tool_arguments import instance_of, path_of, words_of

from .analysis.cost import downstream_macs_saved
from .analysis.effective_field import EffectiveField, effective_fields
from .analysis.heads import Head, heads_of
from .analysis.input_sizes import AxisSizes, declared_shape, input_sizes
from .analysis.object_footprint import Objects, follow_object
from .analysis.object_set import RESIZES, ObjectSet, Survival, read_objects, survival_of
from .analysis.tree import Block, tree_of
from .lint import RULES, SEVERITIES, Failure, Finding, LintContext, find
from .network import Graph, Network, NetworkError, OpenShapeError, Stage
from .network.graph import changes_of
from .network.readers import graph_of, input_shape_of, is_of_module, shape_of_input, source_of
from .words import Words

if TYPE_CHECKING:
    from .analysis.shift import StageShift

__all__ = ["OBJECT_SIZE", "TASKS", "Examination", "examine"]

TASKS = ("classification", "detection", "segmentation")
OBJECT_SIZE = 8
"""Pixels of the object that is followed when nobody says how large objects are."""
OBJECT_SHARE = 32
"""Of a signal: the input is so many times as long as that object, to a power of two."""
COLOURS = 3
"""Channels of an image: a shape of three numbers that begins so has no batch, rather than a batch of 3."""


@dataclass(frozen=True, repr=False)
class Examination:
    """What is known of a network after an examination; printed, the most important of it in a few lines.

    Attributes
    ----------
    graph : Graph
        The network without a size, changes included.
    network : Network
        At the input size that was asked for, or at one that works if that does not.
    object_size : tuple of int
        Pixels of the object that was followed, for each spatial axis.
    task : str or None
        ``"classification"``, ``"detection"``, ``"segmentation"``, or not told.
    objects : Objects
        The footprint of the object at each stage, and where it is lost.
    sizes : tuple of AxisSizes
        Which input sizes work, and for which nothing is dropped.
    findings : tuple of Finding
        The gravest first; without those that were ignored.
    failure : Failure or None
        Where the network does not work at the input shape that was asked for: that shape, and why.
    ignored : tuple of str
        What findings were left out.
    image : path or array, optional
        What `shifts` are measured on.
    sample_rate : float, optional
        Samples per second of a signal, so that lengths are told in seconds too.
    object_set : ObjectSet or None
        The objects of a data set, which `survival` is about.

    Examples
    --------
    >>> from pooling.doctor import examine
    >>> examination = examine("conv3x8/2@stem pool2 conv3 global fc10", (1, 3, 64, 64), object_size=8)
    >>> examination.object_size, examination.network.stage("pool1").output_shape
    ((8, 8), (1, 8, 16, 16))
    >>> [finding.code for finding in examination.findings]
    ['D401']
    """

    graph: Graph
    network: Network
    object_size: tuple[int, ...]
    task: str | None
    objects: Objects
    sizes: tuple[AxisSizes, ...]
    findings: tuple[Finding, ...]
    failure: Failure | None = None
    ignored: tuple[str, ...] = ()
    image: Any = None
    sample_rate: float | None = None
    object_set: ObjectSet | None = None

    @property
    def words(self) -> Words:
        """What the input and its cells are called: pixels, samples or voxels."""
        return Words(len(self.network.spatial), self.sample_rate)

    @property
    def declared(self) -> str:
        """The shape that a model declares for its input, where that fixes its sizes; else empty."""
        return declared_shape(self.graph, self.network)

    @property
    def severity(self) -> str | None:
        """That of the gravest finding."""
        return self.findings[0].severity if self.findings else None

    @property
    def summary(self) -> str:
        """The findings counted: ``"0 errors, 1 warning, 2 notes"``."""
        counts = [(sum(each.severity == word for each in self.findings), word) for word in reversed(SEVERITIES)]
        return ", ".join(counted(number, word) for number, word in counts)

    @cached_property
    def shifts(self) -> tuple[StageShift, ...]:
        """What a move of the image by one pixel does to each stage that downsamples: `shift_sensitivity`."""
        from .analysis.shift import shift_sensitivity

        return shift_sensitivity(self.network, self.image)

    @cached_property
    def heads(self) -> tuple[Head, ...]:
        """The maps that the outputs are read from, by their grids, and the objects they serve: `heads_of`."""
        return heads_of(self.network, self.objects)

    @cached_property
    def effective_fields(self) -> Mapping[str, EffectiveField]:
        """The effective receptive fields by the names of the stages: `effective_fields`."""
        return effective_fields(self.network)

    @cached_property
    def tree(self) -> Block:
        """The stages by modules, with parameters, multiply-adds and memory of each: `tree_of`."""
        element = 4 if self.graph.dtype is None else self.graph.dtype.itemsize
        return tree_of(self.network, math.prod(self.network.input_shape) * element)

    @cached_property
    def survival(self) -> Survival | None:
        """The share of the objects of a data set that keep a cell: `survival_of`; None without a data set."""
        if self.object_set is None:
            return None
        return survival_of(self.network, self.objects, self.heads, self.object_set)

    def __repr__(self) -> str:
        network = self.network
        return printable(f"<Examination of {network.title} at {by(network.input_shape)}: {self.summary}>")

    def __str__(self) -> str:
        network, least = self.network, "" if self.network.complete else "at least "
        codes = ", ".join(dict.fromkeys(each.code for each in self.findings))
        lines = [
            f"{network.title} at {by(network.input_shape)}{f', for {self.task}' if self.task else ''}",
            self._headline(),
            f"{least}{amount(network.macs)} multiply-adds, {amount(network.parameters)} parameters, "
            f"{memory(network.output_bytes)} of maps, {counted(len(network.stages), 'stage')}",
            f"{self.summary}{f': {codes}' if codes else ''}",
            "what was found, and what to try: .findings; the rest: .network.stages, .heads, .sizes, .tree; as a page: "
            "pooling.doctor.report.page.write_page(examination, path)",
        ]
        if self.failure is not None:
            lines.insert(1, f"does not work at {by(self.failure.shape)}: {self.failure.sentence}")
        return printable("\n".join(filter(None, lines)), keep="\n")

    def _headline(self) -> str:
        """Return what the drawing says of the object; empty where nothing can be drawn."""
        try:
            # The drawing is a layer above this one, and is asked for by name.
            return f"{import_module('pooling.doctor.report.drawing').sentence(self)}."
        except ValueError:
            return ""

    def _repr_html_(self) -> str | None:
        """Return the page for a notebook, in a frame of its own; None without what pages need."""
        try:
            # The page is a layer above this one, and is asked for by name.
            document = import_module("pooling.doctor.report.page").page(self)
        except ImportError:
            return None
        frame = "width: 100%; height: 60em; border: 0"
        return f'<iframe srcdoc="{escape(document)}" style="{frame}" title="pooling doctor"></iframe>'

    def of_stage(self, name: str) -> tuple[Finding, ...]:
        """Return what was found at a stage."""
        remedy = "write the name of a stage, or '' for what is found of the whole"
        name = str.__str__(instance_of("of_stage", "name", name, str, remedy))
        return tuple(finding for finding in self.findings if finding.stage == name)

    def macs_saved(self, stage: Stage) -> int:
        """Multiply-adds that a stage saves downstream by making the map smaller: `downstream_macs_saved`."""
        instance_of("macs_saved", "stage", stage, Stage, "give one of examination.network.stages")
        return downstream_macs_saved(self.network, stage)


@names_checked
def examine(
    source: Any,
    input_shape: int | str | Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    *,
    object_size: int | Sequence[int] | None = None,
    task: str | None = None,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
    ignore: Iterable[str] = (),
    image: Any = None,
    sample_rate: float | None = None,
    objects: Any = None,
    objects_resize: str = "letterbox",
) -> Examination:
    """Examine a network: shapes, receptive fields, costs, small objects, input sizes, and what is wrong with them.

    Parameters
    ----------
    source : torch.nn.Module, path, str, onnx.ModelProto, bytes, Sequential, Layer or Graph
        A module of torch, which is run once on tensors without data, in evaluation mode, and stays as it is; the name
        of one, ``"timm:resnet50"``, ``"torchvision:retinanet_resnet50_fpn"``, ``"ultralytics:yolov8n.yaml"`` or
        ``"package.module:factory"``; the path of a program of ``torch.export`` (.pt2). An ONNX model or the path of
        one, layers of this package, or a list of layers such as ``"conv7x64/2p3@stem pool3/2p1 conv3x64"``, see
        `pooling.doctor.read`.
    input_shape : sequence of int, int, str or mapping, optional
        ``(N, C, *S)``; what is left out at the beginning is taken from the model, or 1 and 3 for layers, and one number
        is the size of all spatial axes. A text is read as ``--input-shape`` is, ``"1x3x224x224"``. By default
        what the model says, and 224 for layers; a module without a configuration of timm needs one. Of a module with
        several inputs, a shape for each by name: ``{"image": (1, 3, 224, 224), "mask": (1, 1, 224, 224)}``; the first
        that is an image is the one that fields are about.
    object_size : int or sequence of int, optional
        Pixels of the object to follow, for all spatial axes or for each. By default the median of `objects`, or 8; of
        a signal, the power of two that is nearest to a thirty-second of its samples, if that is more.
    task : {"classification", "detection", "segmentation"}, optional
        What the network is for; some findings depend on it.
    changes : mapping, optional
        Arguments to change first, by the name of a stage: ``{"pool1": {"stride": 1}}``.
    ignore : iterable of str
        Codes of findings to leave out, or beginnings of codes; a text may have several, ``"D101,D4"``.
    image : path or array, optional
        What to measure shift sensitivity on, and to draw behind the figure.
    sample_rate : float, optional
        Of networks with one spatial axis, samples per second: lengths are told in seconds too.
    objects : path or array of shape (n, 2), optional
        The objects of a data set: a file of COCO instances, a CSV file of widths and heights, or widths and heights;
        see `pooling.doctor.analysis.object_set.read_objects`. `Examination.survival` tells how many keep a cell.
    objects_resize : {"letterbox", "stretch", "none"}
        How the images of the data set become the input.

    Returns
    -------
    Examination

    Raises
    ------
    NetworkError
        If the network cannot be read, or does not work at the only size that a model takes. A size that was asked for
        and does not work is a finding and no error, as long as another does.
    TypeError, ValueError
        If an argument is of the wrong kind or has a wrong value.

    Examples
    --------
    >>> from pooling.doctor import examine
    >>> result = examine("conv7x64/2p3@stem pool3/2p1@pool conv3x128/2@down", task="detection")
    >>> for finding in result.findings:
    ...     print(finding.code, finding.severity, finding.stage)
    D202 warning down
    D401 note pool
    D902 note
    >>> result.objects.smallest
    (8, 8)
    """
    task = None if task is None else word("examine", "task", task, TASKS)
    edits = None if changes is None else changes_of("examine", changes)
    objects_resize = word("examine", "objects_resize", objects_resize, RESIZES)
    image = _image(image)
    hidden = words_of("examine", "ignore", ignore, "D101")
    if isinstance(ignore, str):
        hidden = tuple(code for code in re.split(r"[,\s]+", hidden[0].upper()) if code) or hidden
    for code in hidden:
        if not code or not any(known.startswith(code) for known in RULES):
            raise value_error(
                "examine",
                f"has {short_repr(code)}, which begins no code",
                f"they are {', '.join(RULES)}",
                argument=("ignore", ignore),
            )
    rate = _rate(sample_rate)
    source, given = source_of("examine", source), input_shape_of("examine", input_shape)
    asked: tuple[int, ...] | None
    if is_of_module(source):
        # It runs at this size when it is read, so that batch and channels are known then.
        source = graph_of("examine", source, given)
        # Where it does not work at the sizes that were asked for, it was read at others.
        asked = None if given is None or isinstance(given, dict) else _filled_up(given, source.usual or ())
    elif isinstance(given, dict):
        source = source if isinstance(source, Graph) else graph_of("examine", source, None)
        asked = shape_of_input("examine", source, given)
    else:
        asked = given
    # Sizes alone, and colours before them, are completed by what is known of the network.
    brief = asked is not None and (len(asked) < 3 or (len(asked) == 3 and asked[0] == COLOURS))
    graph = source if isinstance(source, Graph) else graph_of("examine", source, None if brief else asked)
    network, failure, assumed = _opened(graph, asked, brief)
    if edits:
        graph = graph.edited(edits)
        network = replace(graph.infer(network.input_shape), notes=network.notes)
    object_set = None if objects is None else read_objects(objects, network.spatial_sizes, objects_resize)
    pixels: tuple[int, ...] = ()
    if network.spatial:
        size = usual_object(network.spatial_sizes) if object_size is None else object_size
        if object_size is None and object_set is not None:
            # Whoever says how large objects are does not ask about those of another size.
            size = tuple(max(1, round(each)) for each in object_set.median)
            assumed = (*assumed, f"no object size was given; {by(size)} pixels are the median of the data set")
        pixels = per_axis("examine", "object_size", size, len(network.spatial))
    followed = follow_object(network, pixels)
    shape = failure.shape if failure is not None else network.input_shape
    sizes = input_sizes(graph, network, [shape[axis] for axis in network.spatial])
    network = replace(network, notes=(*network.notes, *assumed))
    if rate is not None and len(network.spatial) != 1:
        raise value_error(
            "examine",
            f"is for networks with one spatial axis, and this one has {len(network.spatial)}",
            "leave it out",
            argument=("sample_rate", sample_rate),
        )
    found = find(LintContext(graph, network, followed, _claimed(network, sizes), task, failure, rate))
    return Examination(
        graph,
        network,
        pixels,
        task,
        followed,
        sizes,
        tuple(finding for finding in found if not finding.code.startswith(hidden)),
        failure,
        hidden,
        image,
        rate,
        object_set,
    )


def usual_object(sizes: Sequence[int]) -> int:
    """Return the size of the object that is followed when nobody says how large objects are.

    Examples
    --------
    >>> usual_object((224, 224)), usual_object((16000,)), usual_object((5000,)), usual_object((100,))
    (8, 512, 128, 8)
    """
    if len(sizes) != 1:
        return OBJECT_SIZE
    return int(max(OBJECT_SIZE, 2 ** round(math.log2(sizes[0] / OBJECT_SHARE))))


def _rate(rate: Any) -> float | None:
    """Return a sample rate as a number."""
    if rate is None:
        return None
    number = real("examine", "sample_rate", rate)
    if not 0 < number < math.inf:
        raise value_error("examine", "must be a positive number of samples per second", argument=("sample_rate", rate))
    return number


def _image(image: Any) -> Any:
    """Return a picture, or the path of one, which is opened when it is needed."""
    if image is None or isinstance(image, np.ndarray):
        return image
    if isinstance(image, (str, os.PathLike)):
        return path_of("examine", "image", image)
    raise type_error(
        "examine",
        f"image must be a path or a NumPy array, not {type(image).__name__}",
        "give numpy.asarray of a picture",
    )


def _claimed(network: Network, sizes: tuple[AxisSizes, ...]) -> tuple[AxisSizes, ...]:
    """Return sizes as findings may speak of them: none is recommended while some stages are not known."""
    if network.complete:
        return sizes
    return tuple(replace(each, working_near=(), clean_near=()) for each in sizes)


# ---------------------------------------------------------------------------------------------------------------------
# A size that works


def _opened(
    graph: Graph, shape: tuple[int, ...] | None, brief: bool
) -> tuple[Network, Failure | None, tuple[str, ...]]:
    """Infer a network at the size asked for, or where that does not work, at the nearest that does."""
    known, failure, assumed = _somewhere(graph, None if brief else shape)
    if shape is None:
        if failure is not None and graph.usual is None:
            # Who has a model of one size asks about no other.
            raise NetworkError(
                f"{known.name} does not work with an input of {by(failure.shape)}, which is the size that it declares: "
                f"{failure.sentence} (--input-shape examines it at another size; in Python: input_shape=)",
                failure.stage,
                failure.shape,
            )
        return known, failure, assumed
    asked = _completed(shape, known)
    if asked == known.input_shape and failure is None:
        return known, None, ()
    try:
        return graph.infer(asked), None, ()
    except NetworkError as error:
        if not error.stage:
            raise
        failure = Failure(asked, str(error), error.stage)
    # Not the fault of the spatial sizes? Then no other size will do.
    spatial = dict(zip(known.spatial, known.spatial_sizes, strict=True))
    known = graph.infer([spatial.get(axis, size) for axis, size in enumerate(asked)])
    sizes = input_sizes(graph, known, [asked[axis] for axis in known.spatial])
    near = [each.working_near[-1] if each.working_near else each.smallest for each in sizes]
    chosen = dict(zip(known.spatial, near * (len(known.spatial) // len(near)), strict=True))
    with suppress(NetworkError):  # axes may depend on each other; then it stays where it is known to work
        known = graph.infer([chosen.get(axis) or size for axis, size in enumerate(known.input_shape)])
    return known, failure, ()


def _somewhere(graph: Graph, shape: tuple[int, ...] | None) -> tuple[Network, Failure | None, tuple[str, ...]]:
    """Infer a network at any size that works; say what failed before, and what was assumed."""
    try:
        return graph.infer(shape), None, ()
    except OpenShapeError as error:
        reason: NetworkError = error
        for trial in filled(error.shape, error.hints):
            try:
                network = graph.infer(trial)
            except NetworkError as failed:
                reason = failed if reason is error and failed.stage else reason
                continue
            written = by(error.shape)
            return (
                network,
                None,
                (
                    f"the model leaves sizes of its input open ({written}); this is what happens at {by(trial)}, "
                    "another size can be given with --input-shape (in Python: input_shape=)",
                ),
            )
        raise reason from None
    except NetworkError as error:
        if shape is not None:
            # The model may know a size that works, or what is left out of the one that was given.
            try:
                found = _somewhere(graph, None)
            except NetworkError:
                raise error from None
            if not error.stage or len(found[0].input_shape) == len(shape):
                return found
        asked = shape or tuple(size for size in error.shape if isinstance(size, int))
        if not error.stage or len(asked) < 3:
            raise
        for size in TRIED:
            with suppress(NetworkError):
                network = graph.infer((*asked[:2], *(size for _ in asked[2:])))
                return network, Failure(asked, str(error), error.stage), ()
        raise


def _completed(shape: tuple[int, ...], known: Network) -> tuple[int, ...]:
    """Put batch and channels before sizes, and one size on all axes."""
    missing = len(known.input_shape) - len(shape)
    channels_first = len(shape) == len(known.spatial) + 1 and shape[0] == known.input_shape[1]
    if missing > 0 and len(shape) not in (1, len(known.spatial)) and not channels_first and known.spatial:
        raise value_error(
            "examine",
            f"has {len(shape)} sizes, and the input of {known.title} has {len(known.input_shape)} "
            f"({by(known.input_shape)})",
            f"give all of them, or only the {len(known.spatial)} spatial ones",
            argument=("input_shape", shape),
        )
    return _filled_up(shape, known.input_shape)


def _filled_up(shape: tuple[int, ...], known: tuple[int, ...]) -> tuple[int, ...]:
    """Put what is known before sizes, and one size on all spatial axes."""
    missing = len(known) - len(shape)
    if len(shape) == 1 < len(known) - 2:
        return (*known[:2], *(shape * (len(known) - 2)))
    return (*known[:missing], *shape) if missing > 0 else shape
