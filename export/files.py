"""Models as files."""

from __future__ import annotations

import os

import onnx

from pooling.arguments import names_checked
from pooling.errors import type_error, value_error
from pooling.files import write_whole
from pooling.onnx_models.load import LARGEST_FILE
from pooling.tool_arguments import path_of

__all__ = ["save"]


@names_checked
def save(model: onnx.ModelProto, path: str | os.PathLike[str]) -> None:
    """Write a model to a file: all of it, or nothing.

    Parameters
    ----------
    model : onnx.ModelProto
        What to write.
    path : str or path-like
        The file, in a folder that exists.

    Raises
    ------
    TypeError
        If `model` is no model, or `path` no path.
    ValueError
        If `path` is a folder or lies in none, or the model is larger than 2 GB, more than a file of this format holds
        without external data.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> import pooling
    >>> from pooling.export import save, to_onnx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(to_onnx(pooling.MaxPool2d(2), ("N", 3, 8, 8)), os.path.join(folder, "pool.onnx"))
    ...     os.listdir(folder)
    ['pool.onnx']
    """
    if not isinstance(model, onnx.ModelProto):
        raise type_error("save", f"model must be an onnx.ModelProto, not {type(model).__name__}")
    target = path_of("save", "path", path)
    if target.is_dir():
        raise value_error("save", f"path={str(target)!r} is a folder", "give the name of a file")
    if not target.parent.is_dir():
        raise value_error("save", f"path={str(target)!r} lies in a folder that does not exist", "make it first")
    try:
        content = model.SerializeToString()
    except Exception as error:  # protobuf's own, which depends on its version
        raise value_error("save", f"the model cannot be written ({error})", "it must be smaller than 2 GB") from error
    if len(content) > LARGEST_FILE:
        raise value_error(
            "save",
            f"the model has {len(content)} bytes, and a file without external data holds {LARGEST_FILE}",
            "export smaller stages",
        )
    write_whole(target, content)
