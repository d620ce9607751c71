"""The distribution is ndpooling and the package pooling; PyPI has a distribution pooling of somebody else."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import pooling
from pooling import cli

ROOT = Path(__file__).parent.parent
OLD = re.compile(
    r"pip3? install\b[^\n;`]*?(?<![-\w./])pooling(?![-\w./])"
    r"|(?<![\w.])pooling\[(?:onnx|cli|pictures|bfloat16|test|bench|lint)\b"
)
"""Lines that install what is somebody else's."""


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this is no checkout")
    return [ROOT / os.fsdecode(name) for name in done.stdout.split(b"\0") if name]


@pytest.mark.parametrize(
    ("line", "old"),
    [
        ("pip install pooling", True),
        ('pip install "pooling[onnx,cli]"', True),
        ("pip install -U pooling", True),
        ("pooling[cli]", True),
        ('pip install "ndpooling[onnx,cli]"', False),
        ("pip install ndpooling; pooling doctor", False),
        ("pip install .", False),
        ("python -m pooling", False),
    ],
)
def test_old_install_lines_are_known(line: str, old: bool) -> None:
    assert bool(OLD.search(line.partition(";")[0])) == old


def test_no_page_and_no_sentence_installs_somebody_elses_package() -> None:
    found = []
    for path in tracked():
        if path == Path(__file__).resolve() or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in OLD.finditer(text)]
    assert found == []


def other(folder: Path, name: str, top: str = "pooling") -> None:
    info = folder / f"{name}-0.1.12.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.12\n")
    (info / "top_level.txt").write_text(f"{top}\n")


@pytest.mark.parametrize("name", ["pooling", "Pooling", "some-fork"])
def test_info_names_another_distribution_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    other(tmp_path, name)
    other(tmp_path, "innocent", "innocent")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert cli.main(["info"]) == 0
    text = capsys.readouterr().out
    assert f"warning:   {name.lower()} 0.1.12 is installed here too" in text
    assert "run pip uninstall pooling ndpooling, and install ndpooling again" in text
    assert "innocent" not in text


def test_info_says_when_the_package_is_the_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pooling.config import show_config

    theirs = ModuleType("pooling")
    theirs.__file__ = str(tmp_path / "pooling" / "__init__.py")
    monkeypatch.setitem(sys.modules, "pooling", theirs)
    show_config()
    assert f"import pooling gives {theirs.__file__}, which is not this library" in capsys.readouterr().out


def test_info_says_when_the_command_is_the_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pooling").write_text("#!/bin/sh\n")
    (tmp_path / "pooling").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert cli.main(["info"]) == 0
    text = capsys.readouterr().out
    assert f"the command pooling on the PATH is {tmp_path / 'pooling'}, of another environment" in text


def test_nothing_is_said_where_nothing_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert cli.main(["info"]) == 0
    assert "warning" not in capsys.readouterr().out


def test_no_name_hides_a_module_of_the_same_name() -> None:
    """``import package.module as name`` gives what the package has under this name."""
    packages = ["pooling.doctor", "pooling.cli", "pooling.validation", "pooling.export", "pooling.export.repair"]
    packages += ["pooling.validation.runners", "pooling.export.lowering"]
    hidden = []
    for name in packages:
        package = importlib.import_module(name)
        for each in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{name}.{each.name}")
            if getattr(package, each.name) is not module:
                hidden.append(module.__name__)
    assert hidden == []
    assert pooling.export.repair.rewrites.__name__ == "pooling.export.repair.rewrites"
