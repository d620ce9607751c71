"""openvino, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from .base import Array, Refused, Runtime

__all__ = ["OpenVino"]


class OpenVino(Runtime):
    """openvino, on the CPU, told to keep float32 as it is."""

    name = "openvino"
    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    module = "openvino"
    whole = True
    threads = 1

    def load(self, threads: int) -> None:
        """Import openvino, and use so many threads."""
        super().load(threads)
        self.threads = threads

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Read, compile and run a model."""
        openvino: Any = import_module("openvino")
        if any(array.dtype.name == "bfloat16" for array in inputs.values()):
            raise Refused("its Python interface takes no arrays of bfloat16")
        core = openvino.Core()
        read = core.read_model(model)
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": self.threads}
        results = core.compile_model(read, "CPU", settings)(list(inputs.values()))
        return [np.array(results[number]) for number in range(len(results))]
