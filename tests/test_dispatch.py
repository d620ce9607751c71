"""Choice of the instruction-set level: every level in its own process, every impossible wish in words."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest

import pooling
from pooling import dispatch
from pooling.config import config

V2, V3 = "x86-64-v2", "x86-64-v3"
BUILT = dispatch._core.built_levels()
AVAILABLE = dispatch.available_levels()


def run(code: str, folder: Path, cap: str | None = None, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a new interpreter that stands in `folder`."""
    environment = {name: value for name, value in os.environ.items() if name != "POOLING_MAX_ISA"}
    if cap is not None:
        environment["POOLING_MAX_ISA"] = cap
    return subprocess.run(
        [sys.executable, *options, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )


def last_line(process: subprocess.CompletedProcess[str]) -> str:
    return process.stderr.splitlines()[-1]


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch):
    """Pretend that the build has both x86-64 levels and that the processor runs the given ones."""

    def pretend(*supported: str) -> None:
        levels = {"built_levels": lambda: (V2, V3), "supported_levels": lambda: ("generic", *supported)}
        monkeypatch.setattr(dispatch, "_core", SimpleNamespace(**levels))

    return pretend


SHOW = "from pooling import config, dispatch as d; print(d.level, d.kernels.LEVEL, config.config()['level'])"


@pytest.mark.parametrize("cap", AVAILABLE)
def test_cap_chooses_the_level(cap: str, tmp_path: Path) -> None:
    process = run(SHOW, tmp_path, cap)
    assert process.stdout.split() == [cap] * 3, process.stderr


@pytest.mark.parametrize("cap", [None, ""])
def test_without_cap_the_best_level_is_used(cap: str | None, tmp_path: Path) -> None:
    assert run(SHOW, tmp_path, cap).stdout.split() == [AVAILABLE[-1]] * 3


@pytest.mark.parametrize("cap", AVAILABLE)
def test_only_the_chosen_level_is_imported(cap: str, tmp_path: Path) -> None:
    code = "import sys, pooling; print(*(name for name in sys.modules if '._kernels_' in name))"
    assert run(code, tmp_path, cap).stdout.split() == [f"pooling._kernels_{cap.replace('-', '_')}"]


FIRST_CALLS = """
import sys
import numpy
import pooling
from pooling.operators import BLOCK_REDUCTIONS

x = numpy.ones((1, 1, 4, 4), "f4")
pooling.max_pool2d(x, 2, out=numpy.empty((1, 1, 2, 2), "f4"))
pooling.avg_pool2d(x[:, :, ::-1].tolist(), 2)
for name in ("uniform_filter", "maximum_filter", "grey_opening"):
    getattr(pooling.filters, name)(x[0, 0], 3, output=x[0, 0].copy())
for name in BLOCK_REDUCTIONS:
    for nodata in (None, 0):
        pooling.block_reduce(x[0, 0], 2, name, nodata=nodata)
        if name not in ("median", "mode"):
            pooling.pyramid(x[0, 0], func=name, nodata=nodata)
layer = pooling.MaxPool2d(2)
assert repr(layer) and layer == pooling.MaxPool2d(2) and layer != pooling.MaxPool2d(3)
print(*sorted({"numpy.ma", "numpy.random"} & set(sys.modules)))
"""


def test_first_calls_import_nothing_heavy(tmp_path: Path) -> None:
    process = run(FIRST_CALLS, tmp_path)
    assert process.stdout.split() == [], process.stderr


FORGOTTEN = """
import sys
from unittest.mock import patch
import numpy
import pooling

with patch.dict(sys.modules):
    # What is imported in here is forgotten, and the array is masked all the same.
    x = numpy.ma.MaskedArray(numpy.ones((1, 1, 4, 4), "f4"), True)
assert "numpy.ma" not in sys.modules
for call in (lambda: pooling.max_pool2d(x, 2), lambda: pooling.filters.uniform_filter(x, 3)):
    try:
        call()
    except TypeError as error:
        print("masked" in str(error))
print(numpy.ma.isMaskedArray(pooling.block_reduce(x, 2)))
"""


def test_an_array_is_masked_whatever_is_imported(tmp_path: Path) -> None:
    process = run(FORGOTTEN, tmp_path)
    assert process.stdout.split() == ["True"] * 3, process.stderr


@pytest.mark.parametrize("cap", ["avx2", "X86-64-V3", "x86-64-v4", " "])
def test_unknown_cap(cap: str, tmp_path: Path) -> None:
    assert last_line(run("import pooling", tmp_path, cap)) == (
        f"ValueError: pooling: POOLING_MAX_ISA={cap!r} must be a level that was built; "
        f"use {' or '.join(map(repr, BUILT))}"
    )


