"""What the operators of `pooling` are in those of PyTorch: what exports to other runtimes are made of.

`torch.onnx.export(dynamo=True)` finds them by itself, and an exported program has them put in by
``program.run_decompositions(pooling.torch.decompositions())``. Gradients have none: what is exported is run forward.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table, meta_table

from pooling.errors import value_error

from .operators import FUNCTIONS, UNPOOLING, Function

__all__ = ["decompositions"]


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Return the table for `torch.export.ExportedProgram.run_decompositions`, with PyTorch's own.

    Returns
    -------
    dict
        For each operator of this package and of PyTorch's own table, the function of simpler operators.

    Examples
    --------
    >>> import torch
    >>> import pooling.torch
    >>> class Net(torch.nn.Module):
    ...     def forward(self, x):
    ...         return pooling.torch.functional.max_pool2d(x, 2)
    >>> program = torch.export.export(Net(), (torch.rand(1, 3, 8, 8),))
    >>> program = program.run_decompositions(pooling.torch.decompositions())
    >>> [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    ['aten.max_pool2d_with_indices.default', '<built-in function getitem>']
    """
    return {**torch.export.default_decompositions(), **_found}


_found: dict[Any, Callable[..., Any]] = {}


# ---------------------------------------------------------------------------------------------------------------------
# Windows


