from __future__ import annotations
import pytest

onnx = pytest.importorskip("onnx")
from onnx.backend.test import BackendTest  # noqa: E402
from pooling.onnx_backend import PoolingBackend  # noqa: E402

OPS = "(averagepool|globalaveragepool|globalmaxpool|lppool|maxpool|maxunpool|roialign)"
suite = BackendTest(PoolingBackend, __name__)
suite.include(f"^test_{OPS}_.*cpu$")
globals().update(suite.test_cases)
