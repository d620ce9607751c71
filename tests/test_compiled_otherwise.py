"""What compares builds of the modules: those of other compilers (.ci/compilers.py) and that for the limited API."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

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


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Return a function that imports a script of .ci."""
    if not (ROOT / ".ci").exists():
        pytest.skip("not a checkout")
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    yield importlib.import_module
    for path in (ROOT / ".ci").glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_other_numbers_and_another_nan_are_told_apart(scripts: Callable[[str], ModuleType]) -> None:
    aarch64 = scripts("aarch64")
    here = {"same": ["a", "a"], "number": ["b", "b"], "sign of a NaN": ["c", "d"]}
    there = {"same": ["a", "a"], "number": ["e", "e"], "sign of a NaN": ["f", "d"]}
    assert aarch64.unequal(here, there) == (["number"], ["sign of a NaN"])
    with pytest.raises(AssertionError):
        aarch64.unequal(here, {"same": ["a", "a"]})


def test_digests_for_another_c_library_are_all_of_those_for_another_processor(
    scripts: Callable[[str], ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    musl = scripts("musl")
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
    scripts: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sanitizers, generic = scripts("sanitizers"), scripts("generic")
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


def test_what_runs_under_the_thread_sanitizer_exists(scripts: Callable[[str], ModuleType]) -> None:
    free_threaded = scripts("free_threaded")
    for test in free_threaded.TESTS:
        path, _, name = test.partition("::")
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not name or f"\ndef {name}(" in text, test
