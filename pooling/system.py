"""What this build is and what it runs on."""

from __future__ import annotations

from . import dispatch
from .workers import get_num_threads

__all__ = ["show_config"]


def show_config() -> None:
    """Print the version, the instruction-set levels and the number of threads.

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
    }
    print(f"pooling {config['version']}")
    for name, value in rows.items():
        print(f"  {name + ':':<10} {value}")
