"""Functions with the names, the order of arguments and the defaults of `torch.nn.functional`, computed by `pooling`.

Tensors of the CPU go in and come out without a copy, in the memory format that they have; float16, bfloat16, float32
and float64 have gradients, and those have gradients. Beyond torch, padding may differ at the two ends or be ``"same"``,
means and norms take a dilation, and ``nan="ignore"`` leaves NaN out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from pooling.annotations import AdaptiveSize, NanRule, Padding, Ratio, Sizes
from pooling.arguments import per_axis
from pooling.errors import type_error
from pooling.families.fractional import fractional_sizes
from pooling.families.unpooling import unpool_size
from pooling.geometry import padding_pairs, strides_of
from pooling.ranks import ranked

from .operators import FRACTIONAL, FUNCTIONS, UNPOOLING, Pooling

# ---------------------------------------------------------------------------------------------------------------------
# From arguments to operators


def _frozen(value: Any) -> Any:
    """Make an argument one that can be remembered."""
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


@lru_cache(maxsize=4096)
def _windows(name: str, n: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Any, ...]:
    """Read kernel, stride, padding and dilation, which do not depend on the input, as operators have them."""
    kernels = per_axis(name, "kernel_size", kernel_size, n)
    strides = strides_of(name, stride, kernels)
    dilations = per_axis(name, "dilation", dilation, n)
    reach = [step * (taps - 1) + 1 for taps, step in zip(kernels, dilations, strict=True)]
    # The sizes matter to padding="same" alone, which is read where they are known.
    pairs = padding_pairs(name, padding, [0] * n, reach, strides)
    return list(kernels), list(strides), [each for pair in pairs for each in pair], list(dilations)


def _laid(name: str, input: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1) -> Any:
    """Return kernel, stride, padding and dilation as operators have them."""
    n = FUNCTIONS[name].dimensions
    assert n is not None
    if not isinstance(padding, str):
        try:
            return _windows(name, n, kernel_size, stride, padding, dilation)
        except TypeError:  # of lists, which have no hash, or of what is wrong
            return _windows(name, n, *_frozen((kernel_size, stride, padding, dilation)))
    kernels, strides, _, dilations = _windows(name, n, *_frozen((kernel_size, stride)), 0, _frozen(dilation))
    reach = [step * (taps - 1) + 1 for taps, step in zip(kernels, dilations, strict=True)]
    pairs = padding_pairs(name, padding, input.shape[-n:], reach, strides)
    return kernels, strides, [each for pair in pairs for each in pair], dilations


def _explained(function: str, input: Any) -> Exception | None:
    """Say what is wrong with a tensor that no operator takes."""
    if not isinstance(input, Tensor):
        kind = type(input).__name__
        return type_error(function, f"input must be a torch.Tensor, not {kind}", f"use pooling.{function} for arrays")
    if input.layout is not torch.strided:
        return type_error(function, f"input has the layout {input.layout}", "give input.to_dense()")
    if input.is_quantized:
        return type_error(function, "input is quantised", "give input.dequantize(), or input.int_repr() for maxima")
    if input.device.type not in ("cpu", "meta"):
        return type_error(function, f"input is on {input.device}, and pooling computes on the CPU", "give input.cpu()")
    return None


def _run(name: str, input: Tensor, arguments: Sequence[Any], indexed: bool = False) -> Any:
    """Call an operator by the shortest way."""
    function = FUNCTIONS[name]
    operator = function.pool_with_indices if indexed else function.pool
    try:
        if torch.compiler.is_compiling() or type(input) is not Tensor:
            return operator(input, *arguments)
        if (input.requires_grad and torch.is_grad_enabled()) or torch._C._are_functorch_transforms_active():
            return Pooling.apply(input, function, arguments, indexed)
        with torch._C._AutoDispatchBelowAutograd():
            return operator(input, *arguments)
    except (NotImplementedError, RuntimeError, TypeError) as error:
        explained = _explained(function.name, input)
        raise (explained or error) from (error if explained else error.__cause__)


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
    windows = _laid("{function}", input, kernel_size, stride, padding, dilation)
    return _run("{function}", input, (*windows, bool(ceil_mode), nan), return_indices)


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
    return _run("{function}", input, (_adaptive("{function}", output_size), nan), return_indices)


adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = ranked(_adaptive_max_pool, "adaptive_max_pool")


def _adaptive(name: str, output_size: Any) -> list[int]:
    """Return the output size of each axis, -1 for one that stays."""
    n = FUNCTIONS[name].dimensions
    assert n is not None
    return [-1 if size is None else size for size in per_axis(name, "output_size", output_size, n, allow_none=True)]


def global_max_pool(input: Tensor, *, nan: NanRule = "propagate") -> Tensor:
    """Greatest element of each channel, ``(N, C, *S)`` to ``(N, C, 1, ..., 1)``: `pooling.global_max_pool`."""
    return _run("global_max_pool", input, (nan,))  # type: ignore[no-any-return]


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
    kernels, strides, pads, dilations = _laid("{function}", input, kernel_size, stride, padding, dilation)
    divisor = None if divisor_override is None else float(divisor_override)
    arguments = (kernels, strides, pads, bool(ceil_mode), bool(count_include_pad), divisor, dilations, nan)
    return _run("{function}", input, arguments)  # type: ignore[no-any-return]


avg_pool1d, avg_pool2d, avg_pool3d = ranked(_avg_pool, "avg_pool", keyword_only={1: "divisor_override"})


def _adaptive_avg_pool(input: Tensor, output_size: AdaptiveSize, *, nan: NanRule = "propagate") -> Tensor:
    """As ``torch.nn.functional.{function}``, by `pooling.{function}`.

    Raises
    ------
    TypeError, ValueError
        As `pooling.{function}`.
    """
    return _run("{function}", input, (_adaptive("{function}", output_size), nan))  # type: ignore[no-any-return]


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = ranked(_adaptive_avg_pool, "adaptive_avg_pool")


def global_avg_pool(input: Tensor, *, nan: NanRule = "propagate") -> Tensor:
    """Mean of each channel, ``(N, C, *S)`` to ``(N, C, 1, ..., 1)``: `pooling.global_avg_pool`."""
    return _run("global_avg_pool", input, (nan,))  # type: ignore[no-any-return]


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
    kernels, strides, pads, dilations = _laid("{function}", input, kernel_size, stride, padding, dilation)
    return _run("{function}", input, (float(norm_type), kernels, strides, bool(ceil_mode), pads, dilations))  # type: ignore[no-any-return]


lp_pool1d, lp_pool2d, lp_pool3d = ranked(_lp_pool, "lp_pool")


def global_lp_pool(input: Tensor, p: float = 2) -> Tensor:
    """Return the p-norm of each channel, ``(N, C, *S)`` to ``(N, C, 1, ..., 1)``: `pooling.global_lp_pool`."""
    return _run("global_lp_pool", input, (float(p),))  # type: ignore[no-any-return]


def gem_pool2d(input: Tensor, p: float | Tensor = 3.0, eps: float = 1e-6) -> Tensor:
    """Generalised mean of each map (Radenovic et al. 2018): `pooling.gem_pool2d`.

    With a tensor of one element as `p`, a parameter that is trained, PyTorch's own operators compute it.
    """
    if isinstance(p, Tensor):
        return input.clamp(min=eps).pow(p).mean((-2, -1), keepdim=True).pow(1 / p)
    return _run("gem_pool2d", input, (float(p), float(eps)))  # type: ignore[no-any-return]


def blur_pool2d(
    input: Tensor,
    kernel_size: Sizes = 3,
    stride: Sizes | None = 2,
    padding: Padding | None = None,
    *,
    padding_mode: str = "reflect",
) -> Tensor:
    """Binomial blur at every stride-th pixel (Zhang 2019): `pooling.blur_pool2d`."""
    if padding is None:
        padding = [((taps - 1) // 2, taps // 2) for taps in per_axis("blur_pool2d", "kernel_size", kernel_size, 2)]
    kernels, strides, pads, _ = _laid("blur_pool2d", input, kernel_size, stride, padding)
    return _run("blur_pool2d", input, (kernels, strides, pads, padding_mode))  # type: ignore[no-any-return]


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
    n = UNPOOLING["{function}"]
    if not isinstance(input, Tensor) or not isinstance(indices, Tensor):
        wrong = indices if isinstance(input, Tensor) else input
        raise type_error("{function}", f"input and indices must be torch.Tensor, not {type(wrong).__name__}")
    sizes = output_size
    if sizes is not None and len(sizes) == input.ndim:  # type: ignore[arg-type]
        sizes = sizes[-n:]  # type: ignore[index]
    size = unpool_size(input.shape[-n:], kernel_size, stride, padding, sizes, function="{function}")
    return getattr(torch.ops.pooling, "{function}")(input, indices, list(size))  # type: ignore[no-any-return]


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
    n = FRACTIONAL["{function}"]
    if not isinstance(input, Tensor):
        raise type_error("{function}", f"input must be a torch.Tensor, not {type(input).__name__}")
    kernel, size = fractional_sizes("{function}", tuple(input.shape[-n:]), kernel_size, output_size, output_ratio)
    if _random_samples is None:
        lead = input.shape[:-n] if input.ndim == n + 2 else (1, *input.shape[:-n])
        _random_samples = torch.rand((*lead, n), dtype=input.dtype, device=input.device)
    found = getattr(torch.ops.pooling, "{function}")(input, _random_samples, list(kernel), list(size))
    return found if return_indices else found[0]


fractional_max_pool2d, fractional_max_pool3d = ranked(_fractional_max_pool, "fractional_max_pool")
