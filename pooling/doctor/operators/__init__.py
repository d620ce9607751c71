"""What each operator does to shapes, receptive fields and cost: one record for each.

nodes         a node, its tensors, and what comes out of it
registry      the table of records, and how one is applied
common        what several operators share: views, broadcasting
convolution   Conv, ConvTranspose and their quantised forms
pooling       every layer of this package, and the operators of ONNX that they are
elementwise   activations, normalisations, arithmetic
dense         Gemm, MatMul
reshape       Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Expand, Tile
slice_pad     Slice, Pad, Split, Gather, Concat
reduce        ReduceMean and the like, ArgMax
resize        Resize, Upsample, DepthToSpace, SpaceToDepth
constants     Shape, Size, ConstantOfShape, Range
columns       im2col, Col2Im
einsum        Einsum, Attention
data          TopK, GatherND, ScatterND and the like, LSTM, and what gives as many elements as the data has it
control       If, Loop and Scan that the size of the input does not decide
places        where the cells of a map stand in a tensor
parts         windows on a map that stands in parts
torch         what only torch has
"""

from . import (
    columns,
    constants,
    control,
    convolution,
    data,
    dense,
    einsum,
    elementwise,
    pooling,
    reduce,
    reshape,
    resize,
    slice_pad,
)
from .registry import OPERATORS, SMALL, OnnxOperator, outcome_of

__all__ = [
    "OPERATORS",
    "SMALL",
    "OnnxOperator",
    "columns",
    "constants",
    "control",
    "convolution",
    "data",
    "dense",
    "einsum",
    "elementwise",
    "outcome_of",
    "pooling",
    "reduce",
    "reshape",
    "resize",
    "slice_pad",
]
