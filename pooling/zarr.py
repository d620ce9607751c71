"""OME-Zarr images with their levels, of arrays that need not fit in memory.

The source is read once, a region at a time. A region is as large as one element of the smallest level stands for, or
larger, so that every level of it is made of its original elements (`pooling.pyramid`), and as whole shards of the first
levels, which are written as they are made. What a region gives of the other levels is kept aside and gathered into
shards at the end. All of it is written into a folder beside the target, which takes its name when it is whole.
"""

from __future__ import annotations

import asyncio
import json
import math
import mmap
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ._version import __version__
from .annotations import AnyArray, Rounding
from .arguments import flag, names_checked, plain, real, sequence, whole, whole_between, word
from .arrays import dtype_name, is_masked
from .errors import refused, type_error, value_error
from .extras import needing
from .families.blocks import Reduction, prepared
from .families.pyramids import exact_levels, pyramid, pyramid_factors
from .geometry import block_count
from .reporting.levels import Plane, ShownLevel
from .signs import counted, first_line, short_repr
from .tool_arguments import mapping_of, path_of

with needing("images", __name__):
    import zarr

__all__ = ["open_source", "shown_levels", "write_multiscales"]

FUNCTION = "write_multiscales"
KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
"""Axes that OME-Zarr has, in its order, and their types."""
SPATIAL_CHUNKS = {2: (512, 8), 3: (64, 4)}
"""Elements of a chunk on each spatial axis, and chunks of a shard, by the number of these axes."""
UNSHARDED_CHUNKS = {2: 1024, 3: 128}
"""Elements of a chunk where there are no shards (Zarr v2)."""
MEMORY = 1 << 27
"""Bytes of the source that are worked on at a time."""
MAPPED_BYTES = 1 << 24
"""Bytes of a mapped file that are looked at before its pages are given back."""
AROUND = 32
"""By how much the pages that a plane brings along may be larger than what is read of it."""
SAMPLED = 64
"""Elements on each axis of the corner by which a source is known again."""
LONGEST_WAIT = 60.0
"""Seconds in which files that are being written when a call is ended should be whole."""
MOST_FILES = 100_000
"""Files of a source that are looked at to see whether it was changed."""

Progress = Callable[[int, int, str], object]


# ---------------------------------------------------------------------------------------------------------------------
# Sources


@dataclass(frozen=True)
class Said:
    """What a source says of its axes."""

    axes: str = ""
    """A letter for each; empty where it names none."""
    scale: Mapping[str, float] = field(default_factory=dict)
    translation: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    """Size of an element, where the middle of the first one lies, and in what; by letter, where it says so."""
    unread: str = ""
    """What of these cannot be read."""
    palette: bool = False
    """Whether elements are numbers of colours, whose order means nothing."""

    def of(self, letters: Sequence[str]) -> Said:
        """Leave out what is said of axes that are called otherwise, but not of one that only the caller names."""
        same = {one for one, other in zip(self.axes, letters, strict=False) if one == other}
        same |= set(letters) - set(self.axes)
        return replace(
            self,
            scale={letter: size for letter, size in self.scale.items() if letter in same},
            translation={letter: start for letter, start in self.translation.items() if letter in same},
            units={letter: unit for letter, unit in self.units.items() if letter in same},
        )


