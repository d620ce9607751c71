"""What comes in as an array, and what may be written to."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .dispatch import kernels

__all__ = ["as_array", "in_default_mode", "native", "result_array"]

AnyArray = NDArray[Any]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def in_default_mode(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Let a function calculate with NumPy in the floating-point mode in which kernels do.

    A library of the program may have told this thread to flush subnormal numbers to zero, or to round otherwise.
    """

    @wraps(function)
    def calculate(*arguments: Parameters.args, **keywords: Parameters.kwargs) -> Result:
        with kernels.DefaultMode():
            return function(*arguments, **keywords)

    return calculate


def as_array(function: str, name: str, value: ArrayLike, dtypes: tuple[str, ...] | None = None) -> AnyArray:
    """View an argument as an array, without a copy where the object allows one.

    Parameters
    ----------
    function, name : str
        Named in error sentences.
    value : array_like
        An ndarray, anything with the buffer protocol, ``__array_interface__`` or DLPack on the CPU, or nested lists.
    dtypes : tuple of str, optional
        Names of the accepted dtypes.

    Raises
    ------
    TypeError
        For what is no array of numbers, for a masked array, and for a dtype that is not accepted.
    """
    if type(value) is np.ndarray:
        array = value
    elif isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{function}: {name} is a masked array, whose mask would be ignored; "
            f"fill the masked elements first, for example with {name}.filled(...)"
        )
    elif isinstance(value, np.ndarray):
        array = value
    else:
        try:
            foreign = hasattr(value, "__dlpack__") and not hasattr(value, "__array_interface__")
            array = np.from_dlpack(value) if foreign else np.asarray(value)  # type: ignore[arg-type]
        except Exception as error:
            reason = str(error).split("\n")[0].rstrip(".")
            raise TypeError(
                f"{function}: {name} of type {type(value).__name__} cannot be read as an array on the CPU ({reason}); "
                "pass a NumPy array"
            ) from error
    if dtypes is not None and dtype_name(array.dtype) not in dtypes:
        raise TypeError(
            f"{function}: {name} has dtype {array.dtype.name}, which is not accepted; use {', '.join(dtypes)}"
        )
    return array


_names: dict[np.dtype[Any], str] = {}


def dtype_name(dtype: np.dtype[Any]) -> str:
    """Return ``dtype.name``, which NumPy puts together anew each time, from memory."""
    name = _names.get(dtype)
    if name is None:
        name = _names[dtype] = dtype.name if dtype.names is None else "structured"
    return name


def native(array: AnyArray) -> AnyArray:
    """Return the array itself if kernels can read it as it lies, else a contiguous, aligned, native-endian copy."""
    flags = array.flags
    if flags.c_contiguous and flags.aligned and array.dtype.isnative:
        return array
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True, subok=False)


def result_array(
    function: str, out: AnyArray | None, shape: tuple[int, ...], dtype: np.dtype[Any], *inputs: AnyArray
) -> AnyArray:
    """Allocate the result, or check the array that the caller wants it in.

    Raises
    ------
    TypeError
        If `out` is not an ndarray of exactly `dtype`.
    ValueError
        If `out` has another shape, is not C-contiguous and writeable, or overlaps an input.
    """
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{function}: out must be a NumPy array, not {type(out).__name__}")
    if out.dtype != dtype or not out.dtype.isnative:
        raise TypeError(f"{function}: out has dtype {out.dtype.str}, the result {dtype.str}; give out that dtype")
    if out.shape != shape:
        raise ValueError(f"{function}: out has shape {out.shape}, the result {shape}; give out that shape")
    flags = out.flags
    if not flags.aligned:
        raise ValueError(f"{function}: out is not aligned in memory; use numpy.empty({shape}, dtype={dtype.name!r})")
    if not flags.c_contiguous:
        raise ValueError(f"{function}: out must be C-contiguous; use numpy.empty({shape}, dtype={dtype.name!r})")
    if not flags.writeable:
        raise ValueError(f"{function}: out is read-only; give an array that can be written to")
    for array in inputs:
        if np.may_share_memory(out, array):
            raise ValueError(f"{function}: out overlaps an input in memory; give out memory of its own")
    return out
