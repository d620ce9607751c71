"""The conformance suite as ONNX node tests, for the authors of any runtime.

``pooling node-tests FOLDER`` writes them. Each test is a folder as onnx has them:
``test_NAME/model.onnx``, ``test_data_set_0/input_0.pb``, ``output_0.pb`` and a ``data.json`` with the tolerance.
``onnx.backend.test.loader.load_model_tests`` reads them.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.errors import value_error
from pooling.onnx_models.making import ModelProto, tensor_info, tensor_of
from pooling.onnx_models.nodes import CEIL_MODE_CLEAR

from ..comparison import permitted_errors
from ..inputs.case import Case
from ..rules.evidence import Setting
from ..runners import ORACLE, RUNTIMES
from .suite import conformance_suite

__all__ = ["NodeTest", "node_tests", "write_node_tests"]

LEEWAY = 1.01
"""By how much a relative tolerance is rounded up."""


@dataclass(frozen=True, eq=False)
class NodeTest:
    """A case with the right answer."""

    name: str
    """Of the folder."""
    case: Case
    """The node and its numbers."""
    model: ModelProto
    """The case's, with the shapes of its outputs."""
    outputs: tuple[NDArray[Any], ...]
    """What has to come out."""
    rtol: float
    atol: float
    """`rtol` and `atol`: the differences that rounding can make, as `numpy.testing.assert_allclose` takes them."""


def node_tests(cases: Iterable[Case] | None = None) -> Iterator[NodeTest]:
    """Turn cases into tests, with the oracle's answers.

    Left out are those to which there is no answer, and those in which opsets below 22 contradict themselves and all
    runtimes: their text keeps windows of ceil_mode that start behind the input.

    Parameters
    ----------
    cases : iterable of Case, optional
        The conformance suite when not given.

    Yields
    ------
    NodeTest
    """
    for case in conformance_suite() if cases is None else cases:
        setting = Setting(case.node, case.opset, tuple(case.array.shape))
        if setting.late and case.opset < CEIL_MODE_CLEAR:
            continue
        try:
            outputs = tuple(RUNTIMES[ORACLE].run(case.model.SerializeToString(), case.inputs))
        except ValueError:  # there is no window
            continue
        model = ModelProto()
        model.CopyFrom(case.model)
        for tensor, output in zip(model.graph.output, outputs, strict=True):
            tensor.CopyFrom(tensor_info(tensor.name, output.dtype, output.shape))
        yield NodeTest(f"test_{case.name.replace('-', '_')}", case, model, outputs, *_tolerance(case, outputs[0]))


def _tolerance(case: Case, output: NDArray[Any]) -> tuple[float, float]:
    """Return tolerances that allow what rounding can cause: relative ones, and absolute ones of zeros."""
    bounds = permitted_errors(case)
    if bounds is None or not output.size:
        return 0.0, 0.0
    with np.errstate(all="ignore"):
        magnitude = np.abs(output.astype(np.float64))
        relative = np.where(np.isfinite(magnitude) & (magnitude > 0), bounds / magnitude, 0.0)
        absolute = np.where(magnitude == 0, bounds, 0.0)
    return LEEWAY * float(relative.max()), float(absolute.max())


def write_node_tests(folder: str | os.PathLike[str], cases: Iterable[Case] | None = None) -> int:
    """Write tests into a new folder, all of them or none.

    Parameters
    ----------
    folder : path
        Where to; it may be there if it is empty.
    cases : iterable of Case, optional
        The conformance suite when not given.

    Returns
    -------
    int
        How many there are.

    Raises
    ------
    ValueError
        If `folder` is there and not empty, or no folder.
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pooling.validation.conformance.suite import conformance_suite
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_node_tests(folder, conformance_suite(rules=["column-major-indices"]))
    18
    """
    target = Path(folder).resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise value_error("write_node_tests", f"{target} is there already and not an empty folder", "name a new one")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".pooling-", dir=target.parent))
    try:
        count = 0
        for test in node_tests(cases):
            _write(draft / test.name, test)
            count += 1
        draft.chmod(0o755)
        os.replace(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return count


def _write(folder: Path, test: NodeTest) -> None:
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(test.model.SerializeToString(deterministic=True))
    (folder / "data.json").write_text(json.dumps({"rtol": test.rtol, "atol": test.atol}) + "\n", encoding="utf-8")
    graph = test.model.graph
    inputs = [(tensor.name, test.case.inputs[tensor.name]) for tensor in graph.input]
    outputs = [(tensor.name, output) for tensor, output in zip(graph.output, test.outputs, strict=True)]
    for kind, arrays in (("input", inputs), ("output", outputs)):
        for number, (name, array) in enumerate(arrays):
            tensor = tensor_of(array, name)
            (data / f"{kind}_{number}.pb").write_bytes(tensor.SerializeToString(deterministic=True))
