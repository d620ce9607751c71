"""Functions with the names, the order of arguments and the defaults of `torch.nn.functional`, computed by `pooling`.

Tensors of the CPU go in and come out without a copy, in the memory format that they have; float16, bfloat16, float32
and float64 have gradients, and those have gradients. Beyond torch, padding may differ at the two ends or be ``"same"``,
means and norms take a dilation, and ``nan="ignore"`` leaves NaN out.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pooling.annotations import AdaptiveSize, NanRule, Padding, Ratio, Sizes
from pooling.ranks import ranked

from .dispatch import fractional, pool, unpool

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
    """As ``torch.nn.functional.{function}``, by `pooling.{function}`: same arguments, same result, same gradient.

    Raises
    ------
    TypeError, ValueError
        As `pooling.{function}`.
    """
    return pool("{function}", input, (kernel_size, stride, padding, dilation, ceil_mode, nan), return_indices)


max_pool1d, max_pool2d, max_pool3d = ranked(_max_pool, "max_pool")
min_pool1d, min_pool2d, min_pool3d = ranked(_max_pool, "min_pool")


def _adaptive_max_pool(
    input: Tensor, output_size: AdaptiveSize, return_indices: bool = False, *, nan: NanRule = "propagate"
) -> Any:
    """As ``torch.nn.functional.{function}``, by `pooling.{function}`.

    Raises
    ------
    TypeError, ValueError
        As `pooling.{function}`.
    """
    return pool("{function}", input, (output_size, nan), return_indices)


adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = ranked(_adaptive_max_pool, "adaptive_max_pool")


def global_max_pool(input: Tensor, *, nan: NanRule = "propagate") -> Tensor:
    """Greatest element of each channel, ``(N, C, *S)`` to ``(N, C, 1, ..., 1)``: `pooling.global_max_pool`."""
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
    """As ``torch.nn.functional.{function}``, by `pooling.{function}`, which takes a dilation besides.

    Raises
    ------
    TypeError, ValueError
        As `pooling.{function}`.
    """
    arguments = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, nan)
    return pool("{function}", input, arguments)


avg_pool1d, avg_pool2d, avg_pool3d = ranked(_avg_pool, "avg_pool", keyword_only={1: "divisor_override"})


def _adaptive_avg_pool(input: Tensor, output_size: AdaptiveSize, *, nan: NanRule = "propagate") -> Tensor:
    """As ``torch.nn.functional.{function}``, by `pooling.{function}`.

    Raises
    ------
    TypeError, ValueError
        As `pooling.{function}`.
    """
    return pool("{function}", input, (output_size, nan))


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = ranked(_adaptive_avg_pool, "adaptive_avg_pool")


def global_avg_pool(input: Tensor, *, nan: NanRule = "propagate") -> Tensor:
    """Mean of each channel, ``(N, C, *S)`` to ``(N, C, 1, ..., 1)``: `pooling.global_avg_pool`."""
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

    Raises
    ------
    TypeError, ValueError
        As `pooling.{function}`.
    """
    return pool("{function}", input, (norm_type, kernel_size, stride, ceil_mode, padding, dilation))


lp_pool1d, lp_pool2d, lp_pool3d = ranked(_lp_pool, "lp_pool")


def global_lp_pool(input: Tensor, p: float = 2) -> Tensor:
    """Return the p-norm of each channel, ``(N, C, *S)`` to ``(N, C, 1, ..., 1)``: `pooling.global_lp_pool`."""
    return pool("global_lp_pool", input, (p,))


def gem_pool2d(input: Tensor, p: float | Tensor = 3.0, eps: float = 1e-6) -> Tensor:
    """Generalised mean of each map (Radenovic et al. 2018): `pooling.gem_pool2d`.

    With a tensor of one element as `p`, a parameter that is trained, PyTorch's own operators compute it.
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
    """Binomial blur at every stride-th pixel (Zhang 2019): `pooling.blur_pool2d`."""
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
    """Greatest element of each window at every place, blurred at every stride-th: `pooling.max_blur_pool2d`."""
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
    """As ``torch.nn.functional.{function}``, by `pooling.{function}`; of equal indices the last element stays.

    Raises
    ------
    TypeError, ValueError
        As `pooling.{function}`; also for an index that is on no map.
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
    """As ``torch.nn.functional.{function}``, by `pooling.{function}`; torch's generator draws the samples.

    Raises
    ------
    TypeError, ValueError
        As `pooling.{function}`.
    """
    found = fractional("{function}", input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


fractional_max_pool2d, fractional_max_pool3d = ranked(_fractional_max_pool, "fractional_max_pool")
