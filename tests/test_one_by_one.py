"""Files of tests that run a process each (.ci/one_by_one.py): what is counted, kept, and run again."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "one_by_one.py"
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="not a checkout")

FILES = {
    "test_good": "import pytest\n\ndef test_a(): pass\n\ndef test_b(): pass\n\ndef test_c(): pytest.skip('no')\n",
    "test_bad": "def test_a(): pass\n\ndef test_b(): assert 0, 'a sentence'\n",
    "test_dead": "import os\n\ndef test_a(): os._exit(3)\n",
}


def load() -> Any:
    spec = importlib.util.spec_from_file_location("one_by_one", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in ("tests", "package"):
        (tmp_path / folder).mkdir()
    for name, text in FILES.items():
        # What runs leaves a line behind.
        ran = f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r} + '\\n')\n"
        (tmp_path / "tests" / f"{name}.py").write_text(ran + text)
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "pyproject.toml").write_text("")
    return tmp_path


def run(tree: Path, *names: str) -> tuple[int, list[str]]:
    """Run files; return how many did not pass, and the names of those that ran."""
    ran = tree / "ran"
    ran.write_text("")
    bad = load().one_by_one(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"],
        [f"tests/{name}.py" for name in names],
        tree / "kept",
        folder=tree,
        environment=os.environ,
        package=tree / "package",
    )
    return bad, ran.read_text().split()


def test_what_has_passed_is_not_run_again(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tree, *FILES) == (2, list(FILES))
    said = capsys.readouterr().out
    assert "a sentence" in said
    assert "exit status 3" in said
    rows = {line.split()[-1]: line.split()[:3] for line in said.splitlines() if line.endswith(".py")}
    assert rows == {
        "tests/test_good.py": ["2", "0", "1"],
        "tests/test_bad.py": ["1", "1", "0"],
        "tests/test_dead.py": ["?", "?", "?"],
    }
    assert said.splitlines()[-1].split()[:3] == ["3", "1", "1"]

    assert run(tree, *FILES) == (2, ["test_bad", "test_dead"])
    # What passed is counted again all the same.
    assert capsys.readouterr().out.splitlines()[-1].split()[:3] == ["3", "1", "1"]


def test_a_run_that_was_stopped_is_no_run_to_the_end(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.run

    def stopped(*arguments: Any, **keywords: Any) -> None:
        real(*arguments, **keywords)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(tree, "test_good")
    monkeypatch.undo()
    assert run(tree, "test_good") == (0, ["test_good"])
    assert run(tree, "test_good") == (0, [])


CHANGED = ("tests/test_good.py", "tests/test_other.py", "tests/conftest.py", "package/__init__.py", "pyproject.toml")


@pytest.mark.parametrize("changed", [*CHANGED, "numpy-3.dist-info", "POOLING_MAX_ISA"])
def test_a_change_of_what_tests_depend_on_is_run(tree: Path, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    (tree / "tests" / "test_other.py").touch()
    path = tree / "tests" / "test_good.py"
    path.write_text("from tests.test_other import __name__ as other\n" + path.read_text())
    assert run(tree, "test_good") == (0, ["test_good"])
    assert run(tree, "test_good") == (0, [])
    if changed.isupper():
        monkeypatch.setenv(changed, "x86-64-v2")
    else:
        with (tree / changed).open("a") as file:
            file.write("# changed\n")
    assert run(tree, "test_good") == (0, ["test_good"])


def test_a_report_of_a_run_that_was_stopped_is_no_report_of_the_next(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = subprocess.run
    path = tree / "tests" / "test_dead.py"
    path.write_text("import os\n\ndef test_a():\n    if os.path.exists('stopped'): os._exit(0)\n")

    def stopped(*arguments: Any, **keywords: Any) -> None:
        real(*arguments, **keywords)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(tree, "test_dead")
    monkeypatch.undo()
    (tree / "stopped").touch()
    assert run(tree, "test_dead")[0] == 1
