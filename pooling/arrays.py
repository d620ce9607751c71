"""What comes in as an array, and what may be written to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeGuard, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core import DefaultMode, gathered
from .errors import type_error, value_error

__all__ = ["as_array", "in_default_mode", "is_masked", "is_whole", "native", "plain_array", "result_array", "rounded"]

AnyArray = NDArray[Any]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def in_default_mode(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Let a function calculate with NumPy in the floating-point mode in which kernels do.

    A library of the program may have told this thread to flush subnormal numbers to zero, or to round otherwise.
    """

    @wraps(function)
    def calculate(*arguments: Parameters.args, **keywords: Parameters.kwargs) -> Result:
        with DefaultMode():
            return function(*arguments, **keywords)

    return calculate


def is_masked(value: object) -> TypeGuard[np.ma.MaskedArray[Any, Any]]:
    """Whether this is a masked array.

    Only of a subclass of arrays numpy.ma is asked, whose import takes some 10 ms and 7 MB.
    """
    return isinstance(value, np.ndarray) and type(value) is not np.ndarray and isinstance(value, np.ma.MaskedArray)


def as_array(function: str, name: str, value: ArrayLike, dtypes: tuple[str, ...] | None = None) -> AnyArray:
    """View an argument as an array, without a copy where the object allows one.

    Parameters
    ----------
    function, name : str
        Named in error sentences.
    value : array_like
        An ndarray, a torch tensor, anything with the buffer protocol, ``__array_interface__``, DLPack on the CPU or
        ``__array__``, or nested lists.
    dtypes : tuple of str, optional
        Names of the accepted dtypes.

    Raises
    ------
    TypeError
        For what is no array of numbers, for a masked array, and for a dtype that is not accepted.
    """
    if type(value) is np.ndarray:
        array = value
    elif is_masked(value):
        raise type_error(
            function,
            f"{name} is a masked array, whose mask would be ignored",
            f"fill its masked elements with what must not count: {name}.filled(numpy.nan) and nan='ignore', or for a "
            "maximum the smallest number",
        )
    elif isinstance(value, np.ndarray):
        # A subclass may say anything of its shape.
        array = np.asarray(value)
    elif value is None:
        raise type_error(function, f"{name} is None", "give an array of numbers")
    else:
        array = _foreign(function, name, value)
    if array.dtype.hasobject and not isinstance(value, np.ndarray):
        remedy = _OBJECT_REMEDIES.get(_kind(value), "give an array").format(name=name)
        raise type_error(function, f"{name} of type {type(value).__name__} is no array of numbers", remedy)
    if dtypes is not None and dtype_name(array.dtype) not in dtypes:
        raise type_error(
            function, f"{name} has dtype {array.dtype.name}, which is not accepted", f"use {', '.join(dtypes)}"
        )
    return array


def _kind(value: Any) -> str:
    """Name the type of a value by its package and itself."""
    return f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"


_OBJECT_REMEDIES = {
    "openvino.Tensor": "give {name}.data",
    "onnx.TensorProto": "give onnx.numpy_helper.to_array({name})",
}
"""What to write for objects that NumPy takes for single ones, by the package and name of their type."""


