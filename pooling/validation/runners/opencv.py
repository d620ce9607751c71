"""The dnn module of OpenCV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from .base import Array, Runtime, Unsupported

__all__ = ["OpenCv"]


class OpenCv(Runtime):
    """``cv2.dnn``, which computes in float32."""

    name = "opencv"
    packages: ClassVar[tuple[str, ...]] = (
        "opencv-python-headless",
        "opencv-python",
        "opencv-contrib-python-headless",
        "opencv-contrib-python",
    )
    module = "cv2"
    whole = True

    def load(self, threads: int) -> None:
        """Import OpenCV, and use so many threads."""
        cv2: Any = import_module("cv2")
        cv2.setNumThreads(threads)

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Read a model from memory, and run it."""
        cv2: Any = import_module("cv2")
        for array in inputs.values():
            if array.dtype != np.float32:
                raise Unsupported(f"OpenCV's dnn is asked in float32 here, and not in {array.dtype.name}")
        net = cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8))
        for name, array in inputs.items():
            net.setInput(array, name)
        results: Any = net.forward(net.getUnconnectedOutLayersNames())
        return [np.asarray(result) for result in results]
