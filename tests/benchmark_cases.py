"""What several tests of the race need: small cases, and the document of a race that nobody ran."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.layers import LAYERS
from pooling.benchmark.cases import CASES, SIZES, BenchmarkCase, per_axis
from pooling.benchmark.strategies import strategies_of

__all__ = ["canned", "shrunk"]


def shrunk(case: BenchmarkCase) -> BenchmarkCase:
    """Return the same pooling of few channels and small maps."""
    most = {1: 400, 2: 70, 3: 20}[case.dimensions]
    shape = (1, min(case.shape[1], 3), *(min(size, most) for size in case.shape[2:]))
    small = replace(case, shape=shape, regions=min(case.regions, 7))
    if case.windows == "fractional":
        counts = per_axis(case.output_size, case.dimensions)
        parts = [count * now // before for count, now, before in zip(counts, shape[2:], case.shape[2:], strict=True)]
        small = replace(small, output_size=tuple(parts))
    return small


def canned() -> dict[str, Any]:
    """Make the document of a race in which pooling takes 2 µs, a copy 1 µs and torch 20 µs."""
    cases = [*CASES, *SIZES, *LAYERS]
    big = {case.name: sum(case.moved) * 1e-10 for case in SIZES}
    times: dict[str, dict[str, float | None]] = {
        case.name: {"pooling": 2e-6, "pooling out=": 1e-6, "copy": 1e-6, "copy out=": 1e-6, "torch": 20e-6}
        for case in (*CASES, *LAYERS)
    }
    times |= {name: {"pooling": seconds, "copy": seconds / 2} for name, seconds in big.items()}
    times["dilation 2"]["torch"] = None
    return {
        "date": "2026-01-02T03:04:05+00:00",
        "machine": {
            "processor": "Abacus 9",
            "cores": 2,
            "last_level_cache": 32 << 20,
            "memory": 24 << 30,
            "system": "Linux x86_64",
            "python": "3.11.7",
            "kernels": "x86-64-v3",
        },
        "versions": {"pooling": "0.1.0", "torch": "2.13.0"},
        "absent": ["OpenCV"],
        "rounds": 3,
        "cases": {case.name: case.to_json() for case in cases},
        "strategies": {case.name: strategies_of(case) for case in cases},
        "seconds": {"2": times},
        "cannot": {"2": {"torch": {"dilation 2": "RuntimeError: pad | kernel"}}},
        "busy": {"2": {"torch": 1.9}},
        "disturbed": {"2": 0.0},
        "unsteady": {"2": {"torch": ["audio 1-D", "5x5 s2"]}},
        "memory": {
            "2": {
                "31x31 maximum, HD": {"bytes": 3 << 20, "bound": 1 << 20},
                "31x31 average, HD": {"bytes": 1 << 20, "bound": 1 << 20},
            }
        },
        "first_calls": {
            "2": {
                "mean 2x2, small": {"first": 60e-6, "warm": 20e-6, "large": False},
                "blur, small": {"first": 90e-6, "warm": 30e-6, "large": False},
                "maximum 3x3, 4K": {"first": 2.2e-3, "warm": 2e-3, "large": True},
            }
        },
        "tiny": {"2": {"call": 1.3e-6, "gradient of a maximum": 1.8e-6, "indices": 1.7e-6}},
        "first_result": 0.024,
        "import_seconds": {"numpy": 0.08, "pooling": 0.012},
    }
