"""Each pooling and its gradient as a graph, on small maps, against the oracle: quick, family by family."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import reference
from pooling.layer import Layer
from tests.conftest import assert_same
from tests.lowered import Case, check, check_gradient, drawn, twin

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from pooling.export import to_onnx  # noqa: E402
from pooling.export.verification import run_model  # noqa: E402

WIDE = {"kernel_size": 2, "dilation": 3, "padding": 3}
"""Windows some of which have no element."""
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


@pytest.mark.parametrize(("width", "windows"), [(511, 2**16), (513, 2**16 + 2**8)])
def test_shares_of_many_windows_are_worked_out_at_run_time(width: int, windows: int) -> None:
    layer, shape = pooling.AvgPool2d(3, 2, [(0, 1), (1, 0)], True), (1, 1, 511, width)
    assert math.prod(layer.output_shape(shape)) == windows
    model = to_onnx(layer, shape, verify=False)
    names = [node.op_type for node in model.graph.node]
    assert ("Div" in names) == (windows > 2**16)
    # Either each window is in the model, or those of each axis are.
    assert max(math.prod(array.dims) for array in model.graph.initializer) == (257 if windows > 2**16 else windows)


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


SCALED = ["ReduceMax", "Greater", "Less", "And", "Where", "Div"]
"""What takes the largest of a window out."""
SUMMED = ["Gather", "ReduceSum"] * 2


@pytest.mark.parametrize(
    ("layer", "dtype", "exact", "expected"),
    [
        (pooling.LPPool2d(1, 2), "float64", True, ["Abs", *SUMMED]),
        (pooling.LPPool2d(1, 2), "float32", False, ["Cast", "Abs", *SUMMED, "Cast"]),
        (pooling.LPPool2d(2, 2), "float32", False, ["Cast", "Abs", "Mul", *SUMMED, "Sqrt", "Cast"]),
        (pooling.LPPool2d(3, 2), "float32", False, ["Cast", "Abs", "Pow", *SUMMED, "Pow", "Cast"]),
        (
            pooling.LPPool2d(2, 2),
            "float64",
            False,
            ["Abs", "Gather", "Gather", *SCALED, "Mul", "ReduceSum", "Sqrt", "Squeeze", "Mul"],
        ),
        (pooling.GlobalLPPool2d(1), "float64", False, ["Abs", "ReduceSum"]),
        (pooling.GlobalLPPool2d(3), "float64", False, ["Abs", *SCALED, "Pow", "ReduceSum", "Pow", "Mul"]),
        (pooling.GlobalLPPool2d(math.inf), "float64", False, ["Abs", "ReduceMax"]),
        (
            pooling.GlobalLPPool2d(math.inf),
            "float64",
            True,
            ["Abs", "ReduceMax", "IsNaN", "Cast", "ReduceMax", "Cast", "Gather", "Add"],
        ),
        (pooling.GeMPool2d(1), "float64", False, ["Less", "Where", "ReduceMean"]),
        (pooling.GeMPool2d(2), "float64", False, ["Less", "Where", *SCALED, "Mul", "ReduceMean", "Sqrt", "Mul"]),
    ],
)
def test_graphs_of_norms(layer: Layer, dtype: str, exact: bool, expected: list[str]) -> None:
    assert check(layer, (1, 2, 4, 4), dtype, 13, exact=exact) == expected


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


def test_nodes_of_blurred_maxima_say_what_they_do() -> None:
    layer = pooling.MaxBlurPool2d(3, 2, padding=1)
    model = to_onnx(layer, (1, 2, 6, 7), verify=False)
    said = {node.doc_string for node in model.graph.node}
    assert {repr(pooling.MaxPool2d(3, 1, 1)), repr(layer)} <= said


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
    for convention in ("torch", "onnx", "onnx_column_major", "tensorflow"):
        x = drawn(shape, "float32")
        model = to_onnx(layer, shape, indices=convention, verify=False)  # type: ignore[arg-type]
        expected = reference.convert_indices(twin(layer, x)[1], shape, source="torch", target=convention)
        assert_same(run_model(model, [x])[1], expected)


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
        (pooling.AvgPool2d(2, divisor_override=1e40), (1, 2, 4, 4), ["Cast", "Div", "Gather", "Gather", "Cast"]),
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
