"""What a network costs: multiply-adds, trained numbers, memory of activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .network import Network, NetworkError

__all__ = ["Cost", "convolution_macs", "cost", "downstream", "product_macs", "saving", "transposed_macs"]


def convolution_macs(output_shape: Sequence[int], weight_shape: Sequence[int]) -> int:
    """Count the multiply-adds of a convolution whose weight is ``(C_out, C_in / groups, *K)``, padding included."""
    return math.prod(output_shape) * math.prod(weight_shape[1:])


def transposed_macs(input_shape: Sequence[int], weight_shape: Sequence[int]) -> int:
    """Count the multiply-adds of a transposed convolution whose weight is ``(C_in, C_out / groups, *K)``."""
    return math.prod(input_shape) * math.prod(weight_shape[1:])


def product_macs(output_shape: Sequence[int], inner: int) -> int:
    """Count the multiply-adds of a product of matrices; `inner` numbers are summed for each result."""
    return math.prod(output_shape) * inner


@dataclass(frozen=True)
class Cost:
    """What some stages cost together.

    Attributes
    ----------
    macs : int
        Multiply-adds of convolutions and products of matrices.
    parameters : int
        Trained numbers; running means and variances of normalisations are not among them.
    output_bytes : int
        Memory of all activations, each held once, as training holds them.
    """

    macs: int
    parameters: int
    output_bytes: int


def cost(network: Network) -> Cost:
    """Add up what the stages of a network cost.

    Examples
    --------
    >>> from pooling.doctor.network import read
    >>> cost(read("conv3x16 pool2 fc10", (1, 3, 8, 8)))
    Cost(macs=30208, parameters=3018, output_bytes=5160)
    """
    stages = network.stages
    return Cost(
        sum(stage.macs for stage in stages),
        sum(stage.parameters for stage in stages),
        sum(stage.output_bytes for stage in stages),
    )


def downstream(network: Network, name: str) -> tuple[str, ...]:
    """Return the names of the stages that read what a stage gives, themselves or through others.

    Raises
    ------
    NetworkError
        If there is no such stage.
    """
    reached = {network.stage(name).name}
    for stage in network.stages:
        if not reached.isdisjoint(stage.inputs):
            reached.add(stage.name)
    return tuple(stage.name for stage in network.stages if stage.name in reached and stage.name != name)


def saving(network: Network, name: str) -> float | None:
    """Return by which factor the stages behind a downsampling stage are cheaper than they were with stride 1.

    The multiply-adds of the stages behind it, with stride 1 over those as they are: about 4 for one that halves height
    and width. None where there is nothing to compare: the stage has stride 1 or no windows, no stage behind it
    multiplies, or the network does not work with stride 1, since it meets another path of fixed size.

    Raises
    ------
    NetworkError
        If there is no such stage.

    Examples
    --------
    >>> from pooling.doctor.network import read
    >>> saving(read("conv3x16 pool2 conv3x32 conv3x64", (1, 3, 32, 32)), "pool1")
    3.75390625
    """
    stage = network.stage(name)
    strided = stage.kind in ("convolution", "pooling") and any(axis.stride > 1 for axis in stage.axes)
    behind = set(downstream(network, name))
    now = sum(each.macs for each in network.stages if each.name in behind)
    if not strided or not now:
        return None
    try:
        other = network.edited({name: {"stride": 1}})
    except NetworkError:
        return None
    return sum(each.macs for each in other.stages if each.name in behind) / now
