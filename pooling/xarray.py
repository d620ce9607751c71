"""Coarsening of xarray's arrays and data sets by the kernels of `pooling.block_reduce`."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from .annotations import Rounding
from .arguments import names_checked, nearest_word, whole, word
from .errors import Place, recast, rename, type_error, value_error
from .extras import needing
from .families.blocks import Edge, Reduction, reduction_named
from .families.blocks import block_reduce as reduce_in_memory
from .operators import BLOCK_REDUCTIONS
from .signs import short_repr

with needing("images", __name__):
    import xarray

__all__ = ["coarsen"]

Data = TypeVar("Data", bound="xarray.DataArray | xarray.Dataset")

FUNCTION = "xarray.coarsen"


@names_checked
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
        As in `pooling.block_reduce`; a number `nodata` of a data set is that of those variables whose dtype has it (no
        integer is NaN). ``edge="partial"`` reduces what is left behind the last whole block, where
        ``boundary`` of ``xarray.coarsen`` has to drop or to pad it.
    coord_func : str or mapping of name to str
        How coordinates along the dimensions are reduced: by a word of `func`, for all or for each. Times have a mean,
        a minimum, a maximum, a median and a first; text and the indices of several levels have a first only. Times
        that are missing are left out.

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
    A NaN makes its block NaN; ``nodata=numpy.nan`` leaves it out, as ``skipna`` does in xarray. Attributes such as
    ``_FillValue`` are not read: give ``nodata=data.rio.nodata``, or open files with ``mask_and_scale``. Means of
    integers have their dtype, rounded by `rounding`, where xarray gives float64: ``dtype=numpy.float64`` does here.

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
    if isinstance(coord_func, Mapping):
        coord_func = _plain_mapping("coord_func", coord_func)
    _check_edge(data, sizes, edge)
    settings = {
        "func": reduction_named(FUNCTION, func).name,
        "edge": edge,
        "nodata": nodata,
        "min_valid": min_valid,
        "rounding": rounding,
        "dtype": dtype,
    }
    coordinates = _reduced_coordinates(data, sizes, coord_func, edge)
    if isinstance(data, xarray.DataArray):
        name = "the array" if data.name is None else str(data.name)
        variable = _variable(data.variable, name, sizes, settings, "convert it")
        made: Any = xarray.DataArray(variable, coords=coordinates, name=data.name)
        return made
    taken = _settings_of_variables(data, sizes, settings)
    variables = {
        name: _variable(
            variable.variable,
            str(name),
            sizes,
            taken[name],
            f"leave it out, as by data.drop_vars({name!r})",
            Place(FUNCTION, f"variable {name!r}"),
        )
        for name, variable in data.data_vars.items()
    }
    made = xarray.Dataset(variables, coords=coordinates, attrs=data.attrs)
    return made


def _unknown(name: Any, known: Iterable[Any], what: str, argument: tuple[str, Any]) -> Exception:
    """Make the error of a name that the array has not."""
    names = list(known)
    meant = nearest_word(name, map(str, names)) if isinstance(name, str) else ""
    return value_error(
        FUNCTION,
        f"names {name!r}, and the {what} are {', '.join(map(repr, names)) or 'none'}",
        f"write {short_repr(meant)}" if meant else "",
        argument=argument,
    )


def _check_names(data: Any, coord_func: Any) -> None:
    """Refuse functions of coordinates that there are not."""
    if not isinstance(coord_func, Mapping):
        return
    for name in coord_func:
        if name not in data.coords:
            raise _unknown(name, data.coords, "coordinates", ("coord_func", dict(coord_func)))


def _settings_of_variables(
    data: Any, sizes: Mapping[Hashable, int], settings: dict[str, Any]
) -> dict[Hashable, dict[str, Any]]:
    """Return the settings of each variable: no data are left out of those whose dtype has the number."""
    nodata = settings["nodata"]
    reduced = [name for name, each in data.data_vars.items() if any(size > 1 for size in _block(each.variable, sizes))]
    # A number that no variable has is a mistake, which is refused where the first one is reduced.
    having = [name for name in reduced if _has(data[name].dtype, nodata)] or reduced
    return {name: settings if name in having else {**settings, "nodata": None} for name in data.data_vars}


def _has(dtype: Any, nodata: Any) -> bool:
    """Whether a number may be an element of some dtype."""
    if not isinstance(dtype, np.dtype) or dtype.kind in "mM":
        return False
    if dtype.kind not in "biu" or not isinstance(nodata, (int, float, np.number, np.bool_)):
        return True
    least, most = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    return bool(least <= nodata <= most and nodata == int(nodata))


def _reduced_coordinates(
    data: Any, sizes: Mapping[Hashable, int], coord_func: str | Mapping[Hashable, str], edge: str
) -> Any:
    """Reduce the coordinates; levels of an index are those of its first elements."""
    _check_names(data, coord_func)
    several = {
        name: data[name].dims[0]
        for name, index in data.indexes.items()
        if index.nlevels > 1 and any(sizes.get(dimension, 1) > 1 for dimension in data[name].dims)
    }
    made = {
        name: _coordinate(variable.variable, str(name), sizes, _function_of(name, coord_func), edge)
        for name, variable in data.coords.items()
        if several.get(name, name) == name
    }
    indices = {dimension: made.pop(dimension).to_index() for dimension in dict.fromkeys(several.values())}
    coordinates: Any = xarray.Coordinates(made) if indices else made
    for dimension, index in indices.items():
        coordinates = coordinates.assign(xarray.Coordinates.from_pandas_multiindex(index, dimension))
    return coordinates


def _plain_mapping(name: str, value: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a mapping as a dict, and refuse one of somebody's own kind that cannot be read."""
    try:
        return dict(value)
    except Exception as error:
        rule = f"must be a mapping that can be read, such as a dict, not {type(value).__name__}"
        raise type_error(FUNCTION, rule, argument=(name, value)) from error


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
    windows = _plain_mapping("windows", windows)
    for name, entry in windows.items():
        size = whole(entry)
        if name not in data.dims:
            raise _unknown(name, data.dims, "dimensions", ("windows", windows))
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
        if edge == "trim" and 0 < data.sizes[name] < size:
            raise value_error(
                FUNCTION,
                f"edge='trim' leaves nothing of dimension {name!r} of {data.sizes[name]} elements, which is shorter "
                f"than a block of {size}",
                "use edge='partial' to reduce what is there",
            )
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
    word(FUNCTION, "coord_func", func, tuple(BLOCK_REDUCTIONS))
    return reduction_named(FUNCTION, func).name


