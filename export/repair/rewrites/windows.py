"""The attributes of a node whose windows slide, and the pads that they come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnx

from pooling import geometry
from pooling.arguments import axis_names
from pooling.errors import refusal_of, value_error
from pooling.geometry import Axis
from pooling.onnx_models.nodes import AUTO_PAD, WINDOWED, checked_attributes

from .rewrite import FUNCTION, NEWEST, ShapeDependentError, SkippedError

if TYPE_CHECKING:
    from ..records import RuleName

__all__ = ["Sides", "WindowAttributes", "is_misread"]


ADDED_LATER: tuple[RuleName, ...] = ("ceil_mode", "dilations")
"""Attributes that operators did not have from the beginning."""


@dataclass(frozen=True)
class Sides:
    """Pads of one axis: declared, and what ceil_mode touches beyond them."""

    begin: int
    end: int
    overhang: int


@dataclass(frozen=True)
class WindowAttributes:
    """The attributes of a node with windows, after checking."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    auto_pad: str
    ceil_mode: bool
    counted: bool
    new: tuple[RuleName, ...]
    """Attributes that the operator has in later opsets only."""

    @classmethod
    def of(cls, node: onnx.NodeProto, opset: int) -> WindowAttributes:
        """Read the attributes of a node, after checking them."""
        words = {each.name for each in node.attribute}
        schema: Any = onnx.defs.get_schema(node.op_type, opset, "")
        new = tuple(name for name in ADDED_LATER if name in words - set(schema.attributes))
        found = checked_attributes(FUNCTION, node, NEWEST if new else opset)
        count = len(found["kernel_shape"])
        pads = tuple(found.get("pads", (0,) * 2 * count))
        auto_pad = found.get("auto_pad", "NOTSET")
        if auto_pad != "NOTSET":
            pads = (0,) * 2 * count if "pads" not in found or auto_pad == "VALID" else pads
        return cls(
            tuple(found["kernel_shape"]),
            tuple(found.get("strides", (1,) * count)),
            tuple(found.get("dilations", (1,) * count)),
            tuple(zip(pads[:count], pads[count:], strict=True)),
            auto_pad,
            bool(found.get("ceil_mode", 0)),
            bool(found.get("count_include_pad", 0)),
            new,
        )

    @property
    def effective(self) -> tuple[int, ...]:
        """What a window reaches over, its dilation included."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def dilated(self) -> bool:
        """Whether the taps of a window stand apart."""
        return max(self.dilation) > 1

    @property
    def large(self) -> bool:
        """Whether some declared pad is not smaller than its window, so that some windows hold padding only."""
        return self.auto_pad == "NOTSET" and any(
            max(pads) >= size for pads, size in zip(self.pads, self.effective, strict=True)
        )

    def axes(self, sizes: Sequence[int | None], where: str) -> tuple[Axis, ...]:
        """Lay the windows over axes; nothing where not all sizes are known."""
        known = tuple(size for size in sizes if size is not None)
        if len(known) < len(sizes):
            return ()
        padding = AUTO_PAD.get(self.auto_pad, self.pads)
        try:
            return geometry.pool_axes(
                known, self.kernel, self.stride, padding, self.dilation, self.ceil_mode, function=where
            )
        except ValueError as error:
            raise _no_window_fits(error) from error

    @property
    def misread(self) -> bool:
        """Whether onnxruntime finds other pads for auto_pad than the text has."""
        steps = zip(self.stride, self.effective, strict=True)
        return self.auto_pad.startswith("SAME") and (self.dilated or any(step > size for step, size in steps))

    def padding_only(self, shape: Sequence[int | None] | None, where: str) -> bool:
        """Whether pads or dilation make windows of padding alone; where sizes are not known, whether they may."""
        if self.large:
            return True
        if not self.dilated:
            return False
        count = len(self.kernel)
        axes = self.axes(shape[2:], where) if shape is not None and len(shape) == count + 2 else ()
        if axes:
            return any(bool((axis.taps() < 0).all(1).any()) for axis in axes)
        return self.auto_pad.startswith("SAME") or self.ceil_mode or any(map(any, self.pads))

    def side(self, number: int, size: int | None, where: str) -> Sides:
        """Find the pads of an axis; where its size is not known, those that are right for every size."""
        kernel, stride, dilation = self.kernel[number], self.stride[number], self.dilation[number]
        effective = self.effective[number]
        begin, end = self.pads[number]
        if size is not None:
            padding = AUTO_PAD.get(self.auto_pad, ((begin, end),))
            try:
                (axis,) = geometry.pool_axes(
                    (size,), (kernel,), (stride,), padding, (dilation,), self.ceil_mode, function=where
                )
            except ValueError as error:
                raise _no_window_fits(error) from error
            return Sides(axis.pad_begin, axis.pad_end, axis.ceil_overhang)
        if self.auto_pad.startswith("SAME"):
            if stride > 1 and effective > 1:
                raise ShapeDependentError(f"how {self.auto_pad} pads depends on the size")
            total = effective - 1
            less, more = total // 2, total - total // 2
            return Sides(less, more, 0) if self.auto_pad == "SAME_UPPER" else Sides(more, less, 0)
        if not self.ceil_mode or stride == 1:
            return Sides(begin, end, 0)
        if end + stride > effective:
            # With less, no window can start behind the input, so that dividing up is adding stride - 1 cells.
            raise ShapeDependentError("whether ceil_mode adds a window depends on the size")
        return Sides(begin, end, stride - 1)

    def sides(self, shape: Sequence[int | None] | None, where: str, tensor: str) -> tuple[Sides, ...]:
        """Find the pads of all axes."""
        sizes = (None,) * len(self.kernel) if shape is None else tuple(shape[2:])
        if shape is not None and len(sizes) != len(self.kernel):
            remedy = "give one integer per spatial axis"
            if len(self.kernel) == len(shape) - 1:
                remedy = "ONNX pools batches, and it has no batch axis: put an Unsqueeze in front"
            raise value_error(
                where,
                f"kernel_shape={list(self.kernel)} is for {len(self.kernel)} spatial axes, but its input {tensor!r} "
                f"has {max(len(shape) - 2, 0)}",
                remedy,
            )
        axes = self.axes(sizes, where)
        if axes:
            return tuple(Sides(axis.pad_begin, axis.pad_end, axis.ceil_overhang) for axis in axes)
        found = []
        for number, size in enumerate(sizes):
            try:
                found.append(self.side(number, size, where))
            except ShapeDependentError as error:
                axis = axis_names(len(self.kernel))[number]
                raise ShapeDependentError(f"{error} of {tensor!r} on axis {axis}, which is not known") from None
        return tuple(found)


def _no_window_fits(error: ValueError) -> SkippedError:
    """Say that windows do not fit into an input, of which runtimes make nothing, something or an error."""
    return SkippedError(refusal_of(error).reason)


def is_misread(node: onnx.NodeProto, opset: int) -> bool:
    """Whether onnxruntime is known to answer a node otherwise than the text."""
    if node.op_type not in WINDOWED or any(each.ref_attr_name for each in node.attribute):
        return False
    return WindowAttributes.of(node, opset).misread
