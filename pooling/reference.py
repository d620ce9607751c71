"""What every operator of this library means, written out slowly.

Nothing here is fast and nothing is shared with the kernels: each output cell is worked out by walking the
taps of its window one by one, each sum is exact (a fraction of two integers), and there is one rounding, at
the end, to the dtype of the result. So what this module returns is the correctly rounded truth, against which
the error of a kernel can be counted in ulp. Only the powers of Lp and generalised-mean pooling are
irrational: they are float64.

The chapters: *numbers* (exact sums and the one rounding), *arguments*, *maps* (every layout becomes ``(N, C,
*S)``), *windows* (which taps an output cell sees), *gradients*, and then the operators, of which there are
three kinds:

- a *selection* (max, min; unpooling is its inverse) copies one element, and its gradient goes back to that
  element;
- a *weighted sum* (average, blur, RoiAlign) is linear, and its gradient is the transposed sum;
- a *power mean* (Lp, generalised mean) is neither, and spells its gradient out.

The definitions are those of ``torch.nn.functional`` and of the ONNX operators; where these are silent or
disagree, the docstring says what holds here. Sentences of errors do not repeat the name of the function.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Cell: TypeAlias = tuple[int, ...]  # a position on the spatial axes; also (n, c), the position of a map
Number: TypeAlias = int | float | Fraction
Sizes: TypeAlias = int | Sequence[int]
Padding: TypeAlias = int | Sequence[int] | Sequence[Sequence[int]] | str
T = TypeVar("T")

# ------------------------------------------------------------------------------------------------------------
# Numbers

# Significant bits, and the exponent of the smallest normal number.
FLOATS = {"float16": (11, -14), "bfloat16": (8, -126), "float32": (24, -126), "float64": (53, -1022)}
INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
BOOL = frozenset({"bool"})

INT64_MAX = 2**63 - 1

ROUNDINGS: dict[str, Callable[[Fraction], int]] = {
    "half_even": round,
    "half_up": lambda value: math.floor(value + Fraction(1, 2)),
    "floor": math.floor,
    "trunc": math.trunc,
}


def exact(array: Array) -> Array:
    """Return the elements as Python numbers: float64 holds every float dtype, int every integer dtype."""
    return array.astype(np.float64 if array.dtype.name in FLOATS else object).astype(object)


def special(value: Number) -> bool:
    """Tell NaN and the infinities, which no fraction can hold, from all other numbers."""
    return isinstance(value, float) and not math.isfinite(value)


def exact_sum(values: Iterable[Number]) -> Number:
    """Add without rounding; NaN and infinities add as IEEE 754 has it."""
    values = list(values)
    specials = [value for value in values if special(value)]
    if specials:
        return sum(specials)
    ratios = [value.as_integer_ratio() for value in values]
    denominator = math.lcm(*{below for _, below in ratios})
    return Fraction(sum(above * (denominator // below) for above, below in ratios), denominator)


def times(value: Number, weight: Number) -> Number:
    """Multiply by a finite weight without rounding; NaN and infinities multiply as IEEE 754 has it."""
    if special(value):
        return value * float((weight > 0) - (weight < 0))
    return value if weight == 1 else Fraction(value) * Fraction(weight)


def nearest(value: Number, dtype: np.dtype[Any]) -> float:
    """Round to the nearest number of a float dtype, ties to even."""
    if value == 0 or special(value):
        return float(value)
    bits, lowest = FLOATS[dtype.name]
    magnitude = abs(Fraction(value))
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if Fraction(2) ** exponent > magnitude:
        exponent -= 1
    quantum = Fraction(2) ** (max(exponent, lowest) - bits + 1)
    magnitude = round(magnitude / quantum) * quantum
    overflow = magnitude >= Fraction(2) ** (2 - lowest)
    rounded = math.inf if overflow else float(magnitude)
    return -rounded if value < 0 else rounded


def stored(value: Number, dtype: np.dtype[Any], rounding: str = "half_even") -> float | int:
    """Round to the dtype of the result: the only rounding there is.

    An integer that does not fit saturates; only `divisor_override` can bring that about.
    """
    if dtype.name in FLOATS:
        return nearest(value, dtype)
    limits = np.iinfo(dtype)
    return min(max(ROUNDINGS[rounding](Fraction(value)), int(limits.min)), int(limits.max))


# ------------------------------------------------------------------------------------------------------------
# Arguments


def integer(name: str, value: object, at_least: int) -> int:
    """Accept a Python or NumPy integer, no bool, from `at_least` to the largest int64."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}={value!r} must be an integer, not {type(value).__name__}")
    if not at_least <= value <= INT64_MAX:
        raise ValueError(f"{name}={value!r} must lie between {at_least} and {INT64_MAX}")
    return int(value)


