"""What this build is and what it runs on."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy

from . import _core
from ._version import __version__
from .dispatch import kernels, level
from .workers import cpu_quota, get_num_threads

# What only `show_config` needs of the standard library is imported in its functions: `import pooling` shall be quick.

__all__ = ["config", "show_config"]

DISTRIBUTION, PACKAGE = "ndpooling", "pooling"
REMEDY = f"pip uninstall {PACKAGE} {DISTRIBUTION}, and install {DISTRIBUTION} again"


def config() -> dict[str, Any]:
    """Return what `pooling.show_config` shows.

    Returns
    -------
    dict
        ``version``, ``level`` (in use), ``levels_built``, ``levels_supported`` (by the processor), ``threading``
        (whether calls share work among threads), ``threads`` (how many a large call uses), ``cpu_quota`` (how many
        processors' time the control groups of a container give, or None), ``last_level_cache`` (bytes of it that the
        kernels reckon with, as the processor reports them), ``strategies`` (the ways to run a call in the
        order in which they are tried, by the kind of the call), ``compiler``, ``python`` and ``numpy`` (versions).
    """
    return {
        "version": __version__,
        "level": level,
        "levels_built": _core.built_levels(),
        "levels_supported": _core.supported_levels(),
        "threading": _core.THREADING,
        "threads": get_num_threads(),
        "cpu_quota": cpu_quota(),
        "last_level_cache": _core.cache_size(),
        "strategies": kernels.STRATEGIES,
        "compiler": _core.compiler(),
        "python": sys.version.split()[0],
        "numpy": numpy.__version__,
    }


def show_config() -> None:
    """Print versions, the instruction-set levels, threads and strategies, and what is in the way of this package.

    PyPI has a distribution ``pooling`` of somebody else, which installs a package of the same name as this library,
    whose distribution is called ``ndpooling``.

    Examples
    --------
    >>> import pooling
    >>> pooling.show_config()  # doctest: +ELLIPSIS
    pooling ...
    """
    shown = config()
    threads = str(shown["threads"])
    if shown["threading"] == "none":
        threads += " (always: the compiler of this build has neither atomic operations nor OpenMP)"
    elif shown["threading"] == "openmp":
        threads += " (of OpenMP)"
    if shown["cpu_quota"] is not None:
        threads += f" (the control group gives this process the time of {shown['cpu_quota']:.4g} processors)"
    rows = {
        "kernels": f"{shown['level']} (built: {', '.join(shown['levels_built'])}; "
        f"this processor runs: {', '.join(shown['levels_supported'])})",
        "threads": threads,
        "cache": f"{shown['last_level_cache'] / (1 << 20):.4g} MiB at the last level",
        "compiler": shown["compiler"],
        "Python": shown["python"],
        "NumPy": shown["numpy"],
        "others": ", ".join(f"{name} {version}" for name in OTHERS if (version := _version(name))) or "none",
    }
    print(f"pooling {shown['version']}")
    for name, value in rows.items():
        print(f"  {name + ':':<10} {value}")
    print("  strategies, of which a call takes the first that fits:")
    for name, strategies in shown["strategies"].items():
        print(f"    {name.replace('_', ' ')}: {', '.join(strategies)}")
    for sentence in (_other_distributions(), _other_package(), _other_command()):
        if sentence:
            print(f"  warning:   {sentence}")


OTHERS = ("ml_dtypes", "onnx", "onnxruntime", "openvino", "torch", "jax", "rich", "matplotlib")
"""Distributions that take part where they are installed."""


def _version(distribution: str) -> str:
    """Return the version of a distribution, empty where it is not installed; nothing of it is imported for that."""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _other_distributions() -> str:
    """Say which other distributions install a package of this name here, and what to do."""
    from importlib import metadata

    found = {}
    for each in metadata.distributions():
        name = (each.metadata["Name"] or "").lower()
        top = (each.read_text("top_level.txt") or "").split()
        if name != DISTRIBUTION and (name == PACKAGE or PACKAGE in top):
            found[name] = each.version
    if not found:
        return ""
    listed = ", ".join(f"{name} {version}" for name, version in sorted(found.items()))
    return (
        f"{listed} is installed here too, and has another package named {PACKAGE}: whichever was installed last has "
        f"overwritten files of the other; run {REMEDY}"
    )


def _other_package() -> str:
    """Say whether ``import pooling`` gives something else than the package that this module is in."""
    package = sys.modules.get(PACKAGE)
    here = os.path.dirname(os.path.abspath(__file__))
    path = getattr(package, "__file__", None) or ""
    if package is None or (os.path.dirname(os.path.abspath(path)) == here and hasattr(package, "show_config")):
        return ""
    return f"import {PACKAGE} gives {path or 'something without a file'}, which is not this library; run {REMEDY}"


def _other_command() -> str:
    """Say whether the command of this name is that of another environment."""
    import shutil
    import sysconfig

    command = shutil.which(PACKAGE)
    scripts = sysconfig.get_path("scripts")
    if command is None or os.path.realpath(os.path.dirname(command)) == os.path.realpath(scripts):
        return ""
    own = os.path.join(scripts, PACKAGE)
    own = own if os.path.exists(own) else f"{sys.executable} -m {PACKAGE}"
    return f"the command {PACKAGE} on the PATH is {command}, of another environment; that of this one is {own}"
