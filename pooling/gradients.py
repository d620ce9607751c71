"""Gradients of the pooling functions: ``<name>_backward(grad_output, input, <the same arguments>)``."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from . import geometry
from .annotations import AdaptiveSize, AnyArray, Layout, NanRule, Rounding
from .arrays import as_array
from .calls import Windows, checked_gradient, checked_indices, in_other_layout, resolve
from .describe import described
from .geometry import Padding, Sizes
from .operators import OPERATORS

__all__ = [
    "adaptive_avg_pool1d_backward",
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool3d_backward",
    "adaptive_max_pool1d_backward",
    "adaptive_max_pool2d_backward",
    "adaptive_max_pool3d_backward",
    "avg_pool1d_backward",
    "avg_pool2d_backward",
    "avg_pool3d_backward",
    "global_avg_pool_backward",
    "global_max_pool_backward",
    "max_pool1d_backward",
    "max_pool2d_backward",
    "max_pool3d_backward",
    "min_pool1d_backward",
    "min_pool2d_backward",
    "min_pool3d_backward",
]


def _scatter(
    operator: str,
    function: str,
    dimensions: int | None,
    grad_output: ArrayLike,
    input: ArrayLike,
    windows: Windows,
    indices: ArrayLike | None,
    layout: str,
    nan: str,
    out: AnyArray | None,
) -> AnyArray:
    array = as_array(function, "input", input, OPERATORS[operator].gradient_dtypes)
    call = resolve(operator, function, dimensions, array, windows, layout, nan=nan)
    gradient, named = checked_gradient(call, grad_output), checked_indices(call, indices)
    moved = in_other_layout(gradient, dimensions, layout) if out is None else None
    if moved is None:
        return call.scatter_backward(gradient, array, named, out)
    array = moved.view(array)
    call = resolve(operator, function, dimensions, array, windows, moved.layout, nan=nan)
    named = None if named is None else moved.view(named)
    return moved.back(call.scatter_backward(moved.array, array, named, out))


def _spread(
    operator: str,
    function: str,
    dimensions: int | None,
    grad_output: ArrayLike,
    input: ArrayLike,
    windows: Windows,
    layout: str,
    out: AnyArray | None,
    **divisors: Any,
) -> AnyArray:
    array = as_array(function, "input", input, OPERATORS[operator].gradient_dtypes)
    call = resolve(operator, function, dimensions, array, windows, layout, **divisors)
    gradient = checked_gradient(call, grad_output)
    moved = in_other_layout(gradient, dimensions, layout) if out is None else None
    if moved is None:
        return call.average_backward(gradient, array, out)
    call = resolve(operator, function, dimensions, moved.view(array), windows, moved.layout, **divisors)
    return moved.back(call.average_backward(moved.array, moved.view(array), out))


@described("max_pool", 1)
def max_pool1d_backward(
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
    """Gradient of `pooling.max_pool1d` with respect to its input.

    Each gradient goes to the element that its window's index names: the first of equal elements, or the first NaN.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result: its shape, and the input's dtype.
    {input}
    {windows}
    return_indices : bool
        Has no effect; here so that the forward call's arguments can be passed on.
    indices : array_like of integers, optional
        What the forward call returned as indices; without them they are found again in `input`.
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}
        Also if an index names no element of its plane.

    Notes
    -----
    Equals what torch.autograd makes of ``torch.nn.functional.max_pool1d``, but for windows with several NaN, where
    torch takes the last.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.arange(4.0).reshape(1, 1, 4)
    >>> pooling.max_pool1d_backward(np.ones((1, 1, 2)), x, 2).ravel()
    array([0., 1., 0., 1.])
    """
    geometry.flag("max_pool1d_backward", "return_indices", return_indices)
    windows = Windows(kernel_size, stride, padding, dilation, ceil_mode)
    return _scatter("max_pool", "max_pool1d_backward", 1, grad_output, input, windows, indices, layout, nan, out)


@described("max_pool", 2)
def max_pool2d_backward(
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
    """Gradient of `pooling.max_pool2d` with respect to its input.

    Each gradient goes to the element that its window's index names: the first of equal elements, or the first NaN.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result: its shape, and the input's dtype.
    {input}
    {windows}
    return_indices : bool
        Has no effect; here so that the forward call's arguments can be passed on.
    indices : array_like of integers, optional
        What the forward call returned as indices; without them they are found again in `input`.
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}
        Also if an index names no element of its plane.

    Notes
    -----
    Equals what torch.autograd makes of ``torch.nn.functional.max_pool2d``, but for windows with several NaN, where
    torch takes the last.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.arange(4.0).reshape(1, 1, 1, 4)
    >>> pooling.max_pool2d_backward(np.ones((1, 1, 1, 2)), x, (1, 2)).ravel()
    array([0., 1., 0., 1.])
    """
    geometry.flag("max_pool2d_backward", "return_indices", return_indices)
    windows = Windows(kernel_size, stride, padding, dilation, ceil_mode)
    return _scatter("max_pool", "max_pool2d_backward", 2, grad_output, input, windows, indices, layout, nan, out)


@described("max_pool", 3)
def max_pool3d_backward(
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
    """Gradient of `pooling.max_pool3d` with respect to its input.

    Each gradient goes to the element that its window's index names: the first of equal elements, or the first NaN.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result: its shape, and the input's dtype.
    {input}
    {windows}
    return_indices : bool
        Has no effect; here so that the forward call's arguments can be passed on.
    indices : array_like of integers, optional
        What the forward call returned as indices; without them they are found again in `input`.
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}
        Also if an index names no element of its plane.

    Notes
    -----
    Equals what torch.autograd makes of ``torch.nn.functional.max_pool3d``, but for windows with several NaN, where
    torch takes the last.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.arange(4.0).reshape(1, 1, 1, 1, 4)
    >>> pooling.max_pool3d_backward(np.ones((1, 1, 1, 1, 2)), x, (1, 1, 2)).ravel()
    array([0., 1., 0., 1.])
    """
    geometry.flag("max_pool3d_backward", "return_indices", return_indices)
    windows = Windows(kernel_size, stride, padding, dilation, ceil_mode)
    return _scatter("max_pool", "max_pool3d_backward", 3, grad_output, input, windows, indices, layout, nan, out)


@described("min_pool", 1)
def min_pool1d_backward(
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
    """Gradient of `pooling.min_pool1d` with respect to its input.

    Each gradient goes to the element that its window's index names: the first of equal elements, or the first NaN.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result: its shape, and the input's dtype.
    {input}
    {windows}
    return_indices : bool
        Has no effect; here so that the forward call's arguments can be passed on.
    indices : array_like of integers, optional
        What the forward call returned as indices; without them they are found again in `input`.
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}
        Also if an index names no element of its plane.

    Notes
    -----
    Equals what torch.autograd makes of ``-max_pool1d(-input)``, but for windows with several NaN, where torch takes
    the last.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.arange(4.0).reshape(1, 1, 4)
    >>> pooling.min_pool1d_backward(np.ones((1, 1, 2)), x, 2).ravel()
    array([1., 0., 1., 0.])
    """
    geometry.flag("min_pool1d_backward", "return_indices", return_indices)
    windows = Windows(kernel_size, stride, padding, dilation, ceil_mode)
    return _scatter("min_pool", "min_pool1d_backward", 1, grad_output, input, windows, indices, layout, nan, out)


@described("min_pool", 2)
def min_pool2d_backward(
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
    """Gradient of `pooling.min_pool2d` with respect to its input.

    Each gradient goes to the element that its window's index names: the first of equal elements, or the first NaN.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result: its shape, and the input's dtype.
    {input}
    {windows}
    return_indices : bool
        Has no effect; here so that the forward call's arguments can be passed on.
    indices : array_like of integers, optional
        What the forward call returned as indices; without them they are found again in `input`.
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}
        Also if an index names no element of its plane.

    Notes
    -----
    Equals what torch.autograd makes of ``-max_pool2d(-input)``, but for windows with several NaN, where torch takes
    the last.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.arange(4.0).reshape(1, 1, 1, 4)
    >>> pooling.min_pool2d_backward(np.ones((1, 1, 1, 2)), x, (1, 2)).ravel()
    array([1., 0., 1., 0.])
    """
    geometry.flag("min_pool2d_backward", "return_indices", return_indices)
    windows = Windows(kernel_size, stride, padding, dilation, ceil_mode)
    return _scatter("min_pool", "min_pool2d_backward", 2, grad_output, input, windows, indices, layout, nan, out)


@described("min_pool", 3)
def min_pool3d_backward(
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
    """Gradient of `pooling.min_pool3d` with respect to its input.

    Each gradient goes to the element that its window's index names: the first of equal elements, or the first NaN.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result: its shape, and the input's dtype.
    {input}
    {windows}
    return_indices : bool
        Has no effect; here so that the forward call's arguments can be passed on.
    indices : array_like of integers, optional
        What the forward call returned as indices; without them they are found again in `input`.
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}
        Also if an index names no element of its plane.

    Notes
    -----
    Equals what torch.autograd makes of ``-max_pool3d(-input)``, but for windows with several NaN, where torch takes
    the last.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.arange(4.0).reshape(1, 1, 1, 1, 4)
    >>> pooling.min_pool3d_backward(np.ones((1, 1, 1, 1, 2)), x, (1, 1, 2)).ravel()
    array([1., 0., 1., 0.])
    """
    geometry.flag("min_pool3d_backward", "return_indices", return_indices)
    windows = Windows(kernel_size, stride, padding, dilation, ceil_mode)
    return _scatter("min_pool", "min_pool3d_backward", 3, grad_output, input, windows, indices, layout, nan, out)


@described("avg_pool", 1)
def avg_pool1d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    divisor_override: float | None = None,
    dilation: Sizes = 1,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    rounding: Rounding = "half_even",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.avg_pool1d` with respect to its input.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result: its shape, and the input's dtype.
    {input} Only shape and dtype matter here, unless NaN is ignored.
    {windows}
    count_include_pad : bool
        Whether the declared padding counts as zeros in the mean.
    divisor_override : float, optional
        Divisor of every sum.
    {layout}
    nan : {"propagate", "ignore"}
        As in the forward call; if ignored, numbers share the gradient of a window, and NaN of the input have none.
    rounding : str
        Has no effect; here so that the forward call's arguments can be passed on.
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals what torch.autograd makes of ``torch.nn.functional.avg_pool1d``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.zeros((1, 1, 4))
    >>> pooling.avg_pool1d_backward(np.ones((1, 1, 2)), x, 2).ravel()
    array([0.5, 0.5, 0.5, 0.5])
    """
    windows = Windows(kernel_size, stride, padding, dilation, ceil_mode)
    return _spread(
        "avg_pool",
        "avg_pool1d_backward",
        1,
        grad_output,
        input,
        windows,
        layout,
        out,
        nan=nan,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
        rounding=rounding,
    )