def _block(variable: Any, sizes: Mapping[Hashable, int]) -> tuple[int, ...]:
    return tuple(sizes.get(name, 1) for name in variable.dims)


def _variable(
    variable: Any,
    name: str,
    sizes: Mapping[Hashable, int],
    settings: dict[str, Any],
    remedy: str,
    place: Place | None = None,
) -> Any:
    """Reduce a variable; one without the dimensions is the same."""
    block = _block(variable, sizes)
    if all(size == 1 for size in block):
        return variable
    if _kind(variable) in "mM" and settings["func"] in OF_TIMES and settings["nodata"] in (None, np.nan):
        return _times(variable, block, {**settings, "dtype": None})
    if _kind(variable) not in "biuf" and variable.dtype.name != "bfloat16":
        raise type_error(
            FUNCTION,
            f"{name} has dtype {variable.dtype}, which has no {settings['func']}",
            remedy,
        )
    return xarray.Variable(variable.dims, _reduced(variable.data, block, settings, place), variable.attrs)


def _kind(variable: Any) -> str:
    """Return the letter of a dtype of NumPy; those of pandas, such as times of a zone, are objects."""
    return variable.dtype.kind if isinstance(variable.dtype, np.dtype) else "O"


OF_TIMES = ("mean", "min", "max", "median")
"""What times have, beside a first."""


def _times(variable: Any, block: tuple[int, ...], settings: dict[str, Any]) -> Any:
    """Reduce times, by what they are counted in; those that are missing are left out."""
    # A time that is missing is the smallest integer.
    settings = {**settings, "nodata": np.iinfo(np.int64).min, "rounding": "floor"}
    made = _reduced(variable.data.view(np.int64), block, settings)
    return xarray.Variable(variable.dims, made.view(variable.dtype), variable.attrs)


def _reduced(data: Any, block: tuple[int, ...], settings: dict[str, Any], place: Place | None = None) -> Any:
    """Reduce an array in memory, or a lazy one lazily."""
    try:
        if hasattr(data, "dask"):
            from .dask import block_reduce as reduce_lazily

            return reduce_lazily(data, block, **settings)
        return reduce_in_memory(np.asarray(data), block, **settings)
    except (TypeError, ValueError) as error:
        for function in ("block_reduce", "dask.block_reduce"):
            rename(error, function, FUNCTION)
        if place is None:
            raise
        raise recast(type(error), error, place) from None


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
    if _kind(variable) in "mM" and func in OF_TIMES:
        return _times(variable, block, settings)
    if _kind(variable) not in "biuf":
        raise type_error(
            FUNCTION,
            f"the coordinate {name} has dtype {dtype}, which has no {func}",
            f"use coord_func={{{name!r}: 'first'}}, or leave it out, as by data.drop_vars({name!r})",
        )
    if dtype.kind in "biu" and func in ("mean", "median"):
        settings["dtype"] = None if dtype.kind == "b" else np.float64
    return xarray.Variable(variable.dims, _reduced(variable.data, block, settings), variable.attrs)
