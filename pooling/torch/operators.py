"""The functions of `pooling` as operators of PyTorch: ``torch.ops.pooling.max_pool2d`` and so on.

Each function has up to three operators, whose arguments follow from its signature: the pooling; the pooling with its
indices (``max_pool2d_with_indices``); the gradient (``max_pool2d_backward``). Each has a kernel for the CPU, which
hands the memory of tensors to the function of `pooling`; a fake implementation, which tells the shapes of results by
arithmetic that symbolic sizes go through; derivatives, those of the gradient among them; and a rule for `torch.vmap`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

import pooling
from pooling.geometry import count_windows
from pooling.operators import OPERATORS, Operator

from .team import limited

__all__ = ["FRACTIONAL", "FUNCTIONS", "UNPOOLING", "Function", "Pooling", "array_of", "tensor_of"]

NAMESPACE = "pooling"
KINDS = {
    "kernel_size": "SymInt[]",
    "stride": "SymInt[]",
    "padding": "SymInt[]",
    "dilation": "SymInt[]",
    "output_size": "SymInt[]",
    "blur_kernel_size": "SymInt[]",
    "ceil_mode": "bool",
    "count_include_pad": "bool",
    "divisor_override": "float?",
    "norm_type": "float",
    "p": "float",
    "eps": "float",
    "nan": "str",
    "padding_mode": "str",
}
"""Types of arguments in schemas; arguments of functions that have none here are none of their operators."""
LINEAR = ("avg_pool", "adaptive_avg_pool", "global_avg_pool", "blur_pool")
"""Poolings whose gradient does not depend on what the input holds, unless they leave NaN out."""
COMPOSED = ("max_blur_pool",)
"""Poolings that are two others, one after the other, whose operators they take."""
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}

_library = torch.library.Library(NAMESPACE, "DEF")


# ---------------------------------------------------------------------------------------------------------------------
# Tensors and arrays


def array_of(tensor: Tensor) -> Any:
    """View the memory of a tensor of the CPU as an array."""
    if tensor.dtype is torch.bfloat16:
        import ml_dtypes

        return tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def tensor_of(array: Any) -> Tensor:
    """View an array as a tensor."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view("uint16")).view(torch.bfloat16)
    return torch.from_numpy(array)


# ---------------------------------------------------------------------------------------------------------------------
# Functions


