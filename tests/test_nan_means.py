"""Means that leave NaN out: ``nan="ignore"`` of every mean, against the reference and against numpy.nanmean."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import reference
from tests.conftest import LAYOUTS, assert_same_bytes, dtype_of

FLOATS = ("float16", "bfloat16", "float32", "float64")
CASES: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("avg_pool1d", (2, 3, 17), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("avg_pool1d", (1, 2, 40), {"kernel_size": 17, "stride": 1, "padding": 8, "count_include_pad": False}),
    ("avg_pool2d", (2, 3, 9, 11), {"kernel_size": 3, "stride": 1, "padding": 1}),
    ("avg_pool2d", (2, 3, 9, 11), {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
    ("avg_pool2d", (1, 2, 9, 11), {"kernel_size": (2, 3), "stride": 2, "ceil_mode": True}),
    ("avg_pool2d", (1, 2, 9, 11), {"kernel_size": 3, "padding": 1, "divisor_override": -1.75}),
    (
        "avg_pool2d",
        (1, 2, 9, 11),
        {"kernel_size": 3, "padding": 1, "divisor_override": 4, "count_include_pad": False, "dilation": 2},
    ),
    ("avg_pool2d", (1, 1, 9, 90), {"kernel_size": (3, 2), "stride": (2, 2), "padding": 1}),
    ("avg_pool2d", (1, 1, 40, 70), {"kernel_size": (12, 9), "stride": 1, "padding": 3, "count_include_pad": False}),
    ("avg_pool3d", (1, 2, 4, 5, 6), {"kernel_size": 2, "stride": 1, "padding": 1, "count_include_pad": False}),
    ("adaptive_avg_pool1d", (1, 2, 13), {"output_size": 5}),
    ("adaptive_avg_pool2d", (2, 2, 9, 11), {"output_size": (4, 3)}),
    ("adaptive_avg_pool3d", (1, 2, 4, 5, 6), {"output_size": 3}),
    ("global_avg_pool", (2, 3, 7, 5), {}),
]


def with_nan(shape: tuple[int, ...], dtype: str, share: float = 0.4) -> Any:
    """Numbers, and NaN among them: some windows hold nothing else, some none."""
    rng = np.random.default_rng(hash((shape, share)) & 0xFFFF)
    x = rng.normal(size=shape) + 0.25
    x[rng.random(shape) < share] = np.nan
    x.reshape(-1)[: x.size // 3] = np.nan
    x.reshape(-1)[-x.size // 4 :] = rng.normal(size=len(x.reshape(-1)[-x.size // 4 :]))
    return x.astype(dtype_of(dtype))


def in_layout(x: Any, layout: str) -> Any:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if layout == "channels_last" else x


def close(found: Any, expected: Any, magnitudes: Any, units: float, dtype: str) -> None:
    """Compare, with an error of so many units of 2**-23 times the mean of the magnitudes, and one of the dtype."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    spacing = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-50}[dtype]
    bound = units * 2.0**-23 * (dtype != "float64") * np.nan_to_num(magnitudes) + spacing * np.abs(expected) + 2.0**-24
    assert (np.abs(found - expected) <= bound)[~np.isnan(expected)].all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("function", "shape", "arguments"), CASES)
def test_means_of_the_numbers_are_those_of_the_reference(
    function: str, shape: tuple[int, ...], arguments: dict[str, Any], dtype: str, layout: str
) -> None:
    x = in_layout(with_nan(shape, dtype), layout)
    found = getattr(pooling, function)(x, **arguments, layout=layout, nan="ignore")
    expected = getattr(reference, function)(x, **arguments, layout=layout, nan="ignore")
    if "divisor_override" in arguments:
        magnitudes = np.full(found.shape, 8.0)
    else:
        wide = np.abs(x).astype(np.float64)
        magnitudes = getattr(reference, function)(wide, **arguments, layout=layout, nan="ignore")
    close(found, expected, magnitudes, 4, dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("function", "shape", "arguments"), CASES)
def test_gradients_go_to_the_numbers_alone(
    function: str, shape: tuple[int, ...], arguments: dict[str, Any], dtype: str, layout: str
) -> None:
    x = in_layout(with_nan(shape, dtype), layout)
    result = getattr(pooling, function)(x, **arguments, layout=layout, nan="ignore")
    grad = np.random.default_rng(3).normal(size=result.shape).astype(x.dtype)
    backward = f"{function}_backward"
    found = getattr(pooling, backward)(grad, x, **arguments, layout=layout, nan="ignore")
    expected = getattr(reference, backward)(grad, x, **arguments, layout=layout, nan="ignore")
    close(found, expected, 8.0, 4, dtype)
    assert (found[np.isnan(x.astype(np.float64))] == 0).all()


