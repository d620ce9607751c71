"""Greatest and smallest elements of windows, their indices and gradients: max, min, adaptive and global pooling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NoReturn, Protocol, Self, cast, overload

import numpy as np
from numpy.typing import ArrayLike

from .._core import Plan
from ..annotations import AdaptiveSize, AnyArray, Indexed, Layout, NanRule, Padding, Sizes
from ..arguments import INT64_MAX, flag
from ..arrays import as_array, dtype_name, native, plain_array
from ..calls import FUNCTIONS, Call, entry, placed, reducer_named, sum_kind
from ..dispatch import kernels
from ..errors import type_error, value_error
from ..layer import Layer
from ..plan import lay_out
from ..ranks import described, ranked
from ..signs import counted

__all__ = [
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "GlobalMaxPool1d",
    "GlobalMaxPool2d",
    "GlobalMaxPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MinPool1d",
    "MinPool2d",
    "MinPool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_backward",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_backward",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_backward",
    "global_max_pool",
    "global_max_pool_backward",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool3d",
    "max_pool3d_backward",
    "min_pool1d",
    "min_pool1d_backward",
    "min_pool2d",
    "min_pool2d_backward",
    "min_pool3d",
    "min_pool3d_backward",
]

INDEX = np.dtype(np.int64)
SCATTERED_BYTES = 1 << 20
"""Larger sums of gradients in wider numbers are made a part of a map at a time."""


@dataclass(frozen=True)
class Extreme(Call):
    """A call that finds the greatest or smallest element of each window."""

    reducer: int

    @classmethod
    def of(
        cls, function: str, shape: tuple[int, ...], dtype: np.dtype[Any], *, nan: Any = "propagate", **arguments: Any
    ) -> Self:
        """Resolve a call."""
        reducer = reducer_named(function, FUNCTIONS[function].operator.reducer, nan)
        return cls(*placed(function, shape, dtype, **arguments), kernels.REDUCERS[reducer])

    @cached_property
    def kind(self) -> int:
        """What kernels call the dtype."""
        return kernels.KINDS[dtype_name(self.dtype)]

    @cached_property
    def gradient_kind(self) -> int:
        """The same with rows in which gradients that meet are summed."""
        return sum_kind(self.dtype, self.index_plan.overlaps - 1)

    @cached_property
    def plan(self) -> Plan:
        """The loops of the forward call without indices."""
        return lay_out(self.planned, self.maps.outer, self.maps.inner)

    @property
    def loops(self) -> tuple[Plan, int, int, int]:
        """The same with what runs them: plan, reducer, kind and rounding."""
        return self.plan, self.reducer, self.kind, 0

    @property
    def index_loops(self) -> tuple[Plan, int, int]:
        """Plan, reducer and kind of the forward call with indices."""
        return self.index_plan, self.reducer, self.kind

    @property
    def gradient_loops(self) -> tuple[str, Plan, int, int, int, None]:
        """How gradients are made, plan, reducer, and kinds of the input and of the gradient."""
        return "scatter", self.index_plan, self.reducer, self.kind, self.gradient_kind, None

    @cached_property
    def finds_first(self) -> bool:
        """Whether argmaxes are found before gradients are summed, in wider numbers and a part of a map at a time.

        There are few then, and maps are large: each part would look for them again, or take memory for all of it.
        """
        cells, outputs = math.prod(self.maps.sizes), math.prod(self.output_shape)
        return self.dtype.itemsize < 4 and 4 * cells > SCATTERED_BYTES >= 16 * outputs

    def indices(self, given: ArrayLike | None) -> AnyArray | None:
        """Check indices that a forward call returned."""
        if given is None:
            return None
        array = as_array(self.function, "indices", given)
        as_returned = array.dtype is INDEX
        if not as_returned and array.dtype.kind not in "iu":
            raise type_error(
                self.function, f"indices have dtype {array.dtype.name}", "give the int64 indices of the forward call"
            )
        if not as_returned and array.dtype == np.uint64 and array.size and int(array.max()) > INT64_MAX:
            raise value_error(
                self.function, f"indices hold {int(array.max())}, beyond every plane", "give those of the forward call"
            )
        if array.shape != self.output_shape:
            raise value_error(
                self.function, f"indices have shape {array.shape}, but the forward call returns {self.output_shape}"
            )
        return array if as_returned else array.astype(np.int64, copy=False)

    def forward(self, array: AnyArray) -> AnyArray:
        """Pool an array that kernels can read, as a step of another pooling."""
        result: AnyArray = self.runner.forward(array, None, False)
        return result

    def backward(
        self, grad_output: AnyArray, array: AnyArray, indices: AnyArray | None, out: AnyArray | None
    ) -> AnyArray:
        """Send each gradient to the element that its index names."""
        inputs = (grad_output, array) if indices is None else (grad_output, array, indices)
        result = self.input_gradient(out, *inputs)
        source = native(array) if indices is None else None
        if source is not None and self.finds_first:
            _, indices = self.runner.forward(source, None, True)
            source = None
        given = None if indices is None else native(indices)
        made = self.runner.backward(native(grad_output), source, given, plain_array(result, self.dtype))
        assert made is not None
        return result

    def refuse_index(self, indices: AnyArray, bad: int) -> NoReturn:
        """Say which of the given indices names no element of its plane."""
        position = tuple(int(i) for i in np.unravel_index(bad, indices.shape))
        raise value_error(
            self.function,
            f"indices{list(position)} is {indices[position]}, but a plane of the input has "
            f"{counted(math.prod(self.maps.sizes), 'element')}",
            "give the indices that the forward call returned for this input shape",
        )


way_in = entry(Extreme)
pool, gradient = way_in.forward, way_in.backward


# ---------------------------------------------------------------------------------------------------------------------
# Max and min pooling


class Sliding(Protocol):
    """A function of windows that slide: its flag decides what comes back; without it, the first that fits."""

    @overload
    def __call__(
        self,
        input: ArrayLike,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
        return_indices: Literal[False] = False,
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        out: AnyArray | None = None,
    ) -> AnyArray: ...

    @overload
    def __call__(
        self,
        input: ArrayLike,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
        return_indices: Literal[True] = ...,
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        out: AnyArray | None = None,
    ) -> Indexed: ...

    @overload
    def __call__(
        self,
        input: ArrayLike,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        out: AnyArray | None = None,
    ) -> AnyArray | Indexed: ...


def _extreme_pool(
    input: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    out: AnyArray | None = None,
) -> AnyArray | Indexed:
    """{Extreme} element of each window {windows_of}.

    Parameters
    ----------
    return_indices : bool
        Whether to return as well where each result comes from.

    Returns
    -------
    ndarray, or tuple of two
        The result, and with `return_indices` the int64 position of each result in its plane, flat in row-major order:
        the first of equal elements, the first NaN, or -1 for a window without any element.

    {raises}

    Notes
    -----
    Equals {equal}.
    Padding holds no element: it never wins, and a window of {worst} is {worst}.

    {examples}
    {example}
    """
    return pool(
        "{function}", input, out, return_indices, kernel_size, stride, padding, dilation, ceil_mode, layout, nan
    )


def _extreme_pool_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    indices: ArrayLike | None = None,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.{forward}` with respect to its input.

    Each gradient goes to the element that its window's index names: the first of equal elements, or the first NaN.

    {gradient_or_errors}
        Also if an index names no element of its plane.

    Notes
    -----
    Equals what torch.autograd makes of {equal}, but for windows with several NaN, where torch
    takes the last.

    {examples}
    >>> x = np.arange(4.0).reshape{row 4}
    >>> pooling.{function}(np.ones({row 2}), x, {along 2}).ravel()
    {result}
    """
    if type(return_indices) is not bool:
        flag("{function}", "return_indices", return_indices)
    return gradient(
        "{function}",
        grad_output,
        input,
        indices,
        out,
        kernel_size,
        stride,
        padding,
        dilation,
        ceil_mode,
        layout,
        nan,
    )


