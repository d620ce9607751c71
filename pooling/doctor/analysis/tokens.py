"""Patch embeddings: stages that cut the input into the tokens of a transformer."""

from __future__ import annotations

from ..network import Network

__all__ = ["embeds_patches"]


def embeds_patches(network: Network, name: str) -> bool:
    """Whether a stage cuts the input into patches that attention works on: its channels keep what a patch shows.

    Parameters
    ----------
    network : Network
    name : str
        Of a stage.
    """
    stage = network.stage(name)
    if stage.kind != "convolution" or any(axis.kernel_size > axis.stride for axis in stage.axes):
        return False
    behind = {name}
    for each in network.stages:
        if not behind.isdisjoint(each.inputs):
            behind.add(each.name)
            if each.kind == "dense" and len(each.inputs) > 1:
                return True
    return False
