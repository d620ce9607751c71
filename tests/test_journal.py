"""The plugin of .ci that writes down which tests passed, and leaves those out the next time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / ".ci"
pytestmark = pytest.mark.skipif(not (FOLDER / "journal.py").exists(), reason="needs the checkout")

FILE = """
import pathlib, pytest

def test_right():
    with open("calls", "a") as file:
        file.write("right ")

def test_wrong():
    with open("calls", "a") as file:
        file.write("wrong ")
    assert pathlib.Path("mended").exists()

def test_left_out():
    pytest.skip("always")

@pytest.fixture
def broken():
    yield
    assert pathlib.Path("mended").exists()

def test_that_ends_wrong(broken):
    with open("calls", "a") as file:
        file.write("ends ")
"""


def test_only_what_has_not_passed_runs_again(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(FILE)
    journal = tmp_path / "some.jsonl"
    journal.write_text('{"digest": "that of the caller"}\n{"cut o')
    calls = tmp_path / "calls"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "journal", f"--journal={journal}"]

    def run() -> tuple[int, list[str]]:
        calls.write_text("")
        variables = {**os.environ, "PYTHONPATH": str(FOLDER), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        status = subprocess.run(
            [*command, "test_some.py"], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        ).returncode
        return status, calls.read_text().split()

    assert run() == (1, ["right", "wrong", "ends"])
    assert json.loads(journal.read_text().splitlines()[-1]) == {"finished": 1}
    lines = [json.loads(line) for line in journal.read_text().splitlines() if line.endswith("}")]
    outcomes = {line["test"].partition("::")[2]: line["outcome"] for line in lines if "test" in line}
    assert outcomes == {
        "test_right": "passed",
        "test_wrong": "failed",
        "test_left_out": "skipped",
        "test_that_ends_wrong": "failed",
    }
    assert run() == (1, ["wrong", "ends"])
    (tmp_path / "mended").touch()
    assert run() == (0, ["wrong", "ends"])
    # Nothing is left: pytest says so by this status.
    assert run() == (5, [])
