"""The way from a function of `pooling.torch.functional` to a kernel: the direct one, or that of PyTorch's dispatcher.

The dispatcher costs about 10 us a call, most of it for lists of sizes, and a kernel of a small map 1 us. Where nothing
but the result is asked of a call, the function of `pooling` is called on the tensor's memory; where its gradient is as
well, inside of a `torch.autograd.Function`. Everything that would see an operator, or change what it does, sees it:
`is_unobserved` says what that is. ``python -m benchmarks.torch_dispatch`` measures the ways.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from pooling.arguments import per_axis
from pooling.errors import compiled_where, type_error
from pooling.families.fractional import fractional_sizes
from pooling.families.unpooling import unpool_size
from pooling.geometry import padding_pairs, strides_of

from .observers import is_unobserved
from .operators import (
    FRACTIONAL,
    FUNCTIONS,
    UNPOOLING,
    Freed,
    Function,
    Unreadable,
    gradient_of,
    keep_shapes,
    kept,
    kernel_of,
    pooled,
    pooled_gradient,
)

__all__ = ["fractional", "laid", "pool", "unpool"]

FLOATS = (torch.float16, torch.bfloat16)
WIDENED = frozenset(
    [f"{name}3d" for name in ("max_pool", "avg_pool", "lp_pool", "adaptive_max_pool", "adaptive_avg_pool", "min_pool")]
).union(FRACTIONAL, UNPOOLING)
"""What `torch.autocast` computes in float32 on the CPU, where the input has half precision; other poolings keep it."""

_autocast = torch._C._is_any_autocast_enabled
_is_compiling = torch.compiler.is_compiling
_is_grad_enabled = torch.is_grad_enabled
_is_followed = torch.compiler.is_dynamo_compiling
compiled_where(_is_followed)


# ---------------------------------------------------------------------------------------------------------------------
# The direct way


class Direct(torch.autograd.Function):
    """A pooling whose gradient is asked for, and nothing else."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, function: Function, given: tuple[Any, ...], indexed: bool) -> Any:  # type: ignore[override]
        """Pool a tensor."""
        found = pooled(function, input, given, indexed=indexed)
        ctx.call = function, given
        if indexed:
            ctx.mark_non_differentiable(found[1])
            ctx.save_for_backward(input, found[1])
        elif function.is_linear(given):
            keep_shapes(ctx, (input,))
        else:
            ctx.save_for_backward(input)
        return found

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Any:  # type: ignore[override]
        """Return the gradient of the input: by the operator where that is differentiated, or seen, itself."""
        function, given = ctx.call
        input, *places = kept(ctx, grad)
        indices = places[0] if places else None
        if not _is_grad_enabled() and is_unobserved(grad):
            try:
                return pooled_gradient(function, grad, input, indices, given), None, None, None
            except Unreadable:
                pass  # as a gradient that is all zero, and has no memory
        return gradient_of(function, grad, input, indices, laid(function, input, given)), None, None, None


# That of the class itself first asks for the transforms of `torch.func`, of which there are none here.
_differentiated = super(torch.autograd.Function, Direct).apply


def pool(name: str, input: Any, given: tuple[Any, ...], indexed: bool = False) -> Any:
    """Pool a tensor, with the arguments of the function of `pooling`, by the shortest way."""
    function = FUNCTIONS[name]
    if is_unobserved(input):
        try:
            if input.requires_grad and _is_grad_enabled():
                return _differentiated(input, function, given, indexed)
            return pooled(function, input, given, indexed=indexed)
        except (RuntimeError, Unreadable):
            pass  # read by way of the dispatcher, or refused in words
    return _explaining(name, input, lambda: _dispatched(function, input, given, indexed))


# ---------------------------------------------------------------------------------------------------------------------
# The way of the dispatcher


