"""The same bytes at every instruction-set level that was built; each level in an interpreter of its own."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import dispatch
from pooling.operators import OPERATORS
from tests.conftest import FLOATS, INTEGERS, LAYOUTS, PATHS, TINY, Array, channels_last, dtype_of, random_array


def speckled(shape: tuple[int, ...], dtype: Any, seed: int) -> Array:
    """Numbers with ties, NaN, infinities, denormals and zeros of both signs among them."""
    x = random_array(shape, dtype, seed)
    random = np.random.default_rng(seed)
    x[random.random(shape) < 0.2] = 0.5
    for value in (0.0, -0.0, np.inf, -np.inf, np.nan, TINY[np.dtype(dtype).name]):
        x[random.random(shape) < 0.01] = value
    return x


def results(path: str) -> Iterator[tuple[str, Array]]:
    """Everything that a geometry can be asked for."""
    geometry = PATHS[path]
    for name, layout, kind in itertools.product(("float32", "float64", "float16", "bfloat16"), LAYOUTS, (0, 1)):
        make, dtype = (random_array, speckled)[kind], dtype_of(name)
        x = make(geometry.shape, dtype, 0)
        x = x if layout == "channels_first" else channels_last(x)
        for family in FAMILIES[: 2 if geometry.adaptive else 3]:
            arguments: dict[str, Any] = {**geometry.windows, "layout": layout}
            call = geometry.function(family)
            forward, backward = getattr(pooling, call), getattr(pooling, f"{call}_backward")
            title = f"{path} {name} {layout} {make.__name__} {call}"
            values = forward(x, **arguments)
            grad = make(values.shape, dtype, 1)
            yield f"{title} values", values
            yield f"{title} gradient", backward(grad, x, **arguments)
            if family != "avg_pool":
                same, indices = forward(x, **arguments, return_indices=True)
                yield f"{title} values with indices", same
                yield f"{title} indices", indices
                yield f"{title} values, NaN ignored", forward(x, **arguments, nan="ignore")
            elif "padding" in geometry.windows:
                yield f"{title} values, padding not counted", forward(x, **arguments, count_include_pad=False)
        for call in ("global_max_pool", "global_avg_pool"):
            result = getattr(pooling, call)(x, dimensions=geometry.dimensions, layout=layout)
            yield f"{path} {name} {layout} {make.__name__} {call}", result
    for name in ("int8", "uint8", "uint16", "int32", "int64"):
        x = random_array(geometry.shape, name)
        for family in FAMILIES[: 2 if geometry.adaptive else 3]:
            call = geometry.function(family)
            yield f"{path} {name} {call}", getattr(pooling, call)(x, **geometry.windows)


def halves() -> Iterator[tuple[str, Array]]:
    """What becomes of every half, NaN of every payload among them."""
    for name in ("float16", "bfloat16"):
        every = np.arange(2**16, dtype=np.uint16).view(dtype_of(name)).reshape(1, 64, -1)
        x = np.zeros((1, 64, 2048), every.dtype)
        yield f"every {name} in means", pooling.avg_pool1d(every, 2)
        yield f"every {name} in the gradient of means", pooling.avg_pool1d_backward(every, x, 2)
        yield f"every {name} in the gradient of maxima", pooling.max_pool1d_backward(every, x, 2)


FAMILIES = ("max_pool", "avg_pool", "min_pool")


def others() -> Iterator[tuple[str, Array]]:
    """The operators that have no path of their own, in every dtype, on ordinary numbers and on special ones."""
    random = np.random.default_rng(3)
    for name, make in itertools.product(FLOATS, (random_array, speckled)):
        dtype = dtype_of(name)
        title = f"{name} {make.__name__}"
        for layout in LAYOUTS:
            x = make((2, 3, 13, 17), dtype, 2)
            x = x if layout == "channels_first" else channels_last(x)
            calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
                *(("lp_pool2d", (p, 3, 2), {"padding": 1}) for p in (0.5, 1, 2, 2.5, 3, 40.0, np.inf)),
                *(("global_lp_pool", (p,), {}) for p in (0.5, 1, 2, 2.5, 3, np.inf)),
                *(("gem_pool2d", (p,), {}) for p in (0.5, 1, 2, 3.0, 2.7)),
                ("lp_pool2d", (3, 9, 1), {"padding": 4}),
                ("blur_pool2d", (5, 2), {}),
                ("max_blur_pool2d", (3, 2), {"blur_kernel_size": 3}),
                ("adaptive_avg_pool2d", ((40, 5),), {}),
                ("adaptive_max_pool2d", ((40, 5),), {}),
                ("max_pool2d", (7, 1), {"padding": 3}),
                ("avg_pool2d", (3, 2), {"divisor_override": 0.3}),
            ]
            for call, arguments, keywords in calls:
                keywords = {**keywords, "layout": layout}
                told = f"{title} {call} {arguments} {keywords}"
                values = getattr(pooling, call)(x, *arguments, **keywords)
                yield f"{told} values", values
                grad = make(values.shape, dtype, 4)
                gradient = getattr(pooling, f"{call}_backward")(grad, x, *arguments, **keywords)
                if isinstance(gradient, tuple):
                    yield f"{told} gradient of p", np.array(gradient[1])
                    gradient = gradient[0]
                yield f"{told} gradient", gradient
            wide = make((2, 3, 13, 41), dtype, 2)
            wide = wide if layout == "channels_first" else channels_last(wide)
            for call in ("blur_pool2d", "max_blur_pool2d"):
                grad = make(getattr(pooling, call)(wide, layout=layout).shape, dtype, 4)
                gradient = getattr(pooling, f"{call}_backward")(grad, wide, layout=layout)
                yield f"{title} {layout} {call} gradient of wide maps", gradient
            samples = random.random((2, 3, 2))
            fractional: dict[str, Any] = {"output_size": (5, 6), "_random_samples": samples, "layout": layout}
            values, indices = pooling.fractional_max_pool2d(x, 3, **fractional, return_indices=True)
            yield f"{title} {layout} fractional values", values
            yield f"{title} {layout} fractional indices", indices
            grad = make(values.shape, dtype, 5)
            yield (
                f"{title} {layout} fractional gradient",
                pooling.fractional_max_pool2d_backward(grad, x, 3, **fractional),
            )
            pooled, named = pooling.max_pool2d(x, 3, 2, layout=layout, return_indices=True)
            back = pooling.max_unpool2d(pooled, named, 3, 2, layout=layout)
            yield f"{title} {layout} unpooled", back
            yield (
                f"{title} {layout} unpooled gradient",
                pooling.max_unpool2d_backward(make(back.shape, dtype, 6), pooled, named, 3, 2, layout=layout),
            )
        x = make((2, 3, 13, 17), dtype, 2)
        boxes = np.array([[0, 0, 16, 12], [2.5, 1.25, 9.1, 7.7], [3, 3, 4, 9]], np.float32)
        maps = np.array([0, 1, 1])
        for mode in ("avg", "max"):
            values = pooling.roi_align(x, boxes, maps, (4, 3), mode=mode)
            yield f"{title} roi_align {mode}", values
            grad = make(values.shape, dtype, 7)
            yield (
                f"{title} roi_align {mode} gradient",
                pooling.roi_align_backward(grad, x, boxes, maps, (4, 3), mode=mode),
            )
        rois = np.column_stack([maps, boxes]).astype(np.float32)
        values = pooling.max_roi_pool(x, rois, (4, 3))
        yield f"{title} max_roi_pool", values
        yield (
            f"{title} max_roi_pool gradient",
            pooling.max_roi_pool_backward(make(values.shape, dtype, 8), x, rois, (4, 3)),
        )
    for name in (*INTEGERS, "bool"):
        x = random_array((2, 3, 13, 17), name)
        pooled, named = pooling.max_pool2d(x, 3, 2, return_indices=True)
        yield f"{name} max_pool2d", pooled
        yield f"{name} min_pool2d", pooling.min_pool2d(x, 3, 2)
        if name != "bool":
            yield f"{name} unpooled", pooling.max_unpool2d(pooled, named, 3, 2)
            for divisor, rounding in itertools.product((3, 0.3, -1e-30), ("half_even", "half_up", "floor", "trunc")):
                keywords = {"divisor_override": divisor, "rounding": rounding}
                yield f"{name} avg_pool2d {keywords}", pooling.avg_pool2d(x, 3, 2, **keywords)


def elementary() -> Iterator[tuple[str, Array]]:
    """Powers and logarithms by themselves, of numbers of every size."""
    random = np.random.default_rng(5)
    # Not by np.exp, whose last bits differ from one kind of processor to another.
    sizes = np.ldexp(1 + random.random(20_000), random.integers(-1070, 1023, 20_000))
    x = np.concatenate([sizes, 1 + random.standard_normal(20_000) / 100])
    found = np.empty_like(x)
    for p in (0.5, 1 / 3, 2.5, 3.0, -1.75, 17.3):
        dispatch.kernels.powers(x, found, p)
        yield f"powers of {p}", found.copy()
    dispatch.kernels.logarithms(np.abs(x), found)
    yield "logarithms", found


def fingerprints() -> dict[str, str]:
    with np.errstate(all="ignore"):
        every = itertools.chain(halves(), others(), elementary(), *map(results, PATHS))
        return {title: hashlib.sha256(array.tobytes()).hexdigest() for title, array in every}


def test_every_operator_and_dtype_is_asked_about() -> None:
    """No kernel that belongs to an operator of the table is left out."""
    with np.errstate(all="ignore"):
        titles = " ".join(title for title, _ in itertools.chain(others(), results(next(iter(PATHS)))))
    for operator in OPERATORS.values():
        name = {"fractional_max_pool": "fractional", "max_unpool": "unpooled"}.get(operator.name, operator.name)
        assert re.search(rf"\b{name}", titles), operator.name
        for dtype in operator.dtypes:
            assert dtype in titles, dtype


@pytest.mark.skipif(len(dispatch.available_levels()) < 2, reason="one level only")
def test_every_level_makes_the_same_bytes(run_python: Callable[..., str]) -> None:
    answers = [json.loads(run_python(__file__, POOLING_MAX_ISA=level)) for level in dispatch.available_levels()]
    assert tuple(answer["level"] for answer in answers) == dispatch.available_levels()
    first, *others = (answer["fingerprints"] for answer in answers)
    assert len(first) > 5000
    for other in others:
        assert other.keys() == first.keys()
        assert [title for title in first if first[title] != other[title]] == []


if __name__ == "__main__":
    print(json.dumps({"level": dispatch.level, "fingerprints": fingerprints()}))
