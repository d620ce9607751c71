"""Arguments that all exports take, checked."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, NoReturn, Self

import numpy as np
import onnx

import pooling
from pooling.arguments import INT64_MAX, plain, whole, word
from pooling.errors import rename, type_error, value_error
from pooling.families.unpooling import CONVENTIONS
from pooling.layer import Layer, Sequential
from pooling.maps import LAYOUTS
from pooling.operators import BOOL, FLOATS, INTEGERS
from pooling.signs import short_repr

from .graph_builder import Dims

__all__ = ["Request", "is_finite_only", "shown", "speaking_as"]

OLDEST_OPSET = 7
SPECIAL_VALUES = ("finite", "exact")
"""What a graph says of NaN and infinities: nothing, or what the layer does with them."""


@contextmanager
def speaking_as(function: str) -> Iterator[None]:
    """Let sentences of what is shared with `to_onnx` begin with the function that was called."""
    try:
        yield
    except Exception as error:
        rename(error, "to_onnx", function)
        raise


class Request(NamedTuple):
    """What `to_onnx` and `to_onnx_backward` are called with, checked."""

    pool: Layer | Sequential
    shape: Dims
    dtype: np.dtype[Any]
    opset: int | None
    """None where it is left to the lowering; see `plain_opset`."""
    indices: str
    output_size: Any
    finite: bool
    """Whether the graph is for finite numbers only."""

    @classmethod
    def of(
        cls,
        pool: Any,
        input_shape: Any,
        dtype: Any = np.float32,
        opset: Any = None,
        layout: Any = None,
        indices: Any = "torch",
        output_size: Any = None,
        special_values: Any = "finite",
        *,
        gradient: bool = False,
    ) -> Self:
        """Check the arguments of a call, which is for a gradient or not."""
        if not isinstance(pool, (Layer, Sequential)):
            _refuse_foreign(pool, "a Layer" if gradient else "a Layer or a Sequential")
        if gradient and isinstance(pool, Sequential):
            raise type_error(
                "to_onnx",
                f"must be a Layer, not {type(pool).__name__}",
                "export one layer at a time",
                argument=("pool", pool),
            )
        shape, number, version = _checked_shape(input_shape), _checked_dtype(dtype), _checked_opset(opset)
        finite = is_finite_only(special_values)
        _check_words(pool, layout, indices)
        return cls(pool, shape, number, version, indices, output_size, finite)


def _refuse_foreign(pool: Any, kinds: str) -> NoReturn:
    """Refuse what is no layer of this package; for a module of torch, say which layer takes its place."""
    kind = type(pool)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    remedy = "use a layer such as pooling.MaxPool2d(2)"
    ours = getattr(pooling, kind.__name__, None)
    if kind.__module__.startswith("torch.") and isinstance(ours, type) and issubclass(ours, (Layer, Sequential)):
        remedy = f"use pooling.{kind.__name__} with the same arguments"
    raise type_error("to_onnx", f"must be {kinds} of this package, not {name}", remedy, argument=("pool", pool))


def _checked_shape(shape: Any) -> Dims:
    """Return a shape as sizes and names."""
    entries = None
    if isinstance(shape, Sequence) and not isinstance(shape, (str, bytes)):
        with suppress(Exception):  # of somebody's own kind of sequence
            entries = list(shape)
    if entries is None:
        raise type_error(
            "to_onnx",
            f"must be a sequence of integers and names, not {type(shape).__name__}",
            argument=("input_shape", shape),
        )
    for entry in entries:
        if not isinstance(entry, str) and whole(entry) is None:
            raise type_error(
                "to_onnx",
                f"must hold integers and names, not {type(entry).__name__}",
                "give an unknown size a name such as 'N'",
                argument=("input_shape", shape),
            )
    sizes = tuple(str.__str__(entry) if isinstance(entry, str) else operator.index(entry) for entry in entries)
    for size in sizes:
        if size == "" or (isinstance(size, int) and size < 0):
            raise value_error(
                "to_onnx", f"must not hold {short_repr(size)}", "give a size or a name", argument=("input_shape", shape)
            )
        if isinstance(size, int) and size > INT64_MAX:
            raise value_error("to_onnx", "must not have sizes beyond 2**63 - 1", argument=("input_shape", shape))
    return sizes


def _checked_dtype(dtype: Any) -> np.dtype[Any]:
    """Return a dtype that can be exported."""
    try:
        if dtype is None:  # for NumPy that would be float64
            raise TypeError
        if isinstance(dtype, str) and dtype == "bfloat16":
            from ml_dtypes import bfloat16 as dtype
        found: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    except Exception:  # of whatever is no dtype
        raise type_error(
            "to_onnx", "is no NumPy dtype", "use a name such as 'float32'", argument=("dtype", dtype)
        ) from None
    known = FLOATS + INTEGERS + BOOL
    if found.name not in known:
        raise type_error("to_onnx", f"dtype={found.name} cannot be exported", f"use one of {', '.join(known)}")
    return found


def _checked_opset(opset: Any) -> int | None:
    """Return the opset, or None where there is none."""
    if opset is None:
        return None
    number = whole(opset)
    if number is None:
        raise type_error(
            "to_onnx", f"must be an integer or None, not {type(opset).__name__}", argument=("opset", opset)
        )
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= number <= newest:
        raise value_error(
            "to_onnx",
            f"must lie between {OLDEST_OPSET} and {newest}, the newest that onnx {onnx.__version__} knows",
            argument=("opset", opset),
        )
    return number


def is_finite_only(special_values: Any, function: str = "to_onnx") -> bool:
    """Tell whether a graph is for finite numbers only, by the argument that says so."""
    return word(function, "special_values", special_values, SPECIAL_VALUES) == "finite"


def _check_words(pool: Layer | Sequential, layout: Any, indices: Any) -> None:
    """Refuse a layout that is not that of the layers, and an unknown convention of indices."""
    if layout is not None:
        word("to_onnx", "layout", layout, LAYOUTS)
    word("to_onnx", "indices", indices, CONVENTIONS)
    for layer in [pool] if isinstance(pool, Layer) else pool:
        own = layer.arguments.get("layout", LAYOUTS[0])
        word(type(layer).__name__, "layout", own, LAYOUTS)
        if layout is not None and plain(layout) != layer.layout:
            raise value_error(
                "to_onnx",
                f"contradicts {type(layer).__name__}, whose layout is {layer.layout!r}",
                f"make the layer with layout={short_repr(layout)}, or leave the argument out",
                argument=("layout", layout),
            )


def shown(shape: Dims) -> str:
    """Write a shape with its names as they are."""
    return f"({', '.join(map(str, shape))})"
