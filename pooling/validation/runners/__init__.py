"""Runtimes that can be asked to run a node, each an adapter of its own; which of them are there is known at once.

::

    base       what an adapter has
    expressed  nodes as the calls of libraries that read no ONNX
    processes  runtimes in processes of their own
    results    what came of running a case
    ours       the kernels, the oracle, and the graphs that this library writes
    onnxruntime, onnx_reference, openvino, torch, jax, opencv, tract
               the adapters of others
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping

from pooling.signs import short_repr

from .base import Runtime, Unsupported
from .jax import Jax
from .onnx_reference import OnnxReference
from .onnxruntime import OnnxRuntimeRuntime
from .opencv import OpenCv
from .openvino import OpenVino
from .ours import Kernels, Oracle, Portable, portable_model
from .torch import Torch, TorchCompile
from .tract import Tract

__all__ = ["ORACLE", "RUNTIMES", "Runtime", "Unsupported", "chosen", "installed", "portable_model", "runtime_of"]

ORACLE = "oracle"

RUNTIMES: Mapping[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        Kernels(),
        Oracle(),
        Portable(),
        OnnxRuntimeRuntime(),
        OnnxReference(),
        OpenVino(),
        Torch(),
        TorchCompile(),
        Jax(),
        OpenCv(),
        Tract(),
    )
}
"""By the names that the command line takes."""


def runtime_of(name: str) -> Runtime:
    """Return a runtime by its name, or by ``module:Class`` for one from elsewhere.

    Raises
    ------
    ValueError
        If there is none.

    Examples
    --------
    >>> runtime_of("onnx.reference").slow
    True
    """
    if name in RUNTIMES:
        return RUNTIMES[name]
    module, _, kind = name.partition(":")
    if not kind:
        raise ValueError(
            f"runtimes={short_repr(name)} is none of {', '.join(RUNTIMES)}; use one of these, or module:Class"
        )
    try:
        found: Runtime = getattr(importlib.import_module(module), kind)()
    except Exception as error:
        raise ValueError(f"runtimes={short_repr(name)} cannot be loaded ({type(error).__name__}: {error})") from error
    return found


def installed() -> dict[str, str]:
    """Return the versions of the runtimes that are installed, by name.

    Examples
    --------
    >>> installed()["oracle"] == installed()["pooling"]
    True
    """
    return {name: version for name, runtime in RUNTIMES.items() if (version := runtime.version()) is not None}


def chosen(names: Iterable[str] | None) -> dict[str, str]:
    """Return the versions of the runtimes to ask: those named, or all that are installed; the oracle is always asked.

    Those that compile each node are asked only where they are named.

    Raises
    ------
    ValueError
        If one is not known or not installed.
    """
    there = installed()
    if names is None:
        return {name: version for name, version in there.items() if name != ORACLE and not RUNTIMES[name].compiles}
    found = {}
    for name in names:
        version = runtime_of(name).version()
        if version is None:
            packages = runtime_of(name).packages
            raise ValueError(
                f"runtimes={short_repr(name)} is not installed; run pip install {packages[0] if packages else name}"
            )
        if name != ORACLE:
            found[name] = version
    return found
