"""Rows that two threads slow down: ``python -m benchmarks.threads``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks import threads
from benchmarks.threads import Pair, compared, main, reduced
from pooling.benchmark.cases import CASES


def test_two_threads_are_slower_only_beyond_what_is_allowed_and_noise() -> None:
    quiet = [10.0, 10.0, 10.0]
    assert Pair.of(quiet, quiet, [10.4] * 3).slower
    assert not Pair.of(quiet, quiet, [10.2] * 3).slower
    assert not Pair.of(quiet, quiet, [6.0] * 3).slower
    # One thread differs from itself by as much.
    assert not Pair.of(quiet, [10.8] * 3, [11.1] * 3).slower
    # Only its fastest call, or only the median.
    assert not Pair.of(quiet, quiet, [10.0, 12.0, 12.0]).slower
    assert not Pair.of([5.0, 10.0, 10.0], [5.0, 10.0, 10.0], [6.0, 10.0, 10.0]).slower
    pair = Pair.of([8.0, 10.0, 30.0], [10.0, 10.0, 10.0], [9.0, 5.0, 4.5])
    assert (pair.least, pair.noise_of_least, pair.seconds) == (0.5, 0.25, 8.0)
    assert (pair.median, pair.noise_of_median) == (0.5, 0.0)


def test_calls_are_timed_with_one_thread_twice_and_with_two(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def sample(call: Callable[[], Any], number: int, calls: int) -> float:
        asked.append(number)
        return {1: 1.0, 2: 3.0}[number]

    monkeypatch.setattr(threads, "_sample", sample)
    pair = compared(lambda: None, 0)
    assert (pair.least, pair.median, pair.slower) == (3.0, 3.0, True)
    turns = asked[4:]
    assert len(turns) == 3 * threads.LEAST_TURNS
    assert all(sorted(turns[i : i + 3]) == [1, 1, 2] for i in range(0, len(turns), 3))


def test_rows_with_fewer_maps_differ_in_their_number_alone() -> None:
    for case in CASES:
        if case.windows in ("regions", "named"):
            continue
        before = case
        for row in reduced(case):
            assert row.shape[2:] == case.shape[2:]
            assert math.prod(row.shape[:2]) < math.prod(before.shape[:2])
            assert sum(row.moved) >= threads.FEWEST // 2
            before = row


def test_the_command_prints_what_is_slower(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    name = next(case.name for case in CASES if case.group == "tiny")
    slow, fast = Pair(1.2, 1.2, 0.0, 0.0, 1e-5), Pair(0.6, 0.6, 0.0, 0.0, 1e-5)
    monkeypatch.setattr(threads, "compared", lambda call, seconds: fast)
    assert main([name]) == 0
    assert name not in capsys.readouterr().out
    assert main([name, "--all"]) == 0
    assert name in capsys.readouterr().out
    monkeypatch.setattr(threads, "compared", lambda call, seconds: slow)
    assert main([name]) == 1
    printed = capsys.readouterr().out
    assert name in printed
    assert "1 cases take more than 3 % longer" in printed
