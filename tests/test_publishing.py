"""Releases and the page of the repository: the versions, Pythons, files and commands that they name are there."""

from __future__ import annotations

import importlib
import re
import tomllib
import zipfile
from fnmatch import fnmatchcase
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import pooling

ROOT = Path(__file__).parent.parent
HIDDEN = pytest.mark.skipif(not (ROOT / ".github").exists(), reason="not a checkout")


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pages() -> list[Path]:
    return sorted([*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml"])


@pytest.mark.skipif(not (ROOT / "CITATION.cff").exists(), reason="not a checkout")
def test_the_citation_is_of_this_version_and_licence() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    fields = dict(re.findall(r"^(\S+): (.+)$", text, re.MULTILINE))
    assert fields["version"] == pooling.__version__
    assert fields["license"] == pyproject()["project"]["license"]
    assert fields["cff-version"] == "1.2.0"
    assert pyproject()["project"]["authors"][0]["name"] in text


def test_wheels_are_built_for_the_pythons_that_are_declared() -> None:
    project, built = pyproject()["project"], pyproject()["tool"]["cibuildwheel"]["build"].split()
    named = [line.rpartition(" ")[2] for line in project["classifiers"] if "Python :: 3." in line]
    ordinary = [f"cp{version.replace('.', '')}-*" for version in named]
    assert [each for each in built if "t-" not in each] == ordinary
    assert built[len(ordinary) :] == [f"{ordinary[-1].removesuffix('-*')}t-*"]
    assert project["requires-python"] == f">={named[0]}"


def test_the_group_of_developers_is_that_of_the_extras() -> None:
    read = pyproject()
    extras = read["project"]["optional-dependencies"]
    named = {line for extra in ("test", "lint") for line in extras[extra] if not line.startswith("ndpooling")}
    assert set(read["dependency-groups"]["dev"]) == named


@HIDDEN
def test_actions_are_pinned_to_commits() -> None:
    used = [(path.name, line) for path in pages() for line in re.findall(r"uses: (\S+.*)", path.read_text("utf-8"))]
    assert len(used) > 10
    assert [use for use in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use[1])] == []
    pinned = {}
    for _, line in used:
        name, _, commit = line.partition("@")
        assert pinned.setdefault(name, commit) == commit


@HIDDEN
def test_tools_of_releases_have_one_version_each() -> None:
    text = (ROOT / ".github" / "release.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[a-z]+==\d+(\.\d+)+", line)] == []
    # No other tool is installed where a wheel is built; the tests of wheels take what is newest.
    workflow = (ROOT / ".github" / "workflows" / "wheels.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"pip install (.+)", workflow)) == {"-r .github/release.txt"}
    windows = pyproject()["tool"]["cibuildwheel"]["windows"]
    assert re.fullmatch(r"pip install delvewheel==\d+(\.\d+)+ && python .ci/bundled.py add", windows["before-build"])


def script(name: str) -> ModuleType:
    """Import a script of .ci/."""
    spec = spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@HIDDEN
@pytest.mark.parametrize(
    ("bundled", "lacking"),
    [
        ((), ()),
        (("ndpooling.libs/libgomp-1-0f2a.dll", "ndpooling.libs/libgcc_s_seh-1-11.dll"), ()),
        (("ndpooling.libs/libwinpthread-1-0f2a.dll", "ndpooling.libs/libomp-2b.dll", "ndpooling.libs/.load-order"), ()),
        (
            ("ndpooling.libs/libstdc++-6-77.dll", "ndpooling.libs/libgomp-1-0f2a.dll"),
            ("ndpooling.libs/libstdc++-6-77.dll",),
        ),
        (("ndpooling.libs/libgomp-1-0f2a.so.1.0.0",), ("ndpooling.libs/libgomp-1-0f2a.so.1.0.0",)),
        (("pooling/.dylibs/libomp.dylib",), ("pooling/.dylibs/libomp.dylib",)),
    ],
)
def test_a_wheel_has_the_licences_of_what_it_bundles(
    bundled: tuple[str, ...], lacking: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = script("bundled")
    licences = "ndpooling-1.dist-info/licenses"
    with zipfile.ZipFile(tmp_path / "ndpooling-1-cp311-cp311-win_amd64.whl", "w") as wheel:
        wheel.write(ROOT / "LICENSE", f"{licences}/LICENSE")
        wheel.write(ROOT / ".ci" / "licenses-windows.txt", f"{licences}/{check.ADDED}")
        for name in ("pooling/_core.cp311-win_amd64.pyd", *bundled):
            wheel.writestr(name, b"")
    assert check.main("check", str(tmp_path)) == bool(lacking)
    printed = capsys.readouterr().out
    assert printed.startswith("NO LICENCE" if lacking else "ok")
    assert all(name in printed for name in lacking)


@HIDDEN
def test_what_a_wheel_bundles_without_any_licence_of_it_is_found(tmp_path: Path) -> None:
    check = script("bundled")
    assert check.main("check", str(tmp_path)) == 1  # no wheel
    with zipfile.ZipFile(tmp_path / "ndpooling-1-cp311-cp311-win_amd64.whl", "w") as wheel:
        wheel.write(ROOT / "LICENSE", "ndpooling-1.dist-info/licenses/LICENSE")
        wheel.writestr("ndpooling.libs/libgomp-1-0f2a.dll", b"")
    assert check.main("check", str(tmp_path)) == 1


@HIDDEN
def test_licences_are_laid_where_the_build_looks_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = script("bundled")
    patterns = pyproject()["project"]["license-files"]
    assert any(fnmatchcase(check.ADDED, pattern) for pattern in patterns)
    assert any(fnmatchcase("LICENSE", pattern) for pattern in patterns)
    (tmp_path / ".ci").mkdir()
    text = (ROOT / ".ci" / "licenses-windows.txt").read_text(encoding="utf-8")
    (tmp_path / ".ci" / "licenses-windows.txt").write_text(text, encoding="utf-8")
    monkeypatch.setattr(check, "ROOT", tmp_path)
    assert check.main("add") == 0
    assert (tmp_path / check.ADDED).read_text(encoding="utf-8") == text
    # Whole texts, to which the parts above refer.
    assert all(
        title in text for title in ("GCC RUNTIME LIBRARY EXCEPTION", "END OF TERMS AND CONDITIONS", "LLVM Exceptions")
    )


@HIDDEN
def test_workflows_may_read_and_no_more() -> None:
    for path in (ROOT / ".github" / "workflows").iterdir():
        text = path.read_text(encoding="utf-8")
        assert "\npermissions:\n  contents: read\n" in text, path.name
        assert "\nname: " in f"\n{text}", path.name
        # What is written elsewhere than in logs is allowed to one job each.
        allowed = set(re.findall(r"^ {6}([\w-]+): write$", text, re.MULTILINE))
        assert allowed == {"wheels.yml": {"id-token", "attestations"}, "nightly.yml": {"issues"}}.get(path.name, set())
        assert text.count("actions/checkout@") == text.count("persist-credentials: false"), path.name


@HIDDEN
def test_files_that_pages_and_workflows_name_are_there() -> None:
    named = set()
    for path in [*pages(), ROOT / "SECURITY.md", ROOT / "pyproject.toml", *(ROOT / "docs").glob("rel*.md")]:
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r"(?<![\w/])((?:\.ci|docs|tests|benchmarks|\.github)/[\w./-]*\w)", text))
    assert {".ci/run", ".ci/wheel_tests.py", ".ci/wheel_size.py", ".ci/windows.cfg", "docs/releasing.md"} <= named
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_the_rows_that_are_followed_are_those_of_the_race() -> None:
    from pooling.benchmark.cases import CASES

    rows = importlib.import_module("benchmarks.tracked.rows")
    assert rows.Rows.params[0] == [case.name for case in CASES]
    row, before = rows.Rows(), pooling.get_num_threads()
    try:
        row.setup("tiny, call overhead", 1)
        row.time_call("tiny, call overhead", 1)
        assert row.call().shape == (1, 16, 4, 4)
        with pytest.raises(NotImplementedError):
            row.setup("a case of tomorrow", 1)
    finally:
        pooling.set_num_threads(before)


def test_pages_count_the_edits_that_tests_must_notice() -> None:
    count = len(importlib.import_module("tests.mutants").MUTANTS)
    for name in ("CONTRIBUTING.md", "docs/reliability.md"):
        text = " ".join((ROOT / name).read_text(encoding="utf-8").split())
        assert re.findall(r"(\d+) small edits", text) == [str(count)], name


def test_the_lines_that_are_edited_stand_once_in_their_files() -> None:
    for mutant in importlib.import_module("tests.mutants").MUTANTS:
        text = (ROOT / mutant.path).read_text(encoding="utf-8")
        assert text.count(mutant.line.replace("«", "").replace("»", "")) == 1, mutant.name


def test_samples_of_mutants_begin_alike_for_one_seed_and_differ_between_seeds() -> None:
    pytest.importorskip("resource")
    sampled = importlib.import_module("tests.mutation.run").sampled
    every = list(range(100))
    assert sorted(sampled(every, 0, None)) == every
    assert sampled(every, 0, 10) == sampled(every, 0, 20)[:10]
    assert sampled(every, 0, 10) != sampled(every, 1, 10)
