"""Sizes that a model leaves open, and what to take for them: one rule for everybody who needs a number.

A batch is 1, and colours are 3. Other sizes are those that the model itself hints at in its metadata, then those in use
(`TRIED`); whoever asks takes the first with which the model works, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

__all__ = ["TRIED", "USUAL_CHANNELS", "filled", "hinted_sizes", "spread"]

TRIED = (224, 256, 320, 512, 640, 128, 64, 32, 1024, 16384)
"""Sizes of images, and of pieces of sound, in the order in which they are tried."""
USUAL_CHANNELS = 3
LARGEST_HINT = 2**16
HINTS = re.compile(r"(im(g|age)?|input|in|tile|crop|patch)_?(sz|size|shape|resolution|height|width)|resolution", re.I)
"""Keys of metadata that tell a size: ``imgsz`` of Ultralytics, ``input_size``, ``image_shape`` and the like."""


def hinted_sizes(metadata: Mapping[str, str]) -> list[tuple[int, ...]]:
    """Return the spatial sizes that the metadata of a model speak of; one number is for all axes.

    Examples
    --------
    >>> hinted_sizes({"imgsz": "[480, 640]", "stride": "32", "input_shape": "1x3x300x300"})
    [(480, 640), (300, 300)]
    """
    found = []
    for key, text in metadata.items():
        numbers = [int(number) for number in re.findall(r"\d+", text)] if HINTS.fullmatch(key) else []
        if len(numbers) > 3 or (len(numbers) == 3 and numbers[0] in (1, USUAL_CHANNELS)):
            # Batch and channels before the sizes, or channels behind them.
            numbers = numbers[1:] if len(numbers) > 3 else numbers
            numbers = numbers[:-1] if numbers[-1] in (1, USUAL_CHANNELS) else numbers[1:]
        if numbers and all(USUAL_CHANNELS < number <= LARGEST_HINT for number in numbers):
            found.append(tuple(numbers))
    return list(dict.fromkeys(found))


def filled(
    shape: Sequence[int | str], hints: Sequence[Sequence[int]] = (), *, channels_last: bool = False
) -> Iterator[tuple[int, ...]]:
    """Yield shapes for an input that leaves sizes open, those first that are the likeliest.

    Parameters
    ----------
    shape : sequence of int or str
        What the model says; a str stands for a size that is open.
    hints : sequence of sequence of int
        Spatial sizes that the model hints at.
    channels_last : bool
        Whether channels stand behind the spatial axes.

    Examples
    --------
    >>> next(filled(("N", 3, "H", "W")))
    (1, 3, 224, 224)
    """
    rank = len(shape)
    channels = (rank - 1 if channels_last else 1) if rank > 2 else None
    spatial = [axis for axis in range(1, rank) if axis != channels]
    seen = set()
    for sizes in (*hints, *((size,) for size in TRIED)):
        if len(sizes) not in (1, len(spatial)):
            continue
        usual = [1] * rank
        if channels is not None:
            usual[channels] = USUAL_CHANNELS
        for axis, size in zip(spatial, sizes if len(sizes) > 1 else tuple(sizes) * len(spatial), strict=True):
            usual[axis] = size
        trial = tuple(known if isinstance(known, int) else other for known, other in zip(shape, usual, strict=True))
        if trial not in seen:
            seen.add(trial)
            yield trial


def spread(names: Sequence[int | str], sizes: Sequence[int], others: Sequence[int | str]) -> tuple[int | str, ...]:
    """Give the open sizes of another input what sizes of the same name have; an open batch is 1."""
    known = {name: size for name, size in zip(names, sizes, strict=True) if isinstance(name, str)}
    return tuple(
        known.get(size, 1 if axis == 0 else size) if isinstance(size, str) else size for axis, size in enumerate(others)
    )
