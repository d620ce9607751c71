"""What every operator of this library means, written out slowly.

Nothing here is fast and nothing is shared with the kernels: each output cell is worked out by walking the
taps of its window one by one, each sum is exact (a fraction of two integers), and there is one rounding, at
the end, to the dtype of the result. So what this module returns is the correctly rounded truth, against which
the error of a kernel can be counted in ulp. Only the powers of Lp and generalised-mean pooling are
irrational; they are float64.

The chapters are numbers (exact sums and the one rounding), arguments, maps (every layout becomes (N, C, *S)),
windows (which taps an output cell sees), and the operators. There are four kinds of these, each a class that
knows how to go forward and backward:

- a Selection (max, min) copies one element of a window; its gradient goes back to that element;
- a Placement (unpooling) is the inverse;
- a WeightedSum (average, blur, RoiAlign) is linear; its gradient is the transposed sum;
- a PowerMean (Lp, generalised mean) is neither, and spells its gradient out.

An operator is one function that describes an instance of its kind. `publish` makes its public functions of
it: ``name(input, ...)`` and ``name_backward(grad_output, input, ...)``, for each rank.

The definitions are those of torch.nn.functional and of the ONNX operators; where these are silent or
disagree, the docstring says what holds here. Sentences of errors do not repeat the name of the function.

>>> import numpy as np
>>> from pooling import reference
>>> x = np.array([[[1, 3, 2, 1], [5, 6, 7, 8], [4, 2, 1, 3], [10, 14, 12, 16]]])
>>> reference.max_pool2d(x, 2)
array([[[ 6,  8],
        [14, 16]]])
>>> reference.avg_pool2d_backward(np.ones((1, 2, 2)), x.astype(float), 2)[0, 0]
array([0.25, 0.25, 0.25, 0.25])
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import operator
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Cell: TypeAlias = tuple[int, ...]  # a position on the spatial axes; also (n, c), the position of a map
Number: TypeAlias = int | float | Fraction
Sizes: TypeAlias = int | Sequence[int]
OptionalSizes: TypeAlias = int | Sequence[int | None] | None
Padding: TypeAlias = int | Sequence[int] | Sequence[Sequence[int]] | str
T = TypeVar("T")

# ----------------------------------------------------------------------------------------------------------
# Numbers

# Significant bits, and the exponent of the smallest normal number.
FLOATS = {"float16": (11, -14), "bfloat16": (8, -126), "float32": (24, -126), "float64": (53, -1022)}
INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
BOOL = frozenset({"bool"})

INT64_MAX = 2**63 - 1
INF = math.inf
LARGEST = float(np.finfo(np.float64).max)

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
    numerators: defaultdict[int, int] = defaultdict(int)  # their sum for each denominator
    try:
        for value in values:
            above, below = value.as_integer_ratio()
            numerators[below] += above
    except (OverflowError, ValueError):  # of an infinity, and of NaN
        return sum(value for value in values if special(value))
    denominator = math.lcm(*numerators)
    return Fraction(sum(above * (denominator // below) for below, above in numerators.items()), denominator)


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
    rounded = INF if overflow else float(magnitude)
    return -rounded if value < 0 else rounded


def stored(value: Number, dtype: np.dtype[Any], rounding: str = "half_even") -> float | int:
    """Round to the dtype of the result: the only rounding there is.

    An integer that does not fit saturates; only `divisor_override` can bring that about.
    """
    if dtype.name in FLOATS:
        return nearest(value, dtype)
    limits = np.iinfo(dtype)
    return min(max(ROUNDINGS[rounding](Fraction(value)), int(limits.min)), int(limits.max))


# ----------------------------------------------------------------------------------------------------------
# Arguments


def short_repr(value: object) -> str:
    """Write a value as Python does, or only say its type where that is more than a short line."""
    try:
        text = repr(value)
    except Exception:  # of a number of very many digits, or of anybody's own
        text = ""
    return text if text and "\n" not in text and len(text) <= 100 else f"<{type(value).__name__} object>"


def integer(name: str, value: object, at_least: int) -> int:
    """Accept a Python or NumPy integer, no bool, from `at_least` to the largest int64."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}={short_repr(value)} must be an integer, not {type(value).__name__}")
    if not at_least <= value <= INT64_MAX:
        raise ValueError(f"{name}={short_repr(value)} must lie between {at_least} and {INT64_MAX}")
    return int(value)


def per_axis(name: str, value: object, n: int, at_least: int = 1) -> list[int]:
    """Accept one integer for all axes, or a tuple or list of one for each; one of a single entry is for all."""
    entries = list(value) if isinstance(value, tuple | list) else [value]
    if len(entries) not in (1, n):
        raise ValueError(f"{name}={short_repr(value)} must have {n} entries, not {len(entries)}")
    numbers = [integer(name, entry, at_least) for entry in entries]
    return numbers if len(numbers) == n else numbers * n


def strided(stride: Sizes | None, kernel: list[int]) -> list[int]:
    """Accept a stride for each axis; None, and an empty sequence as in torch, are the kernel size."""
    if stride is None or (isinstance(stride, tuple | list) and not stride):
        return kernel
    return per_axis("stride", stride, len(kernel))


def real(name: str, value: object) -> int | float:
    """Accept a Python or NumPy real number, no bool and no NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name}={short_repr(value)} must be a real number, not {type(value).__name__}")
    number = int(value) if isinstance(value, int | np.integer) else float(value)
    if number != number or LARGEST < abs(number) < INF:
        raise ValueError(f"{name}={short_repr(value)} must be a number that float64 can hold")
    return number


def positive(name: str, value: object, *, finite: bool = True) -> float:
    """Accept a positive real number."""
    number = real(name, value)
    if number <= 0 or (finite and math.isinf(number)):
        raise ValueError(f"{name}={short_repr(value)} must be positive{' and finite' if finite else ''}")
    return float(number)


def flag(name: str, value: object) -> bool:
    """Accept a bool."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}={short_repr(value)} must be a bool, not {type(value).__name__}")
    return bool(value)


def choice(name: str, value: object, options: Collection[str]) -> str:
    """Accept one of a few words."""
    if not isinstance(value, str):
        raise TypeError(f"{name}={short_repr(value)} must be one of {sorted(options)}, not {type(value).__name__}")
    if value not in options:
        raise ValueError(f"{name}={short_repr(value)} must be one of {sorted(options)}")
    return value


# ----------------------------------------------------------------------------------------------------------
# Maps

Terms: TypeAlias = Iterable[tuple[Cell, Number]]  # (input cell, a part of its gradient), in any order


