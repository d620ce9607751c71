"""Pooling of arrays. Names, positional order and defaults follow torch.nn.functional."""

from __future__ import annotations

from numpy.typing import ArrayLike

from .annotations import AdaptiveSize, AnyArray, Indexed, Layout, NanRule, Rounding, adaptive, sliding
from .calls import pool
from .describe import described
from .geometry import Padding, Sizes

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "global_avg_pool",
    "global_max_pool",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "min_pool1d",
    "min_pool2d",
    "min_pool3d",
]


@sliding
@described("max_pool", 1)
def max_pool1d(
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
    """Greatest element of each window along one axis.

    Parameters
    ----------
    {input}
    {windows}
    return_indices : bool
        Whether to return as well where each result comes from.
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray, or tuple of two
        The result, and with `return_indices` the int64 position of each result in its plane, flat in row-major order:
        the first of equal elements, the first NaN, or -1 for a window without any element.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals ``torch.nn.functional.max_pool{n}d`` and ONNX MaxPool-22 where those agree with each other. Padding holds no
    element: it never wins, and a window of -inf is -inf.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.max_pool1d(np.array([[[1.0, 3.0, 2.0, 1.0]]]), 2)
    array([[[3., 2.]]])
    """
    return pool(
        "max_pool1d", input, out, return_indices, kernel_size, stride, padding, dilation, ceil_mode, layout, nan
    )


@sliding
@described("max_pool", 2)
def max_pool2d(
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
    """Greatest element of each window of a map.

    Parameters
    ----------
    {input}
    {windows}
    return_indices : bool
        Whether to return as well where each result comes from.
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray, or tuple of two
        The result, and with `return_indices` the int64 position of each result in its plane, flat in row-major order:
        the first of equal elements, the first NaN, or -1 for a window without any element.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals ``torch.nn.functional.max_pool{n}d`` and ONNX MaxPool-22 where those agree with each other. Padding holds no
    element: it never wins, and a window of -inf is -inf.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.array([[1, 3, 2, 1], [5, 6, 7, 8], [4, 2, 1, 3], [10, 14, 12, 16]], dtype=np.float32)
    >>> pooling.max_pool2d(x[None, None], 2)
    array([[[[ 6.,  8.],
             [14., 16.]]]], dtype=float32)
    """
    return pool(
        "max_pool2d", input, out, return_indices, kernel_size, stride, padding, dilation, ceil_mode, layout, nan
    )


@sliding
@described("max_pool", 3)
def max_pool3d(
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
    """Greatest element of each window of a volume.

    Parameters
    ----------
    {input}
    {windows}
    return_indices : bool
        Whether to return as well where each result comes from.
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray, or tuple of two
        The result, and with `return_indices` the int64 position of each result in its plane, flat in row-major order:
        the first of equal elements, the first NaN, or -1 for a window without any element.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals ``torch.nn.functional.max_pool{n}d`` and ONNX MaxPool-22 where those agree with each other. Padding holds no
    element: it never wins, and a window of -inf is -inf.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.max_pool3d(np.arange(8.0).reshape(1, 1, 2, 2, 2), 2)
    array([[[[[7.]]]]])
    """
    return pool(
        "max_pool3d", input, out, return_indices, kernel_size, stride, padding, dilation, ceil_mode, layout, nan
    )


@sliding
@described("min_pool", 1)
def min_pool1d(
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
    """Smallest element of each window along one axis.

    Parameters
    ----------
    {input}
    {windows}
    return_indices : bool
        Whether to return as well where each result comes from.
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray, or tuple of two
        The result, and with `return_indices` the int64 position of each result in its plane, flat in row-major order:
        the first of equal elements, the first NaN, or -1 for a window without any element.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals ``-max_pool{n}d(-input)``, and is right for unsigned and for the smallest integers as well. Padding holds no
    element: it never wins, and a window of inf is inf.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.min_pool1d(np.array([[[1.0, 3.0, 2.0, 1.0]]]), 2)
    array([[[1., 1.]]])
    """
    return pool(
        "min_pool1d", input, out, return_indices, kernel_size, stride, padding, dilation, ceil_mode, layout, nan
    )


@sliding
@described("min_pool", 2)
def min_pool2d(
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
    """Smallest element of each window of a map.

    Parameters
    ----------
    {input}
    {windows}
    return_indices : bool
        Whether to return as well where each result comes from.
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray, or tuple of two
        The result, and with `return_indices` the int64 position of each result in its plane, flat in row-major order:
        the first of equal elements, the first NaN, or -1 for a window without any element.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals ``-max_pool{n}d(-input)``, and is right for unsigned and for the smallest integers as well. Padding holds no
    element: it never wins, and a window of inf is inf.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.array([[1, 3, 2, 1], [5, 6, 7, 8], [4, 2, 1, 3], [10, 14, 12, 16]], dtype=np.float32)
    >>> pooling.min_pool2d(x[None, None], 2)
    array([[[[1., 1.],
             [2., 1.]]]], dtype=float32)
    """
    return pool(
        "min_pool2d", input, out, return_indices, kernel_size, stride, padding, dilation, ceil_mode, layout, nan
    )


@sliding
@described("min_pool", 3)
def min_pool3d(
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
    """Smallest element of each window of a volume.

    Parameters
    ----------
    {input}
    {windows}
    return_indices : bool
        Whether to return as well where each result comes from.
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray, or tuple of two
        The result, and with `return_indices` the int64 position of each result in its plane, flat in row-major order:
        the first of equal elements, the first NaN, or -1 for a window without any element.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals ``-max_pool{n}d(-input)``, and is right for unsigned and for the smallest integers as well. Padding holds no
    element: it never wins, and a window of inf is inf.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.min_pool3d(np.arange(8.0).reshape(1, 1, 2, 2, 2), 2)
    array([[[[[0.]]]]])
    """
    return pool(
        "min_pool3d", input, out, return_indices, kernel_size, stride, padding, dilation, ceil_mode, layout, nan
    )


@described("avg_pool", 1)
def avg_pool1d(
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
    """Mean of each window along one axis.

    Parameters
    ----------
    {input}
    {windows}
    count_include_pad : bool
        Whether the declared padding counts as zeros in the mean. Cells that only `ceil_mode` touches never count.
    divisor_override : float, optional
        Divide every sum by this number instead; finite and not zero.
    {layout}
    {nan}
    {rounding}
    {out}

    Returns
    -------
    ndarray
        The means, in the dtype of the input. A window without any element that counts is NaN, and with integers an
        error.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals ``torch.nn.functional.avg_pool{n}d`` and, with ``count_include_pad=False`` as ONNX has it by default,
    AveragePool-22. A float32 mean is within 4 units of 2**-23 times the mean of the magnitudes, for any window; a sum
    beyond the largest float32 is inf.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.avg_pool1d(np.array([[[1.0, 3.0, 2.0, 1.0]]]), 2)
    array([[[2. , 1.5]]])
    """
    return pool(
        "avg_pool1d",
        input,
        out,
        False,
        kernel_size,
        stride,
        padding,
        dilation,
        ceil_mode,
        layout,
        count_include_pad,
        divisor_override,
        rounding,
        nan,
    )


@described("avg_pool", 2)
def avg_pool2d(
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
    """Mean of each window of a map.

    Parameters
    ----------
    {input}
    {windows}
    count_include_pad : bool
        Whether the declared padding counts as zeros in the mean. Cells that only `ceil_mode` touches never count.
    divisor_override : float, optional
        Divide every sum by this number instead; finite and not zero.
    {layout}
    {nan}
    {rounding}
    {out}

    Returns
    -------
    ndarray
        The means, in the dtype of the input. A window without any element that counts is NaN, and with integers an
        error.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals ``torch.nn.functional.avg_pool{n}d`` and, with ``count_include_pad=False`` as ONNX has it by default,
    AveragePool-22. A float32 mean is within 4 units of 2**-23 times the mean of the magnitudes, for any window; a sum
    beyond the largest float32 is inf.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> pooling.avg_pool2d(x, 2)
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]], dtype=float32)
    """
    return pool(
        "avg_pool2d",
        input,
        out,
        False,
        kernel_size,
        stride,
        padding,
        dilation,
        ceil_mode,
        layout,
        count_include_pad,
        divisor_override,
        rounding,
        nan,
    )


@described("avg_pool", 3)
def avg_pool3d(
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
    """Mean of each window of a volume.

    Parameters
    ----------
    {input}
    {windows}
    count_include_pad : bool
        Whether the declared padding counts as zeros in the mean. Cells that only `ceil_mode` touches never count.
    divisor_override : float, optional
        Divide every sum by this number instead; finite and not zero.
    {layout}
    {nan}
    {rounding}
    {out}

    Returns
    -------
    ndarray
        The means, in the dtype of the input. A window without any element that counts is NaN, and with integers an
        error.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals ``torch.nn.functional.avg_pool{n}d`` and, with ``count_include_pad=False`` as ONNX has it by default,
    AveragePool-22. A float32 mean is within 4 units of 2**-23 times the mean of the magnitudes, for any window; a sum
    beyond the largest float32 is inf.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.avg_pool3d(np.arange(8.0).reshape(1, 1, 2, 2, 2), 2)
    array([[[[[3.5]]]]])
    """
    return pool(
        "avg_pool3d",
        input,
        out,
        False,
        kernel_size,
        stride,
        padding,
        dilation,
        ceil_mode,
        layout,
        count_include_pad,
        divisor_override,
        rounding,
        nan,
    )


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

    Parameters
    ----------
    {any_rank}
    {dimensions}
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray
        Shape ``(N, C, 1, ..., 1)``, or ``(N, 1, ..., 1, C)``; without the batch where the input has none.

    Raises
    ------
    {errors}

    Notes
    -----
    ONNX GlobalMaxPool-22; torch has it as ``adaptive_max_pool2d(input, 1)``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.global_max_pool(np.arange(4.0).reshape(1, 1, 2, 2))
    array([[[[3.]]]])
    """
    return pool("global_max_pool", input, out, False, dimensions, layout, nan)


@described("global_avg_pool")
def global_avg_pool(
    input: ArrayLike,
    *,
    dimensions: int | None = None,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    rounding: Rounding = "half_even",
    out: AnyArray | None = None,
) -> AnyArray:
    """Mean of each channel, over all spatial axes.

    Parameters
    ----------
    {any_rank}
    {dimensions}
    {layout}
    {nan}
    {rounding}
    {out}

    Returns
    -------
    ndarray
        Shape ``(N, C, 1, ..., 1)``, or ``(N, 1, ..., 1, C)``; without the batch where the input has none.

    Raises
    ------
    {errors}

    Notes
    -----
    ONNX GlobalAveragePool-22; torch has it as ``adaptive_avg_pool2d(input, 1)``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.global_avg_pool(np.arange(4.0).reshape(1, 1, 2, 2))
    array([[[[1.5]]]])
    """
    return pool("global_avg_pool", input, out, False, dimensions, layout, rounding, nan)


@described("adaptive_avg_pool", 1)
def adaptive_avg_pool1d(
    input: ArrayLike,
    output_size: AdaptiveSize,
    *,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    rounding: Rounding = "half_even",
    out: AnyArray | None = None,
) -> AnyArray:
    """Mean of each of a fixed number of windows on every axis.

    Window ``o`` of ``O`` on an axis of ``I`` cells runs from ``floor(o * I / O)`` to ``ceil((o + 1) * I / O)``.

    Parameters
    ----------
    {input}
    output_size : int, None or sequence of them
        Number of windows, for all axes or for each; None keeps an axis as it is.
    {layout}
    {nan}
    {rounding}
    {out}

    Returns
    -------
    ndarray
        The result, in the dtype of the input.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals ``torch.nn.functional.adaptive_avg_pool1d``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.adaptive_avg_pool1d(np.arange(7.0).reshape(1, 1, 7), 3).ravel()
    array([1., 3., 5.])
    """
    return pool("adaptive_avg_pool1d", input, out, False, output_size, layout, rounding, nan)


@described("adaptive_avg_pool", 2)
def adaptive_avg_pool2d(
    input: ArrayLike,
    output_size: AdaptiveSize,
    *,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    rounding: Rounding = "half_even",
    out: AnyArray | None = None,
) -> AnyArray:
    """Mean of each of a fixed number of windows on every axis.

    Window ``o`` of ``O`` on an axis of ``I`` cells runs from ``floor(o * I / O)`` to ``ceil((o + 1) * I / O)``.

    Parameters
    ----------
    {input}
    output_size : int, None or sequence of them
        Number of windows, for all axes or for each; None keeps an axis as it is.
    {layout}
    {nan}
    {rounding}
    {out}

    Returns
    -------
    ndarray
        The result, in the dtype of the input.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals ``torch.nn.functional.adaptive_avg_pool2d``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.adaptive_avg_pool2d(np.arange(7.0).reshape(1, 1, 1, 7), (1, 3)).ravel()
    array([1., 3., 5.])
    """
    return pool("adaptive_avg_pool2d", input, out, False, output_size, layout, rounding, nan)


@described("adaptive_avg_pool", 3)
def adaptive_avg_pool3d(
    input: ArrayLike,
    output_size: AdaptiveSize,
    *,
    layout: Layout = "channels_first",
    nan: NanRule = "propagate",
    rounding: Rounding = "half_even",
    out: AnyArray | None = None,
) -> AnyArray:
    """Mean of each of a fixed number of windows on every axis.

    Window ``o`` of ``O`` on an axis of ``I`` cells runs from ``floor(o * I / O)`` to ``ceil((o + 1) * I / O)``.

    Parameters
    ----------
    {input}
    output_size : int, None or sequence of them
        Number of windows, for all axes or for each; None keeps an axis as it is.
    {layout}
    {nan}
    {rounding}
    {out}

    Returns
    -------
    ndarray
        The result, in the dtype of the input.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals ``torch.nn.functional.adaptive_avg_pool3d``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.adaptive_avg_pool3d(np.arange(7.0).reshape(1, 1, 1, 1, 7), (1, 1, 3)).ravel()
    array([1., 3., 5.])
    """
    return pool("adaptive_avg_pool3d", input, out, False, output_size, layout, rounding, nan)


@adaptive
@described("adaptive_max_pool", 1)
def adaptive_max_pool1d(
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
    {input}
    output_size : int, None or sequence of them
        Number of windows, for all axes or for each; None keeps an axis as it is.
    return_indices : bool
        Whether to return as well where each result comes from, as `pooling.max_pool{n}d` does.
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray, or tuple of two
        The result, and with `return_indices` the int64 position of each result in its plane.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals ``torch.nn.functional.adaptive_max_pool1d``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.adaptive_max_pool1d(np.arange(7.0).reshape(1, 1, 7), 3).ravel()
    array([2., 4., 6.])
    """
    return pool("adaptive_max_pool1d", input, out, return_indices, output_size, layout, nan)


@adaptive
@described("adaptive_max_pool", 2)
def adaptive_max_pool2d(
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
    {input}
    output_size : int, None or sequence of them
        Number of windows, for all axes or for each; None keeps an axis as it is.
    return_indices : bool
        Whether to return as well where each result comes from, as `pooling.max_pool{n}d` does.
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray, or tuple of two
        The result, and with `return_indices` the int64 position of each result in its plane.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals ``torch.nn.functional.adaptive_max_pool2d``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.adaptive_max_pool2d(np.arange(7.0).reshape(1, 1, 1, 7), (1, 3)).ravel()
    array([2., 4., 6.])
    """
    return pool("adaptive_max_pool2d", input, out, return_indices, output_size, layout, nan)


@adaptive
@described("adaptive_max_pool", 3)
def adaptive_max_pool3d(
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
    {input}
    output_size : int, None or sequence of them
        Number of windows, for all axes or for each; None keeps an axis as it is.
    return_indices : bool
        Whether to return as well where each result comes from, as `pooling.max_pool{n}d` does.
    {layout}
    {nan}
    {out}

    Returns
    -------
    ndarray, or tuple of two
        The result, and with `return_indices` the int64 position of each result in its plane.

    Raises
    ------
    {errors}

    Notes
    -----
    Equals ``torch.nn.functional.adaptive_max_pool3d``.

    Examples
    --------
    >>> import numpy as np
    >>> import pooling
    >>> pooling.adaptive_max_pool3d(np.arange(7.0).reshape(1, 1, 1, 1, 7), (1, 1, 3)).ravel()
    array([2., 4., 6.])
    """
    return pool("adaptive_max_pool3d", input, out, return_indices, output_size, layout, nan)
