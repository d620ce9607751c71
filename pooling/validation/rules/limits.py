"""What is at the edge of sense: sizes beyond any memory, axes without a window, batches without an element."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..inputs.case import Case
from .evidence import Setting
from .rule import OWN, NoAnswer, Rule, Strength, WholeAnswer
from .samples import GLOBAL, NEWEST, WINDOWED, Samples, window

LARGE = 2**31 - 1
"""Arguments from here on are not meant: they try what a runtime does with them."""


def _largest(setting: Setting) -> int:
    names = ("kernel_shape", "strides", "dilations", "pads")
    return max((abs(number) for name in names for number in setting.attributes.get(name, ())), default=0)


def _overflows(setting: Setting) -> bool:
    return setting.operator in WINDOWED and _largest(setting) >= LARGE


def _has_no_window(setting: Setting) -> bool:
    return setting.operator in WINDOWED and not setting.axes and _largest(setting) < LARGE


def _is_empty(setting: Setting) -> bool:
    return 0 in setting.shape[:2]


def _huge(draw: Samples) -> Iterator[Case]:
    array = np.ones((1, 1, 4, 4), np.float32)
    for operator in WINDOWED:
        huge: dict[str, dict[str, Any]] = {
            "dilation 2**62": {"kernel_shape": [5, 5], "dilations": [2**62] * 2},
            "dilation 2**31 - 1": {"kernel_shape": [3, 3], "dilations": [2**31 - 1] * 2},
            "stride 2**62 and ceil": {"kernel_shape": [2, 2], "strides": [2**62] * 2, "ceil_mode": 1},
        }
        if operator == "MaxPool":
            huge |= {
                "kernel 2**31": {"kernel_shape": [2**31] * 2},
                "kernel 2**32 + 2": {"kernel_shape": [2**32 + 2] * 2},
                "stride 2**62": {"kernel_shape": [2, 2], "strides": [2**62] * 2},
            }
        for about, attributes in huge.items():
            yield draw.case(operator, array, NEWEST, about, **attributes)
    far = {"kernel_shape": [5], "dilations": [2**62]}
    yield draw.case("MaxPool", np.ones((1, 1, 4), np.float32), NEWEST, "dilation 2**62", **far)


OVERFLOW_IS_REFUSED = Rule(
    "overflow-is-rejected",
    "overflow is rejected",
    "Kernels, strides and dilations beyond any memory are refused or computed, without a crash and without sizes "
    "that wrap around.",
    OWN,
    samples=_huge,
    applies=_overflows,
    diagnose=(NoAnswer(_overflows, Strength.CERTAIN),),
    remedy="check the sizes of a model before running it; `pooling doctor` does",
)


def _no_windows(draw: Samples) -> Iterator[Case]:
    for operator in WINDOWED:
        for kernel, stride in ((3, 1), (3, 5), (5, 2)):
            array = np.ones((1, 1, kernel - 2), np.float32)
            yield draw.case(operator, array, NEWEST, "ones", **window(kernel, stride, 1))


NO_WINDOW_IS_REFUSED = Rule(
    "no-window-is-rejected",
    "an axis without a window",
    "A kernel that does not fit into the padded input is an error; there is no window to pool.",
    OWN,
    samples=_no_windows,
    applies=_has_no_window,
    diagnose=(NoAnswer(lambda it: it.expected.unsupported is not None and _has_no_window(it), Strength.CERTAIN),),
    remedy="keep inputs at least as large as the kernel reaches; `pooling doctor` lists the sizes that a model takes",
)


def _empty(draw: Samples) -> Iterator[Case]:
    for shape in ((0, 3, 4, 4), (2, 0, 4, 4), (0, 2, 6)):
        about = "no batch" if shape[0] == 0 else "no channels"
        for operator in WINDOWED:
            array = np.zeros(shape, np.float32)
            yield draw.case(operator, array, NEWEST, about, **window(2, dimensions=len(shape) - 2))
        for operator in GLOBAL:
            yield draw.case(operator, np.zeros(shape, np.float32), NEWEST, about)


EMPTY_BATCH = Rule(
    "empty-batch",
    "empty batch",
    "A batch of size 0 gives a result of size 0, and so do no channels.",
    OWN,
    samples=_empty,
    applies=_is_empty,
    diagnose=(NoAnswer(_is_empty, Strength.CERTAIN), WholeAnswer(_is_empty, Strength.CERTAIN)),
    remedy="skip the call where a batch is empty",
)
