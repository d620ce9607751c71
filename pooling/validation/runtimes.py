"""Other runtimes, asked to run a single pooling node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray

from .stages import CannotRunError, Stage

__all__ = ["OnnxRuntime", "single_node_model"]

FATAL = 4
"""Severity from which onnxruntime may write to stderr; errors arrive as exceptions anyway."""


def single_node_model(stage: Stage) -> onnx.ModelProto:
    """Make a model of one node, with the attributes, the opset and the input shape that it has in its network."""
    node = onnx.NodeProto()
    node.CopyFrom(stage.node)
    kinds = {"result": onnx.helper.np_dtype_to_tensor_dtype(stage.dtype), "indices": onnx.TensorProto.INT64}
    names = [name for name, output in zip(kinds, node.output, strict=False) if output]
    node.input[:], node.output[:] = ["input"], names
    dtype = kinds["result"]
    rank = [None] * len(stage.input_shape)
    graph = onnx.helper.make_graph(
        [node],
        "stage",
        [onnx.helper.make_tensor_value_info("input", dtype, stage.input_shape)],
        [onnx.helper.make_tensor_value_info(name, kinds[name], rank) for name in names],
    )
    imports = [onnx.helper.make_opsetid("", stage.opset)]
    return onnx.helper.make_model(
        graph,
        opset_imports=imports,
        ir_version=onnx.helper.find_min_ir_version_for(imports, ignore_unknown=True),
    )


class OnnxRuntime:
    """A stage in onnxruntime, on the CPU.

    Parameters
    ----------
    stage : Stage
        What to run.
    threads : int
        Threads for one call.

    Raises
    ------
    CannotRunError
        If onnxruntime refuses the node.
    """

    def __init__(self, stage: Stage, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = FATAL
        # Waiting threads spin by default, for tens of milliseconds. Two are enough to stay awake from call to call.
        options.add_session_config_entry("session.intra_op.spin_duration_us", "2000")
        try:
            self._session = onnxruntime.InferenceSession(
                single_node_model(stage).SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no public base class
            raise CannotRunError(f"onnxruntime refuses it ({_reason(error)})") from error

    def __call__(self, array: NDArray[Any]) -> Sequence[NDArray[Any]]:
        """Run the stage; returns the result, and the indices where the node asks for them."""
        try:
            results: Sequence[NDArray[Any]] = self._session.run(None, {"input": array})
        except Exception as error:
            raise CannotRunError(f"onnxruntime fails on it ({_reason(error)})") from error
        return results


def _reason(error: Exception) -> str:
    """Return what an exception of onnxruntime says, on one line and without the marks of its parts."""
    text = " ".join(str(error).split())
    return text.rpartition(" : ")[2].rstrip(".")
