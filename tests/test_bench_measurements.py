"""What is measured in fresh processes: that all is asked for, and that each answer is one. Nothing here is timed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("rich")  # the extra "cli"

import pooling
from benchmarks import measurements
from pooling.benchmark.cases import BenchmarkCase
from pooling.operators import OPERATORS

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells the peak of a process")


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fresh processes run modules of the checkout."""
    threads = pooling.get_num_threads()
    monkeypatch.chdir(Path(__file__).parent.parent)
    yield
    pooling.set_num_threads(threads)


def test_the_memory_of_every_operator_is_measured() -> None:
    assert {case.operator for case in measurements.MEMORY_CASES} == OPERATORS.keys()
    backward = {case.operator for case in measurements.MEMORY_CASES if case.direction == "backward"}
    assert backward >= OPERATORS.keys() - {"min_pool"}
    for case in measurements.MEMORY_CASES:
        one, two = (measurements.documented_bytes(case, threads) for threads in (1, 2))
        assert measurements.KEPT < one <= two <= 2 * one


def test_what_is_documented_grows_with_what_the_page_says() -> None:
    fractional = BenchmarkCase("", "", "fractional_max_pool", (1, 4, 90, 90), 2, output_size=60, direction="backward")
    result = 4 * 60 * 60
    forward = measurements.documented_bytes(replace(fractional, direction="forward"), 1)
    assert measurements.documented_bytes(fractional, 1) - forward == result * 8
    regions = BenchmarkCase("", "", "max_roi_pool", (1, 4, 90, 90), 7, regions=10)
    more = replace(regions, regions=20)
    assert measurements.documented_bytes(more, 1) > measurements.documented_bytes(regions, 1)


@LINUX
def test_the_peak_of_a_call_is_seen() -> None:
    case = BenchmarkCase("", "", "fractional_max_pool", (1, 16, 400, 400), 2, output_size=300, direction="backward")
    found = measurements.memory(case, 1)
    if found is None:
        pytest.skip("this system lets no process reset its peak")
    # It makes the indices again: 8 bytes for each result.
    assert found["bytes"] > 16 * 300 * 300 * 8 * 0.9
    assert found["bound"] == measurements.documented_bytes(case, 1)


def test_first_calls_are_of_small_and_large_maps_and_are_first() -> None:
    sizes = {case.name: case.shape[-1] * case.shape[-2] >= measurements.LARGE for case in measurements.FIRST_CALLS}
    assert all(large == name.endswith("4K") for name, large in sizes.items())
    assert sum(sizes.values()) >= 5 <= len(sizes) - sum(sizes.values())
    assert "mean 3x3 without counted padding, 4K" in sizes
    for case in measurements.FIRST_CALLS:
        if not sizes[case.name]:
            found = measurements.first_and_warm(case, 1, calls=3)
            assert found["first"] > 0 < found["warm"]
            assert found["large"] is False


def test_no_call_of_a_signature_comes_before_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[BenchmarkCase] = []
    made: list[int] = []

    def prepared(case: BenchmarkCase, threads: int) -> object:
        asked.append(case)
        number = len(asked)
        return lambda: (made.append(number), pooling.max_pool2d([[[1.0, 2.0]]], (1, 2)))[1]

    monkeypatch.setattr(measurements, "_call", prepared)
    case = measurements.FIRST_CALLS[0]
    measurements.first_and_warm(case, 1, calls=2)
    assert [each.shape for each in asked] == [case.shape, (1, 64, 10, 10)]
    assert made[-3:] == [1, 1, 1]
    assert set(made[:-3]) == {2}


def test_tiny_calls_and_the_first_result_have_times() -> None:
    found = measurements.tiny_seconds(1, processes=1)
    assert found.keys() == {"call", "gradient of a maximum", "gradient of a mean", "indices"}
    assert all(0 < seconds < 1 for seconds in found.values())
    assert measurements.first_result_seconds(processes=1) > 0
