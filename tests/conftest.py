"""What the tests of the core share: how arrays may lie in memory, what calls may look like, and what equal means."""

from __future__ import annotations

import ctypes
import inspect
import math
import mmap
import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import pooling
from pooling import _core, calls
from pooling.families.extremes import Extreme
from pooling.families.means import Mean
from pooling.operators import OPERATORS

# What runs in the background of a shell ignores Ctrl-C, and so would all that it starts.
for _number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

# The same examples every time, on every machine: a test that fails once fails again.
settings.register_profile(
    "deterministic",
    derandomize=True,
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
# For emulated processors, which are 10 to 30 times slower: --hypothesis-profile=few
settings.register_profile("few", settings.get_profile("deterministic"), max_examples=8)
settings.load_profile("deterministic")

Array = NDArray[Any]
LAYOUTS = ("channels_first", "channels_last")
HALVES = ("float16", "bfloat16")
FLOATS = (*HALVES, "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")

# Families with arguments of their own are tested in files of their own.
CORE = {
    name: operator
    for name, operator in OPERATORS.items()
    if re.fullmatch("(adaptive_|global_)?(max|avg)_pool|min_pool", name)
}


def dtype_of(dtype: Any) -> np.dtype[Any]:
    """Find a dtype, also by its name; bfloat16 comes from ml_dtypes."""
    return np.dtype(pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype)


# --- what equal means -------------------------------------------------------------------------------------


def _comparable(array: Array) -> Array:
    # NumPy sees no NaN in the numbers of others.
    return array.astype(np.float64) if array.dtype.name == "bfloat16" else array


def assert_same(result: Array, expected: Array) -> None:
    """Same dtype, shape and values; NaN equals NaN, and +0 equals -0."""
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    np.testing.assert_array_equal(_comparable(result), _comparable(expected))


def assert_same_bytes(result: Array, expected: Array) -> None:
    """Same dtype, shape and bytes: not even the sign of a zero differs."""
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    assert result.tobytes() == expected.tobytes()


UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}
"""Largest relative error of one rounding."""
TINY = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}
"""Smallest number above zero: the most that one rounding of a denormal can be wrong, twice over."""


def rounding_error(dtype: str, roundings: int, magnitudes: Array, exact: Array) -> Array:
    """Bound the error of a sum with so many roundings on the longest way, relative to the sum of the magnitudes.

    Half types are held in float32 and rounded once more at the end.
    """
    held = "float32" if dtype in HALVES else dtype
    error = roundings * UNIT[held] * (1 + roundings * UNIT[held]) * magnitudes + roundings * TINY[held]
    if dtype in HALVES:
        error = error * (1 + UNIT[dtype]) + UNIT[dtype] * np.abs(exact) + TINY[dtype]
    return np.nan_to_num(error)


def assert_within(result: Array, exact: Array, allowed: Array) -> None:
    """Not further than `allowed` from `exact` where that is finite; the same NaN or infinity where it is not."""
    assert result.shape == exact.shape
    result = result.astype(np.float64)
    finite = np.isfinite(exact)
    np.testing.assert_array_equal(result[~finite], exact[~finite])
    assert np.isfinite(result[finite]).all()
    error = np.abs(result[finite] - exact[finite])
    excess = error - allowed[finite]
    assert not (excess > 0).any(), (
        f"{np.count_nonzero(excess > 0)} of {excess.size} too far; the worst is wrong by {error[excess.argmax()]:.3g}, "
        f"allowed are {allowed[finite][excess.argmax()]:.3g}"
    )


# --- how arrays may lie in memory ---------------------------------------------------------------------------