@described("avg_pool", 2)
def avg_pool2d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: float | None = None,
    *,
    dilation: Sizes = 1,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    rounding: Rounding = "half_even",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.avg_pool2d` with respect to its input.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result: its shape, and the input's dtype.
    {input} Only shape and dtype matter here, unless NaN is ignored.
    {windows}
    count_include_pad : bool
        Whether the declared padding counts as zeros in the mean.
    divisor_override : float, optional
        Divisor of every sum.
    {layout}
    nan : {"propagate", "ignore"}
        As in the forward call; if ignored, numbers share the gradient of a window, and NaN of the input have none.
    rounding : str
        Has no effect; here so that the forward call's arguments can be passed on.
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals what torch.autograd makes of ``torch.nn.functional.avg_pool2d``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.zeros((1, 1, 1, 4))
    >>> pooling.avg_pool2d_backward(np.ones((1, 1, 1, 2)), x, (1, 2)).ravel()
    array([0.5, 0.5, 0.5, 0.5])
    """
    windows = Windows(kernel_size, stride, padding, dilation, ceil_mode)
    return _spread(
        "avg_pool",
        "avg_pool2d_backward",
        2,
        grad_output,
        input,
        windows,
        layout,
        out,
        nan=nan,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
        rounding=rounding,
    )


@described("avg_pool", 3)
def avg_pool3d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: float | None = None,
    *,
    dilation: Sizes = 1,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    rounding: Rounding = "half_even",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.avg_pool3d` with respect to its input.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result: its shape, and the input's dtype.
    {input} Only shape and dtype matter here, unless NaN is ignored.
    {windows}
    count_include_pad : bool
        Whether the declared padding counts as zeros in the mean.
    divisor_override : float, optional
        Divisor of every sum.
    {layout}
    nan : {"propagate", "ignore"}
        As in the forward call; if ignored, numbers share the gradient of a window, and NaN of the input have none.
    rounding : str
        Has no effect; here so that the forward call's arguments can be passed on.
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals what torch.autograd makes of ``torch.nn.functional.avg_pool3d``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.zeros((1, 1, 1, 1, 4))
    >>> pooling.avg_pool3d_backward(np.ones((1, 1, 1, 1, 2)), x, (1, 1, 2)).ravel()
    array([0.5, 0.5, 0.5, 0.5])
    """
    windows = Windows(kernel_size, stride, padding, dilation, ceil_mode)
    return _spread(
        "avg_pool",
        "avg_pool3d_backward",
        3,
        grad_output,
        input,
        windows,
        layout,
        out,
        nan=nan,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
        rounding=rounding,
    )


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
    {any_rank}
    indices : array_like of integers, optional
        Position of each result in its plane; without them they are found again in `input`.
    {dimensions}
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}

    Notes
    -----
    The gradient goes to the first of equal elements, or the first NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.global_max_pool_backward(np.full((1, 1, 1, 1), 8.0), np.arange(4.0).reshape(1, 1, 2, 2)).ravel()
    array([0., 0., 0., 8.])
    """
    return _scatter(
        "global_max_pool",
        "global_max_pool_backward",
        dimensions,
        grad_output,
        input,
        Windows(),
        indices,
        layout,
        nan,
        out,
    )


