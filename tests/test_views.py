"""Arrays that do not lie side by side: pooled to the same bytes as their copies, and without one where that can be."""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pooling
from pooling import _core, arrays
from tests.conftest import LAYOUTS, Array, assert_same_bytes, channels_last, dtype_of, random_array, resolved_call

Place = Callable[[Array], Array]


def _cropped(array: Array) -> Array:
    """A part of a larger array: some cells are left out at both ends of each axis."""
    large = np.full(tuple(size + 3 for size in array.shape), 77, array.dtype)
    view = large[tuple(slice(1, 1 + size) for size in array.shape)]
    view[...] = array
    return view


def _stepped(axis: int, step: int) -> Place:
    def place(array: Array) -> Array:
        shape = list(array.shape)
        shape[axis] = shape[axis] * abs(step)
        index: list[Any] = [slice(None)] * array.ndim
        index[axis] = slice(None, None, step)
        view = np.full(shape, 77, array.dtype)[tuple(index)]
        view[...] = array
        return view

    return place


def _permuted(*axes: int) -> Place:
    """The axes lie in this order in memory; those that are not named lie behind."""

    def place(array: Array) -> Array:
        order = [*axes, *(axis for axis in range(array.ndim) if axis not in axes)]
        return np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order))

    return place


def _broadcast(axis: int) -> Place:
    def place(array: Array) -> Array:
        return np.broadcast_to(array.take([0], axis), array.shape)

    return place