def _foreign(function: str, name: str, value: Any) -> AnyArray:
    """Read what is no ndarray."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _of_tensor(function, name, value, torch)
    for remedy in ("toarray", "todense"):
        if hasattr(type(value), remedy):
            raise type_error(function, f"{name} is a sparse {type(value).__name__}", f"give {name}.{remedy}()")
    # What DLPack cannot say, as the bfloat16 of JAX, an array interface may.
    readers: list[Any] = [np.asarray]
    if _offers(value, "__dlpack__") and not _offers(value, "__array_interface__"):
        readers = [np.from_dlpack, np.asarray] if _offers(value, "__array__") else [np.from_dlpack]
    reason = ""
    for reader in readers:
        try:
            array: AnyArray = reader(value)
        except Exception as error:
            reason = reason or str(error).split("\n")[0].rstrip(".")
            failure = error
        else:
            return array
    jax = sys.modules.get("jax")
    traced = jax is not None and isinstance(value, jax.core.Tracer)
    remedy = "call outside of jax.jit, jax.grad and jax.vmap" if traced else "pass a NumPy array"
    try:
        raise type_error(
            function, f"{name} of type {type(value).__name__} cannot be read as an array on the CPU ({reason})", remedy
        ) from failure
    finally:
        del failure  # it knows this frame, and a cycle would hold the value


def _offers(value: Any, name: str) -> bool:
    """Tell whether an object has an attribute, whatever it does when it is asked."""
    try:
        return hasattr(value, name)
    except Exception:
        return False


def _of_tensor(function: str, name: str, tensor: Any, torch: Any, instead: str | None = None) -> AnyArray:
    """View a torch tensor as an array of the same memory, or say what to write instead.

    One to be written to must not be a copy: `instead` says then what to give.
    """
    # Most tensors are of this kind, and asking the others costs more than looking at them below.
    if type(tensor) is torch.Tensor and not tensor.requires_grad and tensor.dtype is not torch.bfloat16:
        try:
            array: AnyArray = tensor.numpy()
        except Exception:
            pass  # read below, or refused in words
        else:
            if is_whole(tensor, array):
                return array
    # What a subclass overrides must not answer for its elements.
    with torch._C.DisableTorchFunctionSubclass():
        fault = _fault_of_tensor(name, tensor, torch, instead)
        if fault is None:
            try:
                tensor = tensor.as_subclass(torch.Tensor).detach().resolve_conj().resolve_neg()
                halves = tensor.dtype == torch.bfloat16
                array = (tensor.view(torch.int16) if halves else tensor).numpy()
                if not is_whole(tensor, array):
                    fault = "whose memory was freed", "one that holds its elements"
            except TypeError:
                remedy = f"{name}.real or {name}.abs()" if tensor.is_complex() else f"{name}.float()"
                fault = f"of dtype {tensor.dtype}, which NumPy does not have", instead or remedy
            except Exception as error:
                reason = str(error).split("\n")[0].strip(" .")
                fault = f"that no array can be made of ({reason})", "one outside of torch.func and torch.compile"
    if fault is not None:
        raise type_error(function, f"{name} is a torch tensor {fault[0]}", f"give {fault[1]}")
    if halves:
        try:
            import ml_dtypes  # a dependency of nothing here, and NumPy's way to bfloat16
        except ImportError:
            raise type_error(
                function,
                f"{name} is a torch tensor of torch.bfloat16, which NumPy knows by the package ml_dtypes",
                f"run pip install ml_dtypes, or give {instead or f'{name}.float()'}",
            ) from None
        array = array.view(ml_dtypes.bfloat16)
    return array


def _fault_of_tensor(name: str, tensor: Any, torch: Any, instead: str | None) -> tuple[str, str] | None:
    """Say why no array can view the elements of a tensor, and what to give."""
    if tensor.is_nested:
        return "of nested ones", instead or f"one of {name}.unbind() at a time"
    if type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        what = f"of the subclass {type(tensor).__name__}, which keeps its elements in its own way"
        return what, instead or "a plain one"
    if tensor.layout != torch.strided:
        return f"with the layout {tensor.layout}", instead or f"{name}.to_dense()"
    if tensor.is_meta:
        return "on the meta device, which holds no elements", instead or "one on the CPU"
    if tensor.device.type != "cpu":
        return f"on the device {tensor.device}", instead or f"{name}.cpu()"
    if tensor.is_quantized:
        return "of quantised numbers", instead or f"{name}.dequantize(), or {name}.int_repr()"
    if instead and (tensor.is_neg() or tensor.is_conj()):
        return "that keeps its elements with another sign", instead
    if tensor.requires_grad and torch.is_grad_enabled():
        return (
            "that requires a gradient, which no array carries on",
            f"{name}.detach(), or call inside torch.no_grad(); the functions *_backward give gradients",
        )
    return None


def is_whole(tensor: Any, array: AnyArray) -> bool:
    """Tell whether a tensor has memory for its elements: NumPy makes an array of anything where that was freed."""
    if array.size == 0:
        return True
    span = array.nbytes
    if not array.flags.c_contiguous:
        span = array.itemsize + sum((size - 1) * step for size, step in zip(array.shape, array.strides, strict=True))
    whole: bool = tensor.storage_offset() * array.itemsize + span <= tensor.untyped_storage().nbytes()
    return whole


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
    if array.dtype.isnative:
        return array if flags.c_contiguous and flags.aligned else gathered(array)
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True, subok=False)


def plain_array(array: AnyArray, dtype: np.dtype[Any]) -> AnyArray:
    """View an array of this dtype, which a subclass may call otherwise, as an ndarray."""
    return np.ndarray.view(array, dtype, np.ndarray)


def result_array(
    function: str, out: AnyArray | None, shape: tuple[int, ...], dtype: np.dtype[Any], *inputs: AnyArray
) -> AnyArray:
    """Allocate the result, or check the array that the caller wants it in.

    Raises
    ------
    TypeError
        If `out` is neither an ndarray nor a torch tensor, a masked array, or not of exactly `dtype`.
    ValueError
        If `out` has another shape, is not C-contiguous and writeable, or overlaps an input.
    """
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(out, torch.Tensor):
            raise type_error(function, f"out must be a NumPy array or a torch tensor, not {type(out).__name__}")
        out = _of_tensor(function, "out", out, torch, f"torch.empty({shape}, dtype=torch.{dtype.name})")
    if is_masked(out):
        raise type_error(function, "out is a masked array, whose mask would not be written", "give out.data")
    if out.dtype != dtype or not out.dtype.isnative:
        given = out.dtype.name if out.dtype.isnative else f"{out.dtype.name} with its bytes swapped"
        raise type_error(function, f"out has dtype {given}, the result {dtype.name}", "give out that dtype")
    if out.shape != shape:
        raise value_error(function, f"out has shape {out.shape}, the result {shape}", "give out that shape")
    flags = out.flags
    if not flags.aligned:
        raise value_error(function, "out is not aligned in memory", f"use numpy.empty({shape}, dtype={dtype.name!r})")
    if not flags.c_contiguous:
        raise value_error(function, "out must be C-contiguous", f"use numpy.empty({shape}, dtype={dtype.name!r})")
    if not flags.writeable:
        raise value_error(function, "out is read-only", "give an array that can be written to")
    for array in inputs:
        if np.may_share_memory(out, array):
            raise value_error(function, "out overlaps an input in memory", "give out memory of its own")
    return out


def rounded(values: AnyArray, result: AnyArray) -> AnyArray:
    """Store float64 values in the dtype of `result`, rounding once."""
    if result.dtype.name == "bfloat16":
        # By way of float32, which must keep for the second rounding on which side of a tie a value lies: what is not
        # exact becomes the one of its two neighbours that ends in a 1.
        with np.errstate(over="ignore"):
            narrow = values.astype(np.float32)
        bits = narrow.view(np.uint32)
        inexact = (narrow != values) & (values == values) & (bits & 1 == 0)
        up = inexact & (np.abs(narrow) < np.abs(values))
        down = inexact & ~up
        bits += up
        bits -= down
        values = narrow
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        result[...] = values.astype(result.dtype)
    return result
