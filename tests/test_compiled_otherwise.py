"""What compares builds of the modules: those of other compilers (.ci/compilers.py) and that for the limited API."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import limited_api

ROOT = Path(__file__).resolve().parent.parent
Script = Callable[[str], Any]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """Import a script of .ci, for one test."""
    if not (ROOT / ".ci").exists():
        pytest.skip("not a checkout")
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    yield importlib.import_module
    for path in (ROOT / ".ci").glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("path", limited_api.INSTEAD)
def test_what_the_limited_api_lacks_stands_in_the_sources(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    for there, _ in limited_api.INSTEAD[path]:
        assert there in text


def test_ratios_are_those_of_single_rounds() -> None:
    # A machine that is slow for two rounds slows both builds.
    ordinary, limited = [1.0, 1.0, 1.0, 10.0, 10.0], [2.0, 2.0, 2.0, 20.0, 20.0]
    assert limited_api.quartiles(ordinary, limited) == "2.00 (2.00 to 2.00)"


def test_other_numbers_and_another_nan_are_told_apart(script: Script) -> None:
    aarch64 = script("aarch64")
    here = {"same": ["a", "a"], "number": ["b", "b"], "sign of a NaN": ["c", "d"]}
    there = {"same": ["a", "a"], "number": ["e", "e"], "sign of a NaN": ["f", "d"]}
    assert aarch64.unequal(here, there) == (["number"], ["sign of a NaN"])
    with pytest.raises(AssertionError):
        aarch64.unequal(here, {"same": ["a", "a"]})


def test_digests_for_another_c_library_are_all_of_those_for_another_processor(
    script: Script,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    musl = script("musl")
    (tmp_path / ".ci").mkdir()
    # In place of the true one, whose calls take minutes.
    (tmp_path / ".ci" / "aarch64.py").write_text(
        "import os\n"
        "def all_digests():\n"
        "    other = os.environ.get('OTHER', 'here')\n"
        "    return {'same': ['a', 'a'], 'number': [other, other], 'sign of a NaN': [other, 'd']}\n"
    )
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nOTHER=there exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(musl, "ROOT", tmp_path)
    monkeypatch.setattr(musl, "PYTHON", python)
    assert musl.different(tmp_path) == 2
    said = capsys.readouterr().out
    assert "DIFFERS number\nDIFFERS sign of a NaN\nbytes: 3 arrays, of which 1 have other numbers and 1 another" in said


def test_what_no_sanitizer_has_run_on_is_named_at_the_end_of_ci(
    script: Script, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sanitizers, generic = script("sanitizers"), script("generic")
    monkeypatch.setenv("CC", "tcc")
    for module in (sanitizers, generic):
        monkeypatch.setattr(module, "works", lambda *_: False)
    assert (sanitizers.team(), sanitizers.kernels(), generic.main([])) == (0, 0, 0)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "not installed: ThreadSanitizer of the compiler tcc",
        "not installed: AddressSanitizer of the compiler tcc",
        "not installed: AddressSanitizer and UndefinedBehaviorSanitizer of the compiler tcc",
        "not installed: UndefinedBehaviorSanitizer with float-cast-overflow of the compiler tcc",
    ]
    # By this expression .ci/run finds them in its logs.
    assert '"^not installed"' in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_what_runs_under_the_thread_sanitizer_exists(script: Script) -> None:
    free_threaded = script("free_threaded")
    for test in free_threaded.TESTS:
        path, _, name = test.partition("::")
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not name or f"\ndef {name}(" in text, test


def test_what_aarch64_remembers_is_forgotten_with_what_it_depends_on(
    script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    aarch64 = script("aarch64")
    changed = [*(f".ci/{name}.py" for name in ("aarch64", "calls_twice", "journal")), "here/a.so", "there/a.so"]
    for name in (*changed, "tests/test_some.py", "tests/conftest.py", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(aarch64, "ROOT", tmp_path)
    monkeypatch.setattr(aarch64, "TREE", tmp_path)
    monkeypatch.setattr(aarch64, "package_here", lambda: tmp_path / "here")
    before = aarch64.of_package(tmp_path / "there", "some")
    assert before == aarch64.of_package(tmp_path / "there", "some")
    for name in changed:
        (tmp_path / name).write_text("changed")
        after = aarch64.of_package(tmp_path / "there", "some")
        assert before != after, name
        before = after


@pytest.mark.parametrize(
    ("records", "outcome"),
    [
        ([{"test": "a", "outcome": "passed"}, {"finished": 0}], "passed"),
        ([{"test": "a", "outcome": "failed"}, {"finished": 1}, {"test": "a", "outcome": "passed"}], "passed"),
        ([{"test": "a", "outcome": "passed"}, {"calls": {"different": 1}}, {"finished": 1}], "failed"),
        # A test that ended the process, be it with exit status 0.
        ([{"test": "a", "outcome": "passed"}, {"began": "b"}], "unfinished"),
        ([{"finished": 5}], "unfinished"),
    ],
)
def test_a_file_has_passed_when_pytest_came_to_its_end_without_a_difference(
    script: Script, tmp_path: Path, records: list[dict[str, object]], outcome: str
) -> None:
    aarch64 = script("aarch64")
    journal = tmp_path / "test_a.jsonl"
    for record in records:
        aarch64.write(journal, **record)
    assert aarch64.outcome_of(journal) == outcome


def test_no_variable_keeps_the_lock_on_or_off(script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("Cython")
    free_threaded = script("free_threaded")
    for name in ("FOLDER", "PLAIN", "PACKAGES"):
        monkeypatch.setattr(free_threaded, name, tmp_path)
    for name in ("compiled", "numpy"):
        (tmp_path / name).touch()
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "argv", ["free_threaded"])
    monkeypatch.setattr(free_threaded, "with_wheel", lambda arguments: int("PYTHON_GIL" in os.environ))
    monkeypatch.setenv("PYTHON_GIL", "1")
    assert free_threaded.main() == 0
