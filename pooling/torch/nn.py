"""The pooling modules of `torch.nn`, computed by `pooling`, and those that torch lacks.

Modules with the name of one of `torch.nn` are subclasses of it: same arguments, same attributes, same `repr`, and
``isinstance`` holds. Their padding may also be pairs of begin and end, or ``"same"``. They are copied, pickled,
compiled and exported as those of torch are, but not by TorchScript: neither by `torch.jit.script` nor by
`torch.onnx.export` with ``dynamo=False``.

Examples
--------
>>> import torch
>>> from pooling.torch import nn
>>> net = torch.nn.Sequential(nn.MaxPool2d(3, stride=2, padding="same"), nn.BlurPool2d(), nn.GlobalAvgPool2d())
>>> net(torch.rand(1, 8, 33, 33)).shape
torch.Size([1, 8, 1, 1])
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.pooling import _MaxPoolNd

from pooling.annotations import NanRule, Padding, Sizes
from pooling.arguments import real
from pooling.errors import refused, value_error
from pooling.signs import counted

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
    "GlobalAvgPool1d",
    "GlobalAvgPool2d",
    "GlobalAvgPool3d",
    "GlobalLPPool1d",
    "GlobalLPPool2d",
    "GlobalLPPool3d",
    "GlobalMaxPool1d",
    "GlobalMaxPool2d",
    "GlobalMaxPool3d",
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


class _Ours(nn.Module):
    """What all modules here do."""

    def __prepare_scriptable__(self) -> Any:
        """Refuse `torch.jit.script`, in words: it compiles the source of a forward, and calls no Python."""
        name = type(self).__name__
        has = "torch.nn has one that can be scripted; " if hasattr(nn, name) else ""
        raise refused(
            RuntimeError,
            "torch.jit.script",
            f"a {name} of the model is one of pooling.torch.nn, and TorchScript cannot call that",
            f"{has}torch.export and torch.compile take this one",
        )


class _Max(_Ours):
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
        return self._pool(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )


class MaxPool1d(_Max, nn.MaxPool1d):
    """`torch.nn.MaxPool1d`, computed by `pooling.torch.functional.max_pool1d`.

    Examples
    --------
    >>> MaxPool1d(3, stride=2)(torch.ones(1, 8, 7)).shape
    torch.Size([1, 8, 3])
    """

    _pool = staticmethod(F.max_pool1d)


class MaxPool2d(_Max, nn.MaxPool2d):
    """`torch.nn.MaxPool2d`, computed by `pooling.torch.functional.max_pool2d`.

    Examples
    --------
    >>> MaxPool2d(3, stride=2)(torch.ones(1, 8, 7, 7)).shape
    torch.Size([1, 8, 3, 3])
    """

    _pool = staticmethod(F.max_pool2d)


class MaxPool3d(_Max, nn.MaxPool3d):
    """`torch.nn.MaxPool3d`, computed by `pooling.torch.functional.max_pool3d`.

    Examples
    --------
    >>> MaxPool3d(3, stride=2)(torch.ones(1, 8, 7, 7, 7)).shape
    torch.Size([1, 8, 3, 3, 3])
    """

    _pool = staticmethod(F.max_pool3d)


class MinPool1d(_Max, _MaxPoolNd):
    """Smallest element of each window, computed by `pooling.torch.functional.min_pool1d`.

    Arguments are those of `torch.nn.MaxPool1d`, of which it is no subclass.

    Examples
    --------
    >>> MinPool1d(2)(torch.ones(1, 1, 4)).shape
    torch.Size([1, 1, 2])
    """

    _pool = staticmethod(F.min_pool1d)


class MinPool2d(_Max, _MaxPoolNd):
    """Smallest element of each window, computed by `pooling.torch.functional.min_pool2d`.

    Arguments are those of `torch.nn.MaxPool2d`, of which it is no subclass.

    Examples
    --------
    >>> MinPool2d(2)(torch.ones(1, 1, 4, 4)).shape
    torch.Size([1, 1, 2, 2])
    """

    _pool = staticmethod(F.min_pool2d)


class MinPool3d(_Max, _MaxPoolNd):
    """Smallest element of each window, computed by `pooling.torch.functional.min_pool3d`.

    Arguments are those of `torch.nn.MaxPool3d`, of which it is no subclass.

    Examples
    --------
    >>> MinPool3d(2)(torch.ones(1, 1, 4, 4, 4)).shape
    torch.Size([1, 1, 2, 2, 2])
    """

    _pool = staticmethod(F.min_pool3d)


class AvgPool1d(_Ours, nn.AvgPool1d):
    """`torch.nn.AvgPool1d`, computed by `pooling.torch.functional.avg_pool1d`.

    Examples
    --------
    >>> AvgPool1d(3, stride=2)(torch.ones(1, 8, 7)).shape
    torch.Size([1, 8, 3])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Pool a tensor."""
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class _Avg(_Ours):
    """What means over two or three axes do."""

    _pool: Callable[..., Any]

    def forward(self, input: Tensor) -> Tensor:
        """Pool a tensor."""
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
    """`torch.nn.AvgPool2d`, computed by `pooling.torch.functional.avg_pool2d`.

    Examples
    --------
    >>> AvgPool2d(3, stride=2)(torch.ones(1, 8, 7, 7)).shape
    torch.Size([1, 8, 3, 3])
    """

    _pool = staticmethod(F.avg_pool2d)


class AvgPool3d(_Avg, nn.AvgPool3d):
    """`torch.nn.AvgPool3d`, computed by `pooling.torch.functional.avg_pool3d`.

    Examples
    --------
    >>> AvgPool3d(3, stride=2)(torch.ones(1, 8, 7, 7, 7)).shape
    torch.Size([1, 8, 3, 3, 3])
    """

    _pool = staticmethod(F.avg_pool3d)


class _AdaptiveMax(_Ours):
    """What adaptive maxima do."""

    _pool: Callable[..., Any]

    def forward(self, input: Tensor) -> Any:
        """Pool a tensor."""
        return self._pool(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMax, nn.AdaptiveMaxPool1d):
    """`torch.nn.AdaptiveMaxPool1d`, computed by `pooling.torch.functional.adaptive_max_pool1d`.

    Examples
    --------
    >>> AdaptiveMaxPool1d(3)(torch.ones(1, 8, 7)).shape
    torch.Size([1, 8, 3])
    """

    _pool = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMax, nn.AdaptiveMaxPool2d):
    """`torch.nn.AdaptiveMaxPool2d`, computed by `pooling.torch.functional.adaptive_max_pool2d`.

    Examples
    --------
    >>> AdaptiveMaxPool2d(3)(torch.ones(1, 8, 7, 7)).shape
    torch.Size([1, 8, 3, 3])
    """

    _pool = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMax, nn.AdaptiveMaxPool3d):
    """`torch.nn.AdaptiveMaxPool3d`, computed by `pooling.torch.functional.adaptive_max_pool3d`.

    Examples
    --------
    >>> AdaptiveMaxPool3d(3)(torch.ones(1, 8, 7, 7, 7)).shape
    torch.Size([1, 8, 3, 3, 3])
    """

    _pool = staticmethod(F.adaptive_max_pool3d)


class _AdaptiveAvg(_Ours):
    """What adaptive means do."""

    _pool: Callable[..., Any]

    def forward(self, input: Tensor) -> Tensor:
        """Pool a tensor."""
        return self._pool(input, self.output_size)


class AdaptiveAvgPool1d(_AdaptiveAvg, nn.AdaptiveAvgPool1d):
    """`torch.nn.AdaptiveAvgPool1d`, computed by `pooling.torch.functional.adaptive_avg_pool1d`.

    Examples
    --------
    >>> AdaptiveAvgPool1d(3)(torch.ones(1, 8, 7)).shape
    torch.Size([1, 8, 3])
    """

    _pool = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvg, nn.AdaptiveAvgPool2d):
    """`torch.nn.AdaptiveAvgPool2d`, computed by `pooling.torch.functional.adaptive_avg_pool2d`.

    Examples
    --------
    >>> AdaptiveAvgPool2d(3)(torch.ones(1, 8, 7, 7)).shape
    torch.Size([1, 8, 3, 3])
    """

    _pool = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvg, nn.AdaptiveAvgPool3d):
    """`torch.nn.AdaptiveAvgPool3d`, computed by `pooling.torch.functional.adaptive_avg_pool3d`.

    Examples
    --------
    >>> AdaptiveAvgPool3d(3)(torch.ones(1, 8, 7, 7, 7)).shape
    torch.Size([1, 8, 3, 3, 3])
    """

    _pool = staticmethod(F.adaptive_avg_pool3d)


class _LP(_Ours):
    """What norms do."""

    _pool: Callable[..., Any]
    norm_type: float

    def forward(self, input: Tensor) -> Tensor:
        """Pool a tensor."""
        return self._pool(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool1d(_LP, nn.LPPool1d):
    """`torch.nn.LPPool1d` of magnitudes, computed by `pooling.torch.functional.lp_pool1d`.

    Examples
    --------
    >>> LPPool1d(2, 3, stride=2)(torch.ones(1, 8, 7)).shape
    torch.Size([1, 8, 3])
    """

    _pool = staticmethod(F.lp_pool1d)


class LPPool2d(_LP, nn.LPPool2d):
    """`torch.nn.LPPool2d` of magnitudes, computed by `pooling.torch.functional.lp_pool2d`.

    Examples
    --------
    >>> LPPool2d(2, 3, stride=2)(torch.ones(1, 8, 7, 7)).shape
    torch.Size([1, 8, 3, 3])
    """

    _pool = staticmethod(F.lp_pool2d)


class LPPool3d(_LP, nn.LPPool3d):
    """`torch.nn.LPPool3d` of magnitudes, computed by `pooling.torch.functional.lp_pool3d`.

    Examples
    --------
    >>> LPPool3d(2, 3, stride=2)(torch.ones(1, 8, 7, 7, 7)).shape
    torch.Size([1, 8, 3, 3, 3])
    """

    _pool = staticmethod(F.lp_pool3d)


class _Unpool(_Ours):
    """What unpooling does."""

    _pool: Callable[..., Any]

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """Put elements back where `indices` say."""
        return self._pool(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_Unpool, nn.MaxUnpool1d):
    """`torch.nn.MaxUnpool1d`, computed by `pooling.torch.functional.max_unpool1d`.

    Examples
    --------
    >>> values, indices = MaxPool1d(2, return_indices=True)(torch.ones(1, 8, 6))
    >>> MaxUnpool1d(2)(values, indices).shape
    torch.Size([1, 8, 6])
    """

    _pool = staticmethod(F.max_unpool1d)


class MaxUnpool2d(_Unpool, nn.MaxUnpool2d):
    """`torch.nn.MaxUnpool2d`, computed by `pooling.torch.functional.max_unpool2d`.

    Examples
    --------
    >>> values, indices = MaxPool2d(2, return_indices=True)(torch.ones(1, 8, 6, 6))
    >>> MaxUnpool2d(2)(values, indices).shape
    torch.Size([1, 8, 6, 6])
    """

    _pool = staticmethod(F.max_unpool2d)


class MaxUnpool3d(_Unpool, nn.MaxUnpool3d):
    """`torch.nn.MaxUnpool3d`, computed by `pooling.torch.functional.max_unpool3d`.

    Examples
    --------
    >>> values, indices = MaxPool3d(2, return_indices=True)(torch.ones(1, 8, 6, 6, 6))
    >>> MaxUnpool3d(2)(values, indices).shape
    torch.Size([1, 8, 6, 6, 6])
    """

    _pool = staticmethod(F.max_unpool3d)


class _Fractional(_Ours):
    """What fractional maxima do."""

    _pool: Callable[..., Any]

    def forward(self, input: Tensor) -> Any:
        """Pool a tensor, with random windows where the module has no samples."""
        return self._pool(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples
        )


class FractionalMaxPool2d(_Fractional, nn.FractionalMaxPool2d):
    """`torch.nn.FractionalMaxPool2d`, computed by `pooling.torch.functional.fractional_max_pool2d`.

    Examples
    --------
    >>> FractionalMaxPool2d(2, output_size=3)(torch.ones(1, 8, 7, 7)).shape
    torch.Size([1, 8, 3, 3])
    """

    _pool = staticmethod(F.fractional_max_pool2d)


class FractionalMaxPool3d(_Fractional, nn.FractionalMaxPool3d):
    """`torch.nn.FractionalMaxPool3d`, computed by `pooling.torch.functional.fractional_max_pool3d`.

    Examples
    --------
    >>> FractionalMaxPool3d(2, output_size=3)(torch.ones(1, 8, 7, 7, 7)).shape
    torch.Size([1, 8, 3, 3, 3])
    """

    _pool = staticmethod(F.fractional_max_pool3d)


# ---------------------------------------------------------------------------------------------------------------------
# What torch lacks


class _Global(_Ours):
    """What poolings of whole channels do."""

    _pool: Callable[..., Any]
    dimensions: int

    def _given(self) -> dict[str, Any]:
        return {}

    def forward(self, input: Tensor) -> Tensor:
        """Pool each channel of a batch to one element."""
        if input.ndim != self.dimensions + 2:
            raise value_error(
                type(self).__name__,
                f"input of shape {tuple(input.shape)} has {counted(input.ndim, 'axis', 'axes')}; "
                f"it must have {self.dimensions + 2}",
                "give input[None], a batch of one" if input.ndim == self.dimensions + 1 else "",
            )
        return self._pool(input, **self._given())

    def extra_repr(self) -> str:
        """Show the arguments that are not the default."""
        return ", ".join(f"{name}={value!r}" for name, value in self._given().items())


class _GlobalNaN(_Global):
    """What extremes and means of whole channels do."""

    def __init__(self, *, nan: NanRule = "propagate") -> None:
        super().__init__()
        self.nan = nan

    def _given(self) -> dict[str, Any]:
        return {} if self.nan == "propagate" else {"nan": self.nan}


class _GlobalLP(_Global):
    """What norms of whole channels do."""

    def __init__(self, p: float = 2) -> None:
        super().__init__()
        self.p = p

    def _given(self) -> dict[str, Any]:
        return {"p": self.p}


class GlobalMaxPool1d(_GlobalNaN):
    """Greatest element of each channel: `pooling.torch.functional.global_max_pool`.

    Parameters
    ----------
    nan : {"propagate", "ignore"}
        Whether one NaN makes the result NaN.

    Examples
    --------
    >>> GlobalMaxPool1d()(torch.ones(2, 3, 4)).shape
    torch.Size([2, 3, 1])
    """

    _pool = staticmethod(F.global_max_pool)
    dimensions = 1


class GlobalMaxPool2d(_GlobalNaN):
    """Greatest element of each channel: `pooling.torch.functional.global_max_pool`.

    Parameters
    ----------
    nan : {"propagate", "ignore"}
        Whether one NaN makes the result NaN.

    Examples
    --------
    >>> GlobalMaxPool2d()(torch.ones(2, 3, 4, 4)).shape
    torch.Size([2, 3, 1, 1])
    """

    _pool = staticmethod(F.global_max_pool)
    dimensions = 2


class GlobalMaxPool3d(_GlobalNaN):
    """Greatest element of each channel: `pooling.torch.functional.global_max_pool`.

    Parameters
    ----------
    nan : {"propagate", "ignore"}
        Whether one NaN makes the result NaN.

    Examples
    --------
    >>> GlobalMaxPool3d()(torch.ones(2, 3, 4, 4, 4)).shape
    torch.Size([2, 3, 1, 1, 1])
    """

    _pool = staticmethod(F.global_max_pool)
    dimensions = 3


class GlobalAvgPool1d(_GlobalNaN):
    """Mean of each channel: `pooling.torch.functional.global_avg_pool`.

    Parameters
    ----------
    nan : {"propagate", "ignore"}
        Whether one NaN makes the result NaN.

    Examples
    --------
    >>> GlobalAvgPool1d()(torch.ones(2, 3, 4)).shape
    torch.Size([2, 3, 1])
    """

    _pool = staticmethod(F.global_avg_pool)
    dimensions = 1


class GlobalAvgPool2d(_GlobalNaN):
    """Mean of each channel: `pooling.torch.functional.global_avg_pool`.

    Parameters
    ----------
    nan : {"propagate", "ignore"}
        Whether one NaN makes the result NaN.

    Examples
    --------
    >>> GlobalAvgPool2d()(torch.ones(2, 3, 4, 4)).shape
    torch.Size([2, 3, 1, 1])
    """

    _pool = staticmethod(F.global_avg_pool)
    dimensions = 2


class GlobalAvgPool3d(_GlobalNaN):
    """Mean of each channel: `pooling.torch.functional.global_avg_pool`.

    Parameters
    ----------
    nan : {"propagate", "ignore"}
        Whether one NaN makes the result NaN.

    Examples
    --------
    >>> GlobalAvgPool3d()(torch.ones(2, 3, 4, 4, 4)).shape
    torch.Size([2, 3, 1, 1, 1])
    """

    _pool = staticmethod(F.global_avg_pool)
    dimensions = 3


class GlobalLPPool1d(_GlobalLP):
    """p-norm of each channel: `pooling.torch.functional.global_lp_pool`.

    Parameters
    ----------
    p : float
        The power.

    Examples
    --------
    >>> GlobalLPPool1d()(torch.ones(2, 3, 4)).shape
    torch.Size([2, 3, 1])
    """

    _pool = staticmethod(F.global_lp_pool)
    dimensions = 1


class GlobalLPPool2d(_GlobalLP):
    """p-norm of each channel: `pooling.torch.functional.global_lp_pool`.

    Parameters
    ----------
    p : float
        The power.

    Examples
    --------
    >>> GlobalLPPool2d()(torch.ones(2, 3, 4, 4)).shape
    torch.Size([2, 3, 1, 1])
    """

    _pool = staticmethod(F.global_lp_pool)
    dimensions = 2


class GlobalLPPool3d(_GlobalLP):
    """p-norm of each channel: `pooling.torch.functional.global_lp_pool`.

    Parameters
    ----------
    p : float
        The power.

    Examples
    --------
    >>> GlobalLPPool3d()(torch.ones(2, 3, 4, 4, 4)).shape
    torch.Size([2, 3, 1, 1, 1])
    """

    _pool = staticmethod(F.global_lp_pool)
    dimensions = 3


class BlurPool2d(_Ours):
    """Binomial blur at every stride-th pixel: `pooling.torch.functional.blur_pool2d` (Zhang 2019).

    Parameters
    ----------
    kernel_size, stride, padding, padding_mode
        As those of the function.

    Examples
    --------
    >>> BlurPool2d()(torch.rand(1, 3, 8, 8)).shape
    torch.Size([1, 3, 4, 4])
    """

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
        shown = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return f"{shown}, padding_mode={self.padding_mode!r}"


class MaxBlurPool2d(_Ours):
    """Anti-aliased maximum: `pooling.torch.functional.max_blur_pool2d` (Zhang 2019).

    Parameters
    ----------
    kernel_size, stride, padding, blur_kernel_size, padding_mode, nan
        As those of the function.

    Examples
    --------
    >>> MaxBlurPool2d(3, 2, 1)(torch.rand(1, 3, 8, 8)).shape
    torch.Size([1, 3, 4, 4])
    """

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
        shown = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return f"{shown}, blur_kernel_size={self.blur_kernel_size}, padding_mode={self.padding_mode!r}"


class GeMPool2d(_Ours):
    """Generalised mean of each map with a power that is trained (Radenovic et al. 2018).

    Parameters
    ----------
    p : float
        The power at the beginning.
    eps : float
        What smaller elements are taken for.
    trainable : bool
        Whether `p` is a parameter.

    Examples
    --------
    >>> pool = GeMPool2d()
    >>> pool(torch.rand(1, 3, 7, 7)).shape, [name for name, _ in pool.named_parameters()]
    (torch.Size([1, 3, 1, 1]), ['p'])
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6, *, trainable: bool = True) -> None:
        super().__init__()
        power = real("GeMPool2d", "p", p, "a real number")
        if not 0 < power < math.inf:
            raise value_error("GeMPool2d", "must be a finite number above 0", argument=("p", p))
        self.p = nn.Parameter(torch.full((1,), power)) if trainable else power
        self.eps = eps

    def forward(self, input: Tensor) -> Tensor:
        """Pool a tensor."""
        return F.gem_pool2d(input, self.p, self.eps)

    def extra_repr(self) -> str:
        """Show the arguments."""
        power = float(self.p.detach()) if isinstance(self.p, nn.Parameter) else self.p
        return f"p={power:g}, eps={self.eps}, trainable={isinstance(self.p, nn.Parameter)}"
