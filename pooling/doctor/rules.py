"""What each operator does to shapes, fields and cost: one rule for each, by its name in ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pooling
from pooling import geometry
from pooling.arguments import per_axis
from pooling.layer import Layer
from pooling.maps import spatial_slice

from . import receptive_field
from .cost import convolution_macs, product_macs, transposed_macs
from .nodes import ARGUMENTS, Call, Outcome, RuleError, Shape, Tensor, UnknownShapeError
from .receptive_field import Paths, UnfollowedError, View
from .values import FOLDED, SMALL, fold, slices

__all__ = ["RULES", "outcome_of"]

Rule = Callable[[Call], Outcome]
RULES: dict[str, Rule] = {}
"""By operator."""

AUTO_PAD = {"SAME_UPPER": geometry.SAME_UPPER, "SAME_LOWER": geometry.SAME_LOWER, "VALID": geometry.VALID}


def outcome_of(call: Call) -> Outcome:
    """Apply the rule of a node's operator; without one, or where it lacks a shape, ask whoever read the node."""
    with_data = any(tensor is not None and tensor.source for tensor in call.tensors)
    if not with_data and call.operator in FOLDED:
        values = fold(call)
        if values is not None:
            return Outcome("size", [value.shape for value in values], values=values)
    rule = RULES.get(call.operator, None if call.node.layer is None else _pooled) if call.node.known else None
    missing = ""
    if call.node.changes and rule not in (_convolution, _transposed, _pooled, _unpooled):
        raise RuleError(f"{call.operator} has no {next(iter(call.node.changes))}; it has nothing that can be set")
    if rule is not None:
        try:
            return rule(call)
        except UnknownShapeError as error:
            missing = error.tensor
    return _passed_over(call, missing)


def _passed_over(call: Call, missing: str) -> Outcome:
    found: Sequence[tuple[Shape | None, np.dtype[Any] | None]] = []
    if call.node.infer is not None:
        found = call.node.infer(call.tensors)
    known = bool(found) and found[0][0] is not None
    why = f"the value or shape of {missing!r} is not known" if missing else f"{call.operator} is not known here"
    note = f"passed over: {why}; " + (
        "its shape is that of ONNX shape inference, fields and cost are not counted" if known else "nor is its shape"
    )
    shapes = [shape for shape, _ in found] or [None for _ in call.node.outputs]
    return Outcome("unknown", shapes, dtypes=[dtype for _, dtype in found], note=note)


def _rule(*operators: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(operators, rule))
        return rule

    return register


def _followed(view: View | None, follow: Callable[[View], View]) -> View | None:
    """Follow fields through a stage, as far as that goes."""
    if view is None or view.paths is None:
        return view
    try:
        return follow(view)
    except UnfollowedError as error:
        return replace(view, paths=None, lost=f"receptive field not followed: {error}")


def _along(view: View | None, each: Callable[[Paths, int], Paths]) -> View | None:
    """Follow fields axis by axis; `each` gets the paths of an axis and its number."""

    def follow(view: View) -> View:
        assert view.paths is not None
        return replace(view, paths=tuple(each(paths, number) for number, paths in enumerate(view.paths)))

    return _followed(view, follow)


def _lost(view: View | None, why: str) -> View | None:
    return view and replace(view, paths=None, lost=view.lost or f"receptive field not followed: {why}")


def _behind_channels(call: Call, shape: Shape) -> View | None:
    """Return the view of an input whose spatial axes stand behind batch and channels, as this operator has them."""
    view, axes = call.view, tuple(range(2, len(shape)))
    if view is not None and view.axes != axes:
        return View(axes, None, lost="receptive field not followed: axes have changed places")
    return view


# ---------------------------------------------------------------------------------------------------------------------
# Windows


def _spatial(call: Call) -> tuple[Shape, Shape]:
    shape = call.shape(0)
    if not 3 <= len(shape) <= 5:
        raise RuleError(
            f"its input has shape {shape}, {len(shape)} axes; it must have 3 to 5: batch, channels and one to three "
            "spatial axes"
        )
    return shape, shape[2:]


def _numbers(call: Call, name: str, length: int, default: int) -> tuple[int, ...]:
    given = call.attribute(name)
    if given is None or isinstance(given, int):
        return (default if given is None else given,) * length
    if len(given) != length:
        each = "two integers" if name == "pads" else "one integer"
        raise RuleError(f"{name}={list(given)} must have {each} per spatial axis, {length} and not {len(given)}")
    return tuple(given)


