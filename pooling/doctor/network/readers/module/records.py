"""The operators of ATen, one record for each: how a call becomes nodes of the doctor.

Where ONNX has the same operator, the node is one of ONNX and the doctor's rule for it holds; where it has not, the rule
is one of `pooling.doctor.operators.torch`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

import pooling
from pooling import geometry
from pooling.geometry import Axis
from pooling.layer import Layer

from ....operators import OPERATORS, columns
from ....operators import torch as rules
from ....operators.nodes import NodeCall, Outcome, Shape
from .capture import AtenCall, Recorder

__all__ = ["RECORDS", "is_recorded", "write"]

Write = Callable[[Recorder, AtenCall], None]
RECORDS: dict[str, Write] = {}
"""By the name of an operator, without its overload and without the underscore of those that work in place."""


def aten(*names: str) -> Callable[[Write], Write]:
    """Enter the record of operators that share a function."""

    def enter(function: Write) -> Write:
        RECORDS.update(dict.fromkeys(names, function))
        return function

    return enter


def write(recorder: Recorder, call: AtenCall) -> bool:
    """Write the nodes of a call; tell whether it has a record."""
    record = RECORDS.get(call.name)
    if record is None and torch.Tag.pointwise in call.function.tags:
        record = _pointwise
    if record is None:
        return False
    record(recorder, call)
    return True


def is_recorded(name: str) -> bool:
    """Whether an operator is written as it is, though torch would take it apart."""
    return name in RECORDS


def _axis(call: AtenCall, axis: int, rank: int | None = None) -> int:
    return axis % max(1, call.inputs[0].dim() if rank is None else rank)


def _ints(value: Any, count: int) -> list[int]:
    """Return one integer for each axis."""
    given = [int(value)] if isinstance(value, int) else [int(each) for each in value]
    return given * count if len(given) == 1 else given


# ---------------------------------------------------------------------------------------------------------------------
# Convolutions and products


@aten("convolution", "_convolution")
def _convolution(recorder: Recorder, call: AtenCall) -> None:
    count = call["input"].dim() - 2
    padding = _ints(call["padding"], count)
    attributes: dict[str, Any] = {
        "strides": _ints(call["stride"], count),
        "pads": padding * 2,
        "dilations": _ints(call["dilation"], count),
        "group": int(call["groups"]),
    }
    if call["transposed"]:
        attributes["output_padding"] = _ints(call["output_padding"], count)
    operator = "ConvTranspose" if call["transposed"] else "Conv"
    recorder.emit(call, operator, [call["input"], call["weight"], call["bias"]], attributes=attributes)


@aten("linear")
def _linear(recorder: Recorder, call: AtenCall) -> None:
    given, weight, bias = call["input"], call["weight"], call["bias"]
    if given.dim() == 2 and weight.dim() == 2:
        recorder.emit(call, "Gemm", [given, weight, bias], attributes={"transB": 1})
        return
    if recorder.is_data(weight) or weight.dim() != 2:
        _product(recorder, call)
        return
    turned = recorder.weight_constant(weight, tuple(reversed(weight.shape)))
    recorder.emit(call, "MatMul", [given, turned, bias])


def _product(recorder: Recorder, call: AtenCall) -> None:
    inner = call.inputs[0].shape[-1] if call.inputs[0].dim() else 1
    recorder.emit(
        call, f"aten.{call.name}", call.inputs, rule=rules.dense(call.shapes, math.prod(call.shapes[0]) * inner)
    )


@aten("mm", "bmm", "matmul")
def _matmul(recorder: Recorder, call: AtenCall) -> None:
    recorder.emit(call, "MatMul", call.inputs)


@aten("mv", "dot", "vdot", "inner")
def _vector_product(recorder: Recorder, call: AtenCall) -> None:
    _product(recorder, call)


@aten("addmm", "baddbmm", "addbmm", "addmv")
def _product_and_sum(recorder: Recorder, call: AtenCall) -> None:
    added, left, right = call.inputs[:3]
    whole = left.dim() == 2 and right.dim() == 2
    if call.name == "addmm" and whole and not recorder.is_data(added):
        recorder.emit(call, "Gemm", [left, right, added])
    elif call.name == "baddbmm" and not recorder.is_data(added):
        recorder.emit(call, "MatMul", [left, right, added])
    else:
        macs = math.prod(left.shape) * (right.shape[-1] if right.dim() > 1 else 1)
        recorder.emit(call, f"aten.{call.name}", call.inputs, rule=rules.dense(call.shapes, macs))


@aten("_trilinear", "bilinear", "_cdist_forward", "_euclidean_dist", "cdist")
def _pairs(recorder: Recorder, call: AtenCall) -> None:
    macs = math.prod(call.shapes[0]) * call.inputs[0].shape[-1]
    recorder.emit(call, f"aten.{call.name}", call.inputs, rule=rules.dense(call.shapes, macs))


@aten(
    "scaled_dot_product_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
)
def _attention(recorder: Recorder, call: AtenCall) -> None:
    query, key, value = call["query"], call["key"], call["value"]
    rank = query.dim()
    if key.dim() != rank or query.shape[:-2] != key.shape[:-2]:
        steps = math.prod(query.shape[:-1]) * key.shape[-2]
        macs = int(steps * (query.shape[-1] + value.shape[-1]))
        recorder.emit(
            call,
            "aten.scaled_dot_product_attention",
            [query, key, value],
            call.outputs[:1],
            rule=rules.dense(call.shapes, macs),
        )
        return
    # As exporters write it: the product of queries and keys, softmax, the product with the values.
    places = list(range(rank))
    turned = (
        recorder.emit(
            call,
            "Transpose",
            [key],
            attributes={"perm": [*places[:-2], rank - 1, rank - 2]},
            label="attention_keys",
            shape=(*map(int, key.shape[:-2]), int(key.shape[-1]), int(key.shape[-2])),
        )
        if recorder.is_data(key)
        else recorder.weight_constant(key, (*key.shape[:-2], key.shape[-1], key.shape[-2]))
    )
    scores: Shape = (*map(int, query.shape[:-1]), int(key.shape[-2]))
    found = recorder.emit(call, "MatMul", [query, turned], label="attention_scores", shape=scores)
    mask = call.get("attn_mask")
    if mask is None:
        mask = call.get("attn_bias")
    if mask is not None:
        found = recorder.emit(call, "Add", [found, mask], label="attention_mask", shape=scores)
    weights = recorder.emit(
        call, "Softmax", [found], attributes={"axis": rank - 1}, label="attention_softmax", shape=scores
    )
    recorder.emit(call, "MatMul", [weights, value], call.outputs[:1], label="attention")


@aten("lstm", "gru", "rnn_tanh", "rnn_relu")
def _recurrent(recorder: Recorder, call: AtenCall) -> None:
    given, weights = call["input"], [each for each in call["params"] if each.dim() == 2]
    tokens = math.prod(given.shape[:-1])
    macs = int(tokens * sum(math.prod(each.shape) for each in weights))
    first = [each for each in call.inputs if each is given] + [each for each in call.inputs if each is not given]
    sequence = 1 if call["batch_first"] else 0
    recorder.emit(call, call.name.partition("_")[0].upper(), first, rule=rules.recurrent(call.shapes, sequence, macs))


@aten("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
def _recurrent_cell(recorder: Recorder, call: AtenCall) -> None:
    macs = int(call["input"].shape[0] * (math.prod(call["w_ih"].shape) + math.prod(call["w_hh"].shape)))
    recorder.emit(call, call.name.partition("_")[0].upper(), call.inputs, rule=rules.dense(call.shapes, macs))


# ---------------------------------------------------------------------------------------------------------------------
# Pooling


def _always(layer: Layer) -> Callable[[Shape], Layer]:
    return lambda shape: layer


def _pool(recorder: Recorder, call: AtenCall, kind: str, arguments: dict[str, Any], count: int) -> None:
    """Write a pooling; its indices, if it has some, are the second result."""
    layer = getattr(pooling, f"{kind}{count}d")(**arguments)
    names = {"MaxPool": "MaxPool", "AvgPool": "AveragePool", "MaxUnpool": "MaxUnpool"}
    recorder.emit(call, names.get(kind, f"{kind}{count}d"), [call.inputs[0]], layer=_always(layer))


def _sizes(value: Any, count: int) -> tuple[int, ...] | None:
    return tuple(_ints(value, count)) if isinstance(value, int) or value else None


def _window_pool(kind: str, count: int, *names: str) -> None:
    def record(recorder: Recorder, call: AtenCall) -> None:
        arguments: dict[str, Any] = {
            "kernel_size": _sizes(call["kernel_size"], count),
            "stride": _sizes(call["stride"], count),
            "padding": _sizes(call["padding"], count) or 0,
            "ceil_mode": bool(call["ceil_mode"]),
        }
        if kind == "MaxPool":
            arguments["dilation"] = _sizes(call["dilation"], count) or 1
        else:
            arguments["count_include_pad"] = bool(call["count_include_pad"])
            arguments["divisor_override"] = call.get("divisor_override")
        _pool(recorder, call, kind, arguments, count)

    aten(*names)(record)


def _adaptive_pool(kind: str, count: int, *names: str) -> None:
    def record(recorder: Recorder, call: AtenCall) -> None:
        _pool(recorder, call, kind, {"output_size": _sizes(call["output_size"], count)}, count)

    aten(*names)(record)


for _count in (1, 2, 3):
    _window_pool("MaxPool", _count, f"max_pool{_count}d", f"max_pool{_count}d_with_indices")
    _window_pool("AvgPool", _count, f"avg_pool{_count}d")
    _adaptive_pool("AdaptiveAvgPool", _count, f"adaptive_avg_pool{_count}d", f"_adaptive_avg_pool{_count}d")
    _adaptive_pool("AdaptiveMaxPool", _count, f"adaptive_max_pool{_count}d")


@aten("fractional_max_pool2d", "fractional_max_pool3d")
def _fractional_pool(recorder: Recorder, call: AtenCall) -> None:
    count = int(call.name[-2])
    arguments = {"kernel_size": _sizes(call["kernel_size"], count), "output_size": _sizes(call["output_size"], count)}
    _pool(recorder, call, "FractionalMaxPool", arguments, count)


@aten("max_unpool2d", "max_unpool3d")
def _unpool(recorder: Recorder, call: AtenCall) -> None:
    why = "cells are put where the indices say"
    recorder.emit(call, "MaxUnpool", [call.inputs[0]], rule=rules.unfollowed(call.shapes, why, "transposed"))


@aten("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool")
def _regions(recorder: Recorder, call: AtenCall) -> None:
    why = "its regions are data"
    recorder.emit(call, f"torchvision.{call.name}", call.inputs, rule=rules.unfollowed(call.shapes, why, "pooling"))


@aten("deform_conv2d")
def _deformable(recorder: Recorder, call: AtenCall) -> None:
    weight = call["weight"]
    macs = int(math.prod(call.shapes[0]) * math.prod(weight.shape[1:]))

    def rule(found: Any) -> Any:
        why = "its taps are placed by data"
        outcome = rules.unfollowed(call.shapes, why, "convolution")(found)
        return replace(outcome, macs=macs)

    recorder.emit(call, "DeformConv", call.inputs, rule=rule)


# ---------------------------------------------------------------------------------------------------------------------
# Normalisations


@aten(
    "batch_norm",
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_no_update",
    "_batch_norm_with_update",
    "cudnn_batch_norm",
)
def _batch_norm(recorder: Recorder, call: AtenCall) -> None:
    running = call.get("running_mean") is not None and not call.get("training", False)
    operator = "BatchNormalization" if running else "InstanceNormalization"
    inputs = [call["input"], call["weight"], call["bias"], call.get("running_mean"), call.get("running_var")]
    recorder.emit(call, operator, inputs, call.outputs[:1])


@aten("instance_norm")
def _instance_norm(recorder: Recorder, call: AtenCall) -> None:
    operator = "InstanceNormalization" if call["use_input_stats"] else "BatchNormalization"
    inputs = [call["input"], call["weight"], call["bias"], call["running_mean"], call["running_var"]]
    recorder.emit(call, operator, inputs)


@aten("group_norm", "native_group_norm")
def _group_norm(recorder: Recorder, call: AtenCall) -> None:
    recorder.emit(call, "GroupNormalization", [call["input"], call["weight"], call["bias"]], call.outputs[:1])


@aten("layer_norm", "native_layer_norm", "rms_norm", "_fused_rms_norm")
def _layer_norm(recorder: Recorder, call: AtenCall) -> None:
    given = call["input"]
    rank, count = given.dim(), len(call["normalized_shape"])
    operator = "RMSNormalization" if "rms" in call.name else "LayerNormalization"
    inputs = [given, call.get("weight"), call.get("bias")]
    # A norm over the whole map shows each cell all of it.
    mixed = range(rank - count, rank)
    recorder.emit(
        call,
        operator,
        inputs,
        call.outputs[:1],
        attributes={"axis": rank - count},
        rule=rules.same_cells(call.shapes, mixed=mixed),
        free=rules.same_cells(mixed=mixed),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Cell by cell


UNARY = {
    "relu": "Relu", "silu": "Swish", "gelu": "Gelu", "sigmoid": "Sigmoid", "tanh": "Tanh", "hardswish": "HardSwish",
    "hardsigmoid": "HardSigmoid", "leaky_relu": "LeakyRelu", "elu": "Elu", "celu": "Celu", "selu": "Selu",
    "hardtanh": "Clip", "relu6": "Clip", "clamp": "Clip", "clamp_min": "Clip", "clamp_max": "Clip", "exp": "Exp",
    "log": "Log", "sqrt": "Sqrt", "neg": "Neg", "abs": "Abs", "erf": "Erf", "mish": "Mish", "softplus": "Softplus",
    "sin": "Sin", "cos": "Cos", "reciprocal": "Reciprocal", "round": "Round", "floor": "Floor", "ceil": "Ceil",
    "sign": "Sign", "logical_not": "Not",
}  # fmt: skip
BINARY = {
    "add": "Add", "sub": "Sub", "rsub": "Sub", "mul": "Mul", "div": "Div", "true_divide": "Div", "maximum": "Max",
    "minimum": "Min", "pow": "Pow", "where": "Where", "eq": "Equal", "gt": "Greater", "lt": "Less",
    "ge": "GreaterOrEqual", "le": "LessOrEqual", "logical_and": "And", "logical_or": "Or", "remainder": "Mod",
    "fmod": "Mod", "prelu_kernel": "PRelu",
}  # fmt: skip


@aten(*UNARY, *BINARY, "masked_fill", "addcmul", "addcdiv", "lerp", "copy", "_prelu_kernel", "rrelu_with_noise",
      "log_sigmoid_forward", "relu6", "heaviside", "floor_divide", "logical_and", "logical_or", "logical_xor",
      "bitwise_and", "bitwise_or", "bitwise_not", "clamp", "frac", "erfinv", "nan_to_num", "polar", "complex",
      "view_as_real", "view_as_complex")  # fmt: skip
def _pointwise(recorder: Recorder, call: AtenCall) -> None:
    name = call.name.strip("_")
    inputs = [each for each in call.inputs if each.dim() or recorder.is_data(each)] or call.inputs
    known = UNARY.get(name) if len(call.inputs) == 1 else BINARY.get(name)
    known = known or BINARY.get(name) or UNARY.get(name)
    operator = known if known in OPERATORS else f"aten.{name}"
    if call.name in ("view_as_real", "view_as_complex"):
        _same_cells(recorder, call)
        return
    shapes = call.shapes[:1]
    # Of one that works in place, or on a number, the shape need not be that of all inputs together.
    free = rules.same_cells() if all(each.dim() for each in inputs) else None
    recorder.emit(call, operator or name, inputs, call.outputs[:1], rule=rules.same_cells(shapes), free=free)


@aten("_fused_moving_avg_obs_fq_helper", "_fake_quantize_learnable_per_tensor_affine",
      "_fake_quantize_learnable_per_channel_affine", "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
      "fake_quantize_per_channel_affine_cachemask", "fake_quantize_per_tensor_affine_cachemask")  # fmt: skip
def _fake_quantise(recorder: Recorder, call: AtenCall) -> None:
    rule, free = rules.same_cells(call.shapes[:1]), rules.same_cells()
    recorder.emit(call, "aten.fake_quantize", call.inputs[:1], call.outputs[:1], rule=rule, free=free)


def _same_cells(recorder: Recorder, call: AtenCall) -> None:
    why = "the axes change"
    touched = [call.inputs[0].dim() - 1]
    recorder.emit(call, f"aten.{call.name}", call.inputs, rule=rules.rearranged(call.shapes, why, touched))


@aten("softmax", "_softmax", "log_softmax", "_log_softmax", "_safe_softmax")
def _softmax(recorder: Recorder, call: AtenCall) -> None:
    operator = "LogSoftmax" if "log" in call.name else "Softmax"
    recorder.emit(call, operator, [call.inputs[0]], attributes={"axis": _axis(call, int(call["dim"]))})


@aten("clone", "detach", "alias", "contiguous", "_to_copy", "lift_fresh", "lift_fresh_copy", "dropout",
      "native_dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", "conj", "_conj", "resolve_conj",
      "positive", "real")  # fmt: skip
def _identity(recorder: Recorder, call: AtenCall) -> None:
    recorder.same(call)


@aten("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "sort", "argsort", "flip", "roll", "glu")
def _along_axes(recorder: Recorder, call: AtenCall) -> None:
    given = call.get("dims", call.get("dim"))
    rank = call.inputs[0].dim()
    axes = range(rank) if given is None or given == [] else [axis % rank for axis in _ints(given, 1)]
    operator = f"aten.{call.name}"
    if call.name == "roll" and call["dims"]:
        rule = rules.rolled(_ints(call["shifts"], 1), list(axes))
        recorder.emit(call, operator, call.inputs, rule=rule, free=rule)
    elif call.name == "flip":
        recorder.emit(call, operator, call.inputs, rule=rules.flipped(list(axes)))
    elif call.name == "roll":
        why = "it moves cells"
        recorder.emit(call, operator, call.inputs, rule=rules.rearranged(call.shapes, why, axes))
    elif call.name == "glu":
        why = "it splits the map"
        recorder.emit(call, operator, call.inputs, rule=rules.rearranged(call.shapes, why, axes, "elementwise"))
    else:
        recorder.emit(call, operator, call.inputs, rule=rules.same_cells(call.shapes, mixed=axes))


@aten("_fft_r2c", "_fft_c2c", "_fft_c2r")
def _fourier(recorder: Recorder, call: AtenCall) -> None:
    rank = call.inputs[0].dim()
    axes = [axis % rank for axis in _ints(call["dim"], 1)]
    why = "a Fourier transform depends on the whole map"
    recorder.emit(call, f"aten.{call.name.strip('_')}", call.inputs, rule=rules.rearranged(call.shapes, why, axes))


# ---------------------------------------------------------------------------------------------------------------------
# Reductions


REDUCED = {"mean": "ReduceMean", "sum": "ReduceSum", "amax": "ReduceMax", "amin": "ReduceMin", "max": "ReduceMax",
           "min": "ReduceMin", "logsumexp": "ReduceLogSumExp", "prod": "ReduceProd",
           "linalg_vector_norm": "ReduceL2", "norm": "ReduceL2"}  # fmt: skip


@aten(*REDUCED, "var", "std", "var_mean", "std_mean", "any", "all", "nansum", "median", "aminmax", "count_nonzero")
def _reduce(recorder: Recorder, call: AtenCall) -> None:
    given = call.inputs[0]
    if call.name in ("max", "min") and len(call.inputs) == 2:
        recorder.emit(call, "Max" if call.name == "max" else "Min", call.inputs)
        return
    found = call.get("dim")
    axes = list(range(given.dim())) if found is None or found == [] else [a % given.dim() for a in _ints(found, 1)]
    keep = int(bool(call.get("keepdim", False)))
    operator = REDUCED.get(call.name, "ReduceSumSquare")
    for number, output in enumerate(call.outputs):
        label = "" if number == 0 else f"{call.name}_{number}"
        sizes = recorder.size_constant(axes)
        recorder.emit(call, operator, [given, sizes], [output], attributes={"keepdims": keep}, label=label)


@aten("argmax", "argmin")
def _arg(recorder: Recorder, call: AtenCall) -> None:
    if call["dim"] is None:
        recorder.emit(call, "ArgMax", call.inputs, rule=rules.rearranged(call.shapes, "one of all cells"))
        return
    attributes = {"axis": _axis(call, int(call["dim"])), "keepdims": int(bool(call["keepdim"]))}
    recorder.emit(call, "ArgMax" if call.name == "argmax" else "ArgMin", call.inputs, attributes=attributes)


@aten("topk", "kthvalue")
def _largest(recorder: Recorder, call: AtenCall) -> None:
    why = "which cells are chosen is data"
    axes = [_axis(call, int(call["dim"]))]
    recorder.emit(
        call,
        "TopK" if call.name == "topk" else "aten.kthvalue",
        call.inputs,
        rule=rules.rearranged(call.shapes, why, axes, "slice"),
    )


# ---------------------------------------------------------------------------------------------------------------------
# The same elements in another shape


@aten("view", "_unsafe_view", "reshape", "_reshape_alias", "flatten", "unflatten")
def _view(recorder: Recorder, call: AtenCall) -> None:
    shape = call.shapes[0]
    if shape == tuple(call.inputs[0].shape):
        _unchanged(recorder, call)
        return
    last = call.inputs[0].dim() - 1
    if call.name == "flatten" and int(call["start_dim"]) == 1 and _axis(call, int(call["end_dim"])) == last > 1:
        recorder.emit(call, "Flatten", [call.inputs[0]], attributes={"axis": 1})
        return
    wanted = call.get("size", call.get("shape"))
    sizes = list(shape) if wanted is None or 0 in shape else [int(each) for each in wanted]
    attributes = {"allowzero": int(0 in shape)}
    recorder.emit(call, "Reshape", [call.inputs[0], recorder.size_constant(sizes)], attributes=attributes)


def _unchanged(recorder: Recorder, call: AtenCall) -> None:
    """Write what changes nothing: the result has the name of the input, and is a view of it where it was one."""
    recorder.same(call)


@aten("squeeze")
def _squeeze(recorder: Recorder, call: AtenCall) -> None:
    given, rank = call.inputs[0], call.inputs[0].dim()
    dims = call.get("dim")
    asked = range(rank) if dims is None else [axis % max(1, rank) for axis in _ints(dims, 1)]
    axes = [axis for axis in asked if rank and given.shape[axis] == 1]
    if not axes:
        _unchanged(recorder, call)
        return
    recorder.emit(call, "Squeeze", [given, recorder.size_constant(axes)])


@aten("unsqueeze")
def _unsqueeze(recorder: Recorder, call: AtenCall) -> None:
    axis = int(call["dim"]) % (call.inputs[0].dim() + 1)
    recorder.emit(call, "Unsqueeze", [call.inputs[0], recorder.size_constant([axis])])


@aten("permute", "transpose", "t", "swapaxes", "swapdims", "movedim", "moveaxis", "mT", "numpy_T", "adjoint")
def _permute(recorder: Recorder, call: AtenCall) -> None:
    rank = call.inputs[0].dim()
    order = list(range(rank))
    if call.name == "permute":
        order = [axis % rank for axis in _ints(call["dims"], 1)]
    elif call.name in ("movedim", "moveaxis"):
        sources = [axis % rank for axis in _ints(call["source"], 1)]
        targets = [axis % rank for axis in _ints(call["destination"], 1)]
        rest = iter([axis for axis in order if axis not in sources])
        placed = dict(zip(targets, sources, strict=True))
        order = [placed[axis] if axis in placed else next(rest) for axis in range(rank)]
    elif call.name == "numpy_T":
        order.reverse()
    elif rank > 1:
        first, second = (0, 1) if call.name == "t" else (rank - 2, rank - 1)
        names = [name for name in ("dim0", "axis0", "dim1", "axis1") if name in call.arguments]
        if names:
            first, second = (int(call[name]) % rank for name in names)
        order[first], order[second] = order[second], order[first]
    recorder.emit(call, "Transpose", [call.inputs[0]], attributes={"perm": order})


@aten("expand", "expand_as", "broadcast_to")
def _expand(recorder: Recorder, call: AtenCall) -> None:
    if call.shapes[0] == tuple(call.inputs[0].shape):
        _unchanged(recorder, call)
        return
    recorder.emit(call, "Expand", [call.inputs[0], recorder.size_constant(call.shapes[0])])


@aten("repeat", "tile")
def _repeat(recorder: Recorder, call: AtenCall) -> None:
    given, times = call.inputs[0], _ints(call.get("repeats", call.get("dims")), 1)
    if len(times) == given.dim():
        recorder.emit(call, "Tile", [given, recorder.size_constant(times)])
    else:
        recorder.emit(call, "aten.repeat", [given], rule=rules.rearranged(call.shapes, "it repeats the map"))


@aten("repeat_interleave", "unfold", "as_strided", "diagonal", "diag_embed", "tril", "triu",
      "channel_shuffle", "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle", "rot90", "unfold_copy",
      "diagonal_scatter", "block_diag", "as_strided_scatter")  # fmt: skip
def _other_shape(recorder: Recorder, call: AtenCall) -> None:
    rank = call.inputs[0].dim()
    if call.name in ("pixel_shuffle", "pixel_unshuffle") and rank == 4:
        shuffles = call.name == "pixel_shuffle"
        block = int(call["upscale_factor" if shuffles else "downscale_factor"])
        recorder.emit(
            call, "DepthToSpace" if shuffles else "SpaceToDepth", [call.inputs[0]], attributes={"blocksize": block}
        )
        return
    if call.name in ("tril", "triu"):
        recorder.emit(call, f"aten.{call.name}", call.inputs, rule=rules.same_cells(call.shapes))
        return
    if call.name == "unfold" and rank:
        rule = rules.side_by_side(_axis(call, int(call["dimension"])), int(call["size"]), int(call["step"]))
        recorder.emit(call, "aten.unfold", call.inputs, rule=rule, free=rule)
        return
    touched: Sequence[int] | None = None
    if call.name in ("channel_shuffle", "native_channel_shuffle"):
        touched = [1]
    elif call.name == "repeat_interleave" and call.get("dim") is not None:
        touched = [_axis(call, int(call["dim"]))]
    why = f"{call.name} puts cells elsewhere"
    recorder.emit(call, f"aten.{call.name}", call.inputs, rule=rules.rearranged(call.shapes, why, touched))


@aten("im2col")
def _im2col(recorder: Recorder, call: AtenCall) -> None:
    given = call.inputs[0]
    axes = _block_axes(call, [int(size) for size in given.shape[-2:]])
    recorder.emit(call, "aten.im2col", call.inputs, rule=columns.into_columns(call.shapes, axes))


@aten("col2im")
def _col2im(recorder: Recorder, call: AtenCall) -> None:
    given, size = call.inputs[0], _ints(call["output_size"], 2)
    axes = _block_axes(call, size)
    shape = tuple(map(int, given.shape))

    def rule(found: NodeCall) -> Outcome:
        return Outcome("reshape", call.shapes, columns.put_together(found.view, shape, axes))

    recorder.emit(call, "aten.col2im", call.inputs, rule=rule)


def _block_axes(call: AtenCall, sizes: Sequence[int]) -> tuple[Axis, ...]:
    """Return the blocks of im2col and col2im, which are windows on a map of such sizes."""
    kernel, stride, padding, dilation = (
        tuple(_ints(call[name], 2)) for name in ("kernel_size", "stride", "padding", "dilation")
    )
    return geometry.pool_axes(
        sizes, kernel, stride, tuple((each, each) for each in padding), dilation, function=call.name
    )


# ---------------------------------------------------------------------------------------------------------------------
# Parts, and parts together


@aten("slice", "narrow")
def _slice(recorder: Recorder, call: AtenCall) -> None:
    given, axis = call.inputs[0], _axis(call, int(call["dim"]))
    start = call.get("start")
    begin = 0 if start is None else int(start)
    step = int(call.get("step", 1))
    if call.name == "narrow":
        end = begin + int(call["length"])
        begin = begin + given.shape[axis] if begin < 0 else begin
    else:
        end = LARGEST if call["end"] is None else min(int(call["end"]), LARGEST)
    if call.shapes[0] == tuple(given.shape) and step == 1:
        _unchanged(recorder, call)
        return
    if 0 in call.shapes[0]:  # which torch allows, and ONNX too
        rule = rules.rearranged(call.shapes, "nothing of the map is left", [axis], "slice")
        recorder.emit(call, "Slice", [given], rule=rule)
        return
    numbers = [recorder.size_constant([each]) for each in (begin, end, axis, step)]
    recorder.emit(call, "Slice", [given, *numbers])


LARGEST = 2**31 - 1


@aten("select")
def _select(recorder: Recorder, call: AtenCall) -> None:
    axis = _axis(call, int(call["dim"]))
    recorder.emit(
        call, "Gather", [call.inputs[0], recorder.size_constant(int(call["index"]))], attributes={"axis": axis}
    )


@aten("unbind")
def _unbind(recorder: Recorder, call: AtenCall) -> None:
    axis = _axis(call, int(call["dim"]))
    for number, output in enumerate(call.outputs):
        place = recorder.size_constant(number)
        recorder.emit(call, "Gather", [call.inputs[0], place], [output], attributes={"axis": axis})


@aten("split", "split_with_sizes", "chunk", "unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk",
      "tensor_split", "split_copy")  # fmt: skip
def _split(recorder: Recorder, call: AtenCall) -> None:
    axis = _axis(call, int(call["dim"]))
    if len(call.outputs) == 1:
        _unchanged(recorder, call)
        return
    sizes = recorder.size_constant([int(each.shape[axis]) for each in call.outputs])
    recorder.emit(call, "Split", [call.inputs[0], sizes], attributes={"axis": axis})


@aten("cat", "concat", "concatenate")
def _concatenate(recorder: Recorder, call: AtenCall) -> None:
    rank = call.outputs[0].dim()
    whole = [each for each in call.inputs if each.dim() == rank]  # an empty tensor of one axis counts as nothing
    recorder.emit(call, "Concat", whole, attributes={"axis": int(call["dim"]) % rank})


@aten("stack")
def _stack(recorder: Recorder, call: AtenCall) -> None:
    rank = call.outputs[0].dim()
    axis = int(call["dim"]) % rank
    shape = tuple(1 if place == axis else size for place, size in enumerate(call.shapes[0]))
    parts = [
        recorder.emit(call, "Unsqueeze", [each, recorder.size_constant([axis])], label="stack_part", shape=shape)
        if recorder.is_data(each)
        else recorder.weight_constant(each, shape)
        for each in call.inputs
    ]
    recorder.emit(call, "Concat", parts, attributes={"axis": axis})


@aten("index_select", "embedding")
def _index_select(recorder: Recorder, call: AtenCall) -> None:
    table, places = (call["weight"], call["indices"]) if call.name == "embedding" else (call["self"], call["index"])
    axis = 0 if call.name == "embedding" else _axis(call, int(call["dim"]))
    rule = rules.looked_up(call.shapes, axis, places.dim())
    if not recorder.is_data(table):
        rule = rules.same_cells(call.shapes, "slice")
    recorder.emit(call, "Gather", [table, places], attributes={"axis": axis}, rule=rule)


@aten("index", "_unsafe_index")
def _index(recorder: Recorder, call: AtenCall) -> None:
    table, given = call["self"], list(call["indices"])
    used = [axis for axis, each in enumerate(given) if each is not None]
    if recorder.is_data(table) and len(used) == 1:
        rule = rules.looked_up(call.shapes, used[0], given[used[0]].dim())
    elif recorder.is_data(table) and call.outputs[0].dim() == table.dim():
        rule = rules.rearranged(call.shapes, "it picks cells", used, "slice")
    else:
        rule = rules.rearranged(call.shapes, "it picks cells", None, "slice")
    recorder.emit(call, "aten.index", call.inputs, rule=rule)


@aten("gather", "take_along_dim", "take")
def _gather(recorder: Recorder, call: AtenCall) -> None:
    dim = call.get("dim")
    touched = None if dim is None else [_axis(call, int(dim))]
    why = "which cells are read is data"
    recorder.emit(
        call,
        "GatherElements" if call.name == "gather" else f"aten.{call.name}",
        call.inputs,
        rule=rules.rearranged(call.shapes, why, touched, "slice"),
    )


@aten("scatter", "scatter_add", "scatter_reduce", "index_put", "_index_put_impl", "index_add", "index_copy",
      "index_fill", "masked_scatter", "slice_scatter", "select_scatter", "_unsafe_index_put")  # fmt: skip
def _scatter(recorder: Recorder, call: AtenCall) -> None:
    inputs = [each for each in call.inputs if recorder.is_data(each)]
    weights = [each for each in call.inputs if not recorder.is_data(each)]
    recorder.emit(call, f"aten.{call.name}", [*inputs, *weights], rule=rules.overwritten(call.shapes[0]))


PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@aten("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d",
      "replication_pad2d", "replication_pad3d", "_pad_circular")  # fmt: skip
def _pad(recorder: Recorder, call: AtenCall) -> None:
    given = call.inputs[0]
    sides = [int(each) for each in call.get("pad", call.get("padding"))]
    if not any(sides):
        _unchanged(recorder, call)
        return
    rank = given.dim()
    begins, ends = [0] * rank, [0] * rank
    for place in range(len(sides) // 2):
        begins[rank - 1 - place], ends[rank - 1 - place] = sides[2 * place], sides[2 * place + 1]
    kinds = {"reflection": "reflect", "replication": "replicate", "constant": "constant", "": "circular"}
    mode = call.get("mode") or kinds.get(call.name.partition("_")[0], "constant")
    attributes = {"mode": PAD_MODES.get(mode, mode)}
    recorder.emit(call, "Pad", [given, recorder.size_constant(begins + ends)], attributes=attributes)


# ---------------------------------------------------------------------------------------------------------------------
# Other sizes


RESIZES = {"nearest_exact": "nearest", "nearest": "nearest", "bicubic": "cubic"}


@aten(*(f"upsample_{kind}" for kind in ("linear1d", "bilinear2d", "trilinear3d", "bicubic2d", "nearest1d",
                                        "nearest2d", "nearest3d")),
      *(f"_upsample_nearest_exact{count}d" for count in (1, 2, 3)),
      "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "_upsample_lanczos2d_aa")  # fmt: skip
def _resize(recorder: Recorder, call: AtenCall) -> None:
    given = call["input"] if "input" in call.arguments else call.inputs[0]
    mode = "nearest" if "nearest" in call.name else "cubic" if "cubic" in call.name else "linear"
    place = "asymmetric" if mode == "nearest" and "exact" not in call.name else "half_pixel"
    if call.get("align_corners"):
        place = "align_corners"
    attributes = {
        "mode": mode,
        "coordinate_transformation_mode": place,
        "nearest_mode": "floor" if "exact" not in call.name else "round_prefer_ceil",
        "antialias": int(call.name.endswith("_aa")),
    }
    factors = call.get("scale_factors")
    if factors and tuple(given.shape[2:]) and place != "align_corners":
        count = given.dim() - 2
        scales = [1.0, 1.0, *(float(each) for each in list(factors)[:count])]
        inputs = [given, "", recorder.scale_constant(scales)]
    else:
        inputs = [given, "", "", recorder.size_constant(call.shapes[0])]
    recorder.emit(
        call, "Resize", [each if not isinstance(each, str) or each else None for each in inputs], attributes=attributes
    )


@aten("grid_sampler", "grid_sampler_2d", "grid_sampler_3d", "_grid_sampler_2d_cpu_fallback")
def _grid_sample(recorder: Recorder, call: AtenCall) -> None:
    why = "where it samples is data"
    recorder.emit(call, "GridSample", call.inputs, rule=rules.unfollowed(call.shapes, why, "resize"))