def _gapped(array: Array) -> Array:
    wide = np.zeros(tuple(2 * size for size in array.shape), array.dtype)
    view = wide[tuple(slice(1, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def _unaligned(array: Array) -> Array:
    view = np.frombuffer(bytearray(array.nbytes + 1), np.uint8)[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def _read_only(array: Array) -> Array:
    array = array.copy()
    array.flags.writeable = False
    return array


def _reversed(array: Array) -> Array:
    backwards = tuple(slice(None, None, -1) for _ in array.shape)
    return array[backwards].copy()[backwards]


def _big_endian(array: Array) -> Array:
    # bfloat16 has no other byte order.
    return array.copy() if array.dtype.name == "bfloat16" else array.astype(array.dtype.newbyteorder(">"))


def _broadcast(array: Array) -> Array:
    # The one case that changes the values: all rows are the first.
    return np.broadcast_to(array[..., :1, :], array.shape)


LYING: dict[str, Callable[[Array], Array]] = {
    "contiguous": np.copy,
    "fortran_order": np.asfortranarray,
    "gapped": _gapped,
    "negative_strides": _reversed,
    "transposed": lambda array: np.ascontiguousarray(array.T).T,
    "broadcast": _broadcast,
    "big_endian": _big_endian,
    "unaligned": _unaligned,
    "read_only": _read_only,
}
"""Every way of laying the same values out; the results must not differ."""


@pytest.fixture
def guarded() -> Callable[..., Array]:
    """Make arrays that touch memory which nobody may read or write: one byte too far ends the process.

    ``guarded(shape, dtype)`` ends where the forbidden page begins, ``guarded(shape, dtype, at_end=False)`` begins where
    one ends.
    """
    try:
        protect = ctypes.CDLL(None, use_errno=True).mprotect
    except (AttributeError, TypeError):
        pytest.skip("needs mprotect")
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    page = mmap.PAGESIZE

    def allocate(shape: tuple[int, ...], dtype: Any, *, at_end: bool = True) -> Array:
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        inside = -(-nbytes // page) * page
        memory = mmap.mmap(-1, inside + 2 * page)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for forbidden in (address, address + page + inside):
            assert protect(forbidden, page, 0) == 0, os.strerror(ctypes.get_errno())
        start = page + (inside - nbytes if at_end else 0)
        return np.frombuffer(memory, np.uint8, nbytes, start).view(dtype).reshape(shape)

    return allocate


# --- what calls may look like ---------------------------------------------------------------------------------


@st.composite
def window_arguments(draw: st.DrawFn, dimensions: int) -> dict[str, Any]:
    """Draw kernel_size, stride, padding, dilation and ceil_mode in all their forms; now and then too much padding."""
    largest = {1: 6, 2: 4, 3: 3}[dimensions]

    def sizes(low: int, high: int) -> st.SearchStrategy[Any]:
        one = st.integers(low, high)
        return one | st.tuples(*[one] * dimensions)

    def spread(value: Any) -> tuple[int, ...]:
        return value if isinstance(value, tuple) else (value,) * dimensions

    arguments: dict[str, Any] = {"kernel_size": draw(sizes(1, largest))}
    if draw(st.booleans()):
        arguments["stride"] = draw(sizes(1, 4))
    if draw(st.booleans()):
        arguments["dilation"] = draw(sizes(1, 3))
    if draw(st.booleans()):
        arguments["ceil_mode"] = draw(st.booleans())
    if draw(st.booleans()):
        excess = int(draw(st.integers(0, 9)) == 9)
        kernels, dilations = spread(arguments["kernel_size"]), spread(arguments.get("dilation", 1))
        sides = [st.integers(0, d * (k - 1) + excess) for k, d in zip(kernels, dilations, strict=True)]
        words = st.sampled_from(["same", "same_upper", "same_lower", "valid"])
        pairs = st.tuples(*[st.tuples(side, side) for side in sides])
        arguments["padding"] = draw(words | pairs | st.tuples(*sides))
    return arguments


@st.composite
def array_shapes(draw: st.DrawFn, dimensions: int, layout: str, *, batched: bool | None = None) -> tuple[int, ...]:
    """Draw the shape of a small array, with or without a batch."""
    largest = {1: 20, 2: 9, 3: 6}[dimensions]
    spatial = draw(st.tuples(*[st.integers(1, largest)] * dimensions))
    channels = (draw(st.integers(0, 3)),)
    with_batch = draw(st.booleans()) if batched is None else batched
    batch = (draw(st.integers(0, 2)),) if with_batch else ()
    return (*batch, *channels, *spatial) if layout == "channels_first" else (*batch, *spatial, *channels)


def special_values(dtype: np.dtype[Any], *, summed: bool = False) -> list[Any]:
    """List the numbers that break things: NaN, infinities, both zeros, denormals, extremes, and some that tie.

    What is `summed` stays so far below the largest number that no sum overflows.
    """
    if dtype == np.bool_:
        return [False, True]
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return [0, 1, 2, 3, 5, 6, info.max, info.min, info.max - 1]
    # The largest number and the denormals of every float dtype.
    bits, lowest = {"float16": (11, -14), "bfloat16": (8, -126), "float32": (24, -126), "float64": (53, -1022)}[
        dtype.name
    ]
    largest = (2 - 2.0 ** (1 - bits)) * 2.0 ** (1 - lowest - 12 * summed)
    tiny = 2.0 ** (lowest - bits + 1)
    ordinary = [0.0, -0.0, 1.0, 1.0, -1.0, 2.0, 0.1, 1e-3]
    return [*ordinary, tiny, -3 * tiny, largest, -largest, np.nan, np.inf, -np.inf]


def special_arrays(dtype: Any, shape: tuple[int, ...], *, summed: bool = False) -> st.SearchStrategy[Array]:
    """Draw arrays of special values, and of ordinary ones without a pattern."""
    values = np.array(special_values(dtype_of(dtype), summed=summed), dtype_of(dtype))
    special = hnp.arrays(np.intp, shape, elements=st.integers(0, len(values) - 1)).map(lambda which: values[which])
    return special | st.integers(0, 99).map(lambda seed: random_array(shape, dtype, seed))


def random_array(shape: tuple[int, ...], dtype: Any = np.float64, seed: int = 0) -> Array:
    """Make numbers of both signs without a pattern; those of float64 are exact in float32."""
    random = np.random.default_rng(seed)
    dtype = dtype_of(dtype)
    if dtype.kind in "iu":
        return random.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    numbers = random.standard_normal(shape).astype(np.float32)
    return numbers > 0 if dtype == np.bool_ else numbers.astype(dtype)


def small_array(shape: tuple[int, ...], seed: int = 0) -> Array:
    """Make whole numbers from 0 to 100, which are exact in every dtype, and so are many of their sums."""
    return np.random.default_rng(seed).integers(0, 101, shape).astype(np.float64)


def positive_array(shape: tuple[int, ...], dtype: Any = np.float64, seed: int = 0) -> Array:
    """Make positive numbers, whose sums cancel nothing; exact in float32."""
    return np.abs(random_array(shape, np.float32, seed)).astype(dtype) + np.float32(1e-3).astype(dtype)


class Geometry(NamedTuple):
    """A call that takes a certain way through the kernels: the shape in channels_first, and the windows."""

    shape: tuple[int, ...]
    windows: dict[str, Any]

    @property
    def dimensions(self) -> int:
        return len(self.shape) - 2

    @property
    def adaptive(self) -> bool:
        return "output_size" in self.windows

    @property
    def taps(self) -> int:
        """At least as many as a window has."""
        if self.adaptive:
            outputs = self.windows["output_size"]
            outputs = outputs if isinstance(outputs, tuple) else (outputs,) * self.dimensions
            return math.prod(2 + size // (o or size) for size, o in zip(self.shape[2:], outputs, strict=True))
        kernel = self.windows["kernel_size"]
        return math.prod(kernel) if isinstance(kernel, tuple) else int(kernel**self.dimensions)

    def make(self, maker: Callable[..., Array], *arguments: Any) -> tuple[Array, Callable[[Array], Array]]:
        """Make an array of at most 40 channels, which the slow reference can do, and a way to repeat it for all."""
        batch, channels, *spatial = self.shape
        few = channels if channels <= 40 else 40
        assert channels % few == 0
        repeats = (1, channels // few, *[1] * len(spatial))
        return maker((batch, few, *spatial), *arguments), lambda array: np.tile(array, repeats)

    def function(self, family: str) -> str:
        """Name the function of a family (max_pool, min_pool, avg_pool) that has such windows."""
        return f"{'adaptive_' * self.adaptive}{family}{self.dimensions}d"


def _geometry(*shape: int, **windows: Any) -> Geometry:
    return Geometry(shape, windows)


GEOMETRIES: dict[str, Geometry] = {
    # Narrow planes are stacked, many in one go, and rows are copied in pieces of 32 bytes.
    "narrow_planes_padded": _geometry(3, 19, 7, 7, kernel_size=3, stride=2, padding=1),
    "narrow_planes_as_they_lie": _geometry(2, 20, 8, 8, kernel_size=2),
    "narrow_planes_with_gaps_between_windows": _geometry(2, 20, 8, 8, kernel_size=2, stride=4),
    "narrow_planes_whose_last_column_is_dropped": _geometry(2, 20, 7, 9, kernel_size=2),
    "narrow_planes_whose_last_column_alone_is_dropped": _geometry(2, 20, 8, 9, kernel_size=2),
    "narrow_planes_ceil": _geometry(2, 9, 8, 8, kernel_size=3, stride=2, ceil_mode=True),
    "narrow_planes_asymmetric": _geometry(2, 5, 6, 11, kernel_size=(3, 4), stride=1, padding=((2, 0), (0, 3))),
    "narrow_planes_padded_on_one_side": _geometry(2, 5, 6, 11, kernel_size=3, stride=1, padding=((2, 0), (0, 1))),
    "narrow_planes_dilated": _geometry(2, 5, 9, 12, kernel_size=3, dilation=2, padding=2),
    "narrow_planes_one_cell_wide": _geometry(2, 40, 9, 1, kernel_size=(3, 1), stride=(2, 1), padding=(1, 0)),
    "narrow_planes_one_cell_high": _geometry(2, 40, 1, 9, kernel_size=(1, 3), stride=(1, 2), padding=(0, 1)),
    "narrow_planes_of_high_windows": _geometry(3, 20, 12, 4, kernel_size=(6, 2)),
    "narrow_planes_larger_than_a_stack": _geometry(1, 3, 60, 50, kernel_size=2, stride=3),
    "narrow_planes_of_64_columns": _geometry(1, 2, 6, 64, kernel_size=3, stride=1, padding=1),
    "narrow_planes_rows_followed_by_rows": _geometry(2, 20, 8, 9, kernel_size=3, stride=2, padding=((0, 1), (0, 1))),
    "narrow_planes_rows_of_odd_planes": _geometry(2, 20, 7, 9, kernel_size=3, stride=2, padding=((0, 1), (1, 1))),
    # Where rows stay as long as they are, windows slide along whole stacks of planes.
    "rows_of_one_length": _geometry(3, 20, 7, 7, kernel_size=3, stride=1, padding=1),
    "rows_of_one_length_fewer_rows": _geometry(2, 20, 9, 9, kernel_size=3, stride=(2, 1), padding=(0, 1)),
    "rows_of_one_length_dilated": _geometry(2, 20, 9, 14, kernel_size=3, stride=1, dilation=(1, 2), padding=(1, 2)),
    "rows_of_one_length_uneven": _geometry(2, 20, 9, 14, kernel_size=(3, 4), stride=1, padding=((2, 1), (0, 3))),
    # Argmaxes, and gradients of means, are found over stacks of planes or over bands of a plane.
    "bands_of_a_plane": _geometry(1, 2, 61, 90, kernel_size=3, stride=2, padding=1),
    "bands_of_two_columns": _geometry(2, 2, 13, 70, kernel_size=(3, 2), stride=(2, 1), padding=((1, 0), (0, 1))),
    "depth_of_three_columns": _geometry(
        1, 2, 6, 8, 40, kernel_size=(2, 3, 3), stride=(2, 1, 2), padding=((0, 0), (1, 1), (1, 0))
    ),
    "bands_with_phases": _geometry(1, 1, 70, 80, kernel_size=(5, 2), stride=(3, 2), padding=(2, 1)),
    "many_planes_with_gaps": _geometry(3, 20, 8, 9, kernel_size=(1, 2), stride=3),
    "many_planes_stride_3": _geometry(3, 20, 8, 10, kernel_size=(4, 5), stride=3, padding=2),
    # Long windows that overlap are put together from runs of 4, 16 and 64 taps.
    "ladder": _geometry(1, 1, 40, 45, kernel_size=(18, 13), stride=1, padding=(9, 6)),
    "ladder_of_three_rungs": _geometry(1, 1, 2, 150, kernel_size=(1, 79), stride=(1, 2), padding=(0, 39)),
    "ladder_dilated": _geometry(1, 1, 25, 80, kernel_size=(9, 8), stride=(2, 1), dilation=(2, 3)),
    "ladder_of_rows_alone": _geometry(1, 1, 40, 70, kernel_size=(16, 2), stride=(3, 1), padding=((8, 0), (0, 1))),
    "ladder_of_rows_one_by_one": _geometry(1, 2, 50, 70, kernel_size=(15, 5), stride=1, padding=(7, 2)),
    "ladder_in_narrow_planes": _geometry(1, 3, 14, 14, kernel_size=9, stride=1, padding=4),
    "ladder_in_narrow_planes_stride_2": _geometry(1, 3, 15, 17, kernel_size=(8, 9), stride=2, padding=(3, 4)),
    # Longer ones that slide by one are made in strips, from the ends of blocks of rows and the beginnings of the next.
    "strips": _geometry(1, 1, 40, 70, kernel_size=(33, 20), stride=1, padding=(16, 9)),
    "strips_of_several_blocks": _geometry(1, 2, 33, 90, kernel_size=(20, 21), stride=1, padding=((9, 1), (0, 20))),
    # Strips are 64 cells wide, and the last one may have a single cell.
    "strips_of_65_columns": _geometry(1, 1, 40, 65, kernel_size=(33, 20), stride=1, padding=(16, 9)),
    "strips_of_257_columns": _geometry(1, 1, 33, 257, kernel_size=(20, 21), stride=1, padding=((9, 1), (10, 10))),
    # Of pixels of few channels, each channel is a column.
    "strips_of_pixels": _geometry(1, 3, 33, 70, kernel_size=(20, 21), stride=1, padding=((9, 1), (10, 0))),
    # Argmaxes of long windows are found in two parts, with lines of cells in the place of single ones.
    "long_windows_dilated": _geometry(1, 1, 40, 46, kernel_size=(18, 24), dilation=2, padding=(17, 23), stride=1),
    "long_windows_with_strides": _geometry(
        1, 1, 60, 90, kernel_size=(30, 28), stride=(2, 3), padding=((9, 0), (0, 27))
    ),
    "long_windows_in_depth": _geometry(
        1, 1, 12, 13, 30, kernel_size=(5, 7, 9), stride=1, padding=((2, 0), (3, 3), (4, 4))
    ),
    "long_windows_of_one_row": _geometry(1, 1, 900, kernel_size=120, stride=1, padding=((60, 7),)),
    "long_windows_of_many_rows": _geometry(2, 20, 150, kernel_size=70, stride=1, padding=30),
    # Wider rows are pooled one band of rows at a time.
    "wide_rows_of_65_columns": _geometry(1, 2, 6, 65, kernel_size=3, stride=1, padding=1),
    "wide_rows_stride_2": _geometry(1, 2, 9, 130, kernel_size=3, stride=2, padding=1),
    "wide_rows_stride_3": _geometry(1, 2, 9, 130, kernel_size=3, stride=3),
    "wide_rows_stride_larger_than_kernel": _geometry(1, 2, 9, 130, kernel_size=2, stride=(4, 5)),
    "wide_rows_kernel_1_stride_2": _geometry(1, 2, 5, 130, kernel_size=1, stride=2),
    "wide_rows_only_height_pooled": _geometry(1, 2, 9, 100, kernel_size=(3, 1), stride=(2, 1), padding=(1, 0)),
    "wide_rows_only_width_pooled": _geometry(1, 2, 3, 100, kernel_size=(1, 3), stride=(1, 2)),
    "wide_rows_asymmetric_ceil": _geometry(
        1, 2, 8, 90, kernel_size=(3, 4), stride=(2, 3), padding=((0, 2), (3, 0)), ceil_mode=True
    ),
    "wide_rows_dilated": _geometry(1, 2, 11, 90, kernel_size=3, dilation=(2, 3), stride=(1, 2), padding=(2, 3)),
    "wide_rows_same_lower": _geometry(1, 2, 7, 90, kernel_size=(2, 5), stride=(2, 4), padding="same_lower"),
    **{
        f"kernel_of_{taps}_taps": _geometry(1, 2, taps + 4, taps + 70, kernel_size=taps, stride=(3, 5))
        for taps in (4, 5, 6, 7, 8, 9)
    },
    # A sum of more than eight roundings is held in float64.
    "kernel_so_large_that_sums_are_wider": _geometry(1, 2, 20, 75, kernel_size=(17, 13), stride=(2, 9), padding=(8, 6)),
    "narrow_planes_with_wider_sums": _geometry(2, 3, 13, 14, kernel_size=12, stride=2, padding=5),
    "depth_with_wider_sums": _geometry(1, 2, 9, 10, 11, kernel_size=9, stride=3, padding=4),
    # Sums over rows that would be of too many roundings: of 21 rows as a tree, of all planes one by one.
    "rows_with_wider_sums": _geometry(1, 2, 24, 70, kernel_size=(21, 9), stride=(2, 1), padding=4),
    "planes_with_wider_sums": _geometry(1, 2, 12, 9, 12, kernel_size=(11, 1, 5), stride=1),
    # Rows beyond one segment of 4096 cells.
    "row_of_two_segments": _geometry(1, 1, 2, 4500, kernel_size=(2, 3), stride=(2, 1), padding=(0, 1)),
    "row_of_three_segments_stride_1": _geometry(1, 1, 8300, kernel_size=2, stride=1, padding=(1,)),
    "row_of_segments_dilated": _geometry(1, 1, 9000, kernel_size=3, stride=2, dilation=700, padding=((1400, 3),)),
    "row_read_as_it_lies": _geometry(1, 2, 4501, kernel_size=3, stride=3),
    # Long windows that hardly overlap are reduced run by run.
    "runs": _geometry(1, 2, 3, 200, kernel_size=(2, 16), stride=(1, 16)),
    "runs_of_an_odd_length": _geometry(1, 3, 400, kernel_size=31, stride=25),
    "runs_padded": _geometry(1, 3, 200, kernel_size=24, stride=12, padding=((11, 20),)),
    "runs_ceil": _geometry(1, 2, 3, 100, kernel_size=(1, 17), stride=(1, 30), ceil_mode=True),
    "runs_longer_than_a_block": _geometry(1, 1, 11000, kernel_size=5000, stride=2999),
    "one_run_for_each_row": _geometry(1, 2, 6, 70, kernel_size=(3, 70), stride=1, padding=(1, 0)),
    "windows_of_whole_planes": _geometry(2, 5, 6, 7, kernel_size=(6, 7)),
    "windows_of_many_whole_planes": _geometry(2, 20, 6, 7, kernel_size=(6, 7)),
    "windows_of_many_rows": _geometry(2, 20, 6, 7, kernel_size=(1, 7)),
    # More axes.
    "depth": _geometry(2, 3, 5, 6, 7, kernel_size=2),
    "depth_padded": _geometry(1, 2, 5, 6, 7, kernel_size=3, stride=2, padding=1),
    "depth_of_wide_rows": _geometry(1, 2, 4, 5, 70, kernel_size=(2, 3, 3), stride=(1, 2, 1), padding=(1, 0, 1)),
    "depth_dilated_ceil": _geometry(1, 2, 6, 7, 8, kernel_size=2, stride=2, dilation=(3, 2, 1), ceil_mode=True),
    "depth_dilated_of_wide_rows": _geometry(1, 2, 6, 3, 70, kernel_size=(3, 2, 2), stride=1, dilation=(2, 1, 1)),
    "depth_alone": _geometry(1, 2, 6, 3, 4, kernel_size=(3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0)),
    "depth_and_width": _geometry(1, 2, 6, 3, 70, kernel_size=(3, 1, 2), stride=(2, 1, 2), padding=(1, 0, 1)),
    "depth_of_one_plane_out": _geometry(2, 2, 3, 6, 6, kernel_size=(3, 2, 2)),
    # Dilation makes windows that lie in the padding with every tap.
    "windows_without_elements": _geometry(1, 2, 2, 3, kernel_size=2, dilation=5, stride=1, padding=4),
    "windows_without_elements_on_height": _geometry(
        1, 2, 3, 80, kernel_size=(2, 3), dilation=(6, 1), stride=1, padding=(5, 1)
    ),
    "windows_without_elements_on_width": _geometry(1, 2, 70, 3, kernel_size=(3, 2), dilation=(1, 6), padding=(1, 5)),
    "windows_without_elements_on_depth": _geometry(
        1, 1, 2, 3, 70, kernel_size=2, dilation=(5, 1, 1), stride=1, padding=(4, 1, 0)
    ),
    "windows_without_elements_on_depth_of_many_planes": _geometry(
        1, 9, 1, 1, 2, kernel_size=(2, 1, 3), dilation=(3, 1, 1), stride=3, padding=((2, 1), (0, 0), (1, 0))
    ),
    # What is next to nothing.
    "one_cell": _geometry(1, 1, 1, 1, kernel_size=1),
    "identity": _geometry(2, 3, 5, 6, kernel_size=1),
    "kernel_larger_than_the_input": _geometry(2, 3, 3, 2, kernel_size=5, padding=2),
    "huge_stride": _geometry(1, 2, 5, 5, kernel_size=2, stride=2**62),
    # channels_last with few and with many channels.
    "one_channel": _geometry(2, 1, 9, 10, kernel_size=3, stride=2, padding=1),
    "three_channels": _geometry(2, 3, 9, 10, kernel_size=3, stride=1, padding=1),
    "eight_channels": _geometry(2, 8, 9, 10, kernel_size=(2, 3), stride=(3, 2), dilation=2),
    "5000_channels": _geometry(1, 5000, 2, 2, kernel_size=2, stride=1, padding=((0, 1), (0, 0))),
    "5000_channels_of_one_row": _geometry(1, 5000, 3, kernel_size=2, stride=2, padding=1),
}
"""For each path through the kernels, a call that takes it."""

ADAPTIVE: dict[str, Geometry] = {
    "adaptive_windows_of_one_size": _geometry(2, 5, 6, 8, output_size=(3, 2)),
    "adaptive_windows_of_two_sizes": _geometry(2, 5, 7, 10, output_size=(3, 4)),
    "adaptive_more_windows_than_cells": _geometry(1, 3, 5, 4, output_size=(7, 9)),
    "adaptive_wide_rows": _geometry(1, 2, 9, 200, output_size=(4, 7)),
    "adaptive_rows_that_overlap": _geometry(1, 2, 3, 130, output_size=(2, 100)),
    "adaptive_height_alone": _geometry(2, 3, 7, 6, output_size=(3, None)),
    "adaptive_width_alone": _geometry(2, 3, 6, 7, output_size=(None, 3)),
    "adaptive_row_of_segments": _geometry(1, 1, 9001, output_size=4500),
    "adaptive_windows_longer_than_a_block": _geometry(1, 1, 10001, output_size=2),
    "adaptive_depth": _geometry(1, 2, 5, 6, 7, output_size=(2, 4, 3)),
    "adaptive_whole": _geometry(2, 3, 6, 7, output_size=1),
    "adaptive_many_planes": _geometry(3, 40, 13, 13, output_size=7),
    "adaptive_many_planes_more_windows_than_cells": _geometry(2, 40, 5, 4, output_size=(7, 30)),
    "adaptive_width_of_many_planes": _geometry(2, 40, 6, 7, output_size=(3, 3)),
    "adaptive_height_of_many_planes": _geometry(2, 40, 7, 6, output_size=(3, 3)),
    "adaptive_depth_of_many_planes": _geometry(2, 20, 5, 6, 7, output_size=(3, 4, 3)),
    "adaptive_many_channels": _geometry(1, 720, 5, 4, output_size=(3, 3)),
}
"""The same where windows follow from the output size."""
PATHS = GEOMETRIES | ADAPTIVE

AVERAGED = [
    pytest.param(path, counted, id=f"{path}-{'counting' if counted else 'not_counting'}_padding")
    for path, geometry in PATHS.items()
    for counted in (True, False)
    if counted or "padding" in geometry.windows
]
"""The same for averages: whether padding counts is a question only where there is some."""


def channels_last(array: Array) -> Array:
    """Lay (N, C, *S) out as (N, *S, C)."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def laid(array: Array, layout: str) -> Array:
    """Lay (N, C, *S) out as a layout has it."""
    return array if layout == "channels_first" else channels_last(array)


def on_threads(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call a function on one thread, on two and on five, which makes the same bytes."""
    results = []
    for threads in (1, 2, 5):
        with pooling.threads(threads):
            results.append(function(*arguments, **keywords))
    first, *others = [each if isinstance(each, tuple) else (each,) for each in results]
    for other in others:
        for one, same in zip(first, other, strict=True):
            assert_same_bytes(one, same)
    return results[0]


@pytest.fixture
def always_parallel() -> Iterator[None]:
    """Let calls use several threads however small they are."""
    before = _core.set_serial_bytes(0)
    yield
    _core.set_serial_bytes(before)


# --- threads of Python --------------------------------------------------------------------------------------------


def lock_is_on() -> bool:
    """Whether a free-threaded interpreter runs with its global lock although nobody asked for that by PYTHON_GIL."""
    free = sysconfig.get_config_var("Py_GIL_DISABLED") and "PYTHON_GIL" not in os.environ
    return bool(free and getattr(sys, "_is_gil_enabled", bool)())


@pytest.fixture(scope="module", autouse=True)
def lock_stays_off() -> Iterator[None]:
    """Let no file of tests import what turns the lock on: the calls of others behind it would wait for each other."""
    yield
    assert not lock_is_on(), "a module that was imported has turned on the global lock of the interpreter"


# --- other interpreters ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def run_python(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run code or a file in a new interpreter with some environment variables set, and return what it printed."""

    folder = tmp_path_factory.mktemp("elsewhere")

    def run(*command: str, timeout: float = 120, **variables: str) -> str:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("POOLING_") and name != "OMP_NUM_THREADS"
        }
        # The package under test, wherever it was found; and behind it the tests.
        found = [Path(pooling.__file__).parents[1], Path(__file__).parents[1]]
        environment["PYTHONPATH"] = os.pathsep.join(map(str, found))
        process = subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert process.returncode == 0, process.stderr
        return process.stdout

    return run


# --- what was skipped -------------------------------------------------------------------------------------


def skips_by_reason(reports: list[Any]) -> dict[str, int]:
    """Count the skipped tests of each reason, most first."""
    reasons: dict[str, int] = {}
    for report in reports:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        # "could not import 'torch': No module named 'torch'" of one, "... is not installed" of another.
        if missing := re.match(r"could not import '([\w.]+)'", reason):
            reason = f"{missing[1].partition('.')[0]} is not installed"
        reasons[reason] = reasons.get(reason, 0) + 1
    return dict(sorted(reasons.items(), key=lambda item: -item[1]))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say why tests were skipped, in one line a reason."""
    if reports := terminalreporter.stats.get("skipped"):
        terminalreporter.section("skipped")
        for reason, count in skips_by_reason(reports).items():
            terminalreporter.write_line(f"{count:6} {reason}")


def resolved_call(function: str, array: Array, **arguments: Any) -> Any:
    """Resolve the call of a public function of extremes or means; it need not have all of the arguments."""
    row = calls.FUNCTIONS[function]
    kind: type[calls.Call] = Mean if row.operator.average else Extreme
    parameters = inspect.signature(getattr(pooling, function)).parameters
    return calls.resolved(
        kind, function, array, tuple(arguments.get(name, parameters[name].default) for name in row.names)
    )
