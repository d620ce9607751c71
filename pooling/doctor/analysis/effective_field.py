"""The effective receptive field: how far most of what a cell depends on lies from its centre.

Luo, Li, Urtasun and Zemel, "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks" (2016,
arXiv:1701.04128): with random weights, the variance of the gradient of a cell with respect to the input is distributed
around the centre of its field like the sum of one independent random step for each layer, a tap of its kernel. So the
variances of the steps add up, and many layers give a Gaussian.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from pooling.geometry import Axis

from ..network import Network, Stage
from ..receptive_field import ReceptiveField

__all__ = ["EffectiveField", "effective_fields", "narrowest_fields"]

DEVIATIONS = 4
"""From two standard deviations before the centre to two behind it: 95 % of a Gaussian on an axis, as in the paper."""


@dataclass(frozen=True)
class EffectiveField:
    """The effective receptive field of the cells of a stage, for each spatial axis.

    Attributes
    ----------
    deviation : tuple of float
        Standard deviation in pixels of the input, along the path that has the largest.
    size : tuple of float
        Four standard deviations, which hold 95 % of a Gaussian along an axis; at least 1 pixel, and at most the
        theoretical receptive field.
    """

    deviation: tuple[float, ...]
    size: tuple[float, ...]


def effective_fields(network: Network) -> dict[str, EffectiveField]:
    """Return the effective receptive field of every stage whose theoretical one is known.

    Parameters
    ----------
    network : Network
        At some input size.

    Returns
    -------
    dict of str to EffectiveField
        By the name of the stage.

    Notes
    -----
    A layer of `k` taps that lie `d` cells apart, whose input has an effective stride of `j` pixels, adds
    ``(j * d) ** 2 * (k ** 2 - 1) / 12``, the variance of a uniform choice among its taps. A binomial blur adds that of
    the squares of its weights. A resize adds nothing. Where paths meet, the largest variance is kept: how much weight
    each path has is learned. Training changes the field; the paper finds that it grows.

    Examples
    --------
    >>> from pooling.doctor import read
    >>> fields = effective_fields(read("conv3@a conv3@b pool2@c conv3@d", (1, 3, 32, 32)))
    >>> [round(fields[name].deviation[0] ** 2, 3) for name in "abcd"]
    [0.667, 1.333, 1.583, 4.25]
    """
    variances: dict[str, tuple[float, ...]] = {network.input_name: (0.0,) * len(network.spatial)}
    found: dict[str, EffectiveField] = {}
    for stage, field, before, strides in _maps(network):
        added = [
            tuple(own + step for own, step in zip(variances[name], _steps(stage, strides[name]), strict=True))
            for name in before
        ]
        variances[stage.name] = tuple(map(max, zip(*added, strict=True)))
        deviation = tuple(math.sqrt(each) for each in variances[stage.name])
        size = tuple(
            min(float(whole), max(1.0, DEVIATIONS * each)) for whole, each in zip(field.size, deviation, strict=True)
        )
        found[stage.name] = EffectiveField(deviation, size)
    return found


def narrowest_fields(network: Network) -> dict[str, tuple[int, ...]]:
    """Return the receptive field of every stage along the path to it that has the smallest.

    A shortcut of a residual network skips kernels, so that what passes along it has a smaller field than
    `ReceptiveField.size` says, which is that of the widest path. Along upsampling the field is taken not to grow, so
    that the numbers are never too large.

    Examples
    --------
    >>> from pooling.doctor import read
    >>> narrowest_fields(read("conv3x3@a conv3 conv3+a@sum", (1, 3, 32, 32)))["sum"]
    (3, 3)
    """
    narrow: dict[str, tuple[int, ...]] = {network.input_name: (1,) * len(network.spatial)}
    for stage, _, before, strides in _maps(network):
        reached = [
            tuple(
                own + math.floor(_reach(stage, number) * strides[name][number])
                for number, own in enumerate(narrow[name])
            )
            for name in before
        ]
        narrow[stage.name] = tuple(map(min, zip(*reached, strict=True)))
    return narrow


def _maps(network: Network) -> Iterator[tuple[Stage, ReceptiveField, list[str], Mapping[str, tuple[Fraction, ...]]]]:
    """Yield the stages that give maps, with their fields, the maps that they read, and the strides of all before."""
    dimensions = len(network.spatial)
    strides: dict[str, tuple[Fraction, ...]] = {network.input_name: (Fraction(1),) * dimensions}
    sizes: dict[str, tuple[int, ...]] = {network.input_name: network.spatial_sizes}
    for stage in network.stages:
        field = stage.receptive_field
        if field is None or len(field.size) != dimensions:
            continue
        before = _map_inputs(stage, sizes)
        if before:
            sizes[stage.name], strides[stage.name] = stage.output_size, field.stride
            yield stage, field, before, strides


def _map_inputs(stage: Stage, sizes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Name the inputs that a stage reads as maps; empty where one of them is not known.

    What is broadcast over the map, such as the gate of squeeze-and-excitation, is no map.
    """
    if stage.kind != "merge":
        return [name for name in stage.inputs if name in sizes][:1]
    field = stage.receptive_field
    if any(name not in sizes for name in stage.inputs) and not (field is not None and field.context):
        return []
    return [name for name in stage.inputs if sizes.get(name) == stage.output_size]


