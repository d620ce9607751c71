"""What to install for parts that need more than NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["needing"]


@contextmanager
def needing(extra: str, module: str) -> Iterator[None]:
    """Say how to install what a module of this package needs, where it cannot be imported.

    Parameters
    ----------
    extra : str
        The extra of this package that brings it.
    module : str
        The name of the module.

    Raises
    ------
    ModuleNotFoundError
        One that says so, with the same ``name``; the same error if it is this package that lacks a module.

    Examples
    --------
    >>> with needing("onnx", "pooling.export"):
    ...     raise ModuleNotFoundError(name="onnx")
    Traceback (most recent call last):
    ModuleNotFoundError: pooling.export needs onnx, which is not installed; run pip install "ndpooling[onnx]"
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "pooling"):
            raise
        raise ModuleNotFoundError(
            f'{module} needs {missing}, which is not installed; run pip install "ndpooling[{extra}]"', name=error.name
        ) from error
