"""The graph of a module, which runs the module again at every input size and for every change."""

from __future__ import annotations

import copy
import io
import random
import sys
import traceback
import warnings
from collections import Counter, OrderedDict
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from pooling.errors import refusal_of, value_error
from pooling.signs import first_line

from ....operators.nodes import ARGUMENTS, Node, Shape
from ...graph import Graph, changes_of, shape_written
from ...network import Network, NetworkError, no_stage
from .capture import TORCH, AtenCall, Key, KnowledgeEnds, Recorder, Trial, dtype_of, label_of, run_module
from .inputs import about_call, example_shape, first_layout, named_arguments
from .records import is_recorded, write
from .scope import Names, place_of
from .size_run import MOST_KEPT, Memory, SizeRun, Windows, has_windows
from .stand_ins import stand_in

__all__ = ["ModuleGraph", "from_module"]

Changes = Mapping[str, Mapping[str, Any]]
INPUT = "input"
NETWORKS_KEPT = 64
SETTABLE = ("conv", "max_pool", "avg_pool", "adaptive_", "fractional_")
"""Beginnings of what stages are called whose arguments can be changed."""
MOVES = frozenset(["Expand", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze", "aten.copy_"])
"""Operators that are left out where nobody reads what they give."""
CHECKED_BEYOND = (64, 37)
"""Pixels more than the first size, at which a graph that is to hold at every size is compared with the module."""


def from_module(
    module: Any,
    input_shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    *,
    name: str = "",
    notes: Sequence[str] = (),
    made_for: Shape | None = None,
) -> Graph:
    """Read a module of torch. It is run in evaluation mode on tensors without data; it stays as it is.

    Parameters
    ----------
    module : torch.nn.Module
    input_shape : sequence of int, or mapping, optional
        Of the input, or of each input by its name; of a model of timm, what its configuration says is the default.
    name : str
        What it is called; by default its class.
    notes : sequence of str
        What a reader should know.
    made_for : tuple of int, optional
        The input shape that it is known to work with.

    Raises
    ------
    NetworkError
        If it cannot be run.
    ValueError
        If no shape is given.
    """
    module = unwrapped(module)
    if "_modules" not in vars(module):
        raise NetworkError(
            f"{type(module).__name__} is not initialised; its __init__ must begin with super().__init__()"
        )
    given: Mapping[str, Sequence[int]]
    if input_shape is None:
        found = configured_shape(module)
        if found is None:
            raise value_error(
                "examine",
                f"of {type(module).__name__} says no input shape",
                f"give one: input_shape={example_shape(module)} (on the command line --input-shape "
                f"{'x'.join(map(str, example_shape(module)))}), or one for "
                'each input: input_shape={"image": (1, 3, 224, 224), "mask": (1, 1, 224, 224)}',
                argument=("source", type(module)),
            )
        given = {INPUT: found}
        shown = "x".join(map(str, found))
        notes = (*notes, f"no input shape was given; {shown} is the size in the model's own configuration")
    elif isinstance(input_shape, Mapping):
        given = input_shape
    else:
        given = {INPUT: tuple(input_shape)}
    shapes = {str(key): tuple(int(size) for size in shape) for key, shape in given.items()}
    for key, shape in shapes.items():
        if not shape or min(shape) < 1:
            raise value_error(
                "examine", f"has {key!r} of {shape}", "use sizes of at least 1", argument=("input_shape", input_shape)
            )
    named = isinstance(input_shape, Mapping)
    other = made_for or configured_shape(module)
    trials = [shapes]
    if not named:
        full = completed_shape(shapes[INPUT], other or _asked_for(module))
        # Two numbers may be rows of features, but no image.
        trials = [shapes, {INPUT: full}] if len(full) > 3 > len(shapes[INPUT]) and other is None else [{INPUT: full}]
        if other is not None:
            # What is asked for may not work: then the network is what it is at the size that it was made for.
            trials.append({INPUT: other})
    runners = [Runner(module, trial, named, name or type(module).__name__) for trial in trials]
    good = (each for each in runners if each.trace(each.shapes[each.main], {}).failure is None)
    return next(good, runners[-1 if other is None else 0]).graph(tuple(notes))


def _asked_for(module: Any) -> Shape | None:
    """Return a shape with the channels and axes that the first convolution asks for; its sizes are not known."""
    layout = first_layout(module)
    return None if layout is None else (1, layout[0], *(0,) * layout[1])


def completed_shape(shape: Sequence[int], known: Shape | None) -> Shape:
    """Put batch and channels before sizes, as they are known, or one and three.

    Examples
    --------
    >>> completed_shape((224,), None), completed_shape((3, 32, 48), None), completed_shape((64, 48), (1, 1, 32, 32))
    ((1, 3, 224, 224), (1, 3, 32, 48), (1, 1, 64, 48))
    """
    sizes = tuple(int(each) for each in shape)
    first = known[:2] if known is not None and len(known) > 2 else (1, 3)
    axes = len(known) - 2 if known is not None and len(known) > 2 else 2
    if len(sizes) == 1:
        return (*first, *(sizes * axes))
    if len(sizes) == axes < 3:
        return (*first, *sizes)
    if len(sizes) == axes + 1 and sizes[0] == first[1]:
        return (first[0], *sizes)
    return sizes


def configured_shape(module: Any) -> Shape | None:
    """Return the input shape that the configuration of a model of timm names."""
    for attribute in ("pretrained_cfg", "default_cfg"):
        found = getattr(module, attribute, None)
        size = found.get("input_size") if isinstance(found, Mapping) else getattr(found, "input_size", None)
        if size is not None and len(tuple(size)) == 3:
            return (1, *(int(each) for each in size))
    return None


def _size_option(module: Any) -> str:
    """Return the argument with which timm makes a model that takes other sizes; empty of all other models."""
    fixed = any(
        type(each).__module__.startswith("timm.") and getattr(each, "dynamic_img_size", None) is False
        for each in module.modules()
    )
    return "dynamic_img_size=True" if fixed else ""


def unwrapped(module: Any) -> Any:
    """Return the module itself of what is wrapped for other devices or for the compiler."""
    while type(module).__name__ in ("DataParallel", "DistributedDataParallel", "OptimizedModule"):
        module = getattr(module, "module", None) or module._orig_mod
    if isinstance(module, torch.jit.ScriptModule):
        raise NetworkError(
            f"{type(module).__name__} is a TorchScript module, whose code cannot be followed; give the nn.Module that "
            "it was made from, or export it to ONNX"
        )
    return module


@dataclass(frozen=True)
class Trace:
    """What a run of a module gave: the graph at one size, and why it went no further."""

    graph: Graph
    free: Graph | None
    failure: NetworkError | None
    ended_at: str = ""
    """The stage behind which it could not be followed."""


class Runner:
    """A module that can be run at any size; what was found is kept."""

    def __init__(self, module: Any, shapes: Mapping[str, Shape], named: bool, name: str) -> None:
        self.name = name
        self.shapes = dict(shapes)
        self.named = named
        self.main = min(
            self.shapes,
            key=lambda each: [4, 5, 3].index(len(self.shapes[each])) if len(self.shapes[each]) in (3, 4, 5) else 3,
        )
        self.total = sum(each.numel() for each in _parameters(module, name).values())
        self.module = _without_weights(module, name)
        self.parameters = _parameters(self.module, name)
        self.modules: dict[int, list[str]] = {}
        for key, each in self.module.named_modules(remove_duplicate=False):
            # What torch.compile puts around a module is none of its parts.
            self.modules.setdefault(id(each), []).append(key.replace("._orig_mod", ""))
        kinds = [each.dtype for each in self.parameters.values() if each.dtype.is_floating_point]
        self.dtype = kinds[0] if kinds else torch.float32
        self.traces: dict[Any, Trace] = {}
        self.networks: OrderedDict[Any, Network] = OrderedDict()
        self.keys: dict[str, Key] = {}
        self.memory = Memory()
        self.traced = 0
        """Times that the module was run and written down as a whole."""
        self._is_quick: bool | None = None
        self._free: Graph | None = None
        self._is_free: bool | None = None
        self._whole_keys = False

    def graph(self, notes: tuple[str, ...]) -> Graph:
        """Return the graph, read at the first size."""
        base = self.shapes[self.main]
        trace = self.trace(base, {})
        if trace.failure is not None and not trace.graph.nodes:
            raise trace.failure
        whole = trace.graph
        if self.is_free():
            assert self._free is not None
            free = self._free
            return FreeGraph(
                self.name,
                self.main,
                free.nodes,
                free.constants,
                free.outputs,
                dtype=free.dtype,
                notes=(*notes, *whole.notes),
                usual=base,
                whole=free.nodes,
                total=self.total,
            )
        return ModuleGraph(
            self.name,
            self.main,
            whole.nodes,
            whole.constants,
            whole.outputs,
            dtype=whole.dtype,
            notes=(*notes, *whole.notes),
            others=whole.others,
            usual=base,
            size_option=_size_option(self.module),
            runner=self,
            whole=whole.nodes,
        )

    # -----------------------------------------------------------------------------------------------------------------

    def network(self, shape: Shape, changes: Changes) -> Network:
        """Return the network at a size.

        Raises
        ------
        NetworkError
            If the module does not work at this size.
        """
        key = shape, _frozen(changes)
        found = self.networks.get(key)
        if found is None:
            found = self.networks[key] = self._network(shape, changes)
            if len(self.networks) > NETWORKS_KEPT:
                self.networks.popitem(last=False)
        return found

    def _network(self, shape: Shape, changes: Changes) -> Network:
        trace = self.trace(shape, changes)
        network = trace.graph.infer(shape)
        if trace.failure is not None:
            raise trace.failure
        if not trace.ended_at:
            return network
        # What follows may be made of maps, though what the module asked for is none.
        stages = tuple(replace(each, ended=each.ended and each.name != trace.ended_at) for each in network.stages)
        return replace(network, stages=stages, ended_at=trace.ended_at)

    def is_free(self) -> bool:
        """Whether the graph of the first size holds at every size, by the doctor's own rules."""
        if self._is_free is None:
            base = self.shapes[self.main]
            self._free = self.trace(base, {}).free
            self._is_free = (
                self._free is not None
                and len(base) >= 3
                and all(self._agrees(_larger(base, range(2, len(base)), more)) for more in CHECKED_BEYOND)
            )
        return self._is_free

    def _agrees(self, shape: Shape) -> bool:
        """Whether the graph of the first size gives at another one what the module gives there."""
        assert self._free is not None
        mine = _inferred(self._free, shape)
        trace = self.trace(shape, {})
        theirs = trace.failure or _inferred(trace.graph, shape)
        if isinstance(mine, Network) and isinstance(theirs, Network):
            return _shapes(mine) == _shapes(theirs)
        if isinstance(mine, Network) or isinstance(theirs, Network) or mine.stage != theirs.stage:
            return False
        # Behind the stage where both fail nothing was compared. One axis alone may get further.
        base = self.shapes[self.main]
        alone = [_larger(base, [axis], shape[axis] - base[axis]) for axis in range(2, len(base))]
        return shape in alone or all(map(self._agrees, alone))

    def trace(self, shape: Shape, changes: Changes) -> Trace:
        """Run the module once."""
        key = shape, _frozen(changes)
        if key not in self.traces:
            found = self._trace(shape, changes)
            if len(self.traces) > 2:
                return found
            self.traces[key] = found
        return self.traces[key]

    def windows(self, shape: Shape) -> Windows | None:
        """Return the windows of all convolutions and poolings at an input shape; None where the module fails there."""
        if len(self.memory.results) > MOST_KEPT:
            self.memory.forget()
        recorder = Recorder(self.modules, self.parameters, write, is_recorded, {})
        inputs = {name: torch.empty(size, dtype=self.dtype, device="meta") for name, size in self._sizes(shape).items()}
        dtype = dtype_of(inputs[self.main])
        others = {name: (tuple(each.shape), dtype) for name, each in inputs.items() if name != self.main}
        graph = Graph(self.name, self.main, (), {}, (), dtype=dtype, others=others)
        try:
            known, _, _ = graph.started(shape, follow=False)
            for name, each in inputs.items():
                recorder.give(each, name)
            run = SizeRun(recorder, self.memory, {name: (known[name], each) for name, each in inputs.items()})
            with _quiet(), _as_it_was(self.module), torch.inference_mode(), recorder:
                args, kwargs = self._arguments(inputs)
                with run, suppress(KnowledgeEnds):
                    run_module(self.module, args, kwargs)
            run.finish()
        except (Exception, SystemExit):  # code of others may end the program
            return None
        return tuple(run.windows)

    def is_quick(self) -> bool:
        """Whether runs that only ask for windows find those that the whole network has, at the first size and beyond.

        At the first size twice: in the second run everything is known from the first.
        """
        if self._is_quick is None:
            base = self.shapes[self.main]
            beyond = _larger(base, range(2, len(base)), CHECKED_BEYOND[-1])
            self._is_quick = all(
                self.windows(shape) == self._windows_of_network(shape) for shape in (base, base, beyond)
            )
        return self._is_quick

    def _windows_of_network(self, shape: Shape) -> Windows | None:
        try:
            stages = self.network(shape, {}).stages
        except NetworkError:
            return None
        return tuple(each.axes for each in stages if has_windows(each))

    def _trace(self, shape: Shape, changes: Changes) -> Trace:
        self.traced += 1
        by_key = {self.keys[name]: each for name, each in changes.items() if name in self.keys}
        recorder = Recorder(self.modules, self.parameters, write, is_recorded, by_key)
        reads = SizeReads(recorder)
        inputs = {}
        for name, size in self._sizes(shape).items():
            inputs[name] = torch.empty(size, dtype=self.dtype, device="meta")
            recorder.give(inputs[name], name)
        failure: NetworkError | None = None
        notes: list[str] = []
        outputs: list[Any] = []
        ended_at = ""
        try:
            with _quiet(), _as_it_was(self.module), torch.inference_mode(), recorder:
                args, kwargs = self._arguments(inputs)
                with reads:
                    result = run_module(self.module, args, kwargs)
            outputs = [each for each in _tensors(result) if recorder.is_data(each)]
            if not outputs and any(self._is_from_elsewhere(each, recorder) for each in _tensors(result)):
                recorder.end(
                    "forward", [], "returns what was made where nothing is followed, as in another thread", None
                )
            if not outputs and recorder.nodes:
                notes.append(
                    "forward returns no tensor that depends on its input; the results that nothing reads are taken as "
                    "the outputs"
                )
        except KnowledgeEnds as end:
            where = recorder.nodes[-1].source_line
            ended_at = recorder.nodes[-1].name
            notes.append(
                f"what happens behind {end.operator}{f' ({where})' if where else ''} is not known: it {end.why}"
            )
        except (Exception, SystemExit) as error:  # code of others may end the program
            failure = self._failure(error, recorder, shape)
        names = [recorder.name(each) for each in outputs] if failure is None else []
        whole = bool(names)
        if not whole and recorder.nodes:
            read = {each for node in recorder.nodes for each in node.inputs}
            names = [each for node in recorder.nodes for each in node.outputs if each not in read]
        elif failure is None and not recorder.nodes and not names:
            failure = NetworkError(f"{self.name}: no tensor passes from its input to an output", "forward", shape)
        nodes = _without_dead_ends(recorder.nodes, names)
        renamed = self._names(nodes, recorder.keys)
        if not self.keys or (failure is None and not self._whole_keys):
            self.keys = {new: recorder.keys[old] for old, new in renamed.items()}
            self._whole_keys = failure is None
        others = {
            name: (tuple(map(int, each.shape)), dtype_of(each)) for name, each in inputs.items() if name != self.main
        }
        nodes = [replace(node, name=renamed[node.name]) for node in nodes]
        graph = Graph(
            self.name,
            self.main,
            tuple(nodes),
            recorder.constants,
            tuple(dict.fromkeys(names)),
            dtype=dtype_of(inputs[self.main]),
            notes=tuple(notes),
            others=others,
            usual=shape,
        )
        free = None
        if recorder.is_free and not reads.found and whole and not others and not changes:
            rules = {renamed[old]: rule for old, rule in recorder.free_rules.items() if old in renamed}
            free = replace(graph, nodes=tuple(replace(node, rule=rules[node.name]) for node in nodes))
        return Trace(graph, free, failure, renamed.get(ended_at, ""))

    def _is_from_elsewhere(self, tensor: Any, recorder: Recorder) -> bool:
        """Whether a result was made by calls that were not seen."""
        own = chain.from_iterable((*each._buffers.values(), *vars(each).values()) for each in self.module.modules())
        return tensor.is_meta and not recorder.is_known(tensor) and not any(tensor is each for each in own)

    def _sizes(self, shape: Shape) -> dict[str, Shape]:
        """Return the shape of each input; those that have the sizes of the main one follow it."""
        base = self.shapes[self.main]
        found = {}
        for name, size in self.shapes.items():
            if name == self.main:
                size = shape
            elif len(size) == len(base) == len(shape) and size[2:] == base[2:]:
                size = (shape[0] if size[0] == base[0] else size[0], *size[1:2], *shape[2:])
            found[name] = size
        return found

    def _arguments(self, inputs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return what the module is called with."""
        if self.named:
            return named_arguments(self.name, self.module, inputs)
        values = list(inputs.values())
        if any(each.__module__.startswith("torchvision.models.detection") for each in type(self.module).__mro__):
            return [list(values[0].unbind(0))], {}  # a list of images
        return values, {}

    def _failure(self, error: Exception | SystemExit, recorder: Recorder, shape: Shape) -> NetworkError:
        """Say why a module could not be run, and at which stage."""
        found = recorder.failed
        said = first_line(error).rstrip(": ") or type(error).__name__
        if isinstance(error, NetworkError):
            return error
        given = self._sizes(shape)
        hint = about_call(self.module, given if self.named else {INPUT: shape}, self.named)
        if found is not None and found[0] is error:
            call = found[1]
            stage = f"{call.place.module or 'forward'}/{label_of(call.name)}"
            names = self._names_of_keys()
            key = recorder._key(call.place.module, label_of(call.name), 1)
            stage = names.get(key, stage)
            reason = (self._reason(call, recorder) or said) + hint
            return NetworkError(f"stage {stage!r} ({_where(call)}): {reason}", stage, shape)
        place = _place_of_error(error, self.modules)
        stage = place[0] or "forward"
        where = f" ({place[1]})" if place[1] else ""
        kind = "" if isinstance(error, (RuntimeError, AssertionError, ValueError)) else f"{type(error).__name__}: "
        return NetworkError(f"{self.name}: stage {stage!r}{where}: {kind}{said}{hint}", stage, shape)

    def _names_of_keys(self) -> dict[Key, str]:
        return {key: name for name, key in self.keys.items()}

    def _reason(self, call: AtenCall, recorder: Recorder) -> str:
        """Return what the doctor's own rule says of a call that failed; empty where it says nothing."""
        trial = Trial(recorder, {})
        call.outputs = []
        try:
            trial.write(call)
        except ValueError as error:
            return refusal_of(error).reason
        except Exception:  # the records expect results, which there are none of
            return ""
        return ""

    def _names(self, nodes: Sequence[Node], keys: Mapping[str, Key]) -> dict[str, str]:
        """Name the stages: by their module alone where the module is all that there is."""
        counts = Counter(keys[node.name][0] for node in nodes)
        known = {*chain.from_iterable(self.modules.values()), *counts}
        parents = {name[:place] for name in known for place, letter in enumerate(name) if letter == "."}
        firsts: dict[str, str] = {}
        for node in nodes:
            module = keys[node.name][0]
            if (
                module
                and module not in parents
                and module not in firsts
                and (counts[module] == 1 or node.operator in WEIGHTED)
            ):
                firsts[module] = node.name
        renamed = {}
        for node in nodes:
            module = keys[node.name][0]
            renamed[node.name] = module if firsts.get(module) == node.name else node.name
        return renamed


WEIGHTED = frozenset(
    [
        "AveragePool",
        "BatchNormalization",
        "Conv",
        "ConvTranspose",
        "Gather",
        "Gemm",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "MatMul",
        "MaxPool",
        "PRelu",
        "RMSNormalization",
        "Resize",
    ]
)
"""Operators that a module is named after."""


class SizeReads(TorchFunctionMode):
    """Notes whether the code of a module asks for sizes of tensors that data passes through."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder
        self.found = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        func, args, kwargs = stand_in(self.recorder, func, args, kwargs or {})
        if not self.found and func in ASKS_FOR_SIZES and args and self.recorder.is_data(args[0]):
            self.found = True
        return func(*args, **kwargs)


TENSOR: Any = torch.Tensor
ASKS_FOR_SIZES = {
    TENSOR.shape.__get__,
    TENSOR.size,
    TENSOR.stride,
    TENSOR.numel,
    TENSOR.nelement,
    TENSOR.__len__,
    TENSOR.unbind,
    TENSOR.__iter__,
    torch.unbind,
    torch.numel,
}


@dataclass(frozen=True, eq=False)
class FreeGraph(Graph):
    """The graph of a module whose code never asks for sizes: what it calls is the same at every one."""

    whole: tuple[Node, ...] = ()
    """The nodes as they were read; with others, this is a part of the network."""
    total: int = 0
    """Parameters of the module."""

    def infer(self, input_shape: Sequence[int] | None = None) -> Network:
        """Give every stage its shape; see `Graph.infer`."""
        network = super().infer(self.usual if input_shape is None else input_shape)
        if [node.name for node in self.nodes] != [node.name for node in self.whole]:
            return network
        return replace(network, unread_parameters=max(0, self.total - network.parameters))


@dataclass(frozen=True, eq=False)
class ModuleGraph(Graph):
    """The graph of a module; at another size, or with changes, the module runs again."""

    runner: Runner | None = None
    whole: tuple[Node, ...] = ()
    """The nodes as they were read; with others, this is a part of the network."""
    changed: tuple[tuple[str, Mapping[str, Any]], ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether its nodes are the same at every input size."""
        return False

    def at(self, shape: Shape) -> Graph:
        """Return the graph that the module is at an input shape."""
        return self._runner.trace(shape, dict(self.changed)).graph

    def edited(self, changes: Changes) -> Graph:
        """Return the graph with other arguments of some nodes; see `Graph.edited`."""
        changes = changes_of("edited", changes)
        nodes = {node.name: node for node in self.nodes}
        for name, arguments in changes.items():
            if name not in nodes:
                raise no_stage(self.name, name, list(nodes))
            for argument in arguments:
                if argument not in ARGUMENTS:
                    known = ", ".join(ARGUMENTS)
                    raise NetworkError(f"{name}.{argument} cannot be set; what can be set of a stage is {known}", name)
            label = self._runner.keys.get(name, ("", "", 0))[1]
            if arguments and not label.startswith(SETTABLE):
                raise NetworkError(
                    f"stage {name!r} ({nodes[name].operator}): {nodes[name].operator} has no {next(iter(arguments))}; "
                    "it has nothing that can be set",
                    name,
                )
        merged = {name: dict(arguments) for name, arguments in self.changed}
        for name, arguments in changes.items():
            merged[name] = {**merged.get(name, {}), **arguments}
        return replace(self, changed=tuple(merged.items()))

    def windows(self, shape: Shape) -> Windows | NetworkError | None:
        """Return the windows at an input shape, or that it fails there; None where only `infer` can tell."""
        runner = self._runner
        if self.changed or self.nodes is not self.whole or not runner.is_quick():
            return None
        found = runner.windows(shape)
        return NetworkError(f"{self.name} does not work", shape=shape) if found is None else found

    def infer(self, input_shape: Sequence[int] | None = None) -> Network:
        """Give every stage its shape; see `Graph.infer`."""
        runner = self._runner
        shape = runner.shapes[runner.main] if input_shape is None else self._checked(shape_written(input_shape))
        network = runner.network(shape, dict(self.changed))
        read = sum(stage.parameters for stage in network.stages)
        notes = (*self.notes, *(each for each in network.notes if each not in self.notes))
        network = replace(network, notes=notes, unread_parameters=max(0, runner.total - read))
        return network if self.nodes is self.whole else self._part(network)

    @property
    def _runner(self) -> Runner:
        assert self.runner is not None
        return self.runner

    def _part(self, network: Network) -> Network:
        """Return the stages that this part of the network has."""
        kept = {node.name for node in self.nodes}
        # Who reads what is left out reads what that read.
        behind: dict[str, tuple[str, ...]] = {}
        stages = []
        for stage in network.stages:
            inputs = tuple(dict.fromkeys(each for name in stage.inputs for each in behind.get(name, (name,))))
            if stage.name in kept:
                stages.append(replace(stage, inputs=inputs))
            else:
                behind[stage.name] = inputs
        made = {name: node.name for node in self.nodes for name in node.outputs}
        outputs = tuple(dict.fromkeys(made[name] for name in self.outputs if name in made))
        ends = tuple(dict.fromkeys(each for name in outputs or network.outputs for each in behind.get(name, (name,))))
        return replace(network, stages=tuple(stages), outputs=ends, unread_parameters=0)


# ---------------------------------------------------------------------------------------------------------------------


def _parameters(module: Any, name: str) -> dict[str, Any]:
    found = dict(module.named_parameters())
    for key, parameter in found.items():
        if torch.nn.parameter.is_lazy(parameter):
            raise NetworkError(
                f"{name}: its parameter {key!r} has no shape yet; call the module once, so that its lazy layers get "
                "theirs"
            )
    return found


KEPT = 1 << 16
"""Elements up to which buffers and other tensors keep their values, which code may ask for."""


def _without_weights(module: Any, name: str) -> Any:
    """Return a copy of a module that has the shapes of its parameters only, in evaluation mode."""
    memo: dict[int, Any] = {}
    for each in module.modules():
        for parameter in each._parameters.values():
            if parameter is not None:
                empty = torch.empty_like(parameter, device="meta", requires_grad=False)
                memo[id(parameter)] = torch.nn.Parameter(empty, requires_grad=False)
        others = [*each._buffers.values(), *(value for key, value in vars(each).items() if not key.startswith("__"))]
        for tensor in others:
            if isinstance(tensor, torch.Tensor) and id(tensor) not in memo:
                memo[id(tensor)] = _copied(tensor)
    # Parameters first: a buffer may share one.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = copy.deepcopy(module, dict(memo))
            except Exception:
                found = copy.deepcopy(module, {**memo, **_shared(module, memo)})
    except Exception as error:
        raise NetworkError(
            f"{name} cannot be copied without its weights ({first_line(error)}); give the function that makes it, as "
            "package.module:factory, or a module that copy.deepcopy takes"
        ) from error
    return found.eval()


def _shared(module: Any, memo: Mapping[int, Any]) -> dict[int, Any]:
    """Return the attributes of modules that cannot be copied, such as locks and files, which a copy shares then."""
    found = {}
    for each in module.modules():
        for key, value in vars(each).items():
            if not key.startswith("_") or key not in OF_MODULES:
                try:
                    copy.deepcopy(value, dict(memo))
                except Exception:
                    found[id(value)] = value
    return found


OF_MODULES = frozenset(vars(torch.nn.Module()))
"""Attributes that every module has."""


def _copied(tensor: Any) -> Any:
    tensor = tensor.detach()
    if tensor.is_meta or tensor.numel() > KEPT or tensor.layout != torch.strided:
        return torch.empty_like(tensor, device="meta")
    return tensor.to("cpu", copy=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave random numbers as they are, and let torch run as it is written, without fused attention and compilers.

    What the code of a module prints is none of the doctor's output.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    numbers, numbers_of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - what code of others has
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.random.fork_rng(devices=[]), _uncompiled(), redirect_stdout(io.StringIO()):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        random.setstate(numbers)
        np.random.set_state(numbers_of_numpy)  # noqa: NPY002


def _uncompiled() -> AbstractContextManager[object]:
    """Let functions under ``torch.compile`` run as they are; where nobody imported the compiler there are none."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


@contextmanager
def _as_it_was(module: Any) -> Iterator[None]:
    """Give modules back what they had before a run: code may keep results in attributes."""
    held = [
        (each, dict(vars(each)), dict(each._buffers), dict(each._parameters))
        for each in module.modules()
        if not isinstance(each, torch.jit.ScriptModule)  # whose code can keep nothing
    ]
    try:
        yield
    finally:
        for each, attributes, buffers, parameters in held:
            vars(each).clear()
            vars(each).update(attributes)
            each._buffers.clear()
            each._buffers.update(buffers)
            each._parameters.clear()
            each._parameters.update(parameters)


def _tensors(result: Any) -> list[Any]:
    """List the tensors in what a module returns, in objects too."""
    found, waiting, seen = [], list(pytree.tree_leaves(result)), set()
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, torch.Tensor):
            found.append(each)
        elif hasattr(each, "__dict__") and id(each) not in seen and not isinstance(each, type):
            seen.add(id(each))
            waiting += pytree.tree_leaves(list(vars(each).values()))
    return found


def _without_dead_ends(nodes: Sequence[Node], outputs: Sequence[str]) -> list[Node]:
    """Leave out what only moves cells and is read by nobody."""
    read, kept = set(outputs), []
    for node in reversed(nodes):
        if node.operator in MOVES and not read.intersection(node.outputs):
            continue
        read.update(node.inputs)
        kept.append(node)
    return kept[::-1]


def _larger(shape: Shape, axes: Container[int], more: int) -> Shape:
    return tuple(size + more if axis in axes else size for axis, size in enumerate(shape))


def _inferred(graph: Graph, shape: Shape) -> Network | NetworkError:
    try:
        return graph.infer(shape)
    except NetworkError as error:
        return error


def _shapes(network: Network) -> list[tuple[str, Shape]]:
    return [(stage.name, stage.output_shape) for stage in network.stages]


def _frozen(changes: Changes) -> Any:
    return tuple(sorted((name, tuple(sorted(each.items(), key=str))) for name, each in changes.items()))


def _where(call: AtenCall) -> str:
    return f"{call.name}, {call.place.line}" if call.place.line else call.name


def _place_of_error(error: BaseException, modules: Names) -> tuple[str, str]:
    """Return the module in whose code an error was raised, and the line."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if not frames:
        return "", ""
    return place_of(frames[-1], modules, TORCH, run_module.__code__)
