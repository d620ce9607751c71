"""Numbers for tests, bounds of rounding, and comparison: one of each for exports, repairs and the validation."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from pooling.export.backward_verification import _allowed as allowed_gradient
from pooling.export.layer_calls import LayerCall
from pooling.export.model import layer_call_of
from pooling.export.repair.proof import _bound as bound_of_repairs
from pooling.export.verification import _allowed as allowed_forward
from pooling.layer import Layer
from pooling.numerics.bounds import PRECISIONS, Side, final_roundings, gamma, mean_error, norm_error
from pooling.numerics.compare import differing, first_of
from pooling.numerics.inputs import boxes, draw, elements, with_special_values
from pooling.onnx_models import function_from_node, layer_from_node
from pooling.validation.comparison import permitted_errors
from pooling.validation.inputs.case import Case, single_node

Numbers = NDArray[Any]
OPSET = 22
UNITS = {"float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}
GEOMETRIES: tuple[dict[str, Any], ...] = (
    {"kernel_shape": [2, 2], "strides": [2, 2]},
    {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 2], "strides": [1, 2], "dilations": [2, 1], "pads": [0, 1, 1, 0], "ceil_mode": 1},
    {"kernel_shape": [7, 9]},
)
NODES: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("AveragePool", {**each, "count_include_pad": number % 2}) for number, each in enumerate(GEOMETRIES)),
    *(("LpPool", {**each, "p": p}) for each in GEOMETRIES for p in (1, 2, 3)),
    ("GlobalAveragePool", {}),
    ("GlobalLpPool", {"p": 2}),
)
"""Whatever rounds, of what exports, repairs and the validation all know."""


def arrays(dtype: str) -> Iterator[Numbers]:
    """Yield numbers that cancel, numbers of one sign, and numbers of many magnitudes."""
    rng = np.random.default_rng(0)
    shape = (2, 3, 10, 11)
    normal = rng.standard_normal(shape)
    yield normal.astype(dtype)
    yield np.abs(normal).astype(dtype)
    yield np.ldexp(normal, rng.integers(-9, 1, shape)).astype(dtype)
    yield np.zeros(shape, dtype)


def staged(operator: str, attributes: dict[str, Any], x: Numbers) -> tuple[onnx.NodeProto, Layer, LayerCall]:
    node = helper.make_node(operator, ["x"], ["y"], **attributes)
    layer = layer_from_node(node, OPSET, x.shape)
    return node, layer, layer_call_of("layer", layer, x.shape, x.dtype, "torch", None, x.shape)


def all_bounds(operator: str, attributes: dict[str, Any], x: Numbers) -> dict[str, Numbers]:
    """Bound the error of a pooling of an array as each of the three does."""
    node, layer, call = staged(operator, attributes, x)
    expected = np.asarray(layer(x))
    inputs = {"x": x}
    validation = permitted_errors(Case("case", single_node(node, OPSET, inputs), inputs, "", ()))
    exports = allowed_forward(call, x, expected, call, finite=True)
    repairs = bound_of_repairs(node, x, expected, function_from_node(node, OPSET, function="test"))
    assert validation is not None
    assert exports is not None
    return {
        name: np.broadcast_to(bound, expected.shape)
        for name, bound in (("validation", validation), ("exports", exports), ("repairs", repairs))
    }


def terms_of_node(attributes: dict[str, Any], x: Numbers) -> int:
    return math.prod(attributes.get("kernel_shape", x.shape[2:]))


def in_order(operator: str, layer: Layer, p: float, x: Numbers, step: int) -> Numbers:
    """Pool by a loop that rounds after each operation, one element of the windows after the other, or backwards."""
    axes = layer.axes(x.shape)
    result = np.zeros((*x.shape[:2], *(axis.output_size for axis in axes)), x.dtype)
    counted = bool(layer.arguments.get("count_include_pad", False))
    for cell in np.ndindex(result.shape[2:]):
        places = [axis.taps()[at] for axis, at in zip(axes, cell, strict=True)]
        taps = [place for place in itertools.product(*places) if min(place) >= 0][::step]
        total = np.zeros(x.shape[:2], x.dtype)
        for place in taps:
            value = x[(..., *place)]
            total = total + (value if operator.endswith("AveragePool") else np.abs(value) ** x.dtype.type(p))
        divisors = [
            axis.windows(np.array([at]), count_include_pad=counted).divisor[0]
            for axis, at in zip(axes, cell, strict=True)
        ]
        mean = operator.endswith("AveragePool")
        result[(..., *cell)] = total / x.dtype.type(math.prod(divisors)) if mean else total ** x.dtype.type(1 / p)
    return result


@pytest.mark.parametrize("dtype", UNITS)
@pytest.mark.parametrize(("operator", "attributes"), NODES, ids=str)
def test_bounds_of_exports_repairs_and_the_validation_agree(
    operator: str, attributes: dict[str, Any], dtype: str
) -> None:
    # All are about what rounding makes of one pooling, done twice. They may differ in what it is done in, and in how
    # many operations there are besides the additions, and in nothing else.
    unit = UNITS[dtype]
    for x in arrays(dtype):
        terms = terms_of_node(attributes, x)
        _, layer, _ = staged(operator, attributes, x)
        magnitude = np.asarray(layer(np.abs(x.astype(np.float64))))
        lost = terms * PRECISIONS[dtype].tiny
        for name, bound in all_bounds(operator, attributes, x).items():
            assert bound.dtype == np.float64, name
            # None leaves less than the rounding of the result ...
            assert (bound >= unit * np.abs(np.asarray(layer(x), np.float64))).all(), name
            # ... nor more than both sides have operations.
            assert (bound <= 2 * (terms + 66) * unit / max(1 - (terms + 66) * unit, 0.1) * magnitude + lost).all(), name


# Powers of small numbers underflow in float16, which is another matter than rounding.
@pytest.mark.parametrize(
    ("operator", "attributes", "dtype"),
    [(*node, dtype) for node in NODES for dtype in UNITS if dtype != "float16" or "p" not in node[1]],
    ids=str,
)
def test_no_bound_refuses_additions_in_another_order(operator: str, attributes: dict[str, Any], dtype: str) -> None:
    for x in arrays(dtype):
        bounds = all_bounds(operator, attributes, x)
        _, layer, _ = staged(operator, attributes, x)
        exact = np.asarray(layer(x.astype(np.float64)))
        for step in (1, -1):
            error = np.abs(in_order(operator, layer, attributes.get("p", 1), x, step).astype(np.float64) - exact)
            assert (error <= bounds["validation"]).all()
            assert (error <= bounds["repairs"]).all()
            # Graphs of exports add numbers of half precision up in float32, and norms in float64, as we do.
            if operator.endswith("AveragePool") and dtype != "float16":
                assert (error <= bounds["exports"]).all()


@pytest.mark.parametrize("dtype", UNITS)
def test_no_bound_accepts_what_has_another_divisor_or_misses_an_element(dtype: str) -> None:
    attributes = {"kernel_shape": [3, 3]}
    x = np.abs(next(arrays(dtype))) + np.asarray(1, dtype)
    _, layer, _ = staged("AveragePool", attributes, x)
    right = np.asarray(layer(x), np.float64)
    for bound in all_bounds("AveragePool", attributes, x).values():
        assert differing(right, right * 9 / 8, bound).all()
        assert differing(right, right - x[..., 1:-1, 1:-1].astype(np.float64) / 9, bound).all()


def test_what_is_selected_has_no_bound() -> None:
    x = next(arrays("float32"))
    node, _, call = staged("MaxPool", {"kernel_shape": [2, 2]}, x)
    assert allowed_forward(call, x, x, call, finite=True) is None
    assert permitted_errors(Case("case", single_node(node, OPSET, {"x": x}), {"x": x}, "", ())) is None
    gradients = [np.ones((2, 3, 9, 10), np.float32), x]
    assert allowed_gradient(call, gradients, {"grad_input": x}, "ties", finite=True) == [None]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_precisions_are_those_of_numpy(dtype: str) -> None:
    info = np.finfo(dtype)
    found = PRECISIONS[dtype]
    assert (found.unit, found.tiny, found.largest) == (info.eps / 2, info.smallest_subnormal, info.max)


def test_bfloat16_is_that_of_ml_dtypes() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    info = ml_dtypes.finfo("bfloat16")
    found = PRECISIONS["bfloat16"]
    assert (found.unit, found.tiny, found.largest) == (
        float(info.eps) / 2,
        float(info.smallest_subnormal),
        float(info.max),
    )


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("terms", [1, 2, 9, 100, 1000, 10**6])
def test_bounds_are_those_of_the_books(dtype: str, terms: int) -> None:
    unit = PRECISIONS[dtype].unit
    wanted = (terms + 1) * unit * (1 + unit)
    assert mean_error(3.0, terms, Side(dtype)) == pytest.approx(3 * wanted, rel=1e-12)
    assert norm_error(3.0, terms, 1, Side(dtype)) == mean_error(3.0, terms, Side(dtype))
    small = terms * unit
    assert gamma(terms, dtype) == pytest.approx(small / (1 - small) if small < 0.5 else small * (1 + unit), rel=1e-12)
    # A sum of so many terms, and one operation more, is never further off than that.
    assert (1 + (terms - 1) * unit) * (1 + unit) - 1 <= wanted
    assert norm_error(3.0, terms, 2, Side(dtype)) == pytest.approx(3 * (gamma(terms, dtype) / 2 + gamma(2, dtype)))
    assert norm_error(3.0, terms, 3, Side(dtype)) == pytest.approx(3 * (gamma(terms + 7, dtype) / 3 + gamma(9, dtype)))
    assert norm_error(3.0, terms, math.inf, Side(dtype)) == pytest.approx(3 * gamma(9, dtype))


def test_final_roundings_are_of_both_sides() -> None:
    results = np.array([1.0, -2.0, 0.0], np.float16)
    assert final_roundings(results, 4).tolist() == [2.0**-10 + 2.0**-22, 2.0**-9 + 2.0**-22, 2.0**-22]
    assert np.isnan(final_roundings(np.array([np.nan], np.float32), 1)).all()


# ---------------------------------------------------------------------------------------------------------------------
# Comparison

SPECIAL = [0.0, -0.0, 1.0, 1.5, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("bound", [None, 0.0, 0.25, 0.5, np.inf, np.nan])
@pytest.mark.parametrize("dtype", [*PRECISIONS, "object"])
def test_comparison_by_a_loop(dtype: str, bound: float | None) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    for one, other in itertools.product(SPECIAL, repeat=2):
        same = one == other or (math.isnan(one) and math.isnan(other))
        if bound is not None and math.isfinite(one) and math.isfinite(other):
            same = same or abs(one - other) <= bound
        left, right = np.array([one]).astype(dtype), np.array([other]).astype(dtype)
        assert differing(left, right, bound).tolist() == [not same], (one, other)


def test_integers_have_to_be_equal_and_are_not_rounded() -> None:
    most = np.iinfo(np.int64).max
    assert differing(np.array([most, 5]), np.array([most - 1, 5]), 9).tolist() == [True, False]
    assert differing(np.array([2**64 - 1], np.uint64), np.array([2**64 - 2], np.uint64)).tolist() == [True]
    assert differing(np.array([True, False]), np.array([True, True]), 1).tolist() == [False, True]


def test_bounds_may_be_of_each_element() -> None:
    assert differing([1.0, 1.0], [1.25, 1.25], [0.25, 0.125]).tolist() == [False, True]


def test_the_first_difference_is_the_first_in_memory() -> None:
    differs = np.zeros((2, 3, 4), bool)
    differs[1, 0, 2] = differs[1, 2, 0] = True
    assert first_of(differs) == (1, 0, 2)


# ---------------------------------------------------------------------------------------------------------------------
# Inputs


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "bool"])
def test_small_integers_may_be_counts_and_places(dtype: str) -> None:
    array = draw((3, 4, 5), np.dtype(dtype), 1, small_integers=True)
    assert array.dtype == dtype
    wanted = {"bool": {0, 1}, "uint8": {0, 1, 2}}.get(dtype, {-2, -1, 0, 1, 2})
    assert {*array.astype(int).ravel().tolist()} == wanted


@pytest.mark.parametrize("shape", [(), (7,), (0,), (3, 4), (2, 0, 3), (2, 3, 4, 5, 6)])
@pytest.mark.parametrize("dtype", ["float32", "int32", "bool", "complex64"])
def test_inputs_may_have_any_shape(shape: tuple[int, ...], dtype: str) -> None:
    array = draw(shape, np.dtype(dtype), [1, *shape], kinds=("ties", "normal"), infinities=False, small_integers=True)
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert np.isfinite(array).all()
    again = draw(shape, np.dtype(dtype), [1, *shape], kinds=("ties", "normal"), infinities=False, small_integers=True)
    assert array.tobytes() == again.tobytes()


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_elements_are_of_their_kind(dtype: str, special: bool) -> None:
    largest = PRECISIONS[dtype].largest / 64
    found = {
        kind: elements(
            kind, (2, 4, 16, 16), np.dtype(dtype), np.random.default_rng(0), largest=largest, special=special
        )
        for kind in ("ties", "numbers", "extremes")
    }
    assert {*np.abs(found["ties"]).ravel().tolist()} == {0, 1, 2, 3}
    assert np.signbit(found["ties"][found["ties"] == 0]).any()
    assert not np.signbit(found["ties"][found["ties"] == 0]).all()
    for kind in ("numbers", "extremes"):
        assert np.isnan(found[kind]).any() == special
        assert np.isinf(found[kind]).any() == special
    finite = found["extremes"][np.isfinite(found["extremes"])].astype(np.float64)
    assert np.abs(finite).max() <= largest
    assert finite.min() < -0.9 * largest
    assert PRECISIONS[dtype].tiny in finite
    plane = found["extremes"][:, 1]
    assert (plane == plane.min()).all()


def test_boxes_meet_their_map() -> None:
    x1, y1, x2, y2 = boxes((5, 9), 500, np.random.default_rng(0)).T
    assert (x1 <= x2).all()
    assert (y1 <= y2).all()
    for low, high, size in ((x1, x2, 9), (y1, y2, 5)):
        assert ((high >= 0) & (low < size)).all()
        assert (low < 0).any()
        assert (high > size).any()


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (2, 3, 8, 8)])
@pytest.mark.parametrize("seed", [0, 1])
def test_special_values_fill_windows(shape: tuple[int, ...], seed: int) -> None:
    array = np.ones(shape, np.float32)
    found = with_special_values(array, seed)
    assert (array == 1).all()
    assert found.shape == shape
    assert np.isnan(found).any()
    least = -PRECISIONS["float32"].largest
    assert (np.isneginf(found) | (found == least)).any()


def test_nothing_of_onnx_is_imported_for_numbers() -> None:
    code = (
        "import sys, pooling.numerics.bounds, pooling.numerics.compare, pooling.numerics.inputs\n"
        "print([name for name in sys.modules if name.startswith(('onnx', 'pooling.export', 'pooling.validation'))])"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert process.stdout == "[]\n"
