"""What compares builds of the modules: those of other compilers (.ci/compilers.py) and that for the limited API."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from benchmarks import limited_api

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("path", limited_api.INSTEAD)
def test_what_the_limited_api_lacks_stands_in_the_sources(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    for there, _ in limited_api.INSTEAD[path]:
        assert there in text


def test_ratios_are_those_of_single_rounds() -> None:
    # A machine that is slow for two rounds slows both builds.
    ordinary, limited = [1.0, 1.0, 1.0, 10.0, 10.0], [2.0, 2.0, 2.0, 20.0, 20.0]
    assert limited_api.quartiles(ordinary, limited) == "2.00 (2.00 to 2.00)"


@pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="not a checkout")
def test_other_numbers_and_another_nan_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    aarch64 = importlib.import_module("aarch64")
    here = {"same": ["a", "a"], "number": ["b", "b"], "sign of a NaN": ["c", "d"]}
    there = {"same": ["a", "a"], "number": ["e", "e"], "sign of a NaN": ["f", "d"]}
    assert aarch64.unequal(here, there) == (["number"], ["sign of a NaN"])
    with pytest.raises(AssertionError):
        aarch64.unequal(here, {"same": ["a", "a"]})
    for name in ("aarch64", "sanitizers", "wheel_tests"):
        sys.modules.pop(name, None)


@pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="not a checkout")
def test_what_runs_under_the_thread_sanitizer_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    free_threaded = importlib.import_module("free_threaded")
    for test in free_threaded.TESTS:
        path, _, name = test.partition("::")
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not name or f"\ndef {name}(" in text, test
    for name in ("free_threaded", "one_by_one", "other_python", "sanitizers", "wheel_tests"):
        sys.modules.pop(name, None)
