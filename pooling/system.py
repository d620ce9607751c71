"""What this build is and what it runs on."""

from __future__ import annotations

from . import dispatch
from .threads import get_num_threads

__all__ = ["show_config"]


def show_config() -> None:
    """Print the version, the instruction-set levels, OpenMP and the number of threads.

    Examples
    --------
    >>> import pooling
    >>> pooling.show_config()  # doctest: +ELLIPSIS
    pooling ...
    """
    config = dispatch.config()
    openmp = "yes" if config["openmp"] else "no (single thread: the compiler of this build has no OpenMP)"
    rows = {
        "kernels": f"{config['level']} (built: {', '.join(config['levels_built'])}; "
        f"this processor runs: {', '.join(config['levels_supported'])})",
        "OpenMP": openmp,
        "threads": str(get_num_threads()),
        "compiler": config["compiler"],
        "NumPy": config["numpy"],
    }
    print(f"pooling {config['version']}")
    for name, value in rows.items():
        print(f"  {name + ':':<10} {value}")
