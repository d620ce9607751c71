"""Coarsening of xarray's arrays and data sets by the kernels of `pooling.block_reduce`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import numpy as np

from .annotations import Rounding
from .arguments import nearest_word, whole, word
from .errors import rename, type_error, value_error
from .extras import needing
from .families.blocks import Edge, Reduction, reduction_named
from .families.blocks import block_reduce as reduce_in_memory
from .signs import short_repr

with needing("images", __name__):
    import xarray

__all__ = ["coarsen"]

Data = TypeVar("Data", bound="xarray.DataArray | xarray.Dataset")

FUNCTION = "xarray.coarsen"


def coarsen(
    data: Data,
    windows: Mapping[Hashable, int],
    func: Reduction = "mean",
    *,
    edge: Edge = "partial",
    nodata: float | None = None,
    min_valid: float = 0.0,
    rounding: Rounding = "half_even",
    dtype: Any = None,
    coord_func: str | Mapping[Hashable, str] = "mean",
) -> Data:
    """Reduce an array or a data set by blocks along named dimensions.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        What is in memory is reduced at once, what is a dask array when it is computed (`pooling.dask.block_reduce`).
        Variables of a data set without any of the dimensions stay as they are.
    windows : mapping of dimension to int
        Elements of a block along each dimension; those that are not named keep their size.
    func, edge, nodata, min_valid, rounding, dtype
        As in `pooling.block_reduce`; ``edge="partial"`` reduces what is left behind the last whole block, where
        ``boundary`` of ``xarray.coarsen`` has to drop or to pad it.
    coord_func : str or mapping of name to str
        How coordinates along the dimensions are reduced: by a word of `func`, for all or for each. Times have a mean,
        a minimum, a maximum, and a first; text has a first only.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        Of the kind of `data`, with its name, its attributes and those of its coordinates.

    Raises
    ------
    TypeError
        If `data` is nothing of xarray, or has elements that cannot be reduced so.
    ValueError
        If `windows` names no dimension of `data`, or as `pooling.block_reduce` does.

    Notes
    -----
    A NaN makes its block NaN; ``nodata=numpy.nan`` leaves it out, as ``skipna`` does in xarray.

    Examples
    --------
    >>> import numpy as np, xarray
    >>> image = xarray.DataArray(np.arange(8.0).reshape(2, 4), {"x": [10, 20, 30, 40]}, ("y", "x"))
    >>> image.attrs["units"] = "K"
    >>> small = coarsen(image, {"y": 2, "x": 2})
    >>> small.values, small.x.values, small.attrs
    (array([[2.5, 4.5]]), array([15., 35.]), {'units': 'K'})
    """
    sizes = _sizes(data, windows)
    _check_edge(data, sizes, edge)
    settings = {
        "func": reduction_named(FUNCTION, func).name,
        "edge": edge,
        "nodata": nodata,
        "min_valid": min_valid,
        "rounding": rounding,
        "dtype": dtype,
    }
    coordinates = {
        name: _coordinate(variable.variable, str(name), sizes, _function_of(name, coord_func), edge)
        for name, variable in data.coords.items()
    }
    if isinstance(data, xarray.DataArray):
        variable = _variable(data.variable, str(data.name or "data"), sizes, settings)
        made: Any = xarray.DataArray(variable, coords=coordinates, name=data.name)
        return made
    variables = {
        name: _variable(variable.variable, str(name), sizes, settings) for name, variable in data.data_vars.items()
    }
    made = xarray.Dataset(variables, coords=coordinates, attrs=data.attrs)
    return made


def _sizes(data: Any, windows: Any) -> dict[Hashable, int]:
    """Check the blocks: a size of at least 1 for each dimension that is named."""
    if not isinstance(data, (xarray.DataArray, xarray.Dataset)):
        raise type_error(
            FUNCTION,
            f"data must be a DataArray or a Dataset, not {type(data).__name__}",
            "use pooling.block_reduce for arrays without names",
        )
    if not isinstance(windows, Mapping):
        raise type_error(
            FUNCTION,
            f"must map dimensions to sizes, not {type(windows).__name__}",
            f"use {{{short_repr(next(iter(data.dims), 'x'))}: 2}}",
            argument=("windows", windows),
        )
    sizes = {}
    for name, entry in windows.items():
        size = whole(entry)
        if name not in data.dims:
            meant = nearest_word(name, map(str, data.dims)) if isinstance(name, str) else ""
            raise value_error(
                FUNCTION,
                f"names {name!r}, and the dimensions are {', '.join(map(repr, data.dims))}",
                f"write {short_repr(meant)}" if meant else "",
                argument=("windows", windows),
            )
        if size is None:
            raise type_error(
                FUNCTION, f"must be integers, not {type(entry).__name__} for {name!r}", argument=("windows", windows)
            )
        if size < 1:
            raise value_error(
                FUNCTION, f"must be at least 1, not {size} for {name!r}", "1 keeps a dimension as it is",
                argument=("windows", windows),
            )  # fmt: skip
        sizes[name] = size
    return sizes


def _check_edge(data: Any, sizes: Mapping[Hashable, int], edge: Any) -> None:
    """Check what becomes of the rest of a dimension, in the words of who names dimensions."""
    word(FUNCTION, "edge", edge, ("partial", "trim", "error"))
    for name, size in sizes.items():
        if edge == "error" and data.sizes[name] % size:
            raise value_error(
                FUNCTION,
                f"edge='error' and dimension {name!r} of {data.sizes[name]} elements is not divided by blocks of "
                f"{size}",
                "use edge='partial' to reduce what is there, or edge='trim' to drop it",
            )


def _function_of(name: Hashable, coord_func: Any) -> str:
    """Return the word for one coordinate."""
    func = coord_func.get(name, "mean") if isinstance(coord_func, Mapping) else coord_func
    return reduction_named(FUNCTION, func).name


def _block(variable: Any, sizes: Mapping[Hashable, int]) -> tuple[int, ...]:
    return tuple(sizes.get(name, 1) for name in variable.dims)


def _variable(variable: Any, name: str, sizes: Mapping[Hashable, int], settings: dict[str, Any]) -> Any:
    """Reduce a variable; one without the dimensions is the same."""
    block = _block(variable, sizes)
    if all(size == 1 for size in block):
        return variable
    if variable.dtype.kind not in "biuf" and variable.dtype.name != "bfloat16":
        raise type_error(
            FUNCTION,
            f"{name} has dtype {variable.dtype}, which has no {settings['func']}",
            f"leave it out, as by data.drop_vars({name!r})",
        )
    return xarray.Variable(variable.dims, _reduced(variable.data, block, settings), variable.attrs)


def _reduced(data: Any, block: tuple[int, ...], settings: dict[str, Any]) -> Any:
    """Reduce an array in memory, or a lazy one lazily."""
    try:
        if hasattr(data, "dask"):
            from .dask import block_reduce as reduce_lazily

            return reduce_lazily(data, block, **settings)
        return reduce_in_memory(np.asarray(data), block, **settings)
    except (TypeError, ValueError) as error:
        for function in ("block_reduce", "dask.block_reduce"):
            rename(error, function, FUNCTION)
        raise


def _coordinate(variable: Any, name: str, sizes: Mapping[Hashable, int], func: str, edge: str) -> Any:
    """Reduce a coordinate along the dimensions that it has."""
    block = _block(variable, sizes)
    if all(size == 1 for size in block):
        return variable
    if func == "first":
        kept = (
            variable
            if edge != "trim"
            else variable.isel(
                {
                    name: slice(0, length // size * size)
                    for name, length, size in zip(variable.dims, variable.shape, block, strict=True)
                }
            )
        )
        return kept.isel({name: slice(None, None, size) for name, size in zip(variable.dims, block, strict=True)})
    dtype = variable.dtype
    settings: dict[str, Any] = {"func": func, "edge": edge}
    if dtype.kind in "mM" and func in ("mean", "min", "max", "median"):
        # A time that is missing is the smallest integer.
        least = np.iinfo(np.int64).min
        made = _reduced(variable.data.view(np.int64), block, {**settings, "nodata": least, "rounding": "floor"})
        return xarray.Variable(variable.dims, made.view(dtype), variable.attrs)
    if dtype.kind not in "biuf":
        raise type_error(
            FUNCTION,
            f"the coordinate {name} has dtype {dtype}, which has no {func}",
            f"use coord_func={{{name!r}: 'first'}}, or leave it out, as by data.drop_vars({name!r})",
        )
    if dtype.kind in "biu" and func in ("mean", "median"):
        settings["dtype"] = None if dtype.kind == "b" else np.float64
    return xarray.Variable(variable.dims, _reduced(variable.data, block, settings), variable.attrs)
