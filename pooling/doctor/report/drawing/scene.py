"""The photograph on which a drawing shows the object: the user's, or a lake with a boat that is drawn here.

Nothing is shipped as a file: the lake is made of a few functions, under the licence of the package.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...analysis.picture import Picture, fitted
from ..pyramid import Box, Level, shares
from .maps import DrawnMap, DrawnMaps

__all__ = ["Photograph", "lake", "signal"]

Floats = NDArray[Any]

MOST_PIXELS = 448
"""Pixels of the scene on its longer side; no face is larger."""
FINE = 2
"""Samples of a pixel on a side."""
SAMPLES = 4096
"""Of the signal."""


@dataclass(frozen=True)
class Photograph:
    """What lies on the faces of maps.

    Attributes
    ----------
    pixels : uint8 array of shape (H, W, 3)
        Of the whole input; of a signal one row of them, which holds its strength.
    """

    pixels: NDArray[np.uint8]

    @classmethod
    def of(cls, maps: DrawnMaps, image: Picture | None) -> Photograph:
        """Take a picture, or make one."""
        network, drawn = maps.examination.network, maps.pyramid
        if image is not None:
            return cls(fitted(image, network.spatial_sizes))
        if maps.dimensions == 1:
            return cls(signal(drawn.plane, drawn.object))
        return cls(lake(drawn.plane, drawn.object))

    def face(self, each: DrawnMap, maps: DrawnMaps, most: int) -> NDArray[np.uint8] | None:
        """Return the picture as a map shows it: the mean over each cell of the coarsest grid that leads there.

        Parameters
        ----------
        each : DrawnMap
        maps : DrawnMaps
            All maps.
        most : int
            Cells on a side from which on they are finer than what is drawn.
        """
        level = each.level
        if level is None:
            return None
        (rows, columns), plane = _coarsest(level, maps), maps.pyramid.plane
        down = _weights(rows, level.grid.top, level.grid.bottom, plane.bottom, self.pixels.shape[0], most)
        right = _weights(columns, level.grid.left, level.grid.right, plane.right, self.pixels.shape[1], most)
        return _averaged(down, right, self.pixels)

    def around(self, each: DrawnMap, maps: DrawnMaps, window: Box, samples: int) -> NDArray[np.uint8] | None:
        """Return a part of the input as a map shows it, with so many samples on a side, none of them in between."""
        if each.level is None:
            return None
        (rows, columns), plane = _coarsest(each.level, maps), maps.pyramid.plane
        weights, picked = [], []
        for borders, begin, end, length, pixels in (
            (rows, window.top, window.bottom, plane.bottom, self.pixels.shape[0]),
            (columns, window.left, window.right, plane.right, self.pixels.shape[1]),
        ):
            places = begin + (np.arange(samples) + 0.5) * (end - begin) / samples
            found = np.clip(np.searchsorted(borders, places) - 1, 0, len(borders) - 2)
            cells, which = np.unique(found, return_inverse=True)
            edges = np.stack([borders[cells], borders[cells + 1]], axis=1)
            parts = [shares(edge, np.linspace(0, length, pixels + 1)) for edge in edges]
            weights.append(np.concatenate(parts))
            picked.append(which)
        return _averaged(weights[0], weights[1], self.pixels)[picked[0]][:, picked[1]]


def _averaged(down: NDArray[np.float32], right: NDArray[np.float32], pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average a picture over cells, by the weights of its rows and of its columns."""
    rows = np.tensordot(down, pixels.astype(np.float32), axes=(1, 0))
    return np.rint(np.moveaxis(np.tensordot(rows, right, axes=(1, 1)), 2, 1)).astype(np.uint8)


