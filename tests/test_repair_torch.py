"""What torch exports today, by its old exporter and the new one, after the repair: right, and without leftovers."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

from pooling.export import make_portable  # noqa: E402
from pooling.onnx_models.graph import scopes_of  # noqa: E402
from pooling.onnx_models.shapes import infer_model, tensors_of  # noqa: E402
from tests.exported import leftovers  # noqa: E402

nn, functional = torch.nn, torch.nn.functional
LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL")
SHAPE = (2, 3, 13, 12)


class Padded(nn.Module):  # type: ignore[misc, name-defined]
    """A pooling behind padding that is a node of its own."""

    def __init__(self, pads: tuple[int, ...], value: float, pool: Any) -> None:
        super().__init__()
        self.pads, self.value, self.pool = pads, value, pool

    def forward(self, x: Any) -> Any:
        return self.pool(functional.pad(x, self.pads, value=self.value))


class Mean(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, x: Any) -> Any:
        return x.mean((2, 3), keepdim=True)


class Fixed(nn.Module):  # type: ignore[misc, name-defined]
    """Padding whose sizes the exporter works out in the graph."""

    def forward(self, x: Any) -> Any:
        missing = x.shape[2] % 3
        return functional.max_pool2d(functional.pad(x.relu(), (0, missing, missing, 0)), 3, 2, ceil_mode=True)


NETWORKS = {
    "maximum": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.Flatten()), "ceil_mode"),
    "mean": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d(3, 2, 1, ceil_mode=True)), "ceil_mode"),
    "indices": (nn.MaxPool2d(3, 2, 1, ceil_mode=True, return_indices=True), "ceil_mode"),
    "norm": (nn.LPPool2d(2, 3, 2, ceil_mode=True), "ceil_mode"),
    "one axis": (nn.Sequential(nn.Flatten(2), nn.AvgPool1d(3, 2, 1, ceil_mode=True)), "ceil_mode"),
    "three axes": (nn.Sequential(nn.Unflatten(1, (1, 3)), nn.MaxPool3d(2, 2, 1, ceil_mode=True)), "ceil_mode"),
    "zeros before a mean": (Padded((0, 1, 1, 0), 0.0, nn.AvgPool2d(3, 2)), "pad"),
    "many zeros before a mean": (Padded((3, 0, 4, 0), 0.0, nn.AvgPool2d(2)), "pad"),
    "zeros before a mean of ceil_mode": (nn.Sequential(nn.ReLU(), nn.ZeroPad2d(1), nn.AvgPool2d(3, 2, 1)), "pad"),
    "-inf before a maximum": (Padded((0, 1, 0, 1), -float("inf"), nn.MaxPool2d(3, 2, ceil_mode=True)), "ceil_mode"),
    "zeros of a size": (Fixed(), "ceil_mode"),
    "mean of all": (Mean(), "mean"),
}


def exported(network: Any, x: Any, path: Path, *, dynamo: bool, opens: bool) -> onnx.ModelProto:
    options: dict[str, Any] = {"dynamo": dynamo, "input_names": ["x"], "opset_version": 18 if dynamo else 13}
    if opens and dynamo:
        options["dynamic_shapes"] = ({0: "N", 2: "H", 3: "W"},)
    elif opens:
        options["dynamic_axes"] = {"x": {0: "N", 2: "H", 3: "W"}}
    said = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (x,), path, **options)
    return onnx.load(path)


def wrong_records(model: onnx.ModelProto) -> list[str]:
    """Name the tensors whose recorded shapes contradict what shape inference finds of the same model without them."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for scope in scopes_of(bare):
        del scope.container.value_info[:]
    found = []
    for scope, clean in zip(scopes_of(model), scopes_of(infer_model("test", bare)), strict=True):
        if isinstance(scope.container, onnx.GraphProto) and isinstance(clean.container, onnx.GraphProto):
            right = tensors_of(clean.container)
            for name, tensor in tensors_of(scope.container).items():
                pair = tensor.shape, right[name].shape if name in right else None
                if (None not in pair and len(pair[0]) != len(pair[1])) or (
                    None not in pair
                    and any(
                        None not in sizes and sizes[0] != sizes[1]
                        for sizes in zip(*pair, strict=True)  # type: ignore[arg-type]
                    )
                ):  # type: ignore[arg-type]
                    found.append(name)
    return found


@pytest.mark.parametrize("opens", [False, True], ids=["sizes", "open"])
@pytest.mark.parametrize("dynamo", [False, True], ids=["old", "dynamo"])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_torch_exports_is_repaired_without_leftovers(name: str, dynamo: bool, opens: bool, tmp_path: Path) -> None:
    if dynamo and importlib.util.find_spec("onnxscript") is None:
        pytest.skip("the new exporter of torch needs onnxscript")
    network, rule = NETWORKS[name]
    x = torch.tensor(np.random.default_rng(0).standard_normal(SHAPE), dtype=torch.float32)
    network = network.eval()
    model = exported(network, x, tmp_path / "net.onnx", dynamo=dynamo, opens=opens)
    result = make_portable(model)
    if not opens:
        assert rule in {change.rule for change in result.changes}
        assert result.skipped == ()
        assert result.verified, result.why
    assert leftovers(result.model) <= leftovers(model)
    if not result.skipped:
        assert wrong_records(result.model) == []
        onnx.checker.check_model(result.model, full_check=True)
    wanted = network(x)
    for level in LEVELS:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        session = onnxruntime.InferenceSession(result.model.SerializeToString(), options)
        found = session.run(None, {"x": x.numpy()})
        for ours, theirs in zip(found, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
            theirs = theirs.detach().numpy()
            if name == "indices" and ours.dtype == np.int64:  # torch counts in each plane, ONNX in all
                assert ours.shape == theirs.shape
                continue
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
