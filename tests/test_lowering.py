"""Each pooling and its gradient as a graph, on small maps, against the oracle: quick, family by family."""

from __future__ import annotations

import inspect
import math
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
WIDE = {"kernel_size": 2, "dilation": 3, "padding": 3}
"""Windows some of which have no element."""


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


def assert_agrees(found: Array, expected: Array, *, exact: bool) -> None:
    """Compare; sums of floats may differ by what they are rounded."""
    name = expected.dtype.name
    if exact or name not in FLOATS:
        assert_same(found, expected)
        return
    assert found.dtype == expected.dtype
    wide = expected.astype(np.float64)
    largest = np.abs(wide[np.isfinite(wide)]).max(initial=1)
    np.testing.assert_allclose(found.astype(np.float64), wide, rtol=ROUNDING[name], atol=ROUNDING[name] * largest / 8)


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
        assert_agrees(one, other, exact=is_exact(layer))
    return operators_of(model)


def check_gradient(
    layer: Layer,
    shape: Sequence[int],
    dtype: str = "float32",
    opset: int | None = None,
    *others: Array,
    names: Sequence[int | str] | None = None,
    exact: bool = False,
) -> list[str]:
    """Compare the graph of a gradient with the oracle; return its operators."""
    words: Any = {"opset": opset, "special_values": "exact" if exact else "finite", "verify": False}
    model = to_onnx_backward(layer, names or shape, dtype=dtype_of(dtype), **words)
    x = drawn(shape, dtype, special=exact and is_exact(layer))
    result = twin(layer, x, *others)
    result = result[0] if isinstance(result, tuple) else result
    gradient = np.random.default_rng(9).integers(-4, 5, result.shape).astype(dtype_of(dtype))
    found = run_model(model, [gradient, x, *others])
    expected = twin(layer, gradient, x, *others, backward=True)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for one, other in zip(found, expected, strict=True):
        assert_agrees(one, np.asarray(other), exact=is_exact(layer))
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


FREE = ("N", "C", "H", "W")


# --- maxima ----------------------------------------------------------------------------------------------------------

MAXIMA = [
    *[Case(pooling.MaxPool2d(3, 2, 1), opset=opset, exact=True) for opset in (7, 9, 13, None)],
    *[
        Case(kind(3, 2, 1, return_indices=True, nan=nan), dtype=dtype, opset=opset, exact=True)
        for kind in (pooling.MaxPool2d, pooling.MinPool2d)
        for nan in ("propagate", "ignore")
        for dtype, opset in (("float32", 13), ("float64", 12), ("float16", None))
    ],
    *[
        Case(kind(2, 2, return_indices=True), dtype=dtype, opset=opset)
        for kind in (pooling.MaxPool2d, pooling.MinPool2d)
        for dtype in ("int8", "uint8", "bool", "int32", "uint32", "int64", "uint64", "bfloat16")
        for opset in ((11, None) if dtype in ("int8", "int64") else (None,))
    ],
    *[
        Case(kind(**WIDE, return_indices=True), (1, 2, 2, 7), dtype, exact=True)
        for kind in (pooling.MaxPool2d, pooling.MinPool2d)
        for dtype in ("float32", "int32", "uint64", "int64", "bool")
    ],
    Case(pooling.MaxPool2d(**WIDE, return_indices=True), names=FREE, exact=True),
    Case(pooling.MaxPool2d(**WIDE), names=FREE),
    *[
        Case(pooling.MaxPool2d(3, 2, "same_lower", return_indices=indexed), names=FREE, exact=exact)
        for indexed in (False, True)
        for exact in (False, True)
    ],
    Case(pooling.MaxPool2d(3, 2, "same_upper", return_indices=True), opset=10),
    Case(pooling.MaxPool2d(3, 2, 1, 2, True, True), opset=9, exact=True),
    Case(pooling.MaxPool2d(3, 2, 1, 2, True, True), opset=10, exact=True),
    *[Case(pooling.MaxPool2d(2), dtype="float64", opset=opset) for opset in (7, 8)],
    Case(pooling.MaxPool1d(2, 1, return_indices=True), (2, 2, 5), exact=True),
    Case(pooling.MaxPool3d(2, 1, return_indices=True), (1, 2, 3, 4, 2)),
    Case(pooling.AdaptiveMaxPool2d((3, 4), return_indices=True), exact=True),
    Case(pooling.AdaptiveMaxPool2d((3, 4), return_indices=True), dtype="int64", names=FREE),
    Case(pooling.AdaptiveMaxPool2d(1, return_indices=True), names=FREE, exact=True),
    Case(pooling.AdaptiveMaxPool2d(1), names=FREE),
    Case(pooling.AdaptiveMaxPool2d(1), names=(2, 2, 5, "W"), dtype="float64"),
    *[
        Case(pooling.GlobalMaxPool2d(nan="ignore"), dtype=dtype, exact=exact)
        for dtype in ("float32", "float64", "bfloat16", "int64", "uint64", "int8")
        for exact in (False, True)
    ],
    Case(pooling.GlobalMaxPool1d(), (2, 2, 4), "float16", exact=True),
    Case(pooling.GlobalMaxPool2d(), opset=7, exact=True),
]


