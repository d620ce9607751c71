"""Choose the compiled kernels: the best level that was built and that this processor runs.

The choice comes before the import, since a module that needs more than the processor has dies with an illegal
instruction while it is being imported. ``POOLING_MAX_ISA`` caps the choice.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

__all__ = ["available_levels", "kernels", "level", "load"]


def _import_compiled(name: str) -> ModuleType:
    """Import one compiled module of this package, or say how to build it when it is not there."""
    if find_spec(f"{__package__}.{name}") is None:
        raise ImportError(
            "the compiled kernels are missing; run `pip install -e .` in the repository "
            f"(this pooling is in {os.path.dirname(__file__)} and has no {name})"
        )
    return import_module(f"{__package__}.{name}")


if TYPE_CHECKING:
    from . import _core
else:
    _core = _import_compiled("_core")


def available_levels() -> tuple[str, ...]:
    """Return the instruction-set levels that were built and that this processor runs.

    Returns
    -------
    tuple of str
        Names as in the x86-64 psABI, or ``"generic"``; weakest first.
    """
    supported = _core.supported_levels()
    return tuple(level for level in _core.built_levels() if level in supported)


def load(level: str) -> ModuleType:
    """Import the kernels of one level, whichever level the package itself uses.

    Parameters
    ----------
    level : str
        One of `available_levels`.

    Returns
    -------
    module
        The kernels compiled for `level`; modules of several levels live side by side.

    Raises
    ------
    ValueError
        If `level` was not built or does not run on this processor.

    Examples
    --------
    >>> load(level) is kernels
    True
    """
    if level not in available_levels():
        from .errors import value_error  # when it is needed: `import pooling` shall be quick

        raise value_error(
            "load",
            "must be a level that was built and that this processor runs",
            f"use {_alternatives(available_levels())}",
            argument=("level", level),
        )
    return _import_compiled(f"_kernels_{level.replace('-', '_')}")


def _choose(cap: str | None) -> str:
    """Return the best available level, or the best up to `cap`."""
    built, available = _core.built_levels(), available_levels()
    if cap:
        if cap not in built:
            from .errors import value_error

            raise value_error(
                "pooling", f"POOLING_MAX_ISA={cap!r} must be a level that was built", f"use {_alternatives(built)}"
            )
        available = tuple(level for level in available if built.index(level) <= built.index(cap))
    if not available:
        raise RuntimeError(
            f"pooling: this processor runs no level that was built; it needs to run at least {built[0]!r}"
        )
    return available[-1]


def _alternatives(levels: tuple[str, ...]) -> str:
    return " or ".join(repr(level) for level in levels)


level: str = _choose(os.environ.get("POOLING_MAX_ISA"))
if TYPE_CHECKING:
    from . import _kernels as kernels  # one stub for the modules of all levels
else:
    kernels = load(level)
