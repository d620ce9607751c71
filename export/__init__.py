"""Layers as ONNX models, and models of others made portable. Needs onnx.

::

    model                  `to_onnx`: the graph of a layer, or of several one after another
    backward               `to_onnx_backward`: the graph of a gradient
    arguments              the arguments of both, checked
    layer_calls            layers in their places, and the orders of axes around them
    opsets                 the opset that a graph is written in where none is given
    graph_builder          a graph under construction
    dynamic_sizes          sizes that are known when a model runs
    lowering               each pooling, and each gradient, as a graph
    verification           finished models against their layers, in onnxruntime
    backward_verification  the same of gradients
    deployed               what released runtimes make of the forms of a node
    repair                 `make_portable`: models of others, rewritten
    files                  `save`: models as files
"""

from pooling.extras import needing

with needing("onnx", __name__):
    from .backward import to_onnx_backward
    from .files import save
    from .model import to_onnx
    from .repair import Change, Repaired, Skipped, make_portable
    from .verification import VerificationError

__all__ = [
    "Change",
    "Repaired",
    "Skipped",
    "VerificationError",
    "make_portable",
    "save",
    "to_onnx",
    "to_onnx_backward",
]