@pytest.mark.parametrize("case", MAXIMA, ids=str)
def test_maxima(case: Case) -> None:
    case.checked()


@pytest.mark.parametrize("kind", [pooling.MaxPool2d, pooling.MinPool2d])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("opset", [10, 13])
def test_windows_of_the_least_number_have_a_place(kind: type[Layer], dtype: str, opset: int) -> None:
    most = float(np.finfo(dtype).max)
    least = most if kind is pooling.MinPool2d else -most
    for exact in (False, True):
        for padding in (0, 1):
            x = np.full((1, 2, 4, 4), least, dtype)
            x[0, 1, 1, 2] = x[0, 0, 3, 3] = np.nan if exact else least
            check(kind(2, 2, padding, return_indices=True), x.shape, dtype, opset, exact=exact, x=x)


def test_integers_at_their_ends() -> None:
    for dtype in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"):
        limits = np.iinfo(dtype)
        numbers = [limits.min, limits.min + 1, limits.max - 1, limits.max, 0, 1, limits.max // 2, limits.max // 2 + 1]
        x = np.array(numbers, dtype).reshape(1, 1, 2, 4)
        for layer in (pooling.MaxPool2d(2, 1), pooling.MinPool2d(2, 1), pooling.MaxPool2d((2, 1), 1)):
            check(layer, x.shape, dtype, x=x)


# --- indices ---------------------------------------------------------------------------------------------------------

CONVENTIONS = ("torch", "onnx", "onnx_column_major", "tensorflow")


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("names", [None, ("N", 2, None, None, None), (None, "C", None, None, None), tuple("NCDHW")])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_indices_of_every_convention(convention: str, names: Any, dimensions: int) -> None:
    shape = (3, 2, 4, 3, 5)[: 2 + dimensions]
    named = shape if names is None else tuple(a or b for a, b in zip(names, shape, strict=False))
    x = drawn(shape, "float32")
    for kind, arguments in (("MaxPool", (2, 1)), ("MaxPool", (3, 2, "same_lower")), ("AdaptiveMaxPool", (2,))):
        layer = getattr(pooling, f"{kind}{dimensions}d")(*arguments, return_indices=True)
        model = to_onnx(layer, named, indices=convention, verify=False)  # type: ignore[arg-type]
        found = run_model(model, [x])[1]
        assert_same(found, reference.convert_indices(twin(layer, x)[1], shape, source="torch", target=convention))


def test_indices_have_no_nodes_that_change_nothing() -> None:
    def nodes(pool: str, arguments: Any, convention: Any, shape: Any) -> list[str]:
        layer = getattr(pooling, pool)(*arguments, return_indices=True)
        model = to_onnx(layer, shape, dtype="int32", indices=convention, verify=False)
        found = [node.op_type for node in model.graph.node]
        return found[found.index("MaxPool") + 1 :]

    back = ["Cast"]
    assert nodes("MaxPool2d", (2,), "onnx", (2, 3, 4, 6)) == back
    assert nodes("MaxPool2d", (2,), "torch", (2, 3, 4, 6)) == ["Mod", *back]
    assert nodes("MaxPool2d", (2,), "tensorflow", (2, 3, 4, 6)) == ["Mod", "Identity", "Mul", "Add", *back]
    column_major = ["Div", "Mod", "Mul", "Add"]
    assert nodes("MaxPool1d", (2,), "onnx_column_major", (2, 3, 4)) == ["Mod", "Sub", "Add", *back]
    assert nodes("MaxPool2d", (2,), "onnx_column_major", (2, 3, 4, 6)) == ["Mod", "Sub", *column_major, "Add", *back]
    three = ["Mod", "Sub", "Div", "Div", "Mod", "Mul", "Add", "Mod", "Mul", "Add", "Add", *back]
    assert nodes("MaxPool3d", (2,), "onnx_column_major", (2, 3, 4, 6, 8)) == three
    # Of sizes 1 too; the first axis runs fastest.
    follows = nodes("MaxPool2d", (3, 2, "same_lower"), "torch", (2, 3, 4, "W"))
    assert [each for each in follows if each in ("Div", "Mod", "Sub", "Mul")] == ["Div", "Mod", "Mul", "Mod", "Sub"]
    fixed = to_onnx(pooling.MaxPool2d(2, return_indices=True), ("N", "C", 4, 6), indices="tensorflow", verify=False)
    assert "Range" in [node.op_type for node in fixed.graph.node]


@pytest.mark.parametrize("opset", [11, 17, 18, 19])
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_unpooling_takes_indices_of_every_convention(convention: str, dimensions: int, opset: int) -> None:
    whole = (2, 3, 4, 5, 3)[: 2 + dimensions]
    pooled = (2, 3, 3, 1, 3)[: 2 + dimensions]
    layer = getattr(pooling, f"MaxUnpool{dimensions}d")(2)
    rng = np.random.default_rng(dimensions)
    index = rng.integers(0, math.prod(whole[2:]), pooled)
    index.flat[:2] = index.flat[2]  # of elements of one index, the last stays
    x, gradient = drawn(pooled, "float32", seed=3), drawn(whole, "float32", seed=4)
    named = reference.convert_indices(index, whole, source="torch", target=convention)
    keywords: Any = {"indices": convention, "output_size": whole[2:], "opset": opset, "verify": False}
    for shape in (pooled, ("N", *pooled[1:])):
        model = to_onnx(layer, shape, **keywords)
        # Since opset 18 the graph says which element stays.
        assert ("GatherElements" in operators_of(model)) == (opset >= 18)
        assert_same(run_model(model, [x, named])[0], twin(layer, x, index, output_size=whole[2:]))
        found = run_model(to_onnx_backward(layer, shape, **keywords), [gradient, x, named])[0]
        assert_same(found, twin(layer, gradient, x, index, output_size=whole[2:], backward=True))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "uint8", "int64"])