EXAMPLES = (
    """
    >>> pooling.{function}(np.array([[[1.0, 3.0, 2.0, 1.0]]]), 2)
    array([[[{pair}]]])""",
    """
    >>> x = np.array([[1, 3, 2, 1], [5, 6, 7, 8], [4, 2, 1, 3], [10, 14, 12, 16]], dtype=np.float32)
    >>> pooling.{function}(x[None, None], 2)
    array([[[[{upper}],
             [{lower}]]]], dtype=float32)""",
    """
    >>> pooling.{function}(np.arange(8.0).reshape(1, 1, 2, 2, 2), 2)
    array([[[[[{one}]]]]])""",
)

max_pool1d, max_pool2d, max_pool3d = ranked(
    cast(Sliding, _extreme_pool),
    "max_pool",
    Extreme="Greatest",
    equal="``torch.nn.functional.max_pool{n}d`` and ONNX MaxPool-22 where those agree with each other",
    worst="-inf",
    example=EXAMPLES,
    pair="3., 2.",
    upper=" 6.,  8.",
    lower="14., 16.",
    one="7.",
)
min_pool1d, min_pool2d, min_pool3d = ranked(
    cast(Sliding, _extreme_pool),
    "min_pool",
    Extreme="Smallest",
    equal="``-torch.nn.functional.max_pool{n}d(-input)``, and is right for unsigned and the smallest integers as well",
    worst="inf",
    example=EXAMPLES,
    pair="1., 1.",
    upper="1., 1.",
    lower="2., 1.",
    one="0.",
)
max_pool1d_backward, max_pool2d_backward, max_pool3d_backward = ranked(
    _extreme_pool_backward,
    "max_pool",
    "_backward",
    equal="``torch.nn.functional.max_pool{n}d``",
    result="array([0., 1., 0., 1.])",
)
min_pool1d_backward, min_pool2d_backward, min_pool3d_backward = ranked(
    _extreme_pool_backward,
    "min_pool",
    "_backward",
    equal="``-max_pool{n}d(-input)``",
    result="array([1., 0., 1., 0.])",
)


