"""Reduction of dask arrays by blocks, chunk by chunk: the results of `pooling.block_reduce` and `pooling.pyramid`.

Borders between chunks are moved to the nearest border of a block, so that a task reads its chunk and a rim of those
beside it, and nothing at all where chunks are multiples of blocks. A task uses one thread: workers run several.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, cast, overload

import numpy as np

from .annotations import AnyArray, Rounding
from .arguments import flag, names_checked, word
from .arrays import is_masked
from .errors import type_error, value_error
from .extras import needing
from .families.blocks import EDGES, Edge, Reduction, prepared, result_dtype, weights_of
from .families.blocks import block_reduce as reduce_in_memory
from .families.pyramids import pyramid as pyramid_in_memory
from .families.pyramids import pyramid_factors
from .geometry import block_count
from .operators import BlockReduction
from .workers import threads

with needing("images", __name__):
    import dask.array

__all__ = ["block_reduce", "pyramid"]


def _checked(function: str, name: str, array: Any) -> Any:
    """Refuse what is no dask array, and one that does not know its shape."""
    if not isinstance(array, dask.array.Array):
        raise type_error(
            function,
            f"{name} must be a dask array, not {type(array).__name__}",
            f"use dask.array.from_array({name}), or pooling.{function.rpartition('.')[2]} for arrays in memory",
        )
    if any(size != size for size in array.shape):
        raise value_error(function, f"{name} has chunks of unknown size", f"call {name}.compute_chunk_sizes() first")
    return array


def _stand_in(array: Any) -> AnyArray:
    """Return an array of the same shape and dtype without memory, for checks of arguments."""
    return np.broadcast_to(np.zeros((), array.dtype), array.shape)


def _aligned(chunks: Sequence[int], block: int) -> tuple[int, ...]:
    """Move the borders of the chunks of an axis to the nearest ones of blocks.

    A chunk of nothing but a partial block joins the one before: in an array of its own that block would be a whole one,
    whose elements are added in another order.
    """
    ends = np.cumsum(chunks)
    length = int(ends[-1])
    nearest = {(int(end) + block // 2) // block * block for end in ends[:-1]}
    borders = [0, *sorted(border for border in nearest if 0 < border <= length - block), length]
    return tuple(stop - start for start, stop in pairwise(borders))


def _rechunked(array: Any, blocks: Sequence[int]) -> Any:
    """Give an array chunks whose borders are those of blocks; those that are right stay as they are."""
    chunks = tuple(_aligned(sizes, block) for sizes, block in zip(array.chunks, blocks, strict=True))
    # "tasks" reads slices of the chunks that meet; "p2p", the default on a cluster, would shuffle all of it.
    return array if chunks == array.chunks else array.rechunk(chunks, method="tasks")


def _smaller(chunks: Sequence[Sequence[int]], blocks: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Return the chunks of the result; partial blocks count."""
    return tuple(tuple(block_count(size, block) for size in sizes) for sizes, block in zip(chunks, blocks, strict=True))


def _meta(array: Any, dtype: np.dtype[Any]) -> AnyArray:
    """Return what stands for a chunk of the result."""
    empty = np.empty((0,) * array.ndim, dtype)
    return np.ma.MaskedArray(empty) if is_masked(array._meta) else empty


def _by_chunk(task: Callable[..., Any], *arrays: Any, chunks: Any, meta: Any, **settings: Any) -> Any:
    return dask.array.map_blocks(
        task, *arrays, chunks=chunks, dtype=meta.dtype, meta=meta, name=None, token=None, **settings
    )


def _one(chunk: Any, weights: Any = None, *, settings: dict[str, Any]) -> Any:
    """Reduce a chunk."""
    with threads(1):
        return reduce_in_memory(chunk, weights=weights, **settings)


def _all_levels(chunk: Any, *, settings: dict[str, Any]) -> tuple[AnyArray, ...]:
    """Make all levels of a chunk."""
    with threads(1):
        return tuple(pyramid_in_memory(chunk, **settings))


def _part(parts: Sequence[AnyArray], *, position: int) -> AnyArray:
    """Take one of several results of a chunk."""
    return parts[position]


