"""What auto_pad="SAME_UPPER" and "SAME_LOWER" pad."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pooling.geometry import pool_axes

from ..inputs.case import Case
from ..verdicts import Kind
from .evidence import Evidence, Setting
from .rule import NoAnswer, Rule, Strength, WholeAnswer, onnx_text
from .samples import Samples

EXPLICIT = "write the padding as pads; `pooling repair` does"


def _is_spread(it: Evidence) -> bool:
    """Whether windows lie apart, so that SAME needs fewer cells than there are."""
    return it.same and any(axis.stride > axis.effective_kernel_size for axis in it.axes)


def _same_sizes(draw: Samples) -> Iterator[Case]:
    yield from draw.plain_at(draw.places(dimensions=(1, 2)), auto_pad="SAME_UPPER")
    yield from draw.plain_at(draw.places(dimensions=(1, 2)), auto_pad="SAME_UPPER", apart=True)


SAME_OUTPUT_SIZE = Rule(
    "same-output-size",
    "SAME has ceil(I / S) windows",
    'With auto_pad="SAME_UPPER" or "SAME_LOWER" an axis has ceil(I / S) windows, and padding as much as they '
    "need, but never less than none.",
    onnx_text("MaxPool", 22),
    samples=_same_sizes,
    applies=lambda it: it.same,
    diagnose=(
        NoAnswer(lambda it: it.same and it.says("negative"), Strength.GENERAL),
        WholeAnswer(
            lambda it: (
                it.same
                and it.verdict.output == 0
                and (it.verdict.kind is Kind.SHAPE or (_is_spread(it) and it.shifted_windows))
            ),
            Strength.GENERAL,
        ),
    ),
    remedy=EXPLICIT,
    confounder=True,
)


def _ignores_dilation(it: Evidence) -> bool:
    """Whether the answer, as far as there is one, is that of the padding that undilated windows would need."""
    if not (it.same and it.dilated) or it.verdict.output != 0:
        return False
    bare = pool_axes(
        it.shape[2:],
        kernel_size=it.per_axis("kernel_shape", 1),
        stride=it.per_axis("strides", 1),
        padding=it.auto_pad.lower(),
    )
    pads = [axis.pad_begin for axis in bare] + [axis.pad_end for axis in bare]
    changes: dict[str, Any] = {"auto_pad": None, "pads": pads, "ceil_mode": None}
    other = it.answer(**changes)
    if other is None or it.found is None or it.found.ndim != other.ndim:
        return it.verdict.kind is Kind.SHAPE and other is not None and it.found_shape == other.shape
    shared = tuple(slice(min(sizes)) for sizes in zip(other.shape, it.found.shape, strict=True))
    magnitude = it.magnitude(**changes)
    return it.isclose(other[shared], it.found[shared], magnitude[shared] if magnitude.ndim else magnitude)


def _needs_other_pads(setting: Setting) -> bool:
    """Whether undilated windows would need other pads."""
    return any(
        (axis.output_size - 1) * axis.stride + axis.kernel_size - axis.input_size != axis.pad_begin + axis.pad_end
        for axis in setting.axes
        if axis.dilation > 1
    )


def _same_dilated(draw: Samples) -> Iterator[Case]:
    for place in draw.places(needs=["dilations", "auto_pad"]):
        for name in ("SAME_UPPER", "SAME_LOWER"):
            # Where the odd cell lies is a rule of its own.
            yield draw.plain(*place, dilated=True, auto_pad=name, suits=_needs_other_pads)


SAME_USES_EFFECTIVE_KERNEL = Rule(
    "same-uses-effective-kernel",
    "SAME pads for the dilated kernel",
    'With auto_pad="SAME_UPPER" or "SAME_LOWER" padding is counted for the effective kernel dilation * (K - 1) + 1.',
    f"{onnx_text('MaxPool', 22)}: pad_shape has ((kernel - 1) * dilation + 1)",
    samples=_same_dilated,
    applies=lambda it: it.same and it.dilated,
    diagnose=(WholeAnswer(_ignores_dilation),),
    remedy=EXPLICIT,
    confounder=True,
    implies=("same-output-size", "dilation", "dilation-in-average", "pads-up-to-effective-kernel"),
)
SAME_LOWER_PADS_BEGIN = Rule(
    "same-lower-pads-begin",
    "SAME_LOWER puts the odd cell at the beginning",
    'Where SAME needs an odd number of cells, "SAME_LOWER" has one more at the beginning, "SAME_UPPER" at the end.',
    onnx_text("MaxPool", 22),
    samples=lambda draw: draw.plain_at(draw.places(), auto_pad="SAME_LOWER"),
    applies=lambda it: it.auto_pad == "SAME_LOWER" and it.uneven,
    diagnose=(WholeAnswer(lambda it: it.auto_pad == "SAME_LOWER" and it.explained_by(auto_pad="SAME_UPPER")),),
    remedy=EXPLICIT,
    confounder=True,
    implies=("same-output-size",),
)