class Windows:
    """Sliding windows, by the arguments of an operator."""

    def __init__(self, function: Function, input: Tensor, arguments: Sequence[Any]) -> None:
        self.given = given = dict(zip(function.names, arguments, strict=True))
        self.n = n = function.dimensions or 0
        self.kernel, self.stride = list(given["kernel_size"]), list(given["stride"])
        self.dilation = list(given.get("dilation", [1] * n))
        self.begins, self.ends = list(given["padding"][::2]), list(given["padding"][1::2])
        self.ceil_mode = given.get("ceil_mode", False)
        self.sizes = list(input.shape[-n:])
        self.counts = function.output_shape(input.shape, arguments)[-n:]

    @property
    def is_plain(self) -> bool:
        """Whether PyTorch's own poolings know such padding, and the last windows are whole."""
        if not all(isinstance(each, int) for each in (*self.begins, *self.ends)):
            return False  # it depends on a size that is open, and what holds at one need not hold at others
        fits = all(before <= taps // 2 for before, taps in zip(self.begins, self.kernel, strict=True))
        return self.begins == self.ends and fits and not self.ceil_mode

    @property
    def reach(self) -> list[Any]:
        """Cells from the first to the last of each window."""
        return [step * (taps - 1) + 1 for step, taps in zip(self.dilation, self.kernel, strict=True)]

    def beyond(self, axis: int) -> Any:
        """Count the cells that must be put behind an axis for all of its windows to be whole."""
        if not self.ceil_mode:
            return self.ends[axis]
        span = (self.counts[axis] - 1) * self.stride[axis] + self.reach[axis]
        return torch.sym_max(span - self.begins[axis] - self.sizes[axis], 0)

    def padded(self, input: Tensor, value: float) -> Tensor:
        """Put so many cells around the maps that windows are whole and begin with the first cell."""
        pads = [pad for i in reversed(range(self.n)) for pad in (self.begins[i], self.beyond(i))]
        # Whether one that depends on the size of the input is 0 must not be asked: the graph would hold for that alone.
        is_padded = any(not isinstance(pad, int) or pad != 0 for pad in pads)
        return torch.constant_pad_nd(input, pads, value) if is_padded else input


def _maxima(windows: Windows, input: Tensor, least: float, *, indexed: bool = False) -> Any:
    """Find the greatest elements of windows."""
    pool = getattr(torch.ops.aten, f"max_pool{windows.n}d{'_with_indices' * indexed}").default
    if windows.is_plain:
        return pool(input, windows.kernel, windows.stride, windows.begins, windows.dilation)
    return pool(windows.padded(input, least), windows.kernel, windows.stride, [0] * windows.n, windows.dilation)


def _sums(windows: Windows, input: Tensor, weight: Tensor | None = None) -> Tensor:
    """Sum the elements of windows, by a convolution of each map on its own."""
    n = windows.n
    padded = windows.padded(input, 0.0)
    maps = padded.reshape(-1, 1, *padded.shape[-n:])
    if weight is None:
        weight = torch.ones(windows.kernel, dtype=input.dtype, device=input.device)
    found = torch.ops.aten.convolution.default(
        maps, weight[None, None], None, windows.stride, [0] * n, windows.dilation, False, [0] * n, 1
    )
    return found.reshape(*input.shape[:-n], *windows.counts)


# ---------------------------------------------------------------------------------------------------------------------
# Families


def _least(dtype: torch.dtype) -> float:
    return -math.inf if dtype.is_floating_point else torch.iinfo(dtype).min


def _greatest(input: Tensor, nan: str, pool: Callable[[Tensor], Tensor]) -> Tensor:
    """Pool to maxima, and leave NaN out where that is asked for."""
    if nan == "propagate" or not input.dtype.is_floating_point:
        return pool(input)
    missing = input != input
    found = pool(torch.where(missing, -math.inf, input))
    numbers = pool(torch.where(missing, 0.0, torch.ones_like(input)))
    return torch.where(numbers > 0, found, math.nan)


def _extremes(function: Function, input: Tensor, arguments: Sequence[Any]) -> Tensor:
    nan = arguments[-1]
    smallest = function.operator.reducer == "smallest"

    def pool(each: Tensor) -> Tensor:
        if function.operator.windows == "sliding":
            return _maxima(Windows(function, each, arguments), each, _least(each.dtype))
        return _by_axis(function, each, arguments, Tensor.amax)

    return -_greatest(-input, nan, pool) if smallest else _greatest(input, nan, pool)


def _means(function: Function, input: Tensor, arguments: Sequence[Any]) -> Tensor:
    if arguments[-1] == "propagate":
        return _plain_means(function, input, arguments)
    missing = input != input
    numbers, gaps = torch.where(missing, 0.0, input), missing.to(input.dtype)
    if function.operator.windows != "sliding":
        shares = 1 - _by_axis(function, gaps, arguments, Tensor.mean)
        return _by_axis(function, numbers, arguments, Tensor.mean) / shares
    windows = Windows(function, input, arguments)
    # NaN neither add nor count, and padding counts as without them.
    counted = _cells(windows, input) - _sums(windows, gaps)
    divisor = windows.given["divisor_override"]
    sums = _sums(windows, numbers)
    return torch.where(counted > 0, sums / (counted if divisor is None else divisor), math.nan)


def _plain_means(function: Function, input: Tensor, arguments: Sequence[Any]) -> Tensor:
    if function.operator.windows != "sliding":
        return _by_axis(function, input, arguments, Tensor.mean)
    windows = Windows(function, input, arguments)
    divisor = windows.given["divisor_override"]
    if windows.is_plain and set(windows.dilation) == {1} and divisor is None:
        call = getattr(torch.ops.aten, f"avg_pool{windows.n}d").default
        inside = windows.given["count_include_pad"] or not any(windows.begins)
        return call(input, windows.kernel, windows.stride, windows.begins, False, inside)
    return _sums(windows, input) / (_cells(windows, input) if divisor is None else divisor)


def _cells(windows: Windows, input: Tensor) -> Tensor:
    """Count the cells of each window: those of the input, and those of its padding where these count."""
    cells = torch.ones([1, 1, *windows.sizes], dtype=input.dtype, device=input.device)
    if not windows.given["count_include_pad"]:
        return _sums(windows, cells)
    pads, beyond = [], []
    for i in reversed(range(windows.n)):
        behind = windows.beyond(i)
        pads += [windows.begins[i], torch.sym_min(windows.ends[i], behind)]
        beyond += [0, behind - pads[-1]]
    cells = torch.constant_pad_nd(torch.constant_pad_nd(cells, pads, 1.0), beyond, 0.0)
    weight = torch.ones([1, 1, *windows.kernel], dtype=input.dtype, device=input.device)
    n = windows.n
    return torch.ops.aten.convolution.default(
        cells, weight, None, windows.stride, [0] * n, windows.dilation, False, [0] * n, 1
    )


def _by_axis(function: Function, input: Tensor, arguments: Sequence[Any], reduce: Callable[..., Tensor]) -> Tensor:
    """Reduce one axis after the other: windows are products of their spans, all of the same weight."""
    n = function.dimensions or input.ndim - 2
    if function.operator.windows == "global":
        return reduce(input, list(range(input.ndim - n, input.ndim)), keepdim=True)
    for axis, count in zip(range(-n, 0), arguments[0], strict=True):
        size: Any = input.shape[axis]
        if count < 0 or (isinstance(count, int) and isinstance(size, int) and count == size):
            continue
        if count == 1:
            input = reduce(input, [axis], keepdim=True)
        elif isinstance(size, int) and isinstance(count, int):
            spans = [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
            parts = [reduce(input.narrow(axis, begin, end - begin), [axis], keepdim=True) for begin, end in spans]
            input = torch.cat(parts, axis)
        else:
            raise value_error(
                function.name, "has windows that depend on a size of the input that is open", "export with fixed sizes"
            )
    return input


def _norms(function: Function, input: Tensor, arguments: Sequence[Any]) -> Tensor:
    given = dict(zip(function.names, arguments, strict=True))
    p = given.get("norm_type", given.get("p"))
    assert p is not None
    spatial = [-2, -1]
    if function.operator.name == "gem_pool":
        if math.isinf(p):
            return input.clamp(min=given["eps"]).amax(spatial, keepdim=True)
        return input.clamp(min=given["eps"]).pow(p).mean(spatial, keepdim=True).pow(1 / p)
    sizes = input.abs()
    if function.operator.windows == "global":
        spatial = list(range(2, input.ndim))
        return sizes.amax(spatial, keepdim=True) if math.isinf(p) else sizes.pow(p).sum(spatial, True).pow(1 / p)
    windows = Windows(function, input, arguments)
    if math.isinf(p):
        return _maxima(windows, sizes, 0.0)
    return _sums(windows, sizes.pow(p)).pow(1 / p)


def _blurs(function: Function, input: Tensor, arguments: Sequence[Any]) -> Tensor:
    windows = Windows(function, input, arguments)
    mode = windows.given["padding_mode"]
    if mode != "zeros":
        pads = [pad for i in reversed(range(2)) for pad in (windows.begins[i], windows.ends[i])]
        input = torch.nn.functional.pad(input, pads, mode)
        windows.sizes, windows.begins, windows.ends = list(input.shape[-2:]), [0, 0], [0, 0]
    rows, columns = (
        torch.cat([input.new_full((1,), math.comb(taps - 1, tap) / 2 ** (taps - 1)) for tap in range(taps)])
        for taps in windows.kernel
    )
    return _sums(windows, input, rows[:, None] * columns)


FAMILIES: dict[str, Callable[[Function, Tensor, Sequence[Any]], Tensor]] = {
    "extremes": _extremes, "means": _means, "norms": _norms, "blurs": _blurs,
}  # fmt: skip


def _indexed(function: Function, input: Tensor, arguments: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Decompose a pooling that returns indices: PyTorch's own, whose indices count the cells of padding."""
    if function.operator.windows != "sliding" or arguments[-1] != "propagate":
        raise value_error(f"{function.name}_with_indices", "has no equivalent in operators of PyTorch")
    smallest = function.operator.reducer == "smallest"
    given = -input if smallest else input
    windows = Windows(function, given, arguments)
    n = windows.n
    if n == 1:
        # The operator for two axes, since there is none for one.
        flat = Windows(FUNCTIONS["max_pool2d"], given[..., None, :], _with_an_axis(function, arguments))
        values, indices = _maxima(flat, given[..., None, :], _least(given.dtype), indexed=True)
        values, indices = values.squeeze(-2), indices.squeeze(-2)
    else:
        values, indices = _maxima(windows, given, _least(given.dtype), indexed=True)
    if not windows.is_plain:
        indices = _without_padding(windows, indices)
    return (-values if smallest else values), indices


def _with_an_axis(function: Function, arguments: Sequence[Any]) -> list[Any]:
    extra = {"kernel_size": [1], "stride": [1], "padding": [0, 0], "dilation": [1]}
    return [[*extra.get(name, []), *value] if name in extra else value
            for name, value in zip(function.names, arguments, strict=True)]  # fmt: skip


def _without_padding(windows: Windows, indices: Tensor) -> Tensor:
    """Count cells of maps where those of padded ones were counted."""
    found: Any = 0
    factor: Any = 1
    for i in reversed(range(windows.n)):
        padded = _operand(windows.begins[i] + windows.sizes[i] + windows.beyond(i), indices)
        found = found + (indices % padded - windows.begins[i]) * _operand(factor, indices)
        indices = indices // padded
        factor = factor * windows.sizes[i]
    return found


def _operand(number: Any, other: Tensor) -> Any:
    """Return a number as an operand for a tensor: the exporter to ONNX takes no open sizes as such."""
    return number if isinstance(number, int) else torch.scalar_tensor(number, dtype=other.dtype, device=other.device)


def _unpooled(n: int, input: Tensor, indices: Tensor, output_size: Sequence[Any]) -> Tensor:
    lead = list(input.shape[: input.ndim - n])
    blank = input.new_zeros([*lead, math.prod(output_size)])
    flat = blank.scatter(-1, indices.flatten(-n), input.flatten(-n))
    return flat.reshape([*lead, *output_size])


# ---------------------------------------------------------------------------------------------------------------------
# The tables of PyTorch


def _register(operator: Any, decomposition: Callable[..., Any]) -> None:
    """Put a decomposition where exporters look for it."""
    _found[operator] = decomposition
    decomposition_table[operator] = decomposition
    # Fake results come from the fake implementation, not from decompositions, where there is one in this table.
    meta_table[operator] = operator


def _register_all() -> None:
    for function in FUNCTIONS.values():
        family = FAMILIES[function.operator.family]
        _register(function.pool, lambda input, *given, _of=function, _by=family: _by(_of, input, given))
        if function.operator.indices:
            _register(function.pool_with_indices, lambda input, *given, _of=function: _indexed(_of, input, given))
    for name, n in UNPOOLING.items():
        operator = getattr(torch.ops.pooling, name).default
        _register(operator, lambda input, indices, size, _n=n: _unpooled(_n, input, indices, size))


_register_all()
