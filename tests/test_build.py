"""What an installation of the package looks like, whether editable or not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path

import pytest

from pooling import dispatch


def extras_of(requirement: str) -> str:
    return requirement.partition("extra ==")[2].strip(" \"'")


def test_numpy_is_the_only_dependency() -> None:
    required = [line for line in metadata.requires("ndpooling") or [] if not extras_of(line)]
    assert [line.partition(">=")[0] for line in required] == ["numpy"]


def test_extras() -> None:
    assert set(metadata.metadata("ndpooling").get_all("Provides-Extra") or []) == {
        "onnx",
        "cli",
        "bfloat16",
        "pictures",
        "torch",
        "images",
        "test",
        "lint",
        "bench",
        "docs",
    }


def test_console_script() -> None:
    (script,) = metadata.entry_points(group="console_scripts", name="pooling")
    assert script.value == "_ndpooling:main"


def test_type_information_is_installed() -> None:
    package = resources.files("pooling")
    assert package.joinpath("py.typed").is_file()
    assert package.joinpath("_core.pyi").is_file()


def test_export_is_installed_as_a_subpackage_only(tmp_path: Path) -> None:
    code = "from importlib.util import find_spec as f; print(bool(f('pooling.export')), bool(f('export')))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert answer.stdout.split() == ["True", "False"]


@pytest.mark.parametrize("level", dispatch._core.built_levels())
def test_every_level_of_the_build_is_a_module(level: str) -> None:
    assert find_spec(f"pooling._kernels_{level.replace('-', '_')}") is not None


ROOT = Path(__file__).parent.parent
WHERE_THE_BUILD_IS = pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="not a checkout")


def built(folder: Path, command: str = "build_ext", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run setup.py in a copy of what it needs, so that nothing of a real build is touched."""
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, folder)
    for name in ("pyx", "pooling", "export"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return subprocess.run(
        [sys.executable, "setup.py", command],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@WHERE_THE_BUILD_IS
def test_a_build_without_a_compiler_says_so_before_it_translates_anything(tmp_path: Path) -> None:
    done = built(tmp_path, CC=str(tmp_path / "no-compiler"))
    assert done.returncode != 0
    assert "error: the kernels are compiled here, and " in done.stderr
    assert "install a C compiler and the headers of Python (Debian and Ubuntu: apt install gcc" in done.stderr
    assert "Cython translates" not in done.stdout
    assert "Traceback" not in done.stderr


@WHERE_THE_BUILD_IS
def test_a_build_of_a_level_that_does_not_exist_says_which_ones_do(tmp_path: Path) -> None:
    done = built(tmp_path, POOLING_LEVELS="x86-64-v9")
    assert done.returncode != 0
    assert (
        "error: POOLING_LEVELS='x86-64-v9': 'x86-64-v9' is no level of this processor family; use native" in done.stderr
    )
    assert "Cython translates" not in done.stdout


@WHERE_THE_BUILD_IS
def test_a_build_for_this_machine_alone_takes_its_best_level() -> None:
    code = (
        "import setuptools, sys; setuptools.setup = lambda **keywords: None;"
        "exec(compile(open('setup.py').read(), 'setup.py', 'exec'));"
        "command = BuildKernels(setuptools.Distribution());"
        "command.ensure_finalized();"
        "from setuptools._distutils.ccompiler import new_compiler;"
        "from setuptools._distutils.sysconfig import customize_compiler;"
        "command.compiler = new_compiler(); customize_compiler(command.compiler);"
        "print(*chosen_levels(command.supported_levels))"
    )
    environment = {**os.environ, "POOLING_LEVELS": "native"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == [dispatch._core.supported_levels()[-1]], done.stderr


def made(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    shutil.copy2(ROOT / "Makefile", folder)
    for name in ("pyproject.toml", "setup.py"):
        shutil.copy2(ROOT / name, folder)
    return subprocess.run(
        ["make", *arguments], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )


@WHERE_THE_BUILD_IS
@pytest.mark.parametrize("goal", ["demo", "test"])
def test_make_refuses_a_python_that_is_too_old(goal: str, tmp_path: Path) -> None:
    old = tmp_path / "python3.8"
    old.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; sys.version_info = (3, 8, 1)\n$2"\n')
    old.chmod(0o755)
    done = made(tmp_path, goal, f"PYTHON={old}")
    assert done.returncode != 0
    assert done.stderr.startswith(
        f"make: {old} is Python 3.8.1, and 3.11 or newer is needed; name another: make {goal} PYTHON=python3.12\n"
    )
    assert not (tmp_path / ".venv").exists()


@WHERE_THE_BUILD_IS
def test_make_refuses_a_machine_without_a_compiler(tmp_path: Path) -> None:
    done = made(tmp_path, "demo", f"PYTHON={sys.executable}", CC="no-such-compiler")
    assert done.returncode != 0
    assert done.stderr.startswith("make: the kernels are compiled here, and there is no C compiler no-such-compiler; ")
    assert "apt install gcc" in done.stderr
    assert not (tmp_path / ".venv").exists()


@WHERE_THE_BUILD_IS
def test_make_names_a_python_that_is_not_there(tmp_path: Path) -> None:
    done = made(tmp_path, "demo", "PYTHON=python3.99")
    assert done.returncode != 0
    assert done.stderr.startswith("make: there is no python3.99 here; ")