def _coarsest(level: Level, maps: DrawnMaps) -> tuple[Floats, Floats]:
    """Return rows and columns of the coarsest grid on the finest way to a level: upsampling makes no detail."""
    if level.footprint == level.resolved:
        return level.rows, level.columns
    levels = (other.level for other in maps.maps if other.level is not None)
    found = next((other for other in levels if other.footprint == level.resolved), None)
    if found is not None:
        return found.rows, found.columns
    # A map that is no box, such as a single cell within the network: as large cells, from the corner on.
    plane, object_size = maps.pyramid.plane, maps.pyramid.object_size
    steps = [size / covered for size, covered in zip(object_size, level.resolved, strict=True)]
    rows = _regular(plane.bottom, steps[-2]) if len(steps) > 1 else level.rows
    return rows, _regular(plane.right, steps[-1])


def _regular(length: float, step: float) -> Floats:
    return step * np.arange(max(1, math.ceil(length / step)) + 1)


def _weights(borders: Floats, begin: float, end: float, length: float, pixels: int, most: int) -> NDArray[np.float32]:
    """Return the weights of pixels in the cells of one axis; cells that are finer than what is drawn are joined."""
    if len(borders) - 1 > most:
        borders = np.linspace(begin, end, most + 1)
    return shares(borders, np.linspace(0, length, pixels + 1))


def _mixed(ground: Floats, colour: Floats | tuple[float, float, float], where: Floats) -> Floats:
    where = np.asarray(where, np.float32)
    return ground + (np.asarray(colour, np.float32) - ground) * where[..., None]


@lru_cache(maxsize=4)
def lake(plane: Box, thing: Box) -> NDArray[np.uint8]:
    """Draw mountains, a lake and a sailing boat as large as the object.

    Parameters
    ----------
    plane : Box
        The input.
    thing : Box
        The object.

    Returns
    -------
    uint8 array of shape (H, W, 3)
        With the proportions of the plane.

    Examples
    --------
    >>> lake(Box(0, 0, 96, 64), Box(40, 30, 48, 38)).shape
    (64, 96, 3)
    """
    scale = min(1.0, MOST_PIXELS / max(plane.width, plane.height))
    width, height = (max(1, round(scale * length)) for length in (plane.width, plane.height))
    x: Floats = ((np.arange(FINE * width, dtype=np.float32) + 0.5) / (FINE * width))[None, :]
    y: Floats = ((np.arange(FINE * height, dtype=np.float32) + 0.5) / (FINE * height))[:, None]
    x, y = x + 0 * y, y + 0 * x
    # The boat stands in the middle third of the water.
    middle = thing.bottom / plane.height
    horizon = min(0.44, max(0.12, middle - 0.12))
    picture = _landscape(x, y, horizon)
    u = (x * plane.width - thing.left) / thing.width
    v = (y * plane.height - thing.top) / thing.height
    picture = _boat(picture, u, v)
    fine = picture.reshape(height, FINE, width, FINE, 3).mean((1, 3))
    levels: NDArray[np.uint8] = np.rint(np.clip(fine, 0, 255)).astype(np.uint8)
    return levels


