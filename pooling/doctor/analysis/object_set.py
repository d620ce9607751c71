"""The objects of a data set: their sizes on the input of a network, and how many keep a cell at each stage."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.errors import type_error, value_error
from pooling.signs import counted, first_line, short_repr
from pooling.tool_arguments import path_of

from ..network import Network
from .heads import Head
from .object_footprint import Objects

__all__ = ["RESIZES", "ObjectSet", "Survival", "read_objects", "survival_of"]

RESIZES = ("letterbox", "stretch", "none")
"""How images become the input of a network."""
LARGEST_FILE = 2**30
"""Bytes of a file of objects; that of COCO 2017 has 448 MB."""
MOST_OBJECTS = 20_000_000
LARGEST_SIZE = 1e9
"""Pixels of a side."""
COLUMNS = ("width", "height", "image_width", "image_height")

Sizes = NDArray[np.float64]
"""Shape (n, 2): height and width, as spatial axes are ordered."""


@dataclass(frozen=True, eq=False)
class ObjectSet:
    """The objects of a data set as they are on the input.

    Attributes
    ----------
    name : str
        Of the file; empty for an array.
    sizes : array of shape (n, 2)
        Height and width in pixels of the input.
    resize : str
        How images became the input; ``"none"`` where sizes are those on the input already.
    left_out : tuple of str
        What was not counted, and why.
    """

    name: str
    sizes: Sizes = field(repr=False)
    resize: str
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def median(self) -> tuple[float, float]:
        """The median height and width."""
        height, width = np.median(self.sizes, axis=0)
        return float(height), float(width)

    def share_of(self, stride: Sequence[float], cells: int) -> float:
        """Return the share of objects that cover so many cells on each axis of a grid."""
        return float(np.mean(np.all(self.sizes >= np.asarray(stride, np.float64) * cells, axis=1)))


@dataclass(frozen=True)
class Survival:
    """The share of objects that keep a cell.

    Attributes
    ----------
    objects : ObjectSet
    stages : dict of str to (float, float)
        By the name of a stage that is a map, the share of objects that keep at least one cell and two, on each axis, on
        the coarsest grid of the finest path to it.
    heads : tuple of (float, float)
        The same for each head.
    assigned : tuple of float
        The share of objects whose longer side falls into the sizes that are assigned to each head.
    best : (float, float)
        The share that keeps one cell and two at the finest head.
    """

    objects: ObjectSet
    stages: dict[str, tuple[float, float]]
    heads: tuple[tuple[float, float], ...]
    assigned: tuple[float, ...]
    best: tuple[float, float]


def survival_of(network: Network, followed: Objects, heads: Sequence[Head], objects: ObjectSet) -> Survival:
    """Count the objects of a data set that keep a cell.

    Parameters
    ----------
    network : Network
        With two spatial axes.
    followed : Objects
        What `follow_object` returns for it, for an object of any size.
    heads : sequence of Head
        What `heads_of` returns.
    objects : ObjectSet
        What `read_objects` returns.

    Returns
    -------
    Survival
    """
    known: dict[tuple[float, ...], tuple[float, float]] = {}

    def shares(stride: Sequence[Any]) -> tuple[float, float]:
        key = tuple(map(float, stride))
        if key not in known:
            known[key] = (objects.share_of(key, 1), objects.share_of(key, 2))
        return known[key]

    stages = {
        stage.name: shares([size / each for size, each in zip(followed.size, footprint.resolved, strict=True)])
        for stage in network.stages
        if (footprint := followed.footprints.get(stage.name)) is not None
    }
    at_heads = tuple(shares(head.resolved_stride) for head in heads)
    longer = objects.sizes.max(axis=1)
    limits = [head.assigned[1] for head in heads[:-1]]
    place = np.searchsorted(limits, longer, side="left")
    assigned = tuple(float(np.mean(place == number)) for number in range(len(heads)))
    best = (max((one for one, _ in at_heads), default=0.0), max((two for _, two in at_heads), default=0.0))
    return Survival(objects, stages, at_heads, assigned, best)


# ---------------------------------------------------------------------------------------------------------------------
# Reading


def read_objects(source: Any, input_size: Sequence[int], resize: str = "letterbox") -> ObjectSet:
    """Read the sizes of the objects of a data set.

    Parameters
    ----------
    source : path, ObjectSet or array of shape (n, 2)
        A file of COCO instances (JSON: ``annotations`` with ``bbox`` and ``image_id``, ``images`` with ``width`` and
        ``height``); a CSV file with the columns width and height, and image_width and image_height if there are any; or
        widths and heights in pixels of the input.
    input_size : (int, int)
        Height and width of the input.
    resize : {"letterbox", "stretch", "none"}
        How an image becomes the input. ``"letterbox"``: by one factor, so that all of it fits, the rest is padded;
        ``"stretch"``: each axis by its own factor; ``"none"``: not at all, boxes are in pixels of the input. Sizes of
        a CSV file without the size of the image, and those of an array, are never scaled.

    Returns
    -------
    ObjectSet

    Raises
    ------
    TypeError, ValueError
        If the file cannot be read, or there is no object in it.

    Notes
    -----
    Regions that stand for a crowd (``iscrowd``) are left out, and boxes without width or height.

    Examples
    --------
    >>> objects = read_objects([[10, 20], [30, 5]], (224, 224))
    >>> objects.sizes.tolist(), objects.share_of((8, 8), 1)
    ([[20.0, 10.0], [5.0, 30.0]], 0.5)
    """
    if resize not in RESIZES:
        raise value_error(
            "examine", f"must be one of {', '.join(map(repr, RESIZES))}", argument=("objects_resize", resize)
        )
    if len(input_size) != 2:
        raise _refused(
            source,
            f"has sizes on two axes, but the input has {counted(len(input_size), 'spatial axis', 'spatial axes')}",
        )
    if isinstance(source, ObjectSet):
        return source
    left_out: list[str] = []
    name = ""
    images: Sizes | None = None
    if isinstance(source, (str, os.PathLike)):
        path = path_of("examine", "objects", source)
        name = path.name
        content = _content(path)
        read = _from_csv if path.suffix.lower() == ".csv" else _from_coco
        boxes, images, left_out = read(path, content)
    else:
        boxes = _from_array(source)
    _check(source, boxes, "a box", 0.0)
    kept = np.all(boxes > 0, axis=1)
    if not kept.all():
        left_out.append(f"{len(kept) - kept.sum()} without width or height")
    if not kept.any():
        raise _refused(source, "holds no object that has a width and a height", "give at least one")
    boxes = boxes[kept]
    how = "none"
    if images is not None and resize != "none":
        _check(source, images, "an image", 1.0)
        boxes, how = _resized(boxes, images[kept], input_size, resize), resize
    return ObjectSet(name, np.ascontiguousarray(boxes[:, ::-1]), how, tuple(left_out))


def _refused(source: Any, rule: str, remedy: str = "") -> ValueError:
    named = os.fspath(source) if isinstance(source, (str, os.PathLike)) else source
    if not isinstance(named, str):
        return value_error("examine", f"objects {rule}", remedy)
    return value_error("examine", rule, remedy, argument=("objects", named))


def _check(source: Any, sizes: Sizes, what: str, least: float) -> None:
    """Refuse sizes that none can have, and name the first of them."""
    wrong = ~np.all((sizes >= least) & (sizes <= LARGEST_SIZE), axis=1)  # NaN is neither
    if wrong.any():
        place = int(np.argmax(wrong))
        width, height = sizes[place].tolist()
        raise _refused(
            source,
            f"has {what} of {width:g} x {height:g} pixels (width x height, object {place + 1})",
            f"sizes must be finite numbers from {least:g} to {LARGEST_SIZE:g}",
        )


def _resized(boxes: Sizes, images: Sizes, input_size: Sequence[int], resize: str) -> Sizes:
    """Scale boxes as their images are: widths and heights."""
    target = np.asarray(input_size[::-1], np.float64)
    if resize == "stretch":
        stretched: Sizes = boxes * target / images
        return stretched
    # Multiplied first, so that whole numbers stay exact: 320 of 1280 pixels are 160 of 640.
    along_width = target[0] * images[:, 1] <= target[1] * images[:, 0]
    to = np.where(along_width, target[0], target[1])
    of = np.where(along_width, images[:, 0], images[:, 1])
    scaled: Sizes = boxes * to[:, None] / of[:, None]
    return scaled


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise _refused(path, "is not a file", "give one of COCO instances (JSON), or a CSV file of width and height")
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise _refused(path, f"has {size} bytes", f"at most {LARGEST_FILE} are read")
    try:
        return path.read_bytes()
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror or error})") from error


def _from_array(source: Any) -> Sizes:
    try:
        sizes = np.array(source, np.float64)
    except Exception as error:  # of somebody's own kind of array too
        raise type_error(
            "examine",
            f"objects must be a path or numbers of shape (n, 2), widths and heights, not {type(source).__name__}",
        ) from error
    if sizes.ndim != 2 or sizes.shape[1] != 2:
        raise value_error("examine", f"objects has shape {sizes.shape}", "it must be (n, 2): widths and heights")
    return sizes


def _from_csv(path: Path, content: bytes) -> tuple[Sizes, Sizes | None, list[str]]:
    """Read columns of sizes: by their titles where there are any, else width and height come first."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(path, "is no text", "give a CSV file with the columns width and height") from error
    first = text.split("\n", 1)[0]
    delimiter = next((each for each in (";", "\t") if each in first), ",")
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    places: list[int] | None = None
    rows: list[list[float]] = []
    try:
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            if places is None:
                titles = [cell.strip().lower() for cell in cells]
                places = _places(path, titles)
                if set(titles).intersection(COLUMNS):
                    continue
            rows.append(_numbers(path, lines.line_num, [cells[place] for place in places if place < len(cells)]))
            if len(rows[-1]) != len(places):
                raise _refused(
                    path, f"has {counted(len(cells), 'column')} in line {lines.line_num}", f"it needs {max(places) + 1}"
                )
            if len(rows) > MOST_OBJECTS:
                raise _refused(path, f"has more than {MOST_OBJECTS} objects", "give a part of them")
    except csv.Error as error:
        raise _refused(path, f"is no CSV file (line {lines.line_num}: {error})") from error
    if not rows:
        raise _refused(path, "holds no object that has a width and a height", "give at least one")
    numbers = np.array(rows, np.float64)
    return numbers[:, :2], numbers[:, 2:] if numbers.shape[1] == 4 else None, []