def test_unpooling_of_every_type(dtype: str) -> None:
    index = np.array([[[[0, 3], [10, 15]]]])
    for opset in (None, 13):
        check(pooling.MaxUnpool2d(2), (1, 1, 2, 2), dtype, opset, index)


@pytest.mark.parametrize(("opset", "scatter"), [(9, "Scatter"), (10, "Scatter"), (11, "ScatterElements")])
def test_unpooling_before_scatter_had_its_present_name(opset: int, scatter: str) -> None:
    index = np.array([[[[0, 3], [10, 15]]]])
    assert scatter in check(pooling.MaxUnpool2d(2), (1, 1, 2, 2), "float32", opset, index)


# --- means -----------------------------------------------------------------------------------------------------------

MEANS = [
    *[
        Case(pooling.AvgPool2d(3, 2, 1, ceil, include, divisor), dtype=dtype, opset=opset, names=names)
        for ceil in (False, True)
        for include in (False, True)
        for divisor in (None, -2.5)
        for dtype, opset, names in (
            ("float32", 7, None), ("float32", None, None), ("float64", 13, None), ("float16", None, FREE),
        )
    ],
    *[
        Case(pooling.AvgPool2d(3, 2, padding, False, include), names=names)
        for padding in ("same_upper", "same_lower", [(1, 0), (0, 2)])
        for include in (False, True)
        for names in (None, FREE)
    ],
    Case(pooling.AvgPool2d(3, 2, "same_upper", divisor_override=7), names=FREE),
    *[Case(pooling.AvgPool2d(2, 1, 1, dilation=2, count_include_pad=include), opset=18) for include in (False, True)],
    *[Case(pooling.AvgPool2d(2, 1, 1, dilation=2, count_include_pad=include), opset=19) for include in (False, True)],
    *[Case(pooling.AvgPool2d(**WIDE, count_include_pad=True), names=names, exact=True) for names in (None, FREE)],
    Case(pooling.AvgPool2d(2, divisor_override=0.1)),
    Case(pooling.AvgPool2d(2, divisor_override=1e-39)),
    Case(pooling.AvgPool2d(3, 1, 1, count_include_pad=False), exact=True),
    Case(pooling.AvgPool1d(3, 2, 1), (2, 2, 6), "bfloat16"),
    Case(pooling.AvgPool3d(2, 2, 1, True, True), (1, 2, 3, 4, 5)),
    *[
        Case(pooling.AvgPool2d(2, 1, 1, False, include, rounding=rounding), dtype=dtype, names=names)
        for include, rounding, dtype, names in (
            (True, "half_even", "int8", None), (False, "half_up", "uint8", None), (True, "floor", "int32", FREE),
            (False, "trunc", "int16", None), (True, "half_even", "int64", None), (False, "half_up", "uint64", FREE),
            (True, "trunc", "int64", None), (False, "floor", "uint64", None), (True, "half_even", "uint32", FREE),
            (False, "trunc", "int64", FREE), (True, "half_up", "int8", None), (False, "half_even", "uint64", None),
        )
    ],
    *[
        Case(pooling.AvgPool2d(2, 1, divisor_override=divisor, rounding=rounding), dtype=dtype)
        for divisor in (3, -3, 0.5, -1.25)
        for rounding, dtype in (("half_even", "int8"), ("trunc", "uint8"), ("floor", "int16"))
    ],
    *[Case(pooling.AvgPool2d(2, 1, divisor_override=divisor), dtype="int64") for divisor in (4, 5, -7)],
    *[
        Case(pooling.AdaptiveAvgPool2d((3, 4)), dtype=dtype, names=names)
        for dtype in ("float32", "float64", "int32", "uint64")
        for names in (None, FREE)
    ],
    *[
        Case(pooling.AdaptiveAvgPool2d(1), dtype=dtype, names=names)
        for dtype in ("float32", "uint8")
        for names in (None, FREE, (2, 2, "H", 6))
    ],
    *[
        Case(pooling.GlobalAvgPool2d(), dtype=dtype, opset=opset, names=names)
        for dtype, opset in (("float32", 7), ("float64", 13), ("float16", 18), ("int8", None), ("int64", None))
        for names in (None, FREE)
        if opset != 7 or names is None
    ],
]  # fmt: skip


