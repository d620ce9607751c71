"""Functions with the names, the order of arguments and the defaults of `torch.nn.functional`, computed by `pooling`.

Tensors of the CPU go in and come out without a copy, in the memory format that they have; float16, bfloat16, float32
and float64 have gradients, and those have gradients. Beyond torch, padding may differ at the two ends or be ``"same"``,
means and norms take a dilation, and ``nan="ignore"`` leaves NaN out.

For the backward pass maxima and norms keep their input, which must not be changed before it, and recompute the rest,
which takes no longer than saved indices do. Means, blurs and global means keep nothing of it but its shape.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pooling.annotations import AdaptiveSize, NanRule, Padding, Ratio, Sizes
from pooling.ranks import ranked

from .dispatch import fractional, pool, unpool

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
    "blur_pool2d",
    "fractional_max_pool2d",
    "fractional_max_pool3d",
    "gem_pool2d",
    "global_avg_pool",
    "global_lp_pool",
    "global_max_pool",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_blur_pool2d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "min_pool1d",
    "min_pool2d",
    "min_pool3d",
]

# ---------------------------------------------------------------------------------------------------------------------
# Maxima and minima


def _max_pool(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    nan: NanRule = "propagate",
) -> Any:
    """Compute ``{function}`` with the arguments, result and gradient of `torch.nn.functional`.

    Parameters
    ----------
    input : torch.Tensor
        On the CPU, of shape ``({first})``; the batch axis may be left out. dtype {dtypes}.
    return_indices : bool
        Also return the indices of the elements that were chosen, as a second tensor, of int64.

    Returns
    -------
    torch.Tensor
        The result, in the dtype and the memory format of the input; with `return_indices`, that and the indices.

    Raises
    ------
    TypeError, ValueError
        As `pooling.{function}`.

    Examples
    --------
    >>> import torch
    >>> from pooling.torch import functional as F
    >>> F.{function}(torch.rand({maps 8}), 3, stride=2, padding="same").shape == {maps 4}
    True
    """
    return pool("{function}", input, (kernel_size, stride, padding, dilation, ceil_mode, nan), return_indices)


max_pool1d, max_pool2d, max_pool3d = ranked(_max_pool, "max_pool")
min_pool1d, min_pool2d, min_pool3d = ranked(_max_pool, "min_pool")


def _adaptive_max_pool(
    input: Tensor, output_size: AdaptiveSize, return_indices: bool = False, *, nan: NanRule = "propagate"
) -> Any:
    """Compute ``torch.nn.functional.{function}``.

    Parameters
    ----------
    input : torch.Tensor
        On the CPU, of shape ``({first})``; the batch axis may be left out. dtype {dtypes}.
    return_indices : bool
        Also return the indices of the maxima, as a second tensor of int64.

    Returns
    -------
    torch.Tensor
        The result, in the dtype and the memory format of the input; with `return_indices`, that and the indices.

    Raises
    ------
    TypeError, ValueError
        As `pooling.{function}`.

    Examples
    --------
    >>> import torch
    >>> from pooling.torch import functional as F
    >>> F.{function}(torch.rand({maps 8}), 3).shape == {maps 3}
    True
    """
    return pool("{function}", input, (output_size, nan), return_indices)


adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = ranked(_adaptive_max_pool, "adaptive_max_pool")


def global_max_pool(input: Tensor, *, nan: NanRule = "propagate") -> Tensor:
    """Greatest element of each channel, ``(N, C, *S)`` to ``(N, C, 1, ..., 1)``: `pooling.global_max_pool`.

    Parameters
    ----------
    input : torch.Tensor
        On the CPU, of shape ``(N, C, *S)``; the batch axis may be left out.
    nan : {"propagate", "ignore"}
        Whether one NaN makes its window NaN; if ignored, only windows of nothing but NaN are.

    Returns
    -------
    torch.Tensor
        The result, in the dtype and the memory format of the input.

    Raises
    ------
    TypeError, ValueError
        As `pooling.global_max_pool`.

    Examples
    --------
    >>> import torch
    >>> global_max_pool(torch.arange(8.0).reshape(1, 2, 2, 2)).flatten()
    tensor([3., 7.])
    """
    return pool("global_max_pool", input, (nan,))


# ---------------------------------------------------------------------------------------------------------------------
# Means


def _avg_pool(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: float | None = None,
    *,
    dilation: Sizes = 1,
    nan: NanRule = "propagate",
) -> Tensor:
    """Compute ``torch.nn.functional.{function}``, also with a dilation.

    Parameters
    ----------
    input : torch.Tensor
        On the CPU, of shape ``({first})``; the batch axis may be left out. dtype {dtypes}.
    count_include_pad : bool
        Whether padding counts in the divisor.
    divisor_override : float, optional
        The divisor; by default the number of elements of the window.

    Returns
    -------
    torch.Tensor
        The result, in the dtype and the memory format of the input.

    Raises
    ------
    TypeError, ValueError
        As `pooling.{function}`.

    Examples
    --------
    >>> import torch
    >>> from pooling.torch import functional as F
    >>> F.{function}(torch.rand({maps 8}), 3, stride=2, padding="same").shape == {maps 4}
    True
    """
    arguments = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, nan)
    return pool("{function}", input, arguments)


avg_pool1d, avg_pool2d, avg_pool3d = ranked(_avg_pool, "avg_pool", keyword_only={1: "divisor_override"})


def _adaptive_avg_pool(input: Tensor, output_size: AdaptiveSize, *, nan: NanRule = "propagate") -> Tensor:
    """Compute ``torch.nn.functional.{function}``.

    Parameters
    ----------
    input : torch.Tensor
        On the CPU, of shape ``({first})``; the batch axis may be left out. dtype {dtypes}.

    Returns
    -------
    torch.Tensor
        The result, in the dtype and the memory format of the input.

    Raises
    ------
    TypeError, ValueError
        As `pooling.{function}`.

    Examples
    --------
    >>> import torch
    >>> from pooling.torch import functional as F
    >>> F.{function}(torch.rand({maps 8}), 3).shape == {maps 3}
    True
    """
    return pool("{function}", input, (output_size, nan))


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = ranked(_adaptive_avg_pool, "adaptive_avg_pool")


def global_avg_pool(input: Tensor, *, nan: NanRule = "propagate") -> Tensor:
    """Mean of each channel, ``(N, C, *S)`` to ``(N, C, 1, ..., 1)``: `pooling.global_avg_pool`.

    Parameters
    ----------
    input : torch.Tensor
        On the CPU, of shape ``(N, C, *S)``; the batch axis may be left out.
    nan : {"propagate", "ignore"}
        Whether one NaN makes its window NaN; if ignored, only windows of nothing but NaN are.

    Returns
    -------
    torch.Tensor
        The result, in the dtype and the memory format of the input.

    Raises
    ------
    TypeError, ValueError
        As `pooling.global_avg_pool`.

    Examples
    --------
    >>> import torch
    >>> global_avg_pool(torch.arange(8.0).reshape(1, 2, 2, 2)).flatten()
    tensor([1.5000, 5.5000])
    """
    return pool("global_avg_pool", input, (nan,))


# ---------------------------------------------------------------------------------------------------------------------
# Norms and blurs


def _lp_pool(
    input: Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
    *,
    padding: Padding = 0,
    dilation: Sizes = 1,
) -> Tensor:
    """Return the p-norm of each window, of magnitudes: `pooling.{function}`.

    ``torch.nn.functional.{function}`` sums the powers of the elements with their signs, and takes the root of that.

    Parameters
    ----------
    input : torch.Tensor
        On the CPU, of shape ``({first})``; the batch axis may be left out. dtype {dtypes}.
    norm_type : float
        The power p; ``math.inf`` is the maximum of magnitudes.

    Returns
    -------
    torch.Tensor
        The result, in the dtype and the memory format of the input.

    Raises
    ------
    TypeError, ValueError
        As `pooling.{function}`.

    Examples
    --------
    >>> import torch
    >>> from pooling.torch import functional as F
    >>> F.{function}(-torch.ones({maps 8}), 1, 2).unique() == 2**{n}
    tensor([True])
    """
    return pool("{function}", input, (norm_type, kernel_size, stride, ceil_mode, padding, dilation))


lp_pool1d, lp_pool2d, lp_pool3d = ranked(_lp_pool, "lp_pool")


def global_lp_pool(input: Tensor, p: float = 2) -> Tensor:
    """Return the p-norm of each channel, ``(N, C, *S)`` to ``(N, C, 1, ..., 1)``: `pooling.global_lp_pool`.

    Parameters
    ----------
    input : torch.Tensor
        On the CPU, of shape ``(N, C, *S)``; the batch axis may be left out.
    p : float
        The power; ``math.inf`` is the maximum of magnitudes.

    Returns
    -------
    torch.Tensor
        The result, in the dtype and the memory format of the input.

    Raises
    ------
    TypeError, ValueError
        As `pooling.global_lp_pool`.

    Examples
    --------
    >>> import torch
    >>> global_lp_pool(torch.tensor([[[3.0, -4.0]]]))
    tensor([[[5.]]])
    """
    return pool("global_lp_pool", input, (p,))


def gem_pool2d(input: Tensor, p: float | Tensor = 3.0, eps: float = 1e-6) -> Tensor:
    """Generalised mean of each map (Radenovic et al. 2018): `pooling.gem_pool2d`.

    With a tensor of one element as `p`, a parameter that is trained, PyTorch's own operators compute it.

    Parameters
    ----------
    input : torch.Tensor
        On the CPU, of shape ``(N, C, H, W)``; the batch axis may be left out.
    p : float or torch.Tensor
        The power.
    eps : float
        What smaller elements are raised to.

    Returns
    -------
    torch.Tensor
        The result, in the dtype and the memory format of the input.

    Raises
    ------
    TypeError, ValueError
        As `pooling.gem_pool2d`.

    Examples
    --------
    >>> import torch
    >>> gem_pool2d(torch.tensor([[[[1.0, 7.0], [1.0, 7.0]]]]), p=2.0)
    tensor([[[[5.]]]])
    """
    if isinstance(p, Tensor):
        return input.clamp(min=eps).pow(p).mean((-2, -1), keepdim=True).pow(1 / p)
    return pool("gem_pool2d", input, (p, eps))


def blur_pool2d(
    input: Tensor,
    kernel_size: Sizes = 3,
    stride: Sizes | None = 2,
    padding: Padding | None = None,
    *,
    padding_mode: str = "reflect",
) -> Tensor:
    """Binomial blur at every stride-th pixel (Zhang 2019): `pooling.blur_pool2d`.

    Parameters
    ----------
    input : torch.Tensor
        On the CPU, of shape ``(N, C, H, W)``; the batch axis may be left out.
    kernel_size : int or sequence of int
        Taps of the filter, as in `pooling.blur_pool2d`.
    stride : int or sequence of int, optional
        Pixels from one result to the next; by default 2.
    padding : int, sequence of int, sequence of (begin, end) pairs, or str, optional
        As in `pooling.blur_pool2d`.
    padding_mode : {"reflect", "replicate", "zeros"}
        What the blur sees around the map, as in `pooling.blur_pool2d`.

    Returns
    -------
    torch.Tensor
        The result, in the dtype and the memory format of the input.

    Raises
    ------
    TypeError, ValueError
        As `pooling.blur_pool2d`.

    Examples
    --------
    >>> import torch
    >>> blur_pool2d(torch.eye(4)[None, None])[0, 0]
    tensor([[0.5000, 0.1250],
            [0.1250, 0.3750]])
    """
    return pool("blur_pool2d", input, (kernel_size, stride, padding, padding_mode))


def max_blur_pool2d(
    input: Tensor,
    kernel_size: Sizes = 2,
    stride: Sizes | None = 2,
    padding: Padding = 0,
    *,
    blur_kernel_size: Sizes = 3,
    padding_mode: str = "reflect",
    nan: NanRule = "propagate",
) -> Tensor:
    """Greatest element of each window at every place, blurred at every stride-th: `pooling.max_blur_pool2d`.

    Parameters
    ----------
    input : torch.Tensor
        On the CPU, of shape ``(N, C, H, W)``; the batch axis may be left out.
    kernel_size : int or sequence of int
        Cells of a window of the maximum, as in `pooling.max_blur_pool2d`.
    stride : int or sequence of int, optional
        Pixels from one result to the next; by default 2.
    padding : int, sequence of int, sequence of (begin, end) pairs, or str
        As in `pooling.max_blur_pool2d`.
    blur_kernel_size : int or sequence of int
        Taps of the filter.
    padding_mode : {"reflect", "replicate", "zeros"}
        What the blur sees around the map, as in `pooling.blur_pool2d`.
    nan : {"propagate", "ignore"}
        Whether one NaN makes its windows NaN; if ignored, only windows of nothing but NaN are.

    Returns
    -------
    torch.Tensor
        The result, in the dtype and the memory format of the input.

    Raises
    ------
    TypeError, ValueError
        As `pooling.max_blur_pool2d`.

    Examples
    --------
    >>> import torch
    >>> max_blur_pool2d(torch.ones(1, 3, 9, 9)).shape
    torch.Size([1, 3, 4, 4])
    """
    greatest = max_pool2d(input, kernel_size, 1, padding, nan=nan)
    steps = kernel_size if stride is None else stride
    return blur_pool2d(greatest, blur_kernel_size, steps, padding_mode=padding_mode)


# ---------------------------------------------------------------------------------------------------------------------
# Unpooling, and windows at random steps


def _max_unpool(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    output_size: Sizes | None = None,
) -> Tensor:
    """Compute ``torch.nn.functional.{function}``; of equal indices the last element stays.

    Parameters
    ----------
    input : torch.Tensor
        On the CPU, of shape ``({first})``; the batch axis may be left out. dtype {dtypes}.
    indices : torch.Tensor
        What the max pooling returned as indices.
    output_size : sequence of int, optional
        Shape of the result, with or without the batch and the channels; by default the smallest that fits.

    Returns
    -------
    torch.Tensor
        The result, in the dtype and the memory format of the input.

    Raises
    ------
    TypeError, ValueError
        As `pooling.{function}`; also for an index that is on no map.

    Examples
    --------
    >>> import torch
    >>> from pooling.torch import functional as F
    >>> values, indices = F.max_pool{n}d(torch.rand({maps 8}), 2, return_indices=True)
    >>> F.{function}(values, indices, 2).shape == {maps 8}
    True
    """
    return unpool("{function}", input, indices, kernel_size, stride, padding, output_size)


max_unpool1d, max_unpool2d, max_unpool3d = ranked(_max_unpool, "max_unpool")


def _fractional_max_pool(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Ratio | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Compute ``torch.nn.functional.{function}``; torch's generator draws the random samples.

    Parameters
    ----------
    input : torch.Tensor
        On the CPU, of shape ``({first})``; the batch axis may be left out. dtype {dtypes}.
    output_size : int or sequence of int, optional
        Number of windows; either this or `output_ratio` must be given.
    output_ratio : float or sequence of float, optional
        The same as a fraction of the size of the input.
    return_indices : bool
        Also return the indices of the maxima, as a second tensor, of int64.
    _random_samples : torch.Tensor, optional
        Numbers from 0 to 1 that set the windows, of shape ``(N, C, {n})``.

    Returns
    -------
    torch.Tensor
        The result, in the dtype and the memory format of the input; with `return_indices`, that and the indices.

    Raises
    ------
    TypeError, ValueError
        As `pooling.{function}`.

    Examples
    --------
    >>> import torch
    >>> from pooling.torch import functional as F
    >>> F.{function}(torch.rand({maps 8}), 2, output_ratio=0.5).shape == {maps 4}
    True
    """
    found = fractional("{function}", input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


fractional_max_pool2d, fractional_max_pool3d = ranked(_fractional_max_pool, "fractional_max_pool")
