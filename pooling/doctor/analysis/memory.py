"""How much memory maps take: all that training keeps, and the most that is alive at one time in inference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..network import Network

__all__ = ["Memory", "live_bytes", "memory_of"]


@dataclass(frozen=True)
class Memory:
    """Memory of the maps of a network, weights not included.

    Attributes
    ----------
    training : int
        Bytes of the input and of the results of all stages together, each kept for the backward pass.
    inference : int
        The largest sum of bytes that are alive while one stage runs.
    live : dict of str to int
        By the name of a stage, bytes that are alive while it runs.
    peak : str
        The stage that needs most; empty for a network without stages.
    """

    training: int
    inference: int
    live: Mapping[str, int]
    peak: str


def memory_of(network: Network, input_bytes: int) -> Memory:
    """Add up the memory of maps.

    Parameters
    ----------
    network : Network
        At some input size.
    input_bytes : int
        Memory of its input.

    Returns
    -------
    Memory

    Notes
    -----
    The stages run one after another in the order of the network. A result is alive from the stage that writes it until
    the last stage that reads it has run; outputs of the network stay alive to the end. Each result has memory of its
    own: what a runtime does in place needs less, and scratch memory of its kernels comes on top.

    Examples
    --------
    >>> from pooling.doctor import read
    >>> network = read("conv3x8@a conv3x8@b conv3x8+a@c", (1, 8, 4, 4))
    >>> memory = memory_of(network, 512)
    >>> memory.training, memory.inference, memory.peak
    (2560, 1536, 'conv1')
    """
    live = live_bytes(network, input_bytes)
    peak = max(live, key=lambda name: live[name], default="")
    return Memory(input_bytes + network.output_bytes, live.get(peak, input_bytes), live, peak)


def live_bytes(network: Network, input_bytes: int) -> dict[str, int]:
    """Return the bytes that are alive while each stage runs; see `memory_of`."""
    place = {stage.name: number for number, stage in enumerate(network.stages)}
    end = len(network.stages)
    last = {network.input_name: -1} | place  # what nobody reads is freed behind the stage that wrote it
    for number, stage in enumerate(network.stages):
        for name in stage.inputs:
            if name in last:
                last[name] = number
    last |= {name: end for name in network.outputs if name in last}
    freed: dict[int, int] = {}
    sizes = {network.input_name: input_bytes} | {stage.name: stage.output_bytes for stage in network.stages}
    for name, number in last.items():
        freed[number] = freed.get(number, 0) + sizes[name]
    found: dict[str, int] = {}
    alive = input_bytes - freed.get(-1, 0)
    for number, stage in enumerate(network.stages):
        alive += stage.output_bytes
        found[stage.name] = alive
        alive -= freed.get(number, 0)
    return found
