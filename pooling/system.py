"""What this build is and what it runs on."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from importlib import metadata

from . import dispatch
from .workers import get_num_threads

__all__ = ["show_config"]


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
    config = dispatch.config()
    threads = str(get_num_threads())
    if not config["threading"]:
        threads += " (always: the compiler of this build has no atomic operations)"
    rows = {
        "kernels": f"{config['level']} (built: {', '.join(config['levels_built'])}; "
        f"this processor runs: {', '.join(config['levels_supported'])})",
        "threads": threads,
        "compiler": config["compiler"],
        "NumPy": config["numpy"],
        "others": ", ".join(f"{name} {version}" for name in OTHERS if (version := _version(name))) or "none",
    }
    print(f"pooling {config['version']}")
    for name, value in rows.items():
        print(f"  {name + ':':<10} {value}")
    print("  strategies, the first that fits a call is taken:")
    for name, strategies in config["strategies"].items():
        print(f"    {name.replace('_', ' ') + ':':<14} {', '.join(strategies)}")
    for sentence in (_other_distributions(), _other_package(), _other_command()):
        if sentence:
            print(f"  warning:   {sentence}")


OTHERS = ("ml_dtypes", "onnx", "onnxruntime", "openvino", "torch", "jax", "rich", "matplotlib")
"""Distributions that take part where they are installed."""


def _version(distribution: str) -> str:
    """Return the version of a distribution, empty where it is not installed; nothing is imported for that."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


DISTRIBUTION, PACKAGE = "ndpooling", "pooling"
REMEDY = f"pip uninstall {PACKAGE} {DISTRIBUTION}, and install {DISTRIBUTION} again"


def _other_distributions() -> str:
    """Say which other distributions install a package of this name here, and what to do."""
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
    command = shutil.which(PACKAGE)
    scripts = sysconfig.get_path("scripts")
    if command is None or os.path.realpath(os.path.dirname(command)) == os.path.realpath(scripts):
        return ""
    own = os.path.join(scripts, PACKAGE)
    own = own if os.path.exists(own) else f"{sys.executable} -m {PACKAGE}"
    return f"the command {PACKAGE} on the PATH is {command}, of another environment; that of this one is {own}"
