"""Every leaf of every table, at every level, against a loop that says what it means.

A leaf is called by its address, with memory of its own: what it may write lies between margins, which must stay as they
are, and begins anywhere between two vectors. Sums are of numbers whose sums are exact in any order.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from pooling.dispatch import available_levels, load
from tests.conftest import FLOATS, HALVES, INTEGERS, Array, dtype_of

PYX = Path(__file__).resolve().parent.parent / "pyx"
SIZE = ctypes.c_ssize_t
POINTER = ctypes.c_void_p
FLAG = ctypes.c_int
STRIP = int(re.search(r"STRIP = (\d+)", (PYX / "tuning.pxd").read_text())[1])  # type: ignore[index]
BLOCK = int(re.search(r"BLOCK = (\d+)", (PYX / "tuning.pxd").read_text())[1])  # type: ignore[index]

PAIR, INT128 = "pair", "int128"
"""A sum of numbers with the count of what is none, which is added as complex numbers are; and integers of 16 bytes."""

NUMBERS = ("storage", "value", "overlaps", "turn")
"""Fields of rows that are no leaves."""


class Leaf(NamedTuple):
    level: str
    table: str
    row: tuple[int, ...]
    # Such as "across", or "sum.across" of gradients.
    field: str
    address: int
    # What arrays hold, and what rows do.
    stored: str
    value: str
    # Of reducers, or of roundings.
    policy: str

    def __str__(self) -> str:
        return f"{self.level}-{self.table}-{self.policy}-{self.stored}-{self.value}-{self.field}"


# --- elements and memory ----------------------------------------------------------------------------------------------


def itemsize(name: str) -> int:
    return 16 if name in (PAIR, INT128) else dtype_of(name).itemsize


def packed(values: Any, name: str) -> bytes:
    if name == INT128:
        return b"".join(int(value).to_bytes(16, "little", signed=True) for value in values)
    return np.asarray(values).astype(np.complex128 if name == PAIR else dtype_of(name)).tobytes()


def unpacked(data: bytes, name: str) -> Array:
    if name == INT128:
        numbers = [int.from_bytes(data[i : i + 16], "little", signed=True) for i in range(0, len(data), 16)]
        return np.array(numbers, object)
    return np.frombuffer(data, np.complex128 if name == PAIR else dtype_of(name))


def assert_equal(found: Array, expected: Any, context: Any) -> None:
    """NaN equals NaN, and zeros of either sign are equal."""
    expected = np.asarray(expected, found.dtype)
    if found.dtype.kind == "c":
        found, expected = found.view(np.float64), expected.view(np.float64)
    if found.dtype.kind not in "iuO":
        found, expected = found.astype(np.float64), expected.astype(np.float64)
    np.testing.assert_array_equal(found, expected, f"{context}")


class Memory:
    """Elements between margins of random bytes, which begin `offset` elements behind a multiple of 64 bytes."""

    def __init__(self, values: Any, name: str, random: np.random.Generator, offset: int | None = None) -> None:
        data = packed(values, name)
        self.name = name
        self.raw = random.integers(0, 256, len(data) + 1024, np.uint8)
        offset = int(random.integers(0, 64)) if offset is None else offset
        self.begin = -self.raw.ctypes.data % 64 + 256 + offset % 16 * itemsize(name) % 256
        self.end = self.begin + len(data)
        self.raw[self.begin : self.end] = np.frombuffer(data, np.uint8)
        self.before = self.raw.copy()
        self.address = self.raw.ctypes.data + self.begin

    def values(self) -> Array:
        return unpacked(self.raw[self.begin : self.end].tobytes(), self.name)

    def assert_holds(self, expected: Any, context: Any) -> None:
        assert_equal(self.values(), expected, context)
        self.assert_margins(context)

    def assert_margins(self, context: Any) -> None:
        for part in (slice(None, self.begin), slice(self.end, None)):
            assert (self.raw[part] == self.before[part]).all(), f"{context}: wrote beyond"

    def assert_untouched(self, context: Any) -> None:
        assert (self.raw == self.before).all(), f"{context}: wrote to what it reads"


def limits(name: str) -> tuple[int, int]:
    if name == INT128:
        return -(2**127), 2**127 - 1
    return int(np.iinfo(name).min), int(np.iinfo(name).max)


def sprinkled(values: Array, special: Sequence[Any], random: np.random.Generator, share: float = 0.3) -> Array:
    """Put special values at some places."""
    chosen = np.flatnonzero(random.random(len(values)) < share)
    values[chosen] = np.array(special, values.dtype)[random.integers(len(special), size=len(chosen))]
    return values


def to_order(name: str, n: int, random: np.random.Generator) -> Array:
    """Elements to compare: ties, extremes, and of floats NaN, infinities and zeros of both signs."""
    if name in INTEGERS:
        low, high = limits(name)
        values = random.integers(max(low, -2), 3, n).astype(name)
        return sprinkled(values, [low, low + 1, high - 1, high], random)
    info = np.finfo(name)
    values = (random.integers(-2, 3, n) / 2).astype(name)
    return sprinkled(
        values, [np.nan, np.inf, -np.inf, 0.0, -0.0, info.max, info.min, info.smallest_subnormal], random, 0.4
    )


def to_sum(name: str, n: int, taps: int, random: np.random.Generator, special: bool = False) -> Array:
    """Elements whose sums, of so many, are exact in rows of them; with infinities and NaN where asked."""
    if name == PAIR:
        missing = random.integers(0, 3, n)
        return to_sum("float64", n, taps, random, special) + 1j * missing
    if name in FLOATS:
        values = (random.integers(-40, 41, n) / 8).astype(dtype_of(name))
        return sprinkled(values, [np.nan, np.inf, -np.inf, -0.0], random, 0.02 if special else 0)
    low, high = limits(name)
    largest = high // (taps + 2)
    values = np.array([int(value) for value in random.integers(-3, 4, n)], object)
    values = np.clip(values, max(low, -largest), largest)
    return sprinkled(values, [max(low, -largest), largest], random)


def stored_to_sum(leaf: Leaf, n: int, taps: int, random: np.random.Generator, special: bool) -> Array:
    """Elements as arrays hold them, extremes among them where rows hold wider integers."""
    if leaf.stored in INTEGERS:
        low, high = limits(leaf.stored)
        return sprinkled(random.integers(max(low, -3), 4, n).astype(leaf.stored), [low, high], random, 0.6)
    return to_sum(leaf.stored, n, taps, random, special)


def widened(values: Array, leaf: Leaf) -> Array:
    """What a row holds of them."""
    if leaf.value == PAIR:
        if values.dtype.kind == "c":
            return values
        numbers = values.astype(np.float64)
        return np.where(np.isnan(numbers), 0, numbers) + 1j * np.isnan(numbers)
    if leaf.value in INTEGERS or leaf.value == INT128:
        return np.array([int(value) for value in values], object)
    return values.astype(leaf.value)


COMBINE: dict[str, Callable[[Any, Any], Any]] = {
    "greatest": np.maximum,
    "greatest_number": np.fmax,
    "smallest": np.minimum,
    "smallest_number": np.fmin,
    "total": np.add,
    "total_number": np.add,
    "count_number": np.add,
}


def elements(leaf: Leaf, n: int, taps: int, random: np.random.Generator, special: bool = True) -> tuple[Array, str]:
    """Make what a leaf reads, and name its type."""
    stored = leaf.field.endswith("_stored")
    source = leaf.stored if stored else leaf.value
    if leaf.field.endswith("_plain"):
        values = to_order(source, n, random)
        return np.where(np.isnan(values), values.dtype.type(1), values), source
    if "total" not in leaf.policy and "count" not in leaf.policy:
        return to_order(source, n, random), source
    if stored and leaf.stored != leaf.value:
        return stored_to_sum(leaf, n, taps, random, special), source
    return to_sum(source, n, taps, random, special), source


def in_rows(leaf: Leaf, values: Array) -> Array:
    ordered = "total" not in leaf.policy and "count" not in leaf.policy
    return values if ordered else widened(values, leaf)


def sizes(name: str) -> tuple[int, ...]:
    """Around the elements of a vector of 32 bytes."""
    width = max(32 // itemsize(name), 2)
    return tuple(sorted({0, 1, width - 1, width, width + 1, 2 * width + 3}))


def longest(leaf: Leaf) -> float:
    """Most taps of windows that these leaves serve: of sums of small integers, those that their rows can hold."""
    if leaf.stored in INTEGERS and leaf.value in INTEGERS and "total" in leaf.policy:
        return 2.0 ** (8 * (itemsize(leaf.value) - itemsize(leaf.stored)) - 1)
    return float("inf")


# --- checks, by field -------------------------------------------------------------------------------------------------

Check = Callable[[Leaf, np.random.Generator], None]
CHECKS: dict[str, Check] = {}


def checks(*fields: str) -> Callable[[Check], Check]:
    def entered(check: Check) -> Check:
        CHECKS.update(dict.fromkeys(fields, check))
        return check

    return entered


def function(leaf: Leaf, *types: Any, result: Any = None) -> Callable[..., Any]:
    return ctypes.CFUNCTYPE(result, *types)(leaf.address)


@checks("load")
def check_load(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(leaf, POINTER, POINTER, SIZE)
    ordered = leaf.stored in HALVES and leaf.value == "int16"
    for n in (*sizes(leaf.value), 17, 33, 2**16):
        if leaf.stored in HALVES:
            values = random.permutation(2**16)[:n].astype(np.uint16).view(dtype_of(leaf.stored))
        else:
            values = (stored_to_sum if leaf.stored in INTEGERS else to_stored)(leaf, n, 1, random, True)
        src = Memory(values, leaf.stored, random)
        dst = Memory(np.zeros(n), leaf.value, random)
        call(dst.address, src.address, n)
        src.assert_untouched(leaf)
        if ordered:
            nan_above = leaf.policy in ("greatest", "smallest_number")
            dst.assert_holds(keys_of(values, 32767 if nan_above else -32768), (str(leaf), n))
        else:
            dst.assert_holds(widened(values, leaf), (str(leaf), n))


def to_stored(leaf: Leaf, n: int, _taps: int, random: np.random.Generator, _special: bool) -> Array:
    return to_order(leaf.stored, n, random)


def keys_of(halves: Array, nan: int) -> Array:
    """Whole numbers in the order of halves: their magnitude bits with their sign."""
    bits = halves.view(np.uint16).astype(int)
    keys = np.where(bits >> 15, -(bits & 0x7FFF), bits & 0x7FFF)
    return np.where(np.isnan(halves.astype(np.float64)), nan, keys)


def rounded_to(values: Array, name: str) -> Array:
    """Round doubles to the nearest of a dtype, of two the even one."""
    if name != "bfloat16":
        with np.errstate(over="ignore"):
            return values.astype(name)
    found = np.empty(len(values), np.uint16)
    for i, value in enumerate(values):
        if not np.isfinite(value):
            found[i] = 0x7FC0 if np.isnan(value) else 0x7F80 | (value < 0) << 15
            continue
        # The one towards zero, and the next: bits of bfloat16 are the upper half of those of float.
        below = np.float32(0)
        with np.errstate(over="ignore"):
            below = np.float32(value)
        if abs(float(below)) > abs(value):
            below = np.nextafter(below, np.float32(0))
        low = int(below.view(np.uint32)) >> 16
        exact, neighbours = Fraction(float(value)), []
        for bits in (low, low + 1):
            number = np.uint32(bits << 16).view(np.float32)
            limit = Fraction(2) ** 128 * (-1 if value < 0 else 1)
            neighbours.append(abs(exact - (Fraction(float(number)) if np.isfinite(number) else limit)))
        found[i] = low + (neighbours[1] < neighbours[0] or (neighbours[0] == neighbours[1] and low & 1))
    return found.view(dtype_of(name))


@checks("store")
def check_store(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(leaf, POINTER, POINTER, SIZE)
    for n in (*sizes(leaf.stored), 64, 65, 131, 3000):
        values: Array
        if leaf.value == "int16" and leaf.stored in HALVES:
            every = np.arange(2**16, dtype=np.uint16).view(dtype_of(leaf.stored))
            nan = 32767 if leaf.policy in ("greatest", "smallest_number") else -32768
            expected = random.permutation(every)[:n]
            values = keys_of(expected, nan)
        elif leaf.stored in INTEGERS:
            low, high = limits(leaf.stored)
            least, most = limits(leaf.value)
            if leaf.value == INT128:
                least, most = -(2**100), 2**100
            values = np.array([int(value) for value in random.integers(-3, 4, n)], object)
            near = [low - 1, low, high, high + 1, least, most]
            sprinkled(values, [value for value in near if least <= value <= most], random, 0.7)
            expected = np.clip(values, low, high)
        else:
            # All bits of a double or float, numbers near ties of the narrow type, and special ones.
            wide = "float32" if leaf.value == "float32" else "float64"
            values = random.integers(0, 256, n * itemsize(wide), np.uint8).view(wide)
            narrow = random.integers(0, 2**16, n, np.uint16).view(
                dtype_of(leaf.stored if leaf.stored in HALVES else "float16")
            )
            near_ties = narrow.astype(wide) * (1 + random.integers(-3, 4, n) * 2.0 ** -random.integers(8, 30, n))
            values = np.where(random.random(n) < 0.5, values, near_ties.astype(wide))
            values = sprinkled(values, [0.0, -0.0, np.inf, -np.inf, np.nan, 65519.0, 65520.0], random, 0.1)
            expected = rounded_to(values.astype(np.float64), leaf.stored)
            if leaf.value == PAIR:
                values = values + 1j * random.integers(0, 3, n)
                values.real = np.where(np.isnan(values.real), np.nan, values.real)
        src = Memory(values, leaf.value, random)
        dst = Memory(np.zeros(n), leaf.stored, random)
        call(dst.address, src.address, n)
        dst.assert_holds(expected, (str(leaf), n))
        src.assert_untouched(leaf)


@checks("across", "across_stored", "across_plain")
def check_across(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(leaf, POINTER, POINTER, SIZE, SIZE, SIZE, SIZE, SIZE, SIZE, SIZE, FLAG, POINTER)
    combine = COMBINE[leaf.policy]
    for taps, step, accumulate in itertools.product((1, 2, 3, 4, 5, 7, 8, 10), (1, 2, 3, 4), (0, 1)):
        # Pixels of three or four channels among them.
        for n in sorted({*sizes(leaf.value), 3, 4}):
            rows, stride = int(random.integers(1, 4)), int(random.choice([1, step, n + 3]))
            dst_row, src_row = n + int(random.integers(0, 3)), int(random.integers(0, 2 * n + 3))
            count = (rows - 1) * src_row + max(n - 1, 0) * step + (taps - 1) * stride + 1
            source, name = elements(leaf, count, taps, random)
            begun, _ = elements(
                leaf._replace(field=leaf.field.removesuffix("_stored")), rows * dst_row, taps, random, special=False
            )
            expected = begun.copy()
            cells = in_rows(leaf, source)
            for row in range(rows):
                result = slice(row * dst_row, row * dst_row + n)
                taken = [cells[row * src_row + tap * stride :][: n * step : step] for tap in range(taps)]
                expected[result] = functools.reduce(combine, [expected[result], *taken] if accumulate else taken)
            src, dst = Memory(source, name, random), Memory(begun, leaf.value, random)
            call(dst.address, src.address, stride, taps, n, step, rows, dst_row, src_row, accumulate, None)
            dst.assert_holds(expected, (str(leaf), taps, step, accumulate, n, rows, stride))
            src.assert_untouched(leaf)


@checks("along", "along_stored")
def check_along(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(leaf, POINTER, POINTER, SIZE, SIZE, SIZE, SIZE, FLAG, POINTER)
    combine = COMBINE[leaf.policy]
    lengths = (1, 2, 3, 4, 7, 15, 16, 17, 20, 23, 24, 27, 28, 31, 32, 33, 64, 79, 127, BLOCK - 1, BLOCK, BLOCK + 19)
    for taps in lengths:
        if taps > longest(leaf):
            continue
        for n, accumulate in itertools.product((0, 1, 3), (0, 1)):
            step, dst_step = int(random.choice([1, 2, taps])), int(random.integers(1, 4))
            source, name = elements(leaf, max(n - 1, 0) * step + taps, taps, random)
            begun, _ = elements(leaf._replace(field="along"), n * dst_step + 1, taps, random, special=False)
            expected = begun.copy()
            for x in range(n):
                window = in_rows(leaf, source[x * step :][:taps])
                result = combine.reduce(window)  # type: ignore[attr-defined]
                at = slice(x * dst_step, x * dst_step + 1)
                expected[at] = combine(expected[at], result) if accumulate else result
            src, dst = Memory(source, name, random), Memory(begun, leaf.value, random)
            call(dst.address, src.address, n, step, taps, dst_step, accumulate, None)
            dst.assert_holds(expected, (str(leaf), taps, n, step, accumulate))
            src.assert_untouched(leaf)


@checks("windows", "windows_stored")
def check_windows(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(leaf, POINTER, SIZE, POINTER, SIZE, SIZE, SIZE, POINTER, POINTER)
    combine = COMBINE[leaf.policy]
    for taps, n in itertools.product((1, 2, 3, 7), (1, 5, STRIP - 1, STRIP, STRIP + 1, 2 * STRIP + 3)):
        for outputs in range(1, taps + 1):
            lines = [elements(leaf, n, taps, random) for _ in range(taps + outputs - 1)]
            name = lines[0][1]
            dst_row = n + int(random.integers(0, 3))
            begun, _ = elements(leaf._replace(field="windows"), outputs * dst_row, taps, random, special=False)
            expected = begun.copy()
            for i in range(outputs):
                rows = [in_rows(leaf, line) for line, _ in lines[i : i + taps]]
                expected[i * dst_row : i * dst_row + n] = functools.reduce(combine, rows)
            sources = [Memory(line, name, random) for line, _ in lines]
            pointers = (POINTER * len(sources))(*(source.address for source in sources))
            ends, _ = elements(leaf._replace(field="windows"), (taps + 1) * STRIP, taps, random, special=False)
            work = Memory(ends, leaf.value, random)
            dst = Memory(begun, leaf.value, random)
            call(dst.address, dst_row, pointers, taps, outputs, n, work.address, None)
            dst.assert_holds(expected, (str(leaf), taps, outputs, n))
            work.assert_margins(leaf)
            for source in sources:
                source.assert_untouched(leaf)


@checks("mean_windows")
def check_mean_windows(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(leaf, POINTER, SIZE, POINTER, SIZE, SIZE, SIZE, POINTER, ctypes.c_double)
    for taps, n, factor in itertools.product((1, 2, 3, 7), (1, 3, 4, 15, 16, 17, 35, STRIP), (1.0, 0.125, 1 / 21)):
        for outputs in range(1, taps + 1):
            lines = [to_sum(leaf.stored, n, taps, random, special=True) for _ in range(taps + outputs - 1)]
            dst_row = n + int(random.integers(0, 3))
            expected = to_sum(leaf.stored, outputs * dst_row, taps, random)
            dst = Memory(expected, leaf.stored, random)
            for i in range(outputs):
                with np.errstate(invalid="ignore"):
                    sums = np.sum(np.array(lines[i : i + taps], leaf.value), axis=0)
                expected[i * dst_row : i * dst_row + n] = sums * factor
            sources = [Memory(line, leaf.stored, random) for line in lines]
            pointers = (POINTER * len(sources))(*(source.address for source in sources))
            work = Memory(np.zeros((taps + 1) * STRIP), leaf.value, random)
            call(dst.address, dst_row, pointers, taps, outputs, n, work.address, factor)
            dst.assert_holds(expected, (str(leaf), taps, outputs, n, factor))
            # One NaN of all there are, whatever instructions make.
            assert set(dst.values()[np.isnan(expected)].view(np.uint32)) <= {0x7FC00000}
            work.assert_margins(leaf)
            for source in sources:
                source.assert_untouched(leaf)


@checks("exchange")
def check_exchange(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(leaf, POINTER, POINTER, POINTER, SIZE)
    for n, enters, leaves in itertools.product((*sizes(leaf.stored), 130), (True, False), (True, False)):
        rows = [stored_to_sum(leaf, n, 1, random, False) for _ in range(2)]
        sums = to_sum(leaf.value, n, 2**15, random)
        src = [Memory(row, leaf.stored, random) for row in rows]
        dst = Memory(sums, leaf.value, random)
        call(dst.address, src[0].address if enters else None, src[1].address if leaves else None, n)
        expected = [total + enters * int(new) - leaves * int(old) for total, new, old in zip(sums, *rows, strict=True)]
        dst.assert_holds(np.array(expected, object), (str(leaf), n, enters, leaves))
        for row in src:
            row.assert_untouched(leaf)


def extreme(leaf: Leaf, number: bool) -> Any:
    """What loses to every other value; of floats where NaN is skipped that is NaN, but not as a `number`."""
    if "total" in leaf.policy or "count" in leaf.policy:
        return 0
    if leaf.value in FLOATS:
        if leaf.policy.endswith("_number") and not number:
            return np.nan
        return -np.inf if leaf.policy.startswith("greatest") else np.inf
    return limits(leaf.value)[leaf.policy.startswith("smallest")]


@checks("identity", "empty")
def check_fill(leaf: Leaf, random: np.random.Generator) -> None:
    """Padding leaves what it is combined with; a window of none is an infinity, the extreme of integers, or 0."""
    call = function(leaf, POINTER, SIZE, POINTER)
    value = extreme(leaf, leaf.field.endswith("empty"))
    if leaf.field.endswith("empty") and leaf.stored in HALVES and leaf.value == "int16":
        infinity = np.array([-np.inf if leaf.policy.startswith("greatest") else np.inf], dtype_of(leaf.stored))
        value = keys_of(infinity, 0)[0]
    for n in sizes(leaf.value):
        dst = Memory(np.ones(n), leaf.value, random)
        call(dst.address, n, None)
        dst.assert_holds([value] * n, (str(leaf), n))


def divisors(leaf: Leaf, random: np.random.Generator) -> Iterator[float]:
    yield from (
        1.0,
        2.0,
        3.0,
        4.0,
        7.0,
        8.0,
        9.0,
        16.0,
        49.0,
        64.0,
        1024.0,
        255.0,
        12100.0,
        2.0**31,
        2.0**53,
        -1.0,
        -3.0,
    )
    yield from (0.1, 0.5, 1.5, 2.75, 1e-3, 1e-30, 5e-324, 1e18, 3e38, 1e39, 1e300, 2.0**62)
    yield from random.random(5) * 100
    if leaf.value in FLOATS:
        yield from (0.0, -0.0, float("inf"), float("nan"))


def rounded_quotient(value: int, divisor: float, rounding: str) -> int:
    quotient = Fraction(value) / Fraction(divisor)
    whole = quotient.numerator // quotient.denominator
    if rounding == "half_even":
        return round(quotient)
    if rounding == "half_up":
        return whole + (quotient - whole >= Fraction(1, 2))
    return whole if rounding == "floor" or quotient >= 0 else -(-quotient.numerator // quotient.denominator)


def integer_sums(name: str, n: int, random: np.random.Generator) -> Array:
    # No sum has more than 112 bits.
    least, most = (-(2**112), 2**112) if name == INT128 else limits(name)
    values = np.array([int(value) for value in random.integers(-50, 51, n)], object)
    wide = [int(random.integers(-(2**62), 2**62)) % (most + 1) for _ in range(5)]
    return sprinkled(values, [least + 1, most, most // 2, least // 3, *wide, *(-value for value in wide)], random)


def to_divide(name: str, n: int, random: np.random.Generator) -> Array:
    """Sums to divide: ordinary ones, some with special values among them, and any bits; zeros of both signs in all."""
    integers = np.dtype(f"u{itemsize(name)}")
    values = to_sum(name, n, 1, random) * random.choice([1, 3, 0.1, 1 / 3])
    kind = random.integers(0, 4)
    if kind == 0:
        values = to_sum(name, n, 1, random, special=True)
    elif kind == 1:
        values = random.integers(0, np.iinfo(integers).max, n, integers, endpoint=True).view(name)
    elif kind == 2:
        # Near the least numbers.
        least = np.finfo(name).smallest_normal * 2.0 ** random.integers(-10, 40)
        values = (random.random(n) - 0.5) * least
    return sprinkled(values.astype(name), [0.0, -0.0], random, 0.1)


def assert_same_zeros(found: Array, expected: Any, context: Any) -> None:
    """Zeros have the sign that a division gives them."""
    zeros = np.asarray(expected, found.dtype) == 0
    np.testing.assert_array_equal(np.signbit(found[zeros]), np.signbit(np.asarray(expected)[zeros]), f"{context}")


@checks("divide")
def check_divide(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(leaf, POINTER, SIZE, ctypes.c_double)
    for divisor, n in itertools.product(divisors(leaf, random), (*sizes(leaf.value), 130)):
        context = (str(leaf), divisor, n)
        if leaf.value == PAIR:
            values = to_sum(PAIR, n, 1, random, special=True)
            expected = values.copy()
            expected.imag = [divisor - v if divisor or v else -1 for v in values.imag]
        elif leaf.value in FLOATS:
            values = to_divide(leaf.value, n, random)
            with np.errstate(all="ignore"):
                expected = (values.astype(np.float64) / divisor).astype(leaf.value)
        else:
            values = integer_sums(leaf.value, n, random)
            least, most = limits(leaf.value) if leaf.value != INT128 else (-(2**100), 2**100)
            exact = [rounded_quotient(value, divisor, leaf.policy) for value in values]
            expected = np.clip(np.array(exact, object), least + (leaf.value != INT128), most)
        row = Memory(values, leaf.value, random)
        call(row.address, n, divisor)
        row.assert_margins(context)
        found = row.values()
        if leaf.stored == "float32" and leaf.value == "float64":
            # Multiplied by the reciprocal: it is rounded to float afterwards.
            np.testing.assert_allclose(found, expected, 2.0**-51, 2.0**-1074, err_msg=f"{context}")
        elif leaf.value == INT128:
            # What lies beyond 64 bits cannot be stored, and may be any number that cannot.
            assert_equal(np.clip(found, -(2**65), 2**65), np.clip(expected, -(2**65), 2**65), context)
        else:
            assert_equal(found, expected, context)
            if leaf.value in FLOATS:
                assert_same_zeros(found, expected, context)


@checks("divide_each")
def check_divide_each(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(leaf, POINTER, POINTER, POINTER, SIZE)
    for n, _ in itertools.product(sizes(leaf.value), range(5)):
        counts = random.integers(1, 50, n).astype(np.float64)
        if leaf.value == PAIR or leaf.value in FLOATS:
            counts = sprinkled(counts, [0.0], random)
        else:
            counts = sprinkled(counts, [2.0**31, 2.0**24 - 1], random)
        if leaf.value == PAIR:
            values = to_sum(PAIR, n, 1, random, special=True)
            expected = values.copy()
            expected.imag = [count - v if count or v else -1 for count, v in zip(counts, values.imag, strict=True)]
        elif leaf.value in FLOATS:
            values = to_divide(leaf.value, n, random)
            with np.errstate(all="ignore"):
                expected = values / counts.astype(leaf.value)
        else:
            values = integer_sums(leaf.value, n, random)
            exact = [rounded_quotient(v, count, leaf.policy) for v, count in zip(values, counts, strict=True)]
            expected = np.array(exact, object)
        row = Memory(values, leaf.value, random)
        wide, narrow = Memory(counts, "float64", random), Memory(counts, "float32", random)
        call(row.address, wide.address, narrow.address, n)
        row.assert_holds(expected, (str(leaf), n))
        if leaf.value in FLOATS:
            assert_same_zeros(row.values(), expected, (str(leaf), n))


@checks("settle")
def check_settle(leaf: Leaf, random: np.random.Generator) -> None:
    """Of a sum and the count of its numbers, -1 where there was no element, makes what the reducer is named for."""
    call = function(leaf, POINTER, SIZE, ctypes.c_double)
    for divisor, n in itertools.product((np.nan, 1.0, 3.0, 0.1), sizes(PAIR)):
        sums = to_sum("float64", n, 1, random, special=True)
        counts = random.integers(-1, 4, n)
        with np.errstate(all="ignore"):
            if leaf.policy == "count_number":
                expected = np.maximum(counts, 0).astype(np.float64)
            elif np.isnan(divisor):
                expected = np.where(counts > 0, sums / counts, np.nan)
            else:
                expected = np.where(counts != 0, sums / divisor, np.nan)
        row = Memory(sums + 1j * counts, PAIR, random)
        call(row.address, n, divisor)
        assert_equal(row.values().real.copy(), expected, (str(leaf), divisor, n))
        row.assert_margins(leaf)


@checks("pick")
def check_pick(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(leaf, POINTER, SIZE, POINTER, SIZE, SIZE, POINTER, SIZE, FLAG, POINTER)
    for outputs, taps, wide, rows in itertools.product(range(1, 9), (2, 3), (0, 1), (1, 2, 3, 9)):
        src_row = 8 * (1 + wide) + int(random.integers(0, 9))
        source, _ = elements(leaf, (rows - 1) * src_row + 8 * (1 + wide), taps, random)
        first = random.integers(0, 8 * (1 + wide) - taps + 1, outputs)
        count = random.integers(1, taps + 1, outputs)
        places = np.full((3, 8), -1, np.int32)
        for t in range(taps):
            places[t, :outputs] = np.where(t < count, first + t, -1)
        expected = np.zeros(rows * outputs, source.dtype)
        for row, o in itertools.product(range(rows), range(outputs)):
            cells = source[row * src_row + first[o] :][: count[o]]
            expected[row * outputs + o] = functools.reduce(COMBINE[leaf.policy], cells)
        src, of_taps = Memory(source, leaf.value, random), Memory(places.ravel(), "int32", random)
        dst = Memory(np.ones(rows * outputs), leaf.value, random)
        call(dst.address, outputs, src.address, src_row, rows, of_taps.address, taps, wide, None)
        dst.assert_holds(expected, (str(leaf), outputs, taps, wide, rows))
        src.assert_untouched(leaf)


# --- indices ----------------------------------------------------------------------------------------------------------


class Taps(ctypes.Structure):
    _fields_ = [(name, SIZE) for name in ("count", "apart", "place", "ways", "way", "row")]


def replaces(best: Array, value: Array, policy: str) -> Array:
    """Whether later values take the place of the best so far."""
    better = value > best if policy.startswith("greatest") else value < best
    if policy.endswith("_number"):
        return ~np.isnan(value) & (better | np.isnan(best))
    return ~np.isnan(best) & (better | np.isnan(value))


@checks("argmax.across")
def check_argmax(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(leaf, *[POINTER] * 5, ctypes.c_int64, SIZE, SIZE, SIZE, SIZE, SIZE, FLAG, POINTER)
    for count, way, accumulate in itertools.product((1, 2, 3, 4, 5, 6, 7, 8), ("places", 1, 2, 3), (0, 1)):
        for n in sizes(leaf.value):
            placed = way == "places"
            step = 1 if placed else int(way)
            ways, rows = int(random.integers(1, 4)), int(random.integers(1, 3))
            line = max(n - 1, 0) * step + 2
            taps = Taps(count, int(random.integers(1, 3)), int(random.integers(1, 5)), ways, 0, line + 1)
            taps.way = taps.row * (1 + (count - 1) * taps.apart // ways) + 1
            src_row, dst_row, here = int(random.integers(0, 9)), n + 1, int(random.integers(0, 100))
            rungs = [t * taps.apart for t in range(count)]
            begins = [rung % ways * taps.way + rung // ways * taps.row for rung in rungs]
            size = max(begins) + line + (rows - 1) * src_row
            source = to_order(leaf.value, size, random)
            places = random.integers(0, 50, size).astype(np.int32)
            best = to_order(leaf.value, rows * dst_row, random)
            where = random.integers(-50, 0, rows * dst_row).astype(np.int32)
            expected, expected_where = best.copy(), where.copy()
            for row, t in itertools.product(range(rows), range(count)):
                result = slice(row * dst_row, row * dst_row + n)
                cells = slice(begins[t] + row * src_row, begins[t] + row * src_row + n * step, step)
                place = here + t * taps.place + (places[cells] if placed else 0)
                taken = replaces(expected[result], source[cells], leaf.policy)
                if t == 0 and not accumulate:
                    taken = np.ones(n, bool)
                expected[result] = np.where(taken, source[cells], expected[result])
                expected_where[result] = np.where(taken, place, expected_where[result])
            src, of_src = Memory(source, leaf.value, random), Memory(places, "int32", random)
            dst, indices = Memory(best, leaf.value, random), Memory(where, "int32", random)
            call(
                dst.address, indices.address, src.address, of_src.address if placed else None, ctypes.byref(taps),
                here, n, step, rows, dst_row, src_row, accumulate, None,
            )  # fmt: skip
            context = (str(leaf), count, way, accumulate, n, rows, ways)
            dst.assert_holds(expected, context)
            indices.assert_holds(expected_where, context)
            src.assert_untouched(leaf)


class AcrossRow(ctypes.Structure):
    _fields_ = [(name, SIZE) for name in ("outputs", "begin", "end", "stride", "pad", "taps", "size")]


@checks("winners")
def check_winners(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(
        leaf, POINTER, POINTER, POINTER, POINTER, FLAG, ctypes.POINTER(AcrossRow), ctypes.c_int64, POINTER
    )  # fmt: skip
    for taps, stride, pad, over, count in itertools.product((2, 3), (1, 2), (0, 1, 2), (0, 1), (1, 2, 3, 9)):
        pad, over = min(pad, taps - 1), min(over, taps - 1)
        whole = int(random.choice([16, 17, 31, 32, 33, 40]))
        # Outputs before the first whole window, and a window or none that looks beyond the end.
        before = -(-pad // stride)
        size = (before + whole - 1) * stride - pad + taps + (stride - over if over else 0)
        outputs = before + whole + (over > 0)
        rows = [to_order(leaf.value, size, random) for _ in range(count)]
        places = np.cumsum(random.integers(size, size + 9, count))
        places -= places[0]
        expected, indices = np.zeros(outputs, rows[0].dtype), np.full(outputs, -1)
        for row, tap in itertools.product(range(count), range(taps)):
            at = np.arange(outputs) * stride - pad + tap
            value = rows[row][np.clip(at, 0, size - 1)]
            taken = (at >= 0) & (at < size) & ((indices < 0) | replaces(expected, value, leaf.policy))
            expected = np.where(taken, value, expected)
            indices = np.where(taken, 2**40 + places[row] + at, indices)
        memories = [Memory(row, leaf.value, random) for row in rows]
        lines = (POINTER * count)(*(memory.address for memory in memories))
        across = AcrossRow(outputs, before, before + whole, stride, pad, taps, size)
        for wanted in (True, False):
            dst = Memory(np.zeros(outputs), leaf.value, random)
            index_memory = Memory(np.zeros(outputs), "int64", random)
            begins = Memory(places, "int32", random)
            call(
                dst.address if wanted else None, index_memory.address, lines, begins.address, count,
                ctypes.byref(across), 2**40, None,
            )  # fmt: skip
            context = (str(leaf), taps, stride, pad, over, count, whole)
            index_memory.assert_holds(indices, context)
            if wanted:
                dst.assert_holds(expected, context)
            for memory in memories:
                memory.assert_untouched(leaf)


@checks("take_wide")
def check_take(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(leaf, POINTER, POINTER, POINTER, ctypes.c_int64, SIZE, SIZE, POINTER)
    for n, step, here in itertools.product(sizes(leaf.value), (1, 2, 3), (0, 2**40)):
        source = to_order(leaf.value, max(n - 1, 0) * step + 1, random)
        best = to_order(leaf.value, n, random)
        where = random.integers(2**35, 2**39, n)
        taken = replaces(best, source[: n * step : step], leaf.policy)
        src, dst, indices = (
            Memory(source, leaf.value, random), Memory(best, leaf.value, random), Memory(where, "int64", random)
        )  # fmt: skip
        call(dst.address, indices.address, src.address, here, n, step, None)
        dst.assert_holds(np.where(taken, source[: n * step : step], best), (str(leaf), n, step))
        indices.assert_holds(np.where(taken, here, where), (str(leaf), n, step))
        src.assert_untouched(leaf)


@checks("first_equal")
def check_first_equal(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(leaf, POINTER, SIZE, POINTER, result=SIZE)
    for n in (*sizes(leaf.value), 40, 75):
        source = to_order(leaf.value, n, random)
        for value in (*source[:1], *source[-1:], *to_order(leaf.value, 6, random)):
            equal = np.isnan(source) if value != value else source == value
            src, held = Memory(source, leaf.value, random), Memory([value], leaf.value, random)
            found = call(src.address, n, held.address)
            assert found == (int(np.argmax(equal)) if equal.any() else n), (str(leaf), n, value)


# --- gradients --------------------------------------------------------------------------------------------------------


def gradients(leaf: Leaf, n: int, random: np.random.Generator) -> Array:
    return to_sum(leaf.value, n, 1, random, special=True)


@checks("add_spread")
def check_add_spread(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(leaf, POINTER, POINTER, SIZE, SIZE)
    for n, step in itertools.product(sizes(leaf.value), (1, 2, 3, 5)):
        source, begun = gradients(leaf, n, random), gradients(leaf, n * step + 1, random)
        expected = begun.copy()
        for x in range(n):
            expected[x * step] += source[x]
        src, dst = Memory(source, leaf.value, random), Memory(begun, leaf.value, random)
        call(dst.address, src.address, n, step)
        dst.assert_holds(expected, (str(leaf), n, step))


@checks("repeat")
def check_repeat(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(leaf, POINTER, POINTER, SIZE, SIZE)
    for n, times in itertools.product(sizes(leaf.value), (1, 2, 3, 4, 5, 9)):
        source = gradients(leaf, n, random)
        src, dst = Memory(source, leaf.value, random), Memory(np.ones(n * times), leaf.value, random)
        call(dst.address, src.address, n, times)
        dst.assert_holds([source[i // times] for i in range(n * times)], (str(leaf), n, times))


@checks("add_run")
def check_add_run(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(leaf, POINTER, POINTER, SIZE)
    for n in sizes(leaf.value):
        source, begun = gradients(leaf, 1, random), gradients(leaf, n, random)
        src, dst = Memory(source, leaf.value, random), Memory(begun, leaf.value, random)
        call(dst.address, src.address, n)
        dst.assert_holds(begun + source[0], (str(leaf), n))


@checks("interleave")
def check_weave(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(leaf, POINTER, POINTER, SIZE, SIZE, SIZE)
    for n, ways in itertools.product(sizes(leaf.value), (1, 2, 3, 5)):
        apart = n + int(random.integers(0, 4))
        source = gradients(leaf, ways * apart + n, random)
        src, dst = Memory(source, leaf.value, random), Memory(np.ones(n * ways), leaf.value, random)
        call(dst.address, src.address, apart, n, ways)
        expected = [source[i % ways * apart + i // ways] for i in range(n * ways)]
        dst.assert_holds(expected, (str(leaf), n, ways))


@checks("scatter", "scatter_runs")
def check_scatter(leaf: Leaf, random: np.random.Generator) -> None:
    runs = leaf.field == "scatter_runs"
    result, flags = (None, []) if runs else (SIZE, [FLAG, FLAG])
    call = function(leaf, POINTER, POINTER, POINTER, *[SIZE] * 5, *flags, result=result)
    for outputs, inner, checked, skip in itertools.product((0, 1, 7, 40), (1, 2, 5), (0, 1), (0, 1)):
        channels, first, cells = int(random.integers(1, inner + 1)), int(random.integers(0, 5)), 6
        n = outputs * channels
        index = np.repeat(random.integers(first, first + cells, n), 3)[:n]
        index = sprinkled(index, [-1, first - 1, first + cells, 2**62, -(2**63), 2**63 - 1], random, 0.2)
        source, begun = gradients(leaf, n, random), gradients(leaf, (cells - 1) * inner + channels, random)
        expected, outside = begun.copy(), []
        for at in range(n):
            cell = int(index[at]) - first
            if 0 <= cell < cells:
                expected[cell * inner + at % channels] += source[at]
            elif not (skip and index[at] == -1):
                outside.append(at)
        src, dst = Memory(source, leaf.value, random), Memory(begun, leaf.value, random)
        indices = Memory(index, "int64", random)
        bad = call(
            dst.address, src.address, indices.address, n, inner, channels, first, cells,
            *([] if runs else [checked, skip]),
        )  # fmt: skip
        dst.assert_holds(expected, (str(leaf), outputs, inner, channels))
        if not runs:
            assert bad == (outside[0] if checked and outside else -1)


@checks("scatter_four")
def check_scatter_four(leaf: Leaf, random: np.random.Generator) -> None:
    call = function(leaf, POINTER, POINTER, POINTER, SIZE, SIZE, SIZE, FLAG, FLAG, result=SIZE)
    for n, cells, checked, skip, wrong in itertools.product((0, 1, 7, 40), (1, 9), (0, 1), (0, 1), (0.0, 0.02, 0.3)):
        apart = n + int(random.integers(0, 4))
        count = 3 * apart + n
        index = sprinkled(random.integers(0, cells, count), [-1, cells, -(2**40), 2**63 - 1], random, wrong)
        source, begun = gradients(leaf, count, random), gradients(leaf, 4 * cells, random)
        expected, outside = begun.copy(), []
        for plane in range(4):
            for at in range(plane * apart, plane * apart + n):
                if 0 <= index[at] < cells:
                    expected[plane * cells + index[at]] += source[at]
                elif not (skip and index[at] == -1):
                    outside.append(at)
        src, dst = Memory(source, leaf.value, random), Memory(begun, leaf.value, random)
        indices = Memory(index, "int64", random)
        bad = call(dst.address, src.address, indices.address, n, apart, cells, checked, skip)
        dst.assert_holds(expected, (str(leaf), n, cells))
        assert bad == (outside[0] if checked and outside else -1)


# --- every entry ------------------------------------------------------------------------------------------------------


def name_of(numbers: dict[str, int], number: int) -> str:
    """Two names may stand for one number: bool is held as uint8."""
    return next(name for name, own in numbers.items() if own == number and name != "bool")


def types_of(kernels: Any, table: str, row: tuple[int, ...]) -> tuple[str, str, str]:
    """What the arrays and the rows of a table's row hold, and its reducer or rounding."""
    if table in ("DIVIDE", "DIVIDE_EACH"):
        width = ("int16", "int32", "int64", INT128)[row[1]]
        return width, width, name_of(kernels.ROUNDINGS, row[0])
    stored, _, wide = name_of(kernels.KINDS, row[-1]).partition("->")
    policy = "total" if table in ("SHORT_SUMS", "GRADIENTS") else name_of(kernels.REDUCERS, row[0])
    if table == "SHORT_SUMS":
        return stored, ("int16", "int32")[row[0]], policy
    if policy in ("total_number", "count_number"):
        return stored, PAIR, policy
    if policy != "total":
        return stored, "int16" if stored in HALVES else stored, policy
    if stored in INTEGERS:
        return stored, INT128 if stored.endswith("64") else "int64", policy
    return stored, wide or ("float32" if stored in HALVES else stored), policy


