"""The functions of `pooling` as operators of PyTorch: ``torch.ops.pooling.max_pool2d`` and so on.

Each function has up to three operators, whose arguments follow from its signature: the pooling; the pooling with its
indices (``max_pool2d_with_indices``); the gradient (``max_pool2d_backward``). Each has a kernel for the CPU, which
hands the memory of tensors to the function of `pooling`; a fake implementation, which tells the shapes of results by
arithmetic that symbolic sizes go through; derivatives, those of the gradient among them; and a rule for `torch.vmap`.
"""

from __future__ import annotations

import inspect
import math
import operator as operations
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad

import pooling
from pooling.arrays import is_whole
from pooling.errors import value_error
from pooling.families.blurs import PADDING_MODES
from pooling.geometry import count_windows
from pooling.operators import OPERATORS, Operator
from pooling.signs import counted

from .observers import is_unobserved
from .team import limited

__all__ = [
    "FRACTIONAL",
    "FUNCTIONS",
    "UNPOOLING",
    "Freed",
    "Function",
    "Unreadable",
    "gradient_of",
    "keep_shapes",
    "kept",
    "kernel_of",
    "pooled",
    "pooled_gradient",
]

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
WORDS = {"nan": ("propagate", "ignore"), "padding_mode": PADDING_MODES}
"""What may be written for arguments that are words."""
LINEAR = ("avg_pool", "adaptive_avg_pool", "global_avg_pool", "blur_pool")
"""Poolings whose gradient does not depend on what the input holds, unless they leave NaN out."""
COMPOSED = ("max_blur_pool",)
"""Poolings that are two others, one after the other, whose operators they take."""

_library = torch.library.Library(NAMESPACE, "DEF")


# ---------------------------------------------------------------------------------------------------------------------
# Tensors and arrays


class Unreadable(TypeError):
    """The memory of a tensor does not hold its elements as an array has them."""


class Freed(Unreadable):
    """The memory of a tensor was freed."""


def array_of(tensor: Tensor) -> Any:
    """View the memory of a tensor as an array.

    Raises
    ------
    Unreadable
        If the tensor is on another device, sparse, quantised, nested, conjugated, negated, or all zero without memory,
        or if its memory was freed.
    """
    if tensor.requires_grad:
        tensor = tensor.detach()
    try:
        # PyTorch itself refuses here whatever has no elements, or others than its memory.
        if tensor.dtype is torch.bfloat16:
            array = tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
        else:
            array = tensor.numpy()
    except (RuntimeError, TypeError) as error:
        raise Unreadable(str(error)) from error
    if not is_whole(tensor, array):
        raise Freed("the memory of a tensor was freed")
    return array


def tensor_of(array: Any) -> Tensor:
    """View an array as a tensor."""
    if array.dtype.kind == "V":
        tensor = torch.from_numpy(array.view("uint16")).view(torch.bfloat16)
    else:
        tensor = torch.from_numpy(array)
    # Of arrays without elements PyTorch takes no strides over, which fake results have.
    return tensor if array.size else torch.empty(tensor.shape, dtype=tensor.dtype)


class Order(NamedTuple):
    """The memory format of a tensor whose channels are last."""

    last: tuple[int, ...]
    """The axes in their order in memory."""
    first: tuple[int, ...]
    """What undoes that."""


def _order(rank: int, dimensions: int) -> Order:
    channel = rank - dimensions - 1
    last = (*range(channel), *range(channel + 1, rank), channel)
    return Order(last, tuple(last.index(axis) for axis in range(rank)))


ORDERS: dict[tuple[int, int | None], Order] = {(n + 2, n): _order(n + 2, n) for n in (1, 2, 3)}
ORDERS |= {(rank, None): _order(rank, rank - 2) for rank in (3, 4, 5)}
"""Orders by rank and spatial axes; functions of any number of them tell it by the rank.

Of maps without a batch there are none: PyTorch has a memory format for batches alone, and its results are contiguous.
"""


def order_of(tensor: Tensor, dimensions: int | None) -> Order | None:
    """Tell whether the channels of a tensor are last in memory, and nothing is between its elements."""
    if tensor.is_contiguous():
        return None
    order = ORDERS.get((tensor.dim(), dimensions))
    return order if order is not None and tensor.permute(order.last).is_contiguous() else None


def empty(like: Tensor, shape: Sequence[Any], order: Order | None, dtype: torch.dtype | None = None) -> Tensor:
    """Make a tensor in a memory format, whose elements are anything."""
    if order is None:
        return like.new_empty(shape, dtype=dtype or like.dtype)
    return like.new_empty([shape[axis] for axis in order.last], dtype=dtype or like.dtype).permute(order.first)


def _arrays(order: Order | None, *tensors: Tensor) -> list[Any]:
    """View the memory of tensors as arrays, all in one layout: the functions of `pooling` choose it by the first."""
    return [array_of((each if order is None else each.permute(order.last)).contiguous()) for each in tensors]


def _layout(order: Order | None) -> dict[str, str]:
    """Return how the functions of `pooling` are told of it."""
    return {} if order is None else {"layout": "channels_last"}