@dataclass(frozen=True)
class Source:
    """What is read: anything that gives arrays for slices."""

    array: Any
    """Of which slices are taken."""
    order: tuple[int, ...]
    """The axis of `array` behind each axis of the image."""
    axes: str
    """A letter for each axis of the image."""
    said: Said
    """What the source itself says of these axes."""
    place: Path | None = None
    """The file or folder that it lies in, where that is known."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the image."""
        return tuple(int(self.array.shape[axis]) for axis in self.order)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its elements."""
        return np.dtype(self.array.dtype).newbyteorder("=")

    def read(self, region: Sequence[slice]) -> AnyArray:
        """Return a region, with the axes of the image; of arrays in memory it is a view, of a mapped file a copy."""
        taken: list[slice] = [slice(None)] * len(self.order)
        for axis, part in zip(self.order, region, strict=True):
            taken[axis] = part
        found = np.asarray(self.array[tuple(taken)])
        if self._mapping is None:
            found = found.astype(found.dtype.newbyteorder("="), copy=False)
        else:
            found = self._copied(found)
        return found.transpose(self.order)

    @property
    def _mapping(self) -> mmap.mmap | None:
        """The mapping of a file whose pages can be given back, or None."""
        mapping: mmap.mmap | None = getattr(self.array, "_mmap", None)
        # A private mapping ("c") may hold changes that no file has.
        gives_back = mapping is not None and getattr(self.array, "mode", "c") != "c" and hasattr(mapping, "madvise")
        return mapping if gives_back else None

    def _copied(self, part: AnyArray) -> AnyArray:
        """Copy a part of a mapped file a few of its planes at a time, and give back their pages.

        A row of some hundred bytes brings the pages around it along, many times as much as the part itself.
        """
        copied = np.empty_like(part, part.dtype.newbyteorder("="), subok=False)
        # Planes lie one behind another: along the axis whose steps are the longest.
        slowest = int(np.argmax(np.abs(part.strides)))
        source, target = np.moveaxis(part, slowest, 0), np.moveaxis(copied, slowest, 0)
        between, read = abs(source.strides[0]), AROUND * source[:1].nbytes
        planes = max(1, MAPPED_BYTES // max(1, min(between, read)))
        for start in range(0, len(source), planes):
            target[start : start + planes] = source[start : start + planes]
            self._let_go()
        return copied

    def _let_go(self) -> None:
        """Give back the memory of what was read of a file; unchanged pages are read again when they are asked for."""
        if (mapping := self._mapping) is not None:
            with suppress(OSError, ValueError):
                mapping.madvise(mmap.MADV_DONTNEED)


@contextmanager
def open_source(source: Any, axes: str | Sequence[str] | None = None) -> Iterator[Source]:
    """Open what `write_multiscales` reads.

    Parameters
    ----------
    source : ndarray, zarr.Array or path
        An array, of a file `.npy` (which is mapped) or `.tif`, or of a folder of Zarr: an array, or the first level of
        an OME-Zarr image.
    axes : str or sequence of str, optional
        A letter for each axis; by default those that the source names.

    Yields
    ------
    Source
        The array, a letter for each axis, and what the file says of scales and units; after the block it is closed.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError, TypeError
        If it holds no array, or its axes are not known.

    Examples
    --------
    >>> import numpy as np
    >>> from pooling.zarr import open_source
    >>> with open_source(np.zeros((4, 6), np.uint8), "yx") as source:
    ...     source.array.shape
    (4, 6)
    """
    if isinstance(source, (str, os.PathLike)):
        path = path_of(FUNCTION, "source", source)
        _refuse_address(plain(source), "a source is a file or folder", "copy it here, or mount it as a folder")
        with _opened(path) as (array, said):
            yield _arranged(array, axes, said, _place_of(array) or path)
    elif isinstance(source, zarr.Array):
        yield _arranged(source, axes, Said(_named_dimensions(source)), _place_of(source))
    elif isinstance(source, np.ndarray):
        if is_masked(source):
            raise type_error(FUNCTION, "source is a masked array", "fill it, as by source.filled(0), and give nodata=0")
        yield _arranged(source, axes, Said(), _place_of(source))
    else:
        remedy = "give one of these, or numpy.asarray(source) where it fits in memory"
        if _has_attribute(source, "dask"):
            remedy = "write it to a folder by to_zarr() of dask first, and give that folder"
        elif _has_attribute(source, "dims") and _has_attribute(source, "data"):
            letters = "".join(map(str, source.dims))
            remedy = f"give source.data, and what its axes are, such as axes={short_repr(letters)}"
        raise type_error(FUNCTION, f"source of type {type(source).__name__} is no array, zarr.Array or path", remedy)


def _has_attribute(value: Any, name: str) -> bool:
    """Whether something has an attribute that can be read."""
    with suppress(Exception):  # of somebody's own kind of object
        return hasattr(value, name)
    return False


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Said]]:
    """Open a file or folder."""
    if not path.exists():
        raise refused(FileNotFoundError, FUNCTION, f"there is no file or folder {str(path)!r}")
    suffix = path.suffix.lower()
    if path.is_dir():
        yield _of_folder(path)
    elif suffix == ".npy":
        yield _of_npy(path), Said()
    elif suffix in (".tif", ".tiff", ".btf"):
        with needing("images", __name__):
            import tifffile
        with ExitStack() as stack:
            try:
                file = stack.enter_context(tifffile.TiffFile(path))
                every = file.series
                series = every[0]
                size, end = file.filehandle.size, max(_end_of(series), _next_page(file))
                said = _said_by_tiff(file, _letters(series.axes))
            except OSError:
                raise
            except Exception as error:  # of several kinds, by where it is cut off
                raise value_error(FUNCTION, f"{str(path)!r} is cut off, or no TIFF ({first_line(error)})") from error
            if size < end:
                raise value_error(
                    FUNCTION, f"{str(path)!r} is cut off: it has {size} bytes, and its pages go on to {end}"
                )
            others = [each for each in every[1:] if each.name.lower() not in ADDED_PICTURES]
            if others:
                shapes = ", ".join(str(tuple(each.shape)) for each in (series, *others[:3]))
                raise value_error(
                    FUNCTION,
                    f"{str(path)!r} holds {len(others) + 1} images, of shapes {shapes}{', ...' if others[3:] else ''}",
                    "give the one that is meant, by zarr.open_array(tifffile.TiffFile(path).series[i].aszarr(level=0))",
                )
            if series.dataoffset is not None:
                # Pages lie one behind another as they are: any part is read without the rest of its page.
                dtype = np.dtype(series.dtype).newbyteorder(file.byteorder)
                try:
                    mapped = np.memmap(path, dtype, "r", series.dataoffset, tuple(series.shape))
                except ValueError as error:
                    raise value_error(FUNCTION, f"{str(path)!r} is cut off ({first_line(error)})") from error
                yield mapped, said
                return
            store = series.aszarr(level=0)
            yield zarr.open_array(store, mode="r"), said
    else:
        raise value_error(
            FUNCTION, f"{str(path)!r} is none of .npy, .tif and a folder of Zarr", "save the array as one of these"
        )


def _refuse_address(path: str | os.PathLike[str], rule: str, remedy: str) -> None:
    """Say that what looks like an address on the network is none here."""
    scheme, sign, _ = str(os.fspath(path)).partition(":/")
    # Path makes one stroke of two; a letter alone is a drive.
    if sign and len(scheme) > 1 and scheme.isalnum() and not os.path.lexists(scheme + ":"):
        raise value_error(
            FUNCTION,
            f"{os.fspath(path)!r} is an address of {scheme}, and {rule} of this machine",
            remedy,
        )


def _of_npy(path: Path) -> Any:
    """Map a file of NumPy."""
    with open(path, "rb") as file:
        begins = file.read(len(np.lib.format.MAGIC_PREFIX))
    # NumPy takes what begins otherwise for a pickle, but for archives.
    if not np.lib.format.MAGIC_PREFIX.startswith(begins) and not zipfile.is_zipfile(path):
        raise value_error(
            FUNCTION,
            f"{str(path)!r} is no file of numpy.save, whatever its name says",
            "save the array as .npy or .tif",
        )
    if len(begins) < len(np.lib.format.MAGIC_PREFIX):
        raise value_error(FUNCTION, f"{str(path)!r} is cut off, or no array: it has {len(begins)} bytes")
    has_objects = False
    with suppress(ValueError, EOFError), open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        has_objects = read(file)[2].hasobject
    if has_objects:
        raise type_error(
            FUNCTION, f"{str(path)!r} holds objects of Python, which are no numbers", "save it with another dtype"
        )
    try:
        array = np.load(path, mmap_mode="r")
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise value_error(FUNCTION, f"{str(path)!r} is cut off, or no array ({first_line(error)})") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise value_error(
            FUNCTION, f"{str(path)!r} is an archive of several arrays", "save the one that is meant by numpy.save"
        )
    return array


PALETTE = 3
"""PhotometricInterpretation of TIFFs whose elements are numbers of colours."""
ADDED_PICTURES = {"thumbnail", "label", "macro"}
"""Names of the pictures that files of slide scanners have beside the image."""
UNIT_WORDS = {
    "m": "meter", "cm": "centimeter", "mm": "millimeter", "µm": "micrometer", "μm": "micrometer", "um": "micrometer",
    "micron": "micrometer", "\\u00B5m": "micrometer", "nm": "nanometer", "pm": "picometer", "Å": "angstrom",
    "in": "inch", "inch": "inch", "s": "second", "sec": "second", "ms": "millisecond", "µs": "microsecond",
    "min": "minute", "h": "hour",
}  # fmt: skip
"""Units of OME-Zarr for the signs that TIFFs have."""


def _said_by_tiff(file: Any, axes: str) -> Said:
    """Read what OME-TIFF and ImageJ say of elements; resolutions of other TIFFs are those of paper."""
    # ImageJ has intensities there, and the colours that it shows them in.
    palette = int(file.series[0].keyframe.photometric) == PALETTE and not file.is_imagej
    with suppress(Exception):  # of any kind, by what is wrong with the text
        sizes, signs = _sizes_by_ome(file) if file.is_ome else _sizes_by_imagej(file) if file.is_imagej else ({}, {})
        known = {
            letter: UNIT_WORDS.get(sign, sign if sign in UNIT_WORDS.values() else "") for letter, sign in signs.items()
        }
        units = {letter: unit for letter, unit in known.items() if unit}
        scale = {letter: float(sizes[letter]) for letter in units}
        if all(0 < size < math.inf for size in scale.values()):
            return Said(axes, scale, {}, units, palette=palette)
    return Said(axes, palette=palette)


def _sizes_by_ome(file: Any) -> tuple[dict[str, Any], dict[str, str]]:
    from xml.etree import ElementTree

    pixels = next(each for each in ElementTree.fromstring(file.ome_metadata).iter() if each.tag.endswith("}Pixels"))
    names = {"z": "PhysicalSizeZ", "y": "PhysicalSizeY", "x": "PhysicalSizeX", "t": "TimeIncrement"}
    sizes = {letter: pixels.get(name) for letter, name in names.items() if pixels.get(name)}
    return sizes, {letter: pixels.get(f"{names[letter]}Unit", "s" if letter == "t" else "µm") for letter in sizes}


def _sizes_by_imagej(file: Any) -> tuple[dict[str, Any], dict[str, str]]:
    facts = file.imagej_metadata
    columns, rows = file.pages[0].resolution
    sizes = {"x": 1 / columns, "y": 1 / rows}
    if "spacing" in facts:
        sizes["z"] = facts["spacing"]
    return sizes, {letter: str(facts.get("unit", "")) for letter in sizes}


def _letters(axes: str) -> str:
    """Return the letters of OME-Zarr for those of tifffile: samples of a colour are channels, a sequence is a depth."""
    return axes.replace("S", "C").replace("I", "Z").replace("Q", "Z").lower()


def _end_of(series: Any) -> int:
    """Return where the last bytes of a TIFF's pages are."""
    ends = [
        offset + count
        for page in series.pages
        if page is not None
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)
    ]
    return max(ends, default=0)


