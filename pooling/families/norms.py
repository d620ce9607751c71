"""Norms of windows: Lp pooling and the generalised mean, with their gradients and layers.

Everything is worked out in float64, whatever the dtype, a few rows at a time, and rounded once at the end. Sums of
powers that overflowed, or of which something may have been lost below the smallest number, are made again for that
window with its largest value taken out, so [1e200, 1e200] has the 2-norm 1.414e200.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._core import threads_for
from ..annotations import AnyArray, Layout, Padding, Sizes
from ..arguments import real
from ..arrays import in_default_mode, native
from ..calls import Call, called, double_kind
from ..dispatch import kernels
from ..errors import value_error
from ..layer import Layer
from ..ranks import described, ranked

__all__ = [
    "GeMPool2d",
    "GlobalLPPool1d",
    "GlobalLPPool2d",
    "GlobalLPPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "gem_pool2d",
    "gem_pool2d_backward",
    "global_lp_pool",
    "global_lp_pool_backward",
    "lp_pool1d",
    "lp_pool1d_backward",
    "lp_pool2d",
    "lp_pool2d_backward",
    "lp_pool3d",
    "lp_pool3d_backward",
]


def _positive(function: str, name: str, value: Any, *, finite: bool = False) -> float:
    """Return an exponent or the like: a real number above 0, no bool and no NaN."""
    number = real(function, name, value, "a real number")
    if not number > 0 or (finite and math.isinf(number)):
        rule = "a finite number above 0" if finite else "above 0"
        remedy = f"use a float like {name}=3.0" if finite else "use 1, 2 or another power, or math.inf for the maximum"
        raise value_error(function, f"must be {rule}", remedy, argument=(name, value))
    return number


@in_default_mode
def _forward(call: Call, array: AnyArray, p: float, eps: float, out: AnyArray | None) -> AnyArray:
    result = call.result(out, array)
    kernels.norm_forward(
        call.index_plan, double_kind(call.dtype), native(array), result, p, eps, threads_for(call.nbytes, "norm")
    )
    return result


@in_default_mode
def _backward(
    call: Call, gradient: AnyArray, array: AnyArray, p: float, eps: float, out: AnyArray | None
) -> tuple[AnyArray, AnyArray]:
    """Return the gradient of the input, and for each window of a mean that of the exponent."""
    result = call.input_gradient(out, array, gradient)
    exponents = np.empty(call.output_shape if eps else 0)
    kernels.norm_backward(
        call.index_plan,
        double_kind(call.dtype),
        native(array),
        native(gradient),
        result,
        exponents if eps else None,
        p,
        eps,
        threads_for(call.nbytes, "norm gradient"),
    )
    return result, exponents


def _lp_pool(
    input: ArrayLike,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
    *,
    padding: Padding = 0,
    dilation: Sizes = 1,
    layout: Layout = "channels_first",
    out: AnyArray | None = None,
) -> AnyArray:
    """Norm of each window {windows_of}: ``(sum |x|^p)^(1/p)``.

    Parameters
    ----------
    norm_type : float
        The exponent p: any number above 0, or infinity for the largest magnitude.

    {result_or_errors}

    Notes
    -----
    ONNX LpPool-22. ``torch.nn.functional.lp_pool{n}d`` leaves the absolute value out, so it differs where p is odd or
    no integer, and it has no padding. Padding counts as 0; a window that holds NaN is NaN.

    {examples}
    >>> pooling.{function}(np.array([3.0, -4.0, 0.0, 2.0]).reshape{row 4}, 2, {along 2}).ravel()
    array([5., 2.])
    """
    array, call = called(Call, "{function}", input, kernel_size, stride, padding, dilation, ceil_mode, layout)
    return _forward(call, array, _positive("{function}", "norm_type", norm_type), 0, out)


def _lp_pool_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
    *,
    padding: Padding = 0,
    dilation: Sizes = 1,
    layout: Layout = "channels_first",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.{forward}` with respect to its input: ``sign(x) (|x| / y)^(p - 1)`` for each norm y.

    It is 0 where x is 0, and so everywhere in a window of zeros. For an infinite p it goes to the first of the largest
    magnitudes.

    Parameters
    ----------
    norm_type : float
        The exponent of the forward call.

    {gradient_or_errors}

    {examples}
    >>> x = np.array([3.0, -4.0, 0.0, 2.0]).reshape{row 4}
    >>> pooling.{function}(np.ones({row 2}), x, 2, {along 2}).ravel()
    array([ 0.6, -0.8,  0. ,  1. ])
    """
    array, call = called(Call, "{function}", input, kernel_size, stride, padding, dilation, ceil_mode, layout)
    p = _positive("{function}", "norm_type", norm_type)
    return _backward(call, call.gradient(grad_output), array, p, 0, out)[0]