# ---------------------------------------------------------------------------------------------------------------------
# Adaptive max pooling


class Adaptive(Protocol):
    """A function of a fixed number of windows, likewise."""

    @overload
    def __call__(
        self,
        input: ArrayLike,
        output_size: AdaptiveSize,
        return_indices: Literal[False] = False,
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        out: AnyArray | None = None,
    ) -> AnyArray: ...

    @overload
    def __call__(
        self,
        input: ArrayLike,
        output_size: AdaptiveSize,
        return_indices: Literal[True],
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        out: AnyArray | None = None,
    ) -> Indexed: ...

    @overload
    def __call__(
        self,
        input: ArrayLike,
        output_size: AdaptiveSize,
        return_indices: bool = False,
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
        out: AnyArray | None = None,
    ) -> AnyArray | Indexed: ...


def _adaptive_max_pool(
    input: ArrayLike,
    output_size: AdaptiveSize,
    return_indices: bool = False,
    *,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    out: AnyArray | None = None,
) -> AnyArray | Indexed:
    """Greatest element of each of a fixed number of windows on every axis.

    Window ``o`` of ``O`` on an axis of ``I`` cells runs from ``floor(o * I / O)`` to ``ceil((o + 1) * I / O)``.

    Parameters
    ----------
    return_indices : bool
        Whether to return as well where each result comes from, as `pooling.max_pool{n}d` does.

    Returns
    -------
    ndarray, or tuple of two
        The result, and with `return_indices` the int64 position of each result in its plane.

    {raises}

    Notes
    -----
    Equals ``torch.nn.functional.{function}``.

    {examples}
    >>> pooling.{function}(np.arange(7.0).reshape{row 7}, {along 3}).ravel()
    array([2., 4., 6.])
    """
    return pool("{function}", input, out, return_indices, output_size, layout, nan)