def _next_page(file: Any) -> int:
    """Return where the page behind the last one that was found should lie: tifffile leaves out those behind the end."""
    pages = file.pages
    len(pages)  # looks for all of them
    file.filehandle.seek(pages.next_page_offset)
    return int(struct.unpack(file.tiff.offsetformat, file.filehandle.read(file.tiff.offsetsize))[0])


def _of_folder(path: Path) -> tuple[Any, Said]:
    try:
        found: Any = zarr.open(path, mode="r")
    except Exception as error:  # of several kinds, by what is wrong with it
        raise value_error(FUNCTION, f"{str(path)!r} is no folder of Zarr ({first_line(error)})") from error
    if isinstance(found, zarr.Array):
        return found, Said(_named_dimensions(found))
    attributes = dict(found.attrs)
    images = attributes.get("ome", attributes).get("multiscales")
    try:
        first = found[images[0]["datasets"][0]["path"]]
        letters = [axis["name"] for axis in images[0]["axes"]]
    except (KeyError, TypeError, IndexError):
        inside = ", ".join(map(repr, sorted(found.array_keys())))
        raise value_error(
            FUNCTION,
            f"{str(path)!r} is a group of Zarr without the levels of OME-Zarr",
            f"give an array in it: {inside}" if inside else "",
        ) from None
    try:
        return first, _said_by_image(images[0], letters)
    except (KeyError, TypeError, ValueError, AttributeError):
        return first, Said("".join(letters), unread=f"the coordinateTransformations of {str(path)!r}")


def _said_by_image(image: Mapping[str, Any], axes: Sequence[str]) -> Said:
    """Read where the elements of the first level of an OME-Zarr image lie."""
    letters = "".join(axes)
    if any(len(axis) != 1 for axis in axes):
        return Said(letters)
    scale, shift = dict.fromkeys(axes, 1.0), dict.fromkeys(axes, 0.0)
    first = image["datasets"][0]
    # Those of the level come first, then those of the image.
    for step in [*first.get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())]:
        if step["type"] not in ("scale", "translation"):
            continue
        for axis, number in zip(axes, step[step["type"]], strict=True):
            if step["type"] == "scale":
                scale[axis], shift[axis] = scale[axis] * float(number), shift[axis] * float(number)
            else:
                shift[axis] += float(number)
    units = {axis["name"]: axis["unit"] for axis in image["axes"] if isinstance(axis.get("unit"), str)}
    return Said(letters, scale, shift, units)


def _named_dimensions(array: Any) -> str:
    names = getattr(array.metadata, "dimension_names", None) or ()
    return "".join(names) if names and all(name in KINDS for name in names) else ""


def _arranged(array: Any, axes: Any, said: Said, place: Path | None) -> Source:
    """Put the axes of a source in the order of OME-Zarr."""
    letters, says = plain(axes), said.axes
    if not 2 <= len(array.shape) <= 5:
        raise value_error(
            FUNCTION,
            f"an image of OME-Zarr has 2 to 5 axes, and the source has {len(array.shape)}: {tuple(array.shape)}",
            "take one image of it" if array.shape[5:] else "use pooling.pyramid for what is no image",
        )
    if axes is None:
        letters = says
        if not says or any(letter not in KINDS for letter in says) or len(set(says)) < len(says):
            raise value_error(
                FUNCTION,
                f"the source does not say what its {counted(len(array.shape), 'axis is', 'axes are')}",
                f"give axes, one letter for each of them, such as {short_repr(_example(array.shape))}",
            )
    found = list(letters) if isinstance(letters, str) else sequence(letters)
    if found is None or not all(isinstance(letter, str) for letter in found):
        raise type_error(
            FUNCTION, f"must be letters, not {type(axes).__name__}", "write 'zyx' or 'tcyx'", argument=("axes", axes)
        )
    found = [letter.lower() for letter in found]
    if len(found) != len(array.shape):
        raise value_error(
            FUNCTION,
            f"names {counted(len(found), 'axis', 'axes')}, and the source has {len(array.shape)}: {array.shape}",
            "write one letter for each",
            argument=("axes", axes),
        )
    unknown = [letter for letter in found if letter not in KINDS]
    if unknown or len(set(found)) < len(found):
        raise value_error(
            FUNCTION,
            "must be letters of t, c, z, y and x, each once",
            "OME-Zarr has times, channels and two or three axes of space",
            argument=("axes", axes),
        )
    if len([letter for letter in found if KINDS[letter] == "space"]) < 2:
        raise value_error(FUNCTION, "must name two or three of z, y and x, as OME-Zarr has it", argument=("axes", axes))
    ordered = [letter for letter in KINDS if letter in found]
    return Source(array, tuple(found.index(letter) for letter in ordered), "".join(ordered), said.of(found), place)


def _example(shape: Sequence[int]) -> str:
    """Return axes that an array of some shape may well have."""
    if len(shape) == 3 and shape[-1] in (3, 4):
        return "yxc"
    return {2: "yx", 4: "czyx", 5: "tczyx"}.get(len(shape), "zyx")


# ---------------------------------------------------------------------------------------------------------------------
# What is written