def per_axis(name: str, value: object, n: int, at_least: int = 1) -> list[int]:
    """Accept one integer for all spatial axes, or a tuple or list of one for each (of `n`)."""
    if not isinstance(value, tuple | list):
        return [integer(name, value, at_least)] * n
    if len(value) != n:
        raise ValueError(f"{name}={value!r} must have {n} entries, not {len(value)}")
    return [integer(name, entry, at_least) for entry in value]


def real(name: str, value: object) -> int | float:
    """Accept a Python or NumPy real number, no bool and no NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name}={value!r} must be a real number, not {type(value).__name__}")
    if value != value:
        raise ValueError(f"{name}={value!r} must be a number")
    return int(value) if isinstance(value, int | np.integer) else float(value)


def positive(name: str, value: object, *, finite: bool = True) -> float:
    """Accept a positive real number."""
    number = real(name, value)
    if number <= 0 or (finite and math.isinf(number)):
        raise ValueError(f"{name}={value!r} must be positive{' and finite' if finite else ''}")
    return float(number)


def flag(name: str, value: object) -> bool:
    """Accept a bool."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}={value!r} must be a bool, not {type(value).__name__}")
    return bool(value)


def choice(name: str, value: object, options: Collection[str]) -> str:
    """Accept one of a few words."""
    if not isinstance(value, str):
        raise TypeError(f"{name}={value!r} must be one of {sorted(options)}, not {type(value).__name__}")
    if value not in options:
        raise ValueError(f"{name}={value!r} must be one of {sorted(options)}")
    return value


# ------------------------------------------------------------------------------------------------------------
# Maps


class Maps:
    """An array of either layout, with or without a batch axis, seen as maps ``(N, C, *S)``.

    Parameters
    ----------
    array : array of shape (N, C, *S) or (C, *S), or (N, *S, C) or (*S, C) with the channels last
        What to see as maps; it is never written to.
    n : int
        The number of spatial axes.
    layout : {"channels_first", "channels_last"}
        Where the channels are.
    dtypes : collection of str
        Names of the dtypes that the operator takes.
    """

    def __init__(self, array: npt.ArrayLike, n: int, layout: str, dtypes: Collection[str]) -> None:
        self.n = n
        self.channels_last = choice("layout", layout, ["channels_first", "channels_last"]) == "channels_last"
        array = np.asarray(array)
        if array.dtype.name not in dtypes:
            raise TypeError(f"input has dtype {array.dtype} but must have one of {sorted(dtypes)}")
        if array.ndim not in (n + 1, n + 2):
            raise ValueError(
                f"input of shape {array.shape} must have {n + 2} axes, or {n + 1} without a batch axis"
            )
        self.batched = array.ndim == n + 2
        self.dtype = array.dtype.newbyteorder("=")
        self.maps = self.canonical(array).astype(self.dtype)
        self.numbers = exact(self.maps)
        self.spatial = self.maps.shape[2:]

    def canonical(self, array: Array) -> Array:
        """View an array of the same layout and rank as (N, C, *S)."""
        array = array if self.batched else array[np.newaxis]
        return np.moveaxis(array, -1, 1) if self.channels_last else array

    def restore(self, maps: Array) -> Array:
        """Bring (N, C, *O) back to the layout and rank of the array."""
        maps = np.moveaxis(maps, 1, -1) if self.channels_last else maps
        return np.ascontiguousarray(maps if self.batched else maps[0])

    def planes(self) -> Iterator[Cell]:
        """Enumerate the maps as (n, c)."""
        return np.ndindex(self.maps.shape[:2])

    def everywhere(self, value: T) -> dict[Cell, T]:
        """Give every map the same."""
        return dict.fromkeys(self.planes(), value)

    def zeros(self, spatial: Cell, dtype: npt.DTypeLike | None = None) -> Array:
        """Allocate (N, C, *spatial)."""
        return np.zeros(self.maps.shape[:2] + spatial, dtype or self.dtype)

    def partner(self, name: str, array: npt.ArrayLike, spatial: Cell, dtype: npt.DTypeLike) -> Array:
        """View a second array, one of the given dtype and spatial shape, as maps."""
        array = np.asarray(array)
        if array.dtype.name != np.dtype(dtype).name:
            raise TypeError(f"{name} has dtype {array.dtype} but must have {np.dtype(dtype)}")
        wanted = self.restore(np.broadcast_to(0, self.maps.shape[:2] + spatial)).shape
        if array.shape != wanted:
            raise ValueError(f"{name} has shape {array.shape} but must have {wanted}")
        return self.canonical(array)


