"""The picture that a network is looked at with: one that is made here, or the user's own."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pooling.errors import type_error, value_error
from pooling.tool_arguments import path_of

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Picture", "built_in", "fitted"]

Picture = str | os.PathLike[str] | NDArray[Any]
"""A file, or an array of shape (H, W) or (H, W, 3): whole numbers from 0 to 255, or floats from 0 to 1."""

EDGES = 24
"""Objects with sharp borders in the built-in picture."""
LARGEST_SIDE = 2048
"""A picture is shown with no more pixels than this on a side."""


def built_in(sizes: Sequence[int], seed: int = 0) -> NDArray[np.float64]:
    """Make a picture with the statistics of photographs: noise whose amplitude falls as 1/f, and objects with edges.

    Parameters
    ----------
    sizes : sequence of int
        Size of each axis.
    seed : int
        The same seed makes the same picture.

    Returns
    -------
    float64 array of that shape
        From 0 to 1.

    Notes
    -----
    The spectrum is the one that Field found in photographs, "Relations between the statistics of natural images and the
    response properties of cortical cells" (1987); the edges are there because one thing hides another.

    Examples
    --------
    >>> built_in((32, 48)).shape
    (32, 48)
    """
    random = np.random.default_rng(seed)
    frequency = np.sqrt(sum(np.square(axis) for axis in np.meshgrid(*map(np.fft.fftfreq, sizes), indexing="ij")))
    frequency[(0,) * len(sizes)] = math.inf
    spectrum = np.fft.fftn(random.standard_normal(tuple(sizes))) / frequency ** (len(sizes) / 2)
    picture: NDArray[np.float64] = np.fft.ifftn(spectrum).real
    picture /= picture.std() or 1
    for _ in range(EDGES):
        # Boxes from a sixteenth to a quarter of a side.
        lengths = [max(1, int(size * random.uniform(1 / 16, 1 / 4))) for size in sizes]
        corner = [int(random.integers(0, size)) for size in sizes]
        box = tuple(slice(start, start + length) for start, length in zip(corner, lengths, strict=True))
        picture[box] += random.normal(0, 1.5)
    picture -= picture.min()
    picture /= picture.max() or 1
    return picture


def fitted(image: Picture, size: Sequence[int]) -> NDArray[np.uint8]:
    """Cut a picture to the proportions of a network's input, around its centre, and scale it to that size.

    Parameters
    ----------
    image : path or array
        A file that Pillow reads, or an array of shape (H, W) or (H, W, 3).
    size : (int, int)
        Height and width wanted.

    Returns
    -------
    uint8 array of shape (height, width, 3)

    Raises
    ------
    TypeError
        If `image` is neither a path nor an array.
    ValueError
        If the file is missing or is no picture, or the array has another shape, or NaN or infinity in it.
    """
    if len(size) != 2:
        raise value_error(
            "doctor", f"image can be shown for networks with two spatial axes, not {len(size)}", "leave it out"
        )
    from PIL import Image, ImageOps

    height, width = (min(each, LARGEST_SIDE) for each in size)
    if isinstance(image, np.ndarray):
        picture = Image.fromarray(_as_bytes(np.asarray(image)))
    elif isinstance(image, (str, os.PathLike)):
        picture = _opened(path_of("doctor", "image", image))
    else:
        raise type_error("doctor", f"image must be a path or a NumPy array, not {type(image).__name__}")
    return np.asarray(ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS), np.uint8)


def _opened(path: Path) -> Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not path.is_file():
        raise value_error("doctor", f"image={os.fspath(path)!r} is not a file", "give a picture such as photo.png")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                # Cameras say by a tag which way is up.
                return ImageOps.exif_transpose(picture).convert("RGB")
    except Exception as error:  # whatever a broken file makes Pillow raise; a plugin may miss its library
        told = "its format is not known" if isinstance(error, (ImportError, UnidentifiedImageError)) else error
        raise value_error(
            "doctor",
            f"image={os.fspath(path)!r} cannot be read as a picture ({told})",
            "give a file of PNG, JPEG or another format that Pillow reads",
        ) from error


def _as_bytes(image: NDArray[Any]) -> NDArray[np.uint8]:
    grey = image.ndim == 2
    if not (grey or (image.ndim == 3 and image.shape[2] == 3)) or 0 in image.shape or image.dtype.kind not in "buif":
        raise value_error(
            "doctor",
            f"image has shape {image.shape} and dtype {image.dtype}",
            "it must be (H, W) or (H, W, 3), of numbers",
        )
    numbers = image.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise value_error("doctor", "image holds NaN or infinity", "it must hold finite numbers")
    if image.dtype.kind in "bf":
        numbers = 255 * numbers
    if numbers.min() < 0 or numbers.max() > 255:
        raise value_error(
            "doctor",
            f"image holds numbers from {image.min()} to {image.max()}",
            "they must be whole ones from 0 to 255, or floats from 0 to 1",
        )
    levels = np.rint(numbers).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=2) if grey else levels
