"""What the tests of lowerings share: the graph of a layer or of its gradient, on small maps, against the oracle."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

import pooling
from pooling import reference
from pooling.layer import Layer
from pooling.operators import OPERATORS
from tests.conftest import FLOATS, INTEGERS, Array, assert_same, dtype_of
from tests.exported import leftovers

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from pooling.export import to_onnx, to_onnx_backward  # noqa: E402
from pooling.export.verification import run_model  # noqa: E402

ROUNDING = {"float16": 2e-3, "bfloat16": 1e-2, "float32": 2e-6, "float64": 1e-12}
"""What a sum of a few numbers may be off, relative to the largest."""


# --- maps, and what the oracle makes of them -------------------------------------------------------------------------


def drawn(shape: Sequence[int], dtype: str, *, special: bool = False, seed: int = 1) -> Array:
    """Draw numbers with ties and both signs; with NaN and infinities, or the ends of integers."""
    rng = np.random.default_rng([seed, *shape])
    if dtype == "bool":
        return rng.random(tuple(shape)) < 0.4
    if dtype in INTEGERS:
        limits = np.iinfo(dtype)
        x = rng.integers(max(limits.min, -9), 9, tuple(shape)).astype(dtype)
        far = rng.integers(limits.min, limits.max, tuple(shape), dtype=dtype, endpoint=True)
        return np.where(rng.random(tuple(shape)) < 0.3, far, x)
    x = rng.integers(-9, 10, tuple(shape)) / 2
    if special:
        odd = rng.choice([np.nan, np.inf, -np.inf], tuple(shape))
        x = np.where(rng.random(tuple(shape)) < 0.3, odd, x)
        x.reshape(*shape[:2], -1)[0, 0] = -np.inf
    return x.astype(dtype_of(dtype))


def twin(layer: Layer, *arrays: Array, backward: bool = False, **keywords: Any) -> Any:
    """Ask the oracle what a layer gives, or its gradient."""
    if layer.operator == "global_max_pool":  # for which the oracle has no rule of NaN
        layer = getattr(pooling, f"MaxPool{layer.dimensions}d")(arrays[-1].shape[2:], nan=layer.arguments["nan"])
    slow = getattr(reference, layer.function + "_backward" * backward)
    known = inspect.signature(slow).parameters  # what a result does not depend on, the oracle does not take
    if "dimensions" in known:
        keywords["dimensions"] = layer.dimensions
    with np.errstate(all="ignore"):
        return slow(*arrays, **{key: value for key, value in layer.arguments.items() if key in known}, **keywords)


def is_exact(layer: Layer) -> bool:
    return OPERATORS[layer.operator].reducer in ("greatest", "smallest", "place")


def largest(*arrays: Array) -> float:
    """Return the largest finite magnitude."""
    wide = [array.astype(np.float64) for array in arrays]
    return max(float(np.abs(array[np.isfinite(array)]).max(initial=0)) for array in wide)


def assert_agrees(found: Array, expected: Array, *given: Array, exact: bool) -> None:
    """Compare; sums of floats may differ by what they are rounded, and by what the terms that were given are."""
    name = expected.dtype.name
    if exact or name not in FLOATS:
        assert_same(found, expected)
        return
    assert found.dtype == expected.dtype
    wide = expected.astype(np.float64)
    allowed = ROUNDING[name] * largest(expected, *given) / 8
    np.testing.assert_allclose(found.astype(np.float64), wide, rtol=ROUNDING[name], atol=allowed)


def check(
    layer: Layer,
    shape: Sequence[int],
    dtype: str = "float32",
    opset: int | None = None,
    *others: Array,
    names: Sequence[int | str] | None = None,
    exact: bool = False,
    x: Array | None = None,
) -> list[str]:
    """Compare the graph of a layer with the oracle; return its operators."""
    words: Any = {"opset": opset, "special_values": "exact" if exact else "finite", "verify": False}
    model = to_onnx(layer, names or shape, dtype=dtype_of(dtype), **words)
    x = drawn(shape, dtype, special=exact) if x is None else x
    found, expected = run_model(model, [x, *others]), twin(layer, x, *others)
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert_agrees(one, other, x, exact=is_exact(layer))
    return operators_of(model)


def check_gradient(
    layer: Layer,
    shape: Sequence[int],
    dtype: str = "float32",
    opset: int | None = None,
    *others: Array,
    names: Sequence[int | str] | None = None,
    exact: bool = False,
    x: Array | None = None,
) -> list[str]:
    """Compare the graph of a gradient with the oracle; return its operators."""
    words: Any = {"opset": opset, "special_values": "exact" if exact else "finite", "verify": False}
    model = to_onnx_backward(layer, names or shape, dtype=dtype_of(dtype), **words)
    x = drawn(shape, dtype, special=exact and is_exact(layer)) if x is None else x
    result = twin(layer, x, *others)
    result = result[0] if isinstance(result, tuple) else result
    gradient = np.random.default_rng(9).integers(-4, 5, result.shape).astype(dtype_of(dtype))
    found = run_model(model, [gradient, x, *others])
    expected = twin(layer, gradient, x, *others, backward=True)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for one, other in zip(found, expected, strict=True):
        assert_agrees(one, np.asarray(other), gradient, x, exact=is_exact(layer))
    return operators_of(model)


def operators_of(model: onnx.ModelProto) -> list[str]:
    """List the operators of a model, all of which serve a result; flags have one of the two values that ONNX knows."""
    flags = [word.i for node in model.graph.node for word in node.attribute if word.name == "keepdims"]
    assert set(flags) <= {0, 1}
    assert not leftovers(model)
    return [node.op_type for node in model.graph.node]


class Case(NamedTuple):
    """A layer, what it is given, and how it is exported."""

    layer: Layer
    shape: tuple[int, ...] = (2, 2, 5, 6)
    dtype: str = "float32"
    opset: int | None = None
    exact: bool = False
    names: tuple[int | str, ...] | None = None

    def checked(self) -> list[str]:
        return check(self.layer, self.shape, self.dtype, self.opset, exact=self.exact, names=self.names)
