"""What a network costs, and what strides save of that."""

from __future__ import annotations

import math

from ..network import Network, Stage
from .object_footprint import collapses

__all__ = ["downstream_macs_saved"]


def downstream_macs_saved(network: Network, stage: Stage) -> int:
    """Return the multiply-adds that a stage saves downstream by making the map smaller.

    What lies behind it and still is a map would cost as many times as much as the stage has fewer cells.
    """
    before = math.prod(axis.input_size for axis in stage.axes)
    after = math.prod(axis.output_size for axis in stage.axes)
    if stage.kind not in ("convolution", "pooling") or not 0 < after < before or collapses(stage):
        return 0
    downstream, cost = {stage.name}, 0
    for each in network.stages:
        if not collapses(each) and downstream.intersection(each.inputs):
            downstream.add(each.name)
            cost += each.macs
    return cost * (before - after) // after
