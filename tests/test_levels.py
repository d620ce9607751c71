"""The same bytes at every instruction-set level that was built; each level in an interpreter of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import pooling
from pooling import dispatch
from tests.conftest import GEOMETRIES, LAYOUTS, Array, channels_last, random_array


def speckled(shape: tuple[int, ...], dtype: Any, seed: int) -> Array:
    """Numbers with ties, NaN, infinities, denormals and zeros of both signs among them."""
    x = random_array(shape, dtype, seed)
    random = np.random.default_rng(seed)
    x[random.random(shape) < 0.2] = 0.5
    for value in (0.0, -0.0, np.inf, -np.inf, np.nan, np.finfo(dtype).smallest_subnormal):
        x[random.random(shape) < 0.01] = value
    return x


def results(path: str, dtype: str) -> Iterator[tuple[str, Array]]:
    """Everything that a geometry can be asked for."""
    geometry = GEOMETRIES[path]
    n = geometry.dimensions
    for kind, make in (("ordinary", random_array), ("speckled", speckled)):
        for layout in LAYOUTS:
            x = make(geometry.shape, dtype, 0)
            x = x if layout == "channels_first" else channels_last(x)
            for family, more in (("max_pool", {}), ("avg_pool", {}), ("avg_pool", {"count_include_pad": False})):
                arguments: dict[str, Any] = {**geometry.windows, **more, "layout": layout}
                name = f"{path} {dtype} {kind} {layout} {family}{more or ''}"
                forward = getattr(pooling, f"{family}{n}d")
                backward = getattr(pooling, f"{family}{n}d_backward")
                values = forward(x, **arguments)
                grad = make(values.shape, dtype, 1)
                yield f"{name} values", values
                yield f"{name} gradient", backward(grad, x, **arguments)
                if family == "max_pool":
                    same, indices = forward(x, **arguments, return_indices=True)
                    yield f"{name} values with indices", same
                    yield f"{name} indices", indices
                    yield f"{name} gradient by indices", backward(grad, x, **arguments, indices=indices)
                    yield f"{name} values, NaN ignored", forward(x, **arguments, nan="ignore")
            for name in ("global_max_pool", "global_avg_pool"):
                yield f"{path} {dtype} {kind} {layout} {name}", getattr(pooling, name)(x, layout=layout)


def fingerprint(array: Array) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def fingerprints() -> dict[str, list[str]]:
    """Of every result: as it is, and with every NaN replaced by the same one."""
    found = {}
    with np.errstate(all="ignore"):
        for path in GEOMETRIES:
            for dtype in ("float32", "float64"):
                for name, array in results(path, dtype):
                    plain = array.copy()
                    plain[np.isnan(array)] = 0 if array.dtype.kind == "i" else np.nan
                    found[name] = [fingerprint(array), fingerprint(plain)]
    return found


@pytest.fixture(scope="module")
def by_level(run_python: Callable[..., str]) -> dict[str, dict[str, list[str]]]:
    found = {}
    for level in dispatch.available_levels():
        answer = json.loads(run_python(__file__, POOLING_MAX_ISA=level))
        assert answer["level"] == level
        found[level] = answer["fingerprints"]
    return found


@pytest.mark.skipif(len(dispatch.available_levels()) < 2, reason="one level only")
@pytest.mark.parametrize("which", [1, 0], ids=["but_for_the_kind_of_nan", "and_the_same_nan"])
def test_every_level_makes_the_same_bytes(by_level: dict[str, dict[str, list[str]]], which: int) -> None:
    """IEEE 754 leaves the sign of a NaN open that a sum of NaN and of infinities makes."""
    first, *others = by_level.values()
    assert len(first) > 2000
    for other in others:
        assert other.keys() == first.keys()
        assert [name for name in first if first[name][which] != other[name][which]] == []


if __name__ == "__main__":
    print(json.dumps({"level": dispatch.level, "fingerprints": fingerprints()}))
