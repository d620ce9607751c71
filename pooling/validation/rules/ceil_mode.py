"""What ceil_mode keeps, and what it drops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pooling.onnx_models.nodes import has_window_starting_in_end_padding

from ..inputs.case import Case
from ..verdicts import Kind
from .evidence import Cell, Evidence, Setting
from .rule import EachCell, NoAnswer, Rule, Strength, WholeAnswer, onnx_text
from .samples import WINDOWED, Samples, window

EXPLICIT = "write ceil_mode=0 and the cells that the last windows need as padding at the end; `pooling repair` does"


def _overhangs(setting: Setting) -> bool:
    return setting.ceil and any(axis.ceil_overhang for axis in setting.axes)


def _is_rescaled(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    """Whether the norm of a window that reaches behind the end is scaled up to a whole kernel."""
    if it.operator != "LpPool" or not it.overhangs(cell):
        return False
    p = it.attributes.get("p", 2)
    return any(it.isclose(expected * (it.tap_count / count) ** (1 / p), actual) for count in it.counts(cell))


CEIL_PARTIAL_WINDOW = Rule(
    "ceil-partial-window",
    "ceil_mode keeps a partial window",
    "With ceil_mode=1 the number of windows is rounded up, and the last window holds the elements that it reaches.",
    onnx_text("MaxPool", 22),
    samples=lambda draw: draw.plain_at(draw.places(needs=["ceil_mode"]), padded=True, ceil_mode=1),
    applies=_overhangs,
    diagnose=(
        EachCell(
            lambda it, *cell: it.operator in WINDOWED and it.ceil and (_is_rescaled(it, *cell) or it.shifted_windows),
            Strength.LAST_RESORT,
        ),
    ),
    remedy=EXPLICIT,
    confounder=True,
)


def _keeps_late_windows(it: Evidence) -> bool:
    if not it.late or it.found_shape is None or len(it.found_shape) != len(it.shape):
        return False
    kept = [has_window_starting_in_end_padding(axis) for axis in it.axes]
    more = [found - axis.output_size for found, axis in zip(it.found_shape[2:], it.axes, strict=True)]
    return any(more) and all(extra in (0, int(late)) for extra, late in zip(more, kept, strict=True))


def _late_windows(draw: Samples) -> Iterator[Case]:
    ramp = np.arange(1, 26, dtype=np.float32).reshape(1, 1, 5, 5)
    for operator, opset, _ in draw.places(needs=["ceil_mode"], dimensions=(2,)):
        yield draw.case(operator, ramp, opset, "1 to 25", ceil_mode=1, pads=[1, 1, 1, 1], **window(3))
    yield from draw.plain_at(draw.places(needs=["ceil_mode"]), padded=True, apart=True, ceil_mode=1)


CEIL_LAST_WINDOW = Rule(
    "ceil-last-window",
    "ceil_mode drops a window behind the input",
    "With ceil_mode=1 a window that would start in the padding at the end, behind all input, is no window.",
    f"{onnx_text('MaxPool', 22)}: windows that would start in the right padded region are ignored; before opset 22 "
    "ONNX's text and shape inference keep them, and the runtimes that follow torch do not",
    samples=_late_windows,
    applies=lambda it: it.late,
    diagnose=(WholeAnswer(lambda it: it.verdict.kind is Kind.SHAPE and _keeps_late_windows(it)),),
    remedy=EXPLICIT,
    confounder=True,
)


def _is_rounded_down(it: Evidence) -> bool:
    changes: dict[str, Any] = {"ceil_mode": None}
    return (
        it.verdict.kind is Kind.SHAPE
        and it.auto_pad == "VALID"
        and it.ceil
        and (floor := it.answer(**changes)) is not None
        and it.found_shape == floor.shape
    )


VALID_WITH_CEIL = Rule(
    "valid-with-ceil",
    "VALID leaves ceil_mode in force",
    'auto_pad="VALID" is no padding; ceil_mode=1 rounds the number of windows up as it always does.',
    "ONNX shape inference; the formula in the text leaves the last, partial window out, "
    "https://onnx.ai/onnx/operators/onnx__MaxPool.html",
    samples=lambda draw: draw.plain_at(draw.places(needs=["ceil_mode", "auto_pad"]), auto_pad="VALID", ceil_mode=1),
    applies=lambda it: it.auto_pad == "VALID" and _overhangs(it),
    diagnose=(
        NoAnswer(lambda it: it.auto_pad == "VALID" and it.ceil and it.says("ceil_mode"), Strength.GENERAL),
        WholeAnswer(_is_rounded_down),
    ),
    remedy=EXPLICIT,
    confounder=True,
    implies=("ceil-partial-window",),
)
