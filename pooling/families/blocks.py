"""Blocks that do not overlap, of arrays of any axes: means, sums, extremes, medians, modes and others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import threads_for
from ..annotations import AnyArray, Rounding
from ..arguments import INT64_MAX, dtype_of, flag, names_checked, nearest_word, real, sequence, whole, word
from ..arrays import as_array, dtype_name, in_default_mode, is_masked, result_array, rounded
from ..dispatch import kernels
from ..errors import type_error, value_error
from ..geometry import block_count
from ..maps import warn_of_colours
from ..operators import BLOCK_REDUCTIONS, BOOL, FLOATS, INTEGERS, BlockReduction
from ..signs import counted, short_repr

__all__ = ["block_reduce", "block_reduce_backward"]

Edge = Literal["partial", "trim", "error"]
Reduction = Literal["mean", "sum", "min", "max", "range", "median", "mode", "rms", "std", "var", "first", "count"]

MOST_AXES = 6
MOST_ELEMENTS = 2**31 - 1
"""Of a block: so many are counted in 32 bits."""
LARGEST_BLOCK = 2**40
"""On an axis, and more than any array has."""
SPATIAL_LETTERS = "DHWLZYX"
OTHER_LETTERS = "NBCT"
"""Letters of layouts: axes that blocks have a size on, and those that are kept."""
WORDS_OF_LAYOUTS = {
    "CHANNELS_FIRST": {3: "CHW", 4: "NCHW", 5: "NCDHW"},
    "CHANNELS_LAST": {3: "HWC", 4: "NHWC", 5: "NDHWC"},
}
"""The letters that are meant, by the number of axes."""
GRADIENT_CELLS = 1 << 20
"""Elements whose gradients are made together, at least where a block has no more."""
EDGES = ("partial", "trim", "error")
ROUNDINGS = ("half_even", "half_up", "floor", "trunc")


# ---------------------------------------------------------------------------------------------------------------------
# Arguments


def reduction_named(function: str, func: Any) -> BlockReduction:
    """Return the row of the table."""
    if callable(func):
        # As scikit-image and astropy have it.
        called = str(getattr(func, "__name__", ""))
        name = called.removeprefix("nan")
        name = {"amax": "max", "amin": "min", "average": "mean", "ptp": "range"}.get(name, name)
        leaving_out = ", of floats with nodata=numpy.nan" if called.startswith("nan") else ""
        remedy = (
            f"write func={name!r}{leaving_out}"
            if name in BLOCK_REDUCTIONS
            else f"use one of {', '.join(BLOCK_REDUCTIONS)}"
        )
        raise type_error(function, "must be a word, not a function", remedy, argument=("func", func))
    return BLOCK_REDUCTIONS[word(function, "func", func, tuple(BLOCK_REDUCTIONS))]


def is_for_all_axes(value: Any) -> bool:
    """Whether sizes of blocks are one for all axes, and not one for each."""
    several = sequence(value)
    return several is None or (len(several) == 1 and sequence(several[0]) is None)


def block_sizes(function: str, name: str, value: Any, rank: int, axes: Sequence[int] | None = None) -> tuple[int, ...]:
    """Return a size for every axis of an array: one for all of `axes`, or one for each of them, and 1 for the others.

    A sequence may also have an entry for every axis of the array.
    """
    chosen = range(rank) if axes is None else axes
    several = sequence(value)
    found = [value] if several is None else several
    if len(found) not in (1, len(chosen), rank):
        each = "axis" if axes is None else "spatial axis"
        raise value_error(
            function,
            f"must have one entry per {each}, {len(chosen)} and not {len(found)}",
            f"give one integer for all axes or {len(chosen)} of them",
            argument=(name, value),
        )
    sizes = []
    for entry in found:
        size = whole(entry)
        if size is None:
            raise type_error(
                function,
                f"must be an integer or one integer per axis, not {type(entry).__name__}",
                "write it with whole numbers",
                argument=(name, value),
            )
        if not 1 <= size <= INT64_MAX:
            bound = "at least 1" if size < 1 else "at most 2**63 - 1"
            raise value_error(
                function, f"must be {bound}, not {short_repr(size)}", "1 keeps an axis as it is", argument=(name, value)
            )
        sizes.append(size)
    if len(sizes) == rank and several is not None and len(sizes) != len(chosen):
        return tuple(sizes)
    spread = sizes * len(chosen) if len(sizes) == 1 else sizes
    result = [1] * rank
    for axis, size in zip(chosen, spread, strict=True):
        result[axis] = size
    return tuple(result)


def axes_of_layout(function: str, layout: Any, rank: int) -> tuple[int, ...] | None:
    """Return the axes that a layout such as ``"HWC"`` calls spatial; None without one."""
    if layout is None:
        return None
    if not isinstance(layout, str):
        raise type_error(
            function,
            f"must be a word such as 'HWC', not {type(layout).__name__}",
            "write one letter per axis, or give block_size one entry per axis and no layout",
            argument=("layout", layout),
        )
    letters = str.__str__(layout).upper()
    if letters in WORDS_OF_LAYOUTS and rank in WORDS_OF_LAYOUTS[letters]:
        letters = WORDS_OF_LAYOUTS[letters][rank]
    unknown = [letter for letter in letters if letter not in SPATIAL_LETTERS + OTHER_LETTERS]
    if unknown or len(set(letters)) != len(letters) or not letters:
        meant = nearest_word(str.__str__(layout), ("channels_first", "channels_last")).upper()
        raise value_error(
            function,
            f"must have one letter per axis, each once: {', '.join(SPATIAL_LETTERS)} for axes of blocks, "
            f"{', '.join(OTHER_LETTERS)} for others",
            f"use {', '.join(map(repr, WORDS_OF_LAYOUTS[meant].values()))}"
            if meant in WORDS_OF_LAYOUTS
            else "for a colour image use 'HWC'",
            argument=("layout", layout),
        )
    if len(letters) != rank:
        raise value_error(
            function,
            f"names {counted(len(letters), 'axis', 'axes')} of an array of {rank}",
            "write one letter per axis",
            argument=("layout", layout),
        )
    return tuple(i for i, letter in enumerate(letters) if letter in SPATIAL_LETTERS)


def nodata_number(function: str, nodata: Any, dtype: np.dtype[Any]) -> int | float | None:
    """Return `nodata` as an array of this dtype holds it."""
    if nodata is None:
        return None
    if isinstance(nodata, np.ndarray) and nodata.ndim == 0:
        nodata = nodata[()]
    floats = dtype_name(dtype) in FLOATS
    if isinstance(nodata, (bool, np.bool_)) and dtype == np.bool_:
        return int(nodata)
    number: int | float | None = whole(nodata)
    if number is None:
        if floats and isinstance(nodata, np.generic) and dtype_name(nodata.dtype) in FLOATS:
            nodata = float(nodata)  # a scalar of half precision
        number = real(function, "nodata", nodata, "a number or NaN")
    if floats:
        with np.errstate(over="ignore"):
            huge = isinstance(number, int) and abs(number) >= 2**1023
            held = float(np.array(math.inf if huge else float(number)).astype(dtype))
        if math.isinf(held) and not (isinstance(number, float) and math.isinf(number)):
            raise value_error(
                function,
                f"is beyond the numbers of {dtype.name}",
                "use NaN, or a number that the array can hold",
                argument=("nodata", nodata),
            )
        return held
    least, most = (0, 1) if dtype == np.bool_ else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    if not least <= number <= most or int(number) != number:
        raise value_error(
            function,
            f"is no number of {dtype.name}, which holds the integers from {least} to {most}",
            "no element can be equal to it; leave it out, or convert the array",
            argument=("nodata", nodata),
        )
    return int(number)


def result_dtype(function: str, reduction: BlockReduction, dtype: np.dtype[Any], weighted: bool, wanted: Any) -> Any:
    """Return the dtype of the result, which `wanted` may say for what need not be an integer."""
    floats, bools = dtype_name(dtype) in FLOATS, dtype == np.bool_
    unsigned = bools or dtype.kind == "u"
    natural: Any = dtype
    if reduction.result == "count":
        natural = np.dtype(np.int64)
    elif reduction.result == "sum" and not floats:
        natural = np.dtype(np.float64 if weighted else np.uint64 if unsigned and not bools else np.int64)
    elif (reduction.result == "real" and not floats) or (reduction.result == "mean" and bools):
        natural = np.dtype(np.float64)
    elif reduction.result == "range" and dtype.kind == "i":
        natural = np.dtype(f"int{min(64, 16 * dtype.itemsize)}")
    if wanted is None:
        return natural
    chosen = dtype_of(wanted)
    if chosen is None:
        raise type_error(function, "must be a dtype", "use numpy.float32 or numpy.float64", argument=("dtype", wanted))
    if chosen == natural:
        return natural
    if reduction.result not in ("mean", "real") or floats or chosen.name not in ("float32", "float64"):
        offered = "" if reduction.result not in ("mean", "real") or floats else ", or float32 or float64"
        raise value_error(
            function,
            f"cannot be had: {reduction.name} of {dtype.name} gives {natural.name}{offered}",
            "leave it out, or convert the array or the result",
            argument=("dtype", chosen.name),
        )
    return chosen


@dataclass(frozen=True)
class Blocks:
    """A checked call of `block_reduce`: what is reduced, and how."""

    function: str
    reduction: BlockReduction
    array: AnyArray
    """Any strides."""
    sizes: tuple[int, ...]
    """Elements of a block on each axis, which may be more than the array has."""
    outputs: tuple[int, ...]
    """Blocks on each axis."""
    masked: bool
    """Whether the array is a masked one, so that a block can be masked as well."""
    mask: AnyArray | None
    """Where it is True an element is left out."""
    weights: AnyArray | None
    """float64, or None."""
    nodata: int | float | None
    min_valid: float
    rounding: str
    dtype: np.dtype[Any]
    """Of the result."""

    @property
    def leaves_out(self) -> bool:
        """Whether elements may be missing from a block."""
        return self.nodata is not None or self.mask is not None or self.weights is not None


def checked_array(function: str, array: Any) -> tuple[AnyArray, AnyArray | None]:
    """Return an array and the mask of a masked one."""
    mask = None
    if is_masked(array):
        found = np.ma.getmask(array)
        mask = None if found is np.ma.nomask else np.asarray(found)
        array = np.asarray(array.data)
    array = as_array(function, "array", array, FLOATS + INTEGERS + BOOL)
    if not 1 <= array.ndim <= MOST_AXES:
        raise value_error(
            function,
            f"array has {counted(array.ndim, 'axis', 'axes')}, and must have 1 to {MOST_AXES}",
            "reshape it",
        )
    if not array.flags.aligned or not array.dtype.isnative:
        array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    return array, mask


@lru_cache(256)
def outputs_of(function: str, shape: tuple[int, ...], sizes: tuple[int, ...], edge: str) -> tuple[int, ...]:
    """Return how many blocks there are on each axis."""
    found = []
    for axis, (size, block) in enumerate(zip(shape, sizes, strict=True)):
        whole_blocks, rest = divmod(size, block)
        if rest and edge == "error":
            raise value_error(
                function,
                f"edge='error' and axis {axis} of {counted(size, 'element')} is not divided by blocks of {block}",
                "use edge='partial' to reduce what is there, or edge='trim' to drop it",
            )
        if edge == "trim" and size and not whole_blocks:
            raise value_error(
                function,
                f"edge='trim' leaves nothing of axis {axis}: it has {counted(size, 'element')}, a block {block}",
                "use edge='partial', or a smaller block",
            )
        found.append(block_count(size, block, edge))
    return tuple(found)


def weights_of(function: str, reduction: BlockReduction, weights: Any, shape: tuple[int, ...]) -> AnyArray:
    """Return weights as an array of the shape of what they weigh; its elements are not looked at."""
    if not reduction.weighted:
        taking = ", ".join(name for name, row in BLOCK_REDUCTIONS.items() if row.weighted)
        raise value_error(function, f"func={reduction.name!r} takes no weights", f"leave them out, or use {taking}")
    if is_masked(weights):
        weights = weights.filled(0)
    found = as_array(function, "weights", weights, FLOATS + INTEGERS + BOOL)
    if found.shape != shape:
        raise value_error(
            function,
            f"weights has shape {found.shape}, the array {shape}",
            "give one weight for each element, as by numpy.broadcast_to",
        )
    return found


def checked_weights(function: str, reduction: BlockReduction, weights: Any, shape: tuple[int, ...]) -> AnyArray | None:
    """Return weights as float64."""
    if weights is None:
        return None
    found = weights_of(function, reduction, weights, shape)
    # Weights of one row that holds for all are one row here too.
    found = found[tuple(slice(0, 1) if step == 0 else slice(None) for step in found.strides)]
    if found.dtype != np.float64 or not found.dtype.isnative or not found.flags.aligned:
        found = found.astype(np.float64)
    if found.size:
        least = found.min()
        if not least >= 0 or math.isinf(float(found.max())):
            bad = "NaN" if least != least or found.max() != found.max() else "infinity"
            bad = f"{float(least)}" if least < 0 else bad
            raise value_error(function, f"weights has {bad}, and must have finite numbers of at least 0")
    return np.broadcast_to(found, shape)


def checked_share(function: str, value: Any) -> float:
    """Return the least valid share of a block."""
    share = real(function, "min_valid", value)
    if not 0 <= share <= 1:
        raise value_error(function, "must be a share from 0 to 1", argument=("min_valid", value))
    return share


def prepared(
    function: str,
    array: Any,
    block_size: Any,
    func: Any,
    *,
    edge: Any = "partial",
    nodata: Any = None,
    weights: Any = None,
    min_valid: Any = 0.0,
    rounding: Any = "half_even",
    dtype: Any = None,
    layout: Any = None,
) -> Blocks:
    """Check the arguments of `block_reduce`."""
    elements, mask = checked_array(function, array)
    reduction = reduction_named(function, func)
    axes = axes_of_layout(function, layout, elements.ndim)
    sizes = block_sizes(function, "block_size", block_size, elements.ndim, axes)
    edge = word(function, "edge", edge, EDGES)
    number = nodata_number(function, nodata, elements.dtype)
    share = checked_share(function, min_valid)
    rounds = word(function, "rounding", rounding, ROUNDINGS)
    weighing = checked_weights(function, reduction, weights, elements.shape)
    kind = result_dtype(function, reduction, elements.dtype, weighing is not None, dtype)
    if share and number is None and mask is None and weighing is None:
        share = 0.0
    masked = is_masked(array)
    nothing = (0,) * elements.ndim
    call = Blocks(function, reduction, elements, nothing, nothing, masked, mask, weighing, number, share, rounds, kind)
    return with_blocks(call, sizes, edge, block_size)


def with_blocks(call: Blocks, sizes: tuple[int, ...], edge: str, written: Any) -> Blocks:
    """Return a call with blocks of other sizes, which were `written` as they are."""
    shape = call.array.shape
    outputs = outputs_of(call.function, shape, sizes, edge)
    most = call.array.size
    if not 0 < most <= MOST_ELEMENTS:
        most = math.prod(min(block, max(size, 1)) for block, size in zip(sizes, shape, strict=True))
    if most > MOST_ELEMENTS:
        raise value_error(
            call.function,
            f"a block has {most} elements, and may have at most 2**31 - 1",
            "reduce in two steps",
            argument=("block_size", written),
        )
    # A block that is larger than the array is one all the same, and the order of its sum that of its size.
    if max(sizes) > LARGEST_BLOCK:
        sizes = tuple(min(block, LARGEST_BLOCK) for block in sizes)
    # `replace` takes longer than the level of a small pyramid.
    return Blocks(
        call.function, call.reduction, call.array, sizes, outputs, call.masked, call.mask, call.weights, call.nodata,
        call.min_valid, call.rounding, call.dtype,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Forward


def reduced(call: Blocks, result: AnyArray, valid: AnyArray | None) -> None:
    """Reduce into arrays of the right shape."""
    if result.size == 0:
        return
    name = call.reduction.name
    if valid is not None and not call.leaves_out:
        valid[...] = 1
    if name == "range":
        _reduce_range(call, result, valid)
    elif not call.leaves_out and name == "count":
        result[...] = 1
        for axis, extents in enumerate(extents_of(call.array.shape, call.sizes, call.outputs)):
            result *= extents.reshape([-1 if i == axis else 1 for i in range(result.ndim)])
    elif not call.leaves_out and name == "first":
        result[...] = call.array[tuple(slice(0, n * b, b) for n, b in zip(call.outputs, call.sizes, strict=True))]
    else:
        stages = stages_of(call.sizes) if sums_are_real(call) else [cut(call)]
        if name in ("rms", "std", "var"):
            # The axis that is added up last is that of the block, also where the array has one element there.
            stages = [tuple(max(each, min(block, 2)) for each, block in zip(stages[0], call.sizes, strict=True))]
        levels = [
            Level(stage, result, valid) if i == len(stages) - 1 else Level(stage) for i, stage in enumerate(stages)
        ]
        run(call, levels)


def cut(call: Blocks) -> tuple[int, ...]:
    """Return sizes of blocks that are no larger than the array."""
    return tuple(min(block, size) for block, size in zip(call.sizes, call.array.shape, strict=True))


def extents_of(shape: Sequence[int], sizes: Sequence[int], outputs: Sequence[int]) -> list[NDArray[np.int64]]:
    """Return for each axis how many elements each block has on it."""
    found = []
    for size, block, count in zip(shape, sizes, outputs, strict=True):
        extents = np.full(count, block, np.int64)
        if count and count * block > size:
            extents[-1] = size - (count - 1) * block
        found.append(extents)
    return found


def _reduce_range(call: Blocks, result: AnyArray, valid: AnyArray | None) -> None:
    """Reduce to the greatest less the smallest."""
    shares = np.empty(call.outputs) if valid is None and call.leaves_out else valid
    dtype = call.array.dtype
    high, low = np.empty(call.outputs, dtype), np.empty(call.outputs, dtype)
    reduced(replace(call, reduction=BLOCK_REDUCTIONS["max"], dtype=dtype), high, shares)
    reduced(replace(call, reduction=BLOCK_REDUCTIONS["min"], dtype=dtype), low, None)
    subtract(call, high, low, result, shares if call.leaves_out else None)


def subtract(call: Blocks, high: AnyArray, low: AnyArray, result: AnyArray, valid: AnyArray | None) -> None:
    """Store differences; `valid` says where there are any."""
    if result.dtype == np.bool_:
        np.logical_xor(high, low, out=result)
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            np.subtract(high, low, out=result, dtype=result.dtype, casting="unsafe")
    missing = None if valid is None else (valid < call.min_valid) | (valid == 0)
    if call.array.dtype == np.int64:
        wrong = result < 0 if missing is None else (result < 0) & ~missing
        if wrong.any():
            raise _does_not_fit(call, int(np.argmax(wrong)))
    if missing is not None and missing.any():
        fill = filling(call)
        assert fill is not None
        result[missing] = np.frombuffer(fill, result.dtype)[0]


# ---------------------------------------------------------------------------------------------------------------------
# What kernels are told


class Level(NamedTuple):
    """One stage: cells that a cell of it joins on each axis, and where its results go."""

    factors: tuple[int, ...]
    result: AnyArray | None = None
    valid: AnyArray | None = None


class Carried(NamedTuple):
    """Sums of the last stage, to go on from."""

    sums: AnyArray
    kind: str
    counts: AnyArray | None
    blocks: tuple[int, ...]
    """Original elements of each."""


MOST_STAGED = 1 << 16
"""On an axis: a block is divided into stages while their cells have no more elements."""
MOST_INNER = 16
"""Values of a cell (channels) that rows keep beside one another."""


def sums_are_real(call: Blocks) -> bool:
    """Whether sums are float64, so that their order is part of the result."""
    return call.reduction.levels == "sums" and (dtype_name(call.array.dtype) in FLOATS or call.weights is not None)


def stages_of(sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """Divide blocks into the stages in which sums of floats are made: by the prime factors of their sizes.

    Smaller factors come first, and axes with fewer factors than others begin later.
    """
    factors = [_factors(size) for size in sizes]
    count = max(1, *map(len, factors))
    return list(zip(*([1] * (count - len(each)) + each for each in factors), strict=True))


@lru_cache(256)
def _factors(size: int) -> list[int]:
    if size > MOST_ELEMENTS:
        # No array has so many; and no prime factor is looked for beyond 2**16.
        return [*[2] * 16, -(-size // MOST_STAGED)]
    found: list[int] = []
    factor, product = 2, 1
    while size > 1:
        if factor * factor > size:
            factor = size
        if size % factor:
            factor += 1
            continue
        if product * factor > MOST_STAGED:
            return [*found, size]
        found.append(factor)
        product *= factor
        size //= factor
    return found


def last_axis(sizes: Sequence[int]) -> int:
    """Return the last axis on which blocks have more than one element, or the last one."""
    return next((axis for axis in reversed(range(len(sizes))) if sizes[axis] > 1), len(sizes) - 1)


def sum_kind(dtype: str, taps: int, *, real: bool) -> str:
    """Return what sums of so many elements are made in."""
    if real or dtype in FLOATS:
        return "float64"
    if dtype in ("bool", "uint8", "int8") and taps <= 256:
        return "int16" if dtype == "int8" else "uint16"
    if (dtype in ("bool", "uint8", "int8") and taps <= 1 << 22) or (dtype in ("uint16", "int16") and taps <= 1 << 14):
        return "int32"
    return "int128" if dtype in ("uint64", "int64") else "int64"


def filling(call: Blocks) -> bytes | None:
    """Return the bytes of a result without enough valid elements; None where that is an error."""
    if call.reduction.name == "count":
        return np.zeros((), call.dtype).tobytes()
    if call.nodata is not None:
        with np.errstate(over="ignore"):
            return np.array(call.nodata).astype(call.dtype).tobytes()
    if dtype_name(call.dtype) in FLOATS:
        return np.array(math.nan).astype(call.dtype).tobytes()
    return np.zeros((), call.dtype).tobytes() if call.masked else None


def _mergeable(array: AnyArray, first: int) -> bool:
    """Whether the axes from `first` on lie one within another."""
    step = array.itemsize
    for axis in reversed(range(first, array.ndim)):
        if array.shape[axis] > 1 and array.strides[axis] != step:
            return False
        step *= array.shape[axis]
    return True


def _bits(array: AnyArray) -> AnyArray:
    """View elements as integers of their size, which every buffer can say."""
    if array.itemsize == 16:
        return array
    return array.view(f"u{array.itemsize}")


def run(
    call: Blocks,
    levels: Sequence[Level],
    start: Carried | None = None,
    *,
    carries: bool = False,
) -> Carried | None:
    """Run the kernels: one or more stages, from the array or from sums; return those of the last, if it `carries`."""
    name, rank = call.reduction.name, call.array.ndim
    kind, elements = dtype_name(call.array.dtype), call.array
    mask, weights, counts = call.mask, call.weights, None
    nodata = call.nodata
    spans = (1,) * rank
    if start is not None:
        kind, elements, counts, spans = start.kind, start.sums, start.counts, start.blocks
        mask = weights = nodata = None
    origin = call.array.shape
    sizes = [math.prod(level.factors[axis] for level in levels) for axis in range(rank)]
    # Cells that stand for several elements may be cut at the end, also on an axis that is not reduced any more.
    last = last_axis([size * span for size, span in zip(sizes, spans, strict=True)])
    operands = [each for each in (elements, mask, weights, counts) if each is not None]
    inner = math.prod(elements.shape[last + 1 :])
    late = -1
    if last == rank - 1 or (inner <= MOST_INNER and all(_mergeable(each, last + 1) for each in operands)):
        row, shape = last, (*elements.shape[: last + 1], inner)
    else:
        row, shape, late = rank - 1, (*elements.shape, 1), last
    axes = row + 1

    def viewed(array: AnyArray | None) -> AnyArray | None:
        return None if array is None else array.reshape(shape)

    taps = math.prod(spans)
    stages = []
    original, real = dtype_name(call.array.dtype), sums_are_real(call)
    for level in levels:
        taps *= math.prod(level.factors)
        if name in ("max", "min"):
            sums = {"u": "int", "b": "int8", "i": kind}.get(elements.dtype.kind, "int")
            sums = f"int{8 * elements.itemsize}" if sums != kind else kind
        else:
            # Counts are made beside sums that nobody wants.
            sums = "int32" if name == "count" else sum_kind(original, taps, real=real)
        outputs = level.result.shape if level.result is not None else (INT64_MAX >> 1,) * axes
        result = None if level.result is None else _bits(level.result)
        stages.append((level.factors[:axes], kernels.BLOCK_KINDS[sums], result, level.valid, outputs[:axes]))
    carry = carried_counts = None
    if carries:
        blocks = tuple(span * size for span, size in zip(spans, sizes, strict=True))
        cells = tuple(map(block_count, origin, blocks))
        carry = np.empty(cells, np.complex128 if sums == "int128" else sums)
        carried_counts = np.empty(cells, np.int32) if call.leaves_out else None
    fill = filling(call) if call.leaves_out else b"\0" * call.dtype.itemsize
    fault = kernels.reduce_blocks(
        kernels.BLOCK_OPS[name],
        kernels.BLOCK_KINDS[kind],
        kernels.BLOCK_KINDS[dtype_name(call.dtype)],
        kernels.ROUNDINGS[call.rounding],
        _bits(elements).reshape(shape),
        stages,
        origin[:axes],
        spans[:axes],
        late,
        nodata,
        fill,
        call.min_valid,
        None if mask is None else viewed(mask.view(np.uint8)),
        viewed(weights),
        viewed(counts),
        carry,
        carried_counts,
        threads_for(elements.nbytes),
    )
    if fault >= 0:
        if fill is None:
            raise value_error(
                call.function,
                f"the block {cell_of(call, fault)} has no valid element, and no integer says so",
                "give nodata",
            )
        raise _does_not_fit(call, fault)
    if carry is None:
        return None
    return Carried(carry, sums, carried_counts, blocks)


def cell_of(call: Blocks, position: int) -> tuple[int, ...]:
    """Name a block."""
    return tuple(int(i) for i in np.unravel_index(position, call.outputs))


def _does_not_fit(call: Blocks, position: int) -> ValueError:
    return value_error(
        call.function,
        f"the {call.reduction.name} of the block {cell_of(call, position)} does not fit {call.dtype.name}",
        "convert the array to float64, or use func='mean'",
    )


@overload
def block_reduce(
    array: ArrayLike,
    block_size: int | Sequence[int],
    func: Reduction = "mean",
    *,
    edge: Edge = "partial",
    nodata: float | None = None,
    weights: ArrayLike | None = None,
    min_valid: float = 0.0,
    rounding: Rounding = "half_even",
    dtype: Any = None,
    layout: str | None = None,
    return_valid: Literal[False] = False,
    out: AnyArray | None = None,
) -> AnyArray: ...


@overload
def block_reduce(
    array: ArrayLike,
    block_size: int | Sequence[int],
    func: Reduction = "mean",
    *,
    edge: Edge = "partial",
    nodata: float | None = None,
    weights: ArrayLike | None = None,
    min_valid: float = 0.0,
    rounding: Rounding = "half_even",
    dtype: Any = None,
    layout: str | None = None,
    return_valid: Literal[True],
    out: AnyArray | None = None,
) -> tuple[AnyArray, AnyArray]: ...


@names_checked
@in_default_mode
def block_reduce(
    array: ArrayLike,
    block_size: int | Sequence[int],
    func: Reduction = "mean",
    *,
    edge: Edge = "partial",
    nodata: float | None = None,
    weights: ArrayLike | None = None,
    min_valid: float = 0.0,
    rounding: Rounding = "half_even",
    dtype: Any = None,
    layout: str | None = None,
    return_valid: bool = False,
    out: AnyArray | None = None,
) -> AnyArray | tuple[AnyArray, AnyArray]:
    """Reduce an array by blocks that do not overlap: images, volumes, label maps, grids with gaps.

    Parameters
    ----------
    array : array_like
        1 to 6 axes, none of which is a batch or holds channels unless `layout` says so. Any of float16, bfloat16,
        float32, float64, int8 to int64, uint8 to uint64 and bool; any strides; never modified. What a masked array
        masks is left out, and the result is a masked array then.
    block_size : int or sequence of int
        Elements of a block, on all axes or on each; 1 keeps an axis as it is. A block may be larger than the array.
    func : str
        ``"mean"``, ``"sum"``, ``"min"``, ``"max"``, ``"range"`` (greatest less smallest), ``"median"`` (of an even
        number the mean of the two in the middle), ``"mode"`` (the most frequent, the smallest of several), ``"rms"``,
        ``"std"`` and ``"var"`` (divided by the number of elements), ``"first"`` (row by row) or ``"count"``.
    edge : {"partial", "trim", "error"}
        What becomes of elements behind the last whole block of an axis: reduced as they are, dropped, or refused.
    nodata : number or NaN, optional
        Elements that are equal to it are left out. Without it, a NaN makes its block NaN.
    weights : array_like, optional
        One weight for each element, for mean, sum, rms, std and var: finite and at least 0. Elements of weight 0, and
        those whose weight is masked, are left out.
    min_valid : float
        A block is `nodata` (masked, for a masked array) if less than this share of its elements is valid, and also if
        none is; a partial block has the elements that are there. Counts are always given.
    rounding : {"half_even", "half_up", "floor", "trunc"}
        How means and medians of integers are rounded. OpenCV and Pillow round half up.
    dtype : dtype, optional
        numpy.float32 or numpy.float64, for means, medians, rms, std and var of integers that are not to be rounded.
        By default means and medians have the dtype of the array (float64 for bool), sums of integers int64 or uint64,
        rms, std and var of integers float64, counts int64, and the range of signed integers twice their bits.
    layout : str, optional
        One letter per axis: blocks are of the axes D, H, W, L, Z, Y and X, and N, B, C and T are kept. With
        ``layout="HWC"`` a `block_size` of 2 is (2, 2, 1). ``"channels_last"`` stands for HWC, NHWC or NDHWC,
        ``"channels_first"`` for CHW, NCHW or NCDHW, by the number of axes.
    return_valid : bool
        Whether to return the valid share of each block as well.
    out : ndarray or torch.Tensor, optional
        Where to put the result: exactly its dtype and shape, C-contiguous, writeable, apart from the array in memory.
        The result of a masked array is a masked array of this memory.

    Returns
    -------
    ndarray, or tuple of two
        The result, of ``ceil(size / block_size)`` elements on each axis (``floor`` with ``edge="trim"``), and with
        `return_valid` the float64 share of valid elements.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or the dtype is not accepted.
    ValueError
        If an argument has a wrong value, if ``edge="error"`` and blocks do not divide the array, if ``edge="trim"``
        leaves nothing of an axis, if a sum or a range of 64-bit integers does not fit 64 bits, or if a block of
        integers has no valid element and there is no `nodata` to say so.

    Notes
    -----
    docs/semantics.md says what every reduction means. Results are the same to the bit at any number of threads.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.block_reduce(np.arange(15).reshape(3, 5), 2)
    array([[ 3,  5,  6],
           [10, 12, 14]])
    >>> pooling.block_reduce(np.array([[7, 7, 0, 9], [7, 2, 9, 0]], np.uint64), 2, "mode", nodata=0)
    array([[7, 9]], dtype=uint64)
    >>> heights = np.array([[1.0, 3.0, np.nan, np.nan], [5.0, np.nan, np.nan, np.nan]])
    >>> pooling.block_reduce(heights, 2, "mean", nodata=np.nan, return_valid=True)
    (array([[ 3., nan]]), array([[0.75, 0.  ]]))
    """
    function = "block_reduce"
    call = prepared(
        function,
        array,
        block_size,
        func,
        edge=edge,
        nodata=nodata,
        weights=weights,
        min_valid=min_valid,
        rounding=rounding,
        dtype=dtype,
        layout=layout,
    )
    if (
        layout is None
        and call.array.ndim in (3, 4)
        and is_for_all_axes(block_size)
        and call.array.shape != call.outputs
    ):
        warn_of_colours(
            f"{function}: array of shape {call.array.shape} is reduced along its last axis too; if that has colours, "
            f'say layout="{"HWC" if call.array.ndim == 3 else "NHWC"}"',
            call.array,
        )
    wants_valid = flag(function, "return_valid", return_valid)
    result = result_array(function, out, call.outputs, call.dtype, call.array)
    masked = is_masked(array)
    valid = np.empty(call.outputs) if wants_valid or masked else None
    reduced(call, result, valid)
    if masked and valid is not None:
        hidden = (valid < call.min_valid) | (valid == 0) if call.reduction.name != "count" else np.False_
        result = masked_like(array, result, np.broadcast_to(hidden, result.shape).copy())
    if wants_valid:
        assert valid is not None
        return result, valid
    return result


def masked_like(array: Any, result: AnyArray, hidden: Any) -> AnyArray:
    """Mask a result of a masked array, with the number that fills that one where it has one of its own."""
    made = np.ma.MaskedArray(result, hidden)
    if array.fill_value != np.ma.default_fill_value(array.dtype):
        with (
            suppress(TypeError, ValueError, ArithmeticError),
            np.errstate(invalid="raise"),
        ):  # the result's dtype may lack it
            made.fill_value = array.fill_value
    return made


@names_checked
@in_default_mode
def block_reduce_backward(
    grad_output: ArrayLike,
    array: ArrayLike,
    block_size: int | Sequence[int],
    func: Reduction = "mean",
    *,
    edge: Edge = "partial",
    nodata: float | None = None,
    weights: ArrayLike | None = None,
    min_valid: float = 0.0,
    layout: str | None = None,
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.block_reduce` with respect to its array, for mean, sum, min, max and rms.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result: its shape, and the dtype of the array.
    array : array_like
        That of the forward call; float16, bfloat16, float32 or float64.
    block_size, func, edge, nodata, weights, min_valid, layout
        As in the forward call. Elements that are left out have no gradient, nor have those of blocks that are `nodata`.
    out : ndarray or torch.Tensor, optional
        Where to put the result.

    Returns
    -------
    ndarray
        Gradient with respect to `array`: that of a maximum or minimum goes to the first of equal elements, or the
        first NaN.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or the dtype is not accepted.
    ValueError
        If an argument has a wrong value, or `func` has no gradient.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.block_reduce_backward(np.array([4.0, 1.0]), np.arange(6.0), 4)
    array([1. , 1. , 1. , 1. , 0.5, 0.5])
    """
    function = "block_reduce_backward"
    call = prepared(
        function, array, block_size, func, edge=edge, nodata=nodata, weights=weights, min_valid=min_valid, layout=layout
    )
    name, dtype = call.reduction.name, call.array.dtype
    if not call.reduction.gradient_dtypes:
        having = ", ".join(each for each, row in BLOCK_REDUCTIONS.items() if row.gradient_dtypes)
        raise value_error(function, f"func={name!r} has no gradient", f"use {having}")
    if dtype.name not in FLOATS:
        raise type_error(function, f"array has dtype {dtype.name}, which has no gradient", f"use {', '.join(FLOATS)}")
    grad = as_array(function, "grad_output", grad_output, FLOATS)
    if grad.dtype != dtype:
        raise type_error(function, f"grad_output has dtype {grad.dtype.name}, the array {dtype.name}", "convert it")
    if grad.shape != call.outputs:
        raise value_error(function, f"grad_output has shape {grad.shape}, the result {call.outputs}")
    result = result_array(function, out, call.array.shape, dtype, call.array, grad)
    result[...] = 0
    if 0 in call.outputs:
        return result
    # Some blocks at a time, in float64.
    row = math.prod(call.array.shape[1:]) * cut(call)[0]
    together = max(1, GRADIENT_CELLS // max(row, 1))
    for begin in range(0, call.outputs[0], together):
        blocks = slice(begin, min(begin + together, call.outputs[0]))
        _send_back(call, grad[blocks], blocks, result)
    return result


def _send_back(call: Blocks, grad: AnyArray, blocks: slice, result: AnyArray) -> None:
    """Write the gradients of some blocks along the first axis."""
    name, block = call.reduction.name, call.sizes[0]
    reached = tuple(slice(0, n * size) for n, size in zip(call.outputs, call.sizes, strict=True))
    reached = (slice(blocks.start * block, blocks.stop * block), *reached[1:])
    part = replace(
        call,
        array=call.array[reached].astype(np.float64),
        mask=None if call.mask is None else call.mask[reached],
        weights=None if call.weights is None else call.weights[reached],
        outputs=(blocks.stop - blocks.start, *call.outputs[1:]),
        dtype=np.dtype(np.float64),
    )
    values = part.array
    pooled, valid = np.empty(part.outputs), np.empty(part.outputs)
    reduced(part, pooled, valid)
    extents = extents_of(values.shape, call.sizes, part.outputs)

    def spread(each: AnyArray) -> AnyArray:
        for axis, counts in enumerate(extents):
            each = np.repeat(each, counts, axis)
        return each

    given = np.where((valid >= call.min_valid) & (valid > 0), grad.astype(np.float64), 0.0)
    there = np.ones(values.shape, np.bool_)
    if call.nodata is not None:
        there &= values == values if call.nodata != call.nodata else values != call.nodata
    if part.mask is not None:
        there &= ~part.mask
    shares: AnyArray = there.astype(np.float64)
    if part.weights is not None:
        shares = np.where(there, part.weights, 0.0)
    if name in ("mean", "rms"):
        total = np.empty(part.outputs)
        whole = replace(part, reduction=BLOCK_REDUCTIONS["sum"], array=shares, nodata=None, mask=None, weights=None)
        reduced(whole, total, None)
        with np.errstate(divide="ignore", invalid="ignore"):
            given = np.where(given == 0, 0.0, given / total)
            if name == "rms":
                given = np.where(pooled == 0, 0.0, given / pooled)
    if name in ("min", "max"):
        shares = _first_extreme(part, values, there, spread(pooled)).astype(np.float64)
    made = spread(given) * shares
    if name == "rms":
        made = made * np.where(there, values, 0.0)
    rounded(made, result[reached])


def _first_extreme(part: Blocks, values: AnyArray, there: AnyArray, pooled: AnyArray) -> AnyArray:
    """Tell which elements are the first in their block that are equal to its result, or the first NaN of one."""
    hits = there & ((values == pooled) | ((values != values) & (pooled != pooled)))
    places = np.zeros(values.shape, np.int64)
    for axis, block in enumerate(cut(part)):
        along = np.arange(values.shape[axis]) % block
        places = places * block + along.reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    places = np.where(hits, places, INT64_MAX)
    first = np.empty(part.outputs, np.int64)
    least = replace(
        part,
        reduction=BLOCK_REDUCTIONS["min"],
        array=places,
        nodata=None,
        mask=None,
        weights=None,
        dtype=np.dtype(np.int64),
    )
    reduced(least, first, None)
    for axis, counts in enumerate(extents_of(values.shape, part.sizes, part.outputs)):
        first = np.repeat(first, counts, axis)
    found: AnyArray = hits & (places == first)
    return found
