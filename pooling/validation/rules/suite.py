"""The cases of the conformance suite, drawn from the rules: operators, opsets, geometry, numbers and dtypes."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from pooling.signs import short_repr

from ..inputs.case import Case, make_case
from . import RULES
from .evidence import Setting

__all__ = ["conformance_suite"]

Generator = np.random.Generator
Numbers = NDArray[Any]
WINDOWED = ("MaxPool", "AveragePool", "LpPool")
GLOBAL = ("GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool")
NEWEST = 22
OPSETS = {
    "MaxPool": (1, 8, 10, 11, 12, 22),
    "AveragePool": (1, 7, 10, 11, 19, 22),
    "LpPool": (2, 11, 18, 22),
    "GlobalMaxPool": (1, 22),
    "GlobalAveragePool": (1, 22),
    "GlobalLpPool": (2, 22),
    "MaxUnpool": (9, 11, 22),
}
"""The opsets that changed each operator."""
CONTESTED = frozenset(
    {
        "ceil-last-window",
        "valid-with-ceil",
        "same-output-size",
        "same-uses-effective-kernel",
        "same-lower-pads-begin",
        "asymmetric-pads",
        "pads-up-to-effective-kernel",
        "empty-window",
        "dilation",
        "dilation-in-average",
        "divisor-counts-declared-padding",
        "ceil-partial-window",
    }
)
"""Rules of geometry that a case brings into play only where it is about them."""
BRINGS = {
    "valid-with-ceil": {"ceil-partial-window"},
    "divisor-counts-declared-padding": {"ceil-partial-window"},
    "same-uses-effective-kernel": {
        "same-output-size",
        "dilation",
        "dilation-in-average",
        "pads-up-to-effective-kernel",
    },
    "same-lower-pads-begin": {"same-output-size"},
    "empty-window": {"dilation", "dilation-in-average", "pads-up-to-effective-kernel"},
    "dilation-in-average": {"dilation", "ceil-partial-window"},
    "pads-up-to-effective-kernel": {"dilation", "dilation-in-average"},
}
"""What a rule cannot be without, or need not be."""
TRIES = 5000


def conformance_suite(seed: int = 0, rules: Iterable[str] | None = None) -> tuple[Case, ...]:
    """Draw the cases of the conformance suite.

    Each case is about one rule, and its geometry brings no other contested rule into play. The oracle's answer to each
    takes milliseconds.

    Parameters
    ----------
    seed : int
        The same seed draws the same cases; those of one rule do not depend on those of another.
    rules : iterable of str, optional
        Keys of `RULES`; all of them when not given.

    Returns
    -------
    tuple of Case
        With names that are unique, in the order of the rules.

    Raises
    ------
    ValueError
        If a rule is not known.

    Examples
    --------
    >>> cases = conformance_suite(rules=["ceil-last-window"])
    >>> cases[0].rules, len({case.name for case in cases}) == len(cases)
    (('ceil-last-window',), True)
    """
    wanted = list(RULES if rules is None else rules)
    for key in wanted:
        if key not in RULES:
            raise ValueError(f"conformance_suite: rules={short_repr(key)} is not known; use one of {', '.join(RULES)}")
    return tuple(case for key in wanted for case in _Draw(key, np.random.default_rng((seed, _number(key)))).cases())


def _number(text: str) -> int:
    return zlib.crc32(text.encode())


# ---------------------------------------------------------------------------------------------------------------------
# Numbers


def distinct(random: Generator, shape: Sequence[int], dtype: str = "float32") -> Numbers:
    """Draw whole numbers of either sign that are all different, and of which sums are exact."""
    count = math.prod(shape)
    return (random.permutation(count) - count // 2).reshape(shape).astype(dtype_of(dtype))


def positive(random: Generator, shape: Sequence[int], dtype: str = "float32") -> Numbers:
    """Draw whole numbers from 1 that are all different."""
    return (random.permutation(math.prod(shape)) + 1).reshape(shape).astype(dtype_of(dtype))


def dtype_of(name: str) -> np.dtype[Any]:
    """Return a dtype by its name, that of ml_dtypes too."""
    if name == "bfloat16":
        import ml_dtypes

        narrow: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return narrow
    return np.dtype(name)


def dtypes_of(operator: str, opset: int) -> list[str]:
    """List the dtypes that an operator takes, as NumPy names them."""
    schema: Any = onnx.defs.get_schema(operator, opset, "")
    names = [str(name).removeprefix("tensor(").removesuffix(")") for name in schema.inputs[0].types]
    found = [{"float": "float32", "double": "float64"}.get(name, name) for name in names]
    try:
        dtype_of("bfloat16")
    except ModuleNotFoundError:
        found = [name for name in found if name != "bfloat16"]
    return sorted(found)


def knows(operator: str, opset: int, *attributes: str) -> bool:
    """Whether an operator has some attributes in an opset."""
    schema: Any = onnx.defs.get_schema(operator, opset, "")
    return all(name in schema.attributes for name in attributes)


# ---------------------------------------------------------------------------------------------------------------------
# Geometry


@dataclass(frozen=True)
class _Geometry:
    shape: tuple[int, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class _Draw:
    """The cases of one rule."""

    key: str
    random: Generator

    def cases(self) -> Iterator[Case]:
        """Yield them, with a number at the end of names that would be the same."""
        taken: dict[str, int] = {}
        for case in _ABOUT[self.key](self):
            taken[case.name] = taken.get(case.name, 0) + 1
            number = f"-{taken[case.name]}" if taken[case.name] > 1 else ""
            yield Case(case.name + number, case.model, case.inputs, case.data, case.rules)

    def case(
        self, operator: str, inputs: Numbers | Sequence[Numbers], opset: int = NEWEST, data: str = "", **others: Any
    ) -> Case:
        """Make a case of this rule."""
        array = inputs if isinstance(inputs, np.ndarray) else inputs[0]
        sizes = "x".join(map(str, array.shape))
        asks = "-indices" if others.get("outputs") == 2 else ""
        about = re.sub(r"[^a-z0-9]+", "-", data.lower()).strip("-")
        name = f"{operator.lower()}-{opset}-{self.key}{asks}-{sizes}-{array.dtype.name}-{about}".rstrip("-")
        return make_case(operator, inputs, opset, name=name, data=data, rules=(self.key,), **others)

    def geometry(
        self,
        operator: str,
        opset: int,
        dimensions: int,
        suits: Callable[[Setting], bool] = lambda setting: True,
        *,
        padded: bool = False,
        asymmetric: bool = False,
        dilated: bool = False,
        apart: bool = False,
        reach: int = 3,
        **attributes: Any,
    ) -> _Geometry:
        """Draw shape and attributes until the rule is at stake, or `suits` where it is none of geometry."""
        allowed = {self.key} | BRINGS.get(self.key, set())
        geometric = self.key in CONTESTED
        for _ in range(TRIES):
            shape, drawn = self._drawn(operator, dimensions, padded, asymmetric, dilated, apart, reach)
            if not knows(operator, opset, *drawn, *attributes):
                raise ValueError(f"{operator}-{opset} has not all of {', '.join([*drawn, *attributes])}")
            every = {**drawn, **attributes}
            setting = Setting(onnx.helper.make_node(operator, ["x"], ["y"], **every), opset, shape)
            at_stake = {key for key in CONTESTED if RULES[key].at_stake(setting)}
            if (
                setting.axes
                and at_stake <= allowed
                and (not geometric or self.key in at_stake)
                and suits(setting)
                and math.prod(shape) <= 2048
            ):
                return _Geometry(shape, every)
        raise AssertionError(f"no geometry of {operator}-{opset} brings {self.key} into play")

    def _drawn(
        self, operator: str, dimensions: int, padded: bool, asymmetric: bool, dilated: bool, apart: bool, reach: int
    ) -> tuple[tuple[int, ...], dict[str, Any]]:
        random = self.random
        kernel = random.integers(1, 5 if dimensions < 3 else 4, dimensions)
        strides = random.integers(1, 4, dimensions)
        if apart:
            strides = kernel + random.integers(1, 4, dimensions)
        drawn: dict[str, Any] = {"kernel_shape": kernel.tolist(), "strides": strides.tolist()}
        dilation = np.ones(dimensions, np.int64)
        if dilated:
            dilation = random.integers(1, 4, dimensions)
            drawn["dilations"] = dilation.tolist()
        effective = dilation * (kernel - 1) + 1
        if padded or asymmetric:
            widest = effective if (self.key in BRINGS and "pads" in self.key) or self.key == "empty-window" else kernel
            begin = random.integers(0, widest)
            end = random.integers(0, widest) if asymmetric else begin
            drawn["pads"] = [*begin.tolist(), *end.tolist()]
        sizes = np.maximum(effective - (2 if self.key == "empty-window" else 0), 1) + random.integers(
            0, reach + 1, dimensions
        )
        planes = random.integers(1, 3, 2) if dimensions < 3 else (1, int(random.integers(1, 3)))
        return (int(planes[0]), int(planes[1]), *map(int, sizes)), drawn

    def windowed(
        self,
        operators: Sequence[str] = WINDOWED,
        dimensions: Sequence[int] = (1, 2, 3),
        needs: Sequence[str] = (),
        repeat: int = 1,
    ) -> Iterator[tuple[str, int, int]]:
        """Yield operators, opsets that have some attributes, and numbers of spatial axes."""
        for operator in operators:
            for opset in OPSETS[operator]:
                if knows(operator, opset, *needs):
                    # Three axes are pooled by the same code in every opset.
                    for count in dimensions:
                        if count < 3 or opset == NEWEST:
                            yield from [(operator, opset, count)] * repeat

    def plain(
        self, operator: str, opset: int, dimensions: int, *, data: str = "all different", outputs: int = 1, **how: Any
    ) -> Case:
        """Make a case of a drawn geometry and numbers that are all different."""
        found = self.geometry(operator, opset, dimensions, **how)
        return self.case(operator, distinct(self.random, found.shape), opset, data, outputs=outputs, **found.attributes)


# ---------------------------------------------------------------------------------------------------------------------
# Rule by rule


def _window_count(draw: _Draw) -> Iterator[Case]:
    for place in draw.windowed():
        yield draw.plain(*place)
    for place in draw.windowed(dimensions=(1, 2)):
        yield draw.plain(*place, apart=True)


def _ceil_partial(draw: _Draw) -> Iterator[Case]:
    for place in draw.windowed(needs=["ceil_mode"]):
        yield draw.plain(*place, padded=True, ceil_mode=1)


def _ceil_last(draw: _Draw) -> Iterator[Case]:
    ramp = np.arange(1, 26, dtype=np.float32).reshape(1, 1, 5, 5)
    for operator, opset, _ in draw.windowed(needs=["ceil_mode"], dimensions=(2,)):
        window = {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 1]}
        yield draw.case(operator, ramp, opset, "1 to 25", ceil_mode=1, **window)
    for place in draw.windowed(needs=["ceil_mode"]):
        yield draw.plain(*place, padded=True, apart=True, ceil_mode=1)


def _valid_ceil(draw: _Draw) -> Iterator[Case]:
    for place in draw.windowed(needs=["ceil_mode", "auto_pad"]):
        yield draw.plain(*place, auto_pad="VALID", ceil_mode=1)


def _same_size(draw: _Draw) -> Iterator[Case]:
    for place in draw.windowed(dimensions=(1, 2)):
        yield draw.plain(*place, auto_pad="SAME_UPPER")
    for place in draw.windowed(dimensions=(1, 2)):
        yield draw.plain(*place, auto_pad="SAME_UPPER", apart=True)


def _same_dilated(draw: _Draw) -> Iterator[Case]:
    for place in draw.windowed(needs=["dilations", "auto_pad"]):
        for name in ("SAME_UPPER", "SAME_LOWER"):
            # Where the odd cell lies is a rule of its own.
            yield draw.plain(*place, dilated=True, auto_pad=name, suits=_moves_pads)


def _moves_pads(setting: Setting) -> bool:
    """Whether undilated windows would need other pads."""
    axes = setting.axes
    return any(
        (axis.output_size - 1) * axis.stride + axis.kernel_size - axis.input_size != axis.pad_begin + axis.pad_end
        for axis in axes
        if axis.dilation > 1
    )


def _same_lower(draw: _Draw) -> Iterator[Case]:
    for place in draw.windowed(repeat=1):
        yield draw.plain(*place, auto_pad="SAME_LOWER")


def _asymmetric(draw: _Draw) -> Iterator[Case]:
    for place in draw.windowed():
        yield draw.plain(*place, asymmetric=True)
    for place in draw.windowed(["AveragePool"], needs=["count_include_pad"]):
        yield draw.plain(*place, asymmetric=True, count_include_pad=1)


def _large_pads(draw: _Draw) -> Iterator[Case]:
    for place in draw.windowed(dimensions=(1, 2)):
        yield draw.plain(*place, padded=True)
    for place in draw.windowed(needs=["dilations"], dimensions=(1, 2)):
        # More than the kernel has taps, and less than it reaches.
        yield draw.plain(*place, padded=True, dilated=True, suits=_beyond_taps)


def _beyond_taps(setting: Setting) -> bool:
    return any(axis.pad_begin >= axis.kernel_size for axis in setting.axes)


def _no_element(draw: _Draw) -> Iterator[Case]:
    for opset in OPSETS["MaxPool"]:
        for dimensions in (1, 2, 3):
            found = draw.geometry("MaxPool", opset, dimensions, _is_padded, padded=True)
            array = -positive(draw.random, found.shape)
            yield draw.case("MaxPool", array, opset, "negative", **found.attributes)
    for opset in OPSETS["AveragePool"]:
        counting: list[dict[str, Any]] = [{}]
        if knows("AveragePool", opset, "count_include_pad"):
            counting += [{"count_include_pad": 0}, {"count_include_pad": 1}]
        for attributes in counting:
            for dimensions in (1, 2):
                found = draw.geometry("AveragePool", opset, dimensions, _is_padded, padded=True, **attributes)
                about = "padding counts" if attributes.get("count_include_pad") else "padding does not count"
                yield draw.case("AveragePool", positive(draw.random, found.shape), opset, about, **found.attributes)


def _is_padded(setting: Setting) -> bool:
    return setting.padded


def _empty_window(draw: _Draw) -> Iterator[Case]:
    for operator, opset, dimensions in draw.windowed(needs=["dilations"], dimensions=(1, 2)):
        yield draw.plain(operator, opset, dimensions, padded=True, dilated=True)
        if operator == "MaxPool":
            yield draw.plain(operator, opset, dimensions, padded=True, dilated=True, outputs=2)
            for name in {"int8", "uint8"} & set(dtypes_of(operator, opset)):
                found = draw.geometry(operator, opset, dimensions, padded=True, dilated=True)
                array = positive(draw.random, found.shape, name)
                yield draw.case(operator, array, opset, "from 1", **found.attributes)


def _dilation(draw: _Draw) -> Iterator[Case]:
    for place in draw.windowed(["MaxPool", "LpPool"], needs=["dilations"]):
        yield draw.plain(*place, dilated=True)
        yield draw.plain(*place, dilated=True, padded=True)


def _dilated_average(draw: _Draw) -> Iterator[Case]:
    for place in draw.windowed(["AveragePool"], needs=["dilations"]):
        for counted in (0, 1):
            yield draw.plain(*place, dilated=True, padded=True, count_include_pad=counted)
        yield draw.plain(*place, dilated=True, padded=True, suits=_overhangs, ceil_mode=1)


def _overhangs(setting: Setting) -> bool:
    return any(axis.ceil_overhang and axis.dilation > 1 for axis in setting.axes)


def _divisor(draw: _Draw) -> Iterator[Case]:
    first = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    for opset in (10, 11, 19, 22):
        window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
        yield draw.case("AveragePool", first, opset, "0 to 15", ceil_mode=1, count_include_pad=1, **window)
    for place in draw.windowed(["AveragePool"], needs=["ceil_mode", "count_include_pad"], repeat=2):
        yield draw.plain(*place, padded=True, ceil_mode=1, count_include_pad=1)


FLOATS = ("float16", "float32", "float64", "bfloat16")


def _nan(draw: _Draw) -> Iterator[Case]:
    random = draw.random
    for opset in (12, 22):
        for name in FLOATS:
            if name not in dtypes_of("MaxPool", opset):
                continue
            for tap in range(4):
                for outputs in (1, 2):
                    about = f"nan at tap {tap} of 4"
                    array = _square_with_nan(tap, name)
                    yield draw.case("MaxPool", array, opset, about, outputs=outputs, kernel_shape=[2, 2])
    for tap in range(9):
        array = positive(random, (1, 1, 9, 9))
        array[:, :, tap // 3 :: 3, tap % 3 :: 3] = np.nan
        about = f"nan at tap {tap} of 9 in every window"
        yield draw.case("MaxPool", array, NEWEST, about, kernel_shape=[3, 3], strides=[3, 3])
    for tap in range(4):
        array = positive(random, (1, 2, 16, 16))
        array[:, :, tap // 2 :: 2, tap % 2 :: 2] = np.nan
        about = f"nan at tap {tap} of 4 in every window of a wide map"
        yield draw.case("MaxPool", array, NEWEST, about, kernel_shape=[2, 2], strides=[2, 2])
    for tap in range(3):
        array = positive(random, (1, 2, 12))
        array[..., tap::3] = np.nan
        yield draw.case("MaxPool", array, NEWEST, f"nan at tap {tap} of 3", kernel_shape=[3], strides=[3])
    for shape in ((1, 1, 4), (1, 1, 4, 4), (1, 1, 2, 2, 2)):
        for outputs in (1, 2):
            array = np.full(shape, np.nan, np.float32)
            size = [2] * (len(shape) - 2)
            yield draw.case("MaxPool", array, NEWEST, "all nan", outputs=outputs, kernel_shape=size, strides=size)
    array = np.full((1, 1, 4, 4), np.nan, np.float32)
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    yield draw.case("MaxPool", array, NEWEST, "all nan with padding", **window)
    two = np.array([[[[1, np.nan], [np.nan, 2]]]], np.float32)
    yield draw.case("MaxPool", two, NEWEST, "nan twice", outputs=2, kernel_shape=[2, 2])
    for name in FLOATS:
        for tap in range(4):
            if name in dtypes_of("GlobalMaxPool", NEWEST):
                yield draw.case("GlobalMaxPool", _square_with_nan(tap, name), NEWEST, f"nan at tap {tap} of 4")


def _square_with_nan(tap: int, dtype: str) -> Numbers:
    """Return 1, 2, 3, 4 as a square, with NaN for one of them."""
    numbers: Numbers = np.arange(1, 5).astype(dtype_of(dtype))
    numbers[tap] = np.nan
    return numbers.reshape(1, 1, 2, 2)


def _minus_infinity(draw: _Draw) -> Iterator[Case]:
    for name in FLOATS:
        if name not in dtypes_of("MaxPool", NEWEST):
            continue
        for dimensions in (1, 2, 3):
            array = np.full((1, 2, *[4] * dimensions), -np.inf).astype(dtype_of(name))
            window = {"kernel_shape": [2] * dimensions, "strides": [2] * dimensions}
            yield draw.case("MaxPool", array, NEWEST, "all -inf", **window)
            pads = [1] * 2 * dimensions
            yield draw.case("MaxPool", array, NEWEST, "all -inf with padding", pads=pads, **window)
        array = np.full((1, 2, 4, 4), -np.inf).astype(dtype_of(name))
        yield draw.case("GlobalMaxPool", array, NEWEST, "all -inf")
    array = np.full((1, 1, 4, 4), -np.inf, np.float32)
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    yield draw.case("MaxPool", array, NEWEST, "all -inf", outputs=2, **window)
    yield draw.case("MaxPool", array, NEWEST, "all -inf with padding", outputs=2, pads=[1, 1, 1, 1], **window)
    least = np.full((1, 1, 4, 4), np.finfo(np.float32).min, np.float32)
    yield draw.case("MaxPool", least, NEWEST, "all the least number", outputs=2, **window)


def _ties(draw: _Draw) -> Iterator[Case]:
    random = draw.random
    for opset in (8, 12, 22):
        for dimensions in (1, 2, 3):
            sizes = (1, 2, *[6 if dimensions < 3 else 4] * dimensions)
            window = {"kernel_shape": [3] * dimensions, "strides": [1] * dimensions}
            array = random.integers(-1, 2, sizes).astype(np.float32)
            yield draw.case("MaxPool", array, opset, "ties", outputs=2, **window)
            yield draw.case("MaxPool", np.ones(sizes, np.float32), opset, "all equal", outputs=2, **window)
        zeros = np.copysign(0.0, random.standard_normal((1, 1, 6, 6))).astype(np.float32)
        yield draw.case("MaxPool", zeros, opset, "zeros of either sign", outputs=2, kernel_shape=[2, 2], strides=[2, 2])


def _indices(draw: _Draw) -> Iterator[Case]:
    ramp = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
    for opset in (8, 12, 22):
        yield draw.case("MaxPool", ramp, opset, "one window", outputs=2, kernel_shape=[3, 3])
        for dimensions in (1, 2, 3):
            for padded in (False, True):
                found = draw.geometry("MaxPool", opset, dimensions, padded=padded)
                array = distinct(draw.random, (2, 2, *found.shape[2:]))
                yield draw.case("MaxPool", array, opset, "all different", outputs=2, **found.attributes)


def _columns(draw: _Draw) -> Iterator[Case]:
    for opset in (8, 12, 22):
        ones = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
        yield draw.case("MaxPool", ones, opset, "0 to 5", outputs=2, kernel_shape=[1, 1], storage_order=1)
        for dimensions in (1, 2, 2, 3, 3):
            found = draw.geometry("MaxPool", opset, dimensions, _changes_shape)
            array = distinct(draw.random, (2, 2, *found.shape[2:]))
            yield draw.case("MaxPool", array, opset, "all different", outputs=2, storage_order=1, **found.attributes)


def _changes_shape(setting: Setting) -> bool:
    """Whether both orders of counting differ: more than one axis has more than one cell."""
    return setting.dimensions == 1 or sum(size > 1 for size in setting.shape[2:]) > 1


def _not_finite(draw: _Draw) -> Iterator[Case]:
    nan, inf = np.nan, np.inf
    numbers = {"nan": (nan, 1.0), "inf": (inf, 1.0), "-inf": (1.0, -inf), "inf and -inf": (inf, -inf)}
    for operator in ("AveragePool", "LpPool"):
        for about, pair in numbers.items():
            array = np.array(pair, np.float32)
            for opset in (11, NEWEST):
                yield draw.case(operator, array.reshape(1, 1, 2), opset, about, kernel_shape=[2])
            square = np.ones((1, 1, 4, 4), np.float32)
            square[..., 1, 1:3] = pair
            yield draw.case(operator, square, NEWEST, about, kernel_shape=[2, 2])
            yield draw.case(operator, square, NEWEST, f"{about} and padding", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    for about, pair in numbers.items():
        square = np.ones((1, 2, 2, 2), np.float32)
        square[0, 0, 0] = pair
        yield draw.case("GlobalAveragePool", square, NEWEST, about)


def _accurate(draw: _Draw) -> Iterator[Case]:
    random = draw.random
    for exponent in (14, 16):
        count = 2**exponent
        tenth, uniform = np.full(count, 0.1), random.uniform(0.5, 1, count)
        for about, numbers in (("0.1 everywhere", tenth), ("between 0.5 and 1", uniform)):
            side = math.isqrt(count)
            line, square = (numbers.astype(np.float32).reshape(shape) for shape in ((1, 1, count), (1, 1, side, side)))
            yield draw.case("AveragePool", line, NEWEST, about, kernel_shape=[count])
            yield draw.case("AveragePool", square, NEWEST, about, kernel_shape=[side, side])
            yield draw.case("GlobalAveragePool", square, NEWEST, about)
            half = square.astype(np.float16)
            yield draw.case("AveragePool", half, NEWEST, about, kernel_shape=[side, side])
            yield draw.case("GlobalAveragePool", half, NEWEST, about)


def _signs(draw: _Draw) -> Iterator[Case]:
    ramp = np.array([[[-1, -2, -3, 1, 2, 3]]], np.float32)
    for opset in OPSETS["LpPool"]:
        for p in (1, 2, 3, 4):
            yield draw.case("LpPool", ramp, opset, f"p {p}", kernel_shape=[2], strides=[2], p=p)
            found = draw.geometry("LpPool", opset, 2, lambda setting: setting.tap_count > 1)
            yield draw.case("LpPool", distinct(draw.random, found.shape), opset, f"p {p}", p=p, **found.attributes)
    for p in (1, 2, 3):
        yield draw.case("GlobalLpPool", ramp, NEWEST, f"p {p}", p=p)


def _overflow_of_norms(draw: _Draw) -> Iterator[Case]:
    for about, number in (("1e20", 1e20), ("1e-30", 1e-30), ("1e38", 1e38)):
        for p in (2, 3):
            array = np.full((1, 1, 4), number, np.float32)
            yield draw.case("LpPool", array, NEWEST, f"{about} p {p}", kernel_shape=[2], strides=[2], p=p)
            yield draw.case("GlobalLpPool", array, NEWEST, f"{about} p {p}", p=p)
    wide = np.full((1, 1, 8, 8), 1000, np.float16)
    yield draw.case("LpPool", wide, NEWEST, "1000", kernel_shape=[8, 8])


def _denormals(draw: _Draw) -> Iterator[Case]:
    for name in ("float32", "float64"):
        step = float(np.finfo(name).smallest_subnormal)
        array = (positive(draw.random, (1, 2, 6, 6)).astype(float) * 64 * step).astype(name)
        window = {"kernel_shape": [2, 2], "strides": [2, 2]}
        for operator in ("MaxPool", "AveragePool"):
            for opset in (11, NEWEST):
                yield draw.case(operator, array, opset, "denormals", **window)
                yield draw.case(operator, -array, opset, "negative denormals", pads=[1, 1, 1, 1], **window)
        for operator in GLOBAL[:2]:
            yield draw.case(operator, array, NEWEST, "denormals")


def _integers(draw: _Draw) -> Iterator[Case]:
    for name in ("int8", "uint8"):
        info = np.iinfo(name)
        for opset in (12, NEWEST):
            window = {"kernel_shape": [2, 2], "strides": [2, 2]}
            whole = draw.random.integers(info.min, info.max, (1, 2, 6, 6), name, endpoint=True)
            least = np.full((1, 1, 4, 4), info.min, name)
            for about, array in (("whole range", whole), ("all the least", least)):
                yield draw.case("MaxPool", array, opset, about, **window)
                yield draw.case("MaxPool", array, opset, f"{about} with padding", pads=[1, 1, 1, 1], **window)
                yield draw.case(
                    "MaxPool", array, opset, f"{about} with padding", outputs=2, pads=[1, 1, 1, 1], **window
                )


def _ranks(draw: _Draw) -> Iterator[Case]:
    for operator in GLOBAL[:2]:
        for opset in OPSETS[operator]:
            for shape in ((2, 3, 4), (2, 3, 4, 5), (2, 3, 2, 4, 3), (1, 1, 1), (1, 1, 1, 1)):
                yield draw.case(operator, distinct(draw.random, shape), opset, "all different")
    for operator, opset, dimensions in draw.windowed(dimensions=(1, 3)):
        yield draw.plain(operator, opset, dimensions)


def _dtypes(draw: _Draw) -> Iterator[Case]:
    for operator in ("MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool"):
        for opset in (11 if operator in WINDOWED else 1, 12, NEWEST):
            if opset == 12 and operator != "MaxPool":
                continue
            for name in dtypes_of(operator, opset):
                array = positive(draw.random, (1, 2, 4, 4), name)
                if operator in WINDOWED:
                    yield draw.case(operator, array, opset, "from 1", kernel_shape=[2, 2], strides=[2, 2])
                    if operator == "MaxPool":
                        yield draw.case(
                            operator, array, opset, "from 1", outputs=2, kernel_shape=[2, 2], strides=[2, 2]
                        )
                else:
                    yield draw.case(operator, array, opset, "from 1")


def _operators(draw: _Draw) -> Iterator[Case]:
    for opset in OPSETS["GlobalLpPool"]:
        for dimensions in (1, 2, 3):
            shape = (2, 2, *[3] * dimensions)
            yield draw.case("GlobalLpPool", distinct(draw.random, shape), opset, "p 2", p=2)
    for opset in OPSETS["MaxUnpool"]:
        yield _unpooling(draw, opset, (1, 1, 4, 4))


def _unpooling(draw: _Draw, opset: int, shape: tuple[int, ...], restored: tuple[int, ...] | None = None) -> Case:
    """Undo a max pooling of windows of 2 cells side by side; `restored` says the shape of what was pooled."""
    dimensions = len(shape) - 2
    pooled = shape[:2] + tuple(size // 2 for size in shape[2:])
    whole = restored or shape
    indices = np.empty(pooled, np.int64)
    for cell in np.ndindex(pooled):
        place = [2 * at + int(draw.random.integers(2)) for at in cell[2:]]
        indices[cell] = np.ravel_multi_index((*cell[:2], *place), whole)
    inputs = [positive(draw.random, pooled), indices]
    if restored is not None:
        inputs.append(np.array(restored, np.int64))
    about = "indices of a max pooling" if restored is None else "output_shape with a row more"
    window = {"kernel_shape": [2] * dimensions, "strides": [2] * dimensions}
    return draw.case("MaxUnpool", inputs, opset, about, **window)


def _unpool(draw: _Draw) -> Iterator[Case]:
    for opset in OPSETS["MaxUnpool"]:
        for dimensions in (1, 2, 3):
            yield _unpooling(draw, opset, (2, 2, *[4] * dimensions))
        yield _unpooling(draw, opset, (1, 1, 4, 4), (1, 1, 5, 5))
        yield _unpooling(draw, opset, (2, 2, 4, 4), (2, 2, 5, 5))


def _defaults(draw: _Draw) -> Iterator[Case]:
    for operator, opset, dimensions in draw.windowed(dimensions=(1, 2)):
        found = draw.geometry(operator, opset, dimensions, padded=True)
        kept = {name: value for name, value in found.attributes.items() if name != "strides"}
        yield draw.case(operator, distinct(draw.random, found.shape), opset, "nothing but kernel and pads", **kept)


def _empty(draw: _Draw) -> Iterator[Case]:
    for shape in ((0, 3, 4, 4), (2, 0, 4, 4), (0, 2, 6)):
        dimensions = len(shape) - 2
        window = {"kernel_shape": [2] * dimensions, "strides": [2] * dimensions}
        about = "no batch" if shape[0] == 0 else "no channels"
        for operator in WINDOWED:
            yield draw.case(operator, np.zeros(shape, np.float32), NEWEST, about, **window)
        for operator in GLOBAL:
            yield draw.case(operator, np.zeros(shape, np.float32), NEWEST, about)


def _no_window(draw: _Draw) -> Iterator[Case]:
    for operator in WINDOWED:
        for kernel, stride in ((3, 1), (3, 5), (5, 2)):
            array = np.ones((1, 1, kernel - 2), np.float32)
            yield draw.case(operator, array, NEWEST, "ones", kernel_shape=[kernel], strides=[stride])


def _overflow(draw: _Draw) -> Iterator[Case]:
    array = np.ones((1, 1, 4, 4), np.float32)
    for operator in WINDOWED:
        huge: dict[str, dict[str, Any]] = {
            "dilation 2**62": {"kernel_shape": [5, 5], "dilations": [2**62] * 2},
            "dilation 2**31 - 1": {"kernel_shape": [3, 3], "dilations": [2**31 - 1] * 2},
            "stride 2**62 and ceil": {"kernel_shape": [2, 2], "strides": [2**62] * 2, "ceil_mode": 1},
        }
        if operator == "MaxPool":
            huge |= {
                "kernel 2**31": {"kernel_shape": [2**31] * 2},
                "kernel 2**32 + 2": {"kernel_shape": [2**32 + 2] * 2},
                "stride 2**62": {"kernel_shape": [2, 2], "strides": [2**62] * 2},
            }
        for about, attributes in huge.items():
            yield draw.case(operator, array, NEWEST, about, **attributes)
    yield draw.case(
        "MaxPool", np.ones((1, 1, 4), np.float32), NEWEST, "dilation 2**62", kernel_shape=[5], dilations=[2**62]
    )


_ABOUT: Mapping[str, Callable[[_Draw], Iterator[Case]]] = {
    "window-count": _window_count,
    "ceil-partial-window": _ceil_partial,
    "ceil-last-window": _ceil_last,
    "valid-with-ceil": _valid_ceil,
    "same-output-size": _same_size,
    "same-uses-effective-kernel": _same_dilated,
    "same-lower-pads-begin": _same_lower,
    "asymmetric-pads": _asymmetric,
    "pads-up-to-effective-kernel": _large_pads,
    "padding-is-no-element": _no_element,
    "empty-window": _empty_window,
    "dilation": _dilation,
    "dilation-in-average": _dilated_average,
    "divisor-counts-declared-padding": _divisor,
    "nan-propagates": _nan,
    "minus-infinity-start": _minus_infinity,
    "first-of-ties": _ties,
    "index-convention": _indices,
    "column-major-indices": _columns,
    "average-ignores-nothing": _not_finite,
    "accurate-sums": _accurate,
    "lp-of-absolute-values": _signs,
    "lp-without-overflow": _overflow_of_norms,
    "denormals-are-numbers": _denormals,
    "extreme-integers": _integers,
    "any-rank": _ranks,
    "every-dtype": _dtypes,
    "every-operator": _operators,
    "defaults": _defaults,
    "empty-batch": _empty,
    "unpool-indices": _unpool,
    "no-window-is-refused": _no_window,
    "overflow-is-refused": _overflow,
}
"""What draws the cases of each rule."""
