"""What comes in as an array, and what may be written to."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["as_array", "native", "result_array"]

AnyArray = NDArray[Any]


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
    elif isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{function}: {name} is a masked array, whose mask would be ignored; fill its masked elements with what "
            f"must not count: {name}.filled(numpy.nan) and nan='ignore', or for a maximum the smallest number"
        )
    elif isinstance(value, np.ndarray):
        # A subclass may say anything of its shape.
        array = np.asarray(value)
    elif value is None:
        raise TypeError(f"{function}: {name} is None; give an array of numbers")
    else:
        array = _foreign(function, name, value)
    if dtypes is not None and dtype_name(array.dtype) not in dtypes:
        if array.dtype.hasobject and not isinstance(value, np.ndarray):
            remedy = _OBJECT_REMEDIES.get(_kind(value), "give an array").format(name=name)
            raise TypeError(f"{function}: {name} of type {type(value).__name__} is no array of numbers; {remedy}")
        raise TypeError(
            f"{function}: {name} has dtype {array.dtype.name}, which is not accepted; use {', '.join(dtypes)}"
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
    for package, remedy in (("scipy", "toarray()"), ("sparse", "todense()")):
        if (
            type(value).__module__.partition(".")[0] == package
            and hasattr(value, remedy[:-2])
            and hasattr(value, "nnz")
        ):
            raise TypeError(f"{function}: {name} is a sparse {type(value).__name__}; give {name}.{remedy}")
    # What DLPack cannot say, as the bfloat16 of JAX, an array interface may.
    readers: list[Any] = [np.asarray]
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array_interface__"):
        readers = [np.from_dlpack, np.asarray] if hasattr(value, "__array__") else [np.from_dlpack]
    reason = ""
    for reader in readers:
        try:
            array: AnyArray = reader(value)
        except Exception as error:
            reason = reason or str(error).split("\n")[0].rstrip(".")
            failure = error
        else:
            return array
    raise TypeError(
        f"{function}: {name} of type {type(value).__name__} cannot be read as an array on the CPU ({reason}); "
        "pass a NumPy array"
    ) from failure


def _of_tensor(function: str, name: str, tensor: Any, torch: Any) -> AnyArray:
    """View a torch tensor as an array of the same memory, or say what to write instead."""

    def refused(what: str, remedy: str) -> TypeError:
        return TypeError(f"{function}: {name} is a torch tensor {what}; give {remedy}")

    if type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        raise refused(
            f"of the subclass {type(tensor).__name__}, which keeps its elements in its own way", "a plain one"
        )
    if tensor.is_nested:
        raise refused("of nested ones", f"one of {name}.unbind() at a time")
    if tensor.layout != torch.strided:
        raise refused(f"with the layout {tensor.layout}", f"{name}.to_dense()")
    if tensor.is_meta:
        raise refused("on the meta device, which holds no elements", "one on the CPU")
    if tensor.device.type != "cpu":
        raise refused(f"on the device {tensor.device}", f"{name}.cpu()")
    if tensor.is_quantized:
        raise refused("of quantised numbers", f"{name}.dequantize(), or {name}.int_repr()")
    if tensor.requires_grad and torch.is_grad_enabled():
        raise refused(
            "that requires a gradient, which no array carries on",
            f"{name}.detach(), or call inside torch.no_grad(); the functions *_backward give gradients",
        )
    try:
        tensor = tensor.as_subclass(torch.Tensor).detach().resolve_conj().resolve_neg()
        if tensor.dtype == torch.bfloat16:
            return _of_bfloat16(function, name, tensor, torch)
        array: AnyArray = tensor.numpy()
    except TypeError as error:
        if str(error).startswith(f"{function}: "):
            raise
        raise refused(f"of dtype {tensor.dtype}, which NumPy does not have", f"{name}.float()") from error
    except Exception as error:
        reason = str(error).split("\n")[0].rstrip(".")
        raise refused(
            f"that no array can be made of ({reason})", "one outside of torch.func and torch.compile"
        ) from error
    return array


def _of_bfloat16(function: str, name: str, tensor: Any, torch: Any) -> AnyArray:
    try:
        import ml_dtypes  # a dependency of nothing here, and NumPy's way to bfloat16
    except ImportError:
        raise TypeError(
            f"{function}: {name} is a torch tensor of torch.bfloat16, which NumPy knows by the package ml_dtypes; "
            f"run pip install ml_dtypes, or give {name}.float()"
        ) from None
    array: AnyArray = tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
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
        If `out` is neither an ndarray nor a torch tensor, or not of exactly `dtype`.
    ValueError
        If `out` has another shape, is not C-contiguous and writeable, or overlaps an input.
    """
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(out, torch.Tensor):
            raise TypeError(f"{function}: out must be a NumPy array or a torch tensor, not {type(out).__name__}")
        if out.is_neg() or out.is_conj():
            # Its elements are kept with another sign, so a view of them is a copy.
            raise TypeError(f"{function}: out is a torch tensor with its negative bit set; give torch.empty_like(out)")
        out = _of_tensor(function, "out", out, torch)
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
