"""What a norm is one of, and how large it may become."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..inputs.case import Case
from .evidence import NORMS, Cell, Evidence
from .rule import OWN, EachCell, Rule, onnx_text
from .samples import NEWEST, OPSETS, Samples, distinct, window


def _is_signed(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    """Whether a norm took powers of numbers with their signs, or their mean."""
    elements, p = it.window(cell), it.attributes.get("p", 2)
    if it.operator not in NORMS or not bool(np.isfinite(elements).all()):
        return False
    if elements.size > 1 and it.isclose(expected, actual * elements.size ** (1 / p)):
        return True
    if not bool((elements < 0).any()):
        return False
    total = float((elements**p).sum())
    if total < 0 and p != 1:
        return math.isnan(actual) or actual == 0 or it.isclose(-((-total) ** (1 / p)), actual)
    if p == 1:
        return it.isclose(total, actual, float(np.abs(elements).sum()))
    return it.isclose(total ** (1 / p), actual)


def _signs(draw: Samples) -> Iterator[Case]:
    ramp = np.array([[[-1, -2, -3, 1, 2, 3]]], np.float32)
    for opset in OPSETS["LpPool"]:
        for p in (1, 2, 3, 4):
            yield draw.case("LpPool", ramp, opset, f"p {p}", p=p, **window(2, dimensions=1))
            found = draw.geometry("LpPool", opset, 2, lambda setting: setting.tap_count > 1)
            yield draw.case("LpPool", distinct(draw.random, found.shape), opset, f"p {p}", p=p, **found.attributes)
    for p in (1, 2, 3):
        yield draw.case("GlobalLpPool", ramp, NEWEST, f"p {p}", p=p)


LP_OF_ABSOLUTE_VALUES = Rule(
    "lp-of-absolute-values",
    "a norm is one of absolute values",
    "A window's norm is (sum |x|^p)^(1/p): signs do not matter, whatever p is, and it is a sum and no mean.",
    onnx_text("LpPool", 22),
    samples=_signs,
    diagnose=(EachCell(_is_signed),),
    remedy="put an Abs node before the norm",
)


def _is_overflowed(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    elements, p = np.abs(it.window(cell)), it.attributes.get("p", 2)
    if it.operator not in NORMS or not elements.size or not math.isfinite(expected):
        return False
    with np.errstate(all="ignore"):
        powers = elements**p
    if actual == math.inf:
        return bool(powers.sum() > float(it.finfo.max))
    return bool(powers.max() < float(it.finfo.tiny) / float(it.finfo.eps)) and 0 <= actual <= 2 * expected


def _overflows(draw: Samples) -> Iterator[Case]:
    twos = window(2, dimensions=1)
    for about, number in (("1e20", 1e20), ("1e-30", 1e-30), ("1e38", 1e38)):
        for p in (2, 3):
            array = np.full((1, 1, 4), number, np.float32)
            yield draw.case("LpPool", array, NEWEST, f"{about} p {p}", p=p, **twos)
            yield draw.case("GlobalLpPool", array, NEWEST, f"{about} p {p}", p=p)
    wide = np.full((1, 1, 8, 8), 1000, np.float16)
    yield draw.case("LpPool", wide, NEWEST, "1000", kernel_shape=[8, 8])


LP_WITHOUT_OVERFLOW = Rule(
    "lp-without-overflow",
    "a norm that fits does not overflow",
    "A norm that the dtype can hold is given, where powers of single elements would overflow or vanish.",
    OWN,
    samples=_overflows,
    diagnose=(EachCell(_is_overflowed),),
    remedy="scale the input before the norm, and the result back",
)