@dataclass(frozen=True)
class Function:
    """A function of `pooling` with its operators.

    Attributes
    ----------
    name : str
        ``max_pool2d``.
    operator : Operator
        Row of the operator table.
    dimensions : int or None
        Spatial axes; None for a function of any rank.
    """

    name: str
    operator: Operator
    dimensions: int | None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The arguments of the operator behind its tensors."""
        return tuple(name for name in inspect.signature(getattr(pooling, self.name)).parameters if name in KINDS)

    @property
    def arguments(self) -> str:
        """The same as a schema has them."""
        return "".join(f", {KINDS[name]} {name}" for name in self.names)

    @cached_property
    def pool(self) -> Callable[..., Any]:
        """The operator."""
        return getattr(torch.ops.pooling, self.name).default  # type: ignore[no-any-return]

    @cached_property
    def pool_with_indices(self) -> Callable[..., Any]:
        """The operator that returns indices as well."""
        return getattr(torch.ops.pooling, f"{self.name}_with_indices").default  # type: ignore[no-any-return]

    @cached_property
    def gradient(self) -> Callable[..., Any]:
        """The operator of the gradient."""
        return getattr(torch.ops.pooling, f"{self.name}_backward").default  # type: ignore[no-any-return]

    def keywords(self, arguments: Sequence[Any]) -> dict[str, Any]:
        """Return the arguments of an operator as the function of `pooling` takes them."""
        found = dict(zip(self.names, arguments, strict=True))
        if "padding" in found:
            flat = found["padding"]
            found["padding"] = tuple(zip(flat[::2], flat[1::2], strict=True))
        if "stride" in found and not found["stride"]:
            found["stride"] = None
        if "output_size" in found:
            found["output_size"] = [None if size < 0 else size for size in found["output_size"]]
        return found

    def output_shape(self, shape: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        """Return the shape of the result for one of the input, in numbers or symbols."""
        given = dict(zip(self.names, arguments, strict=True))
        n = self.dimensions or len(shape) - 2
        outer, sizes = list(shape[: len(shape) - n]), list(shape[len(shape) - n :])
        if self.operator.windows == "global":
            return [*outer, *([1] * n)]
        if self.operator.windows == "adaptive":
            return [*outer, *(s if o < 0 else o for s, o in zip(sizes, given["output_size"], strict=True))]
        kernel, stride = given["kernel_size"], given["stride"] or given["kernel_size"]
        padding, dilation = given["padding"], given.get("dilation", [1] * n)
        counts = [
            count_windows(
                sizes[i], dilation[i] * (kernel[i] - 1) + 1, stride[i], padding[2 * i], padding[2 * i + 1],
                ceil_mode=given.get("ceil_mode", False), least=torch.sym_min,
            )
            for i in range(n)
        ]  # fmt: skip
        return [*outer, *counts]

    def is_linear(self, arguments: Sequence[Any]) -> bool:
        """Whether the gradient does not depend on what the input holds."""
        given = dict(zip(self.names, arguments, strict=True))
        return self.operator.name in LINEAR and given.get("nan", "propagate") == "propagate"


def _functions() -> dict[str, Function]:
    found = {}
    for operator in OPERATORS.values():
        if operator.windows in ("sliding", "adaptive", "global") and operator.name not in COMPOSED:
            for name, dimensions in zip(operator.functions, operator.dimensions or (None,), strict=True):
                found[name] = Function(name, operator, dimensions)
    return found


FUNCTIONS = _functions()
"""The functions that are operators, by their names."""


# ---------------------------------------------------------------------------------------------------------------------
# Kernels and fakes


def _like(input: Tensor, shape: Sequence[Any], dtype: torch.dtype | None = None) -> Tensor:
    """Make the fake result: in the memory format of the input, as kernels make it."""
    result = input.new_empty(shape, dtype=dtype or input.dtype)
    memory_format = CHANNELS_LAST.get(input.ndim)
    if (
        memory_format is not None
        and len(shape) == input.ndim
        and not input.is_contiguous()
        and input.is_contiguous(memory_format=memory_format)
    ):
        return torch.empty_strided(
            result.shape, result.to(memory_format=memory_format).stride(), dtype=result.dtype, device=result.device
        )
    return result


def _register(function: Function) -> None:
    """Make the operators of a function."""
    name, arguments = function.name, function.arguments
    pool, backward = limited(getattr(pooling, name)), limited(getattr(pooling, f"{name}_backward"))

    def forward(input: Tensor, *given: Any) -> Tensor:
        return tensor_of(pool(array_of(input), **function.keywords(given)))

    def fake(input: Tensor, *given: Any) -> Tensor:
        return _like(input, function.output_shape(input.shape, given))

    _library.define(f"{name}(Tensor input{arguments}) -> Tensor")
    _library.impl(name, forward, "CPU")
    torch.library.register_fake(f"{NAMESPACE}::{name}", fake, lib=_library)

    if function.operator.indices:

        def indexed(input: Tensor, *given: Any) -> tuple[Tensor, Tensor]:
            values, indices = pool(array_of(input), **function.keywords(given), return_indices=True)
            return tensor_of(values), torch.from_numpy(indices)

        def fake_indexed(input: Tensor, *given: Any) -> tuple[Tensor, Tensor]:
            shape = function.output_shape(input.shape, given)
            return _like(input, shape), _like(input, shape, torch.int64)

        _library.define(f"{name}_with_indices(Tensor input{arguments}) -> (Tensor, Tensor)")
        _library.impl(f"{name}_with_indices", indexed, "CPU")
        torch.library.register_fake(f"{NAMESPACE}::{name}_with_indices", fake_indexed, lib=_library)

    places = ", Tensor? indices" if function.operator.indices else ""

    def gradient(grad_output: Tensor, input: Tensor, *given: Any) -> Tensor:
        keywords = function.keywords(given[bool(places) :])
        if places and given[0] is not None:
            keywords["indices"] = array_of(given[0])
        found = backward(array_of(grad_output), array_of(input), **keywords)
        # That of a generalised mean has the derivative of its power besides.
        return tensor_of(found[0] if isinstance(found, tuple) else found)

    def fake_gradient(grad_output: Tensor, input: Tensor, *given: Any) -> Tensor:
        return _like(input, input.shape)

    _library.define(f"{name}_backward(Tensor grad_output, Tensor input{places}{arguments}) -> Tensor")
    _library.impl(f"{name}_backward", gradient, "CPU")
    torch.library.register_fake(f"{NAMESPACE}::{name}_backward", fake_gradient, lib=_library)


# ---------------------------------------------------------------------------------------------------------------------
# Derivatives


def _selected(values: Tensor, indices: Tensor, dimensions: int) -> Tensor:
    """Take the elements of each map that indices name."""
    flat = values.flatten(-dimensions)
    return flat.gather(-1, indices.flatten(-dimensions)).view(indices.shape)


def _called(function: Function, input: Tensor, arguments: Sequence[Any], *, indexed: bool = False) -> Any:
    """Call an operator in a way that the transforms of `torch.func` know, where one is at work."""
    if torch._C._are_functorch_transforms_active():
        return Pooling.apply(input, function, arguments, indexed)
    return (function.pool_with_indices if indexed else function.pool)(input, *arguments)


def _adaptive_indices(function: Function, input: Tensor, arguments: Sequence[Any]) -> Tensor:
    """Find the argmax of each window; that of a whole map is that of an adaptive pooling to one cell."""
    if function.operator.indices:
        return _called(function, input, arguments, indexed=True)[1]  # type: ignore[no-any-return]
    n = input.ndim - 2
    adaptive = FUNCTIONS[f"adaptive_max_pool{n}d"]
    return _called(adaptive, input, ([1] * n, *arguments), indexed=True)[1]  # type: ignore[no-any-return]


def _norm(function: Function, input: Tensor, arguments: Sequence[Any]) -> Tensor:
    """Compute a norm by operators that have all derivatives, for gradients of gradients."""
    given = dict(zip(function.names, arguments, strict=True))
    n = function.dimensions or input.ndim - 2
    spatial = tuple(range(input.ndim - n, input.ndim))
    if function.operator.name == "gem_pool":
        p = given["p"]
        return input.clamp(min=given["eps"]).pow(p).mean(spatial, keepdim=True).pow(1 / p)
    p = given.get("norm_type", given.get("p", 2.0))
    if function.operator.windows == "global":
        return torch.linalg.vector_norm(input, p, spatial, keepdim=True)
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    kernel_size, stride, padding, dilation, ceil_mode = (given[name] for name in names)
    if p == float("inf"):
        windows = (kernel_size, stride, padding, dilation, ceil_mode, "propagate")
        return _called(FUNCTIONS[f"max_pool{n}d"], input.abs(), windows)  # type: ignore[no-any-return]
    windows = (kernel_size, stride, padding, ceil_mode, False, 1.0, dilation, "propagate")
    sums = _called(FUNCTIONS[f"avg_pool{n}d"], input.abs().pow(p), windows)
    # The root has no derivative at 0, where the gradient of a norm is 0.
    empty = sums == 0
    return torch.where(empty, 0, torch.where(empty, 1, sums).pow(1 / p))


def gradient_of(
    function: Function, grad: Tensor, input: Tensor, indices: Tensor | None, arguments: Sequence[Any]
) -> Tensor:
    """Return the gradient of the input."""
    places = (indices,) if function.operator.indices else ()
    return function.gradient(grad, input, *places, *arguments)  # type: ignore[no-any-return]


def _second(function: Function, grad: Tensor, grad_output: Tensor, input: Tensor, arguments: Sequence[Any]) -> Any:
    """Differentiate the gradient of a norm with respect to what came in from behind, and to the input."""
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        if not keep:
            grad_output, input = grad_output.detach().requires_grad_(), input.detach().requires_grad_()
        first = torch.autograd.grad(_norm(function, input, arguments), input, grad_output, create_graph=True)
        return torch.autograd.grad(first, (grad_output, input), grad, create_graph=keep, allow_unused=True)


def second_gradient_of(
    function: Function,
    grad: Tensor,
    grad_output: Tensor,
    input: Tensor,
    indices: Tensor | None,
    arguments: Sequence[Any],
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of what a gradient was made of: of the gradient that came in, and of the input."""
    if function.is_linear(arguments):
        return _called(function, grad, arguments), None
    if function.operator.family == "extremes":
        if indices is None:
            indices = _adaptive_indices(function, input, arguments)
        return _selected(grad, indices, function.dimensions or input.ndim - 2), None
    return _second(function, grad, grad_output, input, arguments)  # type: ignore[no-any-return]