def entries(level: str) -> Iterator[Leaf]:
    """Every function of every table."""
    kernels = load(level)
    for table, rows in kernels.leaf_tables().items():
        for row, fields in rows.items():
            own = {name: value for name, value in fields.items() if name not in {"sum", *NUMBERS}}
            summed = {f"sum.{name}": value for name, value in fields.get("sum", {}).items()}
            summed = {name: value for name, value in summed.items() if name[4:] not in NUMBERS}
            for field, address in {**own, **summed}.items():
                if address:
                    yield Leaf(level, table, row, field, address, *types_of(kernels, table, row))


LEAVES = [leaf for level in available_levels() for leaf in entries(level)]


def check_of(leaf: Leaf) -> Check:
    name = leaf.field.removeprefix("sum.")
    return CHECKS["argmax.across" if (leaf.table, name) == ("ARGMAX", "across") else name]


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_every_leaf_means_what_its_loop_says(leaf: Leaf) -> None:
    with np.errstate(all="ignore"):
        check_of(leaf)(leaf, np.random.default_rng(len(str(leaf))))


@pytest.mark.parametrize("beside", [-1, 0])
def test_a_byte_beside_what_may_be_written_is_noticed(beside: int) -> None:
    memory = Memory(np.ones(5), "float32", np.random.default_rng(0))
    memory.assert_holds(np.ones(5), "as it was")
    memory.raw[memory.begin - 1 if beside else memory.end] ^= 1
    with pytest.raises(AssertionError, match="wrote beyond"):
        memory.assert_holds(np.ones(5), "changed")


