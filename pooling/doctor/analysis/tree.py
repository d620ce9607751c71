"""The stages of a network as a tree of blocks, by the modules that their names speak of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ..network import Network, Stage
from .memory import memory_of

__all__ = ["Block", "block_path", "tree_of"]

DEEPEST = 32
"""Levels that are told apart; modules are not nested deeper, names out of files may be."""


@dataclass(frozen=True)
class Block:
    """A module with the stages in it, or a single stage.

    Attributes
    ----------
    name : str
        Its own part of the path; modules that hold a single module only stand in one, such as ``"m.model"``.
    path : str
        Of the module, with dots; of a single stage, the name of the stage.
    stage : Stage or None
        The stage, where it is a single one.
    children : tuple of Block
        What is in it, in the order of the first stage of each.
    stages : tuple of Stage
        All stages in it, at any depth.
    output_shape : tuple of int
        Of the last result in it that leaves it; empty where that is not known.
    parameters, macs : int
        Of all stages in it.
    training_bytes : int
        Memory of the results of all stages in it, as training keeps them.
    inference_bytes : int
        The largest memory of maps that is alive while a stage in it runs, maps of other blocks included.
    known : bool
        Whether all stages in it were understood; otherwise the numbers are lower bounds.
    """

    name: str
    path: str
    stage: Stage | None
    children: tuple[Block, ...] = field(repr=False)
    stages: tuple[Stage, ...] = field(repr=False)
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    training_bytes: int
    inference_bytes: int
    known: bool = True

    @property
    def kind(self) -> str:
        """The operator of a single stage; of a module, how many blocks or stages are in it."""
        if self.stage is not None:
            return self.stage.operator
        numbered = [child for child in self.children if child.name.split(".")[0].isdecimal()]
        if len(numbered) > 1 and len(numbered) == len(self.children):
            return f"{len(numbered)} blocks"
        return f"{len(self.stages)} stages"

    def walk(self, depth: int | None = None) -> Iterator[tuple[int, Block]]:
        """Yield what is in the block with its level, each block before what is in it, down to `depth` levels."""
        waiting = [(1, child) for child in reversed(self.children)]
        while waiting:
            level, block = waiting.pop()
            if depth is not None and level > depth:
                continue
            yield level, block
            waiting += [(level + 1, child) for child in reversed(block.children)]


def block_path(name: str) -> tuple[str, ...]:
    """Return the modules and the stage that a name speaks of.

    Modules are told apart by dots, as PyTorch names them, or by slashes, as its exporter writes them, which repeats the
    name of a container in those of what it holds.

    Examples
    --------
    >>> block_path("layer1.0.conv1")
    ('layer1', '0', 'conv1')
    >>> block_path("/layer1/layer1.0/conv1/Conv")
    ('layer1', '0', 'conv1', 'Conv')
    >>> block_path("stem")
    ('stem',)
    """
    parts: list[str] = []
    before = ""
    for component in name.split("/"):
        if not component:
            continue
        own = component.removeprefix(f"{before}.") if before else component
        parts += [part for part in own.split(".") if part]
        before = component
    if not parts:
        return (name,)
    return (*parts[: DEEPEST - 1], ".".join(parts[DEEPEST - 1 :])) if len(parts) > DEEPEST else tuple(parts)


def tree_of(network: Network, input_bytes: int) -> Block:
    """Put the stages of a network into a tree of blocks.

    Parameters
    ----------
    network : Network
        At some input size.
    input_bytes : int
        Memory of its input.

    Returns
    -------
    Block
        The whole network; its numbers are the totals.

    Examples
    --------
    >>> from pooling.doctor import read
    >>> network = read("conv3x8@stem conv3x8@body.0.conv conv3x8@body.1.conv", (1, 3, 8, 8))
    >>> for level, block in tree_of(network, 768).walk():
    ...     print("  " * level + block.name, block.kind, block.parameters)
      stem Conv 224
      body 2 blocks 1168
        0.conv Conv 584
        1.conv Conv 584
    """
    memory = memory_of(network, input_bytes)
    context = _Context(memory.live, {name: [] for name in memory.live}, set(network.outputs))
    for stage in network.stages:
        for name in stage.inputs:
            context.readers.setdefault(name, []).append(stage.name)
    paths = {stage.name: block_path(stage.name) for stage in network.stages}
    modules = {path[:length] for path in paths.values() for length in range(1, len(path))}
    root = _Module()
    for stage in network.stages:
        path = paths[stage.name]
        if path in modules:  # a module that is a stage itself and holds others has that stage in it
            path = (*path, stage.operator)
        module = root
        for part in path[:-1]:
            module = module.inside(part)
        module.parts.append((path[-1], stage))
    whole = _block(root, network.title, "", context)
    return replace(whole, training_bytes=memory.training, inference_bytes=memory.inference)


@dataclass
class _Module:
    """A module while it is filled."""

    parts: list[tuple[str, Stage | _Module]] = field(default_factory=list)
    modules: dict[str, _Module] = field(default_factory=dict)

    def inside(self, name: str) -> _Module:
        """Return the module of a name in it, which stands where its first stage does."""
        if name not in self.modules:
            self.modules[name] = _Module()
            self.parts.append((name, self.modules[name]))
        return self.modules[name]


@dataclass(frozen=True)
class _Context:
    """What blocks need to know of the network."""

    live: Mapping[str, int]
    readers: dict[str, list[str]]
    outputs: set[str]


def _block(module: _Module, name: str, path: str, context: _Context) -> Block:
    children = []
    for part, inner in module.parts:
        inner_name, inner_path = part, f"{path}.{part}" if path else part
        # A module that holds nothing but one module needs no line of its own.
        while isinstance(inner, _Module) and len(inner.parts) == 1:
            part, only = inner.parts[0]
            if isinstance(only, Stage):
                # The operator is told beside the name.
                inner_name += "" if part.split("_")[0] == only.operator else f".{part}"
            else:
                inner_name, inner_path = f"{inner_name}.{part}", f"{inner_path}.{part}"
            inner = only
        if isinstance(inner, Stage):
            children.append(_leaf(inner, inner_name, context))
        else:
            children.append(_block(inner, inner_name, inner_path, context))
    stages = tuple(stage for child in children for stage in child.stages)
    names = {stage.name for stage in stages}
    leaving = [
        stage
        for stage in stages
        if stage.name in context.outputs or not names.issuperset(context.readers.get(stage.name, []))
    ]
    return Block(
        name,
        path,
        None,
        tuple(children),
        stages,
        (leaving or stages)[-1].output_shape if stages else (),
        sum(child.parameters for child in children),
        sum(child.macs for child in children),
        sum(child.training_bytes for child in children),
        max((child.inference_bytes for child in children), default=0),
        all(child.known for child in children),
    )


def _leaf(stage: Stage, name: str, context: _Context) -> Block:
    return Block(
        name,
        stage.name,
        stage,
        (),
        (stage,),
        stage.output_shape,
        stage.parameters,
        stage.macs,
        stage.output_bytes,
        context.live[stage.name],
        stage.kind != "unknown" and (bool(stage.output_shape) or stage.output_bytes > 0),
    )