def test_a_satellite_tile_is_numpys_nanmean() -> None:
    x = with_nan((1, 1, 32, 48), "float64")
    blocks = x.reshape(8, 4, 12, 4).transpose(0, 2, 1, 3).reshape(8, 12, 16)
    with np.errstate(all="ignore"):
        expected = np.array([[np.nanmean(b) if (b == b).any() else np.nan for b in row] for row in blocks])
    np.testing.assert_allclose(pooling.avg_pool2d(x, 4, nan="ignore")[0, 0], expected, rtol=1e-12)
    layer = pooling.AvgPool2d(4, nan="ignore")
    assert_same_bytes(layer(x), pooling.avg_pool2d(x, 4, nan="ignore"))
    assert repr(layer) == "AvgPool2d(kernel_size=4, nan='ignore')"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("function", "shape", "arguments"), CASES)
def test_every_nan_is_the_same_one(
    function: str, shape: tuple[int, ...], arguments: dict[str, Any], dtype: str, layout: str
) -> None:
    """Whatever its sign, which an addition keeps or not as the compiler likes."""
    positive = in_layout(with_nan(shape, dtype, 0.1), layout)
    negative = positive.copy()
    negative[np.isnan(positive.astype(np.float64))] = dtype_of(dtype).type(np.copysign(np.nan, -1))
    assert positive.tobytes() != negative.tobytes()
    call = getattr(pooling, function)
    for rule in ("propagate", "ignore"):
        result = call(positive, **arguments, layout=layout, nan=rule)
        assert_same_bytes(call(negative, **arguments, layout=layout, nan=rule), result)


def test_padding_that_counts_is_a_number() -> None:
    x = np.full((1, 1, 2), np.nan, np.float32)
    assert pooling.avg_pool1d(x, 2, 1, 1, nan="ignore").ravel().tolist()[::2] == [0, 0]
    assert np.isnan(pooling.avg_pool1d(x, 2, 1, 1, nan="ignore").ravel()[1])
    assert np.isnan(pooling.avg_pool1d(x, 2, 1, 1, count_include_pad=False, nan="ignore")).all()
    assert np.isnan(pooling.avg_pool1d(x, 2, divisor_override=3, nan="ignore")).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_infinities_are_numbers(dtype: str) -> None:
    x = np.array([np.inf, np.nan, 1.0, np.inf, -np.inf, np.nan, -np.inf, 2.0], dtype_of(dtype)).reshape(1, 1, 8)
    found = pooling.avg_pool1d(x, 2, nan="ignore").astype(np.float64).ravel().tolist()
    assert found[0] == np.inf
    assert found[1] == np.inf
    assert found[2] == found[3] == -np.inf
    assert np.isnan(pooling.global_avg_pool(x[None], nan="ignore").astype(np.float64)).all()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
def test_integers_have_no_nan(dtype: str) -> None:
    x = np.arange(64).reshape(1, 1, 8, 8).astype(dtype)
    for arguments in ({"kernel_size": 3, "padding": 1}, {"kernel_size": 2, "divisor_override": 3}):
        plain = pooling.avg_pool2d(x, **arguments)
        assert_same_bytes(pooling.avg_pool2d(x, **arguments, nan="ignore"), plain)


@pytest.mark.parametrize(("function", "shape", "arguments"), CASES)
def test_any_number_of_threads_makes_the_same_bytes(
    function: str, shape: tuple[int, ...], arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    large = (shape[0] * 5, shape[1] * 7, *shape[2:])
    x = with_nan(large, "float32")
    made = []
    for threads in (1, 2, 3):
        with pooling.threads(threads):
            result = getattr(pooling, function)(x, **arguments, nan="ignore")
            made.append((result, getattr(pooling, f"{function}_backward")(result, x, **arguments, nan="ignore")))
    for (result, gradient), (first, of_first) in itertools.product(made[1:], made[:1]):
        assert_same_bytes(result, first)
        assert_same_bytes(gradient, of_first)


def test_what_is_no_rule_is_refused() -> None:
    x = np.zeros((1, 1, 4, 4), np.float32)
    with pytest.raises(ValueError, match="nan='skip' must be 'propagate' or 'ignore'"):
        pooling.avg_pool2d(x, 2, nan="skip")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="nan=True"):
        pooling.adaptive_avg_pool2d(x, 2, nan=True)  # type: ignore[arg-type]
