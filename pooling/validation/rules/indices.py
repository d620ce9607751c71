"""How indices of maxima count, and how unpooling reads them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..inputs.case import Case
from ..verdicts import Kind
from .evidence import Cell, Evidence, Setting
from .rule import EachCell, NoAnswer, Rule, Strength, WholeAnswer, onnx_text, torch_text
from .samples import OPSETS, Samples, distinct, positive, window


def _plane(it: Evidence, cell: Cell) -> int:
    return cell[0] * it.shape[1] + cell[1]


def _by_columns(it: Evidence) -> NDArray[np.int64]:
    """List the row-major positions of a plane's cells in column-major order."""
    return np.arange(math.prod(it.shape[2:])).reshape(it.shape[2:]).T.ravel()


def _is_tie(it: Evidence, cell: Cell, expected: float, actual: float) -> bool:
    """Whether the index names an equal of the right element, in the same window."""
    if it.verdict.output != 1 or it.has_nan(cell) or it.column_major:
        return False
    cells, elements = it.inside(cell), it.window(cell)
    place = int(actual) - _plane(it, cell) * math.prod(it.shape[2:])
    return place in cells and bool(elements[cells.index(place)] == elements.max())


def _ties(draw: Samples) -> Iterator[Case]:
    random = draw.random
    for opset in (8, 12, 22):
        for dimensions in (1, 2, 3):
            sizes = (1, 2, *[6 if dimensions < 3 else 4] * dimensions)
            threes = window(3, 1, dimensions)
            array = random.integers(-1, 2, sizes).astype(np.float32)
            yield draw.case("MaxPool", array, opset, "ties", outputs=2, **threes)
            yield draw.case("MaxPool", np.ones(sizes, np.float32), opset, "all equal", outputs=2, **threes)
        zeros = np.copysign(0.0, random.standard_normal((1, 1, 6, 6))).astype(np.float32)
        yield draw.case("MaxPool", zeros, opset, "zeros of either sign", outputs=2, **window(2))


FIRST_OF_TIES = Rule(
    "first-of-ties",
    "the index of the first of equals",
    "Among equal elements of a window the index is that of the first in row-major order; zeros of either sign are "
    "equal.",
    f"{torch_text('max_pool2d')}; ONNX is silent",
    samples=_ties,
    diagnose=(EachCell(_is_tie),),
    remedy="do not rely on which of equal elements an index names",
)


def _names_another(it: Evidence, cell: Cell, expected: int, actual: int) -> bool:
    """Whether the index, counted as the node asks for, names no element of the window."""
    if it.verdict.output != 1 or it.has_nan(cell):
        return False
    size = math.prod(it.shape[2:])
    place = actual - _plane(it, cell) * size
    if not 0 <= place < size:
        return True
    return (int(_by_columns(it)[place]) if it.column_major else place) not in it.inside(cell)


def _whole_tensor(draw: Samples) -> Iterator[Case]:
    ramp = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
    for opset in (8, 12, 22):
        yield draw.case("MaxPool", ramp, opset, "one window", outputs=2, kernel_shape=[3, 3])
        for dimensions in (1, 2, 3):
            for padded in (False, True):
                found = draw.geometry("MaxPool", opset, dimensions, padded=padded)
                array = distinct(draw.random, (2, 2, *found.shape[2:]))
                yield draw.case("MaxPool", array, opset, "all different", outputs=2, **found.attributes)


INDEX_CONVENTION = Rule(
    "index-convention",
    "indices count over the whole tensor",
    "Indices of MaxPool count the elements of the whole input (N, C, D1, ..., Dn) in row-major order, without padding.",
    onnx_text("MaxPool", 22),
    samples=_whole_tensor,
    applies=lambda it: it.indices and not it.column_major,
    diagnose=(EachCell(lambda it, *cell: not it.column_major and _names_another(it, *cell)),),
    remedy="export the pooling with its indices, which then come from other operators",
)


def _orders(it: Evidence) -> list[NDArray[np.int64]]:
    """Return, for each order in which the cells of a plane might be counted, the row-major place of each number.

    Axes in any order, and the mistake of reading such a number once more.
    """
    spatial = it.shape[2:]
    places = np.arange(math.prod(spatial)).reshape(spatial)
    orders = [places.transpose(axes).ravel() for axes in itertools.permutations(range(len(spatial)))]
    return [*orders, *(np.argsort(order) for order in orders)]