@pytest.mark.parametrize("case", MEANS, ids=str)
def test_means(case: Case) -> None:
    case.checked()


@pytest.mark.parametrize(
    ("size", "special_values", "dtype"),
    [
        (1024, "exact", "float32"),
        (1025, "exact", "float64"),
        (2**16, "finite", "float32"),
        (2**16 + 1, "finite", "float64"),
    ],
)
def test_means_of_many_numbers_are_made_in_float64(size: int, special_values: Any, dtype: str) -> None:
    for layer in (pooling.AvgPool1d(size), pooling.GlobalAvgPool1d()):
        model = to_onnx(layer, (1, 1, size), special_values=special_values, verify=False)
        made = {"float32": [], "float64": ["Cast"]}[dtype]
        assert [node.op_type for node in model.graph.node if node.op_type == "Cast"] == made * 2


@pytest.mark.parametrize(
    ("layer", "dtype", "opset", "expected"),
    [
        (pooling.AvgPool2d(3, 2, ceil_mode=True), "float32", None, ["AveragePool"]),
        (pooling.AvgPool2d(3, 2, [(0, 1), (0, 0)]), "float32", None, ["AveragePool"]),
        (pooling.AvgPool2d(3, 2, [(0, 1), (1, 0)], True), "float32", None, ["AveragePool", "Mul"]),
        (pooling.AvgPool2d(2, divisor_override=4), "float32", None, ["AveragePool", "Mul"]),
        (pooling.AvgPool2d(2, divisor_override=1e38), "float32", None, ["AveragePool", "Mul"]),
        *[
            (
                pooling.AvgPool2d(2, divisor_override=divisor),
                "float32",
                None,
                ["Cast", *["Gather", "ReduceSum"] * 2, "Div", "Cast"],
            )
            for divisor in (1e-39, 1e40, 1.3e39)
        ],
        (pooling.AdaptiveAvgPool2d(3), "float64", None, ["Pad", *["Gather", "ReduceSum"] * 2, "Mul", "Div"]),
        (pooling.AvgPool2d((3, 2), 1, 1), "float64", 13, ["Pad", *["Gather", "ReduceSum"] * 2, "Div"]),
    ],
)  # fmt: skip
def test_graphs_of_means(layer: Layer, dtype: str, opset: int | None, expected: list[str]) -> None:
    assert check(layer, (2, 2, 7, 8), dtype, opset) == expected


