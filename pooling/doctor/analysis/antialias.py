"""What to put in the place of a stage that aliases: an anti-aliased pooling whose result has the same size.

Everything that recommends one asks here, so that all say the same, and what they say can be typed in as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pooling
from pooling.geometry import window_count

if TYPE_CHECKING:
    from pooling.geometry import Axis
    from pooling.layer import Layer

    from ..network import Stage

__all__ = ["Replacement", "blur_taps", "replacement"]

USUAL_TAPS = 3
"""Of the blur of MaxBlurPool2d when nobody says how many."""
Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Replacement:
    """An anti-aliased pooling to use instead of a stage.

    Attributes
    ----------
    words : str
        As it would be written: a layer, and what is changed of the stage where that stays.
    layer : Layer or None
        The layer that the words name; None for other than two spatial axes, which no blur of this package has.
    same_size : bool
        Whether the layer is known to give the output size that the stage has.
    """

    words: str
    layer: Layer | None = None
    same_size: bool = False


def blur_taps(axes: Sequence[Axis], operator: str) -> tuple[int, ...]:
    """Return the taps of the binomial blur that takes the place of an average, or is added to anything else."""
    # The shortest blur that a stride needs: 3 taps for 2, as in the paper.
    least = tuple(2 * axis.stride - 1 for axis in axes)
    if operator != "avg_pool":
        return least
    # As wide as the average, measured by variance: (k**2 - 1) / 12 of k equal weights, (n - 1) / 4 of n binomial ones.
    # An odd number of taps leaves the centre where it is.
    return tuple(max(size, 2 * -(-(axis.kernel_size**2 - 1) // 6) + 1) for size, axis in zip(least, axes, strict=True))


def replacement(stage: Stage) -> Replacement:
    """Say what pools without aliasing where a stage with a stride is, with all arguments that its output size needs.

    Examples
    --------
    >>> from pooling.doctor import read
    >>> network = read("pool3/2p1@a avgpool2@b pool3/2p1d2@c conv1/2@d")
    >>> for name in "abcd":
    ...     print(replacement(network.stage(name)).words)
    MaxBlurPool2d(3, stride=2, padding=1)
    BlurPool2d(3, stride=2)
    stride=1, and BlurPool2d(3, stride=2) behind it
    BlurPool2d(3, stride=2) before it, and stride=1
    """
    # Of a layer its own, without the padding of a Pad that it reads.
    axes = stage.layer.axes(stage.input_shape) if stage.layer is not None else stage.axes
    operator = "" if stage.layer is None else stage.layer.operator.removeprefix("adaptive_")
    taps = blur_taps(axes, operator)
    strides = tuple(axis.stride for axis in axes)
    extra: dict[str, Any] = {}
    if stage.layer is not None and stage.layer.layout != "channels_first":
        extra["layout"] = stage.layer.layout
    if all(axis.kernel_size == 1 for axis in axes):
        blur = _blur(stage, _laid(axes, taps), taps, extra)
        padded = any(axis.pad_begin or axis.pad_end for axis in axes)
        return Replacement(
            f"{blur.words} before it, and stride=1{' and padding=0' * padded}", blur.layer, blur.same_size
        )
    if operator == "avg_pool":
        return _blur(stage, _laid(axes, taps), taps, extra)
    # At stride 1 a window that ceil_mode lets hang over the edge is one of more padding.
    pads = tuple((axis.pad_begin, axis.pad_end + axis.ceil_overhang) for axis in axes)
    maxima = [
        window_count(axis.input_size + sum(pad), axis.effective_kernel_size, 1)
        for axis, pad in zip(axes, pads, strict=True)
    ]
    if operator == "max_pool" and len(axes) == 2 and all(axis.dilation == 1 for axis in axes):
        assert stage.layer is not None
        arguments: dict[str, Any] = {"stride": _brief(strides)}
        if any(map(any, pads)):
            arguments["padding"] = _padding(pads)
        if set(taps) != {USUAL_TAPS}:
            arguments["blur_kernel_size"] = _brief(taps)
        arguments |= _mirrored([size // 2 for size in taps], maxima) | extra
        if stage.layer.arguments.get("nan", "propagate") != "propagate":
            arguments["nan"] = stage.layer.arguments["nan"]
        kernel = _brief([axis.kernel_size for axis in axes])
        whole = _layer(stage, stage.input_shape, "MaxBlurPool2d", kernel, arguments)
        if whole is not None:
            return whole
    blur = _blur(stage, None, taps, extra, maxima)
    overhang = any(axis.ceil_overhang for axis in axes)
    padding = f" and padding={_padding(pads)}" if overhang else ""
    return Replacement(f"stride=1{padding}, and {blur.words} behind it", blur.layer, blur.same_size)


def _brief(numbers: Sequence[int]) -> int | tuple[int, ...]:
    """Return what holds for all axes once."""
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


def _padding(pads: Pairs) -> Any:
    return _brief([begin for begin, _ in pads]) if all(begin == end for begin, end in pads) else pads


def _mirrored(padding: Sequence[int], sizes: Sequence[int]) -> dict[str, Any]:
    """Say what padding holds where a map is too small to be mirrored."""
    fits = all(most < cells for most, cells in zip(padding, sizes, strict=True))
    return {} if fits else {"padding_mode": "replicate"}


def _laid(axes: Sequence[Axis], taps: Sequence[int]) -> Pairs:
    """Return the padding with which a blur has as many windows as a stage, and centred alike."""
    return tuple(axis.padding_of(size) for axis, size in zip(axes, taps, strict=True))


def _blur(
    stage: Stage, pads: Pairs | None, taps: tuple[int, ...], extra: dict[str, Any], sizes: Sequence[int] | None = None
) -> Replacement:
    """Return a blur with every stride-th result: of the input of a stage, or of a map of other sizes."""
    # Of a layer its own, without the padding of a Pad that it reads.
    axes = stage.layer.axes(stage.input_shape) if stage.layer is not None else stage.axes
    strides = tuple(axis.stride for axis in axes)
    in_words = Replacement(f"a binomial blur of {_brief(taps)} taps at stride {_brief(strides)}")
    if len(axes) != 2:
        return in_words
    channels_last = extra.get("layout") == "channels_last"
    before = [axis.input_size for axis in axes] if sizes is None else list(sizes)
    shape = (1, *before, 1) if channels_last else (1, 1, *before)
    arguments: dict[str, Any] = {"stride": _brief(strides)}
    usual = [(size // 2, size // 2) for size in taps]
    mode = _mirrored([max(pad) for pad in usual], before)
    centred = _layer(stage, shape, "BlurPool2d", _brief(taps), arguments | mode | extra)
    if pads is None or (
        centred is not None and centred.same_size and [pad[0] for pad in pads] == [pad[0] for pad in usual]
    ):
        return centred or in_words
    mode = _mirrored([max(pad) for pad in pads], before)
    arguments |= {"padding": _padding(pads)} | mode | extra
    return _layer(stage, shape, "BlurPool2d", _brief(taps), arguments) or in_words


def _layer(
    stage: Stage, input_shape: tuple[int, ...], name: str, kernel: int | tuple[int, ...], arguments: dict[str, Any]
) -> Replacement | None:
    """Make a layer, and see whether its output has the size that the stage has; None where there is no such layer."""
    shown = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    words = f"{name}({kernel}, {shown})"
    try:
        layer = getattr(pooling, name)(kernel, **arguments)
        sizes = [axis.output_size for axis in layer.axes(input_shape)]
    except ValueError:  # a stride so large that float64 has no weights for its blur, or more padding than taps
        return None
    return Replacement(words, layer, sizes == [axis.output_size for axis in stage.axes])