_SEVERAL = np.empty((0,), object)
"""What stands for several results of a chunk."""


@overload
def block_reduce(
    array: Any,
    block_size: int | Sequence[int],
    func: Reduction = "mean",
    *,
    edge: Edge = "partial",
    nodata: float | None = None,
    weights: Any = None,
    min_valid: float = 0.0,
    rounding: Rounding = "half_even",
    dtype: Any = None,
    layout: str | None = None,
    return_valid: Literal[False] = False,
) -> Any: ...


@overload
def block_reduce(
    array: Any,
    block_size: int | Sequence[int],
    func: Reduction = "mean",
    *,
    edge: Edge = "partial",
    nodata: float | None = None,
    weights: Any = None,
    min_valid: float = 0.0,
    rounding: Rounding = "half_even",
    dtype: Any = None,
    layout: str | None = None,
    return_valid: Literal[True],
) -> tuple[Any, Any]: ...


@names_checked
def block_reduce(
    array: Any,
    block_size: int | Sequence[int],
    func: Reduction = "mean",
    *,
    edge: Edge = "partial",
    nodata: float | None = None,
    weights: Any = None,
    min_valid: float = 0.0,
    rounding: Rounding = "half_even",
    dtype: Any = None,
    layout: str | None = None,
    return_valid: bool = False,
) -> Any:
    """Reduce a dask array by blocks that do not overlap.

    Parameters
    ----------
    array : dask.array.Array
        Of any dtype of `pooling.block_reduce`; its chunks may be masked arrays.
    block_size, func, edge, nodata, min_valid, rounding, dtype, layout, return_valid
        As in `pooling.block_reduce`.
    weights : array_like or dask.array.Array, optional
        One weight for each element; the chunks are those of `array`.

    Returns
    -------
    dask.array.Array, or tuple of two
        What `pooling.block_reduce` returns for the array in memory, to the bit, whatever the chunks: not yet computed,
        one task for each chunk.

    Raises
    ------
    TypeError, ValueError
        As `pooling.block_reduce` does; for what depends on elements (weights, sums that overflow) when it is computed.

    Examples
    --------
    >>> import dask.array
    >>> image = dask.array.arange(24, chunks=7).reshape(4, 6)
    >>> block_reduce(image, 2, "max").compute()
    array([[ 7,  9, 11],
           [19, 21, 23]])
    """
    function = "dask.block_reduce"
    data = _checked(function, "array", array)
    wants_valid = flag(function, "return_valid", return_valid)
    edge = cast(Edge, word(function, "edge", edge, EDGES))
    call = prepared(
        function,
        _stand_in(data),
        block_size,
        func,
        edge=edge,
        nodata=nodata,
        min_valid=min_valid,
        rounding=rounding,
        dtype=dtype,
        layout=layout,
    )
    weighing = None if weights is None else _weights(function, call.reduction, weights, data)
    kind = np.dtype(result_dtype(function, call.reduction, data.dtype, weighing is not None, dtype))
    if edge == "trim":
        kept = tuple(slice(0, count * size) for count, size in zip(call.outputs, call.sizes, strict=True))
        data = data[kept]
        weighing = None if weighing is None else weighing[kept]
    data = _rechunked(data, call.sizes)
    settings = {
        "block_size": call.sizes,
        "func": call.reduction.name,
        "nodata": call.nodata,
        "min_valid": float(min_valid),
        "rounding": call.rounding,
        "dtype": kind if dtype is not None else None,
    }
    chunks = _smaller(data.chunks, call.sizes)
    arrays = (data,) if weighing is None else (data, weighing.rechunk(data.chunks, method="tasks"))
    if not wants_valid:
        return _by_chunk(_one, *arrays, chunks=chunks, meta=_meta(data, kind), settings=settings)
    both = _by_chunk(_one, *arrays, chunks=chunks, meta=_SEVERAL, settings={**settings, "return_valid": True})
    return (
        _by_chunk(_part, both, chunks=chunks, meta=_meta(data, kind), position=0),
        _by_chunk(_part, both, chunks=chunks, meta=np.empty((0,) * data.ndim), position=1),
    )


