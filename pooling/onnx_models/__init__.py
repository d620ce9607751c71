"""ONNX models: the one place that reads them. Needs onnx.

::

    load       reads a model, and refuses what would break or burst its readers
    missing    what is said of the name of a network, where a file is read
    limits     what a model may grow to when its functions are inlined
    constants  values that follow from no input, and shape inference as onnx does it
    functions  functions inlined; the version of the operator set that nodes are of
    graph      graphs, subgraphs and functions: nodes, attributes, names
    shapes     shapes recorded and inferred
    nodes      a pooling node as a layer, or as a function of arrays
    making     nodes, tensors and small models, made
    session    a model in onnxruntime
    contrib    poolings of com.microsoft, and the nodes of ONNX that do the same
    backend    ONNX's backend interface for models of pooling nodes
"""

from pooling.extras import needing

with needing("onnx", __name__):
    from .nodes import POOLING_OPERATORS, function_from_node, layer_from_node

__all__ = ["POOLING_OPERATORS", "function_from_node", "layer_from_node"]