def _arguments(call: Call, dimensions: int, kernel: Sequence[int]) -> dict[str, Any]:
    """Return the windows of a convolution as arguments of geometry, changes included."""
    pads = _numbers(call, "pads", 2 * dimensions, 0)
    auto_pad = call.attribute("auto_pad", "NOTSET")
    if auto_pad not in ("NOTSET", "", *AUTO_PAD):
        raise RuleError(f"auto_pad={auto_pad!r} is not a known name; use NOTSET, {', '.join(AUTO_PAD)}, or pads")
    arguments: dict[str, Any] = {
        "kernel_size": tuple(kernel),
        "stride": _numbers(call, "strides", dimensions, 1),
        "dilation": _numbers(call, "dilations", dimensions, 1),
        "padding": AUTO_PAD.get(auto_pad, tuple(zip(pads[:dimensions], pads[dimensions:], strict=True))),
    }
    for name, value in call.node.changes.items():
        if name not in arguments:
            raise RuleError(f"{call.operator} has no {name}; it has {', '.join(arguments)}")
        arguments[name] = value
    for name in ("kernel_size", "dilation"):
        arguments[name] = per_axis(call.operator, name, arguments[name], dimensions)
    if is_typed(call) and call.operator == "Conv" and "padding" not in call.node.changes:
        taps = zip(arguments["kernel_size"], arguments["dilation"], strict=True)
        arguments["padding"] = tuple(dilation * (kernel - 1) // 2 for kernel, dilation in taps)
    arguments["padding"] = spread(arguments["padding"], dimensions)
    return arguments


def is_typed(call: Call) -> bool:
    """Whether a node was typed by hand, so that its weight follows from its input."""
    return call.attribute("out_channels") is not None


def spread(padding: Any, dimensions: int) -> Any:
    """Take one pair for all axes."""
    one_pair = isinstance(padding, tuple) and len(padding) == 1 and isinstance(padding[0], tuple)
    return padding * dimensions if one_pair else padding


def _group(call: Call, channels: int) -> int:
    group = int(call.attribute("group", 1))
    if is_typed(call) and group == 0:
        return channels
    if group < 1:
        raise RuleError(f"group={group} must be at least 1")
    return group


def _weight(call: Call, number: int, dimensions: int) -> Shape | None:
    """Return the shape of the weight; None where it follows from the input."""
    if is_typed(call):
        return None
    shape = call.shape(number)
    if len(shape) != dimensions + 2:
        raise RuleError(f"its weight has shape {shape}; it must have {dimensions + 2} axes, as its input")
    kernel = call.attribute("kernel_shape")
    if kernel is not None and tuple(kernel) != shape[2:]:
        raise RuleError(f"kernel_shape={list(kernel)} contradicts its weight of shape {shape}; leave kernel_shape out")
    return shape


@_rule("Conv", "ConvInteger", "QLinearConv")
def _convolution(call: Call) -> Outcome:
    shape, sizes = _spatial(call)
    group = _group(call, shape[1])
    weight = _weight(call, 3 if call.operator == "QLinearConv" else 1, len(sizes))
    if weight is None:
        channels = call.attribute("out_channels") or shape[1]
        kernel = (1,) * len(sizes)
    else:
        channels, kernel = weight[0], weight[2:]
        if weight[1] * group != shape[1]:
            raise RuleError(
                f"its input {shape} has {shape[1]} channels, but its weight {weight} with group={group} is for "
                f"{weight[1] * group}"
            )
    if channels % group or shape[1] % group:
        raise RuleError(f"{shape[1]} channels in and {channels} out cannot be divided into group={group} alike")
    arguments = _arguments(call, len(sizes), kernel)
    axes = geometry.pool_axes(sizes, **arguments, function=call.operator, empty_windows=True)
    output = (shape[0], channels, *(axis.output_size for axis in axes))
    used = (channels, shape[1] // group, *arguments["kernel_size"])
    return Outcome(
        "convolution",
        [output],
        _along(_behind_channels(call, shape), lambda paths, i: receptive_field.windows(paths, axes[i])),
        axes,
        macs=convolution_macs(output, used),
        free_parameters=math.prod(used) + channels if weight is None else 0,
        dtypes=[np.dtype(np.int32)] if call.operator == "ConvInteger" else [],
    )


@_rule("ConvTranspose")
def _transposed(call: Call) -> Outcome:
    shape, sizes = _spatial(call)
    group, count = _group(call, shape[1]), len(sizes)
    weight = _weight(call, 1, count)
    if weight is None:
        channels = call.attribute("out_channels") or shape[1]
        kernel = (1,) * len(sizes)
    else:
        channels, kernel = weight[1] * group, weight[2:]
        if weight[0] != shape[1]:
            raise RuleError(f"its input {shape} has {shape[1]} channels, but its weight {weight} is for {weight[0]}")
    if channels % group or shape[1] % group:
        raise RuleError(f"{shape[1]} channels in and {channels} out cannot be divided into group={group} alike")
    arguments = _arguments(call, count, kernel)
    size = call.attribute("output_shape")
    if size is not None and len(size) == count + 2:
        size = size[2:]  # early exporters wrote the whole shape
    axes = geometry.transposed_axes(
        sizes,
        **arguments,
        output_padding=_numbers(call, "output_padding", count, 0),
        output_size=None if call.node.changes else size,
        function=call.operator,
    )
    output = (shape[0], channels, *(axis.input_size for axis in axes))
    used = (shape[1], channels // group, *arguments["kernel_size"])
    return Outcome(
        "transposed",
        [output],
        _along(_behind_channels(call, shape), lambda paths, i: receptive_field.transposed(paths, axes[i])),
        axes,
        macs=transposed_macs(shape, used),
        free_parameters=math.prod(used) + channels if weight is None else 0,
    )


def _layer(call: Call, shape: Shape) -> Layer:
    assert call.node.layer is not None
    layer = call.node.layer(shape)
    for name in call.node.changes:
        if name not in layer.arguments:
            known = ", ".join(each for each in layer.arguments if each in ARGUMENTS)
            raise RuleError(f"{call.operator} has no {name}; it has {known or 'nothing that can be set'}")
    if not call.node.changes:
        return layer
    arguments = {**layer.arguments, **call.node.changes}
    if arguments.get("stride", 1) is None and "stride" not in call.node.changes:
        arguments["stride"] = layer.arguments["kernel_size"]  # what it is does not change with the kernel
    return type(layer)(**arguments)


def _pooled(call: Call) -> Outcome:
    shape = call.shape(0)
    layer = _layer(call, shape)
    output = layer.output_shape(shape)
    spatial = spatial_slice(len(shape), layer.dimensions, layer.layout, function=call.operator)
    places = tuple(range(len(shape))[spatial])
    view = call.view
    if view is not None and view.axes != places:
        view = View(places, None, lost="receptive field not followed: axes have changed places")
    if layer.operator == "fractional_max_pool":
        why = "the windows of fractional pooling are drawn for each map"
        return Outcome("pooling", [output, output], _lost(view, why), layer=layer)
    axes = layer.axes(shape)
    is_global = layer.operator.startswith("global_") or (
        all(axis.is_global for axis in axes) and (layer.operator.startswith(("adaptive_", "gem_")))
    )
    view = _along(view, lambda paths, i: receptive_field.windows(paths, axes[i]))
    return Outcome("global" if is_global else "pooling", [output, output], view, axes, layer)


for _operator in ("MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"):
    RULES[_operator] = _pooled


@_rule("MaxUnpool")
def _unpooled(call: Call) -> Outcome:
    shape, _ = _spatial(call)
    layer = _layer(call, shape)
    axes = layer.axes(shape)
    output = layer.output_shape(shape)
    wanted = call.value(2)
    if wanted is not None:
        if len(wanted) != len(shape) or min(wanted) < 1:
            raise RuleError(f"its output_shape is {wanted}; it must have {len(shape)} sizes of at least 1")
        output = tuple(wanted)
        axes = tuple(replace(axis, input_size=size) for axis, size in zip(axes, output[2:], strict=True))
    view = _behind_channels(call, shape)
    return Outcome(
        "transposed", [output], _along(view, lambda paths, i: receptive_field.transposed(paths, axes[i])), axes, layer
    )


@_rule("MaxRoiPool", "RoiAlign")
def _regions(call: Call) -> Outcome:
    shape, regions = call.shape(0), call.shape(1)
    layer = _layer(call, shape)
    output = layer.output_shape(shape, regions=regions[0])  # type: ignore[call-arg]
    return Outcome("pooling", [output], _lost(_behind_channels(call, shape), "its regions are data"), layer=layer)


# ---------------------------------------------------------------------------------------------------------------------
# One element for each element


_CELL_BY_CELL = """
    Abs Acos Acosh Asin Asinh Atan Atanh BatchNormalization Cast CastLike Ceil Celu Clip Cos Cosh DequantizeLinear
    Dropout DynamicQuantizeLinear Elu Erf Exp Floor Gelu GroupNormalization HardSigmoid HardSwish Hardmax Identity
    InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Log LogSoftmax LpNormalization
    MeanVarianceNormalization Mish Neg Not QuantizeLinear RMSNormalization Reciprocal Relu Round Selu Shrink Sigmoid
    Sign Sin Sinh Softmax Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu
"""
_OF_THE_WHOLE_MAP = {"GroupNormalization", "InstanceNormalization", "MeanVarianceNormalization"}
_INTEGER_RESULT = {"QuantizeLinear": np.uint8, "DynamicQuantizeLinear": np.uint8, "IsNaN": np.bool_, "IsInf": np.bool_}


@_rule(*_CELL_BY_CELL.split())
def _cell_by_cell(call: Call) -> Outcome:
    shape, view, note = call.shape(0), call.view, ""
    if call.operator in _OF_THE_WHOLE_MAP and view is not None:
        view, note = replace(view, context=True), "its statistics are those of the whole map"
    dtypes: list[np.dtype[Any] | None] = []
    if call.operator in _INTEGER_RESULT:
        dtypes = [np.dtype(_INTEGER_RESULT[call.operator])]
    if call.operator == "DequantizeLinear":
        scale = call.tensor(1)
        dtypes = [scale.dtype if scale is not None else None]
    if call.operator == "Cast":
        dtypes = [call.attribute("dtype")]
    typed = call.operator == "BatchNormalization" and len(call.tensors) == 1
    trained = 2 * shape[1] if typed and len(shape) > 1 else 0
    return Outcome("elementwise", [shape, shape], view, free_parameters=trained, dtypes=dtypes, note=note)


_COMBINED = """
    Add And BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or
    PRelu Pow Sub Sum Where Xor
"""
_TRUTHS = {"And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Or", "Xor"}


@_rule(*_COMBINED.split())
def _combined(call: Call) -> Outcome:
    given = [(number, tensor) for number, tensor in enumerate(call.tensors) if tensor is not None]
    if not given:
        raise RuleError("it has no inputs")
    shapes = [call.shape(number) for number, _ in given]
    output = _broadcast(call, shapes)
    parts = [tensor for _, tensor in given if tensor.source]
    kind = "merge" if len(parts) > 1 else "elementwise"
    dtypes: list[np.dtype[Any] | None] = [given[-1][1].dtype] if call.operator == "Where" else []
    if call.operator in _TRUTHS:
        dtypes = [np.dtype(np.bool_)]
    return Outcome(kind, [output], _of_parts(parts, output), dtypes=dtypes)


def _broadcast(call: Call, shapes: Sequence[Shape]) -> Shape:
    legacy = (
        call.node.opset < 7
        and len(shapes) == 2
        and (call.attribute("broadcast", 0) or call.attribute("axis") is not None)
    )
    if legacy:  # a part of the first shape, from `axis` on
        axis = call.attribute("axis", len(shapes[0]) - len(shapes[1]))
        behind = len(shapes[0]) - axis - len(shapes[1]) if axis >= 0 else -1
        if behind >= 0:
            shapes = [shapes[0], (*shapes[1], *(1,) * behind)]
    output: list[int] = []
    for place in range(1, max(map(len, shapes), default=0) + 1):
        sizes = {shape[-place] for shape in shapes if len(shape) >= place}
        larger = sizes - {1}
        if len(larger) > 1:
            told = " and ".join(map(str, dict.fromkeys(shapes)))
            raise RuleError(
                f"its inputs have shapes {told}, which do not fit together: sizes "
                f"{' and '.join(map(str, sorted(larger)))} meet on axis {max(map(len, shapes)) - place}; make the "
                "branches equally large"
            )
        output.append(larger.pop() if larger else 1)
    return tuple(reversed(output))


def _of_parts(parts: Sequence[Tensor], output: Shape) -> View | None:
    """Return what is seen through tensors that are broadcast to one shape."""
    placed: list[tuple[tuple[int, ...], Tensor]] = []
    for part in parts:
        if part.view is not None and part.shape is not None:
            moved = len(output) - len(part.shape)
            placed.append((tuple(axis + moved for axis in part.view.axes), part))
    full = [(axes, part) for axes, part in placed if tuple(output[axis] for axis in axes) == part.sizes]
    if not full:
        return None
    axes = full[0][0]
    views = []
    context = False
    for part in parts:
        mine = next((places for places, other in full if other is part), None)
        if mine is None:
            # Where it is one cell, every cell of the result sees all that this cell sees.
            spread = part.shape is not None and all(_size_at(part.shape, output, axis) == 1 for axis in axes)
            context = True
            if not spread and any(output[axis] > 1 for axis in axes):
                views.append(View(axes, None, lost="receptive field not followed: one input has other axes"))
        else:
            assert part.view is not None
            lost = (
                replace(part.view, axes=axes)
                if mine == axes
                else View(axes, None, lost="receptive field not followed: axes differ")
            )
            views.append(lost)
    view = _followed(replace(views[0], axes=axes), lambda _: receptive_field.merged(views))
    return view and replace(view, context=view.context or context)


def _size_at(shape: Shape, output: Shape, axis: int) -> int:
    place = axis - (len(output) - len(shape))
    return shape[place] if place >= 0 else 1


@_rule("Concat")
def _concatenated(call: Call) -> Outcome:
    given = [(number, tensor) for number, tensor in enumerate(call.tensors) if tensor is not None]
    if not given:
        raise RuleError("it has no inputs")
    shapes = [call.shape(number) for number, _ in given]
    axis = call.axis(int(call.attribute("axis", 1)), len(shapes[0]))
    for shape in shapes[1:]:
        differ = [place for place, (a, b) in enumerate(zip(shapes[0], shape, strict=False)) if place != axis and a != b]
        if len(shape) != len(shapes[0]) or differ:
            where = (
                f"sizes {shapes[0][differ[0]]} and {shape[differ[0]]} meet on axis {differ[0]}"
                if differ
                else "their ranks differ"
            )
            raise RuleError(
                f"its inputs have shapes {shapes[0]} and {shape}, which do not fit together along axis {axis}: "
                f"{where}; make the branches equally large"
            )
    output = (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])
    parts = [tensor for _, tensor in given if tensor.source]
    view = next((part.view for part in parts if part.view is not None), None)
    if view is not None and axis in view.axes:
        view = _lost(view, "it concatenates along a spatial axis") if len(given) > 1 else view
    elif view is not None:
        views = [
            part.view or View(view.axes, None, lost="receptive field not followed: one input has other axes")
            for part in parts
        ]
        views = [
            each if each.axes == view.axes else View(view.axes, None, lost="receptive field not followed: axes differ")
            for each in views
        ]
        view = _followed(view, lambda _: receptive_field.merged(views))
    return Outcome("merge" if len(parts) > 1 else "elementwise", [output], view)


# ---------------------------------------------------------------------------------------------------------------------
# Products of matrices


@_rule("Gemm")
def _gemm(call: Call) -> Outcome:
    if is_typed(call):
        return _dense(call)
    a, b = call.shape(0), call.shape(1)
    if len(a) != 2 and call.node.opset < 7:
        a = (a[0], math.prod(a[1:]))  # early Caffe2 exports
    if len(a) != 2 or len(b) != 2:
        raise RuleError(f"its inputs have shapes {a} and {b}; both must be matrices")
    rows, inner = reversed(a) if call.attribute("transA", 0) else a
    other, columns = reversed(b) if call.attribute("transB", 0) else b
    if inner != other:
        raise RuleError(
            f"its input has {inner} features, but its weight is for {other}; the input of the network has another size "
            "than the one that the weight was made for"
        )
    return Outcome("dense", [(rows, columns)], macs=product_macs((rows, columns), inner))


def _dense(call: Call) -> Outcome:
    """Flatten and multiply, as a typed list of layers has it."""
    shape = call.shape(0)
    inner, columns = math.prod(shape[1:]), int(call.attribute("out_channels"))
    return Outcome(
        "dense",
        [(shape[0], columns)],
        macs=product_macs((shape[0], columns), inner),
        free_parameters=(inner + 1) * columns,
    )


@_rule("MatMul", "MatMulInteger", "QLinearMatMul")
def _matmul(call: Call) -> Outcome:
    a, b = call.shape(0), call.shape(3 if call.operator == "QLinearMatMul" else 1)
    if not a or not b:
        raise RuleError(f"its inputs have shapes {a} and {b}; none may be a scalar")
    left = a if len(a) > 1 else (1, *a)
    right = b if len(b) > 1 else (*b, 1)
    if left[-1] != right[-2]:
        raise RuleError(
            f"its inputs have shapes {a} and {b}: {left[-1]} columns meet {right[-2]} rows; make them equal"
        )
    batch = _broadcast(call, [left[:-2], right[:-2]])
    whole = (*batch, left[-2], right[-1])
    output = (*batch, *([left[-2]] if len(a) > 1 else []), *([right[-1]] if len(b) > 1 else []))
    view = call.view
    weight = call.tensor(1)
    if view is not None and (len(a) - 1 in view.axes or len(output) != len(a) or weight is None or weight.source):
        view = None
    return Outcome("dense", [output], view, macs=product_macs(whole, left[-1]))


# ---------------------------------------------------------------------------------------------------------------------
# The same elements in another shape


def _moved(view: View | None, places: Sequence[int | None]) -> View | None:
    """Return a view whose spatial axes have other places; none where one of them is gone."""
    if view is None:
        return None
    found = [places[axis] for axis in view.axes]
    if None in found:
        return None
    return replace(view, axes=tuple(place for place in found if place is not None))


@_rule("Reshape")
def _reshape(call: Call) -> Outcome:
    shape, wanted = call.shape(0), call.value(1, "shape")
    if wanted is None:
        raise RuleError("it has no shape to reshape to")
    output = list(wanted)
    if not call.attribute("allowzero", 0):
        for place, size in enumerate(output):
            if size == 0:
                if place >= len(shape):
                    raise RuleError(f"shape={wanted} keeps axis {place}, which its input {shape} does not have")
                output[place] = shape[place]
    total, known = math.prod(shape), math.prod(size for size in output if size != -1)
    if output.count(-1) > 1 or min(output, default=0) < -1:
        raise RuleError(f"shape={wanted} must have at most one -1 and no other negative size")
    if -1 in output and known:
        output[output.index(-1)] = total // known
    if math.prod(output) != total:
        raise RuleError(
            f"its input {shape} has {total} elements, but shape={wanted} asks for {_told(output, wanted, known)}; a "
            "shape that is written into the model holds for one input size only"
        )
    return Outcome("reshape", [tuple(output)], _moved(call.view, _matching(shape, tuple(output))))


def _told(output: Sequence[int], wanted: Sequence[int], known: int) -> str:
    return f"a multiple of {known}" if -1 in wanted else str(math.prod(output))


def _matching(shape: Shape, output: Shape) -> list[int | None]:
    """Find where each axis of a tensor stands after a Reshape: as many elements are behind it as before."""
    places: list[int | None] = []
    end = len(output)
    for axis in reversed(range(len(shape))):
        behind = math.prod(shape[axis + 1 :])
        found = next(
            (p for p in reversed(range(end)) if output[p] == shape[axis] and math.prod(output[p + 1 :]) == behind), None
        )
        places.append(found)
        end = end if found is None else found
    return places[::-1]


@_rule("Flatten")
def _flatten(call: Call) -> Outcome:
    shape = call.shape(0)
    axis = int(call.attribute("axis", 1))
    if not -len(shape) <= axis <= len(shape):
        raise RuleError(f"axis={axis} does not exist in a tensor of {len(shape)} axes")
    axis = axis + len(shape) if axis < 0 else axis
    return Outcome("reshape", [(math.prod(shape[:axis]), math.prod(shape[axis:]))])


@_rule("Squeeze")
def _squeeze(call: Call) -> Outcome:
    shape, given = call.shape(0), call.value(1, "axes")
    if given is None:
        given = [axis for axis, size in enumerate(shape) if size == 1]
    axes = call.axes(given, len(shape))
    for axis in axes:
        if shape[axis] != 1:
            raise RuleError(f"axes={given} asks to drop axis {axis} of its input {shape}, whose size is not 1")
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    places = [kept.index(axis) if axis in kept else None for axis in range(len(shape))]
    return Outcome("reshape", [tuple(shape[axis] for axis in kept)], _moved(call.view, places))


@_rule("Unsqueeze")
def _unsqueeze(call: Call) -> Outcome:
    shape, given = call.shape(0), call.value(1, "axes")
    if not given:
        raise RuleError("it has no axes to add")
    rank = len(shape) + len(given)
    added = set(call.axes(given, rank))
    if len(added) < len(given):
        raise RuleError(f"axes={given} names an axis twice")
    places = [place for place in range(rank) if place not in added]
    output = [1] * rank
    for place, size in zip(places, shape, strict=True):
        output[place] = size
    return Outcome("reshape", [tuple(output)], _moved(call.view, places))


@_rule("Transpose")
def _transpose(call: Call) -> Outcome:
    shape = call.shape(0)
    order = list(call.attribute("perm") or reversed(range(len(shape))))
    if sorted(order) != list(range(len(shape))):
        raise RuleError(f"perm={order} must name each axis of its input {shape} once")
    places = [order.index(axis) for axis in range(len(shape))]
    return Outcome("reshape", [tuple(shape[axis] for axis in order)], _moved(call.view, places))


@_rule("Expand")
def _expand(call: Call) -> Outcome:
    shape, wanted = call.shape(0), call.value(1)
    output = _broadcast(call, [shape, tuple(wanted or ())])
    tensor = call.tensor(0)
    return Outcome("reshape", [output], _of_parts([tensor] if tensor is not None else [], output))


@_rule("Tile")
def _tile(call: Call) -> Outcome:
    shape, times = call.shape(0), call.value(1)
    if times is None or len(times) != len(shape) or min(times, default=0) < 0:
        raise RuleError(f"its repeats {times} must be one number for each axis of its input {shape}")
    view = call.view
    if view is not None and any(times[axis] != 1 for axis in view.axes):
        view = _lost(view, "it repeats the map")
    return Outcome("reshape", [tuple(size * each for size, each in zip(shape, times, strict=True))], view)


@_rule("Slice")
def _slice(call: Call) -> Outcome:
    shape = call.shape(0)
    parts = slices(call, shape)
    output = tuple(len(range(*part.indices(size))) for part, size in zip(parts, shape, strict=True))
    if 0 in output:
        raise RuleError(f"nothing is left of its input {shape}: the result would be {output}; use a larger input")
    view = call.view
    if view is not None and any(parts[axis].step < 0 for axis in view.axes):
        view = _lost(view, "it turns the map around")

    def cropped(paths: Paths, number: int) -> Paths:
        assert view is not None
        axis = view.axes[number]
        start, _, step = parts[axis].indices(shape[axis])
        return receptive_field.shifted(paths, 1, step, 1, -start)

    return Outcome("slice", [output], _along(view, cropped))


@_rule("Pad")
def _pad(call: Call) -> Outcome:
    shape = call.shape(0)
    if call.attribute("padding") is not None:
        count = len(shape) - 2
        pairs = call.attribute("padding")
        pairs = spread(pairs if isinstance(pairs, tuple) else ((pairs, pairs),), count)
        pairs = [pair if isinstance(pair, tuple) else (pair, pair) for pair in pairs]
        if len(pairs) != count:
            raise RuleError(f"it pads {len(pairs)} axes, but its input {shape} has {count} spatial ones")
        return _padded(call, shape, [0, 0, *(pair[0] for pair in pairs)], [0, 0, *(pair[1] for pair in pairs)])
    pads = call.value(1, "pads" if call.attribute("paddings") is None else "paddings")
    axes = call.value(3)
    places = list(range(len(shape))) if axes is None else call.axes(axes, len(shape))
    if pads is None or len(pads) != 2 * len(places):
        raise RuleError(f"pads={pads} must be two numbers for each of {len(places)} axes")
    begins, ends = [0] * len(shape), [0] * len(shape)
    for place, begin, end in zip(places, pads[: len(places)], pads[len(places) :], strict=True):
        begins[place], ends[place] = begin, end
    return _padded(call, shape, begins, ends)


def _padded(call: Call, shape: Shape, begins: Sequence[int], ends: Sequence[int]) -> Outcome:
    output = tuple(begin + size + end for begin, size, end in zip(begins, shape, ends, strict=True))
    if min(output, default=1) < 1:
        raise RuleError(f"nothing is left of its input {shape}: the result would be {output}; use a larger input")
    view = call.view
    placed = _along(view, lambda paths, i: receptive_field.shifted(paths, 1, 1, 1, begins[view.axes[i]] if view else 0))
    return Outcome("pad", [output], placed)


@_rule("Split")
def _split(call: Call) -> Outcome:
    shape = call.shape(0)
    axis = call.axis(int(call.attribute("axis", 0)), len(shape))
    count = len(call.node.outputs)
    sizes = call.value(1, "split")
    if sizes is None:
        each = -(-shape[axis] // count)
        sizes = [each] * (count - 1) + [shape[axis] - each * (count - 1)]
    if len(sizes) != count or sum(sizes) != shape[axis] or min(sizes) < 0:
        raise RuleError(f"split={sizes} must be {count} sizes that add up to {shape[axis]}, the size of axis {axis}")
    view = call.view
    if view is not None and axis in view.axes:
        view = _lost(view, "it splits the map")
    return Outcome("slice", [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes], view)


@_rule("Gather")
def _gather(call: Call) -> Outcome:
    shape, indices = call.shape(0), call.shape(1)
    axis = call.axis(int(call.attribute("axis", 0)), len(shape))
    output = (*shape[:axis], *indices, *shape[axis + 1 :])
    moved = len(indices) - 1
    places = [None if place == axis else place + moved * (place > axis) for place in range(len(shape))]
    return Outcome("slice", [output], _moved(call.view, places))


_REDUCTIONS = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"


@_rule(*(f"Reduce{name}" for name in _REDUCTIONS.split()))
def _reduce(call: Call) -> Outcome:
    shape, view = call.shape(0), call.view
    given = call.value(1, "axes")
    if given is None or (not given and not call.attribute("noop_with_empty_axes", 0)):
        given = list(range(len(shape)))
    axes = set(call.axes(given, len(shape)))
    if call.attribute("keepdims", 1):
        output = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
        places: list[int | None] = list(range(len(shape)))
    else:
        kept = [axis for axis in range(len(shape)) if axis not in axes]
        output = tuple(shape[axis] for axis in kept)
        places = [kept.index(axis) if axis in kept else None for axis in range(len(shape))]
    if view is None or axes.isdisjoint(view.axes):
        return Outcome("elementwise", [output], _moved(view, places))
    if axes != set(view.axes):
        return Outcome("reshape", [output], _lost(_moved(view, places), "it reduces some of the spatial axes"))
    windows = geometry.global_axes([shape[axis] for axis in view.axes], function=call.operator)
    known = {"ReduceMean": "GlobalAvgPool", "ReduceMax": "GlobalMaxPool"}.get(call.operator)
    layer = None
    if known is not None and len(view.axes) == len(shape) - 2:
        layouts = {tuple(range(2, len(shape))): "channels_first", tuple(range(1, len(shape) - 1)): "channels_last"}
        if view.axes in layouts:
            layer = getattr(pooling, f"{known}{len(view.axes)}d")(layout=layouts[view.axes])
    seen = _along(view, lambda paths, i: receptive_field.windows(paths, windows[i]))
    return Outcome("global", [output], _moved(seen, places), windows, layer)


@_rule("ArgMax", "ArgMin")
def _arg(call: Call) -> Outcome:
    shape = call.shape(0)
    axis = call.axis(int(call.attribute("axis", 0)), len(shape))
    kept = [1] if call.attribute("keepdims", 1) else []
    view = call.view
    places = [place - (place > axis and not kept) for place in range(len(shape))]
    view = None if view is not None and axis in view.axes else _moved(view, places)
    output = (*shape[:axis], *kept, *shape[axis + 1 :])
    return Outcome("elementwise", [output], view, dtypes=[np.dtype(np.int64)])


# ---------------------------------------------------------------------------------------------------------------------
# Other resolutions


@_rule("DepthToSpace")
def _depth_to_space(call: Call) -> Outcome:
    shape, block = _block(call)
    if shape[1] % block**2:
        raise RuleError(f"its {shape[1]} channels cannot be divided into blocks of {block} x {block}")
    output = (shape[0], shape[1] // block**2, shape[2] * block, shape[3] * block)
    view = _behind_channels(call, shape)
    nearest = _along(view, lambda paths, _: receptive_field.resized(paths, Fraction(1, block), Fraction(), _floor))
    return Outcome("resize", [output], nearest)


@_rule("SpaceToDepth")
def _space_to_depth(call: Call) -> Outcome:
    shape, block = _block(call)
    if shape[2] % block or shape[3] % block:
        raise RuleError(
            f"its input {shape} cannot be divided into blocks of {block} x {block}; use multiples of {block}"
        )
    axes = geometry.pool_axes(shape[2:], block, block, function=call.operator)
    output = (shape[0], shape[1] * block**2, *(axis.output_size for axis in axes))
    view = _along(_behind_channels(call, shape), lambda paths, i: receptive_field.windows(paths, axes[i]))
    return Outcome("resize", [output], view)


def _block(call: Call) -> tuple[Shape, int]:
    shape, block = call.shape(0), int(call.attribute("blocksize", 0))
    if len(shape) != 4 or block < 1:
        raise RuleError(f"its input {shape} must have 4 axes, and blocksize={block} must be at least 1")
    return shape, block


def _floor(place: Fraction) -> range:
    return range(math.floor(place), math.floor(place) + 1)


@_rule("Resize", "Upsample")
def _resize(call: Call) -> Outcome:
    shape = call.shape(0)
    scales, sizes, axes = _target(call, shape)
    if sizes is not None:
        output = list(shape)
        for axis, size in zip(axes, sizes, strict=True):
            output[axis] = size
        ratios = {axis: Fraction(output[axis], shape[axis]) for axis in axes}
        policy = call.attribute("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            chosen = (min if policy == "not_larger" else max)(ratios.values())
            for axis in axes:
                ratios[axis] = chosen
                output[axis] = math.floor(chosen * shape[axis] + Fraction(1, 2))
    else:
        output, ratios = list(shape), {}
        for axis, scale in zip(axes, scales or [], strict=True):
            # In single precision, as the text of the operator and the runtimes have it.
            with np.errstate(over="ignore"):
                scaled = float(np.float32(shape[axis]) * scale)
            if not math.isfinite(scaled):
                raise RuleError(f"its input {shape} would become infinite by scale {float(scale)} on axis {axis}")
            output[axis] = math.floor(scaled)
            ratios[axis] = Fraction(float(scale)).limit_denominator(LARGEST_RATIO)
    if min(output, default=1) < 1:
        raise RuleError(f"its input {shape} would become {tuple(output)}; use a larger input")
    mode = call.attribute("mode", "nearest")
    place = call.attribute("coordinate_transformation_mode", "half_pixel")
    if call.operator == "Upsample" or call.node.opset == 10:
        place = "asymmetric"
    view = call.view

    def through(paths: Paths, number: int) -> Paths:
        assert view is not None
        axis = view.axes[number]
        ratio = ratios.get(axis, Fraction(1))
        if output[axis] == shape[axis] and ratio == 1:
            return paths
        step, start = _coordinates(place, ratio, shape[axis], output[axis])
        return receptive_field.resized(paths, step, start, _taps(call, mode, ratio))

    return Outcome("resize", [tuple(output)], _along(view, through))


LARGEST_RATIO = 1024
"""Denominators of scales, which models write in single precision."""


def _target(call: Call, shape: Shape) -> tuple[list[np.float32] | None, list[int] | None, list[int]]:
    """Return the scales or the sizes that a resize has, and the axes that they are for."""
    axes = list(range(len(shape)))
    if call.attribute("factor") is not None:
        axes = axes[2:]
        factors = per_axis("", "factor", call.attribute("factor"), len(axes))
        return [np.float32(factor) for factor in factors], None, axes
    if call.attribute("axes") is not None:
        axes = call.axes(call.attribute("axes"), len(shape))
    number = 2 if call.operator == "Resize" and call.node.opset >= 11 else 1
    given = call.attribute("scales")
    if call.operator == "Upsample" and call.node.opset == 1:
        given = [1.0, 1.0, call.attribute("height_scale", 1.0), call.attribute("width_scale", 1.0)]
    if given is None:
        tensor = call.tensor(number)
        if tensor is not None and tensor.shape == (0,):
            tensor = None
        if tensor is not None and tensor.value is None:
            raise UnknownShapeError(call.node.inputs[number])
        given = None if tensor is None or tensor.value is None else tensor.value.ravel()
    if given is not None and len(given):
        scales = [np.float32(scale) for scale in given]
        if len(scales) != len(axes) or not all(np.isfinite(scale) and scale > 0 for scale in scales):
            raise RuleError(f"scales={[float(each) for each in scales]} must be {len(axes)} positive numbers")
        return scales, None, axes
    sizes = call.value(3) if number == 2 else None
    if sizes is None or len(sizes) != len(axes) or min(sizes) < 1:
        raise RuleError(f"it must have scales or sizes, one for each of {len(axes)} axes")
    return None, sizes, axes


def _coordinates(place: str, ratio: Fraction, size: int, output: int) -> tuple[Fraction, Fraction]:
    """Return the step between input coordinates of neighbouring cells, and the coordinate of cell 0."""
    step = 1 / ratio
    half = Fraction(1, 2)
    match place:
        case "asymmetric":
            return step, Fraction()
        case "align_corners":
            step = Fraction(size - 1, output - 1) if output > 1 and size > 1 else step
            return step, Fraction()
        case "half_pixel" | "pytorch_half_pixel":
            return step, Fraction() if place != "half_pixel" and output == 1 else half * step - half
        case "half_pixel_symmetric":
            adjustment = Fraction(output) / (ratio * size)
            return step, Fraction(size, 2) * (1 - adjustment) + half * step - half
        case "tf_half_pixel_for_nn":
            return step, half * step
    raise UnfollowedError(f"coordinate_transformation_mode is {place}")


def _taps(call: Call, mode: str, ratio: Fraction) -> Callable[[Fraction], range]:
    """Return what gives the cells that are read for an input coordinate."""
    half = Fraction(1, 2)
    if mode == "nearest":
        old = call.operator == "Upsample" or call.node.opset == 10
        match "floor" if old else call.attribute("nearest_mode", "round_prefer_floor"):
            case "floor":
                return _floor
            case "ceil":
                return lambda place: _floor(Fraction(math.ceil(place)))
            case "round_prefer_ceil":
                return lambda place: _floor(place + half)
        return lambda place: _floor(Fraction(math.ceil(place - half)))
    reach = Fraction(2 if mode == "cubic" else 1)
    shrinks = call.attribute("antialias", 0) and ratio < 1

    def between(place: Fraction) -> range:
        # What lies exactly `reach` away has weight 0; so have the neighbours of a cell that is met.
        if place.denominator == 1 and not shrinks:
            return range(int(place), int(place) + 1)
        far = reach / ratio if shrinks else reach
        return range(math.floor(place - far) + 1, math.ceil(place + far))

    return between


# ---------------------------------------------------------------------------------------------------------------------
# Sizes


@_rule("Shape", "Size")
def _sizes(call: Call) -> Outcome:
    shape = call.shape(0)
    if call.operator == "Size":
        value: NDArray[Any] = np.asarray(math.prod(shape), np.int64)
    else:
        value = np.asarray(shape[slice(call.attribute("start", 0), call.attribute("end"))], np.int64)
    return Outcome("size", [value.shape], values=[value])


@_rule("ConstantOfShape")
def _constant_of_shape(call: Call) -> Outcome:
    wanted = call.value(0)
    fill = call.attribute("value")
    filled = np.zeros(1, np.float32) if fill is None else np.asarray(fill).ravel()[:1]
    shape = tuple(wanted or ())
    if min(shape, default=0) < 0:
        raise RuleError(f"it makes a tensor of shape {shape}; sizes must not be negative")
    small = math.prod(shape) <= SMALL and filled.dtype.kind in "iub"
    values = [np.full(shape, filled[0])] if small else []
    return Outcome("size", [shape], dtypes=[filled.dtype], values=values)
