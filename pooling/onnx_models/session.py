"""Models in onnxruntime: how a session is set up, and bfloat16, which NumPy arrays cannot bring in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

__all__ = ["LEVELS", "narrowed", "session", "widened", "with_float32_interface"]

Array = NDArray[Any]
LEVELS = {"default": "ORT_ENABLE_ALL", "disabled": "ORT_DISABLE_ALL"}
"""Levels of graph optimisation, as onnxruntime calls them: how models are loaded by default, and none."""
FATAL = 4
"""Severity from which onnxruntime may write to stderr; errors arrive as exceptions anyway."""
AS_FLOAT32 = " as float32"
"""What names of inputs and outputs of bfloat16 end with where they are widened."""


def session(
    model: bytes,
    *,
    threads: int = 1,
    level: str = "default",
    folder: str | os.PathLike[str] | None = None,
    written: str | None = None,
) -> Any:
    """Load a model in onnxruntime.

    Parameters
    ----------
    model : bytes
        The model.
    threads : int
        Threads for one call.
    level : str
        Of graph optimisation, out of `LEVELS`.
    folder : path, optional
        Where data outside of the model lies.
    written : str, optional
        A file for the graph that the optimisation makes.

    Returns
    -------
    onnxruntime.InferenceSession

    Raises
    ------
    ModuleNotFoundError
        If onnxruntime is not installed.
    Exception
        Whatever onnxruntime raises of a model that it does not load; its exceptions have no public base class.
    """
    onnxruntime: Any = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[level])
    # Waiting threads spin by default, for tens of milliseconds. Two are enough to stay awake from call to call.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "2000")
    if written is not None:
        options.optimized_model_filepath = written
    if folder is not None:
        key = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(key, os.fspath(folder))
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def with_float32_interface(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a model, with inputs and outputs of bfloat16 as float32, and casts between them and the graph."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph, wide, narrow = copy.graph, TensorProto.FLOAT, TensorProto.BFLOAT16
    before, after = [], []
    for value in graph.input:
        if value.type.tensor_type.elem_type == narrow:
            before.append(helper.make_node("Cast", [f"{value.name}{AS_FLOAT32}"], [value.name], to=narrow))
            value.name, value.type.tensor_type.elem_type = f"{value.name}{AS_FLOAT32}", wide
    for value in graph.output:
        if value.type.tensor_type.elem_type == narrow:
            after.append(helper.make_node("Cast", [value.name], [f"{value.name}{AS_FLOAT32}"], to=wide))
            value.name, value.type.tensor_type.elem_type = f"{value.name}{AS_FLOAT32}", wide
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    return copy


def widened(arrays: Mapping[str, Array]) -> tuple[dict[str, Array], np.dtype[Any] | None]:
    """Make what a model of `with_float32_interface` takes; also return the bfloat16 that there was."""
    narrow, fed = None, {}
    for name, array in arrays.items():
        if array.dtype.name == "bfloat16":
            narrow = array.dtype
            fed[f"{name}{AS_FLOAT32}"] = array.astype(np.float32)
        else:
            fed[name] = array
    return fed, narrow


def narrowed(found: Mapping[str, Array], narrow: np.dtype[Any] | None) -> dict[str, Array]:
    """Turn what such a model gives back to bfloat16."""
    return {
        name.removesuffix(AS_FLOAT32): array.astype(narrow) if name.endswith(AS_FLOAT32) else array
        for name, array in found.items()
    }
