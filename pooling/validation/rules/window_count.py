"""How many windows an axis has."""

from __future__ import annotations

from collections.abc import Iterator

from ..inputs.case import Case
from .rule import Rule, onnx_text
from .samples import WINDOWED, Samples


def _window_counts(draw: Samples) -> Iterator[Case]:
    yield from draw.plain_at(draw.places())
    yield from draw.plain_at(draw.places(dimensions=(1, 2)), apart=True)


WINDOW_COUNT = Rule(
    "window-count",
    "number of windows",
    "An axis of I cells with padding has floor((I + pads - dilation * (K - 1) - 1) / S) + 1 windows; what is left "
    "over behind the last one is in no window.",
    onnx_text("MaxPool", 22),
    samples=_window_counts,
    applies=lambda it: it.operator in WINDOWED,
    remedy="crop or pad the input so that the windows end with it",
)
