"""Samples: what the cases of a rule are drawn with. Operators, opsets, geometry, numbers and dtypes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pooling.numerics.inputs import dtype_named
from pooling.onnx_models.making import make_node, operator_schema

from ..inputs.case import Case, make_case
from .evidence import Setting

__all__ = [
    "FLOATS",
    "GLOBAL",
    "NEWEST",
    "OPSETS",
    "WINDOWED",
    "Samples",
    "distinct",
    "dtypes_of",
    "has_attributes",
    "positive",
    "window",
]

Generator = np.random.Generator
Numbers = NDArray[Any]
WINDOWED = ("MaxPool", "AveragePool", "LpPool")
GLOBAL = ("GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool")
FLOATS = ("float16", "float32", "float64", "bfloat16")
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
TRIES = 5000
MOST_ELEMENTS = 2048


def distinct(random: Generator, shape: Sequence[int], dtype: str = "float32") -> Numbers:
    """Draw whole numbers of either sign that are all different, and of which sums are exact."""
    count = math.prod(shape)
    return (random.permutation(count) - count // 2).reshape(shape).astype(dtype_named(dtype))


def positive(random: Generator, shape: Sequence[int], dtype: str = "float32") -> Numbers:
    """Draw whole numbers from 1 that are all different."""
    return (random.permutation(math.prod(shape)) + 1).reshape(shape).astype(dtype_named(dtype))


def dtypes_of(operator: str, opset: int = NEWEST) -> list[str]:
    """List the dtypes that an operator takes, as NumPy names them."""
    schema = operator_schema(operator, opset)
    names = [str(name).removeprefix("tensor(").removesuffix(")") for name in schema.inputs[0].types]
    found = [{"float": "float32", "double": "float64"}.get(name, name) for name in names]
    try:
        dtype_named("bfloat16")
    except ModuleNotFoundError:
        found = [name for name in found if name != "bfloat16"]
    return sorted(found)


def has_attributes(operator: str, opset: int, *attributes: str) -> bool:
    """Whether an operator has some attributes in an opset."""
    schema = operator_schema(operator, opset)
    return all(name in schema.attributes for name in attributes)


def window(size: int, stride: int | None = None, dimensions: int = 2) -> dict[str, Any]:
    """Return the attributes of square windows that lie side by side, or so many cells apart."""
    return {"kernel_shape": [size] * dimensions, "strides": [stride or size] * dimensions}


@dataclass(frozen=True)
class Geometry:
    """A shape, and the attributes of a node that pools it."""

    shape: tuple[int, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Samples:
    """What the cases of one rule are drawn with."""

    rule: str
    """The key of the rule."""
    random: Generator
    """The only source of chance."""
    confounders: Mapping[str, Callable[[Setting], bool]]
    """Rules that a geometry must not bring into play, by key, with whether they apply; the rule itself, if it is one,
    has to apply."""
    implied: tuple[str, ...] = ()
    """Those that it may bring into play nevertheless."""

    def case(
        self, operator: str, inputs: Numbers | Sequence[Numbers], opset: int = NEWEST, data: str = "", **others: Any
    ) -> Case:
        """Make a case of this rule, with the attributes of a node and other arguments of `make_case`."""
        array = inputs if isinstance(inputs, np.ndarray) else inputs[0]
        sizes = "x".join(map(str, array.shape))
        asks = "-indices" if others.get("outputs") == 2 else ""
        about = re.sub(r"[^a-z0-9]+", "-", data.lower()).strip("-")
        name = f"{operator.lower()}-{opset}-{self.rule}{asks}-{sizes}-{array.dtype.name}-{about}".rstrip("-")
        return make_case(operator, inputs, opset, name=name, data=data, rules=(self.rule,), **others)

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
        beyond_taps: bool = False,
        missing: int = 0,
        **attributes: Any,
    ) -> Geometry:
        """Draw shape and attributes until the rule applies, or `suits` where it is none of geometry.

        Parameters
        ----------
        operator, opset, dimensions
            Of the node; `dimensions` counts spatial axes.
        suits : callable
            Whether a setting will do.
        padded, asymmetric, dilated : bool
            Whether there may be padding, other padding at the end, dilation.
        apart : bool
            Whether the stride is larger than the kernel.
        beyond_taps : bool
            Whether padding may be as large as the kernel reaches, and not only as it has taps.
        missing : int
            Cells by which the input may be smaller than the kernel reaches.
        **attributes
            Of the node, besides.
        """
        allowed = {self.rule, *self.implied}
        for _ in range(TRIES):
            shape, drawn = self._drawn(dimensions, padded, asymmetric, dilated, apart, beyond_taps, missing)
            if not has_attributes(operator, opset, *drawn, *attributes):
                raise ValueError(f"{operator}-{opset} has not all of {', '.join([*drawn, *attributes])}")
            every = {**drawn, **attributes}
            setting = Setting(make_node(operator, ["x"], ["y"], **every), opset, shape)
            applying = {key for key, applies in self.confounders.items() if applies(setting)}
            if (
                setting.axes
                and applying <= allowed
                and (self.rule not in self.confounders or self.rule in applying)
                and suits(setting)
                and math.prod(shape) <= MOST_ELEMENTS
            ):
                return Geometry(shape, every)
        raise AssertionError(f"no geometry of {operator}-{opset} brings {self.rule} into play")

    def _drawn(
        self,
        dimensions: int,
        padded: bool,
        asymmetric: bool,
        dilated: bool,
        apart: bool,
        beyond_taps: bool,
        missing: int,
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
            widest = effective if beyond_taps else kernel
            begin = random.integers(0, widest)
            end = random.integers(0, widest) if asymmetric else begin
            drawn["pads"] = [*begin.tolist(), *end.tolist()]
        sizes = np.maximum(effective - missing, 1) + random.integers(0, 4, dimensions)
        planes = random.integers(1, 3, 2) if dimensions < 3 else (1, int(random.integers(1, 3)))
        return (int(planes[0]), int(planes[1]), *map(int, sizes)), drawn

    def places(
        self,
        operators: Sequence[str] = WINDOWED,
        dimensions: Sequence[int] = (1, 2, 3),
        needs: Sequence[str] = (),
        repeat: int = 1,
    ) -> Iterator[tuple[str, int, int]]:
        """Yield operators, opsets that have some attributes, and numbers of spatial axes."""
        for operator in operators:
            for opset in OPSETS[operator]:
                if has_attributes(operator, opset, *needs):
                    # Three axes are pooled by the same code in every opset.
                    for count in dimensions:
                        if count < 3 or opset == NEWEST:
                            yield from [(operator, opset, count)] * repeat

    def plain(
        self, operator: str, opset: int, dimensions: int, *, data: str = "all different", outputs: int = 1, **how: Any
    ) -> Case:
        """Make a case of a drawn geometry (`geometry`) and numbers that are all different."""
        found = self.geometry(operator, opset, dimensions, **how)
        return self.case(operator, distinct(self.random, found.shape), opset, data, outputs=outputs, **found.attributes)

    def plain_at(self, places: Iterable[tuple[str, int, int]], **how: Any) -> Iterator[Case]:
        """Yield such a case for each of these `places`."""
        for place in places:
            yield self.plain(*place, **how)