@pytest.mark.parametrize("level", available_levels())
def test_no_table_no_row_and_no_field_is_left_out(level: str) -> None:
    """The tables that the kernels declare are those that are tested, with all fields that are functions."""
    kernels = load(level)
    structs = {
        name: {field for line in re.findall(r"^ +\w+_fn (.+)$", body, re.M) for field in line.split(", ")}
        for name, body in re.findall(r"^cdef struct (\w+):\n((?: .*\n|\n)+)", (PYX / "leaves.pxi").read_text(), re.M)
    }
    structs["gradient_t"] |= {f"sum.{field}" for field in structs["leaves_t"]}
    counts = {"REDUCERS_": len(kernels.REDUCERS), "KINDS_": len(set(kernels.KINDS.values())), "TOTAL + 1": 5}
    declared = re.findall(r"^cdef (\w+)_(?:t|fn) ([A-Z_]+)((?:\[[^]]+\])+)$", (PYX / "tables.pxi").read_text(), re.M)
    tables = kernels.leaf_tables()
    assert {name for _, name, _ in declared} == set(tables)
    for kind, name, extents in declared:
        sides = [counts.get(side) or int(side) for side in re.findall(r"\[([^]]+)\]", extents)]
        assert set(tables[name]) == set(itertools.product(*map(range, sides)))
        for fields in tables[name].values():
            numbers = {"sum", *NUMBERS}
            own = {*fields} - numbers | {f"sum.{field}" for field in {*fields.get("sum", {})} - numbers}
            assert own == structs.get(f"{kind}_t", {kind}), name