def _is_counted_otherwise(it: Evidence) -> bool:
    """Whether indices name the right elements, all together, if cells are counted in some other order."""
    if it.found is None or it.found.size != it.wanted.size:
        return False
    size = math.prod(it.shape[2:])
    wanted, found = (numbers.reshape(math.prod(it.shape[:2]), -1) for numbers in (it.wanted, it.found))
    planes = np.arange(len(wanted))[:, np.newaxis] * size
    wanted, found = wanted - planes, found - planes
    if not ((found >= 0) & (found < size)).all():
        return False
    right = np.sort(_by_columns(it)[wanted], axis=1)
    return any(np.array_equal(right, np.sort(order[found], axis=1)) for order in _orders(it))


def _column_major(draw: Samples) -> Iterator[Case]:
    def tells_orders_apart(setting: Setting) -> bool:
        """Whether both orders of counting differ: more than one axis has more than one cell."""
        return setting.dimensions == 1 or sum(size > 1 for size in setting.shape[2:]) > 1

    for opset in (8, 12, 22):
        ones = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
        yield draw.case("MaxPool", ones, opset, "0 to 5", outputs=2, kernel_shape=[1, 1], storage_order=1)
        for dimensions in (1, 2, 2, 3, 3):
            found = draw.geometry("MaxPool", opset, dimensions, tells_orders_apart)
            array = distinct(draw.random, (2, 2, *found.shape[2:]))
            yield draw.case("MaxPool", array, opset, "all different", outputs=2, storage_order=1, **found.attributes)


COLUMN_MAJOR_INDICES = Rule(
    "column-major-indices",
    "storage_order=1 counts columns first",
    "With storage_order=1 indices count the cells of a plane in column-major order, h + w * H, behind the planes "
    "before it.",
    onnx_text("MaxPool", 22),
    samples=_column_major,
    applies=lambda it: it.indices and it.column_major,
    diagnose=(
        WholeAnswer(
            lambda it: (
                it.verdict.output == 1
                and it.column_major
                and (it.verdict.kind is Kind.SHAPE or _is_counted_otherwise(it))
            )
        ),
        EachCell(lambda it, *cell: it.column_major and _names_another(it, *cell)),
    ),
    remedy="write storage_order=0, and convert the indices where they are read",
)


def _puts_elsewhere(it: Evidence) -> bool:
    """Whether unpooling put the elements elsewhere, and gave no others."""
    if it.operator != "MaxUnpool":
        return False
    return it.found is None or bool(np.isin(it.found[it.found != 0], it.case.array).all())


def unpooling(draw: Samples, opset: int, shape: tuple[int, ...], restored: tuple[int, ...] | None = None) -> Case:
    """Undo a max pooling of windows of 2 cells side by side; `restored` says the shape of what was pooled."""
    dimensions = len(shape) - 2
    pooled = shape[:2] + tuple(size // 2 for size in shape[2:])
    whole = restored or shape
    indices = np.empty(pooled, np.int64)
    for cell in np.ndindex(pooled):
        place = [2 * at + int(draw.random.integers(2)) for at in cell[2:]]
        indices[cell] = np.ravel_multi_index((*cell[:2], *place), whole)
    inputs = [positive(draw.random, pooled), indices]
    if restored is not None:
        inputs.append(np.array(restored, np.int64))
    about = "indices of a max pooling" if restored is None else "output_shape with a row more"
    return draw.case("MaxUnpool", inputs, opset, about, **window(2, dimensions=dimensions))


def _unpooled(draw: Samples) -> Iterator[Case]:
    for opset in OPSETS["MaxUnpool"]:
        for dimensions in (1, 2, 3):
            yield unpooling(draw, opset, (2, 2, *[4] * dimensions))
        yield unpooling(draw, opset, (1, 1, 4, 4), (1, 1, 5, 5))
        yield unpooling(draw, opset, (2, 2, 4, 4), (2, 2, 5, 5))


UNPOOL_INDICES = Rule(
    "unpool-indices",
    "unpooling reads the indices of max pooling",
    "MaxUnpool reads indices over the whole tensor, as MaxPool writes them, and counts them in output_shape where "
    "it is given.",
    onnx_text("MaxUnpool", 22),
    samples=_unpooled,
    applies=lambda it: it.operator == "MaxUnpool",
    diagnose=(
        NoAnswer(lambda it: it.operator == "MaxUnpool" and it.says("index|output_shape|inputs")),
        WholeAnswer(_puts_elsewhere, Strength.GENERAL),
    ),
    remedy="export the unpooling, which then is a ScatterElements",
)
