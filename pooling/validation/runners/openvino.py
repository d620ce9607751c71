"""openvino, on the CPU."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from .base import Array, Runtime, Unsupported

__all__ = ["OpenVino", "import_openvino"]

TELEMETRY = "openvino_telemetry"


def import_openvino() -> Any:
    """Import openvino as if its telemetry package were not installed, so that it takes its own stub of it.

    Else its import starts a process, writes to ``~/intel`` and asks for an address of Google Analytics.
    """
    if "openvino" in sys.modules or TELEMETRY in sys.modules:
        return import_module("openvino")
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        return import_module("openvino")
    finally:
        del sys.modules[TELEMETRY]


class OpenVino(Runtime):
    """openvino, on the CPU, told to keep float32 as it is."""

    name = "openvino"
    module = "openvino"
    whole = True
    threads = 1

    def load(self, threads: int) -> None:
        """Import openvino, and use so many threads."""
        import_openvino()
        super().load(threads)
        self.threads = threads

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Read, compile and run a model."""
        openvino = import_openvino()
        if any(array.dtype.name == "bfloat16" for array in inputs.values()):
            raise Unsupported("its Python interface takes no arrays of bfloat16")
        core = openvino.Core()
        read = core.read_model(model)
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": self.threads}
        results = core.compile_model(read, "CPU", settings)(list(inputs.values()))
        return [np.array(results[number]) for number in range(len(results))]