def _reach(stage: Stage, number: int) -> int:
    """Cells that a window adds to the field on an axis."""
    if stage.kind not in ("convolution", "pooling", "global") or not stage.axes:
        return 0
    axis = stage.axes[number]
    return axis.kernel_size - 1 if axis.adaptive else axis.effective_kernel_size - 1


def _steps(stage: Stage, stride: Sequence[Fraction]) -> list[float]:
    """Return the variance that a stage adds on each axis, in square pixels."""
    if stage.operator == "SpaceToDepth":
        ratios = [before // after for before, after in zip(stage.input_shape[2:], stage.output_size, strict=True)]
        cells = [_uniform(ratio) for ratio in ratios]
    elif stage.kind in ("convolution", "pooling", "global") and stage.axes:
        cells = [_window(stage, number, axis) for number, axis in enumerate(stage.axes)]
    elif stage.kind == "transposed" and stage.axes:
        cells = [_transposed(axis) for axis in stage.axes]
    else:
        cells = [0.0] * len(stride)
    return [float(step) ** 2 * each for step, each in zip(stride, cells, strict=True)]


def _window(stage: Stage, number: int, axis: Axis) -> float:
    """Return the variance of a tap of a window, in cells of the input of the stage."""
    operator = "" if stage.layer is None else stage.layer.operator
    if operator == "blur_pool":
        return _binomial(axis.kernel_size)
    if operator == "max_blur_pool" and stage.layer is not None:
        kernel = stage.layer.arguments["kernel_size"]
        own = kernel[number] if isinstance(kernel, tuple) else kernel
        return _uniform(own) + _binomial(axis.kernel_size - own + 1)
    return axis.dilation**2 * _uniform(axis.kernel_size)


def _uniform(taps: int) -> float:
    return (taps**2 - 1) / 12


def _binomial(taps: int) -> float:
    """Return the variance of the squared binomial weights, which are what squared gradients are multiplied with."""
    # With n = taps - 1: the sum of C(n, i)**2 is C(2n, n), and the variance of that (hypergeometric) law is this.
    n = taps - 1
    return n * n / (4 * (2 * n - 1)) if n else 0.0


def _transposed(axis: Axis) -> float:
    """Return the variance of a tap of a transposed convolution, in cells of its input, for the cell that reads most."""
    # The taps of one cell stand on multiples of the stride of the fine grid, lcm(stride, dilation) apart.
    common = math.gcd(axis.stride, axis.dilation)
    return (axis.dilation // common) ** 2 * _uniform(axis.most_taps)