@pytest.mark.parametrize(
    ("dtype", "divisor", "fits"),
    [
        ("int64", 4, True),
        ("int64", 3, False),
        ("int64", -4, True),
        ("int64", -3, False),
        ("int64", 4.5, False),
        ("uint64", 2**29 - 1, True),
        ("uint64", 2**29, False),
        ("int32", 2.0**-26, True),
        ("int32", 2.0**-27, False),
        ("int32", -(2.0**-27), False),
        ("uint32", 2.0**-25, True),
        ("uint32", 2.0**-26, False),
        ("int8", 2.0**59, True),
        ("int8", 2.0**60, False),
    ],
)
def test_divisors_for_which_whole_numbers_are_enough(dtype: str, divisor: float, fits: bool) -> None:
    layer = pooling.AvgPool2d(2, divisor_override=divisor)
    if fits:
        check(layer, (1, 2, 4, 4), dtype)
    else:
        with pytest.raises(ValueError, match="cannot divide sums of 4 elements"):
            to_onnx(layer, (1, 2, 4, 4), dtype=dtype, verify=False)


# --- norms -----------------------------------------------------------------------------------------------------------

NORMS = [
    *[
        Case(pooling.LPPool2d(p, 3, 2, padding=1), dtype=dtype, opset=opset, exact=exact)
        for p in (1, 2, 3, 0.5, 0.1, 7, math.inf)
        for dtype, opset, exact in (("float32", None, False), ("float64", 9, False), ("float64", 13, True))
    ],
    Case(pooling.LPPool2d(6, 2, 2), dtype="float16"),
    Case(pooling.LPPool2d(2, 2, 2, ceil_mode=True), dtype="bfloat16", names=FREE),
    *[
        Case(pooling.GlobalLPPool2d(p), dtype=dtype, exact=exact)
        for p in (1, 2, 3, 0.5, math.inf)
        for dtype, exact in (("float32", False), ("float64", True))
    ],
    *[
        Case(pooling.GeMPool2d(p, eps), dtype=dtype, names=names)
        for p in (1, 2, 3, 0.5, 20)
        for eps in (1e-6, 0.75)
        for dtype, names in (("float32", None), ("float64", FREE))
    ],
]


@pytest.mark.parametrize("case", NORMS, ids=str)
def test_norms(case: Case) -> None:
    case.checked()