def spatial_axes(array: npt.ArrayLike) -> int:
    """Count the spatial axes of a batched array."""
    n = np.ndim(array) - 2
    if n not in (1, 2, 3):
        raise ValueError(
            f"input of shape {np.shape(array)} must have a batch, a channel and 1 to 3 spatial axes"
        )
    return n


def spread(
    name: str, function: Callable[..., T], *first: object, ranks: Cell = (1, 2, 3)
) -> Iterator[Callable[..., T]]:
    """Make ``name1d``, ``name2d``, ... of one function whose last argument before the input is the rank."""
    for n in ranks:
        bound = functools.wraps(function)(functools.partial(function, *first, n))
        bound.__name__ = bound.__qualname__ = name.format(f"{n}d")
        del bound.__wrapped__
        yield bound


# ------------------------------------------------------------------------------------------------------------
# Windows


class Axis(NamedTuple):
    """One spatial axis: its size, its declared padding, and what each output position sees of it."""

    size: int
    begin: int
    end: int
    windows: list[range]


class Window(NamedTuple):
    """What an output cell sees: its taps inside the input, row by row, and how many lie in the padding.

    A tap beyond the declared padding, where only `ceil_mode` reaches, is neither.
    """

    taps: list[Cell]
    padding: int


Grid: TypeAlias = Mapping[Cell, Window]  # output cell -> window, row by row


def axis_name(axis: int, n: int) -> str:
    """Name a spatial axis as the literature does."""
    return "L" if n == 1 else "DHW"[axis - n]


