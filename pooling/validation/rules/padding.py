"""How large padding may be, and what lies in it: nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ..inputs.case import Case
from ..verdicts import Kind
from .evidence import Cell, Evidence, Setting
from .rule import OWN, EachCell, NoAnswer, Rule, Strength, WholeAnswer, onnx_text
from .samples import OPSETS, WINDOWED, Samples, dtypes_of, has_attributes, positive

EXPLICIT = "pad with a Pad node of -inf before a maximum, of 0 before a mean that counts padding"


def _is_asymmetric(setting: Setting) -> bool:
    return setting.auto_pad == "NOTSET" and setting.uneven


def _has_other_pads(it: Evidence) -> bool:
    if not _is_asymmetric(it):
        return False
    begins, ends = [axis.pad_begin for axis in it.axes], [axis.pad_end for axis in it.axes]
    return any(it.explained_by(pads=pads) for pads in (begins + begins, ends + ends, ends + begins)) or (
        it.verdict.kind is Kind.VALUE and it.operator in WINDOWED and it.shifted_windows
    )


def _asymmetric(draw: Samples) -> Iterator[Case]:
    yield from draw.plain_at(draw.places(), asymmetric=True)
    yield from draw.plain_at(
        draw.places(["AveragePool"], needs=["count_include_pad"]), asymmetric=True, count_include_pad=1
    )


ASYMMETRIC_PADS = Rule(
    "asymmetric-pads",
    "pads differ at begin and end",
    "Each axis has its own number of padding cells at its beginning and at its end.",
    onnx_text("MaxPool", 22),
    samples=_asymmetric,
    applies=_is_asymmetric,
    diagnose=(
        NoAnswer(lambda it: it.uneven and it.says("asymmetric|alike|both sides"), Strength.GENERAL),
        WholeAnswer(_has_other_pads, Strength.GENERAL),
    ),
    remedy=EXPLICIT,
    confounder=True,
)


def _is_widely_padded(setting: Setting) -> bool:
    return any(2 * max(axis.pad_begin, axis.pad_end) > axis.kernel_size for axis in setting.axes)


def _large_pads(draw: Samples) -> Iterator[Case]:
    yield from draw.plain_at(draw.places(dimensions=(1, 2)), padded=True)
    # More than the kernel has taps, and less than it reaches.
    beyond: dict[str, Any] = {"padded": True, "dilated": True, "beyond_taps": True, "suits": _is_padded_beyond_taps}
    yield from draw.plain_at(draw.places(needs=["dilations"], dimensions=(1, 2)), **beyond)


def _is_padded_beyond_taps(setting: Setting) -> bool:
    return any(axis.pad_begin >= axis.kernel_size for axis in setting.axes)


PADS_UP_TO_EFFECTIVE_KERNEL = Rule(
    "pads-up-to-effective-kernel",
    "pads as large as the kernel",
    "Padding may have any size that leaves no window in it alone: up to dilation * (K - 1) on each side, more than "
    "half of the kernel included.",
    f"{onnx_text('MaxPool', 22)}: pads can take any value greater than or equal to 0",
    samples=_large_pads,
    applies=_is_widely_padded,
    diagnose=(
        NoAnswer(lambda it: _is_widely_padded(it) and it.says(r"\bpads?\b|padding|pool_attributes"), Strength.GENERAL),
    ),
    remedy=f"{EXPLICIT}; `pooling repair` does",
    confounder=True,
    implies=("dilation", "dilation-in-average"),
)


def _takes_padding(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    if it.operator == "MaxPool":
        return it.verdict.output == 0 and actual == 0 > expected and it.window(cell).size < it.tap_count
    return it.has_other_divisor(cell, expected, actual, overhanging=False)


def _padded(draw: Samples) -> Iterator[Case]:
    def is_padded(setting: Setting) -> bool:
        return setting.padded

    for opset in OPSETS["MaxPool"]:
        for dimensions in (1, 2, 3):
            found = draw.geometry("MaxPool", opset, dimensions, is_padded, padded=True)
            array = -positive(draw.random, found.shape)
            yield draw.case("MaxPool", array, opset, "negative", **found.attributes)
    for opset in OPSETS["AveragePool"]:
        counting: list[dict[str, Any]] = [{}]
        if has_attributes("AveragePool", opset, "count_include_pad"):
            counting += [{"count_include_pad": 0}, {"count_include_pad": 1}]
        for attributes in counting:
            for dimensions in (1, 2):
                found = draw.geometry("AveragePool", opset, dimensions, is_padded, padded=True, **attributes)
                about = "padding counts" if attributes.get("count_include_pad") else "padding does not count"
                yield draw.case("AveragePool", positive(draw.random, found.shape), opset, about, **found.attributes)


PADDING_EXCLUDED = Rule(
    "padding-excluded",
    "padding is no element",
    "A maximum never is the padding, not even of negative elements, and a mean counts it only with "
    "count_include_pad=1, which is not the default.",
    onnx_text("AveragePool", 22),
    samples=_padded,
    applies=lambda it: it.padded,
    diagnose=(EachCell(_takes_padding),),
    remedy=EXPLICIT,
)


def _is_of_nothing(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    """Whether a window has no element, and the answer is what somebody might start from."""
    if it.operator not in WINDOWED or it.window(cell).size:
        return False
    return it.verdict.output == 1 or not math.isfinite(actual) or actual in it.least | {0}


def _empty_windows(draw: Samples) -> Iterator[Case]:
    how: dict[str, Any] = {"padded": True, "dilated": True, "beyond_taps": True, "missing": 2}
    for operator, opset, dimensions in draw.places(needs=["dilations"], dimensions=(1, 2)):
        yield draw.plain(operator, opset, dimensions, **how)
        if operator == "MaxPool":
            yield draw.plain(operator, opset, dimensions, outputs=2, **how)
            for name in sorted({"int8", "uint8"} & set(dtypes_of(operator, opset))):
                found = draw.geometry(operator, opset, dimensions, **how)
                array = positive(draw.random, found.shape, name)
                yield draw.case(operator, array, opset, "from 1", **found.attributes)


EMPTY_WINDOW = Rule(
    "empty-window",
    "a window without an element",
    "A window all of whose taps lie in padding has the maximum -inf, or the least integer, with index -1; its mean "
    "is NaN where padding does not count, and its norm 0.",
    OWN,
    samples=_empty_windows,
    applies=lambda it: it.has_empty_window,
    diagnose=(
        WholeAnswer(
            lambda it: it.verdict.kind is not Kind.DTYPE and it.every(lambda *cell: _is_of_nothing(it, *cell)),
            Strength.CERTAIN,
        ),
        EachCell(_is_of_nothing, Strength.CERTAIN),
    ),
    remedy="choose padding and dilation so that each window reaches an element",
    confounder=True,
    implies=("dilation", "dilation-in-average", "pads-up-to-effective-kernel"),
)
