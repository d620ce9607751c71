"""What a call takes beside its input and its result: as docs/benchmarks.md says under "Memory"."""

from __future__ import annotations

import json
import math
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import calls
from pooling.dispatch import kernels
from pooling.families import means
from pooling.operators import OPERATORS
from tests.conftest import LAYOUTS, PATHS, Geometry, dtype_of, resolved_call

A_THREAD = 16 << 20
"""Bytes that a forward call without indices takes for each thread."""
WINDOWS: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "whole planes": ("avg_pool", (50000, 45000), {"kernel_size": (50000, 45000)}),
    "all but the border of a plane": ("avg_pool", (50000, 45000), {"kernel_size": (49000, 44000)}),
    "1000 x 1000": ("avg_pool", (8192, 8192), {"kernel_size": 1000, "stride": 1}),
    "1000 x 1000, apart": ("avg_pool", (8192, 8192), {"kernel_size": 1000}),
    "513 x 513, padded": ("avg_pool", (2160, 3840), {"kernel_size": 513, "stride": 1, "padding": 256}),
    "1000 x 1000, dilated": ("avg_pool", (8192, 8192), {"kernel_size": 1000, "stride": 1, "dilation": 2}),
    "3 x 3, far dilated": ("avg_pool", (8192, 8192), {"kernel_size": 3, "stride": 1, "dilation": 3000}),
    "columns": ("avg_pool", (2**20, 64), {"kernel_size": (2**19, 1), "stride": 1}),
    "one long row": ("avg_pool", (2**28,), {"kernel_size": 3, "stride": 2}),
    "half of a long row": ("avg_pool", (2**28,), {"kernel_size": 2**27, "stride": 2**12}),
    "quarters of a long row, dilated": ("avg_pool", (2**28,), {"kernel_size": 2**24, "stride": 2**12, "dilation": 4}),
    "thirds of a long row": ("adaptive_avg_pool", (2**28,), {"output_size": 3}),
    "a thousandth of a long row": ("adaptive_avg_pool", (2**28,), {"output_size": 1000}),
    "nearly the whole row": ("adaptive_avg_pool", (2**20,), {"output_size": 2**20 - 1}),
    "wide adaptive planes": ("adaptive_avg_pool", (5000, 2**18), {"output_size": (7, 9)}),
    "volumes": ("avg_pool", (512, 512, 512), {"kernel_size": 200, "stride": 1}),
    "long rows, slid": ("avg_pool", (64, 2**20), {"kernel_size": (20, 31), "stride": 1}),
    "strips": ("avg_pool", (2160, 3840), {"kernel_size": 512, "stride": 1}),
}


def forward_bytes(call: calls.Call) -> int:
    """Bytes of each thread of a forward call; only copies of single elements need none."""
    name, nbytes = kernels.strategy_of(call.plan, "forward", call.reducer, call.kind)
    assert (nbytes == 0) == (name == "singles")
    return int(nbytes)


def plan_bytes(operator: str, shape: tuple[int, ...], arguments: dict[str, Any], **call: Any) -> int:
    dimensions = len(shape) - 2
    function = f"{operator}{dimensions}d"
    array = np.broadcast_to(dtype_of(call.pop("dtype")).type(0), shape)
    made = resolved_call(function, array, count_include_pad=False, **arguments, **call)
    return forward_bytes(made)


@pytest.mark.parametrize("channels", [1, 3, 64, 100_003])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", WINDOWS)
def test_a_thread_takes_no_more_however_large_windows_and_maps_are(name: str, layout: str, channels: int) -> None:
    operator, spatial, arguments = WINDOWS[name]
    shape = (1, channels, *spatial) if layout == "channels_first" else (1, *spatial, channels)
    if math.prod(shape) * 8 > 2**62:
        pytest.skip("an array of this shape has no place in memory")
    for dtype in ("uint8", "int64", "float16", "float32", "float64"):
        for rule in ("propagate", "ignore"):
            for kind in (operator, operator.replace("avg", "max")):
                nbytes = plan_bytes(kind, shape, arguments, dtype=dtype, layout=layout, nan=rule)
                assert 0 < nbytes <= A_THREAD, (kind, dtype, rule)


