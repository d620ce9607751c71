"""The evaluator that comes with onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from .base import Array, Runtime

__all__ = ["OnnxReference"]


class OnnxReference(Runtime):
    """``onnx.reference.ReferenceEvaluator``, which is written in Python."""

    name = "onnx.reference"
    module = "onnx.reference"
    slow = True

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Evaluate a model."""
        from onnx.reference import ReferenceEvaluator

        with np.errstate(all="ignore"):
            results: Any = ReferenceEvaluator(onnx.load_model_from_string(model)).run(None, dict(inputs))
        return [np.asarray(result) for result in results]