def test_sizes_in_the_tables_are_those_of_their_types() -> None:
    for level in available_levels():
        kernels = load(level)
        for table, rows in kernels.leaf_tables().items():
            for row, fields in rows.items():
                told = fields.get("sum", fields)
                if told.get("storage"):
                    stored, value, _ = types_of(kernels, table, row)
                    assert (told["storage"], told["value"]) == (itemsize(stored), itemsize(value)), (table, row)


def test_bytes_are_turned_so_that_the_greatest_unsigned_one_is_looked_for() -> None:
    for level in available_levels():
        kernels = load(level)
        turns = {
            (table, *row): fields["turn"]
            for table, rows in kernels.leaf_tables().items()
            for row, fields in rows.items()
            if fields.get("across") and "turn" in fields
        }
        kinds, reducers = kernels.KINDS, kernels.REDUCERS
        orders = {"greatest": 1, "greatest_number": 1, "smallest": -1, "smallest_number": -1}
        for dtype in ("uint8", "int8"):
            values = np.arange(256, dtype=np.uint8).view(dtype)
            for name, sign in orders.items():
                turned = values.view(np.uint8) ^ np.uint8(turns.pop(("LEAVES", reducers[name], kinds[dtype])))
                np.testing.assert_array_equal(np.argsort(turned), np.argsort(sign * values.astype(int)))
            summed = values.view(np.uint8) ^ np.uint8(turns.pop(("SHORT_SUMS", 0, kinds[dtype])))
            np.testing.assert_array_equal(summed.astype(int) - values, 128 if dtype == "int8" else 0)
        assert set(turns.values()) == {-1}
