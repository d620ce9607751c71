"""The pooling modules of `torch.nn`, computed by `pooling`, and those that torch lacks.

Modules with the name of one of `torch.nn` are subclasses of it: same arguments, same attributes, same `repr`, and
``isinstance`` holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pooling.annotations import NanRule, Padding, Sizes

from . import functional as F

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BlurPool2d",
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "GeMPool2d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxBlurPool2d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "MinPool1d",
    "MinPool2d",
    "MinPool3d",
]


MARK = "_computed_by_pooling"
"""Attribute of modules that `patch` has changed."""
SMALL_WINDOW = 25
"""Elements of a window up to which `torch.compile` has kernels of its own, which it fuses with what is around them."""


def _is_left(module: Any) -> bool:
    """Whether a module that was patched is left to the compiler."""
    if not torch.compiler.is_compiling() or MARK not in vars(module):
        return False
    size = getattr(module, "kernel_size", None)
    if size is None:
        return True
    sizes = size if isinstance(size, (tuple, list)) else (size,) * int(type(module).__name__[-2])
    return math.prod(sizes) <= SMALL_WINDOW


class _Max(nn.Module):
    """What maxima of any rank do."""

    _pool: Callable[..., Any]
    kernel_size: Any
    stride: Any
    padding: Any
    dilation: Any
    ceil_mode: bool
    return_indices: bool

    def forward(self, input: Tensor) -> Any:
        """Pool a tensor."""
        if _is_left(self):
            return super().forward(input)
        return self._pool(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )


class MaxPool1d(_Max, nn.MaxPool1d):
    """``torch.nn.MaxPool1d`` by `pooling.torch.functional.max_pool1d`."""

    _pool = staticmethod(F.max_pool1d)


class MaxPool2d(_Max, nn.MaxPool2d):
    """``torch.nn.MaxPool2d`` by `pooling.torch.functional.max_pool2d`."""

    _pool = staticmethod(F.max_pool2d)


class MaxPool3d(_Max, nn.MaxPool3d):
    """``torch.nn.MaxPool3d`` by `pooling.torch.functional.max_pool3d`."""

    _pool = staticmethod(F.max_pool3d)


class MinPool1d(_Max, nn.MaxPool1d):
    """Smallest element of each window, with the arguments of `MaxPool1d`."""

    _pool = staticmethod(F.min_pool1d)


class MinPool2d(_Max, nn.MaxPool2d):
    """Smallest element of each window, with the arguments of `MaxPool2d`."""

    _pool = staticmethod(F.min_pool2d)


class MinPool3d(_Max, nn.MaxPool3d):
    """Smallest element of each window, with the arguments of `MaxPool3d`."""

    _pool = staticmethod(F.min_pool3d)


class AvgPool1d(nn.AvgPool1d):
    """``torch.nn.AvgPool1d`` by `pooling.torch.functional.avg_pool1d`."""

    def forward(self, input: Tensor) -> Tensor:
        """Pool a tensor."""
        if _is_left(self):
            return super().forward(input)
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class _Avg(nn.Module):
    """What means over two or three axes do."""

    _pool: Callable[..., Any]

    def forward(self, input: Tensor) -> Tensor:
        """Pool a tensor."""
        if _is_left(self):
            return super().forward(input)
        return self._pool(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AvgPool2d(_Avg, nn.AvgPool2d):
    """``torch.nn.AvgPool2d`` by `pooling.torch.functional.avg_pool2d`."""

    _pool = staticmethod(F.avg_pool2d)


class AvgPool3d(_Avg, nn.AvgPool3d):
    """``torch.nn.AvgPool3d`` by `pooling.torch.functional.avg_pool3d`."""

    _pool = staticmethod(F.avg_pool3d)


class _AdaptiveMax(nn.Module):
    """What adaptive maxima do."""

    _pool: Callable[..., Any]

    def forward(self, input: Tensor) -> Any:
        """Pool a tensor."""
        if _is_left(self):
            return super().forward(input)
        return self._pool(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMax, nn.AdaptiveMaxPool1d):
    """``torch.nn.AdaptiveMaxPool1d`` by `pooling.torch.functional.adaptive_max_pool1d`."""

    _pool = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMax, nn.AdaptiveMaxPool2d):
    """``torch.nn.AdaptiveMaxPool2d`` by `pooling.torch.functional.adaptive_max_pool2d`."""

    _pool = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMax, nn.AdaptiveMaxPool3d):
    """``torch.nn.AdaptiveMaxPool3d`` by `pooling.torch.functional.adaptive_max_pool3d`."""

    _pool = staticmethod(F.adaptive_max_pool3d)


class _AdaptiveAvg(nn.Module):
    """What adaptive means do."""

    _pool: Callable[..., Any]

    def forward(self, input: Tensor) -> Tensor:
        """Pool a tensor."""
        if _is_left(self):
            return super().forward(input)
        return self._pool(input, self.output_size)


class AdaptiveAvgPool1d(_AdaptiveAvg, nn.AdaptiveAvgPool1d):
    """``torch.nn.AdaptiveAvgPool1d`` by `pooling.torch.functional.adaptive_avg_pool1d`."""

    _pool = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvg, nn.AdaptiveAvgPool2d):
    """``torch.nn.AdaptiveAvgPool2d`` by `pooling.torch.functional.adaptive_avg_pool2d`."""

    _pool = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvg, nn.AdaptiveAvgPool3d):
    """``torch.nn.AdaptiveAvgPool3d`` by `pooling.torch.functional.adaptive_avg_pool3d`."""

    _pool = staticmethod(F.adaptive_avg_pool3d)


class _LP(nn.Module):
    """What norms do."""

    _pool: Callable[..., Any]
    norm_type: float

    def forward(self, input: Tensor) -> Tensor:
        """Pool a tensor."""
        if _is_left(self):
            return super().forward(input)
        return self._pool(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool1d(_LP, nn.LPPool1d):
    """``torch.nn.LPPool1d`` of magnitudes, by `pooling.torch.functional.lp_pool1d`."""

    _pool = staticmethod(F.lp_pool1d)


class LPPool2d(_LP, nn.LPPool2d):
    """``torch.nn.LPPool2d`` of magnitudes, by `pooling.torch.functional.lp_pool2d`."""

    _pool = staticmethod(F.lp_pool2d)


class LPPool3d(_LP, nn.LPPool3d):
    """``torch.nn.LPPool3d`` of magnitudes, by `pooling.torch.functional.lp_pool3d`."""

    _pool = staticmethod(F.lp_pool3d)


class _Unpool(nn.Module):
    """What unpooling does."""

    _pool: Callable[..., Any]

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """Put elements back where `indices` say."""
        return self._pool(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_Unpool, nn.MaxUnpool1d):
    """``torch.nn.MaxUnpool1d`` by `pooling.torch.functional.max_unpool1d`."""

    _pool = staticmethod(F.max_unpool1d)


class MaxUnpool2d(_Unpool, nn.MaxUnpool2d):
    """``torch.nn.MaxUnpool2d`` by `pooling.torch.functional.max_unpool2d`."""

    _pool = staticmethod(F.max_unpool2d)


class MaxUnpool3d(_Unpool, nn.MaxUnpool3d):
    """``torch.nn.MaxUnpool3d`` by `pooling.torch.functional.max_unpool3d`."""

    _pool = staticmethod(F.max_unpool3d)


class _Fractional(nn.Module):
    """What fractional maxima do."""

    _pool: Callable[..., Any]

    def forward(self, input: Tensor) -> Any:
        """Pool a tensor, with random windows where the module has no samples."""
        return self._pool(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples
        )


class FractionalMaxPool2d(_Fractional, nn.FractionalMaxPool2d):
    """``torch.nn.FractionalMaxPool2d`` by `pooling.torch.functional.fractional_max_pool2d`."""

    _pool = staticmethod(F.fractional_max_pool2d)


class FractionalMaxPool3d(_Fractional, nn.FractionalMaxPool3d):
    """``torch.nn.FractionalMaxPool3d`` by `pooling.torch.functional.fractional_max_pool3d`."""

    _pool = staticmethod(F.fractional_max_pool3d)


class BlurPool2d(nn.Module):
    """Binomial blur at every stride-th pixel: `pooling.torch.functional.blur_pool2d`."""

    def __init__(
        self,
        kernel_size: Sizes = 3,
        stride: Sizes | None = 2,
        padding: Padding | None = None,
        *,
        padding_mode: str = "reflect",
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding, self.padding_mode = kernel_size, stride, padding, padding_mode

    def forward(self, input: Tensor) -> Tensor:
        """Pool a tensor."""
        return F.blur_pool2d(input, self.kernel_size, self.stride, self.padding, padding_mode=self.padding_mode)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxBlurPool2d(nn.Module):
    """Anti-aliased maximum: `pooling.torch.functional.max_blur_pool2d`."""

    def __init__(
        self,
        kernel_size: Sizes = 2,
        stride: Sizes | None = 2,
        padding: Padding = 0,
        *,
        blur_kernel_size: Sizes = 3,
        padding_mode: str = "reflect",
        nan: NanRule = "propagate",
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding, self.nan = kernel_size, stride, padding, nan
        self.blur_kernel_size, self.padding_mode = blur_kernel_size, padding_mode

    def forward(self, input: Tensor) -> Tensor:
        """Pool a tensor."""
        return F.max_blur_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            blur_kernel_size=self.blur_kernel_size,
            padding_mode=self.padding_mode,
            nan=self.nan,
        )

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, blur_kernel_size={self.blur_kernel_size}"


class GeMPool2d(nn.Module):
    """Generalised mean of each map with a power that is trained (Radenovic et al. 2018).

    Parameters
    ----------
    p : float
        The power at the beginning.
    eps : float
        What smaller elements are taken for.
    trainable : bool
        Whether `p` is a parameter.
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6, *, trainable: bool = True) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), float(p))) if trainable else float(p)
        self.eps = eps

    def forward(self, input: Tensor) -> Tensor:
        """Pool a tensor."""
        return F.gem_pool2d(input, self.p, self.eps)