lp_pool1d, lp_pool2d, lp_pool3d = ranked(_lp_pool, "lp_pool")
lp_pool1d_backward, lp_pool2d_backward, lp_pool3d_backward = ranked(_lp_pool_backward, "lp_pool", "_backward")


@described("global_lp_pool")
def global_lp_pool(
    input: ArrayLike,
    p: float = 2,
    *,
    dimensions: int | None = None,
    layout: Layout = "channels_first",
    out: AnyArray | None = None,
) -> AnyArray:
    """Norm of each channel, over all spatial axes: ``(sum |x|^p)^(1/p)``.

    Parameters
    ----------
    p : float
        The exponent: any number above 0, or infinity for the largest magnitude.

    {channels_or_errors}

    Notes
    -----
    ONNX GlobalLpPool-22.

    {examples}
    >>> pooling.global_lp_pool(np.array([[[[3.0, -4.0]]]]))
    array([[[[5.]]]])
    """
    array, call = called(Call, "global_lp_pool", input, dimensions, layout)
    return _forward(call, array, _positive("global_lp_pool", "p", p), 0, out)


@described("global_lp_pool")
def global_lp_pool_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    p: float = 2,
    *,
    dimensions: int | None = None,
    layout: Layout = "channels_first",
    out: AnyArray | None = None,
) -> AnyArray:
    """Gradient of `pooling.global_lp_pool` with respect to its input; 0 where x is 0.

    Parameters
    ----------
    p : float
        The exponent of the forward call.

    {gradient_or_errors}

    {examples}
    >>> pooling.global_lp_pool_backward(np.ones((1, 1, 1)), np.array([[[3.0, -4.0]]]), dimensions=2)
    array([[[ 0.6, -0.8]]])
    """
    array, call = called(Call, "global_lp_pool_backward", input, dimensions, layout)
    exponent = _positive("global_lp_pool_backward", "p", p)
    return _backward(call, call.gradient(grad_output), array, exponent, 0, out)[0]


@described("gem_pool", 2)
def gem_pool2d(
    input: ArrayLike,
    p: float = 3.0,
    eps: float = 1e-6,
    *,
    layout: Layout = "channels_first",
    out: AnyArray | None = None,
) -> AnyArray:
    """Generalised mean of each map: ``mean(max(x, eps)^p)^(1/p)``.

    The mean for p = 1; the greater p, the nearer to the maximum.

    Parameters
    ----------
    p : float
        The exponent: finite and above 0.
    eps : float
        What smaller elements are taken for: finite and above 0.

    Returns
    -------
    ndarray
        The result, in the dtype of the input, with both spatial axes of size 1.

    {raises}

    Notes
    -----
    Radenović, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation" (2018).

    {examples}
    >>> pooling.gem_pool2d(np.array([[[[1.0, 7.0]]]]), p=2.0)
    array([[[[5.]]]])
    """
    array, call = called(Call, "gem_pool2d", input, layout)
    exponent = _positive("gem_pool2d", "p", p, finite=True)
    return _forward(call, array, exponent, _positive("gem_pool2d", "eps", eps, finite=True), out)


