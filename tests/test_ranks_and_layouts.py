"""Which axes are which: global functions of any rank, pictures that look like maps, views of memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import reference
from tests.conftest import LAYOUTS, assert_same_bytes, random_array

GLOBALS = {"global_max_pool": (), "global_avg_pool": (), "global_lp_pool": (3,)}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("name", GLOBALS)
def test_dimensions_decide_what_the_axes_are(name: str, dimensions: int, batched: bool, layout: Any) -> None:
    x = random_array((2, 3, 4, 5, 2)[: dimensions + 1 + batched], np.float64)
    arguments = GLOBALS[name]
    result = getattr(pooling, name)(x, *arguments, dimensions=dimensions, layout=layout)
    spatial = range(x.ndim)[-dimensions:] if layout == "channels_first" else range(x.ndim)[-dimensions - 1 : -1]
    assert result.shape == tuple(1 if axis in spatial else size for axis, size in enumerate(x.shape))
    exact = getattr(reference, name)(x, *arguments, dimensions=dimensions, layout=layout)
    np.testing.assert_allclose(result, exact, rtol=1e-14)
    grad = random_array(result.shape, np.float64, 1)
    backward = getattr(pooling, f"{name}_backward")(grad, x, *arguments, dimensions=dimensions, layout=layout)
    exact = getattr(reference, f"{name}_backward")(grad, x, *arguments, dimensions=dimensions, layout=layout)
    np.testing.assert_allclose(backward, exact, rtol=1e-13)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", GLOBALS)
def test_four_axes_are_a_batch_of_maps_and_five_of_volumes(name: str, layout: Any) -> None:
    for rank in (4, 5):
        x = random_array((2, 3, 4, 5, 2)[:rank], np.float64)
        given = [getattr(pooling, name)(x, *GLOBALS[name], dimensions=n, layout=layout) for n in (None, rank - 2)]
        assert_same_bytes(*given)
        np.testing.assert_array_equal(
            getattr(reference, name)(x, *GLOBALS[name], layout=layout),
            getattr(reference, name)(x, *GLOBALS[name], dimensions=rank - 2, layout=layout),
        )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rank", [0, 1, 2, 3, 6])
@pytest.mark.parametrize("name", GLOBALS)
def test_other_axes_are_refused_where_nobody_says_what_they_are(name: str, rank: int, layout: Any) -> None:
    x = np.ones((2, 3, 4, 5, 2, 2)[:rank])
    for module in (pooling, reference):
        with pytest.raises(ValueError):
            getattr(module, name)(x, *GLOBALS[name], layout=layout)
        with pytest.raises(ValueError):
            getattr(module, f"{name}_backward")(x, x, *GLOBALS[name], layout=layout)


@pytest.mark.parametrize("dimensions", [0, 4, -1, True, 2.0, "2", (2,)])
@pytest.mark.parametrize("name", GLOBALS)
def test_dimensions_that_are_none_are_refused(name: str, dimensions: Any) -> None:
    x = np.ones((1, 2, 3, 4))
    for call in (getattr(pooling, name), getattr(reference, name)):
        with pytest.raises((TypeError, ValueError)):
            call(x, *GLOBALS[name], dimensions=dimensions)


def test_a_rank_is_part_of_what_a_call_is_remembered_by() -> None:
    x = np.arange(27.0).reshape(3, 3, 3)
    for _ in range(2):
        assert pooling.global_avg_pool(x, dimensions=1).shape == (3, 3, 1)
        assert pooling.global_avg_pool(x, dimensions=2).shape == (3, 1, 1)
        for n in (1, 2):
            grad = pooling.global_avg_pool(x, dimensions=n)
            back = pooling.global_avg_pool_backward(grad, x, dimensions=n)
            assert back[0, 0, 0] == grad[0, 0, 0] / 3**n


# --- pictures ------------------------------------------------------------------------------------------------------

POOLS = {
    "max_pool2d": (2,),
    "avg_pool2d": (2,),
    "lp_pool2d": (2, 2),
    "blur_pool2d": (3,),
    "adaptive_avg_pool2d": (2,),
    "fractional_max_pool2d": (2, 2),
    "gem_pool2d": (),
}


def warned(function: str, shape: tuple[int, ...], dtype: Any, *arguments: Any, **keywords: Any) -> list[str]:
    """The warnings of a call with these arguments, which is not remembered from before."""
    pooling.calls.forget()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        getattr(pooling, function)(np.ones(shape, dtype), *arguments, **keywords)
    assert all(each.filename == __file__ for each in found)
    assert all(issubclass(each.category, pooling.LayoutWarning) for each in found)
    return [str(each.message) for each in found]


@pytest.mark.parametrize("function", POOLS)
def test_a_picture_whose_colours_are_pooled_as_columns_is_warned_of(function: str) -> None:
    for shape in ((48, 64, 3), (1, 48, 64, 3)):
        assert warned(function, shape, np.float32, *POOLS[function]) == [
            f"{function}: input of shape {shape} is read with its channels first, so that its last axis is 3 columns; "
            'if these are colours, say layout="channels_last"'
        ]
        assert warned(function, shape, np.float32, *POOLS[function], layout="channels_last") == []


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((480, 640, 3), np.uint8, True),
        ((480, 640, 4), np.uint8, True),
        ((8, 480, 640, 4), np.uint16, True),
        ((16, 32, 32, 3), np.float32, True),
        ((1080, 1920, 3), np.float64, True),
        # maps behind networks
        ((64, 7, 3), np.float32, False),
        ((1, 512, 7, 3), np.float32, False),
        ((1, 2048, 63, 3), np.float32, False),
        ((64, 16, 3), np.float32, False),
        ((16, 1000, 3), np.float32, False),
        ((128, 156, 4), np.float32, False),  # sound: 156 frames of 4 bands
        ((1, 512, 62, 4), np.float32, False),
        ((64, 64, 2), np.uint8, False),
        ((64, 64, 5), np.uint8, False),
        ((3, 480, 640), np.uint8, False),
        ((1, 3, 3, 3), np.float32, False),
        ((32, 64, 100, 1), np.float32, False),
    ],
)
def test_only_pictures_are_warned_of(shape: tuple[int, ...], dtype: Any, expected: bool) -> None:
    assert bool(warned("max_pool2d", shape, dtype, 2, padding=1)) is expected
    assert warned("max_pool1d", shape[-3:], dtype, 1) == []


def test_a_film_is_warned_of_too() -> None:
    assert warned("max_pool3d", (2, 48, 64, 3), np.uint8, 2)
    assert not warned("max_pool3d", (2, 3, 48, 64), np.uint8, 2)


@pytest.mark.parametrize("function", POOLS)
def test_a_warning_made_an_error_leaves_nothing_behind(function: str) -> None:
    x = np.ones((40, 40, 3), np.float32)
    pool, arguments = getattr(pooling, function), POOLS[function]
    pooling.calls.forget()
    with warnings.catch_warnings():
        warnings.simplefilter("error", pooling.LayoutWarning)
        for _ in range(2):
            with pytest.raises(pooling.LayoutWarning):
                pool(x, *arguments)
            assert not pooling.calls._known
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        results = [pool(x, *arguments) for _ in range(3)]
    # Not again for a call that is remembered, whatever the filters say.
    assert [each.category for each in found] == [pooling.LayoutWarning]
    assert {result.shape for result in results} == {results[0].shape}
    if not function.startswith("fractional"):
        assert_same_bytes(results[0], results[2])


def test_a_warning_made_an_error_leaves_out_alone() -> None:
    x, out = np.ones((40, 40, 3), np.float32), np.full((40, 20, 1), 7, np.float32)
    pooling.calls.forget()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(pooling.LayoutWarning):
            pooling.max_pool2d(x, 2, out=out)
    assert (out == 7).all()


def test_a_warning_names_the_line_that_called() -> None:
    x, grad = np.ones((40, 40, 3), np.float32), np.ones((40, 20, 1), np.float32)
    layer = pooling.MaxPool2d(2)
    calls: list[Callable[[], Any]] = [
        lambda: pooling.max_pool2d(x, 2),
        lambda: pooling.max_pool2d(x, 2, return_indices=True),
        lambda: pooling.max_pool2d_backward(grad, x, 2),
        lambda: pooling.avg_pool2d_backward(grad, x, 2),
        lambda: layer(x),
        lambda: layer.backward(grad, x),
        lambda: pooling.Sequential(layer)(x),
        lambda: pooling.global_avg_pool(x, dimensions=2),
        lambda: pooling.lp_pool2d(x, 2, 2),
        lambda: pooling.gem_pool2d(x),
        lambda: pooling.blur_pool2d(x, 3),
        lambda: pooling.max_blur_pool2d(x),
    ]
    for call in calls:
        pooling.calls.forget()
        with pytest.warns(pooling.LayoutWarning) as found:
            call()
        lines = [(Path(each.filename), each.lineno) for each in found]
        assert lines == [(Path(__file__), call.__code__.co_firstlineno)]


# --- views of memory in the other layout ---------------------------------------------------------------------------


def views(dimensions: int, *, batched: bool) -> list[tuple[Any, Any]]:
    """An array as the other layout lies in memory, and that layout's own array; for both layouts."""
    shape = (2, 3, 4, 5, 6)[: dimensions + 1 + batched]
    first = int(batched)
    array = random_array(shape, np.float32)
    last = np.ascontiguousarray(np.moveaxis(array, first, -1))
    return [(np.moveaxis(last, -1, first), last), (np.moveaxis(array, first, -1), array)]


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_a_view_of_the_other_layout_is_pooled_as_it_lies(dimensions: int, batched: bool) -> None:
    first = int(batched)
    for (view, base), layout, other in zip(views(dimensions, batched=batched), LAYOUTS, LAYOUTS[::-1], strict=True):
        for function, arguments in (
            (f"max_pool{dimensions}d", {"kernel_size": 2, "stride": 1, "padding": 1}),
            (f"avg_pool{dimensions}d", {"kernel_size": 2, "stride": 1, "padding": 1}),
            (f"adaptive_max_pool{dimensions}d", {"output_size": 2}),
            ("global_avg_pool", {"dimensions": dimensions}),
        ):
            pool, back = getattr(pooling, function), getattr(pooling, f"{function}_backward")

            def seen(result: Any, layout: str = layout) -> Any:
                return np.moveaxis(result, -1, first) if layout == "channels_first" else np.moveaxis(result, first, -1)

            result, expected = pool(view, **arguments, layout=layout), pool(base, **arguments, layout=other)
            assert_same_bytes(np.ascontiguousarray(result), np.ascontiguousarray(seen(expected)))
            wide = np.ascontiguousarray(view, np.float64)
            exact = getattr(reference, function)(wide, **arguments, layout=layout)
            # Sums of floats may differ between the layouts, each within the bound of all means.
            bound = 0.0
            if "avg" in function:
                bound = 4 * 2.0**-23 * getattr(reference, function)(np.abs(wide), **arguments, layout=layout)
            assert (np.abs(result - exact) <= bound).all()
            out = np.empty_like(result, order="C")
            assert pool(view, **arguments, layout=layout, out=out) is out
            assert (np.abs(out - exact) <= bound).all()
            grad = random_array(expected.shape, np.float32, 1)
            gradient = back(seen(grad), view, **arguments, layout=layout)
            assert_same_bytes(
                np.ascontiguousarray(gradient), np.ascontiguousarray(seen(back(grad, base, **arguments, layout=other)))
            )
            if "max" in function:
                values, indices = pool(view, **arguments, layout=layout, return_indices=True)
                assert_same_bytes(np.ascontiguousarray(values), np.ascontiguousarray(result))
                both = pool(base, **arguments, layout=other, return_indices=True)
                assert_same_bytes(np.ascontiguousarray(indices), np.ascontiguousarray(seen(both[1])))
                again = back(seen(grad), view, **arguments, layout=layout, indices=indices)
                np.testing.assert_array_equal(again, gradient)


@pytest.mark.parametrize("function", ["max_pool2d", "avg_pool2d", "global_avg_pool"])
def test_a_view_of_the_other_layout_is_not_copied(function: str) -> None:
    import tracemalloc

    base = np.ones((1, 256, 256, 8), np.float32)
    view = np.moveaxis(base, -1, 1)
    arguments = () if function == "global_avg_pool" else (4,)
    getattr(pooling, function)(view, *arguments)
    tracemalloc.start()
    try:
        getattr(pooling, function)(view, *arguments)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < base.nbytes // 2


def test_errors_show_a_view_as_it_came() -> None:
    view = np.moveaxis(np.ones((1, 6, 6, 3)), -1, 1)
    with pytest.raises(ValueError) as error:
        pooling.max_pool2d(view, 7)
    assert "on axis H" in str(error.value)
    with pytest.raises(ValueError) as error:
        pooling.max_pool3d(view[0], 2)
    assert "input of shape (3, 6, 6) has 3 axes" in str(error.value)
    with pytest.raises(TypeError):
        pooling.max_pool2d(view, 2, return_indices=1)  # type: ignore[call-overload]
