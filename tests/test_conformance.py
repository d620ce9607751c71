"""Whole models that the onnx package carries on disk, with the answers that their authors stored beside them.

The node tests of onnx and the cases of onnxruntime are replayed in test_nodes.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx.backend.test.loader import load_model_tests  # noqa: E402
from pooling.export import POOLING_OPERATORS, layer_from_node  # noqa: E402


def pooling_models() -> list[Any]:
    """Find the models made of nothing but pooling nodes."""
    found = []
    for kind in ("simple", "pytorch-converted", "pytorch-operator"):
        for case in sorted(load_model_tests(kind=kind), key=lambda case: str(case.name)):
            if case.model_dir is None:
                continue
            model = onnx.load(Path(case.model_dir) / "model.onnx")
            if all(node.op_type in POOLING_OPERATORS for node in model.graph.node):
                found.append(pytest.param(Path(case.model_dir), case.rtol, case.atol, id=f"{kind}-{case.name}"))
    return found


MODELS = pooling_models()


def tensor(path: Path) -> np.ndarray[Any, Any]:
    return onnx.numpy_helper.to_array(onnx.load_tensor(path))


def test_the_models_are_there() -> None:
    assert len(MODELS) >= 14


@pytest.mark.parametrize(("folder", "rtol", "atol"), MODELS)
def test_a_model_answers_what_is_stored_with_it(folder: Path, rtol: float, atol: float) -> None:
    model = onnx.load(folder / "model.onnx")
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    data_sets = sorted(folder.glob("test_data_set_*"))
    assert data_sets
    for data in data_sets:
        values = {model.graph.input[0].name: tensor(data / "input_0.pb")}
        for node in model.graph.node:
            x = values[node.input[0]]
            values[node.output[0]] = layer_from_node(node, opset, x.shape)(x)
        for number, output in enumerate(model.graph.output):
            expected = tensor(data / f"output_{number}.pb")
            result = values[output.name]
            assert result.dtype == expected.dtype
            assert result.shape == expected.shape
            np.testing.assert_allclose(result, expected, rtol=rtol, atol=atol)