def _unaligned(array: Array) -> Array:
    view = np.frombuffer(bytearray(array.nbytes + 1), np.uint8)[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


PLACES: dict[str, Place] = {
    "cropped": _cropped,
    "every second column": _stepped(-1, 2),
    "every third column": _stepped(-1, 3),
    "every second row": _stepped(-2, 2),
    "every second channel": _stepped(1, 2),
    "every second of the batch": _stepped(0, 2),
    "columns backwards": _stepped(-1, -1),
    "rows backwards": _stepped(-2, -1),
    "batch backwards": _stepped(0, -2),
    "batch and channels turned": _permuted(1, 0),
    "channels last": _permuted(0, 2, 3),
    "batch last": _permuted(1, 2, 3),
    "last axis second": _permuted(0, 3, 1),
    "Fortran order": np.asfortranarray,
    "the same column": _broadcast(-1),
    "the same row": _broadcast(-2),
    "the same map": _broadcast(1),
    "unaligned": _unaligned,
}

FORWARD: dict[str, tuple[str, dict[str, Any]]] = {
    "3 x 3 s2": ("max_pool2d", {"kernel_size": 3, "stride": 2, "padding": 1}),
    "smallest 2 x 2": ("min_pool2d", {"kernel_size": 2}),
    "mean 3 x 3": ("avg_pool2d", {"kernel_size": 3, "stride": 1, "padding": 1, "count_include_pad": False}),
    "mean 5 x 4, dilated": ("avg_pool2d", {"kernel_size": (5, 4), "stride": (3, 2), "padding": 4, "dilation": (3, 2)}),
    "long windows": ("avg_pool2d", {"kernel_size": 23, "stride": 1, "padding": 11}),
    "adaptive": ("adaptive_avg_pool2d", {"output_size": (5, 7)}),
    "adaptive maximum": ("adaptive_max_pool2d", {"output_size": (1, 3)}),
    "global": ("global_avg_pool", {}),
    "global maximum": ("global_max_pool", {}),
}
SHAPES = {
    "many small maps": (3, 9, 20, 21),
    "maps of a row": (2, 40, 30, 130),
    "a large map": (1, 1, 420, 700),
    "large maps": (2, 2, 390, 410),
}


def placed(x: Array, layout: str) -> Array:
    return x if layout == "channels_first" else channels_last(x)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("place", PLACES)
def test_a_view_is_pooled_like_its_copy(place: str, shape: str, layout: str) -> None:
    for number, (function, arguments) in enumerate(FORWARD.values()):
        threads = 1 + 2 * (number % 2)
        for dtype in ("float32", ("uint8", "float16", "float64", "int16")[number % 4])[number % 3 == 2 :]:
            x = placed(random_array(SHAPES[shape], dtype, number), layout)
            view = PLACES[place](x)
            copy = np.array(view, order="C")
            pool = getattr(pooling, function)
            keywords = {**arguments, "layout": layout}
            expected = pool(copy, **keywords)
            out = np.empty_like(expected)
            with pooling.threads(threads):
                assert pool(view, **keywords, out=out) is out
                assert_same_bytes(out, expected)
                if "avg" in function and dtype.startswith("float") and not view.flags.c_contiguous:
                    # Where the other layout lies in memory, that is pooled; its sums may differ by roundings.
                    moved = np.moveaxis(view, *((1, -1) if layout == "channels_first" else (-1, 1)))
                    if moved.flags.c_contiguous:
                        continue
                assert_same_bytes(np.ascontiguousarray(pool(view, **keywords)), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("place", PLACES)
def test_indices_of_a_view_are_those_of_its_copy(place: str, layout: str) -> None:
    for shape in SHAPES.values():
        for dtype in ("float32", "uint8", "float16"):
            x = placed(random_array(shape, dtype), layout)
            view = PLACES[place](x)
            copy = np.array(view, order="C")
            wide = (min(20, shape[2]), min(130, shape[3]))
            for arguments in ((3, 2, 1), (2, 2), (31, 1, 15), ((1, 5), 1), (wide, wide)):
                expected = pooling.max_pool2d(copy, *arguments, return_indices=True, layout=layout)
                for threads in (1, 3):
                    with pooling.threads(threads):
                        found = pooling.max_pool2d(view, *arguments, return_indices=True, layout=layout)
                    for result, whole in zip(found, expected, strict=True):
                        assert_same_bytes(np.ascontiguousarray(result), whole)


@pytest.mark.parametrize("place", PLACES)
def test_gradients_of_views_are_those_of_their_copies(place: str) -> None:
    x = random_array((2, 5, 41, 64), np.float32)
    view = PLACES[place](x)
    copy = np.array(view, order="C")
    for function, arguments in FORWARD.values():
        gradient = random_array(getattr(pooling, function)(copy, **arguments).shape, np.float32, 3)
        lying = PLACES[place](gradient)
        given = np.array(lying, order="C")
        backward = getattr(pooling, f"{function}_backward")
        expected = backward(given, copy, **arguments)
        for pair in ((lying, copy), (given, view), (lying, view)):
            out = np.empty_like(expected)
            assert_same_bytes(backward(*pair, **arguments, out=out), expected)
    pooled, indices = pooling.max_pool2d(copy, 3, 2, 1, return_indices=True)
    expected = pooling.max_pool2d_backward(pooled, copy, 3, 2, 1, indices=indices)
    found = pooling.max_pool2d_backward(
        *(PLACES[each](array) for each, array in (("cropped", pooled), ("every second row", copy))),
        3,
        2,
        1,
        indices=_stepped(-1, 2)(indices),
    )
    assert_same_bytes(found, expected)


@pytest.mark.parametrize("place", PLACES)
def test_other_families_read_views_as_their_copies(place: str) -> None:
    x = random_array((2, 4, 40, 44), np.float32)
    view = PLACES[place](x)
    copy = np.array(view, order="C")
    samples = np.full((2, 4, 2), 0.3)
    boxes, maps = np.array([[0.0, 0.0, 30.0, 20.0], [5.0, 2.0, 43.0, 39.0]], np.float32), np.array([1, 0])
    calls: dict[str, Callable[[Array], Any]] = {
        "lp": lambda a: pooling.lp_pool2d(a, 2, 3, 2),
        "gem": lambda a: pooling.gem_pool2d(np.abs(a)),
        "blur": pooling.blur_pool2d,
        "max blur": pooling.max_blur_pool2d,
        "fractional": lambda a: pooling.fractional_max_pool2d(a, 2, output_ratio=0.6, _random_samples=samples),
        "regions": lambda a: pooling.roi_align(a, boxes, maps, 5),
        "lp gradient": lambda a: pooling.lp_pool2d_backward(a[:, :, :20, :22], a, 2, 2),
        "blur gradient": lambda a: pooling.blur_pool2d_backward(a[:, :, ::2, ::2], a),
    }
    for call in calls.values():
        assert_same_bytes(call(view), call(copy))
    pooled, indices = pooling.max_pool2d(copy, 2, return_indices=True)
    lying = PLACES[place](pooled), PLACES[place](indices)
    if "same" not in place:
        assert_same_bytes(pooling.max_unpool2d(*lying, 2), pooling.max_unpool2d(pooled, indices, 2))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("at_end", [False, True])
def test_crops_are_pooled_without_what_lies_around_them(
    at_end: bool, layout: str, guarded: Callable[..., Array]
) -> None:
    shapes = ((3, 5, 12, 14), (2, 3, 9, 33), (2, 40, 5, 7), (1, 2, 70, 90), (1, 1, 30, 3000))
    calls = [*FORWARD.values(), ("max_pool2d", {"kernel_size": 2}), ("avg_pool2d", {"kernel_size": (2, 3)})]
    for number, (function, arguments) in enumerate(calls):
        for shape in shapes:
            dtype = ("float32", "uint8", "float16", "float64")[number % 4]
            x = placed(random_array(shape, dtype, number), layout)
            sizes = list(x.shape)
            crop: list[Any] = [slice(None)] * 4
            for axis, more in ((2, 3), (3, 5)) if layout == "channels_first" else ((1, 3), (2, 5)):
                sizes[axis] += more
                crop[axis] = slice(more, None) if at_end else slice(x.shape[axis])
            large = guarded(tuple(sizes), x.dtype, at_end=at_end)
            large[...] = np.nan if x.dtype.kind == "f" else 255
            view = large[tuple(crop)]
            view[...] = x
            pool = getattr(pooling, function)
            expected = pool(x, **arguments, layout=layout)
            for threads in (1, 3):
                with pooling.threads(threads):
                    assert_same_bytes(pool(view, **arguments, layout=layout), expected)


# --- which way it went -----------------------------------------------------------------------------------------------

IN_PARTS = (
    "cropped",
    "every second column",
    "every second row",
    "every second channel",
    "batch backwards",
    "unaligned",
)


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("place", IN_PARTS)
def test_views_are_pooled_a_few_maps_at_a_time(place: str, indexed: bool) -> None:
    for shape in SHAPES.values():
        if indexed and shape[2] > 300:
            continue  # a large map is made in parts without indices only
        view = PLACES[place](random_array(shape, np.float32))
        call = resolved_call("max_pool2d", view, kernel_size=3, stride=2, padding=1)
        assert call.runner.forward_view(view, None, indexed) is not None


def test_maps_whose_neighbours_are_in_other_maps_are_copied_with_those() -> None:
    x = random_array((2, 40, 30, 30), np.float32)
    for place, in_parts in (("channels last", True), ("batch last", False)):
        view = PLACES[place](x)[:, :, 1:]
        call = resolved_call("max_pool2d", view, kernel_size=3, stride=2, padding=1)
        assert (call.runner.forward_view(view, None, False) is not None) == in_parts
        assert_same_bytes(pooling.max_pool2d(view, 3, 2, 1), pooling.max_pool2d(view.copy(), 3, 2, 1))


def most_memory(call: Callable[[], Any]) -> int:
    """Bytes that NumPy allocates at the same time during a call."""
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("place", IN_PARTS)
@pytest.mark.parametrize("shape", [(4, 64, 60, 61), (1, 1, 1080, 1920)])
@pytest.mark.thread_unsafe(reason="counts the memory of all threads")
def test_no_copy_of_a_view_is_made(shape: tuple[int, ...], place: str) -> None:
    view = PLACES[place](np.zeros(shape, np.float32))
    for function in (pooling.max_pool2d, pooling.avg_pool2d):
        out = np.empty_like(function(view, 3, 2, 1))
        assert most_memory(partial(function, view, 3, 2, 1, out=out)) < view.nbytes // 8


MEASURE = """
import json, sys
import numpy as np
import pooling
pooling.set_num_threads(2)

def status(field):
    with open("/proc/self/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines[field].split()[0]) << 10

small = np.zeros((4, 4, 64, 64), np.float32)
pooling.max_pool2d(small[:, :, 1:], 2), pooling.avg_pool2d(small[..., ::2], 2)
found = []
for shape in ((1, 1, 6000, 6001), (40, 10, 300, 301), (1, 6001, 2000, 3)):
    x = np.ones(shape, np.float32)
    layout = "channels_last" if shape[-1] == 3 else "channels_first"
    for view in (x[:, :, 1:], x[:, :, ::2], x[:, :, ::-1]):
        for function in (pooling.max_pool2d, pooling.avg_pool2d):
            out = np.ones(function(view, 3, 2, 1, layout=layout).shape, np.float32)
            try:
                with open("/proc/self/clear_refs", "w") as file:
                    file.write("5")
            except OSError:
                print(json.dumps(None))
                sys.exit()
            before = status("VmRSS")
            function(view, 3, 2, 1, layout=layout, out=out)
            found.append(status("VmHWM") - before)
print(json.dumps(found))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of a process can be reset on Linux only")
def test_what_a_process_takes_to_pool_views_does_not_grow_with_them(run_python: Callable[..., str]) -> None:
    found = json.loads(run_python("-c", MEASURE, MALLOC_MMAP_THRESHOLD_="65536", timeout=300))
    if found is None:
        pytest.skip("this system lets no process reset its peak")
    # 1.5 MiB for each of two threads, and what the allocator keeps.
    assert max(found) <= 5 << 20, found


# --- copies by all threads --------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.thread_unsafe(reason="sets from which size on threads work")
def test_elements_that_lie_anywhere_are_gathered(data: st.DataObject) -> None:
    rank = data.draw(st.integers(0, 6))
    shape = [data.draw(st.sampled_from([0, 1, 2, 3, 5, 8, 17, 33] if rank < 4 else [1, 2, 3, 9])) for _ in range(rank)]
    dtype = data.draw(st.sampled_from(["uint8", "int16", "float32", "float64", "complex128", "bfloat16"]))
    order = data.draw(st.permutations(range(rank)))
    steps = [data.draw(st.sampled_from([1, 1, 2, 3, -1, -2, 0])) for _ in range(rank)]
    large = np.zeros([shape[axis] * max(1, abs(steps[axis])) for axis in order], dtype_of(dtype))
    large.reshape(-1).view(np.uint8)[...] = np.arange(large.nbytes) % 251
    view = large.transpose(np.argsort(order)) if rank else large
    view = view[tuple(slice(None, None, step or None) for step in steps)]
    for axis, step in enumerate(steps):
        if step == 0 and shape[axis]:
            view = np.broadcast_to(view.take([0], axis), view.shape)
    assert list(view.shape) == shape
    for threads in (1, 3):
        before = _core.set_serial_bytes(0)
        try:
            with pooling.threads(threads):
                made = _core.gathered(view)
        finally:
            _core.set_serial_bytes(before)
        assert made.flags.c_contiguous
        assert made.flags.aligned
        assert_same_bytes(made, view.copy())


@pytest.mark.parametrize("shape", [(1, 37, 64, 65), (3, 1, 300, 700), (257, 1025), (1, 2048, 7, 7)])
def test_large_permutations_are_gathered(shape: tuple[int, ...]) -> None:
    for dtype in ("uint8", "float16", "float32", "float64"):
        x = random_array(shape, dtype)
        for axes in ((0, *range(2, len(shape)), 1), tuple(range(len(shape)))[::-1]):
            view = x.transpose(axes)
            assert_same_bytes(_core.gathered(view), np.ascontiguousarray(view))
            turned = view[::-1, ..., ::2]
            assert_same_bytes(_core.gathered(turned), np.ascontiguousarray(turned))


def test_what_lies_ready_is_not_copied() -> None:
    x = np.zeros((4, 5), np.float32)
    assert arrays.native(x) is x
    swapped = x.astype(">f4") + 1
    assert arrays.native(swapped).dtype.isnative
    assert_same_bytes(arrays.native(swapped), x + 1)
