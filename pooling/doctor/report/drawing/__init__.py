"""The network as one drawing, from left to right: each map a box, an object that loses its detail from box to box.

maps       the boxes: stages folded by resolution and block, skips between them, heads
sentences  what the drawing says, in words
names      names of stages as paths of modules
scene      the photograph on which the object is shown: the user's, or one that is made here
display    what a drawing consists of: polygons, curves, pictures, lines of text and the room they take
layout     the boxes on paper, for networks with two or three spatial axes
strips     the same for signals: one strip for each map, one below the other, on one time axis
svg        a display list as SVG
raster     the same list by matplotlib, as PNG or PDF
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...analysis.picture import Picture
from .display import Drawing
from .layout import laid_out
from .maps import drawn_maps
from .scene import Photograph
from .sentences import headline
from .strips import strips

if TYPE_CHECKING:
    from ...examination import Examination

__all__ = ["NARROW", "WIDE", "drawing", "sentence"]

WIDE, NARROW = 1280, 840
"""CSS pixels across: what a page shows on a screen of 1600 and of 900 pixels; a file has the first."""


def drawing(examination: Examination, image: Picture | None = None, width: int = WIDE) -> Drawing:
    """Draw a network from left to right.

    Each map is a box whose depth is its channels and whose side is its size, both by their logarithms. Stages of one
    resolution are one box. What is on its face is the photograph as the map could show it: its mean over each cell of
    the coarsest grid that leads there.

    Parameters
    ----------
    examination : Examination
        What `examine` returns.
    image : path or array, optional
        A photograph for networks with two spatial axes, instead of the one of the examination; without any, one that
        is drawn here.
    width : int
        CSS pixels across.

    Returns
    -------
    Drawing

    Raises
    ------
    TypeError, ValueError
        If the picture cannot be read, or the network has no spatial axes.

    Examples
    --------
    >>> from pooling.doctor import examine
    >>> result = drawing(examine("conv3/2x16@stem conv3/2x32@down", (1, 3, 64, 64), object_size=2))
    >>> [box.label for box in result.boxes]
    ['input', 'stem', 'down']
    >>> result.title
    'A 2-pixel object is half a cell at stride 4: it is lost at down'
    """
    image = image if image is not None else examination.image
    maps = drawn_maps(examination)
    photograph = Photograph.of(maps, image)
    return (strips if maps.dimensions == 1 else laid_out)(maps, photograph, width)


def sentence(examination: Examination) -> str:
    """Return what stands in large type above the drawing, without drawing anything.

    Raises
    ------
    ValueError
        If the network has no spatial axes.

    Examples
    --------
    >>> from pooling.doctor import examine
    >>> sentence(examine("conv3/2x16@stem conv3/2x32@down", (1, 3, 64, 64), object_size=2))
    'A 2-pixel object is half a cell at stride 4: it is lost at down'
    """
    return headline(drawn_maps(examination))[0]