@dataclass(frozen=True)
class Level:
    """One of the arrays of an image."""

    block: tuple[int, ...]
    """Elements of the source that one of it stands for."""
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    shard: tuple[int, ...]
    """What is written as one file; chunks where there are no shards."""

    def is_whole(self, region: Sequence[int], source: Sequence[int]) -> bool:
        """Whether regions of the source are whole files of it."""
        return all(
            size >= length or size // step % piece == 0
            for size, length, step, piece in zip(region, source, self.block, self.shard, strict=True)
        )

    def place(self, region: Sequence[slice]) -> tuple[slice, ...]:
        """Where a region of the source lies in it."""
        return tuple(
            slice(part.start // step, -(-part.stop // step)) for part, step in zip(region, self.block, strict=True)
        )

    def pieces(self) -> Iterator[tuple[slice, ...]]:
        """Yield the places of its files."""
        return _regions(self.shape, self.shard)


def _regions(
    shape: Sequence[int], size: Sequence[int], least: Sequence[int] | None = None
) -> Iterator[tuple[slice, ...]]:
    """Yield the parts of an array that are of a size, row by row.

    Those at its ends have what is left; less than `least` joins the part before.
    """
    parts = []
    for length, step, few in zip(shape, size, least or (1,) * len(shape), strict=True):
        starts = [start for start in range(0, length, step) if start == 0 or length - start >= few]
        parts.append([slice(a, b) for a, b in zip(starts, [*starts[1:], length], strict=True)])
    yield from product(*parts)


@dataclass(frozen=True)
class Image:
    """What is to be written: all that a second call must agree in to go on with the first."""

    source: Source
    levels: tuple[Level, ...]
    """The source itself is the first."""
    region: tuple[int, ...]
    """Elements of the source that are worked on at a time."""
    reduction: dict[str, Any]
    """Arguments of `pooling.pyramid`."""
    zarr_format: Literal[2, 3]
    compressors: Any
    attributes: dict[str, Any]
    """What makes an OME-Zarr image of the arrays."""

    @property
    def steps(self) -> list[tuple[int, ...]]:
        """By how much each level is smaller than the one before."""
        return [
            tuple(here // there for here, there in zip(level.block, before.block, strict=True))
            for before, level in zip(self.levels[:-1], self.levels[1:], strict=True)
        ]

    def mark(self) -> str:
        """Describe it in a text that is the same for the same call."""
        shape = self.source.shape
        corners = [
            _read(self.source, [slice(0, min(SAMPLED, size)) for size in shape]),
            _read(self.source, [slice(max(0, size - SAMPLED), size) for size in shape]),
        ]
        facts = {
            "pooling": __version__,
            "shape": shape,
            "dtype": self.source.dtype.str,
            "source": [zlib.crc32(corner.tobytes()) for corner in corners],
            "files": _state_of(self.source.place),
            "levels": [(level.block, level.chunk, level.shard) for level in self.levels],
            "region": self.region,
            "reduction": {name: repr(value) for name, value in self.reduction.items()},
            "format": self.zarr_format,
            "compressors": repr(self.compressors),
            "attributes": self.attributes,
        }
        return json.dumps(facts, sort_keys=True)


def _place_of(array: Any) -> Path | None:
    """Return the file or folder of an array, or None."""
    if isinstance(array, zarr.Array):
        if isinstance(array.store, zarr.storage.LocalStore):
            return Path(array.store.root, array.path)
        return Path(array.store.path) if isinstance(array.store, zarr.storage.ZipStore) else None
    # A view of a mapped file has it somewhere below.
    while not isinstance(array, np.memmap) and isinstance(getattr(array, "base", None), np.ndarray):
        array = array.base
    name = getattr(array, "filename", None)
    return None if name is None else Path(name)


def _state_of(place: Path | None) -> list[int] | None:
    """Return how many files a source has, and a sum over their names, sizes and times."""
    if place is None or not place.exists():
        return None
    if not place.is_dir():
        found = os.stat(place)
        return [1, found.st_size, found.st_mtime_ns]
    count = total = 0
    folders = [os.fspath(place)]
    while folders:
        folder = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                    continue
                found = entry.stat()
                # In whatever order the files come.
                total += zlib.crc32(f"{entry.path} {found.st_size} {found.st_mtime_ns}".encode("utf-8", "replace"))
                count += 1
                if count == MOST_FILES:
                    return [count, total]
    return [count, total]


def _layout(source: Source, blocks: Sequence[tuple[int, ...]], chunks: Any, shards: Any, sharded: bool) -> list[Level]:
    """Lay out the arrays."""
    letters, shape = source.axes, source.shape
    spatial = sum(KINDS[letter] == "space" for letter in letters)
    if sharded:
        edge, times = SPATIAL_CHUNKS[spatial]
    else:
        edge, times = UNSHARDED_CHUNKS[spatial], 1
    default = [edge if KINDS[letter] == "space" else 1 for letter in letters]
    chunk = _sizes("chunks", chunks, default)
    if shards is not None and not sharded:
        raise value_error(
            FUNCTION, "there are no shards in OME-Zarr 0.4", "use ome_version='0.5'", argument=("shards", shards)
        )
    shard = _sizes(
        "shards",
        shards,
        [size * (times if KINDS[letter] == "space" else 1) for size, letter in zip(chunk, letters, strict=True)],
    )
    if any(whole % part for whole, part in zip(shard, chunk, strict=True)):
        raise value_error(
            FUNCTION, f"must be multiples of chunks, which are {tuple(chunk)}", argument=("shards", tuple(shard))
        )
    levels = []
    for block in [(1,) * len(shape), *blocks]:
        sizes = tuple(map(block_count, shape, block))
        small = tuple(min(part, size) for part, size in zip(chunk, sizes, strict=True))
        large = tuple(
            min(whole, -(-size // part) * part) for whole, part, size in zip(shard, small, sizes, strict=True)
        )
        large = tuple(whole // part * part for whole, part in zip(large, small, strict=True))
        levels.append(Level(block, sizes, small, large))
    return levels


def _sizes(name: str, value: Any, default: Sequence[int]) -> list[int]:
    """Read an argument with a size for each axis."""
    if value is None:
        return list(default)
    several = sequence(value)
    if several is None or len(several) != len(default):
        raise value_error(
            FUNCTION, f"must have one size for each of {counted(len(default), 'axis', 'axes')}", argument=(name, value)
        )
    return [whole_between(FUNCTION, name, entry, 1, 2**31 - 1, "use sizes of some hundreds") for entry in several]


def _region_of(source: Source, levels: Sequence[Level], memory: int) -> tuple[int, ...]:
    """Choose how much of the source is worked on at a time.

    It holds whole elements of the smallest level, and whole shards of the first level or of the first two, which need
    not be gathered then; it is made longer from the last axis to the first. Where regions cut the chunks of the source,
    these are read several times: of what memory allows, the region is taken that costs least.
    """
    least = levels[-1].block
    found = []
    for count, gathering in ((2, 1.0), (1, 1.2), (0, 2.0)):
        files = [
            tuple(step * size for step, size in zip(level.block, level.shard, strict=True)) for level in levels[:count]
        ]
        unit = [
            min(math.lcm(*sizes), _at_least(length, sizes[0]))
            for length, *sizes in zip(source.shape, least, *files, strict=True)
        ]
        if _bytes_of(source, unit) <= memory:
            region = _longer(source, unit, memory)
            found.append((gathering * _readings(source, region), region))
    if not found:
        raise value_error(
            FUNCTION,
            f"one element of level {len(levels) - 1} stands for {least} elements of the source, "
            f"{_bytes_of(source, least)} bytes",
            "use fewer levels, or more memory",
            argument=("memory", memory),
        )
    return min(found)[1]


def _longer(source: Source, unit: Sequence[int], memory: int) -> tuple[int, ...]:
    """Make a region longer, from the last axis to the first."""
    region, shape = list(unit), source.shape
    for axis in reversed(range(len(shape))):
        others = _bytes_of(source, [*region[:axis], 1, *region[axis + 1 :]])
        most = max(1, memory // others // unit[axis])
        region[axis] = unit[axis] * min(most, -(-shape[axis] // unit[axis]))
        if region[axis] < shape[axis]:
            break
    return tuple(region)


def _readings(source: Source, region: Sequence[int]) -> float:
    """Estimate how often a chunk of the source is read."""
    chunks = getattr(source.array, "chunks", None)
    if chunks is None:
        return 1.0
    often = 1.0
    for axis, size, length in zip(source.order, region, source.shape, strict=True):
        if size < length and size % chunks[axis]:
            often *= max(1.0, min(chunks[axis], length) / size)
    return often


def _bytes_of(source: Source, region: Sequence[int]) -> int:
    """Return the bytes of a region of a source, or of as much of it as there is."""
    return source.dtype.itemsize * math.prod(map(min, region, source.shape))


def _at_least(length: int, step: int) -> int:
    """Return the least multiple of a step that covers a length."""
    return -(-length // step) * step


def _attributes(
    source: Source, levels: Sequence[Level], name: str, scale: Sequence[float], shift: Sequence[float],
    units: Mapping[str, str], func: str, settings: Mapping[str, Any], version: str,
) -> dict[str, Any]:  # fmt: skip
    """Write the metadata of OME-Zarr, by its specifications 0.4 and 0.5 (multiscales)."""
    axes = []
    for letter in source.axes:
        axis = {"name": letter, "type": KINDS[letter]}
        if letter in units:
            axis["unit"] = units[letter]
        axes.append(axis)
    datasets = []
    for position, level in enumerate(levels):
        # An element of a level lies in the middle of those that it stands for.
        steps = [size * factor for size, factor in zip(scale, level.block, strict=True)]
        offsets = [
            start + size * (factor - 1) / 2 for start, size, factor in zip(shift, scale, level.block, strict=True)
        ]
        datasets.append(
            {
                "path": str(position),
                "coordinateTransformations": [
                    {"type": "scale", "scale": steps},
                    {"type": "translation", "translation": offsets},
                ],
            }
        )
    image = {
        "name": name,
        "axes": axes,
        "datasets": datasets,
        "type": func,
        "metadata": {
            "description": "every level is made of the elements of the first, by blocks that do not overlap",
            "method": "pooling.pyramid",
            "version": __version__,
            "kwargs": dict(settings),
        },
    }
    if version == "0.4":
        return {"multiscales": [{"version": version, **image}]}
    return {"ome": {"version": version, "multiscales": [image]}}


# ---------------------------------------------------------------------------------------------------------------------
# Writing


class _Journal:
    """Which regions are done: a line for each, in a file that one process at a time may write."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "a+", encoding="ascii")  # noqa: SIM115  closed by close()
        try:
            import fcntl

            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # a system without it
            pass
        except BlockingIOError:
            self._file.close()
            raise refused(
                BlockingIOError,
                FUNCTION,
                f"another process is writing {str(path.parent)!r}",
                "wait for it, or name another store",
            ) from None

    def done(self) -> set[int]:
        """Return the regions that were done, without a last line that was cut off."""
        self._file.seek(0)
        lines = self._file.read().split("\n")[:-1]
        return {int(line) for line in lines if line.isdigit()}

    def add(self, region: int) -> None:
        """Remember that everything of a region was written."""
        self._file.write(f"{region}\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let others write."""
        self._file.close()


def _array(group: Any, path: str, image: Image, level: Level, chunk: Any, shard: Any) -> Any:
    """Make an array, or open the one that an earlier call made."""
    if path in group:
        return group[path]
    settings: dict[str, Any] = {}
    if image.zarr_format == 3:
        settings = {"shards": shard, "dimension_names": list(image.source.axes)}
    else:
        settings = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    nodata = image.reduction["nodata"]
    return group.create_array(
        path,
        shape=level.shape,
        dtype=image.source.dtype,
        chunks=chunk,
        compressors=image.compressors,
        fill_value=image.source.dtype.type(0 if nodata is None else nodata),
        **settings,
    )


def _write(image: Image, draft: Path, progress: Progress) -> None:
    """Write all levels into a folder, or what an earlier call left to be written."""
    aside = draft / ASIDE
    group: Any = zarr.open_group(draft, mode="a", zarr_format=image.zarr_format)
    rest = zarr.open_group(aside, mode="a", zarr_format=image.zarr_format)
    journal = _Journal(aside / "journal")
    try:
        done = journal.done()
        arrays, gathered = [], []
        shape = image.source.shape
        for position, level in enumerate(image.levels):
            shard = level.shard if level.shard != level.chunk else None
            arrays.append(_array(group, str(position), image, level, level.chunk, shard))
            piece = tuple(
                min(block_count(size, step), length)
                for size, step, length in zip(image.region, level.block, level.shape, strict=True)
            )
            gathers = not level.is_whole(image.region, shape)
            gathered.append(_array(rest, str(position), image, level, piece, None) if gathers else None)
        regions = list(_regions(shape, image.region, image.levels[-1].block))
        pieces = sum(math.prod(-(-n // s) for n, s in zip(level.shape, level.shard, strict=True))
                     for level, kept in zip(image.levels, gathered, strict=True) if kept is not None)  # fmt: skip
        total = len(regions) + pieces
        for number, region in enumerate(regions):
            progress(number, total, "reducing")
            if number in done:
                continue
            block = _read(image.source, region)
            made = [block, *(pyramid(block, image.steps, **image.reduction) if image.steps else [])]
            for level, array, kept, values in zip(image.levels, arrays, gathered, made, strict=True):
                (array if kept is None else kept)[level.place(region)] = values
            del block, made
            journal.add(number)
        number = len(regions)
        for level, array, kept in zip(image.levels, arrays, gathered, strict=True):
            if kept is None:
                continue
            for place in level.pieces():
                progress(number, total, "gathering levels")
                array[place] = kept[place]
                number += 1
        group.attrs.update(image.attributes)
        progress(total, total, "done")
    finally:
        _settle()
        journal.close()


def _settle() -> None:
    """Wait for what zarr's threads still read or write of a call that was ended, which would complain at the exit."""
    with suppress(ImportError):
        from zarr.core.sync import sync

        async def settle() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            if others:
                done, _ = await asyncio.wait(others, timeout=LONGEST_WAIT)
                for task in done:
                    if not task.cancelled():
                        task.exception()  # is not reported as one that nobody looked at

        sync(settle())


def _read(source: Source, region: Sequence[slice]) -> AnyArray:
    """Read a part of the source, or say which one could not be read."""
    try:
        return source.read(region)
    except Exception as error:  # of any kind: files are decoded
        _settle()
        where = ", ".join(f"{part.start}:{part.stop}" for part in region)
        raise refused(OSError, FUNCTION, f"the source cannot be read at [{where}] ({first_line(error)})") from error


ASIDE = "pooling"
"""The folder, in one that is not whole yet, of what is known about the call and of levels that are gathered."""


def _put_in_place(draft: Path, target: Path) -> None:
    """Give a whole folder the name of the target; what was there before goes when the new one is there.

    What an earlier call left that was killed here is taken away too.
    """
    old = target.with_name(f"{target.name}.pooling-old")
    if target.exists():
        if old.exists():
            shutil.rmtree(old)
        os.rename(target, old)
    os.rename(draft, target)
    # Only now: until it has its name, the same call must find what is done.
    shutil.rmtree(target / ASIDE)
    if old.exists():
        shutil.rmtree(old)


@names_checked
def write_multiscales(
    source: Any,
    store: str | os.PathLike[str],
    *,
    axes: str | Sequence[str] | None = None,
    factors: int | Sequence[int] | Sequence[Sequence[int]] | Mapping[str, int] = 2,
    levels: int | None = None,
    func: Reduction = "mean",
    nodata: float | None = None,
    min_valid: float = 0.0,
    rounding: Rounding = "half_even",
    exact: bool = False,
    scale: float | Sequence[float] | Mapping[str, float] | None = None,
    translation: float | Sequence[float] | Mapping[str, float] | None = None,
    units: str | Mapping[str, str] | None = None,
    name: str | None = None,
    ome_version: str = "0.5",
    chunks: Sequence[int] | None = None,
    shards: Sequence[int] | None = None,
    compressors: Any = "auto",
    memory: int = MEMORY,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write an array and its pyramid as an OME-Zarr image, however large it is.

    Parameters
    ----------
    source : ndarray, zarr.Array or path
        An array (``numpy.load(..., mmap_mode="r")`` and ``numpy.memmap`` are read part by part), or the path of a file
        .npy or .tif, or of a folder of Zarr.
    store : path
        The folder to write, which must not exist unless `overwrite`.
    axes : str or sequence of str, optional
        A letter for each axis of the source: t, c, z, y and x. They are written in this order, whatever theirs is. By
        default those that a TIFF or OME-Zarr names.
    factors : int, sequence, sequence of sequences, or mapping of letters
        By how much each level is smaller than the one before: on all axes of space, on each axis of the image, for each
        level on each, or by letter (1 for those that are left out).
    levels : int, optional
        Levels behind the original; by default until one chunk holds all of a map or volume, or one element would stand
        for more than `memory`.
    func, nodata, min_valid, rounding, exact
        As in `pooling.pyramid`, for results of the dtype of the source.
    scale, translation : float, sequence or mapping of letters
        Size of an element of the source, and where the middle of its first one lies: on all axes of space, on each axis
        of the image, or by letter. Others have 1 and 0. Where neither these nor `units` are given, they are what an
        OME-Zarr image, OME-TIFF or TIFF of ImageJ says.
    units : str or mapping of letters, optional
        Such as "micrometer": of all axes of space, or by letter.
    name : str, optional
        Of the image; that of the folder by default.
    ome_version : {"0.5", "0.4"}
        0.5 is Zarr v3 with shards, 0.4 Zarr v2.
    chunks, shards : sequence of int, optional
        Sizes on each axis of the image; by default chunks of 512 on two axes of space and of 64 on three (1024 and 128
        in 0.4), and shards of 8 and of 4 chunks on each of them.
    compressors
        What ``zarr.create_array`` takes; zarr's own choice by default.
    memory : int
        Bytes of the source that are worked on at a time. The process needs three to four times as many beside what its
        libraries take; the smallest level must not stand for more in one element.
    overwrite : bool
        Whether to replace `store`, when the new one is whole, and to throw away what a call with other arguments left.
    progress : callable, optional
        Told how many parts are done, of how many, and what is next.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileExistsError
        If `store` exists, or holds the unfinished image of another call.
    OSError
        If something cannot be read or written. What was written stays.
    TypeError, ValueError
        If an argument is of the wrong kind or value.

    Notes
    -----
    Until it is whole, the image lies in a folder named as `store` with ``.unfinished`` behind it. Whatever ends the
    call, the same call goes on where it was. Each level is ``pooling.block_reduce`` of the source, to the bit: no level
    is made of rounded means. Its translation in the metadata is that of the middle of its first block, ``(factor - 1) /
    2`` elements of the source, so that levels do not shift in viewers.

    Examples
    --------
    >>> import numpy as np, tempfile, zarr
    >>> target = write_multiscales(np.zeros((40, 300, 300), np.uint8), tempfile.mkdtemp() + "/image.zarr", axes="zyx")
    >>> [array.shape for _, array in sorted(zarr.open_group(target).arrays())]
    [(40, 300, 300), (20, 150, 150), (10, 75, 75), (5, 38, 38)]
    """
    target = _target(store, flag(FUNCTION, "overwrite", overwrite))
    version = word(FUNCTION, "ome_version", ome_version, ("0.5", "0.4"))
    room = whole_between(FUNCTION, "memory", memory, 1 << 16, 1 << 50, "use about 2**27")
    if progress is not None and not callable(progress):
        raise type_error(
            FUNCTION,
            f"must be a function of (done, total, what), not {type(progress).__name__}",
            argument=("progress", progress),
        )
    if name is not None and not isinstance(name, str):
        raise type_error(FUNCTION, f"must be a word, not {type(name).__name__}", argument=("name", name))
    name = name if name is None else str.__str__(name)
    with open_source(source, axes) as opened:
        _keep_source(opened.place, target)
        image = _image(
            opened, factors, levels, func, nodata, min_valid, rounding, exact, scale,
            translation, units, name or target.name.partition(".")[0], version, chunks, shards, compressors, room,
        )  # fmt: skip
        draft = target.with_name(f"{target.name}.unfinished")
        try:
            _prepare(draft, image.mark(), overwrite)
            try:
                _write(image, draft, progress or (lambda done, total, what: None))
            except (TypeError, ValueError) as error:
                # Such as a sum that does not fit its dtype: the same call would come to the same element again.
                if hasattr(error, "refusal"):
                    shutil.rmtree(draft, ignore_errors=True)
                raise
            _put_in_place(draft, target)
        except OSError as error:
            if error.errno is None or hasattr(error, "refusal"):
                raise
            number = error.errno
            raise refused(
                lambda sentence: OSError(number, sentence),
                FUNCTION,
                f"{str(target)!r} cannot be written ({error.strerror})",
                f"what is done stays in {str(draft)!r}, and the same call goes on with it",
            ) from error
    return target


def _target(store: Any, overwrite: bool) -> Path:
    """Check where to write."""
    if not isinstance(store, (str, os.PathLike)):
        raise type_error(
            FUNCTION,
            f"store of type {type(store).__name__} is no path",
            "give that of a folder, which can be renamed when it is whole, and copy it to other stores",
        )
    path = path_of(FUNCTION, "store", store)
    _refuse_address(plain(store), "an image is written to a folder", "write it here, and copy it there")
    target = Path(os.path.abspath(path))
    if not target.parent.is_dir():
        raise refused(FileNotFoundError, FUNCTION, f"there is no folder {str(target.parent)!r} for the store")
    if os.path.lexists(target) and not overwrite:
        raise refused(FileExistsError, FUNCTION, f"{str(target)!r} exists", "name another store, or say overwrite=True")
    if os.path.lexists(target) and not _may_go(target):
        raise refused(
            FileExistsError,
            FUNCTION,
            f"{str(target)!r} is no folder of Zarr, and overwrite=True replaces nothing else",
            "name another store, or remove it yourself",
        )
    return target


def _may_go(folder: Path) -> bool:
    """Whether this is a folder of Zarr, or an empty one."""
    if not folder.is_dir() or folder.is_symlink():
        return False
    inside = {entry.name for entry in folder.iterdir()}
    return not inside or bool(inside & {"zarr.json", ".zgroup", ".zarray", ".zattrs"})


def _keep_source(place: Path | None, target: Path) -> None:
    """Refuse to replace what is read, and what is in it."""
    if place is None:
        return
    file, whole = place.resolve(), target.resolve()
    if not target.exists():
        if file in whole.parents:
            raise value_error(
                FUNCTION,
                f"{str(target)!r} lies in {str(place)!r}, the source, which is an array",
                "name another store",
            )
        return
    if file == whole or whole in file.parents or file in whole.parents:
        raise refused(
            FileExistsError,
            FUNCTION,
            f"{str(target)!r} holds the source or lies in it, and some of the source would be lost",
            "name another store",
        )


def _prepare(draft: Path, mark: str, overwrite: bool) -> None:
    """Make the folder to write into, or accept that of an earlier call."""
    file = draft / ASIDE / "call.json"
    if draft.exists():
        if not draft.is_dir():
            raise refused(FileExistsError, FUNCTION, f"{str(draft)!r} is in the way", "rename it")
        known = file.read_text("utf-8") if file.is_file() else ""
        if known == mark:
            return
        inside = {entry.name for entry in draft.iterdir()}
        if not known and inside - {ASIDE} and not _may_go(draft):
            raise refused(
                FileExistsError,
                FUNCTION,
                f"{str(draft)!r}, where the image would lie until it is whole, is no folder of Zarr",
                "name another store, or rename that folder",
            )
        if known or inside:
            if not overwrite:
                raise refused(
                    FileExistsError,
                    FUNCTION,
                    f"{str(draft)!r} holds what a call with other arguments, or of another source, has begun",
                    "call it again to go on, or say overwrite=True to throw it away",
                )
            if file.parent.is_dir():
                _Journal(file.with_name("journal")).close()  # refused while another process writes it
            shutil.rmtree(draft)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(mark, "utf-8")


def _image(
    source: Source, factors: Any, levels: Any, func: Any, nodata: Any, min_valid: Any, rounding: Any, exact: bool,
    scale: Any, translation: Any, units: Any, name: str, version: str, chunks: Any, shards: Any, compressors: Any,
    memory: int,
) -> Image:  # fmt: skip
    """Check the arguments."""
    letters, shape = source.axes, source.shape
    if 0 in shape:
        raise value_error(FUNCTION, f"the source has no elements: its shape is {shape}")
    dtype = dtype_name(source.dtype)
    if dtype == "bfloat16":
        raise type_error(FUNCTION, "the source has dtype bfloat16, which Zarr does not have", "convert it to float32")
    space = [position for position, letter in enumerate(letters) if KINDS[letter] == "space"]
    steps = _factors(factors, letters)
    edge = SPATIAL_CHUNKS[len(space)][0]
    blocks = pyramid_factors(FUNCTION, shape, steps, levels, space, "partial")
    if levels is None and not _by_level(steps):
        fits = (all(block_count(shape[axis], block[axis]) <= edge for axis in space) for block in blocks)
        last = next((n for n, each in enumerate(fits, 1) if each), len(blocks))
        blocks = [] if all(shape[axis] <= edge for axis in space) else blocks[:last]
        blocks = [block for block in blocks if _bytes_of(source, block) <= memory]
    reduction = {"func": func, "nodata": nodata, "min_valid": min_valid, "rounding": rounding}
    stand_in = np.broadcast_to(np.zeros((), source.dtype), shape)
    call = prepared(FUNCTION, stand_in, blocks[-1] if blocks else 1, **reduction)
    if call.dtype != source.dtype:
        raise value_error(
            FUNCTION,
            f"of {dtype} gives {call.dtype.name}, and the levels of an image have one dtype",
            f"convert the source to {call.dtype.name}, or use another func",
            argument=("func", func),
        )
    if source.said.palette and call.reduction.name not in ("mode", "first"):
        raise value_error(
            FUNCTION,
            "has no meaning for elements that are the numbers of a palette's colours",
            "use func='mode' or 'first', or save it in RGB",
            argument=("func", func),
        )
    reduction |= {"func": call.reduction.name, "nodata": call.nodata}
    exact_levels(FUNCTION, exact, call.reduction)
    _check_compressors(compressors, source.dtype, 3 if version == "0.5" else 2)
    arrays = _layout(source, blocks, chunks, shards, version == "0.5")
    if scale is None and translation is None and units is None:
        # All or none: what is given need not be in the units of the source.
        if source.said.unread:
            raise value_error(
                FUNCTION, f"{source.said.unread} cannot be read", "give scale, and translation and units where known"
            )
        scale, translation, units = source.said.scale, source.said.translation, source.said.units
    scale, translation = 1.0 if scale is None else scale, 0.0 if translation is None else translation
    sizes = _by_letter("scale", scale, letters, 1.0)
    if any(not 0 < size < math.inf for size in sizes):
        raise value_error(FUNCTION, "must be finite and above 0", argument=("scale", scale))
    shift = _by_letter("translation", translation, letters, 0.0)
    if not all(map(math.isfinite, shift)):
        raise value_error(FUNCTION, "must be finite", argument=("translation", translation))
    if isinstance(units, str):
        words = dict.fromkeys((letter for letter in letters if KINDS[letter] == "space"), str.__str__(units))
    else:
        words = {} if units is None else mapping_of(FUNCTION, "units", units, f'{{"{letters[-1]}": "micrometer"}}')
    if not all(isinstance(unit, str) for unit in words.values()):
        raise type_error(FUNCTION, "must be a word, or a mapping of letters to words", argument=("units", units))
    _check_letters("units", words, letters)
    if not all(words.values()):
        raise value_error(
            FUNCTION, "must be words such as 'micrometer'", "leave them out where not known", argument=("units", units)
        )
    words = {letter: UNIT_WORDS.get(unit, unit) for letter, unit in words.items()}
    shown = {key: value if value == value else "NaN" for key, value in reduction.items() if value is not None}
    attributes = _attributes(
        source, arrays, name, sizes, shift, words, call.reduction.name, {**shown, "exact": exact}, version
    )
    return Image(
        source,
        tuple(arrays),
        _region_of(source, arrays, memory),
        {**reduction, "exact": exact},
        3 if version == "0.5" else 2,
        compressors,
        attributes,
    )


def _check_compressors(compressors: Any, dtype: np.dtype[Any], zarr_format: Literal[2, 3]) -> None:
    """Refuse what zarr cannot compress with before anything is written."""
    if isinstance(compressors, str) and str.__str__(compressors) == "auto":
        return
    try:
        if isinstance(compressors, np.ndarray):
            raise TypeError("it is an array")
        zarr.create_array(
            zarr.storage.MemoryStore(),
            shape=(1,),
            chunks=(1,),
            dtype=dtype,
            compressors=compressors,
            zarr_format=zarr_format,
        )
    except Exception as error:  # of any kind, by where zarr looks at it first
        raise type_error(
            FUNCTION,
            f"is no codec that zarr.create_array takes ({first_line(error)})",
            "give one of zarr.codecs, such as zarr.codecs.ZstdCodec()" if zarr_format == 3 else "give one of numcodecs",
            argument=("compressors", compressors),
        ) from error


def _by_level(factors: Any) -> bool:
    several = sequence(factors)
    return several is not None and any(sequence(entry) is not None for entry in several)


def _factors(factors: Any, letters: str) -> Any:
    """Read factors by letters; others as they are."""
    if not isinstance(factors, Mapping):
        return factors
    _check_letters("factors", factors, letters)
    for letter, entry in factors.items():
        factor = whole(entry)
        if factor is None:
            raise type_error(
                FUNCTION,
                f"must be integers, not {type(entry).__name__} for {letter!r}",
                argument=("factors", dict(factors)),
            )
        if factor < 1:
            raise value_error(
                FUNCTION,
                f"must be at least 1, not {short_repr(factor)} for {letter!r}",
                "1 keeps an axis as it is",
                argument=("factors", dict(factors)),
            )
    return tuple(factors.get(letter, 1) for letter in letters)


def _check_letters(name: str, value: Mapping[Any, Any], letters: str) -> None:
    """Refuse letters of other axes."""
    unknown = [letter for letter in value if not isinstance(letter, str) or letter not in list(letters)]
    if unknown:
        raise value_error(
            FUNCTION,
            f"names {short_repr(unknown[0])}, and the axes are {', '.join(map(repr, letters))}",
            argument=(name, dict(value)),
        )


def _by_letter(name: str, value: Any, letters: str, otherwise: float) -> list[float]:
    """Return a number for each axis."""
    if isinstance(value, Mapping):
        value = mapping_of(FUNCTION, name, value, f'{{"{letters[-1]}": 1.0}}', "letters of axes")
        _check_letters(name, value, letters)
        return [real(FUNCTION, name, value.get(letter, otherwise), argument=value) for letter in letters]
    several = sequence(value)
    if several is None:
        number = real(FUNCTION, name, value)
        return [number if KINDS[letter] == "space" else otherwise for letter in letters]
    space = [KINDS[letter] == "space" for letter in letters]
    if len(several) not in (len(letters), sum(space)):
        raise value_error(
            FUNCTION,
            f"must have one number for each of {counted(len(letters), 'axis', 'axes')}, or of {sum(space)} of space",
            argument=(name, value),
        )
    numbers = iter([real(FUNCTION, name, entry, argument=short_repr(value)) for entry in several])
    return [next(numbers) if len(several) == len(letters) or is_space else otherwise for is_space in space]


# ---------------------------------------------------------------------------------------------------------------------
# Reading again, for pictures

MOST_SHOWN = 1024
"""Elements of a plane on each axis that are shown; of more, every so many."""
LOUPE = 8
"""Elements of the level of the loupe that it shows on each axis."""


def shown_levels(store: str | os.PathLike[str]) -> list[ShownLevel]:
    """Read a plane of each level of an OME-Zarr image, in the middle of the others, to be drawn.

    Parameters
    ----------
    store : path
        The folder of the image, as `write_multiscales` writes it.

    Returns
    -------
    list of ShownLevel
        For each level its name and shape, and the plane in the middle of the other axes, whole and in part.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from pooling.zarr import shown_levels, write_multiscales
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_multiscales(np.zeros((64, 96), np.uint8), f"{folder}/image.zarr", axes="yx", levels=1)
    ...     [level.sizes for level in shown_levels(f"{folder}/image.zarr")]
    ['64×96', '32×48']
    """
    path = path_of("shown_levels", "store", store)
    if not path.exists():
        raise refused(FileNotFoundError, "shown_levels", f"there is no file or folder {str(path)!r}")
    group: Any = zarr.open_group(str(path), mode="r")
    attributes: dict[str, Any] = dict(group.attrs)
    image = attributes.get("ome", attributes)["multiscales"][0]
    letters = "".join(axis["name"] for axis in image["axes"])
    levels = []
    for dataset in image["datasets"]:
        scale, shift = (list(map(float, each[each["type"]])) for each in dataset["coordinateTransformations"])
        levels.append((dataset["path"], group[dataset["path"]], scale, shift))
    y, x = letters.index("y"), letters.index("x")
    _, original, scale, shift = levels[0]
    middle = [start + size * (length - 1) / 2 for start, size, length in zip(shift, scale, original.shape, strict=True)]

    def plane(array: Any, scale: list[float], shift: list[float], rows: slice, columns: slice) -> Plane:
        place: list[Any] = [
            min(max(round((at - start) / size), 0), length - 1)
            for at, start, size, length in zip(middle, shift, scale, array.shape, strict=True)
        ]
        place[y], place[x] = rows, columns
        elements = np.asarray(array[tuple(place)])
        return Plane(
            elements if y < x else elements.T,
            (scale[y] * (rows.step or 1), scale[x] * (columns.step or 1)),
            (shift[y] + scale[y] * rows.start, shift[x] + scale[x] * columns.start),
        )

    wholes = []
    for _, array, scale, shift in levels:
        every = [max(1, -(-array.shape[axis] // MOST_SHOWN)) for axis in (y, x)]
        parts = [slice(0, array.shape[axis], step) for axis, step in zip((y, x), every, strict=True)]
        wholes.append(plane(array, scale, shift, *parts))
    # The loupe lies where neighbours differ most, in a level that is small enough to look at.
    depth = max([n for n, each in enumerate(levels) if min(each[1].shape[y], each[1].shape[x]) >= LOUPE], default=0)
    centre = _most_varied(wholes[depth])
    half = [LOUPE / 2 * levels[min(depth, 3)][2][axis] for axis in (y, x)]
    shown = []
    for (path, array, scale, shift), overview in zip(levels, wholes, strict=True):
        parts = []
        for axis, at, reach in zip((y, x), centre, half, strict=True):
            start = math.floor((at - reach - shift[axis]) / scale[axis] + 0.5)
            stop = math.ceil((at + reach - shift[axis]) / scale[axis] + 0.5)
            length = array.shape[axis]
            start = min(max(start, 0), length - 1)
            parts.append(slice(start, max(min(stop, length), start + 1)))
        shown.append(
            ShownLevel(
                path,
                "×".join(map(str, array.shape)),
                ", ".join(f"{letter} {size:g}" for letter, size in zip(letters, scale, strict=True)),
                ", ".join(f"{letter} {start:g}" for letter, start in zip(letters, shift, strict=True)),
                overview,
                plane(array, scale, shift, *parts),
            )
        )
    return shown


def _most_varied(plane: Plane) -> tuple[float, float]:
    """Return where neighbours differ most."""
    elements = plane.elements
    found = np.zeros(elements.shape)
    for axis in (0, 1):
        before, behind = np.split(elements, [1], axis=axis)[1], np.delete(elements, -1, axis=axis)
        differs = np.abs(before.astype(np.float64) - behind.astype(np.float64))
        where = [slice(None)] * 2
        where[axis] = slice(1, None)
        found[tuple(where)] += np.where(np.isfinite(differs), differs, 0)
    row, column = np.unravel_index(int(found.argmax()), found.shape)
    return plane.first[0] + plane.step[0] * float(row), plane.first[1] + plane.step[1] * float(column)
