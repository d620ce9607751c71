"""Reductions of blocks beside other libraries: ``python -m benchmarks.blocks [--page] [case ...]``.

Each library runs in an interpreter of its own, a case at a time, in rounds that take turns; the fastest call counts.
Names that are given choose the cases that begin with them; ``--page`` writes docs/images.md. Libraries that are not
installed are left out:
opencv-python-headless, Pillow, scikit-image, tinybrain, tensorstore, dask, xarray.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import pooling

from .processes import Call, Race, Target, main

SECONDS = 0.6
"""Of each library and case in a round, at least one call."""


def _bytes(*shape: int, dtype: Any = np.uint8) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


def _floats(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _gaps(*shape: int) -> Any:
    x = _floats(*shape)
    x[np.random.default_rng(1).random(shape) < 0.2] = np.nan
    return x


def _labels(*shape: int, dtype: Any) -> Any:
    """Regions of 13 cells on each axis, whose borders are not those of blocks."""
    small = np.random.default_rng(0).integers(1, 200, [-(-n // 13) for n in shape])
    regions = np.kron(small, np.ones([13] * len(shape), np.int64))
    return np.ascontiguousarray(regions[tuple(slice(n) for n in shape)]).astype(dtype)


CASES: dict[str, tuple[Callable[[], Any], tuple[int, ...], str, Any]] = {
    "mean 2x2 uint8 4096 x 4096": (lambda: _bytes(4096, 4096), (2, 2), "mean", None),
    "mean 2x2 float32 4096 x 4096": (lambda: _floats(4096, 4096), (2, 2), "mean", None),
    "mean of numbers 2x2 float32 4096 x 4096": (lambda: _gaps(4096, 4096), (2, 2), "mean", np.nan),
    "mean 2x2x2 uint8 512^3": (lambda: _bytes(512, 512, 512), (2, 2, 2), "mean", None),
    "mean 2x2x2 uint16 512^3": (lambda: _bytes(512, 512, 512, dtype=np.uint16), (2, 2, 2), "mean", None),
    "median 4x4 uint8 4096 x 4096": (lambda: _bytes(4096, 4096), (4, 4), "median", None),
    "median 4x4 float32 4096 x 4096": (lambda: _floats(4096, 4096), (4, 4), "median", None),
    **{
        f"mode {'x'.join('2' * len(block))} {dtype} {shape[0]}^{len(shape)}": (
            lambda shape=shape, dtype=dtype: _labels(*shape, dtype=dtype),  # type: ignore[misc]
            block,
            "mode",
            None,
        )
        for shape, block in (((4096, 4096), (2, 2)), ((256, 256, 256), (2, 2, 2)))
        for dtype in ("uint8", "uint16", "uint32", "uint64")
    },
    "pyramid of 5 uint8 4096 x 4096": (lambda: _bytes(4096, 4096), (2, 2), "pyramid", None),
}
"""What is reduced, the block, what to, and what is left out."""


def _ours(x: Any, block: tuple[int, ...], func: str, nodata: Any, threads: int) -> Call:
    def call() -> Any:
        with pooling.threads(threads):
            if func == "pyramid":
                return pooling.pyramid(x, block, 5)
            return pooling.block_reduce(x, block, func, nodata=nodata)  # type: ignore[call-overload]

    return call


def _first_level(x: Any, block: tuple[int, ...], func: str, nodata: Any, threads: int) -> Call | None:
    return _ours(x, block, "mean", None, threads) if func == "pyramid" else None


def _copy(x: Any, *_: Any) -> Call:
    target = np.empty_like(x)
    return lambda: np.copyto(target, x)


def _opencv(x: Any, block: tuple[int, ...], func: str, nodata: Any, threads: int) -> Call | None:
    cv2 = import_module("cv2")
    if func != "mean" or nodata is not None or x.ndim != 2:
        return None
    cv2.setNumThreads(threads)
    size = (x.shape[1] // block[1], x.shape[0] // block[0])
    return lambda: cv2.resize(x, size, interpolation=cv2.INTER_AREA)


def _pillow(x: Any, block: tuple[int, ...], func: str, nodata: Any, threads: int) -> Call | None:
    image = import_module("PIL.Image")
    if func != "mean" or x.dtype != np.uint8 or x.ndim != 2 or threads > 1:
        return None
    made = image.fromarray(x)
    return lambda: made.reduce(block[::-1])


def _skimage(x: Any, block: tuple[int, ...], func: str, nodata: Any, threads: int) -> Call | None:
    reduce = import_module("skimage.measure").block_reduce
    functions = {"mean": np.nanmean if nodata is not None else np.mean, "median": np.median}
    if func not in functions or threads > 1 or x.ndim > 2:
        return None
    return lambda: reduce(x, block, functions[func])


def _tinybrain(x: Any, block: tuple[int, ...], func: str, nodata: Any, threads: int) -> Call | None:
    fast = import_module("tinybrain").accelerated
    if threads > 1 or nodata is not None:
        return None
    name = f"{ {'mean': 'average', 'mode': 'mode'}.get(func) }_pooling_{'x'.join(map(str, block))}"
    function = getattr(fast, name, None)
    turned = x.T if x.ndim == 3 else x.T[..., np.newaxis]
    return None if function is None else lambda: function(turned)


def _tensorstore(x: Any, block: tuple[int, ...], func: str, nodata: Any, threads: int) -> Call | None:
    ts = import_module("tensorstore")
    if func not in ("mean", "median", "mode") or nodata is not None:
        return None
    context = ts.Context({"data_copy_concurrency": {"limit": threads}})
    store = ts.downsample(ts.array(x, context=context), block, func)
    return lambda: store.read().result()


def _dask(x: Any, block: tuple[int, ...], func: str, nodata: Any, threads: int) -> Call | None:
    array = import_module("dask.array")
    if func != "mean":
        return None
    axes = dict(enumerate(block))
    lazy = array.coarsen(np.nanmean if nodata is not None else np.mean, array.from_array(x, [1024] * x.ndim), axes)
    return lambda: lazy.compute(scheduler="threads", num_workers=threads)


def _xarray(x: Any, block: tuple[int, ...], func: str, nodata: Any, threads: int) -> Call | None:
    xarray = import_module("xarray")
    if func not in ("mean", "median") or threads > 1:
        return None
    names = "zyx"[-x.ndim :]
    data = xarray.DataArray(x, dims=list(names))
    return lambda: getattr(data.coarsen(dict(zip(names, block, strict=True))), func)()


LIBRARIES: dict[str, Callable[..., Call | None]] = {
    "pooling": _ours,
    "first level": _first_level,
    "copy": _copy,
    "OpenCV": _opencv,
    "Pillow": _pillow,
    "scikit-image": _skimage,
    "tinybrain": _tinybrain,
    "tensorstore": _tensorstore,
    "dask": _dask,
    "xarray": _xarray,
}


def prepare(library: str, case: str, threads: int) -> Call | None:
    """Return the call of a library; None where it does not do this."""
    make, block, func, nodata = CASES[case]
    return LIBRARIES[library](make(), block, func, nodata, threads)


TARGETS = (
    Target("mean 2x2 uint8", "OpenCV", 1.0),
    Target("mean 2x2 uint8", "copy", 1 / 1.5),
    Target("mean 2x2x2", "tinybrain", 1.5, threads=(1,)),
    Target("mode", "tinybrain", 2.0, threads=(1,)),
    Target("mode", "tensorstore", 5.0),
    Target("median 4x4", "scikit-image", 5.0, threads=(1,)),
    Target("mean of numbers", "xarray", 5.0, threads=(1,)),
    Target("mean of numbers", "scikit-image", 20.0, threads=(1,)),
    Target("pyramid", "first level", 1 / 1.45),
)
RACE = Race(
    "benchmarks.blocks",
    tuple(LIBRARIES),
    tuple(CASES),
    prepare,
    SECONDS,
    Path(__file__).parents[1] / "docs" / "images.md",
    TARGETS,
)

if __name__ == "__main__":
    main(RACE)