@described("gem_pool", 2)
def gem_pool2d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    p: float = 3.0,
    eps: float = 1e-6,
    *,
    layout: Layout = "channels_first",
    out: AnyArray | None = None,
) -> tuple[AnyArray, float]:
    """Gradients of `pooling.gem_pool2d` with respect to its input and to the exponent p.

    Parameters
    ----------
    p, eps : float
        As in the forward call.

    Returns
    -------
    gradient : ndarray
        Gradient with respect to `input`; 0 for elements below `eps`.
    exponent_gradient : float
        Gradient with respect to `p`, summed over all maps.

    {raises}

    {examples}
    >>> x = np.array([[[[1.0, 7.0]]]])
    >>> gradient, exponent_gradient = pooling.gem_pool2d_backward(np.ones((1, 1, 1, 1)), x, p=2.0)
    >>> gradient
    array([[[[0.1, 0.7]]]])
    >>> round(exponent_gradient, 4)
    0.7439
    """
    array, call = called(Call, "gem_pool2d_backward", input, layout)
    exponent = _positive("gem_pool2d_backward", "p", p, finite=True)
    smallest = _positive("gem_pool2d_backward", "eps", eps, finite=True)
    gradient = call.gradient(grad_output)
    result, exponents = _backward(call, gradient, array, exponent, smallest, out)
    with np.errstate(all="ignore"):
        total = float(exponents.sum())
    # The exact sum is the same in any order.
    return result, math.fsum(exponents.ravel().tolist()) if math.isfinite(total) else total


# ---------------------------------------------------------------------------------------------------------------------
# Layers


class _LPPool(Layer):
    """Layer of `pooling.{function}`, with the arguments of ``torch.nn.{layer}`` and keyword-only extras."""

    operator = "lp_pool"
    _example = """
        >>> {layer}(2, 2)
        {layer}(norm_type=2, kernel_size=2)
        >>> {layer}(2, 2).output_shape({maps 112})
        {maps 56}"""

    def __init__(
        self,
        norm_type: float,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        ceil_mode: bool = False,
        *,
        padding: Padding = 0,
        dilation: Sizes = 1,
        layout: Layout = "channels_first",
    ) -> None: ...


class _GlobalLPPool(Layer):
    """Layer of `pooling.{function}` for ``({first})``."""

    operator = "global_lp_pool"
    _example = """
        >>> {layer}(p=3).output_shape({maps 7})
        {maps 1}"""

    def __init__(self, p: float = 2, *, layout: Layout = "channels_first") -> None: ...


class LPPool1d(_LPPool, dimensions=1): ...


class LPPool2d(_LPPool, dimensions=2): ...


class LPPool3d(_LPPool, dimensions=3): ...


class GlobalLPPool1d(_GlobalLPPool, dimensions=1): ...


class GlobalLPPool2d(_GlobalLPPool, dimensions=2): ...


class GlobalLPPool3d(_GlobalLPPool, dimensions=3): ...


class GeMPool2d(Layer):
    """Layer of `pooling.gem_pool2d`.

    Examples
    --------
    >>> GeMPool2d()
    GeMPool2d(p=3.0)
    >>> GeMPool2d().output_shape((32, 512, 7, 7))
    (32, 512, 1, 1)
    """

    operator = "gem_pool"
    dimensions = 2

    def __init__(self, p: float = 3.0, eps: float = 1e-6, *, layout: Layout = "channels_first") -> None: ...

    def backward(self, grad_output: ArrayLike, input: ArrayLike, **keywords: Any) -> AnyArray:
        """Return the gradient with respect to `input`; ``out=`` may be given."""
        return gem_pool2d_backward(grad_output, input, **self.arguments, **keywords)[0]

    def exponent_gradient(self, grad_output: ArrayLike, input: ArrayLike) -> float:
        """Return the gradient with respect to the exponent p."""
        return gem_pool2d_backward(grad_output, input, **self.arguments)[1]