def _places(path: Path, titles: list[str]) -> list[int]:
    """Return where the columns stand that are read."""
    named = [title for title in titles if title in COLUMNS]
    if not named:
        if len(titles) not in (2, 4):
            raise _refused(
                path, f"has {counted(len(titles), 'column')} without titles", f"name them: {','.join(COLUMNS[:2])}"
            )
        return list(range(len(titles)))
    wanted = COLUMNS if set(COLUMNS[2:]).intersection(named) else COLUMNS[:2]
    missing = [title for title in wanted if named.count(title) != 1]
    if missing:
        raise _refused(path, f"must have one column {missing[0]}", f"its titles are {short_repr(titles)}")
    return [titles.index(title) for title in wanted]


def _numbers(path: Path, line: int, cells: list[str]) -> list[float]:
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        raise _refused(path, f"has {short_repr(cells)} in line {line}", "these must be numbers") from None


def _from_coco(path: Path, content: bytes) -> tuple[Sizes, Sizes | None, list[str]]:
    """Read COCO instances; what is not about sizes, such as outlines, is passed over unread."""
    from .coco import MsgspecError, instances

    form = "give COCO instances: annotations with bbox and image_id, images with id, width and height"
    try:
        found = instances(content)
    except (MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise _refused(path, f"cannot be read as COCO instances ({first_line(error)})", form) from error
    if len(found.annotations) > MOST_OBJECTS:
        raise _refused(path, f"has more than {MOST_OBJECTS} objects", "give a part of them")
    images: dict[int | str, tuple[float, float]] = {}
    for image in found.images:
        size = (image.width, image.height)
        if images.setdefault(image.id, size) != size:
            raise _refused(path, f"has two images with the id {short_repr(image.id)} and different sizes")
    boxes, sizes, crowds = [], [], 0
    for number, each in enumerate(found.annotations):
        if each.image_id not in images:
            raise _refused(
                path,
                f"has an annotation, number {number + 1}, of image {short_repr(each.image_id)}, which is not there",
            )
        if each.iscrowd:
            crowds += 1
            continue
        boxes.append(each.bbox[2:])
        sizes.append(images[each.image_id])
    if not boxes:
        raise _refused(path, "holds no object that has a width and a height", "give at least one")
    return np.array(boxes, np.float64), np.array(sizes, np.float64), [counted(crowds, "crowd region")] if crowds else []