def sliding(
    sizes: Cell,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> list[Axis]:
    """Lay the kernel over each axis, first at the first cell of the padding, then on at every stride.

    With I + begin + end cells and an effective kernel of dilation * (K - 1) + 1 there are floor((I + begin +
    end - effective) / S) + 1 positions. `ceil_mode` takes the ceiling instead and then drops the last window
    if it would start at or beyond I + begin, that is, in the padding at the end.
    """
    n = len(sizes)
    kernel = per_axis("kernel_size", kernel_size, n)
    steps = kernel if stride is None else per_axis("stride", stride, n)
    gaps = per_axis("dilation", dilation, n)
    ceil = flag("ceil_mode", ceil_mode)
    effective = [gap * (k - 1) + 1 for gap, k in zip(gaps, kernel, strict=True)]
    if max(effective) > INT64_MAX:
        raise ValueError(
            f"dilation={dilation!r} makes an effective kernel size of {max(effective)}, beyond int64"
        )
    axes = []
    for axis, (begin, end) in enumerate(pads(padding, sizes, effective, steps)):
        size, step, where = sizes[axis], steps[axis], axis_name(axis, n)
        if size + begin + end > INT64_MAX:
            raise ValueError(
                f"padding={padding!r} makes {size + begin + end} cells on axis {where}, beyond int64"
            )
        room = size + begin + end - effective[axis]  # how far the first window can move
        if size == 0 or room < 0:
            raise ValueError(
                f"kernel_size={kernel_size!r} has no place on axis {where} of size {size}; "
                f"it needs an input of at least {max(1, size - room)}"
            )
        count = (-(-room // step) if ceil else room // step) + 1
        starts = [-begin + o * step for o in range(count)]
        if ceil and starts[-1] >= size:
            starts.pop()
        windows = [range(start, start + effective[axis], gaps[axis]) for start in starts]
        axes.append(Axis(size, begin, end, windows))
    return axes


def pads(padding: Padding, sizes: Cell, effective: list[int], steps: list[int]) -> list[tuple[int, int]]:
    """Turn every form of `padding` into (begin, end) for each axis."""
    n = len(sizes)
    if isinstance(padding, str):
        mode = choice("padding", padding, ["valid", "same", "same_upper", "same_lower"])
        if mode == "valid":
            return [(0, 0)] * n
        pairs = []
        for size, kernel, step in zip(sizes, effective, steps, strict=True):
            count = -(-size // step)  # the output is ceil(I / S)
            total = max(0, (count - 1) * step + kernel - size)
            less, more = total // 2, total - total // 2
            pairs.append((more, less) if mode == "same_lower" else (less, more))
        return pairs
    entries = padding if isinstance(padding, tuple | list) else ()
    if entries and all(isinstance(entry, tuple | list) for entry in entries):
        if len(entries) != n:
            raise ValueError(f"padding={padding!r} must have one pair for each of the {n} spatial axes")
        pairs = [
            (begin, end) for begin, end in (per_axis("padding", entry, 2, at_least=0) for entry in entries)
        ]
    else:
        pairs = [(pad, pad) for pad in per_axis("padding", padding, n, at_least=0)]
    for axis, (pair, kernel) in enumerate(zip(pairs, effective, strict=True)):
        if max(pair) >= kernel:
            raise ValueError(
                f"padding={padding!r} must be smaller than the effective kernel size {kernel} on axis "
                f"{axis_name(axis, n)}; use padding <= {kernel - 1}"
            )
    return pairs


def adaptive(sizes: Cell, output_size: int | Sequence[int | None] | None) -> list[Axis]:
    """Cut each axis into O windows, as even as whole cells allow: from floor(o I / O) to ceil((o + 1) I / O).

    None keeps the axis as it is.
    """
    n = len(sizes)
    wanted = output_size if isinstance(output_size, tuple | list) else [output_size] * n
    if len(wanted) != n:
        raise ValueError(f"output_size={output_size!r} must have one entry for each of the {n} spatial axes")
    axes = []
    for axis, (size, count) in enumerate(zip(sizes, wanted, strict=True)):
        if size == 0:
            raise ValueError(f"input has size 0 on axis {axis_name(axis, n)}; it needs at least 1")
        count = size if count is None else integer("output_size", count, 1)
        axes.append(
            Axis(size, 0, 0, [range(o * size // count, -(-(o + 1) * size // count)) for o in range(count)])
        )
    return axes


def grid(axes: Sequence[Axis]) -> Grid:
    """Combine the axes; decide for each tap whether it lies in the input, the declared padding, or beyond."""
    windows = {}
    for cell in itertools.product(*(range(len(axis.windows)) for axis in axes)):
        taps, padding = [], 0
        for tap in itertools.product(*(axis.windows[o] for axis, o in zip(axes, cell, strict=True))):
            if all(0 <= t < axis.size for axis, t in zip(axes, tap, strict=True)):
                taps.append(tap)
            elif all(-axis.begin <= t < axis.size + axis.end for axis, t in zip(axes, tap, strict=True)):
                padding += 1
        windows[cell] = Window(taps, padding)
    return windows


def shape_of(windows: Mapping[Cell, object]) -> Cell:
    """Return the output shape that a grid fills: one more than its last cell."""
    return tuple(o + 1 for o in max(windows))


# ------------------------------------------------------------------------------------------------------------
# Gradients

Terms: TypeAlias = Iterable[tuple[Cell, Number]]  # (input cell, what comes back to it), in any order


def gathered(terms: Terms) -> dict[Cell, Number]:
    """Add what meets in one cell, without rounding."""
    meeting = defaultdict(list)
    for cell, value in terms:
        meeting[cell].append(value)
    return {cell: exact_sum(values) for cell, values in meeting.items()}


def settled(view: Maps, terms: Mapping[Cell, Terms]) -> Array:
    """Make the gradient of the input from the terms of each map."""
    result = view.zeros(view.spatial)
    for plane, parts in terms.items():
        for cell, value in gathered(parts).items():
            result[plane][cell] = nearest(value, view.dtype)
    return view.restore(result)


# ------------------------------------------------------------------------------------------------------------
# Selections

Better: TypeAlias = Callable[[Any, Any], bool]  # operator.gt or operator.lt
Routes: TypeAlias = dict[Cell, Cell | None]  # output cell -> the input cell that it copies, if there is one


def first_best(values: Sequence[Any], better: Better, nan: str = "propagate") -> int | None:
    """Find the first NaN, or else the first of the best; `nan="ignore"` takes NaN only where all are."""
    best = None
    for position, value in enumerate(values):
        if value != value:
            if nan == "propagate":
                return position
        elif best is None or better(value, values[best]):
            best = position
    return 0 if best is None and values else best


def routes(plane: Array, windows: Grid, better: Better, nan: str = "propagate") -> Routes:
    """Find for each output cell the input cell that it copies."""
    found: Routes = {}
    for cell, (taps, _) in windows.items():
        position = first_best([plane[tap] for tap in taps], better, nan)
        found[cell] = None if position is None else taps[position]
    return found


def cell_at(index: int, spatial: Cell, lowest: int = 0) -> Cell | None:
    """Turn an index, flat in the spatial plane, into a cell; -1 names no cell where `lowest` allows it."""
    if not lowest <= index < math.prod(spatial):
        raise ValueError(f"indices has {index}, which must lie between {lowest} and {math.prod(spatial) - 1}")
    return None if index < 0 else tuple(int(i) for i in np.unravel_index(index, spatial))


def select(
    view: Maps,
    shape: Cell,
    grids: Mapping[Cell, Grid],
    better: Better,
    nan: str = "propagate",
    return_indices: bool = False,
    empty: float | None = None,
) -> Array | tuple[Array, Array]:
    """Copy the best element of each window; `grids` holds the windows of each map."""
    choice("nan", nan, ["propagate", "ignore"])
    both = flag("return_indices", return_indices)
    values, indices = view.zeros(shape), view.zeros(shape, np.int64)
    for plane in view.planes():
        for cell, tap in routes(view.numbers[plane], grids[plane], better, nan).items():
            if tap is None:
                values[plane][cell] = worst(view.dtype, better) if empty is None else empty
                indices[plane][cell] = -1
            else:
                values[plane][cell] = view.maps[plane][tap]
                indices[plane][cell] = np.ravel_multi_index(tap, view.spatial)
    return (view.restore(values), view.restore(indices)) if both else view.restore(values)


def select_backward(
    view: Maps,
    grad_output: npt.ArrayLike,
    shape: Cell,
    grids: Mapping[Cell, Grid],
    better: Better,
    nan: str = "propagate",
    indices: npt.ArrayLike | None = None,
) -> dict[Cell, Terms]:
    """Send each gradient back to the element that was copied, or that `indices` names."""
    choice("nan", nan, ["propagate", "ignore"])
    grads = exact(view.partner("grad_output", grad_output, shape, view.dtype))
    if indices is None:
        return {
            plane: routed(routes(view.numbers[plane], grids[plane], better, nan), grads[plane])
            for plane in view.planes()
        }
    named = view.partner("indices", indices, shape, np.int64)
    return {
        plane: routed(
            {o: cell_at(index, view.spatial, -1) for o, index in np.ndenumerate(named[plane])}, grads[plane]
        )
        for plane in view.planes()
    }


def routed(found: Routes, grads: Mapping[Cell, Number] | Array) -> Terms:
    """Send each gradient along its route."""
    return [(tap, grads[cell]) for cell, tap in found.items() if tap is not None]


def worst(dtype: np.dtype[Any], better: Better) -> float | int | bool:
    """Return what a window without any element gives: -inf, the smallest integer or False for max."""
    largest = better is operator.lt
    if dtype.name in FLOATS:
        return math.inf if largest else -math.inf
    if dtype.name in BOOL:
        return largest
    return int(np.iinfo(dtype).max if largest else np.iinfo(dtype).min)


SELECTABLE = FLOATS.keys() | INTEGERS | BOOL


def extreme_pool(
    better: Better,
    n: int,
    input: npt.ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: str = "channels_first",
    nan: str = "propagate",
) -> Array | tuple[Array, Array]:
    """Take the largest (max) or the smallest (min) element of each window.

    Padding is never taken. NaN wins over everything unless `nan` is "ignore"; among equals, the first in
    row-major order is taken. A window without any element (dilation makes them) gives what loses against
    everything: -inf, the smallest integer or False for max, +inf, the largest integer or True for min.
    `return_indices` adds an int64 array: the positions of what was taken, flat in the spatial plane, or -1.
    Takes floats, integers and bool.

    Source: ``torch.nn.functional.max_pool2d``, ONNX MaxPool.
    """
    view = Maps(input, n, layout, SELECTABLE)
    windows = grid(sliding(view.spatial, kernel_size, stride, padding, dilation, ceil_mode))
    return select(view, shape_of(windows), view.everywhere(windows), better, nan, return_indices)


def extreme_pool_backward(
    better: Better,
    n: int,
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    indices: npt.ArrayLike | None = None,
    layout: str = "channels_first",
    nan: str = "propagate",
) -> Array:
    """Return the gradient of max or min pooling: each element gets what was taken from it.

    `indices`, if given, is what the forward function returned, and is believed.
    """
    view = Maps(input, n, layout, FLOATS)
    windows = grid(sliding(view.spatial, kernel_size, stride, padding, dilation, ceil_mode))
    grids = view.everywhere(windows)
    return settled(view, select_backward(view, grad_output, shape_of(windows), grids, better, nan, indices))


max_pool1d, max_pool2d, max_pool3d = spread("max_pool{}", extreme_pool, operator.gt)
max_pool1d_backward, max_pool2d_backward, max_pool3d_backward = spread(
    "max_pool{}_backward", extreme_pool_backward, operator.gt
)
min_pool1d, min_pool2d, min_pool3d = spread("min_pool{}", extreme_pool, operator.lt)
min_pool1d_backward, min_pool2d_backward, min_pool3d_backward = spread(
    "min_pool{}_backward", extreme_pool_backward, operator.lt
)


def global_max_pool(input: npt.ArrayLike, *, layout: str = "channels_first") -> Array:
    """Take the largest element of each map: (N, C, *S) to (N, C, 1, ..., 1). Source: ONNX GlobalMaxPool."""
    output = adaptive_max_pool(spatial_axes(input), input, 1, layout=layout)
    assert isinstance(output, np.ndarray)
    return output


def global_max_pool_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, *, layout: str = "channels_first"
) -> Array:
    """Return the gradient of `global_max_pool`."""
    return adaptive_max_pool_backward(spatial_axes(input), grad_output, input, 1, layout=layout)


def adaptive_max_pool(
    n: int,
    input: npt.ArrayLike,
    output_size: int | Sequence[int | None] | None,
    return_indices: bool = False,
    *,
    layout: str = "channels_first",
) -> Array | tuple[Array, Array]:
    """Take the largest element of each of `output_size` windows that cover the map.

    NaN, ties, indices and dtypes as in max pooling. Source: ``torch.nn.functional.adaptive_max_pool2d``.
    """
    view = Maps(input, n, layout, SELECTABLE)
    windows = grid(adaptive(view.spatial, output_size))
    return select(
        view, shape_of(windows), view.everywhere(windows), operator.gt, return_indices=return_indices
    )


def adaptive_max_pool_backward(
    n: int,
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    output_size: int | Sequence[int | None] | None,
    *,
    indices: npt.ArrayLike | None = None,
    layout: str = "channels_first",
) -> Array:
    """Return the gradient of adaptive max pooling; `indices`, if given, is what the forward function gave."""
    view = Maps(input, n, layout, FLOATS)
    windows = grid(adaptive(view.spatial, output_size))
    grids = view.everywhere(windows)
    return settled(
        view, select_backward(view, grad_output, shape_of(windows), grids, operator.gt, indices=indices)
    )


adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = spread(
    "adaptive_max_pool{}", adaptive_max_pool
)
adaptive_max_pool1d_backward, adaptive_max_pool2d_backward, adaptive_max_pool3d_backward = spread(
    "adaptive_max_pool{}_backward", adaptive_max_pool_backward
)

# ------------------------------------------------------------------------------------------------------------
# Weighted sums


class Sum(NamedTuple):
    """One output cell: a weighted sum of input cells over a divisor, which is 0 if nothing counts."""

    taps: list[Cell]
    weights: list[Number]
    divisor: Number


Sums: TypeAlias = Mapping[Cell, Sum]  # output cell -> its sum


def value_of(plane: Array, part: Sum) -> Number:
    """Work a weighted sum out."""
    if part.divisor == 0:
        return math.nan
    total = exact_sum(times(plane[tap], weight) for tap, weight in zip(part.taps, part.weights, strict=True))
    return times(total, 1 / Fraction(part.divisor))


def add(view: Maps, shape: Cell, sums: Mapping[Cell, Sums], rounding: str = "half_even") -> Array:
    """Work all sums out; `sums` holds those of each map."""
    choice("rounding", rounding, ROUNDINGS)
    output = view.zeros(shape)
    for plane in view.planes():
        for cell, part in sums[plane].items():
            output[plane][cell] = stored(value_of(view.numbers[plane], part), view.dtype, rounding)
    return view.restore(output)


def add_backward(
    view: Maps, grad_output: npt.ArrayLike, shape: Cell, sums: Mapping[Cell, Sums]
) -> dict[Cell, Terms]:
    """Send each gradient to all taps of its sum, times their weights."""
    grads = exact(view.partner("grad_output", grad_output, shape, view.dtype))
    return {
        plane: [
            (tap, times(grads[plane][cell], Fraction(weight) / Fraction(part.divisor)))
            for cell, part in sums[plane].items()
            for tap, weight in zip(part.taps, part.weights, strict=True)
        ]
        for plane in view.planes()
    }


AVERAGEABLE = FLOATS.keys() | INTEGERS


def means(
    view: Maps, windows: Grid, count_include_pad: bool = True, divisor_override: float | None = None
) -> Sums:
    """Average each window over its counted taps: those in the input, and in the declared padding if asked."""
    include = flag("count_include_pad", count_include_pad)
    divisor = None if divisor_override is None else real("divisor_override", divisor_override)
    if divisor is not None and (divisor == 0 or special(divisor)):
        raise ValueError(f"divisor_override={divisor_override!r} must be finite and not 0")
    sums = {}
    for cell, (taps, padding) in windows.items():
        count = len(taps) + (padding if include else 0)
        if count == 0 and divisor is None and view.dtype.name not in FLOATS:
            raise ValueError(
                f"the window of output cell {cell} holds nothing to count, and {view.dtype} has no NaN"
            )
        sums[cell] = Sum(taps, [1] * len(taps), count if divisor is None else divisor)
    return sums


def avg_pool(
    n: int,
    input: npt.ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: float | None = None,
    *,
    dilation: Sizes = 1,
    layout: str = "channels_first",
    rounding: str = "half_even",
) -> Array:
    """Average each window.

    The divisor is the number of taps in the input, plus those in the declared padding if `count_include_pad`,
    but never a tap beyond it, where `ceil_mode` reaches. `divisor_override`, any finite number but 0, takes
    the place of that count everywhere. A window with nothing to count is NaN, and a ValueError for integers.
    Takes floats and integers; integers are rounded as `rounding` says: "half_even", "half_up" (towards +inf),
    "floor" or "trunc".

    Source: ``torch.nn.functional.avg_pool2d``, ONNX AveragePool.
    """
    view = Maps(input, n, layout, AVERAGEABLE)
    windows = grid(sliding(view.spatial, kernel_size, stride, padding, dilation, ceil_mode))
    sums = means(view, windows, count_include_pad, divisor_override)
    return add(view, shape_of(windows), view.everywhere(sums), rounding)


def avg_pool_backward(
    n: int,
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: float | None = None,
    *,
    dilation: Sizes = 1,
    layout: str = "channels_first",
) -> Array:
    """Return the gradient of average pooling: each tap gets the gradient of its window over the divisor."""
    view = Maps(input, n, layout, FLOATS)
    windows = grid(sliding(view.spatial, kernel_size, stride, padding, dilation, ceil_mode))
    sums = view.everywhere(means(view, windows, count_include_pad, divisor_override))
    return settled(view, add_backward(view, grad_output, shape_of(windows), sums))


avg_pool1d, avg_pool2d, avg_pool3d = spread("avg_pool{}", avg_pool)
avg_pool1d_backward, avg_pool2d_backward, avg_pool3d_backward = spread(
    "avg_pool{}_backward", avg_pool_backward
)


def adaptive_avg_pool(
    n: int,
    input: npt.ArrayLike,
    output_size: int | Sequence[int | None] | None,
    *,
    layout: str = "channels_first",
) -> Array:
    """Average each of `output_size` windows that cover the map; integers are rounded half to even.

    Source: ``torch.nn.functional.adaptive_avg_pool2d``.
    """
    view = Maps(input, n, layout, AVERAGEABLE)
    windows = grid(adaptive(view.spatial, output_size))
    return add(view, shape_of(windows), view.everywhere(means(view, windows)))


def adaptive_avg_pool_backward(
    n: int,
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    output_size: int | Sequence[int | None] | None,
    *,
    layout: str = "channels_first",
) -> Array:
    """Return the gradient of adaptive average pooling."""
    view = Maps(input, n, layout, FLOATS)
    windows = grid(adaptive(view.spatial, output_size))
    return settled(
        view, add_backward(view, grad_output, shape_of(windows), view.everywhere(means(view, windows)))
    )


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = spread(
    "adaptive_avg_pool{}", adaptive_avg_pool
)
adaptive_avg_pool1d_backward, adaptive_avg_pool2d_backward, adaptive_avg_pool3d_backward = spread(
    "adaptive_avg_pool{}_backward", adaptive_avg_pool_backward
)


def global_avg_pool(input: npt.ArrayLike, *, layout: str = "channels_first") -> Array:
    """Average each map: (N, C, *S) to (N, C, 1, ..., 1). Source: ONNX GlobalAveragePool."""
    return adaptive_avg_pool(spatial_axes(input), input, 1, layout=layout)


def global_avg_pool_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, *, layout: str = "channels_first"
) -> Array:
    """Return the gradient of `global_avg_pool`."""
    return adaptive_avg_pool_backward(spatial_axes(input), grad_output, input, 1, layout=layout)