@described("global_avg_pool")
def global_avg_pool_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    *,
    dimensions: int | None = None,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    rounding: Rounding = "half_even",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.global_avg_pool` with respect to its input.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result, shape ``(N, C, 1, ..., 1)``, with the input's dtype.
    {any_rank}
    {dimensions}
    {layout}
    nan : {"propagate", "ignore"}
        As in the forward call; if ignored, numbers share the gradient of a window, and NaN of the input have none.
    rounding : str
        Has no effect; here so that the forward call's arguments can be passed on.
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}

    Notes
    -----
    Every element of a channel gets the same share.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.global_avg_pool_backward(np.full((1, 1, 1, 1), 8.0), np.arange(4.0).reshape(1, 1, 2, 2)).ravel()
    array([2., 2., 2., 2.])
    """
    return _spread(
        "global_avg_pool",
        "global_avg_pool_backward",
        dimensions,
        grad_output,
        input,
        Windows(),
        layout,
        out,
        nan=nan,
        rounding=rounding,
    )


@described("adaptive_avg_pool", 1)
def adaptive_avg_pool1d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    output_size: AdaptiveSize,
    *,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    rounding: Rounding = "half_even",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.adaptive_avg_pool1d` with respect to its input.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result: its shape, and the input's dtype.
    {input}
    output_size : int, None or sequence of them
        As in the forward call.
    {layout}
    nan : {"propagate", "ignore"}
        As in the forward call; if ignored, numbers share the gradient of a window, and NaN of the input have none.
    rounding : str
        Has no effect; here so that the forward call's arguments can be passed on.
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals what torch.autograd makes of ``torch.nn.functional.adaptive_avg_pool1d``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.adaptive_avg_pool1d_backward(np.ones((1, 1, 3)), np.arange(4.0).reshape(1, 1, 4), 3).ravel()
    array([0.5, 1. , 1. , 0.5])
    """
    windows = Windows(output_size=output_size)
    return _spread(
        "adaptive_avg_pool",
        "adaptive_avg_pool1d_backward",
        1,
        grad_output,
        input,
        windows,
        layout,
        out,
        nan=nan,
        rounding=rounding,
    )


@described("adaptive_avg_pool", 2)
def adaptive_avg_pool2d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    output_size: AdaptiveSize,
    *,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    rounding: Rounding = "half_even",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.adaptive_avg_pool2d` with respect to its input.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result: its shape, and the input's dtype.
    {input}
    output_size : int, None or sequence of them
        As in the forward call.
    {layout}
    nan : {"propagate", "ignore"}
        As in the forward call; if ignored, numbers share the gradient of a window, and NaN of the input have none.
    rounding : str
        Has no effect; here so that the forward call's arguments can be passed on.
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals what torch.autograd makes of ``torch.nn.functional.adaptive_avg_pool2d``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.adaptive_avg_pool2d_backward(np.ones((1, 1, 1, 3)), np.arange(4.0).reshape(1, 1, 1, 4), (1, 3)).ravel()
    array([0.5, 1. , 1. , 0.5])
    """
    windows = Windows(output_size=output_size)
    return _spread(
        "adaptive_avg_pool",
        "adaptive_avg_pool2d_backward",
        2,
        grad_output,
        input,
        windows,
        layout,
        out,
        nan=nan,
        rounding=rounding,
    )