def _dispatched(function: Function, input: Tensor, given: tuple[Any, ...], indexed: bool) -> Any:
    """Call the operator of a function."""
    input = _widened(function.name, input)
    operator = function.pool_with_indices if indexed else function.pool
    return operator(input, *laid(function, input, given))


def _widened(name: str, tensor: Tensor) -> Tensor:
    """Return the tensor in the precision that autocast has for a function."""
    if name in WIDENED and _autocast() and torch.is_autocast_enabled("cpu") and tensor.dtype in FLOATS:
        return tensor.float()
    return tensor


def _explaining(name: str, input: Any, call: Callable[[], Any]) -> Any:
    """Call an operator; say what is wrong with a tensor that none takes."""
    if _is_followed():
        return call()  # the compiler says what its operators refuse
    try:
        return call()
    except (AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
        explained = _explained(name, input, error)
        try:
            raise (explained or error) from (error if explained else error.__cause__)
        finally:
            # The error knows this frame, and the frame must not know the error: that cycle would hold the tensor.
            del explained


def _explained(function: str, input: Any, error: Exception) -> Exception | None:
    """Say what is wrong with a tensor that no operator takes."""
    if not isinstance(input, Tensor):
        kind = type(input).__name__
        return type_error(function, f"input must be a torch.Tensor, not {kind}", f"use pooling.{function} for arrays")
    if input.is_nested:
        return type_error(function, "input is a nested tensor", "give one of input.unbind() at a time")
    if input.layout is not torch.strided:
        return type_error(function, f"input has the layout {input.layout}", "give input.to_dense()")
    if input.is_quantized:
        return type_error(function, "input is quantised", "give input.dequantize(), or input.int_repr() for maxima")
    if input.device.type not in ("cpu", "meta"):
        return type_error(function, f"input is on {input.device}, and pooling computes on the CPU", "give input.cpu()")
    if isinstance(error, Freed):
        return type_error(function, "the memory of input was freed", "give a tensor that holds its elements")
    if isinstance(error, Unreadable):
        return type_error(function, f"input has dtype {input.dtype}, which is not accepted", "give input.float()")
    return None


# ---------------------------------------------------------------------------------------------------------------------
# From the arguments of functions to those of operators


def _frozen(value: Any) -> Any:
    """Make an argument one that can be remembered."""
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


def _is_plain(value: Any) -> bool:
    """Whether nothing that equals an argument is read in another way: 2.0 equals 2, and is refused."""
    return value is None or type(value) is int or (type(value) is tuple and all(map(_is_plain, value)))


def _windows(name: str, n: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Any, ...]:
    """Read kernel, stride, padding and dilation, which do not depend on the input, as operators have them."""
    kernels = per_axis(name, "kernel_size", kernel_size, n)
    strides = strides_of(name, stride, kernels)
    dilations = per_axis(name, "dilation", dilation, n)
    reach = [step * (taps - 1) + 1 for taps, step in zip(kernels, dilations, strict=True)]
    if padding is None:  # of a blur: its filter is centred on every pixel that is kept
        padding = [((taps - 1) // 2, taps // 2) for taps in kernels]
    # The sizes matter to padding="same" alone, which is read where they are known.
    pairs = padding_pairs(name, padding, [0] * n, reach, strides)
    return list(kernels), list(strides), [each for pair in pairs for each in pair], list(dilations)


_known = lru_cache(maxsize=4096)(_windows)


def _remembered(name: str, n: int, *given: Any) -> tuple[Any, ...]:
    """Read them, and remember what was read of plain ones."""
    return (_known if _is_plain(given) else _windows)(name, n, *given)


def _laid_windows(function: Function, input: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """Return kernel, stride, padding and dilation as operators have them."""
    name, n = function.name, function.dimensions
    assert n is not None
    read: Callable[..., Any] = _windows if _is_compiling() else _remembered
    if not isinstance(padding, str):
        return read(name, n, *_frozen((kernel_size, stride, padding, dilation)))
    kernels, strides, _, dilations = read(name, n, *_frozen((kernel_size, stride)), 0, _frozen(dilation))
    reach = [step * (taps - 1) + 1 for taps, step in zip(kernels, dilations, strict=True)]
    pairs = padding_pairs(name, padding, input.shape[-n:], reach, strides)
    return kernels, strides, [each for pair in pairs for each in pair], dilations


def laid(function: Function, input: Tensor, given: Sequence[Any]) -> list[Any]:
    """Return the arguments of a function as its operator takes them."""
    found = dict(zip(function.names, given, strict=True))
    if "kernel_size" in found:
        windows = ("kernel_size", "stride", "padding", "dilation")
        arguments = [found.get(name, 1) for name in windows]
        found |= {
            name: value
            for name, value in zip(windows, _laid_windows(function, input, *arguments), strict=True)
            if name in found
        }
    elif "output_size" in found:
        assert function.dimensions is not None
        sizes = per_axis(function.name, "output_size", found["output_size"], function.dimensions, allow_none=True)
        found["output_size"] = [-1 if size is None else size for size in sizes]
    for name in ("ceil_mode", "count_include_pad"):
        if name in found:
            found[name] = bool(found[name])
    for name in ("norm_type", "p", "eps", "divisor_override"):
        if found.get(name) is not None:
            found[name] = float(found[name])
    return list(found.values())


# ---------------------------------------------------------------------------------------------------------------------
# Unpooling, and windows at random steps


def _direct(name: str, tensors: Sequence[Tensor], *given: Any) -> Any:
    """Call the kernel of an operator where nothing but the dispatcher is between; return None where more is."""
    asked = _is_grad_enabled() and any(each.requires_grad for each in tensors)
    if asked or not all(map(is_unobserved, tensors)):
        return None
    try:
        return kernel_of(name)(*tensors, *given)
    except (RuntimeError, Unreadable):
        return None  # read by way of the dispatcher, or refused in words


def unpool(
    name: str, input: Any, indices: Any, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> Tensor:
    """Put elements back where indices say."""
    n = UNPOOLING[name]
    for each in (input, indices):
        if not isinstance(each, Tensor):
            rule = f"input and indices must be torch.Tensor, not {type(each).__name__}"
            raise type_error(name, rule, f"use pooling.{name} for arrays")
    sizes = output_size
    if sizes is not None and not isinstance(sizes, int) and len(sizes) in (input.ndim, n + 2):
        sizes = sizes[-n:]
    size = unpool_size(input.shape[-n:], kernel_size, stride, padding, sizes, function=name)
    found: Tensor | None = _direct(name, (input, indices), list(size))
    if found is not None:
        return found
    call = getattr(torch.ops.pooling, name).default
    return _explaining(name, input, lambda: call(_widened(name, input), indices, list(size)))


def fractional(
    name: str, input: Any, kernel_size: Any, output_size: Any, output_ratio: Any, samples: Any
) -> tuple[Tensor, Tensor]:
    """Pool with windows at random steps; return the indices as well."""
    n = FRACTIONAL[name]
    if not isinstance(input, Tensor):
        rule = f"input must be a torch.Tensor, not {type(input).__name__}"
        raise type_error(name, rule, f"use pooling.{name} for arrays")
    kernel, size = fractional_sizes(name, tuple(input.shape[-n:]), kernel_size, output_size, output_ratio)
    input = _widened(name, input)
    if samples is None:
        lead = input.shape[:-n] if input.ndim == n + 2 else (1, *input.shape[:-n])
        samples = torch.rand((*lead, n), dtype=input.dtype, device=input.device)
    if isinstance(samples, Tensor):
        found: tuple[Tensor, Tensor] | None = _direct(name, (input, samples), list(kernel), list(size))
        if found is not None:
            return found
    call = getattr(torch.ops.pooling, name).default
    return _explaining(name, input, lambda: call(input, _widened(name, samples), list(kernel), list(size)))
