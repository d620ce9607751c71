"""A case drawn as grids of numbers: what was pooled, what should come out, and what came out.

The element that differs is marked in the results, and in the input the window that it reads, padding included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.geometry import Axis

from ..inputs.case import GRADIENT, Case
from ..reduce import axes_of
from ..runners.results import Result
from ..verdicts import Kind, Verdict

__all__ = ["Cell", "Grid", "Picture", "Place", "draw", "number", "sketch"]

Array = NDArray[Any]
MOST_CELLS = 12
"""Rows and columns of a grid at most; of longer axes the part around the window is drawn."""
MOST_SLICES = 3
"""Planes of a volume at most."""
SHORT = (1e-4, 1e7)
"""Numbers in between are written without an exponent."""
LONGEST = 9
"""Characters of a number in a grid."""


class Place(StrEnum):
    """Where a cell lies."""

    INSIDE = "inside"
    PADDING = "padding"
    BEYOND = "beyond"
    """Behind the declared padding: only windows of ``ceil_mode`` reach so far."""


@dataclass(frozen=True)
class Cell:
    """One cell of a grid."""

    text: str
    """Its number, cut to what a grid has room for; empty outside of the array."""
    exact: str
    """The number in full."""
    place: Place = Place.INSIDE
    """Where the cell lies."""
    read: bool = False
    """Whether the window that is marked reads it."""
    differs: bool = False
    """Whether it is not what the other grid has."""
    named: str = ""
    """Whose index names the cell: ``"expected"``, ``"actual"`` or both, with a space in between."""


@dataclass(frozen=True)
class Grid:
    """A plane of an array, or a part of it."""

    title: str
    """Which array it is, and what is left out: ``"x, plane (0, 0) of (1, 3), rows 3 to 14 of 20"``."""
    rows: range
    columns: range
    """The cells that are drawn; negative numbers are padding."""
    cells: tuple[tuple[Cell, ...], ...]
    """Row by row."""


@dataclass(frozen=True)
class Picture:
    """A case as grids."""

    input: tuple[Grid, ...]
    expected: tuple[Grid, ...]
    actual: tuple[Grid, ...]
    """One for each slice of a volume, one in all for anything else; empty where there is nothing to draw."""
    window: str
    """What the window that is marked reads, in a sentence; empty where none is."""


def draw(case: Case, expected: Result, actual: Result, verdict: Verdict) -> Picture:
    """Draw a case around its first element that differs; one of a gradient with the gradient of the result as input.

    Parameters
    ----------
    case : Case
        The node and its numbers.
    expected, actual : Result
        What should come out, and what did.
    verdict : Verdict
        How they differ.

    Returns
    -------
    Picture
    """
    # A gradient comes from no window of the input.
    name, pooled = (str(case.node.input[0]), case.array) if case.gradient is None else (GRADIENT, case.gradient)
    wanted, found = (_output(answer, verdict.output) for answer in (expected, actual))
    where = verdict.where if verdict.where is not None else _first_in_one_only(wanted, found)
    axes = axes_of(case) if case.gradient is None else None
    placed = axes is not None and len(where) == pooled.ndim
    windows = tuple(axis.window(cell) for axis, cell in zip(axes, where[2:], strict=True)) if axes and placed else ()
    named = _named(case, pooled, wanted, found, where) if verdict.kind is Kind.INDEX else {}
    plane = where[:2] if len(where) > 2 else (0, 0)
    return Picture(
        tuple(_input_grids(name, pooled, plane, axes, windows, named)),
        tuple(_output_grids(wanted, found, where, "expected")),
        tuple(_output_grids(found, wanted, where, "actual")),
        _sentence(where, axes, windows) if axes and windows else "",
    )


def sketch(picture: Picture) -> str:
    """Write a picture as text: in brackets what the window reads, in parentheses what differs.

    Padding is a dot, and what lies behind the declared padding a tilde.

    Parameters
    ----------
    picture : Picture
        What `draw` gives.

    Returns
    -------
    str
        Lines, with the grids side by side.
    """
    blocks = []
    for role, grids in (("input", picture.input), ("expected", picture.expected), ("actual", picture.actual)):
        for grid in grids:
            rows = [[_signed(cell, role) for cell in row] for row in grid.cells]
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            lines = [" ".join(map(str.rjust, row, widths)) for row in rows]
            blocks.append([f"{role}{''.join(grid.title.partition(',')[1:])}", *lines])
    wide = [max(map(len, block)) for block in blocks]
    lines = ["   ".join(map(str.ljust, line, wide)).rstrip() for line in zip_longest(*blocks, fillvalue="")]
    return "\n".join(lines)


def _signed(cell: Cell, role: str) -> str:
    text = {Place.INSIDE: cell.text, Place.PADDING: ".", Place.BEYOND: "~"}[cell.place]
    if role == "input":
        return f"[{text}]" if cell.read else f" {text} "
    return f"({text})" if cell.differs else f" {text} "


def number(value: Any) -> str:
    """Write a number in full, without the noise: ``4``, ``0.1``, ``nan``, ``-3.4028235e+38``."""
    scalar: Any = np.asarray(value)
    if scalar.dtype.kind not in "f":
        # bfloat16 is of no kind that NumPy has.
        return str(value) if scalar.dtype.kind in "biu" else f"{float(value):g}"
    if float(scalar).is_integer() and abs(float(scalar)) < SHORT[1] and (scalar or not np.signbit(scalar)):
        return str(int(scalar))
    short = SHORT[0] <= abs(float(scalar)) < SHORT[1] or scalar == 0
    return np.format_float_positional(scalar[()], trim="-") if short else str(scalar[()])


def _brief(value: Any) -> str:
    text = number(value)
    return text if len(text) <= LONGEST else f"{float(value):.3g}"


def _output(answer: Result, which: int) -> Array | None:
    return np.asarray(answer.outputs[which]) if which < len(answer.outputs) else None


def _first_in_one_only(wanted: Array | None, found: Array | None) -> tuple[int, ...]:
    """Return the first element that only one of two arrays of different shapes has; nothing where ranks differ."""
    if wanted is None or found is None or wanted.ndim != found.ndim or wanted.shape == found.shape:
        return ()
    if 0 in (*wanted.shape[:2], *found.shape[:2]):
        return ()
    sizes = list(zip(wanted.shape, found.shape, strict=True))
    # One step is enough to leave the other array; a second one might leave both.
    larger = wanted.shape if any(mine > other for mine, other in sizes) else found.shape
    first = next(axis for axis, pair in enumerate(sizes) if larger[axis] > min(pair))
    return tuple(min(pair) if axis == first else 0 for axis, pair in enumerate(sizes))


def _named(
    case: Case, pooled: Array, wanted: Array | None, found: Array | None, where: tuple[int, ...]
) -> dict[tuple[int, ...], str]:
    """Return which cells of the input the two indices name."""
    column_major = any(entry.name == "storage_order" and entry.i for entry in case.node.attribute)
    cells: dict[tuple[int, ...], str] = {}
    for array, whose in ((wanted, "expected"), (found, "actual")):
        index = -1 if array is None else int(array[where])
        if 0 <= index < pooled.size:
            plane, cell = divmod(index, int(np.prod(pooled.shape[2:])))
            channels = np.unravel_index(plane, pooled.shape[:2])
            spatial = np.unravel_index(cell, pooled.shape[2:], order="F" if column_major else "C")
            place = tuple(int(part) for part in (*channels, *spatial))
            cells[place] = f"{cells[place]} {whose}" if place in cells else whose
    return cells


# ---------------------------------------------------------------------------------------------------------------------
# Grids


def _input_grids(
    name: str,
    array: Array,
    plane: tuple[int, ...],
    axes: Sequence[Axis] | None,
    windows: Sequence[range],
    named: dict[tuple[int, ...], str],
) -> Iterator[Grid]:
    spans = []
    spatial = array.shape[2:] if array.ndim > 2 else array.shape
    for position, size in enumerate(spatial):
        begin, end = 0, size
        if axes is not None:
            begin, end = -axes[position].pad_begin, size + axes[position].pad_end
        focus = range(begin, end)
        if windows:
            focus = windows[position]
            begin, end = min(begin, focus[0]), max(end, focus[-1] + 1)
        spans.append(_shown(range(begin, end), focus))

    def cell(index: tuple[int, ...]) -> Cell:
        read = bool(windows) and all(part in window for part, window in zip(index, windows, strict=True))
        if all(0 <= part < size for part, size in zip(index, spatial, strict=True)):
            whole = (*plane, *index) if array.ndim > 2 else index
            value = array[whole]
            return Cell(_brief(value), number(value), read=read, named=named.get(whole, ""))
        declared = axes is not None and all(
            -axis.pad_begin <= part < axis.input_size + axis.pad_end for axis, part in zip(axes, index, strict=True)
        )
        return Cell("", "", Place.PADDING if declared else Place.BEYOND, read)

    yield from _grids(name, array, plane, spans, cell)


def _output_grids(array: Array | None, other: Array | None, where: tuple[int, ...], title: str) -> Iterator[Grid]:
    if array is None:
        return
    plane = where[:2] if len(where) > 2 else (0, 0)
    spatial = array.shape[2:] if array.ndim > 2 else array.shape
    focus = where[2:] if len(where) > 2 else where
    spans = [
        _shown(range(size), range(focus[axis], focus[axis] + 1) if axis < len(focus) else range(size))
        for axis, size in enumerate(spatial)
    ]

    def cell(index: tuple[int, ...]) -> Cell:
        whole = (*plane, *index) if array.ndim > 2 else index
        value = array[whole]
        inside = other is not None and other.ndim == array.ndim
        inside = inside and all(part < size for part, size in zip(whole, other.shape, strict=True))  # type: ignore[union-attr]
        same_shape = other is not None and other.shape == array.shape
        # Of arrays of two shapes only what one of them lacks is marked; the elements are others anyway.
        differs = whole == where if same_shape else not inside
        return Cell(_brief(value), number(value), read=whole == where, differs=differs)

    yield from _grids(title, array, plane, spans, cell)


def _grids(title: str, array: Array, plane: tuple[int, ...], spans: Sequence[range], cell: Any) -> Iterator[Grid]:
    """Yield the plane, or the slices of a volume."""
    if array.ndim > 2 and any(part >= size for part, size in zip(plane, array.shape, strict=False)):
        return
    spatial = array.shape[2:] if array.ndim > 2 else array.shape
    parts = [title]
    if array.ndim > 2 and array.shape[0] * array.shape[1] > 1:
        parts.append(f"plane {plane} of {array.shape[:2]}")
    names = {1: ("columns",), 2: ("rows", "columns")}.get(min(len(spatial), 2), ())
    *outer, rows, columns = (range(1), range(1), *spans)[-max(len(spans), 2) :]
    for axis_name, span, size in zip(names, spans[-2:], spatial[-2:], strict=False):
        if len(span) == MOST_CELLS < size:
            parts.append(f"{axis_name} {span[0]} to {span[-1]} of {size}")
    flat = len(spans) < 2
    slices: Iterator[tuple[int, ...]] = iter([()])
    if len(outer) == 1:
        slices = ((depth,) for depth in outer[0])
    for before in islice(slices, MOST_SLICES):
        cells = tuple(tuple(cell((column,) if flat else (*before, row, column)) for column in columns) for row in rows)
        yield Grid(", ".join([*parts, *(f"depth {part}" for part in before)]), rows, columns, cells)


def _shown(span: range, focus: range) -> range:
    """Return a part of a long span that holds as much of the focus as there is room for."""
    # Strides may be so large that not even the lengths of these ranges fit 64 bits.
    if span.stop - span.start <= MOST_CELLS:
        return span
    middle = (focus.start + focus.stop) // 2 if focus else span.start
    if focus.stop - focus.start >= MOST_CELLS:
        middle = focus.start + MOST_CELLS // 2
    begin = min(max(middle - MOST_CELLS // 2, span.start), span.stop - MOST_CELLS)
    return range(begin, begin + MOST_CELLS)


def _sentence(where: tuple[int, ...], axes: Sequence[Axis], windows: Sequence[range]) -> str:
    names = {1: ("cell",), 2: ("row", "column"), 3: ("slice", "row", "column")}[len(axes)]
    parts = []
    for axis, window, name in zip(axes, windows, names, strict=True):
        part = _span(name, window[0], window[-1])
        if axis.dilation > 1 and len(window) > 1:
            part += f" in steps of {axis.dilation}"
        if window[0] < 0 or window[-1] >= axis.input_size:
            part += f" (the input has {_span(name, 0, axis.input_size - 1)})"
        parts.append(part)
    return f"Element {where} is computed from {', '.join(parts[:-1])}{' and ' * (len(parts) > 1)}{parts[-1]}."


def _span(name: str, first: int, last: int) -> str:
    return f"{name} {first}" if first == last else f"{name}s {first} to {last}"
