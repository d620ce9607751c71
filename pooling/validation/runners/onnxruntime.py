"""onnxruntime, on the CPU."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import onnx

from pooling.onnx_models.session import narrowed, session, widened, with_float32_interface

from .base import Array, Runtime, Unsupported

__all__ = ["OnnxRuntimeRuntime", "reason"]


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
    level: ClassVar[str] = "default"

    def load(self, threads: int) -> None:
        """Import onnxruntime, and use so many threads."""
        super().load(threads)
        self.threads = threads

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Load and run a model."""
        if any(array.dtype.name == "bfloat16" for array in inputs.values()):
            return self._of_bfloat16(model, inputs)
        try:
            results: Sequence[Array] = session(model, threads=self.threads, level=self.level).run(None, dict(inputs))
        except Exception as error:  # its exceptions have no public base class
            raise Unsupported(reason(error)) from error
        return results

    def _of_bfloat16(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Run a model of bfloat16, which NumPy arrays cannot bring in: around it stand casts from and to float32."""
        fed, narrow = widened(inputs)
        copy = with_float32_interface(onnx.load_model_from_string(model))
        names = [value.name for value in copy.graph.output]
        results = OnnxRuntimeRuntime.run(self, copy.SerializeToString(), fed)
        return [*narrowed(dict(zip(names, results, strict=True)), narrow).values()]


class Unoptimised(OnnxRuntimeRuntime):
    """onnxruntime with its graph optimisations off, so that every node is computed by itself."""

    level: ClassVar[str] = "disabled"


class Fusions(OnnxRuntimeRuntime):
    """Tells which operators are in the graph that onnxruntime makes of a model, as the bytes of a JSON text."""

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Optimise a model."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "optimised.onnx")
            session(model, threads=self.threads, written=path)
            nodes = onnx.load(path).graph.node
        names = [f"{node.op_type} of {node.domain}" if node.domain else node.op_type for node in nodes]
        return [np.frombuffer(json.dumps(names).encode(), np.uint8)]
