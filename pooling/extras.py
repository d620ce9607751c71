"""What to install for parts that need more than NumPy."""

from __future__ import annotations

__all__ = ["explained"]


def explained(error: ModuleNotFoundError, module: str, extra: str) -> ModuleNotFoundError:
    """Say how to install what a module of this package needs.

    Parameters
    ----------
    error : ModuleNotFoundError
        Why the module cannot be imported.
    module : str
        Its name.
    extra : str
        The extra of this package that brings what it needs.

    Returns
    -------
    ModuleNotFoundError
        An error that says so, with the same ``name``; the same error if it is this package that lacks a module.

    Examples
    --------
    >>> explained(ModuleNotFoundError(name="onnx"), "pooling.export", "onnx")
    ModuleNotFoundError('pooling.export needs onnx, which is not installed; run pip install "ndpooling[onnx]"')
    """
    missing = (error.name or "").partition(".")[0]
    if missing in ("", "pooling"):
        return error
    return ModuleNotFoundError(
        f'{module} needs {missing}, which is not installed; run pip install "ndpooling[{extra}]"', name=error.name
    )
