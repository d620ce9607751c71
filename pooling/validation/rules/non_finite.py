"""NaN and infinities."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pooling.numerics.inputs import dtype_named

from ..inputs.case import Case
from .evidence import MAXIMA, MEANS, NORMS, Cell, Evidence
from .rule import EachCell, NoAnswer, Rule, Strength, onnx_text, torch_text
from .samples import FLOATS, NEWEST, Samples, dtypes_of, positive, window

EXACT = "export the pooling with special_values='exact', or repair the model with --special-values exact"


def _misses_nan(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    if it.operator not in MAXIMA or not it.has_nan(cell):
        return False
    elements = it.window(cell)
    rest = elements[~np.isnan(elements)]
    return it.verdict.output == 1 or actual in rest or actual in it.least | {-math.inf} or math.isnan(actual)


def _square_with_nan(tap: int, dtype: str) -> NDArray[np.generic]:
    """Return 1, 2, 3, 4 as a square, with NaN for one of them."""
    numbers = np.arange(1, 5).astype(dtype_named(dtype))
    numbers[tap] = np.nan
    return numbers.reshape(1, 1, 2, 2)


def _nan(draw: Samples) -> Iterator[Case]:
    random = draw.random
    for opset in (12, 22):
        for name in FLOATS:
            if name not in dtypes_of("MaxPool", opset):
                continue
            for tap in range(4):
                for outputs in (1, 2):
                    about = f"nan at tap {tap} of 4"
                    array = _square_with_nan(tap, name)
                    yield draw.case("MaxPool", array, opset, about, outputs=outputs, kernel_shape=[2, 2])
    for tap in range(9):
        array = positive(random, (1, 1, 9, 9))
        array[:, :, tap // 3 :: 3, tap % 3 :: 3] = np.nan
        yield draw.case("MaxPool", array, NEWEST, f"nan at tap {tap} of 9 in every window", **window(3))
    for tap in range(4):
        array = positive(random, (1, 2, 16, 16))
        array[:, :, tap // 2 :: 2, tap % 2 :: 2] = np.nan
        yield draw.case("MaxPool", array, NEWEST, f"nan at tap {tap} of 4 in every window of a wide map", **window(2))
    for tap in range(3):
        array = positive(random, (1, 2, 12))
        array[..., tap::3] = np.nan
        yield draw.case("MaxPool", array, NEWEST, f"nan at tap {tap} of 3", **window(3, dimensions=1))
    for dimensions, shape in enumerate(((1, 1, 4), (1, 1, 4, 4), (1, 1, 2, 2, 2)), 1):
        for outputs in (1, 2):
            array = np.full(shape, np.nan, np.float32)
            yield draw.case("MaxPool", array, NEWEST, "all nan", outputs=outputs, **window(2, dimensions=dimensions))
    array = np.full((1, 1, 4, 4), np.nan, np.float32)
    yield draw.case("MaxPool", array, NEWEST, "all nan with padding", **window(3, 2), pads=[1, 1, 1, 1])
    two = np.array([[[[1, np.nan], [np.nan, 2]]]], np.float32)
    yield draw.case("MaxPool", two, NEWEST, "nan twice", outputs=2, kernel_shape=[2, 2])
    for name in FLOATS:
        for tap in range(4):
            if name in dtypes_of("GlobalMaxPool"):
                yield draw.case("GlobalMaxPool", _square_with_nan(tap, name), NEWEST, f"nan at tap {tap} of 4")


NAN_PROPAGATES = Rule(
    "nan-propagates",
    "a NaN in a window is its maximum",
    "A window with a NaN anywhere has the maximum NaN, with the index of its first NaN.",
    f"{torch_text('max_pool2d')}; its index is that of numpy.argmax; ONNX is silent",
    samples=_nan,
    diagnose=(
        NoAnswer(
            lambda it: (
                it.operator in MAXIMA
                and bool(np.isnan(it.case.array).any())
                and it.says("zero-size array to reduction")
            ),
            Strength.GENERAL,
        ),
        EachCell(_misses_nan),
    ),
    remedy=EXACT,
)


def _starts_from_the_least(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    """Whether a maximum of nothing greater than the number that the search started from was not found."""
    if it.operator not in MAXIMA:
        return False
    elements = it.window(cell)
    own = np.iinfo(it.dtype).min if it.dtype.kind in "iu" else -math.inf
    if it.verdict.output == 1:
        # Nothing was found, and the index is that of nothing.
        return actual == 0 and bool(np.isin(elements, [own, *it.least]).all())
    return bool((elements == own).all()) and actual in it.least


def _minus_infinity(draw: Samples) -> Iterator[Case]:
    for name in FLOATS:
        if name not in dtypes_of("MaxPool"):
            continue
        for dimensions in (1, 2, 3):
            array = np.full((1, 2, *[4] * dimensions), -np.inf).astype(dtype_named(name))
            twos = window(2, dimensions=dimensions)
            yield draw.case("MaxPool", array, NEWEST, "all -inf", **twos)
            yield draw.case("MaxPool", array, NEWEST, "all -inf with padding", pads=[1] * 2 * dimensions, **twos)
        array = np.full((1, 2, 4, 4), -np.inf).astype(dtype_named(name))
        yield draw.case("GlobalMaxPool", array, NEWEST, "all -inf")
    array = np.full((1, 1, 4, 4), -np.inf, np.float32)
    yield draw.case("MaxPool", array, NEWEST, "all -inf", outputs=2, **window(2))
    yield draw.case("MaxPool", array, NEWEST, "all -inf with padding", outputs=2, pads=[1, 1, 1, 1], **window(2))
    least = np.full((1, 1, 4, 4), np.finfo(np.float32).min, np.float32)
    yield draw.case("MaxPool", least, NEWEST, "all the least number", outputs=2, **window(2))


MAX_IDENTITY = Rule(
    "max-identity-is-neg-inf",
    "a window of -inf is -inf",
    "A maximum starts from the window's first element: a window of nothing but -inf, with padding or without, is "
    "-inf and not the least finite number, and the index of a window of the least integers is that of its first.",
    onnx_text("MaxPool", 22),
    samples=_minus_infinity,
    diagnose=(EachCell(_starts_from_the_least),),
    remedy=EXACT,
)


def _skips_non_finite(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    """Whether a mean or a norm of numbers that are not all finite leaves out those."""
    elements = it.window(cell)
    rest = elements[np.isfinite(elements)]
    if it.operator not in MEANS | NORMS or rest.size == elements.size or math.isfinite(expected):
        return False
    if not math.isfinite(actual) or rest.size == 0:
        return not math.isfinite(actual) or actual == 0
    p = 1 if it.operator in MEANS else it.attributes.get("p", 2)
    total = float((rest if it.operator in MEANS else np.abs(rest) ** p).sum())
    scales = [1, elements.size / rest.size, it.tap_count / rest.size]
    if it.operator in MEANS:
        scales = [1 / count for count in range(1, it.tap_count + 1)]
    size = float(np.abs(rest).sum()) if it.operator in MEANS else 0.0
    return any(it.isclose((total * scale) ** (1 / p), actual, size * scale) for scale in scales)


def _non_finite(draw: Samples) -> Iterator[Case]:
    nan, inf = np.nan, np.inf
    numbers = {"nan": (nan, 1.0), "inf": (inf, 1.0), "-inf": (1.0, -inf), "inf and -inf": (inf, -inf)}
    for operator in ("AveragePool", "LpPool"):
        for about, pair in numbers.items():
            array = np.array(pair, np.float32)
            for opset in (11, NEWEST):
                yield draw.case(operator, array.reshape(1, 1, 2), opset, about, kernel_shape=[2])
            square = np.ones((1, 1, 4, 4), np.float32)
            square[..., 1, 1:3] = pair
            yield draw.case(operator, square, NEWEST, about, kernel_shape=[2, 2])
            yield draw.case(operator, square, NEWEST, f"{about} and padding", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    for about, pair in numbers.items():
        square = np.ones((1, 2, 2, 2), np.float32)
        square[0, 0, 0] = pair
        yield draw.case("GlobalAveragePool", square, NEWEST, about)


AVERAGE_PROPAGATES = Rule(
    "average-propagates-nan-inf",
    "NaN and infinities in means and norms",
    "A mean or a norm is one of all its elements: NaN makes it NaN, an infinity infinite, and the mean of "
    "infinities of both signs is NaN.",
    f"{onnx_text('AveragePool', 22)}; IEEE 754",
    samples=_non_finite,
    diagnose=(EachCell(_skips_non_finite),),
    remedy=EXACT,
)