@pytest.mark.parametrize(
    ("p", "dtype", "safe"),
    [
        (0.125, "float32", True), (0.12, "float32", False), (6, "float16", True), (6.1, "float32", False),
        (3, "float64", False), (1, "float64", True),
    ],
)  # fmt: skip
def test_powers_that_overflow_are_made_of_ratios(p: float, dtype: str, safe: bool) -> None:
    names = check(pooling.LPPool2d(p, 2), (1, 2, 4, 4), dtype)
    assert ("ReduceMax" in names) == (not safe)
    assert names.count("ReduceSum") == (2 if safe else 1)


@pytest.mark.parametrize("magnitude", [0.0, 1e-200, 1e200, 1e-300])
def test_norms_neither_overflow_nor_vanish(magnitude: float) -> None:
    x = drawn((1, 2, 4, 4), "float64") * magnitude
    for layer in (pooling.LPPool2d(3, 2), pooling.LPPool2d(0.5, 2), pooling.GlobalLPPool2d(2), pooling.GeMPool2d(3)):
        check(layer, x.shape, "float64", x=x)


# --- blurs -----------------------------------------------------------------------------------------------------------

BLURS = [
    *[
        # A word that a program put together is that word, too.
        Case(pooling.BlurPool2d(kernel, stride, padding_mode=f"{mode} ".strip()), dtype=dtype, names=names)
        for mode in ("reflect", "replicate", "zeros")
        for kernel, stride, dtype in ((3, 2, "float32"), ((4, 5), 1, "float64"), (1, 2, "float16"))
        for names in (None, FREE, (2, "C", 5, "W"))
    ],
    *[
        Case(pooling.MaxBlurPool2d(2, stride, padding_mode=mode), dtype=dtype, names=names)
        for mode, stride, dtype in (("reflect", 2, "float32"), ("replicate", 1, "float64"), ("zeros", 2, "bfloat16"))
        for names in (None, FREE)
    ],
    Case(pooling.MaxBlurPool2d(3, 2, padding=1, blur_kernel_size=4, nan="ignore"), exact=True, shape=(1, 2, 6, 7)),
]


@pytest.mark.parametrize("case", BLURS, ids=str)
def test_blurs(case: Case) -> None:
    case.checked()


# --- windows that are drawn ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_fractional_windows(dimensions: int, dtype: str) -> None:
    shape = (2, 3, 6, 5, 4)[: 2 + dimensions]
    samples = np.random.default_rng(7).random((2, 3, dimensions))
    kind = getattr(pooling, f"FractionalMaxPool{dimensions}d")
    for indexed in (False, True):
        layer = kind((3, 2, 2)[:dimensions], (3, 4, 2)[:dimensions], return_indices=indexed, _random_samples=samples)
        check(layer, shape, dtype, exact=dtype == "float32")
    check_gradient(layer, shape, dtype)
    for convention in CONVENTIONS:
        x = drawn(shape, "float32")
        model = to_onnx(layer, shape, indices=convention, verify=False)  # type: ignore[arg-type]
        expected = reference.convert_indices(twin(layer, x)[1], shape, source="torch", target=convention)
        assert_same(run_model(model, [x])[1], expected)


# --- regions ---------------------------------------------------------------------------------------------------------

BOXES = np.array(
    [[0, 0, 3, 4], [1.3, 0.4, 4.6, 3.2], [-3, -2, 1.5, 1], [2, 3, 2, 3], [4, 3, 9, 9], [3.5, 2.5, 1, 1], [-1, -1, 0, 0]]
)
"""Whole and broken, beyond the map, of one pixel, turned round, and at a corner."""
MAPS = np.array([0, 1, 1, 0, 0, 1, 0])


