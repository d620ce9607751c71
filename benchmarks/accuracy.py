"""How far means are from the exact ones: ``python -m benchmarks.accuracy``, which writes docs/accuracy.md.

Errors are in units in the last place that the mean of the magnitudes has in the result's dtype, against sums by
`math.fsum`; of several windows, the largest. On data of one sign these are the result's own last places; of what
cancels, no sum of rounded terms keeps those.
Libraries that are not installed are left out.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import pooling
from pooling.benchmark.worker import version

Means = Callable[[np.ndarray, int], np.ndarray]
PAGE = Path(__file__).parent.parent / "docs" / "accuracy.md"


@dataclass(frozen=True)
class Data:
    """A map to average whole, or by windows of `kernel_size`."""

    name: str
    values: np.ndarray
    kernel_size: int


def data(dtype: str) -> list[Data]:
    """Data of one sign, then of mixed signs, then what cancels."""
    random = np.random.default_rng(0)
    cases = [
        Data("ones, 5000x5000 window", np.ones((1, 1, 5000, 5000), dtype), 5000),
        Data("constant 0.1, 2048x2048 window", np.full((1, 1, 2048, 2048), 0.1, dtype), 2048),
        Data("uniform, 1024x1024 window", random.random((1, 1, 1024, 1024)).astype(dtype), 1024),
        Data("uniform, 31x31 windows", random.random((1, 4, 310, 310)).astype(dtype), 31),
        Data("uniform, 7x7 windows", random.random((1, 64, 49, 49)).astype(dtype), 7),
        Data("uniform, 3x3 windows", random.random((1, 64, 48, 48)).astype(dtype), 3),
        Data("normal, 1024x1024 window", random.standard_normal((1, 1, 1024, 1024)).astype(dtype), 1024),
        Data("normal, 31x31 windows", random.standard_normal((1, 4, 310, 310)).astype(dtype), 31),
        Data("normal, 3x3 windows", random.standard_normal((1, 64, 48, 48)).astype(dtype), 3),
        Data("cancelling, 4x4 windows", cancelling(random, (1, 64, 48, 48)).astype(dtype), 4),
    ]
    return cases


def cancelling(random: np.random.Generator, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Small numbers in every other column, and large ones that cancel in the others."""
    values = random.standard_normal(shape)
    large = 1000 * random.random((*shape[:3], shape[3] // 4))
    values[..., 0::4], values[..., 2::4] = large, -large
    return values


def exact(case: Data, *, magnitudes: bool = False) -> np.ndarray:
    """Means of the numbers, or of their magnitudes, by exact sums, as float64."""
    n, c, h, w = case.values.shape
    k = case.kernel_size
    values = case.values.astype(np.float64)
    windows = (
        (np.abs(values) if magnitudes else values).reshape(n, c, h // k, k, w // k, k).swapaxes(3, 4).reshape(-1, k * k)
    )
    return np.array([math.fsum(window) / (k * k) for window in windows]).reshape(n, c, h // k, w // k)


def ulps(means: np.ndarray, truth: np.ndarray, magnitudes: np.ndarray, dtype: str) -> float:
    """Largest error in units in the last place that the means of the magnitudes have in `dtype`."""
    digits = {"bfloat16": 7, "float16": 10, "float32": 23, "float64": 52}[dtype]
    unit = 2.0 ** (np.floor(np.log2(magnitudes)) - digits)
    return float(np.max(np.abs(means.astype(np.float64) - truth) / unit))


def with_pooling(x: np.ndarray, k: int) -> np.ndarray:
    return pooling.avg_pool2d(x, k)


def with_torch(x: np.ndarray, k: int) -> np.ndarray:
    import torch

    if x.dtype.name == "bfloat16":
        tensor = torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
        return torch.nn.functional.avg_pool2d(tensor, k).float().numpy()
    return torch.nn.functional.avg_pool2d(torch.from_numpy(x), k).numpy()


def _model(x: np.ndarray, k: int) -> bytes:
    from pooling.validation.inputs.case import make_case

    serialized: bytes = make_case("AveragePool", x, 19, kernel_shape=[k, k], strides=[k, k]).model.SerializeToString()
    return serialized


def with_onnxruntime(x: np.ndarray, k: int) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(_model(x, k), options, providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, {"x": x})[0]
    return result


def with_openvino(x: np.ndarray, k: int) -> np.ndarray:
    from pooling.validation.runners.openvino import import_openvino

    openvino = import_openvino()
    core = openvino.Core()
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(_model(x, k)), "CPU", hints)
    result: np.ndarray = compiled([x])[0]
    return result


LIBRARIES: dict[str, Means] = {
    "pooling": with_pooling,
    "torch": with_torch,
    "onnxruntime": with_onnxruntime,
    "openvino": with_openvino,
}


def main() -> int:
    """Measure, print and write the page."""
    libraries = [name for name in LIBRARIES if importlib.util.find_spec(name)]
    dtypes = ["float32", "float64", "float16"]
    if importlib.util.find_spec("ml_dtypes"):
        import ml_dtypes  # noqa: F401  makes NumPy know bfloat16

        dtypes.append("bfloat16")
    lines = [
        "# Accuracy of means",
        "",
        "Largest error against exact sums (`math.fsum`), in units in the last place that the mean of the magnitudes",
        "has, measured by `python -m benchmarks.accuracy`. On data of one sign these are the result's own last places.",
        'Half a unit is the best there is; "refuses" says that the library has no such mean.',
        "",
        "What is promised of a float32 mean, and of every float32 gradient that is a sum: at most 4 units of 2**-23",
        "times the mean (the sum) of the magnitudes, for any window, number of terms and layout, while partial sums",
        "stay below the largest float32, 3.4e38, and down to 2**-126, below which rounding is absolute. Where terms",
        "cancel, the result is smaller than they are, and may have no right digit: [1e8, 1, -1e8, 1] has the mean 0.5,",
        "and 0 in float32. Half precision is rounded once more. Lp and the generalised mean are worked out in float64,",
        "with a power that is within 0.8 units in the last place, and rounded once; within 9 units, of a power of 6 or",
        "less, where both the elements and the result have fewer bits than float64. A `filters.uniform_filter` of",
        "several passes errs by as much in each of them.",
        "",
        "Versions: " + ", ".join(f"{name} {version(name)}" for name in libraries) + ".",
        "",
        f"| dtype | data | {' | '.join(libraries)} |",
        "| --- | --- |" + " ---: |" * len(libraries),
    ]
    for dtype in dtypes:
        for case in data(dtype):
            print(f"{dtype}: {case.name}", file=sys.stderr)
            truth, magnitudes = exact(case), exact(case, magnitudes=True)
            cells = []
            for name in libraries:
                try:
                    means = LIBRARIES[name](case.values, case.kernel_size)
                    error = ulps(means, truth, magnitudes, dtype)
                    # A result of another dtype is another operation, and NumPy may not even read it right.
                    same = means.dtype == case.values.dtype or (name, dtype) == ("torch", "bfloat16")
                    cells.append(f"{error:,.2f}" if same else "refuses")
                except Exception:  # whatever a library raises, it has no such mean
                    cells.append("refuses")
            lines.append(f"| {dtype} | {case.name} | {' | '.join(cells)} |")
    page = "\n".join(lines) + "\n"
    PAGE.write_text(page, encoding="utf-8")
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