class Maps:
    """An array of either layout, with or without a batch axis, seen as maps (N, C, *S).

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
            raise ValueError(f"input of shape {array.shape} must have {n + 2} axes, or {n + 1} unbatched")
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

    def indices(self, indices: npt.ArrayLike, spatial: Cell) -> Array:
        """View indices, which may have any dtype of integers, as maps."""
        array = np.asarray(indices)
        if array.dtype.name not in INTEGERS:
            raise TypeError(f"indices has dtype {array.dtype} but must have one of {', '.join(sorted(INTEGERS))}")
        return self.partner("indices", array, spatial, array.dtype)

    def gradients(self, grad_output: npt.ArrayLike, spatial: Cell) -> Array:
        """View the gradient of the output as maps of exact numbers."""
        if self.dtype.name not in FLOATS:
            raise TypeError(f"input has dtype {self.dtype} but only {sorted(FLOATS)} have a gradient")
        return exact(self.partner("grad_output", grad_output, spatial, self.dtype))

    def gathered(self, terms: Mapping[Cell, Terms]) -> Array:
        """Make the gradient of the array: add the terms of each map that meet in one cell, and round."""
        result = self.zeros(self.spatial)
        for plane, parts in terms.items():
            meeting = defaultdict(list)
            for cell, value in parts:
                meeting[cell].append(value)
            for cell, values in meeting.items():
                result[plane][cell] = nearest(exact_sum(values), self.dtype)
        return self.restore(result)


def spatial_axes(array: npt.ArrayLike, dimensions: int | None) -> int:
    """Count the spatial axes: `dimensions` says how many, else four axes are (N, C, H, W) and five (N, C, D, H, W).

    Three axes are a map without a batch as well as a batch of signals, so they are nothing without `dimensions`.
    """
    if dimensions is None:
        if np.ndim(array) not in (4, 5):
            raise ValueError(f"input of shape {np.shape(array)} needs dimensions=: 1, 2 or 3 spatial axes")
        return np.ndim(array) - 2
    n = integer("dimensions", dimensions, 1)
    if n > 3:
        raise ValueError(f"dimensions={short_repr(dimensions)} must be 1, 2 or 3")
    return n


# ----------------------------------------------------------------------------------------------------------
# Windows


class Axis(NamedTuple):
    """One spatial axis: its size, its declared padding, and what each output position sees of it."""

    size: int
    begin: int
    end: int
    windows: list[range]


class Window(NamedTuple):
    """What an output cell sees: its taps inside the input, row by row, and how many lie in the padding."""

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
    end - effective) / S) + 1 positions. `ceil_mode` takes the ceiling instead, so that the last window may
    reach beyond the padding, and then drops it if it would start at or beyond I + begin, that is, in the
    padding at the end.
    """
    n = len(sizes)
    kernel = per_axis("kernel_size", kernel_size, n)
    steps = strided(stride, kernel)
    gaps = per_axis("dilation", dilation, n)
    ceil = flag("ceil_mode", ceil_mode)
    effective = [gap * (k - 1) + 1 for gap, k in zip(gaps, kernel, strict=True)]
    if max(effective) > INT64_MAX:
        raise ValueError(f"dilation={short_repr(dilation)} makes an effective kernel of {max(effective)}, beyond int64")
    axes = []
    for axis, (begin, end) in enumerate(pads(padding, sizes, effective, steps)):
        size, step, where = sizes[axis], steps[axis], axis_name(axis, n)
        if size + begin + end > INT64_MAX:
            raise ValueError(
                f"padding={short_repr(padding)} makes {size + begin + end} cells on axis {where}, beyond int64"
            )
        room = size + begin + end - effective[axis]  # how far the first window can move
        count = (-(-room // step) if ceil else room // step) + 1
        if size == 0 or count < 1:
            least = max(1, size - room - (step - 1 if ceil else 0))
            raise ValueError(
                f"kernel_size={short_repr(kernel_size)} has no place on axis {where} of size {size}; "
                f"it needs an input of at least {least}"
            )
        starts = [-begin + o * step for o in range(count)]
        if ceil and starts[-1] >= size:
            starts.pop()
        # A tap beyond the declared padding, where only ceil_mode reaches, is no tap at all.
        ends = [min(at + effective[axis], size + end) for at in starts]
        windows = [range(at, stop, gaps[axis]) for at, stop in zip(starts, ends, strict=True)]
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
        if len(entries) not in (1, n) or any(len(entry) != 2 for entry in entries):
            raise ValueError(f"padding={short_repr(padding)} must have one pair for each of the {n} spatial axes")
        pairs = [(begin, end) for begin, end in (per_axis("padding", entry, 2, 0) for entry in entries)]
        pairs = pairs if len(pairs) == n else pairs * n
    else:
        pairs = [(pad, pad) for pad in per_axis("padding", padding, n, at_least=0)]
    for axis, (pair, kernel) in enumerate(zip(pairs, effective, strict=True)):
        if max(pair) >= kernel:
            raise ValueError(
                f"padding={short_repr(padding)} must be smaller than the effective kernel size {kernel} on axis "
                f"{axis_name(axis, n)}; use padding <= {kernel - 1}"
            )
    return pairs


def adaptive(sizes: Cell, output_size: OptionalSizes) -> list[Axis]:
    """Cut each axis into O windows, as even as whole cells allow: floor(o I / O) to ceil((o + 1) I / O).

    None keeps the axis as it is.
    """
    n = len(sizes)
    wanted = list(output_size) if isinstance(output_size, tuple | list) else [output_size]
    wanted = wanted * n if len(wanted) == 1 else wanted
    if len(wanted) != n:
        raise ValueError(f"output_size={short_repr(output_size)} must have {n} entries, not {len(wanted)}")
    if 0 in sizes:
        raise ValueError(f"input has size 0 on axis {axis_name(sizes.index(0), n)}; it needs at least 1")
    counts = [i if o is None else integer("output_size", o, 1) for i, o in zip(sizes, wanted, strict=True)]
    if math.prod(counts) > INT64_MAX // 8:
        raise ValueError(f"output_size={short_repr(output_size)} makes {math.prod(counts)} elements, beyond any memory")
    return [
        Axis(size, 0, 0, [range(o * size // count, -(-(o + 1) * size // count)) for o in range(count)])
        for size, count in zip(sizes, counts, strict=True)
    ]


def grid(axes: Sequence[Axis]) -> Grid:
    """Combine the axes, and decide for each tap whether it lies in the input or in the declared padding."""
    windows = {}
    for cell in itertools.product(*(range(len(axis.windows)) for axis in axes)):
        spans = [axis.windows[o] for axis, o in zip(axes, cell, strict=True)]
        taps = list(
            itertools.product(
                *([t for t in span if 0 <= t < axis.size] for axis, span in zip(axes, spans, strict=True))
            )
        )
        windows[cell] = Window(taps, math.prod(map(len, spans)) - len(taps))
    return windows


def shape_of(cells: Mapping[Cell, object]) -> Cell:
    """Return the shape that the cells fill: one more than the last of them."""
    return tuple(o + 1 for o in max(cells))


# ----------------------------------------------------------------------------------------------------------
# Operators


class Operation(Protocol):
    """One operator with all its arguments, ready to go forward or backward."""

    def forward(self) -> Any:
        """Return the output."""

    def backward(self, grad_output: npt.ArrayLike) -> Any:
        """Return the gradient of the input, given that of the output."""


FORWARD_ONLY = {"return_indices", "rounding", "rng"}


def publish(
    name: str, define: Callable[..., Operation], *first: object, ranks: Sequence[int] = ()
) -> list[Callable[..., Any]]:
    """Make the public functions of an operator: one for each rank to go forward, then as many to go backward.

    `define` takes `first` and the rank, if there are any, before the arguments of the operator. Backward
    functions take grad_output before these, and leave out what only matters forward; where the forward
    function can return indices, they can use them.
    """

    def bind(*leading: object, name: str, backward: bool) -> Callable[..., Any]:
        bound = functools.partial(define, *first, *leading)
        signature = inspect.signature(bound).replace(return_annotation=inspect.Signature.empty)
        selects = "return_indices" in signature.parameters
        if backward:
            grad_output = inspect.Parameter("grad_output", inspect.Parameter.POSITIONAL_OR_KEYWORD)
            parameters = [
                grad_output,
                *(p for p in signature.parameters.values() if p.name not in FORWARD_ONLY),
            ]
            if selects:
                parameters.append(inspect.Parameter("indices", inspect.Parameter.KEYWORD_ONLY, default=None))
            signature = signature.replace(parameters=parameters)

        def function(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs).arguments
            if not backward:
                return bound(**given).forward()
            grad_output = given.pop("grad_output")
            indices = {"indices": given.pop("indices", None)} if selects else {}
            return bound(**given).backward(grad_output, **indices)

        function.__name__ = function.__qualname__ = name
        function.__doc__ = f"Return the gradient of `{name[:-9]}`." if backward else define.__doc__
        function.__signature__ = signature  # type: ignore[attr-defined]
        return function

    def named(*leading: int, backward: bool) -> Callable[..., Any]:
        suffixes = [f"{n}d" for n in leading]
        return bind(*leading, name=name.format(*suffixes) + "_backward" * backward, backward=backward)

    if not ranks:
        return [named(backward=False), named(backward=True)]
    return [named(n, backward=backward) for backward in (False, True) for n in ranks]


# ----------------------------------------------------------------------------------------------------------
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


def cell_at(index: int, spatial: Cell) -> Cell:
    """Turn an index, flat in the spatial plane, into a cell."""
    if not 0 <= index < math.prod(spatial):
        raise ValueError(f"indices has {index}, which must lie between 0 and {math.prod(spatial) - 1}")
    return tuple(int(i) for i in np.unravel_index(int(index), spatial))


def worst(dtype: np.dtype[Any], better: Better) -> float | int | bool:
    """Return what loses against everything: for max -inf, the smallest integer or False."""
    largest = better is operator.lt
    if dtype.name in FLOATS:
        return INF if largest else -INF
    if dtype.name in BOOL:
        return largest
    return int(np.iinfo(dtype).max if largest else np.iinfo(dtype).min)


@dataclass
class Selection:
    """Copy the best element of each window; `grids` holds the windows of each map."""

    view: Maps
    shape: Cell
    grids: Mapping[Cell, Grid]
    better: Better = operator.gt
    nan: str = "propagate"
    return_indices: bool = False
    empty: float | None = None  # the result of an empty window; None for what loses against everything
    repeatable: bool = True  # whether the windows are the same the next time

    def __post_init__(self) -> None:
        choice("nan", self.nan, ["propagate", "ignore"])
        flag("return_indices", self.return_indices)

    def routes(self) -> dict[Cell, Routes]:
        """Find for each map and each output cell the input cell that it copies."""
        found: dict[Cell, Routes] = {plane: {} for plane in self.view.planes()}
        for plane, routes in found.items():
            for cell, (taps, _) in self.grids[plane].items():
                position = first_best([self.view.numbers[plane][tap] for tap in taps], self.better, self.nan)
                routes[cell] = None if position is None else taps[position]
        return found

    def named(self, indices: Array) -> dict[Cell, Routes]:
        """Read the same from indices."""
        found: dict[Cell, Routes] = {plane: {} for plane in self.view.planes()}
        for plane, routes in found.items():
            for cell, index in np.ndenumerate(indices[plane]):
                routes[cell] = None if index == -1 else cell_at(index, self.view.spatial)
        return found

    def forward(self) -> Array | tuple[Array, Array]:
        """Return the elements and, if asked, their int64 indices, flat in the spatial plane, or -1."""
        view = self.view
        values, indices = view.zeros(self.shape), view.zeros(self.shape, np.int64)
        for plane, found in self.routes().items():
            for cell, tap in found.items():
                if tap is None:
                    values[plane][cell] = worst(view.dtype, self.better) if self.empty is None else self.empty
                    indices[plane][cell] = -1
                else:
                    values[plane][cell] = view.maps[plane][tap]
                    indices[plane][cell] = np.ravel_multi_index(tap, view.spatial)
        return (view.restore(values), view.restore(indices)) if self.return_indices else view.restore(values)

    def backward(self, grad_output: npt.ArrayLike, indices: npt.ArrayLike | None = None) -> Array:
        """Send each gradient back to the element that was copied, or to the one that `indices` names."""
        view, grads = self.view, self.view.gradients(grad_output, self.shape)
        if indices is not None:
            found = self.named(view.indices(indices, self.shape))
        elif self.repeatable:
            found = self.routes()
        else:
            raise ValueError("indices=None leaves the windows unknown that were drawn; give indices or samples")
        return view.gathered(
            {p: [(tap, grads[p][o]) for o, tap in f.items() if tap is not None] for p, f in found.items()}
        )


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
) -> Selection:
    """Take the largest (max) or the smallest (min) element of each window.

    Padding is never taken. NaN wins over everything unless `nan` is "ignore"; among equals, the first in
    row-major order is taken. A window without any element (dilation makes them) gives what loses against
    everything: -inf, the smallest integer or False for max; +inf, the largest integer or True for min; its
    index is -1. Takes floats, integers and bool.

    Sources: torch.nn.functional.max_pool2d, ONNX MaxPool.
    """
    view = Maps(input, n, layout, SELECTABLE)
    windows = grid(sliding(view.spatial, kernel_size, stride, padding, dilation, ceil_mode))
    return Selection(view, shape_of(windows), view.everywhere(windows), better, nan, return_indices)


max_pool1d, max_pool2d, max_pool3d, max_pool1d_backward, max_pool2d_backward, max_pool3d_backward = publish(
    "max_pool{}", extreme_pool, operator.gt, ranks=(1, 2, 3)
)
min_pool1d, min_pool2d, min_pool3d, min_pool1d_backward, min_pool2d_backward, min_pool3d_backward = publish(
    "min_pool{}", extreme_pool, operator.lt, ranks=(1, 2, 3)
)


def adaptive_max_pool(
    n: int,
    input: npt.ArrayLike,
    output_size: OptionalSizes,
    return_indices: bool = False,
    *,
    layout: str = "channels_first",
) -> Selection:
    """Take the largest element of each of `output_size` windows that cover the map.

    NaN, ties, indices and dtypes as in max pooling. Source: torch.nn.functional.adaptive_max_pool2d.
    """
    view = Maps(input, n, layout, SELECTABLE)
    windows = grid(adaptive(view.spatial, output_size))
    return Selection(view, shape_of(windows), view.everywhere(windows), return_indices=return_indices)


(
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    adaptive_max_pool1d_backward,
    adaptive_max_pool2d_backward,
    adaptive_max_pool3d_backward,
) = publish("adaptive_max_pool{}", adaptive_max_pool, ranks=(1, 2, 3))


def global_max(input: npt.ArrayLike, *, dimensions: int | None = None, layout: str = "channels_first") -> Selection:
    """Take the largest element of each map: (N, C, *S) to (N, C, 1, ..., 1). Source: ONNX GlobalMaxPool."""
    return adaptive_max_pool(spatial_axes(input, dimensions), input, 1, layout=layout)


global_max_pool, global_max_pool_backward = publish("global_max_pool", global_max)


def fractional_max_pool(
    n: int,
    input: npt.ArrayLike,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: npt.ArrayLike | None = None,
    *,
    layout: str = "channels_first",
    rng: np.random.Generator | int | Sequence[int] | None = None,
) -> Selection:
    """Take the largest element of each of `output_size` windows of one size, at steps that vary by one.

    `_random_samples`, numbers in [0, 1) of shape (N, C, n) for n spatial axes, sets the phase of the steps
    for each map and axis; without it they are drawn by `rng`. `output_ratio` gives the output size as a part
    of the input size. NaN, ties and indices as in max pooling. Takes floats.

    Source: torch.nn.functional.fractional_max_pool2d (Graham 2014, "Fractional max-pooling").
    """
    view = Maps(input, n, layout, FLOATS)
    kernel = per_axis("kernel_size", kernel_size, n)
    if (output_size is None) == (output_ratio is None):
        raise ValueError(
            f"output_size={short_repr(output_size)} and output_ratio={short_repr(output_ratio)}: give one of them"
        )
    if output_ratio is not None:
        ratios = list(output_ratio) if isinstance(output_ratio, tuple | list) else [output_ratio]
        ratios = ratios * n if len(ratios) == 1 else ratios
        if len(ratios) != n or not all(0 < real("output_ratio", ratio) < 1 for ratio in ratios):
            raise ValueError(f"output_ratio={short_repr(output_ratio)} must be between 0 and 1 on each of {n} axes")
        output_size = [int(size * ratio) for size, ratio in zip(view.spatial, ratios, strict=True)]
    shape = tuple(per_axis("output_size", output_size, n))
    for axis, (size, k, count) in enumerate(zip(view.spatial, kernel, shape, strict=True)):
        if count + k - 1 > size:
            raise ValueError(
                f"{count} windows of size {k} need an input of at least {count + k - 1} on axis "
                f"{axis_name(axis, n)}, not {size}"
            )
    drawn = _random_samples is None
    if drawn:
        _random_samples = np.random.default_rng(rng).random((*view.maps.shape[:2], n))
    samples = np.asarray(_random_samples)
    if samples.dtype.name not in FLOATS:
        raise TypeError(f"_random_samples has dtype {samples.dtype} but must be a float")
    if samples.shape != (*view.maps.shape[:2], n):
        raise ValueError(f"_random_samples has shape {samples.shape} but must be (N, C, {n})")
    if not ((samples >= 0) & (samples < 1)).all():
        raise ValueError("_random_samples must lie in [0, 1)")
    grids = {
        plane: grid(
            [
                # torch reads the samples of two axes in the order W, H, of three axes in the order D, H, W.
                fractional(size, k, count, samples[plane][1 - axis if n == 2 else axis])
                for axis, (size, k, count) in enumerate(zip(view.spatial, kernel, shape, strict=True))
            ]
        )
        for plane in view.planes()
    }
    return Selection(view, shape, grids, return_indices=return_indices, repeatable=not drawn)


def fractional(size: int, kernel: int, count: int, sample: Any) -> Axis:
    """Place the windows of one axis; the arithmetic is that of the sample's dtype, as in torch."""
    last, number = size - kernel, type(sample)
    step = number(last) / number(max(count - 1, 1))
    starts = [int((number(o) + sample) * step) - int(sample * step) for o in range(count - 1)] + [last]
    return Axis(size, 0, 0, [range(min(start, last), min(start, last) + kernel) for start in starts])


(
    fractional_max_pool2d,
    fractional_max_pool3d,
    fractional_max_pool2d_backward,
    fractional_max_pool3d_backward,
) = publish("fractional_max_pool{}", fractional_max_pool, ranks=(2, 3))

# ----------------------------------------------------------------------------------------------------------
# Regions of interest, part one: the largest element


def scaled(rois: npt.ArrayLike, columns: int, spatial_scale: float) -> Array:
    """Check regions of interest, and scale the boxes x1, y1, x2, y2 in their last four columns.

    Coordinates keep the precision in which they come, but have that of float32 at least.
    """
    rois = np.asarray(rois)
    if rois.dtype.name not in FLOATS:
        raise TypeError(f"rois has dtype {rois.dtype} but must be a float")
    if rois.ndim != 2 or rois.shape[1] != columns:
        raise ValueError(f"rois has shape {rois.shape} but must be (R, {columns})")
    rois = rois.astype(np.float64 if rois.dtype.name == "float64" else np.float32)
    scale = rois.dtype.type(positive("spatial_scale", spatial_scale))
    with np.errstate(over="ignore", invalid="ignore"):
        rois[:, -4:] = rois[:, -4:] * scale
        extent = rois[:, -2:] - rois[:, -4:-2]
    if not (np.isfinite(rois).all() and np.isfinite(extent).all()):
        raise ValueError("rois must be finite, and so must the scaled boxes and their extent")
    return rois


class Regions(Maps):
    """The maps that regions of interest lie on: one for each region, as if the regions were the batch.

    Parameters
    ----------
    input : array of shape (N, C, H, W)
        The batch.
    batch : sequence of int
        For each region the map that it lies on.
    """

    def __init__(self, input: npt.ArrayLike, batch: Sequence[float]) -> None:
        self.source = Maps(input, 2, "channels_first", FLOATS)
        if not self.source.batched or 0 in self.source.spatial:
            raise ValueError(f"input of shape {np.shape(input)} must be (N, C, H, W) with H and W at least 1")
        for n in batch:
            if n != int(n) or not 0 <= n < len(self.source.maps):
                raise ValueError(f"a region of interest lies on map {n} of a batch of {len(self.source.maps)}")
        self.batch = [int(n) for n in batch]
        super().__init__(self.source.maps[self.batch], 2, "channels_first", FLOATS)

    def outside(self, r: int) -> ValueError:
        """Make the error for a region that does not meet its map."""
        return ValueError(f"rois has a box in row {r} that does not meet its map of {self.spatial} pixels")

    def gathered(self, terms: Mapping[Cell, Terms]) -> Array:
        """Bring the gradients of the regions back to the batch, where regions may share a map."""
        shared: dict[Cell, list[tuple[Cell, Number]]] = defaultdict(list)
        for (r, c), parts in terms.items():
            shared[self.batch[r], c] += parts
        return self.source.gathered(shared)


def max_regions(input: npt.ArrayLike, rois: npt.ArrayLike, output_size: Sizes, spatial_scale: float = 1.0) -> Selection:
    """Take the largest element of each of `output_size` windows that cover a region of interest.

    A row of `rois` is [n, x1, y1, x2, y2]: a map of the batch, and a box in coordinates of the original
    image. Times `spatial_scale` and rounded, half away from zero, the coordinates are the first and the last
    pixel of the box. It has at least one pixel, is cut into windows as in adaptive pooling, and each window
    is clipped to the map; one that has nothing left is 0. A box that does not meet the map is a ValueError.
    (N, C, H, W) and (R, 5) make (R, C, *output_size). Takes floats.

    Source: ONNX MaxRoiPool (Girshick 2015, "Fast R-CNN").
    """
    boxes = scaled(rois, 5, spatial_scale).tolist()
    view = Regions(input, [n for n, *_ in boxes])
    shape = tuple(per_axis("output_size", output_size, 2))
    grids: dict[Cell, Grid] = {}
    for r, (_, x1, y1, x2, y2) in enumerate(boxes):
        axes = []
        for size, count, ends in zip(view.spatial, shape, ((y1, y2), (x1, x2)), strict=True):
            first, last = (int(math.copysign(math.floor(abs(end) + 0.5), end)) for end in ends)
            length = max(last - first + 1, 1)
            if first >= size or first + length <= 0:
                raise view.outside(r)
            (cut,) = adaptive((length,), count)
            clipped = [range(max(w.start + first, 0), min(w.stop + first, size)) for w in cut.windows]
            axes.append(Axis(size, 0, 0, clipped))
        grids |= dict.fromkeys(((r, c) for c in range(view.maps.shape[1])), grid(axes))
    return Selection(view, shape, grids, empty=0.0)


max_roi_pool, max_roi_pool_backward = publish("max_roi_pool", max_regions)

# ----------------------------------------------------------------------------------------------------------
# Placements


@dataclass
class Placement:
    """Put each element into the cell that its index names; `targets` holds, for each map, {cell: element}."""

    view: Maps
    shape: Cell
    targets: Mapping[Cell, Mapping[Cell, Cell]]

    def forward(self) -> Array:
        """Return the elements in their places, among zeros."""
        output = self.view.zeros(self.shape)
        for plane, placed in self.targets.items():
            for target, cell in placed.items():
                output[plane][target] = self.view.maps[plane][cell]
        return self.view.restore(output)

    def backward(self, grad_output: npt.ArrayLike) -> Array:
        """Bring the gradient of each place to the element that is there; one that was replaced gets 0."""
        grads = self.view.gradients(grad_output, self.shape)
        return self.view.gathered(
            {p: [(cell, grads[p][target]) for target, cell in placed.items()] for p, placed in self.targets.items()}
        )


def max_unpool(
    n: int,
    input: npt.ArrayLike,
    indices: npt.ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    output_size: Sizes | None = None,
    *,
    layout: str = "channels_first",
) -> Placement:
    """Put each element where `indices`, flat in the plane of the output, says; everything else is 0.

    An axis of the output has (I - 1) * S - begin - end + K cells, or as many as `output_size` says, which may be
    the whole shape of what was pooled. Where an index occurs twice, the last element in row-major order stays.
    An index outside the plane is a ValueError, and so is -1. Takes floats and integers.

    Sources: torch.nn.functional.max_unpool2d, ONNX MaxUnpool.
    """
    view = Maps(input, n, layout, FLOATS.keys() | INTEGERS)
    kernel = per_axis("kernel_size", kernel_size, n)
    steps = strided(stride, kernel)
    if isinstance(output_size, tuple | list) and len(output_size) > n:
        if len(output_size) not in (n + 2, n + view.batched + 1):
            raise ValueError(f"output_size={short_repr(output_size)} must have {n} entries, or be a whole shape")
        output_size = output_size[:-1] if view.channels_last else output_size
        output_size = output_size[-n:]
    if output_size is None:
        if isinstance(padding, str):
            choice("padding", padding, ["valid"])  # "same" would need the very size that is looked for
        each = zip(view.spatial, steps, pads(padding, view.spatial, kernel, steps), kernel, strict=True)
        shape = tuple((size - 1) * step - begin - end + k for size, step, (begin, end), k in each)
    else:
        shape = tuple(per_axis("output_size", output_size, n))
    for axis, (size, given) in enumerate(zip(view.spatial, shape, strict=True)):
        if size == 0 or not 1 <= given <= INT64_MAX:
            raise ValueError(f"an input of size {size} cannot become {given} cells on axis {axis_name(axis, n)}")
    named = view.indices(indices, view.spatial)
    last = {p: {cell_at(index, shape): cell for cell, index in np.ndenumerate(named[p])} for p in view.planes()}
    return Placement(view, shape, last)


(
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
    max_unpool1d_backward,
    max_unpool2d_backward,
    max_unpool3d_backward,
) = publish("max_unpool{}", max_unpool, ranks=(1, 2, 3))

# Which axes of (n, c, *cell) an index counts, in row-major order.
CONVENTIONS: dict[str, Callable[[Cell], Cell]] = {
    "torch": lambda at: at[2:],
    "onnx": lambda at: at,
    "onnx_column_major": lambda at: at[:2] + at[:1:-1],
    "tensorflow": lambda at: (*at[2:], at[1]),
}


def convert_indices(
    indices: npt.ArrayLike,
    input_shape: Sequence[int],
    *,
    source: str,
    target: str,
    layout: str = "channels_first",
) -> Array:
    """Convert the indices of a max pooling whose input had the shape `input_shape` to another convention.

    "torch" counts within the spatial plane; "onnx" over the whole array (N, C, *S); "onnx_column_major" (ONNX
    MaxPool with storage_order=1) likewise, but with the first spatial axis running fastest; "tensorflow"
    within one image (*S, C). -1 stays. An index that is not in the map that it stands for is a ValueError.
    `layout` is that of `indices` and of `input_shape`, both with a batch axis.
    """
    sizes = [integer("input_shape", size, 0) for size in input_shape]
    view = Maps(indices, len(sizes) - 2, layout, INTEGERS)
    shape = (sizes[0], sizes[-1], *sizes[1:-1]) if view.channels_last else tuple(sizes)
    if view.n not in (1, 2, 3) or not view.batched or view.maps.shape[:2] != shape[:2]:
        raise ValueError(
            f"indices of shape {np.shape(indices)} cannot come from an input of shape {short_repr(input_shape)}"
        )
    read = CONVENTIONS[choice("source", source, CONVENTIONS)]
    write = CONVENTIONS[choice("target", target, CONVENTIONS)]
    result = view.zeros(view.spatial, np.int64)
    for plane in view.planes():
        table = {-1: -1}
        for cell in np.ndindex(shape[2:]):
            at = (*plane, *cell)
            index = int(np.ravel_multi_index(read(at), read(shape)))
            table[index] = int(np.ravel_multi_index(write(at), write(shape)))
        for cell, index in np.ndenumerate(view.maps[plane]):
            if index not in table:
                raise ValueError(f"indices has {index}, which is outside map {plane} in the convention {source!r}")
            result[plane][cell] = table[index]
    return view.restore(result)


# ----------------------------------------------------------------------------------------------------------
# Weighted sums


class Sum(NamedTuple):
    """One output cell: a weighted sum of input cells over a divisor, which is 0 if nothing counts."""

    taps: Sequence[Cell]
    weights: Sequence[Number]
    divisor: Number

    def value(self, plane: Array) -> Number:
        """Work the sum out, without rounding."""
        total = exact_sum(times(plane[tap], weight) for tap, weight in zip(self.taps, self.weights, strict=True))
        return times(total, 1 / Fraction(self.divisor)) if self.divisor else math.nan


Sums: TypeAlias = Mapping[Cell, Sum]  # output cell -> its sum


@dataclass
class WeightedSum:
    """Add weighted elements; `sums` holds the sums of each map."""

    view: Maps
    shape: Cell
    sums: Mapping[Cell, Sums]
    rounding: str = "half_even"

    def __post_init__(self) -> None:
        choice("rounding", self.rounding, ROUNDINGS)

    def forward(self) -> Array:
        """Return the sums, rounded once."""
        output = self.view.zeros(self.shape)
        for plane in self.view.planes():
            for cell, part in self.sums[plane].items():
                value = part.value(self.view.numbers[plane])
                output[plane][cell] = stored(value, self.view.dtype, self.rounding)
        return self.view.restore(output)

    def backward(self, grad_output: npt.ArrayLike) -> Array:
        """Send each gradient to all taps of its sum, times their weights."""
        grads = self.view.gradients(grad_output, self.shape)

        def parts(plane: Cell) -> Terms:
            for cell, part in self.sums[plane].items():
                grad, divisor = grads[plane][cell], Fraction(part.divisor)
                # Once for each weight: a window may have thousands of taps, all of weight 1.
                shares = {weight: times(grad, Fraction(weight) / divisor) for weight in set(part.weights)}
                yield from ((tap, shares[weight]) for tap, weight in zip(part.taps, part.weights, strict=True))

        return self.view.gathered({plane: parts(plane) for plane in self.view.planes()})


AVERAGEABLE = FLOATS.keys() | INTEGERS


def average(
    view: Maps,
    axes: Sequence[Axis],
    count_include_pad: bool = True,
    divisor_override: float | None = None,
    *,
    nan: str = "propagate",
    rounding: str = "half_even",
) -> WeightedSum:
    """Average each window over its counted taps: those in the input, and in the declared padding if asked.

    With `nan` "ignore", taps that are NaN neither add nor count; a window is NaN if they were all that counted.
    """
    include = flag("count_include_pad", count_include_pad)
    divisor = None if divisor_override is None else real("divisor_override", divisor_override)
    if divisor is not None and (divisor == 0 or special(divisor)):
        raise ValueError(f"divisor_override={short_repr(divisor_override)} must be finite and not 0")
    ignore = choice("nan", nan, ["propagate", "ignore"]) == "ignore"
    windows = grid(axes)
    sums = {}
    for cell, (taps, padding) in windows.items():
        count = len(taps) + (padding if include else 0)
        if count == 0 and divisor is None and view.dtype.name not in FLOATS:
            raise ValueError(f"the window of output cell {cell} has nothing to count, and {view.dtype} no NaN")
        sums[cell] = Sum(taps, [1] * len(taps), count if divisor is None else divisor)
    each = view.everywhere(sums)
    for plane in view.planes() if ignore else ():
        each[plane] = {}
        for cell, (taps, padding) in windows.items():
            numbers = [tap for tap in taps if view.numbers[plane][tap] == view.numbers[plane][tap]]
            count = len(numbers) + (padding if include else 0)
            some = count > 0 or not taps
            over = divisor if divisor is not None and some else count
            each[plane][cell] = Sum(numbers, [1] * len(numbers), over)
    return WeightedSum(view, shape_of(sums), each, rounding)


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
    nan: str = "propagate",
    rounding: str = "half_even",
) -> WeightedSum:
    """Average each window.

    The divisor is the number of taps in the input, plus those in the declared padding if `count_include_pad`,
    but never a tap beyond it, where `ceil_mode` reaches. `divisor_override`, any finite number but 0, takes
    the place of that count everywhere. A window with nothing to count is NaN, and a ValueError for integers.
    Takes floats and integers; integers are rounded as `rounding` says: "half_even", "half_up" (towards +inf),
    "floor" or "trunc". With `nan` "ignore" what is NaN is left out of the sum and of the count, and has no
    gradient.

    Sources: torch.nn.functional.avg_pool2d, ONNX AveragePool.
    """
    view = Maps(input, n, layout, AVERAGEABLE)
    axes = sliding(view.spatial, kernel_size, stride, padding, dilation, ceil_mode)
    return average(view, axes, count_include_pad, divisor_override, nan=nan, rounding=rounding)


avg_pool1d, avg_pool2d, avg_pool3d, avg_pool1d_backward, avg_pool2d_backward, avg_pool3d_backward = publish(
    "avg_pool{}", avg_pool, ranks=(1, 2, 3)
)


def adaptive_avg_pool(
    n: int,
    input: npt.ArrayLike,
    output_size: OptionalSizes,
    *,
    layout: str = "channels_first",
    nan: str = "propagate",
    rounding: str = "half_even",
) -> WeightedSum:
    """Average each of `output_size` windows that cover the map; integers are rounded as `rounding` says.

    Source: torch.nn.functional.adaptive_avg_pool2d.
    """
    view = Maps(input, n, layout, AVERAGEABLE)
    return average(view, adaptive(view.spatial, output_size), rounding=rounding, nan=nan)


(
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_avg_pool1d_backward,
    adaptive_avg_pool2d_backward,
    adaptive_avg_pool3d_backward,
) = publish("adaptive_avg_pool{}", adaptive_avg_pool, ranks=(1, 2, 3))


def global_avg(
    input: npt.ArrayLike,
    *,
    dimensions: int | None = None,
    layout: str = "channels_first",
    nan: str = "propagate",
    rounding: str = "half_even",
) -> WeightedSum:
    """Average each map: (N, C, *S) to (N, C, 1, ..., 1). Source: ONNX GlobalAveragePool."""
    return adaptive_avg_pool(spatial_axes(input, dimensions), input, 1, layout=layout, rounding=rounding, nan=nan)


global_avg_pool, global_avg_pool_backward = publish("global_avg_pool", global_avg)


def blur(
    input: npt.ArrayLike,
    kernel_size: Sizes = 3,
    stride: Sizes | None = 2,
    padding: Padding | None = None,
    *,
    padding_mode: str = "reflect",
    layout: str = "channels_first",
) -> WeightedSum:
    """Blur each map with a binomial filter, and keep every `stride`-th pixel.

    The weights are those of a row of Pascal's triangle along H times one along W, over their sum. The padding
    takes its values from the map mirrored at its border pixels ("reflect"), from the border pixels
    ("replicate"), or is zero ("zeros", which darkens the border). By default it is (K - 1) // 2 before and K
    // 2 after, which makes ceil(I / S) pixels; mirrored, it must be smaller than the map. Takes floats.

    Source: Zhang 2019, "Making convolutional networks shift-invariant again".
    """
    view = Maps(input, 2, layout, FLOATS)
    sums = binomial(view.spatial, kernel_size, stride, padding, padding_mode)
    return WeightedSum(view, shape_of(sums), view.everywhere(sums))


def binomial(sizes: Cell, kernel_size: Sizes, stride: Sizes | None, padding: Padding | None, padding_mode: str) -> Sums:
    """Write a blur down as weighted sums."""
    choice("padding_mode", padding_mode, ["reflect", "replicate", "zeros"])
    kernel = per_axis("kernel_size", kernel_size, 2)
    centred = [((k - 1) // 2, k // 2) for k in kernel]
    axes = sliding(sizes, kernel, stride, centred if padding is None else padding)
    seen = []  # for each axis and output position: the pixels that its taps stand for, and their weights
    for axis, k in zip(axes, kernel, strict=True):
        if padding_mode == "reflect" and max(axis.begin, axis.end) >= axis.size:
            raise ValueError(
                f"padding={short_repr(padding)} cannot be mirrored on an axis of size {axis.size}; use 'replicate'"
            )
        row = [math.comb(k - 1, tap) for tap in range(k)]
        taps = [[border(at, axis.size, padding_mode) for at in window] for window in axis.windows]
        seen.append([[(at, w) for at, w in zip(some, row, strict=True) if at is not None] for some in taps])
    sums = {}
    for cell in np.ndindex(len(seen[0]), len(seen[1])):
        both = list(itertools.product(seen[0][cell[0]], seen[1][cell[1]]))
        weights = [v * w for (_, v), (_, w) in both]
        sums[cell] = Sum([(y, x) for (y, _), (x, _) in both], weights, 2 ** (sum(kernel) - 2))
    return sums


def border(at: int, size: int, padding_mode: str) -> int | None:
    """Find the pixel that a tap stands for; None for a zero."""
    if padding_mode == "reflect":
        return size - 1 - abs(size - 1 - abs(at))
    if padding_mode == "replicate":
        return min(max(at, 0), size - 1)
    return at if 0 <= at < size else None


blur_pool2d, blur_pool2d_backward = publish("blur_pool2d", blur)


def max_blur(
    input: npt.ArrayLike,
    kernel_size: Sizes = 2,
    stride: Sizes | None = 2,
    padding: Padding = 0,
    *,
    blur_kernel_size: Sizes = 3,
    padding_mode: str = "reflect",
    layout: str = "channels_first",
    nan: str = "propagate",
) -> WeightedSum:
    """Max-pool at stride 1 with `kernel_size` and `padding`, then blur at `stride` with `blur_kernel_size`.

    It takes the place of max pooling in an anti-aliased network. Source: Zhang 2019, as for `blur_pool2d`.
    """
    highest = extreme_pool(operator.gt, 2, input, kernel_size, 1, padding, layout=layout, nan=nan)
    if highest.view.dtype.name not in FLOATS:
        raise TypeError(f"input has dtype {highest.view.dtype} but must have one of {sorted(FLOATS)}")
    sums = binomial(highest.shape, blur_kernel_size, stride, None, padding_mode)
    # A blur of what was selected: the same weights, on the elements that the taps copy.
    chosen = {
        plane: {
            cell: part._replace(taps=[tap for at in part.taps if (tap := found[at]) is not None])
            for cell, part in sums.items()
        }
        for plane, found in highest.routes().items()
    }
    return WeightedSum(highest.view, shape_of(sums), chosen)


max_blur_pool2d, max_blur_pool2d_backward = publish("max_blur_pool2d", max_blur)

# ----------------------------------------------------------------------------------------------------------
# Regions of interest, part two: interpolation

Along: TypeAlias = list[tuple[int, Fraction]]  # the pixels on one axis around a sample, with their weights


def aligned_regions(
    input: npt.ArrayLike,
    rois: npt.ArrayLike,
    batch_indices: npt.ArrayLike,
    output_size: Sizes,
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    mode: str = "avg",
    coordinate_transformation_mode: str = "half_pixel",
) -> WeightedSum:
    """Sample each of `output_size` bins of a region of interest by bilinear interpolation; pool the samples.

    A row of `rois` is a box [x1, y1, x2, y2] in coordinates of the original image, on the map that
    `batch_indices` names. Its coordinates are multiplied by `spatial_scale`; "half_pixel" then subtracts 0.5,
    while "output_half_pixel" does not, and makes every box at least 1 x 1. A bin has `sampling_ratio` evenly
    spaced samples on each axis, or ceil(box / bins) of them for 0. A sample more than one pixel outside the
    map is 0; any other is moved to the nearest border. A bin without samples is 0. A box that does not meet
    the map is a ValueError. (N, C, H, W) and (R, 4) make (R, C, *output_size). Takes floats.

    "max" is the largest of the interpolated samples, as the text of the operator has it, not of the weighted
    corners as in onnxruntime and onnx.reference (https://github.com/onnx/onnx/issues/4764). Its gradient goes
    to the first of the largest samples.

    Source: ONNX RoiAlign (He et al. 2017, "Mask R-CNN").
    """
    boxes = scaled(rois, 4, spatial_scale)
    batch = np.asarray(batch_indices)
    if batch.dtype != np.int64:
        raise TypeError(f"batch_indices has dtype {batch.dtype} but must have int64")
    if batch.shape != boxes.shape[:1]:
        raise ValueError(f"batch_indices has shape {batch.shape} but must have {boxes.shape[:1]}")
    view = Regions(input, batch.tolist())
    shape = tuple(per_axis("output_size", output_size, 2))
    ratio = integer("sampling_ratio", sampling_ratio, 0)
    averaging = choice("mode", mode, ["avg", "max"]) == "avg"
    modes = ["half_pixel", "output_half_pixel"]
    half_pixel = choice("coordinate_transformation_mode", coordinate_transformation_mode, modes) == "half_pixel"
    height, width = view.spatial
    sums: dict[Cell, Sums] = {}
    for r, (x1, y1, x2, y2) in enumerate(boxes):
        if min(x1, x2) > width or max(x1, x2) < 0 or min(y1, y2) > height or max(y1, y2) < 0:
            raise view.outside(r)
        rows = sampled(y1, y2, height, shape[0], ratio, half_pixel)
        columns = sampled(x1, x2, width, shape[1], ratio, half_pixel)
        samples = {
            cell: [sample(*at) for at in itertools.product(rows[cell[0]], columns[cell[1]])]
            for cell in np.ndindex(shape)
        }
        for c in range(view.maps.shape[1]):
            combine = mean_of if averaging else functools.partial(highest_of, view.numbers[r, c])
            sums[r, c] = {cell: combine(parts) for cell, parts in samples.items()}
    return WeightedSum(view, shape, sums)


def sampled(low: Any, high: Any, size: int, bins: int, ratio: int, half_pixel: bool) -> list[list[Along]]:
    """Place the samples of each bin along one axis, each step in the arithmetic of the coordinates' dtype."""
    number = type(low)
    offset = number(0.5 if half_pixel else 0)
    first = low - offset
    length = high - offset - first
    if not half_pixel:
        length = max(length, number(1))
    step = length / number(bins)
    count = ratio or math.ceil(step)
    return [
        [between(first + number(o) * step + number(i + 0.5) * step / number(count), size) for i in range(count)]
        for o in range(bins)
    ]


def between(at: Any, size: int) -> Along:
    """Find the one or two pixels that a coordinate lies between."""
    if not -1 <= at <= size:
        return []
    at = min(max(Fraction(float(at)), Fraction(0)), Fraction(size - 1))
    low, part = int(at), at - int(at)
    return [(low, 1 - part), (low + 1, part)] if part else [(low, Fraction(1))]


def sample(rows: Along, columns: Along) -> Sum:
    """Interpolate at one point between up to four pixels; one of weight 0 is not looked at."""
    corners = list(itertools.product(rows, columns))
    return Sum([(y, x) for (y, _), (x, _) in corners], [v * w for (_, v), (_, w) in corners], 1)


def mean_of(samples: Sequence[Sum]) -> Sum:
    """Average some samples."""
    taps = [tap for part in samples for tap in part.taps]
    weights = [weight for part in samples for weight in part.weights]
    return Sum(taps, weights, max(len(samples), 1))


def highest_of(plane: Array, samples: Sequence[Sum]) -> Sum:
    """Take the largest of some samples, by the rules of max pooling."""
    position = first_best([part.value(plane) for part in samples], operator.gt)
    return Sum([], [], 1) if position is None else samples[position]


roi_align, roi_align_backward = publish("roi_align", aligned_regions)

# ----------------------------------------------------------------------------------------------------------
# Power means


def power(base: float, exponent: float) -> float:
    """Raise a number that is not negative to a power as IEEE 754 has it: infinity instead of an error."""
    try:
        return math.pow(base, exponent)
    except (OverflowError, ValueError):  # the latter: 0 to a negative power
        return math.inf


@dataclass
class PowerMean:
    """Take (sum v^p)^(1/p) of each window, or (mean v^p)^(1/p); `inner` makes v >= 0 of x and tells dv/dx."""

    view: Maps
    windows: Grid
    p: float
    inner: Callable[[float], tuple[float, float]]
    mean: bool = False

    def norm(self, values: Sequence[float]) -> tuple[float, float]:
        """Return the largest value and a factor whose product is the result.

        Powers are taken of value / largest, so that nothing overflows or underflows in between.
        """
        if any(value != value for value in values):
            return math.nan, 1.0
        largest = max(values, default=0.0)
        if largest == 0 or math.isinf(largest) or math.isinf(self.p):
            return largest, 1.0
        total = math.fsum(power(value / largest, self.p) for value in values)
        return largest, power(total / len(values) if self.mean else total, 1 / self.p)

    def forward(self) -> Array:
        """Return the norms."""
        output = self.view.zeros(shape_of(self.windows))
        for plane in self.view.planes():
            for cell, (taps, _) in self.windows.items():
                largest, factor = self.norm([self.inner(self.view.numbers[plane][tap])[0] for tap in taps])
                output[plane][cell] = nearest(largest * factor, self.view.dtype)
        return self.view.restore(output)

    def backward(self, grad_output: npt.ArrayLike) -> Array | tuple[Array, float]:
        """Return the gradient of the input, (v / y)^(p - 1) dv/dx, over n for a mean; then that of p.

        For infinite p it is that of the first of the largest values. Where dv/dx is 0, so is the gradient.
        The gradient of p, for a mean only, is y / p times the mean of r^p log r with r = v / y.
        """
        grads = self.view.gradients(grad_output, shape_of(self.windows))
        terms: dict[Cell, list[tuple[Cell, Number]]] = {plane: [] for plane in self.view.planes()}
        exponent: list[Number] = []
        for plane, parts in terms.items():
            for cell, (taps, _) in self.windows.items():
                grad, count = grads[plane][cell], len(taps) if self.mean else 1
                pairs = [self.inner(self.view.numbers[plane][tap]) for tap in taps]
                values = [value for value, _ in pairs]
                largest, factor = self.norm(values)
                first = first_best(values, operator.gt)
                for position, (tap, (value, slope)) in enumerate(zip(taps, pairs, strict=True)):
                    if slope == 0 or (math.isinf(self.p) and position != first):
                        continue
                    rate = 1.0 if math.isinf(self.p) else power(value / largest / factor, self.p - 1)
                    parts.append((tap, grad * (slope * rate / count)))
                if self.mean:
                    ratios = [value / largest / factor for value in values]
                    total = exact_sum(power(ratio, self.p) * math.log(ratio) for ratio in ratios if ratio)
                    exponent.append(grad * (largest * factor / self.p * float(total) / count))
        result = self.view.gathered(terms)
        return (result, float(exact_sum(exponent))) if self.mean else result


def absolute(value: float) -> tuple[float, float]:
    """Return |x| and its derivative, 0 at 0."""
    return abs(value), math.copysign(1.0, value) if value else 0.0


def lp_pool(
    n: int,
    input: npt.ArrayLike,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
    *,
    padding: Padding = 0,
    dilation: Sizes = 1,
    layout: str = "channels_first",
) -> PowerMean:
    """Take the p-norm of each window, (sum |x|^p)^(1/p), for any p > 0 and for infinity.

    Padding counts as 0. Takes floats. (torch leaves the absolute value out, so that it differs for odd p.)

    Sources: torch.nn.functional.lp_pool2d, ONNX LpPool.
    """
    view = Maps(input, n, layout, FLOATS)
    windows = grid(sliding(view.spatial, kernel_size, stride, padding, dilation, ceil_mode))
    return PowerMean(view, windows, positive("norm_type", norm_type, finite=False), absolute)


lp_pool1d, lp_pool2d, lp_pool3d, lp_pool1d_backward, lp_pool2d_backward, lp_pool3d_backward = publish(
    "lp_pool{}", lp_pool, ranks=(1, 2, 3)
)


def global_lp(
    input: npt.ArrayLike, p: float = 2, *, dimensions: int | None = None, layout: str = "channels_first"
) -> PowerMean:
    """Take the p-norm of each map: (N, C, *S) to (N, C, 1, ..., 1). Source: ONNX GlobalLpPool."""
    view = Maps(input, spatial_axes(input, dimensions), layout, FLOATS)
    return PowerMean(view, grid(adaptive(view.spatial, 1)), positive("p", p, finite=False), absolute)


global_lp_pool, global_lp_pool_backward = publish("global_lp_pool", global_lp)


def gem(input: npt.ArrayLike, p: float = 3.0, eps: float = 1e-6, *, layout: str = "channels_first") -> PowerMean:
    """Take the generalised mean of each map, mean(max(x, eps)^p)^(1/p): (N, C, H, W) to (N, C, 1, 1).

    p = 1 is the average, and a large p comes near the maximum. The backward function returns two gradients,
    that of the input and that of p. Takes floats.

    Source: Radenovic, Tolias and Chum 2018, "Fine-tuning CNN image retrieval with no human annotation".
    """
    view = Maps(input, 2, layout, FLOATS)
    smallest = positive("eps", eps)

    def clamped(value: float) -> tuple[float, float]:
        return (smallest, 0.0) if value < smallest else (value, 1.0)

    return PowerMean(view, grid(adaptive(view.spatial, 1)), positive("p", p), clamped, mean=True)


gem_pool2d, gem_pool2d_backward = publish("gem_pool2d", gem)


# ----------------------------------------------------------------------------------------------------------
# Blocks


BLOCK_FUNCS = ("mean", "sum", "min", "max", "range", "median", "mode", "rms", "std", "var", "first", "count")
Element: TypeAlias = tuple[Any, Fraction]  # a valid element of a block and its weight


def difference(high: Number, low: Number) -> Number:
    """Subtract without rounding; NaN and infinities subtract as IEEE 754 has it."""
    return exact_sum([high, times(low, -1)])


def weighted_mean(values: Sequence[Number], weights: Sequence[Fraction]) -> Number:
    """Return ``sum(w * x) / sum(w)``."""
    return times(exact_sum([times(x, w) for x, w in zip(values, weights, strict=True)]), 1 / sum(weights))


def root(value: Number) -> float:
    """Return the square root, in float64 from the whole root of a multiple by 4**600."""
    if special(value):
        return math.sqrt(value) if value > 0 else math.nan
    scale = 4**600
    return float(Fraction(math.isqrt(math.floor(Fraction(value) * scale)), 2**600))


def reduce_block(func: str, block: Sequence[Element]) -> Number:
    """Reduce the valid elements of a block, of which there is at least one, in row-major order."""
    values: list[Number] = [x for x, _ in block]
    weights = [w for _, w in block]
    if func == "count":
        return len(block)
    if func == "first":
        return values[0]
    if func != "sum" and any(x != x for x in values):
        return math.nan
    ascending = sorted(values) if func in ("min", "max", "range", "median", "mode") else values
    if func == "sum":
        return exact_sum([times(x, w) for x, w in zip(values, weights, strict=True)])
    if func == "mean":
        return weighted_mean(values, weights)
    if func == "min":
        return ascending[0]
    if func == "max":
        return ascending[-1]
    if func == "range":
        return difference(ascending[-1], ascending[0])
    if func == "median":
        middle = ascending[(len(block) - 1) // 2], ascending[len(block) // 2]
        return middle[0] if len(block) % 2 else times(exact_sum(middle), Fraction(1, 2))
    if func == "mode":
        return max(ascending, key=lambda value: ascending.count(value))
    if func == "rms":
        return root(weighted_mean([INF if special(x) else Fraction(x) ** 2 for x in values], weights))
    if any(special(x) for x in values):
        return math.nan
    mean = weighted_mean(values, weights)
    variance = weighted_mean([(Fraction(x) - mean) ** 2 for x in values], weights)
    return root(variance) if func == "std" else variance


def block_dtype(func: str, dtype: np.dtype[Any], weighted: bool, wanted: npt.DTypeLike | None) -> np.dtype[Any]:
    """Return the dtype of the result."""
    if wanted is not None:
        return np.dtype(wanted)
    if func == "count":
        return np.dtype(np.int64)
    if dtype.name in FLOATS:
        return dtype
    if func in ("rms", "std", "var") or (func in ("mean", "median") and dtype == np.bool_):
        return np.dtype(np.float64)
    if func == "sum":
        return np.dtype(np.float64 if weighted else np.uint64 if dtype.kind == "u" else np.int64)
    if func == "range" and dtype.kind == "i":
        return np.dtype(f"int{min(64, 16 * dtype.itemsize)}")
    return dtype


def block_reduce(
    array: npt.ArrayLike,
    block_size: Sizes,
    func: str = "mean",
    *,
    edge: str = "partial",
    nodata: float | None = None,
    weights: npt.ArrayLike | None = None,
    min_valid: float = 0.0,
    rounding: str = "half_even",
    dtype: npt.DTypeLike | None = None,
    return_valid: bool = False,
) -> Any:
    """Reduce blocks that do not overlap.

    An element is valid unless it is equal to `nodata` (or NaN, where `nodata` is), is masked, or has weight 0.
    Where no element of a block is valid, or a smaller share of those that are there than `min_valid`, the result is
    `nodata`; NaN, or an error for integers, where there is none. Counts are counts always. A sum or a range that does
    not fit 64 bits is an error.
    """
    mask = np.ma.getmaskarray(array) if isinstance(array, np.ma.MaskedArray) else None
    elements = np.asarray(np.ma.getdata(array))
    choice("func", func, BLOCK_FUNCS)
    choice("edge", edge, ("partial", "trim", "error"))
    choice("rounding", rounding, ROUNDINGS)
    if elements.dtype.name not in FLOATS and elements.dtype.name not in INTEGERS | BOOL:
        raise TypeError(f"array has dtype {elements.dtype}")
    sizes = per_axis("block_size", block_size, elements.ndim)
    starts = []
    for size, block in zip(elements.shape, sizes, strict=True):
        if edge == "error" and size % block:
            raise ValueError(f"block_size={short_repr(block_size)} does not divide {elements.shape}")
        starts.append(range(0, size if edge != "trim" else size - size % block, block))
    kind = block_dtype(func, elements.dtype, weights is not None, dtype)
    weighing = None if weights is None else np.asarray(weights, np.float64)
    numbers = exact(elements)
    missing = None if nodata is None else exact(np.array(nodata).astype(elements.dtype))[()]
    result = np.zeros([len(each) for each in starts], kind)
    valid = np.zeros(result.shape)
    for cell in np.ndindex(result.shape):
        taps = itertools.product(
            *(
                range(begin[o], min(begin[o] + block, size))
                for begin, o, block, size in zip(starts, cell, sizes, elements.shape, strict=True)
            )
        )
        found: list[Element] = []
        there = 0
        for tap in taps:
            there += 1
            value = numbers[tap]
            left_out = missing is not None and (value == missing or (value != value and missing != missing))
            weight = Fraction(1) if weighing is None else Fraction(weighing[tap])
            if not left_out and weight and (mask is None or not mask[tap]):
                found.append((value, weight))
        valid[cell] = len(found) / there
        if func == "count":
            result[cell] = len(found)
        elif not found or valid[cell] < min_valid:
            if missing is None and mask is None and kind.name not in FLOATS:
                raise ValueError(f"the block {cell} has no valid element, and there is no nodata")
            # Of a masked array without nodata nobody sees what is below the mask.
            result[cell] = missing if missing is not None else 0 if kind.name not in FLOATS else math.nan
        else:
            value = reduce_block(func, found)
            if func in ("sum", "range") and kind.kind in "iu" and not fits(value, kind):
                raise ValueError(f"the {func} of the block {cell} does not fit {kind}")
            result[cell] = bool(value) if kind == np.bool_ else stored(value, kind, rounding)
    return (result, valid) if return_valid else result


def fits(value: Number, dtype: np.dtype[Any]) -> bool:
    """Tell whether an integer is one of a dtype."""
    return int(np.iinfo(dtype).min) <= value <= int(np.iinfo(dtype).max)