def _back(order: Order | None, array: Any) -> Tensor:
    """View an array of that layout as a tensor."""
    tensor = tensor_of(array)
    return tensor if order is None else tensor.permute(order.first)


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
    def array_function(self) -> Callable[..., Any]:
        """The function of `pooling`."""
        return limited(getattr(pooling, self.name))

    @cached_property
    def array_gradient(self) -> Callable[..., Any]:
        """Its gradient."""
        return limited(getattr(pooling, f"{self.name}_backward"))

    @cached_property
    def positional(self) -> int:
        """How many of the arguments need no name: one may be given by its place as long as all before it are."""
        parameters = inspect.signature(self.array_function).parameters
        kinds = [parameters[name].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for name in self.names]
        return kinds.index(False) if False in kinds else len(kinds)

    @cached_property
    def defaults(self) -> tuple[Any, ...]:
        """What the arguments are that must be named, if nothing is said."""
        parameters = inspect.signature(self.array_function).parameters
        return tuple(parameters[name].default for name in self.named)

    @cached_property
    def named(self) -> tuple[str, ...]:
        """The arguments that must be named."""
        return self.names[self.positional :]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The arguments of the operator behind its tensors."""
        return tuple(name for name in inspect.signature(self.array_function).parameters if name in KINDS)

    @property
    def arguments(self) -> str:
        """The same as a schema has them."""
        return "".join(f", {KINDS[name]} {name}" for name in self.names)

    @cached_property
    def pool(self) -> Callable[..., Any]:
        """The operator."""
        return getattr(torch.ops.pooling, self.name).default

    @cached_property
    def pool_with_indices(self) -> Callable[..., Any]:
        """The operator that returns indices as well."""
        return getattr(torch.ops.pooling, f"{self.name}_with_indices").default

    @cached_property
    def gradient(self) -> Callable[..., Any]:
        """The operator of the gradient."""
        return getattr(torch.ops.pooling, f"{self.name}_backward").default

    def given(self, arguments: Sequence[Any]) -> tuple[Any, ...]:
        """Return the arguments of an operator as the function of `pooling` takes them."""
        self.check(arguments)
        # Tuples, by which calls are remembered.
        found = [tuple(each) if type(each) is list else each for each in arguments]
        for place, name in self.rewritten:
            value = found[place]
            if name == "padding":
                found[place] = tuple(zip(value[::2], value[1::2], strict=True))
            else:
                found[place] = tuple([None if size < 0 else size for size in value])
        return tuple(found)

    @cached_property
    def rewritten(self) -> tuple[tuple[int, str], ...]:
        """Places and names of the arguments that an operator has otherwise than the function."""
        return tuple((place, name) for place, name in enumerate(self.names) if name in ("padding", "output_size"))

    @cached_property
    def lengths(self) -> tuple[tuple[int, int], ...]:
        """Places of the arguments of an operator that are lists, and their lengths."""
        n = self.dimensions or 0
        lists = [(place, name) for place, name in enumerate(self.names) if KINDS[name] == "SymInt[]"]
        return tuple((place, 2 * n if name == "padding" else n) for place, name in lists)

    def check(self, arguments: Sequence[Any]) -> None:
        """Refuse lists of other lengths than the axes ask for.

        Raises
        ------
        ValueError
            If there is one.
        """
        for place, length in self.lengths:
            if len(arguments[place]) != length:
                name, value = self.names[place], list(arguments[place])
                what = "the begin and the end of each axis" if name == "padding" else "one for each axis"
                raise value_error(self.name, f"must hold {length} numbers, {what}", argument=(name, value))

    def keywords(self, arguments: Sequence[Any]) -> dict[str, Any]:
        """Return the same by their names."""
        return dict(zip(self.names, self.given(arguments), strict=True))

    def wrong_axes(self, rank: int) -> ValueError:
        """Make the error of an input of so many axes."""
        n = self.dimensions
        axes = "3 to 5 axes" if n is None else f"{n + 1} or {n + 2} axes"
        return value_error(self.name, f"input has {counted(rank, 'axis', 'axes')}; it must have {axes}")

    def output_shape(self, shape: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        """Return the shape of the result for one of the input, in numbers or symbols.

        Raises
        ------
        ValueError
            If there is none, as far as that can be told without the input.
        """
        self.check(arguments)
        given = dict(zip(self.names, arguments, strict=True))
        n = self.dimensions or len(shape) - 2
        if not 1 <= n <= 3 or len(shape) - n not in (1, 2):
            raise self.wrong_axes(len(shape))
        for name, words in WORDS.items():
            if given.get(name, words[0]) not in words:
                raise value_error(self.name, f"must be one of {', '.join(words)}", argument=(name, given[name]))
        outer, sizes = list(shape[: len(shape) - n]), list(shape[len(shape) - n :])
        if self.operator.windows == "global":
            return [*outer, *([1] * n)]
        if self.operator.windows == "adaptive":
            return [*outer, *(s if o < 0 else o for s, o in zip(sizes, given["output_size"], strict=True))]
        kernel, stride = given["kernel_size"], given["stride"]
        padding, dilation = given["padding"], given.get("dilation", [1] * n)
        for name, least in (("kernel_size", 1), ("stride", 1), ("dilation", 1), ("padding", 0)):
            if any(isinstance(each, int) and each < least for each in given.get(name, ())):
                raise value_error(self.name, f"must be at least {least}", argument=(name, list(given[name])))
        counts = [
            count_windows(
                sizes[i], dilation[i] * (kernel[i] - 1) + 1, stride[i], padding[2 * i], padding[2 * i + 1],
                ceil_mode=given.get("ceil_mode", False), least=torch.sym_min,
            )
            for i in range(n)
        ]  # fmt: skip
        for axis, count in enumerate(counts):
            if isinstance(count, torch.SymInt):
                torch._check(count >= 1, lambda: f"{self.name}: the input is too small for a window")
            elif count < 1:
                fact = f"finds no window on axis {axis} of {n}: the input has {sizes[axis]} cells there"
                raise value_error(self.name, fact, argument=("kernel_size", list(kernel)))
        return [*outer, *counts]

    def is_greatest(self, arguments: Sequence[Any]) -> bool:
        """Whether a norm is the greatest magnitude."""
        given = dict(zip(self.names, arguments, strict=True))
        return math.isinf(given.get("norm_type", given.get("p", 2.0)))

    def is_linear(self, arguments: Sequence[Any]) -> bool:
        """Whether the gradient does not depend on what the input holds."""
        # Whether NaN is left out is said last.
        return self.operator.name in LINEAR and arguments[-1] != "ignore"


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
# On arrays


def pooled(function: Function, input: Tensor, given: tuple[Any, ...], *, indexed: bool = False) -> Any:
    """Pool the memory of a tensor, with the arguments of the function of `pooling`, in the memory format it has."""
    if function.dimensions is None and not 3 <= input.dim() <= 5:
        raise function.wrong_axes(input.dim())
    order = None if input.is_contiguous() else order_of(input, function.dimensions)
    if order is None and input.dim() - 1 == function.dimensions:
        input = input.contiguous()  # or the result would have the order that the input has
    array = array_of(input if order is None else input.permute(order.last))
    found = _pooled_array(function, array, given, order, indexed)
    return (_back(order, found[0]), _back(order, found[1])) if indexed else _back(order, found)


def _pooled_array(function: Function, array: Any, given: tuple[Any, ...], order: Order | None, indexed: bool) -> Any:
    """Pool an array."""
    cut = function.positional
    named = given[cut:]
    keywords: dict[str, Any] = {}
    if not all(map(operations.is_, named, function.defaults)):
        keywords = dict(zip(function.named, named, strict=True))
    if function.dimensions is None:
        keywords["dimensions"] = array.ndim - 2
    if indexed:
        keywords["return_indices"] = True
    if order is not None:
        keywords["layout"] = "channels_last"
    return function.array_function(array, *given[:cut], **keywords)


def pooled_gradient(
    function: Function, grad_output: Tensor, input: Tensor, indices: Tensor | None, given: tuple[Any, ...]
) -> Tensor:
    """Return the gradient of the input, from the memory of tensors, in the memory format of the input."""
    order = order_of(input, function.dimensions)
    tensors = [grad_output, input] if indices is None else [grad_output, input, indices]
    found = _gradient_array(function, _arrays(order, *tensors), given, order)
    # That of a generalised mean has the derivative of its power besides.
    return _back(order, found[0] if isinstance(found, tuple) else found)


def _gradient_array(function: Function, arrays: Sequence[Any], given: tuple[Any, ...], order: Order | None) -> Any:
    """Return the gradient, from arrays: that of the result, the input, and the indices if there are any."""
    gradient, array, *places = arrays
    keywords = dict(zip(function.names, given, strict=True)) | _layout(order)
    if function.dimensions is None:
        keywords["dimensions"] = array.ndim - 2
    if places:
        keywords["indices"] = places[0]
    return function.array_gradient(gradient, array, **keywords)


# ---------------------------------------------------------------------------------------------------------------------
# Kernels and fakes


def _is_known(*values: Any) -> bool:
    """Whether no size is a symbol, in any list."""
    return not any(
        isinstance(each, torch.SymInt | torch.SymFloat | torch.SymBool)
        or (isinstance(each, list | tuple) and not _is_known(*each))
        for each in values
    )


def _in_vain(call: Callable[..., Any], tensors: Sequence[Tensor], *given: Any) -> None:
    """Refuse what the kernel would refuse, where all sizes are known: by a call for maps of which there are none.

    Parameters
    ----------
    call : callable
        Takes the arrays in the places of tensors.
    tensors : sequence of Tensor
        All with as many maps, of which only the shapes and dtypes are looked at.
    *given
        All other arguments.
    """
    if not _is_known(given, *(tuple(each.shape) for each in tensors)):
        return
    counts = {each.shape[0] for each in tensors if each.dim()}
    # Where their numbers differ, that is refused before anything is computed.
    same = len(counts) == 1
    call(*(_blank(each, (0, *each.shape[1:]) if same else tuple(each.shape)) for each in tensors))


def _blank(tensor: Tensor, shape: tuple[int, ...]) -> Any:
    """Make an array with the dtype of a tensor, and next to no memory."""
    name = str(tensor.dtype).removeprefix("torch.")
    try:
        dtype = np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)
    except TypeError as error:
        raise Unreadable(str(error)) from error
    return np.broadcast_to(np.zeros((), dtype), shape)


def _register(function: Function) -> None:
    """Make the operators of a function."""
    name, arguments, n = function.name, function.arguments, function.dimensions

    def forward(input: Tensor, *given: Any) -> Tensor:
        return pooled(function, input, function.given(given))

    def refuse(input: Tensor, given: Sequence[Any], *, indexed: bool = False) -> None:
        _in_vain(lambda array: _pooled_array(function, array, function.given(given), None, indexed), [input], given)

    def fake(input: Tensor, *given: Any) -> Tensor:
        shape = function.output_shape(input.shape, given)
        refuse(input, given)
        return empty(input, shape, order_of(input, n))

    _define(f"{name}(Tensor input{arguments}) -> Tensor", forward, fake)

    if function.operator.indices:

        def indexed(input: Tensor, *given: Any) -> tuple[Tensor, Tensor]:
            return pooled(function, input, function.given(given), indexed=True)

        def fake_indexed(input: Tensor, *given: Any) -> tuple[Tensor, Tensor]:
            shape = function.output_shape(input.shape, given)
            refuse(input, given, indexed=True)
            order = order_of(input, n)
            return empty(input, shape, order), empty(input, shape, order, torch.int64)

        _define(f"{name}_with_indices(Tensor input{arguments}) -> (Tensor, Tensor)", indexed, fake_indexed)

    places = ", Tensor? indices" if function.operator.indices else ""

    def gradient(grad_output: Tensor, input: Tensor, *given: Any) -> Tensor:
        indices, given = (given[0], given[1:]) if places else (None, given)
        return pooled_gradient(function, grad_output, input, indices, function.given(given))

    def fake_gradient(grad_output: Tensor, input: Tensor, *given: Any) -> Tensor:
        indices, given = (given[0], given[1:]) if places else (None, given)
        tensors = [grad_output, input] if indices is None else [grad_output, input, indices]
        _in_vain(lambda *arrays: _gradient_array(function, arrays, function.given(given), None), tensors, given)
        return empty(input, input.shape, order_of(input, n))

    _define(f"{name}_backward(Tensor grad_output, Tensor input{places}{arguments}) -> Tensor", gradient, fake_gradient)


_kernels: dict[str, Callable[..., Any]] = {}
"""The kernels of operators, by their names."""


def kernel_of(name: str) -> Callable[..., Any]:
    """Return what an operator calls on the CPU."""
    return _kernels[name]


def _define(schema: str, kernel: Callable[..., Any], fake: Callable[..., Any]) -> None:
    """Define an operator, with its kernel for the CPU and its fake implementation."""
    name = schema.partition("(")[0]
    _kernels[name] = kernel
    # The memory format of results is that of the input, which the compiler must not change between the two.
    _library.define(schema, tags=(torch.Tag.needs_exact_strides, torch.Tag.pt2_compliant_tag))
    _library.impl(name, kernel, "CPU")

    def checked(input: Tensor, *given: Any) -> Any:
        # One on the meta device among others takes all of them here.
        for each in given:
            if isinstance(each, Tensor) and each.device != input.device:
                raise value_error(name, f"tensors are on {input.device} and on {each.device}", "give all on the CPU")
        _leave_to_kernels(name)
        return fake(input, *given)

    torch.library.register_fake(f"{NAMESPACE}::{name}", checked, lib=_library)


def _leave_to_kernels(name: str) -> None:
    """Have Inductor call the kernel of an operator that has a decomposition for exporters.

    It does so of itself, but where the environment variable CI is set, as hosts of repositories set it, it takes each
    decomposition that it does not use for a mistake of its own and raises AssertionError. Fake results are asked for
    before it lowers a graph; it is not imported for this.
    """
    lowering = sys.modules.get("torch._inductor.lowering")
    if lowering is not None:
        lowering.FALLBACK_ALLOW_LIST.add(f"{NAMESPACE}::{name}")


# ---------------------------------------------------------------------------------------------------------------------
# Derivatives


@contextmanager
def _transformed() -> Iterator[None]:
    """Let the transforms around one see derivatives, which are off in what `torch.autograd.Function` calls."""
    with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
        yield


class Rule(NamedTuple):
    """How an operator is differentiated."""

    operator: Callable[..., Any]
    kernel: Callable[..., Any]
    """What the operator calls on the CPU."""
    tensors: int
    """How many of its arguments are tensors: the first ones."""
    backward: Callable[..., tuple[Tensor | None, ...]]
    """Takes the gradient of the result, a list of the tensors and the indices among the results, and the other
    arguments; returns the gradients of the tensors."""
    forward: Callable[..., Tensor | None]
    """Takes a tuple of the tangents of the tensors, and the same; returns the tangent of the result."""
    is_linear: Callable[[Sequence[Any]], bool]
    """Takes the other arguments; tells whether derivatives depend on the shapes of the tensors alone."""

    def call(self, given: Sequence[Any]) -> Any:
        """Compute the result: by the kernel itself where nothing but the dispatcher would be between."""
        if all(each is None or is_unobserved(each) for each in given[: self.tensors]):
            try:
                return self.kernel(*given)
            except Unreadable:
                pass  # on another device, or with another sign: the dispatcher sees to that
        with torch._C._AutoDispatchBelowAutograd():
            if not torch._C._are_functorch_transforms_active():
                return self.operator(*given)
            with _transformed():
                return self.operator(*given)


class Differentiated(torch.autograd.Function):
    """An operator that is differentiated."""

    @staticmethod
    def forward(ctx: Any, rule: Rule, *given: Any) -> Any:  # type: ignore[override]
        """Call the operator, and keep what the derivatives are made of."""
        found = rule.call(given)
        ctx.rule, ctx.rest = rule, given[rule.tensors :]
        tensors = given[: rule.tensors]
        if rule.is_linear(ctx.rest):
            keep_shapes(ctx, tensors)
            return found
        if isinstance(found, tuple):
            ctx.mark_non_differentiable(found[1])
            tensors = (*tensors, found[1])
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        return found

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Any:  # type: ignore[override]
        """Return the gradients of the tensors."""
        return None, *ctx.rule.backward(grad, kept(ctx, grad), ctx.rest), *(None,) * len(ctx.rest)

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Any) -> Any:  # type: ignore[override]
        """Return the tangent of the result."""
        rule = ctx.rule
        tangents = tangents[: rule.tensors]
        values = kept(ctx, next(each for each in tangents if each is not None))
        if not torch._C._are_functorch_transforms_active():
            found = rule.forward(tangents, values, ctx.rest)
        else:
            values = [each if each is None else forward_ad.unpack_dual(each).primal for each in values]
            with _transformed():
                found = rule.forward(tangents, values, ctx.rest)
        return (found, None) if len(ctx.saved_tensors) > rule.tensors else found


def keep_shapes(ctx: Any, tensors: Sequence[Tensor]) -> None:
    """Keep the shapes and memory formats of tensors whose elements do not matter to derivatives."""
    ctx.shapes = [(each.shape, order_of(each, each.dim() - 2)) for each in tensors]


def kept(ctx: Any, like: Tensor) -> Sequence[Any]:
    """Return the tensors that were kept; where their shapes were, tensors with these, whose elements are anything."""
    shapes = getattr(ctx, "shapes", None)
    if shapes is None:
        return ctx.saved_tensors
    return [empty(like, *each) for each in shapes]


# That of the class itself asks for the transforms of `torch.func`, which have been taken apart where this is called.
_apply = super(torch.autograd.Function, Differentiated).apply


def _is_asked(tensors: Sequence[Tensor | None]) -> bool:
    """Whether a derivative with respect to one of the tensors may be asked for."""
    if forward_ad._current_level >= 0:
        return True
    return torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in tensors)


def differentiated(
    name: str,
    operator: Callable[..., Any],
    tensors: int,
    backward: Callable[..., tuple[Tensor | None, ...]],
    forward: Callable[..., Tensor | None],
    is_linear: Callable[[Sequence[Any]], bool] = lambda rest: False,
) -> None:
    """Differentiate an operator by a `Rule`, for autograd and for the transforms of `torch.func`."""
    rule = Rule(operator, _kernels[name], tensors, backward, forward, is_linear)

    def kernel(*given: Any) -> Any:
        if torch._C._are_functorch_transforms_active():
            with enable_single_level_autograd_function():
                return _apply(rule, *given)
        return _apply(rule, *given) if _is_asked(given[:tensors]) else rule.call(given)

    _library.impl(name, kernel, "Autograd")


def _selected(values: Tensor, indices: Tensor, dimensions: int) -> Tensor:
    """Take the elements of each map that indices name; nothing where one is -1."""
    flat, places = values.flatten(-dimensions), indices.flatten(-dimensions)
    found = flat.gather(-1, places.clamp(min=0))
    return torch.where(places < 0, 0, found).view(indices.shape)


def _argmax(function: Function, input: Tensor, arguments: Sequence[Any]) -> Tensor:
    """Find the argmax of each window; that of a whole map is that of an adaptive pooling to one cell."""
    if function.operator.indices:
        return function.pool_with_indices(input, *arguments)[1]
    n = input.ndim - 2
    return FUNCTIONS[f"adaptive_max_pool{n}d"].pool_with_indices(input, [1] * n, *arguments)[1]


def gradient_of(
    function: Function, grad: Tensor, input: Tensor, indices: Tensor | None, arguments: Sequence[Any]
) -> Tensor:
    """Return the gradient of the input: by its operator where that is differentiated, or seen, itself."""
    if not torch.is_grad_enabled() and is_unobserved(grad) and is_unobserved(input):
        try:
            return pooled_gradient(function, grad, input, indices, function.given(arguments))
        except Unreadable:
            pass  # as a gradient that is all zero, and has no memory
    places = (indices,) if function.operator.indices else ()
    return function.gradient(grad, input, *places, *arguments)


def _tangent(
    function: Function, tangent: Tensor, input: Tensor, indices: Tensor | None, arguments: Sequence[Any]
) -> Tensor:
    """Return the derivative of a pooling along a tangent of its input, which the gradient is the transpose of."""
    if function.operator.family == "extremes":
        if indices is None:
            indices = _argmax(function, input, arguments)
        return _selected(tangent, indices, function.dimensions or input.ndim - 2)
    if function.operator.family == "norms":
        if function.is_greatest(arguments):
            return _tangent_of_greatest(function, tangent, input, arguments)
        return Norm.of(function, input, arguments).tangent(tangent)
    if function.is_linear(arguments):
        return function.pool(tangent, *arguments)
    # Means that leave NaN out, of the elements that the input has; windows of nothing but NaN have no derivative.
    missing = input != input
    found = function.pool(torch.where(missing, torch.nan, tangent), *arguments)
    none = function.pool(torch.where(missing, torch.nan, torch.zeros_like(tangent)), *arguments)
    return torch.where(none != none, 0, found)


def _tangent_of_greatest(function: Function, tangent: Tensor, input: Tensor, arguments: Sequence[Any]) -> Tensor:
    """Return the same of a norm with an infinite power: the greatest magnitude."""
    given = dict(zip(function.names, arguments, strict=True))
    n = function.dimensions or input.ndim - 2
    if function.operator.windows == "global":
        indices = _argmax(FUNCTIONS["global_max_pool"], input.abs(), ("propagate",))
    else:
        windows = [given[name] for name in ("kernel_size", "stride", "padding", "dilation", "ceil_mode")]
        indices = _argmax(FUNCTIONS[f"max_pool{n}d"], input.abs(), (*windows, "propagate"))
    return _selected(input.sign() * tangent, indices, n)


def _curvature(
    function: Function, grad: Tensor, grad_output: Tensor, input: Tensor, arguments: Sequence[Any]
) -> Tensor | None:
    """Return the derivative of a gradient with respect to the input, applied to `grad`; most poolings have none."""
    if function.operator.family != "norms" or function.is_greatest(arguments):
        return None
    return Norm.of(function, input, arguments).curvature(grad, grad_output)


class Norm(NamedTuple):
    """What the second derivatives of a norm are made of: operators that can be differentiated again.

    With y the norm and ``a = dy/dx * y ** (p - 1)``, its gradient is ``a * spread(g * y ** (1 - p))``, and the sums of
    windows and what spreads them are each other's transposes.
    """

    p: float
    result: Tensor
    """y, and 1 where that is 0."""
    weights: Tensor
    """a: ``sign(x) * abs(x) ** (p - 1)``."""
    slopes: Tensor
    """Its derivative."""
    summed: Callable[[Tensor], Tensor]
    spread: Callable[[Tensor], Tensor]

    @classmethod
    def of(cls, function: Function, input: Tensor, arguments: Sequence[Any]) -> Norm:
        """Compute what is common."""
        given = dict(zip(function.names, arguments, strict=True))
        n = function.dimensions or input.ndim - 2
        spatial = tuple(range(input.ndim - n, input.ndim))
        p = float(given.get("norm_type", given.get("p", 2.0)))
        result = function.pool(input, *arguments)
        result = torch.where(result == 0, 1, result)
        if function.operator.windows == "global":

            def summed(each: Tensor) -> Tensor:
                return each.sum(spatial, keepdim=True)

            def spread(each: Tensor) -> Tensor:
                return each.expand(input.shape)
        else:
            windows = [given[name] for name in ("kernel_size", "stride", "padding", "ceil_mode")]
            sums = (*windows, False, 1.0, given["dilation"], "propagate")
            mean = FUNCTIONS[f"avg_pool{n}d"]

            def summed(each: Tensor) -> Tensor:
                return mean.pool(each, *sums)

            def spread(each: Tensor) -> Tensor:
                return gradient_of(mean, each, input, None, sums)

        if function.operator.name == "gem_pool":
            sizes = input.clamp(min=given["eps"])
            counts = (input >= given["eps"]).to(input.dtype) / math.prod(input.shape[-n:])
            return cls(p, result, counts * sizes.pow(p - 1), counts * (p - 1) * sizes.pow(p - 2), summed, spread)
        sizes = input.abs()
        nonzero = sizes != 0
        sizes = torch.where(nonzero, sizes, 1)
        slopes = (p - 1) * sizes.pow(p - 2)
        if p != 2:
            slopes = torch.where(nonzero, slopes, 0)
        weights = torch.where(nonzero, input.sign() * sizes.pow(p - 1), 0)
        return cls(p, result, weights, slopes, summed, spread)

    def tangent(self, tangent: Tensor) -> Tensor:
        """Return the derivative of the norm along a tangent of the input."""
        return self.result.pow(1 - self.p) * self.summed(self.weights * tangent)

    def curvature(self, grad: Tensor, grad_output: Tensor) -> Tensor:
        """Return the derivative of the gradient along a tangent of the input, or applied to a gradient: it is both."""
        falling = self.result.pow(1 - self.p)
        slope = (1 - self.p) * falling * falling / self.result * grad_output * self.summed(self.weights * grad)
        return grad * self.slopes * self.spread(falling * grad_output) + self.weights * self.spread(slope)


def _register_derivatives(function: Function) -> None:
    """Tell how the operators of a function are differentiated, the gradient too."""
    places = function.operator.indices

    def backward(grad: Tensor, kept: Sequence[Any], arguments: Sequence[Any]) -> tuple[Tensor | None, ...]:
        input, indices = kept if len(kept) == 2 else (*kept, None)
        return (gradient_of(function, grad, input, indices, arguments),)

    def forward(tangents: Sequence[Any], kept: Sequence[Any], arguments: Sequence[Any]) -> Tensor | None:
        input, indices = kept if len(kept) == 2 else (*kept, None)
        return _tangent(function, tangents[0], input, indices, arguments)

    def second(grad: Tensor, kept: Sequence[Any], arguments: Sequence[Any]) -> tuple[Tensor | None, ...]:
        grad_output, input, indices = kept if places else (*kept, None)
        found = _tangent(function, grad, input, indices, arguments)
        return found, _curvature(function, grad, grad_output, input, arguments), *(None,) * places

    def along(tangents: Sequence[Any], kept: Sequence[Any], arguments: Sequence[Any]) -> Tensor | None:
        grad_output, input, indices = kept if places else (*kept, None)
        of_grad, of_input = tangents[:2]
        found = None if of_grad is None else gradient_of(function, of_grad, input, indices, arguments)
        bent = None if of_input is None else _curvature(function, of_input, grad_output, input, arguments)
        if found is None or bent is None:
            return bent if found is None else found
        return found + bent

    differentiated(function.name, function.pool, 1, backward, forward, function.is_linear)
    if places:
        differentiated(f"{function.name}_with_indices", function.pool_with_indices, 1, backward, forward)
    differentiated(f"{function.name}_backward", function.gradient, 2 + places, second, along, function.is_linear)


# ---------------------------------------------------------------------------------------------------------------------
# vmap


def _batched(
    name: str, operator: Callable[..., Any], dimensions: int | None, tensors: int, *, always: int | None = None
) -> None:
    """Let batches of batches be one batch: planes are pooled one by one anyway.

    Of the tensors the one numbered `always` has a batch axis even where the input has none.
    """

    def rule(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
        given = [
            each
            if each is None
            else each.unsqueeze(0).expand(info.batch_size, *each.shape)
            if dim is None
            else each.movedim(dim, 0)
            for each, dim in zip(arguments[:tensors], in_dims[:tensors], strict=True)
        ]
        rank = max(each.ndim for place, each in enumerate(given) if each is not None and place != always)
        # Without a batch of their own, the maps of the batch are the batch.
        whole = rank - (dimensions or rank - 3) == 3
        flat = [
            each if each is None or not (whole or place == always) else each.flatten(0, 1)
            for place, each in enumerate(given)
        ]
        found = operator(*flat, *arguments[tensors:])
        assert given[0] is not None
        lead = given[0].shape[:2]
        several = isinstance(found, tuple)
        results = found if several else (found,)
        if whole:
            results = tuple(each.unflatten(0, lead) for each in results)
        return (results, (0,) * len(results)) if several else (results[0], 0)

    torch.library.register_vmap(f"{NAMESPACE}::{name}", rule, lib=_library)


def _register_vmap(function: Function) -> None:
    places = function.operator.indices
    _batched(function.name, function.pool, function.dimensions, 1)
    if places:
        _batched(f"{function.name}_with_indices", function.pool_with_indices, function.dimensions, 1)
    _batched(f"{function.name}_backward", function.gradient, function.dimensions, 2 + places)


# ---------------------------------------------------------------------------------------------------------------------
# Unpooling, and windows at random steps


UNPOOLING = {f"max_unpool{n}d": n for n in (1, 2, 3)}
FRACTIONAL = {f"fractional_max_pool{n}d": n for n in (2, 3)}
"""Names of functions, and their spatial axes."""


def _register_unpooling(name: str, n: int) -> None:
    """Make the operators of an unpooling and of its gradient, which are each other's transposes."""
    pool, gradient = (limited(getattr(pooling, each)) for each in (name, f"{name}_backward"))

    # The kernel says nothing: the size is the whole of what it would tell.
    def forward(input: Tensor, indices: Tensor, output_size: list[int]) -> Tensor:
        order = order_of(input, n)
        arrays = _arrays(order, input, indices)
        return _back(order, pool(*arrays, (1,) * n, output_size=tuple(output_size), **_layout(order)))

    def fake(input: Tensor, indices: Tensor, output_size: list[Any]) -> Tensor:
        _in_vain(lambda *arrays: pool(*arrays, (1,) * n, output_size=tuple(output_size)), [input, indices], output_size)
        return empty(input, [*input.shape[: input.ndim - n], *output_size], order_of(input, n))

    def backward(grad_output: Tensor, input: Tensor, indices: Tensor) -> Tensor:
        order, size = order_of(input, n), tuple(grad_output.shape[grad_output.ndim - n :])
        arrays = _arrays(order, grad_output, input, indices)
        return _back(order, gradient(*arrays, (1,) * n, output_size=size, **_layout(order)))

    def fake_backward(grad_output: Tensor, input: Tensor, indices: Tensor) -> Tensor:
        size = tuple(grad_output.shape[grad_output.ndim - n :])
        _in_vain(lambda *arrays: gradient(*arrays, (1,) * n, output_size=size), [grad_output, input, indices])
        return empty(input, input.shape, order_of(input, n))

    _define(f"{name}(Tensor input, Tensor indices, SymInt[] output_size) -> Tensor", forward, fake)
    _define(f"{name}_backward(Tensor grad_output, Tensor input, Tensor indices) -> Tensor", backward, fake_backward)
    put, take = (getattr(getattr(torch.ops.pooling, each), "default") for each in (name, f"{name}_backward"))  # noqa: B009

    def first(grad: Tensor, kept: Sequence[Any], _: Any) -> tuple[Tensor | None, ...]:
        return take(grad, *kept), None

    def along(tangents: Sequence[Any], kept: Sequence[Any], rest: Sequence[Any]) -> Tensor:
        return put(tangents[0], kept[1], *rest)

    def second(grad: Tensor, kept: Sequence[Any], _: Any) -> tuple[Tensor | None, ...]:
        return put(grad, kept[2], list(kept[0].shape[kept[0].ndim - n :])), None, None

    def along_gradient(tangents: Sequence[Any], kept: Sequence[Any], _: Any) -> Tensor | None:
        return None if tangents[0] is None else take(tangents[0], *kept[1:])

    differentiated(name, put, 2, first, along)
    differentiated(f"{name}_backward", take, 3, second, along_gradient)
    _batched(name, put, n, 2)
    _batched(f"{name}_backward", take, n, 3)