def _register_derivatives(function: Function) -> None:
    """Tell how the operators of a function are differentiated, the gradient too."""
    nothing = (None,) * len(function.names)

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        input, *ctx.arguments = inputs
        ctx.save_for_backward(input)

    def differentiate(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        (input,) = ctx.saved_tensors
        return gradient_of(function, grad, input, None, ctx.arguments), *nothing

    name = f"{NAMESPACE}::{function.name}"
    torch.library.register_autograd(name, differentiate, setup_context=keep, lib=_library)
    if function.operator.indices:

        def keep_indices(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
            input, *ctx.arguments = inputs
            ctx.mark_non_differentiable(output[1])
            ctx.save_for_backward(input, output[1])

        def differentiate_indexed(ctx: Any, grad: Tensor, _: Any) -> tuple[Any, ...]:
            input, indices = ctx.saved_tensors
            return gradient_of(function, grad, input, indices, ctx.arguments), *nothing

        torch.library.register_autograd(
            f"{name}_with_indices", differentiate_indexed, setup_context=keep_indices, lib=_library
        )

    def keep_gradient(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        grad_output, input, *rest = inputs
        ctx.indices = rest.pop(0) if function.operator.indices else None
        ctx.arguments = rest
        ctx.save_for_backward(input, grad_output)

    def differentiate_gradient(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        input, grad_output = ctx.saved_tensors
        found = second_gradient_of(function, grad, grad_output, input, ctx.indices, ctx.arguments)
        return *found, *(None,) * function.operator.indices, *nothing

    torch.library.register_autograd(
        f"{name}_backward", differentiate_gradient, setup_context=keep_gradient, lib=_library
    )


# ---------------------------------------------------------------------------------------------------------------------
# vmap


def as_one_batch(
    function: Function, operator: Callable[..., Any], size: int, dims: Sequence[int | None], tensors: Sequence[Any]
) -> tuple[Any, Any]:
    """Call an operator on batches of batches; return what it gives, and where the outer batch is in it."""
    given = [
        each if each is None else each.unsqueeze(0).expand(size, *each.shape) if dim is None else each.movedim(dim, 0)
        for each, dim in zip(tensors, dims, strict=False)
    ]
    n = function.dimensions or next(each for each in reversed(given) if each is not None).ndim - 3
    leads = [each.shape[:2] if each is not None and each.ndim == n + 3 else None for each in given]
    found = operator(*(each if lead is None else each.flatten(0, 1) for each, lead in zip(given, leads, strict=True)))
    lead = next((each for each in leads if each is not None), None)
    results = found if isinstance(found, tuple) else (found,)
    if lead is not None:
        results = tuple(each.unflatten(0, lead) for each in results)
    return (results, (0,) * len(results)) if isinstance(found, tuple) else (results[0], 0)


def _register_vmap(function: Function) -> None:
    """Let batches of batches be one batch: planes are pooled one by one anyway."""

    def register(name: str, operator: Callable[..., Any], tensors: int) -> None:
        def rule(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
            given, rest = arguments[:tensors], arguments[tensors:]
            return as_one_batch(
                function, lambda *each: operator(*each, *rest), info.batch_size, in_dims[:tensors], given
            )

        torch.library.register_vmap(f"{NAMESPACE}::{name}", rule, lib=_library)

    indexed = function.operator.indices
    register(function.name, function.pool, 1)
    if indexed:
        register(f"{function.name}_with_indices", function.pool_with_indices, 1)
    register(f"{function.name}_backward", function.gradient, 2 + indexed)


# ---------------------------------------------------------------------------------------------------------------------
# The same as functions of autograd: cheaper than the dispatcher, and known to the transforms of `torch.func`


class Pooling(torch.autograd.Function):
    """A pooling that is differentiated."""

    @staticmethod
    def forward(input: Tensor, function: Function, arguments: Sequence[Any], indexed: bool) -> Any:  # type: ignore[override]
        """Pool a tensor."""
        with torch._C._AutoDispatchBelowAutograd():
            return (function.pool_with_indices if indexed else function.pool)(input, *arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep what the gradient is made of."""
        input, ctx.function, ctx.arguments, indexed = inputs
        if indexed:
            ctx.mark_non_differentiable(output[1])
            ctx.save_for_backward(input, output[1])
        else:
            ctx.save_for_backward(input)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Any:  # type: ignore[override]
        """Return the gradient of the input."""
        input, *indices = ctx.saved_tensors
        return Gradient.apply(grad, input, *indices or [None], ctx.function, ctx.arguments), None, None, None

    @staticmethod
    def vmap(
        info: Any, in_dims: Any, input: Tensor, function: Function, arguments: Sequence[Any], indexed: bool
    ) -> Any:
        """Pool batches of batches."""

        def pool(each: Tensor) -> Any:
            return Pooling.apply(each, function, arguments, indexed)

        return as_one_batch(function, pool, info.batch_size, in_dims[:1], (input,))


class Gradient(torch.autograd.Function):
    """A gradient that is differentiated."""

    @staticmethod
    def forward(  # type: ignore[override]
        grad_output: Tensor, input: Tensor, indices: Tensor | None, function: Function, arguments: Sequence[Any]
    ) -> Tensor:
        """Return the gradient of the input."""
        with torch._C._AutoDispatchBelowAutograd():
            return gradient_of(function, grad_output, input, indices, arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep what the gradients of the gradient are made of."""
        grad_output, input, indices, ctx.function, ctx.arguments = inputs
        ctx.save_for_backward(grad_output, input, *[] if indices is None else [indices])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        """Return the gradients of both."""
        grad_output, input, *indices = ctx.saved_tensors
        found = second_gradient_of(ctx.function, grad, grad_output, input, *indices or [None], ctx.arguments)
        return *found, None, None, None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: Any,
        grad_output: Tensor,
        input: Tensor,
        indices: Tensor | None,
        function: Function,
        arguments: Sequence[Any],
    ) -> Any:
        """Return the gradients of batches of batches."""

        def gradient(*each: Any) -> Any:
            return Gradient.apply(*each, function, arguments)

        return as_one_batch(function, gradient, info.batch_size, in_dims[:3], (grad_output, input, indices))


# ---------------------------------------------------------------------------------------------------------------------
# Unpooling, and windows at random steps: the gradients of both move elements to and from where indices say


UNPOOLING = {f"max_unpool{n}d": n for n in (1, 2, 3)}
FRACTIONAL = {f"fractional_max_pool{n}d": n for n in (2, 3)}
"""Names of functions, and their spatial axes."""


def _register_unpooling(name: str, n: int) -> None:
    pool = limited(getattr(pooling, name))

    def forward(input: Tensor, indices: Tensor, output_size: list[int]) -> Tensor:
        # The kernel says nothing: the size is the whole of what it would tell.
        return tensor_of(pool(array_of(input), array_of(indices), [1] * n, output_size=output_size))

    def fake(input: Tensor, indices: Tensor, output_size: list[Any]) -> Tensor:
        return _like(input, [*input.shape[: input.ndim - n], *output_size])

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(inputs[1])

    def differentiate(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        return _selected(grad, ctx.saved_tensors[0], n), None, None

    _library.define(f"{name}(Tensor input, Tensor indices, SymInt[] output_size) -> Tensor")
    _library.impl(name, forward, "CPU")
    torch.library.register_fake(f"{NAMESPACE}::{name}", fake, lib=_library)
    torch.library.register_autograd(f"{NAMESPACE}::{name}", differentiate, setup_context=keep, lib=_library)


def _register_fractional(name: str, n: int) -> None:
    pool = limited(getattr(pooling, name))

    def forward(
        input: Tensor, samples: Tensor, kernel_size: list[int], output_size: list[int]
    ) -> tuple[Tensor, Tensor]:
        found = pool(array_of(input), kernel_size, output_size, return_indices=True, _random_samples=array_of(samples))
        return tensor_of(found[0]), torch.from_numpy(found[1])

    def fake(input: Tensor, samples: Tensor, kernel_size: list[Any], output_size: list[Any]) -> tuple[Tensor, Tensor]:
        shape = [*input.shape[: input.ndim - n], *output_size]
        return _like(input, shape), _like(input, shape, torch.int64)

    def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.shape = inputs[0].shape
        ctx.save_for_backward(output[1])

    def differentiate(ctx: Any, grad: Tensor, _: Any) -> tuple[Any, ...]:
        (indices,) = ctx.saved_tensors
        flat = grad.new_zeros(ctx.shape).flatten(-n)
        found = flat.scatter_add(-1, indices.flatten(-n), grad.flatten(-n))
        return found.view(ctx.shape), None, None, None

    _library.define(
        f"{name}(Tensor input, Tensor samples, SymInt[] kernel_size, SymInt[] output_size) -> (Tensor, Tensor)"
    )
    _library.impl(name, forward, "CPU")
    torch.library.register_fake(f"{NAMESPACE}::{name}", fake, lib=_library)
    torch.library.register_autograd(f"{NAMESPACE}::{name}", differentiate, setup_context=keep, lib=_library)


for _name, _n in UNPOOLING.items():
    _register_unpooling(_name, _n)
for _name, _n in FRACTIONAL.items():
    _register_fractional(_name, _n)
for _function in FUNCTIONS.values():
    _register(_function)
    _register_derivatives(_function)
    _register_vmap(_function)
