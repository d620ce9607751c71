"""Run the tests against an installed package and not against the checkout that they come from.

The tests, and what they read beside the package (pages, benchmarks, Cython and C), are copied to a folder without the
package: what they import is what was installed. Tests of the sources themselves stay behind; `make test` runs them.

Usage: python .ci/wheel_tests.py --wheel dist/ndpooling-*.whl, which installs the wheel into an environment of its own
and runs the ten lines of README.md there, before it installs what the tests need; or python .ci/wheel_tests.py
--python PYTHON, where the package and pytest are installed already. ``--arrays`` runs the tests of the array functions
alone, or those files of them that are named, which need NumPy, pytest, pytest-xdist and hypothesis. With ``--record
FOLDER`` each file has a process of its own, whose report is kept in the folder; one that has passed there is not run
again while the package, its libraries and the tests are the same. Further arguments are those of pytest.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from one_by_one import one_by_one
from sanitizers import TESTS

ROOT = Path(__file__).resolve().parent.parent
ARRAYS = (*TESTS, "filters", "calls_at_once")
"""Files of tests of the array functions."""
COPIED = (
    *("tests", "benchmarks", "docs", "pyx"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "pyproject.toml"),
)
SOURCES = (
    "tests/test_adding.py",
    "tests/test_architecture.py",
    "tests/test_error_fields.py",
    "tests/test_odd_arguments.py",
    "tests/test_types.py",
)
"""Files of tests that read the sources of the package where a checkout has them."""
SOURCES_AMONG_OTHERS = (
    "tests/test_operators.py::test_the_guide_names_files_and_things_that_exist",
    "tests/test_guide.py::test_the_calls_that_adding_an_operator_shows_are_those_of_the_sources",
    "tests/test_repository.py::test_output_size_arithmetic_is_in_geometry_only",
    "tests/test_publishing.py::test_the_lines_that_are_edited_stand_once_in_their_files",
)
"""Single tests that do."""


def environment() -> dict[str, str]:
    """Return the variables of this process without those that would let Python find the checkout."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def ten_lines() -> str:
    """Return the first Python example of README.md behind its heading."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.partition("## Ten lines")[2].partition("```python\n")[2].partition("```")[0]


def installed(wheel: Path, folder: Path) -> Path:
    """Install a wheel where nothing else is, run the ten lines, and say how long that took; return the interpreter."""
    begin = time.monotonic()
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    made = time.monotonic()
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, str(wheel)], check=True, env=environment())
    subprocess.run(
        [str(python), "-c", ten_lines()], check=True, cwd=folder, env=environment(), stdout=subprocess.DEVNULL
    )
    print(
        f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB; installed, and the ten lines run, in "
        f"{time.monotonic() - made:.1f} s, behind {made - begin:.1f} s for the environment",
        flush=True,
    )
    subprocess.run([*pip, f"{wheel}[test]"], check=True, env=environment())
    return python


def laid(folder: Path) -> None:
    """Copy what the tests read."""
    left_out = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=left_out)
        else:
            shutil.copy2(ROOT / name, folder)


def run(python: Path, folder: Path, arguments: list[str], *, arrays: bool, record: Path | None = None) -> int:
    """Run the tests in a folder that `laid` has filled; return the exit status."""
    code = "import pooling; print(pooling.__file__)"
    told = subprocess.run(
        [str(python), "-c", code], check=True, cwd=folder, env=environment(), capture_output=True, text=True
    )
    found = Path(told.stdout.strip()).resolve()
    if found.is_relative_to(ROOT / "pooling") or found.is_relative_to(folder):
        print(f"the package that would be tested is {found}, of a checkout; install it without --editable")
        return 1
    print(f"testing {found.parent}", flush=True)
    arguments = [argument for argument in arguments if argument not in SOURCES]
    if arrays:
        named = [argument for argument in arguments if argument.startswith("tests/")]
        arguments = [argument for argument in arguments if argument not in named]
        tests = named or [f"tests/test_{name}.py" for name in ARRAYS]
    else:
        tests = [f"--ignore={name}" for name in SOURCES] + [f"--deselect={name}" for name in SOURCES_AMONG_OTHERS]
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    if record:
        bad = one_by_one(
            [*command, *arguments], tests, record, folder=folder, environment=environment(), package=found.parent
        )
        return 1 if bad else 0
    command += ["-n", "auto", "--dist", "worksteal"]
    return subprocess.run([*command, *tests, *arguments], cwd=folder, env=environment(), check=False).returncode


def main() -> int:
    """Install, copy and run; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--wheel", type=Path, help="a wheel, to be installed into an environment of its own")
    which.add_argument("--python", type=Path, help="an interpreter where the package is installed")
    parser.add_argument("--arrays", action="store_true", help="only the tests of the array functions")
    parser.add_argument("--record", type=Path, help="with --arrays: run a file at a time, and keep reports here")
    chosen, others = parser.parse_known_args()
    if chosen.record and not chosen.arrays:
        parser.error("--record is for --arrays")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        tree.mkdir()
        laid(tree)
        if chosen.wheel:
            python = installed(chosen.wheel.resolve(), Path(folder, "environment"))
        else:
            # Not resolved: that of an environment is a link.
            python = Path(shutil.which(chosen.python) or chosen.python).absolute()
        return run(python, tree, others, arrays=chosen.arrays, record=chosen.record)


if __name__ == "__main__":
    sys.exit(main())
