"""What the input and its cells are called: samples of a signal, pixels of an image, voxels of a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pooling.reporting.formats import by

__all__ = ["Words"]

CELLS = {1: "sample", 2: "pixel", 3: "voxel"}
INPUTS = {1: "signal", 2: "image", 3: "volume"}
LINES = {1: ("sample",), 2: ("row", "column"), 3: ("slice", "row", "column")}
SHORT = {1: "samples", 2: "px", 3: "vx"}


@dataclass(frozen=True)
class Words:
    """The nouns for a network with some number of spatial axes.

    Attributes
    ----------
    dimensions : int
        Spatial axes of the input; what is no number from 1 to 3 is spoken of as an image.
    sample_rate : float, optional
        Samples per second of a signal, so that lengths are told in seconds too.

    Examples
    --------
    >>> Words(2).cells((8, 8)), Words(3).cells((4, 8, 8)), Words(1).cells((1,)), Words(1, 16000).cells((8000,))
    ('8×8 pixels', '4×8×8 voxels', '1 sample', '8000 samples (0.5 s)')
    >>> Words(1).input, Words(2).line(0), Words(3).line(0), Words(1).line(0)
    ('signal', 'row', 'slice', 'sample')
    """

    dimensions: int = 2
    sample_rate: float | None = None

    @property
    def cell(self) -> str:
        """One place of the input: ``"pixel"``."""
        return CELLS.get(self.dimensions, CELLS[2])

    @property
    def short(self) -> str:
        """Cells of the input, in brief: ``"px"``."""
        return SHORT.get(self.dimensions, SHORT[2])

    @property
    def input(self) -> str:
        """What the network looks at: ``"image"``."""
        return INPUTS.get(self.dimensions, INPUTS[2])

    @property
    def pyramid(self) -> str:
        """What joins fine and coarse maps."""
        return "a feature pyramid, FPN" if self.dimensions == 2 else "skip connections, as in a U-Net"

    @property
    def enlarge(self) -> str:
        """How the same object gets larger; what it is enlarged by follows."""
        if self.dimensions == 1:
            return "sample the signal more densely,"
        return f"enlarge the {self.input}"

    @property
    def across(self) -> str:
        """What is counted on the axes of a map: ``"rows x columns"``."""
        return (
            "cells" if self.dimensions == 1 else " x ".join(f"{each}s" for each in LINES.get(self.dimensions, LINES[2]))
        )

    def line(self, axis: int) -> str:
        """Return what lies across an axis of the input, counted from 0: ``"row"``."""
        return LINES.get(self.dimensions, LINES[2])[axis]

    def cells(self, sizes: Sequence[object]) -> str:
        """Write sizes in cells of the input, of a signal in seconds too."""
        one = len(sizes) == 1 and str(sizes[0]) == "1"
        return f"{by(sizes)} {self.cell}{'' if one else 's'}{self.seconds(sizes)}"

    def seconds(self, sizes: Sequence[object]) -> str:
        """Write how long a signal is, in brackets; empty where that is not known."""
        if self.dimensions != 1 or self.sample_rate is None or len(sizes) != 1:
            return ""
        return f" ({duration(float(str(sizes[0])) / self.sample_rate)})"


def duration(seconds: float) -> str:
    """Write a time with the unit that fits.

    Examples
    --------
    >>> duration(0.5), duration(0.0005), duration(0.032), duration(2)
    ('0.5 s', '0.5 ms', '32 ms', '2 s')
    """
    return f"{seconds:.3g} s" if seconds >= 0.1 else f"{1000 * seconds:.3g} ms"
