"""Which ranks, dtypes, operators and attribute defaults there are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..inputs.case import Case
from ..verdicts import Kind
from .evidence import MAXIMA, Cell, Evidence, Setting
from .indices import unpooling
from .rule import EachCell, NoAnswer, Rule, Strength, WholeAnswer, onnx_text
from .samples import GLOBAL, NEWEST, OPSETS, WINDOWED, Samples, distinct, dtypes_of, positive, window


def _is_in_float32(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    """Whether a float64 is as exact as float32 would have it."""
    if it.dtype != np.float64 or it.operator in MAXIMA:
        return False
    return abs(actual - expected) <= it.window(cell).size * 2.0**-23 * abs(expected)


def _dtypes(draw: Samples) -> Iterator[Case]:
    for operator in (*WINDOWED, *GLOBAL[:2]):
        windows = window(2) if operator in WINDOWED else {}
        for opset in (11 if operator in WINDOWED else 1, 12, NEWEST):
            if opset == 12 and operator != "MaxPool":
                continue
            for name in dtypes_of(operator, opset):
                array = positive(draw.random, (1, 2, 4, 4), name)
                for outputs in (1, 2) if operator == "MaxPool" else (1,):
                    yield draw.case(operator, array, opset, "from 1", outputs=outputs, **windows)


EVERY_DTYPE = Rule(
    "every-dtype",
    "every dtype of the opset",
    "An operator takes every dtype that its opset lists, computes no less exactly, and gives the same back.",
    f"{onnx_text('MaxPool', 22)}, type constraints",
    samples=_dtypes,
    diagnose=(
        NoAnswer(lambda it: it.dtype != np.float32),
        WholeAnswer(lambda it: it.verdict.kind is Kind.DTYPE, Strength.CERTAIN),
        EachCell(_is_in_float32, Strength.LAST_RESORT),
    ),
    remedy="cast to float32 before the pooling, and back",
)

MISSING = (
    r"not[ _]?implemented|unimplemented|no registered implementation|could not find an implementation|"
    r"has no [a-z]*pool|'handleNode'"
)
"""How runtimes say that they have no such operator."""


def _is_rare(setting: Setting) -> bool:
    return setting.operator in {"GlobalLpPool", "MaxUnpool"}


def _operators(draw: Samples) -> Iterator[Case]:
    for opset in OPSETS["GlobalLpPool"]:
        for dimensions in (1, 2, 3):
            shape = (2, 2, *[3] * dimensions)
            yield draw.case("GlobalLpPool", distinct(draw.random, shape), opset, "p 2", p=2)
    for opset in OPSETS["MaxUnpool"]:
        yield unpooling(draw, opset, (1, 1, 4, 4))


EVERY_OPERATOR = Rule(
    "every-operator",
    "every pooling operator",
    "The pooling operators of the default domain, GlobalLpPool and MaxUnpool among them, are part of every opset "
    "that has them.",
    onnx_text("GlobalLpPool", 22),
    samples=_operators,
    applies=_is_rare,
    diagnose=(NoAnswer(lambda it: it.says(MISSING) or _is_rare(it)),),
    remedy="export the pooling, which uses operators that all runtimes have; `pooling repair` rewrites GlobalLpPool",
)


def _ranks(draw: Samples) -> Iterator[Case]:
    for operator in GLOBAL[:2]:
        for opset in OPSETS[operator]:
            for shape in ((2, 3, 4), (2, 3, 4, 5), (2, 3, 2, 4, 3), (1, 1, 1), (1, 1, 1, 1)):
                yield draw.case(operator, distinct(draw.random, shape), opset, "all different")
    yield from draw.plain_at(draw.places(dimensions=(1, 3)))


ANY_RANK = Rule(
    "any-rank",
    "one to three spatial axes",
    "Inputs have any number of spatial axes; a global pooling leaves each of them with size 1.",
    onnx_text("GlobalMaxPool", 22),
    samples=_ranks,
    applies=lambda it: it.dimensions != 2,
    diagnose=(
        NoAnswer(lambda it: it.dimensions != 2 and it.says("IndexError|spatial ax|rank|2d|dimension")),
        WholeAnswer(
            lambda it: it.operator.startswith("Global") and it.dimensions != 2 and it.verdict.kind is Kind.SHAPE
        ),
    ),
    remedy="reshape to two spatial axes, one of them of size 1",
)


def _integers(draw: Samples) -> Iterator[Case]:
    for name in ("int8", "uint8"):
        info = np.iinfo(name)
        for opset in (12, NEWEST):
            whole = draw.random.integers(info.min, info.max, (1, 2, 6, 6), name, endpoint=True)
            least = np.full((1, 1, 4, 4), info.min, name)
            for about, array in (("whole range", whole), ("all the least", least)):
                yield draw.case("MaxPool", array, opset, about, **window(2))
                padded = {**window(2), "pads": [1, 1, 1, 1]}
                yield draw.case("MaxPool", array, opset, f"{about} with padding", **padded)
                yield draw.case("MaxPool", array, opset, f"{about} with padding", outputs=2, **padded)


def _is_of_other_sign(it: Evidence, cell: Cell, expected: int, actual: int) -> bool:
    """Whether a maximum of integers is that of the same bits as integers of the other signedness."""
    if it.operator not in MAXIMA or it.dtype.kind not in "iu" or it.verdict.output != 0:
        return False
    elements = it.window(cell)
    others = elements.view(np.dtype(f"{'i' if it.dtype.kind == 'u' else 'u'}{it.dtype.itemsize}"))
    return bool(elements.size) and bool(actual == elements[others.argmax()])


EXTREME_INTEGERS = Rule(
    "extreme-integers",
    "maxima of integers are exact",
    "The maximum of int8 and uint8 is exact over their whole range, and padding is below the least.",
    onnx_text("MaxPool", 12),
    samples=_integers,
    diagnose=(EachCell(_is_of_other_sign),),
    remedy="pool in float32, which holds all integers of 8 bits",
)


def _defaults(draw: Samples) -> Iterator[Case]:
    for operator, opset, dimensions in draw.places(dimensions=(1, 2)):
        found = draw.geometry(operator, opset, dimensions, padded=True)
        kept = {name: value for name, value in found.attributes.items() if name != "strides"}
        yield draw.case(operator, distinct(draw.random, found.shape), opset, "nothing but kernel and pads", **kept)


DEFAULTS = Rule(
    "defaults",
    "attribute defaults",
    "Strides and dilations are 1 where they are left out, padding 0, count_include_pad 0, p 2.",
    onnx_text("LpPool", 22),
    samples=_defaults,
    applies=lambda it: it.operator in WINDOWED and "strides" not in it.attributes,
    remedy="write all attributes",
)
