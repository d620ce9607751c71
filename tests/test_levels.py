"""The same bytes at every instruction-set level that was built; each level in an interpreter of its own."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import dispatch
from tests.conftest import LAYOUTS, PATHS, TINY, Array, channels_last, dtype_of, random_array


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


def fingerprints() -> dict[str, str]:
    with np.errstate(all="ignore"):
        every = itertools.chain(halves(), *map(results, PATHS))
        return {title: hashlib.sha256(array.tobytes()).hexdigest() for title, array in every}


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