def _landscape(x: Floats, y: Floats, horizon: float) -> Floats:
    """Sky, sun, two ridges with snow, water with waves, and reeds in front."""
    sky = np.clip(y / horizon, 0, 1)[..., None]
    picture = np.array([92.0, 150, 214], np.float32) * (1 - sky) + np.array([226.0, 234, 238], np.float32) * sky
    picture = _mixed(picture, (255, 240, 190), np.exp(-((x - 0.80) ** 2 + (y - 0.30 * horizon) ** 2) / 0.0035))
    ridge = horizon * (0.62 - 0.30 * np.abs(np.sin(4.1 * x + 0.5)) - 0.10 * np.abs(np.sin(13.7 * x)))
    ridge += horizon * 0.03 * np.sin(61 * x)
    picture = _mixed(picture, (112, 128, 152), (y > ridge) * 1.0)
    snow = (y > ridge) & (y < ridge + horizon * (0.10 + 0.05 * np.sin(47 * x) + 0.03 * np.sin(131 * x)))
    picture = _mixed(picture, (240, 244, 248), (snow & (ridge < 0.45 * horizon)) * 1.0)
    hills = horizon * (0.90 - 0.16 * np.abs(np.sin(2.3 * x + 2.2)) - 0.03 * np.sin(33 * x))
    picture = _mixed(picture, (58, 96, 70), (y > hills) * 1.0)
    wood = (y > hills) & (np.sin(210 * x + 9 * np.sin(17 * x)) > 0.1)
    picture = _mixed(picture, (40, 72, 54), wood * 0.8)
    deep = np.clip((y - horizon) / (1 - horizon), 0, 1)
    waves = np.sin(34 * np.sqrt(deep + 0.002) * 6 + 3 * np.sin(9 * x) + 1.5 * np.sin(23 * x + 40 * deep))
    water = (
        np.array([150.0, 190, 206], np.float32) * (1 - deep[..., None])
        + np.array([34.0, 84, 116], np.float32) * deep[..., None]
    )
    water += (7 + 9 * deep[..., None]) * waves[..., None]
    water = _mixed(water, (255, 246, 214), 0.7 * np.exp(-((x - 0.80) ** 2) / 0.0012) * (waves > 0.3))
    picture = np.where((y > horizon)[..., None], water, picture)
    for shift, tall in ((0.0, 0.17), (0.31, 0.13), (0.77, 0.21)):
        phase = 83 * x + 7 * shift + 1.2 * np.sin(19 * y + 31 * shift)
        blade = np.abs(np.mod(phase, 1) - 0.5) < 0.16
        length = tall * (0.55 + 0.45 * np.sin(12.9898 * np.floor(phase) + 78.233 * shift))
        edge = np.exp(-(((np.abs(x - 0.5) - 0.5) / 0.22) ** 2))  # the middle stays free
        picture = _mixed(picture, (96 - 40 * shift, 120 - 30 * shift, 44.0), (blade & (y > 1 - length * edge)) * 0.9)
    return picture


def _boat(picture: Floats, u: Floats, v: Floats) -> Floats:
    """Two sails over a hull, which fill a square from 0 to 1."""
    mirrored = (v > 1) & (v < 1.7) & (np.abs(u - 0.5) < 0.30) & (np.sin(60 * v) > -0.2)
    picture = _mixed(picture, (236, 236, 230), mirrored * 0.35)
    hull = (v > 0.74) & (v < 1) & (u > 0.02 + 0.6 * (v - 0.74)) & (u < 0.98 - 0.6 * (v - 0.74))
    main = (v > 0.02) & (v < 0.72) & (u > 0.50) & (u < 0.50 + 0.46 * (v - 0.02) / 0.70)
    jib = (v > 0.14) & (v < 0.72) & (u < 0.46) & (u > 0.46 - 0.40 * (v - 0.14) / 0.58)
    picture = _mixed(picture, (255, 255, 250), (main | jib) * 1.0)
    return _mixed(picture, (178, 34, 24), hull * 1.0)


def signal(plane: Box, thing: Box) -> NDArray[np.uint8]:
    """Make a signal: how strong each of its stretches is, with the object as one that stands out.

    Examples
    --------
    >>> signal(Box(0, 0, 100, 10), Box(40, 3, 50, 7)).shape
    (1, 100, 3)
    """
    length = int(min(SAMPLES, max(1, plane.width)))
    place = (np.arange(length) + 0.5) / length
    slow = np.abs(np.sin(9.1 * place + 0.4)) * np.abs(np.sin(3.3 * place + 1.0))
    fast = 0.5 + 0.5 * np.sin(997 * place + 20 * np.sin(31 * place)) * np.sin(211 * place)
    strength = 18 + 95 * slow * fast + 14 * (0.5 + 0.5 * np.sin(2711 * place))
    inside = (place * plane.width - thing.left) / thing.width
    strength = np.where((inside >= 0) & (inside <= 1), 205 + 45 * np.sin(np.pi * np.clip(inside, 0, 1)), strength)
    return np.repeat(np.rint(strength).astype(np.uint8)[None, :, None], 3, axis=2)