@pytest.mark.parametrize("opset", [13, 16, 22])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize(("bins", "scale"), [(2, 1.0), ((3, 1), 0.5)])
def test_maxima_of_regions(bins: Any, scale: float, dtype: str, opset: int) -> None:
    number = np.float64 if dtype == "float64" else np.float32
    rois = np.concatenate((MAPS[:, np.newaxis], BOXES), axis=1).astype(number)
    layer = pooling.MaxRoIPool(bins, scale)
    for exact in (False, True):
        for boxes in (rois, rois[:0]):
            check(layer, (2, 2, 5, 6), dtype, opset, boxes, exact=exact, names=("N", "C", 5, 6))
        if opset >= 16:
            check_gradient(layer, (2, 2, 5, 6), dtype, opset, rois, exact=exact)


@pytest.mark.parametrize("opset", [10, 16, 22])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize(("bins", "scale", "ratio"), [(2, 1.0, 0), ((1, 3), 0.5, 2)])
def test_samples_of_regions(
    bins: Any, scale: float, ratio: int, mode: Any, coordinates: Any, dtype: str, opset: int
) -> None:
    boxes = BOXES.astype(np.float64 if dtype == "float64" else np.float32)
    layer = pooling.RoIAlign(bins, scale, ratio, mode, coordinates)
    if opset == 10 and (coordinates == "half_pixel" or mode == "max"):
        return
    check(layer, (2, 2, 5, 6), dtype, opset, boxes, MAPS, names=("N", "C", 5, 6))
    if opset >= 16:
        check(layer, (2, 2, 5, 6), dtype, opset, boxes[:0], MAPS[:0])
        check_gradient(layer, (2, 2, 5, 6), dtype, opset, boxes, MAPS)


# --- gradients -------------------------------------------------------------------------------------------------------

GRADIENTS = [
    *[
        Case(layer, shape, dtype, opset, exact)
        for layer, shape in (
            (pooling.MaxPool2d(3, 2, 1), (2, 2, 5, 6)),
            (pooling.MinPool2d(2, 1), (2, 2, 4, 3)),
            (pooling.MaxPool2d(**WIDE), (1, 2, 2, 7)),
            (pooling.MaxPool2d(2, 3), (1, 2, 5, 7)),
            (pooling.MaxPool2d((1, 2), (1, 2)), (1, 2, 3, 4)),
            (pooling.MaxPool2d((5, 2), 1), (1, 2, 5, 4)),
            (pooling.AdaptiveMaxPool2d((3, 2)), (1, 2, 4, 5)),
            (pooling.MaxPool3d(2, 1, 1), (1, 2, 2, 3, 2)),
            (pooling.GlobalMaxPool2d(), (2, 2, 3, 3)),
        )
        for dtype, opset, exact in (("float32", 15, True), ("float64", 18, True), ("float16", 13, False))
    ],
    *[
        Case(layer, shape, dtype, opset)
        for layer, shape in (
            (pooling.AvgPool2d(3, 2, 1), (2, 2, 5, 6)),
            (pooling.AvgPool2d(3, 2, 1, True, False), (2, 2, 6, 6)),
            (pooling.AvgPool2d(2, 3), (1, 2, 5, 7)),
            (pooling.AvgPool2d(2, 2), (1, 2, 4, 5)),
            (pooling.AvgPool2d((1, 2), (1, 2), divisor_override=-2.5), (1, 2, 3, 4)),
            (pooling.AvgPool2d(2, divisor_override=1e-40), (1, 2, 3, 4)),
            (pooling.AvgPool1d(2, 1, dilation=2), (2, 2, 5)),
            (pooling.AvgPool3d(2, 1, 1), (1, 2, 2, 3, 2)),
            (pooling.AdaptiveAvgPool2d((3, 2)), (1, 2, 4, 5)),
            (pooling.GlobalAvgPool2d(), (2, 2, 3, 3)),
            (pooling.BlurPool2d(3, 2), (2, 2, 5, 6)),
            (pooling.BlurPool2d((2, 4), 1, padding_mode="zeros"), (1, 2, 4, 5)),
            (pooling.BlurPool2d(3, 1, padding_mode="replicate"), (1, 2, 4, 5)),
        )
        for dtype, opset in (("float32", 7), ("float64", 13), ("float16", 18))
    ],
    *[
        Case(layer, shape, dtype, opset)
        for layer, shape in (
            *[(pooling.LPPool2d(p, 3, 2, padding=1), (2, 2, 5, 6)) for p in (1, 2, 3, 1.5, math.inf)],
            (pooling.LPPool2d(2, 2), (1, 2, 4, 4)),
            *[(pooling.GlobalLPPool2d(p), (2, 2, 3, 3)) for p in (1, 2, 2.5, math.inf)],
            *[(pooling.GeMPool2d(p, eps), (2, 2, 3, 3)) for p in (1, 2, 3, 0.5) for eps in (1e-6, 0.75)],
            (pooling.MaxBlurPool2d(2, 2), (2, 2, 5, 6)),
            (pooling.MaxBlurPool2d(3, 1, padding=1, blur_kernel_size=2, padding_mode="zeros"), (1, 2, 4, 5)),
        )
        for dtype, opset in (("float32", 13), ("float64", 18), ("float32", 15))
    ],
]