def _register_fractional(name: str, n: int) -> None:
    """Make the operators of a pooling at random steps and of its gradient."""
    pool, gradient = (limited(getattr(pooling, each)) for each in (name, f"{name}_backward"))

    def forward(
        input: Tensor, samples: Tensor, kernel_size: list[int], output_size: list[int]
    ) -> tuple[Tensor, Tensor]:
        order = order_of(input, n)
        (array,) = _arrays(order, input)
        keywords = {"return_indices": True, "_random_samples": array_of(samples), **_layout(order)}
        found = pool(array, tuple(kernel_size), tuple(output_size), **keywords)
        return _back(order, found[0]), _back(order, found[1])

    def fake(input: Tensor, samples: Tensor, kernel_size: list[Any], output_size: list[Any]) -> tuple[Tensor, Tensor]:
        def call(array: Any, samples: Any) -> None:
            if input.ndim == n + 1:  # which have one row for each channel
                samples = samples.swapaxes(0, 1)
            pool(array, tuple(kernel_size), tuple(output_size), return_indices=True, _random_samples=samples)

        # The axis that counts the maps of a single image is the second one of its samples.
        rows = samples if input.ndim == n + 2 or samples.ndim < 2 else samples.transpose(0, 1)
        _in_vain(call, [input, rows], kernel_size, output_size)
        shape = [*input.shape[: input.ndim - n], *output_size]
        order = order_of(input, n)
        return empty(input, shape, order), empty(input, shape, order, torch.int64)

    def backward(grad_output: Tensor, input: Tensor, indices: Tensor, kernel_size: list[int]) -> Tensor:
        order, size = order_of(input, n), tuple(grad_output.shape[grad_output.ndim - n :])
        grad, array, places = _arrays(order, grad_output, input, indices)
        return _back(order, gradient(grad, array, tuple(kernel_size), size, indices=places, **_layout(order)))

    def fake_backward(grad_output: Tensor, input: Tensor, indices: Tensor, kernel_size: list[Any]) -> Tensor:
        size = tuple(grad_output.shape[grad_output.ndim - n :])

        def call(grad: Any, array: Any, places: Any) -> None:
            gradient(grad, array, tuple(kernel_size), size, indices=places)

        _in_vain(call, [grad_output, input, indices], kernel_size)
        return empty(input, input.shape, order_of(input, n))

    sizes = "SymInt[] kernel_size, SymInt[] output_size"
    _define(f"{name}(Tensor input, Tensor samples, {sizes}) -> (Tensor, Tensor)", forward, fake)
    tensors = "Tensor grad_output, Tensor input, Tensor indices"
    _define(f"{name}_backward({tensors}, SymInt[] kernel_size) -> Tensor", backward, fake_backward)
    choose, give = (getattr(getattr(torch.ops.pooling, each), "default") for each in (name, f"{name}_backward"))  # noqa: B009

    def first(grad: Tensor, kept: Sequence[Any], rest: Sequence[Any]) -> tuple[Tensor | None, ...]:
        return give(grad, kept[0], kept[2], rest[0]), None

    def along(tangents: Sequence[Any], kept: Sequence[Any], _: Any) -> Tensor | None:
        return None if tangents[0] is None else _selected(tangents[0], kept[2], n)

    def second(grad: Tensor, kept: Sequence[Any], _: Any) -> tuple[Tensor | None, ...]:
        return _selected(grad, kept[2], n), None, None

    def along_gradient(tangents: Sequence[Any], kept: Sequence[Any], rest: Sequence[Any]) -> Tensor | None:
        return None if tangents[0] is None else give(tangents[0], *kept[1:], *rest)

    differentiated(name, choose, 2, first, along)
    differentiated(f"{name}_backward", give, 3, second, along_gradient)
    # Samples have a batch of one where the input has none.
    _batched(name, choose, n, 2, always=1)
    _batched(f"{name}_backward", give, n, 3)


for _function in FUNCTIONS.values():
    _register(_function)
    _register_derivatives(_function)
    _register_vmap(_function)
for _name, _n in UNPOOLING.items():
    _register_unpooling(_name, _n)
for _name, _n in FRACTIONAL.items():
    _register_fractional(_name, _n)