def test_global_operators_take_no_more() -> None:
    for operator in ("global_avg_pool", "global_max_pool"):
        for shape in ((1, 1, 50000, 45000), (3, 50000, 45000, 5), (2, 64, 64, 2048), (1, 2, 2, 10**6)):
            for dtype in ("uint8", "float16", "float32", "int64"):
                for layout in LAYOUTS:
                    array = np.broadcast_to(dtype_of(dtype).type(0), shape)
                    call = resolved_call(operator, array, dimensions=2, layout=layout)
                    assert forward_bytes(call) <= A_THREAD


# --- windows as networks have them ---------------------------------------------------------------------------

LONG: dict[str, Geometry] = {
    f"long_windows_of_{taps}_and_{channels}_channels": Geometry(
        (1, channels, 1080, 1920), {"kernel_size": taps, "stride": stride, "padding": taps // 2}
    )
    for taps, stride in ((13, 1), (31, 1), (31, 7), (101, 2))
    for channels in (1, 3, 64)
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", (PATHS | LONG).values(), ids=PATHS | LONG)
def test_a_thread_works_in_as_much_memory_as_the_page_says(geometry: Geometry, layout: str) -> None:
    batch, channels, *spatial = geometry.shape
    shape = geometry.shape if layout == "channels_first" else (batch, *spatial, channels)
    for dtype in ("float32", "float64", "int64", "float16", "uint8"):
        for family in ("max_pool", "avg_pool"):
            function = geometry.function(family)
            array = np.broadcast_to(dtype_of(dtype).type(0), shape)
            try:
                call = resolved_call(function, array, count_include_pad=False, **geometry.windows, layout=layout)
            except ValueError:  # integers have no mean of nothing
                assert dtype in ("int64", "uint8")
                continue
            assert forward_bytes(call) <= A_THREAD


# --- what processes say -------------------------------------------------------------------------------------

MEASURE = """
import json, sys
import numpy as np
import pooling
from pooling import *

def peak():
    with open("/proc/self/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines["VmHWM"].split()[0]) << 10, int(lines["VmRSS"].split()[0]) << 10

def reset():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")

def results(made):
    return sum(part.nbytes for part in made) if isinstance(made, tuple) else made.nbytes

pooling.set_num_threads(2)
small = np.zeros((1, 1, 8, 8), np.float32)
max_pool2d(small, 2), avg_pool2d(small, 2), blur_pool2d(small)
found = {}
for name, prepare, call in json.loads(sys.argv[1]):
    names = dict(globals())
    exec(prepare, names)
    names["made"] = None
    try:
        reset()
    except OSError:
        found = None
        break
    before = peak()[1]
    exec("made = " + call, names)
    found[name] = peak()[0] - before - results(names["made"])
    names.clear()
print(json.dumps(found))
"""
MAP = "x = np.ones((1, 1, 6000, 6000), np.{dtype})"
MAPS = "x = np.ones((12, 2, 1000, 1000), np.{dtype})"
CHANNELS = "x = np.ones((12, 1000, 1000, 3), np.{dtype})"
GRADIENT = "; g = np.ones({call}.shape, x.dtype)"
CALLS = [
    ("global mean", MAP, "global_avg_pool(x)"),
    ("global maximum", MAP, "global_max_pool(x)"),
    ("mean of the plane", MAP, "avg_pool2d(x, 6000)"),
    ("1000 x 1000", MAP, "avg_pool2d(x, 1000, 500)"),
    ("1000 x 1000 greatest", MAP, "max_pool2d(x, 1000, 500)"),
    ("half the plane", MAP, "avg_pool2d(x, 3000, 700)"),
    ("adaptive", MAP, "adaptive_avg_pool2d(x, (3, 5))"),
    ("global mean of rows", "x = np.ones((1, 1, 36000000), np.{dtype})", "global_avg_pool(x, dimensions=1)"),
    (
        "global mean of many channels",
        "x = np.ones((2, 30, 30, 20000), np.{dtype})",
        "global_avg_pool(x, layout='channels_last')",
    ),
    ("global mean, channels last", CHANNELS, "global_avg_pool(x, layout='channels_last')"),
    ("3 x 3", MAPS, "avg_pool2d(x, 3, 2, 1, count_include_pad=False)"),
]
OF_FLOATS = [
    ("numbers of the plane", MAP, "global_avg_pool(x, nan='ignore')"),
    ("numbers in windows", MAPS, "avg_pool2d(x, 3, 2, 1, nan='ignore')"),
    ("blur", MAPS, "blur_pool2d(x)"),
    ("blur, channels last", CHANNELS, "blur_pool2d(x, layout='channels_last')"),
    ("gradient of a blur", MAPS + GRADIENT.format(call="blur_pool2d(x)"), "blur_pool2d_backward(g, x)"),
    ("gradient of a mean", MAPS + GRADIENT.format(call="avg_pool2d(x, 3, 2, 1)"), "avg_pool2d_backward(g, x, 3, 2, 1)"),
    ("gradient of the mean of a plane", MAP + "; g = x[:, :, :1, :1].copy()", "global_avg_pool_backward(g, x)"),
]
LARGE_MAP = "x = np.ones((1, 1, 3000, 3000), np.{dtype})"
ROWS = "x = np.ones((1, 1, 3, 4000000), np.{dtype})"
PIXELS = "x = np.ones((1, 1500, 1500, 3), np.{dtype})"
UNEQUAL = "3, 1, 1, count_include_pad=False"
BOXES = """
boxes = np.array([[0, 0, 3000, 3000], [10, 20, 1500, 2900], [2, 2999, 30, 2500], [-50, -9, 100, 70]] * 5, np.float32)
zeros = np.zeros(20, np.int64)
regions = np.concatenate([zeros[:, None], np.sort(boxes.reshape(-1, 2, 2), 1).reshape(-1, 4)], 1).astype(np.float32)
g = np.ones((20, 1, 7, 7), x.dtype)"""
SAMPLES = "; s = np.full(({maps}, 2), 0.3)"
OF_ALL = [
    ("smallest", LARGE_MAP, "min_pool2d(x, 3, 2, 1)"),
    ("indices", LARGE_MAP, "max_pool2d(x, 3, 2, 1, return_indices=True)"),
    ("indices side by side", LARGE_MAP, "max_pool2d(x, 2, return_indices=True)"),
    ("indices of long windows", LARGE_MAP, "max_pool2d(x, 61, 1, 30, return_indices=True)"),
    ("indices of long windows apart", LARGE_MAP, "min_pool2d(x, 700, 301, return_indices=True)"),
    ("indices, dilated", LARGE_MAP, "max_pool2d(x, 5, 2, 30, dilation=30, return_indices=True)"),
    ("indices of a long row", "x = np.ones((1, 1, 9000000), np.{dtype})", "max_pool1d(x, 301, 2, return_indices=True)"),
    ("indices, channels last", PIXELS, "max_pool2d(x, 21, 1, 10, return_indices=True, layout='channels_last')"),
    ("adaptive indices", LARGE_MAP, "adaptive_max_pool2d(x, (7, 1001), return_indices=True)"),
    ("adaptive indices of planes", LARGE_MAP, "adaptive_max_pool2d(x, (1, 2), return_indices=True)"),
    ("adaptive maxima", LARGE_MAP, "adaptive_max_pool2d(x, (1000, 3))"),
    ("unpooling", LARGE_MAP + "; m = max_pool2d(x, 2, return_indices=True)", "max_unpool2d(*m, 2)"),
    (
        "unpooling, channels last",
        PIXELS + "; m = max_pool2d(x, 2, return_indices=True, layout='channels_last')",
        "max_unpool2d(*m, 2, layout='channels_last')",
    ),
]
OF_ALL_FLOATS = [
    ("gradient of maxima", LARGE_MAP + "; g = max_pool2d(x, 3, 2, 1)", "max_pool2d_backward(g, x, 3, 2, 1)"),
    (
        "gradient of long maxima",
        LARGE_MAP + "; g = max_pool2d(x, 61, 3, 30)",
        "max_pool2d_backward(g, x, 61, 3, 30)",
    ),
    (
        "gradient of maxima of a long row",
        "x = np.ones((1, 1, 3000000), np.{dtype}); g = max_pool1d(x, 5001, 2)",
        "max_pool1d_backward(g, x, 5001, 2)",
    ),
    (
        "gradient of maxima at indices",
        LARGE_MAP + "; g, i = max_pool2d(x, 3, 2, 1, return_indices=True)",
        "max_pool2d_backward(g, x, 3, 2, 1, indices=i)",
    ),
    (
        "gradient of adaptive maxima",
        LARGE_MAP + "; g = adaptive_max_pool2d(x, (7, 1001))",
        "adaptive_max_pool2d_backward(g, x, (7, 1001))",
    ),
    ("gradient of the greatest", LARGE_MAP + "; g = x[:, :, :1, :1].copy()", "global_max_pool_backward(g, x)"),
    (
        "gradient of different means of a large map",
        LARGE_MAP + f"; g = avg_pool2d(x, {UNEQUAL})",
        f"avg_pool2d_backward(g, x, {UNEQUAL})",
    ),
    (
        "gradient of means with a part of a window",
        "x = np.ones((1, 1, 3001, 3001), np.{dtype}); g = avg_pool2d(x, 2, 2, ceil_mode=True)",
        "avg_pool2d_backward(g, x, 2, 2, ceil_mode=True)",
    ),
    (
        "gradient of different means of a row",
        "x = np.ones((1, 1, 9000000), np.{dtype}); g = avg_pool1d(x, 5, 1, 2)",
        "avg_pool1d_backward(g, x, 5, 1, 2, count_include_pad=False)",
    ),
    (
        "gradient of different means, channels last",
        PIXELS + f"; g = avg_pool2d(x, {UNEQUAL}, layout='channels_last')",
        f"avg_pool2d_backward(g, x, {UNEQUAL}, layout='channels_last')",
    ),
    (
        "gradient of different means of volumes",
        "x = np.ones((1, 1, 300, 150, 200), np.{dtype})" + f"; g = avg_pool3d(x, {UNEQUAL})",
        f"avg_pool3d_backward(g, x, {UNEQUAL})",
    ),
    (
        "gradient of the numbers of a large map",
        LARGE_MAP + "; g = avg_pool2d(x, 3, 1, 1)",
        "avg_pool2d_backward(g, x, 3, 1, 1, nan='ignore')",
    ),
    (
        "gradient of adaptive means of a large map",
        LARGE_MAP + "; g = adaptive_avg_pool2d(x, 2001)",
        "adaptive_avg_pool2d_backward(g, x, 2001)",
    ),
    (
        "gradient of adaptive means, channels last",
        PIXELS + "; g = adaptive_avg_pool2d(x, 1001, layout='channels_last')",
        "adaptive_avg_pool2d_backward(g, x, 1001, layout='channels_last')",
    ),
    ("samples", LARGE_MAP + BOXES, "roi_align(x, boxes, zeros, 7)"),
    ("greatest samples", LARGE_MAP + BOXES, "roi_align(x, boxes, zeros, 7, mode='max')"),
    ("gradient of samples", LARGE_MAP + BOXES, "roi_align_backward(g, x, boxes, zeros, 7)"),
    ("gradient of greatest samples", LARGE_MAP + BOXES, "roi_align_backward(g, x, boxes, zeros, 7, mode='max')"),
    ("regions", LARGE_MAP + BOXES, "max_roi_pool(x, regions, 7)"),
    (
        "many regions",
        "x = np.ones((1, 32, 250, 250), np.{dtype}); r = np.array([[0, 0, 0, 99, 99]] * 50, np.float32)",
        "max_roi_pool(x, r, 7)",
    ),
    (
        "many samples",
        "x = np.ones((1, 32, 250, 250), np.{dtype}); r = np.array([[0, 0, 99, 99]] * 50, np.float32)",
        "roi_align(x, r, np.zeros(50, np.int64), 7)",
    ),
    ("gradient of regions", LARGE_MAP + BOXES, "max_roi_pool_backward(g, x, regions, 7)"),
    (
        "fractional",
        LARGE_MAP + SAMPLES.format(maps="1, 1"),
        "fractional_max_pool2d(x, 2, output_ratio=0.7, _random_samples=s)",
    ),
    (
        "fractional indices of tall windows",
        LARGE_MAP + SAMPLES.format(maps="1, 1"),
        "fractional_max_pool2d(x, (300, 3), output_ratio=(0.02, 0.7), _random_samples=s, return_indices=True)",
    ),
    (
        "fractional, channels last",
        "x = np.ones((1, 3000, 3000, 1), np.{dtype})" + SAMPLES.format(maps="1, 1"),
        "fractional_max_pool2d(x, 3, output_ratio=0.5, _random_samples=s, layout='channels_last')",
    ),
    (
        "fractional volumes",
        "x = np.ones((1, 1, 90, 300, 300), np.{dtype}); s = np.full((1, 1, 3), 0.3)",
        "fractional_max_pool3d(x, 2, output_ratio=0.6, _random_samples=s)",
    ),
    (
        "gradient of fractional",
        LARGE_MAP
        + SAMPLES.format(maps="1, 1")
        + "; g, i = fractional_max_pool2d(x, 2, output_ratio=0.7, _random_samples=s, return_indices=True)",
        "fractional_max_pool2d_backward(g, x, 2, output_ratio=0.7, indices=i)",
    ),
]
# Tables of the windows are made for each cell of an axis where gradients are no halves.
OF_HALVES = [
    (
        "gradient of adaptive means of long rows",
        ROWS + "; g = adaptive_avg_pool2d(x, (3, 7))",
        "adaptive_avg_pool2d_backward(g, x, (3, 7))",
    ),
]
# A byte for each cell of the maps at hand.
OF_UNPOOLING = [
    (
        "gradient of unpooling",
        "x = np.ones((1, 1, 2000, 2000), np.{dtype}); y, i = max_pool2d(x, 2, return_indices=True)",
        "max_unpool2d_backward(x, y, i, 2)",
    ),
]
OF_WIDE_FLOATS = [
    (
        "gradient of a mean without padding",
        "x = np.ones((12, 32, 250, 250), np.{dtype})" + GRADIENT.format(call="avg_pool2d(x, 3, 1, 1)"),
        "avg_pool2d_backward(g, x, 3, 1, 1, count_include_pad=False)",
    ),
    (
        "gradient of the numbers",
        "x = np.ones((12, 32, 250, 250), np.{dtype})" + GRADIENT.format(call="avg_pool2d(x, 3, 1, 1)"),
        "avg_pool2d_backward(g, x, 3, 1, 1, nan='ignore')",
    ),
    ("blurred maxima", "x = np.ones((12, 32, 250, 250), np.{dtype})", "max_blur_pool2d(x)"),
    (
        "adaptive gradient",
        "x = np.ones((12, 32, 250, 250), np.{dtype})" + GRADIENT.format(call="adaptive_avg_pool2d(x, 100)"),
        "adaptive_avg_pool2d_backward(g, x, 100)",
    ),
]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of a process can be reset on Linux only")
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float32", "float64"])
def test_what_a_process_takes_does_not_grow_with_maps_and_windows(dtype: str, run_python: Callable[..., str]) -> None:
    calls = CALLS + OF_ALL + (OF_FLOATS + OF_ALL_FLOATS + OF_UNPOOLING if dtype.startswith("float") else [])
    calls += OF_WIDE_FLOATS if dtype in ("float32", "float64") else []
    calls += OF_HALVES if dtype == "float16" else []
    asked = [(name, prepare.format(dtype=dtype), call) for name, prepare, call in calls]
    # Nothing large is taken from memory that was freed before, which would not show.
    found = json.loads(run_python("-c", MEASURE, json.dumps(asked), MALLOC_MMAP_THRESHOLD_="65536", timeout=300))
    if found is None:
        pytest.skip("this system lets no process reset its peak")
    # 2 MiB for each of two threads, since few channels take no more; 2 MiB for gradients that are made a few maps at
    # a time; and what the allocator keeps.
    allowed = 2 * (2 << 20) + (8 << 20)
    assert {name: nbytes >> 10 for name, nbytes in found.items() if nbytes > allowed} == {}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of a process can be reset on Linux only")
def test_fractional_gradients_hold_the_indices_and_no_table_of_windows(run_python: Callable[..., str]) -> None:
    maps = 200_000
    prepare = f"x = np.ones((1, {maps}, 3, 3), np.float32); s = np.full((1, {maps}, 2), 0.3)"
    prepare += "; g = fractional_max_pool2d(x, 2, 1, _random_samples=s)"
    calls = {
        "forward": "fractional_max_pool2d(x, 2, 1, _random_samples=s)",
        "gradient": "fractional_max_pool2d_backward(g, x, 2, 1, _random_samples=s)",
    }
    asked = json.dumps([(name, prepare, call) for name, call in calls.items()])
    found = json.loads(run_python("-c", MEASURE, asked, MALLOC_MMAP_THRESHOLD_="65536", timeout=300))
    if found is None:
        pytest.skip("this system lets no process reset its peak")
    # Eight bytes for each index; and what the allocator keeps.
    allowed = {"forward": 1 << 20, "gradient": 8 * maps + (1 << 20)}
    assert {name: nbytes for name, nbytes in found.items() if nbytes > allowed[name]} == {}


LONG_ROWS = "x = np.random.default_rng(0).normal(size={shape}).astype(np.{dtype})"
LONGEST = {
    "a row": ((1, 1, 700_000), "max_pool1d", "100000, 1", 100_000, 1),
    "a row, strides": ((1, 1, 700_000), "max_pool1d", "100000, 700", 100_000, 1),
    "rows of a map": ((1, 1, 9, 300_000), "max_pool2d", "(5, 60000), (1, 3)", 60_000, 1),
    "a row, channels last": ((1, 200_000, 20), "max_pool1d", "30000, 1, layout='channels_last'", 30_000, 20),
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of a process can be reset on Linux only")
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_searches_of_argmaxes_take_what_is_documented_for_each_tap(dtype: str, run_python: Callable[..., str]) -> None:
    allowed, asked = {}, []
    for name, (shape, function, arguments, taps, channels) in LONGEST.items():
        prepare = LONG_ROWS.format(shape=shape, dtype=dtype)
        calls = {"indices": f"{function}(x, {arguments}, return_indices=True)"}
        if dtype != "uint8":
            prepare += f"; g = {function}(x, {arguments})"
            calls["gradient"] = f"{function}_backward(g, x, {arguments})"
        for what, call in calls.items():
            asked.append((f"{what} of {name}", prepare, call))
            # For each of two threads; and what the allocator keeps.
            searched, summed = max(4 << 20, 320 * taps), max(4 << 20, 32 * taps * channels)
            allowed[f"{what} of {name}"] = 2 * (searched + (summed if what == "gradient" else 0)) + (2 << 20)
    found = json.loads(run_python("-c", MEASURE, json.dumps(asked), MALLOC_MMAP_THRESHOLD_="65536", timeout=300))
    if found is None:
        pytest.skip("this system lets no process reset its peak")
    assert {name: nbytes for name, nbytes in found.items() if nbytes > allowed[name]} == {}


def test_what_is_remembered_of_calls_is_small() -> None:
    x = np.zeros((1, 1, 1080, 1930), np.float32)
    pooling.avg_pool2d(x[..., :1900], 3, 1, 1, count_include_pad=False)
    tracemalloc.start()
    try:
        for width in range(1901, 1911):
            part = x[..., :width]
            made = pooling.avg_pool2d(part, 3, 1, 1, count_include_pad=False)
            pooling.avg_pool2d_backward(made, part, 3, 1, 1, count_include_pad=False)
            pooling.adaptive_avg_pool2d(part, 500)
        del made, part
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    # Tables of the axes, of adaptive ones with some numbers for each window and cell.
    assert kept < 4 << 20


def test_sums_of_large_windows_are_exact_for_integers() -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (1, 1, 3000, 3100), np.uint8)
    exact = x.sum(dtype=np.int64)
    assert pooling.global_avg_pool(x, rounding="floor").item() == exact // x.size
    assert pooling.avg_pool2d(x, (3000, 3100), divisor_override=float(2**26), rounding="floor").item() == exact >> 26
    signed = (x.astype(np.int64) - 100) * 2**50
    for kernel, stride, padding in ((1500, 700, 0), (1500, (1, 800), 700)):
        made = pooling.avg_pool2d(signed[:, :, :, :2600], kernel, stride, padding, rounding="floor")
        rows = np.zeros((3001, 2601), object)
        rows[1:, 1:] = np.cumsum(np.cumsum(x[0, 0, :, :2600].astype(np.int64) - 100, 0), 1).astype(object)
        steps = np.broadcast_to(stride, 2)
        for o in [(0, 0), (made.shape[2] - 1, made.shape[3] - 1), (made.shape[2] // 2, 1)]:
            top, left = (max(i * s - padding, 0) for i, s in zip(o, steps, strict=True))
            bottom, right = (
                min(i * s - padding + kernel, size) for i, s, size in zip(o, steps, (3000, 2600), strict=True)
            )
            total = rows[bottom, right] - rows[top, right] - rows[bottom, left] + rows[top, left]
            assert made[0, 0][o] == (total * 2**50) // kernel**2


LARGE: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((1, 2, 1100, 1200), {"kernel_size": (1000, 900), "stride": (7, 13), "padding": (400, 300)}),
    ((1, 1, 1300, 1250), {"kernel_size": (1100, 1040), "stride": 1, "dilation": 1}),
    ((1, 1, 2100, 1900), {"kernel_size": (500, 600), "stride": (3, 1), "dilation": (2, 3)}),
    ((1, 3, 700000), {"kernel_size": 300000, "stride": 1001, "padding": 100000}),
    ((1, 1, 400000), {"kernel_size": 100000, "stride": 200, "dilation": 3}),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("shape", "arguments"), LARGE)
def test_large_windows_are_right(shape: tuple[int, ...], arguments: dict[str, Any], layout: str) -> None:
    """Means and maxima, axis by axis."""
    dimensions = len(shape) - 2
    rng = np.random.default_rng(7)
    x = rng.integers(-50, 50, shape)
    axes = resolved_call(f"avg_pool{dimensions}d", x.astype(np.float64), **arguments).axes

    def along(reduce: Callable[..., Any], values: Any) -> Any:
        for position, axis in enumerate(axes, start=2):
            moved = np.moveaxis(values, position, 0)
            rows = []
            for o in range(axis.output_size):
                taps = axis.window(o)
                first = taps.start + -min(taps.start, 0) // axis.dilation * axis.dilation
                first += axis.dilation if first < 0 else 0
                rows.append(reduce(moved[first : taps.stop : axis.dilation], axis=0))
            values = np.moveaxis(np.array(rows), 0, position)
        return values

    total = along(np.sum, x.astype(np.int64))
    counts = along(np.sum, np.ones((1, 1, *shape[2:]), np.int64))
    for dtype in ("float32", "float64", "int32", "float16", "uint8"):
        values = x.astype(dtype) if dtype != "uint8" else (x + 50).astype(dtype)
        given = np.ascontiguousarray(np.moveaxis(values, 1, -1)) if layout == "channels_last" else values
        function = getattr(pooling, f"avg_pool{dimensions}d")
        for threads in (1, 2):
            with pooling.threads(threads):
                options = {"rounding": "floor"} if dtype[0] in "iu" else {"nan": "ignore"}
                made = function(given, **arguments, count_include_pad=False, layout=layout, **options)
            made = np.moveaxis(made, -1, 1) if layout == "channels_last" else made
            expected = total / counts if dtype != "uint8" else total / counts + 50
            if dtype[0] in "iu":
                sums = total if dtype != "uint8" else total + 50 * counts
                assert (made == sums // counts).all()
            else:
                slack = {"float16": 2.0**-10, "float32": 2.0**-22, "float64": 2.0**-45}[dtype]
                assert (np.abs(made - expected) <= slack * np.abs(expected) + 50 * slack * 2.0**-10).all()
    spiked = np.zeros(shape, np.float32)
    spiked.reshape(-1)[::90001] = rng.normal(size=len(spiked.reshape(-1)[::90001]))
    given = np.ascontiguousarray(np.moveaxis(spiked, 1, -1)) if layout == "channels_last" else spiked
    made = getattr(pooling, f"max_pool{dimensions}d")(given, **arguments, layout=layout)
    made = np.moveaxis(made, -1, 1) if layout == "channels_last" else made
    greatest = along(np.max, spiked)
    assert (made == greatest).all()


def test_every_operator_is_asked() -> None:
    """Norms are asked in test_norm_memory.py."""
    calls = CALLS + OF_ALL + OF_FLOATS + OF_ALL_FLOATS + OF_UNPOOLING + OF_WIDE_FLOATS
    asked = " ".join(call for _, _, call in calls)
    left = {name for name in OPERATORS if f"{name}2d(" not in asked and f"{name}(" not in asked}
    assert left == {"lp_pool", "global_lp_pool", "gem_pool"}
    left = {name for name in OPERATORS if f"{name}2d_backward(" not in asked and f"{name}_backward(" not in asked}
    assert left == {"lp_pool", "global_lp_pool", "gem_pool", "min_pool", "max_blur_pool"}


SLABS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "strides": ((167, 5), {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
    "one by one": ((151, 6), {"kernel_size": 4, "stride": 1, "padding": 2, "count_include_pad": False}),
    "a part of a window": ((140, 7), {"kernel_size": 3, "stride": 3, "ceil_mode": True}),
    "gaps": ((163, 7), {"kernel_size": 2, "stride": 5, "padding": 1, "count_include_pad": False}),
    "dilated": ((222, 7), {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 3, "count_include_pad": False}),
    "a row": ((301,), {"kernel_size": 5, "stride": 2, "padding": 2, "ceil_mode": True}),
    "a row of a plane": ((1, 303), {"kernel_size": (1, 5), "stride": 2, "padding": (0, 2), "count_include_pad": False}),
    "rows of one cell": ((1, 152), {"kernel_size": (2, 5), "stride": (1, 2), "padding": (1, 2), "ceil_mode": True}),
    "planes and rows of one cell": (
        (1, 1, 131),
        {"kernel_size": (2, 1, 3), "padding": (1, 0, 1), "stride": 1, "count_include_pad": False},
    ),
    "rows of one cell, adaptive": ((1, 190), {"output_size": (3, 43)}),
    "volumes": ((110, 3, 4), {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
    "adaptive": ((190, 5), {"output_size": (43, 3)}),
    "adaptive, more": ((171, 5), {"output_size": (250, 3)}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", SLABS)
def test_gradients_of_maps_made_in_slabs_are_right(name: str, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(means, "DIVIDED_BYTES", 1)
    monkeypatch.setattr(means, "SLAB_BYTES", 1)
    # Calls that are known have been planned as others are.
    calls.forget()
    spatial, arguments = SLABS[name]
    function = f"{'adaptive_' * ('output_size' in arguments)}avg_pool{len(spatial)}d"
    rng = np.random.default_rng(11)
    for rule in ("propagate", "ignore"):
        # Of numbers that every dtype holds.
        x = rng.normal(size=(2, 1, *spatial)).astype(np.float16)
        x[rng.random(x.shape) < 0.1] = np.nan if rule == "ignore" else 0
        if layout == "channels_last":
            x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        keywords = {**arguments, "layout": layout, "nan": rule}
        g = rng.random(getattr(pooling, function)(x, **keywords).shape).astype(np.float16)
        backward = getattr(pooling, f"{function}_backward")
        expected = getattr(pooling.reference, f"{function}_backward")(g.astype(float), x.astype(float), **keywords)
        for dtype, allowed in (("float64", 1e-13), ("float32", 1e-5), ("float16", 4e-3)):
            results = []
            for threads in (1, 2):
                with pooling.threads(threads):
                    results.append(backward(g.astype(dtype), x.astype(dtype), **keywords))
            assert results[0].tobytes() == results[1].tobytes()
            np.testing.assert_allclose(results[0].astype(np.float64), expected, allowed, allowed / 8)
    assert any(len(runner.call.slabs) > 1 for runner in calls._known.values())
    calls.forget()


def test_adaptive_gradients_of_long_rows_in_half_precision_are_right() -> None:
    rng = np.random.default_rng(2)
    for shape, size in (
        ((1, 2, 2, 150_000), (3, 40_001)),
        ((1, 1, 2, 70_000), (1, 3)),
        ((1, 1, 2, 40_000), (2, 90_000)),
    ):
        g = rng.random((*shape[:2], *size)).astype(np.float16)
        exact = pooling.adaptive_avg_pool2d_backward(g.astype(np.float64), np.zeros(shape), size)
        results = []
        for threads in (1, 2):
            with pooling.threads(threads):
                results.append(pooling.adaptive_avg_pool2d_backward(g, np.zeros(shape, np.float16), size))
        assert results[0].tobytes() == results[1].tobytes()
        np.testing.assert_allclose(results[0].astype(np.float64), exact, 2.0**-10, 2.0**-24)


def test_argmaxes_of_few_windows_are_found_before_gradients_are_sent() -> None:
    rng = np.random.default_rng(4)
    for shape, arguments in (((1, 1, 700, 900), (300, 100)), ((1, 1, 650, 1000), ((650, 1000), 1))):
        x = rng.normal(size=shape).astype(np.float16)
        g = rng.integers(-9, 9, pooling.max_pool2d(x, *arguments).shape).astype(np.float16)
        exact = pooling.max_pool2d_backward(g.astype(np.float64), x.astype(np.float64), *arguments)
        assert (pooling.max_pool2d_backward(g, x, *arguments) == exact).all()
