"""Exported graphs in openvino: they agree with the layers there too, but for what docs/onnx.md lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pooling.operators import OPERATORS
from tests.conftest import FLOATS, UNIT, Array, assert_same
from tests.exported import LAYERS, full_shape, random_arrays, random_layer, run_in_openvino, to_onnx, with_samples
from tests.test_export_symbolic import FREE, MORE, enlarged, with_names

pytest.importorskip("openvino")

DTYPES = ("float32", "float16", "int8", "uint8", "int16", "uint16", "bool")
"""All whose numbers float32 holds; the page says what becomes of the others."""


def has_empty_bins(layer: Any, arrays: list[Array]) -> bool:
    boxes = arrays[1]
    sides = boxes[:, 2:] - boxes[:, :2]
    return layer.operator == "roi_align" and bool((sides * layer.arguments["spatial_scale"] <= 0).any())


@pytest.mark.parametrize("operator", OPERATORS)
def test_random_layers_equal_their_graphs_in_openvino(operator: str) -> None:
    row = OPERATORS[operator]
    ran = 0
    for seed in range(24):
        rng = np.random.default_rng([seed, list(OPERATORS).index(operator), 3])
        layer, sizes = random_layer(rng, operator, int(rng.choice([each.dimensions for each in LAYERS[operator]])))
        shape = full_shape(rng, layer, sizes)
        dtype = str(rng.choice([name for name in DTYPES if name in row.dtypes]))
        arrays = random_arrays(rng, layer, shape, dtype)
        if operator == "fractional_max_pool":
            layer = with_samples(rng, layer, shape)
        if operator == "roi_align" and has_empty_bins(layer, arrays):
            continue
        try:
            expected = layer(*arrays)
            model = to_onnx(layer, shape, dtype=dtype, special_values="exact", verify=False)
        except ValueError:
            continue  # integers have no mean of nothing, and few divisors
        results = run_in_openvino(model, arrays)
        ran += 1
        values = expected[0] if isinstance(expected, tuple) else expected
        if isinstance(expected, tuple):
            assert_same(results[1], expected[1])
        if dtype not in FLOATS or row.reducer in ("greatest", "smallest", "place"):
            assert_same(results[0], values)
        else:
            # What this library works out in float64, openvino does in float32.
            rtol, atol = 200 * UNIT["float32"] + 4 * UNIT[dtype], 200 * UNIT["float32"]
            np.testing.assert_allclose(results[0], values, rtol=rtol, atol=atol)
    assert ran >= 8


@pytest.mark.parametrize("operator", FREE)
def test_models_for_maps_of_unknown_sizes_equal_their_layers_in_openvino(operator: str) -> None:
    for seed in range(6):
        rng = np.random.default_rng([seed, FREE.index(operator), 9])
        layer, sizes = random_layer(rng, operator, int(rng.choice([each.dimensions for each in LAYERS[operator]])))
        shape = full_shape(rng, layer, sizes)
        named = with_names(rng, layer, shape)
        model = to_onnx(layer, named, special_values="exact", verify=False)
        for more in MORE:
            arrays = random_arrays(rng, layer, enlarged(layer, shape, named, more), "float32")
            expected = layer(*arrays)
            results = run_in_openvino(model, arrays)
            values = expected[0] if isinstance(expected, tuple) else expected
            if isinstance(expected, tuple):
                assert_same(results[1], expected[1])
            if OPERATORS[operator].reducer in ("greatest", "smallest", "place"):
                assert_same(results[0], values)
            else:
                tolerance = 200 * UNIT["float32"]
                np.testing.assert_allclose(results[0], values, rtol=tolerance, atol=tolerance)
