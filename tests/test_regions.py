"""Regions of interest: every dtype, mode and direction against the reference, numerical gradients and onnxruntime."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pooling
from pooling import reference
from tests.conftest import (
    FLOATS,
    LYING,
    TINY,
    UNIT,
    Array,
    assert_same,
    assert_same_bytes,
    assert_within,
    dtype_of,
    random_array,
    special_arrays,
)

NAN, INF = math.nan, math.inf
MODES = ("avg", "max")
TRANSFORMATIONS = ("half_pixel", "output_half_pixel")
WORK = {"float16": UNIT["float32"], "bfloat16": UNIT["float32"], "float32": UNIT["float64"], "float64": UNIT["float64"]}
"""Largest relative error of one rounding on the way to a result, before the one to its dtype."""


def assert_near(result: Array, exact: Array, allowed: Array) -> None:
    """Compare in float64, where NumPy knows NaN for what it is, also that of bfloat16."""
    assert_within(result.astype(np.float64), exact.astype(np.float64), allowed)


def magnitudes(array: Array) -> Array:
    return np.where(np.isfinite(array), np.abs(array.astype(np.float64)), 0)


def allowed_error(x: Array, weighted: Array, terms: int) -> Array:
    """Bound the error of a weighted sum of so many terms, given the same sum of the magnitudes.

    Each term meets one rounding for every addition, and five more: in its two weights, in their division by the number
    of samples, and in two products. Then the sum is rounded to its dtype, and may be a denormal.
    """
    name = x.dtype.name
    return ((terms + 5) * WORK[name] * 1.01 + UNIT[name]) * weighted + (terms + 5) * TINY[name]


# --- calls --------------------------------------------------------------------------------------------------------

Call = tuple[Array, tuple[Any, ...], dict[str, Any]]


@st.composite
def boxes(draw: st.DrawFn, count: int, height: int, width: int, precision: str) -> Array:
    """Draw boxes of all kinds: inside and across the border, of no extent, backwards, and far too large."""
    coordinate = st.sampled_from([-3.0, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 2.3, 3.0, 4.7, 6.0, 9.0])
    rows = draw(st.lists(st.tuples(*[coordinate] * 4), min_size=count, max_size=count))
    made = np.array(rows, np.float64).reshape(count, 4)
    return made.astype(dtype_of(precision))


def arrays(dtype: np.dtype[Any], shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    """Draw special values; NumPy knows none of bfloat16, so there they are those of float32, rounded."""
    known = np.dtype(np.float32) if dtype.name == "bfloat16" else dtype
    return special_arrays(known, shape, summed=True).map(lambda array: array.astype(dtype))


@st.composite
def maps(draw: st.DrawFn, dtype: str) -> Array:
    shape = draw(st.tuples(st.integers(1, 2), st.integers(0, 2), st.integers(1, 6), st.integers(1, 6)))
    return draw(arrays(dtype_of(dtype), shape))


@st.composite
def max_calls(draw: st.DrawFn, dtype: str) -> Call:
    x = draw(maps(dtype))
    count = draw(st.integers(0, 3))
    rois = draw(boxes(count, *x.shape[2:], draw(st.sampled_from(FLOATS))))
    n = draw(st.lists(st.integers(0, len(x) - 1), min_size=count, max_size=count))
    rois = np.concatenate([np.array(n, rois.dtype).reshape(count, 1), rois], 1)
    size = draw(st.integers(1, 4) | st.tuples(st.integers(1, 4), st.integers(1, 4)))
    return x, (rois, size, draw(st.sampled_from([1.0, 0.5, 1.3]))), {}


@st.composite
def align_calls(draw: st.DrawFn, dtype: str, mode: str) -> Call:
    x = draw(maps(dtype))
    count = draw(st.integers(0, 3))
    rois = draw(boxes(count, *x.shape[2:], draw(st.sampled_from(FLOATS))))
    n = draw(st.lists(st.integers(0, len(x) - 1), min_size=count, max_size=count))
    size = draw(st.integers(1, 4) | st.tuples(st.integers(1, 4), st.integers(1, 4)))
    keywords = {
        "spatial_scale": draw(st.sampled_from([1.0, 0.5, 1.3])),
        "sampling_ratio": draw(st.sampled_from([0, 1, 2, 3])),
        "mode": mode,
        "coordinate_transformation_mode": draw(st.sampled_from(TRANSFORMATIONS)),
    }
    return x, (rois, np.array(n, np.int64), size), keywords


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    except (TypeError, ValueError) as error:
        return type(error)


# --- against the reference ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_any_max_roi_pool_is_that_of_the_reference(dtype: str, data: st.DataObject) -> None:
    x, args, _ = data.draw(max_calls(dtype))
    expected = outcome(reference.max_roi_pool, x, *args)
    if isinstance(expected, type):
        with pytest.raises(expected):
            pooling.max_roi_pool(x, *args)
        return
    result = pooling.max_roi_pool(x, *args)
    assert result.dtype == x.dtype
    np.testing.assert_array_equal(result.astype(np.float64), expected.astype(np.float64))
    grad = data.draw(arrays(x.dtype, expected.shape))
    result = pooling.max_roi_pool_backward(grad, x, *args)
    with np.errstate(all="ignore"):
        exact = reference.max_roi_pool_backward(grad.astype(np.float64), x.astype(np.float64), *args)
        weighted = reference.max_roi_pool_backward(magnitudes(grad), x.astype(np.float64), *args)
    assert result.dtype == x.dtype
    assert_near(result, exact, allowed_error(x, weighted, grad.size))


def neighbours(x: Array, args: tuple[Any, ...], keywords: dict[str, Any]) -> int:
    """Bound the samples of all bins of a region, in pixels that they lie between."""
    extent = np.abs(args[0].astype(np.float64)).max(initial=0) * 2 * keywords["spatial_scale"] + 2
    return 4 * (int(extent) + 2 + 4 * 3) ** 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_any_roi_align_is_that_of_the_reference(dtype: str, mode: str, data: st.DataObject) -> None:
    x, args, keywords = data.draw(align_calls(dtype, mode))
    expected = outcome(reference.roi_align, x.astype(np.float64), *args, **keywords)
    if isinstance(expected, type):
        with pytest.raises(expected):
            pooling.roi_align(x, *args, **keywords)
        return
    result = pooling.roi_align(x, *args, **keywords)
    assert result.dtype == x.dtype
    terms = neighbours(x, args, keywords)
    weighted = reference.roi_align(magnitudes(x), *args, **keywords)
    assert_near(result, expected, allowed_error(x, weighted, terms))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_any_gradient_of_roi_align_is_that_of_the_reference(dtype: str, mode: str, data: st.DataObject) -> None:
    x, args, keywords = data.draw(align_calls(dtype, mode))
    # Samples that tie only when rounded would send the gradient elsewhere.
    x = random_array(x.shape, x.dtype, data.draw(st.integers(0, 9)))
    output = outcome(reference.roi_align, x, *args, **keywords)
    if isinstance(output, type):
        with pytest.raises(output):
            pooling.roi_align_backward(np.zeros((1,), x.dtype), x, *args, **keywords)
        return
    grad = data.draw(arrays(x.dtype, output.shape))
    result = pooling.roi_align_backward(grad, x, *args, **keywords)
    with np.errstate(all="ignore"):
        exact = reference.roi_align_backward(grad.astype(np.float64), x.astype(np.float64), *args, **keywords)
        weighted = reference.roi_align_backward(magnitudes(grad), x.astype(np.float64), *args, **keywords)
    assert result.dtype == x.dtype
    assert_near(result, exact, allowed_error(x, weighted, neighbours(x, args, keywords) + grad.size))


@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients_of_equal_samples_go_to_the_first(dtype: str) -> None:
    # 0.1 and its like are no binary fractions: equal pixels must give equal samples all the same.
    x = np.full((1, 1, 5, 5), 0.1).astype(dtype_of(dtype))
    box, here = np.array([[0.3, 0.4, 4.1, 4.6]]), np.array([0])
    grad = np.ones((1, 1, 2, 2), x.dtype)
    assert_same(pooling.roi_align(x, box, here, 2, mode="max"), np.full((1, 1, 2, 2), x[0, 0, 0, 0]))
    result = pooling.roi_align_backward(grad, x, box, here, 2, mode="max", sampling_ratio=3)
    expected = reference.roi_align_backward(grad, x, box, here, 2, mode="max", sampling_ratio=3)
    np.testing.assert_allclose(result.astype(float), expected.astype(float), rtol=2 * UNIT[dtype])


def test_a_sample_off_the_map_is_zero_and_ties_in_its_turn() -> None:
    # Zeros tie with what lies off the map: the gradient is lost if that comes first.
    here, grad = np.array([0]), np.ones((1, 1, 1, 1))
    for x in (np.zeros((1, 1, 3, 3)), -np.ones((1, 1, 3, 3)), np.full((1, 1, 3, 3), NAN)):
        for box in itertools.product([-6.0, 0.0], [-6.0, 0.0], [3.0, 9.0], [3.0, 9.0]):
            for ratio in (1, 2, 3, 5):
                arguments = (np.array([box]), here, 1, 1.0, ratio, "max")
                assert_same(pooling.roi_align(x, *arguments), reference.roi_align(x, *arguments))
                np.testing.assert_allclose(
                    pooling.roi_align_backward(grad, x, *arguments),
                    reference.roi_align_backward(grad, x, *arguments),
                    rtol=1e-15,
                )


def test_enormous_finite_boxes_of_max_roi_pool_are_cut_exactly() -> None:
    x = random_array((1, 2, 5, 6))
    for low, high in itertools.product([-1e300, -(2.0**62), -1e15, 0.0], [4.0, 1e15, 2.0**62, 1e300]):
        rois = np.array([[0, low, low, high, high]])
        for size in (1, 2, 3, 7, (5, 4)):
            assert_same(pooling.max_roi_pool(x, rois, size), reference.max_roi_pool(x, rois, size))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_boxes_much_larger_than_the_map_are_sampled_on_the_map_only(precision: str) -> None:
    x = random_array((1, 1, 3, 4))
    box, here = np.array([[-20.3, -30.0, 25.7, 3.0]], precision), np.array([0])
    for mode, how, size in itertools.product(MODES, TRANSFORMATIONS, (1, 3)):
        arguments = (box, here, size, 1.0, 0, mode, how)
        result = pooling.roi_align(x, *arguments)
        exact = reference.roi_align(x, *arguments)
        weighted = reference.roi_align(np.abs(x), *arguments)
        assert_near(result, exact, allowed_error(x, weighted, 4 * 12))


def test_many_samples_in_bins_are_held_to_the_same_bound() -> None:
    x = random_array((1, 2, 9, 9), np.float64)
    box, here = np.array([[0.4, 8.3, 8.7, 1.1], [3.0, 3.0, 3.2, 3.2]]), np.array([0, 0])
    for ratio, how in itertools.product((1, 7), TRANSFORMATIONS):
        arguments = (box, here, 2, 1.0, ratio, "avg", how)
        weighted = reference.roi_align(np.abs(x), *arguments)
        assert_near(
            pooling.roi_align(x, *arguments),
            reference.roi_align(x, *arguments),
            allowed_error(x, weighted, 4 * ratio + 18),
        )


# --- numerical gradients, onnxruntime -----------------------------------------------------------------------------


def numerical(function: Callable[[Array], Array], x: Array, grad: Array) -> Array:
    """Differentiate by central differences."""
    result = np.zeros_like(x)
    for cell in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[cell] = 1e-5
        result[cell] = ((function(x + step) - function(x - step)) * grad).sum() / 2e-5
    return result


def test_gradients_are_the_numerical_ones() -> None:
    x = random_array((2, 2, 4, 5))
    rois = np.array([[1, 0, 0, 3, 3], [0, 1, 1, 4, 4], [1, 2, 1, 5, 3]], float)
    grad = random_array((3, 2, 2, 3), seed=1)
    expected = numerical(lambda moved: pooling.max_roi_pool(moved, rois, (2, 3)), x, grad)
    np.testing.assert_allclose(pooling.max_roi_pool_backward(grad, x, rois, (2, 3)), expected, atol=1e-8)
    batch = rois[:, 0].astype(np.int64)
    for mode, ratio, how in itertools.product(MODES, (0, 2), TRANSFORMATIONS):
        arguments = (rois[:, 1:], batch, (2, 3), 0.9, ratio, mode, how)
        expected = numerical(lambda moved, arguments=arguments: pooling.roi_align(moved, *arguments), x, grad)
        np.testing.assert_allclose(pooling.roi_align_backward(grad, x, *arguments), expected, atol=1e-8)


def in_onnxruntime(op_type: str, opset: int, inputs: dict[str, Array], **attributes: Any) -> Array:
    """Run one node in onnxruntime."""
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    helper, types = onnx.helper, onnx.helper.np_dtype_to_tensor_dtype
    declared = [helper.make_tensor_value_info(name, types(a.dtype), a.shape) for name, a in inputs.items()]
    result = helper.make_tensor_value_info("Y", types(inputs["X"].dtype), None)
    graph = helper.make_graph(
        [helper.make_node(op_type, list(inputs), ["Y"], **attributes)], "node", declared, [result]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, inputs)
    return np.asarray(output)


@pytest.mark.parametrize("how", TRANSFORMATIONS)
@pytest.mark.parametrize("ratio", [0, 1, 2, 3])
def test_means_of_samples_are_those_of_onnxruntime(ratio: int, how: str) -> None:
    x = random_array((2, 3, 12, 15), np.float32)
    random = np.random.default_rng(ratio)
    corner = random.uniform(0, 14, (20, 2))
    rois = np.concatenate([corner, corner + random.uniform(0.5, 14, (20, 2))], 1).astype(np.float32)
    n = random.integers(0, 2, 20)
    theirs = in_onnxruntime(
        "RoiAlign",
        16,
        {"X": x, "rois": rois, "batch_indices": n},
        output_height=3,
        output_width=4,
        sampling_ratio=ratio,
        spatial_scale=0.75,
        coordinate_transformation_mode=how,
    )
    ours = pooling.roi_align(x, rois, n, (3, 4), 0.75, ratio, "avg", how)
    # They add in float, and their weights have the error of coordinates up to 16 in float.
    samples = max(ratio, 6) ** 2
    allowed = (4 * samples + 16 + 8) * UNIT["float32"] * np.abs(x).max()
    assert np.abs(ours.astype(np.float64) - theirs).max() <= allowed


def test_onnxruntime_takes_the_greatest_of_weighted_corners_instead_of_samples() -> None:
    x = np.ones((1, 1, 4, 4), np.float32)
    box, here = np.array([[1.0, 1, 2, 2]], np.float32), np.array([0])
    theirs = in_onnxruntime(
        "RoiAlign",
        16,
        {"X": x, "rois": box, "batch_indices": here},
        output_height=1,
        output_width=1,
        sampling_ratio=1,
        mode="max",
        coordinate_transformation_mode="output_half_pixel",
    )
    assert theirs.item() == 0.25
    ours = pooling.roi_align(x, box, here, 1, 1.0, 1, "max", "output_half_pixel")
    assert ours.item() == 1


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_greatest_elements_are_those_of_onnxruntime(scale: float) -> None:
    x = random_array((2, 3, 12, 15), np.float32)
    random = np.random.default_rng(3)
    corner = random.integers(0, 6, (30, 2))
    rois = np.concatenate([random.integers(0, 2, (30, 1)), corner, corner + random.integers(0, 9, (30, 2))], 1)
    rois = rois.astype(np.float32)
    # Divided by a power of two, windows are cut in float without a rounding.
    theirs = in_onnxruntime("MaxRoiPool", 1, {"X": x, "rois": rois}, pooled_shape=[2, 4], spatial_scale=scale)
    assert_same(pooling.max_roi_pool(x, rois, (2, 4), scale), theirs)


# --- arrays, threads and layers -----------------------------------------------------------------------------------

ROIS = np.array([[0, 0.5, 0.25, 3, 4], [1, 1, 1, 4.5, 2], [0, 2, 2, 3, 3]])
BATCH = ROIS[:, 0].astype(np.int64)


def every_call(x: Array) -> dict[str, tuple[Callable[..., Array], tuple[Any, ...]]]:
    """List a forward and a backward call of each operator and mode."""
    grad = random_array((3, x.shape[1], 2, 3), x.dtype, 5)
    found: dict[str, tuple[Callable[..., Array], tuple[Any, ...]]] = {
        "max_roi_pool": (pooling.max_roi_pool, (x, ROIS, (2, 3))),
        "max_roi_pool_backward": (pooling.max_roi_pool_backward, (grad, x, ROIS, (2, 3))),
    }
    for mode in MODES:
        arguments = (x, ROIS[:, 1:], BATCH, (2, 3), 1.0, 0, mode)
        found[f"roi_align_{mode}"] = (pooling.roi_align, arguments)
        found[f"roi_align_{mode}_backward"] = (pooling.roi_align_backward, (grad, *arguments))
    return found


NAMES = list(every_call(np.zeros((2, 1, 2, 2))))


@pytest.mark.parametrize("lying", LYING)
@pytest.mark.parametrize("name", NAMES)
def test_it_does_not_matter_how_arrays_lie_in_memory(name: str, lying: str) -> None:
    x = random_array((2, 3, 5, 6))
    function, args = every_call(LYING["broadcast"](x) if lying == "broadcast" else x)[name]
    expected = function(*args)
    moved = [LYING[lying](arg) if isinstance(arg, np.ndarray) and lying != "broadcast" else arg for arg in args]
    before = [arg.tobytes() for arg in moved if isinstance(arg, np.ndarray)]
    assert_same_bytes(function(*moved), expected)
    assert [arg.tobytes() for arg in moved if isinstance(arg, np.ndarray)] == before


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("always_parallel")
def test_threads_change_no_byte(name: str, dtype: str) -> None:
    function, args = every_call(random_array((2, 5, 5, 6), dtype_of(dtype)))[name]
    with pooling.threads(1):
        alone = function(*args)
    for count in (2, 3, 7):
        with pooling.threads(count):
            assert_same_bytes(function(*args), alone)


@pytest.mark.parametrize("name", NAMES)
def test_results_go_where_out_says(name: str) -> None:
    function, args = every_call(random_array((2, 3, 5, 6)))[name]
    expected = function(*args)
    out = np.full_like(expected, 7)
    assert function(*args, out=out) is out
    assert_same_bytes(out, expected)
    with pytest.raises(ValueError, match="out has shape"):
        function(*args, out=out[:1])
    with pytest.raises(TypeError, match="out has dtype"):
        function(*args, out=out.astype(np.float32))
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        function(*args, out=out)


def test_out_must_not_overlap_an_input() -> None:
    memory = np.zeros((3, 1, 2, 2))
    grad, x = memory, memory[:1]
    box = np.array([[0.0, 0, 1, 1]] * 3)
    with pytest.raises(ValueError, match="out overlaps an input"):
        pooling.roi_align_backward(grad, x, box, np.zeros(3, np.int64), 2, out=x)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("channels", "regions"), [(0, 2), (2, 0), (0, 0)])
def test_no_channels_or_no_regions(channels: int, regions: int, dtype: str) -> None:
    x = np.ones((1, channels, 3, 4), dtype_of(dtype))
    box, n = np.ones((regions, 4)), np.zeros(regions, np.int64)
    rois = np.concatenate([np.zeros((regions, 1)), box], 1)
    assert pooling.max_roi_pool(x, rois, 2).shape == (regions, channels, 2, 2)
    grad = pooling.roi_align(x, box, n, 2)
    assert grad.shape == (regions, channels, 2, 2)
    for mode in MODES:
        assert_same(pooling.roi_align_backward(grad, x, box, n, 2, mode=mode), np.zeros_like(x))
    assert_same(pooling.max_roi_pool_backward(grad, x, rois, 2), np.zeros_like(x))


def test_no_maps_and_no_regions() -> None:
    x = np.ones((0, 2, 3, 4))
    assert pooling.max_roi_pool(x, np.zeros((0, 5)), 2).shape == (0, 2, 2, 2)
    assert pooling.roi_align(x, np.zeros((0, 4)), np.zeros(0, np.int64), 2).shape == (0, 2, 2, 2)


def test_arrays_are_read_and_written_within_their_bounds(guarded: Callable[..., Array]) -> None:
    for at_end, dtype in itertools.product((True, False), ("float16", "float32", "float64")):
        x = guarded((2, 3, 5, 7), dtype, at_end=at_end)
        x[...] = random_array(x.shape, dtype)
        rois = np.array([[1, -2, -2, 9, 9], [0, 6, 4, 7, 5], [1, 0, 0, 6, 4]], float)
        n = rois[:, 0].astype(np.int64)
        out = guarded((3, 3, 2, 4), dtype, at_end=at_end)
        back = guarded(x.shape, dtype, at_end=at_end)
        pooling.max_roi_pool(x, rois, (2, 4), out=out)
        pooling.max_roi_pool_backward(out, x, rois, (2, 4), out=back)
        for mode, ratio in itertools.product(MODES, (0, 1, 5)):
            pooling.roi_align(x, rois[:, 1:], n, (2, 4), 1.0, ratio, mode, out=out)
            pooling.roi_align_backward(out, x, rois[:, 1:], n, (2, 4), 1.0, ratio, mode, out=back)


def test_layers_do_what_their_functions_do() -> None:
    x = random_array((2, 3, 5, 6))
    grad = random_array((3, 3, 2, 3), seed=1)
    pool = pooling.MaxRoIPool((2, 3), spatial_scale=0.5)
    assert repr(pool) == "MaxRoIPool(output_size=(2, 3), spatial_scale=0.5)"
    assert_same(pool(x, ROIS), pooling.max_roi_pool(x, ROIS, (2, 3), 0.5))
    assert_same(pool.backward(grad, x, ROIS), pooling.max_roi_pool_backward(grad, x, ROIS, (2, 3), 0.5))
    assert pool.output_shape(x.shape, regions=3) == pool(x, ROIS).shape
    align = pooling.RoIAlign((2, 3), mode="max", sampling_ratio=2)
    assert repr(align) == "RoIAlign(output_size=(2, 3), sampling_ratio=2, mode='max')"
    arguments = (ROIS[:, 1:], BATCH, (2, 3), 1.0, 2, "max")
    assert_same(align(x, ROIS[:, 1:], BATCH), pooling.roi_align(x, *arguments))
    assert_same(align.backward(grad, x, ROIS[:, 1:], BATCH), pooling.roi_align_backward(grad, x, *arguments))
    assert align.output_shape(x.shape, regions=0) == (0, 3, 2, 3)
    with pytest.raises(ValueError, match="windows follow from the regions of a call"):
        align.axes(x.shape)
    with pytest.raises(ValueError, match=r"must be \(N, C, H, W\)"):
        align.output_shape((3, 5, 6))


# --- sentences ----------------------------------------------------------------------------------------------------

X = np.zeros((1, 1, 4, 4))
BOX = np.array([[0.0, 0, 1, 1]])
HERE = np.array([0])


def align(box: Any = BOX, n: Any = HERE, size: Any = 2, x: Any = X, **keywords: Any) -> Array:
    return pooling.roi_align(x, box, n, size, **keywords)


def largest(roi: Any, size: Any = 2, x: Any = X, **keywords: Any) -> Array:
    return pooling.max_roi_pool(x, np.array([roi]), size, **keywords)


SENTENCES: dict[str, tuple[Callable[[], Array], type[Exception], str]] = {
    "integer_maps": (
        lambda: align(x=X.astype(int)),
        TypeError,
        "roi_align: input has dtype int64, which is not accepted; use float16, bfloat16, float32, float64",
    ),
    "unbatched": (
        lambda: align(x=X[0]),
        ValueError,
        "roi_align: input of shape (1, 4, 4) must be (N, C, H, W) with H and W at least 1",
    ),
    "integer_boxes": (
        lambda: align([[0, 0, 1, 1]]),
        TypeError,
        "roi_align: rois has dtype int64, which is not accepted; use float16, bfloat16, float32, float64",
    ),
    "columns": (
        lambda: align(np.zeros((2, 5)), np.zeros(2, int)),
        ValueError,
        "roi_align: rois has shape (2, 5); it must have 4 columns: x1, y1, x2, y2",
    ),
    "max_columns": (
        lambda: largest([0.0, 0, 1, 1]),
        ValueError,
        "max_roi_pool: rois has shape (1, 4); it must have 5 columns: map, x1, y1, x2, y2",
    ),
    "nan": (
        lambda: align([[0.0, NAN, 1, 1]]),
        ValueError,
        "roi_align: rois[0] is [0, nan, 1, 1]; a box must be finite, and so must its extent, also times "
        "spatial_scale=1.0 in float64",
    ),
    "infinite": (
        lambda: largest([0, 0, 0, INF, 1]),
        ValueError,
        "max_roi_pool: rois[0] is [0, 0, 0, inf, 1]; a box must be finite, and so must its extent, also times "
        "spatial_scale=1.0 in float64",
    ),
    "extent": (
        lambda: align([[-1e308, 0, 1.7e308, 1]]),
        ValueError,
        "roi_align: rois[0] is [-1e+308, 0, 1.7e+308, 1]; a box must be finite, and so must its extent, also times "
        "spatial_scale=1.0 in float64",
    ),
    "scaled_beyond_float32": (
        lambda: align(BOX.astype(np.float32) + 1, spatial_scale=1e300),
        ValueError,
        "roi_align: rois[0] is [1, 1, 2, 2]; a box must be finite, and so must its extent, also times "
        "spatial_scale=1e+300 in float32",
    ),
    "right_of_the_map": (
        lambda: align([[5.0, 0, 9, 1]]),
        ValueError,
        "roi_align: rois[0] scaled is [5, 0, 9, 1], which does not meet its map of 4 x 4 pixels",
    ),
    "above_the_map": (
        lambda: largest([0, 0, -9, 3, -1.5]),
        ValueError,
        "max_roi_pool: rois[0] scaled is [0, -9, 3, -1.5], which does not meet its map of 4 x 4 pixels",
    ),
    "enormous": (
        lambda: align([[-1e12, 0, 1e12, 4]]),
        ValueError,
        "roi_align: rois[0] scaled is [-1e+12, 0, 1e+12, 4], which takes more than 1048576 samples in a bin on axis W "
        "with sampling_ratio=0; use a smaller box, or sampling_ratio=2",
    ),
    "no_such_map": (
        lambda: align(n=np.array([1])),
        ValueError,
        "roi_align: batch_indices[0] is 1, but the input has 1 map; give a whole number from 0 up to the last of them",
    ),
    "negative_map": (
        lambda: align(n=np.array([-1])),
        ValueError,
        "roi_align: batch_indices[0] is -1, but the input has 1 map; give a whole number from 0 up to the last of them",
    ),
    "half_a_map": (
        lambda: largest([0.5, 0, 0, 1, 1]),
        ValueError,
        "max_roi_pool: rois[0, 0] is 0.5, but the input has 1 map; give a whole number from 0 up to the last of them",
    ),
    "maps_that_are_floats": (
        lambda: align(n=np.zeros(1)),
        TypeError,
        "roi_align: batch_indices has dtype float64, which is not accepted; use int64",
    ),
    "too_few_maps": (
        lambda: align(n=np.zeros(0, int)),
        ValueError,
        "roi_align: batch_indices has shape (0,), but rois has 1 row; give one index for each row",
    ),
    "output_size": (
        lambda: align(size=(2, 0)),
        ValueError,
        "roi_align: output_size=(2, 0) must be at least 1 on axis W, not 0",
    ),
    "output_beyond_64_bits": (
        lambda: largest([0.0, 0, 0, 1, 1], 2**31),
        ValueError,
        "max_roi_pool: the result would have shape (1, 1, 2147483648, 2147483648) with 8 bytes an element, more than "
        "64 bits can address; use smaller sizes",
    ),
    "no_scale": (
        lambda: align(spatial_scale=0),
        ValueError,
        "roi_align: spatial_scale=0 must be positive and finite",
    ),
    "scale_of_another_kind": (
        lambda: largest([0.0, 0, 0, 1, 1], spatial_scale="1"),
        TypeError,
        "max_roi_pool: spatial_scale='1' must be a number, not str",
    ),
    "negative_ratio": (
        lambda: align(sampling_ratio=-1),
        ValueError,
        "roi_align: sampling_ratio=-1 must be between 0 and 1024; use 0 to take about one sample for each pixel",
    ),
    "enormous_ratio": (
        lambda: align(sampling_ratio=2**62),
        ValueError,
        "roi_align: sampling_ratio=4611686018427387904 must be between 0 and 1024; use 0 to take about one sample for "
        "each pixel",
    ),
    "true_ratio": (
        lambda: align(sampling_ratio=True),
        TypeError,
        "roi_align: sampling_ratio=True must be an integer, not bool",
    ),
    "mode": (lambda: align(mode="min"), ValueError, "roi_align: mode='min' must be 'avg' or 'max'"),
    "transformation": (
        lambda: align(coordinate_transformation_mode="asymmetric"),
        ValueError,
        "roi_align: coordinate_transformation_mode='asymmetric' must be 'half_pixel' or 'output_half_pixel'",
    ),
    "mode_of_another_kind": (
        lambda: align(mode=1),
        TypeError,
        "roi_align: mode=1 must be a string, not int; use 'avg' or 'max'",
    ),
    "gradient_dtype": (
        lambda: pooling.roi_align_backward(np.zeros((1, 1, 2, 2), np.float32), X, BOX, HERE, 2),
        TypeError,
        "roi_align_backward: grad_output has dtype float32, the input float64; give both the same",
    ),
    "gradient_shape": (
        lambda: pooling.max_roi_pool_backward(np.zeros((1, 1, 2, 3)), X, np.zeros((1, 5)), 2),
        ValueError,
        "max_roi_pool_backward: grad_output has shape (1, 1, 2, 3), but the forward call returns (1, 1, 2, 2) for "
        "input (1, 1, 4, 4)",
    ),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_sentences(case: str) -> None:
    call, kind, sentence = SENTENCES[case]
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == sentence


@pytest.mark.parametrize("bad", [0, -1, True, 1.5, NAN, INF, None, "2", (2,), 2**63, 2**62])
@pytest.mark.parametrize("argument", ["output_size", "spatial_scale", "sampling_ratio"])
def test_bad_numbers_are_refused_or_right_as_the_reference_has_it(argument: str, bad: Any) -> None:
    keywords = {"output_size": 1, argument: bad}
    if bad in (2**62, 2**63):
        kind: Any = ValueError  # the reference would take for ever
    else:
        kind = outcome(reference.roi_align, X, BOX, HERE, **keywords)
    if isinstance(kind, type):
        with pytest.raises(kind, match=r"^roi_align: "):
            pooling.roi_align(X, BOX, HERE, **keywords)
    else:
        assert_same(pooling.roi_align(X, BOX, HERE, **keywords), kind)


# --- large maps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("shape", [(2, 2, 900, 700), (1, 1, 3, 600_000), (1, 2, 600_000, 2)])
def test_gradients_of_large_maps_are_those_of_float64_rounded(shape: tuple[int, ...], dtype: str) -> None:
    """Sums are float64, kept for a strip of rows at a time; arrays of float64 are summed as a whole."""
    rng = np.random.default_rng(5)
    batch, channels, height, width = shape
    x = (rng.normal(size=shape) * 3).round()  # with equal elements
    x[rng.random(shape) < 0.01] = NAN
    corners = rng.random((24, 2, 2)) * [width - 1, height - 1]
    corners[0] = [[0, 0], [width, height]]
    corners[1] = [[0, height / 2], [width, height / 2 + 1]]
    boxes = corners.reshape(24, 4).astype(np.float32)
    where = rng.integers(0, batch, 24)
    ordered = np.concatenate([where[:, np.newaxis], np.sort(corners, 1).reshape(24, 4)], 1).astype(np.float32)
    narrow, g = x.astype(dtype), rng.normal(size=(24, channels, 5, 4)).astype(dtype)

    def made(function: Callable[..., Array], *args: Any, **keywords: Any) -> None:
        exact = function(g.astype(np.float64), narrow.astype(np.float64), *args, **keywords)
        for threads in (1, 2):
            with pooling.threads(threads):
                assert_same(function(g, narrow, *args, **keywords), exact.astype(dtype))

    for ratio in (0, 2) if max(shape) < 1000 else (3,):
        for mode in MODES:
            for transformation in TRANSFORMATIONS:
                made(
                    pooling.roi_align_backward,
                    boxes,
                    where,
                    (5, 4),
                    sampling_ratio=ratio,
                    mode=mode,
                    coordinate_transformation_mode=transformation,
                )
    made(pooling.max_roi_pool_backward, ordered, (5, 4))
