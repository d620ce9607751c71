"""onnxruntime, on the CPU."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import onnx

from .base import Array, Runtime, Unsupported

__all__ = ["OnnxRuntimeRuntime", "reason", "session"]

FATAL = 4
"""Severity from which onnxruntime may write to stderr; errors arrive as exceptions anyway."""


def session(
    model: bytes, threads: int, folder: str | None = None, *, optimised: bool = True, written: str | None = None
) -> Any:
    """Load a model.

    Parameters
    ----------
    model : bytes
        The model.
    threads : int
        Threads for one call.
    folder : str, optional
        Where data outside of the model lies.
    optimised : bool
        Whether the graph may be optimised.
    written : str, optional
        A file for the graph that comes of it.
    """
    onnxruntime: Any = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL
    # Waiting threads spin by default, for tens of milliseconds. Two are enough to stay awake from call to call.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "2000")
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if written is not None:
        options.optimized_model_filepath = written
    if folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def reason(error: Exception) -> str:
    """Return what an exception of onnxruntime says, on one line and without the marks of its parts."""
    text = " ".join(str(error).split())
    return text.rpartition(" : ")[2].rstrip(".")


class OnnxRuntimeRuntime(Runtime):
    """onnxruntime, on the CPU, with the graph optimisations that are its default."""

    name = "onnxruntime"
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnxruntime-gpu")
    module = "onnxruntime"
    whole = True
    threads = 1
    optimised: ClassVar[bool] = True

    def load(self, threads: int) -> None:
        """Import onnxruntime, and use so many threads."""
        super().load(threads)
        self.threads = threads

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Load and run a model."""
        if any(array.dtype.name == "bfloat16" for array in inputs.values()):
            return self._of_bfloat16(model, inputs)
        try:
            results: Sequence[Array] = session(model, self.threads, optimised=self.optimised).run(None, dict(inputs))
        except Exception as error:  # its exceptions have no public base class
            raise Unsupported(reason(error)) from error
        return results

    def _of_bfloat16(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Run a model of bfloat16, which NumPy arrays cannot bring in: around it stand casts from and to float32."""
        widened = onnx.load_model_from_string(model)
        graph = widened.graph
        wide, narrow = onnx.TensorProto.FLOAT, onnx.TensorProto.BFLOAT16
        before, after, fed, kinds = [], [], dict(inputs), []
        for tensor in graph.input:
            if tensor.type.tensor_type.elem_type == narrow:
                before.append(onnx.helper.make_node("Cast", [f"{tensor.name} wide"], [tensor.name], to=narrow))
                tensor.name += " wide"
                tensor.type.tensor_type.elem_type = wide
        for tensor in graph.output:
            kinds.append(tensor.type.tensor_type.elem_type == narrow)
            if kinds[-1]:
                after.append(onnx.helper.make_node("Cast", [tensor.name], [f"{tensor.name} wide"], to=wide))
                tensor.name += " wide"
                tensor.type.tensor_type.elem_type = wide
        nodes = [*before, *graph.node, *after]
        del graph.node[:]
        graph.node.extend(nodes)
        dtype = next(array.dtype for array in inputs.values() if array.dtype.name == "bfloat16")
        for name, array in inputs.items():
            if array.dtype == dtype:
                fed[f"{name} wide"] = fed.pop(name).astype(np.float32)
        results = OnnxRuntimeRuntime.run(self, widened.SerializeToString(), fed)
        return [result.astype(dtype) if cast else result for result, cast in zip(results, kinds, strict=True)]


class Unoptimised(OnnxRuntimeRuntime):
    """onnxruntime with its graph optimisations off, so that every node is computed by itself."""

    optimised: ClassVar[bool] = False


class Fusions(OnnxRuntimeRuntime):
    """Tells which operators are in the graph that onnxruntime makes of a model, as the bytes of a JSON text."""

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Optimise a model."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "optimised.onnx")
            session(model, self.threads, written=path)
            nodes = onnx.load(path).graph.node
        names = [f"{node.op_type} of {node.domain}" if node.domain else node.op_type for node in nodes]
        return [np.frombuffer(json.dumps(names).encode(), np.uint8)]