@pytest.mark.skipif("generic" in BUILT, reason="this build has the generic level")
def test_cap_that_was_not_built(tmp_path: Path) -> None:
    assert last_line(run("import pooling", tmp_path, "generic")) == (
        "ValueError: pooling: POOLING_MAX_ISA='generic' must be a level that was built; use 'x86-64-v2' or 'x86-64-v3'"
    )


@pytest.mark.parametrize(
    ("supported", "cap", "level"),
    [((V2, V3), None, V3), ((V2, V3), V3, V3), ((V2, V3), V2, V2), ((V2,), None, V2), ((V2,), V3, V2)],
)
def test_choice(supported: tuple[str, ...], cap: str | None, level: str, processor) -> None:
    processor(*supported)
    assert dispatch._choose(cap) == level


@pytest.mark.parametrize("cap", [None, V2, V3])
def test_processor_below_every_level(cap: str | None, processor) -> None:
    processor()
    with pytest.raises(RuntimeError) as error:
        dispatch._choose(cap)
    assert str(error.value) == (
        "pooling: this processor runs no level that was built; it needs to run at least 'x86-64-v2'"
    )


def test_levels_load_side_by_side() -> None:
    modules = [dispatch.load(level) for level in AVAILABLE]
    assert tuple(module.LEVEL for module in modules) == AVAILABLE
    assert dispatch.kernels in modules


def test_load_of_a_level_that_the_processor_lacks(processor) -> None:
    processor(V2)
    with pytest.raises(ValueError) as error:
        dispatch.load(V3)
    assert str(error.value) == (
        "load: level='x86-64-v3' must be a level that was built and that this processor runs; use 'x86-64-v2'"
    )


def test_available_levels_are_built_and_supported() -> None:
    assert AVAILABLE
    assert set(AVAILABLE) == set(BUILT) & set(dispatch._core.supported_levels())


@pytest.mark.parametrize("present", [(), ("_core",)])
def test_missing_build(present: tuple[str, ...], tmp_path: Path) -> None:
    package = tmp_path / "pooling"
    package.mkdir()
    (package / "__init__.py").touch()
    source = Path(dispatch.__file__)
    for python in ("dispatch.py", "_version.py"):
        shutil.copy(source.with_name(python), package)
    for name in present:
        (module,) = (path for path in source.parent.glob(f"{name}.*") if path.suffix in {".so", ".pyd"})
        shutil.copy(module, package)
    # -S: no .pth files, by which an editable install would offer the modules of the repository.
    site_packages = str(Path(numpy.__file__).parent.parent)
    code = f"import sys; sys.path.append({site_packages!r}); import pooling.dispatch"
    process = run(code, tmp_path, None, "-S")
    missing = f"_kernels_{AVAILABLE[-1].replace('-', '_')}" if present else "_core"
    assert last_line(process) == (
        "ImportError: the compiled kernels are missing; run `pip install -e .` in the repository "
        f"(this pooling is in {package} and has no {missing})"
    )


def test_config() -> None:
    shown = config()
    assert shown["level"] == dispatch.level
    assert shown["levels_built"] == BUILT
    assert shown["threading"] in {"team", "openmp", "none"}
    assert shown["threads"] == pooling.get_num_threads()
    assert shown["strategies"] == dispatch.kernels.STRATEGIES
    assert shown["compiler"].split()[0] in {"gcc", "clang", "msvc", "unknown"}


def test_the_last_level_cache_is_what_the_system_reports() -> None:
    caches = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text(encoding="ascii").strip()
        caches.append(int(text[:-1]) * {"K": 1 << 10, "M": 1 << 20}[text[-1]])
    expected = min(max(*caches, 1 << 23), 1 << 27) if caches else config()["last_level_cache"]
    assert config()["last_level_cache"] == expected
    assert 1 << 23 <= expected <= 1 << 27


def test_show_config_tells_versions_and_strategies(capsys: pytest.CaptureFixture[str]) -> None:
    pooling.show_config()
    text = capsys.readouterr().out
    for version in (pooling.__version__, numpy.__version__, ".".join(map(str, sys.version_info[:3])), dispatch.level):
        assert version in text
    for kind, strategies in dispatch.kernels.STRATEGIES.items():
        assert f"    {kind.replace('_', ' ')}: {', '.join(strategies)}\n" in text
