"""What dilation does to windows."""

from __future__ import annotations

from collections.abc import Iterator

from ..inputs.case import Case
from .evidence import Setting
from .rule import EachCell, NoAnswer, Rule, Strength, WholeAnswer, onnx_text, torch_text
from .samples import WINDOWED, Samples


def _dilated(draw: Samples) -> Iterator[Case]:
    for place in draw.places(["MaxPool", "LpPool"], needs=["dilations"]):
        yield draw.plain(*place, dilated=True)
        yield draw.plain(*place, dilated=True, padded=True)


DILATION = Rule(
    "dilation",
    "taps lie apart",
    "Tap t of a window lies t * dilation cells behind its first, in maxima since opset 10, norms since 18 and "
    "means since 19; only taps inside count.",
    f"{onnx_text('AveragePool', 19)}; {torch_text('max_pool2d')}",
    samples=_dilated,
    applies=lambda it: it.dilated,
    diagnose=(
        WholeAnswer(lambda it: it.dilated and it.explained_by(dilations=None), Strength.GENERAL),
        EachCell(
            lambda it, *cell: (
                it.operator in WINDOWED and not _is_dilated_average(it) and it.dilated and it.shifted_windows
            ),
            Strength.GENERAL,
        ),
    ),
    remedy="compute the cells of dilated windows by strided Slices, and pool those",
    confounder=True,
)


def _is_dilated_average(setting: Setting) -> bool:
    return setting.operator == "AveragePool" and setting.dilated


def _overhangs(setting: Setting) -> bool:
    return any(axis.ceil_overhang and axis.dilation > 1 for axis in setting.axes)


def _dilated_averages(draw: Samples) -> Iterator[Case]:
    for place in draw.places(["AveragePool"], needs=["dilations"]):
        for counted in (0, 1):
            yield draw.plain(*place, dilated=True, padded=True, count_include_pad=counted)
        yield draw.plain(*place, dilated=True, padded=True, suits=_overhangs, ceil_mode=1)


DILATION_IN_AVERAGE = Rule(
    "dilation-in-average",
    "means count dilated taps",
    "The divisor of a dilated window is the number of its taps inside the input, and inside the declared padding "
    "with count_include_pad=1, whether or not it is rounded up.",
    onnx_text("AveragePool", 19),
    samples=_dilated_averages,
    applies=_is_dilated_average,
    diagnose=(
        NoAnswer(lambda it: _is_dilated_average(it) and it.says("dilation"), Strength.GENERAL),
        EachCell(lambda it, *cell: _is_dilated_average(it) and it.shifted_windows, Strength.GENERAL),
    ),
    remedy="compute dilated means by a depthwise convolution with equal weights",
    confounder=True,
    implies=("dilation", "ceil-partial-window"),
)
