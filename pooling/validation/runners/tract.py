"""tract, a runtime written in Rust."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from .base import Array, Runtime, Unsupported

__all__ = ["Tract"]


class Tract(Runtime):
    """tract, through its Python interface."""

    name = "tract"
    module = "tract"
    whole = True

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Load a model, which takes a file, and run it."""
        tract: Any = import_module("tract")
        if any(array.dtype.name == "bfloat16" for array in inputs.values()):
            raise Unsupported("its Python interface takes no arrays of bfloat16")
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.onnx")
            with open(path, "wb") as file:
                file.write(model)
            try:
                results = tract.onnx().load(path).into_model().into_runnable().run(list(inputs.values()))
            except tract.TractError as error:
                raise Unsupported(_reason(str(error))) from error
        return [np.array(result.to_numpy()) for result in results]


def _reason(text: str) -> str:
    """Return the causes that an error lists, on one line."""
    lines = [line.strip() for line in text.lower().partition("stack backtrace")[0].splitlines()]
    kept = text.splitlines()[: len(lines)]
    return ": ".join(line.strip() for line in kept if line.strip() not in ("", "Caused by:", "Stack backtrace:"))