@described("adaptive_avg_pool", 3)
def adaptive_avg_pool3d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    output_size: AdaptiveSize,
    *,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    rounding: Rounding = "half_even",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.adaptive_avg_pool3d` with respect to its input.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result: its shape, and the input's dtype.
    {input}
    output_size : int, None or sequence of them
        As in the forward call.
    {layout}
    nan : {"propagate", "ignore"}
        As in the forward call; if ignored, numbers share the gradient of a window, and NaN of the input have none.
    rounding : str
        Has no effect; here so that the forward call's arguments can be passed on.
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals what torch.autograd makes of ``torch.nn.functional.adaptive_avg_pool3d``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.arange(4.0).reshape(1, 1, 1, 1, 4)
    >>> pooling.adaptive_avg_pool3d_backward(np.ones((1, 1, 1, 1, 3)), x, (1, 1, 3)).ravel()
    array([0.5, 1. , 1. , 0.5])
    """
    windows = Windows(output_size=output_size)
    return _spread(
        "adaptive_avg_pool",
        "adaptive_avg_pool3d_backward",
        3,
        grad_output,
        input,
        windows,
        layout,
        out,
        nan=nan,
        rounding=rounding,
    )


@described("adaptive_max_pool", 1)
def adaptive_max_pool1d_backward(
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
    """Gradient of `pooling.adaptive_max_pool1d` with respect to its input.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result: its shape, and the input's dtype.
    {input}
    output_size : int, None or sequence of them
        As in the forward call.
    return_indices : bool
        Has no effect; here so that the forward call's arguments can be passed on.
    indices : array_like of integers, optional
        What the forward call returned as indices; without them they are found again in `input`.
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals what torch.autograd makes of ``torch.nn.functional.adaptive_max_pool1d``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.adaptive_max_pool1d_backward(np.ones((1, 1, 3)), np.arange(4.0).reshape(1, 1, 4), 3).ravel()
    array([0., 1., 1., 1.])
    """
    geometry.flag("adaptive_max_pool1d_backward", "return_indices", return_indices)
    windows = Windows(output_size=output_size)
    return _scatter(
        "adaptive_max_pool", "adaptive_max_pool1d_backward", 1, grad_output, input, windows, indices, layout, nan, out
    )


@described("adaptive_max_pool", 2)
def adaptive_max_pool2d_backward(
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
    """Gradient of `pooling.adaptive_max_pool2d` with respect to its input.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result: its shape, and the input's dtype.
    {input}
    output_size : int, None or sequence of them
        As in the forward call.
    return_indices : bool
        Has no effect; here so that the forward call's arguments can be passed on.
    indices : array_like of integers, optional
        What the forward call returned as indices; without them they are found again in `input`.
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals what torch.autograd makes of ``torch.nn.functional.adaptive_max_pool2d``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.adaptive_max_pool2d_backward(np.ones((1, 1, 1, 3)), np.arange(4.0).reshape(1, 1, 1, 4), (1, 3)).ravel()
    array([0., 1., 1., 1.])
    """
    geometry.flag("adaptive_max_pool2d_backward", "return_indices", return_indices)
    windows = Windows(output_size=output_size)
    return _scatter(
        "adaptive_max_pool", "adaptive_max_pool2d_backward", 2, grad_output, input, windows, indices, layout, nan, out
    )


@described("adaptive_max_pool", 3)
def adaptive_max_pool3d_backward(
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
    """Gradient of `pooling.adaptive_max_pool3d` with respect to its input.

    Parameters
    ----------
    grad_output : array_like
        Gradient with respect to the result: its shape, and the input's dtype.
    {input}
    output_size : int, None or sequence of them
        As in the forward call.
    return_indices : bool
        Has no effect; here so that the forward call's arguments can be passed on.
    indices : array_like of integers, optional
        What the forward call returned as indices; without them they are found again in `input`.
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray
        Gradient with respect to `input`.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals what torch.autograd makes of ``torch.nn.functional.adaptive_max_pool3d``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.arange(4.0).reshape(1, 1, 1, 1, 4)
    >>> pooling.adaptive_max_pool3d_backward(np.ones((1, 1, 1, 1, 3)), x, (1, 1, 3)).ravel()
    array([0., 1., 1., 1.])
    """
    geometry.flag("adaptive_max_pool3d_backward", "return_indices", return_indices)
    windows = Windows(output_size=output_size)
    return _scatter(
        "adaptive_max_pool", "adaptive_max_pool3d_backward", 3, grad_output, input, windows, indices, layout, nan, out
    )