def _weights(function: str, reduction: BlockReduction, weights: Any, data: Any) -> Any:
    """Check weights as far as that needs no elements."""
    lazy = isinstance(weights, dask.array.Array)
    found = weights_of(function, reduction, _stand_in(weights) if lazy else weights, data.shape)
    return weights if lazy else dask.array.from_array(found, chunks=data.chunks)


@names_checked
def pyramid(
    array: Any,
    factors: int | Sequence[int] | Sequence[Sequence[int]] = 2,
    levels: int | None = None,
    func: Reduction = "mean",
    *,
    axes: int | Sequence[int] | None = None,
    edge: Edge = "partial",
    nodata: float | None = None,
    min_valid: float = 0.0,
    rounding: Rounding = "half_even",
    dtype: Any = None,
    exact: bool = False,
) -> list[Any]:
    """Reduce a dask array by blocks to smaller and smaller levels, each made of the original elements.

    Levels whose blocks are no larger than chunks are made together, in one task for each chunk; each of the others
    reads the array once more, with chunks that are as large as its blocks.

    Parameters
    ----------
    array : dask.array.Array
        Of any dtype of `pooling.block_reduce`.
    factors, levels, func, axes, edge, nodata, min_valid, rounding, dtype, exact
        As in `pooling.pyramid`.

    Returns
    -------
    list of dask.array.Array
        The levels behind the original, largest first: what `pooling.pyramid` returns for the array in memory, to the
        bit, whatever the chunks.

    Raises
    ------
    TypeError, ValueError
        As `pooling.pyramid` does.

    Examples
    --------
    >>> import dask.array
    >>> [level.compute().tolist() for level in pyramid(dask.array.arange(8, chunks=3))]
    [[0, 2, 4, 6], [2, 6], [4]]
    """
    function = "dask.pyramid"
    data = _checked(function, "array", array)
    edge = cast(Edge, word(function, "edge", edge, EDGES))
    blocks = pyramid_factors(function, data.shape, factors, levels, axes, edge)
    from_level_before = not flag(function, "exact", exact)
    settings = {
        "func": func,
        "nodata": nodata,
        "min_valid": min_valid,
        "rounding": rounding,
        "dtype": dtype,
    }
    calls = [prepared(function, _stand_in(data), block, edge=edge, **settings) for block in blocks]
    if not calls:
        return []
    name = calls[0].reduction.name
    # Levels that are made of others may have another dtype.
    settings.update(func=name, nodata=calls[0].nodata)
    most = [max(sizes) for sizes in data.chunks]
    together = sum(all(b <= size for b, size in zip(block, most, strict=True)) for block in blocks)
    made: list[Any] = []
    if together:
        whole = _rechunked(data, blocks[together - 1])
        steps = [_over(block, before) for block, before in _pairs(blocks[:together])]
        several = _by_chunk(
            _all_levels,
            whole,
            chunks=whole.chunks,
            meta=_SEVERAL,
            settings={**settings, "factors": steps, "exact": not from_level_before},
        )
        for position, (block, call) in enumerate(zip(blocks[:together], calls, strict=False)):
            chunks = _smaller(whole.chunks, block)
            level = _by_chunk(_part, several, chunks=chunks, meta=_meta(data, call.dtype), position=position)
            # Of partial blocks, only the last one of an axis can be there.
            made.append(level[tuple(slice(0, count) for count in call.outputs)] if edge == "trim" else level)
    for position in range(together, len(blocks)):
        if name in ("mode", "median") and from_level_before and made:
            step = _over(blocks[position], blocks[position - 1])
            made.append(block_reduce(made[-1], step, edge=edge, **settings))
        else:
            made.append(block_reduce(data, blocks[position], edge=edge, **settings))
    return made


def _pairs(blocks: Sequence[tuple[int, ...]]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return each block with the one of the level before, ones for the first."""
    return list(zip(blocks, [(1,) * len(blocks[0]), *blocks[:-1]], strict=True))


def _over(block: Sequence[int], before: Sequence[int]) -> tuple[int, ...]:
    return tuple(size // other for size, other in zip(block, before, strict=True))