def _adaptive_max_pool_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    output_size: AdaptiveSize,
    return_indices: bool = False,
    *,
    indices: ArrayLike | None = None,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.{forward}` with respect to its input.

    Parameters
    ----------
    output_size : int, None or sequence of them
        As in the forward call.

    {gradient_or_errors}

    Notes
    -----
    {torch_gradient}.

    {examples}
    >>> x = np.arange(4.0).reshape{row 4}
    >>> pooling.{function}(np.ones({row 3}), x, {along 3}).ravel()
    array([0., 1., 1., 1.])
    """
    if type(return_indices) is not bool:
        flag("{function}", "return_indices", return_indices)
    return gradient("{function}", grad_output, input, indices, out, output_size, layout, nan)


adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = ranked(
    cast(Adaptive, _adaptive_max_pool), "adaptive_max_pool"
)
adaptive_max_pool1d_backward, adaptive_max_pool2d_backward, adaptive_max_pool3d_backward = ranked(
    _adaptive_max_pool_backward, "adaptive_max_pool", "_backward"
)


# ---------------------------------------------------------------------------------------------------------------------
# Global max pooling


@described("global_max_pool")
def global_max_pool(
    input: ArrayLike,
    *,
    dimensions: int | None = None,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    out: AnyArray | None = None,
) -> AnyArray:
    """Greatest element of each channel, over all spatial axes.

    {channels_or_errors}

    Notes
    -----
    ONNX GlobalMaxPool-22; torch has it as ``adaptive_max_pool2d(input, 1)``.

    {examples}
    >>> pooling.global_max_pool(np.arange(4.0).reshape(1, 1, 2, 2))
    array([[[[3.]]]])
    """
    return pool("global_max_pool", input, out, False, dimensions, layout, nan)


@described("global_max_pool")
def global_max_pool_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    *,
    indices: ArrayLike | None = None,
    dimensions: int | None = None,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.global_max_pool` with respect to its input.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result, shape ``(N, C, 1, ..., 1)``, with the input's dtype.
    indices : array_like of integers, optional
        Position of each result in its plane; without them they are found again in `input`.

    {gradient_or_errors}

    Notes
    -----
    The gradient goes to the first of equal elements, or the first NaN.

    {examples}
    >>> pooling.global_max_pool_backward(np.full((1, 1, 1, 1), 8.0), np.arange(4.0).reshape(1, 1, 2, 2)).ravel()
    array([0., 0., 0., 8.])
    """
    return gradient("global_max_pool_backward", grad_output, input, indices, out, dimensions, layout, nan)


# ---------------------------------------------------------------------------------------------------------------------
# Layers


class _MaxPool(Layer):
    """Layer of `pooling.{function}`, with the arguments of ``torch.nn.{layer}`` and keyword-only extras."""

    operator = "max_pool"
    _example = """
        >>> {layer}(3, stride=2, padding=1)
        {layer}(kernel_size=3, stride=2, padding=1)
        >>> {layer}(3, stride=2, padding=1).output_shape({maps 112})
        {maps 56}"""

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
    ) -> None: ...

    def __call__(self, input: ArrayLike) -> AnyArray | Indexed:
        """Pool an array; with ``return_indices``, return the indices as well."""
        result: AnyArray | Indexed = type(self)._pool(input, **self._arguments)
        return result


class MaxPool1d(_MaxPool, dimensions=1): ...


class MaxPool2d(_MaxPool, dimensions=2): ...


class MaxPool3d(_MaxPool, dimensions=3): ...


class _MinPool(_MaxPool):
    """Layer of `pooling.{function}`, with the arguments of `MaxPool{n}d`."""

    operator = "min_pool"


class MinPool1d(_MinPool, dimensions=1): ...


class MinPool2d(_MinPool, dimensions=2): ...


class MinPool3d(_MinPool, dimensions=3): ...


class _AdaptiveMaxPool(Layer):
    """Layer of `pooling.{function}`, with the arguments of ``torch.nn.{layer}``."""

    operator = "adaptive_max_pool"
    _example = """
        >>> {layer}(7).output_shape({maps 13})
        {maps 7}"""

    def __init__(
        self,
        output_size: AdaptiveSize,
        return_indices: bool = False,
        *,
        layout: Layout = "channels_first",
        nan: NanRule = "propagate",
    ) -> None: ...


class AdaptiveMaxPool1d(_AdaptiveMaxPool, dimensions=1): ...


class AdaptiveMaxPool2d(_AdaptiveMaxPool, dimensions=2): ...


class AdaptiveMaxPool3d(_AdaptiveMaxPool, dimensions=3): ...


class _GlobalMaxPool(Layer):
    """Layer of `pooling.{function}` for ``({first})``."""

    operator = "global_max_pool"
    _example = """
        >>> {layer}().output_shape({maps 7})
        {maps 1}"""

    def __init__(self, *, layout: Layout = "channels_first", nan: NanRule = "propagate") -> None: ...


class GlobalMaxPool1d(_GlobalMaxPool, dimensions=1): ...


class GlobalMaxPool2d(_GlobalMaxPool, dimensions=2): ...


class GlobalMaxPool3d(_GlobalMaxPool, dimensions=3): ...
