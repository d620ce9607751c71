"""Names of stages as paths of modules, and what several of them have in common."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

__all__ = ["Path", "blocks_in", "label_of", "path_of", "without_common"]

Path = tuple[str, ...]

MAJORITY = 0.6
"""The share of its stages that have to lie in a module for a map to be called by its name."""
NUMBERED = re.compile(r"((?:[a-z_]*(?:layer|block|stage|unit|cell))?)_?(\d+)", re.IGNORECASE)
"""Parts that repeat, by their names: ``0``, ``denselayer12``; ``conv1`` and ``conv2`` are different things."""


def path_of(name: str) -> Path:
    """Return the modules that a stage lies in, and its own name last where that is told.

    Exporters write ``/layer1/layer1.0/conv1/Conv``, the operator last; modules are ``layer1.0.conv1``.

    Examples
    --------
    >>> path_of("/layer1/layer1.0/conv1/Conv"), path_of("layer1.0.conv1"), path_of("conv1")
    (('layer1', '0', 'conv1'), ('layer1', '0', 'conv1'), ('conv1',))
    """
    if "/" not in name:
        return tuple(part for part in name.split(".") if part) or (name,)
    parts = [part for part in name.split("/") if part]
    modules = parts[:-1] or parts
    kept: list[str] = []
    for part in modules:
        if kept and part.startswith(f"{kept[-1]}."):
            kept.pop()
        kept.append(part)
    return tuple(token for part in kept for token in part.split(".") if token) or (name,)


@lru_cache(maxsize=128)
def _majority(paths: tuple[Path, ...]) -> Path:
    """Return the innermost module that most of them lie in."""
    prefix: Path = ()
    while True:
        depth = len(prefix)
        nexts = Counter(path[depth] for path in paths if path[:depth] == prefix and len(path) > depth)
        token, count = max(nexts.items(), key=lambda pair: pair[1], default=("", 0))
        if count < MAJORITY * len(paths) or count == 0:
            return prefix
        prefix = (*prefix, token)


def blocks_in(paths: Sequence[Path], label: Path) -> tuple[int, str]:
    """Count the numbered parts of a module, and say what they are.

    Examples
    --------
    >>> blocks_in([("layer1", "0", "conv1"), ("layer1", "1", "conv1"), ("pool",)], ("layer1",))
    (2, 'blocks')
    """
    depth = len(label)
    found: dict[str, set[str]] = {}
    for path in paths:
        if path[:depth] == label and len(path) > depth + 1:
            match = NUMBERED.fullmatch(path[depth])
            if match is not None:
                found.setdefault(match[1], set()).add(match[2])
    kind, numbers = max(found.items(), key=lambda pair: len(pair[1]), default=("", set[str]()))
    return max(1, len(numbers)), "layers" if kind.lower().endswith("layer") else "blocks"


def label_of(paths: Sequence[Path], others: Sequence[Sequence[Path]]) -> Path:
    """Name a map by the module that most of its stages lie in, such as ``layer1``, if no other map is in that module.

    Parameters
    ----------
    paths : sequence of path
        Of its stages.
    others : sequence of sequences of path
        Of the stages of each other map.

    Returns
    -------
    path
        Where several maps lie in one module, the part of it that most stages of this one lie in. Parts that three maps
        share are no names: the heads of a detector are one module.
    """
    prefix = _majority(tuple(paths))
    if prefix and not any(_majority(tuple(other))[: len(prefix)] == prefix for other in others):
        return prefix
    depth = len(prefix)
    inside = Counter(path[: depth + 1] for path in paths if path[:depth] == prefix and len(path) > depth)
    parts = [{path[: depth + 1] for path in other} for other in others]
    own = [part for part in inside if sum(part in other for other in parts) < 2]
    # Of parts with equally many stages, the first.
    return max(own or inside, key=lambda part: inside[part], default=prefix or paths[0])


def without_common(labels: Sequence[Path]) -> list[str]:
    """Write labels, without a module that all of them lie in.

    Examples
    --------
    >>> without_common([("features", "conv0"), ("features", "denseblock1")])
    ['conv0', 'denseblock1']
    >>> without_common([("model", "2"), ("model", "4")])
    ['model.2', 'model.4']
    """
    first = {label[:1] for label in labels}
    shared = len(first) == 1 and len(labels) > 1 and all(len(each) > 1 and not each[1].isdigit() for each in labels)
    return [".".join(label[1:] if shared else label) for label in labels]
