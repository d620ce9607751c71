"""One library in a process of its own: ``python -m benchmarks.worker LIBRARY THREADS``.

Reads the name of a case from each line of standard input, runs it for a while, and answers with a line of JSON: the
median time of one call in seconds, or null where the library cannot do it. Between two lines the process sleeps, so
that no idle threads disturb the others.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np

from benchmarks.cases import CASES, Case

SECONDS = 0.05
Call = Callable[[], Any]


def _input(case: Case) -> np.ndarray:
    random = np.random.default_rng(0)
    values = random.standard_normal(case.shape, dtype=np.float32)
    return (values * 50 + 128).clip(0, 255).astype(case.dtype) if case.dtype == "uint8" else values.astype(case.dtype)


def with_pooling(case: Case, threads: int) -> Call:
    import pooling

    pooling.set_num_threads(threads)
    x = _input(case)
    dimensions = len(case.shape) - 2
    function = getattr(pooling, f"{case.operator}_pool{dimensions}d")
    if case.operator == "max":
        return lambda: function(x, case.kernel_size, case.stride, case.padding)
    return lambda: function(x, case.kernel_size, case.stride, case.padding, count_include_pad=False)


def with_floor(case: Case, threads: int) -> Call:
    """Copy the bytes that the case must move: its input and its output, each read and written once."""
    source = _input(case)
    target = np.empty_like(source).reshape(-1)
    half = (source.size + math.prod(case.output_shape)) // 2
    flat = source.reshape(-1)[: min(half, source.size)]
    into = target[: flat.size]
    return lambda: np.copyto(into, flat)


def _single_node_model(case: Case) -> bytes:
    import onnx
    from onnx import helper

    dimensions = len(case.shape) - 2
    node = helper.make_node(
        {"max": "MaxPool", "avg": "AveragePool"}[case.operator],
        ["x"],
        ["y"],
        kernel_shape=[case.kernel_size] * dimensions,
        strides=[case.stride] * dimensions,
        pads=[case.padding] * 2 * dimensions,
    )
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(case.dtype))
    graph = helper.make_graph(
        [node],
        "case",
        [helper.make_tensor_value_info("x", kind, case.shape)],
        [helper.make_tensor_value_info("y", kind, case.output_shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model)
    serialized: bytes = model.SerializeToString()
    return serialized


def with_onnxruntime(case: Case, threads: int) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(_single_node_model(case), options, providers=["CPUExecutionProvider"])
    feed = {"x": _input(case)}
    return lambda: session.run(None, feed)


def with_openvino(case: Case, threads: int) -> Call:
    import openvino

    hints = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    core = openvino.Core()
    request = core.compile_model(core.read_model(_single_node_model(case)), "CPU", hints).create_infer_request()
    x = _input(case)
    return lambda: request.infer([x], share_inputs=True)


def with_torch(case: Case, threads: int) -> Call:
    import torch

    torch.set_num_threads(threads)
    x = torch.from_numpy(_input(case))
    function = getattr(torch.nn.functional, f"{case.operator}_pool{len(case.shape) - 2}d")
    keywords = {} if case.operator == "max" else {"count_include_pad": False}
    return lambda: function(x, case.kernel_size, case.stride, case.padding, **keywords)


LIBRARIES: dict[str, Callable[[Case, int], Call]] = {
    "pooling": with_pooling,
    "floor": with_floor,
    "onnxruntime": with_onnxruntime,
    "openvino": with_openvino,
    "torch": with_torch,
}


def version(library: str) -> str:
    """Version of a library; ours also where it is not installed but stands in the working folder."""
    import pooling

    return pooling.__version__ if library == "pooling" else metadata.version(library)


def measure(call: Call) -> float:
    """Median time of a call, warm."""
    for _ in range(3):
        call()
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times) < 3:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main() -> None:
    """Answer until standard input ends."""
    prepare, threads = LIBRARIES[sys.argv[1]], int(sys.argv[2])
    cases = {case.name: case for case in CASES}
    for line in sys.stdin:
        try:
            answer: float | None = measure(prepare(cases[line.strip()], threads))
        except Exception:  # whatever a library raises, it cannot do the case
            answer = None
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
