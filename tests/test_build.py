"""What an installation of the package looks like, whether editable or not."""

from __future__ import annotations

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
        "test",
        "lint",
        "bench",
    }


def test_console_script() -> None:
    (script,) = metadata.entry_points(group="console_scripts", name="pooling")
    assert script.value == "pooling.cli:main"


def test_type_information_is_installed() -> None:
    package = resources.files("pooling")
    assert package.joinpath("py.typed").is_file()
    assert package.joinpath("_cpu.pyi").is_file()


def test_export_is_installed_as_a_subpackage_only(tmp_path: Path) -> None:
    code = "from importlib.util import find_spec as f; print(bool(f('pooling.export')), bool(f('export')))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert answer.stdout.split() == ["True", "False"]


@pytest.mark.parametrize("level", dispatch._cpu.built_levels())
def test_every_level_of_the_build_is_a_module(level: str) -> None:
    assert find_spec(f"pooling._kernels_{level.replace('-', '_')}") is not None