@pytest.mark.parametrize("case", GRADIENTS, ids=str)
def test_gradients(case: Case) -> None:
    check_gradient(case.layer, case.shape, case.dtype, case.opset, exact=case.exact)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        # Of one window on each cell nothing is gathered, nor added up.
        (pooling.AvgPool2d(1), (1, 2, 3, 4), ["Div"]),
        (pooling.AvgPool2d((1, 2)), (1, 2, 3, 4), ["Div", "Gather"]),
        (pooling.AvgPool2d((2, 1)), (1, 2, 4, 3), ["Div", "Gather"]),
        (pooling.AvgPool2d((2, 1)), (1, 2, 5, 3), ["Div", "Pad", "Gather"]),
        (pooling.AvgPool2d((1, 2), (2, 2)), (1, 2, 2, 4), ["Div", "Pad", "Gather"]),
        (pooling.AvgPool2d((1, 2), (2, 2)), (1, 2, 3, 4), ["Div", "Pad", "Gather", "Gather"]),
        (pooling.AvgPool2d((1, 2), 1), (1, 2, 3, 4), ["Div", "Pad", "Gather", "ReduceSum"]),
        (pooling.AvgPool2d(2, divisor_override=2.0**-126), (1, 2, 4, 4), ["Div", "Gather", "Gather"]),
        (pooling.AvgPool2d(2, divisor_override=-3), (1, 2, 4, 4), ["Div", "Gather", "Gather"]),
        (pooling.AvgPool2d(2, divisor_override=1.9 * 2.0**126), (1, 2, 4, 4), ["Div", "Gather", "Gather"]),
        (pooling.AvgPool2d(2, divisor_override=2.0**-127), (1, 2, 4, 4), ["Cast", "Div", "Gather", "Gather", "Cast"]),
        (pooling.AvgPool2d(2, divisor_override=-(2.0**127)), (1, 2, 4, 4), ["Cast", "Div", "Gather", "Gather", "Cast"]),
    ],
)
def test_graphs_of_gradients_of_means(layer: Layer, shape: tuple[int, ...], expected: list[str]) -> None:
    assert check_gradient(layer, shape) == expected


@pytest.mark.parametrize(
    ("layer", "shape", "gathers", "sums"),
    [
        (pooling.MaxPool2d(1), (1, 2, 3, 4), 0, 0),
        (pooling.MaxPool2d(2), (1, 2, 4, 4), 4, 0),
        (pooling.MaxPool2d((4, 2)), (1, 2, 4, 4), 2, 0),
        (pooling.MaxPool2d((3, 2), (1, 2)), (1, 2, 4, 4), 4, 1),
    ],
)
def test_graphs_of_gradients_of_maxima(layer: Layer, shape: tuple[int, ...], gathers: int, sums: int) -> None:
    names = check_gradient(layer, shape, opset=13)
    assert (names.count("Gather"), names.count("ReduceSum")) == (gathers, sums)
    assert "ScatterElements" in check_gradient(layer, shape, opset=18)
