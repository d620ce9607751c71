"""Let the pooling modules of a network be computed by `pooling`, and undo it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from pooling.errors import type_error
from pooling.signs import counted

from . import nn as replacements
from .nn import MARK

__all__ = ["PatchReport", "PatchedModule", "patch", "unpatch"]

MODULES: dict[type[nn.Module], type[nn.Module]] = {
    getattr(nn, name): getattr(replacements, name) for name in replacements.__all__ if hasattr(nn, name)
}
"""Modules of `torch.nn`, and what takes their places: subclasses of them."""
NOTES = {
    "MaxPool": "of equal elements the first is the maximum, and of several NaN the first, in indices and gradients",
    "AdaptiveMaxPool": "of equal elements the first is the maximum, and of several NaN the first",
    "MaxUnpool": "where indices are equal the last element stays; PyTorch does not say which",
}
"""Rules that PyTorch does not have, by the beginnings of names of modules."""
FUNCTIONS = frozenset(
    f"{name}{n}d"
    for n in (1, 2, 3)
    for name in ("max_pool", "avg_pool", "lp_pool", "adaptive_max_pool", "adaptive_avg_pool")
)


@dataclass(frozen=True)
class PatchedModule:
    """What became of a module.

    Attributes
    ----------
    name, module : str
        Where it is in the network, and what it is.
    replaced : bool
        Whether `pooling` computes it now.
    reason : str
        Why it was left; of one that was replaced, a rule that PyTorch does not have, or nothing.
    """

    name: str
    module: str
    replaced: bool
    reason: str = ""


@dataclass(frozen=True)
class PatchReport:
    """What `patch` did; printed, a line for each module."""

    modules: tuple[PatchedModule, ...]

    @property
    def replaced(self) -> tuple[PatchedModule, ...]:
        """The modules that `pooling` computes."""
        return tuple(each for each in self.modules if each.replaced)

    @property
    def left(self) -> tuple[PatchedModule, ...]:
        """The modules that were left as they are."""
        return tuple(each for each in self.modules if not each.replaced)

    def __str__(self) -> str:
        head = f"{counted(len(self.replaced), 'module')} replaced, {len(self.left)} left as they are"
        lines = [
            f"  {each.name or 'the model'} ({each.module}): {'replaced' if each.replaced else 'left'}"
            + (f": {each.reason}" if each.reason else "")
            for each in self.modules
        ]
        return "\n".join([head, *lines])


def patch(model: nn.Module) -> PatchReport:
    """Let the pooling modules of a network be computed by `pooling`.

    Modules are changed in place, and stay instances of the classes that they were; `unpatch` undoes it. Copies and
    saved models are patched as well. State dicts do not change. Under `torch.compile`, windows of up to
    `pooling.torch.nn.SMALL_WINDOW` elements are left to its own kernels, which fuse them with what is around them.

    Parameters
    ----------
    model : torch.nn.Module
        Anything, a single pooling module too.

    Returns
    -------
    PatchReport
        What was replaced, and what was left and why.

    Raises
    ------
    TypeError
        If `model` is no module.

    Examples
    --------
    >>> import torch
    >>> from pooling.torch import patch, unpatch
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.AvgPool2d(2))
    >>> print(patch(model))
    1 module replaced, 0 left as they are
      2 (AvgPool2d): replaced
    >>> unpatch(model)
    1
    """
    if not isinstance(model, nn.Module):
        raise type_error("patch", f"model must be a torch.nn.Module, not {type(model).__name__}")
    found = []
    for name, module in model.named_modules():
        kind = type(module)
        if kind in MODULES:
            reason = _left(module)
            if not reason:
                module.__class__ = MODULES[kind]
                module.__dict__[MARK] = True
                reason = next((note for begin, note in NOTES.items() if kind.__name__.startswith(begin)), "")
                found.append(PatchedModule(name, kind.__name__, True, reason))
            else:
                found.append(PatchedModule(name, kind.__name__, False, reason))
        elif MARK not in vars(module):
            found += [PatchedModule(name, kind.__name__, False, reason) for reason in _own(module)]
    return PatchReport(tuple(found))


def unpatch(model: nn.Module) -> int:
    """Undo `patch`; returns how many modules are as they were.

    Raises
    ------
    TypeError
        If `model` is no module.
    """
    if not isinstance(model, nn.Module):
        raise type_error("unpatch", f"model must be a torch.nn.Module, not {type(model).__name__}")
    count = 0
    for module in model.modules():
        if vars(module).pop(MARK, False):
            module.__class__ = next(kind for kind, ours in MODULES.items() if ours is type(module))
            count += 1
    return count


def _left(module: nn.Module) -> str:
    """Say why a module of `torch.nn` is left as it is; nothing where it is not."""
    if "forward" in vars(module):
        return "its forward was replaced already"
    power: Any = getattr(module, "norm_type", 2)
    if isinstance(module, (nn.LPPool1d, nn.LPPool2d, nn.LPPool3d)) and (power % 2 or power <= 0):
        return f"norm_type={power:g}: PyTorch sums powers with their signs, pooling those of magnitudes"
    return ""


def _own(module: nn.Module) -> Iterator[str]:
    """Yield why other modules, which pool by themselves, are left as they are."""
    known = next((kind for kind in MODULES if isinstance(module, kind)), None)
    if known is not None and type(module) not in MODULES.values():
        yield f"a subclass of {known.__name__}, which may do something else"
        return
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(type(module).forward)))
    except (OSError, TypeError, SyntaxError, IndentationError):
        return
    called = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    for function in sorted(called & FUNCTIONS):
        yield f"its forward calls {function}; pooling.torch.functional.{function} has the same arguments"
