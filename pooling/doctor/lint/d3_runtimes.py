"""D3: runtimes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pooling.geometry import Axis, window_count
from pooling.reporting.formats import joined

from ..analysis.trials import as_options
from ..network import Stage
from .registry import LintContext, Observation, rule

NEWEST = 22
"""The opset whose text says what ceil_mode and dilations mean."""
DILATED_MEAN = 19
"""The opset since which AveragePool has dilations."""
NOT_EVERYWHERE = {
    "GlobalLpPool": ("onnxruntime", "ReduceL1 or ReduceL2 over the spatial axes, which pooling.export writes"),
    "MaxUnpool": ("openvino", "ScatterElements, which pooling.export writes"),
}
"""Pooling operators of ONNX that a common runtime does not have: the runtime, and what to use instead."""
MAXIMA = frozenset({"max_pool", "min_pool"})
MEANS = frozenset({"avg_pool"})


@rule(
    "D301",
    "ceil_mode differs between runtimes below opset 22",
    """
    A last window that would start behind the map counts by the text and by shape inference below opset 22, but not
    in torch and onnxruntime. Averages that count their padding are divided by different numbers where the last window
    hangs over the edge. Of maxima, and of averages that count no padding, only those are told whose windows may start
    behind the map: at all else runtimes agree. `pooling repair` writes explicit pads instead
    ([repair.md](repair.md)). Warning where it matters at this size; a note where it does at others, unless the model
    declares its input size fixed.
    """,
)
def _ceil_mode(context: LintContext) -> Iterator[Observation]:
    opset = context.network.opset
    if opset is not None and opset >= NEWEST:
        return
    for stage in context.windowed:
        if stage.layer is None or not stage.layer.arguments.get("ceil_mode"):
            continue
        dropped = any(_rounded_up(axis) > axis.output_size for axis in stage.axes)
        overhang = any(axis.ceil_overhang for axis in stage.axes)
        if _divides_alike(stage):
            overhang = False
            if not any(_may_drop(axis) for axis in stage.axes):
                continue
        if not (dropped or overhang) and context.declared:
            continue  # no runtime takes another size
        where = f"in opset {opset}" if opset is not None else "once exported"
        if dropped:
            why = (
                f"the window that would start behind the map counts by the text and by shape inference {where}, but "
                "not in torch and onnxruntime; a model with both sizes in it does not load"
            )
        elif overhang:
            why = f"the last window hangs over the edge, and runtimes divide by or fill in other numbers there {where}"
        else:
            why = f"at this size it changes nothing, at others runtimes disagree {where}"
        yield Observation(
            "warning" if dropped or overhang else "note",
            stage.name,
            f"ceil_mode is set: {why}",
            tuple(_clear(context, stage)),
        )


def _divides_alike(stage: Stage) -> bool:
    """Whether all runtimes agree about windows that hang over the edge.

    A maximum divides by nothing. Of averages the divisor differs only where padding is counted, and there is some.
    """
    if stage.layer is None or stage.layer.operator in MAXIMA:
        return True
    counted = stage.layer.arguments.get("count_include_pad", True)
    padded = any(axis.pad_begin or axis.pad_end for axis in stage.axes)
    return stage.layer.operator in MEANS and not (counted and padded)


def _clear(context: LintContext, stage: Stage) -> Iterator[str]:
    """Say how a model is written that all runtimes read alike."""
    yield "write explicit pads instead: pooling repair MODEL.onnx -o OUT.onnx does, and proves it"
    without: dict[str, dict[str, Any]] = {stage.name: {"ceil_mode": False}}
    network = context.trials.changed(without)
    same = None if network is None else next((each for each in network.stages if each.name == stage.name), None)
    if same is not None and same.output_shape == stage.output_shape:
        yield f"or leave ceil_mode out, which changes nothing at this size: {as_options(without)}"
    yield f"or export with opset {NEWEST} or newer"


def _may_drop(axis: Axis) -> bool:
    """Whether there are input sizes for which a last window would start behind the map."""
    return not axis.adaptive and axis.effective_kernel_size < axis.pad_end + axis.stride


def _rounded_up(axis: Axis) -> int:
    if axis.adaptive:
        return axis.output_size
    padded = axis.pad_begin + axis.input_size + axis.pad_end
    return int(window_count(padded + axis.stride - 1, axis.effective_kernel_size, axis.stride))


@rule(
    "D302",
    "auto_pad is read differently by runtimes",
    """
    `SAME_LOWER`, and any `SAME` with dilations, give other pads in other implementations. Warning.
    """,
)
def _auto_pad(context: LintContext) -> Iterator[Observation]:
    if context.network.opset is None:
        return
    for stage in context.windowed:
        padding = stage.layer.arguments.get("padding") if stage.layer is not None else None
        dilated = any(axis.dilation > 1 for axis in stage.axes)
        if padding != "same_lower" and not (padding == "same_upper" and dilated):
            continue
        why = (
            "onnxruntime leaves the dilation out when it computes the pads, so the output has another size there"
            if dilated
            else "some implementations put the odd cell of padding at the end, as for SAME_UPPER"
        )
        yield Observation(
            "warning",
            stage.name,
            f"auto_pad is {str(padding).upper()}: {why}",
            ("write explicit pads instead: pooling repair MODEL.onnx -o OUT.onnx does, and proves it",),
        )


@rule(
    "D303",
    "AveragePool has no dilations below opset 19",
    """
    A dilated mean can be exported to opset 19 and newer only. A model of an older opset that has the attribute is
    not valid: the doctor and onnxruntime refuse it, openvino reads it. Warning.
    """,
)
def _dilated_mean(context: LintContext) -> Iterator[Observation]:
    if context.network.opset is not None:
        return  # a model that has the attribute where it does not exist is refused when it is read
    for stage in context.windowed:
        if stage.operator == "AveragePool" and any(axis.dilation > 1 for axis in stage.axes):
            yield Observation(
                "warning",
                stage.name,
                f"the operator got dilations in opset {DILATED_MEAN}: exported to an older one, a model is not valid: "
                "onnxruntime refuses it, openvino does not",
                (
                    f"export with opset {DILATED_MEAN} or newer",
                    "or with pooling.export.to_onnx, which writes the same mean by operators that every opset has",
                ),
            )


@rule(
    "D304",
    "adaptive pooling with uneven windows has no ONNX operator",
    """
    30 cells do not divide into 7 windows; adaptive pooling then takes windows of different sizes that overlap.
    Exporters refuse it or write an approximation; `pooling.export.to_onnx` writes it exactly. Warning.
    """,
)
def _uneven(context: LintContext) -> Iterator[Observation]:
    for stage in context.known_stages:
        uneven = [axis for axis in stage.axes if axis.adaptive]
        if stage.kind not in ("pooling", "global") or not uneven:
            continue
        ratio = joined(list(dict.fromkeys(f"{axis.input_size} to {axis.output_size}" for axis in uneven)))
        yield Observation(
            "warning",
            stage.name,
            f"{ratio} is no whole number of cells for each window, so windows overlap and differ in size: most "
            "exporters refuse that, or write an approximation",
            (
                "use an input for which the map is a multiple of the output size",
                "or pooling.export.to_onnx, which writes it exactly for static sizes",
                "or a pooling with fixed windows, or a global one",
            ),
        )


@rule(
    "D305",
    "a common runtime lacks the operator",
    """
    onnxruntime has no GlobalLpPool, openvino no MaxUnpool. Warning.
    """,
)
def _lacking(context: LintContext) -> Iterator[Observation]:
    if context.network.opset is None:
        return
    for stage in context.known_stages:
        if stage.operator in NOT_EVERYWHERE:
            runtime, instead = NOT_EVERYWHERE[stage.operator]
            yield Observation(
                "warning",
                stage.name,
                f"{runtime} has no {stage.operator}: the model does not load there",
                (f"write it as {instead}",),
            )
